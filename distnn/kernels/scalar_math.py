"""exp, log, tanh, erf and their kin for one value, as polynomials that LLVM can vectorise.

float32: range reduction and polynomials of our own, a few 1e-7 relative, without libm, so that the bits are
the same on every CPU with fused multiply-add. float64 (gradient checks only): libm. The choice is made by
the argument's type when a kernel is compiled. Kernels call these by name: `exp(x)`, `tanh(x)`, ...
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.core import types
from numba.extending import overload

from distnn.kernels.bits import bits_float, float_bits
from distnn.kernels.jit import JIT_OPTIONS, helper

f32 = np.float32

_ZERO, _HALF, _ONE, _TWO = f32(0.0), f32(0.5), f32(1.0), f32(2.0)
_INFINITY, _NAN = f32(np.inf), f32(np.nan)

_LOG2_E = f32(1.44269504088896341)
# ln 2 as a sum: the first part has few bits, so that n times it is exact.
_LN2_HIGH, _LN2_LOW = f32(0.693359375), f32(-2.12194440e-4)
# Adding 1.5 * 2^23 rounds to the nearest integer and leaves it in the low bits.
_ROUNDER = f32(12582912.0)
_EXP_LOWEST, _EXP_HIGHEST = f32(-104.0), f32(89.0)
_EXPM1_LOWEST = f32(-18.0)
# (e^r - 1 - r) / r^2 on |r| <= ln 2 / 2
_E0, _E1, _E2 = f32(5.0000001201e-1), f32(1.6666665459e-1), f32(4.1665795894e-2)
_E3, _E4, _E5 = f32(8.3334519073e-3), f32(1.3981999507e-3), f32(1.9875691500e-4)


@helper
def _expm1_reduced(r: Any) -> Any:
    """e^r - 1 for |r| <= ln 2 / 2."""
    p = ((((_E5 * r + _E4) * r + _E3) * r + _E2) * r + _E1) * r + _E0
    return p * (r * r) + r


@helper
def _power_of_two(n: Any) -> Any:
    """2^n for an integer -126 <= n <= 127."""
    return bits_float((n + 127) << 23)


@helper
def exp_f32(x: Any) -> Any:
    """e^x; 0 below -104, infinity above 88.73, subnormal results rounded once."""
    clamped = _EXP_LOWEST if x < _EXP_LOWEST else x
    clamped = _EXP_HIGHEST if clamped > _EXP_HIGHEST else clamped
    shifted = clamped * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    r = (clamped - n * _LN2_HIGH) - n * _LN2_LOW
    p = _expm1_reduced(r) + _ONE
    # n reaches -150 and 128, which one factor cannot hold: two halves.
    bits = np.int32(float_bits(shifted) - np.int32(0x4B400000))
    half = np.int32(bits >> 1)
    return (p * _power_of_two(half)) * _power_of_two(np.int32(bits - half))


@helper
def expm1_f32(x: Any) -> Any:
    """e^x - 1, accurate near 0."""
    clamped = _EXPM1_LOWEST if x < _EXPM1_LOWEST else x
    clamped = _EXP_HIGHEST if clamped > _EXP_HIGHEST else clamped
    shifted = clamped * _LOG2_E + _ROUNDER
    n = shifted - _ROUNDER
    r = (clamped - n * _LN2_HIGH) - n * _LN2_LOW
    # 2^n (e^r - 1) + (2^n - 1), at half the size so that n = 128 fits.
    bits = np.int32(float_bits(shifted) - np.int32(0x4B400000))
    scale = _power_of_two(np.int32(bits - np.int32(1)))
    return (_expm1_reduced(r) * scale + (scale - _HALF)) * _TWO


_SMALLEST_NORMAL, _SUBNORMAL_SCALE = f32(1.17549435e-38), f32(33554432.0)
_SUBNORMAL_EXPONENT = f32(-25.0)
# (log(1 + m) - m + m^2 / 2) / m^3 on sqrt(1/2) <= 1 + m < sqrt(2)
_L0, _L1, _L2 = f32(3.3333331174e-1), f32(-2.4999993993e-1), f32(2.0000714765e-1)
_L3, _L4, _L5 = f32(-1.6668057665e-1), f32(1.4249322787e-1), f32(-1.2420140846e-1)
_L6, _L7, _L8 = f32(1.1676998740e-1), f32(-1.1514610310e-1), f32(7.0376836292e-2)
_SQRT_HALF_BITS = np.int32(0x3F3504F3)


@helper
def _log_normal(x: Any, added_exponent: Any) -> Any:
    """Logarithm of a positive, normal, finite x, times 2^added_exponent."""
    # x = 2^n (1 + m): take the exponent so that 1 + m lies between sqrt(1/2) and sqrt(2).
    bits = float_bits(x)
    n_bits = np.int32(np.int32(bits - _SQRT_HALF_BITS) >> 23)
    m = bits_float(bits - np.int32(n_bits << 23)) - _ONE
    n = np.float32(n_bits) + added_exponent
    p = ((_L8 * m + _L7) * m + _L6) * m + _L5
    p = (((p * m + _L4) * m + _L3) * m + _L2) * m
    p = ((p + _L1) * m + _L0) * m
    square = m * m
    tail = n * _LN2_LOW + (p * square - _HALF * square)
    return n * _LN2_HIGH + (m + tail)


@helper
def log_f32(x: Any) -> Any:
    """Natural logarithm; -infinity at 0, NaN below."""
    is_small = x < _SMALLEST_NORMAL
    result = _log_normal(x * _SUBNORMAL_SCALE if is_small else x, _SUBNORMAL_EXPONENT if is_small else _ZERO)
    result = x if not x < _INFINITY else result  # infinity and NaN stay
    return -_INFINITY if x == _ZERO else (_NAN if x < _ZERO else result)


@helper
def log1p_f32(x: Any) -> Any:
    """log(1 + x), accurate near 0."""
    u = x + _ONE
    lost = x - (u - _ONE)  # what rounding 1 + x dropped
    result = log_f32(u) + (lost / u if u > _ZERO else _ZERO)
    return x if not x < _INFINITY else result


_TANH_LIMIT = f32(7.99881172180175781)
_T1, _T3, _T5 = f32(4.89352455891786e-03), f32(6.37261928875436e-04), f32(1.48572235717979e-05)
_T7, _T9, _T11 = f32(5.12229709037114e-08), f32(-8.60467152213735e-11), f32(2.00018790482477e-13)
_T13 = f32(-2.76076847742355e-16)
_U0, _U2, _U4 = f32(4.89352518554385e-03), f32(2.26843463243900e-03), f32(1.18534705686654e-04)
_U6 = f32(1.19825839466702e-06)


@helper
def tanh_f32(x: Any) -> Any:
    """Hyperbolic tangent: a quotient of two polynomials."""
    clamped = _TANH_LIMIT if x > _TANH_LIMIT else x
    clamped = -_TANH_LIMIT if clamped < -_TANH_LIMIT else clamped
    s = clamped * clamped
    p = ((((((_T13 * s + _T11) * s + _T9) * s + _T7) * s + _T5) * s + _T3) * s + _T1) * clamped
    q = ((_U6 * s + _U4) * s + _U2) * s + _U0
    return p / q


_ERF_LIMIT = f32(3.9)
_A1, _A3, _A5 = f32(-1.60960333262415e-02), f32(-2.95459980854025e-03), f32(-7.34990630326855e-04)
_A7, _A9, _A11 = f32(-5.69250639462346e-05), f32(-2.10102402082508e-06), f32(2.77068142495902e-08)
_A13 = f32(-2.72614225801306e-10)
_B0, _B2, _B4 = f32(-1.42647390514189e-02), f32(-7.37332916720468e-03), f32(-1.68282697438203e-03)
_B6, _B8 = f32(-2.13374055278905e-04), f32(-1.45660718464996e-05)


@helper
def erf_f32(x: Any) -> Any:
    """Error function: a quotient of two polynomials."""
    clamped = _ERF_LIMIT if x > _ERF_LIMIT else x
    clamped = -_ERF_LIMIT if clamped < -_ERF_LIMIT else clamped
    s = clamped * clamped
    p = ((((((_A13 * s + _A11) * s + _A9) * s + _A7) * s + _A5) * s + _A3) * s + _A1) * clamped
    q = (((_B8 * s + _B6) * s + _B4) * s + _B2) * s + _B0
    return p / q


@helper
def sigmoid_f32(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return _ONE / (_ONE + exp_f32(-x))


@helper
def softplus_f32(x: Any) -> Any:
    """log(1 + e^x) without overflow."""
    e = exp_f32(-abs(x))
    u = e + _ONE  # between 1 and 2, so log's other cases are not needed
    lost = e - (u - _ONE)
    return (_ZERO if x < _ZERO else x) + (_log_normal(u, _ZERO) + lost / u)


@helper
def _sigmoid_f64(x: Any) -> Any:
    return 1.0 / (1.0 + math.exp(-x))


@helper
def _softplus_f64(x: Any) -> Any:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


def _python_f64(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """libm without its exceptions, as compiled code has it."""

    def call(x: Any) -> Any:
        with np.errstate(all="ignore"):
            return function(np.float64(x))

    return call


def _choose(x: Any, single: Callable[[Any], Any], double: Callable[[Any], Any]) -> Any:
    """Uncompiled: the function for the type of `x`."""
    if isinstance(x, np.float32):
        with np.errstate(all="ignore"):
            return single(x)
    return _python_f64(double)(x)


def exp(x: Any) -> Any:
    """e^x."""
    return _choose(x, exp_f32, np.exp)


def expm1(x: Any) -> Any:
    """e^x - 1."""
    return _choose(x, expm1_f32, np.expm1)


def log(x: Any) -> Any:
    """Natural logarithm."""
    return _choose(x, log_f32, np.log)


def log1p(x: Any) -> Any:
    """log(1 + x)."""
    return _choose(x, log1p_f32, np.log1p)


def tanh(x: Any) -> Any:
    """Hyperbolic tangent."""
    return _choose(x, tanh_f32, np.tanh)


def erf(x: Any) -> Any:
    """Error function."""
    return _choose(x, erf_f32, math.erf)


def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x)."""
    return _choose(x, sigmoid_f32, lambda x: 1.0 / (1.0 + np.exp(-x)))


def softplus(x: Any) -> Any:
    """log(1 + e^x)."""
    return _choose(x, softplus_f32, lambda x: np.maximum(x, 0.0) + np.log1p(np.exp(-np.abs(x))))


def _compile_as(function: Any, single: Any, double: Any) -> None:
    """Let kernels that call `function` use `single` for float32 and `double` for float64."""

    @overload(function, strict=False, jit_options=JIT_OPTIONS)  # type: ignore[untyped-decorator]
    def implementation(x: Any) -> Any:
        if x == types.float32:
            return single
        return (lambda x: double(x)) if x == types.float64 else None


_compile_as(exp, exp_f32, math.exp)
_compile_as(expm1, expm1_f32, math.expm1)
_compile_as(log, log_f32, math.log)
_compile_as(log1p, log1p_f32, math.log1p)
_compile_as(tanh, tanh_f32, math.tanh)
_compile_as(erf, erf_f32, math.erf)
_compile_as(sigmoid, sigmoid_f32, _sigmoid_f64)
_compile_as(softplus, softplus_f32, _softplus_f64)
