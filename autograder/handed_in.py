"""Pictures that a student's notebook showed when it was handed in and that grading doesn't make anew.

A training isn't run again while grading, so its pictures are missing from the graded notebook; an answer that a person
grades may speak of them. They are kept with it, decoded and encoded again.
"""

from __future__ import annotations

import json

from nbformat.notebooknode import NotebookNode
from nbgrader.utils import is_grade, is_solution, is_task

from autograder.likeness.mistakes import entries
from autograder.outputs import as_output

#: Of one answer.
_MOST = 6
_DRAWN = ("image/png", "image/jpeg")
_SHOWN = (*_DRAWN, "image/gif")


def pictures(content: bytes, graded: NotebookNode) -> dict[str, list[dict[str, str]]]:
    """The pictures of the code cell that stands before each answer that a person grades.

    Parameters
    ----------
    content : bytes
        The notebook as it was handed in.
    graded : NotebookNode
        The same, restored and run.

    Returns
    -------
    dict
        ``grade_id`` of the answer -> pictures, each with ``kind``, ``data`` in base64 and ``alt``; none where running
        the cell has drawn pictures.
    """
    found: dict[str, list[dict[str, str]]] = {}
    shown: dict[str, list[dict]] | None = None
    for number, cell in enumerate(graded.cells):
        if not is_graded_by_hand(cell):
            continue
        shown = _outputs(content) if shown is None else shown
        for before in reversed(graded.cells[:number]):
            if is_grade(before) or is_solution(before):
                break
            if before.cell_type != "code":
                continue
            if any(kind in output.get("data", {}) for output in before.outputs for kind in _DRAWN):
                break
            name = before.metadata.get("nbgrader", {}).get("grade_id") or before.id
            if drawn := _drawn(shown.get(name, [])):
                found[cell.metadata.nbgrader.grade_id] = drawn
                break
    return found


def is_graded_by_hand(cell: NotebookNode) -> bool:
    """Whether a person grades what a student writes into a cell."""
    return is_task(cell) or (is_grade(cell) and is_solution(cell))


def _outputs(content: bytes) -> dict[str, list[dict]]:
    """``grade_id`` or id of each cell of a notebook -> its outputs."""
    try:
        raw = json.loads(content.decode(json.detect_encoding(content), "replace"))
        cells = entries(raw.get("cells"))
    except (ValueError, AttributeError, RecursionError):
        return {}
    found = {}
    for cell in cells:
        metadata = cell.get("metadata")
        marks = metadata.get("nbgrader") if isinstance(metadata, dict) else None
        name = marks.get("grade_id") if isinstance(marks, dict) else None
        found[str(name or cell.get("id"))] = entries(cell.get("outputs"))
    return found


def _drawn(outputs: list[dict]) -> list[dict[str, str]]:
    """The first pictures among some outputs."""
    drawn: list[dict[str, str]] = []
    given = [raw for raw in outputs if _data(raw)]
    for raw in given[:_MOST]:
        output = as_output({**raw, "data": _data(raw)})
        for kind in _DRAWN:
            if output is not None and kind in output["data"]:
                alternative = output["metadata"].get(kind, {}).get("alt", "")
                drawn.append({"kind": kind, "data": output["data"][kind], "alt": alternative})
    return drawn


def _data(raw: dict) -> dict[str, str]:
    """The pictures of a display; a file may hold their text in lines."""
    data = raw.get("data")
    shown = {str(kind): text for kind, text in data.items() if str(kind) in _SHOWN} if isinstance(data, dict) else {}
    return {kind: "".join(map(str, text)) if isinstance(text, list) else text for kind, text in shown.items()}
