"""``python -m course_utils doctor`` says what stands in a student's way; ``pack`` makes the file to hand in."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from course_utils.doctor import examine
from course_utils.notebooks import NotebookError
from course_utils.pack import pack, report


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line names; the exit status is 1 if something is missing or was found."""
    parser = argparse.ArgumentParser(prog="python -m course_utils", description=__doc__)
    parser.add_argument("command", choices=["doctor", "pack"])
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="with the notebooks; by default, this one")
    chosen = parser.parse_args(arguments)
    if chosen.command == "doctor":
        found = examine(chosen.folder)
        print("\n".join(f"- {sentence}" for sentence in found) or "Nothing stands in the way.")
        return int(bool(found))
    try:
        packed = pack(chosen.folder)
    except (NotebookError, OSError) as error:
        print(f"Nothing was packed: {error}", file=sys.stderr)
        return 1
    print(report(packed))
    return int(bool(packed.undone))


if __name__ == "__main__":
    sys.exit(main())
