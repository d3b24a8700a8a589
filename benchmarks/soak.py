"""Grade a class while its workers are killed again and again (``python -m benchmarks.soak``).

Every few seconds one of the workers is killed with SIGKILL. Afterwards every grade is
compared with the one that it should be.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from autograder.run import grade_class
from tests.attacks import sample
from tests.test_grading import WARM, graders, grades, hand_in_class, killing


def main() -> int:
    """Grade, and print what was killed and what was lost; the exit status is 1 if a grade is missing or wrong."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS", help="between two kills")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        course = sample.new_course(Path(folder, "course"), **WARM)
        expected = hand_in_class(course, given.submissions)
        with killing(graders, times=10**6, every=given.every) as killed:
            summary = grade_class(course, sample.ASSIGNMENT, jobs=given.jobs, console=Console())
        found = grades(course)
    wrong = [student for student, points in expected.items() if found.get(student) != points]
    print(
        f"{given.submissions} submissions in {summary.seconds:.0f} s, {len(killed)} workers killed:"
        f" {len(wrong)} grades missing or wrong"
    )
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
