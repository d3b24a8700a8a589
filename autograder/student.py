"""In the cage: runs the student's cells and, when asked, their functions.

Nothing in here is to be trusted once a student's cell has run: the student's code shares
the process. What it answers is taken for what it is, values, by the examiner outside.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import signal
import socket
import sys
import traceback
from typing import Any

import numpy as np

from autograder.codec import Channel, CodecError, Decoder, Encoder, PeerGone, Reference
from autograder.shell import NotebookShell
from course_utils.helpers import rebound

_MAX_NESTED_CALLS = 20


class GraderCallback:
    """A function of the grader's, given to a student's function as an argument or lent to the notebook."""

    def __init__(self, server: Server, number: int) -> None:
        self._server = server
        self._number = number

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._server.call_back(self._number, args, kwargs)


class Server:
    """Answers the examiner's requests.

    Parameters
    ----------
    channel : Channel
        To the examiner.
    shell : NotebookShell
    text_bytes : int
        See :class:`autograder.shell.Recorder`.
    """

    def __init__(self, channel: Channel, shell: NotebookShell, text_bytes: int) -> None:
        self.channel = channel
        self.shell = shell
        self.objects: list[Any] = []
        self.depth = 0
        self.busy = False
        self.waiting = False  # for what a function of the grader's returns
        self.interrupted = False  # meanwhile
        shell.record(self._pass_on, text_bytes)
        signal.signal(signal.SIGINT, self._interrupted)
        # Two processes on one wire would garble it.
        os.register_at_fork(after_in_child=self._fall_silent)

    def _pass_on(self, output: dict) -> None:
        try:
            self.channel.send({"output": output})
        except CodecError:
            text = "[Something too large to be kept was displayed here.]\n"
            self.channel.send({"output": {"output_type": "stream", "name": "stdout", "text": text}})

    def _fall_silent(self) -> None:
        self.channel.close()
        self.shell.recorder.emit = lambda output: None

    def _interrupted(self, *_: Any) -> None:
        if self.waiting:  # half an answer, left on the wire, would be taken for a question
            self.interrupted = True
        elif self.busy:
            raise KeyboardInterrupt

    def serve(self) -> None:
        """Answer until the examiner is gone."""
        with contextlib.suppress(PeerGone):
            while True:
                try:
                    self.answer(*self.channel.receive())
                except KeyboardInterrupt:
                    continue

    def answer(self, request: dict, buffers: list[bytearray]) -> None:
        """Answer one request; the answer names it."""
        asked = {"answers": request["number"]}
        if "run" in request:
            self.busy = True
            try:
                self.shell.run(request["run"], request["count"])
            except KeyboardInterrupt:
                self.shell.showtraceback()
            finally:
                self.busy = False
            self.channel.send({"did": True, **asked})
        elif "bind" in request:
            self.shell.user_ns.update(Decoder(self._resolve, buffers).decode(request["bind"]))
            self.channel.send({"did": True, **asked})
        elif "describe" in request:
            names, described = self._describe(request["describe"])
            self.channel.send({"names": names, **asked}, described)
        elif "call" in request:
            self._call(request, buffers, asked)

    def _refer(self, value: Any) -> Reference:
        if isinstance(value, GraderCallback):
            return Reference(value._number, True, "function", mine=True)
        self.objects.append(value)
        # The object stays here: for the examiner it is the other side's.
        return Reference(len(self.objects) - 1, callable(value), type(value).__name__[:200], mine=False)

    def _resolve(self, reference: Reference) -> Any:
        if reference.mine:
            return self.objects[reference.number]
        return GraderCallback(self, reference.number)

    def _describe(self, names: list[str]) -> tuple[dict, list[memoryview]]:
        encoder = Encoder(self._refer)
        found = {}
        for name in names:
            if name in self.shell.user_ns:
                value = self.shell.user_ns[name]
                try:
                    found[name] = {"value": encoder.encode(value)}
                    if callable(value):
                        found[name]["about"] = _about(value)
                except Exception:  # too large to cross; the student's functions can still be given it
                    found[name] = {"value": Encoder(self._refer).encode(self._refer(value))}
        return found, encoder.buffers

    def _call(self, request: dict, buffers: list[bytearray], asked: dict) -> None:
        encoder = Encoder(self._refer)
        was_busy, self.busy = self.busy, True
        try:
            decoder = Decoder(self._resolve, buffers)
            function = self.objects[request["call"]]
            args, kwargs = decoder.decode(request["args"]), decoder.decode(request["kwargs"])
            helpers = {name: decoder.decode(helper) for name, helper in request.get("helpers", {}).items()}
            before = _prints((args, kwargs))
            with rebound(self.shell.user_ns, helpers):
                result = function(*args, **kwargs)
            reply = {"result": encoder.encode(result)}
            # What the function changed in place is changed outside too.
            if _prints((args, kwargs)) != before:
                reply["changed"] = encoder.encode((args, kwargs))
        except PeerGone:
            raise
        except CodecError as error:
            encoder.buffers.clear()
            reply = {"error": ["ValueError", f"the returned value can't be passed on: {error}", [], ""]}
        except BaseException as error:
            encoder.buffers.clear()
            reply = {"error": _about_error(error)}
        finally:
            self.busy = was_busy
        self.shell.recorder.flush()
        try:
            self.channel.send({**reply, **asked}, encoder.buffers)
        except CodecError as error:
            refused = ["ValueError", f"the returned value can't be passed on: {error}", [], ""]
            self.channel.send({"error": refused, **asked})

    def call_back(self, number: int, args: tuple, kwargs: dict) -> Any:
        """Call a function of the grader's from a student's function."""
        if self.depth >= _MAX_NESTED_CALLS:
            raise RecursionError("the student's function and the test's call each other too deeply")
        encoder = Encoder(self._refer)
        tree_args, tree_kwargs = encoder.encode(args), encoder.encode(kwargs)
        self.shell.recorder.flush()
        self.depth += 1
        self.waiting = True
        try:
            self.channel.send({"callback": number, "args": tree_args, "kwargs": tree_kwargs}, encoder.buffers)
            while True:
                reply, buffers = self.channel.receive()
                if "number" not in reply:
                    break
                self.waiting = False
                self.answer(reply, buffers)
                self.waiting = True
        finally:
            self.depth -= 1
            self.waiting = False
        if self.interrupted:
            self.interrupted = False
            raise KeyboardInterrupt
        if "error" in reply:
            raise RuntimeError(f"the course's function raised {reply['error']}")
        return Decoder(self._resolve, buffers).decode(reply["result"])


def _prints(value: Any) -> Any:
    """Something that differs when a plain value has been changed in place."""
    if isinstance(value, np.ndarray):
        return (value.dtype.str, value.shape, hash(value.tobytes())) if not value.dtype.hasobject else id(value)
    if isinstance(value, dict):
        return [(repr(key)[:200], _prints(item)) for key, item in value.items()]
    if isinstance(value, (list, tuple)):
        return [_prints(item) for item in value]
    if isinstance(value, np.random.Generator):
        return repr(value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return repr(value.get_state(legacy=False))
    if value is None or isinstance(value, (bool, int, float, complex, str, bytes)):
        return repr(value)
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, torch.Tensor):
        return (id(value), value._version)
    return id(value)


def _about(function: Any) -> dict:
    about: dict[str, Any] = {"name": str(getattr(function, "__name__", ""))[:200]}
    with contextlib.suppress(Exception):
        about["doc"] = str(inspect.getdoc(function) or "")[:10_000]
    with contextlib.suppress(Exception):
        about["source"] = inspect.getsource(function)[:200_000]
    with contextlib.suppress(Exception):
        parameters = inspect.signature(function).parameters.values()
        about["parameters"] = [
            [parameter.name, int(parameter.kind), parameter.default is not parameter.empty] for parameter in parameters
        ][:200]
    return about


def _about_error(error: BaseException) -> list:
    """Name, text, frames in the student's cells (label, line number, function, line), and the whole as text."""
    try:
        text = str(error)[:20_000]
    except BaseException:
        text = ""
    frames = []
    for frame in traceback.extract_tb(error.__traceback__)[-100:]:
        if frame.filename.startswith("<") or "ipython-input" in frame.filename:
            cell = re.match(r"<ipython-input-(\d+)-", frame.filename)
            label = f"Cell In[{cell[1]}]" if cell else frame.filename[:200]
            frames.append([label, frame.lineno or 0, frame.name[:200], (frame.line or "")[:500]])
    names = [kind.__name__ for kind in type(error).__mro__]
    return [type(error).__name__[:200], text, frames[-20:], names[:20]]


def main(connection: socket.socket, shell: NotebookShell, text_bytes: int) -> None:
    """Serve until the examiner is gone."""
    Server(Channel(connection), shell, text_bytes).serve()
