"""GLUE's own files in, samples out: where sentences and labels stand, and how each task is put to a model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.benchmarks.files import Record, read_tsv
from evalkit.benchmarks.labels import TASK_FIELD, LabelTask
from evalkit.errors import UsageError
from evalkit.task import Sample


@dataclass(frozen=True)
class Layout:
    """Where a part's file keeps what."""

    texts: tuple[str, ...]
    label: str
    folder: str = ""
    """The official folder, where it is not named as the part."""
    suffix: str = ""
    """What the official file's name has beside the split."""
    columns: tuple[str, ...] | None = None
    """Column names where the official file has no header line."""


_PAIR = ("sentence1", "sentence2")

LAYOUTS: Mapping[str, Layout] = {
    "CoLA": Layout(("sentence",), "label", columns=("source", "label", "mark", "sentence")),
    "SST-2": Layout(("sentence",), "label"),
    "MRPC": Layout(("#1 String", "#2 String"), "Quality"),
    "STS-B": Layout(_PAIR, "score"),
    "QQP": Layout(("question1", "question2"), "is_duplicate"),
    "MNLI-m": Layout(_PAIR, "gold_label", "MNLI", "_matched"),
    "MNLI-mm": Layout(_PAIR, "gold_label", "MNLI", "_mismatched"),
    "QNLI": Layout(("question", "sentence"), "label"),
    "RTE": Layout(_PAIR, "label"),
    "WNLI": Layout(_PAIR, "label"),
    "AX": Layout(("Premise", "Hypothesis"), "Label"),
}

_AX_FILES = ("diagnostic-full.tsv", "diagnostic.tsv")


def find_parts(data: Path, split: str, wanted: Sequence[str] = ()) -> dict[str, Path]:
    """The file of each part below `data`, which may also be the folder or the file of a single part.

    A file is of the one part that is `wanted`, else of the one its folder is named after. Raises UsageError where
    there is none.
    """
    if data.is_file():
        name = wanted[0] if len(wanted) == 1 else data.parent.name
        by_lower = {part.lower(): part for part in LAYOUTS}
        if name.lower() not in by_lower:
            raise UsageError(f"{data}: which GLUE task is this? Name it with --subject: {', '.join(LAYOUTS)}")
        return {by_lower[name.lower()]: data}
    found = {part: file for part in LAYOUTS if (file := _find(data, part, split)) is not None}
    if not found:
        raise UsageError(f"{data}: no GLUE data here; it needs folders such as CoLA/ with {split}.tsv")
    return found


def _find(data: Path, part: str, split: str) -> Path | None:
    layout = LAYOUTS[part]
    folders: list[Path] = [data / part, *([data / layout.folder] if layout.folder else [])]
    folders += [data] if data.name.lower() in {part.lower(), layout.folder.lower()} else []
    names: list[str] = [f"{split}{layout.suffix}.tsv", f"{split}.tsv", *(_AX_FILES if part == "AX" else ())]
    for folder in folders:
        shared = layout.folder and folder.name == layout.folder
        for name in names[:1] if shared else names:
            for file in (folder / name, folder / f"{name}.gz"):
                if file.is_file():
                    return file
    return None


def read_part(part: str, path: Path) -> list[Sample]:
    """One sample per line, named by its line number from 0; a file without labels gives samples without targets."""
    layout = LAYOUTS[part]
    records = read_tsv(path, None if _has_header(part, path) else layout.columns)
    texts = _text_columns(part, records[0])
    return [_sample(part, layout, texts, place, record) for place, record in enumerate(records)]


def _has_header(part: str, path: Path) -> bool:
    return part != "CoLA" or path.name.startswith("test")


def _text_columns(part: str, first: Record) -> tuple[str, ...]:
    """The columns with the sentences; AX is also handed out in the columns of the other pairs."""
    layout = LAYOUTS[part]
    if part == "AX" and "sentence1" in first.values:
        return _PAIR
    for column in layout.texts:
        first.get(column)
    return layout.texts


def _sample(part: str, layout: Layout, texts: Sequence[str], place: int, record: Record) -> Sample:
    fields: dict[str, Any] = {TASK_FIELD: part, **{f"text{n}": record.text(c) for n, c in enumerate(texts, start=1)}}
    label = record.values.get(layout.label, record.values.get("label"))
    target = None if label is None else _target(part, str(label), record)
    return Sample(f"{part}/{place}", fields, target=target, tags=(part,))


def _target(part: str, label: str, record: Record) -> str | float:
    if part == "STS-B":
        try:
            return float(label)
        except ValueError:
            raise record.error(f"the score {label!r} is not a number") from None
    if label not in PROMPTS[part].words:
        raise record.error(f"{label!r} is not a label of {part}; the labels are {', '.join(PROMPTS[part].words)}")
    return label


def _nli(fields: Mapping[str, Any]) -> str:
    return f"Premise: {fields['text1']}\nHypothesis: {fields['text2']}\nAnswer:"


def _two(fields: Mapping[str, Any]) -> str:
    return f"First: {fields['text1']}\nSecond: {fields['text2']}\nAnswer:"


def _one(fields: Mapping[str, Any]) -> str:
    return f"Sentence: {fields['text1']}\nAnswer:"


def _question_and_sentence(fields: Mapping[str, Any]) -> str:
    return f"Question: {fields['text1']}\nSentence: {fields['text2']}\nAnswer:"


_THREE_WAY = LabelTask(
    "Does the premise make the hypothesis true, false, or neither? Answer with one word.",
    _nli,
    {"entailment": "true", "neutral": "neither", "contradiction": "false"},
)
_TWO_WAY = {"entailment": "yes", "not_entailment": "no"}
_BINARY = {"1": "yes", "0": "no"}

PROMPTS: Mapping[str, LabelTask] = {
    "CoLA": LabelTask("Is the sentence grammatical English? Answer yes or no.", _one, _BINARY),
    "SST-2": LabelTask(
        "Is the sentence from a film review positive or negative? Answer with one word.",
        _one,
        {"1": "positive", "0": "negative"},
    ),
    "MRPC": LabelTask("Do the two sentences mean the same? Answer yes or no.", _two, _BINARY),
    "STS-B": LabelTask(
        "How similar in meaning are the two sentences, from 0 (not at all) to 5 (the same)? Answer with a number.",
        _two,
        {str(score): str(score) for score in range(6)},
    ),
    "QQP": LabelTask("Do the two questions ask for the same? Answer yes or no.", _two, _BINARY),
    "MNLI-m": _THREE_WAY,
    "MNLI-mm": _THREE_WAY,
    "QNLI": LabelTask(
        "Does the sentence hold the answer to the question? Answer yes or no.", _question_and_sentence, _TWO_WAY
    ),
    "RTE": LabelTask("Does the hypothesis follow from the premise? Answer yes or no.", _nli, _TWO_WAY),
    "WNLI": LabelTask("Does the second sentence follow from the first? Answer yes or no.", _two, _BINARY),
    "AX": _THREE_WAY,
}
"""How each task is put to a model: our own words, since GLUE has none."""
