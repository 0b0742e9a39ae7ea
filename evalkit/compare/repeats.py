"""A judgement of a Run with repeats in, the same with one sample per question out.

A judge sees each repeat of a response as a sample of its own, `ID#1`, `ID#2` … beside `ID`, in one cluster. To compare
and gate they are what they were: repeats of one sample, so a judged baseline with four can meet a candidate with one.
"""

from dataclasses import replace

from evalkit.record import Row, Run


def folded(run: Run) -> Run:
    """The Run with judged repeats as repeats; any other Run as it is."""
    known = {row.id: row.cluster for row in run.rows if "#" not in row.id}
    parts = {row.id: _repeat_of(row, known) for row in run.rows} if run.manifest.judge else {}
    most = max(parts.values(), key=lambda part: part[1])[1] if parts else 0
    if not most:
        return run
    per_response = run.manifest.repeats
    rows = tuple(_folded(row, parts[row.id], per_response) for row in run.rows)
    order = {sample: index for index, sample in enumerate(dict.fromkeys(row.id for row in rows))}
    rows = tuple(sorted(rows, key=lambda row: (order[row.id], row.repeat)))
    return replace(run, rows=rows, manifest=replace(run.manifest, repeats=per_response * (most + 1)))


def _repeat_of(row: Row, known: dict[str, str | None]) -> tuple[str, int]:
    """The sample a row is about, and which of its responses it judges."""
    sample, _, number = row.id.rpartition("#")
    # A sample's own id may hold a number sign: only a row in the cluster of its first response is a repeat.
    belongs = sample in known and number.isdigit() and row.cluster == (known[sample] or sample)
    return (sample, int(number)) if belongs else (row.id, 0)


def _folded(row: Row, part: tuple[str, int], per_response: int) -> Row:
    sample, number = part
    cluster = None if row.cluster == sample else row.cluster
    return replace(row, id=sample, repeat=number * per_response + row.repeat, cluster=cluster)
