"""MaxPooling and AveragePooling over one to three axes, channels last."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.layers.images import check_rank
from distnn.layers.layer import Layer
from distnn.ops.windows import as_sizes, checked_data_format, checked_padding


class _Pooling(Layer):
    """Input shape: `(batch, sizes..., channels)`.

    Args:
        pool_size: sizes of a window.
        strides: its steps; `pool_size` by default.
        padding: "valid" or "same"; what lies outside the image is left out.
        data_format: "channels_last" or None.
    """

    def __init__(
        self,
        rank: int,
        pool_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.pool_size = as_sizes(pool_size, rank, "pool_size")
        self.strides = self.pool_size if strides is None else as_sizes(strides, rank, "strides")
        self.padding = checked_padding(padding)
        self.data_format = checked_data_format(data_format)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "pool_size": list(self.pool_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
        }


class _MaxPooling(_Pooling):
    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, len(self.pool_size) + 2)
        return ops.max_pool(inputs, self.pool_size, self.strides, self.padding)


class _AveragePooling(_Pooling):
    def call(self, inputs: Any) -> Any:
        check_rank(self, inputs.shape, len(self.pool_size) + 2)
        return ops.average_pool(inputs, self.pool_size, self.strides, self.padding)


class MaxPooling1D(_MaxPooling):
    """The largest value of each window of each channel, over sequences."""

    def __init__(
        self,
        pool_size: Any = 2,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(1, pool_size, strides, padding, data_format, **kwargs)


class MaxPooling2D(_MaxPooling):
    """The largest value of each window of each channel, over images."""

    def __init__(
        self,
        pool_size: Any = (2, 2),
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(2, pool_size, strides, padding, data_format, **kwargs)


class MaxPooling3D(_MaxPooling):
    """The largest value of each window of each channel, over volumes."""

    def __init__(
        self,
        pool_size: Any = (2, 2, 2),
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(3, pool_size, strides, padding, data_format, **kwargs)


class AveragePooling1D(_AveragePooling):
    """The mean of each window of each channel, over sequences."""

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(1, pool_size, strides, padding, data_format, **kwargs)


class AveragePooling2D(_AveragePooling):
    """The mean of each window of each channel, over images."""

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(2, pool_size, strides, padding, data_format, **kwargs)


class AveragePooling3D(_AveragePooling):
    """The mean of each window of each channel, over volumes."""

    def __init__(
        self,
        pool_size: Any,
        strides: Any = None,
        padding: str = "valid",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(3, pool_size, strides, padding, data_format, **kwargs)
