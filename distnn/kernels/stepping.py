"""The small change of a step: what is written before a shard and summed up after all of them.

`control` holds the step's int64 words (`distnn.control`).
"""

from __future__ import annotations

from distnn.control import (
    FIRST_WORD,
    ORDER_WORD,
    POSITION_WORD,
    SAMPLES_WORD,
    SHARD_WORD,
    START_WORD,
)
from distnn.kernels.jit import Array, kernel
from distnn.kernels.random import take_order


@kernel
def begin_shard(control: Array, shard: int, offset: int, samples: int) -> None:
    """Write the words of a shard of `samples` samples that begins at `offset` in the batch."""
    control[SHARD_WORD] = shard
    control[SAMPLES_WORD] = samples
    control[POSITION_WORD] = control[START_WORD] + offset


@kernel
def shuffled_indices(control: Array, n: int, out: Array) -> None:
    """Indices of the shard's samples in the order in force, out of `n` (see `feistel_order`)."""
    start = control[POSITION_WORD]
    take_order(control[ORDER_WORD], n, start, start + out.size, out)


@kernel
def indices_in_turn(control: Array, out: Array) -> None:
    """Indices of the shard's samples where they are not shuffled."""
    start = control[POSITION_WORD]
    for i in range(out.size):
        out[i] = start + i


@kernel
def set_value(out: Array, value: float) -> None:
    """out[0] = value, cast."""
    out[0] = value


@kernel
def set_quotient(out: Array, value: float, counts: Array, index: int) -> None:
    """out[0] = value / counts[index]; 0 where the count is 0."""
    count = counts[index]
    out[0] = value / count if count != 0.0 else 0.0


@kernel
def clear_sums(out: Array) -> None:
    """Zeros."""
    for i in range(out.size):
        out[i] = 0.0


@kernel
def copy_values(x: Array, out: Array) -> None:
    """out = x, cast."""
    for i in range(x.size):
        out[i] = x[i]


@kernel
def spread_value(x: Array, out: Array) -> None:
    """out = x[0] everywhere."""
    for i in range(out.size):
        out[i] = x[0]


@kernel
def fold_sums(
    step_sums: Array, summed_losses: Array, samples: int, old: Array, control: Array, new: Array
) -> None:
    """The epoch's sums after a step: those before, or nothing at the epoch's first, and the step's.

    Args:
        step_sums: (sum, weight) pairs of losses, sums of metrics, and the penalty; float64.
        summed_losses: numbers of the losses that are summed over the batch: in the epoch's mean such a loss
            counts by the batch's samples. Their pairs are changed in `step_sums`.
        samples: of the batch.
        old, new: the epoch's sums; as long as `step_sums` or shorter.
    """
    for i in range(summed_losses.size):
        step_sums[2 * summed_losses[i]] *= samples
        step_sums[2 * summed_losses[i] + 1] = samples
    for i in range(new.size):
        new[i] = step_sums[i] if control[FIRST_WORD] != 0 else old[i] + step_sums[i]
