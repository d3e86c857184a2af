"""Which samples a step and a shard compute."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn.batching import Batching, default_shards, shard_bounds


def epoch_indices(batching: Batching, epoch: int) -> list[int]:
    """The samples of an epoch, shard by shard, as workers find them."""
    found: list[int] = []
    first = epoch * batching.steps_per_epoch
    for step in range(first, first + batching.steps_per_epoch):
        for shard in range(batching.shards):
            low, high = batching.shard_positions(step, shard)
            out = np.zeros(high - low, np.int64)
            batching.fill_indices(step, low, high, out)
            found += out.tolist()
    return found


def make(samples: int, batch_size: int, shards: int = 1, shuffle: bool = True, seed: int = 0) -> Batching:
    return Batching(samples, batch_size, shards, shuffle, seed, -(-samples // batch_size))


@given(st.integers(0, 50), st.integers(1, 60), st.integers(1, 12))
def test_shards_partition_the_batch_near_equally(start: int, length: int, shards: int) -> None:
    bounds = [shard_bounds(start, start + length, shards, shard) for shard in range(shards)]
    assert bounds[0][0] == start and bounds[-1][1] == start + length
    assert all(left[1] == right[0] for left, right in zip(bounds, bounds[1:], strict=False))
    sizes = [high - low for low, high in bounds]
    assert max(sizes) - min(sizes) <= 1


@given(st.integers(1, 70), st.integers(1, 40), st.integers(1, 6), st.integers(0, 3))
def test_every_epoch_sees_every_sample_once(samples: int, batch: int, shards: int, epoch: int) -> None:
    found = epoch_indices(make(samples, batch, shards), epoch)
    assert sorted(found) == list(range(samples))


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    one, many = make(50, 7, shards=1), make(50, 7, shards=4)
    assert epoch_indices(one, 0) == epoch_indices(many, 0)
    assert epoch_indices(one, 0) != epoch_indices(one, 1)
    assert epoch_indices(one, 0) != epoch_indices(make(50, 7, seed=1), 0)


def test_without_shuffle_samples_come_in_order() -> None:
    assert epoch_indices(make(10, 4, shuffle=False), 3) == list(range(10))


def test_the_last_batch_is_short_never_padded() -> None:
    batching = make(10, 4)
    assert [batching.batch_bounds(step) for step in range(4)] == [(0, 4), (4, 8), (8, 10), (0, 4)]


def test_more_steps_than_a_pass_begin_another_order() -> None:
    batching = Batching(6, 2, 1, True, 0, steps_per_epoch=6)
    found = epoch_indices(batching, 0)
    assert sorted(found[:6]) == sorted(found[6:]) == list(range(6))
    assert found[:6] != found[6:]


@pytest.mark.parametrize(
    ("workers", "batch", "expected"), [(1, 64, 1), (4, 64, 4), (8, 64, 4), (4, 10, 1), (2, 17, 2)]
)
def test_default_shards_have_at_least_16_samples(workers: int, batch: int, expected: int) -> None:
    assert default_shards(workers, batch) == expected
