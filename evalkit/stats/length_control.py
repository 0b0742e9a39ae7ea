"""Turns preferences and response lengths into AlpacaEval 2's length-controlled win rate, offline.

A logistic regression explains each preference by the length difference, the difficulty of the item and the
model; the win rate is then predicted for equal lengths. Source: tatsu-lab/alpaca_eval
`metrics/glm_winrate.py`. What differs on purpose: difficulties are joined by item id, not by row; the
standard error contains the error of the fit (theirs is 2 to 5 times too small); everything it needs is an
argument, and what is not given is left out and said so.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from evalkit.errors import UsageError
from evalkit.stats.checks import FloatArray, Labels, codes, fraction, same_length, vector
from evalkit.stats.distributions import normal_quantile
from evalkit.stats.intervals import Estimate, standard_error
from evalkit.stats.liblinear import cross_validated, liblinear_fit
from evalkit.stats.logistic import fit_logistic, hessian, sigmoid
from evalkit.stats.win_rate import checked_preferences

STRENGTHS = tuple(float(c) for c in np.logspace(-4, 4, 10))
"""The inverse penalties among which AlpacaEval's cross-validation chooses."""
_FOLDS = 5
_LARGE_STRENGTH = 1e4
_BASELINE = "this is the baseline itself: 50 by construction"


@dataclass(frozen=True, eq=False)
class JudgedItems:
    """One model's judged responses against the baseline."""

    items: Sequence[Hashable]
    """Item ids, each once."""
    preferences: ArrayLike
    """1 (baseline) to 2 (model), shape (items,); NaN where there is no verdict."""
    baseline_lengths: ArrayLike
    """Characters of the baseline's responses."""
    model_lengths: ArrayLike
    """Characters of the model's responses."""

    @property
    def has_verdict(self) -> NDArray[np.bool_]:
        """Which items the judge has decided; the others take no part in a fit, only in what it predicts."""
        return ~np.isnan(np.asarray(self.preferences, dtype=np.float64))


@dataclass(frozen=True, eq=False)
class GamedRows:
    """Judgements of the baseline when asked to be concise or verbose; they tie down the length effect.

    AlpacaEval's `df_gamed.csv` holds them. Either their preferences are given, or the two sums through
    which alone they enter the fit (for AlpacaEval 2: -182.709 and 412.93); without preferences the penalty
    cannot be cross-validated.
    """

    length_feature: ArrayLike
    """tanh of the standardised length difference."""
    difficulty: ArrayLike
    """Difficulty of each row's item."""
    wins: ArrayLike | None = None
    """Preference - 1 of each row."""
    length_sum: float | None = None
    """Sum of wins * length_feature."""
    difficulty_sum: float | None = None
    """Sum of wins * difficulty."""
    weight: float = 0.1
    """Weight of one row in the likelihood (AlpacaEval: 0.2, halved because there are two gamed baselines)."""


@dataclass(frozen=True)
class LengthControlled:
    """The length-controlled win rate and the fit behind it."""

    win_rate: Estimate
    """Percent, at equal lengths; its interval is made on the logit scale."""
    fitted_stderr: float | None
    """Percent; what AlpacaEval publishes as lc_standard_error: the spread of the fitted probabilities alone."""
    length_weight: float
    difficulty_weight: float | None
    """None if no difficulties were given."""
    model_weight: float
    strength: float
    """Inverse of the L1 penalty that was used."""
    notes: tuple[str, ...]
    """What was left out, and what looks wrong, one sentence each."""


@dataclass(frozen=True, eq=False)
class _Design:
    """Rows of the regression: the gamed ones first, as AlpacaEval has them, then the model's."""

    features: FloatArray
    """Length, difficulty, model: shape (rows, 3)."""
    wins: FloatArray | None
    """Preference - 1 of all rows; None where that of the gamed ones is not known row by row."""
    weight: FloatArray
    moments: FloatArray
    """Sum of weight * win * features: all that the wins contribute to the fit."""
    items: FloatArray
    """Features of all the model's items, with a verdict or without."""
    verdicts: FloatArray
    """Preference - 1 of the model's items, NaN without a verdict."""
    gamed: int
    """How many rows are gamed."""

    @property
    def decided(self) -> NDArray[np.bool_]:
        """Which of the model's items have a verdict."""
        return ~np.isnan(self.verdicts)


def length_controlled_win_rate(
    judged: JudgedItems,
    *,
    difficulty: Mapping[Hashable, float] | None = None,
    gamed: GamedRows | None = None,
    strength: float | None = None,
    clusters: Labels | None = None,
    level: float = 0.95,
) -> LengthControlled:
    """Fit the length-controlled win rate of one model.

    Args:
        judged: the model's judged items.
        difficulty: difficulty per item id (AlpacaEval's file, or `joint_difficulty`); the term is left out
            if None.
        gamed: the baseline's own verbosity rows; without them the length effect is free (by 1.3 points on
            average).
        strength: inverse of the L1 penalty (AlpacaEval's C); cross-validated among `STRENGTHS` if None and
            the gamed preferences are known, else 10,000, which moves AlpacaEval's values by at most 0.1
            points. Where they are known the fit ends where liblinear's does, else at the minimum.
        clusters: the cluster of each item.
        level: confidence level of the interval.

    Returns:
        The win rate with the delta-method standard error of items and fit together.

    Raises:
        UsageError: lengths or ids do not fit the preferences, or an item has no difficulty.
    """
    design, notes = _design(judged, difficulty, gamed)
    wins = design.verdicts[design.decided]
    if _is_baseline(design):
        return LengthControlled(Estimate(50.0, 0.0, None, None, len(wins)), 0.0, 0.0, None, 0.0, 0.0, (_BASELINE,))
    used = strength if strength is not None else _chosen_strength(design)
    weights = _weights(design, used)
    level_features = design.items * (0.0, 1.0, 1.0)
    fitted = sigmoid(level_features @ weights)
    groups = None if clusters is None else codes(clusters, len(design.items), "clusters")[0]
    stderr = standard_error(_influence(design, weights, level_features), groups)
    raw, value = float(wins.mean()), float(fitted.mean())
    spread = standard_error(fitted)
    return LengthControlled(
        win_rate=_logit_interval(value, stderr, len(wins), level),
        fitted_stderr=None if spread is None else 100 * spread,
        length_weight=float(weights[0]),
        difficulty_weight=None if difficulty is None else float(weights[1]),
        model_weight=float(weights[2]),
        strength=used,
        notes=(*notes, *_extreme_change(100 * raw, 100 * value)),
    )


def win_rate_between(model: LengthControlled, other: LengthControlled, difficulties: ArrayLike) -> float:
    """Predict the length-controlled win rate of one model against another from their fits, in percent.

    Source: `predict_winrate` of the same file.

    Args:
        model: the fit whose win rate is wanted.
        other: the fit it is compared with, against the same baseline.
        difficulties: difficulty of every item, shape (items,); ignored where a fit has no difficulty weight.
    """
    hard = vector(difficulties, "difficulties")
    slope = (model.difficulty_weight or 0.0) - (other.difficulty_weight or 0.0)
    return 100 * float(sigmoid(model.model_weight - other.model_weight + slope * hard).mean())


def _design(
    judged: JudgedItems, difficulty: Mapping[Hashable, float] | None, gamed: GamedRows | None
) -> tuple[_Design, tuple[str, ...]]:
    decided = judged.has_verdict
    length, notes = length_feature(judged)
    if not decided.any():
        raise UsageError("no item has a verdict, so there is nothing to fit: judge again")
    verdicts = np.full(len(decided), np.nan)
    verdicts[decided] = checked_preferences(np.asarray(judged.preferences, dtype=np.float64)[decided]) - 1
    hard = np.zeros(len(decided)) if difficulty is None else _joined(judged.items, difficulty, len(decided))
    items = np.column_stack((length, hard, np.ones(len(decided))))
    notes += () if difficulty is not None else ("no item difficulties were given: that term is left out",)
    own, wins = items[decided], verdicts[decided]
    if gamed is None:
        notes += ("no gamed rows were given: the length effect is not tied to the baseline's own",)
        return _Design(own, wins, np.ones(len(wins)), own.T @ wins, items, verdicts, 0), notes
    extra, extra_wins, sums = _gamed(gamed, difficulty is not None)
    design = _Design(
        features=np.concatenate((extra, own)),
        wins=None if extra_wins is None else np.concatenate((extra_wins, wins)),
        weight=np.concatenate((np.full(len(extra), gamed.weight), np.ones(len(wins)))),
        moments=own.T @ wins + gamed.weight * sums,
        items=items,
        verdicts=verdicts,
        gamed=len(extra),
    )
    return design, notes


def length_feature(judged: JudgedItems) -> tuple[FloatArray, tuple[str, ...]]:
    """Return tanh of the standardised length difference, baseline minus model, and a note if there is none.

    Raises:
        UsageError: there are fewer than two items, or not one length of each side per preference.
    """
    baseline = vector(judged.baseline_lengths, "baseline_lengths")
    model = vector(judged.model_lengths, "model_lengths")
    preferences = np.asarray(judged.preferences, dtype=np.float64)
    same_length(preferences, baseline, ("preferences", "baseline_lengths"))
    same_length(preferences, model, ("preferences", "model_lengths"))
    if len(baseline) <= 1:
        raise UsageError(f"{len(baseline)} judged items are too few for a length-controlled win rate: judge more")
    difference = baseline - model
    spread = float(difference.std(ddof=1))
    if spread == 0:
        return np.zeros(len(difference)), ("all length differences are equal: there is no length effect to control",)
    feature: FloatArray = np.tanh(difference / spread)
    return feature, ()


def _joined(items: Sequence[Hashable], difficulty: Mapping[Hashable, float], n: int) -> FloatArray:
    if len(items) != n or len(set(items)) != n:
        raise UsageError(f"{len(set(items))} distinct item ids for {n} preferences: give each item its own id")
    missing = [item for item in items if item not in difficulty]
    if missing:
        shown = missing[0][:60] if isinstance(missing[0], str) else missing[0]
        raise UsageError(
            f"item {shown!r} has no difficulty: name items as the file of difficulties does "
            "(--instructions turns texts into their index), or take --difficulty joint or none"
        )
    return vector([difficulty[item] for item in items], "difficulty")


def _gamed(gamed: GamedRows, with_difficulty: bool) -> tuple[FloatArray, FloatArray | None, FloatArray]:
    """Features of the gamed rows, their wins if known, and the sum of wins * features."""
    length, hard = vector(gamed.length_feature, "length_feature"), vector(gamed.difficulty, "difficulty")
    same_length(length, hard, ("length_feature", "difficulty"))
    features = np.column_stack((length, hard * with_difficulty, np.zeros(len(length))))
    if gamed.wins is not None:
        wins = vector(gamed.wins, "wins")
        same_length(length, wins, ("length_feature", "wins"))
        if ((wins < 0) | (wins > 1)).any():
            raise UsageError("a gamed row's preference is neither from 0 to 1 nor from 1 to 2: give AlpacaEval's file")
        return features, wins, features.T @ wins
    if gamed.length_sum is None or gamed.difficulty_sum is None:
        raise UsageError("gamed rows need either wins or both length_sum and difficulty_sum")
    return features, None, np.array((gamed.length_sum, gamed.difficulty_sum * with_difficulty, 0.0))


def _is_baseline(design: _Design) -> bool:
    return bool((design.verdicts[design.decided] == 0.5).all() and not design.items[:, 0].any())


def _weights(design: _Design, strength: float) -> FloatArray:
    if design.wins is None or design.gamed == 0:
        return fit_logistic(design.features, design.weight, design.moments, 1 / strength)
    return liblinear_fit(design.features, design.wins, design.weight, strength)


def _chosen_strength(design: _Design) -> float:
    if design.gamed == 0 or design.wins is None:
        return _LARGE_STRENGTH
    return cross_validated(design.features, design.wins, design.weight, STRENGTHS, _FOLDS)


def _influence(design: _Design, weights: FloatArray, level_features: FloatArray) -> FloatArray:
    """What each item contributes to the win rate: its own fitted chance, and its pull on the fit."""
    fitted = sigmoid(level_features @ weights)
    surprise = np.where(design.decided, design.verdicts - sigmoid(design.items @ weights), 0.0)
    pull = design.items * surprise[:, None]
    slope = level_features.T @ (fitted * (1 - fitted))
    bread = np.linalg.pinv(hessian(design.features, design.weight, weights), hermitian=True)
    influence: FloatArray = fitted + pull @ bread @ slope
    return influence


def _logit_interval(value: float, stderr: float | None, n: int, level: float) -> Estimate:
    """Percent, with an interval that stays between 0 and 100."""
    z = normal_quantile((1 + fraction(level, "level")) / 2)
    if not stderr or not 0 < value < 1:
        return Estimate(100 * value, None if stderr is None else 100 * stderr, None, None, n)
    centre, half = math.log(value / (1 - value)), z * stderr / (value * (1 - value))
    low, high = (100 / (1 + math.exp(-bound)) for bound in (centre - half, centre + half))
    return Estimate(100 * value, 100 * stderr, low, high, n)


def _extreme_change(raw: float, controlled: float) -> tuple[str, ...]:
    """AlpacaEval's warning: moved by more than 10 points and more than a quarter of the room there was."""
    low, high = min(raw * 0.75, raw - 10), max(raw + (100 - raw) / 4, raw + 10)
    if low <= controlled <= high:
        return ()
    return (f"controlling for length moved the win rate from {raw:.1f} to {controlled:.1f}: check the fit",)
