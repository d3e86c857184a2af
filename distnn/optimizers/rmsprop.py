"""RMSprop: the gradient over the root of a running mean of its squares (Hinton, lecture 6e)."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class RMSprop(Optimizer):
    """`v = rho * v + (1 - rho) * g**2; w = w - learning_rate * g / sqrt(v + epsilon)`.

    Centered: `v - a**2` in place of `v`, where `a` is the running mean of `g`. With momentum the steps are
    added up as `m = momentum * m + step; w = w - m`.

    Args:
        learning_rate: a number or a schedule.
        rho: how much of the running mean is kept.
        momentum: 0 to 1.
        epsilon: keeps the quotient finite.
        centered: divide by the deviation instead of the root mean square.
        options: weight decay and clipping, see `Options`.

    >>> RMSprop(momentum=0.9, centered=True).slot_names
    ('velocity', 'momentum', 'average_gradient')
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = checked_fraction("rho", rho)
        self.momentum = checked_fraction("momentum", momentum, below_one=False)
        self.epsilon = checked_positive("epsilon", epsilon)
        self.centered = bool(centered)

    @property
    def slot_names(self) -> tuple[str, ...]:
        momentum = ("momentum",) if self.momentum else ()
        average = ("average_gradient",) if self.centered else ()
        return ("velocity", *momentum, *average)

    @property
    def kernel(self) -> Kernel:
        if self.centered:
            return kernels.rmsprop_centered_momentum if self.momentum else kernels.rmsprop_centered
        return kernels.rmsprop_momentum if self.momentum else kernels.rmsprop

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        scalars[kernels.RHO] = self.rho
        scalars[kernels.MOMENTUM] = self.momentum
        scalars[kernels.EPSILON] = self.epsilon

    def get_config(self) -> dict[str, Any]:
        own = {
            "rho": self.rho,
            "momentum": self.momentum,
            "epsilon": self.epsilon,
            "centered": self.centered,
        }
        return {**super().get_config(), **own}
