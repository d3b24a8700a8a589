"""What the course knows of an assignment: the cells that students can't change.

Read once from the gradebook and the instructor's notebooks (:mod:`autograder.source`), and
sent to the workers, which so need neither.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SETUP_TAG = "setup"
#: On a setup cell: it runs in the grader's process alone, which lends what it binds to the student's.
LENT_TAG = "lent"


@dataclass(frozen=True)
class SourceCell:
    """A cell as the instructor wrote it, solutions removed, hidden tests included.

    Attributes
    ----------
    cell_id : str
        Its id in the notebook format.
    grade_id : str
        nbgrader's name, empty for a setup cell that nbgrader doesn't manage.
    cell_type : str
        ``"code"`` or ``"markdown"``.
    source, released : str
        The text, with and without hidden tests.
    grade, solution, locked, task, setup : bool
    points : float, optional
    checksum : str, optional
    lent : bool
        Of a setup cell: see :data:`LENT_TAG`.
    """

    cell_id: str
    grade_id: str
    cell_type: str
    source: str
    released: str
    grade: bool
    solution: bool
    locked: bool
    task: bool
    setup: bool
    points: float | None
    checksum: str | None
    lent: bool = False

    @property
    def is_test(self) -> bool:
        """Whether it decides about points by what it puts out."""
        return self.grade and not self.solution and self.cell_type == "code"

    @property
    def runs(self) -> str:
        """In which process: see :class:`autograder.session.Cell`."""
        if self.is_test:
            return "grader"
        if self.setup and self.cell_type == "code":
            return "lent" if self.lent else "both"
        return "cage"

    def nbgrader_metadata(self) -> dict:
        """The metadata of nbgrader's schema 3."""
        metadata = {
            "grade": self.grade, "grade_id": self.grade_id, "locked": self.locked, "schema_version": 3,
            "solution": self.solution, "task": self.task, "cell_type": self.cell_type,
        }  # fmt: skip
        if self.checksum:
            metadata["checksum"] = self.checksum
        if self.points is not None:
            metadata["points"] = self.points
        return metadata


@dataclass(frozen=True)
class SourceNotebook:
    """The cells of one notebook that nbgrader manages or that are tagged ``setup``, in order."""

    name: str
    cells: tuple[SourceCell, ...]
    kernelspec: dict = field(default_factory=dict)


@dataclass(frozen=True)
class Assignment:
    """An assignment.

    Attributes
    ----------
    name : str
    notebooks : dict
        Name without ``.ipynb`` -> :class:`SourceNotebook`.
    files : dict
        Relative path -> content of the instructor's files beside the notebooks, which take
        the place of a student's files of the same name.
    asked : tuple of str
        Relative paths of the files, besides the notebooks, that a student is asked to hand in.
    """

    name: str
    notebooks: dict[str, SourceNotebook]
    files: dict[str, bytes]
    asked: tuple[str, ...] = ()
