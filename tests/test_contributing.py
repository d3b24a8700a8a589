"""CONTRIBUTING.md's worked examples do what it says."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import pytest

from course_utils import judge as judging
from course_utils.checks import forward
from course_utils.comparison import CheckFailed
from course_utils.deviations import Deviation
from course_utils.judge import Asked, Part, Reference, answers, judge
from course_utils.mistakes import GENERAL, RELU
from course_utils.questions import Question
from course_utils.reference import problems
from tests.conftest import REPOSITORY
from tests.fairness import Answer, function, judged

TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
DEVIATION, QUESTION = re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


def test_a_new_deviation_takes_an_entry_and_an_answer(monkeypatch):
    names = {"Deviation": Deviation, "Answer": Answer, "function": function, "np": np}
    exec(DEVIATION, names)
    before = judged(names["answer"])
    assert before.fair and not before.named
    monkeypatch.setattr(
        forward, "_RELU", Reference(forward._RELU.model, deviations=(*RELU, names["deviation"], *GENERAL))
    )
    after = judged(names["answer"])
    assert after.fair and after.named


def test_a_new_question_takes_a_record_and_a_check(monkeypatch):
    names = {
        "Question": Question, "answers": answers, "Callable": Callable, "np": np, "problems": problems, "Asked": Asked,
        "Part": Part, "judge": judge, "Reference": Reference, "GENERAL": GENERAL,
    }  # fmt: skip
    exec(QUESTION, names)
    monkeypatch.setattr(judging, "question", lambda test: {"test-leaky": names["question"]}[test])
    check = names["check_leaky"]
    check(lambda z: np.where(z > 0, z, 0.01 * z))
    with pytest.raises(CheckFailed) as caught:
        check(lambda z: -np.where(z > 0, z, 0.01 * z))
    facts = caught.value.facts()
    assert (facts["question"], facts["quantity"], facts["deviations"]) == ("test-leaky", "leaky(z)", ["sign"])
