"""What is often done wrong: the deviations from which checks recognise a mistake.

To add one, add an entry to the list of its computation, and an answer that makes the mistake to
the bank in ``tests/fairness``. Of the gradients nothing is spelt here but
what is wrong: the right ones come as functions (:mod:`course_utils.steps`).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from course_utils.deviations import Deviation, Values
from course_utils.steps import STEPS

# --- Any value ------------------------------------------------------------------------------


def _transposed(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    return value.T


def _cast(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    return np.trunc(value)


def _in_precision_of(dtype: type) -> Callable:
    def rounded(value: np.ndarray, got: Any, N: int) -> Any:
        """What was got, if a computation of that precision may give it."""
        if got.shape != value.shape or not got.any() or not np.array_equal(got.astype(dtype), got):
            return value  # zeros are of any precision
        # A computation of some steps loses a few of the digits that its precision has.
        allowed = 100 * float(np.finfo(dtype).eps) * max(float(np.max(np.abs(value), initial=0.0)), 1e-3)
        return got if np.all(np.abs(got - value) <= allowed) else value

    return rounded


def _to_decimals(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    decimals = (np.round(value, count) for count in range(1, 11))
    return next((some for some in decimals if some.any() and np.array_equal(some, got)), value)


def _in_another_order(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    if value.ndim != 2 or value.shape != got.shape:
        return value
    order = np.empty(len(value), dtype=int)
    order[np.lexsort(got.T[::-1])] = np.lexsort(value.T[::-1])
    return value[order]


def _with_dropout(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if it is 0 in some places and the same multiple of the value in the others."""
    if np.shape(got) != value.shape:
        return value
    dropped, kept = (got == 0) & (value != 0), (got != 0) & (value != 0)
    if min(dropped.sum(), kept.sum()) < 4 or not np.array_equal(got != 0, kept):
        return value
    factor = got[kept] @ value[kept] / (value[kept] @ value[kept])
    return got if np.allclose(got[kept], factor * value[kept], rtol=1e-9, atol=0.0) else value


def _limited(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    """The value between the least and the largest of what was got."""
    if np.shape(got) != value.shape or value.size < 3 or not np.isfinite(got).all() or np.min(got) == np.max(got):
        return value
    return np.clip(value, np.min(got), np.max(got))


def _with_one_number_added(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if it is the value and one number more everywhere."""
    if np.shape(got) != value.shape or value.size < 3:
        return value
    added = np.median(got - value)
    return got if np.allclose(got, value + added, rtol=1e-9, atol=1e-12 * np.max(np.abs(got))) else value


def _left_out(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    """The value where anything was got, if that is so in a few places, and zero elsewhere."""
    return np.where(got == 0, 0.0, value) if np.shape(got) == value.shape and np.any(got) else value


def _general(name: str, change: Callable, sentence: str, **more: Any) -> Deviation:
    return Deviation(name, "returned", change, sentence, general=True, **more)


_FACTORS = (
    _general("transposed", _transposed, "this is the transpose of what is expected."),
    _general("sign", lambda v, got, N: -v, "the sign is wrong: every value is the negative of the expected one."),
    _general("not_averaged", lambda v, got, N: N * v,
        "the values are {N} times too large, {N} being the number of samples: the division by N is missing."),
    _general("averaged_twice", lambda v, got, N: v / N,
        "the values are {N} times too small, {N} being the number of samples: the division by N happens twice."),
    _general("doubled", lambda v, got, N: 2 * v, "every value is exactly twice the expected one."),
    _general("halved", lambda v, got, N: v / 2, "every value is exactly half the expected one."),
    _general("squared", lambda v, got, N: v**2, "every value is the square of the expected one."),
    _general("absolute", lambda v, got, N: np.abs(v), "every value is the absolute value of the expected one."),
    _general("one_too_large", lambda v, got, N: v + 1, "every value is 1 too large."),
)  # fmt: skip
SCALED = Deviation(
    "scaled", "returned", lambda factor, v, got, N: factor * v, "every value is {factor} times the expected one.",
    fitted=True, general=True,
)  # fmt: skip
#: Digits that are lost.
PRECISION = (
    _general("integers", _cast,
        "the values have lost their decimals, as an array of integers, int() or // leaves them."),
    _general("float16", _in_precision_of(np.float16),
        "the values are right to the 3 digits of half precision (float16); keep float64."),
    _general("float32", _in_precision_of(np.float32),
        "the values are right to the 7 digits of single precision (float32); keep float64."),
    _general("rounded", _to_decimals, "the values are rounded to a few decimals; return them as they are."),
    _general("rows_in_another_order", _in_another_order, "the rows are right but in another order."),
    _general("zero", lambda v, got, N: 0 * v, "every value is zero."),
    _general("left_out", _left_out, "the values that aren't zero are right: the others are left out.", alone=True),
    _general("limited", _limited, "what lies beyond some limit is cut off; return the values as they come out.",
        alone=True),
    _general("one_number_added", _with_one_number_added, "one and the same number is added to every entry.",
        alone=True),
    _general("dropped", _with_dropout,
        "some values are set to zero, and all others have the same factor, as dropout does.", alone=True),
)  # fmt: skip
#: Recognised in whatever a function returns.
GENERAL = (*_FACTORS, SCALED, *PRECISION)

# --- The forward pass -----------------------------------------------------------------------


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
        a2 = changes.get("relu", _relu)(z2)
        z3 = changes.get("second", _second)(a2, params["W2"], params["b2"], z2)
        values = {"z2": z2, "a2": a2, "z3": z3, "a3": changes.get("softmax", _softmax)(z3)}
    if "y" in arguments:
        others = {name: change for name, change in changes.items() if name != "softmax"}
        data = of_cross_entropy({"z3": values["z3"], "y": arguments["y"]}, others)["data_loss"]
        weights, biases = ([params[kind + layer] for layer in "12"] for kind in "Wb")
        regularised = changes.get("regularised", lambda weights, biases: weights)(weights, biases)
        price = changes.get("penalty", lambda reg, weights, N: reg * _squares(weights))
        values["loss"] = data + price(arguments["reg"], regularised, len(X))
    return values | {name: values[other] for name, other in changes.get("keys", dict)().items()}


def of_relu(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``relu``."""
    return {"a2": changes.get("relu", _relu)(np.asarray(arguments["z"], dtype=np.float64))}


def of_softmax(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``softmax``."""
    return {"a3": changes.get("softmax", _softmax)(np.asarray(arguments["z"]))}


def of_cross_entropy(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The stage ``softmax_cross_entropy``, or the mean of -log of a ``softmax``, and after it ``averaging``."""
    z3, y = np.asarray(arguments["z3"]), arguments["y"]
    if changes.get("softmax") is not None:
        data = -np.mean(np.log(_true(np.asarray(changes["softmax"](z3)), y)))
    else:
        data = changes.get("softmax_cross_entropy", _cross_entropy)(z3, y)
    return {"data_loss": changes.get("averaging", lambda J, N, K: J)(data, *z3.shape)}


def _affine(a: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ W + b


def _second(a2: np.ndarray, W2: np.ndarray, b2: np.ndarray, z2: np.ndarray) -> np.ndarray:
    return a2 @ W2 + b2


def _relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


def _softmax(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    return np.exp(_log_softmax(z, axis))


def _cross_entropy(z3: np.ndarray, y: np.ndarray) -> float:
    return -np.mean(_true(_log_softmax(z3), y))


def _log_softmax(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    return z - _log_sum(z, axis)


def _log_sum(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    """The logarithm of the sum of exponentials; the axis stays."""
    return np.logaddexp.reduce(np.asarray(z, dtype=np.float64), axis=axis, keepdims=True)


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -np.asarray(z, dtype=np.float64)))


def _normal(z: np.ndarray) -> np.ndarray:
    """The normal distribution's share below z."""
    return np.vectorize(lambda x: math.erfc(-x / math.sqrt(2)) / 2, otypes=[float])(z)


def _true(values: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The entry of each row's true class."""
    return values[np.arange(len(values)), y]


def _squares(arrays: list[np.ndarray]) -> float:
    return float(sum(np.sum(np.square(array, dtype=np.float64)) for array in arrays))


def _largest(z: np.ndarray) -> np.ndarray:
    return (z == z.max(axis=1, keepdims=True)) * 1.0


def _stage(stage: str) -> Callable[..., Deviation]:
    def deviation(name: str, change: Callable, sentence: str, **more: Any) -> Deviation:
        return Deviation(name, stage, change, sentence, **more)

    return deviation


_of_relu = _stage("relu")
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
    _of_relu("relu_at_least_1", lambda z: np.maximum(z, 1), "the maximum is taken with 1; with 0 it is the ReLU."),
    _of_relu("sigmoid_for_relu", _sigmoid, "this is the sigmoid function; the ReLU is asked."),
    _of_relu("tanh_for_relu", np.tanh, "this is the hyperbolic tangent; the ReLU is asked."),
    _of_relu("relu_of_tanh", lambda z: np.maximum(np.tanh(z), 0),
        "this is the hyperbolic tangent where z is positive; the ReLU keeps z itself."),
    _of_relu("softplus_for_relu", lambda z: np.logaddexp(0.0, z),
        "this is the softplus function log(1 + exp(z)); the ReLU is asked."),
    _of_relu("elu_for_relu", lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
        "negative values become exp(z) - 1: this is the ELU; the ReLU sets them to zero."),
    _of_relu("silu_for_relu", lambda z: z * _sigmoid(z), "this is z times its sigmoid (SiLU); the ReLU is asked."),
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
    return got if np.allclose(_softmax(factors * right), got, rtol=1e-9, atol=0.0) else value


def _divided_otherwise(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if it differs from the softmax by a factor for each row and one for each column."""
    if not _may_be_a_softmax(value, got):
        return value
    if len(value) < 3:  # a factor for each column would explain anything, but for a row divided by itself
        return np.ones_like(value) if len(value) == 1 else value
    factors = np.log(got) - np.log(value)
    return got if np.allclose(_centred(_centred(factors).T), 0, atol=1e-8) else value


def _may_be_a_softmax(value: np.ndarray, got: Any) -> bool:
    """Whether logarithms can be taken, of more values than a few factors would explain."""
    fits = np.shape(got) == value.shape and value.ndim == 2 and value.shape[1] > 2
    return bool(fits and np.all(np.isfinite(got)) and np.all(got > 0) and np.all(value > 0))


def _centred(values: np.ndarray) -> np.ndarray:
    return values - values.mean(axis=1, keepdims=True)


def _over(numerators: Callable, divisors: Callable) -> Callable:
    """A quotient of exponentials, each taken as its function says."""
    return lambda z: numerators(np.asarray(z, dtype=np.float64)) / divisors(np.asarray(z, dtype=np.float64))


#: Constants that keep a quotient or a logarithm finite.
_SMALL = tuple(10.0**-k for k in range(2, 16))
_NOT_NORMALISED = "the exponentials aren't divided by the sum of their row."
_CHANGES = "changes the probabilities; only a number that is subtracted from a whole row doesn't."
_RESCALED = f"the logits are scaled, which {_CHANGES}"
#: Of any softmax, by what was got.
NORMALISATIONS = (
    _general("softmax_of_scaled_logits", _with_scaled_logits, _RESCALED, alone=True),
    _general("softmax_divided_otherwise", _divided_otherwise,
        "each exponential is divided by something else than the sum of its own row.", alone=True),
)  # fmt: skip
_of_softmax = _stage("softmax")
SOFTMAX = (
    _of_softmax("softmax_over_columns", lambda z: _softmax(z, axis=0),
        "the softmax is taken over the wrong axis: the columns sum to 1, but each row should."),
    _of_softmax("softmax_over_everything", lambda z: _softmax(z, axis=None),
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
    _of_softmax("softmax_of_columns_shifted", lambda z: _softmax(z - z.max(axis=0)),
        "the largest logit of each column is subtracted, another number for each class; take that of each row."),
    _of_softmax("softmax_of_shares", lambda z: _softmax(z / z.max(axis=1, keepdims=True)),
        "the logits are divided by the largest of their row; subtract it.", common=_RESCALED),
    *(
        _of_softmax(f"softmax_of_{name}", lambda z, of=of: _softmax(of(z)),
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
    _of_softmax("softmax_twice", lambda z: _softmax(_softmax(z)), "the softmax is applied twice."),
    *(
        _of_softmax("softmax_not_normalised", lambda z, shift=shift: np.exp(z - shift(z)), _NOT_NORMALISED)
        for shift in (lambda z: 0.0, lambda z: z.max(axis=1, keepdims=True), np.max)
    ),
    _of_softmax("softmax_without_exponential", lambda z: z / z.sum(axis=1, keepdims=True),
        "the logits are divided by the sum of their row without taking exponentials first."),
    _of_softmax("softmax_of_the_wrong_sign", lambda z: _softmax(-np.asarray(z)),
        "the exponentials are those of -z: the sign of the logits is wrong."),
    _of_softmax("softmax_base_2", lambda z: _softmax(np.log(2.0) * np.asarray(z)),
        "the powers have base 2; the exponential function has base e."),
    _of_softmax("softmax_base_10", lambda z: _softmax(np.log(10.0) * np.asarray(z)),
        "the powers have base 10; the exponential function has base e."),
    _of_softmax("softmax_of_halves", lambda z: _softmax(np.asarray(z) / 2),
        "the logits are halved before their exponentials are taken."),
    _of_softmax("softmax_of_twice", lambda z: _softmax(2 * np.asarray(z)),
        "the logits are doubled before their exponentials are taken."),
    _of_softmax("softmax_of_squares", lambda z: _softmax(np.asarray(z) ** 2), "the exponentials are those of z^2."),
    _of_softmax("softmax_of_sizes", lambda z: _softmax(np.abs(z)), "the exponentials are those of |z|."),
    _of_softmax("softmax_divided_by_length", _over(np.exp, lambda z: np.linalg.norm(np.exp(z), axis=1, keepdims=True)),
        "the exponentials are divided by the length of their row, the root of the sum of squares; divide by the sum."),
    _of_softmax("softmax_divided_by_mean", lambda z: z.shape[1] * _softmax(z),
        "the exponentials are divided by the mean of their row; divide by the sum."),
    _of_softmax("sigmoid_for_softmax", _sigmoid,
        "this is the sigmoid of each logit; in a softmax every row sums to 1."),
    _of_softmax("log_probabilities", _log_softmax, "these are the logarithms of the probabilities."),
    _of_softmax("one_minus_softmax", lambda z: 1 - _softmax(z), "this is 1 less the probabilities."),
    _of_softmax("softmax_as_largest", _largest,
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
        for small in _SMALL
        for shift in (lambda z: z.max(axis=1, keepdims=True), lambda z: 0.0)
    ),
    *NORMALISATIONS,
    _of_softmax("softmax_missing", lambda z: z, "these are the logits; the softmax isn't applied."),
)  # fmt: skip

_BIASES = {
    "missing": (lambda b: 0 * b, "the bias is missing: add it to every row of the product."),
    "added_twice": (lambda b: 2 * b, "the bias is added twice."),
    "subtracted": (lambda b: -b, "the bias is subtracted where it should be added."),
    "as_ones": (np.ones_like, "1 is added in place of the bias."),
    "reversed": (lambda b: b[::-1], "the bias is added in reversed order."),
    "as_its_mean": (np.mean, "the mean of the bias is added to every entry; each unit has a bias of its own."),
}
_of_first, _of_second = _stage("first"), _stage("second")
LAYERS = (
    *(_of_first(f"b1_{name}", lambda X, W, b, of=of: X @ W + of(b), text) for name, (of, text) in _BIASES.items()),
    *(_of_second(f"b2_{name}", lambda a, W, b, z, of=of: a @ W + of(b), text) for name, (of, text) in _BIASES.items()),
    _of_first("relu_in_first", lambda X, W, b: _relu(X) @ W + b,
        "the ReLU is applied to X as well, before the first product."),
    _of_first("data_centred", lambda X, W, b: (X - X.mean(axis=0)) @ W + b,
        "the mean of X is subtracted first; X is to be taken as it is."),
    *(
        _of_first("data_standardised",
            lambda X, W, b, axis=axis, small=small: (X - X.mean(axis=axis)) / (X.std(axis=axis) + small) @ W + b,
            "X is standardised first (its mean subtracted, divided by its standard deviation); it is to be taken as it"
            " is.")
        for axis in (0, None)
        for small in (0.0, 1e-8, 1e-7, 1e-5)
    ),
    _of_first("data_scaled", lambda X, W, b: (X / np.abs(X).max()) @ W + b,
        "X is scaled first; it is to be taken as it is."),
    _of_first("data_scaled_by_255", lambda X, W, b: (X / 255) @ W + b,
        "X is divided by 255; it is to be taken as it is."),
    _of_first("data_cast", lambda X, W, b: np.trunc(X) @ W + b,
        "X has lost its decimals: it is cast to integers first."),
    _of_first("data_limited", lambda X, W, b: np.clip(X, -1, 1) @ W + b,
        "X is limited to 1; it is to be taken as it is."),
    _of_first("z2_cast", lambda X, W, b: np.trunc(X @ W + b), "z2 has lost its decimals: it is stored as integers."),
    _of_second("relu_on_logits", lambda a, W, b, z: _relu(a @ W + b),
        "the ReLU is applied to z3 as well; the logits of the last layer stay as they are."),
    _of_second("second_layer_takes_z2", lambda a, W, b, z: z @ W + b,
        "the second layer takes z2; it is a2 that it takes."),
    _of_second("logits_scaled", lambda a, W, b, z: (a @ W + b) / np.sqrt(a.shape[1]),
        "z3 is divided by the root of the number of hidden units."),
    _of_second("activations_averaged", lambda a, W, b, z: a @ W / a.shape[1] + b,
        "the product a2 W2 is divided by the number of hidden units."),
    Deviation("softmax_of_hidden", "relu", _softmax,
        "the softmax is applied to z2; between the layers it is the ReLU."),
    *(
        Deviation(
            f"{one}_and_{other}_exchanged", "keys", lambda one=one, other=other: {one: other, other: one},
            f"{one} and {other} are exchanged in the dict that is returned.",
        )
        for one, other in (("z2", "a2"), ("z3", "a3"))
    ),
    Deviation("z2_overwritten", "returned z2", lambda v, got, N: _relu(v),
        "z2 holds the values after the ReLU: keep z2 and a2 apart."),
    Deviation("z3_overwritten", "returned z3", lambda v, got, N: _softmax(v),
        "z3 holds the probabilities: keep both, z3 before and a3 after the softmax."),
    Deviation("z3_shifted", "returned z3", lambda v, got, N: v - v.max(axis=1, keepdims=True),
        "z3 has lost the largest logit of each row: subtract it from a copy, for the softmax alone."),
)  # fmt: skip
FORWARD = (*LAYERS, *RELU, *SOFTMAX, *GENERAL)

# --- The loss: its data term ----------------------------------------------------------------


def _of_p(of: Callable[..., np.ndarray]) -> Callable:
    """The mean of a function of the true class's probability."""
    return lambda z, y: np.mean(of(_true(_softmax(z), y)))


def _of_each(of: Callable[[np.ndarray], Any]) -> Callable:
    """A function of the losses of the samples."""
    return lambda z, y: of(-_true(_log_softmax(z), y))


def _hinge(z: np.ndarray, y: np.ndarray) -> float:
    margins = np.maximum(0.0, z - _true(z, y)[:, None] + 1.0)
    return (margins.sum() - len(z)) / len(z)


def _errors(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _softmax(z) - np.eye(z.shape[1])[y]


def _binary(z: np.ndarray, y: np.ndarray) -> float:
    return -np.mean(np.log(np.abs(1 - np.eye(z.shape[1])[y] - _softmax(z))).sum(axis=1))


_of_data = _stage("softmax_cross_entropy")
_SQUARED = "this is a sum of squared differences between probabilities and Delta; the cross-entropy is asked."
DATA = (
    _of_data("loss_per_sample", _of_each(lambda losses: losses),
        "this is one value for each sample; the loss is their mean."),
    _of_data("loss_median", _of_each(np.median), "this is the median of the samples' losses; their mean is asked."),
    _of_data("loss_largest", _of_each(np.max), "this is the largest of the samples' losses; their mean is asked."),
    _of_data("logarithm_of_1_plus", _of_p(lambda p: -np.log1p(p)),
        "this is the logarithm of 1 + p; that of p is asked."),
    _of_data("logarithm_missing", _of_p(lambda p: -p),
        "the logarithm is missing: this is minus the mean probability of the true class."),
    _of_data("probability_for_loss", _of_p(lambda p: p),
        "this is the mean probability of the true class; the mean of its -log is asked."),
    _of_data("one_minus_probability", _of_p(lambda p: 1 - p), "the logarithm is missing: this is the mean of 1 - p."),
    _of_data("mean_before_logarithm", lambda z, y: -np.log(np.mean(_true(_softmax(z), y))),
        "the mean is taken before the logarithm: it is the mean of -log p that is asked, not -log of the mean."),
    _of_data("hinge_loss", _hinge,
        "this is the hinge loss (max(0, z_k - z_y + 1) summed); the cross-entropy is asked."),
    *(
        _of_data("squared_error", lambda z, y, f=f: f(np.square(_errors(z, y))), _SQUARED)
        for f in (np.sum, np.mean, lambda s: s.sum(
        ) / len(s), lambda s: s.sum() / 2, lambda s: s.mean() / 2, lambda s: s.sum() / len(s) / 2)
    ),
    _of_data("binary_cross_entropy", _binary,
        "every class counts, with log(1 - p) where it isn't the true one: this is the binary cross-entropy. Only the"
        " true class of each sample counts."),
    _of_data("every_class_counted", lambda z, y: -_log_softmax(z).sum() / len(z),
        "the logarithms of all classes are summed; only the true class of each sample counts."),
    _of_data("every_class_averaged", lambda z, y: -_log_softmax(z).mean(),
        "the logarithms of all classes are averaged; only the true class of each sample counts."),
    _of_data("entropy_for_cross_entropy", lambda z, y: -(_softmax(z) * _log_softmax(z)).sum() / len(z),
        "this is the entropy of the probabilities, which doesn't know the true classes; it is -log p of the true"
        " class that is asked."),
    _of_data("all_rows_with_all_labels", lambda z, y: -_log_softmax(z)[:, y].mean(),
        "z[:, y] holds every row with every label: each row is to be taken with its own label alone, z[np.arange(N),"
        " y]."),
    *(
        _of_data(f"{which}_of_all_labels", lambda z, y, of=of: -(of(z, y) * _log_softmax(z)).sum() / len(z),
            f"the label of one sample marks a whole {text}: in row i of Delta there is a single 1, in column y_i.")
        for which, text, of in (
            ("rows", "row", lambda z, y: np.isin(np.arange(len(z)), y)[:, None]),
            ("counted_rows", "row", lambda z, y: np.bincount(y, minlength=len(z))[: len(z), None]),
            ("columns", "column", lambda z, y: np.isin(np.arange(z.shape[1]), y)),
        )
    ),
    _of_data("largest_class_taken", lambda z, y: -_log_softmax(z).max(axis=1).mean(),
        "the largest probability of each row is taken; the one of the true class is asked."),
    _of_data("loss_of_probabilities", lambda z, y: _cross_entropy(_softmax(z), y),
        "the softmax is applied twice: give the cross-entropy the logits z3, not the probabilities a3."),
    _of_data("loss_over_columns", lambda z, y: -np.mean(_true(_log_softmax(z, axis=0), y)),
        "the softmax inside the loss is taken over the wrong axis: each row of probabilities should sum to 1."),
    _of_data("loss_over_everything", lambda z, y: np.mean(_log_sum(z, None) - _true(z, y)),
        "the sum of exponentials is taken over all entries; each row has a sum of its own."),
    _of_data("loss_over_everything_of_shifted_rows",
        lambda z, y: np.mean(_log_sum(z - z.max(1, keepdims=True), None) - _true(z - z.max(1, keepdims=True), y)),
        "the sum of exponentials is taken over all entries; each row has a sum of its own."),
    _of_data("true_logit_missing", lambda z, y: np.mean(_log_sum(z)),
        "the logits' own values are missing: log sum exp(z) alone isn't the cross-entropy, z_y is to be subtracted."),
    _of_data("true_logit_added", lambda z, y: np.mean(_log_sum(z)[:, 0] + _true(z, y)),
        "the logit of the true class is added to log sum exp(z); it is to be subtracted."),
    _of_data("log_sum_missing", lambda z, y: -np.mean(_true(z, y)),
        "only the logit of the true class is there: log sum exp(z) is to be added."),
    _of_data("logarithm_of_the_sum_missing", lambda z, y: np.mean(np.exp(z).sum(axis=1) - _true(z, y)),
        "the logarithm of the sum of exponentials is missing."),
    _of_data("largest_logit_not_added", lambda z, y: np.mean(_log_sum(z - z.max(1, keepdims=True))[:, 0] - _true(z, y)),
        "the largest logit is subtracted before the exponentials are taken, but not from z_y: subtract it there too,"
        " or add it to the logarithm."),
    _of_data("shifted_true_logit_alone",
        lambda z, y: np.mean(_log_sum(z)[:, 0] - _true(z - z.max(1, keepdims=True), y)),
        "the largest logit is subtracted from z_y, but not inside the logarithm: subtract it in both."),
    _of_data("loss_of_shifted_labels", lambda z, y: _cross_entropy(z, np.asarray(y) - 1),
        "the labels are shifted by one: class 0 is the first column."),
    _of_data("first_sample_only", _of_each(lambda losses: losses[0]),
        "only the first sample counts; the loss is the mean over all of them."),
    _of_data("last_sample_only", _of_each(lambda losses: losses[-1]),
        "only the last sample counts; the loss is the mean over all of them."),
    _of_data("first_class_only", lambda z, y: -_log_softmax(z)[:, 0].mean(),
        "the first class is taken in every row; the true one is asked."),
    _of_data("last_class_only", lambda z, y: -_log_softmax(z)[:, -1].mean(),
        "the last class is taken in every row; the true one is asked."),
    _of_data("classes_guessed_from_the_labels",
        lambda z, y: np.mean(_log_sum(z)[:, 0] - (z * np.eye(np.max(y) + 1)[y]).sum(axis=1)),
        "the number of classes is guessed from the labels (y.max() + 1); it is that of the columns of z3."),
    *(
        _of_data(
            f"logarithm_guarded_by_{small:g}", _of_p(lambda p, small=small: -np.log(p + small)),
            f"{small:g} is added to the probability before the logarithm is taken.",
        )
        for small in _SMALL
    ),
    *(
        _of_data(
            f"logarithm_limited_at_{small:g}", _of_p(lambda p, small=small: -np.log(np.maximum(p, small))),
            f"the probability is limited to at least {small:g} before the logarithm is taken.",
        )
        for small in _SMALL
    ),
    _of_data("labels_smoothed",
        lambda share, z, y: -np.mean((1 - share) * _true(_log_softmax(z), y) + share * _log_softmax(z).mean(axis=1)),
        "a share of {factor} of each label is spread over all classes (label smoothing); the true class alone counts.",
        fitted=True),
    _of_data("data_loss_missing", lambda z, y: 0.0, "the cross-entropy is missing: this is the regularisation alone."),
)  # fmt: skip
_of_average = _stage("averaging")
AVERAGING = (
    _of_average("loss_summed", lambda J, N, K: J * N,
        "the cross-entropy is summed over the samples; it is their mean: divide by N."),
    _of_average("loss_averaged_twice", lambda J, N, K: J / N, "the cross-entropy is divided by N twice."),
    _of_average("loss_averaged_over_entries", lambda J, N, K: J / K,
        "the cross-entropy is divided by N * K, the number of all entries; divide by the number of samples."),
    _of_average("loss_averaged_over_classes", lambda J, N, K: J * N / K,
        "the cross-entropy is divided by K, the number of classes; divide by the number of samples."),
    _of_average("loss_averaged_over_one_less", lambda J, N, K: J * N / max(N - 1, 1),
        "the sum is divided by N - 1; divide it by N, the number of samples."),
    _of_average("loss_averaged_over_one_more", lambda J, N, K: J * N / (N + 1),
        "the sum is divided by N + 1; divide it by N, the number of samples."),
    _of_average("loss_sign", lambda J, N, K: -J, "the sign of the cross-entropy is wrong: it is the mean of -log p."),
    _of_average("loss_halved", lambda J, N, K: J / 2,
        "the cross-entropy has a factor 1/2, which doesn't belong there."),
    _of_average("loss_doubled", lambda J, N, K: 2 * J, "the cross-entropy is doubled."),
    _of_average("logarithm_base_2", lambda J, N, K: J / np.log(2.0),
        "the logarithm has base 2; the natural one is asked."),
    _of_average("logarithm_base_10", lambda J, N, K: J / np.log(10.0),
        "the logarithm has base 10; the natural one is asked."),
    _of_average("loss_of_fixed_size", lambda factor, J, N, K: factor * J * N,
        "the sum over the samples is multiplied by {factor}, whatever N is; divide it by N.", fitted=True),
    _of_average("loss_scaled", lambda factor, J, N, K: factor * J,
        "the cross-entropy is {factor} times what it should be.", fitted=True),
)  # fmt: skip
#: ``softmax_cross_entropy(z3, y)``.
CROSS_ENTROPY = (*DATA, *AVERAGING, *PRECISION)

# --- The loss: its regularisation -------------------------------------------------------------


def _scaled(factor: Callable[[float, int], float]) -> Callable:
    return lambda reg, weights, N: factor(reg, N) * _squares(weights)


def _summed(of: Callable[..., Any]) -> Callable:
    return lambda reg, weights, N: reg * sum(float(of(np.asarray(W, dtype=np.float64))) for W in weights)


_of_regularised = _stage("regularised")
REGULARISED = (
    _of_regularised("only_W1_regularised", lambda weights, biases: weights[:1], "only W1 is regularised; W2 is too."),
    _of_regularised("only_W2_regularised", lambda weights, biases: weights[1:], "only W2 is regularised; W1 is too."),
    _of_regularised("W1_twice", lambda weights, biases: weights[:1] * 2,
        "the regularisation of W1 is added twice, that of W2 never."),
    _of_regularised("W2_twice", lambda weights, biases: weights[1:] * 2,
        "the regularisation of W2 is added twice, that of W1 never."),
    _of_regularised("W1_once_more", lambda weights, biases: weights + weights[:1],
        "the regularisation of W1 is added twice."),
    _of_regularised("W2_once_more", lambda weights, biases: weights + weights[1:],
        "the regularisation of W2 is added twice."),
    _of_regularised("biases_regularised", lambda weights, biases: weights + biases,
        "the biases are regularised too; only W1 and W2 are."),
    _of_regularised("b1_regularised", lambda weights, biases: weights + biases[:1],
        "the bias b1 is regularised too; only W1 and W2 are."),
    _of_regularised("b2_regularised", lambda weights, biases: weights + biases[1:],
        "the bias b2 is regularised too; only W1 and W2 are."),
    _of_regularised("biases_for_weights", lambda weights, biases: biases,
        "the biases are regularised in place of the weights; only W1 and W2 are."),
)  # fmt: skip
_of_penalty = _stage("penalty")
_STRENGTH = "the regularisation has another strength than reg, which is {reg} here"
PENALTY = (
    _of_penalty("regularisation_missing", _scaled(lambda reg, N: 0.0), "the regularisation is missing."),
    _of_penalty("regularisation_halved", _scaled(lambda reg, N: reg / 2),
        "the regularisation has a factor 1/2, which this assignment doesn't use."),
    _of_penalty("regularisation_twice", _scaled(lambda reg, N: 2 * reg), "the regularisation is added twice."),
    _of_penalty("regularisation_averaged", _scaled(lambda reg, N: reg / N),
        "the regularisation is divided by the number of samples; it isn't part of the mean."),
    _of_penalty("regularisation_averaged_and_halved", _scaled(lambda reg, N: reg / N / 2),
        "the regularisation is divided by 2 N; it isn't part of the mean, and has no factor 1/2."),
    _of_penalty("regularisation_for_each_sample", _scaled(lambda reg, N: reg * N),
        "the regularisation is added once for each sample: " + _STRENGTH + "."),
    _of_penalty("regularisation_subtracted", _scaled(lambda reg, N: -reg), "the regularisation is subtracted."),
    _of_penalty("strength_squared", _scaled(lambda reg, N: reg**2), "reg itself is squared."),
    _of_penalty("strength_halved_and_squared", _scaled(lambda reg, N: reg**2 / 2),
        "reg itself is squared, and there is a factor 1/2."),
    _of_penalty("strength_rounded", _scaled(lambda reg, N: int(reg)),
        "the regularisation is missing where reg is below 1: reg is cast to an integer."),
    _of_penalty("regularisation_without_strength", _scaled(lambda reg, N: 1.0),
        "reg is ignored: the weights' squares are added without it."),
    _of_penalty("strength_added", lambda reg, weights, N: reg + _squares(weights),
        "reg is added to the squares; multiply them by it."),
    _of_penalty("W2_without_strength",
        lambda reg, weights, N: reg * _squares(weights[:1]) + _squares(weights[1:]),
        "reg is multiplied with the squares of W1 alone: put their sum in parentheses."),
    _of_penalty("norms_not_squared", _summed(np.linalg.norm), "the norms aren't squared."),
    _of_penalty("norm_of_all_not_squared", lambda reg, weights, N: reg * np.sqrt(_squares(weights)),
        "the norm isn't squared."),
    _of_penalty("spectral_norm", _summed(lambda W: np.linalg.norm(W, 2) ** 2),
        "this is the spectral norm, squared; the sum of the squares of all entries is asked."),
    _of_penalty("norms_added", lambda reg, weights, N: reg * sum(float(np.linalg.norm(W)) for W in weights) ** 2,
        "the norms are added before they are squared; each is squared before the sum."),
    *(
        _of_penalty(f"first_{name}_left_out", _summed(lambda W, some=some: np.sum(W[some] ** 2)),
            f"the first {name} of each matrix is left out: there is no bias in it.")
        for name, some in (("row", np.s_[1:]), ("column", np.s_[:, 1:]))
    ),
    _of_penalty("absolute_weights", _summed(lambda W: np.abs(W).sum()),
        "the absolute values of the weights are summed (L1); their squares are asked."),
    _of_penalty("all_entries_of_the_square", _summed(lambda W: np.sum(W.T @ W)),
        "all entries of the product of W.T and W are summed; its diagonal alone holds the squares."),
    _of_penalty("weights_not_squared", _summed(np.sum), "the weights are summed without being squared."),
    _of_penalty("square_of_sum", _summed(lambda W: np.sum(W) ** 2),
        "the sum of the weights is squared; each weight is squared before the sum."),
    _of_penalty("square_of_common_sum", lambda reg, weights, N: reg * sum(np.sum(W) for W in weights) ** 2,
        "the sum of the weights is squared; each weight is squared before the sum."),
    _of_penalty("mean_of_squares", _summed(lambda W: np.mean(W**2)),
        "the mean of the squared weights is taken; their sum is asked."),
    _of_penalty("cubes", _summed(lambda W: np.sum(W**3)), "the weights' cubes are summed; their squares are asked."),
    _of_penalty("largest_square", _summed(lambda W: np.max(W**2)),
        "the largest square of each matrix is taken; the sum of all is asked."),
    _of_penalty("product_of_norms", lambda reg, weights, N: reg * _squares(weights[:1]) * _squares(weights[1:]),
        "the two sums of squares are multiplied; add them."),
    _of_penalty("squares_of_the_product", lambda reg, weights, N: reg * _squares([weights[0] @ weights[1]]),
        "the squares of the product W1 W2 are summed; those of W1 and of W2 are asked."),
    _of_penalty("fixed_strength", lambda factor, reg, weights, N: factor * _squares(weights),
        _STRENGTH + ": a fixed strength, {factor}.", fitted=True),
    _of_penalty("strength_scaled", lambda factor, reg, weights, N: factor * reg * _squares(weights),
        _STRENGTH + ": {factor} times that.", fitted=True),
    _of_penalty("default_for_no_strength", lambda factor, reg, weights, N: (reg or factor) * _squares(weights),
        _STRENGTH + ": where reg is 0, a fixed strength, {factor}, is used.", fitted=True),
)  # fmt: skip
#: ``loss(params, X, y, reg)``; what the layers do wrong shows in it too, where it computes them anew.
LOSS = (*DATA, *AVERAGING, *REGULARISED, *PENALTY, *LAYERS[: len(_BIASES) * 2], *RELU[:1], *GENERAL)

#: Constants that students add to a probability to keep its logarithm finite. They spoil the
#: loss in its last digits only, and whether the loss is stable is a question of its own.
LOGARITHM_GUARDS = (*(10.0**-k for k in range(6, 21)), *(float(np.finfo(t).eps) for t in (np.float32, np.float64)))


def guarded_losses(z3: np.ndarray, y: np.ndarray, largest: float) -> tuple[float, ...]:
    """The means of -log(p + guard), for the guards up to ``largest``."""
    p = _true(_softmax(z3), y)
    return tuple(float(-np.mean(np.log(p + guard))) for guard in LOGARITHM_GUARDS if guard <= largest)


def right_of_network(one: Any, own: Any) -> dict[str, Callable]:
    """Right helpers of notebook 1, for :class:`course_utils.judge.Reference`."""
    right: dict[str, Callable] = {
        "relu": _relu, "softmax": _softmax, "softmax_cross_entropy": _cross_entropy,
        "forward": lambda params, X: network({"params": params, "X": X}, {}),
    }  # fmt: skip
    return {name: right[name] for name in own}


# --- The backward pass ------------------------------------------------------------------------


def gradients(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The four gradients, with a stage for each formula, another one after it, and ``regularisation``.

    A stage ``after grad_W2`` takes the result, the right function and its arguments. ``regularised weights`` and
    ``regularised biases`` say by name how much of the regularisation an array has; ``result`` takes each gradient
    and its array.
    """

    def step(variable: str, *given: Any) -> Any:
        name = f"grad_{variable}"
        right = arguments["right"][name]
        result = changes[name](*given) if name in changes else right(*given)
        after = changes.get(f"after {name}")
        return result if after is None else after(result, right, *given)

    params, X = arguments["params"], np.asarray(arguments["X"])
    a3 = changes.get("probabilities", lambda a3, z3: a3)(arguments["a3"], arguments["z3"])
    a2 = changes.get("activations", lambda a2, z2: a2)(arguments["a2"], arguments["z2"])
    price, reg = changes.get("regularisation", lambda W, reg, N: 2 * reg * W), arguments["reg"]
    shares = changes.get("regularised weights", lambda: {"W1": 1.0, "W2": 1.0})()
    shares = shares | changes.get("regularised biases", dict)()

    def regularised(name: str, gradient: Any) -> np.ndarray:
        return _plus(gradient, shares[name] * price(params[name], reg, len(X)) if name in shares else 0.0)

    dz3 = step("z3", a3, arguments["y"])
    dW2 = step("W2", a2, dz3)
    W2 = changes.get("weights", lambda W2, gradient, regularised: W2)(params["W2"], dW2, partial(regularised, "W2"))
    dz2 = step("z2", step("a2", dz3, W2), arguments["z2"])
    found = {"W1": step("W1", X, dz2), "b1": step("b1", dz2), "W2": dW2, "b2": step("b2", dz3)}
    result = changes.get("result", lambda gradient, array: gradient)
    return {name: result(regularised(name, gradient), params[name]) for name, gradient in found.items()}


def _plus(gradient: Any, price: Any) -> np.ndarray:
    gradient = np.asarray(gradient, dtype=np.float64)
    if np.ndim(price) and gradient.shape != price.shape:
        raise ValueError(f"the gradient has shape {gradient.shape}")
    return gradient + price


def backward_arguments(given: Any, reg: float) -> dict[str, Any]:
    """What :func:`gradients` computes with on a problem, but for the ``right`` formulas."""
    values = {name: given.values[name] for name in ("z2", "a2", "z3", "a3")}
    return {"params": given.params, "X": given.X, "y": given.y, "reg": reg, **values}


def of_step(variable: str) -> Callable:
    """The model of one formula, whose arguments come with the ``right`` ones."""

    def step(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
        given = [arguments[name] for name in STEPS[variable]]
        right, after = arguments["right"][f"grad_{variable}"], changes.get(f"after grad_{variable}")
        return {variable: right(*given) if after is None else after(right(*given), right, *given)}

    return step


def _onehot(a3: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.eye(a3.shape[1])[y]


def _share(of: Callable) -> Callable:
    """A change of size ``of(a3, y)`` to each entry's share of the mean."""
    return lambda g, right, a3, y: g + of(a3, y) / len(y)


def _of_squares(a3: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Half the squared differences to Delta, differentiated through the softmax; not averaged."""
    difference = a3 - _onehot(a3, y)
    return a3 * (difference - np.sum(a3 * difference, axis=1, keepdims=True))


_of_z3 = _stage("after grad_z3")
GRAD_Z3 = (
    _of_z3("delta_missing", _share(_onehot), "1 isn't subtracted at the true class."),
    _of_z3("delta_missing_and_not_averaged", lambda g, right, a3, y: a3,
        "1 isn't subtracted at the true class, and the division by N is missing."),
    _of_z3("delta_not_averaged", lambda g, right, a3, y: g + _onehot(a3, y) * (1 / len(y) - 1),
        "1 is subtracted after the division by N: the whole difference is to be divided."),
    _of_z3("delta_added", _share(lambda a3, y: 2 * _onehot(a3, y)),
        "1 is added at the true class; it must be subtracted."),
    _of_z3("one_subtracted_everywhere", _share(lambda a3, y: _onehot(a3, y) - 1),
        "1 is subtracted from every entry; it is only at the true class."),
    _of_z3("label_subtracted", _share(lambda a3, y: _onehot(a3, y) - np.asarray(y)[:, None]),
        "the label itself is subtracted; Delta is 1 at the true class and 0 elsewhere."),
    _of_z3("probabilities_missing", _share(lambda a3, y: -a3), "the probabilities are missing: only Delta is there."),
    _of_z3("delta_of_shifted_labels", _share(lambda a3, y: _onehot(a3, y) - _onehot(a3, np.asarray(y) - 1)),
        "1 is subtracted one class too early: class 0 is the first column."),
    _of_z3("delta_of_labels_from_1", _share(lambda a3, y: _onehot(a3, y) - np.eye(a3.shape[1], k=-1)[y]),
        "1 is subtracted one class too early: class 0 is the first column."),
    _of_z3("classes_guessed_from_the_labels", _share(lambda a3, y: _onehot(a3, y) - np.eye(np.max(y) + 1)[y]),
        "the number of classes is guessed from the labels (y.max() + 1); it is that of the columns of a3."),
    _of_z3("other_classes_negative", lambda g, right, a3, y: np.where(_onehot(a3, y) > 0, g, -g),
        "the classes that aren't the true one have the wrong sign."),
    _of_z3("true_class_not_in_the_sum", _share(lambda a3, y: a3 / (1 - _true(a3, y)[:, None]) - a3),
        "the sum of exponentials leaves the true class out; it goes over all classes."),
    _of_z3("every_class_as_the_true_one", lambda g, right, a3, y: -a3 * (1 - a3) / _true(a3, y)[:, None] / len(y),
        "p_k (1 - p_k) is taken for every class k; it is the derivative of p_y by the true class's logit alone."),
    _of_z3("delta_from_the_end", _share(lambda a3, y: _onehot(a3, y) - _onehot(a3, -np.asarray(y))),
        "1 is subtracted at the class counted from the end (-y)."),
    _of_z3("logarithm_for_probability", _share(lambda a3, y: np.log(a3) - a3),
        "the logarithm of the probability stands where the probability itself should."),
    _of_z3("delta_subtracted_twice", _share(lambda a3, y: -_onehot(a3, y)), "1 is subtracted twice at the true class."),
    _of_z3("delta_of_all_labels", _share(lambda a3, y: _onehot(a3, y) - np.isin(np.arange(a3.shape[1]), y)),
        "1 is subtracted in the columns of all labels, in every row; each row has its own label alone."),
    _of_z3("delta_in_whole_rows", _share(lambda a3, y: _onehot(a3, y) - np.isin(np.arange(len(a3)), y)[:, None]),
        "1 is subtracted in whole rows, those numbered as the labels; in row i it is at y_i alone,"
        " [np.arange(N), y]."),
    _of_z3("delta_alone_averaged", lambda g, right, a3, y: a3 - _onehot(a3, y) / len(y),
        "only what is subtracted is divided by N: the whole difference is to be divided, (a3 - Delta) / N."),
    _of_z3("class_not_in_its_own_sum", _share(lambda a3, y: a3 / (1 - a3) - a3),
        "the sum of exponentials leaves class k itself out; it goes over all classes."),
    _of_z3("losses_of_all_classes", lambda g, right, a3, y: -np.log(a3) / len(y),
        "this is -log p_k itself, for each class k: it isn't differentiated, and it is the true class's that J holds."),
    _of_z3("loss_not_differentiated", lambda g, right, a3, y: -np.log(_true(a3, y))[:, None] / len(y) + 0 * a3,
        "this is the loss -log p_y itself; its derivative is asked."),
    *(
        _of_z3("squared_error_differentiated",
            lambda g, right, a3, y, of=of: of(a3.shape[1]) * _of_squares(a3, y) / len(y),
            "this is the gradient of the squared error (a3 - Delta)^2 through the softmax; the loss is the"
            " cross-entropy.")
        for of in (lambda K: 1, lambda K: 2, lambda K: 1 / K, lambda K: 2 / K)
    ),
    _of_z3("derivative_of_the_probability", lambda g, right, a3, y: a3 * (1 - a3) / len(y),
        "this is p (1 - p), the derivative of a probability with respect to its own logit; the loss is -log p."),
    _of_z3("derivative_of_the_true_probability",
        lambda g, right, a3, y: _true(a3, y)[:, None] * (_onehot(a3, y) - a3) / len(y),
        "this is the derivative of the true class's probability; the loss is minus its logarithm."),
    _of_z3("true_probability_throughout", _share(lambda a3, y: _true(a3, y)[:, None] - a3),
        "the probability of the true class stands in every entry; each class has its own."),
    _of_z3("delta_of_the_first_label", _share(lambda a3, y: _onehot(a3, y) - _onehot(a3, y[:1])),
        "1 is subtracted at the first sample's class in every row; each row has its own."),
    _of_z3("delta_of_the_first_column", _share(lambda a3, y: _onehot(a3, y) - _onehot(a3, 0 * np.asarray(y))),
        "1 is subtracted in the first column; it is the column of the true class."),
    _of_z3("averaged_over_entries", lambda g, right, a3, y: g / a3.shape[1],
        "the gradient is divided by N * K, the number of all entries; divide by the number of samples."),
    _of_z3("averaged_over_classes", lambda g, right, a3, y: g * len(y) / a3.shape[1],
        "the gradient is divided by K, the number of classes; divide by N, the number of samples."),
    _of_z3("averaged_over_one_less", lambda g, right, a3, y: g * len(y) / max(len(y) - 1, 1),
        "the gradient is divided by N - 1; divide by N, the number of samples."),
    _of_z3("not_averaged", lambda g, right, a3, y: g * len(y),
        "the values are {N} times too large, {N} being the number of samples: the division by N is missing.",
        general=True),
    _of_z3("softmax_differentiated_by_entries", lambda g, right, a3, y: g * a3 * (1 - a3),
        "the difference is multiplied by a3 (1 - a3): that is the derivative of a sigmoid, and it has cancelled"
        " already."),
    _of_z3("derivative_of_the_logarithm_alone", lambda g, right, a3, y: -_onehot(a3, y) / a3 / len(y),
        "this is the gradient with respect to the probabilities a3; the step through the softmax is missing."),
    _of_z3("difference_of_the_true_class", lambda g, right, a3, y: g * _onehot(a3, y),
        "only the true class has a gradient here; the other classes have one too."),
    _of_z3("gradient_at_the_true_class_alone", lambda g, right, a3, y: g[np.arange(len(y)), y],
        "this is the gradient with respect to the logits of the true classes alone; the other classes have one too."),
    _of_z3("z3_averaged_away", lambda g, right, a3, y: g.sum(axis=0),
        "the mean over the samples is taken; each sample keeps its row, divided by N."),
    _of_z3("fixed_number_of_samples", lambda factor, g, right, a3, y: factor * g * len(y),
        "the difference is multiplied by {factor}, whatever N is; divide it by N.", fitted=True),
)  # fmt: skip


#: Samples that a sum is taken of: name, those, sentence.
_SAMPLES = (
    ("but_the_first", slice(1, None), "the first sample is left out; all samples are summed."),
    ("but_the_last", slice(None, -1), "the last sample is left out; all samples are summed."),
    ("with_even_numbers", slice(None, None, 2), "every other sample is left out; all samples are summed."),
    ("with_odd_numbers", slice(1, None, 2), "every other sample is left out; all samples are summed."),
)
#: Of a product ``[a].T @ [d]`` that sums over the samples: name, change, sentence.
_OF_WEIGHTS: tuple[tuple[str, Callable, str], ...] = (
    ("transposed", lambda g, right, a, d: g.T, "this is the transpose of what is expected."),
    ("averaged_again", lambda g, right, a, d: g / len(a),
     "the values are {N} times too small, {N} being the number of samples: the division by N happens twice."),
    ("of_a_mask", lambda g, right, a, d: right(1.0 * (a > 0), d), "[a] is replaced by 0 and 1; its values count."),
    ("of_sizes", lambda g, right, a, d: right(np.abs(a), d),
     "the absolute values of [a] are taken; their signs count."),
    ("product_of_sums", lambda g, right, a, d: right(a.sum(axis=0)[None], d.sum(axis=0)[None]),
     "the samples are summed before they are multiplied: the sum is over the products."),
    ("of_the_first_sample", lambda g, right, a, d: right(a[:1], d[:1]),
     "this is the first sample's part alone; all samples are summed."),
    ("of_the_last_sample", lambda g, right, a, d: right(a[-1:], d[-1:]),
     "this is the last sample's part alone; all samples are summed."),
    *(
        (f"of_samples_{name}", lambda g, right, a, d, some=some: right(a[some], d[some]), text)
        for name, some, text in _SAMPLES
    ),
    ("of_reversed_samples", lambda g, right, a, d: right(a[::-1], d),
     "the rows of [a] and of [d] don't belong together: one is reversed."),
    ("reshaped", lambda g, right, a, d: right(a.reshape(a.shape[::-1]).T, d),
     "reshape doesn't transpose [a]: it keeps the numbers in their order."),
    ("result_reshaped", lambda g, right, a, d: g.T.reshape(g.shape),
     "this is the transpose, reshaped: reshape keeps the numbers in their order and doesn't transpose."),
    ("cast", lambda g, right, a, d: right(np.trunc(a), d), "[a] has lost its decimals: it is cast to integers."),
    ("centred", lambda g, right, a, d: right(a - a.mean(axis=0), d),
     "the mean of [a] is subtracted; take it as it is."),
    ("normalised", lambda g, right, a, d: g / np.linalg.norm(g),
     "the gradient is divided by its length; return it as it is."),
    ("not_summed", lambda g, right, a, d: a[:, :, None] * d[:, None, :],
     "there is one matrix for each sample: sum over the samples."),
    ("flat", lambda g, right, a, d: g.ravel(), "the gradient is flat; it has the shape of the weights."),
    ("summed_once_more", lambda g, right, a, d: g.sum(axis=0),
     "the product with the transpose sums over the samples already; here it is summed once more."),
    ("of_entries", lambda g, right, a, d: a * d, "[a] and [d] are multiplied entry by entry; it is a matrix product."),
)  # fmt: skip


def _of_weights(variable: str, activations: str, upstream: str) -> tuple[Deviation, ...]:
    of = _stage(f"after grad_{variable}")
    return tuple(
        of(f"{variable}_{name}", change, sentence.replace("[a]", activations).replace("[d]", upstream))
        for name, change, sentence in _OF_WEIGHTS
    )


_ROW = (
    "this is a matrix of one row; the gradient has the shape of the bias, with one axis. Subtracted from the bias, as"
    " in training, a row would turn it into a matrix."
)
#: Of a sum over the samples: name, change, sentence.
_OF_BIASES: tuple[tuple[str, Callable, str], ...] = (
    ("over_the_wrong_axis", lambda g, right, d: d.sum(axis=1),
     "the sum is taken over the wrong axis: sum over the samples (axis 0)."),
    ("mean_over_the_wrong_axis", lambda g, right, d: d.mean(axis=1),
     "the mean over the wrong axis is taken: sum over the samples (axis 0)."),
    ("sum_of_everything", lambda g, right, d: d.sum(),
     "the sum is taken over all entries; sum over the samples (axis 0) only."),
    ("sum_of_everything_spread", lambda g, right, d: np.full(g.shape, d.sum()),
     "the sum is taken over all entries; sum over the samples (axis 0) only."),
    ("mean", lambda g, right, d: d.mean(axis=0),
     "the mean over the samples is taken, but the rows are divided by N already: sum them."),
    ("first_row", lambda g, right, d: d[0], "this is the first row alone; all rows are summed."),
    ("last_row", lambda g, right, d: d[-1], "this is the last row alone; all rows are summed."),
    ("not_summed", lambda g, right, d: d,
     "the sum over the samples is missing: there is still one row for each of the {N} samples."),
    *((f"of_rows_{name}", lambda g, right, d, some=some: right(d[some]), text) for name, some, text in _SAMPLES),
    ("mean_of_active_rows", lambda g, right, d: g / np.maximum((d != 0).sum(axis=0), 1),
     "the sum is divided by the number of rows that aren't 0 there; the rows are divided by N already: sum them."),
    ("of_sizes", lambda g, right, d: right(np.abs(d)), "the absolute values are summed; their signs count."),
    ("of_positive_parts", lambda g, right, d: right(np.maximum(d, 0)),
     "the positive values alone are summed; the negative ones count too."),
    ("largest", lambda g, right, d: d.max(axis=0), "the largest value of each column is taken; their sum is asked."),
    ("cumulative", lambda g, right, d: np.cumsum(d, axis=0),
     "these are the running sums over the samples; the last of them is the sum."),
    ("ones", lambda g, right, d: np.ones(g.shape), "these are ones: dz is to be summed over the samples."),
    ("counted", lambda g, right, d: np.full(g.shape, len(d)),
     "this is the number of samples; the rows of dz are to be summed."),
    ("row", lambda g, right, d: g[None], _ROW),
    ("column", lambda g, right, d: g[:, None],
     "this is a column; the gradient has the shape of the bias, with one axis."),
)  # fmt: skip


def _of_biases(variable: str) -> tuple[Deviation, ...]:
    of = _stage(f"after grad_{variable}")
    return tuple(of(f"{variable}_{name}", change, sentence) for name, change, sentence in _OF_BIASES)


_of_a2 = _stage("after grad_a2")
GRAD_A2 = (
    _of_a2("da2_reversed", lambda g, right, d, W: right(d, W[::-1]), "the hidden units are in reversed order."),
    _of_a2("da2_reshaped", lambda g, right, d, W: right(d, W.reshape(W.shape[::-1]).T),
        "reshape doesn't transpose W2: it keeps the numbers in their order."),
    _of_a2("da2_of_the_inverse", lambda g, right, d, W: d @ np.linalg.pinv(W),
        "the gradient goes back with the (pseudo-)inverse of W2; it is with its transpose."),
    _of_a2("da2_positive", lambda g, right, d, W: np.maximum(g, 0),
        "the ReLU is applied to the gradient; a gradient may be negative."),
    _of_a2("da2_of_sizes", lambda g, right, d, W: right(d, np.abs(W)),
        "the absolute values of W2 are taken; their signs count."),
    _of_a2("da2_averaged_over_classes", lambda g, right, d, W: g / d.shape[1],
        "the mean over the classes is taken; their sum is asked."),
    _of_a2("da2_transposed", lambda g, right, d, W: g.T, "this is the transpose of what is expected."),
    _of_a2("da2_averaged_again", lambda g, right, d, W: g / len(d),
        "the values are {N} times too small, {N} being the number of samples: the division by N happens twice."),
    _of_a2("da2_of_the_summed_weights", lambda g, right, d, W: d.sum(axis=1, keepdims=True) * W.sum(axis=1),
        "the classes are summed before they are multiplied: the sum is over the products."),
)  # fmt: skip


def _sigmoid_slope(z: np.ndarray) -> np.ndarray:
    return _sigmoid(z) * _sigmoid(-z)


_of_z2 = _stage("after grad_z2")
GRAD_Z2 = (
    _of_z2("mask_missing", lambda g, right, d, z: d,
        "the ReLU's derivative is missing: where z2 is negative, nothing flows back."),
    _of_z2("mask_inverted", lambda g, right, d, z: d * (z < 0),
        "the mask of the ReLU is the wrong way round: the gradient passes where z2 is positive."),
    _of_z2("mask_of_the_gradient", lambda g, right, d, z: np.maximum(d, 0),
        "the mask looks at the sign of the gradient that arrives; it is the sign of z2 that counts."),
    _of_z2("mask_of_both", lambda g, right, d, z: np.maximum(g, 0),
        "negative gradients are set to zero too; only the sign of z2 counts."),
    _of_z2("mask_alone", lambda g, right, d, z: (z > 0) * 1.0,
        "the upstream gradient is missing: this is the ReLU's derivative alone."),
    _of_z2("relu_for_its_derivative", lambda g, right, d, z: d * np.maximum(z, 0),
        "the upstream gradient is multiplied by z2's positive part; the ReLU's derivative is 0 or 1."),
    _of_z2("values_for_the_mask", lambda g, right, d, z: d * z,
        "the upstream gradient is multiplied by z2 itself; the ReLU's derivative is 0 or 1."),
    _of_z2("sign_for_the_mask", lambda g, right, d, z: d * np.sign(z),
        "where z2 is negative, the gradient changes its sign; nothing flows back there."),
    _of_z2("mask_added", lambda g, right, d, z: d + (z > 0),
        "the mask is added to the upstream gradient; multiply by it."),
    _of_z2("mask_in_a_matrix_product", lambda g, right, d, z: d.T @ (z > 0),
        "this is a matrix product with the mask; multiply entry by entry."),
    _of_z2("mask_above_1", lambda g, right, d, z: d * (z > 1), "the mask begins at z2 = 1; it begins at 0."),
    _of_z2("mask_of_a_row", lambda g, right, d, z: d * (z > 0).all(axis=1, keepdims=True),
        "the mask is one for each row; it is one for each entry."),
    _of_z2("sigmoid_for_the_mask", lambda g, right, d, z: d * _sigmoid(z),
        "the upstream gradient is multiplied by the sigmoid of z2; the ReLU's derivative is 0 or 1."),
    _of_z2("slope_of_the_sigmoid", lambda g, right, d, z: d * _sigmoid_slope(z),
        "this is the derivative of the sigmoid; that of the ReLU is 0 or 1."),
    _of_z2("slope_of_tanh", lambda g, right, d, z: d * (1 - np.tanh(z) ** 2),
        "this is the derivative of the hyperbolic tangent; that of the ReLU is 0 or 1."),
    _of_z2("dz2_averaged_again", lambda g, right, d, z: g / len(z),
        "the values are {N} times too small, {N} being the number of samples: the division by N happens twice."),
    _of_z2("positive_units_alone", lambda g, right, d, z: d[z > 0],
        "these are the entries with positive z2 alone; the others are zero, in their places."),
    _of_z2("leaky_mask", lambda slope, g, right, d, z: np.where(z > 0, d, slope * d),
        "where z2 is negative, {factor} of the gradient flows back: this is the derivative of a leaky ReLU.",
        fitted=True),
)  # fmt: skip
#: By variable, what may go wrong in its formula.
STEP_MISTAKES = {
    "z3": GRAD_Z3, "W2": _of_weights("W2", "a2", "dz3"), "b2": _of_biases("b2"), "a2": GRAD_A2, "z2": GRAD_Z2,
    "W1": _of_weights("W1", "X", "dz2"), "b1": _of_biases("b1"),
}  # fmt: skip
STEP_DEVIATIONS = tuple(itertools.chain.from_iterable(STEP_MISTAKES.values()))


_of_regularisation = _stage("regularisation")
_BIASED = "the biases aren't regularised, but the gradient of {} is."
_OTHER = "the regularisation has another factor than 2 * reg: "
REGULARISATION = (
    _of_regularisation("regularisation_missing", lambda W, reg, N: 0.0 * W,
        "the regularisation is missing: its derivative is to be added to the gradients of W1 and W2."),
    _of_regularisation("regularisation_without_2", lambda W, reg, N: reg * W,
        "the regularisation lacks its factor 2: the derivative of w^2 is 2 w."),
    _of_regularisation("regularisation_twice", lambda W, reg, N: 4 * reg * W, "the regularisation is added twice."),
    _of_regularisation("regularisation_subtracted", lambda W, reg, N: -2 * reg * W,
        "the regularisation is subtracted."),
    _of_regularisation("regularisation_averaged", lambda W, reg, N: 2 * reg * W / N,
        "the regularisation is divided by the number of samples; it isn't part of the mean."),
    _of_regularisation("regularisation_averaged_without_2", lambda W, reg, N: reg * W / N,
        _OTHER + "it is divided by the number of samples, and lacks its 2."),
    _of_regularisation("regularisation_for_each_sample", lambda W, reg, N: 2 * reg * W * N,
        _OTHER + "it is added once for each sample."),
    _of_regularisation("strength_squared", lambda W, reg, N: 2 * reg**2 * W, _OTHER + "reg is squared."),
    _of_regularisation("strength_squared_without_2", lambda W, reg, N: reg**2 * W,
        _OTHER + "reg is squared, and the 2 is missing."),
    _of_regularisation("strength_ignored", lambda W, reg, N: 2 * W, _OTHER + "reg is ignored."),
    _of_regularisation("strength_alone", lambda W, reg, N: 2 * reg * np.ones_like(W),
        "2 * reg is added to every entry; the weights themselves are missing."),
    _of_regularisation("squares_not_derived", lambda factor, W, reg, N: factor * reg * W**2,
        "the regularisation's gradient holds the squares of the weights; the derivative of w^2 is 2 w.", fitted=True),
    _of_regularisation("signs_of_the_weights", lambda factor, W, reg, N: factor * reg * np.sign(W),
        "this is the derivative of the absolute values (L1); that of the squares is asked.", fitted=True),
    _of_regularisation("sizes_of_the_weights", lambda factor, W, reg, N: factor * reg * np.abs(W),
        "the absolute values of the weights are added; their signs count.", fitted=True),
    _of_regularisation("regularisation_summed", lambda factor, W, reg, N: factor * reg * np.sum(W) * np.ones_like(W),
        "the weights are summed into one number; each entry's gradient has its own weight.", fitted=True),
    _of_regularisation("regularisation_of_norms",
        lambda factor, W, reg, N: factor * reg * np.sum(W**2) * np.ones_like(W),
        "the price itself is added to the gradient; its derivative is asked.", fitted=True),
    _of_regularisation("weights_divided_by_norm", lambda factor, W, reg, N: factor * reg * W / np.linalg.norm(W),
        "the weights are divided by their norm: that is the derivative of the norm, and its square is asked.",
        fitted=True),
    _of_regularisation("fixed_strength", lambda factor, W, reg, N: factor * W, _OTHER + "{factor}, whatever reg is.",
        fitted=True),
    _of_regularisation("strength_scaled", lambda factor, W, reg, N: factor * reg * W, _OTHER + "{factor} * reg.",
        fitted=True),
    _of_regularisation("default_for_no_strength", lambda factor, W, reg, N: (2 * reg or factor) * W,
        _OTHER + "where reg is 0, it is {factor}.", fitted=True),
)  # fmt: skip
_of_regularised_weights, _of_regularised_biases = _stage("regularised weights"), _stage("regularised biases")
REGULARISED_ARRAYS = (
    *(
        deviation
        for one, other in (("W1", "W2"), ("W2", "W1"))
        for deviation in (
            _of_regularised_weights(f"{one}_not_regularised", lambda other=other: {other: 1.0},
                f"the regularisation is missing in the gradient of {one}."),
            _of_regularised_weights(f"{one}_regularised_1", lambda one=one, other=other: {one: 0.5, other: 1.0},
                f"the regularisation lacks its factor 2 in the gradient of {one}."),
        )
    ),
    *(
        _of_regularised_biases(
            f"{'_'.join(some)}_regularised_{factor:g}",
            lambda some=some, factor=factor: dict.fromkeys(some, factor / 2),
            _BIASED.format(" and of ".join(some)) + (" (Without the factor 2, too.)" if factor == 1 else ""),
        )
        for some in (("b1", "b2"), ("b1",), ("b2",))
        for factor in (2.0, 1.0)
    ),
    _of_regularised_biases("biases_for_weights", lambda: {"W1": 0.0, "W2": 0.0, "b1": 1.0, "b2": 1.0},
        "the biases are regularised in place of the weights; only W1 and W2 are."),
)  # fmt: skip
#: What a formula is given in place of another array.
WIRING = (
    Deviation("gradient_for_weights", "weights", lambda W2, gradient, regularised: gradient,
        "grad_a2 gets the gradient of W2; it takes W2 itself."),
    Deviation("gradient_for_weights", "weights", lambda W2, gradient, regularised: regularised(gradient),
        "grad_a2 gets the gradient of W2; it takes W2 itself."),
    Deviation("penalty_for_weights", "weights", lambda W2, gradient, regularised: regularised(0 * W2),
        "grad_a2 gets 2 * reg * W2; it takes W2 itself."),
    Deviation("z2_for_a2", "activations", lambda a2, z2: z2,
        "the gradient of W2 is computed with z2; it is a2 that W2 multiplies."),
    Deviation("logits_for_probabilities", "probabilities", lambda a3, z3: z3,
        "grad_z3 gets the logits z3; it takes the probabilities a3."),
    Deviation("probabilities_twice", "probabilities", lambda a3, z3: _softmax(a3),
        "the softmax is applied twice before grad_z3."),
    Deviation("largest_for_probabilities", "probabilities", lambda a3, z3: _largest(a3),
        "grad_z3 gets the predicted classes; it takes the probabilities a3."),
)  # fmt: skip
_BOTH_BIASES = "returned b1 b2"
_AVERAGED = "the division by N happens twice in the gradients of the biases."
RETURNED = (
    *(Deviation(
        f"{name}_transposed", f"returned {name}", _transposed,
        f"in the gradient of {name}, this is the transpose of what is expected.",
    ) for name in ("W1", "W2")),
    *(Deviation(f"{name}_row", f"returned {name}", lambda v, got, N: v[None], _ROW) for name in ("b1", "b2", "b1 b2")),
    Deviation("biases_not_averaged", _BOTH_BIASES, lambda v, got, N: N * v,
        "the division by N is missing in the gradients of the biases."),
    Deviation("biases_averaged_twice", _BOTH_BIASES, lambda v, got, N: v / N, _AVERAGED),
    Deviation("parameters_for_gradients", "result", lambda gradient, array: array,
        "these are the parameters themselves; their gradients are asked."),
    Deviation("parameters_after_a_step", "result", lambda rate, gradient, array: array + rate * gradient,
        "these are the parameters after a step, to which {factor} times the gradients are added; the gradients"
        " themselves are asked.", fitted=True),
    Deviation("gradients_clipped", "returned", lambda v, got, N: np.clip(v, -1, 1),
        "the gradients are limited to 1; return them as they are."),
)  # fmt: skip
_MASK = "where z2 is negative, the gradient still flows back: between a2 and z2 use grad_z2, with z2 itself, not a2."
BACKWARD = (
    *REGULARISATION, *REGULARISED_ARRAYS, *WIRING, *RETURNED,
    *(
        replace(one, sentence=f"on the way to d{variable}, {one.sentence}")
        for variable, some in STEP_MISTAKES.items()
        for one in some
        if one.name != "mask_missing"
    ),
    Deviation("mask_missing", "after grad_z2", lambda g, right, d, z: d, _MASK),
    *GENERAL,
)  # fmt: skip

# --- The gradient check ------------------------------------------------------------------------


def quotients(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``quotient`` of a toy function: ``toy``, ``x`` and ``step`` -> the difference quotients."""
    quotient = changes.get("quotient", lambda toy, x, h: toy.central(x, h))
    return {"gradient": quotient(arguments["toy"], arguments["x"], arguments["step"])}


def _without_reset(sign: float) -> Callable:
    """Central differences of a copy in which each entry stays where it was moved last."""

    def quotient(toy: Any, x: np.ndarray, h: float) -> np.ndarray:
        point, found = x.copy(), np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            values = []
            for side in (h, -h):
                point[index] = x[index] + side
                values.append(toy.value(point))
            found[index] = (values[0] - values[1]) / (2 * h)
            point[index] = x[index] + sign * h
        return found

    return quotient


def _of_two_copies(toy: Any, x: np.ndarray, h: float) -> np.ndarray:
    """Central differences of one copy for each side, in which every entry stays where it was moved."""
    above, below, found = x.copy(), x.copy(), np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above[index], below[index] = x[index] + h, x[index] - h
        found[index] = (toy.value(above) - toy.value(below)) / (2 * h)
    return found


def _short(number: float) -> str:
    """As a student writes it, 1e-5."""
    return f"{number:g}".replace("e-0", "e-")


def _only(chosen: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """Central differences at some entries, and zeros elsewhere."""
    return lambda toy, x, h: np.where(chosen(np.arange(x.size).reshape(x.shape)), toy.central(x, h), 0.0)


def _moved_together(axis: int) -> Callable:
    """Central differences where all entries with the same place on one axis are moved at once."""

    def quotient(toy: Any, x: np.ndarray, h: float) -> np.ndarray:
        found = np.zeros(x.shape)
        for place in range(x.shape[axis]):
            moved = np.zeros(x.shape)
            moved.swapaxes(0, axis)[place] = h
            found.swapaxes(0, axis)[place] = (toy.value(x + moved) - toy.value(x - moved)) / (2 * h)
        return found

    return quotient


_of_quotient = _stage("quotient")
QUOTIENTS = (
    _of_quotient("forward_difference", lambda toy, x, h: toy.forward(x, h),
        "this is the forward difference (f(x + h) - f(x)) / h; the central one is asked."),
    _of_quotient("backward_difference", lambda toy, x, h: toy.backward(x, h),
        "this is the backward difference (f(x) - f(x - h)) / h; the central one is asked."),
    _of_quotient("divided_by_h", lambda toy, x, h: 2 * toy.central(x, h),
        "the difference is divided by h, but x + h and x - h lie 2h apart."),
    _of_quotient("divided_by_4h", lambda toy, x, h: toy.central(x, h) / 2,
        "the difference is divided by 4h, but x + h and x - h lie 2h apart."),
    _of_quotient("divided_by_h_squared", lambda toy, x, h: 2 * toy.central(x, h) / h,
        "the difference is divided by h^2; divide it by 2h."),
    _of_quotient("multiplied_by_h", lambda toy, x, h: toy.central(x, h) * h * h,
        "the difference is divided by 2 and multiplied by h: put 2 * h in parentheses."),
    _of_quotient("not_divided", lambda toy, x, h: 2 * h * toy.central(x, h),
        "the difference f(x + h) - f(x - h) isn't divided by 2h."),
    _of_quotient("forward_halved", lambda toy, x, h: toy.forward(x, h) / 2,
        "this is (f(x + h) - f(x)) / (2h): the second point is x - h, taken from the x of the beginning."),
    _of_quotient("backward_halved", lambda toy, x, h: toy.backward(x, h) / 2,
        "this is (f(x) - f(x - h)) / (2h): the first point is x + h, taken from the x of the beginning."),
    _of_quotient("forward_not_divided", lambda toy, x, h: toy.forward(x, h) * h,
        "this is f(x + h) - f(x): the second point is x - h, and the difference is to be divided by 2h."),
    _of_quotient("sum_for_difference", lambda toy, x, h: toy.forward(x, h) - toy.backward(x, h),
        "the forward and the backward difference are subtracted; their mean is the central one."),
    _of_quotient("sign", lambda toy, x, h: -toy.central(x, h), "the sign is wrong: it is f(x + h) - f(x - h)."),
    _of_quotient("half_a_step", lambda toy, x, h: toy.central(x, h / 2),
        "the points are x + h/2 and x - h/2; they are x + h and x - h."),
    _of_quotient("half_a_step_divided_by_2h", lambda toy, x, h: toy.central(x, h / 2) / 2,
        "the points are x + h/2 and x - h/2, and the difference is divided by 2h: move x by h."),
    *(
        _of_quotient(
            f"points_always_{step:g}_apart", lambda toy, x, h, step=step: toy.central(x, step) * step / h,
            f"the points are always {_short(step)} from x, and the difference is divided by 2h: move x by h.",
            common="the points are moved by a fixed small step, and the difference is divided by 2h: move x by h.",
        )
        for step in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    ),
    _of_quotient("double_step", lambda toy, x, h: toy.central(x, 2 * h),
        "the points are x + 2h and x - 2h; they are x + h and x - h."),
    *(
        _of_quotient(
            f"step_always_{step:g}", lambda toy, x, h, step=step: toy.central(x, step),
            f"h isn't used: the values are those of a fixed small step, {step:g}.",
            common="h isn't used: the values are those of a fixed small step.",
        )
        for step in (0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    ),
    _of_quotient("not_reset", _without_reset(-1.0),
        "each entry stays at x - h when the next one is moved: put it back first, or take a new copy."),
    _of_quotient("not_reset_above", _without_reset(1.0),
        "each entry stays at x + h when the next one is moved: put it back first, or take a new copy."),
    _of_quotient("copies_not_reset", _of_two_copies,
        "in the copies, each entry stays moved when the next one is: put it back first, or take new copies."),
    _of_quotient("last_left_out", _only(lambda place: place < place.size - 1),
        "the last entry is left out: the loop ends one too early."),
    _of_quotient("first_left_out", _only(lambda place: place > 0), "the first entry is left out."),
    _of_quotient("first_row_only", _only(lambda place: place < place.shape[-1]),
        "only the first row is differentiated; every entry is asked."),
    _of_quotient("fixed_divisor", lambda toy, x, h: toy.central(x, h) * h / 1e-5,
        "the difference is divided by a fixed number, 2e-5, whatever h is; divide it by 2h."),
    *(
        _of_quotient(f"{name}_moved", _moved_together(axis), f"whole {name} of x are moved at once; move one entry at"
            " a time, as for index in np.ndindex(x.shape) does.")
        for name, axis in (("rows", 0), ("columns", -1))
    ),
    *(
        _of_quotient("step_by_entry", lambda toy, x, h, of=of, by=by: toy.central(x, h * of(x)) * by(of(x)),
            "the step grows with the size of the entry; it is h for every entry.")
        for of in (lambda x: np.maximum(1, np.abs(x)), lambda x: 1 + np.abs(x))
        for by in (np.ones_like, lambda size: size)  # divided by twice the step, or by 2h
    ),
    _of_quotient("same_point", lambda toy, x, h: np.zeros(x.shape),
        "every value is zero: call f at two different points, x + h and x - h (x_minus = x_plus or = x gives an array a"
        " second name, .copy() a second array), and keep each quotient."),
    _of_quotient("all_entries_moved",
        lambda toy, x, h: np.full(x.shape, (toy.value(x + h) - toy.value(x - h)) / (2 * h)),
        "all entries of x are moved at once; only one is."),
    *(
        _of_quotient(
            "higher_order",
            lambda toy, x, h, near=near: (4 * toy.central(x, near * h) - toy.central(x, 2 * near * h)) / 3,
            "the error of order h^2 is missing: this is a formula of higher order; the central difference has two"
            " points.",
        )
        for near in (1, 0.5)
    ),
    _of_quotient("absolute_difference", lambda toy, x, h: np.abs(toy.central(x, h)),
        "the difference's sign is lost: it is f(x + h) - f(x - h), which may be negative."),
    _of_quotient("averaged", lambda toy, x, h: toy.central(x, h) / x.size,
        "the quotients are divided by the number of entries of x."),
    Deviation("flat", "returned", lambda v, got, N: v.ravel(), "the gradient is flat; it has the shape of x."),
    Deviation("columns_first", "returned", lambda v, got, N: v.ravel().reshape(v.shape, order="F"),
        "the values are put into the array column by column, in another order than that of the entries of x."),
    Deviation("columns_taken_first", "returned", lambda v, got, N: v.ravel(order="F").reshape(v.shape),
        "the entries of x are taken column by column (order F), but the values are put back row by row."),
    *PRECISION,
)  # fmt: skip


def relative_errors(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``relative_error`` of ``a`` and ``b``."""
    return {"error": changes.get("relative_error", _relative_error)(arguments["a"], arguments["b"])}


def _differences(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.abs(np.subtract(a, b)), np.abs(a) + np.abs(b)


def _relative_error(a: Any, b: Any) -> np.floating:
    # A NumPy number, which has the methods of the array that a caller may have counted on.
    difference, total = _differences(a, b)
    return np.max(difference / np.maximum(1e-8, total))


def _divided(of: Callable[[np.ndarray], Any], by: Callable[[Any, Any], Any], limit: float = 1e-8) -> Callable:
    return lambda a, b: of(_differences(a, b)[0] / np.maximum(limit, by(a, b)))


def _total(a: Any, b: Any) -> np.ndarray:
    return np.abs(a) + np.abs(b)


def _at_largest(of: Callable[[Any, Any], Any]) -> Callable:
    """The quotient at one place."""
    return lambda a, b: (_differences(a, b)[0] / np.maximum(1e-8, _total(a, b))).flat[np.argmax(of(a, b))]


_LIMIT = "the lower limit of |a| + |b| is 1e-8; here it is another one, or missing."
_of_error = _stage("relative_error")
RELATIVE_ERRORS = (
    _of_error("averaged", _divided(np.mean, _total),
        "this is the mean of the relative errors; their maximum is asked."),
    _of_error("smallest", _divided(np.min, _total),
        "this is the smallest of the relative errors; their maximum is asked."),
    _of_error("summed", _divided(np.sum, _total), "this is the sum of the relative errors; their maximum is asked."),
    _of_error("median", _divided(np.median, _total),
        "this is the median of the relative errors; their maximum is asked."),
    _of_error("all_quotients", _divided(lambda q: q, _total),
        "these are the relative errors of all entries; their maximum is asked."),
    _of_error("place_of_the_largest", _divided(np.argmax, _total),
        "this is the place of the largest relative error; its value is asked."),
    _of_error("signed", lambda a, b: np.max(np.subtract(a, b) / np.maximum(1e-8, _total(a, b))),
        "the absolute value of the difference is missing."),
    _of_error("signed_after", lambda a, b: np.abs(np.max(np.subtract(a, b) / np.maximum(1e-8, _total(a, b)))),
        "the absolute value is taken of the maximum: take it of the difference, entry by entry, before."),
    _of_error("sum_inside", _divided(np.max, lambda a, b: np.abs(np.add(a, b))),
        "below stands |a + b|; it is |a| + |b|, where opposite entries don't cancel."),
    _of_error("difference_inside", lambda a, b: np.max(np.abs(np.abs(a) - np.abs(b)) / np.maximum(1e-8, _total(a, b))),
        "above stands the difference of |a| and |b|; it is |a - b|."),
    _of_error("of_maxima", lambda a, b: np.max(_differences(a, b)[0]) / max(1e-8, np.max(_total(a, b))),
        "the largest difference is divided by the largest sum; the quotient is to be taken entry by entry."),
    _of_error("of_norms",
        lambda a, b: np.linalg.norm(np.subtract(a, b)) / max(1e-8, float(np.linalg.norm(a) + np.linalg.norm(b))),
        "this is the ratio of two norms; the largest ratio of two entries is asked."),
    _of_error("at_the_largest_difference", _at_largest(lambda a, b: _differences(a, b)[0]),
        "the quotient is taken where |a - b| is largest; the largest of the quotients of all entries is asked."),
    _of_error("at_the_largest_entry", _at_largest(lambda a, b: _total(a, b)),
        "the quotient is taken where |a| + |b| is largest; the largest of the quotients of all entries is asked."),
    _of_error("tiny_entries_ignored", lambda a, b: np.max(
        np.where(_total(a, b) > 1e-8, _differences(a, b)[0] / np.maximum(1e-8, _total(a, b)), 0.0)),
        "where |a| + |b| is tiny, the error counts as 0; it is |a - b| / 1e-8 there."),
    _of_error("of_sums", lambda a, b: np.sum(_differences(a, b)[0]) / max(1e-8, np.sum(_total(a, b))),
        "the differences and the sizes are summed before they are divided; the quotient is to be taken entry by"
        " entry."),
    _of_error("by_the_larger", _divided(np.max, lambda a, b: np.maximum(np.abs(a), np.abs(b))),
        "the difference is divided by one of |a| and |b|, the larger; their sum is asked."),
    _of_error("by_a", _divided(np.max, lambda a, b: np.abs(a)),
        "the difference is divided by |a| alone, by one of |a| and |b|, the larger perhaps; their sum is asked."),
    _of_error("by_b", _divided(np.max, lambda a, b: np.abs(b)),
        "the difference is divided by |b| alone, by one of |a| and |b|, the larger perhaps; their sum is asked."),
    *(
        _of_error(
            f"by_twice_{name}", _divided(np.max, of),
            "the difference is divided by twice |a| or twice |b|; |a| + |b| is asked.",
        )
        for name, of in (("a", lambda a, b: 2 * np.abs(a)), ("b", lambda a, b: 2 * np.abs(b)))
    ),
    _of_error("by_the_mean", lambda a, b: 2 * _relative_error(a, b),
        "the difference is divided by half of |a| + |b|, their mean; by the sum it is at most 1."),
    _of_error("by_the_mean_limited", _divided(np.max, lambda a, b: _total(a, b) / 2),
        "the difference is divided by half of |a| + |b|, their mean; by the sum it is at most 1."),
    _of_error("not_relative", lambda a, b: np.max(_differences(a, b)[0]),
        "this is the absolute error; it isn't divided by |a| + |b|."),
    _of_error("limit_of_the_quotient", lambda a, b: np.fmax(1e-8, np.nanmax(_differences(a, b)[0] / _total(a, b))),
        "1e-8 is the lower limit of the quotient; it is that of |a| + |b|."),
    _of_error("squared_difference", lambda a, b: np.max(np.subtract(a, b) ** 2 / np.maximum(1e-8, _total(a, b))),
        "the difference is squared; its absolute value is asked."),
    _of_error("of_squares", lambda a, b: np.max(np.subtract(a, b) ** 2 / np.maximum(1e-8, np.square(a) + np.square(b))),
        "the squares are taken; the absolute values are asked."),
    *(
        _of_error(
            f"{small:g}_added", lambda a, b, small=small: np.max(_differences(a, b)[0] / (_total(a, b) + small)),
            f"{_short(small)} is added to |a| + |b|; their lower limit is to be 1e-8.",
            common=_LIMIT,
        )
        for small in (10.0**-k for k in range(1, 17))
    ),
    _of_error("limit_missing", lambda a, b: np.max(_differences(a, b)[0] / _total(a, b)),
        "the lower limit 1e-8 of |a| + |b| is missing.", common=_LIMIT),
    *(
        _of_error("limit_from_above",
            lambda a, b, of=of: np.max(_differences(a, b)[0] / np.minimum(1e-8, of(_total(a, b)))),
            "1e-8 limits |a| + |b| from above; it is their lower limit: the maximum of both is taken.")
        for of in (lambda total: total, lambda total: total + 1e-300)
    ),
    *(
        _of_error(
            f"limited_by_{limit:g}", _divided(np.max, _total, limit),
            f"the lower limit of |a| + |b| is 1e-8; here it is {limit:g}.",
            common=_LIMIT,
        )
        for limit in (1.0, *(10.0**-k for k in range(1, 17) if k != 8))
    ),
    _of_error("logarithm", lambda a, b: np.log10(_relative_error(a, b)),
        "this is the logarithm of the relative error."),
    _of_error("in_percent", lambda a, b: 100 * _relative_error(a, b), "this is in percent; a share is asked."),
    *PRECISION,
)  # fmt: skip


def checked_gradients(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The four relative errors, with the stages ``numerical_gradient``, ``relative_error`` and ``errors``."""
    params, grads, loss_fn = (arguments[name] for name in ("params", "grads", "loss_fn"))
    if "errors" in changes:
        return changes["errors"](arguments["exact"], grads)
    numerical = changes.get("numerical_gradient", _numerical_gradient)
    error = changes.get("relative_error", _relative_error)
    return {
        name: error(numerical(lambda changed, name=name: loss_fn({**params, name: changed}), array), grads[name])
        for name, array in params.items()
    }


def _numerical_gradient(f: Callable, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    shape, size = np.shape(x), np.size(x)
    rows = [np.ravel(x) + side * np.eye(size) for side in (-h, 0.0, h)]
    values = [[f(row.reshape(shape)) for row in side] for side in rows]
    return np.gradient(np.array(values, dtype=np.float64), h, axis=0)[1].reshape(shape)


def right_of_checking(one: Any, own: Any) -> dict[str, Callable]:
    """Right helpers of ``check_gradients``."""
    right: dict[str, Callable] = {"numerical_gradient": _numerical_gradient, "relative_error": _relative_error}
    return {name: right[name] for name in own}


def _each(of: Callable[[np.ndarray, np.ndarray], Any]) -> Callable:
    return lambda exact, grads: {name: of(exact[name], grads[name]) for name in exact}


def _error_of_entry(at: int, n: np.ndarray, g: np.ndarray) -> Any:
    return _relative_error(n.flat[at], g.flat[at])


def _for_all(of: Callable[[list], Any]) -> Callable:
    def errors(exact: Values, grads: Values) -> dict[str, Any]:
        found = [_relative_error(exact[name], grads[name]) for name in exact]
        return dict.fromkeys(exact, of(found))

    return errors


_ALL_ONE = (
    "the errors are all 1: somewhere in each array, what is compared with the gradient is zero or has the opposite"
    " sign. Is it the numerical gradient, and does loss_fn get the array that is moved, under its name?"
)
_of_errors = _stage("errors")
CHECKING = (
    _of_errors("compared_with_themselves", _each(lambda n, g: 0.0),
        "the errors are all zero: the gradients are compared with themselves."),
    *(
        _of_errors(
            f"{which}_entry_alone", _each(partial(_error_of_entry, at)),
            f"only some entries of each array are compared, the {which} among them; all are to be.",
        )
        for which, at in (("first", 0), ("last", -1))
    ),
    _of_errors("numerical_gradients", _each(lambda n, g: n),
        "these are the numerical gradients; their relative errors are asked."),
    _of_errors("compared_without_signs", _each(lambda n, g: _relative_error(np.abs(n), np.abs(g))),
        "the absolute values are compared: a wrong sign isn't seen."),
    _of_errors("not_relative", _each(lambda n, g: np.max(np.abs(n - g))),
        "these are absolute errors; use relative_error."),
    _of_errors("given_averaged", _each(lambda n, g: _relative_error(n, g / np.size(g))),
        "the given gradients are divided by the number of their entries; compare them as they are."),
    _of_errors("given_halved", _each(lambda n, g: _relative_error(n, g / 2)),
        "the given gradients are halved; compare them as they are."),
    _of_errors("given_doubled", _each(lambda n, g: _relative_error(n, 2 * g)),
        "the given gradients are doubled; compare them as they are."),
    _of_errors("given_sign", _each(lambda n, g: _relative_error(n, -g)),
        "the given gradients are compared with the wrong sign.", common=_ALL_ONE),
    _of_errors("numerical_zero", _each(lambda n, g: _relative_error(0 * n, g)), _ALL_ONE, common=_ALL_ONE),
    _of_errors("averaged", _each(lambda n, g: np.mean(np.abs(n - g) / _total(n, g))),
        "these are the means of the relative errors; use relative_error."),
    *(
        Deviation(
            f"step_of_{step:g}", "numerical_gradient", lambda f, x, step=step: _numerical_gradient(f, x, step),
            f"numerical_gradient is called with the step {step:g}; leave it at its default, 1e-5.",
        )
        for step in (1.0, 0.5, 1e-1, 1e-2, 1e-3, 1e-4)
    ),
    _of_errors("largest_for_all", _for_all(max), "all have the same error, the largest: each array has its own."),
    _of_errors("first_for_all", _for_all(lambda found: found[0]),
        "all have the error of the first array: each has its own."),
    _of_errors("last_for_all", _for_all(lambda found: found[-1]),
        "all have the error of the last array: each has its own."),
    *PRECISION,
)  # fmt: skip
