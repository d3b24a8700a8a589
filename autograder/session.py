"""Runs one notebook: gives its cells to an examiner, watches, and ends what must be ended."""

from __future__ import annotations

import ast
import contextlib
import json
import math
import os
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from IPython.core.inputtransformer2 import TransformerManager

from autograder import cage
from autograder.accounting import Tree
from autograder.cage import CageUnavailable, Limits, Walls
from autograder.codec import Channel, CodecError, PeerGone
from autograder.groups import Group
from autograder.outputs import error_output
from autograder.zygote import WARM, Zygote, trial

_TICK = 0.1
_BLOCK = 4096  # bytes that a file or a folder takes at least
_EXAMINER_MEMORY = 4 * 2**30
#: In place of what a trial finds, where a cage isn't asked for.
NO_CAGE = {"mode": "none", "layers": "none"}


@dataclass
class Cell:
    """A code cell to be run.

    Attributes
    ----------
    name : str
        For messages: the grade_id, or the number of the cell.
    source : str
    runs : str
        ``"cage"``, ``"grader"`` (a test), ``"both"`` (setup) or ``"lent"`` (setup whose names are lent to the cage).
    points : float, optional
        Of a test.
    order : int
        The setup cells run in this order.
    skipped : bool
        Whether it isn't run, and puts out nothing.
    """

    name: str
    source: str
    runs: str
    points: float | None = None
    order: int = 0
    skipped: bool = False


@dataclass
class Ran:
    """What running a notebook gave.

    Attributes
    ----------
    outputs : list
        For each cell a list of outputs in notebook format.
    trouble : list of str
        One sentence for each thing that had to be stopped.
    seconds : float
        On the clock.
    processor : float
        Seconds of processor time, to about a tenth of a second.
    """

    outputs: list[list[dict]]
    trouble: list[str] = field(default_factory=list)
    seconds: float = 0.0
    processor: float = 0.0


class _Student:
    """A student's process, seen from outside."""

    def __init__(self, channel: Channel, pid: int, tree: Tree, group: Group | None) -> None:
        self.channel = channel
        # A descriptor stays with the process, where a number may be another's later.
        self.handle = os.pidfd_open(pid)
        self.tree = tree
        self.group = group
        self.cause = ""

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, OSError):
            signal.pidfd_send_signal(self.handle, number)

    def end(self, cause: str = "") -> None:
        self.cause = self.cause or cause
        self.signal(signal.SIGKILL)
        if self.group is not None:
            self.group.kill()
        self.tree.kill()  # what is busy would leave no time for the process to end in

    def close(self) -> None:
        self.end()
        if self.group is not None:
            self.group.close()
        self.channel.close()
        os.close(self.handle)


@dataclass(frozen=True)
class _Moment:
    """A moment of a run: the time on the clock, and the processor time that it has taken, in seconds."""

    clock: float
    processor: float


class Grader:
    """Runs notebooks, one after the other, from one warmed process.

    Parameters
    ----------
    isolation : str
        ``"cage"`` or ``"none"``.
    limits : Limits, optional
    warm : sequence of str
        Modules that are imported once, as :data:`autograder.zygote.WARM`.
    lent : socket, optional
        What :meth:`autograder.zygote.Zygote.lend` gave: a process that has imported them already.
    found : dict, optional
        What :func:`autograder.zygote.trial` found, if it has been asked.

    Raises
    ------
    CageUnavailable
        If ``isolation`` is ``"cage"`` and this machine can't build it.
    """

    def __init__(
        self, isolation: str = "cage", limits: Limits | None = None, warm: Sequence[str] = WARM,
        lent: socket.socket | None = None, found: dict | None = None,
    ) -> None:  # fmt: skip
        self.limits = limits or Limits()
        self.zygote = Zygote(warm, lent)  # warms up while the cage is tried
        try:
            found = found or (trial() if isolation == "cage" else NO_CAGE)
        except CageUnavailable:
            self.zygote.close()
            raise
        self.mode, self.layers = found["mode"], found["layers"]

    def close(self) -> None:
        """End the warmed process."""
        self.zygote.close()

    def __enter__(self) -> Grader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(
        self, cells: list[Cell], files: dict[str, bytes], *, readable: Sequence[str] = (),
        environment: dict | None = None,
    ) -> Ran:  # fmt: skip
        """Run a notebook.

        Parameters
        ----------
        cells : list of Cell
        files : dict
            Relative path -> content of the submission's files.
        readable : list of str
            Files and folders that students' code may read, besides the installation: data.
        environment : dict, optional
            Environment variables for the grader's cells, which may name places that students
            needn't know.

        Raises
        ------
        PeerGone
            If the warmed process has ended, and with it all that was forked from it.
        """
        folder = cage.new_folder(files)
        try:
            walls = Walls(folder, [*self.zygote.readable, *map(os.path.abspath, readable)])
            return _Run(self, cells, walls, dict(environment or {})).run()
        finally:
            cage.remove_folder(folder)


def _imported(cells: list[Cell]) -> list[str]:
    """The modules that the setup cells name in imports, and what they import from those, which may be modules too."""
    names: set[str] = set()
    for cell in cells:
        if cell.runs == "both":
            with contextlib.suppress(SyntaxError):
                for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source))):
                    if isinstance(node, ast.Import):
                        names.update(alias.name for alias in node.names)
                    elif isinstance(node, ast.ImportFrom) and node.module:
                        names.update([node.module, *(f"{node.module}.{alias.name}" for alias in node.names)])
    return sorted(names)


def _named_by_tests(cells: list[Cell], outputs: list[list[dict]]) -> list[str]:
    """The sentences that the grader's own cells name as trouble, in the metadata of what they display."""
    shown = [output for cell, kept in zip(cells, outputs, strict=True) if cell.runs == "grader" for output in kept]
    named = [output.get("metadata", {}).get("two_layer_net", {}).get("trouble") for output in shown]
    return [sentence for sentence in named if sentence]


class _Run:
    """One notebook's run: the state of the watch."""

    def __init__(self, grader: Grader, cells: list[Cell], walls: Walls, environment: dict) -> None:
        self.grader = grader
        self.limits = grader.limits
        self.cells = cells
        self.walls = walls
        self.environment = environment
        self.outputs: list[list[dict] | None] = [[] if cell.skipped else None for cell in cells]
        self.trouble: list[str] = []
        self.student: _Student | None = None
        self.students = 0
        self.deadly = {index for index, cell in enumerate(cells) if cell.skipped}  # so it isn't repeated either
        self.current = -1
        self.replaying = False
        self.examiners_tree: Tree | None = None
        self.finished = 0.0  # processor time of the trees that there were before
        self.begun = self.start = _Moment(time.monotonic(), 0.0)
        self.warned = 0  # 1: interrupted, 2: ended, 3: the examiner too
        self.warned_at = 0.0
        self.excess = ""  # of the current cell, as the end of a sentence

    def run(self) -> Ran:
        examiners = 0
        try:
            while None in self.outputs:
                if examiners > self.limits.restarts or self._excess(self.limits.notebook_seconds, self.start):
                    break
                examiners += 1
                self._examine()
        finally:
            self._drop_student()
        outputs = [kept for kept in self.outputs if kept is not None]
        if len(outputs) < len(self.cells):
            excess = self._excess(self.limits.notebook_seconds, self.start)
            cause = f"the notebook took {excess}" if excess else "the tests' process ended again and again"
            text = f"not run: {cause}"
            outputs = [[error_output("NotRun", text)] if kept is None else kept for kept in self.outputs]
            self.trouble.append(f"not all of the notebook was run: {cause}")
        self.trouble += _named_by_tests(self.cells, outputs)
        seconds = time.monotonic() - self.start.clock
        return Ran(outputs, list(dict.fromkeys(self.trouble)), seconds, self.finished)

    def _now(self) -> _Moment:
        trees = [self.examiners_tree, self.student.tree if self.student else None]
        return _Moment(time.monotonic(), self.finished + sum(tree.seconds for tree in trees if tree is not None))

    def _excess(self, seconds: float, since: _Moment) -> str:
        """What was taken since a moment, if that is more than ``seconds`` allow; a part of a sentence, else empty."""
        now = self._now()
        if now.processor - since.processor > seconds:
            return f"more than {seconds:g} s of processor time"
        if now.clock - since.clock > seconds * self.limits.patience:
            return f"longer than {seconds * self.limits.patience:g} s"
        return ""

    def _label(self, index: int) -> str:
        return f"cell {self.cells[index].name}" if 0 <= index < len(self.cells) else "a cell"

    def _examine(self) -> None:
        """Have one examiner run the cells that are left; it may not reach the last."""
        cells = [
            {
                "source": cell.source, "runs": cell.runs, "points": cell.points, "order": cell.order,
                "done": self.outputs[index] is not None, "deadly": index in self.deadly,
            }
            for index, cell in enumerate(self.cells)
        ]  # fmt: skip
        self.examiner, examiner_pid = self.grader.zygote.fork(role="examiner", memory=_EXAMINER_MEMORY)
        handle = os.pidfd_open(examiner_pid)
        self.examiners_tree = tree = Tree(examiner_pid, self.limits.open_files)
        self._begin(replaying=True)
        try:
            job = {
                "cells": cells, "output": self.limits.output, "environment": self.environment,
                "folder": os.path.join(self.walls.folder, "files"),
            }  # fmt: skip
            self.examiner.send({}, [memoryview(json.dumps(job).encode())])
            watched = time.monotonic()
            while True:
                event = None
                with contextlib.suppress(TimeoutError):
                    event, buffers = self.examiner.receive(timeout=_TICK)
                if time.monotonic() - watched >= _TICK:
                    self._watch(handle, tree)
                    watched = time.monotonic()
                if event is not None and self._answer(event, buffers):
                    return
        except (PeerGone, CodecError):
            if not self.grader.zygote.alive():
                raise PeerGone from None  # and with it everything that it had forked
            # The examiner is gone: ended for the time that a test took, or for memory.
            if 0 <= self.current < len(self.cells) and self.outputs[self.current] is None:
                cause = f"{self.excess} and was ended" if self.warned else "ended the tests' process"
                self.outputs[self.current] = [error_output("Ended", f"the cell {cause}")]
                self.trouble.append(f"{self._label(self.current)} {cause}")
                if self.cells[self.current].runs != "grader":
                    self.deadly.add(self.current)
        finally:
            tree.look()
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
            self.examiner.close()
            self._drop_student()
            self.finished += tree.seconds
            self.examiners_tree = None

    def _begin(self, *, replaying: bool) -> None:
        self.begun, self.warned, self.replaying = self._now(), 0, replaying

    def _answer(self, event: dict, buffers: list[bytearray]) -> bool:
        """Do what the examiner's event asks for; True if it was the last."""
        if "begin" in event:
            self.current = event["begin"]
            self._begin(replaying=False)
        elif "replay" in event:
            self.current_replay = event["replay"]
            self._begin(replaying=True)
        elif "replayed" in event:
            self._begin(replaying=False)
        elif "setup_failed" in event:
            self.trouble.append(f"the setup {self._label(event['setup_failed'])} failed in the grader's process")
        elif "end" in event:
            self.outputs[event["end"]] = json.loads(buffers[0])
            self.trouble += [f"{self._label(event['end'])} {excess}" for excess in event["excesses"]]
        elif "why" in event:
            self.examiner.send({"cause": self._interruption() if self.warned else ""})
        elif "gone" in event:
            self.examiner.send({"cause": self._students_end(event.get("violation"))})
        elif "need_student" in event:
            self._give_student()
        elif "done" in event and self.student is not None:
            self.student.tree.look()
            if self.student.tree.has_left_processes():
                self.trouble.append("processes that had been left running were ended")
        return "done" in event

    def _interruption(self) -> str:
        return f"{self.excess} and was interrupted"

    def _too_much_memory(self) -> str:
        return f"took more than {self.limits.memory // 2**20} MiB of memory and was ended"

    def _students_end(self, violation: str | None) -> str:
        """Why the student's process has ended, as the end of a sentence; noted as trouble."""
        cause = self.student.cause if self.student else ""
        if self.student and self.student.group and self.student.group.ran_out_of_memory():
            cause = cause or self._too_much_memory()
        if violation:
            cause = f"wrote to the connection with the grader ({violation}) and was ended"
        if not cause:
            cause = "ended the student's process"
        self._drop_student()
        index = self.current
        if self.replaying:
            index = self.current_replay
            self.deadly.add(index)
        elif index >= 0 and self.cells[index].runs != "grader":
            self.deadly.add(index)
        self.trouble.append(f"{self._label(index)} {cause}")
        return cause

    def _give_student(self) -> None:
        if self.students > self.limits.restarts:
            self.examiner.send({"refused": f"not run: the student's process had to be ended {self.students} times"})
            return
        self._drop_student()
        self.students += 1
        if self.grader.mode == "landlock":  # with namespaces each process has a scratch folder of its own
            scratch = os.path.join(self.walls.folder, "scratch")
            cage.remove_folder(scratch)
            os.mkdir(scratch, 0o755)
        channel, keeper = self.grader.zygote.fork(
            role="student", mode=self.grader.mode, limits=self.limits.as_json(),
            folder=self.walls.folder, readable=self.walls.readable, imports=_imported(self.cells),
        )  # fmt: skip
        try:
            announced, _ = channel.receive(timeout=30)
            if "pid" not in announced:
                raise CageUnavailable(f"The cage could not be built: {announced.get('failed')}")
            answer, _ = channel.receive(timeout=30)
            if "ready" not in answer:
                raise CageUnavailable(f"The cage could not be built: {answer.get('failed')}")
            tree = Tree(keeper, self.limits.open_files)
            self.student = _Student(channel, announced["pid"], tree, self._group(announced["pid"], tree.base))
        except (PeerGone, TimeoutError, CodecError, ProcessLookupError) as error:
            raise CageUnavailable("The cage could not be built: its process ended.") from error
        self.examiner.send_with_descriptor({"student": True}, channel.connection.fileno())

    def _group(self, pid: int, base: int) -> Group | None:
        """A control group for the student's process, which hasn't run any of the student's code yet."""
        if not self.grader.zygote.groups:
            return None
        memory = self.limits.memory + self.limits.scratch + base
        try:
            return Group(self.grader.zygote.groups, pid, memory=memory, processes=self.limits.processes)
        except ProcessLookupError:
            raise
        except OSError as error:
            raise CageUnavailable(f"A control group that systemd gave can't be used any more ({error}).") from error

    def _drop_student(self) -> None:
        if self.student is not None:
            self.student.tree.look()
            self.finished += self.student.tree.seconds
            self.student.close()
            self.student = None

    def _scratch(self, student: _Student) -> float:
        """Bytes in the scratch folder, and in deleted files that are still open; infinite where it can't be told."""
        total: float = student.tree.deleted_files()

        def unreadable(error: OSError) -> None:
            nonlocal total
            if not isinstance(error, FileNotFoundError):  # deeper than a path can be long, say
                total = math.inf

        for folder, folders, names in os.walk(os.path.join(self.walls.folder, "scratch"), onerror=unreadable):
            total += _BLOCK * len(folders)
            for name in names:
                with contextlib.suppress(OSError):
                    total += max(os.lstat(os.path.join(folder, name)).st_blocks * 512, _BLOCK)
            if total > self.limits.scratch:
                break
        return total

    def _watch(self, examiner: int, tree: Tree) -> None:
        """Called every tenth of a second."""
        student = self.student
        tree.look()
        if student is not None:
            student.tree.look()
            if student.tree.exceeds(self.limits.memory):
                student.end(self._too_much_memory())
            # With namespaces the scratch folder is a file system of its own, with a size.
            if self.grader.mode == "landlock" and self._scratch(student) > self.limits.scratch:
                student.end(f"wrote more than {self.limits.scratch // 2**20} MiB of files and was ended")
        if self.warned == 0:
            if excess := self._excess(self.limits.cell_seconds, self.begun):
                self.excess = f"took {excess}"
            elif excess := self._excess(self.limits.notebook_seconds, self.start):
                self.excess = f"was running when the notebook had taken {excess},"
            if excess:
                self.warned, self.warned_at = 1, time.monotonic()
                if student is not None:
                    student.signal(signal.SIGINT)
                    if not self.replaying:
                        self.trouble.append(f"{self._label(self.current)} {self._interruption()}")
            return
        late, grace = time.monotonic() - self.warned_at, self.limits.grace_seconds
        if self.warned == 1 and late > grace:
            self.warned = 2
            if student is not None:
                student.end("took too long, ignored the interrupt and was ended")
        elif self.warned == 2 and late > 2 * grace:
            self.warned = 3
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(examiner, signal.SIGKILL)
