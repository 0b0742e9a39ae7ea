"""MMLU's files as its authors publish them (CSV without a header line) in, checked questions out."""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evalkit.errors import DataError, UsageError

LETTERS = "ABCD"


@dataclass(frozen=True)
class Question:
    """One line of an MMLU file."""

    text: str
    choices: tuple[str, ...]
    """Four of them."""
    answer: str
    """A, B, C or D; empty where it is not known to who asks."""


def read_questions(path: Path) -> Iterator[Question]:
    """Yield the questions of one file. Every cell is text: a choice "None" or "NA" is a choice."""
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for number, row in enumerate(csv.reader(stream, strict=True), start=1):
                yield _question(path, number, row)
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file; an MMLU folder holds one for each subject") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(path, f"not a UTF-8 CSV file ({error})") from None


def _question(path: Path, line: int, row: list[str]) -> Question:
    if len(row) != 6:
        raise DataError(
            path, f"question, A, B, C, D and the letter expected; this line has {len(row)} cells", line=line
        )
    answer = row[5].strip()
    if answer not in set(LETTERS):
        raise DataError(path, f"the last cell must be A, B, C or D; here it is {row[5]!r}", line=line)
    return Question(row[0], tuple(row[1:5]), answer)
