"""Confidences and right-or-wrong in, HELM's calibration metrics without each item out, for their jackknife errors.

Bins, and of `platt_ece_*` the fitted curve too, are held as all items make them; Platt's coefficients move by one step
of Newton's method (Pregibon 1981). The metrics themselves are `calibration.helm_calibration`.
"""

from collections.abc import Sequence

import numpy as np

from evalkit.metrics.calibration import Column, Numbers, equal_mass_edges, log_odds, platt_scaled, platt_scaling
from evalkit.metrics.jackknife import binned_error_without


def helm_calibration_without(confidences: Numbers, correct: Sequence[bool]) -> dict[str, Column]:
    """Each of HELM's calibration metrics without each item, shape (n,), by HELM's names; at least two items."""
    chances, right = np.asarray(confidences, dtype=np.float64), np.asarray(correct, dtype=np.float64)
    area, surest = _selective_without(chances, right)
    found = {
        "ece_10_bin": _ece_without(chances, right, 10),
        "ece_1_bin": _ece_without(chances, right, 1),
        "selective_cov_acc_area": area,
        "selective_acc@10": surest,
    }
    if right.min() == right.max():
        return found
    coefficient, intercept = platt_scaling(chances, correct)
    scaled = platt_scaled(chances, coefficient, intercept)
    moved = _platt_without(chances, right, scaled, np.array([coefficient, intercept]))
    return found | {
        "platt_coef": moved[:, 0],
        "platt_intercept": moved[:, 1],
        "platt_ece_10_bin": _ece_without(scaled, right, 10),
        "platt_ece_1_bin": _ece_without(scaled, right, 1),
    }


def _ece_without(chances: Column, right: Column, bins: int) -> Column:
    edges = equal_mass_edges(chances, bins)
    gaps = np.zeros((len(chances), len(edges)))
    gaps[np.arange(len(chances)), np.searchsorted(edges, chances)] = chances - right
    return binned_error_without(gaps, np.ones(len(chances)))


def _selective_without(chances: Column, right: Column) -> tuple[Column, Column]:
    """Everything behind a removed item moves up by one place."""
    n, order = len(right), np.argsort(-chances, kind="stable")
    ordered, place = right[order], np.arange(len(right))
    sums = np.cumsum(ordered)
    before = np.concatenate([[0.0], np.cumsum(sums / (place + 1))])[:-1]
    shares = np.concatenate([[0.0], sums[1:] / place[1:]])
    steps = np.concatenate([[0.0], 1 / place[1:]])
    after, weights = (column.sum() - np.cumsum(column) for column in (shares, steps))
    area = (before + after - ordered * weights) / (n - 1)
    last = int(0.1 * (n - 1))
    kept = np.where(place <= last, sums[min(last + 1, n - 1)] - ordered, sums[last]) / (last + 1)
    found = np.empty((2, n))
    found[:, order] = area, kept
    return found[0], found[1]


def _platt_without(chances: Column, right: Column, scaled: Column, weights: Column) -> Column:
    columns = np.column_stack([log_odds(chances), np.ones(len(chances))])
    inverse = np.linalg.pinv(columns.T @ (columns * (scaled * (1 - scaled))[:, None]))
    steps = columns @ inverse
    leverage = np.minimum((steps * columns).sum(axis=1) * scaled * (1 - scaled), 1 - 1e-9)
    return np.asarray(weights - steps * ((right - scaled) / (1 - leverage))[:, None], np.float64)
