"""A progress bar where somebody watches, and none where outputs are stored or compared; and one stop button for all."""

from __future__ import annotations

import contextlib
import multiprocessing
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from tqdm.auto import tqdm


class Stopped(BaseException):
    """The stop button was pressed in a :func:`stoppable` block.

    Not a ``KeyboardInterrupt``: a training that catches it, to keep what was learned, would
    end itself alone, and the next training would begin.
    """


class StopButton:
    """Whether the stop button was pressed in a :func:`stoppable` block: ``pressed``."""

    def __init__(self) -> None:
        self.pressed = False


_blocks: list[StopButton] = []


@contextlib.contextmanager
def stoppable() -> Iterator[StopButton]:
    """A block of many trainings, all of which one press of the stop button ends.

    The first interrupt is a ``KeyboardInterrupt``, as always. Where a training catches it, the
    next loop over :func:`progress` in the block raises :class:`Stopped`. Both end the block and go
    no further. ``pressed`` of what the block is given tells whether what it computed is whole.
    """
    button = StopButton()
    # Python hears signals in the main thread alone, where notebooks run their cells.
    listens = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGINT)

    def press(number: int, frame: FrameType | None) -> None:
        button.pressed = True
        if callable(before):
            before(number, frame)

    if listens:
        signal.signal(signal.SIGINT, press)
    _blocks.append(button)
    try:
        yield button
    except (KeyboardInterrupt, Stopped):
        button.pressed = True
    finally:
        _blocks.remove(button)
        if listens:
            signal.signal(signal.SIGINT, before)


class _Bar(tqdm):
    def __iter__(self) -> Iterator[Any]:
        for item in super().__iter__():
            if any(button.pressed for button in _blocks):
                raise Stopped
            yield item


def progress(iterable: Any = None, **options: Any) -> tqdm:
    """``iterable`` with a progress bar that appears after a second and vanishes at the end.

    Parameters
    ----------
    iterable : iterable, optional
        What to loop over, e.g. ``range(num_iters)``.
    **options
        For ``tqdm.tqdm``: ``desc``, ``total``, ``unit``, ...

    Returns
    -------
    tqdm.tqdm
        Use it in place of ``iterable``. It stays silent in the worker processes of a
        parallel run, and in a notebook that is executed without a person at the keyboard.

    Raises
    ------
    Stopped
        While looping, in a :func:`stoppable` block whose stop button was pressed before.
    """
    defaults = {"leave": False, "delay": 1.0, "mininterval": 0.25, "disable": not watched()}
    return _Bar(iterable, **(defaults | options))


def watched() -> bool:
    """Whether a person sees what is printed: not in a worker process, nor where a notebook is executed unattended."""
    if multiprocessing.current_process().name != "MainProcess":
        return False
    kernel = _kernel()
    # A frontend with a person says that it can ask for input; nbclient, nbval and nbgrader say no.
    return sys.stderr.isatty() if kernel is None else getattr(kernel, "_allow_stdin", True)


def _kernel() -> Any:
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None)
