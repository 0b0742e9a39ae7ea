"""A judgement of a Run with repeats in, the same with one sample per question out.

A judge sees each repeat of a response, or of a pair of them, as a sample of its own, `ID#1`, `ID#2` … beside `ID`, in
one cluster. To compare and gate they are what they were: repeats of one sample, so a judged baseline with four can
meet a candidate with one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from evalkit.judge.pairwise import PAIR_FIELD
from evalkit.record import Row, Run
from evalkit.task import Sample


@dataclass(frozen=True)
class Part:
    """What a judged sample is one repeat of."""

    id: str
    """Of the sample; of a pair with the order it was shown in."""
    pair: str
    """The same without the order."""
    number: int
    """Which of the responses it is about."""


def folded(run: Run) -> Run:
    """The Run with judged repeats as repeats; any other Run as it is."""
    parts = parts_of(run.rows) if run.manifest.judge else {}
    most = max((part.number for part in parts.values()), default=0)
    if not most:
        return run
    per_response = run.manifest.repeats
    rows = tuple(_folded(row, parts[row.id], per_response) for row in run.rows)
    order = {sample: index for index, sample in enumerate(dict.fromkeys(row.id for row in rows))}
    rows = tuple(sorted(rows, key=lambda row: (order[row.id], row.repeat)))
    return replace(run, rows=rows, manifest=replace(run.manifest, repeats=per_response * (most + 1)))


def parts_of(judged: Sequence[Row] | Sequence[Sample]) -> dict[str, Part]:
    """What each judged sample is a repeat of, by its id."""
    clusters = {_pair(one): one.cluster for one in judged if "#" not in _pair(one)}
    return {one.id: _part(one, clusters) for one in judged}


def _pair(one: Row | Sample) -> str:
    """The name of a judged sample; of a pair without the order that is shown (a baseline file knows only ids)."""
    given = one.fields.get(PAIR_FIELD)
    return one.id.removesuffix("|ab").removesuffix("|ba") if given is None else str(given)


def _part(one: Row | Sample, clusters: Mapping[str, str | None]) -> Part:
    pair = _pair(one)
    sample, _, number = pair.rpartition("#")
    # A sample's own id may hold a number sign: only a row in the cluster of its first response is a repeat.
    if sample in clusters and number.isdecimal() and one.cluster == (clusters[sample] or sample):
        return Part(sample + one.id.removeprefix(pair), sample, int(number))
    return Part(one.id, pair, 0)


def _folded(row: Row, part: Part, per_response: int) -> Row:
    repeat = part.number * per_response + row.repeat
    fields = {**row.fields, PAIR_FIELD: part.pair} if PAIR_FIELD in row.fields else row.fields
    # Both orders of a pair stay in the cluster of its name.
    cluster = None if row.cluster == part.id else row.cluster
    return replace(row, id=part.id, repeat=repeat, fields=fields, cluster=cluster)
