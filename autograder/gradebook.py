"""The single writer: commits what handlers found to nbgrader's gradebook, a submission at a time.

A submission's grades are one transaction, and its folder, which a handler has stored, gets
its final name only after that, so that a run that was killed leaves nothing half-written.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from nbgrader.api import Assignment as GradebookAssignment
from nbgrader.api import Grade, Gradebook, SubmittedAssignment, SubmittedNotebook
from nbgrader.coursedir import CourseDirectory
from nbgrader.preprocessors import AssignLatePenalties
from traitlets.config import Configurable

from autograder import times
from autograder.assignment import Assignment
from autograder.grading import Graded, remove

#: Begins the paragraph of an automatic comment that names trouble.
HEADING = "While grading: "
#: In place of a question: points that are taken away because a submission was late.
LATENESS = "(late)"
_FINGERPRINT = "Fingerprint of what was packed: "


@dataclass(frozen=True)
class Standing:
    """How a student stands in an assignment.

    Attributes
    ----------
    points, most : float
        What was earned, those given by hand included, and what could be had.
    waiting : float
        How much of ``most`` nobody has given points for yet.
    given : float
        Points that a person has given and should look at again, since something has been graded anew.
    seconds_late : float
    penalty : float
        Points that are taken away because it was late.
    """

    points: float
    most: float
    waiting: float = 0.0
    given: float = 0.0
    seconds_late: float = 0.0
    penalty: float = 0.0


class Change(NamedTuple):
    """A question for which a student gets other points than before.

    Attributes
    ----------
    student, question, notebook : str
        As ``question``, :data:`LATENESS` stands for what is taken away from the notebook's points.
    before, now : float
        Points.
    """

    student: str
    question: str
    notebook: str
    before: float
    now: float


class Writer:
    """Writes to the gradebook and to the folder of autograded submissions; there must be only one.

    Parameters
    ----------
    coursedir : CourseDirectory
    assignment : Assignment
        With the notebooks that are graded.
    parent : Configurable
        Gives nbgrader's configuration to its plug-ins.
    """

    def __init__(self, coursedir: CourseDirectory, assignment: Assignment, parent: Configurable) -> None:
        self.coursedir = coursedir
        self.assignment = assignment
        self.gradebook = Gradebook(coursedir.db_url, coursedir.course_id)
        rows = self.gradebook.find_assignment(assignment.name).notebooks
        self._others = [row.name for row in rows if row.name not in assignment.notebooks]
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

    def partial_folder(self, student: str) -> Path:
        """Where it is made."""
        final = self.folder(student)
        return final.with_name(f".{final.name}.partial")

    def changes(self, student: str, graded: Graded) -> list[Change]:
        """Where a result would give a student other points than the gradebook has; what was given by hand stands."""
        found = self.gradebook.find_submission(self.assignment.name, student)
        at = datetime.fromisoformat(graded.timestamp) if graded.timestamp else found.timestamp
        late = (at - found.duedate).total_seconds() if at and found.duedate else 0.0
        changes = []
        for notebook in sorted(found.notebooks, key=lambda notebook: notebook.name):
            scores = graded.scores.get(notebook.name, {})
            before = {grade.name: _score(grade, grade.auto_score) for grade in notebook.grades}
            now = {grade.name: _score(grade, scores.get(grade.name, grade.auto_score)) for grade in notebook.grades}
            before[LATENESS] = -(notebook.late_submission_penalty or 0.0)
            now[LATENESS] = -(self._penalty(student, sum(now.values()), late) or 0.0)
            changes += [
                Change(student, question, notebook.name, before[question], now[question])
                for question in sorted(now)
                if before[question] != now[question]
            ]
        self.gradebook.db.expunge_all()
        return changes

    def drop(self, student: str) -> None:
        """Remove the partial folder of a result that isn't written."""
        remove(str(self.partial_folder(student)))

    def write(self, student: str, graded: Graded) -> Standing:
        """Commit a graded submission, whose files lie in its partial folder."""
        database = self.gradebook.db
        # Gradebook's methods commit on their own; for the time of this transaction they only flush.
        commit, database.commit = database.commit, database.flush
        try:
            standing = self._write_grades(student, graded)
        except BaseException:
            database.rollback()
            raise
        finally:
            database.commit = commit
        database.commit()
        database.expunge_all()
        final, partial = self.folder(student), self.partial_folder(student)
        for name in self._others:
            if (final / f"{name}.ipynb").exists():
                os.rename(final / f"{name}.ipynb", partial / f"{name}.ipynb")
        remove(str(final))
        os.rename(partial, final)
        times.note(self.coursedir, self.assignment.name, student, graded.processor)
        return standing

    def _write_grades(self, student: str, graded: Graded) -> Standing:
        gradebook, name = self.gradebook, self.assignment.name
        gradebook.update_or_create_student(student)
        details = {"timestamp": datetime.fromisoformat(graded.timestamp)} if graded.timestamp else {}
        gradebook.update_or_create_submission(name, student, **details)
        found = gradebook.find_submission(name, student)
        for notebook in found.notebooks:
            if notebook.name in graded.scores:
                for grade in notebook.grades:
                    grade.auto_score = graded.scores[notebook.name].get(grade.name)
                    if grade.name in graded.judged[notebook.name]:
                        grade.needs_manual_grade = grade.auto_score is None or grade.manual_score is not None
                for comment in notebook.comments:
                    unanswered = comment.name in graded.unanswered[notebook.name]
                    comment.auto_comment = "No response." if unanswered else None
                self._comment(notebook, graded)
        gradebook.db.flush()
        for notebook in found.notebooks:
            score = sum(_score(grade, grade.auto_score) for grade in notebook.grades)
            notebook.late_submission_penalty = self._penalty(student, score, found.total_seconds_late)
        gradebook.db.flush()
        grades = [grade for notebook in found.notebooks for grade in notebook.grades]
        return Standing(
            points=sum(_score(grade, grade.auto_score) for grade in grades), most=sum(map(_most, grades)),
            waiting=sum(_most(grade) for grade in grades if grade.auto_score is None and grade.manual_score is None),
            given=sum(_score(one, None) for one in grades if one.manual_score is not None and one.needs_manual_grade),
            seconds_late=found.total_seconds_late,
            penalty=sum(notebook.late_submission_penalty or 0.0 for notebook in found.notebooks),
        )  # fmt: skip

    def _comment(self, notebook: SubmittedNotebook, graded: Graded) -> None:
        """Write the fingerprint and what went wrong into the automatic comment of a notebook's first cell that has one.

        Formgrader and feedback show it under that cell; a grader's own comment is left alone.
        """
        sentences, texts = list(graded.trouble.get(notebook.name, [])), []
        if notebook.name == min(self.assignment.notebooks):
            sentences += graded.trouble.get("", [])
            texts += [f"{_FINGERPRINT}{graded.fingerprint}."] if graded.fingerprint else []
        texts += [f"{HEADING}{'; '.join(sentences)}."] if sentences else []
        order = [cell.grade_id for cell in self.assignment.notebooks[notebook.name].cells]
        comments = sorted(notebook.comments, key=lambda comment: order.index(comment.name))
        if comments and texts:
            first = comments[0]
            first.auto_comment = "\n\n".join([*([first.auto_comment] if first.auto_comment else []), *texts])

    def _penalty(self, student: str, score: float, seconds: float) -> float | None:
        """What nbgrader's plug-in takes away from a notebook's score that came so late; at most all of it."""
        if seconds <= 0:
            return None
        penalty = self.penalties.plugin_inst.late_submission_penalty(student, score, seconds)
        return None if penalty is None else min(max(penalty, 0.0), score)


def _score(grade: Grade, by_test: float | None) -> float:
    """A grade's points where its test gives so many; those given by hand go before."""
    given = by_test if grade.manual_score is None else grade.manual_score
    return (given or 0.0) + ((grade.extra_credit or 0.0) if given is not None else 0.0)


def _most(grade: Grade) -> float:
    return float(grade.max_score or 0.0)
