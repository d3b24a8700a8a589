"""Checks of notebook 4: drawing batches, training, predicting.

Training is random, so most of these checks choose data on which the right result doesn't
depend on chance, such as a set whose rows are all alike, or on which the result tells what was drawn.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from course_utils.comparison import CheckFailed, as_numbers, call, expect_close, expect_keys, passed
from course_utils.oracle import random_problem, solve
from course_utils.reference import Problem, problem

_NAMES = ("W1", "b1", "W2", "b2")
#: Round-off of some dozen steps of gradient descent in float64, relative to the size of a parameter.
_TOLERANCE = 1e-9


# --- 4.a Batches ------------------------------------------------------------------------


def check_sample_batch(sample_batch: Callable, seed: int = 1) -> None:
    """Check ``sample_batch(X, y, batch_size, rng)``: rows of X with their own labels, in the right number.

    Parameters
    ----------
    sample_batch : callable
        (N, D) and (N,) -> (batch_size, D) and (batch_size,).
    seed : int
        Draws the data.
    """
    X, y = _numbered_rows(seed)
    size = len(X) // 4
    _expect_batch(call(sample_batch, X, y, size, seed), X, y, size)
    _expect_batch(call(sample_batch, X.astype(np.float32), y, 1, seed), X.astype(np.float32), y, 1)
    for larger in (len(X), len(X) + 3):
        rows = _expect_batch(call(sample_batch, X, y, larger, seed), X, y, len(X), asked=larger)
        if len(set(rows)) < len(X):
            raise CheckFailed(
                "X_batch",
                f"with batch_size {larger} and {len(X)} rows, the batch should be the whole set, each row once;"
                f" it holds {len(set(rows))} different rows.",
            )
    passed("sample_batch gives rows of X with their labels; the whole set if batch_size isn't smaller.")


def check_sample_batch_is_random(sample_batch: Callable, seed: int = 1) -> None:
    """Check that ``sample_batch`` draws every row at times, with the generator that it is given."""
    X, y = _numbered_rows(seed, rows=31)
    size, draws = 10, 200
    batches = [_rows_of(_pair(call(sample_batch, X, y, size, 1000 * seed + draw))[0], X) for draw in range(draws)]
    if any(-1 in rows for rows in batches):
        raise CheckFailed("X_batch", "it holds rows that aren't rows of X.")
    if not np.array_equal(batches[0], _rows_of(_pair(call(sample_batch, X, y, size, 1000 * seed))[0], X)):
        raise CheckFailed(
            "X_batch", "the same seed gave two different batches. Draw with rng, not with np.random itself."
        )
    sizes = {len(rows) for rows in batches}
    if len(sizes) > 1:
        raise CheckFailed("X_batch", f"of {draws} batches with batch_size {size}, some have {min(sizes)} rows.")
    counts = np.bincount(np.concatenate(batches), minlength=len(X))
    if all(np.array_equal(batches[0], rows) for rows in batches[1:]):
        raise CheckFailed("X_batch", f"{draws} seeds gave {draws} times the same batch. Draw the indices with rng.")
    generator = np.random.default_rng(seed)
    successive = [_rows_of(_pair(call(sample_batch, X, y, size, generator))[0], X) for _ in range(8)]
    if all(np.array_equal(successive[0], rows) for rows in successive[1:]):
        raise CheckFailed("X_batch", "with a generator as rng, each call gave the same batch. Draw with rng itself.")
    if counts[size:].sum() == 0:
        raise CheckFailed(
            "X_batch", f"only the first {size} of {len(X)} rows are ever drawn.",
            cause="the indices are drawn from batch_size numbers where they should be drawn from len(X).",
        )  # fmt: skip
    # Drawn one by one, a row has 67 draws on average, and none once in 10^31 times. In windows of
    # neighbours, which are welcome too, a row at the edge still has ten.
    never = np.flatnonzero(counts == 0)
    if never.size:
        raise CheckFailed(
            "X_batch",
            f"row {never[0]} of {len(X)} was never drawn in {draws} batches of {size}: every row must have a chance.",
        )
    passed("every row has its chance, and the same seed gives the same batch.")


def _numbered_rows(seed: int, rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows that all differ, and labels that all differ, so that a row tells its index and its label."""
    rng = np.random.default_rng(seed)
    rows = rows or int(rng.integers(20, 40))
    return rng.standard_normal((rows, int(rng.integers(3, 9)))), rng.permutation(rows)


def _pair(got: Any) -> tuple[np.ndarray, np.ndarray]:
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("sample_batch", "it should return two arrays: return X_batch, y_batch.")
    return as_numbers("X_batch", got[0]), as_numbers("y_batch", got[1])


def _rows_of(batch: np.ndarray, X: np.ndarray) -> np.ndarray:
    """For each row of the batch the index of the row of X that it is, but for rounding; -1 where it is none."""
    if batch.ndim != 2 or batch.shape[1] != X.shape[1]:
        return np.array([-1])
    same = np.all(np.isclose(batch[:, np.newaxis], X[np.newaxis], rtol=1e-2, atol=1e-4), axis=2)
    return np.where(same.any(axis=1), same.argmax(axis=1), -1)


def _expect_batch(got: Any, X: np.ndarray, y: np.ndarray, size: int, asked: int | None = None) -> np.ndarray:
    asked = asked or size
    X_batch, y_batch = _pair(got)
    for name, array in zip(("X_batch", "y_batch"), got, strict=True):
        if isinstance(array, (list, tuple)):
            raise CheckFailed(name, f"it is a {type(array).__name__}, expected an array.")
    rows = _rows_of(X_batch, X)
    for name, array, shape in (("X_batch", X_batch, (size, X.shape[1])), ("y_batch", y_batch, (size,))):
        if array.shape != shape:
            swapped = len(array) == len(X) and -1 not in rows and rows.max() < asked < len(X)
            raise CheckFailed(
                name,
                f"with batch_size {asked} and {len(X)} rows, the shape is {array.shape}, expected {shape}.",
                cause="the arguments are swapped: draw batch_size indices from len(X) numbers." if swapped else None,
            )
    if not np.can_cast(X.dtype, X_batch.dtype):
        raise CheckFailed("X_batch", f"its dtype is {X_batch.dtype}, expected that of X, {X.dtype}.")
    if y_batch.dtype.kind not in "iu":
        raise CheckFailed("y_batch", f"its dtype is {y_batch.dtype}, expected an integer type: labels are indices.")
    altered = (rows < 0) | np.any(X_batch != X[rows], axis=1)
    if altered.any():
        raise CheckFailed("X_batch", f"row {int(np.argmax(altered))} of the batch isn't a row of X.")
    wrong = np.flatnonzero(y_batch != y[rows])
    if wrong.size:
        raise CheckFailed(
            "y_batch",
            f"{wrong.size} of {size} labels don't belong to their rows.",
            cause="rows and labels are drawn separately: draw the indices once and use them for both.",
        )
    return rows


# --- 4.b Predictions --------------------------------------------------------------------


def check_predict(predict: Callable, on: Problem | None = None) -> None:
    """Check ``predict(params, X)``: (N, D) -> (N,) int, the class with the largest score."""
    for given in [on] if on else [problem(name) for name in ("biased", "toy", "unregularised", "large")]:
        for rows in (slice(None), slice(0, 1)):
            _expect_classes(call(predict, given.params, given.X[rows]), given, rows)
    passed("predict gives the class with the largest score.")


def _expect_classes(got: Any, given: Problem, rows: slice) -> None:
    quantity = "predict(params, X)"
    got = as_numbers(quantity, got)
    logits = given.values["z3"][rows]
    expected = logits.argmax(axis=1)
    if got.shape != expected.shape:
        shape = f"the shape is {got.shape}, expected {expected.shape}: one class for each row of X."
        over_rows = got.shape == logits.argmax(axis=0).shape and np.array_equal(got, logits.argmax(axis=0))
        raise CheckFailed(
            quantity, shape, cause="the largest score is sought along axis 0, over the samples." if over_rows else None
        )
    best_two = np.sort(logits, axis=1)[:, -2:]
    clear = best_two[:, 1] - best_two[:, 0] > 1e-6 * (1 + np.abs(best_two[:, 1]))  # a tie may go either way
    wrong = np.flatnonzero((got != expected) & clear)
    if wrong.size:
        first = int(wrong[0])
        raise CheckFailed(
            quantity,
            f"{wrong.size} of {len(expected)} classes are wrong.",
            place=f"at [{first}]: got {got[first]:g}, expected {expected[first]}",
            cause=_cause_of_classes(got, given, rows, clear),
        )
    if got.dtype.kind not in "iu":
        raise CheckFailed(quantity, f"its dtype is {got.dtype}, expected an integer type: classes count from 0.")


def _cause_of_classes(got: np.ndarray, given: Problem, rows: slice, clear: np.ndarray) -> str | None:
    X, params, values = np.asarray(given.X, dtype=np.float64)[rows], given.params, given.values
    without_b1 = np.maximum(X @ params["W1"], 0) @ params["W2"]
    hypotheses = {
        "the bias b1 is left out.": without_b1 + params["b2"],
        "the bias b2 is left out.": values["z3"][rows] - params["b2"],
        "the biases are left out.": without_b1,
        "the ReLU is left out.": values["z2"][rows] @ params["W2"] + params["b2"],
        "this is the class with the smallest score.": -values["z3"][rows],
    }
    # A few samples could agree by chance.
    if len(got) < 10:
        return None
    return next(
        (cause for cause, scores in hypotheses.items() if np.array_equal(got[clear], scores.argmax(axis=1)[clear])),
        None,
    )


# --- 4.c Training -----------------------------------------------------------------------


class _Run(NamedTuple):
    """How a training is called, and a name for what is compared."""

    learning_rate: float
    learning_rate_decay: float
    reg: float
    num_iters: int
    batch_size: int
    rng: int

    def settings(self) -> dict[str, Any]:
        return self._asdict()


class _Descent(NamedTuple):
    """What gradient descent gives: parameters in the end, losses, parameters after each epoch."""

    params: dict[str, np.ndarray]
    losses: list[float]
    epochs: list[dict[str, np.ndarray]]


def check_train_descent(
    train: Callable,
    sample_batch: Callable | None = None,
    on: Problem | None = None,
) -> None:
    """Check the steps of ``train`` in its first epoch, on a set whose rows are all alike: plain gradient descent.

    With the student's ``sample_batch``, a mistake in it isn't counted again.
    """
    for given in [on] if on else [problem(name) for name in ("biased", "unregularised")]:
        given = _alike(given, rows=28)
        epoch = _Run(0.05, 1.0, given.reg, 7, batch_size=4, rng=3)
        # Who counts in whole epochs is told so elsewhere; here each iteration is an epoch of its own.
        one = epoch._replace(num_iters=1, batch_size=len(given.X))
        for run in (epoch if _counts_iterations(train, given, epoch) else one._replace(num_iters=7), one):
            seen = _as_drawn(given, sample_batch, run.batch_size)
            got, _ = _trained(train, given, run)
            reference = _reference(seen, run)
            if run.num_iters > 1 and not _agree(got, reference.params) and _differs_by_rates(train, given, seen, run):
                continue
            causes = {
                "the parameters are as they were: does every iteration change the arrays that are returned?": {
                    "learning_rate": 0.0
                },
                "this climbs the loss: the step goes against the gradient, params - learning_rate * gradient.": {
                    "learning_rate": -run.learning_rate
                },
                "the regularisation isn't passed on to the gradient.": {"reg": 0.0},
                "the gradient is divided by the number of samples once more.": {
                    "learning_rate": run.learning_rate / min(run.batch_size, len(given.X))
                },
                "this is one iteration too many.": {"num_iters": run.num_iters + 1},
                "this is one iteration too few.": {"num_iters": run.num_iters - 1},
                "only the first iteration is made: does a return stand inside the loop?": {"num_iters": 1},
            }
            place = f"after {run.num_iters} steps on rows that are all alike, "
            _expect_params(got, reference, seen, run, causes, place)
            _expect_copies(train, given, run)
    passed("where all rows are alike, train takes the steps of gradient descent.")


def _differs_by_rates(train: Callable, given: Problem, seen: Problem, run: _Run) -> bool:
    """Whether the steps go against the gradient, the first one right, others with other learning rates.

    Then the decay is mistaken, which the schedule's own check says.
    """
    before, rates = given.params, []
    for num_iters in range(1, run.num_iters + 1):
        after, history = _trained(train, given, run._replace(num_iters=num_iters))
        if 0 < len(_losses(history)) < num_iters:
            return False  # it stops early, at whatever rate
        gradients = solve(before, seen.X, seen.y, run.reg).gradients()
        steps = {name: before[name] - np.asarray(after[name]) for name in _NAMES}
        products = [(np.vdot(gradients[name], steps[name]), np.sum(gradients[name] ** 2)) for name in _NAMES]
        rates.append(np.divide(*np.sum(products, axis=0)))
        if not _agree(steps, {name: rates[-1] * gradients[name] for name in _NAMES}):
            return False
        before = {name: np.asarray(after[name]) for name in _NAMES}
    return bool(np.isclose(rates[0], run.learning_rate) and not np.allclose(rates, run.learning_rate))


def _alike(given: Problem, rows: int) -> Problem:
    """A set of so many rows, each the first one of ``given`` with its label."""
    first = np.zeros(rows, dtype=int)
    return solve(given.params, given.X[first], given.y[first], given.reg, given.name)


def _counts_iterations(train: Callable, given: Problem, run: _Run) -> bool:
    """Whether the student's training makes a single iteration if it is told so, in an epoch of several."""
    return len(_losses(_trained(train, given, run._replace(num_iters=1))[1])) == 1


def _losses(history: Any) -> np.ndarray:
    """The losses in a history; none if these aren't numbers, which the history's own check says."""
    with contextlib.suppress(Exception):
        losses = np.asarray(history["loss"], dtype=np.float64)
        if losses.ndim == 1 and np.isfinite(losses).all():
            return losses
    return np.array([])


def _expect_copies(train: Callable, given: Problem, run: _Run) -> None:
    params = {name: array.copy() for name, array in given.params.items()}
    # call copies what it passes on, but not what is bound already.
    call(functools.partial(train, params), given.X, given.y, *_validation(given), **run.settings())
    if any(not np.array_equal(params.get(name), array) for name, array in given.params.items()):
        raise CheckFailed(
            "params",
            "train has changed the arrays that it was given.",
            cause="the steps are made in place: start from copies, as in array.copy().",
        )


def _as_drawn(given: Problem, sample_batch: Callable | None, batch_size: int) -> Problem:
    """``given``, whose rows are all alike, with the rows that the student's ``sample_batch`` makes of them."""
    with contextlib.suppress(CheckFailed):
        if sample_batch is not None:
            batch, _ = _pair(call(sample_batch, given.X, given.y, batch_size, 3))
            if batch.ndim == 2 and batch.shape[1] == given.X.shape[1] and len(batch) and (batch == batch[0]).all():
                return given._replace(X=np.repeat(batch[:1], len(given.X), axis=0))
    return given


def check_train_schedule(
    train: Callable, sample_batch: Callable | None = None, predict: Callable | None = None, seed: int = 5
) -> None:
    """Check the learning rate's decay and the history, on a set whose rows are all alike.

    Steps that are no steps of gradient descent are a mistake of their own: if the training is
    made of single steps of the student's with the right learning rates, its schedule is right.
    With the student's ``sample_batch`` and ``predict``, a mistake in these isn't counted again.
    """
    rng = np.random.default_rng(seed)
    origin = random_problem(seed, samples=1)
    # Exact in every precision.
    given = _alike(origin._replace(X=np.round(8 * origin.X) / 8), rows=int(rng.integers(21, 24)))
    batch_size = len(given.X) // 4
    epoch = len(given.X) // batch_size
    run = _Run(0.02, 0.6, given.reg, 2 * epoch + 2, batch_size, rng=4)
    seen = _as_drawn(given, sample_batch, batch_size)
    reference = _reference(seen, run)
    around = [_reference(seen, run, num_iters=epoch + shift).params for shift in (-1, 1)]
    validation = _telling_validation(given, reference.epochs[0], around)
    got, history = _trained(train, given, run, validation)
    more, exactness = 0, _TOLERANCE
    if not _agree(got, reference.params):
        exactness = 1e-6  # single precision is told by the check of the descent
        # One iteration too many or too few is told by the check of the descent.
        shifted = {shift: _reference(seen, run, num_iters=run.num_iters + shift) for shift in (-1, 1)}
        more = next((shift for shift, other in shifted.items() if _agree(got, other.params)), 0)
        reference = shifted.get(more, reference)
    if not _agree(got, reference.params):
        own = _own_steps(train, given, seen, run)
        reference = own if _agree(got, own.params) else _own_path(train, given, seen, run, epoch) or reference
    causes = {
        "the learning rate is the same in the first two epochs and beyond: it doesn't decay after each.": {
            "learning_rate_decay": 1.0
        },
        "the learning rate decays after every iteration; it should after every epoch.": {"epoch": 1},
        "the learning rate decays after the very first iteration too.": {"early": True},
        "an epoch has len(X) // batch_size iterations, rounded down.": {"epoch": epoch + 1},
        "only whole epochs are trained: num_iters counts iterations, and the last epoch may be cut off.": {
            "num_iters": 2 * epoch
        },
        "the last epoch is trained to its end: num_iters counts iterations, and it may be cut off.": {
            "num_iters": 3 * epoch
        },
        "num_iters counts iterations; here it counts epochs.": {"num_iters": run.num_iters * epoch},
    }
    _expect_params(got, reference, seen, run, causes, f"after {run.num_iters} steps, {epoch} to an epoch, ")
    _expect_history(history, given, seen, run, reference, predict, validation, exactness)
    _expect_accuracies(train, sample_batch, predict, seed, more)
    # An epoch of at least one iteration: without that, this divides by zero.
    _trained(train, given, run._replace(batch_size=len(given.X) + 5))
    passed("the learning rate decays after each epoch, and the history holds losses and accuracies.")


def _expect_accuracies(
    train: Callable, sample_batch: Callable | None, predict: Callable | None, seed: int, more: int
) -> None:
    """Check which rows the last accuracies are measured on, and with which params: those that are returned.

    The training makes so many ``more`` iterations than it is told to.
    """
    rng = np.random.default_rng(seed)
    small = random_problem(seed, samples=1)
    X, X_val = (2 * rng.standard_normal((rows, small.X.shape[1])) for rows in (1000 + rng.integers(100, 200), 1100))
    y, y_val = (rng.integers(0, small.params["b2"].size, size=len(data)) for data in (X, X_val))
    given = small._replace(X=X, y=y)
    batch_size = len(X) // 2
    for epochs in (1, 2):
        run = _Run(0.3, 1.0, 0.0, 2 * epochs - more, batch_size, rng=seed)
        params, history = _trained(train, given, run, (X_val, y_val))
        for key, data, labels in (("train_accuracy", X[:1000], y[:1000]), ("val_accuracy", X_val, y_val)):
            if key == "train_accuracy" and _reorders(sample_batch, given, batch_size):
                continue
            quantity = f'history["{key}"] after {epochs} whole epoch{"s" if epochs > 1 else ""}'
            got = as_numbers(quantity, history[key])
            if got.shape != (epochs,):
                raise CheckFailed(quantity, f"it holds {got.size} values, expected {epochs}: one after each epoch.")

            def own_accuracy(data: np.ndarray = data, labels: np.ndarray = labels, params: dict = params) -> float:
                return float(np.mean(np.asarray(call(predict, params, data)) == labels))

            expected = np.mean(solve(params, data, labels).values["z3"].argmax(axis=1) == labels)
            expect_close(f"{quantity}, the last,", got[-1], expected, tolerance=_TOLERANCE, follows=[own_accuracy])


def _reorders(sample_batch: Callable | None, given: Problem, batch_size: int) -> bool:
    """Whether the student's ``sample_batch`` changes the data that it draws from: the first rows are others then."""
    X, y = given.X.copy(), given.y.copy()
    with contextlib.suppress(CheckFailed, NotImplementedError):
        if sample_batch is not None:
            call(functools.partial(sample_batch, X, y), batch_size, 0)
    return not (np.array_equal(X, given.X) and np.array_equal(y, given.y))


def _own_steps(train: Callable, given: Problem, seen: Problem, run: _Run) -> _Descent:
    """The descent that single steps of the student's training make, with the right learning rates."""

    def step(here: Problem, rate: float) -> dict[str, np.ndarray]:
        single = run._replace(learning_rate=rate, learning_rate_decay=1.0, num_iters=1)
        params, _ = _trained(train, given._replace(params=here.params), single)
        return {name: np.asarray(array) for name, array in params.items()}

    return _reference(seen, run, step=step)


def _own_path(train: Callable, given: Problem, seen: Problem, run: _Run, epoch: int) -> _Descent | None:
    """The descent of a training whose steps depend on earlier ones, if its learning rate decays after an epoch."""

    def after(num_iters: int, decay: float = run.learning_rate_decay) -> dict[str, np.ndarray]:
        params, _ = _trained(train, given, run._replace(num_iters=num_iters, learning_rate_decay=decay))
        return {name: np.asarray(array) for name, array in params.items()}

    single = _own_steps(train, given, seen, run._replace(num_iters=epoch)).params
    if not remembers_and_decays(after, single, epoch, run.learning_rate_decay, _agree):
        return None
    path = [given.params, *(after(num_iters) for num_iters in range(1, run.num_iters + 1))]
    losses = [solve(params, seen.X, seen.y, run.reg).values["loss"] for params in path[:-1]]
    return _Descent(path[-1], losses, path[epoch::epoch])


def remembers_and_decays(
    after: Callable[[int, float], dict[str, np.ndarray]],
    single: dict[str, np.ndarray],
    epoch: int,
    decay: float,
    agree: Callable[[dict, dict], bool],
) -> bool:
    """Whether a training's steps depend on earlier ones, and its learning rate decays after the first epoch.

    The step after the first epoch must be as long as the decay says, and the steps before it independent of the decay.

    Parameters
    ----------
    after : callable
        Number of iterations, decay of the learning rate -> the trained parameters.
    single : dict
        The parameters after an epoch of single steps, which have no earlier ones.
    epoch : int
        Iterations in an epoch.
    decay : float
    agree : callable
        Two dicts of parameters -> whether they are the same but for round-off.
    """
    none, full, own = (after(epoch + 1, rate) for rate in (0.0, 1.0, decay))
    decayed = {name: none[name] + decay * (full[name] - none[name]) for name in none}
    first = after(epoch, 1.0)
    has_memory = agree(after(epoch, 0.0), first) and not agree(first, single)
    return has_memory and not agree(none, full) and agree(own, decayed)


def check_train_batches(train: Callable, sample_batch: Callable | None = None, seed: int = 7) -> None:
    """Check that ``train`` draws a new batch from the whole set in each iteration.

    W1 is zero in the beginning and sample i is the only one with feature i, so that row i of
    W1 tells afterwards whether the sample was drawn, by its direction with which label, and by
    its size how often. The learning rate is so small that the direction doesn't change on the way.

    With the student's ``sample_batch``, a mistake in it isn't counted again.
    """
    given = _separate_rows(seed)
    rows = len(given.X)
    run = _Run(1e-6, 1.0, 0.0, 1, 4, rng=seed + 1)
    if not _counts_iterations(train, given, run):
        # One iteration too many or too few, or whole epochs, is told elsewhere.
        others = [run._replace(num_iters=2), run._replace(num_iters=0), run._replace(batch_size=rows // 2 + 1)]
        run = next((other for other in others if len(_losses(_trained(train, given, other)[1])) == 1), run)
    batch_size = run.batch_size
    epoch = rows // batch_size
    own = _OwnBatches(sample_batch, given, batch_size)

    def weights(**changes: Any) -> np.ndarray:
        return np.asarray(_trained(train, given, run._replace(**changes))[0]["W1"])

    seeds = [run.rng + number for number in range(3)]
    singles = [_trained(train, given, run._replace(rng=other)) for other in seeds]
    steps = [np.asarray(params["W1"]) for params, _ in singles]
    if not np.array_equal(steps[0], weights()) and own.deterministic():
        raise CheckFailed("train", "the same seed gave two different networks. Draw the batches with rng.")
    last = np.count_nonzero(_used(steps[0]))
    if not last:
        raise CheckFailed("train", "an iteration leaves W1 unchanged.")
    if last > batch_size and own.deterministic() and not own.too_large() and not own.alters():
        raise CheckFailed("train", f"an iteration with batch_size {batch_size} has used {last} of {rows} samples.")
    # Within the first epoch the learning rate doesn't decay, so all iterations count alike.
    drawn = np.zeros(rows, dtype=bool)
    for other in range(48):
        params, history = _trained(train, given, run._replace(num_iters=run.num_iters + epoch - 1, rng=run.rng + other))
        drawn |= _used(np.asarray(params["W1"]))
        if drawn.all():
            break
    complete = drawn.all() or not (own.drawn() & ~drawn).any()
    if not complete and drawn.any() and not drawn[batch_size:].any():
        raise CheckFailed(
            "train",
            f"of {rows} samples, only some of the first {batch_size} are ever used.",
            cause="only the first batch_size rows are ever drawn.",
        )
    if epoch > 2:
        path = [np.zeros_like(steps[0]), steps[0], *(weights(num_iters=run.num_iters + more) for more in (1, 2))]
        first, *others = (_used(after - before) for before, after in itertools.pairwise(path))
        same = all(np.array_equal(first, other) for other in others)
        if same and not own.alters() and own.differ() and own.drawn().sum() > 2 * batch_size:
            raise CheckFailed(
                "train",
                "the first three iterations use the same samples.",
                cause="the same batch is used in several iterations: draw a new one in each, with one generator.",
            )
        # Neighbours drawn together come twice now and then, but not three times in a row.
        path = [weights(num_iters=run.num_iters + epoch + more) for more in range(-1, 3)]
        again = [_used(after - before) for before, after in itertools.pairwise(path)]
        if np.array_equal(again, [first, *others]) and not own.alters() and own.differ():
            raise CheckFailed(
                "train",
                "the second epoch uses the same batches as the first.",
                cause="a batch is drawn anew for every step: shuffled once, the same batches come in each epoch.",
            )
    if not complete:
        raise CheckFailed(
            "train",
            f"after {48 * epoch} iterations with batch_size {batch_size},"
            f" {rows - drawn.sum()} of {rows} samples have never been used.",
        )
    learned = [_labels_learned(step, given) for step in steps]
    mislabelled = sum(np.count_nonzero((labels >= 0) & (labels != given.y)) for labels in learned)
    if mislabelled and own.labelled():
        raise CheckFailed(
            "train",
            f"of {sum(map(np.count_nonzero, map(_used, steps)))} samples, {mislabelled} were learned with the labels"
            " of others.",
            cause="rows and labels of a batch don't belong together.",
        )
    if all(np.array_equal(steps[0], step) for step in steps[1:]) and own.differ():
        raise CheckFailed("train", "several seeds gave the same network. Draw the batches with rng.")
    generator = np.random.default_rng(seed)
    successive = [weights(rng=generator) for _ in range(4)]
    if all(np.array_equal(successive[0], other) for other in successive[1:]) and own.differ():
        raise CheckFailed("train", "with a generator as rng, each call gave the same network. Draw with rng itself.")
    own_labels = [given.y[_used(step)] for step in steps]
    if all(np.array_equal(labels[labels >= 0], right) for labels, right in zip(learned, own_labels, strict=True)):
        shares = [_shares(step, given) for step in steps]
        _expect_size(shares, batch_size, own)
        if len(_losses(history)) == epoch and _has_right_loss(train, given, run):
            _expect_own_losses([float(_losses(history)[0]) for _, history in singles], shares, given)
    passed("train draws a new batch from all rows in each iteration, and the same seed gives the same network.")


def _used(step: np.ndarray) -> np.ndarray:
    """Which rows of W1 a step has changed; a wrong regularisation changes all of them, by far less."""
    sizes = np.abs(step).max(axis=1)
    return sizes > 1e-3 * sizes.max()


def _shares(step: np.ndarray, given: Problem) -> np.ndarray:
    """Each sample's part in the batch of a step, from the size of its gradient; they sum to 1."""
    sizes = np.linalg.norm(step, axis=1) / np.linalg.norm(given.values["dz2"], axis=1)
    sizes[~_used(step)] = 0.0
    return sizes / sizes.sum()


def _expect_size(shares: list[np.ndarray], batch_size: int, own: _OwnBatches) -> None:
    # Drawn twice, a sample has two parts; that none of three batches has a sample with one is out of the question.
    size = max(round(1 / part[part > 0].min()) for part in shares)
    if size != batch_size and own.size() == batch_size:
        raise CheckFailed("train", f"with batch_size {batch_size}, the gradient is that of {size} samples.")


def _has_right_loss(train: Callable, given: Problem, run: _Run) -> bool:
    """Whether the loss of a batch whose rows are all alike is right: else the history's own check says so."""
    alike = _alike(given, len(given.X))
    return np.allclose(_losses(_trained(train, alike, run)[1]), alike.values["loss"], rtol=1e-3)


def _expect_own_losses(losses: list[float], shares: list[np.ndarray], given: Problem) -> None:
    of_samples = -np.log(given.values["a3"][np.arange(len(given.y)), given.y])
    tolerance = 1e-3 * np.std(of_samples)  # far more than a step changes
    if not np.allclose(losses, [part @ of_samples for part in shares], rtol=0, atol=tolerance):
        of_all = np.allclose(losses, of_samples.mean(), rtol=0, atol=tolerance)
        raise CheckFailed(
            'history["loss"]',
            "it isn't the loss of the batch whose gradient is used.",
            cause="this isn't the loss of each iteration's batch but of all samples." if of_all else None,
        )


def _separate_rows(seed: int) -> Problem:
    rng = np.random.default_rng(seed)
    rows, hidden, classes = int(rng.integers(36, 48)), 11, 3
    params = {
        "W1": np.zeros((rows, hidden)),
        "b1": np.ones(hidden),  # every hidden unit is on, so every sample has a gradient
        # Small, so that no class is nearly certain, and its samples' gradients nearly zero.
        "W2": rng.standard_normal((hidden, classes)) / np.sqrt(hidden),
        "b2": np.zeros(classes),
    }
    return solve(params, 3 * np.eye(rows), rng.integers(0, classes, size=rows))


def _labels_learned(W1: np.ndarray, given: Problem) -> np.ndarray:
    """The label in whose direction, up to the sign, each row of W1 has moved; -1 if it is that of none."""
    alignment = []
    for label in range(given.params["b2"].size):
        direction = solve(given.params, given.X, np.full_like(given.y, label)).values["dz2"]
        alignment.append(np.abs(np.sum(W1 * direction, axis=1)) / np.linalg.norm(direction, axis=1))
    # Where a gradient is clipped, say, the direction is another one, which is no mistake of the batch.
    clear = np.max(alignment, axis=0) > (1 - 1e-6) * np.linalg.norm(W1, axis=1)
    return np.where(clear & _used(W1), np.argmax(alignment, axis=0), -1)


class _OwnBatches:
    """What the student's ``sample_batch`` does itself, asked only when a training looks wrong; right without one.

    It is right as well where it fails, since a stand-in takes its place in the training.
    """

    def __init__(self, sample_batch: Callable | None, given: Problem, batch_size: int) -> None:
        self._sample_batch = sample_batch
        self._given = given
        self._batch_size = batch_size
        if sample_batch is not None:
            try:
                self._draw(np.random.default_rng(0))
            except (CheckFailed, NotImplementedError):
                self._sample_batch = None

    def _draw(self, rng: Any = 0) -> tuple[np.ndarray, np.ndarray]:
        """Row numbers and labels of one batch."""
        X_batch, y_batch = _pair(call(self._sample_batch, self._given.X, self._given.y, self._batch_size, rng))
        return _rows_of(X_batch, self._given.X), y_batch

    def deterministic(self) -> bool:
        return self._sample_batch is None or np.array_equal(self._draw()[0], self._draw()[0])

    def differ(self) -> bool:
        """Whether calls with the same generator give different batches, as in a training."""
        rng = np.random.default_rng(0)
        return self._sample_batch is None or any(
            not np.array_equal(np.sort(self._draw(rng)[0]), np.sort(self._draw(rng)[0])) for _ in range(4)
        )

    def size(self) -> int:
        return self._batch_size if self._sample_batch is None else len(self._draw()[0])

    def too_large(self) -> bool:
        return self.size() > self._batch_size

    def alters(self) -> bool:
        return self._sample_batch is not None and -1 in self._draw()[0]

    def drawn(self) -> np.ndarray:
        """Which rows it ever draws."""
        drawn = np.ones(len(self._given.X), dtype=bool)
        if self._sample_batch is not None:
            rng = np.random.default_rng(0)
            rows = np.concatenate([self._draw(rng)[0] for _ in range(300)])
            drawn[:] = np.isin(np.arange(len(drawn)), rows)
        return drawn

    def labelled(self) -> bool:
        if self._sample_batch is None:
            return True
        rows, labels = self._draw()
        return len(rows) == len(labels) and np.array_equal(self._given.y[rows], labels)


def _trained(
    train: Callable, given: Problem, run: _Run, validation: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[dict, dict]:
    X_val, y_val = validation or _validation(given)
    got = call(train, given.params, given.X, given.y, X_val, y_val, **run.settings())
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("train", "it should return two dicts: return params, history.")
    params = expect_keys("train", got[0], _NAMES)
    for name in _NAMES:
        if as_numbers(name, params[name]).shape != given.params[name].shape:
            raise CheckFailed(name, f"train returned shape {params[name].shape}, expected {given.params[name].shape}.")
    return params, got[1]


def _validation(given: Problem) -> tuple[np.ndarray, np.ndarray]:
    """More rows of the same kind; the labels don't matter."""
    rng = np.random.default_rng(len(given.X))
    return 2 * rng.standard_normal((50, given.X.shape[1])), rng.integers(0, given.params["b2"].size, size=50)


def _telling_validation(
    given: Problem, right: dict[str, np.ndarray], others: list[dict[str, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray]:
    """More rows, some of which change their class with other parameters, so that an accuracy tells them apart."""
    X, y = _validation(given)
    pool = 2 * np.random.default_rng(len(given.X)).standard_normal((4000, X.shape[1]))
    labels = np.zeros(len(pool), dtype=int)
    logits = [solve(params, pool, labels).values["z3"] for params in (right, *others)]
    clear = np.min([np.diff(np.sort(z, axis=1)[:, -2:])[:, 0] for z in logits], axis=0) > 1e-6  # beyond round-off
    own, *classes = (z.argmax(axis=1) for z in logits)
    changed = np.concatenate([np.flatnonzero((own != other) & clear)[:20] for other in classes])
    return np.concatenate([X, pool[changed]]), np.concatenate([y, own[changed]])


def _reference(
    given: Problem,
    run: _Run,
    epoch: int | None = None,
    early: bool = False,
    step: Callable[[Problem, float], dict[str, np.ndarray]] | None = None,
    **changes: Any,
) -> _Descent:
    """Gradient descent with the oracle's gradients, or with other steps, on data whose batches are all equivalent."""
    run = run._replace(**changes)
    epoch = epoch or max(len(given.X) // run.batch_size, 1)
    params, losses, epochs = given.params, [], []
    for iteration in range(run.num_iters):
        here = solve(params, given.X, given.y, run.reg)
        losses.append(here.values["loss"])
        decays = (iteration + epoch - 1) // epoch if early else iteration // epoch
        params = (step or _descended)(here, run.learning_rate * run.learning_rate_decay**decays)
        if (iteration + 1) % epoch == 0:
            epochs.append(params)
    return _Descent(params, losses, epochs)


def _descended(here: Problem, rate: float) -> dict[str, np.ndarray]:
    return {name: here.params[name] - rate * gradient for name, gradient in here.gradients().items()}


def _expect_params(
    got: dict, reference: _Descent, given: Problem, run: _Run, causes: dict[str, dict[str, Any]], place: str
) -> None:
    """Compare all parameters; a deviation is explained by the first of ``causes`` that reproduces it."""
    for name in _NAMES:
        tolerance = _TOLERANCE * max(1.0, float(np.abs(reference.params[name]).max()))
        try:
            expect_close(name, got[name], reference.params[name], tolerance=tolerance)
        except CheckFailed as error:
            cause = next(
                (text for text, changes in causes.items() if _agree(got, _reference(given, run, **changes).params)),
                None,
            )
            still = [key for key in _NAMES if np.array_equal(got[key], given.params[key])]
            if cause is None and still:
                cause = f"{' and '.join(still)} did not change: all four arrays are to be trained."
            raise CheckFailed(
                name, place + error.problem, place=error.place, tolerance=error.tolerance, cause=cause
            ) from None


def _agree(got: dict, params: dict[str, np.ndarray]) -> bool:
    return all(np.allclose(got[name], params[name], rtol=1e-8, atol=_TOLERANCE) for name in _NAMES)


def _expect_history(
    history: Any,
    given: Problem,
    seen: Problem,
    run: _Run,
    reference: _Descent,
    predict: Callable | None,
    validation: tuple[np.ndarray, np.ndarray],
    exactness: float,
) -> None:
    history = expect_keys("history", history, ("loss", "train_accuracy", "val_accuracy"))
    losses = as_numbers('history["loss"]', history["loss"])
    made = len(reference.losses)
    if losses.shape != (made,):
        raise CheckFailed(
            'history["loss"]', f"the shape is {losses.shape}, expected ({made},): one loss for each iteration."
        )
    cause = None
    if run.reg:
        without = [_reference(seen, run._replace(num_iters=1), reg=0.0).losses[0]]
        if np.isclose(losses[0], without[0], rtol=1e-9):
            cause = "these are losses without regularisation; loss(params, X_batch, y_batch, reg) has it."
    later = _reference(seen, run._replace(num_iters=made + 1)).losses[1:]
    if np.allclose(losses, later, rtol=1e-9):
        cause = "each loss is that after the step; it should be the loss of the batch before it."
    try:
        expect_close('history["loss"]', losses, reference.losses, tolerance=exactness * max(reference.losses))
    except CheckFailed as error:
        raise CheckFailed(
            error.quantity, error.problem, place=error.place, tolerance=error.tolerance, cause=cause
        ) from None
    for key, X, y in (("train_accuracy", given.X, given.y), ("val_accuracy", *validation)):
        quantity = f'history["{key}"]'
        got = as_numbers(quantity, history[key])
        if got.shape != (len(reference.epochs),):
            raise CheckFailed(
                quantity, f"the shape is {got.shape}, expected ({len(reference.epochs)},): one value after each epoch."
            )

        def own_predictions(X: np.ndarray = X, y: np.ndarray = y) -> list[float]:
            return [float(np.mean(np.asarray(call(predict, params, X)) == y)) for params in reference.epochs]

        expected = [float(np.mean(solve(params, X, y).values["z3"].argmax(axis=1) == y)) for params in reference.epochs]
        expect_close(quantity, got, expected, tolerance=_TOLERANCE, follows=[own_predictions])
