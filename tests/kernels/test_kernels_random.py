"""Philox against published vectors, dropout against a plain loop, the order of samples as a permutation."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from distnn.kernels.jit import kernel
from distnn.kernels.random import dropout, dropout_gradient, feistel_order, philox

Array = np.ndarray[Any, np.dtype[Any]]
KEY = 0x1234_5678_9ABC_DEF0


@kernel
def philox_words(counter_and_key: Array, out: Array) -> None:
    c = counter_and_key
    out[0], out[1], out[2], out[3] = philox(c[0], c[1], c[2], c[3], c[4], c[5])


def words(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    out = np.empty(4, np.uint64)
    philox_words(np.array([*counter, *key], np.uint64), out)
    return tuple(int(word) for word in out)


# kat_vectors of Random123 for philox4x32 with 10 rounds
@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_published_vectors(
    counter: tuple[int, ...], key: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert words(counter, key) == expected


def control(step: int = 5, shard: int = 2) -> Array:
    return np.array([KEY, step, shard, 0, 0, 0, 0, 0], np.int64)


def drop(x: Array, rate: float, control_words: Array, stream: int = 77) -> tuple[Array, Array]:
    y, mask = np.empty_like(x), np.empty(x.size, np.uint8)
    scale = 1 / (1 - rate) if rate < 1 else 0.0
    dropout(x, control_words, stream, round(rate * 2**32), scale, y, mask)
    return y, mask


@pytest.mark.parametrize("size", [1, 17, 64, 130])
def test_dropout_is_its_definition(size: int) -> None:
    x = np.random.default_rng(1).normal(size=size).astype(np.float32)
    y, mask = drop(x, 0.3, control())
    split = (KEY & 0xFFFFFFFF, KEY >> 32)
    key = words((77, 0, 0, 0), split)[:2]
    expected = []
    for i in range(size):
        block = i // 64 * 16 + i % 16
        expected.append(words((block, 2, 5, 0), key)[i % 64 // 16] >= round(0.3 * 2**32))
    np.testing.assert_array_equal(mask, expected)
    np.testing.assert_array_equal(y, np.where(expected, x * np.float32(1 / 0.7), np.float32(0)))
    dx = np.empty_like(x)
    dropout_gradient(x, mask, 1 / 0.7, dx)
    assert dx.tobytes() == y.tobytes()


def test_dropout_depends_on_key_step_shard_and_stream_and_on_nothing_after() -> None:
    x = np.ones(200, np.float32)
    base = drop(x, 0.5, control())[1]
    others = [
        drop(x, 0.5, control(step=6))[1],
        drop(x, 0.5, control(shard=3))[1],
        drop(x, 0.5, control(), stream=78)[1],
        drop(x, 0.5, control() + np.array([1, 0, 0, 0, 0, 0, 0, 0]))[1],
    ]
    for other in others:
        assert 50 < int((other != base).sum()) < 150
    np.testing.assert_array_equal(drop(x[:77], 0.5, control())[1], base[:77])


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_dropout_keeps_the_expected_share(rate: float) -> None:
    kept = float(drop(np.ones(4096, np.float32), rate, control())[1].mean())
    assert abs(kept - (1 - rate)) <= 4 * np.sqrt(rate * (1 - rate) / 4096)


def order(key: int, n: int, start: int = 0, stop: int | None = None) -> Array:
    stop = n if stop is None else stop
    out = np.empty(stop - start, np.int64)
    feistel_order(key, n, start, stop, out)
    return out


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 300), key=st.integers(0, 2**63 - 1))
def test_order_is_a_permutation(n: int, key: int) -> None:
    assert sorted(order(key, n).tolist()) == list(range(n))


@settings(max_examples=25, deadline=None)
@given(n=st.integers(1, 2**40), key=st.integers(0, 2**63 - 1), data=st.data())
def test_order_of_a_slice_is_the_slice_of_the_order(n: int, key: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, n - 1))
    stop = min(n, start + 20)
    found = order(key, n, start, stop)
    assert len(set(found.tolist())) == stop - start
    assert found.min() >= 0 and found.max() < n
    middle = (start + stop) // 2
    halves = np.concatenate([order(key, n, start, middle), order(key, n, middle, stop)])
    np.testing.assert_array_equal(found, halves)


def test_orders_of_three_are_equally_likely() -> None:
    counts = Counter(tuple(order(key * 7919, 3).tolist()) for key in range(600))
    assert len(counts) == 6
    assert sum((count - 100) ** 2 / 100 for count in counts.values()) < 20.5  # p = 0.001


def test_places_are_spread_evenly() -> None:
    """Where sample 0 of 256 lands, over keys, in 8 equal bins."""
    places = [int(np.flatnonzero(order(key * 104729 + 1, 256) == 0)[0]) for key in range(80)]
    counts = np.bincount(np.array(places) // 32, minlength=8)
    assert float(((counts - 10) ** 2 / 10).sum()) < 24.4  # p = 0.001


def test_orders_of_two_keys_differ() -> None:
    same = int((order(1, 1000) == order(2, 1000)).sum())
    assert same < 10
