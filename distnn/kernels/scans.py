"""Running sums, products and their gradients, each one chain along the axis.

Letters: O outer, R the axis, I inner.
"""

from __future__ import annotations

from distnn.kernels.jit import Array, kernel


@kernel
def cumsum_axis(x_ORI: Array, is_backward: bool, y_ORI: Array) -> None:
    """Running sums from the first value on, or from the last back."""
    outer, size, inner = x_ORI.shape
    for o in range(outer):
        for step in range(size):
            r = size - 1 - step if is_backward else step
            before = r + 1 if is_backward else r - 1
            for i in range(inner):
                y_ORI[o, r, i] = x_ORI[o, r, i] if step == 0 else y_ORI[o, before, i] + x_ORI[o, r, i]


@kernel
def prod_axis(x_ORI: Array, y_OI: Array) -> None:
    """Product over the middle axis."""
    outer, size, inner = x_ORI.shape
    one = x_ORI.dtype.type(1)
    for o in range(outer):
        for i in range(inner):
            y_OI[o, i] = one
        for r in range(size):
            for i in range(inner):
                y_OI[o, i] = y_OI[o, i] * x_ORI[o, r, i]


@kernel
def prod_gradient(x_ORI: Array, dy_OI: Array, dx_ORI: Array) -> None:
    """dy times the product of all others, exact where values are 0."""
    outer, size, inner = x_ORI.shape
    for o in range(outer):
        for i in range(inner):
            before = dy_OI[o, i]
            for r in range(size):
                dx_ORI[o, r, i] = before
                before = before * x_ORI[o, r, i]
            after = x_ORI.dtype.type(1)
            for r in range(size - 1, -1, -1):
                dx_ORI[o, r, i] = dx_ORI[o, r, i] * after
                after = after * x_ORI[o, r, i]
