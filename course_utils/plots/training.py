"""The figures of notebook 4: images, training curves, weights, the results of a search."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.plots.style import BLUE, GREEN, ORANGE, WIDTH, Picture, finished, listed, plain
from course_utils.predictions import choice, compare, mark, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

TRAINING_COLOUR = BLUE
VALIDATION_COLOUR = ORANGE
SETTING_NAMES = ("learning_rate", "hidden_size", "reg", "batch_size")
_IMAGE_SHAPE = (32, 32, 3)


def show_classes(images: np.ndarray, labels: np.ndarray, class_names: Sequence[str], per_class: int = 12) -> Picture:
    """The first images of each class, one row a class.

    Parameters
    ----------
    images : (N, 32, 32, 3) uint8 array
    labels : (N,) int array
    class_names : sequence of str
        Name of class 0, 1, ...
    per_class : int
        Images in a row.
    """
    import matplotlib.pyplot as plt

    sheet = np.concatenate(
        [
            np.concatenate(list(_framed(images[np.flatnonzero(labels == index)[:per_class]])), axis=1)
            for index in range(len(class_names))
        ]
    )
    figure, axes = plt.subplots(figsize=(WIDTH, 0.56 * len(class_names)))
    axes.imshow(sheet)
    step = sheet.shape[0] / len(class_names)
    axes.set_yticks((np.arange(len(class_names)) + 0.5) * step, class_names)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return finished(figure, f"{per_class} photographs of each class, a row each: {listed(list(class_names))}.")


def _framed(images: np.ndarray) -> np.ndarray:
    return np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=255)


def plot_history(history: Mapping[str, Sequence[float]]) -> Picture:
    """The loss of every batch beside the accuracies after every epoch.

    Parameters
    ----------
    history : mapping
        ``loss``, one value an iteration; ``train_accuracy`` and ``val_accuracy``, one an epoch, 0..1.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.0))
    losses = np.asarray(history["loss"], dtype=np.float64)
    left.plot(np.arange(1, len(losses) + 1), losses, color=TRAINING_COLOUR, alpha=0.3, linewidth=0.8, label="one batch")
    window = max(len(losses) // 40, 1)
    if window > 1:
        mean = np.convolve(losses, np.ones(window) / window, mode="valid")
        left.plot(np.arange(window, len(losses) + 1), mean, color=TRAINING_COLOUR, label=f"mean of {window}")
        left.legend(frameon=False)
    left.set(xlabel="iteration", ylabel=r"loss $\tilde J$", title="Loss")
    for key, colour, label in (
        ("train_accuracy", TRAINING_COLOUR, "training"),
        ("val_accuracy", VALIDATION_COLOUR, "validation"),
    ):
        values = np.asarray(history[key])
        marker = "o" if len(values) <= 40 else None
        right.plot(np.arange(1, len(values) + 1), values, marker=marker, markersize=4, color=colour, label=label)
    right.set(xlabel="epoch", ylabel="accuracy", title="Accuracy")
    right.xaxis.get_major_locator().set_params(integer=True)
    right.legend(frameon=False)
    for axes in (left, right):
        plain(axes)
    return finished(figure, _history_described(losses, history))


def _history_described(losses: np.ndarray, history: Mapping[str, Sequence[float]]) -> str:
    text = f"Left, the loss of {len(losses):,} batches: at first loss {losses[0]:.3f}, at last loss {losses[-1]:.3f}."
    accuracies = [
        f"{name} accuracy {history[key][-1]:.3f}"
        for key, name in (("train_accuracy", "training"), ("val_accuracy", "validation"))
        if len(history[key])
    ]
    return f"{text} Right, after {len(history['val_accuracy'])} epochs: {listed(accuracies)}." if accuracies else text


def show_weights(W1: np.ndarray, columns: int = 14, most: int = 100) -> Picture:
    """The weights that lead to each hidden unit, drawn as a picture.

    Parameters
    ----------
    W1 : (3072, H) array
        Each column is scaled by itself: grey is 0, full colour its largest weight.
    columns : int
        Pictures in a row.
    most : int
        With more hidden units, those with the largest weights are shown.
    """
    import matplotlib.pyplot as plt

    weights = np.asarray(W1, dtype=np.float64).T
    shown = np.sort(np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:most])
    largest = np.abs(weights[shown]).max(axis=1, keepdims=True)
    pictures = 0.5 + 0.5 * weights[shown] / np.where(largest > 0, largest, 1)
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    blank = np.ones((rows * columns - len(pictures), *_IMAGE_SHAPE))
    tiles = np.concatenate([pictures.reshape(-1, *_IMAGE_SHAPE), blank])
    tiles = np.pad(tiles, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=1.0)
    sheet = tiles.reshape(rows, columns, 34, 34, 3).swapaxes(1, 2).reshape(rows * 34, columns * 34, 3)
    figure, axes = plt.subplots(figsize=(0.54 * columns, 0.54 * rows + 0.4))
    axes.imshow(sheet)
    axes.axis("off")
    total = weights.shape[0]
    title = f"Weights of {total} hidden units"
    if total > most:
        title = f"Weights of {most} of {total} hidden units, those with the largest weights"
    axes.set_title(title, fontsize=11)
    return finished(figure, f"{title}, each drawn as a coloured picture of 32 by 32 pixels: grey is a weight of 0.")


def plot_search(rows: Sequence[Mapping[str, Any]], most_important: object, best_accuracy: object) -> Picture:
    """What each setting of a search brings.

    Parameters
    ----------
    rows : sequence of mappings
        One for each training: ``learning_rate``, ``hidden_size``, ``reg``, ``batch_size``,
        ``num_iters`` (iterations so far) and ``val_accuracy``. Where a search looks at a training
        more than once, it has several rows, and a line joins them.
    most_important, best_accuracy : object
        What the student expects: the setting whose values make the largest difference, and the best accuracy.
    """
    import matplotlib.pyplot as plt

    options = {name: name.replace("_", " ") for name in SETTING_NAMES}
    important = choice("most important setting", most_important, options)
    expected = number("best validation accuracy", best_accuracy, 0, 1)
    stages = sorted({row["num_iters"] for row in rows})
    colours = dict(zip(stages, plt.get_cmap("viridis")(np.linspace(0.85, 0.05, len(stages))), strict=True))
    figure, panels = plt.subplot_mosaic(
        [["progress"] * len(SETTING_NAMES), list(SETTING_NAMES)], figsize=(WIDTH, 6.2), sharey=True
    )
    if expected.value is not None:
        panels["progress"].axhline(expected.value, color=GREEN, linestyle="--", linewidth=1.5, label="your prediction")
    _draw_progress(panels["progress"], rows, stages, colours)
    differences = {name: _difference_of_means(rows, name) for name in SETTING_NAMES}
    for name in SETTING_NAMES:
        _draw_effect(panels[name], name, rows, stages, colours)
        predicted = name == important.value
        title = f"differ by {differences[name]:.3f}" + "\nyour prediction" * predicted
        panels[name].set_title(title, fontsize=9, color=GREEN if predicted else "0.4")
        panels[name].label_outer()
    for name in ("progress", SETTING_NAMES[0]):
        panels[name].set_ylabel("validation accuracy")
    best = max(rows, key=lambda row: row["val_accuracy"])
    settings = listed([f"{name.replace('_', ' ')} {best[name]:g}" for name in SETTING_NAMES])
    largest = max(SETTING_NAMES, key=lambda name: differences[name])
    found = [
        f"{options[largest]}, means differ by {differences[largest]:.3f}",
        f"accuracy {best['val_accuracy']:.3f}",
    ]
    told = compare(figure, [important, expected], found)
    return finished(
        figure,
        f"Validation accuracy of {len(rows)} trainings against their length, and by each setting. The best has"
        f" accuracy {best['val_accuracy']:.3f}, with {settings}, after {best['num_iters']:,} iterations. {told}",
    )


def _difference_of_means(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """The largest less the smallest of the means by a setting's values, after the round that tried most settings."""
    rounds = [row["num_iters"] for row in rows]
    most = max(set(rounds), key=lambda num_iters: (rounds.count(num_iters), -num_iters))
    by_value: dict[Any, list[float]] = {}
    for row in rows:
        if row["num_iters"] == most:
            by_value.setdefault(row[name], []).append(row["val_accuracy"])
    means = [float(np.mean(found)) for found in by_value.values()]
    return max(means) - min(means)


def _draw_progress(axes: Axes, rows: Sequence[Mapping[str, Any]], stages: list[int], colours: dict) -> None:
    curves: dict[tuple, list[tuple[int, float]]] = {}
    for row in rows:
        key = tuple(row[name] for name in SETTING_NAMES)
        curves.setdefault(key, []).append((row["num_iters"], row["val_accuracy"]))
    for points in curves.values():
        axes.plot(*zip(*sorted(points), strict=True), color="0.75", linewidth=0.7, zorder=1)
    for stage in stages:
        values = [row["val_accuracy"] for row in rows if row["num_iters"] == stage]
        label = f"{len(values)} settings, {stage:,} iterations"
        axes.scatter([stage] * len(values), values, s=14, color=colours[stage], label=label, zorder=2)
    axes.set(xlabel="iterations", title="How the search went", xlim=(0, 1.06 * stages[-1]))
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    plain(axes)


def _draw_effect(axes: Axes, name: str, rows: Sequence[Mapping[str, Any]], stages: list[int], colours: dict) -> None:
    values = sorted({row[name] for row in rows})
    for stage in stages:
        means = []
        for place, value in enumerate(values):
            found = [row["val_accuracy"] for row in rows if row["num_iters"] == stage and row[name] == value]
            # Points of one value are spread sideways, so that they don't cover each other.
            spread = np.linspace(-0.28, 0.28, len(found)) if len(found) > 1 else np.zeros(len(found))
            axes.scatter(place + spread, sorted(found), s=9, color=colours[stage], alpha=0.6, linewidths=0)
            means.append(np.mean(found) if found else np.nan)
        axes.plot(range(len(values)), means, color=colours[stage], marker="_", markersize=13, linewidth=1.2)
    axes.set_xticks(range(len(values)), [f"{value:g}" for value in values])
    axes.set(xlabel=name.replace("_", " "), xlim=(-0.5, len(values) - 0.5))
    plain(axes)


def print_best(rows: Sequence[Mapping[str, Any]], number: int = 8) -> None:
    """Print the best trainings of a search, the best first; ``rows`` as for :func:`plot_search`."""
    for row in sorted(rows, key=lambda row: -row["val_accuracy"])[:number]:
        print(
            f"accuracy {row['val_accuracy']:.3f}   learning_rate {row['learning_rate']:<6g} "
            f"hidden_size {row['hidden_size']:<4d} reg {row['reg']:<7g} batch_size {row['batch_size']:<4d} "
            f"iterations {row['num_iters']}"
        )


def plot_comparison(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Validation accuracy of several ways to train: a point for each seed, a bar at the mean.

    Parameters
    ----------
    rows : sequence of mappings
        ``name``, and ``val_accuracy``: one value for each seed, 0..1.
    """
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(WIDTH - 0.6, 0.42 * len(rows) + 1.1))
    _draw_ways(axes, rows)
    return finished(figure, f"Mean validation accuracy of {len(rows)} ways to train: {_means_of(rows)}.")


def plot_representations(rows: Sequence[Mapping[str, Any]], better: object, best_accuracy: object) -> Picture:
    """What a representation is worth to two classifiers.

    Parameters
    ----------
    rows : sequence of mappings
        As for :func:`plot_comparison`, in this order: pixels with the linear classifier, pixels with the network, HOG
        with the linear classifier, HOG with the network.
    better, best_accuracy : object
        What the student expects: "a" or "b", see the notebook, and the accuracy of the network on HOG.
    """
    import matplotlib.pyplot as plt

    options = {"a": "the network on pixels", "b": "the linear classifier on HOG"}
    which = choice("the better one", better, options)
    expected = number("accuracy of the network on HOG", best_accuracy, 0, 1)
    _, network, linear, both = (float(np.mean(row["val_accuracy"])) for row in rows)
    figure, axes = plt.subplots(figsize=(WIDTH - 0.6, 0.42 * len(rows) + 1.1))
    mark(axes, expected)
    _draw_ways(axes, rows)
    found = [options["a" if network > linear else "b"], f"accuracy {both:.3f}"]
    told = compare(figure, [which, expected], found)
    return finished(figure, f"Mean validation accuracy: {_means_of(rows)}. {told}")


def _draw_ways(axes: Axes, rows: Sequence[Mapping[str, Any]]) -> None:
    for place, row in enumerate(rows):
        values = np.atleast_1d(row["val_accuracy"])
        axes.scatter(values, [place] * len(values), s=22, color=VALIDATION_COLOUR, alpha=0.5, linewidths=0)
        axes.scatter(np.mean(values), place, marker="|", s=220, linewidths=2, color="black")
        axes.annotate(f"{np.mean(values):.3f}", (1.01, place), xycoords=("axes fraction", "data"), va="center")
    axes.set_yticks(range(len(rows)), [row["name"] for row in rows])
    axes.invert_yaxis()
    axes.set(xlabel="validation accuracy (points: seeds; bars and numbers: means)")
    plain(axes)


def _means_of(rows: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{row['name']}, accuracy {np.mean(row['val_accuracy']):.3f}" for row in rows)


def show_mistakes(
    images: np.ndarray, labels: np.ndarray, probabilities: np.ndarray, class_names: Sequence[str], most: int = 24
) -> Picture:
    """The photographs that a network mistakes, those first of which it is surest.

    Parameters
    ----------
    images : (N, 32, 32, 3) uint8 array
    labels : (N,) int array
        True classes.
    probabilities : (N, K) array
        The network's.
    class_names : sequence of str
    most : int
        So many are shown.
    """
    import matplotlib.pyplot as plt

    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != labels)
    shown = wrong[np.argsort(-sure[wrong], kind="stable")[:most]]
    columns = 6
    rows = max(-(-len(shown) // columns), 1)
    figure, panels = plt.subplots(rows, columns, figsize=(WIDTH, 1.55 * rows), squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    said = []
    for axes, index in zip(panels.flat, shown, strict=False):
        true, taken = class_names[labels[index]], class_names[predicted[index]]
        axes.imshow(images[index])
        axes.set_title(f"{true}, taken\nfor {taken}, {100 * sure[index]:.0f} %", fontsize=8)
        said.append(f"{true} taken for {taken}")
    return finished(
        figure,
        f"{len(shown)} of {len(wrong)} photographs that the network mistakes, those first of which it is surest:"
        f" {', '.join(said) or 'none'}.",
    )


def plot_confusion(predicted: np.ndarray, labels: np.ndarray, class_names: Sequence[str]) -> Picture:
    """How often each class is taken for which.

    Parameters
    ----------
    predicted, labels : (N,) int arrays
    class_names : sequence of str
    """
    import matplotlib.pyplot as plt

    counts = np.zeros((len(class_names), len(class_names)))
    np.add.at(counts, (labels, predicted), 1)
    shares = 100 * counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = plt.subplots(figsize=(6.4, 5.4))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    for row, column in np.ndindex(shares.shape):
        colour = "white" if shares[row, column] > 50 else "black"
        axes.text(column, row, f"{shares[row, column]:.0f}", ha="center", va="center", fontsize=9, color=colour)
    axes.set_xticks(range(len(class_names)), class_names, rotation=45, ha="right")
    axes.set_yticks(range(len(class_names)), class_names)
    axes.set(xlabel="predicted class", ylabel="true class", title="Of 100 images of a class, so many are taken for")
    axes.tick_params(length=0)
    return finished(figure, _confusion_described(shares, class_names))


def _confusion_described(shares: np.ndarray, class_names: Sequence[str]) -> str:
    right = np.diag(shares)
    mistaken = shares - np.diag(right)
    row, column = (int(place) for place in np.unravel_index(np.argmax(mistaken), mistaken.shape))
    best, worst = class_names[int(np.argmax(right))], class_names[int(np.argmin(right))]
    return (
        f"Table of true against predicted classes. {best} is recognised most often, {worst} least; the commonest"
        f" mistake is to take {class_names[row]} for {class_names[column]}."
    )
