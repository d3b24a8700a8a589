"""What crosses between the grader and the caged process, and what doesn't."""

from __future__ import annotations

import ast
import json
import math
import os
import pickle
import socket
import struct
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
import sympy
import torch

from autograder import codec
from autograder.codec import Channel, CodecError, Decoder, Encoder, PeerGone, Reference
from tests.conftest import REPOSITORY


def no_reference(value):
    raise CodecError(f"a {type(value).__name__} isn't plain")


def as_handle(reference):
    return reference


def through(value, refer=no_reference, resolve=as_handle):
    """``value`` after a way over the wire."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        encoder = Encoder(refer)
        tree = encoder.encode(value)
        sender = threading.Thread(target=Channel(ours).send, args=({"value": tree}, encoder.buffers))
        sender.start()
        message, buffers = Channel(theirs).receive(timeout=10)
        sender.join()
    return Decoder(resolve, buffers).decode(message["value"])


def decode(tree, *buffers):
    return Decoder(as_handle, [bytearray(buffer) for buffer in buffers]).decode(tree)


PLAIN = [
    None, True, False, 0, -1, 2**53, -(2**60), 3**1000, 0.1, -0.0, 5e-324, 1.7976931348623157e308, math.inf, -math.inf,
    1 + 2j, complex(math.inf, -0.0), "", "text\n\0ä€😀\ud800", b"", b"\0\xff", [], (), {}, set(), frozenset(),
    [1, [2.0, "x"], (None, b"y")], {"a": 1, 2: "b", (1, 2): [3], None: True}, {1, "a"}, frozenset({2, 3}),
]  # fmt: skip


# By number: a set's repr has another order in each process, and xdist wants the same names in all.
@pytest.mark.parametrize("value", PLAIN, ids=range(len(PLAIN)))
def test_plain_value_crosses(value):
    got = through(value)
    assert got == value
    assert type(got) is type(value)
    if isinstance(value, float):
        assert math.copysign(1, got) == math.copysign(1, value)


def test_nan_crosses():
    assert math.isnan(through(math.nan))
    assert math.isnan(through(complex(math.nan, 0)).real)


def test_namedtuple_crosses_as_the_tuple_that_it_is():
    got = through(namedtuple("Pair", "first second")(1, 2.0))
    assert got == (1, 2.0)
    assert type(got) is tuple


@pytest.mark.parametrize("dtype", [
    "?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", ">f8", ">i4", "c8", "c16", "S3", "U5",
    "m8[s]", "M8[D]", "f16",
])  # fmt: skip
def test_array_crosses_bit_for_bit(dtype):
    raw = np.random.default_rng(0).integers(0, 2, size=(3, 4))
    array = raw.astype("i8").astype(dtype) if dtype[0] in "mM" else raw.astype(dtype)
    got = through(array)
    assert got.dtype == array.dtype
    assert got.shape == array.shape
    assert got.tobytes() == array.tobytes()


@pytest.mark.parametrize("array", [
    np.zeros(()), np.zeros((0, 3)), np.zeros((3, 0, 2), order="F"), np.arange(12.0).reshape(3, 4).T,
    np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)), np.arange(20.0)[::-3], np.arange(24.0).reshape(4, 6)[1:, ::2],
    np.broadcast_to(np.arange(3.0), (4, 3)),
], ids=lambda array: f"{array.shape}-{array.strides}")  # fmt: skip
def test_any_layout_of_an_array_crosses(array):
    got = through(array)
    np.testing.assert_array_equal(got, array)
    assert got.shape == array.shape
    assert got.flags.writeable
    if array.size and array.flags.f_contiguous and not array.flags.c_contiguous:
        assert got.flags.f_contiguous


def test_signs_and_payloads_of_special_floats_cross():
    array = np.array([-0.0, np.nan, -np.inf]).view("u8")
    array[1] |= 123
    assert through(array.view("f8")).tobytes() == array.tobytes()


def test_subclass_of_an_array_crosses_as_an_array():
    class Sly(np.ndarray):
        def __eq__(self, other):
            return True

    got = through(np.arange(3.0).view(Sly))
    assert type(got) is np.ndarray
    assert type(through(np.ma.masked_array([1.0, 2.0], mask=[True, False]))) is np.ndarray


@pytest.mark.parametrize("scalar", [np.float32(0.1), np.int64(-5), np.bool_(True), np.complex64(1j), np.str_("x")])
def test_scalar_keeps_its_type(scalar):
    got = through(scalar)
    assert got == scalar
    assert got.dtype == scalar.dtype


@pytest.mark.parametrize("name", ["PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64"])
def test_random_generator_goes_on_where_it_was(name):
    generator = np.random.Generator(getattr(np.random, name)(7))
    generator.integers(10, size=3, dtype=np.uint32)
    got = through(generator)
    np.testing.assert_array_equal(got.random(1000), generator.random(1000))


def test_random_state_goes_on_where_it_was():
    state = np.random.RandomState(3)
    state.standard_normal(3)
    np.testing.assert_array_equal(through(state).standard_normal(1000), state.standard_normal(1000))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64])
def test_tensor_crosses(dtype):
    tensor = torch.arange(6).reshape(2, 3).to(dtype).T
    got = through(tensor)
    assert got.dtype == dtype
    assert torch.equal(got, tensor)


x, y = sympy.symbols("x y", real=True)
FORMULAS = [
    sympy.exp(x) / (sympy.exp(x) + sympy.exp(y)), sympy.Rational(1, 3) * x**2 - sympy.pi, sympy.log(sympy.Abs(x) + 1),
    sympy.Max(x, 0), sympy.Heaviside(x), sympy.Piecewise((x, x > 0), (0, True)), sympy.oo, sympy.Float(0.25),
    sympy.KroneckerDelta(sympy.Symbol("i"), sympy.Symbol("j")), sympy.IndexedBase("z")[sympy.Symbol("k")],
]  # fmt: skip


@pytest.mark.parametrize("formula", FORMULAS, ids=str)
def test_formula_crosses(formula):
    assert sympy.simplify(through(formula) - formula) == 0 if formula != sympy.oo else through(formula) == sympy.oo


def test_matrix_of_formulas_crosses():
    assert through(sympy.Matrix([[x, 1], [y, x * y]])).doit() == sympy.Matrix([[x, 1], [y, x * y]])


@pytest.mark.parametrize("value", [
    sympy.Function("f")(x), sympy.Integer(2) ** 300, sympy.Integral(x, x), sympy.ITE(x > 0, True, y > 0),
], ids=str)  # fmt: skip
def test_formula_beyond_the_known_functions_does_not_cross(value):
    with pytest.raises(CodecError):
        through(value)


def test_what_is_not_plain_crosses_as_a_reference():
    class Model:
        pass

    model = Model()
    got = through([model, len], refer=lambda value: Reference(5, callable(value), type(value).__name__, mine=False))
    assert got[0] == Reference(5, False, "Model", False)
    assert got[1] == Reference(5, True, "builtin_function_or_method", False)


@pytest.mark.parametrize("value", [object(), len, np.array([object()]), np.zeros(2, [("a", "f8")]), (n for n in ())],
                         ids=lambda value: type(value).__name__)  # fmt: skip
def test_what_is_not_plain_is_referred(value):
    with pytest.raises(CodecError, match="isn't plain"):
        through(value)


class TestBounds:
    def test_depth(self):
        deep = []
        for _ in range(codec.MAX_DEPTH - 1):
            deep = [deep]
        assert through(deep) == deep
        for _ in range(3):
            deep = [deep]
        with pytest.raises(CodecError, match="nested"):
            through(deep)

    def test_circle(self):
        circle: list = []
        circle.append(circle)
        with pytest.raises(CodecError, match="nested"):
            through(circle)

    def test_parts(self):
        with pytest.raises(CodecError, match="parts"):
            through([0] * (codec.MAX_NODES + 1))

    def test_integer(self):
        with pytest.raises(CodecError, match="bits"):
            through(1 << 10_001)

    def test_arrays(self):
        half = np.broadcast_to(np.uint8(0), codec.MAX_BUFFER_BYTES // 2 + 1)
        with pytest.raises(CodecError, match="MiB"):
            Encoder(no_reference).encode([half, half])

    def test_text(self):
        ours, theirs = socket.socketpair()
        with ours, theirs, pytest.raises(CodecError, match="MiB"):
            Channel(ours).send({"value": "x" * codec.MAX_HEADER_BYTES})


HOSTILE = [
    [], [[]], ["unknown"], ["decode", []], ["__class__"], ["_array", 1], {"a": 1}, ["list"], ["list", 3],
    ["list", [[]]], ["int", "zz"], ["int", "f" * 3000], ["int", 5], ["float", "1"], ["float", []],
    ["complex", "a", "b"], ["bytes", 2],
    ["bytes", -1], ["bytes", "0"], ["bytes", 1.0], ["bytes", True], ["dict", [[["list", []], 1]]], ["dict", [[1]]],
    ["set", [["list", []]]], ["array", "O", [1], "C", 0], ["array", "f8", [2**62, 4], "C", 0],
    ["array", "V8", [1], "C", 0],
    ["array", "f8", [-1], "C", 0], ["array", "f8", [1.0], "C", 0], ["array", "f8", "x", "C", 0],
    ["array", "i4,f8", [1], "C", 0], ["array", "(2,)f8", [1], "C", 0], ["array", "U" + "9" * 20, [1], "C", 0],
    ["array", "nonsense", [1], "C", 0], ["array", ["list", []], [1], "C", 0], ["scalar", "O", [], "C", 0],
    ["array", "f8", [1] * 70, "C", 0], ["generator", ["dict", []]], ["generator", ["list", []]], ["generator", 3],
    ["generator", ["dict", [["bit_generator", "Generator"]]]], ["generator", ["dict", [["bit_generator", "seed"]]]],
    ["randomstate", ["tuple", ["MT19937"]]], ["tensor", "object", ["array", "f8", [], "C", 0]],
    ["tensor", "load", ["array", "f8", [], "C", 0]], ["tensor", "float64", 3], ["reference", "0", True, "x", False],
    ["reference", 0, 1, "x", False], ["reference", 0], ["sympy", ["eval", ["Rational", "0x1", "0x1"]]], ["sympy", []],
    ["sympy", ["Symbol", "x", 3]], ["sympy", ["Rational", "0x" + "f" * 100, "0x1"]], ["sympy", "x"], ["sympy", None],
    ["sympy", ["sympify", "__import__('os').system('true')"]], ["sympy", ["Float", "__import__('os')"]],
    ["array", "S0", [2**30], "C", 1], ["array", "U0", [3], "C", 1], ["array", "U99999999", [0], "C", 1],
    ["sympy", ["Indexed", "z"]], ["sympy", ["Indexed", "z", {}]], ["sympymatrix", 0, 2**62, []],
    ["list", [["bytes", 0], ["bytes", 0]]], ["list", [["array", "u1", [7], "C", 0], ["bytes", 0]]],
    ["sympymatrix", 2, 2, []], ["sympymatrix", -1, -1, [["Pi"]]], ["sympy", ["Add", "x"]],
]  # fmt: skip


@pytest.mark.parametrize("tree", HOSTILE, ids=lambda tree: json.dumps(tree)[:60])
def test_hostile_tree_is_refused(tree):
    with pytest.raises(CodecError):
        decode(tree, b"12345678"[:7], b"")


@pytest.mark.parametrize(("name", "change"), [
    ("MT19937", lambda state: state["state"].update(pos=625)), ("MT19937", lambda state: state["state"].update(pos=-1)),
    ("MT19937", lambda state: state["state"].update(key=[1])), ("Philox", lambda state: state.update(buffer_pos=5)),
    ("Philox", lambda state: state.update(buffer_pos=-3)), ("PCG64", lambda state: state["state"].update(state="x")),
])  # fmt: skip
def test_generator_in_an_impossible_state_is_refused(name, change):
    state = getattr(np.random, name)(0).state
    change(state)
    encoder = Encoder(no_reference)
    tree = encoder.encode(state)
    for kind in ("generator", "randomstate"):
        with pytest.raises(CodecError):
            Decoder(as_handle, [bytearray(buffer) for buffer in encoder.buffers]).decode([kind, tree])


def test_deep_tree_is_refused_without_recursion_error():
    tree: object = 1
    for _ in range(500):
        tree = ["list", [tree]]
    with pytest.raises(CodecError):
        decode(tree)
    formula: object = ["Symbol", "x", {}]
    for _ in range(500):
        formula = ["exp", formula]
    with pytest.raises(CodecError):
        decode(["sympy", formula])


@pytest.mark.slow
def test_mutated_frames_raise_nothing_else_and_take_little_memory():
    command = [sys.executable, "-W", "ignore", "-m", "tests.frames", "--count", "20000", "--seed", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_tower_of_powers_is_not_worked_out():
    nine = ["Rational", "0x9", "0x1"]
    tower = nine
    for _ in range(5):
        tower = ["Pow", nine, tower]
    assert decode(["sympy", tower]).func is sympy.Pow


def frame(header: bytes, body: bytes = b"", *, magic: bytes = b"TLN1", size: int | None = None) -> bytes:
    return struct.pack("!4sII", magic, len(header) if size is None else size, len(body)) + header + body


@pytest.mark.parametrize("data", [
    b"\0" * 100, bytes(range(64)), frame(b"[{}, []]", magic=b"PICK"), pickle.dumps({"result": 1}).ljust(64, b"."),
    frame(b"", size=2**31), struct.pack("!4sII", b"TLN1", 8, 2**32 - 1) + b"[{}, []]", frame(b"not json"),
    frame(b"[" * 100_000), frame(b"[" * (3 * codec.MAX_NODES + 1)), frame(b"[1, []]"), frame(b"[{}, 1]"),
    frame(b"[{}, [1.5]]", b"x"), frame(b"[{}, [true]]", b"x"), frame(b"[{}, [2, -1]]", b"x"),
    frame(b"[{}, [3]]", b"xx"), frame(b"[{}, []]", b"rest"), frame(b"\xff\xfe"),
    frame(b'[{"a": ' + b"9" * 5000 + b"}, []]"), frame(b"[{}]"),
], ids=lambda data: repr(data[12:40]))  # fmt: skip
def test_hostile_bytes_are_refused(data):
    ours, theirs = socket.socketpair()
    with ours, theirs:
        sender = threading.Thread(target=ours.sendall, args=(data,), daemon=True)
        sender.start()
        with pytest.raises(CodecError):
            Channel(theirs).receive(timeout=10)


def test_frame_cut_in_two_is_completed():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        channel, data = Channel(theirs), frame(b'[{"a": 1}, [4]]', b"body")
        for part in (data[:3], data[3:20], data[20:-1]):
            ours.sendall(part)
            with pytest.raises(TimeoutError):
                channel.receive(timeout=0.05)
        ours.sendall(data[-1:] + frame(b'[{"b": 2}, []]'))
        assert channel.receive(timeout=10) == ({"a": 1}, [bytearray(b"body")])
        assert channel.receive(timeout=10) == ({"b": 2}, [])


def test_end_of_the_other_process_is_told():
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(frame(b"[{}, []]")[:10])
        ours.close()
        with pytest.raises(PeerGone):
            Channel(theirs).receive(timeout=10)
        with pytest.raises(PeerGone):
            for _ in range(1000):
                Channel(theirs).send({"a": "x" * 10_000})


def test_descriptor_crosses_right_after_its_message(tmp_path):
    ours, theirs = socket.socketpair()
    with ours, theirs, open(tmp_path / "file", "w") as file:
        Channel(ours).send_with_descriptor({"given": True}, file.fileno())
        receiver = Channel(theirs)
        assert receiver.receive(timeout=10)[0] == {"given": True}
        descriptor = receiver.receive_descriptor()
        assert os.path.samestat(os.fstat(descriptor), os.fstat(file.fileno()))
        os.close(descriptor)


def test_no_module_on_either_side_of_the_wire_unpickles():
    for name in ("codec", "student", "examiner", "session", "zygote", "cage", "outputs", "shell", "roles"):
        tree = ast.parse((Path(codec.__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
