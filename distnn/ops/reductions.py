"""Sums, means, extremes and their places over axes.

Floats are summed in an order that depends on no vector width (see `distnn.kernels.reductions`); axes that
are not neighbours are reduced one run of neighbours after the other, the last first.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, ClassVar

import numpy as np

from distnn.kernels import reductions as kernels
from distnn.ops.arguments import normalized_axes, operand, shape_of
from distnn.ops.elementwise import cast
from distnn.ops.op import Bound, Op
from distnn.ops.shapes import reshape
from distnn.tensor import Array, Shape, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def _outer_reduced_inner(x: Array, axes: tuple[int, ...]) -> Array:
    """`x` with the neighbouring `axes` as its middle axis of three."""
    first, last = axes[0], axes[-1]
    sizes = [int(np.prod(part, dtype=np.int64)) for part in (x.shape[:first], x.shape[last + 1 :])]
    return x.reshape(sizes[0], -1 if x.size else 0, sizes[1])


class _Reduction(Op):
    """Reduces neighbouring axes, which go away."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def infer(self, *inputs: Spec) -> Spec:
        kept = tuple(dim for i, dim in enumerate(inputs[0].shape) if i not in self.axes)
        return Spec(kept, inputs[0].dtype)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return inputs[0].size(samples)


class Sum(_Reduction):
    """The sum."""

    kernel: ClassVar[Callable[..., object]] = staticmethod(kernels.sum_axis)
    is_mean: ClassVar[bool] = False

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        if inputs[0].dtype.kind != "f":
            return partial(np.add.reduce, inputs[0], axis=self.axes, out=outputs[0])
        x = _outer_reduced_inner(inputs[0], self.axes)
        return partial(self.kernel, x, outputs[0].reshape(x.shape[0], x.shape[2]))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (Spread(inputs[0].spec.shape, self.axes, self.is_mean)(doutputs[0]),)


class Mean(Sum):
    """The sum divided by the number of values."""

    kernel = staticmethod(kernels.mean_axis)
    is_mean = True


class Spread(Op):
    """x repeated along neighbouring axes that it lacks: the gradient of a sum, or of a mean.

    Args:
        shape: of the result.
        axes: the axes x lacks.
        is_mean: whether to divide by the number of repetitions.
    """

    def __init__(self, shape: Shape, axes: tuple[int, ...], is_mean: bool) -> None:
        self.shape, self.axes, self.is_mean = shape, axes, is_mean

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(self.shape, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        out = _outer_reduced_inner(outputs[0], self.axes)
        factor = 1.0 / out.shape[1] if self.is_mean else 1.0
        return partial(kernels.broadcast_axis, inputs[0].reshape(out.shape[0], out.shape[2]), factor, out)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return ((Mean if self.is_mean else Sum)(self.axes)(doutputs[0]),)


class Max(_Reduction):
    """The largest value; NaN if one is. Its gradient is shared equally among equals."""

    kernel: ClassVar[Callable[..., object]] = staticmethod(kernels.max_axis)
    ufunc: ClassVar[np.ufunc] = np.maximum

    def infer(self, *inputs: Spec) -> Spec:
        if builtins.any(inputs[0].shape[axis] == 0 for axis in self.axes):
            raise ValueError(f"{self.name} of no values: shape {keras_shape(inputs[0].shape)}")
        return super().infer(*inputs)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        if inputs[0].dtype.kind != "f":
            return partial(self.ufunc.reduce, inputs[0], axis=self.axes, out=outputs[0])
        x = _outer_reduced_inner(inputs[0], self.axes)
        return partial(self.kernel, x, outputs[0].reshape(x.shape[0], x.shape[2]))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (ExtremeGradient(self.axes)(inputs[0], outputs[0], doutputs[0]),)


class Min(Max):
    """The smallest value; NaN if one is. Its gradient is shared equally among equals."""

    kernel = staticmethod(kernels.min_axis)
    ufunc = np.minimum


class ExtremeGradient(Op):
    """From (x, y, dy): dy where x equals the extreme y, shared equally."""

    def __init__(self, axes: tuple[int, ...]) -> None:
        self.axes = axes

    def infer(self, *inputs: Spec) -> Spec:
        return inputs[0]

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x = _outer_reduced_inner(inputs[0], self.axes)
        y, dy = (array.reshape(x.shape[0], x.shape[2]) for array in inputs[1:])
        return partial(kernels.extreme_gradient, x, y, dy, outputs[0].reshape(x.shape))


class Argmax(Max):
    """Where the first largest value lies, int32; no gradient."""

    kernel = staticmethod(kernels.argmax_axis)

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(super().infer(*inputs).shape, "int32")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x = _outer_reduced_inner(inputs[0], self.axes)
        return partial(self.kernel, x, outputs[0].reshape(x.shape[0], x.shape[2]))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (None,)


class Argmin(Argmax):
    """Where the first smallest value lies, int32; no gradient."""

    kernel = staticmethod(kernels.argmin_axis)


def _reduce(op: Callable[[tuple[int, ...]], Op], x: Any, axis: Any, keepdims: bool) -> Any:
    shape = shape_of(x)
    axes = normalized_axes(axis, len(shape))
    result = x
    for run in _runs(axes)[::-1]:
        result = op(run)(result)
    if keepdims:
        return reshape(result, tuple(1 if i in axes else dim for i, dim in enumerate(shape)))
    return result


def _runs(axes: Sequence[int]) -> list[tuple[int, ...]]:
    """Sorted axes in runs of neighbours."""
    runs: list[list[int]] = []
    for axis in axes:
        if runs and runs[-1][-1] == axis - 1:
            runs[-1].append(axis)
        else:
            runs.append([axis])
    return [tuple(run) for run in runs]


def sum(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The sum over `axis` (None: all); booleans are counted."""
    value = operand(x)
    if str(value.dtype) == "bool":
        value = cast(value, "int32")
    return _reduce(Sum, value, axis, keepdims)


def mean(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The mean over `axis` (None: all), as a float."""
    return _reduce(Mean, cast(x, "float32"), axis, keepdims)


def var(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The mean of squared deviations from the mean."""
    from distnn.ops.elementwise import square, subtract

    value = cast(x, "float32")
    return mean(square(subtract(value, mean(value, axis, keepdims=True))), axis, keepdims)


def max(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The largest value over `axis` (None: all)."""
    return _reduce(Max, operand(x), axis, keepdims)


def min(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """The smallest value over `axis` (None: all)."""
    return _reduce(Min, operand(x), axis, keepdims)


def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the first largest value lies; of all values in their order for None."""
    return _place(Argmax, x, axis, keepdims)


def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the first smallest value lies; of all values in their order for None."""
    return _place(Argmin, x, axis, keepdims)


def _place(op: Callable[[tuple[int, ...]], Op], x: Any, axis: int | None, keepdims: bool) -> Any:
    value = operand(x)
    if str(value.dtype) == "bool":
        value = cast(value, "int32")
    return _reduce(op, value, axis, keepdims)


def any(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Whether one value over `axis` is true."""
    return cast(max(cast(cast(x, "bool"), "int32"), axis, keepdims), "bool")


def all(x: Any, axis: int | Sequence[int] | None = None, keepdims: bool = False) -> Any:
    """Whether every value over `axis` is true."""
    return cast(min(cast(cast(x, "bool"), "int32"), axis, keepdims), "bool")
