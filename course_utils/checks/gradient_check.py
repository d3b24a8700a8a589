"""Checks of notebook 3: numerical gradients, and what they reveal.

A test cell can't hand a function to the student's code, which may run in another process.
So the functions to differentiate stand here, under names, and a helper cell beside the
student's code applies it to the one that is named.
"""

from __future__ import annotations

import functools
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from course_utils.comparison import CheckFailed, as_numbers, call, expect_close, expect_keys, passed, roundoff_tolerance
from course_utils.reference import Problem, problem

#: The step that is asked for where none is given.
DEFAULT_STEP = 1e-5
#: A step so large that the truncation error shows: a formula of another order fails.
LARGE_STEP = 0.05
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
    signs = np.where(np.arange(x.size) % 3 == 2, -1.0, 1.0)
    return (signs * (1 + 0.5 * np.sin(np.arange(x.size)))).reshape(x.shape) / np.sqrt(x.size)


def _cubic(x: np.ndarray) -> float:
    return float(np.sum(_weights(x) * x**3))


def _exponential(x: np.ndarray) -> float:
    return float(np.exp(np.sum(_weights(x) * x)))


def _quotient(numerator: np.ndarray, weights: np.ndarray, h: float) -> np.ndarray:
    return numerator / h if h else weights


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


def apply_numerical_gradient(numerical_gradient: Callable, name: str, x: np.ndarray, h: float | None = None) -> dict:
    """Apply a student's ``numerical_gradient`` to the toy function called ``name``.

    Parameters
    ----------
    numerical_gradient : callable
        The student's function.
    name : str
        A key of :data:`TOY_FUNCTIONS`.
    x : array of float
    h : float, optional
        The step; left to the student's function if None.

    Returns
    -------
    dict
        ``gradient``: what the function returned; ``x_afterwards``: x as the call left it.

    Raises
    ------
    ValueError
        If the toy function was called with an array of another shape than x.
    """
    x = np.array(x, dtype=np.float64)
    shape = x.shape

    def f(point: np.ndarray) -> float:
        if np.shape(point) != shape:
            raise ValueError(f"f was called with shape {np.shape(point)}, but x has shape {shape}")
        return TOY_FUNCTIONS[name].value(np.asarray(point))

    gradient = numerical_gradient(f, x) if h is None else numerical_gradient(f, x, h)
    return {"gradient": gradient, "x_afterwards": x}


def toy_loss(params: Mapping[str, np.ndarray]) -> float:
    """The exponential toy function of each of the four arrays, summed; params -> float.

    Raises
    ------
    ValueError
        If the shapes don't fit together: an array stands under another one's name.
    """
    shapes = [np.shape(params[name]) for name in _NAMES]
    if not (shapes[0][1:] == shapes[1] == shapes[2][:1] and shapes[2][1:] == shapes[3]):
        raise ValueError(f"the shapes of W1, b1, W2, b2 don't fit together: {', '.join(map(str, shapes))}")
    return float(sum(TOY_FUNCTIONS["exponential"].value(np.asarray(params[name])) for name in _NAMES))


# --- 3.a to 3.c ------------------------------------------------------------------------------


def check_numerical_gradient(numerical_gradient_of: Callable, on: Problem | None = None) -> None:
    """Check the student's ``numerical_gradient`` through ``numerical_gradient_of(name, x, h)``.

    It must give the central difference quotient, for a large step as well as for the small
    default one, for arrays with one to three axes, and leave x as it was, bit for bit.

    Parameters
    ----------
    numerical_gradient_of : callable
        The helper around :func:`apply_numerical_gradient`.
    on : Problem, optional
        Its arrays are the points at which a hidden test differentiates.
    """
    for x in _points(on or problem("biased")):
        for name in TOY_FUNCTIONS:
            # The large step first: there, the usual mistakes are recognised by their numbers.
            for h in (LARGE_STEP, None):
                got = call(numerical_gradient_of, name, x, h)
                _compare_quotient(got["gradient"], name, x, h)
                _expect_unchanged(got["x_afterwards"], x)
    passed("numerical_gradient gives the central differences and leaves x as it was.", on)


def _points(given: Problem) -> list[np.ndarray]:
    matrix = np.array(given.params["W1"], dtype=np.float64)
    matrix[0, :2] = -0.0, 1e-20  # lost by x + h - h
    return [matrix, np.array(given.params["b1"]), np.array(given.X[:2, None, :3], dtype=np.float64)]


def _compare_quotient(got: Any, name: str, x: np.ndarray, h: float | None) -> None:
    toy = TOY_FUNCTIONS[name]
    step = DEFAULT_STEP if h is None else h
    expected = toy.central(x, step)
    # A difference of two values of f, each off by its round-off, is divided by 2h. The
    # terms of f sum to less than this size, in the exponent of the exponential as well.
    size = float(np.sum(np.abs(_weights(x) * (1 + np.abs(x) ** 3)))) * max(1.0, abs(toy.value(x)))
    known = {
        "h": step, "forward_difference": toy.forward(x, step), "backward_difference": toy.backward(x, step),
        "default_step": toy.central(x, DEFAULT_STEP), "exact": toy.central(x, 0.0),
    }  # fmt: skip
    argument = "" if h is None else f", h={h:g}"
    expect_close(
        f"numerical_gradient(f, x{argument}) of the {name} f", got, expected, known=known,
        tolerance=roundoff_tolerance(np.float64, 1, size) / step,
    )  # fmt: skip


def _expect_unchanged(after: Any, before: np.ndarray) -> None:
    after = np.asarray(after)
    changed = after.view(np.uint64) != before.view(np.uint64)
    if changed.any():
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
    for text, (a, b) in cases.items():
        expected = np.max(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))
        got = call(relative_error, a, b)
        # The rounding of a and b themselves is common to both; that of a - b is 1e-16 of it.
        expect_close(
            f"relative_error {text}",
            got,
            expected,
            tolerance=1e-12 * max(float(expected), 1e-3),
            known={"a": a, "b": b},
        )
    passed("relative_error is right, at zero too.", on)


def check_check_gradients(
    check_gradients_of: Callable,
    numerical_gradient_of: Callable | None = None,
    relative_error: Callable | None = None,
    on: Problem | None = None,
) -> None:
    """Check the student's ``check_gradients`` through ``check_gradients_of(params, grads)``.

    The helper calls it with :func:`toy_loss`. Right gradients must give small errors, and
    altered ones the error that the alteration makes. With the student's other functions, a
    mistake in these isn't counted again.
    """
    given = on or problem("biased")
    params = {name: np.array(array, dtype=np.float64) for name, array in given.params.items()}
    right = {name: TOY_FUNCTIONS["exponential"].central(array, 0.0) for name, array in params.items()}
    for turn, wrong in enumerate((None, *_NAMES)):
        altered = {name: array.copy() for name, array in right.items()}
        if wrong is not None:
            altered[wrong].flat[-1] *= 1 + 0.1 * turn if turn > 1 else -0.5
        errors = expect_keys("check_gradients", call(check_gradients_of, params, altered), _NAMES)

        def own(name: str, altered: dict = altered) -> Any:
            answer = call(numerical_gradient_of, "exponential", params[name], None)
            return call(relative_error, np.asarray(answer["gradient"]), altered[name])

        for name in _NAMES:
            expected = np.max(np.abs(altered[name] - right[name]) / (np.abs(altered[name]) + np.abs(right[name])))
            # The round-off of the loss, divided by the step and by the smallest derivative.
            tolerance = roundoff_tolerance(np.float64, max(array.size for array in params.values()), toy_loss(params))
            tolerance /= DEFAULT_STEP * np.min(np.abs(right[name]))
            if name != wrong and _is_off(lambda name=name, own=own: own(name), float(tolerance)):
                continue  # the student's own functions make much of round-off, which nobody foresees
            expect_close(
                f"check_gradients: the error of {name}"
                + (", all gradients being right" if wrong is None else f", one entry of {wrong} being wrong"),
                errors[name], expected, tolerance=float(tolerance), follows=[lambda name=name, own=own: own(name)],
            )  # fmt: skip
    _expect_params_unchanged(check_gradients_of, numerical_gradient_of, params, right)
    passed("check_gradients finds right gradients right and wrong ones wrong.", on)


def _is_off(own: Callable[[], Any], tolerance: float) -> bool:
    """Whether the student's own functions find an error where there is none."""
    try:
        return bool(np.abs(as_numbers("error", own())) > tolerance)
    except Exception:  # a stand-in takes its place
        return False


def _expect_params_unchanged(
    check_gradients_of: Callable, numerical_gradient_of: Callable | None, params: dict, grads: dict
) -> None:
    kept = {name: array.copy() for name, array in params.items()}
    # call copies what it passes on, but not what is bound already.
    call(functools.partial(check_gradients_of, kept), grads)
    changed = [name for name in _NAMES if not np.array_equal(kept.get(name), params[name])]
    if not changed or _changes(numerical_gradient_of, params):
        return
    raise CheckFailed(
        "params after check_gradients", f"{', '.join(changed)} {'has' if len(changed) == 1 else 'have'} changed."
    )


def _changes(numerical_gradient_of: Callable | None, params: dict) -> bool:
    """Whether the student's numerical gradient changes an array that it is given, which its own check says."""
    if numerical_gradient_of is None:
        return False
    try:
        answers = [(call(numerical_gradient_of, "exponential", array, None), array) for array in params.values()]
        return any(not np.array_equal(answer["x_afterwards"], array) for answer, array in answers)
    except (CheckFailed, NotImplementedError):  # a stand-in takes its place
        return False


# --- 3.d, the hunt ---------------------------------------------------------------------------

#: The functions among which the wrong ones are to be found.
CANDIDATES = ("A", "B", "C", "D", "E", "F")


def candidate_gradients(name: str, params: Mapping[str, np.ndarray], X: Any, y: Any, reg: float) -> dict:
    """What gradient function ``name`` gives for the regularised loss; it may be wrong.

    Parameters
    ----------
    name : str
        One of :data:`CANDIDATES`.
    params, X, y, reg
        As for ``backward``.

    Returns
    -------
    dict
        Keys and shapes of ``params``. On the toy problem with reg = 0.05 it is right, whatever the name.
    """
    from course_utils.oracle import solve

    if name not in CANDIDATES:
        raise ValueError(f"there is no candidate {name!r}; the names are {', '.join(CANDIDATES)}")
    return _candidate(name, solve(params, X, y, reg))


def _candidate(name: str, given: Problem) -> dict[str, np.ndarray]:
    # What is altered hangs on the digits of a checksum: read the gradients, not the source.
    digits = [zlib.crc32(f"{name}{turn}0176".encode()) % 5 == 0 for turn in range(3)]
    factor = len(given.X) / 5 if digits[0] else 1.0
    strength = 0.05 if digits[1] else given.reg
    priced = ("W1", "W2", "b1", "b2") if digits[2] else ("W1", "W2")
    return {
        key: factor * given.values[f"d{key}"] + (2 * strength * array if key in priced else 0.0)
        for key, array in given.params.items()
    }


def check_hunt(wrong_gradients: Callable) -> float:
    """The points for ``wrong_gradients()`` -> list of the names of the wrong candidates.

    One point for each wrong candidate that is named, less one for each right one that is,
    but not below 0. Which are wrong is found out by comparison with the reference gradients.
    """
    named = call(wrong_gradients)
    if isinstance(named, (set, frozenset, np.ndarray)):
        named = named.tolist() if isinstance(named, np.ndarray) else list(named)
    if not isinstance(named, (list, tuple)) or not all(isinstance(name, str) for name in named):
        raise CheckFailed("wrong_gradients", f"it returned {named!r}, expected a list of names such as ['A', 'B'].")
    unknown = sorted(set(named) - set(CANDIDATES))
    if unknown:
        raise CheckFailed(
            "wrong_gradients", f"there is no {', '.join(unknown)}; the names are {', '.join(CANDIDATES)}."
        )
    given = problem("biased")
    right = given.gradients()
    wrong = {
        name
        for name in CANDIDATES
        if any(np.max(np.abs(got - right[key])) > 1e-6 for key, got in _candidate(name, given).items())
    }
    found, accused = len(wrong & set(named)), len(set(named) - wrong)
    points = float(max(found - accused, 0))
    print(f"wrong ones found: {found} of {len(wrong)}; right ones named: {accused}; points: {points:g} of {len(wrong)}")
    if found == len(wrong) and not accused:
        passed("the hunt is over.")
    return points


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
