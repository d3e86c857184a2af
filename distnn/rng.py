"""Random streams keyed by what they are for; there is no global generator.

A key is a 64-bit integer made from a seed and any number of words and numbers. The same words give the
same key in any process. Initialisers and splits draw from `generator(...)`; kernels (dropout, the order of
samples) take the key itself and count.
"""

from __future__ import annotations

import functools
import hashlib
import secrets

import numpy as np

_MASK = (1 << 63) - 1


@functools.lru_cache(maxsize=4096)
def stream_key(seed: int, *parts: str | int) -> int:
    """A 63-bit key for the stream named by `parts` under `seed`.

    63 bits, so that it fits a signed 64-bit control word. Method: BLAKE2b of the parts' canonical text.
    """
    text = "\x1f".join([str(int(seed)), *(f"{type(part).__name__}:{part}" for part in parts)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") & _MASK


def generator(seed: int, *parts: str | int) -> np.random.Generator:
    """NumPy's generator over the counter-based Philox bit stream with the key of `parts`."""
    return np.random.Generator(np.random.Philox(key=stream_key(seed, *parts)))


class _DefaultSeeds:
    """Seeds for those who give none: fresh ones, or a repeatable sequence after `set_random_seed`."""

    def __init__(self) -> None:
        self._base: int | None = None
        self._drawn = 0

    def set(self, seed: int) -> None:
        self._base, self._drawn = int(seed), 0

    def draw(self) -> int:
        if self._base is None:
            return secrets.randbits(32)
        self._drawn += 1
        return stream_key(self._base, "default-seed", self._drawn) & 0xFFFFFFFF


_DEFAULT_SEEDS = _DefaultSeeds()


def set_random_seed(seed: int) -> None:
    """Make every seed that is drawn from now on, because none was given, a function of `seed`."""
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise ValueError(f"Expected `seed` argument to be an integer. Received: seed={seed!r}")
    _DEFAULT_SEEDS.set(seed)


def draw_seed() -> int:
    """A seed for a caller that gave none; record it, so that the run can be repeated."""
    return _DEFAULT_SEEDS.draw()
