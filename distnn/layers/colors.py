"""What can be done to the colours of images by given amounts; images are (batch, height, width, channels)."""

from __future__ import annotations

from typing import Any

from distnn import ops

_GRAY = (0.2989, 0.587, 0.114)
"""How bright red, green and blue are."""


def _channels(images: Any) -> tuple[Any, Any, Any]:
    return images[..., 0:1], images[..., 1:2], images[..., 2:3]


def gray(images: Any) -> Any:
    """The brightness of each pixel in all three channels."""
    red, green, blue = (ops.multiply(one, share) for one, share in zip(_channels(images), _GRAY, strict=True))
    one = ops.add(ops.add(red, green), blue)
    return ops.concatenate([one, one, one], axis=-1)


def _hue_saturation_value(images: Any) -> tuple[Any, Any, Any]:
    """Hue in turns and saturation from 0 to 1; the value is the largest channel."""
    red, green, blue = _channels(images)
    value = ops.maximum(ops.maximum(red, green), blue)
    span = ops.subtract(value, ops.minimum(ops.minimum(red, green), blue))
    has_color = ops.greater(span, 0.0)
    scale = ops.divide(1.0 / 6.0, ops.where(has_color, span, 1.0))
    of_green = ops.add(ops.multiply(scale, ops.subtract(blue, red)), 2.0 / 6.0)
    of_blue = ops.add(ops.multiply(scale, ops.subtract(red, green)), 4.0 / 6.0)
    of_red = ops.multiply(scale, ops.subtract(green, blue))
    hue = ops.where(ops.equal(value, red), of_red, ops.where(ops.equal(value, green), of_green, of_blue))
    is_lit = ops.greater(value, 0.0)
    saturation = ops.where(is_lit, ops.divide(span, ops.where(is_lit, value, 1.0)), 0.0)
    return ops.where(has_color, hue, 0.0), saturation, value


def _colored(hue: Any, saturation: Any, value: Any) -> Any:
    """Red, green and blue of hue, saturation and value."""
    sixth = ops.subtract(hue, ops.floor(hue)) * 6.0
    pure = (
        ops.subtract(ops.abs(ops.subtract(sixth, 3.0)), 1.0),
        ops.subtract(2.0, ops.abs(ops.subtract(sixth, 2.0))),
        ops.subtract(2.0, ops.abs(ops.subtract(sixth, 4.0))),
    )
    white = ops.subtract(1.0, saturation)
    parts = [ops.add(white, ops.multiply(saturation, ops.clip(one, 0.0, 1.0))) for one in pure]
    return ops.concatenate([ops.multiply(value, part) for part in parts], axis=-1)


def with_hue_turned(images: Any, amount: Any) -> Any:
    """Images with `amount` turns added to their hue; (batch, 1, 1, 1)."""
    hue, saturation, value = _hue_saturation_value(images)
    return _colored(ops.add(hue, amount), saturation, value)


def with_saturation_times(images: Any, factor: Any) -> Any:
    """Images with their saturation multiplied, to 1 at most; (batch, 1, 1, 1)."""
    hue, saturation, value = _hue_saturation_value(images)
    return _colored(hue, ops.minimum(ops.multiply(saturation, factor), 1.0), value)


def blurred_along(images: Any, axis: int, size: int, sigma: Any) -> Any:
    """Images with `size` values along an axis mixed by the bell curve of deviation `sigma`, zeros outside."""
    half, length = size // 2, images.shape[axis]
    around = ops.pad(images, [(half, half) if place == axis else (0, 0) for place in range(4)])
    weights = [ops.exp(ops.square(ops.divide(float(tap - half), sigma)) * -0.5) for tap in range(size)]
    total = weights[0]
    for weight in weights[1:]:
        total = ops.add(total, weight)
    mixed = None
    for tap, weight in enumerate(weights):
        cut = slice(tap, tap + length)
        moved = around[:, cut] if axis == 1 else around[:, :, cut]
        part = ops.multiply(moved, ops.divide(weight, total))
        mixed = part if mixed is None else ops.add(mixed, part)
    return mixed


def stretched(images: Any, least: float, most: float) -> Any:
    """Each channel of each image from `least` to `most`; one that has a single value stays."""
    low, high = (function(images, axis=(1, 2), keepdims=True) for function in (ops.min, ops.max))
    span = ops.subtract(high, low)
    is_flat = ops.equal(span, 0.0)
    share = ops.divide(ops.subtract(images, low), ops.where(is_flat, 1.0, span))
    wide = ops.add(ops.multiply(ops.clip(share, 0.0, 1.0), most - least), least)
    return ops.where(is_flat, images, wide)
