"""Grades a class: hands submissions to workers and their results to the single writer.

Nothing here reads what a student handed in; that is for handlers.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import fnmatch
import glob
import os
import re
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import filelock
from nbgrader.apps.baseapp import NbGrader
from nbgrader.converters import Autograde
from nbgrader.coursedir import CourseDirectory
from nbgrader.plugins import LateSubmissionPlugin  # noqa: F401 - registers its configuration
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.text import Text
from sqlalchemy.exc import SQLAlchemyError

from autograder import source
from autograder.assignment import Assignment
from autograder.cage import CageUnavailable
from autograder.gradebook import Writer
from autograder.grading import Graded
from autograder.handler import HandlerLost, Job
from autograder.settings import CagedExecute, Settings
from autograder.workers import Submit, dask_workers, find_cage, local_workers
from autograder.zygote import Zygote


class AlreadyRunning(Exception):
    """Another run grades this course."""


class NoSubmissions(Exception):
    """There is nothing to grade; the text says where submissions are looked for."""


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

    def students(self, name: str, pattern: str = "*") -> dict[str, str]:
        """Student -> folder of the submission, for everyone who handed in an assignment."""
        step = self.coursedir.submitted_directory
        shape = re.compile(self.coursedir.format_path(step, "(?P<student>[^/]+)", name, escape=True))
        found = {}
        for folder in sorted(glob.glob(self.coursedir.format_path(step, pattern, name))):
            match = shape.fullmatch(folder)
            if match:
                found[match["student"]] = folder
        excluded = self.coursedir.student_id_exclude.split(",")
        return {student: folder for student, folder in found.items() if student not in excluded}


@dataclass
class Summary:
    """What a run did.

    Attributes
    ----------
    graded : dict
        Student -> (points, most points, seconds, trouble).
    skipped : list of str
        Students who had been graded before.
    failed : dict
        Student -> why there is no grade.
    seconds : float
    """

    graded: dict[str, tuple[float, float, float, list[str]]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0


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
        Whether to grade again what has been graded before.
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
    NoSubmissions, UnknownAssignment, CageUnavailable, ClusterUnusable
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
    waiting = course.students(name, students)
    if not waiting:
        place = course.coursedir.format_path(course.coursedir.submitted_directory, students, name)
        raise NoSubmissions(
            f"There is no submission at {place}. Collect submissions with nbgrader collect {name}, or put them there."
        )
    graded_folder = Path(course.coursedir.format_path(course.coursedir.autograded_directory, "", ""))
    graded_folder.mkdir(parents=True, exist_ok=True)
    summary = Summary()
    with contextlib.ExitStack() as stack:
        stack.enter_context(_only_one(graded_folder))
        writer = stack.enter_context(contextlib.closing(Writer(course.coursedir, assignment, course.app)))
        known = writer.known() if whole and not force else set()
        jobs_of = {
            student: Job(
                assignment, settings, cage, folder=folder, ignore=tuple(course.coursedir.ignore), whole=whole,
                graded=str(writer.folder(student)) if student in known else "",
                target=str(writer.partial_folder(student)), mode=0o664 if course.coursedir.groupshared else 0o444,
            )
            for student, folder in waiting.items()
        }  # fmt: skip
        if scheduler:
            workers = dask_workers(scheduler, settings)
        else:
            if warmed is None or (warmed.warm, warmed.withheld) != (settings.warm, settings.withheld):
                warmed = stack.enter_context(contextlib.closing(Zygote(settings.warm, withheld=settings.withheld)))
            workers = local_workers(min(jobs or len(os.sched_getaffinity(0)), len(waiting)), warmed)
        _grade_all(stack.enter_context(workers), jobs_of, writer, summary, console)
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


def _grade_all(submit: Submit, jobs: dict[str, Job], writer: Writer, summary: Summary, console: Console) -> None:
    """Have everything graded, and write what comes back."""
    line = Progress(
        TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
    )  # fmt: skip
    start = time.monotonic()
    with line:
        bar = line.add_task("grading", total=len(jobs), rate="")
        students = {submit(job): student for student, job in jobs.items()}
        for number, future in enumerate(concurrent.futures.as_completed(students), 1):
            _take_in(future, students[future], writer, summary, line.console)
            line.update(bar, advance=1, rate=f"{number / (time.monotonic() - start):.2f} a second")


def _take_in(
    future: concurrent.futures.Future[Graded], student: str, writer: Writer, summary: Summary, console: Console
) -> None:
    try:
        graded = future.result()
        if graded.skipped:
            summary.skipped.append(student)
            return
        points, most, by_hand = writer.write(student, graded)
    except Exception as error:
        # Not the student's doing: the others are graded, and the next run tries this one again.
        summary.failed[student] = _why_not(error)
        console.print(Text(f"{student}: no grade, {summary.failed[student]}"))
        return
    sentences = graded.sentences()
    summary.graded[student] = (points, most, graded.seconds, sentences)
    trouble = f"  {'; '.join(sentences)}" if sentences else ""
    rest = f", {by_hand:g} of them to be graded by hand" if by_hand else ""
    packed = f", fingerprint {graded.fingerprint}" if graded.fingerprint else ""
    console.print(Text(f"{student}: {points:g} of {most:g} points{rest}, {graded.seconds:.1f} s{packed}{trouble}"))


def _why_not(error: Exception) -> str:
    if isinstance(error, (HandlerLost, CageUnavailable)):
        return str(error)
    if type(error).__name__ == "KilledWorker":  # Dask's, which is imported only where it is used
        return "its worker was killed again and again"
    if isinstance(error, SQLAlchemyError):
        return f"the gradebook could not be written ({str(error).splitlines()[0]})"
    return f"the grader itself failed ({''.join(traceback.format_exception_only(error)).strip()})"
