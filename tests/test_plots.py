"""Every figure: how a notebook shows it, and that it tells in words what it shows."""

from __future__ import annotations

import base64
import io
import re

import matplotlib
import numpy as np
import pytest
from PIL import Image

from course_utils.comparison import CheckFailed
from course_utils.plots import graph, pytorch, training
from course_utils.plots.style import BLUE, GREEN, ORANGE, WIDTH, Picture, listed

pytestmark = pytest.mark.slow

matplotlib.use("Agg")
_RNG = np.random.default_rng(0)
_SETTINGS = {"learning_rate": 1e-3, "hidden_size": 20, "reg": 1e-4, "batch_size": 200}
_STUDY = {"activation": "relu", "depth": 1, "train_accuracy": 0.6, "val_accuracy": 0.5, "test_accuracy": 0.49}

PICTURES = {
    "graph": lambda: graph.draw_graph({"z2": np.ones((1, 2))}, {"z2": np.ones((1, 2))}),
    "classes": lambda: training.show_classes(
        _RNG.integers(0, 255, (40, 32, 32, 3), dtype=np.uint8), np.arange(40) % 2, ["cat", "dog"]
    ),
    "history": lambda: training.plot_history(
        {"loss": [2.3, 2.0, 1.9], "train_accuracy": [0.1, 0.25], "val_accuracy": [0.1, 0.2]}
    ),
    "history without an epoch": lambda: training.plot_history(
        {"loss": [2.3], "train_accuracy": [], "val_accuracy": []}
    ),
    "weights": lambda: training.show_weights(_RNG.standard_normal((3072, 30))),
    "search": lambda: training.plot_search(
        [_SETTINGS | {"hidden_size": size, "num_iters": 100, "val_accuracy": size / 100} for size in (20, 40)]
    ),
    "comparison": lambda: training.plot_comparison([{"name": "a & b", "val_accuracy": [0.5, 0.6]}]),
    "confusion": lambda: training.plot_confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1]), ["cat", "dog"]),
    "parity": lambda: pytorch.plot_parity({"z2": 0.0, "loss": 1e-15}, [1e-15, 1e-14]),
    "sizes": lambda: pytorch.plot_sizes({"small": ([1e-3, 1e-9], [1e-9, 1e-3]), "Kaiming": ([1.0, 1.1], [1.0, 0.9])}),
    "study": lambda: pytorch.plot_study([_STUDY, _STUDY | {"depth": 2, "val_accuracy": 0.4}]),
    "speed": lambda: pytorch.plot_speed(
        [{"batch_size": 200, "hidden_size": size, "NumPy": size / 10, "PyTorch": size / 20} for size in (50, 100)]
    ),
}


@pytest.mark.parametrize("name", PICTURES)
def test_a_figure_is_shown_with_its_description_and_fits_a_page(name):
    picture = PICTURES[name]()
    assert isinstance(picture, Picture)
    shown = re.fullmatch(
        r'<img alt="([^"]+)" src="data:image/png;base64,([^"]+)" style="max-width:100%">', picture._repr_html_()
    )
    assert len(shown[1]) > 40
    assert shown[1].endswith(".")
    assert repr(picture) == f"Figure: {picture.description}"
    with Image.open(io.BytesIO(base64.b64decode(shown[2]))) as image:
        assert image.width <= 100 * (WIDTH + 0.4)  # beside the figure, names of rows may need a little more


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("history", "at first loss 2.300, at last loss 1.900. Right, after 2 epochs: training accuracy 0.250"),
        ("search", "The best has accuracy 0.400, with learning rate 0.001, hidden size 40"),
        ("confusion", "to take dog for cat"),
        ("sizes", "small: the output shrinks, the gradient grows. Kaiming: the output stays of one size"),
        ("study", "ReLU is best at depth 1, with accuracy 0.500"),
        ("speed", "10.00 ms with NumPy and 5.00 ms with PyTorch"),
        ("graph", "z2 is computed from X, W1 and b1"),
    ],
)
def test_a_description_tells_what_the_figure_shows(name, expected):
    assert expected in PICTURES[name]().description


@pytest.mark.parametrize("colour", [BLUE, ORANGE, GREEN])
def test_a_colour_is_legible_on_white(colour):
    """The contrast of WCAG 2.1: (1 + 0.05) / (L + 0.05), with the relative luminance L, is 4.5 or more."""
    channels = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    assert 1.05 / (linear @ [0.2126, 0.7152, 0.0722] + 0.05) >= 4.5


def test_a_card_takes_its_colours_from_the_theme():
    card = CheckFailed("a3", "wrong", place="here", cause="a slip")._repr_html_()
    assert "a slip" in card
    assert not re.search(r"(?<![-\w])(color|background)\b", card)


def test_words_are_listed():
    assert [listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
