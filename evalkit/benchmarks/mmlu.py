"""MMLU: official CSV files in, a Task with one multiple-choice sample per question out.

The protocol id names prompt, shots and reading of the answer: `mmlu/hendrycks-5shot`, `mmlu/lm-eval-0shot`,
`mmlu/chat-5shot`, `mmlu/generate-5shot`, `mmlu/cot-0shot`; `+rotate` where every question is asked with its choices in
all four rotations, which takes the preference for a letter out of the score. `mmlu/predictions` was asked elsewhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.aggregate import by_group, mean_metric, mean_of_means
from evalkit.benchmarks import mmlu_predictions
from evalkit.benchmarks.choices import PREDICTIONS
from evalkit.benchmarks.mmlu_calibration import calibration
from evalkit.benchmarks.mmlu_data import Subject, read_subjects
from evalkit.benchmarks.mmlu_files import LETTERS, Question
from evalkit.benchmarks.mmlu_protocols import Protocol, get_protocol
from evalkit.benchmarks.mmlu_subjects import CATEGORY
from evalkit.contamination import CONTAMINATED, Seen, mark
from evalkit.errors import UsageError
from evalkit.record import Metrics, Row
from evalkit.task import Request, Sample, Task, TaskFile

if TYPE_CHECKING:
    from evalkit.benchmarks import TaskOptions
    from evalkit.benchmarks.predictions import Predictions

DEFAULT_PROTOCOL = "hendrycks"
_ROTATION = "~"
"""Parts a question's id from the number of its rotation."""


@dataclass(frozen=True)
class MmluOptions:
    """What may be chosen of a run."""

    protocol: str = DEFAULT_PROTOCOL
    num_fewshot: int | None = None
    """None means the protocol's own number."""
    subjects: tuple[str, ...] = ()
    rotate: bool = False
    """Ask every question with its choices in all four rotations."""
    seen: Seen | None = None
    """The checkpoint's training texts: questions among them are marked."""


def from_task_file(task_file: TaskFile, options: "TaskOptions") -> Task:
    """The Task of a task file with `benchmark: mmlu`, with what the command line changes."""
    chosen = MmluOptions(
        protocol=options.protocol or DEFAULT_PROTOCOL,
        num_fewshot=options.num_fewshot,
        subjects=options.subjects,
        rotate=bool(options.settings.get("rotate")),
        seen=options.settings.get("seen"),
    )
    return load(options.data or task_file.data, chosen, name=task_file.name if options.data is None else "mmlu")


def load(data: Path, options: MmluOptions | None = None, *, name: str = "mmlu") -> Task:
    """Read MMLU files into a Task; see `mmlu_data.read_subjects` for what it raises."""
    options = options or MmluOptions()
    protocol = get_protocol(options.protocol)
    if protocol.name == PREDICTIONS and (options.rotate or options.num_fewshot):
        raise UsageError("predictions were made elsewhere: leave --rotate and --num-fewshot out")
    num_fewshot = protocol.num_fewshot if options.num_fewshot is None else options.num_fewshot
    if num_fewshot < 0:
        raise UsageError(f"--num-fewshot {num_fewshot}: give a number of at least 0")
    subjects = read_subjects(data, options.subjects, num_fewshot)
    samples = [sample for subject in subjects for sample in _samples(subject, rotate=options.rotate)]
    return Task(
        name=name,
        protocol=_protocol_id(protocol, num_fewshot, options),
        samples=tuple(mark(samples, options.seen, _text) if options.seen else samples),
        render=_renderer(protocol, subjects),
        score=protocol.score,
        aggregate=aggregate,
        primary="acc",
        needs=protocol.needs,
        settings={"num_fewshot": num_fewshot, "subjects": list(options.subjects), "rotate": options.rotate},
    )


def _protocol_id(protocol: Protocol, num_fewshot: int, options: MmluOptions) -> str:
    if protocol.name == PREDICTIONS:
        return f"mmlu/{PREDICTIONS}"
    return f"mmlu/{protocol.name}-{num_fewshot}shot" + ("+rotate" if options.rotate else "")


def read_predictions(path: Path, task: Task) -> "Predictions":
    """Letters predicted elsewhere; see `mmlu_predictions` for the files and for what it raises."""
    return mmlu_predictions.read(path, task)


def aggregate(rows: Sequence[Row]) -> Metrics:
    """Micro and macro accuracy and calibration; groups by subject, by category and, where known, by contamination."""
    asked = [_unrotated(row) for row in rows]
    subjects = by_group(asked, lambda row: row.cluster or "", ["acc"])
    overall = {"acc": mean_metric(asked, "acc"), "acc_macro": mean_of_means(subjects, "acc"), **calibration(asked)}
    groups = {"category": by_group(asked, lambda row: CATEGORY.get(row.cluster or "", "other"), ["acc"])}
    if any(CONTAMINATED in row.tags for row in rows):
        groups["contamination"] = by_group(
            asked, lambda row: "seen in training" if CONTAMINATED in row.tags else "clean", ["acc"]
        )
    return Metrics(overall, {**groups, "subject": subjects})


def _renderer(protocol: Protocol, subjects: Sequence[Subject]) -> "_Renderer":
    return _Renderer(protocol, {subject.name: subject.shots for subject in subjects})


@dataclass(frozen=True)
class _Renderer:
    """(sample, style) → request, with the shots of the sample's subject."""

    protocol: Protocol
    shots: Mapping[str, tuple[Question, ...]]

    def __call__(self, sample: Sample, style: str) -> Request:
        subject = sample.cluster or ""
        question = Question(sample.fields["question"], tuple(sample.fields["choices"]), "")
        return self.protocol.render(subject, self.shots[subject], question, sample.id)


def _samples(subject: Subject, *, rotate: bool) -> Iterator[Sample]:
    for index, question in enumerate(subject.test):
        name = f"{subject.name}/{index:04d}"
        if not rotate:
            yield _sample(name, subject.name, question)
            continue
        for shift in range(len(LETTERS)):
            yield _sample(f"{name}{_ROTATION}{shift}", subject.name, _rotated(question, shift))


def _sample(name: str, subject: str, question: Question) -> Sample:
    fields = {"question": question.text, "choices": list(question.choices)}
    return Sample(name, fields, target=question.answer, cluster=subject)


def _rotated(question: Question, shift: int) -> Question:
    choices = question.choices[shift:] + question.choices[:shift]
    answer = LETTERS[(LETTERS.index(question.answer) - shift) % len(LETTERS)]
    return Question(question.text, choices, answer)


def _unrotated(row: Row) -> Row:
    """The rotations of a question are repeats of it: averaged before anything else."""
    name, found, shift = row.id.partition(_ROTATION)
    return replace(row, id=name, repeat=int(shift)) if found else row


def _text(sample: Sample) -> str:
    return str(sample.fields["question"])
