"""Files of letters that were predicted elsewhere in, one answer for each MMLU question out.

    id and letter       JSON {"anatomy/0012": "B"}, or records {"id": "anatomy/12", "prediction": "B"}
    subject and index   records {"subject": "anatomy", "index": 12, "prediction": 1}, the index counting from 0
    CSV                 the same columns with a header line, or `id,letter` and `subject,index,letter` without one
    lm-eval's logs      one `samples_mmlu_*.jsonl` of `--log_samples`, or the folder that holds them all

A letter may be written as its number (0 to 3); `loglikelihoods`, four numbers, may stand in its place; of any other
text the letter is read as from a model's answer, and where there is none the question is unscored. Nothing is scored
where a question is unknown, missing or answered twice, or where the file's own question or answer key is another than
the data's.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from evalkit.benchmarks.files import Record, read_csv_rows, read_mapping, read_records, read_text
from evalkit.benchmarks.mmlu_files import LETTERS
from evalkit.benchmarks.predictions import Answer, Predictions, by_id, numbers
from evalkit.errors import DataError, UsageError
from evalkit.task import Sample, Task

_LOGS = "samples_mmlu_*.jsonl"
_INDICES = ("index", "row", "doc_id")
_ANSWERS = ("prediction", "pred", "response", "choice", "letter")
_KEYS = ("answer", "target", "gold")
"""What an answer key may be called beside a prediction."""


def read(path: Path, task: Task) -> Predictions:
    """The predictions of a file, or of a folder of lm-eval's logs.

    Raises UsageError for a folder without logs, DataError (with the line) where a prediction cannot be read, stands
    twice, or belongs to other data.
    """
    samples = {sample.id: sample for sample in task.samples}
    chosen = set(task.settings.get("subjects", ()))
    found = (_prediction(record, samples) for record in _records(path))
    return by_id(((key, answer) for key, answer in found if not chosen or key.partition("/")[0] in chosen), path)


def _records(path: Path) -> Iterator[Record]:
    if path.is_dir():
        yield from _of_folder(path)
    elif path.suffix == ".csv":
        yield from _of_csv(path)
    elif _is_mapping(path):
        for key, value in read_mapping(path).items():
            yield Record({"id": key, "prediction": value}, path)
    else:
        yield from read_records(path)


def _of_folder(folder: Path) -> Iterator[Record]:
    files = sorted(folder.glob(_LOGS)) or sorted(folder.glob(f"*/{_LOGS}"))
    if not files:
        raise UsageError(f"{folder}: holds no {_LOGS}; give a file of predictions, or the folder of lm-eval's logs")
    for path in files:
        yield from read_records(path)


def _is_mapping(path: Path) -> bool:
    """Whether a file is one JSON object of answers by id, and not one record for each line."""
    text = read_text(path).strip()
    if not text.startswith("{"):
        return False
    try:
        content = json.loads(text)
    except json.JSONDecodeError:
        return False
    return not {"id", "subject", "doc"} & content.keys()


def _of_csv(path: Path) -> Iterator[Record]:
    rows = read_csv_rows(path)
    names = [cell.strip().lower() for cell in rows[0][1]]
    if {"id", "subject"} & set(names):
        rows = rows[1:]
    else:
        names = ["id", "prediction"] if len(names) == 2 else ["subject", "index", "prediction"]
    for line, cells in rows:
        if len(cells) != len(names):
            raise DataError(path, f"{len(names)} cells expected ({', '.join(names)}), here are {len(cells)}", line=line)
        yield Record(dict(zip(names, cells, strict=True)), path, line)


def _prediction(record: Record, samples: Mapping[str, Sample]) -> tuple[str, Answer]:
    from_log = isinstance(record.values.get("doc"), Mapping)
    key, answer = (_id_of_log(record), _answer_of_log(record)) if from_log else (_id(record), _answer(record))
    sample = samples.get(key)
    if sample is not None:
        _check_same(record, sample)
    return key, answer


def _id(record: Record) -> str:
    if "id" in record.values:
        subject, parted, index = str(record.values["id"]).rpartition("/")
        # An id of another form is nobody's: whoever matches ids says so.
        return _named(subject, index) if parted and index.isdecimal() else str(record.values["id"])
    name = next((name for name in _INDICES if name in record.values), None)
    if name is None or "subject" not in record.values:
        raise record.error("a prediction needs 'id' (anatomy/0012), or 'subject' and 'index'")
    index = str(record.values[name]).strip()
    if not index.isdecimal():
        raise record.error(f"{name!r} must be a number from 0, here it is {record.values[name]!r}")
    return _named(str(record.values["subject"]), index)


def _named(subject: str, index: str) -> str:
    """The id of a sample, however its subject and index are written."""
    return f"{subject.strip().replace(' ', '_')}/{int(index):04d}"


def _id_of_log(record: Record) -> str:
    subject = record.values["doc"].get("subject") or _subject_in_name(record.path)
    index = record.get("doc_id")
    if not isinstance(index, int):
        raise record.error(f"'doc_id' must be a number, here it is {index!r}")
    return _named(str(subject), str(index))


def _subject_in_name(path: Path) -> str:
    found = re.match(r"samples_mmlu_(.+?)(?:_generative|_continuation)?_\d{4}-", path.name)
    return path.stem if found is None else found[1]


def _check_same(record: Record, sample: Sample) -> None:
    """DataError where the file tells of another question, or of another right answer, than the data."""
    question = record.values.get("doc", record.values)
    told = question.get("question")
    if isinstance(told, str) and told.split() != str(sample.fields["question"]).split():
        raise record.error(f"{sample.id} is another question there than in the data; they are of different versions")
    key = next((value for name in _KEYS if (value := question.get(name)) is not None), None)
    letter = _letter(key)
    if letter is not None and letter != sample.target:
        raise record.error(
            f"the right answer of {sample.id} is {letter} there and {sample.target} in the data; they are of different "
            "versions, or the index counts other rows"
        )


def _letter(value: Any) -> str | None:
    """The letter a letter or a number from 0 stands for; None for anything else."""
    text = "" if isinstance(value, bool) else str(value).strip().upper()
    if len(text) == 1 and text in LETTERS:
        return text
    return LETTERS[int(text)] if text.isdecimal() and int(text) < len(LETTERS) else None


def _answer(record: Record) -> Answer:
    if "loglikelihoods" in record.values:
        return _of_four(numbers(record, "loglikelihoods"), record)
    name = next((name for name in _ANSWERS if name in record.values), None)
    if name is None:
        raise record.error(f"no prediction under {', '.join(map(repr, _ANSWERS))} or 'loglikelihoods'")
    value = record.values[name]
    letter = _letter(value)
    if letter is not None:
        return Answer(letter)
    if value is not None and (not isinstance(value, str) or value.strip().isdecimal()):
        raise record.error(f"{name!r} must be a letter A to D or a number 0 to 3, here it is {str(value)[:40]!r}")
    return Answer((value or "").strip())


def _of_four(values: Sequence[float], record: Record) -> Answer:
    if len(values) != len(LETTERS):
        raise record.error(f"four log-likelihoods are needed, here are {len(values)}")
    return Answer(loglikelihoods=tuple(values))


def _answer_of_log(record: Record) -> Answer:
    """Four pairs of log-likelihood and greediness, or the text a filter left."""
    given: Any = record.values.get("filtered_resps") or record.get("resps")
    if isinstance(given, list) and len(given) == 1 and isinstance(given[0], str):
        return Answer(_letter(given[0]) or given[0].strip())
    if not isinstance(given, list) or not all(isinstance(pair, list | tuple) and pair for pair in given):
        raise record.error("'filtered_resps' holds neither log-likelihoods nor a text")
    return _of_four(_floats(given, record), record)


def _floats(pairs: Iterable[Sequence[Any]], record: Record) -> list[float]:
    try:
        return [float(pair[0]) for pair in pairs]
    except (TypeError, ValueError):
        raise record.error("'filtered_resps' holds something that is no log-likelihood") from None
