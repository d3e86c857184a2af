"""Penalties on weights: `l1 * sum|w| + l2 * sum w**2`, with Keras's names and defaults.

A penalty and its gradient are applied once a step, at the update, by the kernels, from the factors `l1` and
`l2`; calling a regularizer computes the penalty of one array, for looking at it.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from distnn import identifiers


class Regularizer:
    """What a regularizer is.

    A subclass sets `l1` and `l2`, which is all that training reads; other penalties belong in a layer's
    `call`, through `add_loss`.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __call__(self, x: npt.ArrayLike) -> float:
        """The penalty for `x`."""
        array = np.asarray(x, dtype=np.float64)
        return self.l1 * float(np.sum(np.abs(array))) + self.l2 * float(np.sum(np.square(array)))

    def factors(self) -> tuple[float, float]:
        """`(l1, l2)`, as the update applies them.

        Raises:
            ValueError: the class computes a penalty of its own, which no update kernel knows.
        """
        if type(self).__call__ is not Regularizer.__call__:
            raise ValueError(
                f"{type(self).__name__} overrides `__call__`: a regularizer is given by its factors `l1` and "
                "`l2`. Add any other penalty in a layer's `call`, with `self.add_loss(...)`."
            )
        return float(self.l1), float(self.l2)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, JSON-able."""
        raise NotImplementedError(f"{self} does not implement get_config()")

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Regularizer:
        return cls(**config)


class L1(Regularizer):
    """`l1 * sum|w|`.

    >>> L1(0.5)([1.0, -2.0])
    1.5
    """

    def __init__(self, l1: float = 0.01) -> None:
        self.l1 = _factor(0.01 if l1 is None else l1, "l1")

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1}


class L2(Regularizer):
    """`l2 * sum w**2`.

    >>> L2(0.5)([1.0, -2.0])
    2.5
    """

    def __init__(self, l2: float = 0.01) -> None:
        self.l2 = _factor(0.01 if l2 is None else l2, "l2")

    def get_config(self) -> dict[str, Any]:
        return {"l2": self.l2}


class L1L2(Regularizer):
    """`l1 * sum|w| + l2 * sum w**2`.

    >>> L1L2(l1=0.5, l2=0.5)([1.0, -2.0])
    4.0
    """

    def __init__(self, l1: float = 0.0, l2: float = 0.0) -> None:
        self.l1 = _factor(0.0 if l1 is None else l1, "l1")
        self.l2 = _factor(0.0 if l2 is None else l2, "l2")

    def get_config(self) -> dict[str, Any]:
        return {"l1": self.l1, "l2": self.l2}


l1, l2, l1_l2 = L1, L2, L1L2

REGULARIZERS: dict[str, type[Regularizer]] = {
    "L1": L1,
    "l1": L1,
    "L2": L2,
    "l2": L2,
    "L1L2": L1L2,
    "l1l2": L1L2,
    "l1_l2": L1L2,
}


def serialize(regularizer: Regularizer | None) -> dict[str, Any] | None:
    """The regularizer as a JSON-able dict; None stays None."""
    return None if regularizer is None else identifiers.to_config(regularizer, REGULARIZERS, "regularizer")


def deserialize(
    config: Mapping[str, Any], custom_objects: Mapping[str, type[Regularizer]] | None = None
) -> Regularizer:
    """The regularizer that `serialize` described."""
    return identifiers.from_config(config, REGULARIZERS, "regularizer", custom_objects)


def get(identifier: Any) -> Regularizer | None:
    """A regularizer from its name, config, class or itself; None stays None."""
    if identifier is None or isinstance(identifier, Regularizer):
        return identifier
    if isinstance(identifier, str):
        return identifiers.class_by_name(identifier, REGULARIZERS, "regularizer")()
    if isinstance(identifier, Mapping):
        return deserialize(identifier)
    if inspect.isclass(identifier) and issubclass(identifier, Regularizer):
        return identifier()
    raise identifiers.not_interpreted(identifier, REGULARIZERS, "regularizer")


def _factor(value: Any, name: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise ValueError(
            f"Invalid value for argument {name}: expected a non-negative float. Received: {name}={value}"
        )
    return float(value)
