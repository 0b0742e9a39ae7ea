"""How a person scores: what can be given with which key, and how two scores are compared.

0-100       a number is typed               compared in bands of 20 points
1-5         keys 1 to 5
pass-fail   keys p and f                    pass is 1, fail 0
pairwise    keys a, b and t, names hidden   the first response's share of the win: 1, 0, or 0.5 for a tie
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from evalkit.errors import UsageError

ScaleName = Literal["0-100", "1-5", "pass-fail", "pairwise"]
Distance = Literal["nominal", "ordinal", "interval"]

_BAND = 20.0


@dataclass(frozen=True)
class Choice:
    """One thing that can be said with one key."""

    word: str
    value: float
    key: str
    shown: str


@dataclass(frozen=True)
class Scale:
    """A way of scoring."""

    name: ScaleName
    low: float
    high: float
    choices: tuple[Choice, ...]
    """Empty where a number is typed."""
    distance: Distance
    """How far two scores are apart, for Krippendorff's alpha."""
    dispute: float
    """From this difference on two scores disagree."""
    guidelines: str
    """What a reviewer is told where nobody wrote something better."""

    def read(self, text: str) -> float:
        """A posted value; ValueError where it is none of this scale."""
        for choice in self.choices:
            if choice.word == text:
                return choice.value
        if self.choices:
            raise ValueError(f"{text!r} is none of {', '.join(choice.word for choice in self.choices)}")
        value = float(text.replace(",", "."))
        if not self.low <= value <= self.high:
            raise ValueError(f"{text} is not between {self.low:g} and {self.high:g}")
        return value

    def show(self, value: float) -> str:
        """A value as people say it."""
        names = [choice.shown for choice in self.choices if choice.value == value]
        return names[0] if names else f"{value:g}"

    def band(self, value: float) -> float:
        """The label that kappa counts: the value itself, or its band of 20 points."""
        if self.name == "0-100":
            return min(value // _BAND, self.high / _BAND - 1)
        return value if self.name == "pairwise" else float(round(value))

    def from_share(self, share: float) -> float:
        """What a judge's score means here, given as a share of the judge's own scale."""
        if self.name == "pass-fail":
            return float(share >= 0.5)
        if self.name == "pairwise":
            return share
        return self.low + share * (self.high - self.low)

    def fits(self, low: float, high: float) -> bool:
        """Whether scores here can be told on a judge's scale: grades as other grades, a pass only as a pass."""
        if self.name == "pairwise":
            return False
        return (low, high) == (self.low, self.high) or (self.name != "pass-fail" and high > 1)

    def disagree(self, values: list[float]) -> bool:
        """Whether scores of one item are as far apart as a dispute."""
        return bool(values) and max(values) - min(values) >= self.dispute


_GOOD = "Judge what is said, not how long it is. Check facts you are not sure of. Do not guess who wrote it."
SCALES: Mapping[str, Scale] = {
    scale.name: scale
    for scale in (
        Scale(
            "0-100",
            0,
            100,
            (),
            "interval",
            25,
            "0 does not answer the prompt, 50 answers half of it or with a serious error, 100 could not be better.\n"
            + _GOOD,
        ),
        Scale(
            "1-5",
            1,
            5,
            tuple(Choice(str(n), float(n), str(n), str(n)) for n in range(1, 6)),
            "ordinal",
            2,
            "1 useless or wrong, 2 mostly wrong, 3 partly right, 4 right with small faults, 5 could not be better.\n"
            + _GOOD,
        ),
        Scale(
            "pass-fail",
            0,
            1,
            (Choice("pass", 1.0, "p", "Pass"), Choice("fail", 0.0, "f", "Fail")),
            "nominal",
            1,
            f"Pass: a person who asked this would be served. Fail: anything else.\n{_GOOD}",
        ),
        Scale(
            "pairwise",
            0,
            1,
            (
                Choice("a", 1.0, "a", "A is better"),
                Choice("b", 0.0, "b", "B is better"),
                Choice("tie", 0.5, "t", "Tie"),
            ),
            "nominal",
            0.5,
            f"Which response serves the person who asked better? Tie only where you would not mind which.\n{_GOOD}",
        ),
    )
}


def get_scale(name: str) -> Scale:
    """The scale of that name; UsageError where there is none."""
    if name not in SCALES:
        raise UsageError(f"unknown scale {name!r}: choose one of {', '.join(SCALES)}")
    return SCALES[name]
