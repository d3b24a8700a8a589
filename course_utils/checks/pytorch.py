"""Checks of notebook 5: the network in PyTorch, and its training.

A model is an object of the student's, which may live in another process. A check hands it
from one of the student's functions to the next and looks at plain values only: at what the
model holds and computes (``state_of`` and ``logits_of`` of the notebook), and at what the
functions return.

Where ``params_to_torch`` isn't right, later questions are checked with a model of
``build_mlp`` and the parameters that it happens to hold, so that a mistake costs its own
question.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from course_utils.comparison import CheckFailed, as_numbers, call, expect_close, expect_keys, on_problem, passed
from course_utils.oracle import random_problem, solve
from course_utils.reference import Problem, problem

#: Round-off of a hundred steps of gradient descent, relative to the size of a parameter, by precision.
_TRAINED_TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-3}
#: Sizes of the models on which build_mlp is checked: all differ, so that no layer can take another's place.
_SIZES = ((5, 7, 3), (4, 6, 9, 3), (6, 9, 8, 5, 4))
#: Layers so large that the standard deviation of their weights is known to one per cent.
_LARGE_SIZES = (220, 150, 130, 100)


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
    names, params = list(state), {}
    arrays = [as_numbers(name, state[name]) for name in names]
    if not arrays or [array.ndim for array in arrays] != [2, 1] * (len(arrays) // 2):
        held = ", ".join(f"{name} {array.shape}" for name, array in zip(names, arrays, strict=True)) or "nothing"
        raise CheckFailed("the model", f"each of its layers should have weights and biases, in order; it holds {held}.")
    for number, (weight, bias) in enumerate(zip(arrays[::2], arrays[1::2], strict=True), start=1):
        params[f"W{number}"], params[f"b{number}"] = weight.T, bias
    return params


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
        shapes[f"W{number}"], shapes[f"b{number}"] = (fan_in, fan_out), (fan_out,)
    return shapes


def _sizes(given: Problem) -> tuple[int, int, int]:
    return (*given.params["W1"].shape, given.params["b2"].size)


def _expect_shapes(quantity: str, held: Mapping[str, np.ndarray], sizes: Sequence[int]) -> None:
    shapes = _shapes(sizes)
    if len(held) != len(shapes):
        raise CheckFailed(
            quantity, f"for sizes {sizes} the model has {len(held) // 2} layers, expected {len(shapes) // 2}."
        )
    for name, shape in shapes.items():
        if held[name].shape != shape:
            raise CheckFailed(
                quantity,
                f"for sizes {sizes}, layer {name[1:]} goes from {held[f'W{name[1:]}'].shape[0]} to"
                f" {held[f'W{name[1:]}'].shape[1]} numbers, expected {shapes[f'W{name[1:]}']}.",
            )


def _logits(
    params: Mapping[str, np.ndarray], X: np.ndarray, activation: str, *, hidden: bool = True, last: bool = False
) -> np.ndarray:
    """The logits in float64; ``hidden=False`` and ``last=True`` misplace the activation."""
    import torch

    functions = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "sigmoid": torch.sigmoid}
    values, layers = torch.from_numpy(np.asarray(X, dtype=np.float64)), len(params) // 2
    for number in range(1, layers + 1):
        W, b = (torch.from_numpy(params[f"{kind}{number}"].astype(np.float64)) for kind in "Wb")
        values = values @ W + b
        if last if number == layers else hidden:
            values = functions[activation](values)
    return values.numpy()


# --- 5.a and 5.b The model --------------------------------------------------------------


def check_build_mlp(build_mlp: Callable, state_of: Callable, logits_of: Callable, seed: int = 1) -> None:
    """Check ``build_mlp(sizes, activation)`` -> model, by its layers and by its logits.

    Parameters
    ----------
    build_mlp : callable
        Sizes of two to four layers, ``"relu"``, ``"tanh"`` or ``"gelu"`` -> model.
    state_of : callable
        model -> dict of its parameters, see :func:`as_params`.
    logits_of : callable
        model, X (N, D) -> (N, K).
    seed : int
        Draws the data and, other than 1, the sizes.
    """
    rng = np.random.default_rng(seed)
    for sizes in _SIZES:
        if seed != 1:
            sizes = tuple(int(size) for size in rng.permutation(np.arange(3, 13))[: len(sizes)])
        for activation in ("relu", "tanh", "gelu"):
            model = call(build_mlp, sizes, activation)
            held = _held(model, state_of)
            _expect_shapes("build_mlp", held, sizes)
            X = 3 * rng.standard_normal((40, sizes[0]))
            expected = _logits(held, X, activation)
            try:
                expect_close(
                    f'the logits of build_mlp({sizes}, "{activation}")', call(logits_of, model, X), expected,
                    terms=sum(sizes), scale=float(np.abs(expected).max()) + 10, input_dtype=held["W1"].dtype,
                )  # fmt: skip
            except CheckFailed as error:
                error.cause = _cause_of_logits(call(logits_of, model, X), held, X, activation)
                raise
    passed("build_mlp gives networks of any depth, with the activation between the layers.")


def _cause_of_logits(got: Any, held: Mapping[str, np.ndarray], X: np.ndarray, activation: str) -> str | None:
    right = _logits(held, X, activation)
    exponentials = np.exp(right - right.max(axis=1, keepdims=True))
    hypotheses = {
        "there is an activation after the last layer; logits have none.": _logits(held, X, activation, last=True),
        "there is no activation between the layers.": _logits(held, X, activation, hidden=False),
        "there is a softmax after the last layer; cross_entropy expects logits.": (
            exponentials / exponentials.sum(axis=1, keepdims=True)
        ),
        **{
            f"the activation is {other}, whatever is asked for.": _logits(held, X, other)
            for other in ("relu", "tanh", "gelu", "sigmoid")
        },
    }
    got = np.asarray(got, dtype=np.float64)
    return next(
        (
            cause
            for cause, values in hypotheses.items()
            if values.shape == got.shape and np.allclose(got, values, rtol=1e-4, atol=1e-5)
        ),
        None,
    )


def check_params_to_torch(
    params_to_torch: Callable, state_of: Callable, logits_of: Callable, on: Problem | None = None
) -> None:
    """Check that ``params_to_torch(params)`` gives a model that holds ``params``, and no digit less."""
    for given in [on] if on else [problem("toy"), problem("biased")]:
        with on_problem(given):
            model = call(params_to_torch, given.params)
            held = _held(model, state_of)
            _expect_shapes("params_to_torch", held, _sizes(given))
            for name, array in given.params.items():
                if held[name].dtype != array.dtype:
                    raise CheckFailed(name, f"in the model it is {held[name].dtype}, expected {array.dtype}.")
                expect_close(f"{name} in the model", held[name], array, tolerance=0.0)
            logits = given.values["z3"]
            expect_close(
                "the logits of the model", call(logits_of, model, given.X), logits, terms=sum(_sizes(given)),
                scale=10 + float(np.abs(logits).max()), input_dtype=given.params["W1"].dtype,
            )  # fmt: skip
            again = call(params_to_torch, {name: -array for name, array in given.params.items()})
            if not np.array_equal(_held(model, state_of)["W1"], given.params["W1"]) or again is model:
                raise CheckFailed("params_to_torch", "a second call changed the model of the first one.")
    passed("params_to_torch copies the four arrays; the logits are those of your network.", on)


# --- 5.c The same numbers ---------------------------------------------------------------


def _model_for(
    given: Problem, params_to_torch: Callable, build_mlp: Callable, state_of: Callable
) -> tuple[Any, Problem]:
    """A model of the student's, and the problem with the parameters that it holds and their reference values."""
    failure: BaseException = NotImplementedError("params_to_torch is not written yet")
    for make in (lambda: call(params_to_torch, given.params), lambda: call(build_mlp, _sizes(given), "relu")):
        try:
            model = make()
            held = _held(model, state_of)
            _expect_shapes("the model", held, _sizes(given))
        except (CheckFailed, NotImplementedError) as error:
            failure = error
            continue
        return model, solve(held, given.X, given.y, given.reg, given.name)._replace(params=held)
    raise failure


def _accuracy_terms(given: Problem) -> dict[str, Any]:
    """How much the values of a problem may deviate: the sizes of its sums, and the precision of the model."""
    W1, b1, W2, b2 = (np.abs(given.params[name]).astype(np.float64) for name in ("W1", "b1", "W2", "b2"))
    first = np.max(np.abs(given.X) @ W1 + b1)
    scale = (1 + first) * (1 + np.max(W2.sum(axis=0)) + np.max(b2)) + given.reg * (np.sum(W1**2) + np.sum(W2**2))
    return {"terms": len(given.X) + sum(W1.shape) + b2.size, "scale": scale, "input_dtype": given.params["W1"].dtype}


def check_scores(
    scores: Callable, params_to_torch: Callable, build_mlp: Callable, state_of: Callable, on: Problem | None = None
) -> None:
    """Check ``scores(model, X)``: (N, D) -> probabilities (N, K), those of the NumPy network."""
    for given in [on] if on else [problem("toy"), problem("biased")]:
        with on_problem(given):
            model, here = _model_for(given, params_to_torch, build_mlp, state_of)
            for rows in (slice(None), slice(0, 1)):
                got = call(scores, model, given.X[rows])
                known = {"before": here.values["z3"][rows], "N": len(given.X[rows])}
                expect_close("scores(model, X)", got, here.values["a3"][rows], known=known, **_accuracy_terms(here))
    passed("scores gives the probabilities that your NumPy network gives.", on)


def _loss_and_gradients(function: Callable, model: Any, here: Problem) -> tuple[Any, Any]:
    got = call(function, model, here.X, here.y, here.reg)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("loss_and_gradients", "it should return a float and a dict: return loss, gradients.")
    return got[0], got[1]


def _problems_with_reg(on: Problem | None) -> list[Problem]:
    given = [on] if on else [problem("toy"), problem("biased")]
    return [each._replace(reg=reg) for each in given for reg in (each.reg, 0.0, 0.3 + each.reg)]


def check_torch_loss(
    loss_and_gradients: Callable,
    params_to_torch: Callable,
    build_mlp: Callable,
    state_of: Callable,
    on: Problem | None = None,
) -> None:
    """Check the loss of ``loss_and_gradients(model, X, y, reg)``, for several strengths of regularisation."""
    for given in _problems_with_reg(on):
        with on_problem(given):
            model, here = _model_for(given, params_to_torch, build_mlp, state_of)
            got, _ = _loss_and_gradients(loss_and_gradients, model, here)
            params, values = here.params, here.values
            known = {
                "N": len(here.X), "reg": here.reg, "data": values["data_loss"], "logits": values["z3"],
                "labels": here.y, "weights": [params["W1"], params["W2"]], "biases": [params["b1"], params["b2"]],
            }  # fmt: skip
            expect_close("the loss", got, values["loss"], known=known, **_accuracy_terms(here))
    passed("the loss is that of your NumPy network, for every strength of regularisation.", on)


def check_torch_gradients(
    loss_and_gradients: Callable,
    params_to_torch: Callable,
    build_mlp: Callable,
    state_of: Callable,
    on: Problem | None = None,
) -> None:
    """Check the gradients of ``loss_and_gradients(model, X, y, reg)``, keyed and shaped like ``params``."""
    for given in _problems_with_reg(on):
        with on_problem(given):
            model, here = _model_for(given, params_to_torch, build_mlp, state_of)
            for call_number in (1, 2):
                _, got = _loss_and_gradients(loss_and_gradients, model, here)
                got = expect_keys("loss_and_gradients", got, tuple(here.params))
                for name, expected in here.gradients().items():
                    known = {"N": len(here.X), "reg": here.reg, "symbol": name}
                    known |= {"weight" if name.startswith("W") else "bias": here.params[name]}
                    size = _accuracy_terms(here)
                    size["scale"] *= 1 + float(np.abs(here.X).max())
                    try:
                        expect_close(f"the gradient of {name}", got[name], expected, known=known, **size)
                    except CheckFailed as error:
                        if call_number == 2:
                            error.cause = "the second call adds to the gradients of the first one: clear them."
                        raise
    passed("the gradients are those of your NumPy network, for every strength of regularisation.", on)


# --- 5.d Training -----------------------------------------------------------------------


class _Run(NamedTuple):
    """How a training is called."""

    batches: np.ndarray
    learning_rate: float
    learning_rate_decay: float
    reg: float


class _Descent(NamedTuple):
    """What gradient descent gives: parameters in the end, losses, parameters after each epoch."""

    params: dict[str, np.ndarray]
    losses: list[float]
    epochs: list[dict[str, np.ndarray]]


def check_train_steps(
    train_torch: Callable, params_to_torch: Callable, build_mlp: Callable, state_of: Callable, on: Problem | None = None
) -> None:
    """Check a hundred steps of ``train_torch`` on given batches against gradient descent: to 1e-9 in float64."""
    given = on or random_problem(seed=6)
    run = _Run(_batches(given, 100, 2), 0.02, 1.0, given.reg)
    causes = {
        "the parameters are as they were: the model is to be trained in place.": {"learning_rate": 0.0},
        "this climbs the loss: the step goes against the gradient.": {"learning_rate": -run.learning_rate},
        "the gradients of all steps add up: clear them in each iteration.": {"accumulate": True},
        "the regularisation isn't part of the loss that is differentiated.": {"reg": 0.0},
        "the regularisation has half its strength: weight_decay adds weight_decay * W, its gradient is 2 * reg * W.": {
            "reg": run.reg / 2
        },
        "the biases are regularised too; only the weights are.": {"on_biases": True},
        "every step uses the whole set; batches tells which rows it is to use.": {
            "batches": np.tile(np.arange(len(given.X)), (len(run.batches), 1))
        },
        "every step uses the same batch.": {"batches": np.tile(run.batches[:1], (len(run.batches), 1))},
        "the last batch is left out.": {"batches": run.batches[:-1]},
    }
    with on_problem(given):
        got, here, _ = _trained(train_torch, given, run, params_to_torch, build_mlp, state_of)
        _expect_params(got, here, run, causes, f"after {len(run.batches)} steps, ")
    passed("after 100 steps on the same batches, both networks hold the same parameters.", on)


def check_train_schedule(
    train_torch: Callable, params_to_torch: Callable, build_mlp: Callable, state_of: Callable, on: Problem | None = None
) -> None:
    """Check the learning rate's decay and the history of ``train_torch``."""
    given = on or random_problem(seed=7, samples=22)
    batch_size = 5
    epoch = len(given.X) // batch_size
    run = _Run(_batches(given, 3 * epoch + 1, batch_size), 0.02, 0.6, given.reg)
    causes = {
        "the learning rate never decays.": {"learning_rate_decay": 1.0},
        "the learning rate decays after every iteration; it should after every epoch.": {"epoch": 1},
        "an epoch has len(X) // batch_size iterations, rounded down.": {"epoch": epoch + 1},
        "the learning rate decays one iteration too early.": {"early": True},
    }
    with on_problem(given):
        got, here, history = _trained(train_torch, given, run, params_to_torch, build_mlp, state_of)
        reference = _expect_params(got, here, run, causes, f"after {len(run.batches)} steps, {epoch} to an epoch, ")
        _expect_history(history, here, run, reference)
    passed("the learning rate decays after each epoch, and the history holds losses and accuracies.", on)


def _batches(given: Problem, num_iters: int, batch_size: int) -> np.ndarray:
    return np.random.default_rng(len(given.X)).integers(0, len(given.X), size=(num_iters, batch_size))


def _validation(given: Problem) -> tuple[np.ndarray, np.ndarray]:
    """More rows of the same kind; the labels don't matter."""
    rng = np.random.default_rng(len(given.X))
    X = 2 * rng.standard_normal((50, given.X.shape[1]))
    return X, rng.integers(0, given.params["b2"].size, size=len(X))


def _trained(
    train_torch: Callable,
    given: Problem,
    run: _Run,
    params_to_torch: Callable,
    build_mlp: Callable,
    state_of: Callable,
) -> tuple[dict[str, np.ndarray], Problem, Any]:
    """The trained parameters, the problem with those before the training, and the history."""
    model, here = _model_for(given, params_to_torch, build_mlp, state_of)
    X_val, y_val = _validation(given)
    history = call(train_torch, model, given.X, given.y, X_val, y_val, **run._asdict())
    return _held(model, state_of), here, history


def _reference(
    here: Problem,
    run: _Run,
    *,
    epoch: int | None = None,
    early: bool = False,
    accumulate: bool = False,
    on_biases: bool = False,
    **changes: Any,
) -> _Descent:
    """Gradient descent with the oracle's gradients, or with one of the mistakes that the options name."""
    run = run._replace(**changes)
    epoch = epoch or max(len(here.X) // run.batches.shape[1], 1)
    params = {name: array.astype(np.float64) for name, array in here.params.items()}
    total = dict.fromkeys(params, 0.0)
    losses, epochs = [], []
    for iteration, batch in enumerate(run.batches):
        step = solve(params, here.X[batch], here.y[batch], run.reg)
        losses.append(step.values["loss"])
        gradients = step.gradients()
        if on_biases:
            gradients |= {name: gradients[name] + 2 * run.reg * params[name] for name in ("b1", "b2")}
        if accumulate:
            gradients = total = {name: total[name] + gradients[name] for name in params}
        rate = run.learning_rate * run.learning_rate_decay ** ((iteration + early) // epoch)
        params = {name: params[name] - rate * gradients[name] for name in params}
        if (iteration + 1) % epoch == 0:
            epochs.append(params)
    return _Descent(params, losses, epochs)


def _expect_params(
    got: dict[str, np.ndarray], here: Problem, run: _Run, causes: dict[str, dict[str, Any]], place: str
) -> _Descent:
    """Compare all parameters; a deviation is explained by the first of ``causes`` that reproduces it."""
    reference = _reference(here, run)
    relative = _TRAINED_TOLERANCE[np.dtype(here.params["W1"].dtype)]
    for name, expected in reference.params.items():
        try:
            expect_close(name, got[name], expected, tolerance=relative * max(1.0, float(np.abs(expected).max())))
        except CheckFailed as error:
            cause = next(
                (text for text, changes in causes.items() if _agree(got, _reference(here, run, **changes), relative)),
                None,
            )
            raise CheckFailed(
                name, place + error.problem, place=error.place, tolerance=error.tolerance, cause=cause
            ) from None
    return reference


def _agree(got: dict[str, np.ndarray], descent: _Descent, relative: float) -> bool:
    with np.errstate(all="ignore"):
        return all(
            np.allclose(got[name], values, rtol=10 * relative, atol=relative) for name, values in descent.params.items()
        )


def _expect_history(history: Any, here: Problem, run: _Run, reference: _Descent) -> None:
    history = expect_keys("train_torch", history, ("loss", "train_accuracy", "val_accuracy"))
    losses = as_numbers('history["loss"]', history["loss"])
    if losses.shape != (len(run.batches),):
        raise CheckFailed(
            'history["loss"]',
            f"the shape is {losses.shape}, expected ({len(run.batches)},): one loss for each iteration.",
        )
    relative = _TRAINED_TOLERANCE[np.dtype(here.params["W1"].dtype)]
    # A loss is a float32 number where the model is.
    tolerance = max(relative, float(np.finfo(here.params["W1"].dtype).eps)) * max(1.0, max(reference.losses))
    without = _reference(here, run._replace(batches=run.batches[:1]), reg=0.0).losses[0]
    try:
        expect_close('history["loss"]', losses, reference.losses, tolerance=tolerance)
    except CheckFailed as error:
        if run.reg and np.isclose(losses[0], without, rtol=1e-6):
            error.cause = "these are losses without regularisation."
        raise
    X_val, y_val = _validation(here)
    for key, X, y in (("train_accuracy", here.X[:1000], here.y[:1000]), ("val_accuracy", X_val, y_val)):
        expected = [float(np.mean(solve(params, X, y).values["z3"].argmax(axis=1) == y)) for params in reference.epochs]
        got = as_numbers(f'history["{key}"]', history[key])
        if got.shape != (len(expected),):
            raise CheckFailed(
                f'history["{key}"]', f"the shape is {got.shape}, expected ({len(expected)},): one after each epoch."
            )
        expect_close(f'history["{key}"]', got, expected, tolerance=1e-6)


# --- 5.e Initialisation -----------------------------------------------------------------


def check_initialise(initialise: Callable, build_mlp: Callable, state_of: Callable, seed: int = 1) -> None:
    """Check that ``initialise(model, scale, rng)`` draws the weights in place, and sets the biases to zero."""
    for scale in (1e-4, 0.3, None):
        model = call(build_mlp, _LARGE_SIZES, "relu")
        drawn = _drawn(initialise, model, scale, seed, state_of)
        text = f"with scale={scale}, "
        for name, array in drawn.items():
            if name.startswith("b"):
                if np.any(array != 0):
                    raise CheckFailed(name, f"{text}{np.count_nonzero(array)} biases aren't zero.")
                continue
            expected = np.sqrt(2 / array.shape[0]) if scale is None else scale
            deviation = float(np.std(array))
            # 12,000 weights or more: five per cent are more than seven standard errors.
            if abs(deviation / expected - 1) > 0.05:
                raise CheckFailed(
                    name, f"{text}the standard deviation is {deviation:.3g}, expected {expected:.3g}.",
                    cause=_cause_of_deviation(deviation, array.shape, scale),
                )  # fmt: skip
            if abs(float(np.mean(array))) > 0.06 * expected:
                raise CheckFailed(name, f"{text}the mean is {np.mean(array):.3g}, expected nearly 0.")
        again = _drawn(initialise, model, scale, seed, state_of)
        other = _drawn(initialise, model, scale, seed + 1, state_of)
        if not all(np.array_equal(drawn[name], again[name]) for name in drawn):
            raise CheckFailed("initialise", "the same seed gave two different draws. Draw with the seed rng.")
        if np.array_equal(drawn["W1"], other["W1"]):
            raise CheckFailed("initialise", "two seeds gave the same weights. Draw with the seed rng.")
    passed("initialise draws weights of the right size for every layer, and sets the biases to zero.")


def _drawn(
    initialise: Callable, model: Any, scale: float | None, rng: int, state_of: Callable
) -> dict[str, np.ndarray]:
    call(initialise, model, scale, rng)
    return _held(model, state_of)


def _cause_of_deviation(deviation: float, shape: tuple[int, ...], scale: float | None) -> str | None:
    inputs, outputs = shape
    hypotheses = {"these are the weights that PyTorch draws by itself.": 1 / np.sqrt(3 * inputs)}
    if scale is None:
        hypotheses |= {
            "the number of outputs is used in place of the number of inputs.": np.sqrt(2 / outputs),
            "this is sqrt(1 / inputs); the ReLU drops half of the numbers, so it is sqrt(2 / inputs).": inputs**-0.5,
            "this is the variance 2 / inputs; the standard deviation is its root.": 2 / inputs,
        }
    else:
        hypotheses["scale is taken for the variance; it is the standard deviation."] = np.sqrt(scale)
    return next((cause for cause, value in hypotheses.items() if abs(deviation / value - 1) < 0.05), None)
