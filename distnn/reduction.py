"""The sums of a shard, and the fixed binary tree in which the shards' sums are added.

The tree over shards [start, stop) splits after the first ceil(n/2); whoever owns which shard, the same sums
are added in the same order. An empty shard is a skipped operand, not a zero.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from distnn.tensor import Array
from distnn.weights import aligned_zeros

Range = tuple[int, int]
"""Shards [start, stop)."""


@dataclass(frozen=True)
class SumsLayout:
    """Sizes of a shard's sums.

    `gradient`: float32 values; `sums`: float64 loss, metric and assigned-variable sums; `moments`: the
    channels of each layer with batch statistics (each takes 1 + 2 * channels float64 values).
    """

    gradient: int
    sums: int
    moments: tuple[int, ...]

    @property
    def moments_size(self) -> int:
        return sum(1 + 2 * channels for channels in self.moments)

    def moment_bounds(self, group: int) -> Range:
        start = sum(1 + 2 * channels for channels in self.moments[:group])
        return start, start + 1 + 2 * self.moments[group]


class ShardSums:
    """What one shard, or a subtree of shards, adds up to. Buffers are made once and used again."""

    def __init__(self, layout: SumsLayout) -> None:
        self.layout = layout
        self.gradient: Array = aligned_zeros(layout.gradient, np.float32)
        self.sums: Array = np.zeros(layout.sums, np.float64)
        self.moments: Array = np.zeros(layout.moments_size, np.float64)

    def moment_group(self, group: int) -> Array:
        """count, mean[C], M2[C] of one layer."""
        start, stop = self.layout.moment_bounds(group)
        return self.moments[start:stop]

    def add(self, other: ShardSums) -> None:
        """Add the sums of the subtree to the right."""
        for call in self.bind_add(other):
            call()

    def bind_add(self, other: ShardSums) -> list[Callable[[], object]]:
        """The calls that `add` makes."""
        from distnn.kernels.normalization import merge_moments
        from distnn.kernels.update import add_into

        calls: list[Callable[[], object]] = []
        if self.gradient.size:
            calls.append(partial(add_into, self.gradient, other.gradient))
        calls.append(partial(add_into, self.sums, other.sums))
        for group in range(len(self.layout.moments)):
            calls.append(partial(merge_moments, self.moment_group(group), other.moment_group(group)))
        return calls

    def arrays(self) -> tuple[Array, Array, Array]:
        return self.gradient, self.sums, self.moments

    @classmethod
    def of(cls, layout: SumsLayout, arrays: tuple[Array, Array, Array]) -> ShardSums:
        """Sums over arrays that came from another process; the first operand of `add` must be writable."""
        sums = cls.__new__(cls)
        sums.layout = layout
        sums.gradient, sums.sums, sums.moments = arrays
        return sums


def split_moments(group: Array) -> tuple[float, Array, Array]:
    """count, mean[C], M2[C] of one layer's batch statistics."""
    channels = (len(group) - 1) // 2
    return float(group[0]), group[1 : 1 + channels], group[1 + channels :]


def split(start: int, stop: int) -> int:
    """Where the tree over [start, stop) splits."""
    return start + (stop - start + 1) // 2


def maximal_subtrees(first: int, last: int, shards: int) -> list[Range]:
    """The fewest whole subtrees of the tree over all `shards` that cover [first, last), in order."""
    return list(_covering(0, shards, first, last)) if first < last else []


@functools.lru_cache(maxsize=1024)
def _covering(start: int, stop: int, first: int, last: int) -> tuple[Range, ...]:
    """The whole subtrees within the subtree [start, stop) that cover what of [first, last) lies in it."""
    if stop <= first or start >= last:
        return ()
    if first <= start and stop <= last:
        return ((start, stop),)
    middle = split(start, stop)
    return _covering(start, middle, first, last) + _covering(middle, stop, first, last)


def depth(num_shards: int) -> int:
    """How many buffers `fold` needs for a subtree of so many shards."""
    return 1 + max(0, (num_shards - 1).bit_length())


def fold(
    start: int,
    stop: int,
    buffers: Sequence[ShardSums],
    compute: Callable[[int, ShardSums], bool],
    add: Callable[[ShardSums, ShardSums], object] = ShardSums.add,
) -> bool:
    """Compute the shards [start, stop) in order and add them by the tree into `buffers[0]`.

    Args:
        start: first shard of a whole subtree.
        stop: its end.
        buffers: at least `depth(stop - start)`.
        compute: writes a shard's sums into a buffer; False if the shard is empty.
        add: adds the second buffer to the first.

    Returns:
        False if every shard was empty; then `buffers[0]` holds nothing.
    """
    if stop - start == 1:
        return compute(start, buffers[0])
    middle = split(start, stop)
    has_left = fold(start, middle, buffers, compute, add)
    if not has_left:
        return fold(middle, stop, buffers, compute, add)
    if fold(middle, stop, buffers[1:], compute, add):
        add(buffers[0], buffers[1])
    return True


def additions(
    shards: int, subtrees: Sequence[Range], is_empty: Sequence[bool]
) -> tuple[Sequence[tuple[int, int]], int | None]:
    """In which order to add up the sums of subtrees that together cover every shard.

    Args:
        shards: S.
        subtrees: whole subtrees of the tree over all shards.
        is_empty: whether a subtree's shards are all empty.

    Returns:
        (left, right) places in `subtrees`: the right one is added to the left; and the place where the total
        is in the end, None if all are empty.
    """
    return additions_within((0, shards), subtrees, is_empty)


def additions_within(
    whole: Range, subtrees: Sequence[Range], is_empty: Sequence[bool]
) -> tuple[Sequence[tuple[int, int]], int | None]:
    """`additions` for the shards of one subtree, `whole`; those of `subtrees` beyond it are left alone."""
    return _additions(whole, tuple(subtrees), tuple(is_empty))


@functools.lru_cache(maxsize=256)
def _additions(
    whole: Range, subtrees: tuple[Range, ...], is_empty: tuple[bool, ...]
) -> tuple[tuple[tuple[int, int], ...], int | None]:
    """`additions_within`, worked out once: the subtrees are the same at nearly every step."""
    places = {subtree: place for place, subtree in enumerate(subtrees)}
    steps: list[tuple[int, int]] = []
    total = _visit(*whole, places, is_empty, steps)
    return tuple(steps), total


def _visit(
    start: int, stop: int, places: Mapping[Range, int], is_empty: Sequence[bool], steps: list[tuple[int, int]]
) -> int | None:
    """Append the additions within the subtree [start, stop); the place of its total."""
    place = places.get((start, stop))
    if place is not None:
        return None if is_empty[place] else place
    if stop - start == 1:
        raise AssertionError(f"no sums for shard {start}; parts: {sorted(places)}")
    middle = split(start, stop)
    left = _visit(start, middle, places, is_empty, steps)
    right = _visit(middle, stop, places, is_empty, steps)
    if left is not None and right is not None:
        steps.append((left, right))
    return right if left is None else left


def combine(shards: int, parts: Mapping[Range, ShardSums | None]) -> ShardSums | None:
    """Add the subtrees' sums by the tree over all `shards`; the left operands are written.

    Args:
        shards: S.
        parts: sums by subtree, None for a subtree of empty shards; together they cover every shard.
    """
    sums = list(parts.values())
    steps, total = additions(shards, list(parts), [one is None for one in sums])
    for left, right in steps:
        target, source = sums[left], sums[right]
        if target is not None and source is not None:
            target.add(source)
    return None if total is None else sums[total]


def worker_ranges(shards: int, workers: int) -> list[Range]:
    """Contiguous, near-equal runs of shards; workers beyond the shards get empty ones."""
    quotient, remainder = divmod(shards, workers)
    ranges = []
    start = 0
    for worker in range(workers):
        stop = start + quotient + (1 if worker < remainder else 0)
        ranges.append((start, stop))
        start = stop
    return ranges
