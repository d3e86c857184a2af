"""Pooling over one to three axes, channels last, and its converse: values repeated over a window."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import pooling as kernels
from distnn.kernels.windows import Windows, make_windows
from distnn.ops.activations import Relu
from distnn.ops.arguments import operand, shape_of
from distnn.ops.elementwise import cast
from distnn.ops.op import FIRST_OUTPUT, Bound, Op
from distnn.ops.products import matmul
from distnn.ops.selection import take
from distnn.ops.shapes import product, reshape
from distnn.ops.windows import as_sizes, checked_data_format, checked_padding, spatial_sizes
from distnn.tensor import Array, Shape, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


class _Pooling(Op):
    def __init__(self, windows: Windows) -> None:
        self.windows = windows

    def _bound(self, kernel: Callable[..., object], arrays: Sequence[Array], *rest: Any) -> Bound:
        sizes = np.array(self.windows.sizes, np.int64)
        return partial(kernel, *(array.reshape(-1) for array in arrays), sizes, arrays[0].shape[-1], *rest)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self.windows.taps * min(spec.size(samples) for spec in (*inputs, *outputs))


class MaxPool(_Pooling):
    """(y, chosen): the largest value of each window, and which of its taps that is.

    Args:
        is_rectified: y is relu of that. Programs make it so.
    """

    def __init__(self, windows: Windows, is_rectified: bool = False) -> None:
        super().__init__(windows)
        self.is_rectified = is_rectified

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        shape = inputs[0].shape
        made = (shape[0], *self.windows.outputs[-(len(shape) - 2) :], shape[-1])
        return Spec(made, inputs[0].dtype), Spec(made, "uint8" if self.windows.taps < 256 else "int32")

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        made = (array.reshape(-1) for array in outputs)
        return self._bound(kernels.max_pool, inputs, int(self.is_rectified), *made)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (MaxPoolGradient(self.windows, inputs[0].spec.shape)(doutputs[0], outputs[1]),)

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        if self.is_rectified or not isinstance(consumer, Relu):
            return None
        return MaxPool(self.windows, is_rectified=True)


class MaxPoolGradient(_Pooling):
    """dx from (dy, chosen): all of a window's gradient goes to the tap that was chosen.

    Args:
        shape: of dx.
    """

    def __init__(self, windows: Windows, shape: Shape) -> None:
        super().__init__(windows)
        self.shape = shape

    def infer(self, *inputs: Spec) -> Spec:
        return Spec(self.shape, inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        dx = outputs[0].reshape(-1)
        return self._bound(kernels.max_pool_gradient, inputs, self.windows.apartness, dx)

    def same_sums(self, inputs: Tensors) -> Tensor:
        return inputs[0]

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        return consumer.after_pooling(self.windows, sources.index(FIRST_OUTPUT))


class AveragePool(_Pooling):
    """The mean of each window, over its taps inside the image; or their sum."""

    def __init__(self, windows: Windows, is_mean: bool = True) -> None:
        super().__init__(windows)
        self.is_mean = is_mean

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        return Spec((shape[0], *self.windows.outputs[-(len(shape) - 2) :], shape[-1]), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return self._bound(kernels.average_pool, inputs, int(self.is_mean), outputs[0].reshape(-1))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (AveragePoolGradient(self.windows, self.is_mean)(doutputs[0]),)


class AveragePoolGradient(_Pooling):
    """The gradient of `AveragePool` from dy; by itself, values repeated over their windows."""

    def __init__(self, windows: Windows, is_mean: bool = True) -> None:
        super().__init__(windows)
        self.is_mean = is_mean

    def infer(self, *inputs: Spec) -> Spec:
        shape = inputs[0].shape
        return Spec((shape[0], *self.windows.inputs[-(len(shape) - 2) :], shape[-1]), inputs[0].dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        return self._bound(kernels.average_pool_gradient, inputs, int(self.is_mean), outputs[0].reshape(-1))

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        return (AveragePool(self.windows, self.is_mean)(doutputs[0]),)


def _pool_windows(inputs: Any, pool_size: Any, strides: Any, padding: Any, data_format: Any) -> Windows:
    checked_data_format(data_format)
    shape = shape_of(inputs)
    sizes = spatial_sizes(shape, "pooling")
    taps = as_sizes(pool_size, len(sizes), "pool_size")
    steps = taps if strides is None else as_sizes(strides, len(sizes), "strides")
    name = checked_padding(padding)
    windows = make_windows(sizes, taps, steps, (1,) * len(sizes), name)
    if min(windows.outputs) <= 0:
        raise ValueError(
            f"Computed output size would be zero or negative. Received: `inputs.shape={keras_shape(shape)}`, "
            f"`pool_size={taps}`, `strides={steps}`, `padding={name}`."
        )
    return windows


def max_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """The largest value of each window of each channel.

    Of what relu gave the largest values are taken before it: relu does not change their order, and has less
    to do behind.

    Args:
        inputs: (batch, one to three axes, channels).
        pool_size: sizes of a window.
        strides: its steps; `pool_size` by default.
        padding: "valid" or "same"; what lies outside the image is left out.
        data_format: "channels_last" or None.
    """
    x = cast(operand(inputs), "float32")
    pool = MaxPool(_pool_windows(x, pool_size, strides, padding, data_format))
    if x.node is not None and isinstance(x.node.op, Relu):
        return x.node.op(pool(x.node.inputs[0])[0])
    return pool(x)[0]


def average_pool(
    inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: str | None = None
) -> Any:
    """The mean of each window of each channel; arguments as in `max_pool`."""
    x = cast(operand(inputs), "float32")
    return AveragePool(_pool_windows(x, pool_size, strides, padding, data_format))(x)


def repeat_over_windows(inputs: Any, size: Any) -> Any:
    """Each value `size` times along the axes between the batch's and the channels'."""
    x = cast(operand(inputs), "float32")
    sizes = spatial_sizes(shape_of(x), "upsampling")
    factors = as_sizes(size, len(sizes), "size")
    large = [length * factor for length, factor in zip(sizes, factors, strict=True)]
    return AveragePoolGradient(make_windows(large, factors, factors, (1,) * len(sizes), "valid"), False)(x)


def _adaptive_bounds(size: int, outputs: int) -> list[tuple[int, int]]:
    """[first, stop) of the near-equal windows that cover an axis; they meet where the sizes do not fit."""
    return [(i * size // outputs, -(-(i + 1) * size // outputs)) for i in range(outputs)]


def _adaptive_sizes(
    inputs: Any, output_size: Any, data_format: str | None
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    checked_data_format(data_format)
    sizes = spatial_sizes(shape_of(inputs), "adaptive pooling")
    return sizes, as_sizes(output_size, len(sizes), "output_size")


def adaptive_max_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The largest value of each of `output_size` near-equal windows of each channel.

    Args:
        inputs: (batch, one to three axes, channels).
        output_size: windows along each axis.
        data_format: "channels_last" or None.
    """
    x = cast(operand(inputs), "float32")
    sizes, outputs = _adaptive_sizes(x, output_size, data_format)
    taps = []
    for axis, (size, count) in enumerate(zip(sizes, outputs, strict=True), 1):
        bounds = _adaptive_bounds(size, count)
        taps.append(max(stop - first for first, stop in bounds))
        if taps[-1] * count != size:
            # Windows side by side; a shorter one has its last value twice, which is no larger than itself.
            places = [min(first + tap, stop - 1) for first, stop in bounds for tap in range(taps[-1])]
            x = take(x, np.array(places, np.int32), axis=axis)
    return max_pool(x, tuple(taps))


def adaptive_average_pool(inputs: Any, output_size: Any, data_format: str | None = None) -> Any:
    """The mean of each of `output_size` near-equal windows; arguments as in `adaptive_max_pool`."""
    x = cast(operand(inputs), "float32")
    sizes, outputs = _adaptive_sizes(x, output_size, data_format)
    if all(size % count == 0 for size, count in zip(sizes, outputs, strict=True)):
        return average_pool(x, tuple(size // count for size, count in zip(sizes, outputs, strict=True)))
    for axis, (size, count) in enumerate(zip(sizes, outputs, strict=True), 1):
        weights = np.zeros((count, size), x.dtype if isinstance(x, np.ndarray) else np.float64)
        for row, (first, stop) in zip(weights, _adaptive_bounds(size, count), strict=True):
            row[first:stop] = 1.0 / (stop - first)
        shape = shape_of(x)
        flat = reshape(x, (product(shape[:axis]), size, product(shape[axis + 1 :])))
        x = reshape(matmul(weights, flat), (*shape[:axis], count, *shape[axis + 1 :]))
    return x
