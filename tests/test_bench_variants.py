"""Official layouts as a stranger has them: packed, renamed, outputs to be judged, damage that must be named."""

import gzip
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bench_cases import assert_equal, score, write

from evalkit.benchmarks import TaskOptions, load_task
from evalkit.benchmarks.bench import judge_file, open_bench
from evalkit.benchmarks.files import read_csv, read_json, read_text
from evalkit.errors import DataError, UsageError
from evalkit.record import Run
from evalkit.runner import RunOptions
from evalkit.task import Response


def test_a_file_of_any_name_is_of_the_part_that_is_named(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "glue" / "CoLA" / "dev.tsv", tmp_path / "mine.tsv")
    said = shared / "glue" / "predictions" / "CoLA.noisy75.tsv"
    expected = json.loads((shared / "glue" / "expected.json").read_text())["tasks"]["CoLA"]["noisy75"]
    run = score("glue", tmp_path / "mine.tsv", said, tmp_path / "reports", subjects=("cola",))
    assert_equal(run.manifest.metrics.overall, expected)
    with pytest.raises(UsageError, match="Name it with --subject"):
        load_task("glue", TaskOptions(data=tmp_path / "mine.tsv"))


def test_a_superglue_file_of_any_name_is_of_the_part_that_is_named(shared: Path, tmp_path: Path) -> None:
    shutil.copy(shared / "superglue" / "CB" / "val.jsonl", tmp_path / "mine.jsonl")
    task = load_task("superglue", TaskOptions(data=tmp_path / "mine.jsonl", subjects=("cb",)))
    assert task.primary == "acc_and_f1"


def test_packed_files_are_read_whatever_their_name_says(shared: Path, tmp_path: Path) -> None:
    raw = (shared / "winogrande" / "predictions_noisy70.jsonl").read_bytes()
    data = shared / "winogrande" / "dev.jsonl"
    values = []
    for name in ("plain.jsonl", "packed.jsonl.gz", "unnamed.jsonl"):
        (tmp_path / name).write_bytes(raw if name == "plain.jsonl" else gzip.compress(raw))
        values.append(score("winogrande", data, tmp_path / name, tmp_path / "reports").primary.value)
    assert values[0] == values[1] == values[2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[" * 200_000, "nested too deeply"),
        (b'{"a": ' + b"9" * 6_000 + b"}", "number that cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "git lfs pull"),
    ],
)
def test_json_that_python_cannot_hold_is_one_sentence(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_json(tmp_path / "x.json")


def test_a_cut_gzip_file_is_no_shorter_file(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_bytes(gzip.compress(b'{"a": 1}\n' * 100)[:-8])
    with pytest.raises(DataError, match="not a whole gzip file"):
        read_text(tmp_path / "x.jsonl")


def test_a_line_separator_within_a_cell_ends_no_row(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\none\u2028two,three\x0c\r\n", encoding="utf-8", newline="")
    (record,) = read_csv(tmp_path / "x.csv")
    assert dict(record.values) == {"a": "one\u2028two", "b": "three\x0c"}


def test_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    content = {"name": "t", "description": "d", "keywords": [], "metrics": ["multiple_choice_grade"],
               "examples": [{"input": "a", "target_scores": {"x": float("nan"), "y": 1}}]}  # fmt: skip
    with pytest.raises(DataError, match="give each choice a number"):
        load_task("bigbench", TaskOptions(data=write(tmp_path / "task.json", content)))


def test_solutions_to_other_questions_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "d.jsonl", [{"question": "How many?", "answer": "2 #### 2"}])
    said = [{"question": "How much?", "m": {"solution": "2", "is_correct": True}}]
    with pytest.raises(DataError, match="answers another question"):
        score("gsm8k", data, write(tmp_path / "p.jsonl", said), tmp_path / "r", settings={"model": "m"})


def test_bbq_says_under_which_keys_answers_stand(shared: Path, tmp_path: Path) -> None:
    folder = shared / "helm" / "bbq"
    with pytest.raises(DataError, match="--set column=: unifiedqa"):
        score("bbq", folder / "Age.jsonl", folder / "preds_unifiedqa_Age.jsonl", tmp_path)


class Judge:
    """Says the same of everything, and counts."""

    name, style = "fake/judge", "chat"

    def __init__(self, reply: str) -> None:
        self.reply = reply
        self.asked: list[Any] = []

    def fingerprint(self) -> str:
        return "judge"

    def generate(self, requests: Any) -> Iterator[Response]:
        for request in requests:
            self.asked.append(request.prompt)
            yield Response(request.id, self.reply)

    def usage(self) -> dict[str, float]:
        return {}


def judged(task: str, data: Path, outputs: Path, judge: Judge, reports: Path) -> list[Run]:
    return list(judge_file(open_bench(task, TaskOptions(data=data)), outputs, judge, RunOptions(reports)))


def test_published_answers_to_mt_bench_are_judged_in_both_turns(tmp_path: Path) -> None:
    data = write(tmp_path / "q.jsonl", [{"question_id": 1, "category": "math", "turns": ["2+2?", "And 3+3?"]}])
    answers = [{"question_id": 1, "model_id": "m", "choices": [{"index": 0, "turns": ["four", "six"]}]}]
    judge = Judge("Rating: [[7]]")
    *_, run = judged("mt_bench", data, write(tmp_path / "a.jsonl", answers), judge, tmp_path / "reports")
    assert (run.primary.value, run.primary.n) == (7.0, 2)
    assert run.manifest.model == "predictions/a"
    assert any("six" in str(prompt) for prompt in judge.asked)
    with pytest.raises(DataError, match="judge them with --judge"):
        score("mt_bench", data, tmp_path / "a.jsonl", tmp_path / "reports")


def test_published_outputs_of_alpaca_eval_are_judged_against_the_baseline(tmp_path: Path) -> None:
    data = write(tmp_path / "base.json", [{"instruction": "Hi", "output": "Hello", "dataset": "d"}])
    outputs = write(tmp_path / "out.json", [{"instruction": "Hi", "output": "Hey you", "generator": "g"}])
    judge = Judge("?")
    *_, run = judged("alpaca_eval", data, outputs, judge, tmp_path / "reports")
    assert run.rows[0].fields["response_b"] == "Hello"
    assert run.rows[0].fields["response_a"] == "Hey you"
    with pytest.raises(DataError, match="judge them with --judge"):
        score("alpaca_eval", data, outputs, tmp_path / "reports")


def test_outputs_to_other_instructions_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "base.json", [{"instruction": "Hi", "output": "Hello", "dataset": "d"}])
    outputs = write(tmp_path / "out.json", [{"instruction": "Ho", "output": "Hey", "generator": "g"}])
    with pytest.raises(UsageError, match="not in the data"):
        judged("alpaca_eval", data, outputs, Judge("?"), tmp_path / "reports")


def test_a_benchmark_that_needs_no_judge_says_so(shared: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="leave --judge out"):
        judged("gsm8k", shared / "gsm8k" / "test.jsonl", tmp_path, Judge("?"), tmp_path / "reports")
