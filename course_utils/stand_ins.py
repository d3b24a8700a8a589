"""Stand-ins for functions of earlier notebooks that a student doesn't have; :mod:`course_utils.handover` takes them.

That of ``backward`` is built on PyTorch, which gives the numbers and not the derivation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from course_utils.mistakes import network
from course_utils.oracle import forward_pass, tensors

#: Up to so many numbers, data are no work for more than one thread.
_FEW = 100_000


def forward(params: Mapping[str, np.ndarray], X: np.ndarray) -> dict[str, np.ndarray]:
    """Stand-in for notebook 1's ``forward``: -> dict ``z2``, ``a2`` (N, H), ``z3``, ``a3`` (N, K), in float64."""
    return network({"params": _doubles(params), "X": np.asarray(X, dtype=np.float64)}, {})


def loss(params: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray, reg: float) -> float:
    """Stand-in for notebook 1's ``loss``: mean cross-entropy plus reg (||W1||^2 + ||W2||^2)."""
    X = np.asarray(X, dtype=np.float64)
    return float(network({"params": _doubles(params), "X": X, "y": np.asarray(y), "reg": reg}, {})["loss"])


def backward(params: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray, reg: float) -> dict[str, np.ndarray]:
    """Stand-in for notebook 2's ``backward``: the gradients of ``loss``, keyed and shaped like ``params``."""
    import torch

    with _threads_for(X):
        leaves = {name: tensor.requires_grad_() for name, tensor in tensors(params).items()}
        gradients = torch.autograd.grad(forward_pass(leaves, X, y, reg)[-1], list(leaves.values()))
        return {name: gradient.numpy() for name, gradient in zip(leaves, gradients, strict=True)}


def _doubles(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(params[name], dtype=np.float64) for name in ("W1", "b1", "W2", "b2")}


@contextlib.contextmanager
def _threads_for(X: np.ndarray) -> Iterator[None]:
    """Compute with few data in one thread: on a busy machine, several would spend their time waiting for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1 if np.size(X) <= _FEW else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)
