"""Values picked by index along an axis, added up by index, and put in order.

Letters: O outer, R the axis of x, I inner, N the picked places. Indices are int32; a negative one counts from
the end. One out of range gives `outside` when picking, is left out when adding, and touches no memory.
"""

from __future__ import annotations

from typing import Any

from distnn.kernels.jit import Array, helper, kernel


@helper
def _place(index: Any, size: int) -> int:
    """The place that an index means; -1 for none."""
    place = index + size if index < 0 else index
    return place if 0 <= place < size else -1


@kernel
def take_axis(x_ORI: Array, index_N: Array, outside: float, y_ONI: Array) -> None:
    """y[o, n] = x[o, index[n]]."""
    outer, size, inner = x_ORI.shape
    missing = x_ORI.dtype.type(outside)
    for o in range(outer):
        for n in range(index_N.size):
            place = _place(index_N[n], size)
            if place >= 0:
                for i in range(inner):
                    y_ONI[o, n, i] = x_ORI[o, place, i]
            else:
                for i in range(inner):
                    y_ONI[o, n, i] = missing


@kernel
def scatter_add_axis(values_ONI: Array, index_N: Array, y_ORI: Array) -> None:
    """y[o, r] = the sum of values[o, n] over all n with index[n] = r, in rising n."""
    outer, size, inner = y_ORI.shape
    zero = y_ORI.dtype.type(0)
    for o in range(outer):
        for r in range(size):
            for i in range(inner):
                y_ORI[o, r, i] = zero
        for n in range(index_N.size):
            place = _place(index_N[n], size)
            if place >= 0:
                for i in range(inner):
                    y_ORI[o, place, i] += values_ONI[o, n, i]


@kernel
def take_along_axis(x_ORI: Array, index_ONI: Array, outside: float, y_ONI: Array) -> None:
    """y[o, n, i] = x[o, index[o, n, i], i]."""
    outer, size, inner = x_ORI.shape
    missing = x_ORI.dtype.type(outside)
    for o in range(outer):
        for n in range(index_ONI.shape[1]):
            for i in range(inner):
                place = _place(index_ONI[o, n, i], size)
                y_ONI[o, n, i] = x_ORI[o, max(place, 0), i] if place >= 0 else missing


@kernel
def scatter_add_along_axis(values_ONI: Array, index_ONI: Array, y_ORI: Array) -> None:
    """y[o, r, i] = the sum of values[o, n, i] over all n with index[o, n, i] = r, in rising n."""
    outer, size, inner = y_ORI.shape
    zero = y_ORI.dtype.type(0)
    for o in range(outer):
        for r in range(size):
            for i in range(inner):
                y_ORI[o, r, i] = zero
        for n in range(index_ONI.shape[1]):
            for i in range(inner):
                place = _place(index_ONI[o, n, i], size)
                if place >= 0:
                    y_ORI[o, place, i] += values_ONI[o, n, i]


@helper
def _comes_first(x: Any, y: Any, is_falling: bool) -> bool:
    """Whether y must come before x, which stands before it; NaN comes last."""
    if x != x:
        return bool(y == y)
    return bool(y > x) if is_falling else bool(y < x)


@kernel
def argsort_axis(x_ORI: Array, is_falling: bool, scratch_2R: Array, place_ORI: Array) -> None:
    """Places (int32) of the values in rising or falling order; equals keep theirs. Merges of doubled runs."""
    outer, size, inner = x_ORI.shape
    for o in range(outer):
        for i in range(inner):
            now = 0
            for r in range(size):
                scratch_2R[0, r] = r
            width = 1
            while width < size:
                for start in range(0, size, 2 * width):
                    middle, stop = min(start + width, size), min(start + 2 * width, size)
                    left, right = start, middle
                    for r in range(start, stop):
                        takes_right = left >= middle
                        if left < middle and right < stop:
                            first, second = scratch_2R[now, left], scratch_2R[now, right]
                            takes_right = _comes_first(x_ORI[o, first, i], x_ORI[o, second, i], is_falling)
                        if takes_right:
                            scratch_2R[1 - now, r] = scratch_2R[now, right]
                            right += 1
                        else:
                            scratch_2R[1 - now, r] = scratch_2R[now, left]
                            left += 1
                now = 1 - now
                width *= 2
            for r in range(size):
                place_ORI[o, r, i] = scratch_2R[now, r]
