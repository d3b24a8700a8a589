"""Formgrader's button that grades a submission, clicked: what it gives is what ``make grade`` gives."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
from playwright.sync_api import Locator, Page

from autograder.run import Course, grade_class
from tests.attacks import sample
from tests.attacks.sample import ASSIGNMENT, FULL

pytestmark = [pytest.mark.slow, pytest.mark.alone]

_WRONG = {"scale": "def scale(x, factor):\n    return x + factor"}
_SETTINGS = {"CagedExecute": {"warm": ["numpy"]}}
_CONFIG = """
from autograder.plugins import use_own_converters
c = get_config()
use_own_converters()
c.CourseDirectory.root = {root!r}
c.CourseDirectory.course_id = "sample"
c.CagedExecute.warm = ["numpy"]
"""


def _copied(folder: Path) -> None:
    """As Jupyter names a copy, in a folder of the student's own."""
    inner = folder / "meine Lösung (final)"
    inner.mkdir()
    (folder / "first.ipynb").rename(inner / "Copy of first.ipynb")
    (folder / "second.ipynb").rename(inner / "second (1).ipynb")


def _zipped(folder: Path) -> None:
    """In an archive, and the student's folder has a name of its own."""
    with zipfile.ZipFile(folder / "Abgabe & Co.zip", "w") as archive:
        for path in sorted(folder.glob("*.ipynb")):
            archive.write(path, f"a b/{path.name}")
            path.unlink()
    folder.rename(folder.with_name("Sample"))


#: Student -> answers other than the right ones, what is odd about the files, points.
_CLASS = {
    "zoë o'neil": ({}, _copied, FULL),
    "müller, jörg": (_WRONG, _zipped, FULL - 2),
    "a+b@example.org": (_WRONG, _copied, FULL - 2),
}


class _Graded(NamedTuple):
    """The course that the button is for, its page, and the same course graded by the command."""

    course: Course
    address: str
    other: Course


@pytest.fixture(scope="module")
def graded(tmp_path_factory, cage, browser, served) -> _Graded:
    root = tmp_path_factory.mktemp("button")
    course = sample.new_course(root, **_SETTINGS)
    for student, (answers, spoil, _) in _CLASS.items():
        spoil(sample.hand_in(course, student, answers))
    (root / "nbgrader_config.py").write_text(_CONFIG.format(root=str(root)))
    elsewhere = tmp_path_factory.mktemp("command")
    shutil.copytree(root, elsewhere, dirs_exist_ok=True)
    other = sample.open_course(elsewhere, **_SETTINGS)
    assert grade_class(other, ASSIGNMENT, jobs=1).failed == {}
    return _Graded(course, f"{served(root)}/formgrader/manage_submissions/{ASSIGNMENT}", other)


def _click(page: Page, address: str, student: str) -> Locator:
    """Click the button in a student's row; what opens then."""
    page.goto(address)
    row = page.locator("tr", has=page.get_by_text(student, exact=True))
    row.locator(".autograde a").click()
    opened = page.locator("#success-modal, #error-modal")
    opened.wait_for()
    return opened


@pytest.mark.parametrize("student", _CLASS)
def test_the_button_gives_what_the_command_gives(graded, page, student):
    opened = _click(page, graded.address, student)
    assert f"Successfully autograded '{ASSIGNMENT}' for student '{student}'." in opened.inner_text()
    assert f"{_CLASS[student][2]:g} of 10 points" in opened.inner_text()
    assert sample.scores(graded.course, student) == sample.scores(graded.other, student)
    assert sample.points(graded.course, student) == _CLASS[student][2]
    assert sample.comments(graded.course, student) == sample.comments(graded.other, student)
    folders = [Path(one.coursedir.root) / "autograded" / student for one in (graded.course, graded.other)]
    mine, theirs = ({path.relative_to(at): path.read_bytes() for path in at.rglob("*.*")} for at in folders)
    assert mine == theirs


def test_the_button_keeps_a_grade_that_would_be_lower(graded, page):
    student = "zoë o'neil"
    _click(page, graded.address, student)
    folder = Path(graded.course.coursedir.root) / "submitted" / student / ASSIGNMENT
    shutil.rmtree(folder)
    sample.hand_in(graded.course, student, _WRONG)
    opened = _click(page, graded.address, student)
    assert opened.get_attribute("id") == "error-modal"
    assert f"{student} would lose points" in opened.inner_text()
    assert "accept_lower" in opened.inner_text()
    assert sample.points(graded.course, student) == FULL
