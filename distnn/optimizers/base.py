"""What every optimizer is: settings, the numbers of a step, and the kernel that applies them.

An optimizer holds no array. Its slots are an array [num_slots, T] beside the T trainable values, owned by
whoever commits steps (`distnn.updater`), who also applies `clipnorm` and `global_clipnorm`, as those need
norms over more than one element.
"""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypedDict, Unpack

import numpy as np

from distnn import schedules
from distnn.kernels import update as kernels
from distnn.naming import did_you_mean, snake_case
from distnn.tensor import Array

Kernel = Callable[..., Any]

_REPLACED = {
    "lr": "write `learning_rate={value!r}`",
    "decay": "write `learning_rate=schedules.InverseTimeDecay(initial_learning_rate, decay_steps=1, "
    "decay_rate={value!r})`",
}
_WITHOUT_EFFECT = {
    "use_ema": False,
    "ema_momentum": 0.99,
    "ema_overwrite_frequency": None,
    "loss_scale_factor": None,
    "gradient_accumulation_steps": None,
}
"""Arguments of Keras that are accepted with their default only."""


class Options(TypedDict, total=False):
    """What every optimizer takes.

    `weight_decay`: the share of the learning rate by which weights shrink each step. `clipnorm`: bound of
    each weight's gradient norm; `clipvalue`: of each value; `global_clipnorm`: of the norm over all weights;
    at most one of the three.
    """

    weight_decay: float | None
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    name: str | None


class Optimizer(ABC):
    """Base of the optimizers.

    Args:
        learning_rate: a number or a `LearningRateSchedule`.
        options: see `Options`.

    Attributes:
        iterations: updates over the model's life, as far as the model knows; the learning rate of a schedule
            is told for it.
    """

    def __init__(
        self, learning_rate: float | schedules.LearningRateSchedule, **options: Unpack[Options]
    ) -> None:
        given: dict[str, Any] = dict(options)
        self.name: str = given.pop("name", None) or snake_case(type(self).__name__)
        self.weight_decay = _optional("weight_decay", given.pop("weight_decay", None), minimum=0.0)
        self.clipnorm = _optional("clipnorm", given.pop("clipnorm", None))
        self.clipvalue = _optional("clipvalue", given.pop("clipvalue", None))
        self.global_clipnorm = _optional("global_clipnorm", given.pop("global_clipnorm", None))
        self._refuse_others(given)
        if sum(clip is not None for clip in (self.clipnorm, self.clipvalue, self.global_clipnorm)) > 1:
            raise ValueError(
                "Only one of `clipnorm`, `clipvalue` and `global_clipnorm` can be set. Received: "
                f"clipnorm={self.clipnorm}, clipvalue={self.clipvalue}, "
                f"global_clipnorm={self.global_clipnorm}"
            )
        self._learning_rate = _checked_learning_rate(learning_rate)
        self.iterations = 0

    @property
    @abstractmethod
    def slot_names(self) -> tuple[str, ...]:
        """Names of the slots, in the order of their array's rows."""

    @property
    @abstractmethod
    def kernel(self) -> Kernel:
        """The update of `distnn.kernels.update` for these settings."""

    needs_whole_weights: ClassVar[bool] = False
    """Whether the kernel must be given all of a weight at once."""

    @property
    def direction_squares(self) -> Kernel | None:
        """For rules that scale each variable's step by its size: the kernel that sums the step's squares."""
        return None

    @abstractmethod
    def set_scalars(self, scalars: Array, learning_rate: float, iterations: int) -> None:
        """Write what the kernel needs beyond the learning rate, clipping and decay into `scalars`."""

    def initial_slots(self, trainable_size: int) -> Array:
        """The slots before the first step: float32 [num_slots, trainable_size]."""
        return np.zeros((len(self.slot_names), trainable_size), np.float32)

    def scalars(self, iterations: int) -> Array:
        """The numbers of update number `iterations`, counted from 0, where the kernels look for them."""
        scalars = np.zeros(kernels.NUM_SCALARS, np.float64)
        scalars[kernels.GRADIENT_SCALE] = 1.0
        self.write_scalars(scalars, iterations)
        return scalars

    def write_scalars(self, scalars: Array, iterations: int) -> None:
        """Write what `scalars` gives, but for penalties and the gradient's scale; [NUM_SCALARS] or wider."""
        learning_rate = self.learning_rate_at(iterations)
        scalars[kernels.LEARNING_RATE] = learning_rate
        scalars[kernels.CLIP_VALUE] = math.inf if self.clipvalue is None else self.clipvalue
        scalars[kernels.WEIGHT_DECAY] = self.weight_decay or 0.0
        self.set_scalars(scalars, learning_rate, iterations)

    def update(
        self,
        weights: Array,
        gradient: Array,
        slots: Array,
        new_weights: Array,
        new_slots: Array,
        scalars: Array,
        start: int,
        stop: int,
    ) -> int:
        """Update the elements [start, stop): read the first three arrays, write the other two.

        Args:
            gradient: of all elements; the others are of all, too.

        Returns:
            The fingerprint of what was written; those of slices add up (modulo 2**64).
        """
        kernel, part = self.kernel, gradient[start:stop]
        return int(kernel(weights, part, slots, new_weights, new_slots, scalars, start, stop))

    # Learning rate

    def learning_rate_at(self, iterations: int) -> float:
        """The learning rate of update number `iterations`."""
        if isinstance(self._learning_rate, schedules.LearningRateSchedule):
            return float(self._learning_rate(iterations))
        return self._learning_rate

    @property
    def learning_rate(self) -> float:
        """Of the next update; may be set while training, unless it is a schedule."""
        return self.learning_rate_at(self.iterations)

    @learning_rate.setter
    def learning_rate(self, value: float | schedules.LearningRateSchedule) -> None:
        new = _checked_learning_rate(value)
        is_schedule = isinstance(self._learning_rate, schedules.LearningRateSchedule)
        if is_schedule and not isinstance(new, schedules.LearningRateSchedule):
            raise TypeError(
                "This optimizer was created with a `LearningRateSchedule` object as its `learning_rate` "
                "constructor argument, hence its learning rate is not settable. If you need the learning "
                "rate to be settable, you should instantiate the optimizer with a float `learning_rate` "
                "argument."
            )
        self._learning_rate = new

    # Saving

    def get_state(self) -> dict[str, Any]:
        """What a checkpoint must hold beside the slots: the learning rate, if it may have been set."""
        if isinstance(self._learning_rate, schedules.LearningRateSchedule):
            return {}
        return {"learning_rate": self._learning_rate}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` returned."""
        if "learning_rate" in state:
            self._learning_rate = _checked_learning_rate(state["learning_rate"])

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        rate = self._learning_rate
        is_schedule = isinstance(rate, schedules.LearningRateSchedule)
        return {
            "name": self.name,
            "learning_rate": schedules.serialize(rate) if is_schedule else rate,  # type: ignore[arg-type]
            "weight_decay": self.weight_decay,
            "clipnorm": self.clipnorm,
            "global_clipnorm": self.global_clipnorm,
            "clipvalue": self.clipvalue,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Optimizer:
        arguments = dict(config)
        if isinstance(arguments.get("learning_rate"), Mapping):
            arguments["learning_rate"] = schedules.deserialize(arguments["learning_rate"])
        return cls(**arguments)

    def __repr__(self) -> str:
        config = self.get_config()
        return (
            f"<{type(self).__name__} {', '.join(f'{k}={v!r}' for k, v in config.items() if v is not None)}>"
        )

    def _refuse_others(self, given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            if name in _REPLACED:
                raise ValueError(
                    f"Argument `{name}` of {type(self).__name__} is an old spelling: "
                    f"{_REPLACED[name].format(value=value)}. Received: {name}={value!r}"
                )
            if name not in _WITHOUT_EFFECT:
                known = [*_own_arguments(type(self)), *Options.__annotations__]
                raise ValueError(
                    f"Argument(s) not recognized: {dict(given)}.{did_you_mean(name, known)} "
                    f"{type(self).__name__} takes: {', '.join(dict.fromkeys(known))}."
                )
            if value not in (None, _WITHOUT_EFFECT[name]):
                raise ValueError(
                    f"Argument `{name}` of {type(self).__name__} is not supported yet: leave it out. "
                    f"Received: {name}={value!r}"
                )


def _own_arguments(optimizer_class: type) -> list[str]:
    """Names of the constructor's arguments beside those of `Options`."""
    parameters = inspect.signature(optimizer_class).parameters.values()
    return [parameter.name for parameter in parameters if parameter.kind is not parameter.VAR_KEYWORD]


def checked_fraction(name: str, value: Any, below_one: bool = True) -> float:
    """A number from 0 to 1 (1 excluded, if `below_one`)."""
    number = checked_number(name, value)
    if not 0.0 <= number <= 1.0 or (below_one and number == 1.0):
        raise ValueError(
            f"`{name}` must be a float between [0, 1{')' if below_one else ']'}. Received: {name}={value!r}"
        )
    return number


def checked_positive(name: str, value: Any) -> float:
    """A number above 0."""
    number = checked_number(name, value)
    if number <= 0:
        raise ValueError(f"`{name}` must be a positive float. Received: {name}={value!r}")
    return number


def _optional(name: str, value: Any, minimum: float | None = None) -> float | None:
    if value is None:
        return None
    if minimum is None:
        return checked_positive(name, value)
    number = checked_number(name, value)
    if number < minimum:
        raise ValueError(f"`{name}` must be at least {minimum}. Received: {name}={value!r}")
    return number


def checked_number(name: str, value: Any) -> float:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"`{name}` must be a finite number. Received: {name}={value!r}")
    return float(value)


def _checked_learning_rate(value: Any) -> float | schedules.LearningRateSchedule:
    if isinstance(value, schedules.LearningRateSchedule):
        return value
    value = value.item() if isinstance(value, np.ndarray | np.generic) and value.size == 1 else value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError(
            "Argument `learning_rate` should be a float that is not negative, or an instance of "
            f"LearningRateSchedule. Received instead: learning_rate={value!r}"
        )
    return float(value)
