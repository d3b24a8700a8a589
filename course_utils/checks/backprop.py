"""Checks of notebook 2: the gradients, formula by formula."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from course_utils import symbolic
from course_utils.causes import probable_cause
from course_utils.comparison import (
    CheckFailed,
    as_numbers,
    call,
    call_keeping,
    conforming,
    expect_close,
    expect_keys,
    not_done,
    on_problem,
    passed,
)
from course_utils.reference import Problem, problems
from course_utils.source import is_unwritten, names_used
from course_utils.stand_ins import WITHIN_NOTEBOOKS, with_stand_in

#: Arguments of each formula ``grad_<variable>``, in the order of the backward pass.
STEPS = {
    "z3": ("a3", "y"),
    "W2": ("a2", "dz3"),
    "b2": ("dz3",),
    "a2": ("dz3", "W2"),
    "z2": ("da2", "z2"),
    "W1": ("X", "dz2"),
    "b1": ("dz2",),
}
#: Functions that would do the exercise of question 2.a.
_DIFFERENTIATE = {"diff", "Derivative", "idiff", "jacobian", "gradient", "derive_by_array", "differentiate_finite"}


def check_symbolic(symbolic_answer: Callable, dJ_dz3_symbolic: Callable) -> None:
    """Check the three derivatives of -log softmax(z)_y, for every true class, exactly.

    Parameters
    ----------
    symbolic_answer : callable
        ``symbolic_answer(y)`` -> the three expressions as text (:func:`course_utils.symbolic.as_text`).
    dJ_dz3_symbolic : callable
        The student's function itself, whose source must not differentiate.
    """
    if is_unwritten(dJ_dz3_symbolic):
        raise not_done("dJ_dz3_symbolic is not written yet")
    name = min(_DIFFERENTIATE & names_used(dJ_dz3_symbolic), default=None)
    if name is not None:
        raise CheckFailed(
            "dJ_dz3_symbolic", f"it uses {name}: SymPy does the derivation. Write down what you derived by hand."
        )
    for label in range(len(symbolic.LOGITS)):
        _check_expressions(call(symbolic_answer, label), label)
    passed("all nine expressions equal SymPy's derivatives, for every z.")


def _check_expressions(texts: Any, label: int) -> None:
    quantity, count = "dJ_dz3_symbolic", len(symbolic.LOGITS)
    if not isinstance(texts, list):
        raise CheckFailed(quantity, f"for y = {label} it returned {texts}, expected a list of {count} expressions.")
    if len(texts) != count:
        raise CheckFailed(quantity, f"for y = {label} the list has {len(texts)} entries, expected {count}.")
    formulas, values, wanted = [], [], [symbolic.Formula(str(right)) for right in symbolic.derivatives(label)]
    for k, text in enumerate(texts):
        try:
            formulas.append(symbolic.Formula(text))
            values.append(formulas[-1].value())
        except symbolic.FormulaError as error:
            raise CheckFailed(
                _named(k, label), f"the expression {_shortened(text)} can't be compared: {error}"
            ) from None
    expected = [formula.value() for formula in wanted]
    for k, text in enumerate(texts):
        if not symbolic.agree(values[k], expected[k]):
            raise CheckFailed(
                _named(k, label),
                f"the expression {_shortened(text)} is wrong. At z = {symbolic.POINT} its value is"
                f" {_number(values[k])}, expected {_number(expected[k])}.",
                cause=_cause(values, expected, label),
            )
    for k, text in enumerate(texts):
        if not symbolic.are_equal(formulas[k].expression(), symbolic.derivatives(label)[k]):
            raise CheckFailed(
                _named(k, label),
                f"the expression {_shortened(text)} has the right value at z = {symbolic.POINT}, but it isn't"
                " equal to the derivative for every z, or in a form for which that can't be shown.",
            )


def _named(k: int, label: int) -> str:
    return f"dJ/dz{k} for the true class y = {label}"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(value: Any) -> str:
    return f"{float(value):.10g}" if _is_real(value) else "not a real number"


def _is_real(value: Any) -> bool:
    import mpmath

    return isinstance(value, mpmath.mpf)


def _cause(values: list, expected: list, label: int) -> str | None:
    if not all(map(_is_real, values)):
        return None
    onehot = np.eye(len(expected))[[label]]
    got, right = (np.array([list(map(float, row))]) for row in (values, expected))
    return probable_cause(got, right, {"quantity": "dJ/dz3", "N": 1, "onehot": onehot}, 1e-14)


def check_step(variable: str, function: Callable, on: Problem | None = None) -> None:
    """Check one formula of the backward pass on the reference's intermediate values.

    Parameters
    ----------
    variable : str
        A key of :data:`STEPS`; the function gives the gradient of the data loss with
        respect to it, in its shape. A bias may also have the shape (1, n).
    function : callable
        The student's ``grad_<variable>``, which takes the arguments that :data:`STEPS` names.
    on : Problem, optional
        A hidden test's own problem.
    """
    for given in [on] if on else problems():
        with on_problem(given):
            _check_step(variable, function, given)
    passed(f"grad_{variable} gives the reference dJ/d{variable}.", on)


def _available(given: Problem) -> dict[str, Any]:
    return {**given.values, **given.params, "X": given.X, "y": given.y}


def _check_step(variable: str, function: Callable, given: Problem) -> None:
    available = _available(given)
    passed_on = {name: available[name] for name in STEPS[variable]}
    # What these two get, no other step needs.
    spends = variable in ("z3", "z2")
    got = call(function, *passed_on.values()) if spends else call_keeping(function, **passed_on)
    arguments = [available[name] for name in STEPS[variable] if name != "y"]
    known = {"N": len(given.X)}
    if variable == "z3":
        known |= {"onehot": given.onehot}
    elif variable == "z2":
        known |= {"upstream": given.values["da2"], "before": given.values["z2"]}
    elif variable in ("b1", "b2"):
        known |= {"upstream_rows": arguments[0]}
    expect_close(
        f"dJ/d{variable}", got, available[f"d{variable}"], row_vector=variable in ("b1", "b2"), known=known,
        # No formula sums more terms than there are rows and columns, nor larger ones than these products.
        terms=sum(len(array) + array.shape[-1] for array in arguments),
        scale=float(np.prod([np.max(np.abs(array)) for array in arguments])),
    )  # fmt: skip
    if variable == "z2":
        _check_kink(function, given)


def _check_kink(grad_z2: Callable, given: Problem) -> None:
    """At z2 = 0 the ReLU has no derivative: any factor from 0 to 1 (a subgradient) is right there."""
    z2, upstream = given.values["z2"].copy(), given.values["da2"]
    z2[::2, 0] = 0.0
    got = as_numbers("dJ/dz2", call(grad_z2, upstream, z2))
    expected = given.values["dz2"].copy()
    if got.shape == expected.shape:
        at_kink = z2 == 0
        bounds = np.minimum(upstream, 0.0)[at_kink], np.maximum(upstream, 0.0)[at_kink]
        expected[at_kink] = np.clip(got[at_kink], *bounds)
    expect_close("dJ/dz2, with some entries of z2 exactly 0", got, expected, scale=float(np.max(np.abs(upstream))))


def backpropagate(steps: Sequence[Callable], given: Problem) -> dict[str, np.ndarray]:
    """The gradients of the data loss as the student's own formulas give them, one upon the other.

    Parameters
    ----------
    steps : sequence of callables
        The seven functions ``grad_<variable>`` in the order of :data:`STEPS`.
    given : Problem
        Its forward values are used.

    Returns
    -------
    dict
        Variable -> gradient.
    """
    available, gradients = _available(given), {}
    for (variable, names), function in zip(STEPS.items(), steps, strict=True):
        gradients[variable] = call(function, *(available[name] for name in names))
        available[f"d{variable}"] = gradients[variable]
    return gradients


def check_backward(backward: Callable, steps: Sequence[Callable] | None = None, on: Problem | None = None) -> None:
    """Check ``backward(params, X, y, reg)`` -> dict with the gradients ``W1``, ``b1``, ``W2``, ``b2``.

    Several values of reg are used, 0 among them. With the student's seven functions
    (``steps``, in the order of :data:`STEPS`), a mistake in these isn't counted again, whether
    ``backward`` uses them or writes some of them anew.
    """
    if steps is not None:
        # As in the student's notebook: a formula that fails is replaced where others build on it.
        names = [f"grad_{variable}" for variable in STEPS]
        steps = [with_stand_in(name, partial(call, step)) for name, step in zip(names, steps, strict=True)]
    for given in [on] if on else problems():
        if steps is not None:
            given = conforming(given, lambda candidate: _own_gradients(steps, candidate))
        mixed = functools.cache(partial(_mixtures, steps, given))
        for reg in (given.reg, 0.0, 0.3 + given.reg):
            regularised = given._replace(reg=reg)
            with on_problem(regularised):
                got = call_keeping(backward, params=given.params, X=given.X, y=given.y, reg=reg)
                _compare_gradients(expect_keys("backward", got, tuple(given.params)), regularised, steps, mixed)
    passed("backward gives the reference gradients, for every strength of regularisation.", on)


def _own_gradients(steps: Sequence[Callable], given: Problem) -> dict[str, np.ndarray]:
    """The four gradients of the regularised loss as they follow from the student's own formulas."""
    gradients = backpropagate(steps, given)
    return {name: _regularised(gradients[name], name, given) for name in given.params}


def _regularised(gradient: Any, name: str, given: Problem) -> np.ndarray:
    array, gradient = given.params[name], np.asarray(gradient)
    if name.startswith("W"):
        if gradient.shape != array.shape:
            raise ValueError(f"the gradient of {name} has shape {gradient.shape}")
        gradient = gradient + 2 * given.reg * array
    return gradient.reshape(array.shape) if gradient.size == array.size else gradient


def _mixtures(steps: Sequence[Callable], given: Problem) -> dict[str, list[np.ndarray]]:
    """Variable -> the gradients that follow where each step up to it is the student's own or the right one."""
    available = {name: [value] for name, value in _available(given).items()}
    for (variable, names), own in zip(STEPS.items(), steps, strict=True):
        found: list[np.ndarray] = []
        for arguments in itertools.product(*(available[name] for name in names)):
            for step in (WITHIN_NOTEBOOKS[f"grad_{variable}"], own):
                with contextlib.suppress(Exception):  # what doesn't conform leads nowhere
                    gradient = np.asarray(step(*arguments))
                    if not any(_agree(gradient, other) for other in found):
                        found.append(gradient)
        available[f"d{variable}"] = found
    return {variable: available[f"d{variable}"] for variable in STEPS}


def _agree(gradient: np.ndarray, other: np.ndarray) -> bool:
    return gradient.shape == other.shape and np.allclose(gradient, other, rtol=1e-12, atol=1e-15)


def _compare_gradients(
    got: dict,
    given: Problem,
    steps: Sequence[Callable] | None,
    mixed: Callable[[], dict[str, list[np.ndarray]]],
) -> None:
    params, values = given.params, given.values
    sizes = _error_scales(given)
    for name, expected in given.gradients().items():
        known = {"N": len(given.X), "reg": given.reg, "symbol": name}
        known |= {"weight" if name.startswith("W") else "bias": params[name]}
        known |= _unmasked(name, given, steps)
        regularisation = expected - values[f"d{name}"]
        expect_close(
            f"dJ/d{name} of backward, with reg = {given.reg:.3g}", got[name], expected, known=known,
            row_vector=name.startswith("b"), terms=len(given.X) + sum(params["W1"].shape) + params["b2"].size,
            scale=sizes[name] + float(np.max(np.abs(regularisation))),
            input_dtype=np.result_type(given.X, params["W1"]),
            follows=(partial(_regularised, gradient, name, given) for gradient in (mixed()[name] if steps else ())),
        )  # fmt: skip


def _unmasked(name: str, given: Problem, steps: Sequence[Callable] | None) -> dict[str, np.ndarray]:
    """What the student's own formula for a gradient of the first layer gives without the step through the ReLU."""
    if steps is None or name not in ("W1", "b1"):
        return {}
    without = dict(zip(STEPS, steps, strict=True)) | {"z2": lambda da2, z2: da2}
    with contextlib.suppress(Exception):  # the formula is missing or fails; its own check says so
        return {"without_mask": _own_gradients(list(without.values()), given)[name]}
    return {}


def _error_scales(given: Problem) -> dict[str, float]:
    """How much each gradient magnifies round-off: the sizes of the products on the way to it.

    An error of the logits is one of the probabilities, at most as large; from there it is
    carried on, as a mean over the samples, by the factors of the chain rule.
    """
    W1, b1, W2, b2 = (np.abs(given.params[name]) for name in ("W1", "b1", "W2", "b2"))
    X, a2 = np.abs(np.asarray(given.X, dtype=np.float64)), given.values["a2"]
    first = np.max(X @ W1 + b1)
    logits = 1 + np.max(a2 @ W2 + b2) + first * np.max(W2.sum(axis=0))
    hidden = logits * np.max(W2.sum(axis=1))
    scales = {"b2": logits, "W2": logits * np.max(a2), "b1": hidden, "W1": hidden * np.max(X)}
    return {name: float(scale) for name, scale in scales.items()}
