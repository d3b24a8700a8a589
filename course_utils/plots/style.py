"""What the figures have in common: their frame, their colours, and how a notebook shows them."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Three colours that people with any kind of colour vision tell apart, from the set of Okabe and Ito
#: (https://jfly.uni-koeln.de/color), darkened where they write text: each has a contrast of 4.5 or more on white.
BLUE, ORANGE, GREEN = "#0060a8", "#b34700", "#00704f"
#: The widest a figure may be, in inches: at 100 pixels an inch it fits a page of 900 pixels beside a sidebar.
WIDTH = 7.6
_PIXELS_PER_INCH = 100


def plain(axes: Axes) -> None:
    """Leave the frame open above and on the right, and draw a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


class Picture:
    """A finished figure and what it shows in words.

    JupyterLab, VS Code and Colab show a figure of matplotlib's without an alternative text; this one brings its own.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    description : str
        One or two sentences for readers who don't see the figure: the alternative text, and what a front end
        without pictures prints.
    """

    def __init__(self, figure: Figure, description: str) -> None:
        self.figure = figure
        self.description = description

    def __repr__(self) -> str:
        return f"Figure: {self.description}"

    def _repr_html_(self) -> str:
        content = io.BytesIO()
        # Without the name and version of matplotlib, which PNG files carry.
        metadata = {"Software": None}
        self.figure.savefig(
            content, format="png", dpi=_PIXELS_PER_INCH, bbox_inches="tight", facecolor="white", metadata=metadata
        )
        data = base64.b64encode(content.getvalue()).decode()
        return f'<img alt="{html.escape(self.description)}" src="data:image/png;base64,{data}" style="max-width:100%">'


def finished(figure: Figure, description: str) -> Picture:
    """The figure, arranged, and shown once: as the cell's output, not also by matplotlib.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
    description : str
        See :class:`Picture`.
    """
    import matplotlib.pyplot as plt

    figure.tight_layout()
    plt.close(figure)
    return Picture(figure, description)


def listed(words: list[str]) -> str:
    """``["a", "b", "c"]`` as "a, b and c"."""
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
