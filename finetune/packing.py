"""Rows of a batch in, a token trie out: a prefix that several rows share is computed once.

The nodes of the trie stand one after the other; a node attends to its ancestors only (`finetune.attention`) and has
the position that it has in its own row. So every learned position sees exactly what it sees in a row of its own, and
loss and gradient are those of the padded batch. Where attention over one long sequence would cost more than the
sharing saves, the rows go into several tries, which are padded to one length.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import torch

from finetune.collate import Batch
from finetune.tokenize import IGNORED, Row

# Attention computes length × 4 × width multiplications per token and layer, the rest 24 × width²; masked attention
# runs at about a quarter of the speed of a matrix product.
_ATTENTION_COST = 4 * 4 / 24


@dataclass
class Trie:
    """Nodes in the order of their rows; each list has one entry per node but `targets`."""

    ids: list[int] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    """The node after the last one below each node: what lies between descends from it."""
    targets: Counter[tuple[int, int]] = field(default_factory=Counter)
    """(node, token that follows) → how many rows learn it there."""


def build_trie(rows: Sequence[Row]) -> Trie:
    """The trie of rows that are sorted by their ids."""
    trie = Trie()
    path: list[int] = []
    previous: tuple[int, ...] = ()
    for row in rows:
        shared = common_prefix(previous, row.ids)
        start = len(trie.ids)
        trie.ids.extend(row.ids[shared:])
        trie.positions.extend(range(shared, len(row.ids)))
        trie.ends.extend([0] * (len(row.ids) - shared))
        path = [*path[:shared], *range(start, len(trie.ids))]
        for node in path:
            trie.ends[node] = len(trie.ids)
        trie.targets.update((node, label) for node, label in zip(path, row.labels, strict=True) if label != IGNORED)
        previous = row.ids
    return trie


def pack(rows: Sequence[Row], width: int | None) -> Batch:
    """Pack rows for a model of hidden size `width`, in as many tries as cost least.

    None packs them into one trie: for attention that does no work for what a node does not see.
    """
    ordered = sorted(rows, key=lambda row: row.ids)
    tries = [build_trie(group) for group in ([ordered] if width is None else _groups(ordered, width))]
    length = max(len(trie.ids) for trie in tries)
    ids = torch.zeros((len(tries), length), dtype=torch.long)
    positions = torch.zeros_like(ids)
    # Padding sees itself: a row of nothing but masked scores would be NaN in some attention kernels.
    ends = torch.arange(1, length + 1).repeat(len(tries), 1)
    where: list[int] = []
    for i, trie in enumerate(tries):
        for values, filled in ((trie.ids, ids), (trie.positions, positions), (trie.ends, ends)):
            filled[i, : len(values)] = torch.tensor(values)
        where.extend(i * length + node for node, _ in trie.targets)
    labels = [label for trie in tries for _, label in trie.targets]
    weights = [float(count) for trie in tries for count in trie.targets.values()]
    learned = (torch.tensor(where, dtype=torch.long), torch.tensor(labels), torch.tensor(weights))
    return Batch(ids, None, *learned, positions=positions, ends=ends)


def common_prefix(left: Sequence[int], right: Sequence[int]) -> int:
    """How many tokens two rows begin with in common."""
    count = 0
    for a, b in zip(left, right, strict=False):
        if a != b:
            break
        count += 1
    return count


def _groups(rows: Sequence[Row], width: int) -> list[list[Row]]:
    """Divide sorted rows into neighbouring groups, one per trie, at the least estimated cost."""
    shared = [0, *(common_prefix(a.ids, b.ids) for a, b in pairwise(rows))]
    longest = max(len(row.ids) for row in rows)
    whole = sum(len(row.ids) - common for row, common in zip(rows, shared, strict=True))
    capacities = sorted({whole, *(max(longest, -(-whole // parts)) for parts in (2, 3, 4, 6, 8, 12, 16, 32)), longest})
    plans = [_fill(rows, shared, capacity) for capacity in capacities]
    _, cuts = min(plans, key=lambda plan: _cost(plan[0], width))
    bounds = [*cuts, len(rows)]
    return [list(rows[a:b]) for a, b in pairwise(bounds)]


def _fill(rows: Sequence[Row], shared: Sequence[int], capacity: int) -> tuple[list[int], list[int]]:
    """Nodes of each trie, and the index of its first row, when no trie may hold more than `capacity` nodes."""
    sizes: list[int] = []
    cuts: list[int] = []
    for index, row in enumerate(rows):
        added = len(row.ids) - shared[index]
        if not sizes or sizes[-1] + added > capacity:
            sizes.append(len(row.ids))
            cuts.append(index)
        else:
            sizes[-1] += added
    return sizes, cuts


def _cost(sizes: Sequence[int], width: int) -> float:
    """Work of a forward pass, in tokens."""
    length = max(sizes)
    return len(sizes) * length * (1 + _ATTENTION_COST * length / width)
