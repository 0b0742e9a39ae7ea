"""Runs in, MLflow runs out: metrics, settings as parameters, losses by step, the Run's files as artifacts."""

import os
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any

from evalkit.digest import digest
from evalkit.errors import EvalkitError, UsageError
from evalkit.record import Run
from evalkit.report.exporters.numbers import files, last_step, losses, numbers, settings

EXPERIMENT = "evalkit"
"""Where runs go that the environment (MLFLOW_EXPERIMENT_NAME) gives no other experiment."""
_IDENTITY_TAG = "evalkit.identity"
"""By which a Run is found again; its own name may hold what MLflow's filter language cannot."""
_METRICS_AT_ONCE, _PARAMS_AT_ONCE = 1000, 100
_LONGEST_PARAM = 6000


def log_runs(runs: Sequence[Run], uri: str | None) -> list[str]:
    """Log each Run as an MLflow run of its name; one that was logged before is replaced.

    Args:
        runs: the Runs.
        uri: the tracking server or store; MLflow's own choice (MLFLOW_TRACKING_URI) where None.

    Returns:
        `mlflow <experiment>/<run name> (<MLflow's run id>)` for each.

    Raises:
        UsageError: MLflow is not installed.
        EvalkitError: MLflow refuses.
    """
    try:
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
    except ImportError as error:
        raise UsageError(f"--export mlflow needs MLflow ({error}); install it with: pip install mlflow") from None
    experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
    try:
        client = MlflowClient(uri)
        known = client.get_experiment_by_name(experiment)
        identity = known.experiment_id if known else client.create_experiment(experiment)
        return [f"mlflow {experiment}/{run.id} ({_log(client, identity, run)})" for run in runs]
    except MlflowException as error:
        raise EvalkitError(f"--export mlflow: MLflow refused: {_first_line(error)}") from error


def _log(client: Any, experiment: str, run: Run) -> str:
    before = client.search_runs([experiment], f"tags.`{_IDENTITY_TAG}` = '{_identity(run)}'")
    made = client.create_run(
        experiment, start_time=_milliseconds(run.manifest.started), tags=_tags(run), run_name=run.id
    )
    identity = str(made.info.run_id)
    status = "FAILED"
    try:
        _log_numbers(client, identity, run)
        for path in files(run):
            client.log_artifact(identity, str(path))
        status = "FINISHED" if run.manifest.status == "complete" else "KILLED"
    finally:
        client.set_terminated(identity, status, _milliseconds(run.manifest.finished))
    for old in before:
        client.delete_run(old.info.run_id)
    return identity


def _log_numbers(client: Any, identity: str, run: Run) -> None:
    from mlflow.entities import Metric, Param

    at = _milliseconds(run.manifest.finished)
    metrics = [
        Metric(name, value, at, step)
        for step, values in [*losses(run), (last_step(run), numbers(run))]
        for name, value in values.items()
    ]
    for part in _parts(metrics, _METRICS_AT_ONCE):
        client.log_batch(identity, metrics=part)
    params = [Param(name, value[:_LONGEST_PARAM]) for name, value in settings(run).items()]
    for part in _parts(params, _PARAMS_AT_ONCE):
        client.log_batch(identity, params=part)


def _tags(run: Run) -> dict[str, str]:
    manifest = run.manifest
    return {
        _IDENTITY_TAG: _identity(run),
        "evalkit.run": run.id,
        "evalkit.model": manifest.model,
        "evalkit.task": manifest.task,
        "evalkit.status": manifest.status,
    }


def _identity(run: Run) -> str:
    return digest([run.id, run.manifest.model_fingerprint])[:16]


def _parts(items: Sequence[Any], size: int) -> Iterator[list[Any]]:
    rest = iter(items)
    while part := list(islice(rest, size)):
        yield part


def _milliseconds(stated: str) -> int:
    try:
        return int(datetime.fromisoformat(stated).timestamp() * 1000)
    except ValueError:
        return int(time.time() * 1000)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
