"""(instruction, reference, response) in, a Task out whose model is the judge and whose metric is the mean score.

An empty response has the score the rubric gives it (0 in the book) without a call, and is counted. A response the
subject never gave stays unscored for the subject's reason. Everything else is asked, and read by the rubric's parser.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evalkit.aggregate import by_group, mean_metric
from evalkit.errors import UsageError
from evalkit.judge import task_parts
from evalkit.judge.parse import read_verdict
from evalkit.judge.rubrics import Rubric
from evalkit.judge.task_parts import JudgeOptions, Subject
from evalkit.judge.verdict import Verdict
from evalkit.models import Model
from evalkit.record import Metric, Metrics, Row
from evalkit.task import Outcome, Request, Response, Sample, Task

CANARY = "canary"
"""Tag of a planted bad answer; it never counts in the mean score."""


def judged_sample(sample: Sample, response: str, *, unscored: str | None = None, repeat: int = 0) -> Sample:
    """A sample with the response to judge; of several repeats each is a sample in the same cluster."""
    fields: dict[str, Any] = {**sample.fields, "response": response}
    if unscored is not None:
        fields[task_parts.UNSCORED_FIELD] = unscored
    return repeat_of(replace(sample, fields=fields), repeat)


def repeat_of(sample: Sample, number: int) -> Sample:
    """A sample about a later response to the same question: of its own name, in the cluster of the first one."""
    if not number:
        return sample
    return replace(sample, id=f"{sample.id}#{number}", cluster=sample.cluster or sample.id)


def judged_samples(samples: Iterable[Sample], rows: Iterable[Row]) -> list[Sample]:
    """The samples of a Run with the responses in its rows, in the rows' order.

    Raises UsageError where a row has no sample: the Run was made from other data.
    """
    by_id: Mapping[str, Sample] = {sample.id: sample for sample in samples}
    judged = []
    for row in rows:
        if row.id not in by_id:
            raise UsageError(f"row {row.id} has no sample in the data: give the data file the run was made with")
        judged.append(judged_sample(by_id[row.id], row.response, unscored=row.unscored, repeat=row.repeat))
    return judged


def pointwise_task(
    samples: Sequence[Sample],
    rubric: Rubric,
    judge: Model,
    subject: Subject,
    options: JudgeOptions = JudgeOptions(),  # noqa: B008 - frozen
) -> Task:
    """The Task of scoring each sample's `response`; run it with `judge` as the model.

    Raises UsageError where the rubric compares two responses.
    """
    if rubric.kind != "pointwise":
        raise UsageError(f"rubric {rubric.name} compares two responses: use `evalkit arena`, or a pointwise rubric")

    def render(sample: Sample, _style: str) -> Request:
        if settled(sample, rubric) is not None:
            return task_parts.settled_request(sample, rubric)
        return task_parts.request(sample, rubric, options)

    def score(sample: Sample, response: Response) -> Outcome:
        return settled(sample, rubric) or outcome(sample, response, rubric)

    return Task(
        name=f"judge-{rubric.name}",
        protocol=f"judge/{rubric.name}@{rubric.version}",
        samples=tuple(samples),
        render=render,
        score=score,
        aggregate=lambda rows: aggregate(rows, rubric),
        primary="score",
        scale=rubric.scale.high if rubric.scale else 1.0,
        settings={"rubric": rubric.name, "fenced": rubric.fence if options.fenced is None else options.fenced},
        retries=options.retries,
        judge=task_parts.judge_record(judge, rubric, subject, options),
    )


def settled(sample: Sample, rubric: Rubric) -> Outcome | None:
    """The outcome of a sample that needs no judge: no response at all, or an empty one under a rubric that rates it."""
    if (gone := task_parts.missing(sample)) is not None:
        return gone
    if rubric.empty_score is None or str(sample.fields.get("response", "")).strip():
        return None
    return Outcome({"score": rubric.empty_score, "empty_response": 1.0}, response="", extra={"judge": None})


def outcome(sample: Sample, response: Response, rubric: Rubric) -> Outcome:
    """What the judge's reply says of a sample; the row keeps the candidate's response, and the judge's words beside."""
    verdict = read_verdict(rubric, response)
    extra = {"judge": response.text, "components": dict(verdict.components)}
    kept = str(sample.fields.get("response", ""))
    if verdict.score is None:
        return Outcome(unscored=verdict.unscored, detail=verdict.detail, response=kept, extra=extra)
    return Outcome(_scores(verdict, rubric), response=kept, extra=extra)


def _scores(verdict: Verdict, rubric: Rubric) -> dict[str, float]:
    assert verdict.score is not None
    scores = {"score": verdict.score}
    shown = {criterion.name for criterion in rubric.criteria} | {"mass", "weighted", "embedding"}
    scores |= {name: value for name, value in verdict.components.items() if name in shown}
    return scores if rubric.empty_score is None else {**scores, "empty_response": 0.0}


def aggregate(rows: Sequence[Row], rubric: Rubric) -> Metrics:
    """The mean of every score overall and by the first tag; planted canaries apart.

    `canary_score` is the mean score of the canaries and `canary_caught` the share of them in the lower half of the
    scale, where bad answers belong.
    """
    real = [row for row in rows if CANARY not in row.tags]
    names = sorted({"score"}.union(*(row.scores for row in real)))
    overall = {name: mean_metric(real, name) for name in names}
    tagged = [row for row in real if row.tags]
    groups = {"family": by_group(tagged, lambda row: row.tags[0], names)} if tagged else {}
    return Metrics({**overall, **_canary_metrics(rows, rubric)}, groups)


def _canary_metrics(rows: Sequence[Row], rubric: Rubric) -> dict[str, Metric]:
    planted = [row for row in rows if CANARY in row.tags]
    if not planted or rubric.scale is None:
        return {}
    middle = (rubric.scale.low + rubric.scale.high) / 2
    judged = [
        replace(row, scores={"canary_score": row.scores["score"], "canary_caught": float(row.scores["score"] < middle)})
        for row in planted
        if "score" in row.scores
    ]
    lost = [row for row in planted if "score" not in row.scores]
    return {name: mean_metric([*judged, *lost], name) for name in ("canary_score", "canary_caught")}
