"""The source text of a student's function, and what it may not contain."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
import types
from collections.abc import Callable, Iterable, Iterator
from collections.abc import Set as AbstractSet
from typing import Any

import numpy as np

from course_utils.comparison import CheckFailed
from course_utils.helpers import method_of, namespace_of, written
from course_utils.questions import TAKEN_OVER

#: NumPy's disguises of a Python loop, as attributes of any module.
_HIDDEN_LOOPS = {"vectorize", "frompyfunc", "apply_along_axis", "nditer", "ndenumerate", "ndindex"}
#: Python's own, by their bare names or out of these modules: ``np.add.reduce`` is no loop in Python.
_LOOPING_FUNCTIONS = {"map", "filter", "reduce", "starmap", "accumulate"}
_THEIR_MODULES = {"functools", "itertools"}
#: Functions whose result is as short as their arguments.
_AS_SHORT_AS_ARGUMENTS = {"enumerate", "sorted", "reversed", "list", "tuple", "set", "dict", "range", "len", "int"}
#: Names by which a notebook calls its dicts of four arrays.
_DICTS = {"params", "grads", "gradients", "cache"}
#: SciPy's functions that would do the exercise.
_EXERCISES = {"softmax", "log_softmax"}
#: Modules that would do the exercise.
_NOT_BY_HAND = {"torch", "course_utils", "oracle", "tensorflow", "jax", "sklearn", "autograd", "keras"}


def source_of(function: Callable) -> str:
    """The text of ``function``'s definition.

    Parameters
    ----------
    function : callable
        A function defined in a notebook cell, a partial one and an instance of a class with
        ``__call__`` included, or a stand-in for one that runs in another process and carries
        the text as ``__student_source__``. That text may hold other definitions and imports
        too (the whole notebook's); they are then known as its helpers.

    Raises
    ------
    CheckFailed
        If there is no source, as with a built-in function.
    """
    name = getattr(function, "__name__", "the function")
    carried = getattr(function, "__student_source__", None)
    try:
        text = textwrap.dedent(carried or _text_behind(function))
        definitions = _definitions(ast.parse(text))
    except (OSError, TypeError, SyntaxError, KeyError):
        raise CheckFailed(name, "its source can't be read; define it with def in a cell.") from None
    own = definitions.get(name)
    return text if own is None else _text_of(own, text)


def find_loop(function: Callable) -> str | None:
    """The first line that loops over array elements, in ``function`` or in a helper that it calls, or None.

    A loop over a literal (``for key in ("W1", "W2")``), over the entries of a dict
    (``params.items()``) or over a range of constants takes as many steps for a million
    samples as for one, and is not meant.

    Parameters
    ----------
    function : callable
        See :func:`source_of`. Helpers are the functions of the same notebook that it
        names.
    """
    for text, short in _with_helpers(function):
        line = _loop_in(text, short)
        if line is not None:
            return line
    return None


def is_unwritten(function: Callable) -> bool:
    """Whether ``function`` does nothing but raise NotImplementedError."""
    definition = next(iter(ast.parse(source_of(function)).body), None)
    body = [
        statement
        for statement in getattr(definition, "body", [])
        if not (isinstance(statement, ast.Pass) or isinstance(getattr(statement, "value", None), ast.Constant))
    ]
    return len(body) == 1 and isinstance(body[0], ast.Raise) and "NotImplementedError" in ast.unparse(body[0])


def find_foreign_help(function: Callable) -> str | None:
    """The name of a library, or of its function, in ``function`` or in a helper that would do the exercise, or None."""
    behind = written(function)
    found = _foreign(str(getattr(behind, "__module__", "")), getattr(behind, "__name__", ""))
    if found is not None:
        return found
    for text, _ in _with_helpers(function):
        tree = ast.parse(text)
        local = _imports(ast.walk(tree))
        for node in ast.walk(tree):
            for module, name in _modules_and_names(node, function, local):
                found = _foreign(module, name)
                if found is not None:
                    return found
    return None


def _foreign(module: str, name: str = "") -> str | None:
    package = module.split(".")[0]
    if package in _NOT_BY_HAND:
        return module
    return f"{package}'s {name}" if package == "scipy" and name in _EXERCISES else None


def _modules_and_names(
    node: ast.AST, function: Callable, local: dict[str, tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    """The modules that a part of a function's text names, each with the name that is taken from it."""
    if isinstance(node, ast.Name):
        yield node.id, ""
        yield local.get(node.id) or (_library_of(function, node.id), _original_name(function, node.id))
    elif isinstance(node, ast.Attribute):
        root = node.value
        while isinstance(root, ast.Attribute):
            root = root.value
        if isinstance(root, ast.Name):
            yield local.get(root.id, ("", ""))[0] or _library_of(function, root.id), node.attr
    elif isinstance(node, ast.Import):
        yield from ((alias.name, "") for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from ((node.module or "", alias.name) for alias in node.names)


def names_used(function: Callable) -> set[str]:
    """The names of functions, methods and imports in ``function`` and its helpers, but for those defined there.

    An import under another name counts by its own: with ``from sympy import diff as d``, ``d`` is ``diff``.
    """
    used: set[str] = set()
    for text, _ in _with_helpers(function):
        tree = ast.parse(text)
        defined = {node.name for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
        found = set()
        for node in ast.walk(tree):
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.Attribute):
                found.add(node.attr)
            elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                found.add(_original_name(function, node.func.id))
        used |= found - defined
    return used


# --- Finding the helpers ----------------------------------------------------------------


def _text_behind(function: Callable) -> str:
    behind = written(function)
    if isinstance(behind, type):
        # inspect finds no class in a notebook, but the cell of a method.
        method = method_of(behind)
        if method is None:
            raise TypeError(f"the class {behind.__name__} defines no method")
        lines, _ = inspect.findsource(method)
        cell = "".join(lines)
        return _text_of(_definitions(ast.parse(cell))[behind.__name__], cell)
    if isinstance(inspect.unwrap(function), functools.partial) and getattr(behind, "__module__", "") != "__main__":
        return ""  # a library's function with some arguments given
    return inspect.getsource(behind)


def _with_helpers(function: Callable) -> Iterator[tuple[str, set[str]]]:
    """The texts of ``function`` and of every function of the student's that it leads to.

    With each come the names that stand for something short in it: constants of the notebook,
    and arguments that the caller gives something short.
    """
    carried = getattr(function, "__student_source__", None)
    if carried:
        whole = textwrap.dedent(carried)
        texts = {name: _text_of(node, whole) for name, node in _definitions(_parsed(carried)).items()}
        others: dict[str, str] | _LazySources = texts
    else:
        others = _LazySources(namespace_of(function))
    constants = _short_constants(function)
    seen, waiting = set[str](), [(text := source_of(function), constants - _argument_names(text))]
    while waiting:
        text, short = waiting.pop(0)
        yield text, short
        tree = ast.parse(text)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id not in seen:
                seen.add(node.id)
                helper = others.get(node.id)
                if helper is not None and helper != text:
                    own = constants - _argument_names(helper)
                    waiting.append((helper, own | _short_arguments(node.id, helper, tree, short)))


def _argument_names(text: str) -> set[str]:
    return {node.arg for node in ast.walk(ast.parse(text)) if isinstance(node, ast.arg)}


def _short_arguments(name: str, helper: str, caller: ast.Module, short: set[str]) -> set[str]:
    """The arguments of a helper that get something short in every call of a caller."""
    definition = ast.parse(helper).body[0]
    members = definition.body if isinstance(definition, ast.ClassDef) else []
    definition = next((node for node in members if getattr(node, "name", "") == "__init__"), definition)
    arguments = next((node for node in ast.walk(definition) if isinstance(node, ast.arguments)), None)
    calls = [node for node in ast.walk(caller) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == name]
    if arguments is None or not calls:
        return set()
    short = _short_names(caller, short)
    names = [argument.arg for argument in arguments.posonlyargs + arguments.args]
    if members:
        names = names[1:]  # without self
    found = []
    for call in calls:
        given = {keyword.arg: keyword.value for keyword in call.keywords if keyword.arg is not None}
        starred = any(isinstance(value, ast.Starred) for value in call.args)
        if not starred:
            given |= dict(zip(names, call.args, strict=False))
        found.append({argument for argument, value in given.items() if _is_short(value, short)})
        if arguments.vararg and not starred:
            found[-1].add(arguments.vararg.arg)
    return set.intersection(*found)


class _LazySources:
    """The source texts of a notebook's functions and classes, and of what gave its other global names."""

    def __init__(self, names: dict[str, Any]) -> None:
        self.names = names

    def get(self, name: str) -> str | None:
        helper: Any = self.names.get(name)
        if isinstance(helper, np.vectorize) or "(vectorized)" in str(getattr(helper, "__name__", "")):  # by frompyfunc
            return f"{name} = np.vectorize(...)"
        # Functions of installed modules aren't the student's.
        if namespace_of(helper) is not self.names:
            return None
        try:
            text = textwrap.dedent(_text_behind(helper))
            ast.parse(text)
        except (OSError, TypeError, SyntaxError, KeyError):
            return None
        return text


@functools.lru_cache(maxsize=4)
def _parsed(text: str) -> ast.Module:
    """The syntax tree, not to be changed: a notebook's text is looked into for each name."""
    return ast.parse(textwrap.dedent(text))


def _definitions(tree: ast.Module) -> dict[str, ast.stmt]:
    """Name -> the last statement at the top level that defines a function or class of that name."""
    found: dict[str, ast.stmt] = {}
    for statement in tree.body:
        if isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[statement.name] = statement
        elif isinstance(statement, ast.Assign) and _gives_a_function(statement.value, found):
            found |= {target.id: statement for target in statement.targets if isinstance(target, ast.Name)}
    return found


def _gives_a_function(value: ast.expr, known: dict[str, ast.stmt]) -> bool:
    """Whether it holds a lambda, is another name, a partial or vectorised function, or an instance of a class."""
    if isinstance(value, ast.Call):
        called = getattr(value.func, "attr", getattr(value.func, "id", ""))
        if called in ("partial", "vectorize", "frompyfunc") or isinstance(known.get(called), ast.ClassDef):
            return True
    return isinstance(value, (ast.Name, ast.Attribute)) or any(isinstance(node, ast.Lambda) for node in ast.walk(value))


def _imports(nodes: Iterable[ast.AST]) -> dict[str, tuple[str, str]]:
    """Name -> the module that an import among ``nodes`` binds it to, or from, and the name that it has there."""
    found: dict[str, tuple[str, str]] = {}
    for statement in nodes:
        if isinstance(statement, ast.Import):
            found |= {alias.asname or alias.name.split(".")[0]: (alias.name, alias.name) for alias in statement.names}
        elif isinstance(statement, ast.ImportFrom):
            module = statement.module or ""
            found |= {alias.asname or alias.name: (module, alias.name) for alias in statement.names}
    return found


def _text_of(statement: ast.stmt, text: str) -> str:
    first = min([statement.lineno, *(node.lineno for node in getattr(statement, "decorator_list", []))])
    return "\n".join(text.splitlines()[first - 1 : statement.end_lineno])


def _library_of(function: Callable, name: str) -> str:
    """The module that a global name of ``function`` stands for or comes from, or ``""``."""
    if name in TAKEN_OVER:  # taken over from an earlier notebook
        return ""
    carried = getattr(function, "__student_source__", None)
    if carried:
        return _imports(_parsed(carried).body).get(name, ("", ""))[0]
    names = namespace_of(function)
    value = names.get(name)
    if any(value is names.get(taken_over, names) for taken_over in TAKEN_OVER):  # by another name
        return ""
    module = value.__name__ if isinstance(value, types.ModuleType) else getattr(value, "__module__", None)
    return module if isinstance(module, str) else ""


def _original_name(function: Callable, name: str) -> str:
    """What a global name of ``function`` is called where it comes from; the empty string for the student's own."""
    carried = getattr(function, "__student_source__", None)
    if carried:
        tree = _parsed(carried)
        return "" if name in _definitions(tree) else _imports(tree.body).get(name, ("", name))[1]
    names = namespace_of(function)
    value = names.get(name)
    if getattr(inspect.unwrap(value) if callable(value) else value, "__globals__", None) is names:
        return ""
    return getattr(value, "__name__", name)


# --- Finding the loops ------------------------------------------------------------------


def _short_constants(function: Callable) -> set[str]:
    """Names of the notebook's that stand for a literal, as ``LAYERS = (1, 2)``."""
    carried = getattr(function, "__student_source__", None)
    if carried:
        return _short_names(ast.Module([node for node in _parsed(carried).body if isinstance(node, ast.Assign)], []))
    names = namespace_of(function)
    return {name for name, value in names.items() if isinstance(value, (tuple, list, dict, set)) and len(value) <= 20}


def _loop_in(text: str, constants: set[str]) -> str | None:
    tree, lines = ast.parse(text), text.splitlines()
    short = _short_names(tree, constants)
    own_name = _name_for_itself(tree)
    for node in ast.walk(tree):
        loops = isinstance(node, ast.While) and not _counts_to_something_short(node.test, short)
        if isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            loops = not _is_short(node.iter, short)
        elif isinstance(node, ast.Call):
            name, attribute = getattr(node.func, "id", None), getattr(node.func, "attr", None)
            module = getattr(getattr(node.func, "value", None), "id", None)
            if name in _LOOPING_FUNCTIONS or (attribute in _LOOPING_FUNCTIONS and module in _THEIR_MODULES):
                iterables = node.args[1:] if name == "map" else node.args[1:2]
                loops = not any(_is_short(iterable, short) for iterable in iterables)
            else:  # a disguised loop, or the function calls itself
                loops = name in _HIDDEN_LOOPS or attribute in _HIDDEN_LOOPS or (name is not None and name == own_name)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            loops = any(_decorates_with_a_loop(decorator) for decorator in node.decorator_list)
        place = node.iter if isinstance(node, ast.comprehension) else node
        if loops and isinstance(place, (ast.expr, ast.stmt)):
            return lines[place.lineno - 1].strip()
    return None


def _name_for_itself(tree: ast.Module) -> str | None:
    """The name under which a function calls itself; None if it binds that name to something else within."""
    definition = next(iter(tree.body), None)
    name = getattr(definition, "name", None)
    for node in ast.walk(tree):
        bound = getattr(node, "asname", None) or (node.name if isinstance(node, ast.alias) else None)
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node is not definition:
            bound = node.name
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            bound = node.id
        elif isinstance(node, ast.arg):
            bound = node.arg
        if bound is not None and bound == name:
            return None
    return name


def _counts_to_something_short(test: ast.expr, short: set[str]) -> bool:
    """Whether it is like ``i <= 2`` or ``f"W{i}" in params``."""
    return (
        isinstance(test, ast.Compare)
        and len(test.ops) == 1
        and isinstance(test.ops[0], (ast.Lt, ast.LtE, ast.In))
        and _is_short(test.comparators[0], short)
    )


def _decorates_with_a_loop(decorator: ast.expr) -> bool:
    return any(getattr(node, "attr", getattr(node, "id", None)) in _HIDDEN_LOOPS for node in ast.walk(decorator))


def _short_names(tree: ast.AST, constants: AbstractSet[str] = frozenset()) -> set[str]:
    """Names that only ever stand for something short."""
    short = _DICTS | constants
    for node in ast.walk(tree):
        if isinstance(node, ast.arguments):  # what isn't given may be the default
            arguments = [*node.posonlyargs, *node.args][::-1][: len(node.defaults)] + node.kwonlyargs
            defaults = [*node.defaults[::-1], *node.kw_defaults]
            for argument, default in zip(arguments, defaults, strict=True):
                if default is not None and _is_short(default, short):
                    short = short | {argument.arg}
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)) or node.value is None:
            continue
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        names = {name for target in targets if (name := _name_of(target)) is not None}
        if _is_short(node.value, short):
            short |= names
        else:
            short -= names
    return short


def _is_short(iterable: ast.expr, names: set[str]) -> bool:
    """Whether the number of steps can't grow with the data."""
    if isinstance(iterable, (ast.Tuple, ast.List, ast.Set)):
        return not any(isinstance(element, ast.Starred) for element in iterable.elts)
    if isinstance(iterable, ast.Dict):
        return True
    if isinstance(iterable, ast.Constant):
        return isinstance(iterable.value, (str, int))
    if isinstance(iterable, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
        return all(_is_short(generator.iter, names) for generator in iterable.generators)
    if isinstance(iterable, ast.BinOp):
        return _is_short(iterable.left, names) and _is_short(iterable.right, names)
    if isinstance(iterable, ast.Call):
        name = getattr(iterable.func, "attr", getattr(iterable.func, "id", ""))
        if name in ("items", "keys", "values"):
            return True
        if name == "split":
            return isinstance(iterable.func, ast.Attribute) and isinstance(iterable.func.value, ast.Constant)
        if name in ("zip", "map", "filter"):  # as short as the shortest of what they go through
            return any(_is_short(argument, names) for argument in iterable.args[name != "zip" :])
        return name in _AS_SHORT_AS_ARGUMENTS and all(_is_short(argument, names) for argument in iterable.args)
    if isinstance(iterable, ast.Subscript):
        return isinstance(iterable.slice, ast.Slice) and _is_short(iterable.value, names)
    return _name_of(iterable) in names


def _name_of(node: ast.expr) -> str | None:
    """``layers`` for ``layers`` and for ``self.layers``."""
    return getattr(node, "attr", getattr(node, "id", None))
