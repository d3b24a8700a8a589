"""The checks of notebook 3: right numerical gradients pass, typical mistakes are named."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest
import sympy as sp

from course_utils.checks import gradient_check
from course_utils.checks.gradient_check import (
    LARGE_STEP,
    TOY_FUNCTIONS,
    check_check_gradients,
    check_hunt,
    check_numerical_gradient,
    check_relative_error,
    compare_with_reported,
    toy_loss,
)
from course_utils.comparison import CheckFailed
from course_utils.hunt import CANDIDATES, altered
from course_utils.oracle import random_problem, solve
from course_utils.reference import toy_problem
from course_utils.stand_ins import backward

pytestmark = pytest.mark.slow

NEW_PROBLEMS = [random_problem(seed=11), random_problem(seed=12)]


# --- The toy functions ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", TOY_FUNCTIONS)
def test_difference_quotients_are_exact(name):
    """SymPy's derivatives and 40-digit difference quotients agree with the closed forms."""
    toy = TOY_FUNCTIONS[name]
    x = np.array([[0.3, -1.2, 0.0], [2.0, -0.7, 1.1]])
    weights = [sp.Float(float(weight), 40) for weight in gradient_check._weights(x).ravel()]
    symbols = sp.symbols(f"x:{x.size}")
    terms = sum(w * (s**3 if name == "cubic" else s) for w, s in zip(weights, symbols, strict=True))
    f = terms if name == "cubic" else sp.exp(terms)
    point = {symbol: sp.Float(float(value), 40) for symbol, value in zip(symbols, x.ravel(), strict=True)}

    def at(p, h):
        return f.subs(point | {symbols[p]: point[symbols[p]] + sp.Float(h, 40)})

    h = LARGE_STEP
    expected = {
        "central": [(at(p, h) - at(p, -h)) / (2 * sp.Float(h, 40)) for p in range(x.size)],
        "forward": [(at(p, h) - at(p, 0.0)) / sp.Float(h, 40) for p in range(x.size)],
        "backward": [(at(p, 0.0) - at(p, -h)) / sp.Float(h, 40) for p in range(x.size)],
    }
    for quotient, values in expected.items():
        got = getattr(toy, quotient)(x, h).ravel()
        np.testing.assert_allclose(got, np.array(values, dtype=float), rtol=1e-13)
        gradient = [float(f.diff(symbol).subs(point)) for symbol in symbols]
        np.testing.assert_allclose(getattr(toy, quotient)(x, 0.0).ravel(), gradient, rtol=1e-13, atol=1e-15)
    assert toy.value(x) == pytest.approx(float(f.subs(point)), rel=1e-14)


# --- 3.a -------------------------------------------------------------------------------------------


def on_a_copy(f, x, h=1e-5):
    gradient, point = np.zeros_like(x), x.copy()
    for index in np.ndindex(x.shape):
        point[index] = x[index] + h
        above = f(point)
        point[index] = x[index] - h
        gradient[index] = (above - f(point)) / (2 * h)
        point[index] = x[index]
    return gradient


def in_place(f, x, h=1e-5):
    gradient = np.empty(x.shape)
    walk = np.nditer(x, flags=["multi_index"], op_flags=["readwrite"])
    for _ in walk:
        index = walk.multi_index
        old = float(x[index])
        x[index] = old + h
        above = f(x)
        x[index] = old - h
        below = f(x)
        x[index] = old
        gradient[index] = (above - below) / 2 / h
    return gradient


def with_unit_arrays(f, x, h=1e-5):
    units = np.eye(x.size).reshape(-1, *x.shape)
    return np.array([(f(x + h * unit) - f(x - h * unit)) / (2 * h) for unit in units]).reshape(x.shape)


def flat(f, x, h=1e-5):
    out = np.zeros(x.size)
    for p in range(x.size):
        step = np.zeros(x.size)
        step[p] = h
        step = step.reshape(x.shape)
        out[p] = 0.5 * (f(x + step) - f(x - step)) / h
    return out.reshape(x.shape)


@pytest.mark.parametrize("function", [on_a_copy, in_place, with_unit_arrays, flat])
def test_right_numerical_gradients_pass(function, capsys):
    check_numerical_gradient(function)
    for new in NEW_PROBLEMS:
        check_numerical_gradient(function, on=new)
    assert capsys.readouterr().out.count("passed") == 3


def by(quotient):
    """A numerical gradient that takes ``quotient(f, x, step, h)`` for each entry."""

    def function(f, x, h=1e-5):
        units = np.eye(x.size).reshape(-1, *x.shape)
        return np.array([quotient(f, x, h * unit, h) for unit in units]).reshape(x.shape)

    return function


def not_put_back(f, x, h=1e-5):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        x[index] += h
        above = f(x)
        x[index] -= 2 * h
        gradient[index] = (above - f(x)) / (2 * h)
        x[index] += h
    return gradient


def never_put_back(f, x, h=1e-5):
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        old = x[index]
        x[index] = old + h
        above = f(x)
        x[index] = old - h
        gradient[index] = (above - f(x)) / (2 * h)
    return gradient


def five_points(f, x, h=1e-5):
    return (4 * on_a_copy(f, x, h) - on_a_copy(f, x, 2 * h)) / 3


def first_row_only(f, x, h=1e-5):
    gradient = on_a_copy(f, x, h)
    gradient[1:] = 0
    return gradient


def one_dimensional(f, x, h=1e-5):
    return np.array([(f(x + h * row) - f(x - h * row)) / (2 * h) for row in np.eye(len(x))])


ONE_SIDED = [
    by(lambda f, x, step, h: (f(x + step) - f(x)) / h),
    by(lambda f, x, step, h: (f(x) - f(x - step)) / h),
]
WRONG_GRADIENTS = [
    (ONE_SIDED[0], "this is the forward difference"),
    (ONE_SIDED[1], "this is the backward difference"),
    (by(lambda f, x, step, h: (f(x + step) - f(x - step)) / h), "lie 2h apart"),
    (by(lambda f, x, step, h: f(x + step) - f(x - step)), "isn't divided by 2h"),
    (by(lambda f, x, step, h: (f(x - step) - f(x + step)) / (2 * h)), "the sign is wrong"),
    (lambda f, x, h=1e-5: on_a_copy(f, x), "h isn't used"),
    (lambda f, x, h=1e-3: on_a_copy(f, x, h), "values are wrong"),
    (lambda f, x, h=1e-5: on_a_copy(f, x, h / 2), "x + h/2"),
    (lambda f, x, h=1e-5: on_a_copy(f, x, h).T, "the shape is"),
    (lambda f, x, h=1e-5: on_a_copy(f, x, h).ravel(), "flat"),
    (not_put_back, "isn't always x"),
    (never_put_back, "each entry stays at x - h"),
    (five_points, "a formula of higher order"),
    (first_row_only, "values are wrong"),
    (one_dimensional, "raised ValueError"),
    (by(lambda f, x, step, h: (f(x.max() + h) - f(x.max() - h)) / (2 * h)), "f was called with shape ()"),
    (lambda f, x, h=1e-5: None, "None"),
]


@pytest.mark.parametrize(("function", "sentence"), WRONG_GRADIENTS)
def test_wrong_numerical_gradients_are_named(function, sentence):
    with pytest.raises(CheckFailed) as failure:
        check_numerical_gradient(function)
    assert sentence in str(failure.value)


def unwritten(*arguments):
    raise NotImplementedError()


def test_unwritten_functions_stay_not_implemented():
    for check in (
        lambda: check_numerical_gradient(unwritten),
        lambda: check_relative_error(unwritten),
        lambda: check_check_gradients(unwritten),
        lambda: check_hunt(unwritten, backward),
    ):
        with pytest.raises(NotImplementedError):
            check()


# --- 3.b -------------------------------------------------------------------------------------------


def relative_error(a, b):
    return np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def with_a_loop(a, b):
    pairs = zip(np.ravel(a), np.ravel(b), strict=True)
    return max(abs(left - right) / max(1e-8, abs(left) + abs(right)) for left, right in pairs)


@pytest.mark.parametrize("function", [relative_error, with_a_loop, lambda a, b: float(relative_error(b, a))])
def test_right_relative_errors_pass(function):
    check_relative_error(function)
    for new in NEW_PROBLEMS:
        check_relative_error(function, on=new)


def without_floor(a, b):
    with np.errstate(invalid="ignore"):
        return np.max(np.abs(a - b) / (np.abs(a) + np.abs(b)))


WRONG_ERRORS = [
    (lambda a, b: np.max(np.abs(a - b)), "isn't divided by |a| + |b|"),
    (lambda a, b: np.mean(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))), "mean of the relative errors"),
    (lambda a, b: np.max((a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b))), "absolute value of the difference"),
    (lambda a, b: np.max(np.abs(a - b)) / max(1e-8, np.max(np.abs(a) + np.abs(b))), "entry by entry"),
    (lambda a, b: np.linalg.norm(a - b) / max(1e-8, np.linalg.norm(a) + np.linalg.norm(b)), "ratio of two norms"),
    (lambda a, b: np.max(np.abs(a - b) / np.maximum(1e-8, np.maximum(abs(a), abs(b)))), "one of |a| and |b|"),
    (lambda a, b: np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)), "the shape is"),
    (without_floor, "not finite"),
    (lambda a, b: np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a + b))), "below stands |a + b|"),
    (lambda a, b: np.max(np.abs(a - b) / (1e-8 + np.abs(a) + np.abs(b))), "1e-8 is added"),
    (lambda a, b: np.max(np.abs(a - b) / np.maximum(1e-12, np.abs(a) + np.abs(b))), "tiny difference"),
]


@pytest.mark.parametrize(("function", "sentence"), WRONG_ERRORS)
def test_wrong_relative_errors_are_named(function, sentence):
    with pytest.raises(CheckFailed) as failure:
        check_relative_error(function)
    assert sentence in str(failure.value)


# --- 3.c -------------------------------------------------------------------------------------------


_NOTEBOOK = """
def check_gradients(loss_fn, params, grads):
    return {
        name: relative_error(numerical_gradient(lambda W, name=name: loss_fn({**params, name: W}), array), grads[name])
        for name, array in params.items()
    }


def of_the_dict_itself(loss_fn, params, grads):
    return {
        name: relative_error(numerical_gradient(lambda _: loss_fn(params), params[name]), grads[name])
        for name in params
    }
"""


def notebook(numerical_gradient, error, hidden=False):
    """A notebook's names; ``hidden`` helpers stand in it under others, and so are part of the check itself."""
    names = {"numerical_gradient": numerical_gradient, "relative_error": error}
    namespace = {f"own_{name}": function for name, function in names.items()} if hidden else names
    text = _NOTEBOOK.replace("numerical_gradient(", "own_numerical_gradient(") if hidden else _NOTEBOOK
    exec(text.replace("relative_error(", "own_relative_error(") if hidden else text, namespace)
    return namespace


def test_right_checks_pass():
    for function in (on_a_copy, in_place, with_unit_arrays):
        check = notebook(function, relative_error)["check_gradients"]
        check_check_gradients(check)
        check_check_gradients(check, on=NEW_PROBLEMS[0])


def test_a_loss_of_the_same_dict_passes():
    check_check_gradients(notebook(in_place, relative_error)["of_the_dict_itself"])


@pytest.mark.parametrize("wrong", [function for function, _ in WRONG_GRADIENTS[:5]])
def test_a_mistake_in_the_numerical_gradient_costs_its_own_points_only(wrong):
    check_check_gradients(notebook(wrong, relative_error)["check_gradients"])
    if wrong not in ONE_SIDED:  # which is right to six digits
        with pytest.raises(CheckFailed):
            check_check_gradients(notebook(wrong, relative_error, hidden=True)["check_gradients"])


@pytest.mark.parametrize("wrong", [not_put_back, never_put_back])
def test_a_numerical_gradient_that_changes_x_is_not_counted_again(wrong):
    check_check_gradients(notebook(wrong, relative_error)["check_gradients"])
    with pytest.raises(CheckFailed, match=r"check_gradients: the error|it changes"):
        check_check_gradients(notebook(wrong, relative_error, hidden=True)["of_the_dict_itself"])


@pytest.mark.parametrize("wrong", [WRONG_ERRORS[0][0], WRONG_ERRORS[1][0], WRONG_ERRORS[4][0]])
def test_a_mistake_in_the_relative_error_costs_its_own_points_only(wrong):
    check_check_gradients(notebook(on_a_copy, wrong)["check_gradients"])
    with pytest.raises(CheckFailed):
        check_check_gradients(notebook(on_a_copy, wrong, hidden=True)["check_gradients"])


def right_check(params, grads):
    return notebook(on_a_copy, relative_error)["check_gradients"](toy_loss, params, grads)


WRONG_CHECKS = [
    (lambda params, grads: max(right_check(params, grads).values()), "expected a dict"),
    (lambda params, grads: {"W1": right_check(params, grads)["W1"]}, "lacks b1"),
    (lambda params, grads: dict.fromkeys(params, 0.0), "being wrong"),
    (lambda params, grads: dict.fromkeys(params, max(right_check(params, grads).values())), "being wrong"),
    (
        lambda params, grads: {name: bool(error < 1e-6) for name, error in right_check(params, grads).items()},
        "True or False is returned",
    ),
    (lambda params, grads: right_check(params, dict.fromkeys(grads, grads["W1"])), "ValueError"),
    (lambda params, grads: {name: relative_error(grads[name], grads[name]) for name in params}, "being wrong"),
    (lambda params, grads: (right_check(params, grads), params.clear())[0], "it changes the keys of params"),
    (
        lambda params, grads: (right_check(params, grads), np.negative(params["b1"], params["b1"]))[0],
        'it changes params["b1"]',
    ),
]


@pytest.mark.parametrize(("function", "sentence"), WRONG_CHECKS)
def test_wrong_checks_are_refused(function, sentence):
    with pytest.raises(CheckFailed) as failure:
        check_check_gradients(lambda loss_fn, params, grads: function(params, grads))
    assert sentence in str(failure.value)


# --- 3.d -------------------------------------------------------------------------------------------


def deviations(params, X, y, reg):
    """The largest deviation of each candidate from PyTorch's gradients."""
    right = solve(params, X, y, reg).gradients()
    return {
        name: max(
            float(np.max(np.abs(got - right[key]))) for key, got in altered(name, backward, params, X, y, reg).items()
        )
        for name in CANDIDATES
    }


def wrong_candidates():
    """Found out on a problem that the check doesn't use."""
    given = random_problem(seed=13, samples=8)
    return [name for name, size in deviations(given.params, given.X, given.y, given.reg).items() if size > 1e-3]


def test_every_candidate_is_right_on_the_toy_problem_and_three_are_wrong_elsewhere():
    params, X, y = toy_problem()
    assert max(deviations(params, X, y, 0.05).values()) < 1e-14
    wrong = wrong_candidates()
    assert len(wrong) == 3
    # Each of three changes reveals another one of them, and accuses no right one.
    biased = {name: array + 0.3 for name, array in params.items()}
    revealed = [
        [name for name, size in deviations(*given).items() if size > 1e-4]
        for given in ((params, X[:4], y[:4], 0.05), (params, X, y, 0.1), (biased, X, y, 0.05))
    ]
    assert sorted(name for names in revealed for name in names) == wrong
    assert [len(names) for names in revealed] == [1, 1, 1]


def point():
    """A point at which all the wrong ones are."""
    given = random_problem(seed=13, samples=8)
    return given.params, given.X, given.y, given.reg


def test_the_hunt_counts_what_is_shown_less_what_is_accused(capsys):
    wrong = wrong_candidates()
    right = [name for name in CANDIDATES if name not in wrong]

    def points(*names, at=None):
        return check_hunt(lambda: dict.fromkeys(names, at or point()), backward)

    assert points(*wrong) == 3.0
    assert "the hunt is over" in capsys.readouterr().out
    assert points(*wrong, at=list(point())) == 3.0
    assert points(*wrong[:2]) == 2.0
    assert points(*wrong, right[0]) == 2.0
    for guess in ((), CANDIDATES, right, (wrong[0], right[1])):
        assert points(*guess) == 0.0


def test_guessing_earns_nothing():
    """Names without a point that shows it: the toy problem shows nothing, whatever is named."""
    params, X, y = toy_problem()
    for count in range(len(CANDIDATES) + 1):
        for names in itertools.combinations(CANDIDATES, count):
            named = dict.fromkeys(names, (params, X, y, 0.05))
            assert check_hunt(lambda named=named: named, backward) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        None, "BC", ["X"], ["B"], {"X": ()}, {"B": True}, {"B": ()}, {"B": (1, 2, 3, 4)}, {"B": ({}, 1, 2, 3)},
        *({"B": (*point()[:n], bad, *point()[n + 1 :])} for n in (1, 2, 3) for bad in (None, "x", np.nan, [[1.0]], -1)),
        {"B": ({**point()[0], "b1": np.zeros(2)}, *point()[1:])},
        {"B": ({**point()[0], "b1": point()[0]["b1"] * np.inf}, *point()[1:])},
    ],
    ids=str,
)  # fmt: skip
def test_the_hunt_wants_points(answer):
    with pytest.raises(CheckFailed, match="wrong_gradients"):
        check_hunt(lambda: answer, backward)


def test_candidates_leave_their_arguments_alone():
    params, X, y = toy_problem()
    before = copy.deepcopy((params, X, y))
    for name in CANDIDATES:
        got = altered(name, backward, params, X, y, 0.3)
        assert {key: array.shape for key, array in got.items()} == {key: array.shape for key, array in params.items()}
    np.testing.assert_equal((params, X, y), before)
    with pytest.raises(ValueError, match="the names are A, B"):
        altered("G", backward, params, X, y, 0.3)


# --- The table and the figure ------------------------------------------------------------------------


def test_the_table_names_the_gradients_that_are_wrong(capsys):
    right = dict.fromkeys(("W1", "W2", "b1", "b2"), 1e-9)
    compare_with_reported(right)
    assert "passed" in capsys.readouterr().out
    for bad in (1e-3, float("nan")):
        with pytest.raises(CheckFailed, match="that of W2 isn't below"):
            compare_with_reported(right | {"W2": bad})


def test_the_figure_shows_truncation_and_round_off():
    import matplotlib

    matplotlib.use("Agg")
    from course_utils.plots.gradient_check import STEPS, draw_error_against_step

    toy, x = TOY_FUNCTIONS["exponential"], np.linspace(-1, 1, 6).reshape(2, 3)
    predicted = {"forward": 1e-12, "central": None}
    picture = draw_error_against_step(on_a_copy, toy.value, x, toy.central(x, 0.0), predicted)
    assert "Best step, forward: predicted 1e-12; seen" in picture.description
    assert "Best step, central: No prediction yet." in picture.description
    assert "V-shaped" in picture.description
    (axes,) = picture.figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert axes.get_xlabel()
    assert axes.get_ylabel()
    points = {line.get_label(): line.get_ydata() for line in axes.lines}
    forward, central = points["forward differences"], points["central differences"]

    def slope(errors, low, high):
        side = [low < step < high for step in STEPS]
        return np.polyfit(np.log(STEPS[side]), np.log(errors[side]), 1)[0]

    assert slope(forward, 1e-6, 1e-2) == pytest.approx(1, abs=0.1)
    assert slope(central, 1e-3, 1e-1) == pytest.approx(2, abs=0.1)
    assert slope(central, 2e-13, 1e-8) == pytest.approx(-1, abs=0.4)
    # The central difference is best near the cube root of the machine precision.
    assert 1e-7 < STEPS[np.argmin(central)] < 1e-3
    assert min(central) < min(forward) / 10
