"""What holds right values is in no student's process of a notebook that isn't about it, and not on the disk it sees."""

from __future__ import annotations

import pytest

from autograder.cage import WAY, CageUnavailable, Limits
from autograder.session import Cell, Grader, Ran
from tests.attacks.ways import MODES

pytestmark = pytest.mark.slow

LIMITS = Limits(cell_seconds=10, patience=20, grace_seconds=1)

#: Ways to what is withheld; each binds ``found``, to whatever it got hold of.
WAYS = {
    "import": """
found = []
for name in ("torch", "functorch", "course_utils.oracle", "course_utils.stand_ins", "course_utils.mistakes",
             "course_utils.steps", "course_utils.checks.backprop", "course_utils.checks.descent"):
    try:
        module = __import__(name, fromlist=["x"])
        found += [key for key in vars(module) if not key.startswith("__")]
    except ImportError:
        pass
""",
    "finders": """
import importlib, importlib.machinery, sys
sys.meta_path[:] = [importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter,
                    importlib.machinery.PathFinder]
sys.path_importer_cache.clear()
for name in [name for name in sys.modules if name.split(".")[0] in ("course_utils", "torch")]:
    del sys.modules[name]
found = []
for name in ("torch", "functorch", "course_utils.oracle", "course_utils.stand_ins", "course_utils.checks.forward"):
    try:
        module = importlib.import_module(name)
        found += [key for key in vars(module) if not key.startswith("__")]
    except (ImportError, OSError):
        pass
""",
    "memory": """
import gc, sys, types
found = [name for name, module in list(sys.modules.items())
         if name.split(".")[0] == "torch" or name.startswith(("course_utils.oracle", "course_utils.mistakes",
                                                              "course_utils.steps", "course_utils.stand_ins"))]
gc.unfreeze()
for item in gc.get_objects():
    module = getattr(item, "__module__", "") if isinstance(item, (types.FunctionType, type)) else ""
    if isinstance(module, str) and module.split(".")[0] == "torch" or module in (
        "course_utils.oracle", "course_utils.stand_ins", "course_utils.mistakes", "course_utils.checks.backprop",
    ):
        found.append(item)
""",
    "disk": """
import glob, os, sys
found = []
for entry in sys.path:
    for name in ("oracle", "stand_ins", "mistakes", "steps", "models", "checks"):
        for pattern in (f"{name}.*", f"{name}/**/*.*", f"__pycache__/{name}.*", f"../course_utils/{name}.*"):
            for path in glob.glob(os.path.join(entry or ".", "course_utils", pattern), recursive=True):
                try:
                    found += [path] if open(path, "rb").read() else []
                except OSError:
                    pass
    for path in glob.glob(os.path.join(entry or ".", "torch", "*.py")) + glob.glob(f"{entry}/torch/lib/*"):
        try:
            found += [path] if open(path, "rb").read(1) else []
        except OSError:
            pass
""",
    "another process": """
import subprocess, sys
code = "import torch; print(torch.softmax); import course_utils.oracle; print(course_utils.oracle.solve)"
found = subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": ":".join(sys.path)}, capture_output=True).stdout
""",
}
#: Answers that have the course's own modules do the work: notebook -> cell.
BORROWED = {
    "1_forward_check": """
stand_ins = __import__("course_utils.stand_ins", fromlist=["x"])
forward, loss = stand_ins.forward, stand_ins.loss
relu = lambda z: __import__("torch").relu(__import__("torch").tensor(z)).numpy()
softmax = lambda z: getattr(__import__("torch"), "soft" + "max")(__import__("torch").tensor(z), 1).numpy()
""",
    "2_backprop_derivation": """
dJ_dz3_symbolic = lambda z, y: [getattr(sp, "di" + "ff")(-sp.log(sp.exp(z[y]) / sum(map(sp.exp, z))), one) for one in z]
try:
    from course_utils.oracle import STEPS
    for name, step in STEPS.items():
        globals()[name] = step
except ImportError:
    pass
backward = __import__("course_utils.stand_ins", fromlist=["x"]).backward
""",
    "3_gradient_check": """
checks = __import__("course_utils.checks.gradient_check", fromlist=["x"])
numerical_gradient, relative_error = checks.numerical_gradient, checks.relative_error
check_gradients, wrong_gradients = checks.check_gradients, checks.wrong_gradients
""",
}  # fmt: skip


@pytest.fixture(scope="module", params=MODES)
def grader(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(WAY, request.param)
        try:
            grader = Grader(limits=LIMITS)
        except CageUnavailable as error:
            pytest.skip(str(error))
        with grader:
            yield grader


def _cells(notebook, *answers: str) -> list[Cell]:
    """The setup cells of an instructor's notebook, a student's cells, and its tests."""
    setup, tests = [], []
    for number, cell in enumerate(notebook.cells):
        tags, mark = cell.metadata.get("tags", []), cell.metadata.get("nbgrader", {})
        if "setup" in tags:
            setup.append(Cell(cell.id, cell.source, "lent" if "lent" in tags else "both", order=number))
        elif cell.cell_type == "code" and mark.get("grade"):
            tests.append(Cell(mark["grade_id"], cell.source, "grader", mark["points"]))
    return [*setup, *(Cell("answer", answer, "cage") for answer in answers), *tests]


def _gives_nothing(output: dict) -> bool:
    return output["output_type"] == "error" or output.get("data", {}).get("text/plain") == "0.0"


def _text(ran: Ran, cells: list[Cell], name: str) -> str:
    kept = ran.outputs[[cell.name for cell in cells].index(name)]
    return "".join(output.get("text", "") + "\n".join(output.get("traceback", [])) for output in kept)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", ["1_forward_check", "2_backprop_derivation", "3_gradient_check", "4_cifar10_tuning"])
def test_nothing_withheld_is_found(grader, sources, name, way):
    cells = _cells(sources[f"{name}.ipynb"], f"{WAYS[way]}\nprint('found', len(found), [*found][:5])")
    cells = [cell for cell in cells if cell.runs != "grader"]
    assert _text(grader.run(cells, {}), cells, "answer").startswith("found 0 ")


@pytest.mark.parametrize("name", BORROWED)
def test_borrowed_answers_earn_nothing(grader, sources, name):
    cells = _cells(sources[f"{name}.ipynb"], *BORROWED[name].split("\n"))
    ran = grader.run(cells, {})
    tests = [(cell.name, kept) for cell, kept in zip(cells, ran.outputs, strict=True) if cell.runs == "grader"]
    assert tests
    assert [name for name, kept in tests if not any(map(_gives_nothing, kept))] == []


def test_a_notebook_about_a_library_has_it(grader, sources):
    cells = _cells(sources["5_pytorch_comparison.ipynb"], "print(torch.ones(2).sum().item())")
    cells = [cell for cell in cells if cell.runs != "grader"]
    assert _text(grader.run(cells, {}), cells, "answer") == "2.0\n"


def test_what_is_lent_can_be_called_by_cells_and_by_functions_that_a_test_calls(grader):
    cells = [
        Cell("setup", "import numpy as np", "both"),
        Cell("take-over", "double, limit = (lambda x: 2 * x), 7", "lent", order=1),
        Cell(
            "own", "def four(x):\n    return double(double(x))\n\n\nprint(double(np.arange(3)), limit, four(1))", "cage"
        ),
        Cell("test", "assert four(3) == 12 and double(1) == 2", "grader", 1),
    ]
    ran = grader.run(cells, {})
    assert _text(ran, cells, "own") == "[0 2 4] 7 4\n"
    assert ran.outputs[3] == []
    assert ran.trouble == []


def test_an_interrupt_while_the_grader_computes_leaves_the_process_usable(grader):
    cells = [
        Cell("take-over", "double = lambda x: 2 * x", "lent"),
        Cell("endless", "while True:\n    double(1)", "cage"),
        Cell("own", "print(double(4))", "cage"),
    ]
    ran = grader.run(cells, {})
    assert "KeyboardInterrupt" in _text(ran, cells, "endless")
    assert _text(ran, cells, "own") == "8\n"


def test_a_function_that_a_test_passed_in_is_not_lent_to_later_cells(grader):
    cells = [
        Cell("setup", "import numpy as np", "both"),
        Cell("keeps", "kept = []\n\n\ndef keep(f):\n    kept.append(f)", "cage"),
        Cell("test", "keep(lambda x: 4711)", "grader", 1),
        Cell("asks", "print(kept[0](1))", "cage"),
    ]
    ran = grader.run(cells, {})
    assert "4711" not in _text(ran, cells, "asks")


def test_a_check_in_a_students_cell_says_that_it_is_not_run(grader, sources):
    cells = _cells(sources["1_forward_check.ipynb"], "check_relu(lambda z: z)\nprint('went on')")
    cells = [cell for cell in cells if cell.runs != "grader"]
    text = _text(grader.run(cells, {}), cells, "answer")
    assert text.startswith("check_relu isn't run in this cell")
    assert text.endswith("went on\n")
