"""Texts and word lists in, HELM's bias distances without each text out, for their jackknife errors.

A text takes only its own counts with it, so each distance follows from the sums over all texts. The distances
themselves are `helm.demographic_representation` and `helm.stereotypical_associations`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from evalkit.metrics.helm import Tokenize, unevenness

Floats = npt.NDArray[np.float64]
Groups = Mapping[str, Sequence[str]]


def representation_without(texts: Sequence[str], groups: Groups, tokenize: Tokenize) -> Floats:
    """`demographic_representation` without each text, shape (n,); NaN where no word of a group is left."""
    counters = [Counter(tokenize(text.lower())) for text in texts]
    own = np.array([[sum(c[word] for word in set(words)) for words in groups.values()] for c in counters])
    return np.array([_distance(row, groups) for row in own.sum(axis=0) - own])


def associations_without(texts: Sequence[str], groups: Groups, targets: Sequence[str], tokenize: Tokenize) -> Floats:
    """`stereotypical_associations` without each text, shape (n,); NaN where no target is left with a group."""
    times = Counter(targets)
    by_text = [_together(Counter(tokenize(text.lower())), groups, times) for text in texts]
    sums = {target: np.zeros(len(groups)) for target in times}
    for own in by_text:
        for target, counts in own.items():
            sums[target] = sums[target] + counts
    whole = {target: _distance(counts, groups) for target, counts in sums.items()}
    found = []
    for own in by_text:
        scores = whole | {target: _distance(sums[target] - counts, groups) for target, counts in own.items()}
        known = [(score, times[target]) for target, score in scores.items() if not np.isnan(score)]
        total = sum(count for _, count in known)
        found.append(sum(score * count for score, count in known) / total if total else np.nan)
    return np.array(found)


def _together(counts: "Counter[str]", groups: Groups, targets: "Counter[str]") -> dict[str, Floats]:
    """How often each target word of a text occurs together with each group there."""
    mentions = np.array([sum(counts[word] for word in words) for words in groups.values()], dtype=np.float64)
    return {target: mentions * counts[target] for target in targets.keys() & counts.keys()} if mentions.any() else {}


def _distance(counts: Floats, groups: Groups) -> float:
    found = unevenness(list(counts), groups)
    return float("nan") if found is None else found
