"""A question whose reply could not be scored in, the same question as another draw out.

A retry is a call of its own: its repeat index lies far above those of `--repeats`, so that the cache, a server's seed
and a batch all take it for another draw, and it is never asked at temperature 0, where a deterministic server would
only say the same thing again. Asked again later, a Run finds the retry in the cache as it finds any other answer.
"""

from dataclasses import replace

from evalkit.task import Outcome, Request

RETRY_TEMPERATURE = 0.7
"""What a question asked at temperature 0 is retried at."""
RETRIED = frozenset({"unparsable", "conflicting", "not_offered", "truncated", "empty", "refused"})
"""Reasons that another draw may heal; what a server could not deliver was tried again by its client."""
_STRIDE = 1_000_000


def drawn_again(request: Request, attempt: int) -> Request:
    """The draw that a request is asked as at its nth attempt, counted from 0; attempt 0 is the request itself."""
    if attempt == 0:
        return request
    params = replace(request.params, temperature=request.params.temperature or RETRY_TEMPERATURE)
    return replace(request, params=params, repeat=request.repeat + attempt * _STRIDE)


def attempt_of(request: Request) -> int:
    """Which attempt a request is; 0 for one that is no retry."""
    return request.repeat // _STRIDE


def with_retries(outcome: Outcome, attempt: int) -> Outcome:
    """The outcome, saying in `extra` how many replies before this one could not be scored."""
    return outcome if attempt == 0 else replace(outcome, extra={**outcome.extra, "retries": attempt})
