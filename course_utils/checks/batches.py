"""Which samples a training uses.

Sample i is the only one with feature i, and hidden unit i the only one that sees this feature. W2 is
zero, so that the scores are b2 for every sample. Row i of W2 then tells how often the sample was used,
and by the score that goes the other way, with which label. The learning rate is so small that this
doesn't change on the way.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from course_utils.checks.descent import depends_on_the_past
from course_utils.checks.record import Findings, Record, Setting, alike, first_epoch, record
from course_utils.comparison import CheckFailed
from course_utils.reference import problem

#: What every sample is given as probabilities of the three classes: their losses all differ.
_PROBABILITIES = np.array([0.1, 0.6, 0.3])
#: Iterations after which a sample that was never used never is. In batches that are drawn about the middle,
#: from a normal distribution, say, the first row comes 0.4 % of the time.
_ITERATIONS = 750


def expect_fair_batches(train: Callable, seed: int) -> None:
    """Raise :class:`CheckFailed` unless a new batch is drawn from all rows, with ``rng``, in each iteration."""
    setting = _separate_rows(seed, rows=39, batch_size=20)
    singles = [first_epoch(train, setting.but(rng=seed + other)) for other in range(8)]
    if not any(one.step("W2").any() for one in singles):
        _expect_losses_of_draws(train, singles)
        return
    for one in singles:
        _expect_training_data(one)
    _expect_the_seed_to_matter(train, singles)
    findings = Findings()
    with findings.looking():
        for one in singles:
            _expect_samples(one)
    with findings.looking():
        _expect_new_batches(train, _separate_rows(seed, rows=33, batch_size=4))
    with findings.looking():
        _expect_every_row(train, _separate_rows(seed, rows=9, batch_size=5))
    with findings.looking():
        _expect_rows_beyond_the_first_thousand(train, seed)
    with findings.looking():
        if len(record(train, setting.but(num_iters=3)).losses) > 1:  # else the history's own check says so
            _expect_loss_of_the_batch(singles)
    findings.tell()


def _separate_rows(seed: int, rows: int, batch_size: int) -> Setting:
    rng = np.random.default_rng(seed)
    held_out = 5  # features that the validation data alone have
    features = np.eye(rows + held_out)
    params = {
        "W1": np.eye(rows + held_out),
        "b1": np.zeros(rows + held_out),
        "W2": np.zeros((rows + held_out, len(_PROBABILITIES))),
        "b2": np.log(_PROBABILITIES),
    }
    y, y_val = (rng.integers(0, len(_PROBABILITIES), size=count) for count in (rows, held_out))
    return Setting(
        params, features[:rows], y, features[rows:], y_val, learning_rate=1e-6, batch_size=batch_size, rng=seed
    )


def _used(step: np.ndarray) -> np.ndarray:
    """Which samples a change of W2 comes from; a wrong regularisation changes it by far less."""
    sizes = np.abs(step).max(axis=1)
    return sizes > 1e-3 * sizes.max(initial=0.0)


def _rows(step: np.ndarray) -> set[int]:
    return set(map(int, np.flatnonzero(_used(step))))


# --- One iteration ----------------------------------------------------------------------


def _expect_the_seed_to_matter(train: Callable, singles: list[Record]) -> None:
    first, setting = singles[0].step("W2"), singles[0].setting
    if not np.array_equal(first, first_epoch(train, setting).step("W2")):
        raise CheckFailed(
            "train",
            "the same seed gave two different networks.",
            cause="the batches aren't drawn with rng alone, but with a generator that starts anew or is shared:"
            " make one with np.random.default_rng(rng) and draw with it.",
            deviations=("rng ignored",),
        )
    if all(np.array_equal(first, one.step("W2")) for one in singles[1:]):
        raise CheckFailed(
            "train",
            "several seeds gave the same network.",
            cause=_cause_of_no_chance(train, singles),
            deviations=("rng not used",),
        )
    generator = np.random.default_rng(setting.rng)
    successive = [first_epoch(train, setting.but(rng=generator)).step("W2") for _ in range(4)]
    if all(np.array_equal(successive[0], other) for other in successive[1:]):
        raise CheckFailed(
            "train",
            "with a generator as rng, each call gave the same network.",
            cause="the generator isn't drawn from: np.random.default_rng(rng) gives back a generator as it is.",
            deviations=("generator not used",),
        )


def _expect_losses_of_draws(train: Callable, singles: list[Record]) -> None:
    """Where the returned parameters are the given ones, as the descent says, the losses tell of the batches."""
    again = first_epoch(train, singles[0].setting).losses
    several = record(train, singles[0].setting.but(num_iters=5)).losses
    others = np.array([one.losses[:1] for one in singles]).ravel()
    if not (
        np.array_equal(again, singles[0].losses) and all(np.ptp(losses) > 1e-4 for losses in (several, others))
        if len(several) > 1 and len(others) > 1
        else False
    ):
        raise CheckFailed("train", "an iteration leaves W2 unchanged.", deviations=("W2 not trained",))


def _cause_of_no_chance(train: Callable, singles: list[Record]) -> str:
    one = singles[0]
    used, size, rows = _rows(one.step("W2")), one.setting.batch_size, len(one.setting.X)
    if np.ptp([single.losses[0] for single in singles if single.losses.size] or [0.0]) > 1e-4:
        place = "the whole set" if len(used) == rows else "other rows"
        return (
            "the losses are those of batches that are drawn with rng, but the gradient is that of"
            f" {place}: use the same batch for both."
        )
    if len(used) == rows:
        return "a batch is the whole set: draw batch_size rows with rng."
    batches = _batches(train, _separate_rows(one.setting.rng, rows=33, batch_size=4), 3)
    same = len(batches) == 3 and batches[0] == batches[1] == batches[2]
    if used == set(range(size)):
        return (
            "only the first batch_size rows are ever drawn: draw the indices with rng."
            if same
            else "the rows come in their order: if they are shuffled, the shuffled ones must be used."
        )
    if same:
        return "the same batch is used in several iterations, for every rng: draw a new one in each, with rng."
    return "the batches don't depend on rng: draw them with it."


def _expect_training_data(one: Record) -> None:
    foreign = [row >= len(one.setting.X) for row in _rows(one.step("W2"))]
    if any(foreign):
        raise CheckFailed(
            "train",
            "it learns from the validation data."
            if all(foreign)
            else "a step has changed the weights of features that are zero in all rows of X.",
            cause="the batches are drawn from X_val: draw them from X and y." if all(foreign) else None,
            deviations=("validation data",),
        )


def _expect_samples(one: Record) -> None:
    """As many samples as a batch has, with their own labels."""
    step, setting = one.step("W2"), one.setting
    size, rows = setting.batch_size, len(setting.X)
    if len(_rows(step)) > size:
        whole = len(_rows(step)) == rows
        raise CheckFailed(
            "train",
            f"an iteration with batch_size {size} has used {len(_rows(step))} of {rows} samples.",
            cause="the gradient is that of the whole set, where it should be that of a batch." if whole else None,
            deviations=("batch too large",),
        )
    learned = _labels(step)[: len(setting.y)]
    wrong = int(np.count_nonzero((learned >= 0) & (learned != setting.y)))
    if wrong:
        raise CheckFailed(
            "train",
            f"of {len(_rows(step))} samples, {wrong} were learned with the labels of others.",
            cause="rows and labels of a batch don't belong together.",
            deviations=("labels of others",),
        )
    if _learned_right(one):
        shares = _shares(one)
        drawn = round(1 / shares[shares > 0].min())
        if drawn != size and drawn < rows:
            raise CheckFailed(
                "train",
                f"with batch_size {size}, the gradient is that of {drawn} samples.",
                cause=f"batches have {drawn} samples in place of batch_size.",
                deviations=("batch size",),
            )


def _labels(step: np.ndarray) -> np.ndarray:
    """The label with which each sample was learned; -1 where that can't be told, because it wasn't, say."""
    directions = _PROBABILITIES - np.eye(len(_PROBABILITIES))
    lengths = np.linalg.norm(step, axis=1, keepdims=True)
    along = np.abs(step @ (directions / np.linalg.norm(directions, axis=1, keepdims=True)).T)
    # Where a gradient is clipped, say, the direction is another one, which is no mistake of the batch.
    clear = along.max(axis=1) > (1 - 1e-6) * lengths[:, 0]
    return np.where(clear & _used(step), along.argmax(axis=1), -1)


def _learned_right(one: Record) -> bool:
    """Whether every sample that was used was learned with its own label, as far as can be told."""
    used = _used(one.step("W2"))[: len(one.setting.y)]
    return np.array_equal(_labels(one.step("W2"))[: len(used)][used], one.setting.y[used])


def _shares(one: Record) -> np.ndarray:
    """Each sample's part in the batch: how often it is in it, as a share of all."""
    parts = _parts(one)
    return parts / parts.sum()


def _parts(one: Record) -> np.ndarray:
    """What each sample has added to the step."""
    step, y = one.step("W2")[: len(one.setting.y)], one.setting.y
    return np.abs(step[np.arange(len(y)), y]) / (1 - _PROBABILITIES[y]) * _used(step)


def _expect_loss_of_the_batch(singles: list[Record]) -> None:
    """Whatever the loss is, it must depend on the labels of the batch whose gradient is used, and on nothing else."""
    if not all(len(one.losses) and _learned_right(one) for one in singles):
        return
    losses = np.array([one.losses[0] for one in singles])
    classes = np.arange(len(_PROBABILITIES))
    parts = np.array([[_shares(one)[one.setting.y == label].sum() for label in classes] for one in singles])
    of_labels = np.linalg.lstsq(parts, losses, rcond=None)[0]
    if np.allclose(parts @ of_labels, losses, rtol=0, atol=1e-6) and np.ptp(of_labels) > 1e-3:
        return
    constant = np.ptp(losses) < 1e-6
    raise CheckFailed(
        'history["loss"]',
        "it isn't the loss of the batch whose gradient is used.",
        cause="this isn't the loss of each iteration's batch but of all samples, or of the same ones each time."
        if constant
        else "the loss and the gradient are those of different batches: draw one, and use it for both.",
        deviations=("loss of others",),
    )


# --- Several iterations -----------------------------------------------------------------


def _expect_new_batches(train: Callable, setting: Setting) -> None:
    """Batches must differ from iteration to iteration, and those of the second epoch from those of the first."""
    epoch = setting.epoch
    batches = _batches(train, setting, epoch + 4)
    if len(batches) < 3:  # another number of iterations is made than is asked for, which the descent says
        return
    if batches[0] == batches[1] == batches[2]:
        raise CheckFailed(
            "train",
            "the first three iterations use the same samples.",
            cause="the same batch is used in several iterations: draw a new one in each, with one generator.",
            deviations=("same batch",),
        )
    size = setting.batch_size
    if any(len(batch) > size for batch in batches):
        _expect_no_growth(train, setting)
        return
    if all(len(one & other) >= size - 1 for one, other in itertools.pairwise(batches[:5])):
        raise CheckFailed(
            "train",
            "each batch shares all samples but one with the batch before it.",
            cause="the batch is a window that slides over the samples: draw a new one in each iteration.",
            deviations=("sliding window",),
        )
    if len(batches) != epoch + 4:
        return
    first, second = batches[:epoch], batches[epoch:]
    left_over = set(range(len(setting.X))).difference(*first)
    if second == first[:4]:
        cause = "a batch is drawn anew for every step: shuffled once, the same batches come in each epoch."
    elif any(
        all(
            batch <= left_over | first[(start + k) % epoch] | first[(start + k + 1) % epoch]
            for k, batch in enumerate(second)
        )
        for start in range(epoch)
    ):
        cause = "the samples come in the same order in each epoch, shuffled once: draw a new batch for every step."
    else:
        return
    raise CheckFailed(
        "train", "the second epoch uses the same batches as the first.", cause=cause, deviations=("shuffled once",)
    )


def _expect_no_growth(train: Callable, setting: Setting) -> None:
    """The second iteration has no more samples than the first, but for those that a momentum remembers.

    What is remembered has another weight than what is drawn, or is added to a mean; in a larger batch, all have the
    same weight in one mean.
    """
    one, two = (record(train, setting.but(num_iters=made)) for made in (1, 2))
    if (len(one.losses), len(two.losses)) != (1, 2):
        return
    second = replace(two, params={name: two.params[name] - one.step(name) for name in two.params})
    first_parts, parts = _parts(one), _parts(second)
    used, times = _rows(second.step("W2")), parts[parts > 0] / parts[parts > 0].min(initial=np.inf)
    is_one_mean = np.isclose(parts.sum(), first_parts.sum(), rtol=0.05)
    if len(used) > setting.batch_size and is_one_mean and np.allclose(times, times.round(), rtol=0, atol=1e-4):
        if depends_on_the_past(train, alike(problem("sample"))):
            return  # a mean of two gradients is one of as many samples
        raise CheckFailed(
            "train",
            f"the second iteration with batch_size {setting.batch_size} has used {len(used)} samples.",
            cause="the batches grow from iteration to iteration: each has batch_size rows.",
            deviations=("growing batches",),
        )


def _batches(train: Callable, setting: Setting, count: int) -> list[set[int]]:
    """The samples of the first iterations: what each of them adds to the one before."""
    path = [record(train, setting.but(num_iters=made)).step("W2") for made in range(1, count + 1)]
    steps = [path[0], *(after - before for before, after in itertools.pairwise(path))]
    return [_rows(step) for step in steps if step.any()]


def _expect_every_row(train: Callable, setting: Setting) -> None:
    rows = len(setting.X)
    drawn = np.zeros(rows, dtype=bool)
    made, rng = 0, setting.rng
    while made < _ITERATIONS and not drawn.all():
        one = first_epoch(train, setting.but(rng=rng))
        drawn |= _used(one.step("W2"))[:rows]
        made, rng = made + max(len(one.losses), setting.epoch), rng + 1
    if drawn.all():
        return
    never = np.flatnonzero(~drawn)
    swapped = never[0] == setting.batch_size and len(never) == rows - setting.batch_size
    raise CheckFailed(
        "train",
        f"in {made} iterations with batch_size {setting.batch_size}, {len(never)} of {rows} samples"
        f" {'has' if len(never) == 1 else 'have'} never been used (the first is {never[0]}).",
        cause="only the first batch_size rows are ever drawn." if swapped else None,
        deviations=("rows never drawn",),
    )


def _expect_rows_beyond_the_first_thousand(train: Callable, seed: int) -> None:
    """The accuracy is measured on the first 1,000 rows, and the batches are drawn from all."""
    rng = np.random.default_rng(seed)
    beyond = np.arange(1100) >= 1000
    X, y = np.column_stack([~beyond, beyond]).astype(float), rng.integers(0, len(_PROBABILITIES), size=len(beyond))
    params = {
        "W1": np.eye(2),
        "b1": np.zeros(2),
        "W2": np.zeros((2, len(_PROBABILITIES))),
        "b2": np.log(_PROBABILITIES),
    }
    for turn in range(50):  # a window of 50 rows, wherever it begins, lies among the first 1,000 in six of seven draws
        setting = Setting(params, X, y, X[:5], y[:5], learning_rate=1e-6, batch_size=50, rng=seed + turn)
        # A single iteration shows what overwrites the parameters, a whole epoch what makes too few iterations.
        if any(record(train, setting.but(num_iters=made)).step("W2")[1].any() for made in (1, setting.epoch)):
            return
    raise CheckFailed(
        "train",
        "of 1,100 rows, those beyond the first 1,000 have never been used.",
        cause="the batches are drawn from the first 1,000 rows; only the accuracy is measured on these.",
        deviations=("first thousand",),
    )
