"""GlobalMaxPooling and GlobalAveragePooling: one value of each channel."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.layers.images import check_rank
from distnn.layers.layer import Layer
from distnn.ops.windows import checked_data_format


class _GlobalPooling(Layer):
    """Input shape: `(batch, sizes..., channels)`. Output shape: `(batch, channels)`.

    Args:
        data_format: "channels_last" or None.
        keepdims: leave axes of 1 in place of those that are gone.
    """

    def __init__(self, data_format: str | None = None, keepdims: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.data_format = checked_data_format(data_format)
        self.keepdims = bool(keepdims)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "data_format": self.data_format, "keepdims": self.keepdims}


class GlobalMaxPooling1D(_GlobalPooling):
    """The largest value of each channel over a sequence."""

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 3)
        return ops.max(inputs, axis=(1,), keepdims=self.keepdims)


class GlobalMaxPooling2D(_GlobalPooling):
    """The largest value of each channel over an image."""

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 4)
        return ops.max(inputs, axis=(1, 2), keepdims=self.keepdims)


class GlobalMaxPooling3D(_GlobalPooling):
    """The largest value of each channel over a volume."""

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 5)
        return ops.max(inputs, axis=(1, 2, 3), keepdims=self.keepdims)


class GlobalAveragePooling1D(_GlobalPooling):
    """The mean of each channel over a sequence."""

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 3)
        return ops.mean(inputs, axis=(1,), keepdims=self.keepdims)


class GlobalAveragePooling2D(_GlobalPooling):
    """The mean of each channel over an image."""

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 4)
        return ops.mean(inputs, axis=(1, 2), keepdims=self.keepdims)


class GlobalAveragePooling3D(_GlobalPooling):
    """The mean of each channel over a volume."""

    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, 5)
        return ops.mean(inputs, axis=(1, 2, 3), keepdims=self.keepdims)
