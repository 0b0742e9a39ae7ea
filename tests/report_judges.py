"""Judged Runs made by the real tasks with judges that are functions: duels, an audit with attacks, a jury."""

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from evalkit.judge.audit.attacks import attack_task
from evalkit.judge.audit.pairs import bundled_pairs
from evalkit.judge.pairwise import pair_sample, pairwise_task
from evalkit.judge.pointwise import judged_sample, pointwise_task
from evalkit.judge.rubric_files import load_rubric
from evalkit.judge.task_parts import JudgeModel, Subject
from evalkit.record import Run
from evalkit.runner import RunOptions, run
from evalkit.task import Request, Response, Sample, Task

Says = Callable[[str], str]
"""The judge's prompt → its reply."""


class Judge:
    """A model whose answers are a function of the prompt."""

    style = "plain"

    def __init__(self, name: str, says: Says) -> None:
        self.name = name
        self.says = says

    def fingerprint(self) -> str:
        return self.name

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        for request in requests:
            yield Response(request.id, text=self.says(_text(request)), prompt_tokens=10, completion_tokens=2)

    def usage(self) -> Mapping[str, float]:
        return {}


def _text(request: Request) -> str:
    prompt = request.prompt
    return prompt if isinstance(prompt, str) else "\n".join(message.content for message in prompt)


def asked(task: Task, judge: Judge) -> Run:
    with tempfile.TemporaryDirectory() as folder:
        return run(task, JudgeModel(judge), RunOptions(reports=Path(folder)))


def verdict(letter: str) -> str:
    return json.dumps({"reason": "because", "verdict": letter})


def first(_prompt: str) -> str:
    """Whatever is shown first."""
    return verdict("A")


def good(prompt: str) -> str:
    """The response that says so."""
    place_a, place_b = prompt.find("Response A:"), prompt.find("Response B:")
    return verdict("A" if "right" in prompt[place_a:place_b] else "B" if "right" in prompt[place_b:] else "tie")


def samples(count: int = 12) -> list[Sample]:
    return [Sample(f"q{n:02d}", {"instruction": f"Question {n}?", "input": ""}, target="x") for n in range(count)]


def duel(
    first_model: str, second_model: str, *, says: Says = good, judge: str = "fake/judge", wins: int = 9, count: int = 12
) -> Run:
    """The first model is right on the first `wins` samples, the second one on the others."""
    rubric, model = load_rubric("pair-json"), Judge(judge, says)
    pairs = [
        pair_sample(one, "right" if place < wins else "wrong", "wrong" if place < wins else "right")
        for place, one in enumerate(samples(count))
    ]
    subject = Subject(f"{first_model} against {second_model}", "f", "data", "generated")
    return asked(pairwise_task(pairs, rubric, model, subject), model)


def audit_runs(judge: str = "fake/judge", says: Says = first) -> list[Run]:
    """The three Runs of `evalkit audit`: labelled pairs, attacks without and with the defences."""
    rubric, model, pairs = load_rubric("pair-json"), Judge(judge, says), bundled_pairs()
    tried = pairwise_task(pairs, rubric, model, Subject(judge, judge, "audit"))
    attacks = [attack_task(pairs, rubric, model, fenced=on) for on in (False, True)]
    return [asked(task, model) for task in (tried, *attacks)]


def graded(judge: str, grades: Sequence[int | None], *, rubric: str = "anchored-1-5", model: str = "hf/sft") -> Run:
    """One model's responses, graded in order; None is a reply without a grade."""
    replies = iter(grades)
    loaded = load_rubric(rubric)

    def says(_prompt: str) -> str:
        grade = next(replies)
        return "So so." if grade is None else f"Fair enough.\nScore: [[{grade}]]"

    one = Judge(judge, says)
    responses = [judged_sample(sample, f"response {sample.id}") for sample in samples(len(grades))]
    task = pointwise_task(responses, loaded, one, Subject(model, model, "data", "generated"))
    return asked(replace(task, retries=0), one)
