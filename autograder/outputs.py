"""Notebook outputs that came from, or tell about, a student's process."""

from __future__ import annotations

from typing import Any

from autograder.markup import MAX_HTML, Draw, clean_formulas, clean_html, clean_markdown, picture, too_long

#: The line that takes the place of output beyond the bounds.
DROPPED = "[The rest of this cell's output was dropped.]"
#: Characters of what a picture shows, for those who don't see it.
_MAX_ALTERNATIVE = 2000


def as_output(raw: Any, draw: Draw = picture) -> dict | None:
    """An output that came from a student's process, made a valid notebook output, or None.

    Only what the notebook format knows is taken over, as text, as HTML that is shown and never acts, and as
    pictures that were decoded and encoded again (:mod:`autograder.markup`).

    Parameters
    ----------
    raw : object
    draw : callable
        Makes a picture of base64, or refuses it.
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
        data, metadata = _display(raw["data"], raw.get("metadata"), draw)
        if data:
            return {"output_type": kind, "data": data, "metadata": metadata}
    return None


def _display(shown: dict, about: Any, draw: Draw) -> tuple[dict[str, str], dict[str, dict[str, str]]]:
    """The data and metadata of a display."""
    data, metadata = {}, {}
    for mime_type, item in shown.items():
        if not isinstance(item, str):
            continue
        if mime_type == "text/plain":
            data[mime_type] = clean_text(item)
        elif mime_type == "text/latex":
            data[mime_type] = clean_formulas(clean_text(item))
        elif mime_type in ("text/html", "text/markdown"):
            clean = (clean_html if mime_type == "text/html" else clean_markdown)(clean_text(item), draw)
            if mime_type == "text/html" or "text/html" not in shown:
                data["text/html"] = clean
        elif mime_type in ("image/png", "image/jpeg", "image/gif"):
            drawn = draw(item)
            if drawn is not None:
                data[drawn.kind] = drawn.data
                alternative = _alternative(about, mime_type)
                if alternative:
                    metadata[drawn.kind] = {"alt": alternative}
    # What is too long for a page is shown as text, and there is one that is meant for that.
    if too_long(data.get("text/html", ""), MAX_HTML) and "text/plain" in data:
        del data["text/html"]
    return data, metadata


def _alternative(about: Any, mime_type: str) -> str:
    """What a picture shows, in words, as ``metadata`` has it; or nothing."""
    own = about.get(mime_type) if isinstance(about, dict) else None
    text = own.get("alt") if isinstance(own, dict) else about.get("alt") if isinstance(about, dict) else None
    return clean_text(text)[:_MAX_ALTERNATIVE] if isinstance(text, str) else ""


def clean_text(text: Any) -> str:
    """``text`` as a string that can be written as UTF-8."""
    return str(text).encode("utf-8", "replace").decode()


def error_output(name: str, text: str) -> dict:
    """An output that says that a cell failed."""
    return {"output_type": "error", "ename": name, "evalue": text, "traceback": [f"{name}: {text}"]}
