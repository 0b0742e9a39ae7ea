"""Training examples and the names of benchmarks in, those of their questions that the training data holds out.

A benchmark is named as in `evalkit bench`: a task (`mmlu_mini`, a task file), `FAMILY=PATH` for official files
(`mmlu=data/mmlu`, `squad=dev-v2.0.json`, `gsm8k=hub:OWNER/NAME`), or a bare PATH whose layout says which it is. The
bundled questions are always looked for; that costs milliseconds.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from evalkit.benchmarks import FAMILIES, TaskOptions, load_task
from evalkit.benchmarks.hub import local_data
from evalkit.contamination import find_overlaps, question_of
from evalkit.errors import EvalkitError, UsageError
from evalkit.prompts import Instruction
from evalkit.task import Task
from finetune.data import Example
from finetune.leaks import Leak, LeakReport

ALWAYS = "mmlu_mini"


@dataclass(frozen=True)
class Questions:
    """The different questions of one benchmark, and the id of the first sample that asks each."""

    name: str
    texts: tuple[str, ...]
    ids: tuple[str, ...]


def read_questions(names: Sequence[str]) -> list[Questions]:
    """The bundled questions and those of the named benchmarks.

    Raises UsageError or DataError where a name is no task and no benchmark file.
    """
    return [_load(name) for name in dict.fromkeys((ALWAYS, *names))]


def find_benchmark_leaks(train: Sequence[Example], benchmarks: Sequence[Questions]) -> LeakReport:
    """Look for every question in the training examples (see `evalkit.contamination` for what counts)."""
    asked = [(one, number) for one in benchmarks for number in range(len(one.texts))]
    overlaps = find_overlaps([one.texts[number] for one, number in asked], map(_text, train))
    leaks = []
    for found in overlaps:
        one, number = asked[found.question]
        place = train[found.text].place
        leaks.append(Leak(one.name, one.ids[number], "train", place, found.exact, found.share, one.texts[number]))
    return LeakReport(tuple(leaks), {one.name: len(one.texts) for one in benchmarks})


def _text(example: Example) -> str:
    entry = example.entry
    if isinstance(entry, Instruction):
        return f"{entry.instruction}\n{entry.input}\n{entry.output}"
    return "\n".join(message.content for message in entry)


def _load(name: str) -> Questions:
    family, _, path = name.partition("=")
    if family in FAMILIES and path:
        return _questions(_label(family, path), _from_family(family, path))
    if "=" in name and not Path(name).exists():
        raise UsageError(f"check_leaks_against {name}: no benchmark {family!r}: there are {', '.join(FAMILIES)}")
    if Path(name).exists() and Path(name).suffix not in {".yaml", ".yml"}:
        found, task = _recognised(name)
        return _questions(_label(found, name), task)
    task = load_task(name)
    return _questions(task.name, task)


def _from_family(family: str, path: str) -> Task:
    return load_task(family, TaskOptions(local_data(Path(path))))


def _recognised(path: str) -> tuple[str, Task]:
    """The first benchmark family that can read a file or folder, and its Task."""
    for family, task in _readings(path):
        return family, task
    raise UsageError(
        f"check_leaks_against {path}: no benchmark reads it; name the one it belongs to, as in squad={path}, to see why"
    )


def _readings(path: str) -> Iterator[tuple[str, Task]]:
    for family in FAMILIES:
        try:
            yield family, _from_family(family, path)
        except EvalkitError:
            continue


def _label(family: str, path: str) -> str:
    name = Path(path).resolve().name
    return family if name == family else f"{family} {name}"


def _questions(name: str, task: Task) -> Questions:
    ids: dict[str, str] = {}
    for sample in task.samples:
        ids.setdefault(question_of(sample), sample.id)
    return Questions(name, tuple(ids), tuple(ids.values()))
