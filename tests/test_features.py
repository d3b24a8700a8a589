"""Histograms of gradients and the linear classifier, against what is known of them beforehand."""

from __future__ import annotations

import numpy as np
import pytest

from course_utils.data import load_evaluation_set
from course_utils.features import CELL, DIRECTIONS, histograms_of_gradients, least_squares_classifier, linear_scores


def stripes(degrees: float, side: int = 32) -> np.ndarray:
    """A photograph whose brightness grows in one direction, from left to right at 0 degrees, downwards at 90."""
    down, right = np.mgrid[:side, :side]
    slope = right * np.cos(np.radians(degrees)) + down * np.sin(np.radians(degrees))
    return np.repeat((100 + 2 * slope)[None, :, :, None], 3, axis=3)


@pytest.mark.parametrize("direction", range(DIRECTIONS))
@pytest.mark.parametrize("sign", [0, 180])
def test_an_edge_counts_for_its_direction_whatever_its_sign(direction, sign):
    found = histograms_of_gradients(stripes(sign + 180 / DIRECTIONS * direction)).reshape(4, 4, DIRECTIONS)
    inner = found[1:3, 1:3]  # at the border a gradient sees the photograph's end
    assert np.all(inner.argmax(axis=2) == direction)
    # Two pixels to the right differ by 4 of 255.
    np.testing.assert_allclose(inner[..., direction], 4 / 255, rtol=1e-4)
    np.testing.assert_allclose(np.delete(inner, direction, axis=2), 0, atol=1e-5)


def test_a_direction_between_two_is_shared_out():
    found = histograms_of_gradients(stripes(170)).reshape(4, 4, DIRECTIONS)[1, 1]
    np.testing.assert_allclose(found[[8, 0]], 2 / 255, rtol=1e-3)
    np.testing.assert_allclose(found[1:8], 0, atol=1e-5)


def test_histograms_are_those_of_a_plain_loop():
    image = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    grey = np.pad(image.mean(axis=2) / 255, 1, mode="edge")
    expected = np.zeros((2, 2, DIRECTIONS))
    for row in range(16):
        for column in range(16):
            right = grey[row + 1, column + 2] - grey[row + 1, column]
            down = grey[row + 2, column + 1] - grey[row, column + 1]
            place = np.degrees(np.arctan2(down, right)) % 180 / (180 / DIRECTIONS)
            for step in (0, 1):
                share = 1 - abs(place - (np.floor(place) + step))
                cell = expected[row // CELL, column // CELL]
                cell[(int(np.floor(place)) + step) % DIRECTIONS] += share * np.hypot(right, down) / CELL**2
    np.testing.assert_allclose(histograms_of_gradients(image[None])[0], expected.ravel(), rtol=1e-4, atol=1e-7)


def test_brightness_and_an_even_picture_change_nothing():
    image = np.random.default_rng(1).integers(0, 200, (1, 32, 32, 3))
    np.testing.assert_allclose(histograms_of_gradients(image + 50), histograms_of_gradients(image), atol=1e-6)
    assert not histograms_of_gradients(np.full((1, 32, 32, 3), 77, np.uint8)).any()


def test_many_photographs_are_one_after_the_other():
    images = np.random.default_rng(2).integers(0, 256, (2_001, 16, 16, 3), dtype=np.uint8)
    found = histograms_of_gradients(images)
    assert found.shape == (2_001, 4 * DIRECTIONS) and found.dtype == np.float32
    np.testing.assert_allclose(found[-1:], histograms_of_gradients(images[-1:]), rtol=1e-6)


def test_least_squares_are_those_of_numpy():
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((60, 4)), rng.integers(0, 3, 60)
    expected, *_ = np.linalg.lstsq(np.column_stack([X, np.ones(60)]), np.eye(3)[y], rcond=None)
    np.testing.assert_allclose(least_squares_classifier(X, y, 3, reg=0.0), expected, atol=1e-12)
    shrunk = least_squares_classifier(X, y, 3, reg=10.0)
    assert np.linalg.norm(shrunk) < np.linalg.norm(expected)
    np.testing.assert_allclose(linear_scores(expected, X), np.column_stack([X, np.ones(60)]) @ expected)


def test_features_that_tell_the_same_have_a_solution():
    X = np.ones((20, 3), np.float32)
    W = least_squares_classifier(X, np.arange(20) % 2, 2)
    assert W.dtype == np.float32 and np.isfinite(W).all()


def test_edges_tell_classes_apart_better_than_pixels():
    """On a thousand photographs only: 700 to fit, 1,300 to judge, where chance is 0.014 and the difference 0.1."""
    stored = load_evaluation_set()
    images = np.concatenate([stored.val_images, stored.test_images])
    labels = np.concatenate([stored.val_labels, stored.test_labels])
    accuracies = []
    for X in (images.reshape(len(images), -1).astype(np.float64) - 128, histograms_of_gradients(images)):
        W = least_squares_classifier(X[:700], labels[:700], 10)
        accuracies.append(np.mean(linear_scores(W, X[700:]).argmax(axis=1) == labels[700:]))
    assert accuracies[1] > accuracies[0] + 3 * 0.014
