"""Wrong answers that two students share and few others have.

A wrong answer is a question and a key that is the same for the same mistake. By default the key is the message of the
failed test, which tells the values that came out on the data of the test; where causes are known by a name, give
:class:`Failure` objects with that name as the key.
"""

from __future__ import annotations

import hashlib
import itertools
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

#: A wrong answer of more than ``max(FEW, PART * students)`` students is evidence of nothing; and so many must be
#: shared. Measured by ``benchmarks/likeness.py``.
FEW = 2
PART = 0.02
SHARED = 2
_MAX_FAILURES = 200
_MAX_TEXT = 2000
_ADDRESS = re.compile(r"0x[0-9a-fA-F]+")


class Failure(NamedTuple):
    """A wrong answer.

    Attributes
    ----------
    question : str
    key : str
        The same for the same mistake.
    text : str
        To be shown.
    """

    question: str
    key: str
    text: str


class Alike(NamedTuple):
    """Two students who share wrong answers that few others have.

    Attributes
    ----------
    students : tuple of str
        Two ids, sorted.
    failures : list of tuple
        The shared wrong answers, and how many students gave each.
    weight : float
        The sum of log(students / students who gave it).
    """

    students: tuple[str, str]
    failures: list[tuple[Failure, int]]
    weight: float


def failures(notebook: Mapping[str, Any]) -> list[Failure]:
    """The failed tests of an autograded notebook, as JSON gives it; what wasn't written at all is left out."""
    found = []
    for cell in entries(notebook.get("cells")):
        marks = cell.get("metadata", {}).get("nbgrader", {}) if isinstance(cell.get("metadata"), dict) else {}
        if not (isinstance(marks, dict) and marks.get("grade") and not marks.get("solution")):
            continue
        for output in entries(cell.get("outputs")):
            if output.get("output_type") != "error" or output.get("ename") == "NotImplementedError":
                continue
            text = f"{output.get('ename')}: {output.get('evalue')}"[:_MAX_TEXT]
            plain = " ".join(_ADDRESS.sub("", text).split())
            key = hashlib.blake2b(plain.encode("utf-8", "replace"), digest_size=8).hexdigest()
            found.append(Failure(str(marks.get("grade_id")), key, text))
            break
    return found[:_MAX_FAILURES]


def entries(value: Any) -> list[dict]:
    """The entries of a list in a file of a student's, as far as it is one and they are mappings."""
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def compare(answers: Mapping[str, Iterable[Failure]]) -> list[Alike]:
    """Pairs of students who share at least :data:`SHARED` rare wrong answers, the rarest first.

    Parameters
    ----------
    answers : mapping
        Student -> wrong answers; a student who has none counts as well.
    """
    gave: dict[tuple[str, str], dict[str, Failure]] = {}
    for student, given in answers.items():
        for failure in given:
            gave.setdefault((failure.question, failure.key), {})[student] = failure
    limit = max(FEW, PART * len(answers))
    shared: dict[tuple[str, str], list[tuple[Failure, int]]] = {}
    for students in gave.values():
        if 2 <= len(students) <= limit:
            for first, second in itertools.combinations(sorted(students), 2):
                shared.setdefault((first, second), []).append((students[first], len(students)))
    pairs = [
        Alike(pair, found, sum(math.log(len(answers) / count) for _, count in found))
        for pair, found in shared.items()
        if len({failure.question for failure, _ in found}) >= SHARED
    ]
    return sorted(pairs, key=lambda alike: (-alike.weight, alike.students))
