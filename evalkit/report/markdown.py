"""Runs in, Markdown for a pull request out: the verdict first, then the matrix, then what is behind it."""

import re
from collections.abc import Iterator, Sequence

from evalkit.record import Run
from evalkit.report.duels import Duel, duels
from evalkit.report.gate_view import GateView
from evalkit.report.parts import MARKS
from evalkit.report.sections.summary import facts, subject
from evalkit.report.shares import ends, percent
from evalkit.report.text import NOT_KNOWN, one_line
from evalkit.report.view import Cell, TaskView, View, is_reference, make_view
from evalkit.report.words import Finding, answers
from evalkit.visible import visible

_ALERTS = {"PASS": "NOTE", "FAIL": "CAUTION", "INCONCLUSIVE": "WARNING", "UNDECIDABLE": "WARNING"}
_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~&!$]|:(?=//)|(?<=www)\.|^[-+=]|^\d+(?=[.)](?:\s|$)))", re.IGNORECASE)
_ADDRESSED = re.compile(r"@(?!(?<=\w@)\d+(?![\w.-]))|#(?=\d)")
"""What GitHub makes a mention, a mail address or an issue of; the version in `judge/reference@1` is none of them."""
_WIDE = {"@": "＠", "#": "＃"}


def build_markdown(runs: Sequence[Run], *, gate: GateView | None = None, baseline: str | None = None) -> str:
    """The report's first screen as GitHub Markdown."""
    view = make_view(runs, baseline=baseline, gate=gate)
    return "\n".join([*_gate(gate), *_answer(view), "", *_matrix(view), "", *_details(view)]).strip() + "\n"


def plain(text: str) -> str:
    """Text that Markdown shows as it is: nothing in it links, formats, mentions someone or ends a table cell."""
    # GitHub looks for mentions and issues after the escapes are gone, so only another character helps.
    wide = _ADDRESSED.sub(lambda match: _WIDE[match.group()], visible(one_line(text, 500)))
    return _SPECIAL.sub(_escaped, wide)


def _escaped(match: re.Match[str]) -> str:
    """A backslash before what means something; one between a line's first number and its point, which begin a list."""
    return f"{match.group()}\\" if match.group().isdecimal() else f"\\{match.group()}"


def _gate(gate: GateView | None) -> Iterator[str]:
    if gate is None:
        return
    yield f"> [!{_ALERTS[gate.verdict]}]"
    yield f"> **Gate: {gate.verdict}** {plain(gate.words)}".rstrip()
    for rule in gate.rules:
        yield f"> - {rule.verdict}: {plain(rule.name)}: {plain(rule.words)}"
    yield ""


def _answer(view: View) -> Iterator[str]:
    yield plain(subject(view))
    for answer in answers(view):
        yield ""
        yield f"**{plain(answer.headline)}** {' '.join(plain(line) for line in answer.rest)}".rstrip()
    if any(is_reference(task.judge) for task in view.tasks):
        yield ""
        yield "No language model judged: reference scores measure closeness to the reference answer."


def _matrix(view: View) -> Iterator[str]:
    if view.scored:
        yield "| task | " + " | ".join(plain(model) for model in view.models) + " |"
        yield "|---|" + "---:|" * len(view.models)
    for task in view.scored:
        cells = {entry.model: entry for entry in task.cells}
        yield f"| {plain(task.name)} | " + " | ".join(_cell(task, cells.get(model)) for model in view.models) + " |"
    if met := duels(view):
        yield ""
        yield "| head to head | judge | the first wins | orders disagree |"
        yield "|---|---|---:|---:|"
        yield from (_duel(one) for one in met)


def _duel(one: Duel) -> str:
    metric, names = one.win_rate, plain(f"{one.first} against {one.second}")
    value = NOT_KNOWN
    if metric is not None and metric.value is not None:
        sign, words = MARKS[one.change]
        value = f"{percent(metric.value)} ({ends(metric.low, metric.high)})<br>{sign} {words}"
    return f"| {names} | {plain(one.judge)} | {value} | {percent(one.share('inconsistent'))} |"


def _cell(task: TaskView, entry: Cell | None) -> str:
    if entry is None or entry.metric is None:
        return NOT_KNOWN
    metric = entry.metric
    text = f"{task.scale.with_unit(metric.value)} ({task.scale.interval(metric)})"
    if entry.pair:
        finding = Finding(task, entry, entry.pair)
        sign, words = MARKS[entry.pair.change]
        text += f"<br>{sign} {words}: {finding.difference} ({finding.interval})"
    return text + (f"<br>{metric.unscored:,} unscored" if metric.unscored else "")


def _details(view: View) -> Iterator[str]:
    yield "<details><summary>Samples, time, notes</summary>"
    yield ""
    yield from (
        f"- {plain(task.name)}: {len(task.sample_ids):,} samples, protocol {plain(task.protocol)}"
        for task in view.tasks
    )
    yield from (f"- {name}: {plain(words)}" for name, words in facts(view))
    yield from (f"- {plain(line)}" for line in view.notes)
    yield ""
    yield "</details>"
