"""What a class understood: a page and a table from the gradebook and the graded notebooks.

What is counted was written by the grader: points in the gradebook, and, in the outputs of test cells, the error and the
facts that a check displays beside it (``question``, ``quantity``, ``kind``, ``extent``, ``deviations``, ``cause``: see
:meth:`course_utils.comparison.CheckFailed.facts`). A student's own displays carry no such metadata
(:func:`autograder.outputs.as_output`), and in a test cell only their text is kept. A course whose checks display none
gets its failures clustered by their errors.

- :mod:`~autograder.report.reading`: a class's answers;
- :mod:`~autograder.report.findings`: what is counted in them;
- :mod:`~autograder.report.examples`: a student's code without the student;
- :mod:`~autograder.report.explained`: a cause as a formula and a picture, and
  :mod:`~autograder.report.two_layer_net`: those of this course;
- :mod:`~autograder.report.table`: the answers as CSV, and those of the last report;
- :mod:`~autograder.report.page`: the page.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from nbgrader.coursedir import CourseDirectory

from autograder.likeness.report import write as write_private
from autograder.report import findings, page, reading, table
from autograder.source import UnknownAssignment, load
from autograder.tables import UnusableFile


class Written(NamedTuple):
    """What a report consists of.

    Attributes
    ----------
    page, table : Path
    students, causes, clusters : int
    trouble : list of str
        Sentences on what couldn't be read.
    """

    page: Path
    table: Path
    students: int
    causes: int
    clusters: int
    trouble: list[str]


def write(coursedir: CourseDirectory, assignment: str, target: Path, since: Path | None = None) -> Written:
    """Write the page and, beside it, the table, readable by their owner alone.

    Parameters
    ----------
    coursedir : CourseDirectory
        Its configuration names the course's formulas, see :class:`autograder.report.page.Report`.
    assignment : str
    target : Path
        Of the page.
    since : Path, optional
        An earlier report's table; by default the one that is replaced.

    Raises
    ------
    UnusableFile
        If nothing has been graded, or ``since`` isn't such a table.
    """
    try:
        found = reading.read(coursedir, load(coursedir, assignment))
    except UnknownAssignment as error:
        raise UnusableFile(str(error)) from None
    beside = target.with_suffix(".csv")
    before = since or (beside if beside.exists() else None)
    earlier = table.causes_of(before, found.answers) if before else {}
    written_at = f"{datetime.fromtimestamp(before.stat().st_mtime):%Y-%m-%d %H:%M}" if before else ""
    counted = findings.find(found, earlier)
    explain = page.Report(parent=coursedir).explanation()
    write_private(page.page(found, counted, explain, written_at), target)
    write_private(table.written(found.answers), beside)
    students = len({answer.student for answer in found.answers})
    causes = sum(bool(one.students) for one in counted.causes)
    return Written(target, beside, students, causes, len(counted.clusters), found.unread)
