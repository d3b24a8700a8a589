"""The checks of notebook 5: what passes, and what is told about mistakes."""

from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from course_utils import oracle
from course_utils.checks.pytorch import (
    check_build_mlp,
    check_params_to_torch,
    check_scores,
    check_torch_gradients,
    check_torch_loss,
)
from course_utils.checks.pytorch_initialise import check_initialise
from course_utils.checks.pytorch_models import as_params
from course_utils.checks.pytorch_schedule import check_train_schedule
from course_utils.checks.pytorch_steps import check_train_steps
from course_utils.comparison import CheckFailed
from course_utils.handover import definitions
from course_utils.helpers import with_helpers
from tests.conftest import SOURCE

pytestmark = pytest.mark.slow

NOTEBOOK = SOURCE / "5_pytorch_comparison.ipynb"
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}


@pytest.fixture(scope="module")
def solution():
    """The functions of the instructor's notebook."""
    return definitions(NOTEBOOK)


@pytest.fixture
def inspect(solution):
    return solution["state_of"], solution["logits_of"]


def layers_of(model):
    return [module for module in model.modules() if isinstance(module, nn.Linear)]


def mlp(sizes, activation, *, between=None, last=None, layer=nn.Linear):
    """A right build_mlp, or one with the named mistake."""
    modules = []
    for fan_in, fan_out in pairwise(sizes):
        modules += [layer(fan_in, fan_out), (between or ACTIVATIONS[activation])()]
    return nn.Sequential(*modules[:-1], *([last()] if last else []))


@pytest.fixture
def models(solution):
    """What the checks of 5.c and 5.d need besides the function that they check."""
    return tuple(solution[name] for name in ("model_of", "state_of", "logits_of"))


def of_student(models, convert, build):
    """The same with these functions of a student's."""
    model_of, *inspect = models
    return with_helpers(model_of, {"params_to_torch": convert, "build_mlp": build}), *inspect


def expect_copies(solution, models, convert, build=mlp, **on):
    """Run the check of params_to_torch on a student's functions."""
    after = with_helpers(solution["held_after_change"], {"params_to_torch": convert})
    check_params_to_torch(convert, after, solution["right_build_mlp"], *of_student(models, convert, build), **on)


class Written(nn.Module):
    """A class of the student's own, in double precision."""

    def __init__(self, sizes, activation):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair, dtype=torch.float64) for pair in pairwise(sizes))
        self.activation = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu}[activation]

    def forward(self, X):
        for layer in self.layers[:-1]:
            X = self.activation(layer(X))
        return self.layers[-1](X)


@pytest.mark.parametrize("build", [mlp, Written])
def test_ways_to_build_a_model(build, inspect):
    for seed in (1, 5101):
        check_build_mlp(build, *inspect, seed=seed)


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda sizes, name: mlp(sizes, name, last=ACTIVATIONS[name]), "activation after the last layer"),
        (lambda sizes, name: mlp(sizes, name, last=lambda: nn.Softmax(dim=1)), "softmax after the last layer"),
        (lambda sizes, name: mlp(sizes, name, between=nn.Identity), "no activation between the layers"),
        (lambda sizes, name: mlp(sizes, "relu"), "the activation is relu; tanh is asked for"),
        (lambda sizes, name: mlp(sizes, name, between=nn.Sigmoid), "the activation is sigmoid"),
        (lambda sizes, name: mlp((sizes[0], sizes[1], sizes[-1]), name), "the model has 2 layers, expected 3"),
        (lambda sizes, name: mlp((sizes[0], 8, *sizes[2:]), name), "layer 1 goes from 5 to 8 numbers, expected (5, 7)"),
        (
            lambda sizes, name: mlp(sizes, name, layer=lambda *pair: nn.Linear(*pair, bias=False)),
            "should have weights and biases",
        ),
        (lambda sizes, name: None, "it is None"),
    ],
)
def test_wrong_models(build, sentence, inspect):
    with pytest.raises(CheckFailed, match=re.escape(sentence)):
        check_build_mlp(build, *inspect)


def copied(params, *, dtype=None, transpose=True, biases=True, build=mlp):
    """A right params_to_torch, or one with the named mistake."""
    model = build((*params["W1"].shape, params["b2"].size), "relu").to(dtype or torch.from_numpy(params["W1"]).dtype)
    with torch.no_grad():
        for number, layer in enumerate(layers_of(model), start=1):
            weight = torch.from_numpy(params[f"W{number}"])
            layer.weight.copy_(weight.T if transpose else weight.reshape(layer.weight.shape))
            if biases:
                layer.bias.copy_(torch.from_numpy(params[f"b{number}"]))
    return model


def test_copies_of_params(solution, models):
    expect_copies(solution, models, copied)
    expect_copies(solution, models, lambda params: copied(params, build=Written))
    expect_copies(solution, models, copied, on=oracle.random_problem(7, dtype=np.float32))


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda params: copied(params, dtype=torch.float32), "in the model it is float32, expected float64"),
        (lambda params: copied(params, transpose=False), "W1 in the model"),
        (lambda params: copied(params, biases=False), "b1 in the model"),
        (lambda params: params, "it raised"),
    ],
)
def test_wrong_copies(function, sentence, solution, models):
    with pytest.raises(CheckFailed, match=sentence):
        expect_copies(solution, models, function)


def test_a_copy_shares_no_memory_with_the_arrays(solution, models):
    def shared(params):
        model = copied(params)
        model[0].bias.data = torch.from_numpy(params["b1"])
        return model

    with pytest.raises(CheckFailed, match="should hold copies") as failure:
        expect_copies(solution, models, shared)
    assert "torch.from_numpy" in failure.value.cause


def test_a_layer_that_is_used_twice_is_missing(inspect):
    def build(sizes, name):
        layers = {pair: nn.Linear(*pair) for pair in pairwise(sizes)}
        modules = [module for pair in pairwise(sizes) for module in (layers[pair], ACTIVATIONS[name]())]
        return nn.Sequential(*modules[:-1])

    with pytest.raises(CheckFailed, match="the model has 2 layers, expected 4") as failure:
        check_build_mlp(build, *inspect)
    assert "one and the same object" in failure.value.cause


class Dropping(Written):
    """Half of what a layer gives is dropped at random."""

    def forward(self, X):
        return super().forward(nn.functional.dropout(X, 0.5))


def normalised(sizes, name):
    """A network with a batch normalisation after each layer but the last."""
    modules = [(nn.Linear(*pair), nn.BatchNorm1d(pair[1]), ACTIVATIONS[name]()) for pair in pairwise(sizes)]
    return nn.Sequential(*[module for three in modules for module in three][:-2])


def test_a_forward_that_drops_out_costs_its_own_question(solution, models, inspect):
    with pytest.raises(CheckFailed, match="the logits") as failure:
        check_build_mlp(Dropping, *inspect)
    assert "something random" in failure.value.cause

    expect_what_uses_a_network_to_pass(Dropping, solution, models)


def expect_what_uses_a_network_to_pass(build, solution, models):
    """Parameters, scores, loss and gradients pass with the student's own network; gives what was given to them."""

    def convert(params):
        return copied(params, build=build)

    given = of_student(models, convert, build)
    expect_copies(solution, models, convert, build)
    check_scores(solution["scores"], *given)
    check_torch_loss(gradients_by_autograd, *given)
    check_torch_gradients(gradients_by_autograd, *given)
    return given


def test_a_copy_may_index_its_own_batch_normalisation(solution, models, inspect):
    with pytest.raises(CheckFailed, match=r"it has 0\.weight"):
        check_build_mlp(normalised, *inspect)

    def convert(params):
        model = normalised((*params["W1"].shape, len(params["b2"])), "relu").double()
        with torch.no_grad():
            for index, number in ((0, 1), (3, 2)):
                model[index].weight.copy_(torch.from_numpy(params[f"W{number}"].T))
                model[index].bias.copy_(torch.from_numpy(params[f"b{number}"]))
        return model

    given = of_student(models, convert, normalised)
    check_scores(solution["scores"], *given)
    check_torch_loss(gradients_by_autograd, *given)


def test_a_copy_must_be_its_own(solution, models):
    kept = {}

    def one_model_for_all(params):
        sizes = (*params["W1"].shape, params["b2"].size)
        model = kept.setdefault(sizes, copied(params))
        model.load_state_dict(copied(params).state_dict())
        return model

    with pytest.raises(CheckFailed, match="changed the model of the first one"):
        expect_copies(solution, models, one_model_for_all)


def test_scores(solution, models):
    check_scores(solution["scores"], *models)
    check_scores(solution["scores"], *models, on=oracle.random_problem(8))
    with pytest.raises(CheckFailed, match="the softmax isn't applied"):
        check_scores(solution["logits_of"], *models)


def gradients_by_autograd(model, X, y, reg, *, clear=True, transpose=True, biases=False):
    """A right loss_and_gradients, or one with the named mistake."""
    if clear:
        model.zero_grad()
    X = torch.tensor(X, dtype=next(model.parameters()).dtype)
    value = nn.functional.cross_entropy(model(X), torch.tensor(y))
    value = value + reg * sum(p.square().sum() for p in model.parameters() if biases or p.ndim == 2)
    value.backward()
    gradients = {}
    for number, layer in enumerate(layers_of(model), start=1):
        weight = layer.weight.grad.numpy().copy()
        gradients |= {f"W{number}": weight.T if transpose else weight, f"b{number}": layer.bias.grad.numpy().copy()}
    return value.item(), gradients


def test_loss_and_gradients(models):
    for check in (check_torch_loss, check_torch_gradients):
        check(gradients_by_autograd, *models)
        check(gradients_by_autograd, *models, on=oracle.random_problem(9))


def with_mistake(**mistake):
    return lambda model, X, y, reg: gradients_by_autograd(model, X, y, reg, **mistake)


@pytest.mark.parametrize(
    ("check", "function", "sentence"),
    [
        (check_torch_loss, with_mistake(biases=True), "the biases are regularised too"),
        (check_torch_loss, lambda model, X, y, reg: gradients_by_autograd(model, X, y, 0.0), "regularisation"),
        (check_torch_loss, lambda model, X, y, reg: 1.0, "return loss, gradients"),
        (check_torch_gradients, with_mistake(clear=False), "add to those of an earlier call: clear them"),
        (check_torch_gradients, with_mistake(transpose=False), "the transpose of those asked for"),
        (
            check_torch_gradients,
            lambda *given: (0.0, with_mistake(biases=True)(*given)[1]),
            "biases are regularised too",
        ),
    ],
)
def test_wrong_losses_and_gradients(check, function, sentence, models):
    with pytest.raises(CheckFailed, match=sentence):
        check(function, *models)


def test_the_gradients_of_a_wrong_loss_are_right_for_it(models):
    """A mistake in the loss costs its own question; gradients of another loss, or of a constant one, cost theirs."""
    check_torch_gradients(with_mistake(biases=True), *models)
    check_torch_gradients(lambda model, X, y, reg: gradients_by_autograd(model, X, y, reg / 2), *models)

    def constant(model, X, y, reg):
        return 1.0, {name: 0 * gradient for name, gradient in gradients_by_autograd(model, X, y, reg)[1].items()}

    def of_another(model, X, y, reg):
        return gradients_by_autograd(model, X, y, reg / 2)[0], gradients_by_autograd(model, X, y, 2 * reg)[1]

    for wrong in (constant, of_another):
        with pytest.raises(CheckFailed, match="values are wrong"):
            check_torch_gradients(wrong, *models)


def test_a_wrong_copy_costs_its_own_question(models):
    def broken(*arguments):
        raise RuntimeError("shapes don't match")

    for convert, build in (
        (broken, mlp), (lambda params: copied(params, biases=False), mlp), (lambda params: None, mlp), (broken, broken),
    ):  # fmt: skip
        given = of_student(models, convert, build)
        check_torch_loss(gradients_by_autograd, *given)
        check_torch_gradients(gradients_by_autograd, *given)
        check_train_steps(training(), gradients_by_autograd, *given)
        check_train_schedule(training(), gradients_by_autograd, *given)


def training(
    *, direction=1.0, clear=True, reg_factor=1.0, biases=False, decay_every=None, decay=True, reset=False, epochs=True,
    rows=lambda batch, X: batch, rate_of=lambda rate: rate,
):  # fmt: skip
    """A right train_torch, or one with the named mistake."""

    def train(model, X, y, X_val, y_val, *, batches, learning_rate, learning_rate_decay, reg):
        history = {"loss": [], "train_accuracy": [], "val_accuracy": []}
        before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        epoch = max(len(X) // batches.shape[1], 1)
        total, learning_rate = None, rate_of(learning_rate)
        for iteration, batch in enumerate(batches, start=1):
            chosen = rows(batch, X)
            value, gradients = gradients_by_autograd(model, X[chosen], y[chosen], reg * reg_factor, biases=biases)
            if not clear and total is not None:
                gradients = {name: total[name] + gradients[name] for name in gradients}
            total = gradients
            with torch.no_grad():
                for number, layer in enumerate(layers_of(model), start=1):
                    layer.weight -= direction * learning_rate * torch.from_numpy(gradients[f"W{number}"].T.copy())
                    layer.bias -= direction * learning_rate * torch.from_numpy(gradients[f"b{number}"])
            history["loss"].append(value)
            if decay and iteration % (decay_every or epoch) == 0:
                learning_rate *= learning_rate_decay
            if epochs and iteration % epoch == 0:
                for key, data, labels in (("train_accuracy", X[:1000], y[:1000]), ("val_accuracy", X_val, y_val)):
                    logits = model(torch.tensor(data, dtype=next(model.parameters()).dtype))
                    history[key].append(float(np.mean(logits.argmax(dim=1).numpy() == labels)))
        if reset:
            model.load_state_dict(before)
        return history

    return train


def test_training(solution, models):
    for train in (solution["train_torch"], training()):
        for check in (check_train_steps, check_train_schedule):
            check(train, gradients_by_autograd, *models)
            check(train, gradients_by_autograd, *models, on=oracle.random_problem(10, samples=17))


LAST = {"nothing": None, "softmax": lambda: nn.Softmax(dim=1), "log-softmax": lambda: nn.LogSoftmax(dim=1)}


@pytest.mark.parametrize("last", LAST.values(), ids=LAST)
@pytest.mark.parametrize("between", [nn.ReLU, nn.Identity, nn.Tanh, nn.GELU, nn.Sigmoid])
def test_a_wrong_network_costs_its_own_question(between, last, solution, models):
    def build(sizes, activation):
        return mlp(sizes, activation, between=between, last=last)

    given = expect_what_uses_a_network_to_pass(build, solution, models)
    check_train_steps(training(), gradients_by_autograd, *given)
    check_train_schedule(training(), gradients_by_autograd, *given)


@pytest.mark.parametrize("last", [nn.ReLU, lambda: nn.Softmax(dim=1)])
def test_a_wrong_network_of_params_to_torch_is_no_mistake_of_build_mlp(last, solution, models):
    def convert(params):
        return copied(params, build=lambda sizes, activation: mlp(sizes, activation, last=last))

    with pytest.raises(CheckFailed, match="after the last layer"):
        expect_copies(solution, models, convert)


@pytest.mark.parametrize(
    ("check", "train", "sentence"),
    [
        (check_train_steps, training(direction=-1.0), "this climbs the loss"),
        (check_train_steps, training(clear=False), "not before those after it, and add up"),
        (check_train_steps, training(reg_factor=0.0), "the gradients are those of the data's loss alone"),
        (check_train_steps, training(reg_factor=0.5), "the regularisation has half its strength"),
        (check_train_steps, training(biases=True), "the biases are regularised too"),
        (check_train_steps, training(rows=lambda batch, X: np.arange(len(X))), "every step uses the whole set"),
        (check_train_steps, training(reset=True), "no step of an optimiser has changed this model"),
        (check_train_schedule, training(decay=False), "the learning rate doesn't decay in the first"),
        (check_train_schedule, training(decay_every=1), "decays after every iteration"),
        (check_train_schedule, training(decay_every=5), "rounded down"),
        (check_train_schedule, training(epochs=False), r"the shape is \(0,\), expected \(2,\)"),
        (check_train_schedule, lambda *arguments, **settings: None, "it returned None"),
    ],
)
def test_wrong_trainings(check, train, sentence, models):
    with pytest.raises(CheckFailed, match=sentence):
        check(train, gradients_by_autograd, *models)


@pytest.mark.parametrize("train", [training(rate_of=lambda rate: 0.1), training(rate_of=np.square)])
def test_a_wrong_rate_costs_the_schedule_alone(train, models):
    check_train_steps(train, gradients_by_autograd, *models)
    with pytest.raises(CheckFailed, match="the learning rate"):
        check_train_schedule(train, gradients_by_autograd, *models)


@pytest.mark.parametrize("factor", [0, 2])
def test_a_step_of_another_length_costs_the_steps_alone(factor, models):
    train = training(rate_of=lambda rate: factor * rate)
    check_train_schedule(train, gradients_by_autograd, *models)
    with pytest.raises(CheckFailed, match="values are wrong"):
        check_train_steps(train, gradients_by_autograd, *models)


def drawing(*, deviation=lambda inputs, outputs: np.sqrt(2 / inputs), biases=0.0, seeded=True):
    """A right initialise, or one with the named mistake."""

    def initialise(model, scale, rng):
        generator = torch.Generator().manual_seed(rng) if seeded else None
        for layer in layers_of(model):
            std = deviation(layer.in_features, layer.out_features) if scale is None else scale
            nn.init.normal_(layer.weight, std=float(std), generator=generator)
            nn.init.constant_(layer.bias, biases)

    return initialise


def test_initialise(solution):
    model_of, state_of = solution["model_of"], solution["state_of"]
    for initialise in (solution["initialise"], drawing()):
        for seed in (1, 5501, 77):
            check_initialise(initialise, model_of, state_of, seed)


@pytest.mark.parametrize(
    ("initialise", "sentence"),
    [
        (drawing(biases=0.1), "biases aren't zero"),
        (drawing(seeded=False), "the same seed gave two different draws"),
        (drawing(deviation=lambda inputs, outputs: np.sqrt(2 / outputs)), "the number of outputs is used"),
        (drawing(deviation=lambda inputs, outputs: np.sqrt(1 / inputs)), r"this is sqrt\(1 / inputs\)"),
        (drawing(deviation=lambda inputs, outputs: 2 / inputs), "this is the variance"),
        (lambda model, scale, rng: None, "the weights are as they were"),
    ],
)
def test_wrong_initialisations(initialise, sentence, solution):
    with pytest.raises(CheckFailed, match=sentence):
        check_initialise(initialise, solution["model_of"], solution["state_of"])


def test_state_is_read_in_row_convention():
    state = {"0.weight": np.zeros((7, 5)), "0.bias": np.ones(7), "2.weight": np.zeros((3, 7)), "2.bias": np.ones(3)}
    assert {name: array.shape for name, array in as_params(state).items()} == {
        "W1": (5, 7), "b1": (7,), "W2": (7, 3), "b2": (3,),
    }  # fmt: skip
    with pytest.raises(CheckFailed, match="weights and biases, in order, that can be trained; it has nothing"):
        as_params({})
