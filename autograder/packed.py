"""Open the zip file that ``python -m course_utils pack`` writes; it comes from a student and may be anything."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import NamedTuple

from course_utils.pack import MANIFEST, digests, fingerprint_of

#: The longest manifest that is read, in bytes.
_MAX_MANIFEST = 1_000_000


class Unpacked(NamedTuple):
    """What a packed submission holds.

    Attributes
    ----------
    files : dict
        Name -> content, the manifest left out.
    fingerprint : str
        Of these files, computed anew: what the student's ``pack`` printed if nothing was changed since.
    altered : list of str
        Names of files that are not as the manifest lists them, are missing, or aren't in it.
    """

    files: dict[str, bytes]
    fingerprint: str
    altered: list[str]


class NotPacked(Exception):
    """Not a file that ``pack`` wrote, or one that is too large; the text is the end of a sentence about it."""


def find_packed(files: Mapping[str, bytes]) -> str | None:
    """The name of the one packed file among a submission's files, or None if there is none or more than one."""
    packed = [name for name, content in files.items() if name.endswith(".zip") and _names_manifest(content)]
    return packed[0] if len(packed) == 1 else None


def _names_manifest(content: bytes) -> bool:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return MANIFEST in archive.NameToInfo
    except Exception:  # zipfile meets a damaged file with a dozen different exceptions
        return False


def unpack(content: bytes, *, max_files: int, max_bytes: int) -> Unpacked:
    """Read a packed submission, in memory.

    Parameters
    ----------
    content : bytes
        The zip file.
    max_files : int
        The most files that it may hold, the manifest included.
    max_bytes : int
        The most bytes that they may have together, unpacked. Never more is unpacked, whatever the file states.

    Raises
    ------
    NotPacked
        If it is damaged, too large, encrypted, has folders, links or two files of one name, or no manifest.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            _expect_plain(entries, max_files, max_bytes)
            files: dict[str, bytes] = {}
            for entry in entries:
                with archive.open(entry) as file:
                    # zipfile stops at the stated size, which _expect_plain has bounded, and compares the checksum.
                    files[entry.filename] = file.read(entry.file_size)
        listed = _listed(files.pop(MANIFEST, None))
    except NotPacked:
        raise
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OSError):
        raise NotPacked("is damaged, or no zip file that pack wrote") from None
    actual = digests(files)
    altered = sorted(name for name in actual.keys() | listed.keys() if actual.get(name) != listed.get(name))
    return Unpacked(files, fingerprint_of(files), altered)


def _expect_plain(entries: list[zipfile.ZipInfo], max_files: int, max_bytes: int) -> None:
    if len(entries) > max_files:
        raise NotPacked(f"holds more than {max_files} files")
    if sum(entry.file_size for entry in entries) > max_bytes:
        raise NotPacked(f"would unpack to more than {max_bytes / 1e6:.0f} MB")
    names = [entry.filename for entry in entries]
    if len(set(names)) < len(names):
        raise NotPacked("holds two files of one name")
    for entry in entries:
        kind = entry.external_attr >> 28  # the file type of Unix: 8 for a plain file, 0 where none is stated
        # Only what pack uses; other methods would have to be bounded by themselves.
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) or kind not in (0, 8):
            raise NotPacked("holds something that pack doesn't write")
        if any(mark in entry.filename for mark in "/\\:\0") or entry.filename in ("", ".", ".."):
            raise NotPacked("holds folders")


def _listed(manifest: bytes | None) -> dict[str, str]:
    """Name -> digest, as the manifest states them."""
    if manifest is None or len(manifest) > _MAX_MANIFEST:
        raise NotPacked("has no manifest that can be read")
    try:
        listed = json.loads(manifest)["files"]
        return {str(name): str(digest) for name, digest in listed.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise NotPacked("has no manifest that can be read") from None
