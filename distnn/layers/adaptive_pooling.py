"""AdaptiveMaxPooling and AdaptiveAveragePooling: so many near-equal windows, channels last."""

from __future__ import annotations

from typing import Any, ClassVar

from distnn import ops
from distnn.layers.images import check_rank
from distnn.layers.layer import Layer
from distnn.ops.windows import as_sizes, checked_data_format


class _AdaptivePooling(Layer):
    """Input shape: `(batch, sizes..., channels)`. Output shape: `(batch, output_size..., channels)`.

    Window i of n over an axis of s values is [floor(i s / n), ceil((i + 1) s / n)).

    Args:
        output_size: windows along each axis.
        data_format: "channels_last" or None.
    """

    _rank: ClassVar[int]
    _tuple: ClassVar[str]

    def __init__(self, output_size: Any, data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        is_tuple = isinstance(output_size, list | tuple)
        if self._rank == 1 and is_tuple and len(output_size) != 1:
            raise ValueError(
                f"For 1D input, `output_size` tuple must have length 1. Received: {tuple(output_size)}"
            )
        if not isinstance(output_size, int) and not (is_tuple and len(output_size) == self._rank):
            raise TypeError(
                f"`output_size` must be an integer or {self._tuple}. "
                f"Received: {output_size} of type {type(output_size)}"
            )
        self.output_size = as_sizes(output_size, self._rank, "output_size")
        self.data_format = checked_data_format(data_format)

    def get_config(self) -> dict[str, Any]:
        own = {"output_size": list(self.output_size), "data_format": self.data_format}
        return {**super().get_config(), **own}


class _AdaptiveMaxPooling(_AdaptivePooling):
    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, self._rank + 2)
        return ops.adaptive_max_pool(inputs, self.output_size)


class _AdaptiveAveragePooling(_AdaptivePooling):
    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, self._rank + 2)
        return ops.adaptive_average_pool(inputs, self.output_size)


class AdaptiveMaxPooling1D(_AdaptiveMaxPooling):
    """The largest value of each of `output_size` windows of each channel, over sequences."""

    _rank, _tuple = 1, "tuple of 1 integer"


class AdaptiveMaxPooling2D(_AdaptiveMaxPooling):
    """The largest value of each of `output_size` windows of each channel, over images."""

    _rank, _tuple = 2, "(height, width) tuple"


class AdaptiveMaxPooling3D(_AdaptiveMaxPooling):
    """The largest value of each of `output_size` windows of each channel, over volumes."""

    _rank, _tuple = 3, "(depth, height, width) tuple"


class AdaptiveAveragePooling1D(_AdaptiveAveragePooling):
    """The mean of each of `output_size` windows of each channel, over sequences."""

    _rank, _tuple = 1, "tuple of 1 integer"


class AdaptiveAveragePooling2D(_AdaptiveAveragePooling):
    """The mean of each of `output_size` windows of each channel, over images."""

    _rank, _tuple = 2, "(height, width) tuple"


class AdaptiveAveragePooling3D(_AdaptiveAveragePooling):
    """The mean of each of `output_size` windows of each channel, over volumes."""

    _rank, _tuple = 3, "(depth, height, width) tuple"
