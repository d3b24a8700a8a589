"""Tables in files: a platform's own, of which single cells are exchanged, and ours, which a spreadsheet may open.

A learning platform takes its file back only as it gave it: encoding, byte order mark, quotation marks and line ends
belong to it. So its text is never written anew; :meth:`Table.replaced` exchanges the text of the cells that it is
given, and every other byte stays.
"""

from __future__ import annotations

import codecs
import csv
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

#: A course of a thousand students and two hundred columns has a tenth of it.
MAX_BYTES = 50_000_000
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
#: A carriage return or a tab before one of them, or its wide form, works as well (OWASP, "CSV Injection").
_FORMULA = re.compile(r"[\s\0]*[=+\-@＝＋－＠|%]|[\t\r\n]")
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+")
_NUMBER = re.compile(r"\s*-?\d+(?:[.,]\d+)?\s*")


class UnusableFile(Exception):
    """A file isn't what it should be; the text says in one sentence what is wrong and what to do."""


class Cell(NamedTuple):
    """A cell and where it stands.

    Attributes
    ----------
    value : str
        Without quotation marks.
    start, end : int
        Its place in the file's text, quotation marks included.
    """

    value: str
    start: int
    end: int


class Row(NamedTuple):
    """A row of a table.

    Attributes
    ----------
    line : int
        In which it begins, counted from 1.
    cells : tuple of Cell
    """

    line: int
    cells: tuple[Cell, ...]

    def value(self, column: int) -> str:
        """The text in a column, without the space around it; empty where the row is shorter."""
        return unquoted(self.cells[column].value) if column < len(self.cells) else ""


def unquoted(text: str) -> str:
    """A cell's text without the space around it, and without the ``="..."`` that Canvas puts around a formula.

    Canvas does so for a name that begins with ``=`` (``student_name`` in ``lib/gradebook_exporter.rb`` of
    https://github.com/instructure/canvas-lms).
    """
    text = text.strip()
    return text[2:-1] if len(text) > 3 and text.startswith('="') and text.endswith('"') else text


def shown(text: str) -> str:
    """A text out of a file, safe to show in a terminal and short."""
    kept = "".join("?" if unicodedata.category(sign).startswith("C") else sign for sign in text[:81])
    return repr(f"{kept[:77]}..." if len(kept) > 80 else kept)


class Table:
    """A file of comma, semicolon or tab separated values.

    Attributes
    ----------
    name : str
        Of the file.
    header : tuple of str
        The first row's texts.
    rows : list of Row
        The others; empty lines are left out.
    delimiter : str
    decimal_comma : bool
        Whether the file writes ``17,5`` for 17.5.
    """

    def __init__(self, name: str, content: bytes) -> None:
        """Read a file's content.

        Raises
        ------
        UnusableFile
            If it isn't such a table.
        """
        self.name = name
        if len(content) > MAX_BYTES:
            raise UnusableFile(f"{name} has more than {MAX_BYTES:,} bytes; give the table that the platform exported.")
        if content.startswith(b"PK\x03\x04") or content.startswith(b"\xd0\xcf\x11\xe0"):
            raise UnusableFile(f"{name} is a spreadsheet or an archive, not a CSV file; export it as CSV.")
        self._mark, self._encoding, self._text = _decoded(name, content)
        if "\0" in self._text:
            raise UnusableFile(f"{name} is not a text file; export the table as CSV.")
        self.delimiter = _delimiter(self._text)
        rows = _rows(name, self._text, self.delimiter)
        if not rows:
            raise UnusableFile(f"{name} is empty; export the table again.")
        self.header = tuple(unquoted(cell.value) for cell in rows[0].cells)
        self.rows = rows[1:]
        self.decimal_comma = any(_DECIMAL_COMMA.fullmatch(cell.value) for row in self.rows for cell in row.cells)

    @classmethod
    def read(cls, path: str | Path) -> Table:
        """Read a file.

        Raises
        ------
        UnusableFile
            If it can't be read or isn't such a table.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except OSError as error:
            raise UnusableFile(f"{path} can't be read: {error.strerror or error}.") from None
        return cls(path.name, content)

    def column(self, *names: str) -> int | None:
        """The first column with one of these names, compared without case; None if there is none."""
        wanted = [name.casefold() for name in names]
        found = [text.casefold() for text in self.header]
        return next((found.index(name) for name in wanted if name in found), None)

    def replaced(self, values: Mapping[tuple[int, int], str]) -> bytes:
        """The file's content with other texts in some cells.

        Parameters
        ----------
        values : mapping
            (index in ``rows``, column) -> the new text.
        """
        parts, done = [], 0
        for (row, column), text in sorted(values.items()):  # the order in which they stand in the file
            cell = self.rows[row].cells[column]
            parts += [self._text[done : cell.start], self._written(cell, text)]
            done = cell.end
        return self._mark + "".join([*parts, self._text[done:]]).encode(self._encoding)

    def number(self, value: float) -> str:
        """A number with at most two decimals, as this file writes numbers."""
        text = f"{round(value, 2):.2f}".rstrip("0").rstrip(".")
        text = "0" if text == "-0" else text
        return text.replace(".", ",") if self.decimal_comma else text

    def _written(self, cell: Cell, text: str) -> str:
        was_quoted = self._text[cell.start : cell.start + 1] == '"'
        if was_quoted or any(sign in text for sign in (self.delimiter, '"', "\r", "\n")):
            return '"' + text.replace('"', '""') + '"'
        return text


def numeric(text: str) -> float | None:
    """The number in a cell, written with a point or a comma; None if it holds none."""
    return float(text.strip().replace(",", ".")) if _NUMBER.fullmatch(text) else None


def _decoded(name: str, content: bytes) -> tuple[bytes, str, str]:
    """Byte order mark, encoding and text; encoding the text again gives the same bytes."""
    for mark, encoding in _MARKS:
        if content.startswith(mark):
            try:
                return mark, encoding, content[len(mark) :].decode(encoding)
            except UnicodeDecodeError:
                raise UnusableFile(f"{name} is damaged: it isn't the {encoding} text that it says it is.") from None
    # Windows-1252 leaves five bytes undefined; Latin-1 takes every byte.
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            return b"", encoding, content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise AssertionError("Latin-1 decodes every byte")


def _delimiter(text: str) -> str:
    """The sign that cuts the first line into most cells."""
    first = re.sub(r'"(?:[^"]|"")*+"', "", text.lstrip("\r\n")).splitlines()[:1]
    return max(",;\t", key="".join(first).count)


def _rows(name: str, text: str, delimiter: str) -> list[Row]:
    """The rows of a text, as RFC 4180 cuts it, with either quoted or bare cells."""
    content = rf'"(?P<quoted>(?:[^"]|"")*+)"|(?P<bare>(?!")[^{delimiter}\r\n]*+)'
    cell = re.compile(rf"(?:{content})(?P<sign>{delimiter}|\r\n|\n|\r|\Z)")
    rows: list[Row] = []
    cells: list[Cell] = []
    place, line, first_line = 0, 1, 1
    while place <= len(text):
        found = cell.match(text, place)
        if found is None:
            raise UnusableFile(
                f'Line {line} of {name} has a quotation mark (") in the wrong place; export the table again.'
            )
        quoted = found["quoted"]
        value = found["bare"] if quoted is None else quoted.replace('""', '"')
        cells.append(Cell(value, place, found.start("sign")))
        line += len(re.findall(r"\r\n|\n|\r", found[0]))
        place = found.end()
        if found["sign"] == delimiter:
            continue
        if len(cells) > 1 or cells[0].value.strip():
            rows.append(Row(first_line, tuple(cells)))
        cells, first_line = [], line
        if not found["sign"]:
            break
    return rows


def harmless(value: object) -> object:
    """A value for a table of ours, so that no spreadsheet takes a text for a formula.

    A text that could be one gets an apostrophe in front, as OWASP advises ("CSV Injection"); numbers stay numbers.
    """
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def write_table(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table of ours: comma separated, quoted where needed, harmless in a spreadsheet."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([harmless(text) for text in header])
    writer.writerows([harmless(value) for value in row] for row in rows)
