"""Picking, adding by index, sorting, running sums and noise against loops a student could read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.control import CONTROL_WORDS, SHARD_WORD, STEP_WORD
from distnn.kernels import scans, selection
from distnn.kernels.noise import normal_noise

Array = np.ndarray[Any, np.dtype[Any]]


@pytest.mark.parametrize("dtype", [np.float32, np.int32])
def test_take_and_scatter(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, (2, 4, 3)).astype(dtype)
    index = np.array([3, -1, 0, 4, -5, 2], np.int32)
    taken = np.empty((2, 6, 3), dtype)
    selection.take_axis(x, index, 7.0, taken)
    added = np.empty_like(x)
    selection.scatter_add_axis(taken, index, added)
    wanted = np.zeros_like(x)
    for n, place in enumerate(index):
        if -4 <= place < 4:
            np.testing.assert_array_equal(taken[:, n], x[:, place])
            wanted[:, place] += taken[:, n]
        else:
            assert (taken[:, n] == 7).all()
    np.testing.assert_array_equal(added, wanted)


def test_take_and_scatter_along_an_axis(rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 4, 3)).astype(np.float32)
    index = rng.integers(-6, 6, (2, 5, 3)).astype(np.int32)
    taken, added, wanted = np.empty((2, 5, 3), np.float32), np.empty_like(x), np.zeros_like(x)
    selection.take_along_axis(x, index, np.nan, taken)
    selection.scatter_add_along_axis(np.ones_like(taken), index, added)
    for o, n, i in np.ndindex(index.shape):
        place = index[o, n, i]
        if -4 <= place < 4:
            assert taken[o, n, i] == x[o, place, i]
            wanted[o, place, i] += 1
        else:
            assert np.isnan(taken[o, n, i])
    np.testing.assert_array_equal(added, wanted)


@pytest.mark.parametrize("size", [0, 1, 2, 7, 8, 33])
@pytest.mark.parametrize("falling", [False, True])
def test_argsort_is_stable(size: int, falling: bool, rng: np.random.Generator) -> None:
    x = rng.integers(0, 6, (2, size, 3)).astype(np.float32)
    x[rng.random(x.shape) < 0.1] = np.nan
    places = np.empty(x.shape, np.int32)
    selection.argsort_axis(x, falling, np.empty((2, size), np.int32), places)
    np.testing.assert_array_equal(places, np.argsort(-x if falling else x, axis=1, kind="stable"))


@pytest.mark.parametrize("backward", [False, True])
def test_running_sums(backward: bool, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, 5, 3))
    y = np.empty_like(x)
    scans.cumsum_axis(x, backward, y)
    turned = x[:, ::-1] if backward else x
    wanted = np.cumsum(turned, axis=1)
    np.testing.assert_allclose(y, wanted[:, ::-1] if backward else wanted)


def test_products_and_their_gradient_where_values_are_zero(rng: np.random.Generator) -> None:
    x = rng.normal(size=(4, 5, 3))
    x[0, 1], x[1, :2] = 0, 0
    y, dy, dx = np.empty((4, 3)), rng.normal(size=(4, 3)), np.empty_like(x)
    scans.prod_axis(x, y)
    np.testing.assert_allclose(y, x.prod(axis=1))
    scans.prod_gradient(x, dy, dx)
    for r in range(5):
        np.testing.assert_allclose(dx[:, r], dy * np.delete(x, r, axis=1).prod(axis=1), atol=1e-15)


def noise(size: int, stream: int = 1, stddev: float = 1.0, **words: int) -> Array:
    control = np.zeros(CONTROL_WORDS, np.int64)
    control[STEP_WORD], control[SHARD_WORD] = words.get("step", 0), words.get("shard", 0)
    out = np.empty(size, np.float32)
    normal_noise(control, stream, stddev, out)
    return out


def test_normal_noise_is_normal_and_a_function_of_its_place() -> None:
    values = noise(4000, stddev=2.0).astype(np.float64)
    assert abs(values.mean()) < 0.12 and abs(values.std() - 2) < 0.1
    assert 0.94 < (np.abs(values) < 4).mean() < 0.97
    assert 0.64 < (np.abs(values) < 2).mean() < 0.73
    np.testing.assert_array_equal(noise(4000)[:101], noise(101))
    others = [noise(9, 2), noise(9, step=1), noise(9, shard=1), noise(9)]
    assert len({other.tobytes() for other in others}) == 4
