"""Where submissions are graded: on this machine, or on a Dask cluster.

Both are a function that takes a job and gives a :class:`concurrent.futures.Future`, so the code
that hands out submissions and takes in results is the same.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import fcntl
import functools
import os
import shutil
import stat
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from autograder.cage import CageUnavailable
from autograder.grading import Graded
from autograder.handler import Handlers, Job
from autograder.session import NO_CAGE
from autograder.settings import Settings
from autograder.zygote import Zygote, trial

_FOLDER_PREFIX = "autograder-run-"

Submit = Callable[[Job], "concurrent.futures.Future[Graded]"]


class ClusterUnusable(Exception):
    """The Dask cluster can't be reached or lacks something; the text says what to do."""


def find_cage(settings: Settings) -> dict:
    """What :func:`autograder.zygote.trial` finds; CageUnavailable where there is no cage, or this isn't Linux."""
    return trial() if settings.isolation == "cage" or sys.platform != "linux" else NO_CAGE


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder for temporary files, which a killed process leaves behind; its lock says who uses it."""
    for old in Path(tempfile.gettempdir()).glob(f"{_FOLDER_PREFIX}*"):
        status = old.lstat()
        if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid():
            with contextlib.suppress(OSError), open(old / "lock") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # else a run uses it
                shutil.rmtree(old, ignore_errors=True)
    folder = tempfile.mkdtemp(prefix=_FOLDER_PREFIX)
    os.chmod(folder, 0o711)  # where the grader is root, the caged processes aren't
    with open(os.path.join(folder, "lock"), "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def local_workers(count: int, warmed: Zygote) -> Iterator[Submit]:
    """Grade on this machine, ``count`` submissions at a time; ``warmed`` is ended afterwards."""
    handlers = Handlers(warmed)
    processors = sorted(os.sched_getaffinity(0))
    shares = iter([processors[number % len(processors) :: count] for number in range(count)])
    with _temporary_folder() as folder:
        # What is forked keeps to the processors of the thread that asked for it, and so leaves the others' alone.
        threads = concurrent.futures.ThreadPoolExecutor(
            count, initializer=lambda: os.sched_setaffinity(0, next(shares))
        )
        try:
            yield lambda job: threads.submit(handlers.grade, replace(job, temporary=folder))
        finally:
            handlers.stop()
            threads.shutdown(cancel_futures=True)


@contextlib.contextmanager
def dask_workers(address: str, settings: Settings) -> Iterator[Submit]:
    """Grade on the workers of a running Dask cluster; submissions are read, and results stored, on this machine.

    They must have this package, the course's, and the same versions of the libraries.

    Parameters
    ----------
    address : str
        Of the scheduler, like ``tcp://host:8786``.
    settings : Settings

    Raises
    ------
    ClusterUnusable, CageUnavailable
    """
    from distributed import Client

    try:
        client = Client(address, set_as_default=False, timeout=30)
    except (OSError, ValueError) as error:
        raise ClusterUnusable(f"No Dask scheduler answers at {address} ({error}); start one first.") from None
    with client:
        count = sum(client.nthreads().values())
        if not count:
            raise ClusterUnusable(f"The Dask cluster at {address} has no workers. Start some: dask worker {address}")
        for answer in client.run(find_cage, settings, on_error="return").values():
            if isinstance(answer, ModuleNotFoundError):
                raise ClusterUnusable(
                    f"A worker of the Dask cluster can't import {answer.name}."
                    " Start the workers in the course's folder and environment."
                )
            if isinstance(answer, CageUnavailable):
                raise answer

        def elsewhere(job: Job) -> Graded:
            # A worker is lost when its machine is; Dask itself then tries a submission elsewhere.
            return client.submit(_grade_here, job, pure=False).result()

        # A process that reads submissions needn't know what notebooks import.
        handlers = Handlers(Zygote(()))
        with _temporary_folder() as folder:
            threads = concurrent.futures.ThreadPoolExecutor(count + 1)
            try:
                yield lambda job: threads.submit(handlers.grade, replace(job, temporary=folder), elsewhere)
            finally:
                handlers.stop()
                threads.shutdown(wait=False, cancel_futures=True)


_once = threading.Lock()
_kept = contextlib.ExitStack()
atexit.register(_kept.close)


def _grade_here(job: Job) -> Graded:
    """In a Dask worker: grade a submission that another machine has read."""
    with _once:
        handlers, folder, cage = _prepared(job.settings)
    return handlers.grade(replace(job, temporary=folder, cage=cage))


@functools.cache
def _prepared(settings: Settings) -> tuple[Handlers, str, dict]:
    """This process's handlers, their temporary folder, and the cage that this machine allows."""
    warmed = Zygote(settings.warm, withheld=settings.withheld)
    return Handlers(warmed), _kept.enter_context(_temporary_folder()), find_cage(settings)
