"""`evalkit models` and `evalkit audit` as commands, against a loopback Ollama server and without any."""

import json
from pathlib import Path

import pytest
from servers.loopback import Loopback

from evalkit.cli import main


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(words))
    return int(stopped.value.code or 0)


def test_the_models_of_the_server_are_listed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Loopback("ollama") as server:
        monkeypatch.setenv("OLLAMA_HOST", server.url)
        assert run("models", "--json") == 0
    assert json.loads(capsys.readouterr().out)["models"]


def test_without_a_server_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    assert run("models") == 2
    assert "ollama serve" in capsys.readouterr().err


def test_an_audit_reports_agreement_attacks_and_unknown_prices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("audit", "reference", "--reports", str(tmp_path), "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["card"]["accuracy"]["value"] > document["card"]["longest_accuracy"]
    names = [attack["attack"] for attack in document["attacks"]["open"]]
    assert names[0] == "control"
    assert names == [attack["attack"] for attack in document["attacks"]["fenced"]]


@pytest.mark.parametrize(("judge", "cost"), [("reference", "0.0000"), ("fake/hash", "unknown")])
def test_the_price_of_an_audit_is_nothing_only_where_nobody_is_paid(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], judge: str, cost: str
) -> None:
    assert run("audit", judge, "--limit", "4", "--reports", str(tmp_path)) == 0
    assert f"US dollars per 1,000 judgements\t{cost}" in capsys.readouterr().out
