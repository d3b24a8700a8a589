"""What comes back from a handler is checked before the writer uses it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from autograder.assignment import Assignment, SourceCell, SourceNotebook
from autograder.codec import CodecError
from autograder.grading import Graded

_TEST = SourceCell("t", "test-f", "code", "f()", "f()", True, False, True, False, False, 2.0, None)
ASSIGNMENT = Assignment("one", {"first": SourceNotebook("first", (_TEST,))}, {})


def _message() -> dict:
    graded = Graded("abc", scores={"first": {"test-f": 1.5}}, unanswered={"first": []}, timestamp="2026-01-01T12:00:00")
    graded.name("first", "a sentence")
    graded.notebooks = {"first": b"{}"}
    return graded.as_message()[0]


def test_a_result_crosses():
    graded = Graded.from_message(_message(), [bytearray(b"{}")], ASSIGNMENT)
    assert graded.scores == {"first": {"test-f": 1.5}}
    assert graded.sentences() == ["first: a sentence"]
    assert graded.notebooks == {"first": b"{}"}


@pytest.mark.parametrize("change", [
    lambda message: message["scores"].update(other={}), lambda message: message["scores"]["first"].update({"x": 1.0}),
    lambda message: message["scores"]["first"].update({"test-f": -1.0}),
    lambda message: message["scores"]["first"].update({"test-f": float("nan")}),
    lambda message: message["scores"]["first"].update({"test-f": float("inf")}),
    lambda message: message["scores"]["first"].update({"test-f": "many"}), lambda message: message.update(scores=3),
    lambda message: message["trouble"].update({"../x": ["a"]}), lambda message: message["trouble"].update(first=3),
    lambda message: message["unanswered"].update(first=["x"]), lambda message: message["judged"].update(first=["x"]),
    lambda message: message.pop("own"), lambda message: message.update(notebooks=["../x"]),
    lambda message: message.update(notebooks=[]), lambda message: message.update(digest="x" * 100),
    lambda message: message.update(timestamp="x" * 100), lambda message: message.pop("seconds"),
    lambda message: message.update(processor={"first": float("inf")}),
    lambda message: message.update(processor={"x": 1}),
])  # fmt: skip
def test_what_is_no_result_of_the_assignment_is_refused(change: Callable[[dict], object]):
    message = _message()
    change(message)
    with pytest.raises(CodecError):
        Graded.from_message(message, [bytearray(b"{}")], ASSIGNMENT)


def test_only_so_much_trouble_is_kept():
    graded = Graded()
    graded.name("", *(f"sentence {number} \ud800" + "x" * 5000 for number in range(100_000)))
    assert len(graded.trouble[""]) < 20
    assert graded.trouble[""][-1] == "and more"
    assert max(map(len, graded.trouble[""])) <= 500
    "".join(graded.sentences()).encode()
