"""What is often done wrong: the deviations from which checks recognise a mistake, a module for each notebook.

A module begins with its model, the right computation in stages, and goes on with the lists of what may
take the place of a stage. To add a mistake, add an entry to the list of its computation, and an answer
that makes the mistake to the bank in ``tests/fairness``. Notebook 5 has its own, in PyTorch
(:mod:`course_utils.checks.pytorch_reference`).
"""

from course_utils.mistakes.backprop import (
    BACKWARD,
    GRAD_Z3,
    STEP_DEVIATIONS,
    STEP_MISTAKES,
    WIRING,
    backward_arguments,
    gradients,
    of_step,
    step_alone,
)
from course_utils.mistakes.forward import (
    FORWARD,
    NORMALISATIONS,
    RELU,
    RELU_ALONE,
    SOFTMAX,
    SOFTMAX_ALONE,
    network,
    of_cross_entropy,
    of_relu,
    of_softmax,
    right_of_network,
)
from course_utils.mistakes.general import GENERAL, PRECISION
from course_utils.mistakes.gradient_check import (
    CHECKING,
    QUOTIENTS,
    RELATIVE_ERRORS,
    checked_gradients,
    quotients,
    relative_errors,
    right_of_checking,
)
from course_utils.mistakes.loss import CROSS_ENTROPY, LOSS, guarded_losses

__all__ = [
    "BACKWARD", "CHECKING", "CROSS_ENTROPY", "FORWARD", "GENERAL", "GRAD_Z3", "LOSS", "NORMALISATIONS", "PRECISION",
    "QUOTIENTS", "RELATIVE_ERRORS", "RELU", "RELU_ALONE", "SOFTMAX", "SOFTMAX_ALONE", "STEP_DEVIATIONS",
    "STEP_MISTAKES", "WIRING", "backward_arguments", "checked_gradients", "gradients", "guarded_losses", "network",
    "of_cross_entropy", "of_relu", "of_softmax", "of_step", "quotients", "relative_errors", "right_of_checking",
    "right_of_network", "step_alone",
]  # fmt: skip
