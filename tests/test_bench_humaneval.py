"""HumanEval through the sandbox: official verdicts on real completions, pass@k, code out of chat replies."""

import ast
import gzip
import json
import time
from pathlib import Path
from typing import Any

import pytest
from bench_cases import assert_equal, score, write

from evalkit.benchmarks import TaskOptions, load_task
from evalkit.benchmarks.bench import open_bench
from evalkit.benchmarks.code import extract_completion, parsing_lines
from evalkit.errors import DataError, UsageError
from evalkit.models.fake import FakeModel
from evalkit.record import Run
from evalkit.runner import RunOptions, run

PROBLEM = {
    "task_id": "test/0",
    "prompt": "def add(a, b):\n",
    "canonical_solution": "    return a + b\n",
    "test": "def check(candidate):\n    assert candidate(1, 2) == 3\n",
    "entry_point": "add",
}


def lines(path: Path) -> list[dict[str, Any]]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in content.decode().splitlines()]


def expected(shared: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared / "humaneval" / "expected.json").read_text())
    return content


def verdicts(run: Run, samples: list[dict[str, Any]]) -> str:
    """One digit for each row, in the official order: problems as the file of samples has them."""
    rows: dict[str, list[str]] = {}
    for row in run.rows:
        rows.setdefault(str(row.cluster), []).append(str(int(row.scores["pass@1"])))
    return "".join("".join(rows[task]) for task in dict.fromkeys(one["task_id"] for one in samples) if task in rows)


FILES = ["samples_canonical.jsonl", "samples_gpt-3.5-turbo.jsonl", "samples_text-davinci-003.jsonl",
         "samples_wizardcoder15b.jsonl", "samples_corrupted.jsonl"]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_every_verdict_and_pass_at_k_equal_the_official_ones(shared: Path, tmp_path: Path, name: str) -> None:
    folder, values = shared / "humaneval", expected(shared)["files"][name]
    files = (folder / "HumanEval.jsonl.gz", folder / name)
    run = score("humaneval", *files, tmp_path, settings={"k": "1,2,3,5"}, answered_only=True)
    assert_equal(run.manifest.metrics.overall, values["pass@k"])
    assert verdicts(run, lines(folder / name)) == values["passed"]


@pytest.mark.parametrize("name", ["samples_wizardcoder15b.jsonl", "samples_text-davinci-003.jsonl"])
def test_the_first_verdicts_of_real_models_equal_the_official_ones(shared: Path, tmp_path: Path, name: str) -> None:
    folder = shared / "humaneval"
    samples = lines(folder / name)
    wanted = dict(zip([one["task_id"] for one in samples], expected(shared)["files"][name]["passed"], strict=True))
    problems = lines(folder / "HumanEval.jsonl.gz")[:15]
    kept = {problem["task_id"] for problem in problems}
    data = write(tmp_path / "problems.jsonl", problems)
    predictions = write(tmp_path / "samples.jsonl", [one for one in samples if one["task_id"] in kept])
    run = score("humaneval", data, predictions, tmp_path / "reports")
    assert [str(int(row.scores["pass@1"])) for row in run.rows] == [wanted[problem["task_id"]] for problem in problems]


@pytest.mark.slow
def test_the_official_example_gives_the_official_value(shared: Path, tmp_path: Path) -> None:
    folder = shared / "humaneval"
    run = score("humaneval", folder / "example_problem.jsonl", folder / "example_samples.jsonl", tmp_path)
    assert_equal(run.manifest.metrics.overall, {"pass@1": expected(shared)["example_samples.jsonl"]["pass@1"]})


@pytest.mark.slow
def test_pooled_samples_of_four_models_equal_the_official_estimates(shared: Path, tmp_path: Path) -> None:
    folder = shared / "humaneval"
    (key,) = [name for name in expected(shared) if name.startswith("pooled")]
    pooled = [one for name in FILES if "corrupted" not in name for one in lines(folder / name)]
    predictions = write(tmp_path / "pooled.jsonl", pooled)
    run = score("humaneval", folder / "HumanEval.jsonl.gz", predictions, tmp_path, settings={"k": "1,2,3,4"})
    assert_equal(run.manifest.metrics.overall, expected(shared)[key])


@pytest.mark.slow
def test_code_taken_out_of_real_chat_replies_gets_the_published_verdicts(shared: Path, tmp_path: Path) -> None:
    folder = shared / "humaneval"
    replies = [
        {"task_id": one["task_id"], "completion": one["all_code"].partition("### Response:")[2]}
        for one in lines(folder / "raw_wizardcoder15b.jsonl")
    ]
    files = (folder / "HumanEval.jsonl.gz", write(tmp_path / "replies.jsonl", replies))
    run = score("humaneval", *files, tmp_path, settings={"extract": "yes"})
    values = expected(shared)["files"]["samples_wizardcoder15b.jsonl"]
    assert verdicts(run, lines(folder / "samples_wizardcoder15b.jsonl")) == values["passed"]


def test_several_samples_of_a_problem_give_pass_at_k_over_problems(tmp_path: Path) -> None:
    bodies = ["    return a + b", "    return 0", "    return a + b", "    raise SystemExit(0)"]
    predictions = write(tmp_path / "s.jsonl", [{"task_id": "test/0", "completion": body} for body in bodies])
    run = score("humaneval", write(tmp_path / "p.jsonl", [PROBLEM]), predictions, tmp_path, settings={"k": "1,2,10"})
    assert_equal(run.manifest.metrics.overall, {"pass@1": 0.5, "pass@2": 5 / 6})
    assert set(run.manifest.metrics.overall) == {"pass@1", "pass@2"}
    assert [row.id for row in run.rows] == [f"test/0#{place}" for place in range(4)]


def test_a_base_model_continues_the_prompt_and_a_chat_model_is_asked_for_the_function(tmp_path: Path) -> None:
    options = TaskOptions(data=write(tmp_path / "p.jsonl", [PROBLEM]), settings={"temperature": "0.8"})
    task = load_task("humaneval", options)
    base, chat = (task.render(task.samples[0], style) for style in ("plain", "chat"))
    assert base.prompt == PROBLEM["prompt"]
    assert "\ndef" in base.params.stop
    assert base.params.temperature == 0.8
    assert "```python\ndef add(a, b):\n```" in chat.prompt[0].content  # type: ignore[union-attr]


def test_repeats_of_a_model_are_the_samples_of_a_problem_and_can_be_written_officially(tmp_path: Path) -> None:
    bench = open_bench("humaneval", TaskOptions(data=write(tmp_path / "p.jsonl", [PROBLEM]), settings={"k": "1,2,3"}))
    model = FakeModel("say:```python\ndef add(a, b):\n    return a + b\n```", "chat")
    done = run(bench.task, model, RunOptions(tmp_path / "reports", repeats=3))
    assert_equal(done.manifest.metrics.overall, {"pass@1": 1.0, "pass@3": 1.0})
    assert bench.family.write_predictions is not None
    bench.family.write_predictions([done], tmp_path / "samples.jsonl")
    assert [one["task_id"] for one in lines(tmp_path / "samples.jsonl")] == ["test/0"] * 3


PROMPT = 'import math\n\n\ndef area(r):\n    """Area."""\n'
WHOLE = "def area(r):\n    return math.pi * r ** 2\n"


@pytest.mark.parametrize(
    ("reply", "completion"),
    [
        ("    return 3 * r * r\n", "    return 3 * r * r\n"),
        (f"Sure!\n```python\n{WHOLE}```\nIt uses pi.", "\n" + WHOLE),
        (f"```\nprint(1)\n```\nthen\n```py\n{WHOLE}```", "\n" + WHOLE),
        (f"Here it is:\n{WHOLE}This returns the area.", "\n" + WHOLE.rstrip("\n")),
        (f"```python\n{WHOLE}", "\n" + WHOLE),
        ("```python\nreturn 3 * r\n```", "    return 3 * r\n"),
        ("```python\n    return 3 * r\n```", "    return 3 * r\n"),
        (PROMPT + "    return 1\n", "    return 1\n"),
        ("```python\r\ndef area(r):\r\n    return 1\r\n```", "\ndef area(r):\n    return 1\n"),
        ("1. First\n   ```python\n   def area(r):\n       return 1\n   ```", "\ndef area(r):\n    return 1\n"),
    ],
)
def test_the_completion_is_found_in_a_reply(reply: str, completion: str) -> None:
    assert extract_completion(reply, PROMPT, "area") == completion


def test_evalplus_records_are_tested_against_their_reference_within_the_tolerance(tmp_path: Path) -> None:
    plus = {key: PROBLEM[key] for key in ("task_id", "prompt", "canonical_solution", "entry_point")}
    plus |= {"base_input": [[1, 2]], "plus_input": [[0.1, 0.2], [-1, 1]], "atol": 0, "contract": ""}
    bodies = ["    return b + a", "    return a + b + 1e-9", "    return abs(a + b) or 1"]
    predictions = write(tmp_path / "s.jsonl", [{"task_id": "test/0", "completion": body} for body in bodies])
    run = score("humaneval", write(tmp_path / "p.jsonl", [plus]), predictions, tmp_path, settings={"timeout": 3})
    assert [row.scores["pass@1"] for row in run.rows] == [1.0, 0.0, 0.0]
    assert run.manifest.protocol == "humaneval+/predictions"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"task_id": "test/9", "completion": ""}], "belong to another version"),
        ([{"task_id": "test/0"}], "the key 'completion' is missing"),
        ([{"task_id": "test/0", "completion": None}], "'completion' must be text"),
    ],
)
def test_samples_that_do_not_fit_are_refused(tmp_path: Path, rows: list[Any], message: str) -> None:
    files = (write(tmp_path / "p.jsonl", [PROBLEM]), write(tmp_path / "s.jsonl", rows))
    with pytest.raises(UsageError, match=message):
        score("humaneval", *files, tmp_path / "reports")


def test_problems_without_samples_are_refused(tmp_path: Path) -> None:
    data = write(tmp_path / "p.jsonl", [PROBLEM, {**PROBLEM, "task_id": "test/1"}])
    predictions = write(tmp_path / "s.jsonl", [{"task_id": "test/0", "completion": "    return a + b"}])
    with pytest.raises(UsageError, match="1 of 2 samples have no prediction, the first is 'test/1'"):
        score("humaneval", data, predictions, tmp_path / "reports")


def test_a_truncated_gzip_file_is_refused(shared: Path, tmp_path: Path) -> None:
    whole = (shared / "humaneval" / "HumanEval.jsonl.gz").read_bytes()
    path = tmp_path / "HumanEval.jsonl.gz"
    for content in (whole[: len(whole) // 2], whole[:-4], b"not gzip", whole[:50] + b"\0" * 50 + whole[100:]):
        path.write_bytes(content)
        with pytest.raises(DataError, match="not a whole gzip file"):
            load_task("humaneval", TaskOptions(data=path))


def test_a_duplicated_problem_and_a_bad_k_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'test/0' is given twice"):
        load_task("humaneval", TaskOptions(data=write(tmp_path / "p.jsonl", [PROBLEM, PROBLEM])))
    with pytest.raises(UsageError, match="--set k=0"):
        load_task("humaneval", TaskOptions(data=write(tmp_path / "p.jsonl", [PROBLEM]), settings={"k": "0"}))


PROSE = ["It's the usual way.", "x = (1,", "else:", "    odd", "print 'a'", "f'{a b}'", "try:", "'''open"]


@pytest.mark.parametrize(
    "reply",
    [
        'So:\n```python\ndef f(x):\n    """Use:\n    ```\n    f(1)\n    ```\n    """\n    return x\n```\nDone.',
        '````python\ndef f(x):\n    """\n```\n"""\n    return x\n````\nDone.',
        "~~~python\ndef f(x):\n    return x\n~~~\nDone.",
        "\ufeffSo:\r\n```python\r\ndef f(x):\r\n\treturn x\r\n```\r\nDone.",
        "```bash\npip install f\n```\nThen\n```python\ndef f(x):\n    return x\n```\nDone.",
    ],
)
def test_fences_of_every_kind_are_opened(reply: str) -> None:
    names: dict[str, Any] = {}
    prompt = 'def f(x):\n    """One."""\n'
    exec(prompt + extract_completion(reply, prompt, "f"), names)
    assert names["f"](3) == 3


@pytest.mark.parametrize("prose", PROSE)
@pytest.mark.parametrize("place", [0, 3, 5, 9])
def test_code_ends_where_trying_every_line_says(prose: str, place: int) -> None:
    lines = [
        "import os",
        "",
        "def f(x):",
        "    if x:",
        "        return 1",
        "    return (2 +",
        "        3)",
        "",
        "f(1)",
    ]
    lines.insert(place, prose)
    expected = next((end for end in range(len(lines), 0, -1) if _parses("\n".join(lines[:end]))), 0)
    assert parsing_lines("\n".join(lines)) == expected


def _parses(code: str) -> bool:
    try:
        ast.parse(code)
    except SyntaxError:
        return False
    return True


HOSTILE = {
    "signs": "-" * 150_000 + "1",
    "brackets": "[" * 90_000 + "]" * 90_000,
    "branches": "if x:\n pass\n" + "elif x:\n pass\n" * 12_000,
    "attributes": "a" + ".b" * 90_000,
    "lambdas": "lambda:" * 25_000 + "1",
    "zero": "a\0b",
    "surrogate": "x = '\ud800",
    "far too long": "x = 1\n" * 100_000,
    "blank lines": "\n" * 150_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_reply_that_could_exhaust_the_parser_is_kept_as_it_is(name: str) -> None:
    reply = f"Here it is:\ndef f(x):\n    return 1\n\n{HOSTILE[name]}"
    started = time.monotonic()
    completion = extract_completion(reply, 'def f(x):\n    """One."""\n', "f")
    assert "def f(x):\n    return 1" in completion
    assert time.monotonic() - started < 10
