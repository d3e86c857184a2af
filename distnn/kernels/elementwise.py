"""Elementwise transcendentals over 1-D arrays, by the scalar functions of `scalar_math`."""

from __future__ import annotations

import numpy as np

from distnn.kernels.jit import Array, kernel
from distnn.kernels.scalar_math import erf, exp, expm1, log, log1p


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


@kernel
def expm1_forward(x: Array, y: Array) -> None:
    """y = e^x - 1."""
    for i in range(x.size):
        y[i] = expm1(x[i])


@kernel
def erf_forward(x: Array, y: Array) -> None:
    """y = error function of x."""
    for i in range(x.size):
        y[i] = erf(x[i])


@kernel
def floor_forward(x: Array, y: Array) -> None:
    """y = the largest whole number not above x."""
    for i in range(x.size):
        y[i] = np.floor(x[i])


@kernel
def ceil_forward(x: Array, y: Array) -> None:
    """y = the smallest whole number not below x."""
    for i in range(x.size):
        y[i] = np.ceil(x[i])


@kernel
def round_forward(x: Array, y: Array) -> None:
    """y = the nearest whole number, the even one of two."""
    for i in range(x.size):
        y[i] = np.rint(x[i])
