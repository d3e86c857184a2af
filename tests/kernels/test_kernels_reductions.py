"""Reductions, row runs and sums against NumPy in float64; the order of a run against a plain loop."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels import accumulate, reductions
from distnn.kernels.jit import kernel
from distnn.kernels.rows import (
    run_abs_sum_f64,
    run_deviation_sum,
    run_dot,
    run_max,
    run_scaled_deviation_dot,
    run_square_sum_f64,
    run_sum,
    run_sum_f64,
)

Array = np.ndarray[Any, np.dtype[Any]]
SHAPES = [(1, 1, 1), (3, 5, 1), (2, 16, 1), (2, 37, 1), (4, 3, 5), (1, 6, 20), (2, 1, 3)]


def make(shape: tuple[int, ...], dtype: Any = np.float32) -> Array:
    return np.random.default_rng(5).normal(size=shape).astype(dtype)


def run_in_order(values: Array) -> Any:
    """The definition: sixteen lanes, a tree, then the rest in order."""
    lanes = values[: len(values) // 16 * 16].reshape(-1, 16)
    total = values.dtype.type(0)
    if len(lanes):
        current = lanes[0].copy()
        for lane in lanes[1:]:
            current = current + lane
        while len(current) > 1:
            current = current[: len(current) // 2] + current[len(current) // 2 :]
        total = current[0]
    for value in values[len(lanes) * 16 :]:
        total = total + value
    return total


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_means_and_extremes(shape: tuple[int, int, int], dtype: Any) -> None:
    x = make(shape, dtype)
    y = np.empty((shape[0], shape[2]), dtype)
    place = np.empty(y.shape, np.int32)
    tolerance = 1e-5 if dtype == np.float32 else 1e-12
    wide = x.astype(np.float64)
    reductions.sum_axis(x, y)
    np.testing.assert_allclose(y, wide.sum(axis=1), rtol=tolerance, atol=tolerance)
    reductions.mean_axis(x, y)
    np.testing.assert_allclose(y, wide.mean(axis=1), rtol=tolerance, atol=tolerance)
    reductions.max_axis(x, y)
    np.testing.assert_array_equal(y, x.max(axis=1))
    reductions.min_axis(x, y)
    np.testing.assert_array_equal(y, x.min(axis=1))
    reductions.argmax_axis(x, place)
    np.testing.assert_array_equal(place, x.argmax(axis=1))
    reductions.argmin_axis(x, place)
    np.testing.assert_array_equal(place, x.argmin(axis=1))


def test_sum_of_no_values_is_zero() -> None:
    for inner in (1, 4):
        y = np.ones((2, inner), np.float32)
        reductions.sum_axis(np.empty((2, 0, inner), np.float32), y)
        np.testing.assert_array_equal(y, 0)


@pytest.mark.parametrize("size", [1, 15, 16, 17, 32, 100])
def test_order_of_a_run_is_its_definition(size: int) -> None:
    x = make((3, size, 1))
    y = np.empty((3, 1), np.float32)
    reductions.sum_axis(x, y)
    assert [v.tobytes() for v in y[:, 0]] == [run_in_order(row).tobytes() for row in x[:, :, 0]]


def test_ties_and_nan() -> None:
    x = np.array([[[1], [3], [3], [2]], [[1], [np.nan], [5], [np.nan]]], np.float32)
    y, place = np.empty((2, 1), np.float32), np.empty((2, 1), np.int32)
    for extreme, where in (
        (reductions.max_axis, reductions.argmax_axis),
        (reductions.min_axis, reductions.argmin_axis),
    ):
        extreme(x, y)
        assert np.isnan(y[1, 0]) and not np.isnan(y[0, 0])
        where(x, place)
        assert place[1, 0] == 1
    reductions.argmax_axis(x, place)
    assert place[0, 0] == 1
    wide = np.full((1, 40, 1), 2, np.float32)
    wide[0, 21] = np.nan
    reductions.max_axis(wide, y[:1])
    assert np.isnan(y[0, 0])


def test_gradients_of_reductions() -> None:
    x = np.array([[[1], [3], [3], [2]]], np.float32)
    dx = np.empty_like(x)
    y, dy = np.array([[3]], np.float32), np.array([[8]], np.float32)
    reductions.extreme_gradient(x, y, dy, dx)
    np.testing.assert_array_equal(dx[0, :, 0], [0, 4, 4, 0])
    reductions.broadcast_axis(dy, 0.25, dx)
    np.testing.assert_array_equal(dx, 2)


@kernel
def all_runs(x: Array, y: Array, start: int, count: int, out: Array) -> None:
    out[0] = run_sum(x, start, count)
    out[1] = run_max(x, start, count)
    out[2] = run_dot(x, y, start, count)
    out[3] = run_sum_f64(x, start, count)
    out[4] = run_abs_sum_f64(x, start, count)
    out[5] = run_square_sum_f64(x, start, count)
    out[6] = run_deviation_sum(x, start, count, x.dtype.type(0.5))
    out[7] = run_scaled_deviation_dot(x, y, start, count, x.dtype.type(0.5))


@pytest.mark.parametrize("count", [1, 9, 16, 50])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_runs(count: int, dtype: Any) -> None:
    x, y = make((70,), dtype), make((70,), dtype)[::-1].copy()
    out = np.empty(8, np.float64)
    all_runs(x, y, 3, count, out)
    a, b = x[3 : 3 + count].astype(np.float64), y[3 : 3 + count].astype(np.float64)
    expected = [
        a.sum(),
        a.max(),
        (a * b).sum(),
        a.sum(),
        np.abs(a).sum(),
        (a * a).sum(),
        ((a - 0.5) ** 2).sum(),
        (a * (b - 0.5)).sum(),
    ]
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(out[3:6], expected[3:6], rtol=1e-14)


@pytest.mark.parametrize("size", [0, 1, 16, 55])
def test_sums_that_end_in_float64(size: int) -> None:
    x, weight = make((size,)), np.abs(make((size,)))
    out = np.empty(2)
    accumulate.sum_and_count(x, out)
    np.testing.assert_allclose(out, [x.astype(np.float64).sum(), size], rtol=1e-14)
    accumulate.sum_and_weight(x, weight, out)
    expected = [(x.astype(np.float64) * weight).sum(), weight.astype(np.float64).sum()]
    np.testing.assert_allclose(out, expected, rtol=1e-13, atol=1e-13)


def test_values_times_samples() -> None:
    control = np.array([0, 0, 0, 12], np.int64)
    x = make((5,))
    out = np.empty(6)
    accumulate.scaled_by_samples(x, control, 3, out)
    np.testing.assert_array_equal(out, [*(x.astype(np.float64) * 12), 12])
    y = np.empty_like(x)
    accumulate.times_samples(x, control, 3, y)
    np.testing.assert_array_equal(y, x * np.float32(12))
