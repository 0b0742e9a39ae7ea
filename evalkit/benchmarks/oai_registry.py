"""OpenAI Evals' registry folder in, one resolved eval with its class, arguments and samples out.

A registry holds evals/*.yaml and modelgraded/*.yaml; samples lie under data/, in the registry or beside it. A name is
followed through its aliases (`id`) to the entry that has a class. Source: openai/evals `evals/registry.py`, `data.py`.
"""

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.benchmarks.choices import GENERATE, PREDICTIONS, Choices, choose
from evalkit.benchmarks.files import Record, read_records, read_text
from evalkit.errors import DataError, UsageError
from evalkit.task import TaskFile

if TYPE_CHECKING:
    from evalkit.benchmarks import TaskOptions

_RESERVED = {"key", "group", "cls"}
_SETTINGS = (
    "class", "ignore_case", "num_few_shot", "few_shot_jsonl", "max_tokens", "modelgraded_spec", "eval_type",
    "match_fn", "multicomp_n", "metaeval", "temperature", "answer_prompts", "criteria", "dataset_files",
)  # fmt: skip
_ORDER_SEED = 123


@dataclass(frozen=True)
class Eval:
    """One entry of the registry, or a samples file taken as one."""

    name: str
    """<base>.<split>.<version>."""
    class_name: str
    """The last part of the class's path: Match, Includes …"""
    args: Mapping[str, Any]
    registry: Path
    metrics: tuple[str, ...] = ()
    """What the alias says is reported; the first stands for the eval."""

    @property
    def base(self) -> str:
        """What sample ids begin with: <base>.<split>."""
        return ".".join(self.name.split(".")[:2])

    def samples(self, key: str = "samples_jsonl") -> list[Record]:
        """The samples under an argument that names a file; UsageError where it names none."""
        if key not in self.args:
            raise UsageError(f"{self.registry}: eval {self.name} has no {key!r} among its args")
        path = find_data(self.registry, str(self.args[key]))
        files = sorted(path.glob("**/*.jsonl")) if path.is_dir() else [path]
        if not files:
            raise UsageError(f"{path}: the folder holds no .jsonl file of samples")
        return [record for file in files for record in read_records(file)]


def read_eval(task_file: TaskFile, options: "TaskOptions") -> tuple[Choices, Eval]:
    """The choices and the eval they name, its args overridden by settings."""
    chosen = choose(task_file, options, protocols=(GENERATE, PREDICTIONS), settings=_SETTINGS, parts=True)
    own = {key: _typed(str(value)) for key, value in (chosen.settings or {}).items() if key != "class"}
    if len(chosen.subjects) > 1:
        raise UsageError("openai_evals runs one eval at a time: give --subject once")
    class_name = None if chosen.get("class") is None else str(chosen.get("class"))
    found = _open(chosen.data, chosen.subjects[0] if chosen.subjects else None, class_name)
    return chosen, replace(found, class_name=class_name or found.class_name, args={**found.args, **own})


def _typed(text: str) -> Any:
    """A setting from the command line as YAML would read it."""
    import yaml

    value = yaml.safe_load(text)
    return text if isinstance(value, dict | list) else value


def official_order(count: int) -> list[int]:
    """The places of samples in the order the official runner takes them."""
    places = list(range(count))
    random.Random(_ORDER_SEED).shuffle(places)
    return places


def _open(data: Path, wanted: str | None, class_name: str | None) -> Eval:
    """The eval of that name in a registry folder, or a samples file with the class that is to score it."""
    if data.is_file():
        if class_name is None:
            raise UsageError(f"{data}: name the eval's class with --set class=Match (or Includes, FuzzyMatch, …)")
        return Eval(f"{data.stem}.dev.v0", class_name, {"samples_jsonl": str(data)}, data.parent)
    entries = read_entries(data / "evals")
    if wanted is None:
        known = ", ".join(sorted(name for name, spec in entries.items() if "class" not in spec)[:20])
        raise UsageError(f"{data}: which eval? name it with --subject: {known}")
    return _resolved(data, entries, wanted)


def _resolved(data: Path, entries: Mapping[str, Mapping[str, Any]], wanted: str) -> Eval:
    name, metrics, seen = wanted, (), set[str]()
    while True:
        if name not in entries or name in seen:
            raise UsageError(f"{data}: has no eval {name!r}" if name not in seen else f"{data}: {name!r} names itself")
        seen.add(name)
        spec = entries[name]
        metrics = tuple(spec.get("metrics", metrics))
        if "class" in spec:
            args = spec.get("args", {})
            return Eval(name, str(spec["class"]).rpartition(":")[2], args, data, metrics)
        if "id" not in spec:
            raise DataError(data, f"eval {name!r} has neither 'id' nor 'class'")
        name = str(spec["id"])


def read_entries(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Every entry of the YAML files in a folder; a name that stands twice is a DataError."""
    import yaml

    paths = sorted(folder.glob("**/*.yaml"))
    if not paths:
        raise UsageError(f"{folder}: no registry here; it needs evals/*.yaml")
    entries: dict[str, Mapping[str, Any]] = {}
    for path in paths:
        try:
            content = yaml.safe_load(read_text(path)) or {}
        except yaml.YAMLError as error:
            mark = getattr(error, "problem_mark", None)
            raise DataError(path, "not valid YAML", line=mark and mark.line + 1) from None
        if not isinstance(content, dict):
            raise DataError(path, "must be a mapping of names to entries")
        for name, spec in content.items():
            if str(name) in entries:
                raise DataError(path, f"the name {name!r} is given twice in the registry")
            entries[str(name)] = _checked(path, str(name), spec)
    return entries


def _checked(path: Path, name: str, spec: Any) -> Mapping[str, Any]:
    if isinstance(spec, str):
        return {"id": spec}
    if not isinstance(spec, dict) or not isinstance(spec.get("args", {}), dict):
        raise DataError(path, f"the entry {name!r} must be a name or a mapping")
    for key in _RESERVED & spec.keys():
        raise DataError(path, f"the entry {name!r} has the reserved key {key!r}")
    return spec


def find_data(registry: Path, name: str) -> Path:
    """A samples file: as it is named, else under data/ in the registry or beside it; a folder stands for its files.

    Raises UsageError where there is none.
    """
    for path in (Path(name), registry / "data" / name, registry.parent / "data" / name):
        if path.exists() and name:
            return path
    raise UsageError(f"{registry}: no samples file data/{name} in the registry or beside it")
