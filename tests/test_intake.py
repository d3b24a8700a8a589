"""Submissions out of a platform's archive: whose they are, when they came, and what an archive may not do."""

from __future__ import annotations

import io
import shutil
import stat
import struct
import time
import zipfile
from zoneinfo import ZoneInfo

import pytest
from nbgrader.api import Gradebook
from nbgrader.utils import parse_utc

from autograder import archives, instructor
from autograder.__main__ import main
from autograder.intake import Intake, zone_of
from autograder.tables import Table, UnusableFile
from tests import platform_files as files

pytestmark = pytest.mark.slow

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gradebooks")
    with Gradebook(f"sqlite:///{folder / 'gradebook.db'}") as opened:
        files.fill_gradebook(opened, students=True)
    return folder / "gradebook.db"


@pytest.fixture
def course(made, tmp_path, monkeypatch):
    """A course folder with four students; commands work in it."""
    shutil.copy(made, tmp_path / "gradebook.db")
    monkeypatch.setattr(instructor, "_course", lambda: files.coursedir(tmp_path))
    return tmp_path


@pytest.fixture
def take(course):
    """Take an archive in; returns the students' files, what was told about them and the sentences."""

    def run(content, *, worksheet: bytes | None = None, zone=BERLIN):
        path = course / "download.zip"
        path.write_bytes(content if isinstance(content, bytes) else zipped(content))
        scratch = course / "scratch"
        scratch.mkdir(exist_ok=True)
        with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
            sheet = Table("worksheet.csv", worksheet) if worksheet else None
            intake = Intake(files.coursedir(course), gradebook, "two_layer_net", worksheet=sheet, zone=zone)
            told = {}
            for handed in intake.unpack(path, scratch):
                told[handed.student] = handed
                intake.put(handed)
        return submitted(course), told, intake.trouble

    return run


def submitted(course) -> dict[str, dict[str, bytes]]:
    found: dict[str, dict[str, bytes]] = {}
    for path in sorted((course / "submitted").rglob("*")):
        if path.is_file():
            student, _, name = path.relative_to(course / "submitted").as_posix().split("/", 2)
            found.setdefault(student, {})[name] = path.read_bytes()
    return found


def zipped(content: dict[str, bytes], **options) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return file.getvalue()


# --- Whose, and when --------------------------------------------------------------------


def test_canvas_names_versions_and_late_marks(take):
    there, told, trouble = take(
        {
            "lovelaceada_101_9001_1_first-1.ipynb": b"a1",
            "lovelaceada_101_9002_best_net.npz": b"net",
            "noetheremil_LATE_102_9003_1_first.ipynb": b"e1",
            "mllerzo_7777_9004_2_second.ipynb": b"nobody knows 7777",
            "müllerzoë_8888_9005_2_second.ipynb": b"by name",
            "hoppergrace_103_text.html": b"<p>typed</p>",
        }
    )
    assert there["ada"] == {"1_first.ipynb": b"a1", "best_net.npz": b"net"}
    assert set(there["emil"]) == {"1_first.ipynb", "timestamp.txt"}
    assert parse_utc(there["emil"]["timestamp.txt"].decode()) > files.DUE
    assert "late" in told["emil"].lateness
    assert there["zoe"] == {"2_second.ipynb": b"by name"}
    assert "not a file of the submission" in told["grace"].trouble[0]
    assert len(trouble) == 1
    assert "mllerzo_7777" in trouble[0]


@pytest.mark.parametrize("ending", ["file/", "file_/", "file_"])
def test_moodle_with_the_worksheet(take, ending):
    there, told, trouble = take(
        {
            f"Ada Lovelace_501_assignsubmission_{ending}1_first.ipynb": b"a",
            f"Somebody Else_502_assignsubmission_{ending}1_first.ipynb": b"e",
            "Ada Lovelace_501_assignsubmission_onlinetext/onlinetext.html": b"typed",
        },
        worksheet=files.WORKSHEET,
    )
    assert trouble == []
    # 2:14 PM in Berlin's summer is 12:14 UTC, and the due date is 12:00 UTC.
    assert there["ada"] == {"1_first.ipynb": b"a", "timestamp.txt": b"2026-06-10 12:14:00 UTC"}
    assert told["ada"].lateness == "late by 0:14:00"
    assert there["emil"]["timestamp.txt"] == b"2026-06-10 11:59:00 UTC"
    assert told["emil"].lateness == ""


def test_moodle_without_the_worksheet_goes_by_a_name_that_is_unique(take, course):
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as gradebook:
        gradebook.add_student("ada2", first_name="Ada", last_name="Lovelace")
    there, _, trouble = take(
        {
            "Ada Lovelace_501_assignsubmission_file/1_first.ipynb": b"a",
            "Emil Noether_502_assignsubmission_file/1_first.ipynb": b"e",
        }
    )
    assert set(there) == {"emil"}
    assert "several students may be meant" in trouble[0]


def test_a_time_that_cannot_be_read_is_a_sentence_and_the_files_are_taken(take):
    sheet = files.WORKSHEET.replace(b"Wednesday, 10 June 2026, 2:14 PM", b"10. Brachet 2026, 14:14")
    there, _, trouble = take({"Ada Lovelace_501_assignsubmission_file/1_first.ipynb": b"a"}, worksheet=sheet)
    assert there == {"ada": {"1_first.ipynb": b"a"}}
    assert "no time that can be read" in trouble[0]


def test_blackboard_takes_the_last_attempt(take):
    there, told, trouble = take(
        {
            "two_layer_net_ada_attempt_2026-06-10-13-00-00_1_first.ipynb": b"old",
            "two_layer_net_ada_attempt_2026-06-10-15-00-00_1_first.ipynb": b"new",
            "two_layer_net_ada_attempt_2026-06-10-15-00-00.txt": b"Name: Ada",
        }
    )
    assert trouble == []
    assert there["ada"] == {"1_first.ipynb": b"new", "timestamp.txt": b"2026-06-10 13:00:00 UTC"}
    assert told["ada"].lateness == "late by 1:00:00"


@pytest.mark.parametrize(
    "name",
    [
        "lovelaceada_101_9001_x_502_assignsubmission_file_1_first.ipynb",
        "lovelaceada_101_9001_x_emil_attempt_2026-06-10-13-00-00_1_first.ipynb",
        "lovelaceada_101_9001_noetheremil_102_9_1_first.ipynb",
        "Ada Lovelace_501_assignsubmission_file/Emil Noether_502_assignsubmission_file/1_first.ipynb",
        "Ada Lovelace_501_assignsubmission_file_noetheremil_102_9_1_first.ipynb",
        "net_ada_attempt_2026-06-10-13-00-00_x_emil_attempt_2026-06-10-14-00-00_1_first.ipynb",
    ],
)
def test_a_file_name_hands_nothing_in_for_somebody_else(take, name):
    there, _, _ = take({name: b"x"}, worksheet=files.WORKSHEET)
    assert set(there) == {"ada"}


def test_a_student_cannot_choose_the_time(take):
    inner = zipped({"timestamp.txt": b"2020-01-01 00:00:00 UTC", "1_first.ipynb": b"a"})
    there, told, _ = take({"lovelaceada_101_1_timestamp.txt": b"2020-01-01", "noetheremil_102_2_all.zip": inner})
    assert set(there) == {"emil"} or there["ada"] == {}
    assert there["emil"] == {"1_first.ipynb": b"a"}
    assert "platform's time counts" in told["ada"].trouble[0]


def test_no_zone_is_a_sentence():
    assert zone_of("") is None
    with pytest.raises(UnusableFile, match="no time zone"):
        zone_of("Atlantis/../..")


# --- Archives ---------------------------------------------------------------------------


def test_a_students_archive_is_unpacked_without_its_folder(take):
    inner = zipped({"net/1_first.ipynb": b"a", "net/sub/x.txt": b"x", "__MACOSX/net/._x": b"m", "net/.DS_Store": b"d"})
    outer = zipped({"deeper.zip": inner})
    there, told, _ = take({"lovelaceada_101_1_all.zip": outer, "lovelaceada_101_2_1_first.ipynb": b"beside"})
    assert there["ada"] == {"1_first.ipynb": b"a", "sub/x.txt": b"x", "1_first (2).ipynb": b"beside"}
    assert told["ada"].trouble == []


def evil(name: str, mode: int = stat.S_IFREG | 0o644, content: bytes = b"x") -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        info = zipfile.ZipInfo("placeholder")
        info.external_attr = mode << 16
        info.filename = name
        archive.writestr(info, content)
        archive.writestr("1_first.ipynb", b"good")
    return file.getvalue()


@pytest.mark.parametrize(
    "inner",
    [
        evil("../../outside.txt"), evil("/etc/outside.txt"), evil("C:\\outside.txt"), evil("a/../../outside.txt"),
        evil("..\\outside.txt"), evil("link", stat.S_IFLNK | 0o777, b"/etc/passwd"), evil("fifo", stat.S_IFIFO | 0o644),
        evil("a\x07b"), evil("/".join("d" * 30)), evil("n" * 300),
    ],
)  # fmt: skip
def test_what_would_leave_its_folder_is_left_out_and_the_rest_taken(take, course, inner):
    there, told, _ = take({"lovelaceada_101_1_all.zip": inner})
    assert there["ada"] == {"1_first.ipynb": b"good"}
    assert len(told["ada"].trouble) == 1
    assert not list(course.rglob("*outside*"))
    assert not any(path.is_symlink() for path in course.rglob("*"))


def test_a_bomb_is_bounded_in_bytes_memory_and_time(take, monkeypatch):
    monkeypatch.setattr(archives, "MAX_BYTES", 3_000_000)
    monkeypatch.setattr(archives.Budget.__init__, "__defaults__", (2000, 3_000_000))
    bomb = zipped({f"{number}.bin": bytes(2_500_000) for number in range(400)} | {"1_first.ipynb": b"good"})
    start = time.process_time()
    there, told, _ = take({"lovelaceada_101_1_bomb.zip": bomb, "noetheremil_102_2_1_first.ipynb": b"e"})
    assert time.process_time() - start < 20
    assert sum(map(len, there["ada"].values())) <= 3_000_000
    assert there["emil"] == {"1_first.ipynb": b"e"}
    assert any("bytes together" in sentence for sentence in told["ada"].trouble)


def test_archives_in_archives_end(take):
    inner = zipped({"1_first.ipynb": b"a"})
    for _ in range(10):
        inner = zipped({"again.zip": inner})
    there, told, _ = take({"lovelaceada_101_1_x.zip": inner})
    assert len(there["ada"]) == 1
    assert told["ada"].files == 1


def test_more_files_than_allowed_are_left_out(take):
    many = zipped({f"{number}.txt": b"" for number in range(archives.MAX_FILES + 5)})
    there, told, _ = take({"lovelaceada_101_1_x.zip": many})
    assert len(there["ada"]) <= archives.MAX_FILES
    assert "more than 2,000 files" in told["ada"].trouble[0]


def test_a_list_of_entries_that_is_too_long_is_not_read(take, monkeypatch):
    monkeypatch.setattr(archives, "MAX_DIRECTORY", 1000)
    there, told, _ = take({"lovelaceada_101_1_x.zip": zipped({f"{number}": b"" for number in range(100)})})
    assert set(there["ada"]) == {"x.zip"}
    assert "kept as it is" in told["ada"].trouble[0]


@pytest.mark.parametrize("damage", ["cut", "flipped", "no zip", "encrypted"])
def test_a_damaged_archive_of_a_student_loses_nothing_of_the_others(take, damage):
    good = zipped({"1_first.ipynb": b"a" * 2000, "2_second.ipynb": b"b"})
    content = {
        "cut": good[:-30],
        "flipped": good[:40] + b"\xff\xff\xff" + good[43:],
        "no zip": b"not a zip",
        "encrypted": good.replace(b"PK\x01\x02\x14\x03\x14\x00\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01\x00"),
    }[damage]
    assert content != good
    there, told, _ = take({"lovelaceada_101_1_x.zip": content, "noetheremil_102_2_1_first.ipynb": b"e"})
    assert there["emil"] == {"1_first.ipynb": b"e"}
    assert told["ada"].trouble


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18), zipped({"readme.txt": b"x"})])
def test_a_bad_archive_is_told_in_sentences_and_loses_nothing(take, course, content):
    (course / "submitted" / "ada" / "two_layer_net").mkdir(parents=True)
    (course / "submitted" / "ada" / "two_layer_net" / "1_first.ipynb").write_bytes(b"before")
    try:
        _, _, trouble = take(content)
        assert len(trouble) == 1
    except UnusableFile as error:
        assert "\n" not in str(error)
    assert submitted(course) == {"ada": {"1_first.ipynb": b"before"}}


def test_a_central_directory_that_lies_about_sizes_is_not_believed(take):
    good = zipped({"1_first.ipynb": bytes(1_000_000)})
    place = good.rfind(b"PK\x01\x02")
    liar = good[: place + 24] + struct.pack("<L", 10) + good[place + 28 :]
    there, told, _ = take({"lovelaceada_101_1_x.zip": liar})
    assert told["ada"].trouble or len(there["ada"]["1_first.ipynb"]) <= 1_000_000


# --- The command ------------------------------------------------------------------------


def test_the_command_shows_first_keeps_what_was_there_and_replaces_when_asked(course, capsys):
    path = course / "canvas.zip"
    path.write_bytes(zipped({"lovelaceada_101_1_1_first.ipynb": b"first"}))
    command = ["collect-zip", "two_layer_net", str(path)]
    assert main([*command, "--dry-run"]) == 0
    assert "'ada': 1 file; new" in capsys.readouterr().out
    assert submitted(course) == {}
    assert main(command) == 0
    assert main(command) == 0
    assert "the same as before" in capsys.readouterr().out
    path.write_bytes(zipped({"lovelaceada_101_1_1_first.ipynb": b"second"}))
    assert main(command) == 1
    assert "--replace" in capsys.readouterr().err
    assert submitted(course) == {"ada": {"1_first.ipynb": b"first"}}
    assert main([*command, "--replace"]) == 0
    assert submitted(course) == {"ada": {"1_first.ipynb": b"second"}}
    assert (course / "submitted-replaced" / "ada" / "two_layer_net" / "1_first.ipynb").read_bytes() == b"first"
    assert not list(course.glob(".unpacking-*"))


def test_an_unknown_assignment_is_one_sentence(course, capsys):
    path = course / "canvas.zip"
    path.write_bytes(zipped({"lovelaceada_101_1_1_first.ipynb": b"first"}))
    assert main(["collect-zip", "nothing", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_likeness_and_feedback_zip_run_on_a_course_folder(course, capsys):
    for student in ("ada", "emil"):
        folder = course / "submitted" / student / "two_layer_net"
        folder.mkdir(parents=True)
        (folder / "1_first.ipynb").write_text('{"cells": []}')
    (course / "submitted" / "emil" / "two_layer_net" / "1_first.ipynb").write_text("no notebook")
    page = course / "likeness.html"
    assert main(["likeness", "two_layer_net", "--to", str(page)]) == 1
    told = capsys.readouterr()
    assert "0 pairs among 2 students" in told.out
    assert told.err == "'emil' has no notebook that can be read.\n"
    assert "no verdict" in page.read_text(encoding="utf-8")
    (course / "feedback" / "ada" / "two_layer_net").mkdir(parents=True)
    (course / "feedback" / "ada" / "two_layer_net" / "1_first.html").write_text("page")
    (course / "worksheet.csv").write_bytes(files.WORKSHEET)
    command = ["feedback-zip", "two_layer_net", str(course / "worksheet.csv"), "--to", str(course / "f.zip")]
    assert main([*command, "--dry-run"]) == 1
    assert not (course / "f.zip").exists()
    assert main(command) == 1
    assert zipfile.ZipFile(course / "f.zip").namelist() == ["Ada Lovelace_501_assignfeedback_file/1_first.html"]
