"""Products against a naive twin in the exact order, byte by byte; the same bytes however they are cut."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn.kernels import blocking
from distnn.kernels.instructions import HAS_TILES
from distnn.kernels.products import bind_matmul, matmul, product_settings, products_kind
from distnn.kernels.team import run_together
from distnn.kernels.tiles import PANEL, TILE_ROWS, WIDE

Array = np.ndarray[Any, np.dtype[Any]]
needs_tiles = pytest.mark.skipif(not HAS_TILES, reason="tiles need AVX2, FMA and the compiler")


def fma(a: Array, b: Array, c: Array) -> Array:
    """float32 fused multiply-add: in float64 the sum is rounded to odd, so that rounding again is exact."""
    product = a.astype(np.float64) * b  # exact: 24 + 24 bits fit 53
    total = product + c
    back = total - product
    error = (product - (total - back)) + (c - back)
    is_even = (np.ascontiguousarray(total).view(np.int64) & 1) == 0
    is_inexact = (error != 0) & np.isfinite(total) & is_even
    toward = np.where(error > 0, np.inf, -np.inf)
    return np.where(is_inexact, np.nextafter(total, toward), total).astype(np.float32)


def naive_product(a: Array, b: Array) -> Array:
    """The definition: a chain of fused multiply-adds over rising k, begun at +0."""
    c = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for k in range(a.shape[1]):
        c = fma(*np.broadcast_arrays(a[:, k : k + 1], b[k : k + 1]), c)
    return c


def operand(rows: int, columns: int, seed: int, is_transposed: bool = False) -> Array:
    """Values whose sums round often and cancel; laid out transposed if asked."""
    values = np.random.default_rng([rows, columns, seed]).normal(size=(rows, columns)).astype(np.float32)
    values[values > 1.5] = 0
    return np.ascontiguousarray(values.T).T if is_transposed else values


def product(a: Array, b: Array) -> Array:
    """Through the door, operands given as they lie."""
    out = np.full((a.shape[0], b.shape[1]), 7, np.float32)
    is_a_turned, is_b_turned = (x.flags.f_contiguous and not x.flags.c_contiguous for x in (a, b))
    bind_matmul(
        a.T if is_a_turned else a,
        b.T if is_b_turned else b,
        out,
        transpose_a=is_a_turned,
        transpose_b=is_b_turned,
    )()
    return out


def assert_same_bytes(found: Array, expected: Array) -> None:
    np.testing.assert_array_equal(found.view(np.int32), expected.view(np.int32))


@needs_tiles
@given(
    rows=st.integers(0, 3 * TILE_ROWS),
    inner=st.integers(0, 40),
    columns=st.integers(0, 2 * PANEL + 5),
    transposed=st.tuples(st.booleans(), st.booleans()),
)
def test_each_element_is_one_chain(
    rows: int, inner: int, columns: int, transposed: tuple[bool, bool]
) -> None:
    a, b = operand(rows, inner, 0, transposed[0]), operand(inner, columns, 1, transposed[1])
    assert_same_bytes(product(a, b), naive_product(a, b))


LARGE = [
    # rows, inner, columns, transposed: blocks of k, wide tiles, packed and direct B, packed A, swapped C
    (1, 700, 2 * WIDE + 45, (False, False)),
    (2, 600, WIDE, (False, False)),
    (3, 530, WIDE + PANEL + 1, (False, False)),
    (9, 2100, 50, (False, False)),
    (170, 1030, 40, (False, False)),
    (52, 20, 1100, (False, False)),
    (77, 600, 500, (True, False)),
    (40, 1050, 70, (False, True)),
    (3, 70, 300, (False, True)),
    (8, 1100, 90, (False, True)),
    (100, 900, 70, (False, True)),
    (128, 130, 65, (False, True)),
    (140, 530, 40, (False, True)),
    (600, 530, 9, (False, False)),
    (70, 33, 45, (True, True)),
    (1100, 30, 10, (True, False)),
    (300, 70, 1, (False, False)),
    (60, 90, 15, (False, True)),
]


@needs_tiles
@pytest.mark.parametrize(("rows", "inner", "columns", "transposed"), LARGE)
def test_blocks_leave_the_chain_whole(
    rows: int, inner: int, columns: int, transposed: tuple[bool, bool]
) -> None:
    a, b = operand(rows, inner, 2, transposed[0]), operand(inner, columns, 3, transposed[1])
    expected = naive_product(a, b)
    assert_same_bytes(product(a, b), expected)
    with product_settings(threads=3):
        assert_same_bytes(product(a, b), expected)


@needs_tiles
@given(
    rows=st.integers(1, 200),
    inner=st.sampled_from([3, 64, 300]),
    columns=st.sampled_from([1, 10, 64, 100, 150]),
    cut=st.tuples(st.floats(0, 1), st.floats(0, 1)),
    transposed=st.tuples(st.booleans(), st.booleans()),
)
def test_any_slice_of_the_rows_has_the_same_bytes(
    rows: int, inner: int, columns: int, cut: tuple[float, float], transposed: tuple[bool, bool]
) -> None:
    a, b = operand(rows, inner, 4), operand(inner, columns, 5, transposed[1])
    start, stop = sorted(round(share * rows) for share in cut)
    whole = product(operand(rows, inner, 4, transposed[0]), b)
    part = a[start:stop]
    assert_same_bytes(product(part.copy(order="F") if transposed[0] else part, b), whole[start:stop])


@needs_tiles
def test_threads_change_no_byte() -> None:
    for rows, columns in ((64, 1100), (1100, 64), (600, 600)):
        a, b = operand(rows, 200, 6), operand(200, columns, 7)
        alone = product(a, b)
        for threads in (2, 3, 5):
            with product_settings(threads=threads):
                assert_same_bytes(product(a, b), alone)


@needs_tiles
@pytest.mark.parametrize("rows", [1, 64, 70, 150])
def test_rows_of_b_that_share_sets_of_the_cache(rows: int) -> None:
    a, wide_b = operand(rows, 600, 18), operand(600, 1024, 19)
    for b in (wide_b[:, :PANEL], wide_b[:, 5:110]):
        assert_same_bytes(product(a, b), naive_product(a, b))


@needs_tiles
def test_every_number_of_rows_has_the_bytes_of_many() -> None:
    for columns, transposed in ((WIDE + 50, False), (2 * TILE_ROWS + 3, True), (300, True)):
        a, b = operand(40, 77, 20), operand(77, columns, 21, transposed)
        many = naive_product(a, b)
        for rows in range(1, 20):
            assert_same_bytes(product(a[7 : 7 + rows], b), many[7 : 7 + rows])


@needs_tiles
@pytest.mark.parametrize("rows", [2, 5, 60])
def test_strides_and_untouched_surroundings(rows: int) -> None:
    wide_a, wide_b = operand(3 * rows, 50, 8), operand(90, 75, 9)
    a, b = wide_a[::3, 4:44], wide_b[10:90:2, 3:70]
    around = np.full((2 * rows, 80), 7, np.float32)
    bind_matmul(a, b, around[1::2, 5:72])()
    expected = np.full_like(around, 7)
    expected[1::2, 5:72] = naive_product(a, b)
    assert_same_bytes(around, expected)
    bind_matmul(a[::-1], b, around[1::2, 5:72])()
    assert_same_bytes(around[1::2, 5:72].copy(), naive_product(a, b)[::-1].copy())


@needs_tiles
@pytest.mark.parametrize("rows", [2, 8, 60])
def test_swapped_products_leave_the_surroundings_untouched(rows: int) -> None:
    wide_a, wide_b = operand(3 * rows, 1200, 22), operand(2 * 67, 1200, 23)
    a, b = wide_a[::3, 7:1107], wide_b[::2, 40:1140].T
    around = np.full((2 * rows, 80), 7, np.float32)
    bind_matmul(a, b, around[1::2, 5:72])()
    expected = np.full_like(around, 7)
    expected[1::2, 5:72] = naive_product(a, b)
    assert_same_bytes(around, expected)


def test_stacks_and_broadcast_stacks() -> None:
    a, b = operand(3 * 5, 7, 10).reshape(3, 1, 5, 7), operand(4 * 7, 9, 11).reshape(4, 7, 9)
    out = np.empty((3, 4, 5, 9), np.float32)
    matmul(a, b, out)
    for i, j in np.ndindex(3, 4):
        alone = np.empty((5, 9), np.float32)
        matmul(a[i, 0], b[j], alone)
        np.testing.assert_array_equal(out[i, j], alone)
    turned = np.empty((3, 4, 9, 5), np.float32)
    bind_matmul(b, a, turned, transpose_a=True, transpose_b=True)()
    np.testing.assert_array_equal(turned, out.swapaxes(-1, -2))


def test_nan_and_infinity_stay_where_they_belong() -> None:
    a, b = operand(19, 40, 12), operand(40, 50, 13)
    a[3, 7], a[11, 39], b[5, 33] = np.nan, np.inf, -np.inf
    b[39, :] = np.where(np.arange(50) == 2, 0, np.abs(b[39]) + 1)
    clean = product(np.nan_to_num(a, posinf=0), np.nan_to_num(b, neginf=0))
    found = product(a, b)
    assert np.isnan(found[3]).all() and not np.isfinite(found[:, 33]).any()
    assert np.isnan(found[11, 2]) and np.isposinf(np.delete(found[11], [2, 33])).all()
    rows, columns = np.delete(np.arange(19), [3, 11]), np.delete(np.arange(50), 33)
    np.testing.assert_array_equal(found[np.ix_(rows, columns)], clean[np.ix_(rows, columns)])


@pytest.mark.parametrize(("rows", "inner", "columns"), [(0, 3, 4), (3, 0, 4), (3, 4, 0), (0, 0, 0)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_empty_products(rows: int, inner: int, columns: int, dtype: Any) -> None:
    out = np.full((rows, columns), 7, dtype)
    matmul(np.zeros((rows, inner), dtype), np.zeros((inner, columns), dtype), out)
    assert (out == 0).all()


def test_float64_and_the_reference_are_blas() -> None:
    a, b = operand(30, 40, 14), operand(40, 50, 15)
    double, single = np.empty((30, 50)), np.empty((30, 50), np.float32)
    matmul(a.astype(np.float64), b.astype(np.float64), double)
    np.testing.assert_array_equal(double, a.astype(np.float64) @ b)
    with product_settings(kind="blas"):
        assert products_kind() == "blas"
        matmul(a, b, single)
    np.testing.assert_array_equal(single, np.dot(a, b))
    np.testing.assert_allclose(product(a, b), double, rtol=1e-4, atol=1e-5)


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISTNN_PRODUCTS", raising=False)
    assert products_kind() == ("tiles" if HAS_TILES else "blas")
    monkeypatch.setenv("DISTNN_PRODUCTS", "blas")
    assert products_kind() == "blas"
    monkeypatch.setenv("DISTNN_PRODUCTS", "cublas")
    with pytest.raises(ValueError, match="'cublas'; it can be 'tiles' or 'blas'"):
        products_kind()


@needs_tiles
def test_one_compiled_kernel_serves_all() -> None:
    product(operand(8, 8, 16), operand(8, 8, 17))
    assert len(blocking.run_product.signatures) == 1  # type: ignore[attr-defined]


@needs_tiles
def test_a_bound_product_keeps_its_operands() -> None:
    out = np.empty((4, 5), np.float32)
    call = bind_matmul(np.ones((4, 3), np.float32), np.ones((3, 5), np.float32), out)
    np.full((4, 3), np.nan, np.float32)  # would reuse memory that was given back
    call()
    assert (out == 3).all()


def test_a_cpu_without_fma_falls_back() -> None:
    code = "from distnn.kernels import products; print(products.products_kind())"
    environment = {"NUMBA_CPU_NAME": "generic", "PATH": "", "DISTNN_CACHE_DIR": ""}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "blas"


def test_a_team_reports_what_its_threads_raise() -> None:
    def work(part: int) -> None:
        if part == 2:
            raise ValueError("part 2")

    run_together(work, [0, 1])
    with pytest.raises(ValueError, match="part 2"):
        run_together(work, [0, 1, 2])
    run_together(work, [0, 1, 3])
