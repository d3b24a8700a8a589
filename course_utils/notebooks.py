"""Find the assignment's notebooks by what they ask for, whatever their files are called and wherever they lie.

A front end gives a copy a name of its own (``Copy of 1_forward_check.ipynb``), or starts
the kernel in another folder than the notebook's; neither is a student's mistake.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from course_utils.questions import QUESTIONS

if TYPE_CHECKING:
    from nbformat import NotebookNode

#: File name of each notebook -> the functions that a student writes in it.
ASKED = {
    f"{notebook}.ipynb": tuple(name for one in QUESTIONS if one.notebook == notebook for name in one.asks)
    for notebook in dict.fromkeys(one.notebook for one in QUESTIONS)
}
#: Where Colab mounts Google Drive, and where on it a student's files may lie.
DRIVE = Path("/content/drive/MyDrive")
_FOLDERS_ON_DRIVE = ("two_layer_net", "Colab Notebooks", "Colab Notebooks/two_layer_net")

_DEFINITION = re.compile(r"^def (\w+)\(", flags=re.MULTILINE)


class NotebookError(Exception):
    """A notebook isn't there or can't be read; the text is one sentence that says why."""


def read(path: Path) -> NotebookNode:
    """The notebook in a file.

    Raises
    ------
    NotebookError
        If it can't be read as one.
    """
    import nbformat

    try:
        return nbformat.read(path, as_version=4)
    except OSError as error:
        raise NotebookError(f"{path.name} can't be read: {error.strerror}.") from None
    except Exception:  # a file that is no notebook meets nbformat with a dozen different exceptions
        raise NotebookError(f"{path.name} can't be read: it is not JSON in notebook format.") from None


def recognised(notebook: NotebookNode) -> str | None:
    """Which notebook of the assignment this is, by the functions that it defines: a key of :data:`ASKED`, or None.

    More than half of those that are asked for must be there; their text may be anything.
    """
    text = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    defined = set(_DEFINITION.findall(text))
    shares = {name: len(defined.intersection(asked)) / len(asked) for name, asked in ASKED.items()}
    best = max(shares, key=shares.__getitem__)
    return best if shares[best] > 0.5 else None


def folders() -> list[Path]:
    """Where a student's files may lie: beside the notebook, in the working directory, and where the kernel started."""
    shell = _shell()
    of_notebook = [
        os.environ.get("JPY_SESSION_NAME"),  # Jupyter Server
        getattr(shell, "user_ns", {}).get("__vsc_ipynb_file__"),  # VS Code
    ]
    places = [Path(path).parent for path in of_notebook if path and Path(path).is_absolute()]
    places += [Path.cwd(), Path(getattr(shell, "starting_dir", "."))]
    return list(dict.fromkeys(place.resolve() for place in places if place.is_dir()))


def find(name: str, among: list[Path] | None = None) -> Path:
    """The file of a notebook of the assignment.

    Parameters
    ----------
    name : str
        A key of :data:`ASKED`.
    among : list of Path, optional
        Folders to look in; :func:`folders` by default.

    Returns
    -------
    Path
        The file of that name if it is that notebook, else the newest file that is; if none
        is, the file of that name whatever it holds.

    Raises
    ------
    NotebookError
        If there is neither; the text says where it was looked for.
    """
    among = folders() if among is None else among
    named = [folder / name for folder in among if (folder / name).is_file()]
    others = [path for folder in among for path in folder.glob("*.ipynb") if path.name != name]
    copies = [path for path in others if Path(name).stem in path.stem]
    # The likely names first: a folder may hold hundreds of notebooks, on a slow drive.
    for group in (named, copies, [path for path in others if path not in copies]):
        found = [path for path in group if _holds(path, name)]
        if found:
            return max(found, key=lambda path: path.stat().st_mtime) if group is not named else found[0]
    if named:
        return named[0]
    looked = " or ".join(map(str, among))
    advice = " Mount Google Drive and run the first cell again." if _in_colab() and not DRIVE.is_dir() else ""
    raise NotebookError(f"No notebook with the functions of {name} is in {looked}.{advice}")


def _holds(path: Path, name: str) -> bool:
    try:
        return recognised(read(path)) == name
    except NotebookError:
        return False


def begin() -> None:
    """What a released notebook's first cell does.

    The working directory becomes, in Colab, the folder on Google Drive with the student's
    files, where Drive is mounted: what lies in Colab's own folder vanishes with the machine. And
    where a function isn't written yet, one sentence says so in place of a traceback.
    """
    shell = _shell()
    if hasattr(shell, "set_custom_exc"):
        shell.set_custom_exc((NotImplementedError,), _say_unwritten)
    if not _in_colab() or not DRIVE.is_dir():
        return
    folder = next(_with_notebooks(DRIVE / place for place in _FOLDERS_ON_DRIVE), DRIVE / _FOLDERS_ON_DRIVE[0])
    folder.mkdir(exist_ok=True)
    os.chdir(folder)
    print(f"Your files are kept in {folder}.")


def _say_unwritten(
    shell: Any, kind: type, error: NotImplementedError, trace: TracebackType, tb_offset: Any = None
) -> None:
    """Show an error of a function that isn't written as one sentence; IPython calls this for it."""
    if not hasattr(error, "_render_traceback_"):
        *_, (frame, _) = traceback.walk_tb(trace)
        # Where the error comes from another process, the innermost frame is a library's.
        name = frame.f_code.co_name if frame.f_globals.get("__name__") == "__main__" else "<module>"
        subject = "something in this cell" if name == "<module>" else name
        text = str(error) or f"{subject} isn't written yet."
        vars(error)["_render_traceback_"] = lambda: [f"NotImplementedError: {text}"]
    shell.showtraceback((kind, error, trace), tb_offset=tb_offset)


def _with_notebooks(places: Iterator[Path]) -> Iterator[Path]:
    for place in places:
        for name in ASKED:
            try:
                find(name, [place])
            except NotebookError:
                continue
            yield place
            break


def _in_colab() -> bool:
    return "google.colab" in sys.modules


def _shell() -> Any:
    """IPython's shell, or None outside a notebook."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return get_ipython()
