"""Weights held to constraints in place, against loops, and the change of the fingerprint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels.constraints import bound_norms, clear_negatives, fingerprint_change
from distnn.kernels.fingerprints import fingerprint

Array = np.ndarray[Any, np.dtype[Any]]
START = 48


def change(before: Array, after: Array) -> int:
    """Of the fingerprint of values that count from START."""
    return (int(fingerprint(after, START)) - int(fingerprint(before, START))) % 2**64


def test_negatives_are_cleared(rng: np.random.Generator) -> None:
    w = rng.normal(size=37).astype(np.float32)
    w[3] = np.nan
    before = w.copy()
    found = int(clear_negatives(w, START))
    wanted = np.array([0.0 if x < 0 else x for x in before.tolist()], np.float32)
    np.testing.assert_array_equal(w, wanted)
    assert not np.signbit(w[~np.isnan(w)]).any()
    assert found == change(before, w)


@pytest.mark.parametrize("shape", [(1, 5, 4), (1, 40, 1), (3, 33, 1), (2, 4, 3), (4, 1, 5), (1, 0, 3)])
@pytest.mark.parametrize("bounds", [(0.0, 1.5, 1.0), (1.0, 1.0, 1.0), (0.5, 1.0, 0.3)])
def test_norms_are_bound(
    shape: tuple[int, int, int], bounds: tuple[float, float, float], rng: np.random.Generator
) -> None:
    low, high, rate = bounds
    w = rng.normal(size=shape).astype(np.float32)
    before, flat = w.copy(), w.reshape(-1)
    found = int(bound_norms(flat, *shape, low, high, rate, 1e-7, np.full(shape[2], np.nan), START))
    for a in range(shape[0]):
        for c in range(shape[2]):
            norm = sum(float(x) ** 2 for x in before[a, :, c]) ** 0.5
            wanted = rate * min(max(norm, low), high) + (1 - rate) * norm
            expected = before[a, :, c] * (wanted / (1e-7 + norm))
            np.testing.assert_allclose(w[a, :, c], expected, rtol=1e-6)
    assert found == change(before.reshape(-1), flat)


def test_a_norm_does_not_depend_on_what_lies_beside_it(rng: np.random.Generator) -> None:
    """The bytes of a column are those it has alone among others."""
    w = rng.normal(size=(50, 33)).astype(np.float32)
    for first, last in ((0, 33), (4, 6), (16, 33)):
        part = np.ascontiguousarray(w[:, first:last])
        whole = w.copy()
        bound_norms(whole.reshape(-1), 1, 50, 33, 0.0, 1.0, 1.0, 1e-7, np.zeros(33), 0)
        bound_norms(part.reshape(-1), 1, 50, last - first, 0.0, 1.0, 1.0, 1e-7, np.zeros(last - first), 0)
        if last - first > 1:
            assert part.tobytes() == np.ascontiguousarray(whole[:, first:last]).tobytes()


def test_change_of_the_fingerprint(rng: np.random.Generator) -> None:
    before, after = rng.normal(size=(2, 21)).astype(np.float32)
    assert int(fingerprint_change(before, after, START)) == change(before, after)
