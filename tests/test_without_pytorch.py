"""Notebooks 1 to 4 as on a student's machine, where neither PyTorch nor SciPy is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

#: Run in a Python of its own: which notebook, and what stands in the place of some solutions.
PROGRAM = """
import contextlib, json, sys

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "scipy"):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Missing())
from importlib import util
find_spec = util.find_spec
util.find_spec = lambda name, package=None: None if name in ("torch", "scipy") else find_spec(name, package)

import tests.fairness.runner as runner
from tests.fairness.answers import Answer

runner.as_in_grading = lambda: contextlib.chdir(runner.SOURCE)  # a student's own functions are taken over
for cell in runner.source(sys.argv[1]).cells:
    cell.source = runner.without_hidden_tests(cell.source)
found = []
for codes in json.loads(sys.argv[2]):
    replaced = runner._place(Answer("", codes))[1] if codes else {}
    found.append({name: list(outcome) for name, outcome in runner._run(sys.argv[1], replaced).items()})
print("found", json.dumps(found))
assert not {"torch", "scipy"} & set(sys.modules)
"""
#: Notebook -> wrong answers: functions, the question that each must lose, and part of the cause that is told.
WRONG = {
    "1_forward_check.ipynb": [
        ({"relu": "def relu(z):\n    return np.abs(z)\n"}, "test-relu", "the absolute value"),
        (
            {"softmax": "def softmax(z):\n    e = np.exp(z - z.max())\n    return e / e.sum(axis=0)\n"},
            "test-softmax",
            "over the wrong axis",
        ),
        (
            {
                "loss": "def loss(params, X, y, reg):\n    data = softmax_cross_entropy(forward(params, X)['z3'], y)\n"
                "    return data + reg / 2 * sum(np.sum(params[name] ** 2) for name in ('W1', 'W2'))\n"
            },
            "test-loss",
            "a factor 1/2",
        ),
    ],
    "2_backprop_derivation.ipynb": [
        ({"grad_z3": "def grad_z3(a3, y):\n    return a3 / len(y)\n"}, "test-grad-z3", "1 isn't subtracted"),
        ({"grad_b2": "def grad_b2(dz3):\n    return dz3.mean(axis=0)\n"}, "test-grad-b2", "divided by N already"),
        ({"grad_z2": "def grad_z2(da2, z2):\n    return da2\n"}, "test-grad-z2", "the ReLU's derivative is missing"),
        (
            {
                "backward": "def backward(params, X, y, reg):\n    v = forward(params, X)\n"
                "    dz3 = grad_z3(v['a3'], y)\n    dz2 = grad_z2(grad_a2(dz3, params['W2']), v['z2'])\n"
                "    return {'W1': grad_W1(X, dz2) + reg * params['W1'], 'b1': grad_b1(dz2),\n"
                "            'W2': grad_W2(v['a2'], dz3) + reg * params['W2'], 'b2': grad_b2(dz3)}\n"
            },
            "test-backward",
            "lacks its factor 2",
        ),
    ],
    "3_gradient_check.ipynb": [
        (
            {
                "relative_error": "def relative_error(a, b):\n"
                "    return np.mean(np.abs(a - b) / np.maximum(1e-8, np.abs(a) + np.abs(b)))\n"
            },
            "test-relative-error",
            "this is the mean",
        ),
    ],
    "4_cifar10_tuning.ipynb": [
        ({"predict": "def predict(params, X):\n    return forward(params, X)['a3']\n"}, "test-predict", ""),
    ],
}


@pytest.mark.parametrize("notebook", WRONG)
def test_public_checks_pass_what_is_right_and_name_what_is_wrong(notebook):
    codes = [{}, *(codes for codes, _, _ in WRONG[notebook])]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, notebook, json.dumps(codes)],
        cwd=Path(__file__).parents[1], capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("found ")]
    right, *wrong = json.loads(line.removeprefix("found "))
    assert right
    assert {name: message for name, (points, possible, message) in right.items() if points < possible} == {}
    for (_, loses, says), outcomes in zip(WRONG[notebook], wrong, strict=True):
        lost = {name: message for name, (points, possible, message) in outcomes.items() if points < possible}
        assert set(lost) == {loses}
        assert says in lost[loses].partition("Probable cause: ")[2], lost
