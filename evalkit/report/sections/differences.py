"""The forest plot: every candidate's paired difference from its baseline, with its interval, on one axis."""

from evalkit.report.html import Html, tag
from evalkit.report.parts import Column, Part, cell, change_mark, model_name, note, row, table
from evalkit.report.svg import difference_axis, difference_bar
from evalkit.report.view import View
from evalkit.report.words import Finding, findings


def differences(view: View) -> Part | None:
    """Paired differences of all tasks; None where nothing is compared."""
    found = [finding for finding in findings(view) if finding.pair.result.difference.value is not None]
    if not found:
        return None
    reach = max(_reach(finding) for finding in found) or 1.0
    columns = [
        Column("Task and model", numeric=False),
        Column("Difference, normalised: in % of the scale", numeric=False, sortable=False),
        Column("Points"),
        Column("Samples better / same / worse", sortable=False),
        Column("p"),
    ]
    rows = [_row(view, finding, reach) for finding in found]
    axis = tag(
        "tr",
        tag("th", "Axis", scope="row", class_="axis-cell"),
        tag("td", difference_axis(100 * reach)),
        tag("td", colspan=3),
        class_="fixed",
    )
    body = (
        note(
            "To the right of the line the candidate is better than the baseline, to the left it is worse. The bars are "
            "normalised: in % of the width of each task's scale. Points are those of the task's own scale."
        ),
        table("Candidate minus baseline on the same samples", columns, [*rows, axis], class_="forest"),
    )
    return Part("differences", "What changed", body)


def _share(finding: Finding, value: float | None) -> float | None:
    """A difference as a share of the scale, positive where the candidate is better."""
    scale = finding.task.scale
    if value is None:
        return None
    width = scale.width or abs(finding.pair.result.baseline or 0) or 1.0
    return value / width * (1 if scale.higher_is_better else -1)


def _reach(finding: Finding) -> float:
    difference = finding.pair.result.difference
    ends = [_share(finding, value) for value in (difference.value, difference.low, difference.high)]
    return 1.05 * max(abs(end) for end in ends if end is not None)


def _row(view: View, finding: Finding, reach: float) -> Html:
    comparison = finding.pair.result
    difference = comparison.difference
    bar = difference_bar(
        reach,
        _share(finding, difference.value) or 0.0,
        (_share(finding, difference.low), _share(finding, difference.high)),
        finding.pair.change,
    )
    better, worse = finding.better_and_worse
    same = difference.n - better - worse
    unpaired = finding.pair.unpaired
    left_out = tag("span", f"{unpaired:,} scored by one only", class_="small warning") if unpaired else None
    return row(
        (tag("a", finding.task.name, href=f"#{finding.task.key}"), " ", model_name(view, finding.cell.model)),
        cell(bar, class_="plot"),
        cell(
            tag("span", finding.difference, " ", change_mark(finding.pair.change), class_="value"),
            tag("span", finding.interval, class_="small"),
            value=difference.value,
        ),
        cell(f"{better:,} / {same:,} / {worse:,}", left_out),
        cell(p_value(comparison.p_change), tag("span", comparison.method, class_="small"), value=comparison.p_change),
        value=finding.task.name,
    )


def p_value(p: float | None) -> str:
    """A p-value as papers print it."""
    if p is None:
        return "–"
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"
