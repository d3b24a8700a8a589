"""The system calls of which neither Python nor a kept library has a binding.

Namespaces, mounts and capabilities, each as thin as ctypes allows, and the list of system calls for the seccomp
filter, which pyseccomp builds. Landlock comes from the library landlockpy.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import functools
import os
import platform
import signal
import socket
import struct
import termios
from collections.abc import Iterator
from types import ModuleType
from typing import Any

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
MNT_DETACH = 2

PR_SET_PDEATHSIG, PR_GET_PDEATHSIG = 1, 2
PR_GET_DUMPABLE, PR_SET_DUMPABLE = 3, 4
PR_SET_NAME, PR_GET_NAME = 15, 16
PR_GET_SECCOMP = 21
PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS = 38, 39
PR_CAP_AMBIENT = 47
PR_SET_VMA = 0x53564D41


class FilterUnavailable(Exception):
    """This machine can't build the filter of system calls; the text says what is missing."""


_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def _checked(result: int, what: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def unshare(flags: int) -> None:
    """Give the calling process namespaces of its own (unshare(2); ``os.unshare`` from Python 3.12)."""
    _checked(_libc.unshare(ctypes.c_int(flags)), "unshare")


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    """mount(2)."""
    result = _libc.mount(
        source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode() or None
    )
    _checked(result, f"mount {target}")


def make_read_only(target: str, *, recursive: bool = True) -> None:
    """Make a mount, and those below it, read-only, without set-user-id programs and devices."""
    attributes = struct.pack("QQQQ", 1 | 2 | 4, 0, 0, 0)  # MOUNT_ATTR_RDONLY, NOSUID, NODEV
    flags = 0x8000 if recursive else 0  # AT_RECURSIVE
    number = 442  # mount_setattr, the same on every architecture; Linux 5.12
    result = _libc.syscall(number, -100, target.encode(), flags, attributes, len(attributes))
    _checked(result, f"mount_setattr {target}")


def pivot_root(new_root: str) -> None:
    """Make ``new_root`` the root folder and forget the old one."""
    os.chdir(new_root)
    number = {"x86_64": 155, "aarch64": 41}[platform.machine()]
    _checked(_libc.syscall(number, b".", b"."), "pivot_root")
    _checked(_libc.umount2(b".", MNT_DETACH), "umount")
    os.chdir("/")


def prctl(option: int, *arguments: int) -> None:
    """prctl(2)."""
    padded = [ctypes.c_ulong(argument) for argument in (*arguments, 0, 0, 0, 0)[:4]]
    _checked(_libc.prctl(ctypes.c_int(option), *padded), "prctl")


def drop_capabilities() -> None:
    """Give up every capability, for good."""
    for capability in range(64):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # beyond the last one, or without the right to drop it
            break
    prctl(PR_CAP_AMBIENT, 4)  # PR_CAP_AMBIENT_CLEAR_ALL
    header = struct.pack("Ii", 0x20080522, 0)  # _LINUX_CAPABILITY_VERSION_3, this process
    number = {"x86_64": 126, "aarch64": 91}[platform.machine()]
    _checked(_libc.syscall(number, header, struct.pack("6I", *[0] * 6)), "capset")


def has_admin_capability() -> bool:
    """Whether this process holds CAP_SYS_ADMIN."""
    with open("/proc/self/status") as file:
        effective = next(line for line in file if line.startswith("CapEff:"))
    return bool(int(effective.split()[1], 16) >> 21 & 1)


#: What code in a notebook calls, by name: of the calls that container runtimes allow by default (the profile of
#: Docker and containerd), those for files, memory, processes of one's own, signals, time and waiting. Left out are
#: sockets, another user, session, priority or processor for oneself or others, and what changes who may use a file.
#: Whatever isn't named, or isn't known yet, doesn't exist for the caller: it fails with ENOSYS, for which programs
#: are prepared.
ALLOWED_CALLS = """
    access chdir close close_range copy_file_range creat dup dup2 dup3 epoll_create epoll_create1 epoll_ctl
    epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 faccessat faccessat2 fadvise64
    fallocate fchdir fdatasync fgetxattr flistxattr flock fstat fstatfs fsync ftruncate getcwd getdents getdents64
    getxattr lgetxattr link linkat listxattr llistxattr lseek lstat mkdir mkdirat newfstatat open openat openat2 pipe
    pipe2 poll ppoll pread64 preadv preadv2 pselect6 pwrite64 pwritev pwritev2 read readlink readlinkat readv rename
    renameat renameat2 rmdir select sendfile signalfd signalfd4 stat statfs statx symlink symlinkat timerfd_create
    timerfd_gettime timerfd_settime truncate umask unlink unlinkat write writev
    brk madvise mincore mprotect mremap msync munmap
    arch_prctl execve exit exit_group fork futex futex_requeue futex_wait futex_waitv futex_wake get_robust_list getcpu
    getegid geteuid getgid getgroups getpgid getpgrp getpid getppid getpriority getrandom getresgid getresuid
    getrlimit getrusage getsid gettid getuid membarrier restart_syscall rseq sched_get_priority_max
    sched_get_priority_min sched_getaffinity sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval
    sched_yield set_robust_list set_tid_address setpgid setrlimit sysinfo times uname vfork wait4 waitid
    alarm clock_getres clock_gettime clock_nanosleep getitimer gettimeofday kill nanosleep pause rt_sigaction
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo
    setitimer sigaltstack tgkill time timer_create timer_delete timer_getoverrun timer_gettime timer_settime tkill
    getpeername getsockname getsockopt recvfrom recvmsg shutdown
"""
#: Change who may use a file, and when it was used last. They take a path, or a descriptor of a file that was opened
#: for reading, and Landlock governs neither.
METADATA_CALLS = """
    chmod chown fchmod fchmodat fchmodat2 fchown fchownat fremovexattr fsetxattr futimesat lchown lremovexattr
    lsetxattr removexattr setxattr utime utimensat utimes
"""
_ARCHITECTURES = {"x86_64": "X86_64", "aarch64": "AARCH64"}
_WORD = 0xFFFFFFFF  # of an argument that the kernel takes as an int, the upper half says nothing
_NEW_NAMESPACES, _CLONE_PARENT = 0x7E020080, 0x8000
_MAP_SHARED, _MAP_ANONYMOUS, _MAP_HUGETLB = 1, 0x20, 0x40000
_SOCK_FLAGS = socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
_F_OFD_LOCKS = (36, 37, 38)  # F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW
_F_GETPIPE_SZ = 1032


def _calls_with_bounds(seccomp: ModuleType) -> Iterator[tuple[str, list]]:
    """The calls that are allowed with some arguments only: (name, conditions that hold together)."""

    def equal(index: int, value: int) -> Any:
        return seccomp.Arg(index, seccomp.MASKED_EQ, _WORD, value & _WORD)

    def without(index: int, bits: int) -> Any:
        return seccomp.Arg(index, seccomp.MASKED_EQ, bits, 0)

    yield "clone", [without(0, _NEW_NAMESPACES | _CLONE_PARENT)]
    # Memory that is shared and has no name is seen in no process once it has been unmapped in part.
    yield "mmap", [without(3, _MAP_ANONYMOUS | _MAP_HUGETLB)]
    private = seccomp.Arg(3, seccomp.MASKED_EQ, _MAP_ANONYMOUS | _MAP_SHARED | _MAP_HUGETLB, _MAP_ANONYMOUS)
    yield "mmap", [private]
    yield "prlimit64", [equal(0, 0)]  # of another process
    # A datagram would take an address, and with sendmsg a descriptor could be left in a socket where none is counted.
    stream = seccomp.Arg(1, seccomp.MASKED_EQ, _WORD & ~_SOCK_FLAGS, socket.SOCK_STREAM)
    yield "socketpair", [equal(0, socket.AF_UNIX), stream]
    yield "sendto", [seccomp.Arg(4, seccomp.EQ, 0)]
    for command in (
        fcntl.F_DUPFD, fcntl.F_DUPFD_CLOEXEC, fcntl.F_GETFD, fcntl.F_SETFD, fcntl.F_GETFL, fcntl.F_SETFL,
        fcntl.F_GETLK, fcntl.F_SETLK, fcntl.F_SETLKW, *_F_OFD_LOCKS, _F_GETPIPE_SZ,
    ):  # fmt: skip
        yield "fcntl", [equal(1, command)]  # no lease, which others would wait for; no larger pipe
    for request in (termios.TCGETS, termios.TIOCGWINSZ, termios.FIONREAD, termios.FIONBIO, termios.FIOCLEX,
                    termios.FIONCLEX):  # fmt: skip
        yield "ioctl", [equal(1, request)]
    for option in (PR_GET_PDEATHSIG, PR_GET_DUMPABLE, PR_SET_NAME, PR_GET_NAME, PR_GET_SECCOMP, PR_CAPBSET_READ,
                   PR_SET_NO_NEW_PRIVS, PR_GET_NO_NEW_PRIVS, PR_SET_VMA):  # fmt: skip
        yield "prctl", [equal(0, option)]
    yield "prctl", [equal(0, PR_SET_PDEATHSIG), equal(1, signal.SIGKILL)]  # to end with the parent, and nothing else


@functools.cache
def system_call_filter(*, metadata: bool, machine: str | None = None) -> Any:
    """The seccomp filter of the cage.

    Parameters
    ----------
    metadata : bool
        Whether :data:`METADATA_CALLS` are allowed: where every file that can be named is the student's own.
    machine : str, optional
        ``"x86_64"`` or ``"aarch64"``; this machine's by default.

    Returns
    -------
    pyseccomp.SyscallFilter

    Raises
    ------
    FilterUnavailable
        If the library or the architecture is missing.
    """
    try:
        import pyseccomp as seccomp
    except (ImportError, RuntimeError):  # RuntimeError: without the C library
        raise FilterUnavailable(
            "The cage needs the package pyseccomp and the C library libseccomp.so.2"
            " (apt install libseccomp2, dnf install libseccomp)."
        ) from None
    machine = machine or platform.machine()
    if machine not in _ARCHITECTURES:
        raise FilterUnavailable(f"The cage's filter of system calls is for x86_64 and aarch64, not {machine}.")
    found = seccomp.SyscallFilter(seccomp.ERRNO(errno.ENOSYS))
    architecture = getattr(seccomp.Arch, _ARCHITECTURES[machine])
    if not found.exist_arch(architecture):
        found.add_arch(architecture)
        found.remove_arch(seccomp.system_arch())
    calls = f"{ALLOWED_CALLS} {METADATA_CALLS if metadata else ''}".split()
    rules: list[tuple[str, list]] = [(name, []) for name in calls]
    for name, conditions in (*rules, *_calls_with_bounds(seccomp)):
        # Negative: the architecture hasn't got it, or this version of the C library doesn't know it.
        if seccomp.resolve_syscall(architecture, name) >= 0:
            found.add_rule(seccomp.ALLOW, name, *conditions)
    return found


def filter_system_calls(*, metadata: bool) -> None:
    """Refuse every system call that isn't named above, to this process and its children, for good.

    Parameters
    ----------
    metadata : bool
        As of :func:`system_call_filter`.
    """
    system_call_filter(metadata=metadata).load()
