"""Stand-ins for functions that a later question needs and a student doesn't have.

They are built on PyTorch, which gives the numbers and not the derivation.
:mod:`course_utils.handover` takes those of :data:`OF_NOTEBOOKS` from one notebook to the next;
:func:`provide_stand_ins` helps within a notebook.
"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from course_utils.oracle import forward_pass, solve, tensors

# --- For later notebooks ----------------------------------------------------------------


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


#: What may take the place of a function of an earlier notebook.
OF_NOTEBOOKS = {function.__name__: function for function in (forward, loss, backward)}


# --- For later questions of the same notebook -------------------------------------------


def _tensor(array: Any) -> Any:
    import torch

    return torch.tensor(np.asarray(array, dtype=np.float64))


def _applied(name: str, array: Any, *axis: int) -> np.ndarray:
    """A function of :mod:`torch`, in float64."""
    import torch

    return getattr(torch, name)(_tensor(array), *axis).numpy()


def _cross_entropy(z: Any, y: Any) -> Any:
    import torch

    return torch.nn.functional.cross_entropy(z, torch.tensor(np.asarray(y, dtype=np.int64)))


def _pulled_back(step: Callable, at: Any, upstream: Any = 1.0) -> np.ndarray:
    """The gradient with respect to the argument of a step that PyTorch takes, given that of its result."""
    import torch

    leaf = _tensor(at).requires_grad_()
    return torch.autograd.grad(step(leaf), leaf, _tensor(upstream))[0].numpy()


def _grad_z3(a3: np.ndarray, y: np.ndarray) -> np.ndarray:
    return _pulled_back(lambda z: _cross_entropy(z, y), np.log(np.maximum(a3, np.finfo(np.float64).tiny)))


def _grad_W(inputs: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    at = np.zeros((np.shape(inputs)[1], np.shape(upstream)[1]))
    return _pulled_back(lambda W: _tensor(inputs) @ W, at, upstream)


def _grad_b(upstream: np.ndarray) -> np.ndarray:
    return _pulled_back(lambda b: b.expand(np.shape(upstream)), np.zeros(np.shape(upstream)[1]), upstream)


def _grad_a2(dz3: np.ndarray, W2: np.ndarray) -> np.ndarray:
    return _pulled_back(lambda a2: a2 @ _tensor(W2), np.zeros((len(dz3), len(W2))), dz3)


def _grad_z2(da2: np.ndarray, z2: np.ndarray) -> np.ndarray:
    return _pulled_back(lambda z: z.relu(), z2, da2)


def _numerical_gradient(f: Callable, x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    from scipy.optimize import approx_fprime

    # Two one-sided differences, whose errors cancel.
    flat, shaped = x.ravel(), lambda point: f(point.reshape(x.shape))
    return ((approx_fprime(flat, shaped, h) + approx_fprime(flat, shaped, -h)) / 2).reshape(x.shape)


def _relative_error(a: Any, b: Any) -> np.floating:
    # A NumPy number, which has the methods of the array that a caller may have counted on.
    return np.max(np.abs(np.subtract(a, b)) / np.maximum(1e-8, np.abs(a) + np.abs(b)))


def _sample_batch(X: np.ndarray, y: np.ndarray, batch_size: int, rng: Any) -> tuple[np.ndarray, np.ndarray]:
    import torch

    generator = torch.Generator().manual_seed(int(np.random.default_rng(rng).integers(2**62)))
    rows = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(y))
    X_batch, y_batch = next(iter(torch.utils.data.DataLoader(rows, batch_size, shuffle=True, generator=generator)))
    return X_batch.numpy(), y_batch.numpy()


def _predict(params: Mapping[str, np.ndarray], X: np.ndarray) -> np.ndarray:
    return _applied("argmax", forward(params, X)["a3"], 1)


#: What may take the place of a function within a notebook.
WITHIN_NOTEBOOKS: dict[str, Callable] = {
    "relu": lambda z: _applied("relu", z),
    "softmax": lambda z: _applied("softmax", z, 1),
    "forward": forward,
    "softmax_cross_entropy": lambda z3, y: _cross_entropy(_tensor(z3), y).item(),
    "grad_z3": _grad_z3,
    "grad_W2": lambda a2, dz3: _grad_W(a2, dz3),
    "grad_b2": lambda dz3: _grad_b(dz3),
    "grad_a2": _grad_a2,
    "grad_z2": _grad_z2,
    "grad_W1": lambda X, dz2: _grad_W(X, dz2),
    "grad_b1": lambda dz2: _grad_b(dz2),
    "numerical_gradient": _numerical_gradient,
    "relative_error": _relative_error,
    "sample_batch": _sample_batch,
    "predict": _predict,
}
#: What ``forward`` returns, by key.
_VALUES = ("z2", "a2", "z3", "a3")
#: Shape of the result, from the arguments.
_SHAPES: dict[str, Callable[..., tuple[int, ...]]] = {
    "relu": np.shape,
    "softmax": np.shape,
    "grad_z3": lambda a3, y: np.shape(a3),
    "grad_W2": lambda a2, dz3: (np.shape(a2)[1], np.shape(dz3)[1]),
    "grad_b2": lambda dz3: np.shape(dz3)[1:],
    "grad_a2": lambda dz3, W2: (len(dz3), np.shape(W2)[0]),
    "grad_z2": lambda da2, z2: np.shape(z2),
    "grad_W1": lambda X, dz2: (np.shape(X)[1], np.shape(dz2)[1]),
    "grad_b1": lambda dz2: np.shape(dz2)[1:],
}
#: Whether a result is what the text asks for, from the result and the arguments.
_AS_ASKED: dict[str, Callable[..., bool]] = {
    "numerical_gradient": lambda gradient, f, x, *h: np.shape(gradient) == np.shape(x),
    "relative_error": lambda error, a, b: np.shape(error) == (),
    "sample_batch": lambda batch, *_: (
        isinstance(batch, (tuple, list)) and len(batch) == 2 and not isinstance(batch[0], (tuple, list))
    ),
    "predict": lambda classes, params, X: np.shape(classes) == (len(X),),
}
#: Functions that have returned something else, and those for which stand-ins step in for that reason.
_unasked: set[str] = set()
_replaced: set[str] = set()
#: Arguments up to this size, in bytes, are copied, since a function that fails may have changed them.
_COPIED = 2**20


def provide_stand_ins(namespace: dict[str, Any], *names: str, to: str | None = None) -> None:
    """Let later functions of a student go on with stand-ins where the earlier ones ``names`` fail.

    From then on, if a function fails that another one of the same notebook calls (it raises,
    returns nothing, what can't fit, nan or inf), one sentence says so, and the caller gets what the
    stand-in returns. Whoever else calls it, a check above all, gets what the function itself
    does: a stand-in earns no points.

    Parameters
    ----------
    namespace : dict
        The notebook's ``globals()``, in which the functions are replaced; one that isn't defined is added.
    *names : str
        ``relu``, ``softmax``, ``forward``, ``softmax_cross_entropy``, ``grad_z3`` and the other six,
        ``numerical_gradient``, ``relative_error``, ``sample_batch`` or ``predict``.
    to : str, optional
        The function that calls them. If it raises after one of those from ``numerical_gradient`` on
        has returned something else than is asked for, it runs once more with stand-ins for these; it may well
        know what to do with the result.
    """
    for name in names:
        own = namespace.get(name)
        if not callable(own):
            own = types.FunctionType(_not_defined.__code__, namespace, name)
        namespace[name] = _backed(getattr(own, "_own", own), name, namespace.get("__name__"))
    if callable(namespace.get(to)):
        namespace[to] = _repeated(getattr(namespace[to], "_own", namespace[to]))


def _not_defined(*_: Any, **__: Any) -> None:
    raise NotImplementedError


def with_stand_in(name: str, own: Callable) -> Callable:
    """``own`` for which the stand-in called ``name`` steps in, whoever calls it; nothing is said."""

    def backed(*args: Any, **kwargs: Any) -> Any:
        return _result(name, own, args, kwargs)[0]

    return backed


def _backed(own: Callable, name: str, module: str | None) -> Callable:
    # No reference to the notebook's names themselves: to be sent to another process, as joblib does, they'd be copied.
    said: list[str] = []

    @functools.wraps(own)
    def backed(*args: Any, **kwargs: Any) -> Any:
        caller = sys._getframe(1)
        # Not a check, nor the line of a cell in which a student tries the function.
        if caller.f_globals.get("__name__") != module or caller.f_code.co_name == "<module>":
            return own(*args, **kwargs)
        result, trouble = _result(name, own, args, kwargs, set(caller.f_code.co_consts))
        if trouble and not said:
            said.append(trouble)
            print(f"{name} {trouble}: a stand-in takes its place where your other functions call it.")
        return result

    backed.__name__ = getattr(own, "__name__", name)  # a partial function has none
    backed._own = own
    return backed


def _repeated(own: Callable) -> Callable:
    @functools.wraps(own)
    def repeated(*args: Any, **kwargs: Any) -> Any:
        return _run_again_if_needed(own, args, kwargs)

    repeated._own = own
    return repeated


def _run_again_if_needed(own: Callable, args: tuple, kwargs: dict) -> Any:
    _unasked.clear()
    try:
        return own(*args, **kwargs)
    except Exception:
        if not _unasked:
            raise
    _replaced.update(_unasked)
    try:
        return own(*args, **kwargs)
    finally:
        _replaced.clear()


def _result(
    name: str, own: Callable, args: tuple, kwargs: dict, constants: set[Any] = frozenset()
) -> tuple[Any, str | None]:
    """What ``own`` returns, or the stand-in in its place, and then why; ``constants`` stand in the caller's code."""
    kept = _copies(args)
    result = None
    try:
        # What one function does to its argument, the caller that goes on with it shall not find.
        result = own(*(_copies(args) if name in ("relu", "softmax", "forward") else args), **kwargs)
        if name == "forward" and not isinstance(result, dict) and constants.isdisjoint(_VALUES):
            return result, None  # a tuple, say, and the caller expects one
        trouble = _trouble_with(result, name, kept, kwargs)
        if trouble is None and not _is_as_asked(result, name, kept):
            _unasked.add(name)
            trouble = "returned something else than is asked for" if name in _replaced else None
    except NotImplementedError:
        trouble = "is not written yet"
    except Exception as error:
        trouble = f"raised {type(error).__name__}"
    if name.startswith("grad_"):  # what one formula does to an argument, the next one shall not find
        for value, copy in zip(args, kept, strict=True):
            shared = isinstance(result, np.ndarray) and np.may_share_memory(value, result)
            if isinstance(value, np.ndarray) and value is not copy and value.flags.writeable and not shared:
                value[...] = copy
    if trouble is None:
        return result, None
    replaced = WITHIN_NOTEBOOKS[name](*kept, **kwargs)
    if isinstance(result, dict) and name == "forward":
        spoilt = {key for key in _VALUES if not (_is_finite(result.get(key)) and _is_like_X(result.get(key), kept))}
        replaced |= {key: value for key, value in result.items() if key not in spoilt}
    return replaced, trouble


def _copies(args: Iterable[Any]) -> list[Any]:
    """The arguments, with copies of small arrays, and of dicts, whose entries stay the same objects."""

    def copied(value: Any) -> bool:
        return isinstance(value, dict) or (isinstance(value, np.ndarray) and value.nbytes <= _COPIED)

    return [value.copy() if copied(value) else value for value in args]


def _trouble_with(result: Any, name: str, args: list, kwargs: dict) -> str | None:
    """What keeps callers from going on with a result, as the end of a sentence."""
    if result is None:
        return "returned nothing"
    if name == "forward":
        if not isinstance(result, dict):
            return f"returned no dict but a {type(result).__name__}"
        missing = [key for key in _VALUES if key not in result]
        if missing:
            return f"returned no {', '.join(missing)}"
        unlike = [key for key in _VALUES if not _is_like_X(result[key], args)]
        if unlike:
            return f"returned {', '.join(unlike)} with another number of axes than X has"
        spoilt = [key for key in _VALUES if not _is_finite(result[key])]
        return f"returned nan or inf in {', '.join(spoilt)}" if spoilt and all(map(_is_finite, args)) else None
    if name == "sample_batch" and isinstance(result, (tuple, list)) and len(result) == 2 and args:
        (X_batch, y_batch), features = map(np.shape, result), np.shape(args[0])[1:]
        if X_batch[1:] != features or X_batch[:1] != y_batch[:1]:
            return f"returned the shapes {X_batch} and {y_batch}"
        if np.asarray(result[1]).dtype.kind not in "iu":
            return f"returned labels of dtype {np.asarray(result[1]).dtype}"
    asked = _asked_shape(name, args, kwargs)
    if asked is not None and (isinstance(result, (np.ndarray, np.number)) or name.startswith("grad_")):
        shape = np.shape(result)
        # A transposed gradient fits a square problem, and a row of biases every problem.
        fitting = [asked, asked[::-1], (1, *asked)[-2:]] if name.startswith("grad_") else [asked]
        if shape not in fitting:
            return f"returned the shape {shape} where {asked} is asked for"
    if name == "relative_error" and np.shape(result) == () and not _is_share(result):
        return "returned no number from 0 to 1"
    if (
        name in (*_SHAPES, "softmax_cross_entropy", "numerical_gradient")
        and not _is_finite(result)
        and all(map(_is_finite, args))
    ):
        return "returned nan or inf"
    return None


def _asked_shape(name: str, args: list, kwargs: dict) -> tuple[int, ...] | None:
    """Shape of the result, or None: a student's own parameters, which the caller knows, tell nothing about it."""
    try:
        return _SHAPES[name](*args, **kwargs) if name in _SHAPES else None
    except (TypeError, IndexError):
        return None


def _is_as_asked(result: Any, name: str, args: list) -> bool:
    try:
        return name not in _AS_ASKED or _AS_ASKED[name](result, *args)
    except Exception:  # without a shape, or called with names: what is returned can't be told
        return False


def _is_like_X(value: Any, args: list) -> bool:
    """Whether a value of ``forward`` has as many axes as ``X``, the second argument."""
    try:
        return len(args) != 2 or np.ndim(value) == np.ndim(args[1])
    except ValueError:  # rows that differ in length
        return False


def _is_share(value: Any) -> bool:
    try:
        return bool(0 <= value <= 1 + 1e-9)  # beyond round-off
    except TypeError:
        return False


def _is_finite(value: Any) -> bool:
    """Whether there is neither nan nor inf; true of what isn't an array of numbers."""
    try:
        return bool(np.isfinite(value).all())
    except (TypeError, ValueError):
        return True
