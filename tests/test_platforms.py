"""Class lists in, grades and pages out, in the platforms' own files."""

from __future__ import annotations

import csv
import io
import random
import shutil
import zipfile

import pytest
from nbgrader.api import Gradebook

from autograder import feedback_zip, instructor, roster
from autograder.export import GradesTable, PlatformExport, fill
from autograder.tables import Table, UnusableFile, harmless
from tests import platform_files as files

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two gradebooks to copy, with and without students: making one takes a second."""
    folder = tmp_path_factory.mktemp("gradebooks")
    for name, students in (("gradebook.db", True), ("empty.db", False)):
        with Gradebook(f"sqlite:///{folder / name}") as opened:
            files.fill_gradebook(opened, students=students)
    return folder


@pytest.fixture
def gradebook(made, tmp_path):
    shutil.copy(made / "gradebook.db", tmp_path)
    with Gradebook(f"sqlite:///{tmp_path / 'gradebook.db'}") as opened:
        yield opened


@pytest.fixture
def empty(made, tmp_path):
    shutil.copy(made / "empty.db", tmp_path)
    with Gradebook(f"sqlite:///{tmp_path / 'empty.db'}") as opened:
        yield opened


def filled(content: bytes, gradebook: Gradebook, **options):
    return fill(Table("file.csv", content), gradebook, "two_layer_net", **options)


def students(gradebook: Gradebook) -> dict[str, tuple]:
    return {
        student.id: (student.first_name, student.last_name, student.email, student.lms_user_id)
        for student in gradebook.students
    }


# --- Tables -----------------------------------------------------------------------------


def test_a_table_reads_what_python_writes_and_gives_every_byte_back():
    choose = random.Random(1)
    for _ in range(500):
        delimiter, ending = choose.choice(",;\t"), choose.choice(["\n", "\r\n"])
        rows = [["".join(choose.choices('ab ,;\t"\né=', k=choose.randrange(5))) for _ in range(4)] for _ in range(4)]
        written = io.StringIO(newline="")
        quoting = choose.choice([csv.QUOTE_ALL, csv.QUOTE_MINIMAL])
        csv.writer(written, delimiter=delimiter, lineterminator=ending, quoting=quoting).writerows([[*"abcd"], *rows])
        content = written.getvalue().encode(choose.choice(["utf-8", "utf-8-sig", "utf-16"]))
        table = Table("t", content)
        assert [[cell.value for cell in row.cells] for row in table.rows] == rows
        assert table.replaced({}) == content
        row, column = choose.randrange(4), choose.randrange(4)
        changed = Table("t", table.replaced({(row, column): "17,5"}))
        rows[row][column] = "17,5"
        assert [[cell.value for cell in row.cells] for row in changed.rows] == rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252", "latin-1"])
def test_a_table_keeps_its_encoding(encoding):
    content = "Username,Last Name,First Name\r\nzoe,Müller,Zoë\r\n".encode(encoding)
    table = Table("t", content)
    assert table.rows[0].value(1) == "Müller"
    assert table.replaced({(0, 2): "Zoë!"}).decode(encoding) == content.decode(encoding).replace("Zoë", "Zoë!")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"\n\n", "is empty"),
        (b"PK\x03\x04abc", "not a CSV file"),
        (b'a,b\n"x"y,z\n', "Line 2 of t has a quotation mark"),
        (b'a,b\n1,2\n"never closed,3\n', "Line 3 of t has a quotation mark"),
        (b"a,b\n\0,\0\n", "not a text file"),
        (b"\xff\xfea", "is damaged"),
    ],
)
def test_what_is_no_table_is_one_sentence(content, sentence):
    with pytest.raises(UnusableFile, match=sentence) as caught:
        Table("t", content)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "  =1", "＝1+1", "|x", "%x", "\n"])
def test_a_text_of_ours_is_no_formula(text):
    assert harmless(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1.5, 0, "ada", "a=b", "1-2", ""])
def test_numbers_and_plain_texts_stay(value):
    assert harmless(value) == value


# --- Class lists ------------------------------------------------------------------------


def test_canvas_roster(empty):
    found = roster.compare(Table("t", files.CANVAS), empty)
    roster.write(found, empty)
    assert found.trouble == []
    assert found.id_column == "SIS Login ID"
    assert students(empty) == {
        "ada": ("Ada", "Lovelace", None, "101"),
        "emil": (None, "=cmd", None, "102"),
        "grace": ("Grace", "Hopper", None, "103"),
        "zoe": ("Zoë", "Müller", None, "104"),
    }


@pytest.mark.parametrize("content", [files.WORKSHEET, files.MOODLE, files.BLACKBOARD])
def test_moodle_and_blackboard_rosters(empty, content):
    found = roster.compare(Table("t", content), empty)
    roster.write(found, empty)
    assert found.trouble == []
    address = None if content is files.BLACKBOARD else "zoe@example.org"
    assert students(empty)["zoe"] == ("Zoë", "Müller", address, None)
    assert set(students(empty)) == set(files.POINTS)


def test_own_columns_by_name(empty):
    table = Table("t", b"Kennung;Nachname;Vorname;Mail\nada;Lovelace;Ada;ada@example.org\n")
    with pytest.raises(UnusableFile, match="no column that tells who is meant"):
        roster.compare(table, empty)
    with pytest.raises(UnusableFile, match="no column 'Name'"):
        roster.compare(table, empty, id="Name")
    roster.write(
        roster.compare(table, empty, id="Kennung", last_name="Nachname", first_name="Vorname", email="Mail"), empty
    )
    assert students(empty) == {"ada": ("Ada", "Lovelace", "ada@example.org", None)}


def test_a_roster_loses_nothing(gradebook):
    before = students(gradebook)
    found = roster.compare(Table("t", b"id,first_name,last_name,email\nada,,Byron,\nnew,N,,\n"), gradebook)
    assert {change.student: (change.new, change.fields) for change in found.changes} == {
        "ada": (False, {"last_name": ("Lovelace", "Byron")}),
        "new": (True, {"first_name": ("", "N")}),
    }
    assert found.absent == ["emil", "grace", "zoe"]
    assert students(gradebook) == before
    roster.write(found, gradebook)
    assert students(gradebook) == before | {
        "ada": ("Ada", "Byron", "ada@example.org", "101"),
        "new": ("N", None, None, None),
    }


def test_bad_rows_get_a_sentence_each_and_the_others_are_taken(empty):
    content = (
        b"id,name,email\n../up,A B,\n,No Id,\nok,O K,ok@x\nsame,S A,\nsame,S B,\na*,A,\nlong,L,"
        + b"x" * 200
        + b"\nok,O K,ok@x\n"
    )
    found = roster.compare(Table("t", content), empty)
    assert [change.student for change in found.changes] == ["ok"]
    starts = [sentence.split(" was ")[0].split(" were ")[0] for sentence in found.trouble]
    assert starts == ["Line 2 of t", "Line 3 of t", "Lines 5 and 6 of t", "Line 7 of t", "Line 8 of t"]
    assert all("\n" not in sentence for sentence in found.trouble)


def test_a_roster_without_students_is_one_sentence(empty):
    with pytest.raises(UnusableFile, match="names no student"):
        roster.compare(Table("t", b"id,name\n"), empty)


# --- Grades out -------------------------------------------------------------------------


def changed_lines(before: bytes, after: bytes, encoding: str) -> list[tuple[str, str]]:
    old, new = (content.decode(encoding).split("\n") for content in (before, after))
    assert len(old) == len(new)
    return [(left, right) for left, right in zip(old, new, strict=True) if left != right]


def test_canvas_round_trip_differs_in_grades_alone(gradebook):
    result = filled(files.CANVAS, gradebook)
    expected = (
        files.CANVAS.replace(b'"says ""hello""",4.50,,,95.00', b'"says ""hello""",4.50,10,3,95.00')
        .replace(b'"1.00",9.00,1.50,', b'"1.00",2.5,2.5,')
        .replace(b",EX,3,,", b",EX,0,,")
    )
    assert result.content == expected
    assert len(result.differences) == 5
    assert result.trouble == ["'zoe', 'two layer net (4325)', was left as it is: Canvas says EX."]
    assert result.notes == ["Left as it was, for want of a graded submission (1): 'grace'."]


def test_worksheet_round_trip_differs_in_grades_alone(gradebook):
    result = filled(files.WORKSHEET, gradebook)
    expected = files.WORKSHEET.replace(b'"Submitted for grading",,10.00', b'"Submitted for grading",10,10.00').replace(
        b'"Submitted for grading",9.00', b'"Submitted for grading",2.5'
    )
    assert result.content == expected
    assert result.trouble == ["'zoe', 'Grade', was left as it is: Moodle says that the grade can't be changed."]


def test_moodle_round_trip_keeps_the_decimal_comma(gradebook):
    result = filled(files.MOODLE, gradebook)
    assert changed_lines(files.MOODLE, result.content, "utf-8") == [
        (f"{start};{before};{rest}", f"{start};{after};{rest}")
        for start, before, after, rest in (
            ("Ada;Lovelace;ada;;;ada@example.org", "-", "10", ";97,50;1781092800"),
            ("Emil;Noether;emil;;;emil@example.org", "9,00", "2,5", "good;9,00;1781092800"),
            ("Zoë;Müller;zoe;;;zoe@example.org", "-", "4,25", ";-;1781092800"),
        )
    ]
    assert result.notes == ["Left as it was, for want of a graded submission (1): 'grace'."]


def test_moodle_without_feedback_is_warned_of(gradebook):
    content = files.MOODLE.replace(b"Assignment: two_layer_net (Feedback)", b"Remarks")
    assert any("with its feedback" in note for note in filled(content, gradebook).notes)


def test_blackboard_round_trip_in_total_and_by_question(gradebook):
    result = filled(files.BLACKBOARD, gradebook)
    assert result.content[:2] == b"\xff\xfe"
    assert changed_lines(files.BLACKBOARD, result.content, "utf-16") == [
        (
            '"Lovelace"\t"Ada"\t"ada"\t"S1"\t"2026-06-10 14:14:00"\t"Yes"\t""\t""\t"0.00"',
            '"Lovelace"\t"Ada"\t"ada"\t"S1"\t"2026-06-10 14:14:00"\t"Yes"\t"10"\t"7"\t"0.00"',
        ),
        (
            '"Noether"\t"Emil"\t"emil"\t"S2"\t""\t"Yes"\t"9.00"\t"Needs Grading(1.00)"\t"9.00"',
            '"Noether"\t"Emil"\t"emil"\t"S2"\t""\t"Yes"\t"2.5"\t"0"\t"9.00"',
        ),
        (
            '"Müller"\t"Zoë"\t"zoe"\t"S4"\t""\t"Yes"\t""\t"4.25"\t""',
            '"Müller"\t"Zoë"\t"zoe"\t"S4"\t""\t"Yes"\t"4.25"\t"4.25"\t""',
        ),
    ]


@pytest.mark.parametrize("content", [files.CANVAS, files.WORKSHEET, files.MOODLE, files.BLACKBOARD])
def test_what_was_filled_in_needs_no_filling(gradebook, content):
    once = filled(content, gradebook)
    assert once.differences
    again = filled(once.content, gradebook)
    assert again.content == once.content
    assert again.differences == []


def test_named_columns_take_a_question_a_notebook_or_the_total(gradebook):
    content = files.CANVAS.replace(b",5.00,10.00,3.00,", b",7.00,10.00,,")
    result = filled(content, gradebook, columns={"Week One (4314)": "test-loss", "test-relu": "1_first"})
    assert [(change.student, change.header, change.after) for change in result.differences] == [
        ("ada", "Week One (4314)", "7"),
        ("ada", "test-relu (4326)", "3"),
        ("emil", "Week One (4314)", "0"),
        ("emil", "test-relu (4326)", "2.5"),
        ("zoe", "Week One (4314)", "4.25"),
        ("zoe", "test-relu (4326)", "0"),
    ]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"columns": {"Nowhere": "total"}}, "no column 'Nowhere' for grades; those that it has are: 'Week One"),
        ({"columns": {"Week One": "test-nothing"}}, "no notebook and no question 'test-nothing'"),
        ({"columns": {"Week One": "total"}}, "5 points at most, and total has 10"),
        ({"columns": {"Final Score": "total"}}, "no column 'Final Score'"),
    ],
)
def test_columns_that_do_not_fit_are_one_sentence(gradebook, options, sentence):
    with pytest.raises(UnusableFile, match=sentence):
        filled(files.CANVAS, gradebook, **options)


def test_points_are_converted_only_when_asked(gradebook):
    content = files.WORKSHEET.replace(b",10.00,", b",100.00,")
    with pytest.raises(UnusableFile, match="100 points at most"):
        filled(content, gradebook)
    assert [change.after for change in filled(content, gradebook, scale=True).differences] == ["100", "25"]


def test_a_column_that_is_not_there_is_never_made(gradebook):
    content = files.BLACKBOARD.decode("utf-16").replace(" |900001", "").replace(" |900002", "").encode("utf-16")
    with pytest.raises(UnusableFile, match="No column"):
        filled(content, gradebook)


def test_a_grade_that_waits_for_a_grader_is_not_given_out(gradebook):
    gradebook.find_grade("test-loss", "2_second", "two_layer_net", "ada").needs_manual_grade = True
    gradebook.db.commit()
    result = filled(files.MOODLE, gradebook)
    assert [change.student for change in result.differences] == ["emil", "zoe"]
    assert "7 points wait to be graded by hand" in result.trouble[0]
    assert "ada" in [change.student for change in filled(files.MOODLE, gradebook, unfinished=True).differences]


def test_nobody_gets_the_grade_of_another(gradebook):
    gradebook.update_or_create_student("emil", email="ada@example.org")
    content = b"Identifier,Email address,Grade,Last modified (grade)\nParticipant 1,ada@example.org,,-\n"
    content += (
        b"Participant 2,nobody@example.org,,-\nParticipant 3,zoe@example.org,,-\nParticipant 4,zoe@example.org,,-\n"
    )
    result = filled(content, gradebook)
    assert [(change.line, change.student) for change in result.differences] == [(4, "zoe")]
    starts = [sentence.split(" (")[0].split(" was")[0].split(", and")[0] for sentence in result.trouble]
    assert starts[:3] == ["Line 2 of file.csv", "Line 3 of file.csv", "Line 5 of file.csv"]
    assert starts[3:] == ["'ada' has a grade", "'emil' has a grade"]


def test_the_plug_in_shows_first_and_writes_beside(gradebook, tmp_path, capsys):
    path = tmp_path / "canvas.csv"
    path.write_bytes(files.CANVAS)
    PlatformExport(file=str(path), dry_run=True).export(gradebook)
    assert "line 4, 'ada', 'two layer net (4325)': nothing → 10" in capsys.readouterr().out
    assert sorted(found.name for found in tmp_path.glob("canvas*")) == ["canvas.csv"]
    PlatformExport(file=str(path)).export(gradebook)
    assert path.read_bytes() == files.CANVAS
    assert (tmp_path / "canvas-filled.csv").read_bytes() == filled(files.CANVAS, gradebook).content
    with pytest.raises(UnusableFile, match="isn't overwritten"):
        PlatformExport(file=str(path), to=str(path)).export(gradebook)


def test_our_table_is_quoted_and_harmless(gradebook, tmp_path):
    gradebook.update_or_create_student("ada", first_name="=HYPERLINK(1)", last_name="Love,lace")
    GradesTable(to=str(tmp_path / "grades.csv"), questions=True).export(gradebook)
    with (tmp_path / "grades.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["student_id"]: row for row in csv.DictReader(file)}
    assert rows["ada"]["first_name"] == "'=HYPERLINK(1)"
    assert rows["ada"]["last_name"] == "Love,lace"
    assert (rows["ada"]["score"], rows["ada"]["test-loss"], rows["ada"]["max_score"]) == ("10.0", "7.0", "10.0")
    assert (rows["grace"]["score"], rows["grace"]["test-relu"]) == ("0.0", "")


# --- Feedback ---------------------------------------------------------------------------


def test_feedback_zip_is_as_moodle_reads_it(gradebook, tmp_path):
    course = files.coursedir(tmp_path)
    for student in ("ada", "zoe"):
        folder = tmp_path / "feedback" / student / "two_layer_net"
        folder.mkdir(parents=True)
        (folder / "1_first.html").write_text(f"page of {student}")
        (folder / "link.html").symlink_to(tmp_path / "gradebook.db")
    worksheet = files.WORKSHEET.replace("Zoë Müller".encode(), "Zoë_9/ü".encode())
    found, trouble = feedback_zip.parcels(Table("w", worksheet), gradebook, course, "two_layer_net")
    feedback_zip.write(found, tmp_path / "f.zip")
    with zipfile.ZipFile(tmp_path / "f.zip") as archive:
        assert {name: archive.read(name).decode() for name in archive.namelist()} == {
            "Ada Lovelace_501_assignfeedback_file/1_first.html": "page of ada",
            "Zoë 9 ü_504_assignfeedback_file/1_first.html": "page of zoe",
        }
        # As mod/assign/feedback/file/importziplib.php takes a folder's name apart.
        for name in archive.namelist():
            assert name.split("/")[0].split("_", 4)[1].isdigit()
    assert [sentence.split(" gets")[0] for sentence in trouble] == ["'emil'", "'grace'"]
    first = (tmp_path / "f.zip").read_bytes()
    feedback_zip.write(found, tmp_path / "f.zip")
    assert (tmp_path / "f.zip").read_bytes() == first


def test_feedback_zip_needs_the_worksheet(gradebook, tmp_path):
    with pytest.raises(UnusableFile, match="not Moodle's grading worksheet"):
        feedback_zip.parcels(Table("w", files.CANVAS), gradebook, files.coursedir(tmp_path), "two_layer_net")


# --- The commands -----------------------------------------------------------------------


def test_commands_end_with_a_sentence_and_a_status(made, tmp_path, monkeypatch, capsys):
    from autograder.__main__ import main

    monkeypatch.setattr(instructor, "_course", lambda: files.coursedir(tmp_path))
    shutil.copy(made / "empty.db", tmp_path / "gradebook.db")
    assert main(["roster", str(tmp_path / "nowhere.csv")]) == 2
    assert "can't be read" in capsys.readouterr().err
    path = tmp_path / "canvas.csv"
    path.write_bytes(files.CANVAS)
    assert main(["roster", str(path), "--dry-run"]) == 0
    assert "4 would change. Nothing was written." in capsys.readouterr().out
    assert main(["roster", str(path)]) == 0
    assert main(["roster", str(path)]) == 0
    assert "4 students as before, 0 changed" in capsys.readouterr().out


def test_nbgrader_export_runs_both_plug_ins(made, tmp_path, run_nbgrader):
    shutil.copy(made / "gradebook.db", tmp_path)
    path = tmp_path / "the class.csv"
    path.write_bytes(files.CANVAS)
    command = ["export", "--exporter=autograder.export.PlatformExport", "--assignment=['two_layer_net']"]
    done = run_nbgrader(tmp_path, *command, f"--PlatformExport.file={path}", "--PlatformExport.dry_run=True")
    assert done.returncode == 0, done.stderr
    assert "5 grades would change" in done.stdout
    named = "--PlatformExport.columns=test-relu=test-relu"
    done = run_nbgrader(tmp_path, *command, f"--PlatformExport.file={path}", named, f"--to={tmp_path / 'out.csv'}")
    assert done.returncode == 0, done.stderr
    assert "3 grades changed" in done.stdout
    done = run_nbgrader(tmp_path, *command, f"--PlatformExport.file={tmp_path / 'nowhere.csv'}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "can't be read" in done.stderr
    done = run_nbgrader(tmp_path, "export")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "grades.csv").read_text(encoding="utf-8").startswith("assignment,duedate,timestamp,student_id")
