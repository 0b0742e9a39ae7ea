"""The Linux calls that Python does not wrap, reached through the C library: each returns, or raises OSError by name."""

import ctypes
import os
import sys
from functools import cache
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_SET_NO_NEW_PRIVS = 38

_CAPABILITY_VERSION_3 = 0x20080522


def is_linux() -> bool:
    """Whether these calls exist at all."""
    return sys.platform == "linux"


def call(name: str, *arguments: int | bytes | None) -> int:
    """One function of the C library.

    Args:
        name: the function, such as `mount`, or `syscall` with the call's number as first argument.
        arguments: integers (passed as machine words), byte strings or None for a null pointer.

    Returns:
        What the call returned, never negative.

    Raises:
        OSError: the call failed, or this C library has no such function.
    """
    words = [ctypes.c_ulong(one % 2**64) if isinstance(one, int) else one for one in arguments]
    return _checked(name, _function(name)(*words))


def prctl(option: int, first: int, second: int = 0) -> None:
    """`prctl(2)` with its unused arguments set to zero, as newer kernels insist; pointers are given as addresses."""
    _checked("prctl", _prctl()(option, first, second, 0, 0))


def drop_capabilities() -> None:
    """Give up every capability of this process (`capset(2)`), so that root in here is no longer root."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    call("capset", bytes(header), bytes(nothing))


@cache
def _function(name: str) -> Any:
    function = getattr(ctypes.CDLL(None, use_errno=True), name, None)
    if function is None:
        raise OSError(0, f"this C library has no {name}")
    return function


@cache
def _prctl() -> Any:
    """With its types declared: every child calls it, and building the words one by one costs it pages to copy."""
    function = _function("prctl")
    function.argtypes = [ctypes.c_int, *[ctypes.c_ulong] * 4]
    return function


def _checked(name: str, result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{name}: {os.strerror(code)}")
    return int(result)
