"""Make the folder and the zip file with everything that a student needs: ``python -m autograder.handout``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from autograder.release import BeginWithPackage
from autograder.run import Course

REPOSITORY = Path(__file__).resolve().parent.parent
_TITLE = "A two-layer neural network, by hand"


def write_handout(course: Course, assignment: str, folder: Path) -> Path:
    """Write ``folder/ASSIGNMENT``: notebooks, wheel, README, nbgrader's settings and environment.yml.

    Parameters
    ----------
    course : Course
        Its release of the assignment must have been made.
    assignment : str
    folder : Path
        Emptied first. A zip file of the new folder is written beside it.

    Returns
    -------
    Path
        The new folder.

    Raises
    ------
    FileNotFoundError
        If there is no release.
    """
    directory = course.coursedir
    release = Path(directory.format_path(directory.release_directory, ".", assignment))
    shutil.rmtree(folder, ignore_errors=True)
    target = folder / assignment
    shutil.copytree(release, target, ignore=shutil.ignore_patterns(*directory.ignore))
    wheel = build_wheel(target)
    address = BeginWithPackage(parent=course.app).wheel
    exchange = Path(course.app.config.Exchange.root)
    texts = {
        "title": _TITLE,
        "assignment": assignment,
        "course_id": directory.course_id,
        "wheel": wheel.name,
        "colab": "The first cell installs what is missing and changes nothing that is there."
        if address
        else f"In a new first cell, `%pip install {wheel.name}` after `%cd /content/drive/MyDrive/{assignment}`.",
        "hand_in": f"Or hand in the folder as it is: `nbgrader submit {assignment}` in the folder above this one."
        if exchange.is_dir()
        else "Hand in that file as your instructor says.",
    }
    readme = (REPOSITORY / "autograder" / "handout.md").read_text(encoding="utf-8")
    (target / "README.md").write_text(readme.format(**texts), encoding="utf-8")
    (target / "nbgrader_config.py").write_text(_settings(directory.course_id, exchange), encoding="utf-8")
    environment = (REPOSITORY / "environment.yml").read_text(encoding="utf-8")
    (target / "environment.yml").write_text(environment.replace("- -e .", f"- ./{wheel.name}"), encoding="utf-8")
    shutil.make_archive(str(target), "zip", root_dir=folder, base_dir=assignment)
    return target


def build_wheel(folder: Path) -> Path:
    """Build the students' package into a folder; returns the wheel's path."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
               "--no-build-isolation", "--wheel-dir", str(folder), str(REPOSITORY)]  # fmt: skip
    with tempfile.TemporaryDirectory() as work:
        # Beside the source, setuptools would put what an earlier build has left there into the wheel, too.
        settings = Path(work, "settings.cfg")
        settings.write_text(f"[build]\nbuild_base = {work}\n", encoding="utf-8")
        subprocess.run(command, check=True, env=os.environ | {"DIST_EXTRA_CONFIG": str(settings)})
    (wheel,) = folder.glob("*.whl")
    return wheel


def _settings(course_id: str, exchange: Path) -> str:
    lines = [
        '"""nbgrader\'s settings for students: Validate and the assignment list."""',
        "",
        "c = get_config()  # noqa: F821 - defined where nbgrader runs this file",
        f"c.CourseDirectory.course_id = {course_id!r}",
    ]
    if exchange.is_dir():
        lines += [f"c.Exchange.root = {str(exchange)!r}", "c.Exchange.path_includes_course = False"]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the handout of the course in the working directory; the exit status is 1 without a release."""
    course = Course.here()
    assignment = "two_layer_net"
    folder = Path(course.coursedir.format_path(course.coursedir.release_directory, ".", ".")).parent / "handout"
    try:
        target = write_handout(course, assignment, folder)
    except FileNotFoundError as error:
        print(f"There is no release in {error.filename}; make it with: make release", file=sys.stderr)
        return 1
    print(f"Hand out {target}.zip, or the folder {target}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
