"""UpSampling, ZeroPadding and Cropping over one or two axes, channels last."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.layers.images import check_rank
from distnn.layers.layer import Layer
from distnn.ops.pooling import repeat_over_windows
from distnn.ops.resizing import crop, upsample_bilinear
from distnn.ops.windows import as_sizes, checked_data_format


class UpSampling1D(Layer):
    """Each step `size` times. Output shape: `(batch, steps * size, channels)`."""

    def __init__(self, size: int = 2, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(size, int) or isinstance(size, bool):
            raise TypeError(f"Expected an integer value for `size`, got {type(size)}.")
        if size <= 0:
            raise ValueError(f"Argument `size` should be a positive integer. Received: size={size}")
        self.size = size

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 3)
        return repeat_over_windows(inputs, self.size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": self.size}


class UpSampling2D(Layer):
    """Images `size` times as high and wide.

    Args:
        size: factors of the height and the width.
        data_format: "channels_last" or None.
        interpolation: "nearest" repeats values, "bilinear" interpolates them.
    """

    def __init__(
        self,
        size: Any = (2, 2),
        data_format: str | None = None,
        interpolation: str = "nearest",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = as_sizes(size, 2, "size")
        self.data_format = checked_data_format(data_format)
        if not isinstance(interpolation, str) or interpolation.lower() not in ("nearest", "bilinear"):
            raise ValueError(
                "`interpolation` must be 'nearest' or 'bilinear': others are not computed. "
                f"Received: interpolation={interpolation!r}"
            )
        self.interpolation = interpolation.lower()

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 4)
        if self.interpolation == "nearest":
            return repeat_over_windows(inputs, self.size)
        return upsample_bilinear(inputs, self.size)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "size": list(self.size),
            "data_format": self.data_format,
            "interpolation": self.interpolation,
        }


def _pairs(value: Any, name: str, kind: str) -> tuple[tuple[int, ...], ...]:
    """((top, bottom), (left, right)) from a number, one for each axis, or both pairs."""
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"`{name}` cannot be negative. Received: {name}={value}.")
        return ((value, value), (value, value))
    if not hasattr(value, "__len__"):
        raise ValueError(
            f"`{name}` should be either an int, a tuple of 2 ints (symmetric_height_{kind}, "
            f"symmetric_width_{kind}), or a tuple of 2 tuples of 2 ints ((top_{kind}, bottom_{kind}), "
            f"(left_{kind}, right_{kind})). Received: {name}={value}."
        )
    if len(value) != 2:
        raise ValueError(f"`{name}` should have two elements. Received: {name}={value}.")
    return tuple(
        as_sizes(entry, 2, f"{place} entry of {name}", 0)
        for place, entry in zip(("1st", "2nd"), value, strict=True)
    )


class ZeroPadding1D(Layer):
    """Zeros before and after each sequence.

    Args:
        padding: how many, on both sides, or (before, after).
        data_format: "channels_last" or None.
    """

    def __init__(self, padding: Any = 1, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.padding = as_sizes(padding, 2, "padding", 0)

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 3)
        return ops.pad(inputs, ((0, 0), self.padding, (0, 0)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "padding": list(self.padding), "data_format": self.data_format}


class ZeroPadding2D(Layer):
    """Zeros around each image.

    Args:
        padding: how many on each side; (height, width); or ((top, bottom), (left, right)).
        data_format: "channels_last" or None.
    """

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.padding = _pairs(padding, "padding", "pad")

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 4)
        return ops.pad(inputs, ((0, 0), *self.padding, (0, 0)))

    def get_config(self) -> dict[str, Any]:
        padding = [list(pair) for pair in self.padding]
        return {**super().get_config(), "padding": padding, "data_format": self.data_format}


class Cropping1D(Layer):
    """Sequences without their first and last steps.

    Args:
        cropping: how many, on both sides, or (before, after).
    """

    def __init__(self, cropping: Any = (1, 1), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.cropping = as_sizes(cropping, 2, "cropping", 0)

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 3)
        if sum(self.cropping) >= inputs.shape[1]:
            raise ValueError(
                "`cropping` parameter of `Cropping1D` layer must be smaller than the input length. "
                f"Received: inputs.shape={inputs.shape}, cropping={self.cropping}"
            )
        return crop(inputs, [(self.cropping[0], self.cropping[1])])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cropping": list(self.cropping)}


class Cropping2D(Layer):
    """Images without their borders.

    Args:
        cropping: how many on each side; (height, width); or ((top, bottom), (left, right)).
        data_format: "channels_last" or None.
    """

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.cropping = _pairs(cropping, "cropping", "crop")

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 4)
        if any(sum(pair) >= size for pair, size in zip(self.cropping, inputs.shape[1:3], strict=True)):
            raise ValueError(
                "Values in `cropping` argument should be smaller than the corresponding spatial dimension of "
                f"the input. Received: inputs.shape={inputs.shape}, cropping={self.cropping}"
            )
        return crop(inputs, [(first, last) for first, last in self.cropping])

    def get_config(self) -> dict[str, Any]:
        cropping = [list(pair) for pair in self.cropping]
        return {**super().get_config(), "cropping": cropping, "data_format": self.data_format}
