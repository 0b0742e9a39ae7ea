"""A YAML file in, its mapping and the line of every key and item out; whatever is wrong is named with file and line."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evalkit.errors import DataError, UsageError

Place = tuple[str | int, ...]
"""The keys and list indices that lead to something: ("rules", 0, "margin")."""


@dataclass(frozen=True)
class YamlFile:
    """What a file says, and where."""

    path: Path
    content: Mapping[str, Any]
    lines: Mapping[Place, int]

    def line(self, *place: str | int) -> int | None:
        """The line of a key or of an item, counted from 1; None where there is no such place."""
        return self.lines.get(place)

    def error(self, problem: str, *place: str | int) -> DataError:
        """To raise: a problem with file and line."""
        return DataError(self.path, problem, line=self.line(*place))


def read_yaml(path: Path, what: str) -> YamlFile:
    """Read a file that holds one mapping with text keys; an empty file is an empty mapping.

    Args:
        path: the file.
        what: what it is to the user ("a rules file"), for messages.

    Raises UsageError where there is no such file, DataError with the line where it is no YAML, no mapping, or says a
    key twice.
    """
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
        tree = yaml.compose(text, Loader=yaml.SafeLoader)
        lines = dict(_places(path, tree)) if tree else {}
        content = yaml.safe_load(text)
    except (FileNotFoundError, IsADirectoryError):
        raise UsageError(f"{path}: no such file; it should be {what}") from None
    except UnicodeDecodeError:
        raise DataError(path, f"not UTF-8 text; it should be {what}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise DataError(path, f"not valid YAML: {problem}", line=mark and mark.line + 1) from None
    if content is None:
        content = {}
    if not isinstance(content, dict) or not all(isinstance(key, str) for key in content):
        raise DataError(path, f"{what} must be a mapping with text keys")
    return YamlFile(path, content, lines)


def _places(path: Path, tree: Any) -> Iterator[tuple[Place, int]]:
    """Every key and item below a node with its line; what an alias repeats, perhaps without end, is passed over."""
    import yaml

    seen: set[int] = set()
    waiting: list[tuple[Place, Any]] = [((), tree)]
    while waiting:
        place, node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        inner: list[tuple[str | int, Any, Any]] = []
        if isinstance(node, yaml.MappingNode):
            inner = [(str(key.value), key, value) for key, value in node.value]
        elif isinstance(node, yaml.SequenceNode):
            inner = [(index, item, item) for index, item in enumerate(node.value)]
        known: set[str | int] = set()
        for name, named, value in inner:
            line = named.start_mark.line + 1
            if name in known:
                raise DataError(path, f"{name!r} stands here a second time", line=line)
            known.add(name)
            yield (*place, name), line
            waiting.append(((*place, name), value))
