"""Samples of a task in, compressed text out: one small index and chunks of a few hundred kilobytes of JSON each.

The browser page unpacks the index when it opens and a chunk when someone looks at one of its samples. Text that all
prompts of a cluster share (few-shot examples, a preamble) stands once in every chunk. JSON is compressed with zlib
and written in base64, so nothing in it can end the element it stands in.
"""

import base64
import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evalkit.report.disagreement import disagreements, is_judged_twice
from evalkit.report.outcome import describe, least_change
from evalkit.report.sample_json import SampleWriter, rounded
from evalkit.report.shared_text import Ends, is_recorded
from evalkit.report.view import Cell, TaskView, View, labels_of

CHUNK = 400_000
"""Characters of JSON in a chunk, about."""
_MARKUP = 60
"""Bytes of HTML around a chunk."""
_TRIED = 3_000_000
"""Characters compressed to learn how well a task's texts pack."""


@dataclass(frozen=True)
class Block:
    """The packed samples of one task."""

    index: Mapping[str, Any]
    """Goes into the page's index: names, scores and where to find the texts."""
    chunks: tuple[str, ...]
    cut: Mapping[str, int]
    """How many texts of a sample were cut, where any was."""


@dataclass(frozen=True)
class Encoded:
    """The samples of one task as JSON, one text for each."""

    texts: Mapping[str, str]
    """By sample id, in order."""
    asks: Mapping[str, str]
    """The beginning of what only this sample's prompt says."""
    shared: Sequence[Ends]
    cut: Mapping[str, int]
    """How many texts of a sample were cut, where any was."""


def expected_sizes(task: TaskView, samples: Sequence[str], limits: Sequence[int]) -> list[float]:
    """Bytes in the page that some samples would take under each limit of their texts."""
    writer = SampleWriter(task, limits[0])
    sizes = []
    for limit in limits:
        writer.limit = limit
        texts = [_json(writer.sample(sample)) for sample in samples]
        sizes.append(sum(map(len, texts)) * ratio_of(texts))
    return sizes


def encode_task(task: TaskView, limit: int) -> Encoded:
    """Write all samples of a task as JSON, with at most `limit` characters of any one text."""
    writer = SampleWriter(task, limit)
    texts: dict[str, str] = {}
    cut: dict[str, int] = {}
    for sample in task.sample_ids:
        before = writer.cut
        texts[sample] = _json(writer.sample(sample))
        if writer.cut > before:
            cut[sample] = writer.cut - before
    return Encoded(texts, writer.asks, writer.shared, cut)


def pack_block(task: TaskView, view: View, encoded: Encoded, samples: Sequence[str]) -> Block:
    """Compress some samples of a task, and write their index."""
    starts: list[int] = []
    chunks: list[str] = []
    shared = _json(encoded.shared)
    for start, texts in _sliced([encoded.texts[sample] for sample in samples], CHUNK):
        starts.append(start)
        chunks.append(pack_text(f'{{"shared":{shared},"samples":[{",".join(texts)}]}}'))
    cut = {sample: encoded.cut[sample] for sample in samples if sample in encoded.cut}
    return Block(_index(task, view, encoded.asks, samples, starts), tuple(chunks), cut)


def pack_text(text: str) -> str:
    """Text → zlib → base64."""
    return base64.b64encode(zlib.compress(text.encode("utf-8"), 6)).decode("ascii")


def pack_value(value: Any) -> str:
    """A JSON value → zlib → base64."""
    return pack_text(_json(value))


def packed_size(blocks: Sequence[Block]) -> int:
    """Bytes that blocks take in the page, the index included."""
    chunks = sum(len(chunk) + _MARKUP for block in blocks for chunk in block.chunks)
    return chunks + len(pack_value([block.index for block in blocks]))


def ratio_of(texts: Sequence[str]) -> float:
    """Bytes in the page for a character of JSON, measured on part of the texts; 1 where there are none."""
    if not texts:
        return 1.0
    step = max(1, sum(map(len, texts)) // _TRIED)
    tried = [chunk for _, chunk in _sliced(list(texts[::step]), CHUNK)]
    packed = sum(len(pack_text(",".join(chunk))) for chunk in tried)
    return packed / max(1, sum(len(text) for chunk in tried for text in chunk))


def _json(value: Any) -> str:
    """JSON without white space; a lone surrogate, which UTF-8 cannot hold, as its escape."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _sliced(texts: list[str], size: int) -> Iterable[tuple[int, list[str]]]:
    """(number of the first text, texts) of slices of about `size` characters."""
    start, total = 0, 0
    for number, text in enumerate(texts):
        total += len(text)
        if total >= size:
            yield start, texts[start : number + 1]
            start, total = number + 1, 0
    if start < len(texts):
        yield start, texts[start:]


def _index(
    task: TaskView, view: View, asks: Mapping[str, str], samples: Sequence[str], starts: Sequence[int]
) -> dict[str, Any]:
    tags: dict[str, int] = {}
    split = disagreements(task)
    labels = [[tags.setdefault(name, len(tags)) for name in _labels(task, sample)] for sample in samples]
    return {
        "key": task.key,
        "name": task.name,
        "metric": task.sample_metric,
        "percent": task.sample_scale.percent,
        "binary": task.sample_scale.binary,
        "higher": task.sample_scale.higher_is_better,
        "middle": task.sample_scale.middle,
        "least": least_change(task.sample_scale),
        "top": task.sample_scale.top,
        "recorded": is_recorded(task.baseline.run.rows[0]) if task.baseline.run.rows else False,
        "judging": task.shows_judge_prompt,
        "meaning": describe(task.sample_scale) if task.kind == "scored" else "",
        "models": [view.model_index(entry.model) for entry in task.cells],
        "judges": task.kind != "scored",
        "split": [number for number, sample in enumerate(samples) if sample in split]
        if is_judged_twice(task)
        else None,
        "total": len(task.sample_ids),
        "ids": samples,
        "asks": [asks.get(sample, "") for sample in samples],
        "tags": list(tags),
        "labels": labels,
        "scores": [[_score(entry, sample) for sample in samples] for entry in task.cells],
        "words": [_words(entry, samples) for entry in task.cells] if not task.is_plain else None,
        "unscored": [
            {number: reason for number, sample in enumerate(samples) if (reason := _reason(entry, sample))}
            for entry in task.cells
        ],
        "starts": starts,
    }


def _labels(task: TaskView, sample: str) -> tuple[str, ...]:
    return labels_of(next(entry.rows[sample][0] for entry in task.cells if sample in entry.rows))


def _words(entry: Cell, samples: Sequence[str]) -> list[str | None]:
    """What is said of every sample where its score is not what a reader looks for."""
    return [mark.words if (mark := entry.marks.get(sample)) else None for sample in samples]


def _score(entry: Cell, sample: str) -> float | str | None:
    score = entry.scores.get(sample)
    return None if score is None else rounded(score)


def _reason(entry: Cell, sample: str) -> str | None:
    rows = entry.rows.get(sample)
    if rows is None:
        return "not run"
    return next((row.unscored for row in rows if row.unscored), None)
