"""Weights held to their constraints, in place, after an update.

Each kernel returns by how much it changes the fingerprint of the weights: what an update returned plus this
is the fingerprint of what is there. Those that can make a number infinite or NaN tell trouble as updates do,
in the same `scalars`. A norm is summed in float64, value by value in the order of the weight
(along a contiguous run in the fixed order of `rows`), whatever lies beside it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.fingerprints import ZERO, bits_of, plain_bits, tell_trouble, u32, u64
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.rows import run_square_sum_f64


@kernel
def clear_negatives(w: Array, start: int) -> Any:
    """w = max(w, 0), NaN kept; w's values count from `start`."""
    total, zero = u64(0), np.float32(0)
    for i in range(w.size):
        before = w[i]
        after = zero if before < zero else before
        w[i] = after
        total += bits_of(after, start + i)
        total -= bits_of(before, start + i)
    return total


@helper
def _factor(square: Any, low: Any, high: Any, rate: Any, epsilon: Any) -> Any:
    """What weights of this sum of squares are multiplied by."""
    norm = np.sqrt(square)
    near = low if norm < low else (high if norm > high else norm)
    return (rate * near + (1.0 - rate) * norm) / (epsilon + norm)


@kernel
def bound_norms(
    w: Array,
    outer: int,
    count: int,
    inner: int,
    low: float,
    high: float,
    rate: float,
    epsilon: float,
    scratch: Array,
    scalars: Array,
    start: int,
) -> Any:
    """Let norms of w (outer, count, inner) along its middle axis go towards [low, high].

    Args:
        scratch: float64, `inner` long.
        scalars: of the update.
        start: where w's values count from.
    """
    total, doubt = u64(0), u32(0)
    for a in range(outer):
        first = a * count * inner
        if inner == 1:
            scratch[0] = run_square_sum_f64(w, first, count)
        else:
            for c in range(inner):
                scratch[c] = 0.0
            for b in range(count):
                row = w[first + b * inner : first + (b + 1) * inner]
                for c in range(inner):
                    value = np.float64(row[c])
                    scratch[c] += value * value
        for c in range(inner):
            scratch[c] = _factor(scratch[c], low, high, rate, epsilon)
        for b in range(count):
            place = first + b * inner
            row = w[place : place + inner]
            for c in range(inner):
                before = row[c]
                after = before * np.float32(scratch[c])
                row[c] = after
                total += bits_of(after, start + place + c)
                total -= bits_of(before, start + place + c)
                doubt |= plain_bits(after * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def fingerprint_change(before: Array, after: Array, scalars: Array, start: int) -> Any:
    """The fingerprint of `after` less that of `before`; values count from `start`.

    Trouble is what is not finite in `after`.
    """
    total, doubt = u64(0), u32(0)
    for i in range(after.size):
        total += bits_of(after[i], start + i)
        total -= bits_of(before[i], start + i)
        doubt |= plain_bits(after[i] * ZERO)
    tell_trouble(scalars, doubt)
    return total
