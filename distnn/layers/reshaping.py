"""Layers that give the same values another shape or order: Flatten, Reshape, Permute."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from distnn import ops
from distnn.layers.layer import Layer
from distnn.tensor import Dim, Tensor


def _batch_dim(tensor: Tensor) -> Dim:
    return tensor.spec.shape[0]


class Flatten(Layer):
    """All axes but the batch's as one. Output shape: `(batch, values per sample)`."""

    def call(self, inputs: Tensor) -> Any:
        values = math.prod(dim for dim in inputs.spec.shape[1:] if isinstance(dim, int))
        return ops.reshape(inputs, (_batch_dim(inputs), values))


class Reshape(Layer):
    """Gives each sample the shape `target_shape`; one dimension may be -1.

    Output shape: `(batch, *target_shape)`.
    """

    def __init__(self, target_shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.target_shape = tuple(int(dim) for dim in target_shape)
        if self.target_shape.count(-1) > 1:
            raise ValueError(
                "There must be at most one unknown dimension (-1) in `target_shape`. "
                f"Received: target_shape={self.target_shape}."
            )
        if any(dim == 0 or dim < -1 for dim in self.target_shape):
            raise ValueError(
                "`target_shape` must hold positive integers and at most one -1. "
                f"Received: target_shape={self.target_shape}"
            )

    def call(self, inputs: Tensor) -> Any:
        values = math.prod(dim for dim in inputs.spec.shape[1:] if isinstance(dim, int))
        known = math.prod(dim for dim in self.target_shape if dim != -1)
        fits = values % known == 0 if -1 in self.target_shape else values == known
        if not fits:
            raise ValueError(
                "The total size of the tensor must be unchanged. Received: "
                f"input_shape={inputs.shape[1:]}, target_shape={self.target_shape}"
            )
        target = tuple(values // known if dim == -1 else dim for dim in self.target_shape)
        return ops.reshape(inputs, (_batch_dim(inputs), *target))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "target_shape": list(self.target_shape)}


class Permute(Layer):
    """Axes of a sample in another order.

    Args:
        dims: the axes' numbers in the new order; 1 is the first after the batch's.
    """

    def __init__(self, dims: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dims = tuple(int(dim) for dim in dims)
        if sorted(self.dims) != list(range(1, len(self.dims) + 1)):
            raise ValueError(
                "Invalid permutation argument `dims` for Permute Layer. The set of indices in `dims` must be "
                f"consecutive and start from 1. Received dims={self.dims}"
            )

    def call(self, inputs: Tensor) -> Any:
        if len(inputs.spec.shape) != len(self.dims) + 1:
            raise ValueError(
                f"layer '{self.name}' permutes {len(self.dims)} axes. Received: shape={inputs.shape}"
            )
        return ops.transpose(inputs, (0, *self.dims))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dims": list(self.dims)}
