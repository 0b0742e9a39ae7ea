"""When a sample counts as wrong and when as changed: the two words the page filters by."""

from collections.abc import Sequence

from evalkit.report.scale import Scale

CHANGED = 0.1
"""A graded score counts as changed where two models differ by at least this share of the scale."""


def is_wrong(score: float, scale: Scale) -> bool:
    """Below the middle of the scale: 0 of right and wrong, under 50 of 100."""
    if scale.middle is None:
        return False
    return score < scale.middle if scale.higher_is_better else score > scale.middle


def least_change(scale: Scale) -> float:
    """The smallest difference that counts as a change; 0 where any does."""
    return CHANGED * scale.width if scale.width is not None and not scale.binary else 0.0


def is_changed(scores: Sequence[float], scale: Scale) -> bool:
    """Whether models differ on a sample: at all for right or wrong, by a tenth of the scale for graded scores."""
    spread = max(scores) - min(scores) if scores else 0.0
    return spread > 0 and spread >= least_change(scale)


def describe(scale: Scale) -> str:
    """The two words, for the reader of a task with this scale."""
    if scale.middle is None:
        return "Changed, lost and won mean any difference in score."
    if scale.binary:
        return "Wrong means a score of 0; changed, lost and won mean right with one model and wrong with another."
    middle = f"{scale.with_unit(scale.middle)}{f', the middle {scale.words}' if scale.low else ''}"
    side = "below" if scale.higher_is_better else "above"
    return (
        f"Wrong means {side} {middle}; changed, lost and won mean a difference of at least "
        f"{scale.show(CHANGED * (scale.width or 0))} points."
    )
