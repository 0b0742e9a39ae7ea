"""The first screen: who was compared on what, the answer in words, the matrix, the gate's verdict, cost and time."""

from collections.abc import Iterator, Mapping
from typing import Any

from evalkit.report.gate_view import GateView
from evalkit.report.html import Child, Html, tag
from evalkit.report.parts import Column, change_mark, model_name, note, row, table
from evalkit.report.sections.battles import duel_table
from evalkit.report.sections.leaks import warnings
from evalkit.report.svg import interval_bar
from evalkit.report.text import compact, duration, listed, plural
from evalkit.report.view import ALPHA, EQUIVALENT, Cell, TaskView, View, is_reference
from evalkit.report.words import Finding, answers

_GATE_WORDS = {
    "PASS": "passed",
    "FAIL": "failed",
    "INCONCLUSIVE": "inconclusive",
    "UNDECIDABLE": "could not decide",
}


def summary(view: View, title: str) -> Html:
    """The top of the page."""
    return tag(
        "header",
        tag("p", "evalkit report", class_="kicker"),
        tag("h1", title),
        tag("p", subject(view), class_="subject"),
        _answers(view),
        _gate(view.gate) if view.gate else None,
        _matrix(view) if view.scored else None,
        duel_table(view),
        _reading(view),
        _facts(view),
        _notes(view),
        id="summary",
    )


def subject(view: View) -> str:
    """Who was compared on what, in a sentence or two."""
    return " ".join([*_scored(view), *_met(view), *_tried(view)])


def _scored(view: View) -> Iterator[str]:
    if view.scored:
        tasks = listed([task.name for task in view.scored])
        samples = plural(sum(len(task.sample_ids) for task in view.scored), "sample")
        if len(view.models) == 1:
            yield f"{view.models[0]} on {tasks}: {samples}."
        else:
            others = listed(view.models[1:])
            yield f"{others} against the baseline {view.models[0]} on {tasks}: {samples} for each model."


def _met(view: View) -> Iterator[str]:
    tasks = view.of_kind("duel")
    if tasks:
        judges = listed(list(dict.fromkeys(cell.model for task in tasks for cell in task.cells)))
        pairs = plural(sum(len(task.sample_ids) for task in tasks), "pair")
        yield f"{listed(view.contestants)} head to head before {judges}: {pairs} of responses."


def _tried(view: View) -> Iterator[str]:
    if view.on_trial:
        pairs = sum(len(task.sample_ids) for task in view.of_kind("audit"))
        yield f"{listed(view.on_trial)} on trial as a judge, on {plural(pairs, 'pair')} that people judged."


def _answers(view: View) -> Html:
    blocks = [
        tag(
            "div",
            tag("p", answer.headline, class_="headline"),
            (tag("p", line) for line in answer.rest),
            class_=f"answer {answer.change}",
        )
        for answer in answers(view)
    ]
    return tag("div", blocks, class_="answers")


def _gate(gate: GateView) -> Html:
    rules = [
        tag("li", tag("strong", rule.name), f" {_GATE_WORDS[rule.verdict]}: {rule.words}", class_=rule.verdict.lower())
        for rule in dict.fromkeys(gate.rules)
    ]
    return tag(
        "div",
        tag("p", tag("strong", f"Gate {_GATE_WORDS[gate.verdict]}"), f" {gate.words}" if gate.words else None),
        tag("ul", rules) if rules else None,
        class_=f"gate {gate.verdict.lower()}",
    )


def _matrix(view: View) -> Html:
    columns = [Column("Task", numeric=False, sortable=False)]
    columns += [Column(model_name(view, model), sortable=False) for model in view.models]
    rows = (_matrix_row(view, task) for task in view.scored)
    return table("Every model on every task, with 95 % intervals", columns, rows, class_="matrix")


def _matrix_row(view: View, task: TaskView) -> Html:
    cells = {cell.model: cell for cell in task.cells}
    head = (tag("a", task.name, href=f"#{task.key}"), tag("span", _measured(task), class_="small"))
    return row(head, *(_matrix_cell(view, task, model, cells.get(model)) for model in view.models))


def _measured(task: TaskView) -> str:
    """What the numbers of a row are: the metric, its scale and the protocol."""
    return ", ".join([" ".join([task.metric, task.scale.words]).strip(), task.protocol])


def _matrix_cell(view: View, task: TaskView, model: str, entry: Cell | None) -> Html:
    if entry is None or entry.metric is None:
        words = "not run" if entry is None else f"{entry.run.manifest.status}: no {task.metric}"
        return tag("td", tag("span", words, class_="small"), class_="number", data_model=model)
    metric = entry.metric
    lines: list[Child] = [
        tag("span", task.scale.with_unit(metric.value), class_="value"),
        change_mark(entry.pair.change) if entry.pair else None,
        interval_bar(_axis(task), metric.value, (metric.low, metric.high), view.model_index(entry.model)),
        tag("span", f"{task.scale.interval(metric)}, n = {metric.n:,}", class_="small"),
    ]
    if entry.pair:
        finding = Finding(task, entry, entry.pair)
        lines.append(
            tag("span", f"{finding.difference}{task.scale.points} ({finding.interval})", class_="small strong")
        )
    elif entry is task.baseline and task.candidates:
        lines.append(tag("span", "baseline", class_="small"))
    if metric.unscored:
        lines.append(tag("span", f"{metric.unscored:,} unscored", class_="small warning"))
    return tag("td", tag("div", lines), class_="number", data_model=model)


def _axis(task: TaskView) -> tuple[float, float]:
    """The scale's ends; without a bound, from 0 (or the lowest value) to the highest one."""
    if task.scale.top is not None:
        return task.scale.ends
    metrics = [cell.metric for cell in task.cells if cell.metric]
    low = min((m.value if m.low is None else m.low for m in metrics if m.value is not None), default=0.0)
    top = max((m.value if m.high is None else m.high for m in metrics if m.value is not None), default=1.0)
    return min(low, 0.0), top or 1.0


def _reading(view: View) -> Html | None:
    if not any(cell.pair for task in view.scored for cell in task.cells):
        return None
    return note(
        "Differences are paired sample by sample. ",
        change_mark("better"),
        " better and ",
        change_mark("worse"),
        f" worse: proven at {ALPHA:.0%} after Holm's correction over all comparisons here. ",
        change_mark("unchanged"),
        f" unchanged: proven to differ by less than {EQUIVALENT:.0%} of the scale. ",
        change_mark("unclear"),
        " neither is proven.",
    )


def _facts(view: View) -> Html:
    pairs = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts(view)]
    return tag("dl", pairs, class_="facts")


def facts(view: View) -> Iterator[tuple[str, str]]:
    """Time, calls, tokens and cost over all Runs, as (name, words)."""
    usage = [run.manifest.usage for run in view.runs]

    def total(key: str) -> float:
        return sum(float(part.get(key, 0)) for part in usage)

    yield "Time", duration(total("seconds"))
    yield "Model calls", f"{compact(total('calls'))} ({compact(total('cache_hits'))} more from the cache)"
    tokens = total("prompt_tokens"), total("completion_tokens")
    if any(tokens):
        yield "Tokens", f"{compact(tokens[0])} in, {compact(tokens[1])} out"
    yield "Cost", _cost(view, total("cost_usd"))
    finished = max((run.manifest.finished for run in view.runs), default="")
    if finished:
        yield "Finished", finished.replace("T", " ").replace("+00:00", " UTC")


def _cost(view: View, cost: float) -> str:
    if cost:
        return f"{cost:,.2f} USD" if cost >= 0.01 else "less than 0.01 USD"
    if any("cost_usd" in run.manifest.usage for run in view.runs):
        return "none"
    local = all(_is_local(run.manifest.model) and _judged_locally(run.manifest.judge) for run in view.runs)
    return "none, no paid service was asked" if local else "not recorded"


def _is_local(model: str) -> bool:
    here = ("@http://127.0.0.1", "@http://localhost")
    return model.startswith(("hf/", "fake/", "ollama/", "predictions/", "/", ".")) or any(one in model for one in here)


def _judged_locally(judge: Mapping[str, Any] | None) -> bool:
    return judge is None or is_reference(judge) or _is_local(str(judge.get("name", "")))


def _notes(view: View) -> Html | None:
    lines = [*view.notes, *warnings(view)]
    if any(is_reference(task.judge) for task in view.tasks):
        lines.append(
            "No language model judged these responses: the reference score measures how close a response comes to the "
            "reference answer in words and numbers. A good answer in other words scores low."
        )
    return tag("ul", (tag("li", line) for line in lines), class_="notes") if lines else None
