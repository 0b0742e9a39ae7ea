"""Rows without a score: how many, why, and what was found instead. A fault of the system is never a score."""

from evalkit.report.html import Html, tag
from evalkit.report.parts import Column, cell, model_name, note, row, table
from evalkit.report.text import one_line, share
from evalkit.report.view import Cell, TaskView, View

WORDS = {
    "unparsable": "no score could be read from the reply",
    "conflicting": "the reply holds two different scores",
    "not_offered": "the reply is not one of the choices",
    "refused": "the model refused",
    "truncated": "cut off at the token limit",
    "empty": "nothing to score",
    "http": "the server failed",
    "timeout": "no reply in time",
    "too_long": "the prompt does not fit the model",
    "sandbox": "the sandbox failed",
    "leaked": "voted on after a model named itself",
}
"""Every reason in plain words."""


def unscored(view: View, task: TaskView) -> Html | None:
    """Unscored rows by reason; one line where there are none."""
    reasons = list(dict.fromkeys(reason for entry in task.cells for reason in entry.run.manifest.unscored))
    if not reasons:
        return note("Every response was scored.")
    columns = [Column("Why not scored", numeric=False), *(Column(model_name(view, c.model)) for c in task.cells)]
    columns.append(Column("For example", numeric=False, sortable=False))
    rows = [_row(task, reason) for reason in reasons]
    return table(f"{task.name}: responses without a score", columns, rows)


def _row(task: TaskView, reason: str) -> Html:
    head = (tag("strong", reason), tag("span", WORDS.get(reason, ""), class_="small"))
    return row(head, *(_count(entry, reason) for entry in task.cells), cell(_example(task, reason), class_="words"))


def _count(entry: Cell, reason: str) -> Html:
    count = entry.run.manifest.unscored.get(reason, 0)
    return cell(f"{count:,}", tag("span", share(count, len(entry.run.rows)), class_="small"), value=count)


def _example(task: TaskView, reason: str) -> str:
    found = (row.detail or row.response for c in task.cells for row in c.run.rows if row.unscored == reason)
    return one_line(next(found, ""), 120)
