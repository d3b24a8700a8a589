"""Functions of a student's with others under the names that they call."""

from __future__ import annotations

import functools
import threading

import pytest

from course_utils.helpers import helpers_of, namespace_of, with_helpers


def notebook(text: str) -> dict:
    namespace = {"functools": functools}
    exec(text, namespace)
    return namespace


TEXTS = {
    "a function": "def double(x):\n    return 2 * once(x)",
    "a nested one": "def double(x):\n    def inner():\n        return once(x)\n    return 2 * inner()",
    "a helper's helper": "def half(x):\n    return once(x)\ndef double(x):\n    return 2 * half(x)",
    "another name": "other = once\ndef double(x):\n    return 2 * other(x)",
    "a partial one": "def times(n, x):\n    return n * once(x)\ndouble = functools.partial(times, 2)",
    "an instance": "class Double:\n    def __call__(self, x):\n        return 2 * once(x)\ndouble = Double()",
    "a bound method": "class Double:\n    def run(self, x):\n        return 2 * once(x)\ndouble = Double().run",
    "a decorated one": (
        "def kept(f):\n    @functools.wraps(f)\n    def g(x):\n        return f(x)\n    return g\n"
        "@kept\ndef double(x):\n    return 2 * once(x)"
    ),
    "a static method": (
        "class Double:\n    @staticmethod\n    def run(x):\n        return 2 * once(x)\ndouble = Double.run"
    ),
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_function_calls_what_stands_in_the_place_of_its_helper(text):
    names = notebook(f"def once(x):\n    return x + 100\n{text}")
    before = dict(names)
    assert with_helpers(names["double"], {"once": lambda x: x})(3) == 6
    assert names == before
    assert names["double"](3) == 206


def test_names_are_put_back_after_an_error_and_new_ones_taken_away():
    names = notebook("def double(x):\n    return once(x) + twice(x)\ndef once(x):\n    return 1")
    before = dict(names)
    with pytest.raises(ZeroDivisionError):
        with_helpers(names["double"], {"once": lambda x: x, "twice": lambda x: 1 / 0})(3)
    assert with_helpers(names["double"], {"once": lambda x: x, "twice": lambda x: x})(3) == 6
    assert names == before


def test_helpers_are_found_where_a_function_looks_for_them():
    names = notebook("def once(x):\n    return x\ndef double(x):\n    return 2 * once(x)\nlevel = 3")
    assert helpers_of(names["double"], ["once", "level", "missing"]) == {"once": names["once"]}
    assert helpers_of(max, ["once"]) == {} == namespace_of(max)


def test_a_function_elsewhere_is_asked_itself():
    class Elsewhere:
        def with_helpers(self, replacements):
            return lambda x: replacements["once"](x)

        def helpers(self, names):
            return dict.fromkeys(names, threading.get_ident)

    assert with_helpers(Elsewhere(), {"once": lambda x: -x})(3) == -3
    assert set(helpers_of(Elsewhere(), ["once"])) == {"once"}
