"""A progress bar where somebody watches, and none where outputs are stored or compared."""

from __future__ import annotations

import multiprocessing
import sys
from typing import Any

from tqdm.auto import tqdm


def progress(iterable: Any = None, **options: Any) -> tqdm:
    """``iterable`` with a progress bar that appears after a second and vanishes at the end.

    Parameters
    ----------
    iterable : iterable, optional
        What to loop over, e.g. ``range(num_iters)``.
    **options
        For ``tqdm.tqdm``: ``desc``, ``total``, ``unit``, ...

    Returns
    -------
    tqdm.tqdm
        Use it in place of ``iterable``. It stays silent in the worker processes of a
        parallel run, and in a notebook that is executed without a person at the keyboard.
    """
    defaults = {"leave": False, "delay": 1.0, "mininterval": 0.25, "disable": not watched()}
    return tqdm(iterable, **(defaults | options))


def watched() -> bool:
    """Whether a person sees what is printed: not in a worker process, nor where a notebook is executed unattended."""
    if multiprocessing.current_process().name != "MainProcess":
        return False
    kernel = _kernel()
    # A frontend with a person says that it can ask for input; nbclient, nbval and nbgrader say no.
    return sys.stderr.isatty() if kernel is None else getattr(kernel, "_allow_stdin", True)


def _kernel() -> Any:
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython

    return getattr(get_ipython(), "kernel", None)
