"""Attacks of programs that test themselves: wrong ones that would be called right, and looks behind Python's walls."""

from evalkit.sandbox.hostile.attack import Attack
from evalkit.sandbox.hostile.verdicts import HUNT

# What follows reads a local variable whose number is negative: something below its own frame.
_BYTECODE = """
import dis, os, types

def blank():
    return None

def beyond(far):
    number = -far & 0xFFFFFFFF
    parts = [("RESUME", 0)] if "RESUME" in dis.opmap else []
    parts += [("EXTENDED_ARG", number >> shift & 255) for shift in (24, 16, 8)]
    parts += [("LOAD_FAST", number & 255), ("RETURN_VALUE", 0)]
    return bytes(part for name, argument in parts for part in (dis.opmap[name], argument))
"""

_ASSERTS = "\nassert False\n"

SELF_TESTED = tuple(
    Attack(f"testing itself: {name}", code + _ASSERTS, ("failed",))
    for name, code in {
        "exit": "raise SystemExit(0)",
        "os._exit": "import os\nos._exit(0)",
        "exit in a thread": """
import os, threading
threading.Thread(target=os._exit, args=(0,)).start()
while True:
    pass
""",
        "hunt for the proof": HUNT + "claim()\nos._exit(0)\n",
        "hunt from a thread": HUNT
        + "import threading\nthread = threading.Thread(target=claim)\nthread.start()\nthread.join()\nos._exit(0)\n",
        "hunt when collected": HUNT
        + "class Late:\n    def __del__(self):\n        claim()\n        os._exit(0)\nlate = Late()\n",
        "trace and jump": """
import sys
def tracer(frame, event, argument):
    if event == "line":
        frame.f_lineno = 99
    return tracer
sys.settrace(tracer)
sys._getframe().f_trace = tracer
""",
        "native code": "import ctypes\nctypes.string_at(id(0), 8)",
        "native code by another name": """
import importlib.machinery, importlib.util, glob, os, sys
for place in sys.path:
    for found in glob.glob(os.path.join(place, "_ctypes.*")):
        loader = importlib.machinery.ExtensionFileLoader("other._ctypes", found)
        importlib.util.module_from_spec(importlib.util.spec_from_loader("other._ctypes", loader))
        os._exit(0)
""",
        "a trace to the line of the harness": """
import faulthandler, time
for descriptor in range(3, 64):
    try:
        faulthandler.dump_traceback(descriptor)
        faulthandler.dump_traceback_later(0.01, file=descriptor)
        time.sleep(0.02)
    except (OSError, ValueError):
        pass
""",
        "exchanged code": """
import sys
frame = sys._getframe().f_back
while frame:
    for value in list(frame.f_globals.values()):
        if hasattr(value, "__code__"):
            value.__code__ = (lambda *_: b"").__code__
    frame = frame.f_back
""",
        "patched functions": """
import os, sys
frame = sys._getframe().f_back
while frame:
    for name, value in list(frame.f_globals.items()):
        if name.startswith("_") and callable(value):
            frame.f_globals[name] = lambda *_: b"passed"
    frame = frame.f_back
os.write = print
""",
    }.items()
)

WALLS = tuple(
    Attack(f"testing itself: {name}", code, ("passed",))
    for name, code in {
        "native code of the sandbox's own": """
import gc, sys
frame = sys._getframe()
while frame:
    for module in [*frame.f_globals.values(), *frame.f_locals.values()]:
        for native in ("prctl", "_function", "CDLL"):
            assert not hasattr(module, native), module
    frame = frame.f_back
""",
        "bytecode that no compiler makes": _BYTECODE
        + """
try:
    blank.__code__.replace(co_code=beyond(54), co_stacksize=5)
except PermissionError:
    os.getpid()
else:
    raise SystemExit("bytecode was let in")
""",
        "bytecode from a file": _BYTECODE
        + """
import importlib.machinery, importlib.util, marshal
good = blank.__code__.co_code
data = marshal.dumps(blank.__code__).replace(good, beyond(54)[: len(good)].ljust(len(good), bytes(1)))
with open("made.pyc", "wb") as file:
    file.write(importlib.util.MAGIC_NUMBER + bytes(12) + data)
for way in (
    lambda: marshal.loads(data),
    lambda: importlib.machinery.SourcelessFileLoader("made", "made.pyc").get_code("made"),
    lambda: importlib._bootstrap_external._compile_bytecode(data),
    lambda: marshal.load(open("made.pyc", "rb")),
):
    try:
        way()
    except PermissionError:
        continue
    raise SystemExit("bytecode was let in")
""",
    }.items()
)

ATTACKS = (*SELF_TESTED, *WALLS)
