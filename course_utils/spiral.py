"""Points in the plane that no straight line separates."""

from __future__ import annotations

import numpy as np


def spiral(samples_per_class: int = 100, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Points along the arms of a spiral, one arm a class; always the same ones.

    Parameters
    ----------
    samples_per_class, classes : int

    Returns
    -------
    X : (samples_per_class * classes, 2) float array
        Within the unit circle, but for a little noise along it.
    y : (samples_per_class * classes,) int array
        The arm of each point.
    """
    rng = np.random.default_rng(0)
    radius = np.tile(np.linspace(0.05, 1, samples_per_class), classes)
    y = np.repeat(np.arange(classes), samples_per_class)
    angle = 2 * np.pi * (y / classes + _TURNS * radius) + _NOISE * rng.standard_normal(radius.size)
    return np.stack([radius * np.sin(angle), radius * np.cos(angle)], axis=1), y


#: How often an arm goes round the centre, and the standard deviation of its angle, in radians.
_TURNS, _NOISE = 0.75, 0.2
