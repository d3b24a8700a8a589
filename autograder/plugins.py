"""nbgrader plug-ins: the same cage for ``nbgrader autograde`` and formgrader's button.

``nbgrader_config.py`` puts them into nbgrader's lists, by name, so that other commands needn't import them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import nbformat
from nbconvert.exporters import NotebookExporter
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Gradebook
from nbgrader.converters import Autograde
from nbgrader.preprocessors.base import NbGraderPreprocessor
from traitlets import Dict, Enum, Float, Integer, List, Unicode
from traitlets.config import Configurable

from autograder import submission
from autograder.assignment import Assignment
from autograder.cage import Limits
from autograder.gradebook import name_trouble
from autograder.grading import Settings, execute, grader_for, sign
from autograder.source import load
from autograder.zygote import WARM


def _converter(plugin: Configurable) -> Autograde:
    """The converter that a plug-in works for; between it and a preprocessor stands the exporter."""
    parent = plugin.parent
    while parent is not None and not isinstance(parent, Autograde):
        parent = parent.parent
    if parent is None:
        raise RuntimeError(f"{type(plugin).__name__} runs in nbgrader autograde only.")
    return parent


def _assignment(preprocessor: NbGraderPreprocessor, name: str) -> Assignment:
    converter = _converter(preprocessor)
    kept = getattr(converter, "_caged_assignment", None)
    if kept is None or kept.name != name:
        kept = load(converter.coursedir, name, converter.exclude_overwriting.get(name, ()))
        converter._caged_assignment = kept
    return kept


def _submission(preprocessor: NbGraderPreprocessor, names: dict) -> tuple[dict[str, bytes], list[str]]:
    coursedir = _converter(preprocessor).coursedir
    folder = coursedir.format_path(coursedir.submitted_directory, names["student"], names["assignment"])
    return submission.collect(folder, coursedir.ignore)


class SubmissionReader(NotebookExporter):
    """Takes the place of nbconvert's reader: what is no notebook becomes an empty one, which earns nothing."""

    def from_filename(self, filename: str, resources: dict | None = None, **kw: Any) -> tuple[str, dict]:
        """Read a notebook of the submission, or the restored one, and pass it to the preprocessors."""
        converter = _converter(self)
        if not converter._sanitizing:
            return super().from_filename(filename, resources, **kw)
        files, _ = submission.collect(os.path.dirname(filename), converter.coursedir.ignore)
        notebook = submission.read_notebook(files.get(os.path.basename(filename), b""))
        if notebook is None:
            notebook = nbformat.v4.new_notebook()
            notebook.metadata.autograder = {"trouble": ["the file is not a notebook"]}
        return self.from_notebook_node(notebook, resources, **kw)


class RestoreCells(NbGraderPreprocessor):
    """Takes the place of nbgrader's sanitizing preprocessors: puts the instructor's cells back."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Restore the notebook; what had to be put right is noted in its metadata."""
        names = resources["nbgrader"]
        assignment = _assignment(self, names["assignment"])
        restored = submission.restore(nb, assignment.notebooks[names["notebook"]])
        # Of a file that is no notebook, SubmissionReader has said so, and that is enough.
        trouble = nb.metadata.pop("autograder", {"trouble": restored})["trouble"]
        coursedir = _converter(self).coursedir
        files, left_out = _submission(self, names)
        notebooks = sorted(name for name in assignment.notebooks if f"{name}.ipynb" in files)
        if names["notebook"] in notebooks[:1]:  # what concerns the whole submission, once
            missing = [f"{name}.ipynb is missing" for name in assignment.notebooks if name not in notebooks]
            trouble = [*left_out, *missing, *trouble]
        nb.metadata.autograder = {"trouble": trouble}
        # nbgrader copies what a link leads to, which may be the gradebook, and feedback would pass it on.
        graded = Path(coursedir.format_path(coursedir.autograded_directory, names["student"], names["assignment"]))
        for path in graded.rglob("*"):
            name = str(path.relative_to(graded))
            if path.is_file() and path.suffix != ".ipynb" and name not in files and name not in assignment.files:
                path.unlink()
        return nb, resources


class CagedExecute(NbGraderPreprocessor):
    """Takes the place of nbgrader's Execute: students' cells in a cage, test cells outside.

    ``python -m autograder grade`` reads its settings here too.
    """

    isolation = Enum(
        ["cage", "none"], "cage",
        help="'none' runs students' code with your rights; it is recorded with each grade.",
    ).tag(config=True)  # fmt: skip
    timeout = Float(Limits.cell_seconds, help="Seconds for one cell.").tag(config=True)
    notebook_timeout = Float(Limits.notebook_seconds, help="Seconds for all the cells of a notebook.").tag(config=True)
    memory = Integer(Limits.memory, help="Bytes of memory for a student's code.").tag(config=True)
    scratch = Integer(Limits.scratch, help="Bytes of a student's scratch folder.").tag(config=True)
    processes = Integer(Limits.processes, help="Processes and threads of a student's code.").tag(config=True)
    output = Integer(Limits.output, help="Characters that are kept of a cell's text.").tag(config=True)
    warm = List(
        Unicode(), list(WARM), help="Modules that are imported once for all submissions; 'package.*' with all in it."
    ).tag(config=True)  # fmt: skip
    readable = List(
        Unicode(), help="Files and folders that students' code may read besides Python's own: data."
    ).tag(config=True)  # fmt: skip
    environment = Dict(
        value_trait=Unicode(), key_trait=Unicode(), help="Environment variables for the tests' process."
    ).tag(config=True)  # fmt: skip

    def settings(self) -> Settings:
        """The configuration as :class:`autograder.grading.Settings`."""
        limits = Limits(
            memory=self.memory, scratch=self.scratch, processes=self.processes, output=self.output,
            cell_seconds=self.timeout, notebook_seconds=self.notebook_timeout,
        )  # fmt: skip
        readable = tuple(os.path.abspath(path) for path in self.readable)
        environment = tuple(sorted(self.environment.items()))
        return Settings(self.isolation, limits, readable, environment, tuple(self.warm))

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Run the notebook."""
        names = resources["nbgrader"]
        settings = self.settings()
        files, _ = _submission(self, names)
        trouble = list(nb.metadata.get("autograder", {}).get("trouble", []))
        grader = grader_for(settings)
        everything = files | _assignment(self, names["assignment"]).files
        trouble += execute(nb, grader, everything, settings).trouble
        if settings.isolation == "none":
            trouble.append("graded without isolation")
        for sentence in trouble:
            self.log.warning("%s, %s: %s", names["student"], names["notebook"], sentence)
        sign(nb, trouble, grader.layers, files)
        return nb, resources


class NameTrouble(NbGraderPreprocessor):
    """After SaveAutoGrades: writes what went wrong into the gradebook's comment."""

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Write the comment."""
        names: dict[str, Any] = resources["nbgrader"]
        sentences = nb.metadata.get("autograder", {}).get("trouble", [])
        with Gradebook(names["db_url"]) as gradebook:
            found = gradebook.find_submission_notebook(names["notebook"], names["assignment"], names["student"])
            name_trouble(found, _assignment(self, names["assignment"]), sentences)
            gradebook.db.commit()
        return nb, resources
