"""Exchange the functions that a student's function calls.

Where the function runs in this process, the names that it calls are rebound in its notebook's
namespace while it runs. Where it runs in another one, its representative does the same there:
it has methods ``with_helpers`` and ``helpers`` of its own.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

_MISSING = object()


def with_helpers(function: Callable, replacements: Mapping[str, Callable]) -> Callable:
    """``function`` with other functions under the global names that it calls.

    Parameters
    ----------
    function : callable
        A student's function, or one that a locked cell wraps around it.
    replacements : mapping
        Global name -> what stands under it while the function runs, and so under every other name
        of the same object. A name that isn't defined is defined for that long.

    Returns
    -------
    callable
        Takes what ``function`` takes. The names are put back whatever happens.
    """
    elsewhere = getattr(function, "with_helpers", None)
    if elsewhere is not None:
        return elsewhere(replacements)

    @functools.wraps(function)
    def helped(*args: Any, **kwargs: Any) -> Any:
        with rebound(namespace_of(function), replacements):
            return function(*args, **kwargs)

    return helped


def helpers_of(function: Callable, names: Iterable[str]) -> dict[str, Callable]:
    """Those of the functions ``names`` that ``function`` finds under these global names."""
    elsewhere = getattr(function, "helpers", None)
    if elsewhere is not None:
        return elsewhere(tuple(names))
    namespace = namespace_of(function)
    return {name: namespace[name] for name in names if callable(namespace.get(name))}


def written(function: Callable) -> Callable:
    """What was written with def or class: no decorator nor partial function, and of an instance its class."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    if isinstance(function, types.MethodType):
        function = inspect.unwrap(function.__func__)
    return function if hasattr(function, "__name__") else type(function)


def namespace_of(function: Callable) -> dict[str, Any]:
    """The global names of the notebook in which ``function`` was written; none of a library's."""
    innermost = written(function)
    return getattr(method_of(innermost) if isinstance(innermost, type) else innermost, "__globals__", {})


def method_of(defined: type) -> types.FunctionType | None:
    """A method that a class defines itself, or None."""
    plain = (getattr(value, "__func__", getattr(value, "fget", value)) for value in vars(defined).values())
    return next((value for value in plain if isinstance(value, types.FunctionType)), None)


@contextlib.contextmanager
def rebound(namespace: dict[str, Any], replacements: Mapping[str, Any]) -> Iterator[None]:
    """Have ``replacements`` stand in ``namespace`` inside the ``with`` block, and what stood there after it."""
    kept: dict[str, Any] = {}
    changed: dict[str, Any] = {}
    for name, replacement in replacements.items():
        own = namespace.get(name, _MISSING)
        aliases = [] if own is _MISSING else [other for other, value in namespace.items() if value is own]
        changed |= dict.fromkeys([*aliases, name], replacement)
    kept = {name: namespace.get(name, _MISSING) for name in changed}
    namespace.update(changed)
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is _MISSING:
                namespace.pop(name, None)
            else:
                namespace[name] = value
