"""Whether everyone can read the notebooks: nothing cut off at 900 pixels, and no figure without a description."""

from __future__ import annotations

import json
import shutil

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import PATIENCE
from tests.conftest import SOURCE

pytestmark = [pytest.mark.slow, pytest.mark.alone]

# The texts, formulas and outputs that are wider than their place; code scrolls by itself.
_CUT_OFF = """
() => [...document.querySelectorAll(".jp-RenderedMarkdown, .jp-RenderedMarkdown mjx-container, .jp-RenderedHTML")]
    .filter(one => one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 2)
    .map(one => `${one.textContent.slice(0, 80)}: ${one.scrollWidth} > ${one.clientWidth}`)
"""
# No paragraph is left that begins as a formula was typed.
_TYPESET = """
() => [...document.querySelectorAll(".jp-RenderedMarkdown p")].every(one => !one.innerText.trim().startsWith("$$"))
"""


def test_nothing_is_cut_off_and_every_figure_is_described(page, served, tmp_path):
    for path in sorted(SOURCE.glob("*.ipynb")):
        shutil.copy(path, tmp_path)
    settings = tmp_path / "settings" / "@jupyterlab" / "notebook-extension"
    settings.mkdir(parents=True)
    # Cells out of sight are on the page, too.
    (settings / "tracker.jupyterlab-settings").write_text(json.dumps({"windowingMode": "none"}))
    lab = served(
        tmp_path, JUPYTERLAB_SETTINGS_DIR=str(tmp_path / "settings"), JUPYTERLAB_WORKSPACES_DIR=str(tmp_path / "work")
    )
    page.set_viewport_size({"width": 900, "height": 800})
    cut_off, bare = {}, {}
    for name in sorted(path.name for path in tmp_path.glob("*.ipynb")):
        page.goto(f"{lab}/doc/tree/{name}?reset")
        expect(page.locator(".jp-RenderedMarkdown mjx-container").first).to_be_attached(timeout=PATIENCE)
        page.wait_for_function(_TYPESET, timeout=PATIENCE)
        cut_off[name] = page.evaluate(_CUT_OFF)
        descriptions = page.eval_on_selector_all(".jp-OutputArea img", "all => all.map(one => one.alt)")
        bare[name] = [len(text) <= 40 for text in descriptions or [""]]
    assert not any(cut_off.values()), "\n".join(text for texts in cut_off.values() for text in texts)
    assert not any(map(any, bare.values())), bare
