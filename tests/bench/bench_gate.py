"""What the gate promises, measured by simulation: false alarms, found drops, clusters, adaptive repeats.

A broken promise is an error: the figures are shares of simulated comparisons, given with their Monte Carlo standard
error, and a promise is broken beyond three of these.
"""

from collections.abc import Sequence

import numpy as np
from harness import Result, run_function

from evalkit.gate import gate_adaptively, run_gate
from evalkit.record import Manifest, Metrics, Row, Run
from evalkit.stats.decision import Verdict
from evalkit.stats.simulation import World
from evalkit.stats.simulation_tables import Claim, claims

_SIMULATIONS = 4000
_WHOLE_GATES = 4000
_FAMILIES = 400
_TASKS = 20


def run() -> Result:
    """The promises of the statistics, and those of the gate made of whole Runs."""
    found: list[Claim] = []
    statistics = run_function(
        f"statistics, {_SIMULATIONS:,} simulations each", lambda: found.extend(claims(_SIMULATIONS)), repeats=1
    )
    gates = run_function("whole gates on Runs of 200 samples", lambda: found.extend(_whole_gates()), repeats=1)
    broken = [one.text for one in found if not one.holds]
    if broken:
        raise RuntimeError(f"broken: {'; '.join(broken)}")
    notes = [f"{one.text}: {one.measured:.4f} ± {one.error:.4f}, {_limit(one)}" for one in found]
    return Result("Gate", [statistics, gates], {one.text: one.measured for one in found}, notes)


def _limit(one: Claim) -> str:
    promised = f"at least {one.at_least:.2f}" if one.at_least else f"at most {one.at_most:.2f}"
    return f"{promised} promised ({one.simulations:,} simulations)"


def _whole_gates() -> list[Claim]:
    rng = np.random.default_rng(0)
    alone = sum(_gate([_pair(0.0, rng)]) for _ in range(_WHOLE_GATES)) / _WHOLE_GATES
    family = sum(_gate([_pair(0.0, rng) for _ in range(_TASKS)]) for _ in range(_FAMILIES)) / _FAMILIES
    unchanged = sum(_adaptive([_pair(0.0, rng)]) for _ in range(_WHOLE_GATES)) / _WHOLE_GATES
    families = sum(_adaptive([_pair(0.0, rng) for _ in range(_TASKS)]) for _ in range(_FAMILIES)) / _FAMILIES
    found = sum(_adaptive([_pair(0.05, rng)]) for _ in range(_WHOLE_GATES)) / _WHOLE_GATES
    return [
        Claim("gate, one rule, no change: red", alone, _WHOLE_GATES, at_most=0.05),
        Claim("gate, 20 rules, no change: red", family, _FAMILIES, at_most=0.05),
        Claim("gate --repeats auto, no change: red", unchanged, _WHOLE_GATES, at_most=0.05),
        Claim("gate --repeats auto, 20 rules, no change: red", families, _FAMILIES, at_most=0.05),
        Claim("gate --repeats auto, 5 points lost: found", found, _WHOLE_GATES, at_least=0.90),
    ]


def _pair(drop: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Scores of baseline and candidate, shape (samples, 4 repeats)."""
    return World(drop=drop, baseline_repeats=4, candidate_repeats=4).draw(rng)


def _gate(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    baselines, candidates = _sides(pairs)
    return run_gate(candidates, baselines).verdict is Verdict.FAIL


def _adaptive(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> bool:
    baselines, candidates = _sides(pairs)

    def repeat(recorded: Run, count: int) -> Run:
        side, task = recorded.id.split("-t")
        return _run(pairs[int(task)][side == "after"][:, :count], side, int(task))

    return gate_adaptively(candidates, baselines, (), None, repeat).verdict is Verdict.FAIL


def _sides(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> tuple[list[Run], list[Run]]:
    """Baselines and candidates with one run of every sample."""
    return tuple(  # type: ignore[return-value]
        [_run(pair[side][:, :1], name, task) for task, pair in enumerate(pairs)]
        for side, name in enumerate(("before", "after"))
    )


def _run(scores: np.ndarray, side: str, task: int) -> Run:
    name = f"{side}-t{task}"
    rows = tuple(
        Row(f"s{sample}", repeat, "", None, "", {"acc": float(value)})
        for sample, values in enumerate(scores)
        for repeat, value in enumerate(values)
    )
    manifest = Manifest(
        name, f"t{task}", "p", "acc", side, side, "d", {}, "complete", len(rows), scores.shape[1], metrics=Metrics({}),
    )  # fmt: skip
    return Run(manifest, rows)
