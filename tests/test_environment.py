"""One list of pinned versions, from which every way of installing installs."""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
import sys
import tomllib

import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY


def locked() -> dict[str, str]:
    lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line.split(";")[0].strip().split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): version for name, version in pins}


def declared() -> list[Requirement]:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["instructor"]]


def test_lock_satisfies_every_declared_requirement():
    pins = locked()
    for requirement in declared():
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


def test_torch_is_pinned():
    assert locked()["torch"] == "2.13.0"


def test_conda_environment_and_makefile_install_the_lock():
    environment = yaml.safe_load((REPOSITORY / "environment.yml").read_text(encoding="utf-8"))
    by_pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "-r requirements.lock" in by_pip
    by_conda = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    assert {re.split("[=<>]", entry)[0] for entry in by_conda} == {"python", "pip"}, "only the lock pins packages"
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    installs = re.findall(r"pip install(.*)", makefile)
    assert len(installs) == 2
    assert installs[0].endswith("-r requirements.lock")
    assert "--no-deps" in installs[1]


def test_import_is_light():
    program = (
        "import sys, course_utils, course_utils.comparison, course_utils.data, course_utils.handover, "
        "course_utils.reference, course_utils.oracle, course_utils.plots.graph, course_utils.checks.forward\n"
        "print([name for name in ('torch', 'matplotlib', 'requests', 'pooch', 'sympy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
