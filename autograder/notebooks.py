"""Execute the source notebooks and store their outputs, without what differs between machines.

``python -m autograder.notebooks [NOTEBOOK ...]``: all of ``notebooks/two_layer_net`` by default.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from nbformat import NotebookNode

#: Folder of the source notebooks.
SOURCE = Path(__file__).resolve().parent.parent / "notebooks" / "two_layer_net"
#: Longest time that one cell may take, in seconds.
CELL_TIMEOUT = 7200
#: What a cell's metadata keeps; timestamps and an editor's settings are noise.
_CELL_METADATA = {"nbgrader", "tags", "deletable", "editable"}


def execute(path: Path) -> None:
    """Execute the notebook in place, in its own folder.

    Raises
    ------
    nbclient.exceptions.CellExecutionError
        If a cell fails; the file is then left as it was.
    """
    notebook = nbformat.read(path, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(path.parent)}},
    )
    client.execute()
    nbformat.write(without_noise(notebook), path)


def without_noise(notebook: NotebookNode) -> NotebookNode:
    """Remove what an execution leaves in a notebook besides its outputs; changes and returns it."""
    notebook.metadata = NotebookNode(
        kernelspec={"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        language_info={"name": "python"},
    )
    for number, cell in enumerate(notebook.cells):
        grade_id = cell.metadata.get("nbgrader", {}).get("grade_id")
        cell.id = grade_id or f"cell-{number}"
        for key in set(cell.metadata) - _CELL_METADATA:
            del cell.metadata[key]
    return notebook


def main() -> int:
    """Execute what the command line names; the exit status is 1 if a notebook failed."""
    parser = argparse.ArgumentParser(prog="python -m autograder.notebooks", description=__doc__.splitlines()[0])
    parser.add_argument("notebook", nargs="*", type=Path, help="default: every source notebook")
    failed = False
    for path in parser.parse_args().notebook or sorted(SOURCE.glob("*.ipynb")):
        print(path.name, file=sys.stderr, flush=True)
        try:
            execute(path)
        except (CellExecutionError, FileNotFoundError, nbformat.reader.NotJSONError) as error:
            print(f"{path.name} was left as it was: {error}", file=sys.stderr)
            failed = True
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
