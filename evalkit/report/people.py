"""Judged Runs that say how people scored the same responses in, how far each judge scores as they do out."""

from dataclasses import dataclass

from evalkit.judge.audit.people import FEWEST, ScoreCard, score_card, shares_in
from evalkit.record import Run
from evalkit.report.kinds import judge_name, kind_of
from evalkit.report.marks import attacked_rubric
from evalkit.report.scale import Scale, scale_of
from evalkit.report.shares import ends, plain
from evalkit.report.text import plural
from evalkit.report.view import View


@dataclass(frozen=True)
class Graded:
    """One judge against people on the responses of one model."""

    judge: str
    """The name shown."""
    model: str
    """Whose responses; the name shown."""
    task: str
    """The key of the task, for links."""
    run: Run
    card: ScoreCard
    scale: Scale
    """The judge's, on which means are told."""

    @property
    def words(self) -> str:
        """What people's scores say of the judge, in a sentence."""
        found = self.card.spearman
        of = f"of {plural(self.card.labelled, 'response')} by {self.model} that people scored"
        if found.value is None or found.low is None:
            seen = "" if found.value is None else f": rank correlation {plain(found.value)} without an interval"
            return f"Whether {self.judge} scores as people do cannot be told {of}{seen}."
        rank = f"rank correlation {plain(found.value)} ({ends(found.low, found.high, as_percent=False)})"
        if found.low > 0:
            return f"{self.judge} ranks as people do: {rank} {of}."
        return f"{self.judge} is not proven to rank as people do: {rank} {of}."


def graded(view: View) -> list[Graded]:
    """One for every judged Run with enough responses that people and the judge scored."""
    found = []
    for task in view.scored:
        for cell in task.cells:
            shares = shares_in(cell.run) if cell.run.manifest.judge is not None else {}
            both = [row for row in cell.run.rows if row.id in shares and row.unscored is None and "score" in row.scores]
            if len({row.id for row in both}) >= FEWEST and kind_of(cell.run) == "scored":
                card = score_card([(cell.run, shares)], attacked_rubric(cell.run))
                judge = view.short[judge_name(cell.run.manifest.judge)]
                found.append(Graded(judge, cell.model, task.key, cell.run, card, scale_of([cell.run])))
    return found
