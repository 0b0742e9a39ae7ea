"""Battles in, the ratings out at which a published optimiser stops: FastChat's or arena-rank's.

Neither goes to the maximum of the likelihood. FastChat runs L-BFGS-B until the summed loss changes by less than 2.2e-9
of itself, arena-rank optax's L-BFGS until the mean loss changes by less than 1e-9 within two steps: up to 0.03 rating
points short on published data. Walking their paths reproduces their numbers; the maximum has the higher likelihood.

Sources: lm-sys/FastChat `serve/monitor/rating_systems.py` (`fit_bt`, `fit_contextual_bt`, `compute_bootstrap_bt`);
lmarena/arena-rank `utils/math_utils.py` (`lbfgs_minimize`) with optax's `lbfgs`.
"""

import math
from typing import Literal

import numpy as np

from evalkit.metrics.lbfgs import Tolerances, minimize, quasi_newton, remember
from evalkit.stats.checks import FloatArray
from evalkit.stats.pair_likelihood import Rows, gradient_at, objective_at
from evalkit.stats.zoom_search import Line, Objective, search

Fit = Literal["maximum", "fastchat", "arena-rank"]
"""Where a fit ends: at the maximum of the likelihood, or where a published optimiser stops before it."""

_SCIPY = Tolerances(
    gradient=1e-6, decrease=1e7 * float(np.finfo(np.float64).eps), iterations=100, evaluations_per_step=20
)
_ARENA_RANK = Tolerances(gradient=1e-9, decrease=1e-9, iterations=1000)


def fastchat_fit(rows: Rows, penalty: FloatArray, base: float, *, share: bool) -> FloatArray:
    """The parameters at which FastChat stops.

    Args:
        rows: the battles.
        penalty: quadratic penalty of each parameter, shape (models + features,).
        base: of the rating scale; FastChat's own parameters are log-odds divided by ln(base).
        share: whether rows count as shares of all battles, as in FastChat's bootstrap, or as they are.

    Returns:
        Ratings in log-odds, then style coefficients, shape (models + features,).
    """
    unit = np.repeat((math.log(base), 1.0), (rows.models, rows.features.shape[1]))
    total = float(rows.count.sum()) if share else 1.0
    loss = _loss(rows, penalty, total, unit)
    theta: FloatArray = minimize(loss, np.zeros(len(penalty)), _SCIPY) * unit
    return theta


def arena_rank_fit(rows: Rows, penalty: FloatArray) -> FloatArray:
    """The parameters at which arena-rank stops; arguments and result as for `fastchat_fit`."""
    total = float((rows.count * rows.weight).sum())
    return _walk(_loss(rows, penalty, total, np.ones(len(penalty))), np.zeros(len(penalty)))


def _loss(rows: Rows, penalty: FloatArray, total: float, unit: FloatArray) -> Objective:
    """Penalised log-loss divided by `total`, with its gradient, of parameters measured in `unit`."""

    def loss(point: FloatArray) -> tuple[float, FloatArray]:
        theta = point * unit
        return -objective_at(rows, theta, penalty) / total, -unit * gradient_at(rows, theta, penalty) / total

    return loss


def _walk(loss: Objective, start: FloatArray) -> FloatArray:
    """optax's L-BFGS with arena-rank's end: the gradient, or the change of the loss over two steps, is small."""
    point = start
    value, gradient = loss(point)
    memory: list[tuple[FloatArray, FloatArray]] = []
    earlier = math.inf
    for _ in range(_ARENA_RANK.iterations):
        direction = quasi_newton(gradient, memory)
        if not memory:
            direction = direction * min(1.0, 1 / max(float(np.linalg.norm(gradient)), 1e-300))
        found = search(Line(loss, point, direction, value, gradient))
        memory = remember(memory, found.step * direction, found.gradient - gradient, 0.0)
        change = abs(found.value - earlier) / max(abs(found.value), abs(earlier), 1.0) if earlier < math.inf else 1.0
        earlier, value = value, found.value
        point, gradient = point + found.step * direction, found.gradient
        if float(np.abs(gradient).max()) < _ARENA_RANK.gradient or change < _ARENA_RANK.decrease:
            break
    return point
