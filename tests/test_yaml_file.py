"""The reader of YAML files: content with lines, and faults with file and line."""

from pathlib import Path

import pytest

from evalkit.errors import DataError, UsageError
from evalkit.yaml_file import read_yaml


def _write(folder: Path, text: str | bytes) -> Path:
    path = folder / "settings.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_every_key_and_item_has_its_line(tmp_path: Path) -> None:
    read = read_yaml(_write(tmp_path, "# words\na: 1\nb:\n  - c: 2\n    d: 3\n  - 4\n"), "settings")
    assert read.content == {"a": 1, "b": [{"c": 2, "d": 3}, 4]}
    assert [read.line(*place) for place in (("a",), ("b",), ("b", 0, "d"), ("b", 1))] == [2, 3, 5, 6]


def test_an_empty_file_is_an_empty_mapping(tmp_path: Path) -> None:
    assert read_yaml(_write(tmp_path, "# nothing yet\n"), "settings").content == {}


def test_a_place_that_is_not_there_has_no_line(tmp_path: Path) -> None:
    assert read_yaml(_write(tmp_path, "a: 1"), "settings").line("b") is None


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("a: 1\nb: [1, 2\n", 3, "not valid YAML"),
        ("a: 1\nb: 2\na: 3\n", 3, "'a' stands here a second time"),
        ("rules:\n  - x: 1\n    x: 2\n", 3, "'x' stands here a second time"),
        ("a: !!python/object:os.system {}\n", 1, "not valid YAML"),
    ],
    ids=["torn", "doubled", "doubled-inside", "code"],
)
def test_a_fault_names_file_and_line(tmp_path: Path, text: str, line: int, words: str) -> None:
    path = _write(tmp_path, text)
    with pytest.raises(DataError, match=words) as caught:
        read_yaml(path, "settings")
    assert str(caught.value).startswith(f"{path}:{line}: ")


@pytest.mark.parametrize("text", ["- 1\n- 2\n", "just words", "1: one\n"], ids=["list", "text", "number-key"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match="settings must be a mapping"):
        read_yaml(_write(tmp_path, text), "settings")


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not UTF-8"):
        read_yaml(_write(tmp_path, b"a: \xff\xfe\n"), "settings")


@pytest.mark.parametrize("name", ["absent.yaml", "."], ids=["absent", "folder"])
def test_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such file; it should be a rules file"):
        read_yaml(tmp_path / name, "a rules file")


def test_aliases_that_repeat_without_end_are_read_in_no_time(tmp_path: Path) -> None:
    levels = "".join(f"k{n}: &a{n} [*a{n - 1}, *a{n - 1}, *a{n - 1}, *a{n - 1}]\n" for n in range(1, 30))
    assert read_yaml(_write(tmp_path, "k0: &a0 [1, 2]\n" + levels), "settings").line("k29") == 30


def test_a_deep_nest_is_a_fault_and_no_crash(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not valid YAML"):
        read_yaml(_write(tmp_path, "a: " + "[" * 20_000), "settings")
