"""The promises of the gate, measured on simulated models (reference tables with 3,000 simulations and more)."""

import pytest

from evalkit.stats.decision import AdaptiveRepeats, Rule, Verdict
from evalkit.stats.simulation import (
    RULES,
    UNEQUAL,
    World,
    adaptive,
    clustered_alarms,
    family_alarms,
    lucky_baseline,
    red_shares,
    retried,
    verdict_shares,
)
from evalkit.stats.simulation_tables import Claim, claims, report, tables

# Reference, in percent: n = 200, 14 % flips; no change, -5 points.
REFERENCE = {
    "any drop": (46, 94),
    "drop > 2 points": (20, 82),
    "drop > 5 points": (2, 46),
    "unpaired z": (0, 18),
    "paired": (5, 51),
    "paired, drop >= 1 point": (5, 51),
    "non-inferiority, 2 points": (81, 100),
    "non-inferiority, 5 points": (40, 94),
}


@pytest.mark.parametrize(("column", "drop"), [(0, 0.0), (1, 0.05)])
def test_rules_turn_red_as_often_as_in_the_reference(column: int, drop: float) -> None:
    found = red_shares(World(drop=drop), 800, seed=1)
    for rule, shares in REFERENCE.items():
        assert 100 * found[rule] == pytest.approx(shares[column], abs=6), rule


def test_one_unchanged_task_rarely_fails() -> None:
    assert red_shares(World(), 2000, seed=2)["paired"] <= 0.06


def test_four_repeats_find_a_drop_of_five_points() -> None:
    repeated = World(drop=0.05, baseline_repeats=4, candidate_repeats=4)
    assert red_shares(repeated, 400, seed=3)["paired"] == pytest.approx(0.95, abs=0.04)


def test_holm_keeps_a_family_of_20_tasks_quiet_where_single_tests_do_not() -> None:
    found = family_alarms(World(drop=0.10), tasks=20, simulations=60, seed=4)
    assert found["drop > 2 points"] > 0.9
    assert found["each at .05"] > 0.45
    assert found["Holm"] <= 0.12
    assert found["Holm, found"] > 0.4


def test_adaptive_repeats_find_a_drop_of_five_points_with_fewer_runs() -> None:
    found, repeats = adaptive(World(drop=0.05), AdaptiveRepeats(), 600, seed=5)
    assert found >= 0.90
    assert repeats < 3.1


def test_adaptive_repeats_keep_false_alarms_rare() -> None:
    assert adaptive(World(), AdaptiveRepeats(), 800, seed=6)[0] <= 0.06


def test_clusters_break_mcnemar_and_not_the_clustered_test() -> None:
    mcnemar, clustered = clustered_alarms(1.0, 800, seed=7)
    assert mcnemar > 0.08
    assert clustered <= 0.075


def test_clusters_of_unequal_sizes_keep_the_level() -> None:
    assert clustered_alarms(1.0, 1500, seed=7, sizes=UNEQUAL)[1] <= 0.05 + 3 * (0.05 * 0.95 / 1500) ** 0.5


def test_more_baseline_repeats_make_unlucky_repositories_rare() -> None:
    one = lucky_baseline(World(items=100), RULES["drop > 2 points"], 40, seed=8)
    sixteen = lucky_baseline(World(items=100, baseline_repeats=16), RULES["drop > 2 points"], 40, seed=8)
    assert sixteen[2] < one[2]


def test_retrying_until_green_hides_real_drops() -> None:
    once = red_shares(World(drop=0.05), 300, seed=9)["paired"]
    assert retried(World(drop=0.05), RULES["paired"], 300, seed=9) < 0.7 * once


def test_verdicts_of_an_unchanged_model_depend_on_the_margin() -> None:
    narrow, wide = (verdict_shares(World(), Rule(margin=m), 400, seed=10) for m in (0.02, 0.05))
    assert narrow[Verdict.PASS] == pytest.approx(0.19, abs=0.06)
    assert wide[Verdict.PASS] == pytest.approx(0.60, abs=0.07)


def test_a_claim_breaks_only_beyond_the_error_of_the_simulation() -> None:
    assert Claim("x", 0.055, 1000, at_most=0.05).holds
    assert not Claim("x", 0.09, 1000, at_most=0.05).holds
    assert not Claim("x", 0.80, 1000, at_least=0.90).holds


@pytest.mark.slow
def test_all_claims_hold() -> None:
    assert [claim.text for claim in claims(3000, seed=0) if not claim.holds] == []


def test_the_report_shows_every_claim_and_every_table() -> None:
    text = report(simulations=2)
    assert text.count("### ") == len(list(tables(1)))
    assert text.count("- holds: ") + text.count("- BROKEN: ") == len(claims(1))
