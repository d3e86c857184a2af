"""Elementwise transcendentals over 1-D arrays, by the scalar functions of `scalar_math`."""

from __future__ import annotations

from distnn.kernels.jit import Array, kernel
from distnn.kernels.scalar_math import exp, log, log1p


@kernel
def exp_forward(x: Array, y: Array) -> None:
    """y = e^x."""
    for i in range(x.size):
        y[i] = exp(x[i])


@kernel
def log_forward(x: Array, y: Array) -> None:
    """y = natural logarithm of x."""
    for i in range(x.size):
        y[i] = log(x[i])


@kernel
def log1p_forward(x: Array, y: Array) -> None:
    """y = log(1 + x)."""
    for i in range(x.size):
        y[i] = log1p(x[i])


@kernel
def power_forward(x: Array, exponent: float, y: Array) -> None:
    """y = e^(exponent log x); x below 0 gives NaN."""
    p = x.dtype.type(exponent)
    for i in range(x.size):
        y[i] = exp(p * log(x[i]))
