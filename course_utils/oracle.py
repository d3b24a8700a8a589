"""Reference values from PyTorch's automatic differentiation, for any two-layer network.

The oracle shares no code with a solution: PyTorch computes the forward pass and the loss
in float64 with its own functions and differentiates them itself. It serves three ends: it
made the stored reference values (``python -m course_utils.oracle``), it gives the expected
values of the hidden tests, and :mod:`course_utils.stand_ins` builds on it. It gives numbers,
not formulas.
"""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from course_utils import reference, steps
from course_utils.reference import Problem


def solve(params: Mapping[str, Any], X: Any, y: Any, reg: float = 0.0, name: str = "this problem") -> Problem:
    """Compute every intermediate value, the loss and the gradients of a two-layer network.

    Parameters
    ----------
    params : mapping
        ``W1`` (D, H), ``b1`` (H,), ``W2`` (H, K), ``b2`` (K,).
    X : (N, D) array
    y : (N,) int array
    reg : float
        Factor of ||W1||^2 + ||W2||^2.
    name : str
        How messages call the problem.

    Returns
    -------
    Problem
        In float64, whatever the dtype of the input.
    """
    import torch

    leaves = {key: tensor.requires_grad_() for key, tensor in tensors(params).items()}
    z2, a2, z3, data_loss, loss = forward_pass(leaves, X, y, reg)
    wanted = {"dz2": z2, "da2": a2, "dz3": z3, **{f"d{key}": leaf for key, leaf in leaves.items()}}
    gradients = torch.autograd.grad(data_loss, list(wanted.values()))
    values = {key: gradient.numpy() for key, gradient in zip(wanted, gradients, strict=True)}
    values |= {"z2": z2.detach().numpy(), "a2": a2.detach().numpy(), "z3": z3.detach().numpy()}
    values |= {"a3": torch.softmax(z3.detach(), dim=1).numpy()}
    values |= {"data_loss": data_loss.item(), "loss": loss.item()}
    arrays = {key: np.asarray(params[key], dtype=np.float64) for key in leaves}
    return Problem(name, np.asarray(X), np.asarray(y), arrays, float(reg), values)


def tensors(params: Mapping[str, Any]) -> dict[str, Any]:
    """The weights and biases, copied, in float64."""
    return {key: _tensor(params[key]) for key in ("W1", "b1", "W2", "b2")}


def _tensor(array: Any, dtype: type = np.float64) -> Any:
    """A copy of an array; by way of NumPy, which is three times as fast as ``torch.tensor`` for small ones."""
    import torch

    return torch.from_numpy(np.array(array, dtype=dtype, order="C"))


def forward_pass(params: Mapping[str, Any], X: Any, y: Any, reg: float) -> tuple[Any, ...]:
    """z2, a2, z3, the loss without and with regularisation, as tensors; ``params`` are tensors."""
    import torch

    z2 = torch.addmm(params["b1"], _tensor(X), params["W1"])
    a2 = torch.nn.functional.relu(z2)
    z3 = torch.addmm(params["b2"], a2, params["W2"])
    data_loss = torch.nn.functional.cross_entropy(z3, _tensor(y, np.int64))
    loss = data_loss + reg * (params["W1"].square().sum() + params["W2"].square().sum())
    return z2, a2, z3, data_loss, loss


def random_problem(
    seed: int,
    *,
    samples: int | None = None,
    reg: float | None = None,
    dtype: Any = np.float64,
) -> Problem:
    """A problem that no one has seen: N, D, H, K all different, biases not zero.

    Parameters
    ----------
    seed : int
        The same seed gives the same problem.
    samples : int, optional
        N; by default drawn like the other sizes from 3..12.
    reg : float, optional
        By default drawn from 0.1..1.
    dtype : dtype
        Of X: integers are drawn when it is an integer type; weights and biases are float64
        unless it is float32, which they are then as well.
    """
    rng = np.random.default_rng(seed)
    sizes = rng.permutation(np.arange(3, 13))
    N, D, H, K = (int(size) for size in sizes[:4])
    N = N if samples is None else samples
    X = rng.integers(-4, 5, size=(N, D)) if np.dtype(dtype).kind == "i" else 2 * rng.standard_normal((N, D))
    float_dtype = np.float32 if np.dtype(dtype) == np.float32 else np.float64
    params = {
        "W1": rng.standard_normal((D, H)) / np.sqrt(D),
        "b1": rng.standard_normal(H),
        "W2": rng.standard_normal((H, K)) / np.sqrt(H),
        "b2": rng.standard_normal(K),
    }
    params = {key: array.astype(float_dtype) for key, array in params.items()}
    y = rng.integers(0, K, size=N)
    strength = float(rng.uniform(0.1, 1.0)) if reg is None else reg
    name = f"a new problem (N={N}, D={D}, H={H}, K={K}, {np.dtype(dtype)})"
    solved = solve(params, X.astype(dtype), y, strength, name)
    return solved._replace(params=params)


# --- Step by step -------------------------------------------------------------------------


def _pulled_back(step: Callable, at: Any, upstream: Any = 1.0) -> np.ndarray:
    """The gradient with respect to the argument of a step that PyTorch takes, given that of its result."""
    import torch

    leaf = _tensor(at).requires_grad_()
    return torch.autograd.grad(step(leaf), leaf, _tensor(upstream))[0].numpy()


def _grad_z3(a3: np.ndarray, y: np.ndarray) -> np.ndarray:
    import torch

    labels = _tensor(y, np.int64)
    logits = np.log(np.maximum(a3, np.finfo(np.float64).tiny))
    return _pulled_back(lambda z: torch.nn.functional.cross_entropy(z, labels), logits)


def _grad_W(inputs: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    at = np.zeros((np.shape(inputs)[1], np.shape(upstream)[1]))
    return _pulled_back(lambda W: _tensor(inputs) @ W, at, upstream)


def _grad_b(upstream: np.ndarray) -> np.ndarray:
    return _pulled_back(lambda b: b.expand(np.shape(upstream)), np.zeros(np.shape(upstream)[1]), upstream)


def _grad_a2(dz3: np.ndarray, W2: np.ndarray) -> np.ndarray:
    return _pulled_back(lambda a2: a2 @ _tensor(W2), np.zeros((len(dz3), len(W2))), dz3)


def _grad_z2(da2: np.ndarray, z2: np.ndarray) -> np.ndarray:
    # max(z, 0), with the derivative 1 at 0, which shows where a2 is given for z2.
    return _pulled_back(lambda z: z + (-z).relu(), z2, da2)


#: The seven formulas of the backward pass, as PyTorch differentiates.
STEPS: dict[str, Callable[..., np.ndarray]] = {
    "grad_z3": _grad_z3, "grad_W2": lambda a2, dz3: _grad_W(a2, dz3), "grad_b2": lambda dz3: _grad_b(dz3),
    "grad_a2": _grad_a2, "grad_z2": _grad_z2, "grad_W1": lambda X, dz2: _grad_W(X, dz2),
    "grad_b1": lambda dz2: _grad_b(dz2),
}  # fmt: skip


# --- The stored reference values --------------------------------------------------------


def generate() -> dict[str, np.ndarray]:
    """Compute the content of ``reference-values/problems.npz``: keys ``problem/value``.

    ``toy`` is the published problem; ``biased`` and ``unregularised`` have reg 0.7 and 0, the latter 39 parameters and
    rows in which all hidden units are on, or off;
    ``large`` has 60 samples and logits up to some hundreds. ``sample`` and ``unregularised sample``
    have one sample, reg 0.7 and 0, and come with its row changed in each of the ways of
    :data:`course_utils.reference.SAMPLE_CHANGES`.
    """
    params, X, y = reference.toy_problem()
    large = random_problem(104, samples=60, reg=0.013)
    problems = {
        "toy": solve(params, X, y, reg=0.05),
        "biased": random_problem(102, reg=0.7),
        "unregularised": random_problem(1053, reg=0.0),
        "large": solve(large.params, 40 * large.X, large.y, large.reg),
    }
    for name, solved in {
        "sample": random_problem(105, samples=1, reg=0.7),
        "unregularised sample": random_problem(106, samples=1, reg=0.0),
    }.items():
        problems[name] = solved
        for change, changed in reference.SAMPLE_CHANGES.items():
            problems[f"{name} {change}"] = solve(solved.params, changed(solved.X), solved.y, solved.reg)
    content: dict[str, np.ndarray] = {}
    for name, solved in problems.items():
        entries = {"X": solved.X, "y": solved.y, "reg": solved.reg, **solved.params, **solved.values}
        content |= {f"{name}/{key}": np.asarray(value) for key, value in entries.items()}
    return content


def provenance() -> dict[str, str]:
    """What the stored values are made with."""
    import torch

    return {
        "made by": "python -m course_utils.oracle",
        "method": "PyTorch autograd, float64",
        "checked against": "mpmath, 50 digits (tests/test_reference.py)",
        "torch": torch.__version__.split("+")[0],
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def write(folder: Path) -> None:
    """Write ``problems.npz`` and ``provenance.json`` into ``folder``."""
    # NumPy's stub takes each of the names for allow_pickle.
    np.savez_compressed(folder / "problems.npz", **generate())  # type: ignore[arg-type]
    text = json.dumps(provenance(), indent=2)
    (folder / "provenance.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    write(reference.FOLDER)
    steps.write_table()
    print(f"wrote {reference.FOLDER / 'problems.npz'}", file=sys.stderr)
