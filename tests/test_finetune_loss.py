"""Losses and gradients in float64: the head in slices, the token trie, every architecture, every fall-back."""

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from tiny_models import FAMILIES, make_model
from torch.nn import functional
from transformers import AutoModelForCausalLM, BertConfig, Gemma2Config, MambaConfig, MistralConfig

from evalkit.errors import UsageError
from finetune.attention import dense_mask
from finetune.collate import collate
from finetune.loss import Learner, alone, choose_way, head_loss, hidden_size
from finetune.packing import build_trie, common_prefix, pack
from finetune.tokenize import IGNORED, Row

WIDTH = 32


def make_rows(
    count: int, *, seed: int = 0, mask_prompt: bool = True, shared: int = 12, vocabulary: int = 400
) -> list[Row]:
    """Rows that share a preamble, and in pairs a prompt; the last response token is followed by end-of-text 0."""
    generator = torch.Generator().manual_seed(seed)

    def draw(length: int) -> list[int]:
        return torch.randint(1, vocabulary, (length,), generator=generator).tolist()

    preamble, prompts = draw(shared), [draw(3 + i) for i in range(count // 2 + 1)]
    rows = []
    for i in range(count):
        prompt, response = preamble + prompts[i // 2], draw(2 + i % 5)
        ids = prompt + response
        labels = [*ids[1:], 0]
        if mask_prompt:
            labels[: len(prompt) - 1] = [IGNORED] * (len(prompt) - 1)
        rows.append(Row(tuple(ids), tuple(labels)))
    return rows


def reference(model: Any, rows: Sequence[Row]) -> tuple[float, list[torch.Tensor]]:
    """Loss and gradients of every row forwarded alone, through the model's own logits."""
    model.zero_grad()
    total = torch.stack([alone(model, row).sum() for row in rows]).sum()
    total.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return float(total.detach()), gradients(model)


def gradients(model: Any) -> list[torch.Tensor]:
    return [weight.grad.clone() for weight in model.parameters() if weight.grad is not None]


def assert_same(model: Any, learner: Learner, batch: Any, rows: Sequence[Row], tolerance: float = 1e-12) -> None:
    expected, slopes = reference(model, rows)
    model.zero_grad()
    loss = learner(batch)
    loss.backward()
    assert abs(float(loss.detach()) - expected) <= tolerance * abs(expected)
    for found, wanted in zip(gradients(model), slopes, strict=True):
        assert float((found - wanted).norm()) <= tolerance * float(wanted.norm()) + 1e-14


# --- the book's cross-entropy figures (ch07.ipynb, cells 48 to 52) --------------------------------------------------


@pytest.mark.parametrize(
    ("logits", "targets", "mean"),
    [
        ([[-1.0, 1.0], [-0.5, 1.5]], [0, 1], 1.1269),
        ([[-1.0, 1.0], [-0.5, 1.5], [-0.5, 1.5]], [0, 1, 1], 0.7936),
    ],
)
def test_the_loss_is_the_book_s(logits: list[list[float]], targets: list[int], mean: float) -> None:
    hidden, weight = torch.tensor(logits), torch.eye(2)
    loss = head_loss(hidden, weight, None, torch.tensor(targets), torch.ones(len(targets)))
    assert float(loss) / len(targets) == pytest.approx(mean, abs=5e-5)


@pytest.mark.parametrize("bias", [False, True])
def test_the_sliced_head_gives_loss_and_gradients_of_cross_entropy(bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune.loss._LOGITS_AT_ONCE", 50 * 7)
    torch.manual_seed(0)
    hidden, weight, shift = (torch.randn(size).double().requires_grad_() for size in ((40, 8), (50, 8), (50,)))
    targets, weights = torch.randint(0, 50, (40,)), torch.randint(1, 4, (40,)).double()
    given = [hidden, weight, shift] if bias else [hidden, weight]
    found = torch.autograd.grad(head_loss(hidden, weight, shift if bias else None, targets, weights) * 0.3, given)
    logits = functional.linear(hidden, weight, shift if bias else None)
    plain = (functional.cross_entropy(logits, targets, reduction="none") * weights).sum() * 0.3
    for one, other in zip(found, torch.autograd.grad(plain, given), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-12)


# --- the trie -------------------------------------------------------------------------------------------------------


def test_a_shared_prefix_is_stored_once_and_positions_restart() -> None:
    rows = sorted([Row((1, 2, 3, 4), (IGNORED, IGNORED, 4, 0)), Row((1, 2, 5), (IGNORED, 5, 0))], key=lambda r: r.ids)
    trie = build_trie(rows)
    assert trie.ids == [1, 2, 3, 4, 5]
    assert trie.positions == [0, 1, 2, 3, 2]
    assert dict(trie.targets) == {(2, 4): 1, (3, 0): 1, (1, 5): 1, (4, 0): 1}


def test_a_node_sees_its_ancestors_only() -> None:
    batch = pack([Row((1, 2, 3), (IGNORED, 3, 0)), Row((1, 2, 4), (IGNORED, 4, 0))], 10_000)
    assert batch.ends is not None
    mask = dense_mask(batch.ends, torch.float32)
    assert (mask[0, 0] == 0).int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 0, 1]]


def test_a_row_that_occurs_twice_is_computed_once_and_counts_twice() -> None:
    row = make_rows(1)[0]
    batch = pack([row, row], WIDTH)
    assert batch.tokens == len(row.ids)
    assert batch.weights.tolist() == [2.0] * row.num_targets


@pytest.mark.parametrize("mask_prompt", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_trie_and_padding_have_loss_and_gradient_of_rows_alone(family: str, mask_prompt: bool) -> None:
    model = make_model(family, dtype=torch.float64)
    rows = make_rows(8, mask_prompt=mask_prompt)
    batch = pack(rows, 10_000)
    assert batch.tokens < sum(len(row.ids) for row in rows)
    assert_same(model, Learner(model), batch, rows)
    assert_same(model, Learner(model), collate(rows, 0), rows)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_trie_is_exact_in_every_attention(attention: str) -> None:
    model = make_model("gpt2", dtype=torch.float64)
    model.set_attn_implementation(attention)
    rows = make_rows(6)
    assert_same(model, Learner(model), pack(rows, 10_000), rows)


def test_several_tries_of_unlike_size_are_exact() -> None:
    model = make_model("gpt2", dtype=torch.float64)
    rows = make_rows(4, shared=40) + make_rows(5, seed=1, shared=20)
    batch = pack(rows, width=8)
    assert batch.ids.shape[0] > 1
    assert_same(model, Learner(model), batch, rows)


def test_another_label_than_the_next_token_is_exact_too() -> None:
    # A conversation: after the first response the label is end-of-text while the text goes on.
    model = make_model("gpt2", dtype=torch.float64)
    row = Row((1, 2, 3, 4, 5, 6), (IGNORED, 3, 0, IGNORED, 6, 0))
    rows = [row, Row((1, 2, 3), (IGNORED, 3, 0))]
    assert_same(model, Learner(model), pack(rows, 10_000), rows)


def test_eight_rows_of_the_book_need_half_the_tokens_of_padding() -> None:
    rows = make_rows(8, shared=24)
    assert pack(rows, 768).tokens <= 0.62 * collate(rows, 0).tokens


def test_rows_without_anything_in_common_cost_no_more_than_padding() -> None:
    rows = [Row(tuple(range(i * 40 + 1, i * 40 + 40)), (IGNORED,) * 38 + (0,)) for i in range(8)]
    assert pack(rows, 64).tokens <= collate(rows, 0).tokens


def test_a_common_prefix_is_counted() -> None:
    assert [common_prefix(a, b) for a, b in (((), (1,)), ((1, 2), (1, 2, 3)), ((1, 2, 3), (1, 9, 3)))] == [0, 2, 1]


def test_packing_loses_no_target_whatever_the_rows() -> None:
    for seed in range(6):
        rows = make_rows(3 + seed, seed=seed, shared=seed)
        for width in (4, 64, 4096):
            batch = pack(rows, width)
            assert batch.weights.sum() == sum(row.num_targets for row in rows)


# --- the checked choice ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_tries_and_the_separate_head_are_chosen_for_every_family(family: str) -> None:
    learner, tries = choose_way(make_model(family), make_rows(6), allow_trie=True)
    assert tries
    assert not learner.own_head


def test_tries_can_be_forbidden() -> None:
    assert choose_way(make_model("gpt2"), make_rows(6), allow_trie=False)[1] is False


def sized(kind: type, **more: Any) -> Any:
    sizes = {"vocab_size": 400, "hidden_size": WIDTH, "intermediate_size": 64, "num_hidden_layers": 2}
    heads = {
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "pad_token_id": 0,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(kind(**sizes | heads | more))
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.dim() > 1 and "norm" not in name:
                weight.normal_(0.0, 0.2)
    return model


def test_a_sliding_window_shorter_than_the_rows_falls_back_to_padding() -> None:
    assert choose_way(sized(MistralConfig, sliding_window=6), make_rows(6), allow_trie=True)[1] is False
    assert choose_way(sized(MistralConfig, sliding_window=64), make_rows(6), allow_trie=True)[1] is True


def test_a_recurrent_model_falls_back_to_padding() -> None:
    model = sized(MambaConfig, state_size=4)
    learner, tries = choose_way(model, make_rows(6), allow_trie=True)
    assert not tries
    # Its norms compute in float32, so this is as close as it gets.
    assert_same(model.double(), learner, collate(make_rows(4), 0), make_rows(4), tolerance=1e-6)


def test_a_model_that_caps_its_logits_computes_them_itself() -> None:
    model = sized(Gemma2Config, head_dim=8, final_logit_softcapping=2.0, sliding_window=64, attn_implementation="eager")
    learner, _ = choose_way(model, make_rows(6), allow_trie=True)
    assert learner.own_head
    rows = make_rows(4)
    assert_same(model.double(), learner, collate(rows, 0), rows, tolerance=1e-6)


def test_a_model_that_sees_what_it_is_to_predict_is_refused() -> None:
    config = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    with pytest.raises(UsageError, match="BertLMHeadModel is no causal language model"):
        choose_way(AutoModelForCausalLM.from_config(config), [Row((1, 2, 3, 4), (2, 3, 4, 5))], allow_trie=True)


def test_damaged_weights_are_found_before_the_first_step() -> None:
    model = make_model("gpt2")
    with torch.no_grad():
        model.transformer.h[0].mlp.c_fc.weight[0, 0] = float("nan")
    with pytest.raises(UsageError, match="not a finite number before the first step"):
        choose_way(model, [Row((1, 2, 3, 4), (2, 3, 4, 5))], allow_trie=True)


def test_the_hidden_size_is_read_under_every_name() -> None:
    assert [hidden_size(make_model(family)) for family in FAMILIES] == [WIDTH] * len(FAMILIES)
