"""nbgrader's own commands, on real files: from the release to the exported grades."""

from __future__ import annotations

import csv
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import pytest

from autograder.demo import Student, solve, submit
from tests.conftest import REPOSITORY, SOURCE

pytestmark = [pytest.mark.slow, pytest.mark.alone]

FIRST = "1_forward_check.ipynb"


@pytest.fixture(scope="module")
def course(tmp_path_factory, run_nbgrader, release) -> Path:
    """A course folder of its own, with the assignment generated."""
    work = tmp_path_factory.mktemp("course")
    shutil.copytree(release.parent.parent, work, dirs_exist_ok=True)
    return work


def succeed(done: subprocess.CompletedProcess) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def test_validate_says_success_on_a_perfect_notebook(course, run_nbgrader, tmp_path):
    solved = solve(
        nbformat.read(course / "release" / "two_layer_net" / FIRST, as_version=4),
        nbformat.read(SOURCE / FIRST, as_version=4),
    )
    nbformat.write(solved, tmp_path / FIRST)
    assert "Success! Your notebook passes all the tests." in succeed(
        run_nbgrader(course, "validate", str(tmp_path / FIRST))
    )


def test_validate_names_the_failing_cells_of_an_untouched_notebook(course, run_nbgrader):
    out = succeed(run_nbgrader(course, "validate", str(course / "release" / "two_layer_net" / FIRST)))
    assert "VALIDATION FAILED ON 7 CELL(S)!" in out
    for check in ("check_relu(relu)", "check_loss(loss", "check_vectorised("):
        assert check in out


@pytest.mark.parametrize("content", ["not JSON", "{}"])
def test_validate_refuses_what_is_no_notebook(course, run_nbgrader, tmp_path, content):
    (tmp_path / FIRST).write_text(content)
    assert run_nbgrader(course, "validate", str(tmp_path / FIRST)).returncode != 0


def test_exchange_from_release_to_collect(course, run_nbgrader, tmp_path):
    exchange = tmp_path / "exchange"
    exchange.mkdir()
    exchange.chmod(0o777)
    student = tmp_path / "student"
    student.mkdir()
    settings = [f"--Exchange.root={exchange}", "--course=two-layer-net"]
    succeed(run_nbgrader(course, "release_assignment", "two_layer_net", *settings))
    succeed(run_nbgrader(course, "fetch_assignment", "two_layer_net", *settings, cwd=student))
    assert (student / "two_layer_net" / FIRST).exists()
    succeed(run_nbgrader(course, "submit", "two_layer_net", *settings, cwd=student))
    succeed(run_nbgrader(course, "collect", "two_layer_net", *settings))
    collected = list((course / "submitted").glob(f"*/two_layer_net/{FIRST}"))
    assert len(collected) == 1
    shutil.rmtree(course / "submitted")


def test_autograde_feedback_and_export(course, run_nbgrader, sources):
    submit(Student("ada", ()), SOURCE, course / "release" / "two_layer_net", course / "submitted")
    submit(Student("bob", ("*",), solved=False), SOURCE, course / "release" / "two_layer_net", course / "submitted")
    succeed(run_nbgrader(course, "autograde", "two_layer_net", "--notebook", "1_forward_check"))
    succeed(run_nbgrader(course, "generate_feedback", "two_layer_net", "--notebook", "1_forward_check"))
    assert (course / "feedback" / "ada" / "two_layer_net" / "1_forward_check.html").exists()
    succeed(run_nbgrader(course, "export"))
    with (course / "grades.csv").open(newline="") as file:
        scores = {row["student_id"]: float(row["score"]) for row in csv.DictReader(file)}
    assert scores == {"ada": 10.0, "bob": 0.0}


def test_formgrader_shows_the_assignment(course):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        str(Path(sys.executable).with_name("jupyter")), "lab", "--no-browser", "--allow-root", f"--port={port}",
        "--ServerApp.port_retries=0", "--IdentityProvider.token=", "--ServerApp.password=",
        f"--ServerApp.root_dir={REPOSITORY}", "--ServerApp.jpserver_extensions=autograder.served=True",
    ]  # fmt: skip
    environment = os.environ | {"COURSE_ROOT": str(course), "PYTHONPATH": str(REPOSITORY)}
    with (course / "server.log").open("w") as log:
        server = subprocess.Popen(command, cwd=REPOSITORY, env=environment, stdout=log, stderr=log)
    try:
        url = f"http://127.0.0.1:{port}/formgrader"
        assert "formgrader" in _get(url, server).lower()
        assignments = json.loads(_get(f"{url}/api/assignments", server))
        assert [(entry["name"], entry["status"]) for entry in assignments] == [("two_layer_net", "draft")]
        evil = course / "evil"
        evil.mkdir()
        (evil / "nbgrader_config.py").write_text(f"open({str(evil / 'pwned')!r}, 'w')")
        with pytest.raises(urllib.error.HTTPError, match="403"):
            _get(f"{url}?path={evil}", server)
        with pytest.raises(urllib.error.HTTPError, match="403"):
            _get(f"{url}/?x=1&%70ath={evil}", server)
        assert not (evil / "pwned").exists()
        assert "formgrader" in _get(f"{url}/?path=", server).lower()
    finally:
        server.terminate()
        server.wait(timeout=30)


def _get(url: str, server: subprocess.Popen) -> str:
    """The page at ``url``, once the server answers."""
    for _ in range(120):
        assert server.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(url, timeout=60) as answer:
                return answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if isinstance(error, urllib.error.HTTPError):
                raise
            time.sleep(0.5)
    raise AssertionError(f"{url} did not answer within a minute")
