"""nbgrader's plug-in: ``nbgrader autograde`` and formgrader's button grade as ``python -m autograder grade`` does."""

from __future__ import annotations

import functools
from typing import Any

from nbconvert.exporters import NotebookExporter
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.converters import Autograde, NbGraderException
from traitlets.config import Configurable

from autograder.cage import CageUnavailable
from autograder.run import AlreadyRunning, Course, NoSubmissions, grade_class
from autograder.source import UnknownAssignment


class GradeInCage(NotebookExporter):
    """Stands in ``Autograde.exporter_class``, so that nbgrader doesn't touch a submission itself.

    nbgrader makes its exporter right before it copies the submissions' files, follows links in them and
    parses them, all in its own process. There is no setting for a converter that does it otherwise, so
    this one is told to have handlers do it.
    """

    def __init__(self, parent: Configurable | None = None, **settings: Any) -> None:
        super().__init__(parent=parent, **settings)
        if isinstance(parent, Autograde):
            parent.convert_notebooks = functools.partial(_grade, parent)


def _grade(converter: Autograde) -> None:
    """Grade the submissions that the converter is for; in place of its ``convert_notebooks``.

    Raises
    ------
    NbGraderException
        If one has no grade.
    """
    coursedir, log = converter.coursedir, converter.log
    course = Course(converter.parent, coursedir)
    converter.run_pre_convert_hook()
    try:
        if not converter.create_student:
            with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
                for student in course.students(coursedir.assignment_id, coursedir.student_id):
                    gradebook.find_student(student)
        summary = grade_class(
            course, coursedir.assignment_id, students=coursedir.student_id, notebooks=coursedir.notebook_id,
            force=converter.force,
        )  # fmt: skip
    except (UnknownAssignment, NoSubmissions, AlreadyRunning, CageUnavailable, MissingEntry) as error:
        log.error("%s", error)
        raise NbGraderException(str(error)) from error
    for student in summary.skipped:
        log.info("%s has been graded before, and hasn't changed", student)
    for student, (points, most, _, trouble) in summary.graded.items():
        log.info("%s: %g of %g points", student, points, most)
        for sentence in trouble:
            log.warning("%s: %s", student, sentence)
    for student, why in summary.failed.items():
        log.error("%s: no grade, %s", student, why)
    converter.run_post_convert_hook()
    if summary.failed:
        raise NbGraderException(f"Not graded: {', '.join(summary.failed)}")
