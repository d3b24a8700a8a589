"""Tries the attacks in each way of building the cage, for root and for an ordinary user; ``make attacks``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from autograder.cage import WAY
from tests.attacks.ways import BECOME, MODES, USERS

_REPOSITORY = Path(__file__).resolve().parent.parent.parent
#: Exit status of a process that can't build the cage.
_NO_CAGE = 99
_TRY = """
try:
    print(cage.trial()["layers"], flush=True)
except cage.CageUnavailable as error:
    print(error, flush=True)
    sys.exit({no_cage})
# What attacks do where there is no cage is the same in every way of building it.
os.execv(sys.executable, [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_attacks.py",
                          "-k", "not works_where_nothing_keeps_it", *sys.argv[1:]])
"""


def main(arguments: list[str]) -> int:
    """Run the tests in every way, with ``arguments`` for pytest; 1 if an attack got through or no way is possible."""
    outcomes = {}
    program = BECOME + _TRY
    for mode in MODES:
        for user, name in USERS.items():
            print(f"\n{mode}, {name} user", flush=True)
            home = tempfile.mkdtemp(prefix="attacks-")
            os.chmod(home, 0o711)  # where the grader is root, the caged processes aren't
            if user > 1:
                os.chown(home, user, user)
            environment = {**os.environ, WAY: mode, "HOME": home, "TMPDIR": home, "USER": name}
            try:
                done = subprocess.run(
                    [sys.executable, "-c", program.format(repository=str(_REPOSITORY), user=user, no_cage=_NO_CAGE),
                     *arguments],
                    cwd=_REPOSITORY, env=environment, check=False,
                )  # fmt: skip
            finally:
                shutil.rmtree(home, ignore_errors=True)
            outcomes[f"{mode}, {name} user"] = done.returncode
    words = {0: "tried: no attack got through", _NO_CAGE: "not tried: this machine can't build the cage in this way"}
    print()
    for way, status in outcomes.items():
        print(f"{way:28} {words.get(status, 'tried: FAILED')}")
    return int(not set(outcomes.values()) <= set(words) or 0 not in outcomes.values())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
