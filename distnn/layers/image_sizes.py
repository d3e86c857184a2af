"""Images brought to one size: Resizing, CenterCrop, RandomCrop.

Images are `(batch, height, width, channels)`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn import ops
from distnn.layers.augmentation import RandomLayer
from distnn.layers.layer import Layer
from distnn.ops.images import INTERPOLATIONS, CropImages
from distnn.ops.resizing import crop
from distnn.ops.windows import checked_data_format
from distnn.tensor import Array


def _check_size(height: Any, width: Any) -> None:
    for name, size in (("height", height), ("width", width)):
        if not isinstance(size, int) or size < 1:
            raise ValueError(f"`{name}` must be a positive integer. Received: {name}={size}")


def _sizes(layer: Layer, images: Any) -> tuple[int, int]:
    """Height and width of the images."""
    if len(images.shape) != 4:
        raise ValueError(
            f"layer '{layer.name}' takes images (batch, height, width, channels). "
            f"Received: shape {images.shape}"
        )
    return images.shape[1], images.shape[2]


def _middle(images: Any, height: int, width: int) -> Any:
    """So many rows and columns from the middle of each image."""
    rows, columns = images.shape[1:3]
    top, left = (rows - height) // 2, (columns - width) // 2
    return crop(images, [(top, rows - height - top), (left, columns - width - left)])


def _in_proportion(images: Any, height: int, width: int) -> Any:
    """The largest part of each image, from its middle, with the proportions of a size."""
    rows, columns = images.shape[1:3]
    kept_rows = min(rows, max(1, int(columns * height / width)))
    kept_columns = min(columns, max(1, int(rows * width / height)))
    return _middle(images, kept_rows, kept_columns)


def _resized(images: Any, height: int, width: int, interpolation: str = "bilinear") -> Any:
    rows, columns, channels = images.shape[1:]
    flat = ops.reshape(images, (-1, rows, columns * channels))
    by_rows = ops.matmul(_parts(rows, height, interpolation), flat)
    wide = ops.reshape(by_rows, (-1, height, columns, channels))
    return ops.matmul(_parts(columns, width, interpolation), wide)


def _parts(size: int, wanted: int, interpolation: str) -> Array:
    """What each old row (or column) counts in each new one: pixels are squares, places their middles."""
    weights = np.zeros((wanted, size), np.float32)
    for i in range(wanted):
        place = (i + 0.5) * size / wanted
        if interpolation == "nearest":
            weights[i, min(size - 1, int(place))] = 1
            continue
        place = min(max(place - 0.5, 0.0), size - 1.0)
        low = min(int(place), size - 1)
        weights[i, low] += 1 - (place - low)
        weights[i, min(low + 1, size - 1)] += place - low
    return weights


class Resizing(Layer):
    """Images of one size: `(batch, height, width, channels)`.

    Args:
        height, width: of the result.
        interpolation: "bilinear" or "nearest".
        crop_to_aspect_ratio: cut the images so that their proportions stay.
    """

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        _check_size(height, width)
        if interpolation not in INTERPOLATIONS:
            raise ValueError(f"Unknown `interpolation`: {interpolation!r}. Expected one of {INTERPOLATIONS}")
        self.height, self.width, self.interpolation = height, width, interpolation
        self.crop_to_aspect_ratio = bool(crop_to_aspect_ratio)

    def call(self, inputs: Any) -> Any:
        images = ops.cast(inputs, "float32")
        _sizes(self, images)
        if self.crop_to_aspect_ratio:
            images = _in_proportion(images, self.height, self.width)
        return _resized(images, self.height, self.width, self.interpolation)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "height": self.height,
            "width": self.width,
            "interpolation": self.interpolation,
            "crop_to_aspect_ratio": self.crop_to_aspect_ratio,
        }


class CenterCrop(Layer):
    """The middle of each image; of smaller images the largest part in these proportions, resized.

    Args:
        height, width: of the result.
        data_format: "channels_last" or None.
    """

    def __init__(self, height: int, width: int, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        _check_size(height, width)
        self.height, self.width = height, width
        self.data_format = checked_data_format(data_format)

    def call(self, inputs: Any) -> Any:
        images = ops.cast(inputs, "float32")
        rows, columns = _sizes(self, images)
        if rows >= self.height and columns >= self.width:
            return _middle(images, self.height, self.width)
        return _resized(_in_proportion(images, self.height, self.width), self.height, self.width)

    def get_config(self) -> dict[str, Any]:
        own = {"height": self.height, "width": self.width, "data_format": self.data_format}
        return {**super().get_config(), **own}


class RandomCrop(RandomLayer):
    """A part of each image, in training from a place of its own.

    In prediction, and where an image is smaller than the part, it is the largest part in these proportions
    from the image's middle, resized.

    Args:
        height, width: of the result.
        seed: a number of the layer's own.
        data_format: "channels_last" or None.
    """

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(seed=seed, name=name, **kwargs)
        _check_size(height, width)
        self.height, self.width = height, width
        self.data_format = checked_data_format(data_format)

    def call(self, inputs: Any, training: bool = False) -> Any:
        images = ops.cast(inputs, "float32")
        rows, columns = _sizes(self, images)
        if training and rows >= self.height and columns >= self.width:
            return CropImages(self.height, self.width, self._stream())(images)
        return _resized(_in_proportion(images, self.height, self.width), self.height, self.width)

    def get_config(self) -> dict[str, Any]:
        own = {"height": self.height, "width": self.width, "data_format": self.data_format}
        return {**super().get_config(), **own}
