"""How many tokens and logit rows fit one forward pass, and what counts as running out of memory."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from evalkit.engine.usage import Usage

T = TypeVar("T")

# Beyond these, a larger pass is no faster; the memory is better left to others.
_MOST_TOKENS = {"cpu": 1024, "cuda": 32768}
_MOST_ROWS = {"cpu": 512, "cuda": 8192}
_LEAST_TOKENS = 64
_LEAST_ROWS = 8
# Share of the free memory a pass may take, by our estimate.
_SHARE = 0.25
_CPU_MESSAGES = ("not enough memory", "can't allocate memory", "out of memory")


@dataclass(frozen=True)
class Budget:
    """Limits of one forward pass: tokens, and positions whose logits are computed."""

    tokens: int
    rows: int

    def halved(self) -> "Budget | None":
        """Half of both, or None where nothing is left to halve."""
        if self.tokens <= 1:
            return None
        return Budget(max(1, self.tokens // 2), max(1, self.rows // 2))


class Budgeted:
    """A budget that shrinks when memory runs out.

    Args:
        limits: where to begin.
        usage: its `out_of_memory` counts the halvings.
    """

    def __init__(self, limits: Budget, usage: Usage) -> None:
        self.limits = limits
        self._usage = usage

    def attempt(self, work: Callable[[Budget], T]) -> T | None:
        """Does some work within the limits; when memory runs out, halves them and undoes nothing.

        Args:
            work: what to do; must change nothing that matters before it is sure to succeed.

        Returns:
            What `work` returns, or None after memory ran out: the caller may try again.

        Raises:
            RuntimeError: PyTorch's own, if memory runs out with the smallest limits.
        """
        try:
            return work(self.limits)
        except (RuntimeError, MemoryError) as error:
            smaller = self.limits.halved()
            if smaller is None or not is_out_of_memory(error):
                raise
            self.limits = smaller
            self._usage.out_of_memory += 1
        # Only here, with the exception and the tensors its traceback holds gone, can the memory be given back.
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        return None


@dataclass(frozen=True)
class Runtime:
    """What forward passes work with.

    Attributes:
        model: a transformers causal language model.
        tokenizer: its tokenizer.
        budget: limits of a pass.
        usage: counters.
    """

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    budget: Budgeted
    usage: Usage


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception of PyTorch means that memory ran out (on the CPU it is a plain RuntimeError)."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error).lower() for text in _CPU_MESSAGES)


def free_bytes(device: torch.device) -> int:
    """Bytes this process may still take on a device."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(free) + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    available = _host_available()
    for limit, used in _CGROUPS:
        available = min(available, _cgroup_left(Path(limit), Path(used), available))
    return available


_CGROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
_UNKNOWN_HOST = 4 << 30


def _host_available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _UNKNOWN_HOST
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return _UNKNOWN_HOST


def _cgroup_left(limit: Path, used: Path, otherwise: int) -> int:
    try:
        return int(limit.read_text(encoding="ascii")) - int(used.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return otherwise


def token_bytes(model: PreTrainedModel) -> int:
    """Estimated bytes of activations one token needs at the widest point of a forward pass."""
    config = model.config.get_text_config()
    hidden = int(config.hidden_size)
    inner = getattr(config, "intermediate_size", None) or getattr(config, "n_inner", None) or 4 * hidden
    # Residual, norm, queries, keys, values, their gathered copies and the float32 output; gate, up and their product.
    return int((12 * hidden + 4 * inner) * model.dtype.itemsize + 4 * 4 * hidden)


def automatic_budget(model: PreTrainedModel) -> Budget:
    """Limits from the free memory of the model's device and the model's size."""
    device = model.device
    room = int(free_bytes(device) * _SHARE)
    vocabulary = int(model.config.get_text_config().vocab_size)
    # Logits once in the model's dtype, twice in float32.
    rows = room // 2 // (vocabulary * (model.dtype.itemsize + 8))
    tokens = room // 2 // token_bytes(model)
    kind = device.type if device.type in _MOST_TOKENS else "cpu"
    return Budget(
        tokens=min(max(tokens, _LEAST_TOKENS), _MOST_TOKENS[kind]),
        rows=min(max(rows, _LEAST_ROWS), _MOST_ROWS[kind]),
    )


# Answers in progress at once, beyond which a step is no faster per token.
_MOST_ANSWERS = {"cpu": 64, "cuda": 256}


def automatic_answers(model: PreTrainedModel, lengths: Sequence[int]) -> int:
    """How many answers to generate at once, so that even the longest of them fit together.

    Args:
        model: the model.
        lengths: most tokens each answer and its prompt hold.
    """
    device = model.device
    kind = device.type if device.type in _MOST_ANSWERS else "cpu"
    room = int(free_bytes(device) * _SHARE) // cache_bytes(model)
    held = accumulate(sorted(lengths, reverse=True)[: _MOST_ANSWERS[kind]])
    return max(1, sum(tokens <= room for tokens in held))


def cache_bytes(model: PreTrainedModel) -> int:
    """Bytes of keys and values one token needs in all layers."""
    config = model.config.get_text_config()
    # Recurrent models have no heads; their state is smaller than this estimate.
    heads = int(getattr(config, "num_attention_heads", None) or 1)
    key_heads = int(getattr(config, "num_key_value_heads", None) or heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return int(2 * config.num_hidden_layers * key_heads * size * model.dtype.itemsize)
