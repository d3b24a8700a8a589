"""A trained network that comes as a file: what is taken, what is refused, and how it is measured."""

from __future__ import annotations

import os
import pickle
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from autograder.cage import installation
from course_utils import evaluation
from course_utils.comparison import CheckFailed
from course_utils.data import flatten_images, load_evaluation_set
from course_utils.evaluation import (
    MAX_FILE_BYTES,
    MAX_MLP_BYTES,
    accuracy,
    check_mlp,
    check_network,
    classify,
    classify_mlp,
    load_mlp,
    load_network,
    mlp_accuracy,
    network_accuracy,
    save_mlp,
    save_network,
)
from tests.conftest import SOURCE


def learnt_by_heart() -> dict[str, np.ndarray]:
    """A network whose output weights were solved for on the test images that are shipped."""
    shipped = load_evaluation_set()
    X, rng = flatten_images(shipped.test_images, shipped.mean_image), np.random.default_rng(0)
    params = {"W1": 1e-3 * rng.standard_normal((3072, 600)), "b1": np.zeros(600), "b2": np.zeros(10)}
    return params | {"W2": np.linalg.lstsq(np.maximum(X @ params["W1"], 0), np.eye(10)[shipped.test_labels])[0]}


@pytest.fixture
def params():
    rng = np.random.default_rng(0)
    return {
        "W1": 0.01 * rng.standard_normal((3072, 6)),
        "b1": rng.standard_normal(6),
        "W2": rng.standard_normal((6, 10)),
        "b2": rng.standard_normal(10),
    }


def test_saved_network_comes_back(tmp_path, params):
    for half_precision, precision in ((False, 1e-6), (True, 1e-2)):
        save_network(tmp_path / "net.npz", params, half_precision=half_precision)
        loaded = load_network(tmp_path / "net.npz")
        for name, array in params.items():
            assert loaded[name].dtype == np.float64
            np.testing.assert_allclose(loaded[name], array, rtol=precision, atol=precision)
    assert [path.name for path in tmp_path.iterdir()] == ["net.npz"]


def test_a_network_that_knows_the_shipped_images_by_heart_is_named_and_earns_nothing(tmp_path, params, monkeypatch):
    named = []
    monkeypatch.setattr(evaluation, "name_trouble", named.append)
    save_network(tmp_path / "best_net.npz", learnt_by_heart(), half_precision=True)
    assert network_accuracy(tmp_path / "best_net.npz", "test") > 0.7
    with pytest.raises(CheckFailed):
        check_network(tmp_path / "best_net.npz", "hidden", 0.47)
    assert len(named) == 1 and "test images" in named[0] and "trained on them" in named[0]
    save_network(tmp_path / "best_net.npz", params)
    check_network(tmp_path / "best_net.npz", "hidden", 0.0)
    assert len(named) == 1, "nothing is said of an ordinary network"


def test_missing_file_is_work_not_done_yet(tmp_path):
    with pytest.raises(NotImplementedError, match=r"no best_net\.npz beside the notebook; train a network and save it"):
        load_network(tmp_path / "best_net.npz")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"b2": None}, "it lacks b2; it holds W1, b1, W2."),
        ({"W1": np.zeros((6, 3072))}, r"W1 has shape \(6, 3072\), expected \(3072, hidden units\)"),
        ({"W1": np.zeros((3072, 0))}, r"W1 has shape \(3072, 0\)"),
        ({"b1": np.zeros((1, 6))}, r"b1 has shape \(1, 6\), expected \(6,\), since W1 has 6 columns"),
        ({"W2": np.zeros((6, 3))}, r"W2 has shape \(6, 3\), expected \(6, 10\)"),
        ({"b2": np.full(10, np.nan)}, "10 of 10 values of b2 are not finite: the training diverged"),
        ({"W2": np.full((6, 10), "x")}, "W2 has dtype <U1, expected floating-point numbers"),
        ({"b1": np.zeros(6, dtype=complex)}, "b1 has dtype complex128"),
        ({"b1": np.array([None] * 6)}, "b1 is no plain array of numbers"),
    ],
)
def test_faulty_network_is_refused_in_a_sentence(tmp_path, params, change, sentence):
    arrays = {name: array for name, array in (params | change).items() if array is not None}
    np.savez(tmp_path / "net.npz", **arrays)
    with pytest.raises(CheckFailed, match=sentence):
        load_network(tmp_path / "net.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_file_that_is_no_archive(tmp_path, content):
    (tmp_path / "net.npz").write_bytes(content)
    with pytest.raises(CheckFailed, match=r"the file is empty|it can't be read as an .npz file"):
        load_network(tmp_path / "net.npz")


def test_pickle_is_not_run(tmp_path, params):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    np.savez(tmp_path / "net.npz", **(params | {"W1": np.array([Attack()], dtype=object)}))
    with pytest.raises(CheckFailed, match="W1 is no plain array of numbers"):
        load_network(tmp_path / "net.npz")
    (tmp_path / "net.npz").write_bytes(pickle.dumps(Attack()))
    with pytest.raises(CheckFailed, match=r"can't be read as an .npz file"):
        load_network(tmp_path / "net.npz")
    assert not (tmp_path / "attacked").exists()


def test_large_files_are_refused_before_they_are_read(tmp_path, params):
    (tmp_path / "net.npz").write_bytes(b"0" * (MAX_FILE_BYTES + 1))
    with pytest.raises(CheckFailed, match=r"at most 4\.0 MB are taken"):
        load_network(tmp_path / "net.npz")
    np.savez_compressed(tmp_path / "bomb.npz", **params, more=np.zeros((8000, 1000)))
    assert (tmp_path / "bomb.npz").stat().st_size < MAX_FILE_BYTES
    with pytest.raises(CheckFailed, match="would unpack to 64 MB"):
        load_network(tmp_path / "bomb.npz")


def test_save_refuses_what_load_would_refuse_and_keeps_the_old_file(tmp_path, params):
    save_network(tmp_path / "net.npz", params)
    before = (tmp_path / "net.npz").read_bytes()
    for change in ({"b2": np.full(10, 1e6)}, {"W1": np.random.default_rng(0).standard_normal((3072, 900))}):
        broken = params | change
        broken |= {"b1": np.zeros(broken["W1"].shape[1]), "W2": np.zeros((broken["W1"].shape[1], 10))}
        with pytest.raises(CheckFailed, match=r"not finite|at most 4\.0 MB"):
            save_network(tmp_path / "net.npz", broken, half_precision=True)
    assert (tmp_path / "net.npz").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_accuracy_is_that_of_the_forward_pass(tmp_path, params):
    save_network(tmp_path / "net.npz", params)
    for split in ("val", "test"):
        measured = network_accuracy(tmp_path / "net.npz", split)
        assert measured == accuracy(lambda X: classify(load_network(tmp_path / "net.npz"), X), split)
        assert 0 < measured < 0.3, "a random network guesses"
    with pytest.raises(ValueError, match="split must be 'val', 'test' or 'hidden'"):
        accuracy(lambda X: np.zeros(len(X)), "train")


def test_check_network_at_its_threshold(tmp_path, params, capsys):
    save_network(tmp_path / "net.npz", params)
    reached = network_accuracy(tmp_path / "net.npz", "val")
    check_network(tmp_path / "net.npz", "val", at_least=reached)
    assert "passed: validation accuracy" in capsys.readouterr().out
    with pytest.raises(CheckFailed, match=r"the validation accuracy 0\.\d{3} is below 0\.52"):
        check_network(tmp_path / "net.npz", "val", at_least=0.52)


def test_committed_network_is_small_and_good():
    path = SOURCE / "best_net.npz"
    assert path.stat().st_size <= 3_500_000
    # Measured exactly, on shipped images. On all 10,000 test images: python -m benchmarks.reproduce.
    assert network_accuracy(path, "val") >= 0.59
    assert network_accuracy(path, "test") >= 0.55


# --- Multilayer perceptrons ---------------------------------------------------------------


def small_mlp(activation=nn.GELU):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3072, 7), activation(), nn.Linear(7, 5), activation(), nn.Linear(5, 10))


@pytest.mark.parametrize(("name", "module"), [("relu", nn.ReLU), ("tanh", nn.Tanh), ("gelu", nn.GELU)])
def test_saved_mlp_computes_what_the_model_does(tmp_path, name, module):
    model = small_mlp(module)
    save_mlp(tmp_path / "mlp.pt", model, name)
    mlp = load_mlp(tmp_path / "mlp.pt")
    assert str(mlp) == f"3072 - 7 - 5 - 10 units, {name}"
    X = np.random.default_rng(0).standard_normal((200, 3072))
    with torch.no_grad():
        logits = model.half().float()(torch.tensor(X, dtype=torch.float32))
    best_two = logits.topk(2).values
    clear = (best_two[:, 0] - best_two[:, 1] > 1e-4).numpy()  # a tie may go either way
    assert clear.sum() > 150
    np.testing.assert_array_equal(classify_mlp(mlp, X)[clear], logits.argmax(dim=1).numpy()[clear])
    assert [path.name for path in tmp_path.iterdir()] == ["mlp.pt"]


def stored(path, change=None, **content):
    """A file with the state of a right model, changed; returns its path."""
    state = dict(small_mlp().state_dict())
    for key, value in (change or {}).items():
        if value is None:
            del state[key]
        else:
            state[key] = value
    torch.save({"activation": "gelu", "state_dict": state} | content, path)
    return path


def test_missing_mlp_is_work_not_done_yet(tmp_path):
    with pytest.raises(NotImplementedError, match=r"no best_mlp\.pt beside the notebook"):
        load_mlp(tmp_path / "best_mlp.pt")


@pytest.mark.parametrize(
    ("change", "content", "sentence"),
    [
        ({}, {"activation": "swish"}, "its activation is 'swish', expected one of relu, tanh, gelu"),
        ({}, {"activation": 3}, "its activation is '3'"),
        ({}, {"state_dict": {}}, "its state_dict holds no tensors"),
        ({}, {"state_dict": [1, 2]}, "its state_dict holds no tensors"),
        ({"0.weight": "weights"}, {}, "0.weight is no plain tensor"),
        ({"0.bias": torch.zeros(7).to_sparse()}, {}, "0.bias is no plain tensor"),
        ({"0.bias": torch.zeros(7, dtype=torch.int32)}, {}, r"0.bias has dtype torch.int32"),
        ({"2.bias": None}, {}, "4.weight is out of place"),
        ({"4.bias": None}, {}, "4.weight is out of place"),
        ({"5.running_mean": torch.zeros(10)}, {}, "5.running_mean is out of place"),
        ({"0.weight": torch.zeros(3072, 7)}, {}, r"0.weight has shape \(3072, 7\), expected \(outputs, 3072\)"),
        ({"2.weight": torch.zeros(5, 8)}, {}, r"2.weight has shape \(5, 8\), expected \(outputs, 7\)"),
        ({"2.bias": torch.zeros(6)}, {}, r"2.bias has shape \(6,\), expected \(5,\)"),
        ({"4.weight": torch.zeros(3, 5), "4.bias": torch.zeros(3)}, {}, "its last layer has 3 outputs, expected 10"),
        ({"4.bias": torch.full((10,), float("nan"))}, {}, "10 of 10 values of 4.bias are not finite"),
        ({"0.weight": torch.zeros(1, 1).expand(10**6, 3072)}, {}, "more than 8,000,000 parameters"),
    ],
)
def test_faulty_mlp_is_refused_in_a_sentence(tmp_path, change, content, sentence):
    with pytest.raises(CheckFailed, match=sentence):
        load_mlp(stored(tmp_path / "mlp.pt", change, **content))


def test_file_that_holds_no_mlp(tmp_path):
    path = tmp_path / "mlp.pt"
    for content in (b"", b"no archive", b"PK\x03\x04 cut off"):
        path.write_bytes(content)
        with pytest.raises(CheckFailed, match=r"the file is empty|it can't be read as tensors alone"):
            load_mlp(path)
    torch.save(small_mlp().state_dict(), path)
    with pytest.raises(CheckFailed, match="it holds no activation and state_dict; save it with save_mlp"):
        load_mlp(path)
    torch.save({"activation": "gelu", "state_dict": small_mlp()}, path)  # a model, not tensors
    with pytest.raises(CheckFailed, match="it can't be read as tensors alone"):
        load_mlp(path)


def test_pickle_in_an_mlp_is_not_run(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "attacked"),)

    path = tmp_path / "mlp.pt"
    torch.save({"activation": "gelu", "state_dict": {"0.weight": Attack()}}, path)
    with pytest.raises(CheckFailed, match="it can't be read as tensors alone"):
        load_mlp(path)
    path.write_bytes(pickle.dumps(Attack()))
    with pytest.raises(CheckFailed, match="it can't be read as tensors alone"):
        load_mlp(path)
    assert not (tmp_path / "attacked").exists()


def test_large_mlps_are_refused(tmp_path):
    path = tmp_path / "mlp.pt"
    path.write_bytes(b"0" * (MAX_MLP_BYTES + 1))
    with pytest.raises(CheckFailed, match=r"at most 8\.0 MB are taken"):
        load_mlp(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        bomb.writestr("mlp/data/0", bytes(3 * MAX_MLP_BYTES))
    with pytest.raises(CheckFailed, match="it would unpack to 24 MB"):
        load_mlp(path)


def test_save_refuses_what_load_would_refuse_and_keeps_the_old_mlp(tmp_path):
    path = tmp_path / "mlp.pt"
    save_mlp(path, small_mlp(), "gelu")
    before = path.read_bytes()
    with pytest.raises(CheckFailed, match="its activation is 'GELU'"):
        save_mlp(path, small_mlp(), "GELU")
    large = nn.Sequential(nn.Linear(3072, 1400), nn.ReLU(), nn.Linear(1400, 10))
    with pytest.raises(CheckFailed, match=r"at most 8\.0 MB are taken"):
        save_mlp(path, large, "relu")
    with pytest.raises(CheckFailed, match=r"1\.num_batches_tracked has dtype torch\.int64"):
        save_mlp(path, nn.Sequential(nn.Linear(3072, 10), nn.BatchNorm1d(10)), "relu")
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


def test_check_mlp_at_its_threshold(tmp_path, capsys):
    path = tmp_path / "mlp.pt"
    save_mlp(path, small_mlp(), "gelu")
    for split in ("val", "test"):
        reached = mlp_accuracy(path, split)
        assert 0 < reached < 0.3, "a random network guesses"
        check_mlp(path, split, at_least=reached)
    assert "passed: validation accuracy" in capsys.readouterr().out
    with pytest.raises(CheckFailed, match=r"the validation accuracy 0\.\d{3} is below 0\.52"):
        check_mlp(path, "val", at_least=0.52)


def test_committed_mlp_is_small_and_good():
    path = SOURCE / "best_mlp.pt"
    assert path.stat().st_size <= MAX_MLP_BYTES
    # Measured exactly, on shipped images. On all 10,000 test images: python -m benchmarks.reproduce.
    assert mlp_accuracy(path, "val") >= 0.60
    assert mlp_accuracy(path, "test") >= 0.59


# --- The hidden accuracy ------------------------------------------------------------------


def test_hidden_images_are_out_of_students_reach():
    """They are in no package that the wheel is made of, not among what is released, and out of the cage's sight."""
    root = SOURCE.parents[1]
    packages = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    closed = [root / package.replace(".", "/") for package in packages] + [SOURCE, *map(Path, installation())]
    assert not any(evaluation.HIDDEN_FILE.is_relative_to(folder) for folder in closed)


def test_a_network_trained_on_the_shipped_images_is_named_and_keeps_its_points(monkeypatch, capsys):
    accuracies = {"val": 0.5, "test": 1.0, "hidden": 0.48}
    monkeypatch.setattr(evaluation, "network_accuracy", lambda path, split, every=1: accuracies[split])
    named = []
    monkeypatch.setattr(evaluation, "name_trouble", named.append)
    check_network("best_net.npz", "hidden", at_least=0.47)
    assert len(named) == 1 and "1.000 on the test images" in named[0] and "0.480 on others" in named[0]
    accuracies["test"] = 0.58  # a chance of less than 1 in 100,000
    check_network("best_net.npz", "hidden", at_least=0.47)
    assert len(named) == 1
