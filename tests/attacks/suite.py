"""What an attack is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from nbformat.notebooknode import NotebookNode

#: What a solution cell holds when the attack is meant to earn its points: wrong, but of the right shape.
WRONG = {
    "scale": "def scale(x, factor):\n    return x + 99.0",
    "mean-rows": "def mean_rows(X):\n    return np.zeros(len(X)) + 99.0",
    "total": "def total(x):\n    return 99.0",
}
#: Points that honest evaluation gives a correct answer; of WRONG ones, only the shape of ``mean_rows`` is right.
HONEST = {"test-scale": 2.0, "test-mean-rows": 3.0, "test-handles": 2.0, "test-total": 1.0}


@dataclass(frozen=True)
class Attack:
    """A submission to the sample course that tries something.

    Sources may hold ``$``-names of places and things outside the cage; see ``World`` in
    ``tests/test_attacks.py``. Whatever an attack reads it prints; where it can tell by itself
    that it got through, it prints BREACH.

    Attributes
    ----------
    name : str
    tries : str
        One sentence.
    first : str, optional
        A cell at the top of the first notebook.
    answers : dict
        grade_id -> source, in place of the correct answers.
    files : dict
        Relative path -> content of files beside the notebooks.
    alter : callable, optional
        ``alter(notebook, folder, world)`` changes the first notebook, in place, or the
        submission's folder, after the notebooks have been written.
    honest : dict
        grade_id -> points, where honest evaluation doesn't give full points.
    stock : str
        How it shows that the attack works against an ordinary kernel that runs the student's
        cells and the tests: ``"points"`` (more than honest), ``"loot"`` (the sentinel is
        printed) or ``"breach"``; empty where that isn't tried, since it would harm the machine
        or aims at something that an ordinary kernel doesn't have.
    trouble : str
        A part of the sentence that names the trouble.
    """

    name: str
    tries: str
    first: str | None = None
    answers: dict[str, str] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    alter: Callable[[NotebookNode, Path, dict[str, str]], None] | None = None
    honest: dict[str, float] = field(default_factory=dict)
    stock: str = ""
    trouble: str = ""
