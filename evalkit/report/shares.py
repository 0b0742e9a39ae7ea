"""Shares from 0 to 1 and other estimates in, words and table cells with their intervals out."""

from evalkit.record import Metric
from evalkit.report.html import Html, tag
from evalkit.report.parts import cell
from evalkit.report.text import NOT_KNOWN, number
from evalkit.stats.intervals import Estimate


def percent(value: float | None) -> str:
    """A share: 64.1 %."""
    return NOT_KNOWN if value is None else f"{number(100 * value)}\u00a0%"


def plain(value: float | None) -> str:
    """A coefficient or a score with two digits."""
    return number(value, 2)


def ends(low: float | None, high: float | None, *, as_percent: bool = True) -> str:
    """An interval: 58.0 to 70.2; that of a share within 0 to 100, for Student's t knows nothing of the range."""
    if low is None or high is None:
        return "no interval"
    if not as_percent:
        return f"{plain(low)} to {plain(high)}"
    return f"{number(100 * max(low, 0.0))} to {number(100 * min(high, 1.0))}"


def estimate_cell(
    found: Estimate | Metric | None, bar: Html | None = None, *, lost: str = "", class_: str = "number"
) -> Html:
    """A share with its interval and count; a dash where there is none."""
    if found is None or found.value is None:
        return cell(NOT_KNOWN)
    return cell(
        tag("span", percent(found.value), class_="value"),
        bar,
        tag("span", f"{ends(found.low, found.high)}, n = {found.n:,}{lost}", class_="small"),
        value=found.value,
        class_=class_,
    )
