"""A server that streams as OpenAI-compatible servers and Ollama do, word by word; what it does is the model's name.

words       answers "You said: " and the last line of the prompt
leaky       names itself
slow        one word every tenth of a second, for ever
broken      closes the connection in the middle of an answer
unended     ends the response in the middle of an answer, as if that were all
failing     reports an error in the middle of an answer
once        answers its first call of every prompt with status 503
down        answers every call with status 500 that names the model
refusing    refuses in OpenAI's own way
plain       refuses stream_options
silent      answers nothing at all
mute        says for ever that the connection lives, and nothing else
odd         sends chunks that are no objects

Run as `python -m servers.streaming_server`; it prints its port. GET /_stats gives counts.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Iterator
from itertools import count
from typing import Any

from servers.wire import Answer, Call, as_json, serve

MODELS = ("words", "leaky", "slow", "broken", "unended", "failing", "once", "down", "silent", "mute")


class Server:
    """What was counted, and routes."""

    def __init__(self) -> None:
        self.begun: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.bodies: list[Any] = []

    async def __call__(self, call: Call) -> Answer:
        if call.path == "/_plan":
            self.__init__()  # type: ignore[misc]
            return as_json({})
        if call.path == "/_stats":
            return as_json({"begun": self.begun, "ended": self.ended, "bodies": self.bodies})
        if call.path.startswith("/api/"):
            return self._ollama(call)
        return self._openai(call)

    def _openai(self, call: Call) -> Answer:
        body = call.json()
        self.bodies.append(body)
        model, chat = body["model"], "messages" in body
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        refused = self._refused(model, prompt, body)
        if refused is not None:
            return refused
        if not body.get("stream"):
            text = "".join(_words(model, prompt))
            choice = {"index": 0, "finish_reason": "stop", "text": text, "message": {"content": text}}
            return as_json({"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 5}})
        return self._streamed(model, _events(model, prompt, chat, "stream_options" in body))

    def _refused(self, model: str, prompt: str, body: dict[str, Any]) -> Answer | None:
        if model == "down":
            return as_json({"error": {"message": "the runner of model down fell over"}}, 500)
        if model == "once" and not self.begun[f"once {prompt}"]:
            self.begun[f"once {prompt}"] += 1
            return as_json({"error": {"message": "busy"}}, 503, retry_after="0")
        if model == "plain" and "stream_options" in body:
            return as_json({"error": {"message": "Unknown parameter: 'stream_options'"}}, 400)
        return None

    def _ollama(self, call: Call) -> Answer:
        if call.path == "/api/tags":
            return as_json({"models": [{"model": f"{name}:latest", "digest": "d" * 64, "size": 7} for name in MODELS]})
        if call.path not in ("/api/chat", "/api/generate"):
            return as_json({"error": "no such address"}, 404)
        body = call.json()
        self.bodies.append(body)
        model, chat = body["model"], "messages" in body
        prompt = body["messages"][-1]["content"] if chat else body["prompt"]
        if model == "down":
            return as_json({"error": "the runner of model down fell over"}, 500)
        return self._streamed(model, _lines(model, prompt, chat))

    def _streamed(self, model: str, parts: Iterator[bytes]) -> Answer:
        self.begun[model] += 1

        def ended() -> None:
            self.ended[model] += 1

        cut = 0 if model == "broken" else None
        pause = {"slow": 0.1, "mute": 0.01}.get(model, 0.002)
        # A generator, so that an answer without an end is sent until the client goes.
        return Answer(parts=parts, pause=pause, announced=cut, after_sent=ended)  # type: ignore[arg-type]


def _words(model: str, prompt: str) -> Iterator[str]:
    if model == "slow":
        yield from (f"word{number} " for number in count())
    if model == "leaky":
        yield from ("I am ", "Chat", "GPT, ", "made by ", "OpenAI.")
    elif model != "silent":
        yield from ("You ", "said: ")
        yield from (f"{word} " for word in prompt.splitlines()[-1].split())
        yield "naïve \N{GRINNING FACE} </script>"


def _events(model: str, prompt: str, chat: bool, usage: bool) -> Iterator[bytes]:
    def event(choice: dict[str, Any] | None, **more: Any) -> bytes:
        chunk = {"id": "x", "object": "chunk", "choices": [choice] if choice else [], **more}
        return f"data: {json.dumps(chunk)}\n\n".encode()

    def choice(text: str, finish: str | None = None, **delta: Any) -> dict[str, Any]:
        said = {"delta": {"content": text, **delta}} if chat else {"text": text}
        return {"index": 0, "finish_reason": finish, **said}

    yield b": the connection lives\n\n"
    while model == "mute":
        yield b": the connection lives\n\n"
    if model == "odd":
        yield b"data: [1, 2]\n\n"
    if model == "refusing":
        yield event(choice("", "stop", refusal="I will not."))
        yield b"data: [DONE]\n\n"
        return
    for number, word in enumerate(_words(model, prompt)):
        if number == 3 and model == "failing":
            yield event(None, error={"message": "out of memory", "code": 502})
            return
        if number == 3 and model in ("broken", "unended"):
            return
        yield event(choice(word))
    yield event(choice("", "stop"))
    if usage:
        yield event(None, usage={"prompt_tokens": 3, "completion_tokens": 5})
    yield b"data: [DONE]\n\n"


def _lines(model: str, prompt: str, chat: bool) -> Iterator[bytes]:
    def line(text: str, **more: Any) -> bytes:
        said = {"message": {"role": "assistant", "content": text}} if chat else {"response": text}
        return json.dumps({"model": model, "done": False, **said, **more}).encode() + b"\n"

    while model == "mute":
        yield b" "
    for number, word in enumerate(_words(model, prompt)):
        if number == 3 and model == "failing":
            yield json.dumps({"error": "the runner has stopped"}).encode() + b"\n"
            return
        if number == 3 and model in ("broken", "unended"):
            return
        yield line(word)
    yield line("", done=True, done_reason="stop", prompt_eval_count=3, eval_count=5)


if __name__ == "__main__":
    asyncio.run(serve(Server()))
