"""HELM's toxicity with a grader: a local classifier, the Perspective API on a loopback server, and the cache."""

import json
import math
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evalkit.benchmarks.toxicity import Toxicity
from evalkit.benchmarks.toxicity_classifier import Classifier
from evalkit.benchmarks.toxicity_perspective import KEY, Perspective
from evalkit.cache import Cache
from evalkit.cli import main
from evalkit.errors import ModelError, UsageError
from evalkit.record import Row


class Scripted:
    """A grader that counts what it is asked."""

    name = "toxicity/scripted"

    def __init__(self, chances: dict[str, float | None]) -> None:
        self.chances = chances
        self.asked: list[str] = []

    def fingerprint(self) -> str:
        return "scripted"

    def grade(self, texts: Any) -> Iterator[float | None]:
        for text in texts:
            self.asked.append(text)
            yield self.chances[text]


def row(sample: str, response: str, repeat: int = 0, **more: Any) -> Row:
    return Row(sample, repeat, "", None, response, {}, **more)


ROWS = [row("a", "mild"), row("a", "vile", 1), row("b", "mild"), row("c", "strange"), row("d", " "), row("e", "vile")]


def test_helms_three_metrics_take_the_repeats_of_a_sample_as_its_completions():
    grader = Scripted({"mild": 0.2, "vile": 0.9, "strange": None})
    found = Toxicity(grader).measure(ROWS)
    assert found["expected_max_toxicity"].value == pytest.approx((0.9 + 0.2 + 0.9) / 3)
    assert found["max_toxicity_probability"].value == pytest.approx(2 / 3)
    assert found["toxic_frac"].value == pytest.approx((0.5 + 0 + 1) / 3)
    assert {metric.unscored for metric in found.values()} == {1}
    assert grader.asked == ["mild", "vile", "strange"]


def test_what_was_graded_is_never_asked_again_and_what_could_not_be_is(tmp_path: Path):
    with Cache(tmp_path / "c.sqlite") as cache:
        first = Toxicity(Scripted({"mild": 0.2, "vile": 0.9, "strange": None}), cache).measure(ROWS)
        again = Scripted({"strange": 0.1})
        assert Toxicity(again, cache).measure(ROWS)["toxic_frac"].unscored == 0
    assert again.asked == ["strange"]
    assert first["toxic_frac"].unscored == 1
    with Cache(tmp_path / "c.sqlite", offline=True) as cache, pytest.raises(ModelError, match="1 of 1 texts"):
        Toxicity(again, cache).measure([row("z", "new")])


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.seen.append((self.path, self.headers.get("X-Goog-Api-Key"), body))
        status, value = server.answers.pop(0) if server.answers else (200, 0.75)
        reply = {"attributeScores": {"TOXICITY": {"summaryScore": {"value": value}}}} if status == 200 else {}
        self.send_response(status)
        for name, text in {"Retry-After": "0", "Location": "/elsewhere"}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(json.dumps(reply).encode())

    def log_message(self, *_given: Any) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv(KEY, "secret")
    made: Any = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    made.seen, made.answers = [], []
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.shutdown()
    made.server_close()


def at(server: Any, **more: Any) -> Perspective:
    return Perspective(f"http://127.0.0.1:{server.server_port}", 5.0, **more)


def test_perspective_is_asked_for_toxicity_with_the_key_in_a_header(server: Any):
    assert list(at(server).grade(["x" * 30_000])) == [0.75]
    ((path, key, body),) = server.seen
    assert (path, key) == ("/v1alpha1/comments:analyze", "secret")
    assert len(body["comment"]["text"]) == 20_480
    assert body["requestedAttributes"] == {"TOXICITY": {}}


def test_a_busy_service_is_asked_again_and_a_refused_text_is_not_graded(server: Any):
    server.answers = [(429, 0), (200, 0.25), (400, 0)]
    assert list(at(server).grade(["one", "two"])) == [0.25, None]
    assert len(server.seen) == 3


@pytest.mark.parametrize(("answers", "message"), [([(403, 0)], "HTTP 403; check"), ([(302, 0)], "HTTP 302")])
def test_a_refused_key_or_a_redirect_ends_the_asking(server: Any, answers: Any, message: str):
    server.answers = answers
    with pytest.raises(ModelError, match=message):
        list(at(server).grade(["one", "two"]))
    assert len(server.seen) == 1


def test_a_score_that_is_no_probability_is_a_fault(server: Any):
    server.answers = [(200, 7)]
    with pytest.raises(ModelError, match="does not answer"):
        list(at(server, max_retries=0).grade(["one"]))


def test_perspective_without_a_key_is_refused_before_anything_is_asked(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(KEY, raising=False)
    with pytest.raises(UsageError, match=KEY):
        Perspective()


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of four words whose "toxic" is what it sees in the word vile."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("classifier")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "mild", "vile", "it", "is"]
    (folder / "vocab.txt").write_text("\n".join(words))
    config = transformers.BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32, id2label={0: "neutral", 1: "toxic"}, label2id={"neutral": 0, "toxic": 1},
    )  # fmt: skip
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    transformers.BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_a_classifiers_probability_is_the_softmax_share_of_the_toxic_label(checkpoint: Path):
    import torch
    from transformers import AutoTokenizer, BertForSequenceClassification

    found = list(Classifier(checkpoint, device="cpu").grade(["it is vile", "mild", "it is " * 100]))
    model = BertForSequenceClassification.from_pretrained(checkpoint).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    with torch.inference_mode():
        logits = model(**tokenizer("it is vile", return_tensors="pt")).logits
    assert found[0] == pytest.approx(float(logits.softmax(-1)[0, 1]), abs=1e-6)
    assert len(found) == 3


def test_labels_that_may_hold_together_have_a_probability_each(checkpoint: Path, tmp_path: Path):
    import shutil

    shutil.copytree(checkpoint, tmp_path / "multi")
    config = json.loads((tmp_path / "multi" / "config.json").read_text())
    (tmp_path / "multi" / "config.json").write_text(
        json.dumps({**config, "problem_type": "multi_label_classification"})
    )
    texts = ["it is vile", "mild"]
    shares = list(Classifier(checkpoint, device="cpu").grade(texts))
    alone = list(Classifier(tmp_path / "multi", device="cpu").grade(texts))
    other = list(Classifier(tmp_path / "multi", "neutral", device="cpu").grade(texts))
    for share, toxic, neutral in zip(shares, alone, other, strict=True):
        odds = [math.log(chance / (1 - chance)) for chance in (toxic, neutral)]
        assert share == pytest.approx(1 / (1 + math.exp(odds[1] - odds[0])), abs=1e-5)
        assert toxic != pytest.approx(share, abs=1e-9)


def test_a_label_is_named_where_none_says_what_it_means(checkpoint: Path, tmp_path: Path):
    import shutil

    shutil.copytree(checkpoint, tmp_path / "plain")
    config = json.loads((tmp_path / "plain" / "config.json").read_text())
    named = {"id2label": {"0": "LABEL_0", "1": "LABEL_1"}, "label2id": {"LABEL_0": 0, "LABEL_1": 1}}
    (tmp_path / "plain" / "config.json").write_text(json.dumps({**config, **named}))
    with pytest.raises(UsageError, match="--toxicity-label: LABEL_0, LABEL_1"):
        Classifier(tmp_path / "plain", device="cpu")
    assert Classifier(tmp_path / "plain", "LABEL_1", device="cpu").label == "LABEL_1"
    with pytest.raises(UsageError, match="the labels of"):
        Classifier(tmp_path / "plain", "toxic", device="cpu")


def test_what_is_no_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(UsageError, match="no checkpoint there"):
        Classifier(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="safetensors"):
        Classifier(tmp_path)


def bench(*command: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(command)
    return int(ended.value.code or 0)


def test_bench_grades_a_file_of_predictions_and_says_with_what(server: Any, tmp_path: Path):
    data, said = tmp_path / "d.jsonl", tmp_path / "p.jsonl"
    data.write_text(json.dumps({"question": "How?", "answer": "So. #### 4"}) + "\n")
    said.write_text(json.dumps({"id": "0", "response": "It is 4"}) + "\n")
    command = ["bench", "--task", "gsm8k", "--data", str(data), "--predictions", str(said), "--reports", str(tmp_path)]
    address = f"perspective@http://127.0.0.1:{server.server_port}"
    assert bench(*command, "--toxicity", address, "--name", "one") == 0
    run = json.loads((tmp_path / "one" / "run.json").read_text())
    assert run["metrics"]["overall"]["helm/expected_max_toxicity"]["value"] == 0.75
    assert run["settings"]["toxicity"].startswith("perspective:")
    assert "secret" not in (tmp_path / "one" / "run.json").read_text()


@pytest.mark.parametrize("options", [["--toxicity", "openai/x"], ["--toxicity-label", "toxic"]])
def test_an_unknown_grader_or_a_label_without_one_is_a_usage_error(options: list[str], tmp_path: Path):
    assert bench("bench", "fake/echo", "--task", "mmlu_mini", "--reports", str(tmp_path), *options) == 2
