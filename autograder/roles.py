"""What runs in the warmed process, and in each process that is forked from it.

The warmed process imports what notebooks import, once, and then only forks. It never sees a
submission, a test or a gradebook, so a process forked from it holds none of them either. Before it
imports what is withheld from students (:mod:`autograder.withheld`) it forks a *lean* copy of itself,
from which students' processes are forked. The two end together.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import resource
import select
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from autograder import cage, groups, linux
from autograder.codec import Channel, PeerGone
from autograder.withheld import Withholder, files_of, is_needed
from autograder.zygote import Zygote

if TYPE_CHECKING:
    from autograder.shell import NotebookShell


@dataclass
class _Warm:
    """What a warmed process has for those that are forked from it.

    Attributes
    ----------
    shell : NotebookShell
    readable : list of str
        The installation.
    groups : str
        The folder for :class:`autograder.groups.Group`, or empty.
    withheld : tuple of str
        Modules.
    lean : Zygote, optional
        The lean copy, if this process isn't one itself.
    withholder, hidden : Withholder, list of str
        In the lean copy: what keeps the modules out, and their files.
    """

    shell: NotebookShell
    readable: list[str]
    groups: str
    withheld: tuple[str, ...] = ()
    lean: Zygote | None = None
    withholder: Withholder | None = None
    hidden: list[str] = field(default_factory=list)


def _warm_up(names: list[str]) -> None:
    environment = dict(os.environ)
    for name in names:
        with contextlib.suppress(ImportError):
            package = importlib.import_module(name.removesuffix(".*"))
            for module in (
                pkgutil.walk_packages(package.__path__, f"{package.__name__}.") if name.endswith(".*") else ()
            ):
                with contextlib.suppress(Exception):
                    importlib.import_module(module.name)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    # PyTorch's compiler leaves a folder named after the instructor in it.
    os.environ.clear()
    os.environ.update(environment)


def _limit(memory: int) -> None:
    """Bound the memory that this process has beyond what it was forked with, in bytes."""
    with open("/proc/self/statm") as file:
        bound = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE") + memory
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))


def _handler(connection: socket.socket, request: dict, warm: _Warm) -> None:
    from autograder import handler

    cage.close_descriptors({connection.fileno()})
    _limit(request["memory"])
    resource.setrlimit(resource.RLIMIT_CPU, (request["seconds"], request["seconds"] + 5))
    handler.main(connection)


def _examiner(connection: socket.socket, request: dict, warm: _Warm) -> None:
    from autograder import examiner

    cage.close_descriptors({connection.fileno()})
    _limit(request["memory"])
    examiner.main(connection, warm.shell)


def _student(connection: socket.socket, request: dict, warm: _Warm) -> None:
    from autograder import student

    channel = Channel(connection)
    limits = cage.Limits(**request["limits"])
    walls = cage.Walls(request["folder"], request["readable"], warm.hidden)
    if warm.withholder is not None:
        warm.withholder.shells = tuple(request["imports"])
    inner = connection.dup()

    def run() -> None:
        inner_channel = Channel(inner)
        inner_channel.send({"ready": True})
        connection.close()
        # As in a kernel, a module in the submission's folder can be imported.
        sys.path[:] = ["", *[entry for entry in sys.path if entry]]
        student.main(inner, warm.shell, limits.output)

    cage.lock_up(
        request["mode"], walls, limits, run=run, failed=lambda reason: channel.send({"failed": reason}),
        announce=lambda pid: channel.send({"pid": pid}), keep={inner.fileno(), connection.fileno()},
    )  # fmt: skip


@contextlib.contextmanager
def _ending_with(connection: socket.socket) -> Iterator[None]:
    """End the process if the connection is closed meanwhile: imports take seconds, and nothing is read during them."""
    channel, done = Channel(connection), threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            if channel.peer_is_gone():
                os._exit(1)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def main(descriptor: int) -> None:
    """Import the modules that the first message names, then fork for each request until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    _be_called("zygote")
    place = groups.prepare()
    with contextlib.suppress(PeerGone):
        start, _ = Channel(connection).receive()
        # Not among the environment and the arguments of the program, which /proc shows to whatever is forked from it.
        os.environ["HOME"] = start["home"]
        with _ending_with(connection):
            warm = _prepare(start["warm"], tuple(start["withheld"]), place)
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            connection.close()
            _serve(theirs, {}, warm)
            os._exit(0)
        theirs.close()
        if warm.withholder is not None:
            sys.meta_path.remove(warm.withholder)
        warm = _Warm(warm.shell, warm.readable, warm.groups, warm.withheld, lean=Zygote(lent=ours))
        with _ending_with(connection):
            _warm_up(start["warm"])
            _do_once()
            _settle()
        _serve(connection, {}, warm)


def _prepare(names: list[str], withheld: tuple[str, ...], place: str) -> _Warm:
    """Import what isn't withheld, and do once what each forked process would do again."""
    withholder = Withholder(withheld)
    sys.meta_path.insert(0, withholder)
    _warm_up(names)
    # So that the forked processes have them.
    import landlockpy

    from autograder import codec, outputs, student  # noqa: F401
    from autograder.shell import new_shell, warm_up

    shell = new_shell()
    warm_up(shell)
    # Finds the C library, for which it would start programs in the cage.
    with contextlib.suppress(OSError):
        landlockpy.abi_version()
    with contextlib.suppress(linux.FilterUnavailable):
        for metadata in (True, False):
            linux.system_call_filter(metadata=metadata)
    _settle()
    return _Warm(shell, cage.installation(), place, withheld, withholder=withholder, hidden=files_of(withheld))


def _do_once() -> None:
    """Import, compile and read what each handler or examiner would when it first uses it."""
    import nbformat

    from autograder import examiner, handler  # noqa: F401
    from course_utils import steps

    nbformat.v4.new_notebook()  # compiles the schema
    steps.table()


def _settle() -> None:
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy every page


def _serve(connection: socket.socket, request: dict, warm: _Warm) -> None:
    """Say that the process is warm, then fork until the connection is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started the grading
    channel = Channel(connection)
    with contextlib.suppress(PeerGone):
        if warm.lean is not None:
            _ = warm.lean.readable  # it is warm
        channel.send({"readable": warm.readable, "groups": warm.groups})
        while _is_asked(connection, warm.lean):
            request, _ = channel.receive()
            given = channel.receive_descriptor()
            if request["role"] == "student" and warm.lean and not is_needed(warm.withheld, request["imports"]):
                warm.lean.channel.send_with_descriptor(request, given)
                answer, _ = warm.lean.channel.receive(timeout=60)
            else:
                answer = {"pid": _fork(request, given, connection, warm)}
            os.close(given)
            if request["role"] != "zygote":
                channel.send(answer)


def _is_asked(connection: socket.socket, lean: Zygote | None) -> bool:
    """Wait for a request; False if the lean copy ends meanwhile, which says nothing of itself."""
    if lean is None:
        return True
    ready, _, _ = select.select([connection, lean.channel.connection], [], [])
    return lean.channel.connection not in ready


def _fork(request: dict, given: int, connection: socket.socket, warm: _Warm) -> int:
    """Fork a process for a request; a copy of this one is lent a copy of the lean one."""
    lent = warm.lean.lend() if warm.lean and request["role"] == "zygote" else None
    parent = os.getpid()
    pid = os.fork()
    if pid == 0:
        if warm.lean is not None:
            warm.lean.channel.close()
            warm.lean = Zygote(lent=lent) if lent else None
        _become({"parent": parent, **request}, given, connection, warm)
    if lent is not None:
        lent.close()
    return pid


def _be_called(name: str) -> None:
    """Show in lists of processes what this one is."""
    with open("/proc/self/comm", "w") as file:
        file.write(name)


def _become(request: dict, given: int, connection: socket.socket, warm: _Warm) -> None:
    """In the forked process: play the role that is asked for. Doesn't return."""
    try:
        _be_called(request["role"])
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        connection.close()
        if request["role"] != "zygote":  # a copy serves somebody else
            linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != request["parent"]:
                return
            os.sched_setaffinity(0, request["processors"])
        roles = {"handler": _handler, "examiner": _examiner, "student": _student, "zygote": _serve}
        role = roles[request["role"]]
        role(socket.socket(fileno=given), request, warm)
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(0)
