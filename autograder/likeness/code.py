"""Similar code of long functions, after what was given and what many wrote alike has been taken away.

A function is read as a sequence of words: keywords, names, numbers and signs. Runs of :data:`RUN` words that lie
next to each other are its fingerprints, as in "Winnowing: Local Algorithms for Document Fingerprinting" (Schleimer,
Wilkerson and Aiken, 2003), but all of them are kept, since a class's notebooks are short. They are taken twice:

- *as written*, with names and comments: evidence is one long function of which few others have what two students share;
- *as built*, with every variable called alike, so that renaming hides nothing: there are only so many ways to build a
  function, so evidence is the whole work, in which the rare counts for more than the common.

What stands in the released notebooks, or was written by most, is evidence of nothing and is dropped. Unlike copydetect,
which compares every two files by themselves and knows no class, this needs a product of sparse matrices for everybody.

The source is only cut into words by a pattern; it is never parsed or run, so that what can't be Python does no harm.
"""

from __future__ import annotations

import hashlib
import keyword
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from scipy import sparse

#: Words in a fingerprint.
RUN = 12
#: A function with fewer fingerprints is too short to tell anything.
LONG = 60
#: Bounds on what is read of a student, in characters and in functions.
MAX_CHARACTERS = 300_000
_MAX_FUNCTIONS = 300
_MAX_FINGERPRINTS = 4000

_WORD = re.compile(
    r"(?P<comment>\#[^\n]*)"
    r"|(?P<string>[rbfuRBFU]{0,2}(?:'''(?:[^'\\]|\\.|'(?!''))*+'''|\"\"\"(?:[^\"\\]|\\.|\"(?!\"\"))*+\"\"\""
    r"|'(?:[^'\\\n]|\\.)*+'|\"(?:[^\"\\\n]|\\.)*+\"))"
    r"|(?P<name>[^\W\d]\w*)|(?P<number>\d[\w.]*)|(?P<sign>\*\*|//|==|!=|<=|>=|->|:=|[-+*/@%&|^]=|[^\s\w])",
    re.DOTALL,
)
_FUNCTION = re.compile(
    r"^(?:async[ \t]+)?def[ \t]+(\w+)[^\n]*\n?(?:(?:[ \t]+[^\n]*|[ \t]*|\)[^\n]*)(?:\n|\Z))*", re.MULTILINE
)


WRITTEN, BUILT = "as written", "as built"
#: As written: a fingerprint of more than ``max(FEW, PART * students)`` students is dropped; of those that are left so
#: many must be shared, and such a part of the smaller function's.
FEW, PART, SHARED, SHARE = 5, 0.05, 100, 0.9
#: As built: a fingerprint of more than this part of the students is dropped; such a share of what is left is needed,
#: each fingerprint weighted by log(students / students who have it). Measured by ``benchmarks/likeness.py``.
MOST, WHOLE = 0.5, 0.85
#: How many functions are named where the whole work is alike.
_NAMED = 3


class Alike(NamedTuple):
    """Two students whose code is similar where others' isn't.

    Attributes
    ----------
    students : tuple of str
        Two ids, sorted.
    functions : tuple of str
        The function, or those of the whole work that share most.
    level : str
        :data:`WRITTEN` or :data:`BUILT`.
    share : float
        The part of what isn't common that is shared, of the one who has less of it, 0 to 1.
    """

    students: tuple[str, str]
    functions: tuple[str, ...]
    level: str
    share: float


def functions(source: str) -> dict[str, str]:
    """The functions that stand at the margin of a text: name -> text; of two with one name the last."""
    found = {}
    for match in _FUNCTION.finditer(source[:MAX_CHARACTERS]):
        found[match[1]] = match[0].rstrip()
        if len(found) >= _MAX_FUNCTIONS:
            break
    return found


def words(text: str, level: str) -> list[str]:
    """The words of a function, docstrings left out; with every variable called alike where it is read as built."""
    read = []
    before = ""
    for match in _WORD.finditer(text):
        kind, word = match.lastgroup, match[0]
        if kind == "string" and before == ":":
            continue  # a docstring, which is given
        if kind == "comment":
            if level == WRITTEN:
                read.append(" ".join(word.casefold().split()))
            continue
        if level == BUILT and kind == "name" and not keyword.iskeyword(word) and before != ".":
            word = "v"
        elif kind == "string":
            word = word.replace('"', "'")
        read.append(word)
        before = word
    return read


def fingerprints(name: str, text: str, level: str) -> np.ndarray:
    """The fingerprints of a function, sorted, uint64; equal ones once."""
    read = words(text, level)[: _MAX_FINGERPRINTS + RUN]
    runs = {"\0".join((name, level, *read[place : place + RUN])) for place in range(len(read) - RUN + 1)}
    digests = [hashlib.blake2b(run.encode("utf-8", "replace"), digest_size=8).digest() for run in runs]
    return np.sort(np.frombuffer(b"".join(digests), np.uint64))


class Fingerprints:
    """What is kept of a class: numbers, and no text."""

    def __init__(self) -> None:
        self._of: dict[str, dict[tuple[str, str], np.ndarray]] = {}
        self._given: list[np.ndarray] = [np.empty(0, np.uint64)]

    def give(self, source: str) -> None:
        """Tell what stands in a released notebook."""
        for name, text in functions(source).items():
            self._given += [fingerprints(name, text, level) for level in (WRITTEN, BUILT)]

    def add(self, student: str, source: str) -> None:
        """Tell what a student wrote."""
        kept = self._of.setdefault(student, {})
        for name, text in functions(source).items():
            for level in (WRITTEN, BUILT):
                found = fingerprints(name, text, level)
                if len(found) >= LONG:
                    kept[name, level] = found

    def compare(self) -> list[Alike]:
        """Pairs of students with similar code, the most similar first."""
        given = np.unique(np.concatenate(self._given))
        names = sorted({name for kept in self._of.values() for name, level in kept if level == WRITTEN})
        found = [alike for name in names for alike in self._as_written(name, given)] + self._as_built(given)
        return sorted(found, key=lambda alike: (-alike.share, alike.students, alike.functions))

    def _as_written(self, name: str, given: np.ndarray) -> list[Alike]:
        sets = {student: kept[name, WRITTEN] for student, kept in self._of.items() if (name, WRITTEN) in kept}
        limit = max(FEW, PART * len(self._of))
        shared, own, students = _shared(sets, given, lambda count: (count <= limit).astype(np.float32))
        return [
            Alike(_pair(students[i], students[j]), (name,), WRITTEN, float(count / min(own[i], own[j])))
            for i, j, count in shared
            if count >= max(SHARED, SHARE * min(own[i], own[j]))
        ]

    def _as_built(self, given: np.ndarray) -> list[Alike]:
        sets = {}
        for student, kept in self._of.items():
            parts = [prints for (_, level), prints in kept.items() if level == BUILT]
            if parts:
                sets[student] = np.unique(np.concatenate(parts))
        most = MOST * len(self._of)

        def weight(count: np.ndarray) -> np.ndarray:
            return np.where(count <= most, np.log(len(self._of) / count), 0).astype(np.float32)

        shared, own, students = _shared(sets, given, weight)
        found = []
        for i, j, weighed in shared:
            share = weighed / min(own[i], own[j]) if min(own[i], own[j]) > 0 else 0.0
            if share >= WHOLE:
                pair = _pair(students[i], students[j])
                found.append(Alike(pair, self._most_alike(*pair), BUILT, float(share)))
        return found

    def _most_alike(self, first: str, second: str) -> tuple[str, ...]:
        counts = {
            name: len(np.intersect1d(prints, self._of[second][name, level], assume_unique=True))
            for (name, level), prints in self._of[first].items()
            if level == BUILT and (name, level) in self._of[second]
        }
        return tuple(sorted(counts, key=lambda name: (-counts[name], name))[:_NAMED])


def _pair(first: str, second: str) -> tuple[str, str]:
    return (first, second) if first < second else (second, first)


def _shared(
    sets: Mapping[str, np.ndarray], given: np.ndarray, weigh: Callable[[np.ndarray], np.ndarray]
) -> tuple[Iterator[tuple[int, int, float]], np.ndarray, list[str]]:
    """What every two of some sets share.

    Parameters
    ----------
    sets : mapping
        Student -> fingerprints.
    given : ndarray
        Fingerprints that count for nothing.
    weigh : callable
        How many students have a fingerprint -> what it counts for.

    Returns
    -------
    shared : iterator
        (first, second, weight), for pairs that share anything.
    own : ndarray
        The weight of each set.
    students : list of str
        In the order of the numbers.
    """
    students = sorted(sets)
    if len(students) < 2:
        return iter(()), np.empty(0), students
    every, columns = np.unique(np.concatenate([sets[student] for student in students]), return_inverse=True)
    rows = np.repeat(np.arange(len(students)), [len(sets[student]) for student in students])
    weights = weigh(np.bincount(columns)) * ~np.isin(every, given)
    kept = weights[columns] > 0
    columns, rows = columns[kept], rows[kept]
    shape = (len(students), len(every))
    has = sparse.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=shape)
    own = has @ weights
    weighed = sparse.csr_matrix((weights[columns], (rows, columns)), shape=shape)

    def pairs() -> Iterator[tuple[int, int, float]]:
        for start in range(0, len(students), 128):  # blockwise, to bound memory
            block = (weighed[start : start + 128] @ has.T).tocoo()
            for first, second, weight in zip(block.row, block.col, block.data, strict=True):
                if start + first < second:
                    yield start + int(first), int(second), float(weight)

    return pairs(), own, students


def lines_alike(first: str, second: str, level: str) -> tuple[set[int], set[int]]:
    """Which lines of two functions hold words of shared fingerprints, counted from 0.

    For the page: there the texts are read again, since only numbers were kept.
    """
    places = [_places(text, level) for text in (first, second)]
    runs = [
        {"\0".join(read[0] for read in own[place : place + RUN]) for place in range(len(own) - RUN + 1)}
        for own in places
    ]
    both = runs[0] & runs[1]
    found = []
    for own in places:
        lines: set[int] = set()
        for place in range(len(own) - RUN + 1):
            if "\0".join(read[0] for read in own[place : place + RUN]) in both:
                lines |= {line for _, line in own[place : place + RUN]}
        found.append(lines)
    return found[0], found[1]


def _places(text: str, level: str) -> list[tuple[str, int]]:
    """Words with their lines."""
    read: list[tuple[str, int]] = []
    for number, line in enumerate(text.splitlines()):
        read += [(word, number) for word in words(line, level)]
    return read
