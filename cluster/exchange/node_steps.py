"""A step of a worker that shares memory with the others of its node, while the coordinator is elsewhere.

Each step: put a slice of the new weights into the shared memory; barrier; compute own shards; barrier; add up
a slice of the vector, by the tree, as far as the node's shards reach; barrier. Then the first worker has the
node's few subtrees to send. Nothing is committed here: that is the coordinator's. Called by `cluster.worker`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from cluster.counting import CountingRunner
from cluster.exchange.arrivals import Part
from cluster.exchange.barrier import Barrier
from cluster.exchange.places import Places, subtrees_of
from cluster.exchange.segment import SharedLayout, SharedSegment
from distnn.kernels.update import add_into
from distnn.reduction import Range, ShardSums, SumsLayout, additions_within, maximal_subtrees
from distnn.tensor import Array

_CACHED_VALUES = 32 * 1024
"""Values whose additions follow each other while they lie in a core's cache."""
_LINE_VALUES = 16


def node_layout(weights: int, sums: SumsLayout, ranges: Sequence[Range], shards: int) -> SharedLayout:
    """What the workers of a node share that compute these of all the shards: weights in, sums out."""
    return SharedLayout(
        workers=len(ranges),
        subtrees=sum(map(len, subtrees_of(ranges, shards))),
        weights=weights,
        slots=0,
        trainable=0,
        gradient=sums.gradient,
        sums=sums.sums,
        moments=sums.moments_size,
        epoch_sums=0,
        blocks=0,
        states=1,
        fingerprints=0,
    )


@dataclass(frozen=True)
class _Reduction:
    """How the node's sums come together in a batch of a certain size: some subtrees may be empty.

    `gradients`: additions in the own slice, piece by piece. `sums`: of the rest. `parts`: the result.
    """

    gradients: tuple[tuple[Array, Array], ...]
    sums: tuple[tuple[ShardSums, ShardSums], ...]
    parts: tuple[Part, ...]


class NodeSteps:
    """One worker's place on its node in a generation.

    Args:
        runner: computes shards.
        segment: the node's memory.
        ranges: the shards of the node's workers.
        rank: which of them this one is.
    """

    def __init__(
        self, runner: CountingRunner, segment: SharedSegment, ranges: Sequence[Range], rank: int
    ) -> None:
        layout = runner.training.sums_layout
        self._runner = runner
        self._segment = segment
        self._rank = rank
        self._workers = len(ranges)
        batching = runner.task.batching
        self._wholes = maximal_subtrees(ranges[0][0], ranges[-1][1], batching.shards)
        self._places = Places(segment, layout, batching, ranges, rank)
        self._weights = segment.states[0].weights
        self._share = slice(*_share(len(self._weights), rank, self._workers))
        self._reductions: dict[int, _Reduction] = {}
        self.barrier = Barrier(segment, rank)

    def run(self, step: int, weights: Array) -> Sequence[Part]:
        """Do a step; the node's subtrees if this worker is to send them, else nothing.

        Raises:
            GenerationOver: the coordinator ended the generation, or another worker could not go on.
        """
        np.copyto(self._weights[self._share], weights[self._share])
        self.barrier.meet()
        places = self._places
        for row in places.own_rows:
            self._runner.compute_subtree(step, places.subtrees[row], self._weights, places.parts[row])
        reduction = self._reduction(*self._runner.task.batching.batch_bounds(step))
        self.barrier.meet()
        for left, right in reduction.gradients:
            add_into(left, right)
        if self._rank == self._workers - 1:
            for target, source in reduction.sums:
                target.add(source)
        self.barrier.meet()
        return reduction.parts if self._rank == 0 else ()

    def _reduction(self, start: int, stop: int) -> _Reduction:
        reduction = self._reductions.get(stop - start)
        if reduction is None:
            reduction = self._reductions[stop - start] = self._plan_reduction(start, stop)
        return reduction

    def _plan_reduction(self, start: int, stop: int) -> _Reduction:
        places, rows = self._places, self._segment.gradients
        is_empty = places.are_empty(start, stop)
        steps: list[tuple[int, int]] = []
        parts: list[Part] = []
        for whole in self._wholes:
            needed, total = additions_within(whole, places.subtrees, is_empty)
            steps += needed
            parts.append((whole, None if total is None else places.parts[total].arrays()))
        gradients = tuple(
            (rows[left, piece], rows[right, piece])
            for piece in _pieces(*_share(rows.shape[1], self._rank, self._workers))
            for left, right in steps
        )
        return _Reduction(
            gradients, tuple((places.sums[left], places.sums[right]) for left, right in steps), tuple(parts)
        )


def _share(size: int, rank: int, workers: int) -> Range:
    """A near-equal share of a vector, in whole cache lines."""
    lines = -(-size // _LINE_VALUES)
    start, stop = (lines * part // workers * _LINE_VALUES for part in (rank, rank + 1))
    return min(start, size), min(stop, size)


def _pieces(start: int, stop: int) -> Iterator[slice]:
    for first in range(start, stop, _CACHED_VALUES):
        yield slice(first, min(first + _CACHED_VALUES, stop))
