"""What a process in the cage sees and may do, in each way of building it, for root and for an ordinary user."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from autograder.cage import WAY, CageUnavailable
from autograder.zygote import trial
from tests.attacks.ways import BECOME, MODES, USERS
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.alone]

try:
    FOUND = trial()
except CageUnavailable as error:
    pytest.skip(f"no cage on this machine: {error}", allow_module_level=True)

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


WAYS = [pytest.param(Way(mode, user), id=f"{mode}-{name}") for mode in MODES for user, name in USERS.items()]
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


@every_way
def test_metadata_of_what_lies_outside_stays(way, tmp_path):
    """By path, and by the descriptor of a file that was opened for reading."""
    outside = tmp_path / "gradebook.db"
    outside.write_text("grades")
    if way.user > 1:
        os.chown(outside, way.user, way.user)
        os.chown(tmp_path, way.user, way.user)
    for folder in (tmp_path, *tmp_path.parents[:3]):
        if os.getuid() == 0 and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o755)
    before = [os.stat(path) for path in (outside, tmp_path)]
    saw = way.look(f"""
        given = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath("data/large.bin"))), "answer.txt")
        saw = []
        for path in ({str(outside)!r}, {str(tmp_path)!r}, given):
            acts = {{
                "chmod": lambda: os.chmod(path, 0), "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
                "utime": lambda: os.utime(path, (1, 1)), "setxattr": lambda: os.setxattr(path, "user.x", b"x"),
                "chmod through a link": lambda: os.chmod(f"/proc/self/fd/{{os.open(path, os.O_PATH)}}", 0),
                "fchmod": lambda: os.fchmod(os.open(path, os.O_RDONLY), 0),
                "futimens": lambda: os.utime(os.open(path, os.O_RDONLY), (1, 1)),
                "fsetxattr": lambda: os.setxattr(os.open(path, os.O_RDONLY), "user.x", b"x"),
            }}
            for name, act in acts.items():
                try:
                    act()
                    saw.append([name, path])
                except OSError:
                    pass
        saw.append(oct(os.stat(given).st_mode))
    """)
    assert saw == ["0o100644"]
    for path, old in zip((outside, tmp_path), before, strict=True):
        now = os.stat(path)
        assert (now.st_mode, now.st_uid, now.st_mtime) == (old.st_mode, old.st_uid, old.st_mtime)


@every_way
def test_no_datagram_reaches_a_socket_outside(way, tmp_path):
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as server:
        server.bind(str(path))
        server.setblocking(False)
        path.chmod(0o777)
        for folder in (tmp_path, *tmp_path.parents[:3]):
            if folder.stat().st_uid == os.getuid() and folder != Path("/"):
                folder.chmod(folder.stat().st_mode | 0o755)
        saw = way.look(f"""
            import array, socket
            saw = []
            ends = []
            for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET, socket.SOCK_STREAM):
                try:
                    ends += socket.socketpair(socket.AF_UNIX, kind)
                except OSError:
                    pass
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0]))]
            for end in ends:
                for send in (lambda: end.sendto(b"loot", {str(path)!r}),
                             lambda: end.sendmsg([b"loot"], rights, 0, {str(path)!r}),
                             lambda: end.connect({str(path)!r})):
                    try:
                        send()
                        saw.append(str(end))
                    except OSError:
                        pass
            saw.append(len(ends))
        """)
        assert saw == [2]  # the pair of streams, which a library may need
        with pytest.raises(BlockingIOError):
            server.recv(10)


@every_way
def test_processors_priority_and_session_stay(way):
    process = subprocess.Popen(["sleep", "600"], user=way.user if way.user > 1 else None)
    before = os.sched_getaffinity(process.pid)
    try:
        saw = way.look(f"""
            saw = [os.getpriority(os.PRIO_PROCESS, 0)]
            for act in (lambda: os.sched_setaffinity(0, {{0}}), lambda: os.sched_setaffinity({process.pid}, {{0}}),
                        lambda: os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0)),
                        lambda: os.setpriority(os.PRIO_PROCESS, 0, 0)):
                try:
                    act()
                    saw.append("done")
                except OSError:
                    pass
            if os.fork() == 0:
                try:
                    os.setsid()  # the scheduler gives each session its share
                    os._exit(1)
                finally:
                    os._exit(0)
            saw.append(os.wait()[1])
        """)
        assert saw[0] > 0
        assert saw[1:] == [0]
        assert os.sched_getaffinity(process.pid) == before
    finally:
        process.kill()
        process.wait()


@every_way
def test_memory_that_no_process_shows_is_refused(way):
    saw = way.look("""
        import fcntl, mmap, resource, socket
        saw = []
        tries = {
            "shared memory without a name": lambda: mmap.mmap(-1, 2**20),
            "/dev/zero": lambda: open("/dev/zero", "r+b"),
            "memfd": lambda: os.memfd_create("x"),
            "a larger pipe": lambda: fcntl.fcntl(os.pipe()[1], 1031, 2**20),
            "a larger socket": lambda: socket.socketpair()[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**20),
            "not to be looked at": lambda: linux.prctl(linux.PR_SET_DUMPABLE, 0),
            "huge pages": lambda: mmap.mmap(-1, 2**21, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000),
            "to outlive its keeper": lambda: linux.prctl(linux.PR_SET_PDEATHSIG, 0),
        }
        for name, act in tries.items():
            try:
                act()
                saw.append(name)
            except OSError:
                pass
        private = mmap.mmap(-1, 2**20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        with open("file", "w+b") as file:
            file.write(bytes(4096))
            file.flush()
            mapped = mmap.mmap(file.fileno(), 4096)
    """)
    assert saw == []


@every_way
def test_folders_to_write_in_share_one_size(way):
    if way.mode == "landlock":
        pytest.skip("there the scratch folder is one, and the watching grader bounds it")
    saw = way.look(
        """
        saw = 0
        for folder in (".", "/tmp", "/dev/shm", "/home/student", "/scratch"):
            try:
                for number in range(40):
                    with open(f"{folder}/{number}", "xb") as file:
                        for _ in range(4):
                            saw += file.write(bytes(2**18))
            except OSError:
                pass
        """,
        scratch=8 * 2**20,
    )
    assert 7 * 2**20 < saw <= 8 * 2**20


@every_way
def test_trial_finds_this_way_if_it_is_asked_for(way):
    program = BECOME.format(repository=str(REPOSITORY), user=way.user) + "print(json.dumps(cage.trial()))"
    environment = {"PATH": os.environ["PATH"], WAY: way.mode}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, cwd="/",
                          env=environment)  # fmt: skip
    if done.returncode != 0:
        assert "CageUnavailable" in done.stderr
        assert way.mode != FOUND["mode"] or way.user > 1, done.stderr
        pytest.skip(done.stderr.strip().splitlines()[-1])
    assert json.loads(done.stdout)["mode"] == way.mode
