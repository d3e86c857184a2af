"""Attention on register tiles: all of a head's work while its queries, keys and weights are in the cache.

A few query rows at a time are multiplied with the keys, which lie transposed in scratch memory, made weights
while they are in registers' reach, and multiplied with the values. The gradient takes queries in blocks whose
score gradients fit a cache. With `is_causal` the loops end where the last row of a tile does. Each element of
a product is one chain over rising k, as everywhere, so nothing depends on the blocks or the CPU.
The letters are those of `attention`, which alone calls this.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.instructions import LANES
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.panels import copy_lanes, transpose_in
from distnn.kernels.rows import run_max, run_sum
from distnn.kernels.scalar_math import exp
from distnn.kernels.tiles import PANEL, TILE_ROWS, multiply_tile
from distnn.kernels.vectors import load, tree_sum

_MASKED = np.float32(-1e9)
_RUN = 16
"""Values of a row taken at once."""
_BLOCK_FLOATS = 64 * 1024
"""Score gradients kept at once."""


def _padded(size: int, grain: int) -> int:
    return -(-size // grain) * grain


def forward_scratch(q: Array, v: Array, p: Array) -> int:
    """Floats of scratch memory: transposed keys, and values."""
    heads, keys = p.shape[1], p.shape[3]
    size, value_size = q.shape[2] // heads, v.shape[2] // heads
    return int(_padded(size, LANES) * _padded(keys, PANEL) + keys * _padded(value_size, PANEL))


def backward_scratch(q: Array, v: Array, p: Array) -> int:
    """Floats of scratch memory: transposed values, keys, queries, gradients of outputs and of scores."""
    _, heads, queries, keys = p.shape
    size, value_size = q.shape[2] // heads, v.shape[2] // heads
    wide_keys, wide, wide_value = _padded(keys, PANEL), _padded(size, PANEL), _padded(value_size, PANEL)
    rows = min(queries, max(_BLOCK_FLOATS // wide_keys // 8 * 8, 8))
    held = _padded(value_size, LANES) * wide_keys + keys * wide + queries * (wide + wide_value)
    return int(held + rows * wide_keys)


@helper
def _address(array: Array) -> Any:
    return np.int64(array.ctypes.data)


@kernel
def _multiply(
    a: int,
    a_row: int,
    a_k: int,
    b: int,
    b_k: int,
    c: int,
    c_row: int,
    rows: int,
    columns: int,
    count: int,
    is_begun: int,
) -> None:
    """C (+)= A @ B by addresses and strides in bytes; rows of B are padded to whole panels."""
    for first in range(0, rows, TILE_ROWS):
        for n in range(0, columns, PANEL):
            corner = c + first * c_row + 4 * n
            multiply_tile(
                a + first * a_row,
                a_row,
                a_k,
                b + 4 * n,
                b_k,
                corner,
                c_row,
                corner,
                min(PANEL, columns - n),
                count,
                is_begun,
                b,
                0,
                0,
                0,
                min(TILE_ROWS, rows - first),
                0,
            )


@kernel
def _copy_rows(source: int, source_row: int, rows: int, columns: int, target: int) -> None:
    """Rows side by side at `target`, each padded with zeros to whole panels."""
    for row in range(rows):
        for first in range(0, columns, PANEL):
            for n in range(first, first + PANEL, LANES):
                copy_lanes(source + row * source_row + 4 * n, columns - n, target)
                target += 4 * LANES


@kernel
def _transpose(source: int, source_row: int, rows: int, columns: int, target: int, target_row: int) -> None:
    for row in range(0, rows, LANES):
        for column in range(0, columns, LANES):
            corner = source + row * source_row + 4 * column
            place = target + column * target_row + 4 * row
            transpose_in(corner, source_row, rows - row, columns - column, place, target_row)


@helper
def _end(row: int, keys: int, is_causal: bool) -> int:
    """How many keys a tile whose last row is `row` looks at: whole runs, as far as there are."""
    return min(keys, (row + _RUN) // _RUN * _RUN) if is_causal else keys


@helper
def _weigh(row: Array, count: int, wide: int, scale: Any) -> None:
    """Scores row[:count] to weights; zeros follow. The exponentials run to `wide`, in whole runs."""
    largest = run_max(row, 0, count)
    for i in range(wide):
        row[i] = exp(scale * (row[i] - largest))
    inverse = np.float32(1.0) / run_sum(row, 0, count)
    for i in range(count):
        row[i] = row[i] * inverse
    for i in range(count, row.size):
        row[i] = np.float32(0.0)


@helper
def _mask_row(row: Array, count: int, mask_S: Array, masked: Any) -> None:
    for s in range(count):
        row[s] = row[s] if mask_S[s] else masked


@kernel
def attention(
    q_BTC: Array,
    k_BSC: Array,
    v_BSD: Array,
    mask_BTS: Array,
    scale: float,
    is_causal: bool,
    o_BTD: Array,
    p_BNTS: Array,
    scratch: Array,
) -> None:
    """o = p @ v for each head, and the weights p."""
    sequences, heads, queries, keys = p_BNTS.shape
    row_c, row_d = 4 * q_BTC.shape[2], 4 * v_BSD.shape[2]
    size, value_size = q_BTC.shape[2] // heads, v_BSD.shape[2] // heads
    wide_keys = -(-keys // PANEL) * PANEL
    kt = _address(scratch)
    values = kt + 4 * wide_keys * (-(-size // LANES) * LANES)
    wide_value = -(-value_size // PANEL) * PANEL
    q, k, v, o = _address(q_BTC), _address(k_BSC), _address(v_BSD), _address(o_BTD)
    flat, p = p_BNTS.reshape(-1), _address(p_BNTS)
    scale_ = np.float32(scale)
    masked = _MASKED / scale_
    for head in range(sequences * heads):
        b, n = head // heads, head % heads
        _transpose(k + b * keys * row_c + 4 * n * size, row_c, keys, size, kt, 4 * wide_keys)
        _copy_rows(v + b * keys * row_d + 4 * n * value_size, row_d, keys, value_size, values)
        for first in range(0, queries, TILE_ROWS):
            rows = min(TILE_ROWS, queries - first)
            end = _end(first + rows - 1, keys, is_causal)
            corner = q + (b * queries + first) * row_c + 4 * n * size
            at = (head * queries + first) * keys
            _multiply(corner, row_c, 4, kt, 4 * wide_keys, p + 4 * at, 4 * keys, rows, end, size, 0)
            for row in range(rows):
                count = min(first + row + 1, keys) if is_causal else keys
                weights = flat[at + row * keys : at + (row + 1) * keys]
                if mask_BTS.size > 0:
                    mask_S = mask_BTS[b % mask_BTS.shape[0], (first + row) % mask_BTS.shape[1]]
                    _mask_row(weights, count, mask_S, masked)
                _weigh(weights, count, min(end, (count + _RUN - 1) // _RUN * _RUN), scale_)
            place = o + (b * queries + first) * row_d + 4 * n * value_size
            _multiply(p + 4 * at, 4 * keys, 4, values, 4 * wide_value, place, row_d, rows, value_size, end, 0)


@helper
def _dot(x: Array, y: Array, count: int) -> Any:
    """Sum of products of the first `count` values, sixteen lanes at once."""
    blocks = count // _RUN
    total = np.float32(0.0)
    if blocks > 0:
        lanes = load(x, 0) * load(y, 0)
        for block in range(1, blocks):
            lanes = lanes + load(x, _RUN * block) * load(y, _RUN * block)
        total = tree_sum(lanes)
    for i in range(_RUN * blocks, count):
        total += x[i] * y[i]
    return total


@helper
def _score_gradient(p_S: Array, ds_S: Array, count: int, last: int, scale: Any) -> None:
    """ds = scale * p * (dp - sum of dp * p), in the place of dp; zeros from `count` to `last`."""
    inner = _dot(p_S, ds_S, count)
    for i in range(count):
        ds_S[i] = scale * (p_S[i] * (ds_S[i] - inner))
    for i in range(count, last):
        ds_S[i] = np.float32(0.0)


@kernel
def attention_gradient(
    q_BTC: Array,
    k_BSC: Array,
    v_BSD: Array,
    p_BNTS: Array,
    do_BTD: Array,
    scale: float,
    is_causal: bool,
    dq_BTC: Array,
    dk_BSC: Array,
    dv_BSD: Array,
    scratch: Array,
) -> None:
    """Gradients by queries, keys and values."""
    sequences, heads, queries, keys = p_BNTS.shape
    row_c, row_d = 4 * q_BTC.shape[2], 4 * v_BSD.shape[2]
    size, value_size = q_BTC.shape[2] // heads, v_BSD.shape[2] // heads
    wide_keys = -(-keys // PANEL) * PANEL
    wide, wide_value = -(-size // PANEL) * PANEL, -(-value_size // PANEL) * PANEL
    vt = _address(scratch)
    key_rows = vt + 4 * wide_keys * (-(-value_size // LANES) * LANES)
    query_rows = key_rows + 4 * keys * wide
    do_rows = query_rows + 4 * queries * wide
    scores = do_rows + 4 * queries * wide_value
    scores_at = (scores - vt) // 4
    block = (scratch.size - scores_at) // wide_keys
    q, k, v, p, do = (
        _address(q_BTC),
        _address(k_BSC),
        _address(v_BSD),
        _address(p_BNTS),
        _address(do_BTD),
    )
    dq, dk, dv, flat = _address(dq_BTC), _address(dk_BSC), _address(dv_BSD), p_BNTS.reshape(-1)
    scale_ = np.float32(scale)
    dk_BSC[:] = np.float32(0.0)
    dv_BSD[:] = np.float32(0.0)
    for head in range(sequences * heads):
        b, n = head // heads, head % heads
        at_c, at_d = 4 * n * size, 4 * n * value_size
        _transpose(v + b * keys * row_d + at_d, row_d, keys, value_size, vt, 4 * wide_keys)
        _copy_rows(k + b * keys * row_c + at_c, row_c, keys, size, key_rows)
        _copy_rows(q + b * queries * row_c + at_c, row_c, queries, size, query_rows)
        _copy_rows(do + b * queries * row_d + at_d, row_d, queries, value_size, do_rows)
        for begin in range(0, queries, block):
            stop = min(begin + block, queries)
            last = _end(stop - 1, keys, is_causal)
            for first in range(begin, stop, TILE_ROWS):
                rows = min(TILE_ROWS, stop - first)
                end = _end(first + rows - 1, keys, is_causal)
                at, place = (head * queries + first) * keys, scores_at + (first - begin) * wide_keys
                ds = vt + 4 * place
                _multiply(
                    do_rows + 4 * first * wide_value,
                    4 * wide_value,
                    4,
                    vt,
                    4 * wide_keys,
                    ds,
                    4 * wide_keys,
                    rows,
                    end,
                    value_size,
                    0,
                )
                for row in range(rows):
                    from_p, from_ds = at + row * keys, place + row * wide_keys
                    weights, grown = flat[from_p : from_p + keys], scratch[from_ds : from_ds + keys]
                    _score_gradient(weights, grown, end, last, scale_)
                target = dq + (b * queries + first) * row_c + at_c
                _multiply(ds, 4 * wide_keys, 4, key_rows, 4 * wide, target, row_c, rows, size, end, 0)
            for first in range(0, last, TILE_ROWS):
                rows = min(TILE_ROWS, last - first)
                start = max(begin, first) if is_causal else begin
                count = stop - start
                if count > 0:
                    ds = scores + 4 * ((start - begin) * wide_keys + first)
                    _multiply(
                        ds,
                        4,
                        4 * wide_keys,
                        query_rows + 4 * start * wide,
                        4 * wide,
                        dk + (b * keys + first) * row_c + at_c,
                        row_c,
                        rows,
                        size,
                        count,
                        1,
                    )
                    _multiply(
                        p + 4 * ((head * queries + start) * keys + first),
                        4,
                        4 * keys,
                        do_rows + 4 * start * wide_value,
                        4 * wide_value,
                        dv + (b * keys + first) * row_d + at_d,
                        row_d,
                        rows,
                        value_size,
                        count,
                        1,
                    )
