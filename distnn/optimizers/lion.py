"""Lion: steps of the sign of the momentum (Chen et al., 2023)."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.kernels import update_adaptive as adaptive
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Lion(Optimizer):
    """`w -= learning_rate * sign(beta_1 * m + (1 - beta_1) * g); m = beta_2 * m + (1 - beta_2) * g`.

    Args:
        learning_rate: a number or a schedule; smaller than Adam's.
        beta_1: how much the momentum counts in a step; above 0.
        beta_2: how much of the momentum is kept.
        options: weight decay and clipping, see `Options`.

    >>> Lion().beta_2
    0.99
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = checked_fraction("beta_1", beta_1)
        self.beta_2 = checked_fraction("beta_2", beta_2)
        if self.beta_1 == 0.0:
            raise ValueError(
                "Argument `beta_1` must be in the [0, 1] range. Otherwise, the optimizer degenerates to "
                f"SignSGD. Received: beta_1={beta_1}."
            )

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum",)

    @property
    def kernel(self) -> Kernel:
        return adaptive.lion

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        scalars[kernels.BETA_1] = self.beta_1
        scalars[kernels.BETA_2] = self.beta_2

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "beta_1": self.beta_1, "beta_2": self.beta_2}
