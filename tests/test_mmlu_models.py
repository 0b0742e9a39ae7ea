"""MMLU asked of servers and of a local model, as a user asks it on the command line."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from servers.loopback import Loopback

Command = Callable[..., tuple[Any, str, str]]


@pytest.fixture(scope="module")
def completions() -> Iterator[Loopback]:
    with Loopback("openai") as server:
        yield server


@pytest.fixture(scope="module")
def ollama() -> Iterator[Loopback]:
    with Loopback("ollama") as server:
        yield server


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run a command line in a folder of its own; its exit code and what it printed."""
    from evalkit.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "x")

    def run(*words: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as left:
            main(words)
        return (left.value.code or 0, *capsys.readouterr())

    return run


def test_a_completions_server_is_asked_once_per_question_for_the_generated_token(
    completions: Loopback, command: Command
) -> None:
    completions.plan(record=True)
    code, printed, _ = command("mmlu", f"openai/tiny@{completions.url}/v1", "--limit", "8", "--json")
    assert code == 0
    assert json.loads(printed)["metrics"]["overall"]["acc"]["n"] == 8
    bodies = completions.stats()["bodies"]
    assert len(bodies) == 8
    assert {(body["max_tokens"], body["logprobs"], body.get("echo")) for body in bodies} == {(1, 20, None)}
    assert all(body["prompt"].endswith("\nAnswer:") for body in bodies)


def test_an_ollama_without_log_probabilities_is_asked_to_write_the_letter(
    ollama: Loopback, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ollama.url)
    ollama.plan(old=True)
    code, printed, said = command("mmlu", "ollama/tiny:1b", "--limit", "4", "--json")
    assert code == 0
    assert json.loads(printed)["protocol"] == "mmlu/generate-5shot"
    assert "ollama/tiny:1b gives no log-probabilities: asked to write the letter (--protocol generate)" in said


def test_a_protocol_that_was_demanded_is_not_changed(
    ollama: Loopback, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", ollama.url)
    ollama.plan(old=True)
    code, _, said = command("mmlu", "ollama/tiny:1b", "--limit", "4", "--protocol", "chat")
    assert code == 3
    assert "gave no log-probabilities: ask with a protocol that generates" in said


def test_a_server_that_does_not_take_the_wish_is_asked_to_write_the_letter(
    completions: Loopback, command: Command
) -> None:
    completions.plan(untaken=["logprobs"])
    code, printed, _ = command("mmlu", f"openai/tiny@{completions.url}/v1", "--limit", "4", "--json")
    assert code == 0
    assert json.loads(printed)["protocol"] == "mmlu/generate-5shot"


def test_letters_that_cannot_be_extracted_are_unscored(completions: Loopback, command: Command) -> None:
    completions.plan()
    words = ("mmlu", f"openai/tiny@{completions.url}/v1", "--limit", "4", "--protocol", "generate", "--json")
    document = json.loads(command(*words)[1])
    assert document["unscored"] == {"unparsable": 4}
    assert document["metrics"]["overall"]["acc"]["value"] is None


def test_fewer_than_no_shots_are_refused(command: Command) -> None:
    code, _, said = command("mmlu", "fake/hash", "--num-fewshot", "-1")
    assert (code, said) == (2, "evalkit: --num-fewshot -1: give a number of at least 0\n")


@pytest.mark.parametrize("protocol", ["hendrycks", "lm-eval", "chat", "generate", "cot"])
def test_a_local_model_is_asked_in_every_protocol_and_says_what_it_took(
    protocol: str, command: Command, tmp_path: Path
) -> None:
    pytest.importorskip("torch")
    from tiny_models import make_tokenizer, save_base

    folder = save_base(tmp_path / "model", n_positions=1024)
    tokenizer = make_tokenizer()
    tokenizer.chat_template = (
        "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    tokenizer.save_pretrained(folder)
    shots = () if protocol == "cot" else ("--num-fewshot", "1")
    words = ("mmlu", str(folder), "--protocol", protocol, *shots, "--limit", "2", "--max-batch-tokens", "4096")
    code, printed, said = command(*words)
    assert code == 0
    names = [line.split("\t")[0] for line in printed.splitlines()]
    assert {"acc", "acc_macro", "STEM", "abstract_algebra"} <= set(names)
    assert {"ece", "brier"} <= set(names) or protocol in {"generate", "cot"}
    assert "forwarded (1.00 x the minimum of " in said
