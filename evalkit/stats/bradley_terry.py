"""Turns battles into Bradley-Terry ratings with intervals, bootstrap and style control.

P(first beats second) = sigmoid(theta_first - theta_second + features . coefficients); a rating is initial +
scale / ln(base) * theta, and the ratings of models linked by battles average `initial`. Battles without
features are counted per pair and outcome first, so a million battles of a hundred models take a moment.

Sources: lm-sys/FastChat `serve/monitor/rating_systems.py` and lmarena/arena-rank `models/bradley_terry.py`.
Both stop their optimiser early (up to 0.03 rating points from the maximum on published data); here Newton's
method goes to the end, unless `fit` asks for the place where one of them stops.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from evalkit.errors import UsageError
from evalkit.stats.battles import Battles, components, leagues, pair_counts, warnings, wins_matrix
from evalkit.stats.checks import FloatArray, IntArray, fraction
from evalkit.stats.distributions import normal_quantile
from evalkit.stats.intervals import Estimate
from evalkit.stats.pair_likelihood import (
    Maximum,
    Rows,
    battle_rows,
    bread_at,
    clustered_meat,
    maximise,
    meat,
    merged,
    with_ties,
)
from evalkit.stats.published_fits import Fit, arena_rank_fit, fastchat_fit

_TIES_ADDED = "one tied battle was added to every pair that met, because the battles alone set no finite ratings"


@dataclass(frozen=True)
class RatingSettings:
    """How ratings are scaled and fitted."""

    level: float = 0.95
    """Confidence level of the two-sided intervals."""
    scale: float = 400.0
    """A lead of this many points ..."""
    base: float = 10.0
    """... multiplies the odds by this."""
    initial: float = 1000.0
    """Mean rating of models that are linked by battles."""
    anchor: tuple[str, float] | None = None
    """A model and the rating it shall have instead; all others move along."""
    reweight: bool = False
    """Let a battle weigh 1 / max(battles of its pair, 50), as arena-rank does, so that no pair dominates."""
    rating_l2: float = 0.0
    """Half of this times the sum of theta^2 is added to the summed log-loss (FastChat: 0.5 / ln(10)^2)."""
    feature_l2: float = 0.0
    """The same for the style coefficients (FastChat: 0.5; arena-rank: the sum of the weights)."""
    fit: Fit = "maximum"
    """Stop where FastChat or arena-rank stops, to reproduce their ratings digit by digit; intervals are ours."""

    @property
    def unit(self) -> float:
        """Rating points per unit of log-odds."""
        return self.scale / math.log(self.base)


@dataclass(frozen=True, eq=False)
class Ratings:
    """Fitted ratings, in the order of `models`."""

    models: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    """Rating of each model; n counts its battles; error and bounds are None where the battles set no limit."""
    ranks: tuple[int, ...]
    """1 + the number of models whose lower bound lies above this model's upper bound."""
    coefficients: tuple[Estimate, ...]
    """Style coefficients, log-odds per unit of the feature."""
    warnings: tuple[str, ...]
    """What the battles do not determine, one sentence each."""
    covariance: FloatArray = field(repr=False)
    """Of the ratings, in squared points, shape (models, models)."""
    level: float = 0.95


def fit_bradley_terry(battles: Battles, settings: RatingSettings | None = None) -> Ratings:
    """Fit ratings with sandwich standard errors, clustered by prompt where the battles name prompts.

    Where no finite maximum exists (a model only won, say), one tied battle is added to every pair that met;
    the warnings say so, and only the largest group of models that took points from each other gets
    intervals.

    Raises:
        UsageError: the style features cannot be told apart from the models, or all battles are on one prompt.
    """
    settings = settings or RatingSettings()
    z = normal_quantile((1 + fraction(settings.level, "level")) / 2)
    every = battle_rows(battles, reweight=settings.reweight)
    rows, groups, added = _determined(_compact(every), battles.models, settings)
    fit = _fitted(rows, groups, settings)
    theta = fit.theta
    middle = meat(rows, theta) if battles.prompts is None else clustered_meat(every, theta, battles.prompts)
    covariance = fit.bread @ middle @ fit.bread
    errors = np.sqrt(np.clip(np.diag(covariance), 0, None))
    size = len(battles.models)
    limited = _limited(battles) if added else np.ones(size, np.bool_)
    points = _points(theta[:size], battles.models, settings)
    met = pair_counts(battles).sum(axis=1)
    estimates = tuple(
        _estimate(points[i], errors[i] * settings.unit, z if limited[i] else None, int(met[i])) for i in range(size)
    )
    return Ratings(
        models=battles.models,
        estimates=estimates,
        ranks=rank_by_bounds([one.low for one in estimates], [one.high for one in estimates]),
        coefficients=tuple(_estimate(theta[i], errors[i], z, len(battles)) for i in range(size, len(theta))),
        warnings=(*warnings(battles), _TIES_ADDED) if added else warnings(battles),
        covariance=covariance[:size, :size] * settings.unit**2,
        level=settings.level,
    )


def bootstrap_ratings(
    battles: Battles, *, rounds: int = 100, seed: int = 0, settings: RatingSettings | None = None
) -> FloatArray:
    """Refit on resampled battles, or on resampled prompts where the battles name prompts.

    Without prompts and features the counts per (first, second, outcome) are drawn from a multinomial in the
    order in which FastChat's `compute_bootstrap_bt` draws them: seed 0 gives its resamples. A resample
    without a finite maximum gets the same added ties as in `fit_bradley_terry`.

    Returns:
        Ratings, shape (rounds, models); take quantiles along the first axis.
    """
    settings = settings or RatingSettings()
    every = battle_rows(battles, reweight=settings.reweight)
    rng = np.random.default_rng(seed)
    start = _refit(_compact(every), battles.models, settings, None)
    drawn = _resampled(every, battles, rounds, rng)
    theta = np.array([_refit(rows, battles.models, settings, start).theta for rows in drawn])
    return _points(theta[:, : len(battles.models)], battles.models, settings)


def rank_by_bounds(low: Sequence[float | None], high: Sequence[float | None]) -> tuple[int, ...]:
    """Return Chatbot Arena's rank: 1 + the number of models whose lower bound is above one's own upper bound.

    A bound that is None sets no limit.
    """
    lows = np.array([-math.inf if bound is None else bound for bound in low])
    highs = [math.inf if bound is None else bound for bound in high]
    return tuple(1 + int((lows > mine).sum()) for mine in highs)


def rating_difference(ratings: Ratings, model: str, other: str) -> Estimate:
    """Estimate how many points `model` is ahead of `other`, using the covariance of both ratings.

    Raises:
        UsageError: one of them is not rated.
    """
    i, j = _index(ratings.models, model), _index(ratings.models, other)
    ahead, behind = ratings.estimates[i], ratings.estimates[j]
    contrast = np.zeros(len(ratings.models))
    contrast[i], contrast[j] = 1.0, -1.0
    error = math.sqrt(max(0.0, float(contrast @ ratings.covariance @ contrast)))
    known = ahead.low is not None and behind.low is not None
    z = normal_quantile((1 + ratings.level) / 2) if known else None
    return _estimate((ahead.value or 0.0) - (behind.value or 0.0), error, z, min(ahead.n, behind.n))


def _resampled(every: Rows, battles: Battles, rounds: int, rng: np.random.Generator) -> Iterator[Rows]:
    if battles.features is None and battles.prompts is None:
        rows, _ = merged(every)
        total = int(rows.count.sum())
        for counts in rng.multinomial(total, rows.count / total, size=rounds):
            yield replace(rows, count=counts.astype(np.float64))
        return
    units = np.arange(len(battles)) if battles.prompts is None else battles.prompts
    rows, index = merged(every) if battles.features is None else (every, np.arange(len(battles)))
    size = int(units.max()) + 1
    for _ in range(rounds):
        drawn = np.bincount(rng.integers(0, size, size), minlength=size)[units]
        yield replace(rows, count=np.bincount(index, drawn).astype(np.float64))


def _refit(rows: Rows, models: tuple[str, ...], settings: RatingSettings, start: Maximum | None) -> Maximum:
    drawn, groups, _ = _determined(rows.chosen(rows.count > 0), models, settings)
    # A resample may fall into groups that the start does not centre one by one.
    return _fitted(drawn, groups, settings, None if groups.any() else start, share=True)


def _fitted(
    rows: Rows, groups: IntArray, settings: RatingSettings, start: Maximum | None = None, *, share: bool = False
) -> Maximum:
    """The maximum, or where the published optimiser asked for stops; `share` as in `fastchat_fit`."""
    penalty = _penalty(rows, settings)
    if settings.fit == "maximum":
        return maximise(rows, penalty, groups, start)
    if settings.fit == "fastchat":
        theta = fastchat_fit(rows, penalty, settings.base, share=share)
    else:
        theta = arena_rank_fit(rows, penalty)
    return Maximum(theta, bread_at(rows, theta, penalty, groups))


def _compact(every: Rows) -> Rows:
    return every if every.features.shape[1] else merged(every)[0]


def _determined(rows: Rows, models: tuple[str, ...], settings: RatingSettings) -> tuple[Rows, IntArray, bool]:
    """Rows with a finite maximum (ties added if need be), the groups they link, and whether ties were added."""
    met = Battles(models, rows.first, rows.second, rows.outcome)
    groups = components(met)
    finite = settings.rating_l2 > 0 or len(set(leagues(wins_matrix(met)))) == len(set(groups))
    return (rows if finite else with_ties(rows)), groups, not finite


def _penalty(rows: Rows, settings: RatingSettings) -> FloatArray:
    return np.repeat((settings.rating_l2, settings.feature_l2), (rows.models, rows.features.shape[1]))


def _points(theta: FloatArray, models: tuple[str, ...], settings: RatingSettings) -> FloatArray:
    points: FloatArray = settings.initial + settings.unit * theta
    if settings.anchor is None:
        return points
    name, rating = settings.anchor
    return points + (rating - points[..., [_index(models, name)]])


def _limited(battles: Battles) -> NDArray[np.bool_]:
    """Models of the largest group, among those they met, whose members all took points from each other."""
    league, groups = leagues(wins_matrix(battles)), components(battles)
    sizes = np.bincount(league)[league]
    largest = np.array([sizes[groups == group].max() for group in groups])
    limited: NDArray[np.bool_] = (sizes == largest) & (sizes > 1)
    return limited


def _index(models: tuple[str, ...], name: str) -> int:
    if name not in models:
        raise UsageError(f"{name} is not among the rated models: {', '.join(models)}")
    return models.index(name)


def _estimate(value: float, error: float, z: float | None, n: int) -> Estimate:
    if z is None or not error:
        return Estimate(float(value), None, None, None, n)
    return Estimate(float(value), float(error), float(value - z * error), float(value + z * error), n)
