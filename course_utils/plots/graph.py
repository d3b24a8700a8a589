"""The computational graph of the two-layer network, with numbers on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from course_utils.handover import grading
from course_utils.plots.style import BLUE, ORANGE, WIDTH, Picture, finished, listed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Node -> (label, x, y) in the units of the drawing: the hidden layer from left to right above, the output layer
#: back from right to left below it, so that the whole fits a page.
_NODES = {
    "X": ("$X$", 0.6, 2.7),
    "W1": (r"$W_1$", 2.1, 5.0),
    "b1": (r"$b_1$", 4.2, 5.0),
    "z2": (r"$z_2 = X W_1 + b_1$", 3.15, 2.7),
    "a2": (r"$a_2 = \mathrm{ReLU}(z_2)$", 6.6, 2.7),
    "W2": (r"$W_2$", 5.3, -2.45),
    "b2": (r"$b_2$", 7.6, -2.45),
    "z3": (r"$z_3 = a_2 W_2 + b_2$", 6.6, 0.0),
    "a3": (r"$a_3 = \mathrm{softmax}(z_3)$", 3.5, 0.0),
    "loss": (r"$J = -\log\, (a_3)_y$", 0.75, 0.0),
    "y": (r"$y$", 0.75, -2.3),
}
_EDGES = [
    ("X", "z2"), ("W1", "z2"), ("b1", "z2"), ("z2", "a2"), ("a2", "z3"), ("W2", "z3"),
    ("b2", "z3"), ("z3", "a3"), ("a3", "loss"), ("y", "loss"),
]  # fmt: skip
FORWARD_COLOUR = BLUE
BACKWARD_COLOUR = ORANGE


def draw_graph(values: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray] | None = None) -> Picture | None:
    """Draw the graph with forward values, and with gradients where they are given.

    Parameters
    ----------
    values : mapping
        Arrays (or numbers) for any of ``X``, ``W1``, ``b1``, ``z2``, ``a2``, ``W2``, ``b2``,
        ``z3``, ``a3``, ``y``, ``loss``; they are written in blue. Keep them small: a
        matrix is printed whole. Masked entries are written as blanks, to be filled in: see :func:`blanks`.
    gradients : mapping, optional
        Gradients of the loss with respect to any of them, written below in orange, with a sign of
        differentiation before them.

    Returns
    -------
    Picture or None
        None while grading: no point depends on the figure.
    """
    if grading():
        return None
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(WIDTH, 5.9))
    for start, end in _EDGES:
        _draw_arrow(axes, start, end)
    for name, (label, x, y) in _NODES.items():
        lines = [(label, "black", 12)]
        if name in values:
            lines.append((_written(values[name]), FORWARD_COLOUR, 9))
        if gradients is not None and name in gradients:
            lines.append((_written(gradients[name], mark="∂"), BACKWARD_COLOUR, 9))
        heights = [0.42 + 0.3 * text.count("\n") for text, _, _ in lines]
        top = y + sum(heights) / 2
        for (text, colour, size), height in zip(lines, heights, strict=True):
            family = "monospace" if colour != "black" else None
            axes.text(
                x, top - height / 2, text, color=colour, fontsize=size, family=family, ha="center", va="center",
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0},
            )  # fmt: skip
            top -= height
    axes.text(-0.1, -3.8, "blue: values, computed along the arrows", color=FORWARD_COLOUR, fontsize=10)
    if gradients is not None:
        text = "orange, after ∂: gradients of J with respect to the value above, against the arrows"
        axes.text(-0.1, -4.25, text, color=BACKWARD_COLOUR, fontsize=10)
    axes.set(xlim=(-0.2, 8.4), ylim=(-4.4 if gradients is not None else -3.9, 6.0))
    axes.axis("off")
    return finished(figure, _described(values, gradients))


def blanks(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ma.MaskedArray]:
    """Arrays of these shapes that :func:`draw_graph` writes as blanks."""
    return {name: np.ma.masked_all(shape) for name, shape in shapes.items()}


def _draw_arrow(axes: Axes, start: str, end: str) -> None:
    (_, x0, y0), (_, x1, y1) = _NODES[start], _NODES[end]
    if y0 == y1:
        direction = np.sign(x1 - x0)
        tail, head = (x0 + direction * (0.75 if start == "X" else 1.1), y0), (x1 - direction * 1.1, y1)
    else:
        direction = np.sign(y1 - y0)
        tail, head = (x0, y0 + direction * 0.9), (x1 + 0.12 * np.sign(x0 - x1), y1 - direction * 0.85)
    style = {"arrowstyle": "-|>", "color": "0.45", "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=head, xytext=tail, arrowprops=style)


def _described(values: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray] | None) -> str:
    inputs = [f"{end} is computed from {listed([start for start, other in _EDGES if other == end])}"
              for end in ("z2", "a2", "z3", "a3", "loss")]  # fmt: skip
    text = f"Computational graph of the network. {'; '.join(inputs)}. Values are written at {listed(list(values))}"
    text = f"{text}, and gradients of the loss below {listed(list(gradients))}." if gradients else f"{text}."
    blank = [name for name, value in values.items() if np.ma.is_masked(value)]
    blank += [f"the gradient of {name}" for name, value in (gradients or {}).items() if np.ma.is_masked(value)]
    return f"{text} Blank, to be filled in: {listed(blank)}." if blank else text


def _written(value: np.ndarray | float, mark: str = "") -> str:
    array = np.ma.asanyarray(value)
    if array.ndim == 0 or array.dtype.kind in "iu":
        if np.ma.is_masked(array):
            return f"{mark}__"
        return mark + (f"{array:.2f}" if array.ndim == 0 and array.dtype.kind == "f" else str(array))
    rows = array.reshape(-1, array.shape[-1]) if array.ndim else array.reshape(1, 1)
    return "\n".join(f"{mark}[" + " ".join(map(_entry, row)) + "]" for row in rows)


def _entry(item: float) -> str:
    return "  __ " if item is np.ma.masked else f"{item + 0.0:5.2f}"
