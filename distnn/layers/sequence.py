"""Layers about time steps: Masking, RepeatVector, TimeDistributed."""

from __future__ import annotations

import inspect
from typing import Any

from distnn import ops
from distnn.layers.layer import Layer
from distnn.layers.wrapper import Wrapper
from distnn.ops.shapes import product
from distnn.tensor import Tensor, keras_shape


class Masking(Layer):
    """Steps all of whose values are `mask_value` do not count: they become 0, and layers behind get a mask.

    Input and output shape: `(batch, steps, features)`.
    """

    supports_masking = True

    def __init__(self, mask_value: float = 0.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.mask_value = mask_value

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        return ops.any(ops.not_equal(inputs, self.mask_value), axis=-1)

    def call(self, inputs: Tensor) -> Any:
        counts = self.compute_mask(inputs)
        outputs = ops.where(ops.expand_dims(counts, -1), inputs, 0.0)
        outputs.mask = counts
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "mask_value": self.mask_value}


class RepeatVector(Layer):
    """The same vector `n` times. Input shape: `(batch, features)`. Output shape: `(batch, n, features)`."""

    def __init__(self, n: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(n, int):
            raise TypeError(f"Expected an integer value for `n`, got {type(n)}.")
        if n < 1:
            raise ValueError(f"`n` must be positive. Received: n={n}")
        self.n = n

    def call(self, inputs: Tensor) -> Any:
        shape = inputs.spec.shape
        if len(shape) != 2:
            raise ValueError(
                f"Input 0 of layer '{self.name}' is incompatible with the layer: expected ndim=2, found "
                f"ndim={len(shape)}. Full shape received: {keras_shape(shape)}"
            )
        return ops.broadcast_to(ops.expand_dims(inputs, 1), (shape[0], self.n, shape[1]))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "n": self.n}


class TimeDistributed(Wrapper):
    """A layer applied to each time step: all steps of all samples are its samples.

    Input shape: `(batch, steps, ...)`. Output shape: `(batch, steps, ...)`.
    """

    supports_masking = True

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        if not isinstance(layer, Layer):
            raise ValueError(
                f"Please initialize `TimeDistributed` layer with a `Layer` instance. Received: {layer}"
            )
        super().__init__(layer, **kwargs)

    def build(self, input_shape: Any) -> None:
        if not isinstance(input_shape, list | tuple) or len(input_shape) < 3:
            raise ValueError(
                "`TimeDistributed` Layer should be passed an `input_shape` with at least 3 dimensions, "
                f"received: {input_shape}"
            )

    def call(self, inputs: Tensor, training: bool = False, mask: Any = None) -> Any:
        batch, steps, *rest = inputs.spec.shape
        one = product((batch, steps))
        kwargs: dict[str, Any] = {"training": training}
        if mask is not None and "mask" in inspect.signature(self.layer.call).parameters:
            kwargs["mask"] = ops.reshape(mask, (one, *mask.spec.shape[2:]))
        outputs = self.layer(ops.reshape(inputs, (one, *rest)), **kwargs)
        return ops.reshape(outputs, (batch, steps, *outputs.spec.shape[1:]))
