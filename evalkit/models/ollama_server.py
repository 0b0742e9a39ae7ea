"""An Ollama server, here or at OLLAMA_HOST: what it has, fetching what it lacks, and its faults by name."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from evalkit.errors import EvalkitError, ModelError, UsageError
from evalkit.models.attempt import hooks, seconds_allowed
from evalkit.models.calls import Faulty
from evalkit.models.http_faults import Refusal, fault_of

PullProgress = Callable[[str, int | None, int | None], None]
"""Called with (what is being done, bytes so far, bytes in all)."""

KEY_NAME = "OLLAMA_API_KEY"
_CONNECT_SECONDS = 10.0
_PULL_ATTEMPTS = 5
_PULL_SILENCE_SECONDS = 120.0


@dataclass(frozen=True)
class Installed:
    """A model that the server has."""

    name: str
    digest: str
    size: int | None
    """Bytes."""


class OllamaServer:
    """The official client, with every fault named.

    Args:
        timeout: seconds without a byte until a call is given up.
    """

    def __init__(self, timeout: float) -> None:
        import httpx
        from ollama import Client

        limits = httpx.Timeout(timeout, connect=min(timeout, _CONNECT_SECONDS))
        self.client: Client = Client(timeout=limits, event_hooks=hooks())
        self.timeout = timeout

    @property
    def address(self) -> str:
        """Where the server is."""
        return str(self.client._client.base_url)

    def installed(self) -> tuple[Installed, ...]:
        """All models the server has. Raises UsageError where no server answers."""
        try:
            with self.guarded("ollama"):
                listed = self.client.list().models
        except Faulty as fault:
            raise UsageError(
                f"no Ollama server answers at {self.address} ({fault.detail}); start it with `ollama serve`, or set "
                "OLLAMA_HOST"
            ) from None
        return tuple(Installed(one.model or "", one.digest or "unknown", one.size) for one in listed)

    def find(self, name: str) -> Installed:
        """The model of that name; without a tag, `latest` is meant. Raises UsageError where the server lacks it."""
        wanted = _tagged(name)
        for model in self.installed():
            if model.name == wanted:
                return model
        raise missing(name)

    def longest_context(self, name: str) -> int | None:
        """Tokens the model was trained for; None where the server does not say."""
        try:
            with self.guarded(f"ollama/{name}"):
                known = self.client.show(name).modelinfo or {}
        except Faulty:
            return None
        lengths = [value for key, value in known.items() if key.endswith(".context_length") and isinstance(value, int)]
        return min(lengths, default=None)

    def loaded_context(self, name: str) -> int | None:
        """Tokens the server has set aside for the loaded model; None where it does not say."""
        try:
            with self.guarded(f"ollama/{name}"):
                loaded = self.client.ps().models
        except (Faulty, EvalkitError):  # an extra check: older servers have no such address
            return None
        return next((one.context_length for one in loaded if one.model == _tagged(name)), None)

    @contextmanager
    def guarded(self, name: str) -> Iterator[None]:
        """Whatever goes wrong inside becomes a Faulty, a ModelError or a UsageError."""
        import httpx
        import ollama

        try:
            yield
        except ollama.ResponseError as error:
            raise _fault(error, name) from None
        except httpx.TimeoutException:
            raise Faulty(
                "timeout", f"no whole answer within {seconds_allowed(self.timeout):.3g} s", retry=True
            ) from None
        except (httpx.HTTPError, ConnectionError) as error:
            raise Faulty("http", f"connection failed: {error}", retry=True) from None
        except (ValueError, AttributeError, TypeError, RecursionError) as error:
            # The client takes any JSON for an object: a list or a number fails inside it in one of these ways.
            raise Faulty("http", f"the answer cannot be read: {error}", retry=True) from None


def list_models(timeout: float = 10.0) -> Sequence[Installed]:
    """The models of the Ollama server here or at OLLAMA_HOST. Raises UsageError where none answers."""
    return OllamaServer(timeout).installed()


def pull_model(name: str, progress: PullProgress | None = None) -> Installed:
    """Let the server fetch a model; a broken connection is taken up again where it stopped.

    Raises UsageError where no server answers or nobody has such a model, ModelError where the download fails.
    """
    server = OllamaServer(_PULL_SILENCE_SECONDS)
    server.installed()
    for attempt in range(_PULL_ATTEMPTS):
        try:
            with server.guarded(f"ollama/{name}"):
                for part in server.client.pull(name, stream=True):
                    if progress is not None:
                        progress(part.status or "", part.completed, part.total)
            return server.find(name)
        except Faulty as fault:
            if "manifest" in fault.detail or "does not exist" in fault.detail:
                raise UsageError(f"ollama/{name}: there is no model of that name to fetch ({fault.detail})") from None
            if not fault.retry or attempt + 1 == _PULL_ATTEMPTS:
                raise ModelError(f"ollama/{name} could not be fetched: {fault.detail}; try again, it goes on") from None
            time.sleep(min(8.0, 0.5 * 2**attempt))
    raise AssertionError("unreachable")


def missing(name: str) -> UsageError:
    """The server lacks a model."""
    return UsageError(f"ollama/{name}: the server has no such model; fetch it with `evalkit models --pull {name}`")


def _tagged(name: str) -> str:
    return name if ":" in name.rpartition("/")[2] else f"{name}:latest"


def _fault(error: Any, name: str) -> Exception:
    status = int(error.status_code)
    if status == 404 and "not found" in str(error.error):
        return missing(name.removeprefix("ollama/"))
    # Inside a stream an error comes without a status; the server failed while it worked.
    refusal = Refusal(500 if status == -1 else status, str(error.error))
    return fault_of(refusal, name, KEY_NAME)
