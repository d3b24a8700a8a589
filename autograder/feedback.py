"""What a student may read: feedback pages without hidden tests, and why points were lost."""

from __future__ import annotations

import re

from nbformat import NotebookNode
from nbgrader.preprocessors import ClearHiddenTests, NbGraderPreprocessor
from nbgrader.utils import is_grade
from traitlets import List
from traitlets.config import Config

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
