"""What ops over images do with their arguments: sizes as tuples, padding, channels last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn.tensor import Shape, keras_shape

PADDINGS = ("valid", "same")


def as_sizes(value: Any, count: int, name: str, least: int = 1) -> tuple[int, ...]:
    """An integer, or `count` of them, as a tuple.

    Raises:
        ValueError: for another number of values, or one below `least`.
    """
    received = f"The `{name}` argument must be a tuple of {count} integers. Received {name}={value}"
    sizes = (value,) * count if isinstance(value, int) else value
    if not isinstance(sizes, list | tuple) or len(sizes) != count:
        raise ValueError(received)
    if any(not isinstance(size, int) or isinstance(size, bool) for size in sizes):
        raise ValueError(received)
    wrong = {size for size in sizes if size < least}
    if wrong:
        raise ValueError(
            f"{received}, including values {wrong} that do not satisfy `value {'>' if least else '>='} 0`"
        )
    return tuple(sizes)


def checked_padding(padding: Any, allowed: Sequence[str] = PADDINGS) -> str:
    """The name of a padding in small letters."""
    if not isinstance(padding, str) or padding.lower() not in allowed:
        raise ValueError(f"The `padding` argument must be one of {allowed}. Received: padding={padding!r}")
    return padding.lower()


def checked_data_format(data_format: Any) -> str:
    """Only "channels_last" is computed."""
    if data_format not in (None, "channels_last"):
        raise ValueError(
            "Images have their channels last here: `data_format` must be 'channels_last' (or None). "
            f"Received: data_format={data_format!r}. Move the channels with `ops.transpose` or `Permute`."
        )
    return "channels_last"


def spatial_sizes(shape: Shape, what: str) -> tuple[int, ...]:
    """The one to three axes between the batch's and the channels', which must be known."""
    sizes = tuple(dim for dim in shape[1:-1] if isinstance(dim, int))
    if not 1 <= len(sizes) <= 3 or len(sizes) != len(shape) - 2 or not isinstance(shape[-1], int):
        raise ValueError(
            f"{what} takes (batch, 1 to 3 axes of known sizes, channels). "
            f"Received: shape {keras_shape(shape)}"
        )
    return sizes
