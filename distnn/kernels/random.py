"""Counter-based random numbers: dropout, and the order of samples.

Philox4x32-10 (Salmon, Moraes, Dror, Shaw: Parallel random numbers, as easy as 1, 2, 3; 2011) turns a key and
a counter into four 32-bit words. The counter holds the place of a value, so nothing is drawn in turn and the
result depends on no vector width, slice or thread. 32-bit words lie in uint64 variables.
Called by the noise ops (`dropout`) and by `distnn.batching` (`feistel_order`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.control import SEED_WORD, SHARD_WORD, STEP_WORD
from distnn.kernels.jit import Array, helper, inlined, kernel

u64 = np.uint64
_LOW, _32 = u64(0xFFFFFFFF), u64(32)
_M0, _M1 = u64(0xD2511F53), u64(0xCD9E8D57)
_W0, _W1 = u64(0x9E3779B9), u64(0xBB67AE85)


@helper
def _round(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """The counter after a round, and the key of the next."""
    first, second = c0 * _M0, c2 * _M1
    c0, c2 = (second >> _32) ^ c1 ^ k0, (first >> _32) ^ c3 ^ k1
    return c0, second & _LOW, c2, first & _LOW, (k0 + _W0) & _LOW, (k1 + _W1) & _LOW


@helper
def philox(c0: Any, c1: Any, c2: Any, c3: Any, k0: Any, k1: Any) -> Any:
    """Four words for the counter (c0, c1, c2, c3) under the key (k0, k1); all uint64 below 2^32."""
    # Ten rounds written out: a loop here keeps LLVM from vectorising the loop around it.
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, k0, k1 = _round(c0, c1, c2, c3, k0, k1)
    c0, c1, c2, c3, _, _ = _round(c0, c1, c2, c3, k0, k1)
    return c0, c1, c2, c3


@helper
def stream_words(key: Any, stream: Any) -> Any:
    """The key of one stream (of one op) under a step's key."""
    key_bits, stream_bits = u64(key), u64(stream)
    c0, c1, _, _ = philox(
        stream_bits & _LOW, stream_bits >> _32, u64(0), u64(0), key_bits & _LOW, key_bits >> _32
    )
    return c0, c1


@kernel
def dropout(
    x: Array, control: Array, stream: int, threshold: int, scale: float, y: Array, mask: Array
) -> None:
    """y = x * scale where kept, else 0; mask (uint8) is 1 where kept.

    The word for element i of a group of 64 is word (i % 64) // 16 of block i // 64 * 16 + i % 16, so that
    neighbours come from neighbouring counters. A value is kept where its word is at least `threshold`.

    Args:
        x: 1-D.
        control: the step's words; key, step and shard enter.
        stream: differs for each op of a model.
        threshold: rate * 2^32, rounded.
        scale: 1 / (1 - rate).
        y: the result.
        mask: for the gradient.
    """
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    limit, zero, scale_ = u64(threshold), x.dtype.type(0), x.dtype.type(scale)
    groups = x.size // 64
    whole = mask[: groups * 64].reshape(groups, 4, 16)
    for group in range(groups):
        for lane in range(16):
            w0, w1, w2, w3 = philox(u64(group * 16 + lane), shard, step, u64(0), k0, k1)
            whole[group, 0, lane] = w0 >= limit
            whole[group, 1, lane] = w1 >= limit
            whole[group, 2, lane] = w2 >= limit
            whole[group, 3, lane] = w3 >= limit
    for i in range(groups * 64, x.size):
        words = philox(u64(groups * 16 + i % 16), shard, step, u64(0), k0, k1)
        mask[i] = words[(i % 64) // 16] >= limit
    for i in range(x.size):
        y[i] = x[i] * scale_ if mask[i] != 0 else zero


@kernel
def dropout_gradient(dy: Array, mask: Array, scale: float, dx: Array) -> None:
    """dy * scale where kept, else 0."""
    zero, scale_ = dy.dtype.type(0), dy.dtype.type(scale)
    for i in range(dy.size):
        dx[i] = dy[i] * scale_ if mask[i] != 0 else zero


# The order of samples: a keyed permutation of 0..n-1, one index at a time

_ROUND_0, _ROUND_1 = u64(0x9E3779B1), u64(0x85EBCA77)
_FEWEST_BITS = 8


@helper
def _mix(value: Any, round_key: Any) -> Any:
    """32 well-mixed bits of a 32-bit value under a 32-bit round key."""
    t = (value ^ round_key) * _ROUND_0
    t = ((t >> _32) ^ t) & _LOW
    t = t * _ROUND_1
    t = ((t >> _32) ^ t) & _LOW
    return (t ^ (t >> u64(15))) & _LOW


@inlined
def take_order(key: int, n: int, start: int, stop: int, out: Array) -> None:
    """`feistel_order`, for other kernels."""
    bits = _FEWEST_BITS
    while (1 << bits) < n:
        bits += 1
    left_bits, right_bits = u64(bits // 2), u64(bits - bits // 2)
    left_mask, right_mask = (u64(1) << left_bits) - u64(1), (u64(1) << right_bits) - u64(1)
    k0, k1 = u64(key) & _LOW, u64(key) >> _32
    a0, a1, a2, a3 = philox(u64(0), u64(0), u64(0), u64(1), k0, k1)
    b0, b1, b2, b3 = philox(u64(1), u64(0), u64(0), u64(1), k0, k1)
    limit = u64(n)
    for i in range(stop - start):
        value = u64(start + i)
        while True:
            left, right = value >> right_bits, value & right_mask
            left ^= _mix(right, a0) & left_mask
            right ^= _mix(left, a1) & right_mask
            left ^= _mix(right, a2) & left_mask
            right ^= _mix(left, a3) & right_mask
            left ^= _mix(right, b0) & left_mask
            right ^= _mix(left, b1) & right_mask
            left ^= _mix(right, b2) & left_mask
            right ^= _mix(left, b3) & right_mask
            value = (left << right_bits) | right
            if value < limit:
                break
        out[i] = value


@kernel
def feistel_order(key: int, n: int, start: int, stop: int, out: Array) -> None:
    """out[i] = pi(start + i) for start + i < stop, pi a permutation of 0..n-1 that `key` chooses.

    Eight rounds of a Feistel network over the fewest bits that hold n (at least 8), left half as wide as
    the right or one bit less; a result of n or more is put through again until it is below n, which takes
    less than two turns on average (more for n below 256). Memory and cost per index do not depend on n.

    Args:
        key: 0 <= key < 2^63.
        n: 1 <= n <= 2^40.
        start: 0 <= start.
        stop: start <= stop <= n.
        out: int64, at least stop - start long.
    """
    take_order(key, n, start, stop, out)
