"""Samples picked by index, one-hot labels, and matrix products."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels.gather import gather_rows, one_hot
from distnn.kernels.products import bind_matmul, matmul


@pytest.mark.parametrize(
    ("source_dtype", "out_dtype"),
    [
        (np.float32, np.float32),
        (np.float64, np.float32),
        (np.uint8, np.float32),
        (np.int64, np.float32),
        (np.int32, np.int32),
        (np.int64, np.int32),
        (np.float32, np.float64),
    ],
)
def test_rows_are_picked_and_cast(source_dtype: Any, out_dtype: Any) -> None:
    source = (np.random.default_rng(0).uniform(0, 200, (9, 5))).astype(source_dtype)
    index = np.array([8, 0, 3, 3], np.int64)
    out = np.empty((4, 5), out_dtype)
    gather_rows(source, index, out)
    np.testing.assert_array_equal(out, source[index].astype(out_dtype))


def test_read_only_sources_are_fine() -> None:
    source = np.arange(6, dtype=np.float32).reshape(3, 2)
    source.flags.writeable = False
    out = np.empty((2, 2), np.float32)
    gather_rows(source, np.array([2, 0], np.int64), out)
    np.testing.assert_array_equal(out, [[4, 5], [0, 1]])


def test_one_hot_of_an_index_out_of_range_is_zeros() -> None:
    out = np.empty((4, 3), np.float32)
    one_hot(np.array([2, -1, 3, 0], np.int32), out)
    np.testing.assert_array_equal(out, [[0, 0, 1], [0, 0, 0], [0, 0, 0], [1, 0, 0]])


@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("stack", [(), (3,)])
def test_products_with_transposes(transpose_a: bool, transpose_b: bool, stack: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    a = rng.normal(size=(*stack, *((4, 2) if transpose_a else (2, 4)))).astype(np.float32)
    b = rng.normal(size=(*stack, *((5, 4) if transpose_b else (4, 5)))).astype(np.float32)
    out = np.empty((*stack, 2, 5), np.float32)
    call = bind_matmul(a, b, out, transpose_a=transpose_a, transpose_b=transpose_b)
    call()
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    np.testing.assert_allclose(out, left.astype(np.float64) @ right, rtol=1e-5, atol=1e-6)
    a += 1
    first = out.copy()
    call()
    assert not np.array_equal(out, first), "the call reads the arrays when it runs"


def test_matmul_writes_its_output() -> None:
    a, b, out = np.ones((2, 3), np.float32), np.ones((3, 4), np.float32), np.empty((2, 4), np.float32)
    matmul(a, b, out)
    np.testing.assert_array_equal(out, 3)
