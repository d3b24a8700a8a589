"""Measure a trained network that comes as a file, on the evaluation set.

A file is data from a stranger: nothing in it is unpickled or run, and its size is known
before it is read. Whatever is wrong with it is said in one sentence.
"""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from course_utils.comparison import CheckFailed, passed
from course_utils.data import CLASS_NAMES, NUM_FEATURES, flatten_images, load_evaluation_set

#: The largest file that is read, in bytes: room for 320 hidden units in float32, 640 in float16.
MAX_FILE_BYTES = 4_000_000
#: The parts of the evaluation set, as a sentence calls them.
SPLITS = {"val": "validation", "test": "test"}

_NAMES = ("W1", "b1", "W2", "b2")


def check_file(path: str | Path, max_bytes: int = MAX_FILE_BYTES) -> Path:
    """The path of a file that may be read.

    Raises
    ------
    NotImplementedError
        If there is no such file: this part of the assignment isn't done yet.
    CheckFailed
        If it is empty or has more than ``max_bytes`` bytes.
    """
    path = Path(path)
    if not path.is_file():
        raise NotImplementedError(f"there is no {path.name} beside the notebook; train a network and save it.")
    size = path.stat().st_size
    if size == 0:
        raise CheckFailed(path.name, "the file is empty; save the network again.")
    if size > max_bytes:
        raise CheckFailed(
            path.name,
            f"the file has {size / 1e6:.1f} MB, and at most {max_bytes / 1e6:.1f} MB are taken;"
            " save half_precision or use fewer hidden units.",
        )
    return path


def load_network(path: str | Path) -> dict[str, np.ndarray]:
    """Read a two-layer network for CIFAR-10 from an ``.npz`` file.

    Parameters
    ----------
    path : str or Path
        Written by :func:`save_network` or ``numpy.savez``; further arrays in it are ignored.

    Returns
    -------
    dict
        ``W1`` (3072, H), ``b1`` (H,), ``W2`` (H, 10), ``b2`` (10,), in float64 whatever
        the precision on file.

    Raises
    ------
    NotImplementedError
        If there is no such file.
    CheckFailed
        If it is too large, or doesn't hold such a network.
    """
    path = check_file(path)
    params = {}
    try:
        with zipfile.ZipFile(path) as archive:
            # The sizes that the archive states, which zipfile enforces: no file of 4 MB fills the memory.
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > 8 * MAX_FILE_BYTES:
            raise CheckFailed(path.name, f"it would unpack to {unpacked / 1e6:.0f} MB; save the four arrays alone.")
        with np.load(path, allow_pickle=False) as stored:
            missing = [name for name in _NAMES if name not in stored.files]
            if missing:
                held = ", ".join(stored.files) or "nothing"
                raise CheckFailed(path.name, f"it lacks {', '.join(missing)}; it holds {held}.")
            for name in _NAMES:
                try:
                    params[name] = stored[name]
                except ValueError:
                    raise CheckFailed(
                        path.name, f"{name} is no plain array of numbers; save np.asarray(params[{name!r}])."
                    ) from None
    except CheckFailed:
        raise
    except Exception:  # zipfile and numpy meet a broken file with a dozen different exceptions
        raise CheckFailed(path.name, "it can't be read as an .npz file; save it with save_network.") from None
    return checked_network(params, path.name)


def checked_network(params: Mapping[str, Any], name: str = "params") -> dict[str, np.ndarray]:
    """``params`` in float64, or :class:`CheckFailed` if they are no two-layer network for CIFAR-10."""
    missing = [key for key in _NAMES if key not in params]
    if missing:
        raise CheckFailed(name, f"it lacks {', '.join(missing)}.")
    arrays = {key: np.asarray(params[key]) for key in _NAMES}
    for key, array in arrays.items():
        if array.dtype.kind not in "fiu":
            raise CheckFailed(name, f"{key} has dtype {array.dtype}, expected floating-point numbers.")
    hidden = arrays["W1"].shape[1] if arrays["W1"].ndim == 2 else 0
    if arrays["W1"].ndim != 2 or arrays["W1"].shape[0] != NUM_FEATURES or hidden == 0:
        raise CheckFailed(
            name, f"W1 has shape {arrays['W1'].shape}, expected ({NUM_FEATURES}, hidden units): one row a feature."
        )
    classes = len(CLASS_NAMES)
    for key, shape in {"b1": (hidden,), "W2": (hidden, classes), "b2": (classes,)}.items():
        if arrays[key].shape != shape:
            raise CheckFailed(
                name, f"{key} has shape {arrays[key].shape}, expected {shape}, since W1 has {hidden} columns."
            )
    for key, array in arrays.items():
        finite = np.isfinite(array)
        if not finite.all():
            raise CheckFailed(
                name, f"{int((~finite).sum())} of {array.size} values of {key} are not finite: the training diverged."
            )
    return {key: array.astype(np.float64) for key, array in arrays.items()}


def save_network(path: str | Path, params: Mapping[str, np.ndarray], *, half_precision: bool = False) -> None:
    """Write a network so that :func:`load_network` takes it; an interrupted call leaves the old file.

    Parameters
    ----------
    path : str or Path
        Ends in ``.npz``.
    params : mapping
        ``W1`` (3072, H), ``b1`` (H,), ``W2`` (H, 10), ``b2`` (10,).
    half_precision : bool
        Store float16 (3 digits) rather than float32; half the size.

    Raises
    ------
    CheckFailed
        If these aren't the parameters of a network that would be taken; nothing is written.
    """
    path = Path(path)
    dtype = np.float16 if half_precision else np.float32
    with np.errstate(over="ignore"):  # what overflows is not finite, which is said
        stored = {key: array.astype(dtype) for key, array in checked_network(params).items()}
    checked_network(stored)
    temporary = path.with_name(f".{path.stem}.incomplete.npz")
    try:
        np.savez_compressed(temporary, **stored)
        try:
            check_file(temporary)
        except CheckFailed as error:
            raise CheckFailed(path.name, error.problem) from None
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def classify(params: Mapping[str, np.ndarray], X: np.ndarray) -> np.ndarray:
    """The most probable class of every row by the course's own forward pass: (N, 3072) -> (N,) int."""
    hidden = np.maximum(X @ params["W1"] + params["b1"], 0)
    return np.argmax(hidden @ params["W2"] + params["b2"], axis=1)


def network_accuracy(path: str | Path, split: str) -> float:
    """Accuracy of the two-layer network in ``path`` on a part of the evaluation set, 0..1.

    Parameters
    ----------
    path : str or Path
        See :func:`load_network`.
    split : str
        ``"val"`` or ``"test"``: 1,000 images each.

    Raises
    ------
    CheckFailed
        If there is no such network in the file.
    """
    params = load_network(path)
    return accuracy(lambda X: classify(params, X), split)


def accuracy(classify_rows: Callable[[np.ndarray], np.ndarray], split: str) -> float:
    """The part of the evaluation set's ``split`` that a classifier gets right, 0..1.

    Parameters
    ----------
    classify_rows : callable
        Takes rows (N, 3072) in float64, 0..255 less the mean image of the 49,000 training
        images, and returns N classes.
    split : str
        ``"val"`` or ``"test"``.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be 'val' or 'test', not {split!r}.")
    evaluation = load_evaluation_set()
    images, labels = getattr(evaluation, f"{split}_images"), getattr(evaluation, f"{split}_labels")
    predicted = np.asarray(classify_rows(flatten_images(images, evaluation.mean_image, np.float64)))
    return float(np.mean(predicted == labels))


def expect_accuracy(name: str, reached: float, split: str, at_least: float) -> None:
    """Print one line if ``reached`` is ``at_least`` what is asked for, else raise :class:`CheckFailed`."""
    if reached < at_least:
        raise CheckFailed(name, f"the {SPLITS[split]} accuracy {reached:.3f} is below {at_least:.2f}.")
    passed(f"{SPLITS[split]} accuracy {reached:.3f}, at least {at_least:.2f} asked for.")


def check_network(path: str | Path, split: str, at_least: float) -> None:
    """Check that the two-layer network in ``path`` reaches an accuracy; see :func:`network_accuracy`."""
    expect_accuracy(Path(path).name, network_accuracy(path, split), split, at_least)
