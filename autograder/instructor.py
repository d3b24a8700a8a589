"""The commands around grading: class list, submissions, feedback, likeness, report.

Each shows what it would do with ``--dry-run``. Grades go out with ``nbgrader export``; see :mod:`autograder.export`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbgrader.coursedir import CourseDirectory


def add_commands(commands: argparse._SubParsersAction) -> None:
    """Add the commands to those of ``python -m autograder``; each sets ``run``, which returns the exit status."""
    roster = _command(commands, "roster", _roster, "take a class list into the gradebook: names, addresses, numbers")
    roster.add_argument("file", help="a CSV file of Canvas, Moodle or Blackboard, or your own")
    for name in ("id", "email", "first-name", "last-name"):
        roster.add_argument(f"--{name}", metavar="COLUMN", help="a column's name, where it is another than usual")
    _dry_run(roster)

    collect = _command(commands, "collect-zip", _collect, "take in the zip of submissions that a platform gives")
    collect.add_argument("assignment", help="name of the assignment, e.g. two_layer_net")
    collect.add_argument("file", help="the zip, as Canvas, Moodle or Blackboard gives it")
    collect.add_argument("--worksheet", metavar="CSV", help="Moodle's grading worksheet: who is meant, and the times")
    collect.add_argument(
        "--timezone", default="", metavar="NAME", help="of the platform's times (default: this machine's)"
    )
    collect.add_argument("--replace", action="store_true", help="replace what was collected before, and keep it aside")
    _dry_run(collect)

    feedback = _command(commands, "feedback-zip", _feedback, "put the feedback pages into a zip that Moodle takes")
    feedback.add_argument("assignment", help="name of the assignment, e.g. two_layer_net")
    feedback.add_argument("file", help="Moodle's grading worksheet")
    feedback.add_argument("--to", default="feedback.zip", metavar="ZIP", help="where to write it")
    _dry_run(feedback)

    likeness = _command(commands, "likeness", _likeness, "write a page on like work: evidence, and no verdict")
    likeness.add_argument("assignment", help="name of the assignment, e.g. two_layer_net")
    likeness.add_argument("--to", default="likeness.html", metavar="HTML", help="where to write it")

    report = _command(commands, "report", _report, "write a page and a table on what the class understood")
    report.add_argument("assignment", help="name of the assignment, e.g. two_layer_net")
    report.add_argument(
        "--to", default="report.html", metavar="HTML", help="where to write it; the table lies beside it"
    )
    report.add_argument(
        "--since", metavar="CSV", help="the table to compare with (default: the one that is replaced, if there is one)"
    )


def _command(
    commands: argparse._SubParsersAction, name: str, run: Callable[[argparse.Namespace], int], text: str
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text.capitalize() + ".")
    parser.set_defaults(run=lambda given: _guarded(run, given))
    return parser


def _dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="show each difference and write nothing")


def _guarded(run: Callable[[argparse.Namespace], int], given: argparse.Namespace) -> int:
    """Run a command; an error of a file is a sentence."""
    from sqlalchemy.exc import SAWarning, SQLAlchemyError

    from autograder.tables import UnusableFile

    warnings.filterwarnings("ignore", category=SAWarning)  # nbgrader's own models cause them
    try:
        return run(given)
    except UnusableFile as error:
        print(error, file=sys.stderr)
    except SQLAlchemyError as error:
        print(f"The gradebook can't be used: {str(error).splitlines()[0]}", file=sys.stderr)
    except OSError as error:
        print(f"{error.filename or 'A file'} can't be used: {error.strerror or error}.", file=sys.stderr)
    return 2


def _tell(trouble: list[str]) -> int:
    """Print sentences about what couldn't be used; returns the exit status."""
    for sentence in trouble:
        print(sentence, file=sys.stderr)
    return 1 if trouble else 0


def _course() -> CourseDirectory:
    """The course whose ``nbgrader_config.py`` lies in the working directory."""
    from nbgrader.apps.baseapp import NbGrader
    from nbgrader.coursedir import CourseDirectory

    app = NbGrader()
    app.load_config_file()
    return CourseDirectory(parent=app)


def _roster(given: argparse.Namespace) -> int:
    from nbgrader.api import Gradebook

    from autograder import roster
    from autograder.tables import Table, shown

    table = Table.read(given.file)
    coursedir = _course()
    named = {name: getattr(given, name) for name in ("id", "email", "first_name", "last_name") if getattr(given, name)}
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        found = roster.compare(table, gradebook, **named)
        for change in found.changes:
            print(change)
        if not given.dry_run:
            roster.write(found, gradebook)
    if found.absent:
        print(f"{given.file} doesn't name, and the gradebook keeps: {', '.join(map(shown, found.absent))}.")
    done = "would change. Nothing was written." if given.dry_run else "changed."
    print(f"The id is {shown(found.id_column)}. {found.unchanged} students as before, {len(found.changes)} {done}")
    return _tell(found.trouble)


def _collect(given: argparse.Namespace) -> int:
    from nbgrader.api import Gradebook

    from autograder.intake import Intake, zone_of
    from autograder.tables import Table, shown

    coursedir = _course()
    worksheet = Table.read(given.worksheet) if given.worksheet else None
    taken, kept = 0, []
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        intake = Intake(coursedir, gradebook, given.assignment, worksheet=worksheet, zone=zone_of(given.timezone))
        place = intake.place(".").parent
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".unpacking-", dir=place.parent) as scratch:
            for handed in intake.unpack(given.file, Path(scratch)):
                print(handed)
                if handed.state == "other than before" and not given.replace:
                    kept.append(handed.student)
                elif not given.dry_run and handed.state != "the same as before":
                    moved = intake.put(handed)
                    print(moved) if moved else None
                    taken += 1
                handed.discard()
    trouble = list(intake.trouble)
    if kept:
        names = ", ".join(map(shown, kept))
        trouble.append(
            f"What was collected before was kept for {names}; put the archive's in its place with --replace."
        )
    print("Nothing was written." if given.dry_run else f"{taken} submissions were put into {place}.")
    return _tell(trouble)


def _feedback(given: argparse.Namespace) -> int:
    from nbgrader.api import Gradebook

    from autograder import feedback_zip
    from autograder.tables import Table

    coursedir = _course()
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        found, trouble = feedback_zip.parcels(Table.read(given.file), gradebook, coursedir, given.assignment)
    for parcel in found:
        print(parcel)
    if given.dry_run:
        print("Nothing was written.")
    elif found:
        size = feedback_zip.write(found, Path(given.to))
        print(f"{given.to} holds the pages of {len(found)} students, {size / 1e6:.1f} MB.")
    return _tell(trouble)


def _likeness(given: argparse.Namespace) -> int:
    from nbgrader.api import Gradebook

    from autograder.likeness import report

    coursedir = _course()
    work = report.folders(coursedir, given.assignment)
    with Gradebook(coursedir.db_url, coursedir.course_id) as gradebook:
        released = report.released_texts(gradebook, given.assignment)
    findings = report.compare(work, released)
    report.write(report.page(findings, given.assignment, work), Path(given.to))
    print(f"{len(findings.pairs)} pairs among {findings.students} students, in {given.to}: evidence, and no verdict.")
    return _tell(findings.trouble)


def _report(given: argparse.Namespace) -> int:
    from autograder import report

    coursedir = _course()
    done = report.write(coursedir, given.assignment, Path(given.to), Path(given.since) if given.since else None)
    print(
        f"{done.students} students, {done.causes} recognised causes and {done.clusters} kinds of other failures:"
        f" {done.page} and {done.table}."
    )
    return _tell(done.trouble)
