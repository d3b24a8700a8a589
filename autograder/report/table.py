"""The answers as a table, which is also what the next report compares with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

from autograder.report.findings import shape_of
from autograder.report.reading import Answer
from autograder.tables import MAX_BYTES, UnusableFile, harmless, write_table

_HEADER = (
    "student", "notebook", "question", "points", "possible", "result", "causes", "quantity", "kind", "deviation",
)  # fmt: skip
_BETWEEN = "; "


def written(answers: Iterable[Answer]) -> str:
    """A row for each student and question; nothing in it is a formula for a spreadsheet."""
    text = io.StringIO()
    rows = []
    for one in answers:
        failure = one.failure
        told = (_BETWEEN.join(failure.causes), failure.quantity, failure.kind or failure.error,
                shape_of(failure.extent)) if failure else ("",) * 4  # fmt: skip
        points = "" if one.points is None else one.points
        rows.append((one.student, one.notebook, one.question, points, one.possible, one.result, *told))
    write_table(text, _HEADER, rows)
    return text.getvalue()


def causes_of(path: Path, answers: Iterable[Answer]) -> dict[tuple[str, str, str], tuple[str, ...]]:
    """What an earlier table says about the same students and questions.

    Parameters
    ----------
    path : Path
    answers : iterable of Answer
        Of today.

    Returns
    -------
    dict
        (student, notebook, question) -> causes.

    Raises
    ------
    UnusableFile
        If it isn't such a table.
    """
    places = {_place(one.student, one.notebook, one.question): (one.student, one.notebook, one.question)
              for one in answers}  # fmt: skip
    found = {}
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("too large")
        rows = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")), strict=True)
        if tuple(rows.fieldnames or ()) != _HEADER:
            raise ValueError("other columns")
        for row in rows:
            place = places.get((row["student"], row["notebook"], row["question"]))
            if place and row["causes"]:
                found[place] = tuple(row["causes"].split(_BETWEEN))
    except (ValueError, csv.Error, TypeError, AttributeError):
        raise UnusableFile(
            f"{path} isn't the table of an earlier report; move it away, or name another with --since."
        ) from None
    return found


def _place(*names: str) -> tuple[str, ...]:
    """Names as they stand in a table."""
    return tuple(str(harmless(name)) for name in names)
