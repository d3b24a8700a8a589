"""Train with the reported settings and print the results beside the reported ones.

``python -m benchmarks.reproduce`` takes some minutes. The reported values are those of the
student's report of 2020 on which the assignment is built.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from course_utils.data import Splits, cifar10_splits
from course_utils.evaluation import classify, classify_mlp, load_mlp, load_network
from course_utils.handover import definitions
from course_utils.reference import PUBLISHED_TOY_LOSS, PUBLISHED_TOY_SCORES, problem, toy_problem

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks" / "two_layer_net"
SEEDS = range(5)
#: The best setting of the report's grid, trained for 4,000 iterations.
REPORTED_BEST = {
    "learning_rate": 2e-3, "learning_rate_decay": 0.95, "reg": 1e-4, "num_iters": 4000, "batch_size": 400,
}  # fmt: skip


def spread(values: Iterable[float], digits: int = 3) -> str:
    """Mean, smallest and largest of some values."""
    values = list(values)
    return f"{np.mean(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def accuracies(
    solution: dict[str, Any], data: Splits, hidden_size: int, settings: dict[str, float]
) -> tuple[list[float], list[float]]:
    """Validation accuracy, and accuracy on all of the test data, of one network for each seed."""
    validation, test = [], []
    for seed in tqdm(SEEDS, desc=f"{hidden_size} hidden units, {settings['num_iters']} iterations", leave=False):
        params, _ = solution["train"](
            solution["initial_params"](hidden_size, rng=seed),
            data.X_train, data.y_train, data.X_val, data.y_val, **settings, rng=seed,
        )  # fmt: skip
        validation.append(float(np.mean(solution["predict"](params, data.X_val) == data.y_val)))
        test.append(float(np.mean(solution["predict"](params, data.X_test) == data.y_test)))
    return validation, test


def first_three_notebooks(add: Callable[..., None]) -> None:
    """The toy network's scores, loss and relative errors."""
    first = definitions(NOTEBOOKS / "1_forward_check.ipynb")
    toy = problem("toy")
    scores = first["forward"](toy.params, toy.X)["a3"]
    add("1", "summed difference of the toy scores", "2.9e-08", f"{np.abs(scores - PUBLISHED_TOY_SCORES).sum():.1e}")
    difference = abs(first["loss"](toy.params, toy.X, toy.y, toy.reg) - PUBLISHED_TOY_LOSS)
    add("1", "difference of the toy loss", "1.7e-13", f"{difference:.1e}")
    second = definitions(NOTEBOOKS / "2_backprop_derivation.ipynb")
    third = definitions(NOTEBOOKS / "3_gradient_check.ipynb")
    errors = third["check_gradients"](
        lambda params: first["loss"](params, toy.X, toy.y, toy.reg),
        toy.params,
        second["backward"](toy.params, toy.X, toy.y, toy.reg),
    )
    reported = {"W1": "3.6e-09", "W2": "3.4e-09", "b1": "2.7e-09", "b2": "4.4e-11"}
    for name, error in errors.items():
        add("3", f"maximum relative error of {name}", reported[name], f"{error:.1e}")


def fourth_notebook(add: Callable[..., None]) -> None:
    """Training: the toy problem, the default settings, the report's best, and the network handed in."""
    solution = definitions(NOTEBOOKS / "4_cifar10_tuning.ipynb")
    params, X, y = toy_problem()
    toy_settings = {"learning_rate": 0.1, "learning_rate_decay": 0.95, "reg": 5e-6, "num_iters": 100, "batch_size": 200}
    _, history = solution["train"](params, X, y, X, y, **toy_settings, rng=0)
    add("4", "toy training loss after 100 iterations", "0.015", f"{history['loss'][-1]:.3f}")
    data = cifar10_splits(num_test=10_000)
    validation, _ = accuracies(solution, data, 50, solution["DEFAULT_SETTINGS"])
    add("4", "default settings: validation accuracy", "0.286", spread(validation))
    validation, test = accuracies(solution, data, 80, REPORTED_BEST)
    add("4", "the report's best setting: validation accuracy", "0.519", spread(validation))
    add("4", "the report's best setting: accuracy on 10,000 test images", "0.50", spread(test))
    best = load_network(NOTEBOOKS / "best_net.npz")
    for name, X, y in (
        ("validation accuracy", data.X_val, data.y_val),
        ("accuracy on 10,000 test images", data.X_test, data.y_test),
    ):
        add("4", f"best_net.npz: {name}", "", f"{np.mean(classify(best, X) == y):.4f}")


def fifth_notebook(add: Callable[..., None]) -> None:
    """PyTorch: the same network trained, and the network handed in."""
    solution = definitions(NOTEBOOKS / "5_pytorch_comparison.ipynb")
    data = cifar10_splits(num_test=10_000)
    rows = [solution["with_torch"]({"seed": seed}, data) for seed in tqdm(SEEDS, desc="PyTorch", leave=False)]
    add("5", "the same net in PyTorch: validation accuracy", "0.537", spread(row["val_accuracy"] for row in rows))
    add(
        "5", "the same net in PyTorch: accuracy on 10,000 test images", "0.5143",
        spread((row["test_accuracy"] for row in rows), digits=4),
    )  # fmt: skip
    best = load_mlp(NOTEBOOKS / "best_mlp.pt")
    for name, X, y in (
        ("validation accuracy", data.X_val, data.y_val),
        ("accuracy on 10,000 test images", data.X_test, data.y_test),
    ):
        add("5", f"best_mlp.pt: {name}", "", f"{np.mean(classify_mlp(best, X) == y):.4f}")


def main() -> None:
    """Print the table."""
    table = Table(title="Reported and reproduced (mean, smallest and largest of five seeds)")
    for column in ("notebook", "what", "reported", "here"):
        table.add_column(column)
    first_three_notebooks(table.add_row)
    fourth_notebook(table.add_row)
    fifth_notebook(table.add_row)
    Console().print(table)


if __name__ == "__main__":
    main()
