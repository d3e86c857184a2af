"""Attention by tiles against the plain loops in float64 and a twin of a few lines; bits of its slices."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels import attention as kernels
from distnn.kernels import attention_tiles
from distnn.kernels.instructions import HAS_TILES
from distnn.kernels.products import product_settings
from distnn.kernels.tiles import PANEL

Array = np.ndarray[Any, np.dtype[Any]]
NO_MASK = np.zeros((0, 0, 0), np.bool_)

SHAPES = [
    # sequences, heads, queries, keys, size, value size
    (2, 2, 3, 5, 4, 3),
    (1, 1, 1, 1, 1, 1),
    (2, 3, 16, 16, 8, 8),
    (1, 2, 37, 21, 5, 40),
    (2, 1, 21, 37, 33, 7),
]
LARGE = [(2, 4, 64, 64, 32, 32), (1, 1, 300, 290, 8, 8), (1, 1, 9, 1100, 16, 16)]
"""The second and the third take their queries in several blocks."""


def drawn(shape: tuple[int, ...], rng: np.random.Generator, masked: bool) -> tuple[list[Array], Array]:
    """Queries, keys, values and the gradient of the output; and a mask by which each query sees a key."""
    b, n, t, s, size, value_size = shape
    arrays = [
        rng.normal(size=(b, t, n * size)),
        rng.normal(size=(b, s, n * size)),
        rng.normal(size=(b, s, n * value_size)),
        rng.normal(size=(b, t, n * value_size)),
    ]
    if not masked:
        return arrays, NO_MASK
    mask = rng.random((b, t, s)) < 0.6
    mask[..., 0] = True
    return arrays, mask


def twin(
    arrays: list[Array], mask: Array, heads: int, scale: float, causal: bool
) -> tuple[Array, Array, tuple[Array, ...]]:
    """Output, weights and gradients, with NumPy's einsum."""
    q, k, v, do = (a.reshape(*a.shape[:2], heads, -1) for a in arrays)
    scores = scale * np.einsum("btnc,bsnc->bnts", q, k)
    seen = np.ones(scores.shape, bool) if mask.size == 0 else np.broadcast_to(mask[:, None], scores.shape)
    if causal:
        seen = seen & np.tri(*scores.shape[2:], dtype=bool)
    scores = np.where(seen, scores, -np.inf)
    p = np.exp(scores - scores.max(axis=-1, keepdims=True))
    p = p / p.sum(axis=-1, keepdims=True)
    dp = np.einsum("btnd,bsnd->bnts", do, v)
    ds = scale * p * (dp - (dp * p).sum(axis=-1, keepdims=True))
    parts = (
        np.einsum("bnts,bsnd->btnd", p, v),
        np.einsum("bnts,bsnc->btnc", ds, k),
        np.einsum("bnts,btnc->bsnc", ds, q),
        np.einsum("bnts,btnd->bsnd", p, do),
    )
    o, dq, dk, dv = (part.reshape(*part.shape[:2], -1) for part in parts)
    return o, p, (dq, dk, dv)


def computed(
    arrays: list[Array], mask: Array, heads: int, scale: float, causal: bool
) -> tuple[Array, Array, tuple[Array, ...]]:
    q, k, v, do = arrays
    o = np.full_like(do, np.nan)
    p = np.full((len(q), heads, q.shape[1], k.shape[1]), np.nan, q.dtype)
    kernels.bind_attention(q, k, v, mask, scale, causal, o, p)()
    found = tuple(np.full_like(a, np.nan) for a in (q, k, v))
    kernels.bind_attention_gradient((q, k, v, p, do), scale, causal, found)()
    return o, p, found


def check(shape: tuple[int, ...], rng: np.random.Generator, dtype: Any, tolerance: float, **how: Any) -> None:
    arrays, mask = drawn(shape, rng, how["masked"])
    cast = [np.ascontiguousarray(a, dtype) for a in arrays]
    found = computed(cast, mask, shape[1], 0.4, how["causal"])
    wanted = twin(arrays, mask, shape[1], 0.4, how["causal"])
    for got, right in zip((*found[:2], *found[2]), (*wanted[:2], *wanted[2]), strict=True):
        scale = np.sqrt((right**2).mean()) + 1e-6
        np.testing.assert_allclose(got, right, rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_plain_loops_are_the_definition(
    shape: tuple[int, ...], causal: bool, masked: bool, rng: np.random.Generator
) -> None:
    check(shape, rng, np.float64, 1e-12, causal=causal, masked=masked)
    with product_settings("blas"):
        check(shape, rng, np.float32, 2e-5, causal=causal, masked=masked)


@pytest.mark.skipif(not HAS_TILES, reason="about compiled tiles")
@pytest.mark.parametrize("shape", [*SHAPES, *LARGE])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("masked", [False, True])
def test_attention_tiles_agree_with_float64(
    shape: tuple[int, ...], causal: bool, masked: bool, rng: np.random.Generator
) -> None:
    with product_settings("tiles"):
        check(shape, rng, np.float32, 2e-5, causal=causal, masked=masked)


@pytest.mark.parametrize("causal", [False, True])
def test_attention_of_some_sequences_is_that_of_all(causal: bool, rng: np.random.Generator) -> None:
    arrays, mask = drawn((4, 2, 19, 23, 6, 5), rng, True)
    cast = [a.astype(np.float32) for a in arrays]
    whole = computed(cast, mask, 2, 0.4, causal)
    part = computed([a[1:3].copy() for a in cast], mask[1:3].copy(), 2, 0.4, causal)
    for all_of_them, some in zip((*whole[:2], *whole[2]), (*part[:2], *part[2]), strict=True):
        assert all_of_them[1:3].tobytes() == some.tobytes()


def test_causal_attention_reads_nothing_ahead(rng: np.random.Generator) -> None:
    """Later keys and queries may change, even to infinity: what comes before keeps its bytes."""
    arrays, _ = drawn((1, 2, 40, 40, 6, 5), rng, False)
    cast = [a.astype(np.float32) for a in arrays]
    before = computed(cast, NO_MASK, 2, 0.4, True)
    for a in cast[:3]:
        a[:, 32:] *= 3
    after = computed(cast, NO_MASK, 2, 0.4, True)
    assert before[0][:, :32].tobytes() == after[0][:, :32].tobytes()
    assert before[0][:, 32:].tobytes() != after[0][:, 32:].tobytes()
    assert not before[1][:, :, ~np.tri(40, dtype=bool)].any()


def test_attention_of_nothing() -> None:
    empty = np.zeros((0, 3, 4), np.float32)
    o, p, found = computed([empty] * 4, NO_MASK, 2, 1.0, False)
    assert o.size == p.size == found[0].size == 0


@pytest.mark.skipif(not HAS_TILES, reason="needs a CPU with AVX2 and FMA")
@pytest.mark.parametrize("columns", [1, 16, 33])
def test_rows_are_copied_to_whole_panels(columns: int, rng: np.random.Generator) -> None:
    x = rng.normal(size=(3, columns + 2)).astype(np.float32)
    wide = -(-columns // PANEL) * PANEL
    out = np.full((4, wide), 7, np.float32)
    attention_tiles._copy_rows(x.ctypes.data, x.strides[0], 3, columns, out.ctypes.data)
    np.testing.assert_array_equal(out[:3, :columns], x[:, :columns])
    assert not out[:3, columns:].any() and (out[3] == 7).all()
