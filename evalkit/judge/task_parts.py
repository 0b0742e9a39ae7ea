"""What every judging task shares: who is judged by whom, items settled without a call, and the judge's fingerprint."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from evalkit.digest import digest
from evalkit.errors import UsageError
from evalkit.judge.rubrics import Rubric
from evalkit.models import Model, ModelOptions, load
from evalkit.redraw import RETRY_TEMPERATURE, longest_answer
from evalkit.task import Outcome, Request, Response, Sample

if TYPE_CHECKING:
    from evalkit.models.prices import Estimate

REFERENCE = "reference"
"""The judge's name that means no language model at all."""
UNSCORED_FIELD = "unscored"
"""A sample field: why the subject gave no response to judge."""
DEFAULT_RETRIES = 2


@dataclass(frozen=True)
class Subject:
    """Whose responses are judged."""

    name: str
    fingerprint: str
    data_hash: str
    run: str | None = None
    """Id of the Run that holds the responses, where there is one."""
    against: str | None = None
    """Id of the Run they are compared with, in a judgement of pairs."""


@dataclass(frozen=True)
class JudgeOptions:
    """How a judge is asked."""

    retries: int = DEFAULT_RETRIES
    """How many more times a reply without a verdict is asked for."""
    fenced: bool | None = None
    """Overrides the rubric's own fencing; None keeps it."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise UsageError(f"retries {self.retries}: give a number of at least 0")


def load_judge(name: str, options: ModelOptions | None = None, *, embedding: str | None = None) -> Model:
    """A judge by name: `reference`, or any `provider/name`.

    Args:
        name: whose verdicts are wanted.
        options: how a provider works.
        embedding: a sentence-transformers model whose likeness the reference judge shows beside its own.

    Raises UsageError as `models.load` and `embedding.sentence_embedder` do.
    """
    from evalkit.judge.embedding import sentence_embedder
    from evalkit.judge.reference import ReferenceJudge
    from evalkit.judge.reference_model import ReferenceModel

    if name == REFERENCE:
        embed = None if embedding is None else sentence_embedder(embedding)
        return ReferenceModel(ReferenceJudge(embed, embedding))
    return JudgeModel(load(name, options))


class JudgeModel:
    """A Model as a judge: passes questions on, and answers at once those that are settled without asking.

    A settled question (an empty response, two identical ones) is a request for no tokens; see `settled_request`.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self.name = model.name
        self.style = model.style

    def fingerprint(self) -> str:
        """The model's own."""
        return self.model.fingerprint()

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yield settled requests at once and the others as the model answers them."""
        asked = []
        for request in requests:
            if request.params.max_tokens == 0:
                yield Response(request.id, prompt_tokens=0, completion_tokens=0)
            else:
                asked.append(request)
        if asked:
            yield from self.model.generate(asked)

    def usage(self) -> Mapping[str, float]:
        """The model's own."""
        return self.model.usage()

    @property
    def estimate(self) -> Callable[[Sequence[Request]], "Estimate"] | None:
        """What asking would cost, where the model knows; settled requests cost nothing."""
        inner: Callable[[Sequence[Request]], Estimate] | None = getattr(self.model, "estimate", None)
        if inner is None:
            return None
        return lambda requests: inner([one for one in requests if one.params.max_tokens > 0])


def request(sample: Sample, rubric: Rubric, options: JudgeOptions) -> Request:
    """The question to the judge about one sample."""
    return Request(sample.id, rubric.render(sample, fenced=options.fenced), params=rubric.params)


def settled_request(sample: Sample, rubric: Rubric) -> Request:
    """A request that `JudgeModel` answers itself, for a sample whose outcome is known without a judge."""
    return Request(sample.id, "", params=replace(rubric.params, max_tokens=0))


def missing(sample: Sample) -> Outcome | None:
    """The outcome of a sample whose subject gave no response: unscored for the subject's own reason."""
    reason = sample.fields.get(UNSCORED_FIELD)
    return None if reason is None else Outcome(unscored=reason, detail="the model under test gave no response")


def fingerprint(judge: Model, rubric: Rubric, options: JudgeOptions) -> str:
    """Changes when verdicts may: the resolved model, the rubric, its parameters, the fencing."""
    return digest([judge.fingerprint(), rubric.hash, asdict(rubric.params), options.fenced])


def judge_record(judge: Model, rubric: Rubric, subject: Subject, options: JudgeOptions) -> dict[str, Any]:
    """What a Run keeps about its judge."""
    compared = {} if subject.against is None else {"against": subject.against}
    return {
        "name": judge.name,
        "kind": rubric.kind,
        "low": rubric.scale.low if rubric.scale else 0.0,
        "top": rubric.scale.high if rubric.scale else 1.0,
        "judge_fingerprint": judge.fingerprint(),
        "rubric": rubric.name,
        "rubric_version": rubric.version,
        "rubric_hash": rubric.hash,
        "fingerprint": fingerprint(judge, rubric, options),
        "subject": subject.name,
        "subject_fingerprint": subject.fingerprint,
        "subject_data_hash": subject.data_hash,
        "retries": options.retries,
        "retry_temperature": rubric.params.temperature or RETRY_TEMPERATURE,
        "retry_max_tokens": [longest_answer(rubric.params.max_tokens, n + 1) for n in range(options.retries)],
        "run": subject.run,
        **compared,
    }
