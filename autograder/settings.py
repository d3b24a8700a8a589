"""How to grade: nbgrader's configuration of it, and the values that every process is given."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from nbgrader.preprocessors import LimitOutput
from traitlets import Dict, Enum, Float, Integer, List, Unicode
from traitlets.config import Configurable

from autograder.cage import Limits
from autograder.zygote import WARM, WITHHELD


@dataclass(frozen=True)
class Settings:
    """How to grade.

    Attributes
    ----------
    isolation : str
        ``"cage"`` or ``"none"``.
    limits : Limits
    readable : tuple of str
        Files and folders that students' code may read besides the installation: data.
    environment : tuple of pairs
        Environment variables of the tests' process.
    warm : tuple of str
        Modules that are imported once for all submissions, as :data:`autograder.zygote.WARM`.
    withheld : tuple of str
        Modules that students' processes don't have, as :data:`autograder.zygote.WITHHELD`.
    max_lines, max_traceback : int
        As nbgrader's ``LimitOutput``.
    """

    isolation: str = "cage"
    limits: Limits = field(default_factory=Limits)
    readable: tuple[str, ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    warm: tuple[str, ...] = WARM
    withheld: tuple[str, ...] = WITHHELD
    max_lines: int = LimitOutput.max_lines.default_value
    max_traceback: int = LimitOutput.max_traceback.default_value


class CagedExecute(Configurable):
    """What ``nbgrader_config.py`` says about grading; ``nbgrader autograde`` and ``python -m autograder`` read it."""

    isolation = Enum(
        ["cage", "none"], "cage",
        help="'none' runs students' code with your rights; it is recorded with each grade.",
    ).tag(config=True)  # fmt: skip
    timeout = Float(Limits.cell_seconds, help="Seconds of processor time for one cell.").tag(config=True)
    notebook_timeout = Float(
        Limits.notebook_seconds, help="Seconds of processor time for all the cells of a notebook."
    ).tag(config=True)
    memory = Integer(Limits.memory, help="Bytes of memory for a student's code.").tag(config=True)
    scratch = Integer(Limits.scratch, help="Bytes of a student's scratch folder.").tag(config=True)
    processes = Integer(Limits.processes, help="Processes and threads of a student's code.").tag(config=True)
    output = Integer(Limits.output, help="Characters that are kept of a cell's text.").tag(config=True)
    warm = List(
        Unicode(), list(WARM), help="Modules that are imported once for all submissions; 'package.*' with all in it."
    ).tag(config=True)  # fmt: skip
    withheld = List(
        Unicode(), list(WITHHELD),
        help="Modules, with all in them, that students' code has neither in memory nor on disk; a library that a"
        " notebook's setup cells import is given to that notebook.",
    ).tag(config=True)  # fmt: skip
    readable = List(
        Unicode(), help="Files and folders that students' code may read besides Python's own: data."
    ).tag(config=True)  # fmt: skip
    environment = Dict(
        value_trait=Unicode(), key_trait=Unicode(), help="Environment variables for the tests' process."
    ).tag(config=True)  # fmt: skip

    def settings(self) -> Settings:
        """The configuration as :class:`Settings`."""
        limits = Limits(
            memory=self.memory, scratch=self.scratch, processes=self.processes, output=self.output,
            cell_seconds=self.timeout, notebook_seconds=self.notebook_timeout,
        )  # fmt: skip
        limiter = LimitOutput(parent=self.parent)
        return Settings(
            self.isolation, limits, tuple(map(os.path.abspath, self.readable)),
            tuple(sorted(self.environment.items())), tuple(self.warm), tuple(self.withheld),
            limiter.max_lines, limiter.max_traceback,
        )  # fmt: skip
