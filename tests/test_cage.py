"""What a process in the cage sees and may do, in each way of building it, for root and for an ordinary user."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from autograder.cage import CageUnavailable
from autograder.zygote import trial
from tests.conftest import REPOSITORY

try:
    FOUND = trial()
except CageUnavailable as error:
    pytest.skip(f"no cage on this machine: {error}", allow_module_level=True)

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
#: Builds a cage and tells what the code in ``look`` returned, or why there is no cage.
_PROBE = """
limits = cage.Limits(**{limits!r})
walls = cage.Walls(cage.new_folder({{"answer.txt": b"42", "data/large.bin": bytes(2**20 + 1)}}), cage.installation())
out, into = os.pipe()
if os.fork() == 0:
    def look():
{look}
        os.write(into, json.dumps({{"saw": saw}}).encode())

    def failed(reason):
        os.write(into, json.dumps({{"failed": reason}}).encode())

    try:
        cage.lock_up({mode!r}, walls, limits, run=look, failed=failed, announce=lambda pid: None, keep={{into}})
    except Exception as error:
        failed(repr(error))
    os._exit(0)
os.close(into)
with open(out) as file:
    print(file.read())
os.wait()
import shutil
shutil.rmtree(walls.folder, ignore_errors=True)
"""
#: A user that no process of the machine has.
ORDINARY = 54_321


@dataclasses.dataclass(frozen=True)
class Way:
    """A way of building the cage, and the user who builds it: 0 for whoever runs the tests, 1 for root."""

    mode: str
    user: int

    def look(self, code: str, **limits: float) -> object:
        """What ``code``, run in such a cage, bound to ``saw``."""
        program = (BECOME + _PROBE).format(
            repository=str(REPOSITORY), user=self.user, limits=limits, mode=self.mode,
            look=textwrap.indent(textwrap.dedent(code).strip(), " " * 8),
        )  # fmt: skip
        environment = {"PATH": os.environ["PATH"], "PASSWORD_OF_THE_INSTRUCTOR": "secret"}
        done = subprocess.run(
            [sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd="/", env=environment
        )
        assert done.stdout.strip(), done.stderr
        told = json.loads(done.stdout)
        if "failed" in told:
            assert self.mode != FOUND["mode"] or self.user > 1, told["failed"]
            pytest.skip(f"{self.mode} can't be used here: {told['failed']}")
        return told["saw"]


_AS_ROOT = os.getuid() == 0
WAYS = [
    pytest.param(Way(mode, user), id=f"{mode}-{'root' if user == 1 else 'ordinary'}")
    for mode in ("namespaces", "landlock")
    for user in ((1, ORDINARY) if _AS_ROOT else (0,))
]
every_way = pytest.mark.parametrize("way", WAYS)


@every_way
def test_files_of_the_machine_are_out_of_sight(way, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    secret.chmod(0o644)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if folder.stat().st_uid == os.getuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    saw = way.look(f"""
        saw = {{}}
        for path in ({str(secret)!r}, "/etc/shadow", "/etc/hostname", "/proc/1/environ", "/sys/kernel", "/root",
                     "/var/log", {str(REPOSITORY / "autograder" / "cage.py")!r}, {str(REPOSITORY / "notebooks")!r},
                     {str(REPOSITORY / "README.md")!r}, {str(REPOSITORY / ".git")!r}):
            try:
                os.listdir(path) if os.path.isdir(path) else open(path).read()
                saw[path] = "open"
            except OSError as error:
                saw[path] = "closed"
    """)
    # /proc/1 is the caged process itself in a namespace; /root may be empty scaffolding of mounts.
    allowed = {"/proc/1/environ", "/root"} if way.mode == "namespaces" else set()
    assert {path for path, state in saw.items() if state == "open"} <= allowed


@every_way
def test_installation_and_submission_can_be_read_and_not_written(way):
    saw = way.look("""
        import json.tool, numpy
        saw = {"large": len(open("data/large.bin", "rb").read()), "small": open("answer.txt").read(), "written": []}
        submission = os.path.dirname(os.path.dirname(os.path.realpath("data/large.bin")))
        saw["submission"] = open(submission + "/answer.txt").read()
        places = [submission + "/answer.txt", submission + "/new", os.path.dirname(numpy.__file__) + "/new",
                  os.path.dirname(os.__file__) + "/new", "/new", "/usr/new", "/etc/new", "/var/tmp/new"]
        for path in places:
            try:
                open(path, "a").write("x")
                saw["written"].append(path)
            except OSError:
                pass
        open("answer.txt", "w").write("43")
        saw["copy"] = open("answer.txt").read()
        saw["original"] = open(submission + "/answer.txt").read()
    """)
    assert saw == {
        "large": 2**20 + 1, "small": "42", "submission": "42", "written": [], "copy": "43", "original": "42",
    }  # fmt: skip


@every_way
def test_identity_and_rights_are_gone(way):
    saw = way.look("""
        saw = {"uid": os.getuid(), "groups": [g for g in os.getgroups() if g not in (os.getgid(), 65534)]}
        try:
            status = dict(line.split(":", 1) for line in open("/proc/self/status"))
            saw["capabilities"] = sum(int(status[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb"))
            saw["seccomp"] = status["Seccomp"].strip()
        except OSError:
            pass
        for name, call in {"setuid": lambda: os.setuid(0), "chroot": lambda: os.chroot("/tmp"),
                           "mount": lambda: linux.mount("none", "/tmp", "tmpfs", 0),
                           "unshare": lambda: linux.unshare(linux.CLONE_NEWUSER)}.items():
            try:
                call()
                saw[name] = "allowed"
            except OSError:
                pass
    """)
    assert saw.pop("uid") != 0
    assert saw.pop("capabilities", 0) == 0
    assert saw.pop("seccomp", "2") == "2"
    assert saw == {"groups": []}


@every_way
def test_network_is_closed(way):
    saw = way.look("""
        import socket
        saw = []
        for address in (("127.0.0.1", 22), ("1.1.1.1", 53)):
            for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                try:
                    connection = socket.socket(socket.AF_INET, kind)
                    connection.settimeout(2)
                    connection.connect(address)
                    saw.append(address)
                except OSError:
                    pass
    """)
    assert saw == []


@every_way
def test_other_processes_are_out_of_reach(way):
    process = subprocess.Popen(["sleep", "600"], user=way.user if way.user > 1 else None)
    try:
        saw = way.look(f"""
            import signal
            saw = []
            for pid in ({process.pid}, {os.getpid()}, os.getppid()):
                for act in (lambda: os.kill(pid, 0), lambda: os.kill(pid, signal.SIGKILL),
                            lambda: open(f"/proc/{{pid}}/environ").read() and pid not in (0, 1) or 1 / 0):
                    try:
                        pid and act()
                        pid and saw.append(pid)
                    except (OSError, ZeroDivisionError):
                        pass
        """)
        assert saw == []
        assert process.poll() is None
    finally:
        process.kill()
        process.wait()


@every_way
def test_no_file_descriptor_is_inherited(way):
    saw = way.look("""
        import stat
        saw = []
        for number in range(1024):
            try:
                mode = os.fstat(number).st_mode
            except OSError:
                continue
            if number != into and not (stat.S_ISCHR(mode) and number < 3):
                saw.append([number, oct(mode)])
    """)
    assert saw == []


@every_way
def test_limits_hold(way):
    saw = way.look(
        """
        import resource
        saw = {}
        try:
            bytearray(512 * 2**20)
        except MemoryError:
            saw["memory"] = "bounded"
        files = []
        try:
            while len(files) < 1000:
                files.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            saw["files"] = len(files) < 64
        for number in files:
            os.close(number)
        children = []
        try:
            while len(children) < 200:
                pid = os.fork()
                if pid == 0:
                    import time
                    time.sleep(600)
                children.append(pid)
        except OSError:
            saw["processes"] = len(children) <= 16
        try:
            with open("big", "wb") as file:
                for _ in range(64):
                    file.write(bytes(2**20))
        except OSError:
            saw["file"] = os.path.getsize("big") <= 8 * 2**20
        try:
            resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        except (ValueError, OSError):
            saw["raise"] = "refused"
        """,
        memory=256 * 2**20, open_files=64, processes=16, scratch=8 * 2**20,
    )  # fmt: skip
    assert saw == {"memory": "bounded", "files": True, "processes": True, "file": True, "raise": "refused"}
