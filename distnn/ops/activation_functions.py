"""Activations that are made of other ops."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.ops.activations import elu, leaky_relu, relu, sigmoid, softplus, tanh
from distnn.ops.arguments import normalized_axes, shape_of
from distnn.ops.arranging import split
from distnn.ops.comparison import cast, greater, greater_equal
from distnn.ops.elementwise import (
    abs as magnitude,
)
from distnn.ops.elementwise import (
    add,
    clip,
    divide,
    maximum,
    minimum,
    multiply,
    negative,
    sqrt,
    square,
    subtract,
    where,
)
from distnn.ops.reductions import sum as sum_over
from distnn.ops.scans import cumsum
from distnn.ops.selection import top_k
from distnn.ops.shapes import swapaxes

_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


def general_relu(
    x: Any, negative_slope: float = 0.0, max_value: float | None = None, threshold: float = 0.0
) -> Any:
    """x from `threshold` up, at most `max_value`; below, `negative_slope * (x - threshold)`."""
    if threshold == 0:
        y = leaky_relu(x, negative_slope) if negative_slope else relu(x)
    else:
        value = cast(x, "float32")
        below = multiply(subtract(value, threshold), negative_slope) if negative_slope else 0.0
        y = where(greater_equal(value, threshold), value, below)
    return y if max_value is None else minimum(y, max_value)


def relu6(x: Any) -> Any:
    """x within [0, 6]."""
    return minimum(relu(x), 6.0)


def selu(x: Any) -> Any:
    """1.0507 times x, or times 1.6733 (e^x - 1) below 0. Klambauer et al. 2017."""
    return multiply(elu(x, _SELU_ALPHA), _SELU_SCALE)


def celu(x: Any, alpha: float = 1.0) -> Any:
    """x, or alpha (e^(x / alpha) - 1) below 0."""
    return multiply(elu(divide(x, alpha)), alpha)


def hard_sigmoid(x: Any) -> Any:
    """x / 6 + 1/2 within [0, 1]."""
    return clip(add(multiply(cast(x, "float32"), 1.0 / 6.0), 0.5), 0.0, 1.0)


def hard_silu(x: Any) -> Any:
    """x times `hard_sigmoid`."""
    return multiply(x, hard_sigmoid(x))


hard_swish = hard_silu


def hard_tanh(x: Any) -> Any:
    """x within [-1, 1]."""
    return clip(cast(x, "float32"), -1.0, 1.0)


def hard_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x where |x| > threshold, else 0."""
    value = cast(x, "float32")
    return where(greater(magnitude(value), threshold), value, 0.0)


def soft_shrink(x: Any, threshold: float = 0.5) -> Any:
    """x moved towards 0 by `threshold`, 0 if it would pass it."""
    value = cast(x, "float32")
    return subtract(value, clip(value, -threshold, threshold))


def tanh_shrink(x: Any) -> Any:
    """x - tanh(x)."""
    return subtract(x, tanh(x))


def softsign(x: Any) -> Any:
    """x / (1 + |x|)."""
    value = cast(x, "float32")
    return divide(value, add(magnitude(value), 1.0))


soft_sign = softsign


def log_sigmoid(x: Any) -> Any:
    """The logarithm of 1 / (1 + e^-x)."""
    return negative(softplus(negative(cast(x, "float32"))))


def mish(x: Any) -> Any:
    """x tanh(softplus(x)). Misra 2019."""
    return multiply(x, tanh(softplus(x)))


def glu(x: Any, axis: int = -1) -> Any:
    """The first half along `axis` times the sigmoid of the second."""
    first, second = split(cast(x, "float32"), 2, axis)
    return multiply(first, sigmoid(second))


def squareplus(x: Any, b: float = 4.0) -> Any:
    """(x + sqrt(x^2 + b)) / 2."""
    value = cast(x, "float32")
    return multiply(add(value, sqrt(add(square(value), b))), 0.5)


def sparse_plus(x: Any) -> Any:
    """0 up to -1, (x + 1)^2 / 4 up to 1, then x."""
    value = cast(x, "float32")
    middle = multiply(square(add(clip(value, -1.0, 1.0), 1.0)), 0.25)
    return add(middle, maximum(subtract(value, 1.0), 0.0))


def sparse_sigmoid(x: Any) -> Any:
    """(x + 1) / 2 within [0, 1]."""
    return clip(multiply(add(cast(x, "float32"), 1.0), 0.5), 0.0, 1.0)


def threshold(x: Any, threshold: float, default_value: float) -> Any:
    """x where it is larger than `threshold`, else `default_value`."""
    value = cast(x, "float32")
    return where(greater(value, threshold), value, default_value)


def sparsemax(x: Any, axis: int = -1) -> Any:
    """The nearest probabilities to x along `axis`, many of them 0. Martins & Astudillo 2016."""
    value = cast(x, "float32")
    rank = len(shape_of(value))
    (place,) = normalized_axes(axis, rank)
    if place != rank - 1:
        return swapaxes(sparsemax(swapaxes(value, place, rank - 1)), place, rank - 1)
    size = shape_of(value)[-1]
    assert isinstance(size, int)
    falling, _ = top_k(value, size)
    ranks = np.arange(1, size + 1, dtype=np.float64 if value.dtype == np.float64 else np.float32)
    counts = cast(greater(add(multiply(falling, ranks), 1.0), cumsum(falling, -1)), "float32")
    chosen = sum_over(multiply(falling, counts), -1, keepdims=True)
    level = divide(subtract(chosen, 1.0), sum_over(counts, -1, keepdims=True))
    return maximum(subtract(value, level), 0.0)
