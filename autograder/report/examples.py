"""A student's code without the student: no comments, docstrings, texts, names or long numbers of their own."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterable

import numpy as np

_MAX_LINES = 30
_MAX_COLUMNS = 110
_WORD = re.compile(r"[^\W\d_]{3,}")
#: A whole number from which on it may be a student's.
_LONG = 100_000
_KNOWN = {*dir(builtins), *dir(np), *dir(np.ndarray), *dir(np.random.Generator), "self", "cls"}
_OMITTED = "…"


class Course:
    """What belongs to a course's own code, and so tells nothing about a student.

    Parameters
    ----------
    text : str
        All code that students were given, and the tests.
    """

    def __init__(self, text: str) -> None:
        self.words = {word.lower() for word in re.findall(r"\w+", text)}
        self.texts = {first or second for first, second in re.findall(r"\"([^\"\n]*)\"|'([^'\n]*)'", text)}


def example(code: str, functions: Iterable[str], names: Iterable[str], course: Course) -> str | None:
    """The code of some functions, written anew.

    Parameters
    ----------
    code : str
        Of solution cells.
    functions : iterable of str
        Whose last definitions are shown; none for all of the code.
    names : iterable of str
        By which the student can be known: words in them are taken out of the code's own names.
    course : Course

    Returns
    -------
    str or None
        None where the code is no Python.
    """
    wanted = set(functions)
    try:
        body = ast.parse(code).body
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        last = {statement.name: statement for statement in body if isinstance(statement, kinds)}
        shown: list[ast.stmt] = [one for name, one in last.items() if name in wanted] if wanted else body
        if not shown:
            return None
        taken_out = _Anonymous({word.lower() for name in names for word in _WORD.findall(name)}, course)
        text = ast.unparse(ast.fix_missing_locations(taken_out.visit(ast.Module(shown, []))))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
    lines = [line if len(line) <= _MAX_COLUMNS else line[:_MAX_COLUMNS] + _OMITTED for line in text.splitlines()]
    return "\n".join(lines if len(lines) <= _MAX_LINES else [*lines[:_MAX_LINES], _OMITTED])


class _Anonymous(ast.NodeTransformer):
    def __init__(self, words: set[str], course: Course) -> None:
        self.words = words
        self.course = course

    def generic_visit(self, node: ast.AST) -> ast.AST:
        for field in ("body", "orelse", "finalbody"):
            statements = getattr(node, field, None)
            if isinstance(statements, list):
                kept = [one for one in statements if not _is_text(one)]
                setattr(node, field, kept or ([ast.Pass()] if statements and field == "body" else []))
        for field in ("id", "arg", "name", "attr", "asname"):
            name = getattr(node, field, None)
            if isinstance(name, str):
                setattr(node, field, self._name(name))
        if isinstance(node, (ast.Global, ast.Nonlocal)):
            node.names = [self._name(name) for name in node.names]
        return super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        """A text that isn't the course's, and a long number, are left out."""
        if isinstance(node.value, (str, bytes)):
            text = node.value if isinstance(node.value, str) else node.value.decode("latin-1")
            if text not in self.course.texts and _WORD.search(text):
                return ast.Constant(_OMITTED)
        elif type(node.value) is int and abs(node.value) >= _LONG and str(node.value) not in self.course.words:
            return ast.Constant(...)
        return node

    def _name(self, name: str) -> str:
        if name.lower() in self.course.words or name in _KNOWN:
            return name
        parts = re.split(r"([^\W\d_]+)", name)
        hidden = (part.lower() in self.words or any(word in part.lower() for word in self.words) for part in parts)
        return "".join("name" if hide else part for part, hide in zip(parts, hidden, strict=True))


def _is_text(statement: ast.AST) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )
