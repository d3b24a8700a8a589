"""Checks of notebook 1: the forward pass and the loss."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from course_utils import mistakes
from course_utils.comparison import (
    CheckFailed,
    as_numbers,
    call,
    expect_close,
    expect_keys,
    not_done,
    passed,
    roundoff_tolerance,
)
from course_utils.deviations import Observation, is_right
from course_utils.helpers import with_helpers
from course_utils.judge import Asked, Part, Reference, answers, judge
from course_utils.reference import PUBLISHED_TOY_LOSS, PUBLISHED_TOY_SCORES, Problem, problem, problems
from course_utils.source import find_foreign_help, find_loop, is_unwritten

#: The largest summed difference to the published 8-digit scores: 15 scores, each rounded
#: by at most 5e-9, may sum to 7.5e-8.
SCORES_TOLERANCE = 1e-7
#: The published loss has 12 digits: it is rounded by at most 5e-12 / 10.
LOSS_TOLERANCE = 1e-12
#: Size of the logits in the question about stability; exp overflows beyond 709, and beyond 11356 in long double.
LARGE = 1e5

_RELU = Reference(mistakes.of_relu, deviations=mistakes.RELU_ALONE)
_SOFTMAX = Reference(mistakes.of_softmax, deviations=mistakes.SOFTMAX_ALONE)
_FORWARD = Reference(mistakes.network, mistakes.right_of_network, mistakes.FORWARD)
_CROSS_ENTROPY = Reference(mistakes.of_cross_entropy, mistakes.right_of_network, mistakes.CROSS_ENTROPY)
_LOSS = Reference(
    mistakes.network, mistakes.right_of_network, mistakes.LOSS, lambda observed: _right_without_regularisation(observed)
)


@answers("test-relu")
def check_relu(relu: Callable, on: Problem | None = None) -> None:
    """Check ``relu(z)``: (N, H) -> new array (N, H), exact."""
    asked = []
    for given in [on] if on else problems():
        z = given.values["z2"]
        for argument in (z, 1e-3 * z, np.round(z).astype(int), z.astype(np.float32), z[:1]):
            # Nothing is computed, only chosen: no round-off.
            part = Part("relu(z)", np.where(argument > 0, argument, 0), 0.0)
            asked.append(Asked(given, {"z": argument}, {"a2": part}))
    judge(relu, asked, _RELU, "test-relu")
    passed("relu(z) keeps the positive values and sets the others to zero.", on)


@answers("test-softmax")
def check_softmax(softmax: Callable, on: Problem | None = None) -> None:
    """Check ``softmax(z)``: logits (N, K) -> new array of probabilities (N, K), on logits of moderate size."""
    asked = []
    for given in [on] if on else _moderate():
        z3, a3 = given.values["z3"], given.values["a3"]
        # Probabilities near 0 and 1, which nothing may limit: with a step of 30, exp(-30) is 1e-13.
        steep = np.where(np.arange(z3.shape[1]) == given.y[:, None], 30.0, 0.0) + 0.1 * a3
        cases = {"softmax(z)": (z3, a3), "softmax of a single row": (z3[:1], a3[:1])}
        cases["softmax of rows with one large logit"] = steep, mistakes.of_softmax({"z": steep}, {})["a3"]
        for label, (z, expected) in cases.items():
            # The relative error of a softmax grows with the size of the logits.
            tolerance = roundoff_tolerance(np.float64, z.shape[1], float(np.max(np.abs(z))))
            asked.append(Asked(given, {"z": z}, {"a3": Part(label, expected, tolerance)}))
    judge(softmax, asked, _SOFTMAX, "test-softmax")
    passed("softmax(z) gives the reference probabilities; every row sums to 1.", on)


@answers("test-forward")
def check_forward(forward: Callable, on: Problem | None = None) -> None:
    """Check ``forward(params, X)`` -> dict with ``z2``, ``a2`` (N, H), ``z3``, ``a3`` (N, K)."""
    names = ("z2", "a2", "z3", "a3")
    asked = []
    for given in [on] if on else problems():
        first, second, terms = _sizes_of_products(given)
        dtype = np.result_type(given.X, given.params["W1"])
        scales = {"z2": first, "a2": first, "z3": second, "a3": second}
        parts = {name: Part(name, given.values[name], roundoff_tolerance(dtype, terms, scales[name])) for name in names}
        asked.append(Asked(given, {"params": given.params, "X": given.X}, parts, dict(zip(names, names, strict=True))))
    judge(forward, asked, _FORWARD, "test-forward")
    passed("forward gives the reference z2, a2, z3 and a3.", on)


@answers("test-cross-entropy")
def check_softmax_cross_entropy(softmax_cross_entropy: Callable, on: Problem | None = None) -> None:
    """Check ``softmax_cross_entropy(z3, y)`` -> float: the mean over the samples, without regularisation."""
    asked = []
    for given in [on] if on else _moderate():
        for rows, label in ((slice(None), "(z3, y)"), (slice(0, 1), " of a single row")):
            z3, y, a3 = given.values["z3"][rows], given.y[rows], given.values["a3"][rows]
            expected = -np.mean(np.log(a3[np.arange(len(y)), y]))
            tolerance = roundoff_tolerance(np.float64, sum(z3.shape), float(np.max(np.abs(z3))))
            part = Part(f"softmax_cross_entropy{label}", expected, tolerance, mistakes.guarded_losses(z3, y, 1e-6))
            asked.append(Asked(given, {"z3": z3, "y": y}, {"data_loss": part}, spent=("z3",)))
    judge(softmax_cross_entropy, asked, _CROSS_ENTROPY, "test-cross-entropy")
    passed("softmax_cross_entropy gives the reference loss.", on)


@answers("test-loss")
def check_loss(loss: Callable, on: Problem | None = None) -> None:
    """Check ``loss(params, X, y, reg)`` -> float, with several values of reg, 0 among them."""
    asked = []
    for given in [on] if on else _moderate():
        weights = [given.params["W1"], given.params["W2"]]
        squares = sum(float(np.sum(np.square(weight, dtype=np.float64))) for weight in weights)
        data = given.values["data_loss"]
        guarded = mistakes.guarded_losses(given.values["z3"], given.y, 1e-12)  # larger ones are seen in the loss
        # The sums are those of the forward pass, of the softmax and the mean, and of the squares.
        _, second, terms = _sizes_of_products(given)
        terms += sum(given.values["z3"].shape) + sum(weight.size for weight in weights)
        for reg in (given.reg, 0.0, 0.3 + given.reg):
            tolerance = roundoff_tolerance(np.result_type(given.X, weights[0]), terms, second + reg * squares)
            price = reg * squares
            part = Part(
                f"loss(params, X, y, reg={reg:.3g})", data + price, tolerance, tuple(g + price for g in guarded)
            )
            arguments = {"params": given.params, "X": given.X, "y": given.y, "reg": reg}
            asked.append(Asked(given._replace(reg=reg), arguments, {"loss": part}))
    judge(loss, asked, _LOSS, "test-loss")
    passed("loss gives the reference values, for every strength of regularisation.", on)


def _right_without_regularisation(observed: list[Observation]) -> str | None:
    """Which of the two terms is right: reg shows one alone."""
    plain = [seen for seen in observed if seen.arguments["reg"] == 0]
    if plain and all(is_right(seen) for seen in plain):
        return "with reg = 0 the value is right; look at the regularisation."
    return None


def _sizes_of_products(given: Problem) -> tuple[float, float, int]:
    """Sizes of the sums of absolute products that give z2 and z3, and their number of terms.

    The round-off of z2 is carried on by W2 and adds to that of the second product.
    """
    W1, b1, W2, b2 = (np.abs(given.params[name]).astype(np.float64) for name in ("W1", "b1", "W2", "b2"))
    first = np.max(np.abs(np.asarray(given.X, dtype=np.float64)) @ W1 + b1)
    second = np.max(given.values["a2"] @ W2 + b2) + first * np.max(W2.sum(axis=0))
    return float(first), float(second), sum(W1.shape) + 1


_SUBTRACT = "Subtract the largest logit of each row before taking exponentials."
_DIVIDED = "No exponential overflows, since 300 in place of 100000 gives that too: is something divided by 0 there?"
_SHIFTED = (
    " A number that is added to all logits of a row changes no probability: subtract the largest logit of each row, and"
    " limit none."
)
_NO_PROBABILITY = (
    "Subtract the largest logit of each row before taking exponentials, and compute log sum exp(z) - z_y, without the"
    " true class's probability itself, which is too small for a number here."
)


@answers("test-stability")
def check_stability(softmax: Callable, softmax_cross_entropy: Callable, on: Problem | None = None) -> None:
    """Check that large logits give neither nan nor inf, and what moderate ones do.

    Whether the functions are right is asked elsewhere, and isn't asked again: what holds for a
    function on moderate logits must hold on large ones. Where a constant that is added to each
    row, or another one to each row, changes nothing, it changes nothing if it is large; where the
    loss grows with the logits, it goes on growing. The matrices of logits are square, so that an
    axis mistaken, the matter of another question, raises no error.
    """
    given = on or problem("biased")
    # Five rows, as in the toy problem, and five columns.
    (N, K), size = given.values["z3"].shape, np.arange(5)
    z3, y = given.values["z3"][np.ix_(size % N, size % K)], given.y[size % N] % len(size)
    # The last class is among all labels: whether K is guessed from them is asked elsewhere.
    y[-1] = len(size) - 1
    with _on_logits_of(given):
        try:
            _expect_stable_softmax(softmax, z3)
        except CheckFailed as failure:
            right = mistakes.right_of_network(None, ("softmax",))
            try:
                _expect_stable_cross_entropy(with_helpers(softmax_cross_entropy, right), z3, y)
            except CheckFailed as another:
                failure.problem += f" And {another.quantity.rstrip(',')}: {another.problem}"
            raise
        _expect_stable_cross_entropy(softmax_cross_entropy, z3, y)
    passed("logits of size 1e5 give finite probabilities and losses.", on)


@contextlib.contextmanager
def _on_logits_of(given: Problem) -> Iterator[None]:
    """As :func:`on_problem`, where the logits aren't all the problem's own."""
    try:
        yield
    except CheckFailed as failure:
        failure.data = f"logits of five rows and five classes, some of {given.name}'s and larger ones"
        raise


def _value(function: Callable, *args: Any) -> Any:
    """What a function gives; whether it returns something besides is asked before."""
    result = call(function, *args)
    return result[0] if isinstance(result, tuple) and result else result


def _expect_stable_softmax(softmax: Callable, z3: np.ndarray) -> None:
    own = as_numbers("softmax(z)", _value(softmax, z3))
    _expect_dependence("softmax(z)", own, _value(softmax, 1 - z3))
    _expect_shifts_to_change_nothing("softmax({})", lambda z: _value(softmax, z), z3)
    # A spread within a row: where anything but its largest logit is subtracted, the exponential of that one overflows.
    onehot = np.eye(z3.shape[1])
    text = "softmax of rows (100000, 0, 0, ...), (0, 100000, 0, ...), ..., where the 100000 are,"
    got, small, smaller = (
        _of_largest(as_numbers(text, _value(softmax, spread * onehot))) for spread in (LARGE, 30.0, 15.0)
    )
    # Of a spread of 300 no exponential overflows, whatever is subtracted; one may vanish.
    overflows = np.isfinite(as_numbers(text, _value(softmax, 300.0 * onehot))).all()
    _expect_finite(text, got, _SUBTRACT if overflows else _DIVIDED)
    if np.allclose(small, smaller, rtol=0.0, atol=1e-5):
        expect_close(text, got, small, tolerance=1e-2)


def _of_largest(probabilities: np.ndarray) -> np.ndarray:
    """Of rows with their largest logit on the diagonal; the others underflow, which another mistake may divide by."""
    return np.diagonal(probabilities) if probabilities.ndim == 2 else probabilities


def _expect_stable_cross_entropy(cross_entropy: Callable, z3: np.ndarray, y: np.ndarray) -> None:
    own = as_numbers("softmax_cross_entropy(z, y)", _value(cross_entropy, z3, y))
    _expect_dependence("softmax_cross_entropy(z, y)", own, _value(cross_entropy, 40 * z3, y))
    last = np.full_like(y, z3.shape[1] - 1)
    # A probability of exp(-1000) is 0; where the mean is subtracted, say, no exponential overflows yet.
    small = np.where(np.arange(z3.shape[1]) == z3.shape[1] - 1, -1000.0, np.zeros_like(z3))
    vanishes = not np.isfinite(as_numbers("softmax_cross_entropy(z, y)", _value(cross_entropy, small, last))).all()
    without = _NO_PROBABILITY if vanishes else _SUBTRACT
    for largest, advice in ((0.0, without), (LARGE, _SUBTRACT)):  # no exponential overflows in the first case
        extreme = np.full(z3.shape, largest)
        extreme[:, -1] = largest - LARGE
        row = ", ".join(f"{logit:.0f}" for logit in (largest, largest, largest - LARGE))
        text = f"softmax_cross_entropy of rows ({row}), the true class being the last,"
        text = text.replace(f"{largest:.0f}, {largest:.0f}", f"{largest:.0f}, ..., {largest:.0f}")
        _expect_finite(text, _value(cross_entropy, extreme, last), advice)
    turned = np.stack([np.roll(np.linspace(0.0, -LARGE, z3.shape[1]), number) for number in range(len(z3))])
    text = (
        "softmax_cross_entropy of rows (0, -25000, ..., -100000), (-100000, 0, ..., -75000), ..., the last class true,"
    )
    _expect_finite(text, _value(cross_entropy, turned, last), without)
    _expect_growth(lambda z: _value(cross_entropy, z, last), z3.shape)
    _expect_shifts_to_change_nothing("softmax_cross_entropy({}, y)", lambda z: _value(cross_entropy, z, y), z3)


def _expect_shifts_to_change_nothing(quantity: str, function: Callable, z3: np.ndarray) -> None:
    """If a small number that is added to the logits changes nothing, a large one doesn't; in the end rows lie apart."""
    own = as_numbers(quantity.format("z"), function(z3))
    apart = (np.arange(len(z3)) % 3 - 1.0)[:, None]
    # Adding the shift rounds the logits to 1e-12, and what comes of them.
    rounded = roundoff_tolerance(np.float64, z3.shape[1], LARGE) * max(1.0, float(np.max(np.abs(own))))
    for text, shift in (("+ 100000", 1.0), ("- 100000", -1.0), ("+ (-100000, 0, 100000, ... row by row)", apart)):
        shifted = quantity.format(f"z {text}")
        if not np.allclose(as_numbers(shifted, function(z3 + shift)), own, rtol=1e-9, atol=1e-12):
            continue
        got = function(z3 + LARGE * shift)
        _expect_finite(shifted, got, _SUBTRACT)
        try:
            expect_close(shifted, got, own, tolerance=rounded)
        except CheckFailed as failure:
            failure.problem += _SHIFTED
            raise


def _expect_growth(loss: Callable, shape: tuple[int, ...]) -> None:
    """A loss that grows in proportion with moderate logits does so with large ones, however small a probability is.

    All rows are the same. The loss is convex in the factor of its logits, so its slope never falls; one that falls
    from the beginning has another reason than a guard, which shows at small probabilities alone.
    """
    spread = np.tile(np.linspace(0.0, -1.0, shape[1]), (shape[0], 1))

    def slope(size: float) -> float:
        got = [np.sum(as_numbers("softmax_cross_entropy(z, y)", loss(larger * spread))) for larger in (size, 2 * size)]
        return float(got[1] - got[0]) / size

    first, second, large = slope(1.0), slope(2.0), slope(LARGE)
    if first > 0 and second >= first and not large / second > 0.9:
        raise CheckFailed(
            "softmax_cross_entropy(z, y)",
            f"where z is of size 1e5, the loss of 2 z is larger by {large * LARGE:.3g}. As it grows where z is small,"
            f" it should be by {second * LARGE:.0f} or more. A probability that is limited, added to, or left out where"
            " it is 0 gives a loss that is finite, but wrong. Take the logarithm of the sum of exponentials.",
        )


def _expect_finite(quantity: str, got: object, advice: str) -> None:
    numbers = as_numbers(quantity, got)
    if not np.isfinite(numbers).all():
        bad = numbers[~np.isfinite(numbers)].ravel()[0] if numbers.ndim else numbers
        found = f"it holds {bad}" if numbers.ndim else f"it is {bad}"
        raise CheckFailed(quantity, f"{found}. {advice}")


def _expect_dependence(quantity: str, own: np.ndarray, other: object) -> None:
    """A function that doesn't look at its argument isn't stable, but empty."""
    if np.array_equal(own, as_numbers(quantity, other), equal_nan=True):
        raise CheckFailed(quantity, "it gives the same value for every z.")


def compare_with_published(forward: Callable, loss: Callable) -> None:
    """Print the differences to the published scores and loss of the toy problem; check them."""
    toy = problem("toy")
    scores = expect_keys("forward", call(forward, toy.params, toy.X), ("a3",))["a3"]
    expect_close("a3", scores, PUBLISHED_TOY_SCORES, tolerance=SCORES_TOLERANCE)
    difference = float(np.sum(np.abs(scores - PUBLISHED_TOY_SCORES)))
    print(f"summed difference of the scores: {difference:.1e}")
    if difference >= SCORES_TOLERANCE:
        raise CheckFailed("a3", f"the summed difference must be below {SCORES_TOLERANCE:.0e}.")
    got = call(loss, toy.params, toy.X, toy.y, toy.reg)
    expect_close("loss", got, PUBLISHED_TOY_LOSS, tolerance=LOSS_TOLERANCE)
    print(f"difference of the loss:          {abs(float(got) - PUBLISHED_TOY_LOSS):.1e}")
    passed("the network computes what the published one does.")


def check_vectorised(*functions: Callable) -> None:
    """Check that no function loops in Python over samples, classes or features, or borrows the answer."""
    for function in functions:
        name = getattr(function, "__name__", "the function")
        if is_unwritten(function):
            raise not_done(f"{name} is not written yet")
        line = find_loop(function)
        if line is not None:
            raise CheckFailed(name, f"`{line}` loops over the elements of an array; let NumPy work on whole arrays.")
        check_own_work(function)
    passed("NumPy does the loops.")


def check_own_work(function: Callable) -> None:
    """Check that ``function`` is written with NumPy, and not with a library that does the exercise."""
    library = find_foreign_help(function)
    if library is not None:
        name = getattr(function, "__name__", "the function")
        raise CheckFailed(name, f"it uses {library}; write it with NumPy alone.")


def _moderate() -> list[Problem]:
    """The stored problems whose logits can't overflow, so that stability is a question of its own."""
    return [problem(name) for name in ("toy", "biased", "unregularised")]
