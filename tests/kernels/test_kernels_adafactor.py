"""Adafactor on matrices: Keras's formulas in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from distnn.kernels.fingerprints import fingerprint
from distnn.kernels.update import COLUMNS, ROWS, SIZE
from distnn.kernels.update_adafactor import adafactor
from distnn.optimizers import Adafactor

Array = np.ndarray[Any, np.dtype[Any]]


def keras_steps(o: Any, w: Array, gradients: list[Array]) -> tuple[Array, Array, Array]:
    """Keras's formulas in float64: weights, row means, column means."""
    w = w.astype(np.float64)
    r, c = np.zeros(w.shape[:-1]), np.zeros((*w.shape[:-2], w.shape[-1]))
    for t, g in enumerate(gradients, 1):
        lr, kept = o.learning_rate_at(t - 1), 1 - t**o.beta_2_decay
        if o.weight_decay:
            w = w - w * o.weight_decay * lr
        alpha = max(o.epsilon_2, math.sqrt(np.mean(w**2))) * min(lr, 1 / math.sqrt(t))
        squares = g.astype(np.float64) ** 2 + o.epsilon_1
        r = kept * r + (1 - kept) * squares.mean(axis=-1)
        c = kept * c + (1 - kept) * squares.mean(axis=-2)
        v = (r / r.mean(axis=-1, keepdims=True))[..., None] * c[..., None, :]
        u = g / np.sqrt(v)
        w = w - alpha * u / max(1.0, math.sqrt(np.mean(u**2)) / o.clip_threshold)
    return w, r, c


@pytest.mark.parametrize("shape", [(5, 7), (1, 9), (9, 1), (33, 20), (2, 3, 4, 5), (3, 3, 2, 1), (7, 1, 3)])
@pytest.mark.parametrize(
    "options", [{}, {"clip_threshold": 0.2, "weight_decay": 0.1, "epsilon_2": 0.5}], ids=str
)
def test_five_steps_of_a_matrix_agree_with_keras_formulas(
    shape: tuple[int, ...], options: dict[str, Any]
) -> None:
    optimizer, size = Adafactor(0.3, **options), math.prod(shape)
    room = -(-size // 16) * 16
    rng = np.random.default_rng(size)
    w = np.zeros(room, np.float32)
    w[:size] = rng.normal(size=size)
    first = w[:size].reshape(shape).copy()
    gradients = [rng.normal(size=shape).astype(np.float32) for _ in range(5)]
    slots = np.zeros((2, room), np.float32)
    for t, gradient in enumerate(gradients):
        scalars = optimizer.scalars(t)
        scalars[SIZE], scalars[ROWS], scalars[COLUMNS] = size, *shape[-2:]
        g = np.zeros(room, np.float32)
        g[:size] = gradient.reshape(-1)
        w_out, slots_out = np.full_like(w, np.nan), np.full_like(slots, np.nan)
        digest = int(adafactor(w, g, slots, w_out, slots_out, scalars, 0, room))
        w, slots = w_out, slots_out
    expected, r, c = keras_steps(optimizer, first, gradients)
    np.testing.assert_allclose(w[:size].reshape(shape), expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(slots[0, : r.size].reshape(r.shape), r, rtol=1e-5)
    np.testing.assert_allclose(slots[1, : c.size].reshape(c.shape), c, rtol=1e-5)
    assert not slots[0, r.size :].any() and not slots[1, c.size :].any() and not w[size:].any()
    whole = sum(int(fingerprint(part, place << 40)) for place, part in enumerate((w, *slots)))
    assert digest == whole % 2**64
