"""The hostile suite: attacks that must fail and programs that must run, against the sandbox as it is on this machine.

`doctor` runs it to say what holds here, and the tests run it attack by attack.
"""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from string import Template

from evalkit.sandbox.box import Sandbox
from evalkit.sandbox.hostile import controls, files, others, resources, self_tested, verdicts
from evalkit.sandbox.hostile.attack import Attack
from evalkit.sandbox.outcome import Limits, Program, SandboxResult

LIMITS = Limits(seconds=1.0, memory_mb=256, output_bytes=2**20, file_mb=4, processes=32)


@dataclass(frozen=True)
class AttackResult:
    """Whether the protection against one attack held.

    Args:
        name: the attack.
        held: whether it was stopped, or, for a harmless program, whether it ran.
        detail: what happened, in one line.
    """

    name: str
    held: bool
    detail: str


def suite() -> Sequence[Attack]:
    """Every attack, and the programs that must run."""
    parts = (controls.CONTROLS, files.ATTACKS, others.ATTACKS, verdicts.ATTACKS, self_tested.ATTACKS, resources.ATTACKS)
    return [attack for part in parts for attack in part]


def selftest(*, workers: int = 2, namespaces: bool = True) -> list[AttackResult]:
    """Run the hostile suite on this machine; takes a few seconds.

    Args:
        workers: how many programs run at the same time.
        namespaces: see `Sandbox`.

    Raises:
        UsageError: this machine cannot isolate programs.
    """
    attacks = suite()
    with _Target.build() as target, Sandbox(LIMITS, workers=workers, namespaces=namespaces) as sandbox:
        programs = [target.aim(attack.program) for attack in attacks]
        results = {place: _result(attacks[place], found) for place, found in sandbox.run_many(programs)}
        harm = target.harm()
    return [
        *(results[place] for place in range(len(attacks))),
        AttackResult("traces outside", not harm, harm or "none"),
    ]


def _result(attack: Attack, found: SandboxResult) -> AttackResult:
    return AttackResult(attack.name, found.verdict in attack.held, f"{found.verdict}: {found.detail}".rstrip(": "))


@dataclass(frozen=True)
class _Target:
    """What the attacks aim at, and how it looked before.

    Args:
        folder: a folder that must not change, with the file `secret`.
        port: a server on the loopback interface.
        abstract: a server on an abstract unix socket, named after the port.
        before: the state of this process and of the machine's System V objects.
    """

    folder: Path
    port: socket.socket
    abstract: socket.socket | None
    before: tuple[object, ...]

    @classmethod
    @contextlib.contextmanager
    def build(cls) -> Iterator["_Target"]:
        with contextlib.ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalkit-target-")))
            (folder / "secret").write_text("secret")
            port = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            port.setblocking(False)
            abstract = None
            with contextlib.suppress(OSError):  # Linux alone has them
                abstract = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
                abstract.bind(f"\0evalkit-{port.getsockname()[1]}")
                abstract.listen()
                abstract.setblocking(False)
            yield replace(cls(folder, port, abstract, ()), before=_state(folder))

    def aim(self, program: str | Program) -> str | Program:
        """The program with the names of this target filled in."""
        port = self.port.getsockname()[1]
        names = {
            "secret": str(self.folder / "secret"),
            "folder": str(self.folder),
            "port": str(port),
            "socket": f"evalkit-{port}",
            "process": str(os.getpid()),
        }
        if isinstance(program, str):
            return Template(program).safe_substitute(names)
        return Program(Template(program.code).safe_substitute(names), program.tests)

    def harm(self) -> str:
        """What the attacks left behind, in words; empty where there is nothing."""
        found = []
        if _state(self.folder) != self.before:
            found.append(f"changed from {self.before} to {_state(self.folder)}")
        for server in (self.port, self.abstract):
            with contextlib.suppress(OSError):
                if server is not None:
                    server.accept()[0].close()
                    found.append(f"a connection to {server.getsockname()!r}")
        return "; ".join(found)


def _state(folder: Path) -> tuple[object, ...]:
    """The folder, the priority and limits of this process, and the kernel's table of shared memory."""
    import resource  # there is none on Windows

    secret = (folder / "secret").stat()
    table = Path("/proc/sysvipc/shm")
    shared = len(table.read_text().splitlines()) if table.exists() else 0
    priority, limit = os.getpriority(os.PRIO_PROCESS, 0), resource.getrlimit(resource.RLIMIT_NOFILE)
    return sorted(entry.name for entry in folder.iterdir()), secret.st_mode, secret.st_mtime, priority, limit, shared


__all__ = ["LIMITS", "Attack", "AttackResult", "selftest", "suite"]
