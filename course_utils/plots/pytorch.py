"""The figures and tables of notebook 5: parity, depth and activation, sizes of activations, speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.plots.style import BLUE, GREEN, ORANGE, WIDTH, Picture, finished, plain
from course_utils.predictions import compare, mark, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {"relu": BLUE, "tanh": ORANGE, "gelu": GREEN}
_MARKERS = {"relu": "o", "tanh": "s", "gelu": "^"}
_NAMES = {"relu": "ReLU", "tanh": "tanh", "gelu": "GELU"}
_EPSILON = float(np.finfo(np.float64).eps)


def plot_parity(deviations: Mapping[str, float], by_step: Sequence[float]) -> Picture:
    """How far two networks are apart: quantity by quantity, and over the steps of a training.

    Parameters
    ----------
    deviations : mapping
        Name of a quantity -> largest absolute deviation.
    by_step : sequence of float
        Largest absolute deviation of a parameter after each step.
    """
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.5))
    # Where nothing differs at all, a logarithmic axis needs a place to say so.
    least = _EPSILON / 20
    left.scatter(np.maximum(list(deviations.values()), least), range(len(deviations)), color=BLUE, zorder=2)
    left.set_yticks(range(len(deviations)), list(deviations))
    left.invert_yaxis()
    left.set(xscale="log", xlim=(least / 2, 1e-10), xlabel="largest deviation (left edge: none)", title="One batch")
    _mark(left.axvline, left, 1e-12)
    right.semilogy(np.arange(1, len(by_step) + 1), np.maximum(by_step, least), color=BLUE, marker=".")
    right.set(ylim=(least / 2, 1e-7), xlabel="step", ylabel="largest deviation of a parameter", title="Training")
    _mark(right.axhline, right, 1e-9)
    for axes in (left, right):
        plain(axes)
    largest = max(deviations.values())
    return finished(
        figure,
        f"Left, the deviations of {len(deviations)} quantities between NumPy and PyTorch: all below {_power(largest)}."
        f" Right, that of the parameters over {len(by_step)} steps of training: below {_power(max(by_step))}.",
    )


def _power(value: float) -> str:
    """The power of ten above a deviation; of those near round-off, that of the bound that is drawn."""
    return f"1e{int(np.ceil(np.log10(max(value, 1e-12))))}"


def _mark(line: Any, axes: Axes, bound: float) -> None:
    line(_EPSILON, color="0.6", linestyle=":", linewidth=1.2, label=r"resolution of double precision")
    line(bound, color=ORANGE, linestyle="--", linewidth=1.2, label=f"bound, {bound:.0e}")
    axes.legend(frameon=False, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.22))


def print_results(results: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    """Print validation and test accuracy of several nets, the best first.

    Parameters
    ----------
    results : mapping
        Name -> a row for each seed with ``val_accuracy`` and ``test_accuracy``, 0..1.
    """
    print(f"{'':32}  validation               10,000 test images")
    ordered = sorted(results.items(), key=lambda item: -np.mean([row["val_accuracy"] for row in item[1]]))
    for name, rows in ordered:
        print(f"{name:32}  {_spread(rows, 'val_accuracy'):23}  {_spread(rows, 'test_accuracy')}".rstrip())
    print("Means; in brackets the smallest and the largest of the seeds.")


def _spread(rows: Sequence[Mapping[str, float]], key: str) -> str:
    values = [row[key] for row in rows]
    if not values:
        return "not trained"
    mean = f"{np.mean(values):.4f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.3f} to {max(values):.3f})"


def plot_trap(rows: Sequence[Mapping[str, Any]], accuracy: object) -> Picture:
    """What becomes of nets by depth and scale of their first weights.

    Parameters
    ----------
    rows : sequence of mappings
        ``depth`` (hidden layers), ``scale`` (a float, or None for Kaiming initialisation),
        ``val_accuracy``, ``loss`` and ``classes``, how many different answers the net gives.
    accuracy : object
        What the student expects of three hidden layers and the small scale.
    """
    import matplotlib.pyplot as plt

    expected = number("accuracy with three hidden layers and small weights", accuracy, 0, 1)
    figure, (left, right) = plt.subplots(1, 2, figsize=(WIDTH, 3.4))
    described, seen = [], "no such net"
    for scale, colour, marker in zip(dict.fromkeys(row["scale"] for row in rows), (ORANGE, BLUE), "os", strict=False):
        own = sorted((row for row in rows if row["scale"] == scale), key=lambda row: row["depth"])
        label = "Kaiming initialisation" if scale is None else f"all weights of size {scale:g}"
        depths = [row["depth"] for row in own]
        for axes, key in ((left, "val_accuracy"), (right, "loss")):
            axes.plot(depths, [row[key] for row in own], marker=marker, color=colour, label=label)
        for row in own:
            left.annotate(
                str(row["classes"]), (row["depth"], row["val_accuracy"]), ha="center", fontsize=8, color=colour,
                xytext=(0, 7 if scale is None else -14), textcoords="offset points",
            )  # fmt: skip
            described.append(
                f"{label}, depth {row['depth']}: accuracy {row['val_accuracy']:.3f}, different answers {row['classes']}"
            )
            if scale is not None and row["depth"] == 3:
                seen = f"accuracy {row['val_accuracy']:.3f}"
    if expected.value is not None:
        left.plot(3, expected.value, marker="D", color=GREEN, linestyle="none")
        left.annotate(
            "your prediction", (3, expected.value), xytext=(8, 0), textcoords="offset points", va="center", fontsize=8,
            color=GREEN,
        )  # fmt: skip
    left.set(ylabel="validation accuracy", title="Accuracy (numbers: different answers)", ylim=(0, 0.6))
    left.title.set_fontsize(10)
    right.axhline(np.log(10), color="0.6", linestyle=":", label="log 10")
    right.set(ylabel="loss of the last 100 batches", title="Loss")
    for axes in (left, right):
        axes.set_xticks(sorted({row["depth"] for row in rows}))
        axes.set_xlabel("hidden layers")
        plain(axes)
    right.legend(frameon=False, fontsize=8)
    told = compare(figure, [expected], [seen])
    return finished(
        figure, f"Validation accuracy and number of different answers by hidden layers. {'; '.join(described)}. {told}"
    )


def plot_layers(through_layers: Callable[[float], Sequence[float]], sigmas: object, predicted: object) -> Picture:
    """How large the numbers are that go through many random layers.

    Parameters
    ----------
    through_layers : callable
        Standard deviation of the weights -> mean size of the numbers after each layer.
    sigmas : object
        The standard deviations that are tried; what is no number from 1e-6 to 10 is left out.
    predicted : object
        The standard deviation that the student expects to keep the size.
    """
    import matplotlib.pyplot as plt

    expected = number("standard deviation that keeps the size", predicted, 1e-6, 10)
    tried = [number("", sigma, 1e-6, 10).value for sigma in sigmas] if isinstance(sigmas, (list, tuple)) else []
    figure, axes = plt.subplots(figsize=(WIDTH - 1, 3.8))
    looks = [(colour, style) for style in ("-", "-.", ":") for colour in (BLUE, ORANGE, "black")]
    lines = [
        (sigma, *looks[place % len(looks)], f"{sigma:g}")
        for place, sigma in enumerate(sigma for sigma in tried if sigma is not None)
    ]
    if expected.value is not None:
        lines.append((expected.value, GREEN, "--", f"{expected.value:g}, your prediction"))
    changes = {}
    for sigma, colour, style, label in lines:
        sizes = np.asarray(through_layers(sigma), dtype=np.float64)
        axes.semilogy(np.arange(1, len(sizes) + 1), sizes, linestyle=style, color=colour, label=rf"$\sigma$ = {label}")
        changes[sigma] = float(np.log10(sizes[-1] / sizes[0])) if sizes.min() > 0 else -np.inf
    for bound in (np.finfo(np.float32).tiny, np.finfo(np.float32).max):
        axes.axhline(float(bound), color="0.6", linewidth=1)
    axes.text(
        0.98, 1e-37, "between the grey lines: the range of float32", transform=axes.get_yaxis_transform(), fontsize=8,
        color="0.35", ha="right", va="bottom",
    )  # fmt: skip
    axes.set(xlabel="layer", ylabel="mean size of the numbers", title="Through many random layers with the ReLU")
    if lines:
        axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    plain(axes)
    least = min(changes, key=lambda sigma: abs(changes[sigma]), default=None)
    told = compare(figure, [expected], ["nothing" if least is None else f"{least:g}, of those drawn"])
    courses = [f"with {sigma:g} by 10 to the {change:.0f}" for sigma, change in changes.items()]
    return finished(
        figure, f"From the first to the last layer the size of the numbers changes {'; '.join(courses)}. {told}"
    )


def plot_sizes(sizes: Mapping[str, tuple[Sequence[float], Sequence[float]]]) -> Picture:
    """Sizes of the numbers in each layer, of the forward pass and of the gradients.

    Parameters
    ----------
    sizes : mapping
        Label -> root mean squares of the outputs z_2, z_3, ... of the layers, and of the
        gradients of their weights W_1, W_2, ...
    """
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, 2, figsize=(WIDTH, 3.4), sharey=True)
    for (label, pair), colour, marker in zip(sizes.items(), (ORANGE, BLUE), "os", strict=False):
        for axes, values in zip(panels, pair, strict=True):
            axes.semilogy(range(1, len(values) + 1), values, marker=marker, color=colour, label=label)
    layers = range(1, 1 + len(next(iter(sizes.values()))[0]))
    panels[0].set(title="Forward: output $z_{l+1}$ of layer $l$", ylabel="root mean square")
    panels[1].set(title="Backward: gradient of $W_l$")
    panels[0].legend(frameon=False, loc="lower left")
    for axes in panels:
        axes.set_xticks(layers)
        axes.set_xlabel("layer $l$")
        plain(axes)
    first_to_last = [
        f"{label}: the output {_course(forward)}, the gradient {_course(backward)}"
        for label, (forward, backward) in sizes.items()
    ]
    return finished(
        figure,
        f"Root mean square of each layer's output and of its weights' gradient, from the first of {len(layers)} layers"
        f" to the last. {'. '.join(first_to_last)}.",
    )


def _course(values: Sequence[float]) -> str:
    ratio = values[-1] / values[0]
    return "stays of one size" if 0.1 < ratio < 10 else "shrinks" if ratio < 1 else "grows"


def _groups(rows: Sequence[Mapping[str, Any]]) -> list[tuple[str, int, list[Mapping[str, Any]]]]:
    """Activation, depth and their rows, the best mean validation accuracy first."""
    keys = sorted({(row["activation"], row["depth"]) for row in rows})
    groups = [(*key, [row for row in rows if (row["activation"], row["depth"]) == key]) for key in keys]
    return sorted(groups, key=lambda group: -np.mean([row["val_accuracy"] for row in group[2]]))


def print_study(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print a study of depth and activation, the best first.

    Parameters
    ----------
    rows : sequence of mappings
        One for each training: ``activation``, ``depth`` (hidden layers), and
        ``train_accuracy``, ``val_accuracy``, ``test_accuracy``, 0..1.
    """
    print("activation   hidden layers   validation                10,000 test images        training")
    for activation, depth, group in _groups(rows):
        print(
            f"{_NAMES[activation]:12} {depth:^13d}   {_spread(group, 'val_accuracy'):23}   "
            f"{_spread(group, 'test_accuracy'):23}   {np.mean([row['train_accuracy'] for row in group]):.4f}"
        )
    print("Means; in brackets the smallest and the largest of the seeds.")


def plot_study(rows: Sequence[Mapping[str, Any]], best_depth: object) -> Picture:
    """Accuracy against depth for each activation: points for seeds, lines for means.

    Parameters
    ----------
    rows : sequence of mappings
        As for :func:`print_study`.
    best_depth : object
        What the student expects: the number of hidden layers that is best on the test images.
    """
    import matplotlib.pyplot as plt

    all_depths = sorted({row["depth"] for row in rows})
    expected = number("hidden layers that are best on the test images", best_depth, all_depths[0], all_depths[-1])
    figure, panels = plt.subplots(1, 3, figsize=(WIDTH, 3.4), sharey=True)
    activations = [name for name in _NAMES if any(row["activation"] == name for row in rows)]
    titles = {"val_accuracy": "Validation", "test_accuracy": "10,000 test images", "train_accuracy": "Training"}
    for axes, (key, title) in zip(panels, titles.items(), strict=True):
        for place, activation in enumerate(activations):
            shift = 0.1 * (place - (len(activations) - 1) / 2)  # so that points don't cover each other
            own = [row for row in rows if row["activation"] == activation]
            depths = sorted({row["depth"] for row in own})
            means = [np.mean([row[key] for row in own if row["depth"] == depth]) for depth in depths]
            style = {"color": _COLOURS[activation], "marker": _MARKERS[activation]}
            axes.plot(np.add(depths, shift), means, label=_NAMES[activation], markersize=6, **style)
            axes.scatter(
                [row["depth"] + shift for row in own], [row[key] for row in own], s=20, alpha=0.4, linewidths=0, **style
            )
        mark(axes, expected)
        axes.set_xticks(all_depths)
        axes.set(xlabel="hidden layers", title=title)
        plain(axes)
    panels[0].set_ylabel("accuracy (points: seeds; lines: means)")
    panels[0].legend(frameon=False)
    activation, depth, best = _groups(rows)[0]
    of_test = {
        depth: np.mean([row["test_accuracy"] for row in rows if row["depth"] == depth]) for depth in all_depths
    }  # fmt: skip
    told = compare(figure, [expected], [f"{max(of_test, key=of_test.__getitem__)}, in the mean of all activations"])
    return finished(
        figure,
        f"Accuracy on validation, test and training data against the number of hidden layers, a line for each"
        f" activation. On the validation data {_NAMES[activation]} is best at depth {depth}, with accuracy"
        f" {np.mean([row['val_accuracy'] for row in best]):.3f}. {told}",
    )


def plot_speed(rows: Sequence[Mapping[str, Any]]) -> Picture:
    """Time of a training step against the number of hidden units, one panel for each batch size.

    Parameters
    ----------
    rows : sequence of mappings
        ``batch_size``, ``hidden_size``, and for each contestant its name -> milliseconds per step.
    """
    import matplotlib.pyplot as plt

    batch_sizes = sorted({row["batch_size"] for row in rows})
    contestants = [key for key in rows[0] if key not in ("batch_size", "hidden_size")]
    figure, (panels,) = plt.subplots(1, len(batch_sizes), figsize=(WIDTH, 3.2), sharey=True, squeeze=False)
    for axes, batch_size in zip(panels, batch_sizes, strict=True):
        own = sorted((row for row in rows if row["batch_size"] == batch_size), key=lambda row: row["hidden_size"])
        sizes = [row["hidden_size"] for row in own]
        for contestant, marker in zip(contestants, "os^", strict=False):
            axes.loglog(sizes, [row[contestant] for row in own], marker=marker, label=contestant)
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set(xlabel="hidden units", title=f"batches of {batch_size}")
        plain(axes)
    panels[0].set_ylabel("milliseconds per step")
    panels[0].legend(frameon=False)
    largest = max(rows, key=lambda row: (row["batch_size"], row["hidden_size"]))
    times = " and ".join(f"{largest[name]:.2f} ms with {name}" for name in contestants)
    return finished(
        figure,
        "Time of a training step against the number of hidden units, a line for each contestant. The largest step"
        f" takes {times}.",
    )
