"""What is right in notebook 5, as a computation in stages, and the mistakes: one stage changed, and a sentence.

The reference is a network of any depth in float64, which PyTorch differentiates and trains; it
spells out no derivative. A stage is a function, and ``changes`` put others in the place of some.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from course_utils.deviations import Deviation

Tensors = dict[str, torch.Tensor]
Changes = Mapping[str, Callable]

#: The activations that are asked for, and those that may be met in their place.
ASKED = {"relu": torch.relu, "tanh": torch.tanh, "gelu": functional.gelu}
OTHERS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "sigmoid": torch.sigmoid,
    **{
        name: getattr(functional, name)
        for name in (
            "leaky_relu", "elu", "silu", "softplus", "selu", "relu6", "hardtanh", "mish", "softsign",
            "hardswish", "hardsigmoid", "logsigmoid", "tanhshrink",
        )
    },
}  # fmt: skip


# --- The network ------------------------------------------------------------------------


def tensors_of(params: Mapping[str, np.ndarray]) -> Tensors:
    """Copies in float64 that can be differentiated."""
    return {
        name: torch.tensor(np.asarray(array, dtype=np.float64), requires_grad=True) for name, array in params.items()
    }


def outputs(params: Tensors, X: Any, activation: str, changes: Changes) -> torch.Tensor:
    """What a network gives for the rows of X, (N, K).

    Stages: ``between`` (values, number of the layer, activation), ``follows`` (number of the layer, their count) ->
    whether it does, ``first`` (X, activation), ``last`` (logits, activation); ``summed`` and ``joined`` (values, inputs
    of the layer, whether it is the last), before and after the activation.
    """
    between = changes.get("between", lambda values, number, name: ASKED[name](values))
    follows = changes.get("follows", lambda number, layers: True)
    summed, joined = (changes.get(name, lambda values, inputs, is_last: values) for name in ("summed", "joined"))
    values, layers = torch.as_tensor(np.asarray(X, dtype=np.float64)), len(params) // 2
    values = changes.get("first", lambda X, name: X)(values, activation)
    for number in range(1, layers + 1):
        inputs, is_last = values, number == layers
        values = summed(values @ params[f"W{number}"] + params[f"b{number}"], inputs, is_last)
        if not is_last and follows(number, layers):
            values = between(values, number, activation)
        values = joined(values, inputs, is_last)
    return changes.get("last", lambda logits, name: logits)(values, activation)


def loss_terms(params: Tensors, X: Any, y: Any, reg: float, activation: str, changes: Changes) -> tuple[Any, Any]:
    """The data loss and the penalty, as tensors.

    Stages, besides those of :func:`outputs`: ``data_loss`` (logits, labels), ``penalised`` (params) -> tensors,
    ``size`` of one of them, ``strength`` (reg), ``price`` (the penalty, number of samples).
    """
    labels = torch.as_tensor(np.asarray(y, dtype=np.int64))
    data = changes.get("data_loss", functional.cross_entropy)(outputs(params, X, activation, changes), labels)
    penalised = changes.get("penalised", weights_of)(params)
    size = changes.get("size", lambda tensor: tensor.square().sum())
    strength = changes.get("strength", lambda reg: reg)(reg)
    price = changes.get("price", lambda penalty, samples: penalty)
    return data, price(strength * sum(size(tensor) for tensor in penalised), len(labels))


def weights_of(params: Tensors) -> list[torch.Tensor]:
    """The weights, layer by layer."""
    return [tensor for name, tensor in params.items() if name.startswith("W")]


def solved(params: Mapping[str, np.ndarray], X: Any, y: Any, reg: float, activation: str, changes: Changes) -> dict:
    """Loss, probabilities, logits, and the gradients by name: floats and float64 arrays.

    Stages, besides those of :func:`loss_terms`: ``softmax`` (logits); ``differentiated`` (data loss, penalty);
    ``gradients`` (gradients, params).
    """
    leaves = tensors_of(params)
    data, penalty = loss_terms(leaves, X, y, reg, activation, changes)
    total = changes.get("differentiated", lambda data, penalty: data + penalty)(data, penalty)
    gradients = torch.autograd.grad(total, list(leaves.values()), allow_unused=True)
    found = {
        name: np.zeros(leaf.shape) if gradient is None else gradient.numpy()
        for (name, leaf), gradient in zip(leaves.items(), gradients, strict=True)
    }
    found = changes.get("gradients", lambda gradients, params: gradients)(found, params)
    logits = outputs(leaves, X, activation, changes).detach()
    probabilities = changes.get("softmax", partial(torch.softmax, dim=1))(logits)
    return {"loss": (data + penalty).item(), "logits": logits.numpy(), "scores": probabilities.numpy(), **found}


class PlainDescent:
    """Gradient descent, in a tenth of the time that ``torch.optim.SGD`` takes for a small network."""

    def __init__(self, tensors: Sequence[torch.Tensor], rate: float) -> None:
        self.tensors, self.rate = tensors, rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for tensor in self.tensors:
            tensor.grad = None

    def step(self) -> None:
        """Go against the gradients."""
        for tensor in self.tensors:
            if tensor.grad is None:
                raise ValueError("The loss doesn't depend on all of the parameters that are to be trained.")
            tensor.data.sub_(self.rate * tensor.grad)


def trained(
    params: Mapping[str, np.ndarray], X: Any, y: Any, batches: np.ndarray, rate: float, reg: float, activation: str,
    changes: Changes, leftover: float = 0.0,
) -> tuple[dict[str, np.ndarray], list[float]]:  # fmt: skip
    """Parameters after a step on each of the batches, and the losses before the steps.

    Stages, besides those of the loss: ``optimiser`` (tensors, rate), ``iterations`` (batches) -> those taken, ``rows``
    (batches, iteration, N) -> rows, ``labels`` (rows, iteration), ``clears`` (iteration) -> bool, ``trained`` (params)
    -> names. ``leftover`` is what each gradient holds at first.
    """
    leaves = tensors_of(params)
    optimiser = changes.get("optimiser", PlainDescent)
    descent = optimiser([leaves[name] for name in changes.get("trained", list)(leaves)], rate)
    clears, losses = changes.get("clears", lambda iteration: True), []
    batches = changes.get("iterations", lambda batches: batches)(batches)
    if leftover:
        for leaf in leaves.values():
            leaf.grad = torch.full_like(leaf, leftover)
    for iteration in range(len(batches)):
        rows = changes.get("rows", lambda batches, iteration, N: batches[iteration])(batches, iteration, len(X))
        labels = changes.get("labels", lambda rows, iteration: rows)(rows, iteration)
        data, penalty = loss_terms(leaves, X[rows], y[labels], reg, activation, changes)
        if clears(iteration):
            descent.zero_grad()
        changes.get("differentiated", lambda data, penalty: data + penalty)(data, penalty).backward()
        descent.step()
        losses.append((data + penalty).item())
    return {name: leaf.detach().numpy() for name, leaf in leaves.items()}, losses


# --- Mistakes in the network ------------------------------------------------------------


def _named(name: str, stage: str, change: Callable, sentence: str, common: str = "") -> Deviation:
    return Deviation(name, stage, change, sentence, common)


_NO_ACTIVATION = "there is no activation between the layers."


def _residual(in_last: bool) -> Callable:
    """Adds its inputs to what a layer gives where there are as many; ``in_last``: of the last one too."""

    def changed(values: torch.Tensor, inputs: torch.Tensor, is_last: bool) -> torch.Tensor:
        return values + inputs if values.shape == inputs.shape and (in_last or not is_last) else values

    return changed


_RESIDUAL = [
    _named(f"residual, {stage}, {in_last}", stage, _residual(in_last),
           "where a layer gives as many numbers as it takes, its inputs are added to what it gives (a residual"
           " connection): leave that out.")
    for stage in ("summed", "joined")
    for in_last in (False, True)
]  # fmt: skip
#: Other activations that students write themselves, and what they are called.
_WRITTEN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "GELU's approximation z * sigmoid(1.702 z)": lambda z: z * torch.sigmoid(1.702 * z),
    "z (1 + erf(z)) / 2, which lacks the root of 2 that GELU's erf(z / sqrt(2)) has": lambda z: (
        z * (1 + torch.erf(z)) / 2
    ),
    "GELU's approximation by tanh": lambda z: functional.gelu(z, approximate="tanh"),
    "a leaky ReLU with the slope 0.1": lambda z: functional.leaky_relu(z, 0.1),
    "a leaky ReLU with the slope 0.2": lambda z: functional.leaky_relu(z, 0.2),
    "the absolute value": torch.abs,
    "the error function": torch.erf,
    "the sine": torch.sin,
}


def network_deviations(asked: str) -> list[Deviation]:
    """Of ``build_mlp`` where the activation ``asked`` is asked for, and of a network of the student's own."""
    of_asked = {"activation last": f"{asked} last", "activation first": f"{asked} first"}
    found = [
        _named(f"activation {name}", "between", lambda values, number, name, function=function: function(values),
               f"the activation is {name}; {asked} is asked for.")
        for name, function in (ASKED | OTHERS).items()
        if name != asked
    ]  # fmt: skip
    found += [
        *(
            _named(f"activation {name}", "between", lambda values, number, _, function=function: function(values),
                   f"the activation is {name}; {asked} is asked for.")
            for name, function in _WRITTEN.items()
        ),
        *_RESIDUAL,
        _named("no activation", "follows", lambda number, layers: False, _NO_ACTIVATION, _NO_ACTIVATION),
        _named("activation once", "follows", lambda number, layers: number == 1,
               "there is an activation after the first layer only; it belongs between all of them."),
        _named("no activation at first", "follows", lambda number, layers: number > 1,
               "there is no activation after the first layer; it belongs between all of them.", _NO_ACTIVATION),
        _named("no activation at the end", "follows", lambda number, layers: number < layers - 1,
               "there is no activation after the last hidden layer; it belongs between all of them.", _NO_ACTIVATION),
        _named("activation at the end", "follows", lambda number, layers: number == layers - 1,
               "there is an activation after the last hidden layer only; it belongs between all of them."),
        _named("activation first, then relu", "between",
               lambda values, number, name: ASKED[name if number == 1 else "relu"](values),
               "the activation asked for comes after the first layer only; then it is the ReLU."),
        _named("activation last", "last", lambda logits, name: ASKED[name](logits),
               "there is an activation after the last layer; logits have none."),
        _named("relu last", "last", lambda logits, name: torch.relu(logits),
               "there is a ReLU after the last layer; logits have no activation."),
        _named("softmax last", "last", lambda logits, name: torch.softmax(logits, 1),
               "there is a softmax after the last layer; cross_entropy expects logits."),
        _named("softmax last, axis 0", "last", lambda logits, name: torch.softmax(logits, 0),
               "there is a softmax over the rows after the last layer; logits are asked."),
        _named("log-softmax last", "last", lambda logits, name: torch.log_softmax(logits, 1),
               "there is a log-softmax after the last layer; logits are asked."),
        _named("sigmoid last", "last", lambda logits, name: torch.sigmoid(logits),
               "there is a sigmoid after the last layer; logits have no activation."),
        _named("tanh last", "last", lambda logits, name: torch.tanh(logits),
               "there is a tanh after the last layer; logits have no activation."),
        _named("activation first", "first", lambda X, name: ASKED[name](X),
               "there is an activation before the first layer."),
        _named("relu first", "first", lambda X, name: torch.relu(X), "there is a ReLU before the first layer."),
    ]  # fmt: skip
    return [one for one in found if one.name not in of_asked.values()]


#: Of ``scores``.
SOFTMAX = [
    _named(name, "softmax", change, sentence)
    for name, change, sentence in (
        ("no softmax", lambda z: z, "the softmax isn't applied: these are the logits."),
        ("log-softmax", lambda z: torch.log_softmax(z, 1), "these are the logarithms of the probabilities."),
        ("softmax, axis 0", lambda z: torch.softmax(z, 0), "the softmax goes over the wrong axis: it is taken over the"
         " rows; each row's probabilities should add up to 1."),
        *(
            (f"softmax, axis 0, {name}", lambda z, of=of: of(z) / of(z).sum(0), "each exponential is divided by the sum"
             " of its column; it is the sum of its row that is asked.")
            for name, of in (
                ("shifted", lambda z: torch.exp(z - z.max())),
                ("shifted by rows", lambda z: torch.exp(z - z.max(1, keepdim=True).values)),
            )
        ),
        ("softmax over everything", lambda z: torch.softmax(z.flatten(), 0).reshape(z.shape),
         "each exponential is divided by the sum over all entries; each row has its own sum."),
        ("softmax twice", lambda z: torch.softmax(torch.softmax(z, 1), 1), "the softmax is applied twice."),
        ("sigmoid", torch.sigmoid, "this is the sigmoid of each logit; the softmax is asked."),
        ("exponentials", torch.exp, "these are the exponentials; they are to be divided by their sum over the row."),
        ("softmax of -z", lambda z: torch.softmax(-z, 1), "this is the softmax of -z: a sign is wrong."),
        ("softmin", lambda z: 1 - torch.softmax(z, 1), "this is 1 - softmax(z)."),
        ("normalised logits", lambda z: z / z.sum(1, keepdim=True), "the logits are divided by their sum; the"
         " exponentials are missing."),
        ("one-hot", lambda z: functional.one_hot(z.argmax(1), z.shape[1]).to(z.dtype), "these are decisions, a 1 for"
         " the most probable class; probabilities are asked."),
        ("relu before", lambda z: torch.softmax(torch.relu(z), 1), "a ReLU is applied to the logits."),
        ("power of 2", lambda z: torch.softmax(z * math.log(2), 1), "these are powers of 2, not of e."),
        ("exponentials, the largest 1", lambda z: torch.exp(z - z.max(1, keepdim=True).values),
         "the exponentials aren't divided by their sum over the row."),
        ("exponentials over 1 and their sum", lambda z: torch.exp(z) / (1 + torch.exp(z).sum(1, keepdim=True)),
         "the exponentials are divided by 1 + their sum; it is the sum alone."),
        *(
            (f"{name} scaled", lambda z, of=of: of(z) / of(z).sum(1, keepdim=True),
             f"these are {name} of the logits, divided by their sum over the row; the softmax is asked.")
            for name, of in (
                ("the sigmoids", torch.sigmoid), ("the ReLUs", torch.relu), ("the absolute values", torch.abs),
                ("the squares", torch.square), ("the softplus", functional.softplus),
                ("the differences to the smallest", lambda z: z - z.min(1, keepdim=True).values),
            )
        ),
        ("square root", lambda z: torch.softmax(z / z.shape[1] ** 0.5, 1), "the logits are divided by the root of"
         " their number first."),
    )
]  # fmt: skip


# --- Mistakes in the loss and its gradients -----------------------------------------------


def _onehot(z: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    return functional.one_hot(y, z.shape[1]).to(z.dtype)


_MISSING = "the regularisation is missing: add reg times the sum of the squared weights to the loss."
_NOT_DIFFERENTIATED = (
    "the gradients are those of the data's loss alone: the regularisation is to be part of what backward()"
    " differentiates, from the weights themselves, not from detached ones; or add 2 * reg * W to their gradients."
)
#: Of the loss, and so of its gradients and of what a training descends.
OBJECTIVE = [
    *(
        _named(name, "data_loss", change, sentence)
        for name, change, sentence in (
            ("sum over samples", partial(functional.cross_entropy, reduction="sum"),
             "the loss is summed over the samples; it is their mean."),
            ("mean over entries", lambda z, y: functional.cross_entropy(z, y) / z.shape[1],
             "the loss is divided by the number of classes too; it is the mean over the samples."),
            ("softmax before", lambda z, y: functional.cross_entropy(torch.softmax(z, 1), y),
             "the softmax is applied twice: cross_entropy takes logits and does it itself."),
            ("nll of logits", functional.nll_loss,
             "this is nll_loss of the logits: log sum exp(z) is to be added, as cross_entropy does."),
            ("nll of probabilities", lambda z, y: functional.nll_loss(torch.softmax(z, 1), y),
             "this is nll_loss of the probabilities: their logarithm is missing."),
            ("relu before", lambda z, y: functional.cross_entropy(torch.relu(z), y),
             "a ReLU is applied to the logits before the loss."),
            ("sigmoid before", lambda z, y: functional.cross_entropy(torch.sigmoid(z), y),
             "a sigmoid is applied to the logits before the loss."),
            ("label smoothing", partial(functional.cross_entropy, label_smoothing=0.1),
             "the labels are smoothed; the plain cross-entropy is asked."),
            ("binary", lambda z, y: functional.binary_cross_entropy_with_logits(z, _onehot(z, y)),
             "this is the binary cross-entropy of each class by itself."),
            ("squared error of probabilities", lambda z, y: functional.mse_loss(torch.softmax(z, 1), _onehot(z, y)),
             "this is a mean squared error; the cross-entropy is asked."),
            ("squared error of logits", lambda z, y: functional.mse_loss(z, _onehot(z, y)),
             "this is a mean squared error; the cross-entropy is asked."),
            ("hinge", functional.multi_margin_loss, "this is the hinge loss; the cross-entropy is asked."),
            ("no data loss", lambda z, y: 0 * z.sum(), "the cross-entropy is missing: this is the regularisation."),
            ("first sample", lambda z, y: functional.cross_entropy(z[:1], y[:1]),
             "this is the loss of the first sample; the mean over all is asked."),
            ("base 2", lambda z, y: functional.cross_entropy(z, y) / math.log(2),
             "these are logarithms to the base 2; the natural ones are asked."),
            ("negative", lambda z, y: -functional.cross_entropy(z, y), "the cross-entropy has the wrong sign."),
            ("N - 1", lambda z, y: functional.cross_entropy(z, y, reduction="sum") / max(len(z) - 1, 1),
             "the sum is divided by N - 1; the mean has N."),
        )
    ),
    *(
        _named(name, "penalised", change, sentence)
        for name, change, sentence in (
            ("biases too", lambda params: list(params.values()),
             "the biases are regularised too; only the weights are to be."),
            ("biases alone", lambda params: [params[name] for name in params if name.startswith("b")],
             "the biases are regularised and the weights aren't; it is the other way round."),
            ("W1 alone", lambda params: weights_of(params)[:1], "only W1 is regularised; all weights are to be."),
            ("last weights alone", lambda params: weights_of(params)[-1:],
             "only the last layer's weights are regularised; those of all layers are to be."),
            ("all but the last weights", lambda params: weights_of(params)[:-1],
             "the last layer's weights aren't regularised; those of all layers are to be."),
            ("two layers", lambda params: weights_of(params)[:2],
             "only the weights of the first two layers are regularised; those of all layers are to be."),
            ("first and last", lambda params: [weights_of(params)[0], weights_of(params)[-1]],
             "only the weights of the first and the last layer are regularised; those of all layers are to be."),
            ("W1 and the last biases", lambda params: [params["W1"], params["b2"]],
             "W1 and b2 are regularised; it is to be all weights and no bias."),
        )
    ),
    *(
        _named(name, "size", change, sentence)
        for name, change, sentence in (
            ("norm", lambda tensor: tensor.norm(), "the norms of the weights are added; their squares are to be."),
            ("absolute values", lambda tensor: tensor.abs().sum(),
             "the absolute values of the weights are added; their squares are to be."),
            ("spectral norm", lambda tensor: torch.linalg.matrix_norm(tensor, 2) ** 2 if tensor.ndim == 2
             else tensor.square().sum(),
             "this is the spectral norm, squared; the sum of the squares of all entries is asked."),
            ("mean of squares", lambda tensor: tensor.square().mean(),
             "the mean of the squared weights is taken; it is to be their sum."),
            ("sum squared", lambda tensor: tensor.sum() ** 2,
             "the sum of the weights is squared; each weight is to be squared."),
            ("sum", lambda tensor: tensor.sum(), "the weights aren't squared."),
            ("square of the sum of squares", lambda tensor: tensor.square().sum() ** 2,
             "the squared norm is squared once more."),
        )
    ),
    *(
        _named(name, "strength", change, sentence)
        for name, change, sentence in (
            ("half the regularisation", lambda reg: reg / 2,
             "the regularisation has half its strength: it has a factor 1/2, or is a weight_decay of reg (the gradient"
             " of reg * ||W||^2 is 2 * reg * W)."),
            ("twice the regularisation", lambda reg: 2 * reg,
             "the regularisation is added twice: it has a factor of 2."),
            ("four times the regularisation", lambda reg: 4 * reg, "the regularisation has a factor of 4."),
            ("a quarter of the regularisation", lambda reg: reg / 4, "the regularisation has a factor of 1/4."),
            ("regularisation subtracted", lambda reg: -reg, "the regularisation is subtracted; it is to be added."),
            ("reg squared", lambda reg: reg**2, "reg is squared; it is to be taken as it is."),
            ("root of reg", lambda reg: reg**0.5, "the root of reg is taken; reg itself is the factor."),
            ("reg is 1", lambda reg: 1.0, "reg isn't used: the regularisation has a fixed strength, 1."),
        )
    ),
    _named("regularisation averaged", "price", lambda penalty, samples: penalty / samples,
           "the regularisation is divided by the number of samples; it isn't part of the mean."),
    _named("no regularisation", "strength", lambda reg: 0.0, _MISSING, common=_NOT_DIFFERENTIATED),
    Deviation("regularisation of a fixed strength", "strength", lambda factor, reg: factor,
              "reg isn't used: the regularisation has a fixed strength, {factor}.", fitted=True),
    Deviation("regularisation with a factor", "strength", lambda factor, reg: factor * reg,
              "the regularisation has a factor of {factor}.", fitted=True),
]  # fmt: skip

_ONLY_DATA = _named(
    "regularisation not differentiated", "differentiated", lambda data, penalty: data, _NOT_DIFFERENTIATED,
    common=_NOT_DIFFERENTIATED,
)  # fmt: skip


def _each(change: Callable[[str, np.ndarray, Any], np.ndarray]) -> Callable:
    return lambda gradients, params: {name: change(name, value, params[name]) for name, value in gradients.items()}


def _biases_exchanged(gradients: dict, params: Any) -> dict:
    biases = [name for name in gradients if name.startswith("b")]
    return gradients | dict(zip(biases, [gradients[name] for name in reversed(biases)], strict=True))


def _shortened_to(limit: float) -> Callable:
    """As ``torch.nn.utils.clip_grad_norm_`` leaves the gradients."""

    def shortened(gradients: dict, params: Any) -> dict:
        norm = math.sqrt(sum(float(np.sum(np.square(gradient))) for gradient in gradients.values()))
        return {name: gradient * min(1.0, limit / (norm + 1e-6)) for name, gradient in gradients.items()}

    return shortened


#: Of the gradients alone.
GRADIENTS = [
    _ONLY_DATA,
    _named("not cleared", "clears", lambda iteration: False,
           "the gradients add to those of an earlier call: clear them before backward()."),
    *(
        _named(name, "gradients", change, sentence)
        for name, change, sentence in (
            ("transposed", _each(lambda name, gradient, array: gradient.T),
             "the gradients of the weights are the transpose of those asked for: they have PyTorch's shape (outputs,"
             " inputs); transpose them."),
            ("reshaped", _each(lambda name, gradient, array: gradient.T.reshape(gradient.shape)),
             "this is a reshape of PyTorch's gradient, which puts the numbers elsewhere; transpose it: .T."),
            ("biases exchanged", _biases_exchanged, "the gradients of the biases are exchanged."),
            ("parameters", _each(lambda name, gradient, array: np.asarray(array, dtype=np.float64)),
             "these are the parameters, not their gradients."),
            ("weights", _each(lambda name, gradient, array: np.asarray(array) if name.startswith("W") else gradient),
             "these are the weights, not their gradients."),
            ("biases", _each(lambda name, gradient, array: np.asarray(array) if name.startswith("b") else gradient),
             "these are the biases, not their gradients."),
            *(
                (f"clipped to the norm {limit}", _shortened_to(limit), f"the gradients are clipped to the norm"
                 f" {limit}; return them as they are.")
                for limit in (1.0, 5.0, 0.5, 0.1, 2.0, 10.0)
            ),
            ("negative", _each(lambda name, gradient, array: -gradient), "all gradients have the wrong sign."),
            ("zero", _each(lambda name, gradient, array: 0 * gradient),
             "every value is zero: were the gradients cleared before they were read, or afterwards, where the arrays"
             " share their memory? Copy them."),
        )
    ),
]  # fmt: skip


# --- Mistakes in a training ---------------------------------------------------------------


def _optimiser(kind: str, **options: Any) -> Callable:
    return lambda tensors, rate: getattr(torch.optim, kind)(tensors, lr=rate, **options)


def _clipped(clip: Callable) -> Callable:
    class Clipped(PlainDescent):
        def step(self) -> None:
            clip(self.tensors)
            super().step()

    return Clipped


def _decayed_too(weights: float, biases: float) -> Callable:
    """The penalty to which a weight_decay adds these multiples of half of it."""
    factors = {"W": math.sqrt(1 + weights / 2), "b": math.sqrt(biases / 2)}
    return lambda params: [factors[name[0]] * tensor for name, tensor in params.items()]


_REGULARISED_ALREADY = (
    "is set although the loss that is differentiated is regularised already, and the biases aren't to be."
)
#: Of a step, or of what it depends on.
STEPS = [
    _ONLY_DATA,
    _named("weight_decay too", "penalised", _decayed_too(1, 1), f"weight_decay=reg {_REGULARISED_ALREADY}"),
    _named("weight_decay of 2 reg too", "penalised", _decayed_too(2, 2), f"weight_decay=2*reg {_REGULARISED_ALREADY}"),
    *(
        _named(f"clipped to the norm {limit}", "optimiser",
               _clipped(lambda tensors, limit=limit: torch.nn.utils.clip_grad_norm_(tensors, limit)),
               f"the gradients are clipped to the norm {limit}; the step takes them as they are.")
        for limit in (1, 5, 0.5, 0.1, 2, 10)
    ),
    *(
        _named(f"clipped to {limit}", "optimiser",
               _clipped(lambda tensors, limit=limit: torch.nn.utils.clip_grad_value_(tensors, limit)),
               f"the gradients are clipped to the values from -{limit} to {limit}; the step takes them as they are.")
        for limit in (1, 0.5, 0.1)
    ),
    *(
        _named(f"momentum {momentum}", "optimiser", _optimiser("SGD", momentum=momentum),
               f"the optimiser has a momentum of {momentum}; plain gradient descent is asked.")
        for momentum in (0.9, 0.8, 0.95, 0.99, 0.5, 0.7, 0.6)
    ),
    *(
        _named(f"Nesterov {momentum}", "optimiser", _optimiser("SGD", momentum=momentum, nesterov=True),
               f"the optimiser has Nesterov's momentum ({momentum}); plain gradient descent is asked.")
        for momentum in (0.9, 0.8, 0.95, 0.99, 0.5)
    ),
    *(
        _named(kind, "optimiser", _optimiser(kind), f"the optimiser is {kind}; plain gradient descent, SGD, is asked.")
        for kind in ("Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "NAdam", "RAdam", "Rprop", "ASGD")
    ),
    _named("uphill", "optimiser", _optimiser("SGD", maximize=True),
           "this climbs the loss: the step goes against the gradient."),
    *(
        _named(f"learning rate {rate}", "optimiser", lambda tensors, _, rate=rate: torch.optim.SGD(tensors, lr=rate),
               f"learning_rate isn't used: the steps have the rate {rate}.")
        for rate in (0.1, 0.01, 0.001, 1e-4, 1.0, 0.05)
    ),
    *(
        _named(f"{factor} times the rate", "optimiser",
               lambda tensors, rate, factor=factor: torch.optim.SGD(tensors, lr=factor * rate),
               f"the step is {factor} times as long as learning_rate makes it.")
        for factor in (0.5, 2, 0.1, 10)
    ),
    _named("rate over batch size", "data_loss", lambda z, y: functional.cross_entropy(z, y) / len(z),
           "the gradients of the data loss are divided by the batch size once more: it is a mean already."),
    _named("never cleared", "clears", lambda iteration: False,
           "the gradients of all steps add up: clear them in each iteration."),
    _named("cleared after the first", "clears", lambda iteration: iteration > 0,
           "the first step adds to gradients that the model holds from before: clear them before backward()."),
    _named("cleared at times", "clears", lambda iteration: iteration == 0,
           "the gradients are cleared before the first step, but not before those after it, and add up: clear them in"
           " every iteration."),
    _named("cleared every second time", "clears", lambda iteration: iteration % 2 == 0,
           "the gradients are cleared before every second step only, and add up: clear them in every iteration."),
    _named("trains two layers", "trained", lambda leaves: list(leaves)[:4],
           "only the first two layers are trained: all of model.parameters() are to be."),
    *(
        _named(name, "rows", change, sentence)
        for name, change, sentence in (
            ("whole set", lambda batches, iteration, N: np.arange(N),
             "every step uses the whole set; batches tells which rows it is to use."),
            ("first batch", lambda batches, iteration, N: batches[0], "every step uses the same batch."),
            ("batches in reverse", lambda batches, iteration, N: batches[-1 - iteration],
             "the batches are taken in reverse order."),
            ("consecutive rows", lambda batches, iteration, N: (iteration * batches.shape[1]
             + np.arange(batches.shape[1])) % N, "the row numbers in batches aren't used: the steps take the rows of X"
             " one after the other."),
            ("first rows", lambda batches, iteration, N: np.arange(batches.shape[1]),
             "the row numbers in batches aren't used: every step takes the first rows of X."),
            ("first of each batch", lambda batches, iteration, N: batches[iteration][:1],
             "every step uses the first row of its batch alone."),
        )
    ),
    _named("last batch left out", "iterations", lambda batches: batches[:-1], "the last batch is left out."),
    _named("first batch left out", "iterations", lambda batches: batches[1:], "the first batch is left out."),
    _named("each batch twice", "iterations", lambda batches: np.repeat(batches, 2, axis=0),
           "two steps are taken on each batch; it is to be one."),
    _named("first labels", "labels", lambda rows, iteration: np.arange(len(rows)),
           "rows and labels of a batch don't belong together: the labels are the first ones of y."),
]  # fmt: skip


# --- Mistakes in a schedule ---------------------------------------------------------------

#: The learning rate's factor at iteration t, where an epoch has E iterations: t, E, rho, N / batch size -> factor.
Rate = Callable[[int, int, float, float], float]


def right_rate(t: int, E: int, rho: float, exact: float) -> float:
    """What is asked for: ``rho ** (t // E)``."""
    return rho ** (t // E)


_SCHEDULES: Sequence[tuple[str, Rate, str]] = (
    ("never decays", lambda t, E, rho, exact: 1.0,
     "the learning rate doesn't decay in the first three epochs, or not by learning_rate_decay; it should after every"
     " one, whatever the losses and accuracies are. (Is E a whole number? A scheduler counts the calls of its own"
     " step().)"),
    ("every iteration", lambda t, E, rho, exact: rho**t,
     "the learning rate decays after every iteration; it should after every epoch."),
    ("epoch rounded up", lambda t, E, rho, exact: rho ** (t // math.ceil(exact)),
     "an epoch has len(X) // batch_size iterations, rounded down."),
    ("one iteration too early", lambda t, E, rho, exact: rho ** ((t + 1) // E),
     "the learning rate decays one iteration too early."),
    ("one iteration too late", lambda t, E, rho, exact: rho ** (max(t - 1, 0) // E),
     "the learning rate decays one iteration too late."),
    ("before the first epoch", lambda t, E, rho, exact: rho ** (t // E + 1),
     "the learning rate has decayed before the first epoch already."),
    ("after the first iteration", lambda t, E, rho, exact: rho ** (0 if t == 0 else 1 + (t - 1) // E),
     "the learning rate decays after the first iteration of each epoch (t % E == 0 holds at t = 0 too); it should"
     " after the last one."),
    ("at the first iteration", lambda t, E, rho, exact: rho ** (1 + t // E),
     "the learning rate has decayed before the first epoch already."),
    ("once", lambda t, E, rho, exact: rho ** min(t // E, 1),
     "after the second epoch, the learning rate isn't multiplied by its decay again; it should after every one."),
    ("continuously", lambda t, E, rho, exact: rho ** (t / E),
     "the learning rate decays a little in every iteration, as rho ** (t / E); the exponent is to be rounded down."),
    ("continuously, exact epochs", lambda t, E, rho, exact: rho ** (t / exact),
     "the learning rate decays a little in every iteration; the exponent is to be rounded down."),
    ("compounded", lambda t, E, rho, exact: rho ** ((t // E) * (t // E + 1) // 2),
     "the decay is compounded: the rate that has decayed is multiplied by rho ** epoch; rho is enough."),
    ("inverse", lambda t, E, rho, exact: rho ** -(t // E), "the learning rate is divided by its decay."),
    ("less its decay", lambda t, E, rho, exact: (1 - rho) ** (t // E),
     "the learning rate is multiplied by 1 - learning_rate_decay; it should be by learning_rate_decay."),
    ("by time", lambda t, E, rho, exact: 1 / (1 + rho * (t // E)),
     "the learning rate is divided by 1 + decay * epoch; it should be multiplied by decay ** epoch."),
    ("exponential", lambda t, E, rho, exact: math.exp(-rho * (t // E)),
     "the learning rate is multiplied by exp(-decay * epoch); it should be by decay ** epoch."),
    ("decay twice", lambda t, E, rho, exact: rho ** (2 * (t // E)), "the learning rate decays twice after each epoch."),
    ("an epoch late", lambda t, E, rho, exact: rho ** max(t // E - 1, 0),
     "the learning rate is the same in the first two epochs, and decays after the second: it should after every epoch,"
     " whatever the accuracies are."),
    *(
        (f"every {count} iterations", lambda t, E, rho, exact, count=count: rho ** (t // count),
         f"the learning rate decays after every {count} iterations; an epoch has len(X) // batch size of them.")
        for count in (2, 3, 6, 7)
    ),
    ("every second epoch", lambda t, E, rho, exact: rho ** (t // (2 * E)),
     "the learning rate decays after every second epoch; it should after every one."),
)  # fmt: skip
SCHEDULE = [_named(name, "rate", change, sentence) for name, change, sentence in _SCHEDULES]


# --- Mistakes in an initialisation --------------------------------------------------------

#: Standard deviation of a layer's weights: inputs, outputs, scale -> number.
_DEVIATIONS: Sequence[tuple[str, Callable[[int, int, float | None], float], str]] = (
    ("PyTorch's own", lambda D, K, scale: 1 / math.sqrt(3 * D), "these are the weights that PyTorch draws by itself."),
    ("outputs", lambda D, K, scale: math.sqrt(2 / K) if scale is None else scale,
     "the number of outputs is used in place of the number of inputs."),
    ("Xavier", lambda D, K, scale: math.sqrt(2 / (D + K)) if scale is None else scale,
     "this is sqrt(2 / (inputs + outputs)), Xavier initialisation; sqrt(2 / inputs) is asked."),
    ("no factor 2", lambda D, K, scale: D**-0.5 if scale is None else scale,
     "this is sqrt(1 / inputs); the ReLU drops half of the numbers, so it is sqrt(2 / inputs)."),
    ("variance", lambda D, K, scale: 2 / D if scale is None else scale,
     "this is the variance 2 / inputs; the standard deviation is its root."),
    ("root of the inputs alone", lambda D, K, scale: 2 / math.sqrt(D) if scale is None else scale,
     "this is 2 / sqrt(inputs); the standard deviation is sqrt(2 / inputs)."),
    ("variances", lambda D, K, scale: 2 / D if scale is None else scale**2,
     "this is the variance; the standard deviation is its root."),
    ("1 / inputs", lambda D, K, scale: 1 / D if scale is None else scale,
     "this is 1 / inputs; the standard deviation is sqrt(2 / inputs)."),
    ("leaky", lambda D, K, scale: math.sqrt(2 / 6 / D) if scale is None else scale,
     "this is kaiming_normal_ or kaiming_uniform_ with a=sqrt(5), for a leaky ReLU; sqrt(2 / inputs) is asked."),
    ("root of the standard deviation", lambda D, K, scale: (2 / D) ** 0.25 if scale is None else scale,
     "the root is taken twice: the standard deviation is sqrt(2 / inputs)."),
    ("scale as variance", lambda D, K, scale: math.sqrt(2 / D) if scale is None else math.sqrt(scale),
     "scale is taken for the variance; it is the standard deviation."),
    ("scale not used", lambda D, K, scale: math.sqrt(2 / D), "scale isn't used: this is sqrt(2 / inputs)."),
    ("scale as factor", lambda D, K, scale: math.sqrt(2 / D) * (1 if scale is None else scale),
     "scale is multiplied by sqrt(2 / inputs); it is the standard deviation itself."),
    ("scale squared", lambda D, K, scale: math.sqrt(2 / D) if scale is None else scale**2,
     "scale is squared; it is the standard deviation itself."),
    ("scale over root of inputs", lambda D, K, scale: math.sqrt(2 / D) if scale is None else scale / math.sqrt(D),
     "scale is divided by the root of the number of inputs; it is the standard deviation itself."),
    ("1e-4 for None", lambda D, K, scale: 1e-4 if scale is None else scale,
     "without a scale, the standard deviation is 1e-4; sqrt(2 / inputs) is asked."),
    ("0.01 for None", lambda D, K, scale: 0.01 if scale is None else scale,
     "without a scale, the standard deviation is 0.01; sqrt(2 / inputs) is asked."),
    ("1 for None", lambda D, K, scale: 1.0 if scale is None else scale,
     "without a scale, the standard deviation is 1; sqrt(2 / inputs) is asked."),
    ("zero", lambda D, K, scale: 0.0, "all weights are zero."),
    ("1", lambda D, K, scale: 1.0, "the numbers are of standard deviation 1: they aren't multiplied by it."),
)  # fmt: skip


def right_deviation(inputs: int, outputs: int, scale: float | None) -> float:
    """The standard deviation that is asked for."""
    return math.sqrt(2 / inputs) if scale is None else scale


INITIAL = [_named(name, "deviation", change, sentence) for name, change, sentence in _DEVIATIONS] + [
    _named(name, "spread", change, sentence)
    for name, change, sentence in (
        ("between -s and s", lambda s: (s / math.sqrt(3), 0.0),
         "a uniform distribution between plus and minus the standard deviation has a smaller one."),
        ("between 0 and s", lambda s: (s / math.sqrt(12), s / 2),
         "a uniform distribution from 0 to the standard deviation has a smaller one, and not the mean 0."),
        ("absolute values", lambda s: (s * math.sqrt(1 - 2 / math.pi), s * math.sqrt(2 / math.pi)),
         "these are absolute values: half of the weights should be negative."),
        ("mean s", lambda s: (s, s), "the mean is the standard deviation; it should be 0."),
    )
] + [
    _named(f"{which} layer's", "layer", change,
           f"{others} have the standard deviation of the {which} one: compute it for each layer, from its own inputs.")
    for which, others, change in (
        ("first", "later layers", lambda shapes, name: next(iter(shapes.values()))),
        ("last", "earlier layers", lambda shapes, name: list(shapes.values())[-1]),
    )
]  # fmt: skip


# --- Mistakes in an accuracy ------------------------------------------------------------


@dataclass(frozen=True)
class Hits:
    """Which rows a model assigns rightly at the end of an epoch.

    Attributes
    ----------
    train, val : (N,) bool array
        Of the training and of the validation data.
    before : (E, N) bool array
        Of the training data, before each of the epoch's steps.
    batches : (E, batch size) int array
        The rows of those steps.
    earlier : dict
        What is asked, but before the last of those steps.
    """

    train: np.ndarray
    val: np.ndarray
    before: np.ndarray
    batches: np.ndarray
    earlier: Mapping[str, float]


def right_accuracy(key: str, hits: Hits) -> float:
    """What is asked for."""
    return float(np.mean(hits.train[:1000] if key == "train_accuracy" else hits.val))


def _of_training(share: Callable[[Hits], Any]) -> Callable:
    """The training accuracy is another one, and the validation accuracy right."""
    return lambda key, hits: share(hits) if key == "train_accuracy" else right_accuracy(key, hits)


def _of_validation(share: Callable[[Hits], Any]) -> Callable:
    return lambda key, hits: share(hits) if key == "val_accuracy" else right_accuracy(key, hits)


_OF_BATCH = "the training accuracy is that on the epoch's last batch; it is asked on X[:1000], after the step."
ACCURACY = [
    _named(name, "accuracy", change, sentence)
    for name, change, sentence in (
        ("all of X", _of_training(lambda hits: np.mean(hits.train)),
         "the training accuracy is that on all of X; it is asked on X[:1000]."),
        ("first 100", _of_training(lambda hits: np.mean(hits.train[:100])),
         "the training accuracy is that on X[:100]; it is asked on X[:1000]."),
        ("last 1,000", _of_training(lambda hits: np.mean(hits.train[-1000:])),
         "the training accuracy is that on the last 1,000 rows; it is asked on X[:1000]."),
        ("last batch", _of_training(lambda hits: np.mean(hits.train[hits.batches[-1]])), _OF_BATCH),
        ("last batch, before its step", _of_training(lambda hits: np.mean(hits.before[-1][hits.batches[-1]])),
         _OF_BATCH),
        ("before the last step", lambda key, hits: hits.earlier[key],
         "the accuracies are those before the epoch's last step; they are asked after it."),
        ("batches of the epoch",
         _of_training(lambda hits: np.mean([row[batch] for row, batch in zip(hits.before, hits.batches, strict=True)])),
         "the training accuracy is that on the epoch's batches, each before its step; it is asked on X[:1000], at the"
         " end of the epoch."),
        ("training for validation", _of_validation(lambda hits: np.mean(hits.train[:1000])),
         "the validation accuracy is measured on the training data."),
        ("all training rows for validation", _of_validation(lambda hits: np.mean(hits.train)),
         "the validation accuracy is measured on the training data."),
        ("batch for validation", _of_validation(lambda hits: np.mean(hits.train[hits.batches[-1]])),
         "the validation accuracy is that on a batch of the training data."),
        ("validation for training", _of_training(lambda hits: np.mean(hits.val)),
         "the training accuracy is measured on the validation data."),
        ("exchanged", lambda key, hits: np.mean(hits.val if key == "train_accuracy" else hits.train[:1000]),
         "training and validation accuracy are exchanged."),
        ("per cent", lambda key, hits: 100 * right_accuracy(key, hits),
         "the accuracies are in per cent; they are asked as numbers from 0 to 1."),
        ("errors", lambda key, hits: 1 - right_accuracy(key, hits),
         "these are the shares of wrong answers; those of right ones are asked."),
        ("counts", lambda key, hits: np.sum(hits.train[:1000] if key == "train_accuracy" else hits.val),
         "these are numbers of right answers; they are to be divided by the number of rows."),
    )
]  # fmt: skip
