"""PyTorch models on which a student's functions are tried where their own model can't tell whose mistake it is.

They live in the student's process: notebook 5's locked cell ``models`` calls these functions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import nn


def sizes_of(params: Mapping[str, np.ndarray]) -> tuple[int, ...]:
    """Numbers of features, of hidden units layer by layer, and of classes of ``W1``, ``b1``, ``W2``, ..."""
    return len(params["W1"]), *(len(params[f"b{number}"]) for number in range(1, len(params) // 2 + 1))


def two_layer_model(sizes: Sequence[int], activation: str = "relu") -> nn.Sequential:
    """A two-layer ReLU network with random parameters, of ``sizes`` (D, H, K); ValueError for any other."""
    if len(sizes) != 3 or activation != "relu":
        raise ValueError("there is a right network for two layers and the ReLU alone")
    first, second = (nn.Linear(*pair) for pair in pairwise(sizes))
    return nn.Sequential(first, nn.ReLU(), second)


def filled(model: nn.Module, params: Mapping[str, np.ndarray]) -> nn.Module:
    """``model`` with copies of ``params`` in its fully connected layers.

    Parameters
    ----------
    model : nn.Module
    params : mapping
        ``W1`` (inputs, outputs), ``b1`` (outputs,), ``W2``, ..., all of one dtype, which the model gets.

    Raises
    ------
    ValueError
        If the model has another number of layers.
    """
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    if len(layers) != len(params) // 2:
        raise ValueError(f"the model has {len(layers)} fully connected layers, expected {len(params) // 2}")
    model.to(torch.from_numpy(params["W1"]).dtype)
    for number, layer in enumerate(layers, start=1):
        layer.weight = nn.Parameter(torch.tensor(params[f"W{number}"].T))
        layer.bias = nn.Parameter(torch.tensor(params[f"b{number}"]))
        layer.out_features, layer.in_features = layer.weight.shape
    return model


def used(model: nn.Module) -> nn.Module:
    """``model`` as an earlier use has left it: with gradients, which are all 1."""
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    return model


def mended(model: nn.Module, activation: str) -> nn.Module:
    """``model`` with the right forward pass through its fully connected layers, the only ones to be trained."""
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    function = {"relu": torch.relu, "tanh": torch.tanh, "gelu": nn.functional.gelu}[activation]
    trained = {parameter for layer in layers for parameter in layer.parameters()}

    def forward(X: torch.Tensor, *_: Any) -> torch.Tensor:
        for layer in layers[:-1]:
            X = function(nn.Linear.forward(layer, X))  # a class of the student's may compute something else
        return nn.Linear.forward(layers[-1], X)

    for parameter in model.parameters():
        parameter.requires_grad_(parameter in trained)
    model.forward = forward
    return model
