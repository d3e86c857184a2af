"""Values picked by index, added up by index, and put in order.

An index below 0 counts from the end. One out of range picks NaN (0 of integers), and is left out of a sum.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import selection as kernels
from distnn.ops.arguments import normalized_axes, operand, shape_of
from distnn.ops.comparison import cast
from distnn.ops.elementwise import add, multiply
from distnn.ops.op import Bound, Op
from distnn.ops.reductions import _outer_reduced_inner
from distnn.ops.shapes import Slice, broadcast_to, check_static_axis, get_item, reshape
from distnn.tensor import Array, Batch, Shape, Spec, Tensor, keras_shape, size_of

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def _outside(x: Array, value: float) -> float:
    return value if x.dtype.kind == "f" else 0.0


class Take(Op):
    """x at int32 places along an axis, from (x, indices); the indices' axes stand in place of that axis.

    Args:
        axis: not negative, not the batch's.
        outside: what an index out of range gives.
    """

    def __init__(self, axis: int, outside: float = math.nan) -> None:
        self.axis, self.outside = axis, outside

    def infer(self, *inputs: Spec) -> Spec:
        x, index = inputs[0].shape, inputs[1].shape
        check_static_axis(x, self.axis, "take")
        shape = (*x[: self.axis], *index, *x[self.axis + 1 :])
        if size_of(shape)[1] > 1:
            raise ValueError(
                f"take: values of shape {keras_shape(x)} and indices of shape {keras_shape(index)} both have "
                "the batch axis; take_along_axis picks for each sample"
            )
        return Spec(shape, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, index = _outer_reduced_inner(inputs[0], (self.axis,)), inputs[1].reshape(-1)
        out = outputs[0].reshape(x.shape[0], index.size, x.shape[2])
        return partial(kernels.take_axis, x, index, _outside(x, self.outside), out)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return ScatterAdd(self.axis, inputs[0].spec.shape)(doutputs[0], inputs[1]), None


class ScatterAdd(Op):
    """Zeros of a shape, and values added to them at int32 places along an axis, from (values, indices).

    Args:
        axis: not negative; in the values the indices' axes stand in its place.
        shape: of the result.
    """

    def __init__(self, axis: int, shape: Shape) -> None:
        self.axis, self.shape = axis, tuple(shape)

    def infer(self, *inputs: Spec) -> Spec:
        index = inputs[1].shape
        wanted = (*self.shape[: self.axis], *index, *self.shape[self.axis + 1 :])
        if inputs[0].shape != wanted:
            raise ValueError(
                f"values of shape {keras_shape(inputs[0].shape)} cannot be added at indices of shape "
                f"{keras_shape(index)}; expected {keras_shape(wanted)}"
            )
        return Spec(self.shape, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        out, index = _outer_reduced_inner(outputs[0], (self.axis,)), inputs[1].reshape(-1)
        values = inputs[0].reshape(out.shape[0], index.size, out.shape[2])
        return partial(kernels.scatter_add_axis, values, index, out)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return Take(self.axis, 0.0)(doutputs[0], inputs[1]), None

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return inputs[0].size(samples)


class TakeAlongAxis(Op):
    """x at a place of its own for each result, along an axis, from (x, int32 indices)."""

    def __init__(self, axis: int, outside: float = math.nan) -> None:
        self.axis, self.outside = axis, outside

    def infer(self, *inputs: Spec) -> Spec:
        x, index = inputs[0].shape, inputs[1].shape
        check_static_axis(x, self.axis, "take_along_axis")
        if len(x) != len(index) or any(
            left != right for i, (left, right) in enumerate(zip(x, index, strict=True)) if i != self.axis
        ):
            raise ValueError(
                f"take_along_axis: indices of shape {keras_shape(index)} do not fit values of shape "
                f"{keras_shape(x)}: all axes but {self.axis} must agree"
            )
        return Spec(index, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, index, out = (_outer_reduced_inner(a, (self.axis,)) for a in (*inputs, outputs[0]))
        return partial(kernels.take_along_axis, x, index, _outside(x, self.outside), out)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return ScatterAddAlongAxis(self.axis, inputs[0].spec.shape)(doutputs[0], inputs[1]), None


class ScatterAddAlongAxis(Op):
    """Zeros of a shape, and each value added at its own place along an axis, from (values, int32 indices)."""

    def __init__(self, axis: int, shape: Shape) -> None:
        self.axis, self.shape = axis, tuple(shape)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(self.shape, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        values, index, out = (_outer_reduced_inner(a, (self.axis,)) for a in (*inputs, outputs[0]))
        return partial(kernels.scatter_add_along_axis, values, index, out)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return TakeAlongAxis(self.axis, 0.0)(doutputs[0], inputs[1]), None


class Argsort(Op):
    """Places of the values along an axis in order, int32; no gradient.

    Args:
        axis: not negative, not the batch's.
        is_falling: the largest first.
    """

    def __init__(self, axis: int, is_falling: bool = False) -> None:
        self.axis, self.is_falling = axis, is_falling

    def infer(self, *inputs: Spec) -> Spec:
        check_static_axis(inputs[0].shape, self.axis, "sorting")
        return Spec(inputs[0].shape, "int32")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, out = (_outer_reduced_inner(array, (self.axis,)) for array in (inputs[0], outputs[0]))
        scratch = np.empty((2, x.shape[1]), np.int32)
        return partial(kernels.argsort_axis, x, self.is_falling, scratch, out)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        size = inputs[0].concrete(samples)[self.axis]
        return inputs[0].size(samples) * max(1, (size - 1).bit_length())


def _axis_of(x: Any, axis: int) -> int:
    return normalized_axes(axis, len(shape_of(x)))[0]


def take(x: Any, indices: Any, axis: int | None = None) -> Any:
    """x at `indices` along `axis`; of all values in their order for None."""
    value = operand(x)
    if axis is None:
        value, axis = reshape(value, (-1,)), 0
    return Take(_axis_of(value, axis))(value, cast(indices, "int32"))


def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Any:
    """For each result x at its own index along `axis`; indices broadcast along the others.

    Without an axis both are taken as one row of values.
    """
    value, index = operand(x), cast(indices, "int32")
    if axis is None:
        value, index, axis = reshape(value, (-1,)), reshape(index, (-1,)), 0
    place = _axis_of(value, axis)
    shape = shape_of(value)
    wanted = tuple(shape_of(index)[i] if i == place else dim for i, dim in enumerate(shape))
    return TakeAlongAxis(place)(value, broadcast_to(index, wanted))


def segment_sum(data: Any, segment_ids: Any, num_segments: int) -> Any:
    """Sums of the rows of `data` that have the same number; rows with a number out of range count nowhere."""
    value = operand(data)
    rest = shape_of(value)[1:]
    return ScatterAdd(0, (num_segments, *rest))(value, cast(segment_ids, "int32"))


def scatter(indices: Any, values: Any, shape: Sequence[int]) -> Any:
    """Zeros of `shape` with `values` added at `indices`, whose last axis holds the places of each."""
    index, value = cast(indices, "int32"), operand(values)
    depth = shape_of(index)[-1]
    if isinstance(depth, Batch) or not 0 < depth <= len(shape):
        raise ValueError(
            f"scatter: indices of shape {keras_shape(shape_of(index))} do not fit {tuple(shape)}"
        )
    leading, rest = shape_of(index)[:-1], tuple(shape[depth:])
    flat: Any = None
    for i in range(depth):
        part = reshape(Slice(len(leading), i, i + 1)(index), leading)
        flat = part if flat is None else add(multiply(flat, shape[i]), part)
    rows = int(np.prod(shape[:depth], dtype=np.int64))
    return reshape(ScatterAdd(0, (rows, *rest))(value, flat), tuple(shape))


def argsort(x: Any, axis: int | None = -1) -> Any:
    """Places of the values in rising order, int32; equals keep their order, NaN comes last."""
    value = operand(x)
    if axis is None:
        value, axis = reshape(value, (-1,)), 0
    return Argsort(_axis_of(value, axis))(value)


def sort(x: Any, axis: int | None = -1) -> Any:
    """The values in rising order along `axis`; of all of them for None."""
    value = operand(x)
    if axis is None:
        value, axis = reshape(value, (-1,)), 0
    return take_along_axis(value, argsort(value, axis), axis)


def top_k(x: Any, k: int, sorted: bool = True) -> tuple[Any, Any]:  # noqa: A002  (Keras's name)
    """The k largest along the last axis and their places (int32); of equals the first come first."""
    value = operand(x)
    axis = len(shape_of(value)) - 1
    size = shape_of(value)[axis]
    if not isinstance(size, int) or not 0 < k <= size:
        raise ValueError(f"`k` must be between 1 and the last axis's size {size}. Received: k={k}")
    places = get_item(Argsort(axis, True)(value), (Ellipsis, slice(0, k)))
    return TakeAlongAxis(axis)(value, places), places
