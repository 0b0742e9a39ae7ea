"""One token for every answer in progress: its query against its own keys and against every stretch it shares."""

from collections.abc import Sequence

import torch
from torch import Tensor

from evalkit.engine.attention import Scores, accumulator, attention_with_lse, merge
from evalkit.engine.forward import KeyValues
from evalkit.engine.prefill import Stretch
from evalkit.engine.slots import SlotGroup, Slots


class StepAttention:
    """Attention of one generation step: one query per seat.

    Args:
        slots: the answers' own keys and values; this step's are appended.
        stretches: shared stretches, each with the seats that see it.
        device: where the mask lives.
        dtype: of the mask.
    """

    def __init__(
        self,
        slots: Slots,
        stretches: Sequence[tuple[Stretch, Tensor | slice]],
        device: torch.device,
        dtype: torch.dtype,
    ) -> None:
        self._stretches = stretches
        self._groups = [_ReadGroup(group, seats, device, dtype) for group, seats in slots.groups() if seats]

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scores: Scores) -> Tensor:
        """See `attention.Attention`."""
        rows = query[0].transpose(0, 1)
        known = KeyValues(key[0].transpose(0, 1), value[0].transpose(0, 1))
        out, lse = self._own(layer, rows, known, scores)
        if not self._stretches:
            return out
        merged, merged_lse = out.to(accumulator(out.dtype)), lse
        for stretch, readers in self._stretches:
            known = stretch.layers[layer]
            more, more_lse = attention_with_lse(
                rows[readers].transpose(0, 1).unsqueeze(0),
                known.keys.transpose(0, 1).unsqueeze(0),
                known.values.transpose(0, 1).unsqueeze(0),
                scores=scores,
            )
            part, part_lse = merged[readers], merged_lse[readers]
            merge(part, part_lse, more[0].transpose(0, 1), more_lse[0].transpose(0, 1))
            merged[readers], merged_lse[readers] = part, part_lse
        return merged.to(query.dtype)

    def _own(self, layer: int, rows: Tensor, new: KeyValues, scores: Scores) -> tuple[Tensor, Tensor]:
        """Attention over each answer's own keys: [seats, heads, value size] and its log-sum-exp [seats, heads]."""
        if len(self._groups) == 1 and isinstance(self._groups[0].seats, slice):
            return self._groups[0].attend(layer, rows, new, scores)
        out = torch.empty((*rows.shape[:2], new.values.shape[-1]), dtype=rows.dtype, device=rows.device)
        lse = torch.empty(rows.shape[:2], dtype=accumulator(rows.dtype), device=rows.device)
        for group in self._groups:
            some = KeyValues(new.keys[group.seats], new.values[group.seats])
            more, more_lse = group.attend(layer, rows[group.seats], some, scores)
            out[group.seats], lse[group.seats] = more, more_lse.to(lse.dtype)
        return out, lse


class _ReadGroup:
    """A group of slots, with what hides the unused end of each.

    Args:
        group: the slots.
        seats: the seat of each.
        device: where mask and indices live.
        dtype: of the mask.
    """

    def __init__(self, group: SlotGroup, seats: Sequence[int], device: torch.device, dtype: torch.dtype) -> None:
        in_order = list(seats) == list(range(len(seats)))
        self.seats: Tensor | slice = slice(len(seats)) if in_order else torch.tensor(seats, device=device)
        self._group = group
        self._lengths = torch.tensor(group.lengths, device=device)
        hidden = torch.arange(max(group.lengths) + 1, device=device) > self._lengths.unsqueeze(-1)
        mask = torch.zeros(hidden.shape, dtype=dtype, device=device).masked_fill_(hidden, float("-inf"))
        self._mask = mask[:, None, None, :]

    def attend(self, layer: int, rows: Tensor, new: KeyValues, scores: Scores) -> tuple[Tensor, Tensor]:
        """Appends the new keys and values; output [slots, heads, value size] and log-sum-exp [slots, heads]."""
        keys, values = self._group.append(layer, new.keys, new.values, self._lengths)
        # Queries that share a key head stand side by side, so that no key is repeated.
        packed = rows.reshape(rows.shape[0], keys.shape[1], -1, rows.shape[2])
        out, lse = attention_with_lse(
            packed, keys, values, scores=scores, mask=self._mask.expand(-1, -1, packed.shape[2], -1)
        )
        return out.reshape(*rows.shape[:2], values.shape[-1]), lse.reshape(rows.shape[:2])
