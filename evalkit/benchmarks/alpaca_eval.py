"""AlpacaEval: its evaluation set (or any set of instructions) in, outputs, a judge's preferences and win rates out.

Data is a JSON list of {"instruction", "dataset", "output"}: the official set, or any model's outputs. Two stages: the
model answers each instruction; the judge compares each answer with the baseline's, whose outputs are the set's own or
those in the setting `reference`. `predictions` takes annotations instead: the authors' annotations.json, or slim rows
of index (or instruction_sha1), preference and both lengths. With the settings `difficulty` and `gamed` (their
instruction_difficulty.csv and df_gamed.csv) the length-controlled win rate is AlpacaEval 2's; `strength` fixes its
penalty. All rates are 0 to 100. Source: tatsu-lab/alpaca_eval, through `evalkit.stats`.
"""

import hashlib
import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalkit.aggregate import mean_metric, to_metric
from evalkit.benchmarks import Stage, corpus, prompting
from evalkit.benchmarks.choices import GENERATE, PREDICTIONS, Choices, choose
from evalkit.benchmarks.files import Record, read_csv, read_records, write_json
from evalkit.benchmarks.predictions import Answer, Predictions, by_id
from evalkit.errors import DataError, UsageError
from evalkit.record import Metric, Metrics, Row, Run
from evalkit.stats.intervals import estimate_mean
from evalkit.stats.length_control import GamedRows, JudgedItems, length_controlled_win_rate
from evalkit.stats.win_rate import win_rate
from evalkit.task import Aggregate, Outcome, Params, Request, Response, Sample, Task, TaskFile

if TYPE_CHECKING:
    from evalkit.benchmarks import TaskOptions
    from evalkit.models import Model

_SETTINGS = ("reference", "rubric", "difficulty", "gamed", "strength", "temperature")
_GENERATE, _JUDGED = "alpaca-eval/generate", "alpaca-eval/judged"
_MAX_TOKENS = 2048
_RUBRIC = "alpaca-eval-2"


@dataclass(frozen=True)
class LengthControl:
    """What ties the length effect down; what is None is left out and the metric says less."""

    difficulty: Mapping[Hashable, float] | None = None
    gamed: GamedRows | None = None
    strength: float | None = None


def from_task_file(task_file: TaskFile, options: "TaskOptions") -> Task:
    """The Task of a task file with `benchmark: alpaca_eval`, with what the command line changes."""
    chosen = _choose(task_file, options)
    samples = read_samples(chosen.data)
    if chosen.protocol == PREDICTIONS:
        return Task(
            name=chosen.name,
            protocol="alpaca-eval/predictions",
            samples=samples,
            render=lambda sample, _style: Request(sample.id, ""),
            score=score_annotation,
            aggregate=_aggregator(_length_control(chosen)),
            primary="win_rate",
            scale=100.0,
            settings=chosen.record,
        )
    return Task(
        name=chosen.name,
        protocol=_GENERATE,
        samples=samples,
        render=_renderer(chosen),
        score=lambda _sample, response: Outcome({"length": float(len(response.text))}),
        aggregate=lambda rows: Metrics({"length": _mean_length(rows)}),
        primary="length",
        settings=chosen.record,
    )


def _choose(task_file: TaskFile, options: "TaskOptions") -> Choices:
    return choose(task_file, options, protocols=(GENERATE, PREDICTIONS), settings=_SETTINGS)


def _mean_length(rows: Sequence[Row]) -> Metric:
    return mean_metric(rows, "length")


def read_samples(path: Path) -> tuple[Sample, ...]:
    """The instructions of a set in its own order, named by their place; the baseline's output, if any, as target."""
    return tuple(
        Sample(
            str(place),
            {"instruction": record.text("instruction"), "dataset": str(record.values.get("dataset", ""))},
            target=record.values.get("output"),
        )
        for place, record in enumerate(read_records(path))
    )


def _renderer(chosen: Choices) -> Callable[[Sample, str], Request]:
    params = Params(max_tokens=chosen.max_tokens or _MAX_TOKENS, temperature=chosen.number("temperature", 0.0))

    def render(sample: Sample, style: str) -> Request:
        return prompting.ask(sample.id, prompting.Exam(str(sample.fields["instruction"])), style, params)

    return render


def next_stage(run: Run, task_file: TaskFile, options: "TaskOptions", judge: "Model | None") -> Stage | None:
    """The comparison of a Run's outputs with the baseline's; None for a Run of anything else.

    Raises UsageError where there is no judge, or no output of the baseline for an instruction.
    """
    if run.manifest.protocol != _GENERATE:
        return None
    if judge is None:
        raise UsageError("AlpacaEval compares outputs: name the judge with --judge")
    from evalkit.judge.pairwise import alpaca_eval_task
    from evalkit.judge.rubric_files import load_rubric
    from evalkit.judge.task_parts import UNSCORED_FIELD, Subject

    chosen = _choose(task_file, options)
    baseline = _baseline(chosen)
    samples: list[Sample] = []
    for row in run.rows:
        if row.repeat == 0:
            other = baseline[row.fields["instruction"]]
            fields = {**row.fields, "response_a": row.response, "response_b": other}
            fields |= {"len_1": len(other), "len_2": len(row.response)}
            fields |= {UNSCORED_FIELD: row.unscored} if row.unscored else {}
            samples.append(Sample(row.id, fields))
    manifest = run.manifest
    subject = Subject(manifest.model, manifest.model_fingerprint, manifest.data_hash, run.id)
    task = alpaca_eval_task(samples, load_rubric(str(chosen.get("rubric") or _RUBRIC)), judge, subject)
    judged = replace(
        task,
        name=f"{chosen.name}-judged",
        protocol=_JUDGED,
        score=lambda sample, response: _in_percent(task.score(sample, response)),
        aggregate=_aggregator(_length_control(chosen)),
        scale=100.0,
    )
    return Stage(judged, by="judge")


def _baseline(chosen: Choices) -> dict[str, str]:
    path = chosen.path("reference") or chosen.data
    return {record.text("instruction"): record.text("output") for record in read_records(path)}


def _in_percent(outcome: Outcome) -> Outcome:
    scores = dict(outcome.scores)
    return replace(outcome, scores={**scores, "win_rate": 100 * scores["win_rate"]}) if scores else outcome


def score_annotation(_sample: Sample, response: Response) -> Outcome:
    """An annotation's preference, in percent; a failed call of the judge is unscored."""
    preference, *lengths = (float(word) for word in response.text.split())
    if math.isnan(preference):
        return Outcome(unscored="unparsable", detail="the annotation has no preference: the judge's call failed")
    extra = {"lengths": lengths} if lengths else {}
    return Outcome({"preference": preference, "win_rate": 100 * (preference - 1)}, extra=extra)


def _aggregator(control: LengthControl) -> Aggregate:
    def aggregate(rows: Sequence[Row]) -> Metrics:
        kept, lost = corpus.scored(rows), corpus.unscored(rows)
        if not kept:
            return Metrics({"win_rate": corpus.plain(None, 0, lost=lost)})
        found = win_rate([row.scores["preference"] for row in kept])
        counts = {"n_wins": found.n_wins, "n_wins_base": found.n_wins_base, "n_draws": found.n_draws}
        overall = {
            "win_rate": to_metric(found.win_rate, unscored=lost),
            "discrete_win_rate": to_metric(found.discrete_win_rate, unscored=lost),
            **{name: corpus.plain(count, len(kept), lost=lost) for name, count in counts.items()},
        }
        return Metrics({**overall, **_by_length(kept, lost, control)})

    return aggregate


def _by_length(rows: Sequence[Row], lost: int, control: LengthControl) -> dict[str, Metric]:
    """The length-controlled win rate and the model's mean length in characters, where lengths are known."""
    lengths = [_lengths(row) for row in rows]
    known = [pair for pair in lengths if pair is not None]
    if len(known) < max(len(rows), 2):
        return {}
    judged = JudgedItems(
        [row.id for row in rows],
        [row.scores["preference"] for row in rows],
        [baseline for baseline, _ in known],
        [own for _, own in known],
    )
    fit = length_controlled_win_rate(
        judged, difficulty=control.difficulty, gamed=control.gamed, strength=control.strength
    )
    return {
        "length_controlled_winrate": to_metric(fit.win_rate, unscored=lost),
        "avg_length": to_metric(estimate_mean([own for _, own in known]), unscored=lost),
    }


def _lengths(row: Row) -> tuple[float, float] | None:
    """(baseline's, model's) characters."""
    if "len_1" in row.fields:
        return float(row.fields["len_1"]), float(row.fields["len_2"])
    found = row.extra.get("lengths")
    return (float(found[0]), float(found[1])) if found else None


def _length_control(chosen: Choices) -> LengthControl:
    difficulty, gamed = chosen.path("difficulty"), chosen.path("gamed")
    strength = chosen.number("strength", 0.0) or None
    return LengthControl(
        None if difficulty is None else _read_difficulty(difficulty),
        None if gamed is None else _read_gamed(gamed),
        strength,
    )


def _read_difficulty(path: Path) -> dict[Hashable, float]:
    rows = enumerate(read_csv(path))
    return {str(row.values.get("index", place)): _number(row, "instruction_difficulty") for place, row in rows}


def _read_gamed(path: Path) -> GamedRows:
    rows = read_csv(path)
    return GamedRows(
        [math.tanh(_number(row, "std_delta_len")) for row in rows],
        [_number(row, "instruction_difficulty") for row in rows],
        wins=[_number(row, "preference") for row in rows],
    )


def _number(record: Record, key: str) -> float:
    try:
        return float(record.get(key))
    except (TypeError, ValueError):
        raise record.error(f"{key!r} must be a number, here it is {record.get(key)!r}") from None


def read_predictions(path: Path, task: Task) -> Predictions:
    """Annotations by instruction, by the SHA-1 of the instruction, or by index.

    Raises DataError where an annotation names no instruction or its preference is not from 1 to 2.
    """
    by_text = {str(sample.fields["instruction"]): sample.id for sample in task.samples}
    by_digest = {hashlib.sha1(text.encode()).hexdigest(): name for text, name in by_text.items()}  # noqa: S324
    records = read_records(path)
    if "output" in records[0].values and "preference" not in records[0].values:
        raise DataError(path, "holds outputs, not annotations: name who is to judge them with --judge")
    pairs = [(_item(record, by_text, by_digest), Answer(_judgement(record))) for record in records]
    return by_id(pairs, path)


def read_outputs(path: Path, task: Task) -> Predictions:
    """A model's published model_outputs.json, which a judge is to compare with the baseline's."""
    ids = {str(sample.fields["instruction"]): sample.id for sample in task.samples}
    asked = ((record.text("instruction"), record.text("output")) for record in read_records(path))
    return by_id(((ids.get(instruction, instruction[:60]), Answer(output)) for instruction, output in asked), path)


def _item(record: Record, by_text: Mapping[str, str], by_digest: Mapping[str, str]) -> str:
    for key, names in (("instruction", by_text), ("instruction_sha1", by_digest)):
        if key in record.values:
            return names.get(record.text(key), record.text(key)[:60])
    return str(record.get("index"))


def _judgement(record: Record) -> str:
    """Preference and, where known, both lengths as one text."""
    value = record.get("preference")
    preference = math.nan if value is None or value == "" else _number(record, "preference")
    if preference == 0:
        preference = 1.5
    if not (math.isnan(preference) or 1 <= preference <= 2):
        raise record.error(f"the preference {value!r} must be from 1 (baseline) to 2 (model)")
    lengths = _known_lengths(record.values)
    return " ".join(map(repr, [preference, *lengths]))


def _known_lengths(values: Mapping[str, Any]) -> list[float]:
    if {"len_1", "len_2"} <= values.keys():
        return [float(values["len_1"]), float(values["len_2"])]
    if {"output_1", "output_2"} <= values.keys():
        return [float(len(str(values["output_1"]))), float(len(str(values["output_2"])))]
    return []


def write_predictions(runs: Sequence[Run], path: Path) -> None:
    """Write a model's outputs as AlpacaEval's model_outputs.json; of repeats the first."""
    if runs[0].manifest.protocol != _GENERATE:
        raise DataError(path, "these are judgements, not outputs: run the model to write its outputs")
    entries = [
        {**{key: row.fields[key] for key in ("instruction", "dataset")}, "output": row.response,
         "generator": runs[0].manifest.model}
        for row in runs[0].rows
        if row.repeat == 0 and row.unscored is None
    ]  # fmt: skip
    write_json(path, entries)
