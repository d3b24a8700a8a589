"""What the tables of learning platforms look like, and whom a row means.

Sources, read in 2026:

- **Canvas**: ``lib/gradebook_exporter.rb`` and ``lib/gradebook_importer.rb`` of
  https://github.com/instructure/canvas-lms: the columns Student (or LastName, FirstName), ID, SIS User ID,
  SIS Login ID, Integration ID, Root Account, Section, columns of notes, then the assignments as ``Title (number)``,
  then totals. A column without such a number would make a new assignment. In a row "Points Possible" ``(read only)``
  marks what isn't imported, and above it may be a row of "Manual Posting".
- **Moodle, grading worksheet of an assignment**: ``mod/assign/gradingtable.php`` and
  ``mod/assign/feedback/offline/importgradeslib.php`` of https://github.com/moodle/moodle: Identifier
  ("Participant 123"), Full name, Email address and other fields, Status, Grade, Maximum grade, Grade can be changed,
  Last modified (submission), Last modified (grade), feedback columns. A grade out of range is passed over in silence.
- **Moodle, gradebook**: ``grade/export/txt/grade_export_txt.php``, and https://docs.moodle.org/en/Grade_import:
  fields of the person, then ``Assignment: Title (Real)`` and ``(Feedback)``; an import maps persons by e-mail address
  or ID number, takes no new columns, and loses grades where feedback is imported without them.
- **Blackboard**: "Work Offline With Grade Data" of https://help.blackboard.com: Last Name, First Name, Username,
  Student ID, Last Access, Availability, then ``Title [Total Pts: 75 Score] |123456``; separated by tabs in UTF-16
  (called ``.xls``) or by commas. "up to" stands in columns that are calculated. A column without such a number
  becomes a new text column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from nbgrader.api import Gradebook

from autograder.tables import Row, Table, UnusableFile, numeric, shown

#: nbgrader's own length of an id, a name and an address.
MAX_LENGTH = 128


class Platform(NamedTuple):
    """What one kind of table looks like.

    Attributes
    ----------
    name : str
    needs : tuple of tuple of str
        The table is of this kind if it has a column out of each.
    ids : tuple of str
        Columns that can be nbgrader's id of a student, the best first.
    number : tuple of str
        The platform's own number of a person.
    email, first_name, last_name, full_name : tuple of str
        Columns that hold these; a full name is written ``Last, First`` or ``First Last``.
    grades : str
        A pattern of the headers whose columns hold grades; its group ``title`` is the item's name, and its group
        ``most``, where there is one, the most points.
    maximum : tuple of str
        A column that says the most points.
    """

    name: str
    needs: tuple[tuple[str, ...], ...]
    ids: tuple[str, ...]
    number: tuple[str, ...] = ()
    email: tuple[str, ...] = ()
    first_name: tuple[str, ...] = ()
    last_name: tuple[str, ...] = ()
    full_name: tuple[str, ...] = ()
    grades: str = "(?!)"
    maximum: tuple[str, ...] = ()


_MOODLE_PERSON = {
    "email": ("Email address",),
    "first_name": ("First name",),
    "last_name": ("Last name", "Surname"),
    "full_name": ("Full name",),
}

CANVAS = Platform(
    "Canvas", (("Student", "LastName"), ("ID",), ("Section",)), ("SIS Login ID", "SIS User ID", "ID"), ("ID",),
    first_name=("FirstName",), last_name=("LastName",), full_name=("Student",), grades=r"(?P<title>.+) \(\d+\)",
)  # fmt: skip
WORKSHEET = Platform(
    "Moodle's grading worksheet", (("Identifier",), ("Grade",), ("Last modified (grade)",)),
    ("Username", "ID number", "Email address", "Identifier"), ("Identifier",), **_MOODLE_PERSON,
    grades="(?P<title>Grade)", maximum=("Maximum grade",),
)  # fmt: skip
MOODLE = Platform(
    "Moodle's gradebook", (("Email address", "ID number"), ("Last name", "Surname", "Full name")),
    ("Username", "ID number", "Email address"), **_MOODLE_PERSON,
    grades=r"(?:[^:]+: )?(?P<title>.+) \(Real\)",
)  # fmt: skip
BLACKBOARD = Platform(
    "Blackboard", (("Username",), ("Last Name",), ("First Name",)), ("Username", "Student ID"),
    first_name=("First Name",), last_name=("Last Name",), email=("Email",),
    grades=r"(?P<title>.+?) \[Total Pts: (?P<most>[\d.,]+)[^\]]*\] ?\|\d+",
)  # fmt: skip
OWN = Platform(
    "a list of your own", (("id", "student_id", "username", "email"),), ("id", "student_id", "username", "email"),
    ("lms_user_id",), ("email", "e-mail"), ("first_name", "first name"), ("last_name", "last name"), ("name",),
    grades="(?P<title>.+)",
)  # fmt: skip

#: A table is of the first kind that fits.
PLATFORMS = (CANVAS, WORKSHEET, BLACKBOARD, MOODLE, OWN)

_NO_STUDENT = re.compile(r"\s*(?:muted|manual posting.*)?\s*", re.IGNORECASE | re.DOTALL)
#: The student that Canvas makes for trying things out.
_TEST_STUDENT = "Student, Test"


def platform_of(table: Table, *, id_named: bool = False) -> Platform:
    """The kind of a table, by its header.

    Parameters
    ----------
    table : Table
    id_named : bool
        Whether the caller knows the column that tells who is meant, so that any table will do.

    Raises
    ------
    UnusableFile
        If it is of none.
    """
    for platform in PLATFORMS:
        if all(table.column(*names) is not None for names in platform.needs):
            return platform
    if id_named:
        return OWN
    raise UnusableFile(
        f"{table.name} has no column that tells who is meant: its columns are"
        f" {', '.join(map(shown, table.header[:12]))}; name one of them with --id."
    )


def student_rows(table: Table, platform: Platform) -> list[tuple[int, Row]]:
    """The rows that mean a person, with their places in ``table.rows``."""
    rows = list(enumerate(table.rows))
    if platform is not CANVAS:
        return rows
    return [
        (place, row)
        for place, row in rows
        if "Points Possible" not in row.value(0)
        and row.value(0) != _TEST_STUDENT
        and not all(_NO_STUDENT.fullmatch(cell.value) for cell in row.cells)
    ]


class GradeColumn(NamedTuple):
    """A column that takes grades.

    Attributes
    ----------
    place : int
    header, title : str
        What stands above it, and the item's name in that.
    most : float, optional
        The most points, where the file says so for the whole column.
    """

    place: int
    header: str
    title: str
    most: float | None


def grade_columns(table: Table, platform: Platform) -> list[GradeColumn]:
    """The columns of a table that take grades."""
    people = {
        name.casefold()
        for names in (*platform.needs, platform.ids, platform.number, *platform[4:8], platform.maximum)
        for name in names
        if name != "Grade"
    }
    possible = None
    first = 0
    if platform is CANVAS:
        first = (table.column("Section") or 0) + 1
        possible = next((row for row in table.rows if "Points Possible" in row.value(0)), None)
    columns = []
    for place, header in enumerate(table.header):
        found = re.fullmatch(platform.grades, header)
        if place < first or found is None or header.casefold() in people:
            continue
        most = numeric(found.groupdict().get("most") or "")
        if possible is not None:
            stated = possible.value(place)
            if "read only" in stated:
                continue
            most = numeric(stated)
        columns.append(GradeColumn(place, header, found["title"].strip(), most))
    return columns


class Person(NamedTuple):
    """Whom a row means, as it says; empty where it doesn't.

    Attributes
    ----------
    id : str
        For nbgrader.
    logins : tuple of str
        Everything in the row that could be nbgrader's id.
    number : str
        The platform's own.
    email, first_name, last_name : str
    """

    id: str
    logins: tuple[str, ...]
    number: str
    email: str
    first_name: str
    last_name: str


class People:
    """Reads persons out of the rows of one table."""

    def __init__(self, table: Table, platform: Platform, **named: str) -> None:
        """Look up the columns.

        Parameters
        ----------
        table : Table
        platform : Platform
        **named : str
            ``id``, ``email``, ``first_name``, ``last_name``: a column's name, in place of the platform's.

        Raises
        ------
        UnusableFile
            If a column that is named isn't there.
        """
        for name in named.values():
            if table.column(name) is None:
                raise UnusableFile(
                    f"{table.name} has no column {shown(name)}; it has {', '.join(map(shown, table.header[:12]))}."
                )
        rows = student_rows(table, platform)
        ids = (named["id"],) if "id" in named else platform.ids
        self._logins = [column for name in ids if (column := table.column(name)) is not None]
        filled = [column for column in self._logins if any(row.value(column) for _, row in rows)]
        #: The column that gives nbgrader's id: the first that says something.
        self.id_column = (filled or self._logins or [0])[0]
        self._columns = {
            role: table.column(*((named[role],) if role in named else getattr(platform, role)))
            for role in ("number", "email", "first_name", "last_name", "full_name")
        }

    def person(self, row: Row) -> Person:
        """Whom a row means."""
        values = {role: "" if column is None else row.value(column) for role, column in self._columns.items()}
        first, last = values["first_name"], values["last_name"]
        if values["full_name"] and not (first or last):
            first, last = split_name(values["full_name"])
        logins = tuple(filter(None, (row.value(column) for column in self._logins)))
        return Person(row.value(self.id_column), logins, values["number"], values["email"], first, last)


def split_name(full_name: str) -> tuple[str, str]:
    """First and last name of ``Last, First`` or ``First Last``; what stands last is the last name."""
    if "," in full_name:
        last, first = full_name.split(",", 1)
        return first.strip(), last.strip()
    first, _, last = full_name.rpartition(" ")
    return first.strip(), last.strip()


class Register:
    """Finds the gradebook's student whom a row or a file name means."""

    def __init__(self, gradebook: Gradebook) -> None:
        """Read the students of a gradebook."""
        students = list(gradebook.students)
        self.ids = {student.id for student in students}
        self._numbers = _index((student.lms_user_id, student.id) for student in students)
        self._emails = _index((_folded(student.email), student.id) for student in students)
        self._logins = _index((_folded(student.id), student.id) for student in students)
        self._names = _index(
            (name_key(name), student.id)
            for student in students
            if student.last_name
            for first in [student.first_name or ""]
            for name in (f"{student.last_name}, {first}", f"{first} {student.last_name}")
        )

    def find(self, person: Person) -> set[str]:
        """The ids of the students who may be meant: one, or none or several where that can't be told.

        The platform's number decides if it is known, else an id, else the e-mail address. Names don't: two
        students may share one.
        """
        candidates = (
            self._numbers.get(person.number, set()),
            set().union(*(self._logins.get(_folded(login), set()) for login in person.logins)),
            self._emails.get(_folded(person.email), set()) | self._logins.get(_folded(person.email), set()),
        )
        return next(filter(None, candidates), set())

    def by_number(self, number: str) -> set[str]:
        """The ids of the students with a platform's number."""
        return self._numbers.get(number, set())

    def by_name(self, key: str) -> set[str]:
        """The ids of the students with a name, as :func:`name_key` writes it."""
        return self._names.get(key, set())


def _folded(text: str | None) -> str:
    return (text or "").strip().casefold()


def name_key(name: str) -> str:
    """A name's letters and digits in lower case, as Canvas puts names into file names."""
    return re.sub(r"[\W_]", "", name).casefold()


def _index(pairs: Iterable[tuple[str | None, str]]) -> Mapping[str, set[str]]:
    index: dict[str, set[str]] = {}
    for key, student in pairs:
        if key:
            index.setdefault(key, set()).add(student)
    return index
