"""What weights are held to after each update, with Keras's names and defaults.

A constraint is a function from a weight to the weight that takes its place. The built-in ones are applied by
kernels (`distnn.constraining`); one of the user's own is called with the whole weight as an array, once a
step, wherever that weight is updated.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distnn import identifiers, ops


class Constraint:
    """Base of the constraints; a subclass defines `__call__`, with `distnn.ops`."""

    def __call__(self, w: Any) -> Any:
        """What takes the place of `w`, in its shape."""
        return w

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        return {}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Constraint:
        return cls(**config)


class NonNeg(Constraint):
    """No weight below 0.

    >>> NonNeg()([-1.0, 2.0]).tolist()
    [0.0, 2.0]
    """

    def __call__(self, w: Any) -> Any:
        return ops.maximum(w, 0.0)


@dataclass(frozen=True)
class NormBounds:
    """Norms go the share `rate` of the way to the nearest value between `low` and `high`."""

    low: float
    high: float
    rate: float


class NormConstraint(Constraint):
    """Base of the constraints on norms: weights along `axis` are multiplied by `desired / (1e-7 + norm)`."""

    axis: int | Sequence[int]

    def bounds(self) -> NormBounds:
        """What norms are held to."""
        raise NotImplementedError

    def places(self, shape: Sequence[int]) -> list[int]:
        """The axes of a weight of this shape, counted from the first.

        Raises:
            ValueError: there is no such axis.
        """
        axes, rank = [self.axis] if isinstance(self.axis, int) else self.axis, len(shape)
        if any(not -rank <= axis < rank for axis in axes):
            raise ValueError(
                f"{type(self).__name__} takes norms along axis {self.axis}, which a weight of shape "
                f"{tuple(shape)} does not have"
            )
        return sorted({axis % rank for axis in axes})

    def __call__(self, w: Any) -> Any:
        bounds = self.bounds()
        axes = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        norms = ops.sqrt(ops.sum(ops.square(w), axis=axes, keepdims=True))
        desired = ops.clip(norms, bounds.low, bounds.high) * bounds.rate + norms * (1.0 - bounds.rate)
        return ops.multiply(w, ops.divide(desired, ops.add(norms, EPSILON)))


class MaxNorm(NormConstraint):
    """Norms of at most `max_value`. Srivastava et al. 2014.

    Args:
        max_value: the largest norm.
        axis: what a norm is taken along: 0 for the weights into each unit of a `Dense` layer, `[0, 1, 2]` for
            those of each filter of a `Conv2D` layer.

    >>> MaxNorm(1.0)([[3.0], [4.0]]).round(4).tolist()
    [[0.6], [0.8]]
    """

    def __init__(self, max_value: float = 2, axis: int | Sequence[int] = 0) -> None:
        self.max_value = _size("max_value", max_value)
        self.axis = _axes(axis)

    def bounds(self) -> NormBounds:
        return NormBounds(0.0, self.max_value, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"max_value": self.max_value, "axis": self.axis}


class UnitNorm(NormConstraint):
    """Norms of 1.

    Args:
        axis: as of `MaxNorm`.
    """

    def __init__(self, axis: int | Sequence[int] = 0) -> None:
        self.axis = _axes(axis)

    def bounds(self) -> NormBounds:
        return NormBounds(1.0, 1.0, 1.0)

    def get_config(self) -> dict[str, Any]:
        return {"axis": self.axis}


class MinMaxNorm(NormConstraint):
    """Norms between `min_value` and `max_value`.

    Args:
        min_value: the smallest norm.
        max_value: the largest norm.
        rate: the share of the way that a norm outside goes at each step.
        axis: as of `MaxNorm`.
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: int | Sequence[int] = 0,
    ) -> None:
        self.min_value = _size("min_value", min_value)
        self.max_value = _size("max_value", max_value)
        if self.min_value > self.max_value:
            raise ValueError(
                "`min_value` must not be above `max_value`. "
                f"Received: min_value={min_value}, max_value={max_value}"
            )
        self.rate = _size("rate", rate)
        if self.rate > 1.0:
            raise ValueError(f"`rate` must be between 0 and 1. Received: rate={rate}")
        self.axis = _axes(axis)

    def bounds(self) -> NormBounds:
        return NormBounds(self.min_value, self.max_value, self.rate)

    def get_config(self) -> dict[str, Any]:
        return {
            "min_value": self.min_value,
            "max_value": self.max_value,
            "rate": self.rate,
            "axis": self.axis,
        }


EPSILON = 1e-7
"""Keeps the quotient finite; Keras's."""

max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm

CONSTRAINTS: dict[str, type[Constraint]] = {
    "MaxNorm": MaxNorm,
    "max_norm": MaxNorm,
    "NonNeg": NonNeg,
    "non_neg": NonNeg,
    "UnitNorm": UnitNorm,
    "unit_norm": UnitNorm,
    "MinMaxNorm": MinMaxNorm,
    "min_max_norm": MinMaxNorm,
}


def serialize(constraint: Any) -> Any:
    """The constraint as a JSON-able dict, a function by its name; None stays None.

    Raises:
        ValueError: for one of the user's own that cannot be found or made again.
    """
    if constraint is None:
        return None
    if isinstance(constraint, Constraint):
        return identifiers.to_config(constraint, CONSTRAINTS, "constraint")
    return identifiers.name_of(constraint, CONSTRAINTS, "constraint")


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[Constraint]] | None = None
) -> Constraint:
    """The constraint that `serialize` described."""
    return identifiers.from_config(config, CONSTRAINTS, "constraint", custom_objects)


def get(identifier: Any) -> Callable[[Any], Any] | None:
    """A constraint from its name, config, class or itself, or a function of the user's; None stays None."""
    if identifier is None or isinstance(identifier, Constraint):
        return identifier
    if isinstance(identifier, str):
        found = identifiers.lookup(identifier, CONSTRAINTS)
        if found is None:
            raise identifiers.not_interpreted(identifier, CONSTRAINTS, "constraint")
        made: Callable[[Any], Any] = found() if isinstance(found, type) else found
        return made
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if inspect.isclass(identifier) and issubclass(identifier, Constraint):
        return identifier()
    if callable(identifier) and not inspect.isclass(identifier):
        return identifier  # type: ignore[no-any-return]
    raise identifiers.not_interpreted(identifier, CONSTRAINTS, "constraint")


def _size(name: str, value: Any) -> float:
    is_number = isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError(f"`{name}` must be a non-negative number. Received: {name}={value!r}")
    return float(value)


def _axes(axis: Any) -> int | list[int]:
    axes = axis if isinstance(axis, list | tuple) else [axis]
    if not axes or any(not isinstance(one, int | np.integer) or isinstance(one, bool) for one in axes):
        raise ValueError(f"`axis` must be an axis of the weight, or several. Received: axis={axis!r}")
    numbers = [int(one) for one in axes]
    return numbers if isinstance(axis, list | tuple) else numbers[0]
