"""Checks of notebook 5: the network in PyTorch, and its training.

A model is an object of the student's, which may live in another process. A check hands it
from one of the student's functions to the next and looks at plain values only: at what the
model holds and computes (``state_of`` and ``logits_of`` of the notebook), and at what the
functions return.

A mistake costs its own question. Where ``params_to_torch`` isn't right, later questions are
checked with a model of ``build_mlp`` and the parameters that it happens to hold, or with a
stand-in; where a model computes another network, as its logits tell, with the values that such a
network gives. A training that follows the student's own wrong gradients is right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import combinations, pairwise, product
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from course_utils.comparison import CheckFailed, as_numbers, call, expect_close, expect_keys, on_problem, passed
from course_utils.oracle import random_problem, solve
from course_utils.reference import Problem, problem

if TYPE_CHECKING:
    import torch

#: Round-off of a hundred steps of gradient descent, relative to the size of a parameter, by precision.
_TRAINED_TOLERANCE = {np.dtype(np.float64): 1e-9, np.dtype(np.float32): 1e-3}
#: Sizes of the models on which build_mlp is checked: all differ, so that no layer can take another's place.
_SIZES = ((5, 7, 3), [4, 6, 9, 3], (6, 9, 8, 5, 4), [5, 8, 4, 7, 3, 6, 4])
#: Models on which the functions of 5.c and 5.d are checked besides those with two layers and the ReLU.
_DEEP = (((6, 7, 5, 4), "tanh"), ([5, 8, 4, 7, 3], "relu"))
#: Layers so large that the standard deviation of their weights is known to one per cent.
_LARGE_SIZES = ((220, 150, 100), [150, 140, 130, 120, 110, 100])


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
        raise CheckFailed(
            "the model",
            f"each of its layers should have weights and biases, in order, that can be trained; it has {held}.",
        )
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
                cause=None
                if held[name].shape != shape[::-1]
                else "inputs and outputs are exchanged: nn.Linear takes the number of inputs first."
                if quantity == "build_mlp"
                else "the weights aren't transposed: nn.Linear's weight has the shape (outputs, inputs).",
            )


#: Two-layer networks that build_mlp may make, as options of :func:`_outputs`; the first is the right one.
_NETWORKS: tuple[dict[str, str], ...] = tuple(
    {"activation": activation, "last": last}
    for last in ("", "the activation", "softmax", "log_softmax")
    for activation in ("relu", "", "tanh", "gelu", "sigmoid", "GELU by tanh", "leaky_relu", "elu", "silu", "softplus")
)


def _outputs(params: Mapping[str, torch.Tensor], X: np.ndarray, activation: str, last: str = "") -> torch.Tensor:
    """The logits in float64; ``last`` is what follows the last layer, and an empty name is no function."""
    import torch

    functions = {
        "": lambda values: values, "relu": torch.relu, "tanh": torch.tanh, "sigmoid": torch.sigmoid,
        "gelu": torch.nn.functional.gelu, "GELU by tanh": partial(torch.nn.functional.gelu, approximate="tanh"),
        "softmax": partial(torch.softmax, dim=1), "log_softmax": partial(torch.log_softmax, dim=1),
    }  # fmt: skip
    functions |= {name: getattr(torch.nn.functional, name) for name in ("leaky_relu", "elu", "silu", "softplus")}
    functions["the activation"] = functions[activation]
    values, layers = torch.from_numpy(np.asarray(X, dtype=np.float64)), len(params) // 2
    for number in range(1, layers + 1):
        values = values @ params[f"W{number}"] + params[f"b{number}"]
        values = functions[last if number == layers else activation](values)
    return values


def _logits(params: Mapping[str, np.ndarray], X: np.ndarray, **network: str) -> np.ndarray:
    import torch

    tensors = {name: torch.from_numpy(array.astype(np.float64)) for name, array in params.items()}
    return _outputs(tensors, X, **network).numpy()


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


def _network_of(
    model: Any, held: Mapping[str, np.ndarray], logits_of: Callable, asked: str = "relu"
) -> dict[str, str] | None:
    """Which of :data:`_NETWORKS` the model computes, first of all that with the activation asked for."""
    # Many and large enough that units are on and off, and GELU isn't its approximation; then a ReLU cut off at 6.
    small = 3 * np.random.default_rng(0).standard_normal((120, len(held["W1"])))
    seen = [
        (X, as_numbers("the logits", call(logits_of, model, X)), _logits_tolerance(held, X))
        for X in (small, 20 * small)
    ]
    for network in sorted(_NETWORKS, key=lambda network: network != {"activation": asked, "last": ""}):
        if all(
            got.shape == (expected := _logits(held, X, **network)).shape and np.all(np.abs(got - expected) <= tolerance)
            for X, got, tolerance in seen
        ):
            return network
    return None


def _solve_other(
    params: Mapping[str, Any], X: Any, y: Any, reg: float = 0.0, name: str = "", **network: str
) -> Problem:
    """What :func:`course_utils.oracle.solve` gives, for a network with other layers; its outputs are the logits."""
    import torch

    arrays = {key: np.asarray(array, dtype=np.float64) for key, array in params.items()}
    leaves = {key: torch.tensor(array, requires_grad=True) for key, array in arrays.items()}
    logits = _outputs(leaves, X, **network)
    data_loss = torch.nn.functional.cross_entropy(logits, torch.tensor(np.asarray(y, dtype=np.int64)))
    gradients = torch.autograd.grad(data_loss, list(leaves.values()))
    values = {f"d{key}": gradient.numpy() for key, gradient in zip(leaves, gradients, strict=True)}
    values |= {"z3": logits.detach().numpy(), "a3": torch.softmax(logits.detach(), dim=1).numpy()}
    values["data_loss"] = data_loss.item()
    values["loss"] = values["data_loss"] + reg * sum(
        float(np.sum(arrays[key] ** 2)) for key in arrays if key.startswith("W")
    )
    return Problem(name, X, y, arrays, reg, values)


# --- 5.a and 5.b The model --------------------------------------------------------------


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
    for sizes in _SIZES:
        if seed != 1:
            sizes = type(sizes)(int(size) for size in rng.permutation(np.arange(3, 13))[: len(sizes)])
        for activation in ("relu", "tanh", "gelu"):
            model = call(build_mlp, sizes, activation)
            held = _held(model, state_of)
            _expect_shapes("build_mlp", held, sizes)
            X = 3 * rng.standard_normal((120, sizes[0]))
            expected = _logits(held, X, activation=activation)
            try:
                expect_close(
                    f'the logits of build_mlp({sizes}, "{activation}")', call(logits_of, model, X), expected,
                    tolerance=_logits_tolerance(held, X),
                )  # fmt: skip
            except CheckFailed as error:
                error.cause = _cause_of_logits(call(logits_of, model, X), held, X, activation)
                raise
    passed("build_mlp gives networks of any depth, with the activation between the layers.")


def _cause_of_logits(got: Any, held: Mapping[str, np.ndarray], X: np.ndarray, activation: str) -> str | None:
    hypotheses = {
        "there is an activation after the last layer; logits have none.": {"last": "the activation"},
        "there is no activation between the layers.": {"activation": ""},
        "there is a softmax after the last layer; cross_entropy expects logits.": {"last": "softmax"},
        "there is a log-softmax after the last layer; logits are asked.": {"last": "log_softmax"},
    }
    for other in ("relu", "tanh", "gelu", "sigmoid", "leaky_relu", "elu", "silu", "softplus"):
        hypotheses[f"the activation is {other}; {activation} is asked for."] = {"activation": other}
    if activation == "gelu":
        hypotheses["this is GELU's approximation by tanh; GELU itself is asked."] = {"activation": "GELU by tanh"}
    got = np.asarray(got, dtype=np.float64)
    return next(
        (
            cause
            for cause, mistake in hypotheses.items()
            if got.shape == (values := _logits(held, X, **{"activation": activation, **mistake})).shape
            and np.allclose(got, values, rtol=1e-4, atol=1e-5)
        ),
        None,
    )


def check_params_to_torch(
    params_to_torch: Callable,
    build_mlp: Callable,
    state_of: Callable,
    logits_of: Callable,
    on: Problem | None = None,
) -> None:
    """Check that ``params_to_torch(params)`` gives a model that holds ``params``, and no digit less.

    Its network is the right one, or the one that ``build_mlp`` makes.
    """
    for given in [on] if on else [problem("toy"), problem("biased")]:
        with on_problem(given):
            model = call(params_to_torch, given.params)
            held = _held(model, state_of)
            _expect_shapes("params_to_torch", held, _sizes(given))
            for name, array in given.params.items():
                if held[name].dtype != array.dtype:
                    raise CheckFailed(name, f"in the model it is {held[name].dtype}, expected {array.dtype}.")
                try:
                    expect_close(f"{name} in the model", held[name], array, tolerance=0.0)
                except CheckFailed as error:
                    if array.ndim == 2 and np.array_equal(held[name], array.reshape(array.shape[::-1]).T):
                        error.cause = "this is a reshape, which puts the numbers elsewhere; transpose the matrix: W.T."
                    raise
            _expect_logits(model, held, given, build_mlp, state_of, logits_of)
            again = call(params_to_torch, {name: -array for name, array in given.params.items()})
            if not np.array_equal(_held(model, state_of)["W1"], given.params["W1"]) or again is model:
                raise CheckFailed("params_to_torch", "a second call changed the model of the first one.")
    passed("params_to_torch copies the four arrays; the logits are those of your network.", on)


def _expect_logits(
    model: Any,
    held: Mapping[str, np.ndarray],
    given: Problem,
    build_mlp: Callable,
    state_of: Callable,
    logits_of: Callable,
) -> None:
    """Compare a model's logits with those of ``given``, or with what the student's own ``build_mlp`` computes."""
    try:
        logits = call(logits_of, model, given.X)
    except CheckFailed as error:
        try:
            call(logits_of, call(build_mlp, _sizes(given), "relu"), given.X)
        except CheckFailed:
            return  # no model of build_mlp can be called, a mistake of its own: the parameters must do
        raise error from None

    def as_built() -> Any:
        built = call(build_mlp, _sizes(given), "relu")
        network = _network_of(built, _held(built, state_of), logits_of)
        # Of another network there is nothing to compare with: the parameters must do.
        return _logits(given.params, given.X, **network) if network else logits

    tolerance = _logits_tolerance(given.params, given.X)
    try:
        expect_close("the logits of the model", logits, given.values["z3"], follows=[as_built], tolerance=tolerance)
    except CheckFailed as error:
        error.cause = _cause_of_logits(logits, held, given.X, "relu")
        raise


# --- 5.c The same numbers ---------------------------------------------------------------


class Models(NamedTuple):
    """What the checks of 5.c and 5.d need besides the function that they check."""

    #: params -> model
    params_to_torch: Callable
    #: sizes, name of the activation -> model
    build_mlp: Callable
    #: sizes -> a right two-layer model, which takes the place of a student's
    stand_in_model: Callable
    #: model -> dict of its parameters, see :func:`as_params`
    state_of: Callable
    #: model, X (N, D) -> (N, K)
    logits_of: Callable


#: A model of the student's, the problem with the parameters that it holds, and what solves its network.
_Examined = tuple[Any, Problem, list[Callable[..., Problem]]]


def _model_for(given: Problem, models: Models) -> _Examined:
    """A model for the problem: of ``params_to_torch``, else of ``build_mlp``, else the stand-in.

    Its solvers are called like :func:`course_utils.oracle.solve`, and the problem's values are those of
    the first of them. There is a second one where the model ends with a softmax: a loss that takes its
    outputs for probabilities, and not for logits, is the right one again.
    """
    failure: BaseException = NotImplementedError("params_to_torch is not written yet")
    for make in (
        lambda: call(models.params_to_torch, given.params),
        lambda: call(models.build_mlp, _sizes(given), "relu"),
        lambda: call(models.stand_in_model, _sizes(given)),
    ):
        try:
            return _examined(make(), given, _sizes(given), "relu", models)
        except (CheckFailed, NotImplementedError) as error:
            failure = error
    raise failure


def _examined(model: Any, given: Problem, sizes: Sequence[int], activation: str, models: Models) -> _Examined:
    """What :func:`_model_for` returns, of this model; raises where it computes none of :data:`_NETWORKS`."""
    held = _held(model, models.state_of)
    _expect_shapes("the model", held, sizes)
    network = _network_of(model, held, models.logits_of, activation)
    if network is None:
        raise CheckFailed("the model", "its logits are those of no network that is known.")
    networks = [network] + [network | {"last": ""}] * (network["last"] == "softmax")
    plain = len(sizes) == 3
    solvers = [solve if plain and each == _NETWORKS[0] else partial(_solve_other, **each) for each in networks]
    return model, solvers[0](held, given.X, given.y, given.reg, given.name)._replace(params=held), solvers


def _deep_models(models: Models, seed: int) -> Iterator[_Examined]:
    """What :func:`_model_for` returns, of deeper models, as far as ``build_mlp`` makes them without a softmax."""
    rng = np.random.default_rng(seed)
    for sizes, activation in _DEEP:
        X, y = 2 * rng.standard_normal((9, sizes[0])), rng.integers(0, sizes[-1], size=9)
        name = f'build_mlp({sizes}, "{activation}") and N=9 samples'
        with contextlib.suppress(CheckFailed, NotImplementedError):
            model = call(models.build_mlp, sizes, activation)
            found = _examined(model, Problem(name, X, y, {}, 0.2, {}), sizes, activation, models)
            if len(found[-1]) == 1:
                yield found


def _all_models(problems: Sequence[Problem], models: Models) -> Iterator[_Examined]:
    """Models for the problems, among them some in other precisions and with very large logits, and deep ones."""
    last, size = problems[-1], f"and N={len(problems[-1].X)} samples"
    for given in (
        *problems,
        last._replace(X=last.X.astype(np.float32), name=f"X in float32 for a float64 model, {size}"),
        _in_float32(last, f"a float32 model {size}"),
    ):
        yield _model_for(given, models)
    model, here, solvers = _model_for(last._replace(X=2000 * last.X, name=f"very large logits {size}"), models)
    if len(solvers) == 1:  # no softmax in the model, which would have made probabilities of them, with zeros
        yield model, here, solvers
    yield from _deep_models(models, len(last.X))


def _in_float32(given: Problem, name: str) -> Problem:
    """``given`` with parameters, and so a model, in single precision."""
    return given._replace(params={key: array.astype(np.float32) for key, array in given.params.items()}, name=name)


def _expect_unchanged(function: str, model: Any, here: Problem, state_of: Callable) -> None:
    held = _held(model, state_of)
    if any(
        held[name].dtype != array.dtype or not np.array_equal(held[name], array) for name, array in here.params.items()
    ):
        raise CheckFailed(function, "the call has changed the model's parameters; it should leave them as they are.")


def _accuracy_terms(given: Problem) -> dict[str, Any]:
    """How much the values of a problem may deviate: the sizes of its sums, and the precision of the model."""
    params = {name: np.abs(array).astype(np.float64) for name, array in given.params.items()}
    weights = [params[name] for name in params if name.startswith("W")]
    scale = 1 + float(np.max(np.abs(given.X) @ params["W1"] + params["b1"]))
    for number, W in enumerate(weights[1:], start=2):
        scale *= 1 + float(np.max(W.sum(axis=0)) + np.max(params[f"b{number}"]))
    scale += given.reg * float(sum(np.sum(W**2) for W in weights))
    terms = len(given.X) + len(weights[0]) + sum(W.shape[1] for W in weights)
    return {"terms": terms, "scale": scale, "input_dtype": given.params["W1"].dtype}


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
    given = Models(*models)
    for model, here, _ in _all_models([on] if on else [problem("toy"), problem("biased")], given):
        with on_problem(here):
            for rows in (slice(None), slice(0, 1)):
                logits, X = here.values["z3"][rows], here.X[rows]
                got = call(scores, model, X)
                # A softmax in the model costs its own question: its outputs are the probabilities already.
                own = [partial(np.array, logits)] if np.allclose(logits.sum(axis=1), 1) else []
                expect_close(
                    "scores(model, X)", got, here.values["a3"][rows],
                    known={"before": logits, "N": len(X)}, follows=own, **_accuracy_terms(here),
                )  # fmt: skip
            _expect_unchanged("scores", model, here, given.state_of)
    passed("scores gives the probabilities that your NumPy network gives.", on)


def _loss_and_gradients(function: Callable, model: Any, here: Problem) -> tuple[Any, Any]:
    got = call(function, model, here.X, here.y, here.reg)
    if not isinstance(got, (tuple, list)) or len(got) != 2:
        raise CheckFailed("loss_and_gradients", "it should return a float and a dict: return loss, gradients.")
    return got[0], got[1]


def _problems_with_reg(on: Problem | None) -> list[Problem]:
    given = [on] if on else [problem("toy"), problem("biased")]
    return [each._replace(reg=reg) for each in given for reg in (each.reg, 0.0, 0.3 + each.reg)]


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
    for model, here, solvers in _all_models(_problems_with_reg(on), Models(*models)):
        with on_problem(here):
            got, _ = _loss_and_gradients(loss_and_gradients, model, here)
            params, values = here.params, here.values
            known = {
                "N": len(here.X), "reg": here.reg, "data": values["data_loss"], "logits": values["z3"],
                "labels": here.y, "weights": [params[name] for name in params if name.startswith("W")],
                "biases": [params[name] for name in params if name.startswith("b")],
            }  # fmt: skip
            follows = [lambda other=other, here=here: _solved(here, other).values["loss"] for other in solvers[1:]]
            expect_close("the loss", got, values["loss"], known=known, follows=follows, **_accuracy_terms(here))
    passed("the loss is that of your NumPy network, for every strength of regularisation.", on)


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
    given = Models(*models)
    for model, here, solvers in _all_models(_problems_with_reg(on), given):
        with on_problem(here):
            for call_number in (1, 2):
                _, got = _loss_and_gradients(loss_and_gradients, model, here)
                _expect_unchanged("loss_and_gradients", model, here, given.state_of)
                try:
                    _expect_gradients(got, here, solvers)
                except CheckFailed as error:
                    if call_number == 2:  # the first one was right
                        error.cause = "the second call adds to the gradients of the first one: clear them."
                    raise
    passed("the gradients are those of your NumPy network, for every strength of regularisation.", on)


def _solved(here: Problem, solver: Callable[..., Problem]) -> Problem:
    return solver(here.params, here.X, here.y, here.reg)


def _expect_gradients(got: Any, here: Problem, solvers: Sequence[Callable[..., Problem]]) -> None:
    got = expect_keys("loss_and_gradients", got, tuple(here.params))
    size = _accuracy_terms(here)
    size["scale"] *= 1 + float(np.abs(here.X).max())
    for name, expected in here.gradients().items():
        known = {"N": len(here.X), "reg": here.reg, "symbol": name}
        known |= {"weight" if name.startswith("W") else "bias": here.params[name]}
        follows = [lambda other=other, name=name: _solved(here, other).gradients()[name] for other in solvers[1:]]
        expect_close(f"the gradient of {name}", got[name], expected, known=known, follows=follows, **size)


# --- 5.d Training -----------------------------------------------------------------------


class _Run(NamedTuple):
    """How a training is called."""

    batches: np.ndarray
    learning_rate: float
    learning_rate_decay: float
    reg: float


class _Descent(NamedTuple):
    """What gradient descent gives: parameters in the end, losses, parameters after each epoch, their round-off."""

    params: dict[str, np.ndarray]
    losses: list[float]
    epochs: list[dict[str, np.ndarray]]
    relative: float


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
    # All within one epoch: how the learning rate decays is a question of its own.
    given = _with_rows(on or random_problem(seed=6), 210)
    run = _Run(_batches(given, 100, 2), 0.02, 1.0, given.reg)
    causes = {
        "this climbs the loss: the step goes against the gradient.": {"learning_rate": -run.learning_rate},
        "the gradients of all steps add up: clear them in each iteration.": {"momentum": 1.0},
        "the optimiser has a momentum of 0.9; plain gradient descent is asked.": {"momentum": 0.9},
        "the regularisation isn't part of the loss that is differentiated.": {"reg": 0.0},
        "the regularisation has half its strength: weight_decay adds weight_decay * W, its gradient is 2 * reg * W.": {
            "reg": run.reg / 2
        },
        "the regularisation is added twice.": {"reg": 2 * run.reg},
        "the biases are regularised too; only the weights are.": {"on_biases": True},
        "the biases are regularised too, and all with half the strength: weight_decay adds weight_decay * W,"
        " the regularisation's gradient is 2 * reg * W, of the weights alone.": {"on_biases": True, "reg": run.reg / 2},
        "rows and labels of a batch don't belong together.": {"labels": np.arange(run.batches.shape[1])},
        "every step uses the whole set; batches tells which rows it is to use.": {
            "batches": np.tile(np.arange(len(given.X)), (len(run.batches), 1)),
            "epoch": len(run.batches) + 1,
        },
        "every step uses the same batch.": {"batches": np.tile(run.batches[:1], (len(run.batches), 1))},
        "the last batch is left out.": {"batches": run.batches[:-1]},
    }
    makers = Models(*models)
    with on_problem(given):
        model, here, solvers = _model_for(given, makers)
        got, _ = _trained(train_torch, model, here, run, makers.state_of)
        own_solver = _own_gradients(loss_and_gradients, solvers[0], makers)
        solver, right = _followed(got, here, run, [*solvers, own_solver])
        reference = partial(_reference, here, run, solver=solver)
        _expect_params(got, here, right, reference, causes, f"after {len(run.batches)} steps, ")
    few = run._replace(batches=run.batches[:3])
    for model, here, solvers in _used_models(loss_and_gradients, given, makers):
        with on_problem(here):
            got, _ = _trained(train_torch, model, here, few, makers.state_of)
            solver, right = _followed(got, here, few, solvers)
            reference = partial(_reference, here, few, solver=solver)
            _expect_params(got, here, right, reference, causes, f"after {len(few.batches)} steps, ")
    passed("after 100 steps on the same batches, both networks hold the same parameters.", on)


def _used_models(loss_and_gradients: Callable, given: Problem, models: Models) -> Iterator[_Examined]:
    """What :func:`_model_for` returns, of models that hold gradients of an earlier call.

    They are in float32, or have more layers. Where ``loss_and_gradients`` isn't right for one, a
    training that follows it can't be: that is a question of its own.
    """

    def further() -> Iterator[_Examined]:
        yield _model_for(_in_float32(given, f"a float32 model used before, and N={len(given.X)} samples"), models)
        yield from _deep_models(models, len(given.X))

    for model, here, solvers in further():
        with contextlib.suppress(CheckFailed, NotImplementedError):
            _, gradients = _loss_and_gradients(loss_and_gradients, model, here)
            gradients = expect_keys("loss_and_gradients", gradients, tuple(here.params))
            for name, expected in here.gradients().items():
                # Three of float32's seven digits: a mistake is larger.
                tolerance = 1e-3 * float(np.abs(expected).max())
                expect_close(name, gradients[name], expected, tolerance=tolerance)
            _expect_unchanged("loss_and_gradients", model, here, models.state_of)
            yield model, _with_rows(here, len(given.X)), solvers


def check_train_schedule(
    train_torch: Callable, loss_and_gradients: Callable, *models: Callable, on: Problem | None = None
) -> None:
    """Check the learning rate's decay and the history of ``train_torch``.

    Steps that are no steps of gradient descent are a mistake of their own: if the training is
    made of single steps of the student's with the right learning rates, its schedule is right.

    Parameters
    ----------
    train_torch, loss_and_gradients : callables
    *models : callables
        See :class:`Models`, in that order.
    on : Problem, optional
        Takes the place of the stored problem.
    """
    # 1,100 rows: the accuracy on the training data is asked on the first 1,000.
    given = _with_rows(on or random_problem(seed=7, samples=22), 1100)
    batch_size = len(given.X) * 2 // 9
    epoch = len(given.X) // batch_size  # 4, and 5 if it is rounded up
    run = _Run(_batches(given, 3 * epoch + 1, batch_size), 0.02, 0.6, given.reg)
    causes = {
        "the learning rate never decays.": {"learning_rate_decay": 1.0},
        "the learning rate decays after every iteration; it should after every epoch.": {"epoch": 1},
        "an epoch has len(X) // batch_size iterations, rounded down.": {"epoch": epoch + 1},
        "the learning rate decays one iteration too early.": {"early": True},
        "the learning rate has decayed before the first epoch already.": {
            "learning_rate": run.learning_rate * run.learning_rate_decay
        },
    }
    makers = Models(*models)
    with on_problem(given):
        model, here, solvers = _model_for(given, makers)
        got, history = _trained(train_torch, model, here, run, makers.state_of)
        own_solver = _own_gradients(loss_and_gradients, solvers[0], makers)
        solver, right = _followed(got, here, run, [*solvers, own_solver])
        reference = partial(_reference, here, run, solver=solver)
        if not _agree(got, right):
            own = partial(reference, step=_own_step(train_torch, given, run, makers))
            with contextlib.suppress(CheckFailed):
                # Where the rates make no difference, as in a training that changes nothing, none is right.
                if _agree(got, descent := own()) and not _agree(got, own(learning_rate_decay=1.0)):
                    right, reference = descent, own
                elif path := _own_path(train_torch, here, run, makers, solver, own):
                    right = path

        def own_losses() -> list[float]:
            return reference(solver=own_solver).losses

        expect_history = partial(_expect_history, history, here, run, solver, right, reference, own_losses)
        place = f"after {len(run.batches)} steps, {epoch} to an epoch, "
        try:
            _expect_params(got, here, right, reference, causes, place)
        except CheckFailed as error:
            # Where a copy of the model is trained, a mistake of its own, the losses still tell the learning rates.
            if any(not np.array_equal(got[name], array) for name, array in here.params.items()):
                raise
            try:
                expect_history()
            except CheckFailed:
                raise error from None
        expect_history()
        model, here, _ = _model_for(given, makers)
        large = _Run(_batches(given, 2, len(given.X) + 1), 0.02, 0.6, given.reg)
        _, history = _trained(train_torch, model, here, large, makers.state_of)
        got = expect_keys("train_torch", history, ("val_accuracy",))["val_accuracy"]
        if np.shape(got) != (2,):
            raise CheckFailed(
                'history["val_accuracy"]',
                f"the shape is {np.shape(got)}, expected (2,): with batches larger than X, each is an epoch.",
            )
    passed("the learning rate decays after each epoch, and the history holds losses and accuracies.", on)


def _with_rows(given: Problem, samples: int) -> Problem:
    """``given`` with more rows, as many as ``samples`` in all."""
    rng, rows, classes = np.random.default_rng(len(given.X)), samples - len(given.X), int(given.y.max()) + 1
    X = np.concatenate([given.X, 2 * rng.standard_normal((rows, given.X.shape[1])).astype(given.X.dtype)])
    y = np.concatenate([given.y, rng.integers(0, classes, size=rows)])
    return given._replace(X=X, y=y, name=given.name.replace(f"N={len(given.X)}", f"N={len(X)}"))


def _batches(given: Problem, num_iters: int, batch_size: int) -> np.ndarray:
    return np.random.default_rng(len(given.X)).integers(0, len(given.X), size=(num_iters, batch_size))


def _validation(given: Problem) -> tuple[np.ndarray, np.ndarray]:
    """More rows of the same kind; the labels don't matter."""
    rng = np.random.default_rng(len(given.X))
    X = 2 * rng.standard_normal((50, given.X.shape[1]))
    return X, rng.integers(0, given.params["b2"].size, size=len(X))


def _trained(
    train_torch: Callable, model: Any, here: Problem, run: _Run, state_of: Callable
) -> tuple[dict[str, np.ndarray], Any]:
    """The trained parameters, and the history."""
    X_val, y_val = _validation(here)
    history = call(train_torch, model, here.X, here.y, X_val, y_val, **run._asdict())
    return _held(model, state_of), history


def _own_gradients(
    loss_and_gradients: Callable, solver: Callable[..., Problem], models: Models
) -> Callable[..., Problem]:
    """A solver with the loss and the gradients of the student's own ``loss_and_gradients``."""

    def solved(params: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray, reg: float = 0.0) -> Problem:
        right = solver(params, X, y, reg)
        model = call(models.params_to_torch, params)
        _expect_held(model, params, models.state_of)
        value, gradients = _loss_and_gradients(loss_and_gradients, model, right._replace(X=X, y=y))
        own = expect_keys("loss_and_gradients", gradients, tuple(params))
        values = {f"d{name}": np.asarray(own[name], dtype=np.float64) for name in params}
        return right._replace(reg=0.0, values=right.values | values | {"loss": float(value)})

    return solved


def _expect_held(model: Any, params: Mapping[str, np.ndarray], state_of: Callable) -> None:
    held = _held(model, state_of)
    if any(not np.array_equal(held.get(name), array) for name, array in params.items()):
        raise CheckFailed("params_to_torch", "the model doesn't hold the parameters that it was given.")


def _own_step(
    train_torch: Callable, given: Problem, run: _Run, models: Models
) -> Callable[[dict[str, np.ndarray], np.ndarray, float], dict[str, np.ndarray]]:
    """A single step of the student's training: parameters, batch, learning rate -> parameters."""

    def step(params: dict[str, np.ndarray], batch: np.ndarray, rate: float) -> dict[str, np.ndarray]:
        changed = given._replace(params=params)
        model, here, _ = _model_for(changed, models)
        _expect_held(model, params, models.state_of)
        single = run._replace(batches=batch[np.newaxis], learning_rate=rate, learning_rate_decay=1.0)
        return _trained(train_torch, model, here, single, models.state_of)[0]

    return step


def _own_path(
    train_torch: Callable,
    here: Problem,
    run: _Run,
    models: Models,
    solver: Callable[..., Problem],
    own: Callable[..., _Descent],
) -> _Descent | None:
    """The descent of a training whose steps depend on earlier ones, if its learning rate decays after an epoch.

    ``own`` are the student's single steps, which have no earlier ones.
    """

    def after(iterations: int, decay: float = run.learning_rate_decay) -> dict[str, np.ndarray]:
        model, same, _ = _model_for(here, models)
        _expect_held(model, here.params, models.state_of)
        shorter = run._replace(batches=run.batches[:iterations], learning_rate_decay=decay)
        return _trained(train_torch, model, same, shorter, models.state_of)[0]

    def agree(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
        return _agree(one, _Descent(other, [], [], relative))

    relative = _TRAINED_TOLERANCE[np.dtype(here.params["W1"].dtype)]
    epoch = len(here.X) // run.batches.shape[1]
    single = own(batches=run.batches[:epoch]).params
    if not _remembers_and_decays(after, single, epoch, run.learning_rate_decay, agree):
        return None
    path = [here.params, *(after(number) for number in range(1, len(run.batches) + 1))]
    losses = [
        solver(params, here.X[batch], here.y[batch], run.reg).values["loss"]
        for params, batch in zip(path[:-1], run.batches, strict=True)
    ]
    return _Descent(path[-1], losses, path[epoch::epoch], relative)


def _reference(
    here: Problem,
    run: _Run,
    *,
    solver: Callable[..., Problem],
    step: Callable[[dict[str, np.ndarray], np.ndarray, float], dict[str, np.ndarray]] | None = None,
    epoch: int | None = None,
    early: bool = False,
    momentum: float = 0.0,
    on_biases: bool = False,
    labels: np.ndarray | None = None,
    **changes: Any,
) -> _Descent:
    """Gradient descent with the oracle's gradients, or with one of the mistakes that the options name."""
    run = run._replace(**changes)
    epoch = epoch or max(len(here.X) // run.batches.shape[1], 1)
    params = {name: array.astype(np.float64) for name, array in here.params.items()}
    total = dict.fromkeys(params, 0.0)
    losses, epochs = [], []
    for iteration, batch in enumerate(run.batches):
        labelled = batch if labels is None else labels
        solved = solver(params, here.X[batch], here.y[labelled], run.reg)
        losses.append(solved.values["loss"])
        rate = run.learning_rate * run.learning_rate_decay ** ((iteration + early) // epoch)
        if step:
            params = step(params, batch, rate)
        else:
            gradients = solved.gradients()
            if on_biases:
                gradients |= {name: gradients[name] + 2 * run.reg * params[name] for name in ("b1", "b2")}
            total = {name: momentum * total[name] + gradients[name] for name in params}
            params = {name: params[name] - rate * total[name] for name in params}
        if (iteration + 1) % epoch == 0:
            epochs.append(params)
    return _Descent(params, losses, epochs, _TRAINED_TOLERANCE[np.dtype(here.params["W1"].dtype)])


def _followed(
    got: dict[str, np.ndarray], here: Problem, run: _Run, solvers: Sequence[Callable[..., Problem]]
) -> tuple[Callable[..., Problem], _Descent]:
    """The first solver whose gradients the training has followed, and the descent; the first of all if it is none."""
    for solver in solvers:
        with contextlib.suppress(CheckFailed, NotImplementedError, TypeError, ValueError):
            descent = _reference(here, run, solver=solver)
            if _agree(got, descent):
                return solver, descent
    return solvers[0], _reference(here, run, solver=solvers[0])


def _expect_params(
    got: dict[str, np.ndarray],
    here: Problem,
    right: _Descent,
    reference: Callable[..., _Descent],
    causes: dict[str, dict[str, Any]],
    place: str,
) -> None:
    """Compare all parameters; a deviation is explained by the first of ``causes`` that reproduces it."""
    for name, expected in right.params.items():
        try:
            expect_close(name, got[name], expected, tolerance=right.relative * max(1.0, float(np.abs(expected).max())))
        except CheckFailed as error:
            cause = next((text for text, changes in causes.items() if _agree(got, reference(**changes))), None)
            still = [key for key in got if np.array_equal(got[key], here.params[key])]
            if len(still) == len(got):
                cause = "the parameters are as they were: no step of an optimiser has changed this model."
            elif cause is None and still:
                cause = f"{' and '.join(still)} did not change: all of model.parameters() are to be trained."
            raise CheckFailed(
                name, place + error.problem, place=error.place, tolerance=error.tolerance, cause=cause or error.cause
            ) from None


def _agree(got: dict[str, np.ndarray], descent: _Descent) -> bool:
    relative = descent.relative
    with np.errstate(all="ignore"):
        return all(
            np.allclose(got[name], values, rtol=10 * relative, atol=relative) for name, values in descent.params.items()
        )


def _expect_history(
    history: Any,
    here: Problem,
    run: _Run,
    solver: Callable[..., Problem],
    right: _Descent,
    reference: Callable[..., _Descent],
    own_losses: Callable[[], list[float]],
) -> None:
    import torch

    history = expect_keys("train_torch", history, ("loss", "train_accuracy", "val_accuracy"))
    for key in ("loss", "train_accuracy", "val_accuracy"):
        if isinstance(history[key], (list, tuple)) and any(isinstance(entry, torch.Tensor) for entry in history[key]):
            raise CheckFailed(f'history["{key}"]', "it holds tensors, expected floats; value.item() is the float.")
    losses = as_numbers('history["loss"]', history["loss"])
    if losses.shape != (len(run.batches),):
        raise CheckFailed(
            'history["loss"]',
            f"the shape is {losses.shape}, expected ({len(run.batches)},): one loss for each iteration.",
        )
    # A loss is a float32 number where the model is.
    precision = max(right.relative, float(np.finfo(here.params["W1"].dtype).eps))
    try:
        tolerance = precision * max(1.0, max(right.losses))
        expect_close('history["loss"]', losses, right.losses, tolerance=tolerance, follows=[own_losses])
    except CheckFailed as error:
        batch, after = run.batches[0], reference(batches=run.batches[:1]).params
        if run.reg and np.isclose(losses[0], reference(batches=run.batches[:1], reg=0.0).losses[0], rtol=1e-6):
            error.cause = "these are losses without regularisation."
        elif np.isclose(losses[0], solver(after, here.X[batch], here.y[batch], run.reg).values["loss"], rtol=1e-9):
            error.cause = "each loss is that after the step; it should be the loss of the batch before it."
        raise
    X_val, y_val = _validation(here)
    for key, X, y in (("train_accuracy", here.X[:1000], here.y[:1000]), ("val_accuracy", X_val, y_val)):
        logits = [solver(params, X, y).values["z3"] for params in right.epochs]
        expected = [float(np.mean(each.argmax(axis=1) == y)) for each in logits]
        got = as_numbers(f'history["{key}"]', history[key])
        if got.shape != (len(expected),):
            raise CheckFailed(
                f'history["{key}"]', f"the shape is {got.shape}, expected ({len(expected)},): one after each epoch."
            )
        # Round-off may decide for either class where the two largest logits are as close as parameters may be.
        gaps = [np.diff(np.sort(each, axis=1)[:, -2:]) / np.abs(each).max() for each in logits]
        undecided = max(np.mean(gap < 10 * right.relative) for gap in gaps)
        expect_close(f'history["{key}"]', got, expected, tolerance=1e-6 + undecided)


# --- 5.e Initialisation -----------------------------------------------------------------


def check_initialise(
    initialise: Callable, build_mlp: Callable, stand_in_model: Callable, state_of: Callable, seed: int = 1
) -> None:
    """Check that ``initialise(model, scale, rng)`` draws the weights in place, and sets the biases to zero.

    Parameters
    ----------
    initialise : callable
    build_mlp, stand_in_model, state_of : callables
        See :class:`Models`.
    seed : int
        Of the random numbers.
    """
    for sizes, scale in product(_LARGE_SIZES, (1e-4, 0.3, None)):
        model = _large_model(sizes, build_mlp, stand_in_model, state_of)
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
            # Beyond two standard deviations lie 4.55 % of a normal distribution; 1.5 % are eight standard errors.
            beyond = float(np.mean(np.abs(array) > 2 * expected))
            if abs(beyond - 0.0455) > 0.015:
                raise CheckFailed(
                    name,
                    f"{text}{beyond:.1%} of the weights are larger than {2 * expected:.3g} (two standard deviations);"
                    " of a normal distribution, 4.6% are.",
                    cause="these weights are spread evenly: draw them from a normal distribution."
                    if np.abs(array).max() < 1.75 * expected  # sqrt(3)
                    else None,
                )
        for one, other in combinations((name for name in drawn if name.startswith("W")), 2):
            # As PyTorch and as NumPy store them; 100 independent numbers correlate by 0.1 or so.
            size = min(100, drawn[one].size, drawn[other].size)
            for order in "FC":
                if np.corrcoef(*(drawn[name].ravel(order)[:size] for name in (one, other)))[0, 1] > 0.9:
                    raise CheckFailed(
                        "initialise",
                        f"{text}{one} and {other} begin with the same random numbers.",
                        cause="each layer starts from the seed anew: set the seed once, before the loop.",
                    )
        again = _drawn(initialise, model, scale, seed, state_of)
        other = _drawn(initialise, model, scale, seed + 1, state_of)
        if not all(np.array_equal(drawn[name], again[name]) for name in drawn):
            raise CheckFailed("initialise", "the same seed gave two different draws. Draw with the seed rng.")
        if np.array_equal(drawn["W1"], other["W1"]):
            raise CheckFailed("initialise", "two seeds gave the same weights. Draw with the seed rng.")
    passed("initialise draws weights of the right size for every layer, and sets the biases to zero.")


def _large_model(sizes: Sequence[int], build_mlp: Callable, stand_in_model: Callable, state_of: Callable) -> Any:
    with contextlib.suppress(CheckFailed, NotImplementedError):
        model = call(build_mlp, sizes, "relu")
        _expect_shapes("build_mlp", _held(model, state_of), sizes)
        return model
    return call(stand_in_model, (sizes[0], *sizes[-2:]))


def _drawn(
    initialise: Callable, model: Any, scale: float | None, rng: int, state_of: Callable
) -> dict[str, np.ndarray]:
    before = _held(model, state_of)
    call(initialise, model, scale, rng)
    drawn = _held(model, state_of)
    _expect_shapes("initialise", drawn, [len(before["W1"]), *(before[name].size for name in before if name[0] == "b")])
    for name, array in drawn.items():
        if array.dtype != before[name].dtype:
            raise CheckFailed(name, f"it is {array.dtype} now, and was {before[name].dtype}: draw in place.")
    return drawn


def _cause_of_deviation(deviation: float, shape: tuple[int, ...], scale: float | None) -> str | None:
    inputs, outputs = shape
    kaiming = np.sqrt(2 / inputs)
    hypotheses = {"these are the weights that PyTorch draws by itself.": 1 / np.sqrt(3 * inputs)}
    if scale is None:
        hypotheses |= {
            "the number of outputs is used in place of the number of inputs.": np.sqrt(2 / outputs),
            "this is sqrt(2 / (inputs + outputs)), Xavier initialisation; sqrt(2 / inputs) is asked.": np.sqrt(
                2 / (inputs + outputs)
            ),
            "this is sqrt(1 / inputs); the ReLU drops half of the numbers, so it is sqrt(2 / inputs).": inputs**-0.5,
            "this is the variance 2 / inputs; the standard deviation is its root.": 2 / inputs,
        }
    else:
        hypotheses |= {
            "scale is taken for the variance; it is the standard deviation.": np.sqrt(scale),
            "scale isn't used: this is sqrt(2 / inputs).": kaiming,
            "scale is multiplied by sqrt(2 / inputs); it is the standard deviation itself.": scale * kaiming,
        }
    hypotheses["a uniform distribution between plus and minus the standard deviation has a smaller one."] = (
        kaiming if scale is None else scale
    ) / np.sqrt(3)
    return next((cause for cause, value in hypotheses.items() if abs(deviation / value - 1) < 0.02), None)


def _remembers_and_decays(
    after: Callable[[int, float], dict[str, np.ndarray]],
    single: dict[str, np.ndarray],
    epoch: int,
    decay: float,
    agree: Callable[[dict, dict], bool],
) -> bool:
    """Whether a training's steps depend on earlier ones, and its learning rate decays after the first epoch.

    The step after the first epoch must be as long as the decay says, and the steps before it independent of the decay.

    Parameters
    ----------
    after : callable
        Number of iterations, decay of the learning rate -> the trained parameters.
    single : dict
        The parameters after an epoch of single steps, which have no earlier ones.
    epoch : int
        Iterations in an epoch.
    decay : float
    agree : callable
        Two dicts of parameters -> whether they are the same but for round-off.
    """
    none, full, own = (after(epoch + 1, rate) for rate in (0.0, 1.0, decay))
    decayed = {name: none[name] + decay * (full[name] - none[name]) for name in none}
    first = after(epoch, 1.0)
    has_memory = agree(after(epoch, 0.0), first) and not agree(first, single)
    return has_memory and not agree(none, full) and agree(own, decayed)
