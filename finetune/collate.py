"""Rows in, one padded batch out: padded on the right to the longest row, by position and never by token id."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from finetune.tokenize import IGNORED, Row


@dataclass(frozen=True)
class Batch:
    """What one forward pass takes, padded or packed."""

    ids: Tensor
    """Token ids (rows, length)."""
    mask: Tensor | None
    """Padded: (rows, length), 1 for a token."""
    where: Tensor
    """The learned positions (targets), as indices into the flattened ids."""
    targets: Tensor
    """The token to be predicted at each of them (targets)."""
    weights: Tensor
    """How many rows share each of them (targets), float."""
    positions: Tensor | None = None
    """Packed: position of each token in its own row (rows, length)."""
    ends: Tensor | None = None
    """Packed: the node after the last that descends from each (rows, length); see `finetune.attention`."""

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: value.to(device) for name, value in values.items() if value is not None})

    def weightless(self) -> "Batch":
        """The same batch with a loss and gradients of zero."""
        return replace(self, weights=torch.zeros_like(self.weights))

    @property
    def tokens(self) -> int:
        """Positions the model computes, padding included."""
        return self.ids.numel()


def padded(rows: Sequence[Row], pad: int) -> tuple[Tensor, Tensor, Tensor]:
    """Ids, labels and mask, each (rows, longest row); padding holds the id `pad`, the label IGNORED and the mask 0."""
    width = max(len(row.ids) for row in rows)
    ids = torch.full((len(rows), width), pad, dtype=torch.long)
    labels = torch.full((len(rows), width), IGNORED, dtype=torch.long)
    mask = torch.zeros((len(rows), width), dtype=torch.long)
    for i, row in enumerate(rows):
        length = len(row.ids)
        ids[i, :length] = torch.tensor(row.ids)
        labels[i, :length] = torch.tensor(row.labels)
        mask[i, :length] = 1
    return ids, labels, mask


def collate(rows: Sequence[Row], pad: int) -> Batch:
    """One row per example; see `packing.pack` for the batch that computes shared prompts once."""
    ids, labels, mask = padded(rows, pad)
    flat = labels.flatten()
    where = (flat != IGNORED).nonzero().flatten()
    return Batch(ids, mask, where, flat[where], torch.ones(len(where)))
