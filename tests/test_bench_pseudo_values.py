"""Corpus metrics by sample: rows carry shares whose mean is the official value, and compare and gate use them."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from bench_cases import score, write

from evalkit.baseline import accept, read_baselines
from evalkit.compare import compare_runs
from evalkit.compare.errors import NotComparable
from evalkit.gate import run_gate
from evalkit.gate.rules import GateRule
from evalkit.record import Run, read_run
from evalkit.stats.decision import Verdict


def answers(path: Path, labels: list[int]) -> Path:
    lines = [f"{place}\t{label}\n" for place, label in enumerate(labels)]
    path.write_text("index\tprediction\n" + "".join(lines), encoding="utf-8")
    return path


def cola(shared: Path, tmp_path: Path, share: float, name: str) -> Run:
    """CoLA's dev set with this share of right labels."""
    lines = (shared / "glue" / "CoLA" / "dev.tsv").read_text(encoding="utf-8").splitlines()
    rng = np.random.default_rng(int(share * 100))
    labels = [int(line.split("\t")[1]) for line in lines]
    said = [label if rng.random() < share else 1 - label for label in labels]
    made = score("glue", shared / "glue" / "CoLA", answers(tmp_path / f"{name}.tsv", said), tmp_path / name)
    return read_run(tmp_path / name / made.id)


def mean_share(run: Run, metric: str) -> float:
    return float(np.mean([row.scores[metric] for row in run.rows if metric in row.scores]))


@pytest.mark.parametrize(
    ("part", "metrics"),
    [("CoLA", ["mcc"]), ("MRPC", ["f1", "acc_and_f1"]), ("QQP", ["f1"]), ("STS-B", ["pearson", "spearmanr", "corr"])],
)
def test_the_mean_of_glue_shares_is_the_official_value(shared, tmp_path, part, metrics):
    kind = "noisy" if part == "STS-B" else "noisy75"
    folder = shared / "glue"
    run = score("glue", folder, folder / "predictions" / f"{part}.{kind}.tsv", tmp_path, subjects=(part,))
    for metric in metrics:
        found = run.manifest.metrics.overall[metric]
        assert mean_share(run, metric) == pytest.approx(found.value, abs=1e-9)
        assert found.stderr is not None
        assert metric in run.manifest.pseudo_values


@pytest.mark.parametrize(
    ("part", "metrics"),
    [("CB", ["f1", "acc_and_f1"]), ("MultiRC", ["f1_a", "f1_m", "exact_match", "f1_a_and_em"])],
)
def test_the_mean_of_superglue_shares_is_the_official_value(shared, tmp_path, part, metrics):
    folder = shared / "superglue"
    run = score("superglue", folder, folder / "predictions" / f"{part}.noisy75.jsonl", tmp_path, subjects=(part,))
    for metric in metrics:
        assert mean_share(run, metric) == pytest.approx(run.manifest.metrics.overall[metric].value, abs=1e-9)
        assert run.manifest.metrics.overall[metric].stderr is not None


def test_multirc_questions_count_as_one_and_passages_as_clusters(shared, tmp_path):
    folder = shared / "superglue"
    run = score("superglue", folder, folder / "predictions" / "MultiRC.noisy75.jsonl", tmp_path, subjects=("MultiRC",))
    questions: dict[str, list[bool]] = {}
    passage: dict[str, str] = {}
    for row in run.rows:
        question = row.id.rpartition("/")[0]
        questions.setdefault(question, []).append(row.extra["prediction"] == row.target)
        passage[question] = str(row.cluster)
    right = np.array([all(found) for found in questions.values()], dtype=float)
    codes = np.unique([passage[question] for question in questions], return_inverse=True)[1]
    totals = np.bincount(codes, right - right.mean())
    # CR2 (Bell and McCaffrey 2002): passages have unequal numbers of rows.
    rows = np.unique([str(row.cluster) for row in run.rows], return_counts=True)[1]
    expected = math.sqrt((totals**2 / (1 - rows / rows.sum())).sum()) / len(right)
    assert run.manifest.metrics.overall["exact_match"].stderr == pytest.approx(expected, rel=1e-9)


def test_the_glue_score_has_shares_with_the_error_of_its_parts(shared, tmp_path):
    folder = tmp_path / "submission"
    folder.mkdir()
    for part in ("CoLA", "MRPC", "RTE"):
        text = (shared / "glue" / "predictions" / f"{part}.noisy75.tsv").read_text(encoding="utf-8")
        (folder / f"{part}.tsv").write_text(text, encoding="utf-8")
    run = score("glue", shared / "glue", folder, tmp_path / "reports", subjects=("CoLA", "MRPC", "RTE"))
    shares = np.array([row.scores["mean_score"] for row in run.rows])
    assert shares.mean() == pytest.approx(run.primary.value, abs=1e-9)
    assert shares.std(ddof=1) / math.sqrt(len(shares)) == pytest.approx(run.primary.stderr, rel=0.01)


def test_two_files_of_cola_predictions_compare_by_matthews_without_a_metric_named(shared, tmp_path):
    worse, better = cola(shared, tmp_path, 0.75, "worse"), cola(shared, tmp_path, 0.85, "better")
    found = compare_runs(worse, better)
    assert found.metric == "mcc"
    assert found.result.difference.value == pytest.approx(better.primary.value - worse.primary.value, abs=1e-9)
    assert found.verdict() == "better"


def test_flips_are_right_and_wrong_answers_not_shares(shared, tmp_path):
    worse, better = cola(shared, tmp_path, 0.75, "worse"), cola(shared, tmp_path, 0.85, "better")
    pairs = list(zip(worse.rows, better.rows, strict=True))
    lost = {a.id for a, b in pairs if a.scores["accuracy"] > b.scores["accuracy"]}
    gained = {a.id for a, b in pairs if a.scores["accuracy"] < b.scores["accuracy"]}
    found = compare_runs(worse, better)
    assert (set(found.losses), set(found.gains)) == (lost, gained)


def test_the_same_predictions_twice_are_identical(shared, tmp_path):
    run = cola(shared, tmp_path, 0.75, "one")
    assert compare_runs(run, run).verdict() == "identical"


def test_the_gate_proves_a_drop_of_matthews_and_of_a_baseline_file(shared, tmp_path):
    better, worse = cola(shared, tmp_path, 0.85, "better"), cola(shared, tmp_path, 0.75, "worse")
    accept(better, tmp_path / "baseline")
    (task,) = run_gate([worse], read_baselines(tmp_path / "baseline"), []).tasks
    assert (task.metric, task.decision.verdict) == ("mcc", Verdict.FAIL)


def test_a_critical_sample_is_judged_by_right_or_wrong(shared, tmp_path):
    run = cola(shared, tmp_path, 0.85, "one")
    right = next(row.id for row in run.rows if row.scores["accuracy"] == 1.0)
    wrong = next(row.id for row in run.rows if row.scores["accuracy"] == 0.0)
    for sample, verdict in ((right, Verdict.PASS), (wrong, Verdict.FAIL)):
        (task,) = run_gate([run], [run], [GateRule(task="glue", critical=(sample,))]).tasks
        assert task.decision.verdict is verdict


def test_shares_in_the_score_of_all_parts_are_not_compared_part_by_part(shared, tmp_path):
    folder = tmp_path / "submission"
    folder.mkdir()
    for part in ("CoLA", "RTE"):
        text = (shared / "glue" / "predictions" / f"{part}.noisy75.tsv").read_text(encoding="utf-8")
        (folder / f"{part}.tsv").write_text(text, encoding="utf-8")
    run = score("glue", shared / "glue", folder, tmp_path / "reports", subjects=("CoLA", "RTE"))
    only = {row.id for row in run.rows if row.tags == ("CoLA",)}
    with pytest.raises(NotComparable, match="name a metric of the group"):
        compare_runs(run, run, only=only)
    assert compare_runs(run, run, only=only, metric="accuracy").result.difference.n == len(only)


@pytest.mark.parametrize(
    "metric", ["macro_f1", "calibration_multiple_choice_brier_score", "expected_calibration_error"]
)
def test_the_mean_of_bigbench_shares_is_the_metric(tmp_path, metric):
    examples = [
        {"input": f"q{place}", "target_scores": {"yes": float(place % 3 == 0), "no": float(place % 3 > 0)}}
        for place in range(30)
    ]
    task = write(
        tmp_path / "task.json",
        {"name": "t", "description": "d", "keywords": [], "metrics": [metric], "preferred_score": metric,
         "examples": examples},
    )  # fmt: skip
    rng = np.random.default_rng(1)
    said = write(tmp_path / "said.json", {"loglikelihoods": np.log(rng.dirichlet([1, 1], 30)).tolist()})
    run = score("bigbench", task, said, tmp_path / "reports")
    assert run.manifest.primary == metric
    assert mean_share(run, metric) == pytest.approx(run.primary.value, abs=1e-12)
    assert run.primary.stderr > 0


def test_the_mean_of_bleu_shares_is_bleu(tmp_path):
    examples = [{"input": "q", "target": f"the cat number {place} sat on the mat today"} for place in range(8)]
    for place, example in enumerate(examples):
        example["input"] += str(place)
    task = write(
        tmp_path / "task.json",
        {"name": "t", "description": "d", "keywords": [], "metrics": ["bleu"], "preferred_score": "bleu",
         "examples": examples},
    )  # fmt: skip
    said = write(tmp_path / "said.json", {"generated": [f"the cat number {p} sat on a mat" for p in range(8)]})
    run = score("bigbench", task, said, tmp_path / "reports")
    assert mean_share(run, "bleu") == pytest.approx(run.primary.value, abs=1e-9)


def test_what_is_a_share_stands_in_the_run(shared, tmp_path):
    run = cola(shared, tmp_path, 0.8, "one")
    content = json.loads((run.path / "run.json").read_text(encoding="utf-8"))
    assert content["pseudo_values"] == ["mcc"]
    assert run.sample_metric("mcc") == "accuracy"
    assert run.sample_metric("accuracy") == "accuracy"


def test_one_answer_to_everything_has_a_value_and_no_interval(shared, tmp_path):
    folder = shared / "glue"
    run = score("glue", folder, folder / "predictions" / "CoLA.majority.tsv", tmp_path, subjects=("CoLA",))
    mcc = run.manifest.metrics.overall["mcc"]
    assert (mcc.value, mcc.stderr, mcc.low, mcc.high) == (0.0, None, None, None)
