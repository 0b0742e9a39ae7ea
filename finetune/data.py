"""Instruction files in, checked examples out: Alpaca JSON, JSON Lines, CSV, Parquet, hub data sets, chat messages.

An example is an instruction (`instruction`, `input`, `output`) or a conversation (`messages` with role and content,
or `conversations` with from and value). Everything wrong with a file is said before training starts, by file and
line or entry number.
"""

import csv
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from evalkit.digest import canonical_json
from evalkit.errors import DataError, UsageError
from evalkit.prompts import Entry, Instruction
from evalkit.task import Message

_INSTRUCTION_KEYS = ("instruction", "prompt", "question")
_INPUT_KEYS = ("input", "context")
_OUTPUT_KEYS = ("output", "response", "completion", "answer")
_ROLES = {"human": "user", "user": "user", "gpt": "assistant", "assistant": "assistant", "system": "system"}


@dataclass(frozen=True)
class Example:
    """One thing to learn, and where it stood."""

    entry: Entry
    place: int
    """Number of the entry in its file, from 1."""

    @property
    def question(self) -> str:
        """What is asked, without preamble and headers: what a leak is looked for by."""
        if isinstance(self.entry, Instruction):
            return self.entry.instruction + (f"\n{self.entry.input}" if self.entry.input else "")
        spoken = [message for message in self.entry if message.role != "system"]
        return "\n".join(message.content for message in spoken[:-1])

    @property
    def answer(self) -> str:
        """The last response."""
        return self.entry.output if isinstance(self.entry, Instruction) else self.entry[-1].content


def read_examples(source: str | Path) -> tuple[Example, ...]:
    """Read a file by its suffix, or the data set `OWNER/NAME` (optionally `OWNER/NAME:SPLIT`) from the hub.

    Raises DataError for a damaged file, a missing key, an empty response or an empty set, UsageError where there is
    neither such a file nor such a data set.
    """
    path = Path(source)
    reader = _READERS.get(path.suffix.lower())
    if path.is_file() and reader is not None:
        rows: Iterable[tuple[int, Any]] = reader(path)
    elif path.exists() or reader is not None:
        raise UsageError(_why_unreadable(path))
    else:
        rows = enumerate(_read_hub(str(source)), start=1)
    examples = tuple(Example(_entry(source, place, row), place) for place, row in rows)
    if not examples:
        raise DataError(source, "holds no entries")
    return examples


def data_hash(examples: Iterable[Example]) -> str:
    """SHA-256 (64 hex digits) of the contents: the same for the same data in another file format."""
    total = hashlib.sha256()
    for example in examples:
        entry = example.entry
        fields: Any = [entry.instruction, entry.input, entry.output] if isinstance(entry, Instruction) else None
        total.update(canonical_json(fields or [[m.role, m.content] for m in cast(Any, entry)]).encode() + b"\n")
    return total.hexdigest()


def _why_unreadable(path: Path) -> str:
    if path.is_dir():
        return f"{path} is a folder: it must hold train, validation and test files ({_suffixes()})"
    if not path.exists():
        return f"{path}: no such file"
    return f"{path}: cannot read {path.suffix or 'a file without suffix'}: give one of {_suffixes()}"


def _suffixes() -> str:
    return ", ".join(_READERS)


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = path.read_bytes()[: error.start].count(b"\n") + 1
        raise DataError(path, "not UTF-8 text: save it as UTF-8", line=line) from None


def _read_json(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        content = json.loads(_read_text(path))
    except json.JSONDecodeError as error:
        raise DataError(path, f"not valid JSON: {error.msg} (column {error.colno})", line=error.lineno) from None
    if not isinstance(content, list):
        raise DataError(path, "must be a list of entries with instruction, input and output")
    return enumerate(content, start=1)


def _read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(_read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(path, f"not valid JSON: {error.msg} (column {error.colno})", line=number) from None


def _read_csv(path: Path) -> Iterator[tuple[int, Any]]:
    rows = csv.DictReader(_read_text(path).splitlines(keepends=True), strict=True)
    try:
        header = rows.fieldnames or ()
        if len(header) == 1 and (other := next((mark for mark in ";\t|" if mark in header[0]), None)):
            raise DataError(path, f"has its columns apart by {other!r}: save it with commas", line=1)
        for number, row in enumerate(rows, start=1):
            if None in row or None in row.values():
                raise DataError(path, "has another number of columns than the header", line=rows.line_num)
            yield number, row
    except csv.Error as error:
        raise DataError(path, f"not valid CSV: {error}", line=rows.line_num) from None


def _read_parquet(path: Path) -> Iterator[tuple[int, Any]]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        raise UsageError(f"{path}: reading Parquet needs pyarrow: pip install pyarrow, or convert it to JSON") from None
    try:
        return enumerate(parquet.read_table(path).to_pylist(), start=1)
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(path, f"not a readable Parquet file: {error}") from None


_READERS: Mapping[str, Callable[[Path], Iterator[tuple[int, Any]]]] = {
    ".json": _read_json,
    ".jsonl": _read_json_lines,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
}


def _read_hub(source: str) -> Iterable[Any]:
    name, _, split = source.partition(":")
    try:
        import datasets
    except ImportError:
        raise UsageError(f"{source}: no such file; to read a hub data set, pip install datasets") from None
    try:
        return cast(Iterable[Any], datasets.load_dataset(name, split=split or "train"))
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).strip().split("\n")[0]
        raise UsageError(f"{source}: neither a file nor a data set that the hub gives ({reason})") from None


def _entry(source: str | Path, place: int, row: Any) -> Entry:
    """Check one raw entry and give it its shape."""
    if not isinstance(row, dict):
        raise DataError(source, f"entry {place} is not an object with instruction, input and output")
    for key, role_key, text_key in (("messages", "role", "content"), ("conversations", "from", "value")):
        if key in row:
            return _conversation(source, place, row[key], (key, role_key, text_key))
    instruction = _text(source, place, row, _INSTRUCTION_KEYS)
    output = _text(source, place, row, _OUTPUT_KEYS)
    if not output.strip():
        raise DataError(source, f"entry {place} has an empty {_OUTPUT_KEYS[0]}: remove it or write its response")
    context = _text(source, place, row, _INPUT_KEYS, default="")
    if not (instruction + context).strip():
        raise DataError(source, f"entry {place} has an empty instruction: remove it or write one")
    return Instruction(instruction, context, output)


def _text(
    source: str | Path, place: int, row: dict[str, Any], keys: tuple[str, ...], default: str | None = None
) -> str:
    key = next((key for key in keys if key in row), None)
    value = default if key is None else row[key]
    if value is None and default is not None:
        return default
    if value is None and key is None:
        found = ", ".join(map(str, row)) or "none"
        raise DataError(source, f"entry {place} has no {keys[0]!r}; its keys are {found}")
    if not isinstance(value, str):
        raise DataError(source, f"entry {place}: {key!r} must be a text, not {type(value).__name__}")
    return _encodable(source, place, value)


def _encodable(source: str | Path, place: int, text: str) -> str:
    """The text itself. Raises DataError where it holds half of a surrogate pair, which no tokenizer takes."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(source, f"entry {place}: {text[error.start]!r} is half a character: write it whole") from None
    return text


def _conversation(source: str | Path, place: int, raw: Any, keys: tuple[str, str, str]) -> Entry:
    name, role_key, text_key = keys
    if not isinstance(raw, list) or not all(isinstance(turn, dict) for turn in raw):
        raise DataError(source, f"entry {place}: {name!r} must be a list of objects with {role_key} and {text_key}")
    messages = tuple(_message(source, place, turn, role_key, text_key) for turn in raw)
    if not messages or messages[-1].role != "assistant":
        raise DataError(source, f"entry {place}: {name!r} must end with an assistant turn, else nothing is learned")
    if any(message.role == "assistant" and not message.content.strip() for message in messages):
        raise DataError(source, f"entry {place} has an empty assistant turn: remove it or write its response")
    roles = [message.role for message in messages if message.role != "system"]
    if roles != ["user", "assistant"] * (len(roles) // 2) or "system" in [m.role for m in messages[1:]]:
        order = ", ".join(message.role for message in messages)
        raise DataError(source, f"entry {place}: turns must alternate user, assistant (system first); found {order}")
    return messages


def _message(source: str | Path, place: int, turn: dict[str, Any], role_key: str, text_key: str) -> Message:
    role, text = turn.get(role_key), turn.get(text_key)
    if not isinstance(text, str):
        raise DataError(source, f"entry {place}: a turn has no text under {text_key!r}")
    if role not in _ROLES:
        raise DataError(source, f"entry {place}: unknown role {role!r}: use system, user or assistant")
    return Message(cast(Any, _ROLES[role]), _encodable(source, place, text))
