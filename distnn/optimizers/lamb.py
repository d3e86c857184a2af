"""LAMB: Adam with a rate for each variable by its size (You et al., 2019)."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.kernels import update_adaptive as adaptive
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Lamb(Optimizer):
    """`w -= learning_rate * |w| / |d| * d`, where `d` is Adam's direction and norms are of whole variables.

    The norms cost a pass more and, where workers share memory, a barrier more. They cannot be combined with
    `clipnorm` or `global_clipnorm`, which need norms before that.

    Args:
        learning_rate: a number or a schedule.
        beta_1: how much of the mean of the gradients is kept.
        beta_2: how much of the mean of their squares is kept.
        epsilon: keeps the quotient finite.
        options: weight decay and clipping, see `Options`.

    >>> Lamb().slot_names
    ('momentum', 'velocity')
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = checked_fraction("beta_1", beta_1)
        self.beta_2 = checked_fraction("beta_2", beta_2)
        self.epsilon = checked_positive("epsilon", epsilon)
        if self.clipnorm is not None or self.global_clipnorm is not None:
            raise ValueError(
                "Lamb cannot clip norms: leave `clipnorm` and `global_clipnorm` out (`clipvalue` works). "
                f"Received: clipnorm={self.clipnorm}, global_clipnorm={self.global_clipnorm}"
            )

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum", "velocity")

    @property
    def direction_squares(self) -> Kernel | None:
        return adaptive.lamb_square_sums

    @property
    def kernel(self) -> Kernel:
        return adaptive.lamb

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        step = iterations + 1
        scalars[kernels.BETA_1] = self.beta_1
        scalars[kernels.BETA_2] = self.beta_2
        scalars[kernels.EPSILON] = self.epsilon
        scalars[kernels.TRUST] = 1.0
        scalars[kernels.MOMENTUM_FACTOR] = 1.0 / (1.0 - self.beta_1**step)
        scalars[kernels.VELOCITY_FACTOR] = 1.0 / (1.0 - self.beta_2**step)

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
