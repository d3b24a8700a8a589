"""Where submissions are graded: processes of this machine, or a Dask cluster.

Both are a :class:`concurrent.futures.Executor`, so the code that hands out submissions and
takes in results is the same.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import multiprocessing
import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import Any

#: How often a submission is begun again after the process that graded it was killed.
ATTEMPTS = 5


class WorkerLost(Exception):
    """The process that graded a submission was killed, each time that it was tried."""


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
        Called without arguments in each new process, in the background.
    """

    def __init__(self, count: int, prepare: Callable[[], Any]) -> None:
        self._prepare = prepare
        self._tasks: queue.SimpleQueue = queue.SimpleQueue()
        self._stopped = threading.Event()
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

    def _start(self, number: int) -> concurrent.futures.ProcessPoolExecutor:
        pool = concurrent.futures.ProcessPoolExecutor(1, mp_context=self._context)
        self._pools[number] = pool
        pool.submit(self._prepare)
        return pool

    def _feed(self, number: int) -> None:
        pool = self._start(number)
        while True:
            task = self._tasks.get()
            if task is None:
                break
            future, function, args, kwargs = task
            if not future.set_running_or_notify_cancel():
                continue
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    future.set_result(pool.submit(function, *args, **kwargs).result())
                except BrokenProcessPool:
                    if self._stopped.is_set():
                        future.set_exception(WorkerLost("grading was stopped"))
                        break
                    pool.shutdown(wait=False)
                    pool = self._start(number)
                    if attempt == ATTEMPTS:
                        future.set_exception(WorkerLost(f"the worker was killed {ATTEMPTS} times"))
                    continue
                except Exception as error:
                    future.set_exception(error)
                break
        pool.shutdown(wait=False)

    def processes(self) -> list[int]:
        """The processes' ids."""
        return [pid for pool in list(self._pools.values()) for pid in list(pool._processes or ())]

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
def dask_workers(address: str, prepare: Callable[[], Any]) -> Iterator[concurrent.futures.Executor]:
    """The workers of a running Dask cluster.

    They must have this package, the course's, and the same versions of the libraries.

    Parameters
    ----------
    address : str
        Of the scheduler, like ``tcp://host:8786``.
    prepare : callable
        Called in each worker first; what it raises is raised here.
    """
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        client.run(prepare)
        yield client.get_executor(retries=ATTEMPTS, pure=False)
