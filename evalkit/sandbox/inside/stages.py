"""What runs inside a confined child: a candidate's code, tests in a process of their own, or a program with its own.

Each ends by writing one line to its result descriptor: the proof (a random text that came with the tests) after the
last line of the tests, or a JSON object with a verdict and a detail. Only a process that holds tests ever holds a
proof.
"""

import _thread
import builtins
import contextlib
import importlib
import json
import os
import re
import socket
import sys
import types
from collections.abc import Iterator
from typing import Any

from .confine import CONFINED
from .watch import ENDING
from .wire import Gone, ModuleName, Peer, Unsendable

FETCH = 0  # the handle under which the candidate's process offers its names
_ALIASES = {"np": "numpy"}
_LONGEST_DETAIL = 500
_MOST_JOBS = 200
_BUILTINS = frozenset(dir(builtins))
_IMPORTS = re.compile(r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+)?import[ \t]+(.+)$", re.MULTILINE)
_NATIVE = ("ctypes", "_ctypes")


def candidate(source: int, reading: int, writing: int) -> None:
    """Run the candidate's code when the tests first ask for its names, then answer their calls until they end.

    Args:
        source: descriptor of the code.
        reading: descriptor on which calls come.
        writing: descriptor on which answers go.
    """
    scope: dict[str, object] = {}

    def fetch(names: list[str]) -> dict[str, object]:
        exec(compile(_take(source), "<candidate>", "exec", dont_inherit=True), scope)  # noqa: S102 - what this is for
        return {name: scope[name] for name in names if name in scope and _crosses(peer, scope[name])}

    peer = Peer(reading, writing, fetch)
    peer.serve()


def tests(jobs: int, secret: int, result: int) -> None:
    """Run the tests of one job after the other, each against a candidate's process of its own.

    Tests come from a benchmark and not from a model, so one process may serve many; it asks to be replaced when they
    left threads or changed Python's built-in names. A candidate reaches it by values only.

    Args:
        jobs: descriptor of a socket that brings, for each job, the line to its candidate.
        secret: descriptor of the file that then holds the proof, a line end, and the tests.
        result: descriptor for the outcomes.
    """
    line = socket.socket(fileno=jobs)
    names = dict(vars(builtins))
    for served in range(1, _MOST_JOBS + 1):
        sign, descriptors, _, _ = socket.recv_fds(line, 1, 2)
        if not sign:
            return
        outcome = _test(_read(secret), *descriptors)
        ending = served == _MOST_JOBS or _thread._count() > 0 or vars(builtins) != names
        os.write(result, ENDING + outcome if ending else outcome)
        for descriptor in descriptors:
            os.close(descriptor)


def _test(secret: str, reading: int, writing: int) -> bytes:
    """The outcome of the tests of one job."""
    proof, text = secret.split("\n", 1)
    try:
        code = compile(text, "<tests>", "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return _outcome("error", f"the tests are no program: {_describe(error, text)}")
    peer = Peer(reading, writing, _nothing_to_fetch)
    try:
        if (sign := os.read(reading, 1)) != CONFINED:
            return sign + os.read(reading, _LONGEST_DETAIL) or _outcome("error", "")
        names = _free_names(code)
        exec(code, dict(_resolved(names, peer.call(FETCH, (sorted(names),)))))  # noqa: S102
    except Unsendable as error:
        return _outcome("error", f"the tests pass {error}")
    except BaseException as error:
        return _outcome("gone" if peer.gone else _verdict(error), _describe(error, text))
    return _outcome("gone", "") if peer.gone else f"{proof}\n".encode()


def whole(source: int, secret: int, result: int) -> None:
    """Run a program that tests itself.

    The proof is read onto the interpreter's evaluation stack and stays there, without a name, until the program has
    ended: neither frames nor the garbage collector lead to it. What could reach it is native code and bytecode that no
    compiler makes, which the guard keeps out. That is as strong as Python's own walls, and no stronger: where a verdict
    matters, give the tests apart from the code, and they run in a process that the code never enters.

    Args:
        source: descriptor of the program.
        secret: descriptor of the proof.
        result: descriptor for the outcome.
    """
    text = _take(source)
    try:
        code = compile(text, "<program>", "exec", dont_inherit=True)
        _import_ahead(text)
        _shut_native_doors()
        os.write(result, _take(secret).encode() + _finish(code))
    except BaseException as error:
        os.write(result, _outcome(_verdict(error), _describe(error, text)))
    os._exit(0)  # the code that called this is gone


def _finish(code: types.CodeType) -> bytes:
    exec(code, {})  # noqa: S102
    return b"\n"


def _take(descriptor: int) -> str:
    """All of a file; nobody can read it again through this descriptor."""
    text = _read(descriptor)
    os.close(descriptor)
    return text


def _read(descriptor: int) -> str:
    return os.pread(descriptor, os.fstat(descriptor).st_size, 0).decode("utf-8", "surrogatepass")


def _crosses(peer: Peer, value: object) -> bool:
    try:
        peer.pack(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True


def rehearse(source: int, most: int = 30) -> None:
    """Play a candidate in this process, before there is any, so that Python adapts the code on the way to its use.

    It does so by writing to the code objects; done here, it is not done, page by page, in every child.

    Args:
        source: descriptor of the file for the code, which is overwritten.
        most: how many calls it takes.
    """
    os.pwrite(source, b"def name(): pass", 0)
    (calls, calls_end), (answers, answers_end) = os.pipe(), os.pipe()
    process = os.fork()
    if not process:
        os.close(answers_end)
        peer = Peer(answers, calls_end, _nothing_to_fetch)
        for handle in (FETCH, *[FETCH + 1] * most):
            peer.call(handle, (["name"],) if handle == FETCH else ())
        os._exit(0)
    os.close(calls_end)
    candidate(os.dup(source), calls, answers_end)
    for descriptor in (calls, answers, answers_end):
        os.close(descriptor)
    os.waitpid(process, 0)


def _nothing_to_fetch(*_: object) -> None:
    raise TypeError("the tests offer no names")


def _free_names(code: types.CodeType) -> set[str]:
    """The names that the tests may mean as globals and that are not Python's own."""
    names = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names |= _free_names(constant)
    return {name for name in names - _BUILTINS if not name.startswith("__")}


def _resolved(names: set[str], fetched: object) -> Iterator[tuple[str, object]]:
    """The candidate's names as the tests see them: those asked for and no others, above all not `__builtins__`.

    A module is imported here, and only under its own name.
    """
    if not isinstance(fetched, dict):
        raise Gone
    for name in names & fetched.keys():
        value = fetched[name]
        if not isinstance(value, ModuleName):
            yield name, value
        elif value == _ALIASES.get(name, name):
            yield name, importlib.import_module(value)


def _import_ahead(text: str) -> None:
    """Import what the program will, as far as its words tell: once the doors are shut, that takes longer."""
    for name in _mentioned(text):
        if name.partition(".")[0] not in _NATIVE:
            with contextlib.suppress(Exception):
                importlib.import_module(name)


def _mentioned(text: str) -> Iterator[str]:
    """Names of modules, and of what may be one, in the import statements of a text."""
    for origin, names in _IMPORTS.findall(text):
        if origin:
            yield origin
        for part in names.split(","):
            for name in re.findall(r"^[ \t(]*([\w.]+)", part):
                yield f"{origin}.{name}" if origin else name


def _shut_native_doors() -> None:
    """Refuse what would let a program read the interpreter's memory, or change the course of code not its own."""
    for name in [name for name in sys.modules if name.partition(".")[0] in ("inside", *_NATIVE)]:
        module = sys.modules.pop(name)
        if name != __name__:  # frames still lead to them, and to the C library's functions in them
            vars(module).clear()
    # Compiled files are not read any more: they could hold any bytecode.
    sys.implementation.cache_tag = None  # type: ignore[assignment]
    sys.addaudithook(_guard)


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    # Constants only, no globals: those the program could reach and change.
    if event == "import" and not {
        "ctypes",
        "_ctypes",
        "_testcapi",
        "_testinternalcapi",
        "_xxsubinterpreters",
        "_interpreters",
    }.isdisjoint(arguments[0].split(".")):
        raise ImportError("native access is not available here")
    if event in {
        "code.__new__",  # bytecode can be written that reads beyond its own frame
        "marshal.loads",
        "marshal.load",
        "sys.settrace",
        "sys.setprofile",
        "sys.monitoring.register_callback",
    } or event.startswith("ctypes"):
        raise PermissionError(f"{event} is not available here")
    ours = "/inside/stages.py"  # this function above all
    if (
        event == "object.__setattr__"
        and arguments[1] == "__code__"
        and arguments[0].__code__.co_filename.endswith(ours)
    ):
        raise PermissionError("the sandbox's own code cannot be exchanged")


def _verdict(error: BaseException) -> str:
    return "memory" if isinstance(error, MemoryError) else "failed"


def _outcome(verdict: str, detail: str) -> bytes:
    report = {"verdict": verdict, "detail": detail[:_LONGEST_DETAIL]}
    return json.dumps(report, ensure_ascii=False).encode(errors="replace") + b"\n"


def _describe(error: BaseException, text: str) -> str:
    """An exception in one line, with the line of the program or the tests on which it came up."""
    try:
        words = " ".join(f"{type(error).__name__}: {error}".split()).rstrip(": ")
    except Exception:
        words = type(error).__name__
    line = _line_of(error)
    lines = text.split("\n")
    return f"{words} (line {line}: {lines[line - 1].strip()})" if 0 < line <= len(lines) else words


def _line_of(error: BaseException) -> int:
    """The innermost line of the compiled text, 0 where there is none."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<tests>", "<program>"):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line
