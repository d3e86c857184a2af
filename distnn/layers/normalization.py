"""BatchNormalization and LayerNormalization."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from distnn import constraints, initializers, ops, regularizers
from distnn.layers.layer import Layer
from distnn.ops.shapes import product
from distnn.variable import Variable


def _checked_axes(name: str, axis: Any) -> int | list[int]:
    """One axis as a number, several as a list."""
    axes = [axis] if isinstance(axis, int | np.integer) else list(axis)
    if not axes or any(not isinstance(a, int | np.integer) or isinstance(a, bool) or a == 0 for a in axes):
        raise ValueError(f"{name}: `axis` must name axes behind the batch's. Received: axis={axis}")
    return int(axes[0]) if len(axes) == 1 else [int(one) for one in axes]


class _Normalization(Layer):
    """Scale and offset of both layers, with initializers, regularizers and constraints as in Keras."""

    supports_masking = True

    gamma: Variable | None
    beta: Variable | None

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        beta_constraint: Any,
        gamma_regularizer: Any,
        gamma_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = _checked_axes(type(self).__name__, axis)
        if not isinstance(epsilon, int | float) or epsilon <= 0:
            raise ValueError(f"`epsilon` must be a positive number. Received: epsilon={epsilon!r}")
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self.beta_initializer = initializers.get(beta_initializer)
        self.gamma_initializer = initializers.get(gamma_initializer)
        self.beta_regularizer = regularizers.get(beta_regularizer)
        self.gamma_regularizer = regularizers.get(gamma_regularizer)
        self.beta_constraint = constraints.get(beta_constraint)
        self.gamma_constraint = constraints.get(gamma_constraint)

    def _places(self, rank: int) -> list[int]:
        """The axes, counted from the first."""
        axes = [self.axis] if isinstance(self.axis, int) else self.axis
        if any(not -rank < axis < rank for axis in axes):
            raise ValueError(f"layer '{self.name}': axis {self.axis} does not exist in inputs of {rank} axes")
        return sorted(axis % rank for axis in axes)

    def _add_scale_and_offset(self, input_shape: Sequence[int | None]) -> list[int]:
        given = [input_shape[axis] for axis in self._places(len(input_shape))]
        shape = [dim for dim in given if dim is not None]
        if len(shape) != len(given):
            raise ValueError(f"layer '{self.name}' needs known axes. Received: {tuple(input_shape)}")
        self.gamma = self.beta = None
        if self.scale:
            self.gamma = self.add_weight(
                shape,
                self.gamma_initializer,
                regularizer=self.gamma_regularizer,
                constraint=self.gamma_constraint,
                name="gamma",
            )
        if self.center:
            self.beta = self.add_weight(
                shape,
                self.beta_initializer,
                regularizer=self.beta_regularizer,
                constraint=self.beta_constraint,
                name="beta",
            )
        return shape

    def _with_axes_last(self, inputs: Any, function: Callable[[Any], Any]) -> Any:
        """`function`, which acts on the last axis, of the inputs with our axes as their last, as one."""
        shape = inputs.spec.shape
        places = self._places(len(shape))
        others = [axis for axis in range(len(shape)) if axis not in places]
        order = [*others, *places]
        turned = ops.transpose(inputs, order)
        flat = ops.reshape(turned, (*(shape[axis] for axis in others), product([shape[a] for a in places])))
        done = ops.reshape(function(flat), turned.spec.shape)
        return ops.transpose(done, [order.index(axis) for axis in range(len(shape))])

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "axis": self.axis,
            "epsilon": self.epsilon,
            "center": self.center,
            "scale": self.scale,
            "beta_initializer": initializers.serialize(self.beta_initializer),
            "gamma_initializer": initializers.serialize(self.gamma_initializer),
            "beta_regularizer": regularizers.serialize(self.beta_regularizer),
            "gamma_regularizer": regularizers.serialize(self.gamma_regularizer),
            "beta_constraint": constraints.serialize(self.beta_constraint),
            "gamma_constraint": constraints.serialize(self.gamma_constraint),
        }


class BatchNormalization(_Normalization):
    """Each channel to mean 0 and variance 1 over the samples. Ioffe & Szegedy 2015.

    In training the statistics are those of the shard: `shards` is part of what the model computes. The
    moving statistics, used otherwise, follow those of the whole batch, merged exactly from the shards'.

    Args:
        momentum: of the moving statistics.
        synchronized: statistics of the whole batch in training; not to be had yet.
    """

    couples_samples = True

    def __init__(
        self,
        axis: Any = -1,
        momentum: float = 0.99,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            axis,
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            beta_constraint,
            gamma_regularizer,
            gamma_constraint,
            **kwargs,
        )
        if not isinstance(self.axis, int):
            raise ValueError(f"BatchNormalization takes one axis. Received: axis={axis}")
        if synchronized:
            raise ValueError(
                "BatchNormalization(synchronized=True) is not supported: the statistics of a step are those "
                "of each shard. Use fewer shards, or LayerNormalization."
            )
        if not 0.0 <= momentum <= 1.0:
            raise ValueError(f"`momentum` must be between 0 and 1. Received: momentum={momentum}")
        self.momentum = float(momentum)
        self.moving_mean_initializer = initializers.get(moving_mean_initializer)
        self.moving_variance_initializer = initializers.get(moving_variance_initializer)

    def build(self, input_shape: Sequence[int | None]) -> None:
        shape = self._add_scale_and_offset(input_shape)
        self.moving_mean = self.add_weight(
            shape, self.moving_mean_initializer, trainable=False, name="moving_mean"
        )
        self.moving_variance = self.add_weight(
            shape, self.moving_variance_initializer, trainable=False, name="moving_variance"
        )

    def call(self, inputs: Any, training: bool = False, mask: Any = None) -> Any:
        if training and self.trainable and mask is not None:
            raise ValueError(
                f"layer '{self.name}' was passed a mask: BatchNormalization would take statistics of steps "
                "that do not count. Use LayerNormalization, or put it before the layer that makes the mask."
            )
        return self._with_axes_last(inputs, lambda flat: self._normalized(flat, training))

    def _normalized(self, inputs: Any, training: bool) -> Any:
        if not training or not self.trainable:
            return ops.batch_norm_inference(
                inputs, self.gamma, self.beta, self.moving_mean, self.moving_variance, self.epsilon
            )
        outputs, moments = ops.batch_norm_training(inputs, self.gamma, self.beta, self.epsilon)
        inputs.graph.add_moments(moments, self.moving_mean, self.moving_variance, self.momentum)
        return outputs

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "momentum": self.momentum,
            "moving_mean_initializer": initializers.serialize(self.moving_mean_initializer),
            "moving_variance_initializer": initializers.serialize(self.moving_variance_initializer),
        }


class LayerNormalization(_Normalization):
    """Each sample's last axis (or the axes given) to mean 0 and variance 1. Ba, Kiros & Hinton 2016."""

    def __init__(
        self,
        axis: Any = -1,
        epsilon: float = 0.001,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            axis,
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            beta_constraint,
            gamma_regularizer,
            gamma_constraint,
            **kwargs,
        )

    def build(self, input_shape: Sequence[int | None]) -> None:
        self._add_scale_and_offset(input_shape)

    def call(self, inputs: Any) -> Any:
        gamma, beta = (None if one is None else ops.reshape(one, (-1,)) for one in (self.gamma, self.beta))
        return self._with_axes_last(inputs, lambda flat: ops.layer_norm(flat, gamma, beta, self.epsilon))
