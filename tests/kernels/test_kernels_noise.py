"""Random values against loops in whole numbers and float64 that a student could read."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from distnn.control import CONTROL_WORDS, SEED_WORD, SHARD_WORD, STEP_WORD
from distnn.kernels import noise
from distnn.kernels.jit import kernel
from distnn.kernels.random import philox, stream_words

Array = np.ndarray[Any, np.dtype[Any]]
STREAM, STEP, SHARD, KEY = 0x1234_5678_9ABC, 5, 2, 0x0FED_CBA9_8765_4321
CONTROL = np.zeros(CONTROL_WORDS, np.int64)
CONTROL[[SEED_WORD, STEP_WORD, SHARD_WORD]] = KEY, STEP, SHARD
SIZE = 61


@kernel
def _stream(key: int, stream: int, out: Array) -> None:
    out[0], out[1] = stream_words(key, stream)


@kernel
def _philox(block: int, attempt: int, k0: int, k1: int, out: Array) -> None:
    step, shard = np.uint64(5), np.uint64(2)
    b, a = np.uint64(block), np.uint64(attempt)
    out[0], out[1], out[2], out[3] = philox(b, shard, step, a, np.uint64(k0), np.uint64(k1))


def words(block: int, attempt: int = 0) -> list[int]:
    """Four 32-bit words of the stream at this place."""
    key, out = np.zeros(2, np.uint64), np.zeros(4, np.uint64)
    _stream(KEY, STREAM, key)
    _philox(block, attempt, int(key[0]), int(key[1]), out)
    return [int(word) for word in out]


def share(word: int) -> float:
    return ((word >> 8) + 0.5) / 2**24


def pair(first: int, second: int) -> tuple[float, float]:
    """Two normal values of two words."""
    radius, angle = math.sqrt(-2 * math.log(share(first))), 2 * math.pi * (second >> 8) / 2**24
    return radius * math.cos(angle), radius * math.sin(angle)


def made(call: Callable[..., object], *numbers: Any, dtype: Any = np.float32, size: int = SIZE) -> Array:
    out = np.empty(size, dtype)
    call(CONTROL, STREAM, *numbers, out)
    return out


def test_uniform_values_are_24_bits_of_a_word() -> None:
    low, high = -0.25, 1.75
    below = float(np.nextafter(np.float32(high), np.float32(0)))
    found = made(noise.uniform_noise, low, high, below)
    expected = [low + (words(i // 4)[i % 4] >> 8) / 2**24 * (high - low) for i in range(SIZE)]
    np.testing.assert_allclose(found, expected, atol=1e-7)
    assert found.min() >= low and found.max() < high


@pytest.mark.parametrize(("low", "values"), [(-3, 11), (0, 1), (-(2**31), 2**32 - 1), (7, 2**31)])
def test_integers_are_64_bits_times_their_number(low: int, values: int) -> None:
    found = made(noise.integer_noise, low, values, dtype=np.int64)
    expected = []
    for i in range(SIZE):
        first, second, *_ = words(i)
        expected.append(low + (((first << 32) + second) * values >> 64))
    assert found.tolist() == expected


def test_truncated_values_are_drawn_again_until_they_are_near() -> None:
    found = made(noise.truncated_noise, 1.5, size=1500)
    attempts = []
    for i in range(1500):
        attempt = 0
        while True:
            near = [z for z in pair(*words(i, attempt)[:2]) if abs(z) < 2]
            attempt += 1
            if near:
                break
        attempts.append(attempt)
        assert abs(found[i] - 1.5 * near[0]) < 1e-5
    assert max(attempts) > 1, "or nothing was drawn again"


def test_gamma_values_are_accepted_as_the_paper_says() -> None:
    alpha = np.tile(np.array([0.05, 0.6, 1.0, 2.5, 40.0], np.float32), 30)
    found = made(noise.gamma_noise, alpha, size=alpha.size)
    attempts = []
    for i, given in enumerate(alpha.tolist()):
        shape = given + 1 if given < 1 else given
        d = shape - 1 / 3
        for attempt in range(99):
            z, t = 0.0, 0.0
            z, _ = pair(*words(i, attempt)[:2])
            t = 1 + z / math.sqrt(9 * d)
            if t <= 0:
                continue
            v, u = t**3, share(words(i, attempt)[2])
            if math.log(u) < 0.5 * z * z + d - d * v + d * math.log(v):
                break
        attempts.append(attempt)
        value = d * v
        if given < 1:
            value *= share(words(i, 0xFFFFFFFF)[0]) ** (1 / given)
        np.testing.assert_allclose(found[i], value, rtol=2e-4, atol=1e-37)
    assert max(attempts) > 0, "or nothing was drawn again"


def test_gamma_values_without_a_distribution_are_nan() -> None:
    """At infinity every attempt would be refused, for ever; the largest number that is one is near itself."""
    alpha = np.array([0.0, -1.0, np.nan, np.inf, -np.inf, 3e38], np.float32)
    found = made(noise.gamma_noise, alpha, size=6)
    assert np.isnan(found[:5]).all() and abs(found[5] / alpha[5] - 1) < 1e-3


def test_binomial_values_count_words_below_the_share() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(0, 40, SIZE).astype(np.float32)
    shares = rng.random(SIZE).astype(np.float32)
    found = made(noise.binomial_noise, counts, shares)
    for i in range(SIZE):
        trials = [words(i, block)[lane] for block in range(10) for lane in range(4)][: int(counts[i])]
        assert found[i] == sum(word < int(float(shares[i]) * 2**32) for word in trials)


def test_binomial_values_without_a_distribution_are_nan() -> None:
    """Nor is there one of so many trials that a step would wait for hours."""
    counts = np.array([-1, 3, 3, 3, np.nan, np.inf, 1e15, noise.MAX_TRIALS + 1], np.float32)
    shares = np.array([0.5, -0.1, 1.1, np.nan, 0.5, 0.5, 0.5, 0.5], np.float32)
    assert np.isnan(made(noise.binomial_noise, counts, shares, size=8)).all()
    most = np.full(1, noise.MAX_TRIALS, np.float32)
    assert abs(made(noise.binomial_noise, most, np.full(1, 0.5, np.float32), size=1)[0] / 500_000 - 1) < 0.01


@pytest.mark.parametrize("size", [0, 1, 3, 4, 5])
def test_a_value_depends_on_its_place_only(size: int) -> None:
    for call, numbers in (
        (noise.uniform_noise, (0.0, 1.0, 0.99999994)),
        (noise.integer_noise, (0, 1000)),
        (noise.truncated_noise, (1.0,)),
    ):
        np.testing.assert_array_equal(made(call, *numbers, size=size), made(call, *numbers)[:size])
