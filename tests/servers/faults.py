"""A plan of faults and a stream of calls in, what each call suffers out; and the count of everything.

A plan is a list of rules, each a dict; the first one that applies to a call decides:

    kind    what happens (see `apply`)
    share   of all prompts, chosen by a hash of the prompt, so the choice does not depend on the order of arrival
    match   only prompts that hold this text
    times   so often per prompt, then no more; without it, for ever
    at      only the calls with these numbers (from 1)
    answers whether the client gets an answer all the same
"""

import asyncio
import hashlib
import json
import os
import signal
import time
from collections import Counter
from email.utils import formatdate
from typing import Any

from servers.wire import Answer, Call, as_json

_GRACE_SECONDS = 0.4


class Plan:
    """The faults a server is to show, and what it has seen."""

    def __init__(self) -> None:
        self.reset({})

    def reset(self, settings: dict[str, Any]) -> None:
        """Begin anew with other settings; nothing counted before is kept."""
        self.rules: list[dict[str, Any]] = settings.get("faults", [])
        self.seed = str(settings.get("seed", 0))
        self.latency = float(settings.get("latency", 0.0))
        self.settings = settings
        self.kill: dict[str, int] | None = None
        self.kills = 0
        self.calls = 0
        self.in_flight = 0
        self.most_in_flight = 0
        self.answered: Counter[str] = Counter()
        self.shown: Counter[str] = Counter()
        self.prompts: Counter[str] = Counter()
        self.statuses: Counter[int] = Counter()
        self.bodies: list[Any] = []
        self.keys_seen: set[str] = set()
        self.thawed = asyncio.Event()
        self.thawed.set()

    def stats(self) -> dict[str, Any]:
        """Everything counted, as JSON."""
        return {
            "calls": self.calls,
            "most_in_flight": self.most_in_flight,
            "answered": dict(self.answered),
            "faults": dict(self.shown),
            "statuses": {str(status): count for status, count in self.statuses.items()},
            "bodies": self.bodies,
            "keys_seen": sorted(self.keys_seen),
        }

    def rule_for(self, prompt: str) -> dict[str, Any] | None:
        """The rule that strikes this call."""
        self.prompts[prompt] += 1
        for number, rule in enumerate(self.rules):
            chosen = _fraction(f"{self.seed}|{number}|{prompt}") < rule.get("share", 1.0)
            in_time = self.prompts[prompt] <= rule.get("times", float("inf"))
            due = self.calls in rule["at"] if "at" in rule else True
            if chosen and in_time and due and rule.get("match", "") in prompt:
                return rule
        return None


def _fraction(text: str) -> float:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:6], "big") / 2**48


async def handle(plan: Plan, call: Call, prompt: str, good: Answer, mangle: "Mangle") -> Answer:
    """Count one model call and answer it well or badly.

    Args:
        prompt: identifies what was asked; answers are counted by it.
        good: the right answer.
        mangle: this protocol's own ways to answer badly, by the kind of fault.
    """
    plan.calls += 1
    plan.keys_seen.add(call.headers.get("authorization", ""))
    if plan.settings.get("record"):
        plan.bodies.append(call.json())
    plan.in_flight += 1
    plan.most_in_flight = max(plan.most_in_flight, plan.in_flight)
    kills = plan.kills
    try:
        await _kill_if_due(plan)
        rule = plan.rule_for(prompt)
        await asyncio.sleep(plan.latency if rule is None else rule.get("latency", plan.latency))
        answer = good if rule is None else await _apply(plan, rule, good, mangle)
        await plan.thawed.wait()
    finally:
        plan.in_flight -= 1
    if kills != plan.kills:
        return Answer(reset=True)  # whoever asked is dead
    answer.gate = plan.thawed
    plan.statuses[answer.status] += 1
    if rule is None or rule["kind"] in mangle.still_answers or rule.get("answers"):
        answer.after_sent = lambda: plan.answered.update([prompt])
    return answer


async def _kill_if_due(plan: Plan) -> None:
    """Signal the client. Before SIGKILL nothing more is sent, and what was sent has time to arrive."""
    if plan.kill is None or plan.calls < plan.kill["at"]:
        return
    due, plan.kill = plan.kill, None
    if due["signal"] != signal.SIGKILL:
        os.kill(due["pid"], due["signal"])
        return
    plan.thawed.clear()
    await asyncio.sleep(_GRACE_SECONDS)
    plan.kills += 1
    os.kill(due["pid"], signal.SIGKILL)
    plan.thawed.set()


class Mangle:
    """Faults in the form of one protocol.

    Args:
        bodies: by kind, a JSON body that is sent with status 200.
        still_answers: the kinds among them that are an answer all the same (cut by length, refused).
        error: (status, words, code) → the body of an error.
    """

    def __init__(self, bodies: dict[str, Any], still_answers: set[str], error: Any) -> None:
        self.bodies = bodies
        self.still_answers = still_answers
        self.error = error


async def _apply(plan: Plan, rule: dict[str, Any], good: Answer, mangle: Mangle) -> Answer:
    kind = str(rule["kind"])
    plan.shown[kind] += 1
    if kind.isdigit():
        after = rule.get("retry_after")
        after = formatdate(time.time() + 1, usegmt=True) if after == "date" else after
        headers = {} if after is None else {"retry_after": str(after)}
        headers |= {key.replace("-", "_"): value for key, value in rule.get("headers", {}).items()}
        body = mangle.error(int(kind), rule.get("words", f"fault {kind}"), rule.get("code"), rule.get("param"))
        return as_json(body, int(kind), **headers)
    if kind in mangle.bodies:
        made = mangle.bodies[kind]
        return as_json(made(json.loads(good.body)) if callable(made) else made)
    return await _break(kind, rule, good)


async def _break(kind: str, rule: dict[str, Any], good: Answer) -> Answer:
    """Faults below any protocol."""
    if kind == "hang":
        await asyncio.sleep(rule.get("seconds", 60.0))
        return Answer(reset=True)
    if kind == "reset":
        return Answer(reset=True)
    if kind == "cut":
        return Answer(body=good.body[: len(good.body) // 2], announced=len(good.body))
    if kind == "drip":
        pieces = [good.body[i : i + 1] for i in range(len(good.body))]
        return Answer(parts=pieces, pause=rule.get("pause", 0.05))
    return Answer(body=_BODIES[kind], headers={"Content-Type": _TYPES.get(kind, "application/json")})


_BODIES = {
    "malformed": b'{"id": "x", "choices": [{"message": {"content": "87"',
    "html": b"<html><body><h1>502 Bad Gateway</h1></body></html>",
    "empty_body": b"",
    "json_list": b"[1, 2, 3]",
    "json_null": b"null",
    "not_utf8": b'{"choices": [{"message": {"content": "\xff\xfe"}}]}',
    "deep": b"[" * 200_000,
    "nan": b'{"choices": [{"index": 0, "message": {"content": "1"}, "finish_reason": "stop", "x": NaN}]}',
}
_TYPES = {"html": "text/html"}
