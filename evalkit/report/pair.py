"""What a candidate's comparison with its baseline decides."""

from dataclasses import dataclass
from typing import Literal

from evalkit.compare import Comparison
from evalkit.report.scale import Scale
from evalkit.stats.paired import PairedComparison, equivalence_p

ALPHA = 0.05
EQUIVALENT = 0.03
"""Two models count as unchanged where the difference is proven to be less than this share of the scale."""

Change = Literal["better", "worse", "unchanged", "unclear"]


@dataclass(frozen=True)
class Pair:
    """A candidate against the baseline of its task, on the samples both have scored."""

    result: PairedComparison
    change: Change
    """Proven at 5 % (after Holm's correction over all comparisons of the report), or not."""
    unpaired: int
    """Samples that only one of the two has scored."""


def make_pair(comparison: Comparison, scale: Scale) -> Pair:
    """A comparison with its decision."""
    return Pair(comparison.result, _decide(comparison, scale), comparison.unpaired)


def _decide(comparison: Comparison, scale: Scale) -> Change:
    value, p = comparison.result.difference.value, comparison.p_adjusted
    if p is not None and p <= ALPHA and value:
        return "better" if (value > 0) == scale.higher_is_better else "worse"
    if scale.width is None:
        return "unclear"
    equivalence = equivalence_p(comparison.result, EQUIVALENT * scale.width)
    return "unchanged" if equivalence is not None and equivalence <= ALPHA else "unclear"
