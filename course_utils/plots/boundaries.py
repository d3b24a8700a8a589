"""Points of a plane, and the regions in which a network decides for each class."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.handover import grading
from course_utils.plots.style import BLUE, GREEN, ORANGE, WIDTH, Picture, finished
from course_utils.predictions import compare, number
from course_utils.progress import watched

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS, _MARKERS = (BLUE, ORANGE, GREEN), "o^s"
#: Half the width of the square that is drawn, and the number of points along its side at which a network decides.
_REACH, _POINTS = 1.25, 120
#: The share of right decisions that counts as solved.
SOLVED = 0.95

Forward = Callable[[Mapping[str, np.ndarray], np.ndarray], Mapping[str, np.ndarray]]


def draw_points(X: np.ndarray, y: np.ndarray) -> Picture:
    """The points alone: X (N, 2), y (N,) with up to three classes."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(3.6, 3.6))
    _draw(axes, X, y, 14)
    axes.set(xlabel="first feature", ylabel="second feature")
    classes = len(np.unique(y))
    return finished(figure, f"{len(X)} points of {classes} classes in the plane, each class along an arm of a spiral.")


def draw_boundaries(
    forward: Forward,
    networks: Mapping[str, Mapping[str, np.ndarray]],
    X: np.ndarray,
    y: np.ndarray,
    predicted: Mapping[str, object] | None = None,
) -> Picture:
    """The regions of each class, a square for each network.

    Parameters
    ----------
    forward : callable
        ``forward(params, X)`` -> mapping with ``z3``, the logits (N, K).
    networks : mapping
        Name, written above the square -> params. The first one is the linear classifier, where something is predicted.
    X : (N, 2) array
    y : (N,) int array
        Up to three classes.
    predicted : mapping, optional
        ``accuracy`` of the first network, and ``hidden``, the number of hidden units that solve it; None for either
        where the student has predicted nothing.
    """
    import matplotlib.pyplot as plt

    columns = min(len(networks), 4)
    rows = -(-len(networks) // columns)
    # A single square is drawn larger.
    side = WIDTH / 4 if columns > 1 else 3.4
    figure, grid = plt.subplots(
        rows, columns, figsize=(side * columns, (side + 0.4) * rows), squeeze=False, sharex=True, sharey=True
    )
    accuracies = {}
    for axes, (name, params) in zip(grid.flat, networks.items(), strict=False):
        decided = forward(params, X)["z3"].argmax(axis=1)
        accuracies[name] = float(np.mean(decided == y))
        _draw_regions(axes, forward, params)
        _draw(axes, X, y, 4 if columns > 1 else 14)
        axes.set_title(f"{name}\naccuracy {accuracies[name]:.2f}", fontsize=10)
    for axes in grid.flat[len(networks) :]:
        axes.set_visible(False)
    for axes in grid[:, 0]:
        axes.set_ylabel("second feature", fontsize=9)
    for axes in grid[-1]:
        axes.set_xlabel("first feature", fontsize=9)
    found = "; ".join(f"{name}: accuracy {value:.2f}" for name, value in accuracies.items())
    text = f"The regions in which a network decides for each of the arms of a spiral. {found}."
    return finished(figure, f"{text} {_compared(figure, accuracies, predicted)}" if predicted is not None else text)


def _compared(figure: Any, accuracies: Mapping[str, float], predicted: Mapping[str, object]) -> str:
    (linear, accuracy), *others = accuracies.items()
    solved = [name for name, value in others if value > SOLVED]
    predictions = [
        number(linear, predicted["accuracy"], 0, 1, "of the points right"),
        number(f"more than {SOLVED:.0%} right", predicted["hidden"], 1, 1000, "hidden units"),
    ]
    first = f"{solved[0]} is the first of these" if solved else "none of these"
    return compare(figure, predictions, [f"accuracy {accuracy:.2f}", first])


def _draw(axes: Axes, X: np.ndarray, y: np.ndarray, size: float) -> None:
    for index, (colour, marker) in enumerate(zip(_COLOURS, _MARKERS, strict=True)):
        axes.scatter(*X[y == index].T, s=size, marker=marker, color=colour, linewidths=0)
    axes.set(xlim=(-_REACH, _REACH), ylim=(-_REACH, _REACH), xticks=(-1, 0, 1), yticks=(-1, 0, 1), aspect="equal")


def _draw_regions(axes: Axes, forward: Forward, params: Mapping[str, np.ndarray]) -> None:
    from matplotlib.colors import ListedColormap

    line = np.linspace(-_REACH, _REACH, _POINTS)
    first, second = np.meshgrid(line, line)
    decided = forward(params, np.stack([first.ravel(), second.ravel()], axis=1))["z3"].argmax(axis=1)
    extent = (-_REACH, _REACH, -_REACH, _REACH)
    axes.imshow(
        decided.reshape(first.shape), origin="lower", extent=extent, cmap=ListedColormap(_COLOURS), vmin=0, vmax=2,
        alpha=0.25, interpolation="nearest",
    )  # fmt: skip


def slide(draw: Callable[[int], Picture], least: int, most: int, label: str) -> Any:
    """A slider, and below it what ``draw`` gives for the number at which it stands.

    Parameters
    ----------
    draw : callable
        Whole number -> picture. Each number is drawn once.
    least, most : int
    label : str
        What the number is.

    Returns
    -------
    ipywidgets.Widget or None
        None while grading, and where a notebook is executed without a person who could move it.
    """
    if grading() or not watched():
        return None
    from ipywidgets import HTML, IntSlider, VBox

    wide = {"style": {"description_width": "initial"}, "layout": {"width": "28em"}}
    slider = IntSlider(least, least, most, description=label, continuous_update=False, **wide)
    shown, drawn = HTML(), {}

    def update(change: Mapping[str, Any] | None = None) -> None:
        value = slider.value
        if value not in drawn:
            shown.value = f"{label}: {value} ..."
            drawn[value] = draw(value)._repr_html_()
        shown.value = drawn[value]

    slider.observe(update, "value")
    update()
    return VBox([slider, shown])
