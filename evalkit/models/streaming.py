"""A request in, the response's text piece by piece out, from models that can tell it as it grows.

`stream` is an optional capability, as `loglikelihood` is: where a model lacks it, its answer comes in one piece. The
last thing that comes is the finished Response, the same that `generate` would have given; closing the iterator stops
the work on it.
"""

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import replace
from typing import Protocol, TypeAlias, runtime_checkable

from evalkit.models import Model
from evalkit.models.attempt import attempt_within
from evalkit.models.calls import CallPolicy, Faulty, given_up
from evalkit.task import Request, Response

Streamed: TypeAlias = Generator[str | Response, None, None]
"""Pieces of text that add up to the response's text, then the Response."""


@runtime_checkable
class StreamingModel(Model, Protocol):
    """A Model that also tells a response as it grows."""

    def stream(self, request: Request) -> Streamed:
        """Yield the response's text in pieces, then the Response; may be called from several threads at once.

        A fault is the Response's `unscored`, as with `generate`; pieces told before it are no answer.

        Raises ModelError where no request can be answered at all.
        """
        ...


def stream(model: Model, request: Request) -> Streamed:
    """One answer as it grows; in one piece from a model that cannot tell more."""
    if isinstance(model, StreamingModel):
        yield from model.stream(request)
        return
    for response in model.generate([request]):
        if response.text:
            yield response.text
        yield response


def whole(streamed: Streamed) -> Response:
    """The Response that a stream ends with."""
    *_, last = streamed
    if isinstance(last, str):
        raise TypeError("a stream ends with its Response")
    return last


def stream_from_server(request: Request, call: Callable[[Request], Streamed], policy: CallPolicy) -> Streamed:
    """One streamed answer of a server, within the budget; tried again as long as nothing of it was told.

    Args:
        request: what to ask.
        call: makes one attempt; raises Faulty where it fails.
        policy: how hard to try, and what may be spent.

    Raises the EvalkitError that says why no call can succeed.
    """
    budget = policy.budget
    if budget is None:
        yield from _tried(request, call, policy)
        return
    if not budget.reserve(request, lambda: False):
        raise budget.exhausted()
    # A call that was left before its end costs what the server made of it, at most the dearest case.
    spent = Response(request.id)
    try:
        for piece in _tried(request, call, policy):
            spent = spent if isinstance(piece, str) else piece
            yield piece
    finally:
        budget.settle(request, spent)


def _tried(request: Request, call: Callable[[Request], Streamed], policy: CallPolicy) -> Streamed:
    started = time.monotonic()
    attempts = retries = 0
    while True:
        told = False
        try:
            with closing(call(request)) as pieces:
                allowance = policy.allowance(started)
                while True:
                    with attempt_within(allowance):
                        piece = next(pieces, None)
                    if piece is None:
                        return
                    told = True
                    yield piece if isinstance(piece, str) else replace(piece, seconds=time.monotonic() - started)
        except Faulty as fault:
            pause = None if told else policy.pause(fault, attempts, retries)
            late = pause is not None and time.monotonic() + pause > started + policy.deadline
            if pause is None or late:
                yield given_up(request, fault, policy, late=late)
                return
            attempts, retries = attempts + 1, retries + (not fault.overloaded)
        time.sleep(pause)
