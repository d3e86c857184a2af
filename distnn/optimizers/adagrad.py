"""Adagrad: Duchi et al., "Adaptive subgradient methods", 2011."""

from __future__ import annotations

from typing import Any, Unpack

import numpy as np

from distnn.kernels import update as kernels
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Adagrad(Optimizer):
    """`a = a + g**2; w = w - learning_rate * g / sqrt(a + epsilon)`.

    Args:
        learning_rate: a number or a schedule.
        initial_accumulator_value: where `a` begins.
        epsilon: keeps the quotient finite.
        options: weight decay and clipping, see `Options`.

    >>> Adagrad(initial_accumulator_value=0.5).initial_slots(2).tolist()
    [[0.5, 0.5]]
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        if initial_accumulator_value != 0:
            checked_positive("initial_accumulator_value", initial_accumulator_value)
        self.initial_accumulator_value = float(initial_accumulator_value)
        self.epsilon = checked_positive("epsilon", epsilon)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("accumulator",)

    @property
    def kernel(self) -> Kernel:
        return kernels.adagrad

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        scalars[kernels.EPSILON] = self.epsilon

    def initial_slots(self, trainable_size: int) -> Array:
        return np.full((1, trainable_size), self.initial_accumulator_value, np.float32)

    def get_config(self) -> dict[str, Any]:
        own = {"initial_accumulator_value": self.initial_accumulator_value, "epsilon": self.epsilon}
        return {**super().get_config(), **own}
