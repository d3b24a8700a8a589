"""What a value is instead of the one that is asked, in words."""

from __future__ import annotations

import numpy as np
import pytest

from course_utils.comparison import CheckFailed, expect_close


@pytest.mark.parametrize(
    "several", [(1.0, {"z2": np.ones(3)}), (1.0, np.ones(3)), (np.ones((2, 2)), np.ones(3)), (1.0, None)]
)
def test_several_values_are_called_a_tuple(several):
    with pytest.raises(CheckFailed, match="it is a tuple of 2; return the one that is asked for"):
        expect_close("loss", several, 1.0)


@pytest.mark.parametrize("verdict", [True, np.True_, np.array([True, False])])
def test_a_verdict_for_a_number_is_called_one(verdict):
    with pytest.raises(CheckFailed, match="True or False is returned where a number is asked"):
        expect_close("the error", verdict, np.full(np.shape(verdict), 1e-9), tolerance=1e-12)


def test_a_wrong_number_is_no_verdict():
    with pytest.raises(CheckFailed) as caught:
        expect_close("the error", 2.0, 1.0)
    assert "True or False" not in str(caught.value)
