"""Both banks: a wrong answer loses the points of its question and no others, a right one loses none."""

from __future__ import annotations

import pytest
from threadpoolctl import threadpool_limits

from benchmarks.checks import NOTEBOOKS, measure, measure_files
from tests.fairness import RIGHT, WRONG, earned, judged
from tests.fairness.answers import SIGNATURES
from tests.fairness.runner import CAUSE, SOURCE, place_of, submissions

pytestmark = pytest.mark.slow


def test_the_banks_are_large_and_their_titles_differ():
    titles = [answer.title for answer in (*WRONG, *RIGHT)]
    assert len(set(titles)) == len(titles)
    assert all(answer.loses for answer in WRONG) and not any(answer.loses for answer in RIGHT)
    assert len(WRONG) >= 50 and len(RIGHT) >= 25
    assert sum(bool(answer.says) for answer in WRONG) >= 50


@pytest.mark.parametrize("answer", WRONG, ids=lambda answer: answer.title)
def test_a_wrong_answer_loses_the_points_of_its_question_alone(answer):
    outcomes = earned(answer)
    should = {name: answer.left if name in answer.loses else outcome.possible for name, outcome in outcomes.items()}
    messages = "\n".join(outcome.message for outcome in outcomes.values() if outcome.lost)
    assert set(answer.loses) <= set(outcomes)
    assert {name: outcome.points for name, outcome in outcomes.items()} == should, messages
    if answer.says:
        lines = [line for line in messages.splitlines() if line.startswith(CAUSE)]
        assert any(answer.says in line for line in lines), messages


@pytest.mark.parametrize("answer", RIGHT, ids=lambda answer: answer.title)
def test_a_right_answer_keeps_all_points_and_no_cause_is_sought(answer, monkeypatch):
    asked = []
    monkeypatch.setattr("course_utils.judge.search", lambda *given: asked.append(given))
    outcomes = earned(answer)
    assert {name: outcome.message for name, outcome in outcomes.items() if outcome.lost} == {}
    assert outcomes
    assert asked == []


def test_every_question_and_every_function_has_wrong_answers(sources):
    assert {name for answer in WRONG for name in answer.codes} == set(SIGNATURES)
    assert {name for answer in RIGHT for name in answer.codes} == set(SIGNATURES)
    notebooks = {place_of(name)[0] for name in SIGNATURES}
    graded = {
        cell.metadata.nbgrader["grade_id"]
        for name in notebooks
        for cell in sources[name].cells
        if cell.cell_type == "code" and cell.metadata.nbgrader["grade"]
    }
    # What the files best_net.npz and best_mlp.pt earn doesn't depend on what a student wrote.
    asked = {name for name in graded if "best-net" not in name and "best-mlp" not in name}
    assert asked == {name for answer in WRONG for name in answer.loses}


def test_a_verdict_sees_points_lost_elsewhere_and_a_missing_sentence():
    wrong = next(answer for answer in WRONG if answer.says)
    assert judged(wrong).fair and judged(wrong).named
    assert not judged(wrong._replace(loses=())).fair
    assert not judged(wrong._replace(says="a sentence that no rule has")).named


def test_an_answer_becomes_a_submission():
    answer = WRONG[0]
    (submission,) = submissions([answer])
    assert (SOURCE / submission.notebook).exists()
    texts = [cell.source for cell in submission.node.cells]
    assert answer.codes["relu"] in texts
    assert not any("### BEGIN" in text or "### END" in text for text in texts)
    assert {name for name, points in submission.points.items() if points == 0} == set(answer.loses)


@pytest.mark.parametrize("notebook", NOTEBOOKS)
def test_a_check_answers_within_50_milliseconds(notebook):
    """Processor time, so that a busy machine doesn't count; the slowest check takes half of it."""
    with threadpool_limits(1):  # threads that wait for work use processor time
        found = measure(notebook)
        files = [measure_files(notebook) for _ in range(3)]
    for name, times in found.items():
        assert min(times) < 50, name
    for name in files[0]:
        # The later calls find the network measured.
        assert min(times[name][0] for times in files) < 50, name
