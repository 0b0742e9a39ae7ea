"""What became of the data in, what a person should know out: one sentence each, before training and after it."""

from collections.abc import Iterator, Mapping
from typing import Any

_LEFT_OUT = {"too_long": "too long", "unaligned": "without a token boundary before the response"}


def data_notes(data: Mapping[str, Any]) -> Iterator[str]:
    """Entries that are not trained on, and why; `data` is `Prepared.describe_data()`."""
    entries = data["parts"]["train"]["entries"]
    for key, why in _LEFT_OUT.items():
        if data[key]:
            yield f"{data[key]} of {entries} training entries are left out: {why}"
    if data["trimmed"]:
        yield f"{data['trimmed']} of {entries} training entries are shortened: they were too long"
    missing = data["parts"]["val"]["entries"] - data["val_rows"]
    if missing:
        yield f"{missing} validation entries are left out: too long, or without a token boundary"


def leak_notes(summary: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Each pair of parts that share questions; `summary` is `LeakReport.summary()`."""
    for pair, counts in summary.items():
        if counts["exact"] or counts["near"]:
            part, _, known = pair.rpartition(" in ")
            verbatim = f"{counts['exact']} question{' stands' if counts['exact'] == 1 else 's stand'}"
            yield f"{part}: {verbatim} word for word in {known}, {counts['near']} nearly"
