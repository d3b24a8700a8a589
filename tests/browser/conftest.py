"""A browser, and Jupyter servers to visit with it.

``served(folder)`` starts a server in a folder; ``page`` is a tab of a fresh browser session, and ``page.visited``
holds the address of each request that it made. There is no internet.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

from tests.conftest import REPOSITORY

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
#: Milliseconds until something must be there; machines that run tests are busy.
PATIENCE = 120_000


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium; tests that need it are skipped where there is none."""
    path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if path is None:
        pytest.skip(f"There is no browser here: install one of {', '.join(BROWSERS)} (make browser, on Debian).")
    flags = ["--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-component-update"]
    if os.getuid() == 0:
        flags.append("--no-sandbox")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def session(browser: Browser) -> Iterator[BrowserContext]:
    """A fresh browser session."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    context.set_default_timeout(PATIENCE)
    here = ("127.0.0.1", "localhost", None)
    context.route(lambda address: urlsplit(address).hostname not in here, lambda route: route.abort())
    yield context
    context.close()


@pytest.fixture
def page(session: BrowserContext) -> Page:
    """A tab; ``page.visited`` are the addresses that it, and tabs which it opens, asked for."""
    page = session.new_page()
    page.visited = []
    session.on("request", lambda request: page.visited.append(request.url))
    return page


@pytest.fixture(scope="package")
def served() -> Iterator[Callable[..., str]]:
    """``served(folder, COURSE_ROOT=...)`` starts a Jupyter server there and returns its address, without a slash."""
    servers: list[subprocess.Popen] = []

    def serve(folder: Path, **environment: str) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        command = [
            str(Path(sys.executable).with_name("jupyter")), "lab", "--no-browser", "--allow-root", f"--port={port}",
            "--ServerApp.ip=127.0.0.1", "--ServerApp.port_retries=0", "--IdentityProvider.token=",
            "--ServerApp.password=", f"--ServerApp.root_dir={folder}", "--LabApp.check_for_updates_class="
            "jupyterlab.NeverCheckForUpdate", "--LabApp.news_url=",
        ]  # fmt: skip
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        settings = os.environ | {"PATH": path, "PYTHONPATH": str(REPOSITORY)} | environment
        with (folder / "server.log").open("w") as log:
            server = subprocess.Popen(command, cwd=folder, env=settings, stdout=log, stderr=log, start_new_session=True)
        servers.append(server)
        address = f"http://127.0.0.1:{port}"
        for _ in range(240):
            assert server.poll() is None, (folder / "server.log").read_text()
            try:
                with urllib.request.urlopen(f"{address}/api", timeout=10):
                    return address
            except OSError:
                time.sleep(0.5)
        raise AssertionError(f"{address} did not answer: {(folder / 'server.log').read_text()}")

    yield serve
    for server in servers:
        os.killpg(server.pid, signal.SIGTERM)
    for server in servers:
        try:
            server.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
