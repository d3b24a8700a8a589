"""The record of questions agrees with the notebooks and with README."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from course_utils.questions import QUESTIONS, TAKEN_OVER, asking, check_of, question

README = Path(__file__).resolve().parent.parent / "README.md"


def test_the_notebooks_ask_what_is_recorded(sources):
    found = {
        (name.removesuffix(".ipynb"), cell.metadata.nbgrader["grade_id"]): cell.metadata.nbgrader["points"]
        for name, notebook in sources.items()
        for cell in notebook.cells
        if cell.metadata.get("nbgrader", {}).get("grade")
    }
    assert {(one.notebook, one.test): one.points for one in QUESTIONS} == found
    assert sum(one.points for one in QUESTIONS) == 75


@pytest.mark.parametrize("one", [one for one in QUESTIONS if one.asks], ids=lambda one: one.test)
def test_a_question_is_asked_as_recorded(one, sources):
    text = "\n".join(cell.source for cell in sources[f"{one.notebook}.ipynb"].cells)
    for name, line in one.asks.items():
        definition = re.search(rf"def {name}\((.*?)\):", text, re.DOTALL)
        written = re.sub(r"\s+", " ", definition[1]).strip(" ,").replace("( ", "(")
        assert f"{name}({written})" == line
        assert asking(name) is one


@pytest.mark.parametrize("one", [one for one in QUESTIONS if one.check], ids=lambda one: one.test)
def test_a_question_has_its_check(one):
    assert callable(check_of(one))


def test_readme_shows_the_questions_and_their_points():
    table = [line for line in README.read_text().splitlines() if line.startswith("| `")]
    rows = dict(re.findall(r"^\| `(\w+)` \|.*\| (\d+) \|$", "\n".join(table), re.MULTILINE))
    for notebook in {one.notebook for one in QUESTIONS}:
        assert int(rows[notebook]) == sum(one.points for one in QUESTIONS if one.notebook == notebook)


def test_what_later_notebooks_take_over_is_asked_for():
    assert [asking(name).test for name in TAKEN_OVER] == ["test-forward", "test-loss", "test-backward"]
    assert question("test-loss").helpers == ("relu", "softmax", "forward", "softmax_cross_entropy")
