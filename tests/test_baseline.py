"""Baseline files: small, diffable, equal to the Run they were made of, and refused where they are not whole."""

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from gate_runs import make_run, save

from evalkit.baseline import accept, find_runs, is_baseline, read_baseline, read_baselines
from evalkit.compare import compare_runs
from evalkit.errors import EvalkitError, RecordError, UsageError
from evalkit.gate import run_gate
from evalkit.stats.decision import Verdict


def test_a_baseline_compares_like_the_run_it_was_made_of(tmp_path: Path) -> None:
    scores = [[1.0, 0.5], [0.25, None], [1 / 3, 0.0]]
    run = make_run(scores, name="base", clusters=["a", "a", "b"], more={"f1": [0.1, 0.2, 0.3]})
    stored = read_baseline(accept(run, tmp_path))
    for metric in ("acc", "f1"):
        assert stored.scores(metric) == run.scores(metric)
    candidate = make_run([[0.0, 0.5], [1.0, 0.0], [1.0, 1.0]], clusters=["a", "a", "b"])
    assert compare_runs(stored, candidate).result.difference == compare_runs(run, candidate).result.difference
    assert stored.manifest.unscored == {"refused": 1}
    assert run_gate([run], [stored]).verdict is run_gate([run], [run]).verdict


def test_a_baseline_file_has_one_sample_per_line_in_the_order_of_ids(tmp_path: Path) -> None:
    path = accept(make_run([1, 0, 1], ids=["z", "ä", "b"]), tmp_path)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if '"id"' in line]
    assert [json.loads(line.rstrip(","))["id"] for line in lines] == ["b", "z", "ä"]


def test_accepting_the_same_run_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_run([1, 0, 1])
    first = accept(run, tmp_path, reason="why").read_bytes()
    assert accept(run, tmp_path, reason="why").read_bytes() == first
    assert json.loads(first)["reason"] == "why"


def test_a_changed_sample_changes_one_line(tmp_path: Path) -> None:
    texts = []
    for scores in ([1, 0, 1], [1, 1, 1]):
        run = make_run(scores, manifest={"metrics": make_run([1]).manifest.metrics})
        texts.append(accept(run, tmp_path).read_text().splitlines())
    assert sum(a != b for a, b in zip(*texts, strict=True)) == 1


def test_a_baseline_takes_about_twenty_bytes_per_sample_when_packed(tmp_path: Path) -> None:
    path = accept(make_run([[1.0, 0.0, 1.0, 1.0]] * 2000, ids=[f"subject/{i:05d}" for i in range(2000)]), tmp_path)
    assert len(gzip.compress(path.read_bytes())) < 20 * 2000


def test_planted_canaries_are_left_out(tmp_path: Path) -> None:
    run = make_run([1, 0, 1], tags=[(), (), ("canary",)])
    stored = read_baseline(accept(run, tmp_path))
    assert len(stored.rows) == 2
    assert run_gate([run], [stored]).verdict is Verdict.PASS


def test_a_row_without_any_score_stays_a_row(tmp_path: Path) -> None:
    run = make_run([1, 0, 1])
    bare = replace(run, rows=(replace(run.rows[0], scores={}), *run.rows[1:]))
    assert len(read_baseline(accept(bare, tmp_path)).rows) == 3


@pytest.mark.parametrize("sample", ["a/b", '"quoted"', "line\nbreak", "\ud800", "::error::", "</script>"])
def test_any_sample_id_survives(sample: str, tmp_path: Path) -> None:
    stored = read_baseline(accept(make_run([1, 0], ids=[sample, "other"]), tmp_path))
    assert {row.id for row in stored.rows} == {sample, "other"}


@pytest.mark.parametrize("task", ["../outside", "a/b", ".hidden", ""])
def test_a_task_name_never_leaves_the_folder(task: str, tmp_path: Path) -> None:
    assert accept(make_run([1.0], task=task), tmp_path / "base").parent == tmp_path / "base"


def test_what_is_not_whole_is_no_baseline(tmp_path: Path) -> None:
    run = make_run([1, 0])
    with pytest.raises(UsageError, match="interrupted"):
        accept(replace(run, manifest=replace(run.manifest, status="interrupted")), tmp_path)
    with pytest.raises(UsageError, match="damaged"):
        accept(replace(run, damage=("line 3",)), tmp_path)
    with pytest.raises(UsageError, match="no scored sample"):
        accept(make_run([None, None]), tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("{", "damaged"),
        ("[]", "not a baseline of this version"),
        ('{"evalkit_baseline": 99}', "99"),
        ('{"evalkit_baseline": 1}', "damaged"),
        ('{"evalkit_baseline": 1, "items": [{"scores": {"acc": 3}}]}', "damaged"),
        ("\xff", "damaged"),
    ],
)
def test_a_file_that_is_no_baseline_is_exit_code_3(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "b.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(RecordError, match=problem) as found:
        read_baseline(path)
    assert found.value.exit_code == 3


def test_a_name_stands_for_a_run_a_baseline_or_a_folder_of_baselines(tmp_path: Path) -> None:
    run = make_run([1, 0], name="r")
    save(run, tmp_path)
    folder = tmp_path / "baseline"
    accept(run, folder)
    accept(make_run([1, 0], name="r2", task="u"), folder)
    assert [found.id for found in find_runs("r", tmp_path)] == ["r"]
    assert [found.manifest.task for found in find_runs("u", tmp_path)] == ["u"]
    assert [found.manifest.task for found in find_runs(str(folder), tmp_path)] == ["t", "u"]
    assert is_baseline(find_runs("u", tmp_path)[0])
    assert not is_baseline(find_runs("r", tmp_path)[0])
    with pytest.raises(EvalkitError, match="nope") as found:
        find_runs("nope", tmp_path)
    assert found.value.exit_code == 3


def test_a_missing_folder_holds_no_baselines(tmp_path: Path) -> None:
    assert read_baselines(tmp_path / "none") == []
    with pytest.raises(EvalkitError, match="evalkit baseline accept"):
        read_baseline(tmp_path / "none.json")


def test_a_disk_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RecordError, match="cannot write the baseline"):
        accept(make_run([1.0]), tmp_path / "file" / "base")


def test_a_run_with_a_score_that_is_no_number_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="acc of sample 's001' is nan"):
        accept(make_run([1.0, float("nan")]), tmp_path)


@pytest.mark.parametrize("change", [{"scale": 0}, {"repeats": 0}, {"items": "twice"}])
def test_a_baseline_that_a_merge_has_damaged_is_exit_code_3(change: dict[str, Any], tmp_path: Path) -> None:
    path = accept(make_run([1, 0]), tmp_path)
    content = json.loads(path.read_text())
    change = {"items": [*content["items"], content["items"][0]]} if "items" in change else change
    path.write_text(json.dumps(content | change))
    with pytest.raises(RecordError, match="damaged") as found:
        read_baseline(path)
    assert found.value.exit_code == 3
