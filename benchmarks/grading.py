"""Time grading a class: stock nbgrader against ours, and ours for a large class (``make bench-grading``).

Both grade the same submissions, in the same minutes, each with its own whole command:
``nbgrader autograde`` as nbgrader comes, one submission after the other, and ``python -m
autograder grade`` with two workers and the cage. Ratios of one run can be compared between
machines; seconds can't.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
from nbgrader.api import Gradebook
from rich.console import Console
from rich.table import Table

from autograder import demo
from autograder.demo import ASSIGNMENT, CLASS, REPOSITORY

SOURCE = REPOSITORY / "notebooks" / ASSIGNMENT
_STOCK = f"""\
import os

from nbgrader.apps import autogradeapp
from nbgrader.converters import Autograde

load_subconfig("nbgrader_config.py", path={str(REPOSITORY)!r})
autogradeapp.Autograde = Autograde
c.CourseDirectory.root = os.path.dirname(__file__)  # nbgrader would read the configuration there, with our plug-in
"""


def new_course(folder: Path) -> None:
    """Release the assignment into an empty course in ``folder``."""
    folder.mkdir(parents=True)
    _run(folder, REPOSITORY, "nbgrader", "generate_assignment", ASSIGNMENT)


def hand_in(folder: Path, count: int) -> None:
    """Submissions of the demo's class, its members again and again."""
    for number in range(count):
        student = CLASS[number % len(CLASS)]
        student = student._replace(name=f"{number:03}-{student.name}")
        demo.submit(student, SOURCE, folder / "release" / ASSIGNMENT, folder / "submitted")


def grade_stock(folder: Path) -> float:
    """Grade with ``nbgrader autograde`` as nbgrader comes; returns the seconds."""
    (folder / "nbgrader_config.py").write_text(_STOCK)
    return _run(folder, folder, "nbgrader", "autograde", ASSIGNMENT)


def grade_ours(folder: Path, jobs: int = 2) -> float:
    """Grade with ``python -m autograder grade``; returns the seconds."""
    return _run(folder, REPOSITORY, "python", "-m", "autograder", "grade", ASSIGNMENT, "--jobs", str(jobs))


def points(folder: Path) -> dict[tuple[str, str, str], float | None]:
    """(student, notebook, ``grade_id``) -> automatic points, of every cell in the gradebook."""
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as gradebook:
        return {
            (submission.student.id, notebook.name, grade.name): grade.auto_score
            for submission in gradebook.assignment_submissions(ASSIGNMENT)
            for notebook in submission.notebooks
            for grade in notebook.grades
        }


def _command(folder: Path, *words: str) -> tuple[list[str], dict[str, str]]:
    program = Path(sys.executable) if words[0] == "python" else Path(sys.executable).with_name(words[0])
    return [str(program), *words[1:]], os.environ | {"COURSE_ROOT": str(folder)}


def _run(folder: Path, cwd: Path, *words: str) -> float:
    command, environment = _command(folder, *words)
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)} failed:\n{done.stdout[-2000:]}\n{done.stderr[-5000:]}")
    return time.perf_counter() - start


def compare(folder: Path, count: int, console: Console) -> None:
    """Grade ``count`` submissions both ways and print times, ratio, and whether the points agree."""
    new_course(folder / "ours")
    hand_in(folder / "ours", count)
    stock = shutil.copytree(folder / "ours", folder / "stock")
    ours_seconds = grade_ours(folder / "ours")
    stock_seconds = grade_stock(stock)
    table = Table("grading", "seconds", "seconds a submission", title=f"{count} submissions of {ASSIGNMENT}")
    for name, seconds in (("nbgrader autograde", stock_seconds), ("ours, two workers, cage on", ours_seconds)):
        table.add_row(name, f"{seconds:.1f}", f"{seconds / count:.2f}")
    console.print(table)
    console.print(f"ours is {stock_seconds / ours_seconds:.1f} times as fast")
    mine, theirs = points(folder / "ours"), points(stock)
    differing = [place for place in theirs if mine[place] != theirs[place]]
    console.print(f"points of {len(theirs)} cells compared, {len(differing)} differ")
    for place in differing:
        console.print(f"  {' '.join(place)}: nbgrader {theirs[place]}, ours {mine[place]}")


def scale(folder: Path, count: int, console: Console) -> None:
    """Grade ``count`` submissions with ours and print the cost of a further one as the class grows."""
    new_course(folder)
    hand_in(folder, count)
    command, environment = _command(folder, "python", "-m", "autograder", "grade", ASSIGNMENT, "--jobs", "2")
    samples: list[tuple[float, int, int]] = []
    start = time.time()
    with subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=subprocess.DEVNULL) as run:
        watch = threading.Thread(target=_watch_memory, args=(run, samples))
        watch.start()
        status = run.wait()
        watch.join()
    if status:
        raise RuntimeError(f"grading ended with exit status {status}")
    finished = sorted(path.stat().st_mtime for path in (folder / "autograded").glob(f"*/{ASSIGNMENT}"))
    table = Table(
        "submissions", "seconds a submission", "memory of the command", "with its workers",
        title=f"The cost of a further submission, {count} in all",
    )  # fmt: skip
    step = max(count // 5, 1)
    begun = start
    for first in range(0, count, step):
        part = finished[first : first + step]
        until = part[-1]
        meanwhile = [sample for sample in samples if begun <= sample[0] <= until] or samples[-1:]
        table.add_row(
            f"{first + 1} to {first + len(part)}", f"{(until - begun) / len(part):.2f}",
            *(f"{max(sample[column] for sample in meanwhile) / 2**20:.0f} MiB" for column in (1, 2)),
        )  # fmt: skip
        begun = until
    console.print(table)
    console.print("The first row includes the start. Pages that processes share are counted once for each.")


def _watch_memory(run: subprocess.Popen, samples: list[tuple[float, int, int]]) -> None:
    """Note twice a second: the time, the resident bytes of the command, and with all that it started."""
    while run.poll() is None:
        try:
            process = psutil.Process(run.pid)
            own = process.memory_info().rss
            total = own
            for child in process.children(recursive=True):
                try:
                    total += child.memory_info().rss
                except psutil.NoSuchProcess:
                    continue
            samples.append((time.time(), own, total))
        except psutil.NoSuchProcess:
            return
        time.sleep(0.5)


def main() -> int:
    """Run both measurements."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.grading", description=__doc__.splitlines()[0])
    parser.add_argument("--submissions", type=int, default=24, help="class graded both ways (default: 24)")
    parser.add_argument("--further", type=int, default=500, help="class graded by ours alone (default: 500; 0: none)")
    given = parser.parse_args()
    console = Console(soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="bench-grading-") as folder:
        if given.submissions:
            compare(Path(folder, "compared"), given.submissions, console)
        if given.further:
            scale(Path(folder, "large"), given.further, console)
    return 0


if __name__ == "__main__":
    sys.exit(main())
