"""Measure a trained network that comes as a file, on the evaluation set.

A file is data from a stranger: no code in it is run, and its size is known
before it is read. Whatever is wrong with it is said in one sentence.
"""

from __future__ import annotations

import contextlib
import functools
import os
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from course_utils.comparison import CheckFailed, not_done, passed
from course_utils.data import (
    CLASS_NAMES,
    NUM_FEATURES,
    EvaluationSet,
    flatten_images,
    load_cifar10,
    load_evaluation_set,
)

if TYPE_CHECKING:
    import torch

#: The largest file that is read, in bytes: room for 320 hidden units in float32, 640 in float16.
MAX_FILE_BYTES = 4_000_000
#: The same for a multilayer perceptron: room for 4 million parameters in float16.
MAX_MLP_BYTES = 8_000_000
#: What a multilayer perceptron may have between its layers.
ACTIVATIONS = ("relu", "tanh", "gelu")
#: What accuracies are measured on, as a sentence calls them: the parts of the evaluation set, and the hidden images.
SPLITS = {"val": "validation", "test": "test", "hidden": "hidden test"}
#: Another thousand images of the test set. They are the instructor's: in neither the package nor the handout.
HIDDEN_FILE = Path(__file__).resolve().parents[1] / "autograder" / "hidden_images.npz"
#: Their rows in the test set.
HIDDEN_ROWS = slice(3_000, 4_000)
#: An accuracy on images that students have that is so much larger than on hidden ones is no chance: the difference
#: of two shares of 1,000 images has a standard deviation of at most sqrt(2 * 0.25 / 1000) = 0.022, and this is five
#: of them. To choose the best of many networks by the validation data gains about two and a half of 0.016.
SUSPICIOUS = 5 * (2 * 0.25 / 1000) ** 0.5

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
        raise not_done(f"there is no {path.name} beside the notebook; train a network and save it.")
    size = path.stat().st_size
    if size == 0:
        raise CheckFailed(path.name, "the file is empty; save the network again.")
    if size > max_bytes:
        raise CheckFailed(
            path.name,
            f"the file has {size / 1e6:.1f} MB, and at most {max_bytes / 1e6:.1f} MB are taken;"
            " store it in half precision or use fewer hidden units.",
        )
    return path


def _expect_unpacked(path: Path, max_bytes: int, advice: str) -> None:
    """Raise :class:`CheckFailed` if the zip file would unpack to more: no small file shall fill the memory."""
    with zipfile.ZipFile(path) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())  # as stated, which zipfile enforces
    if unpacked > max_bytes:
        raise CheckFailed(path.name, f"it would unpack to {unpacked / 1e6:.0f} MB; {advice}.")


@contextlib.contextmanager
def _replacing(path: Path, max_bytes: int) -> Iterator[Path]:
    """A temporary path to write to; it takes the place of ``path`` if it was written whole and may be read."""
    temporary = path.with_name(f".{path.stem}.incomplete{path.suffix}")
    try:
        yield temporary
        try:
            check_file(temporary, max_bytes)
        except CheckFailed as error:
            raise CheckFailed(path.name, error.problem) from None
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


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
    return {key: array.astype(np.float64) for key, array in _stored_network(path).items()}


def _stored_network(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of :func:`load_network` in the precision on file."""
    path = check_file(path)
    params = {}
    try:
        _expect_unpacked(path, 8 * MAX_FILE_BYTES, "save the four arrays alone")
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
    return _checked_network(params, path.name)


def _checked_network(params: Mapping[str, Any], name: str = "params") -> dict[str, np.ndarray]:
    """The four arrays, or :class:`CheckFailed` if they are no two-layer network for CIFAR-10."""
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
    return arrays


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
        stored = {key: array.astype(dtype) for key, array in _checked_network(params).items()}
    _checked_network(stored)
    with _replacing(path, MAX_FILE_BYTES) as temporary:
        # Compression would save a tenth, and cost each reader more. NumPy's stub takes each name for allow_pickle.
        np.savez(temporary, **stored)  # type: ignore[arg-type]


def classify(params: Mapping[str, np.ndarray], X: np.ndarray) -> np.ndarray:
    """The most probable class of every row by our own forward pass, in the rows' dtype: (N, 3072) -> (N,) int."""
    W1, b1, W2, b2 = (params[name].astype(X.dtype, copy=False) for name in _NAMES)
    return np.argmax(np.maximum(X @ W1 + b1, 0) @ W2 + b2, axis=1)


def network_accuracy(path: str | Path, split: str, every: int = 1) -> float:
    """Accuracy of the two-layer network in ``path`` on a part of the evaluation set, 0..1.

    Parameters
    ----------
    path : str or Path
        See :func:`load_network`.
    split : str
        A key of :data:`SPLITS`: 1,000 images each.
    every : int
        Measured on each so many of these images.

    Raises
    ------
    CheckFailed
        If there is no such network in the file.
    """
    path = check_file(path).resolve()
    return _network_accuracy(path, _version(path), split, every)


def _version(path: Path) -> tuple[int, int, int]:
    """Differs when the file has been written anew."""
    status = path.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


# A notebook has several tests of one network; each file is read once, and measured once on each part.
@functools.lru_cache(maxsize=8)
def _network_accuracy(path: Path, version: tuple[int, int, int], split: str, every: int) -> float:
    params = _network_of(path, version)
    return accuracy(lambda X: classify(params, X), split, every)


@functools.lru_cache(maxsize=1)
def _network_of(path: Path, version: tuple[int, int, int]) -> dict[str, np.ndarray]:
    return _stored_network(path)


@functools.cache
def _evaluation_set() -> EvaluationSet:
    return load_evaluation_set()


def accuracy(classify_rows: Callable[[np.ndarray], np.ndarray], split: str, every: int = 1) -> float:
    """The part of the evaluation set's ``split`` that a classifier gets right, 0..1.

    Parameters
    ----------
    classify_rows : callable
        Takes rows (N, 3072) in float32, 0..255 less the mean image of the 49,000 training
        images, and returns N classes.
    split : str
        A key of :data:`SPLITS`.
    every : int
        Each so many of its images are classified.

    Raises
    ------
    FileNotFoundError
        If the hidden images are asked for where they aren't.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be 'val', 'test' or 'hidden', not {split!r}.")
    images, labels = (part[::every] for part in _images(split))
    predicted = np.asarray(classify_rows(flatten_images(images, _evaluation_set().mean_image)))
    return float(np.mean(predicted == labels))


@functools.cache
def _images(split: str) -> tuple[np.ndarray, np.ndarray]:
    if split != "hidden":
        return getattr(_evaluation_set(), f"{split}_images"), getattr(_evaluation_set(), f"{split}_labels")
    with np.load(HIDDEN_FILE, allow_pickle=False) as stored:
        return stored["images"], stored["labels"]


def write_hidden_images(path: Path = HIDDEN_FILE) -> None:
    """Take the hidden images from the full CIFAR-10."""
    data = load_cifar10()
    np.savez(path, images=data.test_images[HIDDEN_ROWS], labels=data.test_labels[HIDDEN_ROWS])


def expect_accuracy(name: str, reached: float, split: str, at_least: float) -> None:
    """Print one line if ``reached`` is ``at_least`` what is asked for, else raise :class:`CheckFailed`."""
    if reached < at_least:
        raise CheckFailed(name, f"the {SPLITS[split]} accuracy {reached:.3f} is below {at_least:.2f}.")
    passed(f"{SPLITS[split]} accuracy {reached:.3f}, at least {at_least:.2f} asked for.")


def check_network(path: str | Path, split: str, at_least: float) -> None:
    """Check that the two-layer network in ``path`` reaches an accuracy; see :func:`network_accuracy`."""
    if split == "hidden":
        _name_suspicion(Path(path).name, functools.partial(network_accuracy, path))
    expect_accuracy(Path(path).name, network_accuracy(path, split), split, at_least)


def _name_suspicion(name: str, measured: Callable[..., float]) -> None:
    """Name it as trouble if a network is far better on the images that students have. No points depend on it."""
    hidden = measured("hidden")
    # No question measures a network on the test images: a fifth of them shows whether it is worth the time.
    looked_at = {"val": 1, "test": 5}
    for split, every in looked_at.items():
        if measured(split, every) - hidden > SUSPICIOUS / 2 and measured(split) - hidden > SUSPICIOUS:
            name_trouble(
                f"{name} has an accuracy of {measured(split):.3f} on the {SPLITS[split]} images that the package ships,"
                f" and of {hidden:.3f} on others: was it trained on them?"
            )


def name_trouble(sentence: str) -> None:
    """Show a sentence that the grader repeats in the student's line, as :mod:`autograder.session` finds it."""
    from IPython.display import display

    display({"text/plain": sentence}, metadata={"two_layer_net": {"trouble": sentence}}, raw=True)


# --- Multilayer perceptrons, as PyTorch stores them ---------------------------------------


@dataclass(frozen=True, eq=False)
class MLP:
    """A multilayer perceptron for CIFAR-10.

    Attributes
    ----------
    layers : list of (W, b)
        ``W`` (inputs, outputs) and ``b`` (outputs,), float32 arrays, layer by layer.
    activation : str
        Between the layers, one of :data:`ACTIVATIONS`.
    """

    layers: list[tuple[np.ndarray, np.ndarray]]
    activation: str

    def __str__(self) -> str:
        sizes = [self.layers[0][0].shape[0], *(b.size for _, b in self.layers)]
        return f"{' - '.join(map(str, sizes))} units, {self.activation}"


def load_mlp(path: str | Path) -> MLP:
    """Read a multilayer perceptron for CIFAR-10 that PyTorch has stored.

    Parameters
    ----------
    path : str or Path
        Written by :func:`save_mlp`: a dict with ``activation`` and ``state_dict``, in which
        each layer has its weights (outputs, inputs) and then its biases (outputs,).

    Raises
    ------
    NotImplementedError
        If there is no such file.
    CheckFailed
        If it is too large, or doesn't hold such a network.
    """
    import torch

    path = check_file(path, MAX_MLP_BYTES)
    try:
        _expect_unpacked(path, 2 * MAX_MLP_BYTES, "save it with save_mlp")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # weights_only: tensors, numbers and strings are read, and no code is run.
            stored = torch.load(path, map_location="cpu", weights_only=True)
    except CheckFailed:
        raise
    except Exception:  # zipfile, pickle and torch meet a broken file with a dozen different exceptions
        raise CheckFailed(
            path.name,
            "it can't be read as tensors alone; save it with save_mlp, which stores no objects but tensors.",
        ) from None
    if not isinstance(stored, dict) or not {"activation", "state_dict"} <= set(stored):
        raise CheckFailed(path.name, "it holds no activation and state_dict; save it with save_mlp.")
    return _checked_mlp(stored["state_dict"], stored["activation"], path.name)


def save_mlp(path: str | Path, model: torch.nn.Module, activation: str) -> None:
    """Write a model in half precision so that :func:`load_mlp` takes it; an interrupted call leaves the old file.

    Parameters
    ----------
    path : str or Path
        Ends in ``.pt``.
    model : torch.nn.Module
        Fully connected layers from the 3,072 pixels to the 10 classes.
    activation : str
        Between the layers: ``"relu"``, ``"tanh"`` or ``"gelu"``.

    Raises
    ------
    CheckFailed
        If these aren't the parameters of a network that would be taken; the old file stays.
    """
    import torch

    path = Path(path)
    state = {
        key: tensor.detach().cpu().to(torch.float16) if tensor.is_floating_point() else tensor.detach().cpu()
        for key, tensor in model.state_dict().items()
    }
    _checked_mlp(state, activation, "the model")
    with _replacing(path, MAX_MLP_BYTES) as temporary:
        torch.save({"activation": activation, "state_dict": state}, temporary)


def _checked_mlp(state: Any, activation: Any, name: str) -> MLP:
    if not isinstance(activation, str) or activation not in ACTIVATIONS:
        raise CheckFailed(
            name, f"its activation is {str(activation)[:40]!r}, expected one of {', '.join(ACTIVATIONS)}."
        )
    tensors = _plain_tensors(state, name)
    inputs, layers = NUM_FEATURES, []
    for place in range(0, len(tensors), 2):
        layers.append(_checked_layer(tensors[place : place + 2], inputs, name))
        inputs = layers[-1][1].size
    if inputs != len(CLASS_NAMES):
        raise CheckFailed(
            name, f"its last layer has {inputs} outputs, expected {len(CLASS_NAMES)}, one for each class."
        )
    return MLP(layers, activation)


def _plain_tensors(state: Any, name: str) -> list[tuple[str, Any]]:
    """Keys and tensors of a state_dict: weights and biases in turn, no more of them than can be."""
    import torch

    if not isinstance(state, dict) or not state:
        raise CheckFailed(name, "its state_dict holds no tensors; save model.state_dict().")
    tensors = [(str(key)[:60], tensor) for key, tensor in state.items()]
    for key, tensor in tensors:
        if not isinstance(tensor, torch.Tensor) or tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise CheckFailed(name, f"{key} is no plain tensor of numbers.")
        if not tensor.is_floating_point():
            raise CheckFailed(name, f"{key} has dtype {tensor.dtype}, expected floating-point numbers.")
    # A tensor may claim more numbers than the file stores.
    if sum(tensor.numel() for _, tensor in tensors) > MAX_MLP_BYTES:
        raise CheckFailed(name, f"it has more than {MAX_MLP_BYTES:,} parameters; use fewer units.")
    odd = [key for place, (key, tensor) in enumerate(tensors) if tensor.ndim != 2 - place % 2]
    if odd or len(tensors) % 2:
        raise CheckFailed(
            name,
            f"{(odd or [tensors[-1][0]])[0]} is out of place: each layer should have weights and then biases, and"
            " nothing else; what a model has besides must be folded into them.",
        )
    return tensors


def _checked_layer(tensors: list[tuple[str, Any]], inputs: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Weights (inputs, outputs) and biases (outputs,), float32."""
    import torch

    (weights_key, weights), (biases_key, biases) = tensors
    if weights.shape[1] != inputs or weights.shape[0] == 0:
        raise CheckFailed(
            name, f"{weights_key} has shape {tuple(weights.shape)}, expected (outputs, {inputs}), as inputs arrive."
        )
    if biases.shape != weights.shape[:1]:
        raise CheckFailed(name, f"{biases_key} has shape {tuple(biases.shape)}, expected {tuple(weights.shape[:1])}.")
    layer = [tensor.detach().float() for tensor in (weights, biases)]
    for key, values in zip((weights_key, biases_key), layer, strict=True):
        # A finite sum has finite terms; to look at each takes ten times as long.
        if not torch.isfinite(values.sum()) and (bad := int((~torch.isfinite(values)).sum())):
            raise CheckFailed(name, f"{bad} of {values.numel()} values of {key} are not finite: the training diverged.")
    return layer[0].numpy().T, layer[1].numpy()


def classify_mlp(mlp: MLP, X: np.ndarray) -> np.ndarray:
    """The most probable class of every row by the course's own forward pass: (N, 3072) -> (N,) int."""
    import torch

    activation = {"relu": torch.relu, "tanh": torch.tanh, "gelu": torch.nn.functional.gelu}[mlp.activation]
    values = torch.as_tensor(X, dtype=torch.float32)
    for number, (W, b) in enumerate(mlp.layers, start=1):
        values = values @ torch.from_numpy(W) + torch.from_numpy(b)
        if number < len(mlp.layers):
            values = activation(values)
    return values.argmax(dim=1).numpy()


def mlp_accuracy(path: str | Path, split: str, every: int = 1) -> float:
    """Accuracy of the multilayer perceptron in ``path`` on a part of :data:`SPLITS`, or some of its images, 0..1."""
    path = check_file(path, MAX_MLP_BYTES).resolve()
    return _mlp_accuracy(path, _version(path), split, every)


@functools.lru_cache(maxsize=8)
def _mlp_accuracy(path: Path, version: tuple[int, int, int], split: str, every: int) -> float:
    mlp = _mlp_of(path, version)
    return accuracy(lambda X: classify_mlp(mlp, X), split, every)


@functools.lru_cache(maxsize=1)
def _mlp_of(path: Path, version: tuple[int, int, int]) -> MLP:
    return load_mlp(path)


def check_mlp(path: str | Path, split: str, at_least: float) -> None:
    """Check that the multilayer perceptron in ``path`` reaches an accuracy; see :func:`mlp_accuracy`."""
    if split == "hidden":
        _name_suspicion(Path(path).name, functools.partial(mlp_accuracy, path))
    expect_accuracy(Path(path).name, mlp_accuracy(path, split), split, at_least)
