"""What is counted in a class's answers."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from autograder.report import examples
from autograder.report.reading import Answer, Class, Failure

#: How many students' code is tried for one example.
_TRIED = 8
#: Numbers that are other ones for each test: a strength, an address, a value.
_NUMBER = re.compile(r"0x[0-9a-fA-F]+|(?<![\w.])-?\d+(?:\.\d*)?(?:e[-+]?\d+)?")
_DECIMAL = re.compile(r"(?<![\w.])-?\d+(?:\.\d*(?:e[-+]?\d+)?|e[-+]?\d+)")
_ONES_OWN = "#"
_MAX_TOLD = 160


class Standing(NamedTuple):
    """How a class stands in one question.

    Attributes
    ----------
    notebook, question : str
    possible : float
    results : Counter
        Of :attr:`Answer.result`.
    earned : float
        The mean of the points of those that have been decided.
    """

    notebook: str
    question: str
    possible: float
    results: Counter
    earned: float


class Where(NamedTuple):
    """A cause or cluster in one question.

    Attributes
    ----------
    notebook, question : str
    students : tuple of str
    points : float
        That were lost.
    sentence : str
        What most of them read.
    """

    notebook: str
    question: str
    students: tuple[str, ...]
    points: float
    sentence: str


class Group(NamedTuple):
    """Failures that have something in common.

    Attributes
    ----------
    name : str
        Of the cause, or what they have in common in words.
    places : tuple of Where
        The question with most students first.
    students : tuple of str
    points : float
    example : str or None
        Code of one of them, made anonymous.
    mended : tuple of str
        Who had it in the last report and has earned the question's points since.
    """

    name: str
    places: tuple[Where, ...]
    students: tuple[str, ...]
    points: float
    example: str | None
    mended: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """What most of the students read."""
        return self.places[0].sentence if self.places else ""


class Findings(NamedTuple):
    """What was found.

    Attributes
    ----------
    standings : list of Standing
    causes : list of Group
        Recognised causes, the one of most students first; those that all have mended are the last.
    clusters : list of Group
        Failures without a recognised cause.
    """

    standings: list[Standing]
    causes: list[Group]
    clusters: list[Group]


def find(found: Class, earlier: Mapping[tuple[str, str, str], tuple[str, ...]] | None = None) -> Findings:
    """Count.

    Parameters
    ----------
    found : Class
    earlier : mapping, optional
        (student, notebook, question) -> the causes that the last report had there.
    """
    course = examples.Course(found.course_text)
    functions = {(one.notebook, one.name): one.functions for one in found.questions}
    names = {one.student: one.names for one in found.handed}

    def example(answers: Iterable[Answer]) -> str | None:
        tried = sorted((one for one in answers if one.code), key=lambda one: (len(one.code), one.code))[:_TRIED]
        own = (
            examples.example(one.code, functions[one.notebook, one.question], names.get(one.student, ()), course)
            for one in tried
        )
        return next(filter(None, own), None)

    by_cause: dict[str, list[Answer]] = {}
    by_likeness: dict[tuple[str, ...], list[Answer]] = {}
    for answer in found.answers:
        failure = answer.failure
        if failure is None or answer.result == "not written":
            continue
        for cause in failure.causes:
            by_cause.setdefault(cause, []).append(answer)
        if not failure.causes:
            by_likeness.setdefault((answer.notebook, answer.question, *_in_common(failure)), []).append(answer)
    mended = _mended(found.answers, earlier or {})
    causes = [_group(name, by_cause.get(name, []), example, mended.get(name, ())) for name in {**by_cause, **mended}]
    clusters = [
        _group("; ".join(filter(None, common)), answers, example) for (_, _, *common), answers in by_likeness.items()
    ]
    standings = [
        _standing(one.notebook, one.name, one.possible, [a for a in found.answers if a.question == one.name
                                                         and a.notebook == one.notebook])
        for one in found.questions
    ]  # fmt: skip
    return Findings(standings, sorted(causes, key=_rank), sorted(clusters, key=_rank))


def _rank(group: Group) -> tuple:
    return -len(group.students), -group.points, group.name


def _standing(notebook: str, question: str, possible: float, answers: list[Answer]) -> Standing:
    decided = [one.points for one in answers if one.points is not None]
    mean = sum(decided) / len(decided) if decided else 0.0
    return Standing(notebook, question, possible, Counter(one.result for one in answers), mean)


def _group(
    name: str, answers: list[Answer], example: Callable[[Iterable[Answer]], str | None], mended: tuple[str, ...] = ()
) -> Group:
    places = []
    for place in dict.fromkeys((one.notebook, one.question) for one in answers):
        here = [one for one in answers if (one.notebook, one.question) == place]
        failures = [one.failure for one in here if one.failure is not None]
        # A sentence on this cause alone, before one on two of them.
        said = Counter((len(one.causes) < 2, one.sentence or _first_line(one)) for one in failures)
        sentence = max(said, key=lambda each: (each[0], said[each], each[1]))[1]
        students = tuple(sorted({one.student for one in here}))
        places.append(Where(*place, students, sum(one.lost for one in here), sentence))
    places.sort(key=lambda place: (-len(place.students), place.question))
    students = tuple(sorted({one.student for one in answers}))
    return Group(name, tuple(places), students, sum(one.lost for one in answers), example(answers), mended)


def _first_line(failure: Failure) -> str:
    return next(iter(failure.message.splitlines()), failure.error)


def _mended(
    answers: Iterable[Answer], earlier: Mapping[tuple[str, str, str], tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    """Cause -> who had it and has the question's points now."""
    found: dict[str, set[str]] = {}
    for answer in answers:
        if answer.result == "right":
            for cause in earlier.get((answer.student, answer.notebook, answer.question), ()):
                found.setdefault(cause, set()).add(answer.student)
    return {cause: tuple(sorted(students)) for cause, students in found.items()}


# --- Failures without a cause -------------------------------------------------------------


def _in_common(failure: Failure) -> tuple[str, str, str, str]:
    """Quantity, kind and shape of the deviation, or the message where there is no such kind, without numbers."""
    if failure.kind:
        return _DECIMAL.sub(_ONES_OWN, failure.quantity), failure.kind, shape_of(failure.extent), ""
    told = _NUMBER.sub(_ONES_OWN, _first_line(failure))
    told = told if failure.quantity or not failure.error else f"{failure.error}: {told}"
    return "", "", "", told if len(told) <= _MAX_TOLD else f"{told[:_MAX_TOLD]}…"


def shape_of(extent: Mapping[str, float]) -> str:
    """The shape of a deviation in words: how many values, in which direction, by how much.

    Parameters
    ----------
    extent : mapping
        ``wrong``, ``of``, ``above`` and ``share``, see :class:`course_utils.comparison.CheckFailed`.
    """
    if not {"wrong", "of", "above"} <= extent.keys():
        return ""
    wrong, of, above = extent["wrong"], extent["of"], extent["above"]
    many = "the value" if of == 1 else "all values" if wrong == of else "some values"
    direction = "too large" if above == wrong else "too small" if above == 0 else "in both directions"
    share = extent.get("share", float("inf"))
    size = "by less than a thousandth" if share < 1e-3 else "by a part" if share < 0.5 else "by their own size or more"
    return f"{many}, {direction}, {size}"
