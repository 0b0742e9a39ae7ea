"""A recorded Run in, the same Run with more repeats out: its task, settings and model made again and checked.

Everything is compared with the record before a single call: another protocol, other data, other settings or other
weights would repeat something else. Answers already in the cache are not asked for again. Of a judgement the
generation is repeated and each response judged once, so that both kinds of noise are averaged.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from evalkit.benchmarks import TaskOptions, load_task
from evalkit.cache import Cache
from evalkit.compare.repeats import folded
from evalkit.errors import UsageError
from evalkit.gate.adaptive import CannotRepeat
from evalkit.gate.rejudge import judged_runs, judging_of, responses_of, task_anew
from evalkit.models import Model, ModelOptions, load
from evalkit.record import Run
from evalkit.runner import Progress, RunOptions, run
from evalkit.task import Task


@dataclass(frozen=True)
class RerunOptions:
    """Where things are that a record does not say."""

    reports: Path
    cache: Cache
    tasks: Sequence[str] = ()
    """Task and rubric files, tried where the recorded name alone does not give the recorded task or rubric."""
    data: Path | None = None
    """Data of the task, where it was not the task's own."""
    models: Sequence[str] = ()
    """Names under which the recorded models can be found now; chosen by their fingerprint."""
    model: ModelOptions = field(default_factory=ModelOptions)
    progress: Callable[[str], AbstractContextManager[Progress | None]] | None = None
    announce: Callable[[str], None] | None = None
    """Told, before the first call, what a model that costs money may cost."""


@dataclass(frozen=True)
class Rerunner:
    """Makes recorded Runs again; a `Repeat` for `gate_adaptively`."""

    options: RerunOptions

    def __call__(self, recorded: Run, repeats: int) -> Run:
        """Make a Run again with that many repeats.

        Raises:
            CannotRepeat: the record cannot be rebuilt, or repeats would change nothing.
            ModelError: the model cannot answer.
        """
        if recorded.manifest.judge is not None:
            return self._judged(recorded, repeats)
        return self._run(self._task(recorded), self._model(recorded), repeats, recorded.manifest.settings.get("limit"))

    def _run(self, task: Task, model: Model, repeats: int, limit: int | None) -> Run:
        kept = RunOptions(self.options.reports, self.options.cache, repeats, limit, announce=self.options.announce)
        if self.options.progress is None:
            return run(task, model, kept)
        with self.options.progress(f"{task.name} × {repeats}") as progress:
            return run(task, model, replace(kept, progress=progress))

    def _judged(self, recorded: Run, repeats: int) -> Run:
        """Generated again and each response judged once; where it cannot be, the same responses judged again."""
        judging = judging_of(recorded, self.options.tasks, self.options.models, self.options.model)
        limit = recorded.manifest.settings.get("limit")
        try:
            answered = self._answered(judged_runs(recorded, self.options.reports), repeats)
        except CannotRepeat as error:
            if not judging.varies:
                raise CannotRepeat(f"{error}, and the reference judge gives the same verdict every time") from None
            return self._run(judging.task(*responses_of(recorded)), judging.judge, repeats, limit)
        # Each repeat of a response is a sample of its own to the judge.
        made = folded(self._run(task_anew(judging, recorded, answered, repeats), judging.judge, 1, None))
        return replace(made, manifest=replace(made.manifest, settings={**made.manifest.settings, "limit": limit}))

    def _answered(self, judged: Sequence[Run], repeats: int) -> list[Run]:
        """The judged Runs with that many repeats, or one of two where only that one can be made again."""
        found, problems = list(judged), []
        for side, one in enumerate(judged):
            try:
                found[side] = self(one, repeats)
            except CannotRepeat as error:
                problems.append(error)
        if len(problems) == len(judged):
            raise problems[0]
        return found

    def _task(self, recorded: Run) -> Task:
        problem = f"no task {recorded.manifest.task!r} is known here"
        for name in (recorded.manifest.task, *self.options.tasks):
            try:
                task = load_task(name, self._task_options(recorded))
            except UsageError as error:
                problem = str(error)
                continue
            problem = _difference(task, recorded)
            if not problem:
                if task.needs == "loglikelihood":
                    raise CannotRepeat(
                        f"{task.name} reads log-likelihoods, which are the same every time: asking again would change "
                        "nothing, only more samples can decide"
                    )
                return task
        raise CannotRepeat(f"{recorded.id} cannot be made again ({problem}): name its --task and --data")

    def _task_options(self, recorded: Run) -> TaskOptions:
        """The recorded settings that are options of a task."""
        known = {one.name for one in fields(TaskOptions)}
        chosen = {key: value for key, value in recorded.manifest.settings.items() if key in known}
        if isinstance(chosen.get("subjects"), list):
            chosen["subjects"] = tuple(chosen["subjects"])
        return replace(TaskOptions(data=self.options.data), **chosen)

    def _model(self, recorded: Run) -> Model:
        style = recorded.manifest.settings.get("style")
        problem = ""
        for name in (recorded.manifest.model, *self.options.models):
            try:
                model = load(name, replace(self.options.model, style=style))
            except UsageError as error:
                problem = problem or str(error)
                continue
            if model.fingerprint() == recorded.manifest.model_fingerprint:
                return model
            problem = f"{name} is no longer what answered then"
        raise CannotRepeat(f"{recorded.id} cannot be made again ({problem}): name its --model")


def _difference(task: Task, recorded: Run) -> str:
    """What of a task differs from what was recorded; empty where nothing does."""
    manifest = recorded.manifest
    limit = manifest.settings.get("limit")
    shown = replace(task, samples=task.samples[:limit])
    pairs: list[tuple[str, Any, Any]] = [
        ("name", shown.name, manifest.task),
        ("protocol", shown.protocol, manifest.protocol),
    ]
    pairs += [("data", shown.data_hash[:12], manifest.data_hash[:12])]
    pairs += [(f"setting {key}", value, manifest.settings.get(key)) for key, value in shown.settings.items()]
    return "; ".join(f"{what} {now!r} against {then!r}" for what, now, then in pairs if _plain(now) != _plain(then))


def _plain(value: object) -> object:
    """As JSON gives it back: a tuple is a list."""
    return list(value) if isinstance(value, tuple) else value
