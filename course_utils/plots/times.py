"""How long functions take, against the number of entries of their argument."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from course_utils.plots.style import BLUE, GREEN, ORANGE, WIDTH, Picture, finished, plain
from course_utils.predictions import compare, number

#: How long a function is called again and again, in seconds, before the shortest of its times is taken.
_LONG_ENOUGH = 0.02


def seconds(function: Callable[[np.ndarray], object], argument: np.ndarray) -> float:
    """The shortest time that ``function(argument)`` takes, in seconds: the longer ones have waited for other things."""
    times: list[float] = []
    while not times or sum(times) < _LONG_ENOUGH:
        start = time.perf_counter()
        function(argument)
        times.append(time.perf_counter() - start)
    return min(times)


def draw_times(sizes: Sequence[int], times: Mapping[str, Sequence[float]], predicted: object) -> Picture:
    """Draw the times of two functions, on logarithmic axes.

    Parameters
    ----------
    sizes : sequence of int
        Numbers of entries.
    times : mapping
        Name of the slower function, then of the faster one -> seconds for each of ``sizes``.
    predicted : object
        How many times longer the first one takes for the largest size, as the student expects, or None.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(WIDTH - 1, 3.4))
    for (name, taken), colour, marker in zip(times.items(), (ORANGE, BLUE), "so", strict=True):
        axes.loglog(sizes, 1000 * np.asarray(taken), marker=marker, markersize=5, color=colour, label=name)
    slower, faster = (1000 * taken[-1] for taken in times.values())
    prediction = number(f"{sizes[-1]:,} entries", predicted, 0, 1e9, "times as long")
    if isinstance(prediction.value, float):
        axes.plot(sizes[-1], prediction.value * faster, "*", color=GREEN, markersize=13, label="your prediction")
    axes.set(xlabel="entries of the array", ylabel="time in ms")
    axes.legend(frameon=False)
    plain(axes)
    seen = f"{slower / faster:.0f} times as long, {slower:.3f} ms in place of {faster:.3f} ms"
    names = " and ".join(times)
    return finished(
        figure,
        f"Time against the number of entries, on logarithmic axes, of {names}: straight lines for large arrays."
        f" {compare(figure, [prediction], [seen])}",
    )
