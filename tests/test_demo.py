"""The simulated class: who loses what, and what is told."""

from __future__ import annotations

import re

import nbformat
import pytest
from rich.console import Console

from autograder.demo import CLASS, REPORT, table, unexpected
from autograder.feedback import HideHiddenTests

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.mark.parametrize("student", CLASS, ids=lambda student: student.name)
def test_each_student_loses_exactly_what_is_intended(demo, student):
    results, _ = demo
    own = {result.question: result for result in results if result.student == student.name}
    assert own
    assert set(student.loses) - {"*"} <= set(own)
    assert unexpected(results, student) == []


def test_perfect_gets_every_point_and_untouched_none(demo, sources):
    results, _ = demo
    possible = sum(
        cell.metadata.nbgrader.get("points", 0)
        for notebook in sources.values()
        for cell in notebook.cells
        if cell.cell_type == "code" and cell.metadata.nbgrader["grade"]
    )
    points = {
        name: sum(result.points for result in results if result.student == name) for name in ("perfect", "untouched")
    }
    assert points == {"perfect": possible, "untouched": 0}


@pytest.mark.parametrize(
    ("student", "sentence"),
    [
        ("half-lambda", "the regularisation has a factor 1/2"),
        ("no-relu-mask", "the ReLU's derivative is missing"),
        ("one-sided", "the difference is divided by h, but x + h and x - h lie 2h apart"),
        ("raises", "name 'loss' is not defined"),
        ("untouched", "not written yet"),
    ],
)
def test_message_says_why(demo, student, sentence):
    results, _ = demo
    lost = [result for result in results if result.student == student and result.points < result.possible]
    assert any(sentence in result.message for result in lost), [result.message for result in lost]
    assert all(result.message for result in lost)


def test_table_shows_every_student_question_and_message(demo):
    results, _ = demo
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115 - closed with the process
    console.print(table(results))
    text = console.export_text()
    for result in results:
        assert result.student in text
        assert result.question.removeprefix("test-") in text
        if result.points < result.possible:
            assert result.message.splitlines()[0] in text


def test_feedback_shows_messages_and_no_hidden_source(demo, sources):
    _, work = demo
    for student in CLASS:
        for name, source in sources.items():
            page = work / "feedback" / student.name / "two_layer_net" / name.replace(".ipynb", ".html")
            text = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
            assert "random_problem" not in text
            for cell in source.cells:
                if "### BEGIN HIDDEN TESTS" in cell.source:
                    assert HideHiddenTests.replacement in text
    page = work / "feedback" / "half-lambda" / "two_layer_net" / "1_forward_check.html"
    assert "the regularisation has a factor 1/2" in page.read_text(encoding="utf-8")


def test_feedback_says_that_a_deleted_test_was_added_again(demo):
    _, work = demo
    page = work / "feedback" / "deleted-test" / "two_layer_net" / "1_forward_check.html"
    assert "cells had been deleted and were added again: test-relu" in page.read_text(encoding="utf-8")


def test_hidden_region_and_traceback_are_replaced():
    cell = nbformat.v4.new_code_cell("check(f)\n### BEGIN HIDDEN TESTS\nsecret = 42\n### END HIDDEN TESTS\nprint(1)")
    cell.outputs = [
        nbformat.v4.new_output("error", ename="KeyError", evalue="'a3'", traceback=["----> 3 secret = 42", "KeyError"])
    ]
    cleaned, _ = HideHiddenTests().preprocess_cell(cell, {}, 0)
    assert cleaned.source == "check(f)\n# Hidden tests ran here.\nprint(1)"
    assert cleaned.outputs[0].traceback == ["KeyError: 'a3'"]


def test_what_a_check_shows_in_place_of_a_traceback_is_kept(demo):
    _, work = demo
    for notebook, sentence in (("4_cifar10_tuning", "train is not written yet."), ("1_forward_check", "relu is not")):
        page = work / "feedback" / "untouched" / "two_layer_net" / f"{notebook}.html"
        assert f"NotImplementedError: {sentence}" in re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    page = work / "feedback" / "untouched" / "two_layer_net" / "4_cifar10_tuning.html"
    text = re.sub(r"<[^>]+>", "", page.read_text(encoding="utf-8"))
    assert "NotImplementedError: there is no best_net.npz beside the notebook" in text
    assert "check_file" not in text


def test_the_report_names_what_the_class_did_wrong(demo):
    _, work = demo
    text = (work / REPORT).read_text(encoding="utf-8")
    for sentence in ("egularisation has a factor 1/2", "derivative is missing", "he difference is divided by h"):
        assert sentence in text
    assert "7 students" in text
    lecture = text[text.index('class="lecture"') :]
    assert lecture.count('class="formula"') == 6 and lecture.count('class="picture"') == 3
    assert not [student.name for student in CLASS if student.name in lecture]
