"""What all the processes of a cage have taken together: processor time and memory, as /proc tells it.

Everything that a process has started is below it in the tree of processes, in whatever session it is and whether
its parent lives or not: who loses a parent is given to the cage's keeper, or to the first process of the cage.
"""

from __future__ import annotations

import contextlib
import functools
import os
import signal
import stat
from dataclasses import dataclass

_CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
#: A socket takes data beyond its buffer once, as much as fits into one piece (SKB_MAX_ALLOC and the fragments).
_LAST_PIECE = 64 * 2**10


@functools.cache
def descriptor_bytes() -> int:
    """Bytes that the kernel may hold for one file descriptor of a caged process, if it is a socket or a pipe."""
    with open("/proc/sys/net/core/wmem_default") as file:
        return int(file.read()) + _LAST_PIECE


@dataclass(frozen=True)
class Process:
    """One process at one moment.

    Attributes
    ----------
    started : int
        Clock ticks after the machine's start: with its number, this names a process.
    ended : bool
        Whether it has, and only waits to be asked for its exit status.
    own, waited : float
        Seconds of processor time: of itself, and of those of its children that it has waited for, with theirs.
    """

    started: int
    ended: bool
    own: float
    waited: float


def read_process(pid: int) -> Process | None:
    """The process ``pid``, or None where there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            parts = file.read().rpartition(")")[2].split()
    except OSError:
        return None
    own, waited = (sum(map(int, parts[start : start + 2])) / _CLOCK_TICKS for start in (11, 13))
    return Process(int(parts[19]), parts[0] in "ZX", own, waited)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += map(int, file.read().split())
    return found


def _kibibytes(path: str, *names: str) -> int:
    """The sum of some lines of a file of /proc, in bytes."""
    with open(path) as file:
        fields = dict(line.split(":", 1) for line in file if ":" in line)
    return sum(int(fields[name].split()[0]) for name in names if name in fields) * 1024


def _resident(pid: int) -> int:
    """Bytes of a process's own and of those that it has in common with others, and of its page tables."""
    with contextlib.suppress(OSError):
        return _kibibytes(f"/proc/{pid}/status", "RssAnon", "VmSwap", "VmPTE")
    return 0


def memory_of(pid: int) -> int:
    """Bytes that belong to a process: its own, its share of those that it has in common with others, page tables."""
    try:
        shares = _kibibytes(f"/proc/{pid}/smaps_rollup", "Pss_Anon", "SwapPss")
        return shares + _kibibytes(f"/proc/{pid}/status", "VmPTE")
    except PermissionError:  # of a program that can be run and not be read: what it shares counts in full
        return _resident(pid)
    except OSError:
        return 0


def _descriptors(pid: int) -> int | None:
    try:
        return len(os.listdir(f"/proc/{pid}/fd"))
    except PermissionError:
        return None
    except OSError:
        return 0


class Tree:
    """A process and all that it has started.

    Parameters
    ----------
    root : int
        Its id.
    open_files : int
        What counts as a process's number of descriptors where it can't be read.

    Attributes
    ----------
    seconds : float
        Processor time that the tree has been seen to take since it was first looked at.
    base : int
        Bytes that the first processes have in common with the one that they were forked from.
    """

    def __init__(self, root: int, open_files: int) -> None:
        self.root = root
        self.open_files = open_files
        self.seconds = 0.0
        self._seen: dict[int, Process] = {}
        self.look()
        self.seconds = 0.0
        self._first = set(self._seen)
        self.base = max(map(_resident, self._first))

    def look(self) -> None:
        """Find the processes, and add what they have taken since the last time."""
        now: dict[int, Process] = {}
        waiting = [self.root]
        while waiting:
            pid = waiting.pop()
            if pid not in now and (process := read_process(pid)):
                now[pid] = process
                waiting += _children(pid)
        for pid, before in self._seen.items():  # one that was given to another parent while we looked
            if pid not in now and (process := read_process(pid)) and process.started == before.started:
                now[pid] = process
        own = waited = gone = 0.0
        for pid, process in now.items():
            last = self._seen.get(pid)
            if last is None or last.started != process.started:
                last = Process(0, False, 0.0, 0.0)
            own += process.own - last.own
            waited += process.waited - last.waited
        for pid, before in self._seen.items():
            if pid not in now or now[pid].started != before.started:
                gone += before.own + before.waited
        # What ended has been counted while it ran; its parent tells of it again, unless it doesn't wait for children.
        self.seconds += own + max(waited - gone, 0.0)
        self._seen = now

    def kill(self) -> None:
        """End all that the first processes have started."""
        for pid, seen in self._seen.items():
            if pid in self._first:
                continue
            with contextlib.suppress(OSError):
                handle = os.pidfd_open(pid)
                try:
                    process = read_process(pid)  # the handle's, unless the number was another's before
                    if process is not None and process.started == seen.started:
                        signal.pidfd_send_signal(handle, signal.SIGKILL)
                finally:
                    os.close(handle)

    def has_left_processes(self) -> bool:
        """Whether others run than those there were at first."""
        return any(pid not in self._first and not process.ended for pid, process in self._seen.items())

    def exceeds(self, memory: int) -> bool:
        """Whether the processes take more than ``memory`` bytes besides what the warmed process has.

        What a descriptor can hold counts whether it does or not. What processes have in common is found out only
        where it matters, since that takes a while: where they would take too much if it belonged to each.
        """
        memory += self.base
        resident = {pid: _resident(pid) for pid in self._seen}
        total = 0
        for pid in self._seen:
            descriptors = _descriptors(pid)
            total += (self.open_files if descriptors is None else descriptors) * descriptor_bytes()
        if total + sum(resident.values()) <= memory:
            return False
        for pid in sorted(resident, key=resident.__getitem__, reverse=True):
            total += memory_of(pid)
            if total > memory:
                return True
        return False

    def deleted_files(self) -> int:
        """Bytes of the files that have been deleted and that a process holds open."""
        found: dict[tuple[int, int], int] = {}
        for pid in self._seen:
            with contextlib.suppress(OSError):
                for name in os.listdir(f"/proc/{pid}/fd"):
                    with contextlib.suppress(OSError):
                        status = os.stat(f"/proc/{pid}/fd/{name}")
                        if stat.S_ISREG(status.st_mode) and status.st_nlink == 0:
                            found[status.st_dev, status.st_ino] = status.st_blocks * 512
        return sum(found.values())
