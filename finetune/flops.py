"""A model's shape and what a batch computes in, floating-point operations and their share of a GPU's peak out.

Model FLOPs utilisation (MFU) is defined in appendix B of the PaLM paper (Chowdhery et al. 2022, arXiv 2204.02311): the
operations that forward and backward pass need at least, per second, over the peak of the hardware. They are 6 per
weight and token (2 forward, 4 backward) and 12 · layers · heads · head size per pair of a query and a key. Activations
that are computed again, masks and element-wise work do not count. Here, other than there,

- a pair counts where the query sees the key, not over the whole square;
- the head's weights count for the positions that go through it;
- a frozen weight counts 4: it needs no gradient of its own (LoRA).

Two figures follow, as shared prompts are computed once: `computed` counts what a packed batch really computes, `padded`
what a padded batch of the same rows would, with every position through the head. The second is the one to hold against
other programs; it can pass 1.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from finetune.attention import head_size
from finetune.collate import Batch
from finetune.device import Machine
from finetune.tokenize import Row

# Dense bfloat16 with float32 accumulation, in FLOP/s, by the name that CUDA gives a card. NVIDIA states Hopper's and
# L4's figures with sparsity: they are halved here.
_PEAKS = (
    # NVIDIA A100 Tensor Core GPU datasheet: 312 TFLOPS.
    (r"A100[- ].*", 312e12),
    # NVIDIA H100 Tensor Core GPU datasheet: SXM 1,979, NVL 1,671 TFLOPS with sparsity; PCIe card 1,513.
    (r"H100 80GB HBM3", 989.5e12),
    (r"H100 NVL", 835.5e12),
    (r"H100 PCIe", 756.5e12),
    # NVIDIA H200 Tensor Core GPU datasheet: SXM 1,979, NVL 1,671 TFLOPS with sparsity.
    (r"H200", 989.5e12),
    (r"H200 NVL", 835.5e12),
    # NVIDIA L4 Tensor Core GPU datasheet: 242 TFLOPS with sparsity.
    (r"L4", 121e12),
    # NVIDIA Ada GPU architecture whitepaper, appendix A: 165.2 TFLOPS.
    (r"GeForce RTX 4090", 165.2e12),
)


@dataclass(frozen=True)
class Work:
    """Floating-point operations of forward and backward passes; see the module for what counts."""

    computed: float = 0.0
    padded: float = 0.0

    def __add__(self, other: "Work") -> "Work":
        return Work(self.computed + other.computed, self.padded + other.padded)


@dataclass(frozen=True)
class Shape:
    """The operations of a model, forward and backward."""

    per_token: float
    """In the matrices that every token passes through."""
    per_target: float
    """In the head, for each position that goes through it."""
    per_pair: float
    """In attention, for each pair of a query and a key that it sees."""

    def flops(self, tokens: int, positions: int, pairs: int) -> float:
        """Operations for `tokens` tokens, `positions` of them through the head, and `pairs` of attention."""
        return self.per_token * tokens + self.per_target * positions + self.per_pair * pairs

    def work(self, batch: Batch, rows: Sequence[Row], *, whole_head: bool) -> Work:
        """What `batch` computes, and what padding its `rows` would; `whole_head`: all positions go through the head."""
        length = max(len(row.ids) for row in rows)
        tokens, pairs = len(rows) * length, len(rows) * (length * (length + 1) // 2)
        positions = batch.tokens if whole_head else len(batch.targets)
        seen = pairs if batch.ends is None else seen_pairs(batch)
        return Work(self.flops(batch.tokens, positions, seen), self.flops(tokens, tokens, pairs))


def seen_pairs(batch: Batch) -> int:
    """Pairs of a query and a key in a packed batch: a key is seen by itself and by what descends from it."""
    assert batch.ends is not None
    return int((batch.ends - torch.arange(batch.ends.shape[1], device=batch.ends.device)).sum())


def shape_of(model: Any) -> Shape | None:
    """The shape of a transformers model, adapters included.

    None where it holds matrices that are neither linear layers nor embeddings (experts, recurrent layers): the
    formula does not describe it.
    """
    config, head = model.config.get_text_config(), model.get_output_embeddings()
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) or _is_transposed(module)]
    known = {id(module.weight) for module in (*linear, *_embeddings(model))}
    if head_size(config) is None or any(w.dim() > 1 and id(w) not in known for w in model.parameters()):
        return None
    per_token = sum(_operations(module.weight) for module in linear if module is not head)
    pair = 12 * config.num_hidden_layers * config.num_attention_heads * (head_size(config) or 0)
    return Shape(float(per_token), float(_operations(head.weight)), float(pair))


def peak_flops(machine: Machine) -> float | None:
    """The bfloat16 peak of this machine's GPU in FLOP/s; None where it computes in another type or is not known."""
    if machine.device.type != "cuda" or not machine.bfloat16:
        return None
    return known_peak(torch.cuda.get_device_name(machine.device))


def known_peak(card: str) -> float | None:
    """The dense bfloat16 peak in FLOP/s of a card by CUDA's name of it; None for a card that is not in the list."""
    name = card.removeprefix("NVIDIA ")
    return next((peak for pattern, peak in _PEAKS if re.fullmatch(pattern, name)), None)


def _operations(weight: torch.Tensor) -> int:
    return weight.numel() * (6 if weight.requires_grad else 4)


def _embeddings(model: Any) -> list[nn.Embedding]:
    return [module for module in model.modules() if isinstance(module, nn.Embedding)]


def _is_transposed(module: nn.Module) -> bool:
    """Whether it is GPT-2's linear layer, whose matrix is transposed."""
    return type(module).__name__ == "Conv1D"
