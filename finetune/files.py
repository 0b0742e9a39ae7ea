"""A file to be replaced in, the whole new one or the untouched old one out, whatever happens in between."""

import os
from collections.abc import Callable
from pathlib import Path
from shutil import disk_usage

from evalkit.errors import EvalkitError

_NEARLY_NOTHING = 1 << 20
"""Bytes; a write that failed with less than this left failed for want of space."""


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file beside `path`, flush it to disk and rename it into place.

    Raises EvalkitError where the disk refuses; `path` then is as it was.
    """
    draft = path.with_name(f"{path.name}.draft")
    try:
        write(draft)
        with draft.open("rb") as stream:
            os.fsync(stream.fileno())
        draft.replace(path)
    except (OSError, RuntimeError) as error:
        # torch and safetensors report a full disk as RuntimeError and as their own subclasses of it.
        full = disk_usage(path.parent).free < _NEARLY_NOTHING
        draft.unlink(missing_ok=True)
        reason = "the disk is full" if full else error
        raise EvalkitError(f"{path}: cannot be written ({reason}); what was there before is unchanged") from error
