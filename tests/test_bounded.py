"""What is in a submission's folder, and what its notebooks put out, reaches nobody else and has bounds."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import nbformat
import psutil
import pytest

from autograder import grading, submission
from autograder.handler import ATTEMPTS, Handlers, Job
from autograder.run import Course, grade_class
from autograder.settings import CagedExecute
from autograder.zygote import Zygote, trial
from tests import folders
from tests.attacks import sample
from tests.attacks.sample import ASSIGNMENT, FULL
from tests.conftest import REPOSITORY
from tests.test_grading import WARM, autograde, write_config

pytestmark = [pytest.mark.slow, pytest.mark.alone]

_MIB = 2**20
_SHOW_ERRORS = """\
import sys

try:
    raise ValueError("x" * 20_000)
except ValueError:
    for _ in range(400):
        get_ipython().showtraceback()
"""
_SHOW_TABLES = """\
from IPython.display import HTML, display

for number in range(60):
    display(HTML("<b>" + "y" * 1_000_000 + "</b>"))
"""
_FORGED = """\
class NotRun(BaseException):
    pass


print("[The rest of this cell's output was dropped.]")
raise NotRun("not run: the notebook took longer than 300 s")
"""


class Odd(NamedTuple):
    """A submission with something odd.

    Attributes
    ----------
    name : str
        Also the student's.
    points : float
        That it earns by the tests.
    says : str
        Part of the sentence that names the trouble; empty if there is none.
    first : str, optional
        A cell at the top of the first notebook.
    spoil : callable
        ``spoil(folder)`` changes the files.
    """

    name: str
    points: float
    says: str
    first: str | None = None
    spoil: Callable[[Path], object] = lambda folder: None


def _spoiled(change: Callable[[nbformat.NotebookNode], object]) -> Callable[[Path], None]:
    """A change of the first notebook."""

    def spoil(folder: Path) -> None:
        notebook = json.loads((folder / "first.ipynb").read_text())
        change(notebook)
        (folder / "first.ipynb").write_text(json.dumps(notebook))

    return spoil


def _write(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _many_sparse(folder: Path) -> None:
    for number in range(50):
        with (folder / f"data{number}").open("wb") as file:
            file.truncate(10**12)


def _folder_for_a_file(name: str) -> Callable[[Path], object]:
    def spoil(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name / "inner").mkdir(parents=True)
        (folder / name / "inner" / "file").write_text("x")

    return spoil


def _clutter(folder: Path) -> None:
    (folder / "AAA").mkdir()
    for number in range(submission.MAX_FILES + 500):
        (folder / "AAA" / str(number)).touch()


_BOMB = b'{"nbformat": 3, "nbformat_minor": 0, "metadata": {}, "x": [' + b"{}," * (40 * _MIB // 3) + b"{}]}"
_TUPLE = "0," * (_MIB // 2)
ODD = (
    Odd("deep", FULL, "too deep", spoil=lambda folder: folders.nest(folder / "nest", 1000)),
    Odd("clutter", FULL, "the submission is too large", spoil=_clutter),
    Odd("sparse", FULL, "the submission is too large", spoil=_many_sparse),
    Odd("bomb", FULL - 1, "takes more memory than there is", spoil=_write("second.ipynb", _BOMB)),
    Odd("tuple", FULL, "", first=_TUPLE),
    Odd("tuple-unnamed", FULL, "", spoil=_spoiled(lambda notebook: notebook["cells"].insert(
        0, {"cell_type": "code", "source": "0," * (2 * _MIB), "metadata": {}}))),
    Odd("huge-cell", FULL, "damaged or too large", spoil=_spoiled(lambda notebook: notebook["cells"].insert(
        0, {"cell_type": "markdown", "source": "\n" * (20 * _MIB), "metadata": {}}))),
    Odd("errors", FULL, "put out more than is kept", first=_SHOW_ERRORS),
    Odd("tables", FULL, "put out more than is kept", first=_SHOW_TABLES),
    Odd("many-tables", FULL, "put out more than is kept", spoil=_spoiled(lambda notebook: notebook["cells"].extend(
        [{"cell_type": "code", "source": _SHOW_TABLES, "metadata": {}}] * 8))),
    Odd("link", FULL, "'zero' is a link", spoil=lambda folder: (folder / "zero").symlink_to("/dev/zero")),
    Odd("time-link", FULL, "is a link", spoil=lambda folder: (folder / "timestamp.txt").symlink_to("/dev/zero")),
    Odd("pipe", FULL, "not a plain file", spoil=lambda folder: os.mkfifo(folder / "timestamp.txt")),
    Odd("folder-for-a-notebook", FULL - 1, "has something else of that name", spoil=_folder_for_a_file("second.ipynb")),
    Odd("far-time", FULL, "does not hold a time", spoil=_write("timestamp.txt", b"99999-01-01 00:00:00 UTC")),
    Odd("null-time", FULL, "does not hold a time", spoil=_write("timestamp.txt", b"\0" * 50)),
    Odd("name", FULL, "can't be written", spoil=lambda folder: (folder / os.fsdecode(b"\xff.txt")).touch()),
    Odd("surrogates", FULL, "", spoil=_spoiled(lambda notebook: notebook["cells"].append(
        {"cell_type": "markdown", "source": "x\ud800", "metadata": {"tags": ["\ud800"]},
         "attachments": {"\ud800": {"\ud800": "\ud800"}}}))),
    Odd("damaged-cells", FULL, "3 of its cells were left out", spoil=_spoiled(
        lambda notebook: notebook["cells"].extend([None, 3, ["x"]]))),
    Odd("strange-types", FULL, "", spoil=_spoiled(
        lambda notebook: notebook["cells"].append({"cell_type": ["code"], "source": 3, "metadata": 5, "id": {}}))),
    Odd("version", FULL, "", spoil=_spoiled(lambda notebook: notebook.update(nbformat=5, nbformat_minor="x"))),
    Odd("utf-16", FULL, "", spoil=lambda folder: (folder / "first.ipynb").write_text(
        (folder / "first.ipynb").read_text(), encoding="utf-16")),
    Odd("forged", FULL, "", first=_FORGED),
)  # fmt: skip


class Graded(NamedTuple):
    """The class after grading: course, lines by student, and the largest memory of the main process in bytes."""

    course: Course
    lines: dict[str, str]
    memory: int


def command(course: Course, *arguments: str) -> subprocess.Popen:
    """``python -m autograder grade`` in the course's folder."""
    write_config(course)
    words = [sys.executable, "-m", "autograder", "grade", ASSIGNMENT, *arguments]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "COLUMNS": "2000"}
    return subprocess.Popen(
        words, cwd=course.coursedir.root, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )


def _largest_memory(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@pytest.fixture(scope="module")
def graded(tmp_path_factory, cage) -> Iterator[Graded]:
    course = sample.new_course(tmp_path_factory.mktemp("bounded") / "course", **WARM)
    for name in ("aa-clean", "zz-clean"):
        sample.hand_in(course, name)
    for odd in ODD:
        odd.spoil(sample.hand_in(course, odd.name, first=odd.first))
    memory = 0
    with command(course, "--jobs", "2") as run:
        lines: list[str] = []
        reader = threading.Thread(target=lambda: lines.extend(run.stdout))
        reader.start()
        while run.poll() is None:
            with contextlib.suppress(OSError):
                memory = max(memory, _largest_memory(run.pid))
            time.sleep(0.05)
        reader.join()
    named = {line.split(":")[0]: line for line in lines if ": " in line}
    yield Graded(course, named, memory)
    folders.remove(Path(course.coursedir.root))


def test_everybody_has_a_line_and_a_grade(graded):
    for odd in ODD:
        line = graded.lines[odd.name]
        assert "no grade" not in line, line
        assert sample.points(graded.course, odd.name) == odd.points, line
        assert odd.says in line
        assert odd.says in sample.comments(graded.course, odd.name)


@pytest.mark.parametrize("name", ["aa-clean", "zz-clean"])
def test_neighbours_are_graded_as_ever(graded, name):
    assert sample.points(graded.course, name) == FULL
    assert sample.comments(graded.course, name) == ""


def test_main_process_stays_small(graded):
    assert 0 < graded.memory < 400 * _MIB


def test_graded_notebooks_stay_small(graded):
    sizes = [path.stat().st_size for path in Path(graded.course.coursedir.root, "autograded").rglob("*.ipynb")]
    assert len(sizes) == len(sample.NOTEBOOKS) * (len(ODD) + 2)
    assert max(sizes) < grading.MAX_NOTEBOOK_BYTES


def test_no_sentence_of_the_grader_can_be_forged(graded):
    line = graded.lines["forged"]
    assert "took longer" not in line and "more than is kept" not in line


# --- Random submissions ---------------------------------------------------------------------


def test_random_submissions_have_a_line_and_change_no_neighbours(tmp_path, cage):
    try:
        graded = folders.grade_random(tmp_path / "course", 40)
        assert folders.wrong(graded) == []
        assert graded.count >= 40
    finally:
        folders.remove(tmp_path / "course")


# --- Stopped and killed ---------------------------------------------------------------------

_ENDLESS = "import time\nprint('begun', flush=True)\nwhile True:\n    time.sleep(0.01)"


def _family(pid: int) -> list[psutil.Process]:
    """A process's descendants; waits until a student's code runs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        family = psutil.Process(pid).children(recursive=True)
        names = []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                names.append(process.name())
        if "student" in names:
            time.sleep(0.5)
            return psutil.Process(pid).children(recursive=True)
        time.sleep(0.05)
    raise AssertionError("no student's code has run")


def _running(family: list[psutil.Process], until: float) -> list[psutil.Process]:
    """Those that still run at a moment; nobody may have waited for those that have ended."""
    while True:
        alive = []
        for process in family:
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.status() != psutil.STATUS_ZOMBIE:
                    alive.append(process)
        if not alive or time.monotonic() > until:
            return alive
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_a_run_that_is_stopped_ends_at_once_and_leaves_nothing(tmp_path, cage, number):
    course = sample.new_course(tmp_path / "course", **WARM)
    for name in ("ada", "bob", "cleo"):
        sample.hand_in(course, name, first=_ENDLESS)
    with command(course, "--jobs", "2") as run:
        family = _family(run.pid)
        start = time.monotonic()
        run.send_signal(number)
        left = _running([psutil.Process(run.pid), *family], until=start + 2)
        said = run.communicate(timeout=30)[0]
    assert left == []
    assert ("Start the same command again" in said) == (number == signal.SIGINT)


def test_a_run_that_is_killed_while_it_warms_up_leaves_nothing(tmp_path, cage):
    course = sample.new_course(tmp_path / "course")
    sample.hand_in(course, "ada")
    with command(course) as run:
        while not (family := psutil.Process(run.pid).children(recursive=True)):
            time.sleep(0.01)
        time.sleep(0.3)
        run.kill()
    assert _running(family, until=time.monotonic() + 2) == []


# --- Handlers that die ----------------------------------------------------------------------


@contextlib.contextmanager
def _killing_handlers(every: float) -> Iterator[list[int]]:
    """Meanwhile, kill each handler of this process some time after it has begun."""
    killed: list[int] = []
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            for process in psutil.Process().children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if process.name() == "handler" and time.time() - process.create_time() > every:
                        process.kill()
                        killed.append(process.pid)
            stop.wait(0.05)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


def test_a_notebook_whose_handler_dies_each_time_is_left_to_a_person_and_the_others_are_graded(tmp_path, cage):
    course = sample.new_course(tmp_path / "course", **WARM)
    sample.hand_in(course, "ada", first=_ENDLESS)
    with _killing_handlers(every=3.0) as killed:
        summary = grade_class(course, ASSIGNMENT, jobs=1)
    assert len(killed) == ATTEMPTS
    assert summary.failed == {}
    points, _, _, trouble = summary.graded["ada"]
    assert points == 1  # of the second notebook
    assert trouble == [f"first: it couldn't be graded by its tests: its process died {ATTEMPTS} times"]
    assert sample.scores(course, "ada")["test-scale"] is None
    assert trouble[0].removeprefix("first: ") in sample.comments(course, "ada")


def test_a_submission_that_cannot_be_read_is_left_to_a_person(tmp_path, cage):
    course = sample.new_course(tmp_path / "course", **WARM)
    sample.hand_in(course, "ada")
    assignment, settings = course.load(ASSIGNMENT), CagedExecute(parent=course.app).settings()
    handlers = Handlers(Zygote(("numpy",)))
    try:
        target = str(tmp_path / "graded")
        bad = Job(assignment, replace(settings, isolation="cage"), trial(), str(tmp_path), folder=5, target=target)
        graded = handlers.grade(bad)
    finally:
        handlers.stop()
    assert "couldn't be graded by its tests: TypeError" in graded.sentences()[0]
    assert all(score is None for scores in graded.scores.values() for score in scores.values())
    assert sorted(os.listdir(target)) == ["first.ipynb", "second.ipynb"]


# --- nbgrader's own command -----------------------------------------------------------------


def test_nbgraders_command_follows_no_link_of_a_student(tmp_path, cage):
    course = sample.new_course(tmp_path / "course", **WARM)
    folder = sample.hand_in(course, "ada")
    for name in ("zero", "timestamp.txt"):
        (folder / name).symlink_to("/dev/zero")
    folders.nest(folder / "nest", 1000)
    try:
        autograde(course, "ada")
        assert sample.points(course, "ada") == FULL
        assert "'zero' is a link and was left out" in sample.comments(course, "ada")
    finally:
        folders.remove(folder)
