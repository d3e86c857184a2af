"""Layers that act in training only: Dropout."""

from __future__ import annotations

from typing import Any

from distnn import ops
from distnn.layers.layer import Layer


class Dropout(Layer):
    """In training sets a fraction `rate` of the values to 0 and divides the others by `1 - rate`.

    The choice is a function of the seed, the step, the shard and the layer's place in the model. Srivastava
    et al. 2014.

    Args:
        rate: between 0 and 1.
        seed: a number of the layer's own, mixed into its stream.
    """

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
        return ops.dropout(inputs, self.rate, seed=self.seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "seed": self.seed}
