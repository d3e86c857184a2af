"""Nadam: Adam with Nesterov momentum (Dozat, 2015)."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.kernels import update_adaptive as adaptive
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Nadam(Optimizer):
    """Adam with the momentum of the next update, and a schedule of its own for that momentum.

    With `u_t = beta_1 * (1 - 0.96**t / 2)`, the products `p_t = u_1 ... u_t`, and Adam's `m` and `v`:
    `w -= learning_rate * (u_(t+1) * m / (1 - p_(t+1)) + (1 - u_t) * g / (1 - p_t)) / d`, where
    `d = sqrt(v / (1 - beta_2**t)) + epsilon`.

    Args:
        learning_rate: a number or a schedule.
        beta_1: how much of the mean of the gradients is kept.
        beta_2: how much of the mean of their squares is kept.
        epsilon: keeps the quotient finite.
        options: weight decay and clipping, see `Options`.

    >>> Nadam().slot_names
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
        self._product = (0, 1.0)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum", "velocity")

    @property
    def kernel(self) -> Kernel:
        return adaptive.nadam

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        step = iterations + 1
        scalars[kernels.BETA_1] = self.beta_1
        scalars[kernels.BETA_2] = self.beta_2
        scalars[kernels.EPSILON] = self.epsilon
        now, then = self._momentum_at(step), self._momentum_at(step + 1)
        product = self._product_to(step)
        scalars[kernels.MOMENTUM_FACTOR] = learning_rate * then / (1.0 - product * then)
        scalars[kernels.GRADIENT_FACTOR] = learning_rate * (1.0 - now) / (1.0 - product)
        scalars[kernels.VELOCITY_FACTOR] = 1.0 / (1.0 - self.beta_2**step)

    def _momentum_at(self, step: int) -> float:
        return float(self.beta_1 * (1.0 - 0.5 * 0.96**step))

    def _product_to(self, step: int) -> float:
        """The momenta of the updates 1 to `step`, multiplied in order; the last one is remembered."""
        known, product = self._product if self._product[0] <= step else (0, 1.0)
        while known < step and product > 0.0:
            known += 1
            product *= self._momentum_at(known)
        self._product = (step, product)
        return product

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
