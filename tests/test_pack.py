"""The file that a student hands in: made by ``pack``, opened by the autograder."""

from __future__ import annotations

import io
import json
import re
import shutil
import stat
import zipfile
from pathlib import Path

import nbformat
import numpy as np
import pytest
from rich.console import Console

from autograder.packed import compare, open_zips
from autograder.run import grade_class
from autograder.submission import MAX_BYTES, MAX_FILES
from course_utils import pack as packing
from course_utils.__main__ import main
from course_utils.notebooks import ASKED, NotebookError
from course_utils.pack import ARCHIVE, MANIFEST, NETWORKS, digests, fingerprint_of, pack
from tests.attacks import sample
from tests.conftest import SOURCE
from tests.test_grading import WARM

pytestmark = pytest.mark.slow


def opened(path: Path) -> dict[str, bytes]:
    """The files of a submission that is one zip file."""
    files, trouble = open_zips({path.name: path.read_bytes()})
    assert trouble == []
    return files


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
    files = opened(packed.path)
    assert compare(files) == (packed.fingerprint, [])
    del files[MANIFEST]
    assert files == {name: (solved / name).read_bytes() for name in (*ASKED, *NETWORKS)}
    assert fingerprint_of(files) == packed.fingerprint
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
    assert set(opened(packed.path)) == {*ASKED, *NETWORKS, MANIFEST}


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
    assert "best_net.npz" not in opened(packed.path)


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


# --- What a student may hand in, and what is graded ---------------------------------------


def archive(*entries: tuple[zipfile.ZipInfo | str, bytes]) -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return written.getvalue()


def listing(**files: bytes) -> tuple[str, bytes]:
    """A manifest, as an entry of an archive."""
    return MANIFEST, json.dumps({"files": digests(files)}).encode()


def entry(name: str, mode: int = stat.S_IFREG | 0o644, method: int = zipfile.ZIP_DEFLATED) -> zipfile.ZipInfo:
    made = zipfile.ZipInfo(name)
    made.external_attr, made.compress_type = mode << 16, method
    return made


def test_files_changed_after_packing_are_named(solved):
    packed = pack(solved)
    changed = opened(packed.path) | {"1_forward_check.ipynb": b"{}", "added.ipynb": b"{}"}
    del changed["best_mlp.pt"]
    fingerprint, trouble = compare(open_zips({"a.zip": archive(*changed.items())})[0])
    assert fingerprint != packed.fingerprint
    assert trouble == [
        f"'{name}' is not as it was packed" for name in ("1_forward_check.ipynb", "added.ipynb", "best_mlp.pt")
    ]


def test_what_was_packed_counts_before_files_beside_it():
    beside = {"a": b"old", "b": b"same", "c": b"more", "in/the/way": b"x"}
    packed = {"a": b"new", "b": b"same", "in": b"y"}
    files, trouble = open_zips({**beside, "p.zip": archive(*packed.items(), listing(**packed))})
    assert files == {**packed, "c": b"more", MANIFEST: listing(**packed)[1]}
    assert trouble == [
        "'in?the?way' was left out: the assignment has something else of that name",
        "'a' was taken from 'p.zip', not from beside it",
    ]


def test_of_two_packed_files_one_counts():
    first, second = (archive(("a", content), listing(a=content)) for content in (b"1", b"2"))
    files, trouble = open_zips({"p.zip": second, "p (1).zip": first})
    assert files == {"a": b"1", MANIFEST: listing(a=b"1")[1], "p.zip": second}
    assert trouble == ["'p.zip' was not graded: 'p (1).zip' is packed too"]


def test_what_another_zip_file_holds_is_put_beside_the_rest():
    inner = archive(("folder/a", b"1"), ("folder/b", b"2"), ("folder/deep.zip", archive(("c", b"3"))))
    files, trouble = open_zips({"a": b"0", "x.ZIP": inner})
    assert files == {"a": b"0", "a (2)": b"1", "b": b"2", "c": b"3"}
    assert trouble == []


def test_no_zip_file_says_when_a_submission_came():
    stamp = ("timestamp.txt", b"2001-01-01")
    for packed in (archive(stamp, ("a", b"1")), archive(stamp, ("a", b"1"), listing(a=b"1"))):
        files, trouble = open_zips({"x.zip": packed, "timestamp.txt": b"2026-01-01"})
        assert files["timestamp.txt"] == b"2026-01-01"
        assert "timestamp.txt" not in open_zips({"x.zip": packed})[0]
        assert trouble == ["'timestamp.txt' was left out"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04" + b"\x00" * 100,
        archive(("../a", b"1")),
        archive(("/etc/a", b"1")),
        archive(("C:a", b"1")),
        archive((entry("link", stat.S_IFLNK | 0o777), b"/etc/passwd")),
        archive((entry("a", method=zipfile.ZIP_LZMA), b"1")),
        archive(*((f"file-{number}", b"") for number in range(MAX_FILES + 1))),
        archive(("large", b"\x00" * (MAX_BYTES + 1))),
        archive(("/".join("d" * 190 for _ in range(8)), b"1"), ("b", b"2")),
    ],
)  # fmt: skip
def test_what_of_a_zip_file_cannot_be_taken_is_named(content):
    files, trouble = open_zips({"x.zip": content, "a": b"beside"})
    assert trouble
    assert files["a"] == b"beside"
    assert len(files) <= MAX_FILES and sum(map(len, files.values())) <= MAX_BYTES
    assert not any(name.startswith(("/", "..", "C:")) or name == "link" for name in files)


@pytest.mark.parametrize("manifest", [b"not JSON", b"[]", b'{"files": 3}', b"[" * 100_000, b"\xff", b"{}"])
def test_a_manifest_that_cannot_be_read_lists_nothing(manifest):
    assert compare({MANIFEST: manifest, "a.ipynb": b"1"}) == ("", [])


def test_every_damaged_byte_is_named():
    content = archive(("a", b"some text" * 20), listing(a=b"some text" * 20))
    whole, _ = open_zips({"p.zip": content})
    for place in range(len(content)):
        damaged = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
        files, trouble = open_zips({"p.zip": damaged})
        assert trouble or compare(files)[1] or files.get("a") in (whole["a"], None)


# --- Through grading ----------------------------------------------------------------------


def test_a_packed_submission_is_graded_and_its_fingerprint_comes_back(tmp_path, cage):
    course = sample.new_course(tmp_path / "course", **WARM)
    names = [f"{name}.ipynb" for name in sample.NOTEBOOKS]
    fingerprints = {}
    for student in ("ada", "bob", "cleo"):
        folder = sample.hand_in(course, student)
        content = {name: (folder / name).read_bytes() for name in names}
        held = list(content.items()) if student != "bob" else [(names[0], content[names[0]])]
        entries = held if student == "cleo" else [*held, (MANIFEST, json.dumps({"files": digests(content)}).encode())]
        for name in names:
            (folder / name).unlink()
        (folder / "handed-in.zip").write_bytes(archive(*entries))
        fingerprints[student] = fingerprint_of(content)
    console = Console(record=True, width=1000, file=io.StringIO())
    summary = grade_class(course, sample.ASSIGNMENT, jobs=1, console=console)
    assert summary.failed == {}
    lines = {line.split(":")[0]: line for line in console.export_text().splitlines() if ": " in line}
    assert sample.points(course, "ada") == sample.points(course, "cleo") == sample.FULL
    assert f"fingerprint {fingerprints['ada']}" in lines["ada"]
    assert fingerprints["ada"] in sample.comments(course, "ada")
    assert summary.graded["ada"][3] == []
    assert sample.points(course, "bob") < sample.FULL
    assert "'second.ipynb' is not as it was packed" in lines["bob"]
    assert f"fingerprint {fingerprints['bob']}" not in lines["bob"]
    assert "fingerprint" not in lines["cleo"]
