"""`--config FILE`: a YAML mapping of a verb's options in, the same options as words of the command line out.

Keys are the options' names without dashes (`num_fewshot` or `num-fewshot`). What stands on the command line wins.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import UsageError
from evalkit.yaml_file import YamlFile, read_yaml

_FLAG = "--config"


@dataclass(frozen=True)
class Option:
    """How an option is written on the command line."""

    flags: Sequence[str]
    """A switch may have two: for true and for false."""
    is_switch: bool


def expand(words: Sequence[str], options: Mapping[str, Mapping[str, Option]]) -> list[str]:
    """Replace `--config FILE` by what the file holds, placed before the verb's own words.

    Args:
        words: the command line after the program's name.
        options: for each verb its options by name, for example {"mmlu": {"limit": Option(["--limit"], False)}}.

    Raises UsageError where the file is missing, DataError with the line for an unknown key or a wrong value.
    """
    rest = list(words)
    inserted: list[str] = []
    while _FLAG in rest:
        index = rest.index(_FLAG)
        if index + 1 == len(rest):
            raise UsageError("--config needs the path of a YAML file")
        path = Path(rest[index + 1])
        del rest[index : index + 2]
        start, end = _verb_in(rest, options)
        verb = " ".join(rest[start:end])
        inserted += _words(path, options.get(verb, {}), verb)
    _, end = _verb_in(rest, options)
    return [*rest[:end], *inserted, *rest[end:]]


def _verb_in(words: Sequence[str], options: Mapping[str, Mapping[str, Option]]) -> tuple[int, int]:
    """Where the verb stands: one word, or two for a verb within a verb ("arena rate")."""
    start = next((index for index, word in enumerate(words) if not word.startswith("-")), len(words))
    return start, start + (2 if " ".join(words[start : start + 2]) in options else 1)


def _words(path: Path, options: Mapping[str, Option], verb: str) -> list[str]:
    words: list[str] = []
    read = read_yaml(path, "a configuration file")
    for key, value in read.content.items():
        option = options.get(key.replace("-", "_"))
        if option is None:
            known = ", ".join(sorted(options)) or "none: name the verb first"
            raise read.error(f"unknown key {key!r}: the options of {verb!r} are {known}", key)
        words += _one(read, key, option, value)
    return words


def _one(read: YamlFile, key: str, option: Option, value: Any) -> list[str]:
    if isinstance(value, bool) != option.is_switch:
        expected = "true or false" if option.is_switch else "a value"
        raise read.error(f"{key} must be {expected}, not {value!r}", key)
    flag = option.flags[0]
    if option.is_switch:
        return [flag] if value else list(option.flags[1:2])
    if isinstance(value, list):
        return [word for item in value for word in (flag, str(item))]
    if isinstance(value, dict) or value is None:
        raise read.error(f"{key} must be a number, a text or a list", key)
    return [flag, str(value)]
