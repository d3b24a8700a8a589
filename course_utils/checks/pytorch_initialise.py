"""Check of 5.e: the initialisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import combinations, product
from typing import Any, Literal

import numpy as np

from course_utils.checks.pytorch_models import (
    Values,
    clearest,
    expect_shapes,
    held_by,
    holds,
    shapes_of,
    with_cause,
)
from course_utils.comparison import CheckFailed, call, passed
from course_utils.deviations import Cause, Observation, search
from course_utils.judge import answers

#: Layers so large that the standard deviation of their weights is known to one per cent.
_LARGE_SIZES = ((180, 100, 150), [150, 110, 140, 110])
#: Row by row, and column by column.
_ORDERS: tuple[Literal["C", "F"], ...] = ("C", "F")


# --- 5.e Initialisation -----------------------------------------------------------------


@answers("test-initialise")
def check_initialise(initialise: Callable, model_of: Callable, state_of: Callable, seed: int = 1) -> None:
    """Check that ``initialise(model, scale, rng)`` draws the weights in place, and sets the biases to zero.

    Parameters
    ----------
    initialise : callable
    model_of, state_of : callables
        See :class:`Models`.
    seed : int
        Of the random numbers.
    """
    failures: list[Exception] = []
    for kind, large in (("build_mlp", _LARGE_SIZES), ("right", [sizes[:3] for sizes in _LARGE_SIZES])):
        try:
            for sizes in large:
                _expect_initialised(initialise, kind, sizes, seed, model_of, state_of)
            passed("initialise draws weights of the right size for every layer, and sets the biases to zero.")
            return
        except (CheckFailed, NotImplementedError) as failure:
            failures.append(failure)
    raise clearest([failure for failure in failures if getattr(failure, "quantity", "") != "build_mlp"] or failures)


def _expect_initialised(
    initialise: Callable, kind: str, sizes: Sequence[int], seed: int, model_of: Callable, state_of: Callable
) -> None:
    params = {name: np.ones(shape, dtype=np.float32) for name, shape in shapes_of(sizes).items()}

    def drawn(scale: float | None, rng: int) -> dict[str, np.ndarray]:
        try:
            model = call(model_of, kind, params, "relu")
            _holds_or_fail(held_by(model, state_of), params)
        except CheckFailed as failure:
            failure.quantity = "build_mlp"
            raise
        call(initialise, model, scale, rng)
        held = held_by(model, state_of)
        expect_shapes("initialise", held, sizes, "the weights aren't transposed: nn.Linear's weight has the shape"
                       " (outputs, inputs).")  # fmt: skip
        for name, array in held.items():
            if array.dtype != np.float32:
                raise CheckFailed(name, f"it is {array.dtype} now, and was float32: draw in place.")
        return held

    records = {scale: drawn(scale, seed) for scale in (1e-4, 0.3, None)}
    for scale, held in records.items():
        try:
            _expect_distribution(held, scale)
            _expect_independent(held)
        except CheckFailed as failure:
            failure.problem = f"with scale={scale}, {failure.problem}"
            raise with_cause(failure, partial(_cause_of_draw, records)) from None
    held, again, other = records[None], drawn(None, seed), drawn(None, seed + 1)
    if not all(np.array_equal(held[name], again[name]) for name in held):
        raise CheckFailed("initialise", "the same seed gave two different draws. Draw with the seed rng.")
    if np.array_equal(held["W1"], other["W1"]):
        raise CheckFailed("initialise", "two seeds gave the same weights. Draw with the seed rng.")


def _holds_or_fail(held: Mapping[str, np.ndarray], params: Mapping[str, np.ndarray]) -> None:
    if not holds(held, params):
        raise CheckFailed("build_mlp", "its model has other layers than those asked for.")


def _expect_distribution(held: Mapping[str, np.ndarray], scale: float | None) -> None:
    """Biases are zero; weights have the standard deviation asked for and are normally distributed."""
    for name, array in held.items():
        if name.startswith("b"):
            if np.any(array != 0):
                raise CheckFailed(name, f"{np.count_nonzero(array)} biases aren't zero.")
            continue
        if np.all(array == 1):
            raise CheckFailed(
                name, "the weights are as they were.", cause="initialise hasn't drawn these weights in this model."
            )
        expected = np.sqrt(2 / array.shape[0]) if scale is None else scale
        found = float(np.std(array))
        # 14,000 weights or more: five per cent are more than seven standard errors.
        if abs(found / expected - 1) > 0.05:
            raise CheckFailed(
                name,
                f"the standard deviation is {found:.3g}, expected {expected:.3g}.",
                cause=_cause_of_size(array, expected),
            )
        if abs(float(np.mean(array))) > 0.06 * expected:
            raise CheckFailed(
                name,
                f"the mean is {np.mean(array):.3g}, expected nearly 0.",
                cause="the numbers are added to the weights that were there; take their place."
                if abs(float(np.mean(array)) - 1) < 0.06 * expected  # all weights were 1
                else None,
            )
        distance = _distance_from_normal(array.ravel()[:8000] / found)
        if distance > 0.04:
            raise CheckFailed(
                name,
                f"the weights aren't normally distributed: their distribution function is off by up to {distance:.3f}.",
                cause="these weights are spread evenly: draw them from a normal distribution."
                if np.abs(array).max() < 1.75 * expected  # sqrt(3)
                else None,
            )
        largest = float(np.abs(array).max()) / found
        if largest < 3:  # of 14,000 normal numbers, some forty are beyond
            raise CheckFailed(
                name,
                f"none of its {array.size:,} weights is beyond {largest:.2g} standard deviations: they aren't normally"
                " distributed.",
                cause=_cause_of_size(array, expected),
            )


def _cause_of_size(array: np.ndarray, expected: float) -> str | None:
    """Why numbers are spread less or more than is asked for."""
    if np.ptp(array) == 0:
        return "all weights of a layer are the same number: draw each of them." if array.any() else None
    limit = float(np.abs(array).max()) / expected
    outside = math.erfc(limit / math.sqrt(2))  # the share of normal numbers beyond the limit
    within = 1 - outside - 2 * limit * math.exp(-(limit**2) / 2) / math.sqrt(2 * math.pi)  # their part of the variance
    found = float(np.std(array)) / expected
    if abs(found / math.sqrt(within / (1 - outside)) - 1) < 0.02:
        return (
            f"the normal distribution is cut off at {limit:.2g} standard deviations, which makes it narrower, as"
            " trunc_normal_ does: draw with normal_."
        )
    if abs(found / math.sqrt(within + limit**2 * outside) - 1) < 0.02:
        return (
            f"numbers beyond {limit:.2g} times the standard deviation are set to that, which makes the distribution"
            " narrower: leave them as they are drawn."
        )
    return None


def _distance_from_normal(numbers: np.ndarray) -> float:
    """Kolmogorov's and Smirnov's statistic; 8,000 normal numbers exceed 0.04 once in 10 ** 11 times."""
    import torch

    expected = torch.special.ndtr(torch.from_numpy(np.sort(numbers))).numpy()
    steps = np.arange(len(numbers) + 1) / len(numbers)
    return float(max(np.max(steps[1:] - expected), np.max(expected - steps[:-1])))


def _expect_independent(held: Mapping[str, np.ndarray]) -> None:
    """No two layers begin with the same random numbers, as PyTorch or as NumPy stores them."""
    for one, other in combinations((name for name in held if name.startswith("W")), 2):
        size = min(100, held[one].size, held[other].size)
        for order, backwards in product(_ORDERS, repeat=2):
            pair = (held[one].ravel(order)[:size], held[other].ravel(backwards)[:size])
            if np.corrcoef(*pair)[0, 1] > 0.9:  # 100 independent numbers correlate by 0.1 or so
                raise CheckFailed(
                    "initialise",
                    f"{one} and {other} begin with the same random numbers.",
                    cause="each layer starts from the seed anew: set the seed once, before the loop.",
                )


def _cause_of_draw(records: Mapping[float | None, Mapping[str, np.ndarray]]) -> Cause | None:
    """The deviation that gives the standard deviations of all layers for all scales."""
    from course_utils.checks import pytorch_reference as reference

    def model(arguments: Mapping[str, Any], changes: Mapping[str, Callable]) -> Values:
        deviation, spread = (
            changes.get("deviation", reference.right_deviation),
            changes.get("spread", lambda s: (s, 0.0)),
        )
        shape_for, shapes = changes.get("layer", lambda shapes, name: shapes[name]), arguments["shapes"]
        return _log_sizes({name: spread(deviation(*shape_for(shapes, name), arguments["scale"])) for name in shapes})

    observed = []
    for scale, held in records.items():
        weights = {name: array for name, array in held.items() if name.startswith("W")}
        arguments = {"scale": scale, "shapes": {name: array.shape for name, array in weights.items()}}
        got = _log_sizes({name: (float(np.std(array)), float(np.mean(array))) for name, array in weights.items()})
        observed.append(
            Observation(
                arguments, got, model(arguments, {}), {name: 0.05 if name.startswith("mean") else 0.018 for name in got}
            )
        )
    return search(observed, model, reference.INITIAL)


def _log_sizes(found: Mapping[str, tuple[float, float]]) -> Values:
    """By layer, the logarithm of the standard deviation and the mean as a multiple of it."""
    sizes = {name: np.log(max(std, 1e-12)) for name, (std, _) in found.items()}
    return sizes | {f"mean of {name}": mean / max(std, 1e-12) for name, (std, mean) in found.items()}
