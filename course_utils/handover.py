"""Bring a student's functions from an earlier notebook into a later one.

Only definitions are run: imports, functions, classes, constants, and the handover's own
assignments. Where a function is missing or doesn't pass a check on the toy problem, one
sentence says so and a stand-in (:mod:`course_utils.stand_ins`) takes its place, which for
``backward`` needs PyTorch. While grading, the stand-in is always used, so that no
point of a later notebook depends on an earlier one. The cell that takes over is tagged ``lent``:
graded in the cage, it runs in the grader's process, where the stand-ins then are called from the notebook.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import linecache
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from course_utils.comparison import CheckFailed, not_done
from course_utils.notebooks import ASKED, NotebookError, find, read
from course_utils.questions import TAKEN_OVER, asking, check_of


def grading() -> bool:
    """Whether nbgrader executes this notebook (it sets ``NBGRADER_EXECUTION``)."""
    return bool(os.environ.get("NBGRADER_EXECUTION"))


def from_notebook(notebook: str | Path, *names: str) -> Any:
    """The functions ``names`` as the student wrote them in ``notebook``, or stand-ins.

    Parameters
    ----------
    notebook : str or Path
        File name of the earlier notebook; it is found by its content, see :mod:`course_utils.notebooks`.
    *names : str
        Functions to bring over, from :data:`course_utils.questions.TAKEN_OVER`.

    Returns
    -------
    callable or tuple of callables
        One function if one name is given, else a tuple in the order of ``names``.
    """
    unknown = [name for name in names if name not in TAKEN_OVER]
    if unknown or not names:
        raise ValueError(f"from_notebook can bring over {', '.join(TAKEN_OVER)}, not {', '.join(unknown) or 'nothing'}")
    if grading():
        from course_utils import stand_ins

        functions = {name: getattr(stand_ins, name) for name in names}
        print(f"While grading, the course's own {' and '.join(names)} is used, whatever stands in {notebook}.")
    else:
        functions = _students_or_stand_ins(notebook, names)
    return functions[names[0]] if len(names) == 1 else tuple(functions[name] for name in names)


def _students_or_stand_ins(notebook: str | Path, names: tuple[str, ...]) -> dict[str, Callable]:
    try:
        path = _located(notebook)
        found = definitions(path)
    except NotebookError as error:
        print(f"{error} A stand-in takes the place of {', '.join(names)}.{_without_pytorch(*names)}")
        return {name: _stand_in(name) for name in names}
    functions, own = {}, []
    for name in names:
        trouble = _trouble(name, found)
        if trouble is None:
            functions[name] = found[name]
            own.append(name)
        else:
            functions[name] = _stand_in(name)
            print(f"{name} in {path.name} {trouble}: a stand-in takes its place.{_without_pytorch(name)}")
    if own:
        print(f"Yours, from {path.name}: {', '.join(own)}.")
    return functions


#: Functions whose stand-ins do.
_NEED_PYTORCH = ("backward",)


def _without_pytorch(*names: str) -> str:
    """What a student reads besides where PyTorch is missing, if one of the stand-ins needs it."""
    if importlib.util.find_spec("torch") or not set(names) & set(_NEED_PYTORCH):
        return ""
    return " It needs PyTorch, which isn't installed: python -m pip install torch."


def _stand_in(name: str) -> Callable:
    if _without_pytorch(name):

        def missing(*args: Any, **kwargs: Any) -> Any:
            raise not_done(f"there is no right {name} to go on with, and its stand-in needs PyTorch.")

        return missing
    from course_utils import stand_ins

    return getattr(stand_ins, name)


def _located(notebook: str | Path) -> Path:
    """The file of one of the assignment's notebooks, given its name, or any other file as it is given."""
    return find(str(notebook)) if str(notebook) in ASKED else Path(notebook)


def definitions(notebook: str | Path) -> dict[str, Any]:
    """Run the definitions of a notebook and return them by name.

    Parameters
    ----------
    notebook : str or Path
        File name of one of the assignment's notebooks, which is found by its content, or any notebook file.

    Returns
    -------
    dict
        The namespace: every name that an import, a ``def``, a ``class``, a constant or a
        ``from_notebook`` assignment binds. A definition that raises is left out.

    Raises
    ------
    NotebookError
        If there is no such file, or it isn't a notebook.
    """
    from IPython.core.inputtransformer2 import TransformerManager

    path = _located(notebook)
    cells = read(path).cells
    namespace: dict[str, Any] = {"__name__": f"handover_{path.stem}"}
    transform = TransformerManager().transform_cell
    for number, cell in enumerate(cells):
        if cell.cell_type != "code":
            continue
        try:
            source = transform(cell.source)
            tree = ast.parse(source)
        except SyntaxError:
            continue  # the names that this cell would define are then missing, which is said
        filename = f"<{path.name}, cell {number}>"
        # With the text in linecache, inspect.getsource and tracebacks show the student's lines.
        linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
        for statement in filter(_is_definition, tree.body):
            module = ast.Module([statement], type_ignores=[])
            # A definition that fails leaves its name unbound; the other ones go on.
            with contextlib.suppress(Exception), contextlib.redirect_stdout(io.StringIO()), _beside(path):
                exec(compile(module, filename, "exec"), namespace)
    return namespace


def _is_definition(statement: ast.stmt) -> bool:
    if isinstance(statement, (ast.FunctionDef, ast.ClassDef, ast.Import, ast.ImportFrom)):
        return True
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
        return False
    if isinstance(statement.value, ast.Call):
        function = statement.value.func
        return getattr(function, "id", getattr(function, "attr", "")) == "from_notebook"
    try:
        ast.literal_eval(statement.value)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _beside(path: Path) -> Iterator[None]:
    """Run with the notebook's folder as the working directory, as Jupyter does."""
    with contextlib.chdir(path.resolve().parent):
        yield


def _as_it_stands(function: Callable) -> Callable:
    def called(*args: Any) -> Any:
        return function(*args)

    called.__name__ = getattr(function, "__name__", "the function")
    return called


def _trouble(name: str, found: dict[str, Any]) -> str | None:
    """Why the function can't be used, as the end of a sentence, or None."""
    function = found.get(name)
    if not callable(function):
        return "is not defined"
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            # Without a view of its helpers: what is taken over must be right as it stands.
            check_of(asking(name))(_as_it_stands(function))
    except NotImplementedError:
        return "is not written yet"
    except CheckFailed as error:
        return f"does not pass its check ({error.quantity}: {error.problem.rstrip('.')})"
    return None
