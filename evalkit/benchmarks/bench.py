"""A task's name, with a model or with a file of predictions, in; its Runs out.

Most benchmarks are one Run. Some need what a Run has brought: MT-Bench its second turns, AlpacaEval and OpenAI's
model-graded evals a judge. Their family says what comes next, and each stage is a Run of its own, cached and resumable.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from evalkit.benchmarks import Family, TaskOptions, find_family, find_task
from evalkit.benchmarks.choices import PREDICTIONS
from evalkit.benchmarks.helm import PanelOptions, with_panel
from evalkit.benchmarks.predictions import read_plain, run_predictions
from evalkit.errors import UsageError
from evalkit.judge.task_parts import JudgeModel
from evalkit.models import Model
from evalkit.record import Run
from evalkit.runner import DryRun, RunOptions, run
from evalkit.task import Task, TaskFile


@dataclass(frozen=True)
class Bench:
    """One benchmark with what was chosen for it."""

    family: Family
    task_file: TaskFile
    options: TaskOptions
    task: Task


def open_bench(name: str, options: TaskOptions, panel: PanelOptions | None = None) -> Bench:
    """Load a benchmark, with HELM's panel where it is wanted. Raises UsageError or DataError as `load_task` does."""
    task_file = find_task(name, options)
    family = find_family(task_file)
    task = family.from_task_file(task_file, options)
    return Bench(family, task_file, options, task if panel is None else with_panel(task, panel))


def score_file(
    name: str,
    options: TaskOptions,
    predictions: Path,
    run_options: RunOptions,
    *,
    answered_only: bool = False,
    panel: PanelOptions | None = None,
) -> Run:
    """Score a file (or folder) of predictions in the benchmark's official format.

    Args:
        name: the task, as for `load_task`.
        options: its data and settings; the protocol becomes `predictions`.
        predictions: the file or folder.
        run_options: where the Run goes.
        answered_only: leave samples without a prediction out.
        panel: adds HELM's panel; nothing can be perturbed here.

    Raises:
        UsageError, DataError: the data or the predictions cannot be used; nothing is scored then.
    """
    bench = open_bench(name, options if options.protocol else replace(options, protocol=PREDICTIONS), panel)
    if not predictions.exists():
        raise UsageError(f"{predictions}: no such file of predictions")
    found = (bench.family.read_predictions or read_plain)(predictions, bench.task)
    return run_predictions(bench.task, found, predictions, run_options, answered_only=answered_only)


def judge_file(
    bench: Bench, outputs: Path, judge: Model, run_options: RunOptions, *, answered_only: bool = False
) -> Iterator[Run]:
    """Have a judge grade outputs that a model has published; yields each stage's Run, the judgement last.

    Raises UsageError where the benchmark has no such file, or the outputs do not fit its data.
    """
    read = bench.family.read_outputs
    if read is None:
        raise UsageError(f"{bench.family.name} needs no judge for a file of predictions: leave --judge out")
    if not outputs.exists():
        raise UsageError(f"{outputs}: no such file of outputs")
    found = read(outputs, bench.task)
    done = run_predictions(bench.task, found, outputs, run_options, answered_only=answered_only)
    yield done
    while bench.family.next_stage is not None:
        stage = bench.family.next_stage(done, bench.task_file, bench.options, judge)
        if stage is None:
            return
        own = replace(run_options, limit=None, repeats=1, name=_stage_name(run_options, stage.task))
        if stage.by == "model":
            found = read(outputs, stage.task)
            done = run_predictions(stage.task, found, outputs, own, answered_only=answered_only)
        else:
            done = run(stage.task, judge, own)
        yield done


def run_stages(bench: Bench, model: Model, judge: Model | None, run_options: RunOptions) -> Iterator[Run]:
    """Run a benchmark and whatever follows from it; yields each stage's Run when it is complete.

    Raises UsageError where a stage needs a judge and there is none.
    """
    done = run(bench.task, model, run_options)
    yield done
    while (stage := _stage_after(done, bench, model, judge)) is not None:
        task, asked = stage
        done = run(task, asked, replace(run_options, limit=None, repeats=1, name=_stage_name(run_options, task)))
        yield done


def plan_stages(bench: Bench, model: Model, judge: Model | None, run_options: RunOptions) -> list[DryRun]:
    """What every stage would ask; nothing is asked and nothing written.

    A stage that quotes answers which nobody has given yet is planned with the longest that may be given: an upper
    bound. Raises UsageError as `run_stages` does.
    """
    plans: list[DryRun] = []
    options = replace(run_options, dry_run=True)
    stage: tuple[Task, Model] | None = bench.task, model
    while stage is not None:
        try:
            done = run(*stage, options)
        except DryRun as plan:
            plan.at_most = any(earlier.waiting for earlier in plans)
            plans.append(plan)
            done = plan.rehearsed()
        stage = _stage_after(done, bench, model, judge)
        options = replace(options, limit=None, repeats=1)
    return plans


def _stage_after(done: Run, bench: Bench, model: Model, judge: Model | None) -> tuple[Task, Model] | None:
    """What is asked of whom after a stage; None after the last one."""
    follows = bench.family.next_stage
    stage = None if follows is None else follows(done, bench.task_file, bench.options, judge)
    if stage is None:
        return None
    asked = model if stage.by == "model" else judge
    if asked is None and stage.by == "judge":
        raise UsageError(f"{stage.task.name} is judged by a model: name one with --judge")
    return stage.task, asked or JudgeModel(model)


def _stage_name(options: RunOptions, task: Task) -> str | None:
    return None if options.name is None else f"{options.name}-{task.name}"
