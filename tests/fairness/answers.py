"""What the banks hold: answers to a notebook's questions, and what they should earn."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

from course_utils.questions import QUESTIONS

#: The first line of every function that a student writes and a check calls.
SIGNATURES = {name: line for question in QUESTIONS if question.check for name, line in question.asks.items()}


class Answer(NamedTuple):
    """A student's answer to some questions of one notebook, the rest of the notebook being right.

    Attributes
    ----------
    name : str
        What is particular about it, in words.
    codes : dict of str
        Function, a key of :data:`SIGNATURES` -> the text that stands in the solution cell in its place.
    loses : tuple of str
        ``grade_id`` of every question that must lose points; none for a right answer.
    says : str
        Part of the sentence that the student must read as the probable cause, if the cause
        can be recognised from the numbers.
    left : float
        The points that the question keeps, where it gives partial credit.
    """

    name: str
    codes: dict[str, str]
    loses: tuple[str, ...] = ()
    says: str = ""
    left: float = 0.0

    @property
    def title(self) -> str:
        """Functions and name, by which a table or a test names the answer."""
        return f"{', '.join(self.codes)}: {self.name}"


def function(name: str, body: str, *, before: str = "") -> str:
    """The text of function ``name`` with this body; ``before`` stands above it in the cell."""
    text = f"def {SIGNATURES[name]}:\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
    return f"{textwrap.dedent(before).strip()}\n\n\n{text}" if before else text
