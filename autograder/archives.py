"""Takes zip archives apart that somebody else has made.

Nothing that an archive says is believed: what counts are the bytes that come out of it. A name can't leave the
folder, links and special files stay in the archive, and number, size, depth and nesting are bounded. What is left out
gets a sentence; the rest is taken.
"""

from __future__ import annotations

import io
import stat
import struct
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import BinaryIO, NamedTuple

from autograder.submission import MAX_BYTES, MAX_FILES, without_common_folder
from autograder.tables import UnusableFile, shown

#: Bounds on a platform's archive: entries, and the bytes of a student's archive's list of entries.
MAX_ENTRIES = 200_000
MAX_DIRECTORY = 2_000_000
_MAX_DEPTH = 12
_MAX_NAME = 200
#: How deep archives may lie in archives.
MAX_NESTING = 3
_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
#: What macOS and Windows put in by themselves.
_LITTER = {"__MACOSX", ".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__pycache__"}
_END, _END64 = b"PK\x05\x06", b"PK\x06\x07"


class Entry(NamedTuple):
    """A file in an archive.

    Attributes
    ----------
    path : str
        A relative path that stays inside a folder.
    info : ZipInfo
    """

    path: str
    info: zipfile.ZipInfo


class Budget:
    """What may still be taken for one student."""

    def __init__(self, files: int = MAX_FILES, size: int = MAX_BYTES) -> None:
        self.files = files
        self.size = size


def open_archive(source: str | BinaryIO, name: str) -> zipfile.ZipFile:
    """Open an archive.

    Raises
    ------
    UnusableFile
        If it is none, is damaged or has too many entries.
    """
    try:
        archive = zipfile.ZipFile(source)
    except OSError as error:
        raise UnusableFile(f"{name} can't be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, UnicodeDecodeError):
        raise UnusableFile(f"{name} is not a zip archive, or is damaged; download it again.") from None
    if len(archive.infolist()) > MAX_ENTRIES:
        archive.close()
        raise UnusableFile(f"{name} has more than {MAX_ENTRIES:,} entries; download it in parts.")
    return archive


def entries(archive: zipfile.ZipFile) -> Iterator[Entry | str]:
    """The files of an archive, and a sentence for each entry that can't be taken."""
    for info in archive.infolist():
        name = info.filename.replace("\\", "/")
        if name.endswith("/") or _LITTER & set(name.split("/")):
            continue
        path, sentence = safe_path(name)
        kind = stat.S_IFMT(info.external_attr >> 16)
        if not sentence and kind not in (0, stat.S_IFREG):
            sentence = f"{shown(name)} is a link or a special file"
        if not sentence and info.flag_bits & 1:
            sentence = f"{shown(name)} is encrypted"
        if not sentence and info.compress_type not in _METHODS:
            sentence = f"{shown(name)} is packed in a way that isn't read here"
        yield f"{sentence} and was left out" if sentence else Entry(path, info)


def safe_path(name: str) -> tuple[str, str]:
    """A name as a relative path that stays inside its folder, or a sentence that says why it isn't one."""
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or ".." in parts or (len(name) > 1 and name[1] == ":"):
        return "", f"{shown(name)} would lie outside its folder"
    if len(parts) > _MAX_DEPTH or any(len(part.encode("utf-8", "replace")) > _MAX_NAME for part in parts):
        return "", f"{shown(name)} lies too deep or has too long a name"
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in name):
        return "", f"{shown(name)} has signs in its name that no name has"
    return unicodedata.normalize("NFC", "/".join(parts)), ""


def content_of(archive: zipfile.ZipFile, entry: Entry, budget: Budget) -> bytes | str:
    """What an entry holds, or a sentence that says why it was left out.

    No more is unpacked than the budget allows, whatever the archive says about its size.
    """
    if budget.files < 1:
        return f"{shown(entry.path)} was left out: there are more than {MAX_FILES:,} files"
    kept = bytearray()
    try:
        with archive.open(entry.info) as file:
            while chunk := file.read(_CHUNK):
                kept += chunk
                if len(kept) > budget.size:
                    return f"{shown(entry.path)} was left out: the files have more than {MAX_BYTES:,} bytes together"
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, OSError, struct.error):
        return f"{shown(entry.path)} is damaged and was left out"
    budget.files -= 1
    budget.size -= len(kept)
    return bytes(kept)


def unpacked(name: str, content: bytes, budget: Budget, nesting: int = 1) -> tuple[dict[str, bytes], list[str]] | None:
    """The files of an archive that a student handed in, with those of the archives in it.

    Parameters
    ----------
    name : str
        Of the archive, for the sentences.
    content : bytes
    budget : Budget
        Is used up.
    nesting : int
        How deep this archive lies in others, counted from 1.

    Returns
    -------
    files : dict
        Path -> content. A folder that everything lies in is left away.
    trouble : list of str
        A sentence for each thing that was left out.

    None is returned where it can't be opened as an archive.
    """
    if not _modest(content):
        return None
    try:
        archive = open_archive(io.BytesIO(content), name)
    except UnusableFile:
        return None
    files: dict[str, bytes] = {}
    trouble: list[str] = []
    with archive:
        for entry in entries(archive):
            if isinstance(entry, str):
                trouble.append(f"{shown(name)}: {entry}")
                continue
            held = content_of(archive, entry, budget)
            if isinstance(held, str):
                trouble.append(f"{shown(name)}: {held}")
            else:
                trouble += add(files, entry.path, held, budget, nesting)
    return without_common_folder(files)[0], trouble


def add(files: dict[str, bytes], path: str, content: bytes, budget: Budget, nesting: int = 0) -> list[str]:
    """Add a file, or the files of an archive in its place, to those that there are; returns sentences.

    An archive that can't be opened, or that lies too deep, stays the file that it is.
    """
    inner = None
    if path.lower().endswith(".zip") and nesting < MAX_NESTING:
        inner = unpacked(path, content, budget, nesting + 1)
        if inner is None:
            files[_free(files, path)] = content
            return [f"{shown(path)} is no archive that can be unpacked here, and was kept as it is"]
    if inner is None:
        files[_free(files, path)] = content
        return []
    folder = str(PurePosixPath(path).parent)
    for name, held in inner[0].items():
        files[_free(files, name if folder == "." else f"{folder}/{name}")] = held
    return inner[1]


def _modest(content: bytes) -> bool:
    """Whether an archive's list of entries is short enough to be read."""
    end = content.rfind(_END, max(0, len(content) - 65_557))
    if end < 0 or len(content) < end + 22 or content[max(0, end - 20) : end].startswith(_END64):
        return False
    return struct.unpack_from("<L", content, end + 12)[0] <= MAX_DIRECTORY


def _free(files: dict[str, bytes], path: str) -> str:
    """The path, or one with a number where a file, or a folder, is there already."""
    taken = {name.casefold() for name in files}
    pure = PurePosixPath(path)
    number, free = 1, path
    while free.casefold() in taken or _in_the_way(taken, free.casefold()):
        number += 1
        free = str(pure.with_name(f"{pure.stem} ({number}){pure.suffix}"))
    return free


def _in_the_way(taken: set[str], path: str) -> bool:
    parents = {str(parent) for parent in PurePosixPath(path).parents}
    return bool(parents & taken) or any(name.startswith(f"{path}/") for name in taken)
