"""Compares a candidate with a baseline on the same items: difference, interval, and how surprising it is.

The method follows the data: exact mid-p McNemar for 0/1 scores with one run on each side, a cluster-robust
paired t test for everything else, a paired bootstrap on request. Differences are candidate minus baseline,
so a drop is negative.
"""

import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from evalkit.errors import UsageError
from evalkit.stats.bounds import BootstrapBounds, Bounds, StudentBounds
from evalkit.stats.checks import FloatArray, IntArray, Labels, codes, fraction, item_means, same_length
from evalkit.stats.clusters import clustered_error
from evalkit.stats.distributions import binomial_mass, binomial_tail
from evalkit.stats.intervals import Estimate, standard_error
from evalkit.stats.resampling import bootstrap_means, widened

Method = Literal["auto", "mcnemar", "t"]
FEWEST_RESAMPLES = 100
_FEWEST_UNITS = 4
_NOISE = 1e-12  # relative; rounding of repeat means must not count as a changed item


@dataclass(frozen=True)
class PairedComparison:
    """A candidate against a baseline on the same items."""

    difference: Estimate
    """Mean of candidate minus baseline, with its two-sided interval; everything None without items."""
    baseline: float | None
    """Mean score of the baseline."""
    candidate: float | None
    """Mean score of the candidate."""
    p_drop: float | None
    """One-sided p-value of the claim that the candidate is worse; None if the data cannot test it."""
    p_gain: float | None
    """One-sided p-value of the claim that the candidate is better."""
    p_change: float | None
    """Two-sided p-value."""
    worse: int
    """Items that score lower with the candidate (for 0/1 scores: right before, wrong now)."""
    better: int
    """Items that score higher with the candidate."""
    sd: float | None
    """Standard deviation of the differences per item (n - 1 divisor); what `power` needs."""
    clusters: int
    """Independent units: items, or clusters where those were given."""
    method: str
    """The test that was made, in words."""
    bounds: Bounds | None = field(repr=False)
    """One-sided bounds and tests against a margin; None without items."""

    @property
    def identical(self) -> bool:
        """True if there are items and no item changed its score."""
        return self.difference.n > 0 and self.worse == 0 and self.better == 0


@dataclass(frozen=True)
class _Pair:
    """Item means of both sides, their differences, and the clusters if any."""

    baseline: FloatArray
    candidate: FloatArray
    differences: FloatArray
    groups: IntArray | None


def compare_paired(
    baseline: ArrayLike,
    candidate: ArrayLike,
    *,
    clusters: Labels | None = None,
    level: float = 0.95,
    method: Method = "auto",
) -> PairedComparison:
    """Compare two score arrays whose rows are the same items in the same order.

    Args:
        baseline: scores of the baseline, shape (items,) or (items, repeats).
        candidate: scores of the candidate, shape (items,) or (items, repeats); repeats may differ in number.
        clusters: the cluster of each item (passage, subject, prompt template); None when items are
            independent.
        level: confidence level of the two-sided interval.
        method: "auto" takes McNemar for unclustered 0/1 scores of one run each and the t test otherwise.

    Returns:
        The comparison. Without items, or with a single real-valued item or cluster, its p-values and
        interval are None.

    Raises:
        UsageError: a score is not a finite number, lengths differ, or `method` does not suit the data.
    """
    pair = _pair(baseline, candidate, clusters)
    if not len(pair.baseline):
        return _NO_ITEMS
    binary = pair.groups is None and _is_binary(pair.baseline) and _is_binary(pair.candidate)
    if method == "mcnemar" and not binary:
        raise UsageError("McNemar's test needs 0/1 scores of one run each without clusters: use method 't'")
    return _mcnemar(pair, level) if binary and method != "t" else _paired_t(pair, level)


def mcnemar_mid_p(losses: int, gains: int) -> float:
    """Return the one-sided exact mid-p value of McNemar's test for a drop.

    P(X > losses) + P(X = losses) / 2 with X binomial(losses + gains, 1/2); 1 if nothing changed
    (Fagerland, Lydersen and Laake 2013).
    """
    changed = losses + gains
    if changed == 0:
        return 1.0
    return binomial_tail(losses + 1, changed) + 0.5 * binomial_mass(losses, changed)


def noninferiority_p(comparison: PairedComparison, margin: float) -> float | None:
    """Return the one-sided p-value of "the candidate is at most `margin` worse", None if it cannot be tested.

    It is at most alpha exactly when the lower bound at alpha lies above -margin.
    """
    return comparison.bounds.p_above(-_margin(margin)) if comparison.bounds else None


def equivalence_p(comparison: PairedComparison, margin: float) -> float | None:
    """Return the p-value of "they differ by less than `margin`", the larger of two one-sided ones (TOST)."""
    if comparison.bounds is None:
        return None
    above = comparison.bounds.p_above(-_margin(margin))
    below = comparison.bounds.mirrored().p_above(-margin)
    return max(above, below)


def _margin(margin: float) -> float:
    if not margin > 0:
        raise UsageError(f"margin is {margin}, expected a positive difference in the unit of the scores")
    return margin


def _pair(baseline: ArrayLike, candidate: ArrayLike, clusters: Labels | None) -> _Pair:
    before, after = item_means(baseline, "baseline"), item_means(candidate, "candidate")
    same_length(before, after, ("baseline", "candidate"))
    groups = None if clusters is None else codes(clusters, len(before), "clusters")[0]
    differences = after - before
    differences[np.abs(differences) <= _NOISE * np.maximum(np.abs(before), np.abs(after))] = 0.0
    return _Pair(before, after, differences, groups)


def _is_binary(values: FloatArray) -> bool:
    return bool(np.isin(values, (0, 1)).all())


def _mcnemar(pair: _Pair, level: float) -> PairedComparison:
    losses, gains = int((pair.differences < 0).sum()), int((pair.differences > 0).sum())
    p_drop = mcnemar_mid_p(losses, gains)
    p_gain = mcnemar_mid_p(gains, losses)
    p_values = (p_drop, p_gain, min(1.0, 2 * min(p_drop, p_gain)))
    return _comparison(pair, level, _bonett_price(losses, gains, len(pair.baseline)), p_values, "McNemar, mid-p")


def _bonett_price(losses: int, gains: int, n: int) -> StudentBounds:
    """Bounds for paired proportions that hold for few changes too: one more change of each kind is added.

    Bonett and Price 2012, "Adjusted Wald confidence interval for a difference of binomial proportions based
    on paired data". Without a single changed item Wald's interval would have no width.
    """
    total = n + 2
    centre = (gains - losses) / total
    variance = (losses + gains + 2) / total - centre * centre
    return StudentBounds(centre, math.sqrt(variance / total), math.inf, n, reach=1.0)


def _paired_t(pair: _Pair, level: float) -> PairedComparison:
    stderr, freedom = _error(pair)
    if stderr is None:
        return _comparison(pair, level, None, (None, None, None), "paired t: fewer than two independent items")
    bounds = StudentBounds(float(pair.differences.mean()), stderr, freedom, _units(pair))
    what = "paired t" if pair.groups is None else "paired t, cluster-robust"
    if stderr == 0:
        what = "sign-flip test (the differences do not vary)"
    return _comparison(pair, level, bounds, _p_values(bounds), what)


def paired_bootstrap(
    baseline: ArrayLike,
    candidate: ArrayLike,
    *,
    clusters: Labels | None = None,
    level: float = 0.95,
    resamples: int = 100_000,
    seed: int = 0,
) -> PairedComparison:
    """Compare like `compare_paired`, with percentile intervals of the resampled mean difference.

    Whole clusters are resampled where clusters are given, and the means are `widened` for few or unequal ones. p-values
    are shares of resamples on the wrong side, ties half, and never below 1 / (resamples + 1). Below four independent
    units, or when the differences do not vary, the t test's answer is returned: three values have 27 resamples, too few
    for any interval.

    Raises:
        UsageError: what `compare_paired` raises, or there are fewer than 100 resamples.
    """
    if resamples < FEWEST_RESAMPLES:
        raise UsageError(f"{resamples} resamples are too few for an interval: take at least {FEWEST_RESAMPLES}")
    pair = _pair(baseline, candidate, clusters)
    if not len(pair.baseline):
        return _NO_ITEMS
    stderr, freedom = _error(pair)
    if not stderr or _units(pair) < _FEWEST_UNITS:
        return _paired_t(pair, level)
    means = bootstrap_means(pair.differences, pair.groups, resamples=resamples, seed=seed)
    bounds = BootstrapBounds(widened(means, float(pair.differences.mean()), stderr, freedom))
    what = "paired bootstrap" if pair.groups is None else "paired cluster bootstrap"
    return _comparison(pair, level, bounds, _p_values(bounds), what)


def _p_values(bounds: StudentBounds | BootstrapBounds) -> tuple[float, float, float]:
    gain, drop = bounds.p_above(0.0), bounds.mirrored().p_above(0.0)
    return drop, gain, min(1.0, 2 * min(gain, drop))


def _comparison(
    pair: _Pair,
    level: float,
    bounds: StudentBounds | BootstrapBounds | None,
    p_values: tuple[float | None, float | None, float | None],
    method: str,
) -> PairedComparison:
    differences = pair.differences
    tail = (1 - fraction(level, "level")) / 2
    low, high = (bounds.lower(tail), bounds.upper(tail)) if bounds else (None, None)
    value = float(differences.mean())
    return PairedComparison(
        difference=Estimate(value, _error(pair)[0], low, high, len(differences)),
        baseline=float(pair.baseline.mean()),
        candidate=float(pair.candidate.mean()),
        p_drop=p_values[0],
        p_gain=p_values[1],
        p_change=p_values[2],
        worse=int((differences < 0).sum()),
        better=int((differences > 0).sum()),
        sd=float(differences.std(ddof=1)) if len(differences) > 1 else None,
        clusters=_units(pair),
        method=method,
        bounds=bounds,
    )


def _error(pair: _Pair) -> tuple[float | None, float]:
    """Standard error of the mean difference and its degrees of freedom."""
    if pair.groups is None:
        return standard_error(pair.differences), len(pair.differences) - 1
    return clustered_error(pair.differences, pair.groups)


def _units(pair: _Pair) -> int:
    return len(pair.baseline) if pair.groups is None else int(pair.groups.max()) + 1


_NO_ITEMS = PairedComparison(
    Estimate(None, None, None, None, 0), None, None, None, None, None, 0, 0, None, 0, "no items", None
)
