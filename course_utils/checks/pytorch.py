"""Checks of notebook 5: the network in PyTorch, and its training.

A model is an object of the student's, which may live in another process. A check hands it
from one of the student's functions to the next and looks at plain values only: at what the
model holds and computes (``state_of`` and ``logits_of`` of the notebook), and at what the
functions return.

A function that is given a model is right if it is so with one of :data:`KINDS` in each of the
cases: with the student's own model as it stands, or with one that is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import combinations, pairwise, product
from typing import Any, NamedTuple

import numpy as np

from course_utils.comparison import (
    CheckFailed,
    as_numbers,
    call,
    expect_close,
    expect_keys,
    on_problem,
    passed,
    roundoff_tolerance,
)
from course_utils.deviations import Cause, Deviation, Observation, is_right, search
from course_utils.helpers import with_helpers
from course_utils.judge import answers
from course_utils.mistakes import GENERAL
from course_utils.oracle import random_problem
from course_utils.reference import Problem, problem

#: The models on which a function is tried: of the student's ``params_to_torch``, or of ``build_mlp`` with the
#: parameters filled in; the latter with the right forward pass; a right one, which has two layers.
KINDS = ("params_to_torch", "build_mlp", "mended", "right")
#: Round-off of a hundred steps of gradient descent, relative to the size of a parameter, by precision.
_TRAINED_TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-3}
#: Sizes of the models on which build_mlp is checked: all differ, so that no layer can take another's place, but
#: for the last, in which a layer that is used twice would be missing.
_SIZES = ((5, 7, 3), [4, 6, 9, 3], (6, 9, 8, 5, 4), [5, 8, 4, 7, 3, 6, 4], (5, 6, 6, 6, 6))
#: Layers so large that the standard deviation of their weights is known to one per cent.
_LARGE_SIZES = ((220, 150, 100), [150, 140, 130, 120, 110, 100])


class Models(NamedTuple):
    """What the checks need besides the function that they check."""

    #: kind, params, activation, used -> model that holds params, and gradients of an earlier use if it is ``used``
    model_of: Callable
    #: model -> dict of its parameters, see :func:`as_params`
    state_of: Callable
    #: model, X (N, D) -> (N, K)
    logits_of: Callable


@dataclass(frozen=True)
class Case:
    """A network and data on which a function is tried; ``used`` models hold gradients of an earlier use, all 1."""

    name: str
    params: dict[str, np.ndarray]
    X: np.ndarray
    y: np.ndarray
    reg: float
    activation: str = "relu"
    used: bool = False
    stability: bool = False

    @property
    def dtype(self) -> np.dtype:
        """Of the parameters."""
        return np.dtype(self.params["W1"].dtype)


# --- What a model holds -----------------------------------------------------------------


def as_params(state: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A model's parameters, named and shaped like ``params``.

    Parameters
    ----------
    state : mapping
        Name -> array, as in a ``state_dict``: for each fully connected layer, in order, its
        weights (outputs, inputs) and its biases (outputs,).

    Returns
    -------
    dict
        ``W1`` (inputs, outputs), ``b1`` (outputs,), ``W2``, ...

    Raises
    ------
    CheckFailed
        If these aren't the parameters of fully connected layers.
    """
    arrays = {name: as_numbers(name, array) for name, array in state.items()}
    if not arrays or [array.ndim for array in arrays.values()] != [2, 1] * (len(arrays) // 2):
        held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "nothing"
        raise CheckFailed(
            "the model",
            f"each of its layers should have weights and biases, in order, that can be trained; it has {held}.",
        )
    names = [f"{kind}{number}" for number in range(1, len(arrays) // 2 + 1) for kind in "Wb"]
    return {name: array.T for name, array in zip(names, arrays.values(), strict=True)}


def _held(model: Any, state_of: Callable) -> dict[str, np.ndarray]:
    if model is None:
        raise CheckFailed("the model", "it is None. Does the function end with a return?")
    state = call(state_of, model)
    if not isinstance(state, dict):
        raise CheckFailed("the model", "its parameters can't be read; it should be an nn.Module.")
    return as_params(state)


def _shapes(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        shapes |= {f"W{number}": (fan_in, fan_out), f"b{number}": (fan_out,)}
    return shapes


def _expect_shapes(quantity: str, held: Mapping[str, np.ndarray], sizes: Sequence[int], transposed: str) -> None:
    """Compare the layers; ``transposed`` is said where one has its inputs and outputs exchanged."""
    shapes = _shapes(sizes)
    if len(held) != len(shapes):
        fewer = len(set(shapes.values())) == len(held) < len(shapes)
        raise CheckFailed(
            quantity,
            f"for sizes {sizes} the model has {len(held) // 2} layers, expected {len(shapes) // 2}.",
            cause="layers of equal sizes are one and the same object: make a new nn.Linear for each." if fewer else None,
        )
    for name, shape in shapes.items():
        if held[name].shape != shape:
            raise CheckFailed(
                quantity,
                f"for sizes {sizes}, layer {name[1:]} goes from {held[f'W{name[1:]}'].shape[0]} to"
                f" {held[f'W{name[1:]}'].shape[1]} numbers, expected {shapes[f'W{name[1:]}']}.",
                cause=transposed if held[name].shape == shape[::-1] else None,
            )


def _holds(held: Mapping[str, np.ndarray], params: Mapping[str, np.ndarray]) -> bool:
    return held.keys() == params.keys() and all(
        held[name].dtype == array.dtype and np.array_equal(held[name], array) for name, array in params.items()
    )


def _logits_tolerance(params: Mapping[str, np.ndarray], X: np.ndarray) -> float:
    """How much the logits of a right model may deviate from those in float64.

    A layer with n inputs rounds by at most n + 1 units of the sum of its absolute products
    (Higham, eq. 3.5), and the activation by a few more: n + 8 in all. No activation enlarges
    a number, nor a deviation by more than GELU's largest slope, 1.13, so the sums of absolute
    products, carried on from layer to layer, bound both. The factor 2 covers the slopes of
    four layers, 1.13 ** 4.
    """
    sums, roundings = np.abs(X), 0
    for number in range(1, len(params) // 2 + 1):
        W, b = (np.abs(params[f"{kind}{number}"].astype(np.float64)) for kind in "Wb")
        sums, roundings = sums @ W + b, roundings + len(W) + 8
    precision = np.float32 if params["W1"].dtype == np.float32 else np.float64
    return 2 * float(np.finfo(precision).eps) * roundings * max(float(sums.max()), 1.0)


def _right_logits(params: Mapping[str, np.ndarray], X: np.ndarray, activation: str) -> np.ndarray:
    from course_utils.checks import pytorch_reference as reference

    return reference.outputs(reference.tensors_of(params), X, activation, {}).detach().numpy()


# --- The cases --------------------------------------------------------------------------


def _case(given: Problem, **changed: Any) -> Case:
    return replace(Case(given.name, given.params, given.X, given.y, given.reg), **changed)


def _deep_case(sizes: Sequence[int], activation: str, seed: int, samples: int) -> Case:
    rng = np.random.default_rng(seed)
    params = {
        name: rng.standard_normal(shape) / np.sqrt(shape[0] if len(shape) == 2 else 1)
        for name, shape in _shapes(sizes).items()
    }
    X, y = 2 * rng.standard_normal((samples, sizes[0])), rng.integers(0, sizes[-1], size=samples)
    return Case(f'a network of sizes {sizes} with "{activation}" and N={samples} samples', params, X, y, 0.2, activation)


def _cases(given: Problem, samples: int = 9) -> list[Case]:
    """The problem, and others of which each has one property more."""
    size = f"N={len(given.X)} samples"
    single = {name: array.astype(np.float32) for name, array in given.params.items()}
    return [
        _case(given),
        _case(given, name=f"X in float32 for a float64 model, and {size}", X=given.X.astype(np.float32)),
        _case(given, name=f"a float32 model and {size}", params=single),
        _case(given, name=f"a model that holds gradients of an earlier use, and {size}", used=True),
        _deep_case((6, 7, 5, 4), "tanh", len(given.X), samples),
        _deep_case((5, 8, 4, 7, 3), "relu", len(given.X), samples),
    ]


def _with_large_logits(given: Problem) -> Case:
    return _case(given, name=f"very large logits and N={len(given.X)} samples", X=2000 * given.X, stability=True)


def _model(kind: str, case: Case, models: Models) -> Any:
    return call(models.model_of, kind, case.params, case.activation, case.used)


def _models_for(case: Case, models: Models) -> Iterator[tuple[str, Any]]:
    """Models that hold the parameters of the case, by their kinds."""
    own_alone = len(case.params) > 4 or case.activation != "relu"
    for kind in KINDS:
        if own_alone and kind in ("params_to_torch", "right"):
            continue
        try:
            model = _model(kind, case, models)
            if _holds(_held(model, models.state_of), case.params):
                yield kind, model
        except (CheckFailed, NotImplementedError):
            continue


def _gives_logits(model: Any, case: Case, models: Models) -> bool:
    """Whether a model computes what it should."""
    try:
        got = as_numbers("the logits", call(models.logits_of, model, case.X))
    except (CheckFailed, NotImplementedError):
        return False
    expected = _right_logits(case.params, case.X, case.activation)
    return got.shape == expected.shape and bool(np.all(np.abs(got - expected) <= _logits_tolerance(case.params, case.X)))


# --- The one rule -----------------------------------------------------------------------

#: Label -> value.
Values = dict[str, Any]


#: Case -> the student's function as it stands, and with right helpers.
Functions = Callable[[Case], Sequence[Callable]]


class Task(NamedTuple):
    """What a function is asked for.

    Attributes
    ----------
    observe : callable
        The student's function, model, case -> values; raises where these can't be had.
    reference : callable
        ``vars(case)``, changes -> the right values, see :mod:`course_utils.deviations`.
    tolerance : callable
        Case, label, right value -> round-off allowed, absolute.
    deviations : sequence of Deviation
    also : callable
        Kind, case -> other values that pass: the right computation with the student's helpers.
    """

    observe: Callable[[Callable, Any, Case], Values]
    reference: Callable[[Mapping[str, Any], Mapping[str, Callable]], Values]
    tolerance: Callable[[Case, str, Any], float]
    deviations: Sequence[Deviation]
    also: Callable[[str, Case], Values | None] = lambda kind, case: None


def _judge(functions: Functions, cases: Sequence[Case], task: Task, models: Models) -> None:
    """Raise :class:`CheckFailed` unless one of the functions is right with one of the models in every case."""
    passing = ""
    for case in cases:
        failures: list[Exception] = []
        for kind, model in _models_for(case, models):
            if case.stability and kind == passing and not _gives_logits(model, case, models):
                break  # large logits can't be asked of a model that gives none, where the function goes with it
            failure = _failure(functions(case), kind, model, case, task, models)
            if failure is None:
                passing = kind
                break
            failures.append(failure)
        else:
            if failures:
                raise _with_cause(_clearest(failures), lambda: _cause(functions, cases, task, models))
            if len(case.params) == 4:
                raise CheckFailed("model_of", "there is no model on which to try the function.")


def _with_cause(failure: Exception, cause_of: Callable[[], Cause | None]) -> Exception:
    """The failure, with the cause unless it has one."""
    if isinstance(failure, CheckFailed) and failure.cause is None:
        cause = cause_of()
        failure.cause, failure.deviations = (cause.sentence, cause.names) if cause else (None, ())
    return failure


def _failure(
    functions: Sequence[Callable], kind: str, model: Any, case: Case, task: Task, models: Models
) -> Exception | None:
    failures: list[Exception] = []
    for function in functions:
        if failures:
            model = _model(kind, case, models)  # what was tried may have changed it
        try:
            with on_problem(case):  # type: ignore[arg-type]
                got = task.observe(function, model, case)
                _expect(got, task.reference(vars(case), {}), case, task)
            return None
        except (CheckFailed, NotImplementedError) as failure:
            failures.append(failure)
    other = task.also(kind, case)
    if other is not None:
        try:
            model = _model(kind, case, models)
            _expect(task.observe(functions[0], model, case), other, case, task)
            return None
        except (CheckFailed, NotImplementedError):
            pass
    return _clearest(failures)


def _expect(got: Values, expected: Values, case: Case, task: Task) -> None:
    for label in got:
        expect_close(label, got[label], expected[label], tolerance=task.tolerance(case, label, expected[label]))


def _clearest(failures: Sequence[Exception]) -> Exception:
    """What isn't written, else a wrong value, else an error that the function raised."""
    unwritten = [failure for failure in failures if isinstance(failure, NotImplementedError)]
    values = [failure for failure in failures if isinstance(failure, CheckFailed) and not failure.raised]
    return [*unwritten, *values, *failures][0]


def _cause(functions: Functions, cases: Sequence[Case], task: Task, models: Models) -> Cause | None:
    """The deviation that gives what a function gave with right models, in all cases that tell something."""
    observed = []
    for case in cases:
        for _, model in _models_for(case, models):
            if not _gives_logits(model, case, models):
                continue
            try:
                got = {label: np.asarray(value, float) for label, value in task.observe(functions(case)[-1], model, case).items()}
            except (CheckFailed, NotImplementedError, TypeError, ValueError):
                continue
            expected = task.reference(vars(case), {})
            tolerance = {label: task.tolerance(case, label, expected[label]) for label in got}
            observed.append(Observation(vars(case), got, {label: expected[label] for label in got}, tolerance))
            break
    if all(map(is_right, observed)):
        return None
    return search(observed, task.reference, task.deviations)


def _expect_unchanged(function: str, model: Any, case: Case, models: Models) -> None:
    if not _holds(_held(model, models.state_of), case.params):
        raise CheckFailed(function, "the call has changed the model's parameters; it should leave them as they are.")


# --- 5.a and 5.b The model --------------------------------------------------------------


@answers("test-build-mlp")
def check_build_mlp(build_mlp: Callable, state_of: Callable, logits_of: Callable, seed: int = 1) -> None:
    """Check ``build_mlp(sizes, activation)`` -> model, by its layers and by its logits.

    Parameters
    ----------
    build_mlp : callable
        Sizes of two to six layers, a tuple or a list, ``"relu"``, ``"tanh"`` or ``"gelu"`` -> model.
    state_of : callable
        model -> dict of its parameters, see :func:`as_params`.
    logits_of : callable
        model, X (N, D) -> (N, K).
    seed : int
        Draws the data and, other than 1, the sizes.
    """
    rng = np.random.default_rng(seed)
    observed: dict[str, list[Observation]] = {"relu": [], "tanh": [], "gelu": []}
    failures: dict[str, CheckFailed] = {}
    for sizes in _SIZES:
        if seed != 1 and len(set(sizes)) == len(sizes):
            sizes = type(sizes)(int(size) for size in rng.permutation(np.arange(3, 13))[: len(sizes)])
        for activation in observed:
            model = call(build_mlp, sizes, activation)
            held = _held(model, state_of)
            _expect_shapes("build_mlp", held, sizes, "inputs and outputs are exchanged: nn.Linear takes the number of"
                           " inputs first.")  # fmt: skip
            X = 3 * rng.standard_normal((120, sizes[0]))
            got, expected = call(logits_of, model, X), _right_logits(held, X, activation)
            tolerance = _logits_tolerance(held, X)
            try:
                expect_close(f'the logits of build_mlp({sizes}, "{activation}")', got, expected, tolerance=tolerance)
            except CheckFailed as failure:
                failure.cause = _random_cause(lambda: call(logits_of, model, X), got)  # noqa: B023
                failures.setdefault(activation, failure)
            if np.shape(got) == expected.shape:
                arguments = {"params": held, "X": X, "activation": activation}
                observed[activation].append(
                    Observation(arguments, {"logits": np.asarray(got, float)}, {"logits": expected}, {"logits": tolerance})
                )
    for activation, failure in failures.items():
        raise _with_cause(failure, partial(_cause_in_network, observed[activation], activation))
    passed("build_mlp gives networks of any depth, with the activation between the layers.")


def _random_cause(again: Callable[[], Any], got: Any) -> str | None:
    """A sentence if the same call gives something else."""
    if np.array_equal(np.asarray(again()), np.asarray(got), equal_nan=True):
        return None
    return "the same call gives something else each time: there is something random in it (dropout?)."


def _cause_in_network(observed: Sequence[Observation], activation: str) -> Cause | None:
    from course_utils.checks import pytorch_reference as reference

    def model(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
        params = reference.tensors_of(arguments["params"])
        return {"logits": reference.outputs(params, arguments["X"], activation, changes).detach().numpy()}

    # Round-off is far smaller than its bound, and so are some mistakes.
    closer = [replace(seen, tolerance={"logits": seen.tolerance["logits"] / 8}) for seen in observed]
    return search(closer, model, reference.network_deviations(activation))


@answers("test-params-to-torch")
def check_params_to_torch(
    params_to_torch: Callable,
    held_after_change: Callable,
    right_build_mlp: Callable,
    *models: Callable,
    on: Problem | None = None,
) -> None:
    """Check that ``params_to_torch(params)`` gives a model that holds copies of ``params``, and no digit less.

    It is right as it stands, or with a right ``build_mlp``, or if its model is what the student's own
    ``build_mlp`` gives, with the parameters filled in.

    Parameters
    ----------
    params_to_torch : callable
    held_after_change : callable
        params -> what ``state_of`` tells of the model of ``params_to_torch`` after the arrays have changed.
    right_build_mlp : callable
        Takes the place of ``build_mlp`` for two layers and the ReLU.
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problems.
    """
    own = Models(*models)
    for given in [on] if on else [problem("toy"), problem("biased")]:
        failures: list[Exception] = []
        with on_problem(given):
            for helpers in ({}, {"build_mlp": right_build_mlp}):
                convert, after = (with_helpers(function, helpers) for function in (params_to_torch, held_after_change))
                try:
                    _expect_copy(convert, after, _case(given), own)
                    break
                except (CheckFailed, NotImplementedError) as failure:
                    failures.append(failure)
            else:
                if not _is_own_network_filled(params_to_torch, _case(given), own):
                    raise _clearest(failures)
    passed("params_to_torch copies the four arrays; the logits are those of your network.", on)


def _expect_copy(convert: Callable, held_after_change: Callable, case: Case, models: Models) -> None:
    model = call(convert, case.params)
    held = _held(model, models.state_of)
    sizes = (*case.params["W1"].shape, case.params["b2"].size)
    _expect_shapes("params_to_torch", held, sizes, "the weights aren't transposed: nn.Linear's weight has the shape"
                   " (outputs, inputs).")  # fmt: skip
    for name, array in case.params.items():
        if held[name].dtype != array.dtype:
            raise CheckFailed(name, f"in the model it is {held[name].dtype}, expected {array.dtype}.")
        try:
            expect_close(f"{name} in the model", held[name], array, tolerance=0.0)
        except CheckFailed as failure:
            failure.cause = _cause_of_copy(name, held, case.params)
            raise
    logits = call(models.logits_of, model, case.X)
    expected, tolerance = _right_logits(case.params, case.X, "relu"), _logits_tolerance(case.params, case.X)
    try:
        expect_close("the logits of the model", logits, expected, tolerance=tolerance)
    except CheckFailed as failure:
        seen = Observation(vars(case), {"logits": np.asarray(logits, float)}, {"logits": expected}, {"logits": tolerance})
        cause = _cause_in_network([seen], "relu")
        failure.cause = cause.sentence if cause else _random_cause(lambda: call(models.logits_of, model, case.X), logits)
        raise
    again = call(convert, {name: -array for name, array in case.params.items()})
    if not _holds(_held(model, models.state_of), case.params) or again is model:
        raise CheckFailed("params_to_torch", "a second call changed the model of the first one.")
    if not _holds(as_params(call(held_after_change, case.params)), case.params):
        raise CheckFailed(
            "params_to_torch",
            "the model changes when the given arrays do; it should hold copies of them.",
            cause="torch.from_numpy and torch.as_tensor share an array's memory; torch.tensor copies it.",
        )


def _cause_of_copy(name: str, held: Mapping[str, np.ndarray], params: Mapping[str, np.ndarray]) -> str | None:
    got, array = held[name], params[name]
    other = next((key for key in params if key != name and np.array_equal(got, params[key])), None)
    causes = {
        "this is a reshape, which puts the numbers elsewhere; transpose the matrix: W.T.": np.array_equal(
            got, array.reshape(array.shape[::-1]).T
        ),
        "the weights aren't transposed: nn.Linear's weight has the shape (outputs, inputs).": array.ndim == 2
        and np.array_equal(got, array.T),
        "these numbers have only the digits of single precision (float32).": np.array_equal(
            got, array.astype(np.float32)
        ),
        "every value is zero.": not got.any(),
        f"this is {other}.": other is not None,
        "the sign is wrong.": np.array_equal(got, -array),
    }
    return next((cause for cause, true in causes.items() if true and not np.array_equal(got, array)), None)


def _is_own_network_filled(params_to_torch: Callable, case: Case, models: Models) -> bool:
    """Whether a model is the student's own ``build_mlp`` with the parameters filled in, whatever that computes."""
    try:
        model, built = call(params_to_torch, case.params), call(models.model_of, "build_mlp", case.params, "relu")
        state, expected = (call(models.state_of, each) for each in (model, built))
        if list(state) != list(expected) or any(not np.array_equal(state[name], expected[name]) for name in state):
            return False
        logits, right, again = (call(models.logits_of, each, case.X) for each in (model, built, built))
    except (CheckFailed, NotImplementedError):
        return False
    # Outputs that are random tell nothing.
    return not np.array_equal(right, again, equal_nan=True) or np.allclose(logits, right, rtol=1e-6, equal_nan=True)


# --- 5.c The same numbers ---------------------------------------------------------------


def _sizes_of_sums(case: Case, of_gradients: bool = False) -> float:
    """How much the values of a case may deviate: round-off of its sums in the precision of the model."""
    params = {name: np.abs(array).astype(np.float64) for name, array in case.params.items()}
    weights = [params[name] for name in params if name.startswith("W")]
    scale = 1 + float(np.max(np.abs(case.X) @ params["W1"] + params["b1"]))
    for number, W in enumerate(weights[1:], start=2):
        scale *= 1 + float(np.max(W.sum(axis=0)) + np.max(params[f"b{number}"]))
    scale += case.reg * float(sum(np.sum(W**2) for W in weights))
    if of_gradients:
        scale *= 1 + float(np.abs(case.X).max())
    return roundoff_tolerance(case.dtype, len(case.X) + len(weights[0]) + sum(W.shape[1] for W in weights), scale)


def _solved(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
    """The reference's values for a case, under the names that messages use."""
    from course_utils.checks import pytorch_reference as reference

    wanted = {key: arguments[key] for key in ("params", "X", "y", "reg", "activation")}
    values = reference.solved(**wanted, changes=changes)
    renamed = {"loss": "the loss", "scores": "scores(model, X)"}
    if arguments["used"] and "clears" in changes:
        values |= {name: values[name] + 1 for name in arguments["params"]}
    return {renamed.get(key, key if key == "logits" else f"the gradient of {key}"): value for key, value in values.items()}


@answers("test-scores")
def check_scores(scores: Callable, *models: Callable, on: Problem | None = None) -> None:
    """Check ``scores(model, X)``: (N, D) -> probabilities (N, K), those of the NumPy network.

    Parameters
    ----------
    scores : callable
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problems.
    """
    from course_utils.checks import pytorch_reference as reference

    given = Models(*models)

    def observe(function: Callable, model: Any, case: Case) -> Values:
        got = as_numbers("scores(model, X)", call(function, model, case.X))
        _expect_unchanged("scores", model, case, given)
        return {"scores(model, X)": got}

    problems = [on] if on else [problem("toy"), problem("biased")]
    last = problems[-1]
    cases = [
        *map(_case, problems[:-1]), *_cases(last),
        _case(last, name="one row, N=1", X=last.X[:1], y=last.y[:1]), _with_large_logits(last),
    ]  # fmt: skip
    task = Task(observe, _solved, lambda case, label, value: _sizes_of_sums(case), [*reference.SOFTMAX, *GENERAL])
    _judge(lambda case: [scores], cases, task, given)
    passed("scores gives the probabilities that your NumPy network gives.", on)


def _loss_and_gradients(function: Callable, model: Any, case: Case) -> tuple[Any, Any]:
    got = call(function, model, case.X, case.y, case.reg)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("loss_and_gradients", "it should return a float and a dict: return loss, gradients.")
    return got[0], got[1]


def _cases_of_loss(on: Problem | None) -> list[Case]:
    problems = [on] if on else [problem("toy"), problem("biased")]
    with_reg = [_case(given, reg=reg) for given in problems for reg in (given.reg, 0.0, 0.3 + given.reg)]
    return [*with_reg, *_cases(problems[-1])[1:], _with_large_logits(problems[-1])]


@answers("test-torch-loss")
def check_torch_loss(loss_and_gradients: Callable, *models: Callable, on: Problem | None = None) -> None:
    """Check the loss of ``loss_and_gradients(model, X, y, reg)``, for several strengths of regularisation.

    Parameters
    ----------
    loss_and_gradients : callable
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problems.
    """
    from course_utils.checks import pytorch_reference as reference

    def observe(function: Callable, model: Any, case: Case) -> Values:
        return {"the loss": as_numbers("the loss", _loss_and_gradients(function, model, case)[0])}

    task = Task(observe, _solved, lambda case, label, value: _sizes_of_sums(case), [*reference.OBJECTIVE, *GENERAL])
    _judge(lambda case: [loss_and_gradients], _cases_of_loss(on), task, Models(*models))
    passed("the loss is that of your NumPy network, for every strength of regularisation.", on)


@answers("test-torch-gradients")
def check_torch_gradients(loss_and_gradients: Callable, *models: Callable, on: Problem | None = None) -> None:
    """Check the gradients of ``loss_and_gradients(model, X, y, reg)``, keyed and shaped like ``params``.

    Parameters
    ----------
    loss_and_gradients : callable
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problems.
    """
    from course_utils.checks import pytorch_reference as reference

    given = Models(*models)

    def observe(function: Callable, model: Any, case: Case) -> Values:
        _, got = _loss_and_gradients(function, model, case)
        got = expect_keys("loss_and_gradients", got, tuple(case.params))
        _expect_unchanged("loss_and_gradients", model, case, given)
        return {f"the gradient of {name}": as_numbers(f"the gradient of {name}", got[name]) for name in case.params}

    deviations = [*reference.OBJECTIVE, *reference.GRADIENTS, *GENERAL]
    task = Task(observe, _solved, lambda case, label, value: _sizes_of_sums(case, True), deviations)
    _judge(lambda case: [loss_and_gradients], _cases_of_loss(on), task, given)
    passed("the gradients are those of your NumPy network, for every strength of regularisation.", on)


# --- 5.d Training: the steps --------------------------------------------------------------


@dataclass(frozen=True)
class Run(Case):
    """A case, and how a training is called with it.

    Attributes
    ----------
    batches : (iterations, batch size) int array
    rate, decay : float
        Learning rate, and its factor after an epoch.
    """

    batches: np.ndarray = field(default_factory=lambda: np.zeros((0, 1), dtype=int))
    rate: float = 0.02
    decay: float = 1.0

    def of(self, iterations: int, **changed: Any) -> Run:
        """The run's first iterations, with other settings."""
        return replace(self, batches=self.batches[:iterations], **changed)

    @property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """More rows of the same kind; the labels don't matter."""
        rng = np.random.default_rng(len(self.X))
        X = 2 * rng.standard_normal((50, self.X.shape[1]))
        return X, rng.integers(0, len(self.params[f"b{len(self.params) // 2}"]), size=len(X))


def _run(case: Case, iterations: int, batch_size: int, rows: int, **settings: Any) -> Run:
    """A run on the case's data, with more rows like them, ``rows`` in all."""
    rng, more = np.random.default_rng(len(case.X)), rows - len(case.X)
    X = np.concatenate([case.X, 2 * rng.standard_normal((more, case.X.shape[1])).astype(case.X.dtype)])
    y = np.concatenate([case.y, rng.integers(0, int(case.y.max()) + 1, size=more)])
    batches = np.random.default_rng(rows).integers(0, rows, size=(iterations, batch_size))
    name = case.name.replace(f"N={len(case.X)}", f"N={rows}")
    return Run(**vars(case) | {"X": X, "y": y, "name": name, "batches": batches} | settings)


def _train(function: Callable, model: Any, run: Run) -> Any:
    return call(
        function, model, run.X, run.y, *run.validation,
        batches=run.batches, learning_rate=run.rate, learning_rate_decay=run.decay, reg=run.reg,
    )  # fmt: skip


def _trained(function: Callable, model: Any, run: Run, models: Models) -> Values:
    """The parameters after a run."""
    _train(function, model, run)
    held = _held(model, models.state_of)
    if any(held[name].dtype != array.dtype for name, array in run.params.items()):
        raise CheckFailed(
            "the model", f"it is {held['W1'].dtype} after the training, and was {run.dtype} before it.",
            cause="the training has changed the model's precision; as_tensor brings the data into that of the model.",
        )  # fmt: skip
    return held


def _descent(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
    """The reference's parameters after a run."""
    from course_utils.checks import pytorch_reference as reference

    wanted = {key: arguments[key] for key in ("params", "X", "y", "batches", "rate", "reg", "activation")}
    return reference.trained(**wanted, changes=changes, leftover=float(arguments["used"]))[0]


def _with_right_helpers(train_torch: Callable, models: Models) -> Functions:
    """The training as it stands, and with right functions of 5.c under the names that it calls."""
    from course_utils.checks import pytorch_reference as reference

    def functions(case: Case) -> list[Callable]:
        def solved(model: Any, X: Any, y: Any, reg: float) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
            held = _held(model, models.state_of)
            return reference.solved(held, np.asarray(X), np.asarray(y), reg, case.activation, {}), held

        def loss_and_gradients(model: Any, X: Any, y: Any, reg: float) -> tuple[float, dict[str, np.ndarray]]:
            values, held = solved(model, X, y, reg)
            return values["loss"], {name: values[name].astype(array.dtype) for name, array in held.items()}

        def scores(model: Any, X: Any) -> np.ndarray:
            values, held = solved(model, X, np.zeros(len(X), dtype=int), 0.0)
            return values["scores"].astype(held["W1"].dtype)

        return [train_torch, with_helpers(train_torch, {"loss_and_gradients": loss_and_gradients, "scores": scores})]

    return functions


def _own_descent(loss_and_gradients: Callable, models: Models) -> Callable[[str, Case], Values | None]:
    """The right training with the student's own gradients."""

    def descent(kind: str, run: Case) -> Values | None:
        params = {name: array.astype(np.float64) for name, array in run.params.items()}
        steps: list[np.ndarray] = []
        first = run.batches[:1, :1]  # type: ignore[attr-defined]
        try:
            for batch in [*first, *run.batches]:  # type: ignore[attr-defined]
                stored = {name: array.astype(run.dtype) for name, array in params.items()}
                model = call(models.model_of, kind, stored, run.activation)
                _, found = _loss_and_gradients(loss_and_gradients, model, replace(run, X=run.X[batch], y=run.y[batch]))
                gradients = {name: as_numbers(name, found[name]) for name in params}
                steps.append(gradients["W1"])
                if len(steps) == 1:
                    continue
                params = {name: params[name] - run.rate * gradients[name] for name in params}  # type: ignore[attr-defined]
        except (CheckFailed, NotImplementedError, KeyError, TypeError, ValueError):
            return None
        # Gradients that don't depend on the batch count for nothing.
        return None if np.array_equal(steps[0], steps[1]) else params

    return descent


@answers("test-train-torch-steps")
def check_train_steps(
    train_torch: Callable, loss_and_gradients: Callable, *models: Callable, on: Problem | None = None
) -> None:
    """Check a hundred steps of ``train_torch`` on given batches against gradient descent: to 1e-9 in float64.

    Parameters
    ----------
    train_torch, loss_and_gradients : callables
        A training that follows the gradients of the student's own ``loss_and_gradients`` is right.
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problem.
    """
    from course_utils.checks import pytorch_reference as reference

    makers, given = Models(*models), on or random_problem(seed=6)
    functions = _with_right_helpers(train_torch, makers)

    def observe(function: Callable, model: Any, run: Case) -> Values:
        return _trained(function, model, run, makers)  # type: ignore[arg-type]

    def tolerance(run: Case, name: str, value: Any) -> float:
        return _TRAINED_TOLERANCE[run.dtype] * max(1.0, float(np.abs(value).max()))

    task = Task(observe, _descent, tolerance, reference.STEPS, _own_descent(loss_and_gradients, makers))
    task = task._replace(deviations=[*reference.OBJECTIVE, *reference.STEPS])
    # All within one epoch: how the learning rate decays is a question of its own.
    whole = _run(_case(given), 100, 2, 210)
    short = [_run(case, 3, 3, len(case.X) + 9) for case in _cases(given)]
    try:
        _judge(functions, [short[0].of(1), *short, whole], task, makers)
    except CheckFailed as failure:
        if _differs_in_rates_alone(functions, whole, task, makers):
            failure = None  # type: ignore[assignment]
        else:
            failure.cause = _unmoved(functions, short[0], makers) or failure.cause
            raise
    passed("after 100 steps on the same batches, both networks hold the same parameters.", on)


def _unmoved(functions: Functions, run: Run, models: Models) -> str | None:
    """A sentence about parameters that a training leaves as they are."""
    for _, model in _models_for(run, models):
        try:
            held = _trained(functions(run)[-1], model, run, models)
        except (CheckFailed, NotImplementedError):
            continue
        still = [name for name, array in run.params.items() if np.array_equal(held[name], array)]
        if len(still) == len(held):
            return "the parameters are as they were: no step of an optimiser has changed this model."
        return f"{' and '.join(still)} did not change: all of model.parameters() are to be trained." if still else None
    return None


def _differs_in_rates_alone(functions: Functions, run: Run, task: Task, models: Models) -> bool:
    """Whether the first step is right, later ones follow the gradient, and what is wrong is the schedule."""
    for kind, _ in _models_for(run, models):
        for function in functions(run):
            try:
                if all(_is_along_gradient(function, kind, run, count, models) for count in (0, 1, 50, 98)):
                    _expect_schedule(function, partial(call, models.model_of, kind), _schedule_run(run), models)
            except CheckFailed:
                return True
            except NotImplementedError:
                continue
    return False


def _is_along_gradient(function: Callable, kind: str, run: Run, count: int, models: Models) -> bool:
    try:
        before, after = (
            _trained(function, call(models.model_of, kind, run.params, run.activation), run.of(number), models)
            for number in (count, count + 1)
        )
    except CheckFailed:
        return False
    here = replace(run, params=before, batches=run.batches[count : count + 1], rate=1.0)
    gradients = {name: before[name] - value for name, value in _descent(vars(here), {}).items()}
    step, gradient = (
        np.concatenate([np.ravel(array) for array in arrays])
        for arrays in ([before[name] - after[name] for name in before], gradients.values())
    )
    rate = float(step @ gradient) / float(gradient @ gradient)
    right = rate > 0 if count else abs(rate / run.rate - 1) < 1e-6
    return right and bool(np.all(np.abs(step - rate * gradient) <= 1e-9))


# --- 5.d Training: the schedule and the history ----------------------------------------------


def _schedule_run(case: Case) -> Run:
    """1,100 rows, since the accuracy on the training data is asked on the first 1,000; epochs of 4 iterations."""
    plain = Case(case.name, case.params, case.X[:9], case.y[:9], case.reg)
    return _run(replace(plain, name=case.name.replace(f"N={len(case.X)}", "N=9")), 13, 244, 1100, decay=0.6)


@answers("test-train-torch-schedule")
def check_train_schedule(
    train_torch: Callable, loss_and_gradients: Callable, *models: Callable, on: Problem | None = None
) -> None:
    """Check the learning rate's decay and the history of ``train_torch``, whatever its steps are.

    Parameters
    ----------
    train_torch, loss_and_gradients : callables
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problem.
    """
    makers, given = Models(*models), on or random_problem(seed=7, samples=22)
    run, failures = _schedule_run(_case(given)), []
    functions = _with_right_helpers(train_torch, makers)(run)
    for kind, _ in _models_for(run, makers):
        for function in functions:
            try:
                with on_problem(run):  # type: ignore[arg-type]
                    _expect_schedule(function, partial(call, makers.model_of, kind), run, makers)
                passed("the learning rate decays after each epoch, and the history holds losses and accuracies.", on)
                return
            except (CheckFailed, NotImplementedError) as failure:
                failures.append(failure)
    raise _clearest(failures)


def _expect_schedule(function: Callable, make: Callable, run: Run, models: Models) -> None:
    """The properties of a training's record, one after the other; ``make`` gives a new model."""
    epoch = len(run.X) // run.batches.shape[1]
    for expect in (_expect_lists, _expect_first_loss, _expect_rates, _expect_later_losses, _expect_accuracies):
        expect(function, lambda: make(run.params, run.activation), run, epoch, models)


def _history(function: Callable, model: Any, run: Run) -> dict[str, np.ndarray]:
    history = expect_keys("train_torch", _train(function, model, run), ("loss", "train_accuracy", "val_accuracy"))
    found = {}
    for key in ("loss", "train_accuracy", "val_accuracy"):
        tensors = isinstance(history[key], (list, tuple)) and any(
            type(entry).__name__ in ("Tensor", "Opaque") for entry in history[key]
        )
        if tensors:
            raise CheckFailed(f'history["{key}"]', "it holds tensors, expected floats; value.item() is the float.")
        found[key] = as_numbers(f'history["{key}"]', history[key]).astype(np.float64)
    if found["loss"].shape != (len(run.batches),):
        raise CheckFailed(
            'history["loss"]',
            f"the shape is {found['loss'].shape}, expected ({len(run.batches)},): one loss for each iteration.",
        )
    return found


def _expect_lists(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """Keys, floats, and as many losses as iterations."""
    _history(function, make(), run)


def _loss_of(params: Mapping[str, np.ndarray], logits: np.ndarray, run: Run, batch: np.ndarray) -> float:
    """The right loss of a batch, from what the model holds and what it computes for the batch."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    data = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(batch)), run.y[batch]]
    return float(data.mean() + run.reg * sum(np.sum(params[name] ** 2) for name in params if name.startswith("W")))


def _expect_first_loss(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """It is that of the given parameters, or of the objective that the steps follow, which is no mistake of the history."""
    got, after = [], []
    for start in range(3):
        model, here = make(), replace(run, batches=run.batches[start : start + 1])
        got.append(float(_history(function, model, here)["loss"][0]))
        batch = here.batches[0]
        after.append(_loss_of(_held(model, models.state_of), call(models.logits_of, model, run.X[batch]), run, batch))
    model = make()
    expected = [
        _loss_of(run.params, np.asarray(call(models.logits_of, model, run.X[batch])), run, batch)
        for batch in run.batches[:3]
    ]
    tolerance = 1e-9 * max(1.0, *map(abs, expected))
    late = np.allclose(got, after, rtol=0, atol=tolerance)
    if not late and _follows_its_losses(function, make, run, models, got[0]):
        return
    try:
        expect_close('history["loss"]', np.array(got), np.array(expected), tolerance=tolerance)
    except CheckFailed as failure:
        if late:
            failure.cause = "each loss is that after the step; it should be the loss of the batch before it."
        raise _with_cause(failure, lambda: _cause_of_losses(got, expected, run)) from None


def _cause_of_losses(got: Sequence[float], expected: Sequence[float], run: Run) -> Cause | None:
    from course_utils.checks import pytorch_reference as reference

    observed = []
    for batch, value, right in zip(run.batches, got, expected, strict=False):
        arguments = vars(replace(run, X=run.X[batch], y=run.y[batch]))
        observed.append(Observation(arguments, {"the loss": value}, {"the loss": right}, {"the loss": 1e-9}))
    return search(observed, _solved, reference.OBJECTIVE)


def _follows_its_losses(function: Callable, make: Callable, run: Run, models: Models, first: float) -> bool:
    """Whether a short step lowers the reported loss by rate * ||gradient||^2, as gradient descent on it does.

    It begins with the same loss as a longer step, ``first``, since this is that before the step.
    """
    rate, model, other = 1e-6, make(), make()
    once = replace(run, batches=run.batches[[0, 0]], rate=rate, decay=1.0)
    losses = _history(function, model, once)["loss"]
    held = _trained(function, other, once.of(1), models)
    squares = sum(float(np.sum((run.params[name] - held[name]) ** 2)) for name in held) / rate**2
    if abs(losses[0] - first) > 1e-9 * max(1.0, abs(first)):
        return False
    return squares > 0 and abs((losses[0] - losses[1]) / (rate * squares) - 1) < 1e-3


def _expect_rates(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """Proportional to learning_rate, and to the decay's power that is asked for, as repeated steps on one batch tell.

    Where every batch is the same, a short step lowers the loss in proportion to its rate, whatever kind of step
    it is. At twice a small decay, the losses of iteration t so fall 2 ** (t // epoch) times as much.
    """
    epoch, size = 3, 8
    rows = 31  # 3.875 batches
    short = replace(run, X=run.X[:rows], y=run.y[:rows], batches=np.tile(run.batches[0, :size] % rows, (9, 1)))

    def falls(rate: float, decay: float) -> np.ndarray:
        return -np.diff(_history(function, make(), replace(short, rate=rate, decay=decay))["loss"])

    once, twice, faster = falls(1e-4, 0.1), falls(1e-4, 0.2), falls(2e-4, 0.1)
    if not np.abs(once[0]) > 1e-12:
        raise CheckFailed("the learning rate", "the losses of repeated steps on one batch stay as they are.")
    if abs(faster[0] / once[0] - 2) > 0.1:
        raise CheckFailed(
            "the learning rate",
            f"with twice the learning_rate, the first step lowers the loss {faster[0] / once[0]:.2f} times as much,"
            " expected 2.",
        )
    read = (np.abs(once) > 1e-12) & (np.abs(twice) > 1e-12)
    with np.errstate(all="ignore"):
        ratios = twice / once
    expected = 2.0 ** (np.arange(len(once)) // epoch)
    wrong = ~read | (np.abs(ratios / expected - 1) > 0.03)
    if wrong.any():
        first = int(np.argmax(wrong))
        power = f"** {np.log2(ratios[first]):.1f}" if read[first] and ratios[first] > 0 else "in no way that can be read"
        raise CheckFailed(
            "the learning rate",
            f"in iteration {first} it goes with learning_rate_decay {power}, expected ** {first // epoch}: an epoch has"
            f" {epoch} iterations here (N={rows}, batch size {size}).",
            cause=_cause_of_rates(ratios, read, expected, epoch, rows / size),
        )


def _cause_of_rates(ratios: np.ndarray, read: np.ndarray, expected: np.ndarray, epoch: int, exact: float) -> str | None:
    from course_utils.checks import pytorch_reference as reference

    times = np.flatnonzero(read)

    def model(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
        rate = changes.get("rate", reference.right_rate)
        return {"ratios": np.array([rate(int(t), epoch, 0.2, exact) / rate(int(t), epoch, 0.1, exact) for t in times])}

    got = {"ratios": ratios[read]}
    observed = Observation({}, got, {"ratios": expected[read]}, {"ratios": 0.005 * float(np.abs(got["ratios"]).max())})
    cause = search([observed], model, reference.SCHEDULE)
    return cause.sentence if cause else None


def _expect_later_losses(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """The loss of an iteration is the first one of a training that goes on from there."""
    from course_utils.checks import pytorch_reference as reference

    losses = _history(function, make(), run.of(epoch + 1))["loss"]
    for count in (1, epoch):
        model = make()
        _train(function, model, run.of(count))
        onward = _history(function, model, replace(run, batches=run.batches[count : count + 1]))["loss"][0]
        if abs(losses[count] - onward) <= 1e-9 * max(1.0, abs(onward)):
            continue
        wanted = {key: getattr(run, key) for key in ("params", "X", "y", "rate", "reg", "activation")}
        right = reference.trained(**wanted, batches=run.batches[: count + 1], changes={})[1][count]
        try:
            expect_close(
                f'history["loss"][{count}]', np.array(losses[count]), np.array(right), tolerance=1e-9 * max(1.0, right)
            )
        except CheckFailed as failure:
            if np.isclose(losses[count], losses[0] + 0 * onward) and count:
                failure.cause = "every loss is that of the first batch."
            raise


def _expect_accuracies(function: Callable, make: Callable, run: Run, epoch: int, models: Models) -> None:
    """One after each epoch; the last is that of the trained model, or of one that was trained rightly."""
    history = _history(function, make(), run.of(2 * epoch + 1))
    larger = replace(run, batches=np.random.default_rng(0).integers(0, len(run.X), size=(2, len(run.X) + 1)))
    for got, place in ((history, "one after each epoch"), (_history(function, make(), larger), "with batches larger"
                       " than X, each is an epoch")):  # fmt: skip
        for key in ("train_accuracy", "val_accuracy"):
            if got[key].shape != (2,):
                raise CheckFailed(f'history["{key}"]', f"the shape is {got[key].shape}, expected (2,): {place}.")
    for number in (1, 2):
        model = make()
        ended = _history(function, model, run.of(number * epoch))
        right = _descent_with_decay(run, epoch, number)
        for key, split in (("train_accuracy", (run.X, run.y)), ("val_accuracy", run.validation)):
            same = np.allclose(ended[key][-1], history[key][number - 1], rtol=0, atol=1e-9)
            found = _hits(call(models.logits_of, model, split[0]), split[1])
            other = _hits(_right_logits(right, split[0], run.activation), split[1])
            if same and any(abs(ended[key][-1] - np.mean(hits[:1000])) < 1e-6 for hits in (found, other)):
                continue
            try:
                expect_close(f'history["{key}"]', ended[key][-1], float(np.mean(found[:1000])), tolerance=1e-6)
                raise CheckFailed(f'history["{key}"]', "it changes when the training goes on after this epoch.")
            except CheckFailed as failure:
                if failure.place is None:
                    raise
                raise _with_cause(failure, partial(_cause_of_accuracy, model, ended, run, models)) from None


def _descent_with_decay(run: Run, epoch: int, epochs: int) -> dict[str, np.ndarray]:
    params = run.params
    for number in range(epochs):
        batches = run.batches[number * epoch : (number + 1) * epoch]
        here = replace(run, params=params, batches=batches, rate=run.rate * run.decay**number)
        params = _descent(vars(here), {})
    return params


def _hits(logits: Any, y: np.ndarray) -> np.ndarray:
    return np.asarray(logits).argmax(axis=1) == y


def _cause_of_accuracy(model: Any, history: Mapping[str, np.ndarray], run: Run, models: Models) -> Cause | None:
    from course_utils.checks import pytorch_reference as reference

    splits = {"train_accuracy": (run.X, run.y), "val_accuracy": run.validation}
    hits = {key: _hits(call(models.logits_of, model, X), y) for key, (X, y) in splits.items()}

    def values(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
        accuracy = changes.get("accuracy", reference.right_accuracy)
        return {key: accuracy(key, arguments["train_accuracy"], arguments["val_accuracy"]) for key in splits}

    got = {key: history[key][-1] for key in splits}
    seen = Observation(hits, got, values(hits, {}), dict.fromkeys(splits, 1e-7))
    return search([seen], values, reference.ACCURACY)


# --- 5.e Initialisation -----------------------------------------------------------------


@answers("test-initialise")
def check_initialise(initialise: Callable, model_of: Callable, state_of: Callable, seed: int = 1) -> None:
    """Check that ``initialise(model, scale, rng)`` draws the weights in place, and sets the biases to zero.

    Parameters
    ----------
    initialise : callable
    model_of, state_of : callables
        See :class:`Models`.
    seed : int
        Of the random numbers.
    """
    failures: list[Exception] = []
    for kind, large in (("build_mlp", _LARGE_SIZES), ("right", [(220, 150, 100), (150, 110, 100)])):
        try:
            for sizes in large:
                _expect_initialised(initialise, kind, sizes, seed, model_of, state_of)
            passed("initialise draws weights of the right size for every layer, and sets the biases to zero.")
            return
        except (CheckFailed, NotImplementedError) as failure:
            failures.append(failure)
    raise _clearest([failure for failure in failures if getattr(failure, "quantity", "") != "build_mlp"] or failures)


def _expect_initialised(
    initialise: Callable, kind: str, sizes: Sequence[int], seed: int, model_of: Callable, state_of: Callable
) -> None:
    params = {name: np.ones(shape, dtype=np.float32) for name, shape in _shapes(sizes).items()}

    def drawn(scale: float | None, rng: int) -> dict[str, np.ndarray]:
        try:
            model = call(model_of, kind, params, "relu")
            _holds_or_fail(_held(model, state_of), params)
        except CheckFailed as failure:
            failure.quantity = "build_mlp"
            raise
        call(initialise, model, scale, rng)
        held = _held(model, state_of)
        _expect_shapes("initialise", held, sizes, "the weights aren't transposed: nn.Linear's weight has the shape"
                       " (outputs, inputs).")  # fmt: skip
        for name, array in held.items():
            if array.dtype != np.float32:
                raise CheckFailed(name, f"it is {array.dtype} now, and was float32: draw in place.")
        return held

    records = {scale: drawn(scale, seed) for scale in (1e-4, 0.3, None)}
    for scale, held in records.items():
        try:
            _expect_distribution(held, scale)
            _expect_independent(held)
            again, other = drawn(scale, seed), drawn(scale, seed + 1)
        except CheckFailed as failure:
            failure.problem = f"with scale={scale}, {failure.problem}"
            raise _with_cause(failure, partial(_cause_of_draw, records)) from None
        if not all(np.array_equal(held[name], again[name]) for name in held):
            raise CheckFailed("initialise", "the same seed gave two different draws. Draw with the seed rng.")
        if np.array_equal(held["W1"], other["W1"]):
            raise CheckFailed("initialise", "two seeds gave the same weights. Draw with the seed rng.")


def _holds_or_fail(held: Mapping[str, np.ndarray], params: Mapping[str, np.ndarray]) -> None:
    if not _holds(held, params):
        raise CheckFailed("build_mlp", "its model has other layers than those asked for.")


def _expect_distribution(held: Mapping[str, np.ndarray], scale: float | None) -> None:
    """Biases are zero; weights have the standard deviation asked for and are normally distributed."""
    for name, array in held.items():
        if name.startswith("b"):
            if np.any(array != 0):
                raise CheckFailed(name, f"{np.count_nonzero(array)} biases aren't zero.")
            continue
        if np.all(array == 1):
            raise CheckFailed(
                name, "the weights are as they were.", cause="initialise hasn't drawn these weights in this model."
            )
        expected = np.sqrt(2 / array.shape[0]) if scale is None else scale
        found = float(np.std(array))
        # 11,000 weights or more: five per cent are more than seven standard errors.
        if abs(found / expected - 1) > 0.05:
            raise CheckFailed(name, f"the standard deviation is {found:.3g}, expected {expected:.3g}.")
        if abs(float(np.mean(array))) > 0.06 * expected:
            raise CheckFailed(name, f"the mean is {np.mean(array):.3g}, expected nearly 0.")
        distance = _distance_from_normal(array.ravel()[:8000] / found)
        if distance > 0.04:
            raise CheckFailed(
                name,
                f"the weights aren't normally distributed: their distribution function is off by up to {distance:.3f}.",
                cause="these weights are spread evenly: draw them from a normal distribution."
                if np.abs(array).max() < 1.75 * expected  # sqrt(3)
                else None,
            )


def _distance_from_normal(numbers: np.ndarray) -> float:
    """Kolmogorov's and Smirnov's statistic; 8,000 normal numbers exceed 0.04 once in 10 ** 11 times."""
    import torch

    expected = torch.special.ndtr(torch.from_numpy(np.sort(numbers))).numpy()
    steps = np.arange(len(numbers) + 1) / len(numbers)
    return float(max(np.max(steps[1:] - expected), np.max(expected - steps[:-1])))


def _expect_independent(held: Mapping[str, np.ndarray]) -> None:
    """No two layers begin with the same random numbers, as PyTorch or as NumPy stores them."""
    for one, other in combinations((name for name in held if name.startswith("W")), 2):
        size = min(100, held[one].size, held[other].size)
        for order, backwards in product("FC", repeat=2):
            pair = (held[one].ravel(order)[:size], held[other].ravel(backwards)[:size])  # type: ignore[call-overload]
            if np.corrcoef(*pair)[0, 1] > 0.9:  # 100 independent numbers correlate by 0.1 or so
                raise CheckFailed(
                    "initialise",
                    f"{one} and {other} begin with the same random numbers.",
                    cause="each layer starts from the seed anew: set the seed once, before the loop.",
                )


def _cause_of_draw(records: Mapping[float | None, Mapping[str, np.ndarray]]) -> Cause | None:
    """The deviation that gives the standard deviations of all layers for all scales."""
    from course_utils.checks import pytorch_reference as reference

    def model(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
        deviation, spread = changes.get("deviation", reference.right_deviation), changes.get("spread", lambda s: (s, 0.0))
        found = {name: spread(deviation(*shape, arguments["scale"])) for name, shape in arguments["shapes"].items()}
        return _log_sizes(found)

    observed = []
    for scale, held in records.items():
        weights = {name: array for name, array in held.items() if name.startswith("W")}
        arguments = {"scale": scale, "shapes": {name: array.shape for name, array in weights.items()}}
        got = _log_sizes({name: (float(np.std(array)), float(np.mean(array))) for name, array in weights.items()})
        observed.append(Observation(arguments, got, model(arguments, {}), dict.fromkeys(got, 0.04)))
    return search(observed, model, reference.INITIAL)


def _log_sizes(found: Mapping[str, tuple[float, float]]) -> Values:
    """By layer, the logarithm of the standard deviation and the mean as a multiple of it."""
    sizes = {name: np.log(max(std, 1e-12)) for name, (std, _) in found.items()}
    return sizes | {f"mean of {name}": mean / max(std, 1e-12) for name, (std, mean) in found.items()}
