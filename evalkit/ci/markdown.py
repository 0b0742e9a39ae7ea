"""A gate's result in, Markdown out: verdict first, then a table, then the samples that changed, folded away.

It is the step summary and the body of one comment that is found again by `MARKER`. GitHub refuses comments of 65,536
characters and more, so what is folded away is cut until everything fits `LIMIT` bytes.
"""

from collections.abc import Iterator, Sequence

from evalkit.compare import points
from evalkit.compare.samples import FlippedSample, flipped_samples
from evalkit.gate import GateResult, RuleVerdict
from evalkit.gate.view import NAMES, summary, words
from evalkit.report.markdown import plain
from evalkit.report.text import signed
from evalkit.stats.decision import Verdict

MARKER = "<!-- evalkit-gate -->"
LIMIT = 60_000
_STEPS = (20, 5, 1, 0)
"""Samples shown per rule and direction; the next smaller number where the page would be too long."""

_ALERTS = {
    Verdict.PASS: "NOTE",
    Verdict.FAIL: "CAUTION",
    Verdict.INCONCLUSIVE: "WARNING",
    Verdict.UNDECIDABLE: "WARNING",
}


def build_summary(result: GateResult) -> str:
    """The result as GitHub Markdown of less than `LIMIT` bytes."""
    for shown in _STEPS:
        text = _page(result, result.tasks, shown)
        if _fits(text):
            return text
    count = len(result.tasks)
    while not _fits(text):
        count //= 2
        text = _page(result, result.tasks[:count], 0)
    return text


def _fits(text: str) -> bool:
    return len(text.encode("utf-8", "surrogatepass")) < LIMIT


def _page(result: GateResult, rules: Sequence[RuleVerdict], shown: int) -> str:
    lines = [MARKER, f"> [!{_ALERTS[result.verdict]}]"]
    lines.append(f"> **evalkit gate: {NAMES[result.verdict]}** {plain(summary(result))}")
    lines += ["", "| task | metric | verdict | change, points | 95 % interval | p (Holm) | worse | better |"]
    lines.append("|---|---|---|---:|---:|---:|---:|---:|")
    lines += [_line(one) for one in rules]
    if len(rules) < len(result.tasks):
        lines.append(f"\n… and {len(result.tasks) - len(rules):,} more rules.")
    lines += ["", *(f"- **{plain(one.name)}**: {plain(words(one))}" for one in rules if _needs_words(one)), ""]
    if result.ungated:
        lines += [f"Not gated, for no candidate ran them: {plain(', '.join(result.ungated))}.", ""]
    for one in rules:
        lines += _flips(one, shown)
    return "\n".join(lines).rstrip() + "\n"


def _needs_words(one: RuleVerdict) -> bool:
    return one.decision.verdict is not Verdict.PASS or bool(one.note)


def _line(one: RuleVerdict) -> str:
    cells = [plain(one.name), plain(one.metric), NAMES[one.decision.verdict], *_numbers(one)]
    return "| " + " | ".join(cells) + " |"


def _numbers(one: RuleVerdict) -> list[str]:
    if one.comparison is None:
        return ["–"] * 5
    found, scale = one.comparison.oriented, one.comparison.scale
    estimate, p = found.difference, one.decision.p_drop
    known = estimate.low is not None and estimate.high is not None
    interval = f"{signed(_points(estimate.low, scale))} to {signed(_points(estimate.high, scale))}" if known else "–"
    return [
        signed(_points(estimate.value, scale)), interval, "–" if p is None else f"{p:.2g}",
        str(len(one.comparison.losses)), str(len(one.comparison.gains)),
    ]  # fmt: skip


def _points(value: float | None, scale: float) -> float | None:
    return None if value is None else points(value, scale)


def _flips(one: RuleVerdict, shown: int) -> Iterator[str]:
    if one.comparison is None or shown == 0:
        return
    for direction, ids in (("worse", one.comparison.losses), ("better", one.comparison.gains)):
        if not ids:
            continue
        # Nothing a model wrote may stand in the summary line: Markdown escapes do not work inside HTML.
        yield f"<details><summary>{len(ids):,} {'sample' if len(ids) == 1 else 'samples'} {direction}</summary>"
        yield ""
        yield f"{plain(one.name)}:"
        yield ""
        yield from (_sample(sample) for sample in flipped_samples(one.comparison, ids[:shown]))
        if len(ids) > shown:
            yield f"- … and {len(ids) - shown:,} more"
        yield ""
        yield "</details>"
        yield ""


def _sample(sample: FlippedSample) -> str:
    before = "" if sample.before is None else f" Before: {plain(sample.before)}."
    expected = f" Expected: {plain(sample.target)}." if sample.target else ""
    return (
        f"- **{plain(sample.id)}** {sample.score_before:g} → {sample.score_after:g}: {plain(sample.asked)}"
        f"{expected}{before} Now: {plain(sample.after)}."
    )
