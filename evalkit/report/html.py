"""Python values in, HTML text out: every text is escaped and shown as it is, every element is built by one function.

    tag("p", "a < b", class_="note")   →   <p class="note">a &lt; b</p>

Only `Html` is inserted unchanged, and only `tag`, `join` and `trusted` make it. There are no style attributes and no
event handlers: the page's Content-Security-Policy would refuse them.
"""

from collections.abc import Iterable
from html import escape

from evalkit.visible import visible

_VOID = {"br", "col", "hr", "input", "link", "meta"}


class Html(str):
    """Markup that is inserted unchanged."""

    __slots__ = ()


Child = str | int | Html | None | Iterable["Child"]
Attribute = str | int | float | bool | None


def tag(name: str, *children: Child, **attributes: Attribute) -> Html:
    """One element.

    Args:
        name: the element's name.
        children: texts (escaped; invisible characters are shown), Html, or iterables of those; None is left out.
        attributes: `class_` becomes `class`, `data_value` becomes `data-value`; True stands alone, None and False
            are left out.
    """
    opening = f"<{name}{''.join(_attribute(key, value) for key, value in attributes.items())}>"
    return Html(opening if name in _VOID else f"{opening}{join(children)}</{name}>")


def join(children: Iterable[Child]) -> Html:
    """Children one after the other."""
    return Html("".join(_child(child) for child in children))


def trusted(markup: str) -> Html:
    """Markup that evalkit itself wrote, such as a drawing; never anything that came from data."""
    return Html(markup)


def _child(child: Child) -> str:
    if child is None:
        return ""
    if isinstance(child, Html):
        return child
    if isinstance(child, (str, int)):
        return escape(visible(str(child)), quote=False)
    return join(child)


def _attribute(key: str, value: Attribute) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(visible(str(value)))}"'
