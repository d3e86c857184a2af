"""Optimizer updates on flat float32 vectors, and the sums and fingerprints that go with them.

Every update reads elements [start, stop) of weights and slots, and their gradient as an array of its own; it
writes those elements of other arrays, so that the old state stays whole. Element i is a function of element
i alone: how the range is cut never changes a bit. Formulas are Keras 3's. `scalars` is a float64 array, its
places named below. An update returns the fingerprint of what it wrote, and tells in `scalars` if a value is
not finite (see `distnn.kernels.fingerprints`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.fingerprints import (
    SLOT_STRIDE,
    TROUBLE,
    ZERO,
    bits_of,
    plain_bits,
    tell_trouble,
    u32,
    u64,
)
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.rows import run_abs_sum_f64, run_square_sum_f64

LEARNING_RATE, L1, L2, GRADIENT_SCALE, CLIP_VALUE, WEIGHT_DECAY = 0, 1, 2, 3, 4, 5
MOMENTUM, BETA_1, BETA_2, RHO, EPSILON, ALPHA = 6, 7, 8, 9, 10, 11
MOMENTUM_FACTOR, GRADIENT_FACTOR, VELOCITY_FACTOR, TRUST, SHRINKAGE = 12, 13, 14, 15, 16
SIZE, ROWS, COLUMNS = 17, 18, 19
NUM_SCALARS = TROUBLE + 1
"""Places in `scalars`. GRADIENT_SCALE 1 and CLIP_VALUE infinity change nothing; ALPHA is Adam's
learning_rate * sqrt(1 - beta_2^t) / (1 - beta_1^t). TRUST (see `lamb`), SIZE, ROWS and COLUMNS (see
`adafactor`) are of each variable. The last place is written: whether a new value was not finite."""

BLOCK = 1024
"""Length of the blocks over which squares are summed."""


@helper
def prepare(scalars: Array) -> Any:
    """l1, 2 * l2, scale, clip and decay in float32."""
    return (
        np.float32(scalars[L1]),
        np.float32(2.0 * scalars[L2]),
        np.float32(scalars[GRADIENT_SCALE]),
        np.float32(scalars[CLIP_VALUE]),
        np.float32(scalars[WEIGHT_DECAY] * scalars[LEARNING_RATE]),
    )


@helper
def _penalised(g: Any, w: Any, l1: Any, l2_twice: Any) -> Any:
    """g + l1 * sign(w) + 2 * l2 * w."""
    zero = np.float32(0)
    sign = l1 if w > zero else (-l1 if w < zero else zero)
    return g + sign + l2_twice * w


@helper
def effective_gradient(g: Any, w: Any, prepared: Any) -> Any:
    """The gradient with penalties, scaled and clipped."""
    l1, l2_twice, scale, clip, _ = prepared
    g = _penalised(g, w, l1, l2_twice) * scale
    g = -clip if g < -clip else g
    return clip if g > clip else g


@kernel
def sgd(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """w - lr * g; no slots."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_w = decayed - rate * gradient
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        doubt |= plain_bits(new_w * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def sgd_momentum(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """m = momentum * m - lr * g; w + m. Slots: m."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    momentum = np.float32(scalars[MOMENTUM])
    m, m_out = slots[0, start:stop], slots_out[0, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_m = m[i] * momentum - gradient * rate
        new_w = decayed + new_m
        m_out[i] = new_m
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_m, 1 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_m * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def sgd_nesterov(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """m = momentum * m - lr * g; w + momentum * m - lr * g. Slots: m."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    momentum = np.float32(scalars[MOMENTUM])
    m, m_out = slots[0, start:stop], slots_out[0, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_m = m[i] * momentum - gradient * rate
        new_w = decayed + (new_m * momentum - gradient * rate)
        m_out[i] = new_m
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_m, 1 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_m * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def adam(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """m += (1 - b1)(g - m); v += (1 - b2)(g^2 - v); w - alpha * m / (sqrt(v) + eps). Slots: m, v."""
    prepared = prepare(scalars)
    alpha, epsilon = np.float32(scalars[ALPHA]), np.float32(scalars[EPSILON])
    rest_1, rest_2 = np.float32(1.0 - scalars[BETA_1]), np.float32(1.0 - scalars[BETA_2])
    m, m_out = slots[0, start:stop], slots_out[0, start:stop]
    v, v_out = slots[1, start:stop], slots_out[1, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_m = m[i] + (gradient - m[i]) * rest_1
        new_v = v[i] + (gradient * gradient - v[i]) * rest_2
        new_w = decayed - (new_m * alpha) / (np.sqrt(new_v) + epsilon)
        m_out[i] = new_m
        v_out[i] = new_v
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_m, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_v, 2 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_m * ZERO + new_v * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def adam_amsgrad(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """adam, with the largest v so far in the quotient. Slots: m, v, largest v."""
    prepared = prepare(scalars)
    alpha, epsilon = np.float32(scalars[ALPHA]), np.float32(scalars[EPSILON])
    rest_1, rest_2 = np.float32(1.0 - scalars[BETA_1]), np.float32(1.0 - scalars[BETA_2])
    m, m_out = slots[0, start:stop], slots_out[0, start:stop]
    v, v_out = slots[1, start:stop], slots_out[1, start:stop]
    h, h_out = slots[2, start:stop], slots_out[2, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_m = m[i] + (gradient - m[i]) * rest_1
        new_v = v[i] + (gradient * gradient - v[i]) * rest_2
        new_h = new_v if new_v > h[i] else h[i]
        new_w = decayed - (new_m * alpha) / (np.sqrt(new_h) + epsilon)
        m_out[i] = new_m
        v_out[i] = new_v
        h_out[i] = new_h
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_m, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_v, 2 * SLOT_STRIDE + start + i)
        total += bits_of(new_h, 3 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_m * ZERO + new_v * ZERO + new_h * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def rmsprop(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """v = rho * v + (1 - rho) * g^2; w - lr * g / sqrt(v + eps). Slots: v."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    rho, rest = np.float32(scalars[RHO]), np.float32(1.0 - scalars[RHO])
    epsilon = np.float32(scalars[EPSILON])
    v, v_out = slots[0, start:stop], slots_out[0, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_v = rho * v[i] + rest * (gradient * gradient)
        new_w = decayed - (rate * gradient) / np.sqrt(new_v + epsilon)
        v_out[i] = new_v
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_v, 1 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_v * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def rmsprop_momentum(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """m = momentum * m + lr * g / sqrt(v + eps); w - m. Slots: v, m."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    rho, rest = np.float32(scalars[RHO]), np.float32(1.0 - scalars[RHO])
    epsilon = np.float32(scalars[EPSILON])
    momentum = np.float32(scalars[MOMENTUM])
    v, v_out = slots[0, start:stop], slots_out[0, start:stop]
    m, m_out = slots[1, start:stop], slots_out[1, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_v = rho * v[i] + rest * (gradient * gradient)
        new_m = momentum * m[i] + (rate * gradient) / np.sqrt(new_v + epsilon)
        new_w = decayed - new_m
        v_out[i] = new_v
        m_out[i] = new_m
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_v, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_m, 2 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_v * ZERO + new_m * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def rmsprop_centered(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """rmsprop by the variance: v - a^2 for v, a the average of g. Slots: v, a."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    rho, rest = np.float32(scalars[RHO]), np.float32(1.0 - scalars[RHO])
    epsilon = np.float32(scalars[EPSILON])
    v, v_out = slots[0, start:stop], slots_out[0, start:stop]
    a, a_out = slots[1, start:stop], slots_out[1, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_v = rho * v[i] + rest * (gradient * gradient)
        new_a = rho * a[i] + rest * gradient
        variance = new_v - new_a * new_a
        new_w = decayed - (rate * gradient) / np.sqrt(variance + epsilon)
        v_out[i] = new_v
        a_out[i] = new_a
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_v, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_a, 2 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_v * ZERO + new_a * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def rmsprop_centered_momentum(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """Both: centered, with momentum. Slots: v, m, a."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    rho, rest = np.float32(scalars[RHO]), np.float32(1.0 - scalars[RHO])
    epsilon = np.float32(scalars[EPSILON])
    momentum = np.float32(scalars[MOMENTUM])
    v, v_out = slots[0, start:stop], slots_out[0, start:stop]
    m, m_out = slots[1, start:stop], slots_out[1, start:stop]
    a, a_out = slots[2, start:stop], slots_out[2, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_v = rho * v[i] + rest * (gradient * gradient)
        new_a = rho * a[i] + rest * gradient
        variance = new_v - new_a * new_a
        new_m = momentum * m[i] + (rate * gradient) / np.sqrt(variance + epsilon)
        new_w = decayed - new_m
        v_out[i] = new_v
        m_out[i] = new_m
        a_out[i] = new_a
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_v, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_m, 2 * SLOT_STRIDE + start + i)
        total += bits_of(new_a, 3 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_v * ZERO + new_m * ZERO + new_a * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def adagrad(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """v += g^2; w - lr * g / sqrt(v + eps). Slots: v."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    epsilon = np.float32(scalars[EPSILON])
    v, v_out = slots[0, start:stop], slots_out[0, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_v = v[i] + gradient * gradient
        new_w = decayed - (rate * gradient) / np.sqrt(new_v + epsilon)
        v_out[i] = new_v
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_v, 1 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_v * ZERO)
    tell_trouble(scalars, doubt)
    return total


# Sums over a vector


@kernel
def add_into(accumulator: Array, x: Array) -> None:
    """accumulator += x."""
    for i in range(accumulator.size):
        accumulator[i] += x[i]


@kernel
def add_arrays(x: Array, y: Array, out: Array) -> None:
    """out = x + y."""
    for i in range(out.size):
        out[i] = x[i] + y[i]


@kernel
def square_sums(g: Array, w: Array, l1: float, l2: float, scratch: Array, out: Array) -> None:
    """out[k] (float64) = sum of squares of block k of the gradient with its penalties.

    Blocks of 1024 values count from the start of g; `scratch` holds one. The gradient stays as it is: the
    update adds the penalties again, to the same bits.
    """
    l1_, l2_twice = np.float32(l1), np.float32(2.0 * l2)
    for k in range(out.size):
        first = k * BLOCK
        count = min(BLOCK, g.size - first)
        for i in range(count):
            scratch[i] = _penalised(g[first + i], w[first + i], l1_, l2_twice)
        out[k] = run_square_sum_f64(scratch, 0, count)


@kernel
def tree_total(values: Array) -> Any:
    """The sum of float64 values by halving: the upper half is added to the lower. `values` is spoilt."""
    count = values.size
    while count > 1:
        half = (count + 1) // 2
        for i in range(count - half):
            values[i] += values[half + i]
        count = half
    return values[0] if values.size > 0 else 0.0


@kernel
def penalty_sums(w: Array, out_2K: Array) -> None:
    """(sums of |w|, sums of w^2) in float64, by blocks of 1024 values."""
    for k in range(out_2K.shape[1]):
        count = min(BLOCK, w.size - k * BLOCK)
        out_2K[0, k] = run_abs_sum_f64(w, k * BLOCK, count)
        out_2K[1, k] = run_square_sum_f64(w, k * BLOCK, count)
