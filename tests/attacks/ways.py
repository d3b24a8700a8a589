"""The ways in which the cage is tried: how it is built, and for whom."""

from __future__ import annotations

import os

#: Makes a fresh process an ordinary user's, or one of root's whose Python everybody can read.
BECOME = """
import importlib, json, os, sys

sys.path[:0] = [{repository!r}]
from autograder import cage, linux

become = {user}
if become and os.getuid() == 0:
    # Where Python lies in a folder of root's, others are shown it in a namespace of mounts.
    linux.unshare(linux.CLONE_NEWNS)
    linux.mount("none", "/", None, linux.MS_REC | linux.MS_PRIVATE)
    blocked = "/" + sys.base_prefix.split("/")[1]
    if os.stat(blocked).st_mode & 0o001 == 0:
        source = os.open(sys.base_prefix, os.O_PATH)
        linux.mount("none", blocked, "tmpfs", 0, "mode=755")
        os.makedirs(sys.base_prefix)
        linux.mount(f"/proc/self/fd/{{source}}", sys.base_prefix, None, linux.MS_BIND | linux.MS_REC)
        os.close(source)
    if become > 1:
        os.setgroups([])
        os.setresgid(become, become, become)
        os.setresuid(become, become, become)
        linux.prctl(linux.PR_SET_DUMPABLE, 1)
    importlib.invalidate_caches()
"""
#: Ways to build the cage, as :data:`autograder.cage.WAY` takes them.
MODES = ("namespaces", "landlock")
#: A user that no process of the machine has.
ORDINARY = 54_321
#: Who builds it, for ``BECOME``: 0 is whoever runs the tests, 1 root, whose Python everybody can read.
USERS = {1: "root", ORDINARY: "ordinary"} if os.getuid() == 0 else {0: "ordinary"}
