"""Checks of notebook 4: drawing batches, predicting, training.

Training is random, so these checks choose data on which the right result doesn't depend on chance, or
on which the result tells what was drawn, and on which one property shows and other mistakes don't.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from course_utils.checks.batches import expect_fair_batches
from course_utils.checks.descent import expect_descent, expect_steps
from course_utils.checks.record import Findings, judged
from course_utils.checks.schedule import expect_schedule
from course_utils.comparison import CheckFailed, as_numbers, call, call_keeping, passed
from course_utils.judge import answers
from course_utils.reference import Problem, problem

# --- 4.a Batches ------------------------------------------------------------------------


@answers("test-sample-batch")
def check_sample_batch(sample_batch: Callable, seed: int = 1) -> None:
    """Check ``sample_batch(X, y, batch_size, rng)``: rows of X with their own labels, in the right number.

    Parameters
    ----------
    sample_batch : callable
        (N, D) and (N,) -> (batch_size, D) and (batch_size,).
    seed : int
        Draws the data.
    """
    # A few classes: labels can be taken for indices, which is the other check's matter.
    X, y = _numbered_rows(seed)
    y %= 5
    size, single = len(X) // 4, X.astype(np.float32)
    findings, usual = Findings(), ()
    with findings.looking():
        usual = call_keeping(sample_batch, {"X": X, "y": y, "batch_size": size, "rng": seed})
        _expect_batch(usual, X, y, size)
        _expect_batch(call(sample_batch, single, y, 1, seed), single, y, 1)
        for draw in range(8):  # what reaches beyond the end of X does so in one of these
            _expect_batch(call(sample_batch, X, y, len(X) - 1, seed + draw), X, y, len(X) - 1)
    if _is_of_size(usual, size):  # else the number of rows is wrong throughout
        for larger in (len(X), len(X) + 3):
            with findings.looking():
                _expect_whole_set(sample_batch, X, y, larger, seed)
    findings.tell()
    passed("sample_batch gives rows of X with their labels; the whole set if batch_size isn't smaller.")


def _is_of_size(batch: Any, size: int) -> bool:
    try:
        return len(_pair(batch)[0]) == size
    except (CheckFailed, TypeError):
        return False


def _expect_whole_set(sample_batch: Callable, X: np.ndarray, y: np.ndarray, larger: int, seed: int) -> None:
    cause = "where X has no more than batch_size rows, the batch is the whole set."
    try:
        X_batch, _ = _pair(call(sample_batch, X, y, larger, seed))
    except CheckFailed as failure:
        failure.cause = failure.cause or (cause if failure.raised else None)
        raise
    if len(X_batch) != len(X) or len(set(_rows_of(X_batch, X))) not in (1, len(X)):
        replaced = " The rows are drawn with replacement." if len(X_batch) in (larger, len(X)) else ""
        raise CheckFailed(
            "X_batch",
            f"with batch_size {larger} and {len(X)} rows, the batch should be the whole set, each row once; it has"
            f" {len(X_batch)} rows, {len(set(_rows_of(X_batch, X)))} of them different.",
            cause=cause + replaced,
            deviations=("whole set",),
        )


@answers("test-sample-batch-random")
def check_sample_batch_is_random(sample_batch: Callable, seed: int = 1) -> None:
    """Check that ``sample_batch`` draws every row at times, with the generator that it is given."""
    # As many features as rows: who takes the one for the other is told by the other check. Every label is one of ten
    # classes, whatever is made of it; who takes labels for indices never draws the first rows.
    X, y = _numbered_rows(seed, rows=7, features=7)
    y, size = y - y.min() + 3, 3

    def drawn(rng: Any, size: int = size) -> np.ndarray:
        batch = call(sample_batch, X, y, size, rng)
        # That it gives batches one after the other, and not one, is told by the other check.
        return _told_rows(call(next, batch) if isinstance(batch, Iterator) else batch, X, y)

    def fail(problem: str, name: str, cause: str) -> None:
        raise CheckFailed("X_batch", problem, cause=cause, deviations=(name,))

    batches = _those_that_work(drawn, range(1000 * seed, 1000 * seed + 12))
    (first_seed, first), *others = batches
    if not np.array_equal(first, drawn(first_seed)):
        fail(
            "the same seed gave two different batches. Draw with rng, not with np.random itself.",
            "rng ignored", "the rows aren't drawn with rng alone, but with a generator that starts anew or is shared.",
        )  # fmt: skip
    sizes = {len(rows) for _, rows in batches}  # which they should have is told by the other check
    if min(sizes) < len(X) and all(np.array_equal(first, rows) for _, rows in others):
        in_order = np.array_equal(first, np.arange(len(first)))
        fail(
            f"{len(batches)} seeds gave the same batch. Draw the indices with rng.", "rng not used",
            "these are always the first rows." if in_order else "the rows don't depend on rng.",
        )  # fmt: skip
    if np.mean([len(np.unique(rows)) / len(rows) for _, rows in batches]) <= 0.5:  # with replacement, it is 0.86
        fail(
            "the rows of a batch are mostly the same one. Draw batch_size indices, each by itself.", "repeated rows",
            "few rows are drawn, and repeated.",
        )  # fmt: skip
    generator = np.random.default_rng(seed)
    successive = [rows for _, rows in _those_that_work(drawn, [generator] * 8)]
    if min(sizes) < len(X) and all(np.array_equal(successive[0], rows) for rows in successive[1:]):
        fail(
            "with a generator as rng, each call gave the same batch. Draw with rng itself.", "generator not used",
            "the generator that is given isn't the one that is drawn with.",
        )  # fmt: skip
    _expect_every_row(drawn, len(X), size, seed)
    passed("every row has its chance, and the same seed gives the same batch.")


def _those_that_work(drawn: Callable[..., np.ndarray], rngs: Sequence[Any]) -> list[tuple[Any, np.ndarray]]:
    """The batches with what they were drawn with; one that fails, for an index that is too large, say, is left out."""
    batches, failures = [], []
    for rng in rngs:
        try:
            batches.append((rng, drawn(rng)))
        except CheckFailed as failure:
            failures.append(failure)
    if not batches:
        raise failures[0]
    return batches


def _expect_every_row(drawn: Callable[..., np.ndarray], rows: int, size: int, seed: int) -> None:
    # Small batches show a mistake that depends on the size. In large ones, which are drawn in few calls, a row comes
    # 130 times on average, and 12 times if indices are drawn about the middle, from a normal distribution, say.
    seeds = range(1000 * seed + 20, 1000 * seed + 220)
    few = _times_drawn(drawn, rows, seeds[:40])
    # Of a smaller batch too: it is its size, and no number of that size by chance, half of the rows, say.
    if not few[size:].any() and not _times_drawn(functools.partial(drawn, size=2), rows, seeds[:40])[2:].any():
        raise CheckFailed(
            "X_batch",
            f"only the first {size} of {rows} rows are ever drawn.",
            cause="the indices are drawn from batch_size numbers where they should be drawn from len(X).",
            deviations=("only the first rows",),
        )
    never = np.flatnonzero(few + _times_drawn(functools.partial(drawn, size=rows - 1), rows, seeds[40:]) == 0)
    if never.size:
        raise CheckFailed(
            "X_batch",
            f"row {never[0]} of {rows} was never drawn in 200 batches: every row must have a chance.",
            cause=f"{len(never)} of {rows} indices never come: are they drawn from 0 to len(X) - 1, both included?",
            deviations=("rows never drawn",),
        )


def _times_drawn(drawn: Callable[..., np.ndarray], rows: int, seeds: range) -> np.ndarray:
    """How often each row comes."""
    return np.bincount(np.concatenate([batch for _, batch in _those_that_work(drawn, seeds)]), minlength=rows)


def _told_rows(got: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Which rows were drawn, told by whatever was returned: rows of X, their labels, or their indices."""
    parts = list(got.values()) if isinstance(got, dict) else list(got) if isinstance(got, (tuple, list)) else [got]
    arrays = [as_numbers("X_batch", part) for part in parts]
    arrays += [array[:, -1] for array in arrays if array.ndim == 2]  # labels beside the rows
    for array in arrays:
        if array.size and -1 not in (rows := _rows_of(array, X)):
            return rows
    for numbers in (y, np.arange(len(X))):
        for array in arrays:
            if array.ndim == 1 and array.size and np.isin(array, numbers).all():
                return np.argsort(numbers)[np.searchsorted(np.sort(numbers), array)]
    raise CheckFailed("sample_batch", "what it returns tells neither rows of X nor labels of y.")


def _numbered_rows(seed: int, rows: int | None = None, features: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows that all differ, and labels that all differ, so that a row tells its index and its label."""
    rng = np.random.default_rng(seed)
    rows = rows or int(rng.integers(20, 40))
    return rng.standard_normal((rows, features or int(rng.integers(3, 9)))), 100 + rng.permutation(rows)


def _pair(got: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("sample_batch", "it should return two arrays: return X_batch, y_batch.")
    return as_numbers("X_batch", got[0]), as_numbers("y_batch", got[1])


def _rows_of(batch: np.ndarray, X: np.ndarray) -> np.ndarray:
    """For each row of the batch the index of the row of X that it is, but for rounding; -1 where it is none."""
    if batch.ndim != 2 or batch.shape[1] != X.shape[1]:
        return np.array([-1])
    nearest = np.abs(batch[:, np.newaxis, 0] - X[np.newaxis, :, 0]).argmin(axis=1)
    return np.where(np.all(np.isclose(batch, X[nearest], rtol=1e-2, atol=1e-4), axis=1), nearest, -1)


def _expect_batch(got: Any, X: np.ndarray, y: np.ndarray, asked: int) -> np.ndarray:
    size = min(asked, len(X))
    X_batch, y_batch = _pair(got)
    for name, array in zip(("X_batch", "y_batch"), got, strict=True):
        if isinstance(array, (list, tuple)):
            raise CheckFailed(name, f"it is a {type(array).__name__}, expected an array.")
    rows = _rows_of(X_batch, X)
    for name, array, shape in (("X_batch", X_batch, (size, X.shape[1])), ("y_batch", y_batch, (size,))):
        if array.shape != shape:
            raise CheckFailed(
                name,
                f"with batch_size {asked} and {len(X)} rows, the shape is {array.shape}, expected {shape}.",
                cause=_cause_of_batch_shape(X_batch, y_batch, X, y, asked),
            )
    if not np.can_cast(X.dtype, X_batch.dtype):
        raise CheckFailed("X_batch", f"its dtype is {X_batch.dtype}, expected that of X, {X.dtype}.")
    if y_batch.dtype.kind not in "iu":
        raise CheckFailed("y_batch", f"its dtype is {y_batch.dtype}, expected an integer type: labels are indices.")
    altered = (rows < 0) | np.any(X_batch != X[rows], axis=1)
    if altered.any():
        row = int(np.argmax(altered))
        raise CheckFailed("X_batch", f"row {row} of the batch isn't a row of X. Return rows of X as they are.")
    wrong = np.flatnonzero(y_batch != y[rows])
    if wrong.size:
        name, cause = _cause_of_labels(y_batch, rows, y)
        raise CheckFailed(
            "y_batch", f"{wrong.size} of {size} labels don't belong to their rows.", cause=cause, deviations=(name,)
        )
    return rows


def _cause_of_batch_shape(
    X_batch: np.ndarray, y_batch: np.ndarray, X: np.ndarray, y: np.ndarray, asked: int
) -> str | None:
    rows = _rows_of(X_batch, X)
    if len(X_batch) == len(X) and -1 not in rows and rows.max() < asked < len(X):
        return "the arguments are swapped: draw batch_size indices from len(X) numbers."
    if X_batch.ndim == 1 and np.isin(X_batch, X).all():
        return "these are single numbers of X; rows are asked for, as in X[indices]."
    if X_batch.ndim == 1 and -1 not in _rows_of(y_batch, X):
        return "X_batch and y_batch are returned in the wrong order."
    if X_batch.shape == (X.shape[1], asked) and -1 not in _rows_of(X_batch.T, X):
        return "X_batch is transposed: the rows are samples."
    if y_batch.shape == (asked, 1):
        return "the labels are a column: y_batch has one axis, as y has."
    if y_batch.ndim == 2 and len(y_batch) == asked and (y_batch.sum(axis=1) == 1).all():
        return "the labels are returned as rows of 0 and 1: take them as they are in y."
    if -1 not in rows and np.array_equal(rows, np.arange(len(X))):
        return "the batch is the whole set, where batch_size rows are asked for."
    if -1 not in rows and len(y_batch) == len(y) and np.array_equal(y_batch, y):
        return "the labels are those of all rows: take those of the indices that were drawn."
    return None


def _cause_of_labels(y_batch: np.ndarray, rows: np.ndarray, y: np.ndarray) -> tuple[str, str]:
    if np.array_equal(y_batch, rows):
        return "indices for labels", "these are the indices of the rows, not their labels: y[indices]."
    if np.array_equal(y_batch, y[: len(rows)]):
        return "first labels", "these are the labels of the first rows: take those of the indices that were drawn."
    if not np.isin(y_batch, y).all():
        return "other labels", "these aren't labels of y."
    return (
        "drawn separately",
        "rows and labels are drawn separately, or one of them is put in another order:"
        " draw the indices once and use them for both.",
    )


# --- 4.b Predictions --------------------------------------------------------------------


#: Rows that are all the same one.
_ALIKE = 60


@answers("test-predict")
def check_predict(predict: Callable, on: Problem | None = None) -> None:
    """Check ``predict(params, X)``: (N, D) -> (N,) int, the class with the largest score."""
    predictions = [
        _Prediction(given, rows, as_numbers("predict(params, X)", call(predict, given.params, given.X[rows])))
        for given in ([on] if on else [problem(name) for name in ("biased", "toy", "unregularised", "large")])
        for rows in (slice(None), slice(0, 1), np.zeros(_ALIKE, dtype=int))
    ]
    for prediction in predictions:
        _expect_classes(prediction, predictions)
    passed("predict gives the class with the largest score.")


class _Prediction(NamedTuple):
    """What was predicted for some rows of a problem."""

    given: Problem
    rows: slice | np.ndarray
    got: np.ndarray

    def clear(self) -> np.ndarray:
        """Where the largest score is so by more than round-off: a tie may go either way."""
        best_two = np.sort(self.given.values["z3"][self.rows], axis=1)[:, -2:]
        return best_two[:, 1] - best_two[:, 0] > 1e-6 * (1 + np.abs(best_two[:, 1]))

    def is_of_equal_rows(self) -> bool:
        """Whether the rows are all the same, and each got a class."""
        return isinstance(self.rows, np.ndarray) and self.got.shape == self.rows.shape

    def are(self, classes: np.ndarray) -> bool:
        """Whether these classes were predicted, as far as that is clear."""
        return self.got.shape == classes.shape and np.array_equal(self.got[self.clear()], classes[self.clear()])


def _expect_classes(prediction: _Prediction, predictions: list[_Prediction]) -> None:
    quantity, got = "predict(params, X)", prediction.got
    expected = prediction.given.values["z3"][prediction.rows].argmax(axis=1)
    if got.shape != expected.shape:
        shape = f"the shape is {got.shape}, expected {expected.shape}: one class for each row of X."
        raise CheckFailed(quantity, shape, cause=_cause_of_shape(prediction))
    if not prediction.are(expected):
        wrong = np.flatnonzero((got != expected) & prediction.clear())
        first = int(wrong[0])
        all_causes = [_other_classes(one) for one in predictions]
        told = [
            cause for cause in all_causes[0]
            if all(one.are(causes[cause]) for one, causes in zip(predictions, all_causes, strict=True))
        ]  # fmt: skip
        told = told if len(told) == 1 else []
        raise CheckFailed(
            quantity,
            f"{wrong.size} of {len(expected)} classes are wrong{_and_no_integers(got)}.",
            place=f"at [{first}]: got {got[first]:g}, expected {expected[first]}",
            cause=told[0] if told else _cause_of_equal_rows(predictions),
            deviations=tuple(told),
        )
    if got.dtype.kind not in "iu":
        raise CheckFailed(quantity, f"its dtype is {got.dtype}, expected an integer type: classes count from 0.")


def _cause_of_equal_rows(predictions: list[_Prediction]) -> str | None:
    """A sentence if rows that are all the same got different classes."""
    if any(one.is_of_equal_rows() and np.ptp(one.got) > 0 for one in predictions):
        return (
            "rows that are all the same get different classes: the class is drawn at random, or depends on where the"
            " row stands; it is the one with the largest score."
        )
    return None


def _and_no_integers(got: np.ndarray) -> str:
    return "" if got.dtype.kind in "iu" else f", and they are {got.dtype}, not integers"


def _cause_of_shape(prediction: _Prediction) -> str | None:
    given, rows, got = prediction
    logits, probabilities = given.values["z3"][rows], given.values["a3"][rows]
    if got.shape == logits.shape:
        if np.allclose(got, logits) or np.allclose(got, probabilities):
            return "these are the scores: the class is the index of the largest one in each row."
        if np.array_equal(got, logits == logits.max(axis=1, keepdims=True)):
            return "these are rows of 0 and 1: the class is the index of the 1."
        return None
    if got.shape == (len(logits), 1) and np.array_equal(got[:, 0], logits.argmax(axis=1)):
        return "the axis is kept: leave keepdims away, or take the column out."
    if got.shape == logits.shape[1:] and any(np.array_equal(got, z.argmax(axis=0)) for z in (logits, probabilities)):
        return "the largest score is sought along axis 0, over the samples."
    if got.shape == () and got == logits.argmax():
        return "the largest score is sought in the whole array, not in each row."
    return None


def _other_classes(prediction: _Prediction) -> dict[str, np.ndarray]:
    """What mistakes give, by their sentences."""
    with np.errstate(all="ignore"):
        classes = {sentence: scores.argmax(axis=1) for sentence, scores in _other_scores(prediction).items()}
    return classes | _other_choices(prediction)


def _other_scores(prediction: _Prediction) -> dict[str, np.ndarray]:
    """The scores, (N, K), from which mistakes take the class, by their sentences."""
    given, rows, _ = prediction
    params = given.params
    z2, a2, z3, a3 = (given.values[name][rows] for name in ("z2", "a2", "z3", "a3"))
    without_b1 = np.maximum(z2 - params["b1"], 0) @ params["W2"]
    exponentials, of_columns = (np.exp(z3 - z3.max(axis=axis, keepdims=True)) for axis in (1, 0))
    return {
        "the bias b1 is left out.": without_b1 + params["b2"],
        "the bias b2 is left out.": z3 - params["b2"],
        "the biases are left out.": without_b1,
        "the ReLU is left out.": z2 @ params["W2"] + params["b2"],
        "where all scores of a row are negative, this is class 0: a ReLU is applied to the scores too, or a search for"
        " the largest starts at 0, where it should with the first score.": np.maximum(z3, 0),
        "this is the class with the largest score in absolute value.": np.abs(z3),
        "this is the hidden unit with the largest value, not the class.": a2,
        "the hidden units are tanh(z2), where the ReLU is asked for.": np.tanh(z2) @ params["W2"] + params["b2"],
        "the largest score is sought in the whole array, not in each row.": z3 == z3.max(),
        "the largest probability is sought in the whole array, not in each row.": a3 == a3.max(),
        "the probabilities are rounded, or compared with 1/2, where the largest is sought.": a3.round(),
        "the softmax goes along axis 0, over the samples, which changes the order of a row's scores; it goes along axis"
        " 1.": of_columns / of_columns.sum(axis=0),
        "the exponentials are divided by the sum of their column, which changes the order within a row; each row has"
        " its own sum.": exponentials / exponentials.sum(axis=0),
        "the largest score of each column is subtracted, which changes the order within a row; each row has its"
        " own.": z3 - z3.max(axis=0),
    }


def _other_choices(prediction: _Prediction) -> dict[str, np.ndarray]:
    """What is taken from the right scores in place of the class with the largest, by the mistakes' sentences."""
    given, rows, _ = prediction
    z3, a3 = (given.values[name][rows] for name in ("z3", "a3"))
    right, last = z3.argmax(axis=1), z3.shape[1] - 1

    def last_where(true: np.ndarray) -> np.ndarray:
        return np.where(true.any(axis=1), last - true[:, ::-1].argmax(axis=1), 0)

    keep = "a search for the largest has to keep the largest so far."
    return {
        "this is the class with the smallest score.": z3.argmin(axis=1),
        "this is the class with the second-largest score.": np.argsort(z3, axis=1)[:, -2],
        "the classes are counted from 1; they count from 0.": right + 1,
        "this is the class of the first row, for all rows.": np.full_like(right, right[0]),
        "this is the class with the largest score, counted from the last.": last - right,
        "these are the largest scores, not their indices.": z3.max(axis=1),
        "these are the largest probabilities, not their indices.": a3.max(axis=1),
        "this is the mean of the classes, weighted by their probabilities; the class with the largest is asked.": (
            np.rint(a3 @ np.arange(last + 1))
        ),
        "this is the class at which the probabilities sum to 1/2, their median; the class with the largest is asked.": (
            (np.cumsum(a3, axis=1) >= 0.5).argmax(axis=1)
        ),
        "where no probability reaches 1/2 this is -1, which is no class; the largest decides however small it is.": (
            np.where(a3.max(axis=1) < 0.5, -1, right)
        ),
        "this is class 0, for all rows.": np.zeros_like(right),
        "this is the first class with a score above 0; the one with the largest is asked for.": (z3 > 0).argmax(axis=1),
        f"this is the last class, for all rows: {keep}": np.full_like(right, last),
        f"this is the last class with a score above 0: {keep}": last_where(z3 > 0),
        f"this is the last class with a larger score than class 0: {keep}": last_where(z3 > z3[:, :1]),
        f"this is the last class with a larger score than the class before it: {keep}": last_where(
            np.diff(z3, axis=1, prepend=z3[:, :1]) > 0
        ),
    }


# --- 4.c Training -----------------------------------------------------------------------


@answers("test-train-descent")
def check_train_descent(train: Callable, on: Sequence[Problem] = ()) -> None:
    """Check that ``train`` goes a step against the gradient in each of ``num_iters`` iterations.

    Parameters
    ----------
    train : callable
        The student's. A mistake in a function that it calls isn't counted again.
    on : sequence of Problem, optional
        Of one sample each: single steps from these are looked at, and nothing else.
    """
    if on:
        judged(train, "test-train-descent", lambda train, predict: expect_steps(train, on))
        print(f"passed on {len(on)} new problems too.")
        return
    judged(train, "test-train-descent", lambda train, predict: expect_descent(train))
    passed("where all rows are alike, train takes the steps of gradient descent.")


@answers("test-train-schedule")
def check_train_schedule(train: Callable, seed: int = 5) -> None:
    """Check the learning rate's decay and the history, whatever the steps are."""
    judged(train, "test-train-schedule", lambda train, predict: expect_schedule(train, predict, seed))
    passed("the learning rate decays after each epoch, and the history holds losses and accuracies.")


@answers("test-train-batches")
def check_train_batches(train: Callable, seed: int = 7) -> None:
    """Check that ``train`` draws a new batch from the whole set in each iteration, whatever it does with it."""
    judged(train, "test-train-batches", lambda train, predict: expect_fair_batches(train, seed))
    passed("train draws a new batch from all rows in each iteration, and the same seed gives the same network.")
