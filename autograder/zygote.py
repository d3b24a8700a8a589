"""The warmed process from which handlers, examiners and caged students are forked, seen from outside.

Whoever starts it sends requests over a socket; when that is closed, it ends, and its children
with it. What is forked keeps to the processors of whoever asked for it. Each handler has a copy
of the process, for what is forked for its submission. What runs in it: :mod:`autograder.roles`.
"""

from __future__ import annotations

import functools
import json
import os
import site
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from autograder import cage, groups
from autograder.codec import Channel

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
#: Modules, with all that is in them, of which a student's process has nothing, neither in memory nor on disk: what
#: holds right values, and the library that would compute them. A notebook whose setup cells import one of an
#: installed library is about that library, and its student's process has all.
WITHHELD = (
    "torch", "torchgen", "functorch",
    "course_utils.checks", "course_utils.mistakes", "course_utils.models", "course_utils.oracle",
    "course_utils.stand_ins", "course_utils.steps",
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
    withheld : sequence of str
        Modules that students' processes don't have, as :data:`WITHHELD`.
    """

    def __init__(
        self, warm: Sequence[str] = WARM, lent: socket.socket | None = None, withheld: Sequence[str] = WITHHELD
    ) -> None:
        self.warm, self.withheld = tuple(warm), tuple(withheld)
        self._process: subprocess.Popen | None = None
        self.channel = Channel(lent or self._start())

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        Channel(ours).send({"warm": self.warm, "withheld": self.withheld, "home": os.path.expanduser("~")})
        root = str(Path(__file__).resolve().parent.parent)
        # The packages, and not whatever else this process imports from: the student sees these folders.
        packages = [*site.getsitepackages(), site.getusersitepackages(), sys.prefix, sys.base_prefix, sys.exec_prefix]
        paths = [root, *(entry for entry in sys.path if any(_within(entry, folder) for folder in packages))]
        code = (
            f"import sys; sys.path[:] = {list(dict.fromkeys(paths))!r};"
            f" from autograder.roles import main; main({theirs.fileno()})"
        )
        self._process = subprocess.Popen(
            [*groups.scope(), sys.executable, "-I", "-c", code], env=ENVIRONMENT,
            pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL, start_new_session=True, cwd="/",
        )  # fmt: skip
        theirs.close()
        return ours

    @functools.cached_property
    def _told(self) -> dict:
        """What the process says when it is warm."""
        message, _ = self.channel.receive(timeout=300)
        return message

    @property
    def readable(self) -> list[str]:
        """The installation, for :class:`autograder.cage.Walls`; waits until the process is warm."""
        return self._told["readable"]

    @property
    def groups(self) -> str:
        """The folder for :class:`autograder.groups.Group`, or empty; waits until the process is warm."""
        return self._told["groups"]

    def fork(self, **request: object) -> tuple[Channel, int]:
        """A channel to a new process, which keeps to this one's processors, and its id."""
        _ = self._told
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
        return not self.channel.peer_is_gone()

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
        [*groups.scope(), sys.executable, "-m", "autograder.cage"],
        cwd=root, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    try:
        found = json.loads(done.stdout)
    except ValueError:
        raise cage.CageUnavailable(f"The cage could not be tried: {done.stderr.strip()[-500:]}") from None
    if "error" in found:
        raise cage.CageUnavailable(found["error"])
    return found
