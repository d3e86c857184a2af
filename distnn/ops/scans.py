"""Running sums, and products over axes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import scans as kernels
from distnn.ops.arguments import normalized_axes, operand, shape_of
from distnn.ops.comparison import cast
from distnn.ops.op import Bound, Op
from distnn.ops.reductions import _outer_reduced_inner, _reduce, _Reduction
from distnn.ops.shapes import check_static_axis, reshape
from distnn.tensor import Array, Spec, Tensor

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


class Cumsum(Op):
    """Running sums along an axis that is not the batch's.

    Args:
        axis: not negative.
        is_backward: from the last value back.
    """

    def __init__(self, axis: int, is_backward: bool = False) -> None:
        self.axis, self.is_backward = axis, is_backward

    def infer(self, *inputs: Spec) -> Spec:
        check_static_axis(inputs[0].shape, self.axis, "running sums")
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x = _outer_reduced_inner(inputs[0], (self.axis,))
        return partial(kernels.cumsum_axis, x, self.is_backward, outputs[0].reshape(x.shape))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (Cumsum(self.axis, not self.is_backward)(doutputs[0]),)


class Prod(_Reduction):
    """The product."""

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        if inputs[0].dtype.kind != "f":
            return partial(np.multiply.reduce, inputs[0], axis=self.axes, out=outputs[0])
        x = _outer_reduced_inner(inputs[0], self.axes)
        return partial(kernels.prod_axis, x, outputs[0].reshape(x.shape[0], x.shape[2]))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (ProdGradient(self.axes)(inputs[0], doutputs[0]),)


class ProdGradient(Op):
    """From (x, dy)."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x = _outer_reduced_inner(inputs[0], self.axes)
        dy = inputs[1].reshape(x.shape[0], x.shape[2])
        return partial(kernels.prod_gradient, x, dy, outputs[0].reshape(x.shape))


def cumsum(x: Any, axis: int | None = None) -> Any:
    """Running sums along `axis`; of all values in their order for None."""
    value = operand(x)
    if str(value.dtype) == "bool":
        value = cast(value, "int32")
    if axis is None:
        value, axis = reshape(value, (-1,)), 0
    return Cumsum(normalized_axes(axis, len(shape_of(value)))[0])(value)


def prod(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The product over `axis` (None: all)."""
    value = operand(x)
    if str(value.dtype) == "bool":
        value = cast(value, "int32")
    return _reduce(Prod, value, axis, keepdims)
