"""Turns two texts into a number: exact match, token F1, ROUGE, BLEU and character n-gram F, each after its source.

Every function takes (prediction, target) in this order and returns 0 to 1, but for `corpus_bleu` and `chrf`, which
are 0 to 100 as sacrebleu reports them.
"""

import math
import re
import string
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from evalkit.metrics.checks import require_same_length
from evalkit.metrics.tokens import international_tokens

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_DROP_PUNCTUATION = str.maketrans("", "", string.punctuation)
_ROUGE_SEPARATOR = re.compile(r"[^a-z0-9]+")

_ORDERS = (1, 2, 3, 4)

Stem = Callable[[str], str]
Tokens = Sequence[str]


def normalize(text: str, drop_articles: bool = True) -> str:
    """Lower-case, drop ASCII punctuation, then a/an/the, then squeeze white space.

    Source: `normalize_answer` of the SQuAD 1.1, SQuAD 2.0, ReCoRD and QuAC scripts; HELM's `normalize_text`, which
    can leave the articles in.
    """
    bare = text.lower().translate(_DROP_PUNCTUATION)
    return " ".join((_ARTICLES.sub(" ", bare) if drop_articles else bare).split())


def exact_match(prediction: str, target: str) -> float:
    """1 if the normalised texts are equal, else 0 (SQuAD 1.1)."""
    return float(normalize(prediction) == normalize(target))


def token_f1(prediction: str, target: str) -> float:
    """F1 of the bags of normalised words; 0 if either is empty (SQuAD 1.1, ReCoRD)."""
    return bag_f1(normalize(prediction).split(), normalize(target).split())


def bag_f1(predicted: Tokens, true: Tokens) -> float:
    """F1 of two bags of tokens; 0 without a common token."""
    common = (Counter(predicted) & Counter(true)).total()
    return 2 * common / (len(predicted) + len(true)) if common else 0.0


def max_over_targets(metric: Callable[[str, str], float], prediction: str, targets: Sequence[str]) -> float:
    """The best value of a metric over the acceptable answers.

    Raises:
        UsageError: there are no targets.
    """
    require_same_length(targets, targets, "answers")
    return max(metric(prediction, target) for target in targets)


def rouge_tokens(text: str, stem: Stem | None = None) -> list[str]:
    """Lower-case runs of a-z and 0-9; words of more than three letters are stemmed if `stem` is given.

    Source: google-research `rouge_score` 0.1.2.
    """
    words = _ROUGE_SEPARATOR.sub(" ", text.lower()).split()
    return words if stem is None else [stem(word) if len(word) > 3 else word for word in words]


def rouge_n(prediction: str, target: str, order: int = 1, stem: Stem | None = None) -> float:
    """ROUGE-N F-measure, 0 to 1 (Lin 2004, as in `rouge_score` 0.1.2)."""
    predicted, true = (_ngrams(rouge_tokens(text, stem), order) for text in (prediction, target))
    common = (predicted & true).total()
    return 2 * common / (predicted.total() + true.total()) if common else 0.0


def rouge_l(prediction: str, target: str, stem: Stem | None = None) -> float:
    """ROUGE-L F-measure over the longest common subsequence of the whole texts, 0 to 1."""
    predicted, true = rouge_tokens(prediction, stem), rouge_tokens(target, stem)
    longest = _lcs_table(true, predicted)[-1][-1]
    return 2 * longest / (len(predicted) + len(true)) if longest else 0.0


def rouge_lsum(prediction: str, target: str, stem: Stem | None = None) -> float:
    """ROUGE-L of summaries: sentences end at newlines, each true sentence takes the union over predicted ones."""
    predicted, true = ([rouge_tokens(line, stem) for line in text.split("\n") if line] for text in (prediction, target))
    left = Counter(word for line in predicted for word in line) & Counter(word for line in true for word in line)
    hits = 0
    for line in true:
        for place in sorted(set().union(*(_lcs_places(line, other) for other in predicted))):
            hits += left[line[place]] > 0
            left[line[place]] -= 1
    return 2 * hits / sum(map(len, [*predicted, *true])) if hits else 0.0


def sentence_bleu(predicted: Tokens, targets: Sequence[Tokens], weights: Sequence[float]) -> float:
    """BLEU of one sentence without smoothing, 0 to 1 (Papineni et al. 2002, as in NLTK).

    Args:
        predicted: tokens of the prediction.
        targets: tokens of each reference.
        weights: weight of each n-gram order from 1; HELM's `bleu_1` is (1, 0, 0, 0), its `bleu_4` (0, 0, 0, 1).

    Returns:
        The score; an order without a match counts as the smallest positive double.
    """
    precisions = [_clipped_precision(predicted, targets, order + 1) for order in range(len(weights))]
    if not precisions[0][0]:
        return 0.0
    logs = (
        w * math.log(hits / n if hits else sys.float_info.min) for w, (hits, n) in zip(weights, precisions, strict=True)
    )
    closest = _closest_length(targets, len(predicted))
    brevity = min(0.0, 1 - closest / len(predicted))
    return math.exp(brevity) * math.exp(math.fsum(logs))


def corpus_bleu(predictions: Sequence[str], targets: Sequence[Sequence[str]]) -> float:
    """BLEU of a corpus, 0 to 100: sacrebleu with the `intl` tokenizer and exponential smoothing.

    Source: Post, "A Call for Clarity in Reporting BLEU Scores", 2018; settings of the T5 metric BIG-bench uses.

    Args:
        predictions: one text per item.
        targets: the references of each item.

    Raises:
        UsageError: the lengths differ or are zero.
    """
    require_same_length(predictions, targets, "BLEU")
    return bleu_of_counts(sum_counts(map(bleu_counts, predictions, targets)))


@dataclass(frozen=True)
class BleuCounts:
    """What one text, or a corpus of them, contributes to BLEU."""

    hits: tuple[int, ...]
    """Matched n-grams of 1 to 4 tokens."""
    totals: tuple[int, ...]
    """N-grams in all."""
    length: int
    """Tokens."""
    closest: int
    """Tokens of the references closest in length."""

    def minus(self, other: "BleuCounts") -> "BleuCounts":
        """The corpus without a text of it."""
        hits, totals = (
            tuple(a - b for a, b in zip(*pair, strict=True))
            for pair in ((self.hits, other.hits), (self.totals, other.totals))
        )
        return BleuCounts(hits, totals, self.length - other.length, self.closest - other.closest)


def bleu_counts(prediction: str, references: Sequence[str]) -> BleuCounts:
    """The counts of one text against its references."""
    words = international_tokens(prediction)
    wanted = [international_tokens(reference) for reference in references]
    hits = tuple(_clipped_precision(words, wanted, order)[0] for order in _ORDERS)
    totals = tuple(max(len(words) - order + 1, 0) for order in _ORDERS)
    return BleuCounts(hits, totals, len(words), _closest_length(wanted, len(words)))


def sum_counts(counts: Iterable[BleuCounts]) -> BleuCounts:
    """The counts of a corpus."""
    found = list(counts)
    hits, totals = (
        tuple(map(sum, zip(*columns, strict=True))) for columns in ([c.hits for c in found], [c.totals for c in found])
    )
    return BleuCounts(hits, totals, sum(c.length for c in found), sum(c.closest for c in found))


def bleu_of_counts(counts: BleuCounts) -> float:
    """Corpus BLEU, 0 to 100, from its counts."""
    if not any(counts.hits) or not all(counts.totals):
        return 0.0
    brevity = math.exp(min(0.0, 1 - counts.closest / counts.length))
    return 100 * brevity * math.exp(_smoothed_log_precision(counts.hits, counts.totals))


def chrf(prediction: str, targets: Sequence[str], order: int = 6, beta: float = 2.0) -> float:
    """Character n-gram F-score of one text, 0 to 100, white space ignored; the best over the references.

    Source: Popović, "chrF: character n-gram F-score", 2015, with sacrebleu's effective order.

    Raises:
        UsageError: there are no targets.
    """
    return max_over_targets(lambda p, t: _chrf_of_one(p, t, order, beta), prediction, targets)


def _chrf_of_one(prediction: str, target: str, order: int, beta: float) -> float:
    pairs = [[_ngrams("".join(text.split()), n + 1) for text in (prediction, target)] for n in range(order)]
    usable = [(p, t, (p & t).total()) for p, t in pairs if p and t]
    if not any(hits for _, _, hits in usable):
        return 0.0
    precision = sum(hits / p.total() for p, _, hits in usable) / len(usable)
    recall = sum(hits / t.total() for _, t, hits in usable) / len(usable)
    return 100 * (1 + beta**2) * precision * recall / (beta**2 * precision + recall)


def _smoothed_log_precision(hits: Sequence[int], totals: Sequence[int]) -> float:
    smoothing, logs = 1.0, 0.0
    for matched, total in zip(hits, totals, strict=True):
        smoothing *= 1 if matched else 2
        logs += math.log((matched or 1 / smoothing) / total)
    return logs / len(hits)


def _ngrams(tokens: Tokens, order: int) -> "Counter[tuple[str, ...]]":
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


def _clipped_precision(predicted: Tokens, targets: Sequence[Tokens], order: int) -> tuple[int, int]:
    counts, allowed = _ngrams(predicted, order), Counter[tuple[str, ...]]()
    for target in targets:
        allowed |= _ngrams(target, order)
    return (counts & allowed).total(), max(1, counts.total())


def _closest_length(targets: Sequence[Tokens], length: int) -> int:
    return min((len(target) for target in targets), key=lambda n: (abs(n - length), n))


def _lcs_table(true: Tokens, predicted: Tokens) -> list[list[int]]:
    table = [[0] * (len(predicted) + 1)]
    for word in true:
        above, row = table[-1], [0]
        for column, other in enumerate(predicted):
            row.append(above[column] + 1 if word == other else max(above[column + 1], row[column]))
        table.append(row)
    return table


def _lcs_places(true: Tokens, predicted: Tokens) -> set[int]:
    table, i, j, places = _lcs_table(true, predicted), len(true), len(predicted), set[int]()
    while i and j:
        if true[i - 1] == predicted[j - 1]:
            i, j = i - 1, j - 1
            places.add(i)
        elif table[i][j - 1] > table[i - 1][j]:
            j -= 1
        else:
            i -= 1
    return places
