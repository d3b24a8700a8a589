"""The report's page, as an instructor and then a lecture hall see it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from autograder.report import findings
from autograder.report.page import page as written
from autograder.report.reading import Answer, Class, Failure, Handed, Question
from autograder.report.two_layer_net import explain

pytestmark = pytest.mark.slow

_HOSTILE = "<script>fetch('/pwned')</script><img src=x onerror=fetch('/pwned')>\u202e{{ 7 * 7 }}"
_CAUSES = {
    "test-relu": "leaky_relu", "test-softmax": "softmax_over_columns", "test-loss": "regularisation_halved",
    "test-grad-b2": "b2_over_the_wrong_axis",
}  # fmt: skip
#: WCAG's least contrast of text.
_CONTRAST = 4.5


def _class() -> Class:
    """A class of which many make known mistakes, and one writes what would act on a page."""
    questions = [Question("first", name, 2.0, ("solution",), ("f",)) for name in (*_CAUSES, "test-other", _HOSTILE)]
    answers = []
    for number in range(40):
        for place, question in enumerate(questions):
            failure, code = None, "def f(z):\n    return z"
            if number % 5 > place:
                cause = _CAUSES.get(question.name)
                failure = Failure("CheckFailed", f"{_HOSTILE} " * 20, question.name, "values", {},
                                  (cause,) if cause else (), f"{question.name} has a cause.")  # fmt: skip
            elif question.name == _HOSTILE and number < 5:
                failure = Failure("X" * 200, _HOSTILE)
            points = 0.0 if failure else 2.0
            answers.append(Answer(f"student-{number}-{_HOSTILE}", "first", question.name, points, 2.0, failure, code))
    handed = [Handed(f"student-{n}", (), float(n - 30), (_HOSTILE * 5,) if n % 7 == 0 else ()) for n in range(40)]
    handed.append(Handed(_HOSTILE, (), 1.0, ()))
    seconds = {(one.student, "first"): 9.0 if one.student == _HOSTILE else 1.0 for one in handed}
    return Class(_HOSTILE, questions, answers, handed, "", [], seconds)


@pytest.fixture(scope="module")
def address(tmp_path_factory) -> str:
    found = _class()
    path: Path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(written(found, findings.find(found), explain), encoding="utf-8")
    return f"file://{path}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_read(page, address, scheme):
    page.set_viewport_size({"width": 900, "height": 800})
    page.emulate_media(color_scheme=scheme)
    page.goto(address)
    assert page.evaluate("document.documentElement.scrollWidth") == 900
    colours = page.evaluate("""() => {
        const numbers = text => text.match(/[0-9.]+/g).slice(0, 3).map(Number);
        const ground = numbers(getComputedStyle(document.body).backgroundColor);
        return [...document.querySelectorAll("p, h2, h3, td, .curve, .curve-wrong, figcaption")].map(
            one => [numbers(getComputedStyle(one).color), ground]);
    }""")
    assert min(_contrast(*pair) for pair in colours) >= _CONTRAST
    names = page.locator("svg").evaluate_all("all => all.map(one => one.getAttribute('aria-label'))")
    assert len(names) > 10 and all(names)


def _contrast(one: list[float], other: list[float]) -> float:
    """As WCAG 2 defines it."""

    def light(colour: list[float]) -> float:
        shares = [value / 255 for value in colour]
        linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
        return sum(weight * value for weight, value in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    least, most = sorted((light(one), light(other)))
    return (most + 0.05) / (least + 0.05)


def test_what_a_student_wrote_is_text(page, address):
    page.goto(address)
    page.wait_for_timeout(300)
    assert page.visited == [address]
    assert page.locator("script, img, [onerror], a, form").count() == 0
    text = page.locator("body").inner_text()
    assert "<script>fetch('/pwned')</script>" in text and "{{ 7 * 7 }}" in text and "\u202e" not in text


def test_the_last_section_is_a_slide_without_names(page, address):
    page.goto(address)
    slide = page.locator(".lecture")
    assert not re.search("student-|fetch", slide.inner_text())
    assert slide.locator(".misconception").count() == 3
    assert slide.locator(".formula").count() == 6 and slide.locator(".picture").count() == 3
    boxes = slide.locator("svg").evaluate_all(
        "all => all.map(one => one.getBoundingClientRect()).map(b => [b.width, b.height])"
    )
    assert all(width > 20 and height > 10 for width, height in boxes)
    page.emulate_media(media="print")
    assert slide.evaluate("one => getComputedStyle(one).breakBefore") == "page"
