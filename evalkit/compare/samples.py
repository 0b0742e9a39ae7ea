"""The ids of flipped samples in, what a person needs to judge each flip out: question, answers, scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evalkit.compare.pair import Comparison
from evalkit.record import Row, Run

_ASKED = ("instruction", "question")
_TAIL = 600
"""Characters of a prompt's end that are shown where its question is not known by itself; shots come first."""


@dataclass(frozen=True)
class FlippedSample:
    """One sample whose score changed; texts as they are, to be made safe by whoever shows them."""

    id: str
    asked: str
    target: str
    before: str | None
    """The baseline's response; None where only its scores are known (a baseline file)."""
    after: str
    score_before: float
    score_after: float


def flipped_samples(comparison: Comparison, ids: Sequence[str]) -> list[FlippedSample]:
    """The samples of these ids; of several repeats the one farthest in the direction of the change is shown."""
    before, after = _rows(comparison.baseline, ids), _rows(comparison.candidate, ids)
    return [_flipped(sample, before[sample], after[sample], comparison.flip_metric) for sample in ids]


def _flipped(sample: str, before: Sequence[Row], after: Sequence[Row], metric: str) -> FlippedSample:
    means = [sum(row.scores[metric] for row in rows) / len(rows) for rows in (before, after)]
    down = means[1] < means[0]
    old = max(before, key=lambda row: row.scores[metric] if down else -row.scores[metric])
    new = min(after, key=lambda row: row.scores[metric] if down else -row.scores[metric])
    # A baseline file knows no prompt; a row that has one may still have an empty response.
    known = bool(old.prompt) or bool(old.response)
    return FlippedSample(
        sample, _asked(new), _target(new), old.response if known else None, new.response, means[0], means[1]
    )


def _rows(run: Run, ids: Sequence[str]) -> Mapping[str, list[Row]]:
    """Scored rows by sample id."""
    found: dict[str, list[Row]] = {sample: [] for sample in ids}
    for row in run.rows:
        if row.id in found and row.unscored is None:
            found[row.id].append(row)
    return found


def _asked(row: Row) -> str:
    for key in _ASKED:
        if isinstance(row.fields.get(key), str):
            rest = row.fields.get("input")
            return f"{row.fields[key]}\n{rest}" if isinstance(rest, str) and rest else str(row.fields[key])
    text = row.prompt if isinstance(row.prompt, str) else (row.prompt[-1].content if row.prompt else "")
    return text[-_TAIL:]


def _target(row: Row) -> str:
    if isinstance(row.target, list):
        return " | ".join(str(one) for one in row.target)
    return "" if row.target is None else str(row.target)
