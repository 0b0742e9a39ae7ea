"""An answer in progress in, the part of its text that later tokens cannot change out, pass by pass."""

from collections.abc import Iterator, Sequence

from transformers import PreTrainedTokenizerBase

from evalkit.engine.answers import Answer, decode
from evalkit.engine.generate import Generation
from evalkit.engine.types import GenerateResult

_HALF = "\N{REPLACEMENT CHARACTER}"
"""What the decoder writes for bytes that are no whole character yet."""


def grow(answer: Answer, generation: Generation, tokenizer: PreTrainedTokenizerBase) -> Iterator[str | GenerateResult]:
    """Yield the new text after every pass, empty where there is none, then the result.

    Args:
        answer: what is generated.
        generation: generates it, and nothing else.
        tokenizer: the model's.
    """
    told = ""
    while not generation.done:
        for result in generation.advance():
            yield _after(told, result.text)
            yield result
            return
        new = _after(told, settled(decode(tokenizer, answer.tokens), answer.item.stop))
        told += new
        yield new


def settled(text: str, stops: Sequence[str]) -> str:
    """A text without an end that later tokens may change: half characters, and what may become a stop string."""
    whole = text.rstrip(_HALF)
    return whole[: len(whole) - max((_begun(whole, stop) for stop in stops), default=0)]


def _after(told: str, text: str) -> str:
    """What is new of a text; nothing where the decoder has rewritten what was told."""
    return text[len(told) :] if text.startswith(told) else ""


def _begun(text: str, stop: str) -> int:
    """How many of the stop string's first characters the text ends with."""
    return next((size for size in range(min(len(stop), len(text)), 0, -1) if text.endswith(stop[:size])), 0)
