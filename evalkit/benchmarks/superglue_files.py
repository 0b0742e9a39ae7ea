"""SuperGLUE's own files in, samples out, and how each task is put to a model.

MultiRC has a sample for each answer ("MultiRC/passage/question/answer"), ReCoRD one for each query; every other task
one for each line, named by its idx.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.benchmarks.files import Record, read_lines
from evalkit.benchmarks.labels import CHOICES_FIELD, TASK_FIELD, LabelTask
from evalkit.errors import DataError, UsageError
from evalkit.metrics import superglue
from evalkit.task import Sample

_PREAMBLES = {
    "BoolQ": "Answer each question about its passage with yes or no.",
    "CB": "Does the premise make the hypothesis true, false, or neither? Answer with one word.",
    "COPA": "Choose the more plausible of the two sentences and write it out.",
    "MultiRC": "Is the answer to the question right, going by the passage? Answer yes or no.",
    "ReCoRD": "Name the entity of the passage that @placeholder stands for, and nothing else.",
    "RTE": "Does the hypothesis follow from the premise? Answer yes or no.",
    "WiC": "Is the word used in the same sense in both sentences? Answer yes or no.",
    "WSC": "Does the pronoun refer to the name? Answer yes or no.",
    "AX-b": "Does the second sentence follow from the first? Answer yes or no.",
    "AX-g": "Does the hypothesis follow from the premise? Answer yes or no.",
}
_TRUTH = {"true": "yes", "false": "no"}
_ENTAILMENT = {"entailment": "yes", "not_entailment": "no"}
_WORDS: Mapping[str, Mapping[str, str]] = {
    "BoolQ": _TRUTH,
    "CB": {"entailment": "true", "contradiction": "false", "neutral": "neither"},
    "COPA": {},
    "MultiRC": {"1": "yes", "0": "no"},
    "ReCoRD": {},
    "RTE": _ENTAILMENT,
    "WiC": _TRUTH,
    "WSC": _TRUTH,
    "AX-b": _ENTAILMENT,
    "AX-g": _ENTAILMENT,
}
_SHOWN: Mapping[str, tuple[str, ...]] = {
    "BoolQ": ("passage", "question"),
    "CB": ("premise", "hypothesis"),
    "COPA": ("premise", "asked_for", "first", "second"),
    "MultiRC": ("passage", "question", "candidate"),
    "ReCoRD": ("passage", "query"),
    "RTE": ("premise", "hypothesis"),
    "WiC": ("word", "sentence1", "sentence2"),
    "WSC": ("text", "pronoun", "name"),
    "AX-b": ("sentence1", "sentence2"),
    "AX-g": ("premise", "hypothesis"),
}
"""The fields of a sample that a model sees, in order."""


def _question(part: str, fields: Mapping[str, Any]) -> str:
    lines = [f"{name.replace('_', ' ').capitalize()}: {fields[name]}" for name in _SHOWN[part]]
    return "\n".join([*lines, "Answer:"])


def _label_task(part: str) -> LabelTask:
    return LabelTask(_PREAMBLES[part], lambda fields: _question(part, fields), _WORDS[part])


PROMPTS: Mapping[str, LabelTask] = {part: _label_task(part) for part in _PREAMBLES}
"""How each task is put to a model: our own words, since SuperGLUE has none."""


def find_parts(data: Path, split: str, wanted: Sequence[str] = ()) -> dict[str, Path]:
    """The file of each part below `data`, which may also be the folder or the file of a single part.

    A folder with one JSONL file needs no split; a file is of the one part that is `wanted`, else of the one its folder
    is named after. Raises UsageError where there is no part.
    """
    by_lower = {part.lower(): part for part in PROMPTS}
    single = data.parent.name if data.is_file() else data.name
    if data.is_file() and len(wanted) == 1:
        single = wanted[0]
    if single.lower() in by_lower:
        file = data if data.is_file() else _find(data, split)
        found = {by_lower[single.lower()]: file} if file else {}
    else:
        found = {part: file for part in PROMPTS if (file := _find(data / part, split)) is not None}
    if not found:
        raise UsageError(
            f"{data}: no SuperGLUE data here; give folders such as BoolQ/ with {split}.jsonl, or a file and --subject"
        )
    return found


def _find(folder: Path, split: str) -> Path | None:
    file, every = folder / f"{split}.jsonl", sorted(folder.glob("*.jsonl"))
    if file.is_file():
        return file
    return every[0] if len(every) == 1 and split != "train" else None


def read_part(part: str, path: Path) -> list[Sample]:
    """The samples of one part; without labels in the file they have no targets.

    Raises DataError where a key of the layout is missing or an idx stands twice.
    """
    readers = {"MultiRC": _multirc, "ReCoRD": _record}
    samples = [sample for record in read_lines(path) for sample in readers.get(part, _one(part))(record)]
    seen: set[str] = set()
    for sample in samples:
        if sample.id in seen:
            raise DataError(path, f"idx {sample.id.partition('/')[2]} is given twice; keep one row for each")
        seen.add(sample.id)
    return samples


def _one(part: str) -> Any:
    def read(record: Record) -> Iterator[Sample]:
        fields = _fields(part, record)
        target = _target(part, record)
        cluster = f"pair {fields['pair']}" if part == "AX-g" else None
        yield Sample(f"{part}/{record.get('idx')}", {TASK_FIELD: part, **fields}, target, cluster, (part,))

    return read


def _target(part: str, record: Record) -> str | None:
    if "label" not in record.values:
        return None
    label = str(record.get("label")).lower()
    if label not in superglue.LABELS[part]:
        raise record.error(f"{label!r} is not a label of {part}; the labels are {', '.join(superglue.LABELS[part])}")
    return label


def _fields(part: str, record: Record) -> dict[str, Any]:
    if part == "COPA":
        choices = [record.text("choice1"), record.text("choice2")]
        asked = {"asked_for": record.text("question"), "first": choices[0], "second": choices[1]}
        return {"premise": record.text("premise"), **asked, CHOICES_FIELD: choices}
    if part == "WSC":
        target = record.inner("target")
        spans = {"pronoun": target.text("span2_text"), "name": target.text("span1_text")}
        return {"text": record.text("text"), **spans}
    fields: dict[str, Any] = {name: record.text(name) for name in _SHOWN[part]}
    return {**fields, "pair": record.get("pair_id")} if part == "AX-g" else fields


def _multirc(record: Record) -> Iterator[Sample]:
    passage = record.inner("passage")
    for question in (passage.of(one, "question") for one in passage.items("questions")):
        for answer in (question.of(one, "answer") for one in question.items("answers")):
            key = f"MultiRC/{record.get('idx')}/{question.get('idx')}/{answer.get('idx')}"
            shown = {"passage": passage.text("text"), "question": question.text("question")}
            fields = {TASK_FIELD: "MultiRC", **shown, "candidate": answer.text("text")}
            label = answer.values.get("label")
            if label not in (0, 1, None):
                raise answer.error(f"the label of answer {key} is {label!r}; it must be 0 or 1")
            target = None if label is None else str(int(label))
            yield Sample(key, fields, target, f"passage {record.get('idx')}", ("MultiRC",))


def _record(record: Record) -> Iterator[Sample]:
    passage = record.inner("passage")
    text = passage.text("text")
    spans = [passage.of(one, "entity") for one in passage.items("entities")]
    entities = list(dict.fromkeys(text[span.whole("start") : span.whole("end") + 1] for span in spans))
    for query in (record.of(one, "query") for one in record.items("qas")):
        fields = {TASK_FIELD: "ReCoRD", "passage": text, "query": query.text("query"), CHOICES_FIELD: entities}
        answers = [query.of(one, "answer").text("text") for one in query.values.get("answers") or ()]
        name, cluster = f"ReCoRD/{query.get('idx')}", f"passage {record.get('idx')}"
        yield Sample(name, fields, answers or None, cluster, ("ReCoRD",))
