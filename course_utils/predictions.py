"""What a student expects to see, written down beforehand and shown beside what is seen.

A notebook's cell holds the prediction as a plain value, ``None`` in the beginning; the cell below it hands it to a
figure. Nothing is graded, and nothing that is written as a prediction keeps a figure from being shown.
"""

from __future__ import annotations

import contextlib
import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from course_utils.plots.style import GREEN, ORANGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_AGAIN = "Write it in the cell above, then run both."
#: So many characters of the text below a figure fit its width.
_CHARACTERS_PER_INCH = 14


Value = TypeVar("Value", float, str)


@dataclass(frozen=True)
class Prediction(Generic[Value]):
    """What was predicted for one quantity.

    Attributes
    ----------
    about : str
        What is predicted, as the beginning of a line: "learning rate with the best accuracy".
    value : float or str or None
        The number, or the letter of the choice; None where there is none, or none that can be read.
    text : str
        The value in words, or a sentence that asks for it.
    """

    about: str
    value: Value | None
    text: str


def number(about: str, answer: object, least: float, most: float, unit: str = "") -> Prediction[float]:
    """A prediction that is a number.

    Parameters
    ----------
    about : str
        See :class:`Prediction`.
    answer : object
        What the student wrote; None for nothing yet.
    least, most : float
        The range that the figure shows.
    unit : str
        What is written after the number.
    """
    if answer is None:
        return _asked_for(about, f"No prediction yet. {_AGAIN}")
    value = math.nan
    if isinstance(answer, Real) and not isinstance(answer, bool):
        with contextlib.suppress(OverflowError):  # of a whole number with hundreds of digits
            value = float(answer)
    if not least <= value <= most:  # False for nan, too
        return _asked_for(about, f"The prediction must be a number from {least:g} to {most:g}. {_AGAIN}")
    return Prediction(about, value, f"{value:.3g} {unit}".strip())


def choice(about: str, answer: object, options: Mapping[str, str]) -> Prediction[str]:
    """A prediction that is one of several options.

    Parameters
    ----------
    about : str
        See :class:`Prediction`.
    answer : object
        What the student wrote, a key of ``options`` in small or capital letters; None for nothing yet.
    options : mapping
        Letter -> what it says, in a few words.
    """
    if answer is None:
        return _asked_for(about, f"No prediction yet. {_AGAIN}")
    letter = answer.strip().lower() if isinstance(answer, str) else ""
    if letter not in options:
        letters = ", ".join(f'"{key}"' for key in options)
        return _asked_for(about, f"The prediction must be one of {letters}. {_AGAIN}")
    return Prediction(about, letter, options[letter])


def _asked_for(about: str, text: str) -> Prediction[Any]:
    return Prediction(about, None, text)


def mark(axes: Axes, prediction: Prediction, label: str = "your prediction", style: str = "--") -> None:
    """Draw a predicted number as an upright green line at its place on the x axis; nothing where there is none."""
    if isinstance(prediction.value, float):
        axes.axvline(prediction.value, color=GREEN, linestyle=style, linewidth=1.5, label=label)


def compare(figure: Figure, predictions: Sequence[Prediction], seen: Sequence[str]) -> str:
    """Write below a figure what was predicted, and what is seen.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    predictions : sequence of Prediction
    seen : sequence of str
        For each of them, what the figure shows, in the same words or units.

    Returns
    -------
    str
        The same as sentences, for the figure's alternative text. What is seen is told only where something was
        predicted: before that it would be an answer to copy.
    """
    sentences: list[str] = []
    lines = 0
    for prediction, found in zip(predictions, seen, strict=True):
        made = prediction.value is not None
        text = f"predicted {prediction.text}; seen {found}." if made else prediction.text
        sentences.append(f"{prediction.about[0].upper()}{prediction.about[1:]}: {text}")
        shown = textwrap.fill(sentences[-1], int(_CHARACTERS_PER_INCH * figure.get_figwidth()))
        figure.text(
            0.02, -0.02 - 0.25 * lines / figure.get_figheight(), shown,
            color=GREEN if made else ORANGE, fontsize=9.5, va="top",
        )  # fmt: skip
        lines += shown.count("\n") + 1
    return " ".join(sentences)
