"""Each rule names its own mistake, and keeps silent on right values and on deviations by chance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

from course_utils.causes import RULES, find_rule, probable_cause
from course_utils.checks.gradient_check import DEFAULT_STEP, LARGE_STEP, TOY_FUNCTIONS
from course_utils.reference import problem

#: Round-off of the values compared here, all of which are of size 1 to 100.
TOLERANCE = 1e-12
PROBLEM = problem("biased")
N, REG = len(PROBLEM.X), PROBLEM.reg
ROWS, Y = np.arange(N), PROBLEM.y
W1, B1, W2, B2 = (PROBLEM.params[name] for name in ("W1", "b1", "W2", "b2"))
V = PROBLEM.values
DELTA = PROBLEM.onehot
Z = 3 * V["z2"]  # some entries are above 6
LOG_P = log_softmax(V["z3"], axis=1)
SQUARES = np.sum(W1**2) + np.sum(W2**2)
CUBIC = TOY_FUNCTIONS["cubic"]


class Quantity(NamedTuple):
    """A value that checks compare: what is expected, and what is known about it."""

    expected: Any
    known: Mapping[str, Any]


def _quotient(h: float) -> Quantity:
    return Quantity(
        CUBIC.central(W1, h),
        {
            "h": h,
            "forward_difference": CUBIC.forward(W1, h),
            "backward_difference": CUBIC.backward(W1, h),
            "default_step": CUBIC.central(W1, DEFAULT_STEP),
            "exact": CUBIC.central(W1, 0.0),
        },
    )


def _relative(a: np.ndarray, b: np.ndarray) -> Quantity:
    return Quantity(np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))), {"a": a, "b": b})


# Apart from each other: where the relative error is largest, where the absolute one is, and where the sum is.
A, B = W1.copy(), W1 * (1 + 0.1 * np.sin(np.arange(W1.size)).reshape(W1.shape))
for index, (a, b) in enumerate([(-1e-6, 3e-6), (5.0, 3.5), (20.0, 20.0), (0.2, 0.1)]):
    A[index, index], B[index, index] = a, b
LOGITS = {"N": N, "logits": V["z3"], "labels": Y}
WEIGHTS = {"weights": [W1, W2], "biases": [B1, B2]}

QUANTITIES = {
    "relu": Quantity(np.maximum(Z, 0), {"quantity": "relu(z)", "before": Z, "N": N}),
    "softmax": Quantity(V["a3"], {"quantity": "softmax(z)", "before": V["z3"], "N": N}),
    "z2": Quantity(V["z2"], {"quantity": "z2", "bias": B1, "N": N}),
    "z3": Quantity(V["z3"], {"quantity": "z3", "bias": B2, "N": N}),
    "cross-entropy": Quantity(V["data_loss"], {"quantity": "J", "data": V["data_loss"], **LOGITS}),
    "loss": Quantity(
        V["data_loss"] + REG * SQUARES,
        {"quantity": "loss", "reg": REG, "data": V["data_loss"], **LOGITS, **WEIGHTS},
    ),
    "weight": Quantity(
        PROBLEM.gradients()["W1"],
        {
            "quantity": "dJ/dW1", "N": N, "reg": REG, "weight": W1, "symbol": "W1",
            "without_mask": PROBLEM.X.T @ V["da2"] + 2 * REG * W1,
        },
    ),
    "bias": Quantity(V["db1"], {"quantity": "dJ/db1", "N": N, "reg": REG, "bias": B1, "symbol": "b1"}),
    "grad_z3": Quantity(V["dz3"], {"quantity": "dJ/dz3", "N": N, "onehot": DELTA}),
    "grad_z2": Quantity(V["dz2"], {"quantity": "dJ/dz2", "N": N, "upstream": V["da2"], "before": V["z2"]}),
    "grad_b1": Quantity(V["db1"], {"quantity": "dJ/db1", "N": N, "upstream_rows": V["dz2"]}),
    "grad_W1": Quantity(V["dW1"], {"quantity": "dJ/dW1", "N": N}),
    "quotient": _quotient(LARGE_STEP),
    "quotient with the default step": _quotient(DEFAULT_STEP),
    "relative error": _relative(A, B),
}  # fmt: skip


def _weight_gradient(regularisation: np.ndarray) -> np.ndarray:
    return V["dW1"] + regularisation


def _loss(data: float, regularisation: float = REG * SQUARES) -> float:
    return data + regularisation


def _margins() -> np.ndarray:
    return np.maximum(0, V["z3"] - V["z3"][ROWS, Y][:, None] + 1)


def _permuted(array: np.ndarray) -> np.ndarray:
    return array[np.random.default_rng(0).permutation(len(array))]


EXPONENTIALS = np.exp(V["z3"] - V["z3"].max())
OWN = -LOG_P[ROWS, Y]
COLUMNS = log_softmax(V["z3"], axis=0)

#: Rule -> the quantity, and what the mistake gives for it, computed anew.
MISTAKES: dict[str, tuple[str, Any]] = {
    "bias_missing": ("z2", V["z2"] - B1),
    "bias_added_twice": ("z3", V["z3"] + B2),
    "bias_subtracted": ("z2", V["z2"] - B1 - B1),
    "relu_on_logits": ("z3", np.maximum(V["z3"], 0)),
    "overwritten_by_relu": ("z2", V["a2"]),
    "overwritten_by_softmax": ("z3", V["a3"]),
    "shifted_in_place": ("z3", V["z3"] - V["z3"].max(axis=1)[:, None]),
    "relu_missing": ("relu", Z),
    "absolute_value": ("relu", np.abs(Z)),
    "relu_step": ("relu", np.heaviside(Z, 0)),
    "relu_of_the_wrong_sign": ("relu", np.where(Z < 0, Z, 0)),
    "leaky_relu": ("relu", np.where(Z > 0, Z, 0.01 * Z)),
    "relu_cut_off_at_1": ("relu", np.clip(Z, 0, 1)),
    "relu_cut_off_at_6": ("relu", np.clip(Z, 0, 6)),
    "sigmoid_for_relu": ("relu", 0.5 + 0.5 * np.tanh(Z / 2)),
    "tanh_for_relu": ("relu", np.tanh(Z)),
    "softplus_for_relu": ("relu", np.log1p(np.exp(Z))),
    "softmax_over_columns": ("softmax", softmax(V["z3"], axis=0)),
    "softmax_over_everything": ("softmax", softmax(V["z3"])),
    "softmax_twice": ("softmax", softmax(softmax(V["z3"], axis=1), axis=1)),
    "softmax_not_normalised": ("softmax", EXPONENTIALS),
    "softmax_without_exponential": ("softmax", V["z3"] / V["z3"].sum(axis=1)[:, None]),
    "softmax_of_the_wrong_sign": ("softmax", softmax(-V["z3"], axis=1)),
    "softmax_base_2": ("softmax", 2 ** V["z3"] / (2 ** V["z3"]).sum(axis=1)[:, None]),
    "sigmoid_for_softmax": ("softmax", 0.5 + 0.5 * np.tanh(V["z3"] / 2)),
    "log_probabilities": ("softmax", LOG_P),
    "softmax_as_largest": ("softmax", np.eye(len(B2))[V["z3"].argmax(axis=1)]),
    "softmax_missing": ("softmax", V["z3"]),
    "loss_per_sample": ("cross-entropy", OWN),
    "loss_summed": ("cross-entropy", OWN.sum()),
    "loss_averaged_twice": ("cross-entropy", OWN.mean() / N),
    "loss_averaged_over_entries": ("cross-entropy", OWN.sum() / V["z3"].size),
    "loss_sign": ("loss", _loss(-OWN.mean())),
    "loss_halved": ("cross-entropy", OWN.mean() / 2),
    "logarithm_base_2": ("cross-entropy", np.mean(-np.log2(V["a3"][ROWS, Y]))),
    "logarithm_base_10": ("cross-entropy", np.mean(-np.log10(V["a3"][ROWS, Y]))),
    "logarithm_missing": ("cross-entropy", -V["a3"][ROWS, Y].mean()),
    "one_minus_probability": ("cross-entropy", 1 - V["a3"][ROWS, Y].mean()),
    "hinge_loss": ("loss", _loss((_margins().sum() - N) / N)),
    "squared_error": ("cross-entropy", np.mean((V["a3"] - DELTA) ** 2)),
    "every_class_counted": ("cross-entropy", -LOG_P.sum() / N),
    "largest_class_taken": ("cross-entropy", -LOG_P.max(axis=1).mean()),
    "loss_of_probabilities": ("loss", _loss(-log_softmax(V["a3"], axis=1)[ROWS, Y].mean())),
    "loss_over_columns": ("cross-entropy", -COLUMNS[ROWS, Y].mean()),
    "true_logit_missing": ("cross-entropy", np.mean(np.log(np.exp(V["z3"]).sum(axis=1)))),
    "log_sum_missing": ("cross-entropy", -V["z3"][ROWS, Y].mean()),
    "first_sample_only": ("cross-entropy", OWN[0]),
    "regularisation_missing": ("loss", OWN.mean()),
    "regularisation_halved": ("loss", OWN.mean() + REG / 2 * SQUARES),
    "regularisation_twice": ("loss", OWN.mean() + 2 * REG * SQUARES),
    "regularisation_averaged": ("loss", OWN.mean() + REG * SQUARES / N),
    "regularisation_averaged_and_halved": ("loss", OWN.mean() + REG * SQUARES / (2 * N)),
    "regularisation_subtracted": ("loss", OWN.mean() - REG * SQUARES),
    "only_first_weight_regularised": ("loss", OWN.mean() + REG * np.sum(W1**2)),
    "only_second_weight_regularised": ("loss", OWN.mean() + REG * np.sum(W2**2)),
    "biases_regularised_in_loss": ("loss", OWN.mean() + REG * (SQUARES + B1 @ B1 + B2 @ B2)),
    "biases_regularised_in_loss_halved": ("loss", OWN.mean() + REG / 2 * (SQUARES + B1 @ B1 + B2 @ B2)),
    "norms_not_squared": ("loss", OWN.mean() + REG * (np.linalg.norm(W1) + np.linalg.norm(W2))),
    "absolute_weights": ("loss", OWN.mean() + REG * (np.abs(W1).sum() + np.abs(W2).sum())),
    "weights_not_squared": ("loss", OWN.mean() + REG * (W1.sum() + W2.sum())),
    "square_of_sum": ("loss", OWN.mean() + REG * (W1.sum() ** 2 + W2.sum() ** 2)),
    "strength_squared": ("loss", OWN.mean() + REG**2 * SQUARES),
    "regularisation_without_strength": ("loss", OWN.mean() + SQUARES),
    "mean_of_squares": ("loss", OWN.mean() + REG * ((W1**2).mean() + (W2**2).mean())),
    "data_loss_missing": ("loss", REG * SQUARES),
    "hard_coded_strength": ("loss", OWN.mean() + 0.05 * SQUARES),
    "gradient_without_regularisation": ("weight", _weight_gradient(0 * W1)),
    "gradient_regularisation_halved": ("weight", _weight_gradient(REG * W1)),
    "gradient_regularisation_twice": ("weight", _weight_gradient(4 * REG * W1)),
    "gradient_regularisation_subtracted": ("weight", _weight_gradient(-2 * REG * W1)),
    "gradient_regularisation_averaged": ("weight", _weight_gradient(2 * REG * W1 / N)),
    "gradient_of_squares_not_derived": ("weight", _weight_gradient(REG * W1**2)),
    "hard_coded_regularisation": ("weight", _weight_gradient(2 * 0.05 * W1)),
    "backward_without_mask": ("weight", PROBLEM.X.T @ (V["dz3"] @ W2.T) + 2 * REG * W1),
    "gradient_of_regularised_bias": ("bias", V["db1"] + 2 * REG * B1),
    "gradient_of_regularised_bias_halved": ("bias", V["db1"] + REG * B1),
    "delta_missing": ("grad_z3", V["a3"] / N),
    "delta_missing_and_not_averaged": ("grad_z3", V["a3"]),
    "delta_not_averaged": ("grad_z3", V["a3"] / N - DELTA),
    "delta_added": ("grad_z3", (V["a3"] + DELTA) / N),
    "one_subtracted_everywhere": ("grad_z3", (V["a3"] - 1) / N),
    "label_subtracted": ("grad_z3", (V["a3"] - Y[:, None]) / N),
    "averaged_over_entries": ("grad_z3", (V["a3"] - DELTA) / V["a3"].size),
    "relu_mask_missing": ("grad_z2", V["da2"]),
    "relu_mask_inverted": ("grad_z2", V["da2"] * (V["z2"] < 0)),
    "relu_mask_of_the_gradient": ("grad_z2", V["da2"] * (V["da2"] > 0)),
    "relu_derivative_alone": ("grad_z2", np.heaviside(V["z2"], 0)),
    "relu_in_place_of_its_derivative": ("grad_z2", V["da2"] * V["a2"]),
    "values_in_place_of_the_mask": ("grad_z2", V["da2"] * V["z2"]),
    "sum_over_samples_missing": ("grad_b1", V["dz2"]),
    "sum_over_wrong_axis": ("grad_b1", V["dz2"].sum(axis=1)),
    "sum_over_everything": ("grad_b1", V["dz2"].sum()),
    "mean_in_place_of_sum": ("grad_b1", V["dz2"].mean(axis=0)),
    "first_row_only": ("grad_b1", V["dz2"][0]),
    "forward_difference": ("quotient", CUBIC.forward(W1, LARGE_STEP)),
    "backward_difference": ("quotient", CUBIC.backward(W1, LARGE_STEP)),
    "difference_divided_by_h": ("quotient", CUBIC.forward(W1, LARGE_STEP) + CUBIC.backward(W1, LARGE_STEP)),
    "difference_not_divided": ("quotient", 2 * LARGE_STEP * CUBIC.central(W1, LARGE_STEP)),
    "forward_difference_halved": ("quotient", CUBIC.forward(W1, LARGE_STEP) / 2),
    "higher_order": ("quotient", CUBIC.central(W1, 0.0)),
    "step_ignored": ("quotient", CUBIC.central(W1, DEFAULT_STEP) + 1e-11),
    "relative_error_averaged": ("relative error", np.mean(np.abs(A - B) / (np.abs(A) + np.abs(B)))),
    "relative_error_signed": ("relative error", np.max((A - B) / (np.abs(A) + np.abs(B)))),
    "relative_error_of_maxima": ("relative error", np.abs(A - B).max() / (np.abs(A) + np.abs(B)).max()),
    "relative_error_of_norms": ("relative error", np.linalg.norm(A - B) / (np.linalg.norm(A) + np.linalg.norm(B))),
    "relative_error_by_the_larger": ("relative error", np.max(np.abs(A - B) / np.maximum(np.abs(A), np.abs(B)))),
    "relative_error_not_relative": ("relative error", np.abs(A - B).max()),
    "relative_error_limited_by_1": ("relative error", np.max(np.abs(A - B) / np.maximum(1, np.abs(A) + np.abs(B)))),
    "transposed": ("grad_W1", V["dW1"].T),
    "sign": ("grad_W1", -V["dW1"]),
    "division_by_samples_missing": ("grad_z3", V["a3"] - DELTA),
    "divided_by_samples_twice": ("grad_W1", V["dW1"] / N),
    "doubled": ("grad_W1", 2 * V["dW1"]),
    "halved": ("grad_W1", V["dW1"] / 2),
    "squared": ("grad_W1", V["dW1"] ** 2),
    "cast_to_integers": ("z2", V["z2"].astype(int)),
    "rounded_to_half_precision": ("softmax", V["a3"].astype(np.float16)),
    "rounded_to_single_precision": ("grad_W1", V["dW1"].astype(np.float32)),
    "rounded_to_decimals": ("softmax", V["a3"].round(4)),
    "rows_in_another_order": ("z2", _permuted(V["z2"])),
    "all_zero": ("bias", np.zeros(len(B1))),
}


def _name(rule: Any) -> str | None:
    return rule.name if rule else None


def _recognised(quantity: str, got: Any) -> str | None:
    expected, known = QUANTITIES[quantity]
    return _name(find_rule(got, expected, {"quantity": quantity, **known}, TOLERANCE))


def test_every_rule_has_its_mistake():
    assert set(MISTAKES) == {rule.name for rule in RULES}
    assert len({rule.name for rule in RULES}) == len(RULES) >= 20


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_named(name):
    assert _recognised(*MISTAKES[name]) == name


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_that_is_not_quite_it_is_not_named(name):
    quantity, got = MISTAKES[name]
    got = np.asarray(got, dtype=float)
    noise = np.random.default_rng(1).uniform(0.5, 1, size=got.shape) * 1e-5
    # Exact zeros would hide the noise.
    assert _recognised(quantity, got + noise * (1 + np.abs(got))) is None


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_right_values_have_no_cause(quantity):
    expected = np.asarray(QUANTITIES[quantity].expected)
    assert _recognised(quantity, expected) is None
    for seed in range(20):
        roundoff = 1 + 1e-15 * np.random.default_rng(seed).standard_normal(expected.shape)
        assert _recognised(quantity, expected * roundoff) is None


def _dense(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return expected + 10 ** rng.uniform(-6, 1) * rng.standard_normal(expected.shape)


def _sparse(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return expected + (rng.random(expected.shape) < 0.2) * rng.standard_normal(expected.shape)


def _single(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    got = np.array(expected, dtype=float)
    got.flat[rng.integers(got.size)] += 10 ** rng.uniform(-6, 1) * rng.standard_normal()
    return got


def _tiny(expected: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return expected * (1 + 10 ** rng.uniform(-10, -4) * rng.standard_normal(expected.shape))


PERTURBATIONS: dict[str, Callable[[np.ndarray, np.random.Generator], np.ndarray]] = {
    "dense": _dense, "sparse": _sparse, "single": _single, "tiny": _tiny,
}  # fmt: skip


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_no_rule_explains_what_is_random(quantity):
    """1,000 random deviations of each quantity, 250 of each kind."""
    expected = np.asarray(QUANTITIES[quantity].expected, dtype=float)
    fired = []
    for kind, perturbed in PERTURBATIONS.items():
        for seed in range(250):
            name = _recognised(quantity, perturbed(expected, np.random.default_rng([seed, len(kind)])))
            if name:
                fired.append((kind, seed, name))
    assert fired == []


def test_zeros_are_no_sum_over_all_entries():
    """Each row of dz3 sums to zero, and so do all of its entries together."""
    known = {"quantity": "dJ/db2", "N": N, "upstream_rows": V["dz3"] - V["dz3"].sum(axis=1, keepdims=True)}
    assert _name(find_rule(np.zeros(len(B2)), V["db2"], known, TOLERANCE)) == "all_zero"


def test_values_that_are_not_finite_have_no_cause():
    assert probable_cause(np.full((2, 2), np.nan), np.ones((2, 2)), {}, TOLERANCE) is None


@pytest.mark.parametrize("quantity", QUANTITIES)
def test_a_pair_in_place_of_the_value_makes_no_rule_fail(quantity):
    assert _recognised(quantity, np.array([1.2345, 6.789])) is None


def test_a_sentence_holds_the_numbers_of_the_problem():
    expected, known = QUANTITIES["grad_W1"]
    assert f"{N} times too small" in probable_cause(expected / N, expected, known, TOLERANCE)
    expected, known = QUANTITIES["weight"]
    assert "add 2 * reg * W1" in probable_cause(V["dW1"], expected, known, TOLERANCE)
