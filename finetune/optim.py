"""A model and an optimizer's name in, one object that updates all its weights out.

`adamw` treats every weight alike, as the book does. `muon` gives the matrices inside the network an orthogonalised
momentum step (Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/) and leaves embeddings, head, norms and
biases to AdamW. Its steps are scaled to the size of AdamW's (Liu et al. 2025, arXiv 2502.16982, section 2.2), so one
learning rate and one weight decay serve both parts.
"""

from collections.abc import Callable, Iterable
from typing import Any, get_args

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Optimizer

from evalkit.errors import UsageError
from finetune.distributed import local_part, sharded_like, whole
from finetune.settings import Optimizer as OptimizerName

OPTIMIZER_NAMES: tuple[str, ...] = get_args(OptimizerName)

_NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of the quintic iteration that drives singular values towards 1 (Jordan et al. 2024)."""
_NEWTON_SCHULZ_STEPS = 5
_ADAMW_RMS = 0.2
"""Root mean square of a typical AdamW step, in units of the learning rate (Liu et al. 2025)."""
_MOMENTUM = 0.8
"""Pretraining uses 0.95; over the thousand or so steps of a fine-tuning a shorter memory learned more (docs/log.md)."""
_BESIDE_MUON = (0.9, 0.95)
"""AdamW's betas for the weights that Muon leaves: runs this short cannot wait for a memory of 1,000 steps."""
_FUSED_DEVICES = ("cpu", "cuda")


def build_optimizer(model: nn.Module, name: str, lr: float, weight_decay: float) -> "Optimizer | Combined":
    """The optimizer of a model's trainable weights.

    Args:
        model: a transformers model, bare or with adapters.
        name: "adamw" or "muon".
        lr: the highest learning rate; schedules multiply the `lr` of every group in `param_groups`.
        weight_decay: decoupled decay, applied to every trainable weight.

    Raises UsageError for an unknown name.
    """
    if name not in OPTIMIZER_NAMES:
        raise UsageError(f"unknown optimizer {name!r}: choose one of {', '.join(OPTIMIZER_NAMES)}")
    weights = [weight for weight in model.parameters() if weight.requires_grad]
    if name == "adamw":
        return _adamw(weights, lr, weight_decay)
    hidden = hidden_matrices(model)
    chosen = {id(weight) for weight in hidden}
    rest = [weight for weight in weights if id(weight) not in chosen]
    parts: list[Optimizer] = [Muon(hidden, lr, weight_decay)] if hidden else []
    if rest:
        parts.append(_adamw(rest, lr, weight_decay, betas=_BESIDE_MUON))
    return Combined(parts)


def hidden_matrices(model: nn.Module) -> list[nn.Parameter]:
    """The trainable matrices between the embeddings and the head, in the model's order."""
    outer = {
        id(weight)
        for module in model.modules()
        if isinstance(module, nn.Embedding) or module is _head(model)
        for weight in module.parameters(recurse=False)
    }
    return [w for w in model.parameters() if w.requires_grad and w.ndim == 2 and id(w) not in outer]


def _head(model: nn.Module) -> nn.Module | None:
    find = getattr(model, "get_output_embeddings", None)
    head: nn.Module | None = find() if find else None
    return head


def _adamw(
    weights: list[nn.Parameter], lr: float, weight_decay: float, betas: tuple[float, float] = (0.9, 0.999)
) -> AdamW:
    fused = all(weight.device.type in _FUSED_DEVICES for weight in weights)
    return AdamW(weights, lr=lr, betas=betas, weight_decay=weight_decay, fused=fused)


class Muon(Optimizer):
    """Momentum whose step is made orthogonal, in float32, all matrices of one shape at a time."""

    def __init__(
        self, weights: Iterable[nn.Parameter], lr: float, weight_decay: float, momentum: float = _MOMENTUM
    ) -> None:
        super().__init__(weights, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update every weight that has a gradient; `closure` computes loss and gradients first, if given."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            for weights in _by_shape(group["params"]):
                self._update(weights, group)
        return loss

    def _update(self, weights: list[Tensor], group: dict[str, Any]) -> None:
        moments = [local_part(self._moment(weight)) for weight in weights]
        gradients = torch.stack([local_part(weight.grad).float() for weight in weights if weight.grad is not None])
        smooth = torch.stack(moments).lerp_(gradients, 1 - group["momentum"])
        # Nesterov: look one step of momentum ahead.
        ahead = gradients.lerp_(smooth, group["momentum"])
        steps = orthogonalize(whole(ahead, weights))
        scale = _ADAMW_RMS * max(weights[0].shape) ** 0.5
        for weight, moment, new_moment, step in zip(weights, moments, smooth, steps, strict=True):
            moment.copy_(new_moment)
            weight.mul_(1 - group["lr"] * group["weight_decay"])
            weight.sub_(sharded_like(step.to(weight.dtype), weight), alpha=group["lr"] * scale)

    def _moment(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if "momentum" not in state:
            state["momentum"] = torch.zeros_like(weight, dtype=torch.float32)
        moment: Tensor = state["momentum"]
        return moment


def orthogonalize(matrices: Tensor) -> Tensor:
    """The nearest semi-orthogonal matrix, roughly: singular values end between about 0.7 and 1.2.

    Args:
        matrices: (count, rows, columns), float32.

    Returns the same shape; a matrix of zeros stays zero.
    """
    a, b, c = _NEWTON_SCHULZ
    wide = matrices if matrices.shape[-2] <= matrices.shape[-1] else matrices.mT
    x: Tensor = wide / wide.norm(dim=(-2, -1), keepdim=True).clamp_min(1e-12)
    for _ in range(_NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if wide is matrices else x.mT


def _by_shape(weights: Iterable[Tensor]) -> list[list[Tensor]]:
    """Weights with a gradient that can be stacked: of one shape, on one device."""
    groups: dict[tuple[torch.Size, torch.device], list[Tensor]] = {}
    for weight in weights:
        if weight.grad is not None:
            groups.setdefault((weight.shape, weight.device), []).append(weight)
    return list(groups.values())


def parts_of(optimizer: "Optimizer | Combined", state: dict[str, Any]) -> list[tuple[Optimizer, dict[str, Any]]]:
    """Every torch optimizer in an optimizer, with its part of a `state_dict`."""
    if isinstance(optimizer, Combined):
        return list(zip(optimizer.parts, state["parts"], strict=True))
    return [(optimizer, state)]


class Combined:
    """Several optimizers, each with weights of its own, used as one."""

    def __init__(self, parts: list[Optimizer]) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The groups of all parts; what is written into them holds."""
        return [group for part in self.parts for group in part.param_groups]

    def step(self) -> None:
        """Update every weight that has a gradient."""
        for part in self.parts:
            part.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """All that `load_state_dict` needs to go on bit for bit."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a `state_dict` of the same model and settings."""
        for part, content in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(content)
