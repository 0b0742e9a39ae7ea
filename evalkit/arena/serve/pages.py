"""A battle or a leaderboard in, the page that a person sees out."""

from collections.abc import Sequence

from starlette.responses import HTMLResponse, Response

from evalkit.arena.journal import Battle, By, Turn
from evalkit.arena.rating import Standings
from evalkit.arena.serve.session import Arena
from evalkit.report.html import Child, Html, join, tag
from evalkit.report.text import NOT_KNOWN, number, plural, short_names
from evalkit.stats.intervals import Estimate
from evalkit.web.pages import Frame, shown_text, table

MAX_PROMPT = 20_000
CHOICES = (("a", "A is better", "a"), ("b", "B is better", "b"), ("tie", "Tie", "t"), ("both_bad", "Both bad", "x"))
_SHOWN = {"a": "A is better", "b": "B is better", "tie": "tie", "both_bad": "both bad"}
_BY: Sequence[tuple[By, str]] = (("people", "people"), ("judges", "judges"), ("all", "both together"))


class ArenaPages:
    """The pages of one arena."""

    def __init__(self, arena: Arena, frame: Frame) -> None:
        self._arena = arena
        self._frame = frame

    def start(self) -> Response:
        """Where a battle begins."""
        if self._arena.stored is not None:
            ask = self._next("Show two answers")
            how = "Two models answered the same prompt. You see both answers, but not whose they are."
        else:
            ask = self._ask("/battle", "Your prompt", "Ask two models")
            how = "Two models answer side by side. You learn who they are after you vote."
        intro = tag("p", how, " Votes are kept on this machine.")
        return self._page("Arena", tag("h1", "Which answer is better?"), intro, ask)

    def battle(self, battle: Battle, *, problem: str | None = None, status: int = 200) -> Response:
        """A battle: growing, to be voted on, or with its names revealed."""
        turns = [self._turn(battle, place, turn) for place, turn in enumerate(battle.turns)]
        note = tag("p", problem, class_="fault", role="alert") if problem else None
        body = (tag("h1", "Which answer is better?"), note, turns, self._end(battle))
        return self._page("Battle", *body, status=status)

    def leaderboard(self, by: By, leaked: bool) -> Response:
        """Ratings so far."""
        live = tag(
            "div", self._figures(by, leaked), id="live", data_from=f"/leaderboard/live?by={by}&leaked={leaked:d}"
        )
        return self._page("Leaderboard", tag("h1", "Leaderboard"), live)

    def live(self, by: By, leaked: bool) -> Response:
        """The part of the leaderboard that changes with every vote."""
        return HTMLResponse(self._figures(by, leaked))

    def _page(self, title: str, *body: Child, status: int = 200) -> Response:
        links = join([tag("a", "Arena", href="/"), tag("a", "Leaderboard", href="/leaderboard")])
        return self._frame.page(title, *body, links=links, status=status)

    def _ask(self, action: str, label: str, button: str) -> Html:
        box = tag("textarea", name_="prompt", required=True, maxlength=MAX_PROMPT, autofocus=action == "/battle")
        return self._frame.form(action, tag("label", label, box), tag("button", button, class_="main"), class_="ask")

    def _next(self, words: str) -> Html:
        button = tag("button", words, " ", tag("kbd", "n"), class_="main", data_key="n")
        return self._frame.form("/battle", button, class_="ask")

    def _turn(self, battle: Battle, place: int, turn: Turn) -> Html:
        growing = turn.answer_a is None and turn.fault is None
        texts = (turn.answer_a, turn.answer_b)
        names = (battle.model_a, battle.model_b) if battle.winner is not None else (None, None)
        parts = [
            tag(
                "section",
                tag("h2", f"Answer {side}", f": {name}" if name and place == 0 else None),
                self._answer(text, side, growing=growing, battle=battle),
                class_="response",
            )
            for side, text, name in zip("AB", texts, names, strict=True)
        ]
        asked = tag("section", tag("h2", "Prompt" if place == 0 else f"Prompt {place + 1}"), shown_text(turn.prompt))
        return join([tag("div", asked, class_="asked"), tag("div", parts, class_="sides")])

    def _answer(self, text: str | None, side: str, *, growing: bool, battle: Battle) -> Html:
        if not growing:
            return shown_text(text) if text else tag("p", "(no answer)", class_="note")
        duel = self._arena.duel(battle.id)
        so_far = "" if duel is None else duel.sides["AB".index(side)].text
        return tag("pre", so_far, class_="text waiting", id=f"answer-{side.lower()}", aria_busy="true")

    def _end(self, battle: Battle) -> Html:
        """What can be done with a battle now."""
        last = battle.turns[-1]
        if battle.winner is not None:
            return self._revealed(battle)
        if last.fault is not None:
            return self._failed(battle, f"There is no vote on this prompt, because a fault is no loss: {last.fault}.")
        if not last.finished:
            return self._waiting(battle)
        vote = self._frame.form(
            f"/battle/{battle.id}/vote",
            tag("div", [_button(*choice) for choice in CHOICES], class_="scores"),
            class_="label",
        )
        more = None
        if self._arena.stored is None:
            more = tag(
                "details",
                tag("summary", "Ask more"),
                self._ask(f"/battle/{battle.id}/turn", "Next prompt to both", "Ask"),
            )
        return tag("div", tag("div", vote, class_="bar"), more)

    def _waiting(self, battle: Battle) -> Html:
        duel = self._arena.duel(battle.id)
        if duel is None or duel.done:
            words = "These answers were never finished: the server was stopped, or could not keep them."
            return self._failed(battle, words)
        words = "The answers are being written. "
        refresh = tag("a", "Show more of them", href=f"/battle/{battle.id}")
        return tag(
            "p", words, refresh, id="growing", data_from=f"/battle/{battle.id}/events", class_="note", role="status"
        )

    def _failed(self, battle: Battle, words: str) -> Html:
        """What happened, and the way on."""
        again = None
        if self._arena.can_ask_again(battle):
            button = tag("button", "Ask again", class_="main")
            again = self._frame.form(f"/battle/{battle.id}/again", button, class_="ask")
        other = tag("p", tag("a", "Start another battle", href="/"))
        return join([tag("p", words, class_="fault", role="alert"), again, other])

    def _revealed(self, battle: Battle) -> Html:
        words = tag(
            "p",
            "You said: ",
            tag("b", _SHOWN[str(battle.winner)]),
            f". A was {battle.model_a}, B was {battle.model_b}.",
        )
        flag = None
        if battle.leaked is not None:
            flag = tag(
                "p", f"An answer gave its model away (“{battle.leaked}”), so this vote does not count in the ratings."
            )
        again = (
            self._next("Next pair")
            if self._arena.stored is not None
            else self._ask("/battle", "Next prompt", "Ask two models")
        )
        return join([tag("div", words, flag, class_="last", role="status"), again])

    def _figures(self, by: By, leaked: bool) -> Html:
        votes = self._arena.votes()
        people = sum(vote.judge is None for vote in votes)
        flagged = sum(vote.leaked is not None for vote in votes)
        words = f"{plural(people, 'vote')} of people, {plural(len(votes) - people, 'verdict')} of judges."
        which = join(
            tag("a", shown, href=f"?by={name}&leaked={leaked:d}", aria_current="page" if name == by else None)
            for name, shown in _BY
        )
        flags = None
        if flagged:
            change = tag("a", "leave them out" if leaked else "count them too", href=f"?by={by}&leaked={not leaked:d}")
            state = "count here" if leaked else "do not count here"
            flags = tag("p", f"{plural(flagged, 'vote')} after a model named itself {state} (", change, ").")
        standings = self._arena.standings(by, leaked)
        head = join([tag("p", words), tag("p", "Rate by ", which, class_="line"), flags])
        if standings is None:
            return join([head, tag("p", "No vote counts yet.", class_="note")])
        return join([head, _ratings(standings), _matrix(standings), _warnings(standings)])


def _button(word: str, shown: str, key: str) -> Html:
    return tag("button", shown, " ", tag("kbd", key), name_="winner", value=word, class_="main", data_key=key)


def _ratings(standings: Standings) -> Html:
    lines = [
        (one.model, str(one.rank), _rating(one.rating), f"{one.rating.n:,}", _share(one.win_rate))
        for one in standings.models
    ]
    head = ("model", "rank", "rating (95 %)", "battles", "wins of decided")
    return table("Bradley–Terry ratings", head, lines)


def _matrix(standings: Standings) -> Html | None:
    found = standings.matrix
    if found is None:
        return None
    ranked = [found.models.index(one.model) for one in standings.models if one.model in found.models]
    names = short_names(found.models)
    head = ("beats →", *(names[found.models[column]] for column in ranked))
    lines = [
        (
            names[found.models[row]],
            *(NOT_KNOWN if row == column else _share(found.fractions[row][column]) for column in ranked),
        )
        for row in ranked
    ]
    return table("Share of decided battles that the model of the row won", head, lines)


def _warnings(standings: Standings) -> Html | None:
    notes = [tag("li", one) for one in standings.warnings]
    return tag("ul", notes, class_="note") if notes else None


def _rating(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{number(estimate.value, 0)} (no limit yet)"
    bounds = f"[{number(estimate.low, 0)}, {number(estimate.high, 0)}]"
    # On one line, however narrow the table is.
    return f"{number(estimate.value, 0)} {bounds}".replace(" ", "\N{NO-BREAK SPACE}")


def _share(value: float | None) -> str:
    return NOT_KNOWN if value is None else f"{number(100 * value, 0)} %"
