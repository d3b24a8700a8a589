"""The solution of notebook 4 beyond its graded functions: the search, its extras, an interrupt."""

from __future__ import annotations

import json
from itertools import product

import numpy as np
import pytest

from course_utils.evaluation import classify
from course_utils.handover import definitions
from course_utils.reference import problem, toy_problem
from tests.conftest import SOURCE

pytestmark = pytest.mark.slow


@pytest.fixture
def solution(monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return definitions(SOURCE / "4_cifar10_tuning.ipynb")


@pytest.fixture
def grid(solution):
    """Four settings, one of them hopeless."""
    values = {"learning_rate": (1e-3, 1e-9), "hidden_size": (8,), "reg": (1e-4,), "batch_size": (50, 100)}
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def test_toy_training_reaches_the_target(solution):
    params, X, y = toy_problem()
    settings = {"learning_rate": 0.1, "learning_rate_decay": 0.95, "reg": 5e-6, "num_iters": 100, "batch_size": 200}
    _, history = solution["train"](params, X, y, X, y, **settings, rng=0)
    assert history["loss"][-1] <= 0.02


def test_the_grid_is_the_reported_one(solution):
    assert solution["GRID_VALUES"] == {
        "learning_rate": (1e-3, 2e-3, 3e-3),
        "hidden_size": (20, 40, 60, 80),
        "reg": (1e-4, 1e-3, 3e-3),
        "batch_size": (200, 300, 400, 500),
    }


def test_the_quick_grid_holds_every_value(solution, sources):
    (cell,) = [cell for cell in sources["4_cifar10_tuning.ipynb"].cells if cell.id == "grid"]
    namespace = {"QUICK": True}
    exec(cell.source, namespace)
    assert len(namespace["GRID"]) == 29
    for name, values in solution["GRID_VALUES"].items():
        assert {setting[name] for setting in namespace["GRID"]} == set(values)


def test_quick_results_are_kept_apart(solution, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert solution["QUICK"] is False
    assert solution["kept"]("search", lambda: "full") == "full"
    solution["QUICK"] = True
    assert solution["kept"]("search", lambda: "quick") == "quick"
    assert json.loads((tmp_path / "tuning_results.json").read_text()) == {"search": "full", "search, quick": "quick"}


def test_histograms_of_gradients_are_worth_more_than_pixels():
    """What the notebook shows: about 0.6 with the network, as students of CS231n report of theirs."""
    rows = json.loads((SOURCE / "tuning_results.json").read_text())["representations"]
    linear_pixels, pixels, linear_hog, hog = (np.mean(row["val_accuracy"]) for row in rows)
    # An accuracy on 1,000 photographs has a standard deviation of 0.016: two of them are allowed for.
    assert hog == pytest.approx(0.6, abs=0.032)
    assert hog > pixels + 0.032
    assert linear_hog > linear_pixels + 0.032
    assert pixels > linear_pixels + 0.032


def test_halving_trains_the_better_ones_on(solution, grid, images):
    solution["ROUNDS"] = (24, 48)
    rows = solution["search"](grid, *images)
    first = [row for row in rows if row["num_iters"] == 24]
    last = [row for row in rows if row["num_iters"] == 48]
    assert len(first) == 4
    assert len(last) == 1
    assert last[0]["learning_rate"] == 1e-3
    assert max(first, key=lambda row: row["val_accuracy"])["learning_rate"] == 1e-3


def test_full_grid_is_one_flag_away(solution, grid, images):
    solution["ROUNDS"], solution["FULL_GRID"] = (24, 48), True
    rows = solution["search"](grid, *images)
    assert [row["num_iters"] for row in rows] == [48] * 4


def test_search_spreads_over_a_dask_cluster(solution, grid, images):
    from dask.distributed import Client, LocalCluster
    from joblib import parallel_config

    solution["ROUNDS"] = (24, 48)

    def ordered(rows):
        return sorted(tuple(row.values()) for row in rows)

    here = ordered(solution["search"](grid, *images))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster) as client,
        parallel_config(backend="dask"),
    ):
        there = ordered(solution["search"](grid, *images))
        assert len(client.scheduler_info()["workers"]) == 2
        assert client.run_on_scheduler(lambda dask_scheduler: dask_scheduler.transition_counter) > 0
    assert [row[:-1] for row in here] == [row[:-1] for row in there]
    # The same steps in another process; a few of 400 images may flip with the last digit.
    np.testing.assert_allclose([row[-1] for row in here], [row[-1] for row in there], atol=0.02)


def test_an_interrupt_keeps_what_was_trained(solution, capsys):
    given = problem("large")
    draw, calls = solution["sample_batch"], []

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return draw(*arguments)

    solution["sample_batch"] = interrupted
    params, history = solution["train"](
        given.params, given.X, given.y, given.X, given.y,
        learning_rate=1e-4, learning_rate_decay=1.0, reg=0.0, num_iters=100, batch_size=10, rng=0,
    )  # fmt: skip
    assert len(history["loss"]) == 7
    assert not np.array_equal(params["W1"], given.params["W1"])
    assert "Interrupted after 7 iterations" in capsys.readouterr().out


def test_extras_give_a_network_for_the_ordinary_input(solution, images):
    X, y, _, _ = images
    way = {
        "hidden_size": 32, "epochs": 20, "learning_rate": 0.02, "batch_size": 50, "momentum": 0.9, "cosine": True,
        "flips": True, "dropout": 0.1, "averaged_part": 0.2,
    }  # fmt: skip
    params = solution["train_further"](X, y, **way, rng=0)
    assert {name: array.shape for name, array in params.items()} == {
        "W1": (3072, 32), "b1": (32,), "W2": (32, 10), "b2": (10,),
    }  # fmt: skip
    # Far above the 0.1 of guessing on its own training rows, so the scale was folded in rightly.
    assert np.mean(classify(params, X) == y) > 0.6


def test_gradients_with_extras_are_those_of_the_oracle(solution):
    given = problem("biased")
    gradients = solution["gradients_with_dropout"](given.params, given.X, given.y, given.reg, 0.0, None)
    for name, expected in given.gradients().items():
        np.testing.assert_allclose(gradients[name], expected, atol=1e-12)
