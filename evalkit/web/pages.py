"""Parts of a page in, an HTML response out: the frame, forms that carry the site's token, and the files they load.

Text that came from a model or a person goes through `tag`, which escapes it and shows invisible characters.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.routing import Route

from evalkit.errors import EvalkitError
from evalkit.report.html import Attribute, Child, Html, join, tag
from evalkit.visible import visible
from evalkit.web.guard import TOKEN_FIELD, Site

MAX_SHOWN = 200_000
"""Characters of one text on a page; more would make the browser stand still."""
_HERE = Path(__file__).parent


@dataclass(frozen=True)
class Frame:
    """What all pages of one site share."""

    site: Site
    name: str
    """Shown beside the links at the top."""
    scripts: tuple[str, ...] = ()
    """Names of more scripts that the pages load, from `static_routes`."""

    def page(self, title: str, *body: Child, links: Child = None, status: int = 200) -> Response:
        """A whole page; `links` stand at its top."""
        head = tag(
            "head",
            tag("meta", charset="utf-8"),
            tag("meta", name_="viewport", content="width=device-width, initial-scale=1"),
            tag("meta", name_="color-scheme", content="light dark"),
            tag("title", f"{title} · {self.name}"),
            tag("link", rel="icon", href="/static/icon.svg", type="image/svg+xml"),
            tag("link", rel="stylesheet", href="/static/web.css"),
            [tag("script", src=f"/static/{name}", defer=True) for name in ("web.js", *self.scripts)],
        )
        top = tag("header", tag("strong", self.name), tag("nav", links, aria_label="Pages"), class_="top")
        skip = tag("a", "Skip to the content", href="#main", class_="skip")
        body_ = tag("body", skip, top, tag("main", *body, id="main", tabindex="-1"))
        return HTMLResponse("<!doctype html>" + tag("html", head, body_, lang="en"), status_code=status)

    def form(self, action: str, *children: Child, **attributes: Attribute) -> Html:
        """A form that is posted to this site."""
        token = tag("input", type="hidden", name_=TOKEN_FIELD, value=self.site.form_token)
        return tag("form", token, *children, method="post", action=action, **attributes)

    async def fault(self, request: Request, error: Exception) -> Response:
        """The page that says what is wrong."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        words = error.detail if isinstance(error, HTTPException) else str(error)
        return self.page(
            "Something is wrong",
            tag("h1", "Something is wrong"),
            tag("p", words, role="alert"),
            tag("p", tag("a", "To the start", href="/")),
            status=status,
        )

    def handlers(self) -> dict[type[Exception], object]:
        """Exception handlers for the application."""
        return {HTTPException: self.fault, EvalkitError: self.fault}


def static_routes(*files: Path) -> list[Route]:
    """Routes of the shared style sheet, script and icon, and of more files, under /static/."""
    return [_static(path) for path in (*(_HERE / name for name in ("web.css", "web.js", "icon.svg")), *files)]


def _static(path: Path) -> Route:
    def answer(_: Request) -> Response:
        return FileResponse(path)

    return Route(f"/static/{path.name}", answer)


def hidden(**fields: str) -> Html:
    """Hidden form fields."""
    return join(tag("input", type="hidden", name_=name, value=value) for name, value in fields.items())


def shown_text(text: str, **attributes: Attribute) -> Html:
    """A text as it was written; of a very long one the beginning, and how much is left out."""
    if not text.strip():
        return tag("p", "(an empty text)" if not text else "(only white space)", class_="note")
    cut = len(text) - MAX_SHOWN
    note = tag("p", f"{cut:,} more characters are not shown.", class_="note") if cut > 0 else None
    return join([tag("pre", text[:MAX_SHOWN], class_="text", **attributes), note])


def field_of(request: Request, name: str, *, limit: int = 20_000) -> str:
    """One value of the posted form, stripped; HTTPException 400 where it is too long."""
    value = str(request.state.form.get(name, [""])[0]).strip()
    if len(value) > limit:
        raise HTTPException(400, f"{visible(name)} has {len(value):,} characters; at most {limit:,} can be sent.")
    return value


def table(caption: str, head: Sequence[str], lines: Sequence[Sequence[Child]]) -> Html:
    """A table that scrolls by itself where it is wider than the page; the first column names the line."""
    top = tag("thead", tag("tr", (tag("th", one, scope="col") for one in head)))
    rows = (tag("tr", tag("th", line[0], scope="row"), (tag("td", cell) for cell in line[1:])) for line in lines)
    whole = tag("table", tag("caption", caption), top, tag("tbody", rows))
    return tag("div", whole, class_="scroll", tabindex="0", role="region", aria_label=caption)
