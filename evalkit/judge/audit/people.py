"""People's scores of some responses and a judge's scores of all in, how far the judge can be taken for people out.

Both are compared as shares of their own scale (0 lowest, 1 highest), so that a judge's 0 to 100 can be held against
people's 1 to 5. From the labelled responses follow the agreement and the judge's error rates; with them, the judge's
scores of the other responses say what people would have said of everything: the mean by prediction-powered inference,
the share of passes (upper half of the scale) by Rogan and Gladen. Both need the labelled responses to be a random draw.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from evalkit.errors import UsageError
from evalkit.judge.pairwise import as_share
from evalkit.judge.pointwise import CANARY
from evalkit.judge.rubrics import Rubric, Scale
from evalkit.record import Row, Run
from evalkit.stats.agreement import cohen_kappa, pearson, spearman
from evalkit.stats.intervals import Estimate, estimate_mean
from evalkit.stats.ppi import prediction_powered_mean, rogan_gladen

PEOPLE_FIELD = "people_share"
"""Field of a judged response: people's mean score, as a share of their scale."""
FEWEST = 2
"""Labelled responses without which nothing can be said."""


@dataclass(frozen=True)
class Labelled:
    """The responses of a Run, some of them scored by people."""

    run: Run
    shares: Mapping[str, float]
    """Row id ("sample", or "sample#repeat" for a later repeat) → mean human score, as a share of their scale."""


@dataclass(frozen=True)
class ScoreCard:
    """A judge against people on the same responses; estimates are shares of the scale, 0 to 1, unless they say more."""

    labelled: int
    """Responses with a score by people and one by the judge."""
    judged: int
    """Responses the judge scored, labelled or not."""
    pearson: Estimate
    spearman: Estimate
    difference: Estimate
    """Judge minus people on the labelled responses; above 0 the judge is too kind."""
    judge_mean: Estimate
    """What the judge says of all responses, uncorrected."""
    corrected_mean: Estimate
    """What people would give to all responses on average."""
    accuracy: Estimate
    """Share of labelled responses that the judge passes or fails as people do."""
    constant_accuracy: float | None
    """What always passing, or always failing, reaches."""
    kappa: Estimate
    """Cohen's kappa of pass and fail."""
    sensitivity: Estimate
    """Of what people pass, the share that the judge passes."""
    specificity: Estimate
    """Of what people fail, the share that the judge fails."""
    judge_pass: Estimate
    """Share of all responses that the judge passes."""
    corrected_pass: Estimate
    """Share of all responses that people would pass; no value where the judge is no better than chance."""
    unscored: Mapping[str, int] = field(default_factory=dict)
    """Responses without a verdict, by reason."""


@dataclass(frozen=True)
class _Unit:
    """The responses of one sample or cluster, which are not independent."""

    judge: float
    """Mean judge's share of those people scored, or of all where they scored none."""
    people: float | None


def with_shares(run: Run, shares: Mapping[str, float]) -> Run:
    """A judged Run whose rows say how people scored the same responses; by row id, as in `Labelled.shares`."""
    rows = (
        replace(row, fields={**row.fields, PEOPLE_FIELD: shares[row.id]}) if row.id in shares else row
        for row in run.rows
    )
    return replace(run, rows=tuple(rows))


def shares_in(run: Run) -> dict[str, float]:
    """How people scored the responses of a judged Run, by row id; empty where nobody did."""
    return {row.id: float(row.fields[PEOPLE_FIELD]) for row in run.rows if PEOPLE_FIELD in row.fields}


def score_card(judged: Sequence[tuple[Run, Mapping[str, float]]], rubric: Rubric) -> ScoreCard:
    """The card of the judge behind some judged Runs.

    Args:
        judged: each judged Run with people's shares by row id (see `Labelled.shares`).
        rubric: what the judge scored by.

    Raises UsageError where fewer than two responses were scored by both, or the rubric has no scale.
    """
    if rubric.scale is None:
        raise UsageError(f"rubric {rubric.name} gives no scores: people's scores need a rubric with a scale")
    rows = [(row, run.id, shares) for run, shares in judged for row in run.rows if CANARY not in row.tags]
    by_judge = _judge_shares([(row, run_id) for row, run_id, _ in rows], rubric.scale)
    people = {(run_id, row.id): shares[row.id] for row, run_id, shares in rows if row.id in shares}
    clusters = {(run_id, row.id): f"{run_id}/{row.cluster or row.id}" for row, run_id, _ in rows}
    both = [key for key in by_judge if key in people]
    if len(both) < FEWEST:
        raise UsageError(
            f"{len(both)} labelled responses have a verdict of this judge; at least {FEWEST} are needed, and 30 or "
            "more for intervals worth having"
        )
    reasons = Counter(row.unscored for row, _, _ in rows if row.unscored is not None)
    return _card(by_judge, {key: people[key] for key in both}, clusters, reasons)


_Key = tuple[str, str]


def _card(
    judge: Mapping[_Key, float], people: Mapping[_Key, float], clusters: Mapping[_Key, str], reasons: Mapping[str, int]
) -> ScoreCard:
    guesses, truth = [judge[key] for key in people], list(people.values())
    passed, wanted = [_passes(share) for share in guesses], [_passes(share) for share in truth]
    alike = [float(one == said) for one, said in zip(passed, wanted, strict=True)]
    of_passes = [one for one, said in zip(passed, wanted, strict=True) if said]
    of_fails = [not one for one, said in zip(passed, wanted, strict=True) if not said]
    everywhere, everything = [clusters[key] for key in judge], [_passes(share) for share in judge.values()]
    named = [clusters[key] for key in people]
    return ScoreCard(
        labelled=len(people),
        judged=len(judge),
        pearson=pearson(guesses, truth),
        spearman=spearman(guesses, truth),
        difference=_mean([one - said for one, said in zip(guesses, truth, strict=True)], named),
        judge_mean=_mean(list(judge.values()), everywhere),
        corrected_mean=_corrected_mean(_units(judge, people, clusters)),
        accuracy=as_share(_mean(alike, named)),
        constant_accuracy=max(len(of_passes), len(of_fails)) / len(people),
        kappa=cohen_kappa([str(one) for one in passed], [str(said) for said in wanted]),
        sensitivity=as_share(_mean(of_passes)),
        specificity=as_share(_mean(of_fails)),
        judge_pass=as_share(_mean(everything, everywhere)),
        corrected_pass=rogan_gladen(
            (sum(everything), len(everything)), (sum(of_passes), len(of_passes)), (sum(of_fails), len(of_fails))
        ),
        unscored=reasons,
    )


def _passes(share: float) -> bool:
    return share >= 0.5


def _judge_shares(rows: Sequence[tuple[Row, str]], scale: Scale) -> dict[_Key, float]:
    """The judge's mean over repeats, as a share of its scale."""
    given: dict[_Key, list[float]] = {}
    for row, run_id in rows:
        if row.unscored is None and "score" in row.scores:
            share = (row.scores["score"] - scale.low) / (scale.high - scale.low)
            # An empty response is 0 by rule, below the scale of a rubric that begins at 1.
            given.setdefault((run_id, row.id), []).append(max(0.0, share))
    return {key: sum(shares) / len(shares) for key, shares in given.items()}


def _units(judge: Mapping[_Key, float], people: Mapping[_Key, float], clusters: Mapping[_Key, str]) -> list[_Unit]:
    members: dict[str, list[_Key]] = {}
    for key in judge:
        members.setdefault(clusters[key], []).append(key)
    return [_unit(keys, judge, people) for keys in members.values()]


def _unit(keys: Sequence[_Key], judge: Mapping[_Key, float], people: Mapping[_Key, float]) -> _Unit:
    known = [key for key in keys if key in people]
    seen = known or keys
    mean = sum(judge[key] for key in seen) / len(seen)
    return _Unit(mean, sum(people[key] for key in known) / len(known) if known else None)


def _corrected_mean(units: Sequence[_Unit]) -> Estimate:
    known = [(unit.people, unit.judge) for unit in units if unit.people is not None]
    elsewhere = [unit.judge for unit in units if unit.people is None]
    return prediction_powered_mean([people for people, _ in known], [judge for _, judge in known], elsewhere)


def _mean(values: Sequence[float], clusters: Sequence[str] | None = None) -> Estimate:
    several = clusters is not None and 1 < len(set(clusters)) < len(clusters)
    return estimate_mean(values, clusters=clusters if several else None)
