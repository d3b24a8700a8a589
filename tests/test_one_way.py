"""However a class is graded, and whatever it has handed in: the same points, comments, files and lines."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from nbgrader.api import Gradebook
from nbgrader.apps import NbGraderAPI
from rich.console import Console
from traitlets.config import Config

from autograder import times
from autograder.__main__ import main
from autograder.plugins import GradeInCage, ListedAsGraded, use_own_converters
from autograder.run import Course, grade_class
from tests.attacks import sample
from tests.attacks.sample import ASSIGNMENT, FULL
from tests.conftest import REPOSITORY
from tests.test_grading import WRONG_SCALE

pytestmark = pytest.mark.slow

SETTINGS = {"CagedExecute": {"warm": ["numpy"]}, "Autograde": {"exclude_overwriting": {ASSIGNMENT: ["net.npz"]}}}
LATE = "2030-01-03 14:05:00 UTC"


class Odd(NamedTuple):
    """A submission that is unlike what was asked for.

    Attributes
    ----------
    points : float, optional
        That it earns; None if it can't be graded.
    says : str
        What its line says about it.
    spoil : callable
        ``spoil(folder)`` changes what lies in ``submitted/STUDENT/sample``.
    """

    points: float | None
    says: str
    spoil: Callable[[Path], object]


def _into(name: str) -> Callable[[Path], None]:
    """Everything moves into a folder of the submission, with a network."""

    def spoil(folder: Path) -> None:
        (folder / name).mkdir(parents=True)
        for path in [path for path in folder.iterdir() if path.is_file()]:
            path.rename(folder / name / path.name)
        (folder / name / "net.npz").write_bytes(b"numbers")

    return spoil


def _zipped(name: str, inside: str = "", *, keep: bool = False) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        with zipfile.ZipFile(folder / name, "w") as archive:
            for path in sorted(folder.glob("*.ipynb")):
                archive.writestr(zipfile.ZipInfo(f"{inside}{path.name}"), path.read_bytes())
                if not keep:
                    path.unlink()

    return spoil


def _renamed(old: str, new: str) -> Callable[[Path], object]:
    return lambda folder: (folder / old).rename(folder / new)


def _written(name: str, text: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)

    return spoil


def _edited(change: Callable[[nbformat.NotebookNode], object]) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        notebook = json.loads((folder / "first.ipynb").read_text())
        change(notebook)
        (folder / "first.ipynb").write_text(json.dumps(notebook))

    return spoil


def _without_folder(folder: Path) -> None:
    for path in list(folder.iterdir()):
        path.rename(folder.parent / path.name)
    folder.rmdir()


def _emptied(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _link(folder: Path) -> None:
    folder.parent.rename(folder.parent.with_name(".elsewhere"))
    folder.parent.symlink_to(".elsewhere")


def _two(folder: Path) -> None:
    shutil.copytree(folder, folder.with_name("SAMPLE"))
    folder.rename(folder.with_name("Sample"))


def _beside(folder: Path) -> None:
    _zipped("all.zip")(folder)
    (folder / "all.zip").rename(folder.parent.with_suffix(".zip"))
    shutil.rmtree(folder.parent)


def _strip(notebook: dict) -> None:
    for cell in notebook["cells"]:
        cell["metadata"] = {}
        del cell["id"]


def _drop_test(notebook: dict) -> None:
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] != "test-scale"]


CLASS = {
    "plain": Odd(FULL, "", lambda folder: None),
    "wrong": Odd(FULL - 2, "", lambda folder: sample.write_answers(folder, WRONG_SCALE)),
    "case": Odd(FULL, "its folder is called 'Sample'", lambda folder: folder.rename(folder.with_name("Sample"))),
    "loose": Odd(FULL, "it did not lie in a folder sample", _without_folder),
    "nested": Odd(FULL, "all of it lay in the folder 'my?work'", _into("my/work")),
    "network": Odd(FULL, "'net.npz' is missing; 'nets?Net.npz' was taken in its place", _written("nets/Net.npz", "1")),
    "zip": Odd(FULL, "", _zipped("work.zip")),
    "zip-folder": Odd(FULL, "", _zipped("work.zip", "a/b/")),
    "zip-and-files": Odd(FULL, "is not part of the assignment", _zipped("work.zip", keep=True)),
    "bad-zip": Odd(FULL, "'work.zip' can't be unpacked", _written("work.zip", "no archive")),
    "copy": Odd(FULL, "was graded in its place", _renamed("first.ipynb", "Copy of first.ipynb")),
    "again": Odd(FULL, "was graded in its place", _renamed("first.ipynb", "first (1).ipynb")),
    "deleted": Odd(FULL, "cells had been deleted", _edited(_drop_test)),
    "stripped": Odd(FULL, "nbgrader's metadata had been removed", _edited(_strip)),
    "no-json": Odd(FULL - 1, "the file is not a notebook", _written("second.ipynb", "{oh")),
    "missing": Odd(FULL - 1, "the notebook is missing", lambda folder: (folder / "second.ipynb").unlink()),
    "page": Odd(FULL, "was kept as 'appendix.html.txt'", _written("appendix.html", "<script>")),
    "links": Odd(FULL, "'data.txt' is a link", lambda folder: (folder / "data.txt").symlink_to("/etc/passwd")),
    "late": Odd(FULL, "2 d 2 h late", _written("timestamp.txt", LATE)),
    "nothing": Odd(0, "the notebook is missing", _emptied),
    "beside": Odd(FULL, "'notes.txt' lies beside the folder 'sample'", _written("../notes.txt", "")),
    "outside": Odd(FULL, "it was handed in as 'outside.zip'", _beside),
    "empty": Odd(None, "the student's folder is empty", shutil.rmtree),
    "link": Odd(None, "is a link", _link),
    "two": Odd(None, "are both like sample", _two),
    "notes.txt": Odd(None, "lies in no student's folder", lambda folder: [
        shutil.rmtree(folder.parent), folder.parent.write_text("")
    ]),
}  # fmt: skip


@pytest.fixture(scope="module")
def courses(tmp_path_factory, cage) -> dict[str, Course]:
    """The same class, three times."""
    courses = {}
    for way in ("ours", "command", "button"):
        root = tmp_path_factory.mktemp(way)
        course = courses[way] = sample.new_course(root, **SETTINGS)
        with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
            gradebook.update_or_create_assignment(ASSIGNMENT, duedate="2030-01-01 12:00:00 UTC")
            gradebook.update_or_create_student("outside")
        for student, odd in CLASS.items():
            odd.spoil(sample.hand_in(course, student))
    return courses


@pytest.fixture(scope="module")
def told(courses) -> dict[str, dict[str, str]]:
    """The class graded in the three ways: way -> student -> what was said."""
    ours = grade_class(courses["ours"], ASSIGNMENT, jobs=2)
    root = Path(courses["command"].coursedir.root)
    lines = ["from traitlets.config import Config", "from autograder.plugins import use_own_converters"]
    lines += ["use_own_converters()", "c = get_config()", f"c.merge(Config({SETTINGS!r}))"]
    lines += [f"c.CourseDirectory.root = {str(root)!r}", "c.CourseDirectory.course_id = 'sample'"]
    (root / "nbgrader_config.py").write_text("\n".join(lines))
    command = [str(Path(sys.executable).with_name("nbgrader")), "autograde", ASSIGNMENT]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 1  # some can't be graded
    logged = dict.fromkeys(CLASS, "")
    for line in done.stderr.splitlines():
        for student in CLASS:
            if f"] {student}: " in line:
                logged[student] = line.partition(f"] {student}: ")[2]
    use_own_converters()
    course = courses["button"]
    config = Config({"CourseDirectory": {"root": course.coursedir.root, "course_id": "sample"}, **SETTINGS})
    api = NbGraderAPI(config=config)
    api.log.setLevel("INFO")
    answers = {student: api.autograde(ASSIGNMENT, student) for student in CLASS}
    assert {student for student, answer in answers.items() if not answer["success"]} == set(ours.failed)
    return {
        "ours": ours.lines | {student: f"no grade, {why}" for student, why in ours.failed.items()},
        "command": logged, "button": {student: answer["log"] for student, answer in answers.items()},
    }  # fmt: skip


@pytest.mark.parametrize("way", ["ours", "command", "button"])
@pytest.mark.parametrize("student", CLASS)
def test_everybody_ends_in_a_line_that_says_what_was_odd(courses, told, student, way):
    odd = CLASS[student]
    assert ("no grade" in told[way][student]) == (odd.points is None)
    assert odd.says in told[way][student]
    if odd.points is not None:
        assert sample.points(courses[way], student) == odd.points
        assert f"{odd.points:g} of 10 points" in told[way][student]


def _rows(course: Course) -> dict:
    """All that the gradebook says of a class."""
    found = {}
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        for submission in gradebook.assignment_submissions(ASSIGNMENT):
            for notebook in submission.notebooks:
                for grade in notebook.grades:
                    key = submission.student.id, notebook.name, grade.name
                    found[key] = grade.auto_score, grade.needs_manual_grade
                for comment in notebook.comments:
                    found[submission.student.id, notebook.name, comment.name, "comment"] = comment.auto_comment
            found[submission.student.id] = submission.timestamp, submission.late_submission_penalty
    return found


def _files(course: Course) -> dict[str, bytes]:
    folder = Path(course.coursedir.root) / "autograded"
    paths = (path for path in folder.rglob("*") if path.is_file() and path.name not in (".grading.lock", times.FILE))
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@pytest.mark.parametrize("way", ["command", "button"])
def test_no_cell_comment_or_file_differs_between_the_ways(courses, told, way):
    assert _rows(courses[way]) == _rows(courses["ours"])
    mine, theirs = _files(courses["ours"]), _files(courses[way])
    assert [name for name in {*mine, *theirs} if mine.get(name) != theirs.get(name)] == []
    assert "nested/sample/net.npz" in mine
    assert "network/sample/net.npz" in mine
    assert b"root:" not in b"".join(mine.values())


def test_formgrader_lists_all_that_can_be_graded(courses, told):
    course = courses["button"]
    submitted = Path(course.coursedir.root) / "submitted"
    (submitted / "plain" / ASSIGNMENT / "timestamp.txt").write_bytes(b"\xff" * 1000)
    listed = ListedAsGraded(course.coursedir, parent=course.app).get_submissions(ASSIGNMENT)
    assert {one["student"]: one["score"] for one in listed} == {
        student: odd.points for student, odd in CLASS.items() if odd.points is not None
    }
    assert all(one["autograded"] for one in listed)
    (submitted / "case" / "Sample" / "timestamp.txt").write_text(LATE)
    sample.hand_in(course, "new")
    (submitted / "new" / ASSIGNMENT).rename(submitted / "new" / "SAMPLE")
    (submitted / "late" / ASSIGNMENT / "timestamp.txt").write_text("2030-01-04 14:05:00 UTC")
    listed = ListedAsGraded(course.coursedir, parent=course.app).get_submissions(ASSIGNMENT)
    assert [one["student"] for one in listed if not one["autograded"]] == ["late", "new"]


# --- Lines --------------------------------------------------------------------------------


def _give_by_hand(course: Course, student: str, points: float) -> None:
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        grade = gradebook.find_grade("essay", "first", ASSIGNMENT, student)
        grade.manual_score, grade.needs_manual_grade = points, False
        gradebook.find_comment("essay", "first", ASSIGNMENT, student).manual_comment = "Well put."
        gradebook.db.commit()


def test_points_given_by_hand_do_not_wait_for_a_grade(tmp_path, cage):
    course = sample.new_course(tmp_path, **SETTINGS)
    sample.hand_in(course, "ada")
    assert "8 of 10 points, 2 of them to be graded by hand, " in grade_class(course, ASSIGNMENT, jobs=1).lines["ada"]
    _give_by_hand(course, "ada", 1.5)
    line = grade_class(course, ASSIGNMENT, jobs=1, force=True).lines["ada"]
    assert line.startswith("9.5 of 10 points, 1.5 of them given by hand, to be looked at again, ")


def test_a_penalty_is_named(tmp_path, cage):
    course = sample.new_course(tmp_path, LateSubmissionPlugin={"penalty_method": "zero"}, **SETTINGS)
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.update_or_create_assignment(ASSIGNMENT, duedate="2030-01-03 13:59:30 UTC")
    _written("timestamp.txt", LATE)(sample.hand_in(course, "ada"))
    line = grade_class(course, ASSIGNMENT, jobs=1).lines["ada"]
    assert "5 min late, from which 8 are taken away for that" in line


def test_with_other_assignments_what_lies_loose_is_named_and_not_graded(tmp_path, cage):
    course = sample.new_course(tmp_path, **SETTINGS)
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.update_or_create_assignment("other")
    _without_folder(sample.hand_in(course, "ada"))
    (tmp_path / "submitted" / "bob" / "other").mkdir(parents=True)
    summary = grade_class(course, ASSIGNMENT, jobs=1)
    assert summary.graded == {}
    assert list(summary.failed) == ["ada"]
    assert "there is 'first.ipynb', 'second.ipynb' in no assignment's folder" in summary.failed["ada"]


def test_a_students_folder_of_many_entries_is_named_and_not_graded(tmp_path, cage):
    course = sample.new_course(tmp_path, **SETTINGS)
    _without_folder(sample.hand_in(course, "ada"))
    for number in range(1000):
        (tmp_path / "submitted" / "ada" / str(number)).touch()
    summary = grade_class(course, ASSIGNMENT, jobs=1)
    assert "more than 1000 entries" in summary.failed["ada"]


def test_a_folder_that_cannot_be_written_gets_one_sentence(tmp_path, monkeypatch, capsys):
    course = sample.new_course(tmp_path, **SETTINGS)
    sample.hand_in(course, "ada")
    monkeypatch.chdir(tmp_path)
    lines = ["c = get_config()", f"c.CourseDirectory.root = {str(tmp_path)!r}", "c.CagedExecute.isolation = 'none'"]
    (tmp_path / "nbgrader_config.py").write_text("\n".join(lines))
    real = os.access  # root may write everywhere but on a file system for reading alone
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK and real(path, mode))
    assert main(["grade", ASSIGNMENT]) == 2
    out = capsys.readouterr().out
    assert f"{tmp_path / 'autograded'} can't be written" in out
    assert "Traceback" not in out
    shutil.rmtree(tmp_path / "autograded")
    (tmp_path / "autograded").write_text("in the way")
    assert main(["grade", ASSIGNMENT]) == 2
    assert f"{tmp_path / 'autograded'} can't be written" in capsys.readouterr().out


def test_nbgrader_says_why_nothing_was_graded(tmp_path, cage):
    course = sample.new_course(tmp_path, **SETTINGS)
    course.coursedir.assignment_id, course.coursedir.student_id = ASSIGNMENT, "*"
    converter = GradeInCage(coursedir=course.coursedir, parent=course.app)
    with pytest.raises(Exception, match="Collect submissions with nbgrader collect sample"):
        converter.start()


def test_command_prints_a_line_for_what_lies_astray(tmp_path, cage):
    course = sample.new_course(tmp_path, **SETTINGS)
    (tmp_path / "submitted").mkdir()
    (tmp_path / "submitted" / "frank.zip").write_text("")
    console = Console(record=True, width=300, file=open(os.devnull, "w"))  # noqa: SIM115 - closed with the process
    assert list(grade_class(course, ASSIGNMENT, jobs=1, console=console).failed) == ["frank.zip"]
    where = "put it into submitted/STUDENT/sample"
    assert f"frank.zip: no grade, 'frank.zip' lies in no student's folder; {where}" in console.export_text()
