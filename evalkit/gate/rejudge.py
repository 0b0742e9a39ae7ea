"""A recorded judgement in, what it takes to judge again out: the judge, the rubric, and the responses it read.

Everything is compared with the record before a single call: another judge or rubric would repeat something else.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evalkit.compare.repeats import parts_of
from evalkit.errors import EvalkitError, UsageError
from evalkit.gate.adaptive import CannotRepeat
from evalkit.judge.pairwise import comparing_task, pairs_of
from evalkit.judge.pointwise import CANARY, pointwise_task, repeat_of
from evalkit.judge.rubric_files import load_rubric
from evalkit.judge.rubrics import Rubric
from evalkit.judge.session import answered_pairs
from evalkit.judge.sources import from_run
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

    @property
    def compares(self) -> bool:
        """Whether it compared pairs of responses."""
        return self.rubric.kind == "pairwise"

    def task(self, samples: Sequence[Sample], subject: Subject) -> Task:
        """The Task of judging these responses, or pairs of them, in the same way."""
        build = comparing_task if self.compares else pointwise_task
        return build(samples, self.rubric, self.judge, subject, self.options)


def judging_of(recorded: Run, rubrics: Sequence[str], models: Sequence[str], options: ModelOptions) -> Judging:
    """The judge and the rubric of a judgement.

    Args:
        recorded: a judgement.
        rubrics: rubric files, tried where the recorded name alone does not give the recorded rubric.
        models: names under which the judge can be found now.
        options: how models are reached.

    Raises:
        CannotRepeat: judge or rubric are not what they were.
    """
    record = _record(recorded)
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


def judged_runs(recorded: Run, reports: Path) -> list[Run]:
    """The Run whose responses a judgement read; of a judgement of pairs both, the candidate first.

    Raises CannotRepeat where one is not under `reports`, or no longer the one that was judged.
    """
    record = _record(recorded)
    names = [record.get(key) for key in (("run", "against") if record.get("kind") == "pairwise" else ("run",))]
    if not all(names):
        raise CannotRepeat("its responses came from a file, or its record does not say from which runs")
    try:
        found = [read_run(reports / str(name)) for name in names]
    except EvalkitError:
        raise CannotRepeat(f"what was judged, {' and '.join(map(str, names))}, is not under {reports}") from None
    same = " ".join(one.manifest.model_fingerprint for one in found) == record.get("subject_fingerprint")
    if not same or found[0].manifest.data_hash != record.get("subject_data_hash"):
        raise CannotRepeat(f"{' and '.join(map(str, names))} are no longer what was judged")
    return found


def responses_of(recorded: Run) -> tuple[list[Sample], Subject]:
    """The responses, or the pairs of them, that a judgement read, from its own rows, to judge them once more."""
    rows = [row for row in recorded.rows if row.repeat == 0 and CANARY not in row.tags]
    if _record(recorded).get("kind") == "pairwise":
        return pairs_of(rows), _subject_of(recorded)
    if any("response" not in row.fields for row in rows):
        raise CannotRepeat("its rows hold no responses")
    samples = [Sample(row.id, dict(row.fields), row.target, row.cluster, row.tags) for row in rows]
    return samples, _subject_of(recorded)


def task_anew(judging: Judging, recorded: Run, answered: Sequence[Run], repeats: int) -> Task:
    """The Task of judging what the judged Runs answered anew, each repeat of a response or of a pair as a sample.

    Args:
        judging: how the judgement was made.
        recorded: the judgement; only what it judged is judged again.
        answered: the Run of the responses, or those of both sides of the pairs, with repeats.
        repeats: how many of them to judge.
    """
    if judging.compares:
        sides = {"run": answered[0].id, "against": answered[1].id}
        task = judging.task(_repeated_pairs(answered, repeats), replace(_subject_of(recorded), **sides))
    else:
        task = judging.task(*from_run(answered[0]))
    judged, parts = {row.id for row in recorded.rows}, parts_of(task.samples)
    return replace(task, samples=tuple(sample for sample in task.samples if parts[sample.id].id in judged))


def _repeated_pairs(answered: Sequence[Run], repeats: int) -> list[Sample]:
    """The pairs of the first responses, of the second ones … to each sample; a side without repeats has one."""
    found: list[Sample] = []
    for number in range(repeats):
        pairs = answered_pairs(*(_one_repeat(run, min(number, run.manifest.repeats - 1)) for run in answered[:2]))
        found += [repeat_of(pair, number) for pair in pairs]
    return found


def _one_repeat(run: Run, number: int) -> Run:
    return replace(run, rows=tuple(replace(row, repeat=0) for row in run.rows if row.repeat == number))


def _subject_of(recorded: Run) -> Subject:
    record = _record(recorded)
    name, model, data = (str(record.get(key)) for key in ("subject", "subject_fingerprint", "subject_data_hash"))
    return Subject(name, model, data, record.get("run"), record.get("against"))


def _record(run: Run) -> dict[str, Any]:
    return dict(run.manifest.judge or {})
