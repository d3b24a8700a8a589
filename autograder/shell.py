"""An IPython shell that records what a cell shows, as notebook outputs.

A kernel behind sockets spends most of a short cell's time on messages. This shell runs
cells in the process itself; magics, display and inline figures work as in a kernel.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import math
import numbers
import os
import subprocess
import sys
import time
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from IPython.core.displayhook import DisplayHook
from IPython.core.displaypub import DisplayPublisher
from IPython.core.interactiveshell import InteractiveShell
from traitlets.config import Config

from autograder.outputs import DROPPED

#: Bounds on one cell: characters of whatever isn't text of a stream, and outputs of any kind.
MAX_DISPLAYED = 8 * 2**20
MAX_OUTPUTS = 1000
_CHUNK = 100_000
_ERROR_LINES, _ERROR_CHARACTERS = 300, 20_000
_OWN_FOLDER = os.path.dirname(os.path.abspath(__file__)) + os.sep


def output_size(output: dict) -> int:
    """Characters of an output, as it is written."""
    return len(json.dumps(output, default=str, ensure_ascii=False))


class Recorder:
    """Passes a cell's outputs on, merged and bounded.

    Parameters
    ----------
    emit : callable
        Receives each output, as a dict in notebook format.
    text_bytes : int
        Characters of text of one cell that are passed on; one line tells that there was more.
    """

    def __init__(self, emit: Callable[[dict], None], text_bytes: int) -> None:
        self.emit = emit
        self.text_bytes = text_bytes
        self.begin()

    def begin(self) -> None:
        """Begin a cell."""
        self._text = ""
        self._name = "stdout"
        self._characters = 0
        self._displayed = 0
        self._outputs = 0
        self._flushed = time.monotonic()

    def write(self, name: str, text: str) -> None:
        """Record text of the stream ``name``."""
        if self._characters > self.text_bytes:
            return
        if name != self._name:
            self.flush()
            self._name = name
        self._characters += len(text)
        if self._characters > self.text_bytes:
            text = text[: self.text_bytes - self._characters] + f"\n{DROPPED}\n"
        self._text += text
        if len(self._text) > 8192 or time.monotonic() - self._flushed > 0.2:
            self.flush()

    def flush(self) -> None:
        """Pass on what has gathered."""
        text, self._text = self._text, ""
        for start in range(0, len(text), _CHUNK):
            self.emit({"output_type": "stream", "name": self._name, "text": text[start : start + _CHUNK]})
        self._flushed = time.monotonic()

    def show(self, output: dict) -> None:
        """Record any output but text of a stream; the first that is too much is passed on, and says so."""
        self.flush()
        if self._outputs > MAX_OUTPUTS or self._displayed > MAX_DISPLAYED:
            return
        self._outputs += 1
        self._displayed += output_size(output)
        self.emit(output)


class _Stream(io.TextIOBase):
    """``sys.stdout`` or ``sys.stderr`` of a shell."""

    encoding = "utf-8"
    errors = "replace"

    def __init__(self, recorder: Callable[[], Recorder], name: str) -> None:
        self._recorder = recorder
        self.name = name

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() argument must be str, not {type(text).__name__}")
        self._recorder().write(self.name, text)
        return len(text)


class _Displays(DisplayPublisher):
    shell: NotebookShell

    def publish(self, data: dict, metadata: dict | None = None, source: Any = None, **_: Any) -> None:
        output = {"output_type": "display_data", "data": _as_json(data), "metadata": metadata or {}}
        self.shell.recorder.show(output)

    def clear_output(self, wait: bool = False) -> None:
        pass  # what was shown is kept: a notebook on paper has no progress bars to redraw


class _Results(DisplayHook):
    shell: NotebookShell

    def compute_format_data(self, result: Any) -> tuple[dict, dict]:
        if self.shell.numbers_are_points and _is_number(result):
            # NumPy writes np.float64(2.0), which nbgrader takes for no number, and so for full marks.
            points = float(result)
            if not 0 <= points < math.inf:
                raise ValueError(f"a test's points must be a finite number that isn't negative, not {points}")
            return {"text/plain": repr(points)}, {}
        return super().compute_format_data(result)

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: dict, md_dict: dict | None = None) -> None:
        output = {"output_type": "execute_result", "data": _as_json(format_dict), "metadata": md_dict or {}}
        self.shell.recorder.show(output)

    def finish_displayhook(self) -> None:
        pass


def _without_own_frames(frames: types.TracebackType | None) -> types.TracebackType | None:
    """A traceback without the frames of this package, which say nothing to a reader."""
    kept = []
    while frames is not None:
        if not frames.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER):
            kept.append(frames)
        frames = frames.tb_next
    result = None
    for frame in reversed(kept):
        result = types.TracebackType(result, frame.tb_frame, frame.tb_lasti, frame.tb_lineno)
    return result


def _is_number(value: Any) -> bool:
    if isinstance(value, np.ndarray):
        return value.ndim == 0 and value.dtype.kind in "iuf"
    return isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))


def _as_json(data: dict) -> dict:
    return {
        kind: base64.encodebytes(item).decode() if isinstance(item, bytes) else item
        for kind, item in data.items()
        if item is not None
    }


class NotebookShell(InteractiveShell):
    """Runs cells and records their outputs."""

    displayhook_class = _Results
    display_pub_class = _Displays
    #: Libraries ask for it to find out whether they are in a notebook.
    kernel = None
    #: Whether a cell's last value, if it is a number, is points: then it is shown as a plain float.
    numbers_are_points = False

    def init_history(self) -> None:
        """Keep the history in memory."""
        self.config.HistoryManager.enabled = False
        super().init_history()

    def record(self, emit: Callable[[dict], None], text_bytes: int) -> None:
        """From now on, pass outputs to ``emit``; ``sys.stdout`` and ``sys.stderr`` become this shell's."""
        self.recorder = Recorder(emit, text_bytes)
        sys.stdout = _Stream(lambda: self.recorder, "stdout")
        sys.stderr = _Stream(lambda: self.recorder, "stderr")

    def run(self, source: str, count: int | None = None) -> bool:
        """Run a cell, as number ``count``; True if it raised nothing."""
        self.recorder.begin()
        if count is not None:
            self.execution_count = count
        try:
            result = self.run_cell(source, store_history=True)
        finally:
            self.recorder.flush()
        return bool(result.success)

    def _get_exc_info(self, exc_tuple: tuple | None = None) -> tuple:
        kind, error, frames = super()._get_exc_info(exc_tuple)
        seen: set[int] = set()
        link: BaseException | None = error
        while link is not None and id(link) not in seen:
            seen.add(id(link))
            with contextlib.suppress(Exception):
                link.__traceback__ = _without_own_frames(link.__traceback__)
            link = link.__cause__ or link.__context__
        return kind, error, _without_own_frames(frames)

    def _showtraceback(self, etype: type, evalue: BaseException, stb: list[str]) -> None:
        try:
            text = str(evalue)
        except Exception:
            text = f"({etype.__name__} whose text can't be made)"
        lines = [line[:_ERROR_CHARACTERS] for line in stb[:_ERROR_LINES]]
        name, text = etype.__name__[:200], text[:_ERROR_CHARACTERS]
        self.recorder.show({"output_type": "error", "ename": name, "evalue": text, "traceback": lines})

    def _format_exception_for_storage(self, *_: Any, **__: Any) -> dict:
        """IPython 9 makes every traceback a second time for its history, which nobody reads here."""
        return {}

    @contextlib.contextmanager
    def _tee(self, channel: str) -> Iterator[None]:
        """IPython 9 keeps what a cell prints, however much, for its history; here it is recorded already."""
        yield

    def system(self, command: str) -> None:
        """``!command``: run it and show what it prints."""
        done = subprocess.run(
            self.var_expand(command, depth=1), shell=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, errors="replace",
        )  # fmt: skip
        self.user_ns["_exit_code"] = done.returncode
        sys.stdout.write(done.stdout)

    def ask_exit(self) -> None:
        """``exit`` in a cell: a notebook goes on."""


def new_shell() -> NotebookShell:
    """The process's shell, with inline figures."""
    config = Config()
    config.HistoryManager.enabled = False
    config.InteractiveShell.xmode = "Context"
    shell = NotebookShell.instance(config=config)
    from IPython.core.pylabtools import activate_matplotlib
    from matplotlib_inline.backend_inline import configure_inline_support

    backend = "module://matplotlib_inline.backend_inline"
    activate_matplotlib(backend)
    configure_inline_support(shell, backend)
    return shell


def warm_up(shell: NotebookShell) -> None:
    """Run a figure and a traceback once, so that what they import is there; leave no trace."""
    streams = sys.stdout, sys.stderr
    shell.record(lambda output: None, 1000)
    try:
        shell.run("import matplotlib.pyplot as plt; plt.plot([0, 1]); plt.title('$x$'); plt.show()")
        shell.run("def f(x):\n    return 1 / x\n\nf(0)")
    finally:
        sys.stdout, sys.stderr = streams
        shell.reset(new_session=True)
