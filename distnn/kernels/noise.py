"""Normal noise from Philox words: a function of the key, the step, the shard and the place of a value."""

from __future__ import annotations

from typing import Any

import numpy as np

from distnn.control import SEED_WORD, SHARD_WORD, STEP_WORD
from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.random import philox, stream_words, u64
from distnn.kernels.scalar_math import log
from distnn.kernels.trigonometry import cos, sin

_LOW = u64(0xFFFFFFFF)
f32 = np.float32
_UNIT, _TURN = f32(1.0 / 16777216.0), f32(6.283185307179586 / 16777216.0)
_HALF_STEP, _MINUS_TWO = f32(0.5), f32(-2.0)


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
