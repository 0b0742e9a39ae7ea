"""Failure clusters: which tags, subjects and kinds of prompts the models get wrong or lost against the baseline."""

from dataclasses import dataclass

from evalkit.report.html import Html, tag
from evalkit.report.outcome import is_changed, is_wrong
from evalkit.report.parts import Column, cell, details, diverging, heat, model_name, note, samples_link, table
from evalkit.report.parts import row as table_row
from evalkit.report.shared_text import asked_text, own_part, shared_by_cluster
from evalkit.report.text import number, one_line
from evalkit.report.view import Cell, TaskView, View, labels_of

_MOST = 12
_SMALLEST = 3
"""Kinds with fewer samples are not shown."""


@dataclass(frozen=True)
class Kind:
    """Samples that have something in common."""

    name: str
    samples: tuple[str, ...]
    is_label: bool
    """Whether the name is a tag or cluster, which the sample browser can filter by."""


@dataclass(frozen=True)
class Failures:
    """How the models did on one kind."""

    kind: Kind
    wrong: tuple[int, ...]
    """Wrong samples, by cell."""
    lost: tuple[int, ...]
    """Samples that changed for the worse against the baseline, by candidate."""
    won: tuple[int, ...]

    @property
    def rank(self) -> tuple[int, float]:
        """Net losses of the candidate that lost most, then the share of wrong samples of the candidates."""
        net = max((lost - won for lost, won in zip(self.lost, self.won, strict=True)), default=0)
        return net, sum(self.wrong[1:] or self.wrong) / len(self.kind.samples)


def failures(view: View, task: TaskView) -> Html | None:
    """Kinds of samples, those with the most losses first."""
    kinds = _kinds(task)
    found = sorted((_count(task, kind) for kind in kinds), key=lambda item: item.rank, reverse=True)
    found = [item for item in found if any(item.wrong) or any(item.lost)][:_MOST]
    if len(kinds) < 2 or not found:
        return None
    columns = [Column("Kind", numeric=False), Column("Samples")]
    columns += [Column((model_name(view, c.model), " wrong")) for c in task.cells]
    columns += [Column((model_name(view, c.model), " lost / won")) for c in task.candidates]
    against = f", and what was lost and won against {task.baseline.model}" if task.candidates else ""
    return details(
        "Where it fails",
        note("Kinds are tags, subjects or first words. Described, not tested: of so many, some look bad by chance."),
        table(f"{task.name}: wrong samples by kind{against}", columns, [_row(task, item) for item in found]),
        open_=True,
    )


def _row(task: TaskView, item: Failures) -> Html:
    size = len(item.kind.samples)
    wrong = [
        cell(f"{number(100 * count / size, 0)} %", value=count / size, class_=heat(count / size, "loss"))
        for count in item.wrong
    ]
    changes = [
        cell(f"{lost:,} / {won:,}", value=lost - won, class_=diverging((won - lost) / size))
        for lost, won in zip(item.lost, item.won, strict=True)
    ]
    name = item.kind.name.replace("_", " ")
    head = tag("a", name, href=samples_link(task.key, tag=item.kind.name)) if item.kind.is_label else name
    return table_row(head, cell(f"{size:,}", value=size), *wrong, *changes, value=item.kind.name)


def _count(task: TaskView, kind: Kind) -> Failures:
    wrong = [sum(is_wrong(c.scores[s], task.sample_scale) for s in kind.samples if s in c.scores) for c in task.cells]
    changes = [_changes(task, entry, kind) for entry in task.candidates]
    return Failures(kind, tuple(wrong), tuple(lost for lost, _ in changes), tuple(won for _, won in changes))


def _changes(task: TaskView, entry: Cell, kind: Kind) -> tuple[int, int]:
    """Samples lost and won by as much as counts as a change."""
    before, after = task.baseline.scores, entry.scores
    shared = [sample for sample in kind.samples if sample in after and sample in before]
    changed = [sample for sample in shared if is_changed([before[sample], after[sample]], task.sample_scale)]
    up = sum(after[sample] > before[sample] for sample in changed)
    down = len(changed) - up
    return (down, up) if task.sample_scale.higher_is_better else (up, down)


def _kinds(task: TaskView) -> list[Kind]:
    """Tags and clusters; without those, what a prompt begins with once the text that all prompts share is gone."""
    rows = [repeats[0] for repeats in task.baseline.rows.values()]
    labelled = any(labels_of(row) for row in rows)
    openings = {} if labelled else _openings(task)
    members: dict[str, list[str]] = {}
    for row in rows:
        for name in labels_of(row) if labelled else [openings[row.id]]:
            members.setdefault(name, []).append(row.id)
    large = {name: samples for name, samples in members.items() if len(samples) >= _SMALLEST}
    return [Kind(name, tuple(samples), labelled) for name, samples in large.items()]


def _openings(task: TaskView) -> dict[str, str]:
    """Sample id → "begins “Rewrite the”": the first two words of what only its prompt says."""
    ends = shared_by_cluster(task.baseline)
    openings = {}
    for sample, rows in task.baseline.rows.items():
        text = asked_text(task.baseline, sample) or ""
        own = own_part(text, ends[rows[0].cluster])
        words = (text if own is None else own)[:200].split()[:2]
        openings[sample] = f"begins “{one_line(' '.join(words), 40)}”"
    return openings
