"""The gate's verdicts, the adaptive looks, and a model against itself."""

import numpy as np
import pytest

from evalkit.errors import UsageError
from evalkit.stats.calibration import calibrate
from evalkit.stats.decision import AdaptiveRepeats, Rule, Verdict, decide, decide_family, look
from evalkit.stats.paired import compare_paired, noninferiority_p


def _flips(n: int, losses: int, gains: int) -> tuple[np.ndarray, np.ndarray]:
    """0/1 scores of n items of which some are lost and some gained."""
    before, after = np.ones(n), np.ones(n)
    after[:losses] = 0
    before[losses : losses + gains] = 0
    return before, after


def test_a_proven_drop_fails() -> None:
    found = decide(compare_paired(*_flips(200, 30, 5)), Rule())
    assert found.verdict is Verdict.FAIL
    assert "proven" in found.reason


def test_a_significant_drop_below_the_minimum_effect_does_not_fail() -> None:
    comparison = compare_paired(*_flips(10_000, 60, 20))
    assert (comparison.p_drop or 1) < 0.001
    assert decide(comparison, Rule(min_effect=0.01)).verdict is Verdict.PASS


def test_a_large_drop_that_may_be_chance_does_not_fail() -> None:
    assert decide(compare_paired(*_flips(20, 3, 1)), Rule()).verdict is Verdict.INCONCLUSIVE


def test_a_small_change_on_many_items_passes() -> None:
    found = decide(compare_paired(*_flips(2000, 100, 98)), Rule(margin=0.02))
    assert found.verdict is Verdict.PASS
    assert "excluded" in found.reason


def test_inconclusive_says_what_would_decide() -> None:
    comparison = compare_paired(*_flips(100, 8, 6))
    found = decide(comparison, Rule(margin=0.02))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert found.detectable == pytest.approx(2.4865 * (comparison.difference.stderr or 0), rel=1e-4)
    assert found.items_needed == pytest.approx(100 * (found.detectable / 0.02) ** 2, abs=1)
    assert found.repeats_needed == pytest.approx((found.detectable / 0.02) ** 2, abs=1)


def test_pass_and_noninferiority_are_the_same_statement() -> None:
    for losses in range(0, 40, 2):
        comparison = compare_paired(*_flips(300, losses, 10))
        verdict = decide(comparison, Rule()).verdict
        if verdict is not Verdict.FAIL:
            assert (verdict is Verdict.PASS) == ((noninferiority_p(comparison, 0.05) or 0) <= 0.05)


def test_identical_scores_pass_however_few_items_there_are() -> None:
    assert decide(compare_paired([1, 0, 1], [1, 0, 1]), Rule()).verdict is Verdict.PASS
    assert decide(compare_paired([0.3, 0.7], [0.3, 0.7]), Rule()).verdict is Verdict.PASS


def test_a_score_below_the_floor_fails_even_without_a_drop() -> None:
    found = decide(compare_paired(*_flips(100, 0, 0)), Rule(floor=1.01))
    assert found.verdict is Verdict.FAIL
    assert "floor" in found.reason


def test_a_broken_critical_case_fails_and_is_named() -> None:
    found = decide(compare_paired(*_flips(100, 0, 0)), Rule(), critical_broken=["refund-7"])
    assert found.verdict is Verdict.FAIL
    assert "refund-7" in found.reason


def test_nothing_to_test_is_undecidable() -> None:
    assert decide(compare_paired([], []), Rule()).verdict is Verdict.UNDECIDABLE
    assert decide(compare_paired([0.4], [0.5]), Rule()).verdict is Verdict.UNDECIDABLE


def test_holm_protects_a_family() -> None:
    doubtful = compare_paired(*_flips(200, 16, 6))
    assert decide(doubtful, Rule()).verdict is Verdict.FAIL
    family = {f"task {i}": compare_paired(*_flips(200, 10, 10)) for i in range(19)} | {"doubtful": doubtful}
    found = decide_family(family, Rule())
    assert found["doubtful"].verdict is not Verdict.FAIL
    assert found["doubtful"].p_drop == pytest.approx(20 * (doubtful.p_drop or 0))


def test_an_undecidable_task_does_not_weaken_the_others() -> None:
    drop = compare_paired(*_flips(200, 16, 6))
    found = decide_family({"empty": compare_paired([], []), "drop": drop}, Rule())
    assert found["empty"].verdict is Verdict.UNDECIDABLE
    assert found["drop"].p_drop == drop.p_drop


@pytest.mark.parametrize(
    ("losses", "gains", "index", "verdict"),
    [
        (30, 5, 0, Verdict.FAIL),
        (12, 5, 0, None),
        (8, 8, 0, Verdict.PASS),
        (10, 10, 0, None),
        (10, 10, 2, Verdict.PASS),
        (14, 7, 2, Verdict.INCONCLUSIVE),
        (14, 5, 2, Verdict.FAIL),
    ],
)
def test_looks_spend_their_own_levels(losses: int, gains: int, index: int, verdict: Verdict | None) -> None:
    assert look(AdaptiveRepeats(), index, compare_paired(*_flips(200, losses, gains))) is verdict


def test_the_last_look_without_items_is_undecidable() -> None:
    nothing = compare_paired([], [])
    assert look(AdaptiveRepeats(), 0, nothing) is None
    assert look(AdaptiveRepeats(), 2, nothing) is Verdict.UNDECIDABLE


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"alpha": 0}, "alpha"), ({"min_effect": -1}, "min_effect"), ({"margin": 0}, "margin"), ({"power": 80}, "power")],
)
def test_a_senseless_rule_is_refused(settings: dict[str, float], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        Rule(**settings)


def test_looks_need_one_level_each() -> None:
    with pytest.raises(UsageError, match="one level per look"):
        AdaptiveRepeats(repeats=(1, 2), levels=(0.05,))


def test_the_levels_of_all_looks_add_up_to_alpha() -> None:
    plan, rule = AdaptiveRepeats(), Rule(alpha=0.1)
    at = [plan.rule_at(rule, index) for index in range(3)]
    assert sum(one.alpha for one in at) == pytest.approx(0.1)
    assert sum(one.excluding for one in at) == pytest.approx(0.1)


def test_looks_that_were_never_made_leave_their_levels_to_the_first_one() -> None:
    plan, rule = AdaptiveRepeats(), Rule()
    assert plan.rule_at(rule, 2, first=2, last=True).alpha == pytest.approx(0.05)
    assert plan.rule_at(rule, 1, first=1).alpha + plan.rule_at(rule, 2, first=1).alpha == pytest.approx(0.05)
    assert plan.rule_at(rule, 1, last=True).alpha + plan.rule_at(rule, 0).alpha == pytest.approx(0.05)


def test_a_pass_may_need_a_stricter_proof_than_a_failure() -> None:
    found = compare_paired(*_flips(200, 10, 10))
    assert decide(found, Rule()).verdict is Verdict.PASS
    assert decide(found, Rule(pass_alpha=0.001)).verdict is Verdict.INCONCLUSIVE


def test_calibration_measures_the_false_alarms_of_an_unchanged_model() -> None:
    rng = np.random.default_rng(0)
    runs = rng.random((400, 8)) < rng.beta(0.35, 0.15, 400)[:, None]
    found = calibrate(runs, Rule(margin=0.05))
    assert found.comparisons == 56
    assert found.flip_rate == pytest.approx(0.14, abs=0.03)
    assert found.false_alarms < 0.15


def test_calibration_of_a_deterministic_model_finds_nothing() -> None:
    found = calibrate(np.ones((30, 3)), Rule())
    assert (found.flip_rate, found.false_alarms, found.inconclusive) == (0.0, 0.0, 0.0)


def test_calibration_needs_items() -> None:
    with pytest.raises(UsageError, match="no items"):
        calibrate(np.empty((0, 3)), Rule())
