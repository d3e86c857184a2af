"""UpSampling, ZeroPadding and Cropping over one to three axes, channels last."""

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


class UpSampling3D(Layer):
    """Each value of a volume `size` times along each axis.

    Args:
        size: factors of the three axes.
        data_format: "channels_last" or None.
    """

    def __init__(self, size: Any = (2, 2, 2), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.size = as_sizes(size, 3, "size")

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 5)
        return repeat_over_windows(inputs, self.size)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "size": list(self.size), "data_format": self.data_format}


_MAY_BE = {
    2: "a tuple of 2 ints (symmetric_height_{kind}, symmetric_width_{kind}), or a tuple of 2 tuples of 2 "
    "ints ((top_{kind}, bottom_{kind}), (left_{kind}, right_{kind}))",
    3: "a tuple of 3 ints (symmetric_dim1_{kind}, symmetric_dim2_{kind}, symmetric_dim3_{kind}), or a tuple "
    "of 3 tuples of 2 ints ((left_dim1_{kind}, right_dim1_{kind}), (left_dim2_{kind}, right_dim2_{kind}), "
    "(left_dim3_{kind}, right_dim3_{kind}))",
}
_COUNTED = {2: "two elements", 3: "3 elements"}


def _pairs(value: Any, name: str, kind: str, axes: int) -> tuple[tuple[int, ...], ...]:
    """(before, after) for each axis, from a number, one for each axis, or all pairs."""
    if isinstance(value, int):
        if value < 0:
            raise ValueError(f"`{name}` cannot be negative. Received: {name}={value}.")
        return ((value, value),) * axes
    if not hasattr(value, "__len__"):
        raise ValueError(
            f"`{name}` should be either an int, {_MAY_BE[axes].format(kind=kind)}. Received: {name}={value}."
        )
    if len(value) != axes:
        raise ValueError(f"`{name}` should have {_COUNTED[axes]}. Received: {name}={value}.")
    return tuple(
        as_sizes(entry, 2, f"{place} entry of {name}", 0)
        for place, entry in zip(("1st", "2nd", "3rd"), value, strict=False)
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


class _ZeroPadding(Layer):
    """Zeros around images or volumes."""

    def __init__(self, axes: int, padding: Any, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.padding = _pairs(padding, "padding", "pad", axes)

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, len(self.padding) + 2)
        return ops.pad(inputs, ((0, 0), *self.padding, (0, 0)))

    def get_config(self) -> dict[str, Any]:
        padding = [list(pair) for pair in self.padding]
        return {**super().get_config(), "padding": padding, "data_format": self.data_format}


class ZeroPadding2D(_ZeroPadding):
    """Zeros around each image.

    Args:
        padding: how many on each side; (height, width); or ((top, bottom), (left, right)).
        data_format: "channels_last" or None.
    """

    def __init__(self, padding: Any = (1, 1), data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(2, padding, data_format, **kwargs)


class ZeroPadding3D(_ZeroPadding):
    """Zeros around each volume.

    Args:
        padding: how many on each side; one for each axis; or (before, after) for each.
        data_format: "channels_last" or None.
    """

    def __init__(
        self, padding: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(3, padding, data_format, **kwargs)


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


class _Cropping(Layer):
    """Images or volumes without their borders."""

    def __init__(self, axes: int, cropping: Any, data_format: str | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.cropping = _pairs(cropping, "cropping", "crop", axes)

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, len(self.cropping) + 2)
        if any(sum(pair) >= size for pair, size in zip(self.cropping, inputs.shape[1:-1], strict=True)):
            raise ValueError(
                "Values in `cropping` argument should be smaller than the corresponding spatial dimension of "
                f"the input. Received: inputs.shape={inputs.shape}, cropping={self.cropping}"
            )
        return crop(inputs, [(first, last) for first, last in self.cropping])

    def get_config(self) -> dict[str, Any]:
        cropping = [list(pair) for pair in self.cropping]
        return {**super().get_config(), "cropping": cropping, "data_format": self.data_format}


class Cropping2D(_Cropping):
    """Images without their borders.

    Args:
        cropping: how many on each side; (height, width); or ((top, bottom), (left, right)).
        data_format: "channels_last" or None.
    """

    def __init__(
        self, cropping: Any = ((0, 0), (0, 0)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(2, cropping, data_format, **kwargs)


class Cropping3D(_Cropping):
    """Volumes without their borders.

    Args:
        cropping: how many on each side; one for each axis; or (before, after) for each.
        data_format: "channels_last" or None.
    """

    def __init__(
        self, cropping: Any = ((1, 1), (1, 1), (1, 1)), data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(3, cropping, data_format, **kwargs)
