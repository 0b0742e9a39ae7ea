"""Floating-point operations against torch's own count of them, peaks of known cards, and where the share is shown."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_finetune_loss import make_rows, sized
from tiny_models import FAMILIES, make_model, save_base, write_data
from torch.utils.flop_counter import FlopCounterMode
from transformers import MambaConfig, MixtralConfig

from finetune.adapt import adapt
from finetune.collate import collate
from finetune.device import Machine
from finetune.flops import Work, known_peak, peak_flops, seen_pairs, shape_of
from finetune.journal import Event
from finetune.loss import Learner
from finetune.packing import pack
from finetune.settings import Settings
from finetune.tokenize import IGNORED, Row
from finetune.train import finetune


def counted(learner: Learner, batch: Any) -> int:
    with FlopCounterMode(display=False) as counter:
        learner(batch).backward()
    return int(counter.get_total_flops())


@pytest.mark.parametrize("lora_rank", [0, 4])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_formula_gives_what_torch_counts(family: str, lora_rank: int) -> None:
    # Eager attention multiplies every query with every key, so here all pairs count.
    model = make_model(family, attn_implementation="eager")
    model = adapt(model, Settings(model="", data="", lora_rank=lora_rank)).model
    if lora_rank:
        # Else the first layer's frozen matrices are spared the gradient of their inputs too.
        model.enable_input_require_grads()
    batch, shape = pack(make_rows(8), None), shape_of(model)
    assert shape is not None
    assert counted(Learner(model, own_head=True), batch) == shape.flops(batch.tokens, batch.tokens, batch.tokens**2)


def test_only_learned_positions_count_for_the_head() -> None:
    model = make_model("llama", attn_implementation="eager")
    batch, shape = pack(make_rows(8), None), shape_of(model)
    assert shape is not None
    positions = len(batch.targets)
    assert positions < batch.tokens
    # torch's counter knows no addmm_, in which the head's own gradient is made: a third of the head's operations.
    missed = shape.per_target * positions / 3
    assert counted(Learner(model), batch) + missed == shape.flops(batch.tokens, positions, batch.tokens**2)


def test_only_pairs_that_are_seen_count() -> None:
    batch = pack([Row((1, 2, 3), (IGNORED, 3, 0)), Row((1, 2, 4), (IGNORED, 4, 0))], None)
    assert seen_pairs(batch) == 1 + 2 + 3 + 3


def test_work_is_told_as_packed_and_as_padded() -> None:
    shape = shape_of(make_model("llama"))
    assert shape is not None
    rows = [Row((1, 2, 3), (IGNORED, 3, 0)), Row((1, 2, 4, 5), (IGNORED, 4, 5, 0))]
    padded = shape.flops(tokens=8, positions=8, pairs=2 * 10)
    packed = Work(shape.flops(5, 5, 1 + 2 + 3 + 3 + 4), padded)
    assert shape.work(pack(rows, None), rows, whole_head=False) == replace(packed, computed=shape.flops(5, 5, 13))
    assert shape.work(collate(rows, 0), rows, whole_head=True) == Work(padded, padded)


def test_an_8b_llama_takes_six_operations_per_weight_and_token() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    with torch.device("meta"):
        model = LlamaForCausalLM(
            LlamaConfig(
                vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                num_attention_heads=32, num_key_value_heads=8,
            )
        )  # fmt: skip
    shape = shape_of(model)
    assert shape is not None
    embeddings = 128256 * 4096
    norms = 65 * 4096
    assert shape.per_token + shape.per_target == 6 * (8_030_261_248 - embeddings - norms)
    assert shape.per_pair == 12 * 32 * 32 * 128


@pytest.mark.parametrize("config", [(MambaConfig, {"state_size": 4}), (MixtralConfig, {"num_local_experts": 2})])
def test_a_model_that_the_formula_does_not_describe_has_no_shape(config: tuple[type, dict[str, Any]]) -> None:
    assert shape_of(sized(config[0], **config[1])) is None


@pytest.mark.parametrize(
    ("card", "teraflops"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100 80GB PCIe", 312),
        ("A100-SXM4-40GB", 312),
        ("NVIDIA H100 80GB HBM3", 989.5),
        ("NVIDIA H100 PCIe", 756.5),
        ("NVIDIA H200", 989.5),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165.2),
    ],
)
def test_the_peak_of_a_known_card(card: str, teraflops: float) -> None:
    assert known_peak(card) == teraflops * 1e12


@pytest.mark.parametrize(
    "card", ["NVIDIA L40", "NVIDIA L40S", "NVIDIA GeForce RTX 4090 D", "NVIDIA GeForce RTX 4090 Laptop GPU", "Tesla T4"]
)
def test_a_card_that_is_not_known_has_no_peak(card: str) -> None:
    assert known_peak(card) is None


def test_a_cpu_and_float32_on_a_gpu_have_no_peak() -> None:
    assert peak_flops(Machine(torch.device("cpu"), bfloat16=True)) is None
    assert peak_flops(Machine(torch.device("cuda"), bfloat16=False)) is None


@pytest.mark.parametrize("peak", [None, 1e9])
def test_the_share_of_the_peak_is_written_where_the_peak_is_known(
    peak: float | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune.stepper.peak_flops", lambda machine: peak)
    base, data = save_base(tmp_path / "base", "llama"), write_data(tmp_path / "data.json", 24)
    seen: list[Event] = []
    finetune(Settings(model=str(base), data=str(data), out=str(tmp_path / "out"), max_steps=2), seen.append)
    lines = [json.loads(line) for line in (tmp_path / "out/metrics.jsonl").open()]
    steps = [line for line in lines if line["kind"] == "step"]
    if peak is None:
        assert not any("mfu" in line for line in lines)
        assert {event.mfu for event in seen} == {None}
    else:
        # Eight rows with one preamble: padding would compute more.
        assert all(0 < line["mfu"] < line["mfu_padded"] for line in steps)
        assert not any("mfu" in line for line in lines if line["kind"] == "eval")


def test_a_terminal_shows_the_share_of_the_peak() -> None:
    from evalkit.cli.finetune import _speed

    event = Event(
        kind="step", step=3, total_steps=9, epoch=0.1, tokens=10, loss=0.5, lr=1e-3, grad_norm=None, seconds=2.0,
        tokens_per_second=1234.0, seconds_left=65.0, memory=2_500_000_000, mfu=0.314, mfu_padded=0.628,
    )  # fmt: skip
    assert _speed(event) == "loss 0.5000 · 1,234 tokens/s · MFU 31% (padded 63%) · 2.50 GB · 0:01:05 left"
