"""Reads what a student handed in, whatever it is, and makes a notebook that can be run.

Nothing here runs a student's code, and what a student did is named as trouble, in sentences for
the student and the instructor. It is for a handler (:mod:`autograder.handler`), whose memory and
processor time are bounded.
"""

from __future__ import annotations

import ast
import contextlib
import difflib
import fnmatch
import itertools
import json
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import PurePosixPath
from typing import Any

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.utils import compute_checksum, parse_utc

from autograder import dependence
from autograder.assignment import SETUP_TAG, Assignment, SourceCell, SourceNotebook
from autograder.outputs import clean_text

#: Bounds on a submission: as nbgrader's CourseDirectory.max_dir_size, and on what is looked at.
MAX_BYTES = 100_000_000
MAX_FILES = 2000
MAX_ENTRIES = 10_000
MAX_DEPTH = 20
_MAX_PATH_BYTES = 1000
#: The file in which nbgrader's collect writes when a submission came.
TIMESTAMP = "timestamp.txt"
_MAX_CELLS = 2000
#: Bytes of the cells that are kept of one notebook, as written.
_MAX_CELLS_BYTES = 8 * 2**20
#: Longer cells aren't recognised by the functions that they define: as a tree, a megabyte may take half a gigabyte.
_MAX_RECOGNISED = 100_000
_CELL_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def time_in(content: bytes) -> datetime | None:
    """The time that a file :data:`TIMESTAMP` holds, in UTC and without a time zone; None if it holds none."""
    try:
        return parse_utc(content[:100].decode().strip())
    except Exception:  # whatever a text does to the parser
        return None


def collect(
    folder: str, ignore: Sequence[str], first: Iterable[str] = (), only: Sequence[str] = ()
) -> tuple[dict[str, bytes], list[str]]:
    """Read the files of a submission.

    Links aren't followed: one that points at the gradebook would carry it into the cage and
    into feedback.

    Parameters
    ----------
    folder : str
    ignore : sequence of str
        Patterns of names to leave out, as ``CourseDirectory.ignore``.
    first : iterable of str
        Paths that are read before the others, so that those can't take up the bounds.
    only : sequence of str
        The entries of the folder that are looked at; empty for all.

    Returns
    -------
    files : dict
        Relative path -> content.
    trouble : list of str
    """
    try:
        top = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return {}, ["the submission's folder is missing, is a link or can't be read"]
    try:
        found, trouble = _list(top, ignore, only)
        files: dict[str, bytes] = {}
        wanted = set(first)
        left = MAX_BYTES
        for path in sorted(found, key=lambda path: (path not in wanted, path)):
            try:
                content = _read(top, path, left if len(files) < MAX_FILES else -1)
            except OSError:
                trouble.append(f"{shown(path)} can't be read and was left out")
                continue
            if content is None:
                trouble.append(f"{shown(path)} was left out: the submission is too large")
            else:
                files[path] = content
                left -= len(content)
        return files, trouble
    finally:
        os.close(top)


@contextlib.contextmanager
def _folder(top: int, path: str) -> Iterator[int]:
    """A descriptor of a folder below ``top``, to which no link has led."""
    descriptor = os.dup(top)
    try:
        for name in PurePosixPath(path).parts:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
            os.close(descriptor)
            descriptor = inner
        yield descriptor
    finally:
        os.close(descriptor)


def _list(top: int, ignore: Sequence[str], only: Sequence[str]) -> tuple[list[str], list[str]]:
    """The plain files below a folder, as relative paths, and what was left out."""
    files: list[str] = []
    trouble: list[str] = []
    waiting, entries = [""], 0
    while waiting:
        folder = waiting.pop()
        try:
            with _folder(top, folder) as descriptor, os.scandir(descriptor) as found:
                wanted = (entry.name for entry in found if folder or not only or entry.name in only)
                names = list(itertools.islice(wanted, MAX_ENTRIES - entries + 1))
                kinds = {name: os.lstat(name, dir_fd=descriptor).st_mode for name in names}
        except OSError:
            trouble.append(f"{shown(folder)} can't be read and was left out")
            continue
        entries += len(names)
        if entries > MAX_ENTRIES:
            trouble.append(f"only {MAX_ENTRIES} files and folders were looked at")
            waiting = []
        for name in sorted(names):
            if any(fnmatch.fnmatch(name, pattern) for pattern in ignore):
                continue
            path, kind = os.path.join(folder, name), kinds[name]
            if stat.S_ISLNK(kind):
                trouble.append(f"{shown(name)} is a link and was left out")
            elif not can_be_kept(path):
                trouble.append(f"{shown(name)} was left out: its name can't be written, or it lies too deep")
            elif stat.S_ISREG(kind):
                files.append(path)
            elif not stat.S_ISDIR(kind):
                trouble.append(f"{shown(name)} is not a plain file and was left out")
            elif entries <= MAX_ENTRIES:
                waiting.append(path)
    return files, trouble


def can_be_kept(path: str) -> bool:
    """Whether a relative path is short and shallow enough, and can be written."""
    try:
        return len(path.encode()) <= _MAX_PATH_BYTES and path.count("/") < MAX_DEPTH
    except UnicodeEncodeError:
        return False


def _read(top: int, path: str, most: int) -> bytes | None:
    """A file's content; None if it has more than ``most`` bytes."""
    outer, name = os.path.split(path)
    with _folder(top, outer) as descriptor:
        opened = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=descriptor)
    with open(opened, "rb") as file:
        status = os.fstat(opened)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{path} is not a plain file")
        return file.read(status.st_size) if status.st_size <= most else None


def make_room(files: dict[str, bytes], own: Iterable[str]) -> list[str]:
    """Drop the files that are where the instructor's need a folder, or in a folder where they need a file.

    Parameters
    ----------
    files : dict
        Changed in place.
    own : iterable of str
        Relative paths of the instructor's files.

    Returns
    -------
    list of str
        What was dropped, as trouble.
    """
    own = set(own)
    folders = {str(outer) for path in own for outer in PurePosixPath(path).parents}
    trouble = []
    for path in list(files):
        if path in folders or any(str(outer) in own for outer in PurePosixPath(path).parents):
            del files[path]
            trouble.append(f"{shown(path)} was left out: the assignment has something else of that name")
    return trouble


def without_common_folder(files: dict[str, bytes], apart: Sequence[str] = ()) -> tuple[dict[str, bytes], str]:
    """The files without the one folder that all of them lie in, and that folder, empty if there is none.

    Files that ``apart`` names may lie beside it.
    """
    folder = ""
    while True:
        inner = [path for path in files if path not in apart]
        tops = {path.split("/", 1)[0] for path in inner}
        if len(tops) != 1 or not all("/" in path for path in inner):
            return files, folder
        top = tops.pop()
        kept = {path: files[path] for path in files if path in apart}
        below = {path.split("/", 1)[1]: files[path] for path in inner}
        files = kept | {path: content for path, content in below.items() if path not in apart}
        folder = f"{folder}/{top}" if folder else top


def put_in_place(files: dict[str, bytes], assignment: Assignment) -> tuple[dict[str, bytes], list[str]]:
    """The files with those that are asked for where they are looked for, however deep a student has put them.

    Returns
    -------
    files : dict
        Without the one folder that all lie in; and, in the place of a file in ``assignment.asked`` that is missing, the
        first of its name, in whatever case, among those that lie deeper.
    trouble : list of str
    """
    files, folder = without_common_folder(files, (TIMESTAMP,))
    trouble = [f"all of it lay in the folder {shown(folder)}"] if folder else []
    found = dict(files)
    for name in assignment.asked:
        alike = [path for path in files if PurePosixPath(path).name.casefold() == PurePosixPath(name).name.casefold()]
        if name not in files and alike:
            first = min(alike, key=lambda path: (path.count("/"), path))
            found[name] = files[first]
            trouble.append(f"{shown(name)} is missing; {shown(first)} was taken in its place")
    return found, trouble


def digest(files: dict[str, bytes], trouble: Iterable[str] = ()) -> str:
    """A number, in hexadecimal, that differs where two submissions do, or what is said about where they lie."""
    return dependence.number(*(part for name in sorted(files) for part in (name, files[name])), *trouble)


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
    missing = [name for name in assignment.notebooks if name not in paths]
    held = {path: _grade_ids(files[path]) for path in extra} if missing else {}
    trouble = []
    for name in missing:
        wanted = {cell.grade_id for cell in assignment.notebooks[name].cells if cell.grade_id}
        best, best_score = None, 0.5
        for path in extra:
            score = len(held[path] & wanted) / max(len(wanted), 1)
            if score > 0.49:  # of equal ones, the one whose name is more like it
                score += 0.01 * difflib.SequenceMatcher(None, path, f"{name}.ipynb").ratio()
            if score > best_score:
                best, best_score = path, score
        if best is not None:
            extra.remove(best)
            paths[name] = best
            trouble.append(f"{name}.ipynb is missing; {shown(best)} was graded in its place")
    trouble += [f"{shown(path)} is not part of the assignment and was not graded" for path in extra]
    return paths, trouble


def _grade_ids(content: bytes) -> set[str]:
    """The names that nbgrader has given to a notebook's cells; none if the file is no notebook."""
    try:
        cells = json.loads(content)["cells"]
        return {cell["metadata"]["nbgrader"]["grade_id"] for cell in cells if "nbgrader" in cell["metadata"]}
    except Exception:  # whatever a damaged file does to the parser
        return set()


def read_notebook(content: bytes) -> tuple[NotebookNode | None, list[str]]:
    """Read a notebook, reduced to what the format knows, without outputs.

    Returns
    -------
    notebook : NotebookNode or None
        None if there is none in ``content``.
    trouble : list of str

    Raises
    ------
    MemoryError
        If that takes more memory than the process may have.
    """
    try:
        raw = json.loads(content.decode(json.detect_encoding(content), "replace"))
        if not isinstance(raw.get("cells"), list):
            raw = nbformat.convert(nbformat.from_dict(raw), 4)
        given = list(raw["cells"])
        kernelspec = raw.get("metadata", {}).get("kernelspec", {})
    except MemoryError:
        raise MemoryError("reading it takes more memory than there is") from None
    except Exception:  # whatever a damaged file does to the parsers
        return None, ["the file is not a notebook"]
    cells, left = [], _MAX_CELLS_BYTES
    for raw_cell in given[:_MAX_CELLS]:
        cell = _clean_cell(raw_cell) if isinstance(raw_cell, dict) else None
        size = _written_bytes(cell)
        if cell is not None and size <= left:
            cells.append(cell)
            left -= size
    trouble = []
    if len(given) > _MAX_CELLS:
        trouble.append(f"of its cells only the first {_MAX_CELLS} were graded")
    if len(cells) < min(len(given), _MAX_CELLS):
        left_out = min(len(given), _MAX_CELLS) - len(cells)
        trouble.append(f"{left_out} of its cells were left out: damaged or too large")
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
    return notebook, trouble


def _written_bytes(cell: NotebookNode | None) -> int:
    """How long a cell is when it is written, at most: a line of its own for each line, with what sets it off."""
    return len(json.dumps(cell)) + 16 * cell.source.count("\n") if cell is not None else 0


def _clean_cell(raw: dict) -> NotebookNode:
    source = raw.get("source", "")
    source = clean_text("".join(map(str, source)) if isinstance(source, list) else source)
    metadata = raw.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    kept: dict[str, Any] = {}
    if isinstance(metadata.get("nbgrader"), dict) and isinstance(metadata["nbgrader"].get("grade_id"), str):
        kept["nbgrader"] = {"grade_id": metadata["nbgrader"]["grade_id"], "as_given": _as_given(raw, source)}
    tags = metadata.get("tags")
    if isinstance(tags, list):
        texts = [clean_text(tag)[:200] for tag in tags if isinstance(tag, str)]
        kept["tags"] = [tag for tag in dict.fromkeys(texts) if "," not in tag and tag != SETUP_TAG][:20]
    kind = raw.get("cell_type") if raw.get("cell_type") in ("code", "raw") else "markdown"
    parts = {"cell_type": kind, "id": str(raw.get("id", "")), "metadata": kept, "source": source}
    # Not by nbformat.v4.new_code_cell and the like, which compare each cell with the format, as is done with them all.
    cell = nbformat.from_dict(parts | ({"execution_count": None, "outputs": []} if kind == "code" else {}))
    if cell.cell_type == "markdown" and isinstance(raw.get("attachments"), dict):
        cell.attachments = {
            clean_text(name): {clean_text(kind): clean_text(text) for kind, text in bundle.items()
                               if isinstance(text, str)}
            for name, bundle in raw["attachments"].items()
            if isinstance(bundle, dict)
        }  # fmt: skip
    return cell


def _as_given(raw: dict, source: str) -> bool:
    """Whether a cell is as it was when nbgrader wrote its checksum, in whichever release that was."""
    marks = raw["metadata"]["nbgrader"]
    try:
        cell = nbformat.from_dict({"cell_type": raw["cell_type"], "source": source, "metadata": {"nbgrader": marks}})
        return compute_checksum(cell) == marks["checksum"]
    except Exception:  # whatever else a student has put there
        return False


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
    places = _identify(notebook.cells, source, trouble)
    altered = []
    for index, cell in enumerate(notebook.cells):
        known = places.get(index)
        as_given = cell.metadata.pop("nbgrader", {}).get("as_given", False)
        cell.metadata.autograder = {"runs": "cage"}
        if known is not None:
            if cell.cell_type != known.cell_type:
                cell = notebook.cells[index] = _with_type(cell, known.cell_type)
                altered.append(known)
            elif known.locked and cell.source.rstrip() not in (known.released.rstrip(), known.source.rstrip()):
                altered += [] if as_given else [known]
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

    def take(matches: Callable[[NotebookNode, SourceCell], object]) -> None:
        for known in list(unnamed):
            for index, cell in enumerate(cells):
                if index not in places and index not in claimed and matches(cell, known):
                    places[index] = known
                    unnamed.remove(known)
                    break

    before = len(places)
    defined = {id(cell): _names(cell.source) for cell in cells if unnamed and cell.cell_type == "code"}
    take(lambda cell, known: known.cell_id and cell.id == known.cell_id)
    take(lambda cell, known: cell.source.strip() and cell.source.strip() == known.released.strip())
    take(lambda cell, known: known.solution and defined.get(id(cell)) and defined[id(cell)] >= _names(known.released))
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


def _names(source: str) -> set[str]:
    """The functions and classes that a cell defines; none if it isn't Python."""
    if len(source) > _MAX_RECOGNISED:
        return set()
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
