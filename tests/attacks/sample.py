"""A small course: one assignment of two notebooks, and a student's answers to it."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import GenerateAssignment
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Config

from autograder.run import Course

ASSIGNMENT = "sample"

# nbgrader calls alembic by its bare name.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"

#: In the source of a hidden test: where it can be read, the hidden test can.
SENTINEL = "zanzibar-4711"

#: (grade_id, kind, points, source); the sources hold solutions and hidden tests.
NOTEBOOKS = {
    "first": [
        ("heading", "text", None, "# First notebook"),
        (
            "setup", "setup", None,
            "import numpy as np\n\n\ndef close(got, expected):\n"
            "    return np.shape(got) == np.shape(expected) and np.allclose(got, expected)",
        ),
        (
            "scale", "solution", None,
            "def scale(x, factor):\n    ### BEGIN SOLUTION\n    return x * factor\n    ### END SOLUTION",
        ),
        (
            "test-scale", "test", 2,
            "assert close(scale(np.arange(3.0), 2.0), [0.0, 2.0, 4.0])\n"
            f"### BEGIN HIDDEN TESTS\nassert close(scale(np.array([[1.5]]), -3.0), [[-4.5]])  # {SENTINEL}\n"
            "### END HIDDEN TESTS",
        ),
        (
            "mean-rows", "solution", None,
            "def mean_rows(X):\n    ### BEGIN SOLUTION\n    return X.mean(axis=1)\n    ### END SOLUTION",
        ),
        (
            "test-mean-rows", "test", 3,
            "X = np.arange(12.0).reshape(3, 4)\nparts = [mean_rows(X).shape == (3,)]\n"
            "### BEGIN HIDDEN TESTS\nparts += [close(mean_rows(X), [1.5, 5.5, 9.5]), close(mean_rows(-X)[0], -1.5)]\n"
            "### END HIDDEN TESTS\nnp.float64(sum(parts))",
        ),
        (
            "handles", "solution", None,
            "class Model:\n    def __init__(self, n):\n        self.n = n\n\n\n"
            "def build(n):\n    ### BEGIN SOLUTION\n    return Model(n)\n    ### END SOLUTION\n\n\n"
            "def apply(model, f, x):\n    ### BEGIN SOLUTION\n    x[0] += 1.0\n    return model.n * f(x)\n"
            "    ### END SOLUTION",
        ),
        (
            "test-handles", "test", 2,
            "model = build(3)\nx = np.zeros(2)\nassert apply(model, lambda v: v.sum(), x) == 3.0\n"
            "### BEGIN HIDDEN TESTS\nassert x[0] == 1.0\n### END HIDDEN TESTS",
        ),
        ("essay", "essay", 2, "Write it down.\n\n### BEGIN SOLUTION\nBecause.\n### END SOLUTION"),
    ],
    "second": [
        ("setup", "setup", None, "import numpy as np"),
        ("total", "solution", None, "def total(x):\n    ### BEGIN SOLUTION\n    return x.sum()\n    ### END SOLUTION"),
        (
            "test-total", "test", 1,
            "assert total(np.ones(3)) == 3.0\n"
            "### BEGIN HIDDEN TESTS\n"
            "assert all(map(lambda n: total(np.full(n, 31337.0)) == n * 31337.0, (2, 7)))\n### END HIDDEN TESTS",
        ),
    ],
}  # fmt: skip

#: What a student writes into the solution cells.
ANSWERS = {
    "scale": "def scale(x, factor):\n    return x * factor",
    "mean-rows": "def mean_rows(X):\n    return X.mean(axis=1)",
    "handles": (
        "class Model:\n    def __init__(self, n):\n        self.n = n\n\n\ndef build(n):\n    return Model(n)\n\n\n"
        "def apply(model, f, x):\n    x[0] += 1.0\n    return model.n * f(x)"
    ),
    "essay": "Because I say so.",
    "total": "def total(x):\n    return x.sum()",
}
#: Points that the answers earn without a manual grade.
FULL = 8.0
MOST = 10.0


def new_cell(grade_id: str, kind: str, points: float | None, source: str) -> nbformat.NotebookNode:
    """A cell of an instructor's notebook; ``kind`` is as in :data:`NOTEBOOKS`."""
    code = kind in ("setup", "solution", "test")
    cell = (nbformat.v4.new_code_cell if code else nbformat.v4.new_markdown_cell)(source)
    cell.id = grade_id
    cell.metadata.nbgrader = {
        "grade": kind in ("test", "essay"), "grade_id": grade_id, "schema_version": 3, "task": False,
        "locked": kind in ("setup", "test", "text"), "solution": kind in ("solution", "essay"),
    }  # fmt: skip
    if points is not None:
        cell.metadata.nbgrader["points"] = points
    if kind == "setup":
        cell.metadata.tags = ["setup"]
    return cell


def cell_of(notebook: nbformat.NotebookNode, grade_id: str) -> nbformat.NotebookNode:
    """The cell of that name."""
    return next(cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id)


@functools.cache
def _built() -> Path:
    """The course with the assignment generated, made once."""
    root = Path(tempfile.mkdtemp(prefix="sample-course-"))
    atexit.register(shutil.rmtree, root, ignore_errors=True)
    for name, cells in NOTEBOOKS.items():
        notebook = nbformat.v4.new_notebook(cells=[new_cell(*cell) for cell in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        path = root / "source" / ASSIGNMENT / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
    generate(open_course(root))
    return root


def generate(course: Course, assignment: str = ASSIGNMENT) -> None:
    """``nbgrader generate_assignment --force``."""
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.update_or_create_assignment(assignment)
    course.coursedir.assignment_id = assignment
    converter = GenerateAssignment(coursedir=course.coursedir, parent=course.app)
    converter.force = True
    converter.start()


def open_course(root: Path, **settings: dict) -> Course:
    """The course in ``root``; ``settings`` are nbgrader's, by class."""
    config = Config({"CourseDirectory": {"root": str(root), "course_id": "sample"}, "NbGrader": {"log_level": 50}})
    config.merge(Config({"Application": {"log_level": 50}, **settings}))
    app = NbGrader(config=config)
    app.log.setLevel(50)
    return Course(app, CourseDirectory(parent=app))


def new_course(folder: Path, **settings: dict) -> Course:
    """A fresh copy of the course in ``folder``."""
    shutil.copytree(_built(), folder, dirs_exist_ok=True)
    return open_course(folder, **settings)


def released(course: Course, name: str = "first") -> nbformat.NotebookNode:
    """A notebook as students get it."""
    root = Path(course.coursedir.root)
    return nbformat.read(root / "release" / ASSIGNMENT / f"{name}.ipynb", as_version=4)


def answered(course: Course, name: str = "first", answers: dict[str, str] | None = None) -> nbformat.NotebookNode:
    """A notebook with a student's answers, correct ones where ``answers`` has none."""
    notebook = released(course, name)
    given = {**ANSWERS, **(answers or {})}
    for cell in notebook.cells:
        if cell.metadata.get("nbgrader", {}).get("grade_id") in given:
            cell.source = given[cell.metadata.nbgrader.grade_id]
    return notebook


def hand_in(
    course: Course,
    student: str,
    answers: dict[str, str] | None = None,
    *,
    notebooks: dict[str, nbformat.NotebookNode] | None = None,
    first: str | None = None,
    last: str | None = None,
) -> Path:
    """Put a submission into the course.

    Parameters
    ----------
    course : Course
    student : str
    answers : dict, optional
        grade_id -> source, in place of the correct answers.
    notebooks : dict, optional
        Name -> notebook, in place of the ones made from ``answers``.
    first, last : str, optional
        Source of a code cell put at the top, or at the end, of the first notebook.

    Returns
    -------
    Path
        The submission's folder.
    """
    folder = Path(course.coursedir.root) / "submitted" / student / ASSIGNMENT
    folder.mkdir(parents=True)
    made = {name: answered(course, name, answers) for name in NOTEBOOKS}
    if first is not None:
        made["first"].cells.insert(0, nbformat.v4.new_code_cell(first))
    if last is not None:
        made["first"].cells.append(nbformat.v4.new_code_cell(last))
    for name, notebook in {**made, **(notebooks or {})}.items():
        nbformat.write(notebook, folder / f"{name}.ipynb")
    return folder


def write_answers(folder: Path, answers: dict[str, str]) -> None:
    """Write other answers into the notebooks of a submission."""
    for name in NOTEBOOKS:
        notebook = nbformat.read(folder / f"{name}.ipynb", as_version=4)
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") in answers:
                cell.source = answers[cell.metadata.nbgrader.grade_id]
        nbformat.write(notebook, folder / f"{name}.ipynb")


def scores(course: Course, student: str) -> dict[str, float | None]:
    """grade_id -> automatic score in the gradebook."""
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        submission = gradebook.find_submission(ASSIGNMENT, student)
        return {grade.name: grade.auto_score for notebook in submission.notebooks for grade in notebook.grades}


def points(course: Course, student: str) -> float:
    """The sum of a student's automatic scores."""
    return sum(score or 0.0 for score in scores(course, student).values())


def comments(course: Course, student: str) -> str:
    """All the automatic comments in the gradebook."""
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        submission = gradebook.find_submission(ASSIGNMENT, student)
        texts = [comment.auto_comment for notebook in submission.notebooks for comment in notebook.comments]
    return "\n".join(text for text in texts if text)


def graded_notebook(course: Course, student: str, name: str = "first") -> nbformat.NotebookNode:
    """The autograded notebook."""
    path = Path(course.coursedir.root) / "autograded" / student / ASSIGNMENT / f"{name}.ipynb"
    return nbformat.read(path, as_version=4)
