"""What a recurrent layer does at one step: SimpleRNNCell, LSTMCell, GRUCell, StackedRNNCells.

`call(inputs, states)` gives `(output, new states)`. A recurrent layer of one of these cells runs all steps in
one op where `recurrence` says how; else `step` is called for each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distnn import activations, constraints, initializers, layers, ops, regularizers
from distnn.initializers import Initializer
from distnn.kernels import recurrent_cells as kernels
from distnn.kernels import recurrent_steps as steps
from distnn.layers.layer import Layer
from distnn.ops.recurrence import Recurrence
from distnn.tensor import Array
from distnn.variable import Variable


class Cell(Layer):
    """Kernels, bias, noise and configuration of the cells of this file."""

    kernel: Variable
    recurrent_kernel: Variable
    bias: Variable | None
    gates = 1
    has_carry = False

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(units, int | np.integer) or isinstance(units, bool) or units <= 0:
            raise ValueError(
                f"Received an invalid value for argument `units`, expected a positive integer, got {units}."
            )
        self.units = int(units)
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.recurrent_constraint = constraints.get(recurrent_constraint)
        self.bias_constraint = constraints.get(bias_constraint)
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self.seed = seed

    @property
    def state_size(self) -> Any:
        return [self.units, self.units] if self.has_carry else self.units

    @property
    def output_size(self) -> int:
        return self.units

    def get_initial_state(self, batch_size: int | None = None) -> list[Array]:
        """Zeros for so many samples."""
        shape = (batch_size or 0, self.units)
        return [np.zeros(shape, np.float32) for _ in range(2 if self.has_carry else 1)]

    def build(self, input_shape: Sequence[int | None]) -> None:
        features = input_shape[-1]
        if features is None:
            raise ValueError(
                f"The last dimension of the inputs to layer '{self.name}' must be known. "
                f"Full shape received: {tuple(input_shape)}"
            )
        columns = self.gates * self.units
        self.kernel = self.add_weight(
            (features, columns),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.recurrent_kernel = self.add_weight(
            (self.units, columns),
            self.recurrent_initializer,
            regularizer=self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
            name="recurrent_kernel",
        )
        self._add_bias()

    def _add_bias(self) -> None:
        self.bias = None
        if self.use_bias:
            shape, initializer = self._bias()
            self.bias = self.add_weight(
                shape,
                initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def _bias(self) -> tuple[tuple[int, ...], Any]:
        """Shape of the bias, and how it begins."""
        return (self.gates * self.units,), self.bias_initializer

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        h = states[0] if isinstance(states, list | tuple) else states
        if training:
            inputs = inputs * kept(inputs, self.dropout, self.seed)
        noise = kept(h, self.recurrent_dropout, self.seed) if training else 1.0
        return self.step(inputs, states if isinstance(states, list | tuple) else [states], noise)

    def step(self, inputs: Any, states: Sequence[Any], noise: Any = 1.0) -> tuple[Any, list[Any]]:
        """Output and states after a step.

        Args:
            noise: by which the state is multiplied where it enters the recurrent product.
        """
        raise NotImplementedError

    def recurrence(self, **options: Any) -> Recurrence | None:
        """All steps as one op, or None if there is none for these activations."""
        raise NotImplementedError

    def _sum(self, inputs: Any, h: Any, noise: Any) -> Any:
        total = ops.matmul(inputs, self.kernel) + ops.matmul(noisy(h, noise), self.recurrent_kernel)
        return total if self.bias is None else ops.bias_add(total, self.bias)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), **self.own_config()}

    def own_config(self) -> dict[str, Any]:
        """The constructor's arguments other than those of every layer."""
        return {
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "recurrent_initializer": initializers.serialize(self.recurrent_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "recurrent_regularizer": regularizers.serialize(self.recurrent_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "recurrent_constraint": constraints.serialize(self.recurrent_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
            "dropout": self.dropout,
            "recurrent_dropout": self.recurrent_dropout,
            "seed": self.seed,
        }


def kept(x: Any, rate: float, seed: int | None) -> Any:
    """What x is multiplied by where dropout is applied: 0 or `1 / (1 - rate)`; 1.0 at a rate of 0 or 1."""
    return ops.dropout(ops.ones_like(x), rate, seed=seed) if 0.0 < rate < 1.0 else 1.0


def noisy(h: Any, noise: Any) -> Any:
    return h if isinstance(noise, float) else h * noise


_SIMPLE: dict[Any, int] = {
    activations.tanh: kernels.TANH,
    activations.relu: kernels.RELU,
    activations.linear: kernels.LINEAR,
}


class SimpleRNNCell(Cell):
    """h = activation(x @ kernel + h @ recurrent_kernel + bias)."""

    def step(self, inputs: Any, states: Sequence[Any], noise: Any = 1.0) -> tuple[Any, list[Any]]:
        h = self.activation(self._sum(inputs, states[0], noise))
        return h, [h]

    def recurrence(self, **options: Any) -> Recurrence | None:
        known = _SIMPLE.get(self.activation)
        return None if known is None else Recurrence(steps.SIMPLE, known, **options)


class _GatedCell(Cell):
    """A cell with gates of an activation of their own."""

    def __init__(
        self, units: int, activation: Any = "tanh", recurrent_activation: Any = "sigmoid", **kwargs: Any
    ) -> None:
        super().__init__(units, activation, **kwargs)
        self.recurrent_activation = activations.get(recurrent_activation)

    @property
    def has_usual_activations(self) -> bool:
        return self.activation is activations.tanh and self.recurrent_activation is activations.sigmoid

    def own_config(self) -> dict[str, Any]:
        name = activations.serialize(self.recurrent_activation)
        return {**super().own_config(), "recurrent_activation": name}


class ForgetBias(Initializer):
    """The bias of an LSTM: ones for the forget gate, the others as `inner` says."""

    def __init__(self, inner: Initializer, units: int) -> None:
        self.inner, self.units = inner, units

    def __call__(self, shape: Sequence[int], dtype: str = "float32", *, key: int | None = None) -> Array:
        others = np.asarray(self.inner((3 * self.units,), dtype, key=key), dtype)
        return np.concatenate([others[: self.units], np.ones(self.units, dtype), others[self.units :]])


class LSTMCell(_GatedCell):
    """Long short-term memory: gates i, f, c, o; c = f c + i tanh(..), h = o tanh(c). Hochreiter 1997.

    Args:
        unit_forget_bias: the forget gate's bias begins at 1.
    """

    gates = 4
    has_carry = True

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )
        self.unit_forget_bias = unit_forget_bias

    def _bias(self) -> tuple[tuple[int, ...], Any]:
        shape, initializer = super()._bias()
        return shape, ForgetBias(initializer, self.units) if self.unit_forget_bias else initializer

    def step(self, inputs: Any, states: Sequence[Any], noise: Any = 1.0) -> tuple[Any, list[Any]]:
        h, c = states
        i, f, a, o = split(self._sum(inputs, h, noise), 4)
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(a)
        h = gate(o) * self.activation(c)
        return h, [h, c]

    def recurrence(self, **options: Any) -> Recurrence | None:
        return Recurrence(steps.LSTM, **options) if self.has_usual_activations else None

    def own_config(self) -> dict[str, Any]:
        return {**super().own_config(), "unit_forget_bias": self.unit_forget_bias}


class GRUCell(_GatedCell):
    """Gated recurrent unit: gates z, r, h; h = z h + (1 - z) tanh(..). Cho et al. 2014.

    Args:
        reset_after: r multiplies the recurrent product, not the state before it.
    """

    gates = 3

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        reset_after: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            activation,
            recurrent_activation,
            use_bias=use_bias,
            kernel_initializer=kernel_initializer,
            recurrent_initializer=recurrent_initializer,
            bias_initializer=bias_initializer,
            **kwargs,
        )
        self.reset_after = reset_after

    def _bias(self) -> tuple[tuple[int, ...], Any]:
        shape, initializer = super()._bias()
        return ((2, *shape) if self.reset_after else shape), initializer

    def step(self, inputs: Any, states: Sequence[Any], noise: Any = 1.0) -> tuple[Any, list[Any]]:
        h = states[0]
        noisy_h = noisy(h, noise)
        x = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            x = ops.bias_add(x, self.bias[0] if self.reset_after else self.bias)
        x_z, x_r, x_a = split(x, 3)
        gate, units = self.recurrent_activation, self.units
        if self.reset_after:
            inner = ops.matmul(noisy_h, self.recurrent_kernel)
            if self.bias is not None:
                inner = ops.bias_add(inner, self.bias[1])
            h_z, h_r, h_a = split(inner, 3)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            a = self.activation(x_a + r * h_a)
        else:
            h_z, h_r = split(ops.matmul(noisy_h, self.recurrent_kernel[:, : 2 * units]), 2)
            z, r = gate(x_z + h_z), gate(x_r + h_r)
            a = self.activation(x_a + ops.matmul(r * noisy_h, self.recurrent_kernel[:, 2 * units :]))
        h = z * h + (1.0 - z) * a
        return h, [h]

    def recurrence(self, **options: Any) -> Recurrence | None:
        usual = self.has_usual_activations and self.reset_after
        return Recurrence(steps.GRU, **options) if usual else None

    def own_config(self) -> dict[str, Any]:
        return {**super().own_config(), "reset_after": self.reset_after}


def split(x: Any, parts: int) -> list[Any]:
    """The last axis in equal parts."""
    size = x.shape[-1] // parts
    return [x[..., i * size : (i + 1) * size] for i in range(parts)]


class StackedRNNCells(Layer):
    """Cells one on top of the other, as one.

    Args:
        cells: each takes the output of the one before; their states follow each other.
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            check_cell(cell, "All cells must have a")
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        return [size for cell in self.cells for size in sizes_of(cell)]

    @property
    def output_size(self) -> Any:
        return getattr(self.cells[-1], "output_size", sizes_of(self.cells[-1])[0])

    def call(self, inputs: Any, states: Sequence[Any], training: bool = False) -> Any:
        left = list(states)
        found: list[Any] = []
        for cell in self.cells:
            count = len(sizes_of(cell))
            inputs, after = cell(inputs, left[:count], training=training)
            found += after if isinstance(after, list | tuple) else [after]
            left = left[count:]
        return inputs, found

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cells": [layers.serialize(cell) for cell in self.cells]}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> StackedRNNCells:
        return cls(**{**config, "cells": [layers.deserialize(cell) for cell in config["cells"]]})


def sizes_of(cell: Any) -> list[Any]:
    """The sizes of a cell's states: numbers, or shapes."""
    size = cell.state_size
    return list(size) if isinstance(size, list | tuple) else [size]


def check_cell(cell: Any, beginning: str) -> None:
    """Refuse what is no cell.

    Raises:
        ValueError: it has no `call`, or no `state_size`.
    """
    if not isinstance(cell, Layer) or "call" not in dir(cell):
        raise ValueError(f"{beginning} `call` method. Received: cell={cell}")
    if "state_size" not in dir(cell):
        raise ValueError(
            f"{beginning} `state_size` attribute (single integer or list of integers, one integer per RNN "
            f"state). Received: cell={cell}"
        )
