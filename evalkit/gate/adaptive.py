"""The gate with repeats added only where they can decide: look, and ask again only what is still open.

Looks after 1, 2 and 4 repeats of both sides at the levels of `stats.decision.AdaptiveRepeats`, which together spend
alpha. A rule is settled by a proven drop or by an excluded margin. More repeats are not asked for where they could
hardly decide: where scores do not change from repeat to repeat, or what varies is the samples (`forecast`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from evalkit.arena.even import evened
from evalkit.errors import EvalkitError
from evalkit.gate.forecast import removable_share
from evalkit.gate.rules import GateRule
from evalkit.gate.verdicts import (
    Gated,
    GateResult,
    GateSettings,
    Look,
    RuleVerdict,
    conclude,
    decide_one,
    family_p,
    prepare,
)
from evalkit.record import Run
from evalkit.stats.decision import AdaptiveRepeats, Verdict

HARDLY = 0.1
"""More repeats are not asked for where they would take away less than this share of the variance."""


class CannotRepeat(EvalkitError):
    """A recorded Run cannot be made again with more repeats; the message says why."""


Repeat = Callable[[Run, int], Run]
"""(a recorded Run, how many repeats) → the same Run with at least so many; raises CannotRepeat."""


@dataclass(frozen=True)
class _Open:
    """A rule that is looked at, with all repeats there are."""

    gated: Gated
    first_look: int
    stuck: str = ""
    """Why no more repeats can be had."""
    settled: RuleVerdict | None = None


def gate_adaptively(
    candidates: Sequence[Run],
    baselines: Sequence[Run],
    rules: Sequence[GateRule],
    settings: GateSettings | None,
    repeat: Repeat,
) -> GateResult:
    """Gate like `run_gate`, with more repeats of both sides where the ones there are decide nothing.

    Args:
        candidates: as for `run_gate`; repeats already stored are used.
        baselines: the same.
        rules: the same.
        settings: the same.
        repeat: makes the further repeats; called only for open rules.

    Raises:
        UsageError: what `run_gate` raises; and whatever `repeat` raises but CannotRepeat.
    """
    plan = AdaptiveRepeats()
    known = _Repeated(repeat)
    entries = [_Open(one, _first_look(one, plan)) for one in prepare(candidates, baselines, rules, settings)]
    for index, count in enumerate(plan.repeats):
        entries = [_more(entry, known, count) if _looks(entry, index) else entry for entry in entries]
        p_values = family_p([entry.gated for entry in entries])
        entries = [
            _looked(entry, index, p, plan) if _looks(entry, index) else entry
            for entry, p in zip(entries, p_values, strict=True)
        ]
    return conclude([entry.settled for entry in entries if entry.settled], candidates, baselines)


class _Repeated:
    """Makes further repeats once, though several rules may ask for them."""

    def __init__(self, repeat: Repeat) -> None:
        self._repeat = repeat
        self._made: dict[tuple[str, str, int], Run | CannotRepeat] = {}

    def __call__(self, run: Run, count: int) -> Run:
        if run.manifest.repeats >= count:
            return run
        key = (str(run.path), run.id, count)
        if key not in self._made:
            try:
                self._made[key] = self._repeat(run, count)
            except CannotRepeat as error:
                self._made[key] = error
        made = self._made[key]
        if isinstance(made, CannotRepeat):
            raise made
        return made


def _first_look(one: Gated, plan: AdaptiveRepeats) -> int:
    """The last look for which both sides have enough repeats already."""
    stored = min(run.manifest.repeats for run in (one.candidate, one.baseline or one.candidate))
    return max(index for index, count in enumerate(plan.repeats) if index == 0 or count <= stored)


def _looks(entry: _Open, index: int) -> bool:
    return entry.settled is None and index >= entry.first_look


def _more(entry: _Open, repeat: _Repeated, count: int) -> _Open:
    """With that many repeats of both sides, or of one where only that one can be had; stuck where neither can."""
    one = entry.gated
    if one.baseline is None or one.comparison is None:
        return entry
    if one.pairs is not None:
        return _more_pairs(entry, one.pairs, repeat, count)
    sides, reasons = [one.candidate, one.baseline], []
    for side, run in enumerate(sides):
        try:
            sides[side] = repeat(run, count)
        except CannotRepeat as error:
            reasons.append(str(error))
    if reasons and sides[0] is one.candidate and sides[1] is one.baseline:
        return replace(entry, stuck=reasons[0])
    return replace(entry, gated=replace(one, candidate=sides[0], baseline=sides[1]).compared())


def _more_pairs(entry: _Open, pairs: Run, repeat: _Repeated, count: int) -> _Open:
    """The same for a judgement of pairs, whose repeats are repeats of both sides."""
    try:
        pairs = repeat(pairs, count)
    except CannotRepeat as error:
        return replace(entry, stuck=str(error))
    even, own = evened(pairs)
    return replace(entry, gated=replace(entry.gated, candidate=own, baseline=even, pairs=pairs).compared())


def _looked(entry: _Open, index: int, p_adjusted: float | None, plan: AdaptiveRepeats) -> _Open:
    """What one look settles."""
    one = entry.gated
    if entry.stuck:
        note = f"{plan.repeats[index]} repeats would be the next step, but {entry.stuck}"
        return _closed(entry, p_adjusted, plan, index - 1, note)
    if index == len(plan.repeats) - 1:
        return _closed(entry, p_adjusted, plan, index, _spent(one))
    decision = decide_one(_without_burden(one), p_adjusted, looks=Look(plan, index, entry.first_look))
    if one.comparison is None or decision.verdict is not Verdict.INCONCLUSIVE:
        return replace(entry, settled=one.verdict(decision, _spent(one)))
    if _repeats_agree(one):
        note = f"{_spent(one)}: no score changes from repeat to repeat, so only more samples can decide"
        return _without_repeats(_closed(entry, p_adjusted, plan, index, note))
    if removable_share(one.comparison, plan.repeats[-1]) < HARDLY:
        note = f"{_spent(one)}: what varies is the samples, not the repeats, so only more samples can decide"
        return _without_repeats(_closed(entry, p_adjusted, plan, index, note))
    return entry


def _closed(entry: _Open, p_adjusted: float | None, plan: AdaptiveRepeats, index: int, note: str) -> _Open:
    """The verdict of the last look there is, at what earlier looks left of alpha."""
    look = Look(plan, index, entry.first_look, last=True)
    return replace(entry, settled=entry.gated.verdict(decide_one(entry.gated, p_adjusted, looks=look), note))


def _without_repeats(entry: _Open) -> _Open:
    """With no number of repeats said to settle it."""
    if entry.settled is None:
        return entry
    decision = replace(entry.settled.decision, repeats_needed=None)
    return replace(entry, settled=replace(entry.settled, decision=decision))


def _without_burden(one: Gated) -> Gated:
    """Before the last look a margin that is not yet excluded is open, not failed."""
    margin = one.rule.non_inferiority
    return one if margin is None else replace(one, rule=replace(one.rule, non_inferiority=None, margin=margin))


def _spent(one: Gated) -> str:
    counts = [one.candidate.manifest.repeats, *([one.baseline.manifest.repeats] if one.baseline else [])]
    count = " and ".join(str(count) for count in dict.fromkeys(counts))
    return f"{count} {'repeat' if count == '1' else 'repeats'}{_of_what(one.candidate)}"


def _of_what(run: Run) -> str:
    """What was repeated of a judgement."""
    if run.manifest.judge is None or run.manifest.repeats < 2:
        return ""
    anew = run.manifest.settings.get("repeats") == 1
    return " (responses generated anew, each judged once)" if anew else " (the same responses judged again)"


def _repeats_agree(one: Gated) -> bool:
    """Whether both sides have repeats and no sample's score differs between them."""
    runs = [run for run in (one.candidate, one.baseline) if run is not None]
    if any(run.manifest.repeats < 2 for run in runs):
        return False
    return all(len(set(scores)) == 1 for run in runs for scores in run.scores(one.metric).values())
