"""``python -m autograder``: see ``python -m autograder grade --help``."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import warnings
from dataclasses import replace

from rich.console import Console

from autograder import instructor
from autograder.zygote import Zygote

_PROTECTION = """\
Students' code runs in a cage: without network, other students' files, gradebook, course
source or other processes; with bounds on memory, time, processes, files and output. Tests
run outside it, so a student's code sees neither their source nor what they expect.

The cage is made by the Linux kernel: an error in the kernel is an error in the cage. It does
not keep a student's code from returning whatever it likes: a copied answer, or one that a
library has worked out, is graded like any other. A function may print what a test gives it,
so the inputs of hidden tests can become known. What a student's cells display is shown to
whoever reads their notebook, as text, tables and pictures, without scripts.
autograder/README.md says more.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m autograder", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    grade = commands.add_parser(
        "grade", help="grade a class in parallel", epilog=_PROTECTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Grade every submission of an assignment. A question is graded again where something has changed"
        " that its grade depends on: the submission, the instructor's notebook, the checks, the settings. All else is"
        " left as it is, so that the same command, started again after a kill, goes on where it was.",
    )  # fmt: skip
    grade.add_argument("assignment", help="name of the assignment, e.g. two_layer_net")
    grade.add_argument("--jobs", type=int, metavar="N", help="local processes (default: one for each processor)")
    grade.add_argument("--scheduler", metavar="ADDRESS", help="a Dask scheduler, e.g. tcp://host:8786")
    grade.add_argument("--student", default="*", metavar="PATTERN", help="only students with such names")
    grade.add_argument("--force", action="store_true", help="grade again what hasn't changed too")
    grade.add_argument("--accept-lower", action="store_true", help="write lower grades than before too")
    grade.add_argument(
        "--isolation", choices=["cage", "none"],
        help="none: run students' code WITH YOUR RIGHTS, where no cage can be built; recorded with each grade",
    )  # fmt: skip
    instructor.add_commands(commands)
    given = parser.parse_args(arguments)
    if given.command != "grade":
        return given.run(given)
    console = Console(soft_wrap=True)
    if given.jobs is not None and given.jobs < 1:
        parser.error("--jobs must be at least 1")

    # Late, since nbgrader takes seconds to import, in which the workers' process warms up.
    with contextlib.closing(Zygote()) if given.scheduler is None else contextlib.nullcontext() as warmed:
        return _grade(given, console, warmed)


def _grade(given: argparse.Namespace, console: Console, warmed: Zygote | None) -> int:
    from sqlalchemy.exc import SAWarning, SQLAlchemyError

    from autograder import run
    from autograder.cage import CageUnavailable
    from autograder.settings import CagedExecute
    from autograder.source import UnknownAssignment
    from autograder.workers import ClusterUnusable

    warnings.filterwarnings("ignore", category=SAWarning)  # nbgrader's own models cause them
    course = run.Course.here()
    settings = CagedExecute(parent=course.app).settings()
    if given.isolation:
        settings = replace(settings, isolation=given.isolation)
    try:
        summary = run.grade_class(
            course, given.assignment, jobs=given.jobs, scheduler=given.scheduler, settings=settings,
            students=given.student, force=given.force, accept_lower=given.accept_lower, console=console,
            warmed=warmed,
        )  # fmt: skip
    except CageUnavailable as error:
        console.print(f"Nothing was graded. {error}", style="red", markup=False)
        console.print("To grade without a cage all the same, with your own rights: --isolation none", markup=False)
        return 2
    except (UnknownAssignment, run.NoSubmissions, run.AlreadyRunning, run.Unwritable, ClusterUnusable) as error:
        console.print(str(error), style="red", markup=False)
        return 2
    except SQLAlchemyError as error:
        console.print(f"The gradebook {course.coursedir.db_url} can't be used: {error}", style="red", markup=False)
        return 2
    except KeyboardInterrupt:
        console.print("Stopped. Start the same command again to go on.")
        return 130
    troubled = sum(bool(trouble) for *_, trouble in summary.graded.values())
    parts = [f"{len(summary.graded)} graded in {summary.seconds:.1f} s"]
    parts += [f"{troubled} with trouble"] if troubled else []
    parts += [f"{len(summary.skipped)} graded before"] if summary.skipped else []
    parts += [f"{len(summary.failed)} without a grade"] if summary.failed else []
    parts += [f"{len(summary.refused)} as they were"] if summary.refused else []
    console.print(", ".join(parts) + ".")
    if summary.refused:
        console.print(summary.not_written(), style="red", markup=False)
        console.print("To write it all the same: make grade ACCEPT_LOWER=1, or --accept-lower", markup=False)
    return 1 if summary.failed or summary.refused else 0


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)  # all that was started has ended; Python would take its time to take itself apart
