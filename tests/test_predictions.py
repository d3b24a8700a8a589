"""Predictions: plain values that are read, marked and set beside what is seen."""

from __future__ import annotations

import matplotlib
import numpy as np
import pytest

from course_utils.plots.style import GREEN, ORANGE
from course_utils.predictions import Prediction, choice, compare, mark, number

matplotlib.use("Agg")
OPTIONS = {"a": "it falls at once", "b": "it stays"}


@pytest.fixture
def figure():
    from matplotlib import pyplot as plt

    made = plt.figure(figsize=(5, 3))
    yield made
    plt.close(made)


@pytest.mark.parametrize("answer", [1e-5, 1, np.float32(0.5), np.int64(1)])
def test_a_number_is_taken(answer):
    assert number("step", answer, 1e-13, 1).value == float(answer)
    assert number("step", answer, 1e-13, 1, "m").text == f"{float(answer):.3g} m"


@pytest.mark.parametrize("answer", ["1e-5", float("nan"), 2.0, 0, True, [1e-5], 1j, object(), 10**400])
def test_what_is_no_number_of_the_range_is_asked_for_again(answer):
    found = number("step", answer, 1e-13, 1)
    assert found.value is None
    assert "from 1e-13 to 1" in found.text


@pytest.mark.parametrize("answer", ["b", " B "])
def test_a_choice_is_taken(answer):
    assert choice("loss", answer, OPTIONS) == Prediction("loss", "b", "it stays")


@pytest.mark.parametrize("answer", ["c", "", 1, ["a"], b"a"])
def test_what_is_no_choice_is_asked_for_again(answer):
    found = choice("loss", answer, OPTIONS)
    assert found.value is None
    assert '"a", "b"' in found.text


@pytest.mark.parametrize("missing", [number("step", None, 0, 1), choice("loss", None, OPTIONS)])
def test_what_is_seen_is_not_told_before_a_prediction(figure, missing):
    told = compare(figure, [missing], ["the answer"])
    (text,) = figure.texts
    assert text.get_text().replace("\n", " ") == told
    assert "No prediction yet" in told and "the answer" not in told
    assert text.get_color() == ORANGE


def test_predicted_and_seen_stand_together(figure):
    told = compare(figure, [number("step", 1e-10, 0, 1), choice("loss", "a", OPTIONS)], ["6e-06", "it stays"])
    assert told == "Step: predicted 1e-10; seen 6e-06. Loss: predicted it falls at once; seen it stays."
    first, second = figure.texts
    assert first.get_position()[1] > second.get_position()[1]
    assert {first.get_color(), second.get_color()} == {GREEN}


def test_a_number_is_marked_at_its_place(figure):
    axes = figure.add_subplot()
    mark(axes, number("step", 0.25, 0, 1))
    (line,) = axes.lines
    assert list(line.get_xdata()) == [0.25, 0.25]
    mark(axes, number("step", None, 0, 1))
    mark(axes, choice("loss", "a", OPTIONS))
    assert len(axes.lines) == 1
