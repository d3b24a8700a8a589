"""Where submissions lie: each entry of the folder ``submitted`` is a submission, or there is a sentence about it.

Only the names and kinds of entries are looked at, of two levels of folders; what is in them is for handlers.
"""

from __future__ import annotations

import errno
import fnmatch
import itertools
import os
import re
import stat
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from nbgrader.coursedir import CourseDirectory

from autograder.submission import TIMESTAMP, shown

#: Entries of a student's folder that are looked at.
_MAX_ENTRIES = 1000


@dataclass(frozen=True)
class Place:
    """Where a submission lies.

    Attributes
    ----------
    folder : str
    only : tuple of str
        The entries of the folder that belong to it; empty for all.
    trouble : tuple of str
        Sentences about it.
    """

    folder: str
    only: tuple[str, ...] = ()
    trouble: tuple[str, ...] = ()


@dataclass
class Found:
    """What lies in the folder of submissions.

    Attributes
    ----------
    places : dict
        Student -> :class:`Place`.
    astray : dict
        Student, or what else an entry is called -> why nothing of it can be graded, and what to do.
    """

    places: dict[str, Place] = field(default_factory=dict)
    astray: dict[str, str] = field(default_factory=dict)


def find(
    coursedir: CourseDirectory, name: str, pattern: str, others: Iterable[str] = (), students: Iterable[str] = ()
) -> Found:
    """Look for the submissions of an assignment.

    A submission is the folder ``submitted/STUDENT/ASSIGNMENT``. One whose name differs from the assignment's in case,
    spaces and signs alone is taken for it. Where the course has one assignment, so is what lies in the student's
    folder without one, and a zip file beside the students' folders that is called as a student is. Entries that are
    hidden or that ``CourseDirectory.ignore`` names aren't looked at.

    Parameters
    ----------
    coursedir : CourseDirectory
        If its ``directory_structure`` isn't nbgrader's own, only folders of exactly the right name are found.
    name : str
        Of the assignment.
    pattern : str
        Of the students, as ``CourseDirectory.student_id``.
    others : iterable of str
        The course's other assignments.
    students : iterable of str
        The students that the gradebook knows.
    """
    if coursedir.directory_structure != CourseDirectory.directory_structure.default_value:
        return _exactly(coursedir, name, pattern)
    root = Path(coursedir.format_path(coursedir.submitted_directory, ".", "."))
    entries = _entries(root, coursedir.ignore)
    known, others, found = set(students), set(map(_plain, others)), Found()
    for entry, kind in sorted(entries.items()):
        student, ending = os.path.splitext(entry)
        of_known = stat.S_ISREG(kind) and ending.lower() == ".zip" and student in known and student not in entries
        student = student if of_known else entry
        if not _wanted(coursedir, student, pattern):
            continue
        if stat.S_ISDIR(kind):
            try:
                answer = _of_student(root / entry, name, others, coursedir.ignore)
            except OSError as error:
                answer = f"the student's folder can't be used ({error.strerror}); put the submission into {name} in it"
        elif stat.S_ISLNK(kind):
            answer = f"{shown(entry)} is a link, which is not followed; put the folder itself in its place"
        elif of_known and not others:
            answer = Place(str(root), (entry,), (f"it was handed in as {shown(entry)}, beside the students' folders",))
        else:
            where = f"{coursedir.submitted_directory}/STUDENT/{name}"
            answer = f"{shown(entry)} lies in no student's folder; put it into {where}"
        if isinstance(answer, Place):
            found.places[student] = answer
        elif answer:
            found.astray[student] = answer
    return found


def _of_student(folder: Path, name: str, others: set[str], ignore: Iterable[str]) -> Place | str:
    """What a student's folder holds of an assignment; else why not, empty if it holds only others."""
    entries = _entries(folder, ignore, _MAX_ENTRIES)
    if name in entries and not stat.S_ISDIR(entries[name]):
        return f"{shown(name)} in the student's folder is no folder, or a link; put a folder in its place"
    alike = [entry for entry, kind in entries.items() if stat.S_ISDIR(kind) and _plain(entry) == _plain(name)]
    rest = sorted(entry for entry in entries if _plain(entry) not in others)
    if name in alike or len(alike) == 1:
        chosen = name if name in alike else alike[0]
        trouble = [f"its folder is called {shown(chosen)}"] if chosen != name else []
        beside = [entry for entry in rest if entry not in (chosen, TIMESTAMP)]
        trouble += [f"{shown(entry)} lies beside the folder {shown(chosen)} and was not graded" for entry in beside]
        return Place(str(folder / chosen), (), tuple(trouble))
    if alike:
        names = " and ".join(map(shown, sorted(alike)))
        return f"{names} are both like {name}; give the one that counts this name, and take the other away"
    if not entries:
        return f"the student's folder is empty; put the submission into a folder {name} in it"
    if not rest:
        return ""
    if others:
        return f"there is {_several(rest)} in no assignment's folder; put what belongs to this one into a folder {name}"
    if not any(stat.S_ISDIR(entries[entry]) or stat.S_ISREG(entries[entry]) for entry in rest):
        return f"there is only {_several(rest)}, which is no file or folder; put the submission into a folder {name}"
    return Place(str(folder), tuple(rest), (f"it did not lie in a folder {name}",))


def _several(names: list[str]) -> str:
    return ", ".join(map(shown, names[:3])) + (" and more" if len(names) > 3 else "")


def _entries(folder: Path, ignore: Iterable[str], most: int | None = None) -> dict[str, int]:
    """Name -> mode of what lies in a folder; what is hidden or ignored is left out.

    Raises
    ------
    OSError
        If it can't be read, or there are more than ``most`` entries.
    """
    try:
        with os.scandir(folder) as found:
            names = [entry.name for entry in itertools.islice(found, None if most is None else most + 1)]
    except (FileNotFoundError, NotADirectoryError):
        return {}
    if most is not None and len(names) > most:
        raise OSError(errno.EFBIG, f"it has more than {most} entries")
    kept = [one for one in names if not one.startswith(".") and not any(fnmatch.fnmatch(one, sign) for sign in ignore)]
    return {one: os.lstat(folder / one).st_mode for one in kept}


def _plain(name: str) -> str:
    """A name without what people change in it: case, spaces and signs."""
    return re.sub(r"[\W_]+", "", name).casefold()


def _wanted(coursedir: CourseDirectory, student: str, pattern: str) -> bool:
    wanted = student == pattern or fnmatch.fnmatchcase(student, pattern)
    return wanted and student not in coursedir.student_id_exclude.split(",")


def _exactly(coursedir: CourseDirectory, name: str, pattern: str) -> Found:
    """The folders that ``CourseDirectory.directory_structure`` names, whatever it is."""
    step = coursedir.submitted_directory
    shape = re.compile(coursedir.format_path(step, "(?P<student>[^/]+)", name, escape=True))
    found = Found()
    for folder in sorted(Path("/").glob(coursedir.format_path(step, "*", name).lstrip("/"))):
        match = shape.fullmatch(str(folder))
        if match and _wanted(coursedir, match["student"], pattern):
            found.places[match["student"]] = Place(str(folder))
    return found
