"""JupyterLab, as a student uses it: a wrong answer, the mended one, Validate, the kernel's buttons, and handing in."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path

import nbformat
import pytest
from playwright.sync_api import Locator, Page, expect

from autograder.demo import solve
from autograder.release import TRAINED
from course_utils.notebooks import ASKED
from course_utils.pack import ARCHIVE, MANIFEST, NETWORKS, fingerprint_of
from tests.attacks.sample import cell_of
from tests.browser.conftest import PATIENCE
from tests.conftest import SOURCE

pytestmark = [pytest.mark.slow, pytest.mark.alone]

FIRST, LAST = "1_forward_check.ipynb", "5_pytorch_comparison.ipynb"
#: In the student's folder, the folder of five notebooks that are done, but for this answer in the last.
_DONE, _UNANSWERED = "done", "depth"
_LONG = "long.ipynb"
_SLIDER = "slider.ipynb"
_SLIDE = """
import numpy as np
from course_utils.plots.boundaries import draw_boundaries, slide
from course_utils.spiral import spiral

def draw(number):
    return draw_boundaries(lambda params, X: {"z3": number * np.c_[X, X.sum(axis=1)]}, {f"H = {number}": {}}, *spiral())

slide(draw, 1, 50, "hidden units")
"""
_WRONG, _RIGHT = "0.5 * reg *", "reg *"


@pytest.fixture(scope="module")
def student(tmp_path_factory, browser, release) -> Path:
    """The folder of a student whose loss is wrong in notebook 1."""
    folder = tmp_path_factory.mktemp("student")
    notebook = solve(nbformat.read(release / FIRST, as_version=4), nbformat.read(SOURCE / FIRST, as_version=4))
    cell = cell_of(notebook, "loss")
    assert _RIGHT in cell.source
    cell.source = cell.source.replace(_RIGHT, _WRONG)
    nbformat.write(notebook, folder / FIRST)
    cell.source = cell.source.replace(_WRONG, _RIGHT)
    notebook.cells.append(nbformat.v4.new_code_cell("import time\nfor _ in range(6000): time.sleep(0.1)"))
    nbformat.write(notebook, folder / _LONG)
    slider = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(_SLIDE.strip())], metadata=notebook.metadata)
    nbformat.write(slider, folder / _SLIDER)
    done = folder / _DONE
    done.mkdir()
    for path in (*SOURCE.glob("*.ipynb"), *(SOURCE / name for name in TRAINED)):
        shutil.copy(path, done)
    last = nbformat.read(done / LAST, as_version=4)
    released = cell_of(nbformat.read(release / LAST, as_version=4), _UNANSWERED)
    cell_of(last, _UNANSWERED).source = released.source
    nbformat.write(last, done / LAST)
    return folder


@pytest.fixture(scope="module")
def lab(tmp_path_factory, student, served) -> str:
    """The address of JupyterLab in the student's folder."""
    settings = tmp_path_factory.mktemp("settings")
    for name, values in {
        "notebook-extension/tracker": {"windowingMode": "none"},  # cells out of sight are on the page, too
        "apputils-extension/notification": {"fetchNews": "false"},
    }.items():
        file = settings / "@jupyterlab" / f"{name}.jupyterlab-settings"
        file.parent.mkdir(parents=True)
        file.write_text(json.dumps(values))
    workspaces = tmp_path_factory.mktemp("workspaces")
    return served(student, JUPYTERLAB_SETTINGS_DIR=str(settings), JUPYTERLAB_WORKSPACES_DIR=str(workspaces))


def _open(page: Page, address: str, name: str) -> None:
    """Open a notebook, and wait for its kernel."""
    page.goto(f"{address}/lab/tree/{name}?reset")
    _wait(page)


def _wait(page: Page) -> None:
    # In the status bar; the notebook's own indicator says so before a kernel is connected, too.
    expect(page.locator("#jp-main-statusbar")).to_contain_text("| Idle", timeout=PATIENCE)


def _command(page: Page, menu: str, command: str) -> None:
    page.locator(".lm-MenuBar-itemLabel", has_text=re.compile(f"^{menu}$")).click()
    page.locator(f".lm-Menu-item[data-command='{command}']").first.click()


def _cell(page: Page, text: str) -> Locator:
    """The code cell whose own text begins with ``text``."""
    begins = re.compile("^" + re.escape(text))
    return page.locator(".jp-CodeCell", has=page.locator(".jp-InputArea-editor .cm-content", has_text=begins))


def _run(page: Page, cell: Locator) -> None:
    cell.locator(".jp-InputArea-editor").click()
    page.keyboard.press("Shift+Enter")


def _write(page: Page, cell: Locator, text: str) -> None:
    """Put other text into a cell that is open for editing, and run it."""
    cell.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)
    page.keyboard.press("Shift+Enter")


def _validate(page: Page) -> str:
    """What Validate says; it saves the notebook first, and a second save at the same time would ask about the file."""
    page.get_by_role("button", name="Validate").first.click()
    dialog = page.locator(".jp-Dialog-content", has_text=re.compile("success|fail", re.IGNORECASE))
    text = dialog.inner_text()
    dialog.locator("button").last.click()
    return text


def test_a_wrong_answer_is_shown_mended_and_passes(lab, page):
    _open(page, lab, FIRST)
    _command(page, "Run", "runmenu:run-all")
    test = _cell(page, "check_loss(")
    expect(test.locator(".jp-RenderedHTML")).to_contain_text("Probable cause", timeout=PATIENCE)
    _wait(page)
    said = _validate(page)
    assert "check_loss(" in said
    assert "check_relu(" not in said

    answer = _cell(page, "def loss(")
    mended = page.evaluate(
        "([editor, wrong, right]) => editor.cmView.view.state.doc.toString().replace(wrong, right)",
        [answer.locator(".cm-content").element_handle(), _WRONG, _RIGHT],
    )
    _write(page, answer, mended)
    _run(page, test)
    expect(test.locator(".jp-OutputArea-output")).to_contain_text("passed:", timeout=PATIENCE)
    expect(test.locator(".jp-OutputArea-output")).not_to_contain_text("Probable cause")
    said = _validate(page)
    assert re.search("success", said, re.IGNORECASE) and "check_" not in said


def test_the_kernel_is_interrupted_and_restarted(lab, page):
    _open(page, lab, _LONG)
    long = _cell(page, "import time")
    _run(page, long)
    expect(long.locator(".jp-InputPrompt")).to_contain_text("[*]", timeout=PATIENCE)
    page.locator("[data-command='notebook:interrupt-kernel']").first.click()
    expect(long.locator(".jp-OutputArea")).to_contain_text("KeyboardInterrupt", timeout=PATIENCE)
    _command(page, "Run", "runmenu:restart-and-run-all")
    page.locator(".jp-Dialog .jp-mod-accept").click()
    expect(_cell(page, "check_relu(").locator(".jp-OutputArea-output")).to_contain_text("passed:", timeout=PATIENCE)
    first = page.locator(".jp-CodeCell .jp-InputPrompt").first
    expect(first).to_contain_text("[1]", timeout=PATIENCE)


def test_a_slider_shows_what_it_stands_at(lab, page):
    _open(page, lab, _SLIDER)
    cell = _cell(page, "import numpy")
    _run(page, cell)
    picture = cell.locator(".jp-OutputArea img")
    expect(picture).to_have_attribute("alt", re.compile(r"H = 1: accuracy"), timeout=PATIENCE)
    cell.locator(".jp-OutputArea .noUi-handle").focus()
    page.keyboard.press("ArrowRight")
    expect(picture).to_have_attribute("alt", re.compile(r"H = 2: accuracy"), timeout=PATIENCE)


def test_what_is_handed_in_is_packed_by_the_last_cell(lab, page, student):
    _open(page, lab, f"{_DONE}/{LAST}")
    _run(page, _cell(page, "import json"))
    said = _pack(page, "[2]:")
    assert LAST in said and _UNANSWERED in said
    assert FIRST not in said and not any(name in said for name in NETWORKS)
    before = _packed(student / _DONE)
    assert fingerprint_of(before) in said

    answer = page.locator(".jp-MarkdownCell", has_text="YOUR ANSWER HERE")
    answer.dblclick()
    _write(page, answer, "Nothing that helps.")
    _command(page, "File", "docmanager:save")
    expect(page.locator(".lm-TabBar-tab.jp-mod-current.jp-mod-dirty")).to_have_count(0, timeout=PATIENCE)
    said = _pack(page, "[3]:")
    assert _UNANSWERED not in said and LAST not in said
    after = _packed(student / _DONE)
    assert fingerprint_of(after) in said and fingerprint_of(before) not in said
    assert b"Nothing that helps." in after[LAST]


def _pack(page: Page, prompt: str) -> str:
    """What the last cell says when it is run, and has this prompt then."""
    cell = _cell(page, "hand_in()")
    _run(page, cell)
    expect(cell.locator(".jp-InputPrompt")).to_have_text(prompt, timeout=PATIENCE)
    output = cell.locator(".jp-OutputArea-output")
    expect(output).to_contain_text(re.compile(r"\b[0-9a-f]{4}(-[0-9a-f]{4}){3}\b"), timeout=PATIENCE)
    return output.inner_text()


def _packed(folder: Path) -> dict[str, bytes]:
    """Name -> content of what was packed there."""
    with zipfile.ZipFile(folder / ARCHIVE) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if name != MANIFEST}
    assert set(files) == {*ASKED, *NETWORKS}
    return files
