"""Models or Runs and a journal in, one open arena out: battles are opened, answered, voted on and rated here."""

import random
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from evalkit.arena.journal import Battle, By, Journal, Turn, Vote, Voted, Winner, battle_log, chosen_votes
from evalkit.arena.serve.answering import Answerer, Duel, HowToAsk, conversation
from evalkit.arena.serve.identity import leaked_identity
from evalkit.arena.serve.pairing import Pair, draw_pair, pair_weights
from evalkit.arena.serve.sources import StoredAnswers
from evalkit.digest import digest
from evalkit.errors import UsageError
from evalkit.models import Model
from evalkit.record import Run

if TYPE_CHECKING:
    from evalkit.arena.rating import Standings

MAX_WAITING = 32
"""Battles whose answers are being written at once."""
_KEPT_DUELS = 256
_MOST_HALVINGS = 6
"""A model that fails all the time still comes now and then, for its server may be back."""


@dataclass(frozen=True)
class ArenaOptions:
    """How battles are held."""

    asking: HowToAsk = field(default_factory=HowToAsk)
    seed: int | None = None
    """Of pairs, sides and prompts; None draws anew at every start."""


class Busy(Exception):
    """Too many answers are being written."""


class Arena:
    """One arena, open. Raises UsageError where no two models can meet, RecordError where the disk refuses."""

    def __init__(
        self,
        journal: Path,
        *,
        models: Mapping[str, Model] | None = None,
        runs: Sequence[Run] = (),
        options: ArenaOptions | None = None,
    ) -> None:
        options = options or ArenaOptions()
        models = models or {}
        self.stored = StoredAnswers(runs) if runs else None
        if self.stored is None and len(models) < 2:
            raise UsageError("an arena needs two different models, or runs of two models with --runs")
        self._answerers = {name: Answerer(model, options.asking) for name, model in models.items()}
        self._chance = random.SystemRandom() if options.seed is None else random.Random(options.seed)
        self._lock = threading.Lock()
        self._asking = threading.Lock()
        self._duels: dict[str, Duel] = {}
        self._faults: Counter[str] = Counter()
        """How often each model has failed since it last answered."""
        self._rated: dict[tuple[By, bool], tuple[int, Standings | None]] = {}
        self.journal = Journal(journal)

    @property
    def models(self) -> list[str]:
        """Who can meet."""
        if self.stored is None:
            return sorted(self._answerers)
        return sorted({name for pair in self.stored.pairs for name in pair})

    def open_stored(self) -> str:
        """A battle of two stored answers; its id."""
        assert self.stored is not None
        pairs = set(self.stored.pairs)
        weights = {pair: weight for pair, weight in self._weights().items() if pair in pairs}
        with self._lock:
            pair = draw_pair(weights, self._chance)
            prompt, turn = self.stored.draw(pair, self._chance)
        return self.journal.open_battle(pair, prompt, [turn], "runs")

    def open_live(self, prompt: str) -> str:
        """A battle of two live models, which begin to answer; its id. Raises Busy."""
        self._check_free()
        with self._lock:
            pair = draw_pair(self._weights(), self._chance)
        turns = [Turn(prompt)]
        battle = self.journal.open_battle(pair, f"live/{digest(prompt)[:16]}", turns, "live")
        self._ask(battle, pair, turns)
        return battle

    def follow_up(self, battle: Battle, prompt: str) -> bool:
        """Ask both models more; False where the battle has ended or its answers are not there yet. Raises Busy."""
        with self._asking:
            current = self.journal.battle(battle.id) or battle
            known = {battle.model_a, battle.model_b} <= self._answerers.keys()
            if not known or not current.can_be_voted_on:
                return False
            self._check_free()
            self._ask_turn(current, [*current.turns, Turn(prompt)])
            return True

    def can_ask_again(self, battle: Battle) -> bool:
        """Whether the last prompt has no two answers, none is being written, and nobody saw who wrote the failed ones.

        A battle that a stopped server left behind is one of them.
        """
        last, duel = battle.turns[-1], self.duel(battle.id)
        over = last.fault is not None or duel is None or duel.done
        known = {battle.model_a, battle.model_b} <= self._answerers.keys()
        return known and battle.winner is None and not last.finished and over and leaked_identity(battle) is None

    def ask_again(self, battle: Battle) -> bool:
        """Ask both models the last prompt once more; False where that cannot be. Raises Busy."""
        with self._asking:
            current = self.journal.battle(battle.id) or battle
            if not self.can_ask_again(current):
                return False
            self._check_free()
            self._ask_turn(current, [*current.turns[:-1], Turn(current.turns[-1].prompt)])
            return True

    def duel(self, battle: str) -> Duel | None:
        """The answers that are being written for a battle."""
        return self._duels.get(battle)

    def vote(self, battle: Battle, winner: Winner, voter: str) -> Voted:
        """Give a finished battle its vote."""
        return self.journal.vote(battle.id, winner, voter, leaked=leaked_identity(battle))

    def standings(self, by: By, leaked: bool) -> "Standings | None":
        """Ratings from the votes so far; None without a vote. Rated anew only after a new vote."""
        from evalkit.arena.rating import rate

        votes = self.journal.votes()
        count, found = self._rated.get((by, leaked), (-1, None))
        if count != len(votes):
            chosen = chosen_votes(votes, by, leaked=leaked)
            found = rate(battle_log(chosen)) if chosen else None
            self._rated[by, leaked] = (len(votes), found)
        return found

    def votes(self) -> list[Vote]:
        """All votes so far."""
        return self.journal.votes()

    def close(self) -> None:
        """Close the journal."""
        self.journal.close()

    def _weights(self) -> dict[Pair, float]:
        """How likely each pair is; halved for every answer that one of the two has failed to give."""
        weights = pair_weights(self.models, chosen_votes(self.journal.votes(), "people"))
        faults = {pair: min(self._faults[pair[0]] + self._faults[pair[1]], _MOST_HALVINGS) for pair in weights}
        return {pair: weight / 2 ** faults[pair] for pair, weight in weights.items()}

    def _check_free(self) -> None:
        if sum(not duel.done for duel in list(self._duels.values())) >= MAX_WAITING:
            raise Busy(f"{MAX_WAITING} battles wait for their answers: try again in a moment")

    def _ask_turn(self, battle: Battle, turns: Sequence[Turn]) -> None:
        self.journal.set_turn(battle.id, len(turns) - 1, turns[-1])
        self._ask(battle.id, (battle.model_a, battle.model_b), turns)

    def _keep(self, battle: str, number: int, turn: Turn, pair: Pair) -> None:
        self.journal.set_turn(battle, number, turn)
        for name, side in zip(pair, self._duels[battle].sides, strict=True):
            if side.fault is None:
                self._faults[name] = 0
            elif side.wanted():
                self._faults[name] += 1

    def _ask(self, battle: str, pair: Pair, turns: Sequence[Turn]) -> None:
        number = len(turns) - 1
        duel = Duel(turns[-1].prompt, lambda turn: self._keep(battle, number, turn, pair))
        with self._lock:
            finished = [name for name, one in self._duels.items() if one.done]
            for name in finished[: max(0, len(self._duels) - _KEPT_DUELS)]:
                del self._duels[name]
            self._duels[battle] = duel
        for side, name in enumerate(pair):
            self._answerers[name].ask(f"{battle}/{number}/{'ab'[side]}", conversation(turns, side), duel.sides[side])
