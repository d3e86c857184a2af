"""Fingerprints by their definition, and who tells of values that are not finite."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.control import CONTROL_WORDS, STEP_WORD
from distnn.kernels import fingerprints as kernels
from distnn.kernels import update, update_adafactor, update_adaptive
from distnn.kernels.update import LEARNING_RATE, NUM_SCALARS

Array = np.ndarray[Any, np.dtype[Any]]
MASK = (1 << 64) - 1
UPDATES = {
    "sgd": (update.sgd, 0),
    "sgd_momentum": (update.sgd_momentum, 1),
    "sgd_nesterov": (update.sgd_nesterov, 1),
    "adam": (update.adam, 2),
    "adam_amsgrad": (update.adam_amsgrad, 3),
    "rmsprop": (update.rmsprop, 1),
    "rmsprop_momentum": (update.rmsprop_momentum, 2),
    "rmsprop_centered": (update.rmsprop_centered, 2),
    "rmsprop_centered_momentum": (update.rmsprop_centered_momentum, 3),
    "adagrad": (update.adagrad, 1),
    "adadelta": (update_adaptive.adadelta, 2),
    "adamax": (update_adaptive.adamax, 2),
    "nadam": (update_adaptive.nadam, 2),
    "lion": (update_adaptive.lion, 1),
    "ftrl": (update_adaptive.ftrl, 2),
    "lamb": (update_adaptive.lamb, 2),
    "adafactor": (update_adafactor.adafactor, 2),
}
BAD = [np.nan, np.inf, -np.inf]


def test_fingerprint_is_its_definition() -> None:
    vector = np.random.default_rng(3).normal(size=45).astype(np.float32)
    bits = vector.view(np.uint32).tolist()
    for offset in (0, 7, 1 << 33):
        expected = sum(b * (2 * (offset + i) + 1) for i, b in enumerate(bits)) & MASK
        assert int(kernels.fingerprint(vector, offset)) == expected
    changed = vector.copy()
    changed[[3, 4]] = changed[[4, 3]]
    assert int(kernels.fingerprint(changed, 0)) != int(kernels.fingerprint(vector, 0))


def step_of(kernel: Any, num_slots: int, gradient: Array) -> tuple[Array, bool]:
    """New weights and slots, and whether the kernel told of trouble."""
    size = gradient.size
    w = np.linspace(-1, 1, size, dtype=np.float32)
    slots = np.full((num_slots, size), 0.5, np.float32)
    scalars = np.full(NUM_SCALARS, 0.1)
    scalars[update.CLIP_VALUE] = np.inf
    scalars[[update.SIZE, update.ROWS, update.COLUMNS, kernels.TROUBLE]] = 0.0
    out = np.empty((num_slots + 1, size), np.float32)
    kernel(w, gradient, slots, out[0], out[1:], scalars, 0, size)
    return out, bool(scalars[kernels.TROUBLE])


@pytest.mark.parametrize("name", UPDATES)
def test_an_update_tells_of_what_is_not_finite(name: str) -> None:
    kernel, num_slots = UPDATES[name]
    gradient = np.linspace(-1, 1, 67, dtype=np.float32)
    written, told = step_of(kernel, num_slots, gradient)
    assert np.isfinite(written).all() and not told
    for value in BAD:
        for place in (0, 31, 66):
            bad = gradient.copy()
            bad[place] = value
            written, told = step_of(kernel, num_slots, bad)
            assert told and not np.isfinite(written).all(), (value, place)


@pytest.mark.parametrize("size", [np.float32(3e38), np.float32(-3e38)])
def test_the_largest_numbers_are_finite(size: np.float32) -> None:
    scalars = np.zeros(NUM_SCALARS)
    scalars[update.GRADIENT_SCALE], scalars[update.CLIP_VALUE] = 1.0, np.inf
    w, out = np.full(20, size), np.zeros(20, np.float32)
    none = np.zeros((0, 20), np.float32)
    update.sgd(w, np.zeros(20, np.float32), none, out, none, scalars, 0, 20)
    assert out.tolist() == w.tolist() and scalars[kernels.TROUBLE] == 0
    scalars[LEARNING_RATE] = 1.0
    update.sgd(w, -w, none, out, none, scalars, 0, 20)
    assert np.isinf(out).all() and scalars[kernels.TROUBLE] != 0


@pytest.mark.parametrize("value", BAD)
def test_what_was_never_finite_is_nobodys_trouble(value: float) -> None:
    old = np.linspace(0, 1, 20, dtype=np.float32)
    old[3] = -np.inf
    scalars = np.zeros(NUM_SCALARS)
    assert int(kernels.fingerprint_moved(old, old, 5, scalars)) == int(kernels.fingerprint(old, 5))
    assert scalars[kernels.TROUBLE] == 0
    new = old.copy()
    new[17] = value
    kernels.fingerprint_moved(old, new, 5, scalars)
    assert scalars[kernels.TROUBLE] != 0


@pytest.mark.parametrize(("place", "is_trouble"), [(0, True), (3, True), (4, False), (6, False), (7, True)])
def test_metrics_are_no_losses(place: int, is_trouble: bool) -> None:
    sums, scalars = np.zeros(8), np.zeros(NUM_SCALARS)
    sums[place] = np.nan
    kernels.look_at_losses(sums, 2, scalars)
    assert bool(scalars[kernels.TROUBLE]) == is_trouble


def test_trouble_is_reported_with_its_step_and_forgotten() -> None:
    rows, words = np.zeros((3, NUM_SCALARS)), np.zeros(4, np.int64)
    control = np.zeros(CONTROL_WORDS, np.int64)
    control[STEP_WORD] = 41
    kernels.report_trouble(rows, control, words, 2)
    assert not words.any()
    rows[1, kernels.TROUBLE] = 1
    kernels.report_trouble(rows, control, words, 2)
    assert words.tolist() == [0, 0, 42, 0] and not rows.any()
