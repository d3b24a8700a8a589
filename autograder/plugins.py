"""What stands in the place of nbgrader's converters, so that its commands and formgrader's buttons do as ours.

nbgrader has no setting for another converter, and its own touch submissions, skip pages and delete releases before
anything of ours is asked. So :func:`use_own_converters`, which ``nbgrader_config.py`` calls, puts subclasses where its
commands and formgrader look the classes up.
"""

from __future__ import annotations

import os
from datetime import datetime

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.apps import NbGraderAPI, api, autogradeapp, generateassignmentapp, generatefeedbackapp
from nbgrader.converters import Autograde, NbGraderException
from nbgrader.server_extensions.formgrader import base
from traitlets import Bool

from autograder.cage import CageUnavailable
from autograder.feedback import FeedbackOfChanges
from autograder.release import KeepingRelease
from autograder.run import AlreadyRunning, Course, NoSubmissions, Unwritable, grade_class
from autograder.source import UnknownAssignment
from autograder.submission import TIMESTAMP, time_in


class GradeInCage(Autograde):
    """``nbgrader autograde`` and formgrader's button: as ``python -m autograder grade``."""

    accept_lower = Bool(False, help="Whether to write lower grades than before too.").tag(config=True)

    def start(self) -> None:
        """Grade the submissions of ``coursedir.student_id``.

        Raises
        ------
        NbGraderException
            If one has no grade, or a grade wasn't written since somebody would lose points.
        """
        before = os.getcwd()
        os.chdir(self.coursedir.root)
        try:
            self._grade()
        except (UnknownAssignment, NoSubmissions, AlreadyRunning, CageUnavailable, Unwritable, MissingEntry) as error:
            self.log.error("%s", error)
            raise NbGraderException(str(error)) from error
        finally:
            os.chdir(before)

    def _grade(self) -> None:
        coursedir, log = self.coursedir, self.log
        course = Course(self.parent, coursedir)
        self.run_pre_convert_hook()
        if not self.create_student:
            with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
                for student in course.submissions(coursedir.assignment_id, coursedir.student_id).places:
                    gradebook.find_student(student)
        summary = grade_class(
            course, coursedir.assignment_id, students=coursedir.student_id, notebooks=coursedir.notebook_id,
            force=self.force, accept_lower=self.accept_lower,
        )  # fmt: skip
        for student in summary.skipped:
            log.info("%s has been graded before, and nothing has changed", student)
        for change in summary.changes:
            log.warning("%s: %s of %s, %g points before, %g now", *change)
        for student, line in summary.lines.items():
            (log.warning if summary.graded[student][3] else log.info)("%s: %s", student, line)
        for student, why in summary.failed.items():
            log.error("%s: no grade, %s", student, why)
        self.run_post_convert_hook()
        if summary.refused:
            advice = "Accept it with: python -m autograder grade --accept-lower, or --GradeInCage.accept_lower=True"
            log.error("%s %s", summary.not_written(), advice)
            raise NbGraderException(summary.not_written())
        if summary.failed:
            raise NbGraderException(f"Not graded: {', '.join(summary.failed)}")


class ListedAsGraded(NbGraderAPI):
    """What formgrader lists: the submissions that are graded, whatever their folders are called and hold."""

    def get_submitted_students(self, assignment_id: str) -> set[str]:
        """The students of whom there is something to grade."""
        if assignment_id == "*":
            return super().get_submitted_students(assignment_id)
        return set(Course(self.parent, self.coursedir).submissions(assignment_id).places)

    def get_submitted_timestamp(self, assignment_id: str, student_id: str) -> datetime | None:
        """When it was handed in; None where no file says so."""
        folder = self.coursedir.format_path(self.coursedir.submitted_directory, student_id, assignment_id)
        path = os.path.join(folder, TIMESTAMP)
        if not os.path.isfile(path):
            return None
        with open(path, "rb") as file:
            return time_in(file.read(1000))

    def get_autograded_students(self, assignment_id: str) -> set[str]:
        """The students who have been graded since; nbgrader's own misses those whose files don't say when they came."""
        with self.gradebook as gradebook:
            known = {submission.student_id for submission in gradebook.assignment_submissions(assignment_id)}
        folder = self.coursedir.autograded_directory
        graded = {one for one in known if os.path.isdir(self.coursedir.format_path(folder, one, assignment_id))}
        undated = {one for one in graded if self.get_submitted_timestamp(assignment_id, one) is None}
        return super().get_autograded_students(assignment_id) | undated


_REPLACED = {
    "Autograde": (GradeInCage, (api, autogradeapp)), "NbGraderAPI": (ListedAsGraded, (base,)),
    "GenerateFeedback": (FeedbackOfChanges, (api, generatefeedbackapp)),
    "GenerateAssignment": (KeepingRelease, (api, generateassignmentapp)),
}  # fmt: skip


def use_own_converters() -> None:
    """Have nbgrader's commands and formgrader use the converters of this package; may be called again.

    Raises
    ------
    AttributeError
        If nbgrader no longer looks a converter up where it did.
    """
    for name, (ours, modules) in _REPLACED.items():
        for module in modules:
            if not issubclass(ours, getattr(module, name)):
                raise AttributeError(f"{module.__name__}.{name} is not what {ours.__name__} stands for")
            setattr(module, name, ours)
