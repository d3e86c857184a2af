"""Sine, cosine, tangent and their inverses over 1-D arrays.

float32 values are computed in float64, by polynomials of our own and correctly rounded operations, and
rounded once: within 1e-7 relative, for angles up to a million; beyond, their remainder loses digits.
float64 (gradient checks only) is libm's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from distnn.kernels.jit import JIT_OPTIONS, Array, helper, kernel

# pi / 2 in three parts: the first two have 33 bits, so that whole multiples of them are exact.
_QUARTER_1, _QUARTER_2, _QUARTER_3 = (
    1.57079632673412561417e00,
    6.07710050630396597660e-11,
    2.02226624879595063154e-21,
)
_PER_QUARTER = 0.63661977236758134308
_S3, _S5, _S7 = -1.0 / 6.0, 1.0 / 120.0, -1.0 / 5040.0
_S9, _S11, _S13 = 1.0 / 362880.0, -1.0 / 39916800.0, 1.0 / 6227020800.0
_C2, _C4, _C6 = -1.0 / 2.0, 1.0 / 24.0, -1.0 / 720.0
_C8, _C10, _C12 = 1.0 / 40320.0, -1.0 / 3628800.0, 1.0 / 479001600.0


@helper
def _sine_and_cosine(angle: Any) -> Any:
    """Both of a float64 angle; NaN for infinity."""
    quarters = np.floor(angle * _PER_QUARTER + 0.5)
    r = ((angle - quarters * _QUARTER_1) - quarters * _QUARTER_2) - quarters * _QUARTER_3
    s = r * r
    sine = r + r * (s * (((((_S13 * s + _S11) * s + _S9) * s + _S7) * s + _S5) * s + _S3))
    cosine = 1.0 + s * (((((_C12 * s + _C10) * s + _C8) * s + _C6) * s + _C4) * s + _C2)
    turn = quarters - 4.0 * np.floor(quarters * 0.25)
    is_odd = turn == 1.0 or turn == 3.0
    first = cosine if is_odd else sine
    second = sine if is_odd else cosine
    first = -first if turn >= 2.0 else first
    second = -second if turn == 1.0 or turn == 2.0 else second
    return first, second


@helper
def sin_f32(x: Any) -> Any:
    sine, _ = _sine_and_cosine(np.float64(x))
    return np.float32(sine) if x != np.float32(0.0) else x


@helper
def cos_f32(x: Any) -> Any:
    _, cosine = _sine_and_cosine(np.float64(x))
    return np.float32(cosine)


@helper
def tan_f32(x: Any) -> Any:
    sine, cosine = _sine_and_cosine(np.float64(x))
    return np.float32(sine / cosine) if x != np.float32(0.0) else x


_HALF_PI, _QUARTER_PI = 1.57079632679489661923, 0.78539816339744830962
_TAN_EIGHTH = 0.41421356237309503


@helper
def _arctangent(x: Any) -> Any:
    """Of a float64 value, to about 1e-9."""
    size = abs(x)
    is_large = size > 1.0
    inner = 1.0 / size if is_large else size
    is_upper = inner > _TAN_EIGHTH
    t = (inner - 1.0) / (inner + 1.0) if is_upper else inner
    s = t * t
    p = ((1.0 / 21.0 * s - 1.0 / 19.0) * s + 1.0 / 17.0) * s - 1.0 / 15.0
    p = (((p * s + 1.0 / 13.0) * s - 1.0 / 11.0) * s + 1.0 / 9.0) * s - 1.0 / 7.0
    p = ((p * s + 1.0 / 5.0) * s - 1.0 / 3.0) * s
    angle = t + t * p
    angle = _QUARTER_PI + angle if is_upper else angle
    angle = _HALF_PI - angle if is_large else angle
    return -angle if x < 0.0 else angle


@helper
def arctan_f32(x: Any) -> Any:
    return np.float32(_arctangent(np.float64(x))) if x != np.float32(0.0) else x


@helper
def arcsin_f32(x: Any) -> Any:
    wide = np.float64(x)
    return np.float32(_arctangent(wide / np.sqrt((1.0 - wide) * (1.0 + wide)))) if x != np.float32(0.0) else x


@helper
def arccos_f32(x: Any) -> Any:
    wide = np.float64(x)
    return np.float32(2.0 * _arctangent(np.sqrt((1.0 - wide) / (1.0 + wide))))


def _choose(x: Any, single: Callable[[Any], Any], double: Callable[[Any], Any]) -> Any:
    """Uncompiled: the function for the type of `x`."""
    with np.errstate(all="ignore"):
        return single(x) if isinstance(x, np.float32) else double(np.float64(x))


def sin(x: Any) -> Any:
    """Sine."""
    return _choose(x, sin_f32, np.sin)


def cos(x: Any) -> Any:
    """Cosine."""
    return _choose(x, cos_f32, np.cos)


def tan(x: Any) -> Any:
    """Tangent."""
    return _choose(x, tan_f32, np.tan)


def arctan(x: Any) -> Any:
    """The angle between -pi/2 and pi/2 of this tangent."""
    return _choose(x, arctan_f32, np.arctan)


def arcsin(x: Any) -> Any:
    """The angle between -pi/2 and pi/2 of this sine; NaN outside [-1, 1]."""
    return _choose(x, arcsin_f32, np.arcsin)


def arccos(x: Any) -> Any:
    """The angle between 0 and pi of this cosine; NaN outside [-1, 1]."""
    return _choose(x, arccos_f32, np.arccos)


def _compile_as(function: Any, single: Any, double: Any) -> None:
    """Let kernels that call `function` use `single` for float32 and `double` for float64."""

    @overload(function, strict=False, jit_options=JIT_OPTIONS)  # type: ignore[untyped-decorator]
    def implementation(x: Any) -> Any:
        if x == types.float32:
            return single
        return (lambda x: double(x)) if x == types.float64 else None


_compile_as(sin, sin_f32, math.sin)
_compile_as(cos, cos_f32, math.cos)
_compile_as(tan, tan_f32, math.tan)
_compile_as(arctan, arctan_f32, math.atan)
_compile_as(arcsin, arcsin_f32, math.asin)
_compile_as(arccos, arccos_f32, math.acos)


@kernel
def sin_forward(x: Array, y: Array) -> None:
    """y = sine of x."""
    for i in range(x.size):
        y[i] = sin(x[i])


@kernel
def cos_forward(x: Array, y: Array) -> None:
    """y = cosine of x."""
    for i in range(x.size):
        y[i] = cos(x[i])


@kernel
def tan_forward(x: Array, y: Array) -> None:
    """y = tangent of x."""
    for i in range(x.size):
        y[i] = tan(x[i])


@kernel
def arctan_forward(x: Array, y: Array) -> None:
    """y = arctangent of x."""
    for i in range(x.size):
        y[i] = arctan(x[i])


@kernel
def arcsin_forward(x: Array, y: Array) -> None:
    """y = arcsine of x."""
    for i in range(x.size):
        y[i] = arcsin(x[i])


@kernel
def arccos_forward(x: Array, y: Array) -> None:
    """y = arccosine of x."""
    for i in range(x.size):
        y[i] = arccos(x[i])
