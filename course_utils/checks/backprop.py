"""Checks of notebook 2: the gradients, formula by formula."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from course_utils import mistakes, symbolic
from course_utils.comparison import (
    CheckFailed,
    as_numbers,
    call,
    expect_close,
    not_done,
    on_problem,
    passed,
    roundoff_tolerance,
)
from course_utils.deviations import Observation, is_right, search
from course_utils.judge import Asked, Part, Reference, answers, judge
from course_utils.reference import Problem, problems
from course_utils.source import is_unwritten, names_used
from course_utils.steps import STEPS, right_steps

#: Functions that run text, or give what a text names.
_COMPUTED = {
    "exec", "eval", "compile", "__import__", "import_module", "getattr", "attrgetter", "methodcaller", "globals",
    "locals", "vars", "__dict__", "__getattribute__",
}  # fmt: skip
#: Functions that would do the exercise of question 2.a.
_DIFFERENTIATE = {"diff", "Derivative", "idiff", "jacobian", "gradient", "derive_by_array", "differentiate_finite"}


@answers("test-dJ_dz3-symbolic")
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
    used = names_used(dJ_dz3_symbolic)
    name = min(_COMPUTED & used, default=None)
    if name is not None:
        raise CheckFailed(
            "dJ_dz3_symbolic",
            f"it uses {name}, behind which any function may stand, one that differentiates too. Name what you call.",
        )
    name = min(_DIFFERENTIATE & used, default=None)
    if name is not None:
        raise CheckFailed(
            "dJ_dz3_symbolic", f"it uses {name}: SymPy does the derivation. Write down what you derived by hand."
        )
    answered = [_formulas(call(symbolic_answer, label), label) for label in range(len(symbolic.LOGITS))]
    values = [[formula.value() for formula in formulas] for formulas in answered]
    expected = [
        [symbolic.Formula(str(right)).value() for right in symbolic.derivatives(label)]
        for label in range(len(answered))
    ]
    for label, formulas in enumerate(answered):
        for k, formula in enumerate(formulas):
            got, right = values[label][k], expected[label][k]
            if not symbolic.agree(got, right):
                seen = [_seen(*each) for each in zip(values, expected, range(len(answered)), strict=True)]
                cause = search([one for one in seen if one], mistakes.of_step("z3"), _SYMBOLIC)
                raise CheckFailed(
                    _named(k, label),
                    f"the expression {_shortened(formula.text)} is wrong. At z = {symbolic.POINT} its value is"
                    f" {_number(got)}, expected {_number(right)}.",
                    cause=cause.sentence if cause else None,
                    deviations=cause.names if cause else (),
                )
            if not symbolic.are_equal(formula.expression(), symbolic.derivatives(label)[k]):
                raise CheckFailed(
                    _named(k, label),
                    f"the expression {_shortened(formula.text)} has the right value at z = {symbolic.POINT}, but it"
                    " isn't equal to the derivative for every z, or in a form for which that can't be shown.",
                )
    passed("all nine expressions equal SymPy's derivatives, for every z.")


#: What may go wrong for one sample: no mean over several.
_OF_SEVERAL = ("averaged", "samples")
_SYMBOLIC = (
    *(one for one in mistakes.GRAD_Z3 if not any(part in one.name for part in _OF_SEVERAL)),
    *mistakes.GENERAL,
)


def _formulas(texts: Any, label: int) -> list[symbolic.Formula]:
    """The expressions for one true class, read from text."""
    quantity, count = "dJ_dz3_symbolic", len(symbolic.LOGITS)
    if not isinstance(texts, list):
        raise CheckFailed(quantity, f"for y = {label} it returned {texts}, expected a list of {count} expressions.")
    if len(texts) != count:
        raise CheckFailed(quantity, f"for y = {label} the list has {len(texts)} entries, expected {count}.")
    formulas = []
    for k, text in enumerate(texts):
        try:
            formulas.append(symbolic.Formula(text))
            formulas[-1].value()
        except symbolic.FormulaError as error:
            raise CheckFailed(
                _named(k, label), f"the expression {_shortened(text)} can't be compared: {error}"
            ) from None
    return formulas


def _named(k: int, label: int) -> str:
    return f"dJ/dz{k} for the true class y = {label}"


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _number(value: Any) -> str:
    return f"{float(value):.10g}" if _is_real(value) else "not a real number"


def _is_real(value: Any) -> bool:
    import mpmath

    return isinstance(value, mpmath.mpf)


def _seen(values: list, expected: list, label: int) -> Observation | None:
    """The three derivatives as one row of numbers, which a formula of the next question would give."""
    if not all(map(_is_real, values)):
        return None
    got, right = (np.array([list(map(float, row))]) for row in (values, expected))
    delta = np.eye(len(expected))[[label]]
    known = {"a3": right + delta, "y": np.array([label]), "right": {"grad_z3": lambda a3, y: right}}
    return Observation(known, {"z3": got}, {"z3": right}, {"z3": 1e-14})


def check_step(variable: str, function: Callable, on: Problem | None = None) -> None:
    """Check one formula of the backward pass on the reference's intermediate values.

    Parameters
    ----------
    variable : str
        A key of :data:`course_utils.steps.STEPS`; the function gives the gradient of the data loss
        with respect to it, in its shape.
    function : callable
        The student's ``grad_<variable>``, which takes the arguments that ``STEPS`` names.
    on : Problem, optional
        A hidden test's own problem.
    """
    answers(f"test-grad-{variable}")(_check_step)(variable, function, [on] if on else problems())
    passed(f"grad_{variable} gives the reference dJ/d{variable}.", on)


def _check_step(variable: str, function: Callable, given: list[Problem]) -> None:
    reference = Reference(mistakes.of_step(variable), deviations=mistakes.step_alone(variable))
    judge(function, _asked(variable, given), reference, f"test-grad-{variable}", passed=_asked(variable, problems()))
    if variable == "z2":
        for one in given:
            with on_problem(one):
                _check_kink(function, one)


def _asked(variable: str, given: list[Problem]) -> list[Asked]:
    asked = []
    for one in given:
        available = _available(one)
        arguments = {name: available[name] for name in STEPS[variable]}
        arrays = [np.abs(array) for name, array in arguments.items() if name != "y"]
        # No formula sums more terms than there are rows and columns, nor larger ones than these products.
        terms = sum(len(array) + array.shape[-1] for array in arrays)
        tolerance = roundoff_tolerance(np.float64, terms, float(np.prod([np.max(array) for array in arrays])))
        part = Part(f"dJ/d{variable}", available[f"d{variable}"], tolerance)
        # No other step needs the probabilities, nor the gradient with respect to a2.
        spent, known = ("a3", "da2"), {"right": right_steps()}
        asked.append(Asked(one, arguments, {variable: part}, spent=spent, known=known))
        if variable == "b2":
            # The rows of the true dz3 sum to zero, as do many wrong sums of it: any other matrix will do.
            z3 = one.values["z3"]
            tolerance = roundoff_tolerance(np.float64, sum(z3.shape), float(np.max(np.abs(z3))))
            other = Part("dJ/db2, for another dz3", known["right"]["grad_b2"](z3), tolerance)
            asked.append(Asked(one, {"dz3": z3}, {variable: other}, spent=spent, known=known))
    return asked


def _available(given: Problem) -> dict[str, Any]:
    return {**given.values, **given.params, "X": given.X, "y": given.y}


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


def backpropagate(steps: Sequence[Callable], values: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """The gradients of the data loss as the student's own formulas give them, one upon the other.

    Parameters
    ----------
    steps : sequence of callables
        The seven functions ``grad_<variable>`` in the order of ``STEPS``.
    values : mapping
        ``X``, ``y``, the parameters, and what ``forward`` gives.

    Returns
    -------
    dict
        Variable -> gradient.
    """
    available, gradients = dict(values), {}
    for (variable, names), function in zip(STEPS.items(), steps, strict=True):
        gradients[variable] = call(function, *(available[name] for name in names))
        available[f"d{variable}"] = gradients[variable]
    return gradients


@answers("test-backward")
def check_backward(backward: Callable, on: Problem | None = None) -> None:
    """Check ``backward(params, X, y, reg)`` -> dict with the gradients ``W1``, ``b1``, ``W2``, ``b2``.

    Several values of reg are used, 0 among them.
    """
    asked = []
    for given in [on] if on else problems():
        sizes = _error_scales(given)
        dtype = np.result_type(given.X, given.params["W1"])
        terms = len(given.X) + sum(given.params["W1"].shape) + given.params["b2"].size
        for reg in (given.reg, 0.0, 0.3 + given.reg):
            regularised = given._replace(reg=reg)
            parts = {}
            for name, expected in regularised.gradients().items():
                scale = sizes[name] + float(np.max(np.abs(expected - given.values[f"d{name}"])))
                label = f"dJ/d{name} of backward, with reg = {reg:.3g}"
                parts[name] = Part(label, expected, roundoff_tolerance(dtype, terms, scale))
            arguments = {"params": given.params, "X": given.X, "y": given.y, "reg": reg}
            known = mistakes.backward_arguments(given, reg) | {"right": right_steps()}
            asked.append(Asked(regularised, arguments, parts, {name: name for name in parts}, known=known))
    judge(backward, asked, Reference(mistakes.gradients, _right, mistakes.BACKWARD, _clue), "test-backward")
    passed("backward gives the reference gradients, for every strength of regularisation.", on)


def _right(one: Asked, own: Mapping[str, Callable]) -> dict[str, Callable]:
    right = right_steps(own)
    return {name: right[name] for name in own}


def _clue(observed: list[Observation]) -> str | None:
    """Which of the terms is right: reg shows one alone."""
    plain = [seen for seen in observed if seen.arguments["reg"] == 0]
    if plain and all(is_right(seen) for seen in plain):
        return "with reg = 0 the gradients are right; look at the regularisation."
    wrong = {part for seen in observed for part in seen.got if not is_right(seen, part)}
    right = [part for part in observed[0].got if part not in wrong]
    return f"the gradients of {', '.join(right)} are right." if right else None


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
