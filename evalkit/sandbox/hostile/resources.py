"""Attacks on time, memory, processes, disk and output."""

from evalkit.sandbox.hostile.attack import Attack, refusal

ATTACKS = (
    refusal("fork", "for _ in range(300):\n    refused(os.fork)\n"),
    refusal(
        "other programs",
        """
import subprocess
refused(os.execv, "/bin/sh", ["sh", "-c", "true"])
refused(os.posix_spawn, "/bin/sh", ["sh", "-c", "true"], {})
refused(subprocess.run, ["/bin/sh", "-c", "true"])
assert os.system("true") != 0
""",
    ),
    Attack(
        "thread bomb",
        """
import threading, time
threading.stack_size(65536)
for _ in range(1000):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
time.sleep(60)
""",
        ("failed",),
    ),
    Attack("memory at once", "block = bytearray(3 * 2**30)", ("memory",)),
    Attack("memory bit by bit", "blocks = []\nwhile True:\n    blocks.append(bytearray(2**20))", ("memory",)),
    Attack("memory, caught", "try:\n    'x' * 2**40\nexcept MemoryError:\n    pass\nassert False", ("failed",)),
    Attack("endless output", "while True:\n    print('x' * 1000)", ("failed",)),
    Attack("endless errors", "import sys\nwhile True:\n    sys.stderr.write('x' * 1000)", ("failed",)),
    Attack("endless loop", "while True:\n    pass", ("timeout",)),
    Attack("sleep", "import time\ntime.sleep(60)", ("timeout",)),
    Attack(
        "deaf to signals",
        """
import signal
for number in range(1, 32):
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_IGN)
while True:
    pass
""",
        ("timeout",),
    ),
    Attack("stops itself", "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)", ("timeout",)),
    Attack("kills itself", "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)", ("memory",)),
    Attack(
        "crash",
        """
import sys
sys.setrecursionlimit(10**9)
class Deep:
    def __repr__(self):
        return repr(self)
repr(Deep())
""",
        ("failed", "memory"),
    ),
    refusal(
        "one large file",
        """
def write():
    with open("large", "wb") as file:
        for _ in range(64):
            file.write(bytes(2**20))

refused(write)
""",
    ),
    Attack(
        "many large files",
        """
import time
for number in range(20):
    with open(f"{number}", "wb") as file:
        file.write(bytes(2**20))
time.sleep(60)
""",
        ("failed", "timeout"),
    ),
    Attack(
        "many small files",
        "import time\nfor number in range(5000):\n    open(f'{number}', 'wb').close()\ntime.sleep(60)",
        ("failed", "timeout"),
    ),
    Attack(
        "folders that lead elsewhere and down",
        """
import os, time
os.symlink("/", "root")
os.symlink("loop", "loop")
os.symlink(".", "here")
os.mkdir("closed", 0)
for _ in range(200):
    os.mkdir("deeper")
    os.chdir("deeper")
    os.symlink("../" * 300, "up")
os.mkdir("shut", 0o111)
time.sleep(0.2)
assert False
""",
        ("failed", "timeout"),
    ),
    Attack(
        "a number too long to write",
        "import sys\nsys.set_int_max_str_digits(0)\nstr(7 ** (10**8))\n",
        ("timeout", "memory", "failed"),
    ),
    Attack(
        "a pattern without an end",
        "import re\nre.match('(a+)+$', 'a' * 64 + 'b')\n",
        ("timeout",),
    ),
    Attack("stack, in C", "import faulthandler\nfaulthandler._stack_overflow()\n", ("failed", "memory")),
    Attack(
        "a core to write",
        "import faulthandler, os\nopen('filled', 'wb').write(bytes(2**20))\nfaulthandler._sigabrt()\n",
        ("failed", "timeout"),
    ),
    refusal("many open files", "files = []\nrefused(lambda: [files.append(open('/dev/null')) for _ in range(1000)])\n"),
    refusal(
        "limits of its own",
        """
import resource
for which in (resource.RLIMIT_AS, resource.RLIMIT_FSIZE, resource.RLIMIT_CPU, resource.RLIMIT_NOFILE):
    try:
        resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        continue
    raise RuntimeError("a limit was raised")
""",
    ),
)
