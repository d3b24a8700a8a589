"""Reads an assignment from nbgrader's gradebook and the instructor's notebooks.

Which cells there are, and their points, the gradebook says, as of when the assignment was made; what a test or another
locked cell of code does, the notebook says as it is now, so that a mended test needs no new release.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat
from nbgrader.api import Gradebook, MissingEntry, Notebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import ClearHiddenTests
from nbgrader.utils import find_all_files, is_grade, is_locked, is_solution, is_task
from sqlalchemy.engine import make_url

from autograder.assignment import LENT_TAG, SETUP_TAG, Assignment, SourceCell, SourceNotebook

#: In a test, what nbgrader replaces by tests that it makes itself.
_AUTOMATIC = re.compile("AUTOTEST")


class UnknownAssignment(Exception):
    """The gradebook doesn't hold the assignment; the text says what to do."""


def load(coursedir: CourseDirectory, name: str, leave_out: Iterable[str] = ()) -> Assignment:
    """Read an assignment from the gradebook and the source folder.

    Parameters
    ----------
    coursedir : CourseDirectory
    name : str
    leave_out : iterable of str
        Files that students hand in themselves, so that those of the source folder don't take their place, as nbgrader's
        ``Autograde.exclude_overwriting``.

    Raises
    ------
    UnknownAssignment
        If the gradebook doesn't hold it, its notebooks can't be found, or they have other questions than it has.
    """
    folder = Path(coursedir.format_path(coursedir.source_directory, ".", name))
    url = make_url(coursedir.db_url)
    # Opening one that doesn't exist would make an empty one.
    if url.get_backend_name() == "sqlite" and url.database and not Path(url.database).exists():
        raise UnknownAssignment(
            f"There is no gradebook {url.database}. In the course's folder, make one and the assignment with:"
            f" nbgrader generate_assignment {name}"
        )
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        try:
            found = gradebook.find_assignment(name)
        except MissingEntry:
            raise UnknownAssignment(
                f'The gradebook doesn\'t know "{name}". Make the assignment with: nbgrader generate_assignment {name}'
            ) from None
        if not found.notebooks:
            raise UnknownAssignment(f'The assignment "{name}" has no notebooks in the gradebook.')
        notebooks = {notebook.name: _notebook(notebook, folder) for notebook in found.notebooks}
    paths = [Path(path) for path in find_all_files(str(folder), [*coursedir.ignore, "*.ipynb"])]
    names = {str(path.relative_to(folder)): path for path in paths}
    asked = tuple(leave_out)
    files = {relative: path.read_bytes() for relative, path in names.items() if relative not in asked}
    return Assignment(name, dict(sorted(notebooks.items())), files, asked)


def _notebook(row: Notebook, folder: Path) -> SourceNotebook:
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
    cells, changed = [], []
    for cell in written.cells:
        tags = cell.metadata.get("tags", [])
        setup, lent = SETUP_TAG in tags, LENT_TAG in tags
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id", "")
        if grade_id in sources:
            source = sources.pop(grade_id)
            if grade_id in points and points[grade_id] != cell.metadata.nbgrader.get("points"):
                changed.append(grade_id)
            tested = source.locked and cell.cell_type == "code" and not _AUTOMATIC.search(cell.source)
            text = cell.source if tested else source.source
            copy = nbformat.v4.new_code_cell(text)
            released._remove_hidden_test_region(copy)
            cells.append(
                SourceCell(
                    cell.get("id", ""), grade_id, source.cell_type, text, copy.source,
                    grade_id in graded, grade_id in solutions, bool(source.locked), grade_id in tasks, setup,
                    points.get(grade_id), source.checksum, lent,
                )
            )  # fmt: skip
        elif is_grade(cell) or is_solution(cell) or is_locked(cell) or is_task(cell):
            changed.append(grade_id)
        elif setup:
            text = (cell.cell_type, cell.source, cell.source)
            cells.append(SourceCell(cell.get("id", ""), "", *text, False, False, True, False, True, None, None, lent))
    if sources or changed:
        raise UnknownAssignment(
            f"{path.name} has other questions or points than when the assignment was made:"
            f" {', '.join(sorted([*sources, *changed]))}. Take them over with: make release (grades are kept), or"
            " restore the notebook."
        )
    return SourceNotebook(row.name, tuple(cells), json.loads(row.kernelspec) if row.kernelspec else {})
