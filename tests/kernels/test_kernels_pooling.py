"""Pooling and depthwise convolution against naive twins; bits that other images do not change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import naive_windows as naive
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from distnn.kernels import activations, depthwise, pooling
from distnn.kernels.windows import Windows, make_windows

Array = np.ndarray[Any, np.dtype[Any]]
CHANNELS = (1, 5, 16, 35)


@st.composite
def pools(draw: Callable[..., Any]) -> Windows:
    rank = draw(st.integers(1, 3))
    sizes = [draw(st.integers(1, 6)) for _ in range(rank)]
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    windows = make_windows(sizes, kernel, strides, (1,) * rank, draw(st.sampled_from(["valid", "same"])))
    assume(min(windows.outputs) > 0)
    return windows


def sizes_of(windows: Windows) -> Array:
    return np.array(windows.sizes, np.int64)


def images(windows: Windows, count: int, channels: int, *, has_ties: bool = False) -> tuple[Array, Array]:
    rng = np.random.default_rng([*windows.sizes, channels])
    x = rng.normal(size=(count, *windows.inputs, channels)).astype(np.float32)
    if has_ties:
        x = np.round(x)
    return x, rng.normal(size=(count, *windows.outputs, channels)).astype(np.float32)


def largest(x: Array, dy: Array, windows: Windows, is_rectified: int = 0) -> tuple[Array, Array]:
    y, dx = np.full_like(dy, np.nan), np.full_like(x, np.nan)
    chosen = np.full(dy.size, 255, np.uint8 if windows.taps % 2 else np.int32)
    sizes, channels = sizes_of(windows), x.shape[-1]
    pooling.max_pool(x.reshape(-1), sizes, channels, is_rectified, y.reshape(-1), chosen)
    flat = dx.reshape(-1)
    pooling.max_pool_gradient(dy.reshape(-1), chosen, sizes, channels, windows.apartness, flat)
    return y, dx


def mean(x: Array, dy: Array, windows: Windows, is_mean: int = 1) -> tuple[Array, Array]:
    y, dx = np.full_like(dy, np.nan), np.full_like(x, np.nan)
    sizes, channels = sizes_of(windows), x.shape[-1]
    pooling.average_pool(x.reshape(-1), sizes, channels, is_mean, y.reshape(-1))
    pooling.average_pool_gradient(dy.reshape(-1), sizes, channels, is_mean, dx.reshape(-1))
    return y, dx


@given(windows=pools(), channels=st.sampled_from(CHANNELS), has_ties=st.booleans())
@settings(max_examples=30)
def test_max_pool_is_the_naive_twin(windows: Windows, channels: int, has_ties: bool) -> None:
    x, dy = images(windows, 2, channels, has_ties=has_ties)
    y, dx = largest(x, dy, windows)
    np.testing.assert_array_equal(y, naive.max_pool(x, windows))
    np.testing.assert_allclose(dx, naive.max_pool_gradient(x, dy, windows), rtol=1e-5, atol=1e-6)


@given(windows=pools(), channels=st.sampled_from(CHANNELS))
@settings(max_examples=30)
def test_max_pool_with_relu_gives_the_bytes_of_both_in_turn(windows: Windows, channels: int) -> None:
    x, dy = images(windows, 2, channels, has_ties=True)
    y, dx = largest(x, dy, windows)
    rectified, same_dx = largest(x, dy, windows, is_rectified=1)
    expected = np.empty_like(y)
    activations.relu(y.reshape(-1), expected.reshape(-1))
    assert rectified.tobytes() == expected.tobytes()
    assert same_dx.tobytes() == dx.tobytes()


@given(windows=pools(), channels=st.sampled_from(CHANNELS))
@settings(max_examples=30)
def test_average_pool_is_the_naive_twin(windows: Windows, channels: int) -> None:
    x, dy = images(windows, 2, channels)
    y, dx = mean(x, dy, windows)
    np.testing.assert_allclose(y, naive.average_pool(x, windows), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, naive.average_pool_gradient(x, dy, windows), rtol=1e-5, atol=1e-6)


def test_sums_of_windows_and_their_converse_repeat_values() -> None:
    windows = make_windows((4, 6), (2, 3), (2, 3), (1, 1), "valid")
    x, dy = images(windows, 2, 3)
    y, repeated = mean(x, dy, windows, is_mean=0)
    np.testing.assert_array_equal(repeated, dy.repeat(2, axis=2).repeat(3, axis=3))
    np.testing.assert_allclose(y, 6 * naive.average_pool(x, windows), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("compute", [largest, mean])
def test_an_image_has_the_same_bytes_in_any_batch(compute: Any) -> None:
    windows = make_windows((5, 6), (3, 3), (2, 2), (1, 1), "same")
    x, dy = images(windows, 5, 19)
    y, dx = compute(x, dy, windows)
    for start, stop in ((0, 1), (2, 5), (4, 5)):
        part_y, part_dx = compute(x[start:stop].copy(), dy[start:stop].copy(), windows)
        assert part_y.tobytes() == y[start:stop].tobytes()
        assert part_dx.tobytes() == dx[start:stop].tobytes()


@pytest.mark.parametrize("channels", [3, 16])
def test_nan_is_the_largest_value(channels: int) -> None:
    windows = make_windows((4, 4), (2, 2), (2, 2), (1, 1), "valid")
    x, dy = images(windows, 1, channels)
    x[0, 0, 0, 1, 2] = np.nan
    y, _ = largest(x, dy, windows)
    assert np.isnan(y[0, 0, 0, 0, 2]) and np.isnan(y).sum() == 1


@given(windows=pools(), channels=st.integers(1, 19), filters=st.integers(1, 3))
@settings(max_examples=30)
def test_depthwise_is_a_convolution_with_as_many_groups(
    windows: Windows, channels: int, filters: int
) -> None:
    rng = np.random.default_rng([*windows.sizes, channels])
    x = rng.normal(size=(2, *windows.inputs, channels))
    w = rng.normal(size=(*windows.kernel, channels, filters))
    dy = rng.normal(size=(2, *windows.outputs, channels * filters))
    y, dx, dw, scratch = np.empty_like(dy), np.empty_like(x), np.empty_like(w), np.empty(w.size)
    sizes = sizes_of(windows)
    flat_x, flat_w, flat_dy = x.reshape(-1), w.reshape(-1), dy.reshape(-1)
    depthwise.depthwise(flat_x, flat_w, sizes, channels, filters, y.reshape(-1))
    depthwise.depthwise_input_gradient(flat_dy, flat_w, sizes, channels, filters, dx.reshape(-1))
    depthwise.depthwise_weight_gradient(flat_x, flat_dy, sizes, channels, filters, scratch, dw.reshape(-1))
    grouped = w.reshape(*windows.kernel, 1, channels * filters)
    np.testing.assert_allclose(y, naive.convolution(x, grouped, windows, channels), atol=1e-12)
    np.testing.assert_allclose(dx, naive.input_gradient(dy, grouped, windows, channels), atol=1e-12)
    expected = naive.weight_gradient(x, dy, windows, channels)
    np.testing.assert_allclose(dw.reshape(expected.shape), expected, atol=1e-12)
