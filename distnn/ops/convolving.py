"""Convolutions as users call them."""

from __future__ import annotations

from typing import Any

from distnn.kernels.windows import Windows, make_transposed_windows, make_windows
from distnn.ops.arguments import operands, shape_of
from distnn.ops.convolution import Convolution, ConvolutionInputGradient, known
from distnn.ops.depthwise import DepthwiseConvolution
from distnn.ops.windows import as_sizes, checked_data_format, checked_padding, spatial_sizes
from distnn.tensor import keras_shape


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
    windows = make_windows(sizes, [known(dim) for dim in weights[:-2]], steps, dilation, name)
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
    groups = known(channels) // max(1, known(of_group))
    if known(of_group) * groups != channels or groups == 0 or known(filters) % groups:
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
        [known(dim) for dim in weights[:-2]],
        as_sizes(strides, count, "strides"),
        as_sizes(dilation_rate, count, "dilation_rate"),
        checked_padding(padding),
        extra,
    )
    return ConvolutionInputGradient(windows)(x, w)[0]
