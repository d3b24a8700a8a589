"""A control group for each cage, where systemd gives a part of the tree of groups away.

The kernel then counts all that the processes in a cage take, files in memory and its own memory for them included, and
ends all of them at once where it is too much. The warmed process is started in a *scope* of its own, which systemd
leaves to it (https://systemd.io/CGROUP_DELEGATION): in ``grader`` are that process and ours that are forked from it, in
``cage-...`` the processes of one cage. When the scope is empty, systemd removes it and all groups in it.

Needs control groups of version 2, Linux 5.14, and for an ordinary user a manager of the user's own. Elsewhere there are
no groups, and all else is the same.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "autograder-"
_CONTROLLERS = ("memory", "pids")
#: Files in which a group's bounds stand, and how those begin that aren't any.
_NO_BOUND = {"memory.max": "max", "memory.high": "max", "memory.swap.max": "max", "cpu.max": "max", "cpuset.cpus": "\n"}
#: What systemd-run needs, and what it adds, isn't for the command.
_FORGETTING = ("env", "--unset=XDG_RUNTIME_DIR", "--unset=INVOCATION_ID")


def scope() -> list[str]:
    """What to put before a command so that it runs in a scope that is its own; empty where there is none to be had."""
    asking = _asking()
    return [*asking, f"--unit={_PREFIX}{uuid.uuid4().hex}.scope", *_FORGETTING] if asking else []


@functools.cache
def _asking() -> tuple[str, ...]:
    """The command that asks the manager for a scope, once it has been seen to give one."""
    user = os.geteuid()
    program = shutil.which("systemd-run")
    if program is None or not os.path.exists("/run/systemd/system") or _is_bounded(user):
        return ()
    # Each cage has its own bound on processes; a common one would let one cage take from others.
    properties = ("--property=Delegate=yes", "--property=TasksMax=infinity")
    command = [program, "--scope", "--quiet", "--collect", "--no-ask-password", *properties]
    if user != 0:
        runtime = os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{user}")
        command = ["env", f"XDG_RUNTIME_DIR={runtime}", *command, "--user"]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        tried = subprocess.run([*command, *_FORGETTING], timeout=10, stdin=subprocess.DEVNULL, capture_output=True)
        return tuple(command) if tried.returncode == 0 else ()
    return ()


def _is_bounded(user: int) -> bool:
    """Whether a scope would lead out of bounds in which this process was put, or there are no groups of version 2."""
    above = Path("/system.slice") if user == 0 else Path(f"/user.slice/user-{user}.slice/user@{user}.service")
    try:
        own = _own()
        for group in {own, *own.parents} - {above, *above.parents}:
            for name, text in _NO_BOUND.items():
                with contextlib.suppress(FileNotFoundError):
                    if not (_folder(group) / name).read_text().startswith(text):
                        return True
        return not (_ROOT / "cgroup.controllers").exists()
    except OSError:
        return True


def _own() -> Path:
    """This process's group; FileNotFoundError where there is none of version 2."""
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        if line.startswith("0::"):
            return Path(line.removeprefix("0::"))
    raise FileNotFoundError("no control groups of version 2")


def _folder(group: Path) -> Path:
    return _ROOT / group.relative_to("/")


def prepare() -> str:
    """In a process that was started in a scope and has no children: make room for groups beside its own.

    Returns
    -------
    str
        The folder for :class:`Group`; empty where the process wasn't started so, or a controller is missing.
    """
    try:
        folder = _folder(_own())
        if not folder.name.startswith(_PREFIX):
            return ""
        # A group that has groups with bounds in it holds no process itself.
        inner = folder / "grader"
        inner.mkdir()
        (inner / "cgroup.procs").write_text(str(os.getpid()))
        (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
        return str(folder) if (inner / "cgroup.kill").exists() else ""
    except OSError:
        return ""


class Group:
    """The control group of one cage.

    Parameters
    ----------
    parent : str
        As :func:`prepare` gave it.
    process : int
        The first process of the cage, while it has no children.
    memory : int
        Bytes, of all kinds, that the processes may take from now on.
    processes : int
        Processes and threads.

    Raises
    ------
    OSError
        If the process has ended, or somebody else has changed the tree of groups.
    """

    def __init__(self, parent: str, process: int, *, memory: int, processes: int) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="cage-", dir=parent))
        try:
            with contextlib.suppress(FileNotFoundError):  # a kernel without swap
                self._write("memory.swap.max", 0)
            self._write("memory.max", memory)
            self._write("memory.oom.group", 1)
            self._write("pids.max", processes)
            self._write("cgroup.procs", process)
        except OSError:
            self.close()
            raise

    def _write(self, name: str, value: int) -> None:
        file = os.open(self._folder / name, os.O_WRONLY)
        try:
            os.write(file, str(value).encode())
        finally:
            os.close(file)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has ended the processes since they took too much."""
        with contextlib.suppress(OSError):  # a scope that somebody has stopped is gone
            events = dict(line.split() for line in (self._folder / "memory.events").read_text().splitlines())
            # Either alone isn't that: a process can be ended since the whole machine's memory is short.
            return events["oom"] != "0" and events["oom_kill"] != "0"
        return False

    def kill(self) -> None:
        """End all processes in the group."""
        with contextlib.suppress(OSError):
            self._write("cgroup.kill", 1)

    def close(self) -> None:
        """End all processes in the group, and remove it when they have ended, which takes the kernel a moment."""
        self.kill()
        for _ in range(1000):
            with contextlib.suppress(OSError):
                self._folder.rmdir()
                return
            time.sleep(0.001)


def hold() -> bool:
    """Find out, by trying, whether groups hold what is put into them; in a process as for :func:`prepare`."""
    parent = prepare()
    if not parent:
        return False
    child = os.fork()
    if child == 0:
        time.sleep(10)
        os._exit(0)
    try:
        Group(parent, child, memory=2**24, processes=1).close()
    except OSError:
        os.kill(child, signal.SIGTERM)
    return os.waitpid(child, 0)[1] == signal.SIGKILL
