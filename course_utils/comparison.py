"""Compare a student's value with its reference, and say in words what differs."""

from __future__ import annotations

import html
import linecache
import numbers
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from course_utils.causes import probable_cause


class CheckFailed(AssertionError):
    """A check did not pass; its text is written for the student.

    Parameters
    ----------
    quantity : str
        What is wrong, e.g. ``"a3"``.
    problem : str
        One sentence: what was found and what was expected.
    place : str, optional
        Where the deviation is largest: index, value got, value expected.
    tolerance : float, optional
        The largest deviation that would have passed.
    cause : str, optional
        A sentence of :mod:`course_utils.causes`.
    """

    def __init__(
        self,
        quantity: str,
        problem: str,
        *,
        place: str | None = None,
        tolerance: float | None = None,
        cause: str | None = None,
    ) -> None:
        self.quantity = quantity
        self.problem = problem
        self.place = place
        self.tolerance = tolerance
        self.cause = cause
        lines = [f"{quantity}: {problem}"]
        if place is not None:
            lines.append(f"Largest deviation {place}.")
        if tolerance is not None:
            lines.append(f"Allowed deviation: {tolerance:.1e}.")
        if cause is not None:
            lines.append(f"Probable cause: {cause}")
        super().__init__("\n".join(lines))

    def _repr_html_(self) -> str:
        rows = [("What", self.problem)]
        if self.place is not None:
            rows.append(("Largest deviation", self.place))
        if self.tolerance is not None:
            rows.append(("Allowed", f"{self.tolerance:.1e}"))
        if self.cause is not None:
            rows.append(("Probable cause", self.cause))
        body = "".join(
            '<tr><td style="text-align:left;vertical-align:top;padding:2px 12px 2px 0;white-space:nowrap">'
            f"<b>{html.escape(name)}</b></td>"
            f'<td style="text-align:left;padding:2px 0">{html.escape(text)}</td></tr>'
            for name, text in rows
        )
        return (
            '<div style="border-left:5px solid #c62828;padding:6px 12px;margin:4px 0;max-width:60em">'
            f'<div style="color:#c62828;font-weight:bold">{html.escape(self.quantity)}: not right yet</div>'
            f'<table style="border:none;margin:4px 0 0 0">{body}</table></div>'
        )

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: the card, then one line.

        The frames would show the check's code, not the student's, and in a graded
        notebook the source of a hidden test.
        """
        if "IPython" in sys.modules:
            from IPython import get_ipython
            from IPython.display import display

            if get_ipython() is not None and hasattr(get_ipython(), "kernel"):
                display({"text/html": self._repr_html_(), "text/plain": str(self)}, raw=True)
        return [f"CheckFailed: {self}"]


def passed(text: str, on: Any = None) -> None:
    """Print the one line that a passing check shows; ``on`` is the problem of a hidden test, if it is one."""
    print(f"passed: {text}" if on is None else f"passed on {on.name} too.")


def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call a student's function on copies of the arguments.

    Parameters
    ----------
    function : callable
        The student's function.
    *args, **kwargs
        Plain values. Arrays are copied first, so that a function that works in place
        can't spoil the reference.

    Returns
    -------
    object
        What the function returns.

    Raises
    ------
    NotImplementedError
        As it is, when the function hasn't been written yet.
    CheckFailed
        When it raises anything else; the text names the student's line.
    """
    try:
        return function(*_copied(args), **_copied(kwargs))
    except (NotImplementedError, CheckFailed):
        raise
    except Exception as error:
        name = getattr(function, "__name__", "the function")
        raise CheckFailed(
            name, f"it raised {type(error).__name__}: {error}{_students_line(error)}"
        ) from error


def _copied(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return value.copy(order="K")
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_copied(item) for item in value)
    return value


def _students_line(error: Exception) -> str:
    """The innermost line of the traceback that stands in a notebook, as a clause."""
    own_folder = os.path.dirname(os.path.abspath(__file__))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        in_notebook = "ipykernel" in frame.filename or frame.filename.startswith("<")
        source = frame.line or linecache.getline(frame.filename, frame.lineno or 0).strip()
        if in_notebook and source and not frame.filename.startswith(own_folder):
            return f", in the line `{source}`"
    return ""


def roundoff_tolerance(dtype: Any, terms: int, scale: float) -> float:
    """The deviation that two correct computations of the same sum may show.

    A sum of ``terms`` products computed in any order is off by at most
    ``terms * eps * sum(|products|)`` (Higham, *Accuracy and Stability of Numerical
    Algorithms*, 2nd ed., eq. 3.5), and so are two such sums by twice that. A chain of a
    few such steps multiplies it by a small constant, for which the factor 32 leaves room.
    The smallest mistakes that the checks are to find are larger by many orders.

    Parameters
    ----------
    dtype : dtype
        The precision of the computation; whatever isn't float16 or float32 counts as float64.
    terms : int
        Number of terms in the longest sum.
    scale : float
        Size of the sum of the absolute products; at least 1 is used, since an
        intermediate value (a probability, an exponential) may be of that size.

    Returns
    -------
    float
        The tolerance, absolute.
    """
    dtype = np.dtype(dtype)
    precision = dtype if dtype in (np.float16, np.float32) else np.dtype(np.float64)
    return 32 * float(np.finfo(precision).eps) * max(terms, 1) * max(float(scale), 1.0)


def expect_close(
    quantity: str,
    got: Any,
    expected: Any,
    *,
    terms: int = 1,
    scale: float | None = None,
    tolerance: float | None = None,
    input_dtype: Any = np.float64,
    row_vector: bool = False,
    known: Mapping[str, Any] | None = None,
    follows: Sequence[Callable[[], Any]] = (),
) -> float:
    """Raise :class:`CheckFailed` unless ``got`` equals ``expected`` up to round-off.

    Parameters
    ----------
    quantity : str
        The name under which the student knows the value.
    got : object
        The student's value.
    expected : array_like of float
        The reference, any shape.
    terms, scale
        For :func:`roundoff_tolerance`; ``scale`` defaults to the largest ``|expected|``.
    tolerance : float, optional
        Absolute tolerance, in place of the derived one.
    input_dtype : dtype
        Precision of what the student's function was given: float32 data may be
        processed in float32.
    row_vector : bool
        Also accept shape (1, n) where (n,) is expected.
    known : mapping, optional
        Named values from which :mod:`course_utils.causes` recognises a mistake.
    follows : sequence of callables
        Each gives a value that follows from the student's own earlier steps. It is accepted
        too, so that a mistake in one step costs the points of that step alone.

    Returns
    -------
    float
        The largest absolute deviation.
    """
    expected = np.asarray(expected, dtype=np.float64)
    known = dict(known or {}, quantity=quantity)
    got = as_numbers(quantity, got)
    if row_vector and expected.ndim == 1 and got.shape == (1, expected.size):
        got = got[0]
    if tolerance is None:
        if scale is None:
            scale = float(np.max(np.abs(expected), initial=0.0))
        # A result of lower precision than its input is judged by its own; bool and
        # integer results are exact numbers and are judged as float64.
        dtypes = [np.dtype(input_dtype)] + ([got.dtype] if got.dtype.kind == "f" else [])
        tolerance = max(roundoff_tolerance(dtype, terms, scale) for dtype in dtypes)
    values = got.astype(np.float64)
    if values.shape != expected.shape:
        raise CheckFailed(
            quantity,
            f"the shape is {got.shape}, expected {expected.shape}.",
            cause=probable_cause(values, expected, known, tolerance),
        )
    finite = np.isfinite(values)
    if not finite.all():
        where = _index(np.argwhere(~finite)[0])
        raise CheckFailed(
            quantity,
            f"{int((~finite).sum())} of {finite.size} values are not finite numbers"
            f" (the first{where}: {values[~finite][0]}).",
            cause=probable_cause(values, expected, known, tolerance),
        )
    deviation = np.abs(values - expected)
    if deviation.size == 0 or deviation.max() <= tolerance:
        return float(deviation.max(initial=0.0))
    if any(_follows(values, own, tolerance) for own in follows):
        return float(deviation.max())
    worst = np.unravel_index(np.argmax(deviation), deviation.shape)
    wrong = int((deviation > tolerance).sum())
    raise CheckFailed(
        quantity,
        "the value is wrong." if deviation.ndim == 0 else f"{wrong} of {deviation.size} values are wrong.",
        place=f"{deviation[worst]:.3g}{_index(worst)}: got {values[worst]:.10g}, expected {expected[worst]:.10g}",
        tolerance=tolerance,
        cause=probable_cause(values, expected, known, tolerance),
    )


def _follows(values: np.ndarray, own_step: Callable[[], Any], tolerance: float) -> bool:
    try:
        own = np.asarray(own_step(), dtype=np.float64)
    except Exception:  # the earlier step is missing or fails; its own check says so
        return False
    return own.shape == values.shape and bool(np.all(np.abs(values - own) <= 10 * tolerance))


def expect_keys(function_name: str, got: Any, keys: tuple[str, ...]) -> dict:
    """Raise :class:`CheckFailed` unless ``got`` is a dict that holds ``keys`` (and perhaps others)."""
    if not isinstance(got, dict):
        raise CheckFailed(
            function_name,
            f"it returned {_described(got)}, expected a dict with the keys {', '.join(keys)}.",
        )
    missing = [key for key in keys if key not in got]
    if missing:
        raise CheckFailed(
            function_name,
            f"the returned dict lacks {', '.join(missing)}; it holds {', '.join(map(str, got)) or 'nothing'}.",
        )
    return got


def as_numbers(quantity: str, value: Any) -> np.ndarray:
    """``value`` as an array of real numbers, or :class:`CheckFailed` with what it is instead."""
    if value is None:
        raise CheckFailed(quantity, "the value is None. Does the function end with a return?")
    if not isinstance(value, (numbers.Number, np.ndarray, np.generic, list, tuple)):
        raise CheckFailed(quantity, f"it is {_described(value)}, expected numbers.")
    try:
        array = np.asarray(value)
    except ValueError:
        raise CheckFailed(quantity, "it is a nested list whose rows differ in length.") from None
    if array.dtype.kind not in "biuf":
        raise CheckFailed(quantity, f"its dtype is {array.dtype}, expected real numbers.")
    return array


def _index(index: Any) -> str:
    return f" at [{', '.join(str(int(i)) for i in index)}]" if len(index) else ""


def _described(value: Any) -> str:
    if value is None:
        return "None (does the function end with a return?)"
    article = "an" if type(value).__name__[0] in "aeiou" else "a"
    return f"{article} {type(value).__name__}"
