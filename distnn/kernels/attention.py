"""Scaled dot-product attention, a sequence and a head at a time.

Letters: B sequences, T queries, S keys, N heads, C = N x the size of a head's queries and keys, D = N x
that of its values; heads lie side by side along C and D. `p_BNTS` are the weights: softmax over S of
scale * q . k, zero behind the query's own place where `is_causal`. `mask_BTS` is true where a key counts;
its B and T may be 1, and a size of 0 is no mask. A masked score is -1e9.
Here the plain loops, in any float dtype: what defines the results, and what runs in float64 and without
tiles. `attention_tiles` has the same on register tiles; `bind_attention` chooses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from distnn.kernels import attention_tiles as tiles
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.products import products_kind
from distnn.kernels.scalar_math import exp

Call = Callable[[], object]
_MASKED = -1e9


@helper
def _softmax_of(x: Array, count: int) -> None:
    """x[:count] to weights, the rest to 0."""
    zero = x.dtype.type(0)
    largest, total = x[0], zero
    for s in range(1, count):
        largest = x[s] if (x[s] > largest or x[s] != x[s]) else largest
    for s in range(count):
        x[s] = exp(x[s] - largest)
        total += x[s]
    for s in range(count):
        x[s] = x[s] / total
    for s in range(count, x.size):
        x[s] = zero


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
) -> None:
    """o = p @ v for each head, and the weights p."""
    zero, scale_ = q_BTC.dtype.type(0), q_BTC.dtype.type(scale)
    masked = q_BTC.dtype.type(_MASKED)
    sequences, heads, queries, keys = p_BNTS.shape
    size, value_size = q_BTC.shape[2] // heads, v_BSD.shape[2] // heads
    for b in range(sequences):
        for n in range(heads):
            for t in range(queries):
                count = min(t + 1, keys) if is_causal else keys
                row = p_BNTS[b, n, t]
                for s in range(count):
                    total = zero
                    for c in range(n * size, (n + 1) * size):
                        total += q_BTC[b, t, c] * k_BSC[b, s, c]
                    row[s] = total * scale_
                    if mask_BTS.size > 0:
                        mb, mt = b % mask_BTS.shape[0], t % mask_BTS.shape[1]
                        row[s] = row[s] if mask_BTS[mb, mt, s] else masked
                _softmax_of(row, count)
                for d in range(n * value_size, (n + 1) * value_size):
                    total = zero
                    for s in range(count):
                        total += row[s] * v_BSD[b, s, d]
                    o_BTD[b, t, d] = total


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
    ds_S: Array,
) -> None:
    """Gradients by queries, keys and values; `ds_S` is scratch."""
    zero, scale_ = q_BTC.dtype.type(0), q_BTC.dtype.type(scale)
    sequences, heads, queries, keys = p_BNTS.shape
    size, value_size = q_BTC.shape[2] // heads, v_BSD.shape[2] // heads
    dq_BTC[:] = zero
    dk_BSC[:] = zero
    dv_BSD[:] = zero
    for b in range(sequences):
        for n in range(heads):
            for t in range(queries):
                count = min(t + 1, keys) if is_causal else keys
                inner = zero
                for s in range(count):
                    dp = zero
                    for d in range(n * value_size, (n + 1) * value_size):
                        dp += do_BTD[b, t, d] * v_BSD[b, s, d]
                        dv_BSD[b, s, d] += p_BNTS[b, n, t, s] * do_BTD[b, t, d]
                    ds_S[s] = dp
                    inner += dp * p_BNTS[b, n, t, s]
                for s in range(count):
                    ds = scale_ * (p_BNTS[b, n, t, s] * (ds_S[s] - inner))
                    for c in range(n * size, (n + 1) * size):
                        dq_BTC[b, t, c] += ds * k_BSC[b, s, c]
                        dk_BSC[b, s, c] += ds * q_BTC[b, t, c]


def _uses_tiles(*arrays: Array) -> bool:
    return products_kind() == "tiles" and all(array.dtype == np.float32 for array in arrays)


_LINE_BYTES = 64


def _scratch(floats: int) -> Array:
    """Zeros that begin with a line of the cache, so that no vector of a row of panels crosses one."""
    memory = np.zeros(floats + _LINE_BYTES // 4, np.float32)
    first = -memory.ctypes.data % _LINE_BYTES // 4
    return memory[first : first + floats]


def bind_attention(
    q: Array, k: Array, v: Array, mask: Array, scale: float, is_causal: bool, o: Array, p: Array
) -> Call:
    """The call that computes `attention`."""
    if o.size == 0 or k.size == 0 or q.size == 0:
        return partial(attention, q, k, v, mask, scale, is_causal, o, p)
    if _uses_tiles(q, k, v):
        scratch = _scratch(tiles.forward_scratch(q, v, p))
        return partial(tiles.attention, q, k, v, mask, scale, is_causal, o, p, scratch)
    return partial(attention, q, k, v, mask, scale, is_causal, o, p)


def bind_attention_gradient(
    inputs: tuple[Array, ...], scale: float, is_causal: bool, outputs: tuple[Array, ...]
) -> Call:
    """The call that computes `attention_gradient` of (q, k, v, p, do) into (dq, dk, dv)."""
    q, k, v, p, do = inputs
    dq, dk, dv = outputs
    if _uses_tiles(q, k, v) and p.size and q.size and v.size:
        scratch = _scratch(tiles.backward_scratch(q, v, p))
        return partial(tiles.attention_gradient, q, k, v, p, do, scale, is_causal, dq, dk, dv, scratch)
    scratch = np.zeros(p.shape[-1], q.dtype)
    return partial(attention_gradient, q, k, v, p, do, scale, is_causal, dq, dk, dv, scratch)
