"""Comparisons, logic and dtypes: element by element, without a gradient (but for casts between floats)."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

import numpy as np

from distnn.kernels.stepping import copy_values
from distnn.ops.arguments import operand, operands
from distnn.ops.op import Bound, Op
from distnn.tensor import Array, Spec, Tensor, broadcast_shapes


class _Comparison(Op):
    """A ufunc of two operands of one dtype that gives booleans."""

    ufunc: ClassVar[Any]

    def infer(self, *inputs: Spec) -> Spec:
        shape = broadcast_shapes(inputs[0].shape, inputs[1].shape, f"operands of {self.name}")
        return Spec(shape, "bool")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(self.ufunc, inputs[0], inputs[1], out=outputs[0])


class Equal(_Comparison):
    ufunc = np.equal


class NotEqual(_Comparison):
    ufunc = np.not_equal


class Greater(_Comparison):
    ufunc = np.greater


class GreaterEqual(_Comparison):
    ufunc = np.greater_equal


class Less(_Comparison):
    ufunc = np.less


class LessEqual(_Comparison):
    ufunc = np.less_equal


class LogicalAnd(_Comparison):
    ufunc = np.logical_and


class LogicalOr(_Comparison):
    ufunc = np.logical_or


class LogicalNot(Op):
    """Whether x is false."""

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return partial(np.logical_not, inputs[0], out=outputs[0])


class Cast(Op):
    """Another dtype; floats to int32 are cut towards zero. Gradients pass between floats only."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(inputs[0].shape, self.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        if outputs[0].dtype.kind == "f":
            return partial(copy_values, inputs[0].reshape(-1), outputs[0].reshape(-1))
        return partial(np.copyto, outputs[0], inputs[0], "unsafe")


def equal(x1: Any, x2: Any) -> Any:
    """x1 == x2, element by element."""
    return Equal()(*operands(x1, x2))


def not_equal(x1: Any, x2: Any) -> Any:
    """x1 != x2, element by element."""
    return NotEqual()(*operands(x1, x2))


def greater(x1: Any, x2: Any) -> Any:
    """x1 > x2, element by element."""
    return Greater()(*operands(x1, x2))


def greater_equal(x1: Any, x2: Any) -> Any:
    """x1 >= x2, element by element."""
    return GreaterEqual()(*operands(x1, x2))


def less(x1: Any, x2: Any) -> Any:
    """x1 < x2, element by element."""
    return Less()(*operands(x1, x2))


def less_equal(x1: Any, x2: Any) -> Any:
    """x1 <= x2, element by element."""
    return LessEqual()(*operands(x1, x2))


def logical_and(x1: Any, x2: Any) -> Any:
    """Whether both are true (numbers: not 0)."""
    return LogicalAnd()(cast(x1, "bool"), cast(x2, "bool"))


def logical_or(x1: Any, x2: Any) -> Any:
    """Whether one is true (numbers: not 0)."""
    return LogicalOr()(cast(x1, "bool"), cast(x2, "bool"))


def logical_not(x: Any) -> Any:
    """Whether x is false (numbers: 0)."""
    return LogicalNot()(cast(x, "bool"))


def cast(x: Any, dtype: str) -> Any:
    """x as "float32", "int32" or "bool"; "float32" keeps float64 arrays as they are."""
    if dtype not in ("float32", "int32", "bool"):
        raise ValueError(f"`dtype` must be 'float32', 'int32' or 'bool'. Received: {dtype!r}")
    value = operand(x)
    if isinstance(value, Tensor):
        return value if value.spec.dtype == dtype else Cast(dtype)(value)
    keeps = dtype == "float32" and value.dtype == np.float64
    return value if keeps else value.astype(dtype, copy=False)
