"""Notebook outputs that came from, or tell about, a student's process."""

from __future__ import annotations

import re
from typing import Any

#: The line that takes the place of output beyond the bounds.
DROPPED = "[The rest of this cell's output was dropped.]"
_MIME_TYPE = re.compile(r"[a-z]+/[a-zA-Z0-9.+_-]{1,100}")


def as_output(raw: Any) -> dict | None:
    """An output that came from a student's process, made a valid notebook output, or None.

    Only what the notebook format knows is taken over, and only as text. JavaScript isn't:
    it would run in the browser of whoever grades the notebook.
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
            if isinstance(mime_type, str) and _MIME_TYPE.fullmatch(mime_type) and "javascript" not in mime_type:
                if isinstance(item, str):
                    data[mime_type] = clean_text(item)
                elif mime_type.endswith("json") and isinstance(item, (dict, list)):
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
