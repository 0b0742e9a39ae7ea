"""Labels as people give them in, the labels that hold now out; every one is on the disk before the page answers.

Nothing is overwritten: a later label of the same item by the same reviewer counts instead of the earlier one, and an
undone one stays in the file, marked. The same form sent twice is one label.
"""

import json
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from evalkit.digest import digest
from evalkit.web.database import Database

LAYOUT = 1
_TABLES = """
CREATE TABLE IF NOT EXISTS labels (
    number INTEGER PRIMARY KEY, submission TEXT NOT NULL UNIQUE, item TEXT NOT NULL, scale TEXT NOT NULL,
    reviewer TEXT NOT NULL, value REAL, note TEXT NOT NULL, tags TEXT NOT NULL, shown TEXT NOT NULL,
    seconds REAL, given REAL NOT NULL, undone REAL
);
CREATE INDEX IF NOT EXISTS labels_of_item ON labels (scale, item, reviewer);
"""
_COLUMNS = "item, reviewer, value, note, tags, shown, seconds, given, number"
_CURRENT = f"""
SELECT {_COLUMNS} FROM labels
WHERE number IN (SELECT max(number) FROM labels WHERE undone IS NULL AND scale = ? GROUP BY item, reviewer)
"""  # noqa: S608 - names of columns
_CURRENT_OF_ONE = f"""
SELECT {_COLUMNS} FROM labels WHERE scale = ? AND item = ? AND reviewer = ? AND undone IS NULL
ORDER BY number DESC LIMIT 1
"""  # noqa: S608 - names of columns


@dataclass(frozen=True)
class GivenLabel:
    """What one person says of one item."""

    item: str
    reviewer: str
    value: float | None
    """On the scale of the review; None is a skipped item."""
    note: str = ""
    tags: tuple[str, ...] = ()
    shown: str = ""
    """Of a pair the order shown, "ab" or "ba"."""
    seconds: float | None = None
    """Between opening the item and the label."""
    given: float = 0.0
    """Unix time."""


class LabelStore:
    """The labels of one review; may be open in several processes. Raises RecordError where the disk refuses.

    What holds is kept in memory beside the file, one label at a time: a page of many labels reads none of them again.
    """

    def __init__(self, path: Path, scale: str) -> None:
        self.path = path
        self.scale = scale
        self._database = Database(path, _TABLES, layout=LAYOUT)
        self._lock = threading.Lock()
        self._current: dict[tuple[str, str], tuple[int, GivenLabel]] = {}
        self._version: int | None = None

    def add(self, label: GivenLabel, submission: str) -> bool:
        """Keep a label; False where this very form was kept before."""
        content = [submission, label.item, label.reviewer, label.value, label.note, list(label.tags)]
        with self._database.write() as connection:
            cursor = connection.execute(
                "INSERT OR IGNORE INTO labels VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)",
                (
                    digest(content),
                    label.item,
                    self.scale,
                    label.reviewer,
                    label.value,
                    label.note,
                    json.dumps(label.tags),
                    label.shown,
                    label.seconds,
                    time.time(),
                ),
            )
        self._look_again(label.item, label.reviewer)
        return cursor.rowcount > 0

    def undo(self, reviewer: str) -> GivenLabel | None:
        """Take back the reviewer's last label; what it was, or None where there is none."""
        with self._database.write() as connection:
            found = connection.execute(
                f"SELECT {_COLUMNS} FROM labels "  # noqa: S608 - names of columns
                "WHERE reviewer = ? AND scale = ? AND undone IS NULL ORDER BY number DESC LIMIT 1",
                (reviewer, self.scale),
            ).fetchone()
            if found is None:
                return None
            connection.execute("UPDATE labels SET undone = ? WHERE number = ?", (time.time(), found[-1]))
        label = _label(found)
        self._look_again(label.item, reviewer)
        return label

    def labels(self) -> list[GivenLabel]:
        """The labels that hold, in the order they were given."""
        with self._lock:
            # Changes when another process wrote, not when this connection did.
            version = int(self._database.read("PRAGMA data_version")[0][0])
            if version != self._version:
                self._current = {}
                for line in self._database.read(_CURRENT, (self.scale,)):
                    self._remember(line)
                self._version = version
            return [label for _, label in sorted(self._current.values(), key=itemgetter(0))]

    def _look_again(self, item: str, reviewer: str) -> None:
        """Bring what is in memory up to date after this store wrote."""
        with self._lock:
            self._current.pop((item, reviewer), None)
            for line in self._database.read(_CURRENT_OF_ONE, (self.scale, item, reviewer)):
                self._remember(line)

    def _remember(self, line: tuple[object, ...]) -> None:
        label = _label(line)
        self._current[label.item, label.reviewer] = (int(str(line[-1])), label)

    def close(self) -> None:
        """Close the file."""
        self._database.close()


def by_item(labels: Iterable[GivenLabel]) -> dict[str, dict[str, GivenLabel]]:
    """{item: {reviewer: label}}."""
    found: dict[str, dict[str, GivenLabel]] = {}
    for label in labels:
        found.setdefault(label.item, {})[label.reviewer] = label
    return found


def _label(line: tuple[object, ...]) -> GivenLabel:
    item, reviewer, value, note, tags, shown, seconds, given, _ = line
    return GivenLabel(
        str(item),
        str(reviewer),
        None if value is None else float(str(value)),
        str(note),
        tuple(json.loads(str(tags))),
        str(shown),
        None if seconds is None else float(str(seconds)),
        float(str(given)),
    )
