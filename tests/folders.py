"""Grade random submissions (``python -m tests.folders``): everybody gets a line, and neighbours all their points."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from rich.console import Console

from autograder.run import Course, Summary, grade_class
from tests.attacks import sample

#: Longer than Python's stack is deep.
_DEEP = 1200


class Entry(NamedTuple):
    """Something in a submission's folder.

    Attributes
    ----------
    kind : str
        ``file``, ``folder``, ``link``, ``pipe``, ``sparse`` (a huge file), ``deep`` (nested folders), ``many`` (files).
    content : object
        Bytes, entries by name, the link's target, or a number.
    """

    kind: str
    content: Any


def _as_name(text: str) -> str:
    """A name that a file system takes."""
    name = text.replace("/", "-").replace("\0", "-").encode("utf-8", "surrogateescape")[:200]
    return os.fsdecode(name) if name not in (b"", b".", b"..") else "dots"


_known = st.sampled_from([
    "first.ipynb", "second.ipynb", "first (1).ipynb", "timestamp.txt", "data", "FIRST.ipynb", "first", ".ipynb",
    "x.zip", "manifest.json", ".ipynb_checkpoints", "a\nb", "<b>.txt", "\udcff\udcfe", "x" * 200,
    "files", "scratch", ".sample.partial",
])  # fmt: skip
_names = st.one_of(_known, st.text(max_size=60).map(lambda text: _as_name(text.encode("utf-8", "replace").decode())))
_json = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=20),
        st.sampled_from(["code", "markdown", "scale", "test-scale", "nbgrader", "\ud800", 4, 3, 5, "4", "setup"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.sampled_from(["cells", "metadata", "source", "nbgrader", "grade_id", "tags", "x"]), inner),
    ),
    max_leaves=12,
)  # fmt: skip
_cells = st.dictionaries(
    st.sampled_from(["cell_type", "source", "metadata", "outputs", "id", "attachments", "execution_count", "input"]),
    st.one_of(_json, st.sampled_from(["code", "raw", "1 + 1", "raise SystemExit", "\ud800", ["a\n", 3]])),
)
_notebooks = st.fixed_dictionaries(
    {"nbformat": st.one_of(st.sampled_from([4, 3, 2, 1, 5, 0, -1, "4", 4.5, None, 10**30]), _json)},
    optional={
        "nbformat_minor": _json, "metadata": _json, "cells": st.one_of(_json, st.lists(_cells, max_size=5)),
        "worksheets": st.one_of(_json, st.lists(st.fixed_dictionaries({"cells": st.lists(_cells, max_size=4)}))),
    },
)  # fmt: skip


@st.composite
def _altered(draw: st.DrawFn, released: str) -> bytes:
    """The text of a real notebook, some places of which hold something else."""
    notebook = json.loads(released)
    for _ in range(draw(st.integers(0, 4))):
        place: Any = notebook
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = draw(st.sampled_from(keys))
            if isinstance(place[key], (dict, list)) and draw(st.integers(0, 4)):
                place = place[key]
                continue
            if draw(st.booleans()):
                del place[key]
            else:
                place[key] = draw(_json)
            break
    return json.dumps(notebook).encode("utf-8", "surrogatepass")


def submissions(released: dict[str, str]) -> st.SearchStrategy[dict[str, Entry]]:
    """Folders: name -> entry.

    Parameters
    ----------
    released : dict
        File name -> text of a notebook with answers.
    """
    real = st.one_of(*(_altered(text) for text in released.values()))
    contents = st.one_of(
        real, _notebooks.map(lambda one: json.dumps(one).encode("utf-8", "surrogatepass")), st.binary(max_size=200),
        _json.map(lambda one: json.dumps(one).encode()),
        st.sampled_from([b"", b"[" * 5000, b'{"cells": [', b"\xff\xfe{}"]),
        st.sampled_from([b"2026-01-01 12:00:00 UTC", b"9999-99-99", b"0", b"1" * 99, b"now" * 1000, b"1-1-1 1:1 \0"]),
        real.map(lambda content: b"\xef\xbb\xbf" + content),
        real.map(lambda content: content.decode().encode("utf-16")),
    )  # fmt: skip
    leaves = st.one_of(
        contents.map(lambda content: Entry("file", content)), contents.map(lambda content: Entry("file", content)),
        st.sampled_from(["/dev/zero", "/etc/passwd", ".", "..", "missing"]).map(lambda to: Entry("link", to)),
        st.just(Entry("pipe", None)), st.integers(1, 10**12).map(lambda size: Entry("sparse", size)),
        st.integers(1, _DEEP).map(lambda depth: Entry("deep", depth)),
        st.integers(1, 3000).map(lambda count: Entry("many", count)),
    )  # fmt: skip
    entries = st.recursive(
        leaves,
        lambda inner: st.dictionaries(_names, inner, max_size=4).map(lambda made: Entry("folder", made)),
        max_leaves=8,
    )
    proper = st.fixed_dictionaries({}, optional={
        name: _altered(text).map(lambda content: Entry("file", content)) for name, text in released.items()
    })  # fmt: skip
    return st.builds(lambda base, more: {**base, **more}, proper, st.dictionaries(_names, entries, max_size=4))


def write(folder: Path, entries: dict[str, Entry]) -> None:
    """Make a folder with these entries."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, entry in entries.items():
        path = folder / name
        if entry.kind == "folder":
            write(path, entry.content)
        elif entry.kind == "file":
            path.write_bytes(entry.content)
        elif entry.kind == "link":
            path.symlink_to(entry.content)
        elif entry.kind == "pipe":
            os.mkfifo(path)
        elif entry.kind == "sparse":
            with path.open("wb") as file:
                file.truncate(entry.content)
        elif entry.kind == "many":
            path.mkdir()
            for number in range(entry.content):
                (path / str(number)).touch()
        else:
            nest(path, entry.content)


def nest(path: Path, depth: int) -> None:
    """Make ``depth`` folders within each other, deeper than a path can be long."""
    path.mkdir()
    descriptor = os.open(path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir("d", dir_fd=descriptor)
        inner = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = inner
    os.close(descriptor)


def drawn(count: int, released: dict[str, str]) -> list[dict[str, Entry]]:
    """``count`` random folders."""
    made: list[dict[str, Entry]] = []

    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate], derandomize=True,
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(submissions(released))
    def draw(folder: dict[str, Entry]) -> None:
        made.append(folder)

    draw()
    return made


class Graded(NamedTuple):
    """A class after it was graded: the course, the summary, and how many random submissions there were."""

    course: Course
    summary: Summary
    count: int


def grade_random(folder: Path, count: int, console: Console | None = None) -> Graded:
    """Grade ``count`` random submissions, with a neighbour after every ten."""
    course = sample.new_course(folder, CagedExecute={"warm": ["numpy"], "timeout": 10.0})
    released = {f"{name}.ipynb": json.dumps(sample.answered(course, name)) for name in sample.NOTEBOOKS}
    made = drawn(count, released)
    for number, entries in enumerate(made):
        write(folder / "submitted" / f"{number:04}" / sample.ASSIGNMENT, entries)
        if number % 10 == 0:
            sample.hand_in(course, f"{number:04}-neighbour")
    return Graded(course, grade_class(course, sample.ASSIGNMENT, jobs=2, console=console), len(made))


def wrong(graded: Graded) -> list[str]:
    """What isn't as it must be, a sentence each."""
    summary = graded.summary
    sentences = [f"{student} has no grade: {why}" for student, why in summary.failed.items()]
    students = {path.name for path in Path(graded.course.coursedir.root, "submitted").iterdir()}
    sentences += [f"{student} has no line" for student in students - {*summary.graded, *summary.failed}]
    for student, (points, most, _, trouble) in summary.graded.items():
        if most != sample.MOST or not 0 <= points <= sample.FULL:
            sentences.append(f"{student} has {points} of {most} points")
        if student.endswith("-neighbour") and (points != sample.FULL or trouble):
            sentences.append(f"{student} has {points} points and {trouble}")
    return sentences


def main() -> int:
    """Grade and print what is wrong; the exit status is 1 if anything is."""
    parser = argparse.ArgumentParser(prog="python -m tests.folders", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1000, metavar="N")
    count = parser.parse_args().count
    folder = Path(tempfile.mkdtemp(prefix="folders-"))
    try:
        graded = grade_random(folder / "course", count, Console(width=200))
        sentences = wrong(graded)
    finally:
        remove(folder)
    print("\n".join(sentences))
    trouble = sum(bool(line[3]) for line in graded.summary.graded.values())
    print(f"{graded.count} random submissions, {trouble} with trouble, {len(sentences)} things wrong")
    return int(bool(sentences))


def remove(folder: Path) -> None:
    """Remove a folder, however deep it is."""
    subprocess.run(["rm", "-rf", str(folder)], check=True)  # Python's own goes as deep as its stack


if __name__ == "__main__":
    sys.exit(main())
