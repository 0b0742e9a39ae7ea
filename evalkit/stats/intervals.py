"""Turns the scores of one run into an Estimate: value, standard error and confidence interval.

Items are the unit of sampling. Where items share a passage, a subject or a prompt template, name that as
their cluster: the standard error is then cluster-robust and the degrees of freedom count clusters. What
cannot be estimated (no items, one item, scores that never vary) is None, never NaN and never a zero-width
interval.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from evalkit.errors import UsageError
from evalkit.stats.checks import FloatArray, IntArray, Labels, codes, fraction, vector
from evalkit.stats.clusters import clustered_error
from evalkit.stats.distributions import normal_quantile, t_quantile
from evalkit.stats.resampling import bootstrap_means

_NOISE = 1e-12  # relative; smaller spreads are rounding


@dataclass(frozen=True)
class Estimate:
    """A number with what is known about its error; None stands for "cannot be estimated from these data"."""

    value: float | None
    """The point estimate, in the unit of the scores."""
    stderr: float | None
    """Its standard error, same unit."""
    low: float | None
    """Lower end of the two-sided confidence interval."""
    high: float | None
    """Upper end of the two-sided confidence interval."""
    n: int
    """How many items (units, models) the estimate rests on."""


def estimate_mean(scores: ArrayLike, *, clusters: Labels | None = None, level: float = 0.95) -> Estimate:
    """Estimate a mean score with the interval that suits the data.

    Wilson's interval for 0/1 scores of independent items, Student's t (cluster-robust where clusters are
    given) otherwise. Arguments, result and errors as in `mean_interval`.
    """
    values = vector(scores, "scores")
    if clusters is None and len(values) and bool(np.isin(values, (0, 1)).all()):
        return proportion_interval(int(values.sum()), len(values), level=level)
    return mean_interval(values, clusters=clusters, level=level)


def mean_interval(scores: ArrayLike, *, clusters: Labels | None = None, level: float = 0.95) -> Estimate:
    """Estimate a mean with a Student t interval.

    Args:
        scores: one score per item, shape (items,).
        clusters: the cluster of each item; None when items are independent.
        level: confidence level of the two-sided interval.

    Returns:
        The mean; its standard error, None below two items or clusters; the interval with items - 1 degrees of
        freedom, or those of `clustered_error`, None where the standard error is None or zero.

    Raises:
        UsageError: a score is not a finite number, or the clusters do not fit the items.
    """
    values = vector(scores, "scores")
    if not len(values):
        return Estimate(None, None, None, None, 0)
    if clusters is None:
        stderr, df = standard_error(values), float(len(values) - 1)
    else:
        stderr, df = clustered_error(values, codes(clusters, len(values), "clusters")[0])
    return symmetric(float(values.mean()), stderr, df=df, n=len(values), level=level)


def proportion_interval(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion with Wilson's score interval (Wilson 1927), defined for every n > 0.

    The standard error is that of the mean of the 0/1 scores with the n - 1 divisor, None for n = 1.
    """
    if not 0 <= successes <= n:
        raise UsageError(f"{successes} successes out of {n} is impossible: check the counts")
    if n == 0:
        return Estimate(None, None, None, None, 0)
    share = successes / n
    z = normal_quantile((1 + fraction(level, "level")) / 2)
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    stderr = math.sqrt(share * (1 - share) / (n - 1)) if n > 1 else None
    return Estimate(share, stderr, max(0.0, centre - half), min(1.0, centre + half), n)


def bootstrap_interval(
    scores: ArrayLike,
    *,
    clusters: Labels | None = None,
    level: float = 0.95,
    resamples: int = 10_000,
    seed: int = 0,
) -> Estimate:
    """Estimate a mean with a percentile bootstrap over items, or over whole clusters.

    Arguments and errors as in `mean_interval`; `resamples` is the number of bootstrap means. The standard
    error is their standard deviation. It and the interval are None where all resamples agree.
    """
    values = vector(scores, "scores")
    if not len(values):
        return Estimate(None, None, None, None, 0)
    groups = None if clusters is None else codes(clusters, len(values), "clusters")[0]
    means = bootstrap_means(values, groups, resamples=resamples, seed=seed)
    value, spread = float(values.mean()), float(means.std(ddof=1))
    if spread <= _NOISE * abs(value):
        return Estimate(value, None, None, None, len(values))
    tail = (1 - fraction(level, "level")) / 2
    low, high = np.quantile(means, (tail, 1 - tail))
    return Estimate(value, spread, float(low), float(high), len(values))


def standard_error(values: FloatArray, groups: IntArray | None = None) -> float | None:
    """Return the standard error of the mean, None below two items (or clusters).

    With groups (cluster codes from 0) it is sqrt(sum over clusters of (sum of residuals)^2 * C / (C - 1)) /
    n, the cluster-robust form that Inspect's `stderr(cluster)` uses; with one item per cluster it is the
    usual sd / sqrt(n).
    """
    residuals = values - values.mean() if len(values) else values
    totals = residuals if groups is None else np.bincount(groups, residuals)
    if len(totals) <= 1:
        return None
    stderr = math.sqrt(float(totals @ totals) * len(totals) / (len(totals) - 1)) / len(values)
    # A constant has no spread, but the rounded mean of equal scores may differ from them in the last place.
    return stderr if stderr > _NOISE * float(np.abs(values).max()) else 0.0


def symmetric(value: float, stderr: float | None, *, df: float, n: int, level: float) -> Estimate:
    """Return `value` with the interval value -+ t * stderr; no interval where stderr is None or zero."""
    fraction(level, "level")
    if not stderr:
        return Estimate(value, stderr, None, None, n)
    half = t_quantile((1 + level) / 2, df) * stderr
    return Estimate(value, stderr, value - half, value + half, n)
