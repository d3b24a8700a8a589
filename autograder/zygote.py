"""The warmed process from which handlers, examiners and caged students are forked.

It imports what notebooks import, once, and then only forks. It never sees a submission, a
test or a gradebook, so a process forked from it holds none of them either. Whoever started
it sends requests over a socket; when that is closed, it ends, and its children with it. What is
forked keeps to the processors of whoever asked for it. Each handler has a copy of the process,
for what is forked for its submission.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import pkgutil
import resource
import select
import signal
import site
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path

from autograder import cage, linux
from autograder.codec import Channel, PeerGone

#: What the notebooks import; one that is missing here is imported by the cell that needs it.
#: ``package.*`` is a package with all its modules.
WARM = (
    "numpy", "numpy.random", "numpy.linalg", "numpy.fft", "numpy.testing", "matplotlib.pyplot",
    "torch", "sympy", "IPython", "ipywidgets", "tqdm.auto", "PIL.Image",
    "matplotlib_inline.backend_inline", "json", "inspect", "asyncio", "pathlib", "time", "random", "math",
    "course_utils.*",
    # What these import late, in a cell or a test: an optimiser of PyTorch imports its compiler.
    "torch._dynamo", "torch.utils.serialization", "joblib", "sympy.tensor.tensor", "sympy.sets.setexpr",
    "sympy.assumptions.wrapper", "multiprocessing.synchronize", "encodings.cp437",
)  # fmt: skip
#: The whole environment of the zygote and of every process forked from it.
ENVIRONMENT = {
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "NBGRADER_EXECUTION": "autograde",
    "NO_COLOR": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    # One thread each: the workers share the processors already.
    **{f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "VECLIB", "BLIS")},
}


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


def _is_closed(connection: socket.socket) -> bool:
    """Whether the other end is."""
    asked = select.poll()
    asked.register(connection, 0)  # that the other end is closed is always told
    return bool(asked.poll(0))


@contextlib.contextmanager
def _ending_with(connection: socket.socket) -> Iterator[None]:
    """End the process if the connection is closed meanwhile: imports take seconds, and nothing is read during them."""
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.1):
            if _is_closed(connection):
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
    outputs.html_cleaner()
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


def _within(path: str, folder: str) -> bool:
    return Path(os.path.abspath(path)).is_relative_to(folder)


class Zygote:
    """The warmed process, or a copy of one, which is asked for forks.

    Parameters
    ----------
    warm : sequence of str
        Modules to import, as :data:`WARM`.
    lent : socket, optional
        What another's :meth:`lend` gave: the process is a copy of that one, and starts at once.
    """

    def __init__(self, warm: Sequence[str] = WARM, lent: socket.socket | None = None) -> None:
        self.warm = tuple(warm)
        self._process: subprocess.Popen | None = None
        self._readable: list[str] | None = None
        self.channel = Channel(lent or self._start())

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        Channel(ours).send({"warm": self.warm, "home": os.path.expanduser("~")})
        root = str(Path(__file__).resolve().parent.parent)
        # The packages, and not whatever else this process imports from: the student sees these folders.
        packages = [*site.getsitepackages(), site.getusersitepackages(), sys.prefix, sys.base_prefix, sys.exec_prefix]
        paths = [root, *(entry for entry in sys.path if any(_within(entry, folder) for folder in packages))]
        code = (
            f"import sys; sys.path[:] = {list(dict.fromkeys(paths))!r};"
            f" from autograder.zygote import main; main({theirs.fileno()})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", code], env=ENVIRONMENT,
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True, cwd="/",
        )  # fmt: skip
        theirs.close()
        return ours

    @property
    def readable(self) -> list[str]:
        """The installation, for :class:`autograder.cage.Walls`; waits until the process is warm."""
        if self._readable is None:
            message, _ = self.channel.receive(timeout=300)
            self._readable = message["readable"]
        return self._readable

    def fork(self, **request: object) -> tuple[Channel, int]:
        """A channel to a new process, which keeps to this one's processors, and its id."""
        _ = self.readable
        request["processors"] = sorted(os.sched_getaffinity(0))
        ours, theirs = socket.socketpair()
        with theirs:
            self.channel.send_with_descriptor(request, theirs.fileno())
        message, _ = self.channel.receive(timeout=60)
        return Channel(ours), message["pid"]

    def lend(self) -> socket.socket:
        """A connection to a copy of the process, for another process's Zygote; doesn't wait until it is warm.

        Raises
        ------
        PeerGone
            If the process has ended.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            self.channel.send_with_descriptor({"role": "zygote"}, theirs.fileno())
        return ours

    def alive(self) -> bool:
        """Whether the process runs."""
        return not _is_closed(self.channel.connection)

    def close(self) -> None:
        """End the process and all that it forked."""
        self.channel.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()


def trial() -> dict:
    """Which cage this machine allows, found in a process of its own; see :func:`autograder.cage.trial`."""
    root = str(Path(__file__).resolve().parent.parent)
    done = subprocess.run(
        [sys.executable, "-m", "autograder.cage"], cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise cage.CageUnavailable(f"The cage could not be tried: {done.stderr.strip()[-500:]}") from None
    if "error" in found:
        raise cage.CageUnavailable(found["error"])
    return found
