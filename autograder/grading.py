"""Grades one submission: what a worker does, on this machine or another."""

from __future__ import annotations

import socket
import sys
import threading
import time
from dataclasses import dataclass, field

import nbformat
from nbformat.notebooknode import NotebookNode

from autograder import submission
from autograder.assignment import Assignment
from autograder.cage import Limits
from autograder.outputs import DROPPED
from autograder.session import Cell, Grader, Ran
from autograder.zygote import WARM, trial

_EXCESSES = {"MemoryError": "ran out of memory", "RecursionError": "called itself too deeply"}


@dataclass(frozen=True)
class Settings:
    """How to grade.

    Attributes
    ----------
    isolation : str
        ``"cage"`` or ``"none"``.
    limits : Limits
    readable : tuple of str
        Files and folders that students' code may read besides the installation: data.
    environment : tuple of pairs
        Environment variables of the tests' process.
    warm : tuple of str
        Modules that are imported once for all submissions, as :data:`autograder.zygote.WARM`.
    """

    isolation: str = "cage"
    limits: Limits = field(default_factory=Limits)
    readable: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    warm: tuple[str, ...] = WARM


@dataclass(frozen=True)
class Submission:
    """What one student handed in, as read by :func:`autograder.submission.collect`."""

    student: str
    files: dict[str, bytes]
    trouble: tuple[str, ...] = ()


@dataclass
class Graded:
    """The result of grading one submission.

    Attributes
    ----------
    student : str
    notebooks : dict
        Name -> the executed notebook as text; one that was missing or unreadable says so.
    missing : list of str
        Names of those.
    trouble : dict
        Notebook name -> list of sentences; under ``""`` those that concern the whole submission.
    seconds : float
        Wall-clock time.
    isolation : str
        The layers of the cage, or ``"none"``.
    """

    student: str
    notebooks: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    trouble: dict[str, list[str]] = field(default_factory=dict)
    seconds: float = 0.0
    isolation: str = ""

    def sentences(self) -> list[str]:
        """All the trouble, each sentence with its notebook."""
        return [f"{name}: {text}" if name else text for name, texts in self.trouble.items() for text in texts]


_local = threading.local()


def grader_for(settings: Settings, lent: socket.socket | None = None) -> Grader:
    """This thread's grader: its warmed process is kept from one submission to the next."""
    kept = getattr(_local, "kept", None)
    if kept is None or kept[0] != settings:
        if kept is not None:
            kept[1].close()
        _local.kept = kept = (settings, Grader(settings.isolation, settings.limits, settings.warm, lent))
    return kept[1]


def check_cage(settings: Settings) -> None:
    """Raise CageUnavailable where a cage is asked for and this machine can't build one, or can't grade at all."""
    if settings.isolation == "cage" or sys.platform != "linux":
        trial()


def warm(settings: Settings, lent: socket.socket | None = None) -> None:
    """Start this thread's grader; ``lent`` is what :meth:`autograder.zygote.Zygote.lend` gave."""
    _ = grader_for(settings, lent).zygote.readable


def grade(handed_in: Submission, assignment: Assignment, settings: Settings) -> Graded:
    """Grade a submission.

    Parameters
    ----------
    handed_in : Submission
    assignment : Assignment
    settings : Settings

    Returns
    -------
    Graded

    Raises
    ------
    CageUnavailable
        If the cage is asked for and this machine can't build it.
    """
    start = time.monotonic()
    grader = grader_for(settings)
    result = Graded(handed_in.student, isolation=grader.layers)
    if handed_in.trouble:
        result.trouble[""] = list(handed_in.trouble)
    if settings.isolation == "none":
        result.trouble.setdefault("", []).append("graded without isolation")
    paths, trouble = submission.assign_notebooks(handed_in.files, assignment)
    if trouble:
        result.trouble.setdefault("", []).extend(trouble)
    files = {**handed_in.files, **assignment.files}
    for name, source in assignment.notebooks.items():
        notebook = submission.read_notebook(handed_in.files[paths[name]]) if name in paths else None
        found = []
        if notebook is None:
            result.missing.append(name)
            found = ["the file is not a notebook" if name in paths else "the notebook is missing"]
            notebook = nbformat.v4.new_notebook(metadata={"kernelspec": dict(source.kernelspec)})
        else:
            found += submission.restore(notebook, source)
            found += execute(notebook, grader, files, settings).trouble
        if found:
            result.trouble[name] = found
        sign(notebook, found, grader.layers, handed_in.files)
        result.notebooks[name] = nbformat.writes(notebook)
    result.seconds = time.monotonic() - start
    return result


def execute(notebook: NotebookNode, grader: Grader, files: dict[str, bytes], settings: Settings) -> Ran:
    """Run the code cells of a restored notebook; the outputs are put into it."""
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    cells = []
    for number, cell in enumerate(code):
        mark = cell.metadata.pop("autograder", {})
        nbgrader = cell.metadata.get("nbgrader", {})
        name = nbgrader.get("grade_id") or f"number {number + 1}"
        runs = mark.get("runs", "cage")
        cells.append(Cell(name, cell.source, runs, nbgrader.get("points"), mark.get("order", 0)))
    ran = grader.run(cells, files, readable=list(settings.readable), environment=dict(settings.environment))
    for number, (cell, outputs) in enumerate(zip(code, ran.outputs, strict=True), 1):
        cell.execution_count = number
        cell.outputs = [_as_node(output, number) for output in outputs]
        ran.trouble += [f"cell {cells[number - 1].name} {excess}" for excess in _excesses(outputs)]
    for cell in notebook.cells:
        cell.metadata.pop("autograder", None)
    return ran


def _excesses(outputs: list[dict]) -> list[str]:
    """What a cell took too much of, as ends of sentences."""
    found = [_EXCESSES[output["ename"]] for output in outputs if output.get("ename") in _EXCESSES]
    if any(DROPPED in output.get("text", "") for output in outputs):
        found.append("put out more than is kept")
    return found


def _as_node(output: dict, count: int) -> NotebookNode:
    if output["output_type"] == "execute_result":
        output = {**output, "execution_count": count}
    return nbformat.from_dict(output)


def sign(notebook: NotebookNode, trouble: list[str], isolation: str, files: dict[str, bytes]) -> None:
    """Write into a graded notebook which submission it is from, how it was graded and what went wrong."""
    digest = submission.digest(files)
    notebook.metadata.autograder = {"isolation": isolation, "submission": digest, "trouble": trouble}
    if trouble:
        text = "**While this notebook was graded:**\n\n" + "\n".join(f"- {markdown(line)}" for line in trouble)
        notebook.cells.insert(0, nbformat.v4.new_markdown_cell(text, id="while-graded"))


def markdown(text: str) -> str:
    """A sentence as Markdown that shows exactly it."""
    for character in "\\`*_{}[]<>#|&":
        text = text.replace(character, f"&#{ord(character)};")
    return text
