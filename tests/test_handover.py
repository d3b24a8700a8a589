"""Functions of an earlier notebook in a later one."""

from __future__ import annotations

import inspect
import shutil

import nbformat
import numpy as np
import pytest

from course_utils import stand_ins
from course_utils.handover import definitions, from_notebook
from course_utils.notebooks import NotebookError
from course_utils.reference import problem
from tests.conftest import SOURCE

FIRST = "1_forward_check.ipynb"


@pytest.fixture(autouse=True)
def outside_grading(monkeypatch, tmp_path):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def solved(tmp_path):
    """The solved first notebook, in the working directory."""
    shutil.copy(SOURCE / FIRST, tmp_path / FIRST)
    return tmp_path / FIRST


def change(path, old, new):
    notebook = nbformat.read(path, as_version=4)
    assert any(old in cell.source for cell in notebook.cells)
    for cell in notebook.cells:
        cell.source = cell.source.replace(old, new)
    nbformat.write(notebook, path)


def test_students_functions_come_over(solved, capsys):
    forward, loss = from_notebook(FIRST, "forward", "loss")
    toy = problem("toy")
    np.testing.assert_allclose(forward(toy.params, toy.X)["a3"], toy.values["a3"], atol=1e-14)
    assert loss(toy.params, toy.X, toy.y, toy.reg) == pytest.approx(toy.values["loss"])
    assert "Forward pass of the two-layer network" in inspect.getsource(forward)
    assert capsys.readouterr().out == f"Yours, from {FIRST}: forward, loss.\n"


def test_one_name_gives_one_function(solved):
    given = problem("toy")
    assert from_notebook(FIRST, "loss")(given.params, given.X, given.y, 0.0) == pytest.approx(given.values["data_loss"])


def test_only_definitions_are_run(tmp_path):
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell(
            "import numpy as np\n"
            "SLOPE = 0.0\n"
            "open('trace', 'w').write('run')\n"
            "print('run')\n"
            "table = np.zeros(3)\n"
            "%matplotlib inline\n"
            "def relu(z):\n    return np.maximum(z, SLOPE)\n"
        ),
        nbformat.v4.new_code_cell("this is not Python"),
        nbformat.v4.new_code_cell("def broken(x=1 / 0):\n    pass\n\nclass Kept:\n    pass\n"),
    ]
    nbformat.write(notebook, tmp_path / "n.ipynb")
    found = definitions("n.ipynb")
    assert found["relu"](np.array([-2.0, 3.0])).tolist() == [0.0, 3.0]
    assert "Kept" in found
    assert "broken" not in found
    assert "table" not in found
    assert not (tmp_path / "trace").exists()


def test_missing_notebook(tmp_path, capsys):
    assert from_notebook(FIRST, "loss") is stand_ins.loss
    said = f"No notebook with the functions of {FIRST} is in {tmp_path}. A stand-in takes the place of loss.\n"
    assert capsys.readouterr().out == said


def test_renamed_notebook_is_found(solved, capsys):
    copy = solved.rename(solved.with_name(f"Copy of {FIRST}"))
    assert from_notebook(FIRST, "loss") is not stand_ins.loss
    assert capsys.readouterr().out == f"Yours, from {copy.name}: loss.\n"


@pytest.mark.parametrize("content", [b"not JSON", b'{"cells": 3}', b"", b"[]", b"\xff\xfe\x00"])
def test_file_that_is_no_notebook(tmp_path, capsys, content):
    (tmp_path / FIRST).write_bytes(content)
    assert from_notebook(FIRST, "loss") is stand_ins.loss
    out = capsys.readouterr().out
    assert out.startswith(f"{FIRST} can't be read: it is not JSON in notebook format.")
    assert out.count("\n") == 1
    with pytest.raises(NotebookError):
        definitions(FIRST)


def test_unwritten_function_is_replaced_alone(solved, capsys):
    change(solved, "return data_loss + reg", "raise NotImplementedError()\n    return data_loss + reg")
    forward, loss = from_notebook(FIRST, "forward", "loss")
    assert loss is stand_ins.loss
    assert forward is not stand_ins.forward
    out = capsys.readouterr().out
    assert f"loss in {FIRST} is not written yet: a stand-in takes its place." in out
    assert f"Yours, from {FIRST}: forward." in out


def test_wrong_function_is_replaced_with_the_reason(solved, capsys):
    change(solved, 'X @ params["W1"] + params["b1"]', 'X @ params["W1"]')
    assert from_notebook(FIRST, "forward") is stand_ins.forward
    out = capsys.readouterr().out
    assert "forward in 1_forward_check.ipynb does not pass its check (z2" in out
    assert out.count("\n") == 1


def test_deleted_function(solved, capsys):
    change(solved, "def forward(params, X)", "def forwards(params, X)")
    assert from_notebook(FIRST, "forward") is stand_ins.forward
    assert "forward in 1_forward_check.ipynb is not defined" in capsys.readouterr().out


def test_while_grading_the_stand_in_is_used(solved, monkeypatch, capsys):
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert from_notebook(FIRST, "loss") is stand_ins.loss
    assert "While grading" in capsys.readouterr().out


def test_unknown_name_is_refused(solved):
    with pytest.raises(ValueError, match=r"can bring over forward, loss, backward, not relu6"):
        from_notebook(FIRST, "relu6")
