"""Attacks on the network, on other processes, and on the kernel."""

from evalkit.sandbox.hostile.attack import Attack, refusal
from evalkit.sandbox.outcome import Program

# Calls that no program needs, with their numbers on x86-64 and aarch64; with -1 for every argument none does harm.
_CALLS = """
ptrace 101 117; process_vm_readv 310 270; process_vm_writev 311 271; unshare 272 97; setns 308 268; mount 165 40;
umount2 166 39; pivot_root 155 41; chroot 161 51; bpf 321 280; perf_event_open 298 241; userfaultfd 323 282;
keyctl 250 219; add_key 248 217; request_key 249 218; memfd_create 319 279; memfd_secret 447 447;
kexec_load 246 104; io_uring_setup 425 425; io_uring_enter 426 426; io_uring_register 427 427; reboot 169 142;
clock_settime 227 112; settimeofday 164 170; sethostname 170 161; acct 163 89; quotactl 179 60; syslog 103 116;
swapon 167 224; init_module 175 105; fsopen 430 430; fsmount 432 432; open_tree 428 428; move_mount 429 429;
setxattrat 463 463; file_setattr 469 469; open_by_handle_at 304 265; name_to_handle_at 303 264; setpriority 141 140;
sched_setaffinity 203 122; sched_setscheduler 144 119; sched_setattr 314 274; ioprio_set 251 30; prlimit64 302 261;
rt_sigqueueinfo 129 138; rt_tgsigqueueinfo 297 240; tkill 200 130; pidfd_open 434 434; pidfd_send_signal 424 424;
pidfd_getfd 438 438; process_madvise 440 440; kcmp 312 272; shmget 29 194; shmat 30 196; shmctl 31 195;
msgget 68 186; msgsnd 69 189; semget 64 190; mq_open 240 180; mq_unlink 241 181; socket 41 198; connect 42 203;
bind 49 200; listen 50 201; accept 43 202; sendmsg 46 211; sendmmsg 307 269; clone3 435 435; execve 59 221;
execveat 322 281; setuid 105 146; setgid 106 144; setresuid 117 147; setgroups 116 159; capset 126 91;
personality 135 92; seccomp 317 277; inotify_init1 294 26; fanotify_init 300 262; mlock 149 228; mlockall 151 230;
vmsplice 278 75; timer_create 222 107; setrlimit 160 164; fchmodat 268 53; mknodat 259 33; linkat 265 37;
lookup_dcookie 212 18; nfsservctl 180 42; inotify_add_watch 254 27; fanotify_mark 301 263; openat2 437 437;
open_tree_attr 467 467; mount_setattr 442 442; fspick 433 433; fsconfig 431 431; statmount 457 457; listmount 458 458;
landlock_create_ruleset 444 444; landlock_add_rule 445 445; setsid 112 157;
setpgid 109 154; process_mrelease 448 448; migrate_pages 256 238; move_pages 279 239; mbind 237 235;
set_mempolicy 238 237; get_robust_list 274 100; kexec_file_load 320 294; finit_module 313 273; delete_module 176 106;
swapoff 168 225; setdomainname 171 162; adjtimex 159 171; clock_adjtime 305 266; vhangup 153 58; sync 162 81;
syncfs 306 267; semop 65 193; semctl 66 191; msgrcv 70 188; msgctl 71 187; mq_notify 244 184; mq_timedsend 242 182;
splice 275 76; tee 276 77; quotactl_fd 443 443; fchmodat2 452 452; fchmod 91 52; fchown 93 55; fchownat 260 54;
utimensat 280 88; fsetxattr 190 7; fremovexattr 199 16; setreuid 113 145; setfsuid 122 151; capget 125 90;
lsm_set_self_attr 460 460; pkey_mprotect 329 288; remap_file_pages 216 234; io_setup 206 0; io_submit 209 2;
signalfd4 289 74; timerfd_create 283 85; accept4 288 242; recvmmsg 299 243; setsockopt 54 208
"""

ATTACKS = (
    refusal(
        "network",
        """
import socket
refused(socket.create_connection, ("127.0.0.1", $port), 1)
for family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 16, 17):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        refused(socket.socket, family, kind)
refused(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM)
refused(socket.getaddrinfo, "localhost", $port)
""",
    ),
    refusal(
        "a socket to somewhere else",
        r"""
import socket
one, other = socket.socketpair()
refused(one.connect, "\0$socket")
refused(one.sendto, b"x", "\0$socket")
refused(one.sendmsg, [b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, b"\1\0\0\0")])
refused(one.bind, "here")
""",
    ),
    refusal(
        "signals",
        """
import fcntl, signal
for process in ($process, os.getppid(), 1, -1, 0):
    for number in (0, signal.SIGCONT):
        refused(os.kill, process, number)
    refused(os.killpg, abs(process), 0)
    refused(fcntl.fcntl, 1, fcntl.F_SETOWN, process)
refused(os.pidfd_open, os.getppid())
""",
    ),
    refusal(
        "limits and priority of others",
        """
import resource
for process in ($process, os.getppid(), 1):
    for limit in (None, (20, 20)):
        arguments = (process, resource.RLIMIT_NOFILE, *(() if limit is None else (limit,)))
        refused(resource.prlimit, *arguments)
    refused(os.setpriority, os.PRIO_PROCESS, process, 19)
    refused(os.sched_setaffinity, process, {0})
refused(os.nice, 5)
""",
    ),
    refusal(
        "calls that no program needs",
        f"""
import ctypes, errno
column = {{"x86_64": 0, "aarch64": 1}}[os.uname().machine]
library = ctypes.CDLL(None, use_errno=True)
through = []
for entry in '''{_CALLS}'''.split(";"):
    name, *numbers = entry.split()
    ctypes.set_errno(0)
    library.syscall(int(numbers[column]), *[-1] * 6)
    if ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS):
        through.append((name, errno.errorcode.get(ctypes.get_errno())))
if through:
    raise RuntimeError(f"let through: {{through}}")
""",
    ),
    refusal(
        "memory that stays",
        """
import ctypes, multiprocessing.shared_memory
library = ctypes.CDLL(None, use_errno=True)
if library.shmget(0, 2**20, 0o1666) >= 0 or library.msgget(0, 0o1666) >= 0 or library.semget(0, 1, 0o1666) >= 0:
    raise RuntimeError("System V objects can be made")
refused(multiprocessing.shared_memory.SharedMemory, create=True, size=4096)
""",
    ),
    refusal(
        "calls with arguments of their own",
        """
import ctypes, fcntl, mmap
column = {"x86_64": 0, "aarch64": 1}[os.uname().machine]
library = ctypes.CDLL(None, use_errno=True)
library.syscall.restype = ctypes.c_long
def call(numbers, *arguments):
    if library.syscall(numbers[column], *[ctypes.c_ulong(one % 2**64) for one in arguments]) < 0:
        raise OSError(ctypes.get_errno(), "refused")
for flags in (17, 0x4111, 0x01200011, 0x00000100, 0x10000000, 0x20000011, 0x40010100, 0x80000000):
    refused(call, (56, 220), flags, 0, 0, 0, 0)  # clone: a process by any name, namespaces
for option in (1, 4, 8, 22, 26, 28, 35, 36, 53, 0x59616D61):
    refused(call, (157, 167), option, 1, 0, 0, 0)  # prctl: dumpable, subreaper, memory map, tracer …
for request in (0x5412, 0x541C, 0x5452, 0x8901, 0x5402, 0x540E, 0xAA3F):
    refused(call, (16, 29), 1, request, 0)  # ioctl: typing into a terminal, signals by I/O, a new terminal
for command in (8, 10, 15, 9, 1024, 1026, 1031, 1033):
    refused(call, (72, 25), 1, command, os.getppid())  # fcntl: owners, leases, notices of folders, pipe sizes, seals
for process in ($process, os.getppid(), 1, -1 % 2**32, -1 % 2**64):
    refused(call, (62, 129), process, 0)
    refused(call, (234, 131), process, process, 0)
    refused(call, (302, 261), process, 7, 0, 0)
refused(call, (302, 261), 0, 7, id(bytearray(16)), 0)
""",
    ),
    refusal(
        "doors to the kernel",
        """
for place in ("/dev/userfaultfd", "/dev/fuse", "/dev/kvm", "/dev/ptmx", "/dev/mqueue", "/dev/net/tun", "/dev/loop0",
              "/dev/vsock", "/dev/shm", "/sys", "/sys/kernel", "/sys/fs/bpf", "/sys/fs/cgroup", "/run", "/proc/sys",
              "/proc/self/fd", "/proc/thread-self/attr/current", "/proc/sysrq-trigger"):
    for flags in (os.O_RDONLY, os.O_RDWR):
        refused(os.open, place, flags)
near = {os.getpid() + step for step in range(-4, 5)} - {os.getpid()}
for process in {$process, os.getppid(), 1, *near}:
    # Links that lead past the paths which Landlock knows: pipes, sockets, namespaces, the root and folder of others.
    for name in ("ns/net", "ns/user", "root", "cwd", "exe", *(f"fd/{number}" for number in range(16))):
        for flags in (os.O_RDONLY, os.O_WRONLY | os.O_NONBLOCK):
            refused(os.open, f"/proc/{process}/{name}", flags)
""",
    ),
    Attack(
        "calls of another architecture",
        Program(
            """
import ctypes, mmap, os
if os.uname().machine != "x86_64":
    raise SystemExit("there is none here")
page = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(bytes.fromhex("b814000000cd80c3"))  # call 20 of i386, getpid
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
""",
            "pass",
        ),
        ("failed",),
    ),
)
