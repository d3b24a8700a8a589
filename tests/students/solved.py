"""Write a perfect student's folder: ``python -m tests.students.solved HANDOUT FOLDER``."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import nbformat

from autograder.demo import solve
from autograder.release import TRAINED
from tests.conftest import SOURCE


def write_solved(release: Path, folder: Path, rename: str = "{}") -> Path:
    """The notebooks of a release with the solutions in them, and the networks that they train, in a new folder.

    Parameters
    ----------
    release, folder : Path
    rename : str
        What a notebook's file is called, with ``{}`` for its name.
    """
    folder.mkdir(parents=True)
    for path in sorted(release.glob("*.ipynb")):
        source = nbformat.read(SOURCE / path.name, as_version=4)
        nbformat.write(solve(nbformat.read(path, as_version=4), source), folder / rename.format(path.name))
    for name in TRAINED:
        shutil.copy(SOURCE / name, folder / name)
    return folder


if __name__ == "__main__":
    write_solved(Path(sys.argv[1]), Path(sys.argv[2]))
