"""Checks of 5.d: the learning rate's schedule and the history, as properties of a training's record.

Each property is asked on data on which no other mistake shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from course_utils.checks.pytorch import solved_case
from course_utils.checks.pytorch_models import (
    Case,
    Models,
    Values,
    case_of,
    clearest,
    held_by,
    models_for,
    right_logits,
    with_cause,
)
from course_utils.checks.pytorch_runs import Run, descent, run_of, train, trained_params, with_right_helpers
from course_utils.comparison import CheckFailed, as_numbers, call, expect_close, expect_keys, on_problem, passed
from course_utils.deviations import Cause, Observation, search
from course_utils.judge import answers
from course_utils.oracle import random_problem
from course_utils.reference import Problem

# --- 5.d Training: the schedule and the history ----------------------------------------------


def schedule_run(case: Case) -> Run:
    """1,100 rows, since the accuracy on the training data is asked on the first 1,000; epochs of 4 iterations."""
    plain = Case(case.name, case.params, case.X[:9], case.y[:9], case.reg)
    return run_of(replace(plain, name=case.name.replace(f"N={len(case.X)}", "N=9")), 13, 244, 1100, decay=0.6)


@answers("test-train-torch-schedule")
def check_train_schedule(
    train_torch: Callable, loss_and_gradients: Callable, *models: Callable, on: Problem | None = None
) -> None:
    """Check the learning rate's decay and the history of ``train_torch``, whatever its steps are.

    Parameters
    ----------
    train_torch, loss_and_gradients : callables
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problem.
    """
    makers, given = Models(*models), on or random_problem(seed=7, samples=22)
    run, failures = schedule_run(case_of(given)), []
    functions = with_right_helpers(train_torch, makers)(run)
    for kind, _ in models_for(run, makers):
        for function in functions:
            try:
                with on_problem(run):
                    expect_schedule(function, partial(call, makers.model_of, kind), run, makers, new=on is not None)
                passed("the learning rate decays after each epoch, and the history holds losses and accuracies.", on)
                return
            except (CheckFailed, NotImplementedError) as failure:
                failures.append(failure)
    raise clearest(failures)


def expect_schedule(function: Callable, make: Callable, run: Run, models: Models, *, new: bool = False) -> None:
    """The properties of a training's record, one after the other; ``make`` gives a new model.

    On a ``new`` run, after the stored one, only those are asked whose values depend on it.
    """
    epoch = len(run.X) // run.batches.shape[1]
    expected = [_expect_first_loss, _expect_rates, _expect_accuracies]
    if not new:
        expected = [_expect_lists, *expected[:2], _expect_later_losses, expected[2]]
    for expect in expected:
        expect(function, lambda: make(run.params, run.activation), run, epoch, models)


def _history(function: Callable, model: Any, run: Run) -> dict[str, np.ndarray]:
    history = expect_keys("train_torch", train(function, model, run), ("loss", "train_accuracy", "val_accuracy"))
    found = {}
    for key in ("loss", "train_accuracy", "val_accuracy"):
        tensors = isinstance(history[key], (list, tuple)) and any(
            type(entry).__name__ in ("Tensor", "Opaque") for entry in history[key]
        )
        if tensors:
            raise CheckFailed(f'history["{key}"]', "it holds tensors, expected floats; value.item() is the float.")
        found[key] = as_numbers(f'history["{key}"]', history[key]).astype(np.float64)
    if found["loss"].shape != (len(run.batches),):
        raise CheckFailed(
            'history["loss"]',
            f"the shape is {found['loss'].shape}, expected ({len(run.batches)},): one loss for each iteration.",
        )
    return found


def _expect_lists(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """Keys, floats, and as many losses as iterations."""
    _history(function, make(), run)


def _of_one_row(run: Run, row: int) -> Run:
    """The run on data whose rows are all the same, so that it makes no difference which of them a step takes."""
    return replace(run, X=np.repeat(run.X[[row]], len(run.X), axis=0), y=np.repeat(run.y[[row]], len(run.y)))


def _loss_of(params: Mapping[str, np.ndarray], logits: np.ndarray, run: Run) -> float:
    """The right loss where all rows are the same, from what the model holds and what it computes for one of them."""
    shifted = np.asarray(logits, dtype=np.float64)[0] - np.max(logits)
    return float(
        np.log(np.exp(shifted).sum())
        - shifted[run.y[0]]
        + run.reg * sum(np.sum(params[name] ** 2) for name in params if name.startswith("W"))
    )


def _expect_first_loss(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """It is that of the given parameters; an objective that the steps follow as well is no mistake of the history."""
    got, after, expected = [], [], []
    alike = [_of_one_row(run.of(1), row) for row in range(3)]
    for here in alike:
        model = make()
        expected.append(_loss_of(run.params, call(models.logits_of, model, here.X[:1]), here))
        got.append(float(_history(function, model, here)["loss"][0]))
        after.append(_loss_of(held_by(model, models.state_of), call(models.logits_of, model, here.X[:1]), here))
    tolerance = 1e-9 * max(1.0, *map(abs, expected))
    if np.allclose(got, expected, rtol=0, atol=tolerance):
        return
    late = np.allclose(got, after, rtol=0, atol=tolerance)
    if not late and _follows_its_losses(function, make, alike[0], models, got[0]):
        return
    try:
        expect_close('history["loss"]', np.array(got), np.array(expected), tolerance=tolerance)
    except CheckFailed as failure:
        if late:
            failure.cause = "each loss is that after the step; it should be the loss of the batch before it."
        raise with_cause(failure, lambda: _cause_of_losses(got, expected, alike)) from None


def _cause_of_losses(got: Sequence[float], expected: Sequence[float], runs: Sequence[Run]) -> Cause | None:
    from course_utils.checks import pytorch_reference as reference

    observed = []
    for run, value, right in zip(runs, got, expected, strict=True):
        arguments = vars(replace(run, X=run.X[run.batches[0]], y=run.y[run.batches[0]]))
        observed.append(Observation(arguments, {"the loss": value}, {"the loss": right}, {"the loss": 1e-9}))
    return search(observed, solved_case, reference.OBJECTIVE)


def _follows_its_losses(function: Callable, make: Callable, run: Run, models: Models, first: float) -> bool:
    """Whether a short step lowers the reported loss by rate * ||gradient||^2, as gradient descent on it does.

    It begins with the same loss as a longer step, ``first``, since this is that before the step.
    """
    rate, model, other = 1e-8, make(), make()
    once = replace(run, batches=run.batches[[0, 0]], rate=rate, decay=1.0)
    losses = _history(function, model, once)["loss"]
    held = trained_params(function, other, once.of(1), models)
    squares = sum(float(np.sum((run.params[name] - held[name]) ** 2)) for name in held) / rate**2
    if abs(losses[0] - first) > 1e-9 * max(1.0, abs(first)):
        return False
    return squares > 0 and abs((losses[0] - losses[1]) / (rate * squares) - 1) < 1e-3


def _expect_rates(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """The rate is proportional to learning_rate and to the power of the decay that is asked for.

    Where all rows are the same, a short step lowers the loss in proportion to its rate, whatever kind of step
    it is. At twice a small decay, the losses of iteration t so fall 2 ** (t // epoch) times as much.
    """
    # 4.7 batches; an epoch of so many iterations as another division gives, by the number of batches, is another one.
    epoch, size, rows = 4, 7, 33
    short = _of_one_row(
        replace(run, X=run.X[:rows], y=run.y[:rows], batches=np.resize(run.batches, (16, size)) % rows), 0
    )

    def falls(rate: float, decay: float) -> np.ndarray:
        return -np.diff(_history(function, make(), replace(short, rate=rate, decay=decay))["loss"])

    once, twice, faster = falls(1e-4, 0.1), falls(1e-4, 0.2), falls(2e-4, 0.1)
    if not np.abs(once[0]) > 1e-12:
        return  # nothing is trained, which the steps say
    read = (np.abs(once) > 1e-12) & (np.abs(twice) > 1e-12)
    with np.errstate(all="ignore"):
        ratios, by_rate = twice / once, faster / once
    # Longer steps lead elsewhere, so that later falls differ a little more.
    other = read & (np.abs(by_rate - 2) > np.where(np.arange(len(by_rate)) == 0, 0.1, 0.5))
    if other.any():
        first = int(np.argmax(other))
        causes = {1: "learning_rate isn't used.", 4: "the step is multiplied by learning_rate twice."}
        raise CheckFailed(
            "the learning rate",
            f"with twice the learning_rate, the step of iteration {first} lowers the loss {by_rate[first]:.2f} times as"
            " much, expected 2.",
            # Of all the steps: where something random is in them, one may be so by chance.
            cause=next((why for times, why in causes.items() if np.abs(by_rate[other] - times).max() < 0.1), None),
        )
    expected = 2.0 ** (np.arange(len(once)) // epoch)
    wrong = ~read | (np.abs(ratios / expected - 1) > 0.03)
    if wrong.any():
        first = int(np.argmax(wrong))
        failure = CheckFailed(
            "the learning rate",
            f"with twice the learning_rate_decay, it is {ratios[first]:.3g} times as large in iteration {first},"
            f" expected {expected[first]:g} times: an epoch has {epoch} iterations here."
            if read[first]
            else f"in iteration {first}, nothing tells it: no step is made, or the loss isn't that of the batch.",
        )
        failure.data = f"{rows} rows that are all alike, in batches of {size}"
        raise with_cause(failure, lambda: _cause_of_rates(ratios, read, expected, epoch, rows / size))


def _cause_of_rates(
    ratios: np.ndarray, read: np.ndarray, expected: np.ndarray, epoch: int, exact: float
) -> Cause | None:
    from course_utils.checks import pytorch_reference as reference

    times = np.flatnonzero(read)

    def model(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
        rate = changes.get("rate", reference.right_rate)
        return {"ratios": np.array([rate(int(t), epoch, 0.2, exact) / rate(int(t), epoch, 0.1, exact) for t in times])}

    got = {"ratios": ratios[read]}
    observed = Observation({}, got, {"ratios": expected[read]}, {"ratios": 0.005 * float(np.abs(got["ratios"]).max())})
    return search([observed], model, reference.SCHEDULE)


def _expect_later_losses(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """The loss of an iteration is the first one of a training that goes on from there."""
    from course_utils.checks import pytorch_reference as reference

    run = _of_one_row(run, 0)
    losses = _history(function, make(), run.of(epoch + 1))["loss"]
    for count in (1, epoch):
        model = make()
        train(function, model, run.of(count))
        onward = _history(function, model, replace(run, batches=run.batches[count : count + 1]))["loss"][0]
        if abs(losses[count] - onward) <= 1e-9 * max(1.0, abs(onward)):
            continue
        wanted = {key: getattr(run, key) for key in ("params", "X", "y", "rate", "reg", "activation")}
        right = reference.trained(**wanted, batches=run.batches[: count + 1], changes={})[1][count]
        try:
            expect_close(
                f'history["loss"][{count}]', np.array(losses[count]), np.array(right), tolerance=1e-9 * max(1.0, right)
            )
        except CheckFailed as failure:
            if np.isclose(losses[count], np.mean([losses[0], onward]) if count == 1 else np.nan, rtol=1e-9):
                failure.cause = "this is the mean of all losses so far; each iteration has its own."
            raise


def _expect_accuracies(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """One after each epoch; the last is that of the trained model, or of one that was trained rightly."""
    history = _history(function, make(), run.of(2 * epoch + 1))
    causes = {
        (2 * epoch + 1,): "an accuracy is recorded after every iteration; it should be after every epoch.",
        (3,): "an accuracy is recorded where an epoch isn't at its end: at its beginning, or after the last iteration.",
    }
    larger = replace(run, batches=np.random.default_rng(0).integers(0, len(run.X), size=(2, len(run.X) + 1)))
    for got, place in ((history, "one after each epoch"), (_history(function, make(), larger), "with batches larger"
                       " than X, each is an epoch")):  # fmt: skip
        for key in ("train_accuracy", "val_accuracy"):
            if got[key].shape != (2,):
                raise CheckFailed(
                    f'history["{key}"]',
                    f"the shape is {got[key].shape}, expected (2,): {place}.",
                    cause=causes.get(got[key].shape),
                )
    for number in (1, 2):
        model = make()
        ended = _history(function, model, run.of(number * epoch))
        right = _descent_with_decay(run, epoch, number)
        for key, split in (("train_accuracy", (run.X, run.y)), ("val_accuracy", run.validation)):
            steady = np.array_equal(ended["loss"], history["loss"][: number * epoch])  # nothing is drawn at random
            same = not steady or np.allclose(ended[key][-1], history[key][number - 1], rtol=0, atol=1e-9)
            found = _hits(call(models.logits_of, model, split[0]), split[1])
            other = _hits(right_logits(right, split[0], run.activation), split[1])
            if same and any(abs(ended[key][-1] - np.mean(hits[:1000])) < 1e-6 for hits in (found, other)):
                continue
            try:
                expect_close(f'history["{key}"]', ended[key][-1], float(np.mean(found[:1000])), tolerance=1e-6)
                raise CheckFailed(f'history["{key}"]', "it changes when the training goes on after this epoch.")
            except CheckFailed as failure:
                if failure.place is None:
                    raise
                raise with_cause(failure, lambda: _cause_of_accuracy(function, make, run, epoch, models)) from None


def _descent_with_decay(run: Run, epoch: int, epochs: int) -> dict[str, np.ndarray]:
    params = run.params
    for number in range(epochs):
        batches = run.batches[number * epoch : (number + 1) * epoch]
        here = replace(run, params=params, batches=batches, rate=run.rate * run.decay**number)
        params = descent(vars(here), {})
    return params


def _hits(logits: Any, y: np.ndarray) -> np.ndarray:
    return np.asarray(logits).argmax(axis=1) == y


def _cause_of_accuracy(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> Cause | None:
    """The deviation that gives both accuracies after the first epoch, and after the second."""
    from course_utils.checks import pytorch_reference as reference

    splits = ("train_accuracy", "val_accuracy")

    def hits_after(steps: int) -> tuple[np.ndarray, np.ndarray, Mapping[str, np.ndarray]]:
        model = make()
        history = _history(function, model, run.of(steps)) if steps else {}
        train, val = (_hits(call(models.logits_of, model, X), y) for X, y in ((run.X, run.y), run.validation))
        return train, val, history

    def values(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
        accuracy = changes.get("accuracy", reference.right_accuracy)
        return {key: accuracy(key, arguments["hits"]) for key in splits}

    observed, path = [], [hits_after(steps) for steps in range(2 * epoch + 1)]
    for end in (epoch, 2 * epoch):
        before, batches = path[end - epoch : end], run.batches[end - epoch : end]
        train, val, history = path[end]
        earlier = {"train_accuracy": np.mean(before[-1][0][:1000]), "val_accuracy": np.mean(before[-1][1])}
        hits = reference.Hits(train, val, np.array([one[0] for one in before]), batches, earlier)
        got, expected = {key: history[key][-1] for key in splits}, values({"hits": hits}, {})
        observed.append(Observation({"hits": hits}, got, expected, dict.fromkeys(splits, 1e-7)))
    return search(observed, values, reference.ACCURACY)
