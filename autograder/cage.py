"""The cage: what a process loses before a line of a student's code runs in it.

Two ways in, chosen by what the machine allows:

``namespaces``
    Namespaces of its own for users, mounts, processes, network, IPC and host name. The
    root folder holds the Python installation, read-only, the submission, read-only, and a
    scratch folder in memory; nothing else of the machine exists. Works for root and,
    where user namespaces are allowed, for an ordinary user.
``landlock``
    Where namespaces are refused (in most containers): Landlock closes every file but
    those, and signals to processes outside; the seccomp filter refuses what changes a file's owner, mode or times,
    which Landlock doesn't govern. Needs Linux 6.12.

On both: Landlock as far as the kernel has it, a seccomp filter that names what is allowed, no capabilities, no
new privileges, resource limits, no inherited file descriptors. A keeper, outside the cage, ends all that is in it
when the grader is gone. bubblewrap builds the same from
the same kernel features, but starts a new program, which would import everything anew for
each notebook; this cage is put around a process that has been forked from a warmed one.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path

from autograder import groups, linux

if sys.platform == "linux":
    import landlockpy

#: Where the caged process finds things.
HOME = "/home/student"
SUBMISSION = "/submission"
#: Files up to this size are copied into the scratch folder; larger ones are linked to, read-only.
COPIED_BYTES = 2**20
#: Not ``zero``: mapped, it is memory that no process is seen to have.
_DEVICES = ("null", "random", "urandom")
#: Names the one way to build the cage that is tried, for tests.
WAY = "AUTOGRADER_CAGE"
_NOBODY = 65534
#: Of a student's processes: examiner, handler and writer go first.
_NICENESS = 5
_MIB = 2**20


class CageUnavailable(Exception):
    """This machine can't build the cage; the text says what is missing."""


@dataclass(frozen=True)
class Limits:
    """Bounds on one notebook's student process.

    Attributes
    ----------
    memory : int
        Bytes, over what the warmed process has: of the process by rlimit, of it and all its
        children together, with what the kernel may hold for their pipes and sockets, by the watching grader; with
        the scratch folder, where it has one, by the cage's control group.
    scratch : int
        Bytes in the scratch folder, which is in memory where there are namespaces; and the largest file.
    processes : int
        Processes and threads, by rlimit, and by the control group.
    open_files : int
        Of each process.
    output : int
        Bytes of text of one cell that are kept.
    cell_seconds : float
        Processor time of one cell: the student's processes and the test's together.
    notebook_seconds : float
        Processor time of all the cells together.
    patience : float
        How many times the processor time may pass on the clock.
    grace_seconds : float
        From the interrupt to the end of a process that ignores it, on the clock.
    restarts : int
        How often a process that ended is replaced, so that the later questions can be graded.
    """

    memory: int = 2048 * _MIB
    scratch: int = 256 * _MIB
    processes: int = 64
    open_files: int = 256
    output: int = _MIB
    cell_seconds: float = 30.0
    notebook_seconds: float = 300.0
    patience: float = 3.0
    grace_seconds: float = 2.0
    restarts: int = 3

    def as_json(self) -> dict:
        """The bounds as a dict of numbers."""
        return asdict(self)


@dataclass
class Walls:
    """What one caged process may see.

    Attributes
    ----------
    folder : str
        Private folder of this notebook, made by the grader; holds ``files`` (the
        submission's), ``root`` and ``scratch`` (empty).
    readable : list of str
        Files and folders of the installation.
    hidden : list of str
        Files and folders within those that may not be read.
    """

    folder: str
    readable: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)


def installation() -> list[str]:
    """The files and folders that Python and its packages need, without the course's own.

    The course's folder (the parent of this package) holds the solutions, so it is never
    among them; of what lies in it, only the package that the notebooks import is.
    """
    import importlib.util

    course = str(Path(__file__).resolve().parent.parent)
    wanted = ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/etc/ld.so.cache", "/etc/fonts", "/etc/localtime"]
    wanted += ["/etc/alternatives", "/etc/mime.types", sys.prefix, sys.base_prefix, sys.exec_prefix]
    wanted += [os.path.dirname(os.path.realpath(sys.executable))]
    wanted += [entry for entry in sys.path if entry and os.path.realpath(entry) != course]
    spec = importlib.util.find_spec("course_utils")
    if spec is not None and spec.submodule_search_locations:
        wanted += list(spec.submodule_search_locations)
    found: list[str] = []
    for path in sorted({os.path.abspath(path) for path in wanted if os.path.exists(path)}):
        if path == "/" or course == path or course.startswith(path + "/"):
            continue  # would show the whole course; reported by trial()
        if not any(path == outer or path.startswith(outer + "/") for outer in found if not os.path.islink(outer)):
            found.append(path)
    return found


def _around(readable: list[str], hidden: list[str]) -> tuple[list[str], list[str]]:
    """What may be read so that nothing of ``hidden`` may: (files and folders with all in them, folders to list)."""
    kept_out = {os.path.realpath(path) for path in hidden}
    whole: list[str] = []
    listed: dict[str, None] = {}

    def add(path: str) -> None:
        real = os.path.realpath(path)
        if any(real == out or real.startswith(f"{out}/") for out in kept_out):
            return
        if not any(out.startswith(f"{real}/") for out in kept_out):
            whole.append(path)
        elif real not in listed:  # else a link leads back to it
            listed[real] = None
            for name in os.listdir(real):
                add(os.path.join(real, name))

    for path in readable:
        add(path)
    return whole, list(listed)


def _landlock(readable: list[str], listed: list[str], writable: list[str]) -> None:
    read = landlockpy.AccessFS.READ_FILE | landlockpy.AccessFS.READ_DIR | landlockpy.AccessFS.EXECUTE
    file_only = landlockpy.AccessFS.READ_FILE | landlockpy.AccessFS.EXECUTE
    write = read | landlockpy.fs_for_abi(5) & ~(landlockpy.AccessFS.MAKE_CHAR | landlockpy.AccessFS.MAKE_BLOCK)
    scope = landlockpy.Scope.ABSTRACT_UNIX_SOCKET | landlockpy.Scope.SIGNAL
    with landlockpy.Ruleset(scoped=scope) as ruleset:
        for path in readable:
            with contextlib.suppress(FileNotFoundError):  # a link that leads nowhere
                ruleset.allow_path(path, read if os.path.isdir(path) else file_only)
        for path in listed:
            ruleset.allow_path(path, landlockpy.AccessFS.READ_DIR)
        for path in writable:
            ruleset.allow_path(path, write)
        for name in _DEVICES:
            if os.path.exists(f"/dev/{name}"):
                access = landlockpy.AccessFS.READ_FILE | landlockpy.AccessFS.WRITE_FILE
                ruleset.allow_path(f"/dev/{name}", access)
        ruleset.restrict()


def _limit_resources(limits: Limits, *, other_tasks: int) -> None:
    with open("/proc/self/statm") as file:
        pages = [int(number) for number in file.read().split()]
    page = os.sysconf("SC_PAGE_SIZE")
    bounds = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: limits.open_files,
        resource.RLIMIT_FSIZE: limits.scratch,
        resource.RLIMIT_NPROC: other_tasks + limits.processes,
        resource.RLIMIT_AS: pages[0] * page + limits.memory,
        resource.RLIMIT_MEMLOCK: 0,
        resource.RLIMIT_MSGQUEUE: 0,
        resource.RLIMIT_SIGPENDING: 1024,
        resource.RLIMIT_CPU: int(limits.notebook_seconds * 2) + 10,
    }
    for which, bound in bounds.items():
        hard = resource.getrlimit(which)[1]
        if hard != resource.RLIM_INFINITY:
            bound = min(bound, hard)
        resource.setrlimit(which, (bound, bound))


def _tasks_of(user: int) -> int:
    """How many threads ``user`` has on this machine, which RLIMIT_NPROC counts."""
    tasks = 0
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if entry.stat().st_uid == user:
                    tasks += len(os.listdir(f"/proc/{entry.name}/task"))
    return tasks


def _copy_files(source: str, target: str) -> None:
    """Fill the scratch folder: small files as copies that may be changed, large ones as links."""
    for folder, folders, names in os.walk(source):
        inner = os.path.join(target, os.path.relpath(folder, source))
        for name in folders:
            os.makedirs(os.path.join(inner, name), exist_ok=True)
        for name in names:
            path = os.path.join(folder, name)
            if os.stat(path).st_size > COPIED_BYTES:
                os.symlink(path, os.path.join(inner, name))
            else:
                with open(path, "rb") as file, open(os.path.join(inner, name), "wb") as copy:
                    copy.write(file.read())


def _map_to_student(user: int, group: int) -> None:
    for name, text in (("setgroups", "deny"), ("uid_map", f"1000 {user} 1"), ("gid_map", f"1000 {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def _build_root(walls: Walls, limits: Limits) -> None:
    """Mount the new root folder and move into it."""
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    root = os.path.join(walls.folder, "root")
    plain = linux.MS_NOSUID | linux.MS_NODEV
    linux.mount("cage", root, "tmpfs", plain, "mode=755,size=1m")

    def bind(source: str, target: str, *, read_only: bool = True) -> None:
        target = root + target
        if os.path.isdir(source):
            os.makedirs(target, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            open(target, "w").close()
        linux.mount(source, target, None, linux.MS_BIND | linux.MS_REC)
        if read_only:
            linux.make_read_only(target)

    # One file system, so that one size bounds both folders; before what is bound, since that may lie below /tmp.
    scratch = f"{root}/scratch"
    os.mkdir(scratch)
    linux.mount("scratch", scratch, "tmpfs", plain, f"mode=755,size={limits.scratch},nr_inodes=20000")
    for folder in (HOME, "/tmp"):
        source = os.path.join(scratch, os.path.basename(folder))
        os.mkdir(source)
        os.chmod(source, 0o1777)
        os.makedirs(root + folder)
        linux.mount(source, root + folder, None, linux.MS_BIND)
    for path in walls.readable:
        if os.path.islink(path) and path.count("/") == 1:  # /lib -> usr/lib
            os.symlink(os.readlink(path), root + path)
        else:
            bind(path, path)
    nothing = {kind: f"{root}/scratch/.{kind}" for kind in ("folder", "file")}
    os.mkdir(nothing["folder"], 0)
    os.close(os.open(nothing["file"], os.O_CREAT, 0))
    for path in {*walls.hidden, *map(os.path.realpath, walls.hidden)}:
        if os.path.exists(root + path):
            linux.mount(nothing["folder" if os.path.isdir(root + path) else "file"], root + path, None, linux.MS_BIND)
            linux.make_read_only(root + path)
    bind(os.path.join(walls.folder, "files"), SUBMISSION)
    for name in _DEVICES:
        bind(f"/dev/{name}", f"/dev/{name}", read_only=False)
    os.symlink("/tmp", root + "/dev/shm")
    os.makedirs(root + "/etc", exist_ok=True)
    for name, text in (
        ("passwd", f"student:x:1000:1000::{HOME}:/bin/sh\n"),
        ("group", "student:x:1000:\n"),
        ("nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n"),
        ("hosts", "127.0.0.1 localhost\n"),
    ):
        with open(f"{root}/etc/{name}", "w") as file:
            file.write(text)
    os.makedirs(root + "/proc", exist_ok=True)
    # Needs the new process namespace; some containers forbid it, and then there is no /proc.
    with contextlib.suppress(OSError):
        linux.mount("proc", root + "/proc", "proc", plain | linux.MS_NOEXEC | linux.MS_RDONLY, "subset=pid")
    linux.pivot_root(root)
    linux.make_read_only("/", recursive=False)


def _become_nobody() -> None:
    os.setgroups([])
    os.setresgid(_NOBODY, _NOBODY, _NOBODY)
    os.setresuid(_NOBODY, _NOBODY, _NOBODY)
    linux.prctl(linux.PR_SET_DUMPABLE, 1)  # or the files in /proc/self would belong to root
    if not os.access(os.__file__, os.R_OK):
        raise PermissionError(f"the user nobody may not read {os.path.dirname(os.__file__)}")


def _close_walls(mode: str, walls: Walls, limits: Limits, *, was_root: bool) -> None:
    """In the process that will run the student's code: the last steps, from outer to inner."""
    os.nice(_NICENESS)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # where the machine's memory is short, this process ends first
    # The scratch folder and the links in it show the places as the student sees them.
    if mode == "namespaces":
        _build_root(walls, limits)
        if was_root:
            _become_nobody()
            with contextlib.suppress(OSError):  # a namespace of users to count this cage's processes alone
                linux.unshare(linux.CLONE_NEWUSER)
                _map_to_student(_NOBODY, _NOBODY)
        submission, home, writable = SUBMISSION, HOME, [HOME, "/tmp"]
        readable = ["/"]
        listed: list[str] = []
        other_tasks = 0
    else:
        submission, home = os.path.join(walls.folder, "files"), os.path.join(walls.folder, "scratch")
        writable = [home]
        readable, listed = _around([*walls.readable, submission], walls.hidden)
        other_tasks = _tasks_of(_NOBODY if was_root else os.getuid())
        if was_root:
            os.chown(home, _NOBODY, _NOBODY)
            _become_nobody()
        os.environ["TMPDIR"] = home
        tempfile.tempdir = None
    os.environ.update(HOME=home, USER="student")
    _copy_files(submission, home)
    os.chdir(home)
    _limit_resources(limits, other_tasks=other_tasks)
    linux.drop_capabilities()
    linux.prctl(linux.PR_SET_NO_NEW_PRIVS, 1)
    if landlockpy.abi_version():
        _landlock(readable, listed, writable)
    linux.filter_system_calls(metadata=mode == "namespaces")


def close_descriptors(keep: set[int]) -> None:
    """Close every file descriptor but ``keep``; 0, 1 and 2 lead nowhere."""
    null = os.open("/dev/null", os.O_RDWR)
    for number in (0, 1, 2):
        if number not in keep:
            os.dup2(null, number)
    limit = max([*(int(name) for name in os.listdir("/proc/self/fd")), *keep]) + 1
    start = 3
    for number in sorted(keep | {limit}):
        if number >= start:
            os.closerange(start, number)
            start = number + 1


def lock_up(
    mode: str,
    walls: Walls,
    limits: Limits,
    *,
    run: Callable[[], None],
    failed: Callable[[str], None],
    announce: Callable[[int], None],
    keep: set[int],
) -> None:
    """Fork a caged process, run ``run`` in it, and keep it: wait for its end, and end what it has left. Doesn't return.

    When the process ends that this one was forked from, so does all that is in the cage. The student's code can't
    signal the keeper, and the filter keeps it from outliving it.

    Parameters
    ----------
    mode : str
        ``"namespaces"`` or ``"landlock"``, as :func:`trial` found, or ``"none"``.
    walls, limits : Walls, Limits
    run : callable
        Runs in the cage.
    failed : callable
        Called, in its place, with the reason, if the cage can't be built.
    announce : callable
        Called, outside the cage, with the caged process's id in this namespace, before
        that process does anything.
    keep : set of int
        File descriptors that ``run`` needs.
    """
    linux.prctl(linux.PR_SET_CHILD_SUBREAPER, 1)
    was_root = os.geteuid() == 0
    if mode == "namespaces":
        spaces = linux.CLONE_NEWNS | linux.CLONE_NEWPID | linux.CLONE_NEWNET | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
        spaces |= linux.CLONE_NEWCGROUP
        user, group = os.geteuid(), os.getegid()
        if was_root and linux.has_admin_capability():
            linux.unshare(spaces)
        else:
            linux.unshare(spaces | linux.CLONE_NEWUSER)
            _map_to_student(user, group)
            was_root = False
    gate_out, gate_in = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            os.close(gate_in)
            if not os.read(gate_out, 1):
                os._exit(1)  # the keeper has ended
            os.setsid()
            close_descriptors(keep)
            try:
                if mode == "none":
                    os.chdir(os.path.join(walls.folder, "files"))
                else:
                    _close_walls(mode, walls, limits, was_root=was_root)
                # A change of identity clears this.
                linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            except Exception as error:
                failed(f"{type(error).__name__}: {error}")
            else:
                run()
            code = 0
        finally:
            os._exit(code)
    os.close(gate_out)

    def end(*_: object) -> None:
        os.kill(child, signal.SIGKILL)

    signal.signal(signal.SIGTERM, end)
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGTERM)  # a signal that leaves time to end the others
    announce(child)
    close_descriptors({gate_in})  # now: soon the child's root folder, in which we have no /proc, is ours too
    os.write(gate_in, b"1")
    os.close(gate_in)
    os.waitpid(child, 0)
    _end_children()
    os._exit(0)


def _end_children() -> None:
    """End what the caged process left behind; without a process namespace the kernel doesn't."""
    for _ in range(1000):
        try:
            with open(f"/proc/self/task/{os.getpid()}/children") as file:
                children = [int(number) for number in file.read().split()]
        except OSError:
            return
        if not children:
            return
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
        time.sleep(0.002)


def new_folder(files: dict[str, bytes]) -> str:
    """Make the private folder of one notebook and put the submission's files in it.

    Parameters
    ----------
    files : dict
        Relative path -> content; checked by :func:`autograder.submission.collect`.

    Returns
    -------
    str
        The folder, for :class:`Walls`; the caller removes it.
    """
    folder = tempfile.mkdtemp(prefix="autograder-")
    os.chmod(folder, 0o755)  # the caged process is another user when the grader is root
    for name in ("files", "root", "scratch"):
        os.mkdir(os.path.join(folder, name), 0o755)
    for name, content in files.items():
        path = Path(folder, "files", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def _attempt(mode: str, walls: Walls, limits: Limits) -> str | None:
    """Build a cage in a forked process; None, or why it can't be built."""
    out, into = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(out)
        try:

            def look() -> None:
                course = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
                for path in (f"{course}/autograder/cage.py", "/etc/shadow"):
                    with contextlib.suppress(OSError), open(path):  # Landlock has no part in access()
                        os.write(into, f"{path} can be read from inside".encode())
                        return
                os.write(into, b"ok")

            def fail(reason: str) -> None:
                os.write(into, reason.encode()[:300])

            lock_up(mode, walls, limits, run=look, failed=fail, announce=lambda pid: None, keep={into})
        except Exception as error:
            fail(f"{type(error).__name__}: {error}")
        finally:
            os._exit(0)
    os.close(into)
    with open(out, errors="replace") as file:
        answer = file.read()
    os.waitpid(child, 0)
    if answer == "ok":
        return None
    return answer or "the process ended while the cage was built"


def trial() -> dict:
    """Find out, by building one, which cage this machine allows.

    Returns
    -------
    dict
        ``mode``, and ``layers``, a text for people.

    Raises
    ------
    CageUnavailable
        With a sentence that names what is missing.
    """
    if sys.platform != "linux":
        raise CageUnavailable("The cage is built from features of Linux, and this is not Linux.")
    if not os.path.exists("/proc/sys/kernel/seccomp"):
        raise CageUnavailable("The cage needs a kernel with seccomp.")
    try:
        linux.system_call_filter(metadata=False)
    except linux.FilterUnavailable as error:
        raise CageUnavailable(str(error)) from None
    readable = installation()
    course = Path(__file__).resolve().parent.parent
    for needed in (sys.prefix, sys.base_prefix):
        inner = os.path.realpath(needed)
        if not any(inner == path or inner.startswith(path + "/") for path in map(os.path.realpath, readable)):
            raise CageUnavailable(
                f"Students' code must be able to read Python's folder {needed}, but the course's folder {course} lies"
                " in it. Move the course elsewhere."
            )
    walls = Walls(new_folder({}), readable)
    abi = landlockpy.abi_version()
    landlock = f"Landlock (version {abi})"
    reasons = []
    try:
        for mode in (os.environ[WAY],) if WAY in os.environ else ("namespaces", "landlock"):
            if mode == "landlock" and abi < 6:
                reasons.append(f"{landlock if abi else 'No Landlock'}, where version 6 (Linux 6.12) is needed.")
                continue
            reason = _attempt(mode, walls, Limits())
            if reason is None:
                layers = ["namespaces"] if mode == "namespaces" else []
                layers += [*([landlock] if abi else []), "seccomp", *(["control groups"] if groups.hold() else [])]
                return {"mode": mode, "layers": ", ".join(layers)}
            reasons.append(f"{mode.capitalize()} can't be used here ({reason}).")
        raise CageUnavailable(f"{' '.join(reasons)} Allow user namespaces, or grade on a newer kernel.")
    finally:
        remove_folder(walls.folder)


def remove_folder(folder: str) -> None:
    """Remove a folder and all in it, however deep that is."""
    try:
        shutil.rmtree(folder)
    except (OSError, RecursionError):
        subprocess.run(["rm", "-rf", "--", folder], check=False, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    try:
        print(json.dumps(trial()))
    except CageUnavailable as error:
        print(json.dumps({"error": str(error)}))
