"""Run notebooks from top to bottom, as *Run All* does, and judge what they show: ``python run_all.py KIND FOLDER``.

KIND ``untouched``: nothing but sentences that name what isn't written. ``solved``: no error, no
warning, no long dump of numbers. Needs only nbclient, which comes with the front end.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

#: Longest time that one cell may take, in seconds, and the most lines that it may print.
CELL_TIMEOUT, MOST_LINES = 1800, 60


def run(path: Path, working_directory: Path | None = None) -> nbformat.NotebookNode:
    """The notebook in a file, executed in its own folder or in another one.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If the run ends early.
    """
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(working_directory or path.parent)}}
    NotebookClient(notebook, timeout=CELL_TIMEOUT, kernel_name="python3", resources=resources).execute()
    return notebook


def complaints(notebook: nbformat.NotebookNode, solved: bool) -> Iterator[str]:
    """What a student shouldn't see in a notebook that was run, a line each."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            name, text = cell.get("id", "?"), _text(output)
            if output.output_type == "error":
                sentence = len(output.traceback) == 1 and len(output.traceback[0].splitlines()) == 1
                if solved or output.ename != "NotImplementedError" or not sentence:
                    yield f"{name}: {output.ename}: {output.evalue}"
            elif output.get("name") == "stderr":
                yield f"{name}: on stderr: {text[:300]}"
            elif text.count("\n") > MOST_LINES:
                yield f"{name}: {text.count(chr(10))} lines"


def _text(output: nbformat.NotebookNode) -> str:
    return str(output.get("text") or output.get("data", {}).get("text/plain", ""))


def main() -> int:
    """Run all notebooks of a folder; the exit status is 1 if there is anything to complain about."""
    kind, folder = sys.argv[1], Path(sys.argv[2])
    wrong = 0
    for path in sorted(folder.glob("*.ipynb")):
        start = time.monotonic()
        try:
            found = list(complaints(run(path), kind == "solved"))
        except CellExecutionError as error:
            found = [f"ended early: {error.ename}: {error.evalue}"]
        print(f"{path.name}: {time.monotonic() - start:.0f} s, {len(found)} complaints", flush=True)
        print("".join(f"    {line}\n" for line in found), end="", flush=True)
        wrong += len(found)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
