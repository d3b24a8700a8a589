"""Which system calls the cage's filter lets through, on both architectures: its program is run here, call by call."""

from __future__ import annotations

import errno
import fcntl
import mmap
import signal
import socket
import struct
import sys
import tempfile
import termios

import pytest

from autograder import linux

if sys.platform != "linux":
    pytest.skip("the filter is Linux's", allow_module_level=True)
seccomp = pytest.importorskip("pyseccomp", exc_type=(ImportError, RuntimeError))

ARCHITECTURES = {"x86_64": seccomp.Arch.X86_64, "aarch64": seccomp.Arch.AARCH64}
REFUSED = seccomp.ERRNO(errno.ENOSYS)
both = pytest.mark.parametrize("machine", ARCHITECTURES)


def decision(machine: str, name: str, *arguments: int, metadata: bool = True, architecture: int | None = None) -> int:
    """What the filter says to a call: runs its classic BPF program (linux/filter.h) on a struct seccomp_data."""
    with tempfile.TemporaryFile() as file:
        linux.system_call_filter(metadata=metadata, machine=machine).export_bpf(file)
        file.seek(0)
        program = list(struct.iter_unpack("=HBBI", file.read()))
    number = seccomp.resolve_syscall(ARCHITECTURES[machine], name)
    assert number >= 0, f"{machine} has no {name}"
    data = struct.pack("=iIQ6Q", number, architecture or ARCHITECTURES[machine], 0, *[*arguments, *[0] * 6][:6])
    value, at = 0, 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == 0x20:
            (value,) = struct.unpack_from("=I", data, operand)
        elif code == 0x54:
            value &= operand
        elif code == 0x05:
            at += operand
        elif code == 0x06:
            return operand
        else:
            compared = {0x15: value == operand, 0x25: value > operand, 0x35: value >= operand, 0x45: value & operand}
            at += if_true if compared[code] else if_false


@both
def test_what_is_named_is_allowed(machine):
    names = f"{linux.ALLOWED_CALLS} {linux.METADATA_CALLS}".split()
    there = [name for name in names if seccomp.resolve_syscall(ARCHITECTURES[machine], name) >= 0]
    assert len(there) > 150
    assert {name for name in there if decision(machine, name) != seccomp.ALLOW} == set()


REFUSED_CALLS = """
    ptrace process_vm_readv process_vm_writev pidfd_open pidfd_getfd pidfd_send_signal mount umount2 pivot_root chroot
    unshare setns clone3 bpf perf_event_open userfaultfd io_uring_setup keyctl add_key memfd_create memfd_secret
    execveat personality seccomp shmget semget msgget mq_open socket connect bind listen accept4 sendmsg sendmmsg
    setsockopt setuid setgid setresuid setgroups setsid setpriority sched_setaffinity sched_setscheduler sched_setattr
    ioprio_set vmsplice splice tee mlock mbind inotify_init1 inotify_add_watch fanotify_init mknodat sync syslog
    open_by_handle_at name_to_handle_at capset quotactl reboot
"""


@both
@pytest.mark.parametrize("name", REFUSED_CALLS.split())
def test_what_is_not_named_is_refused(machine, name):
    assert decision(machine, name) == REFUSED


@both
def test_metadata_can_be_refused(machine):
    names = linux.METADATA_CALLS.split()
    there = [name for name in names if seccomp.resolve_syscall(ARCHITECTURES[machine], name) >= 0]
    assert {"fchmod", "fchmodat", "fchownat", "utimensat", "setxattr", "fsetxattr"} <= set(there)
    assert {decision(machine, name) for name in there} == {seccomp.ALLOW}
    assert {decision(machine, name, metadata=False) for name in there} == {REFUSED}


NEW_USER, NEW_TIME, PARENT = 0x10000000, 0x80, 0x8000
ADDRESS = 0x7FFF_0000_1000
F_SETLEASE, F_NOTIFY, F_SETPIPE_SZ = 1024, 1026, 1031


@both
@pytest.mark.parametrize(
    ("name", "allowed", "refused"),
    [
        ("clone", [(signal.SIGCHLD,), (0x3D0F00,)], [(NEW_USER | 17,), (NEW_TIME | 17,), (PARENT | 17,)]),
        (
            "mmap",
            [(0, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), (0, 4096, 3, mmap.MAP_SHARED, 5),
             (0, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x20000)],
            [(0, 4096, 3, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS), (0, 4096, 3, 3 | mmap.MAP_ANONYMOUS),
             (0, 4096, 3, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000)],
        ),
        ("prlimit64", [(0, 7)], [(1, 7), (2**31, 7)]),
        (
            "socketpair",
            [(1, socket.SOCK_STREAM), (1, socket.SOCK_STREAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)],
            [(1, socket.SOCK_DGRAM), (1, socket.SOCK_SEQPACKET), (2, socket.SOCK_STREAM), (1, 2**10 | 1)],
        ),
        ("sendto", [(4, ADDRESS, 8, 0, 0, 0)], [(4, ADDRESS, 8, 0, ADDRESS, 110), (4, ADDRESS, 8, 0, 2**32, 110)]),
        (
            "fcntl",
            [(4, fcntl.F_SETFD, 1), (4, fcntl.F_DUPFD_CLOEXEC, 3), (4, fcntl.F_SETLK, ADDRESS)],
            [(4, F_SETLEASE, 1), (4, F_NOTIFY, 1), (4, F_SETPIPE_SZ, 2**20), (4, fcntl.F_SETOWN, 1)],
        ),
        ("ioctl", [(4, termios.TCGETS), (4, termios.FIONREAD)], [(4, termios.TIOCSTI), (4, 0x40086602), (4, 0)]),
        ("prctl", [(15, ADDRESS), (1, 9)], [(1, 0), (1, 15), (4, 0), (22, 2), (35, 1), (36, 1), (41, 0)]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_arguments_decide(machine, name, allowed, refused):
    assert [decision(machine, name, *map(int, arguments)) for arguments in allowed] == [seccomp.ALLOW] * len(allowed)
    assert [decision(machine, name, *map(int, arguments)) for arguments in refused] == [REFUSED] * len(refused)


@both
def test_upper_half_of_an_int_is_not_looked_at_where_the_kernel_does_not(machine):
    assert decision(machine, "fcntl", 4, 2**32 + F_SETLEASE, 1) == REFUSED
    assert decision(machine, "fcntl", 4, 2**32 + fcntl.F_GETFD) == seccomp.ALLOW


@both
def test_numbers_of_another_architecture_end_the_process(machine):
    (other,) = set(ARCHITECTURES) - {machine}
    assert decision(machine, "read", architecture=ARCHITECTURES[other]) in (seccomp.KILL, seccomp.KILL_PROCESS)


def test_other_architectures_are_refused_by_name():
    with pytest.raises(linux.FilterUnavailable, match="riscv64"):
        linux.system_call_filter(metadata=True, machine="riscv64")


def test_missing_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyseccomp", None)
    with pytest.raises(linux.FilterUnavailable, match=r"libseccomp\.so\.2"):
        linux.system_call_filter.__wrapped__(metadata=True)
