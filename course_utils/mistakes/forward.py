"""Notebook 1: the network as a model in stages, and what is often done wrong in its forward pass."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from course_utils.deviations import Deviation, Values
from course_utils.mistakes.general import GENERAL, general, prepared, stage
from course_utils.mistakes.values import (
    SMALL,
    cross_entropy,
    largest,
    log_softmax,
    of_true,
    relu,
    sigmoid,
    softmax,
    squares,
)


def network(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """Every value of the network, with the stages ``first``, ``relu``, ``second``, ``softmax`` or ``forward``.

    ``keys`` says under which name a value is returned. With the arguments of ``loss``, the stages
    ``softmax_cross_entropy``, ``regularised`` (which arrays are) and ``penalty`` follow.
    """
    params, X = arguments["params"], np.asarray(arguments["X"])
    if "forward" in changes:
        values = dict(changes["forward"](params, X))
    else:
        z2 = changes.get("first", _affine)(X, params["W1"], params["b1"])
        a2 = changes.get("relu", relu)(z2)
        z3 = changes.get("second", _second)(a2, params["W2"], params["b2"], z2)
        values = {"z2": z2, "a2": a2, "z3": z3, "a3": changes.get("softmax", softmax)(z3)}
    if "y" in arguments:
        others = {name: change for name, change in changes.items() if name != "softmax"}
        data = of_cross_entropy({"z3": values["z3"], "y": arguments["y"]}, others)["data_loss"]
        weights, biases = ([params[kind + layer] for layer in "12"] for kind in "Wb")
        regularised = changes.get("regularised", lambda weights, biases: weights)(weights, biases)
        price = changes.get("penalty", lambda reg, weights, N: reg * squares(weights))
        values["loss"] = data + price(arguments["reg"], regularised, len(X))
    return values | {name: values[other] for name, other in changes.get("keys", dict)().items()}


def of_relu(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``relu``."""
    return {"a2": changes.get("relu", relu)(np.asarray(arguments["z"], dtype=np.float64))}


def of_softmax(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``softmax``."""
    return {"a3": changes.get("softmax", softmax)(np.asarray(arguments["z"]))}


def of_cross_entropy(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The stage ``softmax_cross_entropy``, or the mean of -log of a ``softmax``, and after it ``averaging``."""
    z3, y = np.asarray(arguments["z3"]), arguments["y"]
    if changes.get("softmax") is not None:
        data = -np.mean(np.log(of_true(np.asarray(changes["softmax"](z3)), y)))
    else:
        data = changes.get("softmax_cross_entropy", cross_entropy)(z3, y)
    return {"data_loss": changes.get("averaging", lambda J, N, K: J)(data, *z3.shape)}


def _affine(a: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ W + b


def _second(a2: np.ndarray, W2: np.ndarray, b2: np.ndarray, z2: np.ndarray) -> np.ndarray:
    return a2 @ W2 + b2


def _normal(z: np.ndarray) -> np.ndarray:
    """The normal distribution's share below z."""
    return np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[float])(z)


_of_relu = stage("relu")
RELU = (
    _of_relu("relu_missing", lambda z: z, "the ReLU isn't applied: negative values are still there."),
    _of_relu("absolute_value", np.abs, "this is the absolute value; the ReLU sets negative values to zero."),
    _of_relu("relu_step", lambda z: (z > 0) * 1.0,
        "this is a step function (0 or 1); the ReLU keeps the positive values themselves."),
    _of_relu("relu_of_the_wrong_sign", lambda z: np.minimum(z, 0),
        "the negative values are kept and the positive ones set to zero: the comparison is the wrong way round."),
    _of_relu("relu_of_the_negative", lambda z: np.maximum(-z, 0),
        "these are the sizes of the negative values: the sign of z is wrong."),
    _of_relu("leaky_relu", lambda slope, z: np.maximum(z, 0) + slope * np.minimum(z, 0),
        "negative values aren't set to zero but scaled, by {factor}: this is a leaky ReLU.", fitted=True),
    _of_relu("relu_scaled", lambda scale, z: scale * np.maximum(z, 0),
        "the positive values are scaled, by {factor}; the ReLU keeps them.", fitted=True),
    _of_relu("relu_with_a_floor", lambda floor, z: np.where(z > 0, z, floor),
        "negative values become {factor}; the ReLU sets them to zero.", fitted=True),
    _of_relu("relu_cut_off_at_1", lambda z: np.clip(z, 0, 1),
        "values above 1 are cut off; the ReLU has no upper limit."),
    _of_relu("relu_cut_off_at_6", lambda z: np.clip(z, 0, 6),
        "values above 6 are cut off; the ReLU has no upper limit."),
    *(
        _of_relu(f"relu_beyond_{limit:g}", lambda z, limit=limit, beyond=beyond: np.where(beyond(z, limit), z, 0),
            f"values between 0 and {limit:g} are lost; the ReLU keeps what is above 0.")
        for limit in (1.0, 0.5, 0.1, 0.01)
        for beyond in (np.greater, np.greater_equal)
    ),
    *(
        _of_relu(f"whole_{name}", lambda z, axis=axis: z * (z.sum(axis=axis, keepdims=True) > 0),
            f"whole {name} are kept or set to zero by their sum; the ReLU looks at each entry by itself.")
        for name, axis in (("columns", 0), ("rows", 1))
    ),
    _of_relu("relu_by_rows", lambda z: z * (z > 0).any(axis=-1, keepdims=True),
        "a row with a positive value is kept whole; each value is to be looked at by itself."),
    _of_relu("relu_at_least_1", lambda z: np.maximum(z, 1), "the maximum is taken with 1; with 0 it is the ReLU."),
    _of_relu("sigmoid_for_relu", sigmoid, "this is the sigmoid function; the ReLU is asked."),
    _of_relu("tanh_for_relu", np.tanh, "this is the hyperbolic tangent; the ReLU is asked."),
    _of_relu("relu_of_tanh", lambda z: np.maximum(np.tanh(z), 0),
        "this is the hyperbolic tangent where z is positive; the ReLU keeps z itself."),
    _of_relu("softplus_for_relu", lambda z: np.logaddexp(0.0, z),
        "this is the softplus function log(1 + exp(z)); the ReLU is asked."),
    _of_relu("elu_for_relu", lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "negative values become exp(z) - 1: this is the ELU; the ReLU sets them to zero."),
    _of_relu("silu_for_relu", lambda z: z * sigmoid(z), "this is z times its sigmoid (SiLU); the ReLU is asked."),
    _of_relu("gelu_for_relu", lambda z: z * _normal(z), "this is the GELU; the ReLU is asked."),
    _of_relu("relu_squared", lambda z: np.maximum(z, 0) ** 2, "the positive values are squared; the ReLU keeps them."),
    _of_relu("largest_of_all", lambda z: np.maximum(z, z.max()),
        "every entry is the largest of the array: the maximum is to be taken with 0, entry by entry."),
    _of_relu("shifted_by_the_smallest", lambda z: z - z.min(),
        "the smallest value is subtracted from all; the ReLU sets negative values to zero."),
    _of_relu("largest_of_each_column", lambda z: z.max(axis=0),
        "this is the largest value of each column: the maximum is to be taken with 0, entry by entry."),
    _of_relu("largest_of_each_row", lambda z: z.max(axis=1),
        "this is the largest value of each row: the maximum is to be taken with 0, entry by entry."),
    _of_relu("largest_of_each_row_spread", lambda z: np.maximum(z.max(axis=1, keepdims=True), 0) * np.ones_like(z),
        "this is the largest value of each row: the maximum is to be taken with 0, entry by entry."),
    _of_relu("positive_values_alone", lambda z: z[z > 0],
        "these are the positive values alone; the others are to be zero, in their places."),
)  # fmt: skip


def _with_scaled_logits(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if each of its rows is the softmax of a multiple of its logits."""
    if not _may_be_a_softmax(value, got) or not np.allclose(got.sum(axis=1), 1):
        return value
    right, logits = (_centred(np.log(some)) for some in (value, got))
    factors = np.sum(right * logits, axis=1, keepdims=True) / np.sum(right * right, axis=1, keepdims=True)
    return got if np.allclose(softmax(factors * right), got, rtol=1e-9, atol=0.0) else value


def _divided_otherwise(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if it differs from the softmax by a factor for each row and one for each column."""
    if not _may_be_a_softmax(value, got):
        return value
    factors = np.log(got) - np.log(value)
    if len(value) < 3:  # a factor for each column would explain anything, but for a row divided by itself
        return np.ones_like(value) if len(value) == 1 and np.all(got == 1) else value * np.exp(_mean_of_rows(factors))
    return got if np.allclose(_centred(_centred(factors).T), 0, atol=1e-8) else value


def _may_be_a_softmax(value: np.ndarray, got: Any) -> bool:
    """Whether logarithms can be taken, of more values than a few factors would explain."""
    fits = np.shape(got) == value.shape and value.ndim == 2 and value.shape[1] > 2
    return bool(fits and np.all(np.isfinite(got)) and np.all(got > 0) and np.all(value > 0))


def _mean_of_rows(values: np.ndarray) -> np.ndarray:
    return values.mean(axis=1, keepdims=True)


def _centred(values: np.ndarray) -> np.ndarray:
    return values - _mean_of_rows(values)


def _over(numerators: Callable, divisors: Callable) -> Callable:
    """A quotient of exponentials, each taken as its function says."""
    return lambda z: numerators(np.asarray(z, dtype=np.float64)) / divisors(np.asarray(z, dtype=np.float64))


_NOT_NORMALISED = "the exponentials aren't divided by the sum of their row."
_CHANGES = "changes the probabilities; only a number that is subtracted from a whole row doesn't."
_RESCALED = f"the logits are scaled, which {_CHANGES}"
#: Of any softmax, by what was got.
NORMALISATIONS = (
    general("softmax_of_scaled_logits", _with_scaled_logits, _RESCALED, alone=True),
    general("softmax_divided_otherwise", _divided_otherwise,
        "each exponential is divided by something else than the sum of its own row.", alone=True),
)  # fmt: skip
_of_softmax = stage("softmax")
SOFTMAX = (
    _of_softmax("softmax_over_columns", lambda z: softmax(z, axis=0),
        "the softmax is taken over the wrong axis: the columns sum to 1, but each row should."),
    _of_softmax("softmax_over_everything", lambda z: softmax(z, axis=None),
        "the softmax is normalised by the sum over all entries; each row should sum to 1 by itself."),
    _of_softmax("softmax_by_columns_of_shifted_rows",
        _over(lambda z: np.exp(z - z.max(1, keepdims=True)), lambda z: np.exp(z - z.max(1, keepdims=True)).sum(0)),
        "each entry is divided by the sum of its column; it is the sum of its row that is asked."),
    _of_softmax("softmax_over_everything_of_shifted_rows",
        _over(lambda z: np.exp(z - z.max(1, keepdims=True)), lambda z: np.exp(z - z.max(1, keepdims=True)).sum()),
        "the softmax is normalised by the sum over all entries; each row should sum to 1 by itself."),
    _of_softmax(
        "softmax_with_logarithm_base_10",
        _over(
            lambda z: np.exp(z - z.max(1, keepdims=True)),
            lambda z: np.exp(np.log10(np.exp(z - z.max(1, keepdims=True)).sum(1, keepdims=True))),
        ),
        "the logarithm of the sum has base 10; the natural one is asked.",
    ),
    _of_softmax("softmax_by_the_first_row",
        _over(lambda z: np.exp(z - z.max(1, keepdims=True)), lambda z: np.exp(z[0] - z[0].max()).sum()),
        "every row is divided by the sum of the first row; each has a sum of its own."),
    _of_softmax("softmax_of_columns_shifted", lambda z: softmax(z - z.max(axis=0)),
        "the largest logit of each column is subtracted, another number for each class; take that of each row."),
    _of_softmax("softmax_of_shares", lambda z: softmax(z / z.max(axis=1, keepdims=True)),
        "the logits are divided by the largest of their row; subtract it.", common=_RESCALED),
    *(
        _of_softmax(f"softmax_of_{name}", lambda z, of=of: softmax(of(z)),
            f"the logits are {text}, which {_CHANGES}", common=_RESCALED)
        for name, of, text in (
            ("shares_of_sizes", lambda z: z / np.abs(z).max(axis=1, keepdims=True),
             "divided by the largest absolute value of their row"),
            ("shares_of_all", lambda z: z / z.max(), "divided by the largest of all"),
            ("shares_of_all_sizes", lambda z: z / np.abs(z).max(), "divided by the largest absolute value of all"),
            ("unit_rows", lambda z: z / np.linalg.norm(z, axis=1, keepdims=True), "divided by the length of their row"),
            ("shares_of_sums", lambda z: z / z.sum(axis=1, keepdims=True), "divided by the sum of their row"),
            ("ranges", lambda z: (z - z.min(axis=1, keepdims=True)) / np.ptp(z, axis=1, keepdims=True),
             "scaled to lie between 0 and 1 in each row"),
            ("standardised_rows", lambda z: (z - z.mean(axis=1, keepdims=True)) / z.std(axis=1, keepdims=True),
             "divided by the standard deviation of their row"),
            ("standardised_columns", lambda z: (z - z.mean(axis=0)) / z.std(axis=0),
             "standardised column by column"),
        )
    ),
    _of_softmax("softmax_uniform", lambda z: softmax(0.0 * z), "every probability is 1 / K, whatever the logits are."),
    _of_softmax("softmax_twice", lambda z: softmax(softmax(z)), "the softmax is applied twice."),
    *(
        _of_softmax("softmax_not_normalised", lambda z, shift=shift: np.exp(z - shift(z)), _NOT_NORMALISED)
        for shift in (lambda z: 0.0, lambda z: z.max(axis=1, keepdims=True), np.max)
    ),
    _of_softmax("softmax_without_exponential", lambda z: z / z.sum(axis=1, keepdims=True),
        "the logits are divided by the sum of their row without taking exponentials first."),
    _of_softmax("shifted_logits_without_exponential", _over(
        lambda z: z - z.max(axis=1, keepdims=True), lambda z: (z - z.max(axis=1, keepdims=True)).sum(1, keepdims=True)),
        "the shifted logits are divided by their sum; their exponentials are missing."),
    *(
        _of_softmax(f"normalised_{name}", lambda z, of=of: of(z) / of(z).sum(axis=1, keepdims=True),
            f"these are {text} of the logits, divided by their sum; exponentials are asked.")
        for name, of, text in (
            ("sigmoids", sigmoid, "the sigmoids"), ("sizes", np.abs, "the absolute values"),
            ("squares", np.square, "the squares"), ("softplus", lambda z: np.logaddexp(0.0, z), "the softplus"),
        )
    ),
    _of_softmax("running_sums", lambda z: softmax(z) / np.cumsum(softmax(z), axis=1),
        "each exponential is divided by the running sum; divide by the sum of the whole row."),
    *(
        _of_softmax(f"{small:g}_added_to_each", _over(
            lambda z, c=small: np.exp(z - z.max(axis=1, keepdims=True)) + c,
            lambda z, c=small: (np.exp(z - z.max(axis=1, keepdims=True)) + c).sum(axis=1, keepdims=True)),
            f"{small:g} is added to each exponential; leave it away.")
        for small in SMALL
    ),
    _of_softmax("softmax_of_the_wrong_sign", lambda z: softmax(-np.asarray(z)),
        "the exponentials are those of -z: the sign of the logits is wrong."),
    _of_softmax("softmax_base_2", lambda z: softmax(np.log(2.0) * np.asarray(z)),
        "the powers have base 2; the exponential function has base e."),
    _of_softmax("softmax_base_10", lambda z: softmax(np.log(10.0) * np.asarray(z)),
        "the powers have base 10; the exponential function has base e."),
    _of_softmax("softmax_of_halves", lambda z: softmax(np.asarray(z) / 2),
        "the logits are halved before their exponentials are taken."),
    _of_softmax("softmax_of_twice", lambda z: softmax(2 * np.asarray(z)),
        "the logits are doubled before their exponentials are taken."),
    _of_softmax("softmax_of_squares", lambda z: softmax(np.asarray(z) ** 2), "the exponentials are those of z^2."),
    _of_softmax("softmax_of_sizes", lambda z: softmax(np.abs(z)), "the exponentials are those of |z|."),
    _of_softmax("softmax_divided_by_length", _over(np.exp, lambda z: np.linalg.norm(np.exp(z), axis=1, keepdims=True)),
        "the exponentials are divided by the length of their row, the root of the sum of squares; divide by the sum."),
    _of_softmax("softmax_divided_by_mean", lambda z: z.shape[1] * softmax(z),
        "the exponentials are divided by the mean of their row; divide by the sum."),
    _of_softmax("sigmoid_for_softmax", sigmoid,
        "this is the sigmoid of each logit; in a softmax every row sums to 1."),
    _of_softmax("log_probabilities", log_softmax, "these are the logarithms of the probabilities."),
    _of_softmax("one_minus_softmax", lambda z: 1 - softmax(z), "this is 1 less the probabilities."),
    _of_softmax("softmax_as_largest", largest,
        "this is 1 at each row's largest logit and 0 elsewhere; the softmax gives probabilities."),
    _of_softmax("class_for_softmax", lambda z: z.argmax(axis=1),
        "this is the class with the largest logit; the softmax gives probabilities."),
    *(
        _of_softmax(
            f"softmax_with_{small:g}", _over(
                lambda z, s=shift: np.exp(z - s(z)),
                lambda z, s=shift, c=small: np.exp(z - s(z)).sum(axis=1, keepdims=True) + c,
            ),
            f"{small:g} is added to the sum of exponentials; divide by the sum itself.",
        )
        for small in SMALL
        for shift in (lambda z: z.max(axis=1, keepdims=True), lambda z: 0.0)
    ),
    *NORMALISATIONS,
    _of_softmax("softmax_missing", lambda z: z, "these are the logits; the softmax isn't applied."),
)  # fmt: skip

#: ``relu(z)`` and ``softmax(z)`` by themselves.
RELU_ALONE = (*RELU, *prepared("z"), *GENERAL)
SOFTMAX_ALONE = (*SOFTMAX, *prepared("z"), *GENERAL)

_BIASES = {
    "missing": (lambda b: 0 * b, "the bias is missing: add it to every row of the product."),
    "added_twice": (lambda b: 2 * b, "the bias is added twice."),
    "subtracted": (lambda b: -b, "the bias is subtracted where it should be added."),
    "as_ones": (np.ones_like, "1 is added in place of the bias."),
    "reversed": (lambda b: b[::-1], "the bias is added in reversed order."),
    "as_its_mean": (np.mean, "the mean of the bias is added to every entry; each unit has a bias of its own."),
}
_of_first, _of_second = stage("first"), stage("second")
OF_BIASES = (
    *(_of_first(f"b1_{name}", lambda X, W, b, of=of: X @ W + of(b), text) for name, (of, text) in _BIASES.items()),
    *(_of_second(f"b2_{name}", lambda a, W, b, z, of=of: a @ W + of(b), text) for name, (of, text) in _BIASES.items()),
)
LAYERS = (
    *OF_BIASES,
    _of_first("relu_in_first", lambda X, W, b: relu(X) @ W + b,
        "the ReLU is applied to X as well, before the first product."),
    _of_first("b1_multiplied", lambda X, W, b: (X @ W) * b, "the product is multiplied by b1; add it to every row."),
    _of_first("ones_in_front", lambda X, W, b: W[0] + X @ np.vstack([W[1:], b]),
        "a column of ones stands in front of X, but b1 below W1: put both first or both last."),
    _of_first("z2_cast", lambda X, W, b: np.trunc(X @ W + b), "z2 has lost its decimals: it is stored as integers."),
    _of_second("relu_on_logits", lambda a, W, b, z: relu(a @ W + b),
        "the ReLU is applied to z3 as well; the logits of the last layer stay as they are."),
    _of_second("second_layer_takes_z2", lambda a, W, b, z: z @ W + b,
        "the second layer takes z2; it is a2 that it takes."),
    _of_second("logits_scaled", lambda a, W, b, z: (a @ W + b) / np.sqrt(a.shape[1]),
        "z3 is divided by the root of the number of hidden units."),
    _of_second("activations_averaged", lambda a, W, b, z: a @ W / a.shape[1] + b,
        "the product a2 W2 is divided by the number of hidden units."),
    Deviation("softmax_of_hidden", "relu", softmax,
        "the softmax is applied to z2; between the layers it is the ReLU."),
    *(
        Deviation(
            f"{one}_and_{other}_exchanged", "keys", lambda one=one, other=other: {one: other, other: one},
            f"{one} and {other} are exchanged in the dict that is returned.",
        )
        for one, other in (("z2", "a2"), ("z3", "a3"))
    ),
    Deviation("z2_overwritten", "returned z2", lambda v, got, N: relu(v),
        "z2 holds the values after the ReLU: keep z2 and a2 apart."),
    Deviation("z3_overwritten", "returned z3", lambda v, got, N: softmax(v),
        "z3 holds the probabilities: keep both, z3 before and a3 after the softmax."),
    Deviation("z3_shifted", "returned z3", lambda v, got, N: v - v.max(axis=1, keepdims=True),
        "z3 has lost the largest logit of each row: subtract it from a copy, for the softmax alone."),
)  # fmt: skip
FORWARD = (*LAYERS, *RELU, *SOFTMAX, *prepared("X"), *GENERAL)


def right_of_network(one: Any, own: Any) -> dict[str, Callable]:
    """Right helpers of notebook 1, for :class:`course_utils.judge.Reference`."""
    right: dict[str, Callable] = {
        "relu": relu, "softmax": softmax, "softmax_cross_entropy": cross_entropy,
        "forward": lambda params, X: network({"params": params, "X": X}, {}),
    }  # fmt: skip
    return {name: right[name] for name in own}
