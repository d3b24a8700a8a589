"""Compare formulas that a student wrote, given as text, with SymPy's own derivatives, exactly."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sympy

#: Names of the logits of one sample, in the order of the classes.
LOGITS = ("z0", "z1", "z2")
#: Where expressions are evaluated to show a deviation; exact in binary.
POINT = (0.5, -1.25, 0.75)
#: Two values that agree to this at 40 digits go on to the exact comparison.
_AGREEMENT = 1e-30
_DIGITS = 40
#: Bounds that keep an expression's evaluation short. The derivative in a long-winded form
#: has some 500 characters and 30 exponentials.
_LONGEST_TEXT = 4000
_LARGEST_EXPONENT = 20
_MOST_FACTORS = 150
_GREATEST_DEPTH = 100
_LARGEST_ARGUMENT = 1e4

_OPERATORS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
    ast.UAdd: operator.pos, ast.USub: operator.neg,
}  # fmt: skip
_FUNCTIONS = ("exp", "log", "sqrt", "sinh", "cosh", "tanh", "coth", "sech", "csch", "Max", "Min")


class FormulaError(ValueError):
    """A text that isn't an accepted formula; the message says what is the matter."""


def as_text(expressions: Any) -> list[str] | str:
    """Expressions as plain text, to be compared elsewhere.

    Parameters
    ----------
    expressions : sequence of SymPy expressions or numbers
        A list, tuple or column matrix.

    Returns
    -------
    list of str
        One text for each; or one str, the text of the whole, if it isn't a sequence.
    """
    try:
        return [str(expression) for expression in expressions]
    except TypeError:
        return str(expressions)


class Formula:
    """A formula in the logits z0, z1, z2, read from text.

    Numbers, ``+ - * / **``, exp, log, sqrt, hyperbolic functions, Max and Min are
    understood. The text is parsed, never executed.

    Parameters
    ----------
    text : str
        As ``str`` of a SymPy expression gives it.

    Raises
    ------
    FormulaError
        If it holds anything else, or is too large to be compared in reasonable time.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        if len(text) > _LONGEST_TEXT:
            raise FormulaError(f"it has {len(text)} characters, too many to compare; simplify it.")
        try:
            self._tree = ast.parse(text, mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            raise FormulaError("it isn't a formula.") from None
        if _depth(self._tree) > _GREATEST_DEPTH or _factors(self._tree) > _MOST_FACTORS:
            raise FormulaError("it is too large to compare; simplify it.")

    def value(self, point: tuple[float, float, float] = POINT) -> Any:
        """The value at ``z = point``, an mpmath number of 40 digits."""
        import mpmath

        def bounded(function: Callable) -> Callable:
            def evaluate(*arguments: Any) -> Any:
                if any(abs(argument) > _LARGEST_ARGUMENT for argument in arguments):
                    raise FormulaError(f"its values are too large at z = {_written(point)}.")
                return function(*arguments)

            return evaluate

        def power(base: Any, exponent: Any) -> Any:
            if abs(exponent) > _LARGEST_EXPONENT:
                raise FormulaError(f"it holds a power larger than {_LARGEST_EXPONENT}.")
            return base**exponent

        with mpmath.workdps(_DIGITS):
            names = dict(zip(LOGITS, map(mpmath.mpf, point), strict=True)) | {"E": mpmath.e()}
            functions = {name: bounded(getattr(mpmath, name)) for name in _FUNCTIONS[:-2]}
            functions |= {"Max": max, "Min": min, "power": power}
            functions |= {"number": lambda number: mpmath.mpf(number.p) / number.q}
            try:
                return +_interpreted(self._tree, names, functions)
            except (ZeroDivisionError, OverflowError, TypeError):
                raise FormulaError(f"it has no real value at z = {_written(point)}.") from None

    def expression(self) -> sympy.Expr:
        """The same formula as a SymPy expression."""
        import sympy

        names = dict(zip(LOGITS, logits(), strict=True)) | {"E": sympy.E}
        functions = {name: getattr(sympy, name) for name in _FUNCTIONS}
        functions |= {"power": operator.pow, "number": lambda number: number}
        return _interpreted(self._tree, names, functions)


@cache
def logits() -> tuple[sympy.Symbol, ...]:
    """The real symbols z0, z1, z2."""
    import sympy

    return tuple(sympy.symbols(LOGITS, real=True))


@cache
def derivatives(label: int) -> tuple[sympy.Expr, ...]:
    """SymPy's derivatives of -log softmax(z)_label = log sum exp(z) - z_label, one for each logit."""
    import sympy

    z = logits()
    loss = sympy.log(sum(map(sympy.exp, z))) - z[label]
    return tuple(sympy.diff(loss, symbol) for symbol in z)


def agree(value: Any, expected: Any) -> bool:
    """Whether two 40-digit values are the same number."""
    return bool(abs(value - expected) < _AGREEMENT)


def are_equal(one: sympy.Expr, other: sympy.Expr) -> bool:
    """Whether two expressions are equal for all real z, proven exactly.

    Exponentials of sums are split into products of the exponentials of single terms; the
    difference is then a quotient of polynomials in these, and is zero just when its
    expanded numerator is. Only where this finds no proof is SymPy's simplify asked.
    """
    import sympy

    difference = one - other
    if difference.has(sympy.functions.elementary.hyperbolic.HyperbolicFunction):
        difference = difference.rewrite(sympy.exp)
    difference = sympy.expand_power_exp(difference)
    numerator, _ = sympy.fraction(sympy.together(difference))
    return sympy.expand(numerator) == 0 or sympy.simplify(difference) == 0


def _depth(node: ast.AST) -> int:
    """How many levels the tree has, counted without recursion."""
    level, depth = [node], 0
    while level:
        level, depth = [child for parent in level for child in ast.iter_child_nodes(parent)], depth + 1
    return depth


def _factors(node: ast.AST) -> int:
    """An upper bound of the number of exponentials that are multiplied when all is written out."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow):
        exponent = node.right.operand if isinstance(node.right, ast.UnaryOp) else node.right
        number = getattr(exponent, "value", _LARGEST_EXPONENT)
        power = max(1, math.ceil(number)) if isinstance(number, (int, float)) else 1
        return power * _factors(node.left) + _factors(node.right)
    own = int(isinstance(node, (ast.Name, ast.Constant)))
    return own + sum(map(_factors, ast.iter_child_nodes(node)))


def _interpreted(node: ast.AST, names: Mapping[str, Any], functions: Mapping[str, Callable]) -> Any:
    """The value of a syntax tree, with ``names`` and ``functions`` and nothing else."""
    if isinstance(node, ast.BinOp) and (isinstance(node.op, ast.Pow) or type(node.op) in _OPERATORS):
        operands = [_interpreted(side, names, functions) for side in (node.left, node.right)]
        return _OPERATORS.get(type(node.op), functions["power"])(*operands)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_interpreted(node.operand, names, functions))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        import sympy

        # A decimal number means what it shows: 0.1 is a tenth.
        return functions["number"](sympy.Rational(Fraction(str(node.value))))
    if isinstance(node, ast.Name):
        if node.id in names:
            return names[node.id]
        raise FormulaError(f"it holds {node.id}, which is none of {', '.join(LOGITS)}.")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords and node.args:
        if node.func.id in _FUNCTIONS:
            return functions[node.func.id](*(_interpreted(argument, names, functions) for argument in node.args))
        raise FormulaError(f"it holds the function {node.func.id}; write it with exp and log.")
    raise FormulaError("it holds something besides numbers, the logits, + - * / **, exp and log.")


def _written(point: tuple[float, ...]) -> str:
    return f"({', '.join(f'{coordinate:g}' for coordinate in point)})"
