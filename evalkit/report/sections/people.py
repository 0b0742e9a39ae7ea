"""A judge's scores against people's: do they rank alike, who is kinder, and what people would have given to all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evalkit.report.html import Child, Html, tag
from evalkit.report.parts import Column, cell, note, row, samples_link, table
from evalkit.report.people import Graded
from evalkit.report.scale import Scale
from evalkit.report.shares import ends, percent, plain
from evalkit.report.svg import interval_bar
from evalkit.report.text import NOT_KNOWN
from evalkit.stats.intervals import Estimate


@dataclass(frozen=True)
class _Measure:
    """One line of the table."""

    name: str
    help: str
    value: Callable[[Graded], Estimate]
    axis: tuple[float, float] = (0.0, 1.0)
    middle: Callable[[Graded], float | None] = lambda _: None
    """What to compare with: chance, or a judge that does not read."""
    kind: str = "percent"
    """"percent", "plain" (a coefficient), or on the judge's scale "score" or "difference"."""


_BOTH = (-1.0, 1.0)
_MEASURES = (
    _Measure("Ranks as people do", "Spearman's rank correlation: 0 is chance, 1 is perfect",
             lambda one: one.card.spearman, _BOTH, lambda _: 0.0, "plain"),
    _Measure("Scores as people do", "Pearson's correlation", lambda one: one.card.pearson, _BOTH, lambda _: 0.0,
             "plain"),
    _Measure("Judge minus people", "above 0 the judge is too kind", lambda one: one.card.difference, _BOTH,
             lambda _: 0.0, "difference"),
    _Measure("Passes and fails as people do", "upper half of the scale is a pass; the line: always the commoner",
             lambda one: one.card.accuracy, middle=lambda one: one.card.constant_accuracy),
    _Measure("Cohen's kappa of pass and fail", "agreement beyond chance", lambda one: one.card.kappa, _BOTH,
             lambda _: 0.0, "plain"),
    _Measure("Passes what people pass", "sensitivity", lambda one: one.card.sensitivity),
    _Measure("Fails what people fail", "specificity", lambda one: one.card.specificity),
    _Measure("Mean by the judge", "of all responses", lambda one: one.card.judge_mean, kind="score"),
    _Measure("Mean by people, by way of the judge", "what people would have given to all responses",
             lambda one: one.card.corrected_mean, kind="score"),
    _Measure("Passes by people, by way of the judge", "what people would have passed of all responses",
             lambda one: one.card.corrected_pass),
)  # fmt: skip


def people(found: Sequence[Graded]) -> Html:
    """The card of every judge whose scores people checked."""
    columns = [Column("Measure", numeric=False, sortable=False)]
    columns += [Column((one.judge, tag("span", f"on {one.model}", class_="small")), sortable=False) for one in found]
    rows: list[Child] = [_line(measure, found) for measure in _MEASURES]
    links = [tag("a", one.model, href=samples_link(one.task)) for one in found]
    return tag(
        "article",
        tag("h3", "Does it score as people do?"),
        table("A judge's scores against people's of the same responses, with 95 % intervals", columns, rows,
              class_="card"),
        note(
            "What people would have given to all responses holds where those they scored are a random draw, as the "
            "review page hands them out. The samples: ",
            [part for link in links for part in (link, " ")],
        ),
    )  # fmt: skip


def _line(measure: _Measure, found: Sequence[Graded]) -> Html:
    head = (measure.name, tag("span", measure.help, class_="small"))
    return row(head, *(_cell(measure, one, place) for place, one in enumerate(found)))


def _cell(measure: _Measure, one: Graded, place: int) -> Html:
    estimate = measure.value(one)
    if estimate.value is None:
        return cell(NOT_KNOWN, tag("span", "not known", class_="small"))
    value, interval = _shown(measure, one.scale, estimate)
    return cell(
        tag("span", value, class_="value"),
        interval_bar(measure.axis, estimate.value, (estimate.low, estimate.high), place, middle=measure.middle(one)),
        tag("span", f"{interval}, n = {estimate.n:,}", class_="small"),
        value=estimate.value,
    )


def _shown(measure: _Measure, scale: Scale, estimate: Estimate) -> tuple[str, str]:
    """The value and its interval; shares of the scale are told in its own numbers."""
    low, high = estimate.low, estimate.high
    if measure.kind == "plain":
        return plain(estimate.value), ends(low, high, as_percent=False)
    if measure.kind == "percent" or scale.width is None:
        return percent(estimate.value), ends(low, high)
    width = scale.width
    start, show = (0.0, scale.difference) if measure.kind == "difference" else (scale.low, scale.show)
    value = show(start + width * (estimate.value or 0.0))
    if low is None or high is None:
        return value, "no interval"
    return value, f"{show(start + width * low)} to {show(start + width * high)}"
