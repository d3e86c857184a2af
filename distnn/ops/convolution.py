"""Convolutions over one to three axes, channels last, and transposed ones.

Three ops are closed under differentiation: the convolution, its gradient by the input (which is the
transposed convolution) and its gradient by the weights. Each has a second output, scratch memory that nobody
reads, so that a program plans it with everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from distnn.kernels import convolution as kernels
from distnn.kernels import depthwise as depthwise_kernels
from distnn.kernels.windows import Windows, make_transposed_windows, make_windows
from distnn.ops.activations import BiasAdd, Relu
from distnn.ops.arguments import operands, shape_of
from distnn.ops.op import ELSEWHERE, FIRST_OUTPUT, Bound, Op
from distnn.ops.pooling import MaxPool
from distnn.ops.windows import as_sizes, checked_data_format, checked_padding, spatial_sizes
from distnn.tensor import Array, Dim, Shape, Spec, Tensor, keras_shape

Tensors = tuple[Tensor, ...]
Gradients = tuple[Tensor | None, ...]


def _known(dim: Dim) -> int:
    assert isinstance(dim, int)
    return dim


class _OverWindows(Op):
    """An op on images of any number of axes, which kernels see as three."""

    def __init__(self, windows: Windows, groups: int = 1) -> None:
        self.windows, self.groups = windows, groups

    def _images(self, array: Array, is_output: bool = False) -> Array:
        sizes = self.windows.outputs if is_output else self.windows.inputs
        return array.reshape(len(array), *sizes, array.shape[-1])

    def _pooled(self, array: Array) -> Array:
        """Of outputs pooled 2 x 2."""
        return array.reshape(len(array), *(1,) * (5 - array.ndim), *array.shape[1:])

    def _given(self, dy: Array, chosen: Array | None) -> tuple[Array, Array | None]:
        """A gradient as kernels see it; pooled, if there is `chosen`."""
        if chosen is None:
            return self._images(dy, is_output=True), None
        return self._pooled(dy), self._pooled(chosen)

    def _weights(self, array: Array) -> Array:
        return array.reshape(*self.windows.kernel, *array.shape[-2:])

    def _scratch(self, channels: int, filters: int) -> Spec:
        return Spec((kernels.workspace_floats(self.windows, channels, filters, self.groups),))

    def _weight_flops(self, samples: int, weights: Spec) -> int:
        return 2 * samples * self.windows.places * weights.size(samples)


class Convolution(_OverWindows):
    """(y, scratch) from (x, w): y at each window is the sum of what it reads times w."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        x, w = inputs
        rank, channels, filters = x.rank - 2, _known(x.shape[-1]), _known(w.shape[-1])
        y = (x.shape[0], *self.windows.outputs[-rank:], filters)
        return Spec(y, x.dtype), self._scratch(channels, filters)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, w = self._images(inputs[0]), self._weights(inputs[1])
        y = self._images(outputs[0], is_output=True)
        return kernels.bind_convolution(x, w, y, outputs[1], self.windows, self.groups)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (x, w), dy = inputs, doutputs[0]
        if dy is None:
            return None, None
        dx = ConvolutionInputGradient(self.windows, self.groups)(dy, w)[0]
        return dx, ConvolutionWeightGradient(self.windows, self.groups)(x, dy)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        is_bias = isinstance(consumer, BiasAdd) and sources == (FIRST_OUTPUT, ELSEWHERE)
        return BiasedConvolution(self.windows, self.groups) if is_bias else None


class BiasedConvolution(Convolution):
    """(y, scratch) from (x, w, bias): a convolution plus bias, then relu if `is_rectified`.

    Programs make it; it is never recorded.
    """

    def __init__(self, windows: Windows, groups: int = 1, is_rectified: bool = False) -> None:
        super().__init__(windows, groups)
        self.is_rectified = is_rectified

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        return super().infer(*inputs[:2])

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, w = self._images(inputs[0]), self._weights(inputs[1])
        y = self._images(outputs[0], is_output=True)
        finish = kernels.Finish(inputs[2], self.is_rectified)
        return kernels.bind_convolution(x, w, y, outputs[1], self.windows, self.groups, finish)

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        if self.is_rectified:
            return None
        if isinstance(consumer, MaxPool) and consumer.windows == kernels.pooling_of(self.windows):
            return PooledConvolution(self.windows, self.groups, consumer.is_rectified)
        is_relu = isinstance(consumer, Relu)
        return BiasedConvolution(self.windows, self.groups, is_rectified=True) if is_relu else None


class PooledConvolution(BiasedConvolution):
    """(y, chosen, scratch) from (x, w, bias): a convolution plus bias, pooled, then relu if `is_rectified`.

    Programs make it; it is never recorded.
    """

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        made, scratch = super().infer(*inputs)
        pool = kernels.pooling_of(self.windows)
        assert pool is not None
        return *MaxPool(pool).infer(made), scratch

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, w = self._images(inputs[0]), self._weights(inputs[1])
        y, chosen = (self._pooled(array) for array in outputs[:2])
        finish = kernels.Finish(inputs[2], self.is_rectified)
        return kernels.bind_convolution(x, w, y, outputs[2], self.windows, self.groups, finish, chosen)

    def fused_with(self, consumer: Op, sources: tuple[int, ...]) -> Op | None:
        if self.is_rectified or not isinstance(consumer, Relu):
            return None
        return PooledConvolution(self.windows, self.groups, is_rectified=True)


class ConvolutionInputGradient(_OverWindows):
    """(dx, scratch) from (dy, w): for each input the sum of dy times w over the windows that read it."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        dy, w = inputs
        rank, channels = dy.rank - 2, _known(w.shape[-2]) * self.groups
        dx = (dy.shape[0], *self.windows.inputs[-rank:], channels)
        return Spec(dx, dy.dtype), self._scratch(channels, _known(w.shape[-1]))

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        dy, w = self._images(inputs[0], is_output=True), self._weights(inputs[1])
        dx = self._images(outputs[0])
        return kernels.bind_input_gradient(dy, w, dx, outputs[1], self.windows, self.groups)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (dy, w), seed = inputs, doutputs[0]
        if seed is None:
            return None, None
        by_dy = Convolution(self.windows, self.groups)(seed, w)[0]
        return by_dy, ConvolutionWeightGradient(self.windows, self.groups)(seed, dy)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])

    def joined_with(self, other: Op, sources: tuple[int, ...]) -> Op | None:
        is_same = isinstance(other, ConvolutionWeightGradient) and vars(other) == vars(self)
        return ConvolutionGradients(self.windows, self.groups) if is_same and sources[1] == 0 else None


class ConvolutionGradients(_OverWindows):
    """(dx, scratch, dw) from (dy, w, x): both gradients. Programs make it; it is never recorded.

    With `is_pooled` from (dy, chosen, w, x), where dy is that of 2 x 2 pooling after the convolution.
    """

    def __init__(self, windows: Windows, groups: int = 1, is_pooled: bool = False) -> None:
        super().__init__(windows, groups)
        self.is_pooled = is_pooled

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        w, x = inputs[-2:]
        return x, self._scratch(_known(x.shape[-1]), _known(w.shape[-1])), w

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        dy, chosen = self._given(inputs[0], inputs[1] if self.is_pooled else None)
        w, x = self._weights(inputs[-2]), self._images(inputs[-1])
        dx, dw = self._images(outputs[0]), self._weights(outputs[2])
        return kernels.bind_gradients(x, w, dy, dx, dw, outputs[1], self.windows, self.groups, chosen)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return 2 * self._weight_flops(inputs[0].concrete(samples)[0], inputs[-2])

    def after_pooling(self, pool: Windows, place: int) -> Op | None:
        is_known = not self.is_pooled and place == 0 and pool == kernels.pooling_of(self.windows)
        return ConvolutionGradients(self.windows, self.groups, is_pooled=True) if is_known else None


class ConvolutionWeightGradient(_OverWindows):
    """(dw, scratch) from (x, dy): for each weight the sum over windows of what it meets times dy."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        x, dy = inputs
        channels, filters = _known(x.shape[-1]), _known(dy.shape[-1])
        dw: Shape = (*self.windows.kernel[-(x.rank - 2) :], channels // self.groups, filters)
        return Spec(dw, x.dtype), self._scratch(channels, filters)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        x, dy = self._images(inputs[0]), self._images(inputs[1], is_output=True)
        dw = self._weights(outputs[0])
        return kernels.bind_weight_gradient(x, dy, dw, outputs[1], self.windows, self.groups)

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (x, dy), seed = inputs, doutputs[0]
        if seed is None:
            return None, None
        dx = ConvolutionInputGradient(self.windows, self.groups)(dy, seed)[0]
        return dx, Convolution(self.windows, self.groups)(x, seed)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], outputs[0])

    def after_pooling(self, pool: Windows, place: int) -> Op | None:
        is_known = place == 1 and pool == kernels.pooling_of(self.windows)
        return PooledWeightGradient(self.windows, self.groups) if is_known else None


class PooledWeightGradient(_OverWindows):
    """(dw, scratch) from (dy, chosen, x), where dy is that of 2 x 2 pooling after the convolution.

    Programs make it; it is never recorded.
    """

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        dy, _, x = inputs
        return ConvolutionWeightGradient(self.windows, self.groups).infer(x, dy)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        (dy, chosen), x = self._given(*inputs[:2]), self._images(inputs[2])
        dw = self._weights(outputs[0])
        return kernels.bind_weight_gradient(x, dy, dw, outputs[1], self.windows, self.groups, chosen)

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[2].concrete(samples)[0], outputs[0])


class _Depthwise(_OverWindows):
    """Each channel by itself; kernels read flat arrays."""

    def _bound(self, kernel: Callable[..., object], channels: int, filters: int, *arrays: Array) -> Bound:
        first, second, *rest = (array.reshape(-1) for array in arrays)
        sizes = np.array(self.windows.sizes, np.int64)
        return partial(kernel, first, second, sizes, channels, filters, *rest)


class DepthwiseConvolution(_Depthwise):
    """y from (x, w [.., channels, filters of each]): the filters of a channel see that channel only."""

    def infer(self, *inputs: Spec) -> Spec:
        x, w = inputs
        made = _known(w.shape[-2]) * _known(w.shape[-1])
        return Spec((x.shape[0], *self.windows.outputs[-(x.rank - 2) :], made), x.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        channels, filters = inputs[1].shape[-2:]
        return self._bound(depthwise_kernels.depthwise, channels, filters, *inputs, outputs[0])

    def gradient(self, inputs: Tensors, outputs: Tensors, doutputs: Gradients) -> Gradients:
        (x, w), dy = inputs, doutputs[0]
        dx = DepthwiseInputGradient(self.windows)(dy, w)
        return dx, DepthwiseWeightGradient(self.windows)(x, dy)[0]

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])


class DepthwiseInputGradient(_Depthwise):
    """dx from (dy, w)."""

    def infer(self, *inputs: Spec) -> Spec:
        dy, w = inputs
        return Spec((dy.shape[0], *self.windows.inputs[-(dy.rank - 2) :], w.shape[-2]), dy.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        channels, filters = inputs[1].shape[-2:]
        return self._bound(depthwise_kernels.depthwise_input_gradient, channels, filters, *inputs, outputs[0])

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], inputs[1])


class DepthwiseWeightGradient(_Depthwise):
    """(dw, scratch) from (x, dy)."""

    def infer(self, *inputs: Spec) -> tuple[Spec, ...]:
        x, dy = inputs
        channels = _known(x.shape[-1])
        filters = _known(dy.shape[-1]) // channels
        dw = Spec((*self.windows.kernel[-(x.rank - 2) :], channels, filters), x.dtype)
        return dw, Spec((dw.size(1),), x.dtype)

    def bind(self, inputs: tuple[Array, ...], outputs: tuple[Array, ...], control: Array) -> Bound:
        channels, filters = outputs[0].shape[-2:]
        kernel = depthwise_kernels.depthwise_weight_gradient
        return self._bound(kernel, channels, filters, *inputs, outputs[1], outputs[0])

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], samples: int) -> int:
        return self._weight_flops(inputs[0].concrete(samples)[0], outputs[0])


# As users call them


def _checked_windows(
    x: Any, kernel: Any, strides: Any, padding: Any, data_format: Any, dilation_rate: Any
) -> Windows:
    """The windows of a convolution of x.

    Raises:
        ValueError: if ranks differ, or no window fits.
    """
    checked_data_format(data_format)
    shape, weights = shape_of(x), shape_of(kernel)
    sizes = spatial_sizes(shape, "a convolution")
    if len(weights) != len(shape):
        raise ValueError(
            "Kernel shape must have the same length as input, but received kernel of shape "
            f"{keras_shape(weights)} and input of shape {keras_shape(shape)}."
        )
    steps = as_sizes(strides, len(sizes), "strides")
    dilation = as_sizes(dilation_rate, len(sizes), "dilation_rate")
    allowed = ("valid", "same", "causal") if len(sizes) == 1 else ("valid", "same")
    name = checked_padding(padding, allowed)
    windows = make_windows(sizes, [_known(dim) for dim in weights[:-2]], steps, dilation, name)
    if min(windows.outputs) <= 0:
        raise ValueError(
            f"Computed output size would be zero or negative. Received `inputs shape={keras_shape(shape)}`, "
            f"`kernel shape={keras_shape(weights)}`, `dilation_rate={dilation}`, `strides={steps}`, "
            f"`padding={name}`."
        )
    return windows


def conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """The convolution of images with a kernel, over one to three axes.

    Args:
        inputs: (batch, sizes..., channels).
        kernel: (sizes..., channels of a group, filters); where it has fewer channels than the inputs, these
            are so many groups, and each makes its part of the filters.
        strides: steps of the window.
        padding: "valid", "same", or along one axis "causal".
        data_format: "channels_last" or None.
        dilation_rate: distance of a window's taps.
    """
    x, w = operands(inputs, kernel)
    windows = _checked_windows(x, w, strides, padding, data_format, dilation_rate)
    channels, of_group, filters = shape_of(x)[-1], shape_of(w)[-2], shape_of(w)[-1]
    groups = _known(channels) // max(1, _known(of_group))
    if _known(of_group) * groups != channels or groups == 0 or _known(filters) % groups:
        raise ValueError(
            "The number of input channels must be a multiple of the kernel's, and the number of filters of "
            f"their quotient, the groups. Received: inputs of shape {keras_shape(shape_of(x))}, kernel of "
            f"shape {keras_shape(shape_of(w))}."
        )
    return Convolution(windows, groups)(x, w)[0]


def depthwise_conv(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """A convolution of each channel by itself.

    Args:
        inputs: (batch, sizes..., channels).
        kernel: (sizes..., channels, filters of each channel).
        strides, padding, data_format, dilation_rate: as in `conv`.
    """
    x, w = operands(inputs, kernel)
    windows = _checked_windows(x, w, strides, padding, data_format, dilation_rate)
    if shape_of(x)[-1] != shape_of(w)[-2]:
        raise ValueError(
            "A depthwise kernel has filters for each input channel. Received: inputs of shape "
            f"{keras_shape(shape_of(x))}, kernel of shape {keras_shape(shape_of(w))}."
        )
    return DepthwiseConvolution(windows)(x, w)


def separable_conv(
    inputs: Any,
    depthwise_kernel: Any,
    pointwise_kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """`depthwise_conv`, then a convolution of windows of one place."""
    between = depthwise_conv(inputs, depthwise_kernel, strides, padding, data_format, dilation_rate)
    return conv(between, pointwise_kernel)


def conv_transpose(
    inputs: Any,
    kernel: Any,
    strides: Any = 1,
    padding: str = "valid",
    output_padding: Any = None,
    data_format: str | None = None,
    dilation_rate: Any = 1,
) -> Any:
    """The transposed convolution: what the gradient of a convolution does, `strides` times as large.

    Args:
        inputs: (batch, sizes..., channels).
        kernel: (sizes..., filters, channels).
        strides: factor of the sizes.
        padding: "valid" or "same".
        output_padding: rows and columns more at the end; by default what gives Keras's sizes.
        data_format: "channels_last" or None.
        dilation_rate: distance of the kernel's taps.
    """
    checked_data_format(data_format)
    x, w = operands(inputs, kernel)
    shape, weights = shape_of(x), shape_of(w)
    sizes = spatial_sizes(shape, "a transposed convolution")
    if len(weights) != len(shape) or weights[-1] != shape[-1]:
        raise ValueError(
            "A transposed convolution's kernel is (sizes..., filters, channels). Received: inputs of shape "
            f"{keras_shape(shape)}, kernel of shape {keras_shape(weights)}."
        )
    count = len(sizes)
    extra = None if output_padding is None else as_sizes(output_padding, count, "output_padding", 0)
    windows = make_transposed_windows(
        sizes,
        [_known(dim) for dim in weights[:-2]],
        as_sizes(strides, count, "strides"),
        as_sizes(dilation_rate, count, "dilation_rate"),
        checked_padding(padding),
        extra,
    )
    return ConvolutionInputGradient(windows)(x, w)[0]
