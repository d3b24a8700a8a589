"""Put everything that belongs to a submission into one zip file, and say what isn't done yet.

``python -m course_utils pack`` and notebook 5's last cell call :func:`pack`. In the file, each
notebook has the assignment's name for it, whatever it was called, and ``manifest.json``
lists the SHA-256 of every other file. The **fingerprint** is a digest of that list: it tells
two submissions apart, and comes back with the grade.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from course_utils.comparison import CheckFailed
from course_utils.evaluation import MAX_MLP_BYTES, check_file, load_network
from course_utils.handover import grading
from course_utils.notebooks import ASKED, NotebookError, find, folders, read, recognised
from course_utils.progress import watched

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: Name of the zip file, and of the list in it.
ARCHIVE, MANIFEST = "two_layer_net.zip", "manifest.json"
#: The networks that notebooks 4 and 5 save.
NETWORKS = ("best_net.npz", "best_mlp.pt")

_NOT_WRITTEN, _NOT_ANSWERED = "raise NotImplementedError()", "YOUR ANSWER HERE"
#: Zip files hold no earlier date; all entries have it, so that the same files make the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


class Packed(NamedTuple):
    """What :func:`pack` wrote.

    Attributes
    ----------
    path : Path
        The zip file.
    fingerprint : str
        See :func:`fingerprint_of`.
    undone : list of str
        What is missing, not run or not filled in, a sentence each.
    """

    path: Path
    fingerprint: str
    undone: list[str]


def fingerprint_of(files: Mapping[str, bytes]) -> str:
    """The fingerprint of a submission: four groups of four hexadecimal digits.

    Parameters
    ----------
    files : mapping
        Name -> content, the manifest left out.
    """
    return _fingerprint(digests(files))


def digests(files: Mapping[str, bytes]) -> dict[str, str]:
    """Name -> SHA-256 of each file, as the manifest lists them."""
    return {name: hashlib.sha256(files[name]).hexdigest() for name in sorted(files)}


def _fingerprint(listed: Mapping[str, str]) -> str:
    text = "".join(f"{digest}  {name}\n" for name, digest in sorted(listed.items()))
    digest = hashlib.sha256(text.encode()).hexdigest()
    return "-".join(digest[start : start + 4] for start in range(0, 16, 4))


def pack(folder: str | Path | None = None) -> Packed:
    """Write the zip file with a student's notebooks and networks, whatever is missing from them.

    Parameters
    ----------
    folder : str or Path, optional
        Where the files are, and where the zip file is written; by default the folder of
        :func:`course_utils.notebooks.folders` that holds the notebooks.

    Raises
    ------
    NotebookError
        If none of the assignment's notebooks is there; nothing is written then.
    OSError
        If the zip file can't be written.
    """
    places = folders() if folder is None else [Path(folder).resolve()]
    files: dict[str, bytes] = {}
    undone: list[str] = []
    for name in ASKED:
        try:
            path = find(name, places)
            notebook = read(path)
        except NotebookError as error:
            undone.append(str(error))
            continue
        files[name] = path.read_bytes()
        undone += [f"{path.name}: {text}" for text in _undone(name, notebook)]
        places = [path.parent, *(place for place in places if place != path.parent)]
    if not files:
        raise NotebookError(f"None of the assignment's notebooks is in {' or '.join(map(str, places))}.")
    for name in NETWORKS:
        network = next((place / name for place in places if (place / name).is_file()), None)
        trouble = "it isn't there; the notebook that trains it saves it" if network is None else _trouble(network)
        if network is None or trouble:
            undone.append(f"{name}: {trouble}.")
        else:
            files[name] = network.read_bytes()
    archive = places[0] / ARCHIVE
    _write(archive, files)
    return Packed(archive, fingerprint_of(files), undone)


def _undone(name: str, notebook: NotebookNode) -> Iterator[str]:
    """What isn't run or filled in, as parts of a sentence."""
    if recognised(notebook) != name:
        yield "it isn't the notebook of that name, or most of its functions were deleted."
    code = [cell for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()]
    unwritten = [
        function for function in ASKED[name]
        if any(f"def {function}(" in cell.source and _NOT_WRITTEN in cell.source for cell in code)
    ]  # fmt: skip
    unanswered = [cell for cell in notebook.cells if cell.cell_type == "markdown" and _NOT_ANSWERED in cell.source]
    tests = [cell for cell in code if cell.metadata.get("nbgrader", {}).get("grade")]
    failed = [cell for cell in tests if any(output.output_type == "error" for output in cell.outputs)]
    if unwritten:
        yield f"not written yet: {', '.join(unwritten)}."
    if unanswered:
        yield f"not answered yet: {_listed(unanswered)}."
    if all(cell.execution_count is None for cell in code):
        yield "it was saved before any cell was run; run all of them and save it."
    elif failed:
        yield f"does not pass yet: {_listed(failed)}."


def _listed(cells: list[NotebookNode]) -> str:
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") or cell.get("id", "a cell") for cell in cells]
    return ", ".join(names)


def _trouble(path: Path) -> str | None:
    """Why a network's file won't be graded, or None."""
    try:
        if path.suffix == ".npz":
            load_network(path)
        else:
            check_file(path, MAX_MLP_BYTES)
    except CheckFailed as error:
        return error.problem.rstrip(".")
    return None


def _write(path: Path, files: Mapping[str, bytes]) -> None:
    listed = digests(files)
    manifest = {"fingerprint": _fingerprint(listed), "files": listed}
    content = {MANIFEST: json.dumps(manifest, indent=1).encode() + b"\n", **files}
    incomplete = path.with_name(f".{path.name}.incomplete")
    try:
        with zipfile.ZipFile(incomplete, "w") as archive:
            for name in sorted(content):
                entry = zipfile.ZipInfo(name, _DATE)
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content[name], zipfile.ZIP_DEFLATED)
        incomplete.replace(path)
    finally:
        incomplete.unlink(missing_ok=True)


def report(packed: Packed) -> str:
    """What a student is told, as text of several lines."""
    saved = datetime.fromtimestamp(packed.path.stat().st_mtime).strftime("%H:%M:%S")
    lines = [f"Still to do, or hand it in as it is:\n{_bullets(packed.undone)}"] if packed.undone else []
    lines.append(f"{packed.path}, written at {saved}, is what you hand in; its fingerprint is {packed.fingerprint}.")
    return "\n".join(lines)


def _bullets(sentences: list[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences)


def hand_in() -> None:
    """Pack when a person runs the cell; otherwise say how. What counts is what has been saved."""
    if grading():
        return
    if not watched():
        print("When all is done and saved, run this cell by itself, or in a terminal: python -m course_utils pack")
        return
    try:
        print(report(pack()))
        print("It holds the notebooks as they were last saved: save this one too, and run this cell again.")
    except (NotebookError, OSError) as error:
        print(f"Nothing was packed: {error}")
