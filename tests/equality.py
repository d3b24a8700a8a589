"""Compare stock nbgrader's points with ours, cell by cell (``python -m tests.equality``).

The submissions are the demo's class and the banks of wrong and of right answers. All of
the banks take stock nbgrader about half an hour.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import nbformat

from autograder import demo
from autograder.demo import ASSIGNMENT
from benchmarks import grading
from tests.fairness import RIGHT, WRONG
from tests.fairness.answers import Answer
from tests.fairness.runner import submissions


class Compared(NamedTuple):
    """What one cell got.

    Attributes
    ----------
    place : tuple of str
        Student, or title of the answer; notebook; ``grade_id``.
    stock, ours : float or None
    """

    place: tuple[str, str, str]
    stock: float | None
    ours: float | None


def compare(folder: Path, answers: Iterable[Answer], students: Iterable[demo.Student] = demo.CLASS) -> list[Compared]:
    """Grade students of the demo and answers of the banks both ways.

    Parameters
    ----------
    folder : Path
        An empty folder to work in.
    answers : iterable of Answer
        Each becomes one notebook; the first of each notebook together make one submission, and so on.
    students : iterable of Student

    Returns
    -------
    list of Compared
        Every cell with automatic points. A notebook that is the same in two submissions is graded once.
    """
    ours = folder / "ours"
    grading.new_course(ours)
    release, submitted = ours / "release" / ASSIGNMENT, ours / "submitted"
    titles: dict[tuple[str, str], str] = {}
    seen: set[str] = set()
    for student in students:
        demo.submit(student, grading.SOURCE, release, submitted)
        for path in sorted((submitted / student.name / ASSIGNMENT).glob("*.ipynb")):
            text = path.read_text()
            if text in seen:
                path.unlink()
            else:
                seen.add(text)
                titles[student.name, path.stem] = student.name
    numbers: dict[str, int] = {}
    for made in submissions(list(answers)):
        numbers[made.notebook] = number = numbers.get(made.notebook, 0) + 1
        place = submitted / f"bank{number:03}" / ASSIGNMENT
        if not place.exists():
            demo.submit(demo.Student(f"bank{number:03}", ()), grading.SOURCE, release, submitted)
            for path in place.glob("*.ipynb"):
                path.unlink()
        nbformat.write(made.node, place / made.notebook)
        titles[f"bank{number:03}", made.notebook.removesuffix(".ipynb")] = made.name
    stock = shutil.copytree(ours, folder / "stock")
    grading.grade_ours(ours)
    grading.grade_stock(stock)
    mine, theirs = grading.points(ours), grading.points(stock)
    return [
        Compared((titles[student, notebook], notebook, cell), theirs[student, notebook, cell], value)
        for (student, notebook, cell), value in mine.items()
        if (student, notebook) in titles
    ]


def main() -> int:
    """Compare, print where they differ, and how many agree; the exit status is 1 if any differ."""
    parser = argparse.ArgumentParser(prog="python -m tests.equality", description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1, metavar="N", help="take only each Nth answer of the banks")
    every = parser.parse_args().every
    with tempfile.TemporaryDirectory(prefix="equality-") as folder:
        compared = compare(Path(folder, "work"), [*WRONG[::every], *RIGHT[::every]])
    differing = [one for one in compared if one.stock != one.ours]
    for one in differing:
        print(f"{' · '.join(one.place)}: nbgrader {one.stock}, ours {one.ours}")
    print(f"{len(compared)} cells of {len({one.place[:2] for one in compared})} notebooks, {len(differing)} differ")
    return int(bool(differing))


if __name__ == "__main__":
    sys.exit(main())
