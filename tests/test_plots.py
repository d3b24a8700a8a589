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
from course_utils.plots import boundaries, graph, pytorch, times, training
from course_utils.plots.style import BLUE, GREEN, ORANGE, WIDTH, Picture, listed

matplotlib.use("Agg")
_RNG = np.random.default_rng(0)
_SETTINGS = {"learning_rate": 1e-3, "hidden_size": 20, "reg": 1e-4, "batch_size": 200}
_STUDY = {"activation": "relu", "depth": 1, "train_accuracy": 0.6, "val_accuracy": 0.5, "test_accuracy": 0.49}

_SEARCH = [_SETTINGS | {"hidden_size": size, "num_iters": 100, "val_accuracy": size / 100} for size in (20, 40)]
_REPRESENTATIONS = [
    {"name": name, "val_accuracy": values}
    for name, values in {"pixels, linear": [0.4], "pixels": [0.5, 0.6], "HOG, linear": [0.45], "HOG": [0.6]}.items()
]
_PROBABILITIES = np.array([[0.3, 0.7], [0.9, 0.1], [0.2, 0.8]])
_TRAP = [
    {"depth": depth, "scale": scale, "val_accuracy": accuracy, "loss": loss, "classes": classes}
    for depth, scale, accuracy, loss, classes in (
        (1, 1e-4, 0.4, 1.6, 10), (3, 1e-4, 0.1, 2.3, 1), (1, None, 0.45, 1.5, 10), (3, None, 0.44, 1.5, 10),
    )
]  # fmt: skip
#: Arms of a spiral, and networks that decide for class 1 right of the line x = 0, and else for class 0.
_POINTS = np.array([[-1.0, 0.5], [1.0, 0.5], [1.0, -0.5]]), np.array([0, 1, 1])
_HALVES = {"linear": {}, "H = 1": {}, "H = 2": {}}


def _by_side(params, X):
    return {"z3": np.stack([-X[:, 0], X[:, 0]], axis=1)}


PICTURES = {
    "points": lambda: boundaries.draw_points(*_POINTS),
    "boundaries": lambda: boundaries.draw_boundaries(_by_side, _HALVES, *_POINTS, {"accuracy": 0.5, "hidden": None}),
    "boundary": lambda: boundaries.draw_boundaries(_by_side, {"H = 1": {}}, *_POINTS),
    "times without a prediction": lambda: times.draw_times([1, 100_000], {"a": [1, 2], "b": [1, 2]}, "fast"),
    "times": lambda: times.draw_times([1, 100], {"a loop": [1e-6, 1e-4], "relu": [1e-6, 2e-6]}, 10),
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
    "search": lambda: training.plot_search(_SEARCH, "hidden_size", 0.5),
    "search without a prediction": lambda: training.plot_search(_SEARCH, None, None),
    "comparison": lambda: training.plot_comparison([{"name": "a & b", "val_accuracy": [0.5, 0.6]}]),
    "confusion": lambda: training.plot_confusion(np.array([0, 0, 1, 1, 1]), np.array([0, 1, 1, 1, 1]), ["cat", "dog"]),
    "parity": lambda: pytorch.plot_parity({"z2": 0.0, "loss": 1e-15}, [1e-15, 1e-14]),
    "sizes": lambda: pytorch.plot_sizes({"small": ([1e-3, 1e-9], [1e-9, 1e-3]), "Kaiming": ([1.0, 1.1], [1.0, 0.9])}),
    "study": lambda: pytorch.plot_study([_STUDY, _STUDY | {"depth": 2, "test_accuracy": 0.4}], 2),
    "representations": lambda: training.plot_representations(_REPRESENTATIONS, "b", 0.7),
    "mistakes": lambda: training.show_mistakes(
        np.zeros((3, 32, 32, 3), np.uint8), np.array([0, 1, 1]), _PROBABILITIES, ["cat", "dog"]
    ),
    "trap": lambda: pytorch.plot_trap(_TRAP, 0.3),
    "trap, interrupted": lambda: pytorch.plot_trap(_TRAP[:1], 0.3),
    "layers": lambda: pytorch.plot_layers(lambda sigma: [sigma, sigma**2], [0.1, "x", 1.0], 0.5),
    "layers that vanish": lambda: pytorch.plot_layers(lambda sigma: [sigma, 0.0], [0.1], None),
    "no layers": lambda: pytorch.plot_layers(lambda sigma: [sigma, sigma], "all of them", "all of them"),
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
        ("boundaries", "linear: accuracy 1.00; H = 1: accuracy 1.00"),
        ("boundaries", "Linear: predicted 0.5 of the points right; seen accuracy 1.00. More than 95% right: No pred"),
        ("times", "100 entries: predicted 10 times as long; seen 50 times as long, 0.100 ms in place of 0.002 ms."),
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


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("search", "predicted hidden size; seen hidden size, means differ by 0.200"),
        ("search", "Best validation accuracy: predicted 0.5; seen accuracy 0.400."),
        ("search without a prediction", "No prediction yet."),
        ("study", "predicted 2; seen 1, in the mean of all activations."),
        ("representations", "predicted the linear classifier on HOG; seen the network on pixels."),
        ("trap", "predicted 0.3; seen accuracy 0.100."),
        ("trap, interrupted", "seen no such net."),
        ("layers", "predicted 0.5; seen 1, of those drawn."),
        ("layers that vanish", "No prediction yet."),
        ("no layers", "must be a number from 1e-06 to 10"),
    ],
)
def test_a_figure_shows_prediction_and_result_together(name, told):
    assert told in PICTURES[name]().description


def test_mistakes_are_shown_surest_first():
    assert "2 of 2 photographs" in PICTURES["mistakes"]().description
    assert PICTURES["mistakes"]().description.endswith("dog taken for cat, cat taken for dog.")


def test_regions_are_those_of_the_decisions():
    picture = PICTURES["boundary"]()
    (axes,) = picture.figure.axes
    decided = np.asarray(axes.images[0].get_array())
    assert (decided[:, :60] == 0).all() and (decided[:, 60:] == 1).all()
    # Upwards and to the right, as the points' axes are.
    assert axes.images[0].origin == "lower"


def test_a_slider_draws_each_number_once(monkeypatch):
    monkeypatch.setattr(boundaries, "watched", lambda: True)
    asked = []

    class Drawn:
        def __init__(self, number: int) -> None:
            asked.append(number)
            self.number = number

        def _repr_html_(self) -> str:
            return f"drawn {self.number}"

    slider, shown = boundaries.slide(Drawn, 1, 50, "hidden units").children
    assert (slider.min, slider.max, shown.value) == (1, 50, "drawn 1")
    for number in (7, 1, 7):
        slider.value = number
        assert shown.value == f"drawn {number}"
    assert asked == [1, 7]


def test_a_slider_is_for_people(monkeypatch):
    monkeypatch.setattr(boundaries, "watched", lambda: False)
    assert boundaries.slide(lambda number: None, 1, 50, "hidden units") is None
    monkeypatch.setattr(boundaries, "watched", lambda: True)
    monkeypatch.setenv("NBGRADER_EXECUTION", "autograde")
    assert boundaries.slide(lambda number: None, 1, 50, "hidden units") is None


def test_the_shortest_time_is_taken(monkeypatch):
    clock = iter([0.0, 0.5, 1.0, 1.1, 2.0, 2.9])
    monkeypatch.setattr(times.time, "perf_counter", lambda: next(clock))
    monkeypatch.setattr(times, "_LONG_ENOUGH", 1.4)
    assert times.seconds(np.abs, np.ones(3)) == pytest.approx(0.1)
