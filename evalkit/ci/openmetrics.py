"""A gate's result in, OpenMetrics text out, as GitLab shows it beside a merge request (`artifacts:reports:metrics`)."""

from collections.abc import Iterator

from evalkit.compare import points
from evalkit.gate import GateResult, RuleVerdict
from evalkit.report.text import one_line
from evalkit.stats.decision import Verdict
from evalkit.visible import visible

_METRICS = {
    "evalkit_score": "Mean score, in the metric's own unit",
    "evalkit_change_points": "Candidate minus baseline, up being good",
    "evalkit_samples_worse": "Samples that score lower than with the baseline",
    "evalkit_samples_better": "Samples that score higher than with the baseline",
    "evalkit_unscored": "Rows of the candidate that could not be scored",
    "evalkit_passed": "1 where the rule passed",
}


def build_openmetrics(result: GateResult) -> str:
    """All metrics, each with its type and help, ended as the format demands."""
    lines = []
    for name, meaning in _METRICS.items():
        lines += [f"# TYPE {name} gauge", f"# HELP {name} {meaning}"]
        for one in result.tasks:
            lines += [f"{name}{labels} {value:.10g}" for labels, value in _values(name, one)]
    return "\n".join([*lines, "# EOF", ""])


def _values(name: str, one: RuleVerdict) -> Iterator[tuple[str, float]]:
    labels = {"task": one.name, "metric": one.metric}
    if name == "evalkit_passed":
        yield _labels(labels), float(one.decision.verdict is Verdict.PASS)
    if name == "evalkit_unscored":
        yield _labels(labels), float(sum(one.candidate.manifest.unscored.values()))
    if one.comparison is None:
        return
    found = one.comparison.oriented
    if name == "evalkit_score":
        sides = {"baseline": one.comparison.result.baseline, "candidate": one.comparison.result.candidate}
        yield from ((_labels({**labels, "side": side}), value) for side, value in sides.items() if value is not None)
    if name == "evalkit_change_points" and found.difference.value is not None:
        yield _labels(labels), points(found.difference.value, one.comparison.scale)
    if name == "evalkit_samples_worse":
        yield _labels(labels), float(len(one.comparison.losses))
    if name == "evalkit_samples_better":
        yield _labels(labels), float(len(one.comparison.gains))


def _labels(values: dict[str, str]) -> str:
    return "{" + ",".join(f'{key}="{_escaped(value)}"' for key, value in values.items()) + "}"


def _escaped(value: str) -> str:
    text = one_line(visible(value), 200)
    return text.replace("\\", "\\\\").replace('"', '\\"')
