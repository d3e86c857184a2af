"""Functions of one value: circles and angles, whole numbers, the error function.

Their kernels are polynomials of our own and correctly rounded operations: no libm in a step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from distnn.kernels import elementwise as kernels
from distnn.kernels import trigonometry
from distnn.ops.elementwise import (
    _Unary,
    add,
    cast,
    divide,
    exp,
    log,
    log1p,
    multiply,
    negative,
    rsqrt,
    sign,
    sqrt,
    square,
    subtract,
)
from distnn.ops.elementwise import abs as magnitude
from distnn.tensor import Spec, Tensor


class _Kernel(_Unary):
    """Of a kernel over 1-D arrays."""

    is_kernel = True

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 20 * outputs[0].size(samples)


class Sin(_Kernel):
    function = staticmethod(trigonometry.sin_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(dy, cos(x))


class Cos(_Kernel):
    function = staticmethod(trigonometry.cos_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return negative(multiply(dy, sin(x)))


class Tan(_Kernel):
    function = staticmethod(trigonometry.tan_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(dy, add(square(y), 1.0))


class Arctan(_Kernel):
    function = staticmethod(trigonometry.arctan_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return divide(dy, add(square(x), 1.0))


class Arcsin(_Kernel):
    function = staticmethod(trigonometry.arcsin_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(dy, rsqrt(subtract(1.0, square(x))))


class Arccos(_Kernel):
    function = staticmethod(trigonometry.arccos_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return negative(multiply(dy, rsqrt(subtract(1.0, square(x)))))


class Expm1(_Kernel):
    function = staticmethod(kernels.expm1_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(dy, add(y, 1.0))


class Erf(_Kernel):
    function = staticmethod(kernels.erf_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return multiply(multiply(dy, 2.0 / math.sqrt(math.pi)), exp(negative(square(x))))


class Floor(_Kernel):
    """No gradient passes."""

    function = staticmethod(kernels.floor_forward)

    def derivative(self, x: Tensor, y: Tensor, dy: Tensor) -> Any:
        return None


class Ceil(Floor):
    """No gradient passes."""

    function = staticmethod(kernels.ceil_forward)


class Round(Floor):
    """To the nearest whole number, the even one of two; no gradient passes."""

    function = staticmethod(kernels.round_forward)


def sin(x: Any) -> Any:
    """Sine, within 1e-7 relative up to a million."""
    return Sin()(cast(x, "float32"))


def cos(x: Any) -> Any:
    """Cosine, within 1e-7 relative up to a million."""
    return Cos()(cast(x, "float32"))


def tan(x: Any) -> Any:
    """Tangent."""
    return Tan()(cast(x, "float32"))


def arctan(x: Any) -> Any:
    """The angle between -pi/2 and pi/2 of this tangent."""
    return Arctan()(cast(x, "float32"))


def arcsin(x: Any) -> Any:
    """The angle between -pi/2 and pi/2 of this sine; NaN outside [-1, 1]."""
    return Arcsin()(cast(x, "float32"))


def arccos(x: Any) -> Any:
    """The angle between 0 and pi of this cosine; NaN outside [-1, 1]."""
    return Arccos()(cast(x, "float32"))


def expm1(x: Any) -> Any:
    """e^x - 1, accurate near 0."""
    return Expm1()(cast(x, "float32"))


def erf(x: Any) -> Any:
    """The error function."""
    return Erf()(cast(x, "float32"))


def sinh(x: Any) -> Any:
    """Hyperbolic sine, accurate near 0."""
    grown = expm1(x)
    return multiply(add(grown, divide(grown, add(grown, 1.0))), 0.5)


def cosh(x: Any) -> Any:
    """Hyperbolic cosine."""
    value = cast(x, "float32")
    return multiply(add(exp(value), exp(negative(value))), 0.5)


def arcsinh(x: Any) -> Any:
    """The inverse of `sinh`."""
    value = cast(x, "float32")
    size = magnitude(value)
    squares = square(size)
    # log(s + sqrt(1 + s^2)), accurate near 0
    grown = log1p(add(size, divide(squares, add(sqrt(add(squares, 1.0)), 1.0))))
    return multiply(sign(value), grown)


def arccosh(x: Any) -> Any:
    """The inverse of `cosh`, for x of 1 or more; NaN below."""
    value = cast(x, "float32")
    return log(add(value, sqrt(multiply(subtract(value, 1.0), add(value, 1.0)))))


def arctanh(x: Any) -> Any:
    """The inverse of `tanh`; NaN outside [-1, 1]."""
    value = cast(x, "float32")
    return multiply(subtract(log1p(value), log1p(negative(value))), 0.5)


def log2(x: Any) -> Any:
    """Logarithm to the base 2."""
    return multiply(log(x), 1.0 / math.log(2.0))


def log10(x: Any) -> Any:
    """Logarithm to the base 10."""
    return multiply(log(x), 1.0 / math.log(10.0))


def exp2(x: Any) -> Any:
    """2^x."""
    return exp(multiply(cast(x, "float32"), math.log(2.0)))


def floor(x: Any) -> Any:
    """The largest whole number not above x, as a float; no gradient passes."""
    return Floor()(cast(x, "float32"))


def ceil(x: Any) -> Any:
    """The smallest whole number not below x, as a float; no gradient passes."""
    return Ceil()(cast(x, "float32"))


def round(x: Any, decimals: int = 0) -> Any:  # noqa: A001  (Keras's name)
    """To the nearest number of so many decimals, halves to the even one; no gradient passes."""
    if decimals == 0:
        return Round()(cast(x, "float32"))
    scale = 10.0**decimals
    return divide(Round()(multiply(cast(x, "float32"), scale)), scale)


def trunc(x: Any) -> Any:
    """Cut towards zero; no gradient passes."""
    value = cast(x, "float32")
    return multiply(sign(value), floor(magnitude(value)))
