"""Images as arrays: float32 from 0 to 255, channels last. Files need the extra `images` (Pillow)."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn.errors import DataError
from distnn.preprocessing.pillow import COLOR_MODES, pillow, resampling
from distnn.tensor import Array

_AS_IT_IS = ("L", "I;16", "I")
"""Modes that are grey already."""


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> Array:
    """An image of Pillow, or an array of two or three dimensions, as `(height, width, channels)`.

    Args:
        img: the image.
        data_format: "channels_last".
        dtype: of the array, float32 by default.
    """
    _check_format(data_format)
    array: Array = np.asarray(img, dtype=dtype or "float32")
    if array.ndim not in (2, 3):
        raise ValueError(f"Unsupported image shape: {array.shape}")
    return array[..., None] if array.ndim == 2 else array


def array_to_img(
    x: npt.ArrayLike, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """An array `(height, width, channels)` with 1, 3 or 4 channels as an image of Pillow.

    Args:
        x: the array.
        data_format: "channels_last".
        scale: whether its values are brought to 0 to 255, the smallest and the largest of them.
        dtype: computed in; float32 by default.
    """
    _check_format(data_format)
    array: Array = np.asarray(x, dtype=dtype or "float32")
    if array.ndim != 3:
        raise ValueError(
            f"Expected image array to have rank 3 (single image). Got array with shape: {array.shape}"
        )
    if scale and array.size:
        array = array - array.min()
        array = array / (array.max() or 1) * 255
    image, channels = pillow(), array.shape[2]
    if channels == 1:
        deep = array.size > 0 and array.max() > 255
        return image.fromarray(array[..., 0].astype("int32" if deep else "uint8"))
    if channels not in (3, 4):
        raise ValueError(f"Unsupported channel number: {channels}")
    return image.fromarray(array.astype("uint8"))


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """An image file as an image of Pillow.

    Args:
        path: of the file, or a file in memory (`io.BytesIO`).
        color_mode: "grayscale", "rgb" or "rgba".
        target_size: (height, width) that it is scaled to.
        interpolation: "nearest", "bilinear", "bicubic", "hamming", "box" or "lanczos".
        keep_aspect_ratio: cut what is too wide or too high, instead of distorting.

    Raises:
        ImportError: Pillow is not there.
        FileNotFoundError: there is no such file.
        DataError: it is no image.
    """
    if color_mode not in COLOR_MODES:
        raise ValueError(
            f'color_mode must be "grayscale", "rgb", or "rgba". Received: color_mode={color_mode!r}'
        )
    if not isinstance(path, str | os.PathLike | io.BytesIO):
        raise TypeError(f"path should be path-like or io.BytesIO, not {type(path)}")
    try:
        with pillow().open(path) as opened:
            opened.load()
            image = opened.copy()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{path}: cannot be read as an image: {error}") from error
    mode = COLOR_MODES[color_mode][0]
    if image.mode != mode and not (mode == "L" and image.mode in _AS_IT_IS):
        image = image.convert(mode)
    if target_size is None or image.size == target_size[::-1]:
        return image
    box = _middle(image.size[::-1], target_size) if keep_aspect_ratio else None
    return image.resize(target_size[::-1], resampling(interpolation), box=box)


def save_img(
    path: str | os.PathLike[str],
    x: npt.ArrayLike,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file.

    Args:
        path: of the file; its ending tells the format.
        x, data_format, scale: as of `array_to_img`.
        file_format: where the ending does not tell it.
        kwargs: of Pillow's `save`.
    """
    image = array_to_img(x, data_format, scale)
    is_jpeg = (file_format or Path(path).suffix.lstrip(".")).lower() in ("jpg", "jpeg")
    if is_jpeg and image.mode == "RGBA":
        image = image.convert("RGB")  # JPEG has no transparency
    image.save(path, format="JPEG" if (file_format or "").lower() == "jpg" else file_format, **kwargs)


def smart_resize(
    x: npt.ArrayLike,
    size: tuple[int, int],
    interpolation: str = "bilinear",
    data_format: str = "channels_last",
) -> Array:
    """Images of another size without distortion: the largest middle part of that shape, scaled.

    Args:
        x: `(height, width, channels)`, or a batch of such.
        size: (height, width).
        interpolation: "nearest" or "bilinear".
        data_format: "channels_last".
    """
    from distnn.layers import Resizing

    _check_format(data_format)
    array: Array = np.asarray(x, dtype=np.float32)
    if len(size) != 2:
        raise ValueError(f"Expected `size` to be a tuple of 2 integers, but got: {size}.")
    if array.ndim not in (3, 4):
        raise ValueError(
            "Expected an image array with shape `(height, width, channels)`, or `(batch_size, height, width, "
            f"channels)`, but got input with incorrect rank, of shape {array.shape}."
        )
    left, top, right, bottom = _middle(array.shape[-3:-1], size)
    cut = array[..., top:bottom, left:right, :]
    batch = cut if array.ndim == 4 else cut[None]
    resized: Array = Resizing(*size, interpolation=interpolation)(np.ascontiguousarray(batch))
    return resized if array.ndim == 4 else resized[0]


def _middle(shape: tuple[int, ...], target: tuple[int, int]) -> tuple[int, int, int, int]:
    """The largest part in the middle that has the target's proportions: left, top, right, bottom."""
    height, width = shape
    cut_height = max(min(height, width * target[0] // target[1]), 1)
    cut_width = max(min(width, height * target[1] // target[0]), 1)
    top, left = (height - cut_height) // 2, (width - cut_width) // 2
    return left, top, left + cut_width, top + cut_height


def _check_format(data_format: str | None) -> None:
    if data_format not in (None, "channels_last"):
        raise ValueError(
            "images have their channels last: turn them with `numpy.moveaxis(x, 0, -1)`. "
            f"Received: data_format={data_format!r}"
        )
