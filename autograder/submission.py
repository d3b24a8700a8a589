"""Reads what a student handed in, whatever it is, and makes a notebook that can be run.

Nothing here runs a student's code, and nothing raises for what a student did: it is named
as trouble, in sentences for the student and the instructor.
"""

from __future__ import annotations

import ast
import difflib
import fnmatch
import hashlib
import json
import os
import re
import stat
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.assignment import SETUP_TAG, Assignment, SourceCell, SourceNotebook

#: Bounds on a submission: as nbgrader's CourseDirectory.max_dir_size, and on the number of files.
MAX_BYTES = 100_000_000
MAX_FILES = 2000
_MAX_CELLS = 2000
_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def collect(folder: str | Path, ignore: list[str]) -> tuple[dict[str, bytes], list[str]]:
    """Read the files of a submission.

    Links aren't followed: one that points at the gradebook would carry it into the cage and
    into feedback.

    Parameters
    ----------
    folder : str or Path
    ignore : list of str
        Patterns of names to leave out, as ``CourseDirectory.ignore``.

    Returns
    -------
    files : dict
        Relative path -> content.
    trouble : list of str
    """
    files: dict[str, bytes] = {}
    trouble: list[str] = []
    if os.path.islink(folder) or not os.path.isdir(folder):
        return files, ["the submission's folder is missing or is a link"]
    total = 0
    for path, folders, names in os.walk(folder):
        for name in sorted(folders):
            if os.path.islink(os.path.join(path, name)):
                trouble.append(f"{shown(name)} is a link and was left out")
        folders[:] = sorted(
            name for name in folders
            if not _ignored(name, ignore) and not os.path.islink(os.path.join(path, name))
        )  # fmt: skip
        for name in sorted(names):
            if _ignored(name, ignore):
                continue
            full = os.path.join(path, name)
            try:
                relative = os.path.relpath(full, folder)
                relative.encode()
                descriptor = os.open(full, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except (OSError, UnicodeEncodeError):
                trouble.append(f"{shown(name)} is a link or can't be read, and was left out")
                continue
            with open(descriptor, "rb") as file:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode):
                    trouble.append(f"{shown(name)} is not a plain file and was left out")
                elif total + status.st_size > MAX_BYTES or len(files) >= MAX_FILES:
                    trouble.append(f"{shown(name)} was left out: the submission is too large")
                else:
                    files[relative] = file.read(status.st_size)
                    total += len(files[relative])
    return files, trouble


def digest(files: dict[str, bytes]) -> str:
    """A number, in hexadecimal, that differs where two submissions do."""
    number = hashlib.blake2b(digest_size=16)
    for name in sorted(files):
        for part in (name.encode(), files[name]):
            number.update(len(part).to_bytes(8, "big") + part)
    return number.hexdigest()


def _ignored(name: str, patterns: list[str]) -> bool:
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def shown(name: str) -> str:
    """A name that a student chose, safe to show in a terminal, a web page and a database."""
    kept = re.sub(r"[^\w .()+,=@-]", "?", name.encode("utf-8", "replace").decode())
    return f"'{kept[:80]}'"


def assign_notebooks(files: dict[str, bytes], assignment: Assignment) -> tuple[dict[str, str], list[str]]:
    """Find the file for each notebook of the assignment; a renamed one is recognised by its cells.

    Returns
    -------
    paths : dict
        Notebook name -> relative path; a missing notebook has none.
    trouble : list of str
    """
    paths = {name: f"{name}.ipynb" for name in assignment.notebooks if f"{name}.ipynb" in files}
    extra = [path for path in files if path.endswith(".ipynb") and path not in paths.values()]
    trouble = []
    for name, source in assignment.notebooks.items():
        if name in paths:
            continue
        best, best_score = None, 0.5
        for path in extra:
            score = _likeness(files[path], source) + 0.01 * difflib.SequenceMatcher(None, path, f"{name}.ipynb").ratio()
            if score > best_score:
                best, best_score = path, score
        if best is not None:
            extra.remove(best)
            paths[name] = best
            trouble.append(f"{name}.ipynb is missing; {shown(best)} was graded in its place")
    trouble += [f"{shown(path)} is not part of the assignment and was not graded" for path in extra[:20]]
    return paths, trouble


def _likeness(content: bytes, source: SourceNotebook) -> float:
    """Which part of a notebook's graded cells, 0 to 1, a file holds, by their ids."""
    wanted = {cell.grade_id for cell in source.cells if cell.grade_id}
    try:
        cells = json.loads(content)["cells"]
        found = {cell["metadata"]["nbgrader"]["grade_id"] for cell in cells if "nbgrader" in cell["metadata"]}
    except (ValueError, KeyError, TypeError, RecursionError, AttributeError):
        return 0.0
    return len(found & wanted) / max(len(wanted), 1)


def read_notebook(content: bytes) -> NotebookNode | None:
    """The notebook in ``content``, reduced to what the format knows, without outputs; None if it is none."""
    try:
        raw = json.loads(content.decode("utf-8-sig"))
        if raw.get("nbformat") != 4:
            raw = nbformat.convert(nbformat.from_dict(raw), 4)
        cells = [_clean_cell(cell) for cell in list(raw["cells"])[:_MAX_CELLS]]
        kernelspec = raw.get("metadata", {}).get("kernelspec", {})
    except Exception:  # whatever a damaged file does to the parsers
        return None
    used: set[str] = set()
    for number, cell in enumerate(cells):
        if not _CELL_ID.fullmatch(cell.id) or cell.id in used:
            cell.id = f"cell-{number}"
            while cell.id in used:
                cell.id += "-"
        used.add(cell.id)
    notebook = nbformat.v4.new_notebook(cells=cells)
    if isinstance(kernelspec, dict) and isinstance(kernelspec.get("name"), str):
        notebook.metadata.kernelspec = {"name": kernelspec["name"]}
    return notebook


def _clean_cell(raw: dict) -> NotebookNode:
    source = raw.get("source", "")
    source = "".join(map(str, source)) if isinstance(source, list) else str(source)
    source = source.encode("utf-8", "replace").decode()
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kept = {}
    if isinstance(metadata.get("nbgrader"), dict) and isinstance(metadata["nbgrader"].get("grade_id"), str):
        kept["nbgrader"] = {"grade_id": metadata["nbgrader"]["grade_id"]}
    tags = metadata.get("tags")
    if isinstance(tags, list):
        kept["tags"] = [tag for tag in tags if isinstance(tag, str) and "," not in tag and tag != SETUP_TAG][:20]
    new = {"code": nbformat.v4.new_code_cell, "raw": nbformat.v4.new_raw_cell}
    cell = new.get(raw.get("cell_type"), nbformat.v4.new_markdown_cell)(source, metadata=kept)
    if cell.cell_type == "markdown" and isinstance(raw.get("attachments"), dict):
        cell.attachments = {
            str(name): {str(kind): text for kind, text in bundle.items() if isinstance(text, str)}
            for name, bundle in raw["attachments"].items()
            if isinstance(bundle, dict)
        }
    cell.id = str(raw.get("id", ""))
    return cell


def restore(notebook: NotebookNode, source: SourceNotebook) -> list[str]:
    """Put the instructor's cells back into a student's notebook, in place.

    Afterwards every test and locked cell is there once, with the instructor's text, and no
    other cell claims to be one. Each cell's ``metadata.autograder.runs`` says in which
    process it runs.

    Returns
    -------
    list of str
        What had to be put right.
    """
    trouble = []
    name = notebook.metadata.get("kernelspec", {}).get("name", "")
    if source.kernelspec.get("name") and name and name != source.kernelspec["name"]:
        trouble.append(f"the kernel was {shown(name)}, and {source.kernelspec['name']} was used")
    notebook.metadata.kernelspec = dict(source.kernelspec)
    if len(notebook.cells) >= _MAX_CELLS:
        trouble.append(f"of its cells only the first {_MAX_CELLS} were graded")
    places = _identify(notebook.cells, source, trouble)
    altered = []
    for index, cell in enumerate(notebook.cells):
        known = places.get(index)
        cell.metadata.pop("nbgrader", None)
        cell.metadata.autograder = {"runs": "cage"}
        if known is not None:
            if cell.cell_type != known.cell_type:
                cell = notebook.cells[index] = _with_type(cell, known.cell_type)
                altered.append(known)
            elif known.locked and cell.source.rstrip() not in (known.released.rstrip(), known.source.rstrip()):
                altered.append(known)
            _mark(cell, known, source)
    if any(cell.cell_type == "code" for cell in altered):
        names = ", ".join(cell.grade_id or cell.cell_id for cell in altered if cell.cell_type == "code")
        trouble.append(f"locked cells had been altered and were restored: {names}")
    present = {id(known) for known in places.values()}
    missing = [cell for cell in source.cells if id(cell) not in present]
    _add_missing(notebook, source, missing)
    needed = [cell.grade_id or cell.cell_id for cell in missing if cell.is_test or cell.setup or cell.grade]
    if needed:
        trouble.append(f"cells had been deleted and were added again: {', '.join(needed)}")
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return trouble


def _mark(cell: NotebookNode, known: SourceCell, source: SourceNotebook) -> None:
    if known.locked or known.setup:
        cell.source = known.source
    if known.grade_id:
        cell.metadata.nbgrader = known.nbgrader_metadata()
    if known.setup:
        cell.metadata.tags = [*cell.metadata.get("tags", []), SETUP_TAG]
    cell.metadata.autograder = {"runs": known.runs, "order": source.cells.index(known)}


def _with_type(cell: NotebookNode, cell_type: str) -> NotebookNode:
    new = nbformat.v4.new_code_cell if cell_type == "code" else nbformat.v4.new_markdown_cell
    changed = new(cell.source, metadata=cell.metadata)
    changed.id = cell.id
    return changed


def _identify(cells: list[NotebookNode], source: SourceNotebook, trouble: list[str]) -> dict[int, SourceCell]:
    """Which cells of a notebook are which of the instructor's: index -> cell."""
    by_name = {cell.grade_id: cell for cell in source.cells if cell.grade_id}
    claims: dict[str, list[int]] = {}
    for index, cell in enumerate(cells):
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name in by_name:
            claims.setdefault(name, []).append(index)
    places: dict[int, SourceCell] = {}
    for name, indices in claims.items():
        # Of several, the last is it, as in nbgrader; the others are run as the student's own.
        places[indices[-1]] = by_name[name]
        if len(indices) > 1:
            trouble.append(f"the cell {name} was there {len(indices)} times; the last one counts")
    claimed = {index for indices in claims.values() for index in indices}
    found = {id(cell) for cell in places.values()}
    unnamed = [cell for cell in source.cells if id(cell) not in found]

    def take(matches) -> None:
        for known in list(unnamed):
            for index, cell in enumerate(cells):
                if index not in places and index not in claimed and matches(cell, known):
                    places[index] = known
                    unnamed.remove(known)
                    break

    before = len(places)
    take(lambda cell, known: known.cell_id and cell.id == known.cell_id)
    take(lambda cell, known: cell.source.strip() and cell.source.strip() == known.released.strip())
    take(lambda cell, known: known.solution and _defined(cell) and _defined(cell) >= _names(known.released))
    _take_neighbours(cells, source, places, unnamed, claimed)
    restored = [places[index].grade_id for index in list(places)[before:] if places[index].grade_id]
    if restored:
        trouble.append(f"nbgrader's metadata had been removed and was restored for {len(restored)} cells")
    return places


def _take_neighbours(
    cells: list[NotebookNode], source: SourceNotebook, places: dict[int, SourceCell], unnamed: list[SourceCell],
    claimed: set[int],
) -> None:  # fmt: skip
    """A solution cell without a name is the one that follows its predecessor."""
    order = {id(cell): number for number, cell in enumerate(source.cells)}
    for index in range(1, len(cells)):
        before = places.get(index - 1)
        if before is None or index in places or index in claimed or order[id(before)] + 1 >= len(source.cells):
            continue
        follower = source.cells[order[id(before)] + 1]
        if follower in unnamed and follower.solution and follower.cell_type == cells[index].cell_type:
            places[index] = follower
            unnamed.remove(follower)


def _defined(cell: NotebookNode) -> set[str]:
    return _names(cell.source) if cell.cell_type == "code" else set()


def _names(source: str) -> set[str]:
    """The functions and classes that a cell defines; none if it isn't Python."""
    try:
        body = ast.parse(source).body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return set()
    return {item.name for item in body if isinstance(item, (ast.FunctionDef, ast.ClassDef))}


def _add_missing(notebook: NotebookNode, source: SourceNotebook, missing: list[SourceCell]) -> None:
    """Add cells again: as late as possible, so that a student's own cells come before a test."""
    order = {cell.grade_id or cell.cell_id: number for number, cell in enumerate(source.cells)}

    def number_of(cell: NotebookNode) -> int | None:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if name is None and SETUP_TAG in cell.metadata.get("tags", []):
            name = cell.id
        return order.get(name)

    used = {cell.id for cell in notebook.cells}
    for known in missing:
        if known.cell_type == "markdown" and not (known.grade or known.task or known.solution):
            continue  # text of the instructor's that nothing depends on
        mine = order[known.grade_id or known.cell_id]
        numbers = [number_of(cell) for cell in notebook.cells]
        known_numbers = [(index, number) for index, number in enumerate(numbers) if number is not None]
        after = max((index + 1 for index, number in known_numbers if number < mine), default=0)
        later = [index for index, number in known_numbers if number > mine]
        place = max(after, min(later)) if later else len(numbers)
        if known.setup:
            place = after
        new = nbformat.v4.new_code_cell if known.cell_type == "code" else nbformat.v4.new_markdown_cell
        cell = new(known.source)
        cell.id = known.cell_id if known.cell_id and known.cell_id not in used else f"added-{mine}"
        used.add(cell.id)
        _mark(cell, known, source)
        notebook.cells.insert(place, cell)
