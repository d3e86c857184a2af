"""The one place for matrix products.

NumPy's BLAS stands behind it for now. Register tiles of our own in explicit vectors will replace it, with
each element one fixed chain of fused multiply-adds whatever the number of rows; nothing outside this module
shall need to change then. Ops bind products here; nobody else calls np.dot, np.matmul or `@` in a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from distnn.kernels.jit import Array


def matmul(a: Array, b: Array, out: Array) -> None:
    """out = a @ b for 2-D arrays, or stacks of them with equal (or broadcastable) leading axes."""
    bind_matmul(a, b, out)()


def bind_matmul(
    a: Array, b: Array, out: Array, *, transpose_a: bool = False, transpose_b: bool = False
) -> Callable[[], object]:
    """The cheapest call without arguments that writes the product of `a` and `b` into `out`.

    Args:
        a: contiguous, 2-D or a stack of matrices; transposed over its last two axes if asked.
        b: likewise.
        out: contiguous, of the product's shape, overlapping neither.
        transpose_a: use a's transpose (no copy is made).
        transpose_b: use b's transpose.
    """
    left = np.swapaxes(a, -1, -2) if transpose_a else a
    right = np.swapaxes(b, -1, -2) if transpose_b else b
    if a.ndim == 2 and b.ndim == 2:
        # One BLAS call; np.dot costs half of np.matmul around it.
        return partial(np.dot, left, right, out)
    return partial(np.matmul, left, right, out)
