"""What a report answers, in words."""

from dataclasses import dataclass

from evalkit.report.pair import Change


@dataclass(frozen=True)
class Answer:
    """What is said of one candidate."""

    headline: str
    rest: tuple[str, ...]
    change: Change
    """The colour of the answer: worse where anything is worse, better where anything is better, else unclear."""

    def __str__(self) -> str:
        return " ".join([self.headline, *self.rest])
