"""Pictures that grading doesn't make anew are kept with the answer that may speak of them, and nothing else is."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import nbformat
import pytest
from PIL import Image

from autograder import beside, handed_in
from autograder.run import grade_class
from tests.attacks import sample


def drawing(size: int = 20) -> str:
    made = io.BytesIO()
    Image.new("RGB", (size, size), (30, 90, 200)).save(made, "PNG", pnginfo=None)
    return base64.b64encode(made.getvalue()).decode()


def code(grade_id: str, *outputs: dict, **marks: bool) -> nbformat.NotebookNode:
    cell = nbformat.v4.new_code_cell("pass", id=grade_id)
    cell.metadata.nbgrader = {"grade_id": grade_id, "grade": False, "solution": False, "task": False, **marks}
    cell.outputs = [nbformat.v4.new_output("display_data", data) for data in outputs]
    return cell


def essay() -> nbformat.NotebookNode:
    cell = nbformat.v4.new_markdown_cell("As the picture shows.", id="essay")
    cell.metadata.nbgrader = {"grade_id": "essay", "grade": True, "solution": True, "task": False}
    return cell


def kept(*cells: nbformat.NotebookNode, graded: tuple = ()) -> list[dict]:
    """What is kept of a notebook of these cells before an essay, run as ``graded``, by default without a picture."""
    content = nbformat.writes(nbformat.v4.new_notebook(cells=[*cells, essay()])).encode()
    run = [nbformat.from_dict({**cell, "outputs": []}) for cell in cells]
    notebook = nbformat.v4.new_notebook(cells=[*(graded or run), essay()])
    return handed_in.pictures(content, notebook).get("essay", [])


def test_the_pictures_of_the_nearest_cell_are_kept():
    first, second = code("first", {"image/png": drawing(10)}), code("second", {"image/png": drawing(20)})
    third = code("third", {"text/plain": "no picture"})
    (found,) = kept(first, second, third)
    with Image.open(io.BytesIO(base64.b64decode(found["data"]))) as opened:
        assert opened.size == (20, 20)


def test_what_grading_has_drawn_is_not_kept_again():
    drawn = code("first", {"image/png": drawing()})
    assert len(kept(drawn)) == 1
    assert kept(drawn, graded=(drawn,)) == []


def test_pictures_of_another_question_are_not_this_ones():
    assert kept(code("first", {"image/png": drawing()}), code("test", grade=True)) == []
    assert kept(code("first", {"image/png": drawing()}), code("answer", solution=True)) == []


@pytest.mark.parametrize("kind", ["image/svg+xml", "text/html", "application/javascript"])
def test_what_acts_is_not_kept(kind):
    assert kept(code("first", {kind: "<svg onload='alert(1)'/>"})) == []


def test_few_pictures_are_decoded_whatever_there_is():
    assert len(kept(code("first", *[{"image/png": drawing()}] * 50))) == 6
    assert kept(code("first", {"image/png": "no picture"})) == []


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"null", b'{"cells": 3}', b'{"cells": [3, {"metadata": 3, "outputs": [3, {"data": 3}]}]}',
                b"[" * 100_000, b"\xff\xfe\x00"],
)  # fmt: skip
def test_a_damaged_notebook_has_no_pictures(content):
    notebook = nbformat.v4.new_notebook(cells=[code("first"), essay()])
    assert handed_in.pictures(content, notebook) == {}


@pytest.mark.slow
def test_a_training_s_pictures_reach_the_page_of_the_one_who_grades(tmp_path, cage):
    course = sample.new_course(tmp_path, CagedExecute={"warm": ["numpy"]})
    notebook = sample.answered(course)
    place = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells].index("essay")
    training = nbformat.v4.new_code_cell("pass", id="training")
    training.outputs = [nbformat.v4.new_output("display_data", {"image/png": drawing(), "text/plain": "a curve"})]
    notebook.cells.insert(place, training)
    sample.hand_in(course, "ada", notebooks={"first": notebook})
    summary = grade_class(course, sample.ASSIGNMENT)
    assert summary.graded["ada"][3] == []
    graded = sample.graded_notebook(course, "ada")
    found = beside.find(Path(course.coursedir.root) / "source" / sample.ASSIGNMENT / "first.ipynb", graded)
    assert list(found) == ["essay"]
    assert "Because." in found["essay"].answer and len(found["essay"].pictures) == 1
    assert "a curve" not in json.dumps(graded.metadata.autograder)
