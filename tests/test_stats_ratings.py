"""Bradley-Terry and Elo: official goldens, an independent optimiser, and battles that determine no rating."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.optimize

from evalkit.errors import UsageError
from evalkit.stats.battles import Battles, make_battles, style_features
from evalkit.stats.bradley_terry import (
    Ratings,
    RatingSettings,
    bootstrap_ratings,
    fit_bradley_terry,
    rank_by_bounds,
    rating_difference,
)
from evalkit.stats.elo import EloSettings, online_elo

BT = "compute_bt (tie = half; 400*log10 scale, init 1000)"
ARENA = ("rakuda_v1_battles.csv", "arena_bench_v1_battles.csv", "arena_hard_battles.jsonl")
FASTCHAT_L2 = 0.5 / math.log(10) ** 2


def _rows(path: Path) -> list[dict[str, Any]]:
    with path.open() as lines:
        return [json.loads(line) for line in lines] if path.suffix == ".jsonl" else list(csv.DictReader(lines))


def _battles(rows: list[dict[str, Any]], **extra: Any) -> Battles:
    columns = ([row[key] for row in rows] for key in ("model_a", "model_b", "winner"))
    return make_battles(*columns, **extra)


def _ratings(fit: Ratings) -> dict[str, float]:
    return {model: one.value or 0.0 for model, one in zip(fit.models, fit.estimates, strict=True)}


def _largest_error(found: dict[str, float], expected: dict[str, float]) -> float:
    assert found.keys() == expected.keys()
    return max(abs(found[model] - expected[model]) for model in found)


@pytest.fixture(scope="module")
def golden(shared: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((shared / "judge/bt/bt_golden.json").read_text())
    return found


@pytest.fixture(scope="module")
def synth(shared: Path) -> list[dict[str, Any]]:
    return _rows(shared / "judge/bt/battles_synth.csv")


@pytest.fixture(scope="module")
def expected(shared: Path) -> dict[str, Any]:
    found = json.loads((shared / "arena/expected.json").read_text())
    return {name.split(" ")[0]: part for name, part in found.items()}


def _arena(shared: Path, name: str) -> Battles:
    return _battles([row for row in _rows(shared / "arena" / name) if row["winner"] != "invalid"])


def _optimum(battles: Battles) -> np.ndarray:
    """The maximum by scipy, without any of our formulas but the model itself."""

    def loss(theta: np.ndarray) -> float:
        logits = theta[battles.first] - theta[battles.second]
        return float((np.logaddexp(0, logits) - battles.outcome * logits).sum()) + 1e-3 * float(theta.sum()) ** 2

    start = np.zeros(len(battles.models))
    return np.asarray(scipy.optimize.minimize(loss, start, method="BFGS", options={"gtol": 1e-7}).x)


def test_ratings_are_the_maximum_of_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    first = rng.integers(0, 5, 400)
    second = (first + rng.integers(1, 5, 400)) % 5
    outcome = rng.choice([0.0, 0.5, 1.0, 0.8], 400)
    battles = make_battles([f"m{i}" for i in first], [f"m{i}" for i in second], outcome)
    theta = _optimum(battles)
    fit = fit_bradley_terry(battles)
    assert [one.value for one in fit.estimates] == pytest.approx(1000 + 400 / math.log(10) * theta, abs=1e-3)


@pytest.mark.parametrize(("name", "reweight"), [("arena_rank_bt", False), ("arena_rank_bt_reweighted", True)])
def test_ratings_and_intervals_equal_arena_rank(golden: Any, synth: Any, name: str, reweight: bool) -> None:
    fit = fit_bradley_terry(_battles(synth), RatingSettings(reweight=reweight))
    by_model = dict(zip(fit.models, fit.estimates, strict=True))
    official = golden[name]
    ours = [by_model[model] for model in official["competitors"]]
    assert [one.value for one in ours] == pytest.approx(official["ratings"], abs=1e-4)
    # arena-rank adds 1e-5 N to the Hessian's diagonal, which changes standard errors by 0.015 %.
    assert [one.low for one in ours] == pytest.approx(official["rating_lower"], abs=5e-3)
    assert [one.high for one in ours] == pytest.approx(official["rating_upper"], abs=5e-3)
    assert [(one.stderr or 0) ** 2 for one in ours] == pytest.approx(official["variances"], rel=5e-4)


@pytest.mark.parametrize(
    ("name", "penalty", "reweight", "tolerance"),
    [
        ("arena_rank_contextual_noreg", 0.0, False, 1e-4),
        ("arena_rank_contextual_reweighted_False", 3000.0, False, 5e-3),
        ("arena_rank_contextual_reweighted_True", None, True, 5e-3),
    ],
)
def test_style_control_equals_arena_rank(
    golden: Any, synth: Any, name: str, penalty: float | None, reweight: bool, tolerance: float
) -> None:
    raw = np.array([[float(row["len_rel"]), float(row["f2"])] for row in synth])
    battles = _battles(synth, features=(raw - raw.mean(axis=0)) / raw.std(axis=0))
    if penalty is None:  # the sum of the weights 1 / max(battles of the pair, 50) over 15 pairs of more than 50 battles
        penalty = 15.0
    fit = fit_bradley_terry(battles, RatingSettings(reweight=reweight, feature_l2=penalty))
    official = golden[name]
    assert (
        _largest_error(_ratings(fit), dict(zip(official["competitors"], official["ratings"], strict=True))) < tolerance
    )
    assert [one.value for one in fit.coefficients] == pytest.approx(official["coeffs"], abs=1e-6)


def _fitted(battles: Battles, **settings: Any) -> dict[str, float]:
    return _ratings(fit_bradley_terry(battles, RatingSettings(**settings)))


def _named(official: dict[str, Any]) -> dict[str, float]:
    return dict(zip(official["competitors"], official["ratings"], strict=True))


def _likelihood(battles: Battles, ratings: dict[str, float]) -> float:
    theta = np.array([ratings[model] for model in battles.models]) * math.log(10) / 400
    logits = theta[battles.first] - theta[battles.second]
    return float((battles.outcome * logits - np.logaddexp(0, logits)).sum())


def test_the_fastchat_fit_equals_its_golden(golden: Any, synth: Any) -> None:
    assert _largest_error(_fitted(_battles(synth), fit="fastchat"), golden["fastchat_bt"]) < 1e-9


@pytest.mark.parametrize("name", ARENA)
@pytest.mark.parametrize("fit", ["fastchat", "arena-rank"])
def test_the_fit_of_a_real_arena_equals_its_golden(shared: Path, expected: Any, name: str, fit: str) -> None:
    part = expected[name]
    official = part[BT] if fit == "fastchat" else _named(part["arena-rank 0.1.1 BradleyTerry"])
    assert _largest_error(_fitted(_arena(shared, name), fit=fit), official) < 1e-9


@pytest.mark.parametrize("name", ARENA)
def test_the_maximum_is_at_least_as_likely_as_where_the_published_optimisers_stop(
    shared: Path, expected: Any, name: str
) -> None:
    battles = _arena(shared, name)
    ours = _likelihood(battles, _fitted(battles))
    published = (expected[name][BT], _named(expected[name]["arena-rank 0.1.1 BradleyTerry"]))
    assert all(ours >= _likelihood(battles, ratings) - 1e-10 for ratings in published)
    assert any(ours > _likelihood(battles, ratings) for ratings in published)


@pytest.mark.parametrize(
    ("name", "penalty", "reweight"),
    [
        ("arena_rank_bt", None, False),
        ("arena_rank_bt_reweighted", None, True),
        ("arena_rank_contextual_noreg", 0.0, False),
        ("arena_rank_contextual_reweighted_False", 3000.0, False),
        ("arena_rank_contextual_reweighted_True", 15.0, True),
    ],
)
def test_the_arena_rank_fit_equals_its_goldens(
    golden: Any, synth: Any, name: str, penalty: float | None, reweight: bool
) -> None:
    raw = np.array([[float(row["len_rel"]), float(row["f2"])] for row in synth])
    features = None if penalty is None else (raw - raw.mean(axis=0)) / raw.std(axis=0)
    battles = _battles(synth, features=features)
    fit = fit_bradley_terry(battles, RatingSettings(reweight=reweight, feature_l2=penalty or 0.0, fit="arena-rank"))
    assert _largest_error(_ratings(fit), _named(golden[name])) < 1e-8
    assert [one.value for one in fit.coefficients] == pytest.approx(golden[name].get("coeffs", []), abs=1e-9)


def test_the_fastchat_fit_of_style_control_equals_its_goldens(shared: Path, expected: Any) -> None:
    rows = _rows(shared / "arena/arena_bench_v1_style.jsonl")
    counts = {side: np.array([_style(row["conv_metadata"], side) for row in rows]) for side in "ab"}
    official = expected["arena_bench_v1_style.jsonl"]
    styled = _battles(rows, features=style_features(counts["a"], counts["b"]))
    fit = fit_bradley_terry(styled, RatingSettings(rating_l2=FASTCHAT_L2, feature_l2=0.5, fit="fastchat"))
    controlled = official["compute_style_control (reg 0.5)"]
    assert _largest_error(_ratings(fit), controlled["ratings"]) < 1e-7
    slopes = controlled["coefs [length, headers, lists, bold]"]
    assert [one.value for one in fit.coefficients] == pytest.approx(slopes, abs=1e-10)
    assert _largest_error(_fitted(_battles(rows), fit="fastchat"), official["compute_bt on the same rows"]) < 1e-9


@pytest.mark.parametrize("name", ARENA)
def test_the_fastchat_fit_of_the_bootstrap_equals_its_goldens(shared: Path, expected: Any, name: str) -> None:
    battles = _arena(shared, name)
    drawn = bootstrap_ratings(battles, rounds=100, seed=0, settings=RatingSettings(fit="fastchat"))
    official = next(part for key, part in expected[name].items() if key.startswith("bootstrap_bt"))
    for key, quantile in (("median", 0.5), ("q025", 0.025), ("q975", 0.975)):
        ours = dict(zip(battles.models, np.quantile(drawn, quantile, axis=0), strict=True))
        assert _largest_error(ours, official[key]) < 1e-4
    assert _largest_error(dict(zip(battles.models, drawn.std(axis=0, ddof=1), strict=True)), official["std"]) < 1e-4


def test_the_fastchat_fit_of_the_bootstrap_equals_the_synthetic_golden(golden: Any, synth: Any) -> None:
    battles = _battles(synth)
    drawn = bootstrap_ratings(battles, rounds=200, seed=0, settings=RatingSettings(fit="fastchat"))
    quantiles = np.quantile(drawn, (0.025, 0.5, 0.975), axis=0)
    for model, official in golden["fastchat_bt_boot200_seed0"].items():
        assert quantiles[:, battles.models.index(model)] == pytest.approx(official, abs=1e-4)


def test_the_fastchat_fit_of_the_counted_battles_of_chatbot_arena_equals_its_golden(
    shared: Path, expected: Any
) -> None:
    found = _fitted(_counted(shared), fit="fastchat", anchor=("mixtral-8x7b-instruct-v0.1", 1114))
    official = expected["lmsys_20240329"]["compute_bt on the pairwise (no ties) counts"]
    assert _largest_error(found, official) < 1e-9


def test_ratings_equal_fastchat_where_its_optimiser_arrives(golden: Any, synth: Any) -> None:
    assert _largest_error(_ratings(fit_bradley_terry(_battles(synth))), golden["fastchat_bt"]) < 3e-4


@pytest.mark.parametrize("name", ARENA)
def test_real_arenas_equal_fastchat_and_arena_rank(shared: Path, expected: Any, name: str) -> None:
    fit = fit_bradley_terry(_arena(shared, name))
    # The two official optimisers stop up to 0.003 points apart; ours is at the maximum between them.
    assert _largest_error(_ratings(fit), expected[name][BT]) < 4e-3
    official = expected[name]["arena-rank 0.1.1 BradleyTerry"]
    by_model = dict(zip(fit.models, fit.estimates, strict=True))
    assert [by_model[m].value for m in official["competitors"]] == pytest.approx(official["ratings"], abs=4e-3)
    assert [(by_model[m].stderr or 0) ** 2 for m in official["competitors"]] == pytest.approx(
        official["variances"], rel=5e-3
    )
    assert fit.warnings == ()


@pytest.mark.parametrize("name", ARENA)
def test_bootstrap_draws_the_same_resamples_as_fastchat(shared: Path, expected: Any, name: str) -> None:
    battles = _arena(shared, name)
    drawn = bootstrap_ratings(battles, rounds=100, seed=0)
    official = next(part for key, part in expected[name].items() if key.startswith("bootstrap_bt"))
    for key, quantile in (("median", 0.5), ("q025", 0.025), ("q975", 0.975)):
        ours = dict(zip(battles.models, np.quantile(drawn, quantile, axis=0), strict=True))
        assert _largest_error(ours, official[key]) < 0.01
    assert _largest_error(dict(zip(battles.models, drawn.std(axis=0, ddof=1), strict=True)), official["std"]) < 0.005
    ranks = rank_by_bounds(*(np.quantile(drawn, q, axis=0).tolist() for q in (0.025, 0.975)))
    official_ranks = next(part for key, part in expected[name].items() if key.startswith("final_ranking"))
    assert dict(zip(battles.models, ranks, strict=True)) == official_ranks


def test_bootstrap_equals_fastchat_on_the_synthetic_battles(golden: Any, synth: Any) -> None:
    battles = _battles(synth)
    quantiles = np.quantile(bootstrap_ratings(battles, rounds=200, seed=0), (0.025, 0.5, 0.975), axis=0)
    for model, official in golden["fastchat_bt_boot200_seed0"].items():
        assert quantiles[:, battles.models.index(model)] == pytest.approx(official, abs=1e-3)


def test_style_control_equals_fastchat(shared: Path, expected: Any) -> None:
    rows = _rows(shared / "arena/arena_bench_v1_style.jsonl")
    counts = {side: np.array([_style(row["conv_metadata"], side) for row in rows]) for side in "ab"}
    battles = _battles(rows, features=style_features(counts["a"], counts["b"]))
    official = expected["arena_bench_v1_style.jsonl"]
    fit = fit_bradley_terry(battles, RatingSettings(rating_l2=FASTCHAT_L2, feature_l2=0.5))
    assert _largest_error(_ratings(fit), official["compute_style_control (reg 0.5)"]["ratings"]) < 4e-3
    slopes = official["compute_style_control (reg 0.5)"]["coefs [length, headers, lists, bold]"]
    assert [one.value for one in fit.coefficients] == pytest.approx(slopes, abs=1e-5)
    assert _largest_error(_ratings(fit_bradley_terry(_battles(rows))), official["compute_bt on the same rows"]) < 4e-3


def _style(counts: dict[str, Any], side: str) -> list[float]:
    names = (f"sum_assistant_{side}_tokens", f"header_count_{side}", f"list_count_{side}", f"bold_count_{side}")
    return [sum(counts[n].values()) if isinstance(counts[n], dict) else counts[n] for n in names]


def test_the_76_published_chatbot_arena_ranks_are_reproduced(shared: Path) -> None:
    rows = _rows(shared / "arena/lmsys_20240329_bootstrap.csv")
    board = {row[""]: row for row in _rows(shared / "arena/lmsys_20240329_leaderboard.csv")}
    names = list(rows[0])
    drawn = np.array([[float(row[name]) for name in names] for row in rows])
    low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
    assert low == pytest.approx([float(board[name]["rating_q025"]) for name in names], abs=1e-5)
    assert list(rank_by_bounds(low.tolist(), high.tolist())) == [int(board[name]["final_ranking"]) for name in names]
    assert len(names) == 76


def _counted(shared: Path) -> Battles:
    """The published counts of Chatbot Arena as single battles."""
    first, second, outcome = [], [], []
    for row in _rows(shared / "arena/lmsys_20240329_pairwise_noties.csv"):
        for share, key in ((1.0, "wins_a"), (0.0, "wins_b")):
            first += [row["model_a"]] * int(row[key])
            second += [row["model_b"]] * int(row[key])
            outcome += [share] * int(row[key])
    return make_battles(first, second, outcome)


def test_counted_battles_of_chatbot_arena_give_fastchats_ratings(shared: Path, expected: Any) -> None:
    anchor = RatingSettings(anchor=("mixtral-8x7b-instruct-v0.1", 1114))
    fit = fit_bradley_terry(_counted(shared), anchor)
    official = expected["lmsys_20240329"]["compute_bt on the pairwise (no ties) counts"]
    # FastChat's L-BFGS stops at a gradient of 1e-6 of the mean loss: 0.03 points short, on a range of 400.
    assert _largest_error(_ratings(fit), official) < 0.04


@pytest.mark.parametrize("name", ARENA)
def test_at_the_maximum_every_model_wins_as_often_as_expected(shared: Path, name: str) -> None:
    battles = _arena(shared, name)
    theta = np.array(list(_ratings(fit_bradley_terry(battles)).values())) * math.log(10) / 400
    surplus = battles.outcome - 1 / (1 + np.exp(theta[battles.second] - theta[battles.first]))
    per_model = np.bincount(battles.first, surplus, len(theta)) - np.bincount(battles.second, surplus, len(theta))
    assert np.abs(per_model).max() < 1e-6


def test_wikipedias_22_games_give_its_strengths() -> None:
    games = [("A", "B", 2), ("B", "A", 3), ("A", "D", 1), ("D", "A", 4), ("B", "C", 5), ("C", "B", 3), ("C", "D", 1)]
    games.append(("D", "C", 3))
    first = [winner for winner, _, n in games for _ in range(n)]
    second = [loser for _, loser, n in games for _ in range(n)]
    fit = fit_bradley_terry(make_battles(first, second, np.ones(22)))
    strength = {m: math.exp((v - 1000) * math.log(10) / 400) for m, v in _ratings(fit).items()}
    assert strength == pytest.approx({"A": 0.640, "B": 1.043, "C": 0.660, "D": 2.270}, abs=1e-3)


def test_online_elo_equals_fastchat(shared: Path, golden: Any, synth: Any, expected: Any) -> None:
    found = online_elo(_battles(synth))
    assert _largest_error(dict(zip(found.models, found.ratings, strict=True)), golden["fastchat_elo_k4"]) < 1e-9
    for name in ARENA:
        found = online_elo(_arena(shared, name))
        official = expected[name]["compute_elo online K=4 in file order"]
        assert _largest_error(dict(zip(found.models, found.ratings, strict=True)), official) < 1e-9


def test_online_elo_with_a_home_term_follows_all_800_published_updates(shared: Path) -> None:
    rows = _rows(shared / "arena/rakuda_v0_online_elo.jsonl")
    outcome = [{1: 1.0, 2: 0.0}.get(row["score"], 0.5) for row in rows]
    battles = make_battles([row["bot1"] for row in rows], [row["bot2"] for row in rows], outcome)
    found = online_elo(battles, EloSettings(k=10, home=-0.8))
    before = np.array([[row["prematch_elo1"], row["prematch_elo2"]] for row in rows])
    after = np.array([[row["postmatch_elo1"], row["postmatch_elo2"]] for row in rows])
    assert (np.abs(found.before - before) < 1e-6).sum() == 800
    assert (np.abs(found.after - after) < 1e-6).sum() == 800


def test_elo_settings_are_checked() -> None:
    with pytest.raises(UsageError, match="k > 0"):
        online_elo(make_battles(["a"], ["b"], [1.0]), EloSettings(k=0))


def _random_battles(n: int, models: int, prompts: int | None = None, seed: int = 0) -> Battles:
    rng = np.random.default_rng(seed)
    skill = rng.normal(0, 0.8, models)
    first = rng.integers(0, models, n)
    second = (first + rng.integers(1, models, n)) % models
    prompt = rng.integers(0, prompts or 1, n)
    taste = rng.normal(0, 1, (prompts or 1, models)) * (prompts is not None)
    logits = skill[first] - skill[second] + taste[prompt, first] - taste[prompt, second]
    outcome = np.where(rng.random(n) < 0.2, 0.5, rng.random(n) < 1 / (1 + np.exp(-logits)))
    names = np.array([f"m{i}" for i in range(models)])
    return make_battles(names[first].tolist(), names[second].tolist(), outcome, prompts=prompt if prompts else None)


def test_battles_on_their_own_prompt_are_independent() -> None:
    battles = _random_battles(500, 5)
    alone = Battles(battles.models, battles.first, battles.second, battles.outcome, prompts=np.arange(500))
    plain, clustered = fit_bradley_terry(battles), fit_bradley_terry(alone)
    for one, other in zip(plain.estimates, clustered.estimates, strict=True):
        assert other.stderr == pytest.approx((one.stderr or 0) * math.sqrt(500 / 499), rel=1e-9)


def test_repeating_every_verdict_changes_no_clustered_interval() -> None:
    battles = _random_battles(300, 4)
    prompts = np.arange(300)
    once = fit_bradley_terry(Battles(battles.models, battles.first, battles.second, battles.outcome, prompts))
    thrice = fit_bradley_terry(
        Battles(battles.models, *(np.tile(x, 3) for x in (battles.first, battles.second, battles.outcome, prompts)))
    )
    assert [e.stderr for e in thrice.estimates] == pytest.approx([e.stderr for e in once.estimates], rel=1e-6)


def test_bootstrap_over_prompts_agrees_with_the_clustered_sandwich() -> None:
    battles = _random_battles(3000, 4, prompts=60, seed=1)
    fit = fit_bradley_terry(battles)
    spread = bootstrap_ratings(battles, rounds=200, seed=0).std(axis=0)
    plain = fit_bradley_terry(Battles(battles.models, battles.first, battles.second, battles.outcome))
    for found, clustered, independent in zip(spread, fit.estimates, plain.estimates, strict=True):
        assert found == pytest.approx(clustered.stderr, rel=0.25)
        assert (clustered.stderr or 0) > 1.3 * (independent.stderr or 0)


def test_bootstrap_with_features_agrees_with_the_sandwich() -> None:
    battles = _random_battles(800, 3)
    features = np.random.default_rng(0).normal(size=(800, 1))
    styled = Battles(battles.models, battles.first, battles.second, battles.outcome, features=features)
    spread = bootstrap_ratings(styled, rounds=100).std(axis=0)
    assert spread == pytest.approx([e.stderr for e in fit_bradley_terry(styled).estimates], rel=0.3)


def test_a_difference_of_ratings_uses_their_covariance() -> None:
    battles = _random_battles(2000, 2)
    fit = fit_bradley_terry(battles)
    found = rating_difference(fit, "m0", "m1")
    assert found.value == pytest.approx(_ratings(fit)["m0"] - _ratings(fit)["m1"])
    assert found.stderr == pytest.approx(2 * (fit.estimates[0].stderr or 0), rel=1e-9)
    with pytest.raises(UsageError, match="m9 is not among"):
        rating_difference(fit, "m0", "m9")


def test_an_anchor_moves_all_ratings_along() -> None:
    battles = _random_battles(500, 4)
    free, anchored = fit_bradley_terry(battles), fit_bradley_terry(battles, RatingSettings(anchor=("m2", 1114)))
    assert _ratings(anchored)["m2"] == pytest.approx(1114)
    shifts = [b.value - a.value for a, b in zip(free.estimates, anchored.estimates, strict=True)]  # type: ignore[operator]
    assert np.ptp(shifts) == pytest.approx(0, abs=1e-9)
    with pytest.raises(UsageError, match="m9"):
        fit_bradley_terry(battles, RatingSettings(anchor=("m9", 1000)))


def test_a_model_that_only_won_is_first_without_an_interval_and_with_a_warning() -> None:
    fit = fit_bradley_terry(make_battles(["a", "a", "b", "c", "b"], ["b", "c", "c", "b", "c"], [1, 1, 1, 1, 0.5]))
    best = fit.estimates[fit.models.index("a")]
    assert best.value == max(e.value or 0 for e in fit.estimates)
    assert best.low is None
    assert best.high is None
    assert all(e.high is not None for m, e in zip(fit.models, fit.estimates, strict=True) if m != "a")
    assert fit.ranks[fit.models.index("a")] == 1
    assert any("a only won" in warning for warning in fit.warnings)
    assert any("one tied battle" in warning for warning in fit.warnings)


def test_groups_that_never_met_are_named() -> None:
    first, second = ["a", "b", "c", "d"] * 3, ["b", "a", "d", "c"] * 3
    fit = fit_bradley_terry(make_battles(first, second, [1, 1, 1, 1, 1, 0, 1, 0, 0.5, 1, 1, 1]))
    assert any("a, b | c, d" in warning for warning in fit.warnings)
    assert sum(_ratings(fit)[m] for m in "ab") == pytest.approx(2000)


def test_one_way_streets_between_groups_are_noticed() -> None:
    first = ["a", "b", "c", "d", "a", "b"]
    fit = fit_bradley_terry(make_battles(first, ["b", "a", "d", "c", "c", "d"], np.ones(6)))
    assert any("took a point" in warning for warning in fit.warnings)


def test_a_single_battle_gives_a_rating_without_interval() -> None:
    fit = fit_bradley_terry(make_battles(["a"], ["b"], ["model_a"]))
    assert _ratings(fit)["a"] > _ratings(fit)["b"]
    assert fit.estimates[0].low is None


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: make_battles([], [], []), "no battles"),
        (lambda: make_battles(["a"], ["a"], [1.0]), "against itself"),
        (lambda: make_battles(["a"], ["b", "c"], [1.0]), "one of each per battle"),
        (lambda: make_battles(["a", "a"], ["b", "b"], [1.0]), "1 entries for 2 battles"),
        (lambda: make_battles(["a"], ["b"], [1.5]), r"outcomes\[0\] is 1.5"),
        (lambda: make_battles(["a"], ["b"], [math.nan]), r"outcomes\[0\]"),
        (lambda: make_battles(["a"], ["b"], ["first"]), "expected one of model_a"),
        (lambda: make_battles(["a"], ["b"], [1.0], models=["a", "c"]), "c has no battles"),
        (lambda: make_battles(["a"], ["b"], [1.0], features=[[math.inf]]), "features"),
        (lambda: make_battles(["a"], ["b"], [1.0], features=[[1.0], [2.0]]), "features has shape"),
        (lambda: make_battles(["a", "a"], ["b", "b"], [1.0, 0.0], features=[[1, 2], [2, 4]]), "linearly"),
        (lambda: style_features([[1, 2], [1, 3]], [[1, 5], [1, 1]]), "never differs"),
        (lambda: style_features([[1, 2]], [[1]]), "same features"),
    ],
)
def test_unusable_battles_are_refused_in_one_sentence(call: Any, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        call()


def test_one_prompt_for_all_battles_is_refused() -> None:
    with pytest.raises(UsageError, match="one prompt"):
        fit_bradley_terry(make_battles(["a", "b"], ["b", "a"], [1.0, 1.0], prompts=["p", "p"]))


def test_a_feature_that_only_says_who_plays_is_refused() -> None:
    battles = _random_battles(200, 3)
    same = (battles.first == 0).astype(float) - (battles.second == 0)
    with pytest.raises(UsageError, match="told apart"):
        fit_bradley_terry(
            Battles(battles.models, battles.first, battles.second, battles.outcome, features=same[:, None])
        )


@pytest.mark.slow
def test_a_million_battles_of_a_hundred_models_get_intervals() -> None:
    battles = _random_battles(1_000_000, 100)
    fit = fit_bradley_terry(battles)
    assert all(e.low is not None for e in fit.estimates)
