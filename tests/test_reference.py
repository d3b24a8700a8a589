"""The stored reference values, against the oracle that made them and against 50-digit arithmetic."""

from __future__ import annotations

import json

import mpmath
import numpy as np
import pytest

from course_utils import oracle, reference
from course_utils.checks.forward import check_loss
from course_utils.comparison import CheckFailed


def test_stored_values_are_what_the_oracle_computes():
    fresh = oracle.generate()
    with np.load(reference.FOLDER / "problems.npz", allow_pickle=False) as stored:
        assert sorted(stored.files) == sorted(fresh)
        for key in stored.files:
            # Sums of at most some hundred terms in another order: a few units of round-off.
            scale = max(1.0, float(np.max(np.abs(fresh[key]))))
            np.testing.assert_allclose(stored[key], fresh[key], rtol=0, atol=1e-13 * scale, err_msg=key)


def test_provenance_names_what_made_them():
    stored = json.loads((reference.FOLDER / "provenance.json").read_text(encoding="utf-8"))
    assert stored["torch"] == oracle.provenance()["torch"]
    assert stored.keys() == oracle.provenance().keys()


def test_toy_problem_is_the_published_one():
    params, X, y = reference.toy_problem()
    np.random.seed(0)
    assert np.array_equal(params["W1"], 0.1 * np.random.randn(4, 10))
    assert np.array_equal(params["W2"], 0.1 * np.random.randn(10, 3))
    np.random.seed(1)
    assert np.array_equal(X, 10 * np.random.randn(5, 4))
    assert y.tolist() == [0, 1, 2, 2, 1]
    values = reference.problem("toy").values
    assert np.abs(values["a3"] - reference.PUBLISHED_TOY_SCORES).sum() == pytest.approx(2.9e-8, abs=5e-10)
    assert values["loss"] == pytest.approx(reference.PUBLISHED_TOY_LOSS, abs=1e-12)


@pytest.mark.parametrize("name", reference.NAMES)
def test_shapes_and_consistency(name):
    given = reference.problem(name)
    N, D = given.X.shape
    H, K = given.params["W2"].shape
    assert given.params["W1"].shape == (D, H)
    for key, shape in {"z2": (N, H), "a2": (N, H), "z3": (N, K), "a3": (N, K), "dz3": (N, K), "dz2": (N, H)}.items():
        assert given.values[key].shape == shape
    assert given.onehot.sum() == N
    for key, gradient in given.gradients().items():
        assert gradient.shape == given.params[key].shape
    if name != "toy":
        assert all(np.all(given.params[bias] != 0) for bias in ("b1", "b2"))


def test_unknown_problem_is_refused_by_name():
    with pytest.raises(ValueError, match="no problem 'tiny'; the names are toy"):
        reference.problem("tiny")


def exact_loss(params: dict, X: np.ndarray, y: np.ndarray, reg: float) -> mpmath.mpf:
    """The regularised loss from its definition, in mpmath's current precision."""
    rows = []
    for row, label in zip(X, y, strict=True):
        hidden = [
            max(mpmath.fdot(row, params["W1"][:, unit]) + params["b1"][unit], mpmath.mpf(0))
            for unit in range(params["b1"].size)
        ]
        logits = [mpmath.fdot(hidden, params["W2"][:, unit]) + params["b2"][unit] for unit in range(params["b2"].size)]
        rows.append(mpmath.log(mpmath.fsum(map(mpmath.exp, logits))) - logits[label])
    squares = mpmath.fsum(mpmath.mpf(w) ** 2 for key in ("W1", "W2") for w in params[key].flat)
    return mpmath.fsum(rows) / len(rows) + mpmath.mpf(reg) * squares


@pytest.mark.parametrize("name", ["toy", "biased"])
def test_loss_and_gradients_to_50_digits(name):
    given = reference.problem(name)
    exact = {
        key: np.vectorize(mpmath.mpf, otypes=[object])(array) for key, array in {**given.params, "X": given.X}.items()
    }
    X = exact.pop("X")
    with mpmath.workdps(50):
        assert abs(exact_loss(exact, X, given.y, given.reg) - given.values["loss"]) < 1e-14 * given.values["loss"]
        gradients = given.gradients()
        step = mpmath.mpf(10) ** -15
        rng = np.random.default_rng(0)
        for key, array in exact.items():
            for flat in rng.choice(array.size, size=min(array.size, 6), replace=False):
                index = np.unravel_index(flat, array.shape)
                centre = array[index]
                array[index] = centre + step
                above = exact_loss(exact, X, given.y, given.reg)
                array[index] = centre - step
                below = exact_loss(exact, X, given.y, given.reg)
                array[index] = centre
                # The truncation error of the difference is of size step^2 = 1e-30.
                assert abs((above - below) / (2 * step) - gradients[key][index]) < 1e-13, (key, index)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
def test_random_problems_have_sizes_that_all_differ(dtype):
    for seed in range(20):
        given = oracle.random_problem(seed, dtype=dtype)
        sizes = {*given.X.shape, *given.params["W2"].shape}
        assert len(sizes) == 4
        assert given.X.dtype == dtype
        assert np.all(given.params["b1"] != 0)
    assert np.array_equal(oracle.random_problem(3).X, oracle.random_problem(3).X)


@pytest.mark.parametrize("helped", [False, True])
def test_the_hint_in_a_message_runs_as_it_is_printed(helped):
    """Also where the values come from right functions in the place of a wrong one."""
    names = {"forward": lambda params, X: {"z3": X}} if helped else {}
    call = "forward(params, X)['z3'].sum()" if helped else "X.sum()"
    exec(f"def loss(params, X, y, reg):\n    return float({call})\n", names)
    with pytest.raises(CheckFailed) as caught:
        check_loss(names["loss"])
    assert ("right functions" in caught.value.data) == helped
    exec(caught.value.data.rpartition("): ")[2].replace("; problem(", "; found = problem("), names)
    assert names["found"].name == "the toy problem"
