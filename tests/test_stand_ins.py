"""The stand-ins for functions of earlier notebooks give the reference's numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from course_utils import stand_ins
from course_utils.oracle import forward_pass, random_problem


@pytest.mark.parametrize("seed", [31, 32, 33])
def test_they_agree_with_the_oracle(seed):
    given = random_problem(seed=seed)
    forward = stand_ins.forward(given.params, given.X)
    assert set(forward) == {"z2", "a2", "z3", "a3"}
    for name, value in forward.items():
        np.testing.assert_allclose(value, given.values[name], atol=1e-13)
    loss = stand_ins.loss(given.params, given.X, given.y, given.reg)
    assert loss == pytest.approx(given.values["loss"], rel=1e-13)
    for name, gradient in stand_ins.backward(given.params, given.X, given.y, given.reg).items():
        np.testing.assert_allclose(gradient, given.gradients()[name], atol=1e-13)


@pytest.mark.parametrize(("samples", "expected"), [(10, 1), (60_000, 2)])
def test_few_data_are_computed_in_one_thread(samples, expected, monkeypatch):
    threads = []

    def watched(*arguments):
        threads.append(torch.get_num_threads())
        return forward_pass(*arguments)

    monkeypatch.setattr(stand_ins, "forward_pass", watched)
    given = random_problem(seed=34)
    X, y = np.ones((samples, given.X.shape[1])), np.zeros(samples, dtype=int)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        stand_ins.backward(given.params, X, y, 0.0)
        assert threads == [expected]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
