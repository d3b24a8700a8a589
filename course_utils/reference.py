"""The problems on which a notebook's checks are made, with their reference values.

The values were computed once by :mod:`course_utils.oracle` and are stored in
``reference-values/problems.npz``; ``reference-values/provenance.json`` tells with what.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

#: Folder of the stored reference values.
FOLDER = Path(__file__).with_name("reference-values")

#: Scores of the toy network to the 8 digits in which CS231n's assignment published them.
PUBLISHED_TOY_SCORES = np.array(
    [
        [0.36446210, 0.22911264, 0.40642526],
        [0.47590629, 0.17217039, 0.35192332],
        [0.43035767, 0.26164229, 0.30800004],
        [0.41583127, 0.29832280, 0.28584593],
        [0.36328815, 0.32279939, 0.31391246],
    ]
)
#: Its published loss, with reg = 0.05.
PUBLISHED_TOY_LOSS = 1.30378789133

#: Names of the stored problems.
NAMES = ("toy", "biased", "unregularised", "large")
#: Problems of one sample each, for trainings on rows that are all alike.
SAMPLES = ("sample", "unregularised sample")
#: How a training may change its data before it uses them: each sample is stored with its row changed so, too.
SAMPLE_CHANGES: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "centred": lambda X: X - X.mean(axis=0), "truncated": np.trunc, "scaled": lambda X: X / 255,
}  # fmt: skip


class Problem(NamedTuple):
    """A small network, a batch of data, and every value that the notebooks compute from them.

    Attributes
    ----------
    name : str
        How messages call it.
    X : (N, D) float array
    y : (N,) int array, 0 <= y < K
    params : dict
        ``W1`` (D, H), ``b1`` (H,), ``W2`` (H, K), ``b2`` (K,).
    reg : float
    values : dict
        ``z2``, ``a2`` (N, H); ``z3``, ``a3`` (N, K); ``data_loss`` and ``loss`` (floats,
        without and with regularisation); ``dz3``, ``da2``, ``dz2`` (gradients of the data
        loss, shaped like their variables); ``dW1``, ``db1``, ``dW2``, ``db2`` (gradients
        of the data loss). The regularised gradient of a weight W is dW + 2 reg W.
    """

    name: str
    X: np.ndarray
    y: np.ndarray
    params: dict[str, np.ndarray]
    reg: float
    values: dict[str, Any]

    @property
    def onehot(self) -> np.ndarray:
        """The matrix Delta, (N, K): 1 at each sample's true class, else 0."""
        return np.eye(self.params["b2"].size)[self.y]

    def gradients(self) -> dict[str, np.ndarray]:
        """The four gradients of the regularised loss, keyed like ``params``."""
        gradients = {name: self.values[f"d{name}"].copy() for name in self.params}
        for name in filter(lambda name: name.startswith("W"), gradients):
            gradients[name] += 2 * self.reg * self.params[name]
        return gradients


def toy_problem() -> tuple[dict[str, np.ndarray], np.ndarray, np.ndarray]:
    """The published toy problem: N = 5 samples, D = 4 features, H = 10 hidden units, K = 3 classes.

    Returns
    -------
    params : dict
        ``W1`` (4, 10), ``b1`` (10,), ``W2`` (10, 3), ``b2`` (3,), float64; zero biases.
    X : (5, 4) float array
    y : (5,) int array
    """
    weights = np.random.RandomState(0)
    params = {
        "W1": 0.1 * weights.randn(4, 10),
        "b1": np.zeros(10),
        "W2": 0.1 * weights.randn(10, 3),
        "b2": np.zeros(3),
    }
    X = 10 * np.random.RandomState(1).randn(5, 4)
    return params, X, np.array([0, 1, 2, 2, 1])


@cache
def problem(name: str) -> Problem:
    """The stored problem called ``name``, one of :data:`NAMES` or :data:`SAMPLES`.

    ``toy`` is the published one (reg 0.05). The others have biases that aren't zero and
    sizes that all differ, so that a bias left out or an axis mistaken shows.
    """
    samples = [" ".join([sample, *change]) for sample in SAMPLES for change in ((), *zip(SAMPLE_CHANGES))]
    if name not in (*NAMES, *samples):
        raise ValueError(f"there is no problem {name!r}; the names are {', '.join((*NAMES, *SAMPLES))}")
    with np.load(FOLDER / "problems.npz", allow_pickle=False) as stored:
        entries = {key.split("/", 1)[1]: stored[key] for key in stored.files if key.startswith(f"{name}/")}
    params = {key: entries.pop(key) for key in ("W1", "b1", "W2", "b2")}
    X, y, reg = entries.pop("X"), entries.pop("y"), float(entries.pop("reg"))
    for key in ("data_loss", "loss"):
        entries[key] = float(entries[key])
    return Problem(f"the {name} problem", X, y, params, reg, entries)


def changed_sample(given: Problem, change: str) -> Problem:
    """A problem of one sample whose row is changed; ``change`` is a key of :data:`SAMPLE_CHANGES`."""
    name = given.name.removeprefix("the ").removesuffix(" problem")
    if name in SAMPLES:
        return problem(f"{name} {change}")
    from course_utils.oracle import solve  # a new problem, of a hidden test

    return solve(given.params, SAMPLE_CHANGES[change](given.X), given.y, given.reg)


def problems() -> list[Problem]:
    """Every stored problem, the toy problem first."""
    return [problem(name) for name in NAMES]
