"""The other adaptive updates against their formulas in float64; slices, fingerprints, LAMB's squares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn.kernels import update
from distnn.kernels import update_adaptive as kernels
from distnn.kernels.fingerprints import SLOT_STRIDE, fingerprint

Array = np.ndarray[Any, np.dtype[Any]]
SIZE, MASK = 70, (1 << 64) - 1
RATE, BETA_1, BETA_2, RHO, EPSILON, ALPHA = 0.05, 0.9, 0.99, 0.8, 1e-3, 0.04


def scalars() -> Array:
    values = np.zeros(update.NUM_SCALARS)
    given = {
        "LEARNING_RATE": RATE,
        "GRADIENT_SCALE": 1.0,
        "CLIP_VALUE": np.inf,
        "BETA_1": BETA_1,
        "BETA_2": BETA_2,
        "RHO": RHO,
        "EPSILON": EPSILON,
        "ALPHA": ALPHA,
        "MOMENTUM_FACTOR": 1.5,
        "GRADIENT_FACTOR": 0.7,
        "VELOCITY_FACTOR": 1.2,
        "TRUST": 0.6,
        "SHRINKAGE": 0.1,
    }
    for name, value in given.items():
        values[getattr(update, name)] = value
    return values


def adadelta(w: Array, g: Array, v: Array, x: Array) -> tuple[Array, ...]:
    v = RHO * v + (1 - RHO) * g**2
    d = -g * np.sqrt(x + EPSILON) / np.sqrt(v + EPSILON)
    return w + RATE * d, v, RHO * x + (1 - RHO) * d**2


def adamax(w: Array, g: Array, m: Array, u: Array) -> tuple[Array, ...]:
    m, u = m + (1 - BETA_1) * (g - m), np.maximum(BETA_2 * u, abs(g))
    return w - ALPHA * m / (u + EPSILON), m, u


def _moments(g: Array, m: Array, v: Array) -> tuple[Array, Array]:
    return m + (1 - BETA_1) * (g - m), v + (1 - BETA_2) * (g**2 - v)


def nadam(w: Array, g: Array, m: Array, v: Array) -> tuple[Array, ...]:
    m, v = _moments(g, m, v)
    return w - (1.5 * m + 0.7 * g) / (np.sqrt(1.2 * v) + EPSILON), m, v


def lion(w: Array, g: Array, m: Array, _: Array) -> tuple[Array, ...]:
    return w - RATE * np.sign(BETA_1 * m + (1 - BETA_1) * g), BETA_2 * m + (1 - BETA_2) * g


def ftrl(w: Array, g: Array, n: Array, z: Array) -> tuple[Array, ...]:
    """ALPHA is where l1 stands, VELOCITY_FACTOR twice l2."""
    new_n = n + g**2
    z = z + g + 0.2 * w - (np.sqrt(new_n) - np.sqrt(n)) / RATE * w
    return (np.clip(z, -ALPHA, ALPHA) - z) / (np.sqrt(new_n) / RATE + 1.2), new_n, z


def direction(m: Array, v: Array) -> Array:
    return 1.5 * m / (np.sqrt(1.2 * v) + EPSILON)


def lamb(w: Array, g: Array, m: Array, v: Array) -> tuple[Array, ...]:
    m, v = _moments(g, m, v)
    return w - RATE * 0.6 * direction(m, v), m, v


TWINS: list[Callable[..., tuple[Array, ...]]] = [adadelta, adamax, nadam, lion, ftrl, lamb]
KERNELS = {
    "adadelta": kernels.adadelta,
    "adamax": kernels.adamax,
    "nadam": kernels.nadam,
    "lion": kernels.lion,
    "ftrl": kernels.ftrl,
    "lamb": kernels.lamb,
}


def drawn(rng: np.random.Generator, size: int = SIZE) -> tuple[Array, Array, Array]:
    w, g = rng.normal(size=(2, size)).astype(np.float32)
    return w, g, (0.1 + rng.random((2, size))).astype(np.float32)


@pytest.mark.parametrize("twin", TWINS, ids=lambda twin: twin.__name__)
def test_updates_are_the_formulas_whatever_the_slices(
    twin: Callable[..., tuple[Array, ...]], rng: np.random.Generator
) -> None:
    w, g, slots = drawn(rng)
    kernel = KERNELS[twin.__name__]
    expected = twin(*(a.astype(np.float64) for a in (w, g, *slots)))
    w_out, slots_out = np.empty_like(w), np.empty_like(slots)
    total = kernel(w, g, slots, w_out, slots_out, scalars(), 0, SIZE)
    for found, wanted in zip((w_out, *slots_out), expected, strict=False):
        np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)

    again, slots_again = np.empty_like(w), np.empty_like(slots)
    parts = 0
    for start, stop in ((0, 13), (13, 14), (14, SIZE)):
        parts += int(kernel(w, g[start:stop], slots, again, slots_again, scalars(), start, stop))
    kept = len(expected) - 1
    assert again.tobytes() == w_out.tobytes() and slots_again[:kept].tobytes() == slots_out[:kept].tobytes()
    assert parts & MASK == int(total)
    prints = [int(fingerprint(w_out, 0))]
    prints += [int(fingerprint(slots_out[i], (i + 1) * SLOT_STRIDE)) for i in range(kept)]
    assert sum(prints) & MASK == int(total)


def test_lambs_squares_are_those_of_its_direction(rng: np.random.Generator) -> None:
    w, g, slots = drawn(rng, 2500)
    out, scratch = np.empty(3), np.empty(update.BLOCK, np.float32)
    kernels.lamb_square_sums(w, g, slots, scalars(), 0, 2500, scratch, out)
    squares = direction(*_moments(g.astype(np.float64), *slots.astype(np.float64))) ** 2
    expected = [squares[k : k + 1024].sum() for k in (0, 1024, 2048)]
    np.testing.assert_allclose(out, expected, rtol=1e-5)
