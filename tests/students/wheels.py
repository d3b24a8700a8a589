"""Find wheels of everything that a student installs, for machines that can't be had here.

``python -m tests.students.wheels`` asks the package index, with ``uv``, and writes
``wheels.json``; the tests read that file alone. Run it when the requirements in pyproject.toml change.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from tests.conftest import REPOSITORY

STORED = Path(__file__).with_name("wheels.json")
PYTHONS = ("3.11.2", "3.12", "3.13", "3.14")
#: uv's name of a platform -> the extras for which wheels are looked for.
PLATFORMS = {
    "x86_64-pc-windows-msvc": ("lab", "pytorch"),
    "aarch64-apple-darwin": ("lab", "pytorch"),
    "x86_64-apple-darwin": ("lab",),  # there is no recent PyTorch for Intel Macs
    "x86_64-unknown-linux-gnu": ("lab", "pytorch"),
    "aarch64-unknown-linux-gnu": ("lab", "pytorch"),
}


def resolve(platform: str, python: str, extras: tuple[str, ...]) -> dict[str, str]:
    """Name -> version of all packages for a machine, all of which have a wheel for it.

    Raises
    ------
    subprocess.CalledProcessError
        If there is no such set; uv has then said why.
    """
    command = ["uv", "pip", "compile", "--quiet", "pyproject.toml", "--only-binary", ":all:", "--no-header",
               "--no-annotate", "--python-platform", platform, "--python-version", python]  # fmt: skip
    command += [argument for extra in extras for argument in ("--extra", extra)]
    done = subprocess.run(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True, check=True)
    return dict(line.split("==") for line in done.stdout.split())


if __name__ == "__main__":
    found = {
        platform: {python: resolve(platform, python, extras) for python in PYTHONS}
        for platform, extras in PLATFORMS.items()
    }
    STORED.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    sys.exit(0)
