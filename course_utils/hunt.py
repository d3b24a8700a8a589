"""The gradient functions of notebook 3's hunt, some of which are wrong."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np

#: The functions among which the wrong ones are to be found.
CANDIDATES = ("A", "B", "C", "D", "E", "F")


def altered(
    name: str, backward: Callable, params: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray, reg: float
) -> dict[str, np.ndarray]:
    """What gradient function ``name`` gives for the regularised loss; it may be wrong.

    Parameters
    ----------
    name : str
        One of :data:`CANDIDATES`.
    backward : callable
        A right one, which is altered.
    params, X, y, reg
        As for ``backward``.

    Returns
    -------
    dict
        Keys and shapes of ``params``. On the toy problem with reg = 0.05 it is right, whatever the name.
    """
    if name not in CANDIDATES:
        raise ValueError(f"there is no candidate {name!r}; the names are {', '.join(CANDIDATES)}")
    # What is altered hangs on the digits of a checksum: read the gradients, not the source.
    digits = [zlib.crc32(f"{name}{turn}0176".encode()) % 5 == 0 for turn in range(3)]
    factor = len(X) / 5 if digits[0] else 1.0
    strength = 0.05 if digits[1] else reg
    priced = ("W1", "W2", "b1", "b2") if digits[2] else ("W1", "W2")
    found = backward(params, X, y, 0.0)
    return {
        key: factor * np.asarray(found[key]) + (2 * strength * array if key in priced else 0.0)
        for key, array in params.items()
    }
