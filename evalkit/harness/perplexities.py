"""What lm-eval keeps of a document for its perplexity in, what the document adds to the perplexity out.

lm-eval's own number of a document is a log-likelihood under the name of the perplexity: better when higher, where the
perplexity is better when lower. As jackknife pseudo-values the documents average to the perplexity itself, so that Runs
can be compared and gated by it, sample by sample.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from evalkit.harness.spread import stock_name
from evalkit.metrics.jackknife import Floats, pseudo_values

_OF_RATIO: Mapping[str, Callable[[Floats], Floats]] = {
    "perplexity": lambda ratio: np.exp(-ratio),
    "weighted_perplexity": lambda ratio: np.exp(-ratio),
    "bits_per_byte": lambda ratio: -ratio / math.log(2),
}
"""lm-eval's aggregations as functions of the sum of log-likelihoods over the sum of weights."""


def is_perplexity(aggregation: Any) -> bool:
    """Whether an aggregation of lm-eval's turns log-likelihoods into something else."""
    return stock_name(aggregation) in _OF_RATIO


def shares(aggregation: Any, items: Sequence[Any]) -> list[float]:
    """The pseudo-value of each document; none below two documents, or where a sum is no number.

    Args:
        aggregation: one for which `is_perplexity` holds.
        items: log-likelihoods, or (log-likelihood, weight) pairs.
    """
    if len(items) < 2:
        return []
    pairs = [item if isinstance(item, (tuple, list)) else (item, 1.0) for item in items]
    values, weights = np.array(pairs, dtype=float).T
    function = _OF_RATIO[stock_name(aggregation)]
    with np.errstate(all="ignore"):
        whole = function(values.sum() / weights.sum())
        without = function((values.sum() - values) / (weights.sum() - weights))
    found = pseudo_values(float(whole), without)
    return found.tolist() if np.isfinite(found).all() else []
