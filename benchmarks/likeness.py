"""How often the likeness page points at pairs that have nothing to do with each other, and how often at copies.

Classes are simulated. *Code*: for each function a right answer of the bank in ``tests/fairness``, or the course's
own, is drawn and written in a hand of one's own: other names for variables, other comments. *Wrong answers*: each
student makes some mistakes of the bank, a few of which are frequent (Zipf's law); what the tests say is compared.
*Networks*: trained on CIFAR-10 from weights of their own with settings of their own. Copies are planted besides: as
they are; with every variable renamed and the comments left out; one function alone; networks with their units in
another order, with noise, or trained further.

    python -m benchmarks.likeness code --students 100 --classes 20
    python -m benchmarks.likeness mistakes --students 100 --classes 20
    python -m benchmarks.likeness networks --students 24
    python -m benchmarks.likeness time --students 1000
"""

from __future__ import annotations

import argparse
import ast
import functools
import itertools
import math
import random
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from autograder.likeness import code, mistakes, networks
from course_utils.data import cifar10_splits
from tests.fairness import RIGHT, WRONG, earned
from tests.fairness.answers import SIGNATURES
from tests.fairness.runner import place_of, source

_NAMES = """
    tmp temp res result out output val value values n num count i j k idx index rows cols grad grads g d dz da dw db w
    b a z h hidden scores probs p e exps s total acc loss_value batch data x1 x2 step lr rate it layer layers cache old
    new first second left right N D H K C m size arr array mat t u v q r delta diff
""".split()  # noqa: SIM905 - a list of words
_COMMENTS = [
    "forward pass", "backward pass", "shift for stability", "average over the batch", "one hot", "see the lecture",
    "softmax", "bias", "update", "gradient of the loss", "regularisation", "no loops here", "check shapes",
    "this took me a while", "from the derivation", "relu mask", "epoch ends here", "keep the history", "draw a batch",
    "mean over samples", "numerically stable", "chain rule", "copy first", "TODO clean up", "x + h and x - h",
    "central difference", "restore the entry", "max of both", "avoid division by zero", "learning rate decay",
]  # fmt: skip


@functools.cache
def _styles() -> dict[str, list[str]]:
    """Function -> the texts of right answers, the course's own among them."""
    found: dict[str, list[str]] = {name: [] for name in SIGNATURES}
    for name in SIGNATURES:
        notebook, grade_id = place_of(name)
        cell = next(
            cell for cell in source(notebook).cells if cell.metadata.get("nbgrader", {}).get("grade_id") == grade_id
        )
        found[name].append("\n".join(line for line in cell.source.splitlines() if "### " not in line))
    for answer in RIGHT:
        for name, text in answer.codes.items():
            found[name].append(text)
    return found


def _rewritten(text: str, choose: random.Random, *, renamed: float, comments: float) -> str:
    """A text in another hand: its own names for some variables, and its own comments."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            stored = {
                name.id for name in ast.walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)
            }
            outer = {
                name for other in ast.walk(node) if isinstance(other, ast.Nonlocal | ast.Global) for name in other.names
            }
            free = choose.sample(_NAMES, k=min(len(_NAMES), len(stored)))
            new = {
                old: name for old, name in zip(sorted(stored - outer), free, strict=False) if choose.random() < renamed
            }
            for name in ast.walk(node):
                if isinstance(name, ast.Name) and name.id in new:
                    name.id = new[name.id]
    lines = []
    for line in ast.unparse(tree).splitlines():
        if line.startswith(" ") and choose.random() < comments:
            lines.append(f"{line[: len(line) - len(line.lstrip())]}# {choose.choice(_COMMENTS)}")
        lines.append(line)
    return "\n".join(lines)


def _student(choose: random.Random) -> str:
    renamed, comments = choose.random(), 0.3 * choose.random()
    return "\n\n\n".join(
        _rewritten(choose.choice(styles), choose, renamed=renamed, comments=comments) for styles in _styles().values()
    )


def _longest(text: str, choose: random.Random) -> str:
    """One of the functions that are long enough to tell anything, as it is."""
    long = [own for name, own in code.functions(text).items() if len(code.fingerprints(name, own, "as built")) >= 120]
    return choose.choice(long)


def _released() -> list[str]:
    names = {place_of(name)[0] for name in SIGNATURES}
    return [
        cell.source.split("### BEGIN SOLUTION")[0]
        for notebook in names
        for cell in source(notebook).cells
        if cell.cell_type == "code"
    ]


def measure_code(students: int, classes: int, seed: int) -> None:
    """Print how many unrelated pairs, and how many planted copies, are pointed at."""
    kinds: dict[str, Callable[[str, random.Random], str]] = {
        "as it is": lambda text, choose: text,
        "renamed, without comments": lambda text, choose: _rewritten(text, choose, renamed=1.0, comments=0.0),
        "one long function": lambda text, choose: f"{_student(choose)}\n\n\n{_longest(text, choose)}",
    }
    found = dict.fromkeys(kinds, 0)
    wrong, pairs = {code.WRITTEN: 0, code.BUILT: 0}, 0
    for number in range(classes):
        choose = random.Random(1000 * seed + number)
        sources = {f"s{place}": _student(choose) for place in range(students)}
        planted = {}
        for place, (kind, copy) in enumerate(kinds.items()):
            sources[f"c{place}"] = copy(sources[f"s{place}"], choose)
            planted[(f"c{place}", f"s{place}")] = kind
        prints = code.Fingerprints()
        for text in _released():
            prints.give(text)
        for student, text in sources.items():
            prints.add(student, text)
        pointed = {level: {alike.students for alike in prints.compare() if alike.level == level} for level in wrong}
        for pair, kind in planted.items():
            found[kind] += any(pair in those for those in pointed.values())
        for level, those in pointed.items():
            wrong[level] += len(those - planted.keys())
        pairs += math.comb(len(sources), 2) - len(planted)
    told = ", ".join(f"{count} {level}" for level, count in wrong.items())
    print(f"code: {classes} classes of {students}: of {pairs} unrelated pairs {told}")
    print("  copies found:", ", ".join(f"{kind} {count} of {classes}" for kind, count in found.items()))


_QUICK = ("relu", "softmax", "forward", "loss", "grad_", "backward", "relative_error", "numerical_gradient")


@functools.cache
def _bank() -> list[list[mistakes.Failure]]:
    """What the tests say to each wrong answer of the bank that is quick to try; trainings and SymPy's are left out."""
    found = []
    for answer in WRONG:
        if not all(name.startswith(_QUICK) for name in answer.codes):
            continue
        lost = {name: outcome.message for name, outcome in earned(answer).items() if outcome.lost}
        found.append([mistakes.Failure(name, message, message) for name, message in lost.items()])
    return found


def measure_mistakes(students: int, classes: int, seed: int) -> None:
    """Print how many unrelated pairs share rare wrong answers, and how many planted copies are found."""
    bank = _bank()
    wrong, pairs, found, planted = 0, 0, 0, 0
    for number in range(classes):
        choose = random.Random(1000 * seed + number)
        order = choose.sample(range(len(bank)), k=len(bank))
        weights = [1 / (rank + 1) for rank in range(len(bank))]
        answers = {}
        for place in range(students):
            drawn = choose.choices(order, weights, k=choose.choice([0, 1, 1, 2, 3, 4, 6]))
            made = {failure.question: failure for which in drawn for failure in bank[which]}
            answers[f"s{place}"] = list(made.values())
        several = [student for student, own in answers.items() if len(own) >= 4]
        copies = {}
        for place, student in enumerate(several[:3]):
            answers[f"c{place}"] = answers[student]
            copies[(f"c{place}", student)] = True
        pointed = {alike.students for alike in mistakes.compare(answers)}
        found += sum(pair in pointed for pair in copies)
        planted += len(copies)
        wrong += len(pointed - copies.keys())
        pairs += math.comb(len(answers), 2) - len(copies)
    print(f"mistakes: {classes} classes of {students}: {wrong} of {pairs} unrelated pairs ({wrong / pairs:.2e})")
    print(f"  copies of students with four or more wrong answers found: {found} of {planted}")


def _train(X: np.ndarray, y: np.ndarray, hidden: int, rate: float, reg: float, steps: int, seed: int,
           start: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:  # fmt: skip
    """Plain gradient descent, as the course teaches it, in single precision."""
    choose = np.random.default_rng(seed)
    params = {name: array.copy() for name, array in start.items()} if start else {
        "W1": 1e-4 * choose.standard_normal((X.shape[1], hidden), np.float32), "b1": np.zeros(hidden, np.float32),
        "W2": 1e-4 * choose.standard_normal((hidden, 10), np.float32), "b2": np.zeros(10, np.float32),
    }  # fmt: skip
    for _ in range(steps):
        rows = choose.integers(len(X), size=200)
        inputs, classes = X[rows], y[rows]
        a2 = np.maximum(inputs @ params["W1"] + params["b1"], 0)
        z3 = a2 @ params["W2"] + params["b2"]
        dz3 = np.exp(z3 - z3.max(axis=1, keepdims=True))
        dz3 /= dz3.sum(axis=1, keepdims=True)
        dz3[np.arange(len(rows)), classes] -= 1
        dz3 /= len(rows)
        dz2 = dz3 @ params["W2"].T * (a2 > 0)
        grads = {"W1": inputs.T @ dz2 + 2 * reg * params["W1"], "b1": dz2.sum(axis=0),
                 "W2": a2.T @ dz3 + 2 * reg * params["W2"], "b2": dz3.sum(axis=0)}  # fmt: skip
        for name, grad in grads.items():
            params[name] -= np.float32(rate) * grad
    return params


def _noisy(params: dict[str, np.ndarray], part: float) -> dict[str, np.ndarray]:
    choose = np.random.default_rng(1)
    return {
        name: array * (1 + part * choose.standard_normal(array.shape, np.float32)) for name, array in params.items()
    }


def measure_networks(students: int, steps: list[int], seed: int) -> None:
    """Print the cosines and shares of unrelated, related and copied networks."""
    data = cifar10_splits()
    X, y = data.X_train, data.y_train
    choose = random.Random(seed)
    trained: dict[str, dict[str, np.ndarray]] = {}
    setting = []
    for number in range(students):
        hidden, rate, reg = choose.choice([40, 50, 60]), choose.choice([1e-3, 2e-3, 3e-3]), choose.choice([1e-4, 1e-3])
        setting.append((hidden, rate, reg, choose.choice(steps)))
        trained[f"s{number}"] = _train(X, y, *setting[number], seed=100 + number)
    order = np.random.default_rng(0).permutation(trained["s0"]["W1"].shape[1])
    first = trained["s0"]
    copies = {
        "another order": first | {"W1": first["W1"][:, order], "b1": first["b1"][order], "W2": first["W2"][order]},
        "noise of 1 %": _noisy(first, 0.01),
        "noise of 5 %": _noisy(first, 0.05),
        "trained 100 steps further": _train(X, y, *setting[0][:3], 100, seed=7, start=first),
        "trained 500 steps further": _train(X, y, *setting[0][:3], 500, seed=7, start=first),
        "same seed, other rate": _train(X, y, setting[0][0], setting[0][1] * 1.5, *setting[0][2:], seed=100),
        "same first weights, other batches": _train(
            X, y, *setting[0], seed=9, start=_train(X, y, *setting[0][:3], 0, seed=100)
        ),
    }  # fmt: skip
    layers = {
        name: networks.Layers((own["W1"], own["W2"]), (own["b1"], own["b2"]))
        for name, own in (trained | copies).items()
    }

    def shortened(name: str) -> np.ndarray:
        product = layers[name].product()
        row = (networks._projection(product.shape[0]).T @ product).ravel()
        return row / np.linalg.norm(row)

    unrelated = list(itertools.combinations(trained, 2))
    cosines = [float(shortened(a) @ shortened(b)) for a, b in unrelated]
    shares = [networks.likeness(layers[a], layers[b])[0] for a, b in unrelated]
    print(f"networks: {len(unrelated)} unrelated pairs: cosine of products up to {max(cosines):.3f}, "
          f"units with a partner up to {max(shares):.0%}")  # fmt: skip
    for name in copies:
        share, same = networks.likeness(layers["s0"], layers[name])
        print(f"  {name}: cosine {float(shortened('s0') @ shortened(name)):.4f}, units {share:.0%}, same {same}")
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for name, own in (trained | copies).items():
            files[name] = Path(folder) / f"{name}.npz"
            np.savez(files[name], **own)
        alike, _ = networks.compare({name: files[name] for name in trained})
        print(f"  pointed at: {len(alike)} of {len(unrelated)} unrelated pairs")


def measure_time(students: int, seed: int) -> None:
    """Print processor time and memory for a large class's code and networks."""
    choose = random.Random(seed)
    pool = [_student(choose) for _ in range(60)]
    start = time.process_time()
    prints = code.Fingerprints()
    for number in range(students):
        prints.add(f"s{number}", pool[number % len(pool)].replace("result", f"result{number}"))
    prints.compare()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"code of {students}: {time.process_time() - start:.0f} s of processor time, {memory:.0f} MiB at most")
    numbers = np.random.default_rng(seed)
    with tempfile.TemporaryDirectory() as folder:
        files = {}
        for number in range(students):
            files[f"s{number}"] = path = Path(folder) / f"{number}.npz"
            np.savez(path, W1=numbers.standard_normal((3072, 80), np.float32), b1=np.zeros(80, np.float32),
                     W2=numbers.standard_normal((80, 10), np.float32), b2=np.zeros(10, np.float32))  # fmt: skip
        start = time.process_time()
        networks.compare(files)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"networks of {students}: {time.process_time() - start:.0f} s of processor time, {memory:.0f} MiB at most")


def main() -> None:
    """Run one measurement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["code", "mistakes", "networks", "time"])
    parser.add_argument("--students", type=int, default=100)
    parser.add_argument("--classes", type=int, default=20)
    parser.add_argument("--steps", type=int, nargs="+", default=[800, 1500, 2500], help="of a network's training")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    if given.what == "code":
        measure_code(given.students, given.classes, given.seed)
    elif given.what == "mistakes":
        measure_mistakes(given.students, given.classes, given.seed)
    elif given.what == "networks":
        measure_networks(given.students, given.steps, given.seed)
    else:
        measure_time(given.students, given.seed)


if __name__ == "__main__":
    main()
