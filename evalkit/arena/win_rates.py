"""Judged items of models in, their win rates out: raw, discrete, and length-controlled, saying what went into each."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from evalkit.arena.annotations import Annotated
from evalkit.errors import EvalkitError
from evalkit.stats.difficulty import joint_difficulty
from evalkit.stats.length_control import GamedRows, JudgedItems, LengthControlled, length_controlled_win_rate
from evalkit.stats.win_rate import WinRate, win_rate

FEW_MODELS = 20
"""With fewer models, difficulties estimated jointly are noise and the term is better left out."""

Source = Literal["file", "joint", "none"]


@dataclass(frozen=True)
class LengthSettings:
    """What the length-controlled win rate is made with."""

    difficulty: Mapping[Hashable, float] | None = None
    """By item; None estimates it jointly from enough models, or leaves it out."""
    joint: bool | None = None
    """Estimate difficulties jointly: always, never, or (None) from `FEW_MODELS` models on."""
    gamed: GamedRows | None = None
    strength: float | None = None


@dataclass(frozen=True)
class ModelWinRates:
    """One model against its baseline."""

    model: str
    baseline: str
    raw: WinRate
    controlled: LengthControlled | None
    """None where the responses' lengths are not known or there are too few items."""
    average_length: float | None
    unscored: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class WinRates:
    """All models, the best first."""

    models: tuple[ModelWinRates, ...]
    difficulty: Source
    """Where item difficulties come from."""
    gamed: bool
    """Whether the baseline's own verbosity ties the length effect down."""
    notes: tuple[str, ...] = field(default_factory=tuple)


def win_rates(annotated: Sequence[Annotated], settings: LengthSettings | None = None) -> WinRates:
    """Compute every model's win rates against its baseline.

    Raises:
        UsageError: a preference is not from 1 to 2, or an item has no difficulty in the file given.
        EvalkitError: no item has a verdict.
    """
    settings = settings or LengthSettings()
    if not any(one.items for one in annotated):
        raise EvalkitError("no item has a verdict, so there is no win rate: judge again")
    difficulty, source = _difficulty(annotated, settings)
    found = [_model(one, difficulty, settings) for one in annotated]
    return WinRates(
        models=tuple(sorted(found, key=lambda one: -_order(one))),
        difficulty=source,
        gamed=settings.gamed is not None,
        notes=_notes(source, len(annotated), settings),
    )


def _difficulty(
    annotated: Sequence[Annotated], settings: LengthSettings
) -> tuple[Mapping[Hashable, float] | None, Source]:
    if settings.difficulty is not None:
        return settings.difficulty, "file"
    usable = {one.model: items for one in annotated if one.model != one.baseline and (items := one.judged())}
    if settings.joint or (settings.joint is None and len(usable) >= FEW_MODELS):
        return joint_difficulty(usable), "joint"
    return None, "none"


def _model(one: Annotated, difficulty: Mapping[Hashable, float] | None, settings: LengthSettings) -> ModelWinRates:
    items = one.judged()
    controlled = None if items is None else _controlled(items, difficulty, settings)
    lengths = one.model_lengths
    notes = [] if items is not None else ["the lengths of the responses are not known: no length control"]
    if one.unscored:
        predicted = f"; at equal lengths {len(one.undecided)} of them are predicted" if one.undecided else ""
        notes.append(f"{one.unscored} items without a verdict were left out{predicted}")
    return ModelWinRates(
        model=one.model,
        baseline=one.baseline,
        raw=win_rate(one.preferences),
        controlled=controlled,
        average_length=sum(lengths) / len(lengths) if lengths else None,
        unscored=one.unscored,
        notes=(*notes, *(controlled.notes if controlled else ())),
    )


def _controlled(
    items: JudgedItems, difficulty: Mapping[Hashable, float] | None, settings: LengthSettings
) -> LengthControlled | None:
    if items.has_verdict.sum() < 2:
        return None
    return length_controlled_win_rate(items, difficulty=difficulty, gamed=settings.gamed, strength=settings.strength)


def _order(one: ModelWinRates) -> float:
    best = one.controlled.win_rate.value if one.controlled else one.raw.win_rate.value
    return best if best is not None else float("-inf")


def _notes(source: Source, models: int, settings: LengthSettings) -> tuple[str, ...]:
    words = {
        "file": "item difficulties: from the file given",
        "joint": f"item difficulties: estimated jointly from {models} models",
        "none": f"item difficulties: left out (a joint estimate takes about {FEW_MODELS} models; a file is better)",
    }[source]
    gamed = "tied down by the baseline's own" if settings.gamed is not None else "free, for no gamed rows were given"
    return (words, f"length effect: {gamed}")
