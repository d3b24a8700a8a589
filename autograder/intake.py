"""Submissions out of the archive that a learning platform gives: one zip of everybody's files.

How the files in it are called, and where that is written (read in 2026):

- **Canvas**: ``lovelaceada_LATE_1234_5678_1_forward_check-1.ipynb``: sortable name in lower case without spaces,
  ``LATE`` if it was, number of the person, number of the file, the file's name, to which Canvas adds ``-1`` when it is
  handed in anew (``lib/content_zipper.rb`` of https://github.com/instructure/canvas-lms).
- **Moodle**: ``Ada Lovelace_123_assignsubmission_file/1_forward_check.ipynb``, in older versions with ``_`` behind
  ``file``, or all files in one folder; 123 is the number that the grading worksheet calls "Participant 123"
  (``mod/assign/classes/downloader.php`` and ``mod/assign/feedback/file/importziplib.php`` of
  https://github.com/moodle/moodle).
- **Blackboard**: ``Title_ada_attempt_2026-06-10-14-14-00_1_forward_check.ipynb`` (the example in nbgrader's
  ``FileNameCollectorPlugin``).

nbgrader's ``zip_collect`` reads such names as well, but unpacks without bounds, takes notebooks alone unless told
otherwise, ends at the first time that it can't read, and needs a pattern that knows nbgrader's id of a student, which
neither Canvas nor Moodle put into a name. What is written here is what it would write.
"""

from __future__ import annotations

import datetime
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple
from zoneinfo import ZoneInfo

import dateutil.parser
from nbgrader.api import Gradebook, MissingEntry
from nbgrader.coursedir import CourseDirectory

from autograder.archives import Budget, Entry, add, content_of, entries, open_archive
from autograder.platforms import WORKSHEET, People, Person, Register, name_key, platform_of, student_rows
from autograder.submission import TIMESTAMP
from autograder.tables import Table, UnusableFile, shown

# A student chooses what the file is called, which stands last. So of what could name a person the first does.
_CANVAS = re.compile(
    r"(?P<name>[^/]*?)_(?:(?P<late>LATE)_)?(?P<person>\d+)_(?:\d+_(?P<file>[^/]+)|(?:text|link)\.html)", re.IGNORECASE
)
_MOODLE = re.compile(r"(?P<name>[^/]*?)_(?P<person>\d+)_assignsubmission_(?P<kind>[a-z]+)(?:_?/|_)(?P<file>.+)")
_BLACKBOARD = re.compile(r"(?P<name>[^/]+?)_(?P<person>attempt)_(?P<time>\d{4}(?:-\d\d){5})(?:_(?P<file>[^/]+)|\.txt)")
_MADE_ANEW = re.compile(r"(?P<stem>.+)-\d+(?P<ending>\.\w+)")


class Named(NamedTuple):
    """What the name of an entry says.

    Attributes
    ----------
    who : str
        The part of the name that stands for the person; the same for all files of one submission.
    file : str
        The student's name for the file; empty where the entry isn't one.
    students : frozenset of str
        The ids of the students who may be meant.
    late : bool
        Whether the platform says that it came late, without saying when it came.
    time : datetime, optional
        When it came, without a time zone.
    """

    who: str
    file: str
    students: frozenset[str]
    late: bool = False
    time: datetime.datetime | None = None


class Times(NamedTuple):
    """What Moodle's grading worksheet knows about a number: the student, and when the submission came."""

    students: frozenset[str]
    time: datetime.datetime | None


class Names:
    """Reads the names in an archive."""

    def __init__(self, register: Register, worksheet: Mapping[str, Times] | None = None) -> None:
        self._register = register
        self._worksheet = worksheet or {}

    def read(self, path: str) -> Named | None:
        """What an entry's name says; None if no platform names a submission so."""
        readers = {_MOODLE: self._moodle, _BLACKBOARD: self._blackboard, _CANVAS: self._canvas}
        # Everything may lie in a folder that is called after the assignment.
        for start in [0, *(found.end() for found in re.finditer("/", path))]:
            matches = [found for pattern in readers if (found := pattern.fullmatch(path[start:]))]
            if matches:
                first = min(matches, key=lambda found: found.start("person"))
                return readers[first.re](first)
        return None

    def _moodle(self, found: re.Match[str]) -> Named:
        who = f"{found['name']}_{found['person']}"
        file = found["file"] if found["kind"] == "file" else ""
        known = self._worksheet.get(found["person"])
        if known is not None:
            return Named(who, file, known.students, time=known.time)
        participant = self._register.find(Person("", (f"Participant {found['person']}",), "", "", "", ""))
        return Named(who, file, frozenset(participant or self._register.by_name(name_key(found["name"]))))

    def _blackboard(self, found: re.Match[str]) -> Named:
        name = found["name"].casefold()
        fitting = [student for student in self._register.ids if name.endswith(f"_{student}".casefold())]
        longest = max(map(len, fitting), default=0)
        students = frozenset(student for student in fitting if len(student) == longest)
        try:
            time = datetime.datetime.strptime(found["time"], "%Y-%m-%d-%H-%M-%S")
        except ValueError:  # no such day
            time = None
        return Named(f"{found['name']} {found['time']}", found["file"] or "", students, time=time)

    def _canvas(self, found: re.Match[str]) -> Named:
        students = self._register.by_number(found["person"]) or self._register.by_name(name_key(found["name"]))
        who = f"{found['name']}_{found['person']}"
        return Named(who, found["file"] or "", frozenset(students), late=bool(found["late"]))


def read_worksheet(table: Table, register: Register) -> tuple[dict[str, Times], list[str]]:
    """The numbers in Moodle's grading worksheet, and a sentence for each time that can't be read.

    Raises
    ------
    UnusableFile
        If the table is another one.
    """
    if platform_of(table) is not WORKSHEET:
        raise UnusableFile(f"{table.name} is not Moodle's grading worksheet; download it with the submissions.")
    people = People(table, WORKSHEET)
    submitted = table.column("Last modified (submission)")
    times, trouble = {}, []
    for _, row in student_rows(table, WORKSHEET):
        person = people.person(row)
        number = re.search(r"\d+$", person.number)
        if number is None:
            continue
        text = row.value(submitted) if submitted is not None else ""
        time = None
        if re.search(r"\d", text):
            try:
                time = dateutil.parser.parse(text)
            except (ValueError, OverflowError):
                trouble.append(
                    f"Line {row.line} of {table.name}: {shown(text)} is no time that can be read, so it isn't known"
                    " whether the submission is late; set Moodle to English and download the worksheet again."
                )
        times[number[0]] = Times(frozenset(register.find(person)), time)
    return times, trouble


class Handed(NamedTuple):
    """One student's files, unpacked into a folder of their own.

    Attributes
    ----------
    student : str
    folder : Path
        Outside the course's folder for submissions.
    state : str
        ``"new"``, ``"the same as before"`` or ``"other than before"``.
    files : int
    lateness : str
        What is known about it; empty where it was in time or nothing is known.
    trouble : list of str
        What was left out of it.
    """

    student: str
    folder: Path
    state: str
    files: int
    lateness: str
    trouble: list[str]

    def __str__(self) -> str:
        told = [f"{self.files} file{'s' * (self.files != 1)}", self.state, self.lateness, *self.trouble]
        return f"{shown(self.student)}: {'; '.join(filter(None, told))}"

    def discard(self) -> None:
        """Delete what was unpacked and not put in its place."""
        shutil.rmtree(self.folder, ignore_errors=True)


class Intake:
    """Takes the submissions of one assignment in.

    Attributes
    ----------
    trouble : list of str
        A sentence for each thing in the archive that belongs to no student.
    """

    def __init__(
        self, coursedir: CourseDirectory, gradebook: Gradebook, assignment: str, *, worksheet: Table | None = None,
        zone: datetime.tzinfo | None = None,
    ) -> None:  # fmt: skip
        """Prepare for an assignment.

        Parameters
        ----------
        coursedir : CourseDirectory
        gradebook : Gradebook
        assignment : str
        worksheet : Table, optional
            Moodle's grading worksheet, which knows who is meant, and the times.
        zone : tzinfo, optional
            In which the platform writes times; this machine's by default.

        Raises
        ------
        UnusableFile
            If the gradebook has no such assignment, or the worksheet is none.
        """
        self._coursedir, self._name, self._zone = coursedir, assignment, zone
        try:
            found = gradebook.find_assignment(assignment)
        except MissingEntry:
            raise UnusableFile(
                f"The gradebook has no assignment {shown(assignment)}; make it with: nbgrader generate_assignment"
            ) from None
        self._due = found.duedate
        self._notebooks = {f"{notebook.name}.ipynb" for notebook in found.notebooks}
        register = Register(gradebook)
        times, self.trouble = read_worksheet(worksheet, register) if worksheet else ({}, [])
        self._names = Names(register, times)

    def unpack(self, archive: str | Path, scratch: Path) -> Iterator[Handed]:
        """Unpack an archive into a scratch folder, a student at a time.

        Raises
        ------
        UnusableFile
            If it can't be read, or holds nothing that a platform names so.
        """
        with open_archive(str(archive), Path(archive).name) as opened:
            submissions = self._sorted(entries(opened), Path(archive).name)
            for student, held in submissions.items():
                yield self._one(student, held, opened, scratch)

    def _sorted(self, found: Iterable[Entry | str], name: str) -> dict[str, list[tuple[Entry, Named]]]:
        """Which entries are whose; of several attempts the last."""
        submissions: dict[str, list[tuple[Entry, Named]]] = {}
        unknown: dict[str, Named] = {}
        strange = 0
        for entry in found:
            if isinstance(entry, str):
                self.trouble.append(f"{name}: {entry}.")
                continue
            named = self._names.read(entry.path)
            if named is None:
                strange += 1
                if strange <= 20:
                    self.trouble.append(f"{shown(entry.path)} in {name} is named as no platform names a submission.")
            elif len(named.students) != 1:
                unknown[named.who] = named
            else:
                submissions.setdefault(next(iter(named.students)), []).append((entry, named))
        if strange > 20:
            self.trouble.append(f"So are {strange - 20} more.")
        for who, named in unknown.items():
            meant = "several students may be" if named.students else "no student of the gradebook is"
            self.trouble.append(
                f"{shown(who)} in {name} was left there: {meant} meant; take the roster in first, or for Moodle give"
                " the grading worksheet with --worksheet."
            )
        if not submissions and not unknown and not self.trouble:
            raise UnusableFile(f"{name} holds no submission.")
        return {student: self._last_attempt(student, held) for student, held in sorted(submissions.items())}

    def _last_attempt(self, student: str, held: list[tuple[Entry, Named]]) -> list[tuple[Entry, Named]]:
        attempts = {named.who: named.time for _, named in held}
        if len(attempts) == 1:
            return held
        timed = {who: time for who, time in attempts.items() if time is not None}
        if len(timed) < len(attempts):
            self.trouble.append(
                f"{shown(student)} is meant by {len(attempts)} names in the archive; all were put together."
            )
            return held
        last = max(timed, key=lambda who: timed[who])
        return [(entry, named) for entry, named in held if named.who == last]

    def _one(self, student: str, held: list[tuple[Entry, Named]], opened: zipfile.ZipFile, scratch: Path) -> Handed:
        budget, trouble = Budget(), []
        files: dict[str, bytes] = {}
        for entry, named in held:
            if not named.file:
                trouble.append(f"{shown(entry.path)} is the platform's own text and not a file of the submission")
                continue
            content = content_of(opened, entry, budget)
            if isinstance(content, str):
                trouble.append(content)
            else:
                trouble += add(files, named.file, content, budget)
        files = self._original_names(files)
        if files.pop(TIMESTAMP, None) is not None:
            trouble.append(f"a file {TIMESTAMP} of the student's own was left out: the platform's time counts")
        time = next((named.time for _, named in held if named.time is not None), None)
        stamp, lateness = self._lateness(time, any(named.late for _, named in held))
        if stamp:
            files[TIMESTAMP] = stamp
        folder = Path(tempfile.mkdtemp(dir=scratch))
        for path, content in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        return Handed(student, folder, self._state(student, files), len(files), lateness, trouble)

    def _original_names(self, files: dict[str, bytes]) -> dict[str, bytes]:
        """Take Canvas's ``-1`` off the name of a notebook, where that is free."""
        renamed = {}
        for path, content in files.items():
            found = _MADE_ANEW.fullmatch(path)
            plain = f"{found['stem']}{found['ending']}" if found else path
            wanted = plain in self._notebooks or (found is not None and found["ending"] in (".npz", ".pt"))
            renamed[plain if wanted and plain not in files and plain not in renamed else path] = content
        return renamed

    def _lateness(self, time: datetime.datetime | None, marked: bool) -> tuple[bytes, str]:
        """The content of the file with the time, and a sentence."""
        if time is not None:
            aware = time if time.tzinfo else time.replace(tzinfo=self._zone) if self._zone else time.astimezone()
            moment = aware.astimezone(datetime.UTC).replace(tzinfo=None)
            late = self._due is not None and moment > self._due
            return f"{moment:%Y-%m-%d %H:%M:%S} UTC".encode(), f"late by {moment - self._due}" if late else ""
        if not marked:
            return b"", ""
        if self._due is None:
            return b"", "marked late by the platform, which nbgrader can't keep: the gradebook has no due date"
        # The platform keeps the time to itself; the earliest that is late is what is known.
        moment = self._due + datetime.timedelta(seconds=1)
        return f"{moment:%Y-%m-%d %H:%M:%S} UTC".encode(), "late by a time that the platform doesn't tell"

    def _state(self, student: str, files: Mapping[str, bytes]) -> str:
        place = self.place(student)
        if not place.is_dir():
            return "new"
        there = {path.relative_to(place).as_posix(): path for path in place.rglob("*") if path.is_file()}
        same = there.keys() == files.keys() and all(
            path.stat().st_size == len(files[name]) and path.read_bytes() == files[name] for name, path in there.items()
        )
        return "the same as before" if same else "other than before"

    def place(self, student: str) -> Path:
        """Where a student's submission lies."""
        return Path(self._coursedir.format_path(self._coursedir.submitted_directory, student, self._name))

    def put(self, handed: Handed) -> str:
        """Put an unpacked submission in its place; what lay there is moved aside. Returns a sentence or nothing."""
        place = self.place(handed.student)
        place.parent.mkdir(parents=True, exist_ok=True)
        aside = None
        if place.exists():
            submitted = Path(os.path.normpath(self.place(".").parent))
            aside = _free_folder(submitted.with_name(f"{submitted.name}-replaced") / handed.student / self._name)
            aside.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(place, aside)
        shutil.move(handed.folder, place)
        place.chmod(0o755 & ~_umask())
        return f"{shown(handed.student)}: what was there before is in {aside}." if aside else ""


def _free_folder(path: Path) -> Path:
    number, free = 1, path
    while free.exists():
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def _umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def zone_of(name: str) -> datetime.tzinfo | None:
    """A time zone by name; None for this machine's own, where there is no name.

    Raises
    ------
    UnusableFile
        If there is no such zone.
    """
    try:
        return ZoneInfo(name) if name else None
    except (KeyError, ValueError, OSError):
        raise UnusableFile(f"There is no time zone {shown(name)}; write it as in Europe/Berlin.") from None
