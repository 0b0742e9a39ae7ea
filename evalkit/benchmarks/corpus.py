"""Rows in, official corpus metrics with honest errors out: percentages, and statistics that are no mean of samples.

Matthews correlation, F1 or Pearson of a corpus are not averages of per-sample scores. Their pseudo-values are
(`metrics.jackknife`): they give the standard error, and rows keep them so that two Runs can be compared by sample.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from evalkit.aggregate import estimate_rows, mean_metric, to_metric
from evalkit.metrics import jackknife
from evalkit.record import Metric, Row
from evalkit.stats.intervals import symmetric

Floats = npt.NDArray[np.float64]

_FEWEST = 3
"""Rows below which leaving one out says nothing."""


def scored(rows: Sequence[Row]) -> list[Row]:
    """The rows that have an outcome."""
    return [row for row in rows if row.unscored is None]


def unscored(rows: Sequence[Row]) -> int:
    """How many rows have none."""
    return sum(row.unscored is not None for row in rows)


def percent(rows: Sequence[Row], name: str) -> Metric:
    """The mean of a score that rows keep as 0 to 100, with the interval of the same score as 0 to 1."""
    parts = [replace(row, scores={name: row.scores[name] / 100} if name in row.scores else {}) for row in rows]
    return times(mean_metric(parts, name), 100)


def times(metric: Metric, factor: float) -> Metric:
    """The metric in another unit."""
    return shifted(metric, 0.0, factor)


def shifted(metric: Metric, offset: float, factor: float) -> Metric:
    """(metric + offset) x factor, with its error and interval."""

    def moved(value: float | None) -> float | None:
        return None if value is None else (value + offset) * factor

    stderr = None if metric.stderr is None else metric.stderr * abs(factor)
    low, high = (metric.low, metric.high) if factor > 0 else (metric.high, metric.low)
    return replace(metric, value=moved(metric.value), stderr=stderr, low=moved(low), high=moved(high))


def plain(value: float | None, n: int, *, lost: int = 0) -> Metric:
    """A number whose error is not estimated; NaN is undefined."""
    return Metric(None if value is None or math.isnan(value) else value, None, None, None, n, lost)


@dataclass(frozen=True)
class Statistic:
    """A number of all rows together, and what each row contributes to it."""

    value: float
    """The official value; NaN is undefined."""
    shares: Floats | None
    """A pseudo-value of each row, whose mean is the value; None where leaving a row out leaves nothing defined."""
    low: float = -math.inf
    high: float = math.inf
    """Where the statistic cannot lie outside."""

    def to_metric(self, rows: Sequence[Row], *, lost: int = 0) -> Metric:
        """The value with the standard error of its pseudo-values: samples, or clusters of them, are independent."""
        if self.shares is None or math.isnan(self.value):
            return plain(self.value, len(rows), lost=lost)
        estimate = estimate_rows(rows, list(self.shares))
        if len(set(self.shares)) == 1:
            # Equal shares (a model that gives one answer to all) say nothing of the error.
            estimate = replace(estimate, stderr=None, low=None, high=None)
        low, high = (
            None if end is None else min(max(end, self.low), self.high) for end in (estimate.low, estimate.high)
        )
        return replace(
            to_metric(replace(estimate, value=self.value, low=low, high=high), unscored=lost), method="jackknife"
        )


def statistic(value: float, without: Floats, low: float = -math.inf, high: float = math.inf) -> Statistic:
    """A Statistic from its value and its values without each row, shape (rows,)."""
    if len(without) < _FEWEST or math.isnan(value) or bool(np.isnan(without).any()):
        return Statistic(value, None, low, high)
    return Statistic(value, jackknife.pseudo_values(value, without), low, high)


def mean_of_units(values: Sequence[float], unit_of: Sequence[int], low: float = 0.0, high: float = 1.0) -> Statistic:
    """The mean of a score over units of several rows (questions, problems), as a Statistic of the rows."""
    per_unit = np.asarray(values, dtype=np.float64)
    value = float(per_unit.mean())
    return Statistic(value, jackknife.spread(value, per_unit, unit_of), low, high)


def halfway(first: Statistic, second: Statistic) -> Statistic:
    """The mean of two statistics of the same rows."""
    shares = None if first.shares is None or second.shares is None else (first.shares + second.shares) / 2
    return Statistic(
        (first.value + second.value) / 2, shares, (first.low + second.low) / 2, (first.high + second.high) / 2
    )


def mean_score(rows: Sequence[Row], name: str) -> Statistic:
    """A score that every one of these rows has, as a Statistic."""
    values = np.array([row.scores[name] for row in rows], dtype=np.float64)
    return Statistic(float(values.mean()), values, 0.0, 1.0)


PseudoValues = dict[str, list[float]]
"""Metric → a value for each row, NaN for rows that do not count."""


def placed(rows: Sequence[Row], found: Iterable[tuple[Sequence[Row], Mapping[str, Statistic]]]) -> PseudoValues:
    """The pseudo-values of parts of the rows, in the order of all rows."""
    place = {id(row): number for number, row in enumerate(rows)}
    values: PseudoValues = {}
    for part, statistics in found:
        for name, one in statistics.items():
            if one.shares is not None:
                column = values.setdefault(name, [math.nan] * len(rows))
                for row, share in zip(part, one.shares, strict=True):
                    column[place[id(row)]] = float(share)
    return values


def combined(parts: Sequence[tuple[Sequence[Row], Statistic, float]]) -> tuple[list[Row], Statistic]:
    """A weighted sum of statistics of separate data sets: their rows, and what each row contributes to the sum.

    Args:
        parts: (rows, their statistic, its weight).
    """
    rows = [row for own, _, _ in parts for row in own]
    value = math.fsum(weight * one.value for _, one, weight in parts)
    if not rows or any(one.shares is None for _, one, _ in parts):
        return rows, Statistic(value, None)
    moves = [
        weight * len(rows) / len(own) * (one.shares - one.shares.mean())
        for own, one, weight in parts
        if one.shares is not None
    ]
    return rows, Statistic(value, value + np.concatenate(moves))


def mean_of(metrics: Sequence[Metric], factor: float = 1.0) -> Metric:
    """The unweighted mean of metrics of separate data sets; their errors are independent.

    Undefined where one of them is; without an error where one of them has none.
    """
    n, lost = sum(metric.n for metric in metrics), sum(metric.unscored for metric in metrics)
    values = [metric.value for metric in metrics if metric.value is not None]
    if not metrics or len(values) < len(metrics):
        return Metric(None, None, None, None, n, lost)
    value = factor * sum(values) / len(values)
    errors = [metric.stderr for metric in metrics if metric.stderr is not None]
    if len(errors) < len(metrics):
        return plain(value, n, lost=lost)
    stderr = factor * math.sqrt(sum(error**2 for error in errors)) / len(errors)
    return to_metric(symmetric(value, stderr, df=math.inf, n=n, level=0.95), unscored=lost)
