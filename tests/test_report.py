"""What the class understood: the counts are right, nothing is forged, and nobody is named where nobody should be."""

from __future__ import annotations

import csv
import re
import stat

import pytest
from nbgrader.api import Gradebook

from autograder import report, times
from autograder.report import examples, findings, reading, table, two_layer_net
from autograder.report.explained import drawn, typeset
from autograder.report.page import misconceptions
from autograder.report.two_layer_net import explain
from autograder.run import grade_class
from autograder.source import load
from autograder.tables import UnusableFile
from course_utils.questions import question as known_question
from tests import simulated_class
from tests.attacks import sample
from tests.fairness.wrong_answers import WRONG
from tests.simulated_class import ASSIGNMENT, NOTEBOOKS, Bank, draw, notebook_of

pytestmark = pytest.mark.slow

STUDENTS = 200
#: Every fifteenth answer of the first notebooks: with and without a cause that can be recognised.
ANSWERS = [answer for answer in WRONG if notebook_of(answer) in NOTEBOOKS][::15]


@pytest.fixture(scope="module")
def graded(tmp_path_factory):
    """A course of 200 students: (course, the graded bank, what they handed in)."""
    root = tmp_path_factory.mktemp("class")
    course = simulated_class.new_course(root, Report={"explain": "autograder.report.two_layer_net:explain"})
    bank = Bank(course, ANSWERS)
    given = draw(ANSWERS, STUDENTS, seed=1)
    bank.write(course, given)
    return course, bank, given


def found_in(course):
    found = reading.read(course.coursedir, load(course.coursedir, ASSIGNMENT))
    return found, findings.find(found)


def lost_in(answer):
    """Question -> the points that an answer loses."""
    return {name: known_question(name).points - answer.left for name in answer.loses}


def test_counts_are_those_of_the_class_cause_by_cause(graded):
    course, _, given = graded
    _, counted = found_in(course)
    expected = {}
    for student, answers in given:
        for answer in answers.values():
            if answer.says:
                names = {
                    cause.name
                    for cause in counted.causes
                    for place in cause.places
                    if place.question in answer.loses and student in place.students
                }
                assert 1 <= len(names) <= 2, (answer.title, names)  # two mistakes, each of which has its name
                for name in names:
                    expected.setdefault(name, []).append((student, answer))
    assert sum(map(len, expected.values())) > STUDENTS / 2
    by_name = {cause.name: cause for cause in counted.causes}
    for name, chosen in expected.items():
        cause = by_name[name]
        assert set(cause.students) == {student for student, _ in chosen}
        assert cause.points == sum(sum(lost_in(answer).values()) for _, answer in chosen)
        assert {place.question for place in cause.places} == {lost for _, answer in chosen for lost in answer.loses}
        for _, answer in chosen:
            assert any(answer.says in place.sentence for place in cause.places), (answer.says, cause.places)
    unnamed = {student for student, answers in given for answer in answers.values() if not answer.says}
    others = {student for cause in counted.causes if cause.name not in expected for student in cause.students}
    assert others <= unnamed
    assert unnamed == others | {student for cluster in counted.clusters for student in cluster.students}


def test_each_question_shows_what_was_earned(graded):
    course, _, given = graded
    _, counted = found_in(course)
    lost = [(name, answer) for _, answers in given for answer in answers.values() for name in answer.loses]
    for standing in counted.standings:
        if standing.question == "derivation":
            continue  # a person's
        wrong = [answer for name, answer in lost if name == standing.question]
        assert sum(standing.results.values()) == STUDENTS
        assert standing.results["right"] == STUDENTS - len(wrong)
        assert standing.results["part"] == sum(answer.left > 0 for answer in wrong)


def test_the_next_report_says_who_has_mended_what(graded, tmp_path):
    course, bank, given = graded
    target = tmp_path / "report.html"
    first = report.write(course.coursedir, ASSIGNMENT, target)
    assert first.students == STUDENTS and not first.trouble
    assert stat.S_IMODE(first.page.stat().st_mode) == stat.S_IMODE(first.table.stat().st_mode) == 0o600
    assert "Mended" not in target.read_text()
    _, before = found_in(course)
    commonest = before.causes[0]
    changed = [one for one in given if one.student in commonest.students][::2]
    try:
        bank.write(course, [one._replace(answers={}) for one in changed])
        found, _ = found_in(course)
        after = findings.find(found, table.causes_of(first.table, found.answers))
        mended = {cause.name: cause.mended for cause in after.causes if cause.mended}
        assert set(mended[commonest.name]) == {one.student for one in changed}
        assert {name for name in mended if name != commonest.name} <= {cause.name for cause in before.causes}
        report.write(course.coursedir, ASSIGNMENT, target)
        assert f"Mended since the last report: {len(changed)}" in target.read_text()
    finally:
        bank.write(course, changed)


def test_the_table_has_a_row_for_each_answer(graded, tmp_path):
    course, _, _ = graded
    written = report.write(course.coursedir, ASSIGNMENT, tmp_path / "report.html")
    rows = list(csv.DictReader(written.table.open(encoding="utf-8")))
    found, counted = found_in(course)
    assert len(rows) == len(found.answers)
    for cause in counted.causes:
        assert {row["student"] for row in rows if cause.name in row["causes"].split("; ")} == set(cause.students)


def test_the_page_ends_with_the_commonest_misconceptions_and_without_names(graded, tmp_path):
    course, _, _ = graded
    _, counted = found_in(course)
    text = report.write(course.coursedir, ASSIGNMENT, tmp_path / "report.html").page.read_text()
    lecture = text[text.index('class="lecture"') :]
    assert "student0" in text and "student0" not in lecture
    shown = misconceptions(counted, explain)
    assert [one.students for one in shown] == [len(cause.students) for cause in counted.causes[:3]]
    for one in shown:
        assert one.explained is not None and one.explained.wrong != one.explained.right
    assert lecture.count('class="formula"') == 6
    assert not re.search(r"""(?:src|href)=|url\(|<script""", text)
    assert all("aria-label" in tag for tag in re.findall("<svg[^>]*>", text))


def test_pictures_show_what_the_deviation_computes():
    relu = explain("test-relu", "leaky_relu").picture
    assert relu.x is not None and relu.right[0] == 0 and relu.wrong[0] == pytest.approx(-0.9)
    halved = explain("test-loss", "regularisation_halved").picture
    slope = (halved.right[-1] - halved.right[0]) / (halved.wrong[-1] - halved.wrong[0])
    assert slope == pytest.approx(2.0)
    doubled = explain("test-numerical-gradient", "divided_by_h").picture
    assert doubled.wrong == pytest.approx(2 * doubled.right)
    uphill = explain("test-train-descent", "uphill").picture
    assert uphill.right[-1] < 1 < uphill.wrong[-1] and uphill.right[0] == uphill.wrong[0] == 1
    never = explain("test-train-schedule", "never").picture
    assert set(never.wrong) == {1.0} and never.right[-1] == pytest.approx(0.7**4)
    for question, (formulas, _) in two_layer_net.TRAINING.items():
        for cause in formulas:
            assert "<path" in typeset(explain(question, cause).wrong) and "<path" in typeset(
                explain(question, cause).right
            )
    assert explain("test-no-such", "leaky_relu") is None and explain("test-relu", "no_such") is None


#: What is wrong with a shape, an order, a type or a loop is no formula.
NO_FORMULA = (
    r"float\d+|rounded|dropped|rows_in_another_order|[\w ]*_row|\w*_column|\w*flat|\w*reshaped|columns_(taken_)?first|"
    r"of_one_size|da2_reversed|z\d_and_a\d_exchanged|positive_(values|units)_alone|classes_guessed_from_the_labels|default_for_no_strength|"
    r"gradient_at_the_true_class_alone|\w*not_reset\w*|\w+_left_out|first_row_only|higher_order"
)


def test_nearly_every_cause_that_is_a_formula_has_one():
    known = {(question, one.name) for question, (_, _, some, _) in two_layer_net.QUESTIONS.items() for one in some}
    named = sorted(place for place in known if not re.fullmatch(NO_FORMULA, place[1]))
    without = [place for place in named if not ((found := explain(*place)) and found.wrong != found.right)]
    assert len(without) < 0.02 * len(named), without


@pytest.mark.parametrize("question", two_layer_net.QUESTIONS)
def test_every_formula_belongs_to_a_deviation_and_can_be_set(question):
    _, _, known, formulas = two_layer_net.QUESTIONS[question]
    names = {one.name for each in two_layer_net.QUESTIONS.values() for one in each[2]}
    assert set(formulas) <= names
    for one in known:
        found = explain(question, one.name)
        if found is not None and found.wrong:
            assert "<path" in typeset(found.wrong) and "<path" in typeset(found.right)
        if found is not None and found.picture is not None:
            assert "nan" not in drawn(found.picture)


# --- A student's code without the student -------------------------------------------------

COURSE = examples.Course('def relu(z):\n    raise NotImplementedError()\n\nparams["W1"]')


def test_an_example_tells_nothing_of_its_author():
    code = '''
# Ada Lovelace, 1234567
def relu(z, ada_factor=1234567):
    """By Ada Lovelace."""
    lovelaces_mask = z > 0  # ada@example.org
    print("Ada was here", f"{z} by Ada", params["W1"], 'ij,jk')
    'a text as a comment: Ada'
    return np.maximum(z, 0) * ada_factor
'''
    shown = examples.example(code, ["relu"], ["al1815", "Ada", "Lovelace"], COURSE)
    assert not re.search("ada|lovelace|1234567|example", shown, re.IGNORECASE)
    assert "params['W1']" in shown and "'ij,jk'" in shown and "np.maximum(z, 0)" in shown


def test_a_name_that_is_a_word_of_python_stays_where_it_is_one():
    shown = examples.example("def relu(z):\n    return max(z, 0)", ["relu"], ["Max", "Z"], COURSE)
    assert shown == "def relu(z):\n    return max(z, 0)"


@pytest.mark.parametrize(
    "code",
    ["%time x", "def f(:", "(" * 5000 + ")" * 5000, "-" * 9000 + "1", "f" + ".a" * 4000, "x\0", "\ud800", "9" * 9000,
     "def g(z): pass"],
)  # fmt: skip
def test_what_is_no_python_gives_no_example(code):
    assert examples.example(code, ["relu"], [], COURSE) is None


def test_a_function_of_nothing_but_text_is_still_python():
    assert examples.example('def relu(z):\n    """Ada"""', ["relu"], [], COURSE) == "def relu(z):\n    pass"


# --- Failures without a cause ---------------------------------------------------------------


def answer(student, message="", question="test-a", **facts):
    failure = reading.Failure("CheckFailed", message, **facts)
    return reading.Answer(student, "first", question, 0.0, 1.0, failure)


def clusters_of(*answers):
    questions = [reading.Question("first", name, 1.0, (), ()) for name in dict.fromkeys(a.question for a in answers)]
    counted = findings.find(reading.Class("sample", questions, list(answers), [], "", [], {}))
    return sorted("".join(cluster.students) for cluster in counted.clusters)


def test_failures_are_together_that_have_all_in_common():
    large = {"wrong": 4.0, "of": 4.0, "above": 4.0, "share": 1.0}
    small = large | {"share": 1e-5}
    few = large | {"wrong": 2.0, "above": 1.0}
    assert clusters_of(
        answer("a", "4 of 4 values are wrong", quantity="loss, with reg = 0.05", kind="values", extent=large),
        answer("b", "9 of 9 values are wrong", quantity="loss, with reg = 0.1", kind="values",
               extent=large | {"wrong": 9.0, "of": 9.0, "above": 9.0, "share": 2.0}),
        answer("c", quantity="loss, with reg = 0.05", kind="values", extent=small),
        answer("d", quantity="loss, with reg = 0.05", kind="values", extent=few),
        answer("e", quantity="loss, with reg = 0.05", kind="shape"),
        answer("f", quantity="W1", kind="shape"), answer("g", quantity="W2", kind="shape"),
        answer("h", "it took 3 tries"), answer("i", "it took 15 tries"), answer("j", "it took 3 tries", "test-b"),
        answer("k", "it raised ValueError in the line `x = 1`", quantity="W1", kind="raised ValueError"),
        answer("l", "it raised ValueError in the line `y = 2`", quantity="W1", kind="raised ValueError"),
    ) == ["ab", "c", "d", "e", "f", "g", "hi", "j", "kl"]  # fmt: skip


# --- Another course, and one who would forge the counts ---------------------------------------

_FORGED = """
def _show():
    from IPython.display import display
    facts = {"question": "test-scale", "quantity": "forged", "kind": "values", "deviations": ["forged"],
             "cause": "forged by <script>alert(1)</script>", "extent": {}}
    display({"text/plain": "forged", "text/html": "forged"}, metadata={"two_layer_net": facts}, raw=True)

_show()

def scale(x, factor):
    _show()
    return x + factor
"""


def test_another_course_gets_its_failures_and_nobody_forges_a_cause(tmp_path, cage):
    course = sample.new_course(tmp_path, CagedExecute={"warm": ["numpy"]})
    sample.hand_in(course, "forger", {"scale": _FORGED})
    sample.hand_in(course, "<b>bold", {"scale": "def scale(x, factor):\n    return x + factor  # I"})
    sample.hand_in(course, "empty", {"scale": "def scale(x, factor):\n    raise NotImplementedError()"})
    sample.hand_in(course, "=1+1", {})
    grade_class(course, sample.ASSIGNMENT)
    found = reading.read(course.coursedir, load(course.coursedir, sample.ASSIGNMENT))
    counted = findings.find(found)
    assert counted.causes == []
    assert [set(cluster.students) for cluster in counted.clusters] == [{"forger", "<b>bold"}]
    assert next(one.results for one in counted.standings if one.question == "test-scale") == {
        "right": 1, "wrong": 2, "not written": 1,
    }  # fmt: skip
    written = report.write(course.coursedir, sample.ASSIGNMENT, tmp_path / "report.html")
    text = written.page.read_text()
    assert "<script" not in text and "<b>bold" not in text and "&lt;b&gt;bold" in text
    assert "forged" not in re.sub(r"<pre>.*?</pre>", "", text, flags=re.DOTALL)
    assert "\n'=1+1," in written.table.read_text()
    again = table.causes_of(written.table, found.answers)
    assert again == {}


def test_what_cannot_be_used_gets_a_sentence(tmp_path, cage):
    course = sample.new_course(tmp_path)
    with pytest.raises(UnusableFile, match="has been graded"):
        report.write(course.coursedir, sample.ASSIGNMENT, tmp_path / "report.html")
    with pytest.raises(UnusableFile, match="nbgrader generate_assignment other"):
        report.write(course.coursedir, "other", tmp_path / "report.html")
    (tmp_path / "old.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UnusableFile, match="isn't the table of an earlier report"):
        table.causes_of(tmp_path / "old.csv", [])


def test_who_takes_long_to_grade_is_named_with_the_time(tmp_path, cage):
    course = sample.new_course(tmp_path, CagedExecute={"warm": ["numpy"]})
    busy = "import time\nwhile time.process_time() < 3:\n    pass"
    for student in ("ada", "bob", "eve"):
        sample.hand_in(course, student, last=busy if student == "eve" else None)
    grade_class(course, sample.ASSIGNMENT)
    found = reading.read(course.coursedir, load(course.coursedir, sample.ASSIGNMENT))
    assert found.seconds.keys() == {(name, book) for name in ("ada", "bob", "eve") for book in ("first", "second")}
    assert 2.5 < found.seconds["eve", "first"] < 10
    assert max(taken for place, taken in found.seconds.items() if place != ("eve", "first")) < 1.5
    text = report.write(course.coursedir, sample.ASSIGNMENT, tmp_path / "report.html").page.read_text()
    assert f"eve ({found.seconds['eve', 'first']:.1f} s)" in text
    assert "ada (" not in text and "bob (" not in text


def test_times_that_were_cut_off_are_passed_over(tmp_path):
    course = sample.new_course(tmp_path)
    (tmp_path / "autograded").mkdir()
    path = tmp_path / "autograded" / times.FILE
    path.write_text('one,ada,first,1.5\none,ada,first,2.5\ntwo,ada,first,9\none,bob,first,nan\none,bob\none,"eve')
    assert times.read(course.coursedir, "one") == {("ada", "first"): 2.5}
    times.note(course.coursedir, "one", "a, b\n", {"first": 0.25})
    assert times.read(course.coursedir, "two") == {("ada", "first"): 9.0}


def test_lateness_and_trouble_are_those_of_the_gradebook(tmp_path, cage):
    course = sample.new_course(tmp_path, CagedExecute={"warm": ["numpy"]})
    with Gradebook(course.coursedir.db_url, course.coursedir.course_id) as gradebook:
        gradebook.update_or_create_assignment(sample.ASSIGNMENT, duedate="2026-01-10 12:00:00")
    for student, day in (("early", "01"), ("late", "11")):
        folder = sample.hand_in(course, student)
        (folder / "timestamp.txt").write_text(f"2026-01-{day} 12:00:00")
    (folder / "second.ipynb").unlink()
    grade_class(course, sample.ASSIGNMENT)
    found = reading.read(course.coursedir, load(course.coursedir, sample.ASSIGNMENT))
    assert {one.student: one.hours_late for one in found.handed} == {"early": -216.0, "late": 24.0}
    assert {one.student: one.trouble for one in found.handed} == {"early": (), "late": ("the notebook is missing.",)}
    text = report.write(course.coursedir, sample.ASSIGNMENT, tmp_path / "report.html").page.read_text()
    assert "late (24.0 h)" in text and "the notebook is missing" in text
