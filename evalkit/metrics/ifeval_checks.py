"""Turns one response and one IFEval instruction into yes or no: the 25 official checkers, by instruction id.

Source: google-research `instruction_following_eval/instructions.py`; its peculiarities are kept where they decide
verdicts (keywords are regular expressions, `**bold**` counts twice, an undetectable language counts as right). Where it
draws a random letter instead of a "!" that the data asks for, the "!" itself is counted.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import takewhile

from evalkit.errors import UsageError
from evalkit.metrics import language, punkt
from evalkit.metrics.tokens import word_runs

CONSTRAINED_RESPONSES = ("My answer is yes.", "My answer is no.", "My answer is maybe.")

_END_OF_WORD = frozenset(".,?!'\"")


@dataclass(frozen=True)
class Arguments:
    """The official kwargs of one instruction, read with their types."""

    instruction: str
    values: Mapping[str, object]

    def text(self, name: str) -> str:
        """A text argument.

        Raises:
            UsageError: it is missing or not text.
        """
        value = self.values.get(name)
        if not isinstance(value, str):
            raise self.unusable(name, "a text")
        return value

    def number(self, name: str) -> int:
        """A whole-number argument.

        Raises:
            UsageError: it is missing or not a whole number.
        """
        value = self.values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.unusable(name, "a whole number")
        if not math.isfinite(value) or value != int(value):
            raise self.unusable(name, "a whole number")
        return int(value)

    def texts(self, name: str) -> list[str]:
        """A list-of-texts argument.

        Raises:
            UsageError: it is missing or not a list of texts.
        """
        value = self.values.get(name)
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.unusable(name, "a list of texts")
        return list(value)

    def admits(self, count: int, limit: str, relation: str = "relation") -> bool:
        """Whether a count is "at least" or "less than" the limit the arguments set.

        Raises:
            UsageError: the limit or the relation is missing or unusable.
        """
        wanted = self.text(relation)
        if wanted not in ("at least", "less than"):
            raise self.unusable(relation, "'at least' or 'less than'")
        return count >= self.number(limit) if wanted == "at least" else count < self.number(limit)

    def unusable(self, name: str, kind: str) -> UsageError:
        """The error that says which argument is missing or of the wrong kind."""
        return UsageError(
            f"IFEval: {self.instruction} needs {name!r} as {kind}, not {self.values.get(name)!r}; "
            "see the kwargs of the official data."
        )


def _search(pattern: str, response: str, flags: int = 0) -> list[str]:
    try:
        return [match[0] for match in re.finditer(pattern, response, flags)]
    except re.error as error:
        raise UsageError(f"IFEval: {pattern!r} is not a valid pattern ({error}); correct the kwargs.") from error


def _keywords_exist(response: str, given: Arguments) -> bool:
    return all(_search(keyword, response, re.IGNORECASE) for keyword in given.texts("keywords"))


def _keyword_frequency(response: str, given: Arguments) -> bool:
    return given.admits(len(_search(given.text("keyword").strip(), response, re.IGNORECASE)), "frequency")


def _no_forbidden_words(response: str, given: Arguments) -> bool:
    words = given.texts("forbidden_words")
    return not any(_search(rf"\b{word}\b", response, re.IGNORECASE) for word in words)


def _letter_frequency(response: str, given: Arguments) -> bool:
    letter = given.text("letter").strip().lower()
    if len(letter) != 1:
        raise given.unusable("letter", "one letter")
    return given.admits(response.lower().count(letter), "let_frequency", "let_relation")


def _in_language(response: str, given: Arguments) -> bool:
    return language.detect(response) in (given.text("language"), None)


def _sentence_count(response: str, given: Arguments) -> bool:
    return given.admits(len(punkt.sentences(response)), "num_sentences")


def _word_count(response: str, given: Arguments) -> bool:
    return given.admits(len(word_runs(response)), "num_words")


def _paragraph_count(response: str, given: Arguments) -> bool:
    paragraphs = re.split(r"\s?\*\*\*\s?", response)
    if any(not paragraph.strip() for paragraph in paragraphs[1:-1]):
        return False
    return sum(bool(paragraph.strip()) for paragraph in paragraphs) == given.number("num_paragraphs")


def _first_word_of_paragraph(response: str, given: Arguments) -> bool:
    paragraphs = response.split("\n\n")
    count, place = sum(bool(paragraph.strip()) for paragraph in paragraphs), given.number("nth_paragraph")
    # the place counts blank paragraphs too, the total does not
    if place > count or not paragraphs[place - 1].strip():
        return False
    word = paragraphs[place - 1].split()[0].lstrip("'").lstrip('"')
    letters = takewhile(lambda character: character not in _END_OF_WORD, word)
    # letter by letter, as a final sigma stays what it is there
    said = "".join(letter.lower() for letter in letters)
    return count == given.number("num_paragraphs") and said == given.text("first_word").lower()


def _placeholder_count(response: str, given: Arguments) -> bool:
    return len(re.findall(r"\[.*?\]", response)) >= given.number("num_placeholders")


def _has_postscript(response: str, given: Arguments) -> bool:
    marker = given.text("postscript_marker").strip()
    patterns = {"P.P.S": r"\s*p\.\s?p\.\s?s.*$", "P.S.": r"\s*p\.\s?s\..*$"}
    pattern = patterns.get(marker, rf"\s*{marker.lower()}.*$")
    return bool(_search(pattern, response.lower(), re.MULTILINE))


def _bullet_count(response: str, given: Arguments) -> bool:
    starred = re.findall(r"^\s*\*[^\*].*$", response, re.MULTILINE)
    dashed = re.findall(r"^\s*-.*$", response, re.MULTILINE)
    return len(starred) + len(dashed) == given.number("num_bullets")


def _is_constrained_response(response: str, given: Arguments) -> bool:
    return any(option in response for option in CONSTRAINED_RESPONSES)


def _highlight_count(response: str, given: Arguments) -> bool:
    single = [text.strip("*") for text in re.findall(r"\*[^\n\*]*\*", response)]
    double = [text.removeprefix("**").removesuffix("**") for text in re.findall(r"\*\*[^\n\*]*\*\*", response)]
    return sum(bool(text.strip()) for text in single + double) >= given.number("num_highlights")


def _section_count(response: str, given: Arguments) -> bool:
    splitter = given.text("section_spliter").strip()
    return len(_search(rf"\s?{splitter}\s?\d+\s?", response)) >= given.number("num_sections")


def _is_json(response: str, given: Arguments) -> bool:
    bare = response.strip()
    for fence in ("```json", "```Json", "```JSON", "```"):
        bare = bare.removeprefix(fence)
    try:
        json.loads(bare.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(response: str, given: Arguments) -> bool:
    return any(title.lstrip("<").rstrip(">").strip() for title in re.findall(r"<<[^\n]+>>", response))


def _two_responses(response: str, given: Arguments) -> bool:
    parts = response.split("******")
    if any(not part.strip() for part in parts[1:-1]):
        return False
    said = [part.strip() for part in parts if part.strip()]
    return len(said) == 2 and said[0] != said[1]


def _repeats_prompt(response: str, given: Arguments) -> bool:
    return response.strip().lower().startswith(given.text("prompt_to_repeat").strip().lower())


def _ends_with(response: str, given: Arguments) -> bool:
    return response.strip().strip('"').lower().endswith(given.text("end_phrase").strip().lower())


def _capital_words(response: str, given: Arguments) -> bool:
    capitals = sum(word.isupper() for word in punkt.word_tokens(response))
    return given.admits(capitals, "capital_frequency", "capital_relation")


def _english_capitals(response: str, given: Arguments) -> bool:
    return response.isupper() and language.detect(response) in ("en", None)


def _english_lowercase(response: str, given: Arguments) -> bool:
    return response.islower() and language.detect(response) in ("en", None)


def _no_comma(response: str, given: Arguments) -> bool:
    return "," not in response


def _is_quoted(response: str, given: Arguments) -> bool:
    text = response.strip()
    return len(text) > 1 and text[0] == text[-1] == '"'


CHECKS: dict[str, Callable[[str, Arguments], bool]] = {
    "keywords:existence": _keywords_exist,
    "keywords:frequency": _keyword_frequency,
    "keywords:forbidden_words": _no_forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _in_language,
    "length_constraints:number_sentences": _sentence_count,
    "length_constraints:number_paragraphs": _paragraph_count,
    "length_constraints:number_words": _word_count,
    "length_constraints:nth_paragraph_first_word": _first_word_of_paragraph,
    "detectable_content:number_placeholders": _placeholder_count,
    "detectable_content:postscript": _has_postscript,
    "detectable_format:number_bullet_lists": _bullet_count,
    "detectable_format:constrained_response": _is_constrained_response,
    "detectable_format:number_highlighted_sections": _highlight_count,
    "detectable_format:multiple_sections": _section_count,
    "detectable_format:json_format": _is_json,
    "detectable_format:title": _has_title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeats_prompt,
    "startend:end_checker": _ends_with,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _english_capitals,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
    "startend:quotation": _is_quoted,
}
"""The checker of every instruction id in the official data."""
