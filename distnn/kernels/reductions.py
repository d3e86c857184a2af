"""Sums, means, extremes and their places, each in a fixed order.

Arrays of three axes are the canonical view (outer, reduced, inner) of any reduction; results are
(outer, inner). With inner > 1 each result is one chain over the reduced axis; with inner == 1 it is a run
in the order of `rows`. Sums are in the array's own dtype unless the name says f64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.jit import Array, kernel
from distnn.kernels.rows import run_max, run_sum


@kernel
def sum_axis(x_ORI: Array, y_OI: Array) -> None:
    """Sum over the middle axis."""
    outer, reduced, inner = x_ORI.shape
    zero = x_ORI.dtype.type(0)
    if inner == 1:
        flat = x_ORI.reshape(-1)
        for o in range(outer):
            y_OI[o, 0] = run_sum(flat, o * reduced, reduced)
        return
    for o in range(outer):
        for i in range(inner):
            y_OI[o, i] = x_ORI[o, 0, i] if reduced > 0 else zero
        for r in range(1, reduced):
            for i in range(inner):
                y_OI[o, i] += x_ORI[o, r, i]


@kernel
def mean_axis(x_ORI: Array, y_OI: Array) -> None:
    """Sum over the middle axis, divided once."""
    sum_axis(x_ORI, y_OI)
    count = x_ORI.dtype.type(x_ORI.shape[1])
    for o in range(y_OI.shape[0]):
        for i in range(y_OI.shape[1]):
            y_OI[o, i] = y_OI[o, i] / count


@kernel
def max_axis(x_ORI: Array, y_OI: Array) -> None:
    """Largest along the middle axis, which is not empty; NaN if one is."""
    outer, reduced, inner = x_ORI.shape
    if inner == 1:
        flat = x_ORI.reshape(-1)
        for o in range(outer):
            y_OI[o, 0] = run_max(flat, o * reduced, reduced)
        return
    for o in range(outer):
        for i in range(inner):
            y_OI[o, i] = x_ORI[o, 0, i]
        for r in range(1, reduced):
            for i in range(inner):
                value, best = x_ORI[o, r, i], y_OI[o, i]
                y_OI[o, i] = best if (best >= value or best != best) else value


@kernel
def min_axis(x_ORI: Array, y_OI: Array) -> None:
    """Smallest along the middle axis, which is not empty; NaN if one is."""
    outer, reduced, inner = x_ORI.shape
    for o in range(outer):
        for i in range(inner):
            y_OI[o, i] = x_ORI[o, 0, i]
        for r in range(1, reduced):
            for i in range(inner):
                value, best = x_ORI[o, r, i], y_OI[o, i]
                y_OI[o, i] = best if (best <= value or best != best) else value


@kernel
def argmax_axis(x_ORI: Array, place_OI: Array) -> None:
    """Place (int32) of the first largest along the middle axis; of the first NaN if there is one."""
    outer, reduced, inner = x_ORI.shape
    for o in range(outer):
        for i in range(inner):
            best, place = x_ORI[o, 0, i], 0
            for r in range(1, reduced):
                value = x_ORI[o, r, i]
                if value > best or (value != value and best == best):
                    best, place = value, r
            place_OI[o, i] = place


@kernel
def argmin_axis(x_ORI: Array, place_OI: Array) -> None:
    """Place (int32) of the first smallest along the middle axis; of the first NaN if there is one."""
    outer, reduced, inner = x_ORI.shape
    for o in range(outer):
        for i in range(inner):
            best, place = x_ORI[o, 0, i], 0
            for r in range(1, reduced):
                value = x_ORI[o, r, i]
                if value < best or (value != value and best == best):
                    best, place = value, r
            place_OI[o, i] = place


@kernel
def extreme_gradient(x_ORI: Array, y_OI: Array, dy_OI: Array, dx_ORI: Array) -> None:
    """dy shared equally among the elements that equal the extreme y."""
    outer, reduced, inner = x_ORI.shape
    zero = x_ORI.dtype.type(0)
    for o in range(outer):
        for i in range(inner):
            count = 0
            for r in range(reduced):
                count += x_ORI[o, r, i] == y_OI[o, i]
            share = dy_OI[o, i] / x_ORI.dtype.type(max(count, 1))
            for r in range(reduced):
                dx_ORI[o, r, i] = share if x_ORI[o, r, i] == y_OI[o, i] else zero


@kernel
def broadcast_axis(dy_OI: Array, factor: float, dx_ORI: Array) -> None:
    """dx = factor * dy along the middle axis: the gradient of a sum (factor 1) or a mean (1 / count)."""
    outer, reduced, inner = dx_ORI.shape
    scale = dy_OI.dtype.type(factor)
    for o in range(outer):
        for r in range(reduced):
            for i in range(inner):
                dx_ORI[o, r, i] = scale * dy_OI[o, i]


@kernel
def column_sums(x_BO: Array, y_O: Array) -> None:
    """Sum over B, one chain per column: the gradient of a bias."""
    zero = x_BO.dtype.type(0)
    for o in range(y_O.size):
        y_O[o] = zero
    for b in range(x_BO.shape[0]):
        for o in range(y_O.size):
            y_O[o] += x_BO[b, o]


@kernel
def row_sums(x_BO: Array, y_B: Array) -> None:
    """Sum of each row."""
    flat, columns = x_BO.reshape(-1), x_BO.shape[1]
    for b in range(x_BO.shape[0]):
        y_B[b] = run_sum(flat, b * columns, columns)


def canonical_view(x: Array, axes: tuple[int, ...]) -> Array | None:
    """`x` as (outer, reduced, inner) for a reduction over `axes`, or None if these are not neighbours.

    Args:
        x: contiguous.
        axes: sorted, not negative; all of them adjacent for a view to exist.
    """
    if not axes:
        return x.reshape(-1, 1, 1)
    if axes != tuple(range(axes[0], axes[-1] + 1)):
        return None
    outer = int(np.prod(x.shape[: axes[0]], dtype=np.int64))
    reduced = int(np.prod(x.shape[axes[0] : axes[-1] + 1], dtype=np.int64))
    inner = int(np.prod(x.shape[axes[-1] + 1 :], dtype=np.int64))
    return x.reshape(outer, reduced, inner)


def reduced_view(y: Any, x_ORI: Array) -> Any:
    """The result of a reduction of `x_ORI` as (outer, inner)."""
    return y.reshape(x_ORI.shape[0], x_ORI.shape[2])
