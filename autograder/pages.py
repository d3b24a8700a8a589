"""The notebook that formgrader and feedback make a page of: a graded one, made anew from what may be shown."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

import jinja2
import nbformat
from nbconvert.exporters import TemplateExporter
from nbconvert.preprocessors import Preprocessor
from nbformat.notebooknode import NotebookNode
from nbgrader.coursedir import CourseDirectory
from traitlets.config import Configurable

from autograder import beside, formulas
from autograder.markup import Picture, clean_markdown, count_formulas, picture
from autograder.outputs import as_output, clean_text

#: Bounds on one page, so that a browser shows it within seconds.
MAX_CHARACTERS = 1_000_000
MAX_MARKDOWN = 200_000
MAX_PIXELS = 50_000_000
MAX_FORMULAS = 2000
MAX_SYMBOLS = 50_000
MAX_COLOURS = 5000
_TEMPLATES = Path(__file__).parent / "templates"
#: What a cell or an output costs besides its text.
_EACH = 100
_CUT = "\n\n[The rest isn't shown: the notebook is too long for a page.]"
_ESCAPE = "\x1b"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# What is in the box is painted, clicked and laid out in it, whatever a formula or a table tries.
_BOX = '<div class="{}" style="contain: content; overflow: auto; max-height: 500em">{}</div>'


class _Left:
    """What may still be shown on a page, whose formulas are MathML (``typeset``) or left to MathJax."""

    def __init__(self, *, typeset: bool) -> None:
        self.typeset, self.symbols = typeset, MAX_SYMBOLS
        self.characters, self.markdown = MAX_CHARACTERS, MAX_MARKDOWN
        self.pixels, self.formulas, self.colours = MAX_PIXELS, MAX_FORMULAS, MAX_COLOURS

    def text(self, text: object, *, is_markdown: bool = False) -> str:
        """A text, or its beginning."""
        text = clean_text(text)
        most = max(min(self.characters, self.markdown) if is_markdown else self.characters, 0)
        self.characters -= len(text)
        if is_markdown:
            self.markdown -= len(text)
        return text if len(text) <= most else text[:most] + _CUT

    def lines(self, text: str) -> str:
        """Text with a terminal's colours, or without."""
        text = self.text(text)
        self.colours -= text.count(_ESCAPE)
        return text if self.colours >= 0 else _COLOUR.sub("", text)

    def draw(self, data: str) -> Picture | None:
        """A picture, as :func:`autograder.markup.picture`."""
        found = picture(data) if self.pixels > 0 else None
        if found is not None:
            self.pixels -= found.pixels
        return found

    def box(self, clean: str) -> str:
        """A student's HTML in a box of its own; ``tex2jax_ignore`` is MathJax's word for what it leaves alone."""
        if self.typeset:
            clean, elements = formulas.typeset(clean, self.symbols)
            self.symbols -= elements
        else:
            self.formulas -= count_formulas(clean)
        left_alone = self.typeset or self.formulas < 0
        return _BOX.format("tex2jax_ignore" if left_alone else "tex2jax_process", clean)


class AsPage(Preprocessor):
    """Makes a notebook anew for a page: text, pictures and nbgrader's own metadata, within bounds.

    Templates write tags, ids, raw cells, widgets and the metadata of outputs into a page as they are; here
    they aren't taken over. In formgrader, beside an answer that a person grades stands what that needs
    (:mod:`autograder.beside`).
    """

    def __init__(self, parent: Configurable | None = None, **settings: Any) -> None:
        super().__init__(parent=parent, **settings)
        self._typeset = False
        if isinstance(parent, TemplateExporter):
            self._typeset = parent.template_name == "feedback"
            # Formgrader's own setting of the folders of templates goes before any in a configuration.
            templates = jinja2.FileSystemLoader(_TEMPLATES / parent.template_name)
            parent.extra_loaders = [templates, *parent.extra_loaders]

    def preprocess(self, nb: NotebookNode, resources: dict) -> tuple[NotebookNode, dict]:
        """Make the notebook; what may still be shown is left in ``resources`` for :func:`markdown_on_a_page`."""
        left = resources["left"] = _Left(typeset=self._typeset)
        resources["beside"] = {}
        if "submission_id" in resources:  # formgrader
            coursedir = CourseDirectory(config=self.config)
            folder = Path(coursedir.format_path(coursedir.source_directory, ".", resources["assignment_id"]))
            resources["beside"] = beside.find(folder / f"{resources['notebook_id']}.ipynb", nb)
        cells = [_cell(cell, number, left) for number, cell in enumerate(nb.cells)]
        page = nbformat.v4.new_notebook(cells=cells)
        page.metadata.language_info = {"name": "python", "pygments_lexer": "ipython3"}
        return page, resources


def _cell(cell: NotebookNode, number: int, left: _Left) -> NotebookNode:
    left.characters -= _EACH
    kind = cell.cell_type
    source = left.text(cell.source, is_markdown=kind != "code")
    metadata = {"nbgrader": cell.metadata.nbgrader} if "nbgrader" in cell.metadata else {}
    if kind == "code":
        new = nbformat.v4.new_code_cell(source, metadata=metadata)
        new.execution_count = cell.execution_count if isinstance(cell.execution_count, int) else None
        new.outputs = [shown for output in cell.outputs if (shown := _output(output, left)) is not None]
    elif kind == "markdown":
        new = nbformat.v4.new_markdown_cell(source, metadata=metadata)
        new.attachments = {
            name: {kind: data for kind, data in bundle.items() if isinstance(data, str)}
            for name, bundle in cell.get("attachments", {}).items()
        }
    else:
        fence = "`" * (2 + max((len(run) for run in re.findall("`+", source)), default=1))
        new = nbformat.v4.new_markdown_cell(f"{fence}\n{source}\n{fence}", metadata=metadata)
    new.id = f"cell-{number}"
    return new


def _output(output: NotebookNode, left: _Left) -> NotebookNode | None:
    left.characters -= _EACH
    if left.characters <= 0:
        return None
    clean = as_output(output, left.draw)
    if clean is None:
        return None
    if clean["output_type"] == "stream":
        clean["text"] = left.lines(clean["text"])
    elif clean["output_type"] == "error":
        clean["traceback"] = [left.lines(line) for line in clean["traceback"]]
    else:
        data = clean["data"]
        if "text/latex" in data:
            data.setdefault("text/html", html.escape(left.text(data.pop("text/latex")), quote=False))
        if "text/html" in data:
            left.characters -= len(data["text/html"])
            if left.characters <= 0:
                del data["text/html"]
            else:
                data["text/html"] = left.box(data["text/html"])
        if "text/plain" in data:
            data["text/plain"] = left.lines(data["text/plain"])
        if clean["output_type"] == "execute_result":
            clean["execution_count"] = None
    return nbformat.from_dict(clean)


@jinja2.pass_context
def markdown_on_a_page(context: jinja2.runtime.Context, source: str) -> str:
    """Markdown as HTML that is shown and never acts; in nbconvert's templates in place of ``markdown2html``."""
    left = context["resources"].get("left") or _Left(typeset=False)
    cell = context.get("cell") or {}
    shown = _as_box(source, left, cell.get("attachments", {}))
    name = cell.get("metadata", {}).get("nbgrader", {}).get("grade_id")
    known = context["resources"].get("beside", {}).get(name)
    if known is None:
        return shown
    own = _Left(typeset=left.typeset)  # what a student floods a page with takes no room from the instructor's text
    pictures = [(drawn, words) for data, words in known.pictures if (drawn := left.draw(data)) is not None]
    return beside.laid_out(shown, pictures, *(_as_box(own.text(text), own) for text in (known.question, known.answer)))


def _as_box(source: str, left: _Left, attachments: dict[str, dict[str, str]] | None = None) -> str:
    clean = clean_markdown(source, left.draw, attachments)
    # The pages' own style sheet leaves a table without a class unspaced.
    return left.box(clean.replace("<table>", '<table class="table table-condensed" style="width: auto">'))
