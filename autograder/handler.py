"""A submission's own process: from the first look into its folder to the finished result.

A *handler* is forked from the warmed process for each submission and does everything that
reads what a student wrote, under limits on memory and time. It runs no code of a student's:
for that it has a copy of the warmed process, from which examiners and students are forked.
If it dies, all of them end with it, and :class:`Handlers` begins the submission again.
"""

from __future__ import annotations

import collections
import contextlib
import os
import pickle
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from autograder import earlier, grading, packed, submission
from autograder.assignment import Assignment
from autograder.cage import CageUnavailable
from autograder.codec import Channel, CodecError, PeerGone
from autograder.dependence import Dependence, joined
from autograder.grading import Graded
from autograder.outputs import clean_text
from autograder.session import Grader
from autograder.settings import Settings
from autograder.zygote import Zygote

#: Bytes of memory of a handler beyond what the warmed process has, and seconds of its own processor time.
MEMORY = 2**30
PROCESSOR_SECONDS = 60
#: How often a submission is begun again after its handler died at the same place.
ATTEMPTS = 3
#: A handler may take this many times the time on the clock that its notebooks may, and a minute.
_PATIENCE = 2
_STARTS = 50


@dataclass(frozen=True)
class Job:
    """What a handler is to do: read the files, or take those that are given; grade them; store the result.

    Attributes
    ----------
    assignment : Assignment
    settings : Settings
    cage : dict
        What :func:`autograder.zygote.trial` found.
    temporary : str
        Folder for temporary files.
    folder : str
        The submission's.
    ignore, only : tuple of str
        See :func:`autograder.submission.collect`.
    trouble : tuple of str
        Sentences about where the submission lies.
    files : dict, optional
        Relative path -> content, where another handler has read them.
    graded : str
        Folder of the graded submission, if there may be one: what its grades depend on is compared, and what hasn't
        changed is kept.
    force : bool
        Whether nothing is kept.
    dependences : dict
        Notebook name -> ``grade_id`` -> what a grade depends on besides the submission.
    left_out : dict
        Notebook name -> why it isn't graded.
    grades : bool
        Whether to grade; else the files come back.
    whole : bool
        Whether all notebooks of the assignment are graded; only then is the result known again.
    notebooks : dict, optional
        Name -> text of the notebooks that have been graded elsewhere.
    target : str
        Folder to store the result in; if empty, the notebooks come back.
    mode : int
        Permissions of stored files.
    """

    assignment: Assignment
    settings: Settings
    cage: dict
    temporary: str = ""
    folder: str = ""
    ignore: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()
    files: dict[str, bytes] | None = None
    graded: str = ""
    force: bool = False
    dependences: dict[str, dict[str, Dependence]] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    grades: bool = True
    whole: bool = True
    notebooks: dict[str, bytes] | None = None
    target: str = ""
    mode: int = 0o444


class Stopped(Exception):
    """Grading was stopped."""


class HandlerLost(Exception):
    """No handler could be started."""


# ---- in the handler


def main(connection: socket.socket) -> None:
    """Do the job that arrives; the answer is a :class:`~autograder.grading.Graded`, or files."""
    channel = Channel(connection)

    def too_long(*_: object) -> None:
        channel.send({"why": f"it took more than {PROCESSOR_SECONDS} s of processor time"})
        os._exit(1)

    signal.signal(signal.SIGXCPU, too_long)
    _, (pickled,) = channel.receive()
    job: Job = pickle.loads(pickled)  # from the process that grades the class; nothing comes back in this way
    lent = socket.socket(fileno=channel.receive_descriptor())
    tempfile.tempdir = job.temporary
    try:
        message, buffers = _do(job, channel, lent)
    except CageUnavailable as error:
        message, buffers = {"no_cage": str(error)}, []
    except PeerGone:
        raise  # not the student's doing: it is begun again
    except Exception as error:
        message, buffers = {"why": f"{type(error).__name__}: {clean_text(error)[:300]}"}, []
    channel.send(message, buffers)


def _do(job: Job, channel: Channel, lent: socket.socket) -> tuple[dict, list[memoryview]]:
    """The answer to a job."""
    files, trouble = job.files, list(job.trouble)
    if files is None:
        own = [f"{name}.ipynb" for name in job.assignment.notebooks]
        files, reading = submission.collect(job.folder, job.ignore, own, job.only)
        files, unpacking = packed.open_zips(files)
        files, placing = submission.put_in_place(files, job.assignment)
        trouble += [*reading, *unpacking, *placing]
    digest = submission.digest(files, job.trouble)
    graded = Graded(digest if job.whole else "")
    if job.whole:
        graded.numbers = {name: joined(digest, questions) for name, questions in job.dependences.items()}
    found = earlier.read(job.graded, job.assignment.notebooks) if job.graded else {}
    graded.own = any(before.submission not in ("", digest) for before in found.values())
    if job.force or not job.whole:
        found = {}
    known = found and found.keys() == graded.numbers.keys() == earlier.names(job.graded)
    if known and not any(found[name].changed(graded.numbers[name]) for name in found):
        return Graded(digest, skipped=True).as_message()
    if job.notebooks is None and not job.grades:
        return {"names": list(files), "trouble": trouble[:100]}, [memoryview(content) for content in files.values()]
    if job.notebooks is None:
        grader = Grader(job.settings.isolation, job.settings.limits, job.settings.warm, lent, job.cage)
        graded.name("", *trouble)
        begin = lambda name: channel.send({"begin": name})  # noqa: E731 - so that a death here is told from others
        grading.grade(graded, files, job, found, grader, begin)
        begin("")
    else:
        graded.notebooks = job.notebooks
    if job.target:
        grading.store(job.target, files, job.assignment, graded.notebooks, job.mode)
        graded.notebooks = {}
    return graded.as_message()


# ---- outside


class _Died(Exception):
    """A handler ended without an answer.

    Parameters
    ----------
    doing : str
        What it was doing: the name of a notebook, or empty.
    why : str
        The reason, where it is the submission's; else it is begun again.
    """

    def __init__(self, doing: str, why: str = "") -> None:
        super().__init__(doing, why)
        self.doing = doing
        self.why = why


class Handlers:
    """Has submissions handled, each by a process of its own; may be used by several threads.

    Parameters
    ----------
    warmed : Zygote
        The process from which handlers are forked; if it ends, another is started.
    """

    def __init__(self, warmed: Zygote) -> None:
        self._warmed = warmed
        self._starting = threading.Lock()
        self._stopped = False

    def stop(self) -> None:
        """End all handlers at once, and with them all that they have started."""
        self._stopped = True
        with contextlib.suppress(OSError):
            self._warmed.channel.connection.shutdown(socket.SHUT_RDWR)  # wakes who waits for it, as close doesn't
        self._warmed.close()

    def grade(self, job: Job, elsewhere: Callable[[Job], Graded] | None = None) -> Graded:
        """Have a submission graded, whatever becomes of its handlers.

        Parameters
        ----------
        job : Job
        elsewhere : callable, optional
            ``elsewhere(job)`` grades a job's files on another machine.

        Raises
        ------
        CageUnavailable
            If the cage is asked for and this machine can't build it.
        Stopped, HandlerLost
        """
        deaths: collections.Counter[str] = collections.Counter()
        while True:
            try:
                return self._try(job, elsewhere)
            except CodecError as error:
                died = _Died("", str(error))
            except _Died as error:
                died = error
            deaths[died.doing] += 1
            if not died.why and deaths[died.doing] < ATTEMPTS:
                continue
            sentence = f"it couldn't be graded by its tests: {died.why or f'its process died {ATTEMPTS} times'}"
            if died.doing in job.assignment.notebooks and died.doing not in job.left_out:
                job = replace(job, left_out={**job.left_out, died.doing: sentence})
                continue
            graded = grading.by_hand(job.assignment, sentence)
            if job.target:
                grading.store(job.target, {}, job.assignment, graded.notebooks, job.mode)
                graded.notebooks = {}
            return graded

    def _try(self, job: Job, elsewhere: Callable[[Job], Graded] | None) -> Graded:
        message, buffers = self._run(replace(job, grades=elsewhere is None))
        if elsewhere is None or "names" not in message:
            return Graded.from_message(message, buffers, job.assignment)
        files = dict(zip(message["names"], map(bytes, buffers), strict=True))
        graded = elsewhere(replace(job, files=files, folder="", graded="", target=""))
        graded.name("", *message["trouble"])
        message, _ = self._run(replace(job, notebooks=graded.notebooks))
        if graded.digest and message["digest"] != graded.digest:
            raise _Died("")  # it has been handed in anew meanwhile
        graded.own = message["own"]
        graded.notebooks = {}
        return graded

    def _run(self, job: Job) -> tuple[dict, list[bytearray]]:
        """The answer of a handler."""
        limits = job.settings.limits
        seconds = 60 + _PATIENCE * limits.patience * limits.notebook_seconds * len(job.assignment.notebooks)
        deadline = time.monotonic() + seconds
        doing = ""
        channel, handle = self._start(job)
        try:
            while True:
                message, buffers = channel.receive(timeout=max(deadline - time.monotonic(), 0))
                if "no_cage" in message:
                    raise CageUnavailable(message["no_cage"])
                if "why" in message:
                    raise _Died(doing, message["why"])
                if "begin" not in message:
                    return message, buffers
                doing = message["begin"]
        except PeerGone:
            raise _Died(doing) from None
        except TimeoutError:
            raise _Died(doing, f"it took longer than {seconds:g} s") from None
        finally:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
            channel.close()

    def _start(self, job: Job) -> tuple[Channel, int]:
        """A handler that has its job: the channel to it, and a descriptor of the process."""
        pickled = memoryview(pickle.dumps(job))
        for _ in range(_STARTS):
            with self._starting, contextlib.suppress(PeerGone, TimeoutError, ProcessLookupError):
                if self._stopped:
                    raise Stopped
                if not self._warmed.alive():
                    self._warmed.close()
                    self._warmed = Zygote(self._warmed.warm, withheld=self._warmed.withheld)
                channel, pid = self._warmed.fork(role="handler", memory=MEMORY, seconds=PROCESSOR_SECONDS)
                handle = os.pidfd_open(pid)
                with self._warmed.lend() as lent:
                    channel.send({}, [pickled])
                    socket.send_fds(channel.connection, [b"d"], [lent.fileno()])
                return channel, handle
        raise HandlerLost(f"no process for a submission could be started: each of {_STARTS} was killed")
