"""The frame of the sample browser: filters, list and the window for one sample; page.js fills them from the data.

The data itself is packed after every other section is written, because it gets what is left of the byte budget.
"""

from collections.abc import Sequence

from evalkit.report.disagreement import NOTABLE, is_judged_twice
from evalkit.report.html import Child, Html, tag
from evalkit.report.parts import Part, note
from evalkit.report.view import View

OUTCOMES = (
    ("all", "all"),
    ("right", "right"),
    ("wrong", "wrong"),
    ("unscored", "unscored"),
)
CHANGES = (
    ("all", "any or none"),
    ("changed", "changed between models"),
    ("lost", "lost against the baseline"),
    ("won", "won against the baseline"),
    ("same", "unchanged"),
)
JUDGES = (
    ("all", "agreeing or not"),
    ("differ", "disagree"),
    ("agree", "agree"),
)
SORTS = (
    ("order", "as in the data"),
    ("loss", "largest loss first"),
    ("gain", "largest gain first"),
    ("low", "lowest score first"),
    ("high", "highest score first"),
    ("id", "by id"),
)
_DISAGREE = (
    f"Judges disagree where their scores lie {NOTABLE:.0%} of the scale or more apart, each measured on its own scale, "
    "or where they name different winners."
)


def browser(view: View) -> Part:
    """The sample browser, empty."""
    body = (
        tag("p", id="carried", class_="note"),
        tag("p", id="meaning", class_="note"),
        note(_DISAGREE) if any(map(is_judged_twice, view.tasks)) else None,
        tag("noscript", tag("p", "The sample browser needs JavaScript; everything above does not.", class_="note")),
        _filters(view),
        tag("p", id="count", role="status", class_="small"),
        tag("div", id="list", class_="list", role="list", aria_label="Samples"),
        tag("div", id="printed", class_="printed"),
        _window(),
    )
    return Part("samples", "Samples", body)


def _filters(view: View) -> Html:
    return tag(
        "div",
        _field(
            "Search",
            tag(
                "input",
                id="search",
                type="search",
                placeholder="words in prompt, response, judge's words",
                autocomplete="off",
            ),
        ),
        _field("Task", _select("task", [(task.key, task.name) for task in view.tasks])),
        _field("Result", _select("outcome", OUTCOMES)),
        _field("Change", _select("change", CHANGES)),
        _field("Judges", _select("judges", JUDGES)),
        _field("Of", _select("model", [("", "any model")])),
        _field("Tag or subject", _select("tag", [("", "any")])),
        _field("Sort", _select("sort", SORTS)),
        tag("button", "Export as JSONL", id="export", type="button"),
        class_="filters",
        role="search",
        aria_label="Filter samples",
    )


def _field(name: str, control: Html) -> Html:
    return tag("label", tag("span", name), control)


def _select(identity: str, options: Sequence[tuple[str, str]]) -> Html:
    return tag("select", (tag("option", words, value=value) for value, words in options), id=identity)


def _window() -> Html:
    buttons: list[Child] = [
        tag("button", "‹ Previous", id="previous", type="button"),
        tag("button", "Next ›", id="next", type="button"),
        tag("a", "Link to this sample", id="link", href="#samples"),
        tag("label", tag("input", id="diff", type="checkbox", checked=True), " mark differences from the first"),
        tag("button", "Close", id="close", type="button"),
    ]
    return tag(
        "dialog",
        tag("div", buttons, class_="buttons"),
        tag("h3", id="sample-title", tabindex=-1),
        tag("div", id="sample"),
        id="window",
        aria_labelledby="sample-title",
    )
