"""The flat vector in which all of a model's variables lie, and where each lies in it.

Trainable variables come first, so that a gradient and an optimizer's slots are flat vectors of the first
part. Every variable begins at a multiple of 64 bytes; the gaps hold zeros.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from distnn.tensor import Array
from distnn.variable import Variable

ALIGNMENT = 16
"""In float32 values: one 64-byte line."""


def aligned_zeros(count: int, dtype: type[np.generic] | np.dtype[np.generic] = np.float32) -> Array:
    """A zeroed vector that begins at a multiple of 64 bytes."""
    item = np.dtype(dtype).itemsize
    raw = np.zeros(count * item + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + count * item].view(dtype)


class WeightLayout:
    """Offsets of variables in a flat vector.

    Args:
        variables: all of a model's, in its order.
        trainable: those of them that are trained (a frozen layer's are not).

    Attributes:
        variables: in the order in which they lie.
        trainable_size: T, the length of the first part.
        size: N, the whole length.
    """

    def __init__(self, variables: Sequence[Variable], trainable: Iterable[Variable]) -> None:
        chosen = set(trainable)
        self.trainable: tuple[Variable, ...] = tuple(v for v in variables if v in chosen)
        frozen = tuple(v for v in variables if v not in chosen)
        self.variables: tuple[Variable, ...] = self.trainable + frozen
        self.offsets: dict[Variable, int] = {}
        position = 0
        self.trainable_size = 0
        for variable in self.variables:
            self.offsets[variable] = position
            position += -(-variable.size // ALIGNMENT) * ALIGNMENT
            if variable in chosen:
                self.trainable_size = position
        self.size = position

    def bounds(self, variable: Variable) -> tuple[int, int]:
        """Where the variable's values lie: [start, stop)."""
        start = self.offsets[variable]
        return start, start + variable.size

    def view(self, flat: Array, variable: Variable) -> Array:
        """The variable's part of `flat`, in its shape."""
        start, stop = self.bounds(variable)
        return flat[start:stop].reshape(variable.shape)

    def fill(self, flat: Array, values: Mapping[Variable, Array]) -> None:
        """Write each variable's value into `flat`."""
        for variable, value in values.items():
            self.view(flat, variable)[...] = value

    def hold(self, flat: Array) -> None:
        """Let the variables' values lie in `flat` from now on."""
        for variable in self.variables:
            variable.hold(self.view(flat, variable))

    def named(self, flat: Array, variables: Iterable[Variable] | None = None) -> dict[str, Array]:
        """Views by the variables' paths."""
        chosen = self.variables if variables is None else variables
        return {variable.path: self.view(flat, variable) for variable in chosen}
