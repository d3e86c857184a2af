"""Updates of the adaptive optimizers beyond Adam's family; see `distnn.kernels.update` for what all share."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.kernels.fingerprints import SLOT_STRIDE, ZERO, bits_of, plain_bits, tell_trouble, u32, u64
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.rows import run_square_sum_f64
from distnn.kernels.update import (
    ALPHA,
    BETA_1,
    BETA_2,
    BLOCK,
    EPSILON,
    GRADIENT_FACTOR,
    LEARNING_RATE,
    MOMENTUM_FACTOR,
    RHO,
    SHRINKAGE,
    TRUST,
    VELOCITY_FACTOR,
    effective_gradient,
    prepare,
)


@kernel
def adadelta(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """d = -g * sqrt(x + eps) / sqrt(v + eps); w + lr * d. Slots: v, x, running means of g^2 and d^2."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    rho, rest = np.float32(scalars[RHO]), np.float32(1.0 - scalars[RHO])
    epsilon = np.float32(scalars[EPSILON])
    v, v_out = slots[0, start:stop], slots_out[0, start:stop]
    x, x_out = slots[1, start:stop], slots_out[1, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_v = rho * v[i] + rest * (gradient * gradient)
        delta = -(np.sqrt(x[i] + epsilon) * gradient) / np.sqrt(new_v + epsilon)
        new_x = rho * x[i] + rest * (delta * delta)
        new_w = decayed + rate * delta
        v_out[i] = new_v
        x_out[i] = new_x
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_v, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_x, 2 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_v * ZERO + new_x * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def adamax(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """m += (1 - b1)(g - m); u = max(b2 * u, |g|); w - alpha * m / (u + eps). Slots: m, u."""
    prepared = prepare(scalars)
    alpha, epsilon = np.float32(scalars[ALPHA]), np.float32(scalars[EPSILON])
    rest_1, beta_2 = np.float32(1.0 - scalars[BETA_1]), np.float32(scalars[BETA_2])
    m, m_out = slots[0, start:stop], slots_out[0, start:stop]
    u, u_out = slots[1, start:stop], slots_out[1, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_m = m[i] + (gradient - m[i]) * rest_1
        size, kept = abs(gradient), beta_2 * u[i]
        new_u = size if size > kept else kept
        new_w = decayed - (alpha * new_m) / (new_u + epsilon)
        m_out[i] = new_m
        u_out[i] = new_u
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_m, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_u, 2 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_m * ZERO + new_u * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def nadam(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """Adam with m looked ahead: w - (fm * m + fg * g) / (sqrt(fv * v) + eps). Slots: m, v."""
    prepared = prepare(scalars)
    epsilon, momentum_factor = np.float32(scalars[EPSILON]), np.float32(scalars[MOMENTUM_FACTOR])
    gradient_factor, velocity_factor = (
        np.float32(scalars[GRADIENT_FACTOR]),
        np.float32(scalars[VELOCITY_FACTOR]),
    )
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
        ahead = momentum_factor * new_m + gradient_factor * gradient
        new_w = decayed - ahead / (np.sqrt(velocity_factor * new_v) + epsilon)
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
def lion(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """w - lr * sign(b1 * m + (1 - b1) * g); m = b2 * m + (1 - b2) * g. Slots: m."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    beta_1, rest_1 = np.float32(scalars[BETA_1]), np.float32(1.0 - scalars[BETA_1])
    beta_2, rest_2 = np.float32(scalars[BETA_2]), np.float32(1.0 - scalars[BETA_2])
    zero = np.float32(0)
    m, m_out = slots[0, start:stop], slots_out[0, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        mixed = m[i] * beta_1 + gradient * rest_1
        step = rate if mixed > zero else (-rate if mixed < zero else zero)
        new_w = decayed - step
        new_m = m[i] * beta_2 + gradient * rest_2
        m_out[i] = new_m
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_m, 1 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_m * ZERO)
    tell_trouble(scalars, doubt)
    return total


@kernel
def ftrl(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """Follow the regularised leader, learning_rate_power -0.5. Slots: n (sum of g^2), z.

    z += g' - (sqrt(n + g^2) - sqrt(n)) / lr * w with g' = g + 2 * shrinkage * w;
    w = (clip(z, l1) - z) / (sqrt(n) / lr + 2 * l2).
    """
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE])
    # places that other rules use: the strengths of l1, and twice those of l2 (beta's part in it)
    l1, l2_twice = np.float32(scalars[ALPHA]), np.float32(scalars[VELOCITY_FACTOR])
    shrinkage_twice, zero = np.float32(2.0 * scalars[SHRINKAGE]), np.float32(0)
    n, n_out = slots[0, start:stop], slots_out[0, start:stop]
    z, z_out = slots[1, start:stop], slots_out[1, start:stop]
    w, w_out = w[start:stop], w_out[start:stop]
    total, doubt = u64(0), u32(0)
    for i in range(w.size):
        gradient = effective_gradient(g[i], w[i], prepared)
        decayed = w[i] - w[i] * prepared[4]
        new_n = n[i] + gradient * gradient
        root = np.sqrt(new_n)
        used = gradient + shrinkage_twice * decayed
        # the difference of the roots, without cancellation
        both = root + np.sqrt(n[i])
        grown = gradient * gradient / both if both > zero else zero
        new_z = z[i] + (used - grown / rate * decayed)
        clipped = -l1 if new_z < -l1 else (l1 if new_z > l1 else new_z)
        new_w = (clipped - new_z) / (root / rate + l2_twice)
        n_out[i] = new_n
        z_out[i] = new_z
        w_out[i] = new_w
        total += bits_of(new_w, start + i)
        total += bits_of(new_n, 1 * SLOT_STRIDE + start + i)
        total += bits_of(new_z, 2 * SLOT_STRIDE + start + i)
        doubt |= plain_bits(new_w * ZERO + new_n * ZERO + new_z * ZERO)
    tell_trouble(scalars, doubt)
    return total


@helper
def _lamb_direction(new_m: Any, new_v: Any, scalars: Array) -> Any:
    """(m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps)."""
    m_hat = new_m * np.float32(scalars[MOMENTUM_FACTOR])
    return m_hat / (np.sqrt(new_v * np.float32(scalars[VELOCITY_FACTOR])) + np.float32(scalars[EPSILON]))


@kernel
def lamb(
    w: Array, g: Array, slots: Array, w_out: Array, slots_out: Array, scalars: Array, start: int, stop: int
) -> Any:
    """w - lr * trust * d, d as of Adam and trust = |w| / |d| of the whole variable. Slots: m, v."""
    prepared, rate = prepare(scalars), np.float32(scalars[LEARNING_RATE] * scalars[TRUST])
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
        new_w = decayed - rate * _lamb_direction(new_m, new_v, scalars)
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
def lamb_square_sums(
    w: Array, g: Array, slots: Array, scalars: Array, start: int, stop: int, scratch: Array, out: Array
) -> None:
    """out[k] (float64) = sum of squares of block k of the direction that `lamb` takes.

    Blocks of 1024 values count from `start`; `scratch` holds one.
    """
    prepared = prepare(scalars)
    rest_1, rest_2 = np.float32(1.0 - scalars[BETA_1]), np.float32(1.0 - scalars[BETA_2])
    w, m, v = w[start:stop], slots[0, start:stop], slots[1, start:stop]
    for k in range(out.size):
        first = k * BLOCK
        count = min(BLOCK, w.size - first)
        for j in range(count):
            i = first + j
            gradient = effective_gradient(g[i], w[i], prepared)
            new_m = m[i] + (gradient - m[i]) * rest_1
            new_v = v[i] + (gradient * gradient - v[i]) * rest_2
            scratch[j] = _lamb_direction(new_m, new_v, scalars)
        out[k] = run_square_sum_f64(scratch, 0, count)
