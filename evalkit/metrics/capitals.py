"""Turns a text in Latin capitals into the code of its language as the `langdetect` package has it.

IFEval asks that package whether a text in capitals is English. It skips words in capitals but for their first letters
and their last pairs, so that it takes one such text in ten for German or Vietnamese. Scores as published need the same
verdicts; its method and the part of its statistics that capitals touch (`capital_ngrams.txt`) are reproduced, with
the seed 0 where it draws at random.
Source: Nakatani Shuyo, "Language Detection Library for Java", 2010; langdetect 1.0.9.
"""

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

_TABLE = Path(__file__).with_name("capital_ngrams.txt")
_MAIL = re.compile(r"[-_.0-9A-Za-z]{1,64}@[-_0-9A-Za-z]{1,255}[-_.0-9A-Za-z]{1,255}")
_LONGEST = 10_000
_ORDER = 3
_TRIALS = 7
_SMOOTHING, _SPREAD, _BASE = 0.5, 0.05, 10_000
_SURE = 0.99999
_MOST_DRAWS = 1000
_LEAST = 0.1
"""A language less likely than this is not named."""
_BEYOND_LATIN = "\u0300"
_BLANKS = "\u00a0\u00ab\u00b0\u00bb"

Chances = npt.NDArray[np.float64]


def fits(text: str) -> bool:
    """Whether a text has letters and they are Latin capitals only."""
    letters = [character for character in text if character.isalpha()]
    return bool(letters) and all(letter.isupper() and letter < _BEYOND_LATIN for letter in letters)


def detect(text: str) -> str | None:
    """The language of a text in capitals; "unknown" where none is likely, None where nothing tells."""
    languages, table = _statistics()
    groups = [group for group in _groups(_MAIL.sub(" ", text)[:_LONGEST]) if group in table]
    if not groups:
        return None
    chances = _chances(groups, table, len(languages))
    best = int(np.argmax(chances))
    return languages[best] if chances[best] > _LEAST else "unknown"


def _groups(text: str) -> Iterator[str]:
    """Groups of one to three characters within words, those inside a run of capitals left out."""
    recent, run = " ", False
    for character in text:
        letter = _plain(character)
        last = recent[-1]
        if last == " ":
            recent, run = " ", False
            if letter == " ":
                continue
        else:
            recent = recent[-2:]
        recent += letter
        run = letter.isupper() and (run or last.isupper())
        if not run:
            yield from (recent[-size:] for size in range(1, min(_ORDER, len(recent)) + 1))


def _plain(character: str) -> str:
    if character.isascii():
        return character if character.isalpha() else " "
    return " " if character in _BLANKS or "\u2000" <= character <= "\u206f" else character


def _chances(groups: Sequence[str], table: Mapping[str, Chances], languages: int) -> Chances:
    """Mean over trials of the probability of each language, groups drawn until one is sure."""
    draw = random.Random(0)
    total = np.zeros(languages)
    for _ in range(_TRIALS):
        chances = np.full(languages, 1 / languages)
        smoothing = (_SMOOTHING + draw.gauss(0.0, 1.0) * _SPREAD) / _BASE
        for turn in range(_MOST_DRAWS + 1):
            chances = chances * (smoothing + table[draw.choice(groups)])
            if turn % 5 == 0:
                chances = chances / chances.sum()
                if chances.max() > _SURE:
                    break
        total += chances / _TRIALS
    return total


@cache
def _statistics() -> tuple[list[str], dict[str, Chances]]:
    """The languages, and the frequency of each group in each of them."""
    rows = [line.split(" ") for line in _TABLE.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    table: dict[str, Chances] = {}
    for place, (_, *cells) in enumerate(rows):
        sizes = [int(cell) for cell in cells[:_ORDER]]
        for cell in cells[_ORDER:]:
            name, _, count = cell.rpartition("=")
            group = name.replace("_", " ")
            table.setdefault(group, np.zeros(len(rows)))[place] = int(count) / sizes[len(group) - 1]
    return [language for language, *_ in rows], table
