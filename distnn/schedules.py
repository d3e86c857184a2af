"""Keras's learning-rate schedules: the learning rate as a pure function of the step, in Python floats.

Formulas are Keras's, computed in float64 (Keras: float32). An optimizer calls its schedule once a step;
nothing here counts steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from distnn import identifiers


class LearningRateSchedule:
    """What a schedule is; subclass it and write `__call__` for one of your own."""

    def __call__(self, step: int) -> float:
        """The learning rate of update number `step`, counted from 0."""
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `__call__(self, step)`."
        )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        raise NotImplementedError(
            f"Learning rate schedule '{type(self).__name__}' must override `get_config()` "
            "in order to be serializable."
        )

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> LearningRateSchedule:
        return cls(**config)


class ExponentialDecay(LearningRateSchedule):
    """`initial_learning_rate * decay_rate ** (step / decay_steps)`; `staircase` floors the exponent.

    >>> ExponentialDecay(0.5, decay_steps=10, decay_rate=0.5, staircase=True)(25)
    0.125
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "ExponentialDecay",
    ) -> None:
        self.initial_learning_rate = _number("initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.decay_rate = _number("decay_rate", decay_rate)
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        exponent = step / self.decay_steps
        if self.staircase:
            exponent = math.floor(exponent)
        return float(self.initial_learning_rate * self.decay_rate**exponent)

    def get_config(self) -> dict[str, Any]:
        return _config(self, "initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")


class InverseTimeDecay(LearningRateSchedule):
    """`initial_learning_rate / (1 + decay_rate * step / decay_steps)`; `staircase` floors the quotient.

    >>> InverseTimeDecay(0.5, decay_steps=10, decay_rate=1.0)(10)
    0.25
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        decay_rate: float,
        staircase: bool = False,
        name: str = "InverseTimeDecay",
    ) -> None:
        self.initial_learning_rate = _number("initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.decay_rate = _number("decay_rate", decay_rate)
        self.staircase = staircase
        self.name = name

    def __call__(self, step: int) -> float:
        quotient = step / self.decay_steps
        if self.staircase:
            quotient = math.floor(quotient)
        return self.initial_learning_rate / (1.0 + self.decay_rate * quotient)

    def get_config(self) -> dict[str, Any]:
        return _config(self, "initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name")


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[0]` up to and including step `boundaries[0]`, then `values[1]`, and so on.

    >>> schedule = PiecewiseConstantDecay([100, 110], [1.0, 0.5, 0.1])
    >>> schedule(100), schedule(101), schedule(111)
    (1.0, 0.5, 0.1)
    """

    def __init__(
        self, boundaries: Sequence[float], values: Sequence[float], name: str = "PiecewiseConstant"
    ) -> None:
        if len(boundaries) != len(values) - 1:
            raise ValueError(
                "The length of boundaries should be 1 less than the length of values. "
                f"Received: boundaries={list(boundaries)} of length {len(boundaries)}, "
                f"and values={list(values)} of length {len(values)}."
            )
        if any(low >= high for low, high in zip(boundaries, boundaries[1:], strict=False)):
            raise ValueError(f"Argument `boundaries` must increase. Received: boundaries={list(boundaries)}")
        self.boundaries = [_number("boundaries", b) for b in boundaries]
        self.values = [_number("values", v) for v in values]
        self.name = name

    def __call__(self, step: int) -> float:
        for boundary, value in zip(self.boundaries, self.values, strict=False):
            if step <= boundary:
                return float(value)
        return float(self.values[-1])

    def get_config(self) -> dict[str, Any]:
        return _config(self, "boundaries", "values", "name")


class PolynomialDecay(LearningRateSchedule):
    """From `initial_learning_rate` to `end_learning_rate` in `decay_steps`, along `(1 - t) ** power`.

    With `cycle`, `decay_steps` is taken times the smallest whole number that makes it reach the step.

    >>> PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.0, power=2.0)(5)
    0.25
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str = "PolynomialDecay",
    ) -> None:
        self.initial_learning_rate = _number("initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.end_learning_rate = _number("end_learning_rate", end_learning_rate)
        self.power = _number("power", power)
        self.cycle = cycle
        self.name = name

    def __call__(self, step: int) -> float:
        decay_steps = self.decay_steps
        if self.cycle:
            decay_steps *= max(1, math.ceil(step / self.decay_steps))
        remaining = 1.0 - min(step, decay_steps) / decay_steps
        span = self.initial_learning_rate - self.end_learning_rate
        return float(span * remaining**self.power + self.end_learning_rate)

    def get_config(self) -> dict[str, Any]:
        names = ("initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name")
        return _config(self, *names)


class CosineDecay(LearningRateSchedule):
    """Half a cosine down to `alpha` times the start, after an optional linear warm-up.

    Without `warmup_target` it starts from `initial_learning_rate`; with it, the rate rises from there to
    `warmup_target` in `warmup_steps`, and decays from that.

    >>> CosineDecay(0.5, decay_steps=10)(10), CosineDecay(0.0, 10, warmup_target=0.5, warmup_steps=5)(5)
    (0.0, 0.5)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: float,
        alpha: float = 0.0,
        name: str = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: float = 0,
    ) -> None:
        self.initial_learning_rate = _number("initial_learning_rate", initial_learning_rate)
        self.decay_steps = _positive("decay_steps", decay_steps)
        self.alpha = _number("alpha", alpha)
        self.name = name
        self.warmup_target = None if warmup_target is None else _number("warmup_target", warmup_target)
        self.warmup_steps = _number("warmup_steps", warmup_steps)

    def __call__(self, step: int) -> float:
        start, target, position = self.initial_learning_rate, self.warmup_target, float(step)
        if target is not None:
            if step < self.warmup_steps:
                return (target - start) * (step / self.warmup_steps) + start
            start, position = target, step - self.warmup_steps
        fraction = min(position, self.decay_steps) / self.decay_steps
        cosine = 0.5 * (1.0 + math.cos(math.pi * fraction))
        return start * ((1.0 - self.alpha) * cosine + self.alpha)

    def get_config(self) -> dict[str, Any]:
        names = ("initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps")
        return _config(self, *names)


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decays one after another: each `t_mul` times as long and starting `m_mul` times as high.

    >>> schedule = CosineDecayRestarts(0.5, first_decay_steps=10, t_mul=2.0, m_mul=0.5)
    >>> schedule(0), schedule(10), schedule(30)
    (0.5, 0.25, 0.125)
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: float,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str = "SGDRDecay",
    ) -> None:
        self.initial_learning_rate = _number("initial_learning_rate", initial_learning_rate)
        self.first_decay_steps = _positive("first_decay_steps", first_decay_steps)
        self.t_mul = _number("t_mul", t_mul)
        if self.t_mul < 1:
            raise ValueError(f"Argument `t_mul` must be at least 1. Received: t_mul={t_mul}")
        self.m_mul = _number("m_mul", m_mul)
        self.alpha = _number("alpha", alpha)
        self.name = name

    def __call__(self, step: int) -> float:
        restarts, position = self._position(step)
        cosine = 0.5 * self.m_mul**restarts * (1.0 + math.cos(math.pi * position))
        return float(self.initial_learning_rate * ((1.0 - self.alpha) * cosine + self.alpha))

    def _position(self, step: int) -> tuple[int, float]:
        """How many restarts lie behind `step`, and how far it is in its period, 0 to 1."""
        if self.t_mul == 1.0:
            restarts = math.floor(step / self.first_decay_steps)
            return restarts, step / self.first_decay_steps - restarts
        restarts, begin, length = 0, 0.0, float(self.first_decay_steps)
        while step >= begin + length:
            begin += length
            length *= self.t_mul
            restarts += 1
        return restarts, (step - begin) / length

    def get_config(self) -> dict[str, Any]:
        names = ("initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name")
        return _config(self, *names)


SCHEDULES: dict[str, type[LearningRateSchedule]] = {
    cls.__name__: cls
    for cls in (
        ExponentialDecay,
        InverseTimeDecay,
        PiecewiseConstantDecay,
        PolynomialDecay,
        CosineDecay,
        CosineDecayRestarts,
    )
}


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """The schedule as a JSON-able dict."""
    return identifiers.to_config(learning_rate_schedule, SCHEDULES, "learning rate schedule")


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[LearningRateSchedule]] | None = None
) -> LearningRateSchedule:
    """The schedule that `serialize` described."""
    return identifiers.from_config(config, SCHEDULES, "learning rate schedule", custom_objects)


def _config(schedule: LearningRateSchedule, *names: str) -> dict[str, Any]:
    return {name: getattr(schedule, name) for name in names}


def _number(name: str, value: Any) -> float:
    value = value.item() if isinstance(value, np.generic) else value
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"Argument `{name}` must be a finite number. Received: {name}={value!r}")
    return value


def _positive(name: str, value: Any) -> float:
    if _number(name, value) <= 0:
        raise ValueError(f"Argument `{name}` must be > 0. Received: {name}={value}")
    return _number(name, value)
