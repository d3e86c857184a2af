"""Sums, means, extremes and their places, each in a fixed order.

Arrays of three axes are the canonical view (outer, reduced, inner) of any reduction; results are
(outer, inner). With inner > 1 each result is one chain over the reduced axis; with inner == 1 it is a run
in the order of `rows`. Sums are in the array's own dtype unless the name says f64.
"""

from __future__ import annotations

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
    if inner == 1:
        for o in range(outer):
            smallest = x_ORI[o, 0, 0]
            for r in range(1, reduced):
                value = x_ORI[o, r, 0]
                smallest = smallest if (smallest <= value or smallest != smallest) else value
            y_OI[o, 0] = smallest
        return
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
