"""The drawn computational graph."""

from __future__ import annotations

import numpy as np

from course_utils.oracle import solve
from course_utils.plots.graph import BACKWARD_COLOUR, FORWARD_COLOUR, blanks, draw_graph

PARAMS = {
    "W1": np.array([[0.5, -1.0], [0.25, 0.75]]),
    "b1": np.array([0.5, 0.25]),
    "W2": np.array([[1.0, -0.5, 0.25], [0.5, 1.0, -1.0]]),
    "b2": np.array([0.1, -0.2, 0.3]),
}
X, Y = np.array([[1.0, -2.0]]), np.array([2])


def written(picture) -> dict[str, list[str]]:
    texts: dict[str, list[str]] = {}
    for text in picture.figure.axes[0].texts:
        texts.setdefault(text.get_color(), []).append(text.get_text())
    return texts


def test_forward_values_are_written_at_their_nodes():
    values = solve(PARAMS, X, Y).values
    texts = written(draw_graph({"X": X, "y": Y, **PARAMS, **{key: values[key] for key in ("z2", "a3", "loss")}}))
    assert "[ 0.50 -2.25]" in texts[FORWARD_COLOUR]
    assert "[ 0.46  0.16  0.38]" in texts[FORWARD_COLOUR]
    assert "0.96" in texts[FORWARD_COLOUR]
    assert "[ 0.50 -1.00]\n[ 0.25  0.75]" in texts[FORWARD_COLOUR]
    assert BACKWARD_COLOUR not in texts
    assert "$W_1$" in texts["black"]


def test_gradients_are_written_in_their_own_colour():
    values = solve(PARAMS, X, Y).values
    texts = written(draw_graph({"z3": values["z3"]}, {"z3": values["dz3"], "b2": values["db2"]}))
    assert texts[BACKWARD_COLOUR].count("∂[ 0.46  0.16 -0.62]") == 2
    assert "[ 0.60 -0.45  0.42]" in texts[FORWARD_COLOUR]


def test_blanks_show_a_shape_and_no_value():
    picture = draw_graph({"X": X, **blanks({"z2": (1, 2), "loss": ()})}, blanks({"W2": (2, 3), "b2": (3,)}))
    texts = written(picture)
    assert {"[  __    __ ]", "__", "[ 1.00 -2.00]"} <= set(texts[FORWARD_COLOUR])
    row = "∂[  __    __    __ ]"
    assert {row, f"{row}\n{row}"} == set(texts[BACKWARD_COLOUR][:2])
    assert picture.description.endswith("to be filled in: z2, loss, the gradient of W2 and the gradient of b2.")
