"""Weights held to constraints in place, against loops, and the change of the fingerprint."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from distnn.kernels.constraints import bound_norms, clear_negatives, fingerprint_change
from distnn.kernels.fingerprints import TROUBLE, fingerprint
from distnn.kernels.update import NUM_SCALARS

Array = np.ndarray[Any, np.dtype[Any]]
START = 48


def no_trouble() -> Array:
    return np.zeros(NUM_SCALARS)


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
    scratch, scalars = np.full(shape[2], np.nan), no_trouble()
    found = int(bound_norms(flat, *shape, low, high, rate, 1e-7, scratch, scalars, START))
    for a in range(shape[0]):
        for c in range(shape[2]):
            norm = sum(float(x) ** 2 for x in before[a, :, c]) ** 0.5
            wanted = rate * min(max(norm, low), high) + (1 - rate) * norm
            expected = before[a, :, c] * (wanted / (1e-7 + norm))
            np.testing.assert_allclose(w[a, :, c], expected, rtol=1e-6)
    assert found == change(before.reshape(-1), flat)
    assert not scalars.any(), "all is finite"


@pytest.mark.parametrize("inner", [1, 3])
def test_norms_tell_of_numbers_they_make_infinite_or_nan(inner: int) -> None:
    """A norm of 1e37 takes a factor that no float32 holds, from a norm of 0 and from a very small one."""
    for value in (0.0, 1e-20):
        w, scalars = np.ones((2, 5, inner), np.float32), no_trouble()
        w[1, :, -1] = value
        sizes, scratch = (2, 5, inner), np.zeros(inner)
        bound_norms(w.reshape(-1), *sizes, 1e37, 1e38, 1.0, 1e-7, scratch, scalars, 0)
        assert not np.isfinite(w[1, :, -1]).any() and np.isfinite(w[0]).all()
        assert scalars[TROUBLE] == 1.0 and np.count_nonzero(scalars) == 1


def test_a_norm_does_not_depend_on_what_lies_beside_it(rng: np.random.Generator) -> None:
    """The bytes of a column are those it has alone among others."""
    w = rng.normal(size=(50, 33)).astype(np.float32)
    for first, last in ((0, 33), (4, 6), (16, 33)):
        part = np.ascontiguousarray(w[:, first:last])
        whole = w.copy()
        for array in (whole, part):
            columns = array.shape[1]
            limits, scratch = (0.0, 1.0, 1.0, 1e-7), np.zeros(columns)
            bound_norms(array.reshape(-1), 1, 50, columns, *limits, scratch, no_trouble(), 0)
        if last - first > 1:
            assert part.tobytes() == np.ascontiguousarray(whole[:, first:last]).tobytes()


def test_change_of_the_fingerprint(rng: np.random.Generator) -> None:
    before, after = rng.normal(size=(2, 21)).astype(np.float32)
    scalars = no_trouble()
    assert int(fingerprint_change(before, after, scalars, START)) == change(before, after)
    assert not scalars.any()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_change_of_the_fingerprint_tells_what_is_not_finite_afterwards(value: float) -> None:
    fine, bad = np.ones(21, np.float32), np.ones(21, np.float32)
    bad[17] = value
    scalars = no_trouble()
    assert int(fingerprint_change(fine, bad, scalars, START)) == change(fine, bad)
    assert scalars[TROUBLE] == 1.0 and np.count_nonzero(scalars) == 1
    scalars = no_trouble()
    fingerprint_change(bad, fine, scalars, START)
    assert not scalars.any(), "what was there before is another's to tell"
