"""Grades a class: hands submissions to workers and their results to the single writer.

Nothing here reads what a student handed in; that is for handlers. What is graded for the first time is written at once.
What is graded again waits until all of it is there, and a change that takes points from somebody is written only if
that is accepted. A new submission is its student's own change; one of notebooks, checks or settings is the class's.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fnmatch
import os
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import filelock
from nbgrader.api import Gradebook
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import LateSubmissionPlugin  # noqa: F401 - registers its configuration
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError

from autograder import dependence, places, source
from autograder.assignment import Assignment
from autograder.cage import CageUnavailable
from autograder.gradebook import Change, Standing, Writer
from autograder.grading import Graded
from autograder.handler import HandlerLost, Job
from autograder.outputs import clean_text
from autograder.places import Found
from autograder.settings import CagedExecute, Settings
from autograder.workers import Submit, dask_workers, find_cage, local_workers
from autograder.zygote import Zygote


class AlreadyRunning(Exception):
    """Another run grades this course."""


class NoSubmissions(Exception):
    """There is nothing to grade; the text says where submissions are looked for."""


class Unwritable(Exception):
    """A place can't be written to; the text says which, and what to do."""


@dataclass
class Course:
    """A course folder with nbgrader's configuration.

    Attributes
    ----------
    app : NbGrader
        Carries the configuration.
    coursedir : CourseDirectory
    """

    app: NbGrader
    coursedir: CourseDirectory

    @classmethod
    def here(cls) -> Course:
        """The course whose ``nbgrader_config.py`` lies in the working directory."""
        app = NbGrader()
        app.load_config_file()
        return cls(app, CourseDirectory(parent=app))

    def load(self, name: str) -> Assignment:
        """An assignment of the course."""
        left_out = Autograde(coursedir=self.coursedir, parent=self.app).exclude_overwriting.get(name, ())
        return source.load(self.coursedir, name, left_out)

    def submissions(self, name: str, pattern: str = "*") -> Found:
        """What lies in the folder of submissions for an assignment."""
        with Gradebook(self.coursedir.db_url, self.coursedir.course_id) as gradebook:
            others = [assignment.name for assignment in gradebook.assignments if assignment.name != name]
            students = [student.id for student in gradebook.students]
        return places.find(self.coursedir, name, pattern, others, students)


@dataclass
class Summary:
    """What a run did.

    Attributes
    ----------
    graded : dict
        Student -> (points, most points, seconds, trouble).
    lines : dict
        Student -> the same as a line of text.
    skipped : list of str
        Students who had been graded before.
    failed : dict
        Student, or what lies astray -> why there is no grade.
    changes : list of Change
        Where what is graded again gives other points than before.
    refused : list of str
        Students whose new grades weren't written, since they would lose points, or others by the same change.
    seconds : float
    """

    graded: dict[str, tuple[float, float, float, list[str]]] = field(default_factory=dict)
    lines: dict[str, str] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    seconds: float = 0.0

    def losers(self) -> list[str]:
        """The students who get fewer points for a question than before."""
        return sorted({change.student for change in self.changes if change.now < change.before})

    def not_written(self) -> str:
        """What was graded again and isn't written; empty if all of it is."""
        if not self.refused:
            return ""
        losers = self.losers()
        others = len(set(self.refused) - set(losers))
        kept = f", and so are those of {others} more, who are graded by what was changed" if others else ""
        return f"{', '.join(losers)} would lose points (see the changes): these grades are as they were{kept}."


def grade_class(
    course: Course,
    name: str,
    *,
    jobs: int | None = None,
    scheduler: str | None = None,
    settings: Settings | None = None,
    students: str = "*",
    notebooks: str = "*",
    force: bool = False,
    accept_lower: bool = False,
    console: Console | None = None,
    warmed: Zygote | None = None,
) -> Summary:
    """Grade everyone's submission of an assignment.

    Parameters
    ----------
    course : Course
    name : str
        Of the assignment.
    jobs : int, optional
        Local processes; as many as there are processors by default.
    scheduler : str, optional
        Address of a Dask scheduler, in place of local processes.
    settings : Settings, optional
        From the course's configuration by default.
    students : str
        A pattern of student names.
    notebooks : str
        A pattern of notebooks; what others have earned stays.
    force : bool
        Whether to grade again what hasn't changed since it was graded.
    accept_lower : bool
        Whether to write lower grades too.
    console : Console, optional
        For the progress bar and the lines.
    warmed : Zygote, optional
        A process that the caller started before, from which the local ones are forked; it is ended.

    Returns
    -------
    Summary

    Raises
    ------
    AlreadyRunning
        If another run is grading this course.
    NoSubmissions, UnknownAssignment, CageUnavailable, ClusterUnusable, Unwritable
    """
    start = time.monotonic()
    console = console or Console(quiet=True)
    settings = settings or CagedExecute(parent=course.app).settings()
    assignment = course.load(name)
    chosen = {name: one for name, one in assignment.notebooks.items() if fnmatch.fnmatch(name, notebooks)}
    if not chosen:
        raise NoSubmissions(f"The assignment {name} has no notebook {notebooks}.")
    whole, assignment = chosen.keys() == assignment.notebooks.keys(), replace(assignment, notebooks=chosen)
    cage = find_cage(settings) if scheduler is None else {}  # so that nothing is begun where there is no cage
    found = course.submissions(name, students)
    if not found.places and not found.astray:
        place = course.coursedir.format_path(course.coursedir.submitted_directory, students, name)
        raise NoSubmissions(
            f"There is no submission at {place}. Collect submissions with nbgrader collect {name}, or put them there."
        )
    graded_folder = Path(course.coursedir.format_path(course.coursedir.autograded_directory, "", ""))
    _check_writable(graded_folder, course.coursedir.db_url)
    summary = Summary()
    for astray, why in found.astray.items():
        _fail(astray, why, summary, console)
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_one(graded_folder))
        writer = stack.enter_context(contextlib.closing(Writer(course.coursedir, assignment, course.app)))
        known = writer.known()
        dependences = dependence.of_assignment(assignment, settings)
        jobs_of = {
            student: Job(
                assignment, settings, cage, folder=place.folder, only=place.only, trouble=place.trouble,
                ignore=tuple(course.coursedir.ignore), whole=whole, force=force, dependences=dependences,
                graded=str(writer.folder(student)) if student in known else "",
                target=str(writer.partial_folder(student)), mode=0o664 if course.coursedir.groupshared else 0o444,
            )
            for student, place in found.places.items()
        }  # fmt: skip
        if scheduler:
            workers = dask_workers(scheduler, settings)
        else:
            if warmed is None or (warmed.warm, warmed.withheld) != (settings.warm, settings.withheld):
                warmed = stack.enter_context(contextlib.closing(Zygote(settings.warm, withheld=settings.withheld)))
            workers = local_workers(min(jobs or len(os.sched_getaffinity(0)), max(len(jobs_of), 1)), warmed)
        held = _grade_all(stack.enter_context(workers), jobs_of, known, writer, summary, console)
        _write_held(held, accept_lower, writer, summary, console)
    summary.skipped.sort()
    summary.seconds = time.monotonic() - start
    return summary


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    lock = filelock.FileLock(folder / ".grading.lock")
    try:
        with lock.acquire(timeout=0):
            yield
    except filelock.Timeout:
        raise AlreadyRunning(f"Another run is grading this course ({lock.lock_file} is locked).") from None


def _check_writable(folder: Path, db_url: str) -> None:
    """Make the folder of graded submissions, and see whether it and the gradebook can be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(_cannot_write(error.filename, error.strerror)) from None
    url = make_url(db_url)
    file = url.database if url.get_backend_name() == "sqlite" else None
    database = [Path(file), Path(file).parent] if file else []
    for path in [folder, *database]:
        if not os.access(path, os.W_OK):
            raise Unwritable(_cannot_write(path, "no permission, or a file system for reading alone"))


def _cannot_write(path: object, reason: str | None) -> str:
    return f"{path} can't be written ({reason}). Give yourself the right to, or work in a copy of the course's folder."


def _grade_all(
    submit: Submit, jobs: dict[str, Job], known: set[str], writer: Writer, summary: Summary, console: Console
) -> dict[str, Graded]:
    """Have all graded; who has no grades yet gets them as they come back, and what is graded again is returned."""
    line = Progress(
        TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
    )  # fmt: skip
    start = time.monotonic()
    held = {}
    with line:
        bar = line.add_task("grading", total=len(jobs), rate="")
        students = {submit(job): student for student, job in jobs.items()}
        for number, future in enumerate(concurrent.futures.as_completed(students), 1):
            student = students[future]
            try:
                graded = future.result()
            except Exception as error:  # not the student's doing: the others are graded, and the next run tries again
                _fail(student, _why_not(error), summary, line.console)
            else:
                if graded.skipped:
                    summary.skipped.append(student)
                    writer.drop(student)  # what a run that was killed may have left
                elif student in known:
                    held[student] = graded
                else:
                    _write(student, graded, writer, summary, line.console)
            line.update(bar, advance=1, rate=f"{number / (time.monotonic() - start):.2f} a second")
    return held


def _write_held(
    held: dict[str, Graded], accept_lower: bool, writer: Writer, summary: Summary, console: Console
) -> None:
    """Show who gains and who loses by what was graded again; write it, but no change by which a loss isn't accepted."""
    for student in sorted(held):
        try:
            summary.changes += writer.changes(student, held[student])
        except Exception as error:
            _fail(student, _why_not(error), summary, console)
            writer.drop(student)
            del held[student]
    if summary.changes:
        console.print(_as_table(summary.changes))
    losers = set() if accept_lower else set(summary.losers())
    class_loses = not all(held[student].own for student in losers)
    for student, graded in sorted(held.items()):
        if student in losers or (class_loses and not graded.own):
            summary.refused.append(student)
            writer.drop(student)
        else:
            _write(student, graded, writer, summary, console)


def _as_table(changes: list[Change]) -> Table:
    table = Table("student", "notebook", "question", title="Graded again, with other points than before")
    for heading in ("before", "now", "change"):
        table.add_column(heading, justify="right")
    for one in sorted(changes, key=lambda one: (one.now > one.before, one.notebook, one.question, one.student)):
        texts = [Text(clean_text(text), overflow="fold") for text in (one.student, one.notebook, one.question)]
        table.add_row(*texts, f"{one.before:g}", f"{one.now:g}", f"{one.now - one.before:+g}")
    gain = len({change.student for change in changes if change.now > change.before})
    lose = len({change.student for change in changes if change.now < change.before})
    table.caption = f"{lose} lose, {gain} gain"
    return table


def _write(student: str, graded: Graded, writer: Writer, summary: Summary, console: Console) -> None:
    try:
        standing = writer.write(student, graded)
    except Exception as error:
        _fail(student, _why_not(error), summary, console)
        return
    summary.graded[student] = (standing.points, standing.most, graded.seconds, graded.sentences())
    summary.lines[student] = _line(standing, graded)
    console.print(Text(f"{student}: {summary.lines[student]}"))


def _line(standing: Standing, graded: Graded) -> str:
    """What is said about a graded submission, behind the student's name."""
    parts = [f"{standing.points:g} of {standing.most:g} points"]
    parts += [f"{standing.given:g} of them given by hand, to be looked at again"] if standing.given else []
    parts += [f"{standing.waiting:g} of them to be graded by hand"] if standing.waiting else []
    parts += [f"{_duration(standing.seconds_late)} late"] if standing.seconds_late else []
    parts += [f"from which {standing.penalty:g} are taken away for that"] if standing.penalty else []
    parts += [f"{graded.seconds:.1f} s"]
    parts += [f"fingerprint {graded.fingerprint}"] if graded.fingerprint else []
    sentences = graded.sentences()
    return ", ".join(parts) + (f"  {'; '.join(sentences)}" if sentences else "")


def _duration(seconds: float) -> str:
    """A time in its two largest units."""
    minutes = max(int(seconds // 60), 1)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    parts = [f"{count} {unit}" for count, unit in ((days, "d"), (hours, "h"), (minutes, "min")) if count]
    return " ".join(parts[:2])


def _fail(name: str, why: str, summary: Summary, console: Console) -> None:
    summary.failed[name] = why
    console.print(Text(f"{clean_text(name)}: no grade, {why}"))


def _why_not(error: Exception) -> str:
    if isinstance(error, (HandlerLost, CageUnavailable)):
        return str(error)
    if type(error).__name__ == "KilledWorker":  # Dask's, which is imported only where it is used
        return "its worker was killed again and again"
    if isinstance(error, SQLAlchemyError):
        return f"the gradebook could not be written ({str(error).splitlines()[0]})"
    if isinstance(error, OSError):
        return _cannot_write(error.filename, error.strerror)
    return f"the grader itself failed ({''.join(traceback.format_exception_only(error)).strip()})"
