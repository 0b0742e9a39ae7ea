"""A judgement of pairs is its own comparison: its win rate is gated and compared against an even half."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from gate_runs import make_run, save

from evalkit.arena.even import by_themselves, evened
from evalkit.cli import main
from evalkit.errors import UsageError
from evalkit.gate import GateRule, GateSettings, run_gate
from evalkit.record import Manifest, Metrics, Row, Run, count_unscored
from evalkit.stats.decision import Verdict

Shares = Sequence[tuple[float | None, float | None]]
"""What the candidate got of each pair in both orders; None is unscored."""


def pairwise(shares: Shares, name: str = "pair", task: str = "compare-r") -> Run:
    rows = tuple(
        _row(index, order, share)
        for index, both in enumerate(shares)
        for order, share in zip(("ab", "ba"), both, strict=True)
    )
    judge = {"name": "reference", "kind": "pairwise", "subject": "new against old", "fingerprint": "f", "run": "x"}
    manifest = Manifest(
        name, task, "judge/r@1/both-orders", "win_rate", "new against old", "f", "d", {}, "complete", len(rows),
        judge=judge, metrics=Metrics({}), unscored=count_unscored(rows),
    )  # fmt: skip
    return Run(manifest, rows)


def _row(index: int, order: str, share: float | None) -> Row:
    shown = (
        {"response_a": "mine", "response_b": "theirs"}
        if order == "ab"
        else {"response_a": "theirs", "response_b": "mine"}
    )
    return Row(
        f"s{index}|{order}", 0, "which?", None, "A", {} if share is None else {"win_rate": share},
        fields={"instruction": f"question {index}", "pair": f"s{index}", "order": order, **shown},
        unscored="unparsable" if share is None else None, cluster=f"s{index}",
    )  # fmt: skip


def won(count: int, lost: int, tied: int = 0) -> Shares:
    return [(1.0, 1.0)] * count + [(0.0, 0.0)] * lost + [(0.5, 0.5)] * tied


@pytest.mark.parametrize(
    ("shares", "verdict"),
    [
        (won(30, 5), Verdict.PASS),
        (won(5, 30), Verdict.FAIL),
        (won(10, 10), Verdict.INCONCLUSIVE),
        (won(0, 0, 40), Verdict.PASS),
        ([(1.0, 0.0)] * 40, Verdict.PASS),
    ],
)
def test_a_win_rate_is_gated_against_an_even_half(shares: Shares, verdict: Verdict) -> None:
    result = run_gate([pairwise(shares)], [])
    assert result.verdict is verdict
    assert "new against old" in result.tasks[0].note


def test_both_orders_of_a_pair_are_one_sample() -> None:
    found = run_gate([pairwise([(1.0, 0.0), *won(10, 4)])], []).tasks[0].comparison
    assert found is not None
    assert found.result.difference.n == 15
    assert found.result.candidate == pytest.approx(10.5 / 15)
    assert found.result.baseline == 0.5
    assert len(found.losses) == 4


def test_a_pair_with_one_verdict_is_unscored() -> None:
    even, own = evened(pairwise([(1.0, None), (1.0, 1.0)]))
    assert own.manifest.unscored == {"unparsable": 1}
    assert own.manifest.samples == 2
    assert even.scores("win_rate") == {"s1": [0.5]}
    assert run_gate([pairwise([(1.0, None), *won(9, 0)])], []).verdict is Verdict.UNDECIDABLE


def test_the_responses_stand_on_the_side_of_their_model() -> None:
    even, own = evened(pairwise(won(1, 1)))
    assert {row.response for row in own.rows} == {"mine"}
    assert {row.response for row in even.rows} == {"theirs"}
    assert (own.manifest.model, even.manifest.model) == ("new", "old")


def test_a_baseline_of_the_same_task_is_preferred() -> None:
    old = pairwise(won(20, 20), name="old")
    result = run_gate([pairwise(won(5, 35))], [old])
    assert result.tasks[0].comparison is not None
    assert result.tasks[0].comparison.baseline.id == "old"


def test_a_floor_and_a_critical_pair_hold_too() -> None:
    assert run_gate([pairwise(won(22, 18))], [], [GateRule(floor=0.6)]).verdict is Verdict.FAIL
    assert run_gate([pairwise(won(30, 5))], [], settings=GateSettings(critical=("s34",))).verdict is Verdict.FAIL
    with pytest.raises(UsageError, match="critical sample 'nope'"):
        run_gate([pairwise(won(3, 3))], [], settings=GateSettings(critical=("nope",)))


def test_a_metric_that_a_judgement_of_pairs_has_not_is_refused() -> None:
    with pytest.raises(UsageError, match="win_rate"):
        run_gate([pairwise(won(3, 3))], [], [GateRule(metric="acc")])


def test_two_judgements_of_pairs_meet_each_other_and_one_alone_itself() -> None:
    one, two = pairwise(won(3, 3), name="one"), pairwise(won(4, 2), name="two")
    assert [run.id for run in by_themselves([one, two])] == ["one", "two"]
    assert [run.id for run in by_themselves([one, make_run([1.0])])] == ["one:even", "one", "run"]


def test_the_command_line_gates_and_compares_one_judgement(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = pairwise(won(5, 30))
    save(replace(run, manifest=replace(run.manifest, id="pair")), tmp_path)
    for verb, code, shown in (("gate", 1, "[-"), ("compare", 0, "worse")):
        with pytest.raises(SystemExit) as ended:
            main([verb, "pair", "--reports", str(tmp_path)])
        assert ended.value.code == code
        assert shown in capsys.readouterr().out
