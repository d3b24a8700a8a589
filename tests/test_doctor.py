"""What would stop a student, found one by one on a machine where nothing would."""

from __future__ import annotations

import shutil
import sys
from importlib import metadata
from types import SimpleNamespace

import pytest

from course_utils import doctor
from course_utils.__main__ import main
from course_utils.download import WebArchive
from course_utils.notebooks import ASKED
from tests.conftest import SOURCE


@pytest.fixture
def healthy(tmp_path, monkeypatch):
    """A folder with the notebooks, on a machine that has everything."""
    monkeypatch.setattr(doctor, "_cached", lambda: True)
    for name in ASKED:
        shutil.copy(SOURCE / name, tmp_path / name)
    assert doctor.examine(tmp_path) == []
    return tmp_path


def test_nothing_stands_in_the_way(healthy, capsys):
    assert main(["doctor", str(healthy)]) == 0
    assert capsys.readouterr().out == "Nothing stands in the way.\n"


def only(folder) -> str:
    (sentence,) = doctor.examine(folder)
    return sentence


def test_python_that_is_too_old_or_too_new(healthy, monkeypatch):
    monkeypatch.setattr(doctor.platform, "python_version", lambda: "3.10.4")
    assert "3.10.4 is too old" in only(healthy)
    monkeypatch.undo()
    monkeypatch.setattr(doctor, "_cached", lambda: True)
    monkeypatch.setattr(doctor.sys, "version_info", (3, 99, 0))
    assert "newer than" in only(healthy)


@pytest.mark.parametrize("package, said", [("sympy", 'pip install "sympy>='), ("torch", "PyTorch isn't installed")])
def test_missing_package(healthy, monkeypatch, package, said):
    real = metadata.version

    def version(name: str) -> str:
        if name == package:
            raise metadata.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor.metadata, "version", version)
    assert said in only(healthy)


def test_old_package(healthy, monkeypatch):
    real = metadata.version
    monkeypatch.setattr(doctor.metadata, "version", lambda name: "1.26.4" if name == "numpy" else real(name))
    assert only(healthy).startswith("numpy is 1.26.4, and >=2.0 is needed")


@pytest.mark.parametrize("python, said", [("/nowhere/python", "isn't there"), (shutil.which("env"), "another Python")])
def test_kernel_of_another_python(healthy, monkeypatch, python, said):
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: KernelSpec(argv=[python, "-m"]))
    assert said in only(healthy) and python in only(healthy)


@pytest.mark.parametrize("python", ["python", "python3"])
def test_kernel_of_a_machine_without_that_name(healthy, monkeypatch, python):
    from jupyter_client.kernelspec import KernelSpec, KernelSpecManager

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", lambda self, name: KernelSpec(argv=[python, "-m"]))
    monkeypatch.setenv("PATH", "/nowhere")
    assert doctor.examine(healthy) == []


def test_no_kernel(healthy, monkeypatch):
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    def none(self, name):
        raise NoSuchKernel(name)

    monkeypatch.setattr(KernelSpecManager, "get_kernel_spec", none)
    assert f"{sys.executable} -m ipykernel install --user" in only(healthy)


def test_missing_renamed_and_wrong_notebooks(healthy):
    (healthy / "1_forward_check.ipynb").rename(healthy / "Copy of 1_forward_check.ipynb")
    assert "is called Copy of 1_forward_check.ipynb" in only(healthy)
    (healthy / "Copy of 1_forward_check.ipynb").unlink()
    assert "No notebook with the functions of 1_forward_check.ipynb" in only(healthy)
    shutil.copy(SOURCE / "2_backprop_derivation.ipynb", healthy / "1_forward_check.ipynb")
    assert "isn't the notebook of that name" in only(healthy)
    (healthy / "1_forward_check.ipynb").write_text("not JSON")
    assert "can't be read" in only(healthy)


def test_missing_folder(healthy):
    assert str(healthy / "none") in only(healthy / "none")


def test_full_disk(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "_cached", lambda: False)
    monkeypatch.setattr(doctor, "_answers", lambda source: True)
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: SimpleNamespace(free=12_000_000))
    assert "12 MB are free" in only(healthy)


def test_cache_that_cannot_be_written(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "_cached", lambda: False)
    monkeypatch.setattr(doctor, "_answers", lambda source: True)
    (healthy / "file").write_text("")
    monkeypatch.setenv("COURSE_CACHE", str(healthy / "file" / "cache"))
    assert "set COURSE_CACHE to another folder" in only(healthy)


def test_no_network(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "_cached", lambda: False)
    dead = WebArchive("http://127.0.0.1:9/cifar-10-binary.tar.gz")
    monkeypatch.setattr(doctor, "CIFAR10", SimpleNamespace(sources=(dead,)))
    assert dead.url in only(healthy) and "can't be reached" in only(healthy)


def test_network_does_not_matter_where_the_data_are_there(healthy, monkeypatch):
    monkeypatch.setattr(doctor, "_answers", lambda source: pytest.fail("asked the network"))
    assert doctor.examine(healthy) == []


def test_every_sentence_is_printed(healthy, capsys):
    (healthy / "1_forward_check.ipynb").unlink()
    (healthy / "2_backprop_derivation.ipynb").unlink()
    assert main(["doctor", str(healthy)]) == 1
    assert capsys.readouterr().out.count("- ") == 2
