"""Turns SQuAD answers into exact match and F1: version 1.1, and version 2.0 with abstention, thresholds and AP.

Sources: `evaluate-v1.1.py` and `evaluate-v2.0.py` of the SQuAD site. All scores are 0 to 100, as those scripts print.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.errors import UsageError
from evalkit.metrics.checks import require_complete, require_known, require_same_length, require_text, unique
from evalkit.metrics.text import bag_f1, exact_match, max_over_targets, normalize, token_f1

ABSTENTIONS = ("unanswerable",)
"""Answers by which a prompted model says that the passage holds no answer."""

Answers = Mapping[str, Sequence[str]]
Scores = dict[str, float]


def gold_answers(dataset: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Collect the true answers by question id from the official layout.

    Args:
        dataset: the list under "data" of the official JSON: articles with paragraphs with qas.

    Returns:
        The answer texts of each question, an empty list where there is none (2.0 only).

    Raises:
        UsageError: an id occurs twice or a key of the layout is missing.
    """
    try:
        pairs = [
            (question["id"], [answer["text"] for answer in question["answers"]])
            for article in dataset
            for paragraph in article["paragraphs"]
            for question in paragraph["qas"]
        ]
    except KeyError as error:
        raise UsageError(f"SQuAD: the data lacks the key {error}; give the official JSON layout.") from error
    return unique(pairs, "SQuAD data")


def score_v1(predictions: Mapping[str, str], targets: Answers) -> dict[str, float]:
    """SQuAD 1.1.

    Args:
        predictions: the answer text by question id; a question without one scores 0, as in the official script.
        targets: the true answers by question id, at least one each.

    Returns:
        `exact_match` and `f1`, the mean over all questions of the maximum over the true answers; `total`; `missing`.

    Raises:
        UsageError: a prediction is for an unknown id or not text; a question has no answers (data of version 2.0).
    """
    require_known(predictions, targets, "SQuAD 1.1")
    require_text(predictions, "SQuAD 1.1")
    require_same_length(targets, targets, "SQuAD 1.1")
    for key, answers in targets.items():
        if not answers:
            raise UsageError(f"SQuAD 1.1: question {key!r} has no answer; score version 2.0 data as version 2.0.")
    answered = [(predictions[key], answers) for key, answers in targets.items() if key in predictions]
    return {
        "exact_match": 100 * sum(max_over_targets(exact_match, p, t) for p, t in answered) / len(targets),
        "f1": 100 * sum(max_over_targets(token_f1, p, t) for p, t in answered) / len(targets),
        "total": len(targets),
        "missing": len(targets) - len(answered),
    }


def without_abstentions(predictions: Mapping[str, str], abstentions: Collection[str] = ABSTENTIONS) -> dict[str, str]:
    """Make "unanswerable" and its like the empty answer, the only abstention the official script knows.

    Args:
        predictions: answer texts by question id.
        abstentions: the texts that mean "no answer", compared after normalisation.
    """
    silent = {normalize(text) for text in abstentions}
    return {key: "" if normalize(text) in silent else text for key, text in predictions.items()}


@dataclass(frozen=True)
class Items:
    """Per-question values of version 2.0 before any threshold, 0 to 1, in the order of the data."""

    exact: Scores
    f1: Scores
    answerable: dict[str, bool]


def score_v2(
    predictions: Mapping[str, str],
    targets: Answers,
    no_answer_probabilities: Mapping[str, float] | None = None,
    threshold: float = 1.0,
) -> dict[str, float]:
    """SQuAD 2.0.

    Args:
        predictions: the answer text by question id, "" to abstain; see `without_abstentions` for prompted models.
        targets: the true answers by question id, empty for an unanswerable question.
        no_answer_probabilities: the model's probability of "no answer" by id; adds the best thresholds.
        threshold: a question whose probability exceeds it counts as abstained.

    Returns:
        `exact`, `f1` and `total`, and the same with `HasAns_` and `NoAns_`; with probabilities also `best_exact`,
        `best_exact_thresh`, `best_f1` and `best_f1_thresh`.

    Raises:
        UsageError: an id is missing or unknown, or a prediction is not text.
    """
    items = score_items(predictions, targets)
    chances = _chances(no_answer_probabilities, targets)
    values = _split(items, chances, threshold)
    if no_answer_probabilities is not None:
        for name, raw in (("exact", items.exact), ("f1", items.f1)):
            best, place = _best_threshold(raw, predictions, chances, items.answerable)
            values |= {f"best_{name}": best, f"best_{name}_thresh": place}
    return values


def average_precision_v2(
    predictions: Mapping[str, str], targets: Answers, no_answer_probabilities: Mapping[str, float]
) -> dict[str, float]:
    """Area under SQuAD 2.0's precision-recall curves when questions are answered from the surest on, 0 to 100.

    Args:
        predictions: as for `score_v2`.
        targets: as for `score_v2`, at least one answerable question.
        no_answer_probabilities: as for `score_v2`.

    Returns:
        `pr_exact_ap`, `pr_f1_ap` and `pr_oracle_ap`, whose score is 1 for every answerable question.

    Raises:
        UsageError: as for `score_v2`, or no question is answerable.
    """
    items = score_items(predictions, targets)
    chances = _chances(no_answer_probabilities, targets)
    if not any(items.answerable.values()):
        raise UsageError("SQuAD 2.0: average precision needs at least one answerable question.")
    oracle = {key: float(has) for key, has in items.answerable.items()}
    curves = {"pr_exact_ap": items.exact, "pr_f1_ap": items.f1, "pr_oracle_ap": oracle}
    return {name: _average_precision(raw, chances, items.answerable) for name, raw in curves.items()}


def score_items(predictions: Mapping[str, str], targets: Answers) -> Items:
    """Exact match and F1 of each question of version 2.0; arguments and errors as for `score_v2`."""
    require_known(predictions, targets, "SQuAD 2.0")
    require_complete(predictions, targets, "SQuAD 2.0")
    require_text(predictions, "SQuAD 2.0")
    require_same_length(targets, targets, "SQuAD 2.0")
    # answers that normalise to nothing ("the") leave a question answerable, yet only silence can match it
    wanted = {key: [text for text in answers if normalize(text)] or [""] for key, answers in targets.items()}
    return Items(
        exact={key: max_over_targets(exact_match, predictions[key], texts) for key, texts in wanted.items()},
        f1={key: max_over_targets(_f1_or_silence, predictions[key], texts) for key, texts in wanted.items()},
        answerable={key: bool(answers) for key, answers in targets.items()},
    )


def _f1_or_silence(prediction: str, target: str) -> float:
    predicted, true = normalize(prediction).split(), normalize(target).split()
    return bag_f1(predicted, true) if predicted and true else float(predicted == true)


def _chances(given: Mapping[str, float] | None, targets: Answers) -> Mapping[str, float]:
    if given is None:
        return dict.fromkeys(targets, 0.0)
    require_known(given, targets, "SQuAD 2.0 no-answer probabilities")
    require_complete(given, targets, "SQuAD 2.0 no-answer probabilities")
    return given


def _split(items: Items, chances: Mapping[str, float], threshold: float) -> dict[str, float]:
    values: dict[str, float] = {}
    groups = (
        ("", list(items.answerable)),
        ("HasAns_", [key for key, has in items.answerable.items() if has]),
        ("NoAns_", [key for key, has in items.answerable.items() if not has]),
    )
    for prefix, keys in groups:
        for name, raw in (("exact", items.exact), ("f1", items.f1)):
            final = (_abstained(items, key) if chances[key] > threshold else raw[key] for key in keys)
            if keys:
                values[f"{prefix}{name}"] = 100 * sum(final) / len(keys)
        if keys:
            values[f"{prefix}total"] = len(keys)
    return values


def _abstained(items: Items, key: str) -> float:
    return float(not items.answerable[key])


def _best_threshold(
    raw: Scores,
    predictions: Mapping[str, str],
    chances: Mapping[str, float],
    answerable: Mapping[str, bool],
) -> tuple[float, float]:
    total = best = float(sum(not has for has in answerable.values()))
    place = 0.0
    for key in _surest_first(chances):
        lost = -1.0 if predictions[key] else 0.0
        total += raw[key] if answerable[key] else lost
        if total > best:
            best, place = total, chances[key]
    return 100 * best / len(raw), place


def _average_precision(raw: Scores, chances: Mapping[str, float], answerable: Mapping[str, bool]) -> float:
    order, positives = _surest_first(chances), sum(answerable.values())
    right = area = last_recall = 0.0
    for rank, key in enumerate(order, start=1):
        right += raw[key] if answerable[key] else 0.0
        # no threshold can separate questions of equal probability
        if rank == len(order) or chances[key] != chances[order[rank]]:
            area += right / rank * (right / positives - last_recall)
            last_recall = right / positives
    return 100 * area


def _surest_first(chances: Mapping[str, float]) -> list[str]:
    keys: Iterable[str] = chances
    return sorted(keys, key=lambda key: chances[key])
