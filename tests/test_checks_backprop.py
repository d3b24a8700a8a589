"""The checks of notebook 2: right formulas in any style pass, typical mistakes are named."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import sympy as sp

from course_utils import symbolic
from course_utils.checks.backprop import backpropagate, check_backward, check_step, check_symbolic
from course_utils.comparison import CheckFailed
from course_utils.oracle import random_problem, solve
from course_utils.reference import problem
from course_utils.steps import NAMES, STEPS

pytestmark = pytest.mark.slow

# --- 2.a: symbols ---------------------------------------------------------------------------


def dJ_dz3_symbolic(z, y):
    return [sp.exp(logit) / sum(map(sp.exp, z)) - int(k == y) for k, logit in enumerate(z)]


def check_formula(formula):
    """Check the expressions ``formula(z, k, y)``, or texts, as the notebook's helper hands them over."""
    z = list(sp.symbols("z0 z1 z2", real=True))
    check_symbolic(lambda y: symbolic.as_text([formula(z, k, y) for k in range(3)]), dJ_dz3_symbolic)


def total(z):
    return sum(map(sp.exp, z))


def softmax(z, k):
    return sp.exp(z[k]) / total(z)


def log_odds(z, k):
    return z[k] - sp.log(total(z) - sp.exp(z[k]))


def shifted(z, k, shift):
    return sp.exp(z[k] - shift) / sum(sp.exp(logit - shift) for logit in z)


RIGHT = {
    "softmax minus one": lambda z, k, y: softmax(z, k) - int(k == y),
    "minus the difference": lambda z, k, y: -(int(k == y) - softmax(z, k)),
    "one fraction": lambda z, k, y: sp.together(softmax(z, k) - int(k == y)),
    "factored": lambda z, k, y: sp.factor(softmax(z, k) - int(k == y)),
    "simplified": lambda z, k, y: sp.simplify(softmax(z, k) - int(k == y)),
    "SymPy's own, from the quotient": lambda z, k, y: sp.diff(-sp.log(softmax(z, y)), z[k]),
    "SymPy's own, from the difference": lambda z, k, y: sp.diff(sp.log(total(z)) - z[y], z[k]),
    "by cases": lambda z, k, y: softmax(z, k) if k != y else -sum(softmax(z, j) for j in range(3) if j != y),
    "one over a sum": lambda z, k, y: 1 / sum(sp.exp(logit - z[k]) for logit in z) - int(k == y),
    "sigmoid": lambda z, k, y: 1 / (1 + sp.exp(-log_odds(z, k))) - int(k == y),
    "tanh": lambda z, k, y: (1 + sp.tanh(log_odds(z, k) / 2)) / 2 - int(k == y),
    "exp of a log": lambda z, k, y: sp.exp(z[k] - sp.log(total(z))) - int(k == y),
    "exp of an unevaluated log": lambda z, k, y: sp.exp(sp.log(softmax(z, k), evaluate=False)) - int(k == y),
    "shifted by the maximum": lambda z, k, y: shifted(z, k, sp.Max(*z)) - int(k == y),
    "shifted by the mean": lambda z, k, y: shifted(z, k, sum(z) / 3) - int(k == y),
    "shifted by a number": lambda z, k, y: shifted(z, k, 100) - int(k == y),
    "Rational": lambda z, k, y: sp.Rational(3, 3) * softmax(z, k) - sp.Rational(int(k == y)),
    "floats": lambda z, k, y: 1.0 * softmax(z, k) - float(k == y),
    "KroneckerDelta": lambda z, k, y: softmax(z, k) - sp.KroneckerDelta(k, y),
    "Piecewise": lambda z, k, y: softmax(z, k) - sp.Piecewise((1, sp.Eq(k, y)), (0, True)),
    "powers of E": lambda z, k, y: sp.E ** z[k] * sum(sp.E**logit for logit in z) ** -1 - int(k == y),
    "square roots": lambda z, k, y: sp.sqrt(sp.exp(2 * z[k])) / total(z) - int(k == y),
    "cosh and sinh": lambda z, k, y: (sp.cosh(z[k]) + sp.sinh(z[k])) / total(z) - int(k == y),
    "unevaluated": lambda z, k, y: sp.Add(
        sp.Mul(sp.exp(z[k]), 1 / total(z), evaluate=False), -int(k == y), evaluate=False
    ),
    "text": lambda z, k, y: f"exp(z{k})/(exp(z0) + exp(z1) + exp(z2)) - {int(k == y)}",
}


@pytest.mark.parametrize("name", RIGHT)
def test_equal_expressions_are_accepted(name):
    check_formula(RIGHT[name])


@pytest.mark.parametrize("container", [list, tuple, sp.Matrix, np.array])
def test_any_sequence_is_accepted(container):
    z = list(sp.symbols("z0 z1 z2", real=True))
    check_symbolic(lambda y: symbolic.as_text(container(dJ_dz3_symbolic(z, y))), dJ_dz3_symbolic)


WRONG = {
    "delta missing": (lambda z, k, y: softmax(z, k), "1 isn't subtracted at the true class"),
    "sign": (lambda z, k, y: int(k == y) - softmax(z, k), "the sign is wrong"),
    "delta added": (lambda z, k, y: softmax(z, k) + int(k == y), "1 is added at the true class"),
    "label ignored": (lambda z, k, y: softmax(z, k) - int(k == 0), "dJ/dz0 for the true class y = 1: the expression"),
    "index ignored": (lambda z, k, y: softmax(z, y) - int(k == y), "dJ/dz1 for the true class y = 0"),
    "derivative of the softmax": (lambda z, k, y: softmax(z, y) * (int(k == y) - softmax(z, k)), "expected -0.593"),
    "nearly right": (lambda z, k, y: softmax(z, k) - int(k == y) + sp.Rational(1, 10**9), "is wrong. At z = (0.5"),
    "right to 34 digits": (lambda z, k, y: softmax(z, k) - int(k == y) + sp.Rational(1, 10**35), "isn't equal"),
    "right where it is tried": (
        lambda z, k, y: softmax(z, k) - int(k == y) + (z[0] - sp.Rational(1, 2)), "isn't equal"
    ),
    "right for one order of the logits": (
        lambda z, k, y: softmax(z, k) - int(k == y) + sp.Max(*z) - z[2], "isn't equal"
    ),
    "complex": (lambda z, k, y: sp.log(-sp.exp(z[k])), "not a real number"),
    "not a number": (lambda z, k, y: sp.nan, "it holds nan"),
    "other symbols": (lambda z, k, y: softmax(sp.symbols("a b c"), k) - int(k == y), "none of z0, z1, z2"),
    "a truth value": (lambda z, k, y: k == y, "something besides numbers"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_other_expressions_are_refused(name):
    formula, sentence = WRONG[name]
    with pytest.raises(CheckFailed) as failure:
        check_formula(formula)
    assert sentence in str(failure.value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').getcwd()", "z0.__class__", "(lambda: 1)()", "[z0 for z0 in z1]", "z0 if z1 else z2", "'z0'",
        "z0 and z1", "z0 < z1", "exp(z0, z1=1)", "exp()", "open(z0)", "", "z0 +", "0x", "z0; z1", "1j", "...",
    ],
)  # fmt: skip
def test_a_text_is_parsed_and_never_executed(text):
    with pytest.raises(CheckFailed):
        check_formula(lambda z, k, y: text)


@pytest.mark.parametrize(
    "text",
    [
        "9**(9**9)", "9**9**9", "0*9**(9**9)", "exp(exp(exp(exp(99))))", "(1 + exp(z0))**10000",
        "(" * 1500 + ")" * 1500, "-" * 1900 + "1", "+".join(["exp(z0)"] * 200), "*".join(["(exp(z0)+1)"] * 120),
        "1" * 3999, "sqrt(z0)**(10**10)",
    ],
)  # fmt: skip
def test_an_enormous_expression_is_refused_at_once(text):
    with pytest.raises(CheckFailed):
        check_formula(lambda z, k, y: f"{text} - {text} + exp(z{k})/(exp(z0)+exp(z1)+exp(z2)) - {int(k == y)}")


def test_an_answer_of_another_kind_is_described():
    with pytest.raises(CheckFailed, match="expected a list of 3 expressions"):
        check_symbolic(lambda y: symbolic.as_text(sp.Symbol("z0")), dJ_dz3_symbolic)
    with pytest.raises(CheckFailed, match="2 entries, expected 3"):
        check_symbolic(lambda y: symbolic.as_text(dJ_dz3_symbolic(sp.symbols("z0 z1"), y)), dJ_dz3_symbolic)
    with pytest.raises(CheckFailed, match="None"):
        check_symbolic(lambda y: symbolic.as_text(None), dJ_dz3_symbolic)


def test_sympy_may_not_differentiate_for_the_student():
    def by_sympy(z, y):
        return [sp.diff(-sp.log(sp.exp(z[y]) / sum(map(sp.exp, z))), logit) for logit in z]

    with pytest.raises(CheckFailed, match="it uses diff"):
        check_symbolic(lambda y: symbolic.as_text(by_sympy(sp.symbols("z0:3"), y)), by_sympy)


def test_an_unwritten_answer_stays_not_implemented():
    def unwritten(z, y):
        raise NotImplementedError()

    with pytest.raises(NotImplementedError):
        check_symbolic(lambda y: symbolic.as_text(unwritten([], y)), unwritten)


# --- 2.b to 2.h: one formula at a time ---------------------------------------------------------


def one_hot(y, classes):
    return (y[:, None] == np.arange(classes)).astype(float)


def by_sample(function):
    """A matrix formula written as a loop over the samples."""
    return lambda left, right: sum(function(left[i], right[i]) for i in range(len(left)))


def in_place(a3, y):
    a3[range(len(y)), y] -= 1
    a3 /= a3.shape[0]
    return a3


def masked(da2, z2):
    da2[z2 <= 0] = 0
    return da2


RIGHT_STEPS = {
    "z3": [
        lambda a3, y: (a3 - one_hot(y, a3.shape[1])) / len(y),
        lambda a3, y: (a3 - np.eye(a3.shape[1])[y]) / y.size,
        in_place,
    ],
    "W2": [lambda a2, dz3: a2.T @ dz3, lambda a2, dz3: np.einsum("ih,ik->hk", a2, dz3), by_sample(np.outer)],
    "b2": [
        lambda dz3: dz3.sum(axis=0), lambda dz3: np.ones(len(dz3)) @ dz3,
    ],
    "a2": [
        lambda dz3, W2: dz3 @ W2.T, lambda dz3, W2: np.dot(W2, dz3.T).T,
        lambda dz3, W2: np.array([W2 @ row for row in dz3]),
    ],
    "z2": [
        lambda da2, z2: da2 * (z2 > 0), lambda da2, z2: da2 * (z2 >= 0), lambda da2, z2: np.where(z2 > 0, da2, 0.0),
        lambda da2, z2: da2 * np.heaviside(z2, 0.5), masked,
    ],
    "W1": [lambda X, dz2: X.T @ dz2, lambda X, dz2: np.asfortranarray(X.T.dot(dz2)), by_sample(np.outer)],
    "b1": [lambda dz2: np.sum(dz2, 0), lambda dz2: list(map(float, dz2.sum(axis=0)))],
}  # fmt: skip
NEW_PROBLEMS = [
    random_problem(seed=1), random_problem(seed=2, samples=1), random_problem(seed=3, dtype="int64"),
    random_problem(seed=4, samples=70),
]  # fmt: skip


@pytest.mark.parametrize(("variable", "function"), [(key, f) for key, fs in RIGHT_STEPS.items() for f in fs])
def test_right_formulas_pass(variable, function):
    check_step(variable, function)
    for new in NEW_PROBLEMS:
        check_step(variable, function, on=new)


WRONG_STEPS = [
    ("z3", lambda a3, y: a3 / len(y), "1 isn't subtracted"),
    ("z3", lambda a3, y: a3 - one_hot(y, a3.shape[1]), "times too large, {N} being"),
    ("z3", lambda a3, y: a3 / len(y) - one_hot(y, a3.shape[1]), "1 is subtracted after the division"),
    ("z3", lambda a3, y: (one_hot(y, a3.shape[1]) - a3) / len(y), "the sign is wrong"),
    ("z3", lambda a3, y: (a3 - one_hot(y, a3.shape[1])) / a3.size, "divided by N * K"),
    ("z3", lambda a3, y: (a3 - one_hot(y, a3.shape[1])) / 5, "whatever N is"),
    ("z3", lambda a3, y: ((a3 - one_hot(y, a3.shape[1])) / len(y)).T, "transpose"),
    ("W2", lambda a2, dz3: dz3.T @ a2, "transpose"),
    ("W2", lambda a2, dz3: a2.T @ dz3 / len(a2), "times too small"),
    ("W2", lambda a2, dz3: len(a2) * a2.T @ dz3, "times too large"),
    ("W2", lambda a2, dz3: np.outer(a2[0], dz3[0]), "first sample's part"),
    ("b2", lambda dz3: dz3, "the shape is"),
    ("b2", lambda dz3: dz3.sum(axis=0, keepdims=True), "a matrix of one row"),
    ("b1", lambda dz2: dz2.sum(axis=0)[:, None], "a column"),
    ("b2", lambda dz3: dz3.mean(axis=0), "divided by N already"),
    ("b2", lambda dz3: dz3.sum(), "over all entries"),
    ("b2", lambda dz3: dz3.sum(axis=1), "wrong axis"),
    ("a2", lambda dz3, W2: W2 @ dz3.T, "transpose"),
    ("a2", lambda dz3, W2: dz3 @ W2.T / len(dz3), "times too small"),
    ("z2", lambda da2, z2: da2, "ReLU's derivative is missing"),
    ("z2", lambda da2, z2: da2 * (z2 < 0), "wrong way round"),
    ("z2", lambda da2, z2: (z2 > 0) * 1.0, "upstream gradient is missing"),
    ("z2", lambda da2, z2: da2 * np.maximum(z2, 0), "derivative is 0 or 1"),
    ("z2", lambda da2, z2: da2 * (da2 > 0), "the gradient that arrives"),
    ("z2", lambda da2, z2: da2 * np.where(z2 == 0, np.nan, z2 > 0), "not finite"),
    ("z2", lambda da2, z2: da2 * np.where(z2 == 0, 2.0, z2 > 0), "entries of z2 exactly 0"),
    ("W1", lambda X, dz2: dz2.T @ X, "transpose"),
    ("W1", lambda X, dz2: X.T @ dz2 * 2, "twice"),
    ("b1", lambda dz2: dz2.sum(axis=1), "wrong axis"),
    ("b1", lambda dz2: -dz2.sum(axis=0), "the sign is wrong"),
    ("b1", lambda dz2: None, "None"),
    ("b1", lambda dz2: 1 / 0, "ZeroDivisionError"),
]


@pytest.mark.parametrize(("variable", "function", "sentence"), WRONG_STEPS)
def test_wrong_formulas_are_named(variable, function, sentence):
    with pytest.raises(CheckFailed) as failure:
        check_step(variable, function)
    assert sentence.format(N=5) in str(failure.value)
    with pytest.raises(CheckFailed):
        check_step(variable, function, on=NEW_PROBLEMS[0])


# --- 2.i: the whole backward pass ----------------------------------------------------------------


def steps(**replaced):
    """Right formulas in the order of STEPS, with some of them replaced."""
    return [replaced.get(variable, functions[0]) for variable, functions in RIGHT_STEPS.items()]


def unwritten(formula):
    """A function with the arguments of ``formula`` that isn't written yet."""

    @functools.wraps(formula)
    def raises(*arguments):
        raise NotImplementedError

    return raises


def backward_of(functions, regularise=lambda reg, W: 2 * reg * W, uses=None):
    """A backward pass that uses these formulas, or others than those that stand in its notebook."""
    namespace = dict(zip(NAMES, functions, strict=True))
    called = ", ".join(NAMES) if uses is None else "*uses"
    exec(f"def backward(params, X, y, reg):\n    return run([{called}], params, X, y, reg)", namespace)

    def run(formulas, params, X, y, reg):
        given = solve(params, X, y)
        gradients = backpropagate(formulas, {**given.values, **given.params, "X": X, "y": y})
        for name in ("W1", "W2"):
            gradients[name] = gradients[name] + regularise(reg, params[name])
        return {name: gradients[name] for name in reversed(list(params))} | {"note": "more than asked"}

    namespace |= {"run": run, "uses": uses}
    return namespace["backward"]


def test_backward_passes():
    check_backward(backward_of(steps()))
    for new in (*NEW_PROBLEMS, random_problem(seed=5, dtype="float32"), random_problem(seed=6, reg=0.0)):
        check_backward(backward_of(steps()), on=new)


def test_backward_in_single_precision_passes_on_single_precision_data():
    def backward(params, X, y, reg):
        z2 = X @ params["W1"] + params["b1"]
        a2 = np.maximum(z2, 0)
        z3 = a2 @ params["W2"] + params["b2"]
        a3 = np.exp(z3 - z3.max(axis=1, keepdims=True))
        a3 /= a3.sum(axis=1, keepdims=True)
        a3[np.arange(len(y)), y] -= 1
        dz3 = a3 / np.float32(len(y))
        dz2 = dz3 @ params["W2"].T * (z2 > 0)
        strength = np.float32(2 * reg)
        gradients = {"W1": X.T @ dz2 + strength * params["W1"], "b1": dz2.sum(axis=0)}
        gradients |= {"W2": a2.T @ dz3 + strength * params["W2"], "b2": dz3.sum(axis=0)}
        assert all(array.dtype == params["W1"].dtype for array in gradients.values())
        return gradients

    for seed in (2901, 7, 8, 9):
        check_backward(backward, on=random_problem(seed=seed, dtype="float32"))


SLIPS = [
    ("z3", lambda a3, y: a3 - one_hot(y, a3.shape[1])),
    ("W2", lambda a2, dz3: a2.T @ dz3 / len(a2)),
    ("b2", lambda dz3: dz3.mean(axis=0)),
    ("a2", lambda dz3, W2: -dz3 @ W2.T),
    ("z2", lambda da2, z2: da2),
    ("W1", lambda X, dz2: 2 * X.T @ dz2),
    ("b1", lambda dz2: -dz2.sum(axis=0)),
]


@pytest.mark.parametrize(("variable", "function"), SLIPS)
def test_a_slip_in_one_formula_costs_that_formula_alone(variable, function):
    functions = steps(**{variable: function})
    with pytest.raises(CheckFailed):
        check_step(variable, function)
    for other, right in zip(STEPS, functions, strict=True):
        if other != variable:
            check_step(other, right)
    check_backward(backward_of(functions))
    check_backward(backward_of(functions), on=NEW_PROBLEMS[0])
    # Formulas that don't stand in the notebook are backward's own.
    with pytest.raises(CheckFailed):
        check_backward(backward_of(steps(), uses=functions))


def test_formulas_that_backward_does_not_use_cost_it_nothing():
    """However many of them are wrong, and whichever of them it uses."""
    slipped = dict(SLIPS)
    for used in itertools.product([True, False], repeat=3):
        chosen = {name: slipped[name] for name, uses in zip(("z3", "z2", "W1"), used, strict=True) if uses}
        check_backward(backward_of(steps(**slipped), uses=steps(**chosen)))
    with pytest.raises(CheckFailed, match="of backward"):
        check_backward(backward_of(steps(**slipped), uses=steps(W1=lambda X, dz2: 3 * X.T @ dz2)))


def test_formulas_that_return_zeros_or_constants_earn_nothing_for_backward():
    for constant in (lambda *given: 0.0 * given[0], lambda *given: np.ones(given[0].shape)):
        functions = steps(**dict.fromkeys(STEPS, constant))
        with pytest.raises(CheckFailed):
            check_backward(backward_of(functions, uses=[lambda *given: 0.0] * 7))

    def nothing(params, X, y, reg):
        return {name: 2 * reg * array * (name[0] == "W") for name, array in params.items()}

    namespace = dict.fromkeys(NAMES, lambda *given: np.zeros(3)) | {"nothing": nothing}
    exec("def backward(params, X, y, reg):\n    return nothing(params, X, y, reg)", namespace)
    with pytest.raises(CheckFailed):
        check_backward(namespace["backward"])


def test_arguments_that_others_need_are_left_alone():
    def spending(a2, dz3):
        gradient = a2.T @ dz3
        dz3[:] = 0
        return gradient

    with pytest.raises(CheckFailed, match="it changes dz3"):
        check_step("W2", spending)

    def updating(params, X, y, reg):
        gradients = backward_of(steps())(params, X, y, reg)
        params["b1"] -= gradients["b1"]
        return gradients

    with pytest.raises(CheckFailed, match=r'it changes params\["b1"\]'):
        check_backward(updating)


WRONG_BACKWARD = [
    (lambda reg, W: 0.0, "the regularisation is missing"),
    (lambda reg, W: reg * W, "lacks its factor 2"),
    (lambda reg, W: 4 * reg * W, "added twice"),
    (lambda reg, W: -2 * reg * W, "subtracted"),
    (lambda reg, W: 2 * 0.05 * W, "another factor than 2 * reg"),
]


@pytest.mark.parametrize(("regularise", "sentence"), WRONG_BACKWARD)
def test_a_wrong_regularisation_is_named(regularise, sentence):
    with pytest.raises(CheckFailed) as failure:
        check_backward(backward_of(steps(), regularise))
    assert sentence in str(failure.value)


def test_backward_says_what_is_wrong_with_its_dict():
    right = backward_of(steps())
    with pytest.raises(CheckFailed, match="lacks b1"):
        check_backward(lambda *given: {key: value for key, value in right(*given).items() if key != "b1"})
    with pytest.raises(CheckFailed, match="expected a dict"):
        check_backward(lambda *given: tuple(right(*given).values()))
    with pytest.raises(CheckFailed, match="biases aren't regularised"):
        check_backward(lambda params, X, y, reg: _biases_regularised(right(params, X, y, reg), params, reg))


def _biases_regularised(gradients, params, reg):
    for name in ("b1", "b2"):
        gradients[name] = gradients[name] + 2 * reg * params[name]
    return gradients


def test_backward_must_use_the_whole_chain():
    """What follows from the student's formulas is accepted, but only that."""
    with pytest.raises(CheckFailed, match="of backward") as failure:
        check_backward(backward_of(steps(), uses=steps(z2=lambda da2, z2: da2)))
    facts = failure.value.facts()
    assert facts["question"] == "test-backward"
    assert facts["quantity"] == "dJ/dW1 of backward, with reg = 0.05"
    assert facts["deviations"] == ["mask_missing"] and facts["cause"] == failure.value.cause
    assert facts["kind"] == "values" and 0 < facts["extent"]["wrong"] <= facts["extent"]["of"]
    check_backward(backward_of([unwritten(formula) for formula in steps()]))


def test_steps_name_the_arguments_of_every_formula():
    given = problem("biased")
    gradients = backpropagate(steps(), {**given.values, **given.params, "X": given.X, "y": given.y})
    assert list(gradients) == list(STEPS)
    for variable, gradient in gradients.items():
        np.testing.assert_allclose(gradient, given.values[f"d{variable}"], rtol=1e-10, atol=1e-12)
