"""Which samples a step and a shard compute: index arithmetic only, no iterator and no state.

Order = f(seed, epoch), position = f(step). A batch is a slice of the order; a shard a near-equal contiguous
slice of the batch. Every worker works its indices out by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from distnn.rng import stream_key
from distnn.tensor import Array

MIN_SAMPLES_PER_SHARD = 16
UNKNOWN_STEPS = 1 << 62
"""Steps of an epoch that lasts as long as a generator does."""


def shard_bounds(start: int, stop: int, shards: int, shard: int) -> tuple[int, int]:
    """The slice of positions [start, stop) that is `shard`; sizes differ by at most one, may be empty."""
    quotient, remainder = divmod(stop - start, shards)
    low = start + shard * quotient + min(shard, remainder)
    return low, low + quotient + (1 if shard < remainder else 0)


def default_shards(workers: int, batch_size: int) -> int:
    """As many shards as workers, but none smaller than 16 samples unless there is only one."""
    return max(1, min(workers, -(-batch_size // MIN_SAMPLES_PER_SHARD)))


@dataclass(frozen=True)
class Batching:
    """How `samples` samples become steps.

    `steps_per_epoch` may be less than a whole pass; each epoch then begins a new order.

    Args:
        cuts: where batches end that were pulled, of whatever sizes, the first of them that of `first_step`;
            the other steps' are not known then. Empty: the batches are slices of an order of all samples.
        first_step: see `cuts`.
    """

    samples: int
    batch_size: int
    shards: int
    shuffle: bool
    seed: int
    steps_per_epoch: int
    cuts: tuple[int, ...] = ()
    first_step: int = 0

    @property
    def largest_shard(self) -> int:
        return -(-min(self.batch_size, self.samples) // self.shards)

    def epoch_of(self, step: int) -> int:
        return step // self.steps_per_epoch

    def batch_bounds(self, step: int) -> tuple[int, int]:
        """Positions [start, stop) of the step's batch in the epoch's order; the last one may be short."""
        if self.cuts:
            place = step - self.first_step
            assert 0 <= place < len(self.cuts), f"the batch of step {step} has not been pulled"
            return self.cuts[place - 1] if place else 0, self.cuts[place]
        start = (step % self.steps_per_epoch) * self.batch_size % self.whole_pass
        return start, min(start + self.batch_size, self.samples)

    @cached_property
    def whole_pass(self) -> int:
        """Samples of one pass, as if its last batch were full."""
        return -(-self.samples // self.batch_size) * self.batch_size

    def shard_positions(self, step: int, shard: int) -> tuple[int, int]:
        start, stop = self.batch_bounds(step)
        return shard_bounds(start, stop, self.shards, shard)

    def order_key(self, step: int) -> int:
        """The key of the order in force at `step`; a pass beyond the first of an epoch has its own."""
        within = (step % self.steps_per_epoch) * self.batch_size // self.whole_pass
        return stream_key(self.seed, "order", self.epoch_of(step), within)

    def fill_indices(self, step: int, start: int, stop: int, out: Array) -> None:
        """Write the sample indices of positions [start, stop) to `out` (int64)."""
        from distnn.kernels.random import feistel_order

        if self.shuffle:
            feistel_order(self.order_key(step), self.samples, start, stop, out)
        elif stop > start:
            places = out[: stop - start]
            places.fill(1)
            places[0] = start
            np.add.accumulate(places, out=places)
