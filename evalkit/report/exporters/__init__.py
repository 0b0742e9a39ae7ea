"""Runs in, other tools' own records out: lm-eval's results folder, MLflow, Weights & Biases, TensorBoard.

    --export lm-eval=DIR       results_*.json and samples_*.jsonl, as lm-eval writes them
    --export mlflow[=URI]      one MLflow run for each Run; needs mlflow
    --export wandb[=PROJECT]   one W&B run for each Run; needs wandb
    --export tensorboard=DIR   event files; needs nothing

Exporting a Run again replaces what was exported of it before, so that nothing stands twice.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import RecordError, UsageError
from evalkit.record import Run


@dataclass(frozen=True)
class _Target:
    """One tool that Runs can be exported to."""

    export: Callable[[Sequence[Run], str], list[str]]
    place: str
    """What stands behind `=`."""
    required: bool = True


def export(runs: Sequence[Run], target: str) -> list[str]:
    """Export Runs to another tool.

    Args:
        runs: what to export; Runs that are still going on are exported as far as they are.
        target: `KIND=PLACE` or, where the tool has a place of its own, `KIND`.

    Returns:
        Where each record now is: a path, or the tool's name of it.

    Raises:
        UsageError: there is no such kind, its place is missing, or its package is not installed.
        EvalkitError: the tool or the disk refuses.
    """
    chosen, place = parse(target)
    try:
        return chosen.export(runs, place)
    except OSError as error:
        raise RecordError(f"--export {target}: {error.strerror or error}; choose another place") from error


def parse(target: str) -> tuple[_Target, str]:
    """The tool that a `KIND=PLACE` names, and the place. Raises UsageError as `export`, before anything is read."""
    kind, _, place = target.partition("=")
    chosen = _TARGETS.get(kind)
    if chosen is None:
        raise UsageError(f"--export {target}: no such kind; there are {', '.join(map(_usage, _TARGETS))}")
    if chosen.required and not place:
        raise UsageError(f"--export {target}: say where to, as in --export {_usage(kind)}")
    return chosen, place


def _usage(kind: str) -> str:
    target = _TARGETS[kind]
    return f"{kind}={target.place}" if target.required else f"{kind}[={target.place}]"


def _lm_eval(runs: Sequence[Run], place: str) -> list[str]:
    from evalkit.report.exporters.lm_eval_layout import write_results

    return [str(path) for path in write_results(runs, Path(place))]


def _mlflow(runs: Sequence[Run], place: str) -> list[str]:
    from evalkit.report.exporters.mlflow_runs import log_runs

    return log_runs(runs, place or None)


def _wandb(runs: Sequence[Run], place: str) -> list[str]:
    from evalkit.report.exporters.wandb_runs import log_runs

    return log_runs(runs, place or None)


def _tensorboard(runs: Sequence[Run], place: str) -> list[str]:
    from evalkit.report.exporters.tensorboard_events import write_events

    return [str(path) for path in write_events(runs, Path(place))]


_TARGETS: Mapping[str, _Target] = {
    "lm-eval": _Target(_lm_eval, "DIR"),
    "mlflow": _Target(_mlflow, "URI", required=False),
    "wandb": _Target(_wandb, "PROJECT", required=False),
    "tensorboard": _Target(_tensorboard, "DIR"),
}
