"""A View in, the data of the sample browser out: a small index that is read at once, and texts in compressed chunks.

The page must stay small enough to mail. Every sample that is wrong, unscored or changed between models is carried; of
the others as large a share as the byte budget allows, drawn with a fixed seed, and texts are cut where even that is
too much. `Carried` says exactly what was left out, so that the page can say it too.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evalkit.report.disagreement import disagreements
from evalkit.report.outcome import is_changed, is_wrong
from evalkit.report.packing import Block, Encoded, encode_task, expected_sizes, pack_block, packed_size, ratio_of
from evalkit.report.view import TaskView, View

TEXT_LIMITS = (20_000, 8_000, 4_000, 2_000, 1_000, 700, 500, 250)
"""Characters carried of any one text; the next is taken where the telling samples alone would be too much."""
_TRIED = 600
"""Samples written out to learn how large those of a task become under a limit."""
_SAFETY = 0.96
_SEED = 20260101


@dataclass(frozen=True)
class Share:
    """What the page carries of one task."""

    total: int
    telling: int
    """Samples that are wrong, unscored, changed or judged differently."""
    carried: int
    telling_carried: int


@dataclass(frozen=True)
class Carried:
    """The browser's data, ready for the page."""

    blocks: tuple[Block, ...]
    """One for each task."""
    shares: Mapping[str, Share]
    """By task key."""
    beside: Mapping[str, frozenset[str]]
    """Sample ids that are not in the page, or with a text that was cut there, by task key."""
    text_limit: int

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return packed_size(self.blocks)

    @property
    def cut(self) -> int:
        """Texts that were cut at the limit."""
        return sum(sum(block.cut.values()) for block in self.blocks)


Telling = Mapping[str, frozenset[str]]
"""Ids of the samples that matter, by task key."""


@dataclass(frozen=True)
class _Plan:
    """How much is carried: the samples of every task as JSON, and how many of the ranked ones are to fit."""

    encoded: Mapping[str, Encoded]
    limit: int
    keep: int


def carry(view: View, budget: int) -> Carried:
    """Choose and pack samples so that the browser's data takes at most `budget` bytes."""
    telling = {task.key: frozenset(_telling(task)) for task in view.tasks}
    ranked = _by_importance(view, telling)
    plan = _plan(view, ranked, telling, budget)
    keep = plan.keep
    while True:
        carried = _pack(view, ranked[:keep], telling, plan)
        if carried.size <= budget or keep == 0:
            return carried
        keep = int(keep * min(_SAFETY * budget / carried.size, 0.95))


def _plan(view: View, ranked: Sequence[tuple[str, str]], telling: Telling, budget: int) -> _Plan:
    """Write all samples under the largest limit that lets the telling ones in, and count how many fit."""
    plan = _Plan({}, 0, 0)
    for limit in _limits(view, telling, budget):
        encoded = {task.key: encode_task(task, limit) for task in view.tasks}
        room = _SAFETY * budget / ratio_of([text for one in encoded.values() for text in one.texts.values()])
        plan = _Plan(encoded, limit, _fitting(ranked, encoded, room))
        if plan.keep >= sum(map(len, telling.values())):
            break
    return plan


def _limits(view: View, telling: Telling, budget: int) -> Sequence[int]:
    """The limits worth trying: those under which the telling samples should fit, or else the smallest."""
    totals = [0.0] * len(TEXT_LIMITS)
    for task in view.tasks:
        wanted = sorted(telling[task.key])
        tried = wanted[:: max(1, len(wanted) // _TRIED)]
        if tried:
            sizes = expected_sizes(task, tried, TEXT_LIMITS)
            totals = [total + size * len(wanted) / len(tried) for total, size in zip(totals, sizes, strict=True)]
    fitting = [limit for limit, total in zip(TEXT_LIMITS, totals, strict=True) if total <= _SAFETY * budget]
    return fitting or TEXT_LIMITS[-1:]


def _fitting(ranked: Sequence[tuple[str, str]], encoded: Mapping[str, Encoded], room: float) -> int:
    """How many of the ranked samples have no more than `room` characters of JSON together."""
    for number, (key, sample) in enumerate(ranked):
        room -= len(encoded[key].texts[sample])
        if room < 0:
            return number
    return len(ranked)


def _by_importance(view: View, telling: Telling) -> list[tuple[str, str]]:
    """(task key, sample id) of every sample: the telling ones first, each part in a seeded random order."""
    everything = [(task.key, sample) for task in view.tasks for sample in task.sample_ids]
    random.Random(_SEED).shuffle(everything)
    return sorted(everything, key=lambda pair: pair[1] not in telling[pair[0]])


def _telling(task: TaskView) -> Iterator[str]:
    scale, split = task.sample_scale, disagreements(task)
    for sample in task.sample_ids:
        scores = [entry.scores[sample] for entry in task.cells if sample in entry.scores]
        unscored = any(row.unscored for entry in task.cells for row in entry.rows.get(sample, ()))
        wrong = any(is_wrong(score, scale) for score in scores)
        if unscored or wrong or is_changed(scores, scale) or sample in split:
            yield sample


def _pack(view: View, kept: Sequence[tuple[str, str]], telling: Telling, plan: _Plan) -> Carried:
    chosen: dict[str, set[str]] = {task.key: set() for task in view.tasks}
    for key, sample in kept:
        chosen[key].add(sample)
    blocks: list[Block] = []
    beside: dict[str, frozenset[str]] = {}
    for task in view.tasks:
        samples = [sample for sample in task.sample_ids if sample in chosen[task.key]]
        blocks.append(pack_block(task, view, plan.encoded[task.key], samples))
        beside[task.key] = frozenset(task.sample_ids) - chosen[task.key] | frozenset(blocks[-1].cut)
    shares = {task.key: _share(task, chosen[task.key], telling[task.key]) for task in view.tasks}
    return Carried(tuple(blocks), shares, beside, plan.limit)


def _share(task: TaskView, chosen: set[str], telling: frozenset[str]) -> Share:
    return Share(len(task.sample_ids), len(telling), len(chosen), len(chosen & telling))
