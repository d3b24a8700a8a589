"""How much processor time grading took, in a file beside the graded submissions.

It isn't in the graded notebooks, which are the same however often, and wherever, they are graded.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from nbgrader.coursedir import CourseDirectory

#: In the folder of graded submissions: rows of assignment, student, notebook and seconds, of which the last counts.
FILE = ".grading-times.csv"


def _path(coursedir: CourseDirectory) -> Path:
    return Path(coursedir.format_path(coursedir.autograded_directory, "", "")) / FILE


def note(coursedir: CourseDirectory, assignment: str, student: str, seconds: Mapping[str, float]) -> None:
    """Add what a student's notebooks took: name -> seconds of processor time."""
    with _path(coursedir).open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows((assignment, student, name, f"{taken:.1f}") for name, taken in seconds.items())


def read(coursedir: CourseDirectory, assignment: str) -> dict[tuple[str, str], float]:
    """(student, notebook) -> seconds of processor time, of all that is known; a row that was cut off is passed over."""
    found: dict[tuple[str, str], float] = {}
    try:
        with _path(coursedir).open(encoding="utf-8", newline="") as file:
            for row in csv.reader(file):
                if len(row) == 4 and row[0] == assignment and math.isfinite(taken := _number(row[3])):
                    found[row[1], row[2]] = taken
    except (OSError, UnicodeDecodeError, csv.Error):
        pass
    return found


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
