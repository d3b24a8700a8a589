"""Runs one notebook: gives its cells to an examiner, watches, and ends what must be ended."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from autograder import cage
from autograder.cage import CageUnavailable, Limits, Walls
from autograder.codec import Channel, CodecError, PeerGone
from autograder.outputs import error_output
from autograder.zygote import WARM, Zygote, trial

_TICK = 0.1
_EXAMINER_MEMORY = 4 * 2**30


@dataclass
class Cell:
    """A code cell to be run.

    Attributes
    ----------
    name : str
        For messages: the grade_id, or the number of the cell.
    source : str
    runs : str
        ``"cage"``, ``"grader"`` (a test) or ``"both"`` (setup).
    points : float, optional
        Of a test.
    order : int
        The setup cells run in this order.
    """

    name: str
    source: str
    runs: str
    points: float | None = None
    order: int = 0


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
    """

    outputs: list[list[dict]]
    trouble: list[str] = field(default_factory=list)
    seconds: float = 0.0


class _Student:
    """A student's process, seen from outside."""

    def __init__(self, channel: Channel, keeper: int, pid: int) -> None:
        self.channel = channel
        self.keeper = keeper
        self.pid = pid
        # A descriptor stays with the process, where a number may be another's later.
        self.handle = os.pidfd_open(pid)
        self.base = self._own_memory(pid)
        self.cause = ""

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError, OSError):
            signal.pidfd_send_signal(self.handle, number)

    def end(self, cause: str = "") -> None:
        self.cause = self.cause or cause
        self.signal(signal.SIGKILL)

    def close(self) -> None:
        self.end()
        self.channel.close()
        os.close(self.handle)

    @staticmethod
    def _own_memory(pid: int) -> int:
        """Bytes of memory of its own, shared memory included."""
        total = 0
        with contextlib.suppress(OSError), open(f"/proc/{pid}/status") as file:
            for line in file:
                if line.startswith(("RssAnon:", "RssShmem:", "VmSwap:")):
                    total += int(line.split()[1]) * 1024
        return total

    def memory(self) -> int:
        """Bytes that the process and all its children have taken since the start."""
        total, waiting, seen = 0, _children(self.keeper), 0  # the process, and those whose parent has ended
        while waiting and seen < 1000:
            pid = waiting.pop()
            seen += 1
            total += max(0, self._own_memory(pid) - self.base)
            waiting += _children(pid)
        return total

    def has_processes(self) -> bool:
        """Whether it has started processes that still run; those whose parent has ended are the keeper's."""
        return any(pid != self.pid and _runs(pid) for pid in [*_children(self.pid), *_children(self.keeper)])


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(number) for number in file.read().split()]
    return found


def _runs(pid: int) -> bool:
    """Whether a process has not ended; one that nobody has waited for is a zombie."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] not in "ZX"
    return False


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

    Raises
    ------
    CageUnavailable
        If ``isolation`` is ``"cage"`` and this machine can't build it.
    """

    def __init__(
        self, isolation: str = "cage", limits: Limits | None = None, warm: Sequence[str] = WARM,
        lent: socket.socket | None = None,
    ) -> None:  # fmt: skip
        self.limits = limits or Limits()
        self.zygote = Zygote(warm, lent)  # warms up while the cage is tried
        try:
            found = trial() if isolation == "cage" else {"mode": "none", "layers": "none"}
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
        self, cells: list[Cell], files: dict[str, bytes], *, readable: list[str] = (), environment: dict | None = None
    ) -> Ran:
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
        """
        if not self.zygote.alive():
            self.zygote.close()
            self.zygote = Zygote(self.zygote.warm)
        folder = cage.new_folder(files)
        try:
            walls = Walls(folder, [*self.zygote.readable, *map(os.path.abspath, readable)])
            return _Run(self, cells, walls, dict(environment or {})).run()
        finally:
            shutil.rmtree(folder, ignore_errors=True)


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
        self.outputs: list[list[dict] | None] = [None] * len(cells)
        self.trouble: list[str] = []
        self.student: _Student | None = None
        self.students = 0
        self.deadly: set[int] = set()
        self.current = -1
        self.replaying = False
        self.begun = self.start = time.monotonic()
        self.warned = 0  # 1: interrupted, 2: ended, 3: the examiner too

    def run(self) -> Ran:
        examiners = 0
        try:
            while None in self.outputs:
                if examiners > self.limits.restarts or self._time_left() <= 0:
                    break
                examiners += 1
                self._examine()
        finally:
            self._drop_student()
        for index, outputs in enumerate(self.outputs):
            if outputs is None:
                text = f"not run: the notebook took longer than {self.limits.notebook_seconds:g} s"
                self.outputs[index] = [error_output("NotRun", text)]
        if any(output.get("ename") == "NotRun" for outputs in self.outputs for output in outputs):
            self.trouble.append(f"the notebook took longer than {self.limits.notebook_seconds:g} s and was ended")
        self.trouble += _named_by_tests(self.cells, self.outputs)
        return Ran(self.outputs, list(dict.fromkeys(self.trouble)), time.monotonic() - self.start)

    def _time_left(self) -> float:
        return self.limits.notebook_seconds - (time.monotonic() - self.start)

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
        self.begun, self.warned, self.replaying = time.monotonic(), 0, True
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
                    self._watch(handle)
                    watched = time.monotonic()
                if event is not None and self._answer(event, buffers):
                    return
        except (PeerGone, CodecError):
            # The examiner is gone: ended for the time a test took, or for memory.
            if 0 <= self.current < len(self.cells) and self.outputs[self.current] is None:
                cause = f"the test took longer than {self.limits.cell_seconds:g} s" if self.warned else "the test ended"
                self.outputs[self.current] = [error_output("TestEnded", cause)]
                self.trouble.append(f"{self._label(self.current)}: {cause}")
                if self.cells[self.current].runs != "grader":
                    self.deadly.add(self.current)
        finally:
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
            os.close(handle)
            self.examiner.close()
            self._drop_student()

    def _answer(self, event: dict, buffers: list[bytearray]) -> bool:
        """Do what the examiner's event asks for; True if it was the last."""
        if "begin" in event:
            self.current, self.replaying = event["begin"], False
            self.begun, self.warned = time.monotonic(), 0
        elif "replay" in event:
            self.replaying = True
            self.begun, self.warned = time.monotonic(), 0
            self.current_replay = event["replay"]
        elif "replayed" in event:
            self.replaying = False
            self.begun, self.warned = time.monotonic(), 0
        elif "setup_failed" in event:
            self.trouble.append(f"the setup {self._label(event['setup_failed'])} failed in the grader's process")
        elif "end" in event:
            self.outputs[event["end"]] = json.loads(buffers[0])
        elif "why" in event:
            self.examiner.send({"cause": self._interruption() if self.warned else ""})
        elif "gone" in event:
            self.examiner.send({"cause": self._students_end(event.get("violation"))})
        elif "need_student" in event:
            self._give_student()
        elif "done" in event and self.student is not None and self.student.has_processes():
            self.trouble.append("processes that had been left running were ended")
        return "done" in event

    def _interruption(self) -> str:
        left = self.limits.notebook_seconds - (self.begun - self.start)
        if left < self.limits.cell_seconds:
            return f"was interrupted when the notebook's {self.limits.notebook_seconds:g} s were over"
        return f"took longer than {self.limits.cell_seconds:g} s and was interrupted"

    def _students_end(self, violation: str | None) -> str:
        """Why the student's process has ended, as the end of a sentence; noted as trouble."""
        cause = self.student.cause if self.student else ""
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
            shutil.rmtree(scratch, ignore_errors=True)
            os.mkdir(scratch, 0o755)
        channel, keeper = self.grader.zygote.fork(
            role="student", mode=self.grader.mode, limits=self.limits.as_json(),
            folder=self.walls.folder, readable=self.walls.readable,
        )  # fmt: skip
        try:
            announced, _ = channel.receive(timeout=30)
            if "pid" not in announced:
                raise CageUnavailable(f"The cage could not be built: {announced.get('failed')}")
            self.student = _Student(channel, keeper, announced["pid"])
            answer, _ = channel.receive(timeout=30)
            if "ready" not in answer:
                raise CageUnavailable(f"The cage could not be built: {answer.get('failed')}")
        except (PeerGone, TimeoutError, CodecError, ProcessLookupError) as error:
            raise CageUnavailable("The cage could not be built: its process ended.") from error
        self.examiner.send_with_descriptor({"student": True}, channel.connection.fileno())

    def _drop_student(self) -> None:
        if self.student is not None:
            self.student.close()
            self.student = None

    def _scratch(self) -> int:
        """Bytes in the scratch folder; a file takes a block at least."""
        total = 0
        for folder, _, names in os.walk(os.path.join(self.walls.folder, "scratch")):
            for name in names:
                with contextlib.suppress(OSError):
                    total += max(os.lstat(os.path.join(folder, name)).st_blocks * 512, 4096)
            if total > self.limits.scratch:
                break
        return total

    def _watch(self, examiner: int) -> None:
        """Called every tenth of a second."""
        now = time.monotonic()
        student = self.student
        if student is not None and student.memory() > self.limits.memory:
            student.end(f"took more than {self.limits.memory // 2**20} MiB of memory and was ended")
        # With namespaces the scratch folder is a file system of its own, with a size.
        if student is not None and self.grader.mode == "landlock" and self._scratch() > self.limits.scratch:
            student.end(f"wrote more than {self.limits.scratch // 2**20} MiB of files and was ended")
        limit = min(self.limits.cell_seconds, self.limits.notebook_seconds - (self.begun - self.start))
        late = now - self.begun - max(limit, 0)
        if late <= 0:
            return
        grace = self.limits.grace_seconds
        if self.warned == 0:
            self.warned = 1
            if student is not None:
                student.signal(signal.SIGINT)
                if not self.replaying:
                    self.trouble.append(f"{self._label(self.current)} {self._interruption()}")
        elif self.warned == 1 and late > grace:
            self.warned = 2
            if student is not None:
                student.end("took too long, ignored the interrupt and was ended")
        elif self.warned == 2 and late > 2 * grace:
            self.warned = 3
            with contextlib.suppress(OSError):
                signal.pidfd_send_signal(examiner, signal.SIGKILL)
