"""Candidate Runs and baseline Runs in, one verdict and an exit code out. The gate fails closed.

rules        what counts as a regression, and the rules file
limits       a rule's own limits: unscored rows, cost, critical samples
groups       a named group of a Run's metrics → its samples
verdicts     every rule decided on a paired comparison, Holm over all of them
adaptive     the same with repeats added only where they can decide
forecast     an open comparison → how much of its uncertainty more repeats take away
rerun        a recorded Run → the same Run with more repeats
rejudge      a recorded judgement → the judge, the rubric and the responses it read
calibration  a Run with repeats → how often an unchanged model would fail
view         the result in words, for reports and CI
"""

from evalkit.gate.adaptive import CannotRepeat, gate_adaptively
from evalkit.gate.rules import GateRule, read_rules
from evalkit.gate.verdicts import GateResult, GateSettings, RuleVerdict, run_gate
from evalkit.gate.view import to_view

__all__ = [
    "CannotRepeat",
    "GateResult",
    "GateRule",
    "GateSettings",
    "RuleVerdict",
    "gate_adaptively",
    "read_rules",
    "run_gate",
    "to_view",
]
