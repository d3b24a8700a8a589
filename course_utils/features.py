"""Another representation of photographs than their pixels, and a linear classifier to see what one is worth."""

from __future__ import annotations

import numpy as np

#: Pixels of a cell's side, and directions that are told apart; after N. Dalal and B. Triggs, Histograms of oriented
#: gradients for human detection (2005), without their normalisation of blocks.
CELL, DIRECTIONS = 8, 9
_AT_A_TIME = 2_000


def histograms_of_gradients(images: np.ndarray) -> np.ndarray:
    """How strong the edges of each direction are in each cell of a photograph (HOG).

    Parameters
    ----------
    images : (N, S, S, 3) array
        Pixels from 0 to 255; S is a multiple of 8.

    Returns
    -------
    (N, (S / 8)**2 * 9) float32 array
        Nine numbers for each cell of 8 by 8 pixels: the gradient's length, summed over the cell's pixels whose
        gradient has this direction, and divided by the number of pixels. The directions are 0, 20, ..., 160 degrees,
        0 being from left to right, and the sign of a gradient doesn't count. A direction between two of them is shared
        out to both.
    """
    parts = [_histograms(images[start : start + _AT_A_TIME]) for start in range(0, len(images), _AT_A_TIME)]
    return np.concatenate(parts)


def _histograms(images: np.ndarray) -> np.ndarray:
    number, side = images.shape[:2]
    cells = side // CELL
    grey = np.pad(images.mean(axis=3, dtype=np.float32) / 255, ((0, 0), (1, 1), (1, 1)), mode="edge")
    right = grey[:, 1:-1, 2:] - grey[:, 1:-1, :-2]
    down = grey[:, 2:, 1:-1] - grey[:, :-2, 1:-1]
    length = np.hypot(right, down) / CELL**2
    place = np.arctan2(down, right) * (DIRECTIONS / np.pi)  # in directions, where a half turn is none
    lower = np.floor(place)
    share = place - lower
    lower = lower.astype(np.int64)
    # One count for all: each pixel adds to two places of a table of photographs, cells and directions.
    rows = np.arange(side) // CELL
    cell = np.arange(number)[:, None, None] * cells**2 + rows[:, None] * cells + rows
    table = np.zeros(number * cells**2 * DIRECTIONS)
    for direction, weight in ((lower % DIRECTIONS, length * (1 - share)), ((lower + 1) % DIRECTIONS, length * share)):
        table += np.bincount((cell * DIRECTIONS + direction).ravel(), weight.ravel(), minlength=table.size)
    return table.reshape(number, -1).astype(np.float32)


def least_squares_classifier(X: np.ndarray, y: np.ndarray, num_classes: int, reg: float = 1e-2) -> np.ndarray:
    """A linear classifier that needs no training: one system of linear equations.

    It minimises the mean square of the difference between the scores ``[X, 1] @ W`` and 1 for the true class, 0 for the
    others, plus ``reg`` times the mean square of a feature times the sum of squares of ``W``.

    Parameters
    ----------
    X : (N, D) array
    y : (N,) int array
        True classes.
    num_classes : int
    reg : float
        Without it, pixels that tell the same would leave the equations without a solution.

    Returns
    -------
    (D + 1, num_classes) array
        ``W``; its last row belongs to the constant 1. See :func:`linear_scores`.
    """
    extended = _with_one(X)
    left = (extended.T @ extended).astype(np.float64)
    left[np.diag_indices(len(left))] += reg * len(X) * float(np.mean(np.square(X, dtype=np.float64)))
    targets = np.eye(num_classes, dtype=X.dtype)[y]
    return np.linalg.solve(left, (extended.T @ targets).astype(np.float64)).astype(X.dtype)


def linear_scores(W: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Scores (N, K) of the rows of X (N, D) by ``W`` (D + 1, K) of :func:`least_squares_classifier`."""
    return _with_one(X) @ W


def _with_one(X: np.ndarray) -> np.ndarray:
    return np.concatenate([X, np.ones((len(X), 1), X.dtype)], axis=1)
