"""A gate's result in, its words out: for the report, for CI, and for whoever asks what would settle it."""

from collections.abc import Mapping

from evalkit.compare import points
from evalkit.gate.verdicts import SEVERITY, GateResult, RuleVerdict
from evalkit.report.gate_view import GateRule as RuleView
from evalkit.report.gate_view import GateVerdict, GateView
from evalkit.stats.decision import Verdict

NAMES: Mapping[Verdict, GateVerdict] = {
    Verdict.FAIL: "FAIL",
    Verdict.UNDECIDABLE: "UNDECIDABLE",
    Verdict.INCONCLUSIVE: "INCONCLUSIVE",
    Verdict.PASS: "PASS",
}


def to_view(result: GateResult) -> GateView:
    """The result as the report shows it."""
    lines = tuple(
        RuleView(f"{one.name}: {one.metric}", NAMES[one.decision.verdict], words(one)) for one in result.tasks
    )
    return GateView(NAMES[result.verdict], lines, summary(result))


def summary(result: GateResult) -> str:
    """The result in one line: how many rules ended how."""
    counts = {verdict: sum(one.decision.verdict is verdict for one in result.tasks) for verdict in SEVERITY}
    ended = ", ".join(f"{count} {NAMES[verdict].lower()}" for verdict, count in counts.items() if count)
    return f"{len(result.tasks)} {'rule' if len(result.tasks) == 1 else 'rules'}: {ended}"


def words(one: RuleVerdict) -> str:
    """Why a rule ended so, what would settle it, and what else to know."""
    return ". ".join(part for part in (one.decision.reason, advice(one), one.note) if part)


def advice(one: RuleVerdict) -> str:
    """What this comparison can find, and what would settle an inconclusive one; empty for any other."""
    decision = one.decision
    if decision.verdict is not Verdict.INCONCLUSIVE or one.comparison is None or decision.detectable is None:
        return ""
    margin = one.rule.non_inferiority or one.rule.margin
    found = f"these samples show a drop of {points(decision.detectable, one.comparison.scale):.1f} points (80 % power)"
    if not decision.items_needed or decision.items_needed <= one.comparison.result.difference.n:
        return f"{found}, so one more look at the same size may settle it"
    repeats = decision.repeats_needed
    repeated = f", or {repeats} repeats on both sides at best," if repeats else ""
    return f"{found}; about {decision.items_needed:,} samples{repeated} would settle {margin:g} points"
