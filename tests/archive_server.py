"""A local web server that serves an archive well, badly, or not at all."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PIECE = 16_384


class ArchiveServer(ThreadingHTTPServer):
    """Serves ``archive`` under a path for each behaviour, and notes what was asked.

    ``/good``, ``/redirect``, ``/encoded`` (Content-Encoding: gzip), ``/missing`` (404),
    ``/busy`` (503), ``/busy-once``, ``/silent`` (accepts and never answers), ``/stall`` (half,
    then nothing), ``/stall-once``, ``/drip`` (a byte now and then), ``/truncate`` (half, then
    closes), ``/truncate-once``, ``/longer`` and ``/shorter`` (than the Content-Length says),
    ``/endless`` (no Content-Length, never stops), ``/page`` (a log-in page), ``/slow``
    (``delay`` seconds between pieces) and ``/no-ranges`` (breaks off once and starts over
    when asked to go on).

    Attributes
    ----------
    asked : list of (str, int)
        Path and first byte of each request, in order.
    """

    daemon_threads = True

    def __init__(self, archive: bytes, delay: float = 0.05) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.archive, self.delay = archive, delay
        self.asked: list[tuple[str, int]] = []
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
        start = int(self.headers.get("Range", "bytes=0-")[6:-1])
        first = behaviour not in [path for path, _ in self.server.asked]
        self.server.asked.append((behaviour, start))
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
            return self.send_body(page, 0, len(page))
        if behaviour == "shorter":
            return self.send_body(archive, 0, len(archive) - 1000)
        if behaviour == "longer":
            return self.send_body(archive, start, len(archive) - start + 1000)
        if behaviour == "endless":
            self.start_body(0, None)
            while not self.server.closing.is_set():
                self.wfile.write(bytes(PIECE))
            return None
        if behaviour == "drip":
            self.start_body(start, len(archive) - start)
            while not self.server.closing.wait(0.05):
                self.wfile.write(b"\x1f")
            return None
        if behaviour in ("stall", "truncate") or (behaviour in ("stall-once", "truncate-once", "no-ranges") and first):
            half = start + (len(archive) - start) // 2
            self.send_body(archive[:half], start, len(archive) - start)
            return self.wait() if "stall" in behaviour else None
        if behaviour == "no-ranges":
            start = 0
        if start >= len(archive):
            return self.send_error(416)
        return self.send_body(archive, start, len(archive) - start, self.server.delay if behaviour == "slow" else 0)

    def start_body(self, start: int, length: int | None) -> None:
        size = len(self.server.archive)
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        if self.path == "/encoded":
            self.send_header("Content-Encoding", "gzip")
        if length is not None:
            self.send_header("Content-Length", str(length))
        self.end_headers()

    def send_body(self, content: bytes, start: int, length: int, delay: float = 0) -> None:
        self.start_body(start, length)
        for begin in range(start, len(content), PIECE):
            self.wfile.write(content[begin : begin + PIECE])
            if delay and self.server.closing.wait(delay):
                return

    def wait(self) -> None:
        self.server.closing.wait(30)
