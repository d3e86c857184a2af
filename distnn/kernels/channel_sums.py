"""Sums over rows, channel by channel, in float64: two vectors of channels at a time, kept in registers.

A sum in memory waits for its own last store at every row. Each channel stays one chain over the rows, so
the bits are those of the plain loop, which also takes the channels that fill no pair of vectors.
`x` is a flat array of rows; called by other kernels, inside compiled code.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.jit import Array, helper, inlined
from distnn.kernels.vector_stores import store, where_above
from distnn.kernels.vectors import LANES, load, splat, widen

_PAIR = 2 * LANES


@helper
def add_up(x: Array, rows: int, channels: int, sums: Array) -> None:
    """sums[c] = the sum of channel c."""
    whole = channels // _PAIR * _PAIR
    for c in range(0, whole, _PAIR):
        first, second = splat(0.0), splat(0.0)
        for r in range(rows):
            place = r * channels + c
            first = first + widen(load(x, place))
            second = second + widen(load(x, place + LANES))
        store(sums, c, first)
        store(sums, c + LANES, second)
    for c in range(whole, channels):
        sums[c] = 0.0
    for r in range(rows):
        for c in range(whole, channels):
            sums[c] += np.float64(x[r * channels + c])


@helper
def add_up_squares(x: Array, rows: int, channels: int, mean: Array, sums: Array) -> None:
    """sums[c] = the sum of (x - mean[c])^2 over channel c; mean is float64."""
    whole = channels // _PAIR * _PAIR
    for c in range(0, whole, _PAIR):
        first, second = splat(0.0), splat(0.0)
        mean_first, mean_second = load(mean, c), load(mean, c + LANES)
        for r in range(rows):
            place = r * channels + c
            deviation = widen(load(x, place)) - mean_first
            first = first + deviation * deviation
            other = widen(load(x, place + LANES)) - mean_second
            second = second + other * other
        store(sums, c, first)
        store(sums, c + LANES, second)
    for c in range(whole, channels):
        sums[c] = 0.0
    for r in range(rows):
        for c in range(whole, channels):
            deviation_ = np.float64(x[r * channels + c]) - mean[c]
            sums[c] += deviation_ * deviation_


@helper
def kept_gradient(y: Array, dy: Array, place: int, is_rectified: int) -> Any:
    """Sixteen values of dy; where `is_rectified`, 0 unless y is above 0."""
    gradient = load(dy, place)
    if is_rectified != 0:
        nothing = splat(dy.dtype.type(0))
        gradient = where_above(load(y, place), nothing, gradient, nothing)
    return gradient


@helper
def kept_value(y: Array, dy: Array, place: int, is_rectified: int) -> Any:
    """One value of it."""
    return dy[place] if is_rectified == 0 or y[place] > 0 else dy.dtype.type(0)


@inlined
def add_up_products(
    dy: Array,
    y: Array,
    is_rectified: int,
    x: Array,
    rows: int,
    channels: int,
    mean: Array,
    sums: Array,
    products: Array,
) -> None:
    """sums[c] = the sum of dy, products[c] that of dy * (x - mean[c]), over channel c; dy as it is kept."""
    whole = channels // _PAIR * _PAIR
    for c in range(0, whole, _PAIR):
        first, second = splat(0.0), splat(0.0)
        dot_first, dot_second = splat(0.0), splat(0.0)
        mean_first, mean_second = load(mean, c), load(mean, c + LANES)
        for r in range(rows):
            place = r * channels + c
            wide = widen(kept_gradient(y, dy, place, is_rectified))
            first = first + wide
            dot_first = dot_first + wide * widen(load(x, place) - mean_first)
            other = widen(kept_gradient(y, dy, place + LANES, is_rectified))
            second = second + other
            dot_second = dot_second + other * widen(load(x, place + LANES) - mean_second)
        store(sums, c, first)
        store(sums, c + LANES, second)
        store(products, c, dot_first)
        store(products, c + LANES, dot_second)
    for c in range(whole, channels):
        sums[c] = 0.0
        products[c] = 0.0
    for r in range(rows):
        for c in range(whole, channels):
            dy_ = np.float64(kept_value(y, dy, r * channels + c, is_rectified))
            sums[c] += dy_
            products[c] += dy_ * np.float64(x[r * channels + c] - mean[c])
