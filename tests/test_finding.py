"""A student's notebooks under other names, in other folders, in Colab."""

from __future__ import annotations

import os
import shutil
import sys
import types

import nbformat
import pytest

from course_utils import notebooks
from course_utils.notebooks import ASKED, NotebookError, begin, find, read, recognised
from tests.conftest import SOURCE

pytestmark = pytest.mark.slow

FIRST, SECOND = "1_forward_check.ipynb", "2_backprop_derivation.ipynb"


@pytest.mark.parametrize("name", ASKED)
def test_every_notebook_is_recognised_solved_and_untouched(name, release):
    assert recognised(read(SOURCE / name)) == name
    assert recognised(read(release / name)) == name


@pytest.mark.parametrize("name", ASKED)
def test_front_end_that_drops_metadata_and_a_lost_function(name):
    notebook = read(SOURCE / name)
    for cell in notebook.cells:
        cell.metadata = {}
        cell.source = cell.source.replace(f"def {ASKED[name][0]}(", "def another(")
    assert recognised(notebook) == name


def test_other_notebooks_are_not_recognised():
    cell = nbformat.v4.new_code_cell("def forward(x):\n    return x\n\ndef train(x):\n    return x\n")
    assert recognised(nbformat.v4.new_notebook(cells=[cell])) is None
    assert recognised(nbformat.v4.new_notebook()) is None


@pytest.mark.parametrize("copy", ["Copy of 1_forward_check.ipynb", "1_forward_check-Copy1.ipynb", "homework.ipynb"])
def test_copies_are_found(tmp_path, copy):
    shutil.copy(SOURCE / FIRST, tmp_path / copy)
    assert find(FIRST, [tmp_path]).name == copy


def test_the_name_comes_before_a_copy_and_the_newest_copy_before_others(tmp_path):
    for number, name in enumerate(("1_forward_check (1).ipynb", "1_forward_check (2).ipynb")):
        shutil.copy(SOURCE / FIRST, tmp_path / name)
        os.utime(tmp_path / name, (1000 + number, 1000 + number))
    assert find(FIRST, [tmp_path]).name == "1_forward_check (2).ipynb"
    shutil.copy(SOURCE / FIRST, tmp_path / FIRST)
    os.utime(tmp_path / FIRST, (1, 1))
    assert find(FIRST, [tmp_path]).name == FIRST


def test_another_notebook_under_the_name_gives_way_to_the_right_one(tmp_path):
    shutil.copy(SOURCE / SECOND, tmp_path / FIRST)
    shutil.copy(SOURCE / FIRST, tmp_path / "mine.ipynb")
    assert find(FIRST, [tmp_path]).name == "mine.ipynb"


def test_what_is_not_found_is_said_with_the_folders(tmp_path):
    (tmp_path / "other").mkdir()
    shutil.copy(SOURCE / SECOND, tmp_path / SECOND)
    with pytest.raises(NotebookError) as error:
        find(FIRST, [tmp_path, tmp_path / "other"])
    assert str(tmp_path) in str(error.value) and str(tmp_path / "other") in str(error.value)


def test_folder_of_the_notebook_and_that_of_the_front_end(tmp_path, monkeypatch):
    places = [tmp_path / name for name in ("jupyter", "vscode", "working", "started")]
    for place in places:
        place.mkdir()
    shell = types.SimpleNamespace(
        user_ns={"__vsc_ipynb_file__": str(places[1] / "n.ipynb")}, starting_dir=str(places[3])
    )
    monkeypatch.setattr(notebooks, "_shell", lambda: shell)
    monkeypatch.setenv("JPY_SESSION_NAME", str(places[0] / "n.ipynb"))
    monkeypatch.chdir(places[2])
    assert notebooks.folders() == places
    shutil.copy(SOURCE / FIRST, places[3] / FIRST)
    assert find(FIRST) == places[3] / FIRST


@pytest.fixture
def colab(tmp_path, monkeypatch):
    """Google Drive, as Colab mounts it."""
    drive = tmp_path / "MyDrive"
    monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    monkeypatch.setattr(notebooks, "DRIVE", drive)
    monkeypatch.chdir(tmp_path)
    return drive


def test_colab_without_drive_stays_and_says_what_would_help(colab, capsys):
    begin()
    assert os.getcwd() == str(colab.parent)
    assert capsys.readouterr().out == ""
    with pytest.raises(NotebookError, match="Mount Google Drive"):
        find(FIRST)


def test_colab_with_drive_goes_where_the_notebooks_are(colab, capsys):
    (colab / "Colab Notebooks").mkdir(parents=True)
    shutil.copy(SOURCE / FIRST, colab / "Colab Notebooks" / f"Copy of {FIRST}")
    begin()
    assert os.getcwd() == str(colab / "Colab Notebooks")
    assert find(FIRST).name == f"Copy of {FIRST}"
    assert capsys.readouterr().out == f"Your files are kept in {colab / 'Colab Notebooks'}.\n"


def test_colab_with_an_empty_drive_makes_a_folder(colab):
    colab.mkdir()
    begin()
    assert os.getcwd() == str(colab / "two_layer_net")


def test_elsewhere_the_working_directory_stays(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    begin()
    assert os.getcwd() == str(tmp_path)
    assert capsys.readouterr().out == ""
