"""BBQ: the official JSONL of one category in, a Task of accuracy and bias scores out.

Protocols `letters`, `generate` and `rank` as for any multiple choice; `predictions` takes JSONL of example_id and an
answer, a letter or the answer's own text, under `response` or under the key that the setting `column` names. A text
that is none of the answers is wrong, and no way of saying "unknown". Source: Parrish et al. 2022; stanford-crfm/helm
`metrics/bbq_metrics.py`, through `evalkit.metrics.bbq`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from evalkit.aggregate import mean_metric
from evalkit.benchmarks import corpus
from evalkit.benchmarks import multiple_choice as mc
from evalkit.benchmarks.arc import make_task
from evalkit.benchmarks.choices import GENERATE, PREDICTIONS, RANK, choose
from evalkit.benchmarks.files import Record, read_lines, unique_ids
from evalkit.benchmarks.predictions import Answer, Predictions, by_id
from evalkit.errors import UsageError
from evalkit.metrics import bbq
from evalkit.metrics.text import normalize
from evalkit.record import Metrics, Row
from evalkit.task import Aggregate, Outcome, Response, Sample, Task, TaskFile

if TYPE_CHECKING:
    from evalkit.benchmarks import TaskOptions

_NO_ANSWER = "-"


def from_task_file(task_file: TaskFile, options: "TaskOptions") -> Task:
    """The Task of a task file with `benchmark: bbq`, with what the command line changes."""
    chosen = choose(task_file, options, protocols=(mc.LETTERS, GENERATE, RANK, PREDICTIONS), settings=("column",))
    records = read_lines(chosen.data)
    unique_ids(records, "example_id")
    items = {_id(record): _item(record) for record in records}
    task = make_task(chosen, "bbq", [_sample(record, items) for record in records], [])
    if chosen.protocol == PREDICTIONS:
        task = replace(task, score=_score_prediction)
    shares = partial(_pseudo_values, items)
    return replace(task, aggregate=_aggregator(items), pseudo_values=shares, primary="acc")


def _item(record: Record) -> bbq.BbqItem:
    try:
        return bbq.item(record.values)
    except UsageError as error:
        raise record.error(str(error)) from None


def _id(record: Record) -> str:
    return str(record.get("example_id"))


def _sample(record: Record, items: Mapping[str, bbq.BbqItem]) -> Sample:
    fields = {
        "question": f"{record.text('context')} {record.text('question')}",
        "labels": list(bbq.LETTERS),
        "choices": [record.text(f"ans{place}") for place in range(3)],
    }
    cluster = str(record.values.get("question_index", "")) or None
    return Sample(_id(record), fields, target=str(items[_id(record)].correct), cluster=cluster)


def _score_prediction(sample: Sample, response: Response) -> Outcome:
    return Outcome({"acc": float(response.text == sample.target)}, extra={"choice": response.text})


def _aggregator(items: Mapping[str, bbq.BbqItem]) -> Aggregate:
    def aggregate(rows: Sequence[Row]) -> Metrics:
        kept, lost = corpus.scored(rows), corpus.unscored(rows)
        found = _statistics(items, kept)
        biases = {
            name: found[name].to_metric(kept, lost=lost) if found else corpus.plain(None, 0, lost=lost)
            for name in bbq.BIASES
        }
        return Metrics({"acc": mean_metric(rows, "acc"), **biases})

    return aggregate


def _pseudo_values(items: Mapping[str, bbq.BbqItem], rows: Sequence[Row]) -> corpus.PseudoValues:
    kept = corpus.scored(rows)
    return corpus.placed(rows, [(kept, _statistics(items, kept))])


def _statistics(items: Mapping[str, bbq.BbqItem], kept: Sequence[Row]) -> dict[str, corpus.Statistic]:
    """The bias scores of these rows; none where there are no rows."""
    if not kept:
        return {}
    choices, asked = [row.extra["choice"] for row in kept], [items[row.id] for row in kept]
    values = bbq.score(choices, asked)
    without = bbq.score_without(choices, asked) if len(kept) > 1 else dict.fromkeys(bbq.BIASES, np.array([]))
    return {name: corpus.statistic(values[name], without[name], -1.0, 1.0) for name in bbq.BIASES}


def read_predictions(path: Path, task: Task) -> Predictions:
    """JSONL of example_id and an answer: a letter, or one of the answers' texts, whatever their case."""
    column = str(task.settings.get("column", "response"))
    answers = {
        sample.id: {
            **{letter: letter for letter in bbq.LETTERS},
            **{_bare(text): bbq.LETTERS[place] for place, text in enumerate(sample.fields["choices"])},
        }
        for sample in task.samples
    }
    pairs = []
    for record in read_lines(path):
        if column not in record.values:
            keys = ", ".join(key for key in record.values if key != "example_id")
            raise record.error(f"has no {column!r}; name the key of the answers with --set column=: {keys}")
        known, said = answers.get(_id(record), {}), str(record.get(column))
        pairs.append((_id(record), Answer(known.get(said, known.get(_bare(said), _NO_ANSWER)))))
    return by_id(pairs, path)


def _bare(text: str) -> str:
    return normalize(text, drop_articles=False)
