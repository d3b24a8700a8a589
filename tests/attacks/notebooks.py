"""Attacks by the notebook file: its cells, its metadata, its outputs."""

import copy
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from tests.attacks.sample import cell_of
from tests.attacks.suite import WRONG, Attack

_SCALE_WRONG = {"scale": WRONG["scale"]}
_NO_SCALE = {"test-scale": 0.0}


def _test_altered(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    cell_of(notebook, "test-scale").source = "assert True"


def _test_deleted(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    notebook.cells.remove(cell_of(notebook, "test-scale"))


def _test_is_text(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    test = cell_of(notebook, "test-scale")
    place = notebook.cells.index(test)
    notebook.cells[place] = nbformat.v4.new_markdown_cell("Nothing to see", metadata=test.metadata, id=test.id)


def _test_twice(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    double = copy.deepcopy(cell_of(notebook, "test-scale"))
    double.source, double.id = "pass", "double"
    notebook.cells.append(double)
    notebook.cells.insert(0, copy.deepcopy(double))


def _test_unlocked(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    test = cell_of(notebook, "test-scale")
    test.metadata.nbgrader.update(locked=False, solution=True, grade=True, points=100, checksum="0")
    test.source = "2.0"


def _more_points(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    for cell in notebook.cells:
        if "points" in cell.metadata.get("nbgrader", {}):
            cell.metadata.nbgrader.points = 1000


def _setup_altered(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    cell_of(notebook, "setup").source = "import numpy as np\n\n\ndef close(*args):\n    return True"


def _claims_setup(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    source = f"close = lambda *args: True\nopen({world['CANARY']!r}, 'a').write('x')"
    for place in (2, len(notebook.cells)):
        cell = nbformat.v4.new_code_cell(source, metadata={"tags": ["setup"]})
        notebook.cells.insert(place, cell)


def _claims_grader(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    source = f"close = lambda *args: True\nopen({world['CANARY']!r}, 'a').write('x')"
    metadata = {"autograder": {"runs": "grader", "order": 0}, "nbgrader": {"grade_id": "new", "grade": True}}
    notebook.cells.insert(2, nbformat.v4.new_code_cell(source, metadata=metadata))


def _takes_the_id(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    test = cell_of(notebook, "test-scale")
    test.id = "something-else"
    del test.metadata["nbgrader"]
    test.source = "pass"
    notebook.cells.insert(1, nbformat.v4.new_code_cell("close = lambda *args: True", id="test-scale"))


def _stripped(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    for cell in notebook.cells:
        cell.metadata.clear()


def _stored_outputs(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.execution_count = 1
            data = {"text/plain": "3.0"}
            cell.outputs = [nbformat.v4.new_output("execute_result", data, execution_count=1)]


def _other_kernel(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    notebook.metadata.kernelspec = {"name": "../../evil", "display_name": "x", "language": "bash"}
    kernel = folder / "share" / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text(f'{{"argv": ["touch", "{world["CANARY"]}-kernel"], "display_name": "x"}}')


def _test_first(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    """Before the functions that it checks and the student's own ``close`` between them."""
    test, setup = cell_of(notebook, "test-scale"), cell_of(notebook, "setup")
    notebook.cells.remove(setup)
    notebook.cells.append(setup)
    notebook.cells.insert(notebook.cells.index(test), nbformat.v4.new_code_cell("close = lambda *args: True"))


def _not_json(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    (folder / "second.ipynb").write_bytes(b'{"cells": [' + b"[" * 200_000)


def _thousands(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    place = notebook.cells.index(cell_of(notebook, "test-scale"))
    notebook.cells[place:place] = [nbformat.v4.new_markdown_cell("", id=f"c{number}") for number in range(4_000)]


def _replaced(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    (folder / "second.ipynb").rename(folder / "zweites.ipynb")
    (folder / "extra.ipynb").write_text('{"cells": 3}')


ATTACKS = [
    Attack("test-altered", "replaces a test's source", alter=_test_altered, answers=_SCALE_WRONG, honest=_NO_SCALE,
           trouble="altered"),
    Attack("test-deleted", "deletes a test", alter=_test_deleted, answers=_SCALE_WRONG, honest=_NO_SCALE,
           trouble="deleted"),
    Attack("test-is-text", "makes a test a text cell", alter=_test_is_text, answers=_SCALE_WRONG, honest=_NO_SCALE,
           trouble="altered"),
    Attack("test-twice", "has a test twice, once empty", alter=_test_twice, answers=_SCALE_WRONG, honest=_NO_SCALE,
           trouble="3 times"),
    Attack("test-unlocked", "marks a test as an answer of its own, worth a hundred points", alter=_test_unlocked,
           answers=_SCALE_WRONG, honest=_NO_SCALE),
    Attack("more-points", "raises the points of each question", alter=_more_points),
    Attack("setup-altered", "replaces the setup cell, which defines the checks", alter=_setup_altered,
           answers=_SCALE_WRONG, honest=_NO_SCALE, trouble="altered"),
    Attack("claims-setup", "tags a cell of its own as setup, so that it runs outside", alter=_claims_setup,
           answers=_SCALE_WRONG, honest=_NO_SCALE),
    Attack("claims-grader", "claims by the grader's own metadata that a cell runs outside", alter=_claims_grader,
           answers=_SCALE_WRONG, honest=_NO_SCALE),
    Attack("takes-the-id", "gives a cell of its own the id of a test", alter=_takes_the_id, answers=_SCALE_WRONG,
           honest=_NO_SCALE),
    Attack("stripped", "removes all metadata, with it nbgrader's", alter=_stripped, trouble="metadata"),
    Attack("stored-outputs", "stores full points as the outputs of its cells", alter=_stored_outputs,
           answers=_SCALE_WRONG, honest=_NO_SCALE),
    Attack("other-kernel", "names a kernel of its own, which it hands in", alter=_other_kernel, answers=_SCALE_WRONG,
           honest=_NO_SCALE, trouble="kernel"),
    Attack("setup-last", "moves the setup to the end, with a check of its own before the test", alter=_test_first,
           answers=_SCALE_WRONG, honest=_NO_SCALE),
    Attack("not-json", "hands in a notebook that is a hundred thousand brackets", alter=_not_json,
           honest={"test-total": 0.0}, trouble="not a notebook"),
    Attack("thousands-of-cells", "pushes the tests beyond thousands of cells", alter=_thousands,
           answers=_SCALE_WRONG, honest={"test-scale": 0.0, "test-mean-rows": 0.0, "test-handles": 0.0}),
    Attack("renamed", "renames a notebook and adds one that is none", alter=_replaced, trouble="zweites"),
]  # fmt: skip
