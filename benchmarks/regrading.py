"""Time what a mended test costs (``python -m benchmarks.regrading``): one question of everybody, against everything.

In a simulated class some answers pass the test as it was and not as it is then, and others the other way round.
Both times are of the whole command, ``python -m autograder grade``, one after the other on the same machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
from rich.console import Console

from autograder import demo
from autograder.demo import ASSIGNMENT, REPOSITORY, Student
from benchmarks.grading import points
from course_utils.checks.forward import check_relu
from course_utils.oracle import random_problem

SOURCE = REPOSITORY / "notebooks" / ASSIGNMENT
#: The seed of the hidden test as it is, and of the mended one.
_OLD, _NEW = 1101, 1102
_CONFIG = f"""\
import os

load_subconfig("nbgrader_config.py", path={str(REPOSITORY)!r})
c.CourseDirectory.root = os.path.dirname(__file__)
c.CourseDirectory.source_directory = os.path.join(os.path.dirname(__file__), "source")
"""


def _shape(seed: int) -> tuple[int, ...]:
    """The shape of an array that only the hidden test with this seed asks about."""
    asked: dict[int, list[tuple[int, ...]]] = {0: [], _OLD: [], _NEW: []}
    for which, shapes in asked.items():

        def relu(z: np.ndarray, shapes: list = shapes) -> np.ndarray:
            shapes.append(np.shape(z))
            return np.maximum(z, 0)

        with contextlib.redirect_stdout(None):
            check_relu(relu, **({"on": random_problem(seed=which)} if which else {}))
    others = {shape for which, shapes in asked.items() if which != seed for shape in shapes}
    return next(shape for shape in asked[seed] if shape not in others)


def _wrong_at(shape: tuple[int, ...]) -> Student:
    """A student whose ReLU is wrong for arrays of one shape."""

    def change(name: str, notebook: nbformat.NotebookNode) -> None:
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") == "relu":
                cell.source += f"\n\n\nright = relu\n\n\ndef relu(z):\n    return z if z.shape == {shape} else right(z)"

    return Student("", (), change)


def hand_in(folder: Path, count: int, losers: int, gainers: int) -> None:
    """A class of ``count``, in which the first ``losers`` lose by the mended test, and the next ``gainers`` gain."""
    lose, gain, right = _wrong_at(_shape(_NEW)), _wrong_at(_shape(_OLD)), Student("", ())
    for number in range(count):
        student = lose if number < losers else gain if number < losers + gainers else right
        demo.submit(
            student._replace(name=f"{number:03}"), SOURCE, folder / "release" / ASSIGNMENT, folder / "submitted"
        )


def _run(folder: Path, *words: str) -> tuple[float, subprocess.CompletedProcess]:
    environment = os.environ | {"COURSE_ROOT": str(folder), "PYTHONPATH": str(REPOSITORY)}
    start = time.perf_counter()
    done = subprocess.run([sys.executable, *words], cwd=folder, env=environment, capture_output=True, text=True)
    return time.perf_counter() - start, done


def measure(folder: Path, count: int, losers: int, gainers: int, console: Console) -> None:
    """Grade a class, mend a test, and grade again, first without and then with leave to lower grades."""
    shutil.copytree(SOURCE, folder / "source" / ASSIGNMENT)
    (folder / "nbgrader_config.py").write_text(_CONFIG)
    _, made = _run(folder, "-m", "nbgrader", "generate_assignment", ASSIGNMENT)
    if made.returncode:
        raise RuntimeError(made.stderr)
    hand_in(folder, count, losers, gainers)
    grade = ["-m", "autograder", "grade", ASSIGNMENT, "--jobs", "2"]
    whole, done = _run(folder, *grade)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    before = points(folder)
    path = folder / "source" / ASSIGNMENT / "1_forward_check.ipynb"
    path.write_text(path.read_text().replace(f"seed={_OLD}", f"seed={_NEW}"))
    again, refused = _run(folder, *grade)
    unchanged = points(folder) == before
    console.print("\n".join(refused.stdout.splitlines()[: losers + gainers + 8]))
    accepted, done = _run(folder, *grade, "--accept-lower")
    after = points(folder)
    lose = sum(after[place] < before[place] for place in after if before[place] is not None)
    gain = sum(after[place] > before[place] for place in after if before[place] is not None)
    nothing, _ = _run(folder, *grade)
    console.print(f"{count} submissions, all of it: {whole:.1f} s")
    console.print(f"a mended test, refused (exit status {refused.returncode}, unchanged: {unchanged}): {again:.1f} s")
    console.print(f"accepted (exit status {done.returncode}, {lose} lose, {gain} gain): {accepted:.1f} s")
    console.print(f"nothing has changed: {nothing:.1f} s; a mended test takes {again / whole:.3f} of the whole")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.regrading", description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=200, metavar="N")
    count = parser.parse_args().submissions
    with tempfile.TemporaryDirectory(prefix="bench-regrading-") as folder:
        measure(Path(folder), count, 3, 5, Console(soft_wrap=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
