"""Several judges' verdicts on the same items in, one verdict per item out, and how each judge stands among the others.

A jury is run as one judged Run per judge; `ballots` reads them. Items on which not more than half of the judges reached
a verdict stay unscored, and a split vote is never decided by the order in which the judges were named.
"""

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from evalkit.errors import UsageError
from evalkit.judge.pairwise import PAIR_FIELD, pair_verdicts
from evalkit.judge.pointwise import CANARY
from evalkit.judge.verdict import Verdict, unscored
from evalkit.record import Row

if TYPE_CHECKING:
    from evalkit.stats.intervals import Estimate

Method = Literal["majority", "mean", "median"]

Ballots = Mapping[str, Mapping[str, Verdict]]
"""{judge: {item id: verdict}}."""


@dataclass(frozen=True)
class Standing:
    """One judge among the others."""

    judge: str
    unscored: int
    """Items on which this judge reached no verdict."""
    agreement: "Estimate"
    """With what the others together say: Pearson's correlation of scores, Cohen's kappa of choices."""
    difference: float | None
    """Scores: the judge's mean minus the others' mean on the same items, in points of the scale."""
    same: float | None
    """Choices: the share of items on which the judge says what the others together say."""
    without: float | None
    """The jury's result (mean score, or share won by the first candidate) with this judge left out."""


def ballots(rows_by_judge: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, Verdict]]:
    """The verdicts in the rows of judged Runs, one Run per judge; pairs count once, both orders put together.

    Repeats of an item are items of their own, and planted canaries none. Raises UsageError for fewer than two judges.
    """
    if len(rows_by_judge) < 2:
        raise UsageError("a jury needs at least two judges: name them with --judge, once each")
    return {judge: _verdicts(rows) for judge, rows in rows_by_judge.items()}


def _verdicts(rows: Sequence[Row]) -> dict[str, Verdict]:
    if rows and PAIR_FIELD in rows[0].fields:
        return {
            f"{pair.id}#{pair.repeat}": unscored("unparsable", "one order has no verdict")
            if pair.kind == "unscored"
            else Verdict(choice=pair.kind)
            for pair in pair_verdicts(rows)
        }
    return {f"{row.id}#{row.repeat}": _row_verdict(row) for row in rows if CANARY not in row.tags}


def _row_verdict(row: Row) -> Verdict:
    if row.unscored is not None or "score" not in row.scores:
        return Verdict(unscored=row.unscored or "unparsable", detail=row.detail)  # type: ignore[arg-type]
    return Verdict(score=row.scores["score"])


def combine(verdicts: Sequence[Verdict], method: Method) -> Verdict:
    """One verdict from those of several judges on the same item.

    Args:
        verdicts: one per judge, unscored ones included.
        method: "mean" or "median" of the scores, or "majority": the choice (or score) more judges gave than any other.

    Unscored where not more than half of the judges reached a verdict, or where the vote is split.
    """
    scored = [verdict for verdict in verdicts if verdict.scored]
    if 2 * len(scored) <= len(verdicts):
        return unscored("unparsable", f"only {len(scored)} of {len(verdicts)} judges reached a verdict")
    if method == "majority":
        return _majority(scored)
    scores = [verdict.score for verdict in scored if verdict.score is not None]
    if len(scores) < len(scored):
        raise UsageError(f"--jury {method} needs scores: use majority for a pairwise rubric")
    return Verdict(score=statistics.fmean(scores) if method == "mean" else statistics.median(scores))


def _majority(scored: Sequence[Verdict]) -> Verdict:
    votes = Counter((verdict.choice, verdict.score if verdict.choice is None else None) for verdict in scored)
    (first, count), *others = votes.most_common()
    if others and others[0][1] == count:
        return unscored("conflicting", f"the judges are split {count} to {count}")
    return Verdict(choice=first[0], score=first[1])


def jury_verdicts(votes: Ballots, method: Method) -> dict[str, Verdict]:
    """The jury's verdict on every item that any judge saw, in order of first appearance."""
    items = dict.fromkeys(item for verdicts in votes.values() for item in verdicts)
    absent = unscored("unparsable", "this judge was not asked")
    return {item: combine([votes[judge].get(item, absent) for judge in votes], method) for item in items}


def standings(votes: Ballots, method: Method) -> list[Standing]:
    """How each judge agrees with the rest of the jury, and what the jury says without it (leave-one-out)."""
    return [_standing(votes, judge, method) for judge in votes]


def _standing(votes: Ballots, judge: str, method: Method) -> Standing:
    from evalkit.stats.agreement import cohen_kappa, pearson

    rest = jury_verdicts({name: verdicts for name, verdicts in votes.items() if name != judge}, method)
    both = [(own, rest[item]) for item, own in votes[judge].items() if own.scored and rest[item].scored]
    missing = sum(not verdict.scored for verdict in votes[judge].values())
    scores = [(own.score, other.score) for own, other in both if own.score is not None and other.score is not None]
    if len(scores) == len(both):
        agreement = pearson([own for own, _ in scores], [other for _, other in scores])
        difference = statistics.fmean(own - other for own, other in scores) if scores else None
        return Standing(judge, missing, agreement, difference, None, result(rest))
    kappa = cohen_kappa([own.choice for own, _ in both], [other.choice for _, other in both])
    same = statistics.fmean(own.choice == other.choice for own, other in both)
    return Standing(judge, missing, kappa, None, same, result(rest))


def result(verdicts: Mapping[str, Verdict]) -> float | None:
    """The mean score, or for pairs the win rate of the first candidate (tie and inconsistent 0.5); None of nothing."""
    worth = {"win": 1.0, "loss": 0.0}
    values = [
        verdict.score if verdict.score is not None else worth.get(str(verdict.choice), 0.5)
        for verdict in verdicts.values()
        if verdict.scored
    ]
    return statistics.fmean(values) if values else None


def disagreements(votes: Ballots) -> list[tuple[str, float]]:
    """Items by how much the judges differ, most first: a queue for people to label.

    The measure is the standard deviation of the scores, or the share of judges outside the largest group.
    """
    items = dict.fromkeys(item for verdicts in votes.values() for item in verdicts)
    found = [(item, _spread([v[item] for v in votes.values() if item in v and v[item].scored])) for item in items]
    return sorted((one for one in found if one[1] > 0), key=lambda one: -one[1])


def _spread(verdicts: Sequence[Verdict]) -> float:
    if len(verdicts) < 2:
        return 0.0
    scores = [verdict.score for verdict in verdicts if verdict.score is not None]
    if len(scores) == len(verdicts):
        return statistics.pstdev(scores)
    return 1.0 - Counter(verdict.choice for verdict in verdicts).most_common(1)[0][1] / len(verdicts)
