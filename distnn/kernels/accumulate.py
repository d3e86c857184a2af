"""What ends in a shard's float64 sums: sums with their counts, and means weighted by the samples.

Arrays are 1-D; sums are one float64 order each. `control` holds the step's int64 words, read when the kernel
runs. Called by `distnn.ops.accumulate`.
"""

from __future__ import annotations

import numpy as np

from distnn.kernels.jit import Array, kernel
from distnn.kernels.rows import run_sum_f64


@kernel
def sum_and_count(x: Array, out_2: Array) -> None:
    """(sum of x, number of values)."""
    out_2[0] = run_sum_f64(x, 0, x.size)
    out_2[1] = np.float64(x.size)


@kernel
def sum_and_weight(x: Array, weight: Array, out_2: Array) -> None:
    """(sum of x * weight, sum of weight), one chain each."""
    total, weights = 0.0, 0.0
    for i in range(x.size):
        total += np.float64(x[i]) * np.float64(weight[i])
        weights += np.float64(weight[i])
    out_2[0] = total
    out_2[1] = weights


@kernel
def scaled_by_samples(x: Array, control: Array, word: int, out: Array) -> None:
    """x * samples in float64; where `out` is one longer, the samples follow."""
    samples = np.float64(control[word])
    for i in range(x.size):
        out[i] = np.float64(x[i]) * samples
    if out.size > x.size:
        out[x.size] = samples


@kernel
def added_losses(mean: Array, total: Array, batch: Array, control: Array, word: int, out_1: Array) -> None:
    """mean * samples of the shard + total * samples of the batch, in float64."""
    out_1[0] = np.float64(mean[0]) * np.float64(control[word]) + np.float64(total[0]) * np.float64(batch[0])


@kernel
def times_samples(x: Array, control: Array, word: int, out: Array) -> None:
    """x * samples in the dtype of x."""
    samples = x.dtype.type(control[word])
    for i in range(x.size):
        out[i] = x[i] * samples
