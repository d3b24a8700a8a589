"""What a student may read: feedback pages without hidden tests, and why points were lost."""

from __future__ import annotations

import re
from pathlib import Path

from nbconvert.exporters.exporter import ResourcesDict
from nbformat import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import GenerateFeedback
from nbgrader.preprocessors import ClearHiddenTests, NbGraderPreprocessor
from nbgrader.utils import is_grade
from traitlets import List
from traitlets.config import Config

from autograder import dependence

#: Terminal colours in a traceback.
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class HideHiddenTests(NbGraderPreprocessor):
    """Take the source of hidden tests out of a graded notebook; their messages stay.

    nbgrader puts hidden tests back into the notebook to run them, and its own feedback
    page shows them. The region between the delimiters is replaced by one comment, and a
    traceback, which quotes the lines around the one that failed, by its last line.
    """

    replacement = "# Hidden tests ran here."
    #: As in nbgrader's GetGrades: nbconvert sets it for all preprocessors, and would warn where it is missing.
    display_data_priority: List = List().tag(config=True)

    def preprocess_cell(self, cell: NotebookNode, resources: dict, cell_index: int) -> tuple[NotebookNode, dict]:
        """Clean one cell; only code cells that hold the delimiters change."""
        # Not parent=self, for the same warning.
        markers = ClearHiddenTests(config=Config(ClearHiddenTests=self.config.ClearHiddenTests))
        if cell.cell_type != "code" or markers.begin_test_delimeter not in cell.source:
            return cell, resources
        kept, hidden = [], False
        for line in cell.source.splitlines():
            if markers.begin_test_delimeter in line:
                hidden = True
                kept.append(line[: len(line) - len(line.lstrip())] + self.replacement)
            elif markers.end_test_delimeter in line:
                hidden = False
            elif not hidden:
                kept.append(line)
        cell.source = "\n".join(kept)
        for output in cell.outputs:
            # A single entry has no frames: it is what a check shows in place of a traceback.
            if output.output_type == "error" and len(output.traceback) != 1:
                output.traceback = [f"{output.ename}: {output.evalue}"]
        return cell, resources


class FeedbackOfChanges(GenerateFeedback):
    """``nbgrader generate_feedback``, which writes each page of which something has changed, and no other.

    nbgrader's own looks at the time at which a submission came, and so leaves pages as they are after points or
    comments have changed. Here the last line of a page holds the number of all that it was made from: the graded
    notebook, what the gradebook says about it, and the program. A page without a graded notebook is deleted.
    """

    notebooks: list[str]

    def init_destination(self, assignment_id: str, student_id: str) -> bool:
        """Leave in ``notebooks`` those whose pages are to be written; whether there are any."""
        if student_id in self.coursedir.student_id_exclude.split(","):
            return False
        folder = Path(self._format_dest(assignment_id, student_id))
        graded = {path.stem for path in Path(self._format_source(assignment_id, student_id)).glob("*.ipynb")}
        for page in folder.glob("*.html"):
            if page.stem not in graded:
                self.log.warning("Removing %s, of which there is no graded notebook", page)
                page.unlink()
        pages = {path: folder / f"{Path(path).stem}.html" for path in self.notebooks}
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            numbers = {path: self._number(gradebook, Path(path), assignment_id, student_id) for path in pages}
        self.notebooks = [path for path, page in pages.items() if self.force or _number_in(page) != numbers[path]]
        self._numbers = {Path(path).stem: number for path, number in numbers.items()}
        if not self.notebooks:
            self.log.info("The pages of %s are as they should be", student_id)
        return bool(self.notebooks)

    def _number(self, gradebook: Gradebook, path: Path, assignment_id: str, student_id: str) -> str:
        found = gradebook.find_submission_notebook(path.stem, assignment_id, student_id)
        grades = sorted((grade.name, grade.score, grade.max_score) for grade in found.grades)
        comments = sorted((comment.name, comment.comment or "") for comment in found.comments)
        said = repr((grades, comments, found.late_submission_penalty))
        program = dependence.sources(("autograder.feedback", "autograder.pages"))
        settings = [repr(self.config.HTMLExporter), repr(self.preprocessors)]
        return dependence.number(path.read_bytes(), said, *settings, *program)

    def write_single_notebook(self, output: str, resources: ResourcesDict) -> None:
        """Write a page, with its number in the last line."""
        number = self._numbers[resources["nbgrader"]["notebook"]]
        super().write_single_notebook(f"{output}\n<!-- {number} -->\n", resources)


def _number_in(page: Path) -> str:
    """The number in the last line of a page; empty if it has none, or there is no page."""
    try:
        last = page.read_bytes().splitlines()[-1].decode()
    except (OSError, IndexError, UnicodeDecodeError):
        return ""
    found = re.fullmatch("<!-- ([0-9a-f]+) -->", last)
    return found[1] if found else ""


def lost_points_messages(notebook: NotebookNode) -> dict[str, str]:
    """The message of each test cell in a graded notebook, by ``grade_id``.

    Parameters
    ----------
    notebook : NotebookNode
        An autograded notebook.

    Returns
    -------
    dict
        The text of the error; where a cell gave partial credit without one, what it printed.
    """
    messages = {}
    for cell in notebook.cells:
        if cell.cell_type != "code" or not is_grade(cell):
            continue
        printed = []
        for output in cell.outputs:
            if output.output_type == "error":
                unwritten = "not written yet" if output.ename == "NotImplementedError" else output.ename
                printed = [output.evalue or unwritten]
                break
            if output.output_type == "stream":
                printed.append(output.text)
            elif output.output_type == "display_data":
                printed.append(output.data.get("text/plain", ""))
        messages[cell.metadata.nbgrader["grade_id"]] = _COLOURS.sub("", "".join(printed)).strip()
    return messages
