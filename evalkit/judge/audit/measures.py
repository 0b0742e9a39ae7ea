"""A judge's verdicts and people's labels in, the numbers of a judge's report card out.

Pairs are the unit: both orders and all repeats of a pair are dependent, and intervals respect that. The accuracies of
two judges that do not read, a constant and one that takes the longer response, stand beside every accuracy.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evalkit.judge.audit.judgements import Judgement, from_rows
from evalkit.judge.audit.pairs import label_of
from evalkit.judge.pairwise import Kind, Winner, as_share, combine_orders
from evalkit.record import Row
from evalkit.stats.agreement import cohen_kappa
from evalkit.stats.intervals import Estimate, estimate_mean
from evalkit.task import Sample

_KIND_LABEL: Mapping[Kind, str] = {"win": "a", "loss": "b", "tie": "tie", "inconsistent": "inconsistent"}


@dataclass(frozen=True)
class Position:
    """How much the order of presentation decided."""

    first: int
    """Single verdicts for the response shown first."""
    second: int
    tie: int
    pairs: int
    """Pairs with a verdict in both orders."""
    consistent: int
    """Pairs with the same verdict in both orders."""
    both_first: int
    """Pairs where the response shown first won twice."""
    both_second: int
    consistency: Estimate
    first_rate: Estimate
    """Share of decisive verdicts for the response shown first; 0.5 is fair."""


@dataclass(frozen=True)
class ReportCard:
    """What the audit says of a judge on labelled pairs."""

    pairs: int
    judgements: int
    accuracy: Estimate
    """Share of single verdicts that agree with the label."""
    pair_accuracy: Estimate
    """Share of pairs judged alike and rightly in both orders; an inconsistent pair is wrong."""
    kappa: Estimate
    """Cohen's kappa of the pair verdicts with the labels, of the first repeat alone, because its interval takes
    verdicts for independent; "inconsistent" agrees with no label."""
    constant_accuracy: float | None
    """What always giving the most common label reaches."""
    longest_accuracy: float | None
    """What always taking the longer response reaches."""
    position: Position
    length_preference: Estimate
    """Share of decisive verdicts for the longer response."""
    label_length_preference: float | None
    """The same share among the labels: what length deserves here."""
    self_consistency: Estimate
    """Chance that two repeats of the same question get the same verdict; undefined without repeats."""
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Judgements without a verdict, by reason."""
    seconds_per_1000: float | None = None
    prompt_tokens_per_1000: float | None = None
    completion_tokens_per_1000: float | None = None


def report_card(pairs: Sequence[Sample], rows: Sequence[Row]) -> ReportCard:
    """The report card of the judge whose pairwise Run over `pairs` has these rows."""
    longer = {pair.id: longer_side(pair) for pair in pairs}
    labels = {pair.id: label_of(pair) for pair in pairs}
    card = recorded_card(from_rows(rows), labels)
    return replace(
        card,
        longest_accuracy=share([longer[pair] == label for pair, label in labels.items()]),
        length_preference=length_preference(from_rows(rows), longer),
        label_length_preference=share(
            [longer[pair] == label for pair, label in labels.items() if label != "tie" and longer[pair] != "tie"]
        ),
        unscored=Counter(row.unscored for row in rows if row.unscored is not None),
        seconds_per_1000=_per_1000([row.seconds for row in rows if not row.cached]),
        prompt_tokens_per_1000=_per_1000([row.prompt_tokens for row in rows if row.prompt_tokens is not None]),
        completion_tokens_per_1000=_per_1000(
            [row.completion_tokens for row in rows if row.completion_tokens is not None]
        ),
    )


def recorded_card(judgements: Sequence[Judgement], labels: Mapping[str, str]) -> ReportCard:
    """The report card of verdicts alone: nothing is known of the responses' length, of time and tokens.

    Args:
        judgements: single verdicts of one judge.
        labels: what people said, by pair. Pairs without a label count for the position measures only, and labels of
            pairs that were never judged not at all.
    """
    seen = {one.pair for one in judgements}
    labels = {pair: label for pair, label in labels.items() if pair in seen}
    verdicts, truth, pairs = pair_labels(judgements, labels)
    once = pair_labels([one for one in judgements if one.repeat == 0], labels)
    return ReportCard(
        pairs=len(labels),
        judgements=len(judgements),
        accuracy=accuracy(judgements, labels),
        pair_accuracy=_over_pairs([float(one == label) for one, label in zip(verdicts, truth, strict=True)], pairs),
        kappa=cohen_kappa(once[0], once[1]),
        constant_accuracy=constant_accuracy(labels),
        longest_accuracy=None,
        position=position(judgements),
        length_preference=length_preference(judgements, {}),
        label_length_preference=None,
        self_consistency=self_consistency(judgements),
    )


def longer_side(pair: Sample) -> Winner:
    """Which response has more characters."""
    a, b = (sum(len(str(v)) for key, v in pair.fields.items() if key.startswith(f"response_{side}")) for side in "ab")
    return "tie" if a == b else "a" if a > b else "b"


def accuracy(judgements: Sequence[Judgement], labels: Mapping[str, str]) -> Estimate:
    """The share of single verdicts that agree with the label of their pair; verdicts never reached are left out."""
    scored = [one for one in judgements if one.winner is not None and one.pair in labels]
    return _by_pair([float(one.winner == labels[one.pair]) for one in scored], scored)


def pair_labels(judgements: Sequence[Judgement], labels: Mapping[str, str]) -> tuple[list[str], list[str], list[str]]:
    """The verdict of every labelled pair (and repeat) judged in both orders, its label, and its name."""
    found = []
    for (pair, _repeat), winners in _both_orders(judgements).items():
        kind = combine_orders(winners.get("ab"), winners.get("ba"))
        if kind != "unscored" and pair in labels:
            found.append((_KIND_LABEL[kind], labels[pair], pair))
    return [one for one, _, _ in found], [label for _, label, _ in found], [pair for _, _, pair in found]


def constant_accuracy(labels: Mapping[str, str]) -> float | None:
    """The share of the most common label: what a judge reaches that does not look."""
    return Counter(labels.values()).most_common(1)[0][1] / len(labels) if labels else None


def position(judgements: Sequence[Judgement]) -> Position:
    """Counts and rates of what the order did; ties count as consistent where both orders say tie."""
    places = Counter(one.position for one in judgements)
    orders = _both_orders(judgements).items()
    whole = [(pair, w) for (pair, _), w in orders if w.get("ab") is not None and w.get("ba") is not None]
    names, both = [pair for pair, _ in whole], [winners for _, winners in whole]
    same = [float(winners["ab"] == winners["ba"]) for winners in both]
    decisive = [one for one in judgements if one.position in {"first", "second"}]
    return Position(
        first=places["first"],
        second=places["second"],
        tie=places["tie"],
        pairs=len(both),
        consistent=int(sum(same)),
        both_first=sum(winners["ab"] == "a" and winners["ba"] == "b" for winners in both),
        both_second=sum(winners["ab"] == "b" and winners["ba"] == "a" for winners in both),
        consistency=_over_pairs(same, names),
        first_rate=_by_pair([float(one.position == "first") for one in decisive], decisive),
    )


def length_preference(judgements: Sequence[Judgement], longer: Mapping[str, str]) -> Estimate:
    """The share of decisive verdicts for the longer response, over pairs whose responses differ in length."""
    decisive = [one for one in judgements if one.winner in {"a", "b"} and longer.get(one.pair) in {"a", "b"}]
    return _by_pair([float(one.winner == longer[one.pair]) for one in decisive], decisive)


def self_consistency(judgements: Sequence[Judgement]) -> Estimate:
    """The chance that two repeats of one question in one order get the same verdict, averaged over questions."""
    answers: dict[tuple[str, str], list[str]] = {}
    for one in judgements:
        if one.winner is not None:
            answers.setdefault((one.pair, one.order), []).append(one.winner)
    repeated = {key: given for key, given in answers.items() if len(given) > 1}
    values = [_chance_alike(given) for given in repeated.values()]
    return as_share(estimate_mean(values, clusters=_clusters([pair for pair, _order in repeated])))


def share(flags: Sequence[bool]) -> float | None:
    """The share of true ones; None of nothing."""
    return sum(flags) / len(flags) if flags else None


def _chance_alike(given: Sequence[str]) -> float:
    n = len(given)
    return sum(count * (count - 1) for count in Counter(given).values()) / (n * (n - 1))


def _both_orders(judgements: Sequence[Judgement]) -> dict[tuple[str, int], dict[str, Winner | None]]:
    both: dict[tuple[str, int], dict[str, Winner | None]] = {}
    for one in judgements:
        both.setdefault((one.pair, one.repeat), {})[one.order] = one.winner
    return both


def _by_pair(values: Sequence[float], judgements: Sequence[Judgement]) -> Estimate:
    return as_share(estimate_mean(values, clusters=_clusters([one.pair for one in judgements])))


def _over_pairs(values: Sequence[float], names: Sequence[str]) -> Estimate:
    """The mean over pairs, the repeats of a pair averaged first."""
    repeats: dict[str, list[float]] = {}
    for name, value in zip(names, values, strict=True):
        repeats.setdefault(name, []).append(value)
    return as_share(estimate_mean([sum(found) / len(found) for found in repeats.values()]))


def _clusters(names: Sequence[str]) -> Sequence[str] | None:
    return names if 1 < len(set(names)) < len(names) else None


def _per_1000(values: Sequence[float]) -> float | None:
    return 1000 * sum(values) / len(values) if values else None
