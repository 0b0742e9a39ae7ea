"""Runs in, something to read out: a self-contained HTML page, Markdown for a pull request, CSV and JSON for programs.

page        build_report, write_report: the HTML page
markdown    the same answer in a pull request's comment
export      the numbers as CSV and JSON
exporters   Runs in other tools' records: lm-eval, MLflow, Weights & Biases, TensorBoard; a model card
watch       a page that keeps up with Runs that still go on
view        what all of them are made of: Runs by task, each paired with its baseline
sections    what the page shows, one function for each section
"""

from evalkit.report.export import build_csv, build_json
from evalkit.report.gate_view import GateRule, GateView
from evalkit.report.markdown import build_markdown
from evalkit.report.page import build_report, write_report

__all__ = ["GateRule", "GateView", "build_csv", "build_json", "build_markdown", "build_report", "write_report"]
