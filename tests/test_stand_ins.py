"""Stand-ins give the numbers, help where a student's function fails, and earn nothing."""

from __future__ import annotations

import inspect
import pickle

import cloudpickle
import nbformat
import numpy as np
import pytest

from course_utils.checks.forward import check_forward, check_relu, check_stability, check_vectorised
from course_utils.comparison import CheckFailed
from course_utils.oracle import random_problem
from course_utils.stand_ins import OF_NOTEBOOKS, WITHIN_NOTEBOOKS, provide_stand_ins
from tests.conftest import SOURCE

FORWARD = """\
def forward(params, X):
    z2 = X @ params["W1"] + params["b1"]
    a2 = relu(z2)
    z3 = a2 @ params["W2"] + params["b2"]
    return {"z2": z2, "a2": a2, "z3": z3, "a3": softmax(z3)}
"""
SOFTMAX = "def softmax(z):\n    e = np.exp(z)\n    return e / e.sum(axis=1, keepdims=True)\n"


def notebook(text, *names):
    """A namespace as a notebook's, in which the text's functions have run and stand-ins are provided."""
    namespace = {"__name__": "__main__", "np": np}
    exec(text, namespace)
    provide_stand_ins(namespace, *names)
    return namespace


@pytest.fixture
def given():
    return random_problem(31)


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_they_agree_with_the_oracle(seed):
    given = random_problem(seed)
    values, params = given.values, given.params
    expected = {
        "relu": ((values["z2"],), values["a2"]),
        "softmax": ((values["z3"],), values["a3"]),
        "softmax_cross_entropy": ((values["z3"], given.y), values["data_loss"]),
        "grad_z3": ((values["a3"], given.y), values["dz3"]),
        "grad_W2": ((values["a2"], values["dz3"]), values["dW2"]),
        "grad_b2": ((values["dz3"],), values["db2"]),
        "grad_a2": ((values["dz3"], params["W2"]), values["da2"]),
        "grad_z2": ((values["da2"], values["z2"]), values["dz2"]),
        "grad_W1": ((given.X, values["dz2"]), values["dW1"]),
        "grad_b1": ((values["dz2"],), values["db1"]),
        "relative_error": ((np.array([1.0, 3.0]), np.array([1.0, 1.0])), 0.5),
        "predict": ((params, given.X), values["z3"].argmax(axis=1)),
    }
    for name, (arguments, result) in expected.items():
        np.testing.assert_allclose(WITHIN_NOTEBOOKS[name](*arguments), result, rtol=1e-12, atol=1e-14, err_msg=name)
    for name in ("z2", "a2", "z3", "a3"):
        np.testing.assert_allclose(OF_NOTEBOOKS["forward"](params, given.X)[name], values[name], atol=1e-13)
    assert OF_NOTEBOOKS["loss"](params, given.X, given.y, given.reg) == pytest.approx(values["loss"], rel=1e-13)
    for name, gradient in OF_NOTEBOOKS["backward"](params, given.X, given.y, given.reg).items():
        np.testing.assert_allclose(gradient, given.gradients()[name], atol=1e-13)


def test_the_numerical_gradient_is_a_central_difference():
    x = np.array([[0.5, -1.0, 2.0]])
    gradient = WITHIN_NOTEBOOKS["numerical_gradient"](lambda x: float(np.sum(x**3)), x, 0.1)
    np.testing.assert_allclose(gradient, 3 * x**2 + 0.01, rtol=1e-12)  # a one-sided one is off by 0.3 x


def test_batches_hold_rows_with_their_labels():
    X, y = np.arange(40.0, dtype=np.float32).reshape(20, 2), np.arange(20)
    sample_batch = WITHIN_NOTEBOOKS["sample_batch"]
    X_batch, y_batch = sample_batch(X, y, 5, 1)
    assert X_batch.dtype == X.dtype and X_batch.shape == (5, 2) and np.array_equal(X[y_batch], X_batch)
    assert np.array_equal(sample_batch(X, y, 5, 1)[1], y_batch)
    assert not np.array_equal(sample_batch(X, y, 5, 2)[1], y_batch)
    generator = np.random.default_rng(0)
    assert not np.array_equal(sample_batch(X, y, 5, generator)[1], sample_batch(X, y, 5, generator)[1])
    assert sorted(sample_batch(X, y, 50, 1)[1]) == list(range(20))


@pytest.mark.parametrize(
    ("relu", "trouble"),
    [
        ("raise NotImplementedError()", "relu is not written yet: "),
        ("return max(z, 0)", "relu raised ValueError: "),
        ("pass", "relu returned nothing: "),
        ("return np.max(z, 0)", "relu returned the shape "),
        ("return z + np.nan", "relu returned nan or inf: "),
        ("return z - np.inf", "relu returned nan or inf: "),
    ],
)
def test_a_function_that_fails_is_replaced_for_its_callers_alone(relu, trouble, given, capsys):
    text = f"def relu(z):\n    {relu}\n{SOFTMAX}{FORWARD}"
    student = notebook(text, "relu", "softmax")
    check_forward(student["forward"], student["relu"], student["softmax"], on=given)
    out = capsys.readouterr().out
    assert out.startswith(trouble) and out.count("a stand-in takes its place") == 1
    with pytest.raises((CheckFailed, NotImplementedError)):
        check_relu(student["relu"], on=given)
    exec("try:\n    tried = relu(np.ones((2, 3)))\nexcept Exception:\n    tried = 'raised'\n", student)
    assert not np.array_equal(student["tried"], np.ones((2, 3)))


def test_a_function_that_works_is_left_alone(given, capsys):
    student = notebook(f"def relu(z):\n    return np.where(z > 0, z, z / 9)\n{SOFTMAX}{FORWARD}", "relu", "softmax")
    z2 = student["forward"](given.params, given.X)["z2"]
    assert np.array_equal(student["forward"](given.params, given.X)["a2"], np.where(z2 > 0, z2, z2 / 9))
    assert capsys.readouterr().out == ""
    assert student["relu"].__name__ == "relu" and list(inspect.signature(student["relu"]).parameters) == ["z"]


def test_a_forward_that_returns_no_dict_is_replaced_for_who_looks_for_keys(given):
    text = (
        "def forward(params, X):\n    return X, 'theirs'\n\n"
        "def by_key(params, X):\n    return forward(params, X)['z3']\n\n"
        "def unpacking(params, X):\n    _, found = forward(params, X)\n    return found\n"
    )
    student = notebook(text, "forward")
    np.testing.assert_allclose(student["by_key"](given.params, given.X), given.values["z3"], atol=1e-13)
    assert student["unpacking"](given.params, given.X) == "theirs"


def test_a_formula_spends_no_argument_of_the_next_one(given):
    text = (
        "def grad_W2(a2, dz3):\n    gradient = a2.T @ dz3\n    dz3[:] = 0\n    return gradient\n\n"
        "def use(a2, dz3):\n    return grad_W2(a2, dz3), dz3\n"
    )
    gradient, dz3 = notebook(text, "grad_W2")["use"](given.values["a2"], given.values["dz3"].copy())
    np.testing.assert_allclose(gradient, given.values["dW2"], atol=1e-14)
    assert np.array_equal(dz3, given.values["dz3"])


@pytest.mark.parametrize("relu", ["functools.partial(np.maximum, axis=0)", "type('R', (), {'__call__': max})()"])
def test_a_function_without_a_name_is_replaced_too(given, capsys, relu):
    student = notebook(f"import functools\nrelu = {relu}\n{SOFTMAX}{FORWARD}", "relu", "softmax")
    check_forward(student["forward"], student["relu"], student["softmax"], on=given)
    assert student["relu"].__name__ == "relu" and "relu raised" in capsys.readouterr().out


def test_an_undefined_function_counts_as_not_written(given):
    student = notebook(SOFTMAX + FORWARD, "relu", "softmax")
    check_forward(student["forward"], student["relu"], student["softmax"], on=given)
    with pytest.raises(NotImplementedError):
        check_relu(student["relu"], on=given)


def test_a_stand_in_earns_nothing(given):
    text = "def softmax(z):\n    raise ValueError\n\ndef softmax_cross_entropy(z3, y):\n    raise ValueError\n"
    student = notebook(text, "softmax", "softmax_cross_entropy")
    with pytest.raises(CheckFailed):
        check_stability(student["softmax"], student["softmax_cross_entropy"], on=given)
    with pytest.raises((CheckFailed, NotImplementedError)):
        check_vectorised(notebook("", "relu")["relu"])


def test_arguments_that_a_failing_function_has_changed_are_put_back(given):
    text = "def grad_z3(a3, y):\n    a3[np.arange(len(y)), y] -= 1\n\ndef use(a3, y):\n    return grad_z3(a3, y)\n"
    student = notebook(text, "grad_z3")
    got = student["use"](given.values["a3"].copy(), given.y)
    np.testing.assert_allclose(got, given.values["dz3"], atol=1e-15)


def test_missing_entries_are_added_to_the_students_own(given):
    text = 'def forward(params, X):\n    return {"a3": X}\n\ndef use(params, X):\n    return forward(params, X)\n'
    got = notebook(text, "forward")["use"](given.params, given.X)
    assert np.array_equal(got["a3"], given.X)
    np.testing.assert_allclose(got["z3"], given.values["z3"], atol=1e-13)


def test_entries_with_another_number_of_axes_are_replaced(given, capsys):
    text = f"def relu(z):\n    return np.maximum(z, 0), z\n{SOFTMAX}{FORWARD}"
    text += "def use(params, X):\n    return forward(params, X)\n"
    got = notebook(text, "relu", "softmax", "forward")["use"](given.params, given.X)
    np.testing.assert_allclose(got["z3"], given.values["z3"], atol=1e-13)
    assert "forward returned a2, z3, a3 with another number of axes than X has: a stand-in" in capsys.readouterr().out


def test_callers_find_their_arguments_as_they_were(given):
    text = f"def relu(z):\n    z[z < 0] = 0\n    return z\n{SOFTMAX}{FORWARD.replace('params[', 'params.pop(', 1)}"
    text = text.replace('"W1"]', '"W1")') + "def use(params, X):\n    return forward(params, X), params\n"
    got, params = notebook(text, "relu", "softmax", "forward")["use"](dict(given.params), given.X)
    np.testing.assert_allclose(got["z2"], given.values["z2"], atol=1e-13)
    assert params.keys() == given.params.keys()


def test_a_students_own_parameters_are_passed_on(given):
    text = "def grad_a2(dz3, params):\n    return dz3 @ params['W2'].T\n"
    text += "def grad_b2(dz3, axis):\n    return dz3.sum(axis)\n"
    text += "def use(dz3, params):\n    return grad_a2(dz3, params), grad_b2(dz3, 0)\n"
    da2, db2 = notebook(text, "grad_a2", "grad_b2")["use"](given.values["dz3"], given.params)
    np.testing.assert_allclose(da2, given.values["da2"], atol=1e-13)
    np.testing.assert_allclose(db2, given.values["db2"], atol=1e-13)


def test_a_second_call_wraps_nothing_twice_and_decorators_stay(given):
    text = f"@np.errstate(all='ignore')\ndef relu(z):\n    return np.maximum(z, 0)\n{SOFTMAX}{FORWARD}"
    student = notebook(text, "relu", "softmax")
    first = student["relu"]._own
    provide_stand_ins(student, "relu", "softmax")
    assert student["relu"]._own is first and hasattr(first, "__wrapped__")
    check_forward(student["forward"], student["relu"], student["softmax"], on=given)


def test_another_process_gets_the_functions_and_not_all_of_the_notebook(given):
    student = notebook(f"def relu(z):\n    raise ValueError\n{SOFTMAX}{FORWARD}", "relu", "softmax")
    student["data"] = np.zeros(10**6)
    sent = cloudpickle.dumps(student["forward"])
    assert len(sent) < 20_000
    got = pickle.loads(sent)(given.params, given.X)
    np.testing.assert_allclose(got["a3"], given.values["a3"], atol=1e-13)


@pytest.mark.parametrize(
    ("returned", "asked", "said"),
    [
        ("(X[:size], y[:size], size)", "X_batch, y_batch = sample_batch(X, y, 3, 1)", True),
        ("{'X': X[:size], 'y': y[:size]}", "X_batch, y_batch = sample_batch(X, y, 3, 1)[:2]", True),
        ("(X[:size], y[:size], size)", "X_batch, y_batch, _ = sample_batch(X, y, 3, 1)", False),
        ("(X[:size], 1.0 * y[:size])", "X_batch, y_batch = sample_batch(X, y, 3, 1)", True),
    ],
)
def test_a_result_that_is_not_asked_for_is_replaced_where_the_caller_fails(returned, asked, said, given, capsys):
    text = f"def sample_batch(X, y, size, rng):\n    return {returned}\n"
    student = {"__name__": "__main__", "np": np}
    exec(f"{text}def train(X, y):\n    {asked}\n    return X_batch[y_batch * 0].shape\n", student)
    provide_stand_ins(student, "sample_batch", to="train")
    provide_stand_ins(student, "sample_batch", to="train")
    for _ in range(2):
        assert student["train"](given.X, given.y) == (3, given.X.shape[1])
    assert capsys.readouterr().out.count("a stand-in takes its place") == said
    assert type(student["sample_batch"](given.X, given.y, 3, 1)) is type(eval(returned, {
        "X": given.X, "y": given.y, "size": 3}))  # fmt: skip


def test_a_caller_that_fails_by_itself_raises_and_runs_once(given):
    student = {"__name__": "__main__", "runs": []}
    text = "def predict(params, X):\n    return [0] * len(X)\n"
    exec(f"{text}def train(X):\n    runs.append(predict(1, X))\n    raise KeyError\n", student)
    provide_stand_ins(student, "predict", to="train")
    with pytest.raises(KeyError):
        student["train"](given.X)
    assert len(student["runs"]) == 1


def test_every_function_that_another_one_calls_has_a_stand_in():
    provided = set()
    for path in SOURCE.glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code" and "provide_stand_ins(" in cell.source:
                provided |= {name for name in WITHIN_NOTEBOOKS if f'"{name}"' in cell.source}
    assert provided == set(WITHIN_NOTEBOOKS)
