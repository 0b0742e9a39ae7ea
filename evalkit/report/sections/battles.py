"""Head to head: how often each model wins against each other, and the ratings that follow, with intervals."""

from collections.abc import Sequence

from evalkit.arena.voted_runs import PEOPLE
from evalkit.report.duels import EVEN, Duel, Meeting, Tournament, duels, tournaments
from evalkit.report.html import Html, tag
from evalkit.report.parts import Column, Part, cell, change_mark, diverging, note, row, samples_link, table
from evalkit.report.shares import ends, percent
from evalkit.report.svg import interval_bar
from evalkit.report.text import NOT_KNOWN, number, plural
from evalkit.report.view import View
from evalkit.stats.intervals import Estimate


def battles(view: View) -> Part | None:
    """Win matrices and ratings, one of each for every judge; None where no models met."""
    found = tournaments(view)
    if not found:
        return None
    return Part("battles", "Head to head", [_tournament(view, one) for one in found])


def duel_table(view: View) -> Html | None:
    """Every pair of models with its win rate; None where there is none."""
    found = duels(view)
    if not found:
        return None
    columns = [Column("First against second", numeric=False), Column("The first wins"), Column("Judge", numeric=False)]
    columns += [Column("Win / tie / loss", sortable=False), Column("Orders disagree"), Column("No verdict")]
    rows = [_duel(view, one) for one in found]
    caption = "Head to head: how often the first model wins, with 95 % intervals; 50 % is even"
    return table(caption, columns, rows, class_="duels")


def _duel(view: View, duel: Duel) -> Html:
    metric = duel.win_rate
    if metric is None or metric.value is None:
        value = cell(NOT_KNOWN)
    else:
        limits = (metric.low, metric.high)
        value = cell(
            tag("span", f"{number(100 * metric.value)} %", " ", change_mark(duel.change), class_="value"),
            interval_bar((0.0, 1.0), metric.value, limits, _index(view, duel.first), middle=EVEN),
            tag("span", f"{ends(metric.low, metric.high)}, n = {metric.n:,} pairs", class_="small"),
            value=metric.value,
        )
    verdicts = " / ".join(percent(duel.share(kind)) for kind in ("win", "tie", "loss"))
    lost = metric.unscored if metric else 0
    disagree = duel.share("inconsistent")
    return row(
        tag("a", f"{duel.first} against {duel.second}", href=samples_link(duel.task.key)),
        value,
        cell(duel.judge, class_="words"),
        cell(verdicts if duel.share("win") is not None else NOT_KNOWN),
        cell(percent(disagree), value=disagree),
        cell(plural(lost, "pair"), value=lost),
        value=duel.task.name,
    )


def _index(view: View, model: str) -> int:
    """The mark of a model, where it has one."""
    return view.model_index(model) if model in view.models else 0


def _tournament(view: View, one: Tournament) -> Html:
    warnings = [warning.rstrip(".") for warning in one.standings.warnings]
    return tag(
        "article",
        tag("h3", "Votes of people" if one.judge == PEOPLE else f"Judged by {one.judge}, rubric “{one.rubric}”"),
        tag("div", _ratings(view, one), _matrix(view, one), class_="columns"),
        note(f"To know: {'; '.join(warnings)}.") if warnings else None,
    )


def _ratings(view: View, one: Tournament) -> Html:
    axis = _axis([standing.rating for standing in one.standings.models])
    columns = [Column("Model", numeric=False), Column("Rank"), Column("Rating", numeric=True), Column("Verdicts")]
    rows = [
        row(
            view.short.get(standing.model, standing.model),
            cell(str(standing.rank), value=standing.rank),
            _rating(standing.rating, axis, place),
            cell(f"{standing.rating.n:,}", value=standing.rating.n),
        )
        for place, standing in enumerate(one.standings.models)
    ]
    caption = f"Bradley–Terry ratings of {plural(one.standings.battles, 'verdict')}, with 95 % intervals"
    separable = one.standings.separability
    words = "Verdicts on one prompt count as dependent. A rank counts the models whose whole interval lies above."
    told = f" {100 * separable:.0f} % of the pairs of models are told apart." if separable is not None else ""
    return tag("div", table(caption, columns, rows, class_="ratings"), note(words + told))


def _axis(ratings: Sequence[Estimate]) -> tuple[float, float]:
    ends = [end for one in ratings for end in (one.value, one.low, one.high) if end is not None]
    low, high = min(ends, default=0.0), max(ends, default=1.0)
    margin = 0.05 * (high - low) or 1.0
    return low - margin, high + margin


def _rating(rating: Estimate, axis: tuple[float, float], place: int) -> Html:
    if rating.value is None:
        return cell(NOT_KNOWN)
    words = "no interval: the verdicts set no limit"
    if rating.low is not None and rating.high is not None:
        words = f"{number(rating.low, 0)} to {number(rating.high, 0)}"
    return cell(
        tag("span", number(rating.value, 0), class_="value"),
        interval_bar(axis, rating.value, (rating.low, rating.high), place),
        tag("span", words, class_="small"),
        value=rating.value,
    )


def _matrix(view: View, one: Tournament) -> Html:
    models = [standing.model for standing in one.standings.models]
    names = [view.short.get(model, model) for model in models]
    columns = [Column("Row against column", numeric=False, sortable=False)]
    columns += [Column(name, sortable=False) for name in names]
    rows = [
        row(name, *(_met(one.meetings.get((model, other)), one) for other in models))
        for model, name in zip(models, names, strict=True)
    ]
    kind = "shares of verdicts" if one.soft else "verdicts won, tied and lost"
    return tag("div", table(f"Win matrix: share of the verdicts that the row wins, ties half; {kind}", columns, rows))


def _met(meeting: Meeting | None, one: Tournament) -> Html:
    if meeting is None or not meeting.total:
        return cell(NOT_KNOWN)
    counts = f"{meeting.won:,.0f} / {meeting.tied:,.0f} / {meeting.lost:,.0f}"
    if one.soft:
        counts = f"of {meeting.total:,.0f}"
    return cell(
        tag("span", f"{number(100 * meeting.share)} %", class_="value"),
        tag("span", counts, class_="small"),
        value=meeting.share,
        class_=diverging(2 * (meeting.share - EVEN)),
    )
