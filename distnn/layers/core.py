"""Dense, Activation, and where a model begins: Input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from distnn import activations, constraints, initializers, ops, regularizers
from distnn.layers.layer import Layer, first_axis_shape
from distnn.network import input_tensor
from distnn.tensor import Spec, Tensor
from distnn.variable import Variable


class Dense(Layer):
    """`activation(x @ kernel + bias)` over the last axis.

    Input shape: `(batch, ..., inputs)`. Output shape: `(batch, ..., units)`.

    Args:
        units: size of the output.
        activation: name or function; None for linear.
        use_bias: whether to add a bias.
        kernel_initializer, bias_initializer: how the weights begin.
        kernel_regularizer, bias_regularizer: penalties on the weights.
        activity_regularizer: a penalty on the outputs.
        kernel_constraint, bias_constraint: what the weights are held to.
    """

    supports_masking = True

    kernel: Variable
    bias: Variable | None

    def __init__(
        self,
        units: int,
        activation: Any = None,
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(activity_regularizer=activity_regularizer, **kwargs)
        if not isinstance(units, int) or isinstance(units, bool) or units <= 0:
            raise ValueError(
                f"Received an invalid value for `units`, expected a positive integer. Received: units={units}"
            )
        self.units = units
        self.activation = activations.get(activation)
        self.use_bias = use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.kernel_constraint = constraints.get(kernel_constraint)
        self.bias_constraint = constraints.get(bias_constraint)

    def build(self, input_shape: Sequence[int | None]) -> None:
        if len(input_shape) < 2:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected min_ndim=2, found "
                f"ndim={len(input_shape)}. Full shape received: {tuple(input_shape)}"
            )
        inputs = input_shape[-1]
        if inputs is None:
            raise ValueError(
                f"The last dimension of the inputs to layer '{self.name}' must be known. "
                f"Full shape received: {tuple(input_shape)}"
            )
        self.kernel = self.add_weight(
            (inputs, self.units),
            self.kernel_initializer,
            regularizer=self.kernel_regularizer,
            constraint=self.kernel_constraint,
            name="kernel",
        )
        self.bias = None
        if self.use_bias:
            self.bias = self.add_weight(
                (self.units,),
                self.bias_initializer,
                regularizer=self.bias_regularizer,
                constraint=self.bias_constraint,
                name="bias",
            )

    def call(self, inputs: Any) -> Any:
        if inputs.shape[-1] != self.kernel.shape[0]:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected axis -1 of input "
                f"shape to have value {self.kernel.shape[0]}, but received input with shape {inputs.shape}"
            )
        outputs = ops.matmul(inputs, self.kernel)
        if self.bias is not None:
            outputs = ops.bias_add(outputs, self.bias)
        return self.activation(outputs)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "units": self.units,
            "activation": activations.serialize(self.activation),
            "use_bias": self.use_bias,
            "kernel_initializer": initializers.serialize(self.kernel_initializer),
            "bias_initializer": initializers.serialize(self.bias_initializer),
            "kernel_regularizer": regularizers.serialize(self.kernel_regularizer),
            "bias_regularizer": regularizers.serialize(self.bias_regularizer),
            "kernel_constraint": constraints.serialize(self.kernel_constraint),
            "bias_constraint": constraints.serialize(self.bias_constraint),
        }


class Activation(Layer):
    """Applies an activation function by name, or a function of the user's own."""

    supports_masking = True

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: Any) -> Any:
        return self.activation(inputs)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "activation": activations.serialize(self.activation)}


class Identity(Layer):
    """What it is given."""

    supports_masking = True

    def call(self, inputs: Any) -> Any:
        return inputs


class ActivityRegularization(Layer):
    """What it is given, with a penalty `l1 * sum|x| + l2 * sum x**2` on each sample, averaged over the batch.

    Args:
        l1, l2: factors of the penalty.
    """

    supports_masking = True

    def __init__(self, l1: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(activity_regularizer=regularizers.L1L2(l1, l2), **kwargs)
        self.l1, self.l2 = float(l1), float(l2)

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        del config["activity_regularizer"]
        return {**config, "l1": self.l1, "l2": self.l2}


class InputLayer(Layer):
    """Where a model begins: the shape of a sample, without the batch axis."""

    supports_masking = True

    def __init__(
        self,
        shape: Sequence[int] | None = None,
        batch_size: int | None = None,
        dtype: str | None = None,
        sparse: bool | None = None,
        ragged: bool | None = None,
        batch_shape: Sequence[int | None] | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        if sparse or ragged:
            raise ValueError(f"inputs are dense arrays. Received: sparse={sparse}, ragged={ragged}")
        if batch_shape is not None:
            if shape is not None or batch_size is not None:
                raise ValueError(
                    "You cannot pass `shape` or `batch_size` at the same time as `batch_shape`. "
                    f"Received: shape={shape}, batch_size={batch_size}, batch_shape={batch_shape}"
                )
            batch_size, shape = batch_shape[0], tuple(dim or 0 for dim in batch_shape[1:])
        if batch_size is not None and (not isinstance(batch_size, int) or batch_size < 1):
            raise ValueError(f"`batch_size` must be a positive integer. Received: batch_size={batch_size}")
        self.batch_size = batch_size
        if not isinstance(shape, list | tuple) or any(not isinstance(dim, int) or dim <= 0 for dim in shape):
            raise ValueError(
                "`shape` must be a tuple of positive integers without the batch axis. "
                f"Received: shape={shape}"
            )
        if dtype not in (None, "float32", "int32"):
            raise ValueError(f"`dtype` must be 'float32' or 'int32'. Received: dtype={dtype!r}")
        self.sample_shape = tuple(shape)
        self.input_dtype = dtype or "float32"
        self.built = True

    @property
    def spec(self) -> Spec:
        """Of the model's input."""
        return Spec(first_axis_shape(self.sample_shape or (), self.batch_size), self.input_dtype)

    def call(self, inputs: Any) -> Any:
        return inputs

    def get_config(self) -> dict[str, Any]:
        shape = list(self.sample_shape or ())
        size = {} if self.batch_size is None else {"batch_size": self.batch_size}
        return {"name": self.name, "shape": shape, "dtype": self.input_dtype, **size}


def Input(  # noqa: N802
    shape: Sequence[int] | None = None,
    batch_size: int | None = None,
    dtype: str | None = None,
    sparse: bool | None = None,
    ragged: bool | None = None,
    batch_shape: Sequence[int | None] | None = None,
    name: str | None = None,
) -> Tensor:
    """The tensor that a functional model begins with, or a Sequential's first entry.

    Args:
        shape: of a sample, without the batch axis.
        batch_size: of every batch; stateful layers need to know it.
        dtype: "float32" or "int32".
        sparse, ragged: not to be had.
        batch_shape: batch size and shape in one.
        name: of the input, by which data in a dict is found.
    """
    layer = InputLayer(shape, batch_size, dtype, sparse, ragged, batch_shape, name)
    return input_tensor(layer.spec, name or "")
