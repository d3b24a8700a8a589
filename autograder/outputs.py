"""Notebook outputs that came from, or tell about, a student's process."""

from __future__ import annotations

import functools
import re
from typing import Any

import jinja2

#: The line that takes the place of output beyond the bounds.
DROPPED = "[The rest of this cell's output was dropped.]"
_IMAGE = re.compile(r"[A-Za-z0-9+/=\s]*")
_TEXTS = ("text/plain", "text/latex")
_IMAGES = ("image/png", "image/jpeg", "image/gif")


_ADDRESS = re.compile(r"#.*|(https?|mailto):.*|[^:]*")
#: Elements that text needs.
_TAGS = [
    "b", "blockquote", "br", "code", "div", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "li", "ol",
    "p", "pre", "small", "span", "strong", "sub", "sup", "table", "tbody", "td", "th", "thead", "tr", "ul",
]  # fmt: skip
_STYLES = ["background-color", "color", "font-weight", "text-align", "width"]
_CELLS = {"td": ["colspan", "rowspan"], "th": ["colspan", "rowspan"]}


@functools.cache
def html_cleaner() -> Any:
    """What leaves tables, such as pandas', and text, and nothing that a browser runs or loads."""
    from nbconvert.preprocessors.sanitize import SanitizeHTML  # late: only an examiner needs it

    return SanitizeHTML(tags=_TAGS, attributes={"*": ["title", "style"], **_CELLS}, styles=_STYLES, strip=True)


class _Pictures(dict):
    """A cell's attachments; one that is missing is an empty picture, where it would end the page."""

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> dict[str, str]:
        return {"image/png": ""}


@jinja2.pass_context
def markdown_on_a_page(context: jinja2.runtime.Context, source: str) -> str:
    """A cell's Markdown as HTML that runs nothing: formgrader shows students' text on an instructor's page.

    A filter of nbconvert's templates, in place of ``markdown2html``.
    """
    import bleach  # late: only pages need these
    from bleach.css_sanitizer import CSSSanitizer
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    pictures = _Pictures((context.get("cell") or {}).get("attachments", {}))
    html = MarkdownWithMath(renderer=IPythonRenderer(escape=False, attachments=pictures)).render(source)
    headings = {f"h{level}": ["id", "title", "style"] for level in range(1, 7)}
    clean = bleach.clean(
        html, tags=[*_TAGS, "a", "del", "img"], strip=True, css_sanitizer=CSSSanitizer(_STYLES),
        attributes={
            "*": ["class", "title", "style"], "a": _of_link, "img": ["src", "alt", "width", "height"],
            **headings, **_CELLS,
        },
        protocols=["http", "https", "mailto", "data"],
    )  # fmt: skip
    # The pages' own style sheet leaves a table without a class unspaced.
    return _without_links(clean).replace("<table>", '<table class="table table-condensed" style="width: auto">')


def _of_link(tag: str, name: str, value: str) -> bool:
    return name in ("class", "title") or (name == "href" and _ADDRESS.fullmatch(value) is not None)


def _without_links(formulas: str) -> str:
    """MathJax makes a link of ``\\href`` in a formula, to a script if it says so."""
    return formulas.replace(r"\href", r"\mathrm")


def as_output(raw: Any) -> dict | None:
    """An output that came from a student's process, made a valid notebook output, or None.

    Only what the notebook format knows is taken over, as text and pictures. A script, also one
    in HTML or SVG, isn't: it would run in the browser of whoever grades the notebook.
    """
    if not isinstance(raw, dict):
        return None
    kind = raw.get("output_type")
    if kind == "stream":
        name = "stderr" if raw.get("name") == "stderr" else "stdout"
        return {"output_type": "stream", "name": name, "text": clean_text(raw.get("text", ""))}
    if kind == "error":
        traceback = raw.get("traceback")
        lines = [clean_text(line) for line in traceback[:500]] if isinstance(traceback, list) else []
        return {
            "output_type": "error",
            "ename": clean_text(raw.get("ename", ""))[:200],
            "evalue": clean_text(raw.get("evalue", "")),
            "traceback": lines,
        }
    if kind in ("display_data", "execute_result") and isinstance(raw.get("data"), dict):
        data = {}
        for mime_type, item in raw["data"].items():
            if not isinstance(item, str):
                continue
            if mime_type in _TEXTS:
                data[mime_type] = _without_links(clean_text(item))
            elif mime_type == "text/html":
                data[mime_type] = _without_links(html_cleaner().sanitize_html_tags(clean_text(item)))
            elif mime_type in _IMAGES and _IMAGE.fullmatch(item):
                data[mime_type] = item
        if data:
            return {"output_type": kind, "data": data, "metadata": {}}
    return None


def clean_text(text: Any) -> str:
    """``text`` as a string that can be written as UTF-8."""
    return str(text).encode("utf-8", "replace").decode()


def error_output(name: str, text: str) -> dict:
    """An output that says that a cell failed."""
    return {"output_type": "error", "ename": name, "evalue": text, "traceback": [f"{name}: {text}"]}
