"""One call through the official `openai` client in, a JSON object or a named fault out.

The body is read piece by piece, so that an answer that never ends is cut off; one that takes too long is, by `attempt`.
"""

import os
import socket
import sys
from collections.abc import Callable, Iterable
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from evalkit.errors import UsageError
from evalkit.models.attempt import hooks, seconds_allowed
from evalkit.models.calls import Faulty
from evalkit.models.http_faults import Refusal, fault_of, retry_after
from evalkit.models.openai_format import Dialect, read_body

if TYPE_CHECKING:
    from openai import OpenAI

KEY_NAME = "OPENAI_API_KEY"
OWN_HOST = "api.openai.com"
COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"

_CONNECT_SECONDS = 10.0
_PROBE_SECONDS = 3.0
_LARGEST_BODY = 64 << 20
_MOST_LESSONS = 4
"""So many parameters a server may refuse for one request."""
_T = TypeVar("_T")


class _AskAgain(Exception):
    """The server refused a parameter, and the dialect has learned to leave it out."""


class Connection:
    """The official client, with every fault named.

    Args:
        name: the model as the user wrote it, for messages.
        base_url: None means OpenAI itself.
        timeout: seconds without a byte until an exchange is given up.
    """

    def __init__(self, name: str, base_url: str | None, timeout: float) -> None:
        self.name = name
        self.is_own = base_url is None or urlsplit(base_url).hostname == OWN_HOST
        self.dialect = Dialect("max_completion_tokens" if self.is_own else "max_tokens")
        self._base_url = base_url
        self._timeout = timeout

    @cached_property
    def client(self) -> "OpenAI":
        """Made when it is first needed: its import takes a second or more, and a page that is served need not wait."""
        return _client(self._base_url, self._timeout)

    def send(self, make: Callable[[], tuple[str, dict[str, Any]]]) -> dict[str, Any]:
        """Make one call.

        Args:
            make: gives (endpoint, body); called again where the server's refusal taught the dialect something.

        Raises Faulty, ModelError or UsageError.
        """
        return read_body(self._taught(make, self._post))

    def open_stream(self, make: Callable[[], tuple[str, dict[str, Any]]]) -> Any:
        """Begin one call whose answer comes in chunks; the client's stream of them. As `send` otherwise."""
        return self._taught(make, self._begin)

    def _taught(self, make: Callable[[], tuple[str, dict[str, Any]]], call: Callable[[str, dict[str, Any]], _T]) -> _T:
        """Make a call, again as often as a refusal teaches the dialect something."""
        for lessons_left in range(_MOST_LESSONS, -1, -1):
            endpoint, body = make()
            try:
                return self.guarded(partial(call, endpoint, body), body if lessons_left else None)
            except _AskAgain:
                continue
        raise AssertionError("unreachable")

    def guarded(self, call: Callable[[], _T], body: dict[str, Any] | None = None) -> _T:
        """Use the client; whatever goes wrong becomes a Faulty, a ModelError or a UsageError."""
        import openai

        timeouts: tuple[type[Exception], ...] = (openai.APITimeoutError, *_transport("TimeoutException"))
        broken = _transport("HTTPError")
        try:
            return call()
        except openai.APIStatusError as error:
            refusal = _refusal(error)
            if body is not None and refusal.status in (400, 422) and self.dialect.learn(refusal, body):
                raise _AskAgain from None
            raise fault_of(refusal, self.name, KEY_NAME) from None
        except timeouts:
            raise Faulty(
                "timeout", f"no whole answer within {seconds_allowed(self._timeout):.3g} s", retry=True
            ) from None
        except openai.APIConnectionError as error:
            raise Faulty("http", f"connection failed: {error.__cause__ or error}", retry=True) from None
        except broken as error:
            raise Faulty("http", f"the answer broke off: {error}", retry=True) from None
        except (openai.APIError, ValueError) as error:
            raise Faulty("http", f"the answer cannot be read: {error}", retry=True) from None

    def _post(self, endpoint: str, body: dict[str, Any]) -> bytes:
        with self._api(endpoint).with_streaming_response.create(**body) as answer:
            return self._read(answer.iter_bytes())

    def _begin(self, endpoint: str, body: dict[str, Any]) -> Any:
        return self._api(endpoint).create(**body)

    def _api(self, endpoint: str) -> Any:
        return self.client.completions if endpoint == COMPLETIONS else self.client.chat.completions

    @staticmethod
    def _read(pieces: Iterable[bytes]) -> bytes:
        content = bytearray()
        for piece in pieces:
            content += piece
            if len(content) > _LARGEST_BODY:
                raise Faulty("http", f"the answer is larger than {_LARGEST_BODY >> 20} MiB", retry=False)
        return bytes(content)


def _client(base_url: str | None, timeout: float) -> "OpenAI":
    from openai import DefaultHttpxClient, OpenAI, Timeout

    limits: Any = Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
    key = os.environ.get(KEY_NAME) or "none"
    http = DefaultHttpxClient(timeout=limits, event_hooks=hooks())
    return OpenAI(api_key=key, base_url=base_url or None, max_retries=0, timeout=limits, http_client=http)


def _transport(name: str) -> tuple[type[Exception], ...]:
    """An exception of the HTTP library that the client uses: httpx, or httpx2 since openai 3."""
    return tuple(getattr(sys.modules[used], name) for used in ("httpx", "httpx2") if used in sys.modules)


def _refusal(error: Any) -> Refusal:
    body = error.body if isinstance(error.body, dict) else {}
    return Refusal(
        status=int(error.status_code),
        message=str(body.get("message") or error.message),
        code=str(error.code or body.get("type") or ""),
        parameter=str(error.param or ""),
        after=retry_after(error.response.headers),
    )


def check_reachable(name: str, base_url: str) -> None:
    """Raise UsageError where nothing listens at an address; what a proxy reaches is not checked."""
    parts = urlsplit(base_url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    if parts.scheme in getproxies() and not proxy_bypass(host):
        return
    try:
        socket.create_connection((host, port), timeout=_PROBE_SECONDS).close()
    except OSError as error:
        raise UsageError(
            f"{name}: no server answers at {host}:{port} ({error.strerror or error}); start it or correct the address"
        ) from None
