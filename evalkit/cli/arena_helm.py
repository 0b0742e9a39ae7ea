"""`evalkit arena winrate --helm`: runs of several models on several tasks to HELM's mean win rates, shown."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from evalkit.cli.output import Output
    from evalkit.record import Run


def show_scenario_win_rates(runs: "Sequence[Run]", metric: str | None, output: "Output") -> None:
    """A line for each model, the one that wins most first."""
    from evalkit.ci.text import for_log
    from evalkit.compare.scenarios import scenario_win_rates
    from evalkit.errors import UsageError

    found = scenario_win_rates(runs, metric)
    if not found.scenarios:
        raise UsageError("no two of these runs are of the same task, protocol and data with other models: nobody meets")
    ranked = sorted(found.models.items(), key=lambda item: -1.0 if item[1].mean is None else item[1].mean, reverse=True)
    lines = [
        (for_log(model), _number(one.mean), _number(one.median), f"{one.scenarios} of {len(found.scenarios)}")
        for model, one in ranked
    ]
    output.table(("model", "mean win rate", "median", "scenarios"), lines)
    if found.alone:
        output.note(f"only one model has a value on {for_log(', '.join(found.alone))}: counted for nobody")
    output.document(
        {
            "metric": metric,
            "scenarios": found.scenarios,
            "alone": found.alone,
            "models": [{"model": model, **asdict(one)} for model, one in ranked],
        }
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"
