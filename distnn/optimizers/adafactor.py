"""Adafactor: second moments by rows and columns (Shazeer & Stern, 2018)."""

from __future__ import annotations

import math
from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.kernels.update_adafactor import adafactor
from distnn.optimizers.base import Kernel, Optimizer, Options, checked_number, checked_positive
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Adafactor(Optimizer):
    """`w -= rho * max(epsilon_2, rms(w)) * u / max(1, rms(u) / clip_threshold)`, `u = g / sqrt(v)`.

    `rho` is the smaller of the learning rate and `1 / sqrt(t)` at step t. `v` is a running mean of
    `g^2 + epsilon_1`, kept at `1 - t^beta_2_decay`; of weights with two axes or more it is the product of the
    means of rows and columns. A weight is updated whole by one worker. The slots are as large as the weights,
    though little of them is used.

    Args:
        learning_rate: a number or a schedule.
        beta_2_decay: the power of t, below 0.
        epsilon_1: keeps the quotient finite.
        epsilon_2: least size of a weight that the step is scaled by.
        clip_threshold: largest root mean square of `u`.
        relative_step: accepted; as in Keras, the rate never exceeds `1 / sqrt(t)`.
        options: weight decay and clipping, see `Options`.

    >>> Adafactor().slot_names
    ('row_means', 'column_means')
    """

    needs_whole_weights = True

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_2_decay = checked_number("beta_2_decay", beta_2_decay)
        if self.beta_2_decay >= 0:
            raise ValueError(f"`beta_2_decay` must be below 0. Received: beta_2_decay={beta_2_decay!r}")
        self.epsilon_1 = checked_positive("epsilon_1", epsilon_1)
        self.epsilon_2 = checked_positive("epsilon_2", epsilon_2)
        self.clip_threshold = checked_positive("clip_threshold", clip_threshold)
        self.relative_step = bool(relative_step)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("row_means", "column_means")

    @property
    def kernel(self) -> Kernel:
        return adafactor

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        step = iterations + 1
        scalars[kernels.ALPHA] = min(learning_rate, 1.0 / math.sqrt(step))
        scalars[kernels.BETA_2] = 1.0 - step**self.beta_2_decay
        scalars[kernels.EPSILON] = self.epsilon_1
        scalars[kernels.RHO] = self.epsilon_2
        scalars[kernels.SHRINKAGE] = self.clip_threshold

    def get_config(self) -> dict[str, Any]:
        names = ("beta_2_decay", "epsilon_1", "epsilon_2", "clip_threshold", "relative_step")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
