"""Activations with parameters, as layers: ReLU, LeakyReLU, PReLU, ELU, Softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn import activations, constraints, initializers, ops, regularizers
from distnn.layers.layer import Layer
from distnn.variable import Variable

_MASKED = -1e9
"""What stands for a logit that does not count."""


class ReLU(Layer):
    """max(x, 0), with a slope below, a threshold and a largest value as in `activations.relu`."""

    supports_masking = True

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (
            ("max_value", max_value),
            ("negative_slope", negative_slope),
            ("threshold", threshold),
        ):
            if name != "max_value" and value is None or value is not None and value < 0:
                raise ValueError(f"`{name}` of a ReLU layer must not be negative. Received: {name}={value}")
        self.max_value = max_value
        self.negative_slope = float(negative_slope)
        self.threshold = float(threshold)

    def call(self, inputs: Any) -> Any:
        return activations.relu(inputs, self.negative_slope, self.max_value, self.threshold)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "max_value": self.max_value,
            "negative_slope": self.negative_slope,
            "threshold": self.threshold,
        }


class LeakyReLU(Layer):
    """x, or `negative_slope` times x below 0."""

    supports_masking = True

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if negative_slope is None or negative_slope < 0:
            raise ValueError(
                "The negative_slope value of a Leaky ReLU layer cannot be None or negative. "
                f"Received: negative_slope={negative_slope}"
            )
        self.negative_slope = float(negative_slope)

    def call(self, inputs: Any) -> Any:
        return ops.leaky_relu(inputs, self.negative_slope)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "negative_slope": self.negative_slope}


class PReLU(Layer):
    """x, or alpha times x below 0, alpha a trained weight of each value of a sample. He et al. 2015.

    Args:
        alpha_initializer, alpha_regularizer, alpha_constraint: of the slopes.
        shared_axes: axes along which one slope serves all (1 is the first after the batch's).
    """

    supports_masking = True

    alpha: Variable

    def __init__(
        self,
        alpha_initializer: Any = "zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.alpha_initializer = initializers.get(alpha_initializer)
        self.alpha_regularizer = regularizers.get(alpha_regularizer)
        self.alpha_constraint = constraints.get(alpha_constraint)
        axes = [shared_axes] if isinstance(shared_axes, int) else list(shared_axes or ())
        self.shared_axes = axes or None

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = [1 if i + 1 in (self.shared_axes or ()) else dim for i, dim in enumerate(input_shape[1:])]
        if any(dim is None for dim in shape):
            raise ValueError(f"layer '{self.name}' needs known axes. Received: {tuple(input_shape)}")
        self.alpha = self.add_weight(
            [dim for dim in shape if dim is not None],
            self.alpha_initializer,
            regularizer=self.alpha_regularizer,
            constraint=self.alpha_constraint,
            name="alpha",
        )

    def call(self, inputs: Any) -> Any:
        below = ops.multiply(ops.relu(ops.negative(inputs)), self.alpha)
        return ops.subtract(ops.relu(inputs), below)

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "alpha_initializer": initializers.serialize(self.alpha_initializer),
            "alpha_regularizer": regularizers.serialize(self.alpha_regularizer),
            "alpha_constraint": constraints.serialize(self.alpha_constraint),
            "shared_axes": self.shared_axes,
        }


class ELU(Layer):
    """x, or alpha * (e^x - 1) below 0. Clevert et al. 2016."""

    supports_masking = True

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if alpha < 0:
            raise ValueError(f"`alpha` must not be negative. Received: alpha={alpha}")
        self.alpha = float(alpha)

    def call(self, inputs: Any) -> Any:
        return ops.elu(inputs, alpha=self.alpha)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "alpha": self.alpha}


class Softmax(Layer):
    """e^x over its sum along an axis, or several.

    Call arguments:
        inputs: logits.
        mask: true where a logit counts; of the inputs' shape, or broadcast to it.
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = int(axis) if isinstance(axis, int | np.integer) else [int(one) for one in axis]

    def call(self, inputs: Any, mask: Any = None) -> Any:
        logits = inputs if mask is None else ops.where(mask, inputs, _MASKED)
        if isinstance(self.axis, int):
            return ops.softmax(logits, axis=self.axis)
        if len(self.axis) == 1:
            return ops.softmax(logits, axis=self.axis[0])
        return ops.exp(ops.subtract(logits, ops.logsumexp(logits, axis=self.axis, keepdims=True)))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
