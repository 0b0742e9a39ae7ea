"""A review and a reviewer in, its overview out: progress, agreement with intervals, and the items scored so far."""

from collections.abc import Sequence

from starlette.responses import HTMLResponse, Response

from evalkit.record import Metric, Run
from evalkit.report.html import Child, Html, join, tag
from evalkit.report.text import NOT_KNOWN, number, plural
from evalkit.review.agreement import Agreement, PairAgreement
from evalkit.review.items import Item
from evalkit.review.pages import ReviewPages, link
from evalkit.review.queue import Labelled, is_disputed, scored_values
from evalkit.review.session import Review
from evalkit.stats.intervals import Estimate
from evalkit.web.pages import Frame, hidden, table

MAX_LISTED = 500
"""Items in the list; a longer one is read from the export."""


class OverviewPages:
    """The overview of one review."""

    def __init__(self, review: Review, frame: Frame, pages: ReviewPages) -> None:
        self._review = review
        self._frame = frame
        self._pages = pages

    def overview(self, reviewer: str, *, written: Sequence[str] = ()) -> Response:
        """The whole page."""
        labelled = self._review.labelled()
        export = self._frame.form(
            "/export", hidden(reviewer=reviewer), tag("button", "Export beside the run", class_="main")
        )
        note = tag("p", "Written: ", ", ".join(written), role="status", class_="last") if written else None
        body = (
            note,
            tag("h1", "Overview"),
            tag("div", self._figures(labelled), id="live", data_from=link("/overview/live", reviewer)),
            tag("h2", "Export"),
            tag("div", export, tag("a", "Download as JSONL", href="/labels.jsonl"), class_="line"),
            tag("p", f"Every score is in {self._review.path.name} from the moment it is given.", class_="note"),
            tag("h2", "Your items"),
            self._list(reviewer, labelled),
        )
        return self._frame.page("Overview", *body, links=self._pages.links(reviewer, labelled))

    def live(self) -> Response:
        """The part of the page that changes with every label."""
        return HTMLResponse(self._figures(self._review.labelled()))

    def _figures(self, labelled: Labelled) -> Html:
        return join([self._progress(labelled), self._agreement(self._review.agreement()), self._corrected()])

    def _progress(self, labelled: Labelled) -> Html:
        scored = sum(bool(scored_values(labels)) for labels in labelled.values())
        disputed = sum(
            is_disputed(item, scored_values(labelled.get(item.key, {})), self._review.scale)
            for item in self._review.items
        )
        names = sorted({name for labels in labelled.values() for name in labels})
        people = []
        for name in names:
            own = [labels[name] for labels in labelled.values() if name in labels]
            skipped = sum(label.value is None for label in own)
            people.append((name, f"{len(own) - skipped:,}", f"{skipped:,}"))
        total = plural(len(self._review.items), "item")
        words = tag("p", f"{scored:,} of {total} have a score; on {disputed:,} there is disagreement.")
        return join([words, table("Reviewers", ("reviewer", "scored", "skipped"), people) if people else None])

    def _agreement(self, found: Agreement) -> Html:
        head = ("between", "items", "same label", "κ (95 %)", "α (95 %)")
        lines = [_line(f"{one.first} and {one.second}", one) for one in (*found.reviewers, *found.judges)]
        shared = plural(found.alpha.n, "shared item")
        alpha = f"All reviewers together: Krippendorff's α {interval(found.alpha)} on {shared}."
        none = tag("p", "No two raters share an item yet.", class_="note")
        raters = table("Agreement", head, lines) if lines else none
        return join([tag("h2", "Agreement"), tag("p", alpha), raters])

    def _corrected(self) -> Html | None:
        lines = [
            (run.manifest.model, interval(_judge_mean(run), 1), interval(estimate, 1), f"{estimate.n:,}")
            for run, estimate in self._review.corrected()
        ]
        if not lines:
            return None
        head = ("judged run of", "mean by the judge", "mean by people, estimated", "labels")
        return join([tag("h2", "What people would say of all responses"), table("Judge-corrected means", head, lines)])

    def _list(self, reviewer: str, labelled: Labelled) -> Html:
        """Items this reviewer has scored; those of others would not be blind any more."""
        own = [item for item in self._review.items if reviewer in labelled.get(item.key, {})]
        if not own:
            return tag("p", "None yet.", class_="note")
        disputed = {
            item.key for item in own if is_disputed(item, scored_values(labelled[item.key]), self._review.scale)
        }
        own.sort(key=lambda item: item.key not in disputed)
        lines = [self._item_line(item, reviewer, labelled, item.key in disputed) for item in own[:MAX_LISTED]]
        more = f"{len(own) - MAX_LISTED:,} more are in the export." if len(own) > MAX_LISTED else None
        listed = table("Your items, disputed ones first", ("item", "prompt", "scores", "judge", "state"), lines)
        return join([listed, tag("p", more, class_="note") if more else None])

    def _item_line(self, item: Item, reviewer: str, labelled: Labelled, disputed: bool) -> tuple[Child, ...]:
        scores = "; ".join(f"{name}: {self._pages.said(item, label)}" for name, label in labelled[item.key].items())
        judge = "; ".join(f"{verdict.source}: {verdict.shown}" for verdict in item.verdicts) or NOT_KNOWN
        name = tag("a", item.sample, href=link(f"/item/{item.key}", reviewer))
        return (name, self._pages.short(item), scores, judge, "disputed" if disputed else _state(item, labelled))


def _state(item: Item, labelled: Labelled) -> str:
    """How an item stands about which nobody disagrees."""
    given = scored_values(labelled[item.key])
    return "skipped" if not given else "agreed" if len(given) + len(item.verdicts) > 1 else "one score"


def _judge_mean(run: Run) -> Metric:
    return run.manifest.metrics.overall[run.manifest.primary]


def _line(name: str, one: PairAgreement) -> tuple[str, ...]:
    same = NOT_KNOWN if one.same is None else f"{100 * one.same:.0f} %"
    return (name, f"{one.items:,}", same, interval(one.kappa), interval(one.alpha))


def interval(estimate: Estimate | Metric, digits: int = 2) -> str:
    """A value with its bounds, on one line however narrow the table is."""
    if estimate.value is None or estimate.low is None:
        return number(estimate.value, digits)
    bounds = f"[{number(estimate.low, digits)}, {number(estimate.high, digits)}]"
    return f"{number(estimate.value, digits)} {bounds}".replace(" ", "\N{NO-BREAK SPACE}")
