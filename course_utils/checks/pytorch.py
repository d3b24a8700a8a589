"""Checks of notebook 5 up to 5.c: the network in PyTorch, and the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from course_utils.checks.pytorch_models import (
    Case,
    Models,
    Task,
    Values,
    case_of,
    cases_of,
    clearest,
    expect_precision,
    expect_shapes,
    expect_unchanged,
    held_by,
    judge,
    logits_tolerance,
    right_logits,
    with_cause,
    with_large_logits,
)
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
from course_utils.deviations import Cause, Observation, search
from course_utils.helpers import with_helpers
from course_utils.judge import answers
from course_utils.mistakes import GENERAL, NORMALISATIONS
from course_utils.reference import Problem, problem

#: Sizes of the models on which build_mlp is checked: all differ, so that no layer can take another's place, but
#: for the last, in which a layer that is used twice would be missing.
_SIZES: tuple[tuple[int, ...] | list[int], ...] = (
    (5, 7, 3), [4, 6, 9, 3], (6, 9, 8, 5, 4), [5, 8, 4, 7, 3, 6, 4], (5, 6, 6, 6, 6),
)  # fmt: skip


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
            held = held_by(model, state_of)
            expect_shapes("build_mlp", held, sizes, "inputs and outputs are exchanged: nn.Linear takes the number of"
                           " inputs first.")  # fmt: skip
            X = 3 * rng.standard_normal((120, sizes[0]))
            X[-10:] *= 4  # so far out that activations that differ at 6 or 20 alone are told apart
            got, expected = call(logits_of, model, X), right_logits(held, X, activation)
            tolerance = logits_tolerance(held, X)
            try:
                expect_close(f'the logits of build_mlp({sizes}, "{activation}")', got, expected, tolerance=tolerance)
            except CheckFailed as failure:
                failure.cause = random_cause(lambda: call(logits_of, model, X), got)  # noqa: B023
                failures.setdefault(activation, failure)
            if np.shape(got) == expected.shape:
                arguments = {"params": held, "X": X, "activation": activation}
                observed[activation].append(
                    Observation(
                        arguments, {"logits": np.asarray(got, float)}, {"logits": expected}, {"logits": tolerance}
                    )
                )
    for activation, first in failures.items():
        raise with_cause(first, partial(_cause_in_network, observed[activation], activation))
    passed("build_mlp gives networks of any depth, with the activation between the layers.")


def random_cause(again: Callable[[], Any], got: Any) -> str | None:
    """A sentence if the same call gives something else."""
    if np.array_equal(np.asarray(again()), np.asarray(got), equal_nan=True):
        return None
    return "the same call gives something else each time: there is something random in it (dropout?)."


def _seen(arguments: Mapping[str, Any], got: Any, expected: np.ndarray, tolerance: float) -> Observation:
    numbers = np.asarray(got, dtype=np.float64)
    return Observation(arguments, {"logits": numbers}, {"logits": expected}, {"logits": tolerance})


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
                    if helpers or not _is_own_network_filled(convert, case_of(given), own):
                        _expect_copy(convert, case_of(given), own)
                    _expect_own_memory(convert, after, case_of(given), own)
                    break
                except (CheckFailed, NotImplementedError) as failure:
                    failures.append(failure)
            else:
                raise clearest(failures)
    passed("params_to_torch copies the four arrays; the logits are those of your network.", on)


def _expect_copy(convert: Callable, case: Case, models: Models) -> None:
    model = call(convert, case.params)
    held = held_by(model, models.state_of)
    sizes = (*case.params["W1"].shape, case.params["b2"].size)
    expect_shapes("params_to_torch", held, sizes, "the weights aren't transposed: nn.Linear's weight has the shape"
                   " (outputs, inputs).")  # fmt: skip
    for name, array in case.params.items():
        if held[name].dtype != array.dtype:
            raise CheckFailed(name, f"in the model it is {held[name].dtype}, expected {array.dtype}.")
        try:
            expect_close(f"{name} in the model", held[name], array, tolerance=0.0)
        except CheckFailed as failure:
            failure.cause = _cause_of_copy(name, held, case.params)
            if failure.cause is None and not np.array_equal(
                held_by(call(convert, case.params), models.state_of)[name], held[name]
            ):
                failure.cause = f"{name} is drawn anew in each call, and isn't copied from params."
            raise
    logits = call(models.logits_of, model, case.X)
    expected, tolerance = right_logits(case.params, case.X, "relu"), logits_tolerance(case.params, case.X)
    try:
        expect_close("the logits of the model", logits, expected, tolerance=tolerance)
    except CheckFailed as failure:
        seen = Observation(
            vars(case), {"logits": np.asarray(logits, float)}, {"logits": expected}, {"logits": tolerance}
        )
        failure.cause = random_cause(lambda: call(models.logits_of, model, case.X), logits)
        raise with_cause(failure, lambda: _cause_in_network([seen], "relu")) from None


def _expect_own_memory(convert: Callable, held_after_change: Callable, case: Case, models: Models) -> None:
    """Neither a second call nor a change of the arrays changes a model."""
    model = call(convert, case.params)
    before = call(models.state_of, model)
    again = call(convert, {name: -array for name, array in case.params.items()})
    if again is model or not _same_arrays(before, call(models.state_of, model)):
        raise CheckFailed("params_to_torch", "a second call changed the model of the first one.")
    if not _same_arrays(before, call(held_after_change, case.params)):
        raise CheckFailed(
            "params_to_torch",
            "the model changes when the given arrays do; it should hold copies of them.",
            cause="torch.from_numpy and torch.as_tensor share an array's memory; torch.tensor copies it.",
        )


def _same_arrays(one: Mapping[str, np.ndarray], other: Mapping[str, np.ndarray]) -> bool:
    return list(one) == list(other) and all(np.array_equal(one[name], other[name]) for name in one)


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
        if not _same_arrays(state, expected):
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


def solved_case(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
    """The reference's values for a case, under the names that messages use."""
    from course_utils.checks import pytorch_reference as reference

    wanted = {key: arguments[key] for key in ("params", "X", "y", "reg", "activation")}
    values = reference.solved(**wanted, changes=changes)
    renamed = {"logits": "the logits", "loss": "the loss", "scores": "scores(model, X)"}
    if arguments["used"] and "clears" in changes:
        values |= {name: values[name] + 1 for name in arguments["params"]}
    return {
        renamed.get(key, key if key == "logits" else f"the gradient of {key}"): value for key, value in values.items()
    }


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
        with expect_unchanged("scores", model, case, given):
            got = as_numbers("scores(model, X)", call(function, model, case.X))
        expect_precision("scores(model, X)", got, case)
        return {"scores(model, X)": got}

    problems = [on] if on else [problem("toy"), problem("biased")]
    last = problems[-1]
    cases = [
        *map(case_of, problems[:-1]), *cases_of(last),
        case_of(last, name="one row, N=1", X=last.X[:1], y=last.y[:1]), with_large_logits(last),
    ]  # fmt: skip
    task = Task(
        observe,
        solved_case,
        lambda case, label, value: _sizes_of_sums(case),
        [*reference.SOFTMAX, *NORMALISATIONS, *GENERAL],
    )
    judge(lambda case: [scores], cases, task, given)
    passed("scores gives the probabilities that your NumPy network gives.", on)


def pair_of(function: Callable, model: Any, case: Case) -> tuple[Any, Any]:
    got = call(function, model, case.X, case.y, case.reg)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("loss_and_gradients", "it should return a float and a dict: return loss, gradients.")
    return got[0], got[1]


def _cases_of_loss(on: Problem | None) -> list[Case]:
    problems = [on] if on else [problem("toy"), problem("biased")]
    with_reg = [case_of(given, reg=reg) for given in problems for reg in (given.reg, 0.0, 0.3 + given.reg)]
    return [*with_reg, *cases_of(problems[-1])[1:], with_large_logits(problems[-1])]


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
        return {"the loss": as_numbers("the loss", pair_of(function, model, case)[0])}

    task = Task(observe, solved_case, lambda case, label, value: _sizes_of_sums(case), [*reference.OBJECTIVE, *GENERAL])
    judge(lambda case: [loss_and_gradients], _cases_of_loss(on), task, Models(*models))
    passed("the loss is that of your NumPy network, for every strength of regularisation.", on)


def _follows_own_loss(loss_and_gradients: Callable, models: Models) -> Callable[[str, Case, Values], bool]:
    """Whether gradients are those of the loss that the function returns, where this is another one than is asked for.

    In a random direction for each parameter, by central differences: a wrong loss costs its own question.
    """

    def loss_at(kind: str, case: Case, params: Mapping[str, np.ndarray]) -> float:
        model = call(models.model_of, kind, params, case.activation, False)
        return float(as_numbers("the loss", pair_of(loss_and_gradients, model, case)[0]))

    def follows(kind: str, case: Case, got: Values) -> bool:
        params = {name: array.astype(np.float64) for name, array in case.params.items()}
        gradients = {name: got[f"the gradient of {name}"].astype(np.float64) for name in params}
        rng, step = np.random.default_rng(3), 1e-4 / max(1.0, float(np.abs(case.X).max()))  # logits change by as little
        try:
            right = solved_case(vars(case), {})["the loss"]
            if abs(loss_at(kind, case, params) - right) <= 1e-6 * max(1.0, abs(right)):
                return False
            for name, gradient in gradients.items():
                direction = rng.standard_normal(gradient.shape)
                ends = [loss_at(kind, case, params | {name: params[name] + by * direction}) for by in (step, -step)]
                slope, along = (ends[0] - ends[1]) / (2 * step), gradient * direction
                error = 1e-5 * np.abs(along).sum() + 4e-15 * abs(ends[0]) / step  # of the differences, and round-off
                if np.isfinite([slope, along.sum()]).any() and not abs(slope - along.sum()) <= error:
                    return False
        except (CheckFailed, NotImplementedError, TypeError, ValueError):
            return False
        return any(gradient.any() for gradient in gradients.values())  # a constant loss counts for nothing

    return follows


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
        with expect_unchanged("loss_and_gradients", model, case, given):
            _, got = pair_of(function, model, case)
        got = expect_keys("loss_and_gradients", got, tuple(case.params))
        values = {f"the gradient of {name}": as_numbers(f"the gradient of {name}", got[name]) for name in case.params}
        for label, value in values.items():
            expect_precision(label, value, case)
        return values

    deviations = [*reference.OBJECTIVE, *reference.GRADIENTS, *GENERAL]
    own = _follows_own_loss(loss_and_gradients, given)
    task = Task(observe, solved_case, lambda case, label, value: _sizes_of_sums(case, True), deviations, own)
    judge(lambda case: [loss_and_gradients], _cases_of_loss(on), task, given)
    passed("the gradients are those of your NumPy network, for every strength of regularisation.", on)
