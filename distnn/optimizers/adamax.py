"""Adamax: Adam by the largest gradient (Kingma & Ba, 2014)."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.kernels import update_adaptive as adaptive
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Adamax(Optimizer):
    """`m += (1 - beta_1) * (g - m); u = max(beta_2 * u, abs(g)); w -= alpha * m / (u + epsilon)`.

    `alpha = learning_rate / (1 - beta_1**t)` at update number t, counted from 1.

    Args:
        learning_rate: a number or a schedule.
        beta_1: how much of the mean of the gradients is kept.
        beta_2: how much of the largest gradient is kept.
        epsilon: keeps the quotient finite.
        options: weight decay and clipping, see `Options`.

    >>> float(Adamax(0.5, beta_1=0.5).scalars(0)[kernels.ALPHA])
    1.0
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

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum", "norm")

    @property
    def kernel(self) -> Kernel:
        return adaptive.adamax

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        step = iterations + 1
        scalars[kernels.BETA_1] = self.beta_1
        scalars[kernels.BETA_2] = self.beta_2
        scalars[kernels.EPSILON] = self.epsilon
        scalars[kernels.ALPHA] = learning_rate / (1.0 - self.beta_1**step)

    def get_config(self) -> dict[str, Any]:
        own = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
