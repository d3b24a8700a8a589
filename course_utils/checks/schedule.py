"""The learning rates of a training, and its history.

What is trained is chosen so that neither the batches nor the kind of step matter: all rows are alike,
all scores are equal at first, whatever the rows are, and the learning rate is so small that the gradient
doesn't change on the way. The losses then fall in proportion to the learning rates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from itertools import product
from typing import Any

import numpy as np

from course_utils.checks.descent import depends_on_the_past, expect_count, returns_the_last_params
from course_utils.checks.record import RIGHT, Findings, Record, Setting, alike, first_epoch, record
from course_utils.comparison import CheckFailed, as_numbers, call, expect_keys
from course_utils.reference import problem

_DECAY, _STRONG_DECAY = 0.6, 0.2
_ACCURACIES = ("train_accuracy", "val_accuracy")


def expect_schedule(train: Callable, predict: Callable, seed: int) -> None:
    """Raise :class:`CheckFailed` unless the learning rate decays after each epoch and the history is right."""
    setting = _equal_scores(seed)
    decayed = record(train, setting)
    expect_keys("history", decayed.history, ("loss", *_ACCURACIES))
    is_shown = _expect_count(train, decayed)
    findings = Findings()
    with findings.looking():
        _expect_first_loss(decayed)
    if not is_shown:
        findings.tell()
        return
    with findings.looking():
        _expect_rates(train, decayed)
    with findings.looking():
        # An epoch of at least one iteration: without that, this divides by zero.
        record(train, setting.but(batch_size=len(setting.X) + 5, num_iters=1))
    ends = cache(lambda: _ends_of_epochs(train, _telling_apart(seed)))
    for key in _ACCURACIES:
        with findings.looking():
            _expect_one_an_epoch(train, decayed, key, seed)
            try:
                _expect_accuracies(train, predict, ends(), key, seed)
            except CheckFailed:
                if returns_the_last_params(train):
                    raise
                # That is told by the descent; what is returned shall be as good as what isn't.
                still = _ends_of_epochs(train, _telling_apart(seed).but(learning_rate=1e-12))
                _expect_accuracies(train, predict, still, key, seed)
    findings.tell()


def _equal_scores(seed: int) -> Setting:
    """Rows that are all alike and of a few whole numbers; the columns of W2 are equal, and so are the scores.

    An epoch has 4 iterations of 7 rows: neither 7 nor a quotient that is rounded up, or not rounded, is taken for it.
    """
    rng = np.random.default_rng(seed)
    rows, size, features, hidden, classes = int(rng.integers(31, 33)), 7, 6, 5, 4
    params = {
        "W1": rng.standard_normal((features, hidden)),
        "b1": rng.uniform(1, 2, hidden),
        "W2": np.repeat(rng.standard_normal((hidden, 1)), classes, axis=1),
        "b2": np.zeros(classes),
    }
    X = np.tile(rng.choice([-1.0, 1.0], size=features), (rows, 1))
    y = np.full(rows, int(rng.integers(classes)))
    return Setting(
        params, X, y, X, y, learning_rate=1e-4, learning_rate_decay=_DECAY, reg=0.3,
        num_iters=4 * (rows // size) + 2, batch_size=size, rng=4,
    )  # fmt: skip


# --- Losses -----------------------------------------------------------------------------


def _expect_count(train: Callable, decayed: Record) -> bool:
    """One loss for each iteration; whether there are enough of them for the rest to show.

    Who makes too few or too many iterations is told so by the descent.
    """
    setting, losses = decayed.setting, as_numbers('history["loss"]', decayed.history["loss"])
    asked, epoch, made = setting.num_iters, setting.epoch, losses.size
    if losses.shape == (asked,):
        return True
    ever = record(train, setting.but(batch_size=len(setting.X))).losses.size
    if losses.ndim == 1 and (ever != asked or _miscounts(train)):
        if made > epoch + 1:
            return True
        if made == 1 and _is_one_step(train, decayed):
            return False
    cause = "there is one loss for each epoch, where there should be one for each iteration."
    raise CheckFailed(
        'history["loss"]',
        f"with num_iters={asked}, {epoch} iterations to an epoch, the shape is {losses.shape}, expected ({asked},):"
        " one loss for each iteration.",
        cause=cause if made == asked // epoch and ever == asked else None,
        deviations=(f"{made} losses",),
    )


def _miscounts(train: Callable) -> bool:
    try:
        expect_count(train, alike(problem("sample")))
    except CheckFailed:
        return True
    return False


def _is_one_step(train: Callable, decayed: Record) -> bool:
    """Whether a step was made, and none after it."""
    one = record(train, decayed.setting.but(num_iters=1)).params
    return any(decayed.step(name).any() for name in one) and all(
        np.array_equal(one[name], array) for name, array in decayed.params.items()
    )


def _terms_of_first_loss(setting: Setting) -> tuple[float, dict[str, float]]:
    """The data's part, of equal scores, and the squares of each array."""
    squares = {name: float(np.sum(array**2)) for name, array in setting.params.items()}
    return float(np.log(setting.params["b2"].size)), squares


def _late_start(decayed: Record) -> list[float]:
    """The loss before the first step, if the losses are those after the steps; else nothing."""
    data, squares = _terms_of_first_loss(decayed.setting)
    start, losses = data + decayed.setting.reg * (squares["W1"] + squares["W2"]), decayed.losses
    if losses.size < 2 or losses[0] == losses[1] or np.isclose(losses[0], start, rtol=1e-7, atol=0):
        return []
    return [start] if np.isclose(start - losses[0], losses[0] - losses[1], rtol=0.05) else []


def _expect_first_loss(decayed: Record) -> None:
    setting, losses = decayed.setting, decayed.losses
    data, squares = _terms_of_first_loss(setting)
    weights = squares["W1"] + squares["W2"]
    expected = data + setting.reg * weights
    got = float(losses[0]) if losses.size else float("nan")
    if np.isclose(got, expected, rtol=1e-7, atol=0):  # single precision is told by the descent
        return
    size, rows, reg = setting.batch_size, len(setting.X), setting.reg
    causes = {
        "these are losses without regularisation; loss(params, X_batch, y_batch, reg) has it.": data,
        "the loss has half the regularisation: it is reg times the sum of the squared weights.": data
        + reg * weights / 2,
        "the loss has twice the regularisation: it is reg times the sum of the squared weights.": data
        + 2 * reg * weights,
        "reg is multiplied to the loss's regularisation twice.": data + reg**2 * weights,
        "the loss's regularisation isn't multiplied by reg.": data + weights,
        "the biases are regularised too.": data + reg * sum(squares.values()),
        "W2 is missing in the regularisation of the loss.": data + reg * squares["W1"],
        "W1 is missing in the regularisation of the loss.": data + reg * squares["W2"],
        "the loss is summed over the batch, where the mean is asked for.": size * data + reg * weights,
        "the whole loss is multiplied by the number of samples.": size * expected,
        "the loss is divided by the number of samples once more.": expected / size,
        "the data's part of the loss is divided by the number of samples once more.": data / size + reg * weights,
        "the regularisation is divided by the number of samples.": data + reg * weights / size,
        "the loss is divided by the number of iterations in an epoch.": expected / setting.epoch,
        "the sum over the batch is divided by len(X).": size * data / rows + reg * weights,
        "the loss has the wrong sign.": -expected,
        "a loss is computed with logarithms to the base 10.": data / np.log(10) + reg * weights,
        "a loss is computed with logarithms to the base 2.": data / np.log(2) + reg * weights,
    }
    found = [cause for cause, value in causes.items() if np.isclose(got, value, rtol=1e-9)]
    if not found and _late_start(decayed):
        found = ["each loss is that after the step; it should be the loss of the batch before it."]
    raise CheckFailed(
        'history["loss"]',
        "the first loss isn't that of the parameters that train was given.",
        place=f"got {got:.10g}, expected {expected:.10g}",
        cause=found[0] if found else None,
        deviations=("first loss",),
    )


# --- Learning rates ---------------------------------------------------------------------

#: Which epoch an iteration belongs to, from iteration, iterations in an epoch, N and batch_size; and sentence.
EPOCHS: dict[str, tuple[Callable[..., Any], str]] = {
    "": (lambda t, epoch, rows, size: t // epoch, ""),
    "never": (lambda t, epoch, rows, size: 0 * t,
        "the learning rate is the same in the first two epochs and beyond: it doesn't decay after each. (Is E the whole"
        " number len(X) // batch_size?)"),
    "every iteration": (lambda t, epoch, rows, size: t,
        "the learning rate decays after every iteration; it should after every epoch."),
    "early": (lambda t, epoch, rows, size: (t + epoch - 1) // epoch,
        "the learning rate decays after the very first iteration too: is it t % E == 0, in place of (t + 1) % E == 0?"),
    "before": (lambda t, epoch, rows, size: t // epoch + 1,
        "the learning rate has decayed once before the first epoch."),
    "rounded up": (lambda t, epoch, rows, size: t // -(-rows // size),
        "an epoch has len(X) // batch_size iterations, rounded down."),
    "one early": (lambda t, epoch, rows, size: (t + 1) // epoch,
        "the learning rate decays one iteration too early, before the last step of an epoch."),
    "one late": (lambda t, epoch, rows, size: np.maximum(t - 1, 0) // epoch,
        "the learning rate decays one iteration too late, after the first step of the next epoch."),
    "not rounded": (lambda t, epoch, rows, size: t // (rows / size),
        "an epoch has len(X) / batch_size iterations here, a broken number; round it down: len(X) // batch_size."),
    "batch": (lambda t, epoch, rows, size: t // size,
        "the learning rate decays after every batch_size iterations, and an epoch has len(X) // batch_size."),
    "parts": (lambda t, epoch, rows, size: t / epoch,
        "the learning rate decays within an epoch too: its exponent is rounded down, iteration // E."),
    "every second": (lambda t, epoch, rows, size: t // epoch // 2,
        "the learning rate decays after every second epoch; it should after each."),
    "an epoch late": (lambda t, epoch, rows, size: np.maximum(t // epoch - 1, 0),
        "the learning rate is the same in the first two epochs, and decays after the second: it should after every"
        " epoch, whatever the accuracies are."),
    "once": (lambda t, epoch, rows, size: np.minimum(t // epoch, 1),
        "the learning rate decays after the first epoch alone; it should after each, by the factor of its decay."),
}  # fmt: skip
#: The learning rate's factor from the decay and the epoch; and sentence.
FACTORS: dict[str, tuple[Callable[..., Any], str]] = {
    "": (lambda decay, epoch: decay**epoch, ""),
    "squared": (lambda decay, epoch: decay ** (2 * epoch), "the learning rate decays twice where it should once."),
    "square root": (lambda decay, epoch: decay ** (epoch / 2), "the decay's exponent is half of what it should be."),
    "triangular": (lambda decay, epoch: decay ** (epoch * (epoch + 1) / 2),
        "the decays add up: the learning rate is multiplied by learning_rate_decay**epoch in every epoch anew."),
    "grows": (lambda decay, epoch: decay**-epoch, "the learning rate is divided by its decay, not multiplied."),
    "inverse": (lambda decay, epoch: 1 / (1 + decay * epoch),
        "the learning rate is divided by 1 + learning_rate_decay * epoch: multiply it by learning_rate_decay**epoch."),
    "exponential": (lambda decay, epoch: np.exp(-decay * epoch),
        "the learning rate is multiplied by exp(-learning_rate_decay * epoch), not by learning_rate_decay**epoch."),
    "taken off 1": (lambda decay, epoch: (1 - decay) ** epoch,
        "the learning rate is multiplied by 1 - learning_rate_decay, not by learning_rate_decay."),
    "times the epoch": (lambda decay, epoch: decay * (epoch + 1),
        "the learning rate is multiplied by learning_rate_decay times the number of the epoch."),
    "times the epoch from 0": (lambda decay, epoch: np.where(epoch > 0, decay * epoch, 1.0),
        "the learning rate is multiplied by learning_rate_decay times the epoch, not to the power of the epoch."),
    "linear": (lambda decay, epoch: 1 - decay * epoch,
        "the decay is subtracted, where the learning rate should be multiplied by it."),
    "linear in the rest": (lambda decay, epoch: 1 - (1 - decay) * epoch,
        "the same amount is subtracted after each epoch, where the learning rate should be multiplied by its decay."),
    "inverse in the rest": (lambda decay, epoch: 1 / (1 + (1 - decay) * epoch),
        "the learning rate is divided by 1 + (1 - learning_rate_decay) * epoch: multiply it by"
        " learning_rate_decay**epoch."),
    "exponential in the rest": (lambda decay, epoch: np.exp(-(1 - decay) * epoch),
        "the learning rate is multiplied by exp(-(1 - learning_rate_decay) * epoch), not by"
        " learning_rate_decay**epoch."),
    "four times": (lambda decay, epoch: decay ** (4 * epoch),
        "the learning rate decays four times where it should once: multiply it once, outside of the loop over the four"
        " arrays."),
    "harmonic": (lambda decay, epoch: 1 / (1 + epoch),
        "the learning rate is divided by 1 + epoch: learning_rate_decay isn't used."),
    "root of the epoch": (lambda decay, epoch: 1 / np.sqrt(1 + epoch),
        "the learning rate is divided by the root of 1 + epoch: learning_rate_decay isn't used."),
    "a half": (lambda decay, epoch: 0.5**epoch,
        "the learning rate is halved after each epoch: learning_rate_decay isn't used."),
    "fixed": (lambda decay, epoch: 0.95**epoch, "the decay is always 0.95: learning_rate_decay isn't used."),
}  # fmt: skip
#: A step of gradient descent changes no parameter by so many learning rates here.
_LONG_STEP = 50
#: Learning rates, as multiples of the first one, up to which the loss falls in proportion.
_LONGEST = 5
#: What a fall of the loss may differ by, relative to the first: far less than a wrong factor makes.
_TOLERANCE = 0.03


def _expect_rates(train: Callable, decayed: Record) -> None:
    setting, epoch = decayed.setting, decayed.setting.epoch
    full, strong = (record(train, setting.but(learning_rate_decay=decay)) for decay in (1.0, _STRONG_DECAY))
    count = min(one.losses.size for one in (decayed, full, strong))
    start = _late_start(decayed)
    falls = {
        one.setting.learning_rate_decay: -np.diff([*start, *one.losses[:count]]) for one in (decayed, full, strong)
    }
    count += len(start)
    stepped = np.abs(falls[1.0]) > max(1e-3 * np.abs(falls[1.0][:epoch]).max(), 1e-10)
    if not stepped.any() and not any(full.step(name).any() for name in full.params):
        return  # nothing is trained, which the descent says
    first = falls[1.0][np.argmax(stepped)]
    one = record(train, setting.but(num_iters=1, learning_rate_decay=1.0))
    if _length(one, np.inf) > _LONG_STEP * setting.learning_rate:
        return  # nor is a step of that length one of gradient descent, and it hides the learning rates
    t = np.arange(count - 1)
    expected = _DECAY ** (t // epoch)
    # An iteration without a step, of which the descent tells, has no rate.
    rates = np.where(stepped | (np.abs(falls[_DECAY]) > 1e-10), falls[_DECAY] / first, expected)
    strongly = np.where(stepped, falls[_STRONG_DECAY] / first, np.nan)
    if np.allclose(rates, expected, rtol=0, atol=_TOLERANCE):
        return
    if depends_on_the_past(train, alike(problem("sample"))):
        _expect_one_decay(falls, epoch)
        return
    if not np.allclose(falls[1.0][:epoch], first, rtol=_TOLERANCE):  # else what is wrong begins with the second epoch
        _expect_losses_to_follow(falls[1.0], full, one)
    found: tuple[str, ...] = _known_rates({_DECAY: rates, _STRONG_DECAY: strongly}, setting)
    sentences = [table[name][1] for table, name in zip((EPOCHS, FACTORS), found, strict=True) if name]
    if not any(found):
        found, sentences = _other_rates(rates, falls[1.0] / first, epoch)
    wrong = int(np.argmax(np.abs(rates - expected) > _TOLERANCE))
    raise CheckFailed(
        "learning rate",
        f"with learning_rate_decay {_DECAY} and {epoch} iterations to an epoch, the loss falls in iteration {wrong}"
        f" (counted from 0) by {rates[wrong]:.2f} of what it falls in the first one without decay,"
        f" expected {expected[wrong]:.2f}.",
        cause=" And: ".join(sentences) or None,
        deviations=tuple(filter(None, found)),
    )


def _known_rates(rates: dict[float, np.ndarray], setting: Setting) -> tuple[str, str]:
    """Names in :data:`EPOCHS` and :data:`FACTORS` that give these rates, by the decay; those unknown are NaN."""
    sizes = (setting.epoch, len(setting.X), setting.batch_size)

    def are_given(epochs: str, factor: str) -> bool:
        for decay, got in rates.items():
            with np.errstate(all="ignore"):
                given = FACTORS[factor][0](decay, EPOCHS[epochs][0](np.arange(len(got)), *sizes))
            # Long steps lead elsewhere, where the loss falls by another amount.
            read = np.isfinite(got) & (np.abs(given) <= _LONGEST)
            if not np.all(np.abs(got - given)[read] <= 0.02 * np.maximum(1, np.abs(given[read]))):
                return False
        return True

    found = [names for names in product(EPOCHS, FACTORS) if are_given(*names)]
    fewest = min((sum(map(bool, names)) for names in found), default=0)
    found = [names for names in found if sum(map(bool, names)) == fewest]
    if fewest < 2:
        return found[0] if found else ("", "")
    # Of several pairs, what they have in common.
    epochs, factors = (set(names) for names in zip(*found, strict=True))
    return epochs.pop() if len(epochs) == 1 else "", factors.pop() if len(factors) == 1 else ""


def _length(one: Record, order: float) -> float:
    return float(np.linalg.norm(np.concatenate([one.step(name).ravel() for name in one.params]), order))


def _expect_losses_to_follow(falls: np.ndarray, full: Record, one: Record) -> None:
    """Without decay, a training of several steps changes the parameters as the losses tell, or these aren't losses."""
    if not one.step("W2").any():
        return
    made = full.losses.size  # the fall after the last step isn't in the history, and is like the one before
    steps = (np.sum(falls[: made - 1]) + falls[: made - 1][-1]) / falls[0]
    if not np.isclose(_length(full, 2) / _length(one, 2), steps, rtol=0.05):
        raise CheckFailed(
            'history["loss"]',
            "the losses don't fall as the steps make them.",
            cause="from the second on, these aren't the losses of the iterations' own batches before their steps.",
            deviations=("later losses",),
        )


def _expect_one_decay(falls: dict[float, np.ndarray], epoch: int) -> None:
    """Nothing depends on the decay in the first epoch, and its first consequence is linear in it.

    That is so whatever the steps are made of, if they remember earlier ones, too.
    """
    strong, own, full = (falls[decay][: epoch + 1] for decay in (_STRONG_DECAY, _DECAY, 1.0))
    close = _TOLERANCE * abs(full).max()
    share = (_DECAY - _STRONG_DECAY) / (1 - _STRONG_DECAY)
    cause = None
    if not np.allclose(strong[:epoch], full[:epoch], rtol=0, atol=close):
        cause = "the learning rate decays within the first epoch already; it should after it."
    elif np.allclose(strong, full, rtol=0, atol=close):
        cause = EPOCHS["never"][1]
    elif len(full) > epoch and np.allclose(own, strong + share * (full - strong), rtol=0, atol=close):
        return
    raise CheckFailed(
        "learning rate",
        f"with {epoch} iterations to an epoch, the first step of the second epoch isn't"
        " linear in learning_rate_decay, and those before it independent of it.",
        cause=cause,
        deviations=("decay",),
    )


def _other_rates(rates: np.ndarray, undecayed: np.ndarray, epoch: int) -> tuple[tuple[str, ...], list[str]]:
    if not np.allclose(undecayed[:epoch], 1, atol=_TOLERANCE):
        return ("within an epoch",), [
            "the learning rate changes within an epoch, even with a decay of 1:"
            " it should be learning_rate * learning_rate_decay ** (iteration // E)."
        ]
    if len(rates) > epoch and rates[epoch] < -_LONGEST:
        return ("subtracted",), [
            "after the first epoch, the learning rate is negative and large: is the decay subtracted from it? Multiply"
            " by it."
        ]
    if np.allclose(rates, undecayed, rtol=0, atol=_TOLERANCE):
        return ("never",), [EPOCHS["never"][1]]
    return (), []


# --- Accuracies -------------------------------------------------------------------------


def _expect_one_an_epoch(train: Callable, decayed: Record, key: str, seed: int) -> None:
    quantity, made = f'history["{key}"]', decayed.losses.size
    epochs = made // decayed.setting.epoch
    got = as_numbers(quantity, decayed.history[key])
    if got.shape == (epochs,):
        return
    rounded_up = -(-len(decayed.setting.X) // decayed.setting.batch_size)
    causes = {
        made: "an accuracy is recorded after every iteration; it should be after every epoch.",
        -(-made // decayed.setting.epoch): "an accuracy is recorded after the last iteration too, in an epoch that"
        " isn't at its end."
        if _is_at_the_end(train, key, seed)
        else "an accuracy is recorded at the beginning of an epoch: is it t % E == 0, in place of (t + 1) % E == 0?",
        made // rounded_up: "an epoch has len(X) // batch_size iterations, rounded down.",
    }
    raise CheckFailed(
        quantity,
        f"after {made} iterations, {decayed.setting.epoch} to an epoch, the shape is {got.shape},"
        f" expected ({epochs},): one value after each epoch.",
        cause=causes.get(got.size),
        deviations=(f"{got.size} accuracies",),
    )


def _is_at_the_end(train: Callable, key: str, seed: int) -> bool:
    """Whether the first accuracy is that at the end of the first epoch."""
    after = first_epoch(train, _telling_apart(seed))
    values = as_numbers(f'history["{key}"]', after.history[key]).ravel()
    rows = _rows(after.setting, key)
    return values.size == 1 and bool(np.isclose(values[0], _accuracy(RIGHT["predict"], after.params, *rows)))


def _ends_of_epochs(train: Callable, setting: Setting) -> dict[int, Record]:
    """Records of one epoch and, if they are as many as asked for, of two."""
    one, two = first_epoch(train, setting), record(train, setting.but(num_iters=2 * setting.epoch))
    return {1: one} | ({2: two} if two.losses.size == 2 * setting.epoch else {})


def _expect_accuracies(train: Callable, predict: Callable, ends: dict[int, Record], key: str, seed: int) -> None:
    """The last accuracies must be those of the parameters that are returned, on the right rows."""
    quantity, (X, y) = f'history["{key}"]', _rows(ends[1].setting, key)
    got = {}
    for epochs, after in ends.items():
        values = as_numbers(quantity, after.history[key])
        if values.ndim != 1 or values.size < epochs:
            raise CheckFailed(quantity, f"it holds {values.size} values after {epochs} whole epochs.")
        got[epochs] = float(values[epochs - 1])
    for epochs, after in ends.items():
        # An accuracy of 0, of what isn't classes, is the same in per cent.
        shares = [_accuracy(each, after.params, X, y) for each in (RIGHT["predict"], predict)]
        rights = [share for share in shares if share > 0]
        if not np.isclose(got[epochs], rights, rtol=0, atol=1e-9).any():
            raise CheckFailed(
                f"{quantity} after epoch {epochs}",
                "the value is wrong.",
                place=f"got {got[epochs]:.6g}, expected {rights[0]:.6g}",
                cause=_cause_of_accuracies(train, key, {epochs: after}, seed),
                deviations=(key,),
            )


def _cause_of_accuracies(train: Callable, key: str, wrong: dict[int, Record], seed: int) -> str | None:
    """What gives the wrong accuracy and, since two accuracies may be equal by chance, those on other data too."""
    ((epochs, after),) = wrong.items()
    settings = {"num_iters": after.setting.num_iters, "learning_rate": after.setting.learning_rate}
    seen = [
        after,
        *(record(train, _telling_apart(seed + more).but(**settings)) for more in (1, 2)),
    ]
    got = [float(np.asarray(one.history[key])[epochs - 1]) for one in seen]
    sizes, rows = [one.setting.batch_size for one in seen], "X[:1000]" if key == _ACCURACIES[0] else "X_val"
    values = [
        _other_accuracies(train, one.setting, key, epochs, one)
        | {
            f"this is a share of batch_size rows: it is measured on a batch, not on {rows}.": (
                round(value * size) / size if 0 < value < 1 else np.nan
            ),
            "this is 0: do int() or // take its decimals?": 0.0,
        }
        for one, value, size in zip(seen, got, sizes, strict=True)
    ]
    found = (cause for cause in values[0] if np.allclose(got, [one[cause] for one in values], rtol=0, atol=1e-9))
    return next((f"{key}: {cause}" for cause in found), None)


def _telling_apart(seed: int) -> Setting:
    """Rows whose mean is 0 and whose entries are 1 or -1, so that nobody's preparation changes them; chance labels."""
    rng = np.random.default_rng(seed)
    features, hidden, classes = 12, 9, 3
    sizes = 1000 + 2 * rng.integers(50, 100, size=2)
    X, X_val = (np.repeat(rng.choice([-1.0, 1.0], size=(rows // 2, features)), 2, axis=0) for rows in sizes)
    for data in (X, X_val):
        data[1::2] *= -1
    params = {
        "W1": rng.standard_normal((features, hidden)) / np.sqrt(features),
        "b1": rng.standard_normal(hidden),
        "W2": rng.standard_normal((hidden, classes)) / np.sqrt(hidden),
        "b2": rng.standard_normal(classes),
    }
    y, y_val = (rng.integers(0, classes, size=rows) for rows in sizes)
    return Setting(params, X, y, X_val, y_val, learning_rate=1.0, batch_size=len(X) // 2, rng=seed)


def _rows(setting: Setting, key: str) -> tuple[np.ndarray, np.ndarray]:
    return (setting.X[:1000], setting.y[:1000]) if key == "train_accuracy" else (setting.X_val, setting.y_val)


def _accuracy(predict: Callable, params: dict, X: np.ndarray, y: np.ndarray) -> float:
    try:
        return float(np.mean(np.asarray(call(predict, params, X)) == y))
    except (CheckFailed, NotImplementedError, TypeError, ValueError):
        return float("nan")


def _other_accuracies(train: Callable, setting: Setting, key: str, epochs: int, after: Record) -> dict[str, float]:
    """What mistakes give, by their sentences."""
    X, y = _rows(setting, key)
    before = record(train, setting.but(num_iters=epochs * setting.epoch - 1)).params

    def measured(params: dict, X: np.ndarray = X, y: np.ndarray = y) -> float:
        return _accuracy(RIGHT["predict"], params, X, y)

    right = measured(after.params)
    values = {
        "this is the accuracy in per cent, where it should be a share from 0 to 1.": 100 * right,
        "this is the share of wrong decisions.": 1 - right,
        "this is the number of right decisions, where it should be their share.": len(y) * right,
        "this is the number of wrong decisions, where the share of right ones is asked for.": len(y) * (1 - right),
        "this is measured before the last step of the epoch.": measured(before),
        "this is the accuracy before the training.": measured(setting.params),
    }
    parts = {"all": slice(None), "the first 1,000": slice(1000), "the last 1,000": slice(-1000, None),
             "the first 100": slice(100)}  # fmt: skip
    for text, rows in parts.items():
        for name, X_all, y_all in (("training", setting.X, setting.y), ("validation", setting.X_val, setting.y_val)):
            sentence = f"this is the accuracy on {text} rows of the {name} data."
            values[sentence] = measured(after.params, X_all[rows], y_all[rows])
    return values
