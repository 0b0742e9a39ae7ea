"""A Llama of 8B shape: its configuration, its random weights, and which training of it a GPU has memory for."""

from pathlib import Path
from typing import Any

from models import gpt2_tokenizer

WEIGHTS = 8_030_261_248
LORA_RANK = 16
_RESERVE = 12e9
"""Bytes for activations, gradients of the head and what torch keeps, at batch 8 of the book's rows."""


def write_llama_8b(folder: Path) -> Path:
    """Configuration (that of Llama 3 8B) and GPT-2's tokenizer; the weights are drawn where they are needed."""
    from transformers import LlamaConfig

    LlamaConfig(
        vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32,
        num_key_value_heads=8, max_position_embeddings=8192, bos_token_id=50256, eos_token_id=50256,
        rope_parameters={"rope_type": "default", "rope_theta": 5e5},
    ).save_pretrained(folder)  # fmt: skip
    gpt2_tokenizer().save_pretrained(folder)
    return folder


def draw_model(folder: Path, device: str) -> Any:
    """The model of a configuration with the same random float32 weights whoever asks, made on the device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        return AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(folder), dtype=torch.float32)


def training_that_fits(free: float) -> str | None:
    """What `free` bytes of GPU memory suffice for: all weights, LoRA, or nothing.

    Weights are float32 as both programs keep them, matrix products bfloat16: 16 bytes a weight with its gradient and
    AdamW's two states, 4 for one that is frozen under LoRA.
    """
    for what, each in (("all weights", 16), ("LoRA", 4)):
        if free >= WEIGHTS * each + _RESERVE:
            return what
    return None
