"""A local web server that serves an archive well, badly, or not at all."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 16_384


class ArchiveServer(ThreadingHTTPServer):
    """Serves ``archive`` under a path for each behaviour, and notes what was asked.

    ``/good``, ``/redirect``, ``/missing`` (404), ``/busy`` (503), ``/busy-once``, ``/silent`` (accepts and
    never answers), ``/stall`` (half, then nothing), ``/truncate`` (half, then closes), ``/truncate-once``,
    ``/longer`` and ``/shorter`` (than the Content-Length says), ``/page`` (a log-in page) and ``/slow``
    (``delay`` seconds between pieces).

    Attributes
    ----------
    asked : list of str
        Path of each request, in order.
    """

    daemon_threads = True

    def __init__(self, archive: bytes, delay: float = 0.05) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive, self.delay = archive, delay
        self.asked: list[str] = []
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}/{path}"

    def __exit__(self, *exception) -> None:
        self.closing.set()
        self.shutdown()
        super().__exit__(*exception)

    def handle_error(self, request, client_address) -> None:
        """Clients that hang up are what the tests are about."""


class _Handler(BaseHTTPRequestHandler):
    server: ArchiveServer

    def log_message(self, *arguments) -> None:
        pass

    def do_GET(self) -> None:
        behaviour = self.path.strip("/")
        archive = self.server.archive
        first = behaviour not in self.server.asked
        self.server.asked.append(behaviour)
        if behaviour == "missing":
            return self.send_error(404)
        if behaviour == "busy" or (behaviour == "busy-once" and first):
            return self.send_error(503)
        if behaviour == "redirect":
            self.send_response(302)
            self.send_header("Location", "/good")
            return self.end_headers()
        if behaviour == "silent":
            return self.wait()
        if behaviour == "page":
            page = b"<html><body>Please log in.</body></html>"
            return self.send_body(page, len(page))
        if behaviour == "shorter":
            return self.send_body(archive, len(archive) - 1000)
        if behaviour == "longer":
            return self.send_body(archive, len(archive) + 1000)
        if behaviour in ("stall", "truncate") or (behaviour == "truncate-once" and first):
            self.send_body(archive[: len(archive) // 2], len(archive))
            return self.wait() if behaviour == "stall" else None
        return self.send_body(archive, len(archive), self.server.delay if behaviour == "slow" else 0)

    def send_body(self, content: bytes, length: int, delay: float = 0) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        for begin in range(0, len(content), PIECE):
            self.wfile.write(content[begin : begin + PIECE])
            if delay and self.server.closing.wait(delay):
                return

    def wait(self) -> None:
        self.server.closing.wait(30)
