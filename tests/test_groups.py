"""Control groups: that the kernel alone holds a cage to its limits, for root and for ordinary users, and what is left.

Where systemd gives none, these tests are skipped, but for those of that case.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from autograder import groups
from autograder.accounting import Tree
from autograder.cage import WAY, CageUnavailable
from autograder.session import Grader
from autograder.zygote import trial
from tests.attacks.ways import MODES
from tests.conftest import REPOSITORY
from tests.test_session import HOARDS, LIMITS, check, error, passed, student, text

pytestmark = [pytest.mark.slow, pytest.mark.alone]
with_groups = pytest.mark.skipif(
    "control groups" not in trial()["layers"], reason="systemd gives this user no control groups here"
)


def told(code: str, *prefix: str, **environment: str) -> object:
    """What a program, started behind ``prefix``, bound to ``saw``."""
    program = f"import json, os, sys\nsys.path[:0] = [{str(REPOSITORY)!r}]\nfrom autograder import groups\n"
    program += f"{textwrap.dedent(code)}\nprint(json.dumps(saw))"
    done = subprocess.run([*prefix, sys.executable, "-c", program], capture_output=True, text=True, timeout=300,
                          env=os.environ | environment)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


#: Puts a process into a group and lets it run ``act``.
_IN_A_GROUP = """
import time
parent = groups.prepare()
out, into = os.pipe()
child = os.fork()
if child == 0:
    os.read(out, 1)
{act}
    os._exit(0)
group = groups.Group(parent, child, memory=64 * 2**20, processes=8)
os.write(into, b"1")
status = os.waitpid(child, 0)[1]
saw = [status, group.ran_out_of_memory()]
group.close()
saw += [name for name in os.listdir(parent) if name.startswith("cage-")]
"""
ACTS = {
    "a-process": "bytearray(b'x') * (200 * 2**20)",
    "children": (
        "for _ in range(6):\n    if os.fork() == 0:\n        hoard = bytearray(b'x') * (30 * 2**20)\n"
        "        time.sleep(600)\ntime.sleep(600)"
    ),
    "shared-memory": "import mmap\nmmap.mmap(-1, 200 * 2**20).write(b'x' * (200 * 2**20))",
    "file-in-memory": "number = os.memfd_create('x')\nwhile True:\n    os.write(number, bytes(2**20))",
}


@with_groups
@pytest.mark.parametrize("name", ACTS)
def test_kernel_ends_all_of_a_group_that_takes_too_much(name):
    act = textwrap.indent(ACTS[name], " " * 4)
    assert told(_IN_A_GROUP.format(act=act), *groups.scope()) == [9, True]


@with_groups
def test_what_stays_below_the_limit_is_left_alone():
    act = "    hoard = bytearray(b'x') * (40 * 2**20)\n"
    assert told(_IN_A_GROUP.format(act=act), *groups.scope()) == [0, False]


@with_groups
def test_processes_of_a_group_are_counted():
    act = """
    started = 0
    try:
        while started < 100:
            if os.fork() == 0:
                time.sleep(600)
            started += 1
    except BlockingIOError:
        os._exit(started)
    """
    assert told(_IN_A_GROUP.format(act=act), *groups.scope()) == [7 << 8, False]


#: In the other one, a process comes to its own bound before that.
HOARDS_BEYOND_ALL_BOUNDS = sorted(HOARDS.keys() - {"a-program-that-can-not-be-looked-at"})


@with_groups
@pytest.mark.parametrize("name", HOARDS_BEYOND_ALL_BOUNDS)
@pytest.mark.parametrize("way", MODES)
def test_group_alone_bounds_the_memory_of_a_cage(name, way, monkeypatch):
    """What takes too much ends with the same sentence as where our own watch sees it, which is blind here."""
    monkeypatch.setenv(WAY, way)
    monkeypatch.setattr(Tree, "exceeds", lambda tree, memory: False)
    limits = dataclasses.replace(LIMITS, memory=256 * 2**20, scratch=16 * 2**20, cell_seconds=60)
    try:
        grader = Grader(limits=limits, warm=["numpy"])
    except CageUnavailable as reason:
        pytest.skip(str(reason))
    with grader:
        assert "control groups" in grader.layers
        ran = grader.run([*student(HOARDS[name], "x = 1"), check("assert x == 1")], {})
        left = [entry for entry in os.listdir(grader.zygote.groups) if entry.startswith("cage-")]
    assert ran.trouble == ["cell cell-0 took more than 256 MiB of memory and was ended"]
    assert passed(ran), error(ran)
    assert left == []


@with_groups
@pytest.mark.parametrize("way", MODES)
def test_student_can_not_touch_the_group(way, monkeypatch):
    monkeypatch.setenv(WAY, way)
    try:
        grader = Grader(limits=LIMITS, warm=["numpy"])
    except CageUnavailable as reason:
        pytest.skip(str(reason))
    with grader:
        parent = grader.zygote.groups
        source = f"""
            import glob, os
            for folder in [{parent!r}, {parent!r} + "/grader", *glob.glob({parent!r} + "/*"), "/sys/fs/cgroup"]:
                for name in ("cgroup.procs", "memory.max", "cgroup.kill"):
                    for how in (os.O_RDONLY, os.O_WRONLY):
                        try:
                            os.open(f"{{folder}}/{{name}}", how)
                            print(folder, name)
                        except OSError:
                            pass
            try:
                os.mkdir({parent!r} + "/own")
            except OSError:
                print("closed")
        """
        ran = grader.run(student(textwrap.dedent(source)), {})
        assert text(ran, 1) == "closed\n"
        assert ran.trouble == []
    deadline = time.monotonic() + 30
    while Path(parent).exists():  # systemd removes it, with whatever is in it
        assert time.monotonic() < deadline
        time.sleep(0.1)


@with_groups
def test_bound_on_the_grader_itself_is_kept():
    """A scope of its own would lead out of it."""
    bounded = [word for word in groups.scope() if not word.startswith("--unit=")]
    bounded.insert(bounded.index("--scope"), "--property=MemoryMax=8G")
    assert told("saw = groups.scope()", *bounded) == []


def test_where_no_manager_answers_there_are_no_groups(tmp_path):
    assert told("saw = groups.scope()", PATH=str(tmp_path)) == []
    if os.getuid() != 0:
        nowhere = {"XDG_RUNTIME_DIR": str(tmp_path), "DBUS_SESSION_BUS_ADDRESS": f"unix:path={tmp_path}/bus"}
        assert told("saw = groups.scope()", **nowhere) == []


def test_process_that_is_in_no_scope_of_ours_stays_where_it_is():
    code = """
    from pathlib import Path
    before = Path("/proc/self/cgroup").read_text()
    saw = [groups.prepare(), groups.hold(), Path("/proc/self/cgroup").read_text() == before]
    """
    assert told(code) == ["", False, True]
