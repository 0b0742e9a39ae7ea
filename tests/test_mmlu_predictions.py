"""Letters predicted elsewhere as an MMLU Run: every way to write them, and files that do not fit the data."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from evalkit.benchmarks import TaskOptions
from evalkit.benchmarks.bench import score_file
from evalkit.errors import DataError, UsageError
from evalkit.record import Run
from evalkit.runner import RunOptions

KEY = ("B", "C", "A")
PREDICTED = ("B", "C", "D")
QUESTIONS = ("Which bone is long?", "Which is short?", "And, which is flat?")
"""Anatomy's three questions, their answers, and what was predicted: two of three are right."""


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    for part in ("dev", "test"):
        (folder / part).mkdir(parents=True)
        lines = [f'"{text}",None,NA,c,d,{letter}\n' for text, letter in zip(QUESTIONS, KEY, strict=True)]
        (folder / part / f"anatomy_{part}.csv").write_text("".join(lines))
    return folder


def _score(data: Path, predictions: Path, **more: Any) -> Run:
    options = TaskOptions(data, subjects=more.pop("subjects", ()))
    return score_file("mmlu", options, predictions, RunOptions(data.parent / "reports"), **more)


def _records(make: Callable[[int, str], dict[str, Any]]) -> str:
    return "".join(json.dumps(make(place, letter)) + "\n" for place, letter in enumerate(PREDICTED))


def _log(place: int, letter: str) -> dict[str, Any]:
    """A line of lm-eval 0.4.13's --log_samples."""
    values = [[str(-1.0 if one == letter else -2.0), "False"] for one in "ABCD"]
    doc = {"question": QUESTIONS[place], "subject": "anatomy", "choices": ["None", "NA", "c", "d"]}
    doc["answer"] = "ABCD".index(KEY[place])
    return {"doc_id": place, "doc": doc, "target": "1", "resps": [[pair] for pair in values], "filtered_resps": values}


WRITTEN = {
    "records.jsonl": _records(lambda place, letter: {"id": f"anatomy/{place:04d}", "prediction": letter}),
    "index.jsonl": _records(lambda p, letter: {"subject": "anatomy", "index": p, "response": "ABCD".index(letter)}),
    "key.jsonl": _records(lambda p, letter: {"id": f"anatomy/{p}", "answer": KEY[p], "pred": letter.lower()}),
    "text.jsonl": _records(lambda p, letter: {"id": f"anatomy/{p}", "response": f"The answer is ({letter})."}),
    "list.json": json.dumps([{"id": f"anatomy/{p}", "letter": letter} for p, letter in enumerate(PREDICTED)]),
    "mapping.json": json.dumps({f"anatomy/{place}": letter for place, letter in enumerate(PREDICTED)}),
    "two.csv": "".join(f"anatomy/{place},{letter}\n" for place, letter in enumerate(PREDICTED)),
    "three.csv": "".join(f"anatomy,{place},{letter}\n" for place, letter in enumerate(PREDICTED)),
    "header.csv": "prediction,subject,index\n" + "".join(f"{x},anatomy,{p}\n" for p, x in enumerate(PREDICTED)),
    "samples_mmlu_anatomy_2026-01-01T00-00-00.jsonl": _records(_log),
}


@pytest.mark.parametrize("name", sorted(WRITTEN))
def test_predictions_may_be_written_in_each_of_these_ways(data: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(WRITTEN[name])
    run = _score(data, tmp_path / name)
    assert [row.scores["acc"] for row in run.rows] == [1.0, 1.0, 0.0]
    assert [row.extra["choice"] for row in run.rows] == list(PREDICTED)
    assert run.manifest.protocol == "mmlu/predictions"
    assert run.manifest.metrics.groups["subject"]["anatomy"]["acc"].n == 3


def test_log_likelihoods_of_lm_evals_logs_give_calibration(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "model" / "samples_mmlu_anatomy_2026-01-01T00-00-00.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(_records(_log))
    metrics = _score(data, tmp_path / "logs").manifest.metrics.overall
    assert metrics["ece"].value is not None
    assert metrics["brier"].stderr is not None


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["anatomy/0,A", "anatomy/1,A", "anatomy/1,B", "anatomy/2,A"], "'anatomy/0001' is given twice"),
        (["anatomy/0,A", "anatomy/2,A"], "1 of 3 samples have no prediction, the first is 'anatomy/0001'"),
        (["anatomy/0,A", "anatomy/1,A", "anatomy/2,A", "virology/0,A"], "the first is 'virology/0000'"),
        (["first,A", "anatomy/1,A", "anatomy/2,A"], "the first is 'first'"),
        (["anatomy/0,7", "anatomy/1,A", "anatomy/2,A"], r"csv:1: .* a number 0 to 3, here it is '7'"),
        (["anatomy/0", "anatomy/1,A"], r"csv:1: 3 cells expected"),
        (["anatomy,zero,A"], "'index' must be a number from 0, here it is 'zero'"),
    ],
)
def test_what_does_not_fit_is_one_sentence_and_no_score(
    data: Path, tmp_path: Path, lines: Sequence[str], problem: str
) -> None:
    path = tmp_path / "letters.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=problem) as caught:
        _score(data, path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "reports").exists()


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"answer": "D"}, "the right answer of anatomy/0000 is D there and B in the data"),
        ({"answer": 3}, "the right answer of anatomy/0000 is D there and B in the data"),
        ({"question": "Another one?"}, "anatomy/0000 is another question there"),
        ({"prediction": 4}, "a letter A to D or a number 0 to 3"),
        ({"prediction": True}, "a letter A to D or a number 0 to 3"),
        ({"prediction": ["A"]}, "a letter A to D or a number 0 to 3"),
    ],
)
def test_a_file_of_another_version_of_the_data_is_refused(
    data: Path, tmp_path: Path, change: dict[str, Any], problem: str
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"id": "anatomy/0", "prediction": "A", **change}) + "\n")
    with pytest.raises(DataError, match=problem):
        _score(data, path)


def test_a_record_without_id_or_prediction_says_what_it_needs(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"subject": "anatomy", "prediction": "A"}\n')
    with pytest.raises(DataError, match=r"p\.jsonl:1: a prediction needs 'id' .* or 'subject' and 'index'"):
        _score(data, path)
    path.write_text('{"id": "anatomy/0", "answer": "A"}\n')
    with pytest.raises(DataError, match="no prediction under 'prediction'"):
        _score(data, path)


@pytest.mark.parametrize(("given", "reason"), [(None, "empty"), ("", "empty"), ("Navy", "unparsable")])
def test_an_answer_without_a_letter_is_unscored_and_not_wrong(
    data: Path, tmp_path: Path, given: Any, reason: str
) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"anatomy/0": "B", "anatomy/1": given, "anatomy/2": "A"}))
    run = _score(data, path)
    assert run.manifest.unscored == {reason: 1}
    assert (run.primary.value, run.primary.n) == (1.0, 2)


def test_predictions_of_subjects_that_were_not_chosen_are_left_aside(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({**{f"anatomy/{p}": x for p, x in enumerate(PREDICTED)}, "virology/0": "A"}))
    assert len(_score(data, path, subjects=("anatomy",)).rows) == 3


def test_only_answered_questions_may_be_scored(data: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps({"anatomy/2": "A"}))
    assert [row.id for row in _score(data, path, answered_only=True).rows] == ["anatomy/0002"]


def test_a_folder_without_logs_says_so(data: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"holds no samples_mmlu_\*\.jsonl"):
        _score(data, tmp_path / "empty")


@pytest.fixture
def command(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[Any, str, str]]:
    """Run a command line beside the data and a file of predictions; its exit code and what it printed."""
    from evalkit.cli import main

    (tmp_path / "p.csv").write_text(WRITTEN["two.csv"])
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[Any, str, str]:
        with pytest.raises(SystemExit) as left:
            main(words)
        return (left.value.code or 0, *capsys.readouterr())

    return run


def test_both_verbs_score_a_file(command: Callable[..., tuple[Any, str, str]]) -> None:
    _, first, _ = command("mmlu", "--predictions", "p.csv", "--data", "data", "--json")
    _, second, _ = command("bench", "--task", "mmlu", "--predictions", "p.csv", "--data", "data", "--json")
    one, two = json.loads(first), json.loads(second)
    assert one["metrics"] == two["metrics"]
    assert one["metrics"]["overall"]["acc"]["value"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("mmlu",), "either MODEL or --predictions"),
        (("mmlu", "fake/hash", "--predictions", "p.csv"), "either MODEL or --predictions"),
        (("mmlu", "--predictions", "p.csv", "--data", "data", "--protocol", "chat"), "leave it out"),
        (("mmlu", "--predictions", "p.csv", "--data", "data", "--rotate"), "leave --rotate"),
        (("mmlu", "--predictions", "nowhere.csv", "--data", "data"), "no such file of predictions"),
    ],
)
def test_a_command_that_makes_no_sense_is_refused(
    command: Callable[..., tuple[Any, str, str]], words: Sequence[str], problem: str
) -> None:
    code, _, said = command(*words)
    assert code == 2
    assert problem in said
    assert len(said.splitlines()) == 1


def test_real_predictions_give_the_official_averages(shared: Path, tmp_path: Path) -> None:
    rows = json.loads((shared / "mmlu" / "test_row_index.json").read_text())
    expected = json.loads((shared / "mmlu" / "expected.json").read_text())
    lines = (shared / "mmlu" / "predictions_fedllm_checkpoint0.jsonl").read_text().splitlines()
    places = {subject: {row: place for place, row in enumerate(listed)} for subject, listed in rows.items()}
    found = [json.loads(line) for line in lines]
    written = [{**one, "index": places[one["subject"]][one["row"]]} for one in found]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in written))
    options = TaskOptions(shared / "mmlu")
    run = score_file("mmlu", options, path, RunOptions(tmp_path / "reports"), answered_only=True)
    # Two predictions hold no letter: wrong in the expected numbers, unscored here.
    assert run.manifest.unscored == {"unparsable": 2}
    acc = run.manifest.metrics.overall["acc"]
    assert acc.value is not None
    assert acc.value * acc.n / expected["n"] == pytest.approx(expected["micro_accuracy"], abs=1e-12)
    for subject in ("abstract_algebra", "virology"):
        value = run.manifest.metrics.groups["subject"][subject]["acc"].value
        assert value == pytest.approx(expected["per_subject"][subject], abs=1e-12)
