"""Evidence of like work: what is found, what isn't, and that a student's text does nothing on the page."""

from __future__ import annotations

import io
import json
import random
import re
import stat
import time
import zipfile
from html.parser import HTMLParser

import numpy as np
import pytest

from autograder.likeness import code, mistakes, networks, report
from benchmarks import likeness as simulation

pytestmark = pytest.mark.slow

# --- Networks ---------------------------------------------------------------------------


def network(seed: int, hidden: int = 12, features: int = 40) -> dict[str, np.ndarray]:
    choose = np.random.default_rng(seed)
    return {
        "W1": choose.standard_normal((features, hidden), np.float32), "b1": choose.standard_normal(hidden, np.float32),
        "W2": choose.standard_normal((hidden, 10), np.float32), "b2": choose.standard_normal(10, np.float32),
    }  # fmt: skip


def permuted(params: dict[str, np.ndarray], seed: int = 0) -> dict[str, np.ndarray]:
    order = np.random.default_rng(seed).permutation(len(params["b1"]))
    return params | {"W1": params["W1"][:, order], "b1": params["b1"][order], "W2": params["W2"][order]}


@pytest.fixture
def save(tmp_path):
    def run(everybody: dict[str, dict[str, np.ndarray]]):
        files = {}
        for student, params in everybody.items():
            files[student] = tmp_path / student / "best_net.npz"
            files[student].parent.mkdir(exist_ok=True)
            np.savez(files[student], **params)
        return files

    return run


def test_the_same_network_is_found_in_whatever_order_and_nearly_the_same_too(save):
    first = network(0)
    scaled = first | {"W1": first["W1"] * 2, "b1": first["b1"] * 2, "W2": first["W2"] / 2}
    noisy = {name: array * np.float32(1.01) + np.float32(0.01) for name, array in permuted(first, 3).items()}
    everybody = {f"s{number}": network(number + 10) for number in range(30)}
    everybody |= {"a": first, "b": permuted(first), "c": network(1), "d": network(2)}
    alike, common = networks.compare(save(everybody))
    assert [(one.students, one.share, one.same) for one in alike] == [(("a", "b"), 1.0, True)]
    assert common == []
    for other in (scaled, noisy):
        alike, _ = networks.compare(save({"a": first, "b": other, "c": network(1)}))
        assert [(one.students, one.same) for one in alike] == [(("a", "b"), False)]
        assert alike[0].share >= networks.SHARE


def test_networks_that_share_nothing_are_not_pointed_at(save):
    assert networks.compare(save({f"s{number}": network(number) for number in range(40)})) == ([], [])


def test_a_network_that_many_have_is_no_evidence(save):
    everybody = {f"s{number}": network(number) for number in range(20)}
    everybody |= {f"t{number}": permuted(network(100), number) for number in range(6)}
    alike, common = networks.compare(save(everybody))
    assert alike == []
    assert common == [[f"t{number}" for number in range(6)]]


def test_a_file_of_pytorch_is_read_without_pickle(tmp_path):
    torch = pytest.importorskip("torch")
    for dtype in (torch.float16, torch.float32, torch.float64):
        model = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.ReLU(), torch.nn.Linear(8, 4)).to(dtype)
        torch.save({"activation": "relu", "state_dict": model.state_dict()}, tmp_path / "m.pt")
        layers = networks.read(tmp_path / "m.pt")
        assert np.array_equal(layers.weights[0], model[0].weight.detach().float().numpy().T)
        assert np.array_equal(layers.biases[1], model[2].bias.detach().float().numpy())


class Evil:
    def __reduce__(self):
        return (print, ("unpickled",))


def hostile_files() -> dict[str, bytes]:
    def npz(**arrays: np.ndarray) -> bytes:
        stream = io.BytesIO()
        np.savez_compressed(stream, **arrays)
        return stream.getvalue()

    def zipped(content: dict[str, bytes]) -> bytes:
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in content.items():
                archive.writestr(name, data)
        return stream.getvalue()

    shape = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 9), }"
    header = b"\x93NUMPY\x01\x00v\x00" + shape.ljust(117) + b"\n"
    nan = {name: array * np.nan for name, array in network(0).items()}
    return {
        "nothing.npz": b"",
        "text.npz": b"hello",
        "bomb.npz": zipped({"W1.npy": bytes(100_000_000)}),
        "objects.npz": npz(W1=np.array([Evil()], dtype=object)),
        "huge.npz": zipped({f"{name}.npy": header for name in "abcd"}),
        "one.npz": npz(W1=np.ones(3)),
        "nan.npz": npz(**nan),
        "pickle.pt": zipped({"x/data.pkl": b"\x80\x02cos\nsystem\nq\x00X\x04\x00\x00\x00echoq\x01\x85q\x02R."}),
        "cut.pt": zipped({"x/data.pkl": b"\x80\x02X\xff", "x/data/0": b"1234"}),
        "entries.pt": zipped({str(number): b"" for number in range(500)}),
    }


@pytest.mark.parametrize("name", list(hostile_files()))
def test_a_hostile_file_is_passed_over(name, tmp_path, capfd):
    start = time.process_time()
    (tmp_path / name).write_bytes(hostile_files()[name])
    with pytest.raises(networks.Unreadable):
        networks.read(tmp_path / name)
    assert "unpickled" not in capfd.readouterr().out
    assert time.process_time() - start < 10


# --- Wrong answers ----------------------------------------------------------------------


def failure(question: str, key: str) -> mistakes.Failure:
    return mistakes.Failure(question, key, f"{question} {key}")


def test_rare_wrong_answers_are_evidence_and_common_ones_are_not():
    everybody = {f"s{number}": [failure("q1", "usual"), failure("q2", "usual too")] for number in range(20)}
    everybody["a"] = [failure("q3", "odd"), failure("q4", "odder")]
    everybody["b"] = [failure("q3", "odd"), failure("q4", "odder"), failure("q1", "usual")]
    everybody["c"] = [failure("q3", "odd")]
    found = mistakes.compare({name: own for name, own in everybody.items() if name != "c"})
    assert [alike.students for alike in found] == [("a", "b")]
    assert found[0].weight == pytest.approx(2 * np.log(22 / 2))
    assert mistakes.compare(everybody) == []


def test_failures_are_read_from_an_autograded_notebook():
    def cell(grade_id: str, name: str, text: str, **marks) -> dict:
        outputs = [{"output_type": "error", "ename": name, "evalue": text}]
        marks = {"grade": True, "solution": False, "grade_id": grade_id} | marks
        return {"cell_type": "code", "metadata": {"nbgrader": marks}, "outputs": outputs}

    notebook = {
        "cells": [
            cell("t1", "CheckFailed", "got <object at 0x7f01>  1.5"), cell("t2", "NotImplementedError", "not written"),
            cell("own", "ValueError", "x", grade=False), {"cell_type": "code", "outputs": 7, "metadata": []}, "no cell",
        ]
    }  # fmt: skip
    other = {"cells": [cell("t1", "CheckFailed", "got <object at 0xffff> 1.5")]}
    assert [found.question for found in mistakes.failures(notebook)] == ["t1"]
    assert mistakes.failures(notebook)[0].key == mistakes.failures(other)[0].key
    assert mistakes.failures({"cells": None}) == []


# --- Code -------------------------------------------------------------------------------


def prints_of(sources: dict[str, str], given: str = "") -> code.Fingerprints:
    prints = code.Fingerprints()
    prints.give(given)
    for student, text in sources.items():
        prints.add(student, text)
    return prints


@pytest.fixture(scope="module")
def simulated():
    choose = random.Random(5)
    sources = {f"s{number}": simulation._student(choose) for number in range(24)}
    sources["copy"] = sources["s0"]
    sources["renamed"] = simulation._rewritten(sources["s1"], choose, renamed=1.0, comments=0.0)
    train = code.functions(sources["s2"])["train"]
    sources["part"] = f"{simulation._student(choose)}\n\n\n{train}"
    return sources


def test_copies_are_found_and_hardly_anything_else(simulated):
    found = prints_of(simulated).compare()
    by_level = {
        level: {alike.students for alike in found if alike.level == level} for level in (code.WRITTEN, code.BUILT)
    }
    assert {("copy", "s0"), ("part", "s2")} <= by_level[code.WRITTEN]
    assert {("copy", "s0"), ("renamed", "s1")} <= by_level[code.BUILT]
    planted = {("copy", "s0"), ("part", "s2"), ("renamed", "s1")}
    assert len((by_level[code.WRITTEN] | by_level[code.BUILT]) - planted) <= 3


def test_what_was_given_and_what_most_wrote_is_no_evidence(simulated):
    given = simulated["s0"]
    pair = {name: text for name, text in simulated.items() if name in ("s0", "copy")}
    assert prints_of(pair, given).compare() == []
    assert prints_of({f"s{number}": given for number in range(20)}).compare() == []


@pytest.mark.parametrize(
    "text",
    [
        "def f(:\n  '''",
        "def " * 10_000,
        "(" * 100_000,
        "def f():\n" + " '''" * 50_000,
        "'\\" * 100_000,
        "\0\ud800def f(): 1",
    ],
)
def test_text_that_is_no_python_is_cut_into_words_in_linear_time(text):
    start = time.process_time()
    prints_of({"a": text, "b": text}).compare()
    assert time.process_time() - start < 5


# --- The page ---------------------------------------------------------------------------


HOSTILE = "</pre><script>alert(1)</script><img src=x onerror=alert(1)>\u202e<style>*{display:none}</style>"


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.text.append(data)


def _notebook(source: str, message: str) -> dict:
    def cell(text: str, marks: dict, outputs: list) -> dict:
        return {"cell_type": "code", "source": text, "metadata": {"nbgrader": marks}, "outputs": outputs}

    error = [{"output_type": "error", "ename": "CheckFailed", "evalue": message}]
    marks = {"grade": True, "solution": False, "locked": True}
    return {"cells": [
        cell(source, {"solution": True}, []),
        cell("check()", marks | {"grade_id": f"t1{HOSTILE}"}, error),
        cell("check()", marks | {"grade_id": "t2"}, error),
    ]}  # fmt: skip


def test_the_page_shows_the_evidence_and_runs_nothing(tmp_path, simulated):
    work = {}
    for number, (student, text) in enumerate(simulated.items()):
        work[student] = tmp_path / student
        work[student].mkdir()
        message = f"{HOSTILE} shared" if student in ("s0", "copy") else f"only mine {number}"
        text = text.replace("def train(", f"# {HOSTILE}\ndef train(").replace("    rng", f"    # {HOSTILE}\n    rng", 3)
        (work[student] / "1.ipynb").write_text(json.dumps(_notebook(text, message)))
        np.savez(work[student] / "best_net.npz", **network(0 if student in ("s0", "copy") else number + 1))
    (work["s5"] / "broken.ipynb").write_text("[" * 100_000)
    (work["s6"] / "1.ipynb").unlink()
    (work["s6"] / "1.ipynb").symlink_to(work["s0"] / "1.ipynb")
    findings = report.compare(work, [])
    assert {type(one) for one in findings.pairs[("copy", "s0")]} == {networks.Alike, mistakes.Alike, code.Alike}
    assert next(iter(findings.pairs)) == ("copy", "s0")
    assert not any("s6" in pair for pair in findings.pairs)
    assert findings.trouble == ["'s6' has no notebook that can be read."]
    text = report.page(findings, f"two{HOSTILE}", work)
    seen = _Tags()
    seen.feed(text)
    assert not {"script", "img", "iframe", "object", "link", "form", "base"} & seen.tags
    assert not any(name.startswith("on") for name in seen.attributes)
    assert {"src"} & seen.attributes == set()
    assert text.count("<style") == 1
    assert "\u202e" not in text
    assert "default-src 'none'" in text
    assert not re.search(r"(?:src|href)=['\"](?!#)", text)
    assert "onerror=alert(1)" in "".join(seen.text)
    assert "no verdict" in text
    report.write(text, tmp_path / "likeness.html")
    assert stat.S_IMODE((tmp_path / "likeness.html").stat().st_mode) == 0o600


def test_another_key_for_wrong_answers_can_be_given(tmp_path):
    work = {}
    for student in ("a", "b", "c"):
        work[student] = tmp_path / student
        work[student].mkdir()
        (work[student] / "1.ipynb").write_text(json.dumps(_notebook("", student)))

    def causes(notebook):
        return [
            failure(f"q{number}", "cause") for number in (1, 2) if notebook["cells"][1]["outputs"][0]["evalue"] != "c"
        ]

    assert list(report.compare(work, [], failures=causes).pairs) == [("a", "b")]
    assert list(report.compare(work, []).pairs) == []
