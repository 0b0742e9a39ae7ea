"""How long one attempt may take in, HTTP exchanges that keep to it out: httpx hooks for the clients of servers.

A client's own timeouts begin anew with every byte, so an answer that trickles in, or a stream of which nothing but
"still alive" comments come, would never end by them. The hooks bound every wait by the time that is left, and look at
the clock with every piece of a body.
"""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Allowance:
    """The time of one attempt."""

    seconds: float
    ends: float
    """On the clock of time.monotonic()."""


_allowed: ContextVar[Allowance | None] = ContextVar("allowed", default=None)


@contextmanager
def attempt_within(allowance: Allowance) -> Iterator[None]:
    """Hold the HTTP exchanges begun inside, on this thread, to an allowance, their bodies included."""
    token = _allowed.set(allowance)
    try:
        yield
    finally:
        _allowed.reset(token)


def seconds_allowed(otherwise: float) -> float:
    """What an exchange of this thread may take; `otherwise` where no attempt is being made."""
    allowance = _allowed.get()
    return otherwise if allowance is None else allowance.seconds


def hooks() -> dict[str, list[Callable[..., Any]]]:
    """The `event_hooks` of an httpx client (or httpx2, which openai 3 uses) that keep to `attempt_within`."""
    return {"request": [_bound_waits], "response": [_bound_body]}


def _bound_waits(request: Any) -> None:
    allowance = _allowed.get()
    if allowance is not None:
        left = max(0.001, allowance.ends - time.monotonic())
        waits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            name: left if waits.get(name) is None else min(left, waits[name])
            for name in ("connect", "read", "write", "pool")
        }


def _bound_body(response: Any) -> None:
    allowance = _allowed.get()
    if allowance is not None:
        bounded, late = _of_library(type(response).__module__.partition(".")[0])
        response.stream = bounded(response.stream, allowance.ends, late)


@lru_cache
def _of_library(name: str) -> tuple[Callable[..., Any], Callable[[str], Exception]]:
    """A bounded body as that library knows bodies, and what it raises where one is late."""
    library = sys.modules[name]
    return type("Bounded", (_Bounded, library.SyncByteStream), {}), library.ReadTimeout


class _Bounded:
    """A body whose reading fails once the time is over."""

    def __init__(self, stream: Any, ends: float, late: Callable[[str], Exception]) -> None:
        self._stream = stream
        self._ends = ends
        self._late = late

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._stream:
            if time.monotonic() > self._ends:
                raise self._late("the answer did not end in time")
            yield piece

    def close(self) -> None:
        self._stream.close()
