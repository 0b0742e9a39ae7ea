"""The sections of a report, in the order of the page.

A section is one function: View → Part, or None where it has nothing to say. A view is the Runs, sorted into tasks and
paired with their baselines; `view.runs` are the Runs themselves. To add a section, write the function and list it here.
"""

from collections.abc import Callable

from evalkit.report.parts import Part
from evalkit.report.sections.battles import battles
from evalkit.report.sections.browser import browser
from evalkit.report.sections.differences import differences
from evalkit.report.sections.judges import judges
from evalkit.report.sections.leaks import leaks
from evalkit.report.sections.provenance import provenance
from evalkit.report.sections.tasks import tasks
from evalkit.report.sections.training import training
from evalkit.report.sections.work import work
from evalkit.report.view import View

Section = Callable[[View], Part | None]

SECTIONS: tuple[Section, ...] = (
    differences,
    battles,
    tasks,
    judges,
    training,
    leaks,
    browser,
    work,
    provenance,
)
