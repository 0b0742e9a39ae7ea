"""A question whose reply could not be scored in, the same question as another draw out.

A retry is a call of its own: its repeat index lies far above those of `--repeats`, so that the cache, a server's seed
and a batch all take it for another draw, and it is never asked at temperature 0, where a deterministic server would
only say the same thing again. It may also be longer, because a reply that was cut would only be cut again. Asked again
later, a Run finds the retry in the cache as it finds any other answer.
"""

from dataclasses import replace

from evalkit.task import Outcome, Request

RETRY_TEMPERATURE = 0.7
"""What a question asked at temperature 0 is retried at."""
RETRIED = frozenset({"unparsable", "conflicting", "not_offered", "truncated", "empty", "refused"})
"""Reasons that another draw may heal; what a server could not deliver was tried again by its client."""
_ROOM_FACTOR = 4
_MOST_ROOM = 4096
"""Tokens of an answer that no common server refuses to write."""
_STRIDE = 1_000_000


def drawn_again(request: Request, attempt: int) -> Request:
    """The draw that a request is asked as at its nth attempt, counted from 0; attempt 0 is the request itself."""
    if attempt == 0:
        return request
    room = longest_answer(request.params.max_tokens, attempt)
    params = replace(request.params, temperature=request.params.temperature or RETRY_TEMPERATURE, max_tokens=room)
    return replace(request, params=params, repeat=request.repeat + attempt * _STRIDE)


def longest_answer(max_tokens: int, attempt: int) -> int:
    """Tokens that the answer to the nth attempt may have: four times those of the one before, as far as 4,096.

    A question that one token answers (or none, settled without asking) stays one.
    """
    return max_tokens if max_tokens < 2 else max(max_tokens, min(_MOST_ROOM, max_tokens * _ROOM_FACTOR**attempt))


def attempt_of(request: Request) -> int:
    """Which attempt a request is; 0 for one that is no retry."""
    return request.repeat // _STRIDE


def with_retries(outcome: Outcome, attempt: int) -> Outcome:
    """The outcome, saying in `extra` how many replies before this one could not be scored."""
    return outcome if attempt == 0 else replace(outcome, extra={**outcome.extra, "retries": attempt})
