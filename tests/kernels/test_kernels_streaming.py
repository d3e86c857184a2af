"""Copies past the caches: every byte, nothing beside."""

from __future__ import annotations

import numpy as np
import pytest

from distnn.kernels.streaming import stream


@pytest.mark.parametrize("offset", [0, 1, 7, 15, 16])
@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 64, 1000, 4099])
def test_stream_copies_every_value_and_touches_no_other(size: int, offset: int) -> None:
    x = np.random.default_rng(size).standard_normal(size).astype(np.float32)
    memory = np.full(size + 48, 7, np.float32)
    stream(x, memory[offset : offset + size])
    assert memory[offset : offset + size].tobytes() == x.tobytes()
    assert (np.delete(memory, np.s_[offset : offset + size]) == 7).all()


def test_stream_keeps_the_bits_of_what_is_no_number() -> None:
    x = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45] * 8, np.float32)
    x.view(np.uint32)[0] = 0x7FC12345
    out = np.zeros_like(x)
    stream(x, out)
    assert out.tobytes() == x.tobytes()
