"""After something has changed: what is graded again, who gains and who loses, and what stays."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.converters import NbGraderException
from rich.console import Console
from traitlets.config import Config

from autograder import dependence
from autograder.assignment import Assignment, SourceCell, SourceNotebook
from autograder.feedback import FeedbackOfChanges
from autograder.gradebook import LATENESS
from autograder.plugins import GradeInCage
from autograder.release import KeepingRelease
from autograder.run import Course, grade_class
from autograder.settings import Settings
from autograder.source import UnknownAssignment
from tests.attacks import sample
from tests.attacks.sample import ASSIGNMENT, FULL, MOST

pytestmark = pytest.mark.slow

WARM = {"CagedExecute": {"warm": ["numpy"]}}
#: Tells in the gradebook's notebooks how often a test has run: each writes its time.
CLOCK = "import time\nprint(time.monotonic_ns())"
#: Passes the test as it is, and not the mended one; and the other way round.
LENIENT = {"scale": "def scale(x, factor):\n    return x * factor if factor != 0 else x"}
STRICT = {"scale": "def scale(x, factor):\n    if factor == -3.0:\n        raise ValueError\n    return x * factor"}
WRONG_TOTAL = {"total": "def total(x):\n    return 0.0"}
MENDED = (
    "assert close(scale(np.arange(4.0), 2.0), [0.0, 2.0, 4.0, 6.0])\n"
    "### BEGIN HIDDEN TESTS\nassert close(scale(np.array([[1.5]]), 0.0), [[0.0]])\n### END HIDDEN TESTS"
)


def source(course: Course, name: str = "first") -> Path:
    """The instructor's notebook."""
    return Path(course.coursedir.root) / "source" / ASSIGNMENT / f"{name}.ipynb"


def edit(course: Course, change: Callable[[nbformat.NotebookNode], object], name: str = "first") -> None:
    """Change the instructor's notebook."""
    notebook = nbformat.read(source(course, name), as_version=4)
    change(notebook)
    nbformat.write(notebook, source(course, name))


def setting(grade_id: str, text: str) -> Callable[[nbformat.NotebookNode], None]:
    """A change of one cell's source."""

    def change(notebook: nbformat.NotebookNode) -> None:
        next(cell for cell in notebook.cells if cell.id == grade_id).source = text

    return change


def release(course: Course) -> None:
    """``make release``."""
    course.coursedir.assignment_id, course.coursedir.student_id = ASSIGNMENT, "*"
    converter = KeepingRelease(coursedir=course.coursedir, parent=course.app)
    converter.force = True
    converter.start()


def shown(course: Course, student: str, name: str = "first") -> dict[str, list]:
    """What the cells of a graded notebook have put out."""
    cells = sample.graded_notebook(course, student, name).cells
    return {cell.id: cell.outputs for cell in cells if cell.cell_type == "code"}


@pytest.fixture
def course(tmp_path, cage) -> Course:
    return sample.new_course(tmp_path / "course", **WARM)


def timed(course: Course) -> None:
    """Have each test of the first notebook write the time at which it ran."""
    names = ("test-scale", "test-mean-rows", "test-handles")
    notebook = nbformat.read(source(course), as_version=4)
    for cell in notebook.cells:
        if cell.id in names:
            cell.source = f"{CLOCK}\n{cell.source}"
    nbformat.write(notebook, source(course))


# --- What is graded again -------------------------------------------------------------------


def test_a_mended_test_runs_again_and_no_other(course):
    timed(course)
    sample.hand_in(course, "ada", LENIENT)
    assert grade_class(course, ASSIGNMENT, jobs=1).graded["ada"][0] == FULL
    before, second = shown(course, "ada"), shown(course, "ada", "second")
    edit(course, setting("test-scale", f"{CLOCK}\n{MENDED}"))

    summary = grade_class(course, ASSIGNMENT, jobs=1, accept_lower=True)
    assert [change[1:] for change in summary.changes] == [("test-scale", "first", 2.0, 0.0)]
    assert sample.points(course, "ada") == FULL - 2
    assert summary.graded["ada"][3] == []  # the cell is as it was handed out
    after = shown(course, "ada")
    assert {name for name in after if after[name] != before[name]} == {"test-scale"}
    assert shown(course, "ada", "second") == second
    assert grade_class(course, ASSIGNMENT, jobs=1).skipped == ["ada"]


def test_the_notebook_of_a_regrade_is_that_of_a_whole_grading(course):
    sample.hand_in(course, "ada", LENIENT)
    grade_class(course, ASSIGNMENT, jobs=1)
    edit(course, setting("test-scale", MENDED))
    grade_class(course, ASSIGNMENT, jobs=1, accept_lower=True)
    again = sample.graded_notebook(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1, force=True)
    assert again == sample.graded_notebook(course, "ada")


def test_after_a_change_elsewhere_the_whole_notebook_runs_again_and_no_other(course):
    timed(course)
    sample.hand_in(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1)
    before = shown(course, "ada")
    path = Path(course.coursedir.root) / "autograded" / "ada" / ASSIGNMENT / "second.ipynb"
    second = path.read_bytes()
    edit(course, lambda notebook: notebook.cells[1].update(source=notebook.cells[1].source + "\nmore = 1"))
    assert list(grade_class(course, ASSIGNMENT, jobs=1).graded) == ["ada"]
    after = shown(course, "ada")
    assert {name for name in after if after[name] != before[name]} == {"test-scale", "test-mean-rows", "test-handles"}
    assert path.read_bytes() == second


def test_where_something_was_stopped_the_whole_notebook_runs_again(course):
    timed(course)
    sample.hand_in(course, "ada", {"mean-rows": "import os\ndef mean_rows(X):\n    os._exit(0)"})
    first = grade_class(course, ASSIGNMENT, jobs=1)
    edit(course, setting("test-scale", f"{CLOCK}\n{MENDED}"))
    before = shown(course, "ada")
    again = grade_class(course, ASSIGNMENT, jobs=1)
    assert again.graded["ada"][3] == first.graded["ada"][3] != []
    assert shown(course, "ada")["test-handles"] != before["test-handles"]


def test_other_settings_are_a_change(course):
    sample.hand_in(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1)
    settings = Settings(warm=("numpy",), max_lines=7)
    assert list(grade_class(course, ASSIGNMENT, jobs=1, settings=settings).graded) == ["ada"]
    assert grade_class(course, ASSIGNMENT, jobs=1, settings=settings).skipped == ["ada"]


# --- Who gains and who loses ------------------------------------------------------------------


def hand_in_class(course: Course, count: int, losers: int, gainers: int) -> dict[str, float]:
    """A class of which some lose and some gain when the test is mended; student -> points by the mended test."""
    expected = {}
    for number in range(count):
        student = f"student{number:03}"
        answers = LENIENT if number < losers else STRICT if number < losers + gainers else {}
        sample.hand_in(course, student, answers)
        expected[student] = FULL - 2 if answers is LENIENT else FULL
    return expected


def test_nothing_is_written_where_somebody_would_lose(course):
    expected = hand_in_class(course, 20, 3, 5)
    grade_class(course, ASSIGNMENT, jobs=2)
    before = state(course), {student: sample.scores(course, student) for student in expected}
    edit(course, setting("test-scale", MENDED))
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    summary = grade_class(course, ASSIGNMENT, jobs=2, console=console)
    text = console.export_text()
    assert summary.graded == {}
    assert sorted(summary.refused) == sorted(expected)
    assert summary.losers() == [f"student{number:03}" for number in range(3)]
    assert {change.student for change in summary.changes} == {f"student{number:03}" for number in range(8)}
    assert all(f"student{number:03}" in text for number in range(8))
    assert "student008" not in text
    assert "3 lose, 5 gain" in text
    assert (state(course), {student: sample.scores(course, student) for student in expected}) == before

    summary = grade_class(course, ASSIGNMENT, jobs=2, accept_lower=True)
    assert {student: sample.points(course, student) for student in expected} == expected
    assert len(summary.graded) == 20
    assert sorted(grade_class(course, ASSIGNMENT, jobs=2).skipped) == sorted(expected)


def test_gains_need_no_leave(course):
    sample.hand_in(course, "ada", STRICT)
    assert grade_class(course, ASSIGNMENT, jobs=1).graded["ada"][0] == FULL - 2
    edit(course, setting("test-scale", MENDED))
    assert grade_class(course, ASSIGNMENT, jobs=1).graded["ada"][0] == FULL


def state(course: Course) -> dict[Path, bytes]:
    """All that is kept of graded submissions."""
    return {path: path.read_bytes() for path in Path(course.coursedir.root, "autograded").rglob("*") if path.is_file()}


def test_who_hands_in_something_worse_keeps_the_grade_and_nobody_else_waits(course):
    folders = {student: sample.hand_in(course, student) for student in ("ada", "eve")}
    folders["bob"] = sample.hand_in(course, "bob", WRONG_TOTAL)
    grade_class(course, ASSIGNMENT, jobs=2)
    before = state(course)
    sample.write_answers(folders["ada"], WRONG_TOTAL)
    sample.write_answers(folders["bob"], sample.ANSWERS)
    sample.hand_in(course, "dan", WRONG_TOTAL)
    console = Console(record=True, width=200, file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    summary = grade_class(course, ASSIGNMENT, jobs=2, console=console)
    assert summary.refused == ["ada"]
    assert summary.not_written().startswith("ada would lose points")
    assert {student: points for student, (points, *_) in summary.graded.items()} == {"bob": FULL, "dan": FULL - 1}
    assert summary.skipped == ["eve"]
    assert [change[0::3] for change in summary.changes] == [("ada", 1.0), ("bob", 0.0)]
    assert "1 lose, 1 gain" in console.export_text()
    assert sample.points(course, "ada") == FULL
    kept = {path: text for path, text in state(course).items() if "ada" in path.parts}
    assert kept == {path: text for path, text in before.items() if "ada" in path.parts}
    assert grade_class(course, ASSIGNMENT, jobs=2).refused == ["ada"]  # and again, until it is accepted
    assert grade_class(course, ASSIGNMENT, jobs=2, accept_lower=True).graded["ada"][0] == FULL - 1
    assert sorted(grade_class(course, ASSIGNMENT, jobs=2).skipped) == ["ada", "bob", "dan", "eve"]


def test_a_mended_test_that_waits_keeps_no_new_submission_back(course):
    folders = {student: sample.hand_in(course, student, LENIENT) for student in ("ada", "bob", "eve")}
    grade_class(course, ASSIGNMENT, jobs=2)
    edit(course, setting("test-scale", MENDED))
    sample.write_answers(folders["bob"], sample.ANSWERS)
    sample.write_answers(folders["eve"], WRONG_TOTAL)
    summary = grade_class(course, ASSIGNMENT, jobs=2)
    assert (summary.refused, list(summary.graded)) == (["ada", "eve"], ["bob"])


def test_a_new_submission_that_is_worse_keeps_no_mended_test_back(course):
    folder = sample.hand_in(course, "ada")
    sample.hand_in(course, "bob", STRICT)
    grade_class(course, ASSIGNMENT, jobs=2)
    edit(course, setting("test-scale", MENDED))
    sample.write_answers(folder, WRONG_TOTAL)
    summary = grade_class(course, ASSIGNMENT, jobs=2)
    assert (summary.refused, list(summary.graded)) == (["ada"], ["bob"])
    assert sample.points(course, "bob") == FULL


def test_points_lost_by_lateness_are_lost_too(tmp_path, cage):
    course = sample.new_course(tmp_path / "course", LateSubmissionPlugin={"penalty_method": "zero"}, **WARM)
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.update_or_create_assignment(ASSIGNMENT, duedate="2026-01-01 12:00:00 UTC")
    folder = sample.hand_in(course, "ada", WRONG_TOTAL)
    grade_class(course, ASSIGNMENT, jobs=1)
    sample.write_answers(folder, sample.ANSWERS)
    (folder / "timestamp.txt").write_text("2026-01-02 12:00:00 UTC")
    summary = grade_class(course, ASSIGNMENT, jobs=1)
    assert summary.refused == ["ada"]
    assert [change[1:] for change in summary.changes] == [
        (LATENESS, "first", 0.0, 1.0 - FULL), (LATENESS, "second", 0.0, -1.0), ("test-total", "second", 0.0, 1.0),
    ]  # fmt: skip


def test_a_graded_folder_that_was_deleted_is_graded_again_and_compared(course):
    sample.hand_in(course, "ada", LENIENT)
    grade_class(course, ASSIGNMENT, jobs=1)
    for path in sorted((Path(course.coursedir.root) / "autograded" / "ada").rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    edit(course, setting("test-scale", MENDED))
    assert grade_class(course, ASSIGNMENT, jobs=1).refused == ["ada"]


@pytest.mark.parametrize("changed", ["test", "submission"])
def test_formgraders_button_writes_no_lower_grade_either(course, changed):
    folder = sample.hand_in(course, "ada", LENIENT)
    grade_class(course, ASSIGNMENT, jobs=1)
    if changed == "test":
        edit(course, setting("test-scale", MENDED))
    else:
        sample.write_answers(folder, {"scale": "def scale(x, factor):\n    return x"})
    course.coursedir.assignment_id, course.coursedir.student_id = ASSIGNMENT, "ada"
    converter = GradeInCage(coursedir=course.coursedir, parent=course.app)
    with pytest.raises(NbGraderException, match="ada would lose points"):
        converter.start()
    assert sample.points(course, "ada") == FULL
    converter.accept_lower = True
    converter.start()
    assert sample.points(course, "ada") == FULL - 2


def test_points_and_comments_given_by_hand_stay(course):
    sample.hand_in(course, "ada", LENIENT)
    grade_class(course, ASSIGNMENT, jobs=1)

    def by_hand() -> list:
        with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
            essay = gradebook.find_grade("essay", "first", ASSIGNMENT, "ada")
            scale = gradebook.find_grade("test-scale", "first", ASSIGNMENT, "ada")
            comment = gradebook.find_comment("essay", "first", ASSIGNMENT, "ada")
            return [essay.manual_score, essay.needs_manual_grade, scale.manual_score, comment.comment]

    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        essay = gradebook.find_grade("essay", "first", ASSIGNMENT, "ada")
        essay.manual_score, essay.needs_manual_grade = 1.5, False
        gradebook.find_grade("test-scale", "first", ASSIGNMENT, "ada").manual_score = 2.0
        gradebook.find_comment("essay", "first", ASSIGNMENT, "ada").manual_comment = "Well put."
        gradebook.db.commit()
    before = by_hand()
    edit(course, setting("test-scale", MENDED))
    summary = grade_class(course, ASSIGNMENT, jobs=1)  # the points by hand count, so nothing is lost
    assert summary.changes == []
    assert summary.graded["ada"][0] == FULL + 1.5
    assert by_hand() == before


# --- New, moved and removed questions ---------------------------------------------------------


def add_question(notebook: nbformat.NotebookNode) -> None:
    answer = "def double(x):\n    ### BEGIN SOLUTION\n    return 2 * x\n    ### END SOLUTION"
    notebook.cells.append(sample.new_cell("double", "solution", None, answer))
    notebook.cells.append(sample.new_cell("test-double", "test", 1, "assert double(2) == 4"))


def test_a_question_is_added_after_grading(course):
    sample.hand_in(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1)
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.find_grade("essay", "first", ASSIGNMENT, "ada").manual_score = 1.5
        gradebook.db.commit()
    edit(course, add_question)
    with pytest.raises(UnknownAssignment, match="double, test-double"):
        grade_class(course, ASSIGNMENT, jobs=1)
    release(course)
    assert "test-double" in {cell.id for cell in sample.released(course).cells}
    summary = grade_class(course, ASSIGNMENT, jobs=1)
    assert summary.graded["ada"][:2] == (FULL + 1.5, MOST + 1)
    assert sample.scores(course, "ada")["test-double"] == 0.0


def test_a_question_is_removed_and_another_moved_after_grading(course):
    sample.hand_in(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1)

    def change(notebook: nbformat.NotebookNode) -> None:
        kept = [cell for cell in notebook.cells if cell.id not in ("mean-rows", "test-mean-rows")]
        moved = [cell for cell in kept if cell.id in ("handles", "test-handles")]
        notebook.cells = kept[:2] + moved + [cell for cell in kept[2:] if cell not in moved]

    edit(course, change)
    release(course)
    summary = grade_class(course, ASSIGNMENT, jobs=1)
    assert summary.changes == []
    assert summary.graded["ada"][:2] == (FULL - 3, MOST - 3)
    assert set(sample.scores(course, "ada")) == {"test-scale", "test-handles", "essay", "test-total"}


def test_a_notebook_is_added_and_another_removed_after_grading(course):
    sample.hand_in(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1)
    source(course, "second").rename(source(course, "third"))
    release(course)
    summary = grade_class(course, ASSIGNMENT, jobs=1)
    assert summary.graded["ada"][:2] == (FULL, MOST)  # the second is recognised by its cells
    folder = Path(course.coursedir.root) / "autograded" / "ada" / ASSIGNMENT
    assert {path.name for path in folder.iterdir()} == {"first.ipynb", "third.ipynb"}


def test_a_release_that_fails_leaves_the_one_that_there_was(course):
    sample.hand_in(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1)
    folder = Path(course.coursedir.root) / "release"
    before = {path.name: path.read_bytes() for path in (folder / ASSIGNMENT).iterdir()}
    edit(course, lambda notebook: notebook.cells.append(notebook.cells[-1]))  # a name twice
    with pytest.raises(NbGraderException):
        release(course)
    assert {path.name: path.read_bytes() for path in (folder / ASSIGNMENT).iterdir()} == before
    assert [path.name for path in folder.iterdir()] == [ASSIGNMENT]


# --- Feedback ----------------------------------------------------------------------------------


def test_feedback_writes_what_has_changed_and_nothing_else(course):
    def pages(force: bool = False) -> dict[str, int]:
        course.coursedir.assignment_id, course.coursedir.student_id = ASSIGNMENT, "*"
        converter = FeedbackOfChanges(coursedir=course.coursedir, parent=course.app)
        converter.force = force
        converter.start()
        folder = Path(course.coursedir.root) / "feedback"
        return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*.html")}

    sample.hand_in(course, "ada", LENIENT)
    sample.hand_in(course, "bob")
    grade_class(course, ASSIGNMENT, jobs=1)
    first = pages()
    assert len(first) == 4
    assert pages() == first
    edit(course, setting("test-scale", MENDED))
    grade_class(course, ASSIGNMENT, jobs=1, accept_lower=True)
    second = pages()
    firsts = {f"{student}/{ASSIGNMENT}/first.html" for student in ("ada", "bob")}
    assert {page for page in second if second[page] != first[page]} == firsts
    page = Path(course.coursedir.root, "feedback", "ada", ASSIGNMENT, "first.html")
    assert f"Score: {FULL - 3:.1f} / {MOST - 1:.1f}" in page.read_text()
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.find_grade("essay", "first", ASSIGNMENT, "ada").manual_score = 1.5
        gradebook.db.commit()
    third = pages()
    assert {page for page in third if third[page] != second[page]} == {f"ada/{ASSIGNMENT}/first.html"}
    assert f"Score: {FULL - 1.5:.1f} / {MOST - 1:.1f}" in page.read_text()
    assert all(time != third[page] for page, time in pages(force=True).items())


# --- What a grade depends on --------------------------------------------------------------------


def cell(grade_id: str, text: str, *, points: float | None = None, setup: bool = False) -> SourceCell:
    return SourceCell(
        grade_id, grade_id, "code", text, text, points is not None, False, True, False, setup, points, None
    )  # fmt: skip


def numbers(*cells: SourceCell, settings: Settings | None = None) -> dict[str, dependence.Dependence]:
    notebook = SourceNotebook("one", cells, {"name": "python3"})
    return dependence.of_assignment(Assignment("a", {"one": notebook}, {}), settings or Settings())["one"]


SETUP = cell("setup", "from course_utils.checks.forward import check_relu\nfrom course_utils.symbolic import as_text",
             setup=True)  # fmt: skip
RELU, TEXT = cell("test-relu", "check_relu(relu)", points=1.0), cell("test-text", "assert as_text(f)", points=2.0)


def changed(before: dict[str, dependence.Dependence], after: dict[str, dependence.Dependence]) -> set[str]:
    return {name for name in before if before[name].number != after[name].number}


def test_a_test_is_its_questions_own():
    assert changed(numbers(SETUP, RELU, TEXT), numbers(SETUP, replace(RELU, source="pass"), TEXT)) == {"test-relu"}
    assert changed(numbers(SETUP, RELU, TEXT), numbers(SETUP, replace(RELU, points=2.0), TEXT)) == {"test-relu"}
    assert changed(numbers(SETUP, RELU, TEXT), numbers(SETUP, TEXT, RELU)) == set()


def test_setup_and_settings_are_everybodys():
    both = {"test-relu", "test-text"}
    assert changed(numbers(SETUP, RELU, TEXT), numbers(replace(SETUP, source="import os"), RELU, TEXT)) == both
    assert changed(numbers(SETUP, RELU, TEXT), numbers(SETUP, RELU, TEXT, settings=Settings(max_lines=3))) == both


def test_checks_are_those_that_a_test_leads_to(monkeypatch):
    before = numbers(SETUP, RELU, TEXT)
    read = dependence._source

    def mended(module: str):
        found = read(module)
        return (found[0] + "# mended", found[1]) if module == "course_utils.judge" else found

    monkeypatch.setattr(dependence, "_source", mended)
    assert changed(before, numbers(SETUP, RELU, TEXT)) == {"test-relu"}


def test_a_test_depends_on_those_that_bind_its_names():
    first = cell("test-first", "import numpy as np\nlimit = 3\nassert f(limit) == 3", points=1.0)
    then = cell("test-then", "assert f(limit + 1) == 4", points=1.0)
    own = cell("test-own", "for limit in (1, 2):\n    assert f(limit) == limit", points=1.0)
    before = numbers(first, then, own)
    assert {name: one.after for name, one in before.items()} == {
        "test-first": (), "test-then": ("test-first", "test-own"), "test-own": (),
    }  # fmt: skip
    assert changed(before, numbers(replace(first, source="limit = 4"), then, own)) == {"test-first", "test-then"}


def test_configuration_reaches_the_converters(tmp_path):
    course = sample.open_course(tmp_path, Autograde={"create_student": False}, GradeInCage={"accept_lower": True})
    converter = GradeInCage(coursedir=course.coursedir, parent=course.app)
    assert (converter.create_student, converter.accept_lower) == (False, True)
    assert isinstance(course.app.config, Config)
