"""Keys and values of the answers in progress: a slot for each, beside those whose prompts are of like length.

Slots of one group lie in one buffer, padded to the longest of them; were all in one, a single long prompt among short
ones would make every step read, and every slot hold, as much as it needs.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evalkit.engine.forward import KeyValues

# Slots grow by at least this many tokens at a time, and begin with room for as many, unless the answer is shorter.
_GROWTH = 128
# Prompts up to here are of like length; beyond, each group is twice as long as the one before.
_SHORT = 128


class SlotGroup:
    """Growing buffers for answers of like length; slot 0 … active-1 are in use."""

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._keys: dict[int, Tensor] = {}
        self._values: dict[int, Tensor] = {}

    @property
    def active(self) -> int:
        """Slots in use."""
        return len(self.lengths)

    def write(
        self, layers: Sequence[dict[int, KeyValues]], spans: Sequence[tuple[int, int]], most: Sequence[int]
    ) -> None:
        """Fills the slots after the active ones, one per answer; they count only once `lengths` says so.

        Args:
            layers: per answer, keys and values per layer, among which the answer's own lie.
            spans: where they lie; may be empty.
            most: per answer, how many more tokens it may hold.
        """
        longest = max(stop - start + min(more, _GROWTH) for (start, stop), more in zip(spans, most, strict=True))
        slots = self.active + len(spans)
        for slot, (known, (start, stop)) in enumerate(zip(layers, spans, strict=True), start=self.active):
            for layer, tokens in known.items() if stop > start else ():
                keys, values = self._room(layer, tokens, slots, longest)
                keys[slot, :, : stop - start] = tokens.keys[start:stop].transpose(0, 1)
                values[slot, :, : stop - start] = tokens.values[start:stop].transpose(0, 1)

    def _room(self, layer: int, like: KeyValues, slots: int, length: int) -> tuple[Tensor, Tensor]:
        """The buffers of a layer, [slots, key heads, tokens, size], with room for `length` tokens per slot."""
        keys = _grown(self._keys.get(layer), like.keys, slots, length)
        values = _grown(self._values.get(layer), like.values, slots, length)
        self._keys[layer], self._values[layer] = keys, values
        return keys, values

    def append(self, layer: int, key: Tensor, value: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Writes one token per active slot (not yet counted in `lengths`) and returns what each slot holds.

        Args:
            layer: index of the layer.
            key: [active, key heads, size].
            value: [active, key heads, size].
            lengths: `self.lengths` on the device.

        Returns:
            Keys and values, [active, key heads, longest + 1, size]; what lies beyond a slot's length is to be masked.
        """
        longest = max(self.lengths) + 1
        keys, values = self._room(layer, KeyValues(key, value), self.active, longest)
        rows = torch.arange(self.active, device=key.device)
        keys[rows, :, lengths] = key
        values[rows, :, lengths] = value
        return keys[: self.active, :, :longest], values[: self.active, :, :longest]

    def remove(self, slot: int) -> None:
        """Frees a slot; the last active one moves into its place."""
        last = self.active - 1
        if slot != last:
            length = self.lengths[last]
            for buffer in (*self._keys.values(), *self._values.values()):
                buffer[slot, :, :length] = buffer[last, :, :length]
            self.lengths[slot] = length
        self.lengths.pop()

    def give_back(self) -> None:
        """Gives back the memory of the slots that are not in use."""
        self._keys = {layer: buffer[: self.active].clone() for layer, buffer in self._keys.items()}
        self._values = {layer: buffer[: self.active].clone() for layer, buffer in self._values.items()}


def _grown(buffer: Tensor | None, like: Tensor, slots: int, length: int) -> Tensor:
    rows, tokens = (0, 0) if buffer is None else (buffer.shape[0], buffer.shape[2])
    if rows >= slots and tokens >= length:
        return buffer  # type: ignore[return-value]  # no buffer has no rows
    grows = buffer is not None and tokens < length
    room = max(tokens, length + max(_GROWTH, length // 4) if grows else length)
    # Zeros, not empty: a masked key that is not a number would still spoil the sum.
    bigger = torch.zeros((max(rows, slots), like.shape[1], room, like.shape[2]), dtype=like.dtype, device=like.device)
    if buffer is not None:
        bigger[:rows, :, :tokens] = buffer
    return bigger


class Slots:
    """The slots of all answers in progress, by seat: seat 0 … n-1, in the order in which they were added."""

    def __init__(self) -> None:
        self._groups: dict[int, SlotGroup] = {}
        self._seats: dict[int, list[int]] = {}
        """Per group, the seat of each slot."""
        self._places: list[tuple[int, int]] = []
        """Per seat, its group and slot."""

    def groups(self) -> list[tuple[SlotGroup, list[int]]]:
        """Every group with the seat of each of its slots."""
        return [(group, self._seats[size]) for size, group in self._groups.items()]

    def add(
        self, layers: Sequence[dict[int, KeyValues]], spans: Sequence[tuple[int, int]], most: Sequence[int]
    ) -> None:
        """Fills the next seats, one per answer; arguments as for `SlotGroup.write`.

        Raises:
            RuntimeError: PyTorch's, if memory runs out; no seat is taken then.
        """
        lengths = [stop - start for start, stop in spans]
        sizes = [max(_SHORT, length).bit_length() for length in lengths]
        for size in sorted(set(sizes)):
            mine = [number for number, one in enumerate(sizes) if one == size]
            group = self._groups.get(size) or SlotGroup()
            group.write(
                [layers[number] for number in mine],
                [spans[number] for number in mine],
                [most[number] for number in mine],
            )
            self._groups[size] = group
            self._seats.setdefault(size, [])
        for size, length in zip(sizes, lengths, strict=True):
            group = self._groups[size]
            self._seats[size].append(len(self._places))
            self._places.append((size, group.active))
            group.lengths.append(length)

    def advance(self) -> None:
        """Counts the token just appended to every slot."""
        for group in self._groups.values():
            group.lengths = [length + 1 for length in group.lengths]

    def remove(self, seat: int) -> None:
        """Frees a seat; the last one moves into its place."""
        size, slot = self._places[seat]
        seats = self._seats[size]
        self._groups[size].remove(slot)
        moved = seats.pop()
        if slot < len(seats):
            seats[slot] = moved
            self._places[moved] = (size, slot)
        self._places[seat] = self._places[-1]
        self._places.pop()
        if seat < len(self._places):
            other, place = self._places[seat]
            self._seats[other][place] = seat
        if not seats:
            del self._groups[size], self._seats[size]

    def give_back(self) -> None:
        """Gives back the memory that no answer uses."""
        # A group that was made for answers which then found no memory has no seats.
        self._groups = {size: group for size, group in self._groups.items() if group.active}
        self._seats = {size: self._seats[size] for size in self._groups}
        for group in self._groups.values():
            group.give_back()
