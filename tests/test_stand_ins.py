"""The stand-ins for functions of earlier notebooks give the reference's numbers."""

from __future__ import annotations

import numpy as np
import pytest

from course_utils import stand_ins
from course_utils.oracle import random_problem


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
