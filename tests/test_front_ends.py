"""What students install and hand out, for machines and front ends that can't all be had here."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import nbformat
import pytest
import yaml
from nbgrader.api import Gradebook
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from traitlets.config import Config

from autograder.handout import write_handout
from autograder.run import Course
from course_utils import __version__
from course_utils.notebooks import ASKED
from tests.conftest import REPOSITORY
from tests.students.run_all import complaints, run
from tests.students.solved import write_solved
from tests.students.wheels import PLATFORMS, PYTHONS, STORED
from tests.test_environment import declared, project

pytestmark = pytest.mark.slow

#: What Windows' Python doesn't have: modules, and names of modules that it has.
POSIX_MODULES = {
    "crypt",
    "fcntl",
    "grp",
    "nis",
    "ossaudiodev",
    "posix",
    "pty",
    "pwd",
    "resource",
    "syslog",
    "termios",
    "tty",
}
POSIX_NAMES = {
    "os": {"chown", "fork", "forkpty", "getegid", "geteuid", "getgid", "getgroups", "getloadavg", "getpgid", "getppid",
           "getuid", "killpg", "mkfifo", "nice", "sched_getaffinity", "setsid", "statvfs", "sync", "uname", "wait"},
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "alarm", "setitimer"},
    "time": {"tzset"},
}  # fmt: skip
STUDENTS_CODE = sorted((REPOSITORY / "course_utils").rglob("*.py"))
STUDENTS_CODE += [REPOSITORY / "autograder" / "first_cell.py", REPOSITORY / "tests" / "students" / "run_all.py"]


def posix_only(source: str) -> set[str]:
    """What a program uses that Windows doesn't have, or that a shell would have to expand."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & POSIX_MODULES
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} & POSIX_MODULES
            found |= {alias.name for alias in node.names} & POSIX_NAMES.get(node.module, set())
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.attr in POSIX_NAMES.get(node.value.id, ()):
                found.add(f"{node.value.id}.{node.attr}")
            if (node.value.id, node.attr) in (("os", "system"), ("os", "popen")):
                found.add("a shell")
        elif isinstance(node, ast.keyword) and node.arg == "shell":
            found.add("a shell")
    return found


@pytest.mark.parametrize("path", STUDENTS_CODE, ids=lambda path: path.stem)
def test_students_code_is_free_of_what_only_posix_has(path):
    assert posix_only(path.read_text(encoding="utf-8")) == set()


@pytest.mark.parametrize(
    "source",
    ["import fcntl", "from os import fork", "os.getuid()", "run(x, shell=True)", "signal.SIGALRM", "os.system(x)"],
)
def test_what_only_posix_has_is_noticed(source):
    assert posix_only(source)


@pytest.mark.parametrize("name", ASKED)
def test_notebooks_are_free_of_what_only_posix_has(name, sources):
    for cell in sources[name].cells:
        if cell.cell_type == "code":
            assert posix_only(cell.source) == set()
            assert not re.search(r"^\s*[!%]", cell.source, flags=re.MULTILINE), f"{cell.id} calls a shell"


@pytest.mark.parametrize("name", sorted(ASKED)[:4])
def test_notebooks_before_the_fifth_import_nothing_that_students_lack(name, sources):
    """PyTorch is an extra, and SciPy the instructor's: setup cells do without."""
    lines = ["import sys", "sys.modules.update(dict.fromkeys(('torch', 'scipy', 'distributed')))"]
    lines += [cell.source for cell in sources[name].cells if cell.id == "setup"]
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


# --- Wheels --------------------------------------------------------------------------------


@pytest.mark.parametrize("platform", PLATFORMS)
@pytest.mark.parametrize("python", PYTHONS)
def test_everything_has_a_wheel_for_every_machine(platform, python):
    found = {
        canonicalize_name(name): version for name, version in json.loads(STORED.read_text())[platform][python].items()
    }
    for requirement in declared(*PLATFORMS[platform]):
        version = found.get(canonicalize_name(requirement.name))
        assert version and requirement.specifier.contains(version), f"{requirement}: python -m tests.students.wheels"


def test_pytorch_lacks_wheels_for_intel_macs_alone():
    with_it = {platform for platform, pythons in json.loads(STORED.read_text()).items() if "torch" in pythons["3.11.2"]}
    assert set(PLATFORMS) - with_it == {"x86_64-apple-darwin"}


# --- The handout ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def handouts(release, tmp_path_factory) -> dict[str, Path]:
    """The handout of a course without and with an exchange and an address for its wheel."""
    work = tmp_path_factory.mktemp("handouts")
    made = {}
    for name in ("plain", "course"):
        course = Course.here()
        course.app.config = Config(course.app.config)  # one of its own
        course.coursedir.release_directory = str(release.parent)
        course.app.config.Exchange.root = str(work / "exchange") if name == "course" else str(work / "none")
        course.app.config.BeginWithPackage.wheel = "https://example.org/w.whl" if name == "course" else ""
        (work / "exchange").mkdir(exist_ok=True)
        made[name] = write_handout(course, "two_layer_net", work / name)
    return made


def test_handout_holds_what_a_student_needs(handouts):
    wheel = f"two_layer_net_course-{__version__}-py3-none-any.whl"
    for folder in handouts.values():
        names = {path.name for path in folder.iterdir()}
        assert names == {*ASKED, wheel, "README.md", "environment.yml", "nbgrader_config.py"}
        with zipfile.ZipFile(folder.with_suffix(".zip")) as archive:
            assert {Path(name).name for name in archive.namelist() if not name.endswith("/")} == names
    with zipfile.ZipFile(handouts["plain"] / wheel) as archive:
        packages = {name.partition("/")[0] for name in archive.namelist()}
        assert packages == {"course_utils", f"two_layer_net_course-{__version__}.dist-info"}
        of_package = {name for name in archive.namelist() if name.startswith("course_utils/")}
    source = (path for path in (REPOSITORY / "course_utils").rglob("*") if path.is_file())
    assert of_package == {path.relative_to(REPOSITORY).as_posix() for path in source if path.suffix != ".pyc"}


def test_handout_names_course_and_exchange(handouts):
    plain, course = (
        (handouts[name] / "nbgrader_config.py").read_text(encoding="utf-8") for name in ("plain", "course")
    )
    assert "two-layer-net" in plain and "Exchange" not in plain
    assert "Exchange.root" in course
    for text in (plain, course):
        settings = Config()
        exec(text, {"get_config": lambda settings=settings: settings})
        assert settings.CourseDirectory.course_id == "two-layer-net"


def test_handouts_readme_works_in_every_shell(handouts):
    for folder in handouts.values():
        readme = (folder / "README.md").read_text(encoding="utf-8")
        commands = re.findall(r"^ {4}(.+)$", readme, flags=re.MULTILINE) + re.findall(r"`([^`\n]+)`", readme)
        for command in commands:
            assert not re.search(r"[*?$~&|;<>]", command), f"a shell would have to understand: {command}"
        for wheel in re.findall(r"[\w.-]+\.whl", readme):
            assert (folder / wheel).exists()
        for place in ("Linux", "macOS", "Windows PowerShell", "conda", "Colab", "VS Code", "JupyterHub"):
            assert place in readme
        assert len(readme.split()) < 650, "one page"
        assert "{" not in readme
    assert "first cell installs" in (handouts["course"] / "README.md").read_text(encoding="utf-8")


def test_handouts_conda_environment_takes_the_wheel(handouts):
    environment = yaml.safe_load((handouts["plain"] / "environment.yml").read_text(encoding="utf-8"))
    (by_pip,) = [entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict)]
    assert by_pip == [f"./two_layer_net_course-{__version__}-py3-none-any.whl"]


def test_continuous_integration_installs_the_handouts_wheel():
    workflow = (REPOSITORY / ".github" / "workflows" / "test.yml").read_text(encoding="utf-8")
    jobs = yaml.safe_load(workflow)["jobs"]
    assert {"windows-latest", "macos-latest"} <= set(jobs["students"]["strategy"]["matrix"]["os"])
    assert any(step.get("run") == "make test" for step in jobs["linux"]["steps"])
    assert f"two_layer_net_course-{project()['version']}-py3-none-any.whl" in workflow


# --- Front ends ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def copies(release, tmp_path_factory) -> Path:
    """A perfect student's folder, in which a front end has renamed the notebooks."""
    return write_solved(release, tmp_path_factory.mktemp("copies") / "files", rename="Copy of {}")


@pytest.mark.parametrize("name", sorted(ASKED)[:3])
def test_copies_run_in_another_working_directory(name, copies, tmp_path, monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", str(copies / f"Copy of {name}"))  # as Jupyter Server tells its kernels
    notebook = run(copies / f"Copy of {name}", tmp_path)
    assert list(complaints(notebook, solved=True)) == []
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", ()))
    assert "stand-in" not in printed
    assert name.startswith("1") or "Yours, from Copy of 1_forward_check.ipynb" in printed


@pytest.mark.parametrize("name", sorted(ASKED)[:4])
def test_an_untouched_notebook_runs_to_its_end_where_there_is_no_pytorch(name, release, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("JPY_SESSION_NAME", str(release / name))
    notebook = run(release / name, tmp_path)
    assert list(complaints(notebook, solved=False)) == []
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip())


def as_colab_saves(notebook: nbformat.NotebookNode) -> dict:
    """A notebook in format 4.0, with cell ids and Colab's own entries in the metadata, and no tags."""
    saved = json.loads(nbformat.writes(notebook))
    for cell in saved["cells"]:
        cell["metadata"] = {"id": cell.pop("id"), **cell["metadata"]}
        cell["metadata"].pop("tags", None)
        if cell["cell_type"] == "code":
            cell["metadata"]["colab"] = {"base_uri": "https://localhost:8080/"}
            cell["metadata"]["outputId"] = "1"
    kernel = {"name": "python3", "display_name": "Python 3"}
    saved["metadata"] = {"colab": {"provenance": []}, "kernelspec": kernel, "language_info": {"name": "python"}}
    saved["nbformat_minor"] = 0
    return saved


@pytest.mark.usefixtures("cage")
def test_a_submission_from_colab_is_graded_to_the_last_point(copies, release, tmp_path):
    work = tmp_path / "course"
    shutil.copytree(release.parent.parent, work)
    folder = work / "submitted" / "ada" / "two_layer_net"
    shutil.copytree(copies, folder)
    for path in folder.glob("*.ipynb"):
        path.write_text(json.dumps(as_colab_saves(nbformat.read(path, as_version=4))), encoding="utf-8")
    command = [sys.executable, "-m", "autograder", "grade", "two_layer_net", "--jobs", "1"]
    done = subprocess.run(
        command, cwd=REPOSITORY, env=os.environ | {"COURSE_ROOT": str(work)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    with Gradebook(f"sqlite:///{work / 'gradebook.db'}", "two-layer-net") as gradebook:
        submission = gradebook.find_submission("two_layer_net", "ada")
        lost = {
            grade.cell.name: grade.auto_score
            for notebook in submission.notebooks
            for grade in notebook.grades
            if grade.cell.cell_type == "code" and grade.auto_score != grade.max_score
        }
    assert lost == {}


@pytest.mark.parametrize("requirement", ["numpy==2.1.3", "ipykernel==6.17.1", "torch==2.4.0"])
def test_colabs_versions_are_within_the_ranges(requirement):
    wanted = Requirement(requirement)
    (declared_one,) = [item for item in declared("pytorch") if item.name == wanted.name]
    assert declared_one.specifier.contains(str(wanted.specifier).removeprefix("=="))


def test_first_cell_installs_what_is_missing_and_changes_nothing(handouts, release, tmp_path):
    """In a new environment with other versions than pip would choose; nothing is asked of a network."""
    environment = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", str(environment)], check=True)
    python = environment / ("Scripts" if os.name == "nt" else "bin") / "python"
    (site,) = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"], capture_output=True, text=True
    ).stdout.splitlines()
    # Stand-ins that hold their versions: what a front end has installed.
    installed = {canonicalize_name(item.name): "99.0" for item in declared("pytorch")} | {
        "numpy": "2.1.3",
        "torch": "2.4.0",
    }
    for name, version in installed.items():
        module = {"pillow": "PIL"}.get(name, name)
        Path(site, module).mkdir()
        Path(site, module, "__init__.py").write_text(f"__version__ = {version!r}\n")
        information = Path(site, f"{name}-{version}.dist-info")
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (information / "RECORD").write_text("")
        (information / "INSTALLER").write_text("front-end\n")
    notebook = nbformat.read(release / "5_pytorch_comparison.ipynb", as_version=4)
    first = next(cell for cell in notebook.cells if cell.cell_type == "code").source
    (wheel,) = handouts["plain"].glob("*.whl")
    program = first.replace("WHEEL = ''", f"WHEEL = {str(wheel)!r}")
    assert program != first
    before = _versions(python)
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    after = _versions(python)
    assert after.pop("two-layer-net-course") == __version__
    assert after == before
    # Where only a change of what is there would do, it is left alone, and the sentence says what is missing.
    subprocess.run(
        [python, "-m", "pip", "uninstall", "--quiet", "--yes", "two-layer-net-course"], check=True, cwd=tmp_path
    )
    Path(site, "numpy-2.1.3.dist-info").rename(Path(site, "numpy-1.26.4.dist-info"))
    metadata = Path(site, "numpy-1.26.4.dist-info", "METADATA")
    metadata.write_text(metadata.read_text().replace("2.1.3", "1.26.4"))
    before = _versions(python)
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode != 0
    assert "NotInstalled: Not installed in" in done.stderr and "course_utils" in done.stderr
    assert _versions(python) == before


def _versions(python: Path) -> dict[str, str]:
    program = (
        "import json; from importlib import metadata; "
        "print(json.dumps({package.name.lower(): package.version for package in metadata.distributions()}))"
    )
    # Not in the repository, whose own package would be seen.
    done = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True, cwd=python.parent)
    return json.loads(done.stdout)
