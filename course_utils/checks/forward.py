"""Checks of notebook 1: the forward pass and the loss."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from course_utils.comparison import CheckFailed, as_numbers, call, expect_close, expect_keys, passed
from course_utils.reference import PUBLISHED_TOY_LOSS, PUBLISHED_TOY_SCORES, Problem, problem, problems
from course_utils.source import find_foreign_help, find_loop, is_unwritten

#: The largest summed difference to the published 8-digit scores: 15 scores, each rounded
#: by at most 5e-9, may sum to 7.5e-8.
SCORES_TOLERANCE = 1e-7
#: The published loss has 12 digits: it is rounded by at most 5e-12 / 10.
LOSS_TOLERANCE = 1e-12


def check_relu(relu: Callable, on: Problem | None = None) -> None:
    """Check ``relu(z)``: (N, H) -> (N, H), exact."""
    for given in [on] if on else problems():
        z = given.values["z2"]
        integers = np.round(z).astype(int)
        for argument in (z, integers, z.astype(np.float32), z[:1]):
            expected = np.where(argument > 0, argument, 0)
            known = {"quantity": "relu(z)", "before": argument}
            expect_close("relu(z)", call(relu, argument), expected, tolerance=0.0, known=known)
    passed("relu(z) keeps the positive values and sets the others to zero.", on)


def check_softmax(softmax: Callable, on: Problem | None = None) -> None:
    """Check ``softmax(z)``: logits (N, K) -> probabilities (N, K), on logits of moderate size."""
    for given in [on] if on else _moderate():
        z3, a3 = given.values["z3"], given.values["a3"]
        for rows in (slice(None), slice(0, 1)):
            known = {"quantity": "softmax(z)", "before": z3[rows], "N": len(z3[rows])}
            expect_close("softmax(z)", call(softmax, z3[rows]), a3[rows], **_size(z3), known=known)
    passed("softmax(z) gives the reference probabilities; every row sums to 1.", on)


def check_stability(softmax: Callable, softmax_cross_entropy: Callable, on: Problem | None = None) -> None:
    """Check that large logits give neither nan nor inf, in the softmax and in the cross-entropy.

    The softmax doesn't change when a constant is added to a row; the cross-entropy of a row
    whose largest logit lies 1e4 above its true one is 1e4, though the probability of the
    true class underflows to 0. Whether the functions are right on moderate logits is asked
    elsewhere, and a mistake that shows there too isn't counted again.
    """
    given = on or problem("biased")
    z3 = given.values["z3"]
    for shift in (1e4, -1e4):
        got = call(softmax, z3 + shift)
        # Adding the shift rounds the logits to about 1e-12, and the probabilities with them.
        own = call(softmax, z3)
        _expect_same(f"softmax(z {shift:+g})", got, own, **_size(z3 + shift))
    rows, classes = z3.shape
    labels = np.arange(rows) % classes
    extreme = np.zeros((rows, classes))
    extreme[np.arange(rows), (labels + 1) % classes] = 1e4
    quantity = "softmax_cross_entropy(z, y) with logits up to 1e4"
    got = as_numbers(quantity, call(softmax_cross_entropy, extreme, labels))
    if not np.isfinite(got).all():
        raise CheckFailed(
            quantity,
            f"the value is {got}, expected 10000. The probability of the true class underflows to 0;"
            " take the logarithm of the sum of exponentials instead of the logarithm of a probability.",
        )
    if np.abs(got).max() < 1e3:
        raise CheckFailed(
            quantity, f"the value is {np.max(got):.6g}, expected 10000. A clipped probability is finite, but wrong."
        )
    own = call(softmax_cross_entropy, z3, given.y)
    got = call(softmax_cross_entropy, z3 - 1e4, given.y)
    _expect_same("softmax_cross_entropy(z - 10000, y)", got, own, scale=1e4, terms=len(z3))
    passed("logits of size 1e4 give finite probabilities and losses.", on)


def _expect_same(quantity: str, got: object, own: object, **size: float) -> None:
    """``got``, from shifted logits, must be finite, and equal ``own``, from the logits themselves."""
    if not np.isfinite(as_numbers(quantity, got)).all():
        raise CheckFailed(
            quantity, "it holds nan or inf. Subtract the largest logit of each row before taking exponentials."
        )
    if np.isfinite(as_numbers(quantity, own)).all():
        expect_close(quantity, got, own, **size)


def check_forward(
    forward: Callable, relu: Callable | None = None, softmax: Callable | None = None, on: Problem | None = None
) -> None:
    """Check ``forward(params, X)`` -> dict with ``z2``, ``a2`` (N, H), ``z3``, ``a3`` (N, K).

    With the student's ``relu`` and ``softmax``, a mistake in these isn't counted again.
    """
    for given in [on] if on else _moderate():
        got = expect_keys("forward", call(forward, given.params, given.X), ("z2", "a2", "z3", "a3"))
        _compare_forward(got, given, relu, softmax)
    passed("forward gives the reference z2, a2, z3 and a3.", on)


def _compare_forward(got: dict, given: Problem, relu: Callable | None, softmax: Callable | None) -> None:
    values, params = given.values, given.params
    X = np.asarray(given.X, dtype=np.float64)
    known = {"N": len(given.X)}
    first = np.max(np.abs(X) @ np.abs(params["W1"]) + np.abs(params["b1"]))
    second = np.max(values["a2"] @ np.abs(params["W2"]) + np.abs(params["b2"]))
    # The error of a2 is carried on by W2, on top of the second product's own.
    second = second + first * np.max(np.sum(np.abs(params["W2"]), axis=0))
    terms = sum(params["W1"].shape) + 1
    common = {"terms": terms, "input_dtype": np.result_type(given.X, params["W1"])}
    expect_close("z2", got["z2"], values["z2"], scale=first, known=known | {"bias": params["b1"]}, **common)
    expect_close(
        "a2", got["a2"], values["a2"], scale=first, known=known | {"before": values["z2"]}, **common,
        follows=[lambda: call(relu, got["z2"])],
    )  # fmt: skip
    expect_close(
        "z3", got["z3"], values["z3"], scale=second, known=known | {"bias": params["b2"]}, **common,
        follows=[lambda: np.asarray(call(relu, got["z2"])) @ params["W2"] + params["b2"]],
    )  # fmt: skip
    expect_close(
        "a3", got["a3"], values["a3"], scale=second, known=known | {"before": values["z3"]}, **common,
        follows=[lambda: call(softmax, got["z3"])],
    )  # fmt: skip


def check_softmax_cross_entropy(softmax_cross_entropy: Callable, on: Problem | None = None) -> None:
    """Check ``softmax_cross_entropy(z3, y)`` -> float: the mean over the samples, without regularisation."""
    for given in [on] if on else _moderate():
        z3, expected = given.values["z3"], given.values["data_loss"]
        known = {"N": len(z3), "data": expected}
        got = call(softmax_cross_entropy, z3, given.y)
        _expect_loss("softmax_cross_entropy(z3, y)", got, expected, **_size(z3), known=known)
        one = -np.log(given.values["a3"][0, given.y[0]])
        got = call(softmax_cross_entropy, z3[:1], given.y[:1])
        _expect_loss("softmax_cross_entropy of a single row", got, one, **_size(z3))
    passed("softmax_cross_entropy gives the reference loss.", on)


def check_loss(
    loss: Callable,
    forward: Callable | None = None,
    softmax_cross_entropy: Callable | None = None,
    on: Problem | None = None,
) -> None:
    """Check ``loss(params, X, y, reg)`` -> float, with several values of reg, 0 among them.

    With the student's ``forward`` and ``softmax_cross_entropy``, a mistake in these isn't
    counted again.
    """
    for given in [on] if on else _moderate():
        weights = [given.params["W1"], given.params["W2"]]
        squares = sum(float(np.sum(np.square(weight, dtype=np.float64))) for weight in weights)
        data = given.values["data_loss"]
        size = _size(given.values["z3"])

        def from_logits(given: Problem = given) -> float:
            return call(softmax_cross_entropy, call(forward, given.params, given.X)["z3"], given.y)

        def from_probabilities(given: Problem = given) -> float:
            probabilities = call(forward, given.params, given.X)["a3"]
            return -np.mean(np.log(probabilities[np.arange(len(given.y)), given.y]))

        for reg in (given.reg, 0.0, 0.3 + given.reg):
            known = {
                "N": len(given.X), "reg": reg, "data": data, "weights": weights,
                "biases": [given.params["b1"], given.params["b2"]],
            }  # fmt: skip
            terms = size["terms"] + sum(weight.size for weight in weights) + len(given.X) + sum(weights[0].shape)
            scale = (size["scale"] + reg * squares) * (1 + float(np.max(np.abs(given.X))))
            _expect_loss(
                f"loss(params, X, y, reg={reg:.3g})", call(loss, given.params, given.X, given.y, reg),
                data + reg * squares, terms=terms, scale=scale, known=known,
                input_dtype=np.result_type(given.X, weights[0]),
                follows=[
                    lambda own=own, regularisation=reg * squares: own() + regularisation
                    for own in (from_logits, from_probabilities)
                ],
            )  # fmt: skip
    passed("loss gives the reference values, for every strength of regularisation.", on)


def compare_with_published(forward: Callable, loss: Callable) -> None:
    """Print the differences to the published scores and loss of the toy problem; check them."""
    toy = problem("toy")
    scores = expect_keys("forward", call(forward, toy.params, toy.X), ("a3",))["a3"]
    expect_close("a3", scores, PUBLISHED_TOY_SCORES, tolerance=SCORES_TOLERANCE)
    difference = float(np.sum(np.abs(scores - PUBLISHED_TOY_SCORES)))
    print(f"summed difference of the scores: {difference:.1e}")
    if difference >= SCORES_TOLERANCE:
        raise CheckFailed("a3", f"the summed difference must be below {SCORES_TOLERANCE:.0e}.")
    got = call(loss, toy.params, toy.X, toy.y, toy.reg)
    expect_close("loss", got, PUBLISHED_TOY_LOSS, tolerance=LOSS_TOLERANCE)
    print(f"difference of the loss:          {abs(float(got) - PUBLISHED_TOY_LOSS):.1e}")
    passed("the network computes what the published one does.")


def check_vectorised(*functions: Callable) -> None:
    """Check that no function loops in Python over samples, classes or features, or borrows the answer."""
    for function in functions:
        name = getattr(function, "__name__", "the function")
        if is_unwritten(function):
            raise NotImplementedError(f"{name} is not written yet")
        line = find_loop(function)
        if line is not None:
            raise CheckFailed(name, f"`{line}` loops over the elements of an array; let NumPy work on whole arrays.")
        check_own_work(function)
    passed("NumPy does the loops.")


def check_own_work(function: Callable) -> None:
    """Check that ``function`` is written with NumPy, and not with a library that does the exercise."""
    library = find_foreign_help(function)
    if library is not None:
        name = getattr(function, "__name__", "the function")
        raise CheckFailed(name, f"it uses {library}; write it with NumPy alone.")


def _moderate() -> list[Problem]:
    """The stored problems whose logits can't overflow, so that stability is a question of its own."""
    return [problem(name) for name in ("toy", "biased", "unregularised")]


def _size(logits: np.ndarray) -> dict[str, float]:
    """Terms and scale of a softmax: its relative error grows with the size of the logits."""
    return {"terms": logits.shape[1], "scale": float(np.max(np.abs(logits)))}


def _expect_loss(quantity: str, got: object, expected: float, **options: object) -> None:
    options["known"] = {"quantity": quantity} | dict(options.get("known") or {})
    expect_close(quantity, got, expected, **options)
