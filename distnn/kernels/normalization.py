"""Batch and layer normalisation, and the merging of batch statistics over shards.

Letters: R rows (samples, and positions of a sample), C channels along the last axis. Statistics over rows are
summed in float64, one chain per channel; over a row they are sums in the order of `rows`. Moments are a
float64 array [count, mean of each channel, M2 of each channel], M2 the sum of squared deviations.
"""

from __future__ import annotations

import math

import numpy as np

from distnn.kernels.channel_sums import (
    add_up,
    add_up_products,
    add_up_squares,
    kept_gradient,
    kept_value,
)
from distnn.kernels.jit import Array, inlined, kernel
from distnn.kernels.rows import run_deviation_sum, run_scaled_deviation_dot, run_sum
from distnn.kernels.vector_stores import multiply_add, narrow, not_below, store
from distnn.kernels.vectors import LANES, load, splat, widen

# Over rows


@inlined
def _take_moments(x_RC: Array, moments: Array) -> None:
    rows, channels = x_RC.shape
    x = x_RC.reshape(-1)
    moments[0] = rows
    mean, m2 = moments[1 : 1 + channels], moments[1 + channels :]
    add_up(x, rows, channels, mean)
    for c in range(channels):
        mean[c] = mean[c] / np.float64(rows)
    add_up_squares(x, rows, channels, mean, m2)


@kernel
def channel_moments(x_RC: Array, moments: Array) -> None:
    """count, mean and M2 of each channel over the rows, in two passes."""
    _take_moments(x_RC, moments)


@kernel
def batch_norm_training(
    x_RC: Array,
    gamma_C: Array,
    beta_C: Array,
    epsilon: float,
    is_rectified: int,
    y_RC: Array,
    mean_C: Array,
    inverse_std_C: Array,
    moments: Array,
) -> None:
    """y = (x - mean) * inverse_std * gamma + beta with the statistics of these rows; relu of it if asked."""
    rows, channels = x_RC.shape
    _take_moments(x_RC, moments)
    for c in range(channels):
        variance = moments[1 + channels + c] / np.float64(rows)
        mean_C[c] = moments[1 + c]
        inverse_std_C[c] = 1.0 / math.sqrt(variance + epsilon)
    x, y = x_RC.reshape(-1), y_RC.reshape(-1)
    whole = channels // LANES * LANES
    lowest = x_RC.dtype.type(0.0 if is_rectified != 0 else -math.inf)
    for r in range(rows):
        start = r * channels
        for c in range(0, whole, LANES):
            scale = load(inverse_std_C, c) * load(gamma_C, c)
            value = multiply_add(load(x, start + c) - load(mean_C, c), scale, load(beta_C, c))
            store(y, start + c, not_below(value, splat(lowest)))
        for c in range(whole, channels):
            value_ = (x[start + c] - mean_C[c]) * (inverse_std_C[c] * gamma_C[c]) + beta_C[c]
            y[start + c] = lowest if value_ < lowest else value_


@kernel
def batch_norm_gradient(
    x_RC: Array,
    gamma_C: Array,
    mean_C: Array,
    inverse_std_C: Array,
    y_RC: Array,
    dy_RC: Array,
    is_rectified: int,
    dx_RC: Array,
    dgamma_C: Array,
    dbeta_C: Array,
    scratch_2C: Array,
) -> None:
    """Gradients of `batch_norm_training`, from y only if `is_rectified`; `scratch_2C` is float64 [2, C]."""
    rows, channels = x_RC.shape
    one_over = 1.0 / np.float64(rows)
    x, y, dy, dx = x_RC.reshape(-1), y_RC.reshape(-1), dy_RC.reshape(-1), dx_RC.reshape(-1)
    level, slope = scratch_2C[0], scratch_2C[1]
    add_up_products(dy, y, is_rectified, x, rows, channels, mean_C, level, slope)
    for c in range(channels):
        dbeta_C[c] = level[c]
        dgamma_C[c] = slope[c] * np.float64(inverse_std_C[c])
        # dx = gamma inv (dy - mean(dy) - (x - m) inv^2 mean(dy (x - m)))
        inverse = np.float64(inverse_std_C[c])
        level[c] = level[c] * one_over
        slope[c] = -(slope[c] * one_over * (inverse * inverse))
    whole = channels // LANES * LANES
    for r in range(rows):
        start = r * channels
        for c in range(0, whole, LANES):
            centred = widen(load(x, start + c) - load(mean_C, c))
            rest = widen(kept_gradient(y, dy, start + c, is_rectified)) - load(level, c)
            rest = multiply_add(centred, load(slope, c), rest)
            scale = widen(load(inverse_std_C, c) * load(gamma_C, c))
            store(dx, start + c, narrow(rest * scale, dx))
        for c in range(whole, channels):
            centred_ = np.float64(x[start + c] - mean_C[c])
            dy_ = np.float64(kept_value(y, dy, start + c, is_rectified))
            rest_ = (dy_ - level[c]) + centred_ * slope[c]
            dx[start + c] = rest_ * np.float64(inverse_std_C[c] * gamma_C[c])


@kernel
def batch_norm_inference(
    x_RC: Array,
    gamma_C: Array,
    beta_C: Array,
    mean_C: Array,
    variance_C: Array,
    epsilon: float,
    y_RC: Array,
    scale_C: Array,
) -> None:
    """y = (x - mean) * gamma / sqrt(variance + epsilon) + beta; `scale_C` keeps gamma / sqrt(...)."""
    rows, channels = x_RC.shape
    for c in range(channels):
        inverse_std = 1.0 / math.sqrt(np.float64(variance_C[c]) + epsilon)
        scale_C[c] = np.float64(gamma_C[c]) * inverse_std
    for r in range(rows):
        for c in range(channels):
            y_RC[r, c] = (x_RC[r, c] - mean_C[c]) * scale_C[c] + beta_C[c]


@kernel
def merge_moments(moments: Array, other: Array) -> None:
    """moments = the moments of both sets of rows together (Chan, Golub, LeVeque 1983)."""
    channels = (moments.size - 1) // 2
    left, right = moments[0], other[0]
    if right == 0.0:
        return
    total = left + right
    for c in range(channels):
        delta = other[1 + c] - moments[1 + c]
        m2 = moments[1 + channels + c] + other[1 + channels + c]
        moments[1 + channels + c] = m2 + delta * delta * (left * right / total)
        moments[1 + c] = moments[1 + c] + delta * (right / total)
    moments[0] = total


# Along a row


@kernel
def layer_norm(
    x_RC: Array,
    gamma_C: Array,
    beta_C: Array,
    epsilon: float,
    y_RC: Array,
    mean_R: Array,
    inverse_std_R: Array,
) -> None:
    """y = (x - mean) * inverse_std * gamma + beta with each row's own statistics."""
    rows, channels = x_RC.shape
    x = x_RC.reshape(-1)
    count, one = x_RC.dtype.type(channels), x_RC.dtype.type(1)
    epsilon_ = x_RC.dtype.type(epsilon)
    for r in range(rows):
        mean = run_sum(x, r * channels, channels) / count
        variance = run_deviation_sum(x, r * channels, channels, mean) / count
        inverse = one / np.sqrt(variance + epsilon_)
        mean_R[r] = mean
        inverse_std_R[r] = inverse
        for c in range(channels):
            y_RC[r, c] = ((x_RC[r, c] - mean) * inverse) * gamma_C[c] + beta_C[c]


@kernel
def layer_norm_gradient(
    x_RC: Array,
    gamma_C: Array,
    mean_R: Array,
    inverse_std_R: Array,
    dy_RC: Array,
    dx_RC: Array,
    dgamma_C: Array,
    dbeta_C: Array,
) -> None:
    """Gradients of `layer_norm`; dgamma and dbeta are chains over the rows."""
    rows, channels = x_RC.shape
    x, dx = x_RC.reshape(-1), dx_RC.reshape(-1)
    count = x_RC.dtype.type(channels)
    for c in range(channels):
        dgamma_C[c] = 0
        dbeta_C[c] = 0
    for r in range(rows):
        mean, inverse, start = mean_R[r], inverse_std_R[r], r * channels
        for c in range(channels):
            dy = dy_RC[r, c]
            dbeta_C[c] += dy
            dgamma_C[c] += dy * ((x_RC[r, c] - mean) * inverse)
            dx_RC[r, c] = dy * gamma_C[c]
        mean_g = run_sum(dx, start, channels) / count
        # mean of g (x - m), times inv^2: what the row's own scale contributes
        slope = run_scaled_deviation_dot(dx, x, start, channels, mean) / count * (inverse * inverse)
        for c in range(channels):
            dx_RC[r, c] = ((dx_RC[r, c] - mean_g) - (x_RC[r, c] - mean) * slope) * inverse
