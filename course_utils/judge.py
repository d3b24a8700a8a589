"""The one rule by which a student's function is judged: whose mistake is it?"""

from __future__ import annotations

import contextlib
import functools
import itertools
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np

from course_utils.comparison import CheckFailed, call, call_keeping, expect_close, expect_keys, on_problem
from course_utils.deviations import Cause, Deviation, Model, Observation, is_right, search
from course_utils.helpers import helpers_of, with_helpers
from course_utils.questions import question

#: A student's functions that can be right or own in a mixture: more of their own at a time aren't tried.
MOST_OWN = 2
_RANDOM = Cause(
    ("random",),
    "two calls with the same arguments give different values: something random, or kept from an earlier call, is in"
    " it.",
)


@dataclass(frozen=True)
class Part:
    """One of the values that a call is to give.

    Attributes
    ----------
    label : str
        The name under which the student knows it.
    expected : array_like of float
    tolerance : float
        Round-off allowed, absolute.
    also : tuple
        Other values that pass, since another question asks about the difference.
    """

    label: str
    expected: Any
    tolerance: float
    also: tuple = ()


@dataclass(frozen=True)
class Asked:
    """One call of a student's function, and what it is to give.

    Attributes
    ----------
    given : Problem
        How messages call it.
    arguments : dict
        By the names that the texts give them; passed by position.
    parts : dict
        Name of a part of the model -> :class:`Part`.
    keys : dict
        Part -> its key in the dict that the function is to return; empty where it returns the one part itself.
    spent : tuple of str
        Arguments that may change; the others must stay as they are.
    known : dict
        What the model computes with besides the arguments.
    """

    given: Any
    arguments: dict[str, Any]
    parts: dict[str, Part]
    keys: dict[str, str] = field(default_factory=dict)
    spent: tuple[str, ...] = ()
    known: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Reference:
    """What is right, as a computation whose stages may be exchanged.

    Attributes
    ----------
    model : callable
        See :mod:`course_utils.deviations`. The stage that stands for one of the student's
        functions has its name.
    right : callable
        ``right(one, own)`` -> name -> right function, for the helpers that one call is asked with; ``own`` are
        the student's, which a table of stored values falls back upon.
    deviations : sequence of Deviation
    clue : callable
        A sentence from the observations, for values that no deviation reproduces; or None.
    """

    model: Model
    right: Callable[[Asked, Mapping[str, Callable]], Mapping[str, Callable]] = lambda one, own: {}
    deviations: Sequence[Deviation] = ()
    clue: Callable[[list[Observation]], str | None] = lambda observed: None


def answers(test: str) -> Callable[[Callable], Callable]:
    """Decorate a check: whatever it finds wrong carries the name of its question, and nothing of its own warns.

    nbgrader takes a warning for a failure. Those of the student's code are printed by :func:`call`.
    """

    def decorate(check: Callable) -> Callable:
        @functools.wraps(check)
        def checked(*args: Any, **kwargs: Any) -> Any:
            try:
                with warnings.catch_warnings(action="ignore"), np.errstate(all="ignore"):
                    return check(*args, **kwargs)
            except CheckFailed as failure:
                failure.question = failure.question or test
                raise

        return checked

    return decorate


def judge(
    function: Callable, asked: Sequence[Asked], reference: Reference, test: str, passed: Sequence[Asked] = ()
) -> None:
    """Raise :class:`CheckFailed` unless the function is right, or wrong only through earlier functions.

    On every call it must, 1. as it stands, agree with what is expected; or 2. do so with right
    helpers in the place of some of the student's; or 3. as it stands, agree with the right
    computation in which some stages are the student's helpers. A mixture whose value doesn't
    depend on the arguments counts for nothing.

    Parameters
    ----------
    function : callable
        The student's.
    asked : sequence of Asked
    reference : Reference
    test : str
        ``grade_id`` of the question, which knows the helpers.
    passed : sequence of Asked
        Calls of an earlier check, which a cause has to explain too.
    """
    own = helpers_of(function, question(test).helpers)
    for one in asked:
        failure = _failure(function, one, reference, own)
        if failure is not None:
            if _is_random(with_helpers(function, reference.right(one, own)), one):
                raise _with_cause(failure, _RANDOM)
            observed = _observed(function, [*asked, *passed], reference, own)
            raise _with_cause(failure, _cause(failure, observed, reference))


def _is_random(function: Callable, one: Asked) -> bool:
    first, second = (_numbers(_try(function, one)[1], one) for _ in range(2))
    return first.keys() == second.keys() and any(
        not np.array_equal(first[name], second[name], equal_nan=True) for name in first
    )


def _failure(function: Callable, one: Asked, reference: Reference, own: Mapping[str, Callable]) -> Exception | None:
    """Why a call is wrong, by the rule; None if it isn't."""
    as_it_stands, got = _try(function, one)
    if as_it_stands is None:
        return None
    right = reference.right(one, own)
    isolated = None
    for names in _subsets(right):
        failure, _ = _try(with_helpers(function, {name: right[name] for name in names}), one)
        if failure is None:
            return None
        if len(names) == len(right):
            isolated = failure
    if got is not None and own and _follows(got, one, reference, own):
        return None
    return _clearer(as_it_stands, isolated)


def _subsets(right: Mapping[str, Callable]) -> Iterator[tuple[str, ...]]:
    """The helpers to be replaced: all of them first, then all but one or two."""
    for left in range(min(len(right), MOST_OWN + 1)):
        for kept in itertools.combinations(right, left):
            yield tuple(name for name in right if name not in kept)


def _clearer(as_it_stands: Exception, isolated: Exception | None) -> Exception:
    """Of two failures the one that is the function's own: that with right helpers, unless these don't suit it."""
    if isolated is None or not isinstance(isolated, CheckFailed):
        return isolated if isinstance(isolated, NotImplementedError) else as_it_stands
    if isolated.raised and isinstance(as_it_stands, CheckFailed) and not as_it_stands.raised:
        return as_it_stands
    if str(isolated) != str(as_it_stands) and isolated.data:
        isolated.data = f"right functions in the place of those that it calls, and {isolated.data}"
    return isolated


def _try(function: Callable, one: Asked) -> tuple[Exception | None, dict[str, Any] | None]:
    """What is wrong with a call (None if nothing is), and the parts that it gave, if it gave any."""
    got, wrong = None, ""
    try:
        with on_problem(one.given):
            result = call_keeping(function, one.arguments, one.spent)
            got = _parts(function, result, one)
            for name, part in one.parts.items():
                if not any(_agrees(got[name], value, part.tolerance) for value in part.also):
                    wrong = name
                    expect_close(part.label, got[name], part.expected, tolerance=part.tolerance)
    except (CheckFailed, NotImplementedError) as failure:
        if isinstance(failure, CheckFailed):
            failure.part = wrong
            failure.problem += _with_shapes(one) if failure.raised else ""
        return failure, got
    return None, got


def _with_shapes(one: Asked) -> str:
    """The shapes that an error may be about, as the end of a sentence."""
    shapes = [f"{name} {value.shape}" for name, value in one.arguments.items() if isinstance(value, np.ndarray)]
    expected = np.shape(next(iter(one.parts.values())).expected)
    result = f"; the result is to have the shape {expected}" if expected and not one.keys else ""
    return f", called with {' and '.join(shapes)}{result}." if shapes else ""


def _agrees(got: Any, value: Any, tolerance: float) -> bool:
    try:
        got = np.asarray(got, dtype=np.float64)
        return got.shape == np.shape(value) and bool(np.all(np.abs(got - value) <= tolerance))
    except (TypeError, ValueError):
        return False


def _parts(function: Callable, result: Any, one: Asked) -> dict[str, Any]:
    """What a call returned, by the names of the parts."""
    if not one.keys:
        return {next(iter(one.parts)): result}
    name = getattr(function, "__name__", "the function")
    found = expect_keys(name, result, tuple(one.keys.values()))
    return {part: found[key] for key, part in one.keys.items()}


def _follows(got: dict[str, Any], one: Asked, reference: Reference, own: Mapping[str, Callable]) -> bool:
    """Whether each part is what the right computation gives with some of the student's helpers in it."""
    explained: set[str] = set()
    for kept in _mixtures(own):
        changes = {name: partial(call, own[name]) for name in kept}
        try:
            with np.errstate(all="ignore"):
                values = reference.model(one.known | one.arguments, changes)
                new = {
                    name for name in one.parts if name not in explained and _same(got[name], values[name], one, name)
                }
                others = reference.model(_elsewhere(one.known | one.arguments), changes) if new else {}
        except Exception:  # a helper fails, or the stages don't fit together: nothing follows from that
            continue
        explained |= {name for name in new if not np.array_equal(values[name], others[name], equal_nan=True)}
        if len(explained) == len(one.parts):
            return True
    return False


def _elsewhere(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Other arguments of the same shapes, for which a value that depends on them differs."""
    other = dict(arguments)
    for name, value in arguments.items():
        if isinstance(value, np.ndarray) and value.ndim == 2:
            other[name] = 1.3 * value + 0.2 * np.cos(np.arange(value.size)).reshape(value.shape)
    return other


def _mixtures(own: Mapping[str, Callable]) -> Iterable[tuple[str, ...]]:
    return itertools.chain.from_iterable(itertools.combinations(own, count) for count in range(len(own) + 1))


def _same(got: Any, value: Any, one: Asked, name: str) -> bool:
    got, value = np.asarray(got, dtype=np.float64), np.asarray(value, dtype=np.float64)
    # A mistaken step may give far larger values than the tolerance is made for.
    return got.shape == value.shape and np.allclose(got, value, rtol=1e-11, atol=10 * one.parts[name].tolerance)


def _observed(
    function: Callable, asked: Sequence[Asked], reference: Reference, own: Mapping[str, Callable]
) -> list[Observation]:
    """What the function gives in all its calls, with right helpers where it works with them."""
    seen = []
    for one in asked:
        helped = with_helpers(function, reference.right(one, own))
        for candidate in [helped, function] if own else [function]:
            got = _try(candidate, one)[1]
            values = _numbers(got, one)
            if values:
                expected = {name: one.parts[name].expected for name in values}
                seen.append(
                    Observation(
                        one.known | one.arguments, values, expected, {n: one.parts[n].tolerance for n in values}
                    )
                )
                break
    return seen


def _cause(failure: Exception, observed: list[Observation], reference: Reference) -> Cause | None:
    """What explains all parts, else what explains the one that the failure is about."""
    # Where a call raises an error, what explains the others alone isn't the cause.
    if all(map(is_right, observed)) or getattr(failure, "raised", False):
        return None
    cause = search(observed, reference.model, reference.deviations)
    part = getattr(failure, "part", "")
    if cause is None and part and any(len(seen.got) > 1 for seen in observed):
        alone = [replace(seen, got={part: seen.got[part]}) for seen in observed]
        cause = search(alone, reference.model, reference.deviations)
    return cause or _clue(observed, reference)


def _clue(observed: list[Observation], reference: Reference) -> Cause | None:
    """What can be told of values that nothing known reproduces."""
    sentence = reference.clue(observed) if observed else None
    shares = [_share(seen, part) for seen in observed for part in seen.got]
    if sentence is None and shares and max(shares) < 1e-5:
        sentence = (
            f"the values are right to about {int(-np.log10(max(shares)))} digits: somewhere a number is rounded, as"
            " float32 does, or a small constant is added."
        )
    return Cause((), sentence) if sentence else None


def _share(seen: Observation, part: str) -> float:
    """The largest deviation as a share of the largest value, infinite where these can't be compared."""
    got, expected = seen.got[part], np.asarray(seen.expected[part], dtype=np.float64)
    if np.shape(got) != expected.shape or not np.any(expected):
        return float("inf")
    return float(np.max(np.abs(got - expected)) / np.max(np.abs(expected)))


def _numbers(got: dict[str, Any] | None, one: Asked) -> dict[str, np.ndarray]:
    found = {}
    for name, value in (got or {}).items():
        with contextlib.suppress(TypeError, ValueError):
            array = np.asarray(value)
            found[name] = array if array.dtype == np.float32 else array.astype(np.float64)
    return found if len(found) == len(one.parts) else {}


def _with_cause(failure: Exception, cause: Cause | None) -> Exception:
    if cause is not None and isinstance(failure, CheckFailed) and failure.cause is None:
        failure.cause, failure.deviations = cause.sentence, cause.names
    return failure
