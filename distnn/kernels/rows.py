"""Sums, maxima and products of sums along a contiguous run, in the fixed order of `vectors`.

Called by other kernels, inside compiled code; arrays are 1-D, a run is [start, start + count).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.jit import Array, helper
from distnn.kernels.vectors import larger, load, magnitude, splat, tree_max, tree_sum, widen


@helper
def run_sum(x: Array, start: int, count: int) -> Any:
    """Sum in the dtype of x."""
    blocks = count // 16
    total = x.dtype.type(0)
    if blocks > 0:
        lanes = load(x, start)
        for block in range(1, blocks):
            lanes = lanes + load(x, start + 16 * block)
        total = tree_sum(lanes)
    for i in range(start + 16 * blocks, start + count):
        total += x[i]
    return total


@helper
def run_max(x: Array, start: int, count: int) -> Any:
    """Largest element of a run that is not empty; NaN if one is."""
    blocks = count // 16
    largest = x[start]
    if blocks > 0:
        lanes = load(x, start)
        for block in range(1, blocks):
            lanes = larger(lanes, load(x, start + 16 * block))
        largest = tree_max(lanes)
    for i in range(start + 16 * blocks, start + count):
        value = x[i]
        largest = value if (value > largest or value != value) else largest
    return largest


@helper
def run_dot(x: Array, y: Array, start: int, count: int) -> Any:
    """Sum of x * y over the same run of both, in their dtype."""
    blocks = count // 16
    total = x.dtype.type(0)
    if blocks > 0:
        lanes = load(x, start) * load(y, start)
        for block in range(1, blocks):
            at = start + 16 * block
            lanes = lanes + load(x, at) * load(y, at)
        total = tree_sum(lanes)
    for i in range(start + 16 * blocks, start + count):
        total += x[i] * y[i]
    return total


@helper
def run_sum_f64(x: Array, start: int, count: int) -> Any:
    """Sum in float64."""
    blocks = count // 16
    total = 0.0
    if blocks > 0:
        lanes = widen(load(x, start))
        for block in range(1, blocks):
            lanes = lanes + widen(load(x, start + 16 * block))
        total = tree_sum(lanes)
    for i in range(start + 16 * blocks, start + count):
        total += np.float64(x[i])
    return total


@helper
def run_abs_sum_f64(x: Array, start: int, count: int) -> Any:
    """Sum of absolute values in float64."""
    blocks = count // 16
    total = 0.0
    if blocks > 0:
        lanes = magnitude(widen(load(x, start)))
        for block in range(1, blocks):
            lanes = lanes + magnitude(widen(load(x, start + 16 * block)))
        total = tree_sum(lanes)
    for i in range(start + 16 * blocks, start + count):
        total += abs(np.float64(x[i]))
    return total


@helper
def run_square_sum_f64(x: Array, start: int, count: int) -> Any:
    """Sum of squares in float64."""
    blocks = count // 16
    total = 0.0
    if blocks > 0:
        lanes = widen(load(x, start))
        lanes = lanes * lanes
        for block in range(1, blocks):
            wide = widen(load(x, start + 16 * block))
            lanes = lanes + wide * wide
        total = tree_sum(lanes)
    for i in range(start + 16 * blocks, start + count):
        value = np.float64(x[i])
        total += value * value
    return total


@helper
def run_deviation_sum(x: Array, start: int, count: int, center: Any) -> Any:
    """Sum of (x - center)^2, in the dtype of x."""
    blocks = count // 16
    total = x.dtype.type(0)
    if blocks > 0:
        middle = splat(center)
        lanes = load(x, start) - middle
        lanes = lanes * lanes
        for block in range(1, blocks):
            deviation = load(x, start + 16 * block) - middle
            lanes = lanes + deviation * deviation
        total = tree_sum(lanes)
    for i in range(start + 16 * blocks, start + count):
        deviation_ = x[i] - center
        total += deviation_ * deviation_
    return total


@helper
def run_scaled_deviation_dot(g: Array, x: Array, start: int, count: int, center: Any) -> Any:
    """Sum of g * (x - center) over the same run of both, in their dtype."""
    blocks = count // 16
    total = x.dtype.type(0)
    if blocks > 0:
        middle = splat(center)
        lanes = load(g, start) * (load(x, start) - middle)
        for block in range(1, blocks):
            at = start + 16 * block
            lanes = lanes + load(g, at) * (load(x, at) - middle)
        total = tree_sum(lanes)
    for i in range(start + 16 * blocks, start + count):
        total += g[i] * (x[i] - center)
    return total
