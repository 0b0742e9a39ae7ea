"""What answers: a name like `ollama/llama3` in, a Model out.

A Model generates text for many requests at once and yields each response the moment it is known, in any order; where
it can, it also gives log-likelihoods. Providers load lazily from one table, then from the entry-point group
`evalkit.models`. A new provider is a module with `load(rest, options) -> Model` and one line in the table.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

from evalkit.errors import UsageError
from evalkit.task import Request, Response

PROVIDERS: Mapping[str, str] = {
    "hf": "evalkit.models.hf:load",
    "openai": "evalkit.models.openai:load",
    "ollama": "evalkit.models.ollama:load",
    "fake": "evalkit.models.fake:load",
}
_WITHOUT_BATCHES = frozenset({"hf", "ollama", "fake"})


@dataclass(frozen=True)
class ModelOptions:
    """How a provider should work; what it cannot use it ignores. None of it changes what is asked."""

    style: str | None = None
    """Prompt style; None means the one saved with the weights, else the model's own chat template."""
    device: str = "auto"
    dtype: str = "auto"
    max_batch_tokens: int | None = None
    concurrency: int = 8
    timeout: float = 120.0
    """Seconds one call may take."""
    max_retries: int = 5
    """How often a call that may heal (429, 5xx, reset, timeout) is tried again."""
    num_ctx: int | None = None
    """Context length for Ollama, in tokens."""


class Model(Protocol):
    """The thing that answers."""

    name: str
    """As the user wrote it: provider/name."""
    style: str
    """The prompt style its requests are rendered in; "chat" means messages."""

    def fingerprint(self) -> str:
        """Changes when the answers may: provider, resolved version or the digest of the weights."""
        ...

    def generate(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yield one response per request as they finish. One request's fault is its response's `unscored`.

        Raises ModelError only where no request can be answered at all.
        """
        ...

    def usage(self) -> Mapping[str, float]:
        """What was spent since loading, for example tokens_forwarded and tokens_minimum."""
        ...


@runtime_checkable
class ScoringModel(Model, Protocol):
    """A Model that also gives log-likelihoods."""

    def loglikelihood(self, requests: Sequence[Request]) -> Iterator[Response]:
        """Yield one response per request with one `Continuation` for each of the request's continuations."""
        ...


def load(name: str, options: ModelOptions | None = None) -> Model:
    """Load a model by its `provider/name`; the path of an existing folder means `hf/` that folder.

    Raises UsageError for a name without a known provider.
    """
    provider, _, rest = name.partition("/")
    if Path(name).is_dir():
        provider, rest = "hf", name
    loader = _find_loader(provider) if rest else None
    if loader is None:
        known = ", ".join(f"{key}/…" for key in sorted(PROVIDERS))
        raise UsageError(
            f"unknown model {name!r}: write provider/name with one of {known}, or the path of a checkpoint"
        )
    if provider in _WITHOUT_BATCHES and getattr(options, "batch", False):
        raise UsageError(f"{name}: --batch is for openai/… alone; leave it out")
    return cast(Model, loader(rest, options or ModelOptions()))


def _find_loader(provider: str) -> Any:
    if provider in PROVIDERS:
        module, _, function = PROVIDERS[provider].partition(":")
        return getattr(import_module(module), function)
    for entry in entry_points(group="evalkit.models", name=provider):
        return entry.load()
    return None
