"""Under which names a student's files are kept where a web server gives them to whoever looks at a page."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePosixPath

from autograder.submission import shown

#: What browsers show as text or as a picture, or save: nothing in such a file runs.
SHOWN = frozenset({".csv", ".gif", ".jpeg", ".jpg", ".json", ".md", ".npy", ".npz", ".png", ".pt", ".txt"})
_MOST_NAMED = 20


def kept_names(names: Iterable[str]) -> dict[str, str]:
    """The name under which each file of a submission is kept.

    Formgrader gives the files in ``autograded/`` to a browser on the origin of Jupyter itself, by the type that the
    last part of the name says; a page or a drawing there could do all that the instructor can. Jupyter's and
    nbgrader's own programs run a configuration file, if they are told to look beside it. So what isn't known
    to be harmless is kept as text.

    Parameters
    ----------
    names : iterable of str
        Relative paths.

    Returns
    -------
    dict
        Each name -> the same, if it ends as one of :data:`SHOWN` does, else with ``.txt`` behind it. Notebooks are
        left out: those that were graded are written anew.
    """
    names = [name for name in names if not name.endswith(".ipynb")]
    taken = {name.lower() for name in names}
    kept = {}
    for name in names:
        new = name
        if PurePosixPath(name).suffix.lower() not in SHOWN or name.lower().endswith("_config.json"):
            while new.lower() in taken:
                new += ".txt"
            taken.add(new.lower())
        kept[name] = new
    return kept


def renamed(kept: dict[str, str]) -> list[str]:
    """A sentence for each of the first files that :func:`kept_names` gives another name."""
    return [f"{shown(name)} was kept as {shown(new)}" for name, new in kept.items() if name != new][:_MOST_NAMED]
