"""Feedback pages as the zip that Moodle takes under "Upload multiple feedback files in a zip".

Moodle finds the person in the name of a folder, ``fullname_number_plugintype_pluginname``, by the number that the
grading worksheet calls "Participant 123" (``mod/assign/feedback/file/importziplib.php`` of
https://github.com/moodle/moodle). With ``assignfeedback_file`` a page that was uploaded before is replaced.
"""

from __future__ import annotations

import os
import re
import zipfile
from pathlib import Path
from typing import NamedTuple

from nbgrader.api import Gradebook
from nbgrader.coursedir import CourseDirectory

from autograder.platforms import WORKSHEET, People, Register, platform_of, student_rows
from autograder.tables import Table, UnusableFile, shown

#: The same content gives the same archive.
_DATE = (1980, 1, 1, 0, 0, 0)


class Parcel(NamedTuple):
    """One student's pages.

    Attributes
    ----------
    student : str
    folder : str
        In the archive.
    pages : list of Path
    """

    student: str
    folder: str
    pages: list[Path]

    def __str__(self) -> str:
        return f"{shown(self.student)}: {len(self.pages)} pages as {shown(self.folder)}"


def parcels(
    table: Table, gradebook: Gradebook, coursedir: CourseDirectory, assignment: str
) -> tuple[list[Parcel], list[str]]:
    """Each student's pages, and a sentence for everybody who gets none.

    Parameters
    ----------
    table : Table
        Moodle's grading worksheet, which knows the numbers.
    gradebook : Gradebook
    coursedir : CourseDirectory
    assignment : str

    Raises
    ------
    UnusableFile
        If the table isn't Moodle's grading worksheet.
    """
    if platform_of(table) is not WORKSHEET:
        raise UnusableFile(f"{table.name} is not Moodle's grading worksheet; download it from the assignment.")
    register, people = Register(gradebook), People(table, WORKSHEET)
    name_column = table.column("Full name")
    found, trouble, given = [], [], set()
    for _, row in student_rows(table, WORKSHEET):
        person = people.person(row)
        number = re.search(r"\d+$", person.number)
        matches = register.find(person)
        if number is None or len(matches) != 1:
            meant = "several students of the gradebook may be" if matches else "no student of the gradebook is"
            trouble.append(f"Line {row.line} of {table.name} gets no pages: {meant} meant.")
            continue
        (student,) = matches
        given.add(student)
        folder = Path(coursedir.format_path(coursedir.feedback_directory, student, assignment))
        pages = sorted(page for page in folder.glob("*.html") if page.is_file() and not page.is_symlink())
        if not pages:
            trouble.append(f"{shown(student)} gets no pages: there is none in {folder}; write them with make feedback.")
            continue
        name = "" if name_column is None else row.value(name_column)
        # Moodle parts the folder's name at underscores, and puts a space in their place in names.
        clean = re.sub(r'[\0-\x1f\x7f"*/:<>?\\|_]+', " ", name).strip(" .") or "Participant"
        found.append(Parcel(student, f"{clean[:100]}_{number[0]}_assignfeedback_file", pages))
    submissions = gradebook.assignment_submissions(assignment)
    missing = sorted({submission.student.id for submission in submissions} - given)
    trouble += [f"{shown(student)} gets no pages: {table.name} has no line for this student." for student in missing]
    return found, trouble


def write(found: list[Parcel], target: Path) -> int:
    """Write the archive, a page at a time; returns its size in bytes.

    Raises
    ------
    UnusableFile
        If it can't be written.
    """
    partial = target.with_name(f"{target.name}.part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for parcel in found:
                for page in parcel.pages:
                    info = zipfile.ZipInfo(f"{parcel.folder}/{page.name}", _DATE)
                    info.compress_type, info.external_attr = zipfile.ZIP_DEFLATED, 0o644 << 16
                    archive.writestr(info, page.read_bytes())
        os.replace(partial, target)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise UnusableFile(f"{target} can't be written: {error.strerror or error}.") from None
    return target.stat().st_size
