"""A prepared model and the rows of one step in, changed weights out: forward, backward, clip, update."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from evalkit.errors import EvalkitError, UsageError
from finetune.adapt import adapt
from finetune.collate import Batch, collate
from finetune.device import keep_freed_memory
from finetune.distributed import World, gathered
from finetune.flops import Work, peak_flops, shape_of
from finetune.loss import choose_attention, choose_way
from finetune.optim import build_optimizer
from finetune.prepare import Prepared
from finetune.tokenize import Row

_EVAL_BATCH = 2
"""Evaluation keeps no activations, so its batches may be larger by this factor."""


@dataclass(frozen=True)
class Stepped:
    """What one optimizer step came to."""

    loss: float
    """Mean over the targets of all processes, in nats."""
    targets: int
    grad_norm: float | None
    """None where gradients are not clipped."""
    work: Work
    """Of all processes; zero where the machine's peak is not known."""


class Stepper:
    """A model in training, with its optimizer."""

    def __init__(self, prepared: Prepared, world: World) -> None:
        settings = prepared.settings
        self.prepared, self.settings, self.world = prepared, settings, world
        self.machine = world.machine
        if self.machine.device.type == "cpu":
            keep_freed_memory()
        # LoRA starts its adapters at random: the same ones whenever this run starts.
        torch.manual_seed(settings.seed)
        model = prepared.base.model.to(self.machine.device)
        shared_noise = settings.dropout is None or settings.dropout or settings.lora_dropout or settings.neftune
        allow_trie = settings.packing == "trie" or (settings.packing == "auto" and not shared_noise)
        self.learner, self.tries = choose_way(model, prepared.train, allow_trie=allow_trie)
        self.learner.flex = self._flex()
        self.adapted = adapt(model, settings)
        self.learner.model = self.adapted.model
        self.compute: Any = world.wrap(self.learner)
        if settings.compile:
            self.compute = torch.compile(self.compute, dynamic=True)
        self.optimizer: Any = build_optimizer(self.model, settings.optimizer, settings.lr, settings.weight_decay)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])
        peak = peak_flops(self.machine)
        self.shape = shape_of(self.model) if peak else None
        self.peak = (peak or 0.0) * world.size
        """Floating-point operations per second of all processes' devices; 0 where it is not known."""

    @property
    def model(self) -> Any:
        """The transformers model whose weights change."""
        return self.adapted.model

    def step(self, number: int, batches: Sequence[Sequence[Row]], factor: float) -> Stepped:
        """One optimizer step over the rows of all `batches`, at `factor` of the highest learning rate.

        Raises EvalkitError where loss or gradient is not finite; the weights then are as they were.
        """
        # Random numbers follow from seed, step and process, so neither evaluations nor resuming change them.
        torch.manual_seed((self.settings.seed * 1_000_003 + number) * self.world.size + self.world.rank)
        self.learner.train()
        targets = sum(row.num_targets for rows in batches for row in rows)
        mine, work = 0.0, Work()
        for index, rows in enumerate(batches):
            with self.world.syncing(self.compute, last=index == len(batches) - 1):
                batch = self._batch(rows)
                mine += self._backward(batch, targets)
                work += self._work(batch, rows)
        loss, *done = self.world.sum(mine, work.computed, work.padded)
        norm = self._clip()
        self._check_finite(number, loss, norm)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return Stepped(loss, targets, norm, Work(*done))

    def mean_loss(self, rows: Sequence[Row]) -> float:
        """Mean loss in nats over all targets of the rows, which all processes share out."""
        self.learner.eval()
        total = 0.0
        for group in by_length(rows, self.settings.batch_size * _EVAL_BATCH):
            with torch.no_grad(), self.machine.precision(), self.learner.attending():
                total += float(self.learner(self._batch(group)))
        (loss,) = self.world.sum(total)
        return loss / sum(row.num_targets for row in rows)

    def _flex(self) -> bool:
        """Whether tries attend by FlexAttention."""
        wanted = self.settings.attention
        if self.tries:
            return choose_attention(self.learner, self.prepared.train, self.machine, wanted)
        if wanted == "flex":
            raise UsageError("attention flex: this run pads its rows, which takes no FlexAttention: choose auto")
        return False

    def _backward(self, batch: Batch, targets: int) -> float:
        """Add the gradient of this process's share of the rows; returns its part of the mean loss."""
        with self.learner.attending():
            with self.machine.precision():
                loss = self.compute(batch) / targets
            # DDP and FSDP average over the processes; the loss is a sum over them.
            (loss * self.world.size).backward()
        return float(loss.detach())

    def _work(self, batch: Batch, rows: Sequence[Row]) -> Work:
        """What this process computed for its share of the rows; nothing for a row that counts nothing."""
        mine = self.world.first_of(rows)
        return self.shape.work(batch, mine, whole_head=self.learner.own_head) if self.shape and mine else Work()

    def _batch(self, rows: Sequence[Row]) -> Batch:
        mine = self.world.first_of(rows)
        # A process without rows still takes part in the exchange, with a row that counts nothing.
        batch = self._pack(mine or rows[:1])
        return (batch if mine else batch.weightless()).to(self.machine.device)

    def _pack(self, rows: Sequence[Row]) -> Batch:
        if self.tries:
            return self.learner.pack(rows)
        return collate(rows, self.prepared.base.tokenizer.eos_token_id)

    def _clip(self) -> float | None:
        if not self.settings.clip:
            return None
        weights = [weight for weight in self.model.parameters() if weight.requires_grad]
        return float(gathered(torch.nn.utils.clip_grad_norm_(weights, self.settings.clip)))

    def _check_finite(self, number: int, loss: float, norm: float | None) -> None:
        if math.isfinite(loss) and (norm is None or math.isfinite(norm)):
            return
        what = "loss" if not math.isfinite(loss) else "gradient"
        raise EvalkitError(
            f"the {what} of step {number + 1} is not a finite number: lower lr (now {self.settings.lr:g}) or use "
            "precision float32; what was saved up to the last evaluation is kept"
        )


def by_length(rows: Sequence[Row], size: int) -> list[list[Row]]:
    """Rows in groups of `size`, longest first: the largest batch comes first, so memory runs out early or never."""
    ordered = sorted(rows, key=lambda row: -len(row.ids))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]
