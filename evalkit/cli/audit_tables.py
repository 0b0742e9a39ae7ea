"""What an audit found in, the lines of its tables out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.judge.audit.attacks import AttackResult
    from evalkit.judge.audit.measures import ReportCard
    from evalkit.judge.audit.people import ScoreCard
    from evalkit.models.prices import Price
    from evalkit.stats.intervals import Estimate

CARD_COLUMNS = ("", "value", "95 % interval", "n")
ATTACK_COLUMNS = ("attack", "defences off", "defences on", "tried")

Line = tuple[str, ...]


def pair_lines(card: "ReportCard") -> list[Line]:
    """A judge on labelled pairs; what is not known of recorded verdicts is left out."""
    lines = [
        _line("agrees with people (single verdicts)", card.accuracy),
        _line("agrees with people (both orders)", card.pair_accuracy),
        _line("Cohen's kappa", card.kappa),
        *_share("always the commonest label", card.constant_accuracy, card.pairs),
        *_share("always the longer response", card.longest_accuracy, card.pairs),
        _line("same verdict in both orders", card.position.consistency),
        _line("prefers what is shown first", card.position.first_rate),
        _line("prefers the longer response", card.length_preference),
        *_share("people prefer the longer response", card.label_length_preference, card.pairs),
        _line("same verdict when asked again", card.self_consistency),
        *_without_verdict(card.unscored, card.judgements),
    ]
    if card.seconds_per_1000 is not None:
        lines.append(("seconds per 1,000 judgements", f"{card.seconds_per_1000:.1f}", "–", str(card.judgements)))
    return lines


def money_line(card: "ReportCard", price: "Price | None") -> Line:
    """What 1,000 judgements cost, as far as price and tokens are known."""
    tokens = (card.prompt_tokens_per_1000, card.completion_tokens_per_1000)
    known = price is not None and None not in tokens
    cost = f"{price.cost(int(tokens[0] or 0), int(tokens[1] or 0)):.4f}" if price is not None and known else "unknown"
    return ("US dollars per 1,000 judgements", cost, "–", str(card.judgements))


def score_lines(card: "ScoreCard", low: float, high: float) -> list[Line]:
    """A judge on labelled responses; scores are told on the people's scale, from `low` to `high`."""
    width = high - low
    return [
        _line("correlation with people (Pearson)", card.pearson),
        _line("correlation with people (Spearman)", card.spearman),
        _line("judge minus people", card.difference, width),
        _line("mean by the judge", card.judge_mean, width, low),
        _line("mean by people, judge corrected", card.corrected_mean, width, low),
        _line("passes and fails as people do", card.accuracy),
        *_share("always the commoner of the two", card.constant_accuracy, card.labelled),
        _line("Cohen's kappa of pass and fail", card.kappa),
        _line("passes what people pass (sensitivity)", card.sensitivity),
        _line("fails what people fail (specificity)", card.specificity),
        _line("share of passes by the judge", card.judge_pass),
        _line("share of passes by people, judge corrected", card.corrected_pass),
        *_without_verdict(card.unscored, card.judged + sum(card.unscored.values())),
    ]


def attack_lines(off: Sequence["AttackResult"], on: Sequence["AttackResult"]) -> list[Line]:
    """The success of every attack with the defences off and on."""
    fenced = {one.attack: one for one in on}
    return [
        (one.attack, _number(one.success.value), _number(fenced[one.attack].success.value), str(one.tried))
        for one in off
    ]


def _without_verdict(reasons: Mapping[str, int], judgements: int) -> list[Line]:
    lines: list[Line] = [("without a verdict", str(sum(reasons.values())), "–", str(judgements))]
    return [*lines, *((f"  {reason}", str(count), "–", "") for reason, count in sorted(reasons.items()))]


def _line(name: str, estimate: "Estimate", width: float = 1.0, start: float = 0.0) -> Line:
    value, low, high = (
        None if one is None else start + width * one for one in (estimate.value, estimate.low, estimate.high)
    )
    interval = "–" if low is None or high is None else f"[{low:.3f}, {high:.3f}]"
    return (name, _number(value), interval, str(estimate.n))


def _share(name: str, value: float | None, count: int) -> list[Line]:
    """A line for a share; none where it is not known."""
    return [] if value is None else [(name, _number(value), "–", str(count))]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
