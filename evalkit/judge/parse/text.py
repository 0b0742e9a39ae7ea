"""A judge's words in, the last verdict in them out: `[[7]]`, `[[A]]`, "Score: 7/10", a bare "85", a last line "2".

Three forms are looked for, the plainest first: double brackets, a labelled value or a fraction of the scale, and a
reply (or last line) that is nothing but the value. Of the first form that occurs the last verdict counts, unless a
different one stands beside it: then the judge contradicted itself. Every pattern is linear in the length of the text.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from evalkit.judge.rubrics import Rubric
from evalkit.judge.verdict import Verdict, unscored

_NUMBER = r"[-+−]?[0-9]{1,9}(?:\.[0-9]{1,9})?"
_TOP = r"(?:\s{0,3}(?:/|out of|von|sur|de)\s{0,3}(?P<top>[0-9]{1,5}))?"
_GOES_ON = r"[0-9.,]*[0-9]|[-–]|[A-Za-z]|\s?(?:or|to|und|oder|bis|à|ou|o)\s?[0-9]"
"""After a number: a decimal comma, an exponent, a range, a second number. Such a number is not what it begins with."""
_WRAP = r"[*_`'\"\s]{0,6}"
_LABEL = r"(?<![A-Za-z])(?:score|rating|rate|grade|mark|verdict|result|note|bewertung|puntuación|评分|得分|分数|打分)"
_LINK = r"(?:\s{0,3}(?:is|of|as|at|be|=|:|：|为|是)){1,2}"

_BRACKETED = re.compile(r"\[\[([^\[\]\n]{1,40})\]\]")
_INNER_LABEL = re.compile(r"^\s*(?:rating|score|verdict)\s*[:：=]\s*", re.IGNORECASE)
_LABELLED_SCORE = re.compile(
    rf"{_LABEL}{_WRAP}{_LINK}{_WRAP}(?P<value>{_NUMBER})(?!{_GOES_ON})[*_`]{{0,3}}{_TOP}", re.IGNORECASE
)
_FRACTION = re.compile(
    rf"(?<![0-9./])(?<![0-9][-–,])(?P<value>{_NUMBER})\s{{0,3}}(?:/|out of)\s{{0,3}}(?P<top>[0-9]{{1,5}})(?![0-9/])",
    re.IGNORECASE,
)
_BARE_SCORE = re.compile(
    rf"{_WRAP}(?:(?:final\s)?{_LABEL}{_WRAP}[:=]?{_WRAP})?(?P<value>{_NUMBER}){_WRAP}{_TOP}{_WRAP}[.%]?{_WRAP}",
    re.IGNORECASE,
)
_LABELLED_CHOICE = re.compile(
    rf"(?<![A-Za-z])(?:verdict|winner|choice|answer|preference|decision|grade|response){_WRAP}(?:\s{{0,3}}(?:is|=|:|：|是)){{1,2}}"
    rf"{_WRAP}(?:(?:response|assistant|answer|option|output)\s{{0,3}})?[(\[]?(?P<value>[A-Za-z0-9]{{1,12}})[)\]]?"
    r"(?=[*_`'\"\s]{0,4}(?:[.!,;]|$|is (?:better|the better|superior|the winner|preferred)))",
    re.IGNORECASE | re.MULTILINE,
)
_BARE_CHOICE = re.compile(rf"{_WRAP}[(\[]{{0,2}}(?P<value>[A-Za-z0-9]{{1,12}})[)\]]{{0,2}}{_WRAP}[.:]?{_WRAP}")
_QUOTED_INSTRUCTION = {"rating", "score", "verdict"}


@dataclass(frozen=True)
class _Found:
    """One place in the text that reads like a verdict."""

    value: str
    top: float | None
    start: int
    end: int


def read_score(rubric: Rubric, text: str) -> Verdict:
    """The last score in a reply, on the rubric's scale; the module says in which forms."""
    for found in (_bracketed(text), _labelled_scores(rubric, text), _bare(_BARE_SCORE, text)):
        if found:
            return _last(text, found, lambda one: _on_scale(rubric, one))
    return unscored("unparsable", f"no score in {excerpt(text)}")


def read_integer(rubric: Rubric, text: str) -> Verdict:
    """The score of a reply that is one integer and nothing else but a label, "/100" or markdown around it."""
    match = _BARE_SCORE.fullmatch(text)
    if match is None or "." in match["value"]:
        return unscored("unparsable", f"not one integer: {excerpt(text)}")
    return _on_scale(rubric, _from_match(match))


def read_choice(rubric: Rubric, text: str) -> Verdict:
    """The last choice in a reply, one of those the rubric offers; the module says in which forms."""
    labelled = [_from_match(match) for match in _LABELLED_CHOICE.finditer(text)]
    offered = [one for one in labelled if one.value in rubric.choices]
    for found in (_bracketed(text), offered, _bare(_BARE_CHOICE, text)):
        if found:
            return _last(text, found, lambda one: _offered(rubric, one))
    return unscored("unparsable", f"no verdict in {excerpt(text)}")


def excerpt(text: str, length: int = 80) -> str:
    """The end of a text, where a verdict should have stood, short enough for a message."""
    tail = " ".join(text[-4 * length :].split())
    return repr(tail if len(tail) <= length else "…" + tail[-length:])


def _bracketed(text: str) -> list[_Found]:
    found = []
    for match in _BRACKETED.finditer(text):
        value, _, top = (part.strip() for part in _INNER_LABEL.sub("", match[1]).partition("/"))
        # A judge that quotes its instructions ("[[rating]]") has not judged by that.
        if value.lower() not in _QUOTED_INSTRUCTION:
            found.append(_Found(value, float(top) if top.isdecimal() else None, match.start(), match.end()))
    return found


def _labelled_scores(rubric: Rubric, text: str) -> list[_Found]:
    found = [_from_match(match) for match in _LABELLED_SCORE.finditer(text)]
    labelled = {one.start for one in found}
    fractions = [_from_match(match) for match in _FRACTION.finditer(text)]
    found += [one for one in fractions if one.start not in labelled and _same_top(rubric, one)]
    return sorted(found, key=lambda one: one.start)


def _bare(pattern: re.Pattern[str], text: str) -> list[_Found]:
    stripped = text.strip()
    for candidate in (stripped, stripped.rpartition("\n")[2]):
        match = pattern.fullmatch(candidate)
        if match is not None:
            return [_from_match(match)]
    return []


def _from_match(match: re.Match[str]) -> _Found:
    top = match.groupdict().get("top")
    return _Found(match["value"], None if top is None else float(top), match.start("value"), match.end())


def _last(text: str, found: list[_Found], judge: Callable[[_Found], Verdict]) -> Verdict:
    verdict = judge(found[-1])
    for earlier, later in zip(found[-2::-1], found[:0:-1], strict=True):
        if stand_apart(text[earlier.end : later.start]):
            break
        if earlier.value != found[-1].value and judge(earlier) != verdict:
            return unscored("conflicting", f"{earlier.value!r} beside {found[-1].value!r} in {excerpt(text)}")
    return verdict


def stand_apart(between: str) -> bool:
    """Whether two verdicts with this text between them are a thought and its correction, not a contradiction."""
    return "\n" in between and any(char.isalpha() for char in between)


def _on_scale(rubric: Rubric, found: _Found) -> Verdict:
    if rubric.scale is None:
        raise ValueError(f"rubric {rubric.name} has no scale, which its parser {rubric.parser} needs")
    if not re.fullmatch(_NUMBER, found.value):
        return unscored("not_offered", f"{found.value!r} is no number; the scale is {rubric.scale}")
    value = float(found.value.replace("−", "-"))
    if not _same_top(rubric, found) or not rubric.scale.offers(value):
        top = "" if found.top is None else f" out of {found.top:g}"
        return unscored("not_offered", f"{found.value}{top} is not on the scale {rubric.scale}")
    return Verdict(score=value)


def _same_top(rubric: Rubric, found: _Found) -> bool:
    return found.top is None or (rubric.scale is not None and found.top == rubric.scale.high)


def _offered(rubric: Rubric, found: _Found) -> Verdict:
    choice = offered_choice(rubric, found.value)
    if choice is not None:
        return Verdict(choice=choice)
    return unscored("not_offered", f"{found.value!r} is none of {', '.join(rubric.choices)}")


def offered_choice(rubric: Rubric, said: str) -> str | None:
    """The choice that was said, words in capitals or not, letters as they are ("a" may be a word); None for others."""
    alike = (one for one in rubric.choices if said == one or (len(one) > 1 and said.lower() == one.lower()))
    return next(alike, None)
