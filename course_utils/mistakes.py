"""What is often done wrong: the deviations from which checks recognise a mistake.

To add one, add an entry to the list of its computation, and an answer that makes the mistake to
the bank in ``tests/fairness``. The models are computed with NumPy's and SciPy's own functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy import special

from course_utils.deviations import Deviation, Values

# --- Any value ------------------------------------------------------------------------------


def _transposed(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    return value.T


def _cast(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    return np.trunc(value)


def _in_precision_of(dtype: type) -> Callable:
    def rounded(value: np.ndarray, got: Any, N: int) -> Any:
        """What was got, if a computation of that precision may give it."""
        if got.shape != value.shape or not np.array_equal(got.astype(dtype), got):
            return value
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


def _general(name: str, change: Callable, sentence: str) -> Deviation:
    return Deviation(name, "returned", change, sentence, general=True)


#: Recognised in whatever a function returns.
GENERAL = (
    _general("transposed", _transposed, "this is the transpose of what is expected."),
    _general("sign", lambda v, got, N: -v, "the sign is wrong: every value is the negative of the expected one."),
    _general(
        "not_averaged", lambda v, got, N: N * v,
        "the values are {N} times too large, {N} being the number of samples: the division by N is missing.",
    ),
    _general(
        "averaged_twice", lambda v, got, N: v / N,
        "the values are {N} times too small, {N} being the number of samples: the division by N happens twice.",
    ),
    _general("doubled", lambda v, got, N: 2 * v, "every value is exactly twice the expected one."),
    _general("halved", lambda v, got, N: v / 2, "every value is exactly half the expected one."),
    _general("squared", lambda v, got, N: v**2, "every value is the square of the expected one."),
    _general("absolute", lambda v, got, N: np.abs(v), "every value is the absolute value of the expected one."),
    _general("one_too_large", lambda v, got, N: v + 1, "every value is 1 too large."),
    _general("integers", _cast, "the values have lost their decimals: an array of integers was used to store them."),
    _general(
        "float16", _in_precision_of(np.float16),
        "the values are right to the 3 digits of half precision (float16); keep float64.",
    ),
    _general(
        "float32", _in_precision_of(np.float32),
        "the values are right to the 7 digits of single precision (float32); keep float64.",
    ),
    _general("rounded", _to_decimals, "the values are rounded to a few decimals; return them as they are."),
    _general("rows_in_another_order", _in_another_order, "the rows are right but in another order."),
    _general("zero", lambda v, got, N: 0 * v, "every value is zero."),
)  # fmt: skip

# --- The forward pass -----------------------------------------------------------------------


def network(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """Every value of the network, with the stages ``first``, ``relu``, ``second``, ``softmax`` or ``forward``.

    With the arguments of ``loss``, the stages ``softmax_cross_entropy`` and ``penalty`` follow.
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
        data = changes.get("softmax_cross_entropy", _cross_entropy)(np.asarray(values["z3"]), arguments["y"])
        weights, biases = ([params[kind + layer] for layer in "12"] for kind in "Wb")
        price = changes.get("penalty", lambda reg, weights, biases, N: reg * _squares(weights))
        values["loss"] = data + price(arguments["reg"], weights, biases, len(X))
    return values


def of_relu(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``relu``."""
    return {"a2": changes.get("relu", _relu)(np.asarray(arguments["z"], dtype=np.float64))}


def of_softmax(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``softmax``."""
    return {"a3": changes.get("softmax", _softmax)(np.asarray(arguments["z"]))}


def of_cross_entropy(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``softmax_cross_entropy``, or the mean of -log of a ``softmax``."""
    z3, y = np.asarray(arguments["z3"]), arguments["y"]
    if "softmax" in changes:
        return {"data_loss": -np.mean(np.log(_true(np.asarray(changes["softmax"](z3)), y)))}
    return {"data_loss": changes.get("softmax_cross_entropy", _cross_entropy)(z3, y)}


def _affine(a: np.ndarray, W: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a @ W + b


def _second(a2: np.ndarray, W2: np.ndarray, b2: np.ndarray, z2: np.ndarray) -> np.ndarray:
    return a2 @ W2 + b2


def _relu(z: np.ndarray) -> np.ndarray:
    return np.maximum(z, 0)


def _softmax(z: np.ndarray, axis: int | None = 1) -> np.ndarray:
    return special.softmax(np.asarray(z, dtype=np.float64), axis=axis)


def _cross_entropy(z3: np.ndarray, y: np.ndarray) -> float:
    return -np.mean(_true(_log_softmax(z3), y))


def _log_softmax(z: np.ndarray, axis: int = 1) -> np.ndarray:
    return special.log_softmax(np.asarray(z, dtype=np.float64), axis=axis)


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
    _of_relu(
        "relu_step", lambda z: (z > 0) * 1.0,
        "this is a step function (0 or 1); the ReLU keeps the positive values themselves.",
    ),
    _of_relu(
        "relu_of_the_wrong_sign", lambda z: np.minimum(z, 0),
        "the negative values are kept and the positive ones set to zero: the comparison is the wrong way round.",
    ),
    _of_relu(
        "relu_of_the_negative", lambda z: np.maximum(-z, 0),
        "these are the sizes of the negative values: the sign of z is wrong.",
    ),
    _of_relu(
        "leaky_relu", lambda slope, z: np.maximum(z, 0) + slope * np.minimum(z, 0),
        "negative values aren't set to zero but scaled, by {factor}: this is a leaky ReLU.", fitted=True,
    ),
    _of_relu(
        "relu_scaled", lambda scale, z: scale * np.maximum(z, 0),
        "the positive values are scaled, by {factor}; the ReLU keeps them.", fitted=True,
    ),
    _of_relu(
        "relu_with_a_floor", lambda floor, z: np.where(z > 0, z, floor),
        "negative values become {factor}; the ReLU sets them to zero.", fitted=True,
    ),
    _of_relu("relu_cut_off_at_1", lambda z: np.clip(z, 0, 1), "values above 1 are cut off; the ReLU has no upper limit."),
    _of_relu("relu_cut_off_at_6", lambda z: np.clip(z, 0, 6), "values above 6 are cut off; the ReLU has no upper limit."),
    _of_relu("relu_beyond_1", lambda z: np.where(z > 1, z, 0), "values between 0 and 1 are lost; the ReLU keeps what is above 0."),
    _of_relu("relu_at_least_1", lambda z: np.maximum(z, 1), "the maximum is taken with 1; with 0 it is the ReLU."),
    _of_relu("sigmoid_for_relu", special.expit, "this is the sigmoid function; the ReLU is asked."),
    _of_relu("tanh_for_relu", np.tanh, "this is the hyperbolic tangent; the ReLU is asked."),
    _of_relu("relu_of_tanh", lambda z: np.maximum(np.tanh(z), 0), "this is the hyperbolic tangent where z is positive; the ReLU keeps z itself."),
    _of_relu("softplus_for_relu", lambda z: np.logaddexp(0.0, z), "this is the softplus function log(1 + exp(z)); the ReLU is asked."),
    _of_relu("elu_for_relu", lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))), "negative values become exp(z) - 1: this is the ELU; the ReLU sets them to zero."),
    _of_relu("silu_for_relu", lambda z: z * special.expit(z), "this is z times its sigmoid (SiLU); the ReLU is asked."),
    _of_relu("gelu_for_relu", lambda z: z * special.ndtr(z), "this is the GELU; the ReLU is asked."),
    _of_relu("relu_squared", lambda z: np.maximum(z, 0) ** 2, "the positive values are squared; the ReLU keeps them."),
    _of_relu("largest_of_all", lambda z: np.maximum(z, z.max()), "every entry is the largest of the array: the maximum is to be taken with 0, entry by entry."),
    _of_relu("shifted_by_the_smallest", lambda z: z - z.min(), "the smallest value is subtracted from all; the ReLU sets negative values to zero."),
    _of_relu("largest_of_each_column", lambda z: z.max(axis=0), "this is the largest value of each column: the maximum is to be taken with 0, entry by entry."),
    _of_relu("largest_of_each_row", lambda z: z.max(axis=1), "this is the largest value of each row: the maximum is to be taken with 0, entry by entry."),
    _of_relu("positive_values_alone", lambda z: z[z > 0], "these are the positive values alone; the others are to be zero, in their places."),
)  # fmt: skip


def _over(numerators: Callable, divisors: Callable) -> Callable:
    """A quotient of exponentials, each taken as its function says."""
    return lambda z: numerators(np.asarray(z, dtype=np.float64)) / divisors(np.asarray(z, dtype=np.float64))


#: Constants that keep a quotient or a logarithm finite.
_SMALL = tuple(10.0**-k for k in range(2, 16))
_NOT_NORMALISED = "the exponentials aren't divided by the sum of their row."
_of_softmax = _stage("softmax")
SOFTMAX = (
    _of_softmax(
        "softmax_over_columns", lambda z: _softmax(z, axis=0),
        "the softmax is taken over the wrong axis: the columns sum to 1, but each row should.",
    ),
    _of_softmax(
        "softmax_over_everything", lambda z: _softmax(z, axis=None),
        "the softmax is normalised by the sum over all entries; each row should sum to 1 by itself.",
    ),
    _of_softmax(
        "softmax_by_columns_of_shifted_rows",
        _over(lambda z: np.exp(z - z.max(1, keepdims=True)), lambda z: np.exp(z - z.max(1, keepdims=True)).sum(0)),
        "each entry is divided by the sum of its column; it is the sum of its row that is asked.",
    ),
    _of_softmax(
        "softmax_by_the_first_row",
        _over(lambda z: np.exp(z - z.max(1, keepdims=True)), lambda z: np.exp(z[0] - z[0].max()).sum()),
        "every row is divided by the sum of the first row; each has a sum of its own.",
    ),
    _of_softmax("softmax_twice", lambda z: _softmax(_softmax(z)), "the softmax is applied twice."),
    *(
        _of_softmax("softmax_not_normalised", lambda z, shift=shift: np.exp(z - shift(z)), _NOT_NORMALISED)
        for shift in (lambda z: 0.0, lambda z: z.max(axis=1, keepdims=True), np.max)
    ),
    _of_softmax(
        "softmax_without_exponential", lambda z: z / z.sum(axis=1, keepdims=True),
        "the logits are divided by the sum of their row without taking exponentials first.",
    ),
    _of_softmax("softmax_of_the_wrong_sign", lambda z: _softmax(-np.asarray(z)), "the exponentials are those of -z: the sign of the logits is wrong."),
    _of_softmax("softmax_base_2", lambda z: _softmax(np.log(2.0) * np.asarray(z)), "the powers have base 2; the exponential function has base e."),
    _of_softmax("softmax_base_10", lambda z: _softmax(np.log(10.0) * np.asarray(z)), "the powers have base 10; the exponential function has base e."),
    _of_softmax("softmax_of_halves", lambda z: _softmax(np.asarray(z) / 2), "the logits are halved before their exponentials are taken."),
    _of_softmax("softmax_of_twice", lambda z: _softmax(2 * np.asarray(z)), "the logits are doubled before their exponentials are taken."),
    _of_softmax("softmax_of_squares", lambda z: _softmax(np.asarray(z) ** 2), "the exponentials are those of z^2."),
    _of_softmax("softmax_of_sizes", lambda z: _softmax(np.abs(z)), "the exponentials are those of |z|."),
    _of_softmax("softmax_divided_by_length", _over(np.exp, lambda z: np.linalg.norm(np.exp(z), axis=1, keepdims=True)), "the exponentials are divided by the length of their row, the root of the sum of squares; divide by the sum."),
    _of_softmax("softmax_divided_by_mean", lambda z: z.shape[1] * _softmax(z), "the exponentials are divided by the mean of their row; divide by the sum."),
    _of_softmax("sigmoid_for_softmax", special.expit, "this is the sigmoid of each logit; in a softmax every row sums to 1."),
    _of_softmax("log_probabilities", _log_softmax, "these are the logarithms of the probabilities."),
    _of_softmax("one_minus_softmax", lambda z: 1 - _softmax(z), "this is 1 less the probabilities."),
    _of_softmax("softmax_as_largest", _largest, "this is 1 at each row's largest logit and 0 elsewhere; the softmax gives probabilities."),
    _of_softmax("class_for_softmax", lambda z: z.argmax(axis=1), "this is the class with the largest logit; the softmax gives probabilities."),
    *(
        _of_softmax(
            f"softmax_limited_at_{limit:g}", lambda z, low=limit, high=high: np.clip(_softmax(z), low, high),
            "the probabilities are limited; they may be as small as they come out.",
        )
        for limit in _SMALL
        for high in (1.0, 1.0 - limit)
    ),
    *(
        _of_softmax(
            f"softmax_with_{small:g}", _over(lambda z, s=shift: np.exp(z - s(z)), lambda z, s=shift, c=small: np.exp(z - s(z)).sum(axis=1, keepdims=True) + c),
            f"{small:g} is added to the sum of exponentials; divide by the sum itself.",
        )
        for small in _SMALL
        for shift in (lambda z: z.max(axis=1, keepdims=True), lambda z: 0.0)
    ),
    _of_softmax("softmax_missing", lambda z: z, "these are the logits; the softmax isn't applied."),
)  # fmt: skip

_BIASES = {
    "missing": (0, "the bias is missing: add it to every row of the product."),
    "added_twice": (2, "the bias is added twice."),
    "subtracted": (-1, "the bias is subtracted where it should be added."),
}
_of_first, _of_second = _stage("first"), _stage("second")
LAYERS = (
    *(_of_first(f"b1_{name}", lambda X, W, b, c=c: X @ W + c * b, text) for name, (c, text) in _BIASES.items()),
    *(_of_second(f"b2_{name}", lambda a, W, b, z, c=c: a @ W + c * b, text) for name, (c, text) in _BIASES.items()),
    _of_first("relu_in_first", lambda X, W, b: _relu(X) @ W + b, "the ReLU is applied to X as well, before the first product."),
    _of_first("data_centred", lambda X, W, b: (X - X.mean(axis=0)) @ W + b, "the mean of X is subtracted first; X is to be taken as it is."),
    _of_first("data_scaled", lambda X, W, b: (X / np.abs(X).max()) @ W + b, "X is scaled first; it is to be taken as it is."),
    _of_first("data_scaled_by_255", lambda X, W, b: (X / 255) @ W + b, "X is divided by 255; it is to be taken as it is."),
    _of_first("data_cast", lambda X, W, b: np.trunc(X) @ W + b, "X has lost its decimals: it is cast to integers first."),
    _of_first("mean_bias", lambda X, W, b: X @ W + b.mean(), "the mean of the bias is added to every entry; each hidden unit has a bias of its own."),
    _of_first("z2_cast", lambda X, W, b: np.trunc(X @ W + b), "z2 has lost its decimals: it is stored as integers."),
    _of_second("relu_on_logits", lambda a, W, b, z: _relu(a @ W + b), "the ReLU is applied to z3 as well; the logits of the last layer stay as they are."),
    _of_second("second_layer_takes_z2", lambda a, W, b, z: z @ W + b, "the second layer takes z2; it is a2 that it takes."),
    _of_second("logits_scaled", lambda a, W, b, z: (a @ W + b) / np.sqrt(a.shape[1]), "z3 is divided by the root of the number of hidden units."),
    _of_second("activations_averaged", lambda a, W, b, z: a @ W / a.shape[1] + b, "the product a2 W2 is divided by the number of hidden units."),
    Deviation("softmax_of_hidden", "relu", _softmax, "the softmax is applied to z2; between the layers it is the ReLU."),
    Deviation("z2_overwritten", "returned z2", lambda v, got, N: _relu(v), "z2 holds the values after the ReLU: keep z2 and a2 apart."),
    Deviation("z3_overwritten", "returned z3", lambda v, got, N: _softmax(v), "z3 holds the probabilities: keep both, z3 before and a3 after the softmax."),
    Deviation(
        "z3_shifted", "returned z3", lambda v, got, N: v - v.max(axis=1, keepdims=True),
        "z3 has lost the largest logit of each row: subtract it from a copy, for the softmax alone.",
    ),
)  # fmt: skip
FORWARD = (*LAYERS, *RELU, *SOFTMAX, *GENERAL)

# --- The loss: its data term ----------------------------------------------------------------


def _of_p(of: Callable[[np.ndarray], np.ndarray]) -> Callable:
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
    _of_data("loss_per_sample", _of_each(lambda losses: losses), "this is one value for each sample; the loss is their mean."),
    _of_data("loss_summed", _of_each(np.sum), "the cross-entropy is summed over the samples; it is their mean: divide by N."),
    _of_data("loss_averaged_twice", _of_each(lambda losses: losses.mean() / len(losses)), "the cross-entropy is divided by N twice."),
    _of_data("loss_averaged_over_entries", lambda z, y: _cross_entropy(z, y) / z.shape[1], "the cross-entropy is divided by N * K, the number of all entries; divide by the number of samples."),
    _of_data("loss_averaged_over_classes", lambda z, y: _cross_entropy(z, y) * len(y) / z.shape[1], "the cross-entropy is divided by K, the number of classes; divide by the number of samples."),
    _of_data("loss_averaged_over_one_less", _of_each(lambda losses: losses.sum() / max(len(losses) - 1, 1)), "the sum is divided by N - 1; divide it by N, the number of samples."),
    _of_data("loss_median", _of_each(np.median), "this is the median of the samples' losses; their mean is asked."),
    _of_data("loss_largest", _of_each(np.max), "this is the largest of the samples' losses; their mean is asked."),
    _of_data("loss_sign", lambda z, y: -_cross_entropy(z, y), "the sign of the cross-entropy is wrong: it is the mean of -log p."),
    _of_data("loss_halved", lambda z, y: _cross_entropy(z, y) / 2, "the cross-entropy has a factor 1/2, which doesn't belong there."),
    _of_data("logarithm_base_2", lambda z, y: _cross_entropy(z, y) / np.log(2.0), "the logarithm has base 2; the natural one is asked."),
    _of_data("logarithm_base_10", lambda z, y: _cross_entropy(z, y) / np.log(10.0), "the logarithm has base 10; the natural one is asked."),
    _of_data("logarithm_of_1_plus", _of_p(lambda p: -np.log1p(p)), "this is the logarithm of 1 + p; that of p is asked."),
    _of_data("logarithm_missing", _of_p(lambda p: -p), "the logarithm is missing: this is minus the mean probability of the true class."),
    _of_data("probability_for_loss", _of_p(lambda p: p), "this is the mean probability of the true class; the mean of its -log is asked."),
    _of_data("one_minus_probability", _of_p(lambda p: 1 - p), "the logarithm is missing: this is the mean of 1 - p."),
    _of_data("mean_before_logarithm", lambda z, y: -np.log(np.mean(_true(_softmax(z), y))), "the mean is taken before the logarithm: it is the mean of -log p that is asked, not -log of the mean."),
    _of_data("hinge_loss", _hinge, "this is the hinge loss (max(0, z_k - z_y + 1) summed); the cross-entropy is asked."),
    *(
        _of_data("squared_error", lambda z, y, f=f: f(np.square(_errors(z, y))), _SQUARED)
        for f in (np.sum, np.mean, lambda s: s.sum() / len(s), lambda s: s.sum() / 2, lambda s: s.mean() / 2, lambda s: s.sum() / len(s) / 2)
    ),
    _of_data("binary_cross_entropy", _binary, "every class counts, with log(1 - p) where it isn't the true one: this is the binary cross-entropy. Only the true class of each sample counts."),
    _of_data("every_class_counted", lambda z, y: -_log_softmax(z).sum() / len(z), "the logarithms of all classes are summed; only the true class of each sample counts."),
    _of_data("every_class_averaged", lambda z, y: -_log_softmax(z).mean(), "the logarithms of all classes are averaged; only the true class of each sample counts."),
    _of_data("entropy_for_cross_entropy", lambda z, y: -(_softmax(z) * _log_softmax(z)).sum() / len(z), "this is the entropy of the probabilities, which doesn't know the true classes; it is -log p of the true class that is asked."),
    _of_data("all_rows_with_all_labels", lambda z, y: -_log_softmax(z)[:, y].mean(), "z[:, y] holds every row with every label: each row is to be taken with its own label alone, z[np.arange(N), y]."),
    _of_data("largest_class_taken", lambda z, y: -_log_softmax(z).max(axis=1).mean(), "the largest probability of each row is taken; the one of the true class is asked."),
    _of_data("loss_of_probabilities", lambda z, y: _cross_entropy(_softmax(z), y), "the softmax is applied twice: give the cross-entropy the logits z3, not the probabilities a3."),
    _of_data("loss_over_columns", lambda z, y: -np.mean(_true(_log_softmax(z, axis=0), y)), "the softmax inside the loss is taken over the wrong axis: each row of probabilities should sum to 1."),
    _of_data("loss_over_everything", lambda z, y: np.mean(special.logsumexp(z) - _true(z, y)), "the sum of exponentials is taken over all entries; each row has a sum of its own."),
    _of_data("true_logit_missing", lambda z, y: np.mean(special.logsumexp(z, axis=1)), "the logits' own values are missing: log sum exp(z) alone isn't the cross-entropy, z_y is to be subtracted."),
    _of_data("true_logit_added", lambda z, y: np.mean(special.logsumexp(z, axis=1) + _true(z, y)), "the logit of the true class is added to log sum exp(z); it is to be subtracted."),
    _of_data("log_sum_missing", lambda z, y: -np.mean(_true(z, y)), "only the logit of the true class is there: log sum exp(z) is to be added."),
    _of_data("logarithm_of_the_sum_missing", lambda z, y: np.mean(np.exp(z).sum(axis=1) - _true(z, y)), "the logarithm of the sum of exponentials is missing."),
    _of_data("largest_logit_not_added", lambda z, y: np.mean(special.logsumexp(z - z.max(1, keepdims=True), axis=1) - _true(z, y)), "the largest logit is subtracted before the exponentials are taken, but not from z_y: subtract it there too, or add it to the logarithm."),
    _of_data("shifted_true_logit_alone", lambda z, y: np.mean(special.logsumexp(z, axis=1) - _true(z - z.max(1, keepdims=True), y)), "the largest logit is subtracted from z_y, but not inside the logarithm: subtract it in both."),
    _of_data("loss_of_shifted_labels", lambda z, y: _cross_entropy(z, np.asarray(y) - 1), "the labels are shifted by one: class 0 is the first column."),
    _of_data("first_sample_only", _of_each(lambda losses: losses[0]), "only the first sample counts; the loss is the mean over all of them."),
    _of_data("last_sample_only", _of_each(lambda losses: losses[-1]), "only the last sample counts; the loss is the mean over all of them."),
    _of_data("first_class_only", lambda z, y: -_log_softmax(z)[:, 0].mean(), "the first class is taken in every row; the true one is asked."),
    _of_data("last_class_only", lambda z, y: -_log_softmax(z)[:, -1].mean(), "the last class is taken in every row; the true one is asked."),
    _of_data(
        "classes_guessed_from_the_labels",
        lambda z, y: np.mean(special.logsumexp(z, axis=1) - (z * np.eye(np.max(y) + 1)[y]).sum(axis=1)),
        "the number of classes is guessed from the labels (y.max() + 1); it is that of the columns of z3.",
    ),
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
    _of_data(
        "labels_smoothed", lambda share, z, y: -np.mean((1 - share) * _true(_log_softmax(z), y) + share * _log_softmax(z).mean(axis=1)),
        "a share of {factor} of each label is spread over all classes (label smoothing); the true class alone counts.", fitted=True,
    ),
    _of_data("data_loss_missing", lambda z, y: 0.0, "the cross-entropy is missing: this is the regularisation alone."),
    _of_data(
        "loss_of_fixed_size", lambda factor, z, y: factor * _cross_entropy(z, y) * len(y),
        "the sum over the samples is multiplied by {factor}, whatever N is; divide it by N.", fitted=True,
    ),
    _of_data("loss_scaled", lambda factor, z, y: factor * _cross_entropy(z, y), "the cross-entropy is {factor} times what it should be.", fitted=True),
)  # fmt: skip
#: ``softmax_cross_entropy(z3, y)``.
CROSS_ENTROPY = (*DATA, *GENERAL)

# --- The loss: its regularisation -------------------------------------------------------------


def _scaled(factor: Callable[[float, int], float]) -> Callable:
    return lambda reg, weights, biases, N: factor(reg, N) * _squares(weights)


def _summed(of: Callable[[np.ndarray], float]) -> Callable:
    return lambda reg, weights, biases, N: reg * sum(float(of(np.asarray(W, dtype=np.float64))) for W in weights)


_of_penalty = _stage("penalty")
_STRENGTH = "the regularisation has another strength than reg, which is {reg} here"
PENALTY = (
    _of_penalty("regularisation_missing", _scaled(lambda reg, N: 0.0), "the regularisation is missing."),
    _of_penalty("regularisation_halved", _scaled(lambda reg, N: reg / 2), "the regularisation has a factor 1/2, which this assignment doesn't use."),
    _of_penalty("regularisation_twice", _scaled(lambda reg, N: 2 * reg), "the regularisation is added twice."),
    _of_penalty("regularisation_averaged", _scaled(lambda reg, N: reg / N), "the regularisation is divided by the number of samples; it isn't part of the mean."),
    _of_penalty("regularisation_averaged_and_halved", _scaled(lambda reg, N: reg / N / 2), "the regularisation is divided by 2 N; it isn't part of the mean, and has no factor 1/2."),
    _of_penalty("regularisation_for_each_sample", _scaled(lambda reg, N: reg * N), "the regularisation is added once for each sample: " + _STRENGTH + "."),
    _of_penalty("regularisation_subtracted", _scaled(lambda reg, N: -reg), "the regularisation is subtracted."),
    _of_penalty("strength_squared", _scaled(lambda reg, N: reg**2), "reg itself is squared."),
    _of_penalty("strength_halved_and_squared", _scaled(lambda reg, N: reg**2 / 2), "reg itself is squared, and there is a factor 1/2."),
    _of_penalty("strength_rounded", _scaled(lambda reg, N: int(reg)), "the regularisation is missing where reg is below 1: reg is cast to an integer."),
    _of_penalty("regularisation_without_strength", _scaled(lambda reg, N: 1.0), "reg is ignored: the weights' squares are added without it."),
    _of_penalty("strength_added", lambda reg, weights, biases, N: reg + _squares(weights), "reg is added to the squares; multiply them by it."),
    _of_penalty("only_W1_regularised", lambda reg, weights, biases, N: reg * _squares(weights[:1]), "only W1 is regularised; W2 is too."),
    _of_penalty("only_W2_regularised", lambda reg, weights, biases, N: reg * _squares(weights[1:]), "only W2 is regularised; W1 is too."),
    _of_penalty("W2_without_strength", lambda reg, weights, biases, N: reg * _squares(weights[:1]) + _squares(weights[1:]), "reg is multiplied with the squares of W1 alone: put their sum in parentheses."),
    _of_penalty("W1_twice", lambda reg, weights, biases, N: 2 * reg * _squares(weights[:1]), "the squares of W1 are added twice, those of W2 never."),
    _of_penalty("W2_twice", lambda reg, weights, biases, N: 2 * reg * _squares(weights[1:]), "the squares of W2 are added twice, those of W1 never."),
    _of_penalty("W2_once_more", lambda reg, weights, biases, N: reg * (_squares(weights) + _squares(weights[1:])), "the squares of W2 are added twice."),
    _of_penalty("W1_once_more", lambda reg, weights, biases, N: reg * (_squares(weights) + _squares(weights[:1])), "the squares of W1 are added twice."),
    _of_penalty("biases_regularised", lambda reg, weights, biases, N: reg * _squares([*weights, *biases]), "the biases are regularised too; only W1 and W2 are."),
    _of_penalty("biases_regularised_halved", lambda reg, weights, biases, N: reg / 2 * _squares([*weights, *biases]), "the biases are regularised too, and with a factor 1/2; only W1 and W2 are, without it."),
    _of_penalty("b1_regularised", lambda reg, weights, biases, N: reg * _squares([*weights, biases[0]]), "the bias b1 is regularised too; only W1 and W2 are."),
    _of_penalty("b2_regularised", lambda reg, weights, biases, N: reg * _squares([*weights, biases[1]]), "the bias b2 is regularised too; only W1 and W2 are."),
    _of_penalty("norms_not_squared", _summed(np.linalg.norm), "the norms aren't squared."),
    _of_penalty("norm_of_all_not_squared", lambda reg, weights, biases, N: reg * np.sqrt(_squares(weights)), "the norm isn't squared."),
    _of_penalty("spectral_norm", _summed(lambda W: np.linalg.norm(W, 2) ** 2), "this is the spectral norm, squared; the sum of the squares of all entries is asked."),
    _of_penalty("absolute_weights", _summed(lambda W: np.abs(W).sum()), "the absolute values of the weights are summed (L1); their squares are asked."),
    _of_penalty("weights_not_squared", _summed(np.sum), "the weights are summed without being squared."),
    _of_penalty("square_of_sum", _summed(lambda W: np.sum(W) ** 2), "the sum of the weights is squared; each weight is squared before the sum."),
    _of_penalty("square_of_common_sum", lambda reg, weights, biases, N: reg * sum(np.sum(W) for W in weights) ** 2, "the sum of the weights is squared; each weight is squared before the sum."),
    _of_penalty("mean_of_squares", _summed(lambda W: np.mean(W**2)), "the mean of the squared weights is taken; their sum is asked."),
    _of_penalty("cubes", _summed(lambda W: np.sum(W**3)), "the weights' cubes are summed; their squares are asked."),
    _of_penalty("largest_square", _summed(lambda W: np.max(W**2)), "the largest square of each matrix is taken; the sum of all is asked."),
    _of_penalty("product_of_norms", lambda reg, weights, biases, N: reg * _squares(weights[:1]) * _squares(weights[1:]), "the two sums of squares are multiplied; add them."),
    _of_penalty("squares_of_the_product", lambda reg, weights, biases, N: reg * _squares([weights[0] @ weights[1]]), "the squares of the product W1 W2 are summed; those of W1 and of W2 are asked."),
    _of_penalty("fixed_strength", lambda factor, reg, weights, biases, N: factor * _squares(weights), _STRENGTH + ": a fixed strength, {factor}.", fitted=True),
    _of_penalty("strength_scaled", lambda factor, reg, weights, biases, N: factor * reg * _squares(weights), _STRENGTH + ": {factor} times that.", fitted=True),
    _of_penalty(
        "default_for_no_strength", lambda factor, reg, weights, biases, N: (reg or factor) * _squares(weights),
        _STRENGTH + ": where reg is 0, a fixed strength, {factor}, is used.", fitted=True,
    ),
)  # fmt: skip
#: ``loss(params, X, y, reg)``; what the layers do wrong shows in it too, where it computes them anew.
LOSS = (*DATA, *PENALTY, *LAYERS[: len(_BIASES) * 2], *RELU[:1], *GENERAL)

#: Constants that students add to a probability to keep its logarithm finite. They spoil the
#: loss in its last digits only, and whether the loss is stable is a question of its own.
LOGARITHM_GUARDS = (*(10.0**-k for k in range(6, 21)), *(float(np.finfo(t).eps) for t in (np.float32, np.float64)))


def guarded_losses(z3: np.ndarray, y: np.ndarray, largest: float) -> tuple[float, ...]:
    """The means of -log(p + guard), for the guards up to ``largest``."""
    p = _true(_softmax(z3), y)
    return tuple(float(-np.mean(np.log(p + guard))) for guard in LOGARITHM_GUARDS if guard <= largest)


def right_of_network(one: Any, own: Any) -> dict[str, Callable]:
    """Right helpers of notebook 1, for :class:`course_utils.judge.Reference`."""
    right = {
        "relu": _relu, "softmax": _softmax, "softmax_cross_entropy": _cross_entropy,
        "forward": lambda params, X: network({"params": params, "X": X}, {}),
    }  # fmt: skip
    return {name: right[name] for name in own}
