"""Notebook 2: the backward pass as a model in stages, and what is often done wrong in it.

Of the gradients nothing is spelt here but what is wrong: the right ones come as functions (:mod:`course_utils.steps`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from course_utils.deviations import Deviation, Values
from course_utils.mistakes.general import GENERAL, prepared, stage, transposed
from course_utils.mistakes.values import largest, of_true, sigmoid, softmax
from course_utils.steps import STEPS


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


_of_z3 = stage("after grad_z3")
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
        "the number of classes is guessed from the labels (as y.max() + 1, say); it is that of the columns of a3."),
    _of_z3("other_classes_negative", lambda g, right, a3, y: np.where(_onehot(a3, y) > 0, g, -g),
        "the classes that aren't the true one have the wrong sign."),
    _of_z3("true_class_not_in_the_sum", _share(lambda a3, y: a3 / (1 - of_true(a3, y)[:, None]) - a3),
        "the sum of exponentials leaves the true class out; it goes over all classes."),
    _of_z3("every_class_as_the_true_one", lambda g, right, a3, y: -a3 * (1 - a3) / of_true(a3, y)[:, None] / len(y),
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
    _of_z3("true_classes_alone_averaged", lambda g, right, a3, y: np.where(_onehot(a3, y) > 0, g, g * len(y)),
        "only the entries of the true classes are divided by N; all are to be."),
    _of_z3("true_classes_not_averaged", lambda g, right, a3, y: np.where(_onehot(a3, y) > 0, g * len(y), g),
        "the entries of the true classes aren't divided by N; all are to be."),
    _of_z3("delta_at_the_other_classes", _share(lambda a3, y: 2 * _onehot(a3, y) - 1),
        "1 is subtracted at every class but the true one; it is at the true class alone."),
    _of_z3("delta_of_reversed_labels", _share(lambda a3, y: _onehot(a3, y) - _onehot(a3, np.asarray(y)[::-1])),
        "the rows and their labels don't belong together: one of the two is reversed."),
    _of_z3("class_not_in_its_own_sum", _share(lambda a3, y: a3 / (1 - a3) - a3),
        "the sum of exponentials leaves class k itself out; it goes over all classes."),
    _of_z3("losses_of_all_classes", lambda g, right, a3, y: -np.log(a3) / len(y),
        "this is -log p_k itself, for each class k: it isn't differentiated, and it is the true class's that J holds."),
    _of_z3("loss_not_differentiated", lambda g, right, a3, y: -np.log(of_true(a3, y))[:, None] / len(y) + 0 * a3,
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
        lambda g, right, a3, y: of_true(a3, y)[:, None] * (_onehot(a3, y) - a3) / len(y),
        "this is the derivative of the true class's probability; the loss is minus its logarithm."),
    _of_z3("minus_derivative_of_the_true_probability",
        lambda g, right, a3, y: of_true(a3, y)[:, None] * (a3 - _onehot(a3, y)) / len(y),
        "this is minus the derivative of the true class's probability; of its logarithm, a factor 1 / p_y is missing."),
    _of_z3("true_probability_throughout", _share(lambda a3, y: of_true(a3, y)[:, None] - a3),
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
    _of_z3("sign_of_dz3", lambda g, right, a3, y: -g,
        "the sign is wrong: every value is the negative of the expected one.", general=True),
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
_FIRST_TWICE = "the first sample is counted twice: it is what the sum begins with, and is added once more."
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
    ("with_the_first_sample_twice", lambda g, right, a, d: g + right(a[:1], d[:1]), _FIRST_TWICE),
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
    *(
        ("normalised", lambda g, right, a, d, small=small: g / (np.linalg.norm(g) + small),
         "the gradient is divided by its length; return it as it is.")
        for small in (0.0, 1e-12, 1e-8, 1e-7)
    ),
    ("averaged_over_columns", lambda g, right, a, d: g / a.shape[1],
     "the sum over the samples is divided by the number of columns of [a]; leave the division away."),
    ("not_summed", lambda g, right, a, d: a[:, :, None] * d[:, None, :],
     "there is one matrix for each sample: sum over the samples."),
    ("flat", lambda g, right, a, d: g.ravel(), "the gradient is flat; it has the shape of the weights."),
    ("summed_once_more", lambda g, right, a, d: g.sum(axis=0),
     "the product with the transpose sums over the samples already; here it is summed once more."),
    ("of_entries", lambda g, right, a, d: a * d, "[a] and [d] are multiplied entry by entry; it is a matrix product."),
)  # fmt: skip


def _of_weights(variable: str, activations: str, upstream: str) -> tuple[Deviation, ...]:
    of = stage(f"after grad_{variable}")
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
    ("with_the_first_row_twice", lambda g, right, d: g + d[0], _FIRST_TWICE),
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
    of = stage(f"after grad_{variable}")
    return tuple(of(f"{variable}_{name}", change, sentence) for name, change, sentence in _OF_BIASES)


_of_a2 = stage("after grad_a2")
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
    return sigmoid(z) * sigmoid(-z)


_of_z2 = stage("after grad_z2")
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
    *(
        _of_z2(f"mask_above_{limit:g}", lambda g, right, d, z, limit=limit, above=above: d * above(z, limit),
            f"the mask begins at z2 = {limit:g}; it begins at 0.")
        for limit in (1.0, 0.5, 0.1, 0.01)
        for above in (np.greater, np.greater_equal)
    ),
    _of_z2("arguments_exchanged", lambda g, right, d, z: right(z, d),
        "the gradient and z2 are exchanged: where the gradient is positive, z2 comes through."),
    _of_z2("mask_of_a_row", lambda g, right, d, z: d * (z > 0).all(axis=1, keepdims=True),
        "the mask is one for each row; it is one for each entry."),
    _of_z2("sigmoid_for_the_mask", lambda g, right, d, z: d * sigmoid(z),
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


def step_alone(variable: str) -> tuple[Deviation, ...]:
    """All that is recognised in the formula of a variable by itself."""
    arrays = [name for name in STEPS[variable] if name not in ("a3", "y")]  # the right step takes probabilities alone
    return (*STEP_MISTAKES[variable], *prepared(*arrays), *GENERAL)


_of_regularisation = stage("regularisation")
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
_of_regularised_weights, _of_regularised_biases = stage("regularised weights"), stage("regularised biases")
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
    Deviation("probabilities_twice", "probabilities", lambda a3, z3: softmax(a3),
        "the softmax is applied twice before grad_z3."),
    Deviation("largest_for_probabilities", "probabilities", lambda a3, z3: largest(a3),
        "grad_z3 gets the predicted classes; it takes the probabilities a3."),
)  # fmt: skip
_BOTH_BIASES = "returned b1 b2"
_AVERAGED = "the gradients of the biases are divided by N once more than those of the weights."
RETURNED = (
    *(Deviation(
        f"{name}_transposed", f"returned {name}", transposed,
        f"in the gradient of {name}, this is the transpose of what is expected.",
    ) for name in ("W1", "W2")),
    *(Deviation(f"{name}_row", f"returned {name}", lambda v, got, N: v[None], _ROW) for name in ("b1", "b2", "b1 b2")),
    Deviation("biases_not_averaged", _BOTH_BIASES, lambda v, got, N: N * v,
        "the gradients of the biases are divided by N once less than those of the weights."),
    Deviation("biases_averaged_twice", _BOTH_BIASES, lambda v, got, N: v / N, _AVERAGED),
    Deviation("parameters_for_gradients", "result", lambda gradient, array: array,
        "these are the parameters themselves; their gradients are asked."),
    Deviation("parameters_after_a_step", "result", lambda rate, gradient, array: array + rate * gradient,
        "these are the parameters after a step, to which {factor} times the gradients are added; the gradients"
        " themselves are asked.", fitted=True),
    Deviation("gradients_clipped", "returned", lambda v, got, N: np.clip(v, -1, 1),
        "the gradients are limited to 1; return them as they are."),
)  # fmt: skip
_MASK = (
    "where z2 is negative, the gradient still flows back: between a2 and z2, go on with what grad_z2 returns, for z2"
    " itself, not a2."
)
BACKWARD = (
    *REGULARISATION, *REGULARISED_ARRAYS, *WIRING, *RETURNED,
    *(
        replace(one, sentence=f"on the way to d{variable}, {one.sentence}")
        for variable, some in STEP_MISTAKES.items()
        for one in some
        # The rows of dz3 sum to zero, and would explain whatever is.
        if one.name not in ("mask_missing", "da2_of_the_summed_weights")
    ),
    Deviation("mask_missing", "after grad_z2", lambda g, right, d, z: d, _MASK),
    *GENERAL,
)  # fmt: skip
