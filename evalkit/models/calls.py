"""Requests and a function that makes one call in, responses as they finish out: threads, back-off, clean stops.

Shared by every provider that speaks to a server. Calls that may heal are tried again, with full-jitter back-off or
after the server's Retry-After; calls that cannot heal are not. One call's fault is one unscored response; a fault of
the whole server (key refused, model unknown, nothing answered any more) ends the run with an error. An answer counts as
in flight until the caller asks for the next one, so what is answered and not yet kept never exceeds the concurrency.
"""

import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from evalkit.errors import EvalkitError, ModelError
from evalkit.models.attempt import Allowance, attempt_within
from evalkit.models.limit import Limit
from evalkit.models.redact import redact
from evalkit.models.signals import Interrupts
from evalkit.task import Request, Response, UnscoredReason

if TYPE_CHECKING:
    from evalkit.models.prices import Budget
    from evalkit.models.server_options import ServerOptions

_LONGEST_WAIT = 60.0
_HOPELESS = 8
"""So many requests given up in a row, with no success between them, say that the server is gone."""

_log = logging.getLogger("evalkit")
_jitter = random.Random()
"""Apart from the program's own random numbers, which a seed may fix."""


class Faulty(Exception):
    """One call failed.

    Args:
        reason: what the response becomes unscored with, if no retry heals it.
        detail: the fault in words; secrets are masked here.
        retry: whether the same call may succeed later.
        overloaded: whether the server asked for less (429, 503): concurrency halves, and only the deadline ends trying.
        after: seconds the server asked to wait.
        general: whether every other request may fail the same way (a parameter the server does not take).
    """

    def __init__(
        self,
        reason: UnscoredReason,
        detail: str,
        *,
        retry: bool,
        overloaded: bool = False,
        after: float | None = None,
        general: bool = False,
    ) -> None:
        self.detail = redact(detail)
        super().__init__(self.detail)
        self.reason: UnscoredReason = reason
        self.retry = retry
        self.overloaded = overloaded
        self.after = after
        self.general = general


@dataclass(frozen=True)
class CallPolicy:
    """How hard to try; see `ServerOptions` for the fields."""

    concurrency: int
    max_retries: int
    deadline: float = 600.0
    first_wait: float = 0.5
    budget: "Budget | None" = None
    timeout: float = 120.0

    @classmethod
    def of(cls, options: "ServerOptions", budget: "Budget | None" = None) -> "CallPolicy":
        """The part of the options that concerns calls."""
        return cls(
            max(1, options.concurrency),
            max(0, options.max_retries),
            options.deadline,
            options.first_wait,
            budget,
            options.timeout,
        )

    def allowance(self, began: float) -> Allowance:
        """How long an attempt that begins now may take.

        Args:
            began: when the request's first attempt began (time.monotonic()).
        """
        now = time.monotonic()
        left = began + self.deadline - now if self.deadline else self.timeout
        seconds = max(0.0, min(self.timeout, left))
        return Allowance(seconds, now + seconds)

    def pause(self, fault: Faulty, attempts: int, retries: int) -> float | None:
        """Seconds to wait before the next attempt; None where there is to be none.

        Args:
            fault: what went wrong.
            attempts: how many attempts were made before the one that failed.
            retries: how many of them count against the retries allowed.
        """
        if not fault.retry or (not fault.overloaded and retries >= self.max_retries):
            return None
        if fault.after is not None:
            return fault.after + _jitter.uniform(0, 0.05 + fault.after / 10)
        return _jitter.uniform(0, min(_LONGEST_WAIT, self.first_wait * 2**attempts))


def given_up(request: Request, fault: Faulty, policy: CallPolicy, *, late: bool) -> Response:
    """The response to a request that failed for good; `late` where its deadline ended it."""
    detail = f"{fault.detail}; given up, its {policy.deadline:g} s are over" if late else fault.detail
    finish: Literal["refused", "error"] = "refused" if fault.reason == "refused" else "error"
    return Response(request.id, finish=finish, unscored=fault.reason, detail=detail)


Call = Callable[[Request], Response]


def answer_all(requests: Sequence[Request], call: Call, policy: CallPolicy) -> Iterator[Response]:
    """Yield one response per request as they finish.

    The first Ctrl-C (or SIGTERM) stops new calls and lets those in flight finish; the second one leaves at once.

    Raises the EvalkitError that says why no call can succeed, KeyboardInterrupt or Terminated, each after the calls
    that were in flight were yielded.
    """
    crew = _Crew(requests, call, policy)
    with Interrupts(crew.wake) as interrupts:
        crew.start()
        try:
            for response, holds_slot in crew.finished():
                yield response
                if holds_slot:
                    crew.limit.release()
        finally:
            crew.stop()
        interrupts.raise_if_any()
    if crew.fatal is not None:
        raise crew.fatal


_Finished = tuple[Response, bool]
"""(response, whether its slot is still held)."""


class _Crew:
    """Worker threads that take requests in order and put responses into a queue."""

    def __init__(self, requests: Sequence[Request], call: Call, policy: CallPolicy) -> None:
        self._requests = iter(requests)
        self._call = call
        self._policy = policy
        self._size = min(policy.concurrency, len(requests))
        self._working = self._size
        self._done: queue.SimpleQueue[_Finished | str] = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._succeeded = 0
        self._failed_in_row = 0
        self.limit = Limit(policy.concurrency)
        self.fatal: EvalkitError | None = None

    def start(self) -> None:
        if not self._working:
            self._done.put("over")
        for _ in range(self._working):
            threading.Thread(target=self._work, daemon=True).start()

    def stop(self) -> None:
        """No new call and no further retry; calls in flight end as they end."""
        self._stopped.set()
        self.limit.close()

    def wake(self) -> None:
        """Ask for a stop from a signal handler, where no lock may be taken."""
        self._done.put("stop")

    def finished(self) -> Iterator[_Finished]:
        """What is answered, until all workers are done."""
        while (item := self._done.get()) != "over":
            if isinstance(item, str):
                _log.warning(
                    "interrupted: finishing the calls in flight (interrupt again to leave at once); what is answered "
                    "is kept, so run the same command again to go on"
                )
                self.stop()
            else:
                yield item

    def _work(self) -> None:
        try:
            while (request := self._take()) is not None:
                done = self._answer(request)
                if self._policy.budget is not None:
                    self._policy.budget.settle(request, done and done[0])
                if done is not None:
                    self._done.put(done)
        except EvalkitError as error:
            self._end(error)
        except BaseException as error:  # a bug in a provider must end the run, not hang it
            self._end(EvalkitError(f"internal error while calling the model: {redact(repr(error))}"), error)
        finally:
            self._leave()

    def _end(self, fatal: EvalkitError, cause: BaseException | None = None) -> None:
        with self._lock:
            self.fatal = self.fatal or fatal
            self.fatal.__cause__ = self.fatal.__cause__ or cause
        self.stop()

    def _leave(self) -> None:
        with self._lock:
            self._working -= 1
            if self._working == 0:
                self._done.put("over")

    def _take(self) -> Request | None:
        with self._lock:
            request = None if self._stopped.is_set() else next(self._requests, None)
        budget = self._policy.budget
        if request is not None and budget is not None and not budget.reserve(request, self._stopped.is_set):
            if not self._stopped.is_set():
                self._end(budget.exhausted())
            return None
        return request

    def _answer(self, request: Request) -> _Finished | None:
        """None where the run was stopped before the call could be tried again."""
        began = time.monotonic()
        attempts = retries = 0
        while self.limit.acquire():
            started = time.monotonic()
            try:
                with attempt_within(self._policy.allowance(began)):
                    response = self._call(request)
            except Faulty as fault:
                self.limit.release()
                pause = self._policy.pause(fault, attempts, retries)
                late = pause is not None and time.monotonic() + pause > began + self._policy.deadline
                if fault.overloaded:
                    self.limit.overloaded(started, None if late else fault.after)
                if pause is None or late:
                    return self._give_up(request, fault, late=late), False
                attempts, retries = attempts + 1, retries + (not fault.overloaded)
                if self._stopped.wait(pause):
                    return None
            else:
                self._note_success()
                return replace(response, seconds=time.monotonic() - started), True
        return None

    def _note_success(self) -> None:
        self.limit.succeeded()
        with self._lock:
            self._succeeded += 1
            self._failed_in_row = 0

    def _give_up(self, request: Request, fault: Faulty, *, late: bool) -> Response:
        if fault.reason in {"http", "timeout"}:
            self._note_failure(fault)
        return given_up(request, fault, self._policy, late=late)

    def _note_failure(self, fault: Faulty) -> None:
        with self._lock:
            self._failed_in_row += 1
            useless = fault.general and not self._succeeded and self._failed_in_row >= self._size
            gone = self._failed_in_row >= max(_HOPELESS, self._size)
        if useless:
            self._end(ModelError(f"the server refuses every request: {fault.detail}"))
        elif gone:
            self._end(
                ModelError(
                    f"{self._failed_in_row} requests in a row failed, the last one with: {fault.detail}; what was "
                    "answered is kept, so run the same command again once the server is well"
                )
            )
