"""A class of attackers, with a clean neighbour after every few, graded by the workers as any class is."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
import statistics
import string
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbformat.notebooknode import NotebookNode
from nbgrader.utils import determine_grade

from autograder import run, submission
from autograder.cage import CageUnavailable, Limits
from autograder.settings import Settings
from autograder.zygote import trial
from tests.attacks import flooding, forging, looking, notebooks, reaching, sample
from tests.attacks.suite import HONEST, Attack

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ATTACKS = [*looking.ATTACKS, *forging.ATTACKS, *reaching.ATTACKS, *flooding.ATTACKS, *notebooks.ATTACKS]
NAMES = [attack.name for attack in ATTACKS]
NEIGHBOURS = range(0, len(ATTACKS), 4)
SECRET = "a-password-of-the-instructor"
#: Not the real one, in which Python's installation may lie: its folders have names in the cage.
HOME = "/home/of-the-instructor"
LIMITS = Limits(
    memory=1024 * 2**20, scratch=64 * 2**20, cell_seconds=5, patience=4, grace_seconds=2, notebook_seconds=90
)

try:
    trial()
except CageUnavailable as error:
    pytest.skip(f"no cage on this machine: {error}", allow_module_level=True)


class World:
    """What lies outside the cage, as attacks' sources name it, and whether it has been reached.

    ``$COURSE`` (folder), ``$CANARY`` (a file), ``$PID`` (a process), ``$PORT`` and ``$ADDRESS``
    (TCP and UDP servers), ``$SOCKET``, ``$ABSTRACT`` and ``$DATAGRAMS`` (Unix sockets), ``$SECRET`` (a value in
    the environment), ``$HOME_OF_THE_INSTRUCTOR`` (a folder that the environment names).
    """

    def __init__(self, folder: Path) -> None:
        self.canary = folder / "canary"
        self.canary.write_text("untouched")
        self.canary.chmod(0o666)
        self.process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(3600)"], start_new_session=True)
        self.received: list[bytes] = []
        path, datagrams, abstract = str(folder / "socket"), str(folder / "datagrams"), f"attacks-{uuid.uuid4()}"
        self.servers = [socket.socket(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM)]
        self.servers[0].bind(("0.0.0.0", 0))
        port = self.servers[0].getsockname()[1]
        self.servers[1].bind(("0.0.0.0", port))
        for address in (path, "\0" + abstract):
            self.servers.append(socket.socket(socket.AF_UNIX))
            self.servers[-1].bind(address)
        self.servers.append(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        self.servers[-1].bind(datagrams)
        for name in (path, datagrams):
            os.chmod(name, 0o777)
        for server in self.servers:
            threading.Thread(target=self._serve, args=(server,), daemon=True).start()
        try:
            own = socket.gethostbyname(socket.gethostname())
        except OSError:
            own = "127.0.0.1"
        self.names = {
            "COURSE": str(folder), "CANARY": str(self.canary), "PID": str(self.process.pid), "PORT": str(port),
            "ADDRESS": own, "SOCKET": path, "ABSTRACT": abstract, "SECRET": SECRET,
            "DATAGRAMS": datagrams, "HOME_OF_THE_INSTRUCTOR": HOME,
        }  # fmt: skip

    def _serve(self, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if server.type == socket.SOCK_DGRAM:
                while True:
                    self.received.append(server.recv(100))
            server.listen()
            while True:
                connection, _ = server.accept()
                with connection:
                    self.received.append(connection.recv(100) or b"connected")

    def fill(self, source: str) -> str:
        """The source of an attack, with the names replaced."""
        return string.Template(source).safe_substitute(self.names)

    def close(self) -> None:
        for server in self.servers:
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
        self.process.kill()
        self.process.wait()


def hand_in(course: run.Course, student: str, attack: Attack, world: World) -> Path:
    """Put an attack into the course."""
    answers = {name: world.fill(source) for name, source in attack.answers.items()}
    folder = sample.hand_in(course, student, answers, first=attack.first and world.fill(attack.first))
    for name, content in attack.files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(world.fill(content))
    if attack.alter:
        notebook = nbformat.read(folder / "first.ipynb", as_version=4)
        attack.alter(notebook, folder, world.names)
        (folder / "first.ipynb").write_text(nbformat.writes(notebook))
    return folder


@dataclass
class Class:
    """The class after it has been graded."""

    course: run.Course
    summary: run.Summary
    world: World
    handed_in: dict[str, bytes]


def submitted_files(course: run.Course) -> dict[str, bytes]:
    root = Path(course.coursedir.root) / "submitted"
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*"))
            if path.is_file() and not path.is_symlink()}  # fmt: skip


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("course")
    for outer in (folder, *folder.parents[:2]):  # so that only the cage keeps a student out
        outer.chmod(0o755)
    world = World(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INSTRUCTORS_PASSWORD", SECRET)
        patch.setenv("HOME", HOME)
        yield world
    world.close()


@pytest.fixture(scope="module")
def graded(world) -> Class:
    """The class, graded by two workers."""
    course = sample.new_course(Path(world.names["COURSE"]))
    for number, attack in enumerate(ATTACKS):
        hand_in(course, f"{number:03}-attack", attack, world)
        if number in NEIGHBOURS:
            sample.hand_in(course, f"{number:03}-neighbour")
    before = submitted_files(course)
    summary = run.grade_class(course, sample.ASSIGNMENT, jobs=2, settings=Settings(limits=LIMITS))
    return Class(course, summary, world, before)


def texts(output: NotebookNode) -> str:
    """All that an output shows."""
    return " ".join([str(output.get("text", "")), str(output.get("evalue", "")), str(output.get("traceback", "")),
                     str(output.get("data", ""))])  # fmt: skip


def shown_by(notebook: NotebookNode) -> str:
    """What a student's own code has displayed: all outputs of their cells, and text in the tests' cells."""
    parts = []
    for cell in notebook.cells:
        test = cell.metadata.get("nbgrader", {}).get("grade_id", "").startswith("test-")
        for output in cell.get("outputs", []):
            if not test or output.output_type == "stream":
                parts.append(texts(output))
    return "\n".join(parts)


def test_suite_is_large_and_its_names_are_distinct():
    assert len(ATTACKS) >= 40
    assert len(set(NAMES)) == len(NAMES)


@pytest.mark.parametrize("number", range(len(ATTACKS)), ids=NAMES)
def test_attack_fails(graded, number):
    attack, student = ATTACKS[number], f"{number:03}-attack"
    scores = sample.scores(graded.course, student)
    got, most = {name: scores[name] for name in HONEST}, {**HONEST, **attack.honest}
    # What is near a bound may cost its own author more on a busy machine, and then that is named.
    assert all(got[name] <= most[name] for name in most), got
    assert got == most or graded.summary.graded[student][3], got
    shown = "".join(shown_by(sample.graded_notebook(graded.course, student, name)) for name in sample.NOTEBOOKS)
    assert "BREACH" not in shown, shown[shown.index("BREACH") :][:500]
    assert sample.SENTINEL not in shown
    assert SECRET not in shown
    assert not re.search(r"<script|<iframe|<svg|javascript:|\bon[a-z]+=", shown)
    if attack.trouble:
        assert attack.trouble in "; ".join(graded.summary.graded[student][3])


@pytest.mark.parametrize("number", NEIGHBOURS, ids=[NAMES[number] for number in NEIGHBOURS])
def test_neighbour_is_graded_as_ever(graded, number):
    student = f"{number:03}-neighbour"
    assert sample.points(graded.course, student) == sample.FULL
    assert graded.summary.graded[student][3] == []


def test_nothing_outside_was_reached(graded):
    assert graded.summary.failed == {}
    assert graded.world.canary.read_text() == "untouched"
    assert not Path(f"{graded.world.canary}-kernel").exists()
    assert graded.world.received == []
    assert graded.world.process.poll() is None
    assert submitted_files(graded.course) == graded.handed_in


def test_nothing_is_left_behind(graded):
    names = []
    for path in Path("/proc").glob("[0-9]*/comm"):
        with contextlib.suppress(OSError):
            names.append(path.read_text().strip())
    assert "left-behind" not in names


#: Those that use up what neighbours need: processors, memory, processes, files, the grader's attention.
GREEDY = (
    "busy-children", "busy-unseen", "fork-bomb", "threads", "memory", "memory-in-children", "memory-below-the-base",
    "sockets", "disk-full", "output", "displays", "swallow",
)  # fmt: skip


def test_greedy_neighbours_cost_an_honest_one_neither_points_nor_time(tmp_path):
    """Twelve of each on two workers; the time of the honest ones is compared with theirs in a class of their own."""
    tmp_path.chmod(0o755)
    limits = dataclasses.replace(LIMITS, cell_seconds=2, patience=2, grace_seconds=0.5)
    greedy = [ATTACKS[NAMES.index(name)] for name in GREEDY]
    times = {}
    for kind, attacks in (("alone", []), ("beside", greedy)):
        folder = tmp_path / kind
        course = sample.new_course(folder)
        world = World(folder)
        try:
            for number in range(len(GREEDY)):
                sample.hand_in(course, f"{number:02}-honest")
            for number, attack in enumerate(attacks):
                hand_in(course, f"{number:02}-greedy", attack, world)
            summary = run.grade_class(course, sample.ASSIGNMENT, jobs=2, settings=Settings(limits=limits))
        finally:
            world.close()
        honest = [f"{number:02}-honest" for number in range(len(GREEDY))]
        assert {sample.points(course, student) for student in honest} == {sample.FULL}
        assert [summary.graded[student][3] for student in honest] == [[]] * len(honest)
        times[kind] = statistics.median(summary.graded[student][2] for student in honest)
    # The clock of a machine that others use too is no exact measure; sixty busy children made it twelve times as long.
    assert times["beside"] < 1.5 * times["alone"] + 0.5, times


def outcome_in_an_ordinary_kernel(course: run.Course, attack: Attack, world: World) -> tuple[dict, str]:
    """Points by test, and what was shown, where one kernel runs a notebook, tests and all, as stock nbgrader does."""
    folder = hand_in(course, f"stock-{attack.name}", attack, world)
    assignment = course.load(sample.ASSIGNMENT)
    points, shown = {}, ""
    for name in ("second",) if "total" in attack.answers else ("first",):
        notebook, _ = submission.read_notebook((folder / f"{name}.ipynb").read_bytes())
        submission.restore(notebook, assignment.notebooks[name])
        NotebookClient(notebook, timeout=60, allow_errors=True, resources={"metadata": {"path": str(folder)}}).execute()
        for cell in notebook.cells:
            if cell.metadata.get("nbgrader", {}).get("grade_id") in HONEST:
                points[cell.metadata.nbgrader.grade_id] = determine_grade(cell)[0]
        shown += "".join(texts(output) for cell in notebook.cells for output in cell.get("outputs", []))
    return points, shown


@pytest.fixture(scope="module")
def unprotected(tmp_path_factory) -> Iterator[tuple[run.Course, World]]:
    folder = tmp_path_factory.mktemp("unprotected")
    world = World(folder)
    yield sample.new_course(folder), world
    world.close()


@pytest.mark.parametrize("attack", [attack for attack in ATTACKS if attack.stock], ids=lambda attack: attack.name)
def test_attack_works_where_nothing_keeps_it_from_it(unprotected, attack):
    """Else its failure above would prove nothing."""
    course, world = unprotected
    points, shown = outcome_in_an_ordinary_kernel(course, attack, world)
    if attack.stock == "points":
        honest = {**HONEST, **attack.honest}
        assert sum(points.values()) > sum(honest[name] for name in points)
    else:
        assert {"loot": sample.SENTINEL, "breach": "BREACH"}[attack.stock] in shown
