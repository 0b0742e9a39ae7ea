"""A judge's JSON reply in, its verdict out; and the JSON schema that a provider can hold the judge to.

The object may be the whole reply, stand in a code fence or follow some words; the last object that holds the verdict
counts, unless one with another verdict stands beside it. A key given twice, NaN, and numbers off the scale are no
verdicts.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from evalkit.judge.parse.text import excerpt, offered_choice, stand_apart
from evalkit.judge.rubrics import Rubric
from evalkit.judge.verdict import Verdict, unscored

_MOST_OBJECTS = 200
"""How many opening braces are tried: bounds the work on hostile replies."""
_NUMBER_TEXT = re.compile(r"\s*[-+]?[0-9]{1,9}(?:\.[0-9]{1,9})?\s*")


def schema(rubric: Rubric) -> dict[str, Any]:
    """The JSON schema of a reply: words first, so that a model reasons before it judges."""
    return {
        "type": "object",
        "properties": {"reason": {"type": "string"}, **_verdict_properties(rubric)},
        "required": ["reason", *_verdict_properties(rubric)],
        "additionalProperties": False,
    }


def _verdict_properties(rubric: Rubric) -> dict[str, Any]:
    if rubric.choices:
        return {"verdict": {"type": "string", "enum": list(rubric.choices)}}
    assert rubric.scale is not None
    number = {
        "type": "integer" if rubric.scale.integer else "number",
        "minimum": rubric.scale.low,
        "maximum": rubric.scale.high,
    }
    return {name: number for name in _score_names(rubric)}


def _score_names(rubric: Rubric) -> list[str]:
    return [criterion.name for criterion in rubric.criteria] or ["score"]


def read_json(rubric: Rubric, text: str) -> Verdict:
    """The verdict of a JSON reply: a choice, a score, or one score per criterion and their mean as the score."""
    wanted = ["verdict"] if rubric.choices else _score_names(rubric)
    found = [one for one in _objects(text) if any(name in one.content for name in wanted)]
    if not found:
        return unscored("unparsable", f"no JSON object with {', '.join(wanted)} in {excerpt(text)}")
    verdict = _verdict(rubric, found[-1].content, wanted)
    for earlier, later in zip(found[-2::-1], found[:0:-1], strict=True):
        if stand_apart(text[earlier.end : later.start]):
            break
        other = _verdict(rubric, earlier.content, wanted)
        if other.scored and other != verdict:
            return unscored("conflicting", f"two JSON verdicts beside each other in {excerpt(text)}")
    parts = {**_components(found[-1].content), **verdict.components}
    return replace(verdict, components=parts) if verdict.scored else verdict


def _verdict(rubric: Rubric, content: Mapping[str, Any], wanted: Sequence[str]) -> Verdict:
    missing = [name for name in wanted if name not in content]
    if missing:
        return unscored("unparsable", f"the JSON reply has no {', '.join(missing)}")
    return _choice(rubric, content["verdict"]) if rubric.choices else _scores(rubric, content)


def _components(content: Mapping[str, Any]) -> dict[str, float]:
    """Numbers under "components", as the reference judge gives them: shown, not counted."""
    parts = content.get("components")
    numbers = {name: _as_number(value) for name, value in parts.items()} if isinstance(parts, dict) else {}
    return {name: value for name, value in numbers.items() if value is not None}


def _choice(rubric: Rubric, value: Any) -> Verdict:
    choice = offered_choice(rubric, value.strip()) if isinstance(value, str) else None
    if choice is not None:
        return Verdict(choice=choice)
    return unscored("not_offered", f"verdict {excerpt(str(value))} is none of {', '.join(rubric.choices)}")


def _scores(rubric: Rubric, content: Mapping[str, Any]) -> Verdict:
    assert rubric.scale is not None
    values: dict[str, float] = {}
    for name in _score_names(rubric):
        value = _as_number(content[name])
        if value is None or not rubric.scale.offers(value):
            return unscored("not_offered", f"{name} {excerpt(str(content[name]))} is not on the scale {rubric.scale}")
        values[name] = value
    return Verdict(score=sum(values.values()) / len(values), components=values if rubric.criteria else {})


def _as_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        return float(value) if _NUMBER_TEXT.fullmatch(value) else None
    return float(value) if abs(value) < 1e9 else None


@dataclass(frozen=True)
class _Object:
    """A JSON object and its place in the text."""

    content: Mapping[str, Any]
    start: int
    end: int


def _objects(text: str) -> Iterator[_Object]:
    """Every outermost JSON object in a text, in order."""
    decoder = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)
    start, tried = text.find("{"), 0
    while start >= 0 and tried < _MOST_OBJECTS:
        tried += 1
        try:
            content, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            end = start + 1
        else:
            yield _Object(content, start, end)
        start = text.find("{", end)


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is given twice")
    return content


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no number")
