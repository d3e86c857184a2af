"""Layers that act in training only: dropout of values, of whole channels, and other noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from distnn import ops
from distnn.layers.layer import Layer
from distnn.tensor import Dim


class _Noise(Layer):
    """Acts in training only, by a rate and a seed of its own."""

    supports_masking = True

    supports_masking = True

    def __init__(self, rate: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 <= rate <= 1:
            raise ValueError(
                "Invalid value received for argument `rate`. Expected a float value between 0 and 1. "
                f"Received: rate={rate}"
            )
        self.rate = float(rate)
        self.seed = seed

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.rate == 0:
            return inputs
        return self._noisy(inputs)

    def _noisy(self, inputs: Any) -> Any:
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}


class Dropout(_Noise):
    """In training sets a fraction `rate` of the values to 0 and divides the others by `1 - rate`.

    The choice is a function of the seed, the step, the shard and the layer's place in the model. Srivastava
    et al. 2014.

    Args:
        rate: between 0 and 1.
        noise_shape: shape of the choice, 1 where it holds along a whole axis, None where it does not.
        seed: a number of the layer's own, mixed into its stream.
    """

    def __init__(
        self,
        rate: float,
        noise_shape: Sequence[int | None] | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(rate, seed, **kwargs)
        self.noise_shape = None if noise_shape is None else list(noise_shape)

    def _noisy(self, inputs: Any) -> Any:
        if self.noise_shape is None:
            return ops.dropout(inputs, self.rate, seed=self.seed)
        shape = inputs.spec.shape
        if len(self.noise_shape) != len(shape):
            raise ValueError(
                f"`noise_shape` must have {len(shape)} entries, as the inputs have axes. "
                f"Received: noise_shape={self.noise_shape}"
            )
        chosen = [
            dim if wanted is None else wanted for wanted, dim in zip(self.noise_shape, shape, strict=True)
        ]
        return _times_mask(inputs, chosen, self)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "noise_shape": self.noise_shape}


def _times_mask(inputs: Any, shape: Sequence[Dim], layer: _Noise) -> Any:
    """The inputs times a dropout of ones of `shape`."""
    ones = ops.broadcast_to(1.0, tuple(shape))
    return ops.multiply(inputs, ops.dropout(ones, layer.rate, seed=layer.seed))


class _SpatialDropout(_Noise):
    """Drops whole channels (of the last axis) of a sample."""

    rank: ClassVar[int]

    def _noisy(self, inputs: Any) -> Any:
        shape = inputs.spec.shape
        if len(shape) != self.rank:
            raise ValueError(
                f"layer '{self.name}' takes inputs of {self.rank} axes. Received: shape={inputs.shape}"
            )
        return _times_mask(inputs, (shape[0], *(1 for _ in shape[1:-1]), shape[-1]), self)


class SpatialDropout1D(_SpatialDropout):
    """Dropout of whole channels of series `(batch, steps, channels)`."""

    rank = 3


class SpatialDropout2D(_SpatialDropout):
    """Dropout of whole channels of images `(batch, rows, columns, channels)`."""

    rank = 4


class SpatialDropout3D(_SpatialDropout):
    """Dropout of whole channels of volumes or films `(batch, depth, rows, columns, channels)`."""

    rank = 5


class GaussianDropout(_Noise):
    """In training multiplies by noise around 1, of standard deviation `sqrt(rate / (1 - rate))`."""

    def _noisy(self, inputs: Any) -> Any:
        if self.rate == 1:
            raise ValueError("`rate` of GaussianDropout must be below 1. Received: rate=1.0")
        stddev = (self.rate / (1.0 - self.rate)) ** 0.5
        return ops.multiply(inputs, ops.add(ops.normal_like(inputs, stddev, seed=self.seed), 1.0))


_SELU_ALPHA, _SELU_SCALE = 1.6732632423543772, 1.0507009873554805


class AlphaDropout(_Noise):
    """Dropout that keeps mean and variance of values that `selu` made. Klambauer et al. 2017."""

    def _noisy(self, inputs: Any) -> Any:
        if self.rate == 1:
            return ops.zeros_like(inputs)
        kept_share, lowest = 1.0 - self.rate, -_SELU_ALPHA * _SELU_SCALE
        scale = (kept_share * (1.0 + self.rate * lowest**2)) ** -0.5
        offset = -scale * lowest * self.rate
        ones = ops.broadcast_to(1.0, inputs.spec.shape)
        is_kept = ops.greater(ops.dropout(ones, self.rate, seed=self.seed), 0.0)
        return ops.add(ops.multiply(ops.where(is_kept, inputs, lowest), scale), offset)


class GaussianNoise(Layer):
    """In training adds noise of mean 0 and standard deviation `stddev`."""

    supports_masking = True

    def __init__(self, stddev: float, seed: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(stddev, int | float) or isinstance(stddev, bool) or stddev < 0:
            raise ValueError(
                "Invalid value received for argument `stddev`. Expected a float value of 0 or more. "
                f"Received: stddev={stddev}"
            )
        self.stddev = float(stddev)
        self.seed = seed

    def call(self, inputs: Any, training: bool = False) -> Any:
        if not training or self.stddev == 0:
            return inputs
        return ops.add(inputs, ops.normal_like(inputs, self.stddev, seed=self.seed))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "stddev": self.stddev, "seed": self.seed}
