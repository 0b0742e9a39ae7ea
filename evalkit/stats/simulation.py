"""Measures false alarms and power of the comparison and gate rules on simulated models.

Every item has its own chance of success, drawn from a Beta distribution with mean `accuracy`; baseline and
candidate draw every item independently, so an unchanged model flips a known share of its items. A drop
multiplies every chance by the same factor. The tests are made by the very functions that ship.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from evalkit.stats.checks import FloatArray, IntArray
from evalkit.stats.decision import AdaptiveRepeats, Rule, Verdict, decide, decide_family, look
from evalkit.stats.logistic import sigmoid
from evalkit.stats.paired import PairedComparison, compare_paired, noninferiority_p

Red = Callable[[PairedComparison], bool]

SAME_SIZE = (10,) * 50
"""50 clusters of 10 items."""
UNEQUAL = tuple(max(2, 200 // (rank + 1)) for rank in range(20))
"""20 clusters of 200, 100, 66 ... 10 items: the largest has 28 % of all items, as subjects of a benchmark may."""


@dataclass(frozen=True)
class World:
    """A simulated baseline and candidate."""

    items: int = 200
    drop: float = 0.0
    """True drop of the candidate's accuracy."""
    flips: float = 0.14
    """Flip rate of the unchanged model."""
    accuracy: float = 0.70
    baseline_repeats: int = 1
    candidate_repeats: int = 1

    def chances(self, rng: np.random.Generator) -> FloatArray:
        """Chance of success per item, shape (items,)."""
        spread = 2 * self.accuracy * (1 - self.accuracy)
        concentration = self.flips / (spread - self.flips)
        return rng.beta(self.accuracy * concentration, (1 - self.accuracy) * concentration, self.items)

    def draw(self, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Scores of baseline and candidate, each (items, repeats)."""
        chances = self.chances(rng)
        lower = chances * (1 - self.drop / self.accuracy)
        return _runs(chances, self.baseline_repeats, rng), _runs(lower, self.candidate_repeats, rng)

    def compare(self, rng: np.random.Generator) -> PairedComparison:
        """Draw once and compare."""
        return compare_paired(*self.draw(rng))


RULES: Mapping[str, Red] = {
    "any drop": lambda found: _drop(found) > 1e-9,
    "drop > 2 points": lambda found: _drop(found) > 0.02 + 1e-9,
    "drop > 5 points": lambda found: _drop(found) > 0.05 + 1e-9,
    "unpaired z": lambda found: _unpaired_z(found) > 1.645,
    "paired": lambda found: (found.p_drop or 0.0) <= 0.05,
    "paired, drop >= 1 point": lambda found: decide(found, Rule()).verdict is Verdict.FAIL,
    "non-inferiority, 2 points": lambda found: (noninferiority_p(found, 0.02) or 0.0) > 0.05,
    "non-inferiority, 5 points": lambda found: (noninferiority_p(found, 0.05) or 0.0) > 0.05,
}
"""When a comparison turns red, by rule."""


def red_shares(world: World, simulations: int, seed: int) -> dict[str, float]:
    """Share of comparisons that turn red under each of `RULES`."""
    rng = np.random.default_rng(seed)
    found = [world.compare(rng) for _ in range(simulations)]
    return {name: float(np.mean([red(one) for one in found])) for name, red in RULES.items()}


def family_alarms(world: World, tasks: int, simulations: int, seed: int) -> dict[str, float]:
    """Chance that any of many unchanged tasks turns red under three rules, and that a real drop is found.

    `world` describes the tasks; its drop is that of the first task in the two "found" figures.
    """
    rng = np.random.default_rng(seed)
    unchanged, rule = replace(world, drop=0.0), Rule(min_effect=0.0)
    counts = dict.fromkeys(("drop > 2 points", "each at .05", "Holm", "each at .05, found", "Holm, found"), 0)
    for _ in range(simulations):
        found = {f"task {index}": unchanged.compare(rng) for index in range(tasks)}
        verdicts = [one.verdict for one in decide_family(found, rule).values()]
        counts["drop > 2 points"] += any(RULES["drop > 2 points"](one) for one in found.values())
        counts["each at .05"] += any(RULES["paired"](one) for one in found.values())
        counts["Holm"] += Verdict.FAIL in verdicts
        found["task 0"] = world.compare(rng)
        counts["each at .05, found"] += RULES["paired"](found["task 0"])
        counts["Holm, found"] += decide_family(found, rule)["task 0"].verdict is Verdict.FAIL
    return {name: count / simulations for name, count in counts.items()}


def lucky_baseline(
    world: World, red: Red, simulations: int, seed: int, commits: int = 20
) -> tuple[float, float, float]:
    """Compare unchanged commits with one stored baseline.

    Returns:
        Share of red commits, and of repositories in which at least a quarter and at least half of them are
        red.
    """
    rng = np.random.default_rng(seed)
    reds = np.zeros(simulations)
    for index in range(simulations):
        chances = world.chances(rng)
        stored = _runs(chances, world.baseline_repeats, rng)
        reds[index] = sum(red(compare_paired(stored, _runs(chances, 1, rng))) for _ in range(commits))
    shares = [float((reds >= commits * part).mean()) for part in (0.25, 0.5)]
    return float(reds.mean()) / commits, shares[0], shares[1]


def retried(world: World, red: Red, simulations: int, seed: int, runs: int = 3) -> float:
    """Share of comparisons that stay red if the candidate may run again until it is green."""
    rng = np.random.default_rng(seed)
    stays = 0
    for _ in range(simulations):
        chances = world.chances(rng)
        stored = _runs(chances, world.baseline_repeats, rng)
        lower = chances * (1 - world.drop / world.accuracy)
        stays += all(red(compare_paired(stored, _runs(lower, 1, rng))) for _ in range(runs))
    return stays / simulations


def clustered_alarms(
    shock: float, simulations: int, seed: int, *, sizes: Sequence[int] = SAME_SIZE
) -> tuple[float, float]:
    """False alarms at .05 where clusters of items share a random shock per run.

    Args:
        shock: standard deviation of a cluster's shock, on the logit scale.
        simulations: how many comparisons.
        seed: of the simulation.
        sizes: items in each cluster.

    Returns:
        Share of false alarms of McNemar's test, which ignores the clusters, and of the cluster-robust t test.
    """
    rng = np.random.default_rng(seed)
    world = World(items=sum(sizes))
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    reds = np.zeros(2)
    for _ in range(simulations):
        chances = world.chances(rng)
        runs = [_runs(_shocked(chances, clusters, shock, rng), 1, rng)[:, 0] for _ in range(2)]
        for index, groups in enumerate((None, clusters)):
            reds[index] += RULES["paired"](compare_paired(runs[0], runs[1], clusters=groups))
    return float(reds[0] / simulations), float(reds[1] / simulations)


def adaptive(world: World, plan: AdaptiveRepeats, simulations: int, seed: int) -> tuple[float, float]:
    """Look at growing numbers of repeats, at the default margin of 5 points.

    Returns:
        Share of comparisons that fail, and the mean number of repeats used.
    """
    rng = np.random.default_rng(seed)
    failed, used = 0, 0
    full = replace(world, baseline_repeats=max(plan.repeats), candidate_repeats=max(plan.repeats))
    for _ in range(simulations):
        before, after = full.draw(rng)
        for index, repeats in enumerate(plan.repeats):
            verdict = look(plan, index, compare_paired(before[:, :repeats], after[:, :repeats]))
            if verdict is not None:
                break
        failed += verdict is Verdict.FAIL
        used += repeats
    return failed / simulations, used / simulations


def verdict_shares(world: World, rule: Rule, simulations: int, seed: int) -> dict[Verdict, float]:
    """Share of PASS, FAIL and INCONCLUSIVE under a rule: what strictness costs."""
    rng = np.random.default_rng(seed)
    verdicts = [decide(world.compare(rng), rule).verdict for _ in range(simulations)]
    return {verdict: verdicts.count(verdict) / simulations for verdict in Verdict}


def _runs(chances: FloatArray, repeats: int, rng: np.random.Generator) -> FloatArray:
    return (rng.random((len(chances), repeats)) < chances[:, None]).astype(np.float64)


def _shocked(chances: FloatArray, clusters: IntArray, shock: float, rng: np.random.Generator) -> FloatArray:
    """Chances after one random shift per cluster on the logit scale."""
    safe = np.clip(chances, 1e-12, 1 - 1e-12)
    shift = rng.normal(0, shock, int(clusters.max()) + 1)[clusters]
    return sigmoid(np.log(safe / (1 - safe)) + shift)


def _drop(found: PairedComparison) -> float:
    return -(found.difference.value or 0.0)


def _unpaired_z(found: PairedComparison) -> float:
    """The z statistic that forgets that the items are the same."""
    before, after = found.baseline or 0.0, found.candidate or 0.0
    variance = (before * (1 - before) + after * (1 - after)) / found.difference.n
    return (before - after) / math.sqrt(variance) if variance else 0.0
