"""Updates against Keras's formulas in plain Python; slices, fingerprints, sums over blocks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn.kernels import update as kernels
from distnn.kernels.fingerprints import SLOT_STRIDE, fingerprint

Array = np.ndarray[Any, np.dtype[Any]]
SIZE = 70
MASK = (1 << 64) - 1


def scalars(**given: float) -> Array:
    values = np.zeros(kernels.NUM_SCALARS)
    values[kernels.LEARNING_RATE] = 0.05
    values[kernels.GRADIENT_SCALE] = 1.0
    values[kernels.CLIP_VALUE] = np.inf
    values[kernels.MOMENTUM] = 0.9
    values[kernels.BETA_1], values[kernels.BETA_2] = 0.9, 0.99
    values[kernels.RHO], values[kernels.EPSILON], values[kernels.ALPHA] = 0.8, 1e-3, 0.04
    for name, value in given.items():
        values[getattr(kernels, name)] = value
    return values


Step = Callable[[Array, Array, Array, Array], tuple[Array, list[Array]]]


def adam(w: Array, g: Array, slots: Array, s: Array, amsgrad: bool = False) -> tuple[Array, list[Array]]:
    m = slots[0] + (g - slots[0]) * (1 - s[kernels.BETA_1])
    v = slots[1] + (g * g - slots[1]) * (1 - s[kernels.BETA_2])
    largest = np.maximum(slots[2], v) if amsgrad else v
    new = w - m * s[kernels.ALPHA] / (np.sqrt(largest) + s[kernels.EPSILON])
    return new, [m, v, largest] if amsgrad else [m, v]


def momentum(w: Array, g: Array, slots: Array, s: Array, nesterov: bool = False) -> tuple[Array, list[Array]]:
    m = slots[0] * s[kernels.MOMENTUM] - g * s[kernels.LEARNING_RATE]
    moved = m * s[kernels.MOMENTUM] - g * s[kernels.LEARNING_RATE] if nesterov else m
    return w + moved, [m]


def rmsprop(
    w: Array, g: Array, slots: Array, s: Array, centered: bool = False, with_momentum: bool = False
) -> tuple[Array, list[Array]]:
    rho = s[kernels.RHO]
    v = rho * slots[0] + (1 - rho) * g * g
    found = [v]
    variance, averages = v, []
    if centered:
        averages = [rho * slots[2 if with_momentum else 1] + (1 - rho) * g]
        variance = v - averages[0] ** 2
    increment = s[kernels.LEARNING_RATE] * g / np.sqrt(variance + s[kernels.EPSILON])
    if with_momentum:
        increment = s[kernels.MOMENTUM] * slots[1] + increment
        found.append(increment)
    return w - increment, found + averages


def adagrad(w: Array, g: Array, slots: Array, s: Array) -> tuple[Array, list[Array]]:
    v = slots[0] + g * g
    return w - s[kernels.LEARNING_RATE] * g / np.sqrt(v + s[kernels.EPSILON]), [v]


UPDATES: list[tuple[Any, int, Step]] = [
    (kernels.sgd, 0, lambda w, g, slots, s: (w - s[kernels.LEARNING_RATE] * g, [])),
    (kernels.sgd_momentum, 1, momentum),
    (kernels.sgd_nesterov, 1, lambda w, g, slots, s: momentum(w, g, slots, s, True)),
    (kernels.adam, 2, adam),
    (kernels.adam_amsgrad, 3, lambda w, g, slots, s: adam(w, g, slots, s, True)),
    (kernels.rmsprop, 1, rmsprop),
    (kernels.rmsprop_momentum, 2, lambda w, g, slots, s: rmsprop(w, g, slots, s, False, True)),
    (kernels.rmsprop_centered, 2, lambda w, g, slots, s: rmsprop(w, g, slots, s, True)),
    (kernels.rmsprop_centered_momentum, 3, lambda w, g, slots, s: rmsprop(w, g, slots, s, True, True)),
    (kernels.adagrad, 1, adagrad),
]
parametrized = pytest.mark.parametrize(
    ("update", "num_slots", "step"), UPDATES, ids=[update.__name__ for update, _, _ in UPDATES]
)


def state(num_slots: int) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(8)
    w, g = rng.normal(size=(2, SIZE)).astype(np.float32)
    w[::9] = 0.0
    slots = rng.uniform(1.0, 2.0, size=(max(num_slots, 1), SIZE)).astype(np.float32)
    slots[-1] *= 0.1  # a centred average whose square is below the second moment
    return w, g, slots[:num_slots]


def run(update: Any, num_slots: int, s: Array, cuts: list[int]) -> tuple[Array, Array, int]:
    w, g, slots = state(num_slots)
    before = (w.tobytes(), g.tobytes(), slots.tobytes())
    w_out, slots_out = np.zeros_like(w), np.zeros_like(slots)
    total = 0
    for start, stop in zip([0, *cuts], [*cuts, SIZE], strict=True):
        total += int(update(w, g[start:stop], slots, w_out, slots_out, s, start, stop))
    assert (w.tobytes(), g.tobytes(), slots.tobytes()) == before
    return w_out, slots_out, total & MASK


@parametrized
@pytest.mark.parametrize(
    "options",
    [{}, {"L1": 0.03, "L2": 0.02, "GRADIENT_SCALE": 0.5, "CLIP_VALUE": 0.2, "WEIGHT_DECAY": 0.1}],
    ids=["plain", "everything"],
)
def test_update_is_keras_formula(update: Any, num_slots: int, step: Step, options: dict[str, float]) -> None:
    s = scalars(**options)
    w, g, slots = (array.astype(np.float64) for array in state(num_slots))
    g = (g + s[kernels.L1] * np.sign(w) + 2 * s[kernels.L2] * w) * s[kernels.GRADIENT_SCALE]
    g = np.clip(g, -s[kernels.CLIP_VALUE], s[kernels.CLIP_VALUE])
    decayed = w - w * s[kernels.LEARNING_RATE] * s[kernels.WEIGHT_DECAY]
    expected, expected_slots = step(decayed, g, slots, s)
    new, new_slots, _ = run(update, num_slots, s, [])
    np.testing.assert_allclose(new, expected, rtol=1e-5, atol=1e-6)
    for actual, wanted in zip(new_slots, expected_slots, strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=1e-5, atol=1e-6)


@parametrized
def test_slices_add_up_to_the_whole(update: Any, num_slots: int, step: Step) -> None:
    s = scalars(L1=0.03, L2=0.02, CLIP_VALUE=0.2, WEIGHT_DECAY=0.1)
    whole = run(update, num_slots, s, [])
    for cuts in ([1], [16], [33], [5, 6, 40], [15, 31, 48, 69], [0], [SIZE]):
        parts = run(update, num_slots, s, cuts)
        assert parts[0].tobytes() == whole[0].tobytes(), cuts
        assert parts[1].tobytes() == whole[1].tobytes(), cuts
        assert parts[2] == whole[2], cuts


@parametrized
def test_update_returns_the_fingerprint_of_what_it_wrote(update: Any, num_slots: int, step: Step) -> None:
    w, slots, total = run(update, num_slots, scalars(), [])
    expected = int(fingerprint(w, 0))
    for k in range(num_slots):
        expected += int(fingerprint(slots[k], (k + 1) * SLOT_STRIDE))
    assert total == expected & MASK


def test_nan_gradients_are_not_clipped_away() -> None:
    w, g, slots = state(0)
    g[5] = np.nan
    w_out = np.empty_like(w)
    kernels.sgd(w, g, slots, w_out, slots, scalars(CLIP_VALUE=0.1), 0, SIZE)
    assert np.isnan(w_out[5]) and np.isfinite(np.delete(w_out, 5)).all()


def test_vectors_are_added() -> None:
    w, g, _ = state(0)
    total = w.copy()
    kernels.add_into(total, g)
    np.testing.assert_array_equal(total, w + g)


@pytest.mark.parametrize("size", [1, 1024, 1025, 2500])
def test_squares_are_summed_in_blocks_and_a_tree(size: int) -> None:
    x = np.random.default_rng(size).normal(size=size).astype(np.float32)
    w = np.random.default_rng(size + 1).normal(size=size).astype(np.float32)
    num_blocks = -(-size // kernels.BLOCK)
    blocks, scratch = np.empty(num_blocks), np.empty(kernels.BLOCK, np.float32)
    for l1, l2 in ((0.0, 0.0), (0.1, 0.2)):
        kernels.square_sums(x, w, l1, l2, scratch, blocks)
        wide = (x + np.float32(l1) * np.sign(w) + np.float32(2 * l2) * w).astype(np.float64)
        expected = [float((part * part).sum()) for part in np.split(wide, range(1024, size, 1024))]
        np.testing.assert_allclose(blocks, expected, rtol=1e-6 if l1 else 1e-13)
        np.testing.assert_allclose(kernels.tree_total(blocks), sum(expected), rtol=1e-6 if l1 else 1e-13)
    sums = np.empty((2, num_blocks))
    kernels.penalty_sums(x, sums)
    wide = x.astype(np.float64)
    np.testing.assert_allclose(sums.sum(axis=1), [np.abs(wide).sum(), (wide * wide).sum()], rtol=1e-13)


@pytest.mark.parametrize("size", [100, 3000])
def test_the_norm_is_of_the_gradient_that_the_update_takes(size: int) -> None:
    """Penalties are added twice, for the norm and in the update, to the same bits."""
    rng = np.random.default_rng(size)
    g, w = (rng.normal(size=size).astype(np.float32) for _ in range(2))
    blocks, scratch = np.empty(-(-size // kernels.BLOCK)), np.empty(kernels.BLOCK, np.float32)
    kernels.square_sums(g, w, 0.1, 0.2, scratch, blocks)
    step = np.empty_like(w)
    kernels.sgd_momentum(
        w, g, np.zeros((1, size), np.float32), step, taken := np.empty((1, size), np.float32),
        scalars(LEARNING_RATE=1.0, MOMENTUM=0.0, L1=0.1, L2=0.2), 0, size,
    )  # fmt: skip
    last = blocks.size - 1
    assert scratch[: size - last * kernels.BLOCK].tobytes() == (-taken[0, last * kernels.BLOCK :]).tobytes()


def test_tree_total_is_its_definition() -> None:
    values = [1e16, 1.0, -1e16, 3.0, 0.5]
    assert kernels.tree_total(np.array(values)) == ((1e16 + 3.0) + -1e16) + (1.0 + 0.5)
    assert kernels.tree_total(np.empty(0)) == 0.0


@pytest.mark.parametrize("size", [0, 1, 33])
def test_add_arrays_leaves_its_operands(size: int) -> None:
    x, y = np.random.default_rng(2).normal(size=(2, size)).astype(np.float32)
    before, out = (x.tobytes(), y.tobytes()), np.full(size, np.nan, np.float32)
    kernels.add_arrays(x, y, out)
    assert out.tobytes() == (x + y).tobytes() and (x.tobytes(), y.tobytes()) == before
