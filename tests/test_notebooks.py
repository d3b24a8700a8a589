"""The source notebooks as files: valid, executed, free of noise; and their released versions."""

from __future__ import annotations

import base64
import io
import re

import nbformat
import pytest
from nbclient import NotebookClient
from PIL import Image

from autograder.notebooks import without_noise
from autograder.release import EXPECTED, FIRST_CELL, PREDICTED_TAG, TRAINED, RunToTheEnd
from course_utils.notebooks import ASKED
from course_utils.questions import QUESTIONS
from tests.conftest import SOURCE

pytestmark = pytest.mark.slow

NAMES = sorted(path.name for path in SOURCE.glob("*.ipynb"))
#: Autograded and manually graded points together.
POINTS = {name: sum(one.points for one in QUESTIONS if f"{one.notebook}.ipynb" == name) for name in ASKED}


def test_every_notebook_is_there():
    assert set(NAMES) == set(POINTS)


@pytest.mark.parametrize("name", NAMES)
def test_source_is_valid_and_clean(name):
    raw = (SOURCE / name).read_text(encoding="utf-8")
    notebook = nbformat.reads(raw, as_version=4)
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "python3"
    assert without_noise(nbformat.reads(raw, as_version=4)) == notebook, "run make notebooks"
    counts = [cell.execution_count for cell in notebook.cells if cell.cell_type == "code"]
    assert counts == list(range(1, len(counts) + 1)), "run make notebooks"
    assert not [
        output for cell in notebook.cells for output in cell.get("outputs", ()) if output.output_type == "error"
    ]
    assert not re.search(r"/root/|/home/|/tmp/|/Users/", raw)
    assert len(raw) < 3_000_000


@pytest.mark.parametrize("name", NAMES)
def test_nbgrader_metadata(name, sources):
    cells = sources[name].cells
    settings = [cell.metadata.nbgrader for cell in cells]  # every cell has some: nothing is left editable by mistake
    identifiers = [setting["grade_id"] for setting in settings]
    assert len(set(identifiers)) == len(identifiers)
    assert all(setting["schema_version"] == 3 for setting in settings)
    assert sum(setting.get("points", 0) for setting in settings) == POINTS[name]
    for cell, setting in zip(cells, settings, strict=True):
        assert setting["solution"] != setting["locked"], "a cell is either the student's or locked"
        if setting["solution"] and cell.cell_type == "code":
            assert "### BEGIN SOLUTION" in cell.source
        if setting["grade"] and not setting["solution"]:
            assert setting["grade_id"].startswith("test-")
    assert "setup" in cells[identifiers.index("setup")].metadata.tags


#: What an estimate of the minutes of work is made of.
WORDS_A_MINUTE, MINUTES_A_POINT, MINUTES_A_QUESTION = 100, 6, 1


@pytest.mark.parametrize("name", NAMES)
def test_a_notebook_begins_with_aims_and_times_and_ends_with_eight_questions(name, sources):
    given = [cell for cell in sources[name].cells if cell.cell_type == "markdown" and not cell.metadata.nbgrader.grade]
    first = given[0].source
    (questions,) = [cell.source for cell in given if cell.id == "ask-yourself"]
    for part in ("**You learn**", "**It builds on**", "**It takes**", "of waiting (measured"):
        assert part in first
    text = "\n".join(cell.source for cell in given)
    minutes = len(text.split()) / WORDS_A_MINUTE + MINUTES_A_POINT * POINTS[name] + MINUTES_A_QUESTION * text.count("?")
    assert int(re.search(r"about (\d+) minutes of work", first)[1]) == pytest.approx(minutes, rel=0.05)
    assert f"{WORDS_A_MINUTE} words a minute, {MINUTES_A_POINT} minutes a point, a minute a question" in first
    assert (
        len(re.findall(r"^\d\. .*\?\n   <details><summary>Answer</summary>.+</details>$", questions, re.MULTILINE)) == 8
    )


@pytest.mark.parametrize("name", NAMES)
def test_release_holds_no_solution_and_no_hidden_test(name, release, sources):
    released = nbformat.read(release / name, as_version=4)
    text = "\n".join(cell.source for cell in released.cells)
    for marker in ("### BEGIN", "### END", "random_problem"):
        assert marker not in text
    region_text = re.compile(r"### BEGIN (?:SOLUTION|HIDDEN TESTS)\n(.*?)### END", flags=re.DOTALL)
    given = {line.strip() for cell in sources[name].cells for line in region_text.sub("", cell.source).splitlines()}
    own = {line.strip() for cell in released.cells for line in cell.source.splitlines()} - given
    for cell in sources[name].cells:
        for region in region_text.findall(cell.source):
            leaked = [line.strip() for line in region.splitlines() if len(line.strip()) > 25 and line.strip() in own]
            assert not leaked, f"{cell.id}: {leaked}"
    manual = [cell for cell in sources[name].cells if cell.metadata.nbgrader["grade"] and cell.cell_type == "markdown"]
    for cell in manual:
        released_cell = next(other for other in released.cells if other.id == cell.id)
        assert "YOUR ANSWER HERE" in released_cell.source
    assert not [cell for cell in released.cells if cell.get("outputs")]


def test_release_holds_no_trained_network(release):
    assert not [name for name in TRAINED if (release / name).exists()]
    assert {path.suffix for path in release.iterdir()} == {".ipynb"}


@pytest.mark.parametrize("name", NAMES)
def test_release_runs_to_the_end_and_says_what_is_not_written(name, release):
    released = nbformat.read(release / name, as_version=4)
    resources = {"metadata": {"path": str(release)}}
    # Without allow_errors: the notebook's own tags let the run go on.
    NotebookClient(released, timeout=300, kernel_name="python3", resources=resources).execute()
    errors = {
        cell.id: output
        for cell in released.cells
        for output in cell.get("outputs", ())
        if output.output_type == "error"
    }
    for cell_id, error in errors.items():
        assert error.ename == "NotImplementedError", f"{cell_id}: {error.evalue}"
        assert len(error.traceback) == 1 and "\n" not in error.traceback[0], f"{cell_id}: no sentence, a traceback"
    graded = {cell.id for cell in released.cells if cell.metadata.get("nbgrader", {}).get("grade") and "source" in cell}
    graded &= {cell.id for cell in released.cells if cell.cell_type == "code"}
    assert graded <= set(errors), f"pass without an answer: {sorted(graded - set(errors))}"
    ungraded = {cell.id for cell in released.cells if cell.metadata.get("nbgrader", {}).get("solution")}
    assert not ungraded & set(errors), "where nothing is called, nothing is raised"


@pytest.mark.parametrize("name", NAMES)
def test_release_begins_by_saying_what_is_missing(name, release, tmp_path):
    released = nbformat.read(release / name, as_version=4)
    first = next(cell for cell in released.cells if cell.cell_type == "code")
    assert first.id == FIRST_CELL
    assert "'course_utils'" in first.source and ("'torch'" in first.source) == name.startswith("5")
    # In a Python without the course's package.
    first.source = first.source.replace("'course_utils'", "'course_utils_that_is_not_there'")
    alone = nbformat.v4.new_notebook(cells=[first], metadata=released.metadata)
    NotebookClient(alone, timeout=60, allow_errors=True, resources={"metadata": {"path": str(tmp_path)}}).execute()
    (error,) = alone.cells[0].outputs
    assert error.ename == "NotInstalled"
    (sentence,) = error.traceback
    assert "course_utils_that_is_not_there" in sentence and "numpy" not in sentence


@pytest.mark.parametrize("name", NAMES)
def test_every_stored_figure_has_an_alternative_text(name, sources):
    shown = [
        output.data
        for cell in sources[name].cells
        if cell.cell_type == "code"
        for output in cell.outputs
        if "data" in output
    ]
    assert not any(kind.startswith("image/") for data in shown for kind in data), "a picture without a description"
    pictures = [tag for data in shown for tag in re.findall(r"<img [^>]*>", data.get("text/html", ""))]
    assert pictures
    assert all(len(re.search(r'alt="([^"]*)"', tag)[1]) > 40 for tag in pictures)


def test_release_shows_expected_figures_with_descriptions(release, sources):
    shown = 0
    for name in NAMES:
        released = nbformat.read(release / name, as_version=4)
        order = [cell.id for cell in released.cells]
        for grade_id, descriptions in EXPECTED.get(name.removesuffix(".ipynb"), {}).items():
            cell = next(cell for cell in released.cells if cell.id == f"{grade_id}-expected")
            assert order.index(cell.id) == order.index(grade_id) + 1
            (source,) = [cell for cell in sources[name].cells if cell.metadata.nbgrader["grade_id"] == grade_id]
            # What is to be predicted can be looked at, but isn't seen at once.
            assert cell.source.startswith("<details>") == (PREDICTED_TAG in source.metadata.get("tags", []))
            for description in descriptions:
                assert f"![{description}][" in cell.source
            for picture in re.findall(r"data:image/png;base64,(\S+)", cell.source):
                with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
                    assert image.width <= 800 and image.height > 100
                shown += 1
    assert shown == sum(len(text) for cells in EXPECTED.values() for text in cells.values()) > 0


@pytest.mark.parametrize(
    ("source", "released"),
    [
        ("# YOUR CODE HERE\nraise NotImplementedError()", "# YOUR CODE HERE"),
        ("best = None\n# YOUR CODE HERE\nraise NotImplementedError()", "best = None"),
        ("def f():\n    # YOUR CODE HERE\n    raise NotImplementedError()",) * 2,
    ],
)
def test_release_raises_nothing_outside_of_functions(source, released):
    cell, _ = RunToTheEnd().preprocess_cell(nbformat.v4.new_code_cell(source), {}, 0)
    assert cell.source == released
