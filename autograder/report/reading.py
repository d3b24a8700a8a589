"""A class's answers, from the gradebook and the graded notebooks."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nbgrader.api import (
    BaseCell,
    Comment,
    Grade,
    Gradebook,
    MissingEntry,
    Notebook,
    SubmittedAssignment,
    SubmittedNotebook,
)
from nbgrader.coursedir import CourseDirectory

from autograder import times
from autograder.assignment import Assignment, SourceNotebook
from autograder.gradebook import HEADING
from autograder.grading import MAX_NOTEBOOK_BYTES
from autograder.likeness.mistakes import entries
from autograder.tables import UnusableFile, shown

#: The key of the metadata under which a check displays its facts.
FACTS = "two_layer_net"
#: Bounds on what is kept of one answer, in characters, and on its causes.
MAX_CODE = 10_000
_MAX_TEXT = 2000
_MAX_CAUSES = 10
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class Failure(NamedTuple):
    """Why a test gave fewer points than it could.

    Attributes
    ----------
    error : str
        Name of the error; empty where the test gave a part of its points without one.
    message : str
        Its text, or what the test printed.
    quantity, kind : str
        What is wrong and in which way, as the check's facts say; empty where there are none.
    extent : dict of str -> float
        Numbers on it.
    causes : tuple of str
        Names of the mistakes that were recognised.
    sentence : str
        What the student read about the cause.
    """

    error: str
    message: str
    quantity: str = ""
    kind: str = ""
    extent: Mapping[str, float] = {}
    causes: tuple[str, ...] = ()
    sentence: str = ""


class Answer(NamedTuple):
    """One student's answer to one question.

    Attributes
    ----------
    student : str
    notebook, question : str
        Name of the notebook and ``grade_id`` of the cell that gives the points.
    points : float or None
        None where a person hasn't decided yet.
    possible : float
    failure : Failure, optional
        Of a test that gave fewer points than it could.
    code : str
        The solution cells that the question is about.
    """

    student: str
    notebook: str
    question: str
    points: float | None
    possible: float
    failure: Failure | None = None
    code: str = ""

    @property
    def lost(self) -> float:
        """Points that were lost."""
        return 0.0 if self.points is None else max(self.possible - self.points, 0.0)

    @property
    def result(self) -> str:
        """``right``, ``part``, ``wrong``, ``not written`` or ``waiting`` for a person."""
        if self.points is None:
            return "waiting"
        if not self.lost:
            return "right"
        if self.failure is not None and self.failure.error == "NotImplementedError":
            return "not written"
        return "part" if self.points else "wrong"


class Handed(NamedTuple):
    """A submission as a whole.

    Attributes
    ----------
    student : str
    names : tuple of str
        By which the student can be known: id, first and last name.
    hours_late : float or None
        After the due date, negative before it; None where one of the times isn't known.
    trouble : tuple of str
        What went wrong while it was graded.
    """

    student: str
    names: tuple[str, ...]
    hours_late: float | None
    trouble: tuple[str, ...]


class Question(NamedTuple):
    """A question of the assignment.

    Attributes
    ----------
    notebook, name : str
    possible : float
    solutions : tuple of str
        ``grade_id`` of the solution cells that it is about.
    functions : tuple of str
        The functions of these that it uses; empty for all.
    is_test : bool
        Whether a test gives the points, and not a person.
    """

    notebook: str
    name: str
    possible: float
    solutions: tuple[str, ...]
    functions: tuple[str, ...]
    is_test: bool = True


class Class(NamedTuple):
    """What is known of a class.

    Attributes
    ----------
    assignment : str
    questions : list of Question
        In the order of the notebooks.
    answers : list of Answer
    handed : list of Handed
    course_text : str
        All code that the students were given, and the tests.
    unread : list of str
        Sentences on graded notebooks that couldn't be read.
    seconds : dict
        (student, notebook) -> processor time that grading took, where it is known.
    """

    assignment: str
    questions: list[Question]
    answers: list[Answer]
    handed: list[Handed]
    course_text: str
    unread: list[str]
    seconds: Mapping[tuple[str, str], float]


def read(coursedir: CourseDirectory, assignment: Assignment) -> Class:
    """Read what a class has earned, and why not more.

    Parameters
    ----------
    coursedir : CourseDirectory
    assignment : Assignment
        As :func:`autograder.source.load` gives it.

    Raises
    ------
    UnusableFile
        If nothing has been graded.
    """
    questions = [one for notebook in assignment.notebooks.values() for one in _questions(notebook)]
    by_name = {(one.notebook, one.name): one for one in questions}
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        handed = _handed(gradebook, assignment.name)
        rows = _points(gradebook, assignment.name)
    if not rows:
        raise UnusableFile(f"Nothing of {shown(assignment.name)} has been graded; grade it first, with make grade.")
    answers, unread = [], []
    for student in sorted({student for student, _, _ in rows}):
        folder = Path(coursedir.format_path(coursedir.autograded_directory, student, assignment.name))
        for name in assignment.notebooks:
            cells = _cells(folder / f"{name}.ipynb")
            if cells is None:
                unread.append(f"{shown(student)}: the graded {shown(name)} can't be read")
                cells = {}
            for question in (one for one in questions if one.notebook == name):
                points = rows.get((student, name, question.name))
                answers.append(_answer(student, by_name[name, question.name], points, cells))
    text = [cell.source for one in assignment.notebooks.values() for cell in one.cells if cell.cell_type == "code"]
    seconds = times.read(coursedir, assignment.name)
    return Class(assignment.name, questions, answers, handed, "\n\n".join(text), unread, seconds)


def _answer(student: str, question: Question, points: float | None, cells: Mapping[str, dict]) -> Answer:
    failure, code = None, ""
    if question.is_test and points is not None and points < question.possible and question.name in cells:
        failure = _failure(cells[question.name])
        code = "\n\n".join(_text(cells[name].get("source")) for name in question.solutions if name in cells)
        code = code if len(code) <= MAX_CODE else ""
    return Answer(student, question.notebook, question.name, points, question.possible, failure, code)


# --- The gradebook ----------------------------------------------------------------------


def _points(gradebook: Gradebook, name: str) -> dict[tuple[str, str, str], float | None]:
    """(student, notebook, question) -> points, a grader's before a test's; None where there are none yet."""
    rows = (
        gradebook.db.query(
            SubmittedAssignment.student_id, Notebook.name, BaseCell.name, Grade.auto_score, Grade.manual_score,
            Grade.extra_credit,
        )
        .select_from(Grade)
        .join(SubmittedNotebook, Grade.notebook_id == SubmittedNotebook.id)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .join(Notebook, SubmittedNotebook.notebook_id == Notebook.id)
        .join(BaseCell, Grade.cell_id == BaseCell.id)
        .filter(SubmittedAssignment.assignment_id == _found(gradebook, name).id)
    )  # fmt: skip
    points = {}
    for student, notebook, question, by_test, by_hand, extra in rows:
        given = by_test if by_hand is None else by_hand
        points[student, notebook, question] = None if given is None else given + (extra or 0.0)
    return points


def _handed(gradebook: Gradebook, name: str) -> list[Handed]:
    found = _found(gradebook, name)
    comments = (
        gradebook.db.query(SubmittedAssignment.student_id, Comment.auto_comment)
        .select_from(Comment)
        .join(SubmittedNotebook, Comment.notebook_id == SubmittedNotebook.id)
        .join(SubmittedAssignment, SubmittedNotebook.assignment_id == SubmittedAssignment.id)
        .filter(SubmittedAssignment.assignment_id == found.id, Comment.auto_comment.isnot(None))
    )
    trouble: dict[str, list[str]] = {}
    for student, comment in comments:
        for paragraph in comment.split("\n\n"):
            if paragraph.startswith(HEADING):
                trouble.setdefault(student, []).append(paragraph.removeprefix(HEADING))
    handed = []
    for submission in found.submissions:
        student = submission.student
        names = tuple(text for text in (student.id, student.first_name, student.last_name) if text)
        due, at = submission.duedate, submission.timestamp
        late = None if due is None or at is None else (at - due).total_seconds() / 3600
        handed.append(Handed(student.id, names, late, tuple(trouble.get(student.id, ()))))
    return sorted(handed)


def _found(gradebook: Gradebook, name: str) -> Any:
    try:
        return gradebook.find_assignment(name)
    except MissingEntry:
        raise UnusableFile(f"The gradebook has no assignment {shown(name)}.") from None


# --- The instructor's notebooks -----------------------------------------------------------


def _questions(notebook: SourceNotebook) -> Iterable[Question]:
    """The questions of a notebook, each with the solution cells that its test uses, else the one before it."""
    defined: dict[str, str] = {}  # function -> the solution cell that asks for it
    before = ""
    for cell in notebook.cells:
        if cell.solution:
            before = cell.grade_id
            defined |= dict.fromkeys(_defined(cell.released), cell.grade_id)
        if not (cell.grade or cell.task):
            continue
        used = [name for name in dict.fromkeys(_used(cell.source)) if name in defined] if cell.is_test else []
        near = [name for name in used if defined[name] == before]
        functions = tuple(near or used)
        solutions = dict.fromkeys(defined[name] for name in functions) or {before: None}
        yield Question(
            notebook.name, cell.grade_id, float(cell.points or 0.0), tuple(solutions), functions, cell.is_test
        )


def _defined(source: str) -> list[str]:
    kinds = (ast.FunctionDef, ast.ClassDef)
    return [statement.name for statement in _body(source) if isinstance(statement, kinds)]


def _used(source: str) -> list[str]:
    nodes = (node for statement in _body(source) for node in ast.walk(statement))
    return [node.id for node in nodes if isinstance(node, ast.Name)]


def _body(source: str) -> list[ast.stmt]:
    try:
        return ast.parse(source).body
    except SyntaxError:  # a magic command
        return []


# --- A graded notebook --------------------------------------------------------------------


def _cells(path: Path) -> dict[str, dict] | None:
    """``grade_id`` -> cell of a graded notebook; None if it can't be read."""
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > 2 * MAX_NOTEBOOK_BYTES:
            return None
        raw = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    found = {}
    for cell in entries(raw.get("cells") if isinstance(raw, dict) else None):
        marks = _mapping(_mapping(cell.get("metadata")).get("nbgrader"))
        if isinstance(marks.get("grade_id"), str):
            found[marks["grade_id"]] = cell
    return found


def _failure(cell: Mapping[str, Any]) -> Failure:
    """Why a test cell gave fewer points, from what the grader wrote into it."""
    error, message = "", ""
    printed: list[str] = []
    facts: Mapping[str, Any] = {}
    for output in entries(cell.get("outputs")):
        kind = output.get("output_type")
        if kind == "error" and not error:
            error, message = _text(output.get("ename"))[:200], _text(output.get("evalue"))
        elif kind == "display_data":
            told = _mapping(_mapping(output.get("metadata")).get(FACTS))
            facts = told if "question" in told else facts
        elif kind == "stream":
            printed.append(_text(output.get("text")))
    message = _COLOURS.sub("", message or "".join(printed)).strip()[:_MAX_TEXT]
    extent = {
        str(name): float(value)
        for name, value in _mapping(facts.get("extent")).items()
        if isinstance(value, (int, float)) and math.isfinite(value)
    }
    names = facts.get("deviations")
    causes = tuple(dict.fromkeys(map(str, names)))[:_MAX_CAUSES] if isinstance(names, list) else ()
    quantity, kind, cause = (_text(facts.get(name))[:_MAX_TEXT] for name in ("quantity", "kind", "cause"))
    return Failure(error, message, quantity, kind, extent, causes, cause)


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    """A text of a notebook's, which may be a list of lines."""
    if isinstance(value, list):
        return "".join(map(str, value))
    return "" if value is None else str(value)
