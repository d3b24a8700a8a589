"""The computational graph of the two-layer network, with numbers on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from course_utils.handover import grading

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Node -> (label, x, y) in the units of the drawing; data flow from left to right.
_NODES = {
    "X": ("$X$", 0.0, 0.0),
    "W1": (r"$W_1$", 1.5, 2.1),
    "b1": (r"$b_1$", 2.9, 2.1),
    "z2": (r"$z_2 = X W_1 + b_1$", 2.2, 0.0),
    "a2": (r"$a_2 = \mathrm{ReLU}(z_2)$", 4.5, 0.0),
    "W2": (r"$W_2$", 5.9, 2.1),
    "b2": (r"$b_2$", 7.95, 2.1),
    "z3": (r"$z_3 = a_2 W_2 + b_2$", 6.85, 0.0),
    "a3": (r"$a_3 = \mathrm{softmax}(z_3)$", 9.3, 0.0),
    "loss": (r"$J = -\log\, (a_3)_y$", 11.6, 0.0),
    "y": (r"$y$", 11.6, 2.1),
}
_EDGES = [
    ("X", "z2"), ("W1", "z2"), ("b1", "z2"), ("z2", "a2"), ("a2", "z3"), ("W2", "z3"),
    ("b2", "z3"), ("z3", "a3"), ("a3", "loss"), ("y", "loss"),
]  # fmt: skip
FORWARD_COLOUR = "#1b5e20"
BACKWARD_COLOUR = "#b71c1c"


def draw_graph(values: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray] | None = None) -> Figure | None:
    """Draw the graph with forward values, and with gradients where they are given.

    Parameters
    ----------
    values : mapping
        Arrays (or numbers) for any of ``X``, ``W1``, ``b1``, ``z2``, ``a2``, ``W2``, ``b2``,
        ``z3``, ``a3``, ``y``, ``loss``; they are written in green. Keep them small: a
        matrix is printed whole.
    gradients : mapping, optional
        Gradients of the loss with respect to any of them, written below in red.

    Returns
    -------
    matplotlib.figure.Figure or None
        None while grading: no point depends on the figure.
    """
    if grading():
        return None
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(11.5, 4.4))
    for start, end in _EDGES:
        (_, x0, y0), (_, x1, y1) = _NODES[start], _NODES[end]
        vertical = y0 != y1
        axes.annotate(
            "",
            xy=(x1 + (0.12 * np.sign(x0 - x1) if vertical else -0.95), y1 + (0.75 if vertical else 0.0)),
            xytext=(x0, y0 - 0.75) if vertical else (x0 + (0.6 if start == "X" else 0.95), y0),
            arrowprops={"arrowstyle": "-|>", "color": "0.45", "shrinkA": 0, "shrinkB": 0},
        )
    for name, (label, x, y) in _NODES.items():
        lines = [(label, "black", 12)]
        if name in values:
            lines.append((_written(values[name]), FORWARD_COLOUR, 9))
        if gradients is not None and name in gradients:
            lines.append((_written(gradients[name]), BACKWARD_COLOUR, 9))
        heights = [0.4 + 0.27 * text.count("\n") for text, _, _ in lines]
        top = y + sum(heights) / 2
        for (text, colour, size), height in zip(lines, heights, strict=True):
            family = "monospace" if colour != "black" else None
            axes.text(
                x, top - height / 2, text, color=colour, fontsize=size, family=family, ha="center", va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
            top -= height
    axes.text(-0.6, -1.5, "green: values, computed from left to right", color=FORWARD_COLOUR, fontsize=10.5)
    if gradients is not None:
        text = "red: gradients of J with respect to the value above, computed from right to left"
        axes.text(4.4, -1.5, text, color=BACKWARD_COLOUR, fontsize=10.5)
    axes.set(xlim=(-0.7, 12.7), ylim=(-1.8, 3.1))
    axes.axis("off")
    figure.tight_layout(pad=0.3)
    plt.close(figure)  # the notebook shows the returned figure once
    return figure


def _written(value: np.ndarray | float) -> str:
    array = np.asarray(value)
    if array.ndim == 0 or array.dtype.kind in "iu":
        return f"{array:.2f}" if array.ndim == 0 and array.dtype.kind == "f" else str(array)
    rows = np.atleast_2d(array)
    return "\n".join("[" + " ".join(f"{item + 0.0:5.2f}" for item in row) + "]" for row in rows)
