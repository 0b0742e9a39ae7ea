"""The groups of a task (family, category, subject) as sortable heat maps, with the paired difference in each group."""

from collections.abc import Mapping, Sequence

from evalkit.record import Metric
from evalkit.report.html import Html, tag
from evalkit.report.parts import Column, cell, details, diverging, heat, model_name, note, samples_link, table
from evalkit.report.parts import row as table_row
from evalkit.report.text import NOT_KNOWN
from evalkit.report.view import Cell, TaskView, View, compare_samples, labels_of
from evalkit.stats.intervals import Estimate

_OPEN_UP_TO = 24
"""Longer tables are folded away until asked for."""


def groups(view: View, task: TaskView) -> Html | None:
    """One heat map for each kind of group."""
    kinds = dict.fromkeys(kind for entry in task.cells for kind in entry.run.manifest.metrics.groups)
    maps = [_heat_map(view, task, kind) for kind in kinds]
    return tag("div", maps, class_="groups") if maps else None


def _heat_map(view: View, task: TaskView, kind: str) -> Html:
    members = _members(task, kind)
    names = list(
        dict.fromkeys(name for entry in task.cells for name in entry.run.manifest.metrics.groups.get(kind, {}))
    )
    columns = [Column(kind.capitalize(), numeric=False), Column("n")]
    columns += [Column(model_name(view, c.model)) for c in task.cells]
    columns += [Column(f"{c.model} − {task.baseline.model}") for c in task.candidates if c.pair and task.is_plain]
    rows = [_row(task, kind, name, members.get(name, ())) for name in names]
    content = table(f"{task.name} by {kind}", columns, rows, class_="heatmap")
    star = note("* the 95 % interval of this row alone excludes zero; with many rows some do by chance.")
    shown = [content, star if task.candidates and task.is_plain else None]
    return details(f"By {kind} ({len(names)})", shown, open_=len(names) <= _OPEN_UP_TO)


def _row(task: TaskView, kind: str, name: str, samples: Sequence[str]) -> Html:
    metrics = [_metric(entry, kind, name, task.metric) for entry in task.cells]
    size = max((metric.n for metric in metrics if metric), default=0)
    scored = [_value(task, metric) for metric in metrics]
    paired = [_difference(task, entry, samples) for entry in task.candidates if entry.pair and task.is_plain]
    label = name.replace("_", " ")
    filtered = any(name in labels_of(row) for sample in samples[:1] for row in task.baseline.rows[sample])
    head = tag("a", label, href=samples_link(task.key, tag=name)) if filtered else label
    return table_row(head, cell(f"{size:,}", value=size), *scored, *paired, value=name)


def _metric(entry: Cell, kind: str, name: str, metric: str) -> Metric | None:
    members: Mapping[str, Mapping[str, Metric]] = entry.run.manifest.metrics.groups.get(kind, {})
    return members.get(name, {}).get(metric)


def _value(task: TaskView, metric: Metric | None) -> Html:
    if metric is None or metric.value is None:
        return cell(NOT_KNOWN)
    share = task.scale.share(metric.value)
    return cell(
        tag("span", task.scale.show(metric.value), class_="value"),
        tag("span", task.scale.interval(metric), class_="small"),
        value=metric.value,
        class_=heat(share),
    )


def _difference(task: TaskView, entry: Cell, samples: Sequence[str]) -> Html:
    shared = [sample for sample in samples if sample in entry.scores and sample in task.baseline.scores]
    if not shared:
        return cell(NOT_KNOWN)
    estimate = compare_samples(task.baseline, entry, shared).difference
    value = estimate.value or 0.0
    good = value if task.scale.higher_is_better else -value
    share = good / task.scale.width / 0.5 if task.scale.width else None
    sure = "*" if _proven(estimate) else None
    return cell(
        tag("span", task.scale.difference(value), sure, class_="value"),
        tag("span", _ends(task, estimate), class_="small"),
        value=value,
        class_=diverging(share),
    )


def _proven(estimate: Estimate) -> bool:
    return estimate.low is not None and estimate.high is not None and (estimate.low > 0 or estimate.high < 0)


def _ends(task: TaskView, estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return "no interval"
    return f"{task.scale.difference(estimate.low)} to {task.scale.difference(estimate.high)}"


def _members(task: TaskView, kind: str) -> dict[str, list[str]]:
    """Sample ids by group name, where the group is the cluster or a tag of its samples, or an MMLU category."""
    from evalkit.benchmarks.mmlu_subjects import CATEGORY

    names = {name for entry in task.cells for name in entry.run.manifest.metrics.groups.get(kind, {})}
    found: dict[str, list[str]] = {}
    for sample, rows in task.baseline.rows.items():
        labels = (*labels_of(rows[0]), CATEGORY.get(rows[0].cluster or ""))
        name = next((label for label in labels if label in names), None)
        if name is not None:
            found.setdefault(name, []).append(sample)
    return found
