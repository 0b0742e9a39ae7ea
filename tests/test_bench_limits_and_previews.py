"""What a limit counts where an item is asked several ways, and what an unfinished run asks of a toxicity service."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from bench_cases import write

from evalkit.benchmarks import TaskOptions, load_task
from evalkit.benchmarks.bench import open_bench, run_stages
from evalkit.benchmarks.helm import PanelOptions, with_panel
from evalkit.benchmarks.toxicity import Toxicity
from evalkit.cache import Cache
from evalkit.errors import ModelError
from evalkit.record import read_run
from evalkit.runner import RunOptions, run
from evalkit.task import Request, Response

QUESTIONS = [{"question": f"How many has he, {n}?", "answer": f"So. #### {n}"} for n in range(4)]


class Counting:
    """Answers everything, and stops the run after so many answers."""

    name, style = "fake/counting", "plain"

    def __init__(self, stop_after: int = 99) -> None:
        self.asked = 0
        self.stop_after = stop_after

    def fingerprint(self) -> str:
        return self.name

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        for request in requests:
            if self.asked == self.stop_after:
                raise KeyboardInterrupt
            self.asked += 1
            yield Response(request.id, f"Answer {request.id} is yes")

    def usage(self) -> Mapping[str, float]:
        return {}


class Grader:
    """Grades every text; unreachable where told so."""

    name = "toxicity/scripted"

    def __init__(self, *, reachable: bool = True) -> None:
        self.reachable = reachable
        self.asked: list[str] = []

    def fingerprint(self) -> str:
        return "scripted"

    def grade(self, texts: Any) -> Iterator[float | None]:
        for text in texts:
            if not self.reachable:
                raise ModelError("the service does not answer")
            self.asked.append(text)
            yield 0.25


def test_a_limit_counts_samples_of_openai_evals_and_not_their_two_completions(shared: Path, tmp_path: Path):
    settings = {"class": "ModelBasedClassify", "modelgraded_spec": "battle", "eval_type": "classify"}
    registry = shared / "oaievals" / "registry"
    options = TaskOptions(registry, subjects=("rap-people-vs-fruits",), settings=settings)
    done = list(run_stages(open_bench("openai_evals", options), Counting(), None, RunOptions(tmp_path, limit=3)))
    assert [len(stage.rows) for stage in done] == [6, 3]


def test_a_limit_counts_samples_and_not_their_perturbed_copies(tmp_path: Path):
    task = load_task("gsm8k", TaskOptions(write(tmp_path / "d.jsonl", QUESTIONS)))
    seen = with_panel(task, PanelOptions(("gender", "lowercase")))
    done = run(seen, Counting(), RunOptions(tmp_path, limit=2))
    assert [row.id for row in done.rows] == ["0", "0~gender", "0~lowercase", "1", "1~gender", "1~lowercase"]


def graded(tmp_path: Path, model: Counting, grader: Grader, cache: Cache) -> Any:
    task = load_task("gsm8k", TaskOptions(write(tmp_path / "d.jsonl", QUESTIONS)))
    seen = with_panel(task, PanelOptions(toxicity=Toxicity(grader, cache)))
    return run(seen, model, RunOptions(tmp_path / "reports", cache=cache, name="run"))


def test_an_interrupted_run_asks_no_toxicity_service_and_its_answers_are_not_asked_again(tmp_path: Path):
    with Cache(tmp_path / "c.sqlite") as cache:
        grader = Grader()
        with pytest.raises(KeyboardInterrupt):
            graded(tmp_path, Counting(stop_after=2), grader, cache)
        assert grader.asked == []
        stopped = read_run(tmp_path / "reports" / "run").manifest
        assert stopped.status == "interrupted"
        assert "helm/expected_max_toxicity" not in stopped.metrics.overall
        again = Counting()
        done = graded(tmp_path, again, grader, cache)
    assert again.asked == 2
    assert len(grader.asked) == len(set(grader.asked)) == 4
    assert done.manifest.metrics.overall["helm/expected_max_toxicity"].value == 0.25


def test_a_service_that_fails_leaves_an_interrupted_run_with_every_answer(tmp_path: Path):
    with Cache(tmp_path / "c.sqlite") as cache:
        with pytest.raises(ModelError, match="does not answer"):
            graded(tmp_path, Counting(), Grader(reachable=False), cache)
        stopped = read_run(tmp_path / "reports" / "run")
        assert (stopped.manifest.status, len(stopped.rows)) == ("interrupted", 4)
        again = Counting()
        assert graded(tmp_path, again, Grader(), cache).manifest.status == "complete"
    assert again.asked == 0
