"""Stand-ins for functions of earlier notebooks that a student doesn't have.

They are built on PyTorch, which gives the numbers and not the derivation;
:mod:`course_utils.handover` takes them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from course_utils.oracle import forward_pass, solve, tensors


def forward(params: Mapping[str, np.ndarray], X: np.ndarray) -> dict[str, np.ndarray]:
    """Stand-in for notebook 1's ``forward``: -> dict ``z2``, ``a2`` (N, H), ``z3``, ``a3`` (N, K)."""
    import torch

    z2, a2, z3, _, _ = forward_pass(tensors(params), X, np.zeros(len(X)), 0.0)
    return {"z2": z2.numpy(), "a2": a2.numpy(), "z3": z3.numpy(), "a3": torch.softmax(z3, dim=1).numpy()}


def loss(params: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray, reg: float) -> float:
    """Stand-in for notebook 1's ``loss``: mean cross-entropy plus reg (||W1||^2 + ||W2||^2)."""
    return forward_pass(tensors(params), X, y, reg)[-1].item()


def backward(params: Mapping[str, np.ndarray], X: np.ndarray, y: np.ndarray, reg: float) -> dict[str, np.ndarray]:
    """Stand-in for notebook 2's ``backward``: the gradients of ``loss``, keyed and shaped like ``params``."""
    return solve(params, X, y, reg).gradients()
