"""Grades a class: hands submissions to workers and their results to the single writer."""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import glob
import os
import re
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass, field
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
from autograder.grading import Settings, Submission, check_cage, grade, warm
from autograder.plugins import CagedExecute
from autograder.submission import collect, digest
from autograder.workers import WorkerLost, dask_workers, local_workers
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
    force : bool
        Whether to grade again what has been graded before.
    console : Console, optional
        For the progress bar and the lines.
    warmed : Zygote, optional
        A process that the caller started before, whose copies the local processes use.

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
    if scheduler is None:
        check_cage(settings)  # so that nothing is begun where there is no cage
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
        known = set() if force else writer.known()
        for student in [student for student in waiting if student in known]:
            files, _ = collect(waiting[student], course.coursedir.ignore)
            if writer.graded_digest(student) == digest(files):
                summary.skipped.append(student)
                del waiting[student]
        if waiting:
            if scheduler:
                workers = dask_workers(scheduler, functools.partial(check_cage, settings))
            else:
                jobs = min(jobs or len(os.sched_getaffinity(0)), len(waiting))
                usable = warmed is not None and warmed.warm == settings.warm
                warmed = stack.enter_context(contextlib.closing(Zygote(settings.warm))) if not usable else warmed
                workers = local_workers(jobs, functools.partial(warm, settings), warmed)
            executor, count = stack.enter_context(workers)
            _grade_all(executor, count, waiting, assignment, settings, writer, course, summary, console)
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


def _grade_all(
    executor: concurrent.futures.Executor, workers: int, waiting: dict[str, str], assignment: Assignment,
    settings: Settings, writer: Writer, course: Course, summary: Summary, console: Console,
) -> None:  # fmt: skip
    """Keep a few submissions in the workers' hands, and write what comes back."""
    line = Progress(
        TextColumn("grading"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[rate]}"),
        TextColumn("elapsed"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(), console=console,
    )  # fmt: skip
    ahead = 2 * workers + 2
    left = iter(waiting.items())
    in_hand: dict[concurrent.futures.Future, Submission] = {}
    start = time.monotonic()
    with line:
        bar = line.add_task("grading", total=len(waiting), rate="")

        def hand_out() -> None:
            # Only a few at a time: a class's files needn't all be in memory.
            for student, folder in left:
                files, trouble = collect(folder, course.coursedir.ignore)
                handed_in = Submission(student, files, tuple(trouble))
                in_hand[executor.submit(grade, handed_in, assignment, settings)] = handed_in
                if len(in_hand) >= ahead:
                    break

        hand_out()
        while in_hand:
            done, _ = concurrent.futures.wait(in_hand, return_when=concurrent.futures.FIRST_COMPLETED)
            for future in done:
                handed_in = in_hand.pop(future)
                _take_in(future, handed_in, writer, summary, line.console)
                finished = len(summary.graded) + len(summary.failed)
                rate = finished / (time.monotonic() - start)
                line.update(bar, advance=1, rate=f"{rate:.2f} a second")
            hand_out()


def _take_in(
    future: concurrent.futures.Future, handed_in: Submission, writer: Writer, summary: Summary, console: Console
) -> None:
    student = handed_in.student
    try:
        points, most, by_hand = writer.write(graded := future.result(), handed_in.files)
    except Exception as error:
        # Not the student's doing: the others are graded, and the next run tries this one again.
        summary.failed[student] = _why_not(error)
        console.print(Text(f"{student}: no grade, {summary.failed[student]}"))
        return
    sentences = graded.sentences()
    summary.graded[student] = (points, most, graded.seconds, sentences)
    trouble = f"  {'; '.join(sentences)}" if sentences else ""
    rest = f", {by_hand:g} of them to be graded by hand" if by_hand else ""
    console.print(Text(f"{student}: {points:g} of {most:g} points{rest}, {graded.seconds:.1f} s{trouble}"))


def _why_not(error: Exception) -> str:
    if isinstance(error, (WorkerLost, CageUnavailable)):
        return str(error)
    if type(error).__name__ == "KilledWorker":  # Dask's, which is imported only where it is used
        return "its worker was killed again and again"
    if isinstance(error, SQLAlchemyError):
        return f"the gradebook could not be written ({str(error).splitlines()[0]})"
    return f"the grader itself failed ({''.join(traceback.format_exception_only(error)).strip()})"
