"""More arithmetic of two operands, tests for NaN and infinity, and what is made of these."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.ops.arguments import operands
from distnn.ops.comparison import (
    _Comparison,
    cast,
    equal,
    less,
    less_equal,
    logical_not,
    logical_or,
    not_equal,
)
from distnn.ops.elementwise import _Binary, add, divide, log1p, maximum, multiply, negative, subtract, where
from distnn.ops.elementwise import abs as magnitude
from distnn.ops.elementwise import exp as exp_of
from distnn.ops.unary import floor
from distnn.tensor import Tensor


class Mod(_Binary):
    """The remainder of x / y, with y's sign."""

    ufunc = np.mod

    def partials(self, x: Tensor, y: Tensor, out: Tensor, dout: Tensor) -> tuple[Tensor, Tensor]:
        return dout, negative(multiply(dout, floor(divide(x, y))))


class LogicalXor(_Comparison):
    ufunc = np.logical_xor


def mod(x1: Any, x2: Any) -> Any:
    """The remainder of x1 / x2, with x2's sign."""
    return Mod()(*operands(x1, x2))


def floor_divide(x1: Any, x2: Any) -> Any:
    """The largest whole number not above x1 / x2, as a float; no gradient passes."""
    return floor(divide(x1, x2))


def true_divide(x1: Any, x2: Any) -> Any:
    """x1 / x2, as floats."""
    return divide(x1, x2)


def logical_xor(x1: Any, x2: Any) -> Any:
    """Whether exactly one is true (numbers: not 0)."""
    return LogicalXor()(cast(x1, "bool"), cast(x2, "bool"))


def isnan(x: Any) -> Any:
    """Whether x is NaN."""
    value = cast(x, "float32")
    return not_equal(value, value)


def isinf(x: Any) -> Any:
    """Whether x is infinite, of either sign."""
    return equal(magnitude(cast(x, "float32")), float("inf"))


def isfinite(x: Any) -> Any:
    """Whether x is neither infinite nor NaN."""
    return less(magnitude(cast(x, "float32")), float("inf"))


def isclose(x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False) -> Any:
    """Whether |x1 - x2| <= atol + rtol |x2|, or both are the same infinity."""
    x, y = (cast(value, "float32") for value in operands(x1, x2))
    allowed = add(multiply(magnitude(y), rtol), atol)
    distance = magnitude(subtract(x, where(isfinite(y), y, 0.0)))  # no infinity minus another
    near = where(isfinite(y), less_equal(distance, allowed), False)
    close = logical_or(near, equal(x, y))
    if equal_nan:
        close = logical_or(close, logical_not(logical_or(equal(x, x), equal(y, y))))
    return close


def nan_to_num(x: Any, nan: float = 0.0) -> Any:
    """x with `nan` in place of NaN."""
    value = cast(x, "float32")
    return where(isnan(value), nan, value)


def logaddexp(x1: Any, x2: Any) -> Any:
    """log(e^x1 + e^x2)."""
    x1, x2 = (cast(value, "float32") for value in operands(x1, x2))
    return add(maximum(x1, x2), log1p(exp_of(negative(magnitude(subtract(x1, x2))))))
