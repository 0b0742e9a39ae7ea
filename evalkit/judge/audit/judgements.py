"""Single verdicts of judges, from the rows of a judged Run or from files of recorded ones, in one small shape."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.errors import DataError
from evalkit.judge.audit.pairs import majority, read_objects
from evalkit.judge.pairwise import ORDER_FIELD, PAIR_FIELD, Winner
from evalkit.record import Row

HUMAN = "human"
"""The reviewer whose lines in a PRD file are the labels."""


@dataclass(frozen=True)
class Judgement:
    """What a judge said of a pair in one order, once."""

    pair: str
    order: str
    """"ab" where a was shown first, else "ba"."""
    winner: Winner | None
    """None where the judge reached no verdict."""
    repeat: int = 0

    @property
    def position(self) -> str | None:
        """Where the winner stood: "first" or "second", "tie", or None without a verdict."""
        if self.winner in {None, "tie"}:
            return self.winner
        return "first" if self.order[0] == self.winner else "second"


def from_rows(rows: Iterable[Row]) -> list[Judgement]:
    """The judgements in the rows of a pairwise Run."""
    return [
        Judgement(str(row.fields[PAIR_FIELD]), str(row.fields[ORDER_FIELD]), row.extra.get("winner"), row.repeat)
        for row in rows
    ]


def read_prd(path: Path) -> tuple[dict[str, list[Judgement]], dict[str, str]]:
    """Recorded verdicts in the layout of PRD's Vicuna-80 files.

    Each line has reviewer, question_id, model_1, model_2 (in the order shown) and score (1 first better, 2 second
    better, 3 tie). "a" is the model whose name comes first in the alphabet; a line given again is a repeat.

    Returns:
        The judgements of every judge, and the label of each pair that most people agreed on.

    Raises DataError (file, line) for a line of another layout.
    """
    judges: dict[str, list[Judgement]] = {}
    votes: dict[str, list[str]] = {}
    repeats: Counter[tuple[str, str, str]] = Counter()
    for number, content in enumerate(read_objects(path), start=1):
        try:
            reviewer, judgement = _prd_judgement(content)
        except (ValueError, KeyError):
            raise DataError(
                path, "not a PRD line with reviewer, question_id, model_1, model_2, score", line=number
            ) from None
        if reviewer == HUMAN:
            votes.setdefault(judgement.pair, []).append(str(judgement.winner))
        else:
            given = judges.setdefault(reviewer, [])
            seen = repeats[reviewer, judgement.pair, judgement.order]
            given.append(replace(judgement, repeat=seen))
            repeats[reviewer, judgement.pair, judgement.order] += 1
    labels = {pair: majority(cast) for pair, cast in votes.items()}
    return judges, {pair: label for pair, label in labels.items() if label is not None}


def _prd_judgement(content: Mapping[str, object]) -> tuple[str, Judgement]:
    shown = str(content["model_1"]), str(content["model_2"])
    order = "ab" if shown[0] < shown[1] else "ba"
    pair = "|".join((str(content["question_id"]), *sorted(shown)))
    by_score: tuple[Winner, Winner, Winner] = ("a", "b", "tie") if order == "ab" else ("b", "a", "tie")
    score = int(str(content["score"]))
    if score not in {1, 2, 3}:
        raise ValueError(score)
    return str(content["reviewer"]), Judgement(pair, order, by_score[score - 1])
