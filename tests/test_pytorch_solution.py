"""The solution of notebook 5 beyond its graded functions: long runs, interrupts, the best network."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from course_utils.evaluation import classify_mlp, load_mlp, save_mlp
from course_utils.handover import definitions
from course_utils.reference import problem
from tests.conftest import SOURCE

pytestmark = pytest.mark.slow


@pytest.fixture
def solution(monkeypatch):
    monkeypatch.delenv("NBGRADER_EXECUTION", raising=False)
    return definitions(SOURCE / "5_pytorch_comparison.ipynb")


def doubled(setting, data):
    return {"result": 2 * setting["number"] + data}


def test_long_runs_are_kept_and_taken_up_again(solution, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solution["data"] = 1
    rows = solution["kept"]("runs", doubled, [{"number": number} for number in (3, 1)])
    assert rows == [{"number": 3, "result": 7}, {"number": 1, "result": 3}]
    solution["data"] = 100  # what is kept isn't computed again
    rows = solution["kept"]("runs", doubled, [{"number": number} for number in (1, 2)])
    assert rows == [{"number": 1, "result": 3}, {"number": 2, "result": 104}]
    assert set(json.loads((tmp_path / "depth_study.json").read_text())) == {"runs"}


def test_quick_results_are_kept_apart(solution, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    solution["data"] = 1
    solution["kept"]("runs", doubled, [{"number": 1}])
    solution["QUICK"], solution["data"] = True, 10
    assert solution["kept"]("runs", doubled, [{"number": 1}]) == [{"number": 1, "result": 12}]
    assert set(json.loads((tmp_path / "depth_study.json").read_text())) == {"runs", "runs, quick"}


def test_the_right_standard_deviation_keeps_the_size_through_fifty_layers(solution):
    for sigma, least, most in ((np.sqrt(2 / 64), 1e-2, 1e2), (1e-4, 0, 1e-100), (1.0, 1e30, np.inf)):
        sizes = solution["through_layers"](sigma)
        assert len(sizes) == 50
        assert least <= sizes[-1] / sizes[0] <= most


def test_batches_show_every_row_once_in_an_epoch(solution):
    batches = solution["draw_batches"](20, 6, 3, rng=0)
    assert batches.shape == (9, 6)
    for epoch in batches.reshape(3, 18):
        assert len(set(epoch)) == 18
    assert not np.array_equal(batches[:3], batches[3:6])


def test_an_interrupt_keeps_what_was_trained(solution, capsys, monkeypatch):
    given = problem("large")
    calls, original = [], torch.nn.functional.cross_entropy

    def interrupted(*arguments):
        calls.append(1)
        if len(calls) == 8:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", interrupted)
    model = solution["params_to_torch"](given.params)
    batches = solution["draw_batches"](len(given.X), 10, 20, rng=0)
    history = solution["train_torch"](
        model, given.X, given.y, given.X, given.y, batches=batches, learning_rate=1e-4, learning_rate_decay=1.0, reg=0.0
    )
    assert len(history["loss"]) == 7
    assert not np.array_equal(solution["state_of"](model)["0.weight"].T, given.params["W1"])
    assert "Interrupted after 7 iterations" in capsys.readouterr().out


def test_small_weights_vanish_in_a_deep_net_and_kaiming_keeps_them(solution, images):
    X, y, _, _ = images
    for scale, vanishes in ((1e-4, True), (None, False)):
        model = solution["build_mlp"]([3072, *[64] * 5, 10], "relu").double()
        solution["initialise"](model, scale, 0)
        outputs, gradients = solution["sizes_in"](model, X / X.std(), y)
        assert len(outputs) == len(gradients) == 6
        assert (outputs[-1] < 1e-12 * outputs[0]) == vanishes
        assert (gradients[0] < 1e-12) == vanishes


def test_the_best_way_gives_a_network_for_the_ordinary_input(solution, images, tmp_path):
    X, y, X_val, y_val = images
    way = solution["BEST"] | {"hidden_sizes": (32, 16), "num_epochs": 40, "dropout": 0.0, "shift": 0}
    model = solution["train_further"](X, y, X_val, y_val, **way, batch_size=50, rng=0)
    save_mlp(tmp_path / "mlp.pt", model, way["activation"])
    # Far above the 0.1 of guessing on its own training rows, so the scale was folded in rightly.
    assert np.mean(classify_mlp(load_mlp(tmp_path / "mlp.pt"), X) == y) > 0.4


def test_augmented_photographs_are_moved_or_mirrored(solution):
    torch.manual_seed(0)
    picture = torch.zeros(32, 32, 3)
    picture[10, 8, 1] = 1.0
    moved = solution["augmented"](picture.reshape(1, -1).repeat(400, 1), 2).reshape(400, 32, 32, 3)
    assert torch.equal(moved.sum(dim=(1, 2, 3)), torch.ones(400))
    places = {tuple(place[1:].tolist()) for place in moved.nonzero()}
    expected = {(10 + down, column + right, 1) for column in (8, 23) for down in range(-2, 3) for right in range(-2, 3)}
    assert places == expected
