"""Turns confidences and right-or-wrong into calibration errors, Platt scaling, Brier scores and selective accuracy.

Sources: p-lambda/verified_calibration 0.1.4 as HELM calls it (ECE, selective accuracy, Platt scaling) and
hendrycks/test `calib_tools.py` (RMS calibration error of MMLU).
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from evalkit.errors import UsageError
from evalkit.metrics import lbfgs
from evalkit.metrics.checks import require_same_length

Column = npt.NDArray[np.float64]
Numbers = Sequence[float] | Column

_SMALLEST_PROBABILITY = 1e-12
_PLATT_PENALTY = 1e-10


def ece_equal_mass(confidences: Numbers, correct: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over bins of about equally many items (HELM's `ece_10_bin`), 0 to 1.

    Args:
        confidences: probability of each prediction, 0 to 1.
        correct: whether each prediction is right.
        bins: number of bins; edges lie midway between neighbouring chunks, and equal edges merge.

    Raises:
        UsageError: the lengths differ or are zero, or a confidence is not in 0 to 1.
    """
    chances, right = _columns(confidences, correct)
    return _binned_error(chances, right, equal_mass_edges(chances, bins))


def equal_mass_edges(chances: Column, bins: int) -> Column:
    """Upper edges of bins of about equally many confidences; see `ece_equal_mass`."""
    chunks = np.array_split(np.sort(chances), min(bins, len(chances)))
    middles = [(left[-1] + next_[0]) / 2 for left, next_ in pairwise(chunks)]
    return np.array(sorted({*middles, 1.0}))


def ece_equal_width(confidences: Numbers, correct: Sequence[bool], bins: int = 10) -> float:
    """Expected calibration error over bins of equal width (Guo et al. 2017; one bin is HELM's `ece_1_bin`).

    Args:
        confidences: probability of each prediction, 0 to 1.
        correct: whether each prediction is right.
        bins: number of bins; each includes its upper edge.

    Raises:
        UsageError: as for `ece_equal_mass`.
    """
    chances, right = _columns(confidences, correct)
    return _binned_error(chances, right, np.arange(1, bins + 1) / bins)


def rms_calibration_error(confidences: Numbers, correct: Sequence[bool], bin_size: int = 100) -> float:
    """The "RMS" of hendrycks/test, as its script prints it.

    The script turns a confidence below one half into that of the opposite, cuts bins of about `bin_size` items,
    squares each bin's error together with its weight, and takes the root twice; it is not a textbook root mean
    square and is comparable only to numbers from the same script.

    Args:
        confidences: probability of each prediction, 0 to 1.
        correct: whether each prediction is right.
        bin_size: items in a bin.

    Raises:
        UsageError: as for `ece_equal_mass`.
    """
    chances, right = _columns(confidences, correct)
    sure = np.maximum(chances, 1 - chances)
    agrees = np.where(chances > 0.5, right, 1 - right)
    starts = np.round(np.linspace(0, len(sure), len(sure) // bin_size, endpoint=False)).astype(int)
    place = np.digitize(sure, np.sort(sure)[starts[1:]])
    gaps = np.bincount(place, weights=agrees - sure) / len(sure)
    return float(np.sqrt(np.linalg.norm(gaps)))


def brier(confidences: Numbers, correct: Sequence[bool]) -> float:
    """Mean squared difference of confidence and right (1) or wrong (0), 0 to 1 (Brier 1950).

    Raises:
        UsageError: as for `ece_equal_mass`.
    """
    chances, right = _columns(confidences, correct)
    return float(np.mean((chances - right) ** 2))


def brier_of_choices(probabilities: Sequence[Sequence[float]], targets: Sequence[int]) -> float:
    """Brier score over all choices, 0 to 2: the squared distance to the true choice, summed over choices.

    Source: `brier_score` of lm-evaluation-harness.

    Args:
        probabilities: one row per item, one probability per choice; rows may differ in length.
        targets: index of the true choice.

    Raises:
        UsageError: the lengths differ or are zero, or a target is out of range.
    """
    require_same_length(probabilities, targets, "Brier score")
    total = 0.0
    for row, target in zip(probabilities, targets, strict=True):
        if not 0 <= target < len(row):
            raise UsageError(f"Brier score: target {target} is not one of {len(row)} choices.")
        total += sum((p - (place == target)) ** 2 for place, p in enumerate(row))
    return total / len(targets)


def selective_accuracy(confidences: Numbers, correct: Sequence[bool]) -> tuple[float, float]:
    """Area under the coverage-accuracy curve, and accuracy on the surest tenth (HELM's `selective_acc@10`).

    Items of equal confidence keep their order; the reference leaves that order to the sorting routine.

    Returns:
        The mean over k of the accuracy on the k surest items, and that accuracy at k = n // 10 + 1.

    Raises:
        UsageError: as for `ece_equal_mass`.
    """
    chances, right = _columns(confidences, correct)
    ordered = right[np.argsort(-chances, kind="stable")]
    running = np.cumsum(ordered) / np.arange(1, len(ordered) + 1)
    return float(np.mean(running)), float(running[int(0.1 * len(ordered))])


def platt_scaling(confidences: Numbers, correct: Sequence[bool]) -> tuple[float, float]:
    """Coefficient and intercept of the logistic regression of right-or-wrong on the confidence's log-odds.

    The fit stops where scikit-learn's `LogisticRegression(C=1e10)` stops, so the values equal HELM's.

    Raises:
        UsageError: as for `ece_equal_mass`, or every prediction is right, or every one wrong.
    """
    chances, right = _columns(confidences, correct)
    if right.min() == right.max():
        raise UsageError("Platt scaling needs right and wrong predictions; all of these are the same.")
    odds, n = log_odds(chances), len(right)

    def loss(weights: Column) -> tuple[float, Column]:
        raw = odds * weights[0] + weights[1]
        residual = _sigmoid(raw) - right
        penalty = _PLATT_PENALTY / n * weights[0]
        value = np.mean(np.logaddexp(0, raw) - right * raw) + 0.5 * penalty * weights[0]
        return float(value), np.array([np.mean(residual * odds) + penalty, np.mean(residual)])

    coefficient, intercept = lbfgs.minimize(loss, np.zeros(2))
    return float(coefficient), float(intercept)


def platt_scaled(confidences: Numbers, coefficient: float, intercept: float) -> Column:
    """Confidences after Platt scaling, shape (n,)."""
    return _sigmoid(log_odds(np.asarray(confidences, dtype=np.float64)) * coefficient + intercept)


def helm_calibration(confidences: Numbers, correct: Sequence[bool]) -> dict[str, float]:
    """All of HELM's calibration metrics by HELM's names.

    Returns:
        `ece_10_bin`, `ece_1_bin`, `selective_cov_acc_area`, `selective_acc@10`, `platt_ece_10_bin`,
        `platt_ece_1_bin`, and `platt_coef` and `platt_intercept` unless all predictions are right or all wrong.

    Raises:
        UsageError: as for `ece_equal_mass`.
    """
    area, surest = selective_accuracy(confidences, correct)
    values = {
        "ece_10_bin": ece_equal_mass(confidences, correct, 10),
        "ece_1_bin": ece_equal_width(confidences, correct, 1),
        "selective_cov_acc_area": area,
        "selective_acc@10": surest,
    }
    if all(correct) or not any(correct):
        return values | {"platt_ece_10_bin": 0.0, "platt_ece_1_bin": 0.0}
    coefficient, intercept = platt_scaling(confidences, correct)
    scaled = platt_scaled(confidences, coefficient, intercept)
    return values | {
        "platt_coef": coefficient,
        "platt_intercept": intercept,
        "platt_ece_10_bin": ece_equal_mass(scaled, correct, 10),
        "platt_ece_1_bin": ece_equal_width(scaled, correct, 1),
    }


def _binned_error(chances: Column, right: Column, edges: Column) -> float:
    place = np.searchsorted(edges, chances)
    gaps = np.bincount(place, weights=chances - right, minlength=len(edges))
    return float(np.abs(gaps).sum() / len(chances))


def log_odds(chances: Column) -> Column:
    """Logits of probabilities, those of 0 and 1 kept finite."""
    inside = np.clip(chances, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    return np.log(inside / (1 - inside))


def _sigmoid(raw: Column) -> Column:
    with np.errstate(over="ignore"):  # a huge exponent is a probability of 0, as meant
        return np.asarray(1 / (1 + np.exp(-raw)), dtype=np.float64)


def _columns(confidences: Numbers, correct: Sequence[bool]) -> tuple[Column, Column]:
    require_same_length(confidences, correct, "calibration")
    chances = np.asarray(confidences, dtype=np.float64)
    if not ((chances >= 0) & (chances <= 1)).all():
        raise UsageError("calibration: a confidence is NaN or outside 0 to 1; give probabilities.")
    return chances, np.asarray(correct, dtype=np.float64)
