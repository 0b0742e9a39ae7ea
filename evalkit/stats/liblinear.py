"""Soft labels and features in, the L1-penalised logistic regression at which liblinear stops out.

Minimises C * sum(weight * log-loss) + |theta|_1 as scikit-learn's `LogisticRegression(penalty="l1",
solver="liblinear", fit_intercept=False)` does with every row given twice, as a win and as a loss. liblinear stops
before the minimum, and among nearly equal penalties that decides which one a cross-validation chooses: AlpacaEval's
published win rates move by up to a tenth of a point with it. Walking the same path gives the same weights (1e-12).

Source: Yuan, Ho and Lin 2012, "An improved GLMNET for L1-regularized logistic regression", with the constants of
liblinear 2.3 (`solve_l1r_lr`) and the random numbers of scikit-learn's copy of it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from evalkit.stats.checks import FloatArray
from evalkit.stats.logistic import sigmoid

_TOLERANCE = 1e-4
_SEED = 123
"""AlpacaEval's `random_state`."""
_NEWTON_STEPS, _INNER_STEPS, _HALVINGS = 100, 1000, 20
_RIDGE, _DECREASE, _LONGEST, _SHORTEST = 1e-12, 0.01, 10.0, 1e-12
_EPSILON = 1e-15
_WORD = 2**32
_CHUNK = 4096


def liblinear_fit(
    features: FloatArray, wins: FloatArray, weight: FloatArray, strength: float, place: int = 0
) -> FloatArray:
    """Return the weights at which liblinear stops, shape (features,).

    Args:
        features: shape (rows, features), few features.
        wins: probability of a win of each row, from 0 to 1, shape (rows,).
        weight: weight of each row, shape (rows,).
        strength: C, the inverse of the penalty.
        place: how many fits came before on the same path of penalties, each with random numbers of its own.
    """
    fit = _Fit(features, strength * weight * wins, strength * weight * (1 - wins), _Random(place))
    previous, first, inner = math.inf, 0.0, 1.0
    for step in range(_NEWTON_STEPS):
        quadratic, largest, total = fit.quadratic(previous)
        first = total if step == 0 else first
        if total <= fit.tolerance * first:
            break
        goal, rounds = quadratic.solve(fit, inner * first)
        fit.descend(quadratic.gradient, goal, quadratic.moved)
        inner *= 0.25 if rounds == 1 else 1.0
        previous = largest
    return fit.theta


def cross_validated(
    features: FloatArray, wins: FloatArray, weight: FloatArray, strengths: Sequence[float], folds: int
) -> float:
    """Return the strength with the smallest mean weighted log-loss on held-out rows, the first of several.

    Row i is in fold i % folds, which is how scikit-learn's GroupKFold deals out groups of equal size.
    """
    fold = np.arange(len(wins)) % folds
    losses = np.zeros(len(strengths))
    for held_out in range(min(folds, len(wins))):
        train, test = fold != held_out, fold == held_out
        for index, strength in enumerate(strengths):
            theta = liblinear_fit(features[train], wins[train], weight[train], strength, index)
            losses[index] += _held_out_loss(features[test], wins[test], weight[test], theta)
    return strengths[int(losses.argmin())]


def _held_out_loss(features: FloatArray, wins: FloatArray, weight: FloatArray, theta: FloatArray) -> float:
    chance = np.clip(sigmoid(features @ theta), _EPSILON, 1 - _EPSILON)
    return -float((weight * (wins * np.log(chance) + (1 - wins) * np.log(1 - chance))).mean())


@dataclass
class _Fit:
    """Where the minimisation stands."""

    features: FloatArray
    won: FloatArray
    """C * weight of each row as a win, and below as a loss."""
    lost: FloatArray
    random: "_Random"
    theta: FloatArray = field(init=False)
    goal: FloatArray = field(init=False)
    """Where the next step begins to look: at theta, or where a search along a step gave up."""
    scores: FloatArray = field(init=False)
    """features @ theta, as the steps have added it up."""
    order: list[int] = field(init=False)
    """Features in the order in which they are visited; shuffled in every round."""

    def __post_init__(self) -> None:
        self.theta = self.goal = np.zeros(self.features.shape[1])
        self.scores = np.zeros(len(self.features))
        self.order = list(range(self.features.shape[1]))

    @property
    def rows(self) -> int:
        """Rows of either label; those without weight do not count."""
        return int(np.count_nonzero(self.won) + np.count_nonzero(self.lost))

    @property
    def tolerance(self) -> float:
        """Of the stopping rule: scaled by the share of the rarer label."""
        rarer = min(np.count_nonzero(self.won), np.count_nonzero(self.lost))
        return _TOLERANCE * max(int(rarer), 1) / self.rows

    def quadratic(self, previous: float) -> tuple["_Quadratic", float, float]:
        """The local model, and the largest and the summed violation of optimality; features at rest are left out."""
        both = self.won + self.lost
        chance_lost = 1 / (1 + np.exp(self.scores))
        curvature = both * np.exp(self.scores) * chance_lost**2
        gradient = self.features.T @ self.lost - self.features.T @ (both * chance_lost)
        bound = previous / self.rows
        active, place, largest, total = len(self.order), 0, 0.0, 0.0
        while place < active:
            j = self.order[place]
            slope = float(gradient[j])
            if self.theta[j] == 0 and _rests(slope, bound):
                active -= 1
                self.order[place], self.order[active] = self.order[active], self.order[place]
                continue
            violation = _violation(float(self.theta[j]), slope)
            largest, total, place = max(largest, violation), total + violation, place + 1
        diagonal = _RIDGE + (self.features**2).T @ curvature
        return _Quadratic(gradient, diagonal, curvature, active), largest, total

    def descend(self, gradient: FloatArray, goal: FloatArray, step: FloatArray) -> None:
        """Go to the goal, or half, a quarter … of the way, until the objective falls enough; step is in scores."""
        norm, wanted = float(np.abs(self.theta).sum()), float(np.abs(goal).sum())
        decrease = float(gradient @ (goal - self.theta)) + wanted - norm
        linear = float(self.lost @ step)
        both = self.won + self.lost
        for _ in range(_HALVINGS):
            grown = np.exp(self.scores) * np.exp(step)
            loss = float((both * np.log((1 + grown) / (np.exp(step) + grown))).sum())
            if wanted - norm + linear - _DECREASE * decrease + loss <= 0:
                self.theta = self.goal = goal
                self.scores = self.scores + step
                return
            goal = (self.theta + goal) / 2
            wanted = float(np.abs(goal).sum())
            step, linear, decrease = step / 2, linear / 2, decrease / 2
        self.goal, self.scores = goal, self.features @ self.theta


@dataclass
class _Quadratic:
    """The local model of one Newton step, minimised by coordinate descent in random order."""

    gradient: FloatArray
    diagonal: FloatArray
    curvature: FloatArray
    active: int
    moved: FloatArray = field(init=False)
    """features @ (goal - theta)."""

    def solve(self, fit: _Fit, enough: float) -> tuple[FloatArray, int]:
        """The minimiser, as far as the summed violation is at most `enough`, and how many rounds it took."""
        goal = fit.goal.copy()
        self.moved = np.zeros(len(fit.scores))
        active, previous = self.active, math.inf
        for rounds in range(1, _INNER_STEPS + 1):
            active, largest, total = self._round(fit, goal, active, previous / fit.rows)
            if total > enough:
                previous = largest
            elif active == self.active:
                return goal, rounds
            else:
                active, previous = self.active, math.inf
        return goal, _INNER_STEPS

    def _round(self, fit: _Fit, goal: FloatArray, active: int, bound: float) -> tuple[int, float, float]:
        """One visit of every active feature: how many stay active, the largest and the summed violation."""
        fit.random.shuffle(fit.order, active)
        place, largest, total = 0, 0.0, 0.0
        while place < active:
            j = fit.order[place]
            column = fit.features[:, j]
            slope = float(self.gradient[j] + (goal[j] - fit.theta[j]) * _RIDGE + (column * self.curvature) @ self.moved)
            if goal[j] == 0 and _rests(slope, bound):
                active -= 1
                fit.order[place], fit.order[active] = fit.order[active], fit.order[place]
                continue
            violation = _violation(float(goal[j]), slope)
            largest, total, place = max(largest, violation), total + violation, place + 1
            change = _coordinate_step(float(goal[j]), slope, float(self.diagonal[j]))
            if abs(change) >= _SHORTEST:
                change = min(max(change, -_LONGEST), _LONGEST)
                goal[j] += change
                self.moved += column * change
        return active, largest, total


def _coordinate_step(value: float, slope: float, curvature: float) -> float:
    """To the minimum of slope * x + curvature * x^2 / 2 + |value + x|."""
    if slope + 1 < curvature * value:
        return -(slope + 1) / curvature
    if slope - 1 > curvature * value:
        return -(slope - 1) / curvature
    return -value


def _rests(slope: float, bound: float) -> bool:
    """Whether a weight of zero is far from moving."""
    return -1 < slope < 1 and slope + 1 > bound and slope - 1 < -bound


def _violation(value: float, slope: float) -> float:
    """How far a weight is from optimal."""
    if value == 0:
        return max(-(slope + 1), slope - 1, 0.0)
    return abs(slope + 1) if value > 0 else abs(slope - 1)


class _Random:
    """liblinear's shuffle: the Mersenne Twister, and Lemire's way from a word to a number below a bound."""

    def __init__(self, place: int) -> None:
        seeds = np.random.RandomState(_SEED).randint(np.iinfo(np.intc).max, size=place + 1)
        self._words = _words(int(seeds[place]))

    def shuffle(self, order: list[int], active: int) -> None:
        """Shuffle the first `active` entries in place."""
        for place in range(active):
            other = place + self._below(active - place)
            order[place], order[other] = order[other], order[place]

    def _below(self, bound: int) -> int:
        while True:
            product = next(self._words) * bound
            if product % _WORD >= bound or product % _WORD >= (_WORD - bound) % bound:
                return product // _WORD


def _words(seed: int) -> Iterator[int]:
    """The generator's 32-bit words."""
    state = np.random.RandomState(seed)
    for _ in count():
        yield from state.randint(0, _WORD, _CHUNK, dtype=np.uint32).tolist()
