"""A training, run once into a record, and the rule by which its properties are judged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from course_utils.comparison import CheckFailed, as_numbers, call, expect_keys
from course_utils.evaluation import classify
from course_utils.helpers import helpers_of, with_helpers
from course_utils.questions import question
from course_utils.reference import Problem

NAMES = ("W1", "b1", "W2", "b2")


@dataclass(frozen=True)
class Setting:
    """How a training is called; the attributes are the arguments of ``train``."""

    params: dict[str, np.ndarray]
    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    learning_rate: float = 0.05
    learning_rate_decay: float = 1.0
    reg: float = 0.0
    num_iters: int = 1
    batch_size: int = 4
    rng: Any = 3

    def but(self, **changes: Any) -> Setting:
        """The same setting with some arguments changed."""
        return replace(self, **changes)

    @property
    def epoch(self) -> int:
        """Iterations in an epoch, E = max(N // batch_size, 1)."""
        return max(len(self.X) // self.batch_size, 1)


@dataclass(frozen=True)
class Record:
    """What a training did.

    Attributes
    ----------
    setting : Setting
    params : dict
        The four arrays that it returned.
    history : object
        As it was returned.
    losses : (n,) float array
        Those in the history: a loss for each iteration that was made. Empty where they aren't numbers.
    changed : bool
        Whether the arrays that it was given have changed.
    reshaped : list
        Name and shape of the arrays that it returned in another shape than it was given.
    """

    setting: Setting
    params: dict[str, np.ndarray]
    history: Any = field(repr=False)
    losses: np.ndarray
    changed: bool
    reshaped: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def step(self, name: str) -> np.ndarray:
        """By how much a parameter has changed."""
        return np.asarray(self.params[name], dtype=np.float64) - self.setting.params[name]


def record(train: Callable, setting: Setting) -> Record:
    """Run a training.

    Raises
    ------
    CheckFailed
        If it returns no params, or these aren't of the sizes that it was given.
    """
    params = {name: array.copy() for name, array in setting.params.items()}

    def bound(*args: Any, **settings: Any) -> Any:
        return train(params, *args, **settings)  # call copies what it passes on, but not what is bound already

    bound.__name__ = "train"
    settings = {key: value for key, value in vars(setting).items() if key not in ("params", *_DATA)}
    got = call(bound, *(getattr(setting, name) for name in _DATA), **settings)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("train", "it should return two dicts: return params, history.")
    returned = expect_keys("train", got[0], NAMES)
    trained, reshaped = {}, []
    for name, array in setting.params.items():
        trained[name] = as_numbers(name, returned[name])
        if trained[name].shape != array.shape:
            if trained[name].size != array.size:
                raise CheckFailed(name, f"train returned shape {trained[name].shape}, expected {array.shape}.")
            reshaped.append((name, trained[name].shape))
            trained[name] = trained[name].reshape(array.shape)
    changed = any(
        name not in params or not np.array_equal(params[name], array) for name, array in setting.params.items()
    )
    return Record(setting, trained, got[1], _losses(got[1]), changed, reshaped)


_DATA = ("X", "y", "X_val", "y_val")


def _losses(history: Any) -> np.ndarray:
    with contextlib.suppress(Exception):
        losses = np.asarray(history["loss"], dtype=np.float64)
        if losses.ndim == 1 and np.isfinite(losses).all():
            return losses
    return np.array([])


def first_epoch(train: Callable, setting: Setting) -> Record:
    """The record of one whole epoch.

    If a training makes another number of iterations than it is told to, more are asked for, of which
    those after the first epoch have the learning rate 0.
    """
    asked = record(train, setting.but(num_iters=setting.epoch, learning_rate_decay=1.0))
    if len(asked.losses) == setting.epoch:
        return asked
    return record(train, setting.but(num_iters=setting.epoch + 1, learning_rate_decay=0.0))


def alike(given: Problem, rows: int = 7) -> Setting:
    """A set of so many rows, each the first one of ``given``: the batch doesn't matter, and an epoch is one iteration.

    A batch is smaller than the set all the same, so that a mean over the wrong one shows.
    """
    first = np.zeros(rows, dtype=int)
    X, y = given.X[first], given.y[first]
    return Setting(given.params, X, y, X, y, reg=given.reg)


# --- More than one mistake --------------------------------------------------------------


class Findings:
    """What several properties find wrong, raised as one failure: two mistakes in one function are both named."""

    def __init__(self) -> None:
        self._failures: list[CheckFailed] = []

    @contextlib.contextmanager
    def looking(self) -> Iterator[None]:
        """Keep what fails inside the ``with`` block."""
        try:
            yield
        except CheckFailed as failure:
            self._failures.append(failure)

    def tell(self) -> None:
        """Raise the first failure, with the causes of all."""
        if not self._failures:
            return
        first = self._failures[0]
        causes = dict.fromkeys(one.cause for one in self._failures if one.cause)
        first.cause = " And: ".join(causes) or None
        first.deviations = tuple(dict.fromkeys(name for one in self._failures for name in one.deviations))
        raise first


# --- Whose mistake is it? ---------------------------------------------------------------


def _right_batch(X: np.ndarray, y: np.ndarray, batch_size: int, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    table = np.column_stack([X, y])
    if batch_size < len(X):
        table = np.random.default_rng(rng).choice(table, batch_size, replace=False)
    return table[:, :-1].astype(X.dtype), table[:, -1].astype(y.dtype)


#: Right helpers of ``train``.
RIGHT: dict[str, Callable] = {"sample_batch": _right_batch, "predict": classify}


def judged(train: Callable, test: str, properties: Callable[[Callable, Callable], None]) -> None:
    """Raise what is wrong with a training, unless it is right as it stands or with right helpers.

    Parameters
    ----------
    train : callable
        The student's.
    test : str
        ``grade_id`` of the question, which knows the helpers.
    properties : callable
        Takes a training and the ``predict`` that it calls, and raises :class:`CheckFailed`.
    """
    own = helpers_of(train, question(test).helpers)
    failures: list[Exception] = []
    for names in ((), tuple(own), *((name,) for name in own if len(own) > 1)):
        exchanged = {name: RIGHT[name] for name in names}
        predict = exchanged.get("predict") or own.get("predict", RIGHT["predict"])
        try:
            properties(with_helpers(train, exchanged) if exchanged else train, predict)
            return
        except (CheckFailed, NotImplementedError) as failure:
            failures.append(failure)
    # With right helpers, what is wrong is the training's own, unless these don't suit it.
    as_it_stands, isolated, *_ = failures
    raise as_it_stands if getattr(isolated, "raised", False) else isolated
