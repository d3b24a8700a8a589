"""Notebooks run by cells: what is kept, what is ended, and what goes on afterwards."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from autograder.cage import CageUnavailable, Limits
from autograder.outputs import as_output
from autograder.session import Cell, Grader, Ran
from autograder.zygote import trial
from tests.conftest import REPOSITORY
from tests.fairness import RIGHT, WRONG
from tests.test_cage import BECOME, ORDINARY

try:
    trial()
except CageUnavailable as error:
    pytest.skip(f"no cage on this machine: {error}", allow_module_level=True)

LIMITS = Limits(memory=512 * 2**20, cell_seconds=5, grace_seconds=1, notebook_seconds=120)
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
    shown = error(grader.run(_vectorised(answer), {}))
    assert shown["ename"] == "CheckFailed"
    assert "loops over" in shown["evalue"] or "it uses" in shown["evalue"]


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
             check("np.float64('nan')", 3), check("np.inf", 3), check("True", 3), check("'3'", 3)]  # fmt: skip
    ran = grader.run(cells, {})
    data = [outputs[0].get("data", {}).get("text/plain", outputs[0].get("ename")) for outputs in ran.outputs[2:]]
    assert data == ["2.5", "3.0", "ValueError", "ValueError", "True", "'3'"]


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
    assert ran.trouble == ["cell cell-1 took longer than 5 s and was interrupted"]


def test_loop_in_a_test_ends_that_test(grader):
    ran = grader.run([*student("x = 1"), check("while True:\n    pass"), check("assert x == 1")], {})
    assert not passed(ran, 2)
    assert passed(ran), error(ran)


def test_memory_of_a_test_is_bounded(grader):
    ran = grader.run([*student("x = 1"), check("bytearray(64 * 2**30)"), check("assert x == 1")], {})
    assert error(ran, 2)["ename"] == "MemoryError"
    assert passed(ran)


def test_whole_notebook_has_a_time():
    limits = Limits(cell_seconds=30, notebook_seconds=4, grace_seconds=0.5)
    with Grader(limits=limits) as grader:
        ran = grader.run([*student("import time\ntime.sleep(600)", "time.sleep(600)", "x = 1"), check("x")], {})
    assert ran.seconds < 60
    assert "cell cell-0 was interrupted when the notebook's 4 s were over" in ran.trouble
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
        grader.mode = {mode!r} or found
        fill = "import time\\nfor n in range(100):\\n    open(f'f{{n}}', 'wb').write(bytes(2**20))\\n"
        fill += "    time.sleep(0.05)"
        ran = grader.run(
            [Cell("a", "x = 20", "cage"), Cell("b", fill, "cage"), Cell("c", "def f():\\n    return x + 22", "cage"),
             Cell("t", "assert f() == 42", "grader", 1.0)], {{}},
        )
    print(json.dumps({{"found": found, "trouble": ran.trouble, "outputs": ran.outputs}}))
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("mode", ["", "landlock"])
@pytest.mark.parametrize("user", [1, ORDINARY])
def test_another_user_and_a_kernel_without_namespaces_grade_too(mode, user, tmp_path):
    program = tmp_path / "grade.py"
    program.write_text((BECOME + _GRADE).format(repository=str(REPOSITORY), user=user, mode=mode))
    tmp_path.chmod(0o755)
    with program.open() as source:
        done = subprocess.run([sys.executable, "-"], stdin=source, capture_output=True, text=True, timeout=200, cwd="/",
                              env={"PATH": os.environ["PATH"], "HOME": "/"})  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["found"] == "namespaces"
    assert told["outputs"][3] == [], told
    if mode == "landlock":  # where the scratch folder has no size of its own, the watching grader bounds it
        assert told["trouble"] == ["cell b wrote more than 16 MiB of files and was ended"]
    else:
        assert told["outputs"][1][-1]["ename"] == "OSError"


class TestOutputs:
    @pytest.mark.parametrize("html", [
        "<script>run()</script>", "<img src=x onerror=run()>", "<td onclick='run()'>",
        "<iframe src='javascript:run()'>", "<a href='javascript:run()'>x</a>", "<svg onload=run()></svg>",
        "<style>@import 'http://x'</style>",
        "<form action='http://x'><input></form>", "<p style='background-image: url(http://x)'>x</p>",
    ])  # fmt: skip
    def test_html_of_a_student_runs_and_loads_nothing(self, html):
        got = as_output({"output_type": "display_data", "data": {"text/html": html}})["data"]["text/html"]
        assert not re.search(r"<(script|img|iframe|svg|style|form|input)|on\w+=|javascript:|url\(", got)

    def test_table_is_kept(self):
        table = '<table><tbody><tr style="text-align: right;"><th>a</th><td>1</td></tr></tbody></table>'
        got = as_output({"output_type": "execute_result", "data": {"text/html": table, "text/plain": "a\n1"}})
        assert got["data"] == {"text/html": table, "text/plain": "a\n1"}

    @pytest.mark.parametrize("data", [
        {"application/javascript": "run()"}, {"image/svg+xml": "<svg/>"}, {"image/png": "x' onload='run()"},
        {"application/vnd.jupyter.widget-view+json": {}}, {"text/plain": 3}, {3: "x"}, {}, [], None,
    ], ids=str)  # fmt: skip
    def test_other_displays_are_dropped(self, data):
        assert as_output({"output_type": "display_data", "data": data}) is None

    @pytest.mark.parametrize("raw", [None, 3, "x", [], {}, {"output_type": "update"}, {"output_type": []}], ids=str)
    def test_what_is_no_output_is_dropped(self, raw):
        assert as_output(raw) is None

    def test_text_that_is_no_unicode_is_made_so(self):
        got = as_output({"output_type": "stream", "name": "x", "text": "\ud800"})
        assert got == {"output_type": "stream", "name": "stdout", "text": "?"}


def test_a_test_can_name_trouble_and_a_student_cannot(grader):
    named = 'from course_utils.evaluation import name_trouble\nname_trouble("{}")'
    cells = [*student(named.format("forged"), "def f():\n    " + named.format("forged too").replace("\n", "\n    "))]
    ran = grader.run([*cells, check("f()\n" + named.format("it is odd") + "\nassert True")], {})
    assert ran.trouble == ["it is odd"]
    assert passed(ran)
