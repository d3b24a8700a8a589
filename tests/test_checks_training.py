"""The checks of notebook 4: what passes, and what is told about mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from course_utils import oracle, stand_ins
from course_utils.checks.training import (
    check_predict,
    check_sample_batch,
    check_sample_batch_is_random,
    check_train_batches,
    check_train_descent,
    check_train_schedule,
)
from course_utils.comparison import CheckFailed

pytestmark = pytest.mark.slow


def draw(X, y, batch_size, rng):
    rng = np.random.default_rng(rng)
    if batch_size >= len(X):
        return X, y
    indices = rng.integers(len(X), size=batch_size)
    return X[indices], y[indices]


def draw_without_replacement(X, y, batch_size, rng):
    indices = np.random.default_rng(rng).permutation(len(X))[:batch_size]
    return X[indices], y[indices]


def draw_window(X, y, batch_size, rng):
    start = np.random.default_rng(rng).integers(max(len(X) - batch_size, 0) + 1)
    return X[start : start + batch_size], y[start : start + batch_size]


def draw_first(X, y, batch_size, rng):
    if batch_size >= len(X):
        return X, y
    indices = np.random.default_rng(rng).integers(batch_size, size=batch_size)
    return X[indices], y[indices]


def draw_swapped(X, y, batch_size, rng):
    if batch_size >= len(X):
        return X, y
    indices = np.random.default_rng(rng).choice(batch_size, len(X))
    return X[indices], y[indices]


def draw_separately(X, y, batch_size, rng):
    rng = np.random.default_rng(rng)
    if batch_size >= len(X):
        return X, y
    return X[rng.integers(len(X), size=batch_size)], y[rng.integers(len(X), size=batch_size)]


def draw_without_last(X, y, batch_size, rng):
    if batch_size >= len(X):
        return X, y
    indices = np.random.default_rng(rng).integers(len(X) - 1, size=batch_size)
    return X[indices], y[indices]


def draw_always_the_same(X, y, batch_size, rng):
    return draw(X, y, batch_size, 0)


def draw_whole_set_with_replacement(X, y, batch_size, rng):
    indices = np.random.default_rng(rng).integers(len(X), size=min(batch_size, len(X)))
    return X[indices], y[indices]


def draw_in_double_precision(X, y, batch_size, rng):
    X_batch, y_batch = draw(X, y, batch_size, rng)
    return X_batch.astype(np.float64), y_batch.astype(np.int16)


@pytest.mark.parametrize("function", [draw, draw_without_replacement, draw_window, draw_in_double_precision])
def test_ways_to_draw_a_batch(function):
    for seed in (1, 4101):
        check_sample_batch(function, seed)
        check_sample_batch_is_random(function, seed)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (draw_swapped, "the arguments are swapped"),
        (draw_separately, "rows and labels are drawn separately"),
        (lambda X, y, size, rng: draw(X, 1.0 * y, size, rng), "expected an integer type"),
        (draw_whole_set_with_replacement, "the batch should be the whole set"),
        (lambda X, y, batch_size, rng: X[:batch_size], "it should return two arrays"),
    ],
)
def test_wrong_batches(function, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        check_sample_batch(function)


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (draw_first, "the indices are drawn from batch_size numbers"),
        (draw_without_last, "was never drawn"),
        (draw_always_the_same, "seeds gave the same batch"),
    ],
)
def test_batches_that_are_not_random(function, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        check_sample_batch_is_random(function)


def classes(params, X, change=lambda z2, params: z2):
    z2 = change(X @ params["W1"] + params["b1"], params)
    return (np.maximum(z2, 0) @ params["W2"] + params["b2"]).argmax(axis=1)


def test_predict():
    check_predict(classes)
    check_predict(classes, on=oracle.random_problem(4, samples=200))
    check_predict(lambda params, X: stand_ins.forward(params, X)["a3"].argmax(axis=1))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda params, X: classes(params, X, lambda z2, params: z2 - params["b1"]), "the bias b1 is left out"),
        (lambda params, X: (np.maximum(X @ params["W1"], 0) @ params["W2"]).argmax(axis=1), "the biases are left out"),
        (lambda params, X: stand_ins.forward(params, X)["z3"].argmin(axis=1), "the class with the smallest score"),
        (lambda params, X: stand_ins.forward(params, X)["z3"].argmax(axis=0), "along axis 0"),
        (lambda params, X: stand_ins.forward(params, X)["z3"].max(axis=1), "classes are wrong"),
        (lambda params, X: classes(params, X).astype(float), "expected an integer type"),
    ],
)
def test_wrong_predictions(function, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        check_predict(function)


def training(
    *, sample=draw, direction=-1.0, use_reg=True, decay_every=None, per_epoch=None, after=False,
    trained=("W1", "b1", "W2", "b2"), copies=True, loss_batch=None, measured=lambda X, batch: slice(1000), momentum=0.0,
):  # fmt: skip
    """A right ``train``, or one with the named mistake."""

    def train(params, X, y, X_val, y_val, *, learning_rate, learning_rate_decay, reg, num_iters, batch_size, rng):
        rng = np.random.default_rng(rng)
        if copies:
            params = {name: array.copy() for name, array in params.items()}
        velocity = {name: np.zeros_like(array) for name, array in params.items()}
        history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
        epoch = per_epoch(len(X), batch_size) if per_epoch else max(len(X) // batch_size, 1)
        strength = reg if use_reg else 0.0
        for iteration in range(num_iters):
            X_batch, y_batch = sample(X, y, batch_size, rng)
            before = stand_ins.loss(params, *(loss_batch(X, y, rng) if loss_batch else (X_batch, y_batch)), strength)
            for name, gradient in stand_ins.backward(params, X_batch, y_batch, strength).items():
                if name in trained:
                    velocity[name] = momentum * velocity[name] + direction * learning_rate * gradient
                    params[name] += velocity[name]
            history["loss"].append(stand_ins.loss(params, X_batch, y_batch, strength) if after else before)
            if (iteration + 1) % epoch == 0:
                history["train_accuracy"].append(np.mean((classes(params, X) == y)[measured(X, X_batch)]))
                history["val_accuracy"].append(np.mean(classes(params, X_val) == y_val))
            if (iteration + 1) % (decay_every or epoch) == 0:
                learning_rate *= learning_rate_decay
        return params, history

    return train


@pytest.mark.parametrize("sample", [draw, draw_without_replacement, draw_window])
def test_right_trainings(sample):
    train = training(sample=sample)
    check_train_descent(train)
    check_train_schedule(train)
    check_train_batches(train)


def test_a_schedule_is_right_whatever_the_steps_are():
    check_train_schedule(training(momentum=0.9))
    for wrong in (training(momentum=0.9, decay_every=10**9), training(momentum=0.9, decay_every=1)):
        with pytest.raises(CheckFailed, match=r"learning rate decays|doesn't decay"):
            check_train_schedule(wrong)


@pytest.mark.parametrize("decay_every", [1, 10**9])
def test_a_decay_is_no_matter_of_the_steps(decay_every):
    check_train_descent(training(decay_every=decay_every))
    check_train_batches(training(decay_every=decay_every))


def test_a_generator_is_drawn_from():
    def replaced(X, y, batch_size, rng):
        return draw(X, y, batch_size, rng if isinstance(rng, int) else 0)

    with pytest.raises(CheckFailed, match="with a generator as rng"):
        check_sample_batch_is_random(replaced)

    def train(*data, rng, **settings):
        return training()(*data, rng=rng if isinstance(rng, int) else 0, **settings)

    with pytest.raises(CheckFailed, match="with a generator as rng"):
        check_train_batches(train)


@pytest.mark.parametrize(
    ("check", "train", "sentence"),
    [
        (check_train_descent, training(direction=1.0), "this climbs the loss"),
        (check_train_descent, training(use_reg=False), "the regularisation isn't passed on"),
        (check_train_descent, training(trained=("W1", "W2")), "b1 and b2 did not change"),
        (check_train_descent, training(trained=()), "the parameters are as they were"),
        (check_train_descent, training(copies=False), "the steps are made in place"),
        (check_train_descent, training(momentum=0.9), "a step depends on those before it"),
        (check_train_schedule, training(measured=lambda X, batch: slice(None)), "on all rows of the training data"),
        (
            check_train_schedule,
            training(measured=lambda X, batch: slice(-1000, None)),
            "the last 1,000 rows of the training",
        ),
        (check_train_batches, training(loss_batch=lambda X, y, rng: draw(X, y, 4, rng)), "those of different batches"),
        (check_train_batches, training(loss_batch=lambda X, y, rng: (X, y)), "but of all samples"),
        (check_train_batches, training(sample=lambda X, y, n, rng: draw(X, y, n - 1, rng)), "that of 19 samples"),
        (check_train_batches, training(sample=lambda X, y, n, rng: draw(X, y, n // 2, rng)), "that of 10 samples"),
        (check_train_schedule, training(decay_every=1), "decays after every iteration"),
        (check_train_schedule, training(decay_every=10**9), "it doesn't decay after each"),
        (check_train_schedule, training(per_epoch=lambda rows, size: -(-rows // size)), "rounded down"),
        (check_train_schedule, training(after=True), "it should be the loss of the batch before it"),
        (check_train_batches, training(sample=draw_first), "only the first batch_size rows are ever drawn"),
        (check_train_batches, training(sample=draw_always_the_same), "the same batch is used in several iterations"),
        (check_train_batches, training(sample=draw_separately), "rows and labels of a batch don't belong together"),
        (check_train_batches, training(sample=lambda X, y, size, rng: (X, y)), "a batch is the whole set"),
    ],
)
def test_wrong_trainings(check, train, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        check(train)


def test_the_checks_need_no_pytorch():
    """On a student's machine it may be missing."""
    code = """
import sys
sys.modules["torch"] = None
import numpy as np
from course_utils.checks import training
from tests.numpy_training import predict, sample_batch, train
training.check_sample_batch(sample_batch)
training.check_sample_batch_is_random(sample_batch)
training.check_predict(predict)
for check in (training.check_train_descent, training.check_train_schedule, training.check_train_batches):
    check(train)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[1], capture_output=True)
