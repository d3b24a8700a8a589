"""What the network computes, in NumPy: what is right, and what the mistakes are made of."""

from __future__ import annotations

import numpy as np


def relu(z: np.ndarray) -> np.ndarray:
    """The positive values, and 0 for the others."""
    return np.maximum(z, 0)


def softmax(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    """Probabilities that sum to 1 along an axis, or over all entries (None)."""
    return np.exp(log_softmax(z, axis))


def log_softmax(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    """Their logarithms."""
    return z - log_sum(z, axis)


def log_sum(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    """The logarithm of the sum of exponentials; the axis stays."""
    return np.logaddexp.reduce(np.asarray(z, dtype=np.float64), axis=axis, keepdims=True)


def cross_entropy(z3: np.ndarray, y: np.ndarray) -> float:
    """The mean of -log of the true classes' probabilities."""
    return -np.mean(of_true(log_softmax(z3), y))


def sigmoid(z: np.ndarray) -> np.ndarray:
    """1 / (1 + exp(-z))."""
    return np.exp(-np.logaddexp(0.0, -np.asarray(z, dtype=np.float64)))


def of_true(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The entry of each row's true class."""
    return values[np.arange(len(values)), y]


def squares(arrays: list[np.ndarray]) -> float:
    """The sum of the squares of all entries."""
    return float(sum(np.sum(np.square(array, dtype=np.float64)) for array in arrays))


def largest(z: np.ndarray) -> np.ndarray:
    """1.0 at the largest entries of each row, and 0.0 elsewhere."""
    return (z == z.max(axis=1, keepdims=True)) * 1.0


#: Constants that students add to keep a quotient or a logarithm finite.
SMALL = tuple(10.0**-k for k in range(2, 16))
