"""Rows with the probabilities of four letters in, how far they can be trusted out: calibration error and Brier score.

Both with a standard error that respects subjects: the Brier score is a mean; the calibration error is resampled, whole
subjects at a time, all resamples at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from evalkit.aggregate import mean_metric
from evalkit.benchmarks.mmlu_files import LETTERS
from evalkit.metrics.calibration import brier_of_choices, ece_equal_mass
from evalkit.record import Metric, Row
from evalkit.stats.intervals import symmetric

_BINS = 10
_RESAMPLES = 500
_AT_ONCE = 50
"""Resamples held in memory together; each has a number for every question."""

Floats = NDArray[np.float64]


def calibration(rows: Sequence[Row]) -> dict[str, Metric]:
    """Expected calibration error (10 bins of equal mass) and Brier score over the four letters; empty without both.

    Rows of one id (rotations) are one question.
    """
    known = [row for row in rows if row.unscored is None and "probabilities" in row.extra]
    if not known:
        return {}
    lost = len(rows) - len(known)
    return {"ece": _ece(known, lost), "brier": _brier(known, lost)}


def _shares(row: Row) -> list[float]:
    return [row.extra["probabilities"][letter] for letter in LETTERS]


def _brier(known: Sequence[Row], lost: int) -> Metric:
    scored = [
        replace(row, scores={"brier": brier_of_choices([_shares(row)], [LETTERS.index(row.target)])}) for row in known
    ]
    metric = replace(mean_metric(scored, "brier"), unscored=lost)
    if metric.low is None or metric.high is None:
        return metric
    # Student's t over few subjects does not know that the score lies between 0 and 2.
    return replace(metric, low=max(0.0, metric.low), high=min(2.0, metric.high))


def _ece(known: Sequence[Row], lost: int) -> Metric:
    confidences = np.array([max(_shares(row)) for row in known])
    right = np.array([float(row.scores["acc"]) for row in known])
    value = ece_equal_mass(confidences, [bool(one) for one in right], _BINS)
    units = _units(known)
    count = int(units.max()) + 1
    if count < 2:
        return Metric(value, None, None, None, len(known), lost)
    values = resampled_ece(confidences, right, units, _RESAMPLES)
    estimate = symmetric(value, float(values.std(ddof=1)), df=count - 1, n=len(known), level=0.95)
    low, high = (None if end is None else min(1.0, max(0.0, end)) for end in (estimate.low, estimate.high))
    return Metric(value, estimate.stderr, low, high, len(known), lost, f"bootstrap ({_RESAMPLES} resamples)")


def _units(known: Sequence[Row]) -> NDArray[np.intp]:
    """The number of each row's subject, or of its question where there is only one subject."""
    subjects = [row.cluster for row in known]
    names: Sequence[str | None] = subjects if len(set(subjects)) > 1 else [row.id for row in known]
    place: Mapping[str | None, int] = {name: index for index, name in enumerate(dict.fromkeys(names))}
    return np.array([place[name] for name in names])


def resampled_ece(confidences: Floats, right: Floats, units: NDArray[np.intp], resamples: int) -> Floats:
    """The calibration error over bins of equal mass for resampled units, shape (resamples,).

    Args:
        confidences: shape (rows,), 0 to 1.
        right: shape (rows,), 0 or 1.
        units: shape (rows,), the unit of each row, 0 to units - 1; units are drawn whole.
        resamples: how many; drawn with a fixed seed.
    """
    order = np.argsort(confidences, kind="stable")
    gaps = (confidences - right)[order]
    count = int(units.max()) + 1
    often = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), size=resamples)
    parts = [_of_weights(gaps, often[at : at + _AT_ONCE, units[order]]) for at in range(0, resamples, _AT_ONCE)]
    return np.concatenate(parts)


def _of_weights(gaps: Floats, weights: NDArray[np.int64]) -> Floats:
    """One error for each line of weights; rows in the order of their confidence."""
    mass = weights.cumsum(axis=1)
    below = np.concatenate([np.zeros((len(weights), 1)), (weights * gaps).cumsum(axis=1)], axis=1)
    shares = np.arange(1, _BINS) / _BINS
    inner = np.array([np.searchsorted(line, shares * line[-1]) + 1 for line in mass])
    ends = np.full((len(weights), 1), weights.shape[1])
    edges = np.concatenate([np.zeros_like(ends), inner, ends], axis=1)
    sums = np.diff(np.take_along_axis(below, edges, axis=1), axis=1)
    found: Floats = np.abs(sums).sum(axis=1) / mass[:, -1]
    return found
