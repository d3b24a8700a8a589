"""formgrader and feedback, as a grader and a student see them, with a submission that attacks whoever looks."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import NamedTuple

import nbformat
import pytest
from PIL import Image
from playwright.sync_api import Page

from tests.attacks.sample import cell_of
from tests.browser.conftest import PATIENCE
from tests.conftest import REPOSITORY

pytestmark = [pytest.mark.slow, pytest.mark.alone]

ASSIGNMENT = "two_layer_net"
_CALL = "fetch('/pwned')"
_SCRIPT = f"<script>{_CALL}</script>"
_FIXED = "position:fixed;top:0;left:0;width:100%;height:200px;background:red"

_HEADINGS = """\
###### test-best-net
###### diagnosis
<h6 id="test-best-net-48">a</h6><p id="statusmessage"></p><a name="test-best-net-48"></a>
<div class="nbgrader_cell"><input class="score" id="test-best-net_extra_credit"><textarea id="diagnosis-comment">
"""

_LINKS = rf"""
[appendix](appendix.html) [in the folder](/files/autograded/eve/{ASSIGNMENT}/appendix.html)
<a href="appendix.svg">drawing</a> <a href="javascript:{_CALL}">script</a>
[settings](/formgrader/?path=submitted/eve/{ASSIGNMENT}) [upper](Appendix.XHTML)
<div onclick="{_CALL}">click</div> <button onclick="{_CALL}">button</button>
<form action="/pwned"><input type="submit" value="form"></form>
<img src="/pwned"> <img src=x onerror="{_CALL}"> <svg onload="{_CALL}"><a href="/pwned"><text>x</text></a></svg>
<iframe src="/pwned"></iframe> <object data="/pwned"></object> <link rel="stylesheet" href="/pwned">
<details ontoggle="{_CALL}" open>x</details> {_SCRIPT} <math href="/pwned"><mi>m</mi></math>
![a](/pwned) ![b](data:image/svg+xml;base64,{base64.b64encode(f"<svg xmlns='x'>{_SCRIPT}</svg>".encode()).decode()})

$\href{{/pwned}}{{a}}$ $\class{{navbar-fixed-top}}{{b}}$ $\cssId{{test-best-net-48}}{{c}}$
$\style{{{_FIXED}}}{{d}}$ $\mmlToken{{mi}}[href="/pwned" id="test-best-net-48" class="navbar-fixed-top"]{{e}}$
$\require{{html}}\let\x=\href \x{{/pwned}}{{f}}$ $\bbox[{_FIXED}]{{g}}$ $\hr&#101;f{{/pwned}}{{h}}$
"""

_BAR = f"""
<div class="navbar navbar-default navbar-fixed-top" style="{_FIXED}">SPOOFED BAR</div>
<div style="{_FIXED}">SPOOFED BAR</div>

$\\rlap{{\\kern-30em\\raise 60em{{\\rule{{200em}}{{200em}}}}}}$
"""

_HONEST = """
## What I found

The loss falls as $J = -\\frac{1}{N}\\sum_i \\log a_{i,y_i}$, and *slowly* with `lr = 1e-4`.

| rate | accuracy |
|:-----|---------:|
| 1e-4 | 0.286 |
| 2e-3 | 0.519 |

```python
for rate in (1e-4, 2e-3):
    print(f"<{rate}>")
```

$$
\\frac{\\partial J}{\\partial W_2} = a_2^\\top \\delta_3 + \\lambda W_2 \\tag{1}
$$

![the curve](attachment:curve.png) H<sub>2</sub>O, a [source](https://example.org/a)
"""


def _drawing() -> str:
    made = io.BytesIO()
    Image.new("RGB", (120, 60), (30, 90, 200)).save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()


#: What a student's text and outputs are in.
_STUDENTS = ".text_cell_render, .output"


class _Course(NamedTuple):
    """A graded course: its folder, the address of its server, and formgrader's page for each submitted notebook."""

    folder: Path
    address: str
    pages: dict[tuple[str, str], str]


def _answer(notebook: nbformat.NotebookNode, grade_id: str, text: str, **attachments: dict) -> None:
    cell = cell_of(notebook, grade_id)
    cell.source = text
    if attachments:
        cell.attachments = attachments


def _hostile(folder: Path) -> None:
    """Make a submission hostile: its notebooks 2 and 4, and the files beside them."""
    path = folder / "4_cifar10_tuning.ipynb"
    notebook = nbformat.read(path, as_version=4)
    _answer(notebook, "diagnosis", _HEADINGS)
    latex = f'<b onclick="{_CALL}">$x$</b>'
    tagged = nbformat.v4.new_code_cell(
        "from IPython.display import HTML, Latex, Javascript, Markdown, display\n"
        f"display(HTML({_LINKS + _BAR!r}), Markdown({_LINKS!r}), Latex({latex!r}), Javascript({_CALL!r}))\n"
        f"display({{'text/html': {_SCRIPT!r}}}, metadata={{'text/html': {{'isolated': True}}}}, raw=True)\n"
        f"print('\\x1b[31m', {_SCRIPT!r})",
        metadata={"tags": ["x navbar-fixed-top", "hide-input"]},
    )
    raw = nbformat.v4.new_raw_cell(_SCRIPT, metadata={"raw_mimetype": "text/html"})
    notebook.cells += [nbformat.v4.new_markdown_cell(_LINKS), nbformat.v4.new_markdown_cell(_BAR), tagged, raw]
    nbformat.write(notebook, path)
    path = folder / "2_backprop_derivation.ipynb"
    notebook = nbformat.read(path, as_version=4)
    _answer(notebook, "derivation", "<div>" * 30_000)
    floods = ["<div>" * 5_900, "<b title=1><p>" * 2_000, "> " * 14_000, "$x$ " * 7_000, "[" * 29_000, "*a " * 9_000]
    notebook.cells += [nbformat.v4.new_markdown_cell(text) for text in floods]
    nbformat.write(notebook, path)
    page = f"<!doctype html><body>appendix{_SCRIPT}</body>"
    for name in ("appendix.html", "Appendix.XHTML", "appendix.svg", "appendix.htm", "appendix.xml", "appendix"):
        (folder / name).write_text(page)
    (folder / "nbgrader_config.py").write_text("import pathlib\npathlib.Path('pwned').touch()\n")


def _solution(path: Path, grade_id: str) -> str:
    """What the instructor wrote into a cell."""
    return cell_of(nbformat.read(path, as_version=4), grade_id).source


def _trained(notebook: nbformat.NotebookNode) -> None:
    """Give the training that the diagnosis is about the pictures that a student sees."""
    names = [cell.metadata.get("nbgrader", {}).get("grade_id") for cell in notebook.cells]
    cell = notebook.cells[names.index("default-training")]
    hostile = {"image/svg+xml": f"<svg xmlns='http://www.w3.org/2000/svg'>{_SCRIPT}</svg>", "text/html": _SCRIPT}
    shown = {"image/png": _drawing()}
    cell.outputs = [
        nbformat.v4.new_output("display_data", hostile),
        nbformat.v4.new_output("stream", text="validation accuracy 0.286"),
        nbformat.v4.new_output("display_data", shown, metadata={"image/png": {"alt": "loss \"><script>"}}),
        nbformat.v4.new_output("display_data", {"image/png": "bm8gcGljdHVyZQ=="}),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def course(tmp_path_factory, cage, browser, served) -> _Course:
    """A course in a folder of its own, in which one hostile and one honest student have been graded."""
    folder = tmp_path_factory.mktemp("course")
    shutil.copy(REPOSITORY / "nbgrader_config.py", folder)
    shutil.copytree(REPOSITORY / "notebooks", folder / "notebooks")
    environment = os.environ | {"COURSE_ROOT": str(folder), "PYTHONPATH": str(REPOSITORY)}

    def run(*command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", *command], cwd=folder, env=environment, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout + done.stderr

    run("nbgrader", "generate_assignment", ASSIGNMENT)
    for student in ("ada", "eve"):
        shutil.copytree(folder / "release" / ASSIGNMENT, folder / "submitted" / student / ASSIGNMENT)
    _hostile(folder / "submitted" / "eve" / ASSIGNMENT)
    path = folder / "submitted" / "ada" / ASSIGNMENT / "4_cifar10_tuning.ipynb"
    notebook = nbformat.read(path, as_version=4)
    _answer(notebook, "diagnosis", _HONEST, **{"curve.png": {"image/png": _drawing()}})
    _trained(notebook)
    nbformat.write(notebook, path)
    path = folder / "submitted" / "ada" / ASSIGNMENT / "2_backprop_derivation.ipynb"
    notebook = nbformat.read(path, as_version=4)
    _answer(notebook, "derivation", _solution(folder / "notebooks" / ASSIGNMENT / path.name, "derivation"))
    nbformat.write(notebook, path)
    run("autograder", "grade", ASSIGNMENT)
    run("nbgrader", "generate_feedback", ASSIGNMENT)
    return _course(folder, served)


def _course(folder: Path, served) -> _Course:
    address = served(folder, COURSE_ROOT=str(folder))
    pages = {}
    for name in ("2_backprop_derivation", "4_cifar10_tuning"):
        for entry in _read(f"{address}/formgrader/api/submitted_notebooks/{ASSIGNMENT}/{name}"):
            pages[entry["student"], name] = f"{address}/formgrader/submissions/{entry['id']}/?index=0"
    return _Course(folder, address, pages)


def _read(address: str) -> list[dict]:
    with urllib.request.urlopen(address, timeout=60) as answer:
        return json.load(answer)


def _open(page: Page, address: str) -> None:
    """Open a page and wait until its formulas are typeset, which on a feedback page they are."""
    page.goto(address)
    if address.startswith("file:"):
        return
    page.wait_for_function("window.MathJax && MathJax.Hub && MathJax.Hub.queue.pending == 0 && MathJax.isReady")


def _grades(course: _Course, student: str, name: str) -> dict[str, dict]:
    """The grades of a submitted notebook, by the name of the cell."""
    identity = course.pages[student, name].split("/")[-2]
    return {entry["name"]: entry for entry in _read(f"{course.address}/formgrader/api/grades?submission_id={identity}")}


def test_full_credit_for_an_essay_is_for_the_essay_alone(course, page):
    _open(page, course.pages["eve", "4_cifar10_tuning"])
    marked = page.eval_on_selector_all(f":is({_STUDENTS}) :is([id], [name])", "all => all.map(e => e.id || e.name)")
    assert [name for name in marked if not name.startswith("MathJax-")] == []
    before = _grades(course, "eve", "4_cifar10_tuning")
    page.wait_for_selector("#diagnosis.score")
    box = page.locator(".nbgrader_cell", has=page.locator("[id='diagnosis']"))
    with page.expect_response(lambda response: "/api/grade/" in response.url):
        box.locator(".full-credit").first.click()
    after = _grades(course, "eve", "4_cifar10_tuning")
    changed = [name for name in after if after[name]["manual_score"] != before[name]["manual_score"]]
    assert changed == ["diagnosis"]
    assert after["diagnosis"]["manual_score"] == after["diagnosis"]["max_score"]


@pytest.mark.parametrize("where", ["formgrader", "feedback"])
def test_whatever_is_clicked_runs_no_script_and_leads_nowhere(course, page, where):
    if where == "formgrader":
        address = course.pages["eve", "4_cifar10_tuning"]
    else:
        address = f"file://{course.folder}/feedback/eve/{ASSIGNMENT}/4_cifar10_tuning.html"
    _open(page, address)
    at = page.url
    assert page.locator(_STUDENTS).count() > 10
    acts = (
        "script:not([type^='math/']), a, form, iframe, object, embed, link, style, svg, button, input, textarea, "
        "[onclick], [onload], [onerror], [href]"
    )
    assert page.eval_on_selector_all(f":is({_STUDENTS}) :is({acts})", "all => all.map(e => e.outerHTML)") == []
    for kind in ("click", "dblclick", "mouseover"):
        every = f"all => all.forEach(element => element.dispatchEvent(new MouseEvent('{kind}', {{bubbles: true}})))"
        page.eval_on_selector_all(f":is({_STUDENTS}) *", every)
    for shown in page.locator(f":is({_STUDENTS}) p").all():
        shown.click(force=True, position={"x": 5, "y": 5})
    page.wait_for_timeout(500)
    assert page.url == at
    assert [address for address in page.visited if "pwned" in address or "appendix" in address.lower()] == []
    assert not (course.folder / "pwned").exists()


def test_no_file_of_a_submission_is_a_page(course, page):
    identity = course.pages["eve", "4_cifar10_tuning"].split("/")[-2]
    folder = course.folder / "autograded" / "eve" / ASSIGNMENT
    names = sorted(path.name for path in folder.iterdir())
    assert "appendix.html.txt" in names
    told = course.folder / "feedback" / "eve" / ASSIGNMENT / "1_forward_check.html"
    assert "appendix.html.txt" in told.read_text()
    page.goto(f"{course.address}/lab/api/settings")  # so that the session is Jupyter's
    for name in [*names, "appendix.html", "Appendix.XHTML", "appendix.svg", "nbgrader_config.py"]:
        answer = page.request.get(f"{course.address}/formgrader/submissions/{identity}/{name}")
        assert answer.status == (200 if name in names else 404), name
        kind = answer.headers["content-type"].split(";")[0]
        assert answer.status == 404 or kind in ("text/plain", "application/octet-stream", "application/x-ipynb+json")
        assert answer.headers["x-content-type-options"] == "nosniff"
    page.goto(f"{course.address}/formgrader/submissions/{identity}/appendix.html.txt")
    page.wait_for_timeout(300)
    assert not [address for address in page.visited if "pwned" in address]


def test_nothing_covers_the_bar(course, page):
    _open(page, course.pages["eve", "4_cifar10_tuning"])
    covered = page.evaluate("""() => {
        const covered = [];
        for (const link of document.querySelectorAll("nav.navbar-fixed-top a")) {
            const box = link.getBoundingClientRect();
            const seen = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
            if (box.width && !(seen && seen.closest("nav.navbar-fixed-top a"))) covered.push(link.outerHTML);
        }
        return covered;
    }""")
    assert covered == []
    assert page.locator(".navbar-fixed-top").count() == 1
    outside = page.evaluate("""() => [...document.querySelectorAll(".text_cell_render *, .output *")].filter(
        e => ["fixed", "sticky"].includes(getComputedStyle(e).position)).length""")
    assert outside == 0


@pytest.mark.parametrize("where", ["formgrader", "feedback"])
def test_a_flood_of_elements_is_shown_within_seconds(course, page, where):
    if where == "formgrader":
        address = course.pages["eve", "2_backprop_derivation"]
    else:
        address = f"file://{course.folder}/feedback/eve/{ASSIGNMENT}/2_backprop_derivation.html"
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(address, wait_until="domcontentloaded", timeout=5 * PATIENCE)
    assert page.evaluate("document.querySelectorAll('*').length") > 100
    page.mouse.wheel(0, 5000)
    page.evaluate("() => new Promise(requestAnimationFrame)")
    measured = {entry["name"]: entry["value"] for entry in tools.send("Performance.getMetrics")["metrics"]}
    assert measured["TaskDuration"] < 10  # seconds of processor time; 150 kB of <div> took 42
    depth = page.evaluate("""() => Math.max(...[...document.querySelectorAll("*")].map(element => {
        let depth = 0;
        for (; element; element = element.parentElement) depth++;
        return depth;
    }))""")
    assert depth < 100


def test_honest_markdown_is_shown(course, page):
    _open(page, course.pages["ada", "4_cifar10_tuning"])
    shown = page.locator(".text_cell_render .handed-in", has=page.locator("text=What I found"))
    assert shown.locator("h2").inner_text() == "What I found"
    assert [cell.inner_text() for cell in shown.locator("td").all()] == ["1e-4", "0.286", "2e-3", "0.519"]
    assert shown.locator("pre code").inner_text().splitlines()[1] == '    print(f"<{rate}>")'
    assert shown.locator(".MathJax").count() == 2
    assert "(1)" in shown.locator(".MathJax_Display").inner_text()
    assert shown.locator("p img").evaluate("image => [image.naturalWidth, image.alt]") == [120, "the curve"]
    assert "source (https://example.org/a)" in shown.inner_text()


def test_rubric_and_pictures_stand_beside_the_answer(course, page):
    _open(page, course.pages["ada", "4_cifar10_tuning"])
    box = page.locator(".nbgrader_cell", has=page.locator("[id='diagnosis']"))
    answer, beside = box.locator(".handed-in"), box.locator(".beside")
    assert "one point for what the pictures show, one for what follows" in beside.inner_text()
    assert "Then more capacity" not in beside.inner_text()
    beside.locator("summary").click()
    assert "Then more capacity" in beside.inner_text()
    left, right = answer.bounding_box(), beside.bounding_box()
    assert left["x"] + left["width"] <= right["x"] and abs(left["y"] - right["y"]) < 2
    pictures = answer.locator("img").evaluate_all("all => all.map(image => [image.naturalWidth, image.alt])")
    assert pictures == [[120, "the curve"], [120, 'loss "><script>']]
    assert page.locator(".beside").count() == 2, "diagnosis and findings"
    page.set_viewport_size({"width": 700, "height": 900})
    assert beside.bounding_box()["y"] >= answer.bounding_box()["y"] + answer.bounding_box()["height"]


def test_a_derivation_is_typeset_without_a_network(course, page):
    page.context.route(lambda address: not address.startswith(course.address), lambda route: route.abort())
    _open(page, course.pages["ada", "2_backprop_derivation"])
    box = page.locator(".nbgrader_cell", has=page.locator("[id='derivation']"))
    assert "One point each for" in box.locator(".beside").inner_text()
    answer = box.locator(".handed-in")
    assert answer.locator(".MathJax_Display").count() == 18
    assert answer.locator(".MathJax_Error, .MathJax_Preview:not(:empty)").count() == 0
    assert [text for text in answer.locator("p").all_inner_texts() if "$" in text] == []
    assert [address for address in page.visited if not address.startswith((course.address, "data:", "about:"))] == []


def test_a_feedback_page_typesets_formulas_and_loads_nothing(course, page):
    for name in ("2_backprop_derivation", "4_cifar10_tuning"):
        page.goto(f"file://{course.folder}/feedback/ada/{ASSIGNMENT}/{name}.html")
        assert [text for text in page.locator(".text_cell_render p").all_inner_texts() if "$" in text] == []
    assert page.locator("math mfrac").first.evaluate("it => getComputedStyle(it).display") == "block math"
    assert "(1)" in page.locator(".nbgrader_cell math[display=block]").first.text_content()
    page.goto(f"file://{course.folder}/feedback/ada/{ASSIGNMENT}/2_backprop_derivation.html")
    answer = page.locator(".nbgrader_cell", has=page.locator("[name='derivation']")).locator(".panel-body")
    assert answer.locator("math[display=block]").count() == 18
    high = answer.locator("math[display=block]:has(mfrac)").evaluate_all("all => all.map(it => it.clientHeight)")
    assert min(high) > 25
    assert page.locator("script").count() == 0
    assert [address for address in page.visited if not address.startswith(("file:", "data:"))] == []


def test_what_is_for_graders_is_on_no_feedback_page(course, page):
    text = (course.folder / "feedback" / "ada" / ASSIGNMENT / "4_cifar10_tuning.html").read_text()
    assert "Then more capacity" not in text and 'class="beside"' not in text
