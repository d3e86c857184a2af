"""Counters of metrics against NumPy: what is kept, counted, summed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels import metrics as kernels
from distnn.kernels.accumulate import added_losses

Array = np.ndarray[Any, np.dtype[Any]]
NO_WEIGHT = np.zeros(0, np.float32)


def test_the_largest_of_a_row_are_kept_the_first_of_equals() -> None:
    x = np.array([[3, 1, 3, 2], [0, 0, 0, 0]], np.float32)
    out = np.empty_like(x)
    kernels.keep_top_k(x, 2, -9.0, out)
    np.testing.assert_array_equal(out, [[3, -9, 3, -9], [0, 0, -9, -9]])


@pytest.mark.parametrize("weighted", [False, True])
def test_values_are_counted_between_thresholds(weighted: bool, rng: np.random.Generator) -> None:
    labels, thresholds = 2, np.array([0.0, 0.25, 0.5, 0.75])
    target = (rng.random((50, labels)) < 0.4).astype(np.float32)
    prediction = rng.integers(0, 9, (50, labels)).astype(np.float32) / 8
    weight = rng.integers(0, 5, target.size).astype(np.float32) if weighted else NO_WEIGHT
    found = np.full(labels * 2 * 5, 7.0)
    kernels.threshold_counts(target.ravel(), prediction.ravel(), weight, thresholds, labels, found)
    counted = weight.reshape(50, labels) if weighted else np.ones((50, labels))
    bucket = (prediction[..., None] > thresholds).sum(axis=-1)
    for label, side, place in np.ndindex(labels, 2, 5):
        chosen = (bucket[:, label] == place) & (target[:, label] == 1 - side)
        assert found.reshape(labels, 2, 5)[label, side, place] == counted[chosen, label].sum()


@pytest.mark.parametrize("ignored", [-1, 1])
def test_confusions_leave_out_what_is_no_class(ignored: int) -> None:
    label = np.array([0, 1, 2, 2, 3, -1, 0])
    prediction = np.array([0, 2, 2, 0, 1, 1, 5])
    weight = np.array([1, 2, 4, 8, 16, 32, 64], np.float32)
    found = np.full(9, 7.0)
    kernels.confusion_counts(label, prediction, weight, 3, ignored, found)
    np.testing.assert_array_equal(
        found.reshape(3, 3), [[1, 0, 0], [0, 0, 0 if ignored == 1 else 2], [8, 0, 4]]
    )
    kernels.confusion_counts(label, prediction, NO_WEIGHT, 3, ignored, found)
    assert found.sum() == (3 if ignored == 1 else 4)


def test_columns_are_summed_in_float64() -> None:
    x = np.array([[1e8, 1], [1, 2], [-1e8, 3]], np.float32)
    out = np.empty(2)
    kernels.column_sums(x, NO_WEIGHT, out)
    np.testing.assert_array_equal(out, [1, 6])
    kernels.column_sums(x, np.array([0, 2, 1], np.float32), out)
    np.testing.assert_array_equal(out, [-1e8 + 2, 7])


def test_added_losses_weigh_means_by_the_shard_and_sums_by_the_batch() -> None:
    out, control = np.empty(1), np.arange(8)
    added_losses(np.float32([0.5]), np.float32([2.0]), np.float32([16.0]), control, 6, out)
    assert out[0] == 0.5 * 6 + 2.0 * 16
