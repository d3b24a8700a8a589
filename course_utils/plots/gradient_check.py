"""The error of a numerical gradient, drawn against its step."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_utils.handover import grading
from course_utils.plots.style import BLUE, ORANGE, WIDTH, Picture, finished

#: From steps that drown in round-off to steps that are larger than the weights.
STEPS = 10.0 ** np.arange(-13, 0.01, 0.25)
_EPSILON = float(np.finfo(np.float64).eps)


def draw_error_against_step(
    numerical_gradient: Callable, f: Callable[[np.ndarray], float], x: np.ndarray, gradient: np.ndarray
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
        (forward, 1, 1e-6, 1e-2, "truncation\nslope 1", (-36, 16)),
        (central, 2, 1e-3, 1e-1, "truncation\nslope 2", (34, -26)),
        (central, -1, 1e-13, 1e-8, "round-off\nslope $-1$", (40, 12)),
    ):
        side = (steps >= low) & (steps <= high)
        level = np.exp(np.mean(np.log(np.maximum(errors[side], _EPSILON)) - slope * np.log(steps[side])))
        axes.loglog(steps[side], level * steps[side] ** slope, color="0.35", linewidth=1, zorder=0)
        middle = np.sqrt(low * high)
        axes.annotate(
            text, (middle, level * middle**slope), xytext=shift, textcoords="offset points",
            ha="center", va="center", fontsize=9, color="0.25",
        )  # fmt: skip
    axes.axvline(1e-5, color="0.6", linestyle=":", linewidth=1)
    axes.annotate("$h = 10^{-5}$", (1e-5, 1), xycoords=("data", "axes fraction"), xytext=(4, -12),
                  textcoords="offset points", fontsize=9, color="0.35")  # fmt: skip
    axes.set(xlabel="step $h$", ylabel="largest error, relative to the gradient")
    axes.legend(loc="lower left", frameon=False)
    return finished(
        figure,
        "Error of a numerical gradient against its step h, on logarithmic axes. Each curve is V-shaped: on the left"
        " round-off falls with slope -1, on the right truncation rises with slope 1 for forward and 2 for central"
        f" differences. The smallest error is {central.min():.1e} of central and {forward.min():.1e} of forward ones.",
    )


def _error(got: np.ndarray, exact: np.ndarray) -> float:
    # Below the resolution of float64 there is nothing to draw.
    return max(float(np.max(np.abs(got - exact)) / np.max(np.abs(exact))), _EPSILON)


def _forward_differences(f: Callable, x: np.ndarray, h: float) -> np.ndarray:
    start, steps = f(x), h * np.eye(x.size).reshape(x.size, *x.shape)
    return np.array([(f(x + step) - start) / h for step in steps]).reshape(x.shape)
