"""Uniform and normal values and orthonormal rows from random bits, the same on every machine.

Only float64 operations that IEEE 754 rounds in one way are used (+, -, *, /, square root, splitting off the
exponent), so neither the version of NumPy or libm nor the CPU type can change a bit. Initializers call this.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Bits = npt.NDArray[np.uint64]

_BELOW_MINUS_TWO = 0.022750131948179195
"""The share of a standard normal variable below -2."""

_LN2_HIGH, _LN2_LOW = 0.6931471803691238, 1.9082149292705877e-10

# Wichura, "Algorithm AS 241: the percentage points of the normal distribution", 1988: PPND16.
# Coefficients of the numerators and denominators, lowest power first.
_CENTRE = (
    (3.3871328727963666080e0, 1.3314166789178437745e2, 1.9715909503065514427e3, 1.3731693765509461125e4)
    + (4.5921953931549871457e4, 6.7265770927008700853e4, 3.3430575583588128105e4, 2.5090809287301226727e3),
    (1.0, 4.2313330701600911252e1, 6.8718700749205790830e2, 5.3941960214247511077e3)
    + (2.1213794301586595867e4, 3.9307895800092710610e4, 2.8729085735721942674e4, 5.2264952788528545610e3),
)
_MIDDLE = (
    (1.42343711074968357734e0, 4.63033784615654529590e0, 5.76949722146069140550e0, 3.64784832476320460504e0)
    + (
        1.27045825245236838258e0,
        2.41780725177450611770e-1,
        2.27238449892691845833e-2,
        7.74545014278341407640e-4,
    ),
    (1.0, 2.05319162663775882187e0, 1.67638483018380384940e0, 6.89767334985100004550e-1)
    + (
        1.48103976427480074590e-1,
        1.51986665636164571966e-2,
        5.47593808499534494600e-4,
        1.05075007164441684324e-9,
    ),
)
_FAR = (
    (6.65790464350110377720e0, 5.46378491116411436990e0, 1.78482653991729133580e0, 2.96560571828504891230e-1)
    + (
        2.65321895265761230930e-2,
        1.24266094738807843860e-3,
        2.71155556874348757815e-5,
        2.01033439929228813265e-7,
    ),
    (1.0, 5.99832206555887937690e-1, 1.36929880922735805310e-1, 1.48753612908506148525e-2)
    + (
        7.86869131145613259100e-4,
        1.84631831751005468180e-5,
        1.42151175831644588870e-7,
        2.04426310338993978564e-15,
    ),
)


def uniform_values(bits: Bits) -> Float64:
    """52 of the bits as a number strictly between 0 and 1 (with 53, the largest would round to 1)."""
    return ((bits >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52


def normal_values(bits: Bits) -> Float64:
    """Standard normal values."""
    return normal_quantile(uniform_values(bits))


def truncated_normal_values(bits: Bits) -> Float64:
    """Standard normal values between -2 and 2."""
    share = _BELOW_MINUS_TWO + (1.0 - 2.0 * _BELOW_MINUS_TWO) * uniform_values(bits)
    values: Float64 = np.clip(normal_quantile(share), -2.0, 2.0)
    return values


def orthonormal_rows(vectors: Float64) -> Float64:
    """The rows made orthonormal in place, one after another (modified Gram-Schmidt)."""
    for i in range(len(vectors)):
        row = vectors[i]
        row /= math.sqrt(np.add.reduce(row * row))
        rest = vectors[i + 1 :]
        rest -= np.add.reduce(rest * row, axis=1)[:, None] * row
    return vectors


def normal_quantile(p: Float64) -> Float64:
    """The value below which a share `p` (0 < p < 1) of a standard normal variable lies; error about 1e-16."""
    q = p - 0.5
    result = q * _ratio(_CENTRE, 0.180625 - q * q)
    tail = np.flatnonzero(np.abs(q) > 0.425)
    side = q[tail]
    r = np.sqrt(-logarithm(np.where(side < 0.0, p[tail], 1.0 - p[tail])))
    size = np.where(r <= 5.0, _ratio(_MIDDLE, r - 1.6), _ratio(_FAR, r - 5.0))
    result[tail] = np.where(side < 0.0, -size, size)
    return result


def logarithm(x: Float64) -> Float64:
    """The natural logarithm of positive, normal numbers: `2 atanh((m - 1) / (m + 1)) + e log 2`."""
    mantissa, exponent = np.frexp(x)
    small = mantissa < math.sqrt(0.5)
    mantissa = np.where(small, 2.0 * mantissa, mantissa)
    power = exponent.astype(np.float64) - small
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = np.zeros_like(s)
    for k in range(11, -1, -1):
        series = series * square + 2.0 / (2 * k + 1)
    result: Float64 = power * _LN2_HIGH + (s * series + power * _LN2_LOW)
    return result


def _ratio(coefficients: Any, r: Float64) -> Float64:
    numerator, denominator = (_polynomial(part, r) for part in coefficients)
    result: Float64 = numerator / denominator
    return result


def _polynomial(coefficients: tuple[float, ...], r: Float64) -> Float64:
    result = np.full_like(r, coefficients[-1])
    for c in reversed(coefficients[:-1]):
        result = result * r + c
    return result
