"""What several test files use: the source notebooks, their release, and the graded demo class."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from course_utils.data import flatten_images, load_evaluation_set

REPOSITORY = Path(__file__).resolve().parent.parent
SOURCE = REPOSITORY / "notebooks" / "two_layer_net"


@pytest.fixture(scope="session")
def sources() -> dict[str, nbformat.NotebookNode]:
    """The instructor's notebooks by file name."""
    return {path.name: nbformat.read(path, as_version=4) for path in sorted(SOURCE.glob("*.ipynb"))}


@pytest.fixture(scope="session")
def run_nbgrader():
    """Run an nbgrader command in the repository; ``run(work_folder, "validate", ...)``."""

    def run(work: Path, *arguments: str, cwd: Path = REPOSITORY) -> subprocess.CompletedProcess:
        environment = os.environ | {"COURSE_ROOT": str(work)}
        command = [str(Path(sys.executable).with_name("nbgrader")), *arguments]
        return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)

    return run


@pytest.fixture(scope="session")
def release(tmp_path_factory, run_nbgrader) -> Path:
    """The folder of released notebooks, made by ``nbgrader generate_assignment``."""
    work = tmp_path_factory.mktemp("released")
    done = run_nbgrader(work, "generate_assignment", "two_layer_net")
    assert done.returncode == 0, done.stderr
    return work / "release" / "two_layer_net"


@pytest.fixture(scope="session")
def demo(tmp_path_factory):
    """The simulated class, graded: (results, work folder)."""
    from autograder.demo import run

    work = tmp_path_factory.mktemp("demo")
    before = os.environ.get("COURSE_ROOT")
    try:
        return run(work), work
    finally:
        os.environ.pop("COURSE_ROOT") if before is None else os.environ.update(COURSE_ROOT=before)


@pytest.fixture(scope="session")
def cage() -> None:
    """Skips a test where this machine can't build the cage."""
    from autograder.cage import CageUnavailable
    from autograder.zygote import trial

    try:
        trial()
    except CageUnavailable as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def images():
    """Some rows of the shipped images: X, y, X_val, y_val."""
    stored = load_evaluation_set()
    X = flatten_images(stored.val_images, stored.mean_image)
    return X[:600], stored.val_labels[:600], X[600:], stored.val_labels[600:]
