"""Fits a small logistic regression with soft labels and an L1 penalty, to the minimum.

Minimises sum(weight * log(1 + exp(z))) - theta . moments + penalty * |theta|_1 with z = features @ theta.
The labels enter only through moments = sum(weight * label * features), which is all that is known of some
of the rows.
"""

import numpy as np

from evalkit.stats.checks import FloatArray


def sigmoid(z: FloatArray) -> FloatArray:
    """Return 1 / (1 + exp(-z)) without overflow."""
    chance: FloatArray = np.exp(-np.logaddexp(0, -z))
    return chance


def fit_logistic(features: FloatArray, weight: FloatArray, moments: FloatArray, penalty: float) -> FloatArray:
    """Return the minimiser by proximal Newton steps; a feature that is zero everywhere keeps the weight 0.

    Args:
        features: shape (rows, features), few features.
        weight: weight of each row, shape (rows,).
        moments: sum over rows of weight * label * features, shape (features,).
        penalty: factor of the L1 norm, at least 0.
    """
    theta = np.zeros(features.shape[1])
    value = _objective(features, weight, moments, penalty, theta)
    for _ in range(200):
        chance = sigmoid(features @ theta)
        gradient = features.T @ (weight * chance) - moments
        curvature = hessian(features, weight, theta)
        step = _lasso_step(theta, gradient, curvature, penalty)
        largest = float(np.abs(step).max(initial=0.0))
        while (reached := _objective(features, weight, moments, penalty, theta + step)) > value and largest > 1e-10:
            step, largest = step / 2, largest / 2
        theta, value = theta + step, reached
        if largest <= 1e-10:
            break
    return theta


def hessian(features: FloatArray, weight: FloatArray, theta: FloatArray) -> FloatArray:
    """Return the second derivative of the summed log-loss, shape (features, features)."""
    chance = sigmoid(features @ theta)
    result: FloatArray = (features * (weight * chance * (1 - chance))[:, None]).T @ features
    return result


def _lasso_step(theta: FloatArray, gradient: FloatArray, curvature: FloatArray, penalty: float) -> FloatArray:
    """Step from theta to the minimum of the penalised quadratic model, by coordinate descent."""
    step = np.zeros(len(theta))
    for _ in range(1000):
        largest = 0.0
        for j in np.flatnonzero(np.diag(curvature) > 0):
            slope = gradient[j] + curvature[j] @ step - curvature[j, j] * (theta[j] + step[j])
            target = -np.sign(slope) * max(abs(slope) - penalty, 0.0) / curvature[j, j]
            change = target - theta[j] - step[j]
            step[j] += change
            largest = max(largest, abs(change))
        if largest < 1e-13:
            break
    return step


def _objective(
    features: FloatArray, weight: FloatArray, moments: FloatArray, penalty: float, theta: FloatArray
) -> float:
    loss = float(weight @ np.logaddexp(0, features @ theta) - moments @ theta)
    return loss + penalty * float(np.abs(theta).sum())
