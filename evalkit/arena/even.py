"""A pairwise judgement in, two Runs to compare out: the candidate's share of each win, and an even half.

Such a Run carries its own comparison, so it can be compared and gated by itself: is the candidate's win rate below
0.5? What both orders of a pair say together is one score; a pair of which one order has no verdict is unscored.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from evalkit.arena.runs import is_pairwise, pair_models
from evalkit.compare.repeats import folded
from evalkit.judge.pairwise import ORDER_FIELD, PAIR_FIELD
from evalkit.record import Row, Run, count_unscored

METRIC = "win_rate"
EVEN = 0.5


def evened(run: Run) -> tuple[Run, Run]:
    """The baseline and the candidate of a pairwise judgement.

    Args:
        run: a judgement of pairs.

    Returns:
        A Run of the baseline's responses with 0.5 of every win, and one of the candidate's with what it won; each has
        one row per pair and repeat.
    """
    run = folded(run)
    pairs: dict[tuple[str, int], list[Row]] = {}
    for row in run.rows:
        pairs.setdefault((str(row.fields.get(PAIR_FIELD, row.id)), row.repeat), []).append(row)
    candidate, baseline = pair_models(run)
    won = [_won(pair, rows) for (pair, _), rows in pairs.items()]
    half = [replace(row, scores={METRIC: EVEN} if row.scores else {}, response=_response(row, "b")) for row in won]
    won = [replace(row, response=_response(row, "a")) for row in won]
    return _run(run, f"{run.id}:even", baseline, half), _run(run, run.id, candidate, won)


def by_themselves(runs: Sequence[Run]) -> Iterator[Run]:
    """The Runs, a pairwise judgement that no other Run of its task can meet as the two Runs it compares."""
    tasks = [run.manifest.task for run in runs]
    for run in runs:
        if is_pairwise(run) and tasks.count(run.manifest.task) == 1:
            yield from evened(run)
        else:
            yield run


def _run(run: Run, name: str, model: str, rows: Sequence[Row]) -> Run:
    manifest = replace(
        run.manifest, id=name, model=model, primary=METRIC, samples=len(rows), unscored=count_unscored(rows)
    )
    return replace(run, manifest=manifest, rows=tuple(rows))


def _won(pair: str, rows: Sequence[Row]) -> Row:
    """What all orders of a pair say together; unscored where one of them is."""
    first = rows[0]
    lost = next((row.unscored for row in rows if row.unscored is not None), None)
    scores = {} if lost else {METRIC: sum(row.scores[METRIC] for row in rows) / len(rows)}
    cluster = None if first.cluster == pair else first.cluster
    return replace(first, id=pair, scores=scores, unscored=lost, cluster=cluster)


def _response(row: Row, side: str) -> str:
    """The response of a side; the fields stand in the order shown."""
    swapped = str(row.fields.get(ORDER_FIELD, "ab")) == "ba"
    shown = {"a": "b", "b": "a"}[side] if swapped else side
    return str(row.fields.get(f"response_{shown}", ""))
