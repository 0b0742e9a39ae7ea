"""The crew that makes calls: retries, back-off, adaptive concurrency, deadlines, clean stops."""

import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Sequence

import pytest

from evalkit.errors import EvalkitError, ModelError, UsageError
from evalkit.models.calls import CallPolicy, Faulty, answer_all
from evalkit.models.limit import Limit
from evalkit.models.signals import Terminated
from evalkit.task import Request, Response

POLICY = CallPolicy(concurrency=4, max_retries=3, deadline=20.0, first_wait=0.001)


def requests(count: int) -> list[Request]:
    return [Request(str(index), f"prompt {index}") for index in range(count)]


def collect(call: Callable[[Request], Response], count: int, policy: CallPolicy = POLICY) -> dict[str, Response]:
    return {response.request_id: response for response in answer_all(requests(count), call, policy)}


def echo(request: Request) -> Response:
    return Response(request.id, text=str(request.prompt))


class Failing:
    """Fails the first calls of every request, then answers."""

    def __init__(self, faults: Sequence[Faulty]) -> None:
        self.faults = faults
        self.calls: dict[str, int] = {}

    def __call__(self, request: Request) -> Response:
        seen = self.calls.get(request.id, 0)
        self.calls[request.id] = seen + 1
        if seen < len(self.faults):
            raise self.faults[seen]
        return echo(request)


def busy(after: float | None = None) -> Faulty:
    return Faulty("http", "HTTP 429: slow down", retry=True, overloaded=True, after=after)


def broken() -> Faulty:
    return Faulty("http", "HTTP 500: broken", retry=True)


def test_every_request_is_answered_once() -> None:
    assert {key: response.text for key, response in collect(echo, 50).items()} == {
        str(index): f"prompt {index}" for index in range(50)
    }


def test_no_requests_give_no_responses() -> None:
    assert collect(echo, 0) == {}


def test_a_fault_that_heals_is_tried_again_until_it_does() -> None:
    call = Failing([broken(), broken(), broken()])
    assert all(response.unscored is None for response in collect(call, 6).values())
    assert set(call.calls.values()) == {4}


def test_a_fault_that_stays_is_one_unscored_response_after_the_last_retry() -> None:
    call = Failing([broken()] * 10)
    found = collect(call, 1)["0"]
    assert (found.unscored, found.finish, found.detail) == ("http", "error", "HTTP 500: broken")
    assert call.calls == {"0": 4}


def test_a_fault_that_cannot_heal_is_not_tried_again() -> None:
    call = Failing([Faulty("too_long", "too long", retry=False)] * 10)
    assert collect(call, 3)["1"].unscored == "too_long"
    assert set(call.calls.values()) == {1}


def test_an_overload_is_waited_out_beyond_the_retries() -> None:
    call = Failing([busy()] * 6)
    assert all(response.unscored is None for response in collect(call, 2).values())


def test_retry_after_is_honoured_by_all_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call is answered before the gate is shut, so those that began before it opens were in flight already."""
    started: list[float] = []
    shut, lock = threading.Event(), threading.Lock()
    close_gate = Limit.overloaded

    def overloaded(limit: Limit, began: float, pause: float | None) -> None:
        close_gate(limit, began, pause)
        shut.set()

    monkeypatch.setattr(Limit, "overloaded", overloaded)

    def call(request: Request) -> Response:
        with lock:
            started.append(time.monotonic())
            first = len(started) == 1
        if first:
            raise busy(after=0.3)
        shut.wait(60)
        return echo(request)

    collect(call, 12, CallPolicy(4, 3, 60.0, 0.001))
    assert len(started) == 13
    assert sum(moment - started[0] < 0.3 for moment in started) <= 4


def test_a_retry_after_beyond_the_deadline_gives_the_item_up_at_once() -> None:
    call = Failing([busy(after=1e9)])
    found = collect(call, 1, CallPolicy(1, 3, 500.0, 0.001))["0"]
    assert found.unscored == "http"
    assert "500 s are over" in found.detail


def test_an_absurd_retry_after_ends_the_run_and_closes_the_gate_for_nobody() -> None:
    with pytest.raises(ModelError, match="8 requests in a row failed"):
        collect(Failing([busy(after=1e9)] * 3), 100, CallPolicy(4, 3, 500.0, 0.001))


def test_no_attempt_begins_after_the_deadline() -> None:
    began: list[float] = []

    def call(request: Request) -> Response:
        began.append(time.monotonic())
        raise busy()

    assert collect(call, 1, CallPolicy(1, 3, 0.3, 0.05))["0"].unscored == "http"
    # The first attempt begins a moment after the deadline was set.
    assert began[-1] - began[0] <= 0.3


def test_full_jitter_waits_between_nothing_and_the_doubled_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[float, float]] = []
    monkeypatch.setattr("random.Random.uniform", lambda self, low, high: asked.append((low, high)) or 0.0)
    collect(Failing([broken()] * 3), 1, CallPolicy(1, 3, 20.0, 0.5))
    assert asked == [(0, 0.5), (0, 1.0), (0, 2.0)]


def test_an_error_of_the_whole_server_ends_the_run_after_at_most_one_call_per_worker() -> None:
    made: list[str] = []

    def call(request: Request) -> Response:
        made.append(request.id)
        time.sleep(0.02)
        raise ModelError("the key is refused")

    with pytest.raises(ModelError, match="key is refused"):
        collect(call, 100)
    assert len(made) <= 4


def test_answers_in_flight_are_kept_when_another_call_ends_the_run() -> None:
    all_begun = threading.Barrier(4, timeout=5.0)

    def call(request: Request) -> Response:
        all_begun.wait()
        if request.id == "0":
            raise UsageError("no such model")
        time.sleep(0.05)
        return echo(request)

    kept = []
    with pytest.raises(UsageError, match="no such model"):
        kept.extend(answer_all(requests(50), call, POLICY))
    assert {response.request_id for response in kept} == {"1", "2", "3"}


def test_a_server_that_is_gone_ends_the_run_and_says_how_to_go_on() -> None:
    call = Failing([broken()] * 10)
    kept = []
    with pytest.raises(ModelError, match=r"8 requests in a row failed.*HTTP 500: broken.*same command again"):
        kept.extend(answer_all(requests(1000), call, CallPolicy(4, 0, 20.0, 0.001)))
    assert all(response.unscored == "http" for response in kept)
    assert len(kept) < 20


def test_failures_with_successes_between_them_do_not_end_the_run() -> None:
    def call(request: Request) -> Response:
        if int(request.id) % 5 == 0:
            raise broken()
        return echo(request)

    found = collect(call, 100, CallPolicy(4, 0, 20.0, 0.001))
    assert sum(response.unscored == "http" for response in found.values()) == 20


def test_a_parameter_that_every_call_is_refused_for_ends_the_run_early() -> None:
    call = Failing([Faulty("http", "HTTP 400: no logprobs here", retry=False, general=True)] * 2)
    with pytest.raises(ModelError, match="refuses every request: HTTP 400"):
        collect(call, 100)
    assert len(call.calls) <= 8


def test_one_bad_request_among_good_ones_is_only_its_own_fault() -> None:
    def call(request: Request) -> Response:
        if request.id == "7":
            raise Faulty("http", "HTTP 400: odd text", retry=False, general=True)
        return echo(request)

    assert [key for key, response in collect(call, 20).items() if response.unscored] == ["7"]


def test_a_bug_in_a_provider_is_reported_and_does_not_hang() -> None:
    def call(request: Request) -> Response:
        raise ZeroDivisionError("oops")

    with pytest.raises(EvalkitError, match=r"internal error.*oops") as caught:
        collect(call, 10)
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_a_bug_that_quotes_a_key_does_not_print_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "canary-0123456789")

    def call(request: Request) -> Response:
        raise ZeroDivisionError("with canary-0123456789")

    with pytest.raises(EvalkitError) as caught:
        collect(call, 1)
    assert "canary" not in str(caught.value)


def test_what_is_answered_and_not_yet_taken_never_exceeds_the_concurrency() -> None:
    begun: list[str] = []

    def call(request: Request) -> Response:
        begun.append(request.id)
        return echo(request)

    for taken, _ in enumerate(answer_all(requests(40), call, CallPolicy(3, 0))):
        time.sleep(0.003)
        assert len(begun) <= taken + 3


def test_leaving_the_loop_early_stops_further_calls() -> None:
    made: list[str] = []

    def call(request: Request) -> Response:
        made.append(request.id)
        return echo(request)

    responses = answer_all(requests(1000), call, POLICY)
    next(responses)
    responses.close()
    time.sleep(0.05)
    assert len(made) <= 8


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)])
def test_the_first_interrupt_lets_the_calls_in_flight_finish(
    number: signal.Signals, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    before = signal.getsignal(number)
    made: list[str] = []

    def call(request: Request) -> Response:
        made.append(request.id)
        if len(made) == 4:
            os.kill(os.getpid(), number)
        time.sleep(0.1)
        return echo(request)

    kept: list[Response] = []
    with caplog.at_level(logging.WARNING, "evalkit"), pytest.raises(error):
        kept.extend(answer_all(requests(100), call, POLICY))
    assert {response.request_id for response in kept} == set(made)
    assert len(made) <= 5
    assert "finishing the calls in flight" in caplog.text
    assert signal.getsignal(number) is before


def test_the_second_interrupt_leaves_at_once() -> None:
    never = threading.Event()

    def call(request: Request) -> Response:
        never.wait(60)
        return echo(request)

    def interrupt_twice() -> None:
        for _ in range(2):
            time.sleep(0.1)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt_twice).start()
    kept: list[Response] = []
    with pytest.raises(KeyboardInterrupt):
        kept.extend(answer_all(requests(10), call, POLICY))
    assert kept == []
    never.set()


def test_handlers_of_the_application_are_left_alone() -> None:
    mine = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        handler = signal.getsignal(signal.SIGTERM)
        for _ in answer_all(requests(2), echo, POLICY):
            assert signal.getsignal(signal.SIGTERM) is handler
    finally:
        signal.signal(signal.SIGTERM, mine)


def test_concurrency_halves_once_for_calls_refused_together() -> None:
    limit = Limit(16)
    began = time.monotonic()
    for _ in range(10):
        limit.overloaded(began, None)
    assert limit.allowed == 8


def test_concurrency_grows_by_one_after_as_many_successes_as_are_allowed() -> None:
    limit = Limit(16)
    limit.overloaded(time.monotonic(), None)
    for _ in range(9):
        limit.succeeded()
    assert limit.allowed == 9
    for _ in range(1000):
        limit.succeeded()
    assert limit.allowed == 16


def test_concurrency_never_falls_below_one() -> None:
    limit = Limit(4)
    for _ in range(10):
        limit.overloaded(time.monotonic(), None)
    assert limit.allowed == 1


def test_an_overloaded_server_is_asked_less_at_once() -> None:
    """A server that takes two calls at a time and refuses the rest is soon asked no more than about that."""
    flying, peaks, lock = [0], [], threading.Lock()

    def call(request: Request) -> Response:
        with lock:
            flying[0] += 1
            peaks.append(flying[0])
            full = flying[0] > 2
        try:
            time.sleep(0.002)
            if full:
                raise busy()
            return echo(request)
        finally:
            with lock:
                flying[0] -= 1

    assert len(collect(call, 150, CallPolicy(16, 3, 30.0, 0.001))) == 150
    late = peaks[len(peaks) // 2 :]
    assert sum(late) / len(late) < 6
