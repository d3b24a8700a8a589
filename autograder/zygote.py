"""The warmed process from which examiners and caged students are forked.

It imports what notebooks import, once, and then only forks. It never sees a submission, a
test or a gradebook, so a process forked from it holds none of them either. Whoever started
it sends requests over a socket; when that is closed, it ends, and its children with it. Each
worker has a process of its own, forked from the one that was warmed for them all.
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
import traceback
from collections.abc import Sequence
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


def _examiner(connection: socket.socket, request: dict, shell: object) -> None:
    from autograder import examiner

    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    cage.close_descriptors({connection.fileno()})
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    bound = size + request["memory"]
    resource.setrlimit(resource.RLIMIT_AS, (bound, bound))
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


def main(descriptor: int, warm: list[str]) -> None:
    """Import the modules ``warm``, then fork a process for each request until the connection is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = socket.socket(fileno=descriptor)
    _warm_up(warm)
    from autograder import codec, examiner, outputs, student  # noqa: F401 - so that the forked processes have them
    from autograder.shell import new_shell, warm_up

    shell = new_shell()
    warm_up(shell)
    # Finds the C library, for which it would start programs in the cage.
    with contextlib.suppress(OSError):
        cage.landlockpy.abi_version()
    readable = cage.installation()
    gc.collect()
    gc.freeze()  # a collection in a forked process would copy every page
    _serve(connection, {"readable": readable}, shell)


def _serve(connection: socket.socket, request: dict, shell: object) -> None:
    """Say that the process is warm, then fork until the connection is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started the grading
    channel = Channel(connection)
    readable = request["readable"]
    with contextlib.suppress(PeerGone):
        channel.send({"readable": readable})
        while True:
            request, _ = channel.receive()
            given = channel.receive_descriptor()
            pid = os.fork()
            if pid == 0:
                _become({"readable": readable, **request}, given, connection, shell)
            os.close(given)
            if request["role"] != "zygote":
                channel.send({"pid": pid})


def _become(request: dict, given: int, connection: socket.socket, shell: object) -> None:
    """In the forked process: play the role that is asked for. Doesn't return."""
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.setsid()
        connection.close()
        role = {"examiner": _examiner, "student": _student, "zygote": _serve}[request["role"]]
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
        root = str(Path(__file__).resolve().parent.parent)
        # The packages, and not whatever else this process imports from: the student sees these folders.
        packages = [*site.getsitepackages(), site.getusersitepackages(), sys.prefix, sys.base_prefix, sys.exec_prefix]
        paths = [root, *(entry for entry in sys.path if any(_within(entry, folder) for folder in packages))]
        code = (
            f"import sys; sys.path[:] = {list(dict.fromkeys(paths))!r};"
            f" from autograder.zygote import main; main({theirs.fileno()}, {list(self.warm)!r})"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", code], env=dict(ENVIRONMENT, HOME=os.path.expanduser("~")),
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
        """A channel to a new process, and its id."""
        _ = self.readable
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
        connection = select.poll()
        connection.register(self.channel.connection, 0)  # that the other end is closed is always told
        return not connection.poll(0)

    def close(self) -> None:
        """End the process and all that it forked."""
        self.channel.close()
        if self._process is not None:
            if self._readable is not None:  # else it has forked nothing but copies that were lent
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=2)
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
