"""Grades one submission: what a handler (:mod:`autograder.handler`) does with the files that it has read."""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.preprocessors import LimitOutput
from nbgrader.utils import compute_checksum, determine_grade, is_grade, is_solution, is_task

from autograder import handed_in, packed, submission
from autograder.assignment import Assignment, SourceNotebook
from autograder.cage import CageUnavailable
from autograder.codec import CodecError, PeerGone
from autograder.earlier import Earlier
from autograder.names import kept_names, renamed
from autograder.outputs import clean_text
from autograder.session import Cell, Grader, Ran
from autograder.settings import Settings

if TYPE_CHECKING:
    from autograder.handler import Job

#: Bytes of a graded notebook as written.
MAX_NOTEBOOK_BYTES = 32 * 2**20
_MAX_SENTENCES = 12
_MAX_CHARACTERS = 500


@dataclass
class Graded:
    """The result of grading one submission: all that comes back to the writer.

    Attributes
    ----------
    digest : str
        Of the files that were graded; empty where they couldn't be read.
    skipped : bool
        Whether all had been graded before, and so nothing was done.
    own : bool
        Whether it is another than before by the submission's own doing, and not by what the class is graded by.
    numbers : dict
        Notebook name -> ``grade_id`` -> the number of all that the grade depends on, for the handler alone.
    judged : dict
        Notebook name -> ``grade_id`` of each cell whose points were found anew, and not kept.
    scores : dict
        Notebook name -> ``grade_id`` -> points by the tests; None where a person has to decide. A notebook of which
        nothing has changed since it was graded is missing.
    unanswered : dict
        Notebook name -> ``grade_id`` of each solution cell that is as it was released.
    trouble : dict
        Notebook name -> list of sentences; under ``""`` those that concern the whole submission.
    fingerprint : str
        Of the packed files, see :func:`autograder.packed.compare`; empty if they weren't packed.
    timestamp : str
        When it was handed in, UTC in ISO format, if the files say so.
    seconds : float
        Wall-clock time.
    processor : dict
        Notebook name -> seconds of processor time, of the notebooks that were run as a whole.
    notebooks : dict
        Name -> the executed notebook as text in UTF-8, until it has been stored.
    """

    digest: str = ""
    skipped: bool = False
    own: bool = False
    numbers: dict[str, dict[str, str]] = field(default_factory=dict)
    judged: dict[str, list[str]] = field(default_factory=dict)
    scores: dict[str, dict[str, float | None]] = field(default_factory=dict)
    unanswered: dict[str, list[str]] = field(default_factory=dict)
    trouble: dict[str, list[str]] = field(default_factory=dict)
    fingerprint: str = ""
    timestamp: str = ""
    seconds: float = 0.0
    processor: dict[str, float] = field(default_factory=dict)
    notebooks: dict[str, bytes] = field(default_factory=dict)

    def sentences(self) -> list[str]:
        """All the trouble, each sentence with its notebook."""
        return [f"{name}: {text}" if name else text for name, texts in self.trouble.items() for text in texts]

    def name(self, place: str, *sentences: str) -> None:
        """Note trouble of a notebook, or, for ``""``, of the submission; only so much of it is kept."""
        known = self.trouble.get(place, [])
        for sentence in (clean_text(sentence)[:_MAX_CHARACTERS] for sentence in sentences):
            if sentence not in known and len(known) <= _MAX_SENTENCES:
                known.append(sentence if len(known) < _MAX_SENTENCES else "and more")
        if known:
            self.trouble[place] = known

    def as_message(self) -> tuple[dict, list[memoryview]]:
        """What crosses to the writer; see :meth:`from_message`."""
        plain = {name: value for name, value in vars(self).items() if name not in ("notebooks", "numbers")}
        return {**plain, "notebooks": list(self.notebooks)}, [memoryview(text) for text in self.notebooks.values()]

    @classmethod
    def from_message(cls, message: Mapping[str, Any], buffers: list[bytearray], assignment: Assignment) -> Graded:
        """The result in a message, checked against what the assignment has.

        Raises
        ------
        CodecError
            If it isn't a result for this assignment, or over its bounds.
        """
        ids = {name: {cell.grade_id for cell in notebook.cells} for name, notebook in assignment.notebooks.items()}
        try:
            scores = {
                name: {cell: None if score is None else float(score) for cell, score in given.items()}
                for name, given in message["scores"].items()
            }
            graded = cls(
                str(message["digest"]), message["skipped"] is True, message["own"] is True, {},
                dict(message["judged"]), scores, dict(message["unanswered"]), {},
                str(message["fingerprint"]), str(message["timestamp"]), float(message["seconds"]),
                {name: float(taken) for name, taken in message["processor"].items()},
                dict(zip(message["notebooks"], map(bytes, buffers), strict=True)),
            )  # fmt: skip
            for place, sentences in message["trouble"].items():
                graded.name(place, *map(str, sentences))
            known = all(cells.keys() <= ids[name] for name, cells in scores.items())
            named = [*graded.unanswered.items(), *graded.judged.items()]
            known &= all(set(cells) <= ids[name] for name, cells in named)
            known &= {*graded.trouble, *graded.notebooks, *graded.processor} <= {"", *ids}
            known &= all(0 <= taken < math.inf for taken in graded.processor.values())
            known &= all(
                score is None or 0 <= score < math.inf for cells in scores.values() for score in cells.values()
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CodecError("a result is malformed") from error
        if not known or max(map(len, (graded.digest, graded.fingerprint, graded.timestamp))) > 64:
            raise CodecError("a result is not one of this assignment")
        return graded


def grade(
    graded: Graded,
    files: dict[str, bytes],
    job: Job,
    found: Mapping[str, Earlier],
    grader: Grader,
    begin: Callable[[str], None],
) -> None:
    """Grade a submission.

    Parameters
    ----------
    graded : Graded
        Receives the result, with every notebook of the assignment in ``notebooks``.
    files : dict
        As from :func:`autograder.submission.collect`; those that clash with the instructor's are dropped.
    job : Job
    found : dict
        Notebook name -> what was found of it earlier, where that counts.
    grader : Grader
    begin : callable
        Called with each notebook's name before it is graded.

    Raises
    ------
    CageUnavailable
        If the cage is asked for and this machine can't build it.
    PeerGone
        If the grader's warmed process has ended.
    """
    assignment, settings = job.assignment, job.settings
    start = time.monotonic()
    if settings.isolation == "none":
        graded.name("", "graded without isolation")
    own = [*(f"{name}.ipynb" for name in assignment.notebooks), *assignment.files]
    graded.name("", *submission.make_room(files, own))
    graded.name("", *renamed(kept_names(name for name in files if name not in assignment.files)))
    paths, trouble = submission.assign_notebooks(files, assignment)
    graded.name("", *trouble)
    graded.timestamp = _timestamp(files, graded)
    graded.fingerprint, trouble = packed.compare(files)
    graded.name("", *trouble)
    everything = {**files, **assignment.files}
    for name, source in assignment.notebooks.items():
        before = found.get(name)
        if before is not None and not before.changed(graded.numbers[name]):
            graded.name(name, *before.trouble)
            graded.notebooks[name] = before.text
            continue
        one = _OneNotebook(name, source, graded)
        begin(name)
        try:
            if name in job.left_out:
                graded.name(name, job.left_out[name])
            elif name not in paths:
                graded.name(name, "the notebook is missing")
                one.earns_nothing()
            elif before is None or not one.grade_again(files[paths[name]], before, grader, everything, job):
                one.grade(files[paths[name]], grader, everything, settings)
        except (CageUnavailable, PeerGone):
            raise
        except Exception as error:  # the one place: whatever it was, it is this notebook's trouble
            graded.name(name, f"it couldn't be graded by its tests ({type(error).__name__}: {error})")
        graded.notebooks[name] = one.packed(grader.layers)
    graded.seconds = time.monotonic() - start


def _timestamp(files: Mapping[str, bytes], graded: Graded) -> str:
    if submission.TIMESTAMP not in files:
        return ""
    time_of_it = submission.time_in(files[submission.TIMESTAMP])
    if time_of_it is None:
        graded.name("", f"{submission.TIMESTAMP} does not hold a time")
        return ""
    return time_of_it.isoformat()


class _OneNotebook:
    """One notebook, as far as it has got: what is there already is kept if a later step fails."""

    def __init__(self, name: str, source: SourceNotebook, graded: Graded) -> None:
        self.name = name
        self.graded = graded
        self.pictures: dict[str, list[dict[str, str]]] = {}
        self.notebook = nbformat.v4.new_notebook(metadata={"kernelspec": dict(source.kernelspec)})
        graded.scores[name] = {cell.grade_id: None for cell in source.cells if cell.grade or cell.task}
        graded.unanswered[name] = []
        graded.judged[name] = list(graded.scores[name])
        self.source = source

    def earns_nothing(self) -> None:
        """There is nothing that could earn points."""
        self.graded.scores[self.name] = dict.fromkeys(self.graded.scores[self.name], 0.0)

    def grade(self, content: bytes, grader: Grader, files: dict[str, bytes], settings: Settings) -> None:
        """Read, restore and run the notebook, and find its scores."""
        notebook, trouble = submission.read_notebook(content)
        self.graded.name(self.name, *trouble)
        if notebook is None:
            self.earns_nothing()
            return
        self.graded.name(self.name, *submission.restore(notebook, self.source))
        self.notebook = notebook
        ran = execute(notebook.cells, grader, files, settings)
        self.graded.name(self.name, *ran.trouble)
        self.graded.processor[self.name] = ran.processor
        self._bound_outputs(notebook.cells, settings)
        self._find_scores()
        self.pictures = handed_in.pictures(content, notebook)

    def grade_again(self, content: bytes, before: Earlier, grader: Grader, files: dict[str, bytes], job: Job) -> bool:
        """Run no test but those that have changed, after the student's cells, and keep what the others have put out.

        Returns False, and has done nothing, if that isn't possible: the notebook has changed elsewhere, or something
        had to be stopped, then or now, and which cells that was for isn't known.
        """
        tests = {cell.grade_id for cell in self.source.cells if cell.is_test}
        changed = before.changed(self.graded.numbers[self.name])
        needed = {name for one in changed & tests for name in job.dependences[self.name][one].after} | changed & tests
        notebook, trouble = submission.read_notebook(content)
        if notebook is None or tests <= needed:
            return False
        trouble += submission.restore(notebook, self.source)
        static = Graded()
        static.name(self.name, *trouble)
        if static.trouble.get(self.name, []) != before.trouble:
            return False
        stored = {cell.id: cell for cell in nbformat.reads(before.text.decode(), as_version=4).cells}
        code = [cell for cell in notebook.cells if cell.cell_type == "code"]
        last = max((number for number, cell in enumerate(code) if _grade_id(cell) in needed), default=-1)
        again = [number for number, cell in enumerate(code) if _grade_id(cell) in changed & tests]
        for number, cell in enumerate(code):
            kept = stored.get(cell.id)
            if number not in again and (kept is None or kept.source != cell.source):
                return False
            unneeded = number > last or _grade_id(cell) in tests - needed
            cell.metadata.autograder.skipped = unneeded and cell.metadata.autograder.runs not in ("both", "lent")
        ran = execute(code, grader, files, job.settings) if again else Ran([])
        if ran.trouble:
            return False
        for number, cell in enumerate(code):
            if number not in again:
                cell.outputs, cell.execution_count = stored[cell.id].outputs, number + 1
        self.graded.name(self.name, *trouble)
        self.notebook = notebook
        self._bound_outputs([code[number] for number in again], job.settings)
        self._find_scores()
        self.pictures = handed_in.pictures(content, notebook)
        self.graded.judged[self.name] = sorted(changed & self.graded.scores[self.name].keys())
        return True

    def _bound_outputs(self, cells: list[NotebookNode], settings: Settings) -> None:
        limit = LimitOutput(max_lines=settings.max_lines, max_traceback=settings.max_traceback)
        for number, cell in enumerate(cells):
            limit.preprocess_cell(cell, {}, number)

    def _find_scores(self) -> None:
        for cell in self.notebook.cells:
            if is_grade(cell):
                self.graded.scores[self.name][_grade_id(cell)] = self._score(cell)
            answer = is_solution(cell) and not is_task(cell)
            if answer and cell.metadata.nbgrader.get("checksum") == compute_checksum(cell):
                self.graded.unanswered[self.name].append(_grade_id(cell))

    def _score(self, cell: NotebookNode) -> float | None:
        """A cell's points, worked out by nbgrader itself."""
        try:
            score, most = determine_grade(cell)
        except (KeyError, ValueError) as error:
            self.graded.name(self.name, f"the points of cell {cell.metadata.nbgrader.grade_id} can't be read: {error}")
            return None
        return score if score is None or 0 <= score <= most else 0.0

    def packed(self, layers: str) -> bytes:
        """The notebook as text, with what went wrong in its first cell."""
        trouble = self.graded.trouble.get(self.name, [])
        for cell in self.notebook.cells:
            cell.metadata.pop("autograder", None)
        text = self._signed(layers, trouble)
        if len(text) > MAX_NOTEBOOK_BYTES:
            self.pictures = {}
            for cell in self.notebook.cells:
                if cell.cell_type == "code" and not is_grade(cell):
                    cell.outputs = []
            self.graded.name(self.name, "what its cells put out was dropped: it was too large")
            text = self._signed(layers, self.graded.trouble[self.name])
        if len(text) > MAX_NOTEBOOK_BYTES:
            self.notebook.cells = []
            text = self._signed(layers, self.graded.trouble[self.name])
        return text

    def _signed(self, layers: str, trouble: list[str]) -> bytes:
        notebook = nbformat.v4.new_notebook(cells=list(self.notebook.cells), metadata=self.notebook.metadata)
        marks: dict[str, object] = {
            "isolation": layers, "submission": self.graded.digest, "trouble": trouble,
            "questions": self.graded.numbers.get(self.name, {}),
        }  # fmt: skip
        notebook.metadata.autograder = marks | ({"pictures": self.pictures} if self.pictures else {})
        if trouble:
            lines = "\n".join(f"- {markdown(line)}" for line in trouble)
            note = nbformat.v4.new_markdown_cell(f"**While this notebook was graded:**\n\n{lines}", id="while-graded")
            notebook.cells.insert(0, note)
        return nbformat.writes(notebook).encode("utf-8", "replace")


def execute(cells: list[NotebookNode], grader: Grader, files: dict[str, bytes], settings: Settings) -> Ran:
    """Run the code cells among those of a restored notebook; the outputs are put into them."""
    code = [cell for cell in cells if cell.cell_type == "code"]
    run = []
    for number, cell in enumerate(code):
        mark = cell.metadata.get("autograder", {})
        name = _grade_id(cell) or f"number {number + 1}"
        points = cell.metadata.get("nbgrader", {}).get("points")
        skipped = mark.get("skipped", False)
        run.append(Cell(name, cell.source, mark.get("runs", "cage"), points, mark.get("order", 0), skipped))
    ran = grader.run(run, files, readable=list(settings.readable), environment=dict(settings.environment))
    for number, (cell, outputs) in enumerate(zip(code, ran.outputs, strict=True), 1):
        cell.execution_count = number
        cell.outputs = [_as_node(output, number) for output in outputs]
    return ran


def _grade_id(cell: NotebookNode) -> str:
    """nbgrader's name of a cell; empty if it has none."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def _as_node(output: dict, count: int) -> NotebookNode:
    if output["output_type"] == "execute_result":
        output = {**output, "execution_count": count}
    return nbformat.from_dict(output)


def markdown(text: str) -> str:
    """A sentence as Markdown that shows exactly it."""
    for character in "\\`*_{}[]<>#|&":
        text = text.replace(character, f"&#{ord(character)};")
    return text


def by_hand(assignment: Assignment, sentence: str) -> Graded:
    """The result where nothing of a submission could be read: all is to be graded by hand."""
    graded = Graded(own=True)
    graded.name("", sentence)
    for name, source in assignment.notebooks.items():
        graded.notebooks[name] = _OneNotebook(name, source, graded).packed("not run")
    return graded


def store(
    folder: str,
    files: Mapping[str, bytes],
    assignment: Assignment,
    notebooks: Mapping[str, bytes],
    mode: int,
) -> None:
    """Write a graded submission: the student's files, the instructor's in their place, and the graded notebooks.

    Parameters
    ----------
    folder : str
        Made anew.
    files : dict
        As :func:`autograder.submission.collect` gives them.
    assignment : Assignment
    notebooks : dict
        Name -> text.
    mode : int
        The files' permissions.
    """
    remove(folder)
    kept = kept_names(name for name in files if name not in assignment.files)
    own = {new: files[name] for name, new in kept.items()}
    texts = {f"{name}.ipynb": text for name, text in notebooks.items()}
    submission.make_room(own, [*assignment.files, *texts])
    for name, content in {**own, **assignment.files, **texts}.items():
        path = os.path.join(folder, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)
        os.chmod(path, mode)


def remove(folder: str) -> None:
    """Remove a folder that :func:`store` has made, if it is there."""
    for inner, _, _ in os.walk(folder):
        os.chmod(inner, 0o755)
    shutil.rmtree(folder, ignore_errors=True)
