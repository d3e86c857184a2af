"""Softmax, cross-entropies and accuracies against their formulas; bytes shared between them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels import metrics
from distnn.kernels import softmax as kernels

Array = np.ndarray[Any, np.dtype[Any]]
SHAPES = [(1, 1), (4, 3), (5, 16), (3, 37), (30, 200)]
FLOOR = 1e-7


def logits_and_labels(shape: tuple[int, int]) -> tuple[Array, Array]:
    rng = np.random.default_rng(11)
    x = (rng.normal(size=shape) * 4).astype(np.float32)
    return x, rng.integers(0, shape[1], shape[0]).astype(np.int32)


def softmax_of(x: Array) -> Array:
    e = np.exp(x.astype(np.float64) - x.max(axis=1, keepdims=True))
    result: Array = e / e.sum(axis=1, keepdims=True)
    return result


def assert_close(actual: Array, expected: Array, tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("shape", SHAPES)
def test_softmax_and_log_softmax(shape: tuple[int, int]) -> None:
    x, _ = logits_and_labels(shape)
    y, dx, dy = np.empty_like(x), np.empty_like(x), np.cos(np.arange(x.size, dtype=np.float32)).reshape(shape)
    p = softmax_of(x)
    kernels.softmax(x, y)
    assert_close(y, p)
    kernels.softmax_gradient(y, dy, dx)
    assert_close(dx, p * (dy - (p * dy).sum(axis=1, keepdims=True)))
    kernels.log_softmax(x, y)
    assert_close(y, np.log(p))
    kernels.log_softmax_gradient(y, dy, dx)
    assert_close(dx, dy - p * dy.sum(axis=1, dtype=np.float64, keepdims=True), 1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_sparse_cross_entropy(shape: tuple[int, int]) -> None:
    x, labels = logits_and_labels(shape)
    p, dx = np.empty_like(x), np.empty_like(x)
    loss, dloss = np.empty(shape[0], np.float32), np.linspace(0.5, 1.5, shape[0]).astype(np.float32)
    kernels.sparse_cross_entropy(x, labels, loss, p)
    expected = softmax_of(x)
    assert_close(loss, -np.log(expected[np.arange(shape[0]), labels]))
    alone = np.empty_like(x)
    kernels.softmax(x, alone)
    assert p.tobytes() == alone.tobytes()
    kernels.sparse_cross_entropy_gradient(p, labels, dloss, dx)
    assert_close(dx, (expected - np.eye(shape[1])[labels]) * dloss[:, None])


@pytest.mark.parametrize("shape", SHAPES)
def test_dense_cross_entropy_with_soft_targets(shape: tuple[int, int]) -> None:
    x, _ = logits_and_labels(shape)
    target = np.random.default_rng(2).uniform(size=shape).astype(np.float32)
    p, dx = np.empty_like(x), np.empty_like(x)
    loss, dloss = np.empty(shape[0], np.float32), np.linspace(0.5, 1.5, shape[0]).astype(np.float32)
    kernels.dense_cross_entropy(x, target, loss, p)
    expected = softmax_of(x)
    np.testing.assert_allclose(loss, -(target * np.log(expected)).sum(axis=1), rtol=1e-5, atol=1e-5)
    alone = np.empty_like(x)
    kernels.softmax(x, alone)
    assert p.tobytes() == alone.tobytes()
    kernels.dense_cross_entropy_gradient(p, target, dloss, dx)
    assert_close(dx, (expected * target.sum(axis=1, keepdims=True) - target) * dloss[:, None], 2e-5)


def test_labels_outside_the_classes_give_nan() -> None:
    x, _ = logits_and_labels((4, 3))
    labels = np.array([0, 3, -1, 2], np.int32)
    loss, ones = np.empty(4, np.float32), np.ones(4, np.float32)
    p, dx = np.empty_like(x), np.empty_like(x)
    kernels.sparse_cross_entropy(x, labels, loss, p)
    np.testing.assert_array_equal(np.isnan(loss), [False, True, True, False])
    kernels.sparse_cross_entropy_gradient(p, labels, ones, dx)
    np.testing.assert_array_equal(np.isnan(dx).all(axis=1), [False, True, True, False])
    kernels.sparse_cross_entropy_of_probabilities(p, labels, loss)
    np.testing.assert_array_equal(np.isnan(loss), [False, True, True, False])
    kernels.sparse_cross_entropy_of_probabilities_gradient(p, labels, ones, dx)
    np.testing.assert_array_equal(np.isnan(dx).all(axis=1), [False, True, True, False])


def test_nan_logits_show_in_the_loss() -> None:
    x, labels = logits_and_labels((2, 20))
    x[1, 17] = np.nan
    loss, p = np.empty(2, np.float32), np.empty_like(x)
    kernels.sparse_cross_entropy(x, labels, loss, p)
    np.testing.assert_array_equal(np.isnan(loss), [False, True])


def clipped(p: Array) -> Array:
    q = p.astype(np.float64) / p.sum(axis=1, dtype=np.float64, keepdims=True)
    return np.clip(q, FLOOR, 1 - FLOOR)


@pytest.mark.parametrize("shape", [(4, 3), (3, 37)])
def test_cross_entropies_of_probabilities_normalise_and_clip(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(4)
    p = rng.uniform(0.05, 1, shape).astype(np.float32)
    p[0] = [1.0, *np.zeros(shape[1] - 1)]
    labels = rng.integers(0, shape[1], shape[0]).astype(np.int32)
    labels[0] = 1
    target = rng.uniform(size=shape).astype(np.float32)
    loss, dp = np.empty(shape[0], np.float32), np.empty_like(p)
    scale = np.linspace(0.5, 1.5, shape[0]).astype(np.float32)
    q, total = clipped(p), p[1:].sum(axis=1, keepdims=True)
    kernels.sparse_cross_entropy_of_probabilities(p, labels, loss)
    assert_close(loss, -np.log(q[np.arange(shape[0]), labels]))
    assert loss[0] == np.float32(-np.log(np.float32(FLOOR)))
    kernels.sparse_cross_entropy_of_probabilities_gradient(p, labels, scale, dp)
    np.testing.assert_array_equal(dp[0], 0)
    of_label = q[1:][np.arange(shape[0] - 1), labels[1:]][:, None]
    assert_close(
        dp[1:], (of_label - np.eye(shape[1])[labels[1:]]) / (of_label * total) * scale[1:, None], 2e-5
    )
    kernels.dense_cross_entropy_of_probabilities(p, target, loss)
    np.testing.assert_allclose(loss, -(target * np.log(q)).sum(axis=1), rtol=1e-5)
    kernels.dense_cross_entropy_of_probabilities_gradient(p, target, scale, dp)
    np.testing.assert_array_equal(dp[0], 0)
    g = -target[1:] * scale[1:, None] / q[1:]
    np.testing.assert_allclose(
        dp[1:], (g - (g * q[1:]).sum(axis=1, keepdims=True)) / total, rtol=2e-5, atol=2e-5
    )


def test_only_probabilities_beyond_the_floor_are_clipped() -> None:
    rest = [1e-8, 1e-6, 0.005, 0.5, 0.995, 1 - 1e-6, 1]
    p = np.array([[q, 1 - q] for q in rest], np.float32)
    labels, ones, target = np.zeros(7, np.int32), np.ones(7, np.float32), np.array([[1, 0]] * 7, np.float32)
    loss, dp, dense_loss, dense_dp = (
        np.empty_like(ones),
        np.empty_like(p),
        np.empty_like(ones),
        np.empty_like(p),
    )
    kernels.sparse_cross_entropy_of_probabilities(p, labels, loss)
    kernels.sparse_cross_entropy_of_probabilities_gradient(p, labels, ones, dp)
    kernels.dense_cross_entropy_of_probabilities(p, target, dense_loss)
    kernels.dense_cross_entropy_of_probabilities_gradient(p, target, ones, dense_dp)
    expected = -np.log(np.clip(p[:, 0], np.float32(FLOOR), np.float32(1 - FLOOR)).astype(np.float64))
    for found in (loss, dense_loss):
        np.testing.assert_allclose(found, expected, rtol=1e-5)
    for gradient in (dp, dense_dp):
        assert (gradient[:, 0] != 0).tolist() == [False, True, True, True, True, True, False]


def test_binary_cross_entropies() -> None:
    x = np.array([-200, -50, -3, -0.1, 0, 0.1, 3, 50, 200], np.float32)
    target = np.linspace(0, 1, 9).astype(np.float32)
    loss, dx, ones = np.empty_like(x), np.empty_like(x), np.ones_like(x)
    wide = x.astype(np.float64)
    kernels.binary_cross_entropy(x, target, loss)
    assert_close(loss, np.maximum(wide, 0) - wide * target + np.log1p(np.exp(-np.abs(wide))))
    kernels.binary_cross_entropy_gradient(x, target, ones, dx)
    assert_close(dx, 1 / (1 + np.exp(-wide)) - target)
    p = np.array([0, 1e-9, 0.005, 0.3, 0.5, 0.7, 0.995, 1, 1], np.float32)
    q = np.clip(p, np.float32(FLOOR), np.float32(1 - FLOOR)).astype(np.float64)
    kernels.binary_cross_entropy_of_probabilities(p, target, loss)
    assert_close(loss, -(target * np.log(q) + (1 - target) * np.log(1 - q)), 1e-5)
    kernels.binary_cross_entropy_of_probabilities_gradient(p, target, ones, dx)
    inside = slice(2, 7)
    assert_close(dx[inside], ((q - target) / (q * (1 - q)))[inside], 1e-5)
    np.testing.assert_array_equal(dx[[0, 1, 7, 8]], 0)


def test_accuracies_take_the_first_of_equals() -> None:
    prediction = np.array([[0.2, 0.5, 0.5], [0.9, 0.1, 0.0], [0.1, 0.1, 0.1]], np.float32)
    match = np.empty(3, np.float32)
    metrics.sparse_accuracy(np.array([1, 1, 0], np.int32), prediction, match)
    np.testing.assert_array_equal(match, [1, 0, 1])
    target = np.array([[0, 0, 1], [1, 0, 0], [0, 1, 1]], np.float32)
    metrics.categorical_accuracy(target, prediction, match)
    np.testing.assert_array_equal(match, [0, 1, 0])
    metrics.sparse_top_k_accuracy(np.array([0, 1, 2], np.int32), prediction, 2, match)
    np.testing.assert_array_equal(match, [0, 1, 1])
    metrics.sparse_top_k_accuracy(np.array([3, -1, 0], np.int32), prediction, 3, match)
    np.testing.assert_array_equal(match, [0, 0, 1])
