"""A training of notebook 5: how it is run, and what it should give."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from course_utils.checks.pytorch_models import Case, Functions, Models, Values, held_by
from course_utils.comparison import CheckFailed, call
from course_utils.helpers import with_helpers


@dataclass(frozen=True)
class Run(Case):
    """A case, and how a training is called with it.

    Attributes
    ----------
    batches : (iterations, batch size) int array
    rate, decay : float
        Learning rate, and its factor after an epoch.
    """

    batches: np.ndarray = field(default_factory=lambda: np.zeros((0, 1), dtype=int))
    rate: float = 0.02
    decay: float = 1.0

    def of(self, iterations: int, **changed: Any) -> Run:
        """The run's first iterations, with other settings."""
        return replace(self, batches=self.batches[:iterations], **changed)

    @property
    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """More rows of the same kind; the labels don't matter."""
        rng = np.random.default_rng(len(self.X))
        X = 2 * rng.standard_normal((50, self.X.shape[1]))
        return X, rng.integers(0, len(self.params[f"b{len(self.params) // 2}"]), size=len(X))


def run_of(case: Case, iterations: int, batch_size: int, rows: int, **settings: Any) -> Run:
    """A run on the case's data, with more rows like them, ``rows`` in all."""
    rng, more = np.random.default_rng(len(case.X)), rows - len(case.X)
    X = np.concatenate([case.X, 2 * rng.standard_normal((more, case.X.shape[1])).astype(case.X.dtype)])
    y = np.concatenate([case.y, rng.integers(0, int(case.y.max()) + 1, size=more)])
    batches = np.random.default_rng(rows).integers(0, rows, size=(iterations, batch_size))
    name = case.name.replace(f"N={len(case.X)}", f"N={rows}")
    return Run(**vars(case) | {"X": X, "y": y, "name": name, "batches": batches} | settings)


def train(function: Callable, model: Any, run: Run) -> Any:
    return call(
        function, model, run.X, run.y, *run.validation,
        batches=run.batches, learning_rate=run.rate, learning_rate_decay=run.decay, reg=run.reg,
    )  # fmt: skip


def trained_params(function: Callable, model: Any, run: Run, models: Models) -> Values:
    """The parameters after a run."""
    train(function, model, run)
    held = held_by(model, models.state_of)
    if any(held[name].dtype != array.dtype for name, array in run.params.items()):
        raise CheckFailed(
            "the model", f"it is {held['W1'].dtype} after the training, and was {run.dtype} before it.",
            cause="the training has changed the model's precision; as_tensor brings the data into that of the model.",
        )  # fmt: skip
    return held


def descent(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
    """The reference's parameters after a run."""
    from course_utils.checks import pytorch_reference as reference

    wanted = {key: arguments[key] for key in ("params", "X", "y", "batches", "rate", "reg", "activation")}
    return reference.trained(**wanted, changes=changes, leftover=float(arguments["used"]))[0]


def with_right_helpers(train_torch: Callable, models: Models) -> Functions:
    """The training as it stands, and with right functions of 5.c under the names that it calls."""
    from course_utils.checks import pytorch_reference as reference

    def functions(case: Case) -> list[Callable]:
        def solved(model: Any, X: Any, y: Any, reg: float) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
            held = held_by(model, models.state_of)
            return reference.solved(held, np.asarray(X), np.asarray(y), reg, case.activation, {}), held

        def loss_and_gradients(model: Any, X: Any, y: Any, reg: float) -> tuple[float, dict[str, np.ndarray]]:
            values, held = solved(model, X, y, reg)
            return values["loss"], {name: values[name].astype(array.dtype) for name, array in held.items()}

        def scores(model: Any, X: Any) -> np.ndarray:
            values, held = solved(model, X, np.zeros(len(X), dtype=int), 0.0)
            return values["scores"].astype(held["W1"].dtype)

        return [train_torch, with_helpers(train_torch, {"loss_and_gradients": loss_and_gradients, "scores": scores})]

    return functions
