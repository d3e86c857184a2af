"""What layers over images share: checks of inputs, and the weights that convolutions have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn import activations, constraints, initializers, ops, regularizers
from distnn.layers.layer import Layer
from distnn.ops.windows import as_sizes, checked_data_format, checked_padding
from distnn.variable import Variable


def check_rank(layer: Layer, shape: Sequence[int | None], rank: int, *, is_least: bool = False) -> None:
    """Refuse inputs without `rank` axes, the batch's and the channels' included."""
    wrong = len(shape) < rank if is_least else len(shape) != rank
    if wrong:
        raise ValueError(
            f"Input 0 of layer '{layer.name}' is incompatible with the layer: expected "
            f"{'min_ndim' if is_least else 'ndim'}={rank}, found ndim={len(shape)}. Full shape received: "
            f"{tuple(shape)}"
        )


def known_channels(layer: Layer, shape: Sequence[int | None]) -> int:
    """The last dimension."""
    channels = shape[-1]
    if channels is None:
        raise ValueError(f"layer '{layer.name}' needs a known last axis. Received: {tuple(shape)}")
    return channels


class WindowedLayer(Layer):
    """A layer whose weights meet the windows of an image; base of all convolutions.

    Args:
        rank: axes of an image, without the channels.
        filters: channels that the layer makes; None where they follow from its input.
    """

    bias: Variable | None = None
    _paddings: tuple[str, ...] = ("valid", "same")

    def __init__(
        self,
        rank: int,
        filters: int | None,
        kernel_size: Any,
        strides: Any,
        padding: str,
        data_format: str | None,
        dilation_rate: Any,
        activation: Any,
        use_bias: bool,
        bias_initializer: Any,
        bias_regularizer: Any,
        bias_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.rank = rank
        self.filters = filters
        if filters is not None and (not isinstance(filters, int) or filters <= 0):
            raise ValueError(
                "Invalid value for argument `filters`. Expected a strictly positive value. "
                f"Received filters={filters}."
            )
        self.kernel_size = as_sizes(kernel_size, rank, "kernel_size")
        self.strides = as_sizes(strides, rank, "strides")
        self.dilation_rate = as_sizes(dilation_rate, rank, "dilation_rate")
        self.padding = checked_padding(padding, self._paddings)
        self.data_format = checked_data_format(data_format)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.bias_initializer = initializers.get(bias_initializer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.bias_constraint = constraints.get(bias_constraint)
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "`strides > 1` not supported in conjunction with `dilation_rate > 1`. "
                f"Received: strides={self.strides} and dilation_rate={self.dilation_rate}"
            )

    def _checked_channels(self, input_shape: Sequence[int | None]) -> int:
        check_rank(self, input_shape, self.rank + 2, is_least=True)
        return known_channels(self, input_shape)

    def _add_bias(self, size: int) -> None:
        if self.use_bias:
            self.bias = self.add_weight(
                (size,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def _check_inputs(self, inputs: Any, channels: int) -> None:
        if inputs.shape[-1] != channels:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected axis -1 of input "
                f"shape to have value {channels}, but received input with shape {inputs.shape}"
            )

    def _finished(self, outputs: Any) -> Any:
        """With bias and activation."""
        if self.bias is not None:
            outputs = ops.bias_add(outputs, self.bias)
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        made = {} if self.filters is None else {"filters": self.filters}
        return {
            **super().get_config(),
            **made,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }
