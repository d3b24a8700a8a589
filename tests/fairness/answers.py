"""What the banks hold: answers to a notebook's questions, and what they should earn."""

from __future__ import annotations

import textwrap
from typing import NamedTuple

#: The first line of every function that a student writes.
SIGNATURES = {
    "relu": "relu(z)",
    "softmax": "softmax(z)",
    "forward": "forward(params, X)",
    "softmax_cross_entropy": "softmax_cross_entropy(z3, y)",
    "loss": "loss(params, X, y, reg)",
    "dJ_dz3_symbolic": "dJ_dz3_symbolic(z, y)",
    "grad_z3": "grad_z3(a3, y)",
    "grad_W2": "grad_W2(a2, dz3)",
    "grad_b2": "grad_b2(dz3)",
    "grad_a2": "grad_a2(dz3, W2)",
    "grad_z2": "grad_z2(da2, z2)",
    "grad_W1": "grad_W1(X, dz2)",
    "grad_b1": "grad_b1(dz2)",
    "backward": "backward(params, X, y, reg)",
    "numerical_gradient": "numerical_gradient(f, x, h=1e-5)",
    "relative_error": "relative_error(a, b)",
    "check_gradients": "check_gradients(loss_fn, params, grads)",
    "wrong_gradients": "wrong_gradients()",
    "sample_batch": "sample_batch(X, y, batch_size, rng)",
    "train": (
        "train(params, X, y, X_val, y_val, *, learning_rate, learning_rate_decay, reg, num_iters, batch_size, rng)"
    ),
    "predict": "predict(params, X)",
    "build_mlp": "build_mlp(sizes, activation)",
    "params_to_torch": "params_to_torch(params)",
    "scores": "scores(model, X)",
    "loss_and_gradients": "loss_and_gradients(model, X, y, reg)",
    "train_torch": "train_torch(model, X, y, X_val, y_val, *, batches, learning_rate, learning_rate_decay, reg)",
    "initialise": "initialise(model, scale, rng)",
}


class Answer(NamedTuple):
    """A student's answer to some questions of one notebook, the rest of the notebook being right.

    Attributes
    ----------
    name : str
        What is particular about it, in words.
    codes : dict of str
        Function, a key of :data:`SIGNATURES` -> the text that stands in the solution cell in its place.
    loses : tuple of str
        ``grade_id`` of every question that must lose points; none for a right answer.
    says : str
        Part of the sentence that the student must read as the probable cause, if the cause
        can be recognised from the numbers.
    left : float
        The points that the question keeps, where it gives partial credit.
    """

    name: str
    codes: dict[str, str]
    loses: tuple[str, ...] = ()
    says: str = ""
    left: float = 0.0

    @property
    def title(self) -> str:
        """Functions and name, by which a table or a test names the answer."""
        return f"{', '.join(self.codes)}: {self.name}"


def function(name: str, body: str, *, before: str = "") -> str:
    """The text of function ``name`` with this body; ``before`` stands above it in the cell."""
    text = f"def {SIGNATURES[name]}:\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n"
    return f"{textwrap.dedent(before).strip()}\n\n\n{text}" if before else text
