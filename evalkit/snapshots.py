"""A Run that goes on in, its folder brought up to date now and then out, so that a report can watch it.

What is here costs at most a fiftieth of the run's time: the next snapshot waits as long as the last one was slow.
"""

import contextlib
import time
from collections.abc import Callable

from evalkit.errors import RecordError

EVERY = 5.0
"""Seconds between two snapshots, at least; a shorter run has none."""
_SHARE = 50


class Snapshots:
    """Called after every row; writes where it is time to.

    Args:
        write: writes what there is so far; where that cannot be done the run goes on.
    """

    def __init__(self, write: Callable[[], object]) -> None:
        self._write = write
        self._due = time.monotonic() + EVERY

    def __call__(self) -> None:
        began = time.monotonic()
        if began < self._due:
            return
        # Some averages exist only over all rows, and a full disk is for the run's own end to report.
        with contextlib.suppress(RecordError, ArithmeticError, LookupError, ValueError):
            self._write()
        ended = time.monotonic()
        self._due = ended + max(EVERY, _SHARE * (ended - began))
