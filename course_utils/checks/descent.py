"""Whether a training goes against the gradient, one step for each iteration that it is told to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from course_utils.checks.record import NAMES, Findings, Record, Setting, alike, first_epoch, record
from course_utils.comparison import CheckFailed, expect_close, on_problem
from course_utils.reference import SAMPLES, Problem, changed_sample, problem

#: Round-off of some steps in float64, relative to the size of a parameter.
_TOLERANCE = 1e-9
#: Iterations after which a training that has nothing left to learn would have stopped early.
_LONG = 40


class Step(NamedTuple):
    """The record of a single step, and the problem whose first row all its rows are."""

    given: Problem
    record: Record

    @property
    def rate(self) -> float:
        """The learning rate."""
        return self.record.setting.learning_rate

    @property
    def right(self) -> dict[str, np.ndarray]:
        """What the parameters should be afterwards."""
        return {name: self.given.params[name] - self.rate * step for name, step in self.given.gradients().items()}


def expect_descent(train: Callable) -> None:
    """Raise :class:`CheckFailed` unless a training makes steps of gradient descent, as many as it is told to."""
    givens = [problem(name) for name in SAMPLES]
    usual = alike(givens[0])
    _expect_obedience(train, usual)
    _expect_no_chance(train, usual)
    if not returns_the_last_params(train):
        raise CheckFailed(
            "params",
            "a training that goes on from the returned parameters has another loss than a longer training there.",
            cause="the parameters that are returned aren't those with which the training ends.",
            deviations=("other params returned",),
        )
    findings = Findings()
    _look_at_steps(train, givens, findings)
    with findings.looking():
        _expect_chain(train, usual)
        expect_count(train, usual)
    findings.tell()
    _expect_no_early_end(train, usual)


def expect_steps(train: Callable, givens: Sequence[Problem]) -> None:
    """Raise :class:`CheckFailed` unless a single step from each of ``givens`` is one of gradient descent."""
    findings = Findings()
    _look_at_steps(train, givens, findings)
    findings.tell()


def _look_at_steps(train: Callable, givens: Sequence[Problem], findings: Findings) -> None:
    steps = [
        Step(given, first_epoch(train, alike(given).but(learning_rate=rate)))
        for given, rate in product(givens, (0.05, 0.2))
    ]
    for step in steps:
        with findings.looking(), on_problem(step.given):
            _expect_gradient(step, steps)
    with findings.looking():
        _expect_copies(steps)


def _expect_no_chance(train: Callable, setting: Setting) -> None:
    """Where all rows are alike, a step is the same whichever are drawn."""
    one, other = (record(train, setting.but(rng=seed)).params for seed in (setting.rng, setting.rng + 1))
    if not _agree(one, other):
        raise CheckFailed(
            "train",
            "on rows that are all alike, two seeds give two different steps.",
            cause="besides the choice of a batch, something random is in a step, such as dropout or noise.",
            deviations=("random",),
        )


def _expect_copies(steps: Sequence[Step]) -> None:
    if any(step.record.changed for step in steps):
        raise CheckFailed(
            "params",
            "train has changed the arrays that it was given.",
            cause="the steps are made in place: start from copies, as in array.copy().",
            deviations=("in place",),
        )


# --- One step ---------------------------------------------------------------------------


def _expect_gradient(step: Step, steps: Sequence[Step]) -> None:
    for name, shape in step.record.reshaped:
        right = step.given.params[name].shape
        raise CheckFailed(
            name,
            f"train returned the shape {shape}, expected {right}.",
            cause="the gradients must have the shapes of their parameters: sum over the samples without keepdims."
            if shape == (1, *right)
            else None,
            deviations=("shape",),
        )
    for name, expected in step.right.items():
        tolerance = _TOLERANCE * max(1.0, float(np.abs(expected).max()))
        try:
            expect_close(name, step.record.params[name], expected, tolerance=tolerance)
        except CheckFailed as error:
            error.problem = f"after one step on rows that are all alike, {error.problem}"
            error.deviations, error.cause = _cause(steps)
            raise


#: What may be wrong with the data that a gradient is computed from: name of the change -> sentence.
_DATA = {
    "": "",
    "centred": "the mean of the rows is subtracted before they are used: train takes the rows of X as they are.",
    "truncated": "the rows of X are cut to whole numbers: keep their dtype.",
    "scaled": "the rows of X are divided by 255: train takes them as they are.",
}
#: The step as a multiple of the right one: name -> factor, from the learning rate, N and batch_size; and sentence.
SCALES: dict[str, tuple[Callable[[float, int, int], float], str]] = {
    "": (lambda rate, rows, size: 1.0, ""),
    "uphill": (lambda rate, rows, size: -1.0,
        "this climbs the loss: the step goes against the gradient, params - learning_rate * gradient."),
    "averaged twice": (lambda rate, rows, size: 1 / size,
        "the gradient is divided by the number of samples once more."),
    "summed": (lambda rate, rows, size: size, "the gradient is summed over the batch, where the mean is asked for."),
    "mean over all rows": (lambda rate, rows, size: size / rows,
        "the gradient is divided by len(X), where it should be by the number of samples in the batch."),
    "averaged over all rows too": (lambda rate, rows, size: 1 / rows, "the gradient is divided by len(X) once more."),
    "rate twice": (lambda rate, rows, size: rate, "the learning rate is multiplied to the gradient twice."),
    "no rate": (lambda rate, rows, size: 1 / rate, "the learning rate isn't multiplied to the gradient."),
    "doubled": (lambda rate, rows, size: 2.0, "the step is twice as long as it should be."),
    "halved": (lambda rate, rows, size: 0.5, "the step is half as long as it should be."),
}  # fmt: skip
#: What the weights are multiplied by in the gradient, in place of 2 reg: name -> factor, and sentence.
_PENALTIES: dict[str, tuple[Callable[[float], float], str]] = {
    "": (lambda reg: 2 * reg, ""),
    "no penalty": (lambda reg: 0.0, "the regularisation isn't passed on to the gradient."),
    "half a penalty": (lambda reg: reg, "the regularisation has half its gradient: that of reg * W**2 is 2 * reg * W."),
    "penalty twice": (lambda reg: 4 * reg, "the regularisation is in the gradient twice."),
    "penalty squared": (lambda reg: 2 * reg**2, "reg is multiplied to the regularisation twice."),
    "penalty downhill": (lambda reg: -2 * reg, "the gradient of the regularisation has the wrong sign."),
    "penalty without reg": (lambda reg: 2.0, "the regularisation isn't multiplied by reg."),
}
#: The data's part of the gradient alone as a multiple of the right one: name -> factor from N and batch_size; sentence.
_AVERAGES: dict[str, tuple[Callable[[int, int], float], str]] = {
    "": (lambda rows, size: 1.0, ""),
    "not averaged": (lambda rows, size: size,
        "the data's part of the gradient is summed over the batch: divide it by the number of its samples."),
    "averaged twice": (lambda rows, size: 1 / size,
        "the data's part of the gradient is divided by the number of samples twice."),
    "averaged over all rows": (lambda rows, size: size / rows,
        "the data's part of the gradient is divided by len(X): divide by the number of samples in the batch."),
    "data uphill": (lambda rows, size: -1.0, "the data's part of the gradient has the wrong sign."),
}  # fmt: skip
_BIASES = {"": "", "biases regularised": "the biases are regularised too, where the penalty is that of W1 and W2."}


class _Parts(NamedTuple):
    """A step of the arrays that were trained, end to end: what it is made of, and what was made (over the rate)."""

    gradient: np.ndarray
    weights: np.ndarray
    biases: np.ndarray
    made: np.ndarray


def _cause(steps: Sequence[Step]) -> tuple[tuple[str, ...], str | None]:
    """Names, and sentence, of the fewest deviations that reproduce all steps."""
    still = [name for name in NAMES if not any(step.record.step(name).any() for step in steps)]
    if len(still) == len(NAMES):
        return ("no step",), "the parameters are as they were: does every iteration change the arrays that it returns?"
    names = [f"{' and '.join(still)} not trained"] if still else []
    said = [f"{' and '.join(still)} did not change: all four arrays are to be trained."] if still else []
    if all(np.abs(_change(step.record.params, step.right)).max() < 1e-6 for step in steps):
        return ("single precision",), "something is computed in single precision (float32): keep the dtype of params."
    trained = [name for name in NAMES if name not in still]
    by_changes = {change: [_parts(step, change, trained) for step in steps] for change in _DATA}
    tables: tuple[Mapping[str, Any], ...] = (_DATA, SCALES, _PENALTIES, _AVERAGES, _BIASES)
    few = [found for found in product(*tables) if sum(map(bool, found)) <= 2]
    for found in sorted(few, key=lambda found: sum(map(bool, found))):
        if all(_reproduces(parts, step, *found[1:]) for parts, step in zip(by_changes[found[0]], steps, strict=True)):
            entries = [table[name] for table, name in zip(tables, found, strict=True) if name]
            said += [entry if isinstance(entry, str) else entry[1] for entry in entries]
            return (*names, *filter(None, found)), " And: ".join(said) or None
    name, sentence = _other_step(by_changes[""], steps)
    return (*names, *filter(None, [name])), " And: ".join([*said, *filter(None, [sentence])]) or None


def _parts(step: Step, change: str, trained: Sequence[str]) -> _Parts:
    changed = changed_sample(step.given, change) if change else step.given
    arrays = {name: step.given.params[name] for name in trained}

    def joined(values: Iterator[np.ndarray]) -> np.ndarray:
        return np.concatenate([value.ravel() for value in values])

    return _Parts(
        joined(changed.values[f"d{name}"] for name in trained),
        joined(array * name.startswith("W") for name, array in arrays.items()),
        joined(array * name.startswith("b") for name, array in arrays.items()),
        joined(-step.record.step(name) / step.rate for name in trained),
    )


def _reproduces(parts: _Parts, step: Step, scale: str, penalty: str, average: str, biases: str) -> bool:
    setting = step.record.setting
    strength = _PENALTIES[penalty][0](step.given.reg)
    data = _AVERAGES[average][0](len(setting.X), setting.batch_size)
    gradient = data * parts.gradient + strength * parts.weights + (strength * parts.biases if biases else 0.0)
    factor = SCALES[scale][0](step.rate, len(setting.X), setting.batch_size)
    return np.allclose(factor * gradient, parts.made, rtol=1e-6, atol=1e-7)


def _other_step(parts: Sequence[_Parts], steps: Sequence[Step]) -> tuple[str, str]:
    """Name and sentence of a step that isn't made of the gradient's parts, or with factors of its own."""
    made = [part.made for part in parts]
    right = [part.gradient + 2 * step.given.reg * part.weights for part, step in zip(parts, steps, strict=True)]
    signs = [np.sign(gradient) for gradient in right]
    if all(
        np.allclose(one, abs(one).max() * sign, rtol=1e-4, atol=1e-6) for one, sign in zip(made, signs, strict=True)
    ):
        return "sign", (
            "all entries change by the same amount, however large their gradient is, as in Adam or with np.sign:"
            " here the step is learning_rate * gradient."
        )
    if np.allclose(made[0] * steps[0].rate, made[1] * steps[1].rate):
        return "rate ignored", "the step doesn't depend on learning_rate."
    if all(
        _agree(one.record.params, {name: one.right[name] - one.given.params[name] for name in NAMES}) for one in steps
    ):
        return "replaced", "the parameters are replaced by the step: subtract it from them."
    if _are_normalised(steps):
        return "normalised", "each gradient is divided by its length: here the step is learning_rate * gradient."
    if all(
        np.allclose(one, gradient / np.linalg.norm(gradient), rtol=1e-3, atol=1e-6)
        for one, gradient in zip(made, right, strict=True)
    ):
        return "normalised", "the whole gradient is divided by its length: the step is learning_rate * gradient."
    limits = [np.abs(one).max() for one in made]
    if all(
        np.allclose(one, np.clip(gradient, -limit, limit), rtol=1e-6, atol=1e-9)
        for one, gradient, limit in zip(made, right, limits, strict=True)
    ):
        return "clipped", f"the gradient is limited to {limits[0]:.3g}: here the step is learning_rate * gradient."
    fits = [np.vdot(one, gradient) / np.vdot(gradient, gradient) for one, gradient in zip(made, right, strict=True)]
    if all(
        np.allclose(one, fit * gradient, rtol=1e-5, atol=1e-7)
        for one, fit, gradient in zip(made, fits, right, strict=True)
    ):
        return "other length", (
            f"the step goes along the gradient, but is {fits[0]:.3g} times as long as learning_rate * gradient."
        )
    return _other_part(made, right, parts, steps)


def _other_part(
    made: Sequence[np.ndarray], right: Sequence[np.ndarray], parts: Sequence[_Parts], steps: Sequence[Step]
) -> tuple[str, str]:
    """Name and sentence of a step in which some parts are right."""
    strengths = [
        np.vdot(one - part.gradient, part.weights) / np.vdot(part.weights, part.weights)
        for one, part in zip(made, parts, strict=True)
    ]
    if np.ptp(strengths) < 1e-7 and all(
        np.allclose(one, part.gradient + strengths[0] * part.weights, rtol=1e-6, atol=1e-8)
        for one, part in zip(made, parts, strict=True)
    ):
        return (
            "fixed penalty",
            f"the regularisation doesn't depend on reg: it is always that of {strengths[0] / 2:.3g}.",
        )
    if _are_decayed_too(made, right, parts):
        return "decayed too", (
            "besides learning_rate * gradient, a multiple of the parameters themselves is subtracted; the gradient"
            " holds the regularisation already."
        )
    right_arrays = {name for name in NAMES if all(np.allclose(s.record.params[name], s.right[name]) for s in steps)}
    if len(right_arrays) == 1 and "b2" not in right_arrays:  # no slip in a gradient spoils b2 and leaves this right
        return "one after the other", (
            f"the step of {right_arrays.pop()} is right, those after it aren't: compute all four gradients before the"
            " first array is changed."
        )
    if 0 < len(right_arrays) < len(NAMES):
        wrong = [name for name in NAMES if name not in right_arrays]
        return f"{' and '.join(wrong)} wrong", (
            f"the steps of {' and '.join(sorted(right_arrays))} are right, so look at the gradients of"
            f" {' and '.join(wrong)}."
        )
    return "", ""


def _are_decayed_too(made: Sequence[np.ndarray], right: Sequence[np.ndarray], parts: Sequence[_Parts]) -> bool:
    """Whether what is made beyond the gradient is a multiple of the weights and another one of the biases."""
    for one, gradient, part in zip(made, right, parts, strict=True):
        held = np.stack([part.weights, part.biases], axis=1)
        beyond = one - gradient
        if not np.allclose(held @ np.linalg.lstsq(held, beyond, rcond=None)[0], beyond, rtol=1e-6, atol=1e-8):
            return False
    return True


def _are_normalised(steps: Sequence[Step]) -> bool:
    """Whether each array goes along its gradient, by the learning rate."""
    return all(
        np.allclose(-step.record.step(name), step.rate * gradient / np.linalg.norm(gradient), rtol=1e-3, atol=1e-6)
        for step in steps
        for name, gradient in step.given.gradients().items()
    )


# --- Several steps ----------------------------------------------------------------------


def returns_the_last_params(train: Callable) -> bool:
    """Whether a training that goes on from what some iterations have returned begins with the loss of the next one.

    A training without such losses can't show it, and one that returns the right steps needn't.
    """
    given = problem(SAMPLES[0])
    setting = alike(given)
    if _returns_earlier_params(train, given, setting):
        return False
    one = record(train, setting)
    if _agree(one.params, Step(given, one).right) and not depends_on_the_past(train, setting):
        return True
    for made in (1, 2):
        shorter, longer = (record(train, setting.but(num_iters=count)) for count in (made, made + 1))
        onward = record(train, setting.but(params=shorter.params))
        if [len(each.losses) for each in (shorter, longer, onward)] != [made, made + 1, 1]:
            return True
        if not np.isclose(longer.losses[made], onward.losses[0], rtol=1e-4):  # single precision is told elsewhere
            return False
    return True


def _returns_earlier_params(train: Callable, given: Problem, setting: Setting) -> bool:
    """Whether one more iteration changes nothing that is returned, though the losses change: the best ones, perhaps.

    The better it learns its labels, the worse are its decisions on the validation data.
    """
    scores = given.values["z3"][0]
    y, y_val = (np.full_like(setting.y, index) for index in (scores.argmin(), scores.argmax()))
    setting = setting.but(y=y, y_val=y_val, learning_rate=0.2, num_iters=20)
    long = record(train, setting)
    if len(long.losses) != setting.num_iters or len(np.unique(long.losses)) != setting.num_iters:
        return False
    shorter = record(train, setting.but(num_iters=setting.num_iters - 1)).params
    return all(np.array_equal(shorter[name], long.params[name]) for name in NAMES)


def _expect_obedience(train: Callable, setting: Setting) -> None:
    made = [len(record(train, setting.but(num_iters=asked)).losses) for asked in (1, 3)]
    if made[0] == made[1] > 4:
        raise CheckFailed(
            "train",
            f"with num_iters=1 as with num_iters=3, it makes {made[0]} iterations.",
            cause="num_iters is ignored: it is the number of iterations.",
            deviations=("num_iters ignored",),
        )


def _expect_chain(train: Callable, setting: Setting) -> None:
    """The third of the steps that single trainings make must be reached, but for a learning rate that changes."""
    chain = [setting.params]
    for _ in range(4):
        chain.append(first_epoch(train, setting.but(params=chain[-1])).params)
    two, three = (record(train, setting.but(num_iters=made)) for made in (2, 3))
    if _agree(three.params, chain[3]):
        return
    if _agree(chain[1], setting.params) and not _agree(two.params, setting.params):
        raise CheckFailed(
            "train",
            "its first iteration leaves the parameters as they were.",
            cause="no step is made in the first iteration.",
            deviations=("no first step",),
        )
    by_params = next((steps for steps in (2, 4, 1, 0) if _agree(three.params, chain[steps])), 3)
    made = len(three.losses) or by_params  # learning rates may be 0
    if made == 3:
        if not depends_on_the_past(train, setting):
            return
        raise CheckFailed(
            "train",
            "what an iteration more changes isn't the step that is made from the same parameters alone.",
            cause=_cause_of_memory(two, chain),
            deviations=("memory",),
        )
    few = "only the first iteration is made: does a return stand inside the loop?"
    causes = {2: "this is one iteration too few.", 4: "this is one iteration too many.", 1: few}
    raise CheckFailed(
        "train",
        f"with num_iters=3, it makes {made} {'iteration' if made == 1 else 'iterations'}.",
        cause=causes.get(made),
        deviations=(f"{made} of 3 iterations",),
    )


def _cause_of_memory(two: Record, chain: Sequence[dict]) -> str:
    given = two.setting.params
    first, second, made = _change(chain[1], given), _change(chain[2], chain[1]), _change(two.params, given)
    if np.allclose(made, 2 * first, rtol=1e-9, atol=1e-12):
        return "each step is the same as the first one: its gradient is to be that of the parameters as they are then."
    if np.allclose(made, second, rtol=1e-9, atol=1e-12):
        return "each step starts from the given parameters again, not from those after the step before it."
    return (
        "a step depends on those before it, as with a momentum or a mean of gradients; it is to be that of its"
        " own batch alone."
    )


def expect_count(train: Callable, setting: Setting) -> None:
    """As many iterations as it is told to make, where an epoch has several of them and the last one is cut off."""
    asked = setting.but(batch_size=2, num_iters=5)
    _expect_steps_within_an_epoch(train, asked)
    epoch, got = asked.epoch, record(train, asked)
    made = len(got.losses)
    if made == asked.num_iters or made > asked.num_iters * epoch:
        return
    reached = setting.params
    for _ in range(made):
        reached = first_epoch(train, setting.but(params=reached)).params
    if not _agree(reached, got.params):  # losses that aren't those of iterations are a matter of the history
        return
    causes = {
        asked.num_iters // epoch: "one iteration is made for each epoch.",
        asked.num_iters // epoch * epoch: "only whole epochs are trained: num_iters counts iterations, and the last"
        " epoch may be cut off.",
        (asked.num_iters // epoch + 1) * epoch: "the last epoch is trained to its end: num_iters counts iterations,"
        " and it may be cut off.",
        asked.num_iters * epoch: "num_iters counts iterations; here it counts epochs.",
    }
    raise CheckFailed(
        "train",
        f"with num_iters={asked.num_iters}, {epoch} iterations to an epoch, it makes {made}.",
        cause=causes.get(made),
        deviations=(f"{made} of {asked.num_iters} iterations",),
    )


def _expect_steps_within_an_epoch(train: Callable, setting: Setting) -> None:
    """The learning rate is the same throughout the first epoch, whatever its decay is."""
    got = record(train, setting.but(num_iters=setting.epoch, learning_rate_decay=0.5))
    reached = first_epoch(train, setting.but(batch_size=len(setting.X))).params
    if len(got.losses) == setting.epoch and _agree(reached, got.params):
        raise CheckFailed(
            "train",
            f"in an epoch of {setting.epoch} iterations, it makes one step.",
            cause="the parameters are changed once an epoch: every iteration makes a step.",
            deviations=("a step an epoch",),
        )


def depends_on_the_past(train: Callable, setting: Setting) -> bool:
    """Whether the second step or the third isn't along the one that is made from the same parameters alone."""

    def is_along(longer: dict, reached: dict) -> bool:
        alone = first_epoch(train, setting.but(params=reached)).params
        return _are_along(_change(longer, reached), _change(alone, reached))

    two = record(train, setting.but(num_iters=2))
    if not is_along(two.params, first_epoch(train, setting).params):
        return True
    three, four = (record(train, setting.but(num_iters=made)) for made in (3, 4))
    if not np.array_equal(three.losses[:3], four.losses[:3]):
        return False  # the rates depend on the number of iterations, and with them what is reached
    return not is_along(three.params, two.params)


def _change(after: dict, before: dict) -> np.ndarray:
    return np.concatenate([(np.asarray(after[name], float) - before[name]).ravel() for name in NAMES])


def _are_along(step: np.ndarray, other: np.ndarray) -> bool:
    """Whether a step is a multiple of another one, or none."""
    along = np.vdot(step, other) / (np.vdot(other, other) or 1.0) * other
    return np.allclose(step, along, rtol=0, atol=1e-6 * np.abs(step).max(initial=1e-6))


def _agree(got: dict, expected: dict) -> bool:
    return all(np.allclose(got[name], expected[name], rtol=1e-8, atol=_TOLERANCE) for name in NAMES)


def _expect_no_early_end(train: Callable, setting: Setting) -> None:
    """With nothing left to learn, loss and accuracies the same throughout, it must go on all the same."""
    params = {name: np.zeros_like(array) for name, array in setting.params.items()}
    params["b2"][setting.y[0]] = 60.0
    made = len(record(train, setting.but(params=params, reg=0.0, num_iters=_LONG)).losses)
    if 1 < made < _LONG - 1:
        raise CheckFailed(
            "train",
            f"where nothing is left to learn, it ends after {made} of {_LONG} iterations.",
            cause="the training stops early: num_iters says how many iterations are made.",
            deviations=("early end",),
        )
