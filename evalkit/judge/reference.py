"""A response and its reference answer in, a score from 0 to 100 out, without any language model.

The default judge. It measures three likenesses from 0 to 1, each of which can only lower the score:

    answer    the words that the reference adds to the prompt ("27", "evaporation"), found in the response
    number    the numbers that answer the prompt, in order; 1 where the reference has none
    surface   the mean of token F1, ROUGE-L and character n-gram F1, over the whole texts or, where that is more,
              over the words that are neither in the prompt nor function words

    score = 100 · exp(−1.2·(1 − answer) − 1.9·(1 − number) − 1.8·(1 − surface))

so the score is bounded, never falls when a likeness rises, is 100 for an exact match (quotes, commas, full stops and
the way a number is written do not count; capitals do) and 0 for an empty response. The coefficients were fitted to
GPT-4's scores of one model's 100 answers and tested on another's; `docs/decisions/0004-reference-judge.md` says how.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from evalkit.digest import digest
from evalkit.judge import similarity
from evalkit.judge.verdict import Verdict, unscored

VERSION = "1"
"""Raised whenever the same texts would score differently."""
COEFFICIENTS: Mapping[str, float] = {"answer": 1.2, "number": 1.9, "surface": 1.8}
TOP = 100.0

_TURN_MARKER = re.compile(
    r"(?:^|\n)[ \t]*#{2,}[ \t]*(?:instruction|input|response)\b[ \t]*:?"
    r"|<\|[a-z_]{2,20}\|>|</?s>|<(?:start|end)_of_turn>",
    re.IGNORECASE,
)

Embed = Callable[[Sequence[str]], Sequence[Sequence[float]]]
"""Texts in, one vector each out; for example the `encode` method of a sentence-transformers model."""


@dataclass(frozen=True)
class ReferenceJudge:
    """Scores responses by their likeness to a reference answer."""

    embed: Embed | None = None
    """Adds the component "embedding" (cosine of the two sentence vectors). It is shown, never counted: the
    coefficients were fitted without it."""
    embedding: str | None = None
    """The name of what embeds: verdicts that show another likeness are other verdicts."""

    name = "reference"

    def fingerprint(self) -> str:
        """Changes when the same texts may score differently, or show another likeness."""
        content: dict[str, object] = {"judge": self.name, "version": VERSION, "coefficients": dict(COEFFICIENTS)}
        return digest(content if self.embedding is None else {**content, "embedding": self.embedding})

    def score(self, instruction: str, input: str, reference: str | Sequence[str], response: str) -> Verdict:
        """Score one response, 0 to 100; of several reference answers the nearest one counts.

        The verdict's components are the likenesses (0 to 1), counted or only shown. A missing reference is unscored.
        """
        references = [text for text in _as_list(reference) if text.strip()]
        if not references:
            return unscored("empty", "there is no reference answer to compare with")
        answer = first_turn(response)
        if not answer:
            return Verdict(score=0.0, components={"exact": 0.0})
        prompt = f"{instruction}\n{input}"
        return max((self._compare(prompt, text, answer) for text in references), key=lambda v: v.score or 0.0)

    def _compare(self, prompt: str, reference: str, response: str) -> Verdict:
        components = likenesses(prompt, first_turn(reference) or reference, response)
        if self.embed is not None:
            components["embedding"] = _cosine(*self.embed([reference, response]))
        loss = sum(weight * (1.0 - components.get(name, 1.0)) for name, weight in COEFFICIENTS.items())
        return Verdict(score=TOP if components["exact"] else TOP * math.exp(-loss), components=components)


def likenesses(prompt: str, reference: str, response: str) -> dict[str, float]:
    """Every likeness of a response to a reference, 0 to 1; "number" is absent where the reference has no number."""
    found = {
        "exact": float(_plain(reference) == _plain(response)),
        "answer": similarity.answer_f(reference, response, prompt),
        **_surface(reference, response),
    }
    # A short answer need not repeat the question, as a reference often does.
    core, answer = similarity.answer_part(reference, prompt), similarity.answer_part(response, prompt)
    if core:
        found["surface"] = max(found["surface"], _surface(core, answer)["surface"])
    number = similarity.number_f(reference, response, prompt)
    return found if number is None else {**found, "number": number}


def _surface(reference: str, response: str) -> dict[str, float]:
    words, answer = similarity.tokens(reference), similarity.tokens(response)
    found = {
        "token_f1": similarity.f_score(words, answer),
        "rouge_l": similarity.rouge_l(words, answer),
        "char_ngrams": similarity.char_ngram_f(reference, response),
    }
    return {**found, "surface": sum(found.values()) / len(found)}


def first_turn(text: str) -> str:
    """The text up to the point where the model began to write the next turn of its own conversation."""
    for piece in _TURN_MARKER.split(text):
        if piece.strip():
            return piece.strip()
    return ""


def _plain(text: str) -> tuple[list[str], str]:
    """What an exact match compares: the tokens with their case, and whether it asks or exclaims."""
    ending = text.rstrip("\"'”’»` \n")[-1:]
    return similarity.tokens(text, lower=False), ending if ending in {"?", "!"} else ""


def _as_list(reference: str | Sequence[str]) -> list[str]:
    return [reference] if isinstance(reference, str) else list(reference)


def _cosine(first: Sequence[float], second: Sequence[float]) -> float:
    dot = math.fsum(a * b for a, b in zip(first, second, strict=True))
    length = math.hypot(*first) * math.hypot(*second)
    return dot / length if length else 0.0
