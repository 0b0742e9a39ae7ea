"""The first screen: who was compared on what, the answer in words, the matrix, the gate's verdict, cost and time."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from evalkit.record import Run
from evalkit.report.gate_view import GateView
from evalkit.report.html import Child, Html, tag
from evalkit.report.parts import Column, change_mark, model_name, note, row, table
from evalkit.report.sections.battles import duel_table
from evalkit.report.sections.leaks import warnings
from evalkit.report.svg import interval_bar
from evalkit.report.text import compact, duration, listed, plural
from evalkit.report.view import ALPHA, EQUIVALENT, TaskView, View, is_reference
from evalkit.report.words import Finding, answers, names_or_count, opponents, uncompared

_GATE_WORDS = {
    "PASS": "passed",
    "FAIL": "failed",
    "INCONCLUSIVE": "inconclusive",
    "UNDECIDABLE": "could not decide",
}


_SPOKEN = 4
"""More answers are set smaller; more models without a comparison are only counted."""
_ACROSS = 4
"""Models that stand side by side in the matrix without a look at how many tasks there are."""
_MOST_TASKS = 6
"""Tasks that are named; of more, the matrix names them."""


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
    if not view.scored:
        return
    yield from (f"{text}." for text in _compared(view))
    apart = uncompared(view)
    if len(apart) > _SPOKEN:
        yield f"{plural(len(apart), 'model')} have nothing to be compared with."
    else:
        yield from (f"{model} on {_tasks_of(view, [model])}: {_samples_of(view, [model])}." for model in apart)


def _compared(view: View) -> Iterator[str]:
    for baseline, candidates in opponents(view).items():
        models = [baseline, *candidates]
        each = " for each model" if _ran_the_same(view, models) else " a model; not every one ran every task"
        against = f"{names_or_count(candidates)} against the baseline {baseline}"
        yield f"{against} on {_tasks_of(view, models)}: {_samples_of(view, models)}{each}"


def _tasks_of(view: View, models: Sequence[str]) -> str:
    names = [task.name for task in view.scored if any(cell.model in models for cell in task.cells)]
    return listed(names) if len(names) <= _MOST_TASKS else plural(len(names), "task")


def _ran_the_same(view: View, models: Sequence[str]) -> bool:
    ran = {tuple((cell.task, cell.rows) for cell in _ran(view, model)) for model in models}
    return len(ran) == 1


def _samples_of(view: View, models: Sequence[str]) -> str:
    """How many samples the models have: one number, or the smallest and the largest."""
    counts = sorted(sum(cell.rows for cell in _ran(view, model)) for model in models)
    few = f"{counts[0]:,} to " if counts[0] != counts[-1] else ""
    return few + plural(counts[-1], "sample")


class _Ran(NamedTuple):
    """How many samples of a task a model has."""

    task: str
    rows: int


def _ran(view: View, model: str) -> list[_Ran]:
    return [_Ran(task.key, len(cell.rows)) for task in view.scored for cell in task.cells if cell.model == model]


def _met(view: View) -> Iterator[str]:
    tasks = view.of_kind("duel")
    if tasks:
        judges = listed(list(dict.fromkeys(cell.model for task in tasks for cell in task.cells)))
        pairs = plural(sum(len(task.sample_ids) for task in tasks), "pair")
        yield f"{names_or_count(view.contestants)} head to head before {judges}: {pairs} of responses."


def _tried(view: View) -> Iterator[str]:
    if view.on_trial:
        pairs = sum(len(task.sample_ids) for task in view.of_kind("audit"))
        how = f"on {plural(pairs, 'pair')} that people judged" if pairs else "under attack"
        yield f"{listed(view.on_trial)} on trial as a judge, {how}."


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
    return tag("div", blocks, class_="answers many" if len(blocks) > _SPOKEN else "answers")


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
    """Tasks down and models across; the other way round where that makes a table of many models narrower."""
    caption = "Every model on every task, with 95 % intervals"
    if len(view.models) > max(_ACROSS, len(view.scored)):
        columns = [Column("Model", numeric=False, sortable=False)]
        columns += [Column(_task_head(task), sortable=False) for task in view.scored]
        rows = [_model_row(view, model) for model in view.models]
    else:
        columns = [Column("Task", numeric=False, sortable=False)]
        columns += [Column(model_name(view, model), sortable=False) for model in view.models]
        rows = [_task_row(view, task) for task in view.scored]
    return table(caption, columns, rows, class_="matrix")


def _task_row(view: View, task: TaskView) -> Html:
    return row(_task_head(task), *(_matrix_cell(view, task, model, model) for model in view.models))


def _model_row(view: View, model: str) -> Html:
    return row(model_name(view, model), *(_matrix_cell(view, task, model, task.name) for task in view.scored))


def _task_head(task: TaskView) -> Child:
    return (tag("a", task.name, href=f"#{task.key}"), tag("span", _measured(task), class_="small"))


def _measured(task: TaskView) -> str:
    """What the numbers of a row are: the metric, its scale and the protocol."""
    return ", ".join([" ".join([task.metric, task.scale.words]).strip(), task.protocol])


def _matrix_cell(view: View, task: TaskView, model: str, label: str) -> Html:
    """`label` stands before the cell where the screen is too narrow for a table."""
    entry = next((cell for cell in task.cells if cell.model == model), None)
    if entry is None:
        return tag("td", tag("span", "not run", class_="small"), class_="number absent", data_label=label)
    if entry.metric is None:
        words = f"{entry.run.manifest.status}: no {task.metric}"
        return tag("td", tag("span", words, class_="small"), class_="number", data_label=label)
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
    return tag("td", tag("div", lines), class_="number", data_label=label)


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

    if total("seconds"):
        yield "Time", duration(total("seconds"))
    cached = f" ({compact(total('cache_hits'))} more from the cache)" if total("cache_hits") else ""
    if total("calls") or cached:
        yield "Model calls", compact(total("calls")) + cached
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
    local = all(_asked_locally(run) for run in view.runs)
    return "none, no paid service was asked" if local else "not recorded"


def _is_local(model: str) -> bool:
    here = ("@http://127.0.0.1", "@http://localhost")
    return model.startswith(("hf/", "fake/", "ollama/", "predictions/", "/", ".")) or any(one in model for one in here)


def _asked_locally(run: Run) -> bool:
    """Whether whom this Run asked, the model or its judge, costs nothing."""
    judge = run.manifest.judge
    return _is_local(run.manifest.model if judge is None else str(judge.get("name", ""))) or is_reference(judge)


def _notes(view: View) -> Html | None:
    lines = [*view.notes, *warnings(view)]
    if any(is_reference(task.judge) for task in view.tasks):
        lines.append(
            "No language model judged these responses: the reference score measures how close a response comes to the "
            "reference answer in words and numbers. A good answer in other words scores low."
        )
    return tag("ul", (tag("li", line) for line in lines), class_="notes") if lines else None
