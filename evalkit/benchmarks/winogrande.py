"""WinoGrande: the official JSONL in, a Task that fills the blank with one of two options out.

Protocol `rank` is the partial scoring of Trinh and Le: the option after which the rest of the sentence is likelier. It
is the likelihood of option and rest after the beginning, less that of the option alone. `generate` asks for 1 or 2;
`predictions` takes the official one answer per line, or JSONL of qID and answer. Twins share a cluster, and `twins` is
the share of pairs with both right. Source: Sakaguchi et al. 2020; lm-evaluation-harness `winogrande`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.aggregate import mean_metric, to_metric
from evalkit.benchmarks import corpus, labels, prompting
from evalkit.benchmarks.choices import GENERATE, PREDICTIONS, RANK, Choices, choose
from evalkit.benchmarks.files import Record, kind_of, read_lines, read_text
from evalkit.benchmarks.predictions import Answer, Predictions, by_id
from evalkit.errors import DataError
from evalkit.metrics import choice
from evalkit.record import Metrics, Row
from evalkit.stats.intervals import proportion_interval
from evalkit.task import Outcome, Params, Request, Response, Sample, Task, TaskFile, check_unique_ids

if TYPE_CHECKING:
    from evalkit.benchmarks import TaskOptions

_BLANK = "_"
_OPTIONS = ("1", "2")
_PREAMBLE = "Which option fits the blank, 1 or 2? Answer with the number alone."


def from_task_file(task_file: TaskFile, options: "TaskOptions") -> Task:
    """The Task of a task file with `benchmark: winogrande`, with what the command line changes."""
    chosen = choose(task_file, options, protocols=(RANK, GENERATE, PREDICTIONS))
    samples = [_sample(record) for record in read_lines(chosen.data)]
    check_unique_ids([sample.id for sample in samples], where=str(chosen.data))
    return Task(
        name=chosen.name,
        protocol=f"winogrande/{chosen.protocol}",
        samples=tuple(samples),
        render=_rank if chosen.protocol == RANK else _renderer(chosen),
        score=score_ranked if chosen.protocol == RANK else _scorer(chosen.protocol),
        aggregate=aggregate,
        primary="acc",
        needs="loglikelihood" if chosen.protocol == RANK else "generate",
        settings=chosen.record,
    )


def _sample(record: Record) -> Sample:
    sentence, answer, name = record.text("sentence"), record.text("answer"), record.text("qID")
    if sentence.count(_BLANK) != 1:
        raise record.error("the sentence must hold one blank, written _")
    if answer not in _OPTIONS:
        raise record.error(f"the answer is {answer!r}, not 1 or 2; use a split with answers")
    fields = {"sentence": sentence, "option1": record.text("option1"), "option2": record.text("option2")}
    return Sample(name, fields, target=answer, cluster=name.rpartition("-")[0] or name)


def _rank(sample: Sample, style: str) -> Request:
    start, _, rest = str(sample.fields["sentence"]).partition(_BLANK)
    # the space before an option belongs to it, so that it is tokenised as a word
    space = " " if start.endswith(" ") else ""
    filled = [space + str(sample.fields[f"option{option}"]) for option in _OPTIONS]
    exam = prompting.Exam(start.removesuffix(" "))
    return Request(sample.id, exam.prompt(style), continuations=(*(word + rest for word in filled), *filled))


def score_ranked(sample: Sample, response: Response) -> Outcome:
    """1 where the rest of the sentence is likelier after the right option; a tie falls to the first."""
    whole_1, whole_2, word_1, word_2 = (continuation.logprob for continuation in response.continuations)
    picked = _OPTIONS[choice.pick([whole_1 - word_1, whole_2 - word_2])]
    return Outcome({"acc": float(picked == sample.target)}, response=picked, extra={"choice": picked})


def _renderer(chosen: Choices) -> Callable[[Sample, str], Request]:
    params = Params(max_tokens=chosen.max_tokens or 8)

    def render(sample: Sample, style: str) -> Request:
        lines = [f"{option}: {sample.fields[f'option{option}']}" for option in _OPTIONS]
        exam = prompting.Exam("\n".join([str(sample.fields["sentence"]), *lines, "Answer:"]), _PREAMBLE)
        return prompting.ask(sample.id, exam, style, params, base_stop=("\n",))

    return render


def _scorer(protocol: str) -> Callable[[Sample, Response], Outcome]:
    def score(sample: Sample, response: Response) -> Outcome:
        picked: str | Outcome = response.text
        if protocol == GENERATE:
            picked = labels.read_choice(response.text, {option: option for option in _OPTIONS})
        if isinstance(picked, Outcome):
            return picked
        return Outcome({"acc": float(picked == sample.target)}, extra={"choice": picked})

    return score


def aggregate(rows: Sequence[Row]) -> Metrics:
    """Accuracy, and the share of twins (the same sentence with one word changed) with every answer right."""
    kept = corpus.scored(rows)
    right, twins = [bool(row.scores["acc"]) for row in kept], [row.cluster for row in kept]
    metrics = {"acc": mean_metric(rows, "acc")}
    if kept:
        count = len(set(twins))
        whole = round(choice.all_right_by_group(right, twins) * count)
        metrics["twins"] = to_metric(proportion_interval(whole, count), unscored=corpus.unscored(rows))
    return Metrics(metrics)


def read_predictions(path: Path, task: Task) -> Predictions:
    """JSONL of qID and answer, or the official file of one answer per line in the order of the data."""
    if kind_of(path) == ".jsonl":
        pairs = [(record.text("qID"), str(record.get("answer"))) for record in read_lines(path)]
    else:
        answers = read_text(path).split()
        if len(answers) != len(task.samples):
            raise DataError(path, f"has {len(answers)} answers for {len(task.samples)} sentences; give one per line")
        pairs = [(sample.id, answer) for sample, answer in zip(task.samples, answers, strict=True)]
    for name, answer in pairs:
        if answer not in _OPTIONS:
            raise DataError(path, f"the answer to {name} is {answer!r}; it must be 1 or 2")
    return by_id(((name, Answer(answer)) for name, answer in pairs), path)
