"""Checks of notebook 1: the forward pass and the loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from course_utils.causes import softmax_of_rows
from course_utils.comparison import (
    CheckFailed,
    as_numbers,
    call,
    call_keeping,
    conforming,
    expect_close,
    expect_keys,
    not_done,
    on_problem,
    passed,
)
from course_utils.reference import PUBLISHED_TOY_LOSS, PUBLISHED_TOY_SCORES, Problem, problem, problems
from course_utils.source import find_foreign_help, find_loop, is_unwritten

#: The largest summed difference to the published 8-digit scores: 15 scores, each rounded
#: by at most 5e-9, may sum to 7.5e-8.
SCORES_TOLERANCE = 1e-7
#: The published loss has 12 digits: it is rounded by at most 5e-12 / 10.
LOSS_TOLERANCE = 1e-12
#: Constants that students add to a probability to keep its logarithm finite. They spoil the
#: loss in its last digits only, and whether the loss is stable is a question of its own.
LOGARITHM_GUARDS = (0.0, *(10.0**-k for k in range(6, 21)), *(float(np.finfo(t).eps) for t in (np.float32, np.float64)))
#: Size of the logits in the question about stability; exp overflows beyond 709, and beyond 11356 in long double.
LARGE = 1e5
#: Up to this size the exponentials of logits and their sums are far from any limit.
MODERATE = 100.0


def check_relu(relu: Callable, on: Problem | None = None) -> None:
    """Check ``relu(z)``: (N, H) -> new array (N, H), exact."""
    for given in [on] if on else problems():
        z = given.values["z2"]
        integers = np.round(z).astype(int)
        with on_problem(given):
            for argument in (z, integers, z.astype(np.float32), z[:1]):
                expected = np.where(argument > 0, argument, 0)
                known = {"before": argument, "N": len(argument)}
                # Nothing is computed, only chosen: no round-off.
                expect_close("relu(z)", call_keeping(relu, z=argument), expected, tolerance=0.0, known=known)
    passed("relu(z) keeps the positive values and sets the others to zero.", on)


def check_softmax(softmax: Callable, on: Problem | None = None) -> None:
    """Check ``softmax(z)``: logits (N, K) -> new array of probabilities (N, K), on logits of moderate size."""
    for given in [on] if on else _moderate():
        z3, a3 = given.values["z3"], given.values["a3"]
        with on_problem(given):
            for rows in (slice(None), slice(0, 1)):
                known = {"before": z3[rows], "N": len(z3[rows])}
                got = call_keeping(softmax, z=z3[rows])
                expect_close("softmax(z)", got, a3[rows], **_size(z3), known=known)
            # Probabilities near 0 and 1, which nothing may limit: with a step of 30, exp(-30) is 1e-13.
            steep = np.where(np.arange(z3.shape[1]) == given.y[:, None], 30.0, 0.0) + 0.1 * a3
            expected = softmax_of_rows(steep)
            expect_close("softmax of rows with one large logit", call(softmax, steep), expected, **_size(steep))
    passed("softmax(z) gives the reference probabilities; every row sums to 1.", on)


def check_stability(softmax: Callable, softmax_cross_entropy: Callable, on: Problem | None = None) -> None:
    """Check that large logits give neither nan nor inf, in the softmax and in the cross-entropy.

    The softmax doesn't change when a constant is added to a row, another one to each row; no
    more does the cross-entropy. The cross-entropy of a row whose largest logit lies 1e5 above
    its true one is 1e5, though the probability of the true class underflows to 0.

    Whether the functions are right on moderate logits is asked elsewhere, and isn't asked
    again: a function that is wrong there must give finite values only.
    """
    given = conforming(
        on or problem("biased"),
        lambda own: (call(softmax, own.values["z3"]), call(softmax_cross_entropy, own.values["z3"], own.y)),
    )
    with on_problem(given):
        _expect_stable_softmax(softmax, given)
        _expect_stable_cross_entropy(softmax_cross_entropy, given)
    passed("logits of size 1e5 give finite probabilities and losses.", on)


def _shifts(rows: int) -> dict[str, np.ndarray]:
    """What is added to the logits, by name; in the last case the rows lie far apart."""
    apart = LARGE * (np.arange(rows) % 3 - 1.0)
    shifts = {"z + 100000": np.full(rows, LARGE), "z - 100000": np.full(rows, -LARGE)}
    shifts["z + (-100000, 0, 100000, ... row by row)"] = apart
    return {name: shift[:, None] for name, shift in shifts.items()}


def _expect_stable_softmax(softmax: Callable, given: Problem) -> None:
    z3, a3 = given.values["z3"], given.values["a3"]
    own = as_numbers("softmax(z)", call(softmax, z3))
    right = own.shape == a3.shape and np.allclose(own, a3, rtol=0.0, atol=1e-10)
    if not right:
        _expect_dependence("softmax(z)", own, call(softmax, 1 - z3))
    for text, shift in _shifts(len(z3)).items():
        got = call(softmax, z3 + shift)
        _expect_finite(f"softmax({text})", got)
        if right:
            # Adding the shift rounds the logits to 1e-12, and the probabilities with them.
            expect_close(f"softmax({text})", got, a3, terms=z3.shape[1], scale=LARGE)
    # A spread within a row: subtracting anything but its largest logit overflows. Each class has a row at
    # least, so that a sum over the wrong axis, the matter of another question, isn't zero.
    onehot = np.eye(z3.shape[1])[np.arange(max(z3.shape)) % z3.shape[1]]
    text = "softmax of rows (100000, 0, 0, ...), (0, 100000, 0, ...), ..."
    got = call(softmax, LARGE * onehot)
    _expect_finite(text, got)
    if right:  # but perhaps for a limit from below, which is the matter of another question
        expect_close(text, got, onehot, tolerance=1e-2)


def _expect_stable_cross_entropy(softmax_cross_entropy: Callable, given: Problem) -> None:
    z3, y = given.values["z3"], given.y.copy()
    rows, classes = z3.shape
    # The last class is among all labels: whether K is guessed from them is asked elsewhere.
    y[-1] = classes - 1
    own = as_numbers("softmax_cross_entropy(z, y)", call(softmax_cross_entropy, z3, y))
    factor = _constant_factor(softmax_cross_entropy, given)
    if factor is None:
        _expect_dependence("softmax_cross_entropy(z, y)", own, call(softmax_cross_entropy, 2 * z3 + 1, y))
    extreme = np.zeros((rows, classes))
    extreme[:, 0] = LARGE
    text = "softmax_cross_entropy of rows (100000, 0, 0, ...), the true class being the last,"
    got = as_numbers(text, call(softmax_cross_entropy, extreme, np.full_like(y, classes - 1)))
    _expect_finite(
        text,
        got,
        "The probability of the true class underflows to 0; take the logarithm of the sum of exponentials"
        " instead of the logarithm of a probability.",
    )
    if factor is not None and not np.allclose(got, factor * LARGE, rtol=1e-3):
        raise CheckFailed(
            text,
            f"the value is {float(np.max(got)):.6g}, expected {LARGE:.0f}. Don't limit the probability, nor add"
            " to it before the logarithm: that is finite, but wrong. Take the logarithm of the sum of exponentials.",
        )
    for shifted, shift in _shifts(rows).items():
        quantity = f"softmax_cross_entropy({shifted}, y)"
        got = call(softmax_cross_entropy, z3 + shift, y)
        _expect_finite(quantity, got)
        if factor is not None:
            expect_close(quantity, got, own, terms=rows, scale=LARGE)


def _constant_factor(softmax_cross_entropy: Callable, given: Problem) -> float | None:
    """The factor by which the function is off on moderate logits (1 if it is right), or None if there is none.

    Rows of one sample each are taken as often as the problem has rows, so that a sum in place
    of a mean is a constant factor too.
    """
    z3, a3 = given.values["z3"], given.values["a3"]
    labels = np.full_like(given.y, z3.shape[1] - 1)
    ratios = []
    for row in range(min(len(z3), 3)):
        got = call(softmax_cross_entropy, np.tile(z3[row], (len(z3), 1)), labels)
        got = as_numbers("softmax_cross_entropy(z, y)", got)
        if got.ndim:
            return None
        ratios.append(float(got) / -np.log(a3[row, -1]))
    # Guards of the logarithm, LOGARITHM_GUARDS, spoil the loss by less than 1e-2.
    return ratios[0] if ratios[0] and np.allclose(ratios, ratios[0], rtol=1e-2) else None


def _expect_finite(
    quantity: str, got: object, advice: str = "Subtract the largest logit of each row before taking exponentials."
) -> None:
    numbers = as_numbers(quantity, got)
    if not np.isfinite(numbers).all():
        bad = numbers[~np.isfinite(numbers)].ravel()[0] if numbers.ndim else numbers
        found = f"it holds {bad}" if numbers.ndim else f"it is {bad}"
        raise CheckFailed(quantity, f"{found}. {advice}")


def _expect_dependence(quantity: str, own: np.ndarray, other: object) -> None:
    """A function that doesn't look at its argument isn't stable, but empty."""
    if np.array_equal(own, as_numbers(quantity, other), equal_nan=True):
        raise CheckFailed(quantity, "it gives the same value for every z.")


def check_forward(
    forward: Callable, relu: Callable | None = None, softmax: Callable | None = None, on: Problem | None = None
) -> None:
    """Check ``forward(params, X)`` -> dict with ``z2``, ``a2`` (N, H), ``z3``, ``a3`` (N, K).

    With the student's ``relu`` and ``softmax``, a mistake in these isn't counted again.
    """
    for given in [on] if on else problems():
        if relu is not None:
            given = conforming(given, lambda own: call(relu, own.values["z2"]) @ own.params["W2"] + own.params["b2"])
        with on_problem(given):
            got = expect_keys(
                "forward", call_keeping(forward, params=given.params, X=given.X), ("z2", "a2", "z3", "a3")
            )
            _compare_forward(got, given, relu, softmax)
    passed("forward gives the reference z2, a2, z3 and a3.", on)


def _compare_forward(got: dict, given: Problem, relu: Callable | None, softmax: Callable | None) -> None:
    values, params = given.values, given.params
    known = {"N": len(given.X)}
    first, second, terms = _sizes_of_products(given)
    common = {"terms": terms, "input_dtype": np.result_type(given.X, params["W1"])}
    expect_close("z2", got["z2"], values["z2"], scale=first, known=known | {"bias": params["b1"]}, **common)
    expect_close(
        "a2", got["a2"], values["a2"], scale=first, known=known | {"before": values["z2"]}, **common,
        follows=[lambda: call(relu, got["z2"])],
    )  # fmt: skip
    expect_close(
        "z3", got["z3"], values["z3"], scale=second, known=known | {"bias": params["b2"]}, **common,
        follows=[lambda: np.asarray(call(relu, got["z2"])) @ params["W2"] + params["b2"]],
    )  # fmt: skip
    if np.abs(values["z3"]).max() > MODERATE and not _is_stable(softmax, got["z3"]):
        return
    expect_close(
        "a3", got["a3"], values["a3"], scale=second, known=known | {"before": values["z3"]}, **common,
        follows=[
            lambda: call(softmax, got["z3"]),
            lambda: softmax_of_rows(np.asarray(got["z3"], dtype=np.float64)),
        ],
    )  # fmt: skip


def _is_stable(softmax: Callable | None, logits: object) -> bool:
    """Whether the student's softmax copes with these logits, which is a question of its own."""
    try:
        return softmax is None or bool(np.isfinite(np.asarray(call(softmax, logits), dtype=np.float64)).all())
    except Exception:
        return False


def _sizes_of_products(given: Problem) -> tuple[float, float, int]:
    """Sizes of the sums of absolute products that give z2 and z3, and their number of terms.

    The round-off of z2 is carried on by W2 and adds to that of the second product.
    """
    W1, b1, W2, b2 = (np.abs(given.params[name]).astype(np.float64) for name in ("W1", "b1", "W2", "b2"))
    first = np.max(np.abs(np.asarray(given.X, dtype=np.float64)) @ W1 + b1)
    second = np.max(given.values["a2"] @ W2 + b2) + first * np.max(W2.sum(axis=0))
    return float(first), float(second), sum(W1.shape) + 1


def check_softmax_cross_entropy(
    softmax_cross_entropy: Callable, softmax: Callable | None = None, on: Problem | None = None
) -> None:
    """Check ``softmax_cross_entropy(z3, y)`` -> float: the mean over the samples, without regularisation.

    With the student's ``softmax``, a mistake in it isn't counted again.
    """
    for given in [on] if on else _moderate():
        with on_problem(given):
            for rows, quantity in (
                (slice(None), "softmax_cross_entropy(z3, y)"),
                (slice(0, 1), "softmax_cross_entropy of a single row"),
            ):
                z3, y, a3 = given.values["z3"][rows], given.y[rows], given.values["a3"][rows]
                expected = -np.mean(np.log(a3[np.arange(len(y)), y]))
                known = {"N": len(z3), "data": expected, "logits": z3, "labels": y}
                expect_close(
                    quantity, call(softmax_cross_entropy, z3, y), expected, known=known, terms=sum(z3.shape),
                    scale=float(np.max(np.abs(z3))), follows=_own_losses(z3, a3, y, softmax),
                )  # fmt: skip
    passed("softmax_cross_entropy gives the reference loss.", on)


def _own_losses(
    z3: np.ndarray, a3: np.ndarray, y: np.ndarray, softmax: Callable | None = None
) -> Iterator[Callable[[], float]]:
    """Cross-entropies that are right but for a guard of the logarithm, or for the student's softmax."""
    for guard in LOGARITHM_GUARDS:
        yield lambda guard=guard: _mean_log_loss(a3, y, guard)
        yield lambda guard=guard: _mean_log_loss(call(softmax, z3), y, guard)


def check_loss(
    loss: Callable,
    forward: Callable | None = None,
    softmax_cross_entropy: Callable | None = None,
    on: Problem | None = None,
) -> None:
    """Check ``loss(params, X, y, reg)`` -> float, with several values of reg, 0 among them.

    With the student's ``forward`` and ``softmax_cross_entropy``, a mistake in these isn't
    counted again.
    """
    for given in [on] if on else _moderate():
        if forward is not None and softmax_cross_entropy is not None:
            given = conforming(
                given, lambda own: call(softmax_cross_entropy, call(forward, own.params, own.X)["z3"], own.y)
            )
        keeps = forward is None or _keeps_arguments(forward, given)
        for reg in (given.reg, 0.0, 0.3 + given.reg):
            with on_problem(given._replace(reg=reg)):
                arguments = {"params": given.params, "X": given.X, "y": given.y, "reg": reg}
                got = call_keeping(loss, **arguments) if keeps else call(loss, *arguments.values())
                _compare_loss(got, given, reg, forward, softmax_cross_entropy)
    passed("loss gives the reference values, for every strength of regularisation.", on)


def _keeps_arguments(forward: Callable, given: Problem) -> bool:
    """Whether the student's forward leaves its arguments alone, so that a change is the caller's own."""
    try:
        call_keeping(forward, params=given.params, X=given.X)
    except (CheckFailed, NotImplementedError):
        return False
    return True


def _compare_loss(got: object, given: Problem, reg: float, forward: Callable | None, entropy: Callable | None) -> None:
    weights = [given.params["W1"], given.params["W2"]]
    squares = sum(float(np.sum(np.square(weight, dtype=np.float64))) for weight in weights)
    data = given.values["data_loss"]
    known = {
        "N": len(given.X), "reg": reg, "data": data, "weights": weights,
        "biases": [given.params["b1"], given.params["b2"]],
        "logits": given.values["z3"], "labels": given.y,
    }  # fmt: skip
    # The sums are those of the forward pass, of the softmax and the mean, and of the squares.
    _, second, terms = _sizes_of_products(given)
    terms += sum(given.values["z3"].shape) + sum(weight.size for weight in weights)
    expect_close(
        f"loss(params, X, y, reg={reg:.3g})", got, data + reg * squares, known=known,
        terms=terms, scale=second + reg * squares, input_dtype=np.result_type(given.X, weights[0]),
        follows=(
            lambda own=own: np.asarray(own(), dtype=np.float64) + reg * squares
            for own in _own_data_losses(given, forward, entropy)
        ),
    )  # fmt: skip


def _own_data_losses(
    given: Problem, forward: Callable | None, entropy: Callable | None
) -> Iterator[Callable[[], float]]:
    """Data losses that are right if the student's forward and cross-entropy are, however they are put together."""

    def own(name: str) -> np.ndarray:
        return np.asarray(call(forward, given.params, given.X)[name])

    yield lambda: call(entropy, own("z3"), given.y)
    yield lambda: call(entropy, given.values["z3"], given.y)
    for guard in (guard for guard in LOGARITHM_GUARDS if guard <= 1e-12):  # larger ones are seen in the loss
        yield lambda guard=guard: _mean_log_loss(own("a3"), given.y, guard)
        yield lambda guard=guard: _mean_log_loss(softmax_of_rows(own("z3")), given.y, guard)
        yield lambda guard=guard: _mean_log_loss(given.values["a3"], given.y, guard)


def _mean_log_loss(probabilities: object, y: np.ndarray, guard: float) -> float:
    with np.errstate(all="ignore"):
        return float(-np.mean(np.log(np.asarray(probabilities)[np.arange(len(y)), y] + guard)))


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


def _size(logits: np.ndarray) -> dict[str, float]:
    """Terms and scale of a softmax: its relative error grows with the size of the logits."""
    return {"terms": logits.shape[1], "scale": float(np.max(np.abs(logits)))}
