"""What runs in the warmed process, and in each process that is forked from it.

The warmed process imports what notebooks import, once, and then only forks. It never sees a
submission, a test or a gradebook, so a process forked from it holds none of them either.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import os
import pkgutil
import resource
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator

from autograder import cage, linux
from autograder.codec import Channel, PeerGone


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


def _handler(connection: socket.socket, request: dict, shell: object) -> None:
    from autograder import handler

    cage.close_descriptors({connection.fileno()})
    _limit(request["memory"])
    resource.setrlimit(resource.RLIMIT_CPU, (request["seconds"], request["seconds"] + 5))
    handler.main(connection)


def _examiner(connection: socket.socket, request: dict, shell: object) -> None:
    from autograder import examiner

    cage.close_descriptors({connection.fileno()})
    _limit(request["memory"])
    examiner.main(connection, shell)


def _student(connection: socket.socket, request: dict, shell: object) -> None:
    from autograder import student

    channel = Channel(connection)
    limits = cage.Limits(**request["limits"])
    walls = cage.Walls(request["folder"], request["readable"])
    inner = connection.dup()

    def run() -> None:
        inner_channel = Channel(inner)
        inner_channel.send({"ready": True})
        connection.close()
        # As in a kernel, a module in the submission's folder can be imported.
        sys.path[:] = ["", *[entry for entry in sys.path if entry]]
        student.main(inner, shell, limits.output)

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
    with contextlib.suppress(PeerGone):
        start, _ = Channel(connection).receive()
        # Not among the environment and the arguments of the program, which /proc shows to whatever is forked from it.
        os.environ["HOME"] = start["home"]
        with _ending_with(connection):
            request, shell = _prepare(start["warm"])
        _serve(connection, request, shell)


def _prepare(warm: list[str]) -> tuple[dict, object]:
    """Import, and do once what each forked process would do again."""
    _warm_up(warm)
    # So that the forked processes have them.
    from autograder import codec, examiner, handler, outputs, student  # noqa: F401
    from autograder.shell import new_shell, warm_up

    shell = new_shell()
    warm_up(shell)
    # Finds the C library, for which it would start programs in the cage.
    with contextlib.suppress(OSError):
        cage.landlockpy.abi_version()
    with contextlib.suppress(linux.FilterUnavailable):
        for metadata in (True, False):
            linux.system_call_filter(metadata=metadata)
    readable = cage.installation()
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy every page
    return {"readable": readable}, shell


def _serve(connection: socket.socket, request: dict, shell: object) -> None:
    """Say that the process is warm, then fork until the connection is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started the grading
    channel = Channel(connection)
    readable, parent = request["readable"], os.getpid()
    with contextlib.suppress(PeerGone):
        channel.send({"readable": readable})
        while True:
            request, _ = channel.receive()
            given = channel.receive_descriptor()
            pid = os.fork()
            if pid == 0:
                _become({"readable": readable, "parent": parent, **request}, given, connection, shell)
            os.close(given)
            if request["role"] != "zygote":
                channel.send({"pid": pid})


def _be_called(name: str) -> None:
    """Show in lists of processes what this one is."""
    with open("/proc/self/comm", "w") as file:
        file.write(name)


def _become(request: dict, given: int, connection: socket.socket, shell: object) -> None:
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
        role(socket.socket(fileno=given), request, shell)
    except BaseException:
        with contextlib.suppress(BaseException):
            traceback.print_exc(file=sys.__stderr__)
    finally:
        os._exit(0)
