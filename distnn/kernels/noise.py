"""Random values from Philox words: functions of the key, the step, the shard and the place of a value.

Where a value may be refused and drawn again, the number of the attempt is part of the counter.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.control import SEED_WORD, SHARD_WORD, STEP_WORD
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.random import philox, stream_words, u64
from distnn.kernels.scalar_math import exp, log
from distnn.kernels.trigonometry import cos, sin

_LOW = u64(0xFFFFFFFF)
f32 = np.float32
_UNIT, _TURN = f32(1.0 / 16777216.0), f32(6.283185307179586 / 16777216.0)
_HALF_STEP, _MINUS_TWO = f32(0.5), f32(-2.0)
_THIRD = f32(1.0 / 3.0)
_ZERO, _ONE, _TWO, _NINE, _INFINITY = f32(0.0), f32(1.0), f32(2.0), f32(9.0), f32(np.inf)
MAX_TRIALS = 1_000_000
"""Of one binomial value: each has a word of its own, and a count that ran away is not to hold a step up."""


@helper
def _radius(word: Any) -> Any:
    """sqrt(-2 log u), u in (0, 1) from the upper 24 bits of a word."""
    u = (f32(word >> u64(8)) + _HALF_STEP) * _UNIT
    return np.sqrt(_MINUS_TWO * log(f32(u)))


@helper
def _angle(word: Any) -> Any:
    return f32(f32(word >> u64(8)) * _TURN)


@kernel
def normal_noise(control: Array, stream: int, stddev: float, out: Array) -> None:
    """out = normal values of mean 0, four to a block of words (Box and Muller 1958).

    Args:
        control: the step's words; key, step and shard enter.
        stream: differs for each op of a model.
        stddev: standard deviation.
        out: 1-D; computed in float32 whatever its dtype.
    """
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    scale = f32(stddev)
    count = out.size
    for block in range((count + 3) // 4):
        w0, w1, w2, w3 = philox(u64(block), shard, step, u64(0), k0, k1)
        first, second = _radius(w0) * scale, _radius(w2) * scale
        at = 4 * block
        out[at] = first * cos(_angle(w1))
        if at + 1 < count:
            out[at + 1] = first * sin(_angle(w1))
        if at + 2 < count:
            out[at + 2] = second * cos(_angle(w3))
        if at + 3 < count:
            out[at + 3] = second * sin(_angle(w3))


@kernel
def uniform_noise(control: Array, stream: int, low: float, high: float, below: float, out: Array) -> None:
    """out = values of [low, high), of 2^24 equal steps; `below`: the largest float32 below `high`."""
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    first, last, end = f32(low), f32(below), f32(high)
    width = f32(end - first)
    count = out.size
    for block in range((count + 3) // 4):
        words = philox(u64(block), shard, step, u64(0), k0, k1)
        for lane in range(min(4, count - 4 * block)):
            value = f32(first + f32(f32(words[lane] >> u64(8)) * _UNIT) * width)
            out[4 * block + lane] = value if value < end else last


@kernel
def integer_noise(control: Array, stream: int, low: int, values: int, out: Array) -> None:
    """out = integers of [low, low + values), `values` below 2^32; 64 bits a value leave no bias to see."""
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    span = u64(values)
    for i in range(out.size):
        w0, w1, _, _ = philox(u64(i), shard, step, u64(0), k0, k1)
        out[i] = low + np.int64((w0 * span + ((w1 * span) >> u64(32))) >> u64(32))


@kernel
def truncated_noise(control: Array, stream: int, stddev: float, out: Array) -> None:
    """out = normal values of mean 0 within two standard deviations, the others drawn again."""
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    scale = f32(stddev)
    for i in range(out.size):
        value, attempt = _TWO, u64(0)
        while abs(value) >= _TWO:
            w0, w1, _, _ = philox(u64(i), shard, step, attempt, k0, k1)
            radius, angle = _radius(w0), _angle(w1)
            value = f32(radius * cos(angle))
            if abs(value) >= _TWO:
                value = f32(radius * sin(angle))
            attempt += u64(1)
        out[i] = value * scale


@kernel
def gamma_noise(control: Array, stream: int, alpha: Array, out: Array) -> None:
    """out = gamma values of these shapes and scale 1 (Marsaglia and Tsang 2000).

    NaN for a shape that is not a finite number above 0: at infinity every attempt would be refused. For one
    below 1 the value of shape + 1 is multiplied by u ** (1 / shape).
    """
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    for i in range(out.size):
        given = f32(alpha[i])
        if not (given > _ZERO and given < _INFINITY):
            out[i] = np.nan
            continue
        shape = given + _ONE if given < _ONE else given
        d = f32(shape - _THIRD)
        c = f32(_ONE / np.sqrt(f32(_NINE * d)))
        value, attempt = _ZERO, u64(0)
        while value <= _ZERO:
            w0, w1, w2, _ = philox(u64(i), shard, step, attempt, k0, k1)
            z = f32(_radius(w0) * cos(_angle(w1)))
            t = f32(_ONE + c * z)
            if t > _ZERO:
                v = f32(t * t * t)
                u = (f32(w2 >> u64(8)) + _HALF_STEP) * _UNIT
                if log(f32(u)) < f32(_HALF_STEP * z * z + d - d * v + d * log(v)):
                    value = f32(d * v)
            attempt += u64(1)
        if given < _ONE:
            w0, _, _, _ = philox(u64(i), shard, step, _LOW, k0, k1)
            u = (f32(w0 >> u64(8)) + _HALF_STEP) * _UNIT
            value = f32(value * exp(f32(log(f32(u)) / given)))
        out[i] = value


@kernel
def binomial_noise(control: Array, stream: int, counts: Array, shares: Array, out: Array) -> None:
    """out = how many of `counts` trials succeed, each by a word of its own; NaN where there is no answer.

    Args:
        counts: of trials; from 0 to `MAX_TRIALS`.
        shares: probabilities, from 0 to 1.
    """
    k0, k1 = stream_words(control[SEED_WORD], stream)
    step, shard = u64(control[STEP_WORD]) & _LOW, u64(control[SHARD_WORD])
    for i in range(out.size):
        share = np.float64(shares[i])
        if not (counts[i] >= 0 and counts[i] <= MAX_TRIALS and share >= 0.0 and share <= 1.0):
            out[i] = np.nan
            continue
        trials, limit = int(counts[i]), u64(share * 4294967296.0)
        successes = 0
        for block in range((trials + 3) // 4):
            words = philox(u64(i), shard, step, u64(block), k0, k1)
            for lane in range(min(4, trials - 4 * block)):
                if words[lane] < limit:
                    successes += 1
        out[i] = successes
