"""A request in, the pieces of an OpenAI-compatible server's answer out, as the official client gives them.

The chunks are put together to the body that the server would have sent at once, so what an answer is, and what is a
fault, is decided in one place.
"""

from collections.abc import Callable, Mapping
from contextlib import closing
from typing import Any

from evalkit.models.calls import Faulty
from evalkit.models.openai_connection import CHAT, Connection
from evalkit.models.streaming import Streamed
from evalkit.task import Request, Response

_LARGEST_ANSWER = 10_000_000
"""Characters."""

Body = Callable[[Request], tuple[str, dict[str, Any]]]
Read = Callable[[Request, Mapping[str, Any]], Response]


def stream_call(request: Request, connection: Connection, body: Body, read: Read) -> Streamed:
    """One streamed call.

    Args:
        request: what to ask.
        connection: the client.
        body: gives (endpoint, body) of a call that is not streamed.
        read: the Response in the body of an answer that is not streamed.

    Raises Faulty, ModelError or UsageError.
    """
    endpoint, _ = body(request)
    answer = _Answer(endpoint == CHAT)
    with closing(connection.open_stream(lambda: _streaming(connection, *body(request)))) as chunks:
        received = iter(chunks)
        while (chunk := connection.guarded(lambda: next(received, None))) is not None:
            if piece := answer.take(_as_mapping(chunk)):
                yield piece
    yield read(request, answer.body())


def _streaming(connection: Connection, endpoint: str, body: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    usage = {"stream_options": {"include_usage": True}} if connection.dialect.stream_usage else {}
    return endpoint, {**body, "stream": True, **usage}


class _Answer:
    """The chunks so far.

    Args:
        chat: whether they are those of a chat completion, or of a completion.
    """

    def __init__(self, chat: bool) -> None:
        self._chat = chat
        self._texts: list[str] = []
        self._refusals: list[str] = []
        self._finish: object = None
        self._usage: object = None
        self._size = 0

    def take(self, chunk: Mapping[str, Any]) -> str:
        """The text that a chunk adds. Raises Faulty where it is no chunk of an answer."""
        self._usage = chunk.get("usage") or self._usage
        choices = chunk.get("choices")
        if not choices:
            return self._without_choice(chunk)
        if not isinstance(choices, list) or not isinstance(choices[0], Mapping):
            raise Faulty("http", "a chunk of the answer has choices that cannot be read", retry=True)
        self._finish = choices[0].get("finish_reason") or self._finish
        delta = choices[0].get("delta") if self._chat else choices[0]
        if not isinstance(delta, Mapping):
            return ""
        self._refusals.append(_text(delta.get("refusal")))
        text = _text(delta.get("content" if self._chat else "text"))
        self._size += len(text)
        if self._size > _LARGEST_ANSWER:
            raise Faulty("http", f"the answer is longer than {_LARGEST_ANSWER} characters", retry=False)
        self._texts.append(text)
        return text

    def body(self) -> dict[str, Any]:
        """The same answer as one body. Raises Faulty where its end never came."""
        if self._finish is None:
            raise Faulty("http", "the answer broke off before its end", retry=True)
        text = "".join(self._texts)
        said = {"message": {"content": text, "refusal": "".join(self._refusals) or None}}
        choice = {"index": 0, "finish_reason": self._finish, **(said if self._chat else {"text": text})}
        return {"choices": [choice], "usage": self._usage}

    @staticmethod
    def _without_choice(chunk: Mapping[str, Any]) -> str:
        """Nothing: such a chunk tells what was used, or that the connection still lives; or it is an error."""
        error = chunk.get("error")
        if error:
            words = error.get("message", error) if isinstance(error, Mapping) else error
            raise Faulty("http", f"the server stopped with an error: {words}", retry=True)
        return ""


def _as_mapping(chunk: Any) -> Mapping[str, Any]:
    """The client's object as it was sent; it takes any JSON for a chunk."""
    if not hasattr(chunk, "to_dict"):
        raise Faulty("http", f"a chunk of the answer is {type(chunk).__name__}, not an object", retry=True)
    content: Mapping[str, Any] = chunk.to_dict(mode="python", warnings=False)
    return content


def _text(value: object) -> str:
    if value is None or isinstance(value, str):
        return value or ""
    raise Faulty("http", f"a chunk of the answer holds {type(value).__name__}, not text", retry=True)
