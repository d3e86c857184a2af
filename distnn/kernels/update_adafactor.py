"""Adafactor's update; see `distnn.kernels.update` for what all updates share.

It looks at a whole variable (means over rows and columns, and over everything), so one call has all of it:
`distnn.update_plan` does not cut it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.fingerprints import SLOT_STRIDE, ZERO, bits_of, plain_bits, tell_trouble, u32, u64
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.rows import run_square_sum_f64
from distnn.kernels.update import (
    ALPHA,
    BETA_2,
    COLUMNS,
    EPSILON,
    RHO,
    ROWS,
    SHRINKAGE,
    SIZE,
    effective_gradient,
    prepare,
)


@helper
def _mean_squares(g: Array, w: Array, prepared: Any, epsilon: Any, sums_C: Array, means_R: Array) -> None:
    """Of g^2 + epsilon for one matrix: each row's mean, and each column's sum added to `sums`."""
    columns = sums_C.size
    for i in range(means_R.size):
        first = i * columns
        total = 0.0
        for j in range(columns):
            gradient = effective_gradient(g[first + j], w[first + j], prepared)
            square = gradient * gradient + epsilon
            sums_C[j] += square
            total += np.float64(square)
        means_R[i] = np.float32(total / columns)


@helper
def _mix(kept: Any, old: Array, new: Array, divisor: int) -> Any:
    """new = kept * old + (1 - kept) * new / divisor, in place; the mean of it."""
    beta, rest = np.float32(kept), np.float32((1.0 - kept) / divisor)
    total = 0.0
    for i in range(new.size):
        new[i] = beta * old[i] + rest * new[i]
        total += np.float64(new[i])
    return total / max(new.size, 1)


@kernel
def adafactor(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """w - alpha * u / max(1, rms(u) / clip) with u = g / sqrt(v), alpha = rho * max(eps_2, rms(w)).

    v is a running mean of g^2 + eps_1, of a matrix (..., ROWS, COLUMNS) the product of its rows' and columns'
    means over their mean. Slots: r (rows' means, or v of what is no matrix), c (columns' means), each from
    the beginning of the variable's place on. ROWS is 0 for what is no matrix. SIZE is that of the variable,
    without the gap behind it; 0: all that is given.
    """
    prepared = prepare(scalars)
    rows, columns = int(scalars[ROWS]), int(scalars[COLUMNS])
    # places that other rules use: eps_2 and the threshold of clipping
    epsilon_1, epsilon_2, clip = np.float32(scalars[EPSILON]), scalars[RHO], scalars[SHRINKAGE]
    w, w_out = w[start:stop], w_out[start:stop]
    r, r_out = slots[0, start:stop], slots_out[0, start:stop]
    c, c_out = slots[1, start:stop], slots_out[1, start:stop]
    size = int(scalars[SIZE])
    size = size if size > 0 else w.size
    for i in range(w.size):
        w_out[i] = w[i] - w[i] * prepared[4]
        r_out[i] = c_out[i] = np.float32(0)
    weight_rms = np.sqrt(run_square_sum_f64(w_out, 0, size) / max(size, 1))
    if rows > 0:
        for a in range(size // (rows * columns)):
            first = a * rows * columns
            part = slice(first, first + rows * columns)
            new_r, new_c = r_out[a * rows : (a + 1) * rows], c_out[a * columns : (a + 1) * columns]
            _mean_squares(g[part], w[part], prepared, epsilon_1, new_c, new_r)
            mean = _mix(scalars[BETA_2], r[a * rows : (a + 1) * rows], new_r, 1)
            _mix(scalars[BETA_2], c[a * columns : (a + 1) * columns], new_c, rows)
            for i in range(rows):
                share = new_r[i] / np.float32(mean)
                for j in range(columns):
                    at = first + i * columns + j
                    gradient = effective_gradient(g[at], w[at], prepared)
                    w_out[at] = gradient / np.sqrt(share * new_c[j])
    else:
        beta, rest = np.float32(scalars[BETA_2]), np.float32(1.0 - scalars[BETA_2])
        for i in range(size):
            gradient = effective_gradient(g[i], w[i], prepared)
            r_out[i] = beta * r[i] + rest * (gradient * gradient + epsilon_1)
            w_out[i] = gradient / np.sqrt(r_out[i])
    step_rms = np.sqrt(run_square_sum_f64(w_out, 0, size) / max(size, 1))
    alpha = scalars[ALPHA] * max(epsilon_2, weight_rms) / max(1.0, step_rms / clip)
    rate = np.float32(alpha)
    total, doubt = u64(0), u32(0)
    for i in range(size):
        w_out[i] = (w[i] - w[i] * prepared[4]) - rate * w_out[i]
        total += bits_of(w_out[i], start + i)
        total += bits_of(r_out[i], 1 * SLOT_STRIDE + start + i)
        total += bits_of(c_out[i], 2 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(w_out[i] * ZERO + r_out[i] * ZERO + c_out[i] * ZERO)
    tell_trouble(scalars, doubt)
    return total
