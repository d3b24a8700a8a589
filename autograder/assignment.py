"""What the course knows of an assignment: the cells that students can't change.

Read once from the gradebook and the instructor's notebooks, and sent to the workers, which
so need neither.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import find_all_files

SETUP_TAG = "setup"


class UnknownAssignment(Exception):
    """The gradebook doesn't hold the assignment; the text says what to do."""


@dataclass(frozen=True)
class SourceCell:
    """A cell as the instructor wrote it, solutions removed, hidden tests included.

    Attributes
    ----------
    cell_id : str
        Its id in the notebook format.
    grade_id : str
        nbgrader's name, empty for a setup cell that nbgrader doesn't manage.
    cell_type : str
        ``"code"`` or ``"markdown"``.
    source, released : str
        The text, with and without hidden tests.
    grade, solution, locked, task, setup : bool
    points : float, optional
    checksum : str, optional
    """

    cell_id: str
    grade_id: str
    cell_type: str
    source: str
    released: str
    grade: bool
    solution: bool
    locked: bool
    task: bool
    setup: bool
    points: float | None
    checksum: str | None

    @property
    def is_test(self) -> bool:
        """Whether it decides about points by what it puts out."""
        return self.grade and not self.solution and self.cell_type == "code"

    @property
    def runs(self) -> str:
        """In which process: see :class:`autograder.session.Cell`."""
        if self.is_test:
            return "grader"
        return "both" if self.setup and self.cell_type == "code" else "cage"

    def nbgrader_metadata(self) -> dict:
        """The metadata of nbgrader's schema 3."""
        metadata = {
            "grade": self.grade, "grade_id": self.grade_id, "locked": self.locked, "schema_version": 3,
            "solution": self.solution, "task": self.task, "cell_type": self.cell_type,
        }  # fmt: skip
        if self.checksum:
            metadata["checksum"] = self.checksum
        if self.points is not None:
            metadata["points"] = self.points
        return metadata


@dataclass(frozen=True)
class SourceNotebook:
    """The cells of one notebook that nbgrader manages or that are tagged ``setup``, in order."""

    name: str
    cells: tuple[SourceCell, ...]
    kernelspec: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """An assignment.

    Attributes
    ----------
    name : str
    notebooks : dict
        Name without ``.ipynb`` -> :class:`SourceNotebook`.
    files : dict
        Relative path -> content of the instructor's files beside the notebooks, which take
        the place of a student's files of the same name.
    """

    name: str
    notebooks: dict[str, SourceNotebook]
    files: dict[str, bytes]


def load(coursedir: CourseDirectory, name: str, leave_out: Iterable[str] = ()) -> Assignment:
    """Read an assignment from the gradebook and the source folder.

    Parameters
    ----------
    coursedir : CourseDirectory
    name : str
    leave_out : iterable of str
        Files of the source folder that don't take a student's place, as nbgrader's
        ``Autograde.exclude_overwriting``.

    Raises
    ------
    UnknownAssignment
        If the gradebook doesn't hold it, or its notebooks can't be found.
    """
    folder = Path(coursedir.format_path(coursedir.source_directory, ".", name))
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        try:
            found = gradebook.find_assignment(name)
        except MissingEntry:
            raise UnknownAssignment(
                f'The gradebook doesn\'t know the assignment "{name}". Make it with: nbgrader generate_assignment {name}'
            ) from None
        if not found.notebooks:
            raise UnknownAssignment(f'The assignment "{name}" has no notebooks in the gradebook.')
        notebooks = {notebook.name: _notebook(notebook, folder) for notebook in found.notebooks}
    paths = [Path(path) for path in find_all_files(str(folder), [*coursedir.ignore, "*.ipynb"])]
    names = {str(path.relative_to(folder)): path for path in paths}
    files = {relative: path.read_bytes() for relative, path in names.items() if relative not in set(leave_out)}
    return Assignment(name, dict(sorted(notebooks.items())), files)


def _notebook(row: object, folder: Path) -> SourceNotebook:
    path = folder / f"{row.name}.ipynb"
    if not path.is_file():
        raise UnknownAssignment(f"The instructor's notebook {path} is missing; it says which cells are setup.")
    written = nbformat.read(path, as_version=4)
    points = {cell.name: cell.max_score for cell in [*row.grade_cells, *row.task_cells]}
    graded = {cell.name for cell in row.grade_cells}
    solutions = {cell.name for cell in row.solution_cells}
    tasks = {cell.name for cell in row.task_cells}
    sources = {cell.name: cell for cell in row.source_cells}
    released = ClearHiddenTests()
    cells = []
    for cell in written.cells:
        setup = SETUP_TAG in cell.metadata.get("tags", [])
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if grade_id in sources:
            source = sources.pop(grade_id)
            copy = nbformat.v4.new_code_cell(source.source)
            released._remove_hidden_test_region(copy)
            cells.append(
                SourceCell(
                    cell.get("id", ""), grade_id, source.cell_type, source.source, copy.source,
                    grade_id in graded, grade_id in solutions, bool(source.locked), grade_id in tasks, setup,
                    points.get(grade_id), source.checksum,
                )
            )  # fmt: skip
        elif setup:
            text = (cell.cell_type, cell.source, cell.source)
            cells.append(SourceCell(cell.get("id", ""), "", *text, False, False, True, False, True, None, None))
    if sources:
        raise UnknownAssignment(
            f"{path.name} has changed since the assignment was made: {', '.join(sorted(sources))} can't be found in it."
            " Make it anew with nbgrader generate_assignment, or restore the notebook."
        )
    return SourceNotebook(row.name, tuple(cells), json.loads(row.kernelspec) if row.kernelspec else {})
