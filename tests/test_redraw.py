"""A reply that cannot be scored is asked for as another draw, which is cached, counted and said so."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from evalkit.aggregate import mean_metric
from evalkit.cache import Cache, request_key
from evalkit.record import Metrics
from evalkit.redraw import RETRIED, RETRY_TEMPERATURE, attempt_of, drawn_again
from evalkit.runner import DryRun, RunOptions, run
from evalkit.task import Outcome, Params, Request, Response, Sample, Task

ASKED = Request("s#1", "question", params=Params(temperature=0.0, seed=3), repeat=1)


class Deterministic:
    """Says the same thing to the same request; at temperature 0 a thing that cannot be scored."""

    name, style = "fake/deterministic", "alpaca"

    def __init__(self, fault: str | None = None) -> None:
        self.fault = fault
        self.asked: list[Request] = []

    def fingerprint(self) -> str:
        return "deterministic@1"

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        for request in requests:
            self.asked.append(request)
            tokens = {"prompt_tokens": 10, "completion_tokens": 2}
            if request.params.temperature > 0:
                yield Response(request.id, "7", **tokens)  # type: ignore[arg-type]
            elif self.fault is not None:
                yield Response(request.id, finish="refused", unscored=self.fault, **tokens)  # type: ignore[arg-type]
            else:
                yield Response(request.id, "seven", **tokens)  # type: ignore[arg-type]

    def usage(self) -> Mapping[str, float]:
        return {}


def numbers(retries: int) -> Task:
    def score(_: Sample, response: Response) -> Outcome:
        if not response.text.isdecimal():
            return Outcome(unscored="unparsable", detail=response.text)
        return Outcome({"score": float(response.text)})

    return Task(
        name="numbers",
        protocol="numbers/1",
        samples=(Sample("a", {"q": "one"}), Sample("b", {"q": "two"})),
        render=lambda sample, style: Request(sample.id, str(sample.fields["q"])),
        score=score,
        aggregate=lambda rows: Metrics({"score": mean_metric(rows, "score")}),
        primary="score",
        retries=retries,
    )


@pytest.fixture
def options(tmp_path: Path) -> Iterator[RunOptions]:
    with Cache(tmp_path / "cache.sqlite") as cache:
        yield RunOptions(tmp_path, cache)


def test_the_first_attempt_is_the_request_itself() -> None:
    assert drawn_again(ASKED, 0) is ASKED
    assert attempt_of(ASKED) == 0


def test_every_attempt_is_another_call_to_the_cache() -> None:
    repeats = [replace(ASKED, repeat=index) for index in range(3)]
    draws = [drawn_again(request, attempt) for request in repeats for attempt in range(4)]
    assert len({request_key("model", draw) for draw in draws}) == 12
    assert [attempt_of(draw) for draw in draws] == [0, 1, 2, 3] * 3


def test_a_retry_of_a_question_at_temperature_0_is_drawn_at_another_and_keeps_the_rest() -> None:
    again = drawn_again(ASKED, 1)
    assert again.params == replace(ASKED.params, temperature=RETRY_TEMPERATURE, max_tokens=1024)
    assert (again.id, again.prompt) == (ASKED.id, ASKED.prompt)
    warm = replace(ASKED, params=Params(temperature=0.2))
    assert drawn_again(warm, 2).params.temperature == 0.2


@pytest.mark.parametrize(
    ("max_tokens", "room"),
    [(16, [16, 64, 256]), (2048, [2048, 4096, 4096]), (9000, [9000] * 3), (1, [1] * 3), (0, [0] * 3)],
)
def test_a_retry_has_more_room_but_no_more_than_servers_take(max_tokens: int, room: list[int]) -> None:
    asked = replace(ASKED, params=Params(max_tokens=max_tokens))
    assert [drawn_again(asked, attempt).params.max_tokens for attempt in range(3)] == room


class Wordy(Deterministic):
    """Says its verdict after 100 tokens of thoughts, or is cut before."""

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        for request in requests:
            self.asked.append(request)
            whole = request.params.max_tokens >= 100
            yield Response(request.id, "7" if whole else "Well, ", finish="stop" if whole else "length")


def test_a_reply_that_was_cut_heals_because_a_retry_has_more_room(options: RunOptions) -> None:
    short = replace(numbers(2), render=lambda sample, _: Request(sample.id, "q", params=Params(max_tokens=30)))
    assert [row.scores for row in run(short, Wordy(), options).rows] == [{"score": 7.0}, {"score": 7.0}]


def test_a_retry_heals_what_a_deterministic_server_would_only_repeat(options: RunOptions) -> None:
    made = run(numbers(2), Deterministic(), options)
    assert [row.scores for row in made.rows] == [{"score": 7.0}, {"score": 7.0}]
    assert [row.extra["retries"] for row in made.rows] == [1, 1]
    assert [row.repeat for row in made.rows] == [0, 0]


def test_a_run_says_how_many_retries_it_spent_and_counts_their_tokens(options: RunOptions) -> None:
    usage = run(numbers(2), Deterministic(), options).manifest.usage
    assert (usage["calls"], usage["retries"]) == (4, 2)
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (40, 8)
    assert run(numbers(0), Deterministic(), options).manifest.usage["retries"] == 0


def test_a_healed_answer_is_replayed_and_nothing_is_asked_twice(options: RunOptions) -> None:
    first = run(numbers(2), Deterministic(), options)
    again = Deterministic()
    replayed = run(numbers(2), again, options)
    assert again.asked == []
    assert [(row.scores, row.extra) for row in replayed.rows] == [(row.scores, row.extra) for row in first.rows]
    assert replayed.manifest.usage["retries"] == 0


def test_a_dry_run_knows_the_healed_answers(options: RunOptions) -> None:
    run(numbers(2), Deterministic(), options)
    with pytest.raises(DryRun) as plan:
        run(numbers(2), Deterministic(), replace(options, dry_run=True))
    assert (len(plan.value.waiting), plan.value.cached) == (0, 2)


def test_without_retries_a_healed_answer_is_not_taken_for_a_first_one(options: RunOptions) -> None:
    run(numbers(2), Deterministic(), options)
    made = run(numbers(0), Deterministic(), options)
    assert [row.unscored for row in made.rows] == ["unparsable", "unparsable"]


def test_a_refusal_is_drawn_again(options: RunOptions) -> None:
    made = run(numbers(1), Deterministic("refused"), options)
    assert [row.unscored for row in made.rows] == [None, None]


def test_what_a_server_could_not_deliver_is_not_drawn_again(options: RunOptions) -> None:
    model = Deterministic("timeout")
    made = run(numbers(3), model, options)
    assert [row.unscored for row in made.rows] == ["timeout", "timeout"]
    assert len(model.asked) == 2
    assert not RETRIED & {"http", "timeout", "too_long", "sandbox"}
