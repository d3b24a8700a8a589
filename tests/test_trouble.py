"""Whatever a student hands in: points earned elsewhere stay, the trouble is named, and the others are graded."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import nbformat
import psutil
import pytest
from nbgrader.converters import GenerateFeedback
from rich.console import Console

from autograder.run import grade_class
from autograder.settings import CagedExecute
from tests.attacks import sample
from tests.attacks.sample import ASSIGNMENT, FULL, cell_of

pytestmark = [pytest.mark.slow, pytest.mark.alone]

_ENDLESS = "while True:\n    pass"
_STUBBORN = "while True:\n    try:\n        while True:\n            pass\n    except BaseException:\n        pass"
_SLEEP_SECONDS = "31337"
_SETTINGS = {"warm": ["numpy"], "timeout": 6.0, "memory": 700 * 2**20, "output": 20_000}


class Case(NamedTuple):
    """A submission in which something is wrong.

    Attributes
    ----------
    name : str
        Also the student's.
    points : float
        That it earns all the same, of ``FULL``.
    says : str
        What the instructor and the student read about it.
    answers : dict
        As for :func:`tests.attacks.sample.hand_in`.
    last : str, optional
        A cell at the end of the first notebook.
    spoil : callable
        ``spoil(folder)`` changes the files.
    """

    name: str
    points: float
    says: str
    answers: dict[str, str] = {}  # noqa: RUF012 - never changed
    last: str | None = None
    spoil: Callable[[Path], object] = lambda folder: None


def _changing(change: Callable[[nbformat.NotebookNode], object]) -> Callable[[Path], None]:
    """A change of the first notebook."""

    def spoil(folder: Path) -> None:
        path = folder / "first.ipynb"
        notebook = nbformat.read(path, as_version=4)
        change(notebook)
        path.write_text(json.dumps(notebook))

    return spoil


def _strip(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        cell.metadata.clear()
        del cell["id"]


def _duplicate(notebook: nbformat.NotebookNode) -> None:
    copy = nbformat.from_dict(cell_of(notebook, "test-scale"))
    copy.id = "another"
    notebook.cells.append(copy)


def _alter(notebook: nbformat.NotebookNode) -> None:
    cell_of(notebook, "test-scale").source = "pass"


def _is_link(folder: Path) -> None:
    path = folder / "second.ipynb"
    target = path.rename(folder.parent / "elsewhere.ipynb")
    path.symlink_to(target)


def _mean_rows(body: str, before: str = "") -> dict[str, str]:
    lines = "\n".join(f"    {line}" for line in body.splitlines())
    return {"mean-rows": f"{before}\ndef mean_rows(X):\n{lines}"}


def _after_scale(code: str) -> dict[str, str]:
    return {"scale": f"{sample.ANSWERS['scale']}\n\n\n{code}"}


CASES = (
    # Files
    Case("no-json", FULL - 1, "the file is not a notebook", spoil=lambda f: (f / "second.ipynb").write_text("{oh")),
    Case("no-notebook", FULL - 1, "the file is not a notebook", spoil=lambda f: (f / "second.ipynb").write_text("[1]")),
    Case("no-text", FULL - 1, "the file is not a notebook", spoil=lambda f: (f / "second.ipynb").write_bytes(b"\xff")),
    Case("missing", 1, "the notebook is missing", spoil=lambda f: (f / "first.ipynb").unlink()),
    Case("link", FULL - 1, "'second.ipynb' is a link", spoil=_is_link),
    Case("extra", FULL, "'notes.ipynb' is not part of", spoil=lambda f: (f / "notes.ipynb").write_text("{}")),
    Case(
        "renamed", FULL, "'first (1).ipynb' was graded in its place",
        spoil=lambda f: (f / "first.ipynb").rename(f / "first (1).ipynb"),
    ),
    Case("no-time", FULL, "timestamp.txt does not hold a time", spoil=lambda f: (f / "timestamp.txt").write_text("?")),
    # Cells
    Case(
        "kernel", FULL, "kernel was 'julia-1.9'",
        spoil=_changing(lambda n: n.metadata.kernelspec.update(name="julia-1.9")),
    ),
    Case(
        "deleted", FULL, "added again: test-scale",
        spoil=_changing(lambda n: n.cells.remove(cell_of(n, "test-scale"))),
    ),
    Case("duplicated", FULL, "test-scale was there 2 times", spoil=_changing(_duplicate)),
    Case(
        "altered", FULL - 2, "restored: test-scale", {"scale": "def scale(x, factor):\n    return x"},
        spoil=_changing(_alter),
    ),
    Case(
        "many", FULL, "only the first 2000 were graded",
        spoil=_changing(lambda n: n.cells.extend(nbformat.v4.new_markdown_cell("more") for _ in range(2000))),
    ),
    Case("stripped", FULL, "metadata had been removed", spoil=_changing(_strip)),
    # What runs
    Case("endless", FULL, "scale took more than 6 s of processor time and was interrupted", _after_scale(_ENDLESS)),
    Case("stubborn", FULL - 2, "cell scale took too long, ignored the interrupt", _after_scale(_STUBBORN)),
    Case("endless-function", FULL - 3, "test-mean-rows took more than 6 s of processor time", _mean_rows(_ENDLESS)),
    Case("stubborn-function", FULL - 3, "test-mean-rows took too long, ignored", _mean_rows(_STUBBORN)),
    Case(
        "memory", FULL - 3, "test-mean-rows raised MemoryError",
        _mean_rows("np.ones(2**28)"),  # at once, so that no look at the clock finds it half-way
    ),
    Case("output", FULL, "put out more than is kept", last="for _ in range(10**5):\n    print('x' * 100)"),
    Case("exit", FULL - 3, "test-mean-rows ended the student's process", _mean_rows("os._exit(0)", "import os")),
    Case("exit-in-cell", FULL - 2, "cell scale ended the student's process", _after_scale("import os\nos._exit(1)")),
    Case("crash", FULL - 3, "ended the student's process", _mean_rows("ctypes.string_at(0)", "import ctypes")),
    Case("recursion", FULL - 3, "test-mean-rows raised RecursionError", _mean_rows("return mean_rows(X)")),
    Case(
        "background", FULL, "processes that had been left running were ended",
        last=f"import subprocess\nsubprocess.Popen(['sleep', '{_SLEEP_SECONDS}'])",
    ),
)  # fmt: skip


class Graded(NamedTuple):
    """The class after grading: course, summary and the lines that were printed."""

    course: sample.Course
    summary: object
    lines: str


@pytest.fixture(scope="module")
def graded(tmp_path_factory, cage) -> Graded:
    course = sample.new_course(tmp_path_factory.mktemp("trouble"), CagedExecute=_SETTINGS)
    for name in ("aa-clean", "zz-clean"):
        sample.hand_in(course, name)
    for case in CASES:
        case.spoil(sample.hand_in(course, case.name, case.answers, last=case.last))
    console = Console(record=True, width=1000, file=open("/dev/null", "w"))  # noqa: SIM115 - closed with the process
    settings = CagedExecute(parent=course.app).settings()
    # However busy the machine is, processor time runs out before the clock does.
    settings = replace(settings, limits=replace(settings.limits, patience=100))
    summary = grade_class(course, ASSIGNMENT, jobs=2, console=console, settings=settings)
    course.coursedir.assignment_id = ASSIGNMENT
    GenerateFeedback(coursedir=course.coursedir, parent=course.app).start()
    return Graded(course, summary, console.export_text())


def test_everybody_is_graded(graded):
    assert graded.summary.failed == {}
    assert set(graded.summary.graded) == {"aa-clean", "zz-clean", *(case.name for case in CASES)}


@pytest.mark.parametrize("name", ["aa-clean", "zz-clean"])
def test_neighbours_get_all_their_points_and_no_trouble(graded, name):
    assert sample.points(graded.course, name) == FULL
    assert graded.summary.graded[name][-1] == []
    assert sample.comments(graded.course, name) == ""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_points_earned_elsewhere_are_kept(graded, case):
    assert sample.points(graded.course, case.name) == case.points, sample.scores(graded.course, case.name)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_trouble_is_named_in_line_comment_and_feedback(graded, case):
    line = next(line for line in graded.lines.splitlines() if line.startswith(f"{case.name}: "))
    assert case.says in line
    assert case.says in sample.comments(graded.course, case.name)
    folder = Path(graded.course.coursedir.root) / "feedback" / case.name / ASSIGNMENT
    pages = "\n".join(page.read_text(encoding="utf-8") for page in folder.glob("*.html"))
    assert case.says in html.unescape(re.sub(r"<[^>]+>", "", pages))


def test_no_process_is_left_behind(graded):
    running = [process.info["cmdline"] for process in psutil.process_iter(["cmdline"])]
    assert ["sleep", _SLEEP_SECONDS] not in running
