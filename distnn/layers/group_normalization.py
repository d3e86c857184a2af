"""GroupNormalization, RMSNormalization, and UnitNormalization, which has no weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from distnn import ops
from distnn.layers.layer import Layer
from distnn.layers.normalization import _Normalization
from distnn.ops.shapes import product
from distnn.variable import Variable


class GroupNormalization(_Normalization):
    """Each group of a sample's channels to mean 0 and variance 1. Wu & He 2018.

    Args:
        groups: number of groups; -1 makes a group of each channel.
        axis: the channels'.
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
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
        if not isinstance(self.axis, int):
            raise ValueError(f"GroupNormalization takes one axis. Received: axis={axis}")
        if not isinstance(groups, int) or (groups < 1 and groups != -1):
            raise ValueError(f"`groups` must be a positive integer or -1. Received: groups={groups}")
        self.groups = groups

    def build(self, input_shape: Sequence[int | None]) -> None:
        (channels,) = self._add_scale_and_offset(input_shape)
        if self.groups != -1 and channels % self.groups:
            raise ValueError(
                f"Number of groups ({self.groups}) must divide the number of channels ({channels}) of the "
                f"inputs of layer '{self.name}'. Received: input_shape={tuple(input_shape)}"
            )

    def call(self, inputs: Any) -> Any:
        shape = inputs.spec.shape
        (place,) = self._places(len(shape))
        x = ops.moveaxis(inputs, place, -1)
        batch, *positions, channels = x.spec.shape
        groups = channels if self.groups == -1 else self.groups
        count, size = product(positions), channels // groups
        # (batch, positions, groups, size) -> a row for each sample and group
        split = ops.transpose(ops.reshape(x, (batch, count, groups, size)), (0, 2, 1, 3))
        rows = ops.layer_norm(ops.reshape(split, (batch, groups, count * size)), None, None, self.epsilon)
        back = ops.transpose(ops.reshape(rows, (batch, groups, count, size)), (0, 2, 1, 3))
        y = ops.reshape(back, x.spec.shape)
        if self.gamma is not None:
            y = ops.multiply(y, self.gamma)
        if self.beta is not None:
            y = ops.add(y, self.beta)
        return ops.moveaxis(y, -1, place)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "groups": self.groups}


class RMSNormalization(Layer):
    """Each sample divided by the root of its mean square along `axis`, times trained numbers.

    Zhang & Sennrich 2019.
    """

    supports_masking = True

    scale: Variable

    def __init__(self, axis: int = -1, epsilon: float = 1e-6, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axis, int) or axis == 0:
            raise ValueError(f"RMSNormalization takes one axis, not the batch's. Received: axis={axis}")
        self.axis = axis
        self.epsilon = float(epsilon)

    def build(self, input_shape: Sequence[int | None]) -> None:
        size = input_shape[self.axis]
        if size is None:
            raise ValueError(f"layer '{self.name}' needs a known axis. Received: {tuple(input_shape)}")
        self.scale = self.add_weight((size,), "ones", name="scale")

    def call(self, inputs: Any) -> Any:
        rank = len(inputs.spec.shape)
        behind = rank - 1 - self.axis % rank
        scale = ops.reshape(self.scale, (-1, *(1 for _ in range(behind))))
        return ops.rms_normalization(inputs, scale, axis=self.axis, epsilon=self.epsilon)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis, "epsilon": self.epsilon}


class UnitNormalization(Layer):
    """Each sample divided by its length along `axis`."""

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = int(axis) if isinstance(axis, int | np.integer) else [int(one) for one in axis]

    def call(self, inputs: Any) -> Any:
        return ops.normalize(inputs, axis=self.axis, order=2, epsilon=1e-12)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "axis": self.axis}
