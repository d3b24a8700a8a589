"""Notebooks run by cells: what is kept, what is ended, and what goes on afterwards."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from autograder.accounting import memory_of
from autograder.cage import WAY, CageUnavailable, Limits
from autograder.session import Cell, Grader, Ran
from autograder.zygote import trial
from tests.attacks.ways import BECOME, MODES, ORDINARY, USERS
from tests.conftest import REPOSITORY
from tests.fairness import RIGHT, WRONG

pytestmark = [pytest.mark.slow, pytest.mark.alone]

try:
    trial()
except CageUnavailable as error:
    pytest.skip(f"no cage on this machine: {error}", allow_module_level=True)

#: On a machine that is busy, much time may pass on the clock.
LIMITS = Limits(memory=512 * 2**20, cell_seconds=5, patience=20, grace_seconds=1, notebook_seconds=120)
SETUP = Cell("setup", "import numpy as np", "both", order=0)


@pytest.fixture(scope="module")
def grader():
    with Grader(limits=LIMITS) as grader:
        yield grader


def student(*sources: str) -> list[Cell]:
    return [SETUP, *(Cell(f"cell-{number}", source, "cage") for number, source in enumerate(sources))]


def check(source: str, points: float = 1.0) -> Cell:
    return Cell("test", source, "grader", points)


def passed(ran: Ran, index: int = -1) -> bool:
    return not any(output["output_type"] == "error" for output in ran.outputs[index])


def text(ran: Ran, index: int) -> str:
    return "".join(output.get("text", "") for output in ran.outputs[index])


def error(ran: Ran, index: int = -1) -> dict:
    return next(output for output in ran.outputs[index] if output["output_type"] == "error")


def test_outputs_are_those_of_a_notebook(grader):
    ran = grader.run(student(
        "print('hello')\n1 + 1", "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()", "1 / 0",
        "%time x = 3\n!echo from the shell", "import sys\nprint('warned', file=sys.stderr)",
    ), {})  # fmt: skip
    assert ran.outputs[1] == [
        {"output_type": "stream", "name": "stdout", "text": "hello\n"},
        {"output_type": "execute_result", "data": {"text/plain": "2"}, "metadata": {}},
    ]
    assert "image/png" in ran.outputs[2][0]["data"]
    assert error(ran, 3)["ename"] == "ZeroDivisionError"
    assert "from the shell" in text(ran, 4)
    assert ran.outputs[5][0]["name"] == "stderr"
    assert ran.trouble == []


def test_values_and_changes_cross(grader):
    ran = grader.run([*student(
        "calls = []\n\n\ndef f(x, *, scale=1.0, log=None):\n    '''Scales.'''\n    calls.append(x.shape)\n"
        "    x += 1.0\n    if log is not None:\n        log.append('seen')\n"
        "    return {'y': x * scale, 'n': len(calls)}",
        "class Net:\n    pass\n\n\ndef make():\n    return Net()\n\n\ndef name(net, callback):\n"
        "    return callback(type(net).__name__)",
    ), check(
        "import inspect\nx = np.zeros((2, 3))\nlog = []\nout = f(x, scale=2.0, log=log)\n"
        "assert x.tolist() == [[1.0] * 3] * 2 and log == ['seen'] and out['n'] == 1 and out['y'].sum() == 12.0\n"
        "assert f(x)['n'] == 2 and f.__doc__ == 'Scales.'\n"
        "assert list(inspect.signature(f).parameters) == ['x', 'scale', 'log']\n"
        "assert 'x += 1.0' in f.__student_source__\n"
        "assert name(make(), lambda text: text.upper()) == 'NET'"
    ), check("assert calls == [(2, 3), (2, 3)]")], {})  # fmt: skip
    assert passed(ran, 3), error(ran, 3)
    assert passed(ran, 4), error(ran, 4)


_SUM = """
def square(x):
    return 7


def total(x):
    seen.append(square)
    return square(x) + 1


def kept(x):
    return seen[-1](x)


seen = []
"""


def test_functions_of_the_grader_and_the_student_stand_under_names_that_a_function_calls(grader):
    ran = grader.run([SETUP, *student(_SUM), check(
        "from course_utils.helpers import helpers_of, with_helpers\n"
        "own = helpers_of(total, ['square', 'missing'])\n"
        "assert list(own) == ['square'] and own['square'](3) == 7\n"
        "assert with_helpers(total, {'square': lambda x: x * x})(3) == 10\n"
        "assert total(3) == 8\n"
        "assert with_helpers(total, {'square': lambda x: own['square'](x) * 2})(3) == 15\n"
        "assert with_helpers(total, own)(3) == 8"),
    ], {})  # fmt: skip
    assert passed(ran), error(ran)


def test_a_helper_of_the_grader_is_lent_for_one_call(grader):
    ran = grader.run([SETUP, *student(_SUM), check(
        "from course_utils.helpers import with_helpers\n"
        "assert with_helpers(total, {'square': lambda x: x * x})(3) == 10\n"
        "kept(3)"),
    ], {})  # fmt: skip
    assert "RuntimeError" in error(ran)["evalue"]


@pytest.mark.parametrize(
    "answer", [answer for answer in WRONG if answer.loses == ("test-vectorised",)], ids=lambda answer: answer.title
)
def test_loops_and_libraries_are_found_in_what_a_function_leads_to(grader, answer):
    ran = grader.run(_vectorised(answer), {})
    shown = error(ran)
    if shown["ename"] == "CheckFailed":
        assert "loops over" in shown["evalue"] or "it uses" in shown["evalue"]
    else:  # what it leads to isn't there
        assert "isn't in a student's process" in str(ran.outputs[:-1])


def test_no_loop_is_found_where_there_is_none(grader):
    answers = [answer for answer in RIGHT if not {"relu", "softmax", "forward", "loss"}.isdisjoint(answer.codes)]
    assert len(answers) > 10
    for answer in answers:
        assert passed(grader.run(_vectorised(answer), {}), -1), answer.title


def _vectorised(answer):
    functions = ", ".join(answer.codes)
    import_check = "from course_utils.checks.forward import check_vectorised"
    return [*student(*answer.codes.values()), check(f"{import_check}\ncheck_vectorised({functions})")]


def test_error_of_a_student_is_readable(grader):
    ran = grader.run([*student("def f(x):\n    y = x + 1\n    return y / 0"), check("f(3)")], {})
    shown = error(ran)
    assert shown["ename"] == "ZeroDivisionError"
    trace = "\n".join(shown["traceback"])
    assert "Cell In[2], line 3, in f" in trace
    assert "return y / 0" in trace
    assert "autograder" not in trace


def test_known_error_can_be_caught_by_a_test(grader):
    ran = grader.run([*student("class Mine(ValueError):\n    pass\n\n\ndef f():\n    raise Mine('no')"), check(
        "try:\n    f()\nexcept ValueError as error:\n    assert str(error) == 'no'\nelse:\n    raise AssertionError"
    )], {})  # fmt: skip
    assert passed(ran), error(ran)


@pytest.mark.parametrize("name", ["StopIteration", "StopAsyncIteration"])
def test_stop_iteration_does_not_end_a_loop_of_the_test(grader, name):
    ran = grader.run([*student(f"def f(x):\n    raise {name}"), check("list(map(lambda x: f(x), [1, 2]))")], {})
    assert error(ran)["ename"] == name


def test_points_are_plain_finite_and_no_more_than_there_are(grader):
    cells = [*student("def f():\n    return np.float64(7.0)"), check("np.float64(2.5)", 3), check("f()", 3),
             check("np.float64('nan')", 3), check("np.inf", 3), check("True", 3), check("'3'", 3),
             check("-1.0", 3)]  # fmt: skip
    ran = grader.run(cells, {})
    data = [outputs[0].get("data", {}).get("text/plain", outputs[0].get("ename")) for outputs in ran.outputs[2:]]
    assert data == ["2.5", "3.0", "ValueError", "ValueError", "True", "'3'", "ValueError"]


def test_process_that_ends_is_replaced_and_what_had_run_runs_again(grader):
    ran = grader.run([*student(
        "seen = ['first']", "import os\nos._exit(3)", "seen.append('second')\n\n\ndef f(die):\n    import os\n"
        "    return os._exit(1) if die else seen",
    ), check("f(True)"), check("assert f(False) == ['first', 'second']")], {})  # fmt: skip
    assert not passed(ran, 2)
    assert not passed(ran, 4)
    assert passed(ran, 5), error(ran, 5)
    assert ran.trouble == ["cell cell-1 ended the student's process", "cell test ended the student's process"]


def test_process_is_not_replaced_for_ever(grader):
    ran = grader.run([*student("import os\n\n\ndef f():\n    os._exit(1)"), *[check("f()")] * 8], {})
    assert not any(passed(ran, index) for index in range(2, 10))
    assert f"had to be ended {LIMITS.restarts + 1} times" in error(ran)["evalue"]


def test_loop_that_can_be_interrupted_keeps_the_process(grader):
    start = time.monotonic()
    ran = grader.run([*student("x = 1", "while True:\n    pass", "y = 2"), check("assert x + y == 3")], {})
    assert time.monotonic() - start < 60
    assert error(ran, 2)["ename"] == "KeyboardInterrupt"
    assert passed(ran)
    assert ran.trouble == ["cell cell-1 took more than 5 s of processor time and was interrupted"]


def test_loop_in_a_test_ends_that_test(grader):
    ran = grader.run([*student("x = 1"), check("while True:\n    pass"), check("assert x == 1")], {})
    assert not passed(ran, 2)
    assert passed(ran), error(ran)


def test_memory_of_a_test_is_bounded(grader):
    ran = grader.run([*student("x = 1"), check("bytearray(64 * 2**30)"), check("assert x == 1")], {})
    assert error(ran, 2)["ename"] == "MemoryError"
    assert passed(ran)


def test_whole_notebook_has_a_time():
    limits = Limits(cell_seconds=30, notebook_seconds=4, patience=1, grace_seconds=0.5)
    with Grader(limits=limits) as grader:
        ran = grader.run([*student("import time\ntime.sleep(600)", "time.sleep(600)", "x = 1"), check("x")], {})
    assert ran.seconds < 60
    assert "cell cell-0 was running when the notebook had taken longer than 4 s, and was interrupted" in ran.trouble
    assert not passed(ran, 1)


def test_flood_of_output_is_cut(grader):
    ran = grader.run(student("for _ in range(300):\n    print('😀' * 10_000)", "print('after')"), {})
    assert LIMITS.output * 0.9 < len(text(ran, 1)) < LIMITS.output * 1.1
    assert text(ran, 2) == "after\n"


def test_output_of_any_size_does_not_end_the_examiner(grader):
    ran = grader.run([*student(
        "from IPython.display import HTML\nfor _ in range(7):\n"
        "    display(HTML('<b>' + 'é' * 1_000_000 + '</b>'))\nx = 1"
    ), check("assert x == 1")], {})  # fmt: skip
    assert passed(ran), ran.trouble
    assert ran.trouble == []


def test_time_of_everything_that_a_cell_has_started_counts(grader):
    """Two children that are busy, one after the other and both waited for; and two that nobody waits for."""
    busy = "t = time.process_time()\nwhile time.process_time() - t < {0}:\n    pass\nos._exit(0)"
    one = "import os, time\nfor _ in range(2):\n    if os.fork() == 0:\n" + textwrap.indent(busy.format(4), " " * 8)
    ran = grader.run(student(f"{one}\n    os.wait()\ntime.sleep(600)", "x = 1"), {})
    assert ran.trouble[0] == "cell cell-0 took more than 5 s of processor time and was interrupted"
    two = "import os, signal, time\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\nfor _ in range(2):\n"
    two += "    if os.fork() == 0:\n" + textwrap.indent(busy.format(4), " " * 8)
    ran = grader.run(student(f"{two}\n    time.sleep(0.1)\ntime.sleep(600)", "x = 1"), {})
    assert ran.trouble[0] == "cell cell-0 took more than 5 s of processor time and was interrupted"


def test_time_that_others_take_does_not_count(grader):
    """On a processor that twenty busy processes share, a cell has its seconds of it."""
    mine = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(mine)})
    # In this session, since the scheduler may give each one its share.
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(4)]
    try:
        source = "import time\nt = time.process_time()\nwhile time.process_time() - t < 1.5:\n    pass"
        limits = dataclasses.replace(LIMITS, cell_seconds=3, patience=40)
        with Grader(limits=limits, lent=grader.zygote.lend()) as crowded:
            ran = crowded.run([*student(source), check("import os\nassert len(os.sched_getaffinity(0)) == 1")], {})
        assert ran.trouble == []
        assert passed(ran), error(ran)
        assert ran.seconds > 3
    finally:
        os.sched_setaffinity(0, mine)
        for process in others:
            process.kill()
            process.wait()


def test_time_of_a_sleeping_cell_ends_too():
    with Grader(limits=dataclasses.replace(LIMITS, cell_seconds=1, patience=2)) as grader:
        ran = grader.run(student("import time\ntime.sleep(600)", "import os, signal\nos.kill(os.getpid(), 19)"), {})
    assert "cell cell-0 took longer than 2 s and was interrupted" in ran.trouble


def test_what_a_student_raises_is_not_taken_for_a_word_of_the_graders(grader):
    ran = grader.run(student("class NotRun(Exception):\n    pass\n\n\nraise NotRun('not run: the notebook')"), {})
    assert ran.trouble == []


#: Each takes much more memory than a notebook may, in a way of its own.
HOARDS = {
    "children-each-below-the-bound": (
        "import os, time\nfor _ in range(22):\n    if os.fork() == 0:\n"
        "        hoard = bytearray(b'x') * (60 * 2**20)\n        time.sleep(600)\ntime.sleep(600)"
    ),
    "what-was-given-is-written-to-by-all": (
        "import os, time\nhoard = bytearray(b'x') * (250 * 2**20)\nfor _ in range(6):\n    if os.fork() == 0:\n"
        "        for place in range(0, len(hoard), 4096):\n            hoard[place] = 1\n"
        "        time.sleep(600)\ntime.sleep(600)"
    ),
    "buffers-of-sockets": (
        "import os, socket, time\n\n\ndef fill():\n    kept = []\n    try:\n        while True:\n"
        "            kept += socket.socketpair()\n            for end in kept[-2:]:\n"
        "                end.setblocking(False)\n                try:\n                    while True:\n"
        "                        end.send(b'x' * 65536)\n                except BlockingIOError:\n"
        "                    pass\n    except OSError:\n        time.sleep(600)\n\n\n"
        "for _ in range(30):\n    if os.fork() == 0:\n        fill()\ntime.sleep(600)"
    ),
    "a-program-that-can-not-be-looked-at": (
        "import os, shutil, sys, time\nwith open('/bin/cat', 'rb') as source:\n    program = source.read()\n"
        "number = os.open('cat', os.O_CREAT | os.O_WRONLY, 0o111)\nos.write(number, program)\nos.close(number)\n"
        "for _ in range(22):\n    out, into = os.pipe()\n    if os.fork() == 0:\n        os.dup2(out, 0)\n"
        "        os.execv('./cat', ['cat'])\n"
        "hoard = []\nwhile True:\n    hoard.append(bytearray(b'x') * 2**22)"
    ),
}


@pytest.mark.parametrize("name", HOARDS)
@pytest.mark.parametrize("way", MODES)
def test_memory_of_all_processes_is_bounded_and_counted_once(name, way, monkeypatch):
    monkeypatch.setenv(WAY, way)
    limits = dataclasses.replace(LIMITS, memory=256 * 2**20, cell_seconds=60)
    try:
        grader = Grader(limits=limits, warm=["numpy"])
    except CageUnavailable as reason:
        pytest.skip(str(reason))
    with grader:
        taken, watched = [0], threading.Event()

        def watch() -> None:
            while not watched.wait(0.05):
                with contextlib.suppress(psutil.Error):
                    taken[0] = max(taken[0], sum(memory_of(process.pid) for process in caged(grader)))

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            ran = grader.run([*student(HOARDS[name], "x = 1"), check("assert x == 1")], {})
        finally:
            watched.set()
            thread.join()
    assert ran.trouble == ["cell cell-0 took more than 256 MiB of memory and was ended"] or (
        name == "a-program-that-can-not-be-looked-at" and error(ran, 1)["ename"] in ("MemoryError", "Ended")
    )
    assert passed(ran), error(ran)
    assert taken[0] < 3 * limits.memory  # each would take more than five times as much


def caged(grader: Grader) -> list[psutil.Process]:
    """What the warmed process has started."""
    return psutil.Process(grader.zygote._process.pid).children(recursive=True)


def test_memory_that_is_shared_counts_once(grader):
    """Twelve processes with one array of 200 MiB, below a limit of 512."""
    ran = grader.run(student(
        "import os, time\nhoard = np.ones(25 * 2**20)\nfor _ in range(12):\n    if os.fork() == 0:\n"
        "        assert hoard.sum() == hoard.size\n        time.sleep(2)\n        os._exit(0)\n"
        "while True:\n    try:\n        os.wait()\n    except ChildProcessError:\n        break"
    ), {})  # fmt: skip
    assert ran.trouble == []
    assert passed(ran, 1), error(ran, 1)


def test_process_left_behind_is_ended_and_named(grader):
    source = "import subprocess, sys\nprint(subprocess.Popen(['sleep', '12345']).pid)"
    ran = grader.run(student(source), {})
    assert ran.trouble == ["processes that had been left running were ended"]
    deadline = time.monotonic() + 30  # killed, it still has to be taken down
    while running("sleep\0" + "12345"):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def running(command: str) -> bool:
    def command_of(path: Path) -> str:
        try:
            return path.read_text(errors="replace")
        except OSError:
            return ""

    return any(command_of(path).startswith(command) for path in Path("/proc").glob("[0-9]*/cmdline"))


def test_forked_child_says_nothing(grader):
    ran = grader.run([*student(
        "import os\npid = os.fork()\nif pid == 0:\n    print('child')\n    os._exit(0)\n"
        "os.waitpid(pid, 0)\nprint('parent')",
        "import multiprocessing\nwith multiprocessing.get_context('fork').Pool(2) as pool:\n"
        "    print(pool.map(abs, [-1, -2]))",
    ), check("assert pid")], {})  # fmt: skip
    assert text(ran, 1) == "parent\n"
    assert text(ran, 2) == "[1, 2]\n"
    assert passed(ran)


@pytest.mark.parametrize("work", [
    "import torch\nx = torch.randn(400, 400, requires_grad=True)\ntorch.set_num_threads(2)\n"
    "(x @ x).sum().backward()\nprint(tuple(x.grad.shape))",
    "x = np.random.rand(300, 300)\nprint((x @ np.linalg.inv(x)).shape)",
    "from joblib import Parallel, delayed\nprint(Parallel(2)(delayed(abs)(-n) for n in range(3)))",
    "from concurrent.futures import ThreadPoolExecutor\nwith ThreadPoolExecutor(4) as pool:\n"
    "    print(list(pool.map(abs, [-1])))",
    "import subprocess\nprint(subprocess.run('echo $((6 * 7))', shell=True, capture_output=True, text=True).stdout)",
    "import asyncio\nawait asyncio.sleep(0.01)\nprint('awaited')",
    "import sqlite3\nwith sqlite3.connect('x.db') as db:\n    db.execute('create table t (x)')\nprint('made')",
    "import shutil, tempfile, zipfile\nnp.savez('x.npz', x=np.ones(3))\nwith tempfile.TemporaryDirectory() as folder:\n"
    "    shutil.copyfile('x.npz', folder + '/y.npz')\n    print(np.load(folder + '/y.npz')['x'])",
    "import torch\nnet = torch.nn.Linear(3, 2)\ntorch.save(net.state_dict(), 'x.pt')\n"
    "print(sorted(torch.load('x.pt', weights_only=True)))\nnext(iter(torch.utils.data.DataLoader([1.0, 2.0])))",
    "!ls -la / > /dev/null; mkdir -p a/b; cp /etc/passwd a 2>/dev/null; find . | sort | head -3; date > /dev/null",
    "import sympy\nx = sympy.symbols('x')\nprint(sympy.integrate(sympy.exp(-x**2), (x, -sympy.oo, sympy.oo)))",
    "import os, getpass, platform, socket\nprint(os.cpu_count(), getpass.getuser(), platform.system())",
], ids=["torch", "numpy", "joblib", "threads", "subprocess", "asyncio", "sqlite", "files", "torch-files", "shell",
        "sympy", "names"])  # fmt: skip
def test_what_libraries_call_is_allowed(grader, work):
    needs_torch = [Cell("setup", "import numpy as np\nimport torch", "both")]
    ran = grader.run([*(needs_torch if "torch" in work else [SETUP]), *student(work)[1:]], {})
    assert passed(ran, 1), error(ran, 1)
    assert text(ran, 1).strip()
    # joblib keeps its processes for the next call.
    assert ran.trouble == (["processes that had been left running were ended"] if "joblib" in work else [])


def test_nothing_of_one_notebook_reaches_the_next(grader):
    grader.run([*student("x = 1\nopen('left', 'w').write('x')\nimport os\nos.environ['LEFT'] = 'x'\nnp.left = 1"),
                check("assert x == 1\nkept = 1\nnp.kept = 1")], {"mine.txt": b"mine"})  # fmt: skip
    ran = grader.run([*student("import os\nprint(sorted(os.listdir('.')), os.environ.get('LEFT'), hasattr(np, 'left'), "
                               "'x' in globals(), In[1:-1])"),
                      check("assert 'kept' not in globals() and not hasattr(np, 'kept')")], {})  # fmt: skip
    assert text(ran, 1) == "[] None False False ['import numpy as np']\n"
    assert passed(ran), error(ran)


def test_environment_of_the_grader_stays_outside(grader, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setenv("PASSWORD", "secret")
        with Grader(limits=LIMITS) as fresh:
            ran = fresh.run([*student("import os\nprint(dict(os.environ))"), check(
                "import os\nassert os.environ['COURSE_DATA'] == '/data' and 'PASSWORD' not in os.environ"
            )], {}, environment={"COURSE_DATA": "/data"})  # fmt: skip
    assert passed(ran), error(ran)
    assert "PASSWORD" not in text(ran, 1)
    assert "COURSE_DATA" not in text(ran, 1)
    assert "'NBGRADER_EXECUTION': 'autograde'" in text(ran, 1)


def test_environment_of_the_cage_names_no_place_of_the_instructors(monkeypatch, tmp_path):
    """Not in the process, and not where /proc shows what its program was started with."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with Grader(limits=LIMITS, warm=["numpy"]) as fresh:
        ran = fresh.run(student(
            "import os\nprint(dict(os.environ))\nfor name in ('environ', 'cmdline'):\n    try:\n"
            "        print(open(f'/proc/self/{name}').read())\n    except OSError:\n        pass"
        ), {})  # fmt: skip
    assert str(tmp_path) not in text(ran, 1)
    assert "HOME" in text(ran, 1)


def test_readable_folder_can_be_read_and_no_other(grader, tmp_path):
    for name in ("given", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "data.txt").write_text(name)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid():
            folder.chmod(folder.stat().st_mode | 0o755)
    source = (
        "for name in ('given', 'other'):\n    try:\n"
        f"        print(open({str(tmp_path)!r} + f'/{{name}}/data.txt').read())\n"
        "    except OSError:\n        print('closed')"
    )
    ran = grader.run(student(source), {}, readable=[str(tmp_path / "given")])
    assert text(ran, 1) == "given\nclosed\n"


def test_without_isolation_tests_still_run_outside():
    with Grader("none", LIMITS) as grader:
        ran = grader.run([*student("def f(x):\n    return x + 1\n\n\nnp.allclose = lambda *args: True"),
                          check("assert not np.allclose(f(1), 3)")], {})  # fmt: skip
        assert grader.layers == "none"
    assert passed(ran), error(ran)


_GRADE = """
if __name__ == "__main__":
    from autograder.session import Cell, Grader

    with Grader(limits=cage.Limits(memory=512 * 2**20, scratch=16 * 2**20, cell_seconds=20)) as grader:
        found = grader.mode
        fill = "import time\\nfor n in range(100):\\n    open(f'f{{n}}', 'wb').write(bytes(2**20))\\n"
        fill += "    time.sleep(0.05)"
        ran = grader.run(
            [Cell("a", "x = 20", "cage"), Cell("b", fill, "cage"), Cell("c", "def f():\\n    return x + 22", "cage"),
             Cell("t", "assert f() == 42", "grader", 1.0)], {{}},
        )
    print(json.dumps({{"found": found, "trouble": ran.trouble, "outputs": ran.outputs}}))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("user", [1, ORDINARY])
def test_another_user_and_a_kernel_without_namespaces_grade_too(mode, user, tmp_path):
    program = tmp_path / "grade.py"
    program.write_text((BECOME + _GRADE).format(repository=str(REPOSITORY), user=user))
    tmp_path.chmod(0o755)
    with program.open() as source:
        done = subprocess.run([sys.executable, "-"], stdin=source, capture_output=True, text=True, timeout=200, cwd="/",
                              env={"PATH": os.environ["PATH"], "HOME": "/", WAY: mode})  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["found"] == mode
    assert told["outputs"][3] == [], told
    if mode == "landlock":  # where the scratch folder has no size of its own, the watching grader bounds it
        assert told["trouble"] == ["cell b wrote more than 16 MiB of files and was ended"]
    else:
        assert told["outputs"][1][-1]["ename"] == "OSError"


_OUTLIVE = """
if __name__ == "__main__":
    from autograder.session import Cell, Grader

    source = "import ctypes, os, signal, time\\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\\n"
    source += "for number in (1, 2, 15):\\n    signal.signal(number, signal.SIG_IGN)\\n"
    source += "for _ in range(3):\\n    if os.fork() == 0:\\n        try:\\n            os.setsid()\\n"
    source += "        except OSError:\\n            pass\\nprint('ready')\\nwhile True:\\n    time.sleep(0.01)"
    grader = Grader(limits=cage.Limits(cell_seconds=300), warm=["numpy"])
    print(grader.mode, flush=True)
    grader.run([Cell("a", source, "cage")], {})
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["killed", "interrupted"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("user", USERS)
def test_nothing_outlives_the_grader(mode, user, number):
    program = BECOME.format(repository=str(REPOSITORY), user=user) + _OUTLIVE
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
        env={"PATH": os.environ["PATH"], "HOME": "/", WAY: mode},
    ) as grading:  # fmt: skip
        if not grading.stdout.readline():
            pytest.skip(grading.stderr.read().strip().splitlines()[-1])
        ours = psutil.Process(grading.pid)
        deadline = time.monotonic() + 60
        while len(found := ours.children(recursive=True)) < 7:  # zygote, examiner, keeper, student and three children
            assert grading.poll() is None and time.monotonic() < deadline, found
            time.sleep(0.05)
        time.sleep(0.5)
        grading.send_signal(number)
        _, left = psutil.wait_procs(found, timeout=2)
        assert [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def test_nothing_outlives_a_grader_that_is_killed_while_modules_are_imported():
    program = (
        "import time\nfrom autograder.zygote import Zygote\nZygote()\nprint('started', flush=True)\ntime.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=REPOSITORY) as grading:
        grading.stdout.readline()
        time.sleep(0.5)
        found = psutil.Process(grading.pid).children(recursive=True)
        assert found
        grading.kill()
        _, left = psutil.wait_procs(found, timeout=2)
        assert [process for process in left if process.is_running() and process.status() != psutil.STATUS_ZOMBIE] == []


def test_cage_ends_with_the_warmed_process(grader):
    """And with it the student's process, whatever it ignores."""
    with Grader(limits=LIMITS, warm=["numpy"]) as fresh:
        killer = threading.Timer(3, lambda: os.kill(fresh.zygote._process.pid, signal.SIGKILL))
        killer.start()
        before = time.monotonic()
        with contextlib.suppress(Exception):
            fresh.run(student("import ctypes, time\nctypes.CDLL(None).prctl(1, 0, 0, 0, 0)\ntime.sleep(600)"), {})
        killer.join()
        assert time.monotonic() - before < 30


def test_a_test_can_name_trouble_and_a_student_cannot(grader):
    named = 'from course_utils.evaluation import name_trouble\nname_trouble("{}")'
    cells = [*student(named.format("forged"), "def f():\n    " + named.format("forged too").replace("\n", "\n    "))]
    ran = grader.run([*cells, check("f()\n" + named.format("it is odd") + "\nassert True")], {})
    assert ran.trouble == ["it is odd"]
    assert passed(ran)
