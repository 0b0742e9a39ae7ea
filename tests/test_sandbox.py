"""The sandbox as its users see it: verdicts, limits, workers, refusal, and nothing left behind."""

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalkit.errors import UsageError
from evalkit.sandbox import Limits, Program, Sandbox, SandboxResult, protections, run_program
from evalkit.sandbox.box import _Worker
from evalkit.sandbox.outcome import Tier

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="isolation needs Linux")

RIGHT = "def add(left, right):\n    return left + right\n"
WRONG = "def add(left, right):\n    return left - right\n"
CHECK = "\ndef check(candidate):\n    assert candidate(1, 2) == 3\n\ncheck(add)\n"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(Limits(seconds=0.5, memory_mb=256, output_bytes=10_000), workers=1) as opened:
        yield opened


def judge(sandbox: Sandbox, code: str, tests: str) -> SandboxResult:
    return sandbox.run(Program(textwrap.dedent(code), textwrap.dedent(tests)))


@pytest.mark.parametrize(
    ("program", "verdict", "words"),
    [
        ("", "passed", ""),
        (RIGHT + CHECK, "passed", ""),
        (WRONG + CHECK, "failed", "line 2: assert candidate(1, 2) == 3"),
        ("1 / 0", "failed", "ZeroDivisionError: division by zero (line 1: 1 / 0)"),
        ("def f(:", "failed", "SyntaxError"),
        ("a\0b", "failed", "null bytes"),
        ("x = '\ud800'", "failed", "surrogates"),
        ("(" * 5000, "failed", "too many nested parentheses"),
        ("raise SystemExit(0)", "failed", "SystemExit"),
        ("import os; os._exit(0)", "failed", "ended before its tests did"),
        ("import os; os.abort()", "failed", "crashed with SIGABRT"),
        ("while True: pass", "timeout", "longer than 0.5 s"),
        ("x = [0] * 10**9", "memory", "MemoryError"),
        ("print('x' * 20000)", "failed", "printed more than 10000 bytes"),
        ("input()", "failed", "EOFError"),
        ("raise ValueError('\\x1b' * 9999)", "failed", "ValueError"),
    ],
)
def test_a_program_gets_its_verdict_and_a_reason(sandbox: Sandbox, program: str, verdict: str, words: str) -> None:
    result = sandbox.run(program)
    assert result.verdict == verdict, result
    assert words in result.detail
    assert len(result.detail) <= 500
    assert 0 < result.seconds < 3


def test_processor_time_is_limited_apart_from_wall_clock_time() -> None:
    with Sandbox(Limits(seconds=10, cpu_seconds=1), workers=1) as sandbox:
        result = sandbox.run("while True: pass")
    assert (result.verdict, result.detail) == ("timeout", "used more than 1 s of processor time")


def test_results_come_with_the_index_of_their_program() -> None:
    programs = [f"assert {number} % 3" for number in range(20)]
    with Sandbox(workers=2) as sandbox:
        verdicts = {place: result.verdict for place, result in sandbox.run_many(programs)}
    assert verdicts == {number: "passed" if number % 3 else "failed" for number in range(20)}


def test_programs_run_side_by_side() -> None:
    with Sandbox(workers=4) as sandbox:
        started = time.monotonic()
        results = [result for _, result in sandbox.run_many(["import time; time.sleep(0.3)"] * 4)]
        spent = time.monotonic() - started
    assert {result.verdict for result in results} == {"passed"}
    # One after the other, the whole would take at least as long as its parts.
    assert spent < sum(result.seconds for result in results)


def test_the_first_results_come_before_the_last_programs_end() -> None:
    with Sandbox(Limits(seconds=2), workers=2) as sandbox:
        first, _ = next(iter(sandbox.run_many(["import time; time.sleep(0.5)", "pass"])))
    assert first == 1


def test_a_program_finds_nothing_of_the_one_before(sandbox: Sandbox) -> None:
    before = """
    import builtins, os, sys
    builtins.left = sys.left = 1
    os.makedirs("a/" * 500)
    os.makedirs("hidden/hidden")
    os.mkdir("hidden/empty", 0)
    os.umask(0o777)
    os.makedirs("closed")
    os.rename("hidden", "hidden2")
    open("file", "w").close()
    os.symlink("/", "link")
    """
    assert sandbox.run(textwrap.dedent(before)).verdict == "passed"
    after = "import builtins, os, sys\nassert not (os.listdir() or hasattr(builtins, 'left') or hasattr(sys, 'left'))"
    assert sandbox.run(after).verdict == "passed"


def test_what_would_outlive_a_program_ends_with_it(sandbox: Sandbox) -> None:
    before = """
    import atexit, threading, time
    def write(name):
        while True:
            open(name, "w").close()
            time.sleep(0.01)
    class Late:
        def __del__(self):
            open("collected", "w").close()
    late = Late()
    atexit.register(open, "at exit", "w")
    threading.Thread(target=write, args=("thread",)).start()
    """
    assert sandbox.run(textwrap.dedent(before)).verdict == "passed"
    time.sleep(0.1)
    assert sandbox.run("import os\nassert os.listdir() == []").verdict == "passed"


def test_tests_that_change_python_do_not_reach_the_next_tests(sandbox: Sandbox) -> None:
    assert judge(sandbox, RIGHT, "import builtins\nbuiltins.len = lambda _: 7\nassert len([]) == 7").verdict == "passed"
    assert judge(sandbox, RIGHT, "assert len([]) == 0").verdict == "passed"
    leaves_a_thread = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,)).start()"
    assert judge(sandbox, RIGHT, leaves_a_thread).verdict == "passed"
    assert judge(sandbox, RIGHT, "import threading\nassert threading.active_count() == 1").verdict == "passed"


def test_a_fork_server_that_dies_is_replaced_and_the_program_runs_again() -> None:
    with Sandbox(workers=1) as sandbox:
        worker = sandbox._free.get()
        sandbox._free.put(worker)
        assert worker._process is not None
        os.killpg(worker._process.pid, signal.SIGKILL)
        assert sandbox.run("pass").verdict == "passed"


def test_a_sandbox_that_fails_twice_gives_an_error_and_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    with Sandbox(workers=1) as sandbox:
        monkeypatch.setattr(_Worker, "_send", lambda *_: (_ for _ in ()).throw(BrokenPipeError("broken")))
        monkeypatch.setattr(_Worker, "_restart", lambda _: None)
        assert sandbox.run("pass") == SandboxResult("error", "the sandbox failed twice: broken", 0.0)


def _family(process: int) -> set[int]:
    """A process with its children, their children, and so on."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent = entry.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                parents[int(entry.parent.name)] = int(parent)
    found, size = {process} & set(parents), -1
    while len(found) > size:
        size = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return found


def _all_gone(processes: set[int]) -> bool:
    until = time.monotonic() + 5
    while any(_family(process) for process in processes):
        if time.monotonic() > until:
            return False
        time.sleep(0.02)
    return True


@pytest.mark.parametrize("namespaces", [True, False])
def test_no_process_and_no_folder_is_left_when_the_sandbox_closes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, namespaces: bool
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = _family(os.getpid())
    with Sandbox(Limits(seconds=0.3), workers=2, namespaces=namespaces) as sandbox:
        for _ in sandbox.run_many([RIGHT + CHECK, "while True: pass", "pass"]):
            pass
        processes = _family(os.getpid()) - before
        assert len(processes) >= 4
    assert _all_gone(processes)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("namespaces", [True, False])
def test_no_process_outlives_a_harness_that_is_killed(namespaces: bool) -> None:
    script = f"""
    from evalkit.sandbox import Limits, Sandbox
    with Sandbox(Limits(seconds=60), workers=1, namespaces={namespaces}) as sandbox:
        print("ready", flush=True)
        sandbox.run("while True: pass")
    """
    harness = subprocess.Popen([sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE)
    assert harness.stdout is not None
    assert harness.stdout.readline() == b"ready\n"
    time.sleep(0.2)
    processes = _family(harness.pid)
    assert len(processes) >= 3
    harness.kill()
    harness.wait()
    harness.stdout.close()
    assert _all_gone(processes)


@pytest.mark.parametrize(
    "tier",
    [Tier(0, True, False), Tier(7, False, True), Tier(0, False, False)],
    ids=["no Landlock", "no seccomp", "neither"],
)
def test_untrusted_code_is_refused_where_it_cannot_be_isolated(monkeypatch: pytest.MonkeyPatch, tier: Tier) -> None:
    monkeypatch.setattr(_Worker, "greet", lambda _: tier)
    with pytest.raises(UsageError, match="--unsafe-no-sandbox"), Sandbox(workers=1):
        pass
    with Sandbox(workers=1, unsafe=True) as sandbox:
        assert sandbox.tier.name == "none"


def _on_a_kernel_without(calls: str, script: str) -> list[str]:
    """The printed lines of a script that runs where some calls are refused, as on another kernel or in a container."""
    refuse = f"""
    import os
    from evalkit.errors import UsageError
    from evalkit.sandbox import Sandbox, protections
    from evalkit.sandbox.inside import kernel, seccomp
    steps = [(0x20, 0, 0, 0)]
    for number in seccomp.numbers("{calls}", seccomp._ARCHITECTURES[os.uname().machine][1]).values():
        steps += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050001)]
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.Filter([*steps, (0x06, 0, 0, 0x7FFF0000)]).install()
    """
    command = [sys.executable, "-c", textwrap.dedent(refuse) + textwrap.dedent(script)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_a_kernel_without_landlock_and_namespaces_is_refused() -> None:
    script = """
    print(protections())
    try:
        Sandbox(workers=1).__enter__()
    except UsageError as error:
        print(error)
    with Sandbox(workers=1, unsafe=True) as sandbox:
        print(sandbox.run("import socket; socket.socket()").verdict, sandbox.run("pass").verdict)
    """
    tier, refusal, verdicts = _on_a_kernel_without("landlock_create_ruleset 444 444; unshare 272 97", script)
    assert tier.startswith("none: no Landlock, seccomp allowlist, resource limits, no namespaces (unshare: ")
    assert refusal.startswith("this machine cannot isolate untrusted code (none: ")
    assert verdicts == "failed passed", "what protections there are stay on"


@pytest.mark.parametrize("call", ["unshare 272 97", "mount 165 40", "pivot_root 155 41"])
def test_where_namespaces_are_refused_the_base_holds(call: str) -> None:
    script = """
    with Sandbox(workers=1) as sandbox:
        print(sandbox.tier)
        print(sandbox.run("open('/etc/passwd')").verdict, sandbox.run("pass").verdict)
    """
    tier, verdicts = _on_a_kernel_without(call, script)
    assert tier.startswith("base: Landlock ABI ")
    assert tier.endswith("Operation not permitted)")
    assert verdicts == "failed passed"


def test_the_tier_says_in_words_what_holds() -> None:
    assert str(Tier(7, True, True)) == "full: Landlock ABI 7, seccomp allowlist, resource limits, own namespaces"
    assert str(Tier(4, True, False, "not permitted")).endswith("no namespaces (not permitted)")
    assert [tier.name for tier in (Tier(7, True, False), Tier(0, True, True), Tier(7, False, True))] == [
        "base",
        "base",
        "none",
    ]
    assert protections().isolated


def test_one_program_can_be_run_by_itself() -> None:
    assert run_program(RIGHT + CHECK).verdict == "passed"
    assert run_program("while True: pass", timeout=0.2).detail == "ran longer than 0.2 s"
    assert run_program("bytearray(200 * 2**20)", memory_mb=128).verdict == "memory"


@pytest.mark.parametrize(
    "limits",
    [
        {"seconds": 0},
        {"seconds": float("nan")},
        {"memory_mb": 1},
        {"open_files": 3},
        {"cpu_seconds": 0},
        {"processes": 0},
    ],
)
def test_limits_under_which_nothing_runs_are_refused(limits: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"sandbox limit {next(iter(limits))} is "):
        Limits(**limits)  # type: ignore[arg-type]


def test_a_package_that_is_not_installed_is_refused() -> None:
    with pytest.raises(UsageError, match="package nosuchpackage is not installed"):
        Sandbox(Limits(packages=("nosuchpackage",)))


@pytest.mark.parametrize("namespaces", [True, False])
def test_only_the_packages_named_can_be_imported(namespaces: bool) -> None:
    program = Program("import numpy\ndef mean(values):\n    return numpy.mean(values)\n", "assert mean([1, 2]) == 1.5")
    with Sandbox(Limits(packages=("numpy",)), workers=1, namespaces=namespaces) as sandbox:
        assert sandbox.run(program).verdict == "passed"
        assert "Error" in sandbox.run("import pytest").detail
    with Sandbox(workers=1, namespaces=namespaces) as sandbox:
        assert sandbox.run("import numpy").detail.startswith("ModuleNotFoundError")


@pytest.mark.parametrize(
    ("text", "tests"),
    [
        (RIGHT + CHECK, CHECK[1:]),
        (RIGHT + "def check(candidate):\n    pass\n" + CHECK, CHECK[1:]),
        (RIGHT, None),
        (RIGHT + "check(add)", None),
        (RIGHT + CHECK + "pass", None),
        ("  def check(x):\n    pass\ncheck(add)", None),
    ],
)
def test_a_text_in_the_form_of_humaneval_is_taken_apart_at_its_last_check(text: str, tests: str | None) -> None:
    parted = Program.split(text)
    assert (parted and parted.tests) == tests
    assert parted is None or parted.code + parted.tests == text


def test_nothing_is_imported_that_makes_forks_slow() -> None:
    script = """
    import sys
    sys.path[0] = sys.argv[1]
    import inside.server
    print(*{"threading", "random", "logging", "tempfile", "dataclasses", "evalkit"} & set(sys.modules))
    """
    place = str(Path(sys.modules["evalkit.sandbox"].__file__ or "").parent)
    command = [sys.executable, "-S", "-c", textwrap.dedent(script), place]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "\n"
