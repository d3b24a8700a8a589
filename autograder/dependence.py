"""What a grade depends on, as one number for each question.

A question's grade depends on the submission, on its test and the tests that bind names for it, on the other cells of
the instructor's notebook, on the checks that these import, on the grader itself, and on the settings. What of that
isn't the submission is put into one number here, once for a class; a handler joins it with the submission's.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import importlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from autograder.assignment import Assignment, SourceCell, SourceNotebook
from autograder.settings import Settings

#: The packages whose source a grade depends on, and the modules that grade.
_PACKAGES = ("autograder", "course_utils")
_GRADERS = ("autograder.handler", "autograder.roles")


#: Statements after which all the names in them that may be bound are.
_BINDING = (ast.Assign, ast.AnnAssign, ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Dependence:
    """What the grade of one question depends on besides the submission.

    Attributes
    ----------
    number : str
        In hexadecimal; another one where any of it is another.
    after : tuple of str
        ``grade_id`` of the tests that bind names which its own test uses, and which so must run before it.
    """

    number: str
    after: tuple[str, ...] = ()


def of_assignment(assignment: Assignment, settings: Settings) -> dict[str, dict[str, Dependence]]:
    """Notebook name -> ``grade_id`` of each cell with points -> :class:`Dependence`."""
    general = number(
        repr(settings), *(part for name in sorted(assignment.files) for part in (name, assignment.files[name])),
        *sources(_GRADERS), _data(),
    )  # fmt: skip
    return {name: _of_notebook(notebook, general) for name, notebook in assignment.notebooks.items()}


def joined(submission: str, dependences: Mapping[str, Dependence]) -> dict[str, str]:
    """``grade_id`` -> the number of all that a grade depends on; ``submission`` is the submission's own."""
    return {name: number(submission, one.number) for name, one in dependences.items()}


def _of_notebook(notebook: SourceNotebook, general: str) -> dict[str, Dependence]:
    graded = {cell.grade_id: cell for cell in notebook.cells if cell.grade or cell.task}
    others = [cell for cell in notebook.cells if cell.grade_id not in graded and cell.cell_type == "code"]
    imported = _imported_names(cell for cell in others if cell.setup)
    # Which of the other cells a test builds upon isn't asked: a student's cells run between them.
    shared = {module for cell in others for name in _names(cell) for module in imported.get(name, ())}
    everywhere = number(general, repr(sorted(notebook.kernelspec.items())), *map(_text, others), *sources(shared))
    tests = {name: cell for name, cell in graded.items() if cell.is_test}
    binds = {name: _bound(cell) for name, cell in tests.items()}
    found = {}
    for name, cell in graded.items():
        before = _builds_upon(name, tests, binds) if cell.is_test else set()
        own = [cell, *(tests[other] for other in sorted(before))]
        modules = {module for one in own for used in _names(one) for module in imported.get(used, ())}
        modules |= {module for one in own for named in _imports(one) for module in named}
        found[name] = Dependence(number(everywhere, *map(_text, own), *sources(modules)), tuple(sorted(before)))
    return found


def _builds_upon(name: str, tests: Mapping[str, SourceCell], binds: Mapping[str, set[str]]) -> set[str]:
    """The tests that bind names which a test uses before it binds them, and those that these build upon."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        wanted = _free(tests[waiting.pop()])
        new = {other for other, bound in binds.items() if bound & wanted} - found - {name}
        found |= new
        waiting += new
    return found


def _text(cell: SourceCell) -> str:
    # A test's checksum is of its text, as it was when the assignment was made.
    return repr(dataclasses.astuple(dataclasses.replace(cell, checksum=None) if cell.locked else cell))


def number(*parts: str | bytes) -> str:
    """A number, in hexadecimal, that differs where the parts do."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        content = part.encode("utf-8", "surrogatepass") if isinstance(part, str) else part
        digest.update(len(content).to_bytes(8, "big") + content)
    return digest.hexdigest()


# ---- names in cells


@cache
def _tree(cell: SourceCell) -> ast.Module:
    """A cell's syntax tree; an empty one where it holds no Python."""
    if cell.cell_type != "code":
        return ast.Module([], [])
    try:
        return ast.parse(TransformerManager().transform_cell(cell.source))
    except SyntaxError:
        return ast.Module([], [])


def _names(cell: SourceCell) -> set[str]:
    return {node.id for node in ast.walk(_tree(cell)) if isinstance(node, ast.Name)}


def _bound(cell: SourceCell) -> set[str]:
    return {name for statement in _tree(cell).body for name in _bound_by(statement)}


def _bound_by(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).split(".")[0]


def _free(cell: SourceCell) -> set[str]:
    """The names that a cell may use before it has bound them; rather one too many."""
    return _free_in(_tree(cell).body, set())


def _free_in(statements: list[ast.stmt], certain: set[str]) -> set[str]:
    """The same of statements; the names in ``certain`` are bound before, and those that these surely bind are added."""
    free: set[str] = set()
    for statement in statements:
        blocks = [value for _, value in ast.iter_fields(statement) if isinstance(value, list)]
        blocks = [block for block in blocks if block and isinstance(block[0], ast.stmt)]
        inside = {id(node) for block in blocks for inner in block for node in ast.walk(inner)}
        heads = [node for node in ast.walk(statement) if id(node) not in inside and isinstance(node, ast.Name)]
        updated = isinstance(statement, ast.AugAssign)
        free |= {node.id for node in heads if updated or not isinstance(node.ctx, ast.Store)} - certain
        opens = isinstance(statement, (ast.For, ast.With))
        head = {node.id for node in heads if opens and isinstance(node.ctx, ast.Store)}
        for block in blocks:
            free |= _free_in(block, certain | head)
        if isinstance(statement, _BINDING):
            certain |= set(_bound_by(statement))
        elif isinstance(statement, ast.With):
            certain |= head
    return free


# ---- modules


def _imported_names(cells: Iterable[SourceCell]) -> dict[str, tuple[str, ...]]:
    """Name -> the modules that it is imported from, of what cells import."""
    return {name: modules for cell in cells for node in ast.walk(_tree(cell)) for name, modules in _bindings(node)}


def _imports(cell: SourceCell) -> Iterator[tuple[str, ...]]:
    return (modules for node in ast.walk(_tree(cell)) for _, modules in _bindings(node))


def _bindings(node: ast.AST, package: str = "") -> Iterator[tuple[str, tuple[str, ...]]]:
    """What an import statement binds: the name, and the modules that it may come from."""
    if isinstance(node, ast.Import):
        yield from ((alias.asname or alias.name.split(".")[0], (alias.name,)) for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        outer = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
        base = ".".join([*outer, *([node.module] if node.module else [])])
        yield from ((alias.asname or alias.name, (base, f"{base}.{alias.name}")) for alias in node.names)


def sources(modules: Iterable[str]) -> list[str]:
    """The source of modules of :data:`_PACKAGES` and of all those that they import, with their names."""
    found: dict[str, str] = {}
    waiting = sorted(modules)
    while waiting:
        module = waiting.pop()
        if module not in found and (read := _source(module)) is not None:
            found[module], imported = read
            outer = module.split(".")
            waiting += [*imported, *(".".join(outer[:depth]) for depth in range(1, len(outer)))]
    return [part for module in sorted(found) for part in (module, found[module])]


@cache
def _source(module: str) -> tuple[str, frozenset[str]] | None:
    """A module's source and what it imports; None if it is none of :data:`_PACKAGES`."""
    top, *inner = module.split(".")
    if top not in _PACKAGES:
        return None
    path = _folder(top).joinpath(*inner)
    package = module if path.is_dir() else module.rpartition(".")[0]
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    if not path.is_file():
        return None
    text = path.read_text(encoding="utf-8")
    named = (modules for node in ast.walk(ast.parse(text)) for _, modules in _bindings(node, package))
    return text, frozenset(module for modules in named for module in modules)


@cache
def _data() -> str:
    """The number of the files of :data:`_PACKAGES` that aren't modules."""
    paths = [path for package in _PACKAGES for path in sorted(_folder(package).rglob("*.np[yz]"))]
    return number(*(part for path in paths for part in (path.name, path.read_bytes())))


def _folder(package: str) -> Path:
    return Path(importlib.import_module(package).__file__ or "").parent
