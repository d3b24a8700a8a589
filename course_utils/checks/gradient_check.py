"""Checks of notebook 3: numerical gradients, and what they reveal."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from course_utils import mistakes
from course_utils.comparison import (
    CheckFailed,
    as_numbers,
    call,
    call_keeping,
    call_on,
    on_problem,
    passed,
    roundoff_tolerance,
)
from course_utils.helpers import with_helpers
from course_utils.hunt import CANDIDATES, altered
from course_utils.judge import Asked, Part, Reference, answers, judge
from course_utils.reference import Problem, problem

#: The step that is asked for where none is given.
DEFAULT_STEP = 1e-5
#: A step so large that the truncation error shows: a formula of another order fails.
LARGE_STEP = 0.5
#: The largest relative error of a right gradient on the toy problem.
RIGHT_GRADIENT = 1e-8
_NAMES = ("W1", "b1", "W2", "b2")


# --- Functions whose differences are known -------------------------------------------------


class ToyFunction(NamedTuple):
    """A function of an array with any shape, and its difference quotients in closed form.

    Attributes
    ----------
    value : callable
        ``value(x)`` -> float.
    central, forward, backward : callable
        ``(x, h)`` -> array shaped like x: the difference quotients with step h that an
        exact computation would give. At h = 0 each is the gradient.
    """

    value: Callable[[np.ndarray], float]
    central: Callable[[np.ndarray, float], np.ndarray]
    forward: Callable[[np.ndarray, float], np.ndarray]
    backward: Callable[[np.ndarray, float], np.ndarray]


def _weights(x: np.ndarray) -> np.ndarray:
    """A different weight for every entry, of size 0.5 to 1.5 over the root of their number; each third is negative."""
    return _weights_of(x.shape)


@functools.cache
def _weights_of(shape: tuple[int, ...]) -> np.ndarray:
    places = np.arange(math.prod(shape))
    signs = np.where(places % 3 == 2, -1.0, 1.0)
    return (signs * (1 + 0.5 * np.sin(places))).reshape(shape) / np.sqrt(places.size)


def _cubic(x: np.ndarray) -> float:
    return float(np.sum(_weights(x) * x**3))


def _exponential(x: np.ndarray) -> float:
    return float(np.exp(np.sum(_weights(x) * x)))


def _quotient(numerator: np.ndarray, weights: np.ndarray, h: float | np.ndarray) -> np.ndarray:
    return numerator / h if np.any(h) else weights


#: ``cubic``: sum of w x^3, each entry for itself. ``exponential``: exp of the sum of w x, all together.
TOY_FUNCTIONS = {
    "cubic": ToyFunction(
        _cubic,
        lambda x, h: _weights(x) * (3 * x**2 + h**2),
        lambda x, h: _weights(x) * (3 * x**2 + 3 * x * h + h**2),
        lambda x, h: _weights(x) * (3 * x**2 - 3 * x * h + h**2),
    ),
    "exponential": ToyFunction(
        _exponential,
        lambda x, h: _exponential(x) * _quotient(np.sinh(_weights(x) * h), _weights(x), h),
        lambda x, h: _exponential(x) * _quotient(np.expm1(_weights(x) * h), _weights(x), h),
        lambda x, h: _exponential(x) * _quotient(-np.expm1(-_weights(x) * h), _weights(x), h),
    ),
}


def toy_loss(params: Mapping[str, np.ndarray]) -> float:
    """The exponential toy function of each of the arrays, W1, b1, W2, b2 and perhaps more layers, summed; a float.

    Raises
    ------
    ValueError
        If the shapes don't fit together: an array stands under another one's name.
    """
    names = [*_NAMES, *(name for name in ("W3", "b3") if name in params)]
    shapes = [np.shape(params[name]) for name in names]
    weights, biases = shapes[::2], shapes[1::2]
    if [W[1:] for W in weights] != biases or [W[:1] for W in weights[1:]] != biases[:-1]:
        raise ValueError(
            f"the shapes of {', '.join(names)} don't fit together: {', '.join(map(str, shapes))}. An array stands under"
            " another one's name. (A lambda that is made in a loop sees the name with which the loop ends; lambda v,"
            " name=name: ... keeps its own.)"
        )
    return float(sum(TOY_FUNCTIONS["exponential"].value(np.asarray(params[name])) for name in names))


_QUOTIENTS = Reference(mistakes.quotients, deviations=mistakes.QUOTIENTS)

# --- 3.a to 3.c ------------------------------------------------------------------------------


@answers("test-numerical-gradient")
def check_numerical_gradient(numerical_gradient: Callable, on: Problem | None = None) -> None:
    """Check ``numerical_gradient(f, x, h=1e-5)`` -> the central difference quotients, an array of x's shape.

    They are asked for a large step as well as for the small default one, for arrays with one to
    three axes; x must be as it was, bit for bit.

    Parameters
    ----------
    numerical_gradient : callable
        The student's function.
    on : Problem, optional
        Its arrays are the points at which a hidden test differentiates.
    """
    given = on or problem("unregularised")
    points = _points(given)
    # The large step first: there, the usual mistakes are recognised by their numbers.
    ways = [("cubic", LARGE_STEP), ("exponential", LARGE_STEP), ("exponential", None)]
    asked = [_quotient_of(name, x, h, given) for x in points for name, h in ways]
    try:
        judge(numerical_gradient, asked, _QUOTIENTS, "test-numerical-gradient")
    except CheckFailed as failure:
        if failure.raised:
            raise
        try:
            _expect_unchanged(numerical_gradient, points[0])
        except CheckFailed as another:
            if failure.cause is None:  # an x that isn't put back spoils the values too
                raise another from None
            failure.problem += f" And {another.quantity}: {another.problem} {another.cause}"
        raise
    _expect_unchanged(numerical_gradient, points[0])
    passed("numerical_gradient gives the central differences and leaves x as it was.", on)


def _points(given: Problem) -> list[np.ndarray]:
    matrix = np.array(given.params["W1"], dtype=np.float64)
    matrix[0, :2] = -0.0, 1e-20  # lost by x + h - h
    return [matrix, np.array(given.params["b1"]), np.array(given.X[:2, None, :3], dtype=np.float64)]


def _quotient_of(name: str, x: np.ndarray, h: float | None, given: Problem) -> Asked:
    toy, step = TOY_FUNCTIONS[name], DEFAULT_STEP if h is None else h

    def f(point: np.ndarray) -> float:
        if np.shape(point) != x.shape:
            raise ValueError(f"f was called with shape {np.shape(point)}, but x has shape {x.shape}")
        return toy.value(np.asarray(point))

    # A difference of two values of f, each off by its round-off, is divided by 2h. The
    # terms of f sum to less than this size, in the exponent of the exponential as well.
    size = float(np.sum(np.abs(_weights(x) * (1 + np.abs(x) ** 3)))) * max(1.0, abs(toy.value(x)))
    label = f"numerical_gradient(f, x{'' if h is None else f', h={h:g}'}) of the {name} f"
    # Allowed at the large step too: one that is ignored shows the round-off of the small one.
    part = Part(label, toy.central(x, step), roundoff_tolerance(np.float64, 1, size) / DEFAULT_STEP)
    arguments = {"f": f, "x": x} | ({} if h is None else {"h": h})
    known = {"toy": toy, "step": step}
    return Asked(given, arguments, {"gradient": part}, spent=("x",), known=known)


def _expect_unchanged(numerical_gradient: Callable, before: np.ndarray) -> None:
    for h in (LARGE_STEP, DEFAULT_STEP):
        after = before.copy()
        call_on(numerical_gradient, TOY_FUNCTIONS["cubic"].value, after, h)
        changed = after.view(np.uint64) != before.view(np.uint64)
        if not changed.any():
            continue
        where = tuple(int(i) for i in np.argwhere(changed)[0])
        raise CheckFailed(
            "x after numerical_gradient",
            f"{int(changed.sum())} of {before.size} entries have changed; the first at {list(where)}:"
            f" {float(before[where])!r} before, {float(after[where])!r} after.",
            cause="in floating-point arithmetic, x + h - h isn't always x. Put the old value itself back,"
            " or work on a copy."
            if np.max(np.abs(after - before)) < 1e-9  # round-off, and no step
            else "f is called with x itself, which isn't put back. Do that after each entry, or work on a copy.",
        )


@answers("test-relative-error")
def check_relative_error(relative_error: Callable, on: Problem | None = None) -> None:
    """Check ``relative_error(a, b)``: arrays of equal shape -> max |a - b| / max(1e-8, |a| + |b|), a float."""
    given = on or problem("biased")
    rng = np.random.default_rng(0)
    # Sums of two entries above 1 and below it: a lower limit of 1 shows.
    weights = 4 * np.array(given.params["W1"], dtype=np.float64)
    nearly = weights * (1 + 1e-4 * rng.standard_normal(weights.shape))
    zeros = np.zeros_like(weights)
    # The largest relative error isn't where the largest difference is.
    small = weights.copy()
    small[1, 1] = 1e-6 * np.abs(weights).max()
    unlike = small.copy()
    unlike[1, 1] *= -3.0
    unlike.flat[np.argsort(np.abs(unlike), axis=None)[-2]] *= 0.9
    bias = np.array(given.params["b1"], dtype=np.float64)
    cases = {
        "of equal arrays": (weights, weights),
        "of nearly equal arrays": (nearly, weights),
        "of arrays that differ in a small entry": (unlike, small),
        "of two arrays of zeros": (zeros, zeros),
        "of a tiny difference from zero": (zeros[0], np.full_like(zeros[0], 3e-12)),
        "of opposite arrays": (bias, -bias),
        "of two numbers": (2.0, 2.5),
    }
    asked = []
    for text, (a, b) in cases.items():
        expected = mistakes.relative_errors({"a": a, "b": b}, {})["error"]
        # The rounding of a and b themselves is common to both; that of a - b is 1e-16 of it.
        part = Part(f"relative_error {text}", expected, 1e-12 * max(float(expected), 1e-3))
        asked.append(Asked(given, {"a": a, "b": b}, {"error": part}, spent=("a", "b")))
    judge(
        relative_error,
        asked,
        Reference(mistakes.relative_errors, deviations=mistakes.RELATIVE_ERRORS),
        "test-relative-error",
    )
    passed("relative_error is right, at zero too.", on)


@answers("test-check-gradients")
def check_check_gradients(check_gradients: Callable, on: Problem | None = None) -> None:
    """Check ``check_gradients(loss_fn, params, grads)`` -> dict name -> relative error, with :func:`toy_loss`.

    Right gradients must give small errors, and altered ones the error that the alteration makes; the names are those
    of ``params``, in the last case those of three layers.
    """
    given = on or problem("unregularised")
    two_layers = {name: np.array(array, dtype=np.float64) for name, array in given.params.items()}
    three_layers = two_layers | {"W3": two_layers["W2"][:2].T.copy(), "b3": two_layers["b2"][:2] - 0.5}
    deeper = given._replace(name=f"params of three layers, W1, b1, W2, b2, W3, b3, with N={len(given.X)}")
    asked = [
        _gradients_of(given, two_layers, {}),
        _gradients_of(given, two_layers, {"W1": 1.2, "b1": -0.5, "W2": 1.3, "b2": 1.4}),
        _gradients_of(deeper, three_layers, {"W3": 1.5}),
    ]
    reference = Reference(mistakes.checked_gradients, mistakes.right_of_checking, mistakes.CHECKING)
    judge(check_gradients, asked, reference, "test-check-gradients")
    _expect_params_put_back(check_gradients, asked[0])
    passed("check_gradients finds right gradients right and wrong ones wrong.", on)


def _expect_params_put_back(check_gradients: Callable, one: Asked) -> None:
    """With a numerical gradient that moves copies, what is put into params isn't put back by it."""

    def moves_a_copy(f: Callable, x: Any, h: float = DEFAULT_STEP) -> np.ndarray:
        f(np.asarray(x) + 1.0)
        return np.zeros(np.shape(x))

    try:
        with on_problem(one.given):
            # The student's relative_error may overwrite what it is given.
            helpers: dict[str, Callable] = {"numerical_gradient": moves_a_copy, "relative_error": lambda a, b: 0.0}
            call_keeping(with_helpers(check_gradients, helpers), one.arguments)
    except CheckFailed as failure:
        if failure.kind == "argument changed":
            raise


def _gradients_of(given: Problem, params: dict[str, np.ndarray], wrong: Mapping[str, float]) -> Asked:
    """Gradients of which the arrays ``wrong`` have an entry that is multiplied by a factor."""
    right = {name: TOY_FUNCTIONS["exponential"].central(array, 0.0) for name, array in params.items()}
    altered = {name: array.copy() for name, array in right.items()}
    for turn, (name, factor) in enumerate(wrong.items(), start=1):
        altered[name].flat[-(turn % 2)] *= factor  # the last entries of some and the first ones of others
    parts = {}
    for name in params:
        expected = np.max(np.abs(altered[name] - right[name]) / (np.abs(altered[name]) + np.abs(right[name])))
        # The round-off of the loss, divided by the step and by the smallest derivative.
        tolerance = roundoff_tolerance(np.float64, max(array.size for array in params.values()), toy_loss(params))
        tolerance /= DEFAULT_STEP * np.min(np.abs(right[name]))
        entry = f"one entry of {'each of ' if len(wrong) > 1 else ''}{', '.join(wrong)}"
        case = f", {entry} being wrong" if wrong else ", all gradients being right"
        parts[name] = Part(f"check_gradients: the error of {name}{case}", expected, float(tolerance))
    # In another order than params: the names tell what belongs together.
    arguments = {"loss_fn": toy_loss, "params": params, "grads": dict(reversed(altered.items()))}
    return Asked(given, arguments, parts, {name: name for name in params}, known={"exact": right})


# --- 3.d, the hunt ---------------------------------------------------------------------------

#: From this relative error on, a gradient is wrong, whatever the numerical one's own error.
WRONG_GRADIENT = 1e-4
#: Numbers in the arrays of one point; enough for any network on which a check is quick.
_LARGEST_POINT = 20_000


@answers("test-hunt")
def check_hunt(wrong_gradients: Callable, backward: Callable) -> float:
    """The points for ``wrong_gradients()`` -> dict, name of a wrong candidate -> ``(params, X, y, reg)``.

    One point for each wrong candidate with a point at which its gradient is wrong, less one for
    each right candidate that is named, but not below 0.

    Parameters
    ----------
    wrong_gradients : callable
        The student's function.
    backward : callable
        A right one.
    """
    named = call(wrong_gradients)
    if not isinstance(named, dict):
        raise CheckFailed(
            "wrong_gradients",
            f"it returned {type(named).__name__}, expected a dict: name of a wrong candidate -> (params, X, y, reg).",
        )
    unknown = sorted(map(str, set(named) - set(CANDIDATES)))
    if unknown:
        raise CheckFailed(
            "wrong_gradients", f"there is no {', '.join(unknown)}; the names are {', '.join(CANDIDATES)}."
        )
    given = problem("biased")
    wrong = {name for name in CANDIDATES if _error(name, backward, (given.params, given.X, given.y, given.reg)) > 1e-3}
    shown = 0
    for name in sorted(named):
        point = _point(name, named[name])
        error = _error(name, backward, point)
        shown += name in wrong and error > WRONG_GRADIENT
        print(f"{name}: at this point its largest relative error is {error:.0e}.")
    accused = len(set(named) - wrong)
    points = float(max(shown - accused, 0))
    print(
        f"shown to be wrong: {shown} of {len(wrong)}; right ones named: {accused}; points: {points:g} of {len(wrong)}"
    )
    if shown == len(wrong) and not accused:
        passed("the hunt is over.")
    return points


def _error(name: str, backward: Callable, point: tuple) -> float:
    """The largest relative error of a candidate's gradients."""
    got, right = altered(name, backward, *point), backward(*point)
    errors = (mistakes.relative_errors({"a": got[key], "b": np.asarray(right[key])}, {})["error"] for key in got)
    return float(max(errors))


def _point(name: str, point: Any) -> tuple:
    """``(params, X, y, reg)``, or :class:`CheckFailed` if a network can't be computed with it."""
    quantity = f"wrong_gradients: the point for {name}"
    if not isinstance(point, (tuple, list)) or len(point) != 4 or not isinstance(point[0], dict):
        raise CheckFailed(quantity, "it isn't a tuple (params, X, y, reg).")
    params, X, y, reg = point
    missing = [key for key in _NAMES if key not in params]
    if missing:
        raise CheckFailed(quantity, f"params lacks {', '.join(missing)}.")
    arrays = {key: as_numbers(f"{key} of {quantity}", params[key]).astype(np.float64) for key in _NAMES}
    X, labels = as_numbers(f"X of {quantity}", X).astype(np.float64), as_numbers(f"y of {quantity}", y)
    shapes = {key: array.shape for key, array in arrays.items()}
    D, H, K = (*(shapes["W1"] + (0, 0))[:2], (shapes["W2"] + (0, 0))[1])
    if (
        shapes != {"W1": (D, H), "b1": (H,), "W2": (H, K), "b2": (K,)}
        or X.shape[1:] != (D,)
        or labels.shape != X.shape[:1]
    ):
        raise CheckFailed(quantity, f"the shapes don't fit together: {shapes}, X {X.shape}, y {labels.shape}.")
    if not 0 < X.size <= _LARGEST_POINT or sum(array.size for array in arrays.values()) > _LARGEST_POINT:
        raise CheckFailed(quantity, f"it has no samples, or arrays of more than {_LARGEST_POINT:,} numbers.")
    if labels.dtype.kind not in "iu" or labels.min() < 0 or labels.max() >= K:
        raise CheckFailed(quantity, f"y must hold integers from 0 to {K - 1}.")
    strength = as_numbers(f"reg of {quantity}", reg)
    finite = [np.isfinite(array).all() for array in (*arrays.values(), X, strength)]
    if strength.ndim or strength < 0 or not all(finite):
        raise CheckFailed(quantity, "reg must be a number >= 0, and all numbers finite.")
    return arrays, X, labels, float(strength)


# --- The four relative errors ------------------------------------------------------------------

#: Errors reported for this assignment in 2020, on the toy problem with reg = 0.05 and h = 1e-5.
REPORTED_ERRORS = {"W1": 3.561318e-09, "W2": 3.440708e-09, "b1": 2.738422e-09, "b2": 4.447667e-11}


def compare_with_reported(errors: Mapping[str, float]) -> None:
    """Print the four relative errors beside the reported ones; each must be below 1e-8."""
    print("            yours   reported in 2020")
    for name, reported in REPORTED_ERRORS.items():
        print(f"{name}       {float(errors[name]):.1e}            {reported:.1e}")
    too_large = [name for name in REPORTED_ERRORS if not as_numbers(name, errors[name]) < RIGHT_GRADIENT]
    if too_large:
        raise CheckFailed(
            "relative errors", f"that of {', '.join(too_large)} isn't below {RIGHT_GRADIENT:g}. Is the gradient wrong?"
        )
    passed(f"each is below {RIGHT_GRADIENT:g}.")
