"""Programs that do no harm and must run: a sandbox that stops everything is of no use."""

from evalkit.sandbox.hostile.attack import CHECK, harmless

CONTROLS = (
    harmless("arithmetic", "assert sum(range(100)) == 4950"),
    harmless("a right solution", "def add(left, right):\n    return left + right\n" + CHECK),
    harmless(
        "threads",
        """
import queue, threading
from concurrent.futures import ThreadPoolExecutor
done = queue.Queue()
threads = [threading.Thread(target=done.put, args=(number,)) for number in range(20)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert sorted(done.queue) == list(range(20))
with ThreadPoolExecutor(8) as pool:
    assert list(pool.map(abs, range(-5, 0))) == [5, 4, 3, 2, 1]
""",
    ),
    harmless(
        "asyncio",
        """
import asyncio
async def double(number):
    await asyncio.sleep(0.001)
    return 2 * number
async def main():
    return await asyncio.gather(*map(double, range(5)))
assert asyncio.run(main()) == [0, 2, 4, 6, 8]
""",
    ),
    harmless(
        "the standard library",
        """
import collections, csv, dataclasses, datetime, decimal, fractions, functools, hashlib, heapq, inspect, io
import itertools, json, logging, math, random, re, secrets, sqlite3, statistics, string
import textwrap, time, typing, unittest, uuid, zlib
assert hashlib.md5(b"x").hexdigest() == "9dd4e461268c8034f5c8564e155c67a6"
assert sqlite3.connect(":memory:").execute("select 1 + 1").fetchone() == (2,)
assert decimal.Decimal("0.1") + decimal.Decimal("0.2") == decimal.Decimal("0.3")
assert json.loads(json.dumps({"a": [1, None]})) == {"a": [1, None]}
uuid.uuid4(), random.random(), secrets.token_hex(), datetime.datetime.now(), time.sleep(0.001)
""",
    ),
    harmless(
        "classes made on the way",
        """
import collections, contextlib, dataclasses, enum, functools, pickle, copy, typing, abc
from unittest import mock, TestCase
Point = collections.namedtuple("Point", "x y")
@dataclasses.dataclass(order=True)
class Item:
    name: str
    sizes: list = dataclasses.field(default_factory=list)
class Colour(enum.Enum):
    RED = 1
@functools.singledispatch
def shown(value):
    return "other"
@shown.register
def _(value: int):
    return "int"
@contextlib.contextmanager
def opened():
    yield Point(1, 2)
with opened() as point, mock.patch("os.getpid", return_value=7):
    import os
    assert (point.x, shown(3), shown("x"), os.getpid()) == (1, "int", "other", 7)
assert pickle.loads(pickle.dumps({"a": (1, Ellipsis)})) == {"a": (1, ...)}
assert copy.deepcopy(Item("a")) == Item("a")
def late():
    import fileinput, wave
    return wave
assert late().open
""",
    ),
    harmless(
        "files in the working folder",
        """
import os, pathlib, shutil, tempfile
assert os.listdir() == []
pathlib.Path("folder").mkdir()
pathlib.Path("folder/file").write_text("text")
os.rename("folder/file", "moved")
assert open("moved").read() == "text"
with tempfile.TemporaryDirectory(dir=".") as place:
    open(os.path.join(place, "x"), "w").close()
shutil.rmtree("folder")
""",
    ),
    harmless(
        "an alarm",
        """
import signal, time
rung = []
signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01)
time.sleep(0.05)
assert rung
""",
    ),
    harmless("output", "import sys\nprint('x' * 100000)\nprint('y', file=sys.stderr)"),
    harmless(
        "an end with a thread left", "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"
    ),
)
