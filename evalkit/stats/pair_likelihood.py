"""Maximises the Bradley-Terry likelihood of weighted rows and makes the pieces of its sandwich variance.

A row is a battle with a multiplicity. Its linear predictor is theta[first] - theta[second] + features .
coefficients; no design matrix is ever built, so a row costs a few additions however many models there are.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stats.battles import Battles, pair_counts
from evalkit.stats.checks import FloatArray, IntArray

_PAIR_FLOOR = 50
_BLOCK = 2_000_000  # numbers held at once
_WORST_CONDITION = 1e13
_CLOSE = 1e-9  # log-odds; Newton's last step squares the error before it


@dataclass(frozen=True, eq=False)
class Rows:
    """Battles with multiplicity and weight."""

    models: int
    first: IntArray
    second: IntArray
    outcome: FloatArray
    count: FloatArray
    """How many battles the row stands for, shape (rows,)."""
    weight: FloatArray
    """Weight of one of them in the likelihood, shape (rows,)."""
    features: FloatArray
    """Shape (rows, features); there may be no features."""

    def chosen(self, keep: NDArray[np.bool_] | IntArray) -> "Rows":
        """The rows for which `keep` is true, or whose numbers it lists."""
        return Rows(
            self.models,
            self.first[keep],
            self.second[keep],
            self.outcome[keep],
            self.count[keep],
            self.weight[keep],
            self.features[keep],
        )


def battle_rows(battles: Battles, *, reweight: bool) -> Rows:
    """One row per battle; with `reweight` a battle weighs 1 / max(battles of its pair, 50)."""
    weight = np.ones(len(battles))
    if reweight:
        weight = 1 / np.maximum(pair_counts(battles), _PAIR_FLOOR)[battles.first, battles.second]
    features = np.empty((len(battles), 0)) if battles.features is None else battles.features
    count = np.ones(len(battles))
    return Rows(len(battles.models), battles.first, battles.second, battles.outcome, count, weight, features)


def merged(rows: Rows) -> tuple[Rows, IntArray]:
    """One row per distinct (first, second, outcome), sorted by these, and the row of each battle given.

    `rows` must have no features and equal weights for equal pairs.
    """
    values, level = np.unique(rows.outcome, return_inverse=True)
    key = (rows.first * rows.models + rows.second) * len(values) + level.ravel()
    _, kept, index = np.unique(key, return_index=True, return_inverse=True)
    index = index.ravel().astype(np.int64)
    count = np.bincount(index, rows.count).astype(np.float64)
    return replace(rows.chosen(kept.astype(np.int64)), count=count), index


def with_ties(rows: Rows) -> Rows:
    """Add one tied battle without style difference to every pair that met."""
    pairs = np.unique(np.sort(np.column_stack((rows.first, rows.second)), axis=1), axis=0)
    extra = len(pairs)
    weight = np.full(extra, np.average(rows.weight, weights=rows.count))
    return Rows(
        rows.models,
        np.concatenate((rows.first, pairs[:, 0])),
        np.concatenate((rows.second, pairs[:, 1])),
        np.concatenate((rows.outcome, np.full(extra, 0.5))),
        np.concatenate((rows.count, np.ones(extra))),
        np.concatenate((rows.weight, weight)),
        np.concatenate((rows.features, np.zeros((extra, rows.features.shape[1])))),
    )


@dataclass(frozen=True, eq=False)
class Maximum:
    """Where the likelihood is highest."""

    theta: FloatArray
    """Ratings in log-odds, then style coefficients, shape (models + features,)."""
    bread: FloatArray
    """Inverse Hessian there, up to a multiple of the common shift of each group of linked models."""


def maximise(rows: Rows, penalty: FloatArray, groups: IntArray, start: Maximum | None = None) -> Maximum:
    """Maximise the penalised log-likelihood by Newton's method with step halving.

    Args:
        rows: the battles.
        penalty: quadratic penalty of each parameter, shape (models + features,).
        groups: which models are linked by battles, shape (models,); the mean theta of each group stays as
            it starts.
        start: the maximum of similar rows, to start from; its bread is used as long as it works. Zeros if
            None.

    Raises:
        UsageError: the style features and the ratings cannot be told apart.
    """
    theta = np.zeros(len(penalty)) if start is None else start.theta
    bread = bread_at(rows, theta, penalty, groups) if start is None else start.bread
    value, before = objective_at(rows, theta, penalty), np.inf
    for _ in range(200):
        step = (bread * gradient_at(rows, theta, penalty)).sum(axis=1)
        largest = float(np.abs(step).max())
        # Far from the maximum a full step may overshoot; within rounding of it, nothing improves any more.
        while (reached := objective_at(rows, theta + step, penalty)) < value and largest > _CLOSE:
            step, largest = step / 2, largest / 2
        theta, value = theta + step, reached
        if largest <= _CLOSE:
            break
        if largest > before / 5:
            bread = bread_at(rows, theta, penalty, groups)
        before = largest
    return Maximum(theta, bread_at(rows, theta, penalty, groups) if start is None else bread)


def information(rows: Rows, weight: FloatArray) -> FloatArray:
    """Return the sum over rows of weight * x x', x being the row of the (implicit) design matrix."""
    m, k = rows.models, rows.features.shape[1]
    pairs = np.bincount(rows.first * m + rows.second, weight, minlength=m * m).reshape(m, m)
    pairs = pairs + pairs.T
    result = np.zeros((m + k, m + k))
    result[:m, :m] = np.diag(pairs.sum(axis=1)) - pairs
    for column in range(k):
        result[:m, m + column] = _by_model(rows, weight * rows.features[:, column])
    result[m:, :m] = result[:m, m:].T
    result[m:, m:] = (rows.features * weight[:, None]).T @ rows.features
    return result


def meat(rows: Rows, theta: FloatArray) -> FloatArray:
    """Return the sum over battles of the outer product of their scores: battles are independent."""
    return information(rows, rows.count * _residuals(rows, theta) ** 2)


def clustered_meat(rows: Rows, theta: FloatArray, prompts: IntArray) -> FloatArray:
    """Return the same for dependent battles: scores add up within a prompt before they are squared.

    Args:
        rows: one row per battle.
        theta: the fitted parameters.
        prompts: prompt number of each row, from 0 without gaps.
    """
    groups = int(prompts.max()) + 1
    per_block = max(1, _BLOCK // len(theta))
    if groups <= 1:
        raise UsageError("all battles are on one prompt, so their errors cannot be told apart: use more prompts")
    order = np.argsort(prompts, kind="stable")
    starts = np.arange(0, groups, per_block)
    total = np.zeros((len(theta), len(theta)))
    for block in np.split(order, np.searchsorted(prompts[order], starts[1:])):
        chosen = rows.chosen(block)
        sums = _prompt_scores(chosen, _residuals(chosen, theta), prompts[block] - prompts[block].min())
        total += sums.T @ sums
    return total * groups / (groups - 1)


def _prompt_scores(rows: Rows, residuals: FloatArray, prompts: IntArray) -> FloatArray:
    """Sum of the battles' scores per prompt, shape (prompts, parameters)."""
    m, groups = rows.models, int(prompts.max()) + 1
    gained = np.bincount(prompts * m + rows.first, residuals, minlength=groups * m)
    lost = np.bincount(prompts * m + rows.second, residuals, minlength=groups * m)
    slopes = [np.bincount(prompts, residuals * column, minlength=groups) for column in rows.features.T]
    scores: FloatArray = np.column_stack(((gained - lost).reshape(groups, m), *slopes))
    return scores


def gradient_at(rows: Rows, theta: FloatArray, penalty: FloatArray) -> FloatArray:
    """Gradient of the penalised log-likelihood, shape (models + features,)."""
    score = rows.count * rows.weight * (rows.outcome - _chance(rows, theta))
    gradient: FloatArray = np.concatenate((_by_model(rows, score), rows.features.T @ score)) - penalty * theta
    return gradient


def bread_at(rows: Rows, theta: FloatArray, penalty: FloatArray, groups: IntArray) -> FloatArray:
    """Inverse of information plus penalty, to which something is added along each group's common shift."""
    chance = _chance(rows, theta)
    hessian = information(rows, rows.count * rows.weight * chance * (1 - chance)) + np.diag(penalty)
    hessian[: rows.models, : rows.models] += groups[:, None] == groups[None, :]
    if rows.features.shape[1] and np.linalg.cond(hessian) > _WORST_CONDITION:
        raise UsageError("the style features cannot be told apart from the models: leave some out")
    return np.linalg.inv(hessian).astype(np.float64, copy=False)


def objective_at(rows: Rows, theta: FloatArray, penalty: FloatArray) -> float:
    """The penalised log-likelihood."""
    logits = _logits(rows, theta)
    loss = rows.count * rows.weight * (np.logaddexp(0, logits) - rows.outcome * logits)
    return -float(loss.sum()) - 0.5 * float(penalty @ theta**2)


def _residuals(rows: Rows, theta: FloatArray) -> FloatArray:
    """Weighted score of one battle of each row."""
    return rows.weight * (rows.outcome - _chance(rows, theta))


def _chance(rows: Rows, theta: FloatArray) -> FloatArray:
    chance: FloatArray = 1 / (1 + np.exp(-_logits(rows, theta)))
    return chance


def _logits(rows: Rows, theta: FloatArray) -> FloatArray:
    logits: FloatArray = theta[rows.first] - theta[rows.second] + rows.features @ theta[rows.models :]
    return logits


def _by_model(rows: Rows, weight: FloatArray) -> FloatArray:
    """Sum of the weights of the rows in which a model comes first, minus those in which it comes second."""
    first = np.bincount(rows.first, weight, minlength=rows.models)
    second = np.bincount(rows.second, weight, minlength=rows.models)
    return (first - second).astype(np.float64, copy=False)
