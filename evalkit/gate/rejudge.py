"""A recorded judgement in, what it takes to judge again out: the judge, the rubric, and whose responses it read.

Everything is compared with the record before a single call: another judge or rubric would repeat something else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.errors import EvalkitError, UsageError
from evalkit.gate.adaptive import CannotRepeat
from evalkit.judge.pointwise import CANARY, pointwise_task
from evalkit.judge.rubric_files import load_rubric
from evalkit.judge.rubrics import Rubric
from evalkit.judge.task_parts import DEFAULT_RETRIES, REFERENCE, JudgeOptions, Subject, fingerprint, load_judge
from evalkit.models import Model, ModelOptions
from evalkit.record import Run, read_run
from evalkit.task import Sample, Task

_FENCING = (None, True, False)
"""What fencing the judge was told beyond the rubric's own is in no record; one of these gives the fingerprint."""


@dataclass(frozen=True)
class Judging:
    """How a judgement was made."""

    judge: Model
    rubric: Rubric
    options: JudgeOptions

    @property
    def varies(self) -> bool:
        """Whether the judge may answer the same question differently; the reference judge cannot."""
        return self.judge.name != REFERENCE

    def task(self, samples: Sequence[Sample], subject: Subject) -> Task:
        """The Task of judging these responses in the same way."""
        return pointwise_task(samples, self.rubric, self.judge, subject, self.options)


def judging_of(recorded: Run, rubrics: Sequence[str], models: Sequence[str], options: ModelOptions) -> Judging:
    """The judge and the rubric of a judgement.

    Args:
        recorded: a judgement.
        rubrics: rubric files, tried where the recorded name alone does not give the recorded rubric.
        models: names under which the judge can be found now.
        options: how models are reached.

    Raises:
        CannotRepeat: it compared pairs, or judge or rubric are not what they were.
    """
    record = _record(recorded)
    if record.get("kind") == "pairwise":
        raise CannotRepeat(f"{recorded.id} compares pairs: judge both runs again with --repeats, and gate that")
    problem = "judge or rubric are no longer what they were"
    names = (str(record.get("rubric")), *(name for name in rubrics if name.endswith((".yaml", ".yml"))))
    try:
        for found in _candidates(names, (str(record.get("name")), *models), options):
            if fingerprint(found.judge, found.rubric, found.options) == record.get("fingerprint"):
                retries = int(record.get("retries", DEFAULT_RETRIES))
                return replace(found, options=replace(found.options, retries=retries))
    except UsageError as error:
        problem = str(error)
    raise CannotRepeat(f"{recorded.id} cannot be judged again ({problem}): name its rubric file with --task")


def _candidates(rubrics: Sequence[str], judges: Sequence[str], options: ModelOptions) -> Iterator[Judging]:
    """Everything the record may mean; UsageError where no judge or no rubric can be loaded."""
    loaded = list(_loadable(rubrics, load_rubric))
    for judge in _loadable(judges, lambda name: load_judge(name, options)):
        yield from (Judging(judge, rubric, JudgeOptions(fenced=fenced)) for rubric in loaded for fenced in _FENCING)


def _loadable(names: Sequence[str], load: Any) -> Iterator[Any]:
    """What of the names can be loaded; UsageError for the first where nothing can."""
    problem: UsageError | None = None
    nothing = True
    for name in dict.fromkeys(names):
        try:
            found = load(name)
        except UsageError as error:
            problem = problem or error
            continue
        nothing = False
        yield found
    if nothing and problem:
        raise problem


def judged_run(recorded: Run, reports: Path) -> Run:
    """The Run whose responses a judgement read.

    Raises CannotRepeat where it is not under `reports`, or no longer the one that was judged.
    """
    record = _record(recorded)
    name = record.get("run")
    if not name:
        raise CannotRepeat("its responses came from a file")
    try:
        found = read_run(reports / str(name))
    except EvalkitError:
        raise CannotRepeat(f"the judged run {name} is not under {reports}") from None
    same = found.manifest.model_fingerprint == record.get("subject_fingerprint")
    if not same or found.manifest.data_hash != record.get("subject_data_hash"):
        raise CannotRepeat(f"the run {name} is no longer the one that was judged")
    return found


def responses_of(recorded: Run) -> tuple[list[Sample], Subject]:
    """The responses a judgement read, from its own rows, to judge them once more."""
    record = _record(recorded)
    rows = [row for row in recorded.rows if row.repeat == 0 and CANARY not in row.tags]
    if any("response" not in row.fields for row in rows):
        raise CannotRepeat("its rows hold no responses")
    samples = [Sample(row.id, dict(row.fields), row.target, row.cluster, row.tags) for row in rows]
    name, model, data = (str(record.get(key)) for key in ("subject", "subject_fingerprint", "subject_data_hash"))
    return samples, Subject(name, model, data, record.get("run"))


def _record(run: Run) -> dict[str, Any]:
    return dict(run.manifest.judge or {})
