"""Recognise a mistake from the wrong numbers that it produces.

A rule is a hypothesis: the values that one would get by making one particular mistake,
computed from the expected values, from named values of the problem (``known``) and, where
the mistake has a free factor, from the values that the student got. A rule fires only when
its hypothesis reproduces what the student got to round-off, and differs clearly from the
expected values: a wrong guess is worse than none.

Names that a check may put into ``known`` (all optional):

============  ===============  =========================================================
``quantity``  str              name of the value compared
``N``         int              number of samples
``reg``       float            strength of the regularisation
``weight``    (m, n) array     the matrix whose gradient is compared
``bias``      (n,) array       the bias that the value contains, or whose gradient it is
``weights``   list of arrays   every regularised matrix (for a loss)
``biases``    list of arrays   the biases, which aren't regularised (for a loss)
``before``    (N, n) array     input of the elementwise function that gives the value
``upstream``  (N, n) array     gradient that arrives at an elementwise function
``data``      array            the value without regularisation
``onehot``    (N, K) array     the matrix Delta of the true classes
``features``  (N, m) array     left factor of a product, the rows that enter a layer
============  ===============  =========================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Hypothesis = Callable[[np.ndarray, np.ndarray, Mapping[str, Any]], "np.ndarray | float | None"]


class Rule(NamedTuple):
    """One recognisable mistake: ``values(got, expected, known)`` is what it would give."""

    name: str
    sentence: str
    values: Hypothesis


#: Every rule, in the order in which they are tried: the specific before the general.
RULES: list[Rule] = []


def _rule(sentence: str) -> Callable[[Hypothesis], Hypothesis]:
    def register(values: Hypothesis) -> Hypothesis:
        RULES.append(Rule(values.__name__, sentence, values))
        return values

    return register


def probable_cause(got: Any, expected: Any, known: Mapping[str, Any], tolerance: float) -> str | None:
    """The sentence of the first rule that explains ``got``, or None.

    Parameters
    ----------
    got, expected : array_like of float
        The student's values and the reference; their shapes may differ.
    known : mapping
        See the table above.
    tolerance : float
        Round-off allowed between ``got`` and ``expected``. A hypothesis must match
        ``got`` ten times this closely or to 1e-9 of its size, and the deviation that it
        explains must be a thousand times larger than that.
    """
    rule = find_rule(got, expected, known, tolerance)
    return rule.sentence.format_map(_Readable(known)) if rule else None


def find_rule(got: Any, expected: Any, known: Mapping[str, Any], tolerance: float) -> Rule | None:
    """Like :func:`probable_cause`, but returns the :class:`Rule` itself."""
    got = np.asarray(got, dtype=np.float64)
    expected = np.asarray(expected, dtype=np.float64)
    if not np.isfinite(got).all():
        return None
    for rule in RULES:
        with np.errstate(all="ignore"):
            try:
                hypothesis = rule.values(got, expected, known)
            except (KeyError, ValueError):  # a name isn't known here, or shapes don't conform
                continue
        if hypothesis is not None and _explains(np.asarray(hypothesis), got, expected, tolerance):
            return rule
    return None


def _explains(hypothesis: np.ndarray, got: np.ndarray, expected: np.ndarray, tolerance: float) -> bool:
    if hypothesis.shape != got.shape or not np.isfinite(hypothesis).all():
        return False
    size = float(np.max(np.abs(got), initial=0.0))
    closeness = min(10 * tolerance, max(1e-9 * size, tolerance))
    if np.abs(hypothesis - got).max(initial=0.0) > closeness:
        return False
    if got.shape != expected.shape:
        return True
    return bool(np.abs(got - expected).max(initial=0.0) > 1000 * closeness)


class _Readable(dict):
    """Numbers as a student would write them."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return f"{value:g}" if isinstance(value, float) else value


def _squares(arrays: list[np.ndarray]) -> float:
    return float(sum(np.sum(np.square(array)) for array in arrays))


def _fitted(got: np.ndarray, expected: np.ndarray, direction: np.ndarray) -> float | None:
    """The factor c with ``got - expected = c * direction`` in the least-squares sense."""
    direction = np.broadcast_to(np.asarray(direction, dtype=np.float64), got.shape)
    if got.shape != expected.shape or got.size < 4 or not direction.any():
        return None
    return float(np.vdot(direction, got - expected) / np.vdot(direction, direction))


# --- The forward pass -----------------------------------------------------------------


@_rule("the bias is missing: add it to every row of the product.")
def bias_missing(got, expected, known):
    return expected - known["bias"] if known["quantity"] in ("z2", "z3") else None


@_rule("the bias is added twice.")
def bias_added_twice(got, expected, known):
    return expected + known["bias"] if known["quantity"] in ("z2", "z3") else None


@_rule("the bias is subtracted where it should be added.")
def bias_subtracted(got, expected, known):
    return expected - 2 * np.asarray(known["bias"]) if known["quantity"] in ("z2", "z3") else None


@_rule("the ReLU isn't applied: negative values are still there.")
def relu_missing(got, expected, known):
    return known["before"] if known["quantity"] in ("a2", "relu(z)") else None


@_rule("this is the absolute value; the ReLU sets negative values to zero.")
def absolute_value(got, expected, known):
    return np.abs(known["before"]) if known["quantity"] in ("a2", "relu(z)") else None


@_rule("this is a step function (0 or 1); the ReLU keeps the positive values themselves.")
def relu_step(got, expected, known):
    return (np.asarray(known["before"]) > 0) * 1.0 if known["quantity"] in ("a2", "relu(z)") else None


@_rule("the negative values are kept and the positive ones set to zero: the comparison is the wrong way round.")
def relu_of_the_wrong_sign(got, expected, known):
    return np.minimum(known["before"], 0.0) if known["quantity"] in ("a2", "relu(z)") else None


@_rule("negative values aren't set to zero but scaled: this is a leaky ReLU.")
def leaky_relu(got, expected, known):
    if known["quantity"] not in ("a2", "relu(z)"):
        return None
    negative = np.minimum(known["before"], 0.0)
    return expected + (_fitted(got, expected, negative) or 0.0) * negative


@_rule("z2 holds the values after the ReLU: relu has changed its argument in place, so work on a copy.")
def overwritten_by_relu(got, expected, known):
    return np.maximum(expected, 0.0) if known["quantity"] == "z2" else None


@_rule("the softmax is taken over the wrong axis: the columns sum to 1, but each row should.")
def softmax_over_columns(got, expected, known):
    exponentials = _exponentials(expected, known)
    return exponentials / exponentials.sum(axis=0, keepdims=True)


@_rule("the softmax is normalised by the sum over all entries; each row should sum to 1 by itself.")
def softmax_over_everything(got, expected, known):
    exponentials = _exponentials(expected, known)
    return exponentials / exponentials.sum()


@_rule("the softmax is applied twice.")
def softmax_twice(got, expected, known):
    if not _is_probabilities(known):
        return None
    exponentials = np.exp(expected)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


@_rule("the exponentials aren't divided by the sum of their row.")
def softmax_not_normalised(got, expected, known):
    if not _is_probabilities(known) or got.shape != expected.shape or expected.shape[1] < 3:
        return None
    return expected * (got.sum(axis=1, keepdims=True) / expected.sum(axis=1, keepdims=True))


@_rule("these are the logarithms of the probabilities.")
def log_probabilities(got, expected, known):
    return np.log(expected) if _is_probabilities(known) else None


@_rule("these are the logits; the softmax isn't applied.")
def softmax_missing(got, expected, known):
    return known["before"] if _is_probabilities(known) else None


def _is_probabilities(known: Mapping[str, Any]) -> bool:
    return known["quantity"] in ("a3", "softmax(z)")


def _exponentials(expected: np.ndarray, known: Mapping[str, Any]) -> np.ndarray:
    if not _is_probabilities(known):
        raise KeyError("before")
    before = np.asarray(known["before"], dtype=np.float64)
    return np.exp(before - before.max())


# --- The loss -------------------------------------------------------------------------


@_rule("the regularisation is missing.")
def regularisation_missing(got, expected, known):
    return known["data"] if known["reg"] else None


@_rule("the regularisation has a factor 1/2, which this assignment doesn't use.")
def regularisation_halved(got, expected, known):
    return known["data"] + 0.5 * (expected - known["data"]) if known["reg"] else None


@_rule("the regularisation is added twice.")
def regularisation_twice(got, expected, known):
    return known["data"] + 2.0 * (expected - known["data"]) if known["reg"] else None


@_rule("the regularisation is divided by the number of samples; it isn't part of the mean.")
def regularisation_averaged(got, expected, known):
    return known["data"] + (expected - known["data"]) / known["N"] if known["reg"] else None


@_rule("the regularisation is subtracted.")
def regularisation_subtracted(got, expected, known):
    return known["data"] - (expected - known["data"]) if known["reg"] else None


@_rule("only W1 is regularised; W2 is too.")
def only_first_weight_regularised(got, expected, known):
    return expected - known["reg"] * _squares(known["weights"][1:])


@_rule("only W2 is regularised; W1 is too.")
def only_second_weight_regularised(got, expected, known):
    return expected - known["reg"] * _squares(known["weights"][:1])


@_rule("the biases are regularised too; only W1 and W2 are.")
def biases_regularised_in_loss(got, expected, known):
    return expected + known["reg"] * _squares(known["biases"])


@_rule("the biases are regularised too, and with a factor 1/2; only W1 and W2 are, without it.")
def biases_regularised_in_loss_halved(got, expected, known):
    return known["data"] + 0.5 * known["reg"] * _squares([*known["weights"], *known["biases"]])


@_rule("the norms aren't squared.")
def norms_not_squared(got, expected, known):
    return known["data"] + known["reg"] * sum(np.sqrt(_squares([weight])) for weight in known["weights"])


@_rule("the absolute values of the weights are summed (L1); their squares are asked.")
def absolute_weights(got, expected, known):
    return known["data"] + known["reg"] * sum(np.abs(weight).sum() for weight in known["weights"])


@_rule("reg is ignored: the weights' squares are added without it.")
def regularisation_without_strength(got, expected, known):
    return known["data"] + _squares(known["weights"]) if known["reg"] != 1 else None


@_rule("the mean of the squared weights is taken; their sum is asked.")
def mean_of_squares(got, expected, known):
    return known["data"] + known["reg"] * sum(np.mean(np.square(weight)) for weight in known["weights"])


@_rule("the cross-entropy is summed over the samples; it is their mean: divide by N.")
def loss_summed(got, expected, known):
    return known["N"] * np.asarray(known["data"]) + (expected - known["data"])


@_rule("the cross-entropy is divided by N twice.")
def loss_averaged_twice(got, expected, known):
    return np.asarray(known["data"]) / known["N"] + (expected - known["data"])


@_rule("the sign of the cross-entropy is wrong: it is the mean of -log p.")
def loss_sign(got, expected, known):
    return -np.asarray(known["data"]) + (expected - known["data"])


@_rule("the logarithm has base 2; the natural one is asked.")
def logarithm_base_2(got, expected, known):
    return np.asarray(known["data"]) / np.log(2.0) + (expected - known["data"])


@_rule("the logarithm has base 10; the natural one is asked.")
def logarithm_base_10(got, expected, known):
    return np.asarray(known["data"]) / np.log(10.0) + (expected - known["data"])


# --- The backward pass ----------------------------------------------------------------


@_rule("the regularisation is missing: add 2 * reg * {symbol}.")
def gradient_without_regularisation(got, expected, known):
    return expected - 2 * known["reg"] * known["weight"] if known["reg"] else None


@_rule("the regularisation lacks its factor 2: the derivative of reg * ||{symbol}||^2 is 2 * reg * {symbol}.")
def gradient_regularisation_halved(got, expected, known):
    return expected - known["reg"] * known["weight"] if known["reg"] else None


@_rule("the regularisation is added twice.")
def gradient_regularisation_twice(got, expected, known):
    return expected + 2 * known["reg"] * known["weight"] if known["reg"] else None


@_rule("the regularisation is subtracted.")
def gradient_regularisation_subtracted(got, expected, known):
    return expected - 4 * known["reg"] * known["weight"] if known["reg"] else None


@_rule("the regularisation is divided by the number of samples; it isn't part of the mean.")
def gradient_regularisation_averaged(got, expected, known):
    return expected + 2 * known["reg"] * (1 / known["N"] - 1) * known["weight"] if known["reg"] else None


@_rule("the biases aren't regularised, but this gradient is.")
def gradient_of_regularised_bias(got, expected, known):
    return expected + 2 * known["reg"] * known["bias"] if known["reg"] else None


@_rule("the biases aren't regularised, but this gradient is (and without the factor 2).")
def gradient_of_regularised_bias_halved(got, expected, known):
    return expected + known["reg"] * known["bias"] if known["reg"] else None


@_rule("the regularisation is there, but not with the value of reg that the function was given (here {reg}).")
def hard_coded_regularisation(got, expected, known):
    factor = _fitted(got, expected, known["weight"])
    return None if factor is None else expected + factor * np.asarray(known["weight"])


@_rule("1 isn't subtracted at the true class: the gradient is (a3 - Delta) / N.")
def delta_missing(got, expected, known):
    return expected + np.asarray(known["onehot"]) / known["N"]


@_rule("1 is subtracted after the division by N: the whole difference a3 - Delta is divided.")
def delta_not_averaged(got, expected, known):
    return expected + np.asarray(known["onehot"]) * (1 / known["N"] - 1)


@_rule("1 is added at the true class; it must be subtracted.")
def delta_added(got, expected, known):
    return expected + 2 * np.asarray(known["onehot"]) / known["N"]


@_rule("the ReLU's derivative is missing: where z2 is negative, nothing flows back.")
def relu_mask_missing(got, expected, known):
    return known["upstream"]


@_rule("the mask of the ReLU is the wrong way round: the gradient passes where z2 is positive.")
def relu_mask_inverted(got, expected, known):
    return np.asarray(known["upstream"]) - expected


@_rule("the upstream gradient is missing: this is the ReLU's derivative alone.")
def relu_derivative_alone(got, expected, known):
    return (np.asarray(known["before"]) > 0) * 1.0 if known["quantity"] == "dJ/dz2" else None


@_rule("the upstream gradient is multiplied by z2's positive part; the ReLU's derivative is 0 or 1.")
def relu_in_place_of_its_derivative(got, expected, known):
    if known["quantity"] != "dJ/dz2":
        return None
    return np.asarray(known["upstream"]) * np.maximum(known["before"], 0.0)


# --- Anything -------------------------------------------------------------------------


@_rule("this is the transpose of what is expected.")
def transposed(got, expected, known):
    return expected.T if expected.ndim == 2 else None


@_rule("the sign is wrong: every value is the negative of the expected one.")
def sign(got, expected, known):
    return -expected


@_rule("the values are {N} times too large, {N} being the number of samples: the division by N is missing.")
def division_by_samples_missing(got, expected, known):
    return known["N"] * expected if known["N"] > 1 else None


@_rule("the values are {N} times too small, {N} being the number of samples: the division by N happens twice.")
def divided_by_samples_twice(got, expected, known):
    return expected / known["N"] if known["N"] > 1 else None


@_rule("every value is exactly twice the expected one.")
def doubled(got, expected, known):
    return 2.0 * expected if expected.size > 1 else None


@_rule("every value is exactly half the expected one.")
def halved(got, expected, known):
    return 0.5 * expected if expected.size > 1 else None


@_rule("the sum over the samples is missing: there is still one row for each of the {N} samples.")
def sum_over_samples_missing(got, expected, known):
    if got.ndim != 2 or expected.shape != got.shape[1:] or got.shape[0] != known["N"]:
        return None
    return got if np.allclose(got.sum(axis=0), expected, rtol=1e-9, atol=1e-12) else None


@_rule("the sum is taken over the wrong axis: sum over the samples (axis 0).")
def sum_over_wrong_axis(got, expected, known):
    return np.asarray(known["upstream_rows"]).sum(axis=1)


@_rule("the values have been rounded to integers: an array of integers was used to store them.")
def cast_to_integers(got, expected, known):
    return np.trunc(expected) if expected.size > 1 and np.abs(expected).max() >= 1 else None


@_rule("the rows are right but in another order.")
def rows_in_another_order(got, expected, known):
    if expected.ndim != 2 or expected.shape != got.shape or len(expected) < 2:
        return None
    order = np.empty(len(expected), dtype=int)
    order[np.lexsort(got.T[::-1])] = np.lexsort(expected.T[::-1])
    return expected[order]


@_rule("every value is zero: the array was created but never filled.")
def all_zero(got, expected, known):
    return np.zeros_like(expected) if expected.size > 1 else None
