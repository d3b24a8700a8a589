# Says what is missing in this notebook's Python, and installs the course's package if it can.
import importlib.util
import subprocess
import sys
import tempfile
from importlib import metadata
from pathlib import Path

WHEEL = ""  # where the course's package is, if your instructor has named an address
NEEDED: tuple[str, ...] = ()


def missing() -> list[str]:
    importlib.invalidate_caches()
    return [name for name in NEEDED if importlib.util.find_spec(name) is None]


if WHEEL and "course_utils" in missing():
    # What is installed keeps its version: another NumPy under a running kernel breaks it.
    with tempfile.TemporaryDirectory() as folder:
        versions = {package.name: package.version for package in metadata.distributions() if package.name}
        keep = Path(folder, "keep.txt")
        keep.write_text("\n".join(f"{name}=={version}" for name, version in versions.items()))
        subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "--constraint", str(keep), WHEEL])

if missing():

    class NotInstalled(ImportError):
        def _render_traceback_(self) -> list[str]:
            return [str(self)]

    raise NotInstalled(
        f"Not installed in {sys.executable}: {', '.join(missing())}. Install what the README of the course names, "
        "in this Python, or choose the kernel that has it; then restart the kernel."
    )

from course_utils.notebooks import begin  # noqa: E402

begin()
