"""Runs of several models on several tasks in, each model's mean win rate out, as HELM ranks models.

A scenario is a task with its protocol, data and settings of asking; where a model has no value in one, it takes no
part there. Source: stanford-crfm/helm, `presentation/summarize.py`, through `stats.win_rate`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evalkit.compare.direction import higher_is_better
from evalkit.errors import UsageError
from evalkit.record import Run
from evalkit.stats.win_rate import MeanWinRate, mean_win_rates

Scenario = tuple[str, str, str, str]
"""Task, protocol, metric, data."""


@dataclass(frozen=True)
class ScenarioWinRates:
    """Who beats whom over scenarios."""

    models: dict[str, MeanWinRate]
    """In the order of the Runs."""
    scenarios: tuple[str, ...]
    """Names of the scenarios in which at least two models have a value."""
    alone: tuple[str, ...]
    """Names of those in which fewer have one; they count for nobody."""


def scenario_win_rates(runs: Sequence[Run], metric: str | None = None) -> ScenarioWinRates:
    """The mean over scenarios of each model's chance to beat another one drawn at random; ties count half.

    Args:
        runs: one Run for each model and scenario at most.
        metric: one of the Runs' metrics, such as "helm/robustness"; each task's primary one if None.

    Raises:
        UsageError: a model has two Runs of one scenario, no Run has the metric, or it is good in no direction.
    """
    table: dict[tuple[str, Scenario], float | None] = {}
    examples: dict[Scenario, Run] = {}
    for run in runs:
        key = (run.manifest.model, _scenario(run, metric))
        if key in table:
            raise UsageError(
                f"{key[0]} has two runs of {run.manifest.task} ({run.manifest.protocol}): give one of them"
            )
        examples.setdefault(key[1], run)
        found = run.manifest.metrics.overall.get(key[1][2])
        table[key] = None if found is None or found.value is None or math.isnan(found.value) else found.value
    if metric is not None:
        _check(runs, metric)
    models = list(dict.fromkeys(model for model, _ in table))
    scenarios = list(dict.fromkeys(scenario for _, scenario in table))
    directions = [higher_is_better(scenario[2], examples[scenario]) for scenario in scenarios]
    rows = [[table.get((model, scenario)) for scenario in scenarios] for model in models]
    found_rates = mean_win_rates(rows, [not rises for rises in directions])
    meets = [sum(row[place] is not None for row in rows) > 1 for place in range(len(scenarios))]
    names = [task for task, *_ in scenarios]
    return ScenarioWinRates(
        dict(zip(models, found_rates, strict=True)),
        tuple(name for name, met in zip(names, meets, strict=True) if met),
        tuple(name for name, met in zip(names, meets, strict=True) if not met),
    )


def _scenario(run: Run, metric: str | None) -> Scenario:
    manifest = run.manifest
    return manifest.task, manifest.protocol, metric or manifest.primary, manifest.data_hash


def _check(runs: Sequence[Run], metric: str) -> None:
    known = sorted({name for run in runs for name in run.manifest.metrics.overall})
    if metric not in known:
        raise UsageError(f"--metric {metric}: no run has it; the runs have {', '.join(known) or 'no metric'}")
    if metric.endswith("tokens"):
        raise UsageError(f"--metric {metric}: neither more nor fewer tokens are better, so nobody wins")
