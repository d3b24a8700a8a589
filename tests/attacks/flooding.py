"""Attacks that use up what the machine has, or end or outlive the student's process."""

from tests.attacks.suite import Attack

_NO_SCALE = {"test-scale": 0.0}


def _scale(body: str) -> dict[str, str]:
    return {"scale": "def scale(x, factor):\n" + "".join(f"    {line}\n" for line in body.strip().splitlines())}


_MEMORY = """
hoard = []
while True:
    hoard.append(bytearray(16 * 2**20))
"""
_MEMORY_IN_CHILDREN = """
import os, time

for _ in range(12):
    if os.fork() == 0:
        hoard = b"x" * (200 * 2**20)
        time.sleep(600)
        os._exit(0)
time.sleep(600)
"""
_FORK_BOMB = """
import os

first, count = os.getpid(), 0
try:
    while True:
        os.fork()
        count += 1
        if count > 5_000:
            print("BREACH")
            break
except OSError as error:
    print(error)
if os.getpid() != first:
    os._exit(0)
"""
_THREADS = """
import threading, time

started = 0
try:
    for _ in range(5_000):
        threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
        started += 1
except RuntimeError as error:
    print(error)
if started > 500:
    print("BREACH", started)
"""
_DISK = """
import os

written = 0
for folder in (".", "/tmp", "/dev/shm", "/submission", "/"):
    try:
        for number in range(200):
            with open(os.path.join(folder, f"fill{number}"), "wb") as file:
                for _ in range(16):
                    file.write(bytes(2**20))
                    written += 2**20
    except OSError as error:
        print(folder, error)
if written > 600 * 2**20:
    print("BREACH", written)
"""
_INODES = """
made = 0
try:
    for number in range(60_000):
        open(f"empty{number}", "w").close()
        made += 1
except OSError as error:
    print(error)
if made > 50_000:
    print("BREACH", made)
"""
_OPEN_FILES = """
import os

files = []
try:
    while len(files) < 5_000:
        files.append(os.open("/dev/null", os.O_RDONLY))
    print("BREACH")
except OSError as error:
    print(error)
"""
_OUTPUT = """
while True:
    print("x" * 100_000)
"""
_DISPLAYS = """
from IPython.display import HTML, display

for number in range(4_000):
    display(HTML("<b>" + "y" * 20_000 + "</b>"))
display(HTML("z" * 30_000_000))
print("\\U0001f600" * 3_000_000)
"""
_ERRORS = """
class Error(Exception):
    def __str__(self):
        return "\\ud800" + "e" * 30_000_000


raise Error
"""
_SCRIPTS = """
from IPython.display import HTML, SVG, Javascript, display

display(HTML("<script>attack()</script><img src=x onerror='attack()'><table onclick='attack()'><td>1</td></table>"))
display(Javascript("attack()"), SVG("<svg xmlns='http://www.w3.org/2000/svg' onload='attack()'></svg>"))
display({"text/html": "<iframe src='javascript:attack()'></iframe>", "image/png": "x' onload='attack()"}, raw=True)
"""
_DAEMON = """
import ctypes, os, time

if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        ctypes.CDLL(None).prctl(15, b"left-behind", 0, 0, 0)
        while True:
            time.sleep(0.1)
    os._exit(0)
"""
_SWALLOW = """
import time

while True:
    try:
        while True:
            time.sleep(0.01)
    except BaseException:
        pass
"""
_IGNORE = """
import signal, time

for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
    signal.signal(number, signal.SIG_IGN)
while True:
    time.sleep(0.01)
"""
_IN_C = """
import ctypes

ctypes.pythonapi.sleep.argtypes = [ctypes.c_uint]
while True:
    ctypes.pythonapi.sleep(1_000)
"""
_THREAD_STAYS = """
import threading, time


def go_on():
    while True:
        print("still here")
        time.sleep(0.02)


threading.Thread(target=go_on, daemon=True).start()
"""
_STOP = """
import os, signal

os.kill(os.getpid(), signal.SIGKILL)
os.kill(os.getpid(), signal.SIGSTOP)
"""
_BUSY_CHILDREN = """
import os

for _ in range(60):
    try:
        if os.fork() == 0:
            try:
                os.setsid()
            except OSError:
                pass
            while True:
                pass
    except OSError:
        break
while True:
    pass
"""
_BUSY_UNSEEN = """
import os, signal, time

signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    if os.fork() == 0:
        begun = time.process_time()
        while time.process_time() - begun < 0.03:
            pass
        os._exit(0)
    time.sleep(0.01)
"""
_MEMORY_BELOW_THE_BASE = """
import os, time

for _ in range(22):
    if os.fork() == 0:
        hoard = bytearray(b"x") * (90 * 2**20)
        time.sleep(600)
        os._exit(0)
time.sleep(600)
"""
_SHARED_MEMORY = """
import mmap, os

hoards = []
for _ in range(8):
    for open_it in (lambda: mmap.mmap(-1, 2**28), lambda: mmap.mmap(os.open("/dev/zero", os.O_RDWR), 2**28)):
        try:
            hoard = open_it()
            for place in range(0, len(hoard), mmap.PAGESIZE):
                hoard[place] = 1
            hoard.madvise(mmap.MADV_DONTNEED)
            hoards.append(hoard)
        except OSError as error:
            print(error)
if len(hoards) > 4:
    print("BREACH")
"""
_SOCKETS = """
import os, socket, time


def fill():
    kept = []
    try:
        while True:
            kept += socket.socketpair()
            for end in kept[-2:]:
                end.setblocking(False)
                try:
                    while True:
                        end.send(b"x" * 65536)
                except BlockingIOError:
                    pass
    except OSError:
        time.sleep(600)


for _ in range(40):
    if os.fork() == 0:
        fill()
time.sleep(600)
"""
_TWO_FOLDERS = """
import time

written = 0
for folder in (".", "/tmp", "/dev/shm", "/scratch"):
    try:
        for number in range(40):
            with open(f"{folder}/half-{number}", "xb") as file:
                for _ in range(4):
                    written += file.write(bytes(2**20))
    except OSError as error:
        print(error)
time.sleep(0.5)  # without namespaces, the files are counted ten times a second
if written > 100 * 2**20:
    print("BREACH", written)
"""
_DELETED = """
import os, time

kept, written = [], 0
try:
    for number in range(150):
        kept.append(open("deleted", "w+b"))
        os.unlink("deleted")
        written += kept[-1].write(bytes(2**20))
        kept[-1].flush()
        time.sleep(0.01)
except OSError as error:
    print(error)
if written > 140 * 2**20:
    print("BREACH", written)
"""
_OUTLIVE = """
import ctypes, os

libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(1, 0, 0, 0, 0) == 0:
    print("BREACH")
"""
_STOP_SELF = """
import os, threading

if os.fork() == 0:
    os.kill(os.getppid(), 19)
    os._exit(0)
os.wait()
os.kill(os.getpid(), 19)
"""

ATTACKS = [
    Attack("memory", "takes memory without end", first=_MEMORY),
    Attack("memory-in-children", "takes memory in many processes, each below the bound", first=_MEMORY_IN_CHILDREN,
           trouble="memory"),
    Attack("fork-bomb", "starts processes without end", first=_FORK_BOMB),
    Attack("threads", "starts thousands of threads", first=_THREADS),
    Attack("disk-full", "writes files without end", first=_DISK),
    Attack("inodes", "makes tens of thousands of files", first=_INODES),
    Attack("open-files", "opens thousands of files", first=_OPEN_FILES),
    Attack("output", "prints without end", first=_OUTPUT, trouble="took"),
    Attack("output-in-a-test", "prints without end while a test waits", answers=_scale(_OUTPUT), honest=_NO_SCALE,
           trouble="took"),
    Attack("displays", "displays thousands of tables, and a huge one", first=_DISPLAYS),
    Attack("scripts", "displays scripts for the browser of whoever grades the notebook", first=_SCRIPTS),
    Attack("errors", "raises an error with an endless text", first=_ERRORS),
    Attack("recursion", "calls itself without end, with Python's own bound lifted",
           answers=_scale("import sys\nsys.setrecursionlimit(10**9)\nreturn scale(x, factor)"), honest=_NO_SCALE),
    Attack("giant-value", "returns an array larger than may cross",
           answers=_scale("return np.zeros(2**26)"), honest=_NO_SCALE),
    Attack("deep-value", "returns a list nested a hundred thousand levels deep",
           answers=_scale("deep = []\nfor _ in range(100_000):\n    deep = [deep]\nreturn deep"), honest=_NO_SCALE),
    Attack("wide-value", "returns a list of millions of lists", answers=_scale("return [[1.0]] * 3_000_000"),
           honest=_NO_SCALE),
    Attack("endless-generator", "returns a generator that never ends",
           answers=_scale("import itertools\nreturn itertools.count()"), honest=_NO_SCALE),
    Attack("sleep", "sleeps for a year", first="import time\ntime.sleep(3e7)", trouble="took longer"),
    Attack("sleep-in-a-test", "sleeps for a year while a test waits",
           answers=_scale("import time\ntime.sleep(3e7)"), honest=_NO_SCALE, trouble="took longer"),
    Attack("swallow", "loops and swallows the interrupt", answers=_scale(_SWALLOW), honest=_NO_SCALE,
           trouble="took too long"),
    Attack("ignore", "loops and ignores every signal", first=_IGNORE, trouble="took too long"),
    Attack("sleep-in-c", "sleeps in a C function that no interrupt reaches", answers=_scale(_IN_C), honest=_NO_SCALE,
           trouble="took"),
    Attack("exit", "ends its process while a test waits", answers=_scale("import os\nos._exit(0)"), honest=_NO_SCALE,
           trouble="ended the student's process"),
    Attack("exit-at-once", "ends its process at the top of the notebook", first="import os\nos._exit(0)",
           trouble="ended the student's process"),
    Attack("system-exit", "raises SystemExit while a test waits", answers=_scale("raise SystemExit(0)"),
           honest=_NO_SCALE),
    Attack("segmentation-fault", "reads from address 0 while a test waits",
           answers=_scale("import ctypes\nctypes.string_at(0)"), honest=_NO_SCALE,
           trouble="ended the student's process"),
    Attack("abort", "aborts its process while a test waits", answers=_scale("import os\nos.abort()"),
           honest=_NO_SCALE, trouble="ended the student's process"),
    Attack("close-everything", "closes every file descriptor", answers=_scale("import os\nos.closerange(0, 4096)"),
           honest=_NO_SCALE, trouble="ended the student's process"),
    Attack("stop", "kills and stops itself with signals", first=_STOP),
    Attack("busy-children", "keeps sixty processes busy, each in a session of its own", first=_BUSY_CHILDREN,
           trouble="took"),
    Attack("busy-unseen", "works in children that live for a moment and for which nobody waits", first=_BUSY_UNSEEN,
           trouble="took"),
    Attack("memory-below-the-base", "takes memory in many processes, each less than it was forked with",
           first=_MEMORY_BELOW_THE_BASE, trouble="MiB of memory"),
    Attack("shared-memory", "takes memory that it shares with nobody, and unmaps it", first=_SHARED_MEMORY),
    Attack("sockets", "fills the buffers of thousands of sockets", first=_SOCKETS, trouble="MiB of memory"),
    Attack("two-folders", "fills each folder that it may write in", first=_TWO_FOLDERS),
    Attack("deleted-files", "fills files that it has deleted and holds open", first=_DELETED),
    Attack("outlive", "asks the kernel not to be ended with the grader", first=_OUTLIVE),
    Attack("stop-self", "has a child stop it, and stops itself", first=_STOP_SELF),
    Attack("daemon", "leaves a detached process behind", first=_DAEMON),
    Attack("thread-stays", "leaves a thread behind that goes on printing", first=_THREAD_STAYS),
    Attack("fork-returns", "forks, so that two processes come back from the cell", first="import os\nos.fork()"),
]  # fmt: skip
