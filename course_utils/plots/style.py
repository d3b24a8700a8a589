"""What the figures have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plain(axes: Axes) -> None:
    """Leave the frame open above and on the right, and draw a light grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)


def finished(figure: Figure, top: float = 1.0) -> Figure:
    """The figure, arranged below ``top`` (0..1), and shown once: as the cell's output, not also by matplotlib."""
    import matplotlib.pyplot as plt

    figure.tight_layout(rect=(0, 0, 1, top))
    plt.close(figure)
    return figure
