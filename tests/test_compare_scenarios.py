"""HELM's mean win rate over runs: ties, gaps, directions, and the command that shows it."""

import json
from pathlib import Path
from typing import Any

import pytest

from evalkit.cli import main
from evalkit.compare.scenarios import scenario_win_rates
from evalkit.errors import UsageError
from evalkit.record import Manifest, Metric, Metrics, Run, write_run


def run(model: str, task: str, value: float | None, metric: str = "acc", **more: float) -> Run:
    values = {metric: value, **more}
    metrics = Metrics({name: Metric(one, None, None, None, 1) for name, one in values.items()})
    return Run(Manifest(f"{model}-{task}", task, "p", metric, model, "f", "d", {}, "complete", 0, metrics=metrics), ())


def test_ties_share_a_win_and_gaps_take_no_part():
    found = scenario_win_rates([
        run("a", "t1", 0.5), run("b", "t1", 0.5), run("c", "t1", 0.1),
        run("a", "t2", 0.9), run("b", "t2", None), run("c", "t2", 0.2),
        run("a", "t3", 0.3),
    ])  # fmt: skip
    assert {model: one.mean for model, one in found.models.items()} == {"a": (0.75 + 1) / 2, "b": 0.75, "c": 0.0}
    assert found.models["b"].scenarios == 1
    assert (found.scenarios, found.alone) == (("t1", "t2"), ("t3",))


@pytest.mark.parametrize(
    "metric", ["perplexity", "helm/ece_10_bin", "helm/toxic_frac", "helm/bias_representation_gender"]
)
def test_less_wins_where_less_is_better(metric: str):
    found = scenario_win_rates([run("a", "t", 1.0, metric), run("b", "t", 2.0, metric)], metric)
    assert found.models["a"].mean == 1.0


def test_runs_of_other_data_do_not_meet():
    other = run("b", "t", 0.1)
    changed = Run(Manifest(**{**other.manifest.__dict__, "data_hash": "e"}), ())
    assert scenario_win_rates([run("a", "t", 0.5), changed]).models["a"].mean is None


@pytest.mark.parametrize(
    ("runs", "metric", "message"),
    [
        ([run("a", "t", 0.5), run("a", "t", 0.6)], None, "two runs of t"),
        ([run("a", "t", 0.5)], "f1", "no run has it; the runs have acc"),
        ([run("a", "t", 0.5, **{"helm/prompt_tokens": 3.0})], "helm/prompt_tokens", "nobody wins"),
    ],
)
def test_what_cannot_be_ranked_is_a_usage_error(runs: list[Run], metric: str | None, message: str):
    with pytest.raises(UsageError, match=message):
        scenario_win_rates(runs, metric)


def test_the_command_shows_the_winner_first(tmp_path: Path, capsys: Any):
    for one in (run("bad", "t", 0.2), run("good", "t", 0.9)):
        write_run(one, tmp_path / one.id)
    with pytest.raises(SystemExit) as ended:
        main(["arena", "winrate", "--helm", "bad-t", "good-t", "--reports", str(tmp_path), "--json"])
    assert (ended.value.code or 0) == 0
    found = json.loads(capsys.readouterr().out)
    assert [(one["model"], one["mean"]) for one in found["models"]] == [("good", 1.0), ("bad", 0.0)]


def test_runs_that_never_meet_are_a_usage_error(tmp_path: Path, capsys: Any):
    for one in (run("bad", "t", 0.2), run("good", "u", 0.9)):
        write_run(one, tmp_path / one.id)
    with pytest.raises(SystemExit) as ended:
        main(["arena", "winrate", "--helm", "bad-t", "good-u", "--reports", str(tmp_path)])
    assert ended.value.code == 2
