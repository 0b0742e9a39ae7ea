"""Predictions and targets in, what each item contributes to a statistic of all of them out: jackknife pseudo-values.

Matthews correlation, F1 or Pearson's r of a corpus are no means of per-item scores. Their pseudo-values are: the mean
of theta + (n - 1)(mean of theta without one - theta without i) over items is theta itself, and its spread gives theta's
standard error. Every function here takes columns of n items and returns the statistic without each one of them, shape
(n,), in closed form from counts or sums; the full statistics are in `classification`, `calibration` and `text`.
Source: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 11.
"""

from collections.abc import Hashable, Sequence

import numpy as np
import numpy.typing as npt

from evalkit.metrics import text
from evalkit.metrics.classification import ranks
from evalkit.metrics.text import BleuCounts

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.intp]
Labels = Sequence[Hashable]

_BLOCK = 2_000_000
"""Comparisons of pairs that are held in memory at once."""
_NOISE = 1e-12
"""Relative; a smaller sum of squares is the rounding of a constant."""


def pseudo_values(value: float, without: Floats) -> Floats:
    """What each item contributes: values whose mean is the statistic, shape (n,).

    Args:
        value: the statistic of all n items.
        without: the statistic without each item, shape (n,); a NaN makes all values NaN.
    """
    return np.asarray(value + (len(without) - 1) * (without.mean() - without), np.float64)


def spread(value: float, per_unit: Floats, unit_of: Sequence[int]) -> Floats:
    """Values of units of several items as values of the items, shape (items,).

    The mean over items is `value` again, and the items of a unit together move it as far as their unit does.

    Args:
        value: the mean of `per_unit`.
        per_unit: pseudo-values (or scores) of the units, shape (units,).
        unit_of: the unit of each item, counted from 0.
    """
    place = np.asarray(unit_of, dtype=np.intp)
    sizes = np.bincount(place, minlength=len(per_unit))
    return np.asarray(value + (per_unit - value)[place] * len(place) / (len(per_unit) * sizes[place]), np.float64)


def matthews_without(predictions: Labels, targets: Labels) -> Floats:
    """Matthews correlation (any number of classes) without each item; 0 where a side becomes constant."""
    p, t, classes = _codes(predictions, targets)
    n = float(len(p) - 1)
    predicted, present = _counts(p, classes), _counts(t, classes)
    same = (p == t).astype(np.float64)
    hits = same.sum() - same
    product = predicted @ present - predicted[t] - present[p] + same
    squares_p = predicted @ predicted - 2 * predicted[p] + 1
    squares_t = present @ present - 2 * present[t] + 1
    area = (n * n - squares_p) * (n * n - squares_t)
    return _ratio(hits * n - product, np.sqrt(np.maximum(area, 0.0)), otherwise=0.0)


def f1_without(predictions: Labels, targets: Labels, positive: Hashable = 1) -> Floats:
    """F1 of one class without each item; 0 where the class is gone."""
    predicted = np.array([label == positive for label in predictions], dtype=np.float64)
    present = np.array([label == positive for label in targets], dtype=np.float64)
    hits = predicted * present
    counted = predicted + present
    return _ratio(2 * (hits.sum() - hits), counted.sum() - counted, otherwise=0.0)


def macro_f1_without(predictions: Labels, targets: Labels) -> Floats:
    """Macro F1 over the classes that still occur, without each item."""
    p, t, classes = _codes(predictions, targets)
    hits = _counts(p[p == t], classes)
    counted = _counts(p, classes) + _counts(t, classes)
    each = 2 * hits / counted
    same = (p == t).astype(np.float64)
    # An item stands in its predicted and in its true class; a right one twice in the same.
    own_p = _ratio(2 * (hits[p] - same), counted[p] - 1 - same, otherwise=0.0)
    own_t = _ratio(2 * (hits[t] - same), counted[t] - 1 - same, otherwise=0.0)
    total = each.sum() - each[p] - each[t] * (1 - same) + own_p + own_t * (1 - same)
    gone_p, gone_t = counted[p] == 1 + same, (counted[t] == 1 + same) * (1 - same)
    return _ratio(total, classes - gone_p - gone_t, otherwise=np.nan)


def pearson_without(predictions: Sequence[float], targets: Sequence[float]) -> Floats:
    """Pearson correlation without each pair; NaN where a side becomes constant."""
    x, y = np.asarray(predictions, dtype=np.float64), np.asarray(targets, dtype=np.float64)
    n = len(x)
    if n < 3:
        return np.full(n, np.nan)
    dx, dy = x - x.mean(), y - y.mean()
    share = n / (n - 1)
    xx, yy = dx @ dx - share * dx * dx, dy @ dy - share * dy * dy
    flat = (xx <= _NOISE * (dx @ dx)) | (yy <= _NOISE * (dy @ dy))
    r = _ratio(dx @ dy - share * dx * dy, np.sqrt(np.maximum(xx * yy, 0.0)), otherwise=np.nan)
    return np.where(flat, np.nan, np.clip(r, -1.0, 1.0))


def spearman_without(predictions: Sequence[float], targets: Sequence[float]) -> Floats:
    """Spearman rank correlation without each pair, ranks drawn anew; NaN where a side becomes constant."""
    x, y = (np.unique(np.asarray(side, dtype=np.float64), return_inverse=True)[1] for side in (predictions, targets))
    n = len(x)
    if n < 3:
        return np.full(n, np.nan)
    rank_x, rank_y = ranks(x.astype(np.float64)), ranks(y.astype(np.float64))
    # Whoever stands above a removed value moves down by one rank, its equals by a half.
    products = rank_x @ rank_y - rank_x * rank_y - _above(y, rank_x) - _above(x, rank_y) + _both_above(x, y)
    covariance = products - (n - 1) * (n / 2) ** 2
    square_x, square_y = _squares_without(x), _squares_without(y)
    return _ratio(covariance, np.sqrt(square_x * square_y), otherwise=np.nan)


def ratio_without(tops: Floats, bottoms: Floats) -> Floats:
    """Sum of `tops` over sum of `bottoms` without each item; NaN where nothing is left below."""
    return _ratio(tops.sum() - tops, bottoms.sum() - bottoms, otherwise=np.nan)


def binned_error_without(gaps: Floats, items: Floats) -> Floats:
    """A calibration error of fixed bins without each item.

    Args:
        gaps: each item's sum of confidence minus outcome by bin, shape (n, bins).
        items: how many confidences each item has, shape (n,).
    """
    return _ratio(np.abs(gaps.sum(axis=0) - gaps).sum(axis=1), items.sum() - items, otherwise=np.nan)


def bleu_without(counts: Sequence[BleuCounts]) -> Floats:
    """Corpus BLEU without each text, from the counts of each."""
    total = text.sum_counts(counts)
    return np.array([text.bleu_of_counts(total.minus(own)) for own in counts])


def _codes(predictions: Labels, targets: Labels) -> tuple[Integers, Integers, int]:
    """Both columns as numbers of classes, and how many classes there are."""
    places: dict[Hashable, int] = {}
    found = [[places.setdefault(label, len(places)) for label in column] for column in (predictions, targets)]
    return np.array(found[0], dtype=np.intp), np.array(found[1], dtype=np.intp), len(places)


def _counts(codes: Integers, classes: int) -> Floats:
    return np.bincount(codes, minlength=classes).astype(np.float64)


def _ratio(top: Floats, bottom: Floats, *, otherwise: float) -> Floats:
    defined = bottom > 0
    return np.where(defined, top / np.where(defined, bottom, 1.0), otherwise)


def _above(groups: Integers, values: Floats) -> Floats:
    """For each item the sum of `values` of those in higher groups, and half of its equals', itself left out."""
    sums = np.bincount(groups, values)
    higher = sums.sum() - np.cumsum(sums)
    return np.asarray(higher[groups] + 0.5 * (sums[groups] - values), np.float64)


def _both_above(x: Integers, y: Integers) -> Floats:
    """For each item how many others stand above it on both sides; a tie on a side counts half."""
    n = len(x)
    found = np.empty(n)
    step = max(1, _BLOCK // n)
    for start in range(0, n, step):
        part = slice(start, start + step)
        over_x, over_y = (0.5 * np.sign(side[None, :] - side[part, None]) + 0.5 for side in (x, y))
        found[part] = np.einsum("ij,ij->i", over_x, over_y) - 0.25
    return found


def _squares_without(groups: Integers) -> Floats:
    """The centred sum of squares of the ranks without each item."""
    sizes = np.bincount(groups).astype(np.float64)
    own = sizes[groups]
    ties = (sizes**3 - sizes).sum() - (own**3 - own) + ((own - 1) ** 3 - (own - 1))
    n = float(len(groups) - 1)
    return np.asarray((n**3 - n - ties) / 12, np.float64)
