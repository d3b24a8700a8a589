"""What an earlier run has found of a submission: the graded notebooks, and what their grades depended on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

#: The longest notebook that is read, in bytes.
_MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Earlier:
    """A notebook as it was graded.

    Attributes
    ----------
    text : bytes
    submission : str
        The number of the files; empty where they weren't all graded.
    numbers : dict
        ``grade_id`` -> the number of all that the grade depends on, as :func:`autograder.dependence.joined`.
    trouble : list of str
    """

    text: bytes
    submission: str
    numbers: dict[str, str]
    trouble: list[str]

    def changed(self, numbers: Mapping[str, str]) -> set[str]:
        """The questions whose grade may be another now, those included that are there no more."""
        return {name for name in {*self.numbers, *numbers} if self.numbers.get(name) != numbers.get(name)}


def read(folder: str, names: Iterable[str]) -> dict[str, Earlier]:
    """The notebooks of a graded submission, by name; without those that aren't there, or that others have written."""
    found = {}
    for name in names:
        try:
            with open(os.path.join(folder, f"{name}.ipynb"), "rb") as file:
                text = file.read(_MAX_BYTES)
            marks = json.loads(text)["metadata"]["autograder"]
            numbers = {str(question): str(number) for question, number in marks["questions"].items()}
            found[name] = Earlier(text, str(marks["submission"]), numbers, list(map(str, marks["trouble"])))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue
    return found


def names(folder: str) -> set[str]:
    """The names of all the notebooks of a graded submission."""
    try:
        return {os.path.splitext(name)[0] for name in os.listdir(folder) if name.endswith(".ipynb")}
    except OSError:
        return set()
