"""What is installed: ranges for students, pinned versions for instructors and continuous integration."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

#: The extras of the package, and the Pythons that README names: the oldest, Debian 12's own, and the newest.
EXTRAS = ("pytorch", "lab", "cluster", "instructor")
OLDEST, NEWEST = "3.11.2", "3.14.0"


def locked() -> dict[str, str]:
    lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.split(";")[0].strip().split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def project() -> dict:
    return tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def declared(*extras: str) -> list[Requirement]:
    """What the package requires itself, and what some of its extras add."""
    texts = [
        *project()["dependencies"],
        *(text for extra in extras for text in project()["optional-dependencies"][extra]),
    ]
    return [requirement for requirement in map(Requirement, texts) if requirement.name != project()["name"]]


def test_lock_satisfies_every_declared_requirement():
    pins = locked()
    for requirement in declared(*EXTRAS):
        version = pins.get(canonicalize_name(requirement.name))
        assert version is not None, f"{requirement.name} is not locked; run make lock"
        assert requirement.specifier.contains(version), f"{requirement} is locked at {version}; run make lock"


def test_lock_holds_the_requirements_of_everything_in_it():
    pins = locked()
    for name in pins:
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                key = canonicalize_name(requirement.name)
                assert key in pins, f"{name} needs {requirement.name}, which is not locked; run make lock"
                assert requirement.specifier.contains(pins[key], prereleases=True), f"{name} needs {requirement}"


def test_installed_versions_are_the_locked_ones():
    for name, version in locked().items():
        assert importlib.metadata.version(name).split("+")[0] == version


def test_lock_holds_for_every_python_that_readme_names():
    for name in locked():
        needed = importlib.metadata.metadata(name).get("Requires-Python") or ""
        for python in (OLDEST, NEWEST):
            assert SpecifierSet(needed).contains(python), f"{name} {locked()[name]} wants Python {needed}, not {python}"


def test_makefile_installs_the_lock():
    installs = re.findall(r"pip install(.*)", (REPOSITORY / "Makefile").read_text(encoding="utf-8"))
    assert len(installs) == 2
    assert installs[0].endswith("-r requirements.lock")
    assert "--no-deps" in installs[1]


def test_students_get_ranges_and_none_of_the_instructors_tools():
    for requirement in declared("pytorch", "lab"):
        assert {item.operator for item in requirement.specifier} == {">="}, f"{requirement} is no range from below"
    own = {canonicalize_name(requirement.name) for requirement in declared("instructor")}
    students = {canonicalize_name(requirement.name) for requirement in declared("pytorch", "lab")}
    assert {"pytest", "ruff", "scipy", "jupytext", "mpmath"} <= own - students


def test_conda_takes_from_conda_forge_what_pip_would_bring():
    entries = yaml.safe_load((REPOSITORY / "environment.yml").read_text(encoding="utf-8"))["dependencies"]
    (by_pip,) = [entry["pip"] for entry in entries if isinstance(entry, dict)]
    assert by_pip == ["-e ."]
    of_conda = {Requirement(entry).name: Requirement(entry).specifier for entry in entries if isinstance(entry, str)}
    names = {"matplotlib": "matplotlib-base", "torch": "pytorch"}
    of_pip = {names.get(item.name, item.name): item.specifier for item in declared("pytorch", "lab")}
    assert {name: of_conda.get(name) for name in of_pip} == of_pip
    assert set(of_conda) - set(of_pip) == {"python", "pip"}
    assert of_conda["python"].contains(OLDEST) and of_conda["python"].contains(NEWEST)


def test_import_is_light():
    program = (
        "import sys, course_utils, course_utils.comparison, course_utils.data, course_utils.handover, "
        "course_utils.reference, course_utils.oracle, course_utils.plots.graph, course_utils.checks.forward\n"
        "print([name for name in ('torch', 'matplotlib', 'requests', 'pooch', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
