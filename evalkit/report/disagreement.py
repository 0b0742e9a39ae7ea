"""Several judges of the same responses in, the samples on which they disagree out.

Judges with scores disagree where these lie a quarter of the scale apart, each measured on its own scale; judges of
pairs where they name different winners. A judge without a verdict disagrees with nobody.
"""

from collections.abc import Iterator, Mapping

from evalkit.report.cell import Cell, Other
from evalkit.report.scale import Scale, scale_of
from evalkit.report.view import TaskView

NOTABLE = 0.25
"""Share of the scale by which scores of two judges differ where they count as disagreeing."""


def disagreements(task: TaskView) -> frozenset[str]:
    """Ids of the samples that the judges of a task see differently."""
    if task.kind != "scored":
        return frozenset(_split_verdicts(task))
    return frozenset(sample for cell in task.cells if cell.others for sample in _split_scores(cell, task.scale))


def is_judged_twice(task: TaskView) -> bool:
    """Whether any sample of a task has more than one judge."""
    return len(task.cells) > 1 if task.kind != "scored" else any(cell.others for cell in task.cells)


def other_scores(other: Other) -> Mapping[str, float]:
    """What another judge gave, averaged over repeats."""
    values = other.run.scores(other.run.manifest.primary)
    return {sample: sum(found) / len(found) for sample, found in values.items()}


def _split_verdicts(task: TaskView) -> Iterator[str]:
    for sample in task.sample_ids:
        if len({cell.marks[sample].words for cell in task.cells if sample in cell.marks}) > 1:
            yield sample


def _split_scores(cell: Cell, scale: Scale) -> Iterator[str]:
    others = [(other_scores(other), scale_of([other.run])) for other in cell.others]
    for sample, score in cell.scores.items():
        shares = [scale.share(score), *(own.share(given[sample]) for given, own in others if sample in given)]
        known = [share for share in shares if share is not None]
        if len(known) > 1 and max(known) - min(known) >= NOTABLE:
            yield sample
