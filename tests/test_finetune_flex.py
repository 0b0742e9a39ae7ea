"""FlexAttention over tries: its mask, its results against the dense mask, and when it is taken.

torch has no compiled backward pass of FlexAttention on a CPU and refuses any there; the fixture `unfused` lifts that,
and then torch's own unfused operations run. What no test here can show: that the compiled CUDA kernels work.
"""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_finetune_loss import gradients, make_rows, sized
from tiny_models import FAMILIES, make_model, save_base, write_data
from torch.nn.attention.flex_attention import create_block_mask, flex_attention
from transformers import Gemma2Config, MistralConfig

from evalkit.errors import UsageError
from finetune.adapt import adapt
from finetune.attention import _capped, _compiled, block_mask, dense_mask, flex_fits, sees
from finetune.device import Machine
from finetune.loss import Learner, choose_attention
from finetune.packing import build_trie, pack
from finetune.settings import Settings
from finetune.tokenize import IGNORED, Row
from finetune.train import finetune

CPU = Machine(torch.device("cpu"), bfloat16=False)


@pytest.fixture
def unfused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.nn.attention.flex_attention._validate_device", lambda *tensors: None)
    monkeypatch.setattr("torch.nn.attention.flex_attention._WARNINGS_SHOWN", {"flex_attention_performance"})


def make(family: str, dtype: torch.dtype = torch.float32) -> Any:
    """A model without dropout, as training loads it."""
    rates = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0}
    return make_model(family, dtype=dtype, **(rates if family == "gpt2" else {}))


def random_rows(seed: int, count: int, length: int = 7, tokens: int = 3) -> list[Row]:
    """Rows over so few tokens that they share prefixes of every length, and some contain others."""
    chance = random.Random(seed)
    drawn = [tuple(chance.randrange(tokens) for _ in range(chance.randint(1, length))) for _ in range(count)]
    return [Row(ids, (IGNORED,) * (len(ids) - 1) + (0,)) for ids in drawn]


def ancestors(rows: Sequence[Row]) -> torch.Tensor:
    """Which node sees which, from the prefixes themselves: nodes are the distinct prefixes in sorted order."""
    nodes = sorted({row.ids[: i + 1] for row in rows for i in range(len(row.ids))})
    return torch.tensor([[query[: len(key)] == key for key in nodes] for query in nodes])


# --- the mask -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(20))
def test_a_node_sees_exactly_the_prefixes_of_its_own_prefix(seed: int) -> None:
    rows = random_rows(seed, count=1 + seed)
    ends = torch.tensor(build_trie(sorted(rows, key=lambda row: row.ids)).ends)
    node = torch.arange(len(ends))
    wanted = ancestors(rows)
    assert torch.equal(sees(ends, node[:, None], node[None, :]), wanted)
    assert torch.equal(dense_mask(ends[None], torch.float64)[0, 0] == 0, wanted)


@pytest.mark.parametrize("seed", range(6))
def test_several_tries_of_unlike_size_have_each_their_own_mask_and_padding_sees_itself(seed: int) -> None:
    batch = pack(make_rows(4, seed=seed, shared=40) + make_rows(5, seed=seed + 50, shared=20), width=8)
    assert batch.ends is not None
    assert batch.ids.shape[0] > 1
    node = torch.arange(batch.ends.shape[1])
    for mask, ends in zip(dense_mask(batch.ends, torch.float32)[:, 0], batch.ends, strict=True):
        assert torch.equal(mask == 0, sees(ends, node[:, None], node[None, :]))
        assert bool((mask.diagonal() == 0).all())


@pytest.mark.parametrize("count", [1, 10, 60, 200])
def test_the_blocks_are_those_that_torch_finds_by_looking_at_every_pair(count: int) -> None:
    rows = random_rows(count, count, length=60, tokens=2) + make_rows(4, shared=300)
    batch = pack(rows, None)
    assert batch.ends is not None
    ends, length = batch.ends, batch.ends.shape[1]
    assert length > 300
    found = block_mask(ends)
    wanted = create_block_mask(
        lambda trie, head, query, key: sees(ends[trie], query, key), 1, None, length, length, device="cpu"
    )
    assert torch.equal(found.to_dense(), wanted.to_dense())
    for name in ("kv_num_blocks", "full_kv_num_blocks", "q_num_blocks", "full_q_num_blocks"):
        assert torch.equal(getattr(found, name), getattr(wanted, name)), name
    assert found.shape == (1, 1, length, length)


def test_most_blocks_of_rows_without_anything_in_common_are_passed_over() -> None:
    rows = [Row(tuple(range(i * 256, i * 256 + 256)), (IGNORED,) * 255 + (0,)) for i in range(8)]
    batch = pack(rows, None)
    assert batch.ends is not None
    # 8 rows of 2 blocks: below the diagonal of each row one block is seen, and whole.
    mask = block_mask(batch.ends)
    assert int(mask.kv_num_blocks.sum()) == 16
    assert mask.full_kv_num_blocks is not None
    assert int(mask.full_kv_num_blocks.sum()) == 8


# --- results against the dense mask ---------------------------------------------------------------------------------


def assert_flex_is_dense(model: Any, rows: Sequence[Row], tolerance: float, width: int | None = None) -> None:
    batch = pack(rows, width)
    model.train()
    found = {}
    for flex in (False, True):
        learner = Learner(model)
        learner.flex = flex
        model.zero_grad()
        with learner.attending():
            loss = learner(batch)
            loss.backward()
        found[flex] = (float(loss.detach()), gradients(model))
    assert abs(found[True][0] - found[False][0]) <= tolerance * abs(found[False][0])
    for new, old in zip(found[True][1], found[False][1], strict=True):
        assert float((new - old).norm()) <= tolerance * float(old.norm()) + 1e-14


@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
@pytest.mark.parametrize("family", FAMILIES)
def test_loss_and_gradients_are_those_of_the_dense_mask(family: str, dtype: torch.dtype, tolerance: float) -> None:
    assert_flex_is_dense(make(family, dtype), make_rows(8), tolerance)


@pytest.mark.usefixtures("unfused")
def test_blocks_seen_whole_in_part_and_not_at_all_give_the_dense_mask_s_results() -> None:
    rows = make_rows(4, shared=150) + make_rows(4, seed=1, shared=130)
    assert_flex_is_dense(make_model("llama", dtype=torch.float64), rows, 1e-12)


@pytest.mark.usefixtures("unfused")
def test_several_tries_of_unlike_size_give_the_dense_mask_s_results() -> None:
    rows = make_rows(4, shared=40) + make_rows(5, seed=1, shared=20)
    assert_flex_is_dense(make("gpt2", torch.float64), rows, 1e-12, width=8)


@pytest.mark.usefixtures("unfused")
def test_caps_on_scores_and_a_scale_of_the_model_s_own_are_kept() -> None:
    caps = {"attn_logit_softcapping": 1.5, "query_pre_attn_scalar": 3, "final_logit_softcapping": None}
    model = sized(Gemma2Config, head_dim=8, sliding_window=64, attn_implementation="eager", **caps)
    assert_flex_is_dense(model, make_rows(6), 1e-5)


@pytest.mark.usefixtures("unfused")
def test_layers_that_run_again_in_the_backward_pass_attend_the_same_way() -> None:
    model = make_model("llama", dtype=torch.float64)
    adapt(model, Settings(model="", data="", activation_checkpointing=True))
    assert_flex_is_dense(model, make_rows(6), 1e-12)


@pytest.mark.usefixtures("unfused")
def test_rotary_positions_in_float32_beside_values_in_bfloat16_are_brought_to_one_type() -> None:
    model, batch = make_model("llama"), pack(make_rows(6), None)
    learner = Learner(model)
    plain = float(learner(batch).detach())
    learner.flex = True
    with torch.autocast("cpu", torch.bfloat16), learner.attending():
        assert float(learner(batch).detach()) == pytest.approx(plain, rel=2e-2)


@pytest.mark.slow
@pytest.mark.usefixtures("unfused")
def test_a_whole_model_compiles_with_it() -> None:
    model, batch = make_model("llama"), pack(make_rows(6), None)
    learner = Learner(model)
    plain = float(learner(batch).detach())
    learner.flex = True
    with learner.attending():
        assert float(torch.compile(learner, dynamic=True, backend="eager")(batch)) == pytest.approx(plain, rel=1e-5)


@pytest.mark.usefixtures("unfused")
def test_batches_of_many_lengths_are_compiled_a_few_times_only() -> None:
    compiled = 0

    def count(graph: Any, example: Any) -> Any:
        nonlocal compiled
        compiled += 1
        return graph.forward

    attend = torch.compile(flex_attention, backend=count)
    for seed in range(20):
        batch = pack(make_rows(2 + seed % 7, seed=seed, shared=(5, 60, 118, 250)[seed % 4]), None)
        assert batch.ends is not None
        query = torch.randn(1, 4, batch.tokens, 16, requires_grad=seed % 3 == 0)
        with torch.set_grad_enabled(seed % 3 == 0):
            attend(query, query, query, block_mask=block_mask(batch.ends))
    # torch's own limit is 8; beyond it every call would run unfused.
    assert compiled <= 6


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("limit", [None, 2.0])
def test_torch_s_compiled_cpu_kernel_has_the_dense_mask_s_results(limit: float | None) -> None:
    for shared in (5, 200, 118):
        batch = pack(make_rows(6, shared=shared), None)
        assert batch.ends is not None
        query, key, value = (torch.randn(1, heads, batch.tokens, 16) for heads in (4, 2, 2))
        options = {"enable_gqa": True, "scale": 0.3, "score_mod": None if limit is None else _capped(limit)}
        with torch.no_grad():
            found = _compiled()(query, key, value, block_mask=block_mask(batch.ends), **options)
        scores = query @ key.repeat_interleave(2, 1).mT * 0.3
        scores = scores if limit is None else limit * torch.tanh(scores / limit)
        shares = (scores + dense_mask(batch.ends, torch.float32)).softmax(-1)
        torch.testing.assert_close(found, shares @ value.repeat_interleave(2, 1), rtol=1e-5, atol=1e-5)


def test_the_model_is_as_before_outside_of_it() -> None:
    model = make_model("qwen2")
    learner = Learner(model)
    learner.flex = True
    own = model.config._attn_implementation
    with learner.attending():
        assert model.config._attn_implementation != own
    assert model.config._attn_implementation == own


# --- when it is taken -----------------------------------------------------------------------------------------------


def test_it_is_taken_by_itself_on_cuda_for_heads_that_its_kernels_take() -> None:
    small, large = make_model("llama"), make_model("llama", head_dim=16)
    cuda, cpu = torch.device("cuda"), torch.device("cpu")
    assert [flex_fits(small, cuda), flex_fits(large, cuda), flex_fits(large, cpu)] == [False, True, False]


@pytest.mark.parametrize("wanted", ["auto", "dense"])
def test_a_cpu_stays_with_the_dense_mask(wanted: Any) -> None:
    assert choose_attention(Learner(make_model("llama")), make_rows(6), CPU, wanted) is False


def test_forced_where_torch_has_no_backward_pass_of_it_it_is_refused() -> None:
    with pytest.raises(
        UsageError, match=r"attention flex: does not work for this model on cpu .*backward.*choose auto"
    ):
        choose_attention(Learner(make_model("llama")), make_rows(6), CPU, "flex")


@pytest.mark.usefixtures("unfused")
def test_forced_it_is_taken_after_it_was_compared() -> None:
    learner = Learner(make("gpt2"))
    assert choose_attention(learner, make_rows(6), CPU, "flex")
    assert all(weight.grad is None for weight in learner.parameters())


@pytest.mark.usefixtures("unfused")
def test_bfloat16_is_compared_by_its_own_rounding() -> None:
    machine = Machine(torch.device("cpu"), bfloat16=True)
    assert choose_attention(Learner(make_model("llama")), make_rows(6), machine, "flex")


@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize("bfloat16", [False, True])
def test_a_kernel_that_shows_what_is_hidden_is_found_before_the_first_step(
    bfloat16: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "finetune.attention._mask_mod", lambda ends: lambda trie, head, query, key: (key <= query) & (ends[trie, 0] > 0)
    )
    machine = Machine(torch.device("cpu"), bfloat16)
    with pytest.raises(UsageError, match="not those of the dense mask"):
        choose_attention(Learner(make_model("llama")), make_rows(6), machine, "flex")


@pytest.mark.usefixtures("unfused")
def test_by_itself_it_gives_way_to_the_dense_mask_where_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of resource: shared memory")

    monkeypatch.setattr("finetune.loss.flex_fits", lambda model, device: True)
    learner = Learner(make_model("llama"))
    assert choose_attention(learner, make_rows(6), CPU, "auto")
    monkeypatch.setattr("finetune.attention.flex_attention", broken)
    assert not choose_attention(learner, make_rows(6), CPU, "auto")
    assert not learner.flex
    assert learner.model.config._attn_implementation == "sdpa"


@pytest.mark.usefixtures("unfused")
def test_attention_that_drops_weights_cannot_take_it() -> None:
    with pytest.raises(UsageError, match="drop attention weights"):
        choose_attention(Learner(make_model("gpt2", attn_pdrop=0.1)), make_rows(6), CPU, "flex")


@pytest.mark.usefixtures("unfused")
def test_a_sliding_window_longer_than_the_rows_hinders_nothing() -> None:
    assert choose_attention(Learner(sized(MistralConfig, sliding_window=64)), make_rows(6), CPU, "flex")


# --- whole runs -----------------------------------------------------------------------------------------------------


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    base, data = save_base(tmp_path / "base", "llama"), write_data(tmp_path / "data.json", 24)
    return Settings(
        model=str(base),
        data=str(data),
        out=str(tmp_path / "flex"),
        style="phi3",
        max_steps=3,
        attention="flex",
        lr=1e-3,
    )


@pytest.mark.usefixtures("unfused")
@pytest.mark.parametrize("more", [{}, {"lora_rank": 4, "activation_checkpointing": True}])
def test_a_run_has_the_losses_of_the_dense_mask_s(settings: Settings, tmp_path: Path, more: dict[str, Any]) -> None:
    told: list[str] = []
    finetune(replace(settings, **more), on_ready=lambda ready: told.append(ready.machine))
    finetune(replace(settings, **more, attention="dense", out=str(tmp_path / "dense")))
    flex, dense = (
        [json.loads(line) for line in (tmp_path / name / "metrics.jsonl").open()] for name in ("flex", "dense")
    )
    assert told == ["cpu, float32, FlexAttention"]
    assert [line["train_loss"] for line in flex] == pytest.approx([line["train_loss"] for line in dense], rel=1e-5)
    config = json.loads((tmp_path / "flex" / "config.json").read_text())
    assert "evalkit_flex" not in json.dumps(config)


def test_a_run_that_cannot_take_it_is_refused_before_the_first_step(settings: Settings) -> None:
    with pytest.raises(UsageError, match="attention flex: does not work"):
        finetune(settings)
    with pytest.raises(UsageError, match="attention flex: this run pads its rows"):
        finetune(replace(settings, packing="padded"))
    with pytest.raises(UsageError, match="attention is fast: it must be one of auto, flex, dense"):
        replace(settings, attention="fast")  # type: ignore[arg-type]
