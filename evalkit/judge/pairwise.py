"""Two responses to each sample in, a Task out that asks the judge in both orders, and what both orders say together.

A pair's verdict is win, loss, tie, inconsistent (the orders disagree) or unscored; the five are never merged. "a" is
the candidate and "b" what it is compared with, whatever was shown first. Identical responses tie without a call.

`alpaca_eval_task` is AlpacaEval 2's protocol instead: one order, drawn by the instruction, and a graded preference.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from evalkit.aggregate import mean_metric, to_metric
from evalkit.errors import UsageError
from evalkit.judge import task_parts
from evalkit.judge.parse import read_verdict
from evalkit.judge.parse.official import alpaca_eval_preference, alpaca_eval_swapped
from evalkit.judge.rubrics import Rubric
from evalkit.judge.task_parts import JudgeOptions, Subject
from evalkit.models import Model
from evalkit.record import Metric, Metrics, Row
from evalkit.task import Outcome, Request, Response, Sample, Task

if TYPE_CHECKING:
    from evalkit.stats.intervals import Estimate

Winner = Literal["a", "b", "tie"]
Kind = Literal["win", "loss", "tie", "inconsistent", "unscored"]
KINDS: tuple[Kind, ...] = ("win", "loss", "tie", "inconsistent", "unscored")

ORDER_FIELD, PAIR_FIELD = "order", "pair"
ALPACA_EVAL_PARSER = "choice_probability"
"""The parser of rubrics that are asked as AlpacaEval 2 asks: one token, one order."""
_PREFERENCE: Mapping[str, float] = {"a": 1.0, "tie": 0.5, "b": 0.0}


@dataclass(frozen=True)
class PairVerdict:
    """What both orders together say of one pair, once."""

    id: str
    repeat: int
    kind: Kind
    winners: Mapping[str, Winner | None]
    """By the order shown ("ab", "ba"): who won; None where that order is unscored."""
    cluster: str | None = None
    tags: tuple[str, ...] = ()

    @property
    def preference(self) -> float | None:
        """1 for a, 0.5 for a tie, 0 for b, averaged over both orders; None where an order is unscored."""
        if self.kind == "unscored":
            return None
        return sum(_PREFERENCE[str(winner)] for winner in self.winners.values()) / len(self.winners)


def pair_sample(sample: Sample, response_a: str, response_b: str) -> Sample:
    """A sample with the two responses to compare; a is the candidate."""
    return replace(sample, fields={**sample.fields, "response_a": response_a, "response_b": response_b})


def comparing_task(
    samples: Sequence[Sample],
    rubric: Rubric,
    judge: Model,
    subject: Subject,
    options: JudgeOptions = JudgeOptions(),  # noqa: B008 - frozen
) -> Task:
    """The Task of comparing pairs as the rubric asks for it: AlpacaEval 2's in one order, any other in both."""
    build = alpaca_eval_task if rubric.parser == ALPACA_EVAL_PARSER else pairwise_task
    return build(samples, rubric, judge, subject, options)


def pairwise_task(
    samples: Sequence[Sample],
    rubric: Rubric,
    judge: Model,
    subject: Subject,
    options: JudgeOptions = JudgeOptions(),  # noqa: B008 - frozen
) -> Task:
    """The Task of comparing each sample's `response_a` with its `response_b` in both orders.

    Raises UsageError where the rubric scores single responses.
    """
    _check_pairwise(rubric)
    both = [in_order(sample, order) for sample in samples for order in ("ab", "ba")]
    return _task(both, rubric, judge, subject, options, score=pair_outcome)


def alpaca_eval_task(
    samples: Sequence[Sample],
    rubric: Rubric,
    judge: Model,
    subject: Subject,
    options: JudgeOptions = JudgeOptions(),  # noqa: B008 - frozen
) -> Task:
    """AlpacaEval 2's comparison: one order per sample; b is its baseline, whose output comes first unless swapped.

    The metric "preference" is 1 (baseline) to 2 (candidate) and "win_rate" is that minus 1.
    """
    _check_pairwise(rubric)
    orders = ["ab" if alpaca_eval_swapped(str(sample.fields["instruction"])) else "ba" for sample in samples]
    shown = [replace(in_order(sample, order), id=sample.id) for sample, order in zip(samples, orders, strict=True)]
    return _task(shown, rubric, judge, subject, options, score=_alpaca_outcome)


def _check_pairwise(rubric: Rubric) -> None:
    if rubric.kind != "pairwise":
        raise UsageError(f"rubric {rubric.name} scores single responses: give a pairwise rubric such as mt-bench-pair")


def _task(
    samples: Sequence[Sample],
    rubric: Rubric,
    judge: Model,
    subject: Subject,
    options: JudgeOptions,
    *,
    score: Callable[[Sample, Response, Rubric], Outcome],
) -> Task:
    def render(sample: Sample, _style: str) -> Request:
        if _settled(sample):
            return task_parts.settled_request(sample, rubric)
        return task_parts.request(sample, rubric, options)

    alpaca = score is _alpaca_outcome
    return Task(
        name=f"compare-{rubric.name}",
        protocol=f"judge/{rubric.name}@{rubric.version}/{'one-order' if alpaca else 'both-orders'}",
        samples=tuple(samples),
        render=render,
        score=lambda sample, response: score(sample, response, rubric),
        aggregate=_alpaca_aggregate if alpaca else aggregate,
        primary="win_rate",
        settings={"rubric": rubric.name, "fenced": rubric.fence if options.fenced is None else options.fenced},
        retries=options.retries,
        judge=task_parts.judge_record(judge, rubric, subject, options),
    )


def in_order(sample: Sample, order: str) -> Sample:
    """The sample as it is shown in one order: under "ba" the two responses change places."""
    fields = dict(sample.fields)
    if order == "ba":
        fields |= {key: sample.fields[_other_side(key)] for key in sample.fields if _other_side(key) != key}
    fields |= {ORDER_FIELD: order, PAIR_FIELD: sample.id}
    return replace(sample, id=f"{sample.id}|{order}", fields=fields, cluster=sample.cluster or sample.id)


def pairs_of(rows: Sequence[Row]) -> list[Sample]:
    """The pairs of a judgement as they were given, one sample each, whatever was shown first."""
    found: dict[str, Sample] = {}
    for row in rows:
        name = str(row.fields[PAIR_FIELD])
        if name not in found:
            shown = Sample(name, row.fields, row.target, row.cluster, row.tags)
            # Swapping the sides twice gives them back.
            found[name] = shown if row.fields[ORDER_FIELD] == "ab" else replace(in_order(shown, "ba"), id=name)
    return list(found.values())


def _other_side(key: str) -> str:
    if key.startswith("response_a"):
        return "response_b" + key.removeprefix("response_a")
    if key.startswith("response_b"):
        return "response_a" + key.removeprefix("response_b")
    return key


def _settled(sample: Sample) -> bool:
    return task_parts.missing(sample) is not None or _identical(sample)


def _identical(sample: Sample) -> bool:
    sides = [key for key in sample.fields if key.startswith("response_a")]
    return bool(sides) and all(sample.fields[key] == sample.fields[_other_side(key)] for key in sides)


def pair_outcome(sample: Sample, response: Response, rubric: Rubric) -> Outcome:
    """What the judge's reply says of a pair in one order: the score "win_rate" is 1 where a wins."""
    if (gone := task_parts.missing(sample)) is not None:
        return gone
    if _identical(sample):
        return Outcome({"win_rate": 0.5}, response="", extra={"winner": "tie", "judge": None})
    verdict = read_verdict(rubric, response)
    if verdict.choice is None:
        return Outcome(unscored=verdict.unscored, detail=verdict.detail, extra={"judge": response.text})
    winner = _winner(rubric.choices.index(verdict.choice), str(sample.fields[ORDER_FIELD]))
    shown = {"winner": winner, "judge": response.text, "components": dict(verdict.components)}
    return Outcome({"win_rate": _PREFERENCE[winner]}, extra=shown)


def _winner(position: int, order: str) -> Winner:
    """Who stands at a position of the choices: 0 is the first shown, 1 the second, 2 the tie."""
    if position > 1:
        return "tie"
    return "a" if order[position] == "a" else "b"


def pair_verdicts(rows: Sequence[Row]) -> list[PairVerdict]:
    """Both orders of each pair and repeat put together, in order of first appearance."""
    together: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        together.setdefault((str(row.fields[PAIR_FIELD]), row.repeat), []).append(row)
    return [_pair_verdict(pair, repeat, both) for (pair, repeat), both in together.items()]


def _pair_verdict(pair: str, repeat: int, both: Sequence[Row]) -> PairVerdict:
    winners = {str(row.fields[ORDER_FIELD]): row.extra.get("winner") for row in both}
    first = both[0]
    return PairVerdict(
        pair, repeat, combine_orders(winners.get("ab"), winners.get("ba")), winners, first.cluster, first.tags
    )


def combine_orders(forward: Winner | None, backward: Winner | None) -> Kind:
    """The verdict of a pair from who won when a was shown first, and who when b was."""
    if forward is None or backward is None:
        return "unscored"
    if forward != backward:
        return "inconsistent"
    return {"a": "win", "b": "loss", "tie": "tie"}[forward]  # type: ignore[return-value]


def aggregate(rows: Sequence[Row]) -> Metrics:
    """Win rate and the share of each verdict over pairs, and how much the order mattered.

    `win_rate` averages both orders (1 win, 0.5 tie, 0 loss); an inconsistent pair counts 0.5 there and apart in
    `inconsistent`. `first_position` is the share of decisive single verdicts won by what was shown first.
    """
    verdicts = pair_verdicts(rows)
    scored = [verdict for verdict in verdicts if verdict.kind != "unscored"]
    lost = len(verdicts) - len(scored)
    overall = {"win_rate": _share(scored, [verdict.preference or 0.0 for verdict in scored], lost)}
    for kind in KINDS[:-1]:
        overall[kind] = _share(scored, [float(verdict.kind == kind) for verdict in scored], lost)
    return Metrics({**overall, "first_position": first_position(rows)})


def first_position(rows: Sequence[Row]) -> Metric:
    """How often a decisive verdict fell on the response shown first, 0 to 1; pairs are the unit of sampling."""
    from evalkit.stats.intervals import estimate_mean

    decisive = [row for row in rows if row.extra.get("winner") in {"a", "b"}]
    first = [float(row.extra["winner"] == str(row.fields[ORDER_FIELD])[0]) for row in decisive]
    pairs = [str(row.fields[PAIR_FIELD]) for row in decisive]
    return to_metric(as_share(estimate_mean(first, clusters=pairs if len(set(pairs)) > 1 else None)))


def _share(verdicts: Sequence[PairVerdict], values: Sequence[float], lost: int) -> Metric:
    """The mean over pairs, repeats of a pair and pairs of a cluster taken as dependent."""
    from evalkit.stats.intervals import estimate_mean

    clusters = [verdict.cluster or verdict.id for verdict in verdicts]
    several = 1 < len(set(clusters)) < len(clusters)
    return to_metric(as_share(estimate_mean(values, clusters=clusters if several else None)), unscored=lost)


def as_share(estimate: "Estimate") -> "Estimate":
    """The estimate of a share with its interval cut to 0 to 1: Student's t over few clusters knows nothing of it."""
    if estimate.low is None or estimate.high is None:
        return estimate
    return replace(estimate, low=max(0.0, estimate.low), high=min(1.0, estimate.high))


def _alpaca_outcome(sample: Sample, response: Response, rubric: Rubric) -> Outcome:
    if (gone := task_parts.missing(sample)) is not None:
        return gone
    if _identical(sample):
        return Outcome({"preference": 1.5, "win_rate": 0.5}, response="", extra={"judge": None})
    tokens = response.top_logprobs[0] if response.top_logprobs else ()
    preference = alpaca_eval_preference(tokens, swapped=sample.fields[ORDER_FIELD] == "ab")
    if preference is None:
        return Outcome(unscored="unparsable", detail="neither m nor M among the judge's tokens")
    return Outcome({"preference": preference, "win_rate": preference - 1.0}, extra={"judge": response.text})


def _alpaca_aggregate(rows: Sequence[Row]) -> Metrics:
    return Metrics({name: mean_metric(rows, name, clustered=False) for name in ("win_rate", "preference")})
