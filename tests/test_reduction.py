"""The tree of shards: whoever owns which shard, the same sums are added in the same order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from distnn.reduction import (
    ShardSums,
    SumsLayout,
    combine,
    depth,
    fold,
    maximal_subtrees,
    split,
    worker_ranges,
)

LAYOUT = SumsLayout(gradient=50, sums=2, moments=(2,))


def shard_sums(shard: int) -> ShardSums:
    """Unequal values, so that another order of adding gives other bytes."""
    rng = np.random.default_rng(shard)
    sums = ShardSums(LAYOUT)
    sums.gradient[:] = rng.normal(size=50).astype(np.float32) * 10.0 ** rng.integers(-3, 4)
    sums.sums[:] = rng.normal(size=2) * 10.0 ** rng.integers(-3, 4)
    sums.moments[:] = [shard + 1, *rng.normal(size=2), *rng.random(2)]
    return sums


def compute(shard: int, into: ShardSums, empty: frozenset[int] = frozenset()) -> bool:
    if shard in empty:
        return False
    source = shard_sums(shard)
    for target, value in zip(into.arrays(), source.arrays(), strict=True):
        target[:] = value
    return True


def tree_by_recursion(start: int, stop: int, empty: frozenset[int]) -> ShardSums | None:
    """The definition, as a reader would write it."""
    if stop - start == 1:
        return None if start in empty else shard_sums(start)
    middle = start + -(-(stop - start) // 2)
    left, right = tree_by_recursion(start, middle, empty), tree_by_recursion(middle, stop, empty)
    if left is None or right is None:
        return right if left is None else left
    left.add(right)
    return left


def assert_same_bytes(a: ShardSums, b: ShardSums) -> None:
    for left, right in zip(a.arrays(), b.arrays(), strict=True):
        assert left.tobytes() == right.tobytes()


@given(st.integers(1, 33))
def test_split_gives_the_left_half_the_odd_one(shards: int) -> None:
    middle = split(0, shards)
    assert middle - (shards - middle) in (0, 1)


@given(st.integers(1, 20), st.frozensets(st.integers(0, 19)))
def test_fold_is_the_tree(shards: int, empty: frozenset[int]) -> None:
    expected = tree_by_recursion(0, shards, empty)
    buffers = [ShardSums(LAYOUT) for _ in range(depth(shards))]
    has_samples = fold(0, shards, buffers, lambda shard, into: compute(shard, into, empty))
    assert has_samples == (expected is not None)
    if expected is not None:
        assert_same_bytes(buffers[0], expected)


@given(st.integers(1, 17), st.integers(1, 9), st.frozensets(st.integers(0, 16), max_size=50))
def test_any_workers_give_the_same_bytes(shards: int, workers: int, empty: frozenset[int]) -> None:
    parts: dict[tuple[int, int], ShardSums | None] = {}
    for first, last in worker_ranges(shards, workers):
        for start, stop in maximal_subtrees(first, last, shards):
            buffers = [ShardSums(LAYOUT) for _ in range(depth(stop - start))]
            filled = fold(start, stop, buffers, lambda shard, into: compute(shard, into, empty))
            parts[start, stop] = buffers[0] if filled else None
    total, expected = combine(shards, parts), tree_by_recursion(0, shards, empty)
    assert (total is None) == (expected is None)
    if total is not None and expected is not None:
        assert_same_bytes(total, expected)


def test_another_order_gives_other_bytes() -> None:
    """The test above could not fail if the sums were exact."""
    total = shard_sums(3)
    for shard in (2, 1, 0):
        total.add(shard_sums(shard))
    expected = tree_by_recursion(0, 4, frozenset())
    assert expected is not None
    assert total.gradient.tobytes() != expected.gradient.tobytes()


@given(st.integers(1, 24), st.data())
def test_maximal_subtrees_cover_and_are_few(shards: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, shards))
    last = data.draw(st.integers(first, shards))
    found = maximal_subtrees(first, last, shards)
    covered = [shard for start, stop in found for shard in range(start, stop)]
    assert covered == list(range(first, last))
    assert len(found) <= 2 * max(1, shards.bit_length())


@pytest.mark.parametrize(("shards", "workers"), [(4, 1), (4, 3), (3, 4), (7, 7), (1, 5)])
def test_worker_ranges_are_contiguous_and_near_equal(shards: int, workers: int) -> None:
    ranges = worker_ranges(shards, workers)
    assert [shard for start, stop in ranges for shard in range(start, stop)] == list(range(shards))
    sizes = [stop - start for start, stop in ranges]
    assert len(sizes) == workers
    assert max(sizes) - min(sizes) <= 1


def test_combine_names_the_shard_that_is_missing() -> None:
    with pytest.raises(AssertionError, match=r"no sums for shard 1; parts: \[\(0, 1\)\]"):
        combine(2, {(0, 1): shard_sums(0)})


def test_moments_merge_to_those_of_all_rows(rng: np.random.Generator) -> None:
    rows = rng.normal(3.0, 2.0, size=(11, 2))
    total = ShardSums(SumsLayout(0, 0, (2,)))
    for part in (rows[:4], rows[4:5], rows[5:]):
        other = ShardSums(total.layout)
        mean = part.mean(axis=0)
        other.moments[:] = [len(part), *mean, *((part - mean) ** 2).sum(axis=0)]
        total.add(other)
    mean = rows.mean(axis=0)
    expected = [11, *mean, *((rows - mean) ** 2).sum(axis=0)]
    np.testing.assert_allclose(total.moments, expected, rtol=1e-12)
