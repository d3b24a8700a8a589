"""Networks that are the same, or nearly, whatever the order of their hidden units.

The product of a network's weight matrices doesn't change when hidden units change places, nor when the incoming
weights of a unit with ReLU are multiplied and its outgoing ones divided by the same number. So the products are
compared, shortened by a fixed random projection that keeps angles (Johnson and Lindenstrauss, 1984); where two of them
point in nearly the same direction, the networks are read again and their units are matched.

Files are read without pickle: of a ``.pt`` file only the raw numbers, and of its index only the name of their type.
"""

from __future__ import annotations

import functools
import io
import math
import pickletools
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

#: Bounds on a file, on its numbers and on the widest layer.
MAX_BYTES = 20_000_000
_MAX_ENTRIES = 100
_MAX_NUMBERS = 10_000_000
_MAX_WIDTH = 2048
_MAX_FEATURES = 20_000
_MAX_CLASSES = 100
#: Length of a shortened product.
_LENGTH = 256
#: Products whose cosine is below aren't looked at further; the networks are alike where so many units have a partner
#: whose cosine is at least that. Measured on trainings that share nothing by ``benchmarks/likeness.py``.
CANDIDATE = 0.97
UNIT = 0.98
SHARE = 0.9
#: At most so many pairs, those with the largest cosines, are looked at further.
_MAX_PAIRS = 20_000
#: The same network with more than so many students is the course's own, or what its settings lead to.
COMMON = 0.1

_TYPES = {"HalfStorage": "<f2", "FloatStorage": "<f4", "DoubleStorage": "<f8"}


class Layers(NamedTuple):
    """A fully connected network.

    Attributes
    ----------
    weights : tuple of ndarray
        Each (inputs, outputs), float32; outputs of one are inputs of the next.
    biases : tuple of ndarray
        Each (outputs,).
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]

    def product(self) -> np.ndarray:
        """The product of the weights, (features, classes)."""
        product = self.weights[-1]
        for weight in reversed(self.weights[:-1]):
            product = weight @ product
        return product


class Unreadable(Exception):
    """A file holds no fully connected network."""


def read(path: Path) -> Layers:
    """Read a network from ``.npz`` or ``.pt``.

    Raises
    ------
    Unreadable
        If it holds none, or is larger than the bounds.
    """
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
            raise Unreadable("no plain file, or too large")
        with zipfile.ZipFile(path) as archive:
            arrays = _of_npz(archive) if path.suffix == ".npz" else _of_pt(archive)
    except (OSError, zipfile.BadZipFile, ValueError, EOFError, RuntimeError, NotImplementedError, MemoryError) as error:
        raise Unreadable(str(error)) from None
    return _layers(arrays)


def _members(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """What an archive holds, none of it longer than the bound, whatever it says."""
    infos = archive.infolist()
    if len(infos) > _MAX_ENTRIES:
        raise Unreadable("too many entries")
    held, left = {}, MAX_BYTES
    for info in infos:
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Unreadable("packed in a way that isn't read here")
        with archive.open(info) as file:
            held[info.filename] = file.read(left + 1)
        left -= len(held[info.filename])
        if left < 0:
            raise Unreadable("too large")
    return held


def _of_npz(archive: zipfile.ZipFile) -> list[np.ndarray]:
    """The arrays of an ``.npz`` file by name: W1, b1, W2, b2 ..."""
    arrays = {}
    for name, content in _members(archive).items():
        stream = io.BytesIO(content)
        version = np.lib.format.read_magic(stream)
        header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = header(stream)
        if dtype.kind not in "fiu" or math.prod(shape) > _MAX_NUMBERS or math.prod(shape) * dtype.itemsize > MAX_BYTES:
            raise Unreadable("no numbers, or too many")
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
        arrays[name.removesuffix(".npy")] = array.astype(np.float32)
    names = sorted(arrays, key=lambda name: (re.sub(r"\D", "", name), not name.lower().startswith("w")))
    return [arrays[name] for name in names]


def _of_pt(archive: zipfile.ZipFile) -> list[np.ndarray]:
    """The raw numbers of a ``.pt`` file, flat, in the order in which PyTorch wrote them."""
    members = _members(archive)
    index = next((content for name, content in members.items() if name.rsplit("/", 1)[-1] == "data.pkl"), b"")
    # Taken apart, not run: pickletools only tells what the instructions are.
    words = {
        word for _, argument, _ in pickletools.genops(index) if isinstance(argument, str) for word in argument.split()
    }
    types = {_TYPES[word] for word in words if word in _TYPES}
    if len(types) != 1:
        raise Unreadable("no numbers, or of several kinds")
    (dtype,) = types
    numbers = {
        int(found[1]): content for name, content in members.items() if (found := re.search(r"/data/(\d{1,4})$", name))
    }
    return [np.frombuffer(numbers[key], dtype).astype(np.float32) for key in sorted(numbers)]


def _layers(arrays: list[np.ndarray]) -> Layers:
    """Weights and biases in turn; a bias's length gives the shape of weights that are flat."""
    if len(arrays) < 4 or len(arrays) % 2:
        raise Unreadable("not weights and biases in turn")
    weights: list[np.ndarray] = []
    biases: list[np.ndarray] = []
    for weight, bias in zip(arrays[::2], arrays[1::2], strict=True):
        if bias.ndim != 1 or not 0 < bias.size <= _MAX_WIDTH or weight.size == 0 or weight.size % bias.size:
            raise Unreadable("not weights and biases in turn")
        # PyTorch keeps (outputs, inputs).
        shaped = weight if weight.ndim == 2 else weight.reshape(bias.size, -1).T
        if shaped.ndim != 2 or shaped.shape[1] != bias.size or (weights and weights[-1].shape[1] != shaped.shape[0]):
            raise Unreadable("layers that don't fit")
        if not np.isfinite(shaped).all():
            raise Unreadable("not finite")
        weights.append(shaped)
        biases.append(bias)
    if weights[0].shape[0] > _MAX_FEATURES or biases[-1].size > _MAX_CLASSES:
        raise Unreadable("too wide")
    return Layers(tuple(weights), tuple(biases))


class Alike(NamedTuple):
    """Two students' networks that are the same or nearly.

    Attributes
    ----------
    students : tuple of str
        Two ids, sorted.
    file : str
    share : float
        The part of the hidden units of the smaller first layer that have a partner in the other, 0 to 1.
    same : bool
        Whether every number is the same, up to the order of the units.
    """

    students: tuple[str, str]
    file: str
    share: float
    same: bool


def compare(files: Mapping[str, Path]) -> tuple[list[Alike], list[list[str]]]:
    """Compare one file of everybody's.

    Parameters
    ----------
    files : mapping
        Student -> path.

    Returns
    -------
    alike : list of Alike
    common : list of list of str
        Groups of students with one network who are too many for evidence.
    """
    summaries: dict[str, np.ndarray] = {}
    shapes: dict[str, tuple[int, int]] = {}
    for student, path in files.items():
        try:
            product = read(path).product()
        except Unreadable:
            continue
        shortened = _projection(product.shape[0]).T @ product
        size = float(np.linalg.norm(shortened))
        if math.isfinite(size) and size > 0:
            summaries[student] = (shortened / size).ravel()
            shapes[student] = product.shape
    groups = _Groups(max(3, COMMON * len(files)))
    found = []
    read_again = functools.lru_cache(maxsize=16)(lambda student: read(files[student]))
    for shape in sorted(set(shapes.values())):
        students = sorted(student for student in shapes if shapes[student] == shape)
        for i, j in _close(np.stack([summaries[name] for name in students])):
            first, second = students[i], students[j]
            if groups.settled(first, second):
                continue
            share, same = likeness(read_again(first), read_again(second))
            if share >= SHARE:
                groups.join(first, second)
                found.append(Alike((first, second), files[first].name, share, same))
    common = groups.large()
    in_common = {student for group in common for student in group}
    return [alike for alike in found if alike.students[0] not in in_common], common


class _Groups:
    """Students whose networks are alike, in groups; one of more than ``limit`` is no evidence."""

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._of: dict[str, set[str]] = {}

    def join(self, first: str, second: str) -> None:
        joined = self._of.get(first, {first}) | self._of.get(second, {second})
        for student in joined:
            self._of[student] = joined

    def settled(self, first: str, second: str) -> bool:
        """Whether comparing two students would tell nothing new."""
        return second in self._of.get(first, ()) and len(self._of[first]) > self._limit

    def large(self) -> list[list[str]]:
        large = {frozenset(group) for group in self._of.values() if len(group) > self._limit}
        return sorted(sorted(group) for group in large)


@functools.lru_cache(maxsize=4)
def _projection(features: int) -> np.ndarray:
    """The same random directions for every network, (features, length)."""
    length = min(_LENGTH, features)
    return np.random.default_rng(0).standard_normal((features, length), np.float32) / np.float32(math.sqrt(length))


def _close(rows: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of unit rows whose cosine is at least :data:`CANDIDATE`, the largest first; blockwise, to bound memory."""
    found: list[tuple[float, int, int]] = []
    for start in range(0, len(rows), 256):
        cosines = rows[start : start + 256] @ rows.T
        for i, j in zip(*np.nonzero(cosines >= CANDIDATE), strict=True):
            if start + i < j:
                found.append((float(cosines[i, j]), start + int(i), int(j)))
    return [(i, j) for _, i, j in sorted(found, reverse=True)[:_MAX_PAIRS]]


def likeness(first: Layers, second: Layers) -> tuple[float, bool]:
    """Which part of the hidden units have a partner in the other network, and whether all numbers are the same.

    A unit is its incoming weights and bias, as a direction; units are matched one to one.
    """
    left, right = _units(first), _units(second)
    if left.shape[1] != right.shape[1]:
        return 0.0, False
    cosines = left @ right.T
    rows, columns = linear_sum_assignment(-cosines)
    matched = cosines[rows, columns] >= UNIT
    share = float(matched.sum()) / max(1, min(len(left), len(right)))
    same = (
        [weight.shape for weight in first.weights] == [weight.shape for weight in second.weights]
        and bool(matched.all())
        and all(
            np.array_equal(np.sort(one, axis=None), np.sort(other, axis=None))
            for one, other in zip((*first.weights, *first.biases), (*second.weights, *second.biases), strict=True)
        )
    )
    return share, same


def _units(layers: Layers) -> np.ndarray:
    """The units of the first layer as unit vectors, (units, features + 1); dead ones are left out."""
    vectors = np.vstack([layers.weights[0], layers.biases[0]]).T
    sizes = np.linalg.norm(vectors, axis=1)
    alive = sizes > 1e-8 * max(float(sizes.max(initial=0)), 1e-30)
    return vectors[alive] / sizes[alive, None]
