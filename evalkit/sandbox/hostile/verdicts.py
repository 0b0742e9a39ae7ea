"""Attacks on the verdict: wrong solutions that would be called right by tests in another process."""

from evalkit.sandbox.hostile.attack import forgery

# Looks for the proof wherever Python code can look, and says whatever it finds on every line there is.
HUNT = """
import gc, os, re, sys, types

def texts():
    seen, waiting = set(), []
    frame = sys._getframe()
    while frame:
        waiting += [frame, frame.f_locals, frame.f_globals, frame.f_code]
        frame = frame.f_back
    waiting += [*sys._current_frames().values(), *gc.get_objects(), sys.modules, sys.argv]
    while waiting and len(seen) < 200_000:
        one = waiting.pop()
        if id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, bytes):
            yield one.decode(errors="replace")
        elif isinstance(one, str):
            yield one
        waiting += gc.get_referents(one)
    for descriptor in range(64):
        try:
            yield os.pread(descriptor, 10**6, 0).decode(errors="replace")
        except OSError:
            pass
    for place in ("/proc/self/mem", "/proc/self/cmdline", "/proc/self/environ", "/proc/1/cmdline"):
        try:
            yield open(place, errors="replace").read()
        except OSError:
            pass

def claim():
    found = {match for text in texts() for match in re.findall("[0-9a-f]{32}", text)}
    for word in [*found, "passed", "0" * 32]:
        for descriptor in range(3, 64):
            try:
                os.set_blocking(descriptor, False)
                os.write(descriptor, word.encode() + b"\\n")
            except OSError:
                pass
"""

_WRONG = "def add(left, right):\n    return None\n"

_EQUAL = """
class Equal(int):
    def __eq__(self, other):
        return True
    def __ne__(self, other):
        return False
    __hash__ = int.__hash__
    __sub__ = __rsub__ = __abs__ = lambda self, *_: self
    __lt__ = __le__ = __gt__ = __ge__ = lambda self, _: True
"""

ATTACKS = (
    forgery("exit before the tests", "raise SystemExit(0)\n" + _WRONG),
    forgery("sys.exit in the solution", "import sys\ndef add(left, right):\n    sys.exit(0)\n"),
    forgery("os._exit before the tests", "import os\nos._exit(0)\n" + _WRONG),
    forgery("os._exit in the solution", "import os\ndef add(left, right):\n    os._exit(0)\n"),
    forgery("keyboard interrupt", "def add(left, right):\n    raise KeyboardInterrupt\n"),
    forgery("generator exit", "def add(left, right):\n    raise GeneratorExit\n"),
    forgery("equal to everything", _EQUAL + "def add(left, right):\n    return Equal()\n"),
    forgery(
        "an object without a type of Python's own",
        _EQUAL.replace("(int)", "").replace("int.__hash__", "lambda _: 0")
        + "def add(left, right):\n    return Equal()\n",
    ),
    forgery("a text equal to everything", _EQUAL.replace("int", "str") + "def add(left, right):\n    return Equal()\n"),
    forgery("a number that is not one", "def add(left, right):\n    return float('nan')\n"),
    forgery("a generator", "def add(left, right):\n    yield left + right\n"),
    forgery("a function", "def add(left, right):\n    return lambda *_: left + right\n"),
    forgery("own check", "def check(candidate):\n    pass\n" + _WRONG),
    forgery("swallow the tests", _WRONG + "@lambda function: (lambda candidate: None)"),
    forgery("comment the tests out", _WRONG + '"""'),
    forgery(
        "patched built-ins",
        """
import builtins
builtins.range = lambda *_: ()
builtins.abs = builtins.len = lambda _: 0
builtins.str = lambda _: "4"
builtins.AssertionError = builtins.BaseException
"""
        + _WRONG,
    ),
    forgery("shadowed built-ins", "range = lambda *_: ()\nabs = lambda _: 0\nlen = lambda _: 1\n" + _WRONG),
    forgery(
        "patched modules",
        """
import math, operator, sys
for name in list(sys.modules):
    sys.modules[name] = None
"""
        + _WRONG,
    ),
    forgery(
        "trace and jump",
        """
import sys
def tracer(frame, event, argument):
    if frame.f_code.co_name in ("check", "<module>", "_finish", "whole"):
        try:
            frame.f_lineno += 1
        except ValueError:
            pass
    return tracer
sys.settrace(tracer)
frame = sys._getframe()
while frame:
    frame.f_trace = tracer
    frame = frame.f_back
"""
        + _WRONG,
    ),
    forgery(
        "a thread that replaces the tests",
        """
import sys, threading
def replace():
    while True:
        for frame in sys._current_frames().values():
            while frame:
                frame.f_globals["check"] = lambda candidate: None
                frame = frame.f_back
threading.Thread(target=replace, daemon=True).start()
"""
        + _WRONG,
    ),
    forgery(
        "walk the frames",
        """
import sys
def add(left, right):
    frame = sys._getframe()
    while frame:
        for value in [*frame.f_locals.values(), *frame.f_globals.values()]:
            if isinstance(value, list):
                value.append("passed")
            if isinstance(value, dict):
                value["verdict"] = value["passed"] = "passed"
        frame = frame.f_back
""",
    ),
    forgery("hunt for the proof before the tests", HUNT + "claim()\nos._exit(0)\n" + _WRONG),
    forgery("hunt for the proof during the tests", HUNT + "def add(left, right):\n    claim()\n    os._exit(0)\n"),
    forgery("hunt for the proof at the end", HUNT + _WRONG + "import atexit\natexit.register(claim)\n"),
    forgery(
        "names that nobody asked for",
        """
import sys
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        if isinstance(value, list) and "add" in value:
            value += ["range", "abs", "len", "check", "candidate", "__builtins__"]
    frame = frame.f_back
def add(left, right):
    return 0
check = candidate = print
range, abs, len = (lambda *_: ()), (lambda _: 0), (lambda _: 1)
__builtins__ = {"range": range, "abs": abs, "len": len, "str": lambda _: ""}
""",
    ),
    forgery(
        "talk to the tests out of turn",
        """
import json, os
def say(message):
    data = json.dumps(message).encode()
    for descriptor in range(3, 16):
        try:
            os.write(descriptor, len(data).to_bytes(4, "big") + data)
        except OSError:
            pass
def add(left, right):
    for name in ("check", "range", "abs"):
        say({"value": {"function": 0}})
        say({"call": 0, "arguments": [[name]], "named": {"dict": []}})
        say({"value": {"module": "os"}, "changed": [0]})
""",
    ),
    forgery(
        "nonsense to the tests",
        "import os\ndef add(left, right):\n    os.write(4, bytes(1000))\n    os.write(5, bytes(1000))\n",
    ),
    forgery(
        "an exception of its own",
        "class Hidden(AssertionError):\n    __str__ = None\ndef add(left, right):\n    raise Hidden\n",
    ),
    forgery(
        "closes all lines", "import os\ndef add(left, right):\n    os.closerange(0, 64)\n    return left + right\n"
    ),
)
