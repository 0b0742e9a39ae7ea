"""Where the subtrees of a packed trie end in, the attention of its nodes out: as a dense mask, or by FlexAttention.

A trie's nodes stand in depth-first order, so the nodes below node k are those from k to before `ends[k]`, and query q
sees key k iff k <= q < ends[k]: k is q itself or an ancestor. Both ways state that rule and enter transformers as the
`attention_mask` that a model hands on to its attention layers:

dense     a tensor added to the scores, for whatever attention the model has; its size grows with the length squared.
flex      a BlockMask for `torch.nn.attention.flex_attention`, whose kernels pass over blocks in which nothing is seen.

FlexAttention is tested on the CPU only (tests/test_finetune_flex.py): forward and backward unfused, forward compiled
too. Its CUDA kernels have never been run by this project, so `finetune.loss.choose_attention` compares them with the
dense mask before the first step, on the machine that is to train.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention

IMPLEMENTATION = "evalkit_flex"

BLOCK = 128
"""Queries, and keys, of one block; what the kernels of FlexAttention take by default."""

# The smallest head that the CUDA kernels take (torch 2.9 to 2.13: torch/_inductor/kernel/flex/flex_attention.py).
_SMALLEST_HEAD = 16
# Arguments of an attention call that change the result and that this attention does not implement.
_UNSUPPORTED = ("s_aux", "position_bias")


def sees(ends: Tensor, query: Tensor, key: Tensor) -> Tensor:
    """Whether each query node sees each key node of a trie whose subtrees end before `ends` (nodes)."""
    return (key <= query) & (query < ends[key])


def dense_mask(ends: Tensor, dtype: torch.dtype) -> Tensor:
    """The mask that is added to attention scores, (tries, 1, length, length): 0 where a node is seen.

    Args: ends (tries, length); dtype, that of the scores.
    """
    node = torch.arange(ends.shape[1], device=ends.device)
    seen = (node <= node[:, None]) & (node[:, None] < ends[:, None, :])
    hidden = torch.full(seen.shape, torch.finfo(dtype).min, dtype=dtype, device=ends.device)
    return hidden.masked_fill_(seen, 0.0).unsqueeze(1)


@torch.compiler.disable  # type: ignore[untyped-decorator]  # torch leaves it untyped
def block_mask(ends: Tensor) -> BlockMask:
    """The same mask for FlexAttention; `ends` (tries, length). Made once per batch, for all layers.

    A block of keys is needed by a later block of queries iff one of its subtrees reaches beyond the first query, and
    is seen whole iff all of them reach beyond the last; so no matrix of nodes × nodes is ever made.
    """
    length = ends.shape[1]
    blocks = -(-length // BLOCK)
    padded = torch.nn.functional.pad(ends, (0, blocks * BLOCK - length)).view(len(ends), 1, 1, blocks, BLOCK)
    first = torch.arange(blocks, device=ends.device)[:, None] * BLOCK
    earlier = first > first.T
    whole = earlier & (padded.amin(-1) >= first + BLOCK)
    partly = ((earlier & (padded.amax(-1) > first)) | (first == first.T)) & ~whole
    mask = BlockMask.from_kv_blocks(
        *_listed(partly), *_listed(whole), BLOCK_SIZE=BLOCK, mask_mod=_mask_mod(ends), seq_lengths=(length, length)
    )
    # GPT-2 asks every mask for its number of dimensions; a BlockMask has a shape only.
    mask.ndim = 4  # type: ignore[attr-defined]
    return mask


def _listed(needed: Tensor) -> tuple[Tensor, Tensor]:
    """How many blocks of keys each block of queries needs, and which: those needed come first."""
    order = needed.int().argsort(dim=-1, descending=True, stable=True)
    return needed.sum(-1, dtype=torch.int32), order.int()


def _mask_mod(ends: Tensor) -> Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]:
    def seen(trie: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return sees(ends[trie], query, key)

    return seen


@contextmanager
def flex_attending(model: Any) -> Iterator[None]:
    """Inside, the model's attention layers take a BlockMask as `attention_mask`, and nothing else.

    It must hold during the backward pass too: activation checkpointing runs the layers again there.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    ALL_ATTENTION_FUNCTIONS.register(IMPLEMENTATION, _attend)
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "config")}
    before = [(config, config._attn_implementation) for config in configs.values()]
    try:
        for config in configs.values():
            config._attn_implementation = IMPLEMENTATION
        yield
    finally:
        for config, implementation in before:
            config._attn_implementation = implementation


def flex_fits(model: Any, device: torch.device) -> bool:
    """Whether torch has fast kernels of FlexAttention for this model: on CUDA, for heads that are not too small.

    Their types are those a model computes in there, float32 and bfloat16.
    """
    return device.type == "cuda" and (head_size(model.config.get_text_config()) or 0) >= _SMALLEST_HEAD


def head_size(config: Any) -> int | None:
    """Width of an attention head; None for a model without heads."""
    heads = getattr(config, "num_attention_heads", None)
    own = getattr(config, "head_dim", None)
    return int(own or config.hidden_size // heads) if isinstance(heads, int) else None


def attention_dropout(config: Any) -> float:
    """The rate at which training drops attention weights, which FlexAttention cannot."""
    return max(float(getattr(config, name, None) or 0.0) for name in ("attention_dropout", "attn_pdrop"))


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Any,
    scaling: float | None = None,
    softcap: float | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """What transformers calls for every layer: query (tries, heads, length, head size), key and value likewise."""
    for name in _UNSUPPORTED:
        if more.get(name) is not None:
            raise ValueError(f"the model's attention uses {name}, which FlexAttention does not do here")
    if not isinstance(attention_mask, BlockMask):
        raise ValueError("the model makes an attention mask of its own")
    query, key, value = _in_one_type(query, key, value)
    out = _kernel(query.device)(
        query,
        key,
        value,
        score_mod=None if softcap is None else _capped(softcap),
        block_mask=attention_mask,
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return out.transpose(1, 2).contiguous(), None


def _in_one_type(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Under autocast rotary positions leave queries and keys in float32 beside bfloat16 values."""
    kind = query.device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else query.dtype
    return query.to(dtype), key.to(dtype), value.to(dtype)


def _kernel(device: torch.device) -> Any:
    """FlexAttention, compiled once for CUDA, unless the model that calls it is being compiled with it."""
    return _compiled() if device.type == "cuda" and not torch.compiler.is_compiling() else flex_attention


@cache
def _compiled() -> Any:
    # Left to itself torch makes lengths dynamic at their second change. Told to from the start it would do the same to
    # `scale` and to the limit of `_capped`, which its kernels take as constants only.
    return torch.compile(flex_attention)


@cache
def _capped(limit: float) -> Callable[..., Tensor]:
    """Scores squashed to stay below `limit` (Gemma 2)."""

    def capped(score: Tensor, *place: Tensor) -> Tensor:
        return limit * torch.tanh(score / limit)

    return capped
