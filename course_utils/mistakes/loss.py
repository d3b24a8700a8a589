"""Notebook 1: what is often done wrong in the cross-entropy and in the regularised loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.mistakes.forward import OF_BIASES, RELU
from course_utils.mistakes.general import GENERAL, PRECISION, prepared, stage
from course_utils.mistakes.values import SMALL, cross_entropy, log_softmax, log_sum, of_true, softmax, squares

# --- The data term ------------------------------------------------------------------------


def _of_p(of: Callable[..., np.ndarray]) -> Callable:
    """The mean of a function of the true class's probability."""
    return lambda z, y: np.mean(of(of_true(softmax(z), y)))


def _of_each(of: Callable[[np.ndarray], Any]) -> Callable:
    """A function of the losses of the samples."""
    return lambda z, y: of(-of_true(log_softmax(z), y))


def _hinge(z: np.ndarray, y: np.ndarray) -> float:
    margins = np.maximum(0.0, z - of_true(z, y)[:, None] + 1.0)
    return (margins.sum() - len(z)) / len(z)


def _errors(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return softmax(z) - np.eye(z.shape[1])[y]


def _binary(z: np.ndarray, y: np.ndarray) -> float:
    return -np.mean(np.log(np.abs(1 - np.eye(z.shape[1])[y] - softmax(z))).sum(axis=1))


_of_data = stage("softmax_cross_entropy")
#: What logits may be taken less, where that changes a mistake: nothing, or the largest of their row.
_SHIFTS: tuple[Callable[[np.ndarray], Any], ...] = (lambda z: 0.0, lambda z: z.max(axis=1, keepdims=True))
#: What log sum exp(z - max(z)) is.
_OF_LARGEST = (
    "the largest probability of each row is taken, as by log sum exp(z - max(z)) alone; the one of the true class is"
    " asked."
)
#: Of the logits as they are, or shifted: name, function, sentence.
_OF_LOGITS: tuple[tuple[str, Callable, str], ...] = (
    ("log_sum_subtracted", lambda z, y: -np.mean(of_true(z, y) + log_sum(z)[:, 0]),
     "log sum exp(z) is subtracted; it is to be added, and z_y subtracted."),
    ("true_logit_missing", lambda z, y: np.mean(log_sum(z)),
     "the logits' own values are missing: log sum exp(z) alone isn't the cross-entropy, z_y is to be subtracted."),
    ("true_logit_added", lambda z, y: np.mean(log_sum(z)[:, 0] + of_true(z, y)),
     "the logit of the true class is added to log sum exp(z); it is to be subtracted."),
    ("log_sum_missing", lambda z, y: -np.mean(of_true(z, y)),
     "only the logit of the true class is there: log sum exp(z) is to be added."),
    ("logarithm_of_the_sum_missing", lambda z, y: np.mean(np.exp(z).sum(axis=1) - of_true(z, y)),
     "the logarithm of the sum of exponentials is missing."),
)  # fmt: skip
_GUESSED = "the number of classes is guessed from the labels (as y.max() + 1, say); it is that of the columns of z3."
_SQUARED = "this is a sum of squared differences between probabilities and Delta; the cross-entropy is asked."
DATA = (
    _of_data("loss_per_sample", _of_each(lambda losses: losses),
        "this is one value for each sample; the loss is their mean."),
    _of_data("classes_balanced", lambda z, y: np.average(-of_true(log_softmax(z), y), weights=1 / np.bincount(y)[y]),
        "the samples are weighted by how rare their class is; each counts alike."),
    _of_data("true_class_twice", lambda z, y: np.mean(np.logaddexp(0.0, log_sum(z)[:, 0] - of_true(z, y))),
        "the true class's exponential is counted twice: the sum over all classes holds it already."),
    *(
        _of_data(name, lambda z, y, of=of, shift=shift: of(z - shift(z), y), text,
                 common=_OF_LARGEST if name == "true_logit_missing" else "")
        for name, of, text in _OF_LOGITS
        for shift in _SHIFTS
    ),
    _of_data("loss_median", _of_each(np.median), "this is the median of the samples' losses; their mean is asked."),
    _of_data("loss_largest", _of_each(np.max), "this is the largest of the samples' losses; their mean is asked."),
    _of_data("logarithm_of_1_plus", _of_p(lambda p: -np.log1p(p)),
        "this is the logarithm of 1 + p; that of p is asked."),
    _of_data("logarithm_missing", _of_p(lambda p: -p),
        "the logarithm is missing: this is minus the mean probability of the true class."),
    _of_data("probability_for_loss", _of_p(lambda p: p),
        "this is the mean probability of the true class; the mean of its -log is asked."),
    _of_data("one_minus_probability", _of_p(lambda p: 1 - p), "the logarithm is missing: this is the mean of 1 - p."),
    _of_data("mean_before_logarithm", lambda z, y: -np.log(np.mean(of_true(softmax(z), y))),
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
    _of_data("every_class_counted", lambda z, y: -log_softmax(z).sum() / len(z),
        "the logarithms of all classes are summed; only the true class of each sample counts."),
    _of_data("every_class_averaged", lambda z, y: -log_softmax(z).mean(),
        "the logarithms of all classes are averaged; only the true class of each sample counts."),
    _of_data("entropy_for_cross_entropy", lambda z, y: -(softmax(z) * log_softmax(z)).sum() / len(z),
        "this is the entropy of the probabilities, which doesn't know the true classes; it is -log p of the true"
        " class that is asked."),
    _of_data("all_rows_with_all_labels", lambda z, y: -log_softmax(z)[:, y].mean(),
        "z[:, y] holds every row with every label: each row is to be taken with its own label alone, z[np.arange(N),"
        " y]."),
    *(
        _of_data(f"{which}_of_all_labels", lambda z, y, of=of: -(of(z, y) * log_softmax(z)).sum() / len(z),
            f"the label of one sample marks a whole {text}: in row i of Delta there is a single 1, in column y_i.")
        for which, text, of in (
            ("rows", "row", lambda z, y: np.isin(np.arange(len(z)), y)[:, None]),
            ("counted_rows", "row", lambda z, y: np.bincount(y, minlength=len(z))[: len(z), None]),
            ("columns", "column", lambda z, y: np.isin(np.arange(z.shape[1]), y)),
        )
    ),
    _of_data("largest_class_taken", lambda z, y: -log_softmax(z).max(axis=1).mean(),
        "the largest probability of each row is taken; the one of the true class is asked.", common=_OF_LARGEST),
    _of_data("loss_of_probabilities", lambda z, y: cross_entropy(softmax(z), y),
        "the softmax is applied twice: give the cross-entropy the logits z3, not the probabilities a3."),
    _of_data("loss_over_columns", lambda z, y: -np.mean(of_true(log_softmax(z, axis=0), y)),
        "the softmax inside the loss is taken over the wrong axis: each row of probabilities should sum to 1."),
    _of_data("loss_over_everything", lambda z, y: np.mean(log_sum(z, None) - of_true(z, y)),
        "the sum of exponentials is taken over all entries; each row has a sum of its own."),
    _of_data("loss_over_everything_of_shifted_rows",
        lambda z, y: np.mean(log_sum(z - z.max(1, keepdims=True), None) - of_true(z - z.max(1, keepdims=True), y)),
        "the sum of exponentials is taken over all entries; each row has a sum of its own."),
    _of_data("largest_logit_not_added",
        lambda z, y: np.mean(log_sum(z - z.max(1, keepdims=True))[:, 0] - of_true(z, y)),
        "the largest logit is subtracted before the exponentials are taken, but not from z_y: subtract it there too,"
        " or add it to the logarithm."),
    _of_data("shifted_true_logit_alone",
        lambda z, y: np.mean(log_sum(z)[:, 0] - of_true(z - z.max(1, keepdims=True), y)),
        "the largest logit is subtracted from z_y, but not from log sum exp(z): take both of shifted logits, or both of"
        " the given ones."),
    _of_data("loss_of_shifted_labels", lambda z, y: cross_entropy(z, np.asarray(y) - 1),
        "the labels are shifted by one: class 0 is the first column."),
    _of_data("first_sample_only", _of_each(lambda losses: losses[0]),
        "only the first sample counts; the loss is the mean over all of them."),
    _of_data("last_sample_only", _of_each(lambda losses: losses[-1]),
        "only the last sample counts; the loss is the mean over all of them."),
    _of_data("first_class_only", lambda z, y: -log_softmax(z)[:, 0].mean(),
        "the first class is taken in every row; the true one is asked."),
    _of_data("last_class_only", lambda z, y: -log_softmax(z)[:, -1].mean(),
        "the last class is taken in every row; the true one is asked."),
    _of_data("classes_guessed_from_the_labels",
        lambda z, y: np.mean(log_sum(z)[:, 0] - (z * np.eye(np.max(y) + 1)[y]).sum(axis=1)),
        _GUESSED),
    _of_data("classes_guessed_from_the_labels",
        lambda z, y: -np.mean((np.eye(np.max(y) + 1)[y] * log_softmax(z)).sum(axis=1)), _GUESSED),
    _of_data("loss_of_reversed_labels", lambda z, y: cross_entropy(z, np.asarray(y)[::-1]),
        "the rows and their labels don't belong together: one of the two is reversed."),
    *(
        _of_data(
            f"logarithm_guarded_by_{small:g}", _of_p(lambda p, small=small: -np.log(p + small)),
            f"{small:g} is added to the probability before the logarithm is taken.",
        )
        for small in SMALL
    ),
    *(
        _of_data(
            f"logarithm_limited_at_{small:g}", _of_p(lambda p, small=small: -np.log(np.maximum(p, small))),
            f"the probability is limited to at least {small:g} before the logarithm is taken.",
        )
        for small in SMALL
    ),
    _of_data("labels_smoothed",
        lambda share, z, y: -np.mean((1 - share) * of_true(log_softmax(z), y) + share * log_softmax(z).mean(axis=1)),
        "a share of {factor} of each label is spread over all classes (label smoothing); the true class alone counts.",
        fitted=True),
    _of_data("data_loss_missing", lambda z, y: 0.0, "the cross-entropy is missing: this is the regularisation alone."),
)  # fmt: skip
_of_average = stage("averaging")
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
CROSS_ENTROPY = (*DATA, *AVERAGING, *prepared("z3"), *PRECISION)

# --- The regularisation -------------------------------------------------------------------


def _scaled(factor: Callable[[float, int], float]) -> Callable:
    return lambda reg, weights, N: factor(reg, N) * squares(weights)


def _summed(of: Callable[..., Any]) -> Callable:
    return lambda reg, weights, N: reg * sum(float(of(np.asarray(W, dtype=np.float64))) for W in weights)


_of_regularised = stage("regularised")
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
_of_penalty = stage("penalty")
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
    _of_penalty("strength_added", lambda reg, weights, N: reg + squares(weights),
        "reg is added to the squares; multiply them by it."),
    _of_penalty("W2_without_strength",
        lambda reg, weights, N: reg * squares(weights[:1]) + squares(weights[1:]),
        "reg is multiplied with the squares of W1 alone: put their sum in parentheses."),
    _of_penalty("norms_not_squared", _summed(np.linalg.norm), "the norms aren't squared."),
    _of_penalty("norm_of_all_not_squared", lambda reg, weights, N: reg * np.sqrt(squares(weights)),
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
    _of_penalty("product_of_norms", lambda reg, weights, N: reg * squares(weights[:1]) * squares(weights[1:]),
        "the two sums of squares are multiplied; add them."),
    _of_penalty("squares_of_the_product", lambda reg, weights, N: reg * squares([weights[0] @ weights[1]]),
        "the squares of the product W1 W2 are summed; those of W1 and of W2 are asked."),
    _of_penalty("fixed_strength", lambda factor, reg, weights, N: factor * squares(weights),
        _STRENGTH + ": a fixed strength, {factor}.", fitted=True),
    _of_penalty("strength_scaled", lambda factor, reg, weights, N: factor * reg * squares(weights),
        _STRENGTH + ": {factor} times that.", fitted=True),
    _of_penalty("default_for_no_strength", lambda factor, reg, weights, N: (reg or factor) * squares(weights),
        _STRENGTH + ": where reg is 0, a fixed strength, {factor}, is used.", fitted=True),
)  # fmt: skip
#: ``loss(params, X, y, reg)``; what the layers do wrong shows in it too, where it computes them anew.
LOSS = (*DATA, *AVERAGING, *REGULARISED, *PENALTY, *OF_BIASES, *RELU[:1], *prepared("X"), *GENERAL)

#: Constants that students add to a probability to keep its logarithm finite. They spoil the
#: loss in its last digits only, and whether the loss is stable is a question of its own.
LOGARITHM_GUARDS = (*(10.0**-k for k in range(6, 21)), *(float(np.finfo(t).eps) for t in (np.float32, np.float64)))


def guarded_losses(z3: np.ndarray, y: np.ndarray, largest: float) -> tuple[float, ...]:
    """The means of -log(p + guard), for the guards up to ``largest``."""
    p = of_true(softmax(z3), y)
    return tuple(float(-np.mean(np.log(p + guard))) for guard in LOGARITHM_GUARDS if guard <= largest)
