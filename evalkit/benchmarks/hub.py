"""The name of a data set on the hub in, a local folder (or file) with what its repository holds out.

`hub:OWNER/NAME[/PATH]` stands for a repository whose files are in the benchmark's official layout, as many keep them;
nothing is converted here. What was fetched once is found again without network.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from evalkit.errors import UsageError

PREFIX = "hub:"
ADVICE = "fetch it once where there is a network and bring it here, then name its folder with --data"


def local_data(data: Path | None) -> Path | None:
    """The data as a path on this machine; a path that is none of the hub's stays as it is.

    Raises UsageError where the name is incomplete, huggingface_hub is not installed, or the hub does not give it.
    """
    name = "" if data is None else data.as_posix()
    if not name.startswith(PREFIX):
        return data
    owner, _, rest = name.removeprefix(PREFIX).partition("/")
    repository, _, inner = rest.partition("/")
    if not owner or not repository:
        raise UsageError(f"{name}: write {PREFIX}OWNER/NAME, or {PREFIX}OWNER/NAME/PATH for a part of it")
    folder = download(f"{owner}/{repository}")
    return folder / inner if inner else folder


def download(repository: str, patterns: Sequence[str] | None = None, advice: str = ADVICE) -> Path:
    """The folder of a data set's newest snapshot.

    Args:
        repository: `owner/name`.
        patterns: which files are wanted (`all/test-*`); None for all of them.
        advice: what to do where the hub cannot be reached; ends the sentence of the error.

    Returns:
        A folder that holds the wanted files as far as the repository, or without network the hub's cache, has them.

    Raises UsageError where huggingface_hub is not installed or the hub does not give the data set.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError
        from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]
    except ImportError:
        raise UsageError(f"{repository}: the hub needs huggingface_hub: pip install 'evalkit-llm[local]'") from None
    if not sys.stderr.isatty():
        disable_progress_bars()
    # A connection that breaks while a file is sent is no OSError; its class depends on the hub's HTTP client.
    transport = cast(tuple[type[Exception], ...], HfHubHTTPError.__bases__)
    faults: tuple[type[Exception], ...] = (EntryNotFoundError, HFValidationError, OSError, *transport)
    try:
        wanted = None if patterns is None else list(patterns)
        return Path(
            snapshot_download(repository, repo_type="dataset", allow_patterns=wanted, local_files_only=is_offline())
        )
    except faults as error:
        partial = getattr(error, "snapshot_path", None)
        if partial is not None and is_offline():
            return Path(partial)  # what is missing there, its reader names
        raise UsageError(f"{repository}: the hub does not give it ({_reason(error)}); {advice}") from None


def _reason(error: Exception) -> str:
    from huggingface_hub import constants
    from huggingface_hub.errors import GatedRepoError, LocalEntryNotFoundError, RepositoryNotFoundError

    if isinstance(error, LocalEntryNotFoundError) and is_offline():
        return f"HF_HUB_OFFLINE forbids the network and {constants.HF_HUB_CACHE} does not hold it"
    if isinstance(error, GatedRepoError):
        return "its access is restricted: accept its terms on the hub and set HF_TOKEN"
    if isinstance(error, RepositoryNotFoundError):
        return "no data set of that name, or not for you: check the name and HF_TOKEN"
    # Where the hub was asked and did not answer, the cause says so; the error itself tells of the cache.
    cause = error.__cause__ if isinstance(error, LocalEntryNotFoundError) and error.__cause__ else error
    return next((line.strip() for line in str(cause).split("\n") if line.strip()), type(cause).__name__)[:160]


def is_offline() -> bool:
    """Whether the environment forbids the hub."""
    on = {"1", "ON", "YES", "TRUE"}
    return any(os.environ.get(name, "").upper() in on for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"))
