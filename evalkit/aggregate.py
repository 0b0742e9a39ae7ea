"""Rows in, metrics with intervals out: repeats averaged within a sample first, clusters respected, unscored counted."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from evalkit.record import Metric, Row
from evalkit.stats.intervals import Estimate, estimate_mean

_FEWEST_CLUSTERS = 5
"""Two or three clusters say next to nothing of how clusters differ: an interval made from them is all of 0 to 1, or of
no width where they happen to agree. Below this many, the mean is that of these very clusters (say, the two subjects
that were asked for) and the samples in them are what varies."""


def mean_metric(rows: Sequence[Row], name: str, *, clustered: bool = True) -> Metric:
    """The mean of one score over samples.

    With `clustered`, samples of one cluster count as dependent, where there are clusters enough to tell how much.
    """
    kept = [row for row in rows if row.unscored is None and name in row.scores]
    estimate = estimate_rows(kept, [row.scores[name] for row in kept], clustered=clustered)
    return to_metric(estimate, unscored=_unscored(rows))


def estimate_rows(rows: Sequence[Row], values: Sequence[float], *, clustered: bool = True) -> Estimate:
    """The mean of one value for each row: repeats averaged within a sample, clusters as in `mean_metric`."""
    repeats: dict[str, list[float]] = {}
    clusters: dict[str, str | None] = {}
    for row, value in zip(rows, values, strict=True):
        repeats.setdefault(row.id, []).append(value)
        clusters[row.id] = row.cluster
    means = [sum(found) / len(found) for found in repeats.values()]
    labels = [cluster or sample for sample, cluster in clusters.items()] if clustered else None
    if labels is not None and (len(set(labels)) < _FEWEST_CLUSTERS or len(set(labels)) == len(labels)):
        labels = None
    return _within(estimate_mean(means, clusters=labels), means)


def with_pseudo_values(rows: Sequence[Row], values: Mapping[str, Sequence[float]]) -> tuple[Row, ...]:
    """Rows with their shares in statistics of the whole among their scores.

    Args:
        rows: all rows of a Run.
        values: metric → a value for each row, NaN for those that do not count.
    """
    if not values:
        return tuple(rows)
    own = ({name: column[place] for name, column in values.items()} for place in range(len(rows)))
    return tuple(
        replace(row, scores={**row.scores, **{name: share for name, share in shares.items() if not math.isnan(share)}})
        for row, shares in zip(rows, own, strict=True)
    )


def _within(estimate: Estimate, values: Sequence[float]) -> Estimate:
    """Cut the interval of shares to 0 to 1: Student's t over few clusters knows nothing of the range."""
    if estimate.low is None or estimate.high is None or not all(0 <= value <= 1 for value in values):
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))


def by_group(rows: Sequence[Row], group_of: Callable[[Row], str], names: Iterable[str]) -> dict[str, dict[str, Metric]]:
    """The metrics of each group, in order of first appearance."""
    members: dict[str, list[Row]] = {}
    for row in rows:
        members.setdefault(group_of(row), []).append(row)
    wanted = list(names)
    return {group: {name: mean_metric(part, name) for name in wanted} for group, part in members.items()}


def mean_of_means(groups: Mapping[str, Mapping[str, Metric]], name: str) -> Metric:
    """The unweighted mean over groups (macro average); its error treats the groups as the sample."""
    metrics = [values[name] for values in groups.values()]
    means = [metric.value for metric in metrics if metric.value is not None]
    return to_metric(_within(estimate_mean(means), means), unscored=sum(metric.unscored for metric in metrics))


def to_metric(estimate: Estimate, *, unscored: int = 0) -> Metric:
    """An Estimate as the record keeps it."""
    return Metric(estimate.value, estimate.stderr, estimate.low, estimate.high, estimate.n, unscored)


def _unscored(rows: Sequence[Row]) -> int:
    return sum(row.unscored is not None for row in rows)
