"""ConvLSTM1D, ConvLSTM2D, ConvLSTM3D: LSTMs whose products are convolutions. Shi et al. 2015.

What the inputs add is computed for all steps in one convolution; the states' convolution is unrolled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from distnn import ops
from distnn.layers.images import known_channels
from distnn.layers.recurrent_cells import LSTMCell, noisy, split
from distnn.layers.recurrent_layers import _CellLayer
from distnn.ops.shapes import product
from distnn.ops.windows import as_sizes, checked_data_format, checked_padding


class ConvLSTMCell(LSTMCell):
    """An LSTM's step on images: gates i, f, c, o of a convolution of the input and one of the state.

    Args:
        rank: axes of an image, without the channels.
        filters: channels of the states and the output.
        kernel_size: of both windows.
        strides, padding, dilation_rate: of the input's window; the state's has steps of 1 and keeps sizes.
        data_format: "channels_last" or None.
    """

    def __init__(
        self,
        rank: int,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        **kwargs: Any,
    ) -> None:
        if not isinstance(filters, int) or isinstance(filters, bool) or filters <= 0:
            raise ValueError(
                "Invalid value for argument `filters`. Expected a strictly positive value. "
                f"Received filters={filters}."
            )
        super().__init__(filters, **kwargs)
        self.rank, self.filters = rank, filters
        self.kernel_size = as_sizes(kernel_size, rank, "kernel_size")
        self.strides = as_sizes(strides, rank, "strides")
        self.padding = checked_padding(padding)
        self.data_format = checked_data_format(data_format)
        self.dilation_rate = as_sizes(dilation_rate, rank, "dilation_rate")
        if max(self.strides) > 1 and max(self.dilation_rate) > 1:
            raise ValueError(
                "Specifying `strides > 1` is not compatible with `dilation_rate > 1`. Please provide "
                f"`strides=1` or `dilation_rate=1`. Received: strides={self.strides} and "
                f"dilation_rate={self.dilation_rate}"
            )
        self._sizes: tuple[int, ...] = ()

    @property
    def state_size(self) -> list[tuple[int, ...]]:
        return [(*self._sizes, self.filters)] * 2

    def build(self, input_shape: Sequence[int | None]) -> None:
        sizes = [size for size in input_shape[1:-1] if size is not None]
        if len(sizes) != self.rank:
            raise ValueError(
                "ConvLSTM layers only support static input shapes for the spatial dimension. Received "
                f"invalid input shape: input_shape={tuple(input_shape)}"
            )
        channels, columns = known_channels(self, input_shape), 4 * self.filters
        self._sizes = tuple(map(self._output_size, sizes, range(self.rank)))
        self.kernel = self.add_weight(
            (*self.kernel_size, channels, columns),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            (*self.kernel_size, self.filters, columns),
            self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            name="recurrent_kernel",
        )
        self._add_bias()

    def _output_size(self, size: int, axis: int) -> int:
        """Of the input's convolution."""
        reach = 0 if self.padding == "same" else self.dilation_rate[axis] * (self.kernel_size[axis] - 1)
        found = -(-(size - reach) // self.strides[axis])
        if found <= 0:
            raise ValueError(
                f"layer '{self.name}': the window does not fit into the image. Received: a size of {size}, "
                f"kernel_size={self.kernel_size}, dilation_rate={self.dilation_rate}"
            )
        return found

    def sums_of_inputs(self, images: Any) -> Any:
        """What the images add to the gates, with the bias."""
        sums = ops.conv(
            images,
            self.kernel,
            strides=self.strides,
            padding=self.padding,
            dilation_rate=self.dilation_rate,
        )
        return sums if self.bias is None else ops.bias_add(sums, self.bias)

    def step(self, inputs: Any, states: Sequence[Any], noise: Any = 1.0) -> tuple[Any, list[Any]]:
        return self.go_on(self.sums_of_inputs(inputs), states, noise)

    def go_on(self, sums: Any, states: Sequence[Any], noise: Any) -> tuple[Any, list[Any]]:
        """`step`, from the `sums_of_inputs`."""
        h, c = states
        sums = sums + ops.conv(noisy(h, noise), self.recurrent_kernel, padding="same")
        i, f, a, o = split(sums, 4)
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(a)
        h = gate(o) * self.activation(c)
        return h, [h, c]

    def recurrence(self, **options: Any) -> None:
        return None

    def own_config(self) -> dict[str, Any]:
        config = super().own_config()
        del config["units"]
        return {
            "filters": self.filters,
            "kernel_size": list(self.kernel_size),
            "strides": list(self.strides),
            "padding": self.padding,
            "data_format": self.data_format,
            "dilation_rate": list(self.dilation_rate),
            **config,
        }


class _ConvLSTM(_CellLayer):
    """Args as of `ConvLSTMCell`, `LSTMCell` and `RNN`."""

    cell: ConvLSTMCell
    _rank: ClassVar[int]

    def __init__(
        self,
        filters: int,
        kernel_size: Any,
        strides: Any = 1,
        padding: str = "valid",
        data_format: str | None = None,
        dilation_rate: Any = 1,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        **kwargs: Any,
    ) -> None:
        cell = ConvLSTMCell(
            self._rank,
            filters,
            kernel_size,
            strides=strides,
            padding=padding,
            data_format=data_format,
            dilation_rate=dilation_rate,
            activation=activation,
            recurrent_activation=recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            unit_forget_bias=unit_forget_bias,
            kernel_regularizer=kernel_regularizer,
            recurrent_regularizer=recurrent_regularizer,
            bias_regularizer=bias_regularizer,
            kernel_constraint=kernel_constraint,
            recurrent_constraint=recurrent_constraint,
            bias_constraint=bias_constraint,
            dropout=dropout,
            recurrent_dropout=recurrent_dropout,
            seed=seed,
        )
        super().__init__(
            cell,
            activity_regularizer=activity_regularizer,
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            **self._of_layer(kwargs),
        )

    def build(self, sequences_shape: Sequence[int | None]) -> None:
        wanted = self.cell.rank + 3
        if len(sequences_shape) != wanted:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected ndim={wanted}, "
                f"found ndim={len(sequences_shape)}. Full shape received: {tuple(sequences_shape)}"
            )
        super().build(sequences_shape)

    def _unrolled(
        self, sequences: Any, states: list[Any], mask: Any, training: bool
    ) -> tuple[Any, list[Any]]:
        batch, steps, *sizes = sequences.spec.shape
        images = ops.reshape(sequences, (product((batch, steps)), *sizes))
        sums = self.cell.sums_of_inputs(images)
        return super()._unrolled(
            ops.reshape(sums, (batch, steps, *sums.spec.shape[1:])), states, mask, training
        )

    def _step(self, x: Any, states: list[Any], noise: Any, training: bool) -> tuple[Any, list[Any]]:
        return self.cell.go_on(x, states, noise)


class ConvLSTM1D(_ConvLSTM):
    """An LSTM over a series of lines, its products convolutions.

    Input shape: `(batch, steps, size, channels)`.
    Output shape: `(batch, new_size, filters)`; with `return_sequences` the steps' axis, too.
    Args as of `Conv1D` and `LSTM`.
    """

    _rank = 1


class ConvLSTM2D(_ConvLSTM):
    """An LSTM over a series of images, its products convolutions.

    Input shape: `(batch, steps, height, width, channels)`.
    Output shape: `(batch, new_height, new_width, filters)`; with `return_sequences` the steps' axis, too.
    Args as of `Conv2D` and `LSTM`.
    """

    _rank = 2


class ConvLSTM3D(_ConvLSTM):
    """An LSTM over a series of volumes, its products convolutions.

    Input shape: `(batch, steps, depth, height, width, channels)`.
    Output shape: `(batch, new_depth, new_height, new_width, filters)`; with `return_sequences` the steps'
    axis, too.
    Args as of `Conv3D` and `LSTM`.
    """

    _rank = 3
