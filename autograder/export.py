"""Grades out of the gradebook: into a learning platform's own file, or into a table of ours.

Both are plug-ins of ``nbgrader export``::

    nbgrader export                                    # course/grades.csv
    nbgrader export --exporter=autograder.export.PlatformExport --PlatformExport.file=canvas.csv

The platform's file is the one that the platform exported; what comes out differs from it in grades alone, byte for
byte. Its formats and their sources are in :mod:`autograder.platforms`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from nbgrader.api import Assignment, Gradebook, MissingEntry, Student, SubmittedAssignment
from nbgrader.plugins import CsvExportPlugin, ExportPlugin
from traitlets import Bool, Dict, Unicode

from autograder.platforms import (
    CANVAS,
    MOODLE,
    WORKSHEET,
    GradeColumn,
    People,
    Platform,
    Register,
    grade_columns,
    name_key,
    platform_of,
    student_rows,
)
from autograder.tables import Row, Table, UnusableFile, numeric, shown, write_table

#: Names a submission's whole points, less what lateness costs.
TOTAL = "total"
#: In a cell of Canvas: the student is excused, or isn't given the assignment.
_KEPT = {"EX", "N/A"}


class Item(NamedTuple):
    """Something that earns points: the assignment, a notebook or a question.

    Attributes
    ----------
    name : str
    most : float
        The most points.
    """

    name: str
    most: float


class Earned(NamedTuple):
    """What a student earned with one item.

    Attributes
    ----------
    points : float
    by_hand : float
        Points that still wait for somebody to grade them by hand.
    """

    points: float
    by_hand: float


def items_of(assignment: Assignment) -> dict[str, Item]:
    """Everything of an assignment that earns points, by the name of which only letters and digits count."""
    found = {}
    for notebook in assignment.notebooks:
        for cell in [*notebook.grade_cells, *notebook.task_cells]:
            found[name_key(cell.name)] = Item(cell.name, float(cell.max_score or 0))
        found[name_key(notebook.name)] = Item(notebook.name, float(notebook.max_score))
    whole = Item(TOTAL, float(assignment.max_score))
    return found | {name_key(assignment.name): whole, TOTAL: whole}


def earned(submission: SubmittedAssignment) -> dict[str, Earned]:
    """What a submission earned: an item's name -> points."""
    found = {}
    for notebook in submission.notebooks:
        waiting = 0.0
        for grade in notebook.grades:
            by_hand = float(grade.max_score or 0) if grade.needs_manual_grade else 0.0
            found[grade.name] = Earned(float(grade.score or 0), by_hand)
            waiting += by_hand
        found[notebook.name] = Earned(_less(notebook.score, notebook.late_submission_penalty), waiting)
    whole = _less(submission.score, submission.late_submission_penalty)
    return found | {TOTAL: Earned(whole, sum(found[notebook.name].by_hand for notebook in submission.notebooks))}


def _less(score: float | None, penalty: float | None) -> float:
    return max(0.0, float(score or 0) - float(penalty or 0))


class Difference(NamedTuple):
    """A cell that gets another grade.

    Attributes
    ----------
    line : int
    student : str
    header : str
        Of the column.
    before, after : str
    """

    line: int
    student: str
    header: str
    before: str
    after: str

    def __str__(self) -> str:
        return (
            f"line {self.line}, {shown(self.student)}, {shown(self.header)}:"
            f" {self.before.strip() or 'nothing'} → {self.after}"
        )


class Filled(NamedTuple):
    """A platform's file with grades.

    Attributes
    ----------
    content : bytes
    differences : list of Difference
    trouble : list of str
        A sentence for each grade that couldn't be written.
    notes : list of str
        What else there is to know.
    """

    content: bytes
    differences: list[Difference]
    trouble: list[str]
    notes: list[str]


def fill(
    table: Table, gradebook: Gradebook, assignment: str, *, columns: Mapping[str, str] | None = None,
    id_column: str = "", students: Iterable[str] = (), scale: bool = False, unfinished: bool = False,
) -> Filled:  # fmt: skip
    """Write grades into a platform's file.

    Parameters
    ----------
    table : Table
        As the platform exported it.
    gradebook : Gradebook
    assignment : str
    columns : mapping, optional
        Header of a column -> ``"total"``, or the name of a notebook or of a question. Without it, each column that is
        called as the assignment, a notebook or a question is filled; only letters and digits count. In Moodle's
        grading worksheet it is the column Grade.
    id_column : str
        The column that tells who is meant, where the platform can't be told from the file.
    students : iterable of str
        Only these; everybody by default.
    scale : bool
        Whether to convert points where the platform's most points are others than the gradebook's.
    unfinished : bool
        Whether to write a grade of which a part still waits to be graded by hand.

    Raises
    ------
    UnusableFile
        If the file, the assignment or the columns don't fit together.
    """
    platform = platform_of(table, id_named=bool(id_column))
    try:
        items = items_of(gradebook.find_assignment(assignment))
    except MissingEntry:
        known = ", ".join(sorted(known.name for known in gradebook.assignments)) or "none"
        raise UnusableFile(f"The gradebook has no assignment {shown(assignment)}; it has: {known}.") from None
    chosen = _chosen(table, platform, items, columns or {})
    for column, item in chosen:
        if column.most is not None and column.most != item.most and not scale:
            raise UnusableFile(_other_maximum(table, column.header, column.most, item))
    wanted = set(students)
    people = People(table, platform, **({"id": id_column} if id_column else {}))
    register = Register(gradebook)
    trouble, differences = [], []
    values: dict[tuple[int, int], str] = {}
    seen: dict[str, int] = {}
    none_yet = []
    for place, row in student_rows(table, platform):
        matches = register.find(people.person(row))
        if len(matches) != 1:
            who = " ".join(filter(None, (row.value(column) for column in range(min(3, len(row.cells))))))
            meant = "several students of the gradebook may be" if matches else "no student of the gradebook is"
            trouble.append(f"Line {row.line} of {table.name} ({shown(who)}) was left as it is: {meant} meant.")
            continue
        (student,) = matches
        if wanted and student not in wanted:
            continue
        if student in seen:
            trouble.append(
                f"Line {row.line} of {table.name} was left as it is: {shown(student)} is in line {seen[student]} too."
            )
            continue
        seen[student] = row.line
        try:
            points = earned(gradebook.find_submission(assignment, student))
        except MissingEntry:
            none_yet.append(student)
            continue
        for column, item in chosen:
            sentence, text = _grade(table, platform, row, column, item, points.get(item.name), scale, unfinished)
            if sentence:
                trouble.append(f"{shown(student)}, {shown(column.header)}, was left as it is: {sentence}.")
            elif text is not None:
                values[place, column.place] = text
                differences.append(Difference(row.line, student, column.header, row.cells[column.place].value, text))
    graded = {submission.student.id for submission in gradebook.assignment_submissions(assignment)}
    missing = sorted((graded & wanted if wanted else graded) - seen.keys())
    trouble += [f"{shown(student)} has a grade, and {table.name} has no line for this student." for student in missing]
    return Filled(table.replaced(values), differences, trouble, _notes(table, platform, chosen, none_yet))


def _chosen(
    table: Table, platform: Platform, items: Mapping[str, Item], named: Mapping[str, str]
) -> list[tuple[GradeColumn, Item]]:
    columns = grade_columns(table, platform)
    headers = ", ".join(shown(column.header) for column in columns[:20]) or "none"
    if named:
        chosen = []
        for header, name in named.items():
            fitting = [column for column in columns if header in (column.header, column.title)]
            item = items.get(name_key(name))
            if len(fitting) != 1:
                raise UnusableFile(
                    f"{table.name} has {'several columns' if fitting else 'no column'} {shown(header)} for grades;"
                    f" those that it has are: {headers}."
                )
            if item is None:
                raise UnusableFile(f"The assignment has no notebook and no question {shown(name)}.")
            chosen.append((fitting[0], item))
        return chosen
    if platform is WORKSHEET:
        return [(column, items[TOTAL]) for column in columns]
    # A platform's own total, of the whole course, isn't the assignment's.
    titles = [(column, name_key(column.title)) for column in columns]
    chosen = [(column, items[key]) for column, key in titles if key in items and key != TOTAL]
    if not chosen:
        example = f"--PlatformExport.columns='{columns[0].title if columns else 'Title'}={TOTAL}'"
        raise UnusableFile(
            f"No column of {table.name} is called as the assignment, a notebook or a question; its columns for grades"
            f" are: {headers}. Name one, as in {example}."
        )
    names = [item.name for _, item in chosen]
    double = next((name for name in names if names.count(name) > 1), None)
    if double:
        raise UnusableFile(f"Several columns of {table.name} are called {shown(double)}; name the one that is meant.")
    return chosen


def _other_maximum(table: Table, header: str, most: float, item: Item) -> str:
    return (
        f"{shown(header)} of {table.name} has {most:g} points at most, and {item.name} has {item.most:g} in the"
        " gradebook; set one of them right, or convert with --PlatformExport.scale=True."
    )


def _grade(
    table: Table, platform: Platform, row: Row, column: GradeColumn, item: Item, got: Earned | None, scale: bool,
    unfinished: bool,
) -> tuple[str, str | None]:  # fmt: skip
    """Why a grade can't be written, or its text; neither where the cell is right as it is."""
    if column.place >= len(row.cells):
        return f"line {row.line} is too short", None
    if got is None:
        return "the submission was graded before the question was there", None
    if got.by_hand and not unfinished:
        return f"{got.by_hand:g} points wait to be graded by hand", None
    before = row.cells[column.place].value.strip()
    if platform is CANVAS and before.upper() in _KEPT:
        return f"Canvas says {before}", None
    locked = table.column("Grade can be changed")
    if platform is WORKSHEET and locked is not None and row.value(locked).casefold() == "no":
        return "Moodle says that the grade can't be changed", None
    most = column.most
    stated = table.column(*platform.maximum) if platform.maximum else None
    if stated is not None:
        most = numeric(row.value(stated))
        if most is not None and most != item.most and not scale:
            raise UnusableFile(_other_maximum(table, column.header, most, item))
    points = got.points * most / item.most if scale and most is not None and item.most else got.points
    if platform is WORKSHEET and most is not None and points > most:
        return f"Moodle takes no more than {most:g} points, and it would be {points:g}", None
    text = table.number(points)
    return "", None if numeric(before) == numeric(text) else text


def _notes(table: Table, platform: Platform, chosen: list[tuple[GradeColumn, Item]], none_yet: list[str]) -> list[str]:
    notes = []
    if none_yet:
        names = ", ".join(shown(student) for student in none_yet[:20]) + (", ..." if len(none_yet) > 20 else "")
        notes.append(f"Left as it was, for want of a graded submission ({len(none_yet)}): {names}.")
    if platform is MOODLE:
        lacking = [
            column.header for column, _ in chosen if table.column(column.header.replace("(Real)", "(Feedback)")) is None
        ]
        notes += [
            f"Moodle loses what is imported without the other, grades or feedback: export {shown(header)} with its"
            " feedback, and map both columns."
            for header in lacking
        ]
    return notes


class PlatformExport(ExportPlugin):
    """Fill the points into the file that a learning platform exported."""

    file = Unicode("", help="the file that the platform exported").tag(config=True)
    columns = Dict(
        key_trait=Unicode(), value_trait=Unicode(),
        help="header of a column=total, or a notebook's or a question's name; by default what is called alike",
    ).tag(config=True)  # fmt: skip
    id = Unicode("", help="the column that tells who is meant, where the platform can't be told").tag(config=True)
    scale = Bool(False, help="convert points where the platform has another maximum").tag(config=True)
    unfinished = Bool(False, help="write grades of which a part waits to be graded by hand").tag(config=True)
    dry_run = Bool(False, help="show each difference and write nothing").tag(config=True)

    def export(self, gradebook: Gradebook) -> None:
        """Write the file that is uploaded, beside the exported one or to ``--to``."""
        try:
            self._export(gradebook)
        except UnusableFile as error:
            if self.parent is None:
                raise
            self.parent.fail(str(error))

    def _export(self, gradebook: Gradebook) -> None:
        if not self.file:
            raise UnusableFile("Name the file that the platform exported: --PlatformExport.file=grades.csv")
        source = Path(self.file)
        target = Path(self.to) if self.to else source.with_name(f"{source.stem}-filled{source.suffix}")
        if target.exists() and source.exists() and target.samefile(source):
            raise UnusableFile(f"{source} itself isn't overwritten; name another file with --to.")
        names = [str(name) for name in self.assignment] or [assignment.name for assignment in gradebook.assignments]
        if len(names) != 1:
            raise UnusableFile(f"Name one assignment, as in --assignment [{names[0] if names else 'NAME'}].")
        filled = fill(
            Table.read(source), gradebook, names[0], columns=self.columns, id_column=self.id,
            students=map(str, self.student), scale=self.scale, unfinished=self.unfinished,
        )  # fmt: skip
        for line in (*filled.differences, *filled.trouble, *filled.notes):
            print(line)
        if self.dry_run:
            print(f"{len(filled.differences)} grades would change. Nothing was written.")
            return
        replace_file(target, filled.content)
        print(f"{len(filled.differences)} grades changed, in {target}.")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file whole or not at all.

    Raises
    ------
    UnusableFile
        If it can't be written.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(content)
        os.replace(partial, path)
    except OSError as error:
        raise UnusableFile(f"{path} can't be written: {error.strerror or error}.") from None


class GradesTable(CsvExportPlugin):
    """nbgrader's table of grades, quoted and harmless in a spreadsheet, and with each question if that is asked for.

    nbgrader's own writes names as they are, so that a comma in one moves every later column, and one that begins with
    ``=`` is a formula.
    """

    questions = Bool(False, help="a column for each question besides").tag(config=True)

    _HEADER = (
        "assignment", "duedate", "timestamp", "student_id", "last_name", "first_name", "email", "raw_score",
        "late_submission_penalty", "score", "max_score",
    )  # fmt: skip

    def export(self, gradebook: Gradebook) -> None:
        """Write the table to ``to``."""
        target = Path(self.to or "grades.csv")
        wanted, students = set(map(str, self.assignment)), set(map(str, self.student))
        assignments = [found for found in gradebook.assignments if not wanted or found.name in wanted]
        names = [cell.name for found in assignments for notebook in found.notebooks for cell in
                 [*notebook.grade_cells, *notebook.task_cells]] if self.questions else []  # fmt: skip
        rows = [
            self._row(gradebook, assignment, student, names)
            for assignment in assignments
            for student in gradebook.students
            if not students or student.id in students
        ]
        with target.open("w", encoding="utf-8", newline="") as file:
            write_table(file, [*self._HEADER, *names], rows)
        self.log.info("Exported grades to %s", target)

    def _row(self, gradebook: Gradebook, assignment: Assignment, student: Student, names: list[str]) -> list[object]:
        person = [student.id, student.last_name or "", student.first_name or "", student.email or ""]
        most = float(assignment.max_score)
        try:
            submission = gradebook.find_submission(assignment.name, student.id)
        except MissingEntry:
            return [assignment.name, assignment.duedate or "", "", *person, 0.0, 0.0, 0.0, most, *[""] * len(names)]
        points = earned(submission)
        penalty = float(submission.late_submission_penalty or 0)
        return [
            assignment.name, assignment.duedate or "", submission.timestamp or "", *person,
            float(submission.score or 0), penalty, points[TOTAL].points, most,
            *(points[name].points if name in points else "" for name in names),
        ]  # fmt: skip
