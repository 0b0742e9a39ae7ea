"""Runs of one model in, what its Hugging Face model card says of them out: `model-index` metadata and a Markdown table.

The metadata follows huggingface/hub-docs, `modelcard.md`: task, dataset and metrics, each metric with its standard
error, interval, n and unscored count under `args`. The text is a whole card's head, or is pasted into one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import UsageError
from evalkit.record import Manifest, Metric, Run
from evalkit.report.markdown import plain
from evalkit.report.text import listed, one_line
from evalkit.report.view import Cell, TaskView, View, is_reference, make_view
from evalkit.report.words import Finding
from evalkit.visible import visible

_TASK_TYPE = "text-generation"
_METRIC_TYPES = {"acc": "accuracy"}
"""evalkit's names of metrics that the hub has other names for; elsewhere they are the same."""


@dataclass(frozen=True)
class _Result:
    task: TaskView
    cell: Cell


def build_model_card(runs: Sequence[Run], *, baseline: str | None = None, source: str | None = None) -> str:
    """The metadata and the table for a model card.

    Args:
        runs: Runs of one model, and maybe of the baseline it is compared with.
        baseline: as in the report: the model to compare with.
        source: address of the page that the numbers come from; the metadata names no source where None.

    Returns:
        YAML between `---` lines, then Markdown.

    Raises UsageError where the Runs are of several models beside the baseline, one of them is not complete, or the
    source is no address.
    """
    if source is not None and not source.startswith(("https://", "http://")):
        raise UsageError(f"--source-url {source}: give an address that begins with https://")
    view = make_view(runs, baseline=baseline)
    model = _subject(view)
    results = [_Result(task, cell) for task in view.tasks for cell in task.cells if cell.model == model]
    _check_complete(results)
    index = [{"name": _line(model), "results": [_entry(result, source) for result in results]}]
    return "\n".join([*_metadata({"model-index": index}), *_body(view, results, source)]) + "\n"


def _subject(view: View) -> str:
    if len(view.models) <= 2:
        return view.models[-1]
    raise UsageError(
        f"--model-card: a card is about one model, and the runs are of {listed(view.models[1:])} beside the baseline "
        f"{view.models[0]}: name the runs of one of them"
    )


def _check_complete(results: Sequence[_Result]) -> None:
    for result in results:
        run = result.cell.run
        if run.manifest.status != "complete" or run.damage:
            state = run.damage[0] if run.damage else run.manifest.status
            raise UsageError(f"--model-card: {run.id} is not complete ({state}); run the same command again")


def _metadata(content: dict[str, Any]) -> list[str]:
    import yaml

    return ["---", yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120).rstrip(), "---"]


def _entry(result: _Result, source: str | None) -> dict[str, Any]:
    manifest = result.cell.run.manifest
    entry: dict[str, Any] = {
        "task": {"type": _TASK_TYPE, "name": _line(result.task.name)},
        "dataset": {
            "name": _line(result.task.name),
            "type": _line(manifest.task),
            # The hub merges results whose dataset, configuration and revision are the same: protocols must not be.
            "config": _line(manifest.protocol),
            "revision": manifest.data_hash,
            "args": _arguments(manifest),
        },
        "metrics": [
            {"type": _METRIC_TYPES.get(name, name), "value": metric.value, "name": name, "args": _args(metric)}
            for name, metric in manifest.metrics.overall.items()
            if metric.value is not None
        ],
    }
    return entry | ({"source": {"name": "evalkit", "url": source}} if source else {})


def _line(text: str) -> str:
    """A name on one line, nothing in it hidden: what reads the metadata looks for lines of its own."""
    return visible(one_line(text, 200))


def _arguments(manifest: Manifest) -> dict[str, Any]:
    shots = manifest.settings.get("num_fewshot")
    return {
        **({} if shots is None else {"num_few_shot": int(shots)}),
        **({"judge": str(manifest.judge.get("name"))} if manifest.judge else {}),
    }


def _args(metric: Metric) -> dict[str, Any]:
    return {
        "stderr": metric.stderr,
        "low": metric.low,
        "high": metric.high,
        "n": metric.n,
        "unscored": metric.unscored,
    }


def _body(view: View, results: Sequence[_Result], source: str | None) -> Iterator[str]:
    compared = any(result.cell.pair for result in results)
    heads = ["Task", "Metric", "Value", "95 % interval", "n", "Unscored"]
    heads += [f"Against {plain(view.models[0])}"] if compared else []
    yield ""
    yield "## Evaluation"
    yield ""
    yield f"| {' | '.join(heads)} |"
    yield "|---|---|---:|---:|---:|---:|" + ("---:|" if compared else "")
    for result in results:
        for name, metric in result.cell.run.manifest.metrics.overall.items():
            cells = [plain(result.task.name), plain(name), *_shown(result, name, metric), f"{metric.n:,}"]
            cells += [f"{metric.unscored:,}"] + ([_against(result, name)] if compared else [])
            yield f"| {' | '.join(cells)} |"
    yield ""
    yield from _notes(results, source, compared=compared)


def _shown(result: _Result, name: str, metric: Metric) -> tuple[str, str]:
    """A value with its interval: the primary metric in the report's unit, others as they are."""
    if metric.value is None:
        return "undefined", "–"
    if name == result.task.metric:
        return result.task.scale.with_unit(metric.value), result.task.scale.interval(metric)
    between = "–" if metric.low is None or metric.high is None else f"{metric.low:.4g} to {metric.high:.4g}"
    return f"{metric.value:.4g}", between


def _against(result: _Result, name: str) -> str:
    if result.cell.pair is None or name != result.task.metric:
        return ""
    finding = Finding(result.task, result.cell, result.cell.pair)
    return f"{finding.difference} ({finding.interval})"


def _notes(results: Sequence[_Result], source: str | None, *, compared: bool) -> Iterator[str]:
    from evalkit import __version__

    protocols = dict.fromkeys(f"{result.task.name}: {result.task.protocol}" for result in results)
    yield f"Protocols: {plain('; '.join(protocols))}."
    if compared:
        yield "Differences are paired sample by sample, with 95 % intervals."
    if any(is_reference(result.task.judge) for result in results):
        yield "No language model judged: reference scores measure closeness to the reference answer."
    yield f"Measured with evalkit {__version__}" + (f" (<{_address(source)}>)." if source else ".")


def _address(source: str) -> str:
    """An address that stays between its angle brackets."""
    from urllib.parse import quote

    return quote(source, safe="/:?#[]@!$&'()*+,;=%~-._")
