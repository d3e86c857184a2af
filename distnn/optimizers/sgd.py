"""Gradient descent, with momentum."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class SGD(Optimizer):
    """`w = w - learning_rate * g`.

    With momentum: `m = momentum * m - learning_rate * g; w = w + m`; with Nesterov's
    `w = w + momentum * m - learning_rate * g`.

    Args:
        learning_rate: a number or a schedule.
        momentum: 0 to 1.
        nesterov: look ahead by the momentum.
        options: weight decay and clipping, see `Options`.

    >>> SGD(learning_rate=0.1, momentum=0.9).slot_names
    ('momentum',)
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.momentum = checked_fraction("momentum", momentum, below_one=False)
        self.nesterov = bool(nesterov)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum",) if self.momentum else ()

    @property
    def kernel(self) -> Kernel:
        if not self.momentum:
            return kernels.sgd
        return kernels.sgd_nesterov if self.nesterov else kernels.sgd_momentum

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        scalars[kernels.MOMENTUM] = self.momentum

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "momentum": self.momentum, "nesterov": self.nesterov}
