"""How an update holds weights to their constraints: calls on new values, in place, behind the optimizer's.

What looks at single values works on any slice of a weight. What looks at more (norms, constraints of the
user's own) needs the whole weight, so a plan gives it to one owner: `needs_whole`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from distnn.constraints import EPSILON, NonNeg, NormConstraint
from distnn.kernels.constraints import bound_norms, clear_negatives, fingerprint_change
from distnn.kernels.tape import Call
from distnn.tensor import Array
from distnn.variable import Variable
from distnn.weights import aligned_zeros


def needs_whole(variable: Variable) -> bool:
    """Whether the variable's constraint looks at more than single values."""
    return variable.constraint is not None and not _is_plain(variable.constraint, NonNeg)


def bind_constraint(variable: Variable, weights: Array, scalars: Array, start: int, stop: int) -> list[Call]:
    """Calls that hold values [start, stop) of the flat vector, which lie in the variable, to its constraint.

    Kernels among them return the change of the fingerprint, and tell of values that are not finite.

    Args:
        variable: has a constraint; all of it lies there if `needs_whole`.
        weights: the flat vector, written.
        scalars: of the update; trouble is told there.
    """
    constraint, values = variable.constraint, weights[start:stop]
    if _is_plain(constraint, NonNeg):
        return [partial(clear_negatives, values, start)]
    if _is_plain(constraint, NormConstraint):
        bounds = constraint.bounds()
        sizes = _in_three(variable.shape, constraint.places(variable.shape))
        if sizes is not None:
            limits = (bounds.low, bounds.high, bounds.rate, EPSILON)
            scratch = np.zeros(sizes[2], np.float64)
            return [partial(bound_norms, values, *sizes, *limits, scratch, scalars, start)]
    before = aligned_zeros(len(values))
    shaped = values.reshape(variable.shape)
    return [
        partial(np.copyto, before, values),
        partial(_apply, constraint, variable, shaped),
        partial(fingerprint_change, before, values, scalars, start),
    ]


def warm_up(variable: Variable, scalars: Array) -> None:
    """Call what `bind_constraint` gives, so that it is compiled (and cached)."""
    values = aligned_zeros(variable.size)
    values[:] = 1.0
    for call in bind_constraint(variable, values, scalars, 0, variable.size):
        call()


def _is_plain(constraint: Any, base: type) -> bool:
    """Whether it does what `base` does, and nothing of its own."""
    return isinstance(constraint, base) and type(constraint).__call__ is base.__call__


def _in_three(shape: tuple[int, ...], places: list[int]) -> tuple[int, int, int] | None:
    """Sizes before, along and behind the axes; None where these are not neighbours."""
    first, last = places[0], places[-1]
    if places != list(range(first, last + 1)):
        return None
    parts = (shape[:first], shape[first : last + 1], shape[last + 1 :])
    before, along, behind = (int(np.prod(part, dtype=np.int64)) for part in parts)
    return before, along, behind


def _apply(constraint: Callable[[Any], Any], variable: Variable, values: Array) -> None:
    found = np.asarray(constraint(values.copy()), dtype=np.float32)
    if found.shape != values.shape:
        raise ValueError(
            f"the constraint of '{variable.path}' must keep its shape {variable.shape}. "
            f"Received: an array of shape {found.shape}"
        )
    np.copyto(values, found)
