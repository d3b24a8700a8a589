"""Ours gives each cell the points that stock nbgrader gives; ``python -m tests.equality`` tries the whole banks."""

from __future__ import annotations

import pytest

from autograder.demo import CLASS
from tests.equality import compare
from tests.fairness import RIGHT, WRONG
from tests.fairness.runner import place_of

pytestmark = [pytest.mark.slow, pytest.mark.alone]

#: A deleted test earns nothing with stock nbgrader; ours puts it back. So it shows which one has graded.
DELETED = ("deleted-test", "1_forward_check", "test-relu")


def _one_of_each_notebook(bank):
    """The middle answer of each notebook; none that needs PyTorch where ours withholds it."""
    notebooks = {}
    for answer in bank:
        notebook = place_of(next(iter(answer.codes)))[0]
        if notebook.startswith("5") or "torch" not in "".join(answer.codes.values()):
            notebooks.setdefault(notebook, []).append(answer)
    return [answers[len(answers) // 2] for answers in notebooks.values()]


def test_points_are_those_of_stock_nbgrader(cage, tmp_path):
    answers = [*_one_of_each_notebook(WRONG), RIGHT[len(RIGHT) // 2]]
    compared = compare(tmp_path / "work", answers)
    assert [one for one in compared if one.stock != one.ours] == [(DELETED, None, 1.0)]
    names = {one.place[0] for one in compared}
    assert {student.name for student in CLASS} <= names
    assert {answer.title for answer in answers} <= names
    assert any(one.ours == 0 for one in compared) and any(one.ours for one in compared)
