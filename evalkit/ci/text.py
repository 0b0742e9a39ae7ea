"""Any text in, text that a CI log or an XML file can carry out: nothing invisible, nothing endless, no commands."""

import re

from evalkit.visible import as_line, visible

CUT = 2000
"""Characters of a response that CI shows; the report has the rest."""

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def cut(text: str, limit: int = CUT) -> str:
    """The beginning of a text, saying how much was left out."""
    return text if len(text) <= limit else f"{text[:limit]} … ({len(text) - limit:,} more characters)"


def for_xml(text: str, limit: int = CUT) -> str:
    """Text that XML 1.0 can hold: invisible characters written out, impossible ones gone."""
    # What is written out grows, so it is cut once more.
    return _NOT_XML.sub("", cut(visible(cut(text, limit)), limit + 40))


def for_log(text: str, limit: int = 500) -> str:
    """The beginning of a text as one line that no CI takes for a command, whatever stands in it."""
    return as_line(" ".join(cut(text, limit).split()))


def escape_data(text: str) -> str:
    """The message of a workflow command, escaped as the runner unescapes it (actions/toolkit `command.ts`)."""
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def escape_property(text: str) -> str:
    """A property of a workflow command, which a colon or a comma would end."""
    return escape_data(text).replace(":", "%3A").replace(",", "%2C")
