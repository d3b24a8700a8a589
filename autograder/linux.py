"""The system calls of which neither Python nor a kept library has a binding.

Namespaces, mounts, capabilities and the seccomp filter, each as thin as ctypes allows.
Landlock comes from the library landlockpy.
"""

from __future__ import annotations

import ctypes
import os
import platform
import struct

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

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47

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


# System calls that a student's code has no use for and an attacker has: looking into other
# processes, changing mounts and namespaces, memory that no limit counts, the kernel's less
# trodden interfaces.
_DENIED = {
    "x86_64": {
        "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311, "kcmp": 312, "pidfd_getfd": 438,
        "mount": 165, "umount2": 166, "pivot_root": 155, "chroot": 161, "unshare": 272, "setns": 308,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "mount_setattr": 442, "open_by_handle_at": 304, "name_to_handle_at": 303, "bpf": 321,
        "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "keyctl": 250, "add_key": 248, "request_key": 249, "kexec_load": 246,
        "kexec_file_load": 320, "init_module": 175, "finit_module": 313, "delete_module": 176, "reboot": 169,
        "swapon": 167, "swapoff": 168, "acct": 163, "quotactl": 179, "personality": 135, "iopl": 172, "ioperm": 173,
        "sethostname": 170, "setdomainname": 171, "settimeofday": 164, "clock_settime": 227, "adjtimex": 159,
        "syslog": 103, "vhangup": 153, "lookup_dcookie": 212, "fanotify_init": 300, "modify_ldt": 154,
        "memfd_create": 319, "memfd_secret": 447,
        "move_pages": 279, "migrate_pages": 256, "mbind": 237, "set_mempolicy": 238,
        "setpriority": 141, "sched_setparam": 142, "sched_setscheduler": 144, "sched_setattr": 314, "ioprio_set": 251,
    },
    "aarch64": {
        "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271, "kcmp": 272, "pidfd_getfd": 438,
        "mount": 40, "umount2": 39, "pivot_root": 41, "chroot": 51, "unshare": 97, "setns": 268,
        "open_tree": 428, "move_mount": 429, "fsopen": 430, "fsconfig": 431, "fsmount": 432, "fspick": 433,
        "mount_setattr": 442, "open_by_handle_at": 265, "name_to_handle_at": 264, "bpf": 280,
        "perf_event_open": 241, "userfaultfd": 282, "io_uring_setup": 425, "io_uring_enter": 426,
        "io_uring_register": 427, "keyctl": 219, "add_key": 217, "request_key": 218, "kexec_load": 104,
        "kexec_file_load": 294, "init_module": 105, "finit_module": 273, "delete_module": 106, "reboot": 142,
        "swapon": 224, "swapoff": 225, "acct": 89, "quotactl": 60, "personality": 92,
        "sethostname": 161, "setdomainname": 162, "settimeofday": 170, "clock_settime": 112, "adjtimex": 171,
        "syslog": 116, "vhangup": 58, "lookup_dcookie": 18, "fanotify_init": 262,
        "memfd_create": 279, "memfd_secret": 447,
        "move_pages": 239, "migrate_pages": 238, "mbind": 235, "set_mempolicy": 237,
        "setpriority": 140, "sched_setparam": 118, "sched_setscheduler": 119, "sched_setattr": 274, "ioprio_set": 30,
    },
}  # fmt: skip
_ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CLONE = {"x86_64": 56, "aarch64": 220}
_CLONE3 = 435
_SOCKET = {"x86_64": 41, "aarch64": 198}
_PRLIMIT = {"x86_64": 302, "aarch64": 261}
# System V and POSIX message queues, shared memory, semaphores: they outlive a process and its limits.
_IPC = {
    "x86_64": (29, 30, 31, 64, 65, 66, 67, 68, 69, 70, 71, 220, 240, 241, 242, 243),
    "aarch64": (180, 181, 182, 183, 186, 187, 188, 189, 190, 191, 192, 193, 194, 195, 196, 197),
}
_NEW_NAMESPACES = 0x7E020080

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_EPERM, _ENOSYS, _EAFNOSUPPORT = 1, 38, 97


def _filter(*, sockets: bool) -> bytes:
    """The seccomp program: a list of (code, jump if true, jump if false, operand)."""
    machine = platform.machine()
    load, equal, test_bits, greater_equal, give = 0x20, 0x15, 0x45, 0x35, 0x06
    number_at, architecture_at, first_argument_at = 0, 4, 16
    program = [
        (load, 0, 0, architecture_at),
        (equal, 1, 0, _ARCHITECTURES[machine]),
        (give, 0, 0, _KILL),  # a program for another architecture has other numbers
        (load, 0, 0, number_at),
        (greater_equal, 0, 1, 0x40000000),  # the x32 numbers
        (give, 0, 0, _ERRNO | _EPERM),
        (equal, 0, 1, _CLONE3),  # its flags lie in memory; libc falls back to clone
        (give, 0, 0, _ERRNO | _ENOSYS),
    ]
    denied = [*_DENIED[machine].values(), *_IPC[machine]]
    if not sockets:
        denied.append(_SOCKET[machine])
    for number in denied:
        program += [(equal, 0, 1, number), (give, 0, 0, _ERRNO | _EPERM)]
    program += [
        (equal, 0, 4, _CLONE[machine]),
        (load, 0, 0, first_argument_at),
        (test_bits, 0, 1, _NEW_NAMESPACES),
        (give, 0, 0, _ERRNO | _EPERM),
        (give, 0, 0, _ALLOW),
    ]
    program += [  # another process's limits; its own are process 0's
        (equal, 0, 3, _PRLIMIT[machine]),
        (load, 0, 0, first_argument_at),
        (equal, 1, 0, 0),
        (give, 0, 0, _ERRNO | _EPERM),
        (load, 0, 0, number_at),
    ]
    if sockets:  # within a network namespace of its own: Unix and IP sockets; vsock, say, leaves it
        families = (1, 2, 10)
        program += [(equal, 0, 2 + len(families), _SOCKET[machine]), (load, 0, 0, first_argument_at)]
        program += [(equal, len(families) - index, 0, family) for index, family in enumerate(families)]
        program += [(give, 0, 0, _ERRNO | _EAFNOSUPPORT)]
    program += [(give, 0, 0, _ALLOW)]
    return b"".join(struct.pack("HBBI", *instruction) for instruction in program)


def filter_system_calls(*, sockets: bool) -> None:
    """Deny the system calls that only an attacker needs, to this process and its children.

    Parameters
    ----------
    sockets : bool
        Whether Unix and IP sockets may be made; False where no network namespace ends them.
    """
    code = _filter(sockets=sockets)
    program = ctypes.create_string_buffer(code, len(code))
    header = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(program))
    holder = ctypes.create_string_buffer(header, len(header))
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    prctl(PR_SET_SECCOMP, 2, ctypes.addressof(holder))  # SECCOMP_MODE_FILTER


def can_filter_system_calls() -> bool:
    """Whether this kernel and architecture know our seccomp filter."""
    return platform.machine() in _ARCHITECTURES and os.path.exists("/proc/sys/kernel/seccomp")
