"""HumanEval and HumanEval+: a problem file in, a Task out whose completions are run in the sandbox, and pass@k.

Data is HumanEval.jsonl(.gz), HumanEval+ in the same format, or EvalPlus's own file with base_input and plus_input.
Protocols: `generate` lets a base model continue the prompt and asks a chat model for the whole function, whose code is
taken out of its reply; `--repeats K` with the setting `temperature` gives k samples. `predictions` scores the official
JSONL of {"task_id", "completion"}, as many for each problem as there are (with the setting `extract`, chat replies).
Settings: `k` (such as 1,10,100), `timeout` and `memory_mb` of a program, `workers`, `unsafe_no_sandbox`.
Source: openai/human-eval `execution.py` (the program) and `evaluation.py` (the estimator).
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.aggregate import to_metric
from evalkit.benchmarks import corpus, prompting
from evalkit.benchmarks.choices import GENERATE, PREDICTIONS, Choices, choose
from evalkit.benchmarks.code import cut_at, extract_completion
from evalkit.benchmarks.execution import Executions
from evalkit.benchmarks.files import Record, read_lines, unique_ids, write_lines
from evalkit.benchmarks.humaneval_plus import is_plus, own_tests
from evalkit.benchmarks.predictions import Answer, Predictions
from evalkit.digest import digest
from evalkit.errors import UsageError
from evalkit.metrics.code import estimate_pass_at_k
from evalkit.record import Metric, Metrics, Row, Run
from evalkit.stats.intervals import estimate_mean
from evalkit.task import Aggregate, Outcome, Params, PseudoValues, Request, Response, Sample, Task, TaskFile

if TYPE_CHECKING:
    from evalkit.benchmarks import TaskOptions

_SETTINGS = ("k", "temperature", "top_p", "timeout", "memory_mb", "workers", "extract", "unsafe_no_sandbox")
_STOP = ("\nclass", "\ndef", "\n#", "\nif", "\nprint")
_MAX_TOKENS = 512
_KS = "1,10,100"
_TIMEOUT, _TIMEOUT_PLUS = 3.0, 40.0
_MEMORY_MB = 1024
_ASK = "Complete this Python function. Reply with the whole function, with its imports, in one code block."


@dataclass(frozen=True)
class Problem:
    """One problem as its file has it."""

    prompt: str
    tests: str
    entry_point: str

    def program(self, completion: str) -> str:
        """The official program: it passes when it runs to its end."""
        return f"{self.prompt}{completion}\n{self.tests}\ncheck({self.entry_point})"


Read = Callable[[Sample, str], str]
"""(sample, text) → completion."""


def from_task_file(task_file: TaskFile, options: "TaskOptions") -> Task:
    """The Task of a task file with `benchmark: humaneval`, with what the command line changes."""
    chosen = choose(task_file, options, protocols=(GENERATE, PREDICTIONS), settings=_SETTINGS)
    records = read_lines(chosen.data)
    unique_ids(records, "task_id")
    problems = {record.text("task_id"): _problem(record) for record in records}
    plus = any(is_plus(record) for record in records)
    timeout = chosen.number("timeout", _TIMEOUT_PLUS if plus else _TIMEOUT)
    return Task(
        name=chosen.name,
        protocol=f"humaneval{'+' if plus else ''}/{chosen.protocol}",
        samples=tuple(_sample(record, problems[record.text("task_id")]) for record in records),
        render=_renderer(chosen),
        score=Checker(problems, _executions(chosen, timeout), _reader(chosen)),
        aggregate=_aggregator(_ks(chosen)),
        pseudo_values=_pseudo_values(_ks(chosen)),
        primary="pass@1",
        settings={**chosen.record, "timeout": timeout},
    )


def _problem(record: Record) -> Problem:
    tests = record.text("test") if "test" in record.values else own_tests(record)
    return Problem(record.text("prompt"), tests, record.text("entry_point"))


def _sample(record: Record, problem: Problem) -> Sample:
    name = record.text("task_id")
    fields = {"prompt": problem.prompt, "entry_point": problem.entry_point, "tests": digest(problem.tests)}
    return Sample(name, fields, target=record.text("canonical_solution"), cluster=name)


def _executions(chosen: Choices, timeout: float) -> Executions:
    return Executions(
        seconds=timeout,
        memory_mb=int(chosen.number("memory_mb", _MEMORY_MB)),
        workers=int(chosen.number("workers", 2)),
        unsafe=chosen.flag("unsafe_no_sandbox"),
    )


def _ks(chosen: Choices) -> tuple[int, ...]:
    text = str(chosen.get("k") or _KS)
    if not re.fullmatch(r"[1-9]\d*(,[1-9]\d*)*", text):
        raise UsageError(f"--set k={text}: give numbers of at least 1 with commas, such as 1,10,100")
    return tuple(sorted({int(k) for k in text.split(",")}))


def _renderer(chosen: Choices) -> Callable[[Sample, str], Request]:
    params = Params(
        max_tokens=chosen.max_tokens or _MAX_TOKENS,
        temperature=chosen.number("temperature", 0.0),
        top_p=chosen.number("top_p", 1.0),
    )

    def render(sample: Sample, style: str) -> Request:
        prompt = str(sample.fields["prompt"])
        exam = prompting.Exam(prompt if style == prompting.BASE else f"{_ASK}\n\n```python\n{prompt}```")
        return prompting.ask(sample.id, exam, style, params, base_stop=_STOP)

    return render


def _reader(chosen: Choices) -> Read:
    """How a completion is read from a text: as it is, or out of a reply."""

    def read(sample: Sample, text: str) -> str:
        if chosen.protocol == PREDICTIONS and not chosen.flag("extract"):
            return text
        fields = sample.fields
        return extract_completion(text, str(fields["prompt"]), str(fields["entry_point"]))

    def read_generated(sample: Sample, text: str) -> str:
        completion = read(sample, text)
        return cut_at(text, _STOP) if completion == text else completion

    return read_generated if chosen.protocol == GENERATE else read


class Checker:
    """Scores a completion by running it with its problem's tests."""

    def __init__(self, problems: Mapping[str, Problem], executions: Executions, read: Read) -> None:
        self._problems = problems
        self._executions = executions
        self._read = read

    def __call__(self, sample: Sample, response: Response) -> Outcome:
        completion = self._read(sample, response.text)
        result = self._executions.run(self._program(sample, completion))
        extra = {"verdict": result.verdict, "detail": result.detail, "completion": completion}
        if result.verdict == "error":
            return Outcome(unscored="sandbox", detail=result.detail, extra=extra)
        return Outcome({"pass@1": float(result.verdict == "passed")}, extra=extra)

    def run_ahead(self, pairs: Sequence[tuple[Sample, str]]) -> None:
        """Start to run the programs of all these texts, side by side."""
        self._executions.start([self._program(sample, self._read(sample, text)) for sample, text in pairs])

    def _program(self, sample: Sample, completion: str) -> str:
        # samples of one problem share its cluster
        return self._problems[str(sample.cluster)].program(completion)


def _aggregator(ks: Sequence[int]) -> Aggregate:
    def aggregate(rows: Sequence[Row]) -> Metrics:
        tallies = _tallies(corpus.scored(rows))
        lost, fewest = corpus.unscored(rows), min((samples for samples, _ in tallies.values()), default=0)
        reported = [k for k in ks if k <= fewest] if fewest else [1]
        return Metrics({f"pass@{k}": _pass_at(k, tallies, lost) for k in reported})

    return aggregate


def _pseudo_values(ks: Sequence[int]) -> PseudoValues:
    """What each sample contributes to pass@k from 2 on; pass@1 is its own verdict."""

    def shares(rows: Sequence[Row]) -> corpus.PseudoValues:
        kept = corpus.scored(rows)
        place = {problem: number for number, problem in enumerate(dict.fromkeys(str(row.cluster) for row in kept))}
        unit_of = [place[str(row.cluster)] for row in kept]
        tallies = _tallies(kept)
        fewest = min((samples for samples, _ in tallies.values()), default=0)
        found = {
            f"pass@{k}": corpus.mean_of_units([estimate_pass_at_k(*tally, k) for tally in tallies.values()], unit_of)
            for k in ks
            if 1 < k <= fewest
        }
        return corpus.placed(rows, [(kept, found)])

    return shares


def _tallies(rows: Sequence[Row]) -> dict[str, tuple[int, int]]:
    """Problem → (samples, right ones)."""
    tallies: dict[str, tuple[int, int]] = {}
    for row in rows:
        samples, correct = tallies.get(str(row.cluster), (0, 0))
        tallies[str(row.cluster)] = (samples + 1, correct + int(row.scores["pass@1"]))
    return tallies


def _pass_at(k: int, tallies: dict[str, tuple[int, int]], lost: int) -> Metric:
    """The mean of the unbiased estimate over problems; problems are the sample."""
    values = [estimate_pass_at_k(samples, correct, k) for samples, correct in tallies.values()]
    return to_metric(estimate_mean(values), unscored=lost)


def read_predictions(path: Path, task: Task) -> Predictions:
    """The official samples: JSONL of task_id and completion, several for a problem where there are several."""
    answers: dict[str, tuple[Answer, ...]] = {}
    for record in read_lines(path):
        name = record.text("task_id")
        answers[name] = (*answers.get(name, ()), Answer(record.text("completion")))
    return Predictions(answers, ahead=task.score.run_ahead if isinstance(task.score, Checker) else None)


def write_predictions(runs: Sequence[Run], path: Path) -> None:
    """Write the completions of a Run as the official JSONL, every sample of each problem."""
    rows = [row for row in runs[0].rows if "completion" in row.extra]
    write_lines(path, ({"task_id": row.cluster, "completion": row.extra["completion"]} for row in rows))
