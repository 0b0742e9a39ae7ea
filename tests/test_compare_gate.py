"""Comparing and gating Runs: pairs by id, refuses what does not mean the same, fails closed."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.compare import NotComparable, compare_all, compare_runs
from evalkit.errors import DataError, UsageError
from evalkit.gate import GateRule, read_rules, run_gate
from evalkit.record import Manifest, Metric, Metrics, Row, Run, count_unscored
from evalkit.stats.decision import Verdict


def make_run(scores: Sequence[float | None], *, name: str = "run", task: str = "t", ids: Sequence[str] = ()) -> Run:
    """A Run with one row per score; None is an unscored row."""
    names = ids or [f"s{i}" for i in range(len(scores))]
    rows = tuple(
        Row(n, 0, "", "", "", {} if s is None else {"acc": s}, unscored="refused" if s is None else None)
        for n, s in zip(names, scores, strict=True)
    )
    metric = Metric(0.5, 0.1, 0.4, 0.6, len(scores))
    manifest = Manifest(
        id=name, task=task, protocol="p/1", primary="acc", model=name, model_fingerprint=name, data_hash="d",
        settings={"max_tokens": 8}, status="complete", samples=len(rows), metrics=Metrics({"acc": metric}),
        unscored=count_unscored(rows),
    )  # fmt: skip
    return Run(manifest, rows)


def test_runs_are_paired_by_id_not_by_row() -> None:
    a = make_run([1, 0, 0], ids=["x", "y", "z"])
    b = make_run([0, 0, 1], ids=["z", "y", "x"])
    assert compare_runs(a, b).result.identical


def test_flips_name_the_samples_both_ways() -> None:
    flips = compare_runs(make_run([1, 0, 1, 0]), make_run([0, 1, 1, 0])).flips
    assert (flips.worse, flips.better) == (("s0",), ("s1",))


def test_an_unscored_sample_leaves_the_pair_and_is_counted() -> None:
    found = compare_runs(make_run([1, 0, 1]), make_run([1, None, 1]))
    assert found.result.difference.n == 2
    assert found.unpaired == 1


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"protocol": "p/2"}, "protocol"),
        ({"data_hash": "other"}, "data"),
        ({"judge": {"name": "j", "fingerprint": "f"}}, "judge"),
        ({"settings": {"max_tokens": 9}}, "max_tokens"),
        ({"status": "interrupted"}, "interrupted"),
    ],
)
def test_runs_that_do_not_mean_the_same_are_refused_unless_forced(change: dict[str, object], word: str) -> None:
    a, b = make_run([1, 0]), make_run([1, 0])
    b = replace(b, manifest=replace(b.manifest, **change))  # type: ignore[arg-type]
    with pytest.raises(NotComparable, match=word):
        compare_runs(a, b)
    assert any(word in mismatch for mismatch in compare_runs(a, b, force=True).mismatches)


def test_a_model_s_own_prompt_style_is_no_mismatch() -> None:
    a, b = make_run([1, 0]), make_run([1, 0])
    b = replace(b, manifest=replace(b.manifest, settings={"max_tokens": 8, "style": "phi3"}))
    assert compare_runs(a, b).result.identical


def test_p_values_of_several_comparisons_are_adjusted_as_one_family() -> None:
    base, better = [0.0] * 40, [1.0] * 8 + [0.0] * 32
    runs = [make_run(base, name="a"), make_run(better, name="b"), make_run(better, name="c")]
    found = compare_all(runs).comparisons
    assert [one.p_adjusted for one in found] == pytest.approx([2 * (found[0].result.p_change or 0)] * 2)


def test_identical_runs_pass_and_a_proven_drop_fails() -> None:
    good, bad = make_run([1.0] * 40), make_run([1.0] * 25 + [0.0] * 15)
    assert run_gate([good], [good]).verdict is Verdict.PASS
    assert run_gate([bad], [good]).exit_code() == 1
    assert run_gate([good], [bad]).verdict is Verdict.PASS


def test_a_drop_too_small_to_tell_is_inconclusive_and_says_what_would_settle_it() -> None:
    result = run_gate([make_run([1.0] * 18 + [0.0, 1.0])], [make_run([1.0] * 19 + [0.0])])
    assert result.verdict is Verdict.INCONCLUSIVE
    assert (result.exit_code(), result.exit_code(strict=True)) == (0, 4)
    assert (result.tasks[0].decision.items_needed or 0) > 20


def test_without_a_baseline_nothing_passes() -> None:
    assert run_gate([make_run([1.0])], []).exit_code() == 3


def test_a_baseline_of_another_protocol_is_undecidable() -> None:
    run = make_run([1.0] * 9)
    other = replace(run, manifest=replace(run.manifest, protocol="q/1"))
    assert run_gate([run], [other]).exit_code() == 3


def test_too_many_unscored_rows_are_undecidable() -> None:
    good = make_run([1.0] * 20)
    assert run_gate([make_run([1.0] * 18 + [None, None])], [good]).exit_code() == 3
    lenient = [GateRule(max_unscored=0.2)]
    assert run_gate([make_run([1.0] * 18 + [None, None])], [good], lenient).verdict is Verdict.PASS


def test_samples_that_only_one_run_has_are_undecidable() -> None:
    assert run_gate([make_run([1.0] * 9)], [make_run([1.0] * 10)]).exit_code() == 3


def test_a_broken_floor_fails_even_without_a_drop() -> None:
    run = make_run([1.0, 0.0] * 10)
    assert run_gate([run], [run], [GateRule(floor=0.6)]).verdict is Verdict.FAIL


def test_a_failing_task_outweighs_a_passing_one() -> None:
    good, bad = make_run([1.0] * 40, task="b"), make_run([0.0] * 40, task="b")
    fine = make_run([1.0] * 40, task="a")
    assert run_gate([fine, bad], [fine, good]).verdict is Verdict.FAIL


def test_a_rule_for_an_unknown_task_or_metric_is_refused() -> None:
    run = make_run([1.0])
    with pytest.raises(UsageError, match="'x'"):
        run_gate([run], [run], [GateRule(task="x")])
    with pytest.raises(UsageError, match="'f9'"):
        run_gate([run], [run], [GateRule(task="t", metric="f9")])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("rules:\n- {task: t, margn: 3}\n", "margn"),
        ("rules:\n- {margin: wide}\n", "margin must be a number"),
        ("limits: []\n", "'rules'"),
        ("rules: [\n", "YAML"),
    ],
)
def test_a_bad_rules_file_is_explained(content: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text(content)
    with pytest.raises(DataError, match=problem):
        read_rules(path)


def test_a_rules_file_gives_its_rules(tmp_path: Path) -> None:
    path = tmp_path / "rules.yaml"
    path.write_text("rules:\n- {task: mmlu, margin: 2, floor: 0.3}\n- {max_unscored: 0.1}\n")
    assert read_rules(path) == [GateRule(task="mmlu", margin=2, floor=0.3), GateRule(max_unscored=0.1)]


def test_candidates_of_one_task_are_told_apart_everywhere() -> None:
    from evalkit.ci.annotations import annotations
    from evalkit.ci.junit import build_junit
    from evalkit.ci.markdown import build_summary
    from evalkit.ci.openmetrics import build_openmetrics
    from evalkit.gate.view import to_view

    base = make_run([1.0] * 40)
    one, two = (make_run([0.0] * 40, name=name) for name in ("first", "second"))
    alone = make_run([1.0] * 4, task="u", name="third")
    result = run_gate([one, two, alone], [base, make_run([1.0] * 4, task="u")])
    assert [verdict.name for verdict in result.tasks] == ["t (first)", "t (second)", "u"]
    view = to_view(result)
    texts = (build_junit(result), build_summary(result), build_openmetrics(result), *annotations(result), str(view))
    said = "\n".join(texts).replace("\\", "")
    for shown in (*texts[:3], texts[3] + texts[4], texts[-1]):
        assert "t (first)" in shown.replace("\\", "")
        assert "t (second)" in shown.replace("\\", "")
    assert "u (third)" not in said


def test_candidates_with_one_id_are_told_apart_by_their_folders() -> None:
    base = make_run([1.0] * 10)
    runs = [replace(make_run([1.0] * 10, name="same"), path=Path(folder) / "same") for folder in ("a", "b")]
    names = [verdict.name for verdict in run_gate(runs, [base]).tasks]
    assert names == ["t (a/same)", "t (b/same)"]
