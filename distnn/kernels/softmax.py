"""Softmax along rows and the cross-entropies on top of it.

Letters: B rows (samples), C classes. A loss is one value per row; `dloss_B` is the gradient with respect to
it. Probabilities that a cross-entropy leaves are the bytes that `softmax` gives. Labels are int32; one
outside [0, C) makes that row's loss and gradient NaN and reads no memory it must not.
Rows are taken in blocks that stay in the first cache; the result does not depend on the block.
"""

from __future__ import annotations

import numpy as np

from distnn.kernels.jit import Array, inlined, kernel
from distnn.kernels.rows import run_dot, run_max, run_sum
from distnn.kernels.scalar_math import exp, log, sigmoid, softplus

_BLOCK = 4096
PROBABILITY_FLOOR = 1e-7
"""Keras's epsilon: probabilities are clipped to [1e-7, 1 - 1e-7] before their logarithm."""


@inlined
def _exp_rows(x_BC: Array, first: int, last: int, y_BC: Array) -> None:
    """y = e^(x - largest of the row) for rows [first, last)."""
    columns = x_BC.shape[1]
    x = x_BC.reshape(-1)
    for b in range(first, last):
        largest = run_max(x, b * columns, columns)
        for c in range(columns):
            y_BC[b, c] = x_BC[b, c] - largest
    block = y_BC[first:last].reshape(-1)
    for i in range(block.size):
        block[i] = exp(block[i])


@kernel
def softmax(x_BC: Array, y_BC: Array) -> None:
    """e^x over its sum along each row."""
    rows, columns = x_BC.shape
    y = y_BC.reshape(-1)
    step = max(1, _BLOCK // columns)
    for first in range(0, rows, step):
        last = min(first + step, rows)
        _exp_rows(x_BC, first, last, y_BC)
        for b in range(first, last):
            total = run_sum(y, b * columns, columns)
            for c in range(columns):
                y_BC[b, c] = y_BC[b, c] / total


@kernel
def softmax_gradient(y_BC: Array, dy_BC: Array, dx_BC: Array) -> None:
    """y * (dy - sum of dy * y along the row)."""
    rows, columns = y_BC.shape
    y, dy = y_BC.reshape(-1), dy_BC.reshape(-1)
    for b in range(rows):
        inner = run_dot(y, dy, b * columns, columns)
        for c in range(columns):
            dx_BC[b, c] = y_BC[b, c] * (dy_BC[b, c] - inner)


@kernel
def log_softmax(x_BC: Array, y_BC: Array) -> None:
    """x minus the logarithm of the row's sum of e^x."""
    rows, columns = x_BC.shape
    x, y = x_BC.reshape(-1), y_BC.reshape(-1)
    step = max(1, _BLOCK // columns)
    for first in range(0, rows, step):
        last = min(first + step, rows)
        _exp_rows(x_BC, first, last, y_BC)
        for b in range(first, last):
            largest = run_max(x, b * columns, columns)
            shift = log(run_sum(y, b * columns, columns))
            for c in range(columns):
                y_BC[b, c] = (x_BC[b, c] - largest) - shift


@kernel
def log_softmax_gradient(y_BC: Array, dy_BC: Array, dx_BC: Array) -> None:
    """dy - e^y * sum of dy along the row."""
    rows, columns = y_BC.shape
    dy = dy_BC.reshape(-1)
    for b in range(rows):
        total = run_sum(dy, b * columns, columns)
        for c in range(columns):
            dx_BC[b, c] = dy_BC[b, c] - exp(y_BC[b, c]) * total


# Cross-entropy from logits


@kernel
def sparse_cross_entropy(x_BC: Array, label_B: Array, loss_B: Array, p_BC: Array) -> None:
    """-log softmax(x)[label] per row, and the probabilities."""
    rows, columns = x_BC.shape
    x, p = x_BC.reshape(-1), p_BC.reshape(-1)
    nan = x_BC.dtype.type(np.nan)
    step = max(1, _BLOCK // columns)
    for first in range(0, rows, step):
        last = min(first + step, rows)
        _exp_rows(x_BC, first, last, p_BC)
        for b in range(first, last):
            total = run_sum(p, b * columns, columns)
            label = label_B[b]
            if 0 <= label < columns:
                shifted = x[b * columns + label] - run_max(x, b * columns, columns)
                loss_B[b] = log(total) - shifted
            else:
                loss_B[b] = nan
            for c in range(columns):
                p_BC[b, c] = p_BC[b, c] / total


@kernel
def sparse_cross_entropy_gradient(p_BC: Array, label_B: Array, dloss_B: Array, dx_BC: Array) -> None:
    """(p - one-hot label) * dloss."""
    rows, columns = p_BC.shape
    one, nan = p_BC.dtype.type(1), p_BC.dtype.type(np.nan)
    for b in range(rows):
        label, scale = label_B[b], dloss_B[b]
        is_valid = 0 <= label < columns
        scale = scale if is_valid else nan
        for c in range(columns):
            dx_BC[b, c] = p_BC[b, c] * scale
        if is_valid:
            dx_BC[b, label] = (p_BC[b, label] - one) * scale


@kernel
def dense_cross_entropy(x_BC: Array, target_BC: Array, loss_B: Array, p_BC: Array) -> None:
    """-sum of target * log softmax(x) per row, and the probabilities."""
    rows, columns = x_BC.shape
    x, p = x_BC.reshape(-1), p_BC.reshape(-1)
    step = max(1, _BLOCK // columns)
    for first in range(0, rows, step):
        last = min(first + step, rows)
        _exp_rows(x_BC, first, last, p_BC)
        for b in range(first, last):
            total = run_sum(p, b * columns, columns)
            largest, shift = run_max(x, b * columns, columns), log(total)
            loss = x_BC.dtype.type(0)
            for c in range(columns):
                loss -= target_BC[b, c] * ((x_BC[b, c] - largest) - shift)
            loss_B[b] = loss
            for c in range(columns):
                p_BC[b, c] = p_BC[b, c] / total


@kernel
def dense_cross_entropy_gradient(p_BC: Array, target_BC: Array, dloss_B: Array, dx_BC: Array) -> None:
    """(p * sum of the row's targets - target) * dloss."""
    rows, columns = p_BC.shape
    target = target_BC.reshape(-1)
    for b in range(rows):
        total, scale = run_sum(target, b * columns, columns), dloss_B[b]
        for c in range(columns):
            dx_BC[b, c] = (p_BC[b, c] * total - target_BC[b, c]) * scale


# Cross-entropy of probabilities: normalised along the row, then clipped


@kernel
def sparse_cross_entropy_of_probabilities(p_BC: Array, label_B: Array, loss_B: Array) -> None:
    """-log(clip(p[label] / sum of p)) per row."""
    rows, columns = p_BC.shape
    p = p_BC.reshape(-1)
    low, nan = p_BC.dtype.type(PROBABILITY_FLOOR), p_BC.dtype.type(np.nan)
    high = p_BC.dtype.type(1.0 - PROBABILITY_FLOOR)
    for b in range(rows):
        label = label_B[b]
        if 0 <= label < columns:
            q = p_BC[b, label] / run_sum(p, b * columns, columns)
            q = low if q < low else (high if q > high else q)
            loss_B[b] = -log(q)
        else:
            loss_B[b] = nan


@kernel
def sparse_cross_entropy_of_probabilities_gradient(
    p_BC: Array, label_B: Array, dloss_B: Array, dp_BC: Array
) -> None:
    """Its gradient: through the normalisation, and 0 where q was clipped."""
    rows, columns = p_BC.shape
    p = p_BC.reshape(-1)
    low, high = p_BC.dtype.type(PROBABILITY_FLOOR), p_BC.dtype.type(1.0 - PROBABILITY_FLOOR)
    zero, one, nan = p_BC.dtype.type(0), p_BC.dtype.type(1), p_BC.dtype.type(np.nan)
    for b in range(rows):
        label = label_B[b]
        is_valid = 0 <= label < columns
        at = label if is_valid else 0
        total = run_sum(p, b * columns, columns)
        q = p_BC[b, at] / total
        # d loss / d q = -1 / q;  d q / d p_c = (one-hot - q) / total
        slope = dloss_B[b] / (q * total) if low <= q <= high else zero
        slope = slope if is_valid else nan
        for c in range(columns):
            dp_BC[b, c] = q * slope
        dp_BC[b, at] = (q - one) * slope


@kernel
def dense_cross_entropy_of_probabilities(p_BC: Array, target_BC: Array, loss_B: Array) -> None:
    """-sum of target * log(clip(p / sum of p)) per row."""
    rows, columns = p_BC.shape
    p = p_BC.reshape(-1)
    low, high = p_BC.dtype.type(PROBABILITY_FLOOR), p_BC.dtype.type(1.0 - PROBABILITY_FLOOR)
    for b in range(rows):
        total = run_sum(p, b * columns, columns)
        loss = p_BC.dtype.type(0)
        for c in range(columns):
            q = p_BC[b, c] / total
            q = low if q < low else (high if q > high else q)
            loss -= target_BC[b, c] * log(q)
        loss_B[b] = loss


@kernel
def dense_cross_entropy_of_probabilities_gradient(
    p_BC: Array, target_BC: Array, dloss_B: Array, dp_BC: Array
) -> None:
    """Its gradient: through the normalisation, and 0 where a probability was clipped."""
    rows, columns = p_BC.shape
    p, dp = p_BC.reshape(-1), dp_BC.reshape(-1)
    low, high = p_BC.dtype.type(PROBABILITY_FLOOR), p_BC.dtype.type(1.0 - PROBABILITY_FLOOR)
    zero = p_BC.dtype.type(0)
    for b in range(rows):
        total, scale = run_sum(p, b * columns, columns), dloss_B[b]
        for c in range(columns):
            q = p_BC[b, c] / total
            dp_BC[b, c] = -(target_BC[b, c] * scale) / q if low <= q <= high else zero
        inner = run_dot(dp, p, b * columns, columns) / total
        for c in range(columns):
            dp_BC[b, c] = (dp_BC[b, c] - inner) / total


# Binary cross-entropy, per element


@kernel
def binary_cross_entropy(x: Array, target: Array, loss: Array) -> None:
    """max(x, 0) - x * target + log(1 + e^-|x|) of logits x."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        v = x[i]
        loss[i] = ((zero if v < zero else v) - v * target[i]) + softplus(-abs(v))


@kernel
def binary_cross_entropy_gradient(x: Array, target: Array, dloss: Array, dx: Array) -> None:
    """(sigmoid(x) - target) * dloss."""
    for i in range(x.size):
        dx[i] = (sigmoid(x[i]) - target[i]) * dloss[i]


@kernel
def binary_cross_entropy_of_probabilities(p: Array, target: Array, loss: Array) -> None:
    """-(target * log q + (1 - target) * log(1 - q)), q the clipped probability."""
    low, high, one = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1.0 - PROBABILITY_FLOOR), p.dtype.type(1)
    for i in range(p.size):
        q = low if p[i] < low else (high if p[i] > high else p[i])
        loss[i] = -(target[i] * log(q) + (one - target[i]) * log(one - q))


@kernel
def binary_cross_entropy_of_probabilities_gradient(p: Array, target: Array, dloss: Array, dp: Array) -> None:
    """(q - target) / (q * (1 - q)) * dloss; 0 where p was clipped."""
    low, high, one = p.dtype.type(PROBABILITY_FLOOR), p.dtype.type(1.0 - PROBABILITY_FLOOR), p.dtype.type(1)
    zero = p.dtype.type(0)
    for i in range(p.size):
        q = p[i]
        slope = (q - target[i]) / (q * (one - q))
        dp[i] = slope * dloss[i] if low <= q <= high else zero
