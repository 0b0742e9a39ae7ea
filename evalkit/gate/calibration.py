"""A Run with repeats in, how often its unchanged model would have failed the gate out."""

from dataclasses import dataclass

import numpy as np

from evalkit.compare.repeats import folded
from evalkit.errors import UsageError
from evalkit.gate.rules import GateRule
from evalkit.record import Run
from evalkit.stats.calibration import Calibration, calibrate

_ADVICE = "make one with --repeats 4"


@dataclass(frozen=True)
class RunCalibration:
    """One Run against itself."""

    run: Run
    metric: str
    samples: int
    """Samples with every repeat scored."""
    left_out: int
    """Samples of which some repeat is unscored."""
    runs: int
    """Repeats, each taken as a run of its own."""
    found: Calibration


def calibrate_run(run: Run, rule: GateRule) -> RunCalibration:
    """Compare every repeat of a Run with every other one under a rule.

    Args:
        run: a Run with at least two repeats, or a judgement of one.
        rule: what would count as a regression.

    Raises:
        UsageError: the Run has a single repeat, no such metric, or no sample with all repeats scored.
    """
    metric = rule.metric or run.manifest.primary
    scores, clusters = _by_sample(run, metric)
    if not scores:
        raise UsageError(f"{run.id} has no scores of {metric!r} to calibrate on")
    repeats = max(len(values) for values in scores.values())
    if repeats < 2:
        raise UsageError(f"{run.id} holds one answer to each sample, so nothing can be calibrated: {_ADVICE}")
    complete = [sample for sample, values in scores.items() if len(values) == repeats]
    labels = [clusters.get(sample, sample) for sample in complete]
    independent = len(set(labels)) in (1, len(labels))
    table = np.array([scores[sample] for sample in complete])
    found = calibrate(table, rule.to_rule(run.manifest.scale), clusters=None if independent else labels)
    return RunCalibration(run, metric, len(complete), len(scores) - len(complete), repeats, found)


def _by_sample(run: Run, metric: str) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Scores and clusters by sample."""
    scores: dict[str, list[float]] = {}
    clusters: dict[str, str] = {}
    for row in folded(run).rows:
        if row.unscored is None and metric in row.scores and "canary" not in row.tags:
            scores.setdefault(row.id, []).append(row.scores[metric])
            if row.cluster:
                clusters[row.id] = row.cluster
    return scores, clusters
