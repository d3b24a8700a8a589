"""The class list: from a platform's table into nbgrader's students.

Nobody is removed from the gradebook, and an empty cell empties nothing. A row that can't be used gets a sentence,
and the others are taken.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from nbgrader.api import Gradebook

from autograder.platforms import CANVAS, MAX_LENGTH, OWN, People, Person, platform_of, student_rows
from autograder.tables import Table, UnusableFile, shown

#: Signs that would leave the folder of a submission, or be a pattern where nbgrader looks for one.
_NO_ID = re.compile(r"[/\\*?\[\]\0-\x1f\x7f]|^[.\s]|\s$")
_FIELDS = ("first_name", "last_name", "email", "lms_user_id")


class Change(NamedTuple):
    """What a roster changes about one student.

    Attributes
    ----------
    student : str
    new : bool
        Whether the gradebook doesn't know the student.
    fields : dict
        Field of nbgrader's ``Student`` -> (before, after), where these differ.
    """

    student: str
    new: bool
    fields: dict[str, tuple[str, str]]

    def __str__(self) -> str:
        told = [f"{name} {shown(before)} → {shown(after)}" for name, (before, after) in self.fields.items()]
        return f"{shown(self.student)}: {', '.join(['new'] * self.new + told)}"


class Roster(NamedTuple):
    """What a table says about a class.

    Attributes
    ----------
    id_column : str
        The column that gives nbgrader's id.
    changes : list of Change
    unchanged : int
        Students about whom nothing changes.
    absent : list of str
        Students of the gradebook whom the table doesn't name; they stay.
    trouble : list of str
        A sentence for each row that can't be used.
    """

    id_column: str
    changes: list[Change]
    unchanged: int
    absent: list[str]
    trouble: list[str]


def compare(table: Table, gradebook: Gradebook, **named: str) -> Roster:
    """Compare a table with the students of a gradebook.

    Parameters
    ----------
    table : Table
    gradebook : Gradebook
    **named : str
        Columns by name, as :class:`autograder.platforms.People` takes them.

    Raises
    ------
    UnusableFile
        If the table names no student.
    """
    platform = platform_of(table, id_named="id" in named)
    people = People(table, platform, **named)
    column = table.header[people.id_column]
    trouble: list[str] = []
    found: dict[str, tuple[int, Person]] = {}
    double: set[str] = set()
    for _, row in student_rows(table, platform):
        person = people.person(row)
        sentence = _unusable(person, column)
        if sentence:
            trouble.append(f"Line {row.line} of {table.name} was passed over: {sentence}.")
        elif person.id in found and found[person.id][1] != person:
            double.add(person.id)
            trouble.append(
                f"Lines {found[person.id][0]} and {row.line} of {table.name} were passed over: both are about"
                f" {shown(person.id)} and say different things."
            )
        else:
            found.setdefault(person.id, (row.line, person))
    if not found and not trouble:
        raise UnusableFile(f"{table.name} names no student; export it again with the students' rows.")
    known = {student.id: student for student in gradebook.students}
    changes = []
    for student in found.keys() - double:
        values = _fields(found[student][1], with_number=platform in (CANVAS, OWN))
        before = {name: getattr(known.get(student), name, None) or "" for name in _FIELDS}
        fields = {name: (before[name], value) for name, value in values.items() if value and value != before[name]}
        if fields or student not in known:
            changes.append(Change(student, student not in known, fields))
    absent = sorted(known.keys() - found.keys())
    unchanged = len(found.keys() - double) - len(changes)
    return Roster(column, sorted(changes), unchanged, absent, trouble)


def write(roster: Roster, gradebook: Gradebook) -> None:
    """Write the changes into the gradebook, with nbgrader's own API."""
    for change in roster.changes:
        gradebook.update_or_create_student(
            change.student, **{name: after for name, (_, after) in change.fields.items()}
        )


def _unusable(person: Person, column: str) -> str:
    if not person.id:
        return f"it has nothing in the column {shown(column)}"
    if _NO_ID.search(person.id):
        return f"{shown(person.id)} can't be the name of a folder"
    long = [
        value for value in (person.id, person.email, person.first_name, person.last_name) if len(value) > MAX_LENGTH
    ]
    if long:
        return f"{shown(long[0])} has more than {MAX_LENGTH} characters"
    return ""


def _fields(person: Person, *, with_number: bool) -> dict[str, str]:
    """nbgrader's fields; Moodle's number of a participant belongs to one assignment and is left out."""
    fields = {"first_name": person.first_name, "last_name": person.last_name, "email": person.email}
    return fields | ({"lms_user_id": person.number} if with_number else {})
