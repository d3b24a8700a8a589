"""A cause to be shown in the lecture: a wrong formula, the right one, and a picture of the difference, as SVG."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from markupsafe import Markup, escape
from matplotlib.path import Path as Outline
from matplotlib.textpath import TextPath

#: Height of a formula's letters, and size of a picture, in pixels.
_LETTERS = 22
_WIDTH, _HEIGHT, _EDGE = 360, 200, 24
#: Values that a picture of bars shows.
MOST_BARS = 12


class Picture(NamedTuple):
    """What is right and what is wrong, to be drawn.

    Attributes
    ----------
    right, wrong : ndarray of float
        Values of functions at ``x``, or single values; these may be of different number.
    says : str
        What is drawn, for those who don't see it and as a caption.
    x : ndarray of float, optional
        Where the curves' values are; bars are drawn without it.
    """

    right: np.ndarray
    wrong: np.ndarray
    says: str
    x: np.ndarray | None = None


class Explained(NamedTuple):
    """A cause as formulas, in LaTeX as Matplotlib's mathtext takes it, without dollar signs.

    Attributes
    ----------
    wrong, right : str
    picture : Picture, optional
    """

    wrong: str
    right: str
    picture: Picture | None = None


#: ``explain(question, cause)``: a course's own; None where it has no formula.
Explain = Callable[[str, str], Explained | None]


def typeset(latex: str) -> Markup:
    """A formula as SVG in the colour of the text around it."""
    outline = TextPath((0, 0), f"${latex}$", size=_LETTERS)
    box = outline.get_extents()
    left, top, width, height = box.x0 - 1, -box.y1 - 1, box.width + 2, box.height + 2
    view = f"{left:.1f} {top:.1f} {width:.1f} {height:.1f}"
    return Markup(
        '<svg class="formula" role="img" aria-label="{}" width="{}" height="{}" viewBox="{}">'
        '<path transform="scale(1,-1)" fill="currentColor" d="{}"/></svg>'
    ).format(latex, round(width), round(height), view, _commands(outline))


def _commands(outline: Outline) -> str:
    letters = {Outline.MOVETO: "M", Outline.LINETO: "L", Outline.CURVE3: "Q", Outline.CURVE4: "C"}
    parts = []
    for points, code in outline.iter_segments(simplify=False):
        if code == Outline.CLOSEPOLY:
            parts.append("Z")
        else:
            parts.append(letters[code] + " ".join(f"{value:.2f}" for value in points))
    return "".join(parts)


def drawn(picture: Picture) -> Markup:
    """A picture as SVG: what is right in one colour and solid, what is wrong in another and dashed or hatched."""
    shapes = _bars(picture) if picture.x is None else _curves(picture, picture.x)
    head = Markup('<svg class="picture" role="img" aria-label="{}" viewBox="0 0 {} {}">').format(
        picture.says, _WIDTH, _HEIGHT
    )
    return head + Markup("").join(shapes) + Markup("</svg>")


def _scale(values: np.ndarray, low: float, high: float) -> tuple[Callable[[float], float], float, float]:
    least, most = min(0.0, float(np.min(values))), max(0.0, float(np.max(values)))
    span = (most - least) or 1.0
    return (lambda value: low + (high - low) * (value - least) / span), least, most


def _curves(picture: Picture, x: np.ndarray) -> Iterable[Markup]:
    both = np.concatenate([picture.right, picture.wrong])
    across, *_ = _scale(x, _EDGE, _WIDTH - _EDGE)
    up, least, most = _scale(both, _HEIGHT - _EDGE, _EDGE)
    yield _line("axis", _EDGE, up(0), _WIDTH - _EDGE, up(0))
    yield _line("axis", across(0), _EDGE / 2, across(0), _HEIGHT - _EDGE / 2)
    yield from (_number(across(0) + 4, up(value) - 4, value) for value in (least, most) if value)
    ends = (float(np.min(x)), float(np.max(x)))
    yield from (_number(across(value) - 12, up(0) + 14, value) for value in ends if value)
    for kind, values in (("right", picture.right), ("wrong", picture.wrong)):
        points = " ".join(f"{across(at):.1f},{up(value):.1f}" for at, value in zip(x, values, strict=True))
        yield Markup('<polyline class="{}" points="{}"/>').format(kind, points)


def _bars(picture: Picture) -> Iterable[Markup]:
    right, wrong = picture.right[:MOST_BARS], picture.wrong[:MOST_BARS]
    up, least, most = _scale(np.concatenate([right, wrong]), _HEIGHT - _EDGE, _EDGE)
    count = max(len(right), len(wrong))
    room = (_WIDTH - 2 * _EDGE) / count
    width = min(room * 0.36, 40.0)
    for kind, values, shift in (("right", right, -width), ("wrong", wrong, 0.0)):
        for place, value in enumerate(values):
            left = _EDGE + room * (place + 0.5) + shift
            top, bottom = sorted((up(float(value)), up(0.0)))
            yield Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
                kind, round(left, 1), round(top, 1), round(width, 1), round(max(bottom - top, 1.0), 1)
            )
    yield _line("axis", _EDGE, up(0), _WIDTH - _EDGE, up(0))
    yield from (_number(2, up(value) + 4, value) for value in (least, most) if value)


def _line(kind: str, *ends: float) -> Markup:
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(kind, *(round(end, 1) for end in ends))


def _number(x: float, y: float, value: float) -> Markup:
    digits = max(0, 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{digits}f}" if digits < 5 else f"{value:.0e}"
    return Markup('<text x="{}" y="{}">{}</text>').format(round(x, 1), round(y, 1), escape(text))
