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


def make_talkative(folder: Path) -> Path:
    """Edit a random GPT-2 in place so that its greedy answers are no loops and end at different times.

    Larger weights make every next token a surprise; a larger embedding of end-of-text makes it win now and then: of
    answers of at most 96 tokens a quarter goes on to the end, the others stop anywhere.
    """
    import torch
    from transformers import GPT2LMHeadModel

    torch.manual_seed(1)
    model = GPT2LMHeadModel.from_pretrained(folder)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".h." in name and parameter.dim() > 1:
                parameter.normal_(0, 0.2)
        model.transformer.wte.weight[model.config.eos_token_id] *= 2.5
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
