"""What a student's process doesn't have, though the course has it: modules that hold right values.

They are imported in the warmed process after a *lean* copy of it has been forked, so that a process
forked from that copy has nothing of them in memory; :mod:`autograder.cage` hides their files.
What setup cells import of them, for the tests, is replaced by a shell without content.
"""

from __future__ import annotations

import contextlib
import glob
import importlib.abc
import importlib.machinery
import os
import sys
import types
from collections.abc import Iterable, Sequence
from typing import Any

#: The course's own package, of whose withheld modules there are shells.
_COURSE = "course_utils"


def _is_in(name: str, modules: Iterable[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def is_needed(withheld: Iterable[str], imported: Iterable[str]) -> bool:
    """Whether ``imported`` names one of the libraries that are withheld, for which no shell could stand."""
    libraries = [name for name in withheld if not _is_in(name, [_COURSE])]
    return any(_is_in(name, libraries) for name in imported)


def files_of(modules: Iterable[str]) -> list[str]:
    """The folders and files from which ``modules`` could be imported, wherever they are.

    Where some are, the folder of compiled modules is among them as a whole, and made if need be: another process may
    compile one at any time.
    """
    found: set[str] = set()
    for module in modules:
        *packages, last = module.split(".")
        for entry in sys.path:
            folder = os.path.join(entry, *packages)
            name = glob.escape(os.path.join(folder, last))
            own = [*glob.glob(name), *glob.glob(f"{name}.*")]
            if own:
                compiled = os.path.join(folder, "__pycache__")
                with contextlib.suppress(OSError):  # where we can't write, hardly anybody does
                    os.makedirs(compiled, exist_ok=True)
                found.update([*own, compiled] if os.path.isdir(compiled) else own)
    return sorted(map(os.path.abspath, found))


class Withholder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds withheld modules before anything else does, and loads none of them.

    Parameters
    ----------
    modules : sequence of str
        What is withheld, with all in it.

    Attributes
    ----------
    shells : tuple of str
        Modules of the course that can be imported in spite of it, without anything in them.
    """

    def __init__(self, modules: Sequence[str]) -> None:
        self.modules = tuple(modules)
        self.shells: tuple[str, ...] = ()

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """A spec with this loader, for a withheld module."""
        return importlib.machinery.ModuleSpec(name, self, is_package=True) if _is_in(name, self.modules) else None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Raise ModuleNotFoundError, except for a shell."""
        if not (_is_in(spec.name, [_COURSE]) and any(_is_in(shell, [spec.name]) for shell in self.shells)):
            raise ModuleNotFoundError(f"{spec.name} isn't in a student's process while grading", name=spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        """Make the module a shell: each of its names is a function that says so, and gives an empty dict."""

        def find(name: str) -> Any:
            if name.startswith("__"):
                raise AttributeError(name)

            def skipped(*_: Any, **__: Any) -> dict:
                print(f"{name} isn't run in this cell: while grading, the tests' cells alone run checks.")
                return {}

            skipped.__name__ = skipped.__qualname__ = name
            return skipped

        vars(module)["__getattr__"] = find
