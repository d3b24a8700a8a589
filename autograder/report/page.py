"""The page."""

from __future__ import annotations

import importlib
from collections import Counter
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import NamedTuple

import jinja2
from markupsafe import Markup
from traitlets import Unicode
from traitlets.config import Configurable

from autograder.likeness.report import visible
from autograder.report.explained import Explain, Explained, drawn, typeset
from autograder.report.findings import Findings
from autograder.report.reading import Class

#: How many causes, clusters and sentences are shown, and how many misconceptions in the lecture.
MOST_CAUSES = 60
MOST_CLUSTERS = 40
MOST_SENTENCES = 100
LECTURED = 3
#: A notebook takes long to grade if it takes this many times as long as the median, and so many seconds more.
LONG, LONG_SECONDS = 3.0, 1.0
#: What a question's answers can be, in the order of a bar, and how the page calls them.
RESULTS = {
    "right": "all points", "part": "a part", "wrong": "none", "not written": "not written", "waiting": "not graded yet",
}  # fmt: skip
#: Hours after the due date up to which a submission falls into a class of the picture.
_TIMES = (
    ("more than a week before", -168.0), ("2 to 7 days before", -48.0), ("1 to 2 days before", -24.0),
    ("on the last day", 0.0), ("up to a day late", 24.0), ("later", float("inf")),
)  # fmt: skip


class Report(Configurable):
    """What ``nbgrader_config.py`` says about the report."""

    explain = Unicode(
        "", help="'module:function' that gives a cause's formulas and picture; see autograder.report.explained.Explain."
    ).tag(config=True)

    def explanation(self) -> Explain:
        """The function; one that explains nothing where none is named."""
        if not self.explain:
            return lambda question, cause: None
        module, _, name = self.explain.partition(":")
        return getattr(importlib.import_module(module), name)


class Misconception(NamedTuple):
    """One of those that are shown in the lecture.

    Attributes
    ----------
    title : str
    students : int
    question : str
    explained : Explained, optional
    """

    title: str
    students: int
    question: str
    explained: Explained | None


def page(found: Class, findings: Findings, explain: Explain, since: str = "") -> str:
    """One self-contained page without scripts; everything of a student's is escaped.

    Parameters
    ----------
    found : Class
    findings : Findings
    explain : callable
    since : str
        When the last report was written, if there is one.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, finalize=_shown, trim_blocks=True,
        lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    environment.globals |= {"typeset": typeset, "drawn": drawn, "bar": _bar}
    hours = {one.student: one.hours_late for one in found.handed if one.hours_late is not None}
    possible = sum(one.possible for one in found.questions)
    return environment.get_template("page.html.j2").render(
        found=found, findings=findings, since=since, now=f"{datetime.now():%Y-%m-%d %H:%M}", results=RESULTS,
        students=len({one.student for one in found.answers}), possible=possible,
        mean=sum(standing.earned for standing in findings.standings),
        causes=[one for one in findings.causes if one.students][:MOST_CAUSES],
        gone=[one for one in findings.causes if not one.students],
        left_out=max(sum(bool(one.students) for one in findings.causes) - MOST_CAUSES, 0),
        clusters=findings.clusters[:MOST_CLUSTERS], clusters_left_out=max(len(findings.clusters) - MOST_CLUSTERS, 0),
        trouble=_trouble(found)[:MOST_SENTENCES], unread=found.unread[:MOST_SENTENCES],
        times=_times(list(hours.values())), durations=_durations(found),
        late=sorted(((late, student) for student, late in hours.items() if late > 0), reverse=True),
        lecture=misconceptions(findings, explain),
    )  # fmt: skip


def _shown(value: object) -> object:
    return value if isinstance(value, (Markup, int, float)) else visible(str(value))


def misconceptions(findings: Findings, explain: Explain) -> list[Misconception]:
    """The commonest causes; where fewer are known, failures without a cause, without anything that a student wrote."""
    chosen = []
    for group in [one for one in findings.causes if one.students][:LECTURED]:
        question = group.places[0].question
        chosen.append(Misconception(group.sentence, len(group.students), question, explain(question, group.name)))
    for group in findings.clusters[: LECTURED - len(chosen)]:
        chosen.append(Misconception("", len(group.students), group.places[0].question, None))
    return chosen


def _trouble(found: Class) -> list[tuple[str, list[str]]]:
    """Each sentence with those whom it concerns, the commonest first."""
    concerned: dict[str, list[str]] = {}
    for one in found.handed:
        for sentence in one.trouble:
            concerned.setdefault(sentence, []).append(one.student)
    return sorted(concerned.items(), key=lambda pair: (-len(pair[1]), pair[0]))


def _times(hours: list[float]) -> list[tuple[str, int, bool]]:
    """Each class of the picture: its name, how many, and whether they are late."""
    counts = Counter(next(name for name, last in _TIMES if late <= last) for late in hours)
    return [(name, counts[name], last > 0) for name, last in _TIMES] if hours else []


class _Duration(NamedTuple):
    """How long grading a notebook took: the number of students, the median, and who took long, in seconds."""

    notebook: str
    students: int
    median: float
    long: list[tuple[float, str]]


def _durations(found: Class) -> list[_Duration]:
    """The time that grading took, by notebook."""
    students = {one.student for one in found.handed}
    taken: dict[str, list[tuple[float, str]]] = {}
    for (student, notebook), seconds in found.seconds.items():
        if student in students:
            taken.setdefault(notebook, []).append((seconds, student))
    durations = []
    for notebook in (name for name in dict.fromkeys(one.notebook for one in found.questions) if name in taken):
        usual = median(seconds for seconds, _ in taken[notebook])
        long = [one for one in taken[notebook] if one[0] > LONG * usual and one[0] > usual + LONG_SECONDS]
        durations.append(_Duration(notebook, len(taken[notebook]), usual, sorted(long, reverse=True)))
    return durations


def _bar(parts: list[tuple[str, int]], says: str, whole: int | None = None) -> Markup:
    """A bar of several parts, as SVG: each a kind and a number; the whole is their sum, or given."""
    whole = whole or sum(number for _, number in parts) or 1
    drawn_parts, left = [], 0.0
    for kind, number in parts:
        width = 100 * number / whole
        drawn_parts.append(
            Markup('<rect class="{}" x="{}" y="0" width="{}" height="10"/>').format(
                kind.replace(" ", "-"), round(left, 2), round(width, 2)
            )
        )
        left += width
    head = Markup('<svg class="bar" role="img" aria-label="{}" viewBox="0 0 100 10" preserveAspectRatio="none">')
    return head.format(visible(says)) + Markup("").join(drawn_parts) + Markup("</svg>")
