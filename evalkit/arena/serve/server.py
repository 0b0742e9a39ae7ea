"""An arena in, the application that serves it out: battles and the leaderboard by GET, prompts and votes by POST."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from pathlib import Path
from typing import cast

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from evalkit.arena.journal import OUTCOMES, Battle, By, Winner
from evalkit.arena.serve.answering import Duel
from evalkit.arena.serve.pages import MAX_PROMPT, ArenaPages
from evalkit.arena.serve.session import Arena, Busy
from evalkit.visible import visible
from evalkit.web.guard import Site
from evalkit.web.pages import Frame, field_of, static_routes

_SCRIPT = Path(__file__).parent / "arena.js"
_LOOK_SECONDS = 0.05
_VIEWS: tuple[By, ...] = ("people", "judges", "all")


def make_app(arena: Arena, site: Site) -> Starlette:
    """The application of one arena; put `web.guard.Guard` around it."""
    handlers = _Handlers(arena, Frame(site, "evalkit arena", (_SCRIPT.name,)))
    routes = [
        Route("/", handlers.start),
        Route("/battle", handlers.open, methods=["POST"]),
        Route("/battle/{id}", handlers.battle),
        Route("/battle/{id}/turn", handlers.turn, methods=["POST"]),
        Route("/battle/{id}/again", handlers.again, methods=["POST"]),
        Route("/battle/{id}/vote", handlers.vote, methods=["POST"]),
        Route("/battle/{id}/events", handlers.events),
        Route("/leaderboard", handlers.leaderboard),
        Route("/leaderboard/live", handlers.live),
        *static_routes(_SCRIPT),
    ]
    return Starlette(routes=routes, exception_handlers=handlers.frame.handlers())  # type: ignore[arg-type]


class _Handlers:
    def __init__(self, arena: Arena, frame: Frame) -> None:
        self._arena = arena
        self.frame = frame
        self._pages = ArenaPages(arena, frame)

    def start(self, _: Request) -> Response:
        """Where a battle begins."""
        return self._pages.start()

    def open(self, request: Request) -> Response:
        """A new battle."""
        if self._arena.stored is not None:
            return _go(self._arena.open_stored())
        try:
            return _go(self._arena.open_live(_prompt(request)))
        except Busy as error:
            raise HTTPException(429, str(error)) from None

    def battle(self, request: Request) -> Response:
        """One battle as it stands."""
        return self._pages.battle(self._find(request))

    def turn(self, request: Request) -> Response:
        """One more prompt to both models."""
        battle = self._find(request)
        try:
            asked = self._arena.follow_up(battle, _prompt(request))
        except Busy as error:
            raise HTTPException(429, str(error)) from None
        if not asked:
            return self._pages.battle(battle, problem="This battle takes no further prompt.", status=409)
        return _go(battle.id)

    def again(self, request: Request) -> Response:
        """The last prompt once more, where an answer to it failed."""
        battle = self._find(request)
        try:
            asked = self._arena.ask_again(battle)
        except Busy as error:
            raise HTTPException(429, str(error)) from None
        if not asked:
            return self._pages.battle(battle, problem="This prompt cannot be asked again.", status=409)
        return _go(battle.id)

    def vote(self, request: Request) -> Response:
        """The battle's one vote."""
        battle, winner = self._find(request), field_of(request, "winner")
        if winner not in OUTCOMES:
            raise HTTPException(400, f"A vote is one of {', '.join(OUTCOMES)}.")
        if battle.winner is None and not battle.can_be_voted_on:
            return self._pages.battle(battle, problem="There is nothing to vote on yet.", status=409)
        cookie = f"{self.frame.site.cookie}-voter"
        voter = request.cookies.get(cookie) or secrets.token_hex(8)
        if self._arena.vote(battle, cast(Winner, winner), voter) == "refused":
            voted = self._find(request)
            return self._pages.battle(voted, problem="This battle already has its vote.", status=409)
        answer = _go(battle.id)
        answer.set_cookie(cookie, voter, httponly=True, samesite="lax")
        return answer

    async def events(self, request: Request) -> Response:
        """Both answers as they grow, as server-sent events."""
        duel = self._arena.duel(request.path_params["id"])
        if duel is None:
            raise HTTPException(404, "No answers are being written for this battle.")
        return StreamingResponse(_events(duel), media_type="text/event-stream")

    def leaderboard(self, request: Request) -> Response:
        """The ratings."""
        return self._pages.leaderboard(*_view(request))

    def live(self, request: Request) -> Response:
        """The ratings alone."""
        return self._pages.live(*_view(request))

    def _find(self, request: Request) -> Battle:
        battle = self._arena.journal.battle(request.path_params["id"])
        if battle is None:
            raise HTTPException(404, "There is no such battle.")
        return battle


async def _events(duel: Duel) -> AsyncIterator[str]:
    """What is new of each side, with its place, until both are finished."""
    sent = [0, 0]
    while True:
        duel.seen()
        finished = duel.done
        for side, growing in enumerate(duel.sides):
            text = growing.text
            if len(text) > sent[side]:
                yield _event("text", side="ab"[side], at=sent[side], text=visible(text[sent[side] :]))
                sent[side] = len(text)
        if finished:
            yield _event("end")
            return
        await asyncio.sleep(_LOOK_SECONDS)


def _event(kind: str, **content: object) -> str:
    return f"event: {kind}\ndata: {json.dumps(content)}\n\n"


def _prompt(request: Request) -> str:
    prompt = field_of(request, "prompt", limit=MAX_PROMPT)
    if not prompt:
        raise HTTPException(400, "Write a prompt first.")
    return prompt


def _view(request: Request) -> tuple[By, bool]:
    by = request.query_params.get("by", "people")
    chosen: By = next((view for view in _VIEWS if view == by), "people")
    return chosen, request.query_params.get("leaked") == "1"


def _go(battle: str) -> Response:
    return RedirectResponse(f"/battle/{battle}", status_code=303)
