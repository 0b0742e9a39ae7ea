"""SQuAD 2.0's best scores and average precisions without each question in, their jackknife errors' raw material out.

Leaving a question out moves every later sum of the sweep by what the question added to it, so all of them come from
one pass and its running maxima. The statistics themselves are `squad.score_v2` and `squad.average_precision_v2`; the
place of the best threshold jumps from question to question and has no such error.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sweep:
    """The questions of version 2.0, the surest answer first; every column has shape (n,).

    `score` is exact match or F1, 0 to 1, `answerable` and `answered` are 0 or 1.
    """

    score: Floats
    answerable: Floats
    answered: Floats
    chance: Floats
    order: npt.NDArray[np.intp]
    """Place of each of these among the questions as they were given."""


def sweep(
    scores: Mapping[str, float],
    answerable: Mapping[str, bool],
    answers: Mapping[str, str],
    chances: Mapping[str, float],
) -> Sweep:
    """The questions in the order of the official sweep: by the probability of "no answer", equals as they are given.

    Args:
        scores: exact match or F1 by question id, 0 to 1.
        answerable: whether a question has an answer.
        answers: the model's answer, "" for none.
        chances: probability of "no answer", in the order of its file.
    """
    keys = sorted(chances, key=lambda key: chances[key])
    place = {key: number for number, key in enumerate(scores)}
    return Sweep(
        np.array([scores[key] for key in keys], dtype=np.float64),
        np.array([answerable[key] for key in keys], dtype=np.float64),
        np.array([bool(answers[key]) for key in keys], dtype=np.float64),
        np.array([chances[key] for key in keys], dtype=np.float64),
        np.array([place[key] for key in keys], dtype=np.intp),
    )


def best_without(questions: Sweep) -> Floats:
    """The best score over all thresholds, 0 to 100, without each question, in the order they were given."""
    gains = np.where(questions.answerable > 0, questions.score, -questions.answered)
    silent = 1 - questions.answerable
    totals = silent.sum() + np.concatenate([[0.0], np.cumsum(gains)])
    before = np.maximum.accumulate(totals)[:-1]
    after = np.maximum.accumulate(totals[::-1])[::-1][1:]
    best = np.maximum(before, after - gains) - silent
    return _as_given(questions, 100 * best / max(len(gains) - 1, 1))


def average_precision_without(questions: Sweep) -> Floats:
    """The average precision, 0 to 100, without each question; NaN where no answerable one is left."""
    hits = questions.score * questions.answerable
    right, rank = np.cumsum(hits), np.arange(1, len(hits) + 1, dtype=np.float64)
    ends = np.flatnonzero(np.append(questions.chance[1:] != questions.chance[:-1], True))
    own = np.searchsorted(ends, np.arange(len(hits)))
    at_end, count = right[ends], rank[ends]
    rise = np.diff(at_end, prepend=0.0)
    one_fewer = np.maximum(count - 1, 1.0)
    earlier = np.concatenate([[0.0], np.cumsum(at_end / count * rise)])[own]
    later = _sums_behind(at_end / one_fewer * rise)[own] - hits * _sums_behind(rise / one_fewer)[own]
    within = (at_end[own] - hits) / one_fewer[own] * (rise[own] - hits)
    positives = questions.answerable.sum() - questions.answerable
    area = np.where(positives > 0, (earlier + within + later) / np.where(positives > 0, positives, 1.0), np.nan)
    return _as_given(questions, 100 * area)


def _sums_behind(values: Floats) -> Floats:
    """For each value the sum of those behind it."""
    return np.asarray(values.sum() - np.cumsum(values), np.float64)


def _as_given(questions: Sweep, values: Floats) -> Floats:
    found = np.empty(len(values))
    found[questions.order] = values
    return found
