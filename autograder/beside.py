"""What stands beside an answer that a person grades: question and rubric, the instructor's own answer, pictures.

Question and answer come from the instructor's notebook: the text above the answer's cell, which students have, and what
the instructor wrote into the cell, which they haven't. A rubric that isn't for students belongs there.
"""

from __future__ import annotations

import functools
import html
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder.handed_in import is_graded_by_hand
from autograder.likeness.mistakes import entries
from autograder.markup import Picture


class Beside(NamedTuple):
    """What belongs to one answer.

    Attributes
    ----------
    question, answer : str
        Markdown of the instructor's; empty where there is none.
    pictures : list of tuple of str
        Those that the notebook showed when it was handed in, see :mod:`autograder.handed_in`: base64, and in words.
    """

    question: str
    answer: str
    pictures: list[tuple[str, str]]


def find(source: Path, graded: NotebookNode) -> dict[str, Beside]:
    """``grade_id`` -> what belongs to it, for each answer in Markdown that a person grades.

    Parameters
    ----------
    source : Path
        The instructor's notebook; where it isn't there, only pictures are found.
    graded : NotebookNode
    """
    own = _written(source, source.stat().st_mtime_ns) if source.is_file() else {}
    kept = graded.metadata.get("autograder", {}).get("pictures", {})
    found = {}
    for cell in graded.cells:
        name = cell.metadata.get("nbgrader", {}).get("grade_id")
        if cell.cell_type == "markdown" and name and is_graded_by_hand(cell):
            pictures = [(str(one.get("data")), str(one.get("alt", ""))) for one in entries(kept.get(name))]
            found[name] = Beside(*own.get(name, ("", "")), pictures)
    return {name: one for name, one in found.items() if any(one)}


@functools.lru_cache(maxsize=16)
def _written(source: Path, changed: int) -> dict[str, tuple[str, str]]:
    """``grade_id`` -> question and answer in the instructor's notebook, as it was at a time."""
    found, above = {}, ""
    for cell in nbformat.read(source, as_version=4).cells:
        if cell.cell_type != "markdown":
            continue
        if "nbgrader" in cell.metadata and is_graded_by_hand(cell):
            found[cell.metadata.nbgrader.grade_id] = (above, cell.source)
        else:
            above = cell.source
    return found


def laid_out(answer: str, pictures: list[tuple[Picture, str]], question: str, own: str) -> str:
    """The answer with its pictures, and the rest beside it, or below where there is no room.

    Parameters
    ----------
    answer, question, own : str
        HTML that may be shown.
    pictures : list of (Picture, str)
    """
    drawn = "".join(
        f'<img src="{one.address}" alt="{html.escape(alternative)}" style="max-width: 100%">'
        for one, alternative in pictures
    )
    drawn = f"<p><b>Handed in above the answer</b></p>{drawn}" if drawn else ""
    column = '<div class="{}" style="flex: {}em; min-width: 0; max-width: 100%">{}</div>'
    folded = f"<summary style='display: list-item; cursor: pointer'>The instructor's answer</summary>{own}"
    beside = f"<p><b>Question and rubric</b></p>{question}<details>{folded}</details>"
    return (
        '<div style="display: flex; flex-wrap: wrap; gap: 2em">'
        + column.format("handed-in", "2 1 28", answer + drawn)
        + column.format("beside", "1 1 20", beside)
        + "</div>"
    )
