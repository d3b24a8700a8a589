"""Jupyter server extension: formgrader takes no course from its address.

``/formgrader/?path=FOLDER`` would run the ``nbgrader_config.py`` of that folder, which may be a student's. The
course is the one whose configuration lies where the server was started.
"""

from __future__ import annotations

from typing import Any

from jupyter_server.base.handlers import JupyterHandler
from jupyter_server.serverapp import ServerApp
from tornado.httputil import HTTPServerRequest
from tornado.routing import Matcher, Rule
from tornado.web import HTTPError


class _NamesFolder(Matcher):
    """Matches what asks formgrader for the course of a folder."""

    def match(self, request: HTTPServerRequest) -> dict | None:
        asked = "formgrader" in request.path and any(request.arguments.get("path", []))
        return {} if asked else None


class _Refused(JupyterHandler):
    async def prepare(self, **_: Any) -> None:
        raise HTTPError(403, "Formgrader shows the course in whose folder Jupyter was started.")


def _load_jupyter_server_extension(server: ServerApp) -> None:
    router = server.web_app.default_router
    router.rules.insert(0, router.process_rule(Rule(_NamesFolder(), _Refused)))
