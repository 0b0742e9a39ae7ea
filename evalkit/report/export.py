"""A report's numbers for programs: CSV with a line per model, task and metric; JSON with all that the page computes."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from evalkit.record import Run
from evalkit.report.gate_view import GateView
from evalkit.report.strict_json import to_json
from evalkit.report.view import Cell, TaskView, View, make_view
from evalkit.report.words import answers
from evalkit.visible import visible

_COLUMNS = (
    "task",
    "protocol",
    "judge",
    "model",
    "run",
    "status",
    "group",
    "name",
    "metric",
    "value",
    "stderr",
    "low",
    "high",
    "n",
    "unscored",
)
_PAIRED = ("difference", "difference_low", "difference_high", "p", "change")
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠", "\t", "\r", "\n")
"""What a spreadsheet takes for the beginning of a formula (OWASP, "CSV Injection")."""


def build_csv(runs: Sequence[Run], *, baseline: str | None = None) -> str:
    """Every metric of every Run, overall and by group, as CSV; differences stand with the primary metric.

    Text that a spreadsheet would run as a formula gets an apostrophe in front.
    """
    view = make_view(runs, baseline=baseline)
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow([*_COLUMNS, *_PAIRED])
    for line in _lines(view):
        writer.writerow([_harmless(line.get(name)) for name in (*_COLUMNS, *_PAIRED)])
    return stream.getvalue()


def _harmless(value: Any) -> Any:
    if isinstance(value, str):
        shown = visible(value)
        return f"'{shown}" if shown.startswith(_FORMULA) else shown
    # What is no number stands as nothing: "nan" would be a text in a column of numbers.
    return "" if value is None or (isinstance(value, float) and not math.isfinite(value)) else value


def _lines(view: View) -> Iterator[dict[str, Any]]:
    for task in view.tasks:
        for entry in task.cells:
            about = _about(task, entry)
            metrics = entry.run.manifest.metrics
            for name, metric in metrics.overall.items():
                paired = _paired(entry) if name == task.metric else {}
                yield {**about, "metric": name, **asdict(metric), **paired}
            for group, members in metrics.groups.items():
                for member, values in members.items():
                    for name, metric in values.items():
                        yield {**about, "group": group, "name": member, "metric": name, **asdict(metric)}


def _about(task: TaskView, entry: Cell) -> dict[str, Any]:
    manifest = entry.run.manifest
    judge = (manifest.judge or {}).get("name")
    return {
        "task": manifest.task,
        "protocol": task.protocol,
        "judge": judge,
        "model": manifest.model,
        "run": manifest.id,
        "status": manifest.status,
    }


def _paired(entry: Cell) -> dict[str, Any]:
    if entry.pair is None:
        return {}
    difference = entry.pair.result.difference
    return {
        "difference": difference.value,
        "difference_low": difference.low,
        "difference_high": difference.high,
        "p": entry.pair.result.p_change,
        "change": entry.pair.change,
    }


def build_json(runs: Sequence[Run], *, gate: GateView | None = None, baseline: str | None = None) -> str:
    """The answer, every metric, every paired difference and the gate as one JSON document."""
    view = make_view(runs, baseline=baseline, gate=gate)
    document = {
        "answer": [str(answer) for answer in answers(view)],
        "notes": list(view.notes),
        "gate": asdict(gate) if gate else None,
        "tasks": [_task(task) for task in view.tasks],
    }
    return to_json(document, indent=1)


def _task(task: TaskView) -> dict[str, Any]:
    return {
        "task": task.baseline.run.manifest.task,
        "name": task.name,
        "protocol": task.protocol,
        "metric": task.metric,
        "judge": dict(task.judge) if task.judge else None,
        "baseline": task.baseline.run.manifest.model,
        "samples": len(task.sample_ids),
        "models": [_model(entry) for entry in task.cells],
    }


def _model(entry: Cell) -> dict[str, Any]:
    manifest = entry.run.manifest
    comparison = entry.pair.result if entry.pair else None
    return {
        "model": manifest.model,
        "run": manifest.id,
        "status": manifest.status,
        "metrics": asdict(manifest.metrics),
        "unscored": dict(manifest.unscored),
        "usage": dict(manifest.usage),
        "paired": comparison
        and {**_paired(entry), "better": comparison.better, "worse": comparison.worse, "method": comparison.method},
    }
