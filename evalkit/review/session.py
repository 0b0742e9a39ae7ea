"""Runs and a label file in, one review out: its items, labels and queue, with what the pages ask of them."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.digest import digest
from evalkit.errors import UsageError
from evalkit.record import Run
from evalkit.review.agreement import Agreement, measure
from evalkit.review.items import Item, default_scale, make_items
from evalkit.review.labels import can_correct, export_labels, human_labels, judge_corrected_mean, labels_text
from evalkit.review.queue import Queue
from evalkit.review.scales import Scale, get_scale
from evalkit.review.store import GivenLabel, LabelStore, by_item
from evalkit.visible import visible

if TYPE_CHECKING:
    from evalkit.stats.intervals import Estimate

DEFAULT_TAGS = ("wrong fact", "format", "refusal", "incomplete", "off topic")
DEFAULT_OVERLAP = 30
"""Enough shared items for an interval of agreement that says something."""
LABELS_FILE = "labels.sqlite"
_PAUSE = 5
"""Agreement is measured during at most one part in this many of the time."""
FEWEST_FOR_MEAN = 2
"""Labels below which a corrected mean has no interval."""


@dataclass(frozen=True)
class ReviewOptions:
    """How to review."""

    scale: str | None = None
    """None takes the scale of the judge among the Runs, else 0-100."""
    guidelines: str | None = None
    """Text beside every item; None takes the scale's own."""
    tags: tuple[str, ...] = DEFAULT_TAGS
    overlap: int = DEFAULT_OVERLAP
    """How many items every reviewer scores."""
    seed: int = 0
    labels: Path | None = None
    """None keeps labels.sqlite in the first Run's folder."""


@dataclass(frozen=True)
class _Measured:
    labels: list[GivenLabel]
    agreement: Agreement
    corrected: "list[tuple[Run, Estimate]]"
    fresh_until: float


class Review:
    """One review, open. Raises UsageError where there is nothing to review, RecordError where the disk refuses."""

    def __init__(self, runs: Sequence[Run], options: ReviewOptions | None = None) -> None:
        options = options or ReviewOptions()
        self.runs = tuple(runs)
        self.scale: Scale = get_scale(options.scale) if options.scale else default_scale(runs)
        self.items = make_items(runs, self.scale, seed=options.seed)
        self.guidelines = options.guidelines or self.scale.guidelines
        self.tags = tuple(visible(tag) for tag in options.tags)
        self.queue = Queue(self.items, self.scale, overlap=options.overlap)
        self._seed = options.seed
        self._items: Mapping[str, Item] = {item.key: item for item in self.items}
        self._store = LabelStore(_labels_path(runs, options), self.scale.name)
        self._measured: _Measured | None = None
        self._measuring = threading.Lock()

    @property
    def path(self) -> Path:
        """Where the labels are kept."""
        return self._store.path

    def item(self, key: str) -> Item | None:
        """An item by its key."""
        return self._items.get(key)

    def labels(self) -> list[GivenLabel]:
        """The labels that hold and are about these items."""
        return [label for label in self._store.labels() if label.item in self._items]

    def labelled(self) -> dict[str, dict[str, GivenLabel]]:
        """The same as {item: {reviewer: label}}."""
        return by_item(self.labels())

    def order(self, item: Item, reviewer: str) -> str:
        """The order in which a reviewer sees the two responses of a pair: the same at every visit."""
        return "ba" if int(digest([self._seed, item.key, reviewer])[:2], 16) % 2 else "ab"

    def add(self, label: GivenLabel, submission: str) -> None:
        """Keep a label; the same form sent twice counts once."""
        self._store.add(label, submission)

    def undo(self, reviewer: str) -> GivenLabel | None:
        """Take back a reviewer's last label; what it was, or None."""
        return self._store.undo(reviewer)

    def agreement(self) -> Agreement:
        """How far people agree with each other and with the judges.

        Measured anew after a new label, but where measuring takes long not all the time.
        """
        return self._figures().agreement

    def corrected(self, *, fresh: bool = False) -> "list[tuple[Run, Estimate]]":
        """What people would have given on average to what each judge scored.

        As fresh as the agreement, or with `fresh` of all labels there are.
        """
        return self._figures(fresh=fresh).corrected

    def _figures(self, *, fresh: bool = False) -> _Measured:
        with self._measuring:
            labels = self.labels()
            known = self._measured
            if known is None or (known.labels != labels and (fresh or time.monotonic() > known.fresh_until)):
                started = time.monotonic()
                agreement = measure(self.items, by_item(labels), self.scale)
                corrected = self._correct(labels)
                spent = time.monotonic() - started
                known = self._measured = _Measured(labels, agreement, corrected, started + _PAUSE * spent)
            return known

    def _correct(self, labels: Sequence[GivenLabel]) -> "list[tuple[Run, Estimate]]":
        judged = [run for run in self.runs if can_correct(run, self.scale)]
        human = human_labels(self.items, labels, self.scale)
        found = [(run, judge_corrected_mean(run, human)) for run in judged]
        return [(run, estimate) for run, estimate in found if estimate.n >= FEWEST_FOR_MEAN]

    def export(self) -> list[Path]:
        """Write the labels beside the Runs; the files written."""
        return export_labels(self.runs, self.items, self.labels(), self.scale)

    def text(self) -> str:
        """The labels as JSONL."""
        return labels_text(self.items, self.labels(), self.scale)

    def close(self) -> None:
        """Close the label file."""
        self._store.close()


def _labels_path(runs: Sequence[Run], options: ReviewOptions) -> Path:
    if options.labels is not None:
        return options.labels
    folder = runs[0].path
    if folder is None:
        raise UsageError(f"run {runs[0].id} lies in no folder: say where to keep the labels with --labels")
    return folder / LABELS_FILE
