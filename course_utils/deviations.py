"""Name a mistake: the reference with one thing changed that gives the values that a student got.

The reference is a *model*: ``model(arguments, changes)`` computes every quantity that was asked
for, from the arguments of a call and the stages of the computation, each a function. A **deviation**
puts another function in the place of one stage. Diagnosis is a search for the deviation, else
the pair of them, that reproduces what was observed on every problem that was asked.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

#: Part -> value, of all that a function is asked for.
Values = Mapping[str, Any]
#: ``model(arguments, changes)``: the values of a call where ``changes`` (stage -> function) stands for some
#: stages. It may raise where the stages don't fit together.
Model = Callable[[Mapping[str, Any], Mapping[str, Callable]], Values]


@dataclass(frozen=True)
class Deviation:
    """The reference with one thing changed.

    Attributes
    ----------
    name : str
        For machines: what a failure carries and a grader may count.
    stage : str
        The stage of the model that it changes, and with it the quantities; two changes of one stage
        make no pair. ``"returned"``, or ``"returned PART ..."``, is the last one of every model, ``"given NAME"`` the
        first: an argument.
    change : callable
        Takes the place of that stage, with its arguments; those of ``"returned"`` are the value of
        a part, what the student got for it, and the number of samples. A ``fitted`` one takes a number before
        them, in which the result is linear, and which is found from the values.
    sentence : str
        What the student reads; ``{factor}`` is the number found, ``{N}`` and ``{reg}`` those of a call.
    beside : str
        What is said of it beside another one, with which the values aren't the expected ones, if not the sentence.
    common : str
        What it shares with others that give the same values: said where these can't be told apart.
    fitted : bool
    general : bool
        Whether it could be found in any value (a sign, a factor): tried after all others.
    alone : bool
        Whether it adapts to what was got so much that beside another one it would explain anything.
    """

    name: str
    stage: str
    change: Callable
    sentence: str
    common: str = ""
    beside: str = ""
    fitted: bool = False
    general: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Observation:
    """What a student's function gave in one call, and what it should have given.

    Attributes
    ----------
    arguments : mapping
        Name -> value, for the model.
    got, expected : mapping
        Part -> value.
    tolerance : mapping
        Part -> round-off allowed, absolute.
    """

    arguments: Mapping[str, Any]
    got: Values
    expected: Values
    tolerance: Mapping[str, float]


@dataclass(frozen=True)
class Cause:
    """What a search found.

    Attributes
    ----------
    names : tuple of str
        Of the deviations; where several give the same values, "one or another".
    sentence : str
    """

    names: tuple[str, ...]
    sentence: str


def is_right(seen: Observation, *parts: str) -> bool:
    """Whether these parts, or all, are as expected."""
    return all(
        np.shape(seen.got[part]) == np.shape(seen.expected[part])
        and bool(np.all(np.abs(seen.got[part] - np.asarray(seen.expected[part])) <= seen.tolerance[part]))
        for part in parts or seen.got
    )


def search(observed: Sequence[Observation], model: Model, deviations: Iterable[Deviation]) -> Cause | None:
    """The deviation, else the pair, that reproduces everything observed, or None.

    A single one comes before a pair, what is particular before what is general or fitted. Where
    several of a kind give the same values, what they have in common is said, or nothing.
    """
    observed = [seen for seen in observed if seen.got]
    if not observed:
        return None
    for candidates in _in_order(list(deviations)):
        found = []
        for candidate in candidates:
            factor = _reproduces(candidate, observed, model)
            if factor is not None:
                found.append((candidate, factor))
        if found:
            told = _told(found, next((seen for seen in observed if _is_apart(seen)), observed[0]).arguments)
            return _with_precision(told, observed) if told else None
    return None


def _with_precision(told: Cause, observed: Sequence[Observation]) -> Cause:
    """Besides, that digits were lost: what is compared with values in single precision is compared loosely."""
    single, told_apart = True, False
    for seen in observed:
        for part, got in seen.got.items():
            single = single and np.asarray(got).dtype == np.float32
            size = np.max(np.abs(seen.expected[part]), initial=0.0)
            told_apart = told_apart or seen.tolerance[part] < 1e-7 * size
    if not (single and told_apart) or "float32" in told.names:
        return told
    return Cause((*told.names, "float32"), f"{told.sentence} And: the values are in single precision; keep float64.")


def _in_order(deviations: list[Deviation]) -> Iterator[list[tuple[Deviation, ...]]]:
    """Singles and then pairs of them, in groups of equal rank: what is particular, general, fitted, given."""
    ranks: list[list[Deviation]] = [[] for _ in range(5)]
    for deviation in deviations:
        given = deviation.stage.startswith("given ")
        ranks[4 if given else deviation.general + 2 * deviation.fitted].append(deviation)
    for rank in ranks:
        yield [(one,) for one in rank]
    # A fitted number beside something general would explain too much.
    for one, other in ((0, 0), (0, 2), (0, 1), (0, 3), (0, 4)):
        pairs = itertools.combinations(ranks[0], 2) if one == other else itertools.product(ranks[one], ranks[other])
        yield [pair for pair in pairs if pair[0].stage != pair[1].stage and not pair[1].alone]


def _reproduces(candidate: tuple[Deviation, ...], observed: Sequence[Observation], model: Model) -> float | str | None:
    """The number with which the candidate gives everything observed ("none" if it has none), or None if it doesn't."""
    fitted = any(one.fitted for one in candidate)
    factor, seen_apart = None, False
    if fitted and sum(np.size(got) for seen in observed for got in seen.got.values()) < 4:
        return None  # a few values would be explained by some number
    for seen in observed:
        try:
            with np.errstate(all="ignore"):
                if fitted and factor is None:
                    factor = _fit(candidate, seen, model)
                values = deviating(candidate, seen.arguments, seen.got, model, 0.0 if factor is None else factor)
        except Exception:  # the stages don't fit together, or a value isn't known: no explanation
            return None
        if not _agree(seen, values):
            return None
        seen_apart = seen_apart or _is_apart(seen) or _is_exact(seen, values)
    if not seen_apart or (fitted and factor is None):
        return None
    return factor if fitted else "none"


def deviating(
    candidate: Sequence[Deviation], arguments: Values, got: Values, model: Model, factor: float | None = None
) -> Values:
    """What the model gives with these deviations, of the parts of ``got``, which a ``returned`` one may see."""
    stages = {one.stage: partial(one.change, factor) if one.fitted else one.change for one in candidate}
    given = {stage.split()[1]: change for stage, change in stages.items() if stage.startswith("given ")}
    arguments = {**arguments, **{name: change(np.asarray(arguments[name])) for name, change in given.items()}}
    inner = {stage: change for stage, change in stages.items() if stage.split()[0] not in ("given", "returned")}
    values = dict(model(arguments, inner))
    for stage, change in stages.items():
        if stage.split()[0] == "returned":
            for part in stage.split()[1:] or list(got):
                if part in got:
                    values[part] = change(np.asarray(values[part], dtype=np.float64), got[part], samples(arguments))
    return values


def _fit(candidate: tuple[Deviation, ...], seen: Observation, model: Model) -> float | None:
    """The number that fits best, or None where it makes no difference."""
    at0, at1 = (deviating(candidate, seen.arguments, seen.got, model, factor) for factor in (0.0, 1.0))
    direction = np.concatenate([np.ravel(np.subtract(at1[part], at0[part])) for part in seen.got])
    wanted = np.concatenate([np.ravel(np.subtract(seen.got[part], at0[part])) for part in seen.got])
    size = float(direction @ direction)
    return float(direction @ wanted) / size if size > 1e-18 * float(wanted @ wanted) else None


def _agree(seen: Observation, hypothesis: Values) -> bool:
    for part, got in seen.got.items():
        value = np.asarray(hypothesis[part], dtype=np.float64)
        got = np.asarray(got, dtype=np.float64)
        if value.shape != got.shape or (np.any(value) and not np.any(got)):
            return False  # zeros are told from what cancels but for round-off
        same = (value == got) | (np.isnan(value) & np.isnan(got)) | (np.abs(value - got) <= _closeness(seen, part))
        # Another way to compute the same may overflow in some places; those say nothing.
        overflown = ~np.isfinite(got) & np.isfinite(value)
        if not np.all(same | overflown) or 2 * np.sum(overflown) > got.size:
            return False
    return True


def _closeness(seen: Observation, part: str) -> float:
    """Round-off between a student's value and a hypothesis: that of the reference, or 1e-9 of larger values."""
    sizes = np.abs(seen.got[part])
    size = float(np.max(sizes[np.isfinite(sizes)], initial=0.0))
    if np.asarray(seen.got[part]).dtype == np.float32:
        return max(10 * seen.tolerance[part], 1e-6 * size)
    return max(min(10 * seen.tolerance[part], max(1e-9 * size, seen.tolerance[part])), 1e-14 * size)


def _is_apart(seen: Observation) -> bool:
    """Whether what was observed is wrong by more than what any hypothesis would be taken for."""
    for part, got in seen.got.items():
        expected = np.asarray(seen.expected[part], dtype=np.float64)
        if np.shape(got) != expected.shape or not np.isfinite(got).all():
            return True
        if np.max(np.abs(got - expected), initial=0.0) > 10 * _closeness(seen, part):
            return True
    return False


def _is_exact(seen: Observation, hypothesis: Values) -> bool:
    """Whether a hypothesis gives every bit of what was observed, which is off by less than round-off usually is."""
    return all(np.array_equal(hypothesis[part], got) for part, got in seen.got.items()) and any(
        np.max(np.abs(got - seen.expected[part]), initial=0.0) > seen.tolerance[part] for part, got in seen.got.items()
    )


def _told(found: list[tuple[tuple[Deviation, ...], float | str]], arguments: Values) -> Cause | None:
    candidate, factor = found[0]
    if len(found) == 1 or len({" ".join(one.sentence for one in each) for each, _ in found}) == 1:
        return Cause(tuple(one.name for one in candidate), _sentence(candidate, factor, arguments))
    # What is said of any value ("the sign is wrong") is untrue of one in which something else is wrong as well.
    shared = [one for one in candidate if not one.general and all(one in each for each, _ in found)]
    if shared:
        return Cause(tuple(one.name for one in shared), _sentence(shared, factor, arguments))
    common = {tuple(sorted({one.common for one in each})) for each, _ in found}
    if len(common) == 1 and all(one.common for one in candidate):
        names = " or ".join(dict.fromkeys(one.name for each, _ in found for one in each))
        return Cause((names,), " And: ".join(dict.fromkeys(one.common for one in candidate)))
    return None


def _sentence(candidate: Iterable[Deviation], factor: float | str, arguments: Values) -> str:
    known = _Readable(factor=factor, reg=arguments.get("reg"), N=samples(arguments))
    first, *others = candidate
    sentences = [first.sentence, *(one.beside or one.sentence for one in others)]
    return " And: ".join(sentence.format_map(known) for sentence in sentences)


def samples(arguments: Values) -> int:
    """The number of rows of the first matrix among a call's arguments."""
    return next((len(value) for value in arguments.values() if np.ndim(value) == 2), 0)


class _Readable(dict):
    """Numbers as a student would write them."""

    def __getitem__(self, key: str) -> Any:
        value = super().__getitem__(key)
        return f"{value:.3g}" if isinstance(value, float) else value
