"""The whole way of an assignment with a simulated class: release, submit, grade, return, report.

``python -m autograder.demo`` needs nothing but this repository. It works in
``course/demo``, away from the real gradebook, and prints who got which points and why not.
"""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.utils import is_grade, is_solution
from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text
from sqlalchemy.exc import SAWarning

from autograder import report
from autograder.cage import CageUnavailable
from autograder.feedback import lost_points_messages
from autograder.release import TRAINED
from autograder.run import Course, grade_class
from autograder.settings import CagedExecute
from autograder.workers import find_cage

# nbgrader's own models cause them, and they change nothing.
warnings.filterwarnings("ignore", category=SAWarning)

REPOSITORY = Path(__file__).resolve().parent.parent
ASSIGNMENT = "two_layer_net"
REPORT = "report.html"


class Student(NamedTuple):
    """A simulated student: the perfect solution with some changes.

    Attributes
    ----------
    name : str
        Also the student's id.
    loses : tuple of str
        The ``grade_id`` of every question that the change must cost; ``("*",)`` is all of them.
    change : callable
        ``change(notebook_name, notebook)`` alters a solved notebook in place.
    solved : bool
        Whether the notebooks are solved at all.
    """

    name: str
    loses: tuple[str, ...]
    change: Callable[[str, NotebookNode], None] = lambda name, notebook: None
    solved: bool = True


def _replacing(grade_id: str, old: str, new: str) -> Callable[[str, NotebookNode], None]:
    """A change of the solution cell ``grade_id``: ``old`` becomes ``new``."""

    def change(name: str, notebook: NotebookNode) -> None:
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id:
                if old not in cell.source:
                    raise ValueError(f"the solution of {grade_id} in {name} no longer contains {old!r}")
                cell.source = cell.source.replace(old, new)

    return change


def _deleting(grade_id: str) -> Callable[[str, NotebookNode], None]:
    def change(name: str, notebook: NotebookNode) -> None:
        notebook.cells = [
            cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") != grade_id
        ]

    return change


#: The simulated class. What each one loses is checked by tests/test_demo.py.
CLASS = (
    Student("perfect", ()),
    Student("untouched", ("*",), solved=False),
    Student("half-lambda", ("test-loss",), _replacing("loss", "reg *", "0.5 * reg *")),
    Student("no-relu-mask", ("test-grad-z2",), _replacing("grad-z2", "da2 * (z2 > 0)", "da2")),
    Student("one-sided", ("test-numerical-gradient",), _replacing("numerical-gradient", "2 * h", "h")),
    Student("raises", ("test-loss", "test-vectorised"), _replacing("loss", "def loss", "1 / 0\n\n\ndef loss")),
    Student("deleted-test", (), _deleting("test-relu")),
)


def solve(released: NotebookNode, source: NotebookNode) -> NotebookNode:
    """A released notebook with the source's solutions written into it.

    Parameters
    ----------
    released, source : NotebookNode
        The student's and the instructor's version of the same notebook.

    Returns
    -------
    NotebookNode
        As a perfect student hands it in: without hidden tests and without delimiters.
    """
    solutions = {
        cell.metadata.nbgrader["grade_id"]: "\n".join(
            line
            for line in cell.source.splitlines()
            if "### BEGIN SOLUTION" not in line and "### END SOLUTION" not in line
        )
        for cell in source.cells
        if is_solution(cell)
    }
    solved = nbformat.from_dict(released)
    for cell in solved.cells:
        if is_solution(cell):
            cell.source = solutions[cell.metadata.nbgrader["grade_id"]]
    return solved


def submit(student: Student, source: Path, release: Path, submitted: Path) -> None:
    """Write the student's submission into ``submitted/NAME/two_layer_net``."""
    folder = submitted / student.name / ASSIGNMENT
    shutil.copytree(release, folder)
    for path in sorted(release.glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        if student.solved:
            notebook = solve(notebook, nbformat.read(source / path.name, as_version=4))
            student.change(path.stem, notebook)
        nbformat.write(notebook, folder / path.name)
    if student.solved:
        for name in TRAINED:
            if (source / name).exists():
                shutil.copy(source / name, folder / name)


class Result(NamedTuple):
    """One student's result in one autograded question."""

    student: str
    notebook: str
    question: str
    points: float
    possible: float
    message: str


def collect_results(database: str, autograded: Path) -> list[Result]:
    """Read every autograded question of every student from the gradebook, in the notebooks' order.

    Parameters
    ----------
    database : str
        The gradebook's URL.
    autograded : Path
        nbgrader's folder of that name, for the messages.
    """
    results = []
    with Gradebook(database) as gradebook:
        for submission in gradebook.assignment_submissions(ASSIGNMENT):
            for notebook in sorted(submission.notebooks, key=lambda notebook: notebook.name):
                path = autograded / submission.student.id / ASSIGNMENT / f"{notebook.name}.ipynb"
                graded = nbformat.read(path, as_version=4)
                messages = lost_points_messages(graded)
                order = [cell.metadata.nbgrader["grade_id"] for cell in graded.cells if is_grade(cell)]
                grades = [grade for grade in notebook.grades if grade.cell.cell_type == "code"]
                grades.sort(key=lambda grade: order.index(grade.cell.name))
                for grade in grades:
                    name, points = grade.cell.name, grade.auto_score or 0.0
                    results.append(
                        Result(submission.student.id, notebook.name, name, points, grade.max_score, messages[name])
                    )
    return results


def table(results: list[Result]) -> Table:
    """One row a question, one column a student; a number in brackets leads to the message below the table."""
    students = list(dict.fromkeys(result.student for result in results))
    questions = list(dict.fromkeys((result.notebook, result.question) for result in results))
    by_place = {(result.student, result.notebook, result.question): result for result in results}
    messages: dict[str, int] = {}
    drawn = Table(title="Autograded points", caption_justify="left", caption_style="")
    drawn.add_column("question")
    for student in students:
        drawn.add_column(student, justify="right", no_wrap=True)
    for notebook, question in questions:
        row = []
        for student in students:
            result = by_place[student, notebook, question]
            text = f"{result.points:g}"
            if result.points < result.possible:
                number = messages.setdefault(result.message, len(messages) + 1)
                text = f"[red]{text} \\[{number}][/]"
            row.append(text)
        is_last = (notebook, question) == [pair for pair in questions if pair[0] == notebook][-1]
        drawn.add_row(f"{notebook[0]} {question.removeprefix('test-')}", *row, end_section=is_last)
    totals = [sum(result.points for result in results if result.student == student) for student in students]
    drawn.add_row("all", *(f"{total:g}" for total in totals))
    lines = [f"[{number}] " + message.replace("\n", "\n    ") for message, number in messages.items()]
    drawn.caption = Text("\nWhat the student is told where points were lost:\n" + "\n".join(lines))
    return drawn


def run(work: Path, students: tuple[Student, ...] = CLASS) -> list[Result]:
    """Release, submit, autograde, return feedback and report in the folder ``work``, which is emptied first.

    Raises
    ------
    RuntimeError
        If an nbgrader step fails; the text holds nbgrader's log.
    CageUnavailable
        If this is not Linux.
    """
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    os.environ["COURSE_ROOT"] = str(work)
    from nbgrader.apps import NbGraderAPI
    from traitlets.config.loader import PyFileConfigLoader

    config = PyFileConfigLoader("nbgrader_config.py", path=str(REPOSITORY)).load_config()
    api = NbGraderAPI(config=config)
    console = Console(stderr=True, soft_wrap=True)
    source = REPOSITORY / "notebooks" / ASSIGNMENT
    console.print("releasing")
    _require(api.generate_assignment(ASSIGNMENT))
    for student in students:
        submit(student, source, work / "release" / ASSIGNMENT, work / "submitted")
    _grade(Course(api, api.coursedir), console)
    with Progress(console=console) as progress:
        steps = progress.add_task("feedback", total=len(students))
        for student in students:
            progress.update(steps, description=f"feedback for {student.name}")
            _require(api.generate_feedback(ASSIGNMENT, student.name))
            progress.advance(steps)
    report.write(api.coursedir, ASSIGNMENT, work / REPORT)
    results = collect_results(config.CourseDirectory.db_url, work / "autograded")
    names = [student.name for student in students]
    return sorted(results, key=lambda result: names.index(result.student))


def _grade(course: Course, console: Console) -> None:
    settings = CagedExecute(parent=course.app).settings()
    try:
        find_cage(settings)
    except CageUnavailable as error:
        console.print(f"{error} The simulated class is harmless, so it is graded without a cage.", style="yellow")
        settings = replace(settings, isolation="none")
    grade_class(course, ASSIGNMENT, settings=settings, console=console)


def _require(answer: dict) -> None:
    if not answer["success"]:
        raise RuntimeError(answer.get("error") or answer.get("log") or "nbgrader failed without saying why")


def main() -> int:
    """Run the demo and print its table; the exit status is 1 if a student's points aren't as intended."""
    work = Path(os.environ.get("COURSE_ROOT", REPOSITORY / "course" / "demo"))
    try:
        results = run(work)
    except CageUnavailable as error:
        print(error)
        return 2
    console = Console(width=max(Console().width, 120))
    console.print(table(results))
    console.print(f"Feedback pages: {work / 'feedback'}")
    console.print(f"What the class understood: {work / REPORT}")
    surprises = {student.name: unexpected(results, student) for student in CLASS}
    for name, questions in surprises.items():
        if questions:
            console.print(f"{name} should have other points in: {', '.join(questions)}")
    return int(any(surprises.values()))


def unexpected(results: list[Result], student: Student) -> list[str]:
    """The questions in which ``student`` got other points than intended."""
    own = [result for result in results if result.student == student.name]
    return [
        result.question
        for result in own
        if (result.points < result.possible) != ("*" in student.loses or result.question in student.loses)
        or ("*" in student.loses and result.points > 0)
    ]


if __name__ == "__main__":
    sys.exit(main())
