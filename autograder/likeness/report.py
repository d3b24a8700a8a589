"""Reads a class's work, compares it, and writes the page."""

from __future__ import annotations

import html
import json
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from nbgrader.api import Gradebook, MissingEntry
from nbgrader.coursedir import CourseDirectory

from autograder.likeness import code, mistakes, networks
from autograder.tables import UnusableFile, shown

#: Bounds on what is read of one student, and on the page.
_MAX_NOTEBOOK = 20_000_000
_MAX_NOTEBOOKS = 20
MAX_PAIRS = 100
_MAX_FUNCTIONS = 5
_MAX_LINES = 300
_MAX_LINE = 300


class Findings(NamedTuple):
    """What was found in a class.

    Attributes
    ----------
    students : int
    pairs : dict
        Two ids -> evidence of all three kinds, the strongest first.
    common : list of list of str
        Students with one network who are too many for evidence.
    trouble : list of str
        What couldn't be read.
    """

    students: int
    pairs: dict[tuple[str, str], list[networks.Alike | mistakes.Alike | code.Alike]]
    common: list[list[str]]
    trouble: list[str]


def folders(coursedir: CourseDirectory, assignment: str) -> dict[str, Path]:
    """Student -> folder of the graded work, or of what was handed in where nothing is graded yet."""
    found: dict[str, Path] = {}
    for step in (coursedir.submitted_directory, coursedir.autograded_directory):
        root = Path(coursedir.format_path(step, ".", assignment)).parent
        for folder in sorted(root.glob(f"*/{assignment}")) if root.is_dir() else []:
            if folder.is_dir() and not folder.is_symlink():
                found[folder.parent.name] = folder
    return dict(sorted(found.items()))


def notebooks(folder: Path) -> Iterable[dict[str, Any]]:
    """The notebooks of a student, as JSON; what isn't one is passed over."""
    for path in sorted(folder.glob("*.ipynb"))[:_MAX_NOTEBOOKS]:
        try:
            if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_NOTEBOOK:
                continue
            read = json.loads(path.read_bytes())
        except (OSError, ValueError, RecursionError):
            continue
        if isinstance(read, dict):
            yield read


def _dict_in(holder: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The dict that ``holder`` has there; an empty one where it has something else."""
    held = holder.get(key)
    return held if isinstance(held, dict) else {}


def source_of(notebook: Mapping[str, Any]) -> str:
    """The code of a notebook, without its tests."""
    parts = []
    for cell in mistakes.entries(notebook.get("cells")):
        marks = _dict_in(_dict_in(cell, "metadata"), "nbgrader")
        if cell.get("cell_type") != "code" or (marks.get("locked") and not marks.get("solution")):
            continue
        text = cell.get("source", "")
        parts.append("".join(map(str, text)) if isinstance(text, list) else str(text))
    return "\n".join(parts)


def compare(
    work: Mapping[str, Path], released: Iterable[str], *,
    failures: Callable[[Mapping[str, Any]], list[mistakes.Failure]] = mistakes.failures,
) -> Findings:  # fmt: skip
    """Compare a class.

    Parameters
    ----------
    work : mapping
        Student -> folder.
    released : iterable of str
        The text of the released notebooks.
    failures : callable
        The wrong answers of an autograded notebook; give another to compare causes by name.
    """
    prints = code.Fingerprints()
    for text in released:
        prints.give(text)
    answers: dict[str, list[mistakes.Failure]] = {}
    files: dict[str, dict[str, Path]] = {}
    trouble = []
    for student, folder in work.items():
        answers[student] = []
        read = 0
        for notebook in notebooks(folder):
            prints.add(student, source_of(notebook))
            answers[student] += failures(notebook)
            read += 1
        if not read:
            trouble.append(f"{shown(student)} has no notebook that can be read.")
        for path in sorted([*folder.glob("*.npz"), *folder.glob("*.pt")])[:10]:
            files.setdefault(path.name, {})[student] = path
    alike: list[Any] = [*prints.compare(), *mistakes.compare(answers)]
    common: list[list[str]] = []
    for own in files.values():
        found, shared = networks.compare(own)
        alike += found
        common += shared
    pairs: dict[tuple[str, str], list[Any]] = {}
    for evidence in alike:
        pairs.setdefault(evidence.students, []).append(evidence)

    def strength(pair: tuple[str, str]) -> tuple[int, int]:
        return len({type(evidence) for evidence in pairs[pair]}), len(pairs[pair])

    ordered = sorted(sorted(pairs), key=strength, reverse=True)
    return Findings(len(work), {pair: pairs[pair] for pair in ordered}, common, trouble)


def released_texts(gradebook: Gradebook, assignment: str) -> list[str]:
    """The text of the cells that students got, as the gradebook keeps it.

    Raises
    ------
    UnusableFile
        If the gradebook doesn't know the assignment.
    """
    try:
        found = gradebook.find_assignment(assignment)
    except MissingEntry:
        raise UnusableFile(f"The gradebook has no assignment {shown(assignment)}.") from None
    return [cell.source or "" for notebook in found.notebooks for cell in notebook.source_cells]


# --- The page ---------------------------------------------------------------------------

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1rem; }
h2 { margin-top: 3rem; border-top: 1px solid #bbb; padding-top: 1rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem .8rem .2rem 0; vertical-align: top; }
.beside { display: grid; grid-template-columns: minmax(0, 1fr) minmax(0, 1fr); gap: 1rem; }
pre { font-size: 13px; overflow-x: auto; background: #f6f6f4; padding: .5rem; margin: 0; }
td pre { white-space: pre-wrap; overflow-wrap: anywhere; }
mark { background: #ffe9a8; display: block; } pre span { display: block; min-height: 1.5em; }
.note { background: #eef3f8; padding: .8rem 1rem; }
"""


def page(findings: Findings, assignment: str, work: Mapping[str, Path]) -> str:
    """One self-contained page without scripts; everything of a student's is escaped."""
    pairs = list(findings.pairs.items())[:MAX_PAIRS]
    texts: dict[str, dict[str, str]] = {}
    parts = [
        "<!DOCTYPE html><html lang='en'><head><meta charset='utf-8'>",
        "<meta http-equiv='Content-Security-Policy' content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        "<meta name='referrer' content='no-referrer'><meta name='robots' content='noindex'>",
        f"<title>Likeness in {_safe(assignment)}</title><style>{_STYLE}</style></head><body>",
        f"<h1>Likeness in {_safe(assignment)}</h1>",
        "<div class='note'><p>For the instructor alone. This is evidence and no verdict: who wrote from whom, or"
        " whether anybody did, isn't in it. Students who work together, who start from the same page of a book or the"
        " same assistant's answer, or who train with the same code, settings and seed, hand in like work as well."
        " Talk to people before you conclude anything.</p></div>",
        f"<p>{findings.students} students, {len(findings.pairs)} pairs"
        + (f", of which the first {MAX_PAIRS} are shown" if len(findings.pairs) > MAX_PAIRS else "")
        + ".</p>",
    ]
    if pairs:
        parts.append("<table><tr><th>Students</th><th>Networks</th><th>Rare wrong answers</th><th>Code</th></tr>")
        for number, (pair, evidence) in enumerate(pairs, 1):
            counts = [
                sum(isinstance(one, kind) for one in evidence) for kind in (networks.Alike, mistakes.Alike, code.Alike)
            ]
            cells = "".join(f"<td>{count or ''}</td>" for count in counts)
            parts.append(f"<tr><td><a href='#pair-{number}'>{_both(pair)}</a></td>{cells}</tr>")
        parts.append("</table>")
    for number, (pair, evidence) in enumerate(pairs, 1):
        parts.append(f"<h2 id='pair-{number}'>{_both(pair)}</h2>")
        for student in pair:
            if student not in texts:
                texts = {} if len(texts) > 50 else texts
                texts[student] = _functions(work[student])
        parts += [_network(one) for one in evidence if isinstance(one, networks.Alike)]
        parts += [_mistakes(one) for one in evidence if isinstance(one, mistakes.Alike)]
        likes = [one for one in evidence if isinstance(one, code.Alike)]
        parts += [_code(one, texts[pair[0]], texts[pair[1]]) for one in likes[:_MAX_FUNCTIONS]]
        if len(likes) > _MAX_FUNCTIONS:
            parts.append(f"<p>And {len(likes) - _MAX_FUNCTIONS} more functions.</p>")
    if findings.common:
        parts.append("<h2>Networks that many have</h2><p>More students than copying explains; perhaps what the course's"
                     " own code and settings lead to.</p><ul>")  # fmt: skip
        parts += [f"<li>{len(group)}: {_safe(', '.join(group[:50]))}</li>" for group in findings.common]
        parts.append("</ul>")
    if findings.trouble:
        parts.append("<h2>What couldn't be read</h2><ul>")
        parts += [f"<li>{_safe(sentence)}</li>" for sentence in findings.trouble[:200]] + ["</ul>"]
    return "".join([*parts, "</body></html>\n"])


def write(text: str, target: Path) -> None:
    """Write the page, readable by its owner alone, whole or not at all."""
    partial = target.with_name(f"{target.name}.part")
    partial.unlink(missing_ok=True)
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(partial, target)


def visible(text: str) -> str:
    """A text in which signs that change a line's direction, and control signs, are seen."""
    return "".join(
        sign if sign == "\n" or unicodedata.category(sign)[0] != "C" else "\N{REPLACEMENT CHARACTER}" for sign in text
    )


def _safe(text: str) -> str:
    return html.escape(visible(text))


def _both(pair: tuple[str, str]) -> str:
    return f"{_safe(pair[0])} and {_safe(pair[1])}"


def _network(alike: networks.Alike) -> str:
    if alike.same:
        told = "the same numbers, up to the order of the hidden units"
    else:
        told = f"{alike.share:.0%} of the hidden units of the first layer have a partner that is nearly the same"
    return f"<p><b>{_safe(alike.file)}</b>: {told}.</p>"


def _mistakes(alike: mistakes.Alike) -> str:
    rows = "".join(
        f"<tr><td>{_safe(failure.question)}</td><td>{count}</td><td><pre>{_safe(failure.text)}</pre></td></tr>"
        for failure, count in alike.failures[:20]
    )
    return f"<table><tr><th>Question</th><th>Students who gave it</th><th>What the test said</th></tr>{rows}</table>"


def _code(alike: code.Alike, first: Mapping[str, str], second: Mapping[str, str]) -> str:
    parts = [
        f"<h3>Code, {alike.level}: {_safe(', '.join(alike.functions))}</h3>"
        f"<p>{alike.share:.0%} of what is left when the common is taken away is shared.</p>"
    ]
    for name in alike.functions:
        left, right = first.get(name, ""), second.get(name, "")
        marked = code.lines_alike(left, right, alike.level)
        columns = "".join(
            f"<pre>{_lines(text, lines)}</pre>" for text, lines in zip((left, right), marked, strict=True)
        )
        parts.append(f"<div class='beside'>{columns}</div>")
    return "".join(parts)


def _lines(text: str, marked: set[int]) -> str:
    shown_lines = []
    for number, line in enumerate(text.splitlines()[:_MAX_LINES]):
        tag = "mark" if number in marked else "span"
        shown_lines.append(f"<{tag}>{_safe(line.expandtabs(4)[:_MAX_LINE])}</{tag}>")
    return "".join(shown_lines)


def _functions(folder: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for notebook in notebooks(folder):
        found |= code.functions(source_of(notebook))
    return found
