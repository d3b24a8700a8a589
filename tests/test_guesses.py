"""Guessing earns nothing: what a student gets who knows what form an answer has, and draws its values at random."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from course_utils.evaluation import check_mlp, check_network, network_accuracy, save_network
from course_utils.questions import QUESTIONS
from tests.fairness.answers import SIGNATURES, Answer, function
from tests.fairness.runner import earned

#: Bodies that give values of the right form, whatever they are called with. ``guesses`` is the guesser's generator.
GUESSES = {
    "sample_batch": """
        if batch_size >= len(X):
            batch_size = len(X)
        rows = guesses.standard_normal((batch_size, X.shape[1])).astype(X.dtype)
        return rows, guesses.integers(y.max() + 1, size=batch_size)
    """,
    "predict": 'return guesses.integers(len(params["b2"]), size=len(X))',
    "train": """
        epochs = num_iters // max(len(X) // batch_size, 1)
        return (
            {name: guesses.standard_normal(array.shape).astype(array.dtype) for name, array in params.items()},
            {
                "loss": list(guesses.random(num_iters)),
                "train_accuracy": list(guesses.random(epochs)),
                "val_accuracy": list(guesses.random(epochs)),
            },
        )
    """,
    "build_mlp": """
        kinds = [nn.ReLU, nn.Tanh, nn.GELU]
        hidden = int(guesses.integers(1, 9))
        return nn.Sequential(nn.Linear(sizes[0], hidden), guesses.choice(kinds)(), nn.Linear(hidden, sizes[-1]))
    """,
    "params_to_torch": """
        sizes = (*params["W1"].shape, params["b2"].size)
        layers = nn.Linear(sizes[0], sizes[1]), nn.ReLU(), nn.Linear(sizes[1], sizes[2])
        return nn.Sequential(*layers).to(torch.as_tensor(params["W1"]).dtype)
    """,
    "scores": """
        drawn = guesses.random(logits_of(model, X).shape)
        return (drawn / drawn.sum(axis=1, keepdims=True)).astype(logits_of(model, X).dtype)
    """,
    "loss_and_gradients": """
        held = as_params(state_of(model))
        return float(guesses.random()), {name: guesses.standard_normal(array.shape) for name, array in held.items()}
    """,
    "train_torch": """
        epochs = len(batches) // max(len(X) // batches.shape[1], 1)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += torch.as_tensor(guesses.standard_normal(parameter.shape))
        return {
            "loss": list(guesses.random(len(batches))),
            "train_accuracy": list(guesses.random(epochs)),
            "val_accuracy": list(guesses.random(epochs)),
        }
    """,
    "initialise": """
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.copy_(torch.as_tensor(guesses.random() * guesses.standard_normal(parameter.shape)))
    """,
}
NOTEBOOKS = ("4_cifar10_tuning", "5_pytorch_comparison")
SEEDS = range(2)


def guessed(notebook: str, seed: int) -> dict[str, float]:
    """Points of each question that a function answers, where all functions of the notebook guess."""
    asked = [name for one in QUESTIONS if one.notebook == notebook for name in one.asks if name in SIGNATURES]
    before = f"guesses = np.random.default_rng({seed})"
    codes = {name: function(name, GUESSES[name], before=before) for name in asked}
    outcomes = earned(Answer(f"guesses, seed {seed}", codes))
    return {one.test: outcomes[one.test].points for one in QUESTIONS if one.notebook == notebook and one.check}


@pytest.mark.slow
@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_guessed_values_earn_no_point(notebook):
    points = [guessed(notebook, seed) for seed in SEEDS]
    expected = {test: float(np.mean([found[test] for found in points])) for test in points[0]}
    assert len(expected) >= 6
    assert expected == dict.fromkeys(expected, 0.0)


@pytest.mark.parametrize(("goal", "notebook_points"), [(0.47, 4), (0.48, 2)])
def test_a_guessed_class_earns_no_point_of_a_network(goal, notebook_points):
    """The easiest goal of a notebook, for all the points that its network earns."""
    # Ten classes, about equally many of each: 1,000 guesses are right as often as 1,000 throws of a ten-sided die.
    assert notebook_points * binom.sf(np.ceil(1000 * goal) - 1, 1000, 0.1) < 1e-100


def test_a_random_network_is_as_good_as_guessing(tmp_path):
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        shapes = {"W1": (3072, 20), "b1": (20,), "W2": (20, 10), "b2": (10,)}
        save_network(tmp_path / "net.npz", {name: rng.standard_normal(shape) for name, shape in shapes.items()})
        for split in ("val", "hidden"):
            # Not chance alone: a random network sees brightness, and classes differ in it.
            assert network_accuracy(tmp_path / "net.npz", split) < 0.2


def test_networks_are_asked_for_the_goals_that_are_guessed_at(sources):
    """The goals above are the lowest of those that the notebooks' tests name."""
    lowest = {}
    for name, call in (("4_cifar10_tuning", check_network), ("5_pytorch_comparison", check_mlp)):
        tests = [cell.source for cell in sources[f"{name}.ipynb"].cells if call.__name__ + "(" in cell.source]
        goals = [float(part.split(")")[0]) for text in tests for part in text.split("at_least=")[1:]]
        lowest[name] = min(goals)
    assert lowest == {"4_cifar10_tuning": 0.47, "5_pytorch_comparison": 0.48}


def test_what_no_check_judges_is_a_network_or_read_by_a_person(sources):
    for one in QUESTIONS:
        if one.notebook in NOTEBOOKS and not one.check:
            (cell,) = [
                cell
                for cell in sources[f"{one.notebook}.ipynb"].cells
                if cell.metadata.nbgrader["grade_id"] == one.test
            ]
            assert (
                cell.cell_type == "markdown"
                or "check_network(" in cell.source
                or "check_mlp(" in cell.source
                or ("load_network(" in cell.source)
            )
