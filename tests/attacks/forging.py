"""Attacks that try to earn points without the right answer."""

from tests.attacks.suite import WRONG, Attack

_ALL_ZERO = {"test-scale": 0.0, "test-mean-rows": 1.0}
_BOTH_WRONG = {"scale": WRONG["scale"], "mean-rows": WRONG["mean-rows"]}

_ALLCLOSE = """
import numpy as np

np.allclose = lambda *args, **kwargs: True
np.testing.assert_allclose = np.testing.assert_array_equal = lambda *args, **kwargs: None
np.shape = lambda value: ()
"""
_SUBCLASS = """
class Yes(np.ndarray):
    def __array_ufunc__(self, ufunc, method, *inputs, **kwargs):
        return True

    def __array_function__(self, function, types, args, kwargs):
        return (3,) if function.__name__ == "shape" else True

    def __eq__(self, other):
        return True


def scale(x, factor):
    class Same:
        def __eq__(self, other):
            return True

    answer = (x + 99.0).view(Yes)
    np.shape = lambda value: Same()
    return answer
"""
_MAGIC = """
class Anything:
    def __eq__(self, other):
        return True

    def __ne__(self, other):
        return False

    def __bool__(self):
        return True

    def __float__(self):
        return 3.0

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **kwargs):
        return self


def total(x):
    return Anything()
"""
_HANDLE = """
class Handle:
    shape = (3,)

    def __array__(self, *args, **kwargs):
        return np.array([1.5, 5.5, 9.5])

    def __getitem__(self, index):
        return -1.5


def mean_rows(X):
    return Handle()
"""
_SUM = """
import builtins

ordinary = builtins.sum
builtins.sum = lambda items, *start: 3 if type(items) is list and items[:1] == [True] else ordinary(items, *start)
"""
_PASS = """
def skip(lines):
    text = "".join(lines)
    return ["1.5\\n"] if "close(" in text and "def " not in text else lines


get_ipython().input_transformers_post.append(skip)
"""
_NO_ASSERT = """
import ast


class Remove(ast.NodeTransformer):
    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)


get_ipython().ast_transformers.append(Remove())
"""
_FORMATTER = """
import numpy as np

get_ipython().display_formatter.formatters["text/plain"].for_type(np.float64, lambda value, p, cycle: p.text("3.0"))
get_ipython().displayhook.compute_format_data = lambda result: ({"text/plain": "3.0"}, {})
"""
_NO_TRACEBACK = """
shell = get_ipython()
shell.showtraceback = shell._showtraceback = lambda *args, **kwargs: None
type(shell)._showtraceback = lambda *args, **kwargs: None
"""
_FAKE_NUMPY = """
import sys, types

import numpy

fake = types.ModuleType("numpy")
fake.__dict__.update(vars(numpy))
fake.allclose = lambda *args, **kwargs: True
sys.modules["numpy"] = fake
"""
_PATCHED_COURSE_UTILS = """
import sys

import course_utils, course_utils.comparison, course_utils.checks.forward

for name, module in list(sys.modules.items()):
    if name.startswith("course_utils"):
        for key, value in list(vars(module).items()):
            if callable(value) and not key.startswith("__") and not isinstance(value, type):
                setattr(module, key, lambda *args, **kwargs: 3.0)
import numpy as np

np.allclose = course_utils.comparison.compare = lambda *args, **kwargs: True
"""
#: A frame as the codec sends it, with any message.
_FRAME = """
import json, os, struct


def frame(message):
    header = json.dumps([message, []]).encode()
    return struct.pack("!4sII", b"TLN1", len(header), 0) + header


def everywhere(data):
    for number in range(3, 256):
        try:
            os.write(number, data)
        except OSError:
            pass
"""
_WIRE = "def scale(x, factor):\n    everywhere({data})\n    return x + 99.0"

ATTACKS = [
    Attack("allclose", "replaces NumPy's comparisons by ones that are always true", first=_ALLCLOSE,
           answers=_BOTH_WRONG, honest=_ALL_ZERO, stock="points"),
    Attack("subclass", "returns an array that claims to equal anything", answers={"scale": _SUBCLASS},
           honest={"test-scale": 0.0}, stock="points"),
    Attack("magic", "returns an object that equals anything", answers={"total": _MAGIC}, honest={"test-total": 0.0},
           stock="points"),
    Attack("handle", "returns an object with the attributes that a test asks for", answers={"mean-rows": _HANDLE},
           honest={"test-mean-rows": 0.0}),
    Attack("builtins", "replaces builtin functions with which a test counts points", first=_SUM,
           answers=_BOTH_WRONG, honest=_ALL_ZERO, stock="points"),
    Attack("shadow-sum", "has a variable of the name of a builtin function", first="sum = lambda parts: 3",
           answers=_BOTH_WRONG, honest=_ALL_ZERO, stock="points"),
    Attack("shadow-close", "has a function of the name of the checks'",
           answers={"scale": WRONG["scale"] + "\n\n\nclose = lambda *args: True\ncheck_loss = close"},
           honest={"test-scale": 0.0}, stock="points"),
    Attack("shadow-np", "calls something of its own np",
           answers={"scale": WRONG["scale"] + "\n\n\nimport types\nnp = types.SimpleNamespace(**vars(np))\n"
                    "np.shape = lambda value: ()\nnp.allclose = lambda *args: True"},
           honest={"test-scale": 0.0}, stock="points"),
    Attack("transformer", "has an input transformer turn each test into pass", first=_PASS, answers=_BOTH_WRONG,
           honest=_ALL_ZERO, stock="points"),
    Attack("no-assert", "has an AST transformer remove every assertion", first=_NO_ASSERT, answers=_BOTH_WRONG,
           honest=_ALL_ZERO, stock="points"),
    Attack("formatter", "has IPython show full points as every result", first=_FORMATTER, answers=_BOTH_WRONG,
           honest=_ALL_ZERO, stock="points"),
    Attack("no-traceback", "keeps IPython from reporting errors", first=_NO_TRACEBACK, answers=_BOTH_WRONG,
           honest=_ALL_ZERO),
    Attack("fake-numpy", "puts another module in NumPy's place", first=_FAKE_NUMPY, answers=_BOTH_WRONG,
           honest=_ALL_ZERO, stock="points"),
    Attack("course-utils", "replaces every function of course_utils", first=_PATCHED_COURSE_UTILS,
           answers=_BOTH_WRONG, honest=_ALL_ZERO, stock="points"),
    Attack("stop-iteration", "raises StopIteration, which ends the test's map() before the hidden cases",
           answers={"total": "def total(x):\n    if len(x) == 3:\n        return 3.0\n    raise StopIteration"},
           honest={"test-total": 0.0}, stock="points"),
    Attack("empty", "returns an empty array, which compares true with anything",
           answers={"scale": "def scale(x, factor):\n    return np.zeros((0, *np.shape(x)))"},
           honest={"test-scale": 0.0}),
    Attack("nan", "returns values that aren't numbers",
           answers={"scale": "def scale(x, factor):\n    return x * np.nan",
                    "mean-rows": "def mean_rows(X):\n    return np.full(len(X), np.inf)"},
           honest=_ALL_ZERO),
    Attack("mutate", "changes the test's own arrays so that the wrong answer fits",
           answers={"scale": "def scale(x, factor):\n    x[...] = 0.0\n    return x"}, honest={"test-scale": 0.0}),
    Attack("huge-integer", "returns an integer of a million digits",
           answers={"total": "def total(x):\n    return 10**1_000_000"}, honest={"test-total": 0.0}),
    Attack("garbage-on-the-wire", "writes garbage to every open file descriptor", first=_FRAME,
           answers={"scale": _WIRE.format(data='b"\\x00garbage" * 1000')}, honest={"test-scale": 0.0},
           trouble="wrote to the connection"),
    Attack("forged-grade", "sends the grader a result cell that shows full points", first=_FRAME,
           answers={"scale": _WIRE.format(data='frame({"output": {"output_type": "execute_result", "data": '
                                               '{"text/plain": "2.0"}, "metadata": {}, "execution_count": 4}})')},
           honest={"test-scale": 0.0}),
    Attack("forged-end", "sends the messages with which a worker hears that a notebook is done", first=_FRAME,
           answers={"scale": _WIRE.format(data='b"".join(frame(message) for message in ({"end": 3, "outputs": []}, '
                                               '{"done": True}, {"points": 2}))')},
           honest={"test-scale": 0.0}, trouble="wrote to the connection"),
    Attack("forged-results", "sends answers before they are asked for", first=_FRAME + "\neverywhere(b''.join("
           "frame(message) for message in ({'did': True}, {'names': {}}, {'result': 3.0}, {'result': 3.0})))\n",
           answers=_BOTH_WRONG, honest=_ALL_ZERO),
    Attack("forged-reference", "returns references to objects that were never given", first=_FRAME,
           answers={"scale": _WIRE.format(data='frame({"result": ["reference", 99, True, "x", True]})')},
           honest={"test-scale": 0.0}),
    Attack("impossible-generator", "sends a random generator whose state makes NumPy read beyond its memory",
           first=_FRAME, answers={"scale": _WIRE.format(
               data='frame({"result": ["generator", ["dict", [["bit_generator", "MT19937"], ["state", ["dict", '
                    '[["key", ["list", [1] * 624]], ["pos", 10**9]]]]]]]})')},
           honest={"test-scale": 0.0}, trouble="wrote to the connection"),
    Attack("half-a-frame", "begins a frame and never ends it", first=_FRAME,
           answers={"scale": 'def scale(x, factor):\n    import time\n    everywhere(b"TLN1\\x00\\x00\\xff\\xff")\n'
                             "    while True:\n        time.sleep(1)"},
           honest={"test-scale": 0.0}, trouble="took longer"),
]  # fmt: skip
