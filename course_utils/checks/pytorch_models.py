"""On which models a student's functions of notebook 5 are tried, and the rule by which they are judged.

A model is an object of the student's, which may live in another process. A check hands it
from one of the student's functions to the next and looks at plain values only: at what the
model holds and computes (``state_of`` and ``logits_of`` of the notebook), and at what the
functions return.

A function that is given a model is right if it is so with one of :data:`KINDS` in each of the
cases: with the student's own model as it stands, or with one that is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from course_utils.comparison import CheckFailed, as_numbers, call, expect_close, on_problem
from course_utils.deviations import Cause, Deviation, Observation, is_right, search
from course_utils.reference import Problem

#: The models on which a function is tried: of the student's ``params_to_torch``, or of ``build_mlp`` with the
#: parameters filled in; the latter with the right forward pass; a right one, which has two layers.
KINDS = ("params_to_torch", "build_mlp", "mended", "right")


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


AnyCase = TypeVar("AnyCase", bound=Case)

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
            cause=_cause_of_other_parameters(arrays),
        )
    names = [f"{kind}{number}" for number in range(1, len(arrays) // 2 + 1) for kind in "Wb"]
    return {name: array.T for name, array in zip(names, arrays.values(), strict=True)}


#: Where a module finds its layers.
_REGISTERED = "layers are attributes of a module, or stand in nn.Sequential or nn.ModuleList, not in a Python list"


def _cause_of_other_parameters(arrays: Mapping[str, np.ndarray]) -> str | None:
    """What is told by the parameters of a model that aren't weights and biases in turn."""
    if not arrays:
        return (
            f"the module has no parameter that can be trained: {_REGISTERED}, and their parameters keep requires_grad."
        )
    if all(array.ndim == 2 for array in arrays.values()):
        return "the layers have no biases: nn.Linear makes them unless it is given bias=False."
    for (name, weights), (other, biases) in pairwise(arrays.items()):
        if weights.ndim == biases.ndim == 1 and weights.shape == biases.shape and name.endswith("weight"):
            return (
                f"{name} and {other} have one number for each unit, as those of a normalisation have (BatchNorm1d,"
                " LayerNorm): the network has none."
            )
    if any(array.shape == (1,) and name.endswith("weight") for name, array in arrays.items()):
        return "an activation has a parameter of its own, as PReLU has: relu, tanh and gelu have none."
    return None


def held_by(model: Any, state_of: Callable) -> dict[str, np.ndarray]:
    if model is None:
        raise CheckFailed("the model", "it is None. Does the function end with a return?")
    state = call(state_of, model)
    if not isinstance(state, dict):
        raise CheckFailed("the model", "its parameters can't be read; it should be an nn.Module.")
    return as_params(state)


def shapes_of(sizes: Sequence[int]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for number, (fan_in, fan_out) in enumerate(pairwise(sizes), start=1):
        shapes |= {f"W{number}": (fan_in, fan_out), f"b{number}": (fan_out,)}
    return shapes


def expect_shapes(quantity: str, held: Mapping[str, np.ndarray], sizes: Sequence[int], transposed: str) -> None:
    """Compare the layers; ``transposed`` is said where one has its inputs and outputs exchanged."""
    shapes = shapes_of(sizes)
    if len(held) != len(shapes):
        found = [array.shape for array in held.values() if array.ndim == 2]
        raise CheckFailed(
            quantity,
            f"for sizes {sizes} the model has {len(found)} layers, expected {len(shapes) // 2}{_from_to(found)}."
            + (" One that stands in several places counts once." if len(found) < len(shapes) // 2 else ""),
            cause=_cause_of_count(found, list(pairwise(sizes))),
        )
    for name, shape in shapes.items():
        if held[name].shape != shape:
            raise CheckFailed(
                quantity,
                f"for sizes {sizes}, layer {name[1:]} goes from {held[f'W{name[1:]}'].shape[0]} to"
                f" {held[f'W{name[1:]}'].shape[1]} numbers, expected {shapes[f'W{name[1:]}']}.",
                cause=transposed if held[name].shape == shape[::-1] else None,
            )


def _from_to(layers: Sequence[tuple[int, ...]]) -> str:
    return f": {', '.join(f'{inputs} to {outputs}' for inputs, outputs in layers)}" if layers else ""


def _cause_of_count(found: Sequence[tuple[int, ...]], expected: Sequence[tuple[int, ...]]) -> str | None:
    """Why there are more or fewer layers; (inputs, outputs) of each."""
    missing = [layer for layer in expected if layer not in found]
    if len(found) == len(set(expected)) and not missing:
        return "layers of equal sizes are one and the same object: make a new nn.Linear for each."
    if len(found) < len(expected) and missing and set(found) < set(expected):
        inputs, outputs = missing[0]
        return (
            f"there is no layer from {inputs} to {outputs} that can be trained: each pair of neighbouring sizes"
            f" has one, and {_REGISTERED}."
        )
    if not missing and any(one[1] != other[0] for one, other in pairwise(found)):
        return (
            "weights and biases are held that no layer needs: have they been given to an activation? In an"
            " nn.Sequential of layers and activations in turn, the layers are those at 0, 2, 4, ..."
        )
    return None


def holds(held: Mapping[str, np.ndarray], params: Mapping[str, np.ndarray]) -> bool:
    return held.keys() == params.keys() and all(
        held[name].dtype == array.dtype and np.array_equal(held[name], array) for name, array in params.items()
    )


def logits_tolerance(params: Mapping[str, np.ndarray], X: np.ndarray) -> float:
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


def right_logits(params: Mapping[str, np.ndarray], X: np.ndarray, activation: str) -> np.ndarray:
    from course_utils.checks import pytorch_reference as reference

    return reference.outputs(reference.tensors_of(params), X, activation, {}).detach().numpy()


# --- The cases --------------------------------------------------------------------------


def case_of(given: Problem, **changed: Any) -> Case:
    return replace(Case(given.name, given.params, given.X, given.y, given.reg), **changed)


def _deep_case(sizes: Sequence[int], activation: str, seed: int, samples: int) -> Case:
    rng = np.random.default_rng(seed)
    params = {
        name: rng.standard_normal(shape) / np.sqrt(shape[0] if len(shape) == 2 else 1)
        for name, shape in shapes_of(sizes).items()
    }
    X, y = 2 * rng.standard_normal((samples, sizes[0])), rng.integers(0, sizes[-1], size=samples)
    return Case(
        f'a network of sizes {sizes} with "{activation}" and N={samples} samples', params, X, y, 0.2, activation
    )


def cases_of(given: Problem, samples: int = 9) -> list[Case]:
    """The problem, and others of which each has one property more."""
    size = f"N={len(given.X)} samples"
    single = {name: array.astype(np.float32) for name, array in given.params.items()}
    return [
        case_of(given),
        case_of(given, name=f"X in float32 for a float64 model, and {size}", X=given.X.astype(np.float32)),
        case_of(given, name=f"a float32 model and {size}", params=single),
        case_of(given, name=f"a model that holds gradients of an earlier use, and {size}", used=True),
        _deep_case((6, 7, 5, 4), "tanh", len(given.X), samples),
        _deep_case((5, 8, 4, 7, 3), "relu", len(given.X), samples),
    ]


def with_large_logits(given: Problem) -> Case:
    return case_of(given, name=f"very large logits and N={len(given.X)} samples", X=2000 * given.X, stability=True)


def make_model(kind: str, case: Case, models: Models) -> Any:
    return call(models.model_of, kind, case.params, case.activation, case.used)


def models_for(case: Case, models: Models) -> Iterator[tuple[str, Any]]:
    """Models that hold the parameters of the case, by their kinds."""
    own_alone = len(case.params) > 4 or case.activation != "relu"
    for kind in KINDS:
        if own_alone and kind in ("params_to_torch", "right"):
            continue
        try:
            model = make_model(kind, case, models)
            if holds(held_by(model, models.state_of), case.params):
                yield kind, model
        except (CheckFailed, NotImplementedError):
            continue


def gives_logits(model: Any, case: Case, models: Models) -> bool:
    """Whether a model computes what it should."""
    try:
        got = as_numbers("the logits", call(models.logits_of, model, case.X))
    except (CheckFailed, NotImplementedError):
        return False
    expected = right_logits(case.params, case.X, case.activation)
    return got.shape == expected.shape and bool(np.all(np.abs(got - expected) <= logits_tolerance(case.params, case.X)))


# --- The one rule -----------------------------------------------------------------------

#: Label -> value.
Values = dict[str, Any]


#: Case -> the student's function as it stands, and with right helpers.
Functions = Callable[[Case], Sequence[Callable]]


class Task(NamedTuple, Generic[AnyCase]):
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
    follows : callable
        Kind, case, values of the function as it stands -> whether they follow from a mistake that has been counted.
    """

    observe: Callable[[Callable, Any, AnyCase], Values]
    reference: Callable[[Mapping[str, Any], Mapping[str, Callable]], Values]
    tolerance: Callable[[AnyCase, str, Any], float]
    deviations: Sequence[Deviation]
    follows: Callable[[str, AnyCase, Values], bool] = lambda kind, case, got: False


def judge(functions: Functions, cases: Sequence[AnyCase], task: Task[AnyCase], models: Models) -> None:
    """Raise :class:`CheckFailed` unless one of the functions is right with one of the models in every case."""
    passing = ""
    for case in cases:
        failures: list[Exception] = []
        for kind, model in models_for(case, models):
            if case.stability and kind == passing and not gives_logits(model, case, models):
                break  # large logits can't be asked of a model that gives none, where the function goes with it
            failure = _failure(functions(case), kind, model, case, task, models)
            if failure is None:
                passing = kind
                break
            failures.append(failure)
        else:
            if failures:
                raise with_cause(clearest(failures), lambda: cause_of(functions, cases, task, models))
            if len(case.params) == 4:
                raise CheckFailed("model_of", "there is no model on which to try the function.")


def with_cause(failure: Exception, cause_of: Callable[[], Cause | None]) -> Exception:
    """The failure, with the cause unless it has one."""
    if isinstance(failure, CheckFailed) and failure.cause is None and failure.kind != "argument changed":
        cause = cause_of()
        failure.cause, failure.deviations = (cause.sentence, cause.names) if cause else (None, ())
    return failure


def _failure(
    functions: Sequence[Callable], kind: str, model: Any, case: AnyCase, task: Task[AnyCase], models: Models
) -> Exception | None:
    failures: list[Exception] = []
    as_it_stands: Values | None = None
    for function in functions:
        if failures:
            model = make_model(kind, case, models)  # what was tried may have changed it
        try:
            with on_problem(case):
                got = task.observe(function, model, case)
                as_it_stands = as_it_stands if failures else got
                expect_values(got, task.reference(vars(case), {}), case, task.tolerance)
            return None
        except (CheckFailed, NotImplementedError) as failure:
            failures.append(failure)
    if as_it_stands is not None and task.follows(kind, case, as_it_stands):
        return None
    return clearest(failures)


def expect_values(
    got: Values, expected: Values, case: AnyCase, tolerance: Callable[[AnyCase, str, Any], float]
) -> None:
    for label in got:
        expect_close(label, got[label], expected[label], tolerance=tolerance(case, label, expected[label]))


def clearest(failures: Sequence[Exception]) -> Exception:
    """What isn't written, else a wrong value, else an error that the function raised."""
    unwritten = [failure for failure in failures if isinstance(failure, NotImplementedError)]
    values = [failure for failure in failures if isinstance(failure, CheckFailed) and not failure.raised]
    return [*unwritten, *values, *failures][0]


def cause_of(functions: Functions, cases: Sequence[AnyCase], task: Task[AnyCase], models: Models) -> Cause | None:
    """The deviation that gives what a function gave with right models, in all cases that tell something."""
    observed = []
    for case in cases:
        for _, model in models_for(case, models):
            if not gives_logits(model, case, models):
                continue
            try:
                got = {
                    label: np.asarray(value, float)
                    for label, value in task.observe(functions(case)[-1], model, case).items()
                }
            except (CheckFailed, NotImplementedError, TypeError, ValueError):
                continue
            expected = task.reference(vars(case), {})
            tolerance = {label: task.tolerance(case, label, expected[label]) for label in got}
            observed.append(Observation(vars(case), got, {label: expected[label] for label in got}, tolerance))
            break
    if all(map(is_right, observed)):
        return None
    return search(observed, task.reference, task.deviations)


@contextlib.contextmanager
def expect_unchanged(function: str, model: Any, case: Case, models: Models) -> Iterator[None]:
    """Raise :class:`CheckFailed` if the ``with`` block changes the model's parameters, or what it computes."""
    before = call(models.logits_of, model, case.X)
    yield
    if not holds(held_by(model, models.state_of), case.params):
        raise CheckFailed(function, "the call has changed the model's parameters; it should leave them as they are.")
    if not np.array_equal(before, call(models.logits_of, model, case.X)):
        raise CheckFailed(
            function,
            "after the call, the model gives other values for the same rows; leave its layers as they are.",
            kind="argument changed",
        )


def expect_precision(quantity: str, got: np.ndarray, case: Case) -> None:
    """Values of a model in single precision are in single precision: more digits than it has tell nothing."""
    if case.dtype == np.float32 and got.dtype == np.float64:
        raise CheckFailed(
            quantity,
            "it is float64 for a model in float32.",
            cause="the values are converted to double precision; leave them in the model's.",
            deviations=("float64",),
        )
