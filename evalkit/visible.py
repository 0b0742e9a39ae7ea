"""Any text in, text that shows all that stands in it out: no invisible character, and no line that a CI would obey."""

import re

# C0 and C1 controls but tab and line feed, soft hyphen, bidirectional controls, zero-width and other format characters,
# line and paragraph separators, surrogates, variation selectors 1–16 stay (emoji), tags and the byte-order mark do not.
INVISIBLE = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200e\u200f\u2028-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f"
)
_INVISIBLE = re.compile(f"[{INVISIBLE}]")
_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\u0085\u2028\u2029]+")


def visible(text: str) -> str:
    """The text with every invisible or direction-changing character written out, for example as ⟨U+202E⟩."""
    return _INVISIBLE.sub(lambda match: f"⟨U+{ord(match.group()):04X}⟩", text)


def as_line(text: str) -> str:
    """The text as one visible line of a log, whoever wrote it.

    GitHub's runner obeys lines that begin with "::", after white space too, and "##[" anywhere.
    """
    line = visible(_BREAKS.sub(" ", text)).replace("##[", "## [")
    return f"| {line}" if line.lstrip().startswith(("::", "##")) else line
