"""Token log-probabilities as servers give them in, one Continuation per text that was asked about out.

Two ways. Short texts (" A" to " D", " yes", " no") are read from the alternatives for the first generated token: one
call per question. Longer texts need a server that gives the log-probabilities of the prompt itself: each text is
appended to the prompt and its tokens are added up.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from evalkit.errors import ModelError
from evalkit.models.calls import Faulty
from evalkit.task import Continuation, Response

_NONE_GIVEN = "the server gave no log-probabilities"
_SHORT = 5
"""Characters; up to here a word is one token in every common tokenizer."""
_SPACES = " \u0120\u2581"
"""A blank, and how byte-level and SentencePiece tokenizers write it."""


def are_short(continuations: Sequence[str]) -> bool:
    """Whether every text can be one token: one word of at most five characters."""
    words = [text.strip() for text in continuations]
    return all(0 < len(word) <= _SHORT and len(word.split()) == 1 for word in words)


def read_first_token(
    request_id: str, continuations: Sequence[str], alternatives: Sequence[tuple[str, float]]
) -> Response:
    """The log-probability of each short text as the first generated token.

    A text counts in all its spellings, with and without a leading space, added up. A text that is not among the
    alternatives is less likely than each of them and gets the next smaller number; the detail names it. Where none is
    among them the response is unscored as "not_offered".

    Args:
        request_id: goes into the response.
        continuations: the texts asked about.
        alternatives: (token, natural log of its probability) for the first generated token, likeliest first.
    """
    if not alternatives:
        raise _no_logprobs()
    offered = _by_text(alternatives)
    found = [offered.get(_bare(text)) for text in continuations]
    if all(value is None for value in found):
        shown = ", ".join(repr(token) for token, _ in alternatives[:5])
        detail = f"none of {list(continuations)} is among the {len(alternatives)} likeliest tokens, first {shown}"
        return Response(request_id, unscored="not_offered", detail=detail)
    below = math.nextafter(min(value for _, value in alternatives), -math.inf)
    greedy = _bare(alternatives[0][0])
    values = [below if value is None else value for value in found]
    missing = [text for text, value in zip(continuations, found, strict=True) if value is None]
    return Response(
        request_id,
        continuations=tuple(
            Continuation(value, _bare(text) == greedy, 1) for text, value in zip(continuations, values, strict=True)
        ),
        detail=_note(missing, len(alternatives), below),
    )


def _note(missing: Sequence[str], count: int, below: float) -> str:
    if not missing:
        return ""
    return f"{', '.join(map(repr, missing))} not among the {count} likeliest tokens: counted as at most {below:.3f}"


def _by_text(alternatives: Sequence[tuple[str, float]]) -> dict[str, float]:
    """The log of the summed probability of all spellings of each text."""
    total: dict[str, float] = {}
    for token, value in alternatives:
        text = _bare(token)
        total[text] = _log_add(total[text], value) if text in total else value
    return total


def _bare(token: str) -> str:
    return token.lstrip(_SPACES).strip()


def _log_add(first: float, second: float) -> float:
    high, low = max(first, second), min(first, second)
    return high + math.log1p(math.exp(low - high))


def read_echo(prompt: str, continuation: str, choice: Mapping[str, Any]) -> Continuation:
    """Add up the tokens of one continuation in an echoed prompt.

    A token that begins in the prompt and ends in the continuation counts as the continuation's.

    Args:
        prompt: what stands before.
        continuation: the text asked about.
        choice: a completion's choice, asked with `echo` and `logprobs`: tokens, token_logprobs, top_logprobs and
            text_offset (in characters).

    Raises Faulty where the server did not give the prompt's log-probabilities.
    """
    tokens, values, tops, starts = _columns(choice.get("logprobs"))
    begin, end = len(prompt), len(prompt) + len(continuation)
    ends = [*starts[1:], math.inf]
    inside = [index for index, start in enumerate(starts) if ends[index] > begin and start < end]
    if starts[0] != 0 or not inside or any(values[index] is None for index in inside):
        raise Faulty(
            "http",
            "the server gives no log-probabilities of the prompt (echo), which answers of several tokens need",
            retry=False,
            general=True,
        )
    greedy = all(_is_best(tokens[index], tops[index]) for index in inside)
    return Continuation(math.fsum(values[index] for index in inside), greedy, len(inside))


def _no_logprobs() -> Faulty:
    return Faulty("http", f"{_NONE_GIVEN}: ask with a protocol that generates", retry=False, general=True)


def lacks_logprobs(error: ModelError) -> bool:
    """Whether a model answered nothing because its server gives, or takes a wish for, no log-probabilities."""
    return _NONE_GIVEN in str(error) or ("HTTP 4" in str(error) and "logprobs" in str(error))


def _columns(logprobs: Any) -> tuple[list[Any], list[Any], list[Any], list[int]]:
    names = ("tokens", "token_logprobs", "top_logprobs", "text_offset")
    columns: list[Any] = [logprobs.get(name) for name in names] if isinstance(logprobs, Mapping) else []
    if not columns or not all(isinstance(column, list) and column for column in columns):
        raise _no_logprobs()
    if len({len(column) for column in columns}) != 1:
        raise Faulty("http", "the lists of log-probabilities differ in length", retry=True)
    return columns[0], columns[1], columns[2], columns[3]


def _is_best(token: str, top: Any) -> bool:
    return isinstance(top, Mapping) and bool(top) and max(top, key=lambda name: top[name]) == token
