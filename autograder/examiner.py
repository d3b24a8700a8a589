"""Outside the cage: runs the grader's cells, with stand-ins for the student's functions.

One examiner is forked for each notebook, so that nothing of one submission reaches the
next. The cells tagged ``setup`` and the autograder tests run here, with their source from
the instructor's notebook; setup cells, and every other cell, run in the cage. Of a setup cell that
is tagged ``lent`` too, only the names that it binds stand in the cage, for functions that run here.
A name that a test uses and no grader's cell has bound is looked up in the cage: a plain value
crosses, and a function is represented by a :class:`StudentFunction`.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import inspect
import itertools
import json
import linecache
import os
import secrets
import socket
import sys
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from autograder.codec import Channel, CodecError, Decoder, Encoder, PeerGone, Reference
from autograder.outputs import DROPPED, as_output, clean_text, error_output
from autograder.shell import MAX_DISPLAYED, MAX_OUTPUTS, NotebookShell, output_size

_serial = itertools.count(1)
#: Characters of all outputs of a notebook together, as they are written.
_MAX_NOTEBOOK = 16 * 2**20
#: Errors that say that a cell took too much of something.
_EXCESSES = ("MemoryError", "RecursionError")
_MAX_SOURCE = 500_000  # characters; may grow twelvefold on the wire


class StudentError(Exception):
    """A student's function raised an exception that Python itself doesn't define."""


class StudentProcessEnded(BaseException):
    """The student's process ended, or was ended, in the middle of a cell.

    Not an Exception: the cell is over, whatever it catches.
    """


class Opaque:
    """Something that can't leave the student's process; it can be handed to another of their functions.

    Parameters
    ----------
    generation : int
        Counts the student's processes; an object ends with its process.
    number : int
        Names it there.
    type_name : str
    """

    def __init__(self, generation: int, number: int, type_name: str) -> None:
        self._generation = generation
        self._number = number
        self._type_name = type_name

    def __repr__(self) -> str:
        return f"<{self._type_name} in the student's process>"

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name.startswith("_repr_") or name.startswith("_ipython_"):
            raise AttributeError(name)
        raise AttributeError(
            f"a {self._type_name} stays in the student's process, so its {name} can't be read;"
            " a test can only hand it to another of the student's functions"
        )


class StudentFunction(Opaque):
    """Calls a student's function in the cage.

    Attributes
    ----------
    __student_source__ : str
        The text of its definition, from the notebook, among those of all that the notebook defines and imports.
    """

    def __init__(self, examiner: Examiner, number: int, type_name: str, name: str, about: dict) -> None:
        super().__init__(examiner.generation, number, type_name)
        self._examiner = examiner
        self.__name__ = self.__qualname__ = name
        self.__doc__ = clean_text(about.get("doc", "")) or None
        self.__student_source__ = clean_text(about.get("source", ""))
        with contextlib.suppress(Exception):
            self.__signature__ = inspect.Signature(
                [
                    inspect.Parameter(
                        str(parameter),
                        inspect._ParameterKind(kind),
                        default=... if default else inspect.Parameter.empty,
                    )
                    for parameter, kind, default in about["parameters"]
                ]
            )

    def __repr__(self) -> str:
        return f"<function {self.__name__} of the student>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._examiner.call(self, args, kwargs)

    def with_helpers(self, replacements: Mapping[str, Callable]) -> Callable:
        """The function with others under the global names that it calls: the grader's, or the student's own."""

        @functools.wraps(self)
        def helped(*args: Any, **kwargs: Any) -> Any:
            return self._examiner.call(self, args, kwargs, replacements)

        return helped

    def helpers(self, names: Iterable[str]) -> dict[str, Callable]:
        """Those of the student's functions ``names`` that are defined."""
        return {name: value for name, value in self._examiner.look_up(sorted(names)).items() if callable(value)}


class Examiner:
    """Runs the cells of one notebook.

    Parameters
    ----------
    worker : Channel
        To the watching worker: receives what begins and ends, and gives student processes.
    shell : NotebookShell
    job : dict
        ``cells`` (each with ``source``, ``runs`` in ``"cage"``, ``"grader"``, ``"both"`` or ``"lent"``,
        ``points``, ``order`` (of setup cells), ``done`` if an earlier examiner got that far and
        ``deadly`` if it ended the student's process), ``output`` (bytes of text).
    """

    def __init__(self, worker: Channel, shell: NotebookShell, job: dict) -> None:
        self.worker = worker
        self.shell = shell
        self.cells = job["cells"]
        self.text_bytes = job["output"]
        self.student: Channel | None = None
        self.refused = ""
        self.ran: list[int] = []  # cells that have run in the cage
        self.deadly: set[int] = set()
        self.borrowed: dict[str, Any] = {}
        self.reserved: set[str] = set()
        self.callbacks: list[Any] = []
        self.bound: dict[int, dict[str, Any]] = {}  # by lent cells
        self.lent: set[int] = set()  # the callbacks that the student's own cells may call
        self.source_of: dict[str, str] = {}
        self.total = 0
        self.generation = 0
        self._begin_outputs([])
        shell.record(self._keep_own, self.text_bytes)

    def run(self) -> None:
        """Run all the cells."""
        prepared = self._prepare()
        for index, cell in enumerate(self.cells):
            if cell["done"]:  # by an examiner before this one; its tests aren't repeated
                if cell["runs"] != "grader" and not cell["deadly"]:
                    self.ran.append(index)
                continue
            self._begin_outputs(prepared.get(index, []))
            self._tell(begin=index)
            try:
                if cell["runs"] == "grader":
                    self._run_test(index, cell)
                else:
                    self._run_in_cage(index, cell)
            except StudentProcessEnded as error:
                self._keep(error_output("StudentProcessEnded", str(error)))
            # As a buffer, since they may be larger than a header may be.
            ended = {"end": index, "excesses": self._excesses()}
            self.worker.send(ended, [memoryview(json.dumps(self.outputs).encode())])
        self._tell(done=True)

    def _tell(self, **event: Any) -> None:
        self.worker.send(event)

    # ---- outputs

    def _begin_outputs(self, outputs: list[dict]) -> None:
        """Begin a cell that has these outputs already."""
        self.outputs = outputs
        self.text = self.displayed = 0
        self.full = False

    def _keep(self, output: dict) -> None:
        last = self.outputs[-1] if self.outputs else {}
        if output["output_type"] == "stream" and last.get("output_type") == "stream" and last["name"] == output["name"]:
            last["text"] += output["text"]
        else:
            self.outputs.append(output)

    def _keep_own(self, output: dict) -> None:
        # nbgrader takes any text on stderr in a test cell for a failure, a mere warning too.
        if output.get("name") == "stderr":
            output["name"] = "stdout"
        self._keep(output)

    def _keep_students(self, raw: Any, *, in_test: bool) -> None:
        """Keep what a student's code puts out, as long as there is room for it in the cell and in the notebook."""
        if self.full:
            return
        output = as_output(raw)
        if output is None:
            return
        if in_test:
            # In a test cell, a result or an error would decide about points: only text is kept.
            if output["output_type"] != "stream":
                return
            output["name"] = "stdout"
        size = output_size(output)
        if output["output_type"] == "stream":
            self.text += len(output["text"])
        else:
            self.displayed += output_size(raw)  # what was sent, much of which may not be kept
        self.full = (
            self.text > self.text_bytes
            or self.displayed > MAX_DISPLAYED
            or self.total + size > _MAX_NOTEBOOK
            or len(self.outputs) >= MAX_OUTPUTS
        )
        if self.full:
            kept = output.get("text", "")[: self.text_bytes - self.text] if self.text > self.text_bytes else ""
            output = {"output_type": "stream", "name": "stdout", "text": f"{kept}\n{DROPPED}\n"}
            size = len(kept)
        self.total += size
        self._keep(output)

    def _excesses(self) -> list[str]:
        """What the cell took too much of, as ends of sentences."""
        raised = dict.fromkeys(output.get("ename") for output in self.outputs)
        return [f"raised {name}" for name in raised if name in _EXCESSES] + ["put out more than is kept"] * self.full

    # ---- the grader's cells

    def _prepare(self) -> dict[int, list[dict]]:
        """Run the setup cells, all of them and first, wherever a student has put them: index -> outputs.

        Otherwise a test above them would find the names of the checks unbound, and look for
        them among the student's.
        """
        outputs = {}
        setup = [(cell["order"], index) for index, cell in enumerate(self.cells)
                 if cell["runs"] in ("both", "lent")]  # fmt: skip
        for _, index in sorted(setup):
            self._begin_outputs([])
            source = self.cells[index]["source"]
            bound = _names_bound_by(ast.parse(self.shell.transform_cell(source)))
            self.reserved |= bound
            if not self.shell.run(source, index + 1):
                self._tell(setup_failed=index)
            if self.cells[index]["runs"] == "lent":
                names = self.shell.user_ns
                self.bound[index] = {name: names[name] for name in sorted(bound) if name in names}
            outputs[index] = self.outputs
        return outputs

    def _run_test(self, index: int, cell: dict) -> None:
        names = self.shell.user_ns
        self._borrow(cell["source"])
        self.shell.numbers_are_points = True
        self.shell.run(cell["source"], index + 1)
        if cell["points"] is not None:
            limit = float(cell["points"])
            for output in self.outputs:
                text = output.get("data", {}).get("text/plain", "")
                with contextlib.suppress(ValueError):
                    if output["output_type"] == "execute_result" and float(text) > limit:
                        output["data"] = {"text/plain": repr(limit)}
        # What the test has bound anew is the grader's from now on.
        self.borrowed = {name: value for name, value in self.borrowed.items() if names.get(name) is value}

    def _borrow(self, source: str) -> None:
        """Bind the names that a test uses and the grader's cells haven't bound."""
        names = self.shell.user_ns
        for name in self.borrowed:
            names.pop(name, None)
        self.borrowed = {}
        wanted = sorted(
            name for name in _names_in(self.shell.transform_cell(source))
            if name not in names and name not in self.reserved and not hasattr(builtins, name)
        )  # fmt: skip
        for name, value in self.look_up(wanted).items():
            names[name] = self.borrowed[name] = value

    def look_up(self, wanted: list[str]) -> dict[str, Any]:
        """What stands under these names in the cage: plain values, and representatives of functions."""
        values: dict[str, Any] = {}
        if not wanted:
            return values
        channel = self._student()
        try:
            asked = self._ask(channel, {"describe": wanted})
            reply, buffers = self._await_reply(channel, asked, "names")
            found = reply["names"]
            if not isinstance(found, dict):
                raise CodecError("the names are no dict")
            decoder = Decoder(self._resolve, buffers)
            for name in wanted:
                if name in found:
                    value = decoder.decode(found[name].get("value"))
                    if isinstance(value, StudentFunction):
                        about = found[name].get("about")
                        about = about if isinstance(about, dict) else {}
                        value = StudentFunction(self, value._number, value._type_name, name, about)
                        if name in self.source_of:
                            value.__student_source__ = "\n\n".join(dict.fromkeys(self.source_of.values()))
                    values[name] = value
        except (CodecError, AttributeError, TypeError) as error:
            self._violated(error)
        return values

    def call(
        self, function: StudentFunction, args: tuple, kwargs: dict, helpers: Mapping[str, Callable] | None = None
    ) -> Any:
        """Call a student's function in the cage; what it raises is raised here.

        ``helpers`` stand under the global names that it calls until it returns.
        """
        if function._generation != self.generation:
            raise StudentProcessEnded("the student's process ended, and with it this function")
        channel = self.student
        if channel is None:
            raise StudentProcessEnded("the student's process has ended")
        encoder = Encoder(self._refer)
        try:
            request = {"call": function._number, "args": encoder.encode(args), "kwargs": encoder.encode(kwargs)}
            lent = len(self.callbacks)
            if helpers:
                request["helpers"] = {name: encoder.encode(helper) for name, helper in helpers.items()}
        except CodecError as error:
            raise TypeError(f"a student's function can't be called with this: {error}") from None
        try:
            asked = self._ask(channel, request, encoder.buffers)
            while True:
                reply, buffers = self._await_reply(channel, asked, "result", "error", "callback")
                decoder = Decoder(self._resolve, buffers)
                if "callback" in reply:
                    self._answer_callback(channel, reply, decoder)
                elif "error" in reply:
                    self._raise(function.__name__, reply["error"])
                else:
                    result = decoder.decode(reply["result"])
                    if "changed" in reply:
                        _write_back((args, kwargs), decoder.decode(reply["changed"]))
                    return result
        except PeerGone:
            self._gone()
        except CodecError as error:
            self._violated(error)
        finally:
            if helpers:  # a student's function that kept one shall not answer another question with it
                self.callbacks[lent:] = [_returned] * (len(self.callbacks) - lent)

    def _refer(self, value: Any) -> Reference:
        if isinstance(value, Opaque):
            if value._generation != self.generation:
                raise StudentProcessEnded("the student's process ended, and with it an object that the test holds")
            return Reference(value._number, callable(value), value._type_name, mine=True)
        if callable(value):
            self.callbacks.append(value)
            return Reference(len(self.callbacks) - 1, True, "function", mine=False)
        raise CodecError(f"it holds a {type(value).__name__}, which is not a plain value")

    def _resolve(self, reference: Reference) -> Any:
        if reference.mine:
            if not 0 <= reference.number < len(self.callbacks):
                raise CodecError("a callback that was never given")
            return self.callbacks[reference.number]
        type_name = clean_text(reference.type_name)
        if reference.callable:
            return StudentFunction(self, reference.number, type_name, "function", {})
        return Opaque(self.generation, reference.number, type_name)

    def _answer_callback(
        self, channel: Channel, request: dict, decoder: Decoder, *, known: Container[int] | None = None
    ) -> None:
        """Call a function that the student's process was given; ``known`` are those that it may call now, or all."""
        encoder = Encoder(self._refer)
        try:
            number = request["callback"]
            if type(number) is not int or number not in (range(len(self.callbacks)) if known is None else known):
                raise CodecError("a callback that was never given")
            args, kwargs = decoder.decode(request["args"]), decoder.decode(request["kwargs"])
            result = self.callbacks[number](*args, **kwargs)
            reply = {"result": encoder.encode(result)}
        except (CodecError, PeerGone):
            raise
        except Exception as error:  # its text may name the test's values, so only its kind crosses
            encoder.buffers.clear()
            reply = {"error": type(error).__name__}
        channel.send(reply, encoder.buffers)

    def _raise(self, function_name: str, error: Any) -> None:
        try:
            name, text, frames, ancestors = error
            name, text = clean_text(name)[:200], clean_text(text)[:20_000]
            ancestors = [str(ancestor) for ancestor in ancestors]
            frames = [(clean_text(label)[:200], int(line), clean_text(function)[:200], clean_text(code)[:500])
                      for label, line, function, code in frames[-20:]]  # fmt: skip
        except Exception as malformed:
            raise CodecError("a malformed error") from malformed
        if name in ("KeyboardInterrupt", "SystemExit", "GeneratorExit"):
            raise StudentProcessEnded(self._why() or f"{function_name} raised {name}")
        # The nearest exception of Python's own among its ancestors, so that tests can catch it.
        kind: type[Exception] = StudentError
        for ancestor in [name, *ancestors]:
            found = getattr(builtins, ancestor, None)
            if isinstance(found, type) and issubclass(found, Exception):
                # In a test's map() or next(), StopIteration would pass for the end of the data.
                if found not in (Exception, StopIteration, StopAsyncIteration):
                    kind = found
                break
        try:
            if kind.__name__ == name:
                raised = kind(text)
            else:
                raised = type(name if name.isidentifier() else "StudentError", (kind,), {})(text)
        except Exception:  # some, like UnicodeDecodeError, want more than a text
            raised = StudentError(f"{name}: {text}")
        if frames:
            lines = [f"  {label}, line {line}, in {function}\n    {code}" for label, line, function, code in frames]
            raised.add_note("In the student's code:\n" + "\n".join(lines))
            _raise_at(raised, *frames[-1])
        raise raised

    # ---- the student's cells

    def _run_in_cage(self, index: int, cell: dict) -> None:
        if len(cell["source"]) > _MAX_SOURCE:
            self._keep(error_output("TooLong", f"not run: the cell has more than {_MAX_SOURCE} characters"))
            return
        channel = self._student()
        self._remember_sources(cell["source"])
        self.ran.append(index)
        setup = cell["runs"] == "both"
        try:
            for output in self._run_there(channel, index):
                if not setup or _is_error(output):
                    self._keep_students(output, in_test=False)
        except PeerGone:
            self.deadly.add(index)
            self._gone()
        except CodecError as error:
            self.deadly.add(index)
            self._violated(error)

    def _run_there(self, channel: Channel, index: int) -> Iterator[Any]:
        """Have a cell run in the student's process, which may call what was lent to it; yields what it puts out."""
        if index in self.bound:
            encoder, first = Encoder(self._refer), len(self.callbacks)
            asked = self._ask(channel, {"bind": encoder.encode(self.bound[index])}, encoder.buffers)
            self.lent |= set(range(first, len(self.callbacks)))
        else:
            asked = self._ask(channel, {"run": self.cells[index]["source"], "count": index + 1})
        while True:
            reply, buffers = channel.receive()
            if "output" in reply:
                yield reply["output"]
                continue
            _check_answer(reply, asked, "did", "callback")
            if "did" in reply:
                return
            self._answer_callback(channel, reply, Decoder(self._resolve, buffers), known=self.lent)

    def _remember_sources(self, source: str) -> None:
        """Note the text of what a cell defines and imports: from the notebook, which can't be forged later."""
        with contextlib.suppress(SyntaxError, ValueError, RecursionError):
            text = self.shell.transform_cell(source)
            lines = text.splitlines()
            for statement in ast.parse(text).body:
                first = min([statement, *getattr(statement, "decorator_list", [])], key=lambda node: node.lineno)
                own = "\n".join(lines[first.lineno - 1 : statement.end_lineno])
                named = isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
                for name in {statement.name} if named else _names_bound_by(statement):
                    self.source_of.pop(name, None)
                    if named or isinstance(statement, (ast.Import, ast.ImportFrom)) or _defines(statement):
                        self.source_of[name] = own

    def _ask(self, channel: Channel, request: dict, buffers: Sequence[memoryview] = ()) -> int:
        """Send a request; returns its number, which nobody could know before."""
        number = secrets.randbits(50)
        channel.send({**request, "number": number}, buffers)
        return number

    def _await_reply(self, channel: Channel, asked: int, *kinds: str) -> tuple[dict, list[bytearray]]:
        while True:
            try:
                reply, buffers = channel.receive()
            except PeerGone:
                self._gone()
            if "output" not in reply:
                _check_answer(reply, asked, *kinds)
                return reply, buffers
            self._keep_students(reply["output"], in_test=True)

    # ---- the student's process

    def _student(self) -> Channel:
        """The channel to a living student process; a new one runs again what had run in the old."""
        while self.student is None:
            if self.refused:
                raise StudentProcessEnded(self.refused)
            self._tell(need_student=True)
            reply, _ = self.worker.receive()
            if "refused" in reply:
                self.refused = str(reply["refused"])
                continue
            self.student = student = Channel(socket.socket(fileno=self.worker.receive_descriptor()))
            self.generation += 1
            self._replay(student)
        return self.student

    def _replay(self, student: Channel) -> None:
        for index in self.ran:
            if index in self.deadly:
                continue
            self._tell(replay=index)
            try:
                for _ in self._run_there(student, index):
                    pass
            except (PeerGone, CodecError):
                self.deadly.add(index)
                self._tell(gone=True)
                self.worker.receive()
                self.student = None
                return
        self._tell(replayed=True)

    def _why(self) -> str:
        self._tell(why=True)
        return str(self.worker.receive()[0]["cause"])

    def _gone(self) -> None:
        self.student = None
        self._tell(gone=True)
        raise StudentProcessEnded(str(self.worker.receive()[0]["cause"])) from None

    def _violated(self, error: Exception) -> None:
        """What arrived is no frame: the student's code writes to the wire itself. There is no way to go on."""
        self.student = None
        self._tell(gone=True, violation=str(error))
        raise StudentProcessEnded(str(self.worker.receive()[0]["cause"])) from None


def _returned(*_: Any, **__: Any) -> None:
    raise RuntimeError("it was lent for one call")


def _check_answer(reply: dict, asked: int, *kinds: str) -> None:
    """Answers that were sent before the question would be taken for those of later ones."""
    number = asked if "callback" in reply else reply.get("answers")
    if number != asked or not any(kind in reply for kind in kinds):
        raise CodecError("an answer to a question that wasn't asked")


def _is_error(raw: Any) -> bool:
    return isinstance(raw, dict) and raw.get("output_type") == "error"


def _defines(statement: ast.stmt) -> bool:
    """Whether it may give a name to a function or to a literal with several entries."""
    if not isinstance(statement, ast.Assign):
        return False
    kinds = (ast.Tuple, ast.List, ast.Dict, ast.Set, ast.Call, ast.Name, ast.Attribute)
    return isinstance(statement.value, kinds) or any(isinstance(node, ast.Lambda) for node in ast.walk(statement))


def _names_in(source: str) -> set[str]:
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return set()
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def _names_bound_by(tree: ast.AST) -> set[str]:
    """The names that a cell or a statement binds at its top level, and those within, which does no harm."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.alias):
            names.add((node.asname or node.name).split(".")[0])
    return names


def _raise_at(error: Exception, label: str, line: int, function: str, code: str) -> None:
    """Raise ``error`` from a frame that shows the student's line, as a traceback in one process would."""
    line = min(max(line, 1), 10_000)
    filename = f"<student {next(_serial)}>"
    lines = ["\n"] * (line - 1) + [code.strip() + "\n"]
    linecache.cache[filename] = (sum(map(len, lines)), None, lines, filename)
    body = compile("\n" * (line - 1) + "raise error", filename, "exec")
    exec(body.replace(co_name=function if function.isidentifier() else "student"), {"error": error})


def _write_back(old: Any, new: Any) -> None:
    """Make the changes that a function made to its arguments in the cage to the arguments here."""
    if isinstance(old, np.ndarray) and isinstance(new, np.ndarray):
        if old.shape == new.shape and old.dtype == new.dtype and old.flags.writeable:
            old[...] = new
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in [key for key in old if key not in new]:
            del old[key]
        for key, item in new.items():
            if key in old and _is_container(old[key]) and type(old[key]) is type(item):
                if isinstance(item, np.ndarray) and (old[key].shape, old[key].dtype) != (item.shape, item.dtype):
                    old[key] = item
                else:
                    _write_back(old[key], item)
            elif not isinstance(old.get(key), Opaque) and not callable(old.get(key)):
                old[key] = item
    elif isinstance(old, list) and isinstance(new, list):
        if len(old) == len(new):
            for index, (before, after) in enumerate(zip(old, new, strict=True)):
                if _is_container(before) and type(before) is type(after):
                    _write_back(before, after)
                elif not isinstance(before, Opaque) and not callable(before):
                    old[index] = after
        else:
            old[:] = new
    elif isinstance(old, tuple) and isinstance(new, tuple):
        for before, after in zip(old, new, strict=False):
            _write_back(before, after)
    elif isinstance(old, np.random.Generator) and isinstance(new, np.random.Generator):
        if type(old.bit_generator) is type(new.bit_generator):
            old.bit_generator.state = new.bit_generator.state
    elif isinstance(old, np.random.RandomState) and isinstance(new, np.random.RandomState):
        old.set_state(new.get_state())


def _is_container(value: Any) -> bool:
    return isinstance(value, (np.ndarray, dict, list, tuple, np.random.Generator, np.random.RandomState))


def main(connection: socket.socket, shell: NotebookShell) -> None:
    """Run the notebook that the worker sends."""
    worker = Channel(connection)
    try:
        _, (packed,) = worker.receive()
        job = json.loads(packed)
        os.chdir(job["folder"])
        os.environ.update(job["environment"])
        sys.path[:] = [entry for entry in sys.path if entry not in ("", job["folder"])]
        Examiner(worker, shell, job).run()
    except PeerGone:
        pass
