"""Per-document values of an aggregated metric in, its standard error and how it was found out, in moments.

lm-eval resamples the documents up to 100,000 times and computes the metric anew each time, which takes minutes to
hours, and gives no error at all where it has no rule. Here means have their closed form (lm-eval's own, to the last
digit), functions of means the delta method, and everything else a seeded bootstrap: of the confusion counts (drawn at
once as multinomials) or of the sufficient statistics of sacrebleu's scores; what a task's own code averages is computed
anew some hundred times.
"""

import math
import random
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

_DRAWS = 10_000
_RESAMPLES = 500
_FEWEST = 100
"""Resamples below which an error is not worth its name."""
_SECONDS = 10.0
"""What the resamples of a task's own function may take."""

Aggregation = Callable[[Sequence[Any]], Any]
Counts = NDArray[np.float64]
"""Confusion counts, shape (draws, classes, classes): [draw, target, prediction]."""


@dataclass(frozen=True)
class Spread:
    """A standard error with how it was found."""

    error: float | None
    method: str = ""
    """"closed form", "delta method" or "bootstrap" with its size; empty where there is no error."""


_NONE = Spread(None)
CLOSED, DELTA = "closed form", "delta method"


def standard_error(aggregation: Aggregation, items: Sequence[Any]) -> Spread:
    """The standard error of an lm-eval aggregation over documents.

    Args:
        aggregation: lm-eval's function, or a task's own.
        items: what the task's `process_results` gave for each document: numbers for means and "perplexity"
            (log-likelihoods), (log-likelihood, weight) for "weighted_perplexity" and "bits_per_byte", (target,
            prediction) for "f1_score" and "matthews_corrcoef", (target, probabilities) for "brier_score", (reference,
            text) for "bleu", "chrf", "chrfpp" and "ter", anything for a task's own.

    Returns:
        No error below two documents, where the function is undefined for resampled documents, and where it is too slow
        to be computed a hundred times.
    """
    if len(items) < 2:
        return _NONE
    rule = _KNOWN.get(stock_name(aggregation))
    try:
        found = _of_any(aggregation, items) if rule is None else rule(items)
    except (ArithmeticError, ValueError, TypeError, LookupError):
        return _NONE
    return found if found.error is not None and math.isfinite(found.error) else _NONE


def stock_name(aggregation: Aggregation) -> str:
    """The name of one of lm-eval's own functions, or numpy's; empty for a task's own, whatever it is called."""
    ours = getattr(aggregation, "__module__", None) in {"lm_eval.api.metrics", "numpy"}
    return str(getattr(aggregation, "__name__", "")) if ours else ""


def _of_mean(items: Sequence[Any]) -> Spread:
    return Spread(_mean_error(items), CLOSED)


def _mean_error(items: Sequence[Any]) -> float:
    # lm-eval's order of operations, so that the last digit agrees.
    mean = sum(items) / len(items)
    return float(math.sqrt(sum((value - mean) ** 2 for value in items) / (len(items) - 1)) / math.sqrt(len(items)))


def _of_nanmean(items: Sequence[Any]) -> Spread:
    known = [value for value in items if not math.isnan(value)]
    return _of_mean(known) if len(known) > 1 else _NONE


def _of_perplexity(items: Sequence[Any]) -> Spread:
    return Spread(math.exp(-sum(items) / len(items)) * _mean_error(items), DELTA)


def _of_weighted_perplexity(items: Sequence[Any]) -> Spread:
    ratio, error = _ratio(items)
    return Spread(math.exp(-ratio) * error, DELTA)


def _of_bits_per_byte(items: Sequence[Any]) -> Spread:
    return Spread(_ratio(items)[1] / math.log(2), DELTA)


def _ratio(items: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Sum of values over sum of weights, and the linearised standard error of that ratio (Cochran 1977, 6.4)."""
    values, weights = np.array(items, dtype=float).T
    ratio = values.sum() / weights.sum()
    n = len(values)
    variance = n / (n - 1) * float(np.square(values - ratio * weights).sum())
    return float(ratio), math.sqrt(variance) / float(weights.sum())


def _of_brier(items: Sequence[Any]) -> Spread:
    chances = np.array([given for _, given in items], dtype=float)
    hit = np.eye(chances.shape[1])[[int(target) for target, _ in items]]
    return _of_mean([float(value) for value in np.square(chances - hit).sum(axis=1)])


def _of_median(items: Sequence[Any]) -> Spread:
    """lm-eval's median is the upper one of an even number."""
    values, middle = np.array(items, dtype=float), len(items) // 2
    draw = np.random.default_rng(0)
    medians = [np.partition(draw.choice(values, len(values)), middle)[middle] for _ in range(_RESAMPLES)]
    return _bootstrapped(medians)


def _of_f1(items: Sequence[Any]) -> Spread:
    labels = {int(value) for pair in items for value in pair}
    return _over_draws(items, [0, 1], _f1) if labels <= {0, 1} else _NONE


def _of_matthews(items: Sequence[Any]) -> Spread:
    return _over_draws(items, sorted({value for pair in items for value in pair}), _matthews)


def _over_draws(items: Sequence[Any], labels: Sequence[Any], metric: Callable[[Counts], NDArray[np.float64]]) -> Spread:
    place = {label: index for index, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)))
    for target, prediction in items:
        table[place[target], place[prediction]] += 1
    draws = np.random.default_rng(0).multinomial(len(items), table.ravel() / table.sum(), size=_DRAWS)
    return _bootstrapped(metric(draws.reshape(_DRAWS, *table.shape).astype(float)))


def _f1(counts: Counts) -> NDArray[np.float64]:
    """F1 of label 1; 0 where neither targets nor predictions hold it, as scikit-learn."""
    right = 2 * counts[:, 1, 1]
    total = right + counts[:, 0, 1] + counts[:, 1, 0]
    return np.divide(right, total, out=np.zeros_like(right), where=total > 0)


def _matthews(counts: Counts) -> NDArray[np.float64]:
    """Matthews' correlation for any number of classes (Gorodkin 2004); 0 where undefined, as scikit-learn."""
    targets, predictions = counts.sum(axis=2), counts.sum(axis=1)
    n, right = targets.sum(axis=1), np.trace(counts, axis1=1, axis2=2)
    above = right * n - (targets * predictions).sum(axis=1)
    below = np.sqrt((n**2 - (predictions**2).sum(axis=1)) * (n**2 - (targets**2).sum(axis=1)))
    result: NDArray[np.float64] = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return result


def _of_translation(kind: str, **settings: Any) -> Callable[[Sequence[Any]], Spread]:
    """A corpus score of sacrebleu's: each document's counts are taken once, resampled documents add theirs up."""

    def spread(items: Sequence[Any]) -> Spread:
        from lm_eval.api.metrics import _sacreformat
        from sacrebleu import metrics

        references, texts = _sacreformat([item[0] for item in items], [item[1] for item in items])
        metric = getattr(metrics, kind)(**settings)
        counts = np.array(metric._extract_corpus_statistics(texts, references), dtype=float)
        shares = np.full(len(counts), 1 / len(counts))
        often = np.random.default_rng(0).multinomial(len(counts), shares, size=_RESAMPLES)
        totals = (often @ counts).tolist()
        return _bootstrapped([metric._compute_score_from_stats(total).score for total in totals])

    return spread


def _of_any(aggregation: Aggregation, items: Sequence[Any]) -> Spread:
    """A function nobody knows is computed for resampled documents, as often as time allows."""
    draw = np.random.default_rng(0)
    values: list[float] = []
    started, before = time.monotonic(), random.getstate()
    try:
        # Some of lm-eval's own print tables or warn; they were heard once, for the value itself.
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            while len(values) < _RESAMPLES and time.monotonic() - started < _SECONDS:
                values.append(float(aggregation([items[place] for place in draw.integers(0, len(items), len(items))])))
    finally:
        random.setstate(before)
    return _bootstrapped(values) if len(values) >= _FEWEST else _NONE


def _bootstrapped(values: Sequence[float] | NDArray[np.float64]) -> Spread:
    return Spread(float(np.std(values, ddof=1)), f"bootstrap ({len(values)} resamples)")


_KNOWN: dict[str, Callable[[Sequence[Any]], Spread]] = {
    "mean": _of_mean,
    "nanmean": _of_nanmean,
    "median": _of_median,
    "perplexity": _of_perplexity,
    "weighted_perplexity": _of_weighted_perplexity,
    "bits_per_byte": _of_bits_per_byte,
    "brier_score": _of_brier,
    "f1_score": _of_f1,
    "matthews_corrcoef": _of_matthews,
    "bleu": _of_translation("BLEU"),
    "chrf": _of_translation("CHRF"),
    "chrfpp": _of_translation("CHRF", word_order=2),
    "ter": _of_translation("TER"),
}
"""By the name of lm-eval's function (`lm_eval/api/metrics.py`)."""
