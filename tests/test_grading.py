"""Grading a class: resumed after a kill, on workers that are killed, on a cluster, by nbgrader's own command."""

from __future__ import annotations

import ast
import contextlib
import glob
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import filelock
import nbformat
import psutil
import pytest
from nbgrader.api import Gradebook
from rich.console import Console

from autograder.__main__ import main
from autograder.plugins import GradeInCage
from autograder.run import AlreadyRunning, Course, grade_class
from tests.attacks import sample
from tests.attacks.sample import ASSIGNMENT, FULL, MOST
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.alone]

#: The small course's notebooks import nothing else, so that workers start at once.
WARM = {"CagedExecute": {"warm": ["numpy"]}}
#: A class whose grades differ: student -> (answers, points).
WRONG_SCALE = {"scale": "def scale(x, factor):\n    return x + factor"}
WRONG_TOTAL = {"total": "def total(x):\n    return 0.0"}
KINDS = (({}, FULL), (WRONG_SCALE, FULL - 2), (WRONG_TOTAL, FULL - 1), (WRONG_SCALE | WRONG_TOTAL, FULL - 3))


def write_config(course: Course) -> None:
    """Write an ``nbgrader_config.py`` for commands that are run in the course's folder."""
    root = course.coursedir.root
    lines = [f"c.CourseDirectory.root = {root!r}", "c.CourseDirectory.course_id = 'sample'"]
    lines += ["c.CagedExecute.warm = ['numpy']"]
    Path(root, "nbgrader_config.py").write_text("\n".join(["c = get_config()", *lines]))


def hand_in_class(course: Course, count: int) -> dict[str, float]:
    """``count`` submissions; student -> the points that they should get."""
    expected = {}
    for number in range(count):
        answers, points = KINDS[number % len(KINDS)]
        sample.hand_in(course, f"student{number:03}", answers)
        expected[f"student{number:03}"] = points
    return expected


def grades(course: Course) -> dict[str, float]:
    """Everyone's automatic points in the gradebook."""
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        students = [submission.student.id for submission in gradebook.assignment_submissions(ASSIGNMENT)]
    return {student: sample.points(course, student) for student in students}


def graded_folders(course: Course) -> set[str]:
    """The students whose graded folder is in its place."""
    return {Path(path).parent.name for path in glob.glob(f"{course.coursedir.root}/autograded/*/{ASSIGNMENT}")}


def autograde(course: Course, student: str, *, force: bool = False) -> None:
    """``nbgrader autograde --student``."""
    course.coursedir.assignment_id, course.coursedir.student_id = ASSIGNMENT, student
    converter = GradeInCage(coursedir=course.coursedir, parent=course.app)
    converter.force = force
    converter.start()


@contextlib.contextmanager
def killing(find: Callable[[], list[psutil.Process]], *, times: int, every: float) -> Iterator[list[int]]:
    """Meanwhile, kill one of the processes that ``find`` finds, again and again; yields the ids of the killed."""
    killed: list[int] = []
    stop = threading.Event()
    rng = random.Random(5)

    def work() -> None:
        while len(killed) < times and not stop.wait(every):
            with contextlib.suppress(psutil.NoSuchProcess):
                if found := find():
                    victim = rng.choice(found)
                    victim.kill()
                    killed.append(victim.pid)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield killed
    finally:
        stop.set()
        thread.join()


def graders() -> list[psutil.Process]:
    """The processes that grade for this one, but for those whose end is the student's doing."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.name() in ("handler", "zygote"):
                found.append(process)
    return found


@pytest.fixture
def course(tmp_path, cage) -> Course:
    return sample.new_course(tmp_path / "course", **WARM)


# --- What is graded, and what is left alone -----------------------------------------------


def test_only_changed_submissions_are_graded_again(course):
    folders = {name: sample.hand_in(course, name) for name in ("ada", "bob")}
    assert set(grade_class(course, ASSIGNMENT, jobs=1).graded) == {"ada", "bob"}
    assert grade_class(course, ASSIGNMENT, jobs=1).skipped == ["ada", "bob"]

    notebook = sample.answered(course, "first", WRONG_SCALE)
    stamp = (folders["bob"] / "first.ipynb").stat().st_mtime
    nbformat.write(notebook, folders["bob"] / "first.ipynb")
    os.utime(folders["bob"] / "first.ipynb", (stamp, stamp))  # as copied with its time
    again = grade_class(course, ASSIGNMENT, jobs=1, accept_lower=True)
    assert (list(again.graded), again.skipped) == (["bob"], ["ada"])
    assert grades(course) == {"ada": FULL, "bob": FULL - 2}

    forced = grade_class(course, ASSIGNMENT, jobs=1, students="a*", force=True)
    assert (list(forced.graded), forced.skipped) == (["ada"], [])


def test_manual_grades_survive_and_are_marked_for_review(course):
    sample.hand_in(course, "ada")
    grade_class(course, ASSIGNMENT, jobs=1)
    where = ("essay", "first", ASSIGNMENT, "ada")
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        grade = gradebook.find_grade(*where)
        grade.manual_score, grade.needs_manual_grade = 1.5, False
        gradebook.db.commit()
    summary = grade_class(course, ASSIGNMENT, jobs=1, force=True)
    assert summary.graded["ada"][:2] == (FULL + 1.5, MOST)
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        grade = gradebook.find_grade(*where)
        assert (grade.manual_score, grade.needs_manual_grade) == (1.5, True)


def test_late_submissions_are_penalised(tmp_path, cage):
    course = sample.new_course(tmp_path / "course", LateSubmissionPlugin={"penalty_method": "zero"}, **WARM)
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.update_or_create_assignment(ASSIGNMENT, duedate="2030-01-01 12:00:00 UTC")
    for student, stamp in (("early", "2030-01-01 11:59:59 UTC"), ("late", "2030-01-01 12:00:01 UTC")):
        (sample.hand_in(course, student) / "timestamp.txt").write_text(stamp)
    grade_class(course, ASSIGNMENT, jobs=1)
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        found = {name: gradebook.find_submission(ASSIGNMENT, name) for name in ("early", "late")}
        assert {name: (one.score, one.late_submission_penalty) for name, one in found.items()} == {
            "early": (FULL, 0.0),
            "late": (FULL, FULL),
        }


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="there is one processor")
def test_each_worker_keeps_to_processors_of_its_own(course):
    processors = os.sched_getaffinity(0)
    for student in ("ada", "bob"):
        sample.hand_in(course, student, first="import os\nprint(sorted(os.sched_getaffinity(0)))")
    grade_class(course, ASSIGNMENT, jobs=2)
    for student in ("ada", "bob"):
        cells = sample.graded_notebook(course, student).cells
        shown = next(cell.outputs[0].text for cell in cells if cell.source.startswith("import os"))
        assert set(ast.literal_eval(shown)) < processors


def test_two_runs_at_once_are_refused(course):
    sample.hand_in(course, "ada")
    folder = Path(course.coursedir.root) / "autograded"
    folder.mkdir()
    with filelock.FileLock(folder / ".grading.lock"), pytest.raises(AlreadyRunning, match="Another run"):
        grade_class(course, ASSIGNMENT, jobs=1)


# --- nbgrader's own command ---------------------------------------------------------------


def test_nbgrader_autograde_gives_the_same_grades(tmp_path, cage):
    courses = [sample.new_course(tmp_path / name, **WARM) for name in ("ours", "nbgraders")]
    for course in courses:
        sample.hand_in(course, "right")
        sample.hand_in(course, "wrong", WRONG_SCALE)
        sample.hand_in(course, "exits", {"mean-rows": "import os\ndef mean_rows(X):\n    os._exit(0)"})
        (sample.hand_in(course, "no-json") / "second.ipynb").write_text("{oh")
        (sample.hand_in(course, "missing") / "first.ipynb").unlink()
        altered = sample.answered(course, "first", WRONG_SCALE)
        for cell in altered.cells:
            if cell.id == "test-scale":
                cell.source = "pass"
        sample.hand_in(course, "altered", notebooks={"first": altered})
        secret = tmp_path / "secret"
        secret.write_text("not the student's")
        (sample.hand_in(course, "links") / "data.txt").symlink_to(secret)
        (sample.hand_in(course, "page") / "appendix.html").write_text("<script>alert(1)</script>")
    ours, nbgraders = courses
    grade_class(ours, ASSIGNMENT, jobs=2)
    students = ("right", "wrong", "exits", "no-json", "missing", "altered", "links", "page")
    for student in students:
        autograde(nbgraders, student)
        assert sample.scores(nbgraders, student) == sample.scores(ours, student), student
        assert sample.comments(nbgraders, student) == sample.comments(ours, student), student
    assert "the file is not a notebook" in sample.comments(nbgraders, "no-json")
    for course in courses:
        graded = Path(course.coursedir.root) / "autograded"
        assert not (graded / "links" / ASSIGNMENT / "data.txt").exists()
        names = {path.name for path in (graded / "page" / ASSIGNMENT).iterdir()}
        assert names == {"first.ipynb", "second.ipynb", "appendix.html.txt"}
    assert grade_class(nbgraders, ASSIGNMENT, jobs=1).graded == {}  # we go on where nbgrader was


# --- Killed -------------------------------------------------------------------------------


def test_a_killed_run_goes_on_where_it_was(course, tmp_path):
    expected = hand_in_class(course, 12)
    root = Path(course.coursedir.root)
    write_config(course)
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(temporary)}
    command = [sys.executable, "-m", "autograder", "grade", ASSIGNMENT, "--jobs", "2"]
    before: set[str] = set()
    for more in (0, 1, 4):
        with subprocess.Popen(command, cwd=root, env=environment, stdout=subprocess.DEVNULL) as run:
            deadline = time.monotonic() + 300
            while len(graded_folders(course)) < len(before) + more or (more == 0 and not os.listdir(temporary)):
                assert time.monotonic() < deadline, "nothing was graded"
                assert run.poll() is None, "the run ended by itself"
                time.sleep(0.02)
            family = psutil.Process(run.pid).children(recursive=True)
            run.send_signal(signal.SIGKILL)
        gone, alive = psutil.wait_procs(family, timeout=60)
        assert family == [] or gone
        assert alive == []
        now = graded_folders(course)
        assert before <= now
        # What stands in its place is whole.
        assert {student: grades(course)[student] for student in now} == {student: expected[student] for student in now}
        before = now
    stamps = {student: (root / "autograded" / student / ASSIGNMENT).stat().st_ino for student in before}
    done = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    assert f"{len(expected) - len(before)} graded in" in done.stdout
    assert f"{len(before)} graded before" in done.stdout
    assert grades(course) == expected
    assert graded_folders(course) == set(expected)
    assert stamps == {student: (root / "autograded" / student / ASSIGNMENT).stat().st_ino for student in before}
    assert glob.glob(str(root / "autograded" / "*" / ".*.partial")) == []
    assert os.listdir(temporary) == []


def test_killed_processes_lose_no_grade(course):
    expected = hand_in_class(course, 30)
    with killing(graders, times=6, every=0.8) as killed:
        summary = grade_class(course, ASSIGNMENT, jobs=2)
    assert killed
    assert summary.failed == {}
    assert grades(course) == expected


def test_a_dask_cluster_loses_a_worker_and_no_grade(course):
    from distributed import LocalCluster

    expected = hand_in_class(course, 24)
    with LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster:

        def workers() -> list[psutil.Process]:
            begun = len(graded_folders(course)) > 2
            return [psutil.Process(nanny.pid) for nanny in cluster.workers.values() if nanny.pid] if begun else []

        with killing(workers, times=1, every=0.1) as killed:
            summary = grade_class(course, ASSIGNMENT, scheduler=cluster.scheduler_address)
    assert len(killed) == 1
    assert summary.failed == {}
    assert grades(course) == expected


# --- Databases ----------------------------------------------------------------------------


@pytest.fixture
def postgresql() -> Iterator[str]:
    """The URL of an empty database on a server of our own."""
    pytest.importorskip("psycopg", reason="psycopg is not installed")
    found = [shutil.which("initdb"), *sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))]
    programs = next((Path(path).parent for path in found if path), None)
    if programs is None:
        pytest.skip("no PostgreSQL server is installed")
    # It refuses root.
    user = {"user": "postgres"} if os.getuid() == 0 else {}
    folder = tempfile.mkdtemp(prefix="postgresql-")
    data = f"{folder}/data"
    if user:
        shutil.chown(folder, **user)

    def run(name: str, *arguments: str) -> None:
        command = [str(programs / name), *arguments]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120, **user)

    try:
        run("initdb", "-D", data, "-A", "trust", "-U", "grader")
        run("pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", f"-c listen_addresses='' -k {folder}", "start")
        try:
            yield f"postgresql://grader@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)


def test_grades_into_postgresql(tmp_path, cage, postgresql):
    course = sample.new_course(tmp_path / "course", **WARM)
    course.coursedir.db_url = postgresql
    sample.generate(course)
    expected = hand_in_class(course, 8)
    assert grade_class(course, ASSIGNMENT, jobs=2).failed == {}
    assert grades(course) == expected
    assert set(grade_class(course, ASSIGNMENT, jobs=2).skipped) == set(expected)


# --- The command --------------------------------------------------------------------------


def run_main(course: Course, monkeypatch, *arguments: str) -> int:
    root = Path(course.coursedir.root)
    write_config(course)
    monkeypatch.chdir(root)
    return main(["grade", *arguments])


def test_command_says_what_to_do_where_nothing_can_be_graded(course, monkeypatch, capsys):
    assert run_main(course, monkeypatch, ASSIGNMENT) == 2
    assert "Collect submissions with nbgrader collect sample" in capsys.readouterr().out
    assert run_main(course, monkeypatch, "other") == 2
    assert "nbgrader generate_assignment other" in capsys.readouterr().out
    sample.hand_in(course, "ada")
    assert run_main(course, monkeypatch, ASSIGNMENT, "--scheduler", "tcp://127.0.0.1:9") == 2
    assert "No Dask scheduler answers at tcp://127.0.0.1:9" in capsys.readouterr().out
    (Path(course.coursedir.root) / "gradebook.db").unlink()
    assert run_main(course, monkeypatch, ASSIGNMENT) == 2
    assert "There is no gradebook" in capsys.readouterr().out
    assert not (Path(course.coursedir.root) / "gradebook.db").exists()


def test_command_prints_a_line_for_each_student_and_a_sum(course, monkeypatch, capsys):
    sample.hand_in(course, "ada")
    sample.hand_in(course, "bob", WRONG_SCALE)
    assert run_main(course, monkeypatch, ASSIGNMENT, "--jobs", "1", "--isolation", "none") == 0
    out = capsys.readouterr().out
    assert "ada: 8 of 10 points, 2 of them to be graded by hand" in out
    assert "bob: 6 of 10 points, 2 of them to be graded by hand" in out
    assert "graded without isolation" in out
    assert "2 graded in" in out
    assert sample.graded_notebook(course, "ada").metadata.autograder.isolation == "none"


def test_without_a_cage_nothing_is_graded(course, monkeypatch, capsys):
    from autograder import workers
    from autograder.cage import CageUnavailable

    def no_cage() -> dict:
        raise CageUnavailable("Namespaces can't be used here.")

    monkeypatch.setattr(workers, "trial", no_cage)
    sample.hand_in(course, "ada")
    assert run_main(course, monkeypatch, ASSIGNMENT) == 2
    out = capsys.readouterr().out
    assert "Nothing was graded. Namespaces can't be used here." in out
    assert "--isolation none" in out
    assert graded_folders(course) == set()


def test_an_error_of_the_grader_costs_one_grade_and_not_the_run(course, monkeypatch):
    from autograder.gradebook import Writer

    write = Writer.write

    def failing(self, student, graded):
        if student == "bob":
            raise TypeError("a mistake of ours")
        return write(self, student, graded)

    for student in ("ada", "bob", "cleo"):
        sample.hand_in(course, student)
    monkeypatch.setattr(Writer, "write", failing)
    summary = grade_class(course, ASSIGNMENT, jobs=1, console=Console(quiet=True))
    assert set(summary.graded) == {"ada", "cleo"}
    assert summary.failed == {"bob": "the grader itself failed (TypeError: a mistake of ours)"}
    monkeypatch.undo()
    assert list(grade_class(course, ASSIGNMENT, jobs=1).graded) == ["bob"]
