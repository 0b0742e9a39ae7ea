"""An open comparison in, how much of its uncertainty more repeats would take away out.

Repeats average the noise between runs of a model; the variation between samples stays. The noise is measured where
there are repeats; before that all of the variance is taken for it, which is the best case. The answer does not depend
on the size or the direction of the change, so to stop asking because of it costs nothing of the gate's level.
"""

import math
from collections.abc import Sequence

from evalkit.compare import Comparison
from evalkit.record import Run


def removable_share(comparison: Comparison, repeats: int) -> float:
    """The share of the squared standard error that goes away with so many runs of every sample on both sides.

    Args:
        comparison: candidate against baseline with the repeats so far.
        repeats: runs of every sample on each side in the end.

    Returns:
        A share from 0 to 1; 1 where the comparison has no standard error to forecast from.
    """
    stderr = comparison.result.difference.stderr
    if not stderr:
        return 1.0
    sides = [
        (_noise(run, comparison.metric), run.manifest.repeats) for run in (comparison.baseline, comparison.candidate)
    ]
    known = [noise for noise, _ in sides if noise is not None]
    if not known:
        now, then = (sum(1 / max(count, least) for _, count in sides) for least in (1, repeats))
        return 1 - then / now
    # The repeats of one side stand for those of the other, which has none.
    spare = math.fsum(known) / len(known)
    removed = math.fsum(
        (spare if noise is None else noise) * (1 / count - 1 / max(count, repeats)) for noise, count in sides
    )
    return min(1.0, removed / stderr**2)


def _noise(run: Run, metric: str) -> float | None:
    """Variance of the mean score over samples that one repeat has; None without repeats."""
    if run.manifest.repeats < 2:
        return None
    repeated: Sequence[list[float]] = [values for values in run.scores(metric).values() if len(values) > 1]
    if not repeated:
        return None
    return math.fsum(_variance(values) for values in repeated) / len(repeated) ** 2


def _variance(values: Sequence[float]) -> float:
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)
