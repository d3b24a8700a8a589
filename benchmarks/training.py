"""How fast the solution trains: its step against PyTorch's, and its search against the full grid.

``python -m benchmarks.training step``: the training step, in half a minute.
``python -m benchmarks.training search``: the search, which takes an hour or more on two cores.
``python -m benchmarks.training``: both.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from course_utils.data import Splits, cifar10_splits
from course_utils.handover import definitions

NOTEBOOK = Path(__file__).resolve().parent.parent / "notebooks" / "two_layer_net" / "4_cifar10_tuning.ipynb"
#: (batch size, hidden units) of the comparison.
SIZES = ((400, 80), (200, 50))
REPETITIONS = 60
STEPS = 10


def medians(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median time of a call in milliseconds; the contestants take turns, so that all meet the same machine."""
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(REPETITIONS):
        for name, call in contestants.items():
            start = time.perf_counter()
            for _ in range(STEPS):
                call()
            times[name].append((time.perf_counter() - start) / STEPS)
    return {name: 1e3 * float(np.median(values)) for name, values in times.items()}


def compare_steps(solution: dict[str, Any], X: np.ndarray, y: np.ndarray) -> Table:
    """Draw a batch and train on it: NumPy, PyTorch, and NumPy's matrix products alone."""
    import torch

    table = Table(title="One training step, one thread, float32 (median)")
    for column in ("batch", "hidden", "NumPy", "PyTorch", "PyTorch / NumPy", "products alone", "products / NumPy"):
        table.add_column(column, justify="right")
    X_tensor, y_tensor = torch.from_numpy(X), torch.from_numpy(y)
    torch.set_num_threads(1)
    for batch_size, hidden_size in SIZES:
        rng = np.random.default_rng(0)
        params = solution["initial_params"](hidden_size, rng=0)

        def numpy_step(params=params, rng=rng, batch_size=batch_size):
            X_batch, y_batch = solution["sample_batch"](X, y, batch_size, rng)
            solution["sgd_step"](params, X_batch, y_batch, 1e-3, 1e-4)

        model = torch.nn.Sequential(
            torch.nn.Linear(X.shape[1], hidden_size), torch.nn.ReLU(), torch.nn.Linear(hidden_size, 10)
        )
        weights = [layer.weight for layer in model if isinstance(layer, torch.nn.Linear)]
        optimizer = torch.optim.SGD(model.parameters(), lr=1e-3)

        def torch_step(model=model, weights=weights, optimizer=optimizer, batch_size=batch_size):
            indices = torch.randint(len(X_tensor), (batch_size,))
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(X_tensor[indices]), y_tensor[indices])
            loss = loss + 1e-4 * sum(weight.square().sum() for weight in weights)
            loss.backward()
            optimizer.step()

        X_batch, _ = solution["sample_batch"](X, y, batch_size, rng)
        a2 = np.maximum(X_batch @ params["W1"], 0)
        dz3 = a2 @ params["W2"]

        def products(params=params, X_batch=X_batch, a2=a2, dz3=dz3):
            X_batch @ params["W1"]
            a2 @ params["W2"]
            dz2 = dz3 @ params["W2"].T
            a2.T @ dz3
            X_batch.T @ dz2

        times = medians({"numpy": numpy_step, "torch": torch_step, "products": products})
        table.add_row(
            str(batch_size), str(hidden_size), f"{times['numpy']:.2f} ms", f"{times['torch']:.2f} ms",
            f"{times['torch'] / times['numpy']:.2f}", f"{times['products']:.2f} ms",
            f"{times['products'] / times['numpy']:.2f}",
        )  # fmt: skip
    return table


def compare_searches(solution: dict[str, Any], data: Splits) -> Table:
    """Successive halving and the full grid: their times, and how good their winners are."""
    values = solution["GRID_VALUES"]
    grid = [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]
    table = Table(title="Search of the 144 settings")
    for column in ("search", "time", "processor time", "winner", "validation accuracy of the winner, five seeds"):
        table.add_column(column)
    times, processor_times = {}, {}
    for name, full in (("halving", False), ("full grid", True)):
        solution["search"].__globals__["FULL_GRID"] = full
        start, processor_start = time.perf_counter(), processor_seconds()
        rows = solution["search"](grid, data.X_train, data.y_train, data.X_val, data.y_val)
        times[name] = time.perf_counter() - start
        processor_times[name] = processor_seconds() - processor_start
        most = max(row["num_iters"] for row in rows)
        winner = max((row for row in rows if row["num_iters"] == most), key=lambda row: row["val_accuracy"])
        setting = {key: winner[key] for key in values}
        accuracies = []
        for seed in range(5):
            settings = {key: value for key, value in setting.items() if key != "hidden_size"}
            params, _ = solution["train"](
                solution["initial_params"](setting["hidden_size"], rng=seed),
                data.X_train, data.y_train, data.X_val, data.y_val,
                learning_rate_decay=0.95, num_iters=4000, rng=seed, **settings,
            )  # fmt: skip
            accuracies.append(float(np.mean(solution["predict"](params, data.X_val) == data.y_val)))
        text = ", ".join(f"{key} {value:g}" for key, value in setting.items())
        spread = f"{np.mean(accuracies):.4f} ({min(accuracies):.3f} to {max(accuracies):.3f})"
        table.add_row(
            name, f"{times[name] / 60:.1f} minutes", f"{processor_times[name] / 60:.1f} minutes", text, spread
        )
    table.caption = "halving / full grid: " + ", ".join(
        f"{what} {taken['halving'] / taken['full grid']:.3f}"
        for what, taken in (("time", times), ("processor time", processor_times))
    )
    return table


def processor_seconds() -> float:
    """Processor time of this process and of joblib's workers; other work on the machine hardly changes it."""
    process = psutil.Process()
    used = [one.cpu_times() for one in (process, *process.children(recursive=True))]
    return sum(times.user + times.system for times in used)


def main() -> None:
    """Print the tables that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training", description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="?", choices=["step", "search"], help="default: both")
    what = parser.parse_args().what
    solution = definitions(NOTEBOOK)
    console = Console()
    data = cifar10_splits()
    if what != "search":
        with threadpool_limits(limits=1):
            console.print(compare_steps(solution, data.X_train, data.y_train))
    if what != "step":
        console.print(compare_searches(solution, data))


if __name__ == "__main__":
    main()
