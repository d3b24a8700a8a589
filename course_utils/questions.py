"""The questions of the five notebooks: what each asks for, and upon what it builds.

The checks, the hand-over, the bank of answers and the README's table of points read it here.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes
    ----------
    test : str
        ``grade_id`` of the cell that gives its points.
    notebook : str
        Name without ``.ipynb``.
    title : str
    points : int
    asks : dict
        Name of each function that the student writes for it -> the function's first line, without def.
    helpers : tuple of str
        The student's functions of the same notebook that these may call, directly or not.
    check : str
        ``module:function`` in :mod:`course_utils.checks`; empty where a person or a handed-in file is judged.
    """

    test: str
    notebook: str
    title: str
    points: int
    asks: dict[str, str] = field(default_factory=dict)
    helpers: tuple[str, ...] = ()
    check: str = ""


_1, _2, _3 = "1_forward_check", "2_backprop_derivation", "3_gradient_check"
_4, _5 = "4_cifar10_tuning", "5_pytorch_comparison"
_STEPS = ("grad_z3", "grad_W2", "grad_b2", "grad_a2", "grad_z2", "grad_W1", "grad_b1")

QUESTIONS = (
    Question("test-relu", _1, "ReLU", 1, {"relu": "relu(z)"}, (), "forward:check_relu"),
    Question("test-softmax", _1, "Softmax", 1, {"softmax": "softmax(z)"}, (), "forward:check_softmax"),
    Question(
        "test-forward", _1, "Forward pass", 2, {"forward": "forward(params, X)"}, ("relu", "softmax"),
        "forward:check_forward",
    ),
    Question(
        "test-cross-entropy", _1, "Cross-entropy", 1, {"softmax_cross_entropy": "softmax_cross_entropy(z3, y)"},
        ("softmax",), "forward:check_softmax_cross_entropy",
    ),
    Question("test-stability", _1, "Large logits", 2, {}, (), "forward:check_stability"),
    Question(
        "test-loss", _1, "Regularised loss", 2, {"loss": "loss(params, X, y, reg)"},
        ("relu", "softmax", "forward", "softmax_cross_entropy"), "forward:check_loss",
    ),
    Question("test-vectorised", _1, "No loops", 1, {}, (), "forward:check_vectorised"),
    Question(
        "test-dJ_dz3-symbolic", _2, "One sample, with symbols", 3, {"dJ_dz3_symbolic": "dJ_dz3_symbolic(z, y)"}, (),
        "backprop:check_symbolic",
    ),
    Question("test-grad-z3", _2, "The logits", 2, {"grad_z3": "grad_z3(a3, y)"}, (), "backprop:check_step"),
    Question(
        "test-grad-W2", _2, "The weights of the output layer", 1, {"grad_W2": "grad_W2(a2, dz3)"}, (),
        "backprop:check_step",
    ),
    Question(
        "test-grad-b2", _2, "The biases of the output layer", 1, {"grad_b2": "grad_b2(dz3)"}, (),
        "backprop:check_step",
    ),
    Question(
        "test-grad-a2", _2, "The hidden activations", 1, {"grad_a2": "grad_a2(dz3, W2)"}, (), "backprop:check_step"
    ),
    Question("test-grad-z2", _2, "Through the ReLU", 2, {"grad_z2": "grad_z2(da2, z2)"}, (), "backprop:check_step"),
    Question(
        "test-grad-W1", _2, "The weights of the hidden layer", 1, {"grad_W1": "grad_W1(X, dz2)"}, (),
        "backprop:check_step",
    ),
    Question(
        "test-grad-b1", _2, "The biases of the hidden layer", 1, {"grad_b1": "grad_b1(dz2)"}, (),
        "backprop:check_step",
    ),
    Question(
        "test-backward", _2, "The backward pass", 3, {"backward": "backward(params, X, y, reg)"}, _STEPS,
        "backprop:check_backward",
    ),
    Question("derivation", _2, "The derivation, in writing", 5),
    Question(
        "test-numerical-gradient", _3, "Central differences", 3,
        {"numerical_gradient": "numerical_gradient(f, x, h=1e-5)"}, (), "gradient_check:check_numerical_gradient",
    ),
    Question(
        "test-relative-error", _3, "Relative error", 2, {"relative_error": "relative_error(a, b)"}, (),
        "gradient_check:check_relative_error",
    ),
    Question(
        "test-check-gradients", _3, "The check", 2, {"check_gradients": "check_gradients(loss_fn, params, grads)"},
        ("numerical_gradient", "relative_error"), "gradient_check:check_check_gradients",
    ),
    Question("test-hunt", _3, "The hunt", 3, {"wrong_gradients": "wrong_gradients()"}, (), "gradient_check:check_hunt"),
    Question(
        "test-sample-batch", _4, "Batches", 2, {"sample_batch": "sample_batch(X, y, batch_size, rng)"}, (),
        "training:check_sample_batch",
    ),
    Question("test-sample-batch-random", _4, "Batches", 1, {}, (), "training:check_sample_batch_is_random"),
    Question("test-predict", _4, "Predictions", 2, {"predict": "predict(params, X)"}, (), "training:check_predict"),
    Question(
        "test-train-descent", _4, "Training", 2,
        {
            "train": "train(params, X, y, X_val, y_val, *, learning_rate, learning_rate_decay, reg, num_iters,"
            " batch_size, rng)"
        },
        ("sample_batch", "predict"), "training:check_train_descent",
    ),
    Question(
        "test-train-schedule", _4, "Training", 1, {}, ("sample_batch", "predict"), "training:check_train_schedule"
    ),
    Question("test-train-batches", _4, "Training", 2, {}, ("sample_batch", "predict"), "training:check_train_batches"),
    Question("diagnosis", _4, "The diagnosis, in writing", 2),
    Question("test-best-net-48", _4, "Your best network", 1, {"train_best_net": "train_best_net(X, y, X_val, y_val)"}),
    *(Question(f"test-best-net-{goal}", _4, "Your best network", 1) for goal in ("50", "52", "test")),
    Question("findings", _4, "What you found, in writing", 4),
    Question(
        "test-build-mlp", _5, "More than two layers", 2, {"build_mlp": "build_mlp(sizes, activation)"}, (),
        "pytorch:check_build_mlp",
    ),
    Question(
        "test-params-to-torch", _5, "Your parameters in PyTorch", 1, {"params_to_torch": "params_to_torch(params)"},
        ("build_mlp",), "pytorch:check_params_to_torch",
    ),
    Question(
        "test-scores", _5, "The same scores", 1, {"scores": "scores(model, X)"}, (), "pytorch:check_scores"
    ),
    Question(
        "test-torch-loss", _5, "The same loss", 1,
        {"loss_and_gradients": "loss_and_gradients(model, X, y, reg)"}, (), "pytorch:check_torch_loss",
    ),
    Question("test-torch-gradients", _5, "The same gradients", 2, {}, (), "pytorch:check_torch_gradients"),
    Question(
        "test-train-torch-steps", _5, "Training", 2,
        {
            "train_torch": "train_torch(model, X, y, X_val, y_val, *, batches, learning_rate, learning_rate_decay,"
            " reg)"
        },
        ("scores", "loss_and_gradients"), "pytorch_steps:check_train_steps",
    ),
    Question(
        "test-train-torch-schedule", _5, "Training", 1, {}, ("scores", "loss_and_gradients"),
        "pytorch_schedule:check_train_schedule",
    ),
    Question(
        "test-initialise", _5, "Initialisation", 1, {"initialise": "initialise(model, scale, rng)"}, (),
        "pytorch_initialise:check_initialise",
    ),
    Question("depth", _5, "What depth brought, in writing", 2),
    Question("test-best-mlp-52", _5, "Your best network", 1, {"train_best_mlp": "train_best_mlp(X, y, X_val, y_val)"}),
    Question("test-best-mlp-58", _5, "Your best network", 1),
)  # fmt: skip


#: The functions that later notebooks take over.
TAKEN_OVER = ("forward", "loss", "backward")


@cache
def asking(function: str) -> Question:
    """The question that asks for the function of this name."""
    return next(one for one in QUESTIONS if function in one.asks)


def check_of(one: Question) -> Callable:
    """The check of a question."""
    module, name = one.check.split(":")
    return getattr(importlib.import_module(f"course_utils.checks.{module}"), name)


@cache
def question(test: str) -> Question:
    """The question whose points the cell ``test`` gives."""
    return next(one for one in QUESTIONS if one.test == test)
