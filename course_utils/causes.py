"""Recognise a mistake from the wrong numbers that it produces.

A rule is a hypothesis: the values that one would get by making one particular mistake,
computed from the expected values, from named values of the problem (``known``) and, where
the mistake has a free factor, from the values that the student got. A rule fires only when
its hypothesis reproduces what the student got to round-off, and differs clearly from the
expected values: a wrong guess is worse than none.

Names that a check may put into ``known`` (all optional; a rule whose names are missing
stays silent):

=================  ===============  ====================================================
``quantity``       str              name of the value compared
``N``              int              number of samples
``reg``            float            strength of the regularisation
``weight``         (m, n) array     the matrix whose gradient is compared
``symbol``         str              its name
``bias``           (n,) array       the bias that the value contains, or whose gradient it is
``weights``        list of arrays   every regularised matrix (for a loss)
``biases``         list of arrays   the biases, which aren't regularised (for a loss)
``before``         (N, n) array     input of the function that gives the value
``upstream``       (N, n) array     gradient that arrives at an elementwise function
``upstream_rows``  (N, n) array     the rows whose sum is expected
``without_mask``   array            the gradient without the step through the ReLU
``data``           float            the loss without regularisation
``logits``         (N, K) array     the logits of which the loss is taken
``labels``         (N,) int array   their true classes
``onehot``         (N, K) array     the matrix Delta of the true classes
``a``, ``b``       arrays           what is compared (for a relative error)
``h``              float            step of a difference quotient; with it go
                                    ``forward_difference``, ``backward_difference`` and
                                    ``default_step``, the quotients of other formulas, and
                                    ``exact``, the derivative
=================  ===============  ====================================================
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

Hypothesis = Callable[[np.ndarray, np.ndarray, Mapping[str, Any]], "np.ndarray | float | None"]


class Rule(NamedTuple):
    """One recognisable mistake.

    Attributes
    ----------
    name : str
    sentence : str
        What the student reads; ``{N}``, ``{reg}`` and the like are filled in from ``known``.
    values : callable
        ``values(got, expected, known)`` is what the mistake would give, or None where it
        doesn't apply.
    exact : bool
        Whether the hypothesis must equal what the student got in every bit, however small
        its distance to the expected values (for rounded results).
    """

    name: str
    sentence: str
    values: Hypothesis
    exact: bool = False


#: Every rule, in the order in which they are tried: the specific before the general.
RULES: list[Rule] = []


def _rule(sentence: str, *, exact: bool = False) -> Callable[[Hypothesis], Hypothesis]:
    def register(values: Hypothesis) -> Hypothesis:
        RULES.append(Rule(values.__name__, sentence, values, exact))
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
    return rule.sentence.format_map(_Readable({"symbol": "W", **known})) if rule else None


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
            except (KeyError, ValueError, IndexError):  # a name isn't known here, or shapes don't conform
                continue
        if hypothesis is None:
            continue
        if rule.exact and np.array_equal(hypothesis, got) and not np.array_equal(got, expected):
            return rule
        if not rule.exact and _explains(np.asarray(hypothesis), got, expected, tolerance):
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


def _is_relu(known: Mapping[str, Any]) -> bool:
    return known["quantity"] in ("a2", "relu(z)")


def _is_affine(known: Mapping[str, Any]) -> bool:
    return known["quantity"] in ("z2", "z3")


def _is_softmax(known: Mapping[str, Any]) -> bool:
    return known["quantity"] in ("a3", "softmax(z)", "scores(model, X)")


@_rule("the bias is missing: add it to every row of the product.")
def bias_missing(got, expected, known):
    return expected - known["bias"] if _is_affine(known) else None


@_rule("the bias is added twice.")
def bias_added_twice(got, expected, known):
    return expected + known["bias"] if _is_affine(known) else None


@_rule("the bias is subtracted where it should be added.")
def bias_subtracted(got, expected, known):
    return expected - 2 * np.asarray(known["bias"]) if _is_affine(known) else None


@_rule("the ReLU is applied to z3 as well; the logits of the last layer stay as they are.")
def relu_on_logits(got, expected, known):
    return np.maximum(expected, 0.0) if known["quantity"] == "z3" else None


@_rule("z2 holds the values after the ReLU: keep z2 and a2 apart.")
def overwritten_by_relu(got, expected, known):
    return np.maximum(expected, 0.0) if known["quantity"] == "z2" else None


@_rule("z3 holds the probabilities: keep both, z3 before and a3 after the softmax.")
def overwritten_by_softmax(got, expected, known):
    return softmax_of_rows(expected) if known["quantity"] == "z3" else None


@_rule("z3 has lost the largest logit of each row: subtract it from a copy, for the softmax alone.")
def shifted_in_place(got, expected, known):
    return expected - expected.max(axis=1, keepdims=True) if known["quantity"] == "z3" else None


@_rule("the ReLU isn't applied: negative values are still there.")
def relu_missing(got, expected, known):
    return known["before"] if _is_relu(known) else None


@_rule("this is the absolute value; the ReLU sets negative values to zero.")
def absolute_value(got, expected, known):
    return np.abs(known["before"]) if _is_relu(known) else None


@_rule("this is a step function (0 or 1); the ReLU keeps the positive values themselves.")
def relu_step(got, expected, known):
    return (np.asarray(known["before"]) > 0) * 1.0 if _is_relu(known) else None


@_rule("the negative values are kept and the positive ones set to zero: the comparison is the wrong way round.")
def relu_of_the_wrong_sign(got, expected, known):
    return np.minimum(known["before"], 0.0) if _is_relu(known) else None


@_rule("negative values aren't set to zero but scaled: this is a leaky ReLU.")
def leaky_relu(got, expected, known):
    if not _is_relu(known):
        return None
    negative = np.minimum(known["before"], 0.0)
    slope = _fitted(got, expected, negative)
    return None if slope is None else expected + slope * negative


@_rule("values above 1 are cut off; the ReLU has no upper limit.")
def relu_cut_off_at_1(got, expected, known):
    return np.minimum(expected, 1.0) if _is_relu(known) else None


@_rule("values above 6 are cut off; the ReLU has no upper limit.")
def relu_cut_off_at_6(got, expected, known):
    return np.minimum(expected, 6.0) if _is_relu(known) else None


@_rule("this is the sigmoid function; the ReLU is asked.")
def sigmoid_for_relu(got, expected, known):
    return 1 / (1 + np.exp(-np.asarray(known["before"], dtype=np.float64))) if _is_relu(known) else None


@_rule("this is the hyperbolic tangent; the ReLU is asked.")
def tanh_for_relu(got, expected, known):
    return np.tanh(known["before"]) if _is_relu(known) else None


@_rule("this is the softplus function log(1 + exp(z)); the ReLU is asked.")
def softplus_for_relu(got, expected, known):
    return np.logaddexp(0.0, known["before"]) if _is_relu(known) else None


@_rule("the softmax is taken over the wrong axis: the columns sum to 1, but each row should.")
def softmax_over_columns(got, expected, known):
    exponentials = _exponentials(known)
    return exponentials / exponentials.sum(axis=0, keepdims=True)


@_rule("the softmax is normalised by the sum over all entries; each row should sum to 1 by itself.")
def softmax_over_everything(got, expected, known):
    exponentials = _exponentials(known)
    return exponentials / exponentials.sum()


@_rule("the softmax is applied twice.")
def softmax_twice(got, expected, known):
    return softmax_of_rows(expected) if _is_softmax(known) else None


@_rule("the exponentials aren't divided by the sum of their row.")
def softmax_not_normalised(got, expected, known):
    exponentials = _exponentials(known)
    before = np.asarray(known["before"], dtype=np.float64)
    # Whatever was subtracted from the logits first: nothing, or the largest one.
    for largest in (0.0, before.max(axis=1, keepdims=True), before.max()):
        candidate = np.exp(before - largest)
        if candidate.shape == got.shape and np.allclose(candidate, got, rtol=1e-9, atol=0.0):
            return candidate
    return exponentials


@_rule("the logits are divided by the sum of their row without taking exponentials first.")
def softmax_without_exponential(got, expected, known):
    before = np.asarray(known["before"], dtype=np.float64)
    return before / before.sum(axis=1, keepdims=True) if _is_softmax(known) else None


@_rule("the exponentials are those of -z: the sign of the logits is wrong.")
def softmax_of_the_wrong_sign(got, expected, known):
    return softmax_of_rows(-np.asarray(known["before"], dtype=np.float64)) if _is_softmax(known) else None


@_rule("the powers have base 2; the exponential function has base e.")
def softmax_base_2(got, expected, known):
    return softmax_of_rows(np.log(2.0) * np.asarray(known["before"])) if _is_softmax(known) else None


@_rule("this is the sigmoid of each logit; in a softmax every row sums to 1.")
def sigmoid_for_softmax(got, expected, known):
    return 1 / (1 + np.exp(-np.asarray(known["before"], dtype=np.float64))) if _is_softmax(known) else None


@_rule("these are the logarithms of the probabilities.")
def log_probabilities(got, expected, known):
    return np.log(expected) if _is_softmax(known) else None


@_rule("this is 1 at each row's largest logit and 0 elsewhere; the softmax gives probabilities.")
def softmax_as_largest(got, expected, known):
    if not _is_softmax(known) or expected.ndim != 2:
        return None
    return (expected == expected.max(axis=1, keepdims=True)) * 1.0


@_rule("these are the logits; the softmax isn't applied.")
def softmax_missing(got, expected, known):
    return known["before"] if _is_softmax(known) else None


def _exponentials(known: Mapping[str, Any]) -> np.ndarray:
    if not _is_softmax(known):
        raise KeyError("before")
    before = np.asarray(known["before"], dtype=np.float64)
    return np.exp(before - before.max())


def softmax_of_rows(logits: np.ndarray) -> np.ndarray:
    """The softmax as its formula reads, for the moderate logits on which mistakes are recognised; (N, K) -> (N, K)."""
    exponentials = np.exp(logits)
    return exponentials / exponentials.sum(axis=1, keepdims=True)


# --- The loss: its data term ----------------------------------------------------------


@_rule("this is one value for each sample; the loss is their mean.")
def loss_per_sample(got, expected, known):
    own = -_log_probabilities(known)[np.arange(known["N"]), known["labels"]]
    return own + (expected - known["data"]) if expected.ndim == 0 else None


@_rule("the cross-entropy is summed over the samples; it is their mean: divide by N.")
def loss_summed(got, expected, known):
    return _with_data(expected, known, known["N"] * known["data"])


@_rule("the cross-entropy is divided by N twice.")
def loss_averaged_twice(got, expected, known):
    return _with_data(expected, known, known["data"] / known["N"])


@_rule("the cross-entropy is divided by N * K, the number of all entries; divide by the number of samples.")
def loss_averaged_over_entries(got, expected, known):
    return _with_data(expected, known, known["data"] / np.shape(known["logits"])[1])


@_rule("the sign of the cross-entropy is wrong: it is the mean of -log p.")
def loss_sign(got, expected, known):
    return _with_data(expected, known, -known["data"])


@_rule("the cross-entropy has a factor 1/2, which doesn't belong there.")
def loss_halved(got, expected, known):
    return _with_data(expected, known, known["data"] / 2)


@_rule("the logarithm has base 2; the natural one is asked.")
def logarithm_base_2(got, expected, known):
    return _with_data(expected, known, known["data"] / np.log(2.0))


@_rule("the logarithm has base 10; the natural one is asked.")
def logarithm_base_10(got, expected, known):
    return _with_data(expected, known, known["data"] / np.log(10.0))


@_rule("the logarithm is missing: this is minus the mean probability of the true class.")
def logarithm_missing(got, expected, known):
    return _with_data(expected, known, -np.mean(_of_true_class(np.exp(_log_probabilities(known)), known)))


@_rule("the logarithm is missing: this is the mean of 1 - p.")
def one_minus_probability(got, expected, known):
    return _with_data(expected, known, np.mean(1 - _of_true_class(np.exp(_log_probabilities(known)), known)))


@_rule("this is the hinge loss (max(0, z_k - z_y + 1) summed); the cross-entropy is asked.")
def hinge_loss(got, expected, known):
    logits = np.asarray(known["logits"], dtype=np.float64)
    margins = np.maximum(0.0, logits - _of_true_class(logits, known)[:, None] + 1.0)
    return _with_data(expected, known, (margins.sum() - len(logits)) / len(logits))


@_rule("this is a sum of squared differences between probabilities and Delta; the cross-entropy is asked.")
def squared_error(got, expected, known):
    probabilities = np.exp(_log_probabilities(known))
    squares = np.square(probabilities - np.eye(probabilities.shape[1])[known["labels"]]).sum()
    # As a sum, a mean over samples or over entries, and with or without 1/2.
    for divisor in (1, len(probabilities), probabilities.size, 2, 2 * len(probabilities), 2 * probabilities.size):
        candidate = _with_data(expected, known, squares / divisor)
        if got.shape == candidate.shape and np.isclose(candidate, got, rtol=1e-9, atol=0.0):
            return candidate
    return None


@_rule("the logarithms of all classes are summed; only the true class of each sample counts.")
def every_class_counted(got, expected, known):
    return _with_data(expected, known, -_log_probabilities(known).sum() / known["N"])


@_rule("the largest probability of each row is taken; the one of the true class is asked.")
def largest_class_taken(got, expected, known):
    return _with_data(expected, known, -_log_probabilities(known).max(axis=1).mean())


@_rule("the softmax is applied twice: give the cross-entropy the logits z3, not the probabilities a3.")
def loss_of_probabilities(got, expected, known):
    twice = softmax_of_rows(np.exp(_log_probabilities(known)))
    return _with_data(expected, known, -np.log(_of_true_class(twice, known)).mean())


@_rule("the softmax inside the loss is taken over the wrong axis: each row of probabilities should sum to 1.")
def loss_over_columns(got, expected, known):
    columns = np.log(softmax_of_rows(np.asarray(known["logits"], dtype=np.float64).T)).T
    return _with_data(expected, known, -_of_true_class(columns, known).mean())


@_rule("the logits' own values are missing: log sum exp(z) alone isn't the cross-entropy, z_y is to be subtracted.")
def true_logit_missing(got, expected, known):
    logits = np.asarray(known["logits"], dtype=np.float64)
    return _with_data(expected, known, known["data"] + _of_true_class(logits, known).mean())


@_rule("only the logit of the true class is there: log sum exp(z) is to be added.")
def log_sum_missing(got, expected, known):
    logits = np.asarray(known["logits"], dtype=np.float64)
    return _with_data(expected, known, -_of_true_class(logits, known).mean())


@_rule("only the first sample counts; the loss is the mean over all of them.")
def first_sample_only(got, expected, known):
    return _with_data(expected, known, -_of_true_class(_log_probabilities(known), known)[0])


def _with_data(expected: np.ndarray, known: Mapping[str, Any], data: Any) -> np.ndarray:
    """The loss whose data term is ``data`` instead, the regularisation being right."""
    return np.asarray(data + (expected - known["data"]))


def _of_true_class(values: np.ndarray, known: Mapping[str, Any]) -> np.ndarray:
    return values[np.arange(len(values)), known["labels"]]


def _log_probabilities(known: Mapping[str, Any]) -> np.ndarray:
    return np.log(softmax_of_rows(np.asarray(known["logits"], dtype=np.float64)))


# --- The loss: its regularisation -----------------------------------------------------


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


@_rule("the regularisation is divided by 2 N; it isn't part of the mean, and has no factor 1/2.")
def regularisation_averaged_and_halved(got, expected, known):
    return known["data"] + (expected - known["data"]) / (2 * known["N"]) if known["reg"] else None


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


@_rule("the weights are summed without being squared.")
def weights_not_squared(got, expected, known):
    return known["data"] + known["reg"] * sum(np.sum(weight) for weight in known["weights"])


@_rule("the sum of the weights is squared; each weight is squared before the sum.")
def square_of_sum(got, expected, known):
    return known["data"] + known["reg"] * sum(np.square(np.sum(weight)) for weight in known["weights"])


@_rule("reg itself is squared.")
def strength_squared(got, expected, known):
    return known["data"] + known["reg"] * (expected - known["data"]) if known["reg"] not in (0, 1) else None


@_rule("reg is ignored: the weights' squares are added without it.")
def regularisation_without_strength(got, expected, known):
    return known["data"] + _squares(known["weights"]) if known["reg"] != 1 else None


@_rule("the mean of the squared weights is taken; their sum is asked.")
def mean_of_squares(got, expected, known):
    return known["data"] + known["reg"] * sum(np.mean(np.square(weight)) for weight in known["weights"])


@_rule("the cross-entropy is missing: this is the regularisation alone.")
def data_loss_missing(got, expected, known):
    return expected - known["data"] if known["reg"] else None


@_rule("the regularisation has another strength than reg, which is {reg} here: a fixed strength, or reg with a factor.")
def hard_coded_strength(got, expected, known):
    if got.ndim:
        return None
    squares = _squares(known["weights"])
    # Nobody writes a strength with more than two digits; any got would be explained by some number.
    return known["data"] + float(f"{(got - known['data']) / squares:.1e}") * squares


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
    return expected + 2 * known["reg"] * known["bias"] if known["reg"] and not _is_affine(known) else None


@_rule("the biases aren't regularised, but this gradient is (and without the factor 2).")
def gradient_of_regularised_bias_halved(got, expected, known):
    return expected + known["reg"] * known["bias"] if known["reg"] and not _is_affine(known) else None


@_rule("the derivative of {symbol}^2 is 2 * {symbol}: the regularisation's gradient holds the squares.")
def gradient_of_squares_not_derived(got, expected, known):
    step = np.square(known["weight"]) - 2 * known["weight"]
    return expected + known["reg"] * step if known["reg"] else None


@_rule("the regularisation has another factor than 2 * reg (here reg = {reg}).")
def hard_coded_regularisation(got, expected, known):
    factor = _fitted(got, expected, known["weight"])
    return None if factor is None else expected + factor * np.asarray(known["weight"])


@_rule("1 isn't subtracted at the true class: the gradient is (a3 - Delta) / N.")
def delta_missing(got, expected, known):
    return expected + np.asarray(known["onehot"]) / known["N"]


@_rule("1 isn't subtracted at the true class, and the division by N is missing: the gradient is (a3 - Delta) / N.")
def delta_missing_and_not_averaged(got, expected, known):
    return known["N"] * expected + np.asarray(known["onehot"]) if known["N"] > 1 else None


@_rule("1 is subtracted after the division by N: the whole difference a3 - Delta is divided.")
def delta_not_averaged(got, expected, known):
    return expected + np.asarray(known["onehot"]) * (1 / known["N"] - 1)


@_rule("1 is added at the true class; it must be subtracted.")
def delta_added(got, expected, known):
    return expected + 2 * np.asarray(known["onehot"]) / known["N"]


@_rule("1 is subtracted from every entry; it is only at the true class.")
def one_subtracted_everywhere(got, expected, known):
    return expected + (np.asarray(known["onehot"]) - 1) / known["N"]


@_rule("the label itself is subtracted; Delta is 1 at the true class and 0 elsewhere.")
def label_subtracted(got, expected, known):
    onehot = np.asarray(known["onehot"])
    return expected + (onehot - onehot.argmax(axis=1)[:, None]) / known["N"]


@_rule("the gradient is divided by N * K, the number of all entries; divide by the number of samples.")
def averaged_over_entries(got, expected, known):
    return expected / np.shape(known["onehot"])[1] if known["N"] > 1 else None


@_rule("the ReLU's derivative is missing: where z2 is negative, nothing flows back.")
def relu_mask_missing(got, expected, known):
    return known["upstream"]


@_rule("where z2 is negative, the gradient still flows back: between a2 and z2 use grad_z2, with z2 itself, not a2.")
def backward_without_mask(got, expected, known):
    return known["without_mask"]


@_rule("the mask of the ReLU is the wrong way round: the gradient passes where z2 is positive.")
def relu_mask_inverted(got, expected, known):
    return np.asarray(known["upstream"]) - expected


@_rule("the mask looks at the sign of the gradient that arrives; it is the sign of z2 that counts.")
def relu_mask_of_the_gradient(got, expected, known):
    return np.maximum(known["upstream"], 0.0)


@_rule("the upstream gradient is missing: this is the ReLU's derivative alone.")
def relu_derivative_alone(got, expected, known):
    return (np.asarray(known["before"]) > 0) * 1.0 if "upstream" in known else None


@_rule("the upstream gradient is multiplied by z2's positive part; the ReLU's derivative is 0 or 1.")
def relu_in_place_of_its_derivative(got, expected, known):
    return np.asarray(known["upstream"]) * np.maximum(known["before"], 0.0)


@_rule("the upstream gradient is multiplied by z2 itself; the ReLU's derivative is 0 or 1.")
def values_in_place_of_the_mask(got, expected, known):
    return np.asarray(known["upstream"]) * np.asarray(known["before"])


@_rule("the sum over the samples is missing: there is still one row for each of the {N} samples.")
def sum_over_samples_missing(got, expected, known):
    if got.ndim != 2 or expected.shape != got.shape[1:] or got.shape[0] != known["N"]:
        return None
    return got if np.allclose(got.sum(axis=0), expected, rtol=1e-9, atol=1e-12) else None


@_rule("the sum is taken over the wrong axis: sum over the samples (axis 0).")
def sum_over_wrong_axis(got, expected, known):
    return np.asarray(known["upstream_rows"]).sum(axis=1)


@_rule("the sum is taken over all entries; sum over the samples (axis 0) only.")
def sum_over_everything(got, expected, known):
    total = np.sum(known["upstream_rows"])
    if got.shape not in ((), expected.shape) or (not got.any() and expected.size > 1):  # rows may sum to zero
        return None
    return np.full(got.shape, total)


@_rule("the mean over the samples is taken, but the rows are divided by N already: sum them.")
def mean_in_place_of_sum(got, expected, known):
    return np.asarray(known["upstream_rows"]).mean(axis=0)


@_rule("this is the first row alone; all rows are summed.")
def first_row_only(got, expected, known):
    return np.asarray(known["upstream_rows"])[0]


# --- The gradient check ---------------------------------------------------------------


@_rule("this is the forward difference (f(x + h) - f(x)) / h; the central one is asked.")
def forward_difference(got, expected, known):
    return known["forward_difference"]


@_rule("this is the backward difference (f(x) - f(x - h)) / h; the central one is asked.")
def backward_difference(got, expected, known):
    return known["backward_difference"]


@_rule("the difference is divided by h, but x + h and x - h lie 2h apart.")
def difference_divided_by_h(got, expected, known):
    return 2.0 * expected if known["h"] else None


@_rule("the difference f(x + h) - f(x - h) isn't divided by 2h.")
def difference_not_divided(got, expected, known):
    return 2.0 * known["h"] * expected


@_rule("this is (f(x + h) - f(x)) / (2h): the second point is x - h, taken from the x of the beginning.")
def forward_difference_halved(got, expected, known):
    return 0.5 * known["forward_difference"]


@_rule("the error of order h^2 is missing: this is a formula of higher order; the central difference has two points.")
def higher_order(got, expected, known):
    return known["exact"] if known["h"] else None


@_rule("h isn't used: the values are those of a fixed small step.")
def step_ignored(got, expected, known):
    if np.allclose(expected, known["default_step"], rtol=1e-6, atol=1e-7):  # the step asked for is as small
        return None
    # They carry the round-off of the small step, far more than is allowed at the given one.
    return got if np.allclose(got, known["default_step"], rtol=1e-6, atol=1e-7) else None


@_rule("this is the mean of the relative errors; their maximum is asked.")
def relative_error_averaged(got, expected, known):
    difference, total = _relative_parts(known)
    return np.mean(difference / np.maximum(1e-8, total))


@_rule("the absolute value of the difference is missing.")
def relative_error_signed(got, expected, known):
    difference = np.subtract(known["a"], known["b"])
    return np.max(difference / np.maximum(1e-8, _relative_parts(known)[1]))


@_rule("the largest difference is divided by the largest sum; the quotient is to be taken entry by entry.")
def relative_error_of_maxima(got, expected, known):
    difference, total = _relative_parts(known)
    return np.max(difference) / max(1e-8, np.max(total))


@_rule("this is the ratio of two norms; the largest ratio of two entries is asked.")
def relative_error_of_norms(got, expected, known):
    norms = np.linalg.norm(known["a"]) + np.linalg.norm(known["b"])
    return np.linalg.norm(_relative_parts(known)[0]) / max(1e-8, norms)


@_rule("the difference is divided by one of |a| and |b|, the larger perhaps; their sum is asked.")
def relative_error_by_the_larger(got, expected, known):
    larger = np.maximum(np.abs(known["a"]), np.abs(known["b"]))
    return np.max(_relative_parts(known)[0] / np.maximum(1e-8, larger))


@_rule("this is the absolute error; it isn't divided by |a| + |b|.")
def relative_error_not_relative(got, expected, known):
    return np.max(_relative_parts(known)[0])


@_rule("the lower limit of |a| + |b| is 1e-8; here it is 1.")
def relative_error_limited_by_1(got, expected, known):
    difference, total = _relative_parts(known)
    return np.max(difference / np.maximum(1.0, total))


def _relative_parts(known: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return np.abs(np.subtract(known["a"], known["b"])), np.abs(known["a"]) + np.abs(known["b"])


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


@_rule("every value is the square of the expected one.")
def squared(got, expected, known):
    return np.square(expected) if expected.size > 1 else None


@_rule("the values have lost their decimals: an array of integers was used to store them.")
def cast_to_integers(got, expected, known):
    return np.trunc(expected) if expected.size > 1 and np.abs(expected).max() >= 1 else None


@_rule("the values are right to the 3 digits of half precision (float16); keep float64.", exact=True)
def rounded_to_half_precision(got, expected, known):
    return got if _is_rounded(got, expected, np.float16) else None


@_rule("the values are right to the 7 digits of single precision (float32); keep float64.", exact=True)
def rounded_to_single_precision(got, expected, known):
    return got if _is_rounded(got, expected, np.float32) else None


@_rule("the values are rounded to a few decimals; return them as they are.", exact=True)
def rounded_to_decimals(got, expected, known):
    for decimals in range(1, 11):
        rounded = np.round(expected, decimals)
        if rounded.any() and np.array_equal(rounded, got):
            return rounded
    return None


@_rule("the rows are right but in another order.")
def rows_in_another_order(got, expected, known):
    if expected.ndim != 2 or expected.shape != got.shape or len(expected) < 2:
        return None
    order = np.empty(len(expected), dtype=int)
    order[np.lexsort(got.T[::-1])] = np.lexsort(expected.T[::-1])
    return expected[order]


@_rule("every value is zero.", exact=True)
def all_zero(got, expected, known):
    return np.zeros_like(expected) if expected.size > 1 else None


def _is_rounded(got: np.ndarray, expected: np.ndarray, dtype: type) -> bool:
    """Whether ``got`` is what a computation of lower precision may give for ``expected``."""
    if got.shape != expected.shape or not np.array_equal(got.astype(dtype), got):
        return False
    # A computation of some steps loses a few of the digits that its precision has.
    allowed = 100 * float(np.finfo(dtype).eps) * max(float(np.max(np.abs(expected), initial=0.0)), 1e-3)
    return bool(np.all(np.abs(got - expected) <= allowed)) and not np.array_equal(got, np.round(got))
