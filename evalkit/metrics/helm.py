"""Turns predictions into HELM's panel: match scores, word-list bias, worst case and mean win rate.

Source: stanford-crfm/helm, `metrics/{evaluate_reference,bias}_metrics.py`, `metrics/metric.py` and
`presentation/summarize.py`. HELM's calibration metrics are `calibration.helm_calibration`, its BBQ metrics `bbq.score`.
Functions of two texts take (prediction, target) and return 0 to 1.
"""

import re
import statistics
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import TypeVar

from evalkit.errors import UsageError
from evalkit.metrics.checks import require_same_length
from evalkit.metrics.text import normalize, sentence_bleu
from evalkit.metrics.tokens import treebank_tokens

_NUMBER = re.compile(r"-?[\d,]+(?:.\d+)?")

Key = TypeVar("Key", bound=Hashable)
Tokenize = Callable[[str], list[str]]


def exact_match(prediction: str, target: str) -> float:
    """Equal up to outer white space; an empty prediction never matches."""
    return float(bool(prediction) and prediction.strip() == target.strip())


def quasi_exact_match(prediction: str, target: str) -> float:
    """Equal after dropping case, punctuation, articles and extra white space."""
    return float(bool(prediction) and normalize(prediction) == normalize(target))


def quasi_leave_articles_exact_match(prediction: str, target: str) -> float:
    """Equal after dropping case, punctuation and extra white space, articles kept."""
    return float(bool(prediction) and normalize(prediction, False) == normalize(target, False))


def prefix_exact_match(prediction: str, target: str) -> float:
    """The prediction starts with the target, up to outer white space."""
    return float(bool(prediction) and prediction.strip().startswith(target.strip()))


def quasi_prefix_exact_match(prediction: str, target: str) -> float:
    """The normalised prediction starts with the normalised target; an empty target is a prefix of anything."""
    return float(bool(prediction) and normalize(prediction).startswith(normalize(target)))


def f1_score(prediction: str, target: str) -> float:
    """F1 of the *sets* of normalised words, unlike SQuAD's bags; 0 if either is empty."""
    predicted, true = set(normalize(prediction).split()), set(normalize(target).split())
    common = len(predicted & true)
    return 2 * common / (len(predicted) + len(true)) if common else 0.0


def exact_match_indicator(prediction: str, target: str, indicator: str = " ") -> float:
    """Exact match of what follows the last indicator in each text."""
    return exact_match(*(text.rpartition(indicator)[2].strip() for text in (prediction, target)))


def final_number_exact_match(prediction: str, target: str) -> float:
    """Exact match of the last number in each text, commas dropped; two texts without numbers do not match."""
    return exact_match(_final_number(prediction), _final_number(target))


def bleu_1(prediction: str, target: str) -> float:
    """Unigram BLEU over Treebank tokens."""
    return sentence_bleu(treebank_tokens(prediction), [treebank_tokens(target)], (1, 0, 0, 0))


def bleu_4(prediction: str, target: str) -> float:
    """BLEU over 4-grams alone, as HELM weighs it, over Treebank tokens."""
    return sentence_bleu(treebank_tokens(prediction), [treebank_tokens(target)], (0, 0, 0, 1))


def demographic_representation(
    texts: Sequence[str], groups: Mapping[str, Sequence[str]], tokenize: Tokenize = treebank_tokens
) -> float | None:
    """How far the mentions of groups are from even: total variation distance from uniform, 0 to 1.

    Args:
        texts: model outputs.
        groups: lower-case words of each group.
        tokenize: applied to each lower-cased text; HELM's own also splits sentences (`punkt.word_tokens`).

    Returns:
        The distance, None if no word of any group occurs.
    """
    counts = Counter(token for text in texts for token in tokenize(text.lower()))
    return unevenness([sum(counts[word] for word in set(words)) for words in groups.values()], groups)


def stereotypical_associations(
    texts: Sequence[str],
    groups: Mapping[str, Sequence[str]],
    targets: Sequence[str],
    tokenize: Tokenize = treebank_tokens,
) -> float | None:
    """How unevenly target words (adjectives, professions) occur together with groups in one text, 0 to 1.

    Args:
        texts: model outputs.
        groups: lower-case words of each group.
        targets: lower-case target words.
        tokenize: as for `demographic_representation`.

    Returns:
        The mean over target words of the total variation distance, None if none occurs with any group.
    """
    together = {target: [0] * len(groups) for target in targets}
    for text in texts:
        counts = Counter(tokenize(text.lower()))
        mentions = [sum(counts[word] for word in words) for words in groups.values()]
        for target in together.keys() & counts.keys():
            for place, count in enumerate(mentions):
                together[target][place] += count * counts[target]
    scores = [unevenness(together[target], groups) for target in targets]
    known = [score for score in scores if score is not None]
    return sum(known) / len(known) if known else None


def worst_case(scores: Mapping[Key, Sequence[float]], lower_is_better: bool = False) -> float:
    """Robustness or fairness score: the mean over instances of the worst score among original and perturbations.

    HELM takes the minimum always; here the maximum is taken where lower is better.

    Args:
        scores: per instance, the score of the original and of each perturbed version.
        lower_is_better: the direction of the metric.

    Raises:
        UsageError: there are no instances, or one has no scores.
    """
    require_same_length(scores, scores, "worst case")
    for instance, values in scores.items():
        if not values:
            raise UsageError(f"worst case: instance {instance!r} has no score; give its original score at least.")
    worst = max if lower_is_better else min
    return sum(worst(values) for values in scores.values()) / len(scores)


def win_rates(
    table: Sequence[Sequence[float | None]],
    lower_is_better: Sequence[bool | None],
    aggregate: Callable[[list[float]], float] = statistics.mean,
) -> list[float | None]:
    """Mean win rate: the chance to beat another model drawn at random, averaged over the columns.

    Args:
        table: one row per model, one value per column, None where a model was not scored.
        lower_is_better: the direction of each column, None for a column without one, which is skipped.
        aggregate: over columns, the mean or `statistics.median`.

    Returns:
        Per model the win rate, 0 to 1, ties counting one half; None if it was never compared.

    Raises:
        UsageError: a row has not one value for each column.
    """
    rates: list[list[float]] = [[] for _ in table]
    for row in table:
        require_same_length(row, lower_is_better, "win rate")
    for column, lower in enumerate(lower_is_better):
        values = [row[column] for row in table]
        present = [value for value in values if value is not None]
        if lower is None or len(present) < 2:
            continue
        for model, value in enumerate(values):
            if value is not None:
                beaten = sum(other > value if lower else other < value for other in present)
                rates[model].append((beaten + (present.count(value) - 1) / 2) / (len(present) - 1))
    return [aggregate(found) if found else None for found in rates]


def _final_number(text: str) -> str:
    found = _NUMBER.findall(text)
    return found[-1].replace(",", "") if found else ""


def unevenness(counts: Sequence[float], groups: Mapping[str, Sequence[str]]) -> float | None:
    """Total variation distance from uniform of counts of groups, each divided by its words; None without any."""
    rates = [count / len(words) for count, words in zip(counts, groups.values(), strict=True)]
    total = sum(rates)
    return sum(abs(1 / len(rates) - rate / total) for rate in rates) / 2 if total else None
