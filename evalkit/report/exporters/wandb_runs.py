"""Runs in, Weights & Biases runs out: a summary of all numbers, the settings, losses by step, the Run's files.

What W&B itself decides stays with it: WANDB_MODE=offline writes to the disk only, WANDB_API_KEY is whose project it is.
"""

import os
from collections.abc import Sequence
from typing import Any

from evalkit.digest import digest
from evalkit.errors import EvalkitError, UsageError
from evalkit.record import Run
from evalkit.report.exporters.numbers import clean, files, last_step, losses, numbers, settings

PROJECT = "evalkit"
"""Where runs go that neither the caller nor the environment (WANDB_PROJECT) gives another project."""


def log_runs(runs: Sequence[Run], project: str | None) -> list[str]:
    """Log each Run as a W&B run of its name; one that was logged before is continued with the same numbers.

    Args:
        runs: the Runs.
        project: W&B's project, or `entity/project`.

    Returns:
        `wandb <project>/<run name>` with its address or folder, for each.

    Raises:
        UsageError: W&B is not installed.
        EvalkitError: W&B refuses: no key, no network.
    """
    try:
        import wandb
        from wandb.errors import Error
    except ImportError as error:
        raise UsageError(
            f"--export wandb needs Weights & Biases ({error}); install it with: pip install wandb"
        ) from None
    entity, _, name = (project or os.environ.get("WANDB_PROJECT") or PROJECT).rpartition("/")
    try:
        return [_log(wandb, run, name, entity or None) for run in runs]
    except Error as error:
        raise EvalkitError(
            f"--export wandb: W&B refused: {str(error).strip()[:300]}; log in with `wandb login`, or set "
            "WANDB_MODE=offline to write to the disk only"
        ) from error


def _log(wandb: Any, run: Run, project: str, entity: str | None) -> str:
    manifest = run.manifest
    started = wandb.init(
        project=project,
        entity=entity,
        id=digest([run.id, manifest.model_fingerprint])[:16],
        name=run.id,
        group=manifest.model[:128],
        job_type="evaluation",
        config=settings(run),
        resume="allow",
        settings=wandb.Settings(silent=True, console="off"),
    )
    try:
        for step, values in losses(run):
            started.log(values, step=step)
        # Logged once as a step, which the journal always keeps, and as the summary, which a second export renews.
        started.log(numbers(run), step=last_step(run))
        started.summary.update(numbers(run))
        _attach(wandb, started, run)
        where = started.dir if started.offline else started.url
    finally:
        started.finish()
    return f"wandb {project}/{run.id} ({where})"


def _attach(wandb: Any, started: Any, run: Run) -> None:
    paths = files(run)
    if not paths:
        return
    artifact = wandb.Artifact(clean(run.id).replace(" ", "_"), type="evaluation")
    for path in paths:
        artifact.add_file(str(path))
    started.log_artifact(artifact)
