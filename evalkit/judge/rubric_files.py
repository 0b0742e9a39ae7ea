"""The name or path of a rubric file in, a checked Rubric out; and the official MT-Bench prompts from their file."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from evalkit.errors import DataError, UsageError
from evalkit.judge.parse import PARSERS
from evalkit.judge.parse.structured import schema
from evalkit.judge.rubrics import TEMPLATE_KEYS, Criterion, Rubric, Scale
from evalkit.task import Params
from evalkit.yaml_file import YamlFile, read_yaml

RUBRIC_DIR = Path(__file__).parent / "rubrics"

_KEYS = {
    "name", "version", "kind", "parser", "templates", "system", "defaults", "scale", "choices", "criteria",
    "needs_reference", "fence", "empty_score", "params", "description", "source", "minimum_mass",
}  # fmt: skip
_REQUIRED = ("name", "version", "kind", "parser", "templates")
_THEIR_FIELD = re.compile(r"\{(?P<ref>ref_)?answer(?P<side>_[ab])?(?P<turn>_[12])?\}")
_CHOICE_PARSERS = {"choice", "choice_probability", "mtbench_first_winner"}


def rubric_names() -> list[str]:
    """The rubrics that come with evalkit."""
    return sorted(path.stem for path in RUBRIC_DIR.glob("*.yaml"))


def load_rubric(name: str) -> Rubric:
    """A bundled rubric by its name, or any other by the path of its YAML file.

    Raises UsageError for an unknown name, DataError (file, key) for a file that is not a rubric.
    """
    path = Path(name)
    if path.suffix not in {".yaml", ".yml"}:
        path = RUBRIC_DIR / f"{name}.yaml"
        if name not in rubric_names():
            raise UsageError(f"no rubric named {name!r}: there are {', '.join(rubric_names())}, or give a .yaml file")
    return _rubric(read_yaml(path, "a rubric file"))


def _rubric(read: YamlFile) -> Rubric:
    path, content = read.path, read.content
    for key in content:
        if key not in _KEYS:
            raise read.error(f"unknown key {key!r}: a rubric has {', '.join(sorted(_KEYS))}", key)
    for key in _REQUIRED:
        if key not in content:
            raise read.error(f"the key {key!r} is missing")
    try:
        rubric = Rubric(**_parts(content))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise DataError(path, f"not a rubric: {error}") from None
    _check(path, rubric)
    # A provider can hold the judge to a JSON schema; the rubric knows which.
    return replace(rubric, params=replace(rubric.params, schema=schema(rubric))) if rubric.parser == "json" else rubric


def _parts(content: Mapping[str, Any]) -> dict[str, Any]:
    parts = {**content, "version": str(content["version"])}
    parts["templates"] = {key: text.rstrip("\n") for key, text in content["templates"].items()}
    parts["system"] = {key: text.rstrip("\n") for key, text in content.get("system", {}).items()}
    parts["defaults"] = {key: text.rstrip("\n") for key, text in content.get("defaults", {}).items()}
    parts["scale"] = Scale(**content["scale"]) if "scale" in content else None
    parts["choices"] = tuple(str(choice) for choice in content.get("choices", ()))
    parts["criteria"] = tuple(Criterion(name, words) for name, words in content.get("criteria", {}).items())
    parts["params"] = Params(**content.get("params", {}))
    return parts


def _check(path: Path, rubric: Rubric) -> None:
    if rubric.kind not in {"pointwise", "pairwise"}:
        raise DataError(path, f"kind {rubric.kind!r}: write pointwise or pairwise")
    if rubric.parser not in PARSERS:
        raise DataError(path, f"parser {rubric.parser!r}: choose one of {', '.join(PARSERS)}")
    for key in [*rubric.templates, *rubric.system]:
        if key not in TEMPLATE_KEYS:
            raise DataError(path, f"unknown template {key!r}: choose from {', '.join(TEMPLATE_KEYS)}")
    if rubric.kind == "pairwise" and len(rubric.choices) not in {2, 3}:
        raise DataError(path, "a pairwise rubric needs choices: the first shown, the second shown and, if any, a tie")
    if rubric.kind == "pointwise" and (rubric.scale is None or rubric.choices):
        raise DataError(path, "a pointwise rubric needs a scale with low and high, and no choices")
    if (rubric.parser in _CHOICE_PARSERS) != bool(rubric.choices) and rubric.parser != "json":
        raise DataError(path, f"parser {rubric.parser!r} does not fit a {rubric.kind} rubric")


def load_mtbench_prompts(path: Path | str, name: str) -> Rubric:
    """The official MT-Bench prompts, word for word, from FastChat's `judge_prompts.jsonl`.

    Args:
        path: that file; it is not shipped with evalkit.
        name: the prompt of the first turn without a reference: "single-v1" or "pair-v2". The prompts for reference
            answers ("…-math-v1") and for the second turn ("…-multi-turn") come with it.

    The candidates' answers are not fenced and the parser takes the first match, both as MT-Bench does.
    """
    prompts = _read_prompts(Path(path))
    family = {"single-v1": "single-math-v1", "pair-v2": "pair-math-v1"}
    if name not in family or name not in prompts:
        raise UsageError(f"no MT-Bench prompt {name!r} in {path}: write single-v1 or pair-v2")
    members = {"plain": name, "reference": family[name]}
    members |= {"two_turns": f"{name}-multi-turn", "two_turns_reference": f"{family[name]}-multi-turn"}
    chosen = {key: prompts[member] for key, member in members.items() if member in prompts}
    pairwise = name == "pair-v2"
    return Rubric(
        name=f"mt-bench-official/{name}",
        version="1",
        kind="pairwise" if pairwise else "pointwise",
        parser="mtbench_first_winner" if pairwise else "mtbench_first_score",
        templates={key: _our_fields(prompt["prompt_template"]) for key, prompt in chosen.items()},
        system={key: prompt["system_prompt"] for key, prompt in chosen.items()},
        scale=None if pairwise else Scale(1, 10),
        choices=("A", "B", "C") if pairwise else (),
        fence=False,
        params=Params(max_tokens=2048),
        source="lm-sys/FastChat fastchat/llm_judge/data/judge_prompts.jsonl",
    )


def _read_prompts(path: Path) -> dict[str, Mapping[str, str]]:
    prompts: dict[str, Mapping[str, str]] = {}
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                prompt = json.loads(line)
                prompts[prompt["name"]] = {key: prompt[key] for key in ("system_prompt", "prompt_template")}
            except (ValueError, KeyError, TypeError):
                raise DataError(
                    path, "not a judge prompt with name, system_prompt and prompt_template", line=number
                ) from None
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file of MT-Bench judge prompts") from None
    return prompts


def _our_fields(template: str) -> str:
    """MT-Bench's placeholders in our words: {answer_a} is {response_a}, {ref_answer_1} of one turn is {reference}."""
    one_turn = "{question}" in template

    def ours(match: re.Match[str]) -> str:
        reference, side, turn = match["ref"], match["side"] or "", match["turn"] or ""
        if reference:
            return "{reference}" if one_turn else f"{{reference{turn}}}"
        return f"{{response{side}{turn}}}"

    return _THEIR_FIELD.sub(ours, template)
