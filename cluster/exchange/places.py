"""Where the sums of every subtree lie in the memory that the workers of a generation share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cluster.exchange.segment import SharedSegment
from distnn.batching import Batching, shard_bounds
from distnn.reduction import Range, ShardSums, SumsLayout, maximal_subtrees


def subtrees_of(ranges: Sequence[Range], shards: int) -> list[list[Range]]:
    """The subtrees of each worker, by its run of shards."""
    return [maximal_subtrees(first, stop, shards) for first, stop in ranges]


class Places:
    """A row of the memory for each subtree of each worker, in the workers' order.

    Args:
        segment: the memory.
        layout: of a shard's sums.
        batching: cuts batches into shards.
        ranges: the shards of every worker.
        rank: which of the workers this one is.

    Attributes:
        subtrees: whose sums lie in the rows.
        sums: the rows without their gradients, which are added up slice by slice.
        parts: the rows.
        own_rows: of this worker's subtrees.
    """

    def __init__(
        self,
        segment: SharedSegment,
        layout: SumsLayout,
        batching: Batching,
        ranges: Sequence[Range],
        rank: int,
    ) -> None:
        self._batching = batching
        by_worker = subtrees_of(ranges, batching.shards)
        self.subtrees = [subtree for subtrees in by_worker for subtree in subtrees]
        rows = zip(segment.gradients, segment.part_sums, segment.part_moments, strict=True)
        self.parts = [ShardSums.of(layout, arrays) for arrays in rows]
        bare = replace(layout, gradient=0)
        self.sums = [ShardSums.of(bare, (one.gradient[:0], one.sums, one.moments)) for one in self.parts]
        first = sum(map(len, by_worker[:rank]))
        self.own_rows = range(first, first + len(by_worker[rank]))

    def are_empty(self, start: int, stop: int) -> list[bool]:
        """Which subtrees have no samples in the batch [start, stop)."""
        return [not self._samples(subtree, start, stop) for subtree in self.subtrees]

    def _samples(self, subtree: Range, start: int, stop: int) -> int:
        bounds = (shard_bounds(start, stop, self._batching.shards, shard) for shard in range(*subtree))
        return sum(high - low for low, high in bounds)
