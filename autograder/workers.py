"""Where submissions are graded: processes of this machine, or a Dask cluster.

Both are a :class:`concurrent.futures.Executor`, so the code that hands out submissions and
takes in results is the same.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fcntl
import multiprocessing
import os
import queue
import shutil
import signal
import socket
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from autograder import linux
from autograder.cage import CageUnavailable
from autograder.codec import PeerGone
from autograder.zygote import Zygote

#: How often a submission is begun again after the process that graded it was killed.
ATTEMPTS = 5
_STARTS = 50
_FOLDER_PREFIX = "autograder-run-"
#: In a worker: its connection to a warmed process.
_lent: socket.socket | None = None


class WorkerLost(Exception):
    """The process that graded a submission was killed, each time that it was tried."""


class ClusterUnusable(Exception):
    """The Dask cluster can't be reached or lacks something; the text says what to do."""


@contextlib.contextmanager
def _temporary_folder() -> Iterator[str]:
    """A folder for the workers' temporary files, which a killed worker leaves behind; its lock says who uses it."""
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


def _initialise(parent: int, folder: str, lent: socket.socket | None) -> None:
    """In a new process: end with the one that started it, even if that is killed."""
    global _lent
    _lent = lent
    linux.prctl(linux.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that started it
    tempfile.tempdir = folder


def _prepare(prepare: Callable[[socket.socket | None], Any]) -> None:
    prepare(_lent)


class LocalWorkers(concurrent.futures.Executor):
    """Processes of this machine, each of which may be killed without harm to the others' work.

    A :class:`~concurrent.futures.ProcessPoolExecutor` gives up all that it has in hand when
    one process dies, so each process has one of its own, fed by a thread. A local Dask
    cluster would do the same, but listens on a port to which every user of the machine may
    connect.

    Parameters
    ----------
    count : int
    prepare : callable
        Called in each new process, in the background, with what ``warmed`` lent it.
    warmed : Zygote
        Whose copies the processes use; one that starts after its end warms up a process of its own.
    folder : str
        For temporary files.
    """

    def __init__(self, count: int, prepare: Callable[[socket.socket | None], Any], warmed: Zygote, folder: str) -> None:
        self._folder = folder
        self._warmed = warmed
        self._prepare = prepare
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        self._stopped = threading.Event()
        self._lending = threading.Lock()
        self._context = multiprocessing.get_context("spawn")
        self._pools: dict[int, concurrent.futures.ProcessPoolExecutor] = {}
        self._threads = [threading.Thread(target=self._feed, args=(number,), daemon=True) for number in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, function: Callable, /, *args: Any, **kwargs: Any) -> concurrent.futures.Future:
        """Have ``function(*args, **kwargs)`` called in one of the processes."""
        future: concurrent.futures.Future = concurrent.futures.Future()
        self._tasks.put((future, function, args, kwargs))
        return future

    def _lend(self) -> socket.socket | None:
        with self._lending, contextlib.suppress(PeerGone):
            return self._warmed.lend()
        return None

    def _start(self, number: int) -> concurrent.futures.ProcessPoolExecutor:
        """A prepared process; being killed before it is ready counts against no submission."""
        for _ in range(_STARTS):
            lent = self._lend()
            pool = concurrent.futures.ProcessPoolExecutor(
                1, mp_context=self._context, initializer=_initialise, initargs=(os.getpid(), self._folder, lent)
            )
            self._pools[number] = pool
            prepared = pool.submit(_prepare, self._prepare)
            if lent is not None:
                lent.close()  # the process has its own
            if not isinstance(prepared.exception(), BrokenProcessPool):
                return pool
            pool.shutdown(wait=False)
            if self._stopped.is_set():
                raise WorkerLost("grading was stopped")
        raise WorkerLost(f"no worker could be started: each of {_STARTS} was killed")

    def _feed(self, number: int) -> None:
        pool = None
        with contextlib.suppress(Exception):  # tried again for the first submission, which is told
            pool = self._start(number)
        while (task := self._tasks.get()) is not None:
            future, function, args, kwargs = task
            if not future.set_running_or_notify_cancel():
                continue
            for _ in range(ATTEMPTS):
                try:
                    pool = pool or self._start(number)
                    future.set_result(pool.submit(function, *args, **kwargs).result())
                except BrokenProcessPool:
                    pool.shutdown(wait=False)
                    pool = None
                    continue
                except Exception as error:
                    future.set_exception(error)
                break
            else:
                future.set_exception(WorkerLost(f"the worker was killed {ATTEMPTS} times"))
        if pool is not None:
            pool.shutdown(wait=False)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, once they have nothing left to do, or at once."""
        if cancel_futures:
            self._stopped.set()
            with contextlib.suppress(queue.Empty):
                while True:
                    task = self._tasks.get_nowait()
                    if task is not None:
                        task[0].cancel()
        for _ in self._threads:
            self._tasks.put(None)
        if cancel_futures:
            for pool in list(self._pools.values()):
                for process in list((pool._processes or {}).values()):
                    process.kill()
        if wait:
            for thread in self._threads:
                thread.join()


@contextlib.contextmanager
def local_workers(
    count: int, prepare: Callable[[socket.socket | None], Any], warmed: Zygote
) -> Iterator[tuple[LocalWorkers, int]]:
    """Processes of this machine, ended afterwards; see :class:`LocalWorkers`.

    Yields
    ------
    executor : LocalWorkers
    count : int
    """
    with _temporary_folder() as folder:
        executor = LocalWorkers(count, prepare, warmed, folder)
        try:
            yield executor, count
        finally:
            executor.shutdown(cancel_futures=True)


@contextlib.contextmanager
def dask_workers(address: str, check: Callable[[], Any]) -> Iterator[tuple[concurrent.futures.Executor, int]]:
    """The workers of a running Dask cluster.

    They must have this package, the course's, and the same versions of the libraries.

    Parameters
    ----------
    address : str
        Of the scheduler, like ``tcp://host:8786``.
    check : callable
        Called in each worker first, to find out whether it can grade.

    Yields
    ------
    executor : concurrent.futures.Executor
    count : int
        The threads of all the workers there are now.

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
        for error in client.run(check, on_error="return").values():
            if isinstance(error, ModuleNotFoundError):
                raise ClusterUnusable(
                    f"A worker of the Dask cluster can't import {error.name}."
                    " Start the workers in the course's folder and environment."
                )
            if isinstance(error, CageUnavailable):
                raise error
        # A worker is lost when its machine is; Dask itself then tries a submission elsewhere.
        yield client.get_executor(pure=False), count
