"""Put an answer into its notebook, run the notebook's cells as grading does, and read off the points.

The cells run in this process, without a kernel, which takes milliseconds. What nbgrader
makes of a cell is imitated: an error or any output to the standard error stream gives no
points, the value of the last expression gives partial credit, anything else all points.
Cells that neither define anything nor are tests (figures, experiments) are left out.
"""

from __future__ import annotations

import ast
import contextlib
import io
import linecache
import os
import traceback
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import nbformat
from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests, ClearSolutions
from nbgrader.utils import is_grade, is_solution

from tests.fairness.answers import SIGNATURES, Answer

#: How the line that names the cause begins.
CAUSE = "Probable cause: "
SOURCE = Path(__file__).resolve().parents[2] / "notebooks" / "two_layer_net"


class Outcome(NamedTuple):
    """What one question earned.

    Attributes
    ----------
    points, possible : float
    message : str
        Why points were lost, or what the cell printed.
    """

    points: float
    possible: float
    message: str

    @property
    def lost(self) -> bool:
        """Whether the question earned less than it could."""
        return self.points < self.possible


class Submission(NamedTuple):
    """An answer as a student hands it in, and the points that it should get.

    Attributes
    ----------
    name : str
    notebook : str
        File name.
    node : NotebookNode
        The notebook with all solutions written in, without delimiters and hidden tests.
    points : dict
        ``grade_id`` of each autograded question -> points.
    """

    name: str
    notebook: str
    node: NotebookNode
    points: dict[str, float]


@cache
def source(file_name: str) -> NotebookNode:
    """The instructor's notebook of that name; not to be changed."""
    return nbformat.read(SOURCE / file_name, as_version=4)


@cache
def place_of(function_name: str) -> tuple[str, str]:
    """File name and ``grade_id`` of the solution cell that defines ``function_name``.

    Raises
    ------
    LookupError
        If no notebook asks for such a function.
    """
    for path in sorted(SOURCE.glob("*.ipynb")):
        for cell in source(path.name).cells:
            if cell.cell_type == "code" and is_solution(cell) and f"def {function_name}(" in cell.source:
                return path.name, cell.metadata.nbgrader["grade_id"]
    raise LookupError(f"no notebook asks for a function {function_name}")


def earned(answer: Answer) -> dict[str, Outcome]:
    """What a submission earns whose solutions are right but for this answer.

    Returns
    -------
    dict
        ``grade_id`` of each autograded question of the notebook -> :class:`Outcome`.
    """
    file_name, replaced = _place(answer)
    return _run(file_name, replaced)


class Verdict(NamedTuple):
    """How an answer was judged.

    Attributes
    ----------
    fair : bool
        Whether each question earned exactly what it should.
    named : bool
        Whether the student reads the sentence that the answer's ``says`` is part of.
    message : str
        What stands below the first question that lost points: the cause if there is one.
    """

    fair: bool
    named: bool
    message: str


def judged(answer: Answer) -> Verdict:
    """Try an answer and compare what it earns with what it should."""
    outcomes = earned(answer)
    fair = all(
        outcome.points == (answer.left if name in answer.loses else outcome.possible)
        for name, outcome in outcomes.items()
    )
    lost = [outcome.message for outcome in outcomes.values() if outcome.lost]
    return Verdict(fair, answer.says in "\n".join(lost), _told(lost))


def _told(messages: list[str]) -> str:
    lines = [line for message in messages for line in message.splitlines()]
    causes = [line.removeprefix(CAUSE) for line in lines if line.startswith(CAUSE)]
    return next(iter(causes + lines), "")


def _place(answer: Answer) -> tuple[str, dict[str, str]]:
    """File name, and ``grade_id`` -> text of the solution cells that the answer replaces."""
    places = {name: place_of(name) for name in answer.codes}
    notebooks = {file_name for file_name, _ in places.values()}
    if len(notebooks) != 1:
        raise ValueError(f"the answer {answer.title!r} belongs to {len(notebooks)} notebooks, not to one")
    return notebooks.pop(), {places[name][1]: code for name, code in answer.codes.items()}


def submissions(answers: list[Answer]) -> Iterator[Submission]:
    """Each answer as a submission of its own, to be graded by other means."""
    for answer in answers:
        file_name, replaced = _place(answer)
        node = nbformat.from_dict(source(file_name))
        points = {}
        for cell in node.cells:
            name = cell.metadata.get("nbgrader", {}).get("grade_id")
            if cell.cell_type != "code":
                continue
            if is_solution(cell):
                cell.source = replaced.get(name) or _without_delimiters(cell.source)
            elif is_grade(cell):
                cell.source = without_hidden_tests(cell.source)
                points[name] = answer.left if name in answer.loses else float(cell.metadata.nbgrader["points"])
            cell.outputs, cell.execution_count = [], None
        yield Submission(answer.title, file_name, node, points)


def _without_delimiters(text: str) -> str:
    markers = ClearSolutions()
    delimiters = (markers.begin_solution_delimeter, markers.end_solution_delimeter)
    return "\n".join(line for line in text.splitlines() if not any(mark in line for mark in delimiters))


def without_hidden_tests(text: str) -> str:
    """A test cell's text as a student gets it."""
    return text.split(ClearHiddenTests().begin_test_delimeter)[0].rstrip("# \n")


# --- Running a notebook -----------------------------------------------------------------


def _run(file_name: str, replaced: dict[str, str]) -> dict[str, Outcome]:
    namespace: dict[str, Any] = {"__name__": "__main__"}
    outcomes = {}
    with as_in_grading():
        for cell in source(file_name).cells:
            if cell.cell_type != "code":
                continue
            name = cell.metadata.nbgrader["grade_id"]
            text = replaced.get(name, cell.source)
            if is_grade(cell):
                points = float(cell.metadata.nbgrader["points"])
                asks = any(function in text for function in SIGNATURES)
                outcomes[name] = _graded(name, text, points, namespace) if asks else _of_a_file(file_name, name)
            elif name in replaced or "setup" in cell.metadata.get("tags", []) or defines_only(text):
                with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
                    execute(name, text, namespace)
    return outcomes


@cache
def _of_a_file(file_name: str, name: str) -> Outcome:
    """What a question earns that asks no function of the student's but reads a file; run once."""
    namespace: dict[str, Any] = {}
    cells = {cell.metadata.nbgrader["grade_id"]: cell for cell in source(file_name).cells}
    execute("setup", cells["setup"].source, namespace)
    return _graded(name, cells[name].source, float(cells[name].metadata.nbgrader["points"]), namespace)


@contextlib.contextmanager
def as_in_grading() -> Iterator[None]:
    """nbgrader's environment variable, the notebook's folder, and no windows."""
    before = os.environ.get("NBGRADER_EXECUTION")
    os.environ["NBGRADER_EXECUTION"] = "autograde"
    matplotlib.use("agg")
    try:
        with contextlib.chdir(SOURCE):
            yield
    finally:
        os.environ.pop("NBGRADER_EXECUTION") if before is None else os.environ.update(NBGRADER_EXECUTION=before)


def defines_only(text: str) -> bool:
    """Whether a cell's text only imports, defines, and takes over functions."""
    return all(map(_defines, ast.parse(text).body))


def _defines(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Expr):  # a docstring
        return isinstance(statement.value, ast.Constant)
    if isinstance(statement, ast.Assign) and isinstance(statement.value, ast.Call):
        return getattr(statement.value.func, "id", "") == "from_notebook"
    return isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom))


def execute(name: str, text: str, namespace: dict[str, Any]) -> Any:
    """Run the text like cell ``name``; returns the value of its last statement if that is an expression."""
    # Checks read the source of functions: inspect finds it in linecache.
    filename = f"<ipykernel {name} {hash(text)}>"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    statements = ast.parse(text).body
    last = statements.pop() if statements and isinstance(statements[-1], ast.Expr) else None
    exec(compile(ast.Module(statements, []), filename, "exec"), namespace)
    return None if last is None else eval(compile(ast.Expression(last.value), filename, "eval"), namespace)


def _graded(name: str, text: str, possible: float, namespace: dict[str, Any]) -> Outcome:
    printed, complaints = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(complaints):
            value = execute(name, text, namespace)
    except NotImplementedError:
        return Outcome(0.0, possible, "not written yet")
    except Exception as error:
        return Outcome(0.0, possible, str(error) or traceback.format_exc())
    if complaints.getvalue():
        return Outcome(0.0, possible, f"written to the standard error stream: {complaints.getvalue()}")
    return Outcome(possible if value is None else float(value), possible, printed.getvalue())
