"""Check of 5.d: the steps of a training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from course_utils.checks.pytorch import pair_of
from course_utils.checks.pytorch_models import (
    Case,
    Functions,
    Models,
    Task,
    Values,
    case_of,
    cases_of,
    cause_of,
    expect_values,
    judge,
    models_for,
    with_cause,
)
from course_utils.checks.pytorch_runs import Run, descent, run_of, trained_params, with_right_helpers
from course_utils.checks.pytorch_schedule import expect_schedule, schedule_run
from course_utils.comparison import CheckFailed, as_numbers, call, passed
from course_utils.judge import answers
from course_utils.oracle import random_problem
from course_utils.reference import Problem

#: Round-off of a hundred steps of gradient descent, relative to the size of a parameter, by precision.
_TRAINED_TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-3}


def _follows_own_gradients(loss_and_gradients: Callable, models: Models) -> Callable[[str, Run, Values], bool]:
    """Whether parameters are those of the right training with the student's own gradients."""

    def follows(kind: str, run: Run, got: Values) -> bool:
        params = {name: array.astype(np.float64) for name, array in run.params.items()}
        steps: list[np.ndarray] = []
        first = run.batches[:1, :1]
        try:
            for batch in [*first, *run.batches]:
                stored = {name: array.astype(run.dtype) for name, array in params.items()}
                model = call(models.model_of, kind, stored, run.activation)
                _, found = pair_of(loss_and_gradients, model, replace(run, X=run.X[batch], y=run.y[batch]))
                gradients = {name: as_numbers(name, found[name]) for name in params}
                steps.append(gradients["W1"])
                if len(steps) == 1:
                    continue
                params = {name: params[name] - run.rate * gradients[name] for name in params}
            expect_values(got, params, run, _tolerance)
        except (CheckFailed, NotImplementedError, KeyError, TypeError, ValueError):
            return False
        # Gradients that don't depend on the batch count for nothing.
        return not np.array_equal(steps[0], steps[1])

    return follows


def _tolerance(run: Case, name: str, value: Any) -> float:
    return _TRAINED_TOLERANCE[run.dtype] * max(1.0, float(np.abs(value).max()))


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
    functions = with_right_helpers(train_torch, makers)

    def observe(function: Callable, model: Any, run: Run) -> Values:
        return trained_params(function, model, run, makers)

    task = Task(observe, descent, _tolerance, (), _follows_own_gradients(loss_and_gradients, makers))
    # All within one epoch: how the learning rate decays is a question of its own.
    whole = run_of(case_of(given), 100, 2, 210)
    short = [run_of(case, 3, 3, len(case.X) + 9) for case in cases_of(given)]
    cases = [short[0].of(1), *short, whole]
    try:
        judge(functions, cases, task, makers)
    except CheckFailed as failure:
        if not _differs_in_rates_alone(functions, whole, makers):
            failure.cause = _unmoved(functions, short[0], makers) or failure.cause
            task = task._replace(deviations=[*reference.OBJECTIVE, *reference.STEPS])
            raise with_cause(failure, lambda: cause_of(functions, cases, task, makers)) from None
    passed("after 100 steps on the same batches, both networks hold the same parameters.", on)


def _unmoved(functions: Functions, run: Run, models: Models) -> str | None:
    """A sentence about parameters that a training leaves as they are."""
    for _, model in models_for(run, models):
        try:
            held = trained_params(functions(run)[-1], model, run, models)
        except (CheckFailed, NotImplementedError):
            continue
        still = [name for name, array in run.params.items() if np.array_equal(held[name], array)]
        if len(still) == len(held):
            return (
                "the parameters are as they were: no step of an optimiser has changed this model. Each iteration has a"
                " backward() and then a step() of an optimiser of model.parameters(), without a zero_grad() between"
                " the two."
            )
        return f"{' and '.join(still)} did not change: all of model.parameters() are to be trained." if still else None
    return None


def _differs_in_rates_alone(functions: Functions, run: Run, models: Models) -> bool:
    """Whether all steps follow the gradient, and only their rates are wrong, as the schedule's question tells.

    A rate that isn't proportional to ``learning_rate`` is a mistake of the schedule, one with a factor is not.
    """
    for kind, _ in models_for(run, models):
        for function in functions(run):
            try:
                # The rates of a schedule may depend on the number of batches: two have the same first one.
                rates = [_rate(function, kind, run, count, models) for count in (0, 1)]
                longer = _rate(function, kind, replace(run, rate=2 * run.rate), 0, models)
                right = np.isclose(rates[0], run.rate, rtol=1e-6) or not np.isclose(longer, 2 * rates[0], rtol=1e-6)
                if right and min(*rates, longer) > 0:
                    expect_schedule(function, partial(call, models.model_of, kind), schedule_run(run), models)
            except CheckFailed:
                return True
            except NotImplementedError:
                continue
    return False


def _rate(function: Callable, kind: str, run: Run, count: int, models: Models) -> float:
    """The rate of a step, 0 where the step isn't one against the gradient."""
    try:
        before, after = (
            trained_params(function, call(models.model_of, kind, run.params, run.activation), run.of(number), models)
            for number in (count, count + 1)
        )
    except CheckFailed:
        return 0.0
    here = replace(run, params=before, batches=run.batches[count : count + 1], rate=1.0)
    gradients = {name: before[name] - value for name, value in descent(vars(here), {}).items()}
    step, gradient = (
        np.concatenate([np.ravel(array) for array in arrays])
        for arrays in ([before[name] - after[name] for name in before], gradients.values())
    )
    rate = float(step @ gradient) / float(gradient @ gradient)
    return rate if np.all(np.abs(step - rate * gradient) <= 1e-9) else 0.0
