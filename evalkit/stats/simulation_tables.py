"""Prints what the gate promises and what simulations measure: `python -m evalkit.stats.simulation_tables`."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from evalkit.stats.decision import AdaptiveRepeats, Rule, Verdict
from evalkit.stats.power import Plan, detectable_under_drop
from evalkit.stats.simulation import (
    RULES,
    SAME_SIZE,
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

DROPS = (0.0, 0.02, 0.05, 0.10)
SIZES = (100, 200, 500)
REPEATED = World(baseline_repeats=4, candidate_repeats=4)


@dataclass(frozen=True)
class Table:
    """Simulated figures, one row per condition."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table as Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join((f"### {self.title}", "", *("| " + " | ".join(line) + " |" for line in lines)))


@dataclass(frozen=True)
class Claim:
    """A promise and what was measured."""

    text: str
    measured: float
    simulations: int
    at_least: float = 0.0
    at_most: float = 1.0

    @property
    def error(self) -> float:
        """Standard error of the measured share, from the number of simulations."""
        return math.sqrt(max(self.measured * (1 - self.measured), 0.01) / self.simulations)

    @property
    def holds(self) -> bool:
        """True if the measured share keeps its limits, allowing three standard errors of the simulation."""
        return self.at_least - 3 * self.error <= self.measured <= self.at_most + 3 * self.error


def claims(simulations: int = 4000, seed: int = 0) -> tuple[Claim, ...]:
    """Measure the promises of the gate; about half a minute per 4,000 simulations.

    Args:
        simulations: comparisons per promise; the family of 20 tasks takes a tenth of them.
        seed: of every simulation.
    """
    families = max(1, simulations // 10)
    small = World()
    drop = detectable_under_drop(small.items, small.flips, small.accuracy, Plan()) or 0.0
    found, _ = adaptive(replace(small, drop=0.05), AdaptiveRepeats(), simulations, seed)
    alarms, _ = adaptive(small, AdaptiveRepeats(), simulations, seed)
    return (
        Claim("one task, no change: red", red_shares(small, simulations, seed)["paired"], simulations, at_most=0.05),
        Claim("20 tasks, no change: any red", family_alarms(small, 20, families, seed)["Holm"], families, at_most=0.05),
        Claim(
            "clusters with shocks, no change: red",
            clustered_alarms(1.0, simulations, seed)[1],
            simulations,
            at_most=0.05,
        ),
        Claim(
            "clusters of unequal sizes with shocks, no change: red",
            clustered_alarms(1.0, simulations, seed, sizes=UNEQUAL)[1],
            simulations,
            at_most=0.05,
        ),
        Claim("adaptive repeats, no change: red", alarms, simulations, at_most=0.05),
        Claim("adaptive repeats, 5 points lost: found", found, simulations, at_least=0.90),
        Claim(
            f"{100 * drop:.1f} points lost, the planned effect: found",
            red_shares(replace(small, drop=drop), simulations, seed)["paired"],
            simulations,
            at_least=0.78,
        ),
    )


def tables(simulations: int = 1000, seed: int = 0) -> Iterator[Table]:
    """Yield the tables one by one; all of them take about a minute per 1,000 simulations."""
    yield _rules("one run each, flip rate 14 %", World(), simulations, seed)
    yield _rules("four runs on both sides", REPEATED, simulations, seed)
    yield _family(max(1, simulations // 5), seed)
    yield _lucky(max(1, simulations // 5), seed)
    yield _retries(simulations, seed)
    yield _clusters(simulations, seed)
    yield _adaptive(simulations, seed)
    yield _strictness(simulations, seed)


def report(simulations: int = 1000, seed: int = 0) -> str:
    """Return claims and tables as one Markdown text."""
    listed = [
        f"- {'holds' if c.holds else 'BROKEN'}: {c.text} {_percent(c.measured)} %" for c in claims(simulations, seed)
    ]
    return "\n\n".join(("\n".join(listed), *(table.markdown() for table in tables(simulations, seed))))


def _rules(title: str, world: World, simulations: int, seed: int) -> Table:
    """Share of red comparisons per rule and drop, for the sizes in `SIZES`."""
    cells = {
        drop: [red_shares(replace(world, items=items, drop=drop), simulations, seed) for items in SIZES]
        for drop in DROPS
    }
    rows = tuple((rule, *("/".join(_percent(one[rule]) for one in cells[drop]) for drop in DROPS)) for rule in RULES)
    sizes = "/".join(str(items) for items in SIZES)
    return Table(f"Red at {sizes} items, in percent: {title}", ("rule", *(f"drop {_percent(d)}" for d in DROPS)), rows)


def _family(simulations: int, seed: int) -> Table:
    found = family_alarms(World(drop=0.10), 20, simulations, seed)
    rows = tuple((name, _percent(share)) for name, share in found.items())
    return Table(
        "20 tasks of 200 items: any red without a change; drop of 10 points in one task found", ("rule", "%"), rows
    )


def _lucky(simulations: int, seed: int) -> Table:
    rows = []
    for repeats in (1, 4):
        for name in ("drop > 2 points", "paired"):
            shares = lucky_baseline(World(baseline_repeats=repeats), RULES[name], simulations, seed)
            rows.append((str(repeats), name, *(_percent(share) for share in shares)))
    columns = ("baseline repeats", "rule", "red commits", ">= 5 of 20 red", ">= 10 of 20 red")
    return Table("One stored baseline, 20 unchanged commits, in percent", columns, tuple(rows))


def _retries(simulations: int, seed: int) -> Table:
    rows = tuple(
        (_percent(drop), *(_percent(retried(World(drop=drop), RULES[name], simulations, seed)) for name in _RETRIED))
        for drop in DROPS
    )
    return Table("Red after up to two reruns, in percent", ("drop", *_RETRIED), rows)


_RETRIED = ("drop > 2 points", "paired")


def _clusters(simulations: int, seed: int) -> Table:
    shocks = (0.0, 0.3, 0.6, 1.0)
    rows = tuple(
        (name, str(shock), *(_percent(x, 1) for x in clustered_alarms(shock, simulations, seed, sizes=sizes)))
        for name, sizes in (("50 of 10 items", SAME_SIZE), ("20 of 10 to 200 items", UNEQUAL))
        for shock in shocks
    )
    return Table(
        "Clustered items, no change, red in percent", ("clusters", "shock", "McNemar", "cluster-robust t"), rows
    )


def _adaptive(simulations: int, seed: int) -> Table:
    rows = []
    for items in SIZES:
        found = [adaptive(World(items, drop), AdaptiveRepeats(), simulations, seed) for drop in DROPS]
        rows.append((str(items), *(f"{_percent(share, 1)} %, {used:.2f} repeats" for share, used in found)))
    return Table("Looks after 1, 2 and 4 repeats: red", ("items", *(f"drop {_percent(d)}" for d in DROPS)), tuple(rows))


def _strictness(simulations: int, seed: int) -> Table:
    rows = []
    for repeats, margin in ((1, 0.02), (1, 0.05), (4, 0.05)):
        worlds = [World(n, 0.0, baseline_repeats=repeats, candidate_repeats=repeats) for n in SIZES]
        shares = [verdict_shares(world, Rule(margin=margin), simulations, seed) for world in worlds]
        listed = (
            "/".join(_percent(one[v]) for v in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)) for one in shares
        )
        rows.append((str(repeats), _percent(margin), *listed))
    columns = ("repeats", "margin", *(f"{n} items" for n in SIZES))
    return Table("No change: pass/fail/inconclusive in percent", columns, tuple(rows))


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f}"


if __name__ == "__main__":
    print(report())
