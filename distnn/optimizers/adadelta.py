"""Adadelta (Zeiler, 2012): steps in the units of the weights."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.kernels import update_adaptive as adaptive
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Adadelta(Optimizer):
    """`d = -g * sqrt(x + epsilon) / sqrt(v + epsilon); w = w + learning_rate * d`.

    `v` and `x` are running means of `g**2` and `d**2`.

    Args:
        learning_rate: a number or a schedule; the paper's is 1.0.
        rho: how much of the running means is kept.
        epsilon: begins the steps, and keeps the quotient finite.
        options: weight decay and clipping, see `Options`.

    >>> Adadelta().slot_names
    ('accumulated_grad', 'accumulated_delta_var')
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = checked_fraction("rho", rho)
        self.epsilon = checked_positive("epsilon", epsilon)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("accumulated_grad", "accumulated_delta_var")

    @property
    def kernel(self) -> Kernel:
        return adaptive.adadelta

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        scalars[kernels.RHO] = self.rho
        scalars[kernels.EPSILON] = self.epsilon

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rho": self.rho, "epsilon": self.epsilon}
