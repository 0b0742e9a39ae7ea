"""Models with random weights and real shapes, and GPT-2's own tokenizer, for benchmarks that need no download."""

from pathlib import Path
from typing import Any

from harness import SHARED

_VOCABULARY, _MERGES = "6c7ea1a7e38e3a7f062df639a5b80947f075ffe6", "6d1cbeee0f20b3d9449abfede4726ed8212e3aee"
"""File names tiktoken gives GPT-2's encoder.json and vocab.bpe in its cache."""


def gpt2_tokenizer() -> Any:
    """GPT-2's tokenizer from the shared data. RuntimeError where it is absent."""
    from transformers import GPT2TokenizerFast

    folder = SHARED / "tokenizer"
    if not folder.is_dir():
        raise RuntimeError(f"needs GPT-2's ranks in {folder}: set EVALKIT_SHARED_DATA")
    return GPT2TokenizerFast(str(folder / _VOCABULARY), str(folder / _MERGES))


def write_gpt2(folder: Path, *, layers: int = 12, width: int = 768, heads: int = 12) -> Path:
    """A GPT-2 of the given shape (default: 124M) with random weights."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    tokenizer = gpt2_tokenizer()
    config = GPT2Config(n_layer=layers, n_embd=width, n_head=heads, n_positions=1024)
    GPT2LMHeadModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def end_answers_every(folder: Path, period: int) -> Path:
    """Edit a GPT-2 in place so that it ends its answer wherever the position is a multiple of `period`.

    Random weights never say end-of-text. Here that token's embedding is added, large, to those positions' embeddings,
    and drowns everything else: prompts of mixed lengths get answers of mixed lengths, 1 to `period` tokens.
    """
    import torch
    from transformers import GPT2LMHeadModel

    model = GPT2LMHeadModel.from_pretrained(folder)
    with torch.no_grad():
        end = model.transformer.wte.weight[model.config.eos_token_id]
        model.transformer.wpe.weight[period - 1 :: period] += 1000 * end
    model.save_pretrained(folder)
    return folder


def write_llama(folder: Path) -> Path:
    """A small Llama (8 layers, width 512, grouped-query attention) with GPT-2's vocabulary and random weights."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    tokenizer = gpt2_tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=512, intermediate_size=1408, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=2, max_position_embeddings=2048, bos_token_id=50256, eos_token_id=50256,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder
