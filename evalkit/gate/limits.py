"""A Run and a rule in, which of the rule's own limits it breaks out: unscored rows, cost, critical samples."""

from evalkit.compare import higher_is_better
from evalkit.gate.rules import GateRule
from evalkit.record import Run
from evalkit.stats.decision import Decision, Verdict

_FREE = {"hf", "ollama", "fake", "reference"}
"""Providers that charge nothing."""


def too_unscored(run: Run, rule: GateRule) -> str:
    """Why a Run with so many unscored rows gives no verdict; empty where they are few."""
    share = sum(run.manifest.unscored.values()) / run.manifest.samples if run.manifest.samples else 0.0
    if share <= rule.max_unscored:
        return ""
    return f"{share:.1%} of the rows of {run.id} are unscored, more than the {rule.max_unscored:.1%} allowed"


def cost_problem(run: Run, rule: GateRule) -> Decision | None:
    """The decision where a Run cost too much, or does not say what it cost."""
    if rule.max_cost is None:
        return None
    manifest = run.manifest
    asked = str(manifest.judge["name"]) if manifest.judge else manifest.model
    cost = manifest.usage.get("cost_usd", 0.0 if asked.partition("/")[0] in _FREE else None)
    if cost is None:
        return Decision(Verdict.UNDECIDABLE, f"{run.id} does not say what it cost; give --price", None)
    if cost <= rule.max_cost:
        return None
    return Decision(Verdict.FAIL, f"the run cost {cost:.2f} USD, more than the {rule.max_cost:.2f} allowed", None)


def broken_critical(run: Run, rule: GateRule, metric: str) -> list[str] | Decision:
    """Ids of critical samples that are wrong; a Decision where one is unscored, so that nobody can tell."""
    broken = []
    single = run.sample_metric(metric)
    for sample in rule.critical:
        rows = [row for row in run.rows if row.id == sample]
        scores = [row.scores.get(single) for row in rows if row.unscored is None]
        if len(scores) < len(rows) or None in scores:
            return Decision(Verdict.UNDECIDABLE, f"the critical sample {sample} is unscored", None)
        middle = (run.manifest.scale if single == metric else 1.0) / 2
        sign = 1 if higher_is_better(single, run) else -1
        if any(sign * ((score or 0.0) - middle) < 0 for score in scores):
            broken.append(sample)
    return broken
