"""How the fork server gives up its rights for good, and what each child of it gives up on top.

Most is done once, in the server, before it forks anything: its children inherit it and start faster for it. A child
then loses the few things that a fork server needs: new processes, signals to others, new limits.
"""

import os
import resource
import signal
from pathlib import Path
from typing import NamedTuple

from . import kernel, landlock, seccomp
from .allowance import Allowance

CONFINED = b"+"  # what a child writes to its result descriptor between its confinement and the first untrusted line


class Confinement(NamedTuple):
    """What holds for the server and its children.

    Args:
        limits: resource limits.
        work: the working folder.
        ruleset: descriptor of the Landlock ruleset, None where there is no Landlock.
        filters: the system call filters of the server and of its children, None where there is no seccomp.
        user: user id to take on, None to keep this one.
        counted: whether the kernel counts the threads of this user apart from all others; where it does not, the server
            must look into /proc, and only the children are restricted by Landlock.
    """

    limits: Allowance
    work: str
    ruleset: int | None
    filters: tuple[seccomp.Filter, seccomp.Filter] | None
    user: int | None
    counted: bool

    def confine_server(self) -> None:
        """Put on this process whatever a fork server can do without.

        Raises:
            OSError: a protection could not be put in place; nothing untrusted may run then.
        """
        os.environ.clear()
        os.umask(0o077)
        os.chdir(self.work)
        self._limit()
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
        Path(os.__file__).open().close()  # the new user must be able to read the interpreter
        if not kernel.is_linux():
            return
        kernel.drop_capabilities()
        # A crash is then not handed to the machine's own collector of crashes, which no size limit holds back, and no
        # process of the same user may look into these.
        kernel.prctl(kernel.PR_SET_DUMPABLE, 0)
        kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
        if self.ruleset is not None and self.counted:
            landlock.restrict(self.ruleset)
        if self.filters is not None:
            self.filters[0].install()

    def confine_child(self) -> None:
        """Put the rest on this process, for good.

        Raises:
            OSError: as above.
        """
        os.setsid()
        cpu = self.limits.cpu_seconds
        resource.setrlimit(resource.RLIMIT_CPU, (cpu, cpu + 1))
        if not kernel.is_linux():
            return
        kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
        if self.ruleset is not None and not self.counted:
            landlock.restrict(self.ruleset)
        if self.filters is not None:
            self.filters[1].install()

    def _limit(self) -> None:
        limits = self.limits
        values = {
            resource.RLIMIT_CORE: 0,
            resource.RLIMIT_FSIZE: limits.file,
            resource.RLIMIT_NOFILE: limits.open_files,
        }
        if kernel.is_linux():  # other systems refuse it
            values[resource.RLIMIT_AS] = limits.memory
        if self.counted:
            # The servers, the tests and the next program count as well.
            values[resource.RLIMIT_NPROC] = limits.threads + 5
        for which, value in values.items():
            resource.setrlimit(which, (value, value))
