"""Adam (Kingma & Ba, 2014), AMSGrad (Reddi et al., 2018), and AdamW (Loshchilov & Hutter, 2019)."""

from __future__ import annotations

import math
from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_fraction, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class _AdamRule(Optimizer):
    """What Adam and AdamW share, which is all but a default."""

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = checked_fraction("beta_1", beta_1)
        self.beta_2 = checked_fraction("beta_2", beta_2)
        self.epsilon = checked_positive("epsilon", epsilon)
        self.amsgrad = bool(amsgrad)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("momentum", "velocity", "velocity_hat") if self.amsgrad else ("momentum", "velocity")

    @property
    def kernel(self) -> Kernel:
        return kernels.adam_amsgrad if self.amsgrad else kernels.adam

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        step = iterations + 1
        scalars[kernels.BETA_1] = self.beta_1
        scalars[kernels.BETA_2] = self.beta_2
        scalars[kernels.EPSILON] = self.epsilon
        scalars[kernels.ALPHA] = (
            learning_rate * math.sqrt(1.0 - self.beta_2**step) / (1.0 - self.beta_1**step)
        )

    def get_config(self) -> dict[str, Any]:
        own = {
            "beta_1": self.beta_1,
            "beta_2": self.beta_2,
            "epsilon": self.epsilon,
            "amsgrad": self.amsgrad,
        }
        return {**super().get_config(), **own}


class Adam(_AdamRule):
    """`m += (1 - beta_1) * (g - m); v += (1 - beta_2) * (g**2 - v); w -= alpha * m / (sqrt(v) + epsilon)`.

    `alpha = learning_rate * sqrt(1 - beta_2**t) / (1 - beta_1**t)` at update number t, counted from 1. With
    AMSGrad the largest `v` so far stands in the quotient.

    Args:
        learning_rate: a number or a schedule.
        beta_1: how much of the mean of the gradients is kept.
        beta_2: how much of the mean of their squares is kept.
        epsilon: keeps the quotient finite.
        amsgrad: use the largest `v`.
        options: weight decay and clipping, see `Options`.

    >>> float(Adam(beta_1=0.5, beta_2=0.75).scalars(0)[kernels.ALPHA])
    0.001
    """


class AdamW(_AdamRule):
    """Adam with weight decay 0.004 unless another is given; arguments as of `Adam`.

    >>> AdamW().weight_decay
    0.004
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        if weight_decay is None:
            raise ValueError("Argument `weight_decay` must be a float. Received: weight_decay=None")
        options["weight_decay"] = weight_decay
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, **options)
