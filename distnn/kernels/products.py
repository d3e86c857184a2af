"""The one place for matrix products: ops bind them here; nothing else in a step calls np.dot or `@`.

Products of float32 are register tiles of our own: each element is one chain of fused multiply-adds over
rising k, begun at +0, whatever the rows passed, the blocks, the threads and the CPU. NumPy's BLAS stands
behind the same door for float64 (gradient checks), for CPUs without AVX2 and FMA, and as the reference: the
environment variable DISTNN_PRODUCTS=blas chooses it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np

from distnn.kernels import blocking
from distnn.kernels.instructions import HAS_TILES, LANES
from distnn.kernels.jit import Array
from distnn.kernels.team import run_together
from distnn.kernels.tiles import PANEL, TILE_ROWS

Call = Callable[[], object]

_FLOAT_BYTES = 4
_BLOCK_INNER, _LONG_BLOCK_INNER, _MAX_GRADIENT_INNER, _MAX_SHORT_ROWS = 512, 1024, 256, 128
"""Lengths of blocks: the shorter for up to so many rows, whose A then stays in the L2 cache beside a panel of
B; for more, the fewer the blocks the better."""
_MAX_SWAPPED_ROWS = 128
"""Up to so many rows C is computed transposed where B's columns lie far apart: packing B would cost more."""
_MIN_KEPT_ROWS, _LINE_BYTES, _SET_BYTES = 64, 64, 4096
"""From so many rows the first tile keeps a packed copy of B for the others where B's vectors cross lines of
the cache, or B's rows are a multiple of so many bytes apart and so meet in few of its sets."""
_MIN_PART_FLOPS = 4_000_000
"""A thread is not woken for less: some 40 microseconds of work."""


@dataclass
class _Settings:
    kind: str = ""
    threads: int = 1


_settings = _Settings()


def products_kind() -> str:
    """What computes float32 products: "tiles" or "blas"."""
    return _settings.kind or _kind_of_environment()


def products_threads() -> int:
    """Threads among which a product, or a convolution, may be divided."""
    return _settings.threads


def _kind_of_environment() -> str:
    asked = os.environ.get("DISTNN_PRODUCTS", "tiles" if HAS_TILES else "blas")
    if asked not in ("tiles", "blas"):
        raise ValueError(f"DISTNN_PRODUCTS is {asked!r}; it can be 'tiles' or 'blas'")
    if asked == "tiles" and not HAS_TILES:
        raise ValueError(
            "DISTNN_PRODUCTS=tiles needs a CPU with AVX2 and FMA, and Numba's compiler switched on"
        )
    return asked


@contextmanager
def product_settings(kind: str = "", threads: int = 0) -> Iterator[None]:
    """Inside, products are bound to this kind and number of threads (empty, 0: as they were)."""
    before = _settings.kind, _settings.threads
    _settings.kind, _settings.threads = kind or before[0], threads or before[1]
    try:
        yield
    finally:
        _settings.kind, _settings.threads = before


def matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for 2-D arrays, or stacks of them with equal (or broadcastable) leading axes."""
    bind_matmul(a, b, out)()


def bind_matmul(
    a: Array, b: Array, out: Array, *, transpose_a: bool = False, transpose_b: bool = False
) -> Call:
    """The cheapest call without arguments that writes the product of `a` and `b` into `out`.

    Args:
        a: 2-D or a stack of matrices, of any strides; transposed over its last two axes if asked.
        b: likewise, contiguous along one of its last two axes.
        out: of the product's shape, contiguous along its last axis, overlapping neither.
        transpose_a: use a's transpose (no copy is made).
        transpose_b: use b's transpose.
    """
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    if out.size == 0 or left.shape[-1] == 0:
        return partial(out.fill, 0)
    if products_kind() == "tiles" and _fits_tiles(left, right, out):
        return _bind_tiles(left, right, out)
    if left.ndim == 2 and right.ndim == 2:
        # One BLAS call; np.dot costs half of np.matmul around it.
        return partial(np.dot, left, right, out)
    return partial(np.matmul, left, right, out)


def _fits_tiles(left: Array, right: Array, out: Array) -> bool:
    is_single = left.dtype == right.dtype == out.dtype == np.float32
    has_runs = all(_is_run(array, -1) or _is_run(array, -2) for array in (left, right))
    return is_single and has_runs and _is_run(out, -1)


def _is_run(array: Array, axis: int) -> bool:
    """Whether the elements along an axis lie side by side."""
    return array.shape[axis] == 1 or array.strides[axis] == _FLOAT_BYTES


def _bind_tiles(left: Array, right: Array, out: Array) -> Call:
    plans = [make_plan(*part) for part in _parts(left, right, out, _settings.threads)]
    call = partial(blocking.run_product, plans[0])
    if len(plans) > 1:
        call = partial(run_together, blocking.run_product, plans)
    vars(call)["operands"] = (left, right, out)  # a plan holds addresses: the arrays must live as long
    return call


def make_plan(left: Array, right: Array, out: Array) -> Array:
    """The integers that `run_product` reads: where the operands lie, and the blocks they are cut into.

    Where C is narrower than a vector, or the columns of B lie far apart and are used few times, the transpose
    of C is computed, and turned block by block.
    """
    c_row = out.strides[-2]
    is_swapped = _is_swapped(left, right, out)
    if is_swapped:
        left, right, out = (np.swapaxes(array, -1, -2) for array in (right, left, out))
    rows, inner, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    offsets = _stack_offsets(left, right, out)
    plan = np.zeros(blocking.HEADER + offsets.size, np.int64)
    plan[: blocking.ROWS + 3] = rows, columns, inner
    plan[blocking.A : blocking.A_K + 1] = left.ctypes.data, left.strides[-2], left.strides[-1]
    plan[blocking.B], plan[blocking.C], plan[blocking.C_ROW] = right.ctypes.data, out.ctypes.data, c_row
    is_row_major = _is_run(right, -1)
    plan[blocking.B_K] = right.strides[-2] if is_row_major else _FLOAT_BYTES
    plan[blocking.B_COLUMN] = _FLOAT_BYTES if is_row_major else right.strides[-1]
    if is_swapped:
        blocks = _swapped_blocks(rows, inner, columns, is_row_major)
    elif is_row_major and left.strides[-2] == _FLOAT_BYTES and min(rows, columns) > PANEL:
        blocks = _gradient_blocks(inner)
    else:
        blocks = _usual_blocks(rows, inner, columns, right)
    plan[blocking.BLOCK_ROWS : blocking.STACK] = blocks
    plan[blocking.STACK] = len(offsets)
    plan[blocking.HEADER :] = offsets.reshape(-1)
    return plan


def _is_swapped(left: Array, right: Array, out: Array) -> bool:
    rows, columns = out.shape[-2:]
    if columns < LANES and rows > columns:
        return True
    return not _is_run(right, -1) and rows <= min(_MAX_SWAPPED_ROWS, left.shape[-1])


_Blocks = tuple[int, int, int, int, int, int, int]
"""The words of a plan from BLOCK_ROWS on."""


def _even(length: int, most: int) -> int:
    """The least size that cuts `length` into as few parts as parts of `most` would."""
    return -(-length // max(1, -(-length // most)))


def _whole(length: int, unit: int) -> int:
    return -(-length // unit) * unit


def _gradient_blocks(inner: int) -> _Blocks:
    """C is large and written once, so a few of its rows at a time."""
    block_inner = _even(inner, _MAX_GRADIENT_INNER)
    block_columns = blocking.PANEL_FLOATS // (PANEL * _whole(block_inner, LANES)) * PANEL
    return blocking.GROUP_ROWS, block_columns, block_inner, 1, 1, 0, 0


def _swapped_blocks(rows: int, inner: int, columns: int, is_row_major: bool) -> _Blocks:
    """Rows of swapped C fit in scratch memory, far apart enough to fall into different sets of the cache."""
    block_rows = min(rows, blocking.GROUP_ROWS)
    row_floats = blocking.FRONT_FLOATS // _whole(block_rows, LANES)
    most_columns = row_floats - LANES if is_row_major else 8 * PANEL
    block_columns = min(columns, most_columns // PANEL * PANEL)
    swapped_row = _whole(block_columns, PANEL) + LANES
    most = blocking.PANEL_FLOATS // _whole(block_columns, PANEL) // LANES * LANES
    block_inner = _even(inner, min(most, _LONG_BLOCK_INNER))
    return block_rows, block_columns, block_inner, 0, int(not is_row_major), swapped_row, 0


def _usual_blocks(rows: int, inner: int, columns: int, right: Array) -> _Blocks:
    """B is read where it lies, or packed panel by panel if that transposes."""
    block_inner = _even(inner, _BLOCK_INNER if rows <= _MAX_SHORT_ROWS else _LONG_BLOCK_INNER)
    if not _is_run(right, -1):
        return rows, PANEL, block_inner, 0, 1, 0, 0
    is_crossing = (right.ctypes.data | right.strides[-2]) % _LINE_BYTES != 0
    is_kept = rows >= _MIN_KEPT_ROWS and (is_crossing or right.strides[-2] % _SET_BYTES == 0)
    return rows, columns, block_inner, 0, 0, 0, int(is_kept)


def _stack_offsets(left: Array, right: Array, out: Array) -> Array:
    """For each matrix of a stack, the bytes from the first matrix of A, B and C."""
    stack = out.shape[:-2]
    steps = np.array(list(np.ndindex(stack)), np.int64).reshape(math.prod(stack), len(stack))
    offsets = np.zeros((len(steps), 3), np.int64)
    for place, array in enumerate((left, right, out)):
        for axis in range(-3, -array.ndim - 1, -1):
            if array.shape[axis] > 1:
                offsets[:, place] += array.strides[axis] * steps[:, axis + 2]
    return offsets


def _parts(left: Array, right: Array, out: Array, threads: int) -> list[tuple[Array, Array, Array]]:
    """The product as parts for threads: slices of its rows or columns, whichever are more."""
    rows, columns = out.shape[-2:]
    count = min(threads, 2 * out.size * left.shape[-1] // _MIN_PART_FLOPS)
    if count < 2:
        return [(left, right, out)]
    length, grain = (rows, TILE_ROWS) if rows > columns else (columns, PANEL)
    bounds = [min(length, -(-length * i // (count * grain)) * grain) for i in range(count + 1)]
    slices = [slice(start, stop) for start, stop in zip(bounds, bounds[1:], strict=False) if start < stop]
    if rows > columns:
        return [(left[..., part, :], right, out[..., part, :]) for part in slices]
    return [(left, right[..., part], out[..., part]) for part in slices]
