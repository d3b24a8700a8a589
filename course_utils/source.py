"""The source text of a student's function, and what it may not contain."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable

from course_utils.comparison import CheckFailed

#: NumPy's and Python's disguises of a loop.
_HIDDEN_LOOPS = {
    "vectorize", "frompyfunc", "apply_along_axis", "apply_over_axes", "nditer", "ndenumerate",
    "ndindex", "fromiter", "fromfunction", "map", "reduce",
}  # fmt: skip
#: Modules that would do the exercise.
_NOT_BY_HAND = {"torch", "course_utils", "oracle", "tensorflow", "jax", "sklearn", "autograd"}


def source_of(function: Callable) -> str:
    """The text of ``function``'s definition.

    Parameters
    ----------
    function : callable
        A function defined in a notebook cell, or a stand-in for one that runs in another
        process and carries the text as ``__student_source__``.

    Raises
    ------
    CheckFailed
        If there is no source, as with a built-in function.
    """
    try:
        text = getattr(function, "__student_source__", None) or inspect.getsource(function)
    except (OSError, TypeError):
        name = getattr(function, "__name__", "the function")
        raise CheckFailed(name, "its source can't be read; define it with def in a cell.") from None
    return textwrap.dedent(text)


def find_loop(function: Callable) -> str | None:
    """The first line of ``function`` that loops over array elements, or None.

    A loop over a literal (``for key in ("W1", "W2")``) or over the entries of a dict
    (``params.items()``) takes as many steps for a million samples as for one, and is
    not meant.
    """
    text = source_of(function)
    lines = text.splitlines()
    for node in ast.walk(ast.parse(text)):
        iterables = []
        if isinstance(node, (ast.For, ast.AsyncFor)):
            iterables = [node.iter]
        elif isinstance(node, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            iterables = [generator.iter for generator in node.generators]
        elif isinstance(node, ast.While) or (isinstance(node, ast.Call) and _called_name(node) in _HIDDEN_LOOPS):
            return lines[node.lineno - 1].strip()
        if any(not _is_short(iterable) for iterable in iterables):
            return lines[node.lineno - 1].strip()
    return None


def is_unwritten(function: Callable) -> bool:
    """Whether ``function`` still only raises NotImplementedError."""
    definition = ast.parse(source_of(function)).body[0]
    last = getattr(definition, "body", [None])[-1]
    return isinstance(last, ast.Raise) and "NotImplementedError" in ast.unparse(last)


def find_foreign_help(function: Callable) -> str | None:
    """The name of a library in ``function`` that would do the exercise, or None."""
    for node in ast.walk(ast.parse(source_of(function))):
        names = []
        if isinstance(node, ast.Name):
            names = [node.id]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        for name in names:
            if name.split(".")[0] in _NOT_BY_HAND:
                return name
    return None


def _called_name(node: ast.Call) -> str:
    return getattr(node.func, "attr", getattr(node.func, "id", ""))


def _is_short(iterable: ast.expr) -> bool:
    if isinstance(iterable, (ast.Tuple, ast.List, ast.Set, ast.Dict)):
        return True
    if isinstance(iterable, ast.Constant):
        return isinstance(iterable.value, str)
    if isinstance(iterable, ast.Call):
        name = _called_name(iterable)
        if name in ("items", "keys", "values"):
            return True
        if name in ("zip", "enumerate", "sorted", "reversed", "list", "tuple"):
            return all(_is_short(argument) for argument in iterable.args)
        return False
    return isinstance(iterable, ast.Name) and iterable.id in ("params", "grads", "gradients", "cache")
