"""Feed mutated frames to the decoder (``python -m tests.frames``): nothing but CodecError, in bounded memory.

A million of them take some minutes.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import socket
import struct
import sys
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import sympy
import torch

from autograder.codec import Channel, CodecError, Decoder, Encoder, PeerGone, Reference

#: What decoding any frame of the sizes here may take.
MOST_BYTES = 64 * 2**20
_x, _i = sympy.Symbol("x", real=True), sympy.Symbol("i", integer=True)
VALUES = [
    [None, True, 2**70, 0.5, float("nan"), 1j, "text", b"bytes", {1, 2}, frozenset({"a"}), (1, [2, {"k": (3,)}])],
    {"W1": np.arange(12.0).reshape(3, 4), "y": np.array([0, 2, 1], dtype=np.int8), "s": np.array(["ab", "c"])},
    [np.asfortranarray(np.ones((2, 3))), np.zeros((0, 4)), np.float32(2.5), np.array(["2020"], dtype="M8[D]")],
    [np.random.Generator(kind(3)) for kind in (np.random.PCG64, np.random.MT19937, np.random.Philox, np.random.SFC64)],
    np.random.RandomState(3),
    [torch.arange(6.0).reshape(2, 3), torch.zeros(0, dtype=torch.int64)],
    [
        sympy.exp(_x) / (1 + sympy.exp(_x)),
        sympy.Piecewise((_x, _x > 0), (0, True)),
        sympy.Max(_x, sympy.Rational(1, 3)),
    ],
    [sympy.Sum(sympy.IndexedBase("z")[_i], (_i, 1, 3)), sympy.KroneckerDelta(_i, 2), sympy.Matrix([[_x, sympy.pi]])],
    [bytes(2**17), [torch.zeros(2**14)]],
    [Reference(3, True, "function", False), Reference(0, False, "Model", False)],
]
_NAMES = [
    "int", "float", "complex", "bytes", "list", "tuple", "set", "frozenset", "dict", "array", "scalar", "generator",
    "randomstate", "tensor", "reference", "sympy", "sympymatrix", "Add", "Pow", "Rational", "Float", "Symbol",
    "Indexed",
    "Max", "Piecewise", "ExprCondPair", "Sum", "Product", "And", "Not", "Heaviside", "BooleanTrue", "Tuple", "Infinity",
    "Equality", "StrictLessThan", "log", "PCG64", "MT19937", "bit_generator", "state", "key", "float64", "S0", "U0",
    "<f8", "U99999999", "V8", "O", "M8[s]", "F", "nan", "inf", "0x1", "0x0", "-0x1", "",
]  # fmt: skip
_NUMBERS = [0, 1, -1, 2, 3, 40, 255, 2**31, -(2**31), 2**40, 2**62, 2**63, 2**64, 10**30, 0.0, 1e308, -1e-300]


class Report(NamedTuple):
    """What came of the frames.

    Attributes
    ----------
    values, refused : int
        How many gave a value, and how many :class:`CodecError` (or were cut short).
    others : dict
        Text of another exception -> a frame that raised it.
    bytes : int
        By which the process's largest memory has grown.
    slowest : float
        Processor time of the slowest frame in seconds.
    """

    values: int
    refused: int
    others: dict[str, bytes]
    bytes: int
    slowest: float


def no_reference(value: Any) -> Reference:
    """There are none among the values but those that are references already."""
    raise CodecError(f"a {type(value).__name__} isn't plain")


def frames() -> list[tuple[Any, list[bytes]]]:
    """The tree and the buffers of each value."""
    encoded = []
    for value in VALUES:
        encoder = Encoder(no_reference)
        tree = encoder.encode(value)
        encoded.append((json.loads(json.dumps(tree)), [bytes(buffer) for buffer in encoder.buffers]))
    return encoded


def _places(tree: Any, found: list[tuple[list, int]]) -> list[tuple[list, int]]:
    """Every place in a tree: the list, and the index in it."""
    for index, item in enumerate(tree):
        found.append((tree, index))
        if isinstance(item, list):
            _places(item, found)
    return found


def _junk(rng: random.Random, places: list[tuple[list, int]]) -> Any:
    kind = rng.randrange(6)
    if kind == 0:
        return rng.choice(_NUMBERS)
    if kind == 1:
        return rng.choice(_NAMES)
    if kind == 2:
        return rng.choice([None, True, False, [], {}, [[]], {"": []}, "x" * 300, "\ud800"])
    if kind == 3:
        return [rng.choice(_NAMES), rng.choice(_NUMBERS), [rng.choice(_NUMBERS)] * rng.randrange(4)]
    inner, index = rng.choice(places)
    copy = json.loads(json.dumps(inner[index]))
    return copy if kind == 4 else [rng.choice(_NAMES), copy]


def mutated(rng: random.Random, encoded: list[tuple[Any, list[bytes]]]) -> bytes:
    """A frame with some of its parts, or of its bytes, changed."""
    tree, buffers = rng.choice(encoded)
    root = [json.loads(json.dumps(tree))]
    buffers = list(buffers)
    for _ in range(rng.choice((0, 1, 1, 2, 4))):
        places = _places(root, [])
        inner, index = rng.choice(places)
        how = rng.randrange(5)
        if how == 0 and len(inner) > 1:
            del inner[index]
        elif how == 1:
            inner.insert(index, _junk(rng, places))
        elif how == 2:
            inner[index : index + 1] = [inner[index]] * rng.choice((2, 50))
        elif how == 3 and isinstance(inner[index], list):
            del inner[index][rng.randrange(len(inner[index]) + 1) :]
        else:
            inner[index] = _junk(rng, places)
        written = json.dumps(root)
        root = json.loads(written)
        if len(written) > 100_000:
            break
    if buffers and rng.random() < 0.1:
        index = rng.randrange(len(buffers))
        buffers[index] = rng.choice((b"", buffers[index][:-1], rng.randbytes(len(buffers[index])), bytes(4096)))
    header = json.dumps([{"value": root[0] if root else None}, [len(buffer) for buffer in buffers]]).encode()
    body = b"".join(buffers)
    data = bytearray(struct.pack("!4sII", b"TLN1", len(header), len(body)) + header + body)
    for _ in range(rng.choice((0, 0, 0, 1, 3))):
        data[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(data)


def decode(data: bytes) -> Any:
    """What a frame holds, read from a socket as the examiner does."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2 * len(data))
        ours.sendall(data)
        ours.close()
        message, buffers = Channel(theirs).receive(timeout=10)
    return Decoder(lambda reference: reference, buffers).decode(message.get("value"))


def feed(count: int, seed: int) -> Report:
    """Decode ``count`` mutated frames."""
    rng, encoded = random.Random(seed), frames()
    values, refused, others, slowest = 0, 0, {}, 0.0
    for tree, buffers in encoded:  # so that what it imports is there
        Decoder(lambda reference: reference, [bytearray(buffer) for buffer in buffers]).decode(tree)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(count):
        data = mutated(rng, encoded)
        start = time.process_time()
        try:
            decode(data)
            values += 1
        except (CodecError, PeerGone):
            refused += 1
        except Exception as error:
            others.setdefault(f"{type(error).__name__}: {error}"[:200], data)
        slowest = max(slowest, time.process_time() - start)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return Report(values, refused, others, grown * 1024, slowest)


def main() -> int:
    """Feed frames and print what came of them; the exit status is 1 if anything but CodecError did."""
    parser = argparse.ArgumentParser(prog="python -m tests.frames", description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    warnings.simplefilter("ignore")  # NumPy and SymPy warn of strange values
    report = feed(given.count, given.seed)
    for text, data in report.others.items():
        print(f"{text}\n  {data[:300]!r}")
    print(
        f"{given.count} frames: {report.values} values, {report.refused} refused, {len(report.others)} other"
        f" exceptions; {report.bytes / 2**20:.1f} MiB more memory; the slowest took {report.slowest:.3f} s"
    )
    return int(bool(report.others) or report.bytes > MOST_BYTES)


if __name__ == "__main__":
    sys.exit(main())
