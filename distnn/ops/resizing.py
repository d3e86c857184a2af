"""Images made larger, padded and cut: compositions of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn.ops.arguments import operand, shape_of
from distnn.ops.elementwise import add
from distnn.ops.products import matmul
from distnn.ops.shapes import PadZeros, Slice, reshape
from distnn.ops.windows import spatial_sizes
from distnn.tensor import Array, Batch, keras_shape


def _interpolation(size: int, factor: int) -> Array:
    """The matrix that makes `size` values `size * factor` linearly interpolated ones, centres kept."""
    matrix = np.zeros((size * factor, size), np.float64)
    for place in range(size * factor):
        at = min(max((place + 0.5) / factor - 0.5, 0.0), size - 1.0)
        left = min(int(at), max(size - 2, 0))
        matrix[place, left] += 1.0 - (at - left)
        if size > 1:
            matrix[place, left + 1] += at - left
    return matrix


def upsample_bilinear(inputs: Any, size: Sequence[int]) -> Any:
    """Images (batch, height, width, channels) `size` times as large, bilinearly interpolated."""
    x = operand(inputs)
    shape = shape_of(x)
    height, width = spatial_sizes(shape, "upsampling")
    channels = shape[-1]
    dtype = x.dtype if isinstance(x, np.ndarray) else np.float32
    rows = _interpolation(height, size[0]).astype(dtype)
    columns = _interpolation(width, size[1]).astype(dtype)
    tall = matmul(rows, reshape(x, (shape[0], height, width * channels)))  # type: ignore[operator]
    lines = reshape(tall, (-1, width, channels))
    return reshape(matmul(columns, lines), (shape[0], height * size[0], width * size[1], channels))


def _pad_widths(pad_width: Any, rank: int) -> list[tuple[int, int]]:
    pairs = pad_width
    if isinstance(pairs, int):
        pairs = ((pairs, pairs),)
    elif len(pairs) == 1 and isinstance(pairs[0], int):
        pairs = ((pairs[0], pairs[0]),)
    pairs = tuple(pairs) * rank if len(pairs) == 1 else tuple(pairs)
    is_fit = len(pairs) == rank and all(len(pair) == 2 and min(pair) >= 0 for pair in pairs)
    if not is_fit:
        raise ValueError(
            f"`pad_width` must have a pair of non-negative integers for each of {rank} axes. "
            f"Received: pad_width={pad_width}"
        )
    return [(int(before), int(after)) for before, after in pairs]


def pad(x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None) -> Any:
    """x with more values around it.

    Args:
        x: any tensor; its batch axis is not padded.
        pad_width: (before, after) for each axis, one pair for all, or a number.
        mode: only "constant".
        constant_values: what is put there; 0 by default.
    """
    if mode != "constant":
        raise ValueError(f"`mode` must be 'constant': no other padding is computed. Received: mode={mode!r}")
    value = operand(x)
    shape = shape_of(value)
    widths = _pad_widths(pad_width, len(shape))
    dims: list[int] = []
    for axis, (before, after) in enumerate(widths):
        size = shape[axis]
        if isinstance(size, Batch):
            if before or after:
                raise ValueError(
                    f"the batch axis of shape {keras_shape(shape)} cannot be padded. Received: {pad_width}"
                )
            dims.append(1)
            continue
        dims.append(before + size + after)
        if before or after:
            value = PadZeros(axis, before, dims[-1])(value)
    if not constant_values:
        return value
    inside = tuple(slice(before, dim - after) for (before, after), dim in zip(widths, dims, strict=True))
    around = np.full(dims, constant_values, value.dtype if isinstance(value, np.ndarray) else np.float32)
    around[inside] = 0
    return add(value, around)


def crop(x: Any, cropping: Sequence[tuple[int, int]]) -> Any:
    """x without the first and last so many values along the axes after the batch's."""
    for axis, (first, last) in enumerate(cropping, 1):
        size = shape_of(x)[axis]
        assert isinstance(size, int)
        if first or last:
            x = Slice(axis, first, size - last)(x)
    return x
