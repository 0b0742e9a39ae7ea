"""Resamples items, or whole clusters, and returns the bootstrap means: 100,000 of them in under a second.

Resampling n items with replacement means drawing a multinomial count for every distinct value, so 0/1/-1
differences need three numbers per resample instead of n. Where there are more than `BINS` distinct values
they are put into that many bins: the counts per bin stay exactly multinomial, and what varies inside a bin
(at most 1/64 of the range) is replaced by a normal variable with the bin's own mean and variance. Mean and
variance of the bootstrap distribution are exact in both cases.
"""

from dataclasses import dataclass

import numpy as np

from evalkit.errors import UsageError
from evalkit.stats.checks import FloatArray, IntArray
from evalkit.stats.distributions import normal_tail, t_quantile

BINS = 64
_CHUNK = 20_000
_FURTHEST, _STEPS = 8.0, 321
"""Standard deviations up to which, and points at which, Student's t is set against the normal."""


@dataclass(frozen=True)
class _Bins:
    count: FloatArray
    total: FloatArray  # mean sum of scores of a unit in the bin
    size: FloatArray  # mean number of items of a unit in the bin
    variance: FloatArray  # of the units' residuals within the bin


def bootstrap_means(values: FloatArray, groups: IntArray | None = None, *, resamples: int, seed: int) -> FloatArray:
    """Return the bootstrap distribution of the mean of `values`.

    Args:
        values: one finite score per item, shape (items,), not empty.
        groups: cluster codes from 0, shape (items,); whole clusters are then drawn, each with all its items.
        resamples: how many means to draw.
        seed: of numpy's default generator; the same seed gives the same means.

    Returns:
        The means, shape (resamples,), in no particular order.
    """
    if resamples <= 0:
        raise UsageError(f"resamples is {resamples}, expected at least 1")
    if groups is None:
        bins = _binned(values, np.ones(len(values)))
    else:
        bins = _binned(_sums(groups, values), _sums(groups, np.ones(len(values))))
    rng = np.random.default_rng(seed)
    chunks = [min(_CHUNK, resamples - start) for start in range(0, resamples, _CHUNK)]
    return np.concatenate([_draw(bins, chunk, rng) for chunk in chunks])


def widened(means: FloatArray, value: float, stderr: float, df: float) -> FloatArray:
    """Return bootstrap means as far from `value` as the unbiased standard error and Student's t put them.

    Resampled means vary too little where there are few units (by (n - 1) / n) or clusters of unequal size, and their
    percentiles ignore that the spread itself is estimated: measured, 10 to 19 % false alarms at 5 % with 5 clusters of
    unequal size, and 4 to 8 % after this. Here u standard deviations become t(Phi(u)) standard errors: the shape of the
    distribution is kept, and where it is normal the interval is Student's. The idea is the expanded percentile interval
    of Hesterberg 2015 ("What teachers should know about the bootstrap"), applied to the values, not the levels.

    Args:
        means: bootstrap means that vary, shape (resamples,).
        value: the mean of the data.
        stderr: its standard error, from `standard_error` or `clustered_error`.
        df: the degrees of freedom of that.
    """
    deviations = (means - value) / means.std()
    normal = np.linspace(0.0, _FURTHEST, _STEPS)
    student = np.array([0.0, *(-t_quantile(normal_tail(u), df) for u in normal[1:])])
    reached: FloatArray = value + stderr * np.sign(deviations) * np.interp(np.abs(deviations), normal, student)
    return reached


def _draw(bins: _Bins, resamples: int, rng: np.random.Generator) -> FloatArray:
    units = int(bins.count.sum())
    counts = rng.multinomial(units, bins.count / units, size=resamples).astype(np.float64)
    sums = counts @ bins.total
    if bins.variance.any():
        sums += rng.standard_normal(resamples) * np.sqrt(counts @ bins.variance)
    means: FloatArray = sums / (counts @ bins.size)
    return means


def _binned(totals: FloatArray, sizes: FloatArray) -> _Bins:
    """Group units with equal score sums and sizes or, if they are too many, with like residuals."""
    distinct, index = np.unique(np.column_stack((totals, sizes)), axis=0, return_inverse=True)
    index = index.ravel()
    residuals = totals - sizes * (totals.sum() / sizes.sum())
    if len(distinct) > BINS:
        width = np.ptp(residuals) / BINS or 1.0
        position = np.minimum(((residuals - residuals.min()) / width).astype(np.int64), BINS - 1)
        index = np.unique(position, return_inverse=True)[1].ravel()
    count = _sums(index, np.ones(len(index)))
    centre = _sums(index, residuals) / count
    variance = _sums(index, (residuals - centre[index]) ** 2) / count if len(distinct) > BINS else 0 * centre
    return _Bins(count, _sums(index, totals) / count, _sums(index, sizes) / count, variance)


def _sums(index: IntArray, weights: FloatArray) -> FloatArray:
    return np.bincount(index, weights).astype(np.float64, copy=False)
