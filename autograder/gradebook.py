"""The single writer: commits what workers return to nbgrader's gradebook, a submission at a time.

Scores and comments are worked out by nbgrader's own SaveAutoGrades and late-penalty
plug-in. A submission's grades are one transaction, and its folder appears under its final
name only after that, so that a run that was killed leaves nothing half-written.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
from pathlib import Path

import nbformat
from nbformat.notebooknode import NotebookNode
from nbgrader.api import Assignment as GradebookAssignment
from nbgrader.api import Grade, Gradebook, SubmittedAssignment, SubmittedNotebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties, LimitOutput, SaveAutoGrades
from nbgrader.preprocessors.base import NbGraderPreprocessor
from nbgrader.utils import parse_utc
from traitlets.config import Configurable

from autograder.assignment import Assignment
from autograder.grading import Graded
from autograder.names import kept_names, renamed

_HEADING = "While grading: "


class _OneSubmission:
    """The part of nbgrader's Gradebook that its preprocessors use, for one submission, read in one go."""

    def __init__(self, gradebook: Gradebook, assignment: str, student: str) -> None:
        self.db = gradebook.db
        self.submission = gradebook.find_submission(assignment, student)
        self.notebooks = {notebook.name: notebook for notebook in self.submission.notebooks}
        self.grades, self.comments = {}, {}
        for name, notebook in self.notebooks.items():
            self.grades |= {(name, grade.name): grade for grade in notebook.grades}
            self.comments |= {(name, comment.name): comment for comment in notebook.comments}

    def find_grade(self, cell: str, notebook: str, assignment: str, student: str):
        return self.grades[notebook, cell]

    def find_comment(self, cell: str, notebook: str, assignment: str, student: str):
        return self.comments[notebook, cell]


class _SaveGrades(SaveAutoGrades):
    """nbgrader's SaveAutoGrades, within a transaction of ours."""

    def save(self, notebook: NotebookNode, one: _OneSubmission, name: str) -> None:
        self.gradebook, self.notebook_id = one, name
        self.assignment_id = self.student_id = ""
        NbGraderPreprocessor.preprocess(self, notebook, {})


class Writer:
    """Writes to the gradebook and to the folder of autograded submissions; there must be only one.

    Parameters
    ----------
    coursedir : CourseDirectory
    assignment : Assignment
    parent : Configurable
        Gives nbgrader's configuration to its plug-ins.
    """

    def __init__(self, coursedir: CourseDirectory, assignment: Assignment, parent: Configurable) -> None:
        self.coursedir = coursedir
        self.assignment = assignment
        self.gradebook = Gradebook(coursedir.db_url, coursedir.course_id)
        self.limiter = LimitOutput(parent=parent)
        self.saver = _SaveGrades(parent=parent)
        self.penalties = AssignLatePenalties(parent=parent)
        self.penalties.init_plugin()

    def close(self) -> None:
        """Close the gradebook."""
        self.gradebook.close()

    def known(self) -> set[str]:
        """The students whose submission the gradebook holds."""
        rows = (
            self.gradebook.db.query(SubmittedAssignment.student_id)
            .join(GradebookAssignment, GradebookAssignment.id == SubmittedAssignment.assignment_id)
            .filter(GradebookAssignment.name == self.assignment.name)
        )
        return {student for (student,) in rows}

    def folder(self, student: str) -> Path:
        """Where a student's graded submission lies."""
        return Path(self.coursedir.format_path(self.coursedir.autograded_directory, student, self.assignment.name))

    def graded_digest(self, student: str) -> str:
        """Which submission was graded (:func:`autograder.submission.digest`); empty if none was, or not by us."""
        path = self.folder(student) / f"{min(self.assignment.notebooks)}.ipynb"
        try:
            return json.loads(path.read_text())["metadata"]["autograder"]["submission"]
        except (OSError, ValueError, KeyError):
            return ""

    def write(self, graded: Graded, files: dict[str, bytes]) -> tuple[float, float, float]:
        """Commit a graded submission.

        Parameters
        ----------
        graded : Graded
        files : dict
            The student's files, for the folder beside the graded notebooks.

        Returns
        -------
        tuple of float
            Points, the most that could be had, and how much of that is to be graded by hand.
        """
        final = self.folder(graded.student)
        partial = final.with_name(f".{final.name}.partial")
        _remove(partial)
        partial.mkdir(parents=True)
        notebooks = {name: self._limited(text) for name, text in graded.notebooks.items()}
        kept = kept_names(name for name in files if name not in self.assignment.files)
        graded.trouble.setdefault("", []).extend(renamed(kept))
        self._write_files(partial, notebooks, {new: files[name] for name, new in kept.items()})
        database = self.gradebook.db
        # Gradebook's methods commit on their own; for the time of this transaction they only flush.
        commit, database.commit = database.commit, database.flush
        try:
            points = self._write_grades(graded, notebooks, files.get("timestamp.txt"))
        except BaseException:
            database.rollback()
            raise
        finally:
            database.commit = commit
        database.commit()
        database.expunge_all()
        if final.exists():
            _remove(final)
        os.rename(partial, final)
        return points

    def _limited(self, text: str) -> NotebookNode:
        notebook = nbformat.reads(text, as_version=4)
        self.limiter.preprocess(notebook, {})
        return notebook

    def _write_files(self, folder: Path, notebooks: dict[str, NotebookNode], files: dict[str, bytes]) -> None:
        texts = {f"{name}.ipynb": nbformat.writes(notebook).encode() for name, notebook in notebooks.items()}
        for name, content in {**files, **self.assignment.files, **texts}.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(0o664 if self.coursedir.groupshared else 0o444)

    def _write_grades(
        self, graded: Graded, notebooks: dict[str, NotebookNode], timestamp: bytes | None
    ) -> tuple[float, float, float]:
        gradebook, name = self.gradebook, self.assignment.name
        gradebook.update_or_create_student(graded.student)
        details = {}
        if timestamp:
            try:
                details["timestamp"] = parse_utc(timestamp.decode().strip())
            except (ValueError, OverflowError):
                graded.trouble.setdefault("", []).append("timestamp.txt does not hold a time")
        gradebook.update_or_create_submission(name, graded.student, **details)
        one = _OneSubmission(gradebook, name, graded.student)
        for notebook_name, executed in notebooks.items():
            notebook = one.notebooks[notebook_name]
            if notebook_name in graded.missing:
                for grade in notebook.grades:
                    grade.auto_score = 0
                    grade.needs_manual_grade = grade.manual_score is not None
                for comment in notebook.comments:
                    comment.auto_comment = None
            else:
                self.saver.save(executed, one, notebook_name)
            self._name_trouble(notebook, graded)
        one.db.flush()
        self._penalise(one, graded.student)
        one.db.flush()
        grades = one.grades.values()
        by_hand = sum(grade.max_score or 0.0 for grade in grades if grade.needs_manual_grade)
        return sum(map(_score, grades)), sum(grade.max_score or 0.0 for grade in grades), by_hand

    def _name_trouble(self, notebook: SubmittedNotebook, graded: Graded) -> None:
        sentences = list(graded.trouble.get(notebook.name, []))
        if notebook.name == min(graded.notebooks):
            sentences += graded.trouble.get("", [])
        name_trouble(notebook, self.assignment, sentences)

    def _penalise(self, one: _OneSubmission, student: str) -> None:
        seconds = one.submission.total_seconds_late
        for notebook in one.notebooks.values():
            notebook.late_submission_penalty = None
            if seconds > 0:
                one.db.refresh(notebook, ["score"])
                penalty = self.penalties.plugin_inst.late_submission_penalty(student, notebook.score, seconds)
                if penalty is not None:
                    notebook.late_submission_penalty = self.penalties._check_late_penalty(notebook, penalty)


def _score(grade: Grade) -> float:
    """A grade's points; the gradebook's own column is worked out when it is read from the database."""
    given = grade.auto_score if grade.manual_score is None else grade.manual_score
    return (given or 0.0) + ((grade.extra_credit or 0.0) if given is not None else 0.0)


def name_trouble(notebook: SubmittedNotebook, assignment: Assignment, sentences: list[str]) -> None:
    """Write sentences into the automatic comment of a notebook's first cell that has one.

    Formgrader and feedback show it under that cell; a grader's own comment is left alone.
    """
    if not sentences:
        return
    order = [cell.grade_id for cell in assignment.notebooks[notebook.name].cells]
    comments = sorted(notebook.comments, key=lambda comment: order.index(comment.name))
    if comments:
        first = comments[0]
        text = _HEADING + "; ".join(sentences) + "."
        first.auto_comment = f"{first.auto_comment}\n\n{text}" if first.auto_comment else text


def _remove(folder: Path) -> None:
    """Remove a folder; its files may be read-only."""
    if folder.exists():
        for path in [folder, *folder.rglob("*")]:
            if path.is_dir() and not path.is_symlink():
                path.chmod(path.stat().st_mode | stat.S_IRWXU)
        shutil.rmtree(folder)
