"""Values as a person reads them: numbers with the right number of digits, texts on one line."""

import math
from collections import Counter
from collections.abc import Sequence

NOT_KNOWN = "–"
MINUS = "−"


def one_line(text: str, limit: int) -> str:
    """The text on one line, cut with an ellipsis to at most `limit` characters."""
    line = " ".join(text[: 4 * limit].split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


def number(value: float | None, digits: int = 1) -> str:
    """A number with a real minus sign; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return NOT_KNOWN
    text = f"{value:,.{digits}f}"
    return text.replace("-", MINUS) if float(text.replace(",", "")) else f"{0:.{digits}f}"


def signed(value: float | None, digits: int = 1) -> str:
    """A difference, with its sign always."""
    text = number(value, digits)
    return f"+{text}" if value is not None and not text.startswith(MINUS) and text.strip("0.") else text


def compact(value: float) -> str:
    """A count that may be large: 950, 14,042, 3.2 M."""
    for size, unit in ((1e9, "G"), (1e6, "M")):
        if abs(value) >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """A time: 0.4 s, 43 s, 3 min 20 s, 2 h 05 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def share(part: float, whole: float) -> str:
    """A part of a whole in percent; a dash of nothing."""
    return f"{number(100 * part / whole)} %" if whole else NOT_KNOWN


def plural(count: int, noun: str, many: str | None = None) -> str:
    """A count with its noun: 1 sample, 14,042 samples."""
    return f"{count:,} {noun if count == 1 else many or noun + 's'}"


def listed(items: Sequence[str]) -> str:
    """Items in a sentence: a; a and b; a, b and c."""
    if len(items) < 2:
        return "".join(items)
    return f"{', '.join(items[:-1])} and {items[-1]}"


def short_names(names: Sequence[str]) -> dict[str, str]:
    """The shortest ending of each name, in whole path parts, that tells it from the others.

    "hf/./checkpoints/sft" and "hf/./checkpoints/base" become "sft" and "base"; the server in
    "openai/tiny@http://127.0.0.1:8000/v1" stays away where another part tells the names apart.
    """
    endings = {name: _endings(name) for name in dict.fromkeys(names)}
    counts = Counter(ending for candidates in endings.values() for ending in dict.fromkeys(candidates))
    return {name: next((e for e in found if counts[e] == 1), name) for name, found in endings.items()}


def _endings(name: str) -> list[str]:
    """What a name may be called, the shortest first."""
    model, at, server = name.partition("@http")
    parts = [part for part in model.split("/") if part] or [model]
    endings = ["/".join(parts[-length:]) for length in range(1, len(parts) + 1)]
    if at:
        endings.append(f"{parts[-1]}@{server.partition('://')[2].partition('/')[0]}")
    return endings
