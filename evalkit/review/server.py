"""A review in, the application that serves it out: reading pages by GET, scores, undo and export by POST."""

import time

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response
from starlette.routing import Route

from evalkit.review.items import Item
from evalkit.review.overview import OverviewPages
from evalkit.review.pages import ReviewPages, link
from evalkit.review.session import Review
from evalkit.review.store import GivenLabel
from evalkit.visible import visible
from evalkit.web.guard import Site
from evalkit.web.pages import Frame, field_of, static_routes

_NAME_LIMIT = 60
_NOTE_LIMIT = 2000


def make_app(review: Review, site: Site) -> Starlette:
    """The application of one review; put `web.guard.Guard` around it."""
    handlers = _Handlers(review, Frame(site, "evalkit review"))
    routes = [
        Route("/", handlers.start),
        Route("/item/{key}", handlers.item),
        Route("/label", handlers.label, methods=["POST"]),
        Route("/undo", handlers.undo, methods=["POST"]),
        Route("/overview", handlers.overview),
        Route("/overview/live", handlers.live),
        Route("/export", handlers.export, methods=["POST"]),
        Route("/labels.jsonl", handlers.download),
        *static_routes(),
    ]
    return Starlette(routes=routes, exception_handlers=handlers.frame.handlers())  # type: ignore[arg-type]


class _Handlers:
    def __init__(self, review: Review, frame: Frame) -> None:
        self._review = review
        self.frame = frame
        self._pages = ReviewPages(review, frame)
        self._overview = OverviewPages(review, frame, self._pages)

    def start(self, request: Request) -> Response:
        """The next item of a reviewer, or the question who reviews."""
        reviewer = _name(request.query_params.get("reviewer", ""))
        if not reviewer:
            return self._pages.ask_name()
        last = request.query_params.get("last")
        item = self._review.queue.next_item(reviewer, self._review.labelled())
        return self._pages.done(reviewer, last=last) if item is None else self._pages.item(item, reviewer, last=last)

    def item(self, request: Request) -> Response:
        """One item, to look at again."""
        reviewer = _name(request.query_params.get("reviewer", ""))
        item = self._find(request.path_params["key"])
        if not reviewer:
            return self._pages.ask_name()
        return self._pages.item(item, reviewer, last=item.key)

    def label(self, request: Request) -> Response:
        """Keep a score or a skip, and go on."""
        item = self._find(field_of(request, "item"))
        reviewer = _posted_name(request)
        skipped = bool(field_of(request, "skip"))
        order = self._review.order(item, reviewer) if len(item.answers) > 1 else ""
        label = GivenLabel(
            item.key,
            reviewer,
            None if skipped else self._value(field_of(request, "value"), turned=order == "ba"),
            field_of(request, "note", limit=_NOTE_LIMIT),
            tuple(name for name in request.state.form.get("tag", ()) if name in self._review.tags),
            order,
            _seconds_since(field_of(request, "opened")),
        )
        self._review.add(label, field_of(request, "submission", limit=100))
        return _go(link("/", reviewer, last=item.key))

    def undo(self, request: Request) -> Response:
        """Take back the last score, and show its item again."""
        reviewer = _posted_name(request)
        label = self._review.undo(reviewer)
        item = None if label is None else self._review.item(label.item)
        if label is None or item is None:
            return _go(link("/", reviewer))
        return self._pages.item(item, reviewer, draft=label)

    def overview(self, request: Request) -> Response:
        """Progress and agreement."""
        reviewer = _name(request.query_params.get("reviewer", ""))
        return self._overview.overview(reviewer) if reviewer else self._pages.ask_name()

    def live(self, _: Request) -> Response:
        """The figures alone."""
        return self._overview.live()

    def export(self, request: Request) -> Response:
        """Write the labels beside the Runs."""
        written = self._review.export()
        names = [str(path) for path in written] or ["nothing: there is no score yet"]
        return self._overview.overview(_posted_name(request), written=names)

    def download(self, _: Request) -> Response:
        """The labels as a file."""
        name = f"labels-{self._review.scale.name}.jsonl"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return PlainTextResponse(self._review.text(), headers=headers, media_type="application/jsonl")

    def _find(self, key: str) -> Item:
        item = self._review.item(key)
        if item is None:
            raise HTTPException(404, "There is no such item in this review.")
        return item

    def _value(self, text: str, *, turned: bool) -> float:
        try:
            value = self._review.scale.read(text)
        except ValueError as error:
            raise HTTPException(400, f"That is no score on {self._review.scale.name}: {error}") from None
        return 1 - value if turned else value


def _name(text: str) -> str:
    """A reviewer's name as it is kept."""
    return visible(" ".join(text.split()))[:_NAME_LIMIT]


def _posted_name(request: Request) -> str:
    name = _name(field_of(request, "reviewer"))
    if not name:
        raise HTTPException(400, "The form does not say who reviews.")
    return name


def _seconds_since(text: str) -> float | None:
    try:
        spent = time.time() - float(text)
    except ValueError:
        return None
    return round(spent, 1) if 0 <= spent < 86_400 else None


def _go(address: str) -> Response:
    return RedirectResponse(address, status_code=303)
