"""A class made from the banks of answers: each answer is graded once, and a student's work is put together from these.

A student has at most one answer of the bank in a notebook, and all else right. Points, graded notebooks and the
gradebook come about as in grading, through the grader's own code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import nbformat
import numpy as np

from autograder import grading
from autograder.gradebook import Writer
from autograder.grading import Graded
from autograder.handler import Job
from autograder.run import Course
from autograder.session import Grader
from autograder.settings import Settings
from tests.attacks.sample import generate, open_course
from tests.conftest import SOURCE
from tests.fairness import Answer, submissions
from tests.fairness.runner import defines_only, place_of

ASSIGNMENT = "two_layer_net"
#: These need no trained network.
NOTEBOOKS = ("1_forward_check", "2_backprop_derivation", "3_gradient_check")
#: A function of each.
_FIRST = dict(zip(NOTEBOOKS, ("relu", "grad_z3", "relative_error"), strict=True))


class Given(NamedTuple):
    """What a student handed in.

    Attributes
    ----------
    student : str
    answers : dict
        Notebook -> answer of the bank; the other notebooks are right.
    """

    student: str
    answers: dict[str, Answer]


def new_course(root: Path, **settings: dict) -> Course:
    """A course of the first notebooks, released; without figures and experiments, which take most of the time."""
    source = root / "source" / ASSIGNMENT
    source.mkdir(parents=True)
    for name in NOTEBOOKS:
        notebook = nbformat.read(SOURCE / f"{name}.ipynb", as_version=4)
        notebook.cells = list(filter(_is_needed, notebook.cells))
        nbformat.write(notebook, source / f"{name}.ipynb")
    course = open_course(root, **settings)
    generate(course, ASSIGNMENT)
    return course


def _is_needed(cell: nbformat.NotebookNode) -> bool:
    marks = cell.metadata.nbgrader
    return marks.grade or marks.solution or (cell.cell_type == "code" and defines_only(cell.source))


def notebook_of(answer: Answer) -> str:
    """The notebook to which an answer belongs, without ``.ipynb``."""
    return place_of(next(iter(answer.codes)))[0].removesuffix(".ipynb")


def draw(answers: Sequence[Answer], students: int, seed: int, share: float = 0.5) -> list[Given]:
    """A class, in which a share of all notebooks holds an answer, the first ones more often (Zipf's law)."""
    rng = np.random.default_rng(seed)
    given = []
    for number in range(students):
        own = {}
        for name in NOTEBOOKS:
            known = [answer for answer in answers if notebook_of(answer) == name]
            if known and rng.random() < share:
                chances = 1 / np.arange(1, len(known) + 1)
                own[name] = known[rng.choice(len(known), p=chances / chances.sum())]
        given.append(Given(f"student{number:03}", own))
    return given


class Bank:
    """Answers as they were graded.

    Parameters
    ----------
    course : Course
    answers : iterable of Answer
    """

    def __init__(self, course: Course, answers: Iterable[Answer]) -> None:
        self.assignment = course.load(ASSIGNMENT)
        self.graded: dict[tuple[str, str], Graded] = {}
        # Harmless answers, so that the tests run on any machine.
        settings = Settings(isolation="none")
        with Grader("none", settings.limits) as grader:
            for answer in answers:
                (handed_in,) = submissions([answer])
                name = handed_in.notebook.removesuffix(".ipynb")
                self.graded[name, answer.title] = self._grade(name, handed_in.node, grader, settings)
            for name in NOTEBOOKS:
                (right,) = submissions([Answer("right", {_FIRST[name]: ""})])
                self.graded[name, ""] = self._grade(name, right.node, grader, settings)

    def _grade(self, name: str, node: nbformat.NotebookNode, grader: Grader, settings: Settings) -> Graded:
        node.cells = list(filter(_is_needed, node.cells))
        one = replace(self.assignment, notebooks={name: self.assignment.notebooks[name]})
        graded = Graded()
        files = {f"{name}.ipynb": nbformat.writes(node).encode()}
        grading.grade(graded, files, Job(one, settings, {}), {}, grader, lambda begun: None)
        return graded

    def write(self, course: Course, given: Iterable[Given]) -> None:
        """Put the students' work into the gradebook and the folder of graded submissions."""
        writer = Writer(course.coursedir, self.assignment, course.app)
        try:
            for student, answers in given:
                writer.write(student, self._put_together(writer, student, answers))
        finally:
            writer.close()

    def _put_together(self, writer: Writer, student: str, answers: Mapping[str, Answer]) -> Graded:
        whole = Graded(digest=student)
        notebooks = {}
        for name in NOTEBOOKS:
            part = self.graded[name, answers[name].title if name in answers else ""]
            whole.scores |= part.scores
            whole.unanswered |= part.unanswered
            whole.judged |= part.judged
            notebooks |= part.notebooks
        grading.store(str(writer.partial_folder(student)), {}, self.assignment, notebooks, 0o644)
        return whole
