"""The file that a student hands in: made by ``pack``, opened by the autograder."""

from __future__ import annotations

import io
import json
import re
import shutil
import stat
import zipfile

import nbformat
import numpy as np
import pytest

from autograder.packed import NotPacked, find_packed, unpack
from course_utils import pack as packing
from course_utils.__main__ import main
from course_utils.notebooks import ASKED, NotebookError
from course_utils.pack import ARCHIVE, MANIFEST, NETWORKS, fingerprint_of, pack
from tests.conftest import SOURCE

BOUNDS = {"max_files": 100, "max_bytes": 50_000_000}


@pytest.fixture
def solved(tmp_path):
    """A folder with everything that a perfect student has."""
    folder = tmp_path / "two_layer_net"
    folder.mkdir()
    for name in (*ASKED, *NETWORKS):
        shutil.copy(SOURCE / name, folder / name)
    return folder


def test_a_finished_submission_is_packed_whole(solved):
    packed = pack(solved)
    assert packed.undone == []
    assert packed.path == solved / ARCHIVE
    opened = unpack(packed.path.read_bytes(), **BOUNDS)
    assert opened.files == {name: (solved / name).read_bytes() for name in (*ASKED, *NETWORKS)}
    assert opened.fingerprint == packed.fingerprint == fingerprint_of(opened.files)
    assert opened.altered == []
    assert re.fullmatch(r"[0-9a-f]{4}(-[0-9a-f]{4}){3}", packed.fingerprint)


def test_the_same_files_make_the_same_archive_and_others_another(solved):
    first = pack(solved)
    content = first.path.read_bytes()
    assert pack(solved).path.read_bytes() == content
    (solved / "best_mlp.pt").write_bytes(b"another")
    assert pack(solved).fingerprint != first.fingerprint


def test_copies_are_packed_under_the_assignments_names(solved):
    for name in ASKED:
        (solved / name).rename(solved / f"Copy of {name}")
    packed = pack(solved)
    assert packed.undone == []
    assert set(unpack(packed.path.read_bytes(), **BOUNDS).files) == {*ASKED, *NETWORKS}


def test_networks_are_found_where_the_front_end_started(solved, tmp_path, monkeypatch):
    started = tmp_path / "started"
    started.mkdir()
    shutil.move(solved / "best_net.npz", started / "best_net.npz")
    monkeypatch.setattr(packing, "folders", lambda: [started, solved])
    packed = pack()
    assert packed.undone == []
    assert packed.path.parent == solved, "the file belongs beside the notebooks"


def test_an_untouched_release_is_packed_with_what_is_left_to_do(release, tmp_path, capsys):
    folder = shutil.copytree(release, tmp_path / "folder")
    assert main(["pack", str(folder)]) == 1
    out = capsys.readouterr().out
    for said in (
        "1_forward_check.ipynb: not written yet: relu, softmax, forward, softmax_cross_entropy, loss.",
        "2_backprop_derivation.ipynb: not answered yet: derivation.",
        "3_gradient_check.ipynb: it was saved before any cell was run",
        "best_net.npz: it isn't there",
        "best_mlp.pt: it isn't there",
        "its fingerprint is",
    ):
        assert said in out
    assert "extras" not in out, "what is optional isn't missing"
    assert (folder / ARCHIVE).exists()


def test_a_failing_check_is_named(solved):
    path = solved / "1_forward_check.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cell = next(cell for cell in notebook.cells if cell.id == "test-relu")
    cell.outputs = [nbformat.v4.new_output("error", ename="CheckFailed", evalue="", traceback=[])]
    nbformat.write(notebook, path)
    assert pack(solved).undone == ["1_forward_check.ipynb: does not pass yet: test-relu."]


def test_a_network_that_cannot_be_graded_is_named_and_left_out(solved):
    np.savez(solved / "best_net.npz", W1=np.zeros(3))
    packed = pack(solved)
    (said,) = packed.undone
    assert said.startswith("best_net.npz: it lacks")
    assert "best_net.npz" not in unpack(packed.path.read_bytes(), **BOUNDS).files


def test_a_folder_without_notebooks_gives_no_file(tmp_path, capsys):
    with pytest.raises(NotebookError, match=re.escape(str(tmp_path))):
        pack(tmp_path)
    assert main(["pack", str(tmp_path)]) == 1
    assert "Nothing was packed" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_the_last_file(solved, monkeypatch, capsys):
    before = pack(solved).path.read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zipfile.ZipFile, "writestr", full)
    assert main(["pack", str(solved)]) == 1
    assert "No space left" in capsys.readouterr().err
    assert (solved / ARCHIVE).read_bytes() == before
    assert not list(solved.glob(".*"))


def test_in_a_notebook_it_packs_for_a_person_alone(solved, monkeypatch, capsys):
    monkeypatch.chdir(solved)
    monkeypatch.setattr(packing, "watched", lambda: False)
    packing.hand_in()
    assert "python -m course_utils pack" in capsys.readouterr().out
    assert not (solved / ARCHIVE).exists()
    monkeypatch.setattr(packing, "watched", lambda: True)
    packing.hand_in()
    assert "its fingerprint is" in capsys.readouterr().out
    assert (solved / ARCHIVE).exists()


# --- What a student may hand in in its place ---------------------------------------------


def archive(*entries: tuple[zipfile.ZipInfo | str, bytes], manifest: bytes | None = b'{"files": {}}') -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
        if manifest is not None:
            file.writestr(MANIFEST, manifest)
    return written.getvalue()


def entry(name: str, mode: int = stat.S_IFREG | 0o644, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr, made.compress_type = mode << 16, method
    return made


def test_files_changed_after_packing_are_named(solved):
    packed = pack(solved)
    files = unpack(packed.path.read_bytes(), **BOUNDS).files
    with zipfile.ZipFile(packed.path) as file:
        manifest = file.read(MANIFEST)
    changed = files | {"1_forward_check.ipynb": b"{}", "extra.txt": b"x"}
    del changed["best_mlp.pt"]
    opened = unpack(archive(*changed.items(), manifest=manifest), **BOUNDS)
    assert opened.altered == ["1_forward_check.ipynb", "best_mlp.pt", "extra.txt"]
    assert opened.fingerprint != packed.fingerprint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + b"\x00" * 100,
        archive(("a", b"1"), manifest=None),
        archive(manifest=b"not JSON"),
        archive(manifest=b"[]"),
        archive(manifest=b'{"files": 3}'),
        archive(manifest=b"[" * 100_000),
        archive(("../a", b"1")),
        archive(("/etc/a", b"1")),
        archive(("folder/a", b"1")),
        archive(("C:a", b"1")),
        archive((entry("link", stat.S_IFLNK | 0o777), b"/etc/passwd")),
        archive((entry("a", method=zipfile.ZIP_LZMA), b"1")),
        archive(*((f"file-{number}", b"") for number in range(100))),
        archive(("large", b"\x00" * 60_000_000)),
    ],
)
def test_hostile_files_are_refused(content):
    with pytest.raises(NotPacked):
        unpack(content, **BOUNDS)


def test_two_files_of_one_name_are_refused():
    with pytest.warns(UserWarning, match="Duplicate"):
        content = archive(("a", b"1"), ("a", b"2"))
    with pytest.raises(NotPacked, match="two files"):
        unpack(content, **BOUNDS)


def test_a_size_that_is_understated_unpacks_no_more(monkeypatch):
    content = bytearray(archive(("large", b"\x00" * 1_000_000)))
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        place = content.index(signature) + offset
        content[place : place + 4] = (1000).to_bytes(4, "little")
    with pytest.raises(NotPacked):
        unpack(bytes(content), **BOUNDS)


def test_every_damaged_byte_is_refused_or_named(solved):
    content = archive(("a", b"some text" * 20), manifest=json.dumps({"files": {"a": "0" * 64}}).encode())
    for place in range(len(content)):
        damaged = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        try:
            opened = unpack(damaged, **BOUNDS)
        except NotPacked:
            continue
        assert opened.altered


def test_the_one_packed_file_is_found(solved):
    content = pack(solved).path.read_bytes()
    assert find_packed({"a.zip": content, "b.txt": b"x", "other.zip": archive(manifest=None)}) == "a.zip"
    assert find_packed({"a.zip": content, "b.zip": content}) is None
    assert find_packed({"a.txt": content}) is None
    assert find_packed({}) is None
