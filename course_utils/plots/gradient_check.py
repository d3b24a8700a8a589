"""The error of a numerical gradient, drawn against its step."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from course_utils.handover import grading
from course_utils.plots.style import BLUE, ORANGE, WIDTH, Picture, finished
from course_utils.predictions import compare, mark, number

#: From steps that drown in round-off to steps that are larger than the weights.
STEPS = 10.0 ** np.arange(-13, 0.01, 0.25)
_EPSILON = float(np.finfo(np.float64).eps)


def draw_error_against_step(
    numerical_gradient: Callable,
    f: Callable[[np.ndarray], float],
    x: np.ndarray,
    gradient: np.ndarray,
    predicted: Mapping[str, object],
) -> Picture | None:
    """Draw the errors of central and forward differences against the step h, on logarithmic axes.

    Parameters
    ----------
    numerical_gradient : callable
        ``numerical_gradient(f, x, h)`` -> array shaped like x, by central differences.
    f : callable
        Smooth around x; array -> float.
    x : array
    gradient : array shaped like x
        The exact gradient of f at x.
    predicted : mapping
        ``forward`` and ``central`` -> the step that the student expects to be best, or None.

    Returns
    -------
    Picture or None
        The error is the largest deviation of an entry, relative to the largest entry of
        the gradient. None while grading: no point depends on the figure.
    """
    if grading():
        return None
    import matplotlib.pyplot as plt

    steps = STEPS
    central = np.array([_error(numerical_gradient(f, x, float(h)), gradient) for h in steps])
    forward = np.array([_error(_forward_differences(f, x, float(h)), gradient) for h in steps])
    figure, axes = plt.subplots(figsize=(WIDTH, 4.5))
    axes.loglog(steps, forward, "s", color=ORANGE, markersize=4, label="forward differences")
    axes.loglog(steps, central, "o", color=BLUE, markersize=4, label="central differences")
    # Each guide line goes through the middle of the errors on its own side of the minimum.
    for errors, slope, low, high, text, shift in (
        (forward, 1, 1e-6, 1e-2, "slope 1", (-28, 14)),
        (central, 2, 1e-3, 1e-1, "slope 2", (30, -20)),
        (central, -1, 1e-13, 1e-8, "slope $-1$", (34, 12)),
    ):
        side = (steps >= low) & (steps <= high)
        level = np.exp(np.mean(np.log(np.maximum(errors[side], _EPSILON)) - slope * np.log(steps[side])))
        axes.loglog(steps[side], level * steps[side] ** slope, color="0.35", linewidth=1, zorder=0)
        middle = np.sqrt(low * high)
        axes.annotate(
            text, (middle, level * middle**slope), xytext=shift, textcoords="offset points",
            ha="center", va="center", fontsize=9, color="0.25",
        )  # fmt: skip
    predictions, seen = [], []
    for name, errors, line in (("forward", forward, ":"), ("central", central, "--")):
        predictions.append(number(f"best step, {name}", predicted[name], steps[0], steps[-1]))
        seen.append(f"{steps[np.argmin(errors)]:.0e}, where the error is {errors.min():.0e}")
        mark(axes, predictions[-1], f"your prediction, {name}", line)
    axes.set(xlabel="step $h$", ylabel="largest error, relative to the gradient")
    axes.legend(loc="lower right", framealpha=1, edgecolor="white", fontsize=9)
    text = (
        "Error of a numerical gradient against its step h, on logarithmic axes. Each curve is V-shaped: on the left it"
        " falls with slope -1, on the right it rises with slope 1 for forward and 2 for central differences."
    )
    return finished(figure, f"{text} {compare(figure, predictions, seen)}")


def _error(got: np.ndarray, exact: np.ndarray) -> float:
    # Below the resolution of float64 there is nothing to draw.
    return max(float(np.max(np.abs(got - exact)) / np.max(np.abs(exact))), _EPSILON)


def _forward_differences(f: Callable, x: np.ndarray, h: float) -> np.ndarray:
    start, steps = f(x), h * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([(f(x + step) - start) / h for step in steps]).reshape(x.shape)
