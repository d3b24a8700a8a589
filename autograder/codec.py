"""Plain values as bytes and back, between the grader and the caged process.

A frame is a header in JSON and the raw buffers of its arrays. Neither can carry code:
decoding builds None, bool, int, float, complex, str, bytes, lists, tuples, dicts, sets,
NumPy arrays and scalars of a numeric or text dtype, PyTorch tensors, the state of a NumPy
random generator, and SymPy expressions over a fixed list of functions; nothing else. What
can't be written down this way crosses as a :class:`Reference`: a number that only the
side that owns the object can resolve.
"""

from __future__ import annotations

import json
import math
import select
import socket
import struct
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

#: Bounds on one frame. The header holds everything but the arrays.
MAX_HEADER_BYTES = 8 * 2**20
MAX_BUFFER_BYTES = 256 * 2**20
MAX_DEPTH = 40
MAX_NODES = 200_000

_PREFIX = struct.Struct("!4sII")
_MAGIC = b"TLN1"
_MAX_UNUSED_BYTES = 4096
_SMALL_BYTES = 2**16  # of arrays that are rather copied than sent one by one
_DTYPE_KINDS = frozenset("biufcSUmM")
_BIT_GENERATORS = ("PCG64", "PCG64DXSM", "MT19937", "Philox", "SFC64")
#: Where a generator reads its buffer next, and the buffer's size: NumPy doesn't check it, and reads beyond.
_POSITIONS = {"MT19937": (lambda state: state["state"]["pos"], 624), "Philox": (lambda state: state["buffer_pos"], 4)}
_TENSOR_DTYPES = (
    "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "bool", "complex64", "complex128",
)  # fmt: skip
_SYMPY_HEADS = (
    "Add", "Mul", "Pow", "exp", "log", "Abs", "sign", "Max", "Min", "sin", "cos", "tan", "sinh", "cosh", "tanh",
    "Heaviside", "KroneckerDelta", "Piecewise", "ExprCondPair", "Tuple", "Equality", "Unequality", "StrictLessThan",
    "LessThan", "StrictGreaterThan", "GreaterThan", "And", "Or", "Not", "BooleanTrue", "BooleanFalse", "Sum", "Product",
)  # fmt: skip
_SYMPY_CONSTANTS = ("Pi", "Exp1", "ImaginaryUnit", "Infinity", "NegativeInfinity", "ComplexInfinity", "NaN")


class CodecError(Exception):
    """A frame is malformed or over its bounds, or a value can't cross."""


class PeerGone(Exception):
    """The other process closed the connection: it ended, or was ended."""


class Reference(NamedTuple):
    """An object that stays in the process that owns it.

    Attributes
    ----------
    number : int
        Names the object for its owner.
    callable : bool
        Whether it can be called.
    type_name : str
        For messages.
    mine : bool
        Whether the receiver of the frame owns the object.
    """

    number: int
    callable: bool
    type_name: str
    mine: bool


class Encoder:
    """Turns values into a tree for the header and a list of buffers.

    Parameters
    ----------
    refer : callable
        ``refer(value)`` gives the :class:`Reference` for a value that isn't plain, or
        raises :class:`CodecError`.
    """

    def __init__(self, refer: Callable[[Any], Reference]) -> None:
        self.refer = refer
        self.buffers: list[memoryview] = []
        self._nodes = 0

    def encode(self, value: Any, depth: int = 0) -> Any:
        """The tree for ``value``; arrays are appended to ``buffers``."""
        self._nodes += 1
        if depth > MAX_DEPTH:
            raise CodecError(f"a value is nested more than {MAX_DEPTH} levels deep")
        if self._nodes > MAX_NODES:
            raise CodecError(f"a value has more than {MAX_NODES} parts")
        kind = type(value)
        if value is None or kind is bool or kind is str:
            return value
        if kind is int:
            if value.bit_length() > 10_000:
                raise CodecError("an integer has more than 10000 bits")
            return value if -(2**53) < value < 2**53 else ["int", hex(value)]
        if kind is float:
            return value if math.isfinite(value) else ["float", repr(value)]
        if isinstance(value, np.ndarray) and value.dtype.kind in _DTYPE_KINDS:
            return self._array("array", np.asarray(value))
        if isinstance(value, np.generic) and value.dtype.kind in _DTYPE_KINDS:
            return self._array("scalar", np.asarray(value))
        if isinstance(value, bool):
            return bool(value)
        if kind is complex:
            return ["complex", repr(value.real), repr(value.imag)]
        if isinstance(value, (bytes, bytearray)):
            return ["bytes", self._buffer(np.frombuffer(bytes(value), np.uint8))]
        if isinstance(value, Reference):
            return ["reference", value.number, value.callable, value.type_name, value.mine]
        if kind in (list, tuple, set, frozenset):
            return [kind.__name__, [self.encode(item, depth + 1) for item in value]]
        if isinstance(value, dict):
            pairs = [[self.encode(key, depth + 1), self.encode(item, depth + 1)] for key, item in value.items()]
            return ["dict", pairs]
        if isinstance(value, tuple):  # a namedtuple crosses as the tuple that it is
            return ["tuple", [self.encode(item, depth + 1) for item in value]]
        if isinstance(value, np.random.Generator) and type(value.bit_generator).__name__ in _BIT_GENERATORS:
            state = value.bit_generator.state
            return ["generator", self.encode(state, depth + 1)]
        if isinstance(value, np.random.RandomState):
            return ["randomstate", self.encode(value.get_state(legacy=False), depth + 1)]
        torch = sys.modules.get("torch")
        if torch is not None and isinstance(value, torch.Tensor):
            return self._tensor(torch, value)
        sympy = sys.modules.get("sympy")
        if sympy is not None and isinstance(value, sympy.Basic):
            return ["sympy", self._sympy(sympy, value, depth)]
        if sympy is not None and isinstance(value, sympy.MatrixBase):
            entries = [self._sympy(sympy, item, depth) for item in value]
            return ["sympymatrix", value.shape[0], value.shape[1], entries]
        return self.encode(self.refer(value), depth)

    def _buffer(self, array: np.ndarray) -> int:
        if sum(len(buffer) for buffer in self.buffers) + array.nbytes > MAX_BUFFER_BYTES:
            raise CodecError(f"the arrays of one call take more than {MAX_BUFFER_BYTES // 2**20} MiB")
        self.buffers.append(array.reshape(-1).view(np.uint8).data if array.size else memoryview(b""))
        return len(self.buffers) - 1

    def _array(self, kind: str, array: np.ndarray) -> list:
        if not array.dtype.itemsize:  # texts, all of them empty
            array = array.astype(f"{array.dtype.kind}1")
        order = "F" if array.flags.f_contiguous and not array.flags.c_contiguous else "C"
        flat = np.ascontiguousarray(array.T if order == "F" else array)
        return [kind, array.dtype.str, list(array.shape), order, self._buffer(flat)]

    def _tensor(self, torch: Any, tensor: Any) -> list:
        name = str(tensor.dtype).removeprefix("torch.")
        if name not in _TENSOR_DTYPES:
            raise CodecError(f"a tensor of dtype {name} can't cross")
        return ["tensor", name, self._array("array", tensor.detach().cpu().contiguous().numpy())]

    def _sympy(self, sympy: Any, expression: Any, depth: int) -> list:
        self._nodes += 1
        if depth > MAX_DEPTH or self._nodes > MAX_NODES:
            raise CodecError("a formula is too large to be checked")
        name = type(expression).__name__
        if isinstance(expression, sympy.Rational):  # includes Integer, Half, One
            if max(expression.p.bit_length(), expression.q.bit_length()) > 256:
                raise CodecError("a formula holds a number of more than 256 bits")
            return ["Rational", hex(expression.p), hex(expression.q)]
        if isinstance(expression, sympy.Float):
            return ["Float", repr(float(expression))]
        if name in _SYMPY_CONSTANTS:
            return [name]
        if isinstance(expression, sympy.Symbol):
            assumptions = {key: bool(known) for key, known in expression._assumptions_orig.items()}
            label = getattr(expression, "dummy_index", None)
            return ["Symbol", expression.name if label is None else f"{expression.name}_{label}", assumptions]
        if isinstance(expression, sympy.Indexed):
            indices = [self._sympy(sympy, index, depth + 1) for index in expression.indices]
            return ["Indexed", str(expression.base), indices]
        if name not in _SYMPY_HEADS:
            raise CodecError(f"a formula holds {name}, which can't be checked")
        return [name, *(self._sympy(sympy, argument, depth + 1) for argument in expression.args)]


class Decoder:
    """Turns a tree and its buffers back into values.

    Parameters
    ----------
    resolve : callable
        ``resolve(reference)`` gives what a :class:`Reference` stands for in this process.
    buffers : list of bytearray
    """

    def __init__(self, resolve: Callable[[Reference], Any], buffers: list[bytearray]) -> None:
        self.resolve = resolve
        self.buffers: list[bytearray | None] = list(buffers)

    def decode(self, tree: Any, depth: int = 0) -> Any:
        """The value that ``tree`` writes down; :class:`CodecError` if it is none."""
        if depth > MAX_DEPTH + 2:
            raise CodecError("a frame is nested too deep")
        if tree is None or isinstance(tree, (bool, int, float, str)):
            return tree
        if not isinstance(tree, list) or not tree or not isinstance(tree[0], str):
            raise CodecError("a frame holds something that is not a value")
        kind, *rest = tree
        method = getattr(self, f"_{kind}", None) if kind in _KINDS else None
        if method is None:
            raise CodecError("a frame holds a value of unknown kind")
        try:
            return method(depth + 1, *rest)
        except CodecError:
            raise
        except Exception as error:  # whatever a library raises for what it is given
            raise CodecError(f"a frame holds a malformed {kind}") from error

    def _int(self, depth: int, text: str) -> int:
        if len(text) > 2600:
            raise CodecError("an integer is too long")
        return int(text, 16)

    def _float(self, depth: int, text: str) -> float:
        return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text]

    def _complex(self, depth: int, real: str, imaginary: str) -> complex:
        return complex(float(real), float(imaginary))

    def _bytes(self, depth: int, index: int) -> bytes:
        return bytes(self._take(index))

    def _list(self, depth: int, items: list) -> list:
        return [self.decode(item, depth) for item in items]

    def _tuple(self, depth: int, items: list) -> tuple:
        return tuple(self._list(depth, items))

    def _set(self, depth: int, items: list) -> set:
        return set(self._list(depth, items))

    def _frozenset(self, depth: int, items: list) -> frozenset:
        return frozenset(self._list(depth, items))

    def _dict(self, depth: int, pairs: list) -> dict:
        return {self.decode(key, depth): self.decode(item, depth) for key, item in pairs}

    def _take(self, index: int) -> bytearray:
        """A buffer; each may be taken once, so that a small frame can't become large values."""
        buffer = self.buffers[index] if type(index) is int and 0 <= index < len(self.buffers) else None
        if buffer is None:
            raise CodecError("a frame names a buffer that it doesn't hold")
        self.buffers[index] = None
        return buffer

    def _array(self, depth: int, dtype: str, shape: list, order: str, index: int) -> np.ndarray:
        if not isinstance(dtype, str) or len(dtype) > 24 or "," in dtype:
            raise CodecError("a frame holds an array of a strange dtype")
        kind = np.dtype(dtype)
        if kind.kind not in _DTYPE_KINDS or kind.hasobject or kind.names or kind.subdtype:
            raise CodecError("a frame holds an array of a dtype that can't cross")
        if len(shape) > 32 or not all(type(size) is int and size >= 0 for size in shape):
            raise CodecError("a frame holds an array of a strange shape")
        buffer = self._take(index)
        # Of an array without elements, NumPy allocates one.
        if not 0 < kind.itemsize <= max(len(buffer), _MAX_UNUSED_BYTES):
            raise CodecError("a frame holds an array whose elements have a strange size")
        if math.prod(shape) * kind.itemsize != len(buffer):
            raise CodecError("a frame holds an array whose size is not that of its data")
        if order == "F":
            return np.frombuffer(buffer, kind).reshape(shape[::-1]).T if buffer else np.zeros(shape, kind, "F")
        return np.frombuffer(buffer, kind).reshape(shape) if buffer else np.zeros(shape, kind)

    def _scalar(self, depth: int, *array: Any) -> Any:
        return self._array(depth, *array)[()]

    def _generator(self, depth: int, tree: list) -> np.random.Generator:
        state = self._generator_state(depth, tree)
        bit_generator = getattr(np.random, state["bit_generator"])()
        bit_generator.state = state
        return np.random.Generator(bit_generator)

    def _randomstate(self, depth: int, state: list) -> np.random.RandomState:
        generator = np.random.RandomState()
        generator.set_state(self._generator_state(depth, state))
        return generator

    def _generator_state(self, depth: int, tree: list) -> dict:
        state = self.decode(tree, depth)
        if state["bit_generator"] not in _BIT_GENERATORS:
            raise CodecError("a frame holds an unknown random generator")
        position, size = _POSITIONS.get(state["bit_generator"], (lambda state: 0, 0))
        if not 0 <= position(state) <= size:
            raise CodecError("a frame holds a random generator in an impossible state")
        return state

    def _tensor(self, depth: int, dtype: str, array: list) -> Any:
        import torch

        if dtype not in _TENSOR_DTYPES:
            raise CodecError("a frame holds a tensor of a strange dtype")
        return torch.from_numpy(self.decode(array, depth).copy()).to(getattr(torch, dtype))

    def _reference(self, depth: int, number: int, is_callable: bool, type_name: str, mine: bool) -> Any:
        if type(number) is not int or type(is_callable) is not bool or type(mine) is not bool:
            raise CodecError("a frame holds a malformed reference")
        # What the sender calls its own is the receiver's other's, and the other way round.
        return self.resolve(Reference(number, is_callable, str(type_name)[:200], mine))

    def _sympy(self, depth: int, tree: list) -> Any:
        import sympy

        return self._sympy_node(sympy, tree, depth)

    def _sympymatrix(self, depth: int, rows: int, columns: int, entries: list) -> Any:
        import sympy

        if min(rows, columns) < 0 or max(rows, columns) > MAX_NODES or len(entries) != rows * columns:
            raise CodecError("a frame holds a malformed matrix of formulas")
        return sympy.Matrix(rows, columns, [self._sympy_node(sympy, entry, depth) for entry in entries])

    def _sympy_node(self, sympy: Any, tree: list, depth: int) -> Any:
        if depth > MAX_DEPTH + 2:
            raise CodecError("a formula is nested too deep")
        head, *rest = tree
        if head == "Rational":
            numerator, denominator = (self._int(depth, text) for text in rest)
            if max(abs(numerator), abs(denominator)).bit_length() > 256:
                raise CodecError("a formula holds a number of more than 256 bits")
            return sympy.Rational(numerator, denominator)
        if head == "Float":
            return sympy.Float(float(rest[0]))
        if head == "Symbol":
            name, assumptions = rest
            known = {str(key): value for key, value in assumptions.items() if type(value) is bool}
            return sympy.Symbol(str(name)[:200], **known)
        if head == "Indexed":
            base, indices = rest
            return sympy.IndexedBase(sympy.Symbol(str(base)[:200]))[
                tuple(self._sympy_node(sympy, index, depth + 1) for index in indices)
            ]
        if head in _SYMPY_CONSTANTS:
            return getattr(sympy.core.numbers, head)()
        if head not in _SYMPY_HEADS:
            raise CodecError("a formula holds an unknown function")
        arguments = [self._sympy_node(sympy, argument, depth + 1) for argument in rest]
        if head in ("BooleanTrue", "BooleanFalse"):
            return sympy.true if head == "BooleanTrue" else sympy.false
        if head == "ExprCondPair":
            return sympy.functions.elementary.piecewise.ExprCondPair(*arguments)
        if head in ("Tuple", "Sum", "Product"):
            return getattr(sympy, head)(*arguments)
        # Evaluated, 9**9**9**9 would keep the grader busy until its time is up.
        return getattr(sympy, head)(*arguments, evaluate=False)


#: The kinds that a frame may name; each is a method of Decoder.
_KINDS = frozenset({
    "int", "float", "complex", "bytes", "list", "tuple", "set", "frozenset", "dict", "array", "scalar", "generator",
    "randomstate", "tensor", "reference", "sympy", "sympymatrix",
})  # fmt: skip


class Channel:
    """Frames over a connected stream socket.

    A message is a dict of JSON values; where it holds ``"values"``, these are trees of an
    :class:`Encoder`, and the frame carries their buffers.
    """

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self._sending = threading.RLock()
        self._pending = bytearray()  # of a frame that a deadline cut in two

    def send(self, message: dict, buffers: Sequence[memoryview] = ()) -> None:
        """Send one frame; :class:`PeerGone` if nobody is there to receive it."""
        header = json.dumps([message, [len(buffer) for buffer in buffers]]).encode()
        total = sum(len(buffer) for buffer in buffers)
        if len(header) > MAX_HEADER_BYTES:
            raise CodecError(f"a value takes more than {MAX_HEADER_BYTES // 2**20} MiB besides its arrays")
        try:
            with self._sending:
                parts: list[bytes | memoryview] = [_PREFIX.pack(_MAGIC, len(header), total) + header, *buffers]
                for part in [b"".join(parts)] if total <= _SMALL_BYTES else parts:
                    self.connection.sendall(part)
        except OSError as error:
            raise PeerGone from error

    def receive(self, timeout: float | None = None) -> tuple[dict, list[bytearray]]:
        """The next message and its buffers.

        Parameters
        ----------
        timeout : float, optional
            Seconds after which :class:`TimeoutError` is raised; a frame that has begun to
            arrive is kept and completed by the next call.
        """
        self._fill(_PREFIX.size, timeout)
        magic, header_size, total = _PREFIX.unpack_from(self._pending)
        if magic != _MAGIC or header_size > MAX_HEADER_BYTES or total > MAX_BUFFER_BYTES:
            raise CodecError("something that is not a frame arrived")
        self._fill(_PREFIX.size + header_size + total, timeout)
        data = memoryview(self._pending)
        header = bytes(data[_PREFIX.size : _PREFIX.size + header_size])
        body = data[_PREFIX.size + header_size :]
        try:
            message, sizes = _parse(header)
            if sum(sizes) != total or min(sizes, default=0) < 0:
                raise CodecError("a frame's buffers don't add up")
            buffers, start = [], 0
            for size in sizes:
                buffers.append(bytearray(body[start : start + size]))
                start += size
        finally:
            body.release()
            data.release()
            self._pending = bytearray()
        return message, buffers

    def _fill(self, size: int, timeout: float | None) -> None:
        """Read until ``size`` bytes are pending, never beyond, since others read this socket after us."""
        while len(self._pending) < size:
            if timeout is not None and not select.select([self.connection], [], [], timeout)[0]:
                raise TimeoutError
            try:
                part = self.connection.recv(min(size - len(self._pending), 2**20))
            except OSError as error:
                raise PeerGone from error
            if not part:
                raise PeerGone
            self._pending += part

    def send_with_descriptor(self, message: dict, descriptor: int) -> None:
        """Send a message and, right after it, an open file descriptor."""
        self.send(message)
        try:
            socket.send_fds(self.connection, [b"d"], [descriptor])
        except OSError as error:
            raise PeerGone from error

    def receive_descriptor(self) -> int:
        """The file descriptor that comes right after the last message."""
        data, descriptors, _, _ = socket.recv_fds(self.connection, 1, 1)
        if not data or not descriptors:
            raise PeerGone
        return descriptors[0]

    def peer_is_gone(self) -> bool:
        """Whether the other end is closed, found without reading."""
        asked = select.poll()
        asked.register(self.connection, 0)  # that the other end is closed is always told
        return bool(asked.poll(0))

    def close(self) -> None:
        """Close the socket."""
        self.connection.close()


def _parse(header: bytes) -> tuple[dict, list[int]]:
    # Counted before it is parsed: a few megabytes of brackets would take gigabytes as lists.
    if header.count(b",") + header.count(b"[") + header.count(b"{") > 3 * MAX_NODES:
        raise CodecError("a frame has too many parts")
    try:
        message, sizes = json.loads(header)
    except (ValueError, TypeError, RecursionError, MemoryError) as error:
        raise CodecError("a frame's header is not JSON") from error
    if not isinstance(message, dict) or not isinstance(sizes, list) or not all(type(size) is int for size in sizes):
        raise CodecError("a frame's header is malformed")
    return message, sizes
