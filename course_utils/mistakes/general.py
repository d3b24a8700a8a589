"""What can be recognised in any value that a function returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from course_utils.deviations import Deviation


def stage(changed: str) -> Callable[..., Deviation]:
    """What makes deviations of one stage, from their names, changes and sentences."""

    def deviation(name: str, change: Callable, sentence: str, **more: Any) -> Deviation:
        return Deviation(name, changed, change, sentence, **more)

    return deviation


def transposed(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    """The transpose, as the change of what is returned."""
    return value.T


def _cast(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    return np.trunc(value)


def _in_precision_of(dtype: type) -> Callable:
    def rounded(value: np.ndarray, got: Any, N: int) -> Any:
        """What was got, if a computation of that precision may give it."""
        if got.shape != value.shape or not np.isfinite(value).all():
            return value
        if not got.any() or not np.array_equal(got.astype(dtype), got):
            return value  # zeros are of any precision
        # A computation of some steps loses a few of the digits that its precision has.
        allowed = 100 * float(np.finfo(dtype).eps) * max(float(np.max(np.abs(value), initial=0.0)), 1e-3)
        return got if np.all(np.abs(got - value) <= allowed) else value

    return rounded


def _to_decimals(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    decimals = (np.round(value, count) for count in range(1, 11))
    return next((some for some in decimals if some.any() and np.array_equal(some, got)), value)


def _in_another_order(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    if value.ndim != 2 or value.shape != got.shape:
        return value
    order = np.empty(len(value), dtype=int)
    order[np.lexsort(got.T[::-1])] = np.lexsort(value.T[::-1])
    return value[order]


def _with_dropout(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if it is 0 in some places and the same multiple of the value in the others."""
    if np.shape(got) != value.shape:
        return value
    dropped, kept = (got == 0) & (value != 0), (got != 0) & (value != 0)
    if min(dropped.sum(), kept.sum()) < 4 or not np.array_equal(got != 0, kept):
        return value
    factor = got[kept] @ value[kept] / (value[kept] @ value[kept])
    return got if np.allclose(got[kept], factor * value[kept], rtol=1e-9, atol=0.0) else value


def _limited(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    """The value between the least and the largest of what was got."""
    if np.shape(got) != value.shape or value.size < 3 or not np.isfinite(got).all() or np.min(got) == np.max(got):
        return value
    limited = np.clip(value, np.min(got), np.max(got))
    # Round-off that makes the largest value a little smaller is no limit.
    return limited if np.max(np.abs(limited - value)) > 1e-6 * np.max(np.abs(value)) else value


def _with_one_number_added(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if it is the value and one number more everywhere."""
    if np.shape(got) != value.shape or value.size < 3:
        return value
    added = np.median(got - value)
    return got if np.allclose(got, value + added, rtol=1e-9, atol=1e-12 * np.max(np.abs(got))) else value


def _left_out(value: np.ndarray, got: Any, N: int) -> np.ndarray:
    """The value where anything was got, if that is so in a few places, and zero elsewhere."""
    return np.where(got == 0, 0.0, value) if np.shape(got) == value.shape and np.any(got) else value


def _of_one_size(value: np.ndarray, got: Any, N: int) -> Any:
    """What was got, if its values differ in nothing but their signs."""
    sizes, fits = np.abs(got), np.shape(got) == value.shape and value.size > 3
    return got if fits and np.all(sizes > 0) and np.ptp(sizes) == 0 else value


def general(name: str, change: Callable, sentence: str, **more: Any) -> Deviation:
    """A deviation of what is returned that may be found in any value."""
    return Deviation(name, "returned", change, sentence, general=True, **more)


_SMALL_DIVISORS = (0.0, 1e-12, 1e-8, 1e-7, 1e-5)


def _standardised(axis: int | None, small: float) -> Callable:
    return lambda v: (v - v.mean(axis=axis, keepdims=True)) / (v.std(axis=axis, keepdims=True) + small)


#: What is done to an argument that is to be taken as it is: name, change, sentence about [a].
_PREPARED: tuple[tuple[str, Callable, str], ...] = (
    *(
        ("standardised", _standardised(axis, small), "[a] is standardised first (its mean subtracted, divided by its"
         " standard deviation)")
        for axis in (0, 1, None)
        for small in _SMALL_DIVISORS
    ),
    *(
        ("centred", lambda v, axis=axis: v - v.mean(axis=axis, keepdims=True), "the mean of [a] is subtracted first")
        for axis in (0, 1, None)
    ),
    *(
        ("of_unit_length",
         lambda v, axis=axis, small=small: v / (np.linalg.norm(v, axis=axis, keepdims=True) + small),
         "[a] is divided by its length first, as a whole or by rows or columns")
        for axis in (0, 1, None)
        for small in _SMALL_DIVISORS
    ),
    *(
        ("scaled_by_its_range", lambda v, axis=axis: (v - v.min(axis, keepdims=True)) / np.ptp(v, axis, keepdims=True),
         "[a] is scaled to lie between 0 and 1 first")
        for axis in (0, 1, None)
    ),
    ("scaled_by_its_largest", lambda v: v / np.abs(v).max(), "[a] is divided by its largest absolute value first"),
    ("scaled_by_255", lambda v: v / 255, "[a] is divided by 255 first"),
    ("cast", np.trunc, "[a] has lost its decimals: it is cast to integers first"),
    ("limited_to_1", lambda v: np.clip(v, -1, 1), "[a] is limited to values from -1 to 1 first"),
    ("limited_to_0_and_1", lambda v: np.clip(v, 0, 1), "[a] is limited to values from 0 to 1 first"),
    ("of_sizes", np.abs, "the absolute values of [a] are taken first"),
    ("positive", lambda v: np.maximum(v, 0), "the negative values of [a] are set to zero first"),
    ("of_squares", np.square, "[a] is squared first"),
    ("of_tanh", np.tanh, "the hyperbolic tangent of [a] is taken first"),
    ("of_reversed_rows", lambda v: v[::-1], "the rows of [a] are taken in reversed order"),
)  # fmt: skip


def prepared(*arguments: str) -> tuple[Deviation, ...]:
    """Of each argument, what may be done to it before the computation."""
    return tuple(
        Deviation(f"{name}_{kind}", f"given {name}", change, f"{text.replace('[a]', name)}; take {name} as it is.",
                  general=True)
        for name in arguments
        for kind, change, text in _PREPARED
    )  # fmt: skip


_FACTORS = (
    general("transposed", transposed, "this is the transpose of what is expected.",
        beside="besides, it is transposed."),
    general("sign", lambda v, got, N: -v, "the sign is wrong: every value is the negative of the expected one.",
        beside="besides, every sign is turned."),
    general("not_averaged", lambda v, got, N: N * v,
        "the values are {N} times too large, {N} being the number of samples: the division by N is missing."),
    general("averaged_twice", lambda v, got, N: v / N,
        "the values are {N} times too small, {N} being the number of samples: the division by N happens twice."),
    general("doubled", lambda v, got, N: 2 * v, "every value is exactly twice the expected one.",
        beside="besides, every value is doubled."),
    general("halved", lambda v, got, N: v / 2, "every value is exactly half the expected one.",
        beside="besides, every value is halved."),
    general("squared", lambda v, got, N: v**2, "every value is the square of the expected one.",
        beside="besides, every value is squared."),
    general("absolute", lambda v, got, N: np.abs(v), "every value is the absolute value of the expected one.",
        beside="besides, absolute values are taken."),
    general("one_too_large", lambda v, got, N: v + 1, "every value is 1 too large.",
        beside="besides, 1 is added to every value."),
)  # fmt: skip
SCALED = Deviation(
    "scaled", "returned", lambda factor, v, got, N: factor * v, "every value is {factor} times the expected one.",
    fitted=True, general=True, beside="besides, every value is multiplied by {factor}.",
)  # fmt: skip
_ALL_ZERO = "every value is zero, as where decimals are cut off, by an array of integers, int() or //, say."
#: Digits that are lost.
PRECISION = (
    general("integers", _cast,
        "the values have lost their decimals, as an array of integers, int() or // leaves them.", common=_ALL_ZERO),
    general("float16", _in_precision_of(np.float16),
        "the values are right to the 3 digits of half precision (float16); keep float64."),
    general("float32", _in_precision_of(np.float32),
        "the values are right to the 7 digits of single precision (float32); keep float64."),
    general("rounded", _to_decimals, "the values are rounded to a few decimals; return them as they are.", alone=True),
    general("rows_in_another_order", _in_another_order, "the rows are right but in another order."),
    general("zero", lambda v, got, N: 0 * v, "every value is zero.", common=_ALL_ZERO),
    general("of_one_size", _of_one_size,
        "all values have the same size; each entry is to have its own.", alone=True),
    general("left_out", _left_out, "the values that aren't zero are right: the others are left out.", alone=True),
    general("limited", _limited, "the values are limited, from above or from below, where they aren't to be.",
        alone=True),
    general("one_number_added", _with_one_number_added, "one and the same number is added to every entry.",
        alone=True),
    general("dropped", _with_dropout,
        "some values are set to zero, and all others have the same factor, as dropout does.", alone=True),
)  # fmt: skip
#: Recognised in whatever a function returns.
GENERAL = (*_FACTORS, SCALED, *PRECISION)
