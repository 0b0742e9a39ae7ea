"""Pairwise Runs and trials of judges in, what they answer in words out, for the first screen."""

from collections.abc import Iterator, Sequence

from evalkit.arena.voted_runs import PEOPLE
from evalkit.report.answer import Answer
from evalkit.report.duels import EVEN, Duel, Tournament, duels, tournaments
from evalkit.report.judging import Attacked, Trial, attacked, overall_success, trials
from evalkit.report.pair import Change
from evalkit.report.people import graded
from evalkit.report.shares import ends, percent
from evalkit.report.text import listed, plural
from evalkit.report.view import View

_SPOKEN = 6
"""Pairs of models that are put into words; the table has them all."""
_WORDS: dict[Change, str] = {
    "better": "{0} beats {1}",
    "worse": "{1} beats {0}",
    "unchanged": "{0} and {1} are even",
    "unclear": "Neither {0} nor {1} is proven to win",
}


def duel_answers(view: View) -> Iterator[Answer]:
    """One answer for each judge: who wins, and by how much."""
    for one in tournaments(view):
        met = [duel for duel in duels(view) if duel.judge == one.judge and _rubric(duel) == one.rubric]
        if len(met) == 1:
            yield Answer(f"{_won(met[0])}, {_says(one)}.", (f"{_rate(met[0])}.",), met[0].change)
        elif met:
            yield _ranking(view, one, met)


def _says(one: Tournament) -> str:
    return "say people" if one.judge == PEOPLE else f"says {one.judge}"


def _rubric(duel: Duel) -> str:
    return str((duel.cell.run.manifest.judge or {}).get("rubric"))


def _won(duel: Duel) -> str:
    return _WORDS[duel.change].format(duel.first, duel.second)


def _rate(duel: Duel) -> str:
    metric = duel.win_rate
    if metric is None or metric.value is None:
        return f"{duel.first} against {duel.second}: no verdict"
    turned = metric.value < EVEN
    name = duel.second if turned else duel.first
    value, low, high = metric.value, metric.low, metric.high
    if turned:
        value = 1 - value
        low, high = (None if high is None else 1 - high), (None if metric.low is None else 1 - metric.low)
    other = duel.first if turned else duel.second
    return f"{name} wins {percent(value)} against {other} ({ends(low, high)}, {plural(metric.n, 'pair')})"


def _ranking(view: View, one: Tournament, met: Sequence[Duel]) -> Answer:
    first = [view.short.get(model.model, model.model) for model in one.standings.models if model.rank == 1]
    count = len(one.standings.models)
    lead = f"{first[0]} is the best" if len(first) == 1 else f"{listed(first)} are not told apart as the best"
    more = f" … and {plural(len(met) - _SPOKEN, 'more pair')}." if len(met) > _SPOKEN else "."
    return Answer(
        f"{lead} of {count} models, {_says(one)}.",
        ("; ".join(_rate(duel) for duel in met[:_SPOKEN]) + more,),
        "better" if len(first) == 1 else "unclear",
    )


def trial_answers(view: View) -> Iterator[Answer]:
    """One answer for each judge on trial, and one for a judge that was only attacked."""
    fooled = {one.judge: _fooled(one) for one in attacked(view)}
    for checked in graded(view):
        more = fooled.pop(checked.judge, "")
        yield Answer(
            checked.words, (more,) if more else (), "better" if (checked.card.spearman.low or 0) > 0 else "unclear"
        )
    for task in view.of_kind("audit"):
        for one in trials(task):
            yield Answer(one.words, (fooled.pop(one.judge, ""),) if fooled.get(one.judge) else (), _trusted(one))
    for words in fooled.values():
        if words:
            yield Answer(words, (), "unclear")


def _fooled(one: Attacked) -> str:
    runs = ((one.open, "off"), (one.fenced, "on"))
    found = [(overall_success(run).value, state) for run, state in runs if run is not None]
    said = [f"{percent(share)} with its defences {state}" for share, state in found if share is not None]
    return f"Attacks win {listed(said)}." if said else ""


def _trusted(one: Trial) -> Change:
    found, blind = one.card.pair_accuracy, one.blind_accuracy
    if found.low is None or found.high is None or blind is None:
        return "unclear"
    return "better" if found.low > blind else "worse" if found.high < blind else "unclear"
