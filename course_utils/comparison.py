"""Compare a student's value with its reference, and say in words what differs."""

from __future__ import annotations

import contextlib
import html
import linecache
import numbers
import os
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from course_utils.checks.pytorch_models import Case
    from course_utils.reference import Problem


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
        A sentence that says what the mistake is.
    deviations : tuple of str
        For machines: the names of the :class:`course_utils.deviations.Deviation` found.
    raised : bool
        Whether the student's function raised an error.
    data : str, optional
        On which data; :func:`on_problem` fills it in.
    kind : str
        For machines: what is wrong, e.g. ``"shape"`` or ``"values"``; empty where no other check fails in that way.
    extent : dict
        For machines, of ``kind="values"``: how many values are ``wrong``, of how many (``of``), how many of these
        are ``above`` what is expected, and the largest deviation as a ``share`` of the largest value expected.
    """

    def __init__(
        self,
        quantity: str,
        problem: str,
        *,
        place: str | None = None,
        tolerance: float | None = None,
        cause: str | None = None,
        deviations: tuple[str, ...] = (),
        raised: bool = False,
        data: str | None = None,
        kind: str = "",
        extent: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__(quantity, problem)
        self._shown = False
        #: ``grade_id`` of the question, filled in by its check.
        self.question = ""
        #: Which of the values that one call gives it is about, filled in by the judge.
        self.part = ""
        self.deviations = deviations
        self.raised = raised
        self.quantity = quantity
        self.problem = problem
        self.place = place
        self.tolerance = tolerance
        self.cause = cause
        self.data = data
        self.kind = kind
        self.extent = dict(extent or {})

    def facts(self) -> dict[str, Any]:
        """What a machine may count: question, quantity, kind, extent, and the deviations found with their sentence."""
        return {
            "question": self.question, "quantity": self.quantity, "kind": self.kind, "extent": self.extent,
            "deviations": list(self.deviations), "cause": self.cause or "",
        }  # fmt: skip

    def _details(self) -> list[tuple[str, str]]:
        """The lines below the first, as name and text; the same in the card and in plain text."""
        tolerance = None if self.tolerance is None else f"{self.tolerance:.1e}" if self.tolerance else "none"
        lines = {
            "Largest deviation": self.place,
            "Allowed deviation": tolerance,
            "On": self.data,
            "Probable cause": self.cause,
        }
        return [(name, text) for name, text in lines.items() if text is not None]

    def __str__(self) -> str:
        return "\n".join([f"{self.quantity}: {self.problem}", *(f"{name}: {text}" for name, text in self._details())])

    def _repr_html_(self) -> str:
        # Boxes, not a table: JupyterLab stripes tables and aligns them to the right.
        rows = "".join(
            f'<div style="opacity:0.7;white-space:nowrap">{html.escape(name)}</div><div>{html.escape(text)}</div>'
            for name, text in self._details()
        )
        return (
            '<div style="border:1px solid #c62828;border-left-width:6px;border-radius:4px;padding:8px 14px;'
            'margin:4px 0;max-width:56em;line-height:1.45">'
            f"<div><b>{html.escape(self.quantity)}</b>: {html.escape(self.problem)}</div>"
            '<div style="display:grid;grid-template-columns:max-content 1fr;column-gap:14px;margin-top:2px">'
            f"{rows}</div></div>"
        )

    def _render_traceback_(self) -> list[str]:
        """What IPython shows in place of a traceback: in a notebook the card, elsewhere the text.

        The frames would show the check's code, not the student's, and in a graded
        notebook the source of a hidden test. ``nbgrader validate`` shows no card, only
        what this returns.
        """
        if os.environ.get("NBGRADER_EXECUTION") != "validate" and "IPython" in sys.modules:
            from IPython import get_ipython
            from IPython.display import display

            if hasattr(get_ipython(), "kernel"):
                if not self._shown:  # IPython asks twice: for the output and for its history
                    shown = {"text/html": self._repr_html_(), "text/plain": str(self)}
                    display(shown, metadata={"two_layer_net": self.facts()}, raw=True)
                    self._shown = True
                return [f"CheckFailed: {self.quantity} is not right yet."]
        return [f"CheckFailed: {self}"]


def not_done(text: str) -> NotImplementedError:
    """An error that says what a student hasn't done yet, in one sentence."""
    return _in_one_line(NotImplementedError(text), text)


def _in_one_line(error: NotImplementedError, text: str) -> NotImplementedError:
    """Have IPython show a sentence in place of a traceback through the check's code."""
    vars(error)["_render_traceback_"] = lambda: [f"NotImplementedError: {text}"]
    return error


@contextlib.contextmanager
def on_problem(problem: Problem | Case) -> Iterator[None]:
    """Add to a check that fails inside the ``with`` block on which problem it failed.

    Parameters
    ----------
    problem : Problem or Case
        Of :mod:`course_utils.reference` or :mod:`course_utils.oracle`; of notebook 5's checks.
    """
    try:
        yield
    except CheckFailed as failure:
        failure.data = failure.data or _description(problem)
        raise


def _description(problem: Problem | Case) -> str:
    """Which problem it is, and how a student gets hold of a stored one."""
    if "N=" in problem.name:  # a new problem, whose name holds the sizes
        return f"{problem.name}, reg={problem.reg:.3g}"
    (N, D), (H, K) = problem.X.shape, problem.params["W2"].shape
    key = problem.name.removeprefix("the ").removesuffix(" problem")
    sizes = f"N={N}, D={D}, H={H}, K={K}, reg={problem.reg:g}"
    return f'{problem.name} ({sizes}): from course_utils.reference import problem; problem("{key}")'


def passed(text: str, on: Any = None) -> None:
    """Print the one line that a passing check shows; ``on`` is the problem of a hidden test, if it is one."""
    print(f"passed: {text}" if on is None else f"passed on {on.name} too.")


def call(function: Callable, *args: Any, **kwargs: Any) -> Any:
    """Call a student's function on copies of the arguments.

    What the function writes to the standard error stream, NumPy's warnings included, goes
    to the standard output: nbgrader gives no points to a cell that writes to the former.

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
    return _called(function, _copied(args), _copied(kwargs))


def call_on(function: Callable, *args: Any) -> Any:
    """Like :func:`call`, on the arguments themselves, which so show what the function did to them."""
    return _called(function, args, {})


def call_keeping(function: Callable, given: Mapping[str, Any], spent: Iterable[str] = ()) -> Any:
    """Like :func:`call`, for a function whose callers go on with the same arguments.

    Parameters
    ----------
    function : callable
        The student's function.
    given : mapping
        The arguments in their order, by the names that the texts give them; the function gets
        them by position.
    spent : iterable of str
        Those that no caller needs any more.

    Raises
    ------
    CheckFailed
        Also when an array has changed, or a dict has lost or gained an entry.
    """
    copies = _copied(given)
    result = _called(function, tuple(copies.values()), {})
    for name, before in given.items():
        for part, intact in _parts_intact(name, before, copies[name]):
            if not intact and name not in spent:
                called = getattr(function, "__name__", "the function")
                problem = f"it changes {part}; leave its arguments as they are, and work on copies."
                raise CheckFailed(called, problem, kind="argument changed")
    return result


def _parts_intact(name: str, before: Any, after: Any) -> Iterator[tuple[str, bool]]:
    """What an argument consists of, and whether it is still the same."""
    if isinstance(before, dict):
        yield f"the keys of {name}", before.keys() == after.keys()
        for key in before:
            yield f'{name}["{key}"]', np.array_equal(before[key], after[key])
    elif isinstance(before, np.ndarray):
        yield name, np.array_equal(before, after)


def _called(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    name = getattr(function, "__name__", "the function")
    if not callable(function):
        raise CheckFailed(
            "the function", f"it is {_described(function)}, expected a function; define it with def.", kind="type"
        )
    try:
        with _by_the_defaults():
            return function(*args, **kwargs)
    except NotImplementedError as error:
        innermost = traceback.extract_tb(error.__traceback__)[-1]
        unwritten = innermost.name if "ipykernel" in innermost.filename else name
        _in_one_line(error, str(error) or f"{unwritten} is not written yet.")
        raise
    except CheckFailed:
        raise
    except Exception as error:
        text = f"it raised {type(error).__name__}: {error}{_students_line(error)}"
        raise CheckFailed(name, text, raised=True, kind=f"raised {type(error).__name__}") from error


@contextlib.contextmanager
def _by_the_defaults() -> Iterator[None]:
    """NumPy's default treatment of overflow, warnings that don't raise, one output stream.

    A student who turned warnings into errors to find a mistake shall not fail for an
    exponential that rightly underflows.
    """
    with (
        contextlib.redirect_stderr(sys.stdout),
        warnings.catch_warnings(),
        np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"),
    ):
        warnings.simplefilter("default")
        yield


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
        The precision of the computation; whatever isn't float32 counts as float64, since the
        assignment never asks for less.
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
    precision = np.float32 if np.dtype(dtype) == np.float32 else np.float64
    return 32 * float(np.finfo(precision).eps) * max(terms, 1) * max(float(scale), 1.0)


def _comparable(quantity: str, given: Any, got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """``got`` as float64, of the right shape and finite; ``given`` is what was returned."""
    values = got.astype(np.float64)
    if values.shape != expected.shape:
        found = f"it is a tuple of {len(given)}" if isinstance(given, tuple) else f"the shape is {got.shape}"
        raise CheckFailed(
            quantity,
            f"{found}, expected {'a single number' if expected.ndim == 0 else f'one array of shape {expected.shape}'}.",
            kind="shape",
        )
    finite = np.isfinite(values)
    if not finite.all():
        where = _index(np.argwhere(~finite)[0])
        raise CheckFailed(
            quantity,
            f"{int((~finite).sum())} of {finite.size} values are not finite numbers"
            f" (the first{where}: {values[~finite][0]}).",
            kind="not finite",
        )
    return values


def expect_close(
    quantity: str,
    got: Any,
    expected: Any,
    *,
    terms: int = 1,
    scale: float | None = None,
    tolerance: float | None = None,
    input_dtype: Any = np.float64,
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
        processed in float32. A float32 result of float64 data is judged as float64, and
        fails: the gradient check, which needs the digits, would fail with it.

    Returns
    -------
    float
        The largest absolute deviation.
    """
    expected = np.asarray(expected, dtype=np.float64)
    given, got = got, as_numbers(quantity, got)
    if tolerance is None:
        if scale is None:
            scale = float(np.max(np.abs(expected), initial=0.0))
        tolerance = roundoff_tolerance(input_dtype, terms, scale)
    values = _comparable(quantity, given, got, expected)
    deviation = np.abs(values - expected)
    if deviation.size == 0 or deviation.max() <= tolerance:
        return float(deviation.max(initial=0.0))
    worst = np.unravel_index(np.argmax(deviation), deviation.shape)
    off = deviation > tolerance
    wrong = int(off.sum())
    found = "the value{} is wrong." if deviation.ndim == 0 else f"{wrong} of {deviation.size} values{{}} are wrong."
    verdict = " True or False is returned where a number is asked." if got.dtype == bool else ""
    raise CheckFailed(
        quantity,
        found.format(_and_dtype(got)) + verdict,
        place=f"{deviation[worst]:.3g}{_index(worst)}: got {values[worst]:.10g}, expected {expected[worst]:.10g}",
        tolerance=tolerance,
        kind="values",
        extent={
            "wrong": wrong, "of": deviation.size, "above": int((off & (values > expected)).sum()),
            "share": float(deviation.max() / max(np.max(np.abs(expected), initial=0.0), np.finfo(float).tiny)),
        },
    )  # fmt: skip


def _and_dtype(got: np.ndarray) -> str:
    """The dtype as an insertion, where it isn't what a student would take for granted."""
    return "" if got.dtype == np.float64 else f" ({got.dtype})"


def expect_keys(function_name: str, got: Any, keys: tuple[str, ...]) -> dict:
    """Raise :class:`CheckFailed` unless ``got`` is a dict that holds ``keys`` (and perhaps others)."""
    if not isinstance(got, dict):
        raise CheckFailed(
            function_name,
            f"it returned {_described(got)}, expected a dict with the keys {', '.join(keys)}.",
            kind="type",
        )
    missing = [key for key in keys if key not in got]
    if missing:
        raise CheckFailed(
            function_name,
            f"the returned dict lacks {', '.join(missing)}; it holds {', '.join(map(str, got)) or 'nothing'}.",
            kind="keys",
        )
    return got


def as_numbers(quantity: str, value: Any) -> np.ndarray:
    """``value`` as an array of real numbers, or :class:`CheckFailed` with what it is instead."""
    if value is None:
        raise CheckFailed(quantity, "the value is None. Does the function end with a return?", kind="type")
    if not isinstance(value, (numbers.Number, np.ndarray, np.generic, list, tuple)):
        raise CheckFailed(quantity, f"it is {_described(value)}, expected numbers.", kind="type")
    try:
        array = np.asarray(value)
    except ValueError:
        array = None
    if isinstance(value, tuple) and (array is None or array.dtype == object):
        raise CheckFailed(quantity, f"it is a tuple of {len(value)}; return the one that is asked for.", kind="shape")
    if array is None:
        raise CheckFailed(quantity, "it is a nested list whose rows differ in length.", kind="shape")
    if array.dtype.kind not in "biuf":
        raise CheckFailed(quantity, f"its dtype is {array.dtype}, expected real numbers.", kind="type")
    return array


def _index(index: Any) -> str:
    return f" at [{', '.join(str(int(i)) for i in index)}]" if len(index) else ""


def _described(value: Any) -> str:
    if value is None:
        return "None (does the function end with a return?)"
    article = "an" if type(value).__name__[0] in "aeiou" else "a"
    return f"{article} {type(value).__name__}"
