"""Notebook 3: difference quotients, relative errors and their comparison, and what is often done wrong in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from course_utils.deviations import Deviation, Values
from course_utils.mistakes.general import PRECISION, stage


def quotients(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``quotient`` of a toy function: ``toy``, ``x`` and ``step`` -> the difference quotients."""
    quotient = changes.get("quotient", lambda toy, x, h: toy.central(x, h))
    return {"gradient": quotient(arguments["toy"], arguments["x"], arguments["step"])}


def _without_reset(sign: float) -> Callable:
    """Central differences of a copy in which each entry stays where it was moved last."""

    def quotient(toy: Any, x: np.ndarray, h: float) -> np.ndarray:
        point, found = x.copy(), np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            values = []
            for side in (h, -h):
                point[index] = x[index] + side
                values.append(toy.value(point))
            found[index] = (values[0] - values[1]) / (2 * h)
            point[index] = x[index] + sign * h
        return found

    return quotient


def _of_two_copies(toy: Any, x: np.ndarray, h: float) -> np.ndarray:
    """Central differences of one copy for each side, in which every entry stays where it was moved."""
    above, below, found = x.copy(), x.copy(), np.zeros(x.shape)
    for index in np.ndindex(x.shape):
        above[index], below[index] = x[index] + h, x[index] - h
        found[index] = (toy.value(above) - toy.value(below)) / (2 * h)
    return found


def _of_entries(quotient: Callable, dtype: type = np.float64) -> Callable:
    """A quotient of the values above, at and below each entry of x and of h, with all round-off that a student gets."""

    def quotients(toy: Any, x: np.ndarray, h: float) -> np.ndarray:
        x = x.astype(dtype)
        found, here = np.zeros(x.shape), toy.value(x)
        for index in np.ndindex(x.shape):
            above, below = x.copy(), x.copy()
            above[index], below[index] = x[index] + h, x[index] - h
            found[index] = quotient(toy.value(above), here, toy.value(below), h)
        return found

    return quotients


def _short(number: float) -> str:
    """As a student writes it, 1e-5."""
    return f"{number:g}".replace("e-0", "e-")


def _only(chosen: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """Central differences at some entries, and zeros elsewhere."""
    return lambda toy, x, h: np.where(chosen(np.arange(x.size).reshape(x.shape)), toy.central(x, h), 0.0)


def _moved_together(axis: int) -> Callable:
    """Central differences where all entries with the same place on one axis are moved at once."""

    def quotient(toy: Any, x: np.ndarray, h: float) -> np.ndarray:
        found = np.zeros(x.shape)
        for place in range(x.shape[axis]):
            moved = np.zeros(x.shape)
            moved.swapaxes(0, axis)[place] = h
            found.swapaxes(0, axis)[place] = (toy.value(x + moved) - toy.value(x - moved)) / (2 * h)
        return found

    return quotient


_of_quotient = stage("quotient")
QUOTIENTS = (
    _of_quotient("forward_difference", lambda toy, x, h: toy.forward(x, h),
        "this is the forward difference (f(x + h) - f(x)) / h; the central one is asked."),
    _of_quotient("backward_difference", lambda toy, x, h: toy.backward(x, h),
        "this is the backward difference (f(x) - f(x - h)) / h; the central one is asked."),
    _of_quotient("divided_by_h", lambda toy, x, h: 2 * toy.central(x, h),
        "the difference is divided by h, but x + h and x - h lie 2h apart."),
    _of_quotient("divided_by_4h", lambda toy, x, h: toy.central(x, h) / 2,
        "the difference is divided by 4h, but x + h and x - h lie 2h apart."),
    _of_quotient("divided_by_h_squared", lambda toy, x, h: 2 * toy.central(x, h) / h,
        "the difference is divided by h^2; divide it by 2h."),
    *(
        _of_quotient(f"{small:g}_added_to_2h", lambda toy, x, h, c=small: toy.central(x, h) * 2 * h / (2 * h + c),
            f"{_short(small)} is added to 2h; divide by 2h itself.")
        for small in (1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12)
    ),
    *(
        _of_quotient("second_derivative", _of_entries(curvature),
            "this is the second derivative, (f(x + h) - 2 f(x) + f(x - h)) / h^2; the first is asked.")
        for curvature in (
            lambda above, here, below, h: (above - 2 * here + below) / h**2,
            lambda above, here, below, h: (above + below - 2 * here) / h**2,
        )
    ),
    _of_quotient("x_in_single_precision",
        _of_entries(lambda above, here, below, h: (above - below) / (2 * h), np.float32),
        "x is cast to single precision (float32), which has 7 digits; keep float64."),
    *(
        _of_quotient(f"{name}_moved_over_h", lambda toy, x, h, axis=axis: 2 * _moved_together(axis)(toy, x, h),
            f"whole {name} of x are moved at once, and the difference is divided by h: move one entry at a time, and"
            " divide by 2h.")
        for name, axis in (("rows", 0), ("columns", -1))
    ),
    _of_quotient("multiplied_by_h", lambda toy, x, h: toy.central(x, h) * h * h,
        "the difference is divided by 2 and multiplied by h: put 2 * h in parentheses."),
    _of_quotient("not_divided", lambda toy, x, h: 2 * h * toy.central(x, h),
        "the difference f(x + h) - f(x - h) isn't divided by 2h."),
    _of_quotient("forward_halved", lambda toy, x, h: toy.forward(x, h) / 2,
        "this is (f(x + h) - f(x)) / (2h): the second point is x - h, taken from the x of the beginning."),
    _of_quotient("backward_halved", lambda toy, x, h: toy.backward(x, h) / 2,
        "this is (f(x) - f(x - h)) / (2h): the first point is x + h, taken from the x of the beginning."),
    _of_quotient("forward_not_divided", lambda toy, x, h: toy.forward(x, h) * h,
        "this is f(x + h) - f(x): the second point is x - h, and the difference is to be divided by 2h."),
    _of_quotient("sum_for_difference", lambda toy, x, h: toy.forward(x, h) - toy.backward(x, h),
        "the forward and the backward difference are subtracted; their mean is the central one."),
    _of_quotient("sign", lambda toy, x, h: -toy.central(x, h), "the sign is wrong: it is f(x + h) - f(x - h)."),
    _of_quotient("half_a_step", lambda toy, x, h: toy.central(x, h / 2),
        "the points are x + h/2 and x - h/2; they are x + h and x - h."),
    _of_quotient("half_a_step_divided_by_2h", lambda toy, x, h: toy.central(x, h / 2) / 2,
        "the points are x + h/2 and x - h/2, and the difference is divided by 2h: move x by h."),
    *(
        _of_quotient(
            f"points_always_{step:g}_apart", lambda toy, x, h, step=step: toy.central(x, step) * step / h,
            f"the points are always {_short(step)} from x, and the difference is divided by 2h: move x by h.",
            common="the points are moved by a fixed small step, and the difference is divided by 2h: move x by h.",
        )
        for step in (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    ),
    _of_quotient("double_step", lambda toy, x, h: toy.central(x, 2 * h),
        "the points are x + 2h and x - 2h; they are x + h and x - h."),
    *(
        _of_quotient(
            f"step_always_{step:g}", lambda toy, x, h, step=step: toy.central(x, step),
            f"h isn't used: the values are those of a fixed small step, {step:g}.",
            common="h isn't used: the values are those of a fixed small step.",
        )
        for step in (0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
    ),
    _of_quotient("not_reset", _without_reset(-1.0),
        "each entry stays at x - h when the next one is moved: put it back first, or take a new copy."),
    _of_quotient("not_reset_above", _without_reset(1.0),
        "each entry stays at x + h when the next one is moved: put it back first, or take a new copy."),
    _of_quotient("copies_not_reset", _of_two_copies,
        "in the copies, each entry stays moved when the next one is: put it back first, or take new copies."),
    _of_quotient("last_left_out", _only(lambda place: place < place.size - 1),
        "the last entry is left out: the loop ends one too early."),
    _of_quotient("first_left_out", _only(lambda place: place > 0), "the first entry is left out."),
    _of_quotient("first_row_only", _only(lambda place: place < place.shape[-1]),
        "only the first row is differentiated; every entry is asked."),
    _of_quotient("fixed_divisor", lambda toy, x, h: toy.central(x, h) * h / 1e-5,
        "the difference is divided by a fixed number, 2e-5, whatever h is; divide it by 2h."),
    *(
        _of_quotient(f"{name}_moved", _moved_together(axis), f"whole {name} of x are moved at once; move one entry at"
            " a time, as for index in np.ndindex(x.shape) does.")
        for name, axis in (("rows", 0), ("columns", -1))
    ),
    *(
        _of_quotient("step_by_entry", lambda toy, x, h, of=of, by=by: toy.central(x, h * of(x)) * by(of(x)),
            "the step grows with the size of the entry; it is h for every entry.")
        for of in (lambda x: np.maximum(1, np.abs(x)), lambda x: 1 + np.abs(x))
        for by in (np.ones_like, lambda size: size)  # divided by twice the step, or by 2h
    ),
    _of_quotient("same_point", lambda toy, x, h: np.zeros(x.shape),
        "every value is zero: is f called at two different points, x + h and x - h, and each quotient kept? (x_minus ="
        " x_plus gives an array a second name; .copy() or flatten() makes a second array, of whose changes f sees"
        " nothing.)"),
    _of_quotient("all_entries_moved",
        lambda toy, x, h: np.full(x.shape, (toy.value(x + h) - toy.value(x - h)) / (2 * h)),
        "all entries of x are moved at once; only one is."),
    *(
        _of_quotient(
            "higher_order",
            lambda toy, x, h, near=near: (4 * toy.central(x, near * h) - toy.central(x, 2 * near * h)) / 3,
            "the error of order h^2 is missing: this is a formula of higher order; the central difference has two"
            " points.",
        )
        for near in (1, 0.5)
    ),
    _of_quotient("absolute_difference", lambda toy, x, h: np.abs(toy.central(x, h)),
        "the difference's sign is lost: it is f(x + h) - f(x - h), which may be negative."),
    _of_quotient("averaged", lambda toy, x, h: toy.central(x, h) / x.size,
        "the quotients are divided by the number of entries of x."),
    Deviation("flat", "returned", lambda v, got, N: v.ravel(), "the gradient is flat; it has the shape of x."),
    Deviation("columns_first", "returned", lambda v, got, N: v.ravel().reshape(v.shape, order="F"),
        "the values are put into the array column by column, in another order than that of the entries of x."),
    Deviation("columns_taken_first", "returned", lambda v, got, N: v.ravel(order="F").reshape(v.shape),
        "the entries of x are taken column by column (order F), but the values are put back row by row."),
    *PRECISION,
)  # fmt: skip


def relative_errors(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The one stage ``relative_error`` of ``a`` and ``b``."""
    return {"error": changes.get("relative_error", _relative_error)(arguments["a"], arguments["b"])}


def _differences(a: Any, b: Any) -> tuple[np.ndarray, np.ndarray]:
    return np.abs(np.subtract(a, b)), np.abs(a) + np.abs(b)


def _relative_error(a: Any, b: Any) -> np.floating:
    # A NumPy number, which has the methods of the array that a caller may have counted on.
    difference, total = _differences(a, b)
    return np.max(difference / np.maximum(1e-8, total))


def _divided(of: Callable[[np.ndarray], Any], by: Callable[[Any, Any], Any], limit: float = 1e-8) -> Callable:
    return lambda a, b: of(_differences(a, b)[0] / np.maximum(limit, by(a, b)))


def _total(a: Any, b: Any) -> np.ndarray:
    return np.abs(a) + np.abs(b)


def _at_largest(of: Callable[[Any, Any], Any]) -> Callable:
    """The quotient at one place."""
    return lambda a, b: (_differences(a, b)[0] / np.maximum(1e-8, _total(a, b))).flat[np.argmax(of(a, b))]


_LIMIT = "the lower limit of |a| + |b| is 1e-8; here it is another one, or missing."
_of_error = stage("relative_error")
RELATIVE_ERRORS = (
    _of_error("averaged", _divided(np.mean, _total),
        "this is the mean of the relative errors; their maximum is asked."),
    _of_error("smallest", _divided(np.min, _total),
        "this is the smallest of the relative errors; their maximum is asked."),
    _of_error("summed", _divided(np.sum, _total), "this is the sum of the relative errors; their maximum is asked."),
    _of_error("median", _divided(np.median, _total),
        "this is the median of the relative errors; their maximum is asked."),
    _of_error("all_quotients", _divided(lambda q: q, _total),
        "these are the relative errors of all entries; their maximum is asked."),
    _of_error("place_of_the_largest", _divided(np.argmax, _total),
        "this is the place of the largest relative error; its value is asked."),
    _of_error("signed", lambda a, b: np.max(np.subtract(a, b) / np.maximum(1e-8, _total(a, b))),
        "the absolute value of the difference is missing."),
    _of_error("signed_after", lambda a, b: np.abs(np.max(np.subtract(a, b) / np.maximum(1e-8, _total(a, b)))),
        "the absolute value is taken of the maximum: take it of the difference, entry by entry, before."),
    _of_error("sum_inside", _divided(np.max, lambda a, b: np.abs(np.add(a, b))),
        "below stands |a + b|; it is |a| + |b|, where opposite entries don't cancel."),
    _of_error("difference_inside", lambda a, b: np.max(np.abs(np.abs(a) - np.abs(b)) / np.maximum(1e-8, _total(a, b))),
        "above stands the difference of |a| and |b|; it is |a - b|."),
    _of_error("of_maxima", lambda a, b: np.max(_differences(a, b)[0]) / max(1e-8, np.max(_total(a, b))),
        "the largest difference is divided by the largest sum; the quotient is to be taken entry by entry."),
    _of_error("of_norms",
        lambda a, b: np.linalg.norm(np.subtract(a, b)) / max(1e-8, float(np.linalg.norm(a) + np.linalg.norm(b))),
        "this is the ratio of two norms; the largest ratio of two entries is asked."),
    _of_error("at_the_largest_difference", _at_largest(lambda a, b: _differences(a, b)[0]),
        "the quotient is taken where |a - b| is largest; the largest of the quotients of all entries is asked."),
    _of_error("at_the_largest_entry", _at_largest(lambda a, b: _total(a, b)),
        "the quotient is taken where |a| + |b| is largest; the largest of the quotients of all entries is asked."),
    _of_error("tiny_entries_ignored", lambda a, b: np.max(
        np.where(_total(a, b) > 1e-8, _differences(a, b)[0] / np.maximum(1e-8, _total(a, b)), 0.0)),
        "where |a| + |b| is tiny, the error counts as 0; it is |a - b| / 1e-8 there."),
    _of_error("of_sums", lambda a, b: np.sum(_differences(a, b)[0]) / max(1e-8, np.sum(_total(a, b))),
        "the differences and the sizes are summed before they are divided; the quotient is to be taken entry by"
        " entry."),
    _of_error("by_the_larger", _divided(np.max, lambda a, b: np.maximum(np.abs(a), np.abs(b))),
        "the difference is divided by one of |a| and |b|, the larger; their sum is asked."),
    _of_error("by_a", _divided(np.max, lambda a, b: np.abs(a)),
        "the difference is divided by |a| alone, by one of |a| and |b|, the larger perhaps; their sum is asked."),
    _of_error("by_b", _divided(np.max, lambda a, b: np.abs(b)),
        "the difference is divided by |b| alone, by one of |a| and |b|, the larger perhaps; their sum is asked."),
    *(
        _of_error(
            f"by_twice_{name}", _divided(np.max, of),
            "the difference is divided by twice |a| or twice |b|; |a| + |b| is asked.",
        )
        for name, of in (("a", lambda a, b: 2 * np.abs(a)), ("b", lambda a, b: 2 * np.abs(b)))
    ),
    _of_error("by_the_mean", lambda a, b: 2 * _relative_error(a, b),
        "the difference is divided by half of |a| + |b|, their mean; by the sum it is at most 1."),
    _of_error("by_the_mean_limited", _divided(np.max, lambda a, b: _total(a, b) / 2),
        "the difference is divided by half of |a| + |b|, their mean; by the sum it is at most 1."),
    _of_error("not_relative", lambda a, b: np.max(_differences(a, b)[0]),
        "this is the absolute error; it isn't divided by |a| + |b|."),
    _of_error("limit_of_the_quotient", lambda a, b: np.fmax(1e-8, np.nanmax(_differences(a, b)[0] / _total(a, b))),
        "1e-8 is the lower limit of the quotient; it is that of |a| + |b|."),
    _of_error("squared_difference", lambda a, b: np.max(np.subtract(a, b) ** 2 / np.maximum(1e-8, _total(a, b))),
        "the difference is squared; its absolute value is asked."),
    _of_error("of_squares", lambda a, b: np.max(np.subtract(a, b) ** 2 / np.maximum(1e-8, np.square(a) + np.square(b))),
        "the squares are taken; the absolute values are asked."),
    *(
        _of_error(
            f"{small:g}_added", lambda a, b, small=small: np.max(_differences(a, b)[0] / (_total(a, b) + small)),
            f"{_short(small)} is added to |a| + |b|; their lower limit is to be 1e-8.",
            common=_LIMIT,
        )
        for small in (10.0**-k for k in range(1, 17))
    ),
    _of_error("limit_missing", lambda a, b: np.max(_differences(a, b)[0] / _total(a, b)),
        "the lower limit 1e-8 of |a| + |b| is missing.", common=_LIMIT),
    *(
        _of_error("limit_from_above",
            lambda a, b, of=of: np.max(_differences(a, b)[0] / np.minimum(1e-8, of(_total(a, b)))),
            "1e-8 limits |a| + |b| from above; it is their lower limit: the maximum of both is taken.")
        for of in (lambda total: total, lambda total: total + 1e-300)
    ),
    *(
        _of_error(
            f"limited_by_{limit:g}", _divided(np.max, _total, limit),
            f"the lower limit of |a| + |b| is 1e-8; here it is {limit:g}.",
            common=_LIMIT,
        )
        for limit in (1.0, *(10.0**-k for k in range(1, 17) if k != 8))
    ),
    _of_error("logarithm", lambda a, b: np.log10(_relative_error(a, b)),
        "this is the logarithm of the relative error."),
    *(
        _of_error(f"percentile_{share}", _divided(partial(np.percentile, q=share), _total),
            f"this is the {share}th percentile of the relative errors; their maximum is asked.")
        for share in (90, 95, 99)
    ),
    *(
        _of_error(f"by_{name}_unlimited", lambda a, b, of=of: np.max(_differences(a, b)[0] / np.abs(of(a, b))),
            f"the difference is divided by |{name}| alone, without the lower limit; |a| + |b| is asked, at least 1e-8.")
        for name, of in (("a", lambda a, b: a), ("b", lambda a, b: b))
    ),
    _of_error("by_the_root_of_squares", _divided(np.max, np.hypot),
        "below stands the root of a^2 + b^2; |a| + |b| is asked."),
    _of_error("a_overwritten", _divided(np.max, lambda a, b: _differences(a, b)[0] + np.abs(b)),
        "below stands |a - b| + |b|, as where a is overwritten by the difference; |a| + |b| is asked."),
    _of_error("b_overwritten", _divided(np.max, lambda a, b: np.abs(a) + _differences(a, b)[0]),
        "below stands |a| + |a - b|, as where b is overwritten by the difference; |a| + |b| is asked."),
    _of_error("quotient_and_size", lambda a, b: np.max(_differences(a, b)[0] / np.maximum(1e-8, np.abs(a)) + np.abs(b)),
        "|b| is added to the quotient: put |a| + |b| in parentheses."),
    _of_error("in_percent", lambda a, b: 100 * _relative_error(a, b), "this is in percent; a share is asked."),
    *PRECISION,
)  # fmt: skip


def checked_gradients(arguments: Values, changes: Mapping[str, Callable]) -> dict[str, Any]:
    """The four relative errors; stages: ``numerical_gradient``, ``relative_error``, or ``compared``, or ``errors``."""
    params, grads, loss_fn = (arguments[name] for name in ("params", "grads", "loss_fn"))
    if "errors" in changes:
        return changes["errors"](arguments["exact"], grads)
    if "compared" in changes:
        return {name: _relative_error(*changes["compared"](arguments["exact"], grads, params, name)) for name in params}
    numerical = changes.get("numerical_gradient", _numerical_gradient)
    error = changes.get("relative_error", _relative_error)
    return {
        name: error(numerical(lambda changed, name=name: loss_fn({**params, name: changed}), array), grads[name])
        for name, array in params.items()
    }


def _numerical_gradient(f: Callable, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    shape, size = np.shape(x), np.size(x)
    rows = [np.ravel(x) + side * np.eye(size) for side in (-h, 0.0, h)]
    values = [[f(row.reshape(shape)) for row in side] for side in rows]
    return np.gradient(np.array(values, dtype=np.float64), h, axis=0)[1].reshape(shape)


def right_of_checking(one: Any, own: Any) -> dict[str, Callable]:
    """Right helpers of ``check_gradients``."""
    right: dict[str, Callable] = {"numerical_gradient": _numerical_gradient, "relative_error": _relative_error}
    return {name: right[name] for name in own}


def _each(of: Callable[[np.ndarray, np.ndarray], Any]) -> Callable:
    return lambda exact, grads: {name: of(exact[name], grads[name]) for name in exact}


def _error_of_entry(at: int, n: np.ndarray, g: np.ndarray) -> Any:
    return _relative_error(n.flat[at], g.flat[at])


def _for_all(of: Callable[[list], Any]) -> Callable:
    def errors(exact: Values, grads: Values) -> dict[str, Any]:
        found = [_relative_error(exact[name], grads[name]) for name in exact]
        return dict.fromkeys(exact, of(found))

    return errors


def _carried_on(exact: Values, grads: Values) -> dict[str, Any]:
    found = np.maximum.accumulate([_relative_error(exact[name], grads[name]) for name in exact])
    return dict(zip(exact, found, strict=True))


_ALL_ONE = (
    "the errors are all 1: somewhere in each array, what is compared with the gradient is zero or has the opposite"
    " sign. Is it the numerical gradient, and does loss_fn get the array that is moved, under its name?"
)
_of_errors = stage("errors")
CHECKING = (
    _of_errors("compared_with_themselves", _each(lambda n, g: 0.0),
        "the errors are all zero: the gradients are compared with themselves."),
    *(
        _of_errors(
            f"{which}_entry_alone", _each(partial(_error_of_entry, at)),
            f"only some entries of each array are compared, the {which} among them; all are to be.",
        )
        for which, at in (("first", 0), ("last", -1))
    ),
    _of_errors("numerical_gradients", _each(lambda n, g: n),
        "these are the numerical gradients; their relative errors are asked."),
    _of_errors("compared_without_signs", _each(lambda n, g: _relative_error(np.abs(n), np.abs(g))),
        "the absolute values are compared: a wrong sign isn't seen."),
    _of_errors("not_relative", _each(lambda n, g: np.max(np.abs(n - g))),
        "these are absolute errors; use relative_error."),
    _of_errors("given_averaged", _each(lambda n, g: _relative_error(n, g / np.size(g))),
        "the given gradients are divided by the number of their entries; compare them as they are."),
    _of_errors("given_halved", _each(lambda n, g: _relative_error(n, g / 2)),
        "the given gradients are halved; compare them as they are."),
    _of_errors("given_doubled", _each(lambda n, g: _relative_error(n, 2 * g)),
        "the given gradients are doubled; compare them as they are."),
    _of_errors("given_sign", _each(lambda n, g: _relative_error(n, -g)),
        "the given gradients are compared with the wrong sign.", common=_ALL_ONE),
    _of_errors("numerical_zero", _each(lambda n, g: _relative_error(0 * n, g)), _ALL_ONE, common=_ALL_ONE),
    _of_errors("averaged", _each(lambda n, g: np.mean(np.abs(n - g) / _total(n, g))),
        "these are the means of the relative errors; use relative_error."),
    *(
        Deviation(
            f"step_of_{step:g}", "numerical_gradient", lambda f, x, step=step: _numerical_gradient(f, x, step),
            f"numerical_gradient is called with the step {step:g}; leave it at its default, 1e-5.",
        )
        for step in (1.0, 0.5, 1e-1, 1e-2, 1e-3, 1e-4)
    ),
    Deviation("parameters_and_numerical", "compared", lambda exact, grads, params, name: (params[name], exact[name]),
        "the parameters are compared with their numerical gradients; it is the given gradients that are to be.",
        common=_ALL_ONE),
    Deviation("parameters_and_given", "compared", lambda exact, grads, params, name: (params[name], grads[name]),
        "the parameters are compared with the given gradients; it is their numerical gradients that are to be.",
        common=_ALL_ONE),
    _of_errors("digits", _each(lambda n, g: -np.log10(_relative_error(n, g))),
        "these are numbers of digits, -log10 of the errors; the errors themselves are asked."),
    _of_errors("largest_so_far", _carried_on,
        "the largest error so far is kept from array to array: each has its own."),
    _of_errors("largest_for_all", _for_all(max),
        "all have the same error, the largest of all: each array has its own."),
    _of_errors("sum_for_all", _for_all(sum),
        "all have the same error, the sum of all: each array has its own."),
    _of_errors("in_percent", _each(lambda n, g: 100 * _relative_error(n, g)),
        "these are in percent; shares are asked."),
    _of_errors("first_for_all", _for_all(lambda found: found[0]),
        "all have the error of the first array: each has its own."),
    _of_errors("last_for_all", _for_all(lambda found: found[-1]),
        "all have the error of the last array: each has its own."),
    *PRECISION,
)  # fmt: skip
