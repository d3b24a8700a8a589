"""What each public check costs a student: the time of its cell beyond that of the student's own functions.

``python -m benchmarks.checks``. Processor time, one thread, the solution's functions. The matrix
products of a network that is handed in are the student's own as well: they grow with its size.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from typing import Any
from unittest import mock

import nbformat
from nbgrader.utils import is_grade
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from course_utils import comparison, evaluation
from course_utils.questions import QUESTIONS
from tests.fairness.runner import SOURCE, as_in_grading, defines_only, execute, without_hidden_tests

NOTEBOOKS = tuple(dict.fromkeys(one.notebook for one in QUESTIONS))
#: Parts of the names of tests that read a handed-in network and ask no function.
_OF_FILES = ("best-net", "best-mlp")


class _Stopwatch:
    """Adds up the time that the student's functions, and networks, take when a check calls them."""

    def __init__(self) -> None:
        self.total = 0.0
        self._called = comparison._called  # through which every check calls

    def timed(self, function: Callable) -> Callable:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                self.total += time.process_time() - start

        timed.__name__ = getattr(function, "__name__", "the function")
        return timed

    def called(self, function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
        return self._called(self.timed(function), args, kwargs)


def measure(notebook: str, repetitions: int = 3) -> dict[str, list[float]]:
    """Milliseconds of each public check of a notebook, the first call first.

    Tests of a handed-in network are left out: see :func:`measure_files`.
    """
    stopwatch, namespace, times = _Stopwatch(), {}, {}
    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(comparison, "_called", stopwatch.called))
        stack.enter_context(as_in_grading())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        for cell in nbformat.read(SOURCE / f"{notebook}.ipynb", as_version=4).cells:
            if cell.cell_type != "code":
                continue
            name = cell.metadata.nbgrader["grade_id"]
            if not is_grade(cell):
                if "setup" in cell.metadata.get("tags", []) or defines_only(cell.source):
                    execute(name, cell.source, namespace)
            elif not any(part in name for part in _OF_FILES):
                times[name] = []
                for _ in range(repetitions):
                    stopwatch.total, start = 0.0, time.process_time()
                    execute(name, without_hidden_tests(cell.source), namespace)
                    times[name].append(1e3 * (time.process_time() - start - stopwatch.total))
    return times


def measure_files(notebook: str, repetitions: int = 3) -> dict[str, list[float]]:
    """Milliseconds of each public test of a handed-in network, the first call as in a process of its own.

    Imports are done before. The later calls find the network measured, as the later tests of a notebook do.
    """
    stopwatch, namespace, times = _Stopwatch(), {}, {}
    with contextlib.ExitStack() as stack:
        for name in ("classify", "classify_mlp"):
            stack.enter_context(mock.patch.object(evaluation, name, stopwatch.timed(getattr(evaluation, name))))
        stack.enter_context(as_in_grading())
        stack.enter_context(contextlib.redirect_stdout(io.StringIO()))
        for cell in nbformat.read(SOURCE / f"{notebook}.ipynb", as_version=4).cells:
            if cell.cell_type != "code":
                continue
            name = cell.metadata.nbgrader["grade_id"]
            if "setup" in cell.metadata.get("tags", []):
                execute(name, cell.source, namespace)
            elif is_grade(cell) and any(part in name for part in _OF_FILES):
                for kept in (evaluation._evaluation_set, evaluation._network_accuracy, evaluation._mlp_accuracy):
                    kept.cache_clear()
                times[name] = []
                for _ in range(repetitions):
                    stopwatch.total, start = 0.0, time.process_time()
                    execute(name, without_hidden_tests(cell.source), namespace)
                    times[name].append(1e3 * (time.process_time() - start - stopwatch.total))
    return times


def main() -> None:
    """Print the table."""
    table = Table("notebook", "check", title="Beyond the student's own code, in ms of processor time")
    table.add_column("first call", justify="right")
    table.add_column("later", justify="right")
    with threadpool_limits(1):
        for notebook in NOTEBOOKS:
            for name, (first, *later) in (measure(notebook) | measure_files(notebook)).items():
                table.add_row(notebook, name.removeprefix("test-"), f"{first:.1f}", f"{min(later):.1f}")
    Console().print(table)


if __name__ == "__main__":
    main()
