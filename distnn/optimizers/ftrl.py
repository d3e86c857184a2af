"""Follow the regularised leader (McMahan et al., 2013), for sparse linear models."""

from __future__ import annotations

from typing import Any, Unpack

from distnn.kernels import update as kernels
from distnn.kernels import update_adaptive as adaptive
from distnn.optimizers.base import Kernel, Optimizer, Options
from distnn.schedules import LearningRateSchedule
from distnn.tensor import Array


class Ftrl(Optimizer):
    """`z += g - (sqrt(n + g**2) - sqrt(n)) / learning_rate * w; n += g**2`, and the weights from `z`:

    `w = (clip(z, -l1, l1) - z) / ((beta + sqrt(n)) / learning_rate + 2 * l2)`: 0 where `z` is within `l1`.

    Args:
        learning_rate: a number or a schedule.
        learning_rate_power: -0.5; no other is supported.
        initial_accumulator_value: of `n`.
        l1_regularization_strength, l2_regularization_strength: see above.
        l2_shrinkage_regularization_strength: adds `2 * strength * w` to the gradient, but not to `n`.
        beta: see above.
        options: weight decay and clipping, see `Options`.

    >>> Ftrl().slot_names
    ('accumulator', 'linear')
    """

    def __init__(
        self,
        learning_rate: float | LearningRateSchedule = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        if learning_rate_power != -0.5:
            raise ValueError(
                "`learning_rate_power` is not supported yet: leave it -0.5. "
                f"Received: learning_rate_power={learning_rate_power}"
            )
        self.initial_accumulator_value = _not_negative("initial_accumulator_value", initial_accumulator_value)
        self.l1_regularization_strength = _not_negative(
            "l1_regularization_strength", l1_regularization_strength
        )
        self.l2_regularization_strength = _not_negative(
            "l2_regularization_strength", l2_regularization_strength
        )
        self.l2_shrinkage_regularization_strength = _not_negative(
            "l2_shrinkage_regularization_strength", l2_shrinkage_regularization_strength
        )
        self.beta = float(beta)

    @property
    def slot_names(self) -> tuple[str, ...]:
        return ("accumulator", "linear")

    @property
    def kernel(self) -> Kernel:
        return adaptive.ftrl

    def initial_slots(self, trainable_size: int) -> Array:
        slots = super().initial_slots(trainable_size)
        slots[0] = self.initial_accumulator_value
        return slots

    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        scalars[kernels.ALPHA] = self.l1_regularization_strength
        scalars[kernels.VELOCITY_FACTOR] = (
            2.0 * self.l2_regularization_strength + self.beta / learning_rate if learning_rate else 0.0
        )
        scalars[kernels.SHRINKAGE] = self.l2_shrinkage_regularization_strength

    def get_config(self) -> dict[str, Any]:
        own = {
            "initial_accumulator_value": self.initial_accumulator_value,
            "l1_regularization_strength": self.l1_regularization_strength,
            "l2_regularization_strength": self.l2_regularization_strength,
            "l2_shrinkage_regularization_strength": self.l2_shrinkage_regularization_strength,
            "beta": self.beta,
        }
        return {**super().get_config(), **own}


def _not_negative(name: str, value: float) -> float:
    if value < 0.0:
        raise ValueError(f"`{name}` needs to be positive or zero. Received: {name}={value}.")
    return float(value)
